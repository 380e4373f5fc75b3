"""Put one send together: state directory, sandbox, content, keys, resolver, run and node."""

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec
from msgspec import Struct

from bulkmail.address import parse_mailbox
from bulkmail.clock import Clock, SystemClock
from bulkmail.config.load import placing_errors
from bulkmail.config.rules import read_rules, state_rules
from bulkmail.config.secrets import Target, webhook_targets
from bulkmail.content.bodies import Attach
from bulkmail.content.compiler import compile_content
from bulkmail.content.identity import TokenKey
from bulkmail.content.program import Program
from bulkmail.content.tracking import LinkSeal
from bulkmail.dkim.signing import Signer, load_keys
from bulkmail.dns.resolver import Resolver
from bulkmail.engine.dialer import Transport
from bulkmail.engine.intake import Batch
from bulkmail.engine.node import Node, NodeOptions
from bulkmail.engine.pinning import LIMIT, Pins, changes, exceeds, named_files, pin
from bulkmail.engine.recovery import Recovered, publish_recovered, settle_doubts
from bulkmail.engine.sources import columns_of, drop_snapshots, file_batches, iterable_batches, snapshots
from bulkmail.engine.statistics import Snapshot, Statistics
from bulkmail.engine.timing import Timing
from bulkmail.engine.ways import Ways
from bulkmail.errors import CampaignError, RunConflict
from bulkmail.events.log import EventLog
from bulkmail.model.campaign import Campaign, EgressSource
from bulkmail.model.delivery import Event, Summary
from bulkmail.model.recipient import PlainRules
from bulkmail.model.units import Seconds
from bulkmail.outbound import most_connections, transport_of, transports_of
from bulkmail.policy.pacing import PacingSettings
from bulkmail.policy.reach import is_loopback
from bulkmail.policy.rules import RuleBook, rule_book
from bulkmail.recipients.source import fingerprint
from bulkmail.safeguards import open_encryption
from bulkmail.sandbox.keys import with_demo_keys
from bulkmail.sandbox.process import SandboxProcess
from bulkmail.store.runs import Run, RunState
from bulkmail.store.settings import FeedbackSettings
from bulkmail.store.store import Store
from bulkmail.store.suppressions import Suppressions

# The retry delay for which the pacer's own times are made; a campaign that lives faster has them all shortened.
USUAL_RETRY_SECONDS = 300.0
FASTEST_TEMPO = 1 / 600
# What receivers of events have not taken so long after the end is left for `events push`.
WEBHOOK_GRACE_SECONDS = 5.0
# The longest that the sandbox is waited for, by attempt, and altogether.
SANDBOX_RETRY = (2.0, 4.0, 8.0)
SANDBOX_EXPIRE_SECONDS = 30.0


if TYPE_CHECKING:
    from bulkmail.engine.webhooks import WebhookThread

T = TypeVar("T")


class Taken(StrEnum):
    """How a send came to its run."""

    NEW = "new"
    RESUMED = "resumed"
    FINISHED = "finished"


class SendOptions(Struct, frozen=True, kw_only=True):
    """What a caller may choose for one send.

    `signers` None means the cores less one, at least one; with `turbo`, eight signatures at once where possible.
    `attach` makes attachments in Python.
    """

    new_run: bool = False
    limit: int | None = None
    wait: bool = True
    signers: int | None = None
    turbo: bool = True
    attach: Attach | None = None


class Send:
    """One send, as an async context manager: entering takes the state directory and finds or makes the run.

    Then `execute` sends. `taken` says whether the run is new, resumed or finished already; `run` is the run;
    `recovered` what a crash before had left, and `doubts` how many recipients of the run were in doubt.
    Raises CampaignError and StateError on entering, before anything is written beyond the state directory.
    """

    def __init__(
        self,
        campaign: Campaign,
        directory: Path,
        *,
        recipients: Iterable[Any] | AsyncIterable[Any] | None = None,
        options: SendOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.campaign = campaign
        self.directory = directory
        self.options = options or SendOptions()
        self.sandbox: SandboxProcess | None = None
        self.taken = Taken.NEW
        self.run: Run
        self.recovered = Recovered()
        self.doubts = 0
        self._recipients = recipients
        self._clock = clock or SystemClock()
        self._rng = random.Random()
        self._stack = AsyncExitStack()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bulkmail-store")
        self._node: Node | None = None
        self._rules: RuleBook | None = None
        self._targets: tuple[Target, ...] = ()
        self.webhooks: WebhookThread | None = None

    async def __aenter__(self) -> Self:
        try:
            with placing_errors(self.campaign.file):
                await self._open()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def execute(self) -> Summary:
        """Send until every recipient is final, `stop` is called, or (with `wait` False) nothing is due."""
        if self.taken is Taken.FINISHED:
            return await self._in_thread(self._finished_summary)
        assert self._node is not None
        if self._targets:
            # An HTTP client takes its time to load, and most campaigns need none.
            from bulkmail.engine.webhooks import WebhookThread

            self.webhooks = WebhookThread(self.directory, {self.campaign.campaign: self._targets}, clock=self._clock)
            self.webhooks.start()
        try:
            return await self._send()
        finally:
            if self.webhooks is not None:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(None, self.webhooks.stop, WEBHOOK_GRACE_SECONDS)

    async def _send(self) -> Summary:
        assert self._node is not None
        batches: AsyncIterator[Batch] | None = None
        if self.run.state is RunState.INTAKE:
            if self._recipients is not None:
                batches = iterable_batches(self._recipients)
            else:
                listed = await self._in_thread(snapshots, self.campaign.recipients, self.directory, self.run.id)
                batches = file_batches(listed, self._plain_rules(), self._thread)
        summary = await self._node.run(batches)
        if self.options.limit is None:
            await self._in_thread(self._drop_snapshots)
        return summary

    def _plain_rules(self) -> PlainRules | None:
        """None where a row's fields decide when it is due, so that all of them are read."""
        return None if Timing(self.campaign, began=0.0).by_fields else self._program.plain_rules

    def _drop_snapshots(self) -> None:
        run = self.store.latest_run(self.campaign.campaign)
        if run is not None and run.state is not RunState.INTAKE:
            drop_snapshots(self.campaign.recipients, self.directory, run.id)

    def stop(self) -> None:
        """Begin nothing new; `execute` returns once the replies are in."""
        if self._node is not None:
            self._node.stop()

    def subscribe(self, subscriber: Callable[[Sequence[Event]], None]) -> None:
        """`subscriber` gets each event once it is durable."""
        if self._node is not None:
            self._node.subscribe(subscriber)

    def snapshot(self) -> Snapshot | None:
        return self._node.snapshot() if self._node is not None else None

    # Beneath.

    async def _open(self) -> None:
        campaign = self.campaign
        program = self._program = compile_for(campaign, self._recipients, self.options.attach)
        files = fingerprints(campaign) | {f"content.{name}": digest for name, digest in program.included.items()}
        pins = pin(campaign, files, limit=self.options.limit)
        store = await self._in_thread(self._open_store)
        self._stack.push_async_callback(self._in_thread, store.close)
        self.store = store
        suppressions = await self._in_thread(
            lambda: Suppressions.open(self.directory, campaign=campaign.campaign, clock=self._clock)
        )
        self._stack.push_async_callback(self._in_thread, suppressions.close)
        await self._in_thread(suppressions.load)
        self.recovered = await self._in_thread(publish_recovered, store, suppressions)
        found = await self._in_thread(self._find_run, pins)
        if found is not None and self.taken is Taken.FINISHED:
            self.run = found
            return
        if campaign.delivery.route == "sandbox":
            campaign = in_sandbox(with_demo_keys(campaign, self.directory / "sandbox" / "keys"))
        # What may be wrong with these is found before there is a run, which would hold on to the campaign's pins.
        signer, ways = load_keys(campaign.dkim), Ways(campaign.delivery)
        transports = transports_of(campaign, ways)
        self._targets = webhook_targets(campaign)
        rules = () if campaign.feedback.rules is None else read_rules(Path(campaign.feedback.rules))
        self._rules = rule_book().after((*rules, *state_rules(self.directory)))
        settings = FeedbackSettings(campaign.feedback, rules)
        await self._in_thread(store.keep_feedback_settings, campaign.campaign, settings)
        if self.options.turbo:
            signer.accelerate()
        refuse_unlawful(campaign, program)
        self.run = found if found is not None else await self._in_thread(self._create, pins)
        if campaign.tracking is not None:
            # Its links are signed with what only the state directory knows.
            seal = LinkSeal(sealing_key(store.token_keys, self.run.created).secret)
            program = self._program = compile_for(campaign, self._recipients, self.options.attach, seal)
        if self.taken is Taken.RESUMED:
            self.doubts = await self._in_thread(settle_doubts, store, self.run, campaign.delivery.in_doubt, self._clock)
        if campaign.delivery.route == "sandbox":
            self.sandbox = await self._stack.enter_async_context(
                SandboxProcess(self.directory / "sandbox", seed=campaign.sandbox.seed)
            )
            for name, record in signer.records():
                await self.sandbox.publish(name, record)
        event_log = self._open_log(store.events_path(self.run))
        self._stack.callback(event_log.close)
        self._node = await self._make_node(campaign, program, signer, ways, transports, suppressions, event_log)

    async def _make_node(
        self,
        campaign: Campaign,
        program: Program,
        signer: Signer,
        ways: Ways,
        transports: dict[str, Transport],
        suppressions: Suppressions,
        event_log: EventLog,
    ) -> Node:
        sandbox = self.sandbox
        resolver = self._resolver(campaign)
        self._stack.push_async_callback(resolver.close)
        encryption = await open_encryption(
            campaign,
            resolver,
            self.directory,
            stack=self._stack,
            in_store=self._in_thread,
            sandbox=sandbox,
            clock=self._clock,
        )
        sources = egress_sources(campaign)
        transport = transport_of(campaign)
        return Node(
            campaign,
            self.run,
            store=self.store,
            suppressions=suppressions,
            event_log=event_log,
            program=program,
            signer=signer,
            resolver=resolver,
            ways=ways,
            transports=transports,
            transport=transport if sandbox is None else msgspec.structs.replace(transport, port=sandbox.smtp_port),
            encryption=encryption,
            sources=sources,
            options=self._node_options(campaign),
            store_thread=self._thread,
            clock=self._clock,
            rng=self._rng,
        )

    # What touches the world; a simulation has others.

    def _open_store(self) -> Store:
        return Store.open(self.directory, clock=self._clock)

    def _open_log(self, path: Path) -> EventLog:
        return EventLog(path)

    def _resolver(self, campaign: Campaign) -> Resolver:
        sandbox = self.sandbox
        return Resolver(
            campaign.dns.servers if sandbox is None else (sandbox.dns_server,),
            timeout_seconds=campaign.dns.timeout,
            clock=self._clock,
            trust=campaign.dns.validating if sandbox is None else "loopback",
        )

    def _node_options(self, campaign: Campaign) -> NodeOptions:
        options = self.options
        return NodeOptions(
            wait=options.wait,
            limit=options.limit,
            connections=most_connections(),
            signers=options.signers or max(1, (os.cpu_count() or 2) - 1),
            pacing=pacing_of(campaign),
            rules=self._rules,
        )

    # The run.

    def _find_run(self, pins: Pins) -> Run | None:
        """The run to go on with, or that is over; None where a new one is to be made."""
        store, name = self.store, self.campaign.campaign
        latest = store.latest_run(name)
        if latest is None or self.options.new_run:
            if latest is not None and latest.state not in (RunState.FINISHED, RunState.CANCELLED):
                store.set_state(latest.number, RunState.CANCELLED)
            return None
        # A run without a row has reached nobody, and must not keep the mail from those who are in the list by now.
        if latest.rows == 0 and latest.state.ended:
            return None
        if latest.state is RunState.CANCELLED:
            raise RunConflict(
                f"run {latest.id} was cancelled, and there is no going on with it",
                hint="--new-run sends to all, also to those who have got this mail already",
            )
        goes_further = exceeds(latest.settings, self.options.limit)
        if latest.state is RunState.FINISHED and not goes_further:
            self.taken = Taken.FINISHED
            return latest
        different = [name for name in changes(latest.settings, pins) if not (name == LIMIT and goes_further)]
        if different:
            how_far = f"has sent to the first {latest.rows:,} rows" if goes_further else "is not finished"
            raise RunConflict(
                f"run {latest.id} {how_far} and was started from another version of this campaign: "
                f"{', '.join(different)} changed since",
                hint="put that back to finish the run, or give it up and start anew with --new-run "
                "(who has got this mail already will get it again)",
            )
        self.taken = Taken.RESUMED
        if goes_further:
            return store.extend_run(latest, recipients_hash=pins.recipients_hash, settings=pins.encoded())
        return latest

    def _create(self, pins: Pins) -> Run:
        return self.store.create_run(
            self.campaign.campaign,
            content_hash=pins.content_hash,
            recipients_hash=pins.recipients_hash,
            settings=pins.encoded(),
        )

    def _finished_summary(self) -> Summary:
        run = self.run
        statistics = Statistics(self.campaign, run.id, now=0.0)
        statistics.rows, statistics.rejected = run.rows, run.rejected
        statistics.duplicates, statistics.suppressed_at_intake = run.duplicates, run.suppressed
        statistics.totals.update(self.store.counts(run.number))
        return msgspec.structs.replace(statistics.summary("finished", 0.0), seconds=0.0, messages_per_second=0.0)

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def _close(self) -> None:
        await self._stack.aclose()
        self._thread.shutdown()


def refuse_unlawful(campaign: Campaign, program: Program) -> None:
    """Marketing mail to real people shows a way out and who sends it, or is not sent. Raises CampaignError."""
    delivery = campaign.delivery
    if delivery.route == "sandbox" or delivery.allow_private_mx:
        return  # neither reaches real people: the other is for test networks
    if delivery.route == "relay" and not delivery.routes and all(is_loopback(relay.host) for relay in delivery.relay):
        return  # what becomes of it is decided on this machine; `check` has said it
    for key, sentence in program.lacks:
        raise CampaignError(
            sentence,
            file=campaign.file,
            path=key,
            hint="kind: transactional is for what is waited for, such as bills",
        )


def sealing_key(keys: Sequence[TokenKey], began: float) -> TokenKey:
    """The newest key of the time when a run began, so that what is sent again later is the same."""
    known = sorted(keys, key=lambda key: key.number)
    return next((key for key in reversed(known) if key.created <= began), known[0])


def compile_for(
    campaign: Campaign,
    recipients: object | None = None,
    attach: Attach | None = None,
    seal: LinkSeal | None = None,
) -> Program:
    """The campaign's content, checked against the columns of its recipients where those are known."""
    columns = columns_of(campaign.recipients) if recipients is None else None
    zone = campaign.schedule.timezone if campaign.schedule is not None else None
    with placing_errors(campaign.file):
        if zone is not None and columns is not None and zone not in columns:
            raise CampaignError(
                f"{zone} is no field of the recipients",
                file=campaign.file,
                path="schedule.timezone",
                hint=f"the fields are {', '.join(columns)}",
            )
        return compile_content(campaign, columns=columns, attach=attach, seal=seal)


def fingerprints(campaign: Campaign) -> dict[str, str]:
    """Digests of all files that a run is pinned to, by key."""
    return {key: fingerprint(path) for key, path in named_files(campaign).items()}


def egress_sources(campaign: Campaign) -> tuple[EgressSource, ...]:
    """The campaign's sources, or one that leaves the address to the system; each with a name to greet with."""
    fallback = default_ehlo(campaign)
    sources = campaign.delivery.sources or (EgressSource(),)
    return tuple(source if source.ehlo else msgspec.structs.replace(source, ehlo=fallback) for source in sources)


def default_ehlo(campaign: Campaign) -> str:
    """This host's name where it is a full one (RFC 5321 §2.3.5), else `mail.` and the sender's domain."""
    name = socket.gethostname()
    return name if "." in name.strip(".") else f"mail.{parse_mailbox(campaign.from_).address.domain}"


def in_sandbox(campaign: Campaign) -> Campaign:
    """A campaign written for real receivers, as it is sent in the sandbox.

    Its receivers count in seconds, not hours: retry and expire are cut to that, or a greylisting of two seconds would
    be waited out for five minutes. Egress sources become loopback addresses, for no other reaches 127.0.0.0/8.
    """
    delivery = campaign.delivery
    retry = tuple(
        Seconds(min(delay, SANDBOX_RETRY[min(position, len(SANDBOX_RETRY) - 1)]))
        for position, delay in enumerate(delivery.retry)
    )
    expire = Seconds(min(delivery.expire, SANDBOX_EXPIRE_SECONDS))
    sources = tuple(
        msgspec.structs.replace(source, address=f"127.0.1.{position}")
        for position, source in enumerate(delivery.sources, start=1)
    )
    delivery = msgspec.structs.replace(delivery, retry=retry, expire=expire, sources=sources, routes={})
    return msgspec.structs.replace(campaign, delivery=delivery)


def pacing_of(campaign: Campaign) -> PacingSettings:
    """Pauses and recoveries in the tempo of the campaign's retry schedule.

    No pause is longer than an eighth of the time to expire: waiting for a lane must not be giving up on its recipients.
    """
    tempo = campaign.delivery.retry[0] / USUAL_RETRY_SECONDS
    pacing = PacingSettings().scaled(min(1.0, max(FASTEST_TEMPO, tempo)))
    return msgspec.structs.replace(pacing, pause_limit_seconds=campaign.delivery.expire / 8)
