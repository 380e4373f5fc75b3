"""Reads lists of suppressed addresses from CSV: our own form, and those of Amazon SES, SendGrid, Mailgun, Postmark."""

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from msgspec import Struct

from bulkmail.address import AddressError, comparison_key, parse_address, parse_domain
from bulkmail.errors import CampaignError
from bulkmail.store.pseudonyms import is_pseudonym
from bulkmail.store.suppressions import ALL, CAMPAIGN, Suppression

HEADER = ("address", "scope", "reason", "source", "time")
EXPIRES = "expires"
COMPLAINT, HARD_BOUNCE, UNSUBSCRIBED = "complaint", "hard_bounce", "unsubscribed"
_SCOPE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ADDRESS_COLUMNS = ("address", "email", "e-mail", "mail", "recipient")
_SOURCE_LIMIT = 300
_EPOCH = re.compile(r"\d{9,10}")

Row = Mapping[str, str]


class Form(Struct, frozen=True):
    """How one service writes its lists: `address` and `time` are columns, the rest is made of a row."""

    name: str
    address: str
    time: str
    reason: Callable[[Row], str]
    detail: Callable[[Row], str] = lambda row: ""
    scopes: Callable[[Row], list[str]] = lambda row: [ALL]


def _ses_reason(row: Row) -> str:
    return {"BOUNCE": HARD_BOUNCE, "COMPLAINT": COMPLAINT}.get(row.get("reason", "").strip().upper(), "")


def _sendgrid_reason(row: Row) -> str:
    if "status" in row or "reason" in row:
        return HARD_BOUNCE
    return COMPLAINT if "ip" in row else UNSUBSCRIBED


def _mailgun_reason(row: Row) -> str:
    if "code" in row or "error" in row:
        return HARD_BOUNCE
    return UNSUBSCRIBED if "tags" in row or "tag" in row else COMPLAINT


def _mailgun_scopes(row: Row) -> list[str]:
    """A tag is what is called a list here; `*` is all mail."""
    tags = re.findall(r"[^\s,;\[\]\"']+", row.get("tags", row.get("tag", "")))
    return [ALL if tag == "*" else tag for tag in tags] or [ALL]


def _postmark_reason(row: Row) -> str:
    by_recipient = UNSUBSCRIBED if row.get("origin", "").strip().lower() == "recipient" else "manual"
    known = {"hardbounce": HARD_BOUNCE, "spamcomplaint": COMPLAINT, "manualsuppression": by_recipient}
    return known.get(row.get("suppressionreason", "").strip().lower(), "")


def _told(*columns: str) -> Callable[[Row], str]:
    return lambda row: " ".join(filter(None, (row.get(column, "").strip() for column in columns)))


_SES = Form("Amazon SES", "emailaddress", "lastupdatetime", _ses_reason)
_POSTMARK = Form("Postmark", "emailaddress", "createdat", _postmark_reason, _told("origin"))
_MAILGUN = Form("Mailgun", "address", "created_at", _mailgun_reason, _told("code", "error"), _mailgun_scopes)
_SENDGRID = Form("SendGrid", "email", "created", _sendgrid_reason, _told("status", "reason"))


def form_of(columns: list[str]) -> Form | None:
    """The service whose header this is; None for our own form."""
    names = set(columns)
    if {"emailaddress", "suppressionreason"} <= names:
        return _POSTMARK
    if {"emailaddress", "reason"} <= names:
        return _SES
    if {"address", "created_at"} <= names:
        return _MAILGUN
    if {"email", "created"} <= names:
        return _SENDGRID
    return None


class Import(Struct, frozen=True):
    """What an import is to be: `scope` for all rows (None: as they say), `reason` for those that do not say."""

    file: Path
    scope: str | None
    reason: str
    now: float
    hashed: bool = False


def entries_of(wanted: Import) -> Iterator[Suppression]:
    """The rows of the file; CampaignError with its line for the first that cannot be one."""
    file, line = wanted.file, 1
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream, strict=True)
            first = next(rows, [])
            columns = [name.strip().lower() for name in first]
            form = form_of(columns)
            if form is None and _is_ses_row(first):
                # What SES itself imports has no header: address and BOUNCE or COMPLAINT.
                form, columns = _SES, ["emailaddress", "reason"]
                yield from _of_service(wanted, form, line, _values(columns, first))
            elif form is None:
                columns = _own_columns(file, columns)
            for row in rows:
                line = rows.line_num
                if any(row):  # spreadsheets leave rows of separators alone
                    values = _values(columns, row)
                    yield from _of_service(wanted, form, line, values) if form else [_own(wanted, line, values)]
    except OSError as error:
        raise CampaignError(f"cannot be read: {error.strerror}", file=str(file)) from None
    except UnicodeDecodeError:
        raise CampaignError("is not UTF-8", file=str(file), hint="save it as UTF-8") from None
    except csv.Error as error:
        raise CampaignError(f"is not CSV: {error}", file=str(file), line=line + 1) from None


def scope_of(text: str) -> str:
    """A scope as it is written: `all`, the name of a list, or `campaign:NAME`. Raises ValueError."""
    name = text.removeprefix(CAMPAIGN)
    if not _SCOPE_NAME.fullmatch(name) or (name == ALL and text != ALL):
        raise ValueError(f"{text!r} is no name of a list, nor all, nor campaign:NAME")
    return text


def key_of(address: str, *, hashed: bool = False) -> str:
    """The comparison key of an address, or of a whole domain as `@house.example`. Raises AddressError.

    `hashed`: also what a list of hashes exports.
    """
    if hashed and is_pseudonym(address):
        return address
    if address.startswith("@"):
        return f"@{parse_domain(address[1:])}"
    return comparison_key(parse_address(address))


def _is_ses_row(row: list[str]) -> bool:
    return len(row) == 2 and "@" in row[0] and row[1].strip().upper() in ("BOUNCE", "COMPLAINT")


def _values(columns: list[str], row: list[str]) -> Row:
    """Of two columns of one name the first counts."""
    values: dict[str, str] = {}
    for name, value in zip(columns, row, strict=False):
        values.setdefault(name, value)
    return values


def _own_columns(file: Path, columns: list[str]) -> list[str]:
    found = next((name for name in _ADDRESS_COLUMNS if name in columns), None)
    if found is None:
        raise CampaignError(
            f"no column address; the columns are {', '.join(columns) or 'none'}",
            file=str(file),
            line=1,
            hint="the first line names the columns: address,scope,reason,source,time",
        )
    return ["address" if name == found else name for name in columns]


def _own(wanted: Import, line: int, values: Row) -> Suppression:
    address = values.get("address", "").strip()
    try:
        return Suppression(
            scope=wanted.scope or scope_of(values.get("scope", "").strip() or ALL),
            key=key_of(address, hashed=wanted.hashed),
            address=address,
            reason=_unguarded(values.get("reason", "")) or wanted.reason,
            source=_unguarded(values.get("source", "")) or wanted.file.name,
            time=_time(values["time"]) if values.get("time") else wanted.now,
            expires=_time(values[EXPIRES]) if values.get(EXPIRES) else None,
        )
    except (AddressError, ValueError) as error:
        raise CampaignError(f"{address}: {error}", file=str(wanted.file), line=line) from None


def _of_service(wanted: Import, form: Form, line: int, values: Row) -> Iterator[Suppression]:
    address = values.get(form.address, "").strip()
    detail = form.detail(values)
    source = f"{form.name}, {wanted.file.name}{f': {detail}' if detail else ''}"[:_SOURCE_LIMIT]
    try:
        key = key_of(address)
        time = _time(values[form.time]) if values.get(form.time) else wanted.now
        for scope in [wanted.scope] if wanted.scope else form.scopes(values):
            yield Suppression(scope=scope_of(scope), key=key, address=address, source=source, time=time,
                              reason=form.reason(values) or wanted.reason)  # fmt: skip
    except (AddressError, ValueError) as error:
        raise CampaignError(f"{address}: {error}", file=str(wanted.file), line=line) from None


def _unguarded(text: str) -> str:
    """Take off the quotation mark that `export` puts before what looks like a formula."""
    return text[1:] if text[:1] == "'" and text[1:2] in ("=", "+", "-", "@") else text


def _time(text: str) -> float:
    """RFC 3339 and its relatives, Unix seconds, or RFC 5322."""
    text = text.strip()
    if _EPOCH.fullmatch(text):
        return float(text)
    try:
        moment = datetime.fromisoformat(text.removesuffix(" UTC"))
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, IndexError):
            raise ValueError(f"{text} is no time; write 2027-03-01T08:15:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
