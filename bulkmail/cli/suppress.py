"""`bulkmail suppress`: look at and change who gets no mail, also while a run is sending."""

import csv
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bulkmail.address import AddressError, comparison_key, parse_address
from bulkmail.cli.output import local_time, safe
from bulkmail.cli.undelivered import cell
from bulkmail.clock import SystemClock, rfc3339
from bulkmail.errors import CampaignError
from bulkmail.store.locate import state_from_here
from bulkmail.store.suppressions import ALL, Suppression, Suppressions

HEADER = ("address", "scope", "reason", "source", "time")
COMMAND_LINE = "command line"
_LIST_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ADDRESS_COLUMNS = ("address", "email", "e-mail", "mail", "recipient")


def add(addresses: list[str], *, list_name: str | None, reason: str, state: Path | None) -> None:
    """Add entries; an older one of the same scope stays. Raises CampaignError before anything is added."""
    scope = _scope(list_name)
    entries = [
        Suppression(
            scope=scope,
            key=_key(address),
            address=address,
            reason=reason,
            source=COMMAND_LINE,
            time=SystemClock.time(),
        )
        for address in addresses
    ]
    with _open_or_make(state) as suppressions:
        for entry in entries:
            new = suppressions.add(entry)
            print(f"{safe(entry.address)}: {'suppressed' if new else 'was suppressed already'}{_for(scope)}")


def remove(addresses: list[str], *, list_name: str | None, state: Path | None) -> None:
    """Remove the entries of one scope. Raises CampaignError before anything is removed."""
    scope = _scope(list_name)
    keys = [(address, _key(address)) for address in addresses]
    with _open(state) as suppressions:
        for address, key in keys:
            removed = suppressions.remove(key, scope)
            print(f"{safe(address)}: {'removed' if removed else 'was not suppressed'}{_for(scope)}")


def check(addresses: list[str], *, list_name: str | None, state: Path | None) -> None:
    """Say of each address whether mail to it is held back, and why."""
    if list_name is not None:
        _scope(list_name)
    keys = [(address, _key(address)) for address in addresses]
    with _open(state) as suppressions:
        for address, key in keys:
            entry = suppressions.check(key, list_name)
            if entry is None:
                print(f"{safe(address)}: no, it is not suppressed{_for(list_name or ALL)}")
            else:
                print(f"{safe(address)}: yes, {sentence(entry)}")


def sentence(entry: Suppression) -> str:
    """Since when an address is suppressed, for what, and why."""
    what = "all mail" if entry.scope == ALL else f"the list {entry.scope}"
    return f"suppressed for {what} since {local_time(entry.time)}: {safe(entry.reason)} ({safe(entry.source)})"


def import_file(file: Path, *, list_name: str | None, reason: str, state: Path | None) -> None:
    """Add a CSV's addresses, each new one once. All rows are read before the first is added."""
    now = SystemClock.time()
    for _ in _entries(file, list_name, reason, now):
        pass
    with _open_or_make(state) as suppressions:
        read = 0

        def counted() -> Iterator[Suppression]:
            nonlocal read
            for entry in _entries(file, list_name, reason, now):
                read += 1
                yield entry

        added = suppressions.add_many(counted())
    print(f"{file}: {read:,} addresses, {added:,} new")


def export(*, list_name: str | None, state: Path | None) -> None:
    """All entries as CSV, or those of one list."""
    scope = None if list_name is None else _scope(list_name)
    with _open(state) as suppressions:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(HEADER)
        for entry in suppressions.export():
            if scope is None or entry.scope == scope:
                # The address is exact, for other programs; the words come from receivers and people.
                writer.writerow(
                    (entry.address, entry.scope, cell(entry.reason), cell(entry.source), rfc3339(entry.time))
                )


def _open(state: Path | None) -> Suppressions:
    return Suppressions.open(state_from_here(Path.cwd(), state))


def _open_or_make(state: Path | None) -> Suppressions:
    """A directory that is named may be made: who must not be mailed can be known before the first campaign."""
    return Suppressions.open(state) if state is not None else _open(None)


def _for(scope: str) -> str:
    return "" if scope == ALL else f" for the list {scope}"


def _scope(list_name: str | None) -> str:
    if list_name is None:
        return ALL
    if list_name == ALL or not _LIST_NAME.fullmatch(list_name):
        raise CampaignError(f"{list_name!r} is no name of a list", path="--list")
    return list_name


def _key(address: str) -> str:
    try:
        return comparison_key(parse_address(address))
    except AddressError as error:
        raise CampaignError(f"{address}: {error}", path="ADDRESS") from None


def _entries(file: Path, list_name: str | None, reason: str, now: float) -> Iterator[Suppression]:
    """The rows of the file; CampaignError with its line for the first that cannot be one."""
    scope = None if list_name is None else _scope(list_name)
    line = 1
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream, strict=True)
            columns = _columns(file, next(rows, []))
            for row in rows:
                if not row:
                    continue
                line = rows.line_num
                values = {name: row[at] for name, at in columns.items() if at < len(row) and row[at]}
                yield _entry(file, line, values, scope, reason, now)
    except OSError as error:
        raise CampaignError(f"cannot be read: {error.strerror}", file=str(file)) from None
    except UnicodeDecodeError:
        raise CampaignError("is not UTF-8", file=str(file), hint="save it as UTF-8") from None
    except csv.Error as error:
        raise CampaignError(f"is not CSV: {error}", file=str(file), line=line + 1) from None


def _columns(file: Path, header: list[str]) -> dict[str, int]:
    names = [name.strip().lower() for name in header]
    address = next((names.index(name) for name in _ADDRESS_COLUMNS if name in names), None)
    if address is None:
        raise CampaignError(
            f"no column address; the columns are {', '.join(names) or 'none'}",
            file=str(file),
            line=1,
            hint="the first line names the columns: address,scope,reason,source,time",
        )
    return {"address": address} | {name: names.index(name) for name in HEADER[1:] if name in names}


def _entry(file: Path, line: int, values: dict[str, str], scope: str | None, reason: str, now: float) -> Suppression:
    address = values.get("address", "").strip()
    try:
        key = comparison_key(parse_address(address))
        time = _time(values["time"]) if "time" in values else now
    except (AddressError, ValueError) as error:
        raise CampaignError(f"{address}: {error}", file=str(file), line=line) from None
    named = values.get("scope", ALL)
    return Suppression(
        scope=scope or (ALL if named == ALL else _scope(named)),
        key=key,
        address=address,
        reason=_unguarded(values.get("reason", reason)),
        source=_unguarded(values.get("source", file.name)),
        time=time,
    )


def _unguarded(text: str) -> str:
    """Take off the quotation mark that `export` puts before what looks like a formula."""
    return text[1:] if text[:1] == "'" and text[1:2] in ("=", "+", "-", "@") else text


def _time(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text} is no time; write 2027-03-01T08:15:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
