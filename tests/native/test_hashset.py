"""The address set: against its twin, against CPython's own SipHash, and its memory while it grows."""

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bulkmail.native.hashset import AddressSet, hash64
from tests.oracles import hashset as oracle

keys = st.binary(max_size=20) | st.integers(0, 50).map(lambda n: b"user%d@example.com" % n)


@given(st.binary(max_size=70))
def test_the_hash_is_the_one_of_the_twin(key: bytes) -> None:
    assert hash64(key) == oracle.hash64(key)


@pytest.mark.skipif(sys.hash_info.algorithm != "siphash13", reason="this Python hashes otherwise")
def test_the_twins_hash_is_the_siphash_of_cpython() -> None:
    samples = [bytes(range(length)) for length in range(1, 40)]
    program = f"print([hash(sample) % 2**64 for sample in {samples!r}])"
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    output = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True
    )
    assert output.stdout.strip() == repr([oracle.siphash13(sample, bytes(16)) for sample in samples])


def test_stored_hashes_stay_what_they_are() -> None:
    assert hash64(b"") == 0x5CE1F63B4165B911
    assert hash64(b"someone@example.com") == 0x6613B81FDA21A724


class SetMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.native, self.twin = AddressSet(), oracle.AddressSet()

    @rule(key=keys)
    def add(self, key: bytes) -> None:
        assert self.native.add(key) == self.twin.add(key)

    @rule(key=keys)
    def discard(self, key: bytes) -> None:
        self.native.discard(key)
        self.twin.discard(key)

    @rule(key=keys)
    def ask(self, key: bytes) -> None:
        assert (key in self.native) == (key in self.twin)

    @rule(several=st.lists(keys, max_size=100))
    def add_several(self, several: list[bytes]) -> None:
        assert self.native.add_many(several) == self.twin.add_many(several)

    @rule(several=st.lists(keys, max_size=100))
    def ask_for_several(self, several: list[bytes]) -> None:
        assert self.native.contains_many(several) == self.twin.contains_many(several)

    @rule(first=st.integers(1, 2**64 - 400), count=st.integers(1, 300))
    def add_a_run_of_hashes(self, first: int, count: int) -> None:
        for h in range(first, first + count):
            assert self.native.add_hash(h) == self.twin.add_hash(h)

    @invariant()
    def as_many(self) -> None:
        assert len(self.native) == len(self.twin)


TestSetMachine = SetMachine.TestCase
TestSetMachine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_every_key_is_found_after_growth_and_after_others_are_discarded() -> None:
    addresses = AddressSet()
    names = [b"user%d@example.com" % n for n in range(20_000)]
    assert all(addresses.add(name) for name in names)
    assert not any(addresses.add(name) for name in names)
    for name in names[::3]:
        addresses.discard(name)
    assert [name in addresses for name in names] == [at % 3 != 0 for at in range(20_000)]
    assert len(addresses) == 20_000 - len(names[::3])


def crowded(count: int) -> list[int]:
    """Hashes that all want the last home slots: their product with the set's spreading factor is near 2**64."""
    inverse = pow(0x9E3779B97F4A7C15, -1, 2**64)
    return [(2**64 - 1 - n) * inverse % 2**64 for n in range(count)]


def test_hashes_that_all_want_one_slot_are_kept_in_bounded_memory() -> None:
    addresses = AddressSet()
    hashes = crowded(3_000)
    assert all(addresses.add_hash(h) for h in hashes)
    assert not any(addresses.add_hash(h) for h in hashes)
    assert len(addresses) == 3_000
    assert addresses.memory_bytes < 3_000 * 64


def test_an_empty_set_answers_and_takes_no_table() -> None:
    addresses = AddressSet()
    assert b"anyone@example.com" not in addresses
    addresses.discard(b"anyone@example.com")
    assert len(addresses) == 0
    assert addresses.memory_bytes < 200


def test_an_entry_takes_nine_to_fifteen_bytes() -> None:
    addresses = AddressSet()
    for h in range(1, 100_001):
        addresses.add_hash(h)
        if h >= 10_000:
            assert 9 * h < addresses.memory_bytes < 15 * h


def test_values_that_are_no_hash_are_refused() -> None:
    addresses = AddressSet()
    with pytest.raises(ValueError, match="0 is no hash64 value"):
        addresses.add_hash(0)
    for wrong in (-1, 2**64):
        with pytest.raises(OverflowError):
            addresses.add_hash(wrong)
    assert len(addresses) == 0


def test_a_key_added_by_its_hash_is_found() -> None:
    addresses = AddressSet()
    assert addresses.add_hash(hash64(b"someone@example.com"))
    assert b"someone@example.com" in addresses
    assert not addresses.add(b"someone@example.com")


GROWTH = """
from pathlib import Path
from bulkmail.native.hashset import AddressSet
def peak(): return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
before = peak()
addresses = AddressSet()
add = addresses.add_hash
for h in range(1, 2_000_001):
    add(h)
print((peak() - before) / addresses.memory_bytes, addresses.memory_bytes / len(addresses))
"""


def test_growth_takes_no_second_table() -> None:
    output = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, check=True, text=True)
    peak, entry = map(float, output.stdout.split())
    assert 0.8 < peak < 1.2
    assert entry < 15


@pytest.mark.parametrize("wrong", [None, "text", 5])
def test_only_bytes_are_keys(wrong: object) -> None:
    addresses = AddressSet()
    for function in (addresses.add, addresses.discard, addresses.__contains__, hash64):
        with pytest.raises(TypeError):
            function(wrong)  # type: ignore[arg-type]
    for function in (addresses.add_many, addresses.contains_many):
        with pytest.raises(TypeError):
            function([b"right", wrong])  # type: ignore[list-item]
        with pytest.raises(TypeError):
            function(wrong)  # type: ignore[arg-type]
