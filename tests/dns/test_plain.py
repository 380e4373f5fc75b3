"""Answers read from the bytes say what dnspython says of them, or are left to it; any bytes at all."""

import asyncio
import random
import string
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from bulkmail.dns.exchange import Exchange, NoAnswer, Question, _around
from bulkmail.dns.lookup import AAAA, MX, TXT, A, Kind, Lookup, Status, look_up
from bulkmail.dns.plain import PlainAnswer
from bulkmail.dns.servers import parse_server

KINDS = {"MX": MX, "A": A, "AAAA": AAAA, "TXT": TXT}
SERVER = parse_server("127.0.0.1:53", default_port=53, path="")


class Canned(Exchange):
    """Answers each question with the same bytes, read by dnspython alone or plainly where that is possible."""

    def __init__(self, data: bytes, *, plainly: bool) -> None:
        super().__init__([SERVER], timeout_seconds=1, validating=True)
        self._data, self._plainly = data, plainly
        self.plain = False

    async def ask(self, question: Question) -> dns.message.QueryMessage | PlainAnswer:
        if self._plainly and (found := question.plain_answer(self._data)) is not None:
            self.plain = True
            return found
        try:
            answer = dns.message.from_wire(self._data)
            fits = question.is_answered(answer)
        except Exception as error:  # whatever a parser of hostile bytes may raise
            raise NoAnswer(str(error)) from None
        if not fits or answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise NoAnswer("of no use")
        if answer.flags & dns.flags.TC:
            raise NoAnswer("truncated")
        assert isinstance(answer, dns.message.QueryMessage)
        return answer


def both(data: bytes, name: str, kind: Kind[Any]) -> tuple[Lookup[Any], Lookup[Any], bool]:
    """What dnspython makes of the bytes, what we do, and whether that was without it."""
    theirs, ours = Canned(data, plainly=False), Canned(data, plainly=True)
    return asyncio.run(look_up(theirs, name, kind)), asyncio.run(look_up(ours, name, kind)), ours.plain


def answer(
    name: str, kind: str, *records: str, soa: str = "", rcode: int = 0, flags: int = 0, edns: bool = True
) -> bytes:
    query = dns.message.make_query(name, kind, use_edns=edns, id=7)
    reply = dns.message.make_response(query, recursion_available=True)
    reply.set_rcode(dns.rcode.Rcode(rcode))
    reply.flags |= flags
    if records:
        reply.answer.append(dns.rrset.from_text_list(query.question[0].name, 300, "IN", kind, records))
    if soa:
        zone, minimum = soa.split()
        numbers = f"ns.zone.example. admin.zone.example. 1 2 3 4 {minimum}"
        reply.authority.append(dns.rrset.from_text(zone, 900, "IN", "SOA", numbers))
    return reply.to_wire()


USUAL = [
    ("MX", answer("garden.example", "MX", "10 mx1.garden.example.", "20 MX2.Elsewhere.example.")),
    ("MX", answer("garden.example", "MX", "10 mx.example.", edns=False, flags=dns.flags.AD)),
    ("MX", answer("garden.example", "MX", soa="example. 60")),
    ("MX", answer("garden.example", "MX", soa=". 60", rcode=3)),
    ("MX", answer("garden.example", "MX")),
    ("A", answer("garden.example", "A", "192.0.2.1", "192.0.2.2")),
    ("AAAA", answer("garden.example", "AAAA", "2001:db8::1", "::ffff:192.0.2.1")),
    ("AAAA", answer("garden.example", "AAAA", soa="garden.example. 5")),
    ("TXT", answer("garden.example", "TXT", '"v=spf1 " "-all"', '"x"', '""')),
]


@pytest.mark.parametrize(("kind", "data"), USUAL)
def test_the_usual_answers_are_read_without_dnspython_and_mean_the_same(kind: str, data: bytes) -> None:
    theirs, ours, plain = both(data, "garden.example", KINDS[kind])
    assert plain
    assert ours == theirs
    assert ours.status is not Status.FAILED


@pytest.mark.parametrize(
    ("name", "kind", "data"),
    [
        ("garden.example", "MX", answer("garden.example", "MX", "0 .")),
        ("garden.example", "MX", answer("garden.example", "MX", r"10 m\.x.example.")),
        ("garden.example", "MX", answer("other.example", "MX", "10 mx.example.")),
        ("garden.example", "A", answer("garden.example", "MX", "10 mx.example.")),
        ("garden.example", "MX", answer("garden.example", "MX", "10 mx.example.", flags=dns.flags.TC)),
        ("garden.example", "MX", answer("garden.example", "MX", "10 mx.example.", rcode=3)),
        ("garden.example", "MX", answer("garden.example", "MX", soa="other. 60")),
        ("garden.example", "MX", answer("garden.example", "MX", soa="den.example. 60")),
        ("garden.example", "MX", answer("garden.example", "MX", "10 mx.example.")[:-1]),
        ("garden.example", "MX", answer("garden.example", "MX", "10 mx.example.") + b"\0"),
        ("garden.example", "MX", b""),
        (r"g\.arden.example", "MX", answer(r"g\.arden.example", "MX", soa="arden.example. 60")),
    ],
)
def test_what_is_unusual_is_left_to_dnspython(name: str, kind: str, data: bytes) -> None:
    theirs, ours, plain = both(data, name, KINDS[kind])
    assert not plain
    assert ours == theirs


LABELS = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=63)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join).filter(lambda name: len(name) <= 250)
ANY_LABELS = st.binary(min_size=1, max_size=20)


HOSTS = st.lists(st.one_of(ANY_LABELS, LABELS.map(str.encode)), max_size=3).map(
    lambda labels: dns.name.Name([*labels, b""]).to_text()
)
TEXTS = {
    "MX": st.builds("{} {}".format, st.integers(0, 65535), HOSTS),
    "A": st.ip_addresses(v=4).map(str),
    "AAAA": st.ip_addresses(v=6).map(str),
    "TXT": st.lists(LABELS.map('"{}"'.format), min_size=1, max_size=3).map(" ".join),
}
TTLS = st.integers(0, 2**31 - 1)


class Recipe(Struct, frozen=True, kw_only=True):
    """An answer of the shapes that servers send, and what was done to its bytes: where, how many out, what in."""

    name: str
    kind: str
    edns: object
    rcode: int
    flags: int
    owner: str
    records: list[tuple[int, str]]
    soa: tuple[str, int, int] | None
    damage: list[tuple[float, int, bytes]]

    def cooked(self) -> bytes:
        query = dns.message.make_query(self.name, self.kind, use_edns=self.edns, id=7)
        reply = dns.message.make_response(query, recursion_available=True)
        reply.set_rcode(dns.rcode.Rcode(self.rcode))
        reply.flags |= self.flags
        owner, kind = dns.name.from_text(self.owner), dns.rdatatype.from_text(self.kind)
        for ttl, text in self.records:
            rrset = reply.find_rrset(reply.answer, owner, dns.rdataclass.IN, kind, create=True)
            rrset.update(dns.rrset.from_text(owner, ttl, "IN", self.kind, text))
        if self.soa is not None:
            zone, ttl, minimum = self.soa
            numbers = f"ns.zone. admin.zone. 1 2 3 4 {minimum}"
            reply.authority.append(dns.rrset.from_text(dns.name.from_text(zone), ttl, "IN", "SOA", numbers))
        data = bytearray(reply.to_wire(max_size=65535))
        for where, out, into in self.damage:
            place = round(where * len(data))
            data[place : place + out] = into
        return bytes(data)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    name, kind = draw(NAMES).lower(), draw(st.sampled_from(sorted(KINDS)))
    zones = st.sampled_from([name, name.partition(".")[2] + ".", ".", "zz"])
    return Recipe(
        name=name,
        kind=kind,
        edns=draw(st.sampled_from([0, False])),
        rcode=draw(st.sampled_from([0, 0, 0, 3, 2])),
        flags=draw(st.sampled_from([0, 0, dns.flags.AD, dns.flags.TC])),
        owner=draw(st.sampled_from([name, name, name.upper(), "zz"])),
        records=draw(st.lists(st.tuples(TTLS, TEXTS[kind]), max_size=3)),
        soa=draw(st.none() | st.tuples(zones, TTLS, st.integers(0, 2**31))),
        damage=draw(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2), st.binary(max_size=2)), max_size=2)),
    )


@settings(max_examples=400, deadline=None)
@given(recipes())
def test_whatever_a_server_sends_it_means_the_same_as_to_dnspython(recipe: Recipe) -> None:
    theirs, ours, plain = both(recipe.cooked(), recipe.name, KINDS[recipe.kind])
    assert ours == theirs if plain else ours.status is theirs.status


def test_any_byte_of_a_usual_answer_may_be_wrong() -> None:
    dice = random.Random(5)
    read = 0
    for kind, data in USUAL:
        for place in range(len(data)):
            for value in {0, 1, 0x3F, 0x40, 0xC0, 0xFF, dice.randrange(256)}:
                changed = data[:place] + bytes([value]) + data[place + 1 :]
                question = Question("garden.example", KINDS[kind].rdtype, KINDS[kind].read_plain)
                if question.plain_answer(changed) is None:
                    continue
                read += 1
                theirs, ours, plain = both(changed, "garden.example", KINDS[kind])
                assert plain and ours == theirs, (kind, place, value)
    assert read > 500


@pytest.mark.parametrize(
    "name", ["garden.example", "Garden.Example.", "_25._tcp.mx.garden.example", "b\\195cher.example"]
)
@pytest.mark.parametrize("validating", [True, False])
@pytest.mark.parametrize("edns", [True, False])
def test_a_question_goes_out_as_dnspython_would_write_it(name: str, validating: bool, edns: bool) -> None:
    question = Question(name, dns.rdatatype.MX)
    before, behind = _around(validating, edns=edns)
    theirs = dns.message.make_query(name.lower(), "MX", use_edns=0 if edns else False, payload=1232)
    if validating:
        theirs.flags |= dns.flags.AD
    assert before + question.section + behind == theirs.to_wire()[2:]


@pytest.mark.parametrize("name", ["a..example", f"{'a' * 64}.example", ".".join(["abcdefg"] * 32)])
def test_what_can_be_no_name_is_no_question(name: str) -> None:
    with pytest.raises(dns.exception.DNSException):
        Question(name, dns.rdatatype.MX)
