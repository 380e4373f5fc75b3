"""A recipient's token: it stands in return paths, Message-IDs and links, and leads back to the row."""

import base64
import binascii
import struct
from hashlib import blake2b
from hmac import compare_digest

from msgspec import Struct

from bulkmail.address import Address, AddressError, parse_address, parse_mailbox, wire_address
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign

POSITION = struct.Struct(">IIH")
MAC_BYTES = 10
TOKEN_LENGTH = 32
MAX_LOCAL_PART = 64  # RFC 5321 §4.5.3.1.1
LONGEST_RETURN_LOCAL = MAX_LOCAL_PART - TOKEN_LENGTH - 1


class Position(Struct, frozen=True):
    """Where a recipient stands."""

    run: int
    chunk: int
    index: int


class Identity:
    """Makes and opens tokens under one secret of 16 to 64 bytes.

    A token is 32 characters of lower-case base32: run, chunk and index, and 80 bits of keyed BLAKE2b over them. It is
    opened whatever its case, since mail systems on the way may change it. The address is not part of it: a bounce is
    opened from the token alone.
    """

    def __init__(self, secret: bytes) -> None:
        if not 16 <= len(secret) <= 64:
            raise ValueError("a token secret has 16 to 64 bytes")
        self._mac = blake2b(key=secret, digest_size=MAC_BYTES, person=b"bulkmail token")

    def token(self, run: int, chunk: int, index: int) -> str:
        """`run` and `chunk` below 2**32, `index` below 2**16."""
        packed = POSITION.pack(run, chunk, index)
        return base64.b32encode(packed + self._seal(packed)).decode("ascii").lower()

    def open(self, token: str) -> Position | None:
        """None for whatever `token` under this secret did not make."""
        if len(token) != TOKEN_LENGTH:
            return None
        try:
            data = base64.b32decode(token, casefold=True)
        except (binascii.Error, ValueError):
            return None
        packed = data[: POSITION.size]
        if not compare_digest(data[POSITION.size :], self._seal(packed)):
            return None
        return Position(*POSITION.unpack(packed))

    def _seal(self, packed: bytes) -> bytes:
        mac = self._mac.copy()
        mac.update(packed)
        return mac.digest()


def return_path(campaign: Campaign, token: str) -> str:
    """The envelope sender that leads back to the recipient: `local+TOKEN@domain`."""
    address = return_address(campaign)
    return f"{address.local}+{token}@{address.domain}"


def return_address(campaign: Campaign) -> Address:
    """The mailbox that bounces go to: `return_path`, or else that of `from`.

    Fails with CampaignError where the token does not fit behind its local part.
    """
    key, text = ("return_path", campaign.return_path) if campaign.return_path else ("from", campaign.from_)
    try:
        address = parse_address(text) if campaign.return_path else parse_mailbox(text).address
    except AddressError as error:
        raise CampaignError(str(error), file=campaign.file, path=key) from None
    local = address.local
    if not wire_address(address).isascii() or local.startswith('"'):
        raise CampaignError(
            f"{local} cannot carry the token of a bounce",
            file=campaign.file,
            path=key,
            hint="return_path needs an unquoted ASCII local part",
        )
    if len(local) > LONGEST_RETURN_LOCAL:
        raise CampaignError(
            f"the local part {local} has {len(local)} characters and the token of a bounce does not fit behind it",
            file=campaign.file,
            path=key,
            hint=f"set a return_path with at most {LONGEST_RETURN_LOCAL} characters before the @",
        )
    return address
