"""Decides whether a complaint that bears no token of ours is believed: by who signed it, and for whom it speaks."""

from collections.abc import Collection
from functools import cache

from msgspec import Struct

from bulkmail.feedback.report import Kind, Report
from bulkmail.policy.feedback import complains
from bulkmail.policy.rules import packaged_entries


class Reporter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """One `[[reporter]]` of `reporters.toml`."""

    name: str
    from_: str
    source: str


def speaks_for_one(report: Report) -> str | None:
    """The one recipient that a person's complaint names; None for anything else."""
    if report.kind is not Kind.COMPLAINT or not complains(report) or len(report.recipients) != 1:
        return None
    return report.recipients[0].address


def may_vouch(sender: str, trusted: Collection[str] = ()) -> bool:
    """Whether reports from this address are believed once its domain has signed them.

    `trusted` are further senders, and domains all of whose senders are.
    """
    sender = sender.lower()
    names = {name.lower() for name in trusted}
    return sender in _known() or sender in names or sender.rpartition("@")[2] in names


def vouches(signed_by: str, sender: str) -> bool:
    """Whether a signature of this domain speaks for the sender: it is of its domain, or of one above it."""
    domain = sender.rpartition("@")[2].lower()
    signed_by = signed_by.lower()
    return "." in signed_by and (domain == signed_by or domain.endswith(f".{signed_by}"))


@cache
def _known() -> frozenset[str]:
    return frozenset(each.from_ for each in packaged_entries("reporters.toml", "reporter", Reporter))
