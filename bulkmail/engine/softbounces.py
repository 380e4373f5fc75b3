"""Stop mailing an address for a time once it has had enough soft bounces."""

from collections.abc import Sequence

from bulkmail.model.campaign import SoftBounces
from bulkmail.store.suppressions import SoftBounce, Suppression, Suppressions

REASON = "soft_bounces"


def count_soft_bounces(suppressions: Suppressions, bounces: Sequence[SoftBounce], policy: SoftBounces) -> set[str]:
    """The keys of those that are suppressed now, by these; durable when it returns.

    A delivery takes nothing back, or a receiver that says 250 and bounces later would never be noticed; what is older
    than the policy's time is forgotten instead.
    """
    counts = suppressions.count_soft_bounces(bounces, policy.within)
    full = [(one, counted) for one, counted in zip(bounces, counts, strict=True) if counted >= policy.count]
    return {one.key for one, counted in full if suppressions.add(_suppression(one, counted, policy))}


def _suppression(one: SoftBounce, counted: int, policy: SoftBounces) -> Suppression:
    return Suppression(
        key=one.key,
        address=one.address,
        reason=REASON,
        source=f"{counted} in {policy.within / 86400:g} days, the last in run {one.run}: {one.reason}",
        time=one.time,
        expires=None if policy.suppress_for is None else one.time + policy.suppress_for,
    )
