"""Read all rows of a campaign the way a send does, without sending: who would get mail, and who not and why."""

import gzip
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from bulkmail.address import AddressError, comparison_key, parse_address, wire_address
from bulkmail.content.errors import ContentError
from bulkmail.content.program import Program
from bulkmail.engine.timing import Timing
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign, RecipientSource
from bulkmail.model.recipient import Recipient, RejectedRow
from bulkmail.native.hashset import AddressSet
from bulkmail.recipients.parquet import count_parquet
from bulkmail.recipients.source import open_source

# Of rejected rows, so many are kept to be shown.
SHOWN = 20
UNKNOWN_ROWS = 1_000_000
_BLOCK = 1 << 20


class Tally(Struct):
    """What became of the rows read so far; `first` is the first recipient who would get mail.

    `missing` has, by field, the places of the rows that lack it.
    """

    rows: int = 0
    rejected: int = 0
    duplicates: int = 0
    suppressed: int = 0
    accepted: int = 0
    rejections: list[RejectedRow] = []
    missing: dict[str, list[str]] = {}
    repeats: list[RejectedRow] = []
    first: Recipient | None = None


def rows_of(campaign: Campaign) -> Iterator[Recipient | RejectedRow]:
    """The rows of all sources, in order. Raises CampaignError."""
    for source in campaign.recipients:
        yield from open_source(source)


def tally(
    campaign: Campaign,
    program: Program,
    *,
    suppressed: Callable[[str, str | None], bool] = lambda key, list_name: False,
    limit: int | None = None,
    visit: Callable[[Recipient, str], None] | None = None,
) -> Tally:
    """Judge each row as a send would; `suppressed` is asked with comparison key and list. Raises CampaignError.

    `visit` is shown each row that would get the message, with its comparison key.
    """
    result = Tally()
    seen = AddressSet()
    timing = Timing(campaign, began=time.time())
    for row in rows_of(campaign):
        if result.rows == limit:
            break
        result.rows += 1
        judged = _judge(row, program, timing)
        if isinstance(judged, RejectedRow):
            result.rejected += 1
            if missing := re.fullmatch(r"field (\w+) is missing", judged.reason):
                result.missing.setdefault(missing[1], []).append(f"{Path(judged.source).name}:{judged.line}")
            elif len(result.rejections) < SHOWN:
                result.rejections.append(judged)
        elif not seen.add(judged.encode()):
            result.duplicates += 1
            if len(result.repeats) < SHOWN:
                result.repeats.append(
                    RejectedRow(address=row.address, reason="stands further up", source=row.source, line=row.line)
                )
        elif suppressed(judged, row.list if isinstance(row, Recipient) else None):
            result.suppressed += 1
        else:
            result.accepted += 1
            if isinstance(row, Recipient):
                result.first = result.first or row
                if visit is not None:
                    visit(row, judged)
    return result


def find_recipient(campaign: Campaign, number: int | None, address: str | None) -> Recipient:
    """The recipient that was asked for; the first that can be one where none was."""
    try:
        wanted = comparison_key(parse_address(address)) if address is not None else None
    except AddressError as error:
        raise CampaignError(f"{address}: {error}", path="--address") from None
    rows = 0
    for found in rows_of(campaign):
        rows += 1
        if isinstance(found, RejectedRow):
            if rows == number:
                raise CampaignError(f"{found.address}: {found.reason}", file=found.source, line=found.line)
        elif number is not None:
            if rows == number:
                return found
        elif wanted is None or comparison_key(parse_address(found.address)) == wanted:
            return found
    if number is not None:
        raise CampaignError(f"there is no row {number:,}; the recipients have {rows:,}", path="--row")
    if address is not None:
        raise CampaignError(f"{address} is in none of the {rows:,} rows", path="--address")
    raise CampaignError("the recipients have no row that mail can be made of", file=campaign.file, path="recipients")


def _judge(row: Recipient | RejectedRow, program: Program, timing: Timing) -> str | RejectedRow:
    """The comparison key of a row mail can be made of."""
    if isinstance(row, RejectedRow):
        return row
    try:
        address = parse_address(row.address)
        problem = program.problem(row.fields)
        if timing.by_fields:
            timing.due(row.fields, b"")
    except (AddressError, ContentError) as error:
        problem = str(error)
    if problem is not None:
        return RejectedRow(address=row.address, reason=problem, source=row.source, line=row.line)
    return comparison_key(address)


def wire_form(recipient: Recipient) -> str:
    """The address as it stands in RCPT and To."""
    return wire_address(parse_address(recipient.address))


def count_rows(source: RecipientSource) -> int:
    """About as many as there are, quickly had; of a query, as many as make a send worth asking about."""
    if source.sql is not None:
        return UNKNOWN_ROWS
    return count_parquet(source) if source.file.endswith(".parquet") else count_lines(source.file)


def count_lines(path: str) -> int:
    """Lines of a list below the first, which is near the number of its rows and quickly had."""
    lines = 0
    last = b""
    with gzip.open(path) if path.lower().endswith(".gz") else open(path, "rb") as file:
        while block := file.read(_BLOCK):
            lines += block.count(b"\n")
            last = block
    if last and not last.endswith(b"\n"):
        lines += 1
    return max(lines - path.lower().removesuffix(".gz").endswith((".csv", ".tsv")), 0)
