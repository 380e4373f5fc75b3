"""Hold a run back until its first recipients have shown that the rest can follow."""

from msgspec import Struct

from bulkmail.model.campaign import Canary
from bulkmail.model.delivery import Disposition


class Verdict(Struct, frozen=True):
    """`release` the rest, or `reason` to pause; neither: wait on."""

    release: bool = False
    reason: str = ""


class CanaryWatch:
    """Judges the counts of a run whose other recipients, `held`, wait. Times are monotonic seconds."""

    def __init__(self, canary: Canary, held: int) -> None:
        self._canary = canary
        self.held = held
        self._tried_at: float | None = None
        self._objected = False

    def look(self, totals: "dict[Disposition, int]", now: float) -> Verdict:
        """What to do now, given how many recipients stand where."""
        if totals.get(Disposition.OPEN, 0) > self.held:
            return Verdict()
        if self._tried_at is None:
            self._tried_at = now
        if now - self._tried_at < self._canary.wait:
            return Verdict()
        if self._objected:
            # Whoever resumes a run that was paused for this has seen the figures.
            return Verdict(release=True)
        self._objected = True
        reason = objection(self._canary, totals)
        return Verdict(reason=reason) if reason else Verdict(release=True)


def objection(canary: Canary, totals: "dict[Disposition, int]") -> str:
    """Why the rest should not follow; empty where nothing speaks against it."""
    tried = {
        name: totals.get(name, 0)
        for name in (Disposition.DELIVERED, Disposition.DEFERRED, Disposition.BOUNCED, Disposition.EXPIRED)
    }
    tried[Disposition.BOUNCED] += tried.pop(Disposition.EXPIRED)
    total = sum(tried.values())
    if not total:
        return ""
    for disposition, limit in ((Disposition.BOUNCED, canary.bounced), (Disposition.DEFERRED, canary.deferred)):
        share = tried[disposition] / total
        if share > limit:
            return f"canary: {tried[disposition]:,} of {total:,} {disposition.label} ({share:.1%}, at most {limit:.1%})"
    return ""
