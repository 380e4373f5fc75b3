"""Whole messages from stored rows, told plainly: the same values, one step after the other."""

import json
import re
from typing import Any

from bulkmail.content import headers
from bulkmail.content.errors import ContentError
from bulkmail.native.message import Message
from tests.oracles.assembly import Assembler
from tests.oracles.tokens import Sealer

STRING = rb'"(?:[^"\\]|\\["\\/bfnrt]|\\u00[0-7][0-9a-fA-F])*"'
ROW = re.compile(
    rb"\[(?:VALUE(?:,VALUE)*)?\]".replace(b"VALUE", rb"(?:%b|null|true|false|0|-?[1-9][0-9]{0,17})" % STRING)
)
VALUE = re.compile(rb"(%b)|null|true|false|-?[0-9]+" % STRING)


class Press:
    """The same as the native one."""

    def __init__(
        self,
        sealer: Sealer,
        header: Assembler,
        body: Assembler,
        *,
        texts: list[tuple[Assembler, str | None]],
        width: int,
        campaign: str,
        message_domain: str,
        return_local: str,
        return_domain: str,
    ) -> None:
        self.sealer, self.header, self.body, self.texts, self.width = sealer, header, body, texts, width
        self.campaign, self.message_domain = campaign, message_domain
        self.return_local, self.return_domain = return_local, return_domain

    def messages(
        self,
        chunk: Any,
        word: int,
        addresses: list[str],
        rows: list[bytes],
        indexes: list[int],
        tried: list[int],
        date: bytes,
    ) -> tuple[list[Message | None], list[int]]:
        made = [
            self.message(chunk, word, index, addresses[index], rows[index], attempts + 1, date)
            for index, attempts in zip(indexes, tried, strict=True)
        ]
        return made, [place for place, message in enumerate(made) if message is None]

    def message(
        self, chunk: Any, word: int, index: int, address: str, row: bytes, attempt: int, date: bytes
    ) -> Message | None:
        values = read_row(row)
        if values is None or len(values) != self.width or not re.fullmatch("[ -~]*", address):
            return None
        returning, link = self.sealer.pair(word, index)
        message_id = f"<{returning}@{self.message_domain}>"
        values += [address, link, date.decode(), message_id, self.campaign]
        try:
            for program, name in self.texts:
                text = program.assemble(values).decode()
                values.append(text if name is None else headers.unstructured(name, text))
            data = self.header.assemble(values) + b"\r\n" + self.body.assemble(values)
        except (KeyError, ContentError):
            return None
        return Message(
            chunk=chunk,
            index=index,
            attempt=attempt,
            address=address,
            sender=f"{self.return_local}+{returning}@{self.return_domain}".encode(),
            recipient=address.encode(),
            data=data,
            message_id=message_id,
        )


def read_row(row: bytes) -> list[Any] | None:
    """Its values, numbers as texts; None where it is something else."""
    if not ROW.fullmatch(row):
        return None
    # Control characters as they are, which JSON does not allow, do no harm.
    values = [json.loads(found[0].decode(), strict=False) for found in VALUE.finditer(row)]
    return [value if value is None or isinstance(value, bool) else str(value) for value in values]
