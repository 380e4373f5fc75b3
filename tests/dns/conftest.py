"""Scenarios run on both event loops, with a resolver whose clock is in the test's hand."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from bulkmail.dns.resolver import CacheLimits, Resolver
from tests.dns.server import DnsServer


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


class Net:
    """One scripted DNS server, and resolvers that ask it."""

    def __init__(self, server: DnsServer) -> None:
        self.server = server
        self.clock = HandClock()
        self.resolver = self.resolver_of([server.text])

    def resolver_of(
        self, servers: list[str], *, timeout_seconds: float = 5.0, concurrent_queries: int = 200, **cache: Any
    ) -> Resolver:
        return Resolver(
            servers,
            clock=self.clock,
            timeout_seconds=timeout_seconds,
            concurrent_queries=concurrent_queries,
            cache=CacheLimits(**cache),
        )


Scenario = Callable[[Net], Awaitable[None]]
Run = Callable[[Scenario], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a scenario over a `Net` on the event loop of this parameter."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    async def play(scenario: Scenario) -> None:
        async with DnsServer() as server:
            net = Net(server)
            await scenario(net)
            await net.resolver.close()

    def run(scenario: Scenario) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(play(scenario))

    return run
