"""Whole messages from stored rows: the plain twin's, byte for byte, and left out where that leaves them out."""

import threading
import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkmail.content import headers
from bulkmail.content.errors import ContentError
from bulkmail.native.assembly import Assembler
from bulkmail.native.message import Message
from bulkmail.native.press import MAX_TEXTS, Press, finish
from bulkmail.native.tokens import Sealer
from tests.oracles import assembly as plain_assembly
from tests.oracles import press as oracle
from tests.oracles import tokens as plain_tokens

KEY, PERSON, DATE = b"0123456789abcdef", b"bulkmail tokens", b"Mon, 01 Mar 2027 08:15:00 +0000"
WIDTH = 3
ADDRESS, TOKEN, DATE_PLACE, MESSAGE_ID, CAMPAIGN, FIRST_TEXT = range(WIDTH, WIDTH + 6)

TEXT = st.text(st.sampled_from('ab .=?<é漢😀"\\\t\x7f\nF&'), max_size=12)
VALUE = st.one_of(
    st.none(), st.booleans(), TEXT, st.integers(-(10**20), 10**20).filter(lambda n: -(2**63) <= n < 2**64), st.floats()
)
ROW = st.lists(VALUE, min_size=WIDTH - 1, max_size=WIDTH + 1).map(orjson.dumps)
ADDRESSES = st.one_of(st.sampled_from(["ann@example.com", "käthe@example.com", "a\tb@example.com", ""]), TEXT)
SLOT = st.tuples(st.integers(0, FIRST_TEXT - 1), st.one_of(st.none(), TEXT))
NAMES = ("Subject", "X", "X" * 50)
# The literals and slots of one text, and the header it is the value of.
WORDING = st.tuples(st.lists(st.one_of(TEXT, SLOT), max_size=4), st.sampled_from([None, *NAMES]))
PART = st.lists(st.one_of(TEXT, st.tuples(st.integers(0, FIRST_TEXT + 1), st.booleans(), st.one_of(st.none(), TEXT))))


def presses(header: Any, body: Any, texts: Any) -> tuple[Press, oracle.Press]:
    made: list[Any] = []
    for press, assembler, sealer in (
        (Press, Assembler, Sealer),
        (oracle.Press, plain_assembly.Assembler, plain_tokens.Sealer),
    ):
        programs = [written(assembler(), ops) for ops, _ in [(header, None), *texts]]
        part = assembler()
        part.copy(b"--a\r\n")
        part.begin()
        for op in body:
            if isinstance(op, str):
                part.text(op.encode())
            else:
                default = None if op[2] is None else op[2].encode()
                part.slot(op[0] % (FIRST_TEXT + len(texts)), escape=op[1], default=default)
        part.end()
        made.append(
            press(
                sealer(KEY, PERSON),
                programs[0],
                part,
                texts=[(program, name) for program, (_, name) in zip(programs[1:], texts, strict=True)],
                width=WIDTH,
                campaign="spring",
                message_domain="garden.example",
                return_local="bounces",
                return_domain="mail.garden.example",
            )
        )
    return made[0], made[1]


def written(program: Any, ops: Any) -> Any:
    for op in ops:
        if isinstance(op, str):
            program.copy(op.encode())
        else:
            program.copy_slot(op[0], default=None if op[1] is None else op[1].encode())
    return program


def told(message: Message | None) -> object:
    if message is None:
        return None
    names = ("chunk", "index", "attempt", "address", "sender", "recipient", "data", "message_id", "utf8", "started")
    return {name: getattr(message, name) for name in names}


HEADER = ["To: ", (ADDRESS, None), "\r\nMessage-ID: ", (MESSAGE_ID, None), "\r\n"]
PLAIN = (HEADER, ["Dear ", (0, True, "friend"), ",\n", (TOKEN, False, None), " ", (FIRST_TEXT, False, None)])


@given(
    st.lists(st.one_of(TEXT, SLOT), max_size=4),
    PART,
    st.lists(WORDING, max_size=3),
    st.lists(st.tuples(ADDRESSES, ROW), min_size=1, max_size=4),
    st.data(),
)
def test_the_messages_are_the_oracles(header: Any, body: Any, texts: Any, people: Any, data: st.DataObject) -> None:
    native, plain = presses(header, body, texts)
    indexes = data.draw(st.lists(st.integers(0, len(people) - 1), max_size=5))
    tried = data.draw(st.lists(st.integers(0, 60_000), min_size=len(indexes), max_size=len(indexes)))
    addresses, rows = [address for address, _ in people], [row for _, row in people]
    arguments = ("chunk", 2**61 + 5, addresses, rows, indexes, tried, DATE)
    (messages, left), (expected, expected_left) = native.messages(*arguments), plain.messages(*arguments)
    assert list(map(told, messages)) == list(map(told, expected))
    assert left == expected_left


PIECES = [
    "From ",
    "a",
    " ",
    "  ",
    "=?",
    "=",
    "?",
    "é",
    "漢",
    "😀",
    "_",
    "\x7f",
    "\x85",
    "\u2028",
    "\t",
    "x" * 40,
    "y" * 90,
]


@given(
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=14).map("".join), st.sampled_from(NAMES)
)
@example("x" * 998, "X")
@example("x " * 600, "Subject")
@example("x" * 989 + " y", "Subject")
@example("😀" * 200, "X" * 50)
@example("ab😀" * 300, "Subject")
def test_a_headers_value_is_the_programs(text: str, name: str) -> None:
    native, _ = presses([(FIRST_TEXT, None)], [], [([(0, None)], name)])
    (message,), _left = native.messages(None, 1, ["a@b.example"], [orjson.dumps([text, None, None])], [0], [0], DATE)
    try:
        expected = headers.unstructured(name, text)
    except ContentError:
        assert message is None
        return
    assert message is not None and message.data == expected.encode() + b"\r\n--a\r\n"


@given(st.one_of(st.binary(max_size=20), ROW, st.sampled_from([b"[0,-0,1]", b"[00,1,2]", b"[,,]", b"[nul,1,2]"])))
@example(b'["a","b","c"')
@example(b'["a","b",nullx]')
@example(b"[-,1,2]")
@example(b"[1,2,1234567890123456789]")
@example(b'["a","b","c\\"]')
@example(b'["\\"\\\\\\/","\\b\\f\\n\\r\\t","\\u0001\\u007F"]')
@example(b'["\\u00e9",1,2]')
@example(b'["\\u00",1,2]')
@example(b'["\\x",1,2]')
@example(b'["\\')
def test_a_row_is_read_as_json_or_left_alone(row: bytes) -> None:
    native, _ = presses(HEADER, [(number, False, "none") for number in range(WIDTH)], [])
    (message,), left = native.messages(None, 1, ["a@b.example"], [row], [0], [0], DATE)
    values = oracle.read_row(row)
    assert (message is None) == (values is None or len(values) != WIDTH)
    assert left == ([0] if message is None else [])
    if values is not None:
        assert list(map(str, values)) == list(map(str, orjson.loads(row) if is_json(row) else values))


def is_json(row: bytes) -> bool:
    """With control characters in its strings it is none; those are read as they stand."""
    return min(row) >= 0x20


def test_what_is_missing_in_one_message_leaves_the_others_as_they_are() -> None:
    native, _ = presses(HEADER, ["Dear ", (0, False, None)], [])
    rows = [b'["Ann",null,1]', b"[null,null,1]", b'["Bob",null,1]']
    messages, left = native.messages("chunk", 1, ["a@b.example"] * 3, rows, [0, 1, 2], [0, 0, 0], DATE)
    assert [message and message.data.splitlines()[-1] for message in messages] == [b"Dear Ann", None, b"Dear Bob"]
    assert left == [1]


@pytest.mark.parametrize("byte", [0, 9, 10, 13, 31, 127, 128, 0x2028])
def test_an_address_or_header_with_a_control_character_is_left_to_the_general_way(byte: int) -> None:
    native, _ = presses(HEADER, ["x"], [([(0, None)], "Subject")])
    row, wild = b'["Ann",null,null]', f"a{chr(byte)}b"
    made, _left = native.messages(
        None,
        1,
        ["a@b.example", f"{wild}@b.example", "a@b.example"],
        [row, row, b'["%b",null,null]' % wild.encode()],
        [0, 1, 2],
        [0] * 3,
        DATE,
    )
    assert [message is None for message in made] == [False, True, True]


@pytest.mark.parametrize("index", [-1, 1, 10**6])
def test_an_index_outside_the_chunk_is_an_error(index: int) -> None:
    native, _ = presses(*PLAIN, [(["x"], None)])
    with pytest.raises(IndexError):
        native.messages(None, 1, ["a@b.example"], [b'["a","b","c"]'], [index], [0], DATE)


def test_texts_too_long_to_be_held_at_once_are_left_to_the_general_way() -> None:
    native, _ = presses(HEADER, ["x"], [([(0, None)], None), ([(0, None)], None)])
    for size, made in ((30_000, True), (40_000, False), (100_000, False)):
        row = orjson.dumps(["x" * size, None, None])
        (message,), _left = native.messages(None, 1, ["a@b.example"], [row], [0], [0], DATE)
        assert (message is not None) == made


def test_programs_with_repeats_are_refused() -> None:
    body = Assembler()
    body.repeat(0)
    body.end_repeat()
    arguments: Any = {
        "texts": [],
        "width": 1,
        "campaign": "",
        "message_domain": "",
        "return_local": "",
        "return_domain": "",
    }
    with pytest.raises(ValueError, match="repeats"):
        Press(Sealer(KEY, PERSON), Assembler(), body, **arguments)
    with pytest.raises(ValueError, match="texts"):
        arguments["texts"] = [(Assembler(), None)] * (MAX_TEXTS + 1)
        Press(Sealer(KEY, PERSON), Assembler(), Assembler(), **arguments)
    with pytest.raises(ValueError, match="too long"):
        arguments["texts"] = [(Assembler(), "X" * 51)]
        Press(Sealer(KEY, PERSON), Assembler(), Assembler(), **arguments)


@given(PART, st.lists(VALUE, min_size=FIRST_TEXT + 2, max_size=FIRST_TEXT + 2), ADDRESSES)
def test_a_message_of_values_that_are_there_is_header_blank_line_and_body(body: Any, values: Any, address: str) -> None:
    header, part = Assembler(), Assembler()
    header.copy(b"X: ")
    header.copy_slot(0, default=b"none")
    header.copy(b"\r\n")
    part.begin()
    for op in body:
        if isinstance(op, str):
            part.text(op.encode())
        else:
            part.slot(op[0], escape=op[1], default=b"" if op[2] is None else op[2].encode())
    part.end()
    message = finish(header, part, values, "chunk", 3, 2, address, b"r@d.example", "<id>")
    assert message.data == header.assemble(values) + b"\r\n" + part.assemble(values)
    assert (message.chunk, message.index, message.attempt, message.address) == ("chunk", 3, 2, address)
    assert (message.sender, message.message_id, message.started) == (b"r@d.example", "<id>", 0.0)
    assert (message.recipient, message.utf8) == (address.encode(), not address.isascii())


def test_a_message_whose_values_do_not_do_fails_as_the_assembler_does() -> None:
    header, body = Assembler(), Assembler(1000)
    header.copy_slot(0)
    body.begin()
    body.repeat(1)
    body.text(b"x" * 100)
    body.end_repeat()
    body.end()
    arguments: Any = ("chunk", 0, 1, "a@b.example", b"", "")
    with pytest.raises(KeyError, match="0"):
        finish(header, body, [None, []], *arguments)
    with pytest.raises(IndexError, match="1"):
        finish(header, body, ["x"], *arguments)
    with pytest.raises(OverflowError):
        finish(header, body, ["x", [[]] * 100], *arguments)
    with pytest.raises(UnicodeEncodeError):
        finish(header, body, ["\ud800", []], *arguments)
    assert finish(header, body, ["x", [[]] * 2], *arguments).data == b"x\r\n" + b"x" * 75 + b"=\r\n" + b"x" * 75 + (
        b"=\r\n" + b"x" * 50 + b"\r\n"
    )


def test_one_press_serves_several_threads() -> None:
    native, plain = presses(*PLAIN, [(["to ", (1, "?")], "Subject")])
    rows = [orjson.dumps([f"name {number}" * number, number, None]) for number in range(20)]
    arguments = ("chunk", 7, ["a@b.example"] * 20, rows, list(range(20)), [0] * 20, DATE)
    expected = list(map(told, plain.messages(*arguments)[0]))
    wrong: list[int] = []

    def work(number: int) -> None:
        if any(list(map(told, native.messages(*arguments)[0])) != expected for _ in range(100)):
            wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_pressing_leaks_no_memory() -> None:
    native, _ = presses(*PLAIN, [(["x"], None)])
    rows = [b'["x",1,2]', b'["x",1.5,2]']
    arguments = ("chunk", 7, ["a@b.example"] * 2, rows, [0, 1], [0, 0], DATE)
    native.messages(*arguments)
    tracemalloc.start()
    try:
        for _ in range(300):
            native.messages(*arguments)
        current, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert current < 20_000
