"""When each row of a run may be tried: the schedule's time, and whether it waits for the canary."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from bulkmail.content.errors import ContentError
from bulkmail.model.campaign import Campaign
from bulkmail.policy.schedule import SendTimes
from bulkmail.store.chunks import HELD_SECONDS


class Timing:
    """The due times of one run's rows; the same for a row whenever it is asked."""

    def __init__(self, campaign: Campaign, *, began: float) -> None:
        """`began` is when the run was made, in Unix seconds."""
        self._times = SendTimes(campaign.schedule, began=began) if campaign.schedule is not None else None
        share = float(campaign.canary.first) if campaign.canary is not None else 1.0
        self._first = int(share * 2**32)

    @property
    def by_fields(self) -> bool:
        """Whether a row's fields decide."""
        return self._times is not None and self._times.by_recipient

    @property
    def common(self) -> float:
        """The due time of all rows where fields do not decide, Unix seconds."""
        return self._times.at if self._times is not None else 0.0

    @property
    def has_canary(self) -> bool:
        return self._first < 2**32

    def due(self, fields: Mapping[str, Any], key: bytes) -> float:
        """Of one row; `key` is its comparison key. Fails with ContentError."""
        try:
            due = self._times.due(fields) if self._times is not None else 0.0
        except ValueError as error:
            raise ContentError(f"schedule.timezone: {error}") from None
        return due if self.goes_first(key) else due + HELD_SECONDS

    def goes_first(self, key: bytes) -> bool:
        """Whether a recipient is one of the canary: by a hash, so that all domains have their share."""
        return self._first >= 2**32 or int.from_bytes(blake2b(key, digest_size=4).digest()) < self._first
