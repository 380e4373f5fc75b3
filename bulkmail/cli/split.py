"""The arms of an A/B test side by side: what became of the recipients of each."""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from rich.text import Text

from bulkmail.cli.output import table
from bulkmail.content.variants import arm_of
from bulkmail.engine.pinning import split_of
from bulkmail.model.delivery import TRACKED, Event
from bulkmail.store.runs import Run

COUNTED = ("complaint", "unsubscribe", *TRACKED)


class ArmReport(Struct, kw_only=True):
    """One arm; of what comes back each recipient counts once."""

    arm: str
    delivered: int = 0
    bounced: int = 0
    complaints: int = 0
    unsubscribes: int = 0
    clicks: int = 0
    opens: int = 0


def count_arms(run: Run, events: Iterable[Event]) -> list[ArmReport]:
    """The arms of a run, none where it is no test. An address leads to its arm: nothing of it is stored."""
    weights = split_of(run.settings) if run.settings else ()
    if not weights:
        return []
    arms = {name: ArmReport(arm=name) for name, _ in weights}
    seen: set[tuple[str, str]] = set()
    for event in events:
        if event.recipient is None:
            continue
        arm = arms[arm_of(run.campaign, weights, event.recipient)]
        if event.event in ("attempt", "in_doubt"):
            arm.delivered += event.disposition == "delivered"
            arm.bounced += event.disposition in ("bounced", "expired")
        elif event.event in COUNTED and (event.event, event.recipient) not in seen:
            seen.add((event.event, event.recipient))
            arm.complaints += event.event == "complaint"
            arm.unsubscribes += event.event == "unsubscribe"
            arm.clicks += event.event == "click"
            arm.opens += event.event == "open"
    return list(arms.values())


def arms_table(arms: Sequence[ArmReport], columns: int) -> Text:
    shown = [name for name in ArmReport.__struct_fields__ if name != "arm"]
    shown = shown[:2] + [name for name in shown[2:] if any(getattr(arm, name) for arm in arms)]
    rows = [(arm.arm, *(f"{getattr(arm, name):,}" for name in shown)) for arm in arms]
    return table(("arm", *shown), rows, columns=columns, numbers=tuple(range(1, len(shown) + 1)))
