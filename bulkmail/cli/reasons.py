"""Why recipients got no mail: counted by disposition and reason, with an example of each."""

from collections.abc import Generator, Iterator

from msgspec import Struct

from bulkmail.model.delivery import Disposition
from bulkmail.store.view import RecipientOutcome, StoreView

NOT_DELIVERED = frozenset(Disposition) - {Disposition.DELIVERED}


class ReasonCount(Struct):
    """Recipients that stand at one disposition for one reason; the example is one of them."""

    disposition: str
    reason: str
    count: int
    address: str
    reply: str


def not_delivered(view: StoreView, run: int) -> Generator[RecipientOutcome, None, None]:
    """Everybody taken in who has no mail (yet), in the order taken in."""
    yield from view.outcomes(run, only=NOT_DELIVERED)


def count_reasons(outcomes: Iterator[RecipientOutcome]) -> list[ReasonCount]:
    """The most frequent first."""
    found: dict[tuple[Disposition, int], ReasonCount] = {}
    for outcome in outcomes:
        key = outcome.disposition, int(outcome.reason)
        counted = found.get(key)
        if counted is None:
            found[key] = ReasonCount(
                disposition_word(outcome),
                outcome.reason.label if outcome.reason else "",
                1,
                outcome.address,
                outcome.text or "not tried yet",
            )
        else:
            counted.count += 1
    return sorted(found.values(), key=lambda each: (-each.count, each.disposition, each.reason))


def disposition_word(outcome: RecipientOutcome) -> str:
    """The disposition as the summary counts it: who was not tried yet is deferred, for it is not final."""
    return Disposition.DEFERRED.label if outcome.disposition is Disposition.OPEN else outcome.disposition.label
