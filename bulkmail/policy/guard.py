"""Whether a run does harm and should stop: too many addresses that do not exist, in all or at one site.

hard bounce = a recipient whose address the receiver says is no good (to be suppressed)
share       = hard bounces / recipients that are final by an answer, once these are `least_answers`
share > `most_hard_bounces`: a bad list, or a receiver that lies to us; either way go no further without a person
"""

from msgspec import Struct

from bulkmail.model.delivery import Disposition


class GuardSettings(Struct, frozen=True, kw_only=True):
    least_answers: int = 200
    most_hard_bounces: float = 0.10


class Alarm(Struct, frozen=True):
    """Too many hard bounces at `site`, or in the whole run where it is None."""

    site: str | None
    answers: int
    hard_bounces: int

    def __str__(self) -> str:
        where = f"at {self.site}" if self.site else "in this run"
        return f"{self.hard_bounces} of {self.answers} recipients {where} do not exist"


class Guard:
    """Counts final answers of one run; two numbers a site are kept."""

    def __init__(self, settings: GuardSettings | None = None) -> None:
        self._settings = settings or GuardSettings()
        self._run = [0, 0]
        self._sites: dict[str, list[int]] = {}

    def observe(self, disposition: Disposition, suppress: bool, site: str, count: int = 1) -> Alarm | None:
        """Count `count` recipients; an alarm if this site or the run is now over the limit."""
        if disposition not in (Disposition.DELIVERED, Disposition.BOUNCED):
            return None
        hard = count if suppress else 0
        for counts in (self._run, self._sites.setdefault(site, [0, 0])):
            counts[0] += count
            counts[1] += hard
        return self.alarm() or self.alarm(site)

    def alarm(self, site: str | None = None) -> Alarm | None:
        """The alarm of a site, or of the run; None where all is well."""
        answers, hard = self._run if site is None else self._sites.get(site, (0, 0))
        settings = self._settings
        if answers >= settings.least_answers and hard > answers * settings.most_hard_bounces:
            return Alarm(site, answers, hard)
        return None
