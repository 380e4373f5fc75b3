"""The engine as a library: `Engine` for asyncio programs, `send` for scripts."""

import asyncio
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import uvloop

from bulkmail.composition import Send, SendOptions
from bulkmail.config.load import load_campaign
from bulkmail.content.bodies import Attach
from bulkmail.engine.statistics import Snapshot
from bulkmail.model.campaign import Campaign
from bulkmail.model.delivery import Event, Summary
from bulkmail.model.recipient import Recipient
from bulkmail.store.locate import state_for_campaign

RecipientLike = Recipient | Mapping[str, object] | str
Recipients = Iterable[RecipientLike] | AsyncIterable[RecipientLike]


class Engine:
    """Sends campaigns, one at a time, from one state directory.

        async with bulkmail.Engine(state="state") as engine:
            async for event in engine.send("campaigns/spring.yaml"):
                ...
        print(engine.summary)

    `state` is the state directory; left out, each campaign's own is used, as the command line does (beside the
    campaign file or above it). `signers` is the number of composing and signing threads;
    `turbo` lets them sign eight messages at once where the extra of that name is installed and the CPU can. With
    `nodes` above 1 so many processes of their own send, each with `signers`, and this one keeps the state directory.
    """

    def __init__(
        self, state: str | Path | None = None, *, signers: int | None = None, turbo: bool = True, nodes: int = 1
    ) -> None:
        self._state = Path(state) if state is not None else None
        self._signers = signers
        self._turbo = turbo
        self._nodes = nodes
        self._send: Send | None = None
        self._stream: weakref.ref[AsyncGenerator[Event, None]] | None = None
        self._ended = asyncio.Event()
        self._ended.set()
        self.summary: Summary | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what is under way and wait for its end, so that the state directory is free."""
        self.stop()
        stream = self._stream() if self._stream is not None else None
        if stream is not None:
            with suppress(RuntimeError):  # it is being closed already
                await stream.aclose()
        await self._ended.wait()

    def send(
        self,
        campaign: Campaign | str | Path,
        *,
        recipients: Recipients | None = None,
        new_run: bool = False,
        limit: int | None = None,
        wait: bool = True,
        attach: Attach | None = None,
    ) -> AsyncIterator[Event]:
        """Send, or go on with, a run of the campaign; yields each event once it is durable.

        `recipients` replace those of the file: Recipient, dict (with the address under `email` or `address`) or str
        items. A run that is resumed before they were all taken in needs the same ones in the same order again; after
        that they are not looked at. Events wait in memory for a slow consumer. Leaving the loop early stops the send
        in order. `summary` is set at the end. `attach` makes attachments for each recipient in Python.

        Raises CampaignError for bad input, StateError where the state directory cannot be used.
        """
        options = SendOptions(
            new_run=new_run,
            limit=limit,
            wait=wait,
            signers=self._signers,
            turbo=self._turbo,
            nodes=self._nodes,
            attach=attach,
        )
        stream = self._events(campaign, recipients, options)
        self._stream = weakref.ref(stream)
        return stream

    async def _events(
        self, campaign: Campaign | str | Path, recipients: Recipients | None, options: SendOptions
    ) -> AsyncGenerator[Event, None]:
        """Drives one send, and leaves nothing behind however it is left."""
        self._ended.clear()
        self.summary = None
        queue: asyncio.Queue[Event | None] = asyncio.Queue()

        def publish(events: Sequence[Event]) -> None:
            for event in events:
                queue.put_nowait(event)

        try:
            loaded = _loaded(campaign, recipients)
            directory = state_for_campaign(loaded.file, self._state)
            async with Send(loaded, directory, recipients=recipients, options=options) as sending:
                self._send = sending
                sending.subscribe(publish)
                execution = asyncio.create_task(sending.execute())
                execution.add_done_callback(lambda _: queue.put_nowait(None))
                try:
                    while (event := await queue.get()) is not None:
                        yield event
                finally:
                    sending.stop()
                    try:
                        self.summary = await execution
                    finally:
                        self._send = None
        finally:
            self._ended.set()

    def stop(self) -> None:
        """Begin no new message; the send under way ends once the replies are in, resumable."""
        if self._send is not None:
            self._send.stop()

    def snapshot(self) -> Snapshot | None:
        """How the send under way stands; None between sends."""
        return self._send.snapshot() if self._send is not None else None


def send(
    campaign: Campaign | str | Path,
    *,
    state: str | Path | None = None,
    recipients: Recipients | None = None,
    new_run: bool = False,
    limit: int | None = None,
    wait: bool = True,
    signers: int | None = None,
    turbo: bool = True,
    nodes: int = 1,
    attach: Attach | None = None,
) -> Summary:
    """Send a campaign and wait for its end; for scripts without an event loop. See `Engine` and its `send`.

    RuntimeError inside a running event loop, which it would stop.
    """
    if _loop_runs():
        raise RuntimeError(
            "bulkmail.send() cannot wait inside a running event loop; use `async with bulkmail.Engine()`"
        )
    loaded = _loaded(campaign, recipients)
    options = SendOptions(
        new_run=new_run, limit=limit, wait=wait, signers=signers, turbo=turbo, nodes=nodes, attach=attach
    )
    directory = state_for_campaign(loaded.file, Path(state) if state is not None else None)

    async def run() -> Summary:
        async with Send(loaded, directory, recipients=recipients, options=options) as sending:
            return await sending.execute()

    return uvloop.run(run())


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _loaded(campaign: Campaign | str | Path, recipients: Recipients | None) -> Campaign:
    if isinstance(campaign, Campaign):
        return campaign
    return load_campaign(campaign, recipients_required=recipients is None)
