"""Everybody who got no mail, as CSV that a spreadsheet opens without harm."""

import csv
import sys
from collections.abc import Iterable
from typing import TextIO

from bulkmail.cli.output import err, safe
from bulkmail.cli.reasons import disposition_word
from bulkmail.clock import rfc3339
from bulkmail.errors import CampaignError
from bulkmail.model.delivery import Event
from bulkmail.store.view import RecipientOutcome

HEADER = ("address", "disposition", "attempts", "reason", "stage", "code", "reply", "time")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_undelivered(
    target: str, events: Iterable[Event], outcomes: Iterable[RecipientOutcome], later: Iterable[Event] = ()
) -> None:
    """Write to the file `target`, or to standard output where it is `-`. Raises CampaignError.

    `later` has what came back: whose mail was taken and bounced then is among those without it.
    """
    if target == "-":
        _write(sys.stdout, events, outcomes, later)
        return
    try:
        with open(target, "w", encoding="utf-8", newline="") as file:
            count = _write(file, events, outcomes, later)
    except OSError as error:
        raise CampaignError(f"cannot be written: {error.strerror}", file=target) from None
    err().print(f"{target}: {count:,} recipients without the mail")


def _write(file: TextIO, events: Iterable[Event], outcomes: Iterable[RecipientOutcome], later: Iterable[Event]) -> int:
    """First the rows that were never taken in, in the order of the lists, then the others, last what came back."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADER)
    count = 0
    for event in events:
        # A recipient suppressed later than at intake was taken in, and has an outcome with a site.
        if event.event == "rejected" or (event.event == "suppressed" and event.site is None):
            count += 1
            sentence = event.reason or "" if event.event == "rejected" else ""
            row = (event.recipient or "", event.event, "0", event.event, "intake", "", sentence, event.time)
            writer.writerow([cell(value) for value in row])
    for outcome in outcomes:
        count += 1
        row = (
            outcome.address,
            disposition_word(outcome),
            str(outcome.attempts),
            outcome.reason.label if outcome.reason else "",
            outcome.stage.label if outcome.stage else "",
            str(outcome.code or ""),
            outcome.text,
            rfc3339(outcome.time) if outcome.time else "",
        )
        writer.writerow([cell(value) for value in row])
    for event in later:
        if event.event == "bounce":
            count += 1
            row = (
                event.recipient or "",
                "bounced_later",
                str(event.attempt or ""),
                event.reason or "",
                event.stage or "",
                str(event.code or ""),
                event.reply or "",
                event.time,
            )
            writer.writerow([cell(value) for value in row])
    return count


def cell(text: str) -> str:
    """The text without control characters; what a spreadsheet would take for a formula gets a quotation mark."""
    text = safe(text)
    return f"'{text}" if text.startswith(_FORMULA) else text
