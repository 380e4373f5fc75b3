"""Whether a certificate chain meets the TLSA records of a mail exchanger (RFC 6698, RFC 7672)."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from bulkmail.smtp.tlsa import END_ENTITY, SHA256, SHA512, WHOLE, TlsaRecord

_DIGESTS = {SHA256: hashlib.sha256, SHA512: hashlib.sha512}
# Intermediates that are looked at; a real chain has two or three.
_MOST_CERTIFICATES = 10


def chain_problem(
    records: Sequence[TlsaRecord], chain: Sequence[bytes], names: Sequence[str], now_seconds: float
) -> str | None:
    """Why the chain (DER, the host's own first) meets none of the usable `records`, or None where it meets one.

    `names` are those that a certificate under a trust anchor may be for. A trust anchor that is given as a bare key
    (2 1 0) is found only if its certificate is in the chain.
    """
    if not chain:
        return "the server showed no certificate"
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain[:_MOST_CERTIFICATES]]
    except ValueError:
        return "the server showed a certificate that cannot be read"
    problem = "the certificate matches none of the TLSA records"
    for record in records:
        if record.usage == END_ENTITY:
            if _matches(record, certificates[0]):
                return None
            continue
        anchors = [one for one in certificates[1:] if _matches(record, one)]
        if not anchors and (record.selector, record.matching) == (0, WHOLE):
            try:
                anchors = [x509.load_der_x509_certificate(record.data)]
            except ValueError:
                continue
        for anchor in anchors:
            found = _below(anchor, certificates, names, now_seconds)
            if found is None:
                return None
            problem = f"the certificate does not follow from the TLSA record's trust anchor: {found}"
    return problem


def _matches(record: TlsaRecord, certificate: x509.Certificate) -> bool:
    if record.selector == 0:
        content = certificate.public_bytes(Encoding.DER)
    else:
        content = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = _DIGESTS.get(record.matching)
    return (digest(content).digest() if digest else content) == record.data


def _below(
    anchor: x509.Certificate, chain: Sequence[x509.Certificate], names: Sequence[str], now_seconds: float
) -> str | None:
    builder = PolicyBuilder().store(Store([anchor])).time(datetime.fromtimestamp(now_seconds, UTC))
    problem = "no name to look for"
    for name in names:
        try:
            builder.build_server_verifier(x509.DNSName(name)).verify(chain[0], list(chain[1:]))
        except (VerificationError, ValueError) as error:
            problem = str(error).partition("\n")[0]
        else:
            return None
    return problem
