"""What the owner of a run and its nodes say to each other. Times are seconds from now; positions are a journal's.

The end of the channel is a message, too: a node whose owner is gone ends at once, with nothing more sent.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from bulkmail.engine.lane import LaneStatistics
from bulkmail.engine.ways import Way
from bulkmail.model.cpu import CpuSpent
from bulkmail.policy.encryption import Protection
from bulkmail.policy.pacing import PacerStatistics
from bulkmail.policy.route import MailHost
from bulkmail.store.assurance import TlsSessions
from bulkmail.store.suppressions import SoftBounce, Suppression

# From the owner.


class Setup(Struct, frozen=True, tag="setup"):
    """The first message: what the node is made of, as `bulkmail.nodeprocess` reads it."""

    pickled: bytes


class Rest(Struct, frozen=True, kw_only=True):
    """A lane comes from a node that has died: with what that had learned, and after `seconds` for its connections."""

    seconds: float
    learned: PacerStatistics | None = None


class Other(Struct, frozen=True, array_like=True):
    """Another site that the same mail may go to: a relay beside this one."""

    site: str
    priority: int
    shut_seconds: float


class Portion(Struct, frozen=True, kw_only=True, tag="portion"):
    """Recipients of one chunk for one lane: that of the source at `position` to the site of `way`.

    `indexes` are their places in the chunk of `size`; `records` what became of them so far, as `OutcomeColumn` has it,
    empty where nothing did. `rest` is set where the lane was another node's before.
    """

    way: Way
    domain: str
    position: int
    chunk: int
    size: int
    list_name: str | None
    jitter: float
    indexes: list[int]
    addresses: list[str]
    rows: list[bytes]
    records: bytes = b""
    others: tuple[Other, ...] = ()
    rest: Rest | None = None


class Flow(Struct, frozen=True, kw_only=True, tag="flow"):
    """Whether messages may be begun, and how many connections are the node's share."""

    may_begin: bool
    connections: int


class Shut(Struct, frozen=True, tag="shut"):
    """No lane to this relay is open for so long, at whatever node."""

    site: str
    seconds: float


class Marked(Struct, frozen=True, tag="marked"):
    """All that was recorded before `position` is in the event log, which is good up to `offset`."""

    position: int
    offset: int


class Folded(Struct, frozen=True, tag="folded"):
    """The tables have what was recorded of these chunks before `position`."""

    chunks: list[int]
    position: int


class Drain(Struct, frozen=True, tag="drain"):
    """Begin nothing more; wait for replies; close connections; hand over all that is recorded; say `Drained`."""


# From a node.


class Ready(Struct, frozen=True, tag="ready"):
    """The node can take work."""


class Failed(Struct, frozen=True, tag="failed"):
    """The last message of a node that cannot go on. `state`: the disk, and no defect; `hint` is for the user."""

    message: str
    state: bool
    hint: str | None


class Recorded(Struct, frozen=True, kw_only=True, tag="recorded"):
    """What the node's journal has durably, from where the last one ended to `position`, and what follows from it.

    `records` are the journal's own bytes, `lines` those of the event log.
    """

    position: int
    records: list[bytes]
    lines: bytes
    suppressions: list[Suppression] = []
    soft_bounces: list[SoftBounce] = []


class Parked(Struct, frozen=True, tag="parked"):
    """These recipients come back without an attempt: their lane is closed for too long. Its `Pause` came before."""

    chunk: int
    indexes: list[int]


class Closed(Struct, frozen=True, array_like=True):
    """An exchange that cannot be reached for so long."""

    hosts: tuple[MailHost, ...]
    domain: str
    protection: Protection
    seconds: float


class Pause(Struct, frozen=True, kw_only=True, tag="pause"):
    """What a lane may do has changed."""

    site: str
    position: int
    seconds: float
    closed: list[Closed]
    learned: PacerStatistics
    complaint: str


class Report(Struct, frozen=True, kw_only=True, tag="report"):
    """How the node's lanes stand, by the position of their source; the busiest alone where there are many."""

    lanes: Sequence[tuple[int, LaneStatistics]]
    full: bool


class Spent(Struct, frozen=True, tag="spent"):
    """The node's CPU time in all."""

    cpu: CpuSpent


class Gone(Struct, frozen=True, tag="gone"):
    """The node has forgotten these lanes: they are idle, and new ones would do as well."""

    lanes: list[tuple[str, int]]


class Stale(Struct, frozen=True, tag="stale"):
    """Chunks to be folded so that the node's journal can let go of old segments."""

    chunks: list[int]


class TlsCounts(Struct, frozen=True, tag="tls"):
    """TLS sessions for the reports."""

    sessions: list[TlsSessions]


class Drained(Struct, frozen=True, tag="drained"):
    """The last message of a node that was asked to `Drain`."""


# From either.


class Anomaly(Struct, frozen=True, tag="anomaly"):
    """The site gets one transaction at a time from now on, at every node."""

    site: str
    what: str


FromOwner = Setup | Portion | Flow | Shut | Marked | Folded | Drain | Anomaly
FromNode = Ready | Failed | Recorded | Parked | Pause | Report | Spent | Gone | Stale | TlsCounts | Drained | Anomaly


def _quantity(kind: type[Any], value: object) -> object:
    return kind(value)


# Quantities are floats and whole numbers with a name.
ENCODER = msgspec.msgpack.Encoder(enc_hook=float)
FROM_OWNER: msgspec.msgpack.Decoder[list[FromOwner]] = msgspec.msgpack.Decoder(list[FromOwner], dec_hook=_quantity)
FROM_NODE: msgspec.msgpack.Decoder[list[FromNode]] = msgspec.msgpack.Decoder(list[FromNode], dec_hook=_quantity)
