"""Says whether a share of bounces or complaints is more than receivers put up with, by `thresholds.toml`."""

from functools import cache
from typing import Literal

from msgspec import Struct

from bulkmail.policy.rules import packaged_entries

Of = Literal["complaints", "bounces"]
# So little mail says nothing: one complaint of ten is no share.
LEAST_MESSAGES = 100


class Threshold(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[threshold]]`; `warn` and `limit` are shares of 1."""

    site: str
    of: Of
    warn: float
    limit: float
    source: str


class Excess(Struct, frozen=True, kw_only=True):
    """A share that is too high; `limit` tells whether it is over the higher of the two figures."""

    site: str
    of: Of
    share: float
    threshold: float
    limit: bool
    source: str


def excess(site: str, of: Of, count: int, messages: int) -> Excess | None:
    """Of `messages` to `site` (`*`: to all) `count` came to this; None while that is nothing to worry about."""
    if messages < LEAST_MESSAGES:
        return None
    share = count / messages
    found = next((each for each in _thresholds() if each.of == of and each.site == site), None)
    if found is None:
        found = next(each for each in _thresholds() if each.of == of and each.site == "*")
    if share < found.warn:
        return None
    over = share >= found.limit
    threshold = found.limit if over else found.warn
    return Excess(site=site, of=of, share=share, threshold=threshold, limit=over, source=found.source)


@cache
def _thresholds() -> tuple[Threshold, ...]:
    return packaged_entries("thresholds.toml", "threshold", Threshold)
