"""Signing threads: the loop gets each batch back signed as at once, or what went wrong."""

import asyncio
import logging
import threading
from typing import Any

import pytest

from bulkmail.dkim.keys import SigningKey
from bulkmail.dkim.multibuffer import MultibufferError
from bulkmail.dkim.signing import Signer
from bulkmail.engine.signatures import SigningThreads
from bulkmail.errors import InternalError
from tests.dkim.material import ed25519_key, rsa_key

NOW = 1_700_000_000


class Meter:
    def __init__(self) -> None:
        self.seconds = 0.0

    def signed(self, seconds: float) -> None:
        self.seconds += seconds


def messages_of(count: int) -> list[bytes]:
    return [b"From: a@garden.example\r\nSubject: %d\r\n\r\nSeeds  \r\n" % number for number in range(count)]


def signed_by_threads(signer: Signer, batches: list[list[bytes]], threads: int = 2) -> tuple[list[Any], float]:
    meter: Any = Meter()

    async def run() -> list[Any]:
        signing = SigningThreads(signer, threads=threads, meter=meter)
        futures = [asyncio.get_running_loop().create_future() for _ in batches]
        for batch, future in zip(batches, futures, strict=True):
            signing.sign(batch, future.set_result, now=NOW)
        try:
            return await asyncio.wait_for(asyncio.gather(*futures), 30.0)
        finally:
            signing.close()
            signing.close()

    return asyncio.run(run()), meter.seconds


@pytest.mark.parametrize("turbo", [False, True])
def test_batches_of_all_sizes_come_back_signed_in_order(turbo: bool, caplog: pytest.LogCaptureFixture) -> None:
    signer = Signer(
        [SigningKey("garden.example", "s2027", rsa_key(1024)), SigningKey("garden.example", "e", ed25519_key())]
    )
    batches = [messages_of(count) for count in (1, 2, 7, 8, 9, 64, 65)]
    expected = [signer.sign_many(batch, now=NOW) for batch in batches]
    if turbo:
        try:
            for key in signer.keys:
                key.accelerate()
        except MultibufferError as error:
            pytest.skip(f"no multi-buffer library here: {error}")
    with caplog.at_level(logging.WARNING):
        results, seconds = signed_by_threads(signer, batches)
    assert results == expected
    assert seconds > 0.0 and not caplog.records


def test_a_batch_that_cannot_be_signed_fails_alone() -> None:
    signer = Signer([SigningKey("garden.example", "e", ed25519_key())])
    good = messages_of(3)
    results, _ = signed_by_threads(signer, [good, [b"To: nobody@example.org\r\n\r\n"], [b"no field\r\n\r\n"], good])
    assert results[0] == results[3] == signer.sign_many(good, now=NOW)
    assert isinstance(results[1], InternalError) and "exactly one From" in str(results[1])
    assert isinstance(results[2], ValueError) and "no field" in str(results[2])


def test_threads_begin_with_the_first_batch_and_end_with_close() -> None:
    before = set(threading.enumerate())

    def signers() -> list[threading.Thread]:
        return [
            thread
            for thread in threading.enumerate()
            if thread.name.startswith("bulkmail-signer") and thread not in before
        ]

    async def run() -> None:
        meter: Any = Meter()
        signing = SigningThreads(Signer([SigningKey("garden.example", "e", ed25519_key())]), threads=3, meter=meter)
        assert signers() == []
        future = asyncio.get_running_loop().create_future()
        signing.sign(messages_of(1), future.set_result, now=NOW)
        await future
        begun = signers()
        assert len(begun) == 3
        signing.close()
        for thread in begun:
            await asyncio.to_thread(thread.join, 30.0)
        assert signers() == []

    asyncio.run(run())
