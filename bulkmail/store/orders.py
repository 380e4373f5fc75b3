"""Orders to a run, given from another process: hold it, or give it up. They stand until they are taken back."""

import os
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec import Struct

from bulkmail.errors import StateError
from bulkmail.store.directory import fsync_directory

ORDERS = "orders"


class Kind(StrEnum):
    """`PAUSE`: begin no message until the order is taken back; `CANCEL`: end the run, for good."""

    PAUSE = "pause"
    CANCEL = "cancel"


class Order(Struct, frozen=True, kw_only=True):
    """`reason` in words; `time` in Unix seconds."""

    kind: Kind
    reason: str
    time: float


def give_order(directory: Path, run: str, order: Order) -> None:
    """Let an order stand in place of any other; durable when this returns. StateError where it cannot be written."""
    folder = directory / ORDERS
    path = folder / run
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}.new")
        with open(fresh, "wb") as file:
            file.write(msgspec.json.encode(order))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise StateError(f"{path}: the order cannot be written: {error.strerror}") from None
    fsync_directory(folder)


def standing_order(directory: Path, run: str) -> Order | None:
    """The order that stands for the run; None where there is none, or one that cannot be read."""
    try:
        with open(directory / ORDERS / run, "rb") as file:
            return msgspec.json.decode(file.read(), type=Order)
    except (OSError, msgspec.MsgspecError):
        return None


def take_back(directory: Path, run: str) -> bool:
    """True where an order stood."""
    try:
        (directory / ORDERS / run).unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StateError(f"{directory / ORDERS / run}: {error.strerror}") from None
    fsync_directory(directory / ORDERS)
    return True
