"""`bulkmail test`: messages of chosen rows, sent to oneself by the real route, apart from any run."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import uvloop

from bulkmail.address import AddressError, parse_address, wire_address
from bulkmail.cli.errors import FINISHED, STOPPED
from bulkmail.cli.hints import near
from bulkmail.cli.output import out, print_json, safe
from bulkmail.compilation import compile_for
from bulkmail.composition import Send, SendOptions
from bulkmail.config.load import load_campaign
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign, Variant
from bulkmail.model.delivery import Event, Summary
from bulkmail.model.recipient import Recipient
from bulkmail.preflight.rows import find_recipient
from bulkmail.store.locate import state_for_campaign

# Under the state directory: a state of its own, so that no test counts as a run or suppresses anybody.
TESTS = "tests"
MOST = 20

V = TypeVar("V", bound=Variant)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one message."""

    row: str
    to: str
    disposition: str
    reply: str


def test(
    file: str,
    *,
    to: list[str],
    rows: tuple[int, ...],
    address: str | None,
    prefix: str,
    state: Path | None,
    json: bool,
) -> int:
    """Send; the exit code, 0 where all were delivered. Raises CampaignError and StateError."""
    campaign = load_campaign(file)
    program = compile_for(campaign)
    chosen = [find_recipient(campaign, None, address)] if address is not None else []
    chosen += [find_recipient(campaign, number, None) for number in rows]
    chosen = chosen or [find_recipient(campaign, None, None)]
    targets = [_target(one) for one in to]
    if len(chosen) * len(targets) > MOST:
        raise CampaignError(f"{len(chosen) * len(targets)} messages are no test", hint=f"at most {MOST}")
    for row in chosen:
        problem = program.problem(row.fields)
        if problem is not None:
            raise CampaignError(f"{row.address}: {problem}", file=row.source, line=row.line)
    directory = state_for_campaign(campaign.file, state) / TESTS
    trial = _as_test(campaign, prefix)
    samples = [sample for row in chosen for sample in _samples(trial, row, targets, directory)]
    good = all(sample.disposition == "delivered" for sample in samples)
    if json:
        print_json({"campaign": campaign.campaign, "ok": good, "samples": msgspec.to_builtins(samples)})
    else:
        for sample in samples:
            out().print(f"{safe(sample.row)} to {safe(sample.to)}: {sample.disposition} {safe(sample.reply)}".rstrip())
        if campaign.delivery.route == "sandbox":
            out().print(f"in the sandbox; the messages are in {near(directory / 'sandbox' / 'maildir')}")
    return FINISHED if good else STOPPED


def _target(text: str) -> str:
    try:
        return wire_address(parse_address(text))
    except AddressError as error:
        raise CampaignError(f"{text}: {error}", path="--to") from None


def _as_test(campaign: Campaign, prefix: str) -> Campaign:
    """The same message at once; a subject that is a template stays one."""
    languages, split = campaign.languages, campaign.split
    if prefix:
        if languages is not None:
            variants = {name: _prefixed(one, prefix) for name, one in languages.variants.items()}
            languages = msgspec.structs.replace(languages, variants=variants)
        split = {name: _prefixed(arm, prefix) for name, arm in split.items()}
    subject = f"{prefix} {campaign.subject}" if prefix else campaign.subject
    return msgspec.structs.replace(
        campaign,
        subject=subject,
        languages=languages,
        split=split,
        schedule=None,
        canary=None,
        send_at=None,
        webhooks=(),
    )


def _prefixed(variant: V, prefix: str) -> V:
    subject = variant.subject
    return variant if subject is None else msgspec.structs.replace(variant, subject=f"{prefix} {subject}")


async def _send(
    campaign: Campaign, recipient: Recipient, directory: Path, keep: Callable[[Sequence[Event]], None]
) -> Summary:
    options = SendOptions(new_run=True, signers=1, turbo=False)
    async with Send(campaign, directory, recipients=[recipient], options=options) as sending:
        sending.subscribe(keep)
        return await sending.execute()


def _samples(campaign: Campaign, row: Recipient, targets: list[str], directory: Path) -> Iterator[Sample]:
    for target in targets:
        recipient = msgspec.structs.replace(row, address=target)
        outcome: dict[str, Event] = {}

        def keep(events: Sequence[Event], outcome: dict[str, Event] = outcome) -> None:
            for event in events:
                if event.recipient is not None:
                    outcome["last"] = event

        summary = uvloop.run(_send(campaign, recipient, directory, keep))
        last = outcome.get("last")
        where = f"{near(Path(row.source))}:{row.line} {row.address}" if row.source else row.address
        yield Sample(
            row=where,
            to=target,
            disposition=_disposition(summary),
            reply=(last.reply or last.reason or "") if last is not None else "",
        )


def _disposition(summary: Summary) -> str:
    names = ("delivered", "bounced", "expired", "suppressed", "rejected", "in_doubt")
    return next((name for name in names if getattr(summary, name)), "deferred")
