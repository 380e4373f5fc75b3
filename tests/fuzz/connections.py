"""Server streams through the whole handshake, with every way to log in, and through a connection without a network."""

import asyncio
import base64
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from bulkmail.errors import ProtocolError
from bulkmail.model.campaign import Dsn
from bulkmail.model.delivery import Stage
from bulkmail.native.message import Message
from bulkmail.native.reply import ReplyParser
from bulkmail.net.connection import Connection, HandshakeError
from bulkmail.net.timeouts import Timeouts
from bulkmail.policy.window import Window
from bulkmail.smtp.handshake import Handshake
from bulkmail.smtp.sasl import Credentials
from tests.dialogues.player import Journal
from tests.dialogues.shortway import ShortWay
from tests.fuzz.corpus import replies, server_sides
from tests.fuzz.mutation import Mutator
from tests.fuzz.streams import plausible

MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")
PASSWORDS = [Credentials("acme", "s3cret", mechanism=name) for name in MECHANISMS]
TOKENS = [Credentials("a@b.example", token="ya29.secret", mechanism=name) for name in ("XOAUTH2", "OAUTHBEARER")]
LOGINS = [None, None, Credentials("acme", "s3cret"), *PASSWORDS, *TOKENS]
EHLO = b"220 mx ready\r\n250-mx\r\n250-PIPELINING\r\n250-STARTTLS\r\n250-SIZE 1000\r\n250-AUTH %b\r\n250 CHUNKING\r\n"
ALL = b"PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS XOAUTH2 OAUTHBEARER"
CHALLENGES = [
    b"VXNlcm5hbWU6",
    b"UGFzc3dvcmQ6",
    base64.b64encode(b"<1896.697170952@mx.example>"),
    base64.b64encode(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
    base64.b64encode(b"e=other-error"),
    base64.b64encode(b"e=s3cret"),
    base64.b64encode(b"e=unsupported-channel-binding-type"),
    base64.b64encode(b'{"status":"401","scope":"x"}'),
    b"",
    b"=",
]


def handshake(mutator: Mutator, compare: bool) -> None:
    """Ready, failed, TLS wanted or a protocol error: nothing else, and no password in any of them or in clear."""
    chance = mutator.chance
    login = mutator.one(LOGINS)
    tls: Any = mutator.one(["none", "opportunistic", "required"])
    encrypted = chance() < 0.4
    client = Handshake(
        ehlo_name="me.example",
        tls=tls,
        encrypted=encrypted,
        credentials=login,
        requiretls=chance() < 0.1,
        helo=chance() < 0.1,
    )
    if encrypted and chance() < 0.5:
        client.binding = b"certificate"
    parser = ReplyParser()
    said: list[bytes] = []
    secure = encrypted or tls == "none"
    script = _script(mutator) if chance() < 0.5 else None
    asked, patience = 0, mutator.one([0.35, 0.35, 0.0])
    for turn in range(20):
        if client.done:
            if client.wants_tls and chance() < 0.8:
                client.tls_started()
                secure = True
            else:
                break
        said.append(client.outgoing())
        asked += client.stage is Stage.AUTH
        assert asked <= 10, "a login without end"
        assert said[-1].count(b"\n") == said[-1].count(b"\r\n")
        if login is not None and not secure:
            assert login.redact(said[-1]) == said[-1], "a secret in clear"
        if script is not None and turn >= len(script):
            break
        data = script[turn] if script is not None else _answer(mutator, client, said, patience)
        try:
            client.answer(parser.feed(data), pending_bytes=parser.pending)
        except ProtocolError as error:
            if b"AUTH" in b"".join(said):
                _keeps(login, client.discreet(str(error)))
            return
        if parser.failure is not None:
            return
    if client.failure is not None:
        _keeps(login, repr(client.failure))
    if client.ready:
        assert secure or login is None
        assert client.failure is None and not client.wants_tls


def _keeps(login: Credentials | None, text: str) -> None:
    """No secret that was told to a server is in what a person will read."""
    for secret in (login.password, login.token) if login is not None else ():
        assert not secret or secret not in text, text


def _script(mutator: Mutator) -> list[bytes]:
    """A server that does not listen: mutated, line by line or as it comes."""
    data = mutator.mutated([*server_sides(), EHLO % ALL + b"334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 in\r\n"])
    return data.splitlines(keepends=True) if mutator.chance() < 0.7 else mutator.pieces(data)


def _answer(mutator: Mutator, client: Handshake, said: Sequence[bytes], patience: float) -> bytes:
    """Near to what the stage asks for."""
    chance = mutator.chance
    if chance() < 0.1:
        return mutator.one(replies())
    if client.stage is Stage.AUTH:
        if chance() < patience:
            return mutator.one([b"235 in\r\n", b"535 5.7.8 no: s3cret ya29.secret\r\n", b"334\r\n", b"501 *\r\n"])
        challenge = mutator.one(CHALLENGES)
        if chance() < 0.6 and (nonce := _nonce(said)):
            count = mutator.one([b"4096", b"4096", b"4096", b"4095", b"0", b"99999999", b"-1", b"4096,x=y", b""])
            # Two salts alone: what they make of a password is costly, and kept.
            first = b"r=%bmore,s=%b,i=%b" % (nonce, mutator.one([b"QSXCR+Q6sek8bf92", b"c2FsdA=="]), count)
            challenge = base64.b64encode(first if chance() < 0.7 else mutator.mutated([first]))
        data = b"334 " + challenge + b"\r\n"
    elif client.stage is Stage.EHLO:
        words = ALL if chance() < 0.8 else mutator.mutated([ALL])
        data = (EHLO % words).partition(b"\r\n")[2]
    else:
        data = b"220 2.0.0 go\r\n"
    return data if chance() < 0.8 else mutator.mutated([data])


def _nonce(said: Sequence[bytes]) -> bytes:
    """The client's in SCRAM, if it has said it."""
    for line in said:
        word = line.rstrip().rpartition(b" ")[2]
        try:
            text = base64.b64decode(word, validate=True)
        except ValueError:
            continue
        if b",,n=" in text:
            return text.rpartition(b"r=")[2]
    return b""


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closing = False

    def write(self, data: Any) -> None:
        assert not self.closing
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True

    def get_write_buffer_size(self) -> int:
        return 0


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing sleeps here")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def connection(mutator: Mutator, compare: bool) -> None:
    """One connection from the greeting to its end, whatever the server says: each message has one end."""
    _loop().run_until_complete(_connection(mutator))


async def _connection(mutator: Mutator) -> None:
    chance = mutator.chance
    count = 1 + mutator.below(5)
    way = ShortWay(count) if chance() < 0.5 else None
    messages = [
        Message(
            chunk=way and way.active,
            index=number,
            attempt=1,
            address=f"r{number}@b.example",
            sender=b"s@a.example",
            recipient=b"r%d@b.example" % number,
            data=b"Subject: x\r\n\r\n.dots\r\n" if number % 3 else b"x" * 1200 + b"\r\n",
            message_id=f"r{number}",
            utf8=chance() < 0.1,
        )
        for number in range(count)
    ]
    journal, clock, wire = Journal(messages, way), Clock(), Wire()
    login = mutator.one(LOGINS) if chance() < 0.2 else None
    limit = 1 + mutator.below(6)
    client = Connection(
        journal,
        Handshake(ehlo_name="me.example", tls="none", credentials=login),
        clock=clock,
        timeouts=Timeouts(),
        host="mx.example",
        address="127.0.0.1",
        max_messages=limit,
        window=Window(limit, size=1 + mutator.below(limit)),
        dsn=Dsn() if chance() < 0.3 else None,
    )
    client.connection_made(wire)
    established = asyncio.ensure_future(client.establish(None))
    await asyncio.sleep(0)
    for piece in _server(mutator, client):
        client.data_received(piece)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if established.done() and established.exception() is None and not client.closed:
            client.pump()
        if client.closed:
            break
        _disturb(mutator, client, clock)
    if chance() < 0.5:
        client.connection_lost(None if chance() < 0.5 else ConnectionResetError("reset"))
    else:
        client.abort()
    await asyncio.sleep(0)
    try:
        await established
    except HandshakeError as error:
        assert not journal.intents and not journal.end
        if b"AUTH" in wire.written:
            _keeps(login, str(error))
    else:
        assert len(journal.end) == 1
    ends = journal.summary()
    for name, end in ends.items():
        assert " and " not in end, (name, end)
        if name == "connection":
            continue
        assert end != "nothing said"
        if end in ("delivered", "in doubt"):
            assert name in journal.intents, (name, end)
    assert client.closed and wire.closing


def _server(mutator: Mutator, client: Connection) -> Iterator[bytes]:
    """A server that goes its own way, or one that answers what it is asked, now and then wrong."""
    if mutator.chance() < 0.3:
        side = mutator.mutated(server_sides())
        # Line by line, so that it is an answer to something; or as it comes.
        yield from side.splitlines(keepends=True) if mutator.chance() < 0.7 else mutator.pieces(side)
        return
    greeting, ehlo = (EHLO % ALL).split(b"\r\n", 1)
    yield greeting + b"\r\n"
    yield ehlo if mutator.chance() < 0.7 else mutator.mutated([ehlo, ehlo.replace(b"250-PIPELINING\r\n", b"")])
    honesty = 1 - mutator.chance() ** 2 / 3
    for _ in range(16):
        if client.transactions is not None:
            yield from mutator.pieces(plausible(mutator, client.transactions, honesty))
        elif client.closed:
            return
        else:
            yield mutator.one([b"235 in\r\n", b"334 \r\n", b"535 no: s3cret\r\n", b"535-no\r\n501 s3cret\r\n"])


def _disturb(mutator: Mutator, client: Connection, clock: Clock) -> None:
    """Time passes, the process stops, others need the place."""
    chance = mutator.chance()
    if chance < 0.02:
        clock.now += 700
        client.expire(clock.now)
    elif chance < 0.04:
        client.drain()
    elif chance < 0.05:
        client.give_way(1.0)
    elif chance < 0.06:
        client.expire(clock.now)
    assert client.stalled_seconds(clock.now) >= 0
