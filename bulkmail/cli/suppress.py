"""`bulkmail suppress`: look at and change who gets no mail, also while a run is sending."""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from bulkmail.address import AddressError
from bulkmail.cli.importing import EXPIRES, HEADER, Import, entries_of, key_of, scope_of
from bulkmail.cli.output import local_time, safe
from bulkmail.cli.undelivered import cell
from bulkmail.clock import SystemClock, rfc3339
from bulkmail.config.units import parse_seconds
from bulkmail.errors import CampaignError
from bulkmail.store.database import Database
from bulkmail.store.directory import DATABASE, DirectoryLock
from bulkmail.store.locate import state_from_here
from bulkmail.store.pseudonyms import hash_list
from bulkmail.store.suppressions import ALL, CAMPAIGN, HistoryEntry, Suppression, Suppressions

COMMAND_LINE = "command line"
_DONE = {
    "added": "suppressed: {reason}",
    "again": "said again: {reason}",
    "prolonged": "suppressed for longer: {reason}",
    "soft_bounce": "soft bounce: {reason}",
    "removed": "taken off (it was: {reason})",
    "expired": "its time was over (it was: {reason})",
}


class Where(Struct, frozen=True):
    """What part of the list is meant; nothing: all mail."""

    list_name: str | None = None
    campaign: str | None = None

    @property
    def scope(self) -> str:
        """Raises CampaignError."""
        if self.list_name is not None and self.campaign is not None:
            raise CampaignError("give a list or a campaign, not both", path="--list")
        if self.list_name == ALL:
            raise CampaignError("'all' is no name of a list", path="--list")
        try:
            return scope_of(CAMPAIGN + self.campaign if self.campaign is not None else self.list_name or ALL)
        except ValueError:
            name, path = (self.list_name, "--list") if self.campaign is None else (self.campaign, "--campaign")
            raise CampaignError(f"{name!r} is no name of a {path[2:]}", path=path) from None


def add(addresses: list[str], *, where: Where, reason: str, span: str | None, state: Path | None) -> None:
    """Add entries; the one that lasts longer stays. Raises CampaignError before anything is added."""
    scope = where.scope
    now = SystemClock.time()
    expires = None if span is None else now + _seconds(span)
    entries = [
        Suppression(
            scope=scope,
            key=_key(address),
            address=address,
            reason=reason,
            source=COMMAND_LINE,
            time=now,
            expires=expires,
        )
        for address in addresses
    ]
    with _open_or_make(state) as suppressions:
        for entry in entries:
            new = suppressions.add(entry)
            print(f"{safe(entry.address)}: {'suppressed' if new else 'was suppressed already'}{_for(scope)}")


def remove(addresses: list[str], *, where: Where, state: Path | None) -> None:
    """Remove the entries of one scope. Raises CampaignError before anything is removed."""
    scope = where.scope
    with _open(state) as suppressions:
        keys = [(address, _key(address, hashed=suppressions.hashed)) for address in addresses]
        for address, key in keys:
            removed = suppressions.remove(key, scope, source=COMMAND_LINE)
            print(f"{safe(address)}: {'removed' if removed else 'was not suppressed'}{_for(scope)}")


def check(addresses: list[str], *, where: Where, state: Path | None) -> None:
    """Say of each address whether mail to it is held back, and why."""
    scope = where.scope
    with Suppressions.open(_directory(state), campaign=where.campaign) as suppressions:
        keys = [(address, _key(address, hashed=suppressions.hashed)) for address in addresses]
        for address, key in keys:
            entry = suppressions.check(key, where.list_name)
            if entry is None:
                print(f"{safe(address)}: no, it is not suppressed{_for(scope)}")
            else:
                print(f"{safe(address)}: yes, {sentence(entry)}")


def show(address: str, *, json: bool, state: Path | None) -> None:
    """All that is known of an address: what holds now, and what was."""
    import msgspec

    with _open(state) as suppressions:
        key = _key(address, hashed=suppressions.hashed)
        entries, history = suppressions.entries(key), suppressions.history(key)
    if json:
        print(msgspec.json.encode({"address": address, "entries": entries, "history": history}).decode())
        return
    for entry in entries:
        print(f"{safe(address)} is {sentence(entry)}")
    if not entries:
        print(f"{safe(address)} is not suppressed")
    for one in history:
        print(f"  {local_time(one.time)}  {_told(one)}")


def sentence(entry: Suppression) -> str:
    """Since when an address is suppressed, for what, why, and until when."""
    what = _what(entry.scope)
    until = "" if entry.expires is None else f" until {local_time(entry.expires)}"
    whole = f", with all of {entry.key[1:]}" if entry.key.startswith("@") else ""
    why = f"{safe(entry.reason)} ({safe(entry.source)})"
    return f"suppressed for {what} since {local_time(entry.time)}{until}{whole}: {why}"


def import_file(file: Path, *, where: Where, reason: str, state: Path | None) -> None:
    """Add a CSV's addresses, each new one once. All rows are read before the first is added."""
    scope = None if where == Where() else where.scope
    directory = state if state is not None else state_from_here(Path.cwd(), None)
    with Suppressions.open(directory) as suppressions:
        wanted = Import(file, scope, reason, SystemClock.time(), suppressions.hashed)
        for _ in entries_of(wanted):
            pass
        read = 0

        def counted() -> Iterator[Suppression]:
            nonlocal read
            for entry in entries_of(wanted):
                read += 1
                yield entry

        added = suppressions.add_many(counted())
    print(f"{file}: {read:,} addresses, {added:,} new")


def export(*, where: Where, state: Path | None) -> None:
    """All entries as CSV, or those of one scope; with a column of the end where there are any for a time only."""
    scope = None if where == Where() else where.scope
    with _open(state) as suppressions:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        ends = suppressions.any_expires
        writer.writerow((*HEADER, EXPIRES) if ends else HEADER)
        for entry in suppressions.export():
            if scope is None or entry.scope == scope:
                # The address is exact, for other programs; the words come from receivers and people.
                row = (entry.address, entry.scope, cell(entry.reason), cell(entry.source), rfc3339(entry.time))
                end = "" if entry.expires is None else rfc3339(entry.expires)
                writer.writerow((*row, end) if ends else row)


def hash_all(*, yes: bool, state: Path | None) -> None:
    """Keep keyed hashes in place of addresses from now on; what is there is turned into them for good."""
    directory = _directory(state)
    if not yes:
        raise CampaignError(
            "addresses that are hashed cannot be had back", path="suppress hash", hint="export them first; then --yes"
        )
    # A send that is under way looks addresses up as they are.
    lock = DirectoryLock(directory)
    try:
        database = Database(directory / DATABASE)
        try:
            already = Suppressions(database).hashed
            count = hash_list(database)
        finally:
            database.close()
    finally:
        lock.release()
    print("the list holds hashes already" if already else f"{count:,} entries hashed; the list holds no address now")


def _directory(state: Path | None) -> Path:
    return state_from_here(Path.cwd(), state)


def _open(state: Path | None) -> Suppressions:
    return Suppressions.open(_directory(state))


def _open_or_make(state: Path | None) -> Suppressions:
    """A directory that is named may be made: who must not be mailed can be known before the first campaign."""
    return Suppressions.open(state) if state is not None else _open(None)


def _what(scope: str) -> str:
    if scope == ALL:
        return "all mail"
    name = scope.removeprefix(CAMPAIGN)
    return f"the list {scope}" if name == scope else f"the campaign {name}"


def _for(scope: str) -> str:
    return "" if scope == ALL else f" for {_what(scope)}"


def _told(one: HistoryEntry) -> str:
    said = _DONE[one.action].format(reason=safe(one.reason))
    source = f" ({safe(one.source)})" if one.source else ""
    return f"{said}{_for(one.scope)}{source}"


def _key(address: str, *, hashed: bool = False) -> str:
    try:
        return key_of(address, hashed=hashed)
    except AddressError as error:
        raise CampaignError(f"{address}: {error}", path="ADDRESS") from None


def _seconds(span: str) -> float:
    try:
        return float(parse_seconds(span))
    except ValueError as error:
        raise CampaignError(f"{span}: {error}", path="--for") from None
