"""One local HTML page that shows the messages of several recipients side by side: page, text and source."""

import base64
from collections.abc import Sequence
from email import policy
from email.parser import BytesParser
from html import escape

from msgspec import Struct

from bulkmail.content.reading import body_text, readable


class Shown(Struct, frozen=True, kw_only=True):
    """A message to be shown; `html` has its inline pictures in it, so that it needs nothing else."""

    place: str
    recipient: str
    subject: str
    headers: tuple[tuple[str, str], ...]
    html: str | None
    text: str | None
    attachments: tuple[str, ...]
    source: str


def shown(place: str, recipient: str, message: bytes) -> Shown:
    """Read a finished message as a mail program does."""
    parsed = BytesParser(policy=policy.default).parsebytes(message)
    html = body_text(parsed, "html")
    names = []
    for part in parsed.walk():
        if part.is_multipart():
            continue
        payload = part.get_payload(decode=True)
        data = payload if isinstance(payload, bytes) else b""
        if part["Content-ID"] is not None and html is not None:
            content_id = str(part["Content-ID"]).strip().strip("<>")
            picture = f"data:{part.get_content_type()};base64,{base64.b64encode(data).decode()}"
            html = html.replace(f"cid:{content_id}", picture)
        elif part.get_filename() is not None:
            names.append(f"{part.get_filename()} ({part.get_content_type()}, {len(data):,} bytes)")
    headers = readable(message.partition(b"\r\n\r\n")[0] + b"\r\n")
    return Shown(
        place=place,
        recipient=recipient,
        subject=next((value for name, value in headers if name.lower() == "subject"), ""),
        headers=tuple(headers),
        html=html,
        text=body_text(parsed, "plain"),
        attachments=tuple(names),
        source=message.decode("utf-8", "replace"),
    )


def gallery(title: str, messages: Sequence[Shown]) -> str:
    """The page; what is in the messages cannot run in it, nor reach beyond its own frame."""
    columns = "".join(map(_column, messages))
    return _PAGE.replace("@TITLE@", escape(title)).replace("@COLUMNS@", columns)


def _column(one: Shown) -> str:
    frame = (
        f'<iframe sandbox="allow-same-origin" title="page" srcdoc="{escape(one.html, quote=True)}"></iframe>'
        if one.html is not None
        else "<p>no page</p>"
    )
    text = f"<pre>{escape(one.text)}</pre>" if one.text is not None else "<p>no text part</p>"
    names = ("from", "to", "reply-to", "list-unsubscribe", "list-id")
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td dir=auto>{escape(value)}</td></tr>"
        for name, value in one.headers
        if name.lower() in names
    )
    files = "".join(f"<li>{escape(name)}</li>" for name in one.attachments)
    return (
        f"<section><p class=place>{escape(one.place)}</p><h2 dir=auto>{escape(one.subject)}</h2><table>{rows}</table>"
        + (f"<ul>{files}</ul>" if files else "")
        + f'<div class="view html">{frame}</div><div class="view text">{text}</div>'
        + f'<div class="view source"><pre>{escape(one.source)}</pre></div></section>'
    )


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; img-src data: https:; frame-src 'self'">
<title>@TITLE@</title>
<style>
  body { margin: 0; font: 14px/20px system-ui, sans-serif; background: #eef0f2; color: #1b1f23; }
  header { position: sticky; top: 0; padding: 10px 20px; background: #1b1f23; color: #fff; z-index: 1; }
  header label { margin-left: 20px; cursor: pointer; }
  main { display: flex; gap: 20px; padding: 20px; align-items: flex-start; overflow-x: auto; }
  section { background: #fff; border-radius: 8px; padding: 16px; flex: 0 0 640px; box-sizing: content-box; }
  h2 { margin: 4px 0 10px; font-size: 18px; line-height: 24px; }
  .place { margin: 0; color: #57606a; font-size: 12px; }
  table { border-spacing: 0; font-size: 12px; } th { text-align: left; padding-right: 12px; color: #57606a; }
  td { word-break: break-all; }
  iframe { width: 100%; height: 900px; border: 1px solid #d0d7de; border-radius: 4px; background: #fff; }
  pre { white-space: pre-wrap; word-break: break-word; unicode-bidi: plaintext; }
  pre { font: 13px/19px ui-monospace, monospace; }
  .view { display: none; margin-top: 12px; }
  body:has(#desktop:checked) .html, body:has(#phone:checked) .html, body:has(#text:checked) .text,
  body:has(#source:checked) .source { display: block; }
  body:has(#phone:checked) section { flex-basis: 390px; }
</style>
</head>
<body>
<header><b>@TITLE@</b>
<label><input type="radio" name="view" id="desktop" checked> page</label>
<label><input type="radio" name="view" id="phone"> page on a phone</label>
<label><input type="radio" name="view" id="text"> text</label>
<label><input type="radio" name="view" id="source"> source</label>
</header>
<main>@COLUMNS@</main>
</body>
</html>
"""
