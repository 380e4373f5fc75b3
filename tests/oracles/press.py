"""Whole messages from stored rows, told plainly: the same values, one step after the other."""

import re
from typing import Any

from bulkmail.native.message import Message
from tests.oracles.assembly import Assembler
from tests.oracles.tokens import Sealer

ROW = re.compile(
    rb"\[(?:VALUE(?:,VALUE)*)?\]".replace(b"VALUE", rb'(?:"[^"\\]*"|null|true|false|0|-?[1-9][0-9]{0,17})')
)
VALUE = re.compile(rb'"([^"\\]*)"|(null|true|false|-?[0-9]+)')
WORDS: dict[bytes, object] = {b"null": None, b"true": True, b"false": False}


class Press:
    """The same as the native one."""

    def __init__(
        self,
        sealer: Sealer,
        header: Assembler,
        body: Assembler,
        *,
        texts: list[tuple[Assembler, int | None]],
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
            for program, room in self.texts:
                text = program.assemble(values).decode()
                if room is not None and (
                    len(text) > room or not re.fullmatch("[ -~]*", text) or text != text.strip() or "=?" in text
                ):
                    return None
                values.append(text)
            data = self.header.assemble(values) + b"\r\n" + self.body.assemble(values)
        except KeyError:
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
    if not ROW.fullmatch(row):
        return None
    return [WORDS[word] if word in WORDS else (word or text).decode() for text, word in VALUE.findall(row)]
