"""What a run has cost: CPU seconds by stage, of all processes that have worked on it."""

from msgspec import Struct
from msgspec.structs import astuple

STAGES = ("intake", "composing", "signing", "loop", "recording", "store", "rest")


class CpuSpent(Struct, frozen=True, kw_only=True):
    """CPU seconds by stage; they add up to what the processes took from the first row to the end.

    `intake` is reading, checking and storing rows; `signing` includes the hashes; `loop` is the event loop's thread
    less what was composed on it: sockets, sessions, DNS, limits, journal; `recording` is syncs and the event log;
    `store` claims and folds chunks. `rest` has what no stage has claimed, such as threads waiting for the interpreter
    and receivers of events. `messages` were composed; `loop_seconds` is all of the loop's thread in the `wall_seconds`
    that it was sending. `blocks` are how often one thing held it up for too long, `blocked_seconds` the time of all.
    """

    intake: float = 0.0
    composing: float = 0.0
    signing: float = 0.0
    loop: float = 0.0
    recording: float = 0.0
    store: float = 0.0
    rest: float = 0.0
    messages: int = 0
    loop_seconds: float = 0.0
    wall_seconds: float = 0.0
    blocks: int = 0
    blocked_seconds: float = 0.0

    def __add__(self, other: "CpuSpent") -> "CpuSpent":
        names = self.__struct_fields__
        return CpuSpent(
            **{name: one + two for name, one, two in zip(names, astuple(self), astuple(other), strict=True)}
        )

    @property
    def total(self) -> float:
        """CPU seconds of all stages."""
        return sum((float(getattr(self, stage)) for stage in STAGES), 0.0)

    @property
    def loop_share(self) -> float:
        """How much of the time the loop's thread was at work while it sent, from 0 to 1."""
        return min(1.0, self.loop_seconds / self.wall_seconds) if self.wall_seconds > 0 else 0.0

    def microseconds(self, stage: str) -> float:
        """What the stage took of one message."""
        return float(getattr(self, stage)) / self.messages * 1e6 if self.messages else 0.0
