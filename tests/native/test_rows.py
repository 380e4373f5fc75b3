"""Plain rows of a list: as the general way reads them, and a stop at the first that is anything else."""

from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.native.rows import PlainRows, group
from tests.oracles.rows import plain_row

COLUMNS, REQUIRED = [1, -1, 0, 2], [True, False, False, False]
CELL = st.text('abz AZ09.-_@\\"\t\x7f\x00éß€\u2028\x85\u0900\ud7ff😀', max_size=6)
ADDRESS = st.sampled_from(
    [
        "ada@shop.example",
        "A.da+x@shop.example",
        "ada@Shop.example",
        "ada@shop",
        "ada@1.2",
        "ada@shop.1x",
        "ada@-x.example",
        "ada@x-.example",
        "a..b@shop.example",
        ".a@shop.example",
        "a.@shop.example",
        "@shop.example",
        "ada",
        "",
        "a@b@shop.example",
        "ädä@shop.example",
        "a@xn--d-1ga.example",
        f"{'x' * 64}@shop.example",
        f"{'x' * 65}@shop.example",
        f"a@{'x' * 63}.example",
        f"a@{'x' * 64}.example",
        f"a@{'.'.join(['x' * 60] * 4)}.example",
        f"a@{'.'.join(['x' * 60] * 3)}.example",
        " ada@shop.example ",
    ]
) | st.text("aA.@-1 ", max_size=12)
LINE = st.tuples(CELL, CELL, ADDRESS).map(lambda cells: ",".join((cells[2], cells[0], cells[1])))
END = st.sampled_from(["", "\r", ",x", " ", "\r\r"])
Taken = tuple[list[str], list[bytes], list[bytes], list[int], int, int]


def take(
    block: bytes, most: int = 1000, separator: bytes = b",", at: int = 0, max_cell: int = 20, width: int = 3
) -> Taken:
    rows = PlainRows(separator, width, 0, COLUMNS, REQUIRED, max_cell)
    addresses: list[str] = []
    keys: list[bytes] = []
    kept: list[bytes] = []
    lines = array("I")
    end, line = rows.take(block, at, 2, most, addresses, keys, kept, lines)
    return addresses, keys, kept, list(lines), end, line


def expected(lines: Sequence[bytes], most: int = 1000) -> Taken:
    addresses: list[str] = []
    keys: list[bytes] = []
    kept: list[bytes] = []
    end = 0
    for line in lines[:most]:
        row = plain_row(line, ",", 3, 0, COLUMNS, REQUIRED, 20)
        if row is None:
            break
        addresses.append(row[0])
        keys.append(row[1])
        kept.append(row[2])
        end += len(line) + 1
    count = len(addresses)
    return addresses, keys, kept, list(range(2, 2 + count)), end, 2 + count


@given(st.lists(st.tuples(LINE, END).map("".join).map(lambda text: text.encode("utf-8", "surrogatepass")), max_size=4))
def test_rows_are_those_of_the_csv_module_up_to_the_first_that_is_not_plain(lines: list[bytes]) -> None:
    assert take(b"".join(line + b"\n" for line in lines)) == expected(lines)


@given(st.lists(st.binary(max_size=12).map(lambda noise: b"ada@shop.example," + noise.replace(b"\n", b"") + b",c")))
def test_bytes_that_are_no_text_are_left_to_the_general_way(lines: list[bytes]) -> None:
    assert take(b"".join(line + b"\n" for line in lines)) == expected(lines)


@given(st.lists(LINE, max_size=4), st.integers(0, 4), st.integers(0, 80))
def test_a_line_that_is_not_whole_and_those_beyond_the_wish_stay(texts: list[str], most: int, cut: int) -> None:
    lines = [text.encode("utf-8", "surrogatepass") for text in texts]
    whole = b"".join(line + b"\n" for line in lines)
    there = whole[: max(0, len(whole) - cut)]
    complete = there.split(b"\n")[:-1]
    assert take(there, most) == expected(complete, most)


def test_cells_and_lines_that_are_too_long_are_not_plain() -> None:
    assert take(b"ada@shop.example," + b"x" * 20 + b",c\n")[4] > 0
    assert take(b"ada@shop.example," + b"x" * 21 + b",c\n")[4] == 0
    assert take(b"ada@shop.example,b," + b"x" * 65_517 + b"\n", max_cell=100_000)[4] > 0
    assert take(b"ada@shop.example,b," + b"x" * 65_518 + b"\n", max_cell=100_000)[4] == 0


def test_another_separator_may_be_a_tab() -> None:
    assert take(b"ada@shop.example\tb\tc,d\n", separator=b"\t")[2] == [b'["b",null,"ada@shop.example","c,d"]']


def test_nonsense_is_refused() -> None:
    for separator in (b"", b",,", b'"', b" ", b"\n"):
        with pytest.raises(ValueError, match="separator"):
            PlainRows(separator, 3, 0, [], [], 10)
    for width, address in ((0, 0), (257, 0), (3, 3), (3, -1)):
        with pytest.raises(ValueError, match="columns"):
            PlainRows(b",", width, address, [], [], 10)
    for columns, required in (([3], [True]), ([-2], [True]), ([0], [])):
        with pytest.raises(ValueError, match="field"):
            PlainRows(b",", 3, 0, columns, required, 10)
    for at in (-1, 4):
        with pytest.raises(IndexError):
            take(b"abc", at=at)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc"), st.booleans()), max_size=20),
    st.booleans(),
)
def test_groups_hold_what_is_wanted_in_order(entries: list[tuple[int, str, bool]], all_wanted: bool) -> None:
    addresses = [f"{number}@{domain}.example" for number, domain, _ in entries]
    rows = [b"%d" % number for number, _, _ in entries]
    groups: dict[str, tuple[list[str], list[bytes]]] = {"a.example": (["first@a.example"], [b"0"])}
    group(addresses, rows, None if all_wanted else [wanted for _, _, wanted in entries], groups)
    for domain in "abc":
        kept = [
            (address, row)
            for address, row, (_, of, wanted) in zip(addresses, rows, entries, strict=True)
            if of == domain and (wanted or all_wanted)
        ]
        if domain == "a":
            kept.insert(0, ("first@a.example", b"0"))
        found = groups.get(f"{domain}.example", ([], []))
        assert list(zip(*found, strict=True)) == kept
