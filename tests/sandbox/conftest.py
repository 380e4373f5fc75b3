"""A bench for dialogues without sockets, and small houses for tests with them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bulkmail.sandbox.counts import Counts
from bulkmail.sandbox.dialogue import Dialogue
from bulkmail.sandbox.doorman import Doorman
from bulkmail.sandbox.ledger import Entry, Result
from bulkmail.sandbox.profiles import load_profiles
from bulkmail.sandbox.reception import Reception
from bulkmail.sandbox.zone import Zone

SMALL = """
[manners.plain]
{manners}

[group.own]
manners = "plain"
share = 1.0
exchangers = ["10 mx.{{domain}}"]
addresses = 2
word = "own"

[group.big]
manners = "plain"
domains = ["big.test"]
exchangers = ["10 mx1.big-mail.test", "20 mx2.big-mail.test"]
"""


class HeldClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


class Book:
    """A ledger in memory."""

    keep = "maildir"

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.messages: list[bytes] = []
        self.urgent = False
        self.full = False

    @property
    def results(self) -> list[Result]:
        return [entry for entry in self.entries if isinstance(entry, Result)]

    def stamp(self) -> str:
        return "2027-01-15T08:00:00.000Z"

    def note(self, entry: Entry, *, urgent: bool = False) -> None:
        self.entries.append(entry)
        self.urgent = self.urgent or urgent

    def store(self, message: bytes, *, sender: str, recipients: list[str], host: str) -> str:
        if self.full:
            raise OSError(28, "No space left on device")
        self.messages.append(message)
        return f"file{len(self.messages)}"


class Bench:
    """A house without sockets: `dialogue()` opens a connection to the exchanger of `domain`."""

    def __init__(self, profiles: Path, *, seed: int = 1) -> None:
        self.zone = Zone(load_profiles(profiles), seed=seed)
        self.book = Book()
        self.clock = HeldClock()
        self.counts = Counts()
        self.doormen = {name: Doorman(manners, seed=seed) for name, manners in self.zone.profiles.manners.items()}
        self.connections = 0

    def dialogue(self, domain: str = "own.test", *, peer: str = "127.0.0.1", tls_ready: bool = True) -> Dialogue:
        host = self.zone.place(domain).exchangers[0][1]
        address = self.zone.exchanger_address(host)
        listener = next(listener for listener in self.zone.listeners if listener.ip == address)
        self.connections += 1
        reception = Reception(
            listener,
            peer,
            connection=self.connections,
            zone=self.zone,
            doorman=self.doormen[listener.manners],
            ledger=self.book,
            counts=self.counts,
            clock=self.clock,
            tls_ready=tls_ready,
        )
        return Dialogue(reception)


def play(dialogue: Dialogue, *pieces: bytes) -> bytes:
    """Feed pieces until the dialogue closes, with holds passed over; all replies together."""
    out = b""
    for piece in pieces:
        if dialogue.closing:
            break
        out += dialogue.receive(piece)
        while dialogue.hold_seconds:
            out += dialogue.resume()
    return out


def codes(replies: bytes) -> list[int]:
    """The code of each whole reply."""
    return [int(line[:3]) for line in replies.splitlines() if line[3:4] == b" "]


@pytest.fixture
def write_profiles(tmp_path: Path) -> Callable[..., Path]:
    """Write a small data file; the argument is the body of its only manners."""

    def write(manners: str = "") -> Path:
        path = tmp_path / "profiles.toml"
        path.write_text(SMALL.format(manners=manners))
        return path

    return write


@pytest.fixture
def make_bench(write_profiles: Callable[..., Path]) -> Callable[..., Bench]:
    return lambda manners="", **options: Bench(write_profiles(manners), **options)
