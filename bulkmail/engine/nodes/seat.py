"""One node as its owner sees it: the process, the channel, and who of the recipients is there."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bulkmail.engine.nodes.channel import Channel
from bulkmail.engine.nodes.messages import FromNode
from bulkmail.engine.work import ActiveChunk
from bulkmail.model.cpu import CpuSpent

if TYPE_CHECKING:
    from bulkmail.engine.nodes.mirror import Mirror


class NodeProcess(Protocol):
    """A node's process, however it was started."""

    @property
    def pid(self) -> int: ...

    def kill(self) -> None:
        """At once."""

    async def wait(self) -> int:
        """Its status, when it has ended; a signal's number below 0."""


class Held:
    """A chunk's recipients at one node, and by which lane each."""

    __slots__ = ("active", "places")

    def __init__(self, active: ActiveChunk) -> None:
        self.active = active
        self.places: dict[int, Mirror] = {}


class Seat:
    """`number` counts the nodes of this owner from 1; `folder` has the node's journal, handed over up to `position`.

    `load` is what is or will be there of recipients, as far as is known. `ready`, `full` and `drained` are what it has
    said, the last of it at `heard_at` (monotonic); `cpu` is what it has taken. `leaving`: its end is no surprise.
    """

    def __init__(self, number: int, folder: Path, process: NodeProcess) -> None:
        self.number = number
        self.folder = folder
        self.process = process
        self.channel: Channel[FromNode]
        self.position = 0
        self.load = 0
        self.lanes = 0
        self.held: dict[int, Held] = {}
        self.ready = self.full = self.drained = self.leaving = self.gone = False
        self.heard_at, self.sweeps_silent = 0.0, 0
        self.cpu = CpuSpent()
        self.failure: BaseException | None = None
