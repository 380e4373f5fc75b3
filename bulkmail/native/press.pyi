from collections.abc import Sequence
from typing import Any

from bulkmail.native.assembly import Assembler
from bulkmail.native.message import Message
from bulkmail.native.tokens import Sealer

MAX_TEXTS: int

class Press:
    """Whole messages of a chunk's recipients, from the rows as they are stored. May be shared among threads.

    Header and body are programs over these values: the row's, the address, the link's token, the date, the Message-ID,
    the campaign, and then each of `texts`, a program over those before it. With a text stands the name of the header
    whose value it is, up to 50 characters, None for others. Nothing may be repeated.
    """

    def __init__(
        self,
        sealer: Sealer,
        header: Assembler,
        body: Assembler,
        *,
        texts: Sequence[tuple[Assembler, str | None]],
        width: int,
        campaign: str,
        message_domain: str,
        return_local: str,
        return_domain: str,
    ) -> None: ...
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
        """The messages of `chunk`'s recipients `indexes`, who were `tried` so often before; and which are left out.

        That is, with None in its place, whatever needs more than this: a row that is no list of strings, whole numbers,
        true, false and null, an address that is not printable ASCII, a field that is missing, a header's value with a
        control character.
        """

def finish(
    header: Assembler,
    body: Assembler,
    values: list[Any],
    chunk: Any,
    index: int,
    attempt: int,
    address: str,
    sender: bytes,
    message_id: str,
) -> Message:
    """One message of any programs, whose values are there already. Fails as `Assembler.assemble` does."""
