"""Ports that questions leave from: shared while many are out, never for long, and none is kept."""

import asyncio
import gc
import socket
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast
from weakref import ref

import pytest
import uvloop

from bulkmail.dns.ports import QUESTIONS_A_PORT, Ports
from bulkmail.dns.servers import parse_server


class Asked(asyncio.DatagramProtocol):
    """A server that keeps the questions with their ports until it is told what to answer."""

    def __init__(self) -> None:
        self.questions: list[tuple[bytes, int]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        self.questions.append((data, peer[1]))

    def say(self, data: bytes, port: int) -> None:
        self.transport.sendto(data, ("127.0.0.1", port))


def run(scene: Callable[[Asked, Ports], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, asked = await loop.create_datagram_endpoint(Asked, local_addr=("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        try:
            await scene(asked, Ports(parse_server(f"127.0.0.1:{port}", default_port=53, path="")))
        finally:
            transport.close()

    uvloop.run(main())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what the kernel has done has no event
            await asyncio.sleep(0)


def test_questions_that_are_out_together_share_ports_with_ids_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # Few ids, so that some would meet.
    numbers = iter(range(10_000))
    monkeypatch.setattr("bulkmail.dns.ports.os.urandom", lambda count: (next(numbers) // 2 % 100).to_bytes(2, "big"))

    async def scene(asked: Asked, ports: Ports) -> None:
        count = QUESTIONS_A_PORT + 1
        tasks = [asyncio.ensure_future(ports.ask(b"%d" % number, bytes, seconds=5.0)) for number in range(count)]
        await until(lambda: len(asked.questions) == count)
        by_port: dict[int, list[bytes]] = {}
        for data, port in asked.questions:
            by_port.setdefault(port, []).append(data[:2])
        assert sorted(map(len, by_port.values())) == [1, QUESTIONS_A_PORT]
        assert all(len(set(ids)) == len(ids) for ids in by_port.values())
        for data, port in reversed(asked.questions):
            asked.say(data, port)
        assert [data[2:] for data in await asyncio.gather(*tasks)] == [b"%d" % number for number in range(count)]

    run(scene)


def test_a_port_is_given_up_with_its_last_question(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []
    real = socket.socket

    def opening(*kind: int) -> socket.socket:
        opened.append(real(*kind))
        return opened[-1]

    monkeypatch.setattr("bulkmail.dns.ports.socket", SimpleNamespace(socket=opening, SOCK_DGRAM=socket.SOCK_DGRAM))

    async def scene(asked: Asked, ports: Ports) -> None:
        first = asyncio.ensure_future(ports.ask(b"first", bytes, seconds=5.0))
        second = asyncio.ensure_future(ports.ask(b"second", bytes, seconds=5.0))
        await until(lambda: len(asked.questions) == 2)
        first.cancel()
        asked.say(*asked.questions[1])
        assert (await second)[2:] == b"second"
        await asyncio.gather(first, return_exceptions=True)
        assert [one.fileno() for one in opened] == [-1]
        third = asyncio.ensure_future(ports.ask(b"third", bytes, seconds=5.0))
        await until(lambda: len(asked.questions) == 3)
        asked.say(*asked.questions[2])
        await third
        assert len(opened) == 2

    run(scene)


def test_only_what_is_accepted_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def accept(data: bytes) -> bytes | None:
        if data[2:] == b"bad":
            raise ValueError("bad")
        return data if data[2:] == b"good" else None

    async def scene(asked: Asked, ports: Ports) -> None:
        good, bad = (asyncio.ensure_future(ports.ask(b"", accept, seconds=5.0)) for _ in range(2))
        await until(lambda: len(asked.questions) == 2)
        (first, port), (second, _) = asked.questions
        other = bytes([first[0] ^ second[0] ^ 255, 0])
        for data in (b"", other + b"good", first + b"evil", first + b"good", second + b"bad", first + b"good"):
            asked.say(data, port)
        assert await good == first + b"good"
        with pytest.raises(ValueError, match="bad"):
            await bad

    run(scene)


def test_all_that_wait_learn_at_once_that_nobody_listens() -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        ports = Ports(parse_server(f"127.0.0.1:{port}", default_port=53, path=""))
        async with asyncio.timeout(2):
            outcomes = await asyncio.gather(
                *(ports.ask(b"x", bytes, seconds=5.0) for _ in range(5)), return_exceptions=True
            )
        assert all(isinstance(one, ConnectionRefusedError) for one in outcomes)

    uvloop.run(main())


def test_nothing_of_a_question_without_an_answer_is_left_to_the_collector() -> None:
    async def scene(asked: Asked, ports: Ports) -> None:
        def accept(data: bytes) -> None:
            raise AssertionError

        question = ref(accept)
        with pytest.raises(TimeoutError):
            await ports.ask(b"x", accept, seconds=0.01)
        del accept
        # The loop lets go of what it called last.
        await asyncio.sleep(0)
        assert question() is None

    gc.disable()
    try:
        run(scene)
    finally:
        gc.enable()
