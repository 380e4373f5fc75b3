"""`bulkmail report --tls`: what came of TLS at domains with a policy, for people or as reports of RFC 8460."""

import socket
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.text import Text

from bulkmail.address import AddressError, parse_address, parse_mailbox
from bulkmail.cli.output import out, print_json, table
from bulkmail.cli.places import has_state, place
from bulkmail.errors import CampaignError, StateError
from bulkmail.store.assurance import INTERNET, SANDBOX, TlsSessions, read_tls_sessions


def tls_report(
    campaign: str | None,
    *,
    state: Path | None,
    day: str | None,
    contact: str | None,
    json: bool,
    send: bool = False,
    eml: Path | None = None,
) -> int:
    """Print it, as JSON one report a line for each day and domain, or send the reports; the exit code.

    Raises CampaignError and StateError.
    """
    if eml is not None and not send:
        raise CampaignError("goes with --send", path="--eml", hint="report CAMPAIGN --tls --send --eml DIR")
    directory, _ = place(campaign, state)
    if not has_state(directory):
        raise StateError(f"{directory}: nothing has been sent from here yet", hint="`send` a campaign first")
    if day is not None:
        try:
            day = date.fromisoformat(day).isoformat()
        except ValueError:
            raise CampaignError(
                f"{day!r} is no day", path="--day", hint="write 2027-03-01; days are those of UTC"
            ) from None
    if contact is not None:
        try:
            parse_address(contact)
        except AddressError as error:
            raise CampaignError(f"{contact!r}: {error}", path="--contact") from None
    if send:
        return _send(campaign, directory, day=day, contact=contact, json=json, eml=eml)
    rows = read_tls_sessions(directory, day, INTERNET)
    in_sandbox = not rows
    if in_sandbox:
        rows = read_tls_sessions(directory, day, SANDBOX)
    if json:
        address = contact or f"postmaster@{socket.getfqdn()}"
        for (when, domain), group in groupby(rows, lambda row: (row.day, row.domain)):
            print_json(report_of(when, domain, list(group), contact=address))
        return 0
    console = out()
    if not rows:
        of = f" of {day}" if day else ""
        console.print(f"no sessions{of} with domains that have a TLS policy (MTA-STS or DANE)")
        return 0
    if in_sandbox:
        console.print(Text("in the sandbox", "dim"))
    lines = []
    for (when, domain, kind), group in groupby(rows, lambda row: (row.day, row.domain, row.policy_type)):
        for result, number in _by_result(list(group)):
            word = Text(result, "red") if result else Text("proved", "green")
            lines.append((when, domain, {"sts": "MTA-STS", "tlsa": "DANE"}[kind], word, f"{number:,}"))
    head = ("day (UTC)", "domain", "policy", "result", "sessions")
    console.print(table(head, lines, columns=console.width, numbers=(4,)))
    return 0


def _send(
    campaign: str | None, directory: Path, *, day: str | None, contact: str | None, json: bool, eml: Path | None
) -> int:
    # Loads all that a send needs, and an HTTP library.
    from bulkmail.cli.tlssending import send_tls_reports
    from bulkmail.config.load import load_campaign

    if campaign is None or not Path(campaign).is_file():
        raise CampaignError(
            "needs the campaign's file, for the sender, its keys and the way out",
            path="--send",
            hint="report CAMPAIGN.yaml --tls --send",
        )
    loaded = load_campaign(campaign)
    address = contact or str(parse_mailbox(loaded.from_).address)
    return send_tls_reports(loaded, directory, day=day, contact=address, json=json, eml=eml)


def report_of(day: str, domain: str, rows: Sequence[TlsSessions], *, contact: str) -> dict[str, Any]:
    """One report of one day to one domain, in the form of RFC 8460 §4.4."""
    end = f"{date.fromisoformat(day) + timedelta(days=1)}T00:00:00Z"
    policies = []
    for (kind, text), group in groupby(
        sorted(rows, key=lambda row: (row.policy_type, row.policy)), lambda row: (row.policy_type, row.policy)
    ):
        lines = text.split("\n") if text else []
        policy: dict[str, Any] = {"policy-type": kind, "policy-string": lines, "policy-domain": domain}
        hosts = [line.partition(": ")[2] for line in lines if kind == "sts" and line.startswith("mx: ")]
        if hosts:
            policy["mx-host"] = hosts
        members = list(group)
        failures = [row for row in members if row.result]
        entry: dict[str, Any] = {
            "policy": policy,
            "summary": {
                "total-successful-session-count": sum(row.sessions for row in members if not row.result),
                "total-failure-session-count": sum(row.sessions for row in failures),
            },
        }
        if failures:
            entry["failure-details"] = [_details(row) for row in failures]
        policies.append(entry)
    return {
        "organization-name": contact.rpartition("@")[2],
        "date-range": {"start-datetime": f"{day}T00:00:00Z", "end-datetime": end},
        "contact-info": contact,
        "report-id": f"{day}-{domain}@{contact.rpartition('@')[2]}",
        "policies": policies,
    }


def _details(row: TlsSessions) -> dict[str, Any]:
    known = {
        "result-type": row.result,
        "sending-mta-ip": row.source,
        "receiving-mx-hostname": row.host,
        "failed-session-count": row.sessions,
        "additional-information": row.reason,
    }
    return {name: value for name, value in known.items() if value}


def _by_result(rows: Sequence[TlsSessions]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.result] = counts.get(row.result, 0) + row.sessions
    return sorted(counts.items())
