"""Published key records: which satisfy receivers, and what is said of those that do not."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bulkmail.dkim.keys import SigningKey
from bulkmail.dkim.records import published_key_problem
from tests.dkim.material import ed25519_key, rsa_key

RSA = SigningKey("garden.example", "s2027", rsa_key(2048))
ED25519 = SigningKey("garden.example", "ed2027", ed25519_key())
P = RSA.public_base64
SAME_SIZE = SigningKey("garden.example", "s2027", rsa.generate_private_key(65537, 2048)).public_base64
OTHER = SigningKey("garden.example", "s2027", rsa_key(1024)).public_base64


@pytest.mark.parametrize(
    "record",
    [
        f"v=DKIM1; k=rsa; p={P}",
        f"p={P}",
        f" v = DKIM1 ;k= rsa;\tp={P};",
        f"v=DKIM1; p={P[:100]} {P[100:]}",
        f"v=DKIM1; h=sha1:sha256; s=email; t=s; n=spring; x_new=1; p={P}",
        f"v=DKIM1; s=tlsrpt:*; p={P}",
        f"v=DKIM1; k=RSA; p={P}",
    ],
)
def test_a_record_that_fits_has_no_problem(record: str) -> None:
    assert published_key_problem(record.encode(), RSA) is None


def test_the_records_of_the_keys_themselves_have_no_problem() -> None:
    for key in (RSA, ED25519):
        assert published_key_problem(key.record.encode(), key) is None


def test_an_rsa_key_published_without_its_algorithm_is_the_same_key() -> None:
    bare = base64.b64encode(rsa_key(2048).public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)).decode()
    assert bare != P
    assert published_key_problem(f"v=DKIM1; p={bare}".encode(), RSA) is None


@pytest.mark.parametrize(
    ("record", "part"),
    [
        (f"v=DKIM2; p={P}", "v=DKIM2"),
        (f"v=dkim1; p={P}", "v=dkim1"),
        (f"k=rsa; v=DKIM1; p={P}", "must come first"),
        ("v=DKIM1; k=rsa", "no p="),
        ("v=DKIM1; k=rsa; p=", "revoked"),
        ("v=DKIM1; p= ;", "revoked"),
        (f"v=DKIM1; k=ed25519; p={P}", "of the kind ed25519"),
        (f"v=DKIM1; h=sha1; p={P}", "h=sha1"),
        (f"v=DKIM1; s=tlsrpt; p={P}", "s=tlsrpt"),
        (f"v=DKIM1; t=s:y; p={P}", "test mode"),
        (f"v=DKIM1; p={OTHER}", "another key (1024 bits)"),
        (f"v=DKIM1; p={SAME_SIZE}", "another key (2048 bits)"),
        (f"v=DKIM1; p={P[:200]}", "cut"),
        (f"v=DKIM1; p={P[:201]}", "base64"),
        (f"v=DKIM1; p={P}%", "base64"),
        (f"v=DKIM1\\; k=rsa\\; p={P}", "backslashes"),
        (f'"v=DKIM1; k=rsa;" "p={P}"', "quotation marks"),
        (f"v=DKIM1; p={P}; p={P}", "p= twice"),
        ("v=spf1 -all", "v=spf1 -all"),
        (f"v=DKIM1; x-new=1; p={P}", "x-new=1"),
        ("hello", "no list of tags"),
        ("", "no list of tags"),
        ("v=DKIM1; n=gärten", "ASCII"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(record: str, part: str) -> None:
    problem = published_key_problem(record.encode(), RSA)
    assert problem is not None
    assert problem.startswith("s2027._domainkey.garden.example: ")
    assert part in problem


def test_another_ed25519_key_and_one_of_the_wrong_size_are_told_apart() -> None:
    other = base64.b64encode(bytes(32)).decode()
    assert "another key" in (published_key_problem(f"k=ed25519; p={other}".encode(), ED25519) or "")
    assert "has 2 bytes" in (published_key_problem(b"k=ed25519; p=AAA=", ED25519) or "")
    assert "of the kind rsa" in (published_key_problem(f"p={P}".encode(), ED25519) or "")
