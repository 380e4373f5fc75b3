"""TLSA records of mail exchangers (RFC 6698, RFC 7672), and which of them can be used.

Only usages 2 (a trust anchor, whose certificates must name the host) and 3 (this very certificate or key, whatever
names and dates it bears) are for SMTP; 0 and 1 count as unusable (RFC 7672 §3.1.3).
"""

from collections.abc import Sequence

from msgspec import Struct

TRUST_ANCHOR, END_ENTITY = 2, 3
WHOLE, SHA256, SHA512 = 0, 1, 2
_DIGEST_BYTES = {SHA256: 32, SHA512: 64}


class TlsaRecord(Struct, frozen=True, order=True):
    """One record: certificate `usage`, `selector` (0 certificate, 1 its key), `matching` type, `data`."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


def usable(records: Sequence[TlsaRecord]) -> tuple[TlsaRecord, ...]:
    """Those a client can work with; of several digests of one usage and selector the strongest (RFC 7671 §9)."""
    good = [record for record in records if _is_usable(record)]
    strongest: dict[tuple[int, int], int] = {}
    for record in good:
        kind = (record.usage, record.selector)
        strongest[kind] = max(strongest.get(kind, WHOLE), record.matching)
    return tuple(sorted(one for one in set(good) if one.matching in (WHOLE, strongest[(one.usage, one.selector)])))


def _is_usable(record: TlsaRecord) -> bool:
    if record.usage not in (TRUST_ANCHOR, END_ENTITY) or record.selector not in (0, 1) or not record.data:
        return False
    return record.matching == WHOLE or len(record.data) == _DIGEST_BYTES.get(record.matching)
