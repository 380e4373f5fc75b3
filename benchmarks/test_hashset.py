"""What asking a suppression list costs, and its memory: pytest benchmarks/test_hashset.py --benchmark-enable.

Above the processor's caches a single question waits for memory; questions in batches wait together.
"""

import random
import subprocess
import sys
import time
from collections import deque
from functools import cache

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bulkmail.native.hashset import AddressSet, hash64

ASKED = 100_000

pytestmark = pytest.mark.benchmark(timer=time.process_time)


def address(number: int) -> bytes:
    return b"user%d@example%d.com" % (number, number & 1023)


@cache
def filled(entries: int) -> AddressSet:
    addresses = AddressSet()
    for start in range(0, entries, 1000):
        addresses.add_many([address(number) for number in range(start, min(start + 1000, entries))])
    return addresses


def asked(entries: int) -> list[bytes]:
    """Half of them are in the set."""
    rng = random.Random(1)
    return [address(rng.randrange(2 * entries)) for _ in range(ASKED)]


SIZES = [1_000, 1_000_000, 10_000_000]


def size_or_small(entries: int, benchmark: BenchmarkFixture) -> int:
    """As an ordinary test, the smallest size says that the benchmark runs."""
    return entries if benchmark.enabled else SIZES[0]


def note_one_question(benchmark: BenchmarkFixture) -> None:
    if benchmark.stats:
        benchmark.extra_info["nanoseconds per question"] = round(benchmark.stats.stats.median / ASKED * 1e9, 1)


@pytest.mark.parametrize("entries", SIZES)
def test_a_hundred_thousand_single_questions(benchmark: BenchmarkFixture, entries: int) -> None:
    entries = size_or_small(entries, benchmark)
    addresses, keys = filled(entries), asked(entries)
    benchmark.pedantic(lambda: deque(map(addresses.__contains__, keys), 0), rounds=15, warmup_rounds=1)
    note_one_question(benchmark)


@pytest.mark.parametrize("entries", SIZES)
def test_a_hundred_thousand_questions_in_batches(benchmark: BenchmarkFixture, entries: int) -> None:
    entries = size_or_small(entries, benchmark)
    addresses, keys = filled(entries), asked(entries)
    batches = [keys[at : at + 1000] for at in range(0, ASKED, 1000)]
    benchmark.pedantic(lambda: deque(map(addresses.contains_many, batches), 0), rounds=15, warmup_rounds=1)
    note_one_question(benchmark)


def test_a_hundred_thousand_questions_to_a_python_set(benchmark: BenchmarkFixture) -> None:
    keys = asked(SIZES[1])
    addresses = {address(number) for number in range(SIZES[1] if benchmark.enabled else SIZES[0])}
    benchmark.pedantic(lambda: deque(map(addresses.__contains__, keys), 0), rounds=15, warmup_rounds=1)
    note_one_question(benchmark)


def test_the_same_question_again(benchmark: BenchmarkFixture) -> None:
    addresses, key = filled(SIZES[0]), address(1)
    benchmark.pedantic(addresses.__contains__, (key,), rounds=20, iterations=50_000)


def test_hash_one_address(benchmark: BenchmarkFixture) -> None:
    benchmark.pedantic(hash64, (address(12345),), rounds=20, iterations=50_000)


FILL = """
import sys, time
from pathlib import Path
from bulkmail.native.hashset import AddressSet
def peak(): return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
entries, before, addresses, start = int(sys.argv[1]), peak(), AddressSet(), time.process_time()
longest = 0.0
for first in range(0, entries, 1000):
    began = time.process_time()
    addresses.add_many([b"user%d@example.com" % number for number in range(first, first + 1000)])
    longest = max(longest, time.process_time() - began)
print(time.process_time() - start, addresses.memory_bytes, peak() - before, longest)
"""


@pytest.mark.parametrize("entries", [10_000_000, 11_000_000])
def test_fill_a_set(benchmark: BenchmarkFixture, entries: int) -> None:
    """The table of ten million has not grown for long, that of eleven has just grown."""
    entries = size_or_small(entries, benchmark)

    def fill() -> list[float]:
        command = [sys.executable, "-c", FILL, str(entries)]
        output = subprocess.run(command, capture_output=True, check=True, text=True)
        return [float(number) for number in output.stdout.split()]

    seconds, memory, peak, longest = benchmark.pedantic(fill, rounds=1)
    benchmark.extra_info.update(
        nanoseconds_per_entry=round(seconds / entries * 1e9, 1),
        bytes_per_entry=round(memory / entries, 2),
        peak_megabytes=round(peak / 1e6, 1),
        longest_pause_milliseconds=round(longest * 1e3, 1),
    )
    assert peak < 200e6
