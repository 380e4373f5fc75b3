"""Pin what a run was started from, and say what is different when it is taken up again.

Limits, retry, sources and timeouts may change between two starts of a run; what a recipient gets, and who the
recipients are, may not.
"""

import hashlib
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from bulkmail.content.bodies import is_template
from bulkmail.content.variants import Arms, arms
from bulkmail.model.campaign import CONTENT_TEXTS, Campaign, contents_of

LIMIT = "--limit"
PINNED_WHERE_SAID = ("send_at", "schedule", "canary", "sender_address", "tracking")


class Pins(Struct, frozen=True):
    """Digests by the name of what they pin, such as `subject` or `content.html`; and the arms of an A/B test."""

    content: dict[str, str] = {}
    recipients: dict[str, str] = {}
    split: tuple[tuple[str, int], ...] = ()

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
    content |= variants_pinned(campaign)
    content |= {key: value for key, value in files.items() if not key.startswith("recipients[")}
    recipients = {key: value for key, value in files.items() if key.startswith("recipients[")}
    for position, source in enumerate(campaign.recipients):
        recipients[f"recipients[{position}]"] = digest(msgspec.json.encode((source.address, source.list)))
        if source.sql is not None:
            # What it answers is the run's own snapshot; where the database is may change.
            recipients[f"recipients[{position}].sql"] = digest(source.sql.query.encode())
    if limit is not None:
        recipients[LIMIT] = str(limit)
    return Pins(content=content, recipients=recipients, split=tuple(arms(campaign)))


def variants_pinned(campaign: Campaign) -> dict[str, str]:
    """What is said beside files, where it is said: a run that was begun before there was such a key has none of it."""
    said: dict[str, object] = {name: getattr(campaign, name) for name in PINNED_WHERE_SAID}
    if campaign.languages is not None:
        said["languages.by"] = campaign.languages.by
        said |= {f"languages.{name}.subject": each.subject for name, each in campaign.languages.variants.items()}
    said |= {f"split.{name}": (arm.weight, arm.subject) for name, arm in campaign.split.items()}
    for key, content in contents_of(campaign).items():
        said |= {f"{key}.{name}": getattr(content, name) for name in ("preheader", "locale", "inline_css")}
        said |= {f"{key}.attachments[{n}]": path for n, path in enumerate(content.attachments) if is_template(path)}
    # Quantities are floats with a name.
    return {
        name: digest(msgspec.json.encode(value, enc_hook=float)) for name, value in said.items() if value is not None
    }


def named_files(campaign: Campaign) -> dict[str, str]:
    """Every file whose content a run is pinned to, by its key in the campaign file."""
    files: dict[str, str] = {}
    for key, content in contents_of(campaign).items():
        files |= {f"{key}.{name}": path for name in CONTENT_TEXTS if (path := getattr(content, name))}
        files |= {f"{key}.inline[{n}]": path for n, path in enumerate(content.inline)}
        files |= {
            f"{key}.attachments[{n}]": path for n, path in enumerate(content.attachments) if not is_template(path)
        }
    listed = [(position, source.file) for position, source in enumerate(campaign.recipients) if source.sql is None]
    files |= {f"recipients[{position}].file": file for position, file in listed}
    return files


def changes(old: bytes, new: Pins) -> list[str]:
    """The names of what differs between the pins a run was started with and those of now, sorted."""
    before = msgspec.json.decode(old, type=Pins)
    changed = set()
    for then, now in ((before.content, new.content), (before.recipients, new.recipients)):
        changed |= {name for name in then.keys() | now.keys() if then.get(name) != now.get(name)}
    return sorted(changed)


def split_of(settings: bytes) -> Arms:
    """The arms that a run was begun with; none where it is no A/B test, or its pins are not ours."""
    try:
        return msgspec.json.decode(settings, type=Pins).split
    except msgspec.DecodeError:
        return ()


def exceeds(old: bytes, limit: int | None) -> bool:
    """True where a run was started over the first rows only, and now more of them (None: all) are to get the mail."""
    before = msgspec.json.decode(old, type=Pins).recipients.get(LIMIT)
    return before is not None and (limit is None or limit > int(before))
