"""Rows in batches: the same rows in the same order with the same line numbers, however they were taken."""

from array import array
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkmail.model.campaign import RecipientSource
from bulkmail.model.recipient import PlainBatch, PlainRules, Recipient, RejectedRow
from bulkmail.recipients import lines as lines_module
from bulkmail.recipients.source import open_source

RULES = PlainRules(fields=("name", "town", "shoe"), required=("name",), max_bytes=30)
Told = tuple[object, ...]

PLAIN = st.sampled_from(
    ["ada@shop.example,Ada,Bonn", "A.B@shop.example, Zoë ,", "x@y.example,J\\örg,Köln\r", "y@y.example,Y,\u20ac"]
)
ODD = st.sampled_from(
    [
        '"q@shop.example","Ada ""A"" L","Bonn"',
        '"two@shop.example","line\nbreak",x',
        '"open@shop.example,never closed',
        "",
        "  ",
        ",,",
        "nobody,Ada,Bonn",
        "short@shop.example",
        "long@shop.example,a,b,c",
        "ada@SHOP.example,Ada,",
        "noname@shop.example,,Bonn",
        "tab@shop.example,a\tb,c",
        "nul@shop.example,a\0b,c",
        "bare@shop.example,a\rb,c",
        "wide@shop.example," + "w" * 31 + ",",
        "é@shop.example,É,",
    ]
)


def told(path: Path, *, batches: bool, most: int = 3) -> list[Told]:
    """What comes out of the file, in a form in which both ways can be compared."""
    reader = open_source(RecipientSource(file=str(path), list="news"))
    found: list[Told] = []
    for batch in reader.batches(RULES if batches else None, most):
        assert 0 < len(batch) <= most
        if isinstance(batch, PlainBatch):
            assert (batch.source, batch.list) == (str(path), "news")
            found += zip(batch.addresses, map(bytes, batch.rows), batch.lines, strict=True)
            assert batch.keys == [address.lower().encode() for address in batch.addresses]
            continue
        found += [_told(row) for row in batch]
    return found


def _told(row: Recipient | RejectedRow) -> Told:
    if isinstance(row, RejectedRow):
        return ("rejected", row.address, row.reason, row.line)
    return (row.address, orjson.dumps([row.fields.get(name) for name in RULES.fields]), row.line)


@settings(max_examples=150)
@given(st.lists(PLAIN | ODD, max_size=12), st.booleans(), st.integers(1, 40))
def test_both_ways_tell_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], end: bool, size: int
) -> None:
    path = tmp_path_factory.mktemp("list") / "l.csv"
    path.write_bytes(("email,name,town\n" + "\n".join(rows) + "\n" * end).encode())
    expected = told(path, batches=False)
    with pytest.MonkeyPatch.context() as patch:
        # So small that lines and rows lie across the blocks.
        patch.setattr(lines_module, "_BUFFER_BYTES", size + 20)
        assert told(path, batches=True) == expected


def test_plain_rows_are_taken_together_and_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("email,name\n" + "".join(f"r{n}@shop.example,N{n}\n" for n in range(7)))
    batches = list(open_source(RecipientSource(file=str(path))).batches(RULES, 3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert all(isinstance(batch, PlainBatch) for batch in batches)


def test_a_batch_is_split_by_position() -> None:
    path_free = PlainBatch(
        addresses=["a@x.example", "b@x.example"],
        keys=[b"a", b"b"],
        rows=[b"1", b"2"],
        lines=array("I", [2, 3]),
        source="l",
        list=None,
    )
    first, rest = path_free.split(1)
    assert (first.addresses, first.keys, first.rows, list(first.lines)) == (["a@x.example"], [b"a"], [b"1"], [2])
    assert (rest.addresses, rest.keys, rest.rows, list(rest.lines)) == (["b@x.example"], [b"b"], [b"2"], [3])
    assert (len(first), rest.source) == (1, "l")
