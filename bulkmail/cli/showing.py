"""`bulkmail preview --browser` and `--png`: the messages of several recipients, as they are seen."""

import tempfile
import time
import webbrowser
from pathlib import Path

from bulkmail.cli.hints import near
from bulkmail.cli.output import err, out
from bulkmail.cli.pictures import take_pictures
from bulkmail.compilation import compile_for
from bulkmail.config.load import load_campaign
from bulkmail.content.program import Program
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign
from bulkmail.model.recipient import Recipient
from bulkmail.preflight.gallery import Shown, gallery, shown
from bulkmail.preflight.rows import find_recipient, rows_of
from bulkmail.preflight.specimen import make_specimen, signer_at_hand
from bulkmail.store.locate import state_for_campaign

# Of rows that differ in which fields they have, or in language, so many are shown where none are named.
SIDE_BY_SIDE = 4
LOOKED_AT = 10_000


def show(
    file: str,
    *,
    rows: tuple[int, ...],
    address: str | None,
    browser: bool,
    png: bool,
    folder: Path | None,
    state: Path | None,
) -> None:
    """Make the page, and open it; make the pictures. Raises CampaignError."""
    campaign = load_campaign(file)
    program = compile_for(campaign)
    signer, unsigned = signer_at_hand(campaign, state_for_campaign(campaign.file, state))
    if unsigned:
        err().print(unsigned)
    chosen = {f"row-{number}": find_recipient(campaign, number, None) for number in rows}
    if address is not None:
        chosen[address] = find_recipient(campaign, None, address)
    chosen = chosen or _different(campaign, program)
    seen: dict[str, Shown] = {}
    for name, row in chosen.items():
        problem = program.problem(row.fields)
        if problem is not None:
            raise CampaignError(f"{row.address}: {problem}", file=row.source, line=row.line)
        message = make_specimen(program, signer, row, now=time.time()).message
        place = f"{Path(row.source).name}:{row.line} {row.address}" if row.source else row.address
        seen[name] = shown(place, row.address, message)
    try:
        place_of = folder if folder is not None else Path(tempfile.mkdtemp(prefix="bulkmail-preview-"))
        place_of.mkdir(parents=True, exist_ok=True)
        if png:
            pages = {name: one.html for name, one in seen.items() if one.html is not None}
            if not pages:
                raise CampaignError("the campaign has no page to take a picture of", path="content")
            for picture in take_pictures(pages, place_of):
                out().print(near(picture))
        if browser:
            page = place_of.resolve() / "index.html"
            page.write_text(gallery(campaign.campaign, list(seen.values())), encoding="utf-8")
            out().print(near(page))
            if not webbrowser.open(page.as_uri()):
                err().print("no browser here: open that file in one")
    except OSError as error:
        raise CampaignError(f"cannot be written: {error.strerror}", file=error.filename or str(folder)) from None


def _different(campaign: Campaign, program: Program) -> dict[str, Recipient]:
    """The first row, and others that lack other fields or have another language."""
    found: dict[tuple[object, ...], tuple[int, Recipient]] = {}
    for number, row in enumerate(rows_of(campaign), start=1):
        if number > LOOKED_AT or len(found) == SIDE_BY_SIDE:
            break
        if not isinstance(row, Recipient) or program.problem(row.fields) is not None:
            continue
        language = row.fields.get(campaign.languages.by) if campaign.languages is not None else None
        shape = (*(row.fields.get(name) in (None, "") for name in program.fields), str(language))
        found.setdefault(shape, (number, row))
    if not found:
        raise CampaignError(
            "the recipients have no row that mail can be made of", file=campaign.file, path="recipients"
        )
    return {f"row-{number}": row for number, row in found.values()}
