"""The native assembler against its plain twin, and the promises of the quoted-printable form."""

import quopri
import re
import threading
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markupsafe import escape

from bulkmail.native.assembly import Assembler
from tests.oracles import assembly as oracle

PIECES = [
    *("From ", "From", "F", "rom ", ".", "..", " ", "  ", "\t", "\n", "\r", "\r\n", "=", "==", "é", "ü", "漢", "😀"),
    *("&", "<", ">", '"', "'", "\0", "\x7f", "\x0b", "\u2028", "word"),
    *("x" * 37, "y" * 71, "z" * 80, " " * 70),
]
TEXT = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=6)), max_size=14).map("".join)
STEP = st.one_of(
    st.tuples(st.just("text"), TEXT),
    st.tuples(st.just("slot"), st.one_of(st.none(), TEXT, st.integers(), st.booleans()), st.booleans(), TEXT),
)


def encoded(*pieces: str) -> bytes:
    program = Assembler()
    program.begin()
    for piece in pieces:
        program.text(piece.encode())
    program.end()
    return program.assemble([])


def through_slots(*pieces: str) -> bytes:
    program = Assembler()
    program.begin()
    for index in range(len(pieces)):
        program.slot(index)
    program.end()
    return program.assemble(list(pieces))


@given(TEXT)
@example("From \n" + "x" * 74 + " \n")
@example("x" * 75 + " ")
@example("x" * 75 + ".From ")
def test_the_encoding_is_the_oracles(text: str) -> None:
    assert encoded(text) == oracle.quoted_printable(text)


@given(TEXT)
def test_decoding_gives_the_text_back_with_its_line_breaks_made_crlf(text: str) -> None:
    lines = re.sub(r"\r\n|\r|\n", "\r\n", text)
    if lines and not lines.endswith("\r\n"):
        lines += "\r\n"
    assert quopri.decodestring(encoded(text)) == lines.encode()


@given(TEXT)
def test_every_line_is_short_printable_ascii_and_safe_in_transport(text: str) -> None:
    data = encoded(text)
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", data) is None
    for line in data.split(b"\r\n"):
        assert len(line) <= 76
        assert re.fullmatch(rb"[\t -~]*", line)
        assert not line.startswith((b".", b"From "))
        assert not line.endswith((b" ", b"\t"))


@given(TEXT)
def test_no_soft_break_cuts_a_character(text: str) -> None:
    for line in encoded(text).split(b"\r\n"):
        quopri.decodestring(line.removesuffix(b"=")).decode()


@given(TEXT, st.data())
def test_the_encoding_does_not_depend_on_where_the_text_is_cut(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    expected = encoded(text)
    assert through_slots(*pieces) == expected
    mixed = Assembler()
    mixed.begin()
    for number, piece in enumerate(pieces):
        if number % 2:
            mixed.text(piece.encode())
        else:
            mixed.slot(number)
    mixed.end()
    assert mixed.assemble([*pieces]) == expected


@given(st.lists(STEP, max_size=8))
def test_programs_of_text_and_slots_give_the_oracles_bytes(steps: list[Any]) -> None:
    programs, values = (Assembler(), oracle.Assembler()), [step[1] for step in steps]
    for program in programs:
        program.copy(b"start:")
        program.begin()
        for number, step in enumerate(steps):
            if step[0] == "text":
                program.text(step[1].encode())
            else:
                program.slot(number, escape=step[2], default=step[3].encode())
        program.end()
        program.copy(b":end")
    assert programs[0].assemble(values) == programs[1].assemble(values)


@given(TEXT)
def test_an_escaped_slot_equals_markupsafe_and_then_the_encoder(text: str) -> None:
    program = Assembler()
    program.begin()
    program.slot(0, escape=True)
    program.end()
    assert program.assemble([text]) == encoded(str(escape(text)))


@given(st.sampled_from(["&", "'", "é", "😀", "=", " \n", "\r", "From ", "x"]), st.integers(1, 3000))
def test_the_reserved_room_is_enough_for_the_worst_text(unit: str, times: int) -> None:
    program = Assembler()
    program.begin()
    program.slot(0, escape=True)
    program.end()
    assert program.assemble([unit * times]) == oracle.quoted_printable(str(escape(unit * times)))


def test_copies_are_not_encoded_and_a_new_part_starts_at_column_zero() -> None:
    program = Assembler()
    program.copy(b"=\x00\xff")
    program.copy_slot(0)
    program.begin()
    program.slot(1)
    program.end()
    program.copy(b"--")
    program.begin()
    program.text(b".")
    program.end()
    assert program.assemble(["a=b", "x\r"]) == b"=\x00\xffa=bx\r\n--=2E\r\n"


def test_a_missing_value_names_its_index() -> None:
    program = Assembler()
    program.begin()
    program.slot(1)
    program.end()
    with pytest.raises(KeyError, match="1"):
        program.assemble(["x", None])
    with pytest.raises(IndexError, match="1"):
        program.assemble(["x"])


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        through_slots("\ud800")


def test_negative_indexes_are_refused_when_the_program_is_built() -> None:
    with pytest.raises(IndexError):
        Assembler().slot(-1)
    with pytest.raises(IndexError):
        Assembler().copy_slot(-1)


def test_text_without_an_end_is_a_programming_error() -> None:
    program = Assembler()
    program.begin()
    program.text(b"x")
    with pytest.raises(RuntimeError):
        program.assemble([])


def test_the_sizes_are_bounds() -> None:
    program = Assembler()
    program.copy(b"x" * 1000)
    program.begin()
    program.text(" \né".encode() * 500)
    program.slot(0, default=b"=" * 100)
    program.text(b"\xc3\xa9")
    program.end()
    size = len(program.assemble([None]))
    assert program.fixed_size <= size <= program.static_size < 2 * size
    assert program.fixed_size > size - 400


@given(TEXT, TEXT)
@example("x", "=.From " * 300)
@example("x" * 74, " \n")
@example("From", " " * 76 + "\r\n")
@example("x" * 75, ".\té" * 100 + " \n.")
def test_the_bound_holds_for_literal_text_behind_any_slot(value: str, text: str) -> None:
    program, repeated = Assembler(), Assembler()
    for each in (program, repeated):
        each.begin()
        each.slot(0)
    program.text(text.encode())
    repeated.repeat(1)
    repeated.text(text.encode())
    repeated.end_repeat()
    for each in (program, repeated):
        each.end()
    # What the value itself becomes is not part of it.
    assert len(program.assemble([value])) <= program.static_size + len(through_slots(value))
    assert program.assemble([value]) == oracle.quoted_printable(value + text)
    assert repeated.assemble([value, [[]] * 3]) == oracle.quoted_printable(value + text * 3)


def test_a_value_whose_str_empties_the_list_does_no_harm() -> None:
    values: list[object] = []

    class Hostile:
        def __str__(self) -> str:
            values.clear()
            return "hostile"

    values.extend([Hostile(), "after"])
    program = Assembler()
    program.begin()
    program.slot(0)
    program.slot(1)
    program.end()
    assert program.assemble(values) == b"hostileafter\r\n"


def test_one_program_serves_several_threads() -> None:
    program = Assembler()
    program.begin()
    for index in range(20):
        program.text(b"text\n")
        program.slot(index, escape=True)
    program.end()
    wrong: list[str] = []

    def work(mark: str) -> None:
        values: list[object] = [mark * index for index in range(20)]
        expected = program.assemble(values)
        if any(program.assemble(values) != expected for _ in range(500)):
            wrong.append(mark)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in "ab<"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_assembling_leaks_no_memory() -> None:
    program = Assembler()
    program.begin()
    program.slot(0, escape=True)
    program.slot(1)
    program.end()
    values: list[object] = ["x" * 10_000, 7]
    program.assemble(values)
    tracemalloc.start()
    try:
        for _ in range(300):
            program.assemble(values)
        current, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert current < 100_000


def nested(steps: int) -> Any:
    """A program of texts, slots and repeats in each other, and values that fit it: bools and lists of frames."""
    leaf = st.one_of(st.tuples(st.just("text"), TEXT), st.tuples(st.just("slot"), st.integers(0, 2), st.booleans()))
    return st.recursive(
        st.lists(leaf, max_size=4),
        lambda inner: st.lists(st.one_of(leaf, st.tuples(st.just("repeat"), st.integers(3, 4), inner)), max_size=4),
        max_leaves=steps,
    )


def write_nested(program: Any, steps: Any) -> None:
    for kind, *details in steps:
        if kind == "text":
            program.text(details[0].encode())
        elif kind == "slot":
            program.slot(details[0], escape=details[1])
        else:
            program.repeat(details[0])
            write_nested(program, details[1])
            program.end_repeat()


@given(nested(12), st.lists(TEXT, min_size=3, max_size=3), st.booleans(), st.lists(TEXT, max_size=3))
def test_repeats_are_the_oracles(steps: Any, texts: list[str], once: bool, turns: list[str]) -> None:
    native, plain = Assembler(), oracle.Assembler()
    for program in (native, plain):
        program.begin()
        write_nested(program, steps)
        program.end()
    # Inner frames have an end: their own repeats are not done at all.
    frames = [[turn, *texts[1:], once, []] for turn in turns]
    values: list[Any] = [*texts, once, frames]
    assert native.assemble(values) == plain.assemble(values)


def test_a_repeat_goes_no_further_than_the_memory_it_may_use() -> None:
    program = Assembler(100_000)
    program.begin()
    program.repeat(0)
    program.text(b"x" * 1000)
    program.end_repeat()
    program.end()
    assert program.assemble([[[]] * 5]).count(b"x") == 5000
    with pytest.raises(OverflowError):
        program.assemble([[[]] * 1000])


def test_a_repeat_that_is_not_closed_or_given_something_else_is_an_error() -> None:
    program = Assembler()
    with pytest.raises(RuntimeError):
        program.end_repeat()
    program.begin()
    program.repeat(0)
    with pytest.raises(RuntimeError):
        program.end()
    program.end_repeat()
    program.end()
    for value in (None, 1, "x", [1], ()):
        with pytest.raises((TypeError, KeyError)):
            program.assemble([value])
