"""A message told plainly: every template by an ordinary Jinja2, the MIME tree by string joining."""

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from bulkmail.model.campaign import Campaign
from tests.oracles.assembly import quoted_printable


class OracleError(Exception):
    """A template printed what is not there."""


def url_value(value: Any) -> str:
    if isinstance(value, jinja2.Undefined):
        str(value)
    return quote(str(value), safe="")


class Rendering:
    """The texts of one message, before any encoding but that of the URL's values."""

    def __init__(self, campaign: Campaign, recipient: str, fields: dict[str, Any], token: str) -> None:
        domain = campaign.from_.rpartition("@")[2].rstrip(">")
        self.token, self.campaign = token, campaign
        self.context: dict[str, Any] = {name: value for name, value in fields.items() if value not in (None, "")}
        self.context |= {"address": recipient, "token": token, "campaign": campaign.campaign}
        self.context["message_id"] = self.message_id = f"<{token}@{domain}>"
        self.url = None
        if campaign.unsubscribe and campaign.unsubscribe.url:
            self.url = self.context["unsubscribe_url"] = self.text(campaign.unsubscribe.url, finalize=url_value)
        self.subject = self.text(campaign.subject).strip(" ")
        self.headers = {name: self.text(value).strip(" ") for name, value in campaign.headers.items()}
        content = campaign.content
        self.html = self.text(Path(content.html).read_bytes().decode(), autoescape=True) if content.html else None
        self.plain = self.text(Path(content.text).read_bytes().decode()) if content.text else None

    def text(self, template: str, **options: Any) -> str:
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, **options)
        try:
            return environment.from_string(template).render(self.context)
        except jinja2.UndefinedError as error:
            raise OracleError(str(error)) from None

    def body(self) -> bytes:
        """The bytes after the header; inline images are not known here."""
        parts = [
            (kind, quoted_printable(text))
            for kind, text in (("plain", self.plain), ("html", self.html))
            if text is not None
        ]
        attachments = [Path(path) for path in self.campaign.content.attachments]
        if len(parts) == 1:
            header, body = self.text_header(parts[0][0]), parts[0][1]
        else:
            header = self.multipart_header("alternative", 2)
            body = self.joined(2, [self.text_header(kind) + b"\r\n" + data for kind, data in parts])
        if attachments:
            files = [
                b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
                b'Content-Disposition: attachment;\r\n filename="' + path.name.encode() + b'"\r\n\r\n'
                + base64.encodebytes(path.read_bytes()).replace(b"\n", b"\r\n").removesuffix(b"\r\n")
                for path in attachments
            ]  # fmt: skip
            return self.joined(1, [header + b"\r\n" + body, *files]) + b"\r\n"
        return body if len(parts) == 1 else body + b"\r\n"

    def text_header(self, kind: str) -> bytes:
        return (f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n").encode()

    def multipart_header(self, kind: str, number: int) -> bytes:
        return f'Content-Type: multipart/{kind};\r\n boundary="=_{self.token}_{number}"\r\n'.encode()

    def joined(self, number: int, parts: list[bytes]) -> bytes:
        boundary = f"--=_{self.token}_{number}".encode()
        return b"".join(boundary + b"\r\n" + part + b"\r\n" for part in parts) + boundary + b"--"
