"""`bulkmail serve`: the listeners, until they are told to stop."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from bulkmail.cli.events import unposted
from bulkmail.cli.output import safe
from bulkmail.clock import SystemClock
from bulkmail.config.load import load_campaign
from bulkmail.config.secrets import Target, webhook_targets
from bulkmail.engine.incoming import Taken
from bulkmail.engine.returns import Reader
from bulkmail.engine.unsubscribing import Wish
from bulkmail.engine.webhooks import WebhookThread
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign
from bulkmail.serve.server import Listeners, Notes, Where
from bulkmail.serve.settings import ServeFile, host_and_port, read_serve_file, with_campaigns
from bulkmail.store.locate import state_for_campaign, state_from_here
from bulkmail.store.suppressions import Suppressions

SMTP_PORT, HTTP_PORT = 2525, 8080
OFF = "off"
WEBHOOK_GRACE_SECONDS = 5.0
WEBHOOK_LOOK_SECONDS = 1.0


def serve(
    files: list[str],
    *,
    config: Path | None,
    state: Path | None,
    smtp: str | None,
    http: str | None,
    quiet: bool,
) -> None:
    """Listen until SIGINT or SIGTERM. Raises CampaignError and StateError before anything is listened on."""
    settings = read_serve_file(config) if config is not None else ServeFile()
    campaigns = [load_campaign(file, recipients_required=False) for file in (*files, *settings.campaigns)]
    settings = with_campaigns(settings, campaigns)
    where_smtp = _where(smtp or settings.smtp or f"127.0.0.1:{SMTP_PORT}", "--smtp", SMTP_PORT)
    where_http = _where(http or settings.http or f"127.0.0.1:{HTTP_PORT}", "--http", HTTP_PORT)
    if where_smtp is not None and not (settings.bounces or settings.complaints or settings.unsubscribe):
        if smtp is not None or settings.smtp is not None:
            raise CampaignError(
                "nobody is known here whose mail could be taken",
                path="--smtp",
                hint="name a campaign, or a --config with bounces: [ADDRESS]; or --smtp off",
            )
        where_smtp = None
    hooks: dict[str, Sequence[Target]] = {}
    for campaign in campaigns:
        known = {target.hook.url: target for target in (*hooks.get(campaign.campaign, ()), *webhook_targets(campaign))}
        hooks[campaign.campaign] = tuple(known.values())
    directory = _directory(campaigns, config, state)
    Suppressions.open(directory).close()
    uvloop.run(_listen(directory, settings, where_smtp, where_http, hooks, quiet=quiet))


async def _listen(
    directory: Path,
    settings: ServeFile,
    smtp: Where | None,
    http: Where | None,
    hooks: Mapping[str, Sequence[Target]],
    *,
    quiet: bool,
) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    notes = Notes(mail=_nothing, wish=_nothing) if quiet else Notes(mail=_tell_mail, wish=_tell_wish)
    async with (
        _posting(directory, hooks, quiet=quiet),
        Listeners(directory, settings, SystemClock, smtp=smtp, http=http, notes=notes) as listeners,
    ):
        where = []
        if smtp is not None:
            where.append(f"SMTP on {smtp.host}:{listeners.smtp_port}")
        if http is not None:
            where.append(f"HTTP on {http.host}:{listeners.http_port}")
        print(f"listening: {', '.join(where)}; Ctrl-C stops in order", flush=True)
        await stopped.wait()
    print("stopped; all that was answered is recorded", flush=True)


@asynccontextmanager
async def _posting(directory: Path, hooks: Mapping[str, Sequence[Target]], *, quiet: bool) -> AsyncIterator[None]:
    """Post events beside what is within, what came in last among them; what cannot be posted is told."""
    if not any(hooks.values()):
        yield
        return
    thread = WebhookThread(directory, hooks, clock=SystemClock)
    thread.start()
    telling = asyncio.create_task(_tell_problems(thread, quiet=quiet))
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.to_thread(thread.stop, WEBHOOK_GRACE_SECONDS)
        for line in unposted(thread.progress):
            print(safe(line), file=sys.stderr, flush=True)


async def _tell_problems(thread: WebhookThread, *, quiet: bool) -> None:
    told = [""] * len(thread.progress)
    while not quiet:
        await asyncio.sleep(WEBHOOK_LOOK_SECONDS)
        for position, one in enumerate(thread.progress):
            if one.problem != told[position]:
                told[position] = one.problem
                print(f"{safe(one.url)}: {safe(one.problem) or 'takes events again'}", file=sys.stderr, flush=True)


def _where(text: str, option: str, port: int) -> Where | None:
    return None if text == OFF else Where(*host_and_port(text, option=option, default_port=port))


def _directory(campaigns: list[Campaign], config: Path | None, state: Path | None) -> Path:
    """The state directory of the campaigns, which must be one."""
    found = {state_for_campaign(campaign.file, state) for campaign in campaigns}
    if len(found) > 1:
        named = ", ".join(sorted(map(str, found)))
        raise CampaignError(f"these campaigns have several state directories: {named}", hint="name one with --state")
    if found:
        return found.pop()
    if config is not None and state is None:
        return state_for_campaign(str(config), state)
    return state_from_here(Path.cwd(), state)


def _nothing(*_: object) -> None:
    pass


def _tell_mail(taken: Taken) -> None:
    applied = taken.applied
    about = f" {safe(applied.recipient)}" if applied is not None and applied.recipient else ""
    kept = f"; kept as {safe(taken.kept)}" if taken.kept else ""
    print(f"{taken.kind}{about}: {safe(taken.why)}{kept}", file=sys.stderr, flush=True)


def _tell_wish(wish: Wish, reader: Reader) -> None:
    what = "all mail" if wish.everything else ", ".join(wish.lists) or reader.list_name or "all mail"
    print(
        f"{'resubscribe' if wish.again else 'unsubscribe'} {safe(reader.address)}: {safe(what)} ({wish.way})",
        file=sys.stderr,
        flush=True,
    )
