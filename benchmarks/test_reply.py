"""What parsing replies costs, native and twin side by side: pytest benchmarks/test_reply.py --benchmark-enable."""

import time
from types import ModuleType

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bulkmail.native import reply as native
from tests.oracles import reply as oracle

ONE_LINE = b"250 2.0.0 Ok: queued as 4bQw1k0Zk1z9rSx\r\n"
GREETED = b"250-mx.example.com\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-STARTTLS\r\n250 SMTPUTF8\r\n"
PIPELINED = b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n"

pytestmark = pytest.mark.benchmark(timer=time.process_time)


@pytest.mark.parametrize("module", [native, oracle], ids=["native", "twin"])
def test_parse_one_line(benchmark: BenchmarkFixture, module: ModuleType) -> None:
    assert benchmark.pedantic(module.parse_reply, (ONE_LINE,), rounds=20, iterations=50_000)


@pytest.mark.parametrize("data", [ONE_LINE, GREETED, PIPELINED], ids=["one line", "ehlo", "three replies"])
@pytest.mark.parametrize("module", [native, oracle], ids=["native", "twin"])
def test_feed(benchmark: BenchmarkFixture, module: ModuleType, data: bytes) -> None:
    assert benchmark.pedantic(module.ReplyParser().feed, (data,), rounds=20, iterations=20_000)


@pytest.mark.parametrize("module", [native, oracle], ids=["native", "twin"])
def test_feed_byte_by_byte(benchmark: BenchmarkFixture, module: ModuleType) -> None:
    feed, parts = module.ReplyParser().feed, [GREETED[at : at + 1] for at in range(len(GREETED))]
    assert benchmark.pedantic(lambda: list(map(feed, parts)), rounds=20, iterations=200)


@pytest.mark.parametrize("module", [native, oracle], ids=["native", "twin"])
def test_enhanced_code(benchmark: BenchmarkFixture, module: ModuleType) -> None:
    assert benchmark.pedantic(module.enhanced_code, (ONE_LINE[4:], 250), rounds=20, iterations=50_000)
