"""The process of a node: how the owner of a run starts one, and what `python -m bulkmail.nodeprocess` is made of.

A node has inherited one end of its channel and the lock of the state directory: whoever wants to take the directory
next has to wait until the last node of an owner that has died is gone.
"""

import asyncio
import gc
import os
import pickle
import random
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct

import bulkmail
from bulkmail.clock import SteadyClock, SystemClock
from bulkmail.compilation import compile_for, content_digests
from bulkmail.content.identity import Identity, TokenKey
from bulkmail.content.tracking import LinkSeal
from bulkmail.dkim.signing import load_keys
from bulkmail.dns.resolver import Resolver
from bulkmail.engine.collection import seldom_collecting
from bulkmail.engine.encryption import Encryption
from bulkmail.engine.lanes import Means
from bulkmail.engine.meter import CpuMeter
from bulkmail.engine.nodes.channel import Channel
from bulkmail.engine.nodes.messages import FROM_OWNER, Failed, FromOwner, Setup, TlsCounts
from bulkmail.engine.nodes.sending import SendingNode, failure_of
from bulkmail.engine.router import Router
from bulkmail.engine.tally import Tally
from bulkmail.engine.ways import Ways
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign
from bulkmail.outbound import egress_sources, transport_of, transports_of
from bulkmail.policy.pacing import PacingSettings
from bulkmail.policy.rules import Rule, rule_book
from bulkmail.store.assurance import TlsSessions
from bulkmail.store.journal import Journal
from bulkmail.store.runs import Run
from bulkmail.store.suppressions import Suppressions


class SandboxPlace(Struct, frozen=True, kw_only=True):
    """Where the owner's sandbox is to be found; `authorities` is a PEM file."""

    dns_server: str
    smtp_port: int
    authorities: str


class NodePlan(Struct, frozen=True, kw_only=True):
    """What a node is made of, but for what differs from node to node.

    `campaign` is as it is sent; `digests` are those of the files of its content, and `fields` those of its rows, which
    must be the same for every process of the run. `from_files` is False where the program gives the recipients itself.
    """

    campaign: Campaign
    directory: Path
    run: Run
    first_segment: int
    token_keys: tuple[TokenKey, ...]
    seal: bytes | None
    digests: dict[str, str]
    fields: tuple[str, ...]
    from_files: bool
    anomalies: dict[str, str]
    own_rules: tuple[Rule, ...]
    turbo: bool
    signers: int
    pacing: PacingSettings
    sandbox: SandboxPlace | None


class _NodeSetup(Struct, frozen=True, kw_only=True):
    plan: NodePlan
    number: int
    folder: Path
    events_offset: int
    connections: int


class ProcessStarter:
    """Starts nodes by a plan; `lock_descriptor` is the owner's hold on the state directory."""

    def __init__(self, plan: NodePlan, lock_descriptor: int) -> None:
        self._plan = plan
        self._lock_descriptor = lock_descriptor

    async def start(
        self, number: int, folder: Path, *, events_offset: int, connections: int
    ) -> "tuple[Child, socket.socket, Setup]":
        """See `bulkmail.engine.nodes.desk.NodeStarter`. The node ignores signals that are typed on the terminal."""
        ours, theirs = socket.socketpair()
        paths = [str(Path(bulkmail.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "bulkmail.nodeprocess",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), self._lock_descriptor),
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        setup = _NodeSetup(
            plan=self._plan, number=number, folder=folder, events_offset=events_offset, connections=connections
        )
        return Child(process), ours, Setup(pickle.dumps(setup))


class Child:
    """A node's process (see `bulkmail.engine.nodes.seat.NodeProcess`)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    async def wait(self) -> int:
        return await self._process.wait()


class NodeMain:
    """What happens in the process: waits to be told what it is, is that, and ends with the channel."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel: Channel[FromOwner]
        self._node: SendingNode | None = None
        self._journal: Journal | None = None
        self._setup: asyncio.Future[Setup] = self._loop.create_future()
        self._early: list[FromOwner] = []

    async def run(self, descriptor: int) -> None:
        """Until the owner is gone. Never returns."""
        self._channel = await Channel.over(
            socket.socket(fileno=descriptor),
            FROM_OWNER,
            on_messages=self._receive,
            on_closed=self._end,
            on_error=self._fail,
        )
        try:
            setup: _NodeSetup = pickle.loads((await self._setup).pickled)
            node = self._node = self._build(setup)
            node.channel = self._channel
            node.receive(self._early)
            gc.collect()
            gc.freeze()
            with seldom_collecting():
                await node.run()
        except Exception as error:
            self._fail(error)
        await self._loop.create_future()

    def _receive(self, messages: Sequence[FromOwner]) -> None:
        if self._node is not None:
            self._node.receive(messages)
            return
        for message in messages:
            if isinstance(message, Setup):
                self._setup.set_result(message)
            else:
                self._early.append(message)

    def _end(self) -> None:
        """The owner is gone, or has no use for us: nothing more goes out, and the journal has all there is to know."""
        if self._journal is not None:
            with suppress(Exception):
                self._journal.flush()
        os._exit(0)

    def _fail(self, error: BaseException) -> None:
        message, state, hint = failure_of(error)
        if not state and not isinstance(error, CampaignError):
            traceback.print_exception(error)
        self._channel.post(Failed(message, state, hint))
        self._channel.flush()
        self._channel.close()

    def _post_counts(self, sessions: list[TlsSessions]) -> None:
        """Called on a thread."""
        self._loop.call_soon_threadsafe(self._channel.post, TlsCounts(sessions))

    def _build(self, setup: _NodeSetup) -> SendingNode:
        plan = setup.plan
        campaign, sandbox, clock = plan.campaign, plan.sandbox, SystemClock()
        seal = None if plan.seal is None else LinkSeal(plan.seal)
        program = compile_for(campaign, None if plan.from_files else (), seal=seal)
        if program.fields != plan.fields or content_digests(campaign, program) != plan.digests:
            raise CampaignError("its content was changed while the send was starting", file=campaign.file)
        signer, ways = load_keys(campaign.dkim), Ways(campaign.delivery)
        if plan.turbo:
            signer.accelerate()
        resolver = Resolver(
            campaign.dns.servers if sandbox is None else (sandbox.dns_server,),
            timeout_seconds=campaign.dns.timeout,
            clock=clock,
            trust=campaign.dns.validating if sandbox is None else "loopback",
        )
        tally = Tally(self._post_counts, clock=clock)
        encryption = Encryption(
            campaign,
            resolver,
            tally=tally,
            authorities=campaign.tls.authorities if sandbox is None else sandbox.authorities,
        )
        sources = egress_sources(campaign)
        transport = transport_of(campaign)
        own_names = [source.ehlo for source in sources if source.ehlo]
        run = plan.run
        means = Means(
            campaign=campaign,
            program=program,
            signer=signer,
            issuer=Identity(plan.token_keys).issuer(run.number, run.created),
            router=Router(campaign, resolver, ways, own_names=own_names, rng=random.Random()),
            encryption=encryption,
            transport=transport if sandbox is None else msgspec.structs.replace(transport, port=sandbox.smtp_port),
            transports=transports_of(campaign, ways),
            sources=sources,
            pacing=plan.pacing,
            signers=plan.signers,
        )
        look_thread = ThreadPoolExecutor(1, thread_name_prefix="bulkmail-store")
        sync_thread = ThreadPoolExecutor(1, thread_name_prefix="bulkmail-sync")
        suppressions = Suppressions.open(plan.directory, campaign=campaign.campaign, clock=clock)
        suppressions.load()
        journal = self._journal = Journal(setup.folder, first=plan.first_segment)
        return SendingNode(
            means,
            run,
            number=setup.number,
            journal=journal,
            events_offset=setup.events_offset,
            suppressions=suppressions,
            anomalies=plan.anomalies,
            rules=rule_book().after(plan.own_rules) if plan.own_rules else None,
            connections=setup.connections,
            look_thread=look_thread,
            sync_thread=sync_thread,
            meter=CpuMeter(look_thread, sync_thread),
            clock=SteadyClock(clock),
        )


def main() -> None:
    """`python -m bulkmail.nodeprocess DESCRIPTOR`."""
    # Who is interrupted is the owner, who says what becomes of that.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    async def run() -> None:
        await NodeMain().run(int(sys.argv[1]))

    uvloop.run(run())


if __name__ == "__main__":
    main()
