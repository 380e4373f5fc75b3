"""TLS contexts of the SMTP client: what a peer has to prove, and the sessions that are resumed with it.

    client_context(verify=False)   encrypts, whoever the peer is (RFC 7435)
    client_context(verify=True)    the certificate chains to a trusted root and bears the host's name
    dane_context(...)              the certificate meets the host's TLSA records (RFC 7672)

A session is resumed only by the context that made it, and there only for the same name: what one policy has proved is
never taken for proof by another. A DANE handshake looks at the certificate of a resumed session as at any other.
"""

import ssl
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from bulkmail.smtp.tlsa import TRUST_ANCHOR, TlsaRecord, chain_problem

SESSIONS_PER_CONTEXT = 2000
# Until CPython 3.12.8 and 3.13.1, each look at `SSLObject.session` leaves 5 KB behind (python/cpython issue 116810).
LOOKS_LEAK = sys.version_info < (3, 12, 8) or (3, 13) <= sys.version_info < (3, 13, 1)
# So many are taken there by a process, and of one name by a context; then what has been kept must do.
LEAKING_LOOKS = 4000
LEAKING_LOOKS_PER_NAME = 20


class ClientContext(ssl.SSLContext):
    """TLS 1.2 or newer, no compression, no renegotiation. `proof` names what a finished handshake has proved.

    `wrap_bio` is what event loops call for a connection; the session to resume is put in there, since their own
    functions have no argument for it.
    """

    proof = ""
    resumes = True
    _all_looks = 0

    def __init__(self, protocol: int = ssl.PROTOCOL_TLS_CLIENT) -> None:
        self._sessions: OrderedDict[str, ssl.SSLSession] = OrderedDict()
        self._looks: Counter[str] = Counter()
        self.minimum_version = ssl.TLSVersion.TLSv1_2
        self.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        if session is None and self.resumes and isinstance(server_hostname, str):
            session = self._sessions.get(server_hostname)
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def keep_session(self, connection: ssl.SSLObject) -> None:
        """Let the next connection to the same name resume this one; call it once the peer has said something.

        What was resumed is kept as it was: it can be resumed again until the peer asks for a whole handshake.
        """
        name = connection.server_hostname
        if not self.resumes or name is None or (connection.session_reused and name in self._sessions):
            return
        if LOOKS_LEAK and not self._may_look(name):
            return
        session = connection.session
        if session is None:
            return
        self._sessions[name] = session
        self._sessions.move_to_end(name)
        if len(self._sessions) > SESSIONS_PER_CONTEXT:
            self._sessions.popitem(last=False)

    def _may_look(self, name: str) -> bool:
        """Whether one more look at a session may be paid for; counts it."""
        if self._looks[name] >= LEAKING_LOOKS_PER_NAME or ClientContext._all_looks >= LEAKING_LOOKS:
            return False
        self._looks[name] += 1
        ClientContext._all_looks += 1
        return True


class DaneContext(ClientContext):
    """Holds the peer to `records`; a certificate under a trust anchor must be for one of `names`, the first as SNI."""

    proof = "dane"

    def __init__(self, records: Sequence[TlsaRecord], names: Sequence[str]) -> None:
        super().__init__()
        self.check_hostname = False
        self.verify_mode = ssl.CERT_NONE
        # OpenSSL keeps the peer's own certificate with a session, but Python's copy of it not those behind it.
        self.resumes = all(record.usage != TRUST_ANCHOR for record in records)
        self._records, self._names = records, names

    def __new__(cls, records: Sequence[TlsaRecord], names: Sequence[str]) -> "DaneContext":
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        # RFC 7672 §8.1: the name that the records were found at.
        return super().wrap_bio(incoming, outgoing, server_side, self._names[0], session)

    def check(self, connection: ssl.SSLObject) -> None:
        """Raises SSLCertVerificationError where the peer does not meet the records."""
        problem = chain_problem(self._records, _chain(connection), self._names, time.time())
        if problem is not None:
            raise ssl.SSLCertVerificationError(1, problem)


class _DaneConnection(ssl.SSLObject):
    """Event loops take an error of `do_handshake` for a failed handshake; so nothing is sent before the check."""

    def do_handshake(self) -> None:
        super().do_handshake()
        cast(DaneContext, self.context).check(self)


DaneContext.sslobject_class = _DaneConnection


@cache
def client_context(
    *,
    verify: bool,
    proof: str = "",
    authorities: str | None = None,
    certificate: str | None = None,
    key: str | None = None,
) -> ClientContext:
    """A context for one policy; with `verify` the chain must end in a root of `authorities` (PEM file; else system's).

    `certificate` and `key` (PEM files) are shown to a peer that asks for one. Raises OSError where a file cannot be
    used. `proof` is the word for it in events: contexts of different proofs share no session.
    """
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    if verify:
        if authorities is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(authorities)
        context.proof = proof or "verified"
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        # A key under a pass phrase is an error, not a question on the terminal.
        context.load_cert_chain(certificate, key, password="")
    return context


@lru_cache(maxsize=1000)
def dane_context(records: tuple[TlsaRecord, ...], names: tuple[str, ...]) -> DaneContext:
    """The context of a host with these usable records."""
    return DaneContext(records, names)


def keep_session(ssl_object: ssl.SSLObject | None) -> None:
    """Remember the session of a connection whose peer has said something since the handshake."""
    if ssl_object is not None and isinstance(ssl_object.context, ClientContext):
        ssl_object.context.keep_session(ssl_object)


def describe(ssl_object: ssl.SSLObject | None) -> str | None:
    """`TLSv1.3 TLS_AES_256_GCM_SHA384`, with ` sts`, ` dane` or ` verified` behind it; None in clear."""
    if ssl_object is None:
        return None
    cipher = ssl_object.cipher()
    words = [ssl_object.version() or "TLS", cipher[0] if cipher else "", getattr(ssl_object.context, "proof", "")]
    return " ".join(filter(None, words))


def end_point_binding(ssl_object: ssl.SSLObject) -> bytes:
    """What `tls-server-end-point` binds to (RFC 5929 §4.1): the server's certificate, hashed as it is signed.

    SHA-256 stands in for MD5 and SHA-1; empty where the signature has no hash, or one that is not known.
    """
    shown = ssl_object.getpeercert(binary_form=True)
    if shown is None:
        return b""
    try:
        algorithm = x509.load_der_x509_certificate(shown).signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return b""
    if algorithm is None:
        return b""
    digest = hashes.Hash(hashes.SHA256() if isinstance(algorithm, (hashes.MD5, hashes.SHA1)) else algorithm)
    digest.update(shown)
    return digest.finalize()


def tls_problem(error: Exception) -> str:
    """What a failed handshake says of itself: why the certificate was refused, or OpenSSL's word for the rest."""
    for name in ("verify_message", "reason", "strerror"):
        if found := getattr(error, name, None):
            return str(found)
    return str(error) or type(error).__name__


def _chain(connection: ssl.SSLObject) -> list[bytes]:
    """The certificates the peer showed, its own first, as DER."""
    if hasattr(connection, "get_unverified_chain"):
        return list(connection.get_unverified_chain())
    # Until Python 3.13 the method exists one layer down, and gives objects.
    chain: list[Any] = cast(Any, connection)._sslobj.get_unverified_chain() or []
    shown = [bytes(ssl.PEM_cert_to_DER_cert(one.public_bytes())) for one in chain]
    if shown:
        return shown
    own = connection.getpeercert(binary_form=True)
    return [own] if own else []
