"""TLS contexts of the SMTP client: one that proves the peer's name and one that only encrypts (RFC 3207, RFC 8314)."""

import ssl
from functools import cache


@cache
def client_context(*, verify: bool) -> ssl.SSLContext:
    """TLS 1.2 or newer; with `verify` the certificate must chain to a trusted root and match the host name."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def describe(ssl_object: ssl.SSLObject | None) -> str | None:
    """`TLSv1.3 TLS_AES_256_GCM_SHA384`, or None on a connection in clear."""
    if ssl_object is None:
        return None
    cipher = ssl_object.cipher()
    return f"{ssl_object.version()} {cipher[0]}" if cipher else ssl_object.version()
