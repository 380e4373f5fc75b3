"""Compare what went in, what the exchangers took, what the events say and what the list of suppressions has.

From files alone, and with no code of the engine: a mistake there cannot hide itself here.
"""

import csv
import json
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dkim
import idna

EIGHT = ("rejected", "duplicates", "suppressed", "delivered", "deferred", "bounced", "expired", "in_doubt")
KEYS = [
    "time",
    "event",
    "run",
    "recipient",
    "attempt",
    "disposition",
    "code",
    "enhanced",
    "reply",
    "stage",
    "reason",
    "site",
    "host",
    "source",
    "tls",
    "bytes",
    "milliseconds",
    "message_id",
]
NO_SUCH_MAILBOX = {"user_unknown", "mailbox_inactive", "moved", "bad_address"}


@dataclass
class Audit:
    """What was found. `problems` are broken promises; `lost`, `duplicates` and `doubted` name recipients."""

    problems: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    duplicates: dict[str, int] = field(default_factory=dict)
    doubted: set[str] = field(default_factory=set)
    accepted: int = 0

    def check(self, holds: bool, problem: str) -> None:
        if not holds:
            self.problems.append(problem)


def key(address: str) -> str:
    """One mailbox, however it is written: domain in lower case and ASCII, local part folded."""
    local, _, domain = address.strip().rpartition("@")
    try:
        domain = idna.encode(domain.lower()).decode()
    except idna.IDNAError:
        pass
    return f"{unicodedata.normalize('NFC', local).casefold()}@{domain.lower()}"


def objects(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line, object_pairs_hook=_interned)


def _interned(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """With one string for each key, or a million lines take gigabytes."""
    return {sys.intern(name): value for name, value in pairs}


def taken_by(log: Path) -> list[dict[str, Any]]:
    """The messages the exchangers took."""
    return [
        entry
        for entry in objects(log)
        if entry["event"] == "result" and entry["stage"] == "message" and entry["code"] == 250
    ]


def audit(
    *,
    recipients: Path,
    log: Path,
    events: Path,
    summary: Mapping[str, Any],
    suppressions: Path | None = None,
    policy: str = "resend",
) -> Audit:
    """`recipients` is the CSV with the column `email`; `summary` the final object; `suppressions` the exported CSV."""
    found = Audit()
    with recipients.open(encoding="utf-8", newline="") as table:
        rows = [row["email"] for row in csv.DictReader(table)]
    lines = list(objects(events))
    taken = taken_by(log)
    found.accepted = len(taken)
    _check_lines(found, lines)
    _check_sum(found, rows, lines, summary, policy)
    _check_truth(found, rows, lines, taken, policy)
    _check_messages(found, lines, taken)
    if suppressions is not None:
        _check_suppressions(found, lines, log, suppressions)
    return found


def _check_lines(found: Audit, lines: list[dict[str, Any]]) -> None:
    for line in lines:
        found.check(list(line) == KEYS, f"keys of {line}")
    runs = {line["run"] for line in lines}
    found.check(len(runs) <= 1, f"several runs in one file: {runs}")


def _story(lines: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """What the events say of each recipient that was taken in, in their order."""
    story: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        if line["event"] in ("attempt", "in_doubt", "suppressed"):
            story[key(line["recipient"])].append(line)
    return story


def _check_sum(
    found: Audit, rows: list[str], lines: list[dict[str, Any]], summary: Mapping[str, Any], policy: str
) -> None:
    found.check(summary["recipients"] == len(rows), f"{summary['recipients']} recipients of {len(rows)} rows")
    total = sum(summary[name] for name in EIGHT)
    found.check(total == summary["recipients"], f"the eight outcomes are {total}, not {summary['recipients']}")
    refused = Counter(key(line["recipient"]) for line in lines if line["event"] in ("rejected", "duplicate"))
    story = _story(lines)
    # A row is one of: refused at intake, taken in with a story, taken in and untouched yet.
    left = Counter(map(key, rows)) - refused
    for address, count in left.items():
        found.check(count == 1, f"{address} stands for {count} rows")
    found.check(not (Counter(refused) - Counter(map(key, rows))), "more rows refused than there are")
    for address in story.keys() - left.keys():
        found.problems.append(f"{address} was mailed and is in no row")
    last = Counter(_stands(story.get(address, []), policy) for address in left)
    kinds = Counter(line["event"] for line in lines)
    counted = {
        "rejected": kinds["rejected"],
        "duplicates": kinds["duplicate"],
        **{name: last[name] for name in ("suppressed", "delivered", "bounced", "expired", "in_doubt")},
        "deferred": last["deferred"] + last["untouched"],
    }
    for name in EIGHT:
        found.check(counted[name] == summary[name], f"{name}: {counted[name]} by the events, {summary[name]} said")


def _stands(story: list[dict[str, Any]], policy: str) -> str:
    if not story:
        return "untouched"
    last = str(story[-1]["disposition"])
    if last != "in_doubt":
        return last
    # A doubt that a crash left is settled by the campaign's policy when the run is taken up.
    return {"resend": "deferred", "assume_delivered": "delivered", "hold": "in_doubt"}[policy]


def _check_truth(
    found: Audit, rows: list[str], lines: list[dict[str, Any]], taken: list[dict[str, Any]], policy: str
) -> None:
    copies = Counter(key(entry["rcpt"]) for entry in taken)
    story = _story(lines)
    known = set(map(key, rows))
    for address, told in story.items():
        doubts = sum(line["event"] == "in_doubt" for line in told)
        if doubts:
            found.doubted.add(address)
        claims = [line for line in told if line["event"] == "attempt" and line["disposition"] == "delivered"]
        found.check(len(claims) <= 1, f"{address} was delivered {len(claims)} times, say the events")
        if claims and not copies[address]:
            found.lost.append(address)
        finals = [
            place for place, line in enumerate(told) if line["disposition"] in ("bounced", "expired", "delivered")
        ]
        found.check(not finals or finals[0] == len(told) - 1, f"{address} goes on after its end")
        attempts = [line["attempt"] or 0 for line in told]
        found.check(attempts == sorted(attempts), f"attempts of {address}: {attempts}")
    for address, count in copies.items():
        told = story.get(address, [])
        found.check(address in known, f"{address} got mail and is in no row")
        doubts = [line for line in told if line["event"] == "in_doubt"]
        claimed = any(line["disposition"] == "delivered" for line in told)
        found.check(claimed or bool(doubts), f"{address} was accepted, the events do not know")
        if count > 1:
            found.duplicates[address] = count
            found.check(len(doubts) >= count - 1, f"{address} came {count} times after {len(doubts)} doubts")
            if told and told[-1]["event"] == "attempt":
                found.check(told[0]["event"] == "in_doubt" or bool(doubts), f"{address}: its doubt comes too late")
    found.check(not found.lost, f"{len(found.lost)} lost: {found.lost[:5]}")
    if policy != "resend":
        found.check(not found.duplicates, f"duplicates in spite of {policy}: {found.duplicates}")


def _check_messages(found: Audit, lines: list[dict[str, Any]], taken: list[dict[str, Any]]) -> None:
    owners: dict[str, str] = {}
    ids: dict[str, str] = {}
    for entry in taken:
        address, message_id = key(entry["rcpt"]), entry["message_id"]
        if not message_id:
            found.problems.append(f"{address} got a message without Message-ID")
            continue
        owner = owners.setdefault(message_id, address)
        found.check(owner == address, f"{message_id} went to {owner} and {address}")
        found.check(ids.setdefault(address, message_id) == message_id, f"{address} got two Message-IDs")
    for line in lines:
        # What is only assumed to be delivered may have been taken by nobody.
        if line["message_id"] and line["disposition"] == "delivered" and line["event"] == "attempt":
            address = key(line["recipient"])
            found.check(ids.get(address) == line["message_id"], f"another Message-ID of {address} in the events")


def _check_suppressions(found: Audit, lines: list[dict[str, Any]], log: Path, suppressions: Path) -> None:
    with suppressions.open(encoding="utf-8", newline="") as table:
        listed = {key(row["address"]): row["reason"] for row in csv.DictReader(table)}
    gone = {
        key(line["recipient"])
        for line in lines
        if line["disposition"] == "bounced" and line["reason"] in NO_SUCH_MAILBOX and line["code"]
    }
    by_hand = {address for address, reason in listed.items() if reason not in NO_SUCH_MAILBOX}
    for address in gone - listed.keys():
        found.problems.append(f"{address} does not exist and is not suppressed")
    for address in listed.keys() - gone - by_hand:
        found.problems.append(f"{address} is suppressed without a bounce that says so")
    told = {
        key(entry["rcpt"]): f"{entry['code']} {entry['text']}"
        for entry in objects(log)
        if entry["event"] == "result" and entry["stage"] == "rcpt" and entry["code"] >= 500 and entry["rcpt"]
    }
    for address in gone - told.keys():
        found.problems.append(f"{address} is gone by the events, and no exchanger said so")
    for entry in taken_by(log):
        found.check(key(entry["rcpt"]) not in by_hand, f"{entry['rcpt']} was suppressed beforehand and got mail")


def unsigned(maildir: Path, records: Mapping[str, str], *, every: int = 1) -> list[str]:
    """The kept messages, one in `every`, whose DKIM signature does not verify against the DNS `records`."""

    def text(name: bytes, timeout: int = 5) -> bytes:
        return records.get(name.decode().rstrip("."), "").encode()

    wrong = []
    for path in sorted((maildir / "new").iterdir())[::every]:
        kept = path.read_bytes()
        trace = kept.index(b"X-Sandbox-Host:")
        message = kept[kept.index(b"\r\n", trace) + 2 :]
        if not dkim.verify(message, dnsfunc=text):
            wrong.append(path.name)
    return wrong
