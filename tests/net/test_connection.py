"""The pump between a real socket and the session: pairing, intents, doubts, deadlines, TLS that cannot be injected."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence

import pytest

from bulkmail.clock import SystemClock
from bulkmail.model.campaign import TlsMode
from bulkmail.model.delivery import Reason, Stage
from bulkmail.native.message import Message
from bulkmail.native.reply import ReplyParser
from bulkmail.net.connection import Connection, HandshakeError
from bulkmail.net.opening import connect
from bulkmail.net.owner import Left, Result
from bulkmail.net.timeouts import Timeouts
from bulkmail.net.tls import client_context
from bulkmail.policy.window import Window
from bulkmail.smtp.handshake import Handshake
from bulkmail.smtp.sasl import Credentials
from tests.net.scripted import ScriptedServer, Step

EHLO = ["S: 220 mx.example ready", "C: EHLO me\\.example", "S: 250-mx.example"]
PIPELINING = [*EHLO, "S: 250-PIPELINING", "S: 250 SIZE 1000"]
ENVELOPE = ["C: MAIL FROM:<s@a\\.example> SIZE=\\d+", "C: RCPT TO:<r\\d@b\\.example>", "C: DATA"]
YES = ["S: 250 2.1.0 ok", "S: 250 2.1.5 ok", "S: 354 go on"]
BODY = b"Subject: x\r\n\r\nhello\r\n"


class FakeOwner:
    """Hands out messages and writes down everything it is told, in order."""

    def __init__(self, *messages: Message, holds: bool = False) -> None:
        self.holds = holds
        self.waiting = list(messages)
        self.journal: list[tuple[object, ...]] = []
        self.began = asyncio.Event()
        self.ended = asyncio.Event()

    def take(self, connection: Connection) -> Message | None:
        return self.waiting.pop(0) if self.waiting else None

    def conveyor(self, connection: Connection, parser: ReplyParser, *, plain: bool) -> None:
        return None

    def begun(self, connection: Connection, messages: Sequence[Message]) -> bool:
        self.journal += [("intent", message.address) for message in messages]
        self.began.set()
        return self.holds

    def results(self, connection: Connection, results: Sequence[Result]) -> None:
        self.journal += [(message.address, stage, code) for message, stage, code, _ in results]

    def unfit(self, connection: Connection, message: Message, reason: Reason, explanation: str) -> None:
        self.journal.append(("unfit", message.address, reason, explanation))

    def again(self, connection: Connection, messages: Sequence[Message]) -> None:
        self.journal += [("again", message.address) for message in messages]

    def lost(self, connection: Connection, left: Sequence[Left], reason: Reason, explanation: str) -> None:
        self.journal += [("left", message.address, stage, ended) for message, stage, ended in left]
        self.journal.append(("lost", reason))
        self.ended.set()


def message(number: int, data: bytes = BODY) -> Message:
    address = f"r{number}@b.example"
    return Message(
        chunk=None,
        index=number,
        attempt=1,
        address=address,
        sender=b"s@a.example",
        recipient=address.encode(),
        data=data,
        message_id="<x@a.example>",
        utf8=not address.isascii(),
    )


def play(
    script: Sequence[Step],
    owner: FakeOwner,
    act: Callable[[Connection, FakeOwner], Awaitable[None]] | None = None,
    *,
    tls: TlsMode = "none",
    credentials: Credentials | None = None,
    max_messages: int = 100,
) -> ScriptedServer:
    """Connect to a server with the script, send the owner's messages, wait for the end of the connection."""

    async def run() -> ScriptedServer:
        async with ScriptedServer(script) as server, asyncio.timeout(10):
            handshake = Handshake(ehlo_name="me.example", tls=tls, credentials=credentials)
            connection = await connect(
                lambda: Connection(
                    owner,
                    handshake,
                    clock=SystemClock(),
                    timeouts=Timeouts(),
                    host="localhost",
                    address="127.0.0.1",
                    max_messages=max_messages,
                ),
                "127.0.0.1",
                server.port,
                source_address="127.0.0.1",
                timeout_seconds=5,
            )
            try:
                await connection.establish(client_context(verify=False))
                connection.pump()
                if act is not None:
                    await act(connection, owner)
                await owner.ended.wait()
            finally:
                connection.abort()
            await server.done.wait()
        return server

    return asyncio.run(run())


def test_two_messages_travel_in_three_flights_and_quit_follows() -> None:
    owner = FakeOwner(message(1), message(2))
    script = [*PIPELINING, *ENVELOPE, *YES, "D", *ENVELOPE, "S: 250 queued", *YES, "D", "S: 250 queued"]
    server = play([*script, "C: QUIT", "S: 221 bye"], owner, max_messages=2)
    assert server.error is None
    assert server.messages == [BODY, BODY]
    assert owner.journal == [
        ("intent", "r1@b.example"),
        ("r1@b.example", Stage.MESSAGE, 250),
        ("intent", "r2@b.example"),
        ("r2@b.example", Stage.MESSAGE, 250),
        ("lost", Reason.NONE),
    ]


def test_a_leading_dot_is_stuffed_on_the_wire() -> None:
    owner = FakeOwner(message(1, b"a\r\n\r\n.hidden\r\n..\r\n"))
    server = play([*PIPELINING, *ENVELOPE, *YES, "D", "S: 250 ok", "X"], owner)
    assert server.messages == [b"a\r\n\r\n..hidden\r\n...\r\n"]


def test_a_connection_lost_after_the_end_of_the_message_leaves_it_in_doubt() -> None:
    owner = FakeOwner(message(1), message(2))
    play([*PIPELINING, *ENVELOPE, *YES, "D", "R"], owner)
    assert owner.journal == [
        ("intent", "r1@b.example"),
        ("left", "r1@b.example", Stage.MESSAGE, True),
        ("left", "r2@b.example", Stage.MAIL, False),
        ("lost", Reason.CONNECTION_LOST),
    ]


def test_a_connection_lost_before_the_end_of_the_message_leaves_no_doubt() -> None:
    owner = FakeOwner(message(1))
    play([*PIPELINING, *ENVELOPE, "S: 250 ok", "X"], owner)
    assert owner.journal == [("left", "r1@b.example", Stage.RCPT, False), ("lost", Reason.CONNECTION_LOST)]


def test_a_held_message_is_not_ended_before_it_is_released() -> None:
    async def release(connection: Connection, owner: FakeOwner) -> None:
        await owner.began.wait()
        connection.pump()
        assert owner.journal == [("intent", "r1@b.example")]
        connection.release()

    owner = FakeOwner(message(1), holds=True)
    server = play([*PIPELINING, *ENVELOPE, *YES, "D", "S: 250 ok", "C: QUIT", "X"], owner, release, max_messages=1)
    assert len(server.messages) == 1
    assert ("r1@b.example", Stage.MESSAGE, 250) in owner.journal


def test_a_message_that_was_still_held_when_the_connection_ended_is_not_in_doubt() -> None:
    async def end(connection: Connection, owner: FakeOwner) -> None:
        await owner.began.wait()
        connection.abort()
        connection.release()

    owner = FakeOwner(message(1), holds=True)
    server = play([*PIPELINING, *ENVELOPE, *YES], owner, end)
    assert [entry[3] for entry in owner.journal if entry[0] == "left"] == [False]
    assert server.messages == []


def test_a_silent_close_between_messages_leaves_the_next_one_untouched() -> None:
    owner = FakeOwner(message(1), message(2))
    play([*PIPELINING, *ENVELOPE, *YES, "D", "S: 250 ok", "X"], owner)
    assert ("r1@b.example", Stage.MESSAGE, 250) in owner.journal
    assert ("left", "r2@b.example", Stage.MAIL, False) in owner.journal


def test_one_reply_too_many_ends_the_connection_and_is_paired_with_nothing() -> None:
    owner = FakeOwner(message(1))
    play([*PIPELINING, *ENVELOPE, *YES, "D", "S: 250 ok", "S: 250 and another"], owner)
    assert owner.journal[-2:] == [("r1@b.example", Stage.MESSAGE, 250), ("lost", Reason.PROTOCOL)]


def test_garbage_instead_of_a_reply_ends_the_connection() -> None:
    owner = FakeOwner(message(1))
    play([*PIPELINING, *ENVELOPE, b"\x00\xffgarbage\r\n"], owner)
    assert owner.journal == [("left", "r1@b.example", Stage.MAIL, False), ("lost", Reason.PROTOCOL)]


def test_a_message_larger_than_the_server_takes_is_not_begun() -> None:
    owner = FakeOwner(message(1, b"x" * 1001 + b"\r\n"), message(2))
    server = play([*PIPELINING, *ENVELOPE, *YES, "D", "S: 250 ok", "X"], owner)
    assert owner.journal[0][:3] == ("unfit", "r1@b.example", Reason.TOO_LARGE)
    assert len(server.messages) == 1


def test_an_overdue_reply_ends_the_connection_with_a_timeout() -> None:
    async def run_out(connection: Connection, owner: FakeOwner) -> None:
        connection.expire(connection.deadline - 1)
        assert not connection.closed
        connection.expire(connection.deadline + 1)

    owner = FakeOwner(message(1))
    play([*PIPELINING, *ENVELOPE], owner, run_out)
    assert owner.journal == [("left", "r1@b.example", Stage.MAIL, False), ("lost", Reason.TIMEOUT)]


def test_an_idle_connection_says_quit() -> None:
    async def idle(connection: Connection, owner: FakeOwner) -> None:
        assert connection.idle_since is not None
        connection.expire(connection.idle_since + 5)

    server = play([*PIPELINING, "C: QUIT", "S: 221 bye"], FakeOwner(), idle)
    assert server.heard == ["EHLO me.example", "QUIT"]


def test_a_server_that_does_not_know_ehlo_is_greeted_with_helo_and_offers_nothing() -> None:
    owner = FakeOwner(message(1))
    script = ["S: 220 old", "C: EHLO .*", "S: 502 what", "C: HELO me\\.example", "S: 250 hi"]
    script += ["C: MAIL FROM:<s@a\\.example>", "S: 250 ok", "C: RCPT TO:.*", "S: 250 ok", "C: DATA", "S: 354 go"]
    server = play([*script, "D", "S: 250 ok", "X"], owner)
    assert server.error is None
    assert ("r1@b.example", Stage.MESSAGE, 250) in owner.journal


@pytest.mark.parametrize("greeting", ["554 go away", "421 busy"])
def test_a_refusing_greeting_is_a_handshake_failure_with_its_reply(greeting: str) -> None:
    with pytest.raises(HandshakeError) as caught:
        play([f"S: {greeting}", "X"], FakeOwner())
    assert (caught.value.failure.stage, caught.value.failure.code) == (Stage.GREETING, int(greeting[:3]))


def test_bytes_behind_the_reply_to_starttls_end_the_connection() -> None:
    injected = b"220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n"
    script = [*EHLO, "S: 250 STARTTLS", "C: STARTTLS", injected]
    for mode in ("opportunistic", "required"):
        with pytest.raises(HandshakeError) as caught:
            play(script, FakeOwner(), tls=mode)
        assert caught.value.failure.reason is Reason.PROTOCOL


def test_half_a_line_behind_the_reply_to_starttls_ends_the_connection_too() -> None:
    with pytest.raises(HandshakeError):
        play([*EHLO, "S: 250 STARTTLS", "C: STARTTLS", b"220 go\r\n250-ev"], FakeOwner(), tls="required")


def test_required_tls_is_never_replaced_by_clear_text() -> None:
    owner = FakeOwner(message(1))
    with pytest.raises(HandshakeError, match="does not offer STARTTLS"):
        play([*EHLO, "S: 250 PIPELINING"], owner, tls="required")
    assert owner.waiting


def test_a_password_is_sent_once_and_never_shown() -> None:
    credentials = Credentials("acme", "s3cret")
    assert "s3cret" not in repr(credentials)
    script = [*EHLO, "S: 250-PIPELINING", "S: 250 AUTH LOGIN PLAIN", "C: AUTH PLAIN AGFjbWUAczNjcmV0", "S: 535 no"]
    with pytest.raises(HandshakeError) as caught:
        play(script, FakeOwner(), credentials=credentials)
    assert caught.value.failure.reason is Reason.AUTHENTICATION
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("echo", [b"535-no\r\n501 s3cret\r\n", b"AUTH PLAIN AGFjbWUAczNjcmV0?\r\n", b"999 s3"])
def test_a_password_repeated_in_what_is_no_reply_is_not_shown_either(echo: bytes) -> None:
    script = [*EHLO, "S: 250 AUTH PLAIN", "C: AUTH PLAIN AGFjbWUAczNjcmV0", echo, "X"]
    with pytest.raises(HandshakeError) as caught:
        play(script, FakeOwner(), credentials=Credentials("acme", "s3cret"))
    assert caught.value.failure.reason is Reason.PROTOCOL
    assert "not shown, for it may repeat the password" in str(caught.value)
    assert not re.search("s3|czNjcmV0", str(caught.value))


def test_auth_login_answers_both_questions() -> None:
    script = [*EHLO, "S: 250-PIPELINING", "S: 250 AUTH LOGIN", "C: AUTH LOGIN", "S: 334 VXNlcm5hbWU6", "C: YWNtZQ=="]
    script += ["S: 334 UGFzc3dvcmQ6", "C: czNjcmV0", "S: 235 welcome", "C: MAIL FROM:.*", "C: RCPT.*", "C: DATA", *YES]
    owner = FakeOwner(message(1))
    server = play([*script, "D", "S: 250 ok", "X"], owner, credentials=Credentials("acme", "s3cret"))
    assert server.error is None
    assert ("r1@b.example", Stage.MESSAGE, 250) in owner.journal


def test_a_delivery_confirmed_just_before_garbage_is_not_lost() -> None:
    owner = FakeOwner(message(1))
    play([*PIPELINING, *ENVELOPE, *YES, "D", b"250 ok\r\n\x00garbage\r\n"], owner)
    assert owner.journal == [
        ("intent", "r1@b.example"),
        ("r1@b.example", Stage.MESSAGE, 250),
        ("lost", Reason.PROTOCOL),
    ]


class Deaf(asyncio.Transport):
    """A transport that keeps what is written; what comes in, the test says itself."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unwritten = 0
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.unwritten

    def close(self) -> None:
        self.closing = True

    abort = close


def by_hand(owner: FakeOwner, clock: SystemClock, tls: TlsMode = "none", window: int = 1) -> Connection:
    connection = Connection(
        owner,
        Handshake(ehlo_name="me.example", tls=tls),
        clock=clock,
        timeouts=Timeouts(),
        host="localhost",
        address="127.0.0.1",
        max_messages=100,
        window=Window(window, size=window),
    )
    connection.connection_made(Deaf())
    return connection


@pytest.mark.parametrize("late", [b"250-ev", b"garbage\r\n", b"250 evil\r\n"])
def test_bytes_that_come_between_the_reply_to_starttls_and_the_tls_handshake_end_the_connection(late: bytes) -> None:
    async def run() -> None:
        connection = by_hand(FakeOwner(), SystemClock(), "required")
        establishing = asyncio.create_task(connection.establish(client_context(verify=False)))
        await asyncio.sleep(0)
        connection.data_received(b"220 mx.example\r\n")
        connection.data_received(b"250-mx.example\r\n250 STARTTLS\r\n")
        connection.data_received(b"220 go\r\n")
        connection.data_received(late)
        with pytest.raises(HandshakeError) as caught:
            await establishing
        assert caught.value.failure.reason is Reason.PROTOCOL
        assert connection.closed

    asyncio.run(run())


class Hand(SystemClock):
    """A clock that is set by hand."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_one_more_message_in_a_window_does_not_move_the_deadline_of_the_first() -> None:
    async def run() -> None:
        owner, clock = FakeOwner(message(1)), Hand()
        connection = by_hand(owner, clock, window=4)
        establishing = asyncio.create_task(connection.establish(None))
        await asyncio.sleep(0)
        connection.data_received(b"220 mx.example\r\n")
        connection.data_received(b"250-mx.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
        await establishing
        connection.pump()
        deadline = connection.deadline
        clock.now = 20.0
        owner.waiting.append(message(2))
        connection.pump()
        assert connection.in_flight == 2
        assert connection.deadline == deadline
        connection.data_received(b"250 reset\r\n")
        assert connection.deadline == 20.0 + Timeouts().mail
        connection.abort()

    asyncio.run(run())


def test_a_server_that_lets_us_in_and_closes_in_the_same_breath_has_not_let_us_in() -> None:
    async def run() -> None:
        connection = by_hand(FakeOwner(message(1)), SystemClock())
        establishing = asyncio.create_task(connection.establish(None))
        await asyncio.sleep(0)
        connection.data_received(b"220 mx.example\r\n")
        connection.data_received(b"250 mx.example\r\n")
        connection.connection_lost(None)
        with pytest.raises(HandshakeError, match="the server closed the connection"):
            await establishing

    asyncio.run(run())
