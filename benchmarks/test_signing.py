"""What a DKIM signature costs: `pytest benchmarks/test_signing.py --benchmark-enable`.

A message of 10 KB with the header lines of a newsletter. `sign` is the whole of it, from the bytes to the header line.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pytest_benchmark.fixture import BenchmarkFixture

from bulkmail.dkim.keys import SigningKey
from bulkmail.dkim.multibuffer import MultibufferError
from bulkmail.dkim.signing import Signer
from bulkmail.native.canonical import relaxed_body, relaxed_headers
from bulkmail.native.lanes import sha256_many

NOW = 1_700_000_000
HEADER = (
    b"From: Acme Garden <news@garden.example>\r\n"
    b"To: ada@example.org\r\n"
    b"Subject: Ada, your spring seeds are here\r\n"
    b"Date: Mon, 01 Mar 2027 08:15:00 +0000\r\n"
    b"Message-ID: <aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@garden.example>\r\n"
    b"Reply-To: care@garden.example\r\n"
    b"MIME-Version: 1.0\r\n"
    b'Content-Type: multipart/alternative;\r\n boundary="=_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"\r\n'
    b"List-Id: <news.garden.example>\r\n"
    b"List-Unsubscribe: <https://garden.example/u/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa>,\r\n"
    b" <mailto:unsubscribe@garden.example?subject=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    b"X-Campaign: spring\r\n"
)
BODY = b"".join(
    b"<p class=3D'c%04d'>The first seeds of spring want  a warm sill and patience.</p>\r\n" % i for i in range(130)
)
BATCH = 64
DIGEST = bytes(32)


class Unsigned:
    """A key whose signatures cost nothing."""

    domain, selector, algorithm, lanes = "garden.example", "s2027", "rsa-sha256", None

    def sign_digests(self, digests: list[bytes]) -> list[bytes]:
        return [SIGNATURE] * len(digests)


SIGNATURE = bytes(256)


@pytest.fixture
def rsa_key() -> SigningKey:
    return SigningKey("garden.example", "s2027", rsa.generate_private_key(public_exponent=65537, key_size=2048))


@pytest.fixture
def ed25519_key() -> SigningKey:
    return SigningKey("garden.example", "ed2027", Ed25519PrivateKey.generate())


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_relaxed_body_of_10_kb(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(relaxed_body, BODY)) > 10_000


def test_relaxed_headers(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(relaxed_headers, HEADER)) == 12


def test_body_hash_of_10_kb(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(Signer.body_hash, BODY)) == 44


@pytest.mark.parametrize("lanes", [16, 2, 0])
def test_sha256_of_64_bodies_side_by_side(benchmark: BenchmarkFixture, lanes: int) -> None:
    assert len(benchmark(sha256_many, [BODY + b"%d" % number for number in range(BATCH)], lanes)) == BATCH


def test_64_messages_all_but_the_signatures(benchmark: BenchmarkFixture) -> None:
    """Canonical forms, body and header hash, header lines, the whole put together."""
    key: Any = Unsigned()
    messages = [b"%b\r\n%b%d\r\n" % (HEADER, BODY, number) for number in range(BATCH)]
    assert len(benchmark(Signer([key]).seal, messages, now=NOW)) == BATCH


def test_rsa_2048_alone(benchmark: BenchmarkFixture, rsa_key: SigningKey) -> None:
    assert len(benchmark(rsa_key.sign_digests, [DIGEST])[0]) == 256


def test_ed25519_alone(benchmark: BenchmarkFixture, ed25519_key: SigningKey) -> None:
    assert len(benchmark(ed25519_key.sign_digests, [DIGEST])[0]) == 64


def test_sign_with_rsa_2048(benchmark: BenchmarkFixture, rsa_key: SigningKey) -> None:
    assert benchmark(Signer([rsa_key]).sign, HEADER, BODY, now=NOW)


def test_sign_with_ed25519(benchmark: BenchmarkFixture, ed25519_key: SigningKey) -> None:
    assert benchmark(Signer([ed25519_key]).sign, HEADER, BODY, now=NOW)


def test_sign_64_with_ed25519_and_one_body(benchmark: BenchmarkFixture, ed25519_key: SigningKey) -> None:
    assert benchmark(Signer([ed25519_key]).seal, [b"%b\r\n%b" % (HEADER, BODY)] * BATCH, now=NOW)


@pytest.mark.parametrize("algorithm", ["rsa", "ed25519"])
def test_64_digests_eight_at_a_time(
    benchmark: BenchmarkFixture, algorithm: str, rsa_key: SigningKey, ed25519_key: SigningKey
) -> None:
    key = rsa_key if algorithm == "rsa" else ed25519_key
    try:
        key.accelerate()
    except MultibufferError as error:
        pytest.skip(str(error))
    assert len(benchmark(key.sign_digests, [DIGEST] * BATCH)) == BATCH


def test_sign_with_both(benchmark: BenchmarkFixture, rsa_key: SigningKey, ed25519_key: SigningKey) -> None:
    assert benchmark(Signer([rsa_key, ed25519_key]).sign, HEADER, BODY, now=NOW).count(b"DKIM-Signature:") == 2


def test_sign_64_with_rsa_2048_in_two_threads(
    benchmark: BenchmarkFixture, rsa_key: SigningKey, threads: ThreadPoolExecutor
) -> None:
    signer = Signer([rsa_key])

    def batch() -> int:
        return sum(map(len, threads.map(lambda _: signer.sign(HEADER, BODY, now=NOW), repeat(None, BATCH))))

    assert benchmark(batch) > BATCH * 256
