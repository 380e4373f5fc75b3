"""Find the few events about one address in the event log of a run, however long that is."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from bulkmail.model.delivery import Event

BLOCK_BYTES = 8 << 20
_decode = msgspec.json.Decoder(Event).decode


def events_about(path: Path, address: str) -> list[Event]:
    """Events whose recipient is `address`, letters a to z in either case, in order."""
    wanted = address.lower()
    return [
        event
        for event in _lines_with(path, b'"recipient":' + msgspec.json.encode(address))
        if (event.recipient or "").lower() == wanted
    ]


def lane_events(path: Path, sites: set[str]) -> list[Event]:
    """Events of the lanes to these sites: when they were slowed or paused, and why."""
    return [event for event in _lines_with(path, b'"event":"lane"') if event.event == "lane" and event.site in sites]


def site_of_domain(path: Path, domain: str) -> str | None:
    """The site that an attempt to anybody at the domain was made at."""
    for event in _lines_with(path, f'@{domain}"'.encode()):
        if event.site is not None and event.host is not None:
            return event.site
    return None


def _lines_with(path: Path, needle: bytes) -> Iterator[Event]:
    """Lines that contain the needle in either case; a last line that is not whole is left out."""
    needle = needle.lower()
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        return
    with file:
        rest = b""
        while block := file.read(BLOCK_BYTES):
            whole, _, rest = (rest + block).rpartition(b"\n")
            lowered = whole.lower()
            position = lowered.find(needle)
            while position >= 0:
                start = whole.rfind(b"\n", 0, position) + 1
                end = whole.find(b"\n", position)
                end = len(whole) if end < 0 else end
                yield _decode(whole[start:end])
                position = lowered.find(needle, end)
