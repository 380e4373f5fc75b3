"""Eight signatures at once: the same bytes as OpenSSL's, checked before they are used, and never needed."""

import hashlib
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkmail.dkim import multibuffer
from bulkmail.dkim.keys import SigningKey
from bulkmail.dkim.multibuffer import MultibufferError, batch_signer
from bulkmail.dkim.signing import Signer
from bulkmail.native.lanes import LaneKey
from tests.dkim.material import ed25519_key, rsa_key

DIGESTS = [hashlib.sha256(bytes([number])).digest() for number in range(19)]


def key_of(private: rsa.RSAPrivateKey | Ed25519PrivateKey) -> SigningKey:
    return SigningKey("garden.example", "s2027", private)


def accelerated(private: rsa.RSAPrivateKey | Ed25519PrivateKey) -> SigningKey:
    key = key_of(private)
    try:
        multibuffer.load()
    except MultibufferError as error:
        pytest.skip(f"no multi-buffer library here: {error}")
    key.accelerate()
    return key


@pytest.fixture
def without_library() -> Iterator[None]:
    multibuffer.load.cache_clear()
    multibuffer.installed.cache_clear()
    yield
    multibuffer.load.cache_clear()
    multibuffer.installed.cache_clear()


@pytest.mark.parametrize("bits", [1024, 2048, 3072, 4096])
def test_batches_of_every_size_are_signed_as_one_by_one_with_rsa(bits: int) -> None:
    fast, slow = accelerated(rsa_key(bits)), key_of(rsa_key(bits))
    expected = slow.sign_digests(DIGESTS)
    for count in range(len(DIGESTS) + 1):
        assert fast.sign_digests(DIGESTS[:count]) == expected[:count]
    assert fast.accelerated and not slow.accelerated


def test_batches_of_every_size_are_signed_as_one_by_one_with_ed25519() -> None:
    fast, slow = accelerated(ed25519_key()), key_of(ed25519_key())
    expected = slow.sign_digests(DIGESTS)
    for count in range(len(DIGESTS) + 1):
        assert fast.sign_digests(DIGESTS[:count]) == expected[:count]


def test_threads_sign_at_once_with_one_key() -> None:
    fast, expected = accelerated(rsa_key(1024)), key_of(rsa_key(1024)).sign_digests(DIGESTS)
    with ThreadPoolExecutor(4) as threads:
        assert all(made == expected for made in threads.map(lambda _: fast.sign_digests(DIGESTS), range(40)))


@pytest.mark.parametrize(
    "private",
    [
        rsa.generate_private_key(public_exponent=3, key_size=1024),
        rsa.generate_private_key(public_exponent=65537, key_size=1280),
    ],
    ids=["exponent 3", "1280 bits"],
)
def test_a_key_that_the_library_does_not_know_is_signed_with_one_by_one(private: rsa.RSAPrivateKey) -> None:
    accelerated(rsa_key(1024))
    signer = Signer([key_of(private)])
    with pytest.raises(MultibufferError, match="not for RSA keys"):
        batch_signer(private)
    signer.accelerate()
    assert not signer.keys[0].accelerated
    assert len(signer.keys[0].sign_digests(DIGESTS)) == len(DIGESTS)


def broken_rsa(monkeypatch: pytest.MonkeyPatch, private: rsa.RSAPrivateKey, part: int) -> LaneKey:
    parts = multibuffer.rsa_parts(private)
    parts[part] = parts[part][:5] + bytes([parts[part][5] ^ 0x10]) + parts[part][6:]
    monkeypatch.setattr(multibuffer, "rsa_parts", lambda private: parts)
    return batch_signer(private)


@pytest.mark.parametrize("part", range(6))
def test_a_wrong_signature_leaves_nobody_and_ends_the_use_of_the_library(
    part: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault in one half of a CRT computation would give the private key to whoever sees the signature."""
    fast, expected = accelerated(rsa_key(1024)), key_of(rsa_key(1024)).sign_digests(DIGESTS)
    fast.lanes = fast.native = broken_rsa(monkeypatch, rsa_key(1024), part)
    with caplog.at_level(logging.WARNING):
        assert fast.sign_digests(DIGESTS) == expected
        assert fast.sign_digests(DIGESTS) == expected
    assert not fast.accelerated
    assert [record.message.count("does not verify") for record in caplog.records] == [1]


def test_a_wrong_ed25519_signature_leaves_nobody(caplog: pytest.LogCaptureFixture) -> None:
    fast, expected = accelerated(ed25519_key()), key_of(ed25519_key()).sign_digests(DIGESTS)
    fast.lanes = fast.native = mixed_ed25519()
    with caplog.at_level(logging.WARNING):
        assert fast.sign_digests(DIGESTS) == expected
    assert len(caplog.records) == 1 and not fast.accelerated


def mixed_ed25519() -> LaneKey:
    """The private half of one key beside the public half of another."""
    library = multibuffer.load()
    functions = [multibuffer._address(library, f"mbx_ed25519_{name}_mb8") for name in ("sign", "verify")]
    other = Ed25519PrivateKey.generate()
    public = ed25519_key().public_key().public_bytes_raw()
    return LaneKey.ed25519((functions[0], functions[1]), 4, other.private_bytes_raw(), public)


def test_messages_of_a_batch_in_which_a_signature_was_wrong_are_signed_one_by_one(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = [b"From: a@garden.example\r\nSubject: %d\r\n\r\nx\r\n" % number for number in range(17)]
    fast, twin = accelerated(rsa_key(1024)), accelerated(ed25519_key())
    expected = Signer([key_of(rsa_key(1024)), key_of(ed25519_key())]).seal(messages, now=1_700_000_000)
    signer = Signer([fast, twin])
    assert signer.seal(messages, now=1_700_000_000) == expected
    fast.lanes = fast.native = broken_rsa(monkeypatch, rsa_key(1024), 2)
    twin.lanes = twin.native = mixed_ed25519()
    with caplog.at_level(logging.WARNING):
        assert signer.seal(messages, now=1_700_000_000) == expected
        assert signer.seal(messages, now=1_700_000_000) == expected
    assert [record.message.count("does not verify") for record in caplog.records] == [1, 1]


def test_a_library_that_differs_from_openssl_fails_the_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        fewest = 1

        def sign(self, digests: list[bytes]) -> list[bytes]:
            return [bytes(64)] * len(digests)

    monkeypatch.setattr("bulkmail.dkim.keys.batch_signer", lambda private: Wrong())
    key = key_of(ed25519_key())
    with pytest.raises(MultibufferError, match="differ"):
        key.accelerate()
    assert not key.accelerated


@pytest.mark.usefixtures("without_library")
def test_without_the_package_nothing_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(multibuffer, "_LIBRARY_PACKAGE", "no-such-package")
    monkeypatch.setattr(multibuffer, "_LIBRARY", "libnosuchlibrary.so")
    signer = Signer([key_of(rsa_key(1024))])
    signer.accelerate()
    assert not signer.keys[0].accelerated and not caplog.records
    with pytest.raises(MultibufferError, match="libnosuchlibrary"):
        multibuffer.load()


@pytest.mark.usefixtures("without_library")
def test_a_package_that_this_machine_cannot_use_is_worth_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: str
) -> None:
    monkeypatch.setattr(multibuffer, "_file_of", lambda package, name: f"{tmp_path}/{name}")
    signer = Signer([key_of(rsa_key(1024))])
    signer.accelerate()
    assert ["signing one by one" in record.message for record in caplog.records] == [True]
