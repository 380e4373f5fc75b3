"""Reading keys: what is accepted, and the sentence for each kind of refusal."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from bulkmail.dkim.keys import SigningKey, load_key
from bulkmail.dkim.signing import load_keys
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import DkimKey
from tests.dkim.material import RSA_768_PEM, ed25519_key, rsa_key

PKCS1, PKCS8 = PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8
WriteKey = Callable[[bytes], str]


@pytest.fixture
def write(tmp_path: Path) -> WriteKey:
    def write(data: bytes) -> str:
        path = tmp_path / "garden key.pem"
        path.write_bytes(data)
        path.chmod(0o600)
        return str(path)

    return write


def pem(key: RSAPrivateKey | Ed25519PrivateKey | ec.EllipticCurvePrivateKey, form: PrivateFormat = PKCS8) -> bytes:
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


def refusal(file: str) -> str:
    with pytest.raises(CampaignError) as caught:
        load_key(DkimKey(domain="garden.example", selector="s2027", key=file))
    assert caught.value.file == file
    assert str(caught.value).startswith(f"{file}: ")
    return str(caught.value)


@pytest.mark.parametrize("form", [PKCS1, PKCS8])
def test_an_rsa_key_is_read_from_pkcs1_and_pkcs8(write: WriteKey, form: PrivateFormat) -> None:
    key = load_key(DkimKey(domain="Garden.Example", selector="s2027", key=write(pem(rsa_key(2048), form))))
    assert (key.algorithm, key.bits, key.weakness) == ("rsa-sha256", 2048, None)
    assert key.record_name == "s2027._domainkey.garden.example"
    assert key.record.startswith("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A")


def test_an_ed25519_key_is_read_and_published_as_its_32_bytes(write: WriteKey) -> None:
    # RFC 8463 appendix A.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    file = write(pem(Ed25519PrivateKey.from_private_bytes(seed)))
    key = load_key(DkimKey(domain="football.example.com", selector="brisbane", key=file))
    assert key.record == "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    assert key.weakness is None


def test_a_key_below_2048_bits_is_accepted_and_called_weak(write: WriteKey) -> None:
    key = load_key(DkimKey(domain="garden.example", selector="old", key=write(pem(rsa_key(1024)))))
    assert key.weakness is not None and "1024 bits" in key.weakness and "2048" in key.weakness


def test_a_key_below_1024_bits_is_refused(write: WriteKey) -> None:
    assert "RSA key of 768 bits" in refusal(write(RSA_768_PEM))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o644])
def test_a_key_open_to_others_is_refused_with_the_command_that_closes_it(write: WriteKey, mode: int) -> None:
    file = write(pem(rsa_key(1024)))
    os.chmod(file, mode)
    assert f"mode {mode:04o}" in refusal(file)
    assert f"run: chmod 600 '{file}'" in refusal(file)


def test_a_key_only_its_owner_can_read_is_accepted(write: WriteKey) -> None:
    file = write(pem(rsa_key(1024)))
    os.chmod(file, 0o400)
    assert load_key(DkimKey(domain="garden.example", selector="s", key=file)).bits == 1024


def test_a_key_of_another_user_is_refused(write: WriteKey, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(pem(rsa_key(1024)))
    owner = os.stat(file).st_uid
    real = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        fields = list(real(descriptor))
        fields[4] = owner + 4321
        return os.stat_result(fields)

    monkeypatch.setattr(os, "fstat", fstat)
    assert f"belongs to user id {owner + 4321}" in refusal(file)
    assert f"run: chown {os.geteuid()} " in refusal(file)


def test_each_kind_of_file_that_is_no_private_key_is_named(write: WriteKey) -> None:
    key = rsa_key(1024)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    locked = BestAvailableEncryption(b"secret")
    certificate = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    curve = ec.generate_private_key(ec.SECP256R1())
    shared = x25519.X25519PrivateKey.generate().private_bytes(Encoding.PEM, PKCS8, NoEncryption())
    openssh = ed25519_key().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    expected = [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"hello\n", "no PEM block"),
        (key.private_bytes(Encoding.DER, PKCS8, NoEncryption()), "openssl pkey -inform DER"),
        (public, "public key"),
        (certificate, "certificate"),
        (key.private_bytes(Encoding.PEM, PKCS8, locked), "encrypted"),
        (key.private_bytes(Encoding.PEM, PKCS1, locked), "encrypted"),
        (openssh, "OpenSSH"),
        (pem(curve), "of the kind EC"),
        (pem(curve, PKCS1), "of the kind EC"),
        (shared, "of the kind X25519"),
        (pem(key)[:400], "cut off"),
        (pem(key).replace(b"MII", b"AAA"), "damaged"),
        (pem(key) + pem(rsa_key(2048)), "2 private keys"),
        (b"-----BEGIN DH PARAMETERS-----\nMIIB\n-----END DH PARAMETERS-----\n", "holds DH PARAMETERS"),
        (b"A" * 100_000, "100000 bytes"),
    ]
    for data, part in expected:
        assert part in refusal(write(data)), data[:60]


def test_a_private_key_is_found_beside_its_certificate(write: WriteKey) -> None:
    file = write(b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n" + pem(rsa_key(1024)))
    assert load_key(DkimKey(domain="garden.example", selector="s", key=file)).bits == 1024


def test_a_missing_file_a_folder_and_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    assert "not found" in refusal(str(tmp_path / "none.pem"))
    assert "not a regular file" in refusal(str(tmp_path))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    assert "not a regular file" in refusal(str(pipe))


@pytest.mark.parametrize(
    "domain", ["", "garden", "garden..example", "gar den.example", "a;d=evil.example", "x" * 64 + ".example"]
)
def test_a_domain_that_is_none_is_refused(domain: str) -> None:
    with pytest.raises(CampaignError, match="is not a domain name"):
        SigningKey(domain, "s", rsa_key(1024))


@pytest.mark.parametrize("selector", ["", "s 1", "s;", "s.", ".s", "-s", "%d"])
def test_a_selector_that_is_none_is_refused(selector: str) -> None:
    with pytest.raises(CampaignError, match="is not a selector"):
        SigningKey("garden.example", selector, rsa_key(1024))


def test_a_record_name_longer_than_the_dns_allows_is_refused() -> None:
    with pytest.raises(CampaignError, match="longer than a DNS name"):
        SigningKey(".".join(["x" * 57] * 4), "s" * 11, rsa_key(1024))
    assert len(SigningKey(".".join(["x" * 57] * 4), "s" * 10, rsa_key(1024)).record_name) == 253


def test_a_domain_in_unicode_becomes_its_a_label() -> None:
    assert SigningKey("Gärten.example", "s", rsa_key(1024)).domain == "xn--grten-gra.example"


def test_two_keys_of_one_record_are_refused(write: WriteKey) -> None:
    entry = DkimKey(domain="garden.example", selector="s", key=write(pem(rsa_key(1024))))
    with pytest.raises(CampaignError, match=r"published as s\._domainkey\.garden\.example"):
        load_keys([entry, entry])


def test_a_key_does_not_show_itself_in_its_repr() -> None:
    assert repr(SigningKey("garden.example", "s", ed25519_key())) == (
        "SigningKey(s._domainkey.garden.example, ed25519-sha256, 256 bits)"
    )
