"""TLSA records against certificate chains: what RFC 6698, 7671 and 7672 let through."""

import hashlib
import ssl
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.sandbox.certificate import Authority
from bulkmail.smtp.chain import chain_problem
from bulkmail.smtp.tlsa import TlsaRecord, usable

HOST = "mx.shop.example"
NOW = time.time()
AUTHORITY = Authority(now_seconds=NOW)


def der(pem: bytes) -> list[bytes]:
    end = "-----END CERTIFICATE-----\n"
    return [ssl.PEM_cert_to_DER_cert(one + end) for one in pem.decode().split(end) if one.strip()]


LEAF, ANCHOR = der(AUTHORITY.issue([HOST])[0])
EXPIRED = der(AUTHORITY.issue([HOST], days=-1)[0])


def key_of(certificate: bytes) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = x509.load_der_x509_certificate(certificate).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def contents(certificate: bytes) -> list[tuple[int, int, bytes]]:
    """Selector, matching type and data of every record that fits."""
    found = []
    for selector, content in ((0, certificate), (1, key_of(certificate))):
        for matching, data in enumerate((content, hashlib.sha256(content).digest(), hashlib.sha512(content).digest())):
            found.append((selector, matching, data))
    return found


@pytest.mark.parametrize(("selector", "matching", "data"), contents(LEAF))
def test_the_certificate_itself_by_every_selector_and_digest(selector: int, matching: int, data: bytes) -> None:
    record = TlsaRecord(3, selector, matching, data)
    assert usable([record]) == (record,)
    assert chain_problem([record], [LEAF, ANCHOR], [HOST], NOW) is None
    # Neither name nor date counts (RFC 7672 §3.1.1).
    assert chain_problem([record], [LEAF], ["other.example"], NOW + 1e9) is None
    flipped = TlsaRecord(3, selector, matching, data[:-1] + bytes([data[-1] ^ 1]))
    assert chain_problem([flipped], [LEAF, ANCHOR], [HOST], NOW) is not None


@pytest.mark.parametrize(("selector", "matching", "data"), contents(ANCHOR))
def test_a_trust_anchor_by_every_selector_and_digest(selector: int, matching: int, data: bytes) -> None:
    record = TlsaRecord(2, selector, matching, data)
    assert chain_problem([record], [LEAF, ANCHOR], [HOST], NOW) is None
    assert chain_problem([record], [LEAF, ANCHOR], ["other.example", HOST], NOW) is None
    assert chain_problem([record], [LEAF, ANCHOR], ["other.example"], NOW) is not None
    assert chain_problem([record], EXPIRED, [HOST], NOW) is not None
    assert chain_problem([record], [LEAF, ANCHOR], [HOST], NOW + 1e8) is not None
    # The whole certificate in the DNS need not be sent as well; of the rest there is no more than a name to look for.
    alone = chain_problem([record], [LEAF], [HOST], NOW)
    assert (alone is None) == ((selector, matching) == (0, 0))


def test_an_anchor_that_did_not_sign_the_certificate_is_no_proof() -> None:
    other = Authority(now_seconds=NOW)
    [stranger] = der(other.certificate)
    record = TlsaRecord(2, 0, 1, hashlib.sha256(stranger).digest())
    assert "trust anchor" in (chain_problem([record], [LEAF, stranger], [HOST], NOW) or "")


def test_the_host_is_not_its_own_anchor() -> None:
    record = TlsaRecord(2, 0, 1, hashlib.sha256(LEAF).digest())
    assert chain_problem([record], [LEAF, ANCHOR], [HOST], NOW) is not None


def test_one_record_that_fits_is_enough() -> None:
    good = TlsaRecord(3, 1, 1, AUTHORITY.key_digest)
    bad = TlsaRecord(3, 1, 1, b"x" * 32)
    assert chain_problem([bad, good], [LEAF], [HOST], NOW) is None


@pytest.mark.parametrize(
    "record",
    [
        TlsaRecord(0, 0, 1, b"x" * 32),
        TlsaRecord(1, 1, 1, b"x" * 32),
        TlsaRecord(4, 1, 1, b"x" * 32),
        TlsaRecord(3, 2, 1, b"x" * 32),
        TlsaRecord(3, 1, 3, b"x" * 32),
        TlsaRecord(3, 1, 1, b"x" * 31),
        TlsaRecord(3, 1, 2, b"x" * 32),
        TlsaRecord(3, 1, 0, b""),
    ],
    ids=str,
)
def test_what_cannot_be_used(record: TlsaRecord) -> None:
    assert usable([record]) == ()


def test_of_two_digests_the_stronger_counts() -> None:
    """RFC 7671 §9: or whoever can forge the weaker one has won."""
    weak, strong = TlsaRecord(3, 1, 1, b"w" * 32), TlsaRecord(3, 1, 2, b"s" * 64)
    whole, anchor = TlsaRecord(3, 1, 0, b"key"), TlsaRecord(2, 1, 1, b"a" * 32)
    assert usable([weak, strong, whole, anchor, weak]) == tuple(sorted((strong, whole, anchor)))


@given(st.lists(st.binary(max_size=300), max_size=4), st.integers(2, 3), st.integers(0, 1), st.integers(0, 2))
def test_no_chain_makes_it_fail_otherwise(chain: list[bytes], usage: int, selector: int, matching: int) -> None:
    record = TlsaRecord(usage, selector, matching, b"x" * 32)
    assert isinstance(chain_problem([record], chain, [HOST], NOW), str)
