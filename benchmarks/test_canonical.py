"""What DKIM's canonical forms cost: native, twin and dkimpy: pytest benchmarks/test_canonical.py --benchmark-enable.

Typical are quoted-printable lines, one in fifty with a run of spaces. Worst is white space in every other place.
"""

import random
import time
from collections.abc import Callable
from types import ModuleType

import pytest
from dkim.canonicalization import Relaxed
from pytest_benchmark.fixture import BenchmarkFixture

from bulkmail.native import canonical as native
from tests.oracles import canonical as oracle

MEGABYTE = 1_000_000

pytestmark = pytest.mark.benchmark(timer=time.process_time)


def typical() -> bytes:
    lines, rng = [], random.Random(1)
    for _ in range(MEGABYTE // 78):
        text = bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyzABCDEFGH=0123456789<>/", k=75))
        lines.append((text[:30] + b"    " + text[34:] if rng.random() < 0.02 else text) + b"=\r\n")
    return b"".join(lines)


BODIES = {
    "typical": typical(),
    "clean": (b"x" * 76 + b"\r\n") * (MEGABYTE // 78),
    "indented HTML": b'      <td class="a">hello world there</td>\r\n' * (MEGABYTE // 44),
    "worst, spaces": b"  " * (MEGABYTE // 2) + b".\r\n",
    "worst, tabs": b"a \t" * (MEGABYTE // 3) + b".\r\n",
    "worst, line ends": b"a \r\n" * (MEGABYTE // 4),
}
HEADER = b"".join(
    b"%b: A value of some length, folded as the value of a subject often is,\r\n\tover two lines\r\n" % name
    for name in (b"From", b"To", b"Subject", b"Date", b"Message-ID", b"List-Unsubscribe", b"List-Unsubscribe-Post")
)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_relaxed_body(benchmark: BenchmarkFixture, body: bytes) -> None:
    benchmark.pedantic(native.relaxed_body, (body,), rounds=15, iterations=20, warmup_rounds=1)
    if benchmark.stats:
        benchmark.extra_info["GB per second"] = round(len(body) / benchmark.stats.stats.median / 1e9, 2)


@pytest.mark.parametrize("form", [oracle.relaxed_body, Relaxed.canonicalize_body], ids=["twin", "dkimpy"])
def test_relaxed_body_elsewhere(benchmark: BenchmarkFixture, form: Callable[[bytes], bytes]) -> None:
    benchmark.pedantic(form, (BODIES["typical"],), rounds=5)
    if benchmark.stats:
        benchmark.extra_info["GB per second"] = round(len(BODIES["typical"]) / benchmark.stats.stats.median / 1e9, 2)


@pytest.mark.parametrize("module", [native, oracle], ids=["native", "twin"])
def test_relaxed_headers_of_seven_fields(benchmark: BenchmarkFixture, module: ModuleType) -> None:
    assert benchmark.pedantic(module.relaxed_headers, (HEADER,), rounds=20, iterations=2_000)
