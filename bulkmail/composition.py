"""Put one send together: state directory, sandbox, content, keys, resolver, run and node."""

import asyncio
import os
import random
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec
from msgspec import Struct

from bulkmail.clock import Clock, SystemClock
from bulkmail.compilation import compile_for, content_digests, fingerprints, refuse_unlawful, sealing_key
from bulkmail.config.load import placing_errors
from bulkmail.config.rules import read_rules, state_rules
from bulkmail.config.secrets import Target, webhook_targets
from bulkmail.content.bodies import Attach
from bulkmail.content.program import Program
from bulkmail.content.tracking import LinkSeal
from bulkmail.dns.resolver import Resolver
from bulkmail.engine.collection import seldom_collecting
from bulkmail.engine.intake import Batch
from bulkmail.engine.node import Node
from bulkmail.engine.options import NodeOptions
from bulkmail.engine.pinning import Pins, pin
from bulkmail.engine.recovery import Recovered, publish_recovered, settle_doubts
from bulkmail.engine.sources import drop_snapshots, file_batches, iterable_batches, snapshots
from bulkmail.engine.statistics import Snapshot
from bulkmail.engine.timing import Timing
from bulkmail.engine.webhooks import WebhookThread
from bulkmail.errors import CampaignError
from bulkmail.events.log import EventLog
from bulkmail.model.campaign import Campaign
from bulkmail.model.delivery import Event, Summary
from bulkmail.model.recipient import PlainRules
from bulkmail.outbound import Means, egress_sources, means_at_hand, means_of, most_connections, pacing_of, transport_of
from bulkmail.policy.rules import Rule, RuleBook, rule_book
from bulkmail.resumption import Found, Taken, find_run, finished_summary, is_over, make_run
from bulkmail.safeguards import open_encryption
from bulkmail.sandbox.keys import with_demo_keys
from bulkmail.sandbox.process import SandboxProcess
from bulkmail.sandbox.stay import in_sandbox
from bulkmail.store.runs import Run, RunState
from bulkmail.store.settings import FeedbackSettings
from bulkmail.store.store import Store
from bulkmail.store.suppressions import Suppressions

if TYPE_CHECKING:
    from bulkmail.engine.nodes.desk import NodeStarter

# What receivers of events have not taken so long after the end is left for `events push`.
WEBHOOK_GRACE_SECONDS = 5.0

T = TypeVar("T")


class SendOptions(Struct, frozen=True, kw_only=True):
    """What a caller may choose for one send.

    `signers` None means the cores less one, at least one; with `turbo`, eight signatures at once where possible.
    `nodes` are sending processes: of more than one each has `signers` of its own, None then means a share of the cores.
    `attach` makes attachments in Python, which only one process can do.
    """

    new_run: bool = False
    limit: int | None = None
    wait: bool = True
    signers: int | None = None
    turbo: bool = True
    nodes: int = 1
    attach: Attach | None = None


class Send:
    """One send, as an async context manager: entering takes the state directory and finds or makes the run.

    Then `execute` sends. `taken` says whether the run is new, resumed or finished already; `run` is the run;
    `recovered` what a crash before had left, and `doubts` how many recipients of the run were in doubt.
    Raises CampaignError and StateError on entering, before anything is written beyond the state directory. `means`
    are those of the campaign, where they are loaded already.
    """

    def __init__(
        self,
        campaign: Campaign,
        directory: Path,
        *,
        recipients: Iterable[Any] | AsyncIterable[Any] | None = None,
        options: SendOptions | None = None,
        clock: Clock | None = None,
        means: Means | None = None,
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
        self._means = means
        self._clock = clock or SystemClock()
        self._rng = random.Random()
        self._stack = AsyncExitStack()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bulkmail-store")
        self._node: Node | None = None
        self._rules: RuleBook | None = None
        self._own_rules: tuple[Rule, ...] = ()
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
            return await self._in_thread(finished_summary, self.store, self.campaign, self.run)
        assert self._node is not None
        if self._targets:
            self.webhooks = WebhookThread(self.directory, {self.campaign.campaign: self._targets}, clock=self._clock)
            self.webhooks.start()
        try:
            with seldom_collecting():
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

    async def _open(self) -> None:
        campaign = self.campaign
        if self.options.nodes > 1 and self.options.attach is not None:
            raise CampaignError(
                "attachments that are made in Python are made in one process",
                file=campaign.file,
                hint="leave out either `attach` or `nodes`",
            )
        program = self._program = compile_for(campaign, self._recipients, self.options.attach)
        files = fingerprints(campaign) | {f"content.{name}": digest for name, digest in program.included.items()}
        pins = pin(campaign, files, limit=self.options.limit)
        means = self._means
        if means is None and not await self._in_thread(self._is_over):
            # Before anything is made: what has to be put right for these may be a change that an open run refuses.
            means = means_at_hand(campaign)
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
        self.taken = found.taken
        if found.run is not None and found.taken is Taken.FINISHED:
            self.run = found.run
            return
        if campaign.delivery.route == "sandbox":
            # Its keys are made in the state directory.
            campaign = in_sandbox(with_demo_keys(campaign, self.directory / "sandbox" / "keys"))
        if means is None:
            means = means_of(campaign)
        signer = means.signer
        self._targets = webhook_targets(campaign)
        rules = () if campaign.feedback.rules is None else read_rules(Path(campaign.feedback.rules))
        own_rules = self._own_rules = (*rules, *state_rules(self.directory))
        # Without rules of one's own there is nothing to compile before a server says anything but yes.
        self._rules = rule_book().after(own_rules) if own_rules else None
        settings = FeedbackSettings(campaign.feedback, rules)
        await self._in_thread(store.keep_feedback_settings, campaign.campaign, settings)
        if self.options.turbo:
            signer.accelerate()
        refuse_unlawful(campaign, program)
        run = found.run
        self.run = run if run is not None else await self._in_thread(make_run, store, campaign.campaign, pins)
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
        self._node = await self._make_node(campaign, program, means, suppressions, event_log)

    async def _make_node(
        self,
        campaign: Campaign,
        program: Program,
        means: Means,
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
        options = self._node_options(campaign)
        return Node(
            campaign,
            self.run,
            store=self.store,
            suppressions=suppressions,
            event_log=event_log,
            program=program,
            signer=means.signer,
            resolver=resolver,
            ways=means.ways,
            transports=means.transports,
            transport=transport if sandbox is None else msgspec.structs.replace(transport, port=sandbox.smtp_port),
            encryption=encryption,
            sources=sources,
            options=options,
            store_thread=self._thread,
            clock=self._clock,
            rng=self._rng,
            starter=self._starter(campaign, program, options) if options.nodes > 1 else None,
        )

    def _starter(self, campaign: Campaign, program: Program, options: NodeOptions) -> "NodeStarter":
        # Most sends are of one process.
        from bulkmail.nodeprocess import NodePlan, ProcessStarter, SandboxPlace

        store, sandbox = self.store, self.sandbox
        plan = NodePlan(
            campaign=campaign,
            directory=self.directory,
            run=self.run,
            first_segment=store.first_segment,
            token_keys=tuple(store.token_keys),
            seal=None if campaign.tracking is None else sealing_key(store.token_keys, self.run.created).secret,
            digests=content_digests(campaign, program),
            fields=program.fields,
            from_files=self._recipients is None,
            anomalies=store.anomalies(),
            own_rules=self._own_rules,
            turbo=self.options.turbo,
            signers=options.signers,
            pacing=options.pacing,
            sandbox=None
            if sandbox is None
            else SandboxPlace(
                dns_server=sandbox.dns_server,
                smtp_port=sandbox.smtp_port,
                authorities=str(sandbox.folder / "authority.pem"),
            ),
        )
        return ProcessStarter(plan, store.lock_descriptor)

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
            signers=options.signers or max(1, ((os.cpu_count() or 2) - 1) // max(1, options.nodes)),
            nodes=options.nodes,
            pacing=pacing_of(campaign),
            rules=self._rules,
        )

    # Beneath.

    def _is_over(self) -> bool:
        options = self.options
        return is_over(self.directory, self.campaign.campaign, new_run=options.new_run, limit=options.limit)

    def _find_run(self, pins: Pins) -> Found:
        options = self.options
        return find_run(self.store, self.campaign.campaign, pins, new_run=options.new_run, limit=options.limit)

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def _close(self) -> None:
        await self._stack.aclose()
        self._thread.shutdown()
