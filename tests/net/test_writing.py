"""Messages that are not taken, or by the byte: blocks, transactions and the reply have times of their own."""

import asyncio
import socket
from contextlib import closing

import pytest
import uvloop

from bulkmail.clock import SystemClock
from bulkmail.model.delivery import Reason, Stage
from bulkmail.native.message import Message
from bulkmail.net.connection import Connection
from bulkmail.net.opening import connect
from bulkmail.net.timeouts import BLOCK_BYTES, Timeouts
from bulkmail.net.tls import client_context
from bulkmail.sandbox.certificate import make_certificate, server_context
from bulkmail.smtp.handshake import Handshake
from tests.net.test_connection import Deaf, FakeOwner, Hand, by_hand, message

TIMEOUTS = Timeouts()
SIZE = 1_000_000


async def writing(owner: FakeOwner, clock: Hand, *, window: int = 1) -> tuple[Connection, Deaf]:
    """A connection whose message of SIZE bytes was handed to the network, which has taken none of it."""
    connection = by_hand(owner, clock, window=window)
    transport = connection._wire.transport
    assert isinstance(transport, Deaf)
    establishing = asyncio.create_task(connection.establish(None))
    await asyncio.sleep(0)
    connection.data_received(b"220 mx.example\r\n")
    connection.data_received(b"250-mx.example\r\n250-CHUNKING\r\n250 PIPELINING\r\n")
    await establishing
    connection.pump()
    if window == 1:
        connection.data_received(b"250 ok\r\n250 ok\r\n354 go on\r\n")
    transport.unwritten = SIZE
    return connection, transport


def big(number: int = 1) -> Message:
    return message(number, b"x" * (SIZE - 2) + b"\r\n")


def test_a_receiver_that_stops_reading_has_three_minutes_and_leaves_no_doubt() -> None:
    async def run() -> None:
        owner, clock = FakeOwner(big()), Hand()
        connection, _ = await writing(owner, clock)
        for clock.now in (0.0, 100.0, TIMEOUTS.block - 1):
            connection.expire(clock.now)
            assert not connection.closed
        connection.expire(TIMEOUTS.block)
        assert owner.journal == [
            ("intent", "r1@b.example"),
            ("left", "r1@b.example", Stage.MESSAGE, False),
            ("lost", Reason.TIMEOUT),
        ]
        assert "1000000 bytes not taken" in connection._end[1]

    asyncio.run(run())


def test_a_receiver_that_reads_by_the_byte_has_no_more() -> None:
    async def run() -> None:
        owner, clock = FakeOwner(big()), Hand()
        connection, transport = await writing(owner, clock)
        while not connection.closed:
            connection.expire(clock.now)
            clock.now += 59.0
            transport.unwritten -= 1
        assert clock.now <= TIMEOUTS.block + 2 * 59.0
        assert owner.journal[-1] == ("lost", Reason.TIMEOUT)

    asyncio.run(run())


def test_each_block_has_its_three_minutes_and_the_reply_ten_from_the_last_byte_on() -> None:
    async def run() -> None:
        owner, clock = FakeOwner(big()), Hand()
        connection, transport = await writing(owner, clock)
        while transport.unwritten:
            connection.expire(clock.now)
            clock.now += TIMEOUTS.block - 1
            transport.unwritten = max(0, transport.unwritten - BLOCK_BYTES)
        written_at = clock.now
        assert written_at > TIMEOUTS.message
        connection.expire(written_at)
        connection.expire(written_at + TIMEOUTS.message - TIMEOUTS.block)
        assert not connection.closed
        connection.expire(written_at + TIMEOUTS.message)
        # Now it may have been taken.
        assert ("left", "r1@b.example", Stage.MESSAGE, True) in owner.journal

    asyncio.run(run())


def test_a_transaction_that_is_not_written_in_an_hour_is_given_up() -> None:
    async def run() -> None:
        owner, clock = FakeOwner(message(1, b"x" * (5 * SIZE))), Hand()
        connection, transport = await writing(owner, clock)
        transport.unwritten = 5 * SIZE
        while not connection.closed:
            connection.expire(clock.now)
            clock.now += TIMEOUTS.block - 1
            transport.unwritten -= BLOCK_BYTES
        assert TIMEOUTS.transaction <= clock.now < TIMEOUTS.transaction + 2 * TIMEOUTS.block
        assert "the transaction was not over in 3600 s" in connection._end[1]
        assert owner.journal[-2] == ("left", "r1@b.example", Stage.MESSAGE, False)

    asyncio.run(run())


def test_replies_that_drip_end_with_the_deadline_of_their_command() -> None:
    async def run() -> None:
        owner, clock = FakeOwner(message(1)), Hand()
        connection, transport = await writing(owner, clock, window=2)
        transport.unwritten = 0
        for byte in b"250-a\r\n" * 20:
            connection.data_received(bytes([byte]))
            connection.expire(clock.now)
            if connection.closed:
                break
            clock.now += 59.0
        assert clock.now <= TIMEOUTS.mail + 59.0
        assert owner.journal[-1] == ("lost", Reason.TIMEOUT)

    asyncio.run(run())


def test_of_a_window_only_what_was_taken_whole_is_in_doubt() -> None:
    async def run() -> None:
        owner, clock = FakeOwner(big(1), big(2), big(3)), Hand()
        connection, transport = await writing(owner, clock, window=3)
        transport.unwritten = 2 * SIZE
        connection.expire(0.0)
        connection.expire(TIMEOUTS.block)
        assert owner.journal[-4:] == [
            ("left", "r1@b.example", Stage.MAIL, True),
            ("left", "r2@b.example", Stage.MAIL, False),
            ("left", "r3@b.example", Stage.MAIL, False),
            ("lost", Reason.TIMEOUT),
        ]
        assert connection._window.anomaly

    asyncio.run(run())


@pytest.mark.parametrize("read", [0, 4096])
def test_a_real_socket_that_nobody_reads_ends_in_time_and_in_no_doubt(read: int) -> None:
    async def run() -> None:
        owner, clock = FakeOwner(message(1, b"x" * 30_000_000 + b"\r\n")), Hand()
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            listener.setblocking(False)
            loop = asyncio.get_running_loop()

            def make() -> Connection:
                return Connection(
                    owner,
                    Handshake(ehlo_name="me.example"),
                    clock=clock,
                    timeouts=TIMEOUTS,
                    host="localhost",
                    address="127.0.0.1",
                    max_messages=10,
                )

            port = listener.getsockname()[1]
            connection = await connect(make, "127.0.0.1", port, source_address=None, timeout_seconds=5)
            server, _ = await loop.sock_accept(listener)
            with closing(server):
                await loop.sock_sendall(server, b"220 mx\r\n")
                await loop.sock_recv(server, 100)
                await loop.sock_sendall(server, b"250-mx\r\n250 PIPELINING\r\n")
                await connection.establish(None)
                connection.pump()
                await loop.sock_recv(server, 1000)
                await loop.sock_sendall(server, b"250 ok\r\n250 ok\r\n354 go\r\n")
                for _ in range(20):
                    await asyncio.sleep(0)
                assert owner.journal == [("intent", "r1@b.example")]
                for clock.now in range(0, 2 * int(TIMEOUTS.block), 59):
                    connection.expire(clock.now)
                    if connection.closed:
                        break
                    if read:
                        await loop.sock_recv(server, read)
                        await asyncio.sleep(0)
                assert connection.closed
                assert owner.journal[-2] == ("left", "r1@b.example", Stage.MESSAGE, False)

    asyncio.run(run())


def test_under_tls_the_same_holds_for_what_was_encrypted_and_not_taken() -> None:
    async def run() -> None:
        context = server_context(*make_certificate(["localhost"], now_seconds=SystemClock().time()))
        owner, clock = FakeOwner(message(1, b"x" * 30_000_000 + b"\r\n")), Hand()
        over = asyncio.Event()

        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mx\r\n")
            await reader.readline()
            writer.write(b"250-mx\r\n250 STARTTLS\r\n")
            await reader.readline()
            writer.write(b"220 go on\r\n")
            await writer.start_tls(context)
            await reader.readline()
            writer.write(b"250-mx\r\n250 PIPELINING\r\n")
            for _ in range(3):
                await reader.readline()
            writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
            await over.wait()
            writer.transport.abort()

        def make() -> Connection:
            return Connection(
                owner,
                Handshake(ehlo_name="me.example", tls="required"),
                clock=clock,
                timeouts=TIMEOUTS,
                host="localhost",
                address="127.0.0.1",
                max_messages=10,
            )

        async with await asyncio.start_server(deaf, "127.0.0.1", 0) as server:
            try:
                async with asyncio.timeout(10):
                    port = server.sockets[0].getsockname()[1]
                    connection = await connect(make, "127.0.0.1", port, source_address=None, timeout_seconds=5)
                    await connection.establish(client_context(verify=False))
                    connection.pump()
                    while not owner.journal:  # noqa: ASYNC110 - until the message is under way
                        await asyncio.sleep(0.01)
                    for clock.now in (0.0, 100.0, TIMEOUTS.block):
                        connection.expire(clock.now)
                    assert owner.journal[-2:] == [
                        ("left", "r1@b.example", Stage.MESSAGE, False),
                        ("lost", Reason.TIMEOUT),
                    ]
            finally:
                over.set()
                await asyncio.sleep(0.05)

    uvloop.run(run())
