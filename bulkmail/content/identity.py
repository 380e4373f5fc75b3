"""A recipient's tokens: they stand in return paths, Message-IDs and links, and lead back to the row."""

import base64
import binascii
import os
import struct
from collections.abc import Sequence
from enum import StrEnum
from hashlib import blake2b
from hmac import compare_digest

from msgspec import Struct

from bulkmail.address import Address, AddressError, parse_address, parse_mailbox, wire_address
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign
from bulkmail.native.tokens import Sealer

MAC_BYTES = 10
TOKEN_LENGTH = 32
SECRET_BYTES = 32
MAX_LOCAL_PART = 64  # RFC 5321 §4.5.3.1.1
LONGEST_RETURN_LOCAL = MAX_LOCAL_PART - TOKEN_LENGTH - 1
KEYS_IN_USE = 8  # a token names its key in three bits

WEEK_SECONDS = 7 * 86400.0
_EPOCH = 1_704_067_200.0  # 2024-01-01T00:00:00Z
# Key, week of issue, run, chunk: 3, 11, 20 and 30 bits; the index has a word of its own.
_PACKED = struct.Struct(">QH")
_LAST_WEEK, _LAST_RUN, _LAST_CHUNK = (1 << 11) - 1, (1 << 20) - 1, (1 << 30) - 1
_FIRST_FORM = struct.Struct(">IIH")
_PERSON = b"bulkmail tokens"


class Purpose(StrEnum):
    """What a token is for. One that everybody on the way can read must not do what its reader alone may."""

    RETURN = "return"  # in the return path and the Message-ID: names whom a bounce or a complaint is about
    LINK = "link"  # in links and unsubscribe addresses: whoever has it may unsubscribe


class TokenKey(Struct, frozen=True, kw_only=True):
    """A key of a state directory; `created` in Unix seconds. Those of number 0 came with the directory."""

    number: int
    created: float
    secret: bytes


class Position(Struct, frozen=True):
    """Where a recipient stands."""

    run: int
    chunk: int
    index: int


class Opened(Struct, frozen=True):
    """A token that is ours. `issued`: not before this time was it made, and less than a week after; None unknown."""

    position: Position
    issued: float | None


class TokenPair(Struct, frozen=True, gc=False):
    """One recipient's token for each purpose."""

    returning: str
    link: str


class Issuer:
    """Makes the tokens of one run, all of the week in which the run began and under the key of that time.

    So an attempt that is repeated later, after a new key was made, has the same Message-ID.
    """

    def __init__(self, key: TokenKey, run: int, began: float) -> None:
        if not 0 <= run <= _LAST_RUN:
            raise ValueError(f"run {run} has no place in a token")
        week = min(max(int((began - _EPOCH) // WEEK_SECONDS), 0), _LAST_WEEK)
        self._base = (key.number % KEYS_IN_USE) << 61 | week << 50 | run << 30
        self.sealer = Sealer(_checked(key.secret), _PERSON)

    def word(self, chunk: int) -> int:
        """What the tokens of a chunk's recipients say beside their index; `chunk` below 2**30."""
        if not 0 <= chunk <= _LAST_CHUNK:
            raise ValueError(f"chunk {chunk} has no place in a token")
        return self._base | chunk

    def tokens(self, chunk: int, index: int) -> TokenPair:
        """`chunk` below 2**30, `index` below 2**16."""
        return TokenPair(*self.sealer.pair(self.word(chunk), index))


class Identity:
    """Makes and opens tokens under the keys of a state directory: the newest signs, the older ones still open.

    A token is 32 characters of lower-case base32: its key's number, the week of issue, run, chunk and index, and 80
    bits of keyed BLAKE2b over them, other ones for each purpose. It is opened whatever its case, since mail systems on
    the way may change it, and only whole. The address is not part of it: a bounce is opened from the token alone.
    """

    def __init__(self, keys: Sequence[TokenKey]) -> None:
        if not keys:
            raise ValueError("no key")
        newest = sorted(keys, key=lambda key: key.number)[-KEYS_IN_USE:]
        self._keys = newest
        self._macs = {key.number % KEYS_IN_USE: _mac(key.secret) for key in newest}
        self._first = _first_mac(newest[0].secret) if newest[0].number == 0 else None

    def issuer(self, run: int, began: float) -> Issuer:
        """For a run that began then: under the newest key of that time, or else the oldest there is."""
        known = [key for key in self._keys if key.created <= began]
        return Issuer(known[-1] if known else self._keys[0], run, began)

    def open(self, token: str, *purposes: Purpose) -> Opened | None:
        """None for whatever was not made under these keys for one of `purposes` (none named: for any)."""
        if len(token) != TOKEN_LENGTH:
            return None
        try:
            data = base64.b32decode(token, casefold=True)
        except (binascii.Error, ValueError):
            return None
        packed, seal = data[: _PACKED.size], data[_PACKED.size :]
        word, index = _PACKED.unpack(packed)
        made = self._macs.get(word >> 61)
        if made is not None:
            seals = _seal(made, packed)
            # Both are compared always, so that the time tells nothing.
            returning = compare_digest(seal, seals[:MAC_BYTES])
            link = compare_digest(seal, seals[MAC_BYTES:])
            if returning or link:
                if purposes and (Purpose.RETURN if returning else Purpose.LINK) not in purposes:
                    return None
                position = Position(word >> 30 & _LAST_RUN, word & _LAST_CHUNK, index)
                return Opened(position, _EPOCH + (word >> 50 & _LAST_WEEK) * WEEK_SECONDS)
        # The form of runs begun before tokens had purposes.
        if self._first is not None and compare_digest(seal, _seal(self._first, packed)):
            return Opened(Position(*_FIRST_FORM.unpack(packed)), None)
        return None


def new_key(number: int, created: float) -> TokenKey:
    """A key of random bytes."""
    return TokenKey(number=number, created=created, secret=os.urandom(SECRET_BYTES))


def _mac(secret: bytes) -> "blake2b":
    return _keyed(secret, 2 * MAC_BYTES, _PERSON)


def _first_mac(secret: bytes) -> "blake2b":
    return _keyed(secret, MAC_BYTES, b"bulkmail token")


def _keyed(secret: bytes, size: int, person: bytes) -> "blake2b":
    return blake2b(key=_checked(secret), digest_size=size, person=person)


def _checked(secret: bytes) -> bytes:
    if not 16 <= len(secret) <= 64:
        raise ValueError("a token secret has 16 to 64 bytes")
    return secret


def _seal(mac: "blake2b", packed: bytes) -> bytes:
    mac = mac.copy()
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
