"""TLS contexts of the SMTP client: what a peer has to prove, and the sessions that are resumed with it.

    client_context(verify=False)   encrypts, whoever the peer is (RFC 7435)
    client_context(verify=True)    the certificate chains to a trusted root and bears the host's name
    dane.dane_context(...)         the certificate meets the host's TLSA records (RFC 7672)

A session is resumed only by the context that made it, and there only for the same name: what one policy has proved is
never taken for proof by another.
"""

import ssl
import sys
from collections import OrderedDict
from functools import cache

SESSIONS_PER_CONTEXT = 2000
# Until CPython 3.12.8 and 3.13.1, each look at `SSLObject.session` leaves 5 KB behind (python/cpython issue 116810).
LOOKS_LEAK = sys.version_info < (3, 12, 8) or (3, 13) <= sys.version_info < (3, 13, 1)
# So many are taken there by a process: of names that came back, of any, and of one name by a context. Then what has
# been kept must do.
LEAKING_LOOKS = 500
LEAKING_FIRST_LOOKS = 150
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
        # How often the session of a name was looked at, for names that were met lately.
        self._looks: OrderedDict[str, int] = OrderedDict()
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
        known = name in self._looks
        looks = self._looks.pop(name, 0)
        most = LEAKING_LOOKS if known else LEAKING_FIRST_LOOKS
        may = looks < LEAKING_LOOKS_PER_NAME and ClientContext._all_looks < most
        ClientContext._all_looks += may
        self._looks[name] = looks + may
        if len(self._looks) > SESSIONS_PER_CONTEXT:
            self._looks.popitem(last=False)
        return may


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


def tls_problem(error: Exception) -> str:
    """What a failed handshake says of itself: why the certificate was refused, or OpenSSL's word for the rest."""
    for name in ("verify_message", "reason", "strerror"):
        if found := getattr(error, name, None):
            return str(found)
    return str(error) or type(error).__name__
