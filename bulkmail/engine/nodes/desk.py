"""What the owner of a run does for its nodes: it starts them, folds, publishes and decides for them."""

import socket
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from bulkmail.engine.conclusions import Conclusions
from bulkmail.engine.nodes.messages import Setup
from bulkmail.engine.nodes.seat import NodeProcess
from bulkmail.engine.recorder import Recorder
from bulkmail.engine.syncs import Syncs
from bulkmail.engine.tally import Tally
from bulkmail.store.store import Store


class NodeStarter(Protocol):
    """Starts the process of a node."""

    async def start(
        self, number: int, folder: Path, *, events_offset: int, connections: int
    ) -> tuple[NodeProcess, socket.socket, Setup]:
        """Process, our end of its channel, and what is to be said to it first. `folder` is for its journal."""
        ...


class Desk(Struct, frozen=True, kw_only=True):
    """What the owner does for its nodes.

    `waiting` is about how many recipients of a destination wait in the store; `checkpoint` folds chunks and says
    whether there was room for that.
    """

    store: Store
    recorder: Recorder
    syncs: Syncs
    conclusions: Conclusions
    tally: Tally
    in_store: Callable[..., Awaitable[Any]]
    waiting: Callable[[str], int]
    checkpoint: Callable[[Collection[int]], Awaitable[bool]]
    keep_anomaly: Callable[[str, str], None]
    may_begin: Callable[[], bool]
    events_offset: Callable[[], int]
    on_low: Callable[[], None]
    on_crash: Callable[[BaseException], None]
