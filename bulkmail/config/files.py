"""The files a campaign names: paths made absolute from its folder, and seen to be there and readable."""

import os
import stat
from pathlib import Path

from msgspec.structs import replace

from bulkmail.config.document import quoted
from bulkmail.config.findings import Findings, nearest
from bulkmail.model.campaign import CampaignFile

RECIPIENT_SUFFIXES = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz")


def with_absolute_paths(campaign: CampaignFile, folder: Path, findings: Findings) -> CampaignFile:
    """The campaign with every path absolute; what cannot be read is added to the findings."""

    def found(value: str, path: str, *, may_be_missing: bool = False) -> str:
        absolute = os.path.abspath(folder / value)
        problem = _problem(absolute, value)
        if problem and not (may_be_missing and problem == _ABSENT):
            hint = _like_it(Path(absolute), value) if problem == _ABSENT else None
            findings.add(path, f"{quoted(value, 400)} {problem}", hint=hint)
        return absolute

    def all_found(values: tuple[str, ...], path: str) -> tuple[str, ...]:
        return tuple(found(value, f"{path}[{index}]") for index, value in enumerate(values))

    content = campaign.content
    recipients = []
    for index, source in enumerate(campaign.recipients):
        path = f"recipients[{index}].file"
        if not source.file.lower().endswith(RECIPIENT_SUFFIXES):
            findings.add(path, f"{quoted(source.file, 400)} ends in none of {', '.join(RECIPIENT_SUFFIXES)}")
        recipients.append(replace(source, file=found(source.file, path)))
    delivery, tls = campaign.delivery, campaign.tls
    relay = delivery.relay
    if relay is not None:
        relay = replace(
            relay,
            certificate=relay.certificate and found(relay.certificate, "delivery.relay.certificate"),
            key=relay.key and found(relay.key, "delivery.relay.key"),
        )
    # The sandbox makes a key where there is none yet, so that a first campaign runs without ceremony.
    keys_are_made = campaign.delivery.route == "sandbox"
    return replace(
        campaign,
        delivery=replace(delivery, relay=relay),
        tls=replace(tls, authorities=tls.authorities and found(tls.authorities, "tls.authorities")),
        content=replace(
            content,
            html=None if content.html is None else found(content.html, "content.html"),
            text=None if content.text is None else found(content.text, "content.text"),
            inline=all_found(content.inline, "content.inline"),
            attachments=all_found(content.attachments, "content.attachments"),
        ),
        recipients=tuple(recipients),
        dkim=tuple(
            replace(key, key=found(key.key, f"dkim[{index}].key", may_be_missing=keys_are_made))
            for index, key in enumerate(campaign.dkim)
        ),
    )


_ABSENT = "does not exist"


def _problem(absolute: str, value: str) -> str | None:
    if not value or "\0" in value:
        return "is no file name"
    try:
        mode = os.stat(absolute).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return _ABSENT
    except (OSError, ValueError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    if stat.S_ISDIR(mode):
        return "is a folder; a file is needed"
    if not stat.S_ISREG(mode):
        return "is no ordinary file"
    if not os.access(absolute, os.R_OK):
        return "cannot be read: permission denied"
    return None


def _like_it(absolute: Path, value: str) -> str:
    """The file that may be meant, as it would be written in the campaign."""
    folder = absolute.parent
    try:
        names = [entry.name for entry in folder.iterdir() if entry.is_file()]
    except OSError:
        return f"there is no folder {folder}"
    meant = nearest(absolute.name, names)
    if meant is None:
        return f"no file in {folder} has a name like it"
    return f'did you mean "{os.path.join(os.path.dirname(value), meant)}"?'
