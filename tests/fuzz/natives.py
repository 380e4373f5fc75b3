"""Bytes and calls of any kind into the other natives, held against their plain twins."""

import zlib
from array import array
from typing import Any

from bulkmail.native import canonical, stuffing
from bulkmail.native.assembly import Assembler
from bulkmail.native.hashset import AddressSet, hash64
from bulkmail.native.lines import DeliveredLines
from bulkmail.native.press import Press
from bulkmail.native.records import put_intent, put_outcome
from bulkmail.native.rows import PlainRows, group
from bulkmail.native.tokens import Sealer
from tests.fuzz.mutation import Mutator
from tests.oracles import assembly as plain_assembly
from tests.oracles import canonical as plain_canonical
from tests.oracles import hashset as plain_hashset
from tests.oracles import lines as plain_lines
from tests.oracles import press as plain_press
from tests.oracles import records as plain_records
from tests.oracles import rows as plain_rows
from tests.oracles import stuffing as plain_stuffing
from tests.oracles import tokens as plain_tokens

MESSAGES = [
    b"From: a@b.example\r\nTo: c@d.example\r\nSubject:  two  \r\n\tlines\r\n\r\nbody \t here \r\n.dot\r\n\r\n\r\n",
    b"From a line\n.\n..\nbare\rreturns\r\rand \r\n feeds\n\n",
    b"X:y\n",
    b"\r\n\r\n",
    b"." * 70 + b"\r\n" + b" " * 70,
]


def stuffed(mutator: Mutator, compare: bool) -> None:
    """Dots and line ends: nothing in it could end the message, and doing it twice changes no line end."""
    data = mutator.mutated(MESSAGES)
    normal, out = stuffing.normalize(data), stuffing.stuff(data)
    assert stuffing.normalize(normal) is normal
    assert not out or (out.endswith(b"\r\n") and b"\r\n.\r\n" not in b"\r\n" + out)
    assert normal == plain_stuffing.normalize(data) and out == plain_stuffing.stuff(data)


def canonicalized(mutator: Mutator, compare: bool) -> None:
    """DKIM's forms of a message, a field, and bytes that are neither."""
    data = mutator.mutated(MESSAGES)
    assert canonical.simple_body(data) == plain_canonical.simple_body(data)
    assert canonical.relaxed_body(data) == plain_canonical.relaxed_body(data)
    for name in ("relaxed_header", "relaxed_headers"):
        assert _result(getattr(canonical, name), data) == _result(getattr(plain_canonical, name), data), name


def _result(function: Any, *arguments: Any) -> Any:
    """What it gives, or that it is a ValueError."""
    try:
        return function(*arguments)
    except ValueError:
        return ValueError


TEXTS = ["", "Hello ", "From ", ".", "ü", "漢字", "😀", "line\r\nline", "\n", "&<>\"'", "x" * 80, " \t ", "=\0\x7f"]


def assembled(mutator: Mutator, compare: bool) -> None:
    """Programs of any shape over values of any kind."""
    chance = mutator.chance
    native, plain = Assembler(1 << 20), plain_assembly.Assembler()

    def both(name: str, *arguments: Any, **options: Any) -> None:
        getattr(native, name)(*arguments, **options)
        getattr(plain, name)(*arguments, **options)

    def text() -> str:
        return mutator.one(TEXTS) if chance() < 0.7 else mutator.noise(30).decode("latin-1")

    def part(depth: int) -> None:
        for _ in range(mutator.below(5)):
            choice = chance()
            if choice < 0.4:
                both("text", text().encode())
            elif choice < 0.85 or depth == 2:
                default = text().encode() if chance() < 0.5 else None
                both("slot", mutator.below(3), escape=chance() < 0.5, default=default)
            else:
                both("repeat", 3)
                part(depth + 1)
                both("end_repeat")

    def values(depth: int) -> list[object]:
        some: list[object] = [mutator.one([None, mutator.below(1 << 40), True, text(), text()]) for _ in range(3)]
        inner = [values(depth + 1) for _ in range(mutator.below(3))] if depth < 3 else []
        return [*some, inner if chance() < 0.7 else chance() < 0.5]

    for _ in range(1 + mutator.below(3)):
        if chance() < 0.5:
            both("copy", mutator.noise(20))
        both("begin")
        part(0)
        both("end")
    given = values(0)
    outcomes = []
    for side in (native, plain):
        try:
            outcomes.append(side.assemble(given))
        except KeyError as error:
            outcomes.append(b"no value for %d" % error.args[0])
    assert outcomes[0] == outcomes[1]
    for count in range(len(given)):
        try:
            native.assemble(given[:count])
        except (KeyError, IndexError):
            pass


def hashed(mutator: Mutator, compare: bool) -> None:
    """A set of addresses through growth, discards and runs of neighbours."""
    native, plain = AddressSet(), plain_hashset.AddressSet()
    keys = [mutator.noise(40) for _ in range(8)] + [b"user%d@example.com" % mutator.below(500) for _ in range(8)]
    assert hash64(keys[0]) == plain_hashset.hash64(keys[0])
    for _ in range(mutator.below(12)):
        choice = mutator.chance()
        key = mutator.one(keys)
        if choice < 0.3:
            assert native.add(key) == plain.add(key)
        elif choice < 0.5:
            native.discard(key)
            plain.discard(key)
        elif choice < 0.8:
            first = mutator.one([1, 2**32, 2**63, 2**64 - 400, 1 + mutator.below(2**60)])
            for value in range(first, first + mutator.below(300)):
                assert native.add_hash(value) == plain.add_hash(value)
        elif choice < 0.9:
            assert native.contains_many(keys) == plain.contains_many(keys)
        else:
            assert native.add_many(keys) == plain.add_many(keys)
        assert len(native) == len(plain)
        assert (key in native) == (key in plain)


ROWS = [
    b"ada@shop.example,Ada,1\nbob@x.example, Bob ,2\r\n",
    b"a.b+c@xn--d-1ga.example,\xc3\xa4,\nd@e.example,,\n",
    b'"q"@x.example,x,y\n',
    b"x@y.example,a\\b,\xf0\x9f\x98\x80\n",
]
COLUMNS, REQUIRED, MOST_CELL = [1, -1, 0, 2], [True, False, False, False], 30


def rows(mutator: Mutator, compare: bool) -> None:
    """Lines of a list: what is taken is what the csv module, the grammar and orjson make of it."""
    block = mutator.mutated(ROWS)
    taker = PlainRows(b",", 3, 0, COLUMNS, REQUIRED, MOST_CELL)
    addresses: list[str] = []
    keys: list[bytes] = []
    kept: list[bytes] = []
    lines = array("I")
    end, line = taker.take(block, 0, 2, 1000, addresses, keys, kept, lines)
    assert 0 <= end <= len(block) and line == 2 + len(kept)
    expected = []
    at = 0
    for raw in block.split(b"\n")[:-1]:
        row = plain_rows.plain_row(raw, ",", 3, 0, COLUMNS, REQUIRED, MOST_CELL)
        if row is None:
            break
        expected.append(row)
        at += len(raw) + 1
    assert list(zip(addresses, keys, kept, strict=True)) == expected and end == at
    groups: dict[str, tuple[list[str], list[bytes]]] = {}
    wanted = [mutator.chance() < 0.5 for _ in addresses] if mutator.chance() < 0.5 else None
    group(addresses, kept, wanted, groups)
    assert sum(len(some) for some, _ in groups.values()) == (len(addresses) if wanted is None else sum(wanted))
    for start in (mutator.below(len(block) + 1), len(block), len(block) + 5):
        try:
            taker.take(block, start, 2, mutator.below(4), addresses, keys, kept, lines)
        except (ValueError, IndexError):
            assert start > len(block)


def event_lines(mutator: Mutator, compare: bool) -> None:
    """The line of a delivered message: that of the general way, or a no."""
    values: dict[str, Any] = {
        "time": "2027-03-01T08:15:00.123Z",
        "recipient": mutator.text(mutator.mutated([b"ada@example.org"])),
        "attempt": 1 + mutator.below(65_535),
        "code": 200 + mutator.below(100),
        "raw": mutator.mutated([b"2.0.0 Ok: queued as 4F2A", b"ok", b"2.1.5\tfine", b"2.0.0.1 x"]),
        "site": mutator.one([None, "mx.example", 'a"b']),
        "host": mutator.text(mutator.mutated([b"mx.example.org"])),
        "source": mutator.one([None, "192.0.2.1"]),
        "tls": mutator.one([None, "TLSv1.3 TLS_AES_256_GCM_SHA384"]),
        "size_bytes": mutator.below(1 << 40),
        "milliseconds": round(mutator.chance() * 10_000, 1),
        "message_id": mutator.text(mutator.mutated([b"<abc@garden.example>"])),
    }
    lines = DeliveredLines("spring-1")
    if lines.add(**values):
        assert lines.take() == plain_lines.delivered_line("spring-1", **values)
    assert len(lines) == 0


def journal_records(mutator: Mutator, compare: bool) -> None:
    """Records at any place of a buffer of any size: whole, or not at all."""
    size, at = mutator.below(80), mutator.below(90) - 5
    buffer = bytearray(size)
    wide = [mutator.below(1 << bits) for bits in (32, 16, 16)]
    narrow = [mutator.below(1 << bits) for bits in (8, 8, 8, 16)]
    time, due = mutator.chance() * 2e9, mutator.chance() * 2e9
    calls: list[tuple[Any, Any, tuple[Any, ...]]] = [
        (put_intent, plain_records.intent, (*wide, time)),
        (put_outcome, plain_records.outcome, (*wide, time, *narrow, due)),
    ]
    for native, plain, values in calls:
        before = bytes(buffer)
        record = plain(*values)
        try:
            native(buffer, at, *values)
        except IndexError:
            assert at < 0 or at + len(record) > size
            assert bytes(buffer) == before
        else:
            assert bytes(buffer) == before[:at] + record + before[at + len(record) :]
            assert zlib.crc32(record[8:]) == int.from_bytes(record[4:8], "little")


def sealed(mutator: Mutator, compare: bool) -> None:
    """Keys, persons and words of any size; those that have no place are refused."""
    key, person = mutator.noise(70), mutator.noise(18)
    if not 0 < len(key) <= 64 or len(person) > 16:
        assert _result(Sealer, key, person) is ValueError
        return
    word, index = mutator.below(1 << 64), mutator.below(1 << 16)
    assert Sealer(key, person).pair(word, index) == plain_tokens.Sealer(key, person).pair(word, index)


STORED = [
    b'["Ann","Graz",7]',
    '["Zo\u00eb","\u6f22\u5b57\U0001f600",-12]'.encode(),
    b"[null,true,false]",
    b'["=?x","a\\\\b\\n\\u0041\\"",1]',
    b'["a long, long line, and another one, and many more, and more than eighty of them",1.5,2]',
    b"[0,-0,00]",
    b'["a"]',
    b"[1,2,3,4]",
    b"[]",
]


def pressed(mutator: Mutator, compare: bool) -> None:
    """Whole messages of rows, addresses and texts of any kind."""
    slots = [(mutator.below(9), mutator.one([None, b"default", "\u00e9".encode()])) for _ in range(4)]
    name = mutator.one([None, "Subject", "X" * 50])
    presses: list[Any] = []
    for press, assembler, sealer in (
        (Press, Assembler, Sealer),
        (plain_press.Press, plain_assembly.Assembler, plain_tokens.Sealer),
    ):
        header, body, text = assembler(), assembler(), assembler()
        text.copy(b"To ")
        text.copy_slot(slots[0][0] % 8, default=slots[0][1])
        header.copy(b"Subject: ")
        header.copy_slot(8)
        body.begin()
        for index, default in slots[1:]:
            body.text(b"Dear From " * 9)
            body.slot(index, escape=default is None, default=default)
        body.end()
        names = {"campaign": "c", "message_domain": "d.example", "return_local": "r", "return_domain": "e.example"}
        presses.append(press(sealer(b"k", b""), header, body, texts=[(text, name)], width=3, **names))
    count = 1 + mutator.below(3)
    rows = [mutator.mutated(STORED) for _ in range(count)]
    addresses = [mutator.text(mutator.mutated([b"ann@example.com", b"a"])) for _ in range(count)]
    indexes = [mutator.below(count) for _ in range(mutator.below(4))]
    arguments = ("chunk", mutator.below(1 << 63), addresses, rows, indexes, [mutator.below(9) for _ in indexes], b"now")
    made, left = presses[0].messages(*arguments)
    assert left == [place for place, message in enumerate(made) if message is None]
    # What is stored is UTF-8; anything else must do no harm, that is all.
    if all(row.isascii() or _is_text(row) for row in rows):
        expected, _ = presses[1].messages(*arguments)
        for one, other in zip(made, expected, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert (one.data, one.sender, one.attempt) == (other.data, other.sender, other.attempt)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
