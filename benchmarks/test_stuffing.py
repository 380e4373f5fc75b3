"""What making SMTP lines costs on 1 MB, native and twin: pytest benchmarks/test_stuffing.py --benchmark-enable.

Typical are quoted-printable lines, one in a hundred with a leading dot. Worst is a byte to insert before each byte.
"""

import random
import time
from types import ModuleType

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bulkmail.native import stuffing as native
from tests.oracles import stuffing as oracle

MEGABYTE = 1_000_000

pytestmark = pytest.mark.benchmark(timer=time.process_time)


def typical() -> bytes:
    lines, rng = [], random.Random(1)
    for _ in range(MEGABYTE // 78):
        text = bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyzABCDEFGH=0123456789<>/", k=75))
        lines.append((b"." + text[1:] if rng.random() < 0.01 else text) + b"=\r\n")
    return b"".join(lines)


BODIES = {
    "typical": typical(),
    "clean": (b"x" * 76 + b"\r\n") * (MEGABYTE // 78),
    "bare LF lines": (b"x" * 76 + b"\n") * (MEGABYTE // 77),
    "worst, LF alone": b"\n" * MEGABYTE,
    "worst, dot lines": b".\r\n" * (MEGABYTE // 3),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("module", [native, oracle], ids=["native", "twin"])
def test_stuff(benchmark: BenchmarkFixture, module: ModuleType, body: bytes) -> None:
    rounds, iterations = (15, 20) if module is native else (2, 1)
    benchmark.pedantic(module.stuff, (body,), rounds=rounds, iterations=iterations, warmup_rounds=1)
    if benchmark.stats:
        benchmark.extra_info["GB per second"] = round(len(body) / benchmark.stats.stats.median / 1e9, 2)
