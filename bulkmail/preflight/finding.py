"""What is found before a send: a level, a rule with a stable id, the place, and what to do."""

from msgspec import Struct

from bulkmail.errors import CampaignError
from bulkmail.preflight.rules import RULES, Level


class Finding(Struct, frozen=True, kw_only=True):
    """One thing found; `rule` never changes its meaning, so that scripts can tell findings apart."""

    level: Level
    rule: str
    where: str
    what: str
    remedy: str = ""


def found(rule: str, what: str, *, where: str = "", remedy: str = "") -> Finding:
    """A finding at the level that the table of rules has for it."""
    return Finding(level=RULES[rule].level, rule=rule, where=where, what=what, remedy=remedy)


def from_error(error: CampaignError, rule: str) -> list[Finding]:
    """The error and those found with it."""
    return [
        Finding(
            level=Level.ERROR,
            rule=rule,
            where=":".join(str(part) for part in (each.file, each.line) if part is not None),
            what=": ".join(part for part in (each.path, each.message) if part),
            remedy=each.hint or "",
        )
        for each in (error, *error.also)
    ]
