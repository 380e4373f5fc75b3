"""Signing by the interpreter's own OpenSSL: the same bytes as by `cryptography`, or not at all."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkmail.dkim import keys, openssl
from bulkmail.dkim.keys import SigningKey
from bulkmail.dkim.openssl import openssl_key
from bulkmail.dkim.signing import Signer
from bulkmail.native.lanes import LaneKey
from tests.dkim.material import ed25519_key, rsa_key

DIGESTS = [hashlib.sha256(bytes([number])).digest() for number in range(11)]
KEYS = [rsa_key(1024), rsa_key(2048), rsa.generate_private_key(public_exponent=3, key_size=1031), ed25519_key()]
MESSAGES = [b"From: a@garden.example\r\nSubject: %d\r\n\r\nSeeds\r\n" % number for number in range(11)]


def found(private: rsa.RSAPrivateKey | Ed25519PrivateKey) -> LaneKey:
    native = openssl_key(private)
    if native is None:
        pytest.skip("this Python has OpenSSL built in")
    return native


@pytest.mark.parametrize("private", KEYS, ids=["RSA 1024", "RSA 2048", "RSA 1031, exponent 3", "Ed25519"])
def test_it_signs_as_cryptography_does(private: rsa.RSAPrivateKey | Ed25519PrivateKey) -> None:
    native, key = found(private), SigningKey("garden.example", "s", private)
    expected = key.sign_digests(DIGESTS)
    assert native.sign(DIGESTS) == expected and native.sign([]) == []
    with ThreadPoolExecutor(4) as threads:
        assert all(made == expected for made in threads.map(lambda _: native.sign(DIGESTS), range(12)))


def test_a_whole_batch_is_signed_natively_by_all_keys() -> None:
    found(rsa_key(1024))
    private = rsa_key(1024), ed25519_key()
    slow, fast = (
        Signer([SigningKey("garden.example", f"s{number}", each) for number, each in enumerate(private)])
        for _ in range(2)
    )
    fast.go_without_interpreter()
    fast.seal(MESSAGES[:1], now=1_700_000_000)
    batch = fast.prepare(MESSAGES, now=1_700_000_000)
    batch.work()
    assert batch.trouble() is None and batch.digests(0) == batch.digests(1) == []
    assert fast.collect(batch) == slow.seal(MESSAGES, now=1_700_000_000)


def test_a_library_that_signs_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    native = found(rsa_key(2048))
    monkeypatch.setattr(keys, "openssl_key", lambda private: native)
    key = SigningKey("garden.example", "s", rsa.generate_private_key(public_exponent=65537, key_size=2048))
    key.go_without_interpreter()
    assert key.native is None


def test_without_its_functions_it_is_cryptography_that_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    openssl._addresses.cache_clear()
    monkeypatch.setattr(openssl, "_FUNCTIONS", (*openssl._FUNCTIONS[:-1], "EVP_PKEY_no_such_function"))
    key = SigningKey("garden.example", "s", ed25519_key())
    try:
        assert openssl_key(ed25519_key()) is None
        key.go_without_interpreter()
    finally:
        openssl._addresses.cache_clear()
    assert key.native is None and len(key.sign_digests(DIGESTS)) == len(DIGESTS)


def test_what_is_no_key_is_refused() -> None:
    found(ed25519_key())
    addresses = openssl._addresses()
    assert addresses is not None
    with pytest.raises(ValueError, match="cannot read the key"):
        LaneKey.one_by_one(addresses, b"no key", 64, False)
    with pytest.raises(ValueError, match="not the functions"):
        LaneKey.one_by_one(addresses[:3], b"no key", 64, False)
    with pytest.raises(ValueError, match="not the functions"):
        LaneKey.one_by_one(addresses, b"no key", 600, True)


def test_a_failure_of_the_library_leaves_no_signature() -> None:
    """A key of one kind under the name of the other."""
    found(ed25519_key())
    addresses = openssl._addresses()
    assert addresses is not None
    mixed = LaneKey.one_by_one(addresses, der_of(ed25519_key()), 64, True)
    with pytest.raises(ArithmeticError):
        mixed.sign(DIGESTS)
    key = SigningKey("garden.example", "s", ed25519_key())
    expected = Signer([key]).seal(MESSAGES, now=1_700_000_000)
    key.native = mixed
    assert Signer([key]).seal(MESSAGES, now=1_700_000_000) == expected
    assert key.native is None


def der_of(private: Ed25519PrivateKey) -> bytes:
    return private.private_bytes(openssl.Encoding.DER, openssl.PrivateFormat.PKCS8, openssl.NoEncryption())
