"""The files a campaign names: paths made absolute from its folder, and seen to be there and readable."""

import os
import ssl
import stat
from pathlib import Path

from msgspec.structs import replace

from bulkmail.config.document import quoted
from bulkmail.config.findings import Findings, key_path, nearest
from bulkmail.config.ways import relay_path
from bulkmail.model.campaign import CONTENT_TEXTS, CampaignFile, Content, RecipientSource, Relay

RECIPIENT_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".parquet")
SQLITE = "sqlite:///"


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

    def secret(value: str, path: str) -> str:
        absolute = found(value, path)
        problem = exposure(absolute)
        if problem is not None:
            findings.add(path, f"{quoted(value, 400)} {problem}", hint=f"chmod 600 {absolute}")
        return absolute

    def roots(value: str, path: str) -> str:
        absolute = found(value, path)
        if Path(absolute).is_file():
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(absolute)
            except OSError as error:
                problem = f"{quoted(value, 400)} cannot be used: {error.strerror or error}"
                findings.add(path, problem, hint="PEM is needed, certificates")
        return absolute

    def with_secret(relays: tuple[Relay, ...], path: str) -> tuple[Relay, ...]:
        changed = []
        for index, relay in enumerate(relays):
            where = relay_path(path, index, findings)
            if relay.password_file is not None:
                relay = replace(relay, password_file=secret(relay.password_file, f"{where}.password_file"))
            if relay.key is not None:
                relay = replace(relay, key=secret(relay.key, f"{where}.key"))
            if relay.certificate is not None:
                take = found if relay.key is not None else secret
                relay = replace(relay, certificate=take(relay.certificate, f"{where}.certificate"))
            changed.append(relay)
        return tuple(changed)

    def with_content(content: Content, key: str) -> Content:
        named = {kind: path for kind in CONTENT_TEXTS if (path := getattr(content, kind)) is not None}
        return replace(
            content,
            **{kind: found(path, f"{key}.{kind}") for kind, path in named.items()},
            inline=all_found(content.inline, f"{key}.inline"),
            attachments=tuple(
                # The files of each recipient's own are looked for when its row is known.
                path if "{{" in path or "{%" in path else found(path, f"{key}.attachments[{index}]")
                for index, path in enumerate(content.attachments)
            ),
        )

    languages = campaign.languages
    recipients = []
    for index, source in enumerate(campaign.recipients):
        path = f"recipients[{index}].file"
        if source.sql is not None or not source.file:
            recipients.append(with_database(source, folder))
            continue
        if not source.file.lower().endswith(RECIPIENT_SUFFIXES):
            findings.add(path, f"{quoted(source.file, 400)} ends in none of {', '.join(RECIPIENT_SUFFIXES)}")
        recipients.append(replace(source, file=found(source.file, path)))
    tls = campaign.tls
    # The sandbox makes a key where there is none yet, so that a first campaign runs without ceremony.
    keys_are_made = campaign.delivery.route == "sandbox"
    rules = campaign.feedback.rules
    return replace(
        campaign,
        tls=replace(tls, authorities=tls.authorities and roots(tls.authorities, "tls.authorities")),
        feedback=replace(campaign.feedback, rules=None if rules is None else found(rules, "feedback.rules")),
        webhooks=tuple(
            hook
            if hook.secret_file is None
            else replace(hook, secret_file=secret(hook.secret_file, f"webhooks[{index}].secret_file"))
            for index, hook in enumerate(campaign.webhooks)
        ),
        content=with_content(campaign.content, "content"),
        languages=languages
        and replace(
            languages,
            variants={
                name: replace(variant, content=with_content(variant.content, f"languages.variants.{name}.content"))
                for name, variant in languages.variants.items()
            },
        ),
        split={
            name: replace(arm, content=with_content(arm.content, f"split.{name}.content"))
            for name, arm in campaign.split.items()
        },
        recipients=tuple(recipients),
        delivery=replace(
            campaign.delivery,
            relay=with_secret(campaign.delivery.relay, "delivery.relay"),
            routes={
                pattern: replace(route, relay=with_secret(route.relay, f"{key_path('delivery.routes', pattern)}.relay"))
                for pattern, route in campaign.delivery.routes.items()
            },
        ),
        dkim=tuple(
            replace(key, key=found(key.key, f"dkim[{index}].key", may_be_missing=keys_are_made))
            for index, key in enumerate(campaign.dkim)
        ),
    )


def exposure(absolute: str) -> str | None:
    """Who but its owner may read a file with a secret, as the end of a sentence; None for nobody, or no file."""
    try:
        mode = os.stat(absolute).st_mode
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(mode) or not mode & 0o077:
        return None
    return f"may be read or written by others (mode {mode & 0o777:04o})"


def with_database(source: RecipientSource, folder: Path) -> RecipientSource:
    """The source with a database file beside the campaign found from wherever the command is called."""
    query = source.sql
    if query is None or query.url is None or not query.url.startswith(SQLITE) or query.url == SQLITE:
        return source
    absolute = os.path.abspath(folder / query.url.removeprefix(SQLITE))
    return replace(source, sql=replace(query, url=SQLITE + absolute))


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
