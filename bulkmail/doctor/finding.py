"""One finding of an examination, and the exit code that findings amount to."""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

SOUND, WRONG, UNKNOWN = 0, 2, 3


class Level(StrEnum):
    """`PROBLEM`: mail will suffer; `UNKNOWN`: not found out; `ADVICE`: could be better; `FINE`: as it should be."""

    PROBLEM = "problem"
    UNKNOWN = "unknown"
    ADVICE = "advice"
    FINE = "fine"


class Finding(Struct, frozen=True, kw_only=True):
    """`id` never changes its meaning; `evidence` is what was seen, `remedy` what to do."""

    level: Level
    id: str
    what: str
    evidence: str = ""
    remedy: str = ""


def problem(id: str, what: str, evidence: str = "", *, remedy: str) -> Finding:
    return Finding(level=Level.PROBLEM, id=id, what=what, evidence=evidence, remedy=remedy)


def unknown(id: str, what: str, evidence: str = "", *, remedy: str) -> Finding:
    return Finding(level=Level.UNKNOWN, id=id, what=what, evidence=evidence, remedy=remedy)


def advice(id: str, what: str, evidence: str = "", *, remedy: str) -> Finding:
    return Finding(level=Level.ADVICE, id=id, what=what, evidence=evidence, remedy=remedy)


def fine(id: str, what: str, evidence: str = "") -> Finding:
    return Finding(level=Level.FINE, id=id, what=what, evidence=evidence)


def exit_code(findings: Iterable[Finding]) -> int:
    """2 where something is wrong, else 3 where something could not be found out, else 0."""
    levels = {finding.level for finding in findings}
    return WRONG if Level.PROBLEM in levels else UNKNOWN if Level.UNKNOWN in levels else SOUND
