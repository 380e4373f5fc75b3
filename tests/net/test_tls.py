"""Handshakes in memory: what is demanded, what is refused, which sessions are resumed. T18."""

import hashlib
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkmail.net.dane import dane_context
from bulkmail.net.tls import ClientContext, client_context, describe, keep_session, tls_problem
from bulkmail.sandbox.certificate import Authority, server_context
from bulkmail.smtp.tlsa import TlsaRecord

HOST = "mx.shop.example"
AUTHORITY = Authority(now_seconds=time.time())
SERVER = server_context(*AUTHORITY.issue([HOST]))
KEY = TlsaRecord(3, 1, 1, AUTHORITY.key_digest)
ANCHOR = ssl.PEM_cert_to_DER_cert(AUTHORITY.certificate.decode())


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[str]:
    client_context.cache_clear()
    dane_context.cache_clear()
    path = tmp_path / "roots.pem"
    path.write_bytes(AUTHORITY.certificate)
    yield str(path)
    client_context.cache_clear()
    dane_context.cache_clear()


def shake(client: ssl.SSLContext, server: ssl.SSLContext = SERVER, host: str = HOST) -> ssl.SSLObject:
    """The client's side, after the server has said something."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    ours = client.wrap_bio(to_client, to_server, server_hostname=host)
    for connection in (ours, theirs, ours, theirs, ours, theirs):
        try:
            connection.do_handshake()
        except ssl.SSLWantReadError:
            pass
    theirs.write(b"250 ok\r\n")
    assert ours.read() == b"250 ok\r\n"
    keep_session(ours)
    return ours


def old(minimum: ssl.TLSVersion, maximum: ssl.TLSVersion) -> ssl.SSLContext:
    server = server_context(*AUTHORITY.issue([HOST]))
    server.set_ciphers("ALL:@SECLEVEL=0")
    server.minimum_version, server.maximum_version = minimum, maximum
    return server


def contexts(roots: str) -> list[ClientContext]:
    return [
        client_context(verify=False),
        client_context(verify=True, authorities=roots),
        client_context(verify=True, authorities=roots, proof="sts"),
        dane_context((KEY,), (HOST,)),
    ]


def test_events_name_version_cipher_and_proof(roots: str) -> None:
    words = [(describe(shake(context)) or "").split()[2:] for context in contexts(roots)]
    assert words == [[], ["verified"], ["sts"], ["dane"]]
    assert describe(None) is None


def test_a_second_connection_to_the_same_name_resumes(roots: str) -> None:
    for context in contexts(roots):
        assert not shake(context).session_reused
        assert shake(context).session_reused


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls_resume(roots: str, version: ssl.TLSVersion) -> None:
    server = old(version, version)
    context = client_context(verify=True, authorities=roots)
    assert not shake(context, server).session_reused
    assert shake(context, server).session_reused


def test_no_session_crosses_names_or_policies(roots: str) -> None:
    first, *others = contexts(roots)
    server = server_context(*AUTHORITY.issue([HOST, "mx2.shop.example"]))
    shake(first, server)
    assert not shake(first, server, "mx2.shop.example").session_reused
    for context in others:
        assert not shake(context, server).session_reused


def test_a_chain_is_looked_at_each_time(roots: str) -> None:
    anchor = TlsaRecord(2, 0, 1, hashlib.sha256(ANCHOR).digest())
    context = dane_context((anchor,), (HOST,))
    assert not shake(context).session_reused
    assert not shake(context).session_reused


def test_a_session_that_serves_is_not_looked_at_again(roots: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    class Counting(ssl.SSLObject):
        @property
        def session(self) -> ssl.SSLSession | None:
            nonlocal looks
            looks += 1
            return super().session

    context = client_context(verify=True, authorities=roots)
    monkeypatch.setattr(context, "sslobject_class", Counting)
    assert [shake(context).session_reused for _ in range(6)] == [False, True, True, True, True, True]
    assert looks == 1


def test_where_each_look_at_a_session_leaks_few_are_taken(roots: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkmail.net.tls.LOOKS_LEAK", True)
    monkeypatch.setattr("bulkmail.net.tls.LEAKING_LOOKS_PER_NAME", 2)
    context = client_context(verify=True, authorities=roots)
    # Servers that take nobody's word: each handshake is whole, and the third session is not looked at.
    for _ in range(3):
        shake(context, server_context(*AUTHORITY.issue([HOST])))
    third = server_context(*AUTHORITY.issue([HOST]))
    assert [shake(context, third).session_reused for _ in range(2)] == [False, False]


def test_where_few_may_be_taken_those_who_come_back_are_served(roots: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkmail.net.tls.LOOKS_LEAK", True)
    monkeypatch.setattr("bulkmail.net.tls.LEAKING_FIRST_LOOKS", 0)
    context = client_context(verify=False)
    assert [shake(context).session_reused for _ in range(3)] == [False, False, True]
    monkeypatch.setattr("bulkmail.net.tls.LEAKING_LOOKS", 0)
    assert [shake(context, host="b.example").session_reused for _ in range(3)] == [False, False, False]


def test_sessions_are_bounded(roots: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkmail.net.tls.SESSIONS_PER_CONTEXT", 2)
    context = client_context(verify=False)
    for name in ("a.example", "b.example", "c.example"):
        shake(context, host=name)
    assert [shake(context, host=name).session_reused for name in ("c.example", "b.example", "a.example")] == [
        True,
        True,
        False,
    ]


def test_the_name_in_the_hello_is_where_the_records_stand(roots: str) -> None:
    assert shake(dane_context((KEY,), ("base.example", HOST))).server_hostname == "base.example"


@pytest.mark.parametrize(
    ("certificate", "word"),
    [
        (AUTHORITY.issue(["other.example"]), "Hostname mismatch"),
        (AUTHORITY.issue(["*.example"]), "Hostname mismatch"),
        (AUTHORITY.issue([HOST], days=-1), "expired"),
        (Authority(now_seconds=time.time()).issue([HOST]), "self-signed certificate in certificate chain"),
    ],
    ids=["another name", "too wide a wildcard", "expired", "a stranger's"],
)
def test_what_verification_refuses_it_says(roots: str, certificate: tuple[bytes, bytes], word: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        shake(client_context(verify=True, authorities=roots), server_context(*certificate))
    assert word in tls_problem(caught.value)
    shake(client_context(verify=False), server_context(*certificate))


def test_records_that_do_not_fit_are_refused_before_anything_is_said(roots: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        shake(dane_context((TlsaRecord(3, 1, 1, b"x" * 32),), (HOST,)))
    assert tls_problem(caught.value) == "the certificate matches none of the TLSA records"


def test_older_than_tls_1_2_is_refused_by_every_policy(roots: str) -> None:
    with pytest.warns(DeprecationWarning):
        server = old(ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
    for context in contexts(roots):
        with pytest.raises(ssl.SSLError):
            shake(context, server)


def test_no_compression_and_no_renegotiation(roots: str) -> None:
    for context in contexts(roots):
        assert context.options & ssl.OP_NO_COMPRESSION
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert shake(context).compression() is None


def first_flight() -> bytes:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = SERVER.wrap_bio(to_server, to_client, server_side=True)
    ours = client_context(verify=False).wrap_bio(ssl.MemoryBIO(), to_server, server_hostname=HOST)
    for connection in (ours, theirs):
        with pytest.raises(ssl.SSLWantReadError):
            connection.do_handshake()
    return to_client.read()


FLIGHT = first_flight()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600) | st.tuples(st.integers(0, len(FLIGHT) - 1), st.integers(1, 255)))
def test_no_bytes_for_a_handshake_do_more_than_fail(given: bytes | tuple[int, int]) -> None:
    if isinstance(given, tuple):
        position, change = given
        given = FLIGHT[:position] + bytes([FLIGHT[position] ^ change]) + FLIGHT[position + 1 :]
    incoming = ssl.MemoryBIO()
    ours = dane_context((KEY,), (HOST,)).wrap_bio(incoming, ssl.MemoryBIO(), server_hostname=HOST)
    with pytest.raises(ssl.SSLError):
        ours.do_handshake()
    incoming.write(given)
    incoming.write_eof()
    with pytest.raises(ssl.SSLError):
        ours.do_handshake()
