"""Answers as they mostly are, read from the bytes; whatever is unusual about one is left to dnspython.

An answer is plain where it has the question word for word, then records of the name and kind that were asked for, or
none and at most the zone's SOA, then nothing but an empty OPT. dnspython builds some fifty objects of such an answer,
which a send to many domains would spend a third of its time on; what is read here is what it would say, or nothing.
"""

import ipaddress
import re
import socket
import struct
from collections.abc import Callable
from typing import Any

import dns.rdatatype
from msgspec import Struct

from bulkmail.dns.answers import MxHost

# Reads one record from `data[start:end]` of an answer; None where it is not plain.
ReadRecord = Callable[[bytes, int, int], Any]

_HEADER = struct.Struct("!HHHHH")  # RFC 1035 §4.1.1, without the id
_RECORD = struct.Struct("!HHIH")  # RFC 1035 §4.1.3: type, class, TTL, length
_SOA_NUMBERS = struct.Struct("!IIIII")
_HEADER_BYTES = 12
_TO_QUESTION = b"\xc0\x0c"  # RFC 1035 §4.1.4
_KIND_OF_MESSAGE = 0xFA00  # QR, opcode, TC
_ANSWER = 0x8000
_AUTHENTIC = 0x0020
_RCODE = 0x000F
_NXDOMAIN = 3
_IN = 1
_MOST_RECORDS = 64
_LONGEST_TTL = 0x7FFFFFFF
_NAME_LENGTH = 253
_LABEL = re.compile(rb"[A-Za-z0-9_-]{1,63}")


class PlainAnswer(Struct, frozen=True, kw_only=True, gc=False):
    """`records` of the name itself, or none; `exists` is False where there is no such name.

    `ttl_seconds` None: the answer gives none, for it has neither records nor the zone's SOA. `authentic` is the AD bit.
    """

    records: tuple[Any, ...]
    exists: bool
    ttl_seconds: float | None
    authentic: bool


def read_plain(
    data: bytes, name: str, section: bytes, rdtype: dns.rdatatype.RdataType, read: ReadRecord | None
) -> PlainAnswer | None:
    """What an answer says of `name` (lower case, letters, digits, `-` and `_`), or None where it is not plain.

    `section` is the question as it was sent.
    """
    try:
        return _read(data, name, section, rdtype, read)
    except (IndexError, struct.error):
        return None


def _read(
    data: bytes, name: str, section: bytes, rdtype: dns.rdatatype.RdataType, read: ReadRecord | None
) -> PlainAnswer | None:
    flags, questions, answers, authorities, additional = _HEADER.unpack_from(data, 2)
    at = _HEADER_BYTES + len(section)
    if flags & _KIND_OF_MESSAGE != _ANSWER or questions != 1 or data[_HEADER_BYTES:at] != section:
        return None
    rcode = flags & _RCODE
    ttl: int | None = None
    records: dict[Any, None] = {}
    if rcode == 0 and 0 < answers <= _MOST_RECORDS and not authorities and read is not None:
        ttl = _LONGEST_TTL
        for _ in range(answers):
            kind, record_class, seconds, length = _RECORD.unpack_from(data, at + 2)
            start = at + 2 + _RECORD.size
            if data[at : at + 2] != _TO_QUESTION or kind != rdtype or record_class != _IN or seconds > _LONGEST_TTL:
                return None
            at = start + length
            if at > len(data) or (record := read(data, start, at)) is None:
                return None
            records[record] = None
            ttl = min(ttl, seconds)
    elif rcode in (0, _NXDOMAIN) and not answers and authorities <= 1:
        if authorities:
            soa = _read_soa(data, at, name)
            if soa is None:
                return None
            ttl, at = soa
    else:
        return None
    if not (additional == 0 and at == len(data)) and not (additional == 1 and _is_empty_opt(data, at)):
        return None
    return PlainAnswer(
        records=tuple(records),
        exists=rcode == 0,
        ttl_seconds=ttl,
        authentic=bool(flags & _AUTHENTIC),
    )


def read_mx(data: bytes, start: int, end: int) -> MxHost | None:
    found = _read_name(data, start + 2)
    # The root, which is a null MX, is none of the usual ones.
    if found is None or found[1] != end or not found[0]:
        return None
    return MxHost(data[start] << 8 | data[start + 1], found[0])


def read_a(data: bytes, start: int, end: int) -> str | None:
    return socket.inet_ntoa(data[start:end]) if end - start == 4 else None


def read_aaaa(data: bytes, start: int, end: int) -> str | None:
    return str(ipaddress.IPv6Address(data[start:end])) if end - start == 16 else None


def read_txt(data: bytes, start: int, end: int) -> bytes | None:
    """The strings of the record, joined."""
    strings = []
    while start < end:
        begin = start + 1
        start = begin + data[start]
        strings.append(data[begin:start])
    return b"".join(strings) if strings and start == end else None


def _read_soa(data: bytes, at: int, name: str) -> tuple[int, int] | None:
    """For how long an answer without records holds (RFC 2308 §5), and where the SOA ends."""
    owner = _read_name(data, at)
    if owner is None or (owner[0] and f".{name}"[-len(owner[0]) - 1 :] != f".{owner[0]}"):
        return None
    kind, record_class, seconds, length = _RECORD.unpack_from(data, owner[1])
    start = owner[1] + _RECORD.size
    end = start + length
    if kind != dns.rdatatype.SOA or record_class != _IN or seconds > _LONGEST_TTL:
        return None
    primary = _read_name(data, start)
    mailbox = _read_name(data, primary[1]) if primary is not None else None
    if mailbox is None or mailbox[1] + _SOA_NUMBERS.size != end:
        return None
    numbers = _SOA_NUMBERS.unpack_from(data, mailbox[1])
    return (min(seconds, numbers[-1]), end) if numbers[-1] <= _LONGEST_TTL else None


def _is_empty_opt(data: bytes, at: int) -> bool:
    """RFC 6891 §6.1.2: the root, OPT, size, code and version 0, flags, no options; and nothing behind it."""
    return len(data) == at + 11 and data[at : at + 3] == b"\0\0\x29" and data[at + 5 : at + 7] == b"\0\0" == data[-2:]


def _read_name(data: bytes, at: int) -> tuple[str, int] | None:
    """A name of plain labels in lower case, "" for the root, and where it ends."""
    labels = []
    end = 0
    before = at
    while length := data[at]:
        if length >= 0xC0:
            end = end or at + 2
            at = (length & 0x3F) << 8 | data[at + 1]
            # Only ever backwards, so that it comes to an end.
            if at >= before:
                return None
            before = at
        else:
            label = data[at + 1 : at + 1 + length]
            at += 1 + length
            if not _LABEL.fullmatch(label):
                return None
            labels.append(label)
    name = b".".join(labels).lower().decode()
    return (name, end or at + 1) if len(name) <= _NAME_LENGTH else None
