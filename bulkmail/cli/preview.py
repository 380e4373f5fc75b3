"""`bulkmail preview`: one recipient's message, whole or in parts, on standard output or as files."""

import re
import sys
import time
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

from bulkmail.cli.hints import near
from bulkmail.cli.output import err, out, safe
from bulkmail.compilation import compile_for
from bulkmail.config.load import load_campaign
from bulkmail.content.reading import body_text, readable
from bulkmail.errors import CampaignError
from bulkmail.preflight.rows import find_recipient
from bulkmail.preflight.specimen import make_specimen, signer_at_hand
from bulkmail.store.locate import state_for_campaign


def preview(
    file: str, *, row: int | None, address: str | None, part: str, folder: Path | None, state: Path | None
) -> None:
    """Print `part` of the message, or write all of them to `folder`. Raises CampaignError."""
    campaign = load_campaign(file)
    program = compile_for(campaign)
    signer, unsigned = signer_at_hand(campaign, state_for_campaign(campaign.file, state))
    recipient = find_recipient(campaign, row, address)
    problem = program.problem(recipient.fields)
    if problem is not None:
        raise CampaignError(f"{recipient.address}: {problem}", file=recipient.source, line=recipient.line)
    message = make_specimen(program, signer, recipient, now=time.time()).message
    if unsigned and (part == "source" or folder is not None):
        err().print(unsigned)
    if folder is not None:
        try:
            _write(message, folder)
        except OSError as error:
            raise CampaignError(f"cannot be written: {error.strerror}", file=error.filename or str(folder)) from None
    elif part == "source":
        sys.stdout.buffer.write(message)
        sys.stdout.buffer.flush()
    else:
        _print(message, part)


def _parsed(message: bytes) -> EmailMessage:
    return BytesParser(policy=policy.default).parsebytes(message)


def _print(message: bytes, part: str) -> None:
    parsed = _parsed(message)
    console = out()
    shown = []
    if part in ("headers", "all"):
        header = message.partition(b"\r\n\r\n")[0] + b"\r\n"
        shown.append("\n".join(f"{name}: {value}" for name, value in readable(header)))
    for name, subtype in (("text", "plain"), ("html", "html")):
        if part in (name, "all"):
            body = body_text(parsed, subtype)
            if body is None and part == name:
                raise CampaignError(f"the campaign has no {name}", path=f"content.{name}")
            shown += [body] if body is not None else []
    for text in "\n\n".join(shown).splitlines():
        console.print(safe(text))


def _write(message: bytes, folder: Path) -> None:
    """message.eml, body.txt, and body.html with its images beside it, to be opened in a browser."""
    folder.mkdir(parents=True, exist_ok=True)
    parsed = _parsed(message)
    written = [folder / "message.eml"]
    written[0].write_bytes(message)
    images: dict[str, str] = {}
    for part in parsed.walk():
        content_id = part["Content-ID"]
        if content_id is None or part.is_multipart():
            continue
        name = re.sub(r"[^A-Za-z0-9._-]", "_", part.get_filename() or "").lstrip(".") or f"image-{len(images) + 1}"
        path = folder / name if folder / name not in written else folder / f"{len(images) + 1}-{name}"
        payload = part.get_payload(decode=True)
        path.write_bytes(payload if isinstance(payload, bytes) else b"")
        images[str(content_id).strip().strip("<>")] = path.name
        written.append(path)
    text, html = body_text(parsed, "plain"), body_text(parsed, "html")
    if text is not None:
        written.append(folder / "body.txt")
        written[-1].write_text(text, encoding="utf-8")
    if html is not None:
        for content_id, name in images.items():
            html = html.replace(f"cid:{content_id}", name)
        written.append(folder / "body.html")
        # The byte order mark tells a browser the encoding, whatever the page says.
        written[-1].write_text(html, encoding="utf-8-sig")
    for path in written:
        print(near(path))
