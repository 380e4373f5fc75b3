"""Pin what a run was started from, and say what is different when it is taken up again.

Limits, retry, sources and timeouts may change between two starts of a run; what a recipient gets, and who the
recipients are, may not.
"""

import hashlib
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from bulkmail.model.campaign import Campaign

LIMIT = "--limit"


class Pins(Struct, frozen=True):
    """Digests by the name of what they pin, such as `subject` or `content.html`."""

    content: dict[str, str]
    recipients: dict[str, str]

    @property
    def content_hash(self) -> str:
        return digest(msgspec.json.encode(sorted(self.content.items())))

    @property
    def recipients_hash(self) -> str:
        return digest(msgspec.json.encode(sorted(self.recipients.items())))

    def encoded(self) -> bytes:
        return msgspec.json.encode(self)


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def pin(campaign: Campaign, files: Mapping[str, str], *, limit: int | None) -> Pins:
    """`files` has the fingerprint of each file the campaign names, by its key (`content.html`, ...)."""
    content = {
        name: digest(msgspec.json.encode(getattr(campaign, field)))
        for name, field in (
            ("from", "from_"),
            ("reply_to", "reply_to"),
            ("return_path", "return_path"),
            ("list_id", "list_id"),
            ("subject", "subject"),
            ("kind", "kind"),
            ("headers", "headers"),
            ("unsubscribe", "unsubscribe"),
        )
    }
    content |= {key: value for key, value in files.items() if key.startswith("content.")}
    recipients = {key: value for key, value in files.items() if key.startswith("recipients[")}
    for position, source in enumerate(campaign.recipients):
        recipients[f"recipients[{position}]"] = digest(msgspec.json.encode((source.address, source.list)))
    if limit is not None:
        recipients[LIMIT] = str(limit)
    return Pins(content=content, recipients=recipients)


def named_files(campaign: Campaign) -> dict[str, str]:
    """Every file whose content a run is pinned to, by its key in the campaign file."""
    content = campaign.content
    files = {f"content.{name}": path for name, path in (("html", content.html), ("text", content.text)) if path}
    files |= {f"content.inline[{position}]": path for position, path in enumerate(content.inline)}
    files |= {f"content.attachments[{position}]": path for position, path in enumerate(content.attachments)}
    files |= {f"recipients[{position}].file": source.file for position, source in enumerate(campaign.recipients)}
    return files


def changes(old: bytes, new: Pins) -> list[str]:
    """The names of what differs between the pins a run was started with and those of now, sorted."""
    before = msgspec.json.decode(old, type=Pins)
    changed = set()
    for then, now in ((before.content, new.content), (before.recipients, new.recipients)):
        changed |= {name for name in then.keys() | now.keys() if then.get(name) != now.get(name)}
    return sorted(changed)


def exceeds(old: bytes, limit: int | None) -> bool:
    """True where a run was started over the first rows only, and now more of them (None: all) are to get the mail."""
    before = msgspec.json.decode(old, type=Pins).recipients.get(LIMIT)
    return before is not None and (limit is None or limit > int(before))
