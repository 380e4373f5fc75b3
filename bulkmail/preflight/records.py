"""DNS records from a file, for those who check a set-up before it is published or where there is no DNS.

One record a line: `NAME TYPE VALUE`, such as `_dmarc.garden.example TXT "v=DMARC1; p=none"`. The types are A, AAAA,
MX and TXT. A name that the file does not have does not exist.
"""

import re
from pathlib import Path
from typing import TypeVar, cast

import dns.rdatatype

from bulkmail.dns.answers import MxHost
from bulkmail.dns.lookup import Kind, Lookup, Status
from bulkmail.doctor.lookups import Lookups
from bulkmail.errors import CampaignError

T = TypeVar("T")
_TYPES = {"A", "AAAA", "MX", "TXT"}
_STRING = re.compile(r'"((?:\\.|[^"\\])*)"')


class RecordsFile(Lookups):
    """Answers from a file in place of the DNS. CampaignError where a line cannot be read."""

    def __init__(self, path: Path) -> None:
        super().__init__((), timeout_seconds=1.0)
        self.path = path
        self._records: dict[tuple[str, str], list[object]] = {}
        self._names: set[str] = set()
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CampaignError(f"cannot be read: {error}", file=str(path), path="--records") from None
        for number, line in enumerate(lines, start=1):
            if line.strip() and line.lstrip()[0] not in ";#":
                self._take(line, number)

    async def ask(self, name: str, kind: Kind[T]) -> Lookup[T]:
        """The records of a name."""
        plain = name.rstrip(".").lower()
        found = self._records.get((plain, dns.rdatatype.to_text(kind.rdtype)))
        if found is not None:
            return Lookup(status=Status.FOUND, records=cast(tuple[T, ...], tuple(found)))
        status = Status.NO_DATA if plain in self._names else Status.NO_NAME
        return Lookup(status=status, explanation=f"{self.path.name} has no such record of {plain}")

    def _take(self, line: str, number: int) -> None:
        parts = line.split(None, 2)
        # As zone files have it: NAME [TTL] [IN] TYPE VALUE.
        while len(parts) == 3 and (parts[1].isdigit() or parts[1].upper() == "IN"):
            parts = [parts[0], *parts[2].split(None, 1)]
        if len(parts) != 3 or parts[1].upper() not in _TYPES:
            raise CampaignError(
                "is no record", file=str(self.path), line=number, hint="write NAME TYPE VALUE; A, AAAA, MX or TXT"
            )
        name, kind, value = parts[0].rstrip(".").lower(), parts[1].upper(), parts[2].strip()
        self._names.add(name)
        self._records.setdefault((name, kind), []).append(_value(kind, value))


def _value(kind: str, value: str) -> object:
    if kind == "TXT":
        strings = [re.sub(r"\\(.)", r"\1", text) for text in _STRING.findall(value)]
        return ("".join(strings) if strings else value).encode()
    if kind == "MX":
        preference, _, host = value.partition(" ")
        return MxHost(int(preference) if preference.isdigit() else 0, host.strip().rstrip(".").lower() or ".")
    return value
