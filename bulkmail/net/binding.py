"""What a login is bound to, so that nobody between can use it: the certificate of the server (RFC 5929)."""

import ssl

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes


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
