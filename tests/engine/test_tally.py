"""Counts of TLS sessions: by day, added up, and never lost to a disk that is full for a while."""

from bulkmail.engine.tally import Tally
from bulkmail.errors import DiskFull
from bulkmail.store.assurance import TlsSessions


class Hands:
    now = 1_800_000_000.0  # 2027-01-15 08:00

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


class Book:
    def __init__(self) -> None:
        self.full = False
        self.rows: list[TlsSessions] = []

    def write(self, rows: list[TlsSessions]) -> None:
        if self.full:
            raise DiskFull("no room")
        self.rows += rows


def told(book: Book) -> list[tuple[str, str, str, int]]:
    return [(row.day, row.domain, row.result, row.sessions) for row in book.rows]


def test_sessions_are_counted_by_day_domain_and_result() -> None:
    clock, book = Hands(), Book()
    tally = Tally(book.write, clock=clock)
    tally.count(("a.example", "b.example"), "sts", "p")
    tally.count(("a.example",), "sts", "p")
    tally.count(("a.example",), "sts", "p", result="certificate-expired", host="mx", reason="x" * 1000)
    clock.now += 86400
    tally.count(("a.example",), "sts", "p")
    tally.flush()
    tally.flush()
    assert told(book) == [
        ("2027-01-15", "a.example", "", 2),
        ("2027-01-15", "b.example", "", 1),
        ("2027-01-15", "a.example", "certificate-expired", 1),
        ("2027-01-16", "a.example", "", 1),
    ]
    assert len(book.rows[2].reason) == 200


def test_what_cannot_be_written_is_written_later() -> None:
    book = Book()
    tally = Tally(book.write, clock=Hands())
    tally.count(("a.example",), "sts", "p")
    book.full = True
    tally.flush()
    tally.count(("a.example", "b.example"), "sts", "p")
    book.full = False
    tally.flush()
    assert [one[1:] for one in told(book)] == [("a.example", "", 2), ("b.example", "", 1)]
