"""What goes wrong and when: windows of trouble drawn from a seed, asked by network, DNS, receivers and disk."""

import random
from enum import Enum

from msgspec import Struct

from bulkmail.sandbox.profiles import Answer


class Trouble(Enum):
    """What a window may hold. `CUT` and `LOST` strike connections that are open, the others all that is begun."""

    CUT = "connections are cut"
    LOST = "packets are lost for good"
    REFUSED = "connections are refused"
    SILENT = "connections are never answered"
    DEFERRING = "receivers defer"
    CLOSING = "receivers say 421"
    REFUSING = "receivers refuse all"
    DNS_SILENT = "the DNS is silent"
    DNS_FAILING = "the DNS fails"
    DISK_FULL = "the disk is full"


class Window(Struct, frozen=True, kw_only=True):
    """`share` of what could be struck between two moments (monotonic seconds) is."""

    trouble: Trouble
    begin: float
    end: float
    share: float = 1.0


_ANSWERS = {
    Trouble.DEFERRING: (
        Answer("451 4.3.2 System not accepting messages now"),
        Answer("450 4.7.0 Try again later"),
        Answer("452 4.3.1 Insufficient system storage"),
    ),
    Trouble.CLOSING: (Answer("421 4.7.0 {host} Service not available, closing"), Answer("421 4.3.2 Shutting down")),
    Trouble.REFUSING: (
        Answer("554 5.7.1 Service unavailable, client {peer} blocked"),
        Answer("550 5.7.1 Message refused by policy"),
    ),
}


class Faults:
    """The windows of one simulation; `rng` decides whom they strike. Without windows nothing goes wrong."""

    def __init__(self, windows: tuple[Window, ...], rng: random.Random) -> None:
        self.windows = windows
        self._rng = rng
        self._ends = max((window.end for window in windows), default=0.0)

    def strikes(self, trouble: Trouble, now: float) -> bool:
        """Whether it strikes this time."""
        if now >= self._ends:
            return False
        return any(
            window.trouble is trouble and window.begin <= now < window.end and self._rng.random() < window.share
            for window in self.windows
        )

    def answer(self, now: float) -> Answer | None:
        """What a receiver says in place of what it would."""
        for trouble, answers in _ANSWERS.items():
            if self.strikes(trouble, now):
                return self._rng.choice(answers)
        return None

    def number(self, below: int) -> int:
        """Where it strikes."""
        return self._rng.randrange(below)


NO_FAULTS = Faults((), random.Random(0))


def faults_of(seed: int, *, begin: float, seconds: float, most: int = 6) -> Faults:
    """Up to `most` windows in the `seconds` after `begin`; short ones are as likely as long ones."""
    rng = random.Random(f"faults {seed}")
    windows = []
    for _ in range(rng.randint(0, most)):
        trouble = rng.choice(list(Trouble))
        start = begin + rng.random() * seconds
        length = seconds * rng.choice((0.01, 0.05, 0.2, 0.5))
        share = rng.choice((0.02, 0.2, 1.0))
        if trouble is Trouble.DISK_FULL:
            length, share = min(length, 120.0), 1.0
        windows.append(Window(trouble=trouble, begin=start, end=start + length, share=share))
    return Faults(tuple(windows), rng)
