"""TLS contexts that hold a mail exchanger to its TLSA records (DANE, RFC 7672).

A handshake looks at the certificate of a resumed session as at any other.
"""

import ssl
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

from bulkmail.net.tls import ClientContext
from bulkmail.smtp.chain import chain_problem
from bulkmail.smtp.tlsa import TRUST_ANCHOR, TlsaRecord


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


@lru_cache(maxsize=1000)
def dane_context(records: tuple[TlsaRecord, ...], names: tuple[str, ...]) -> DaneContext:
    """The context of a host with these usable records."""
    return DaneContext(records, names)


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
