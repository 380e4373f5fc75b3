"""What a run is told besides its campaign: by the command line, the library, or a simulation."""

from msgspec import Struct

from bulkmail.engine.statistics import MOST_SITES
from bulkmail.policy.pacing import PacingSettings
from bulkmail.policy.rules import RuleBook

SWEEP_SECONDS = 0.25


class NodeOptions(Struct, frozen=True, kw_only=True):
    """`signers` are composing and signing threads; `limit` stops intake after so many rows.

    `connections` is the most that may be open at once, to all receivers together. `nodes` are sending processes: of
    more than one, none is this. `rules` judge replies; None: ours. `sweep_seconds` is how often idle lanes, orders and
    a full disk are looked for. `most_sites` are counted one by one. `watch` the event loop: off on one whose time is
    not that of the machine.
    """

    wait: bool = True
    limit: int | None = None
    signers: int = 1
    connections: int = 1000
    nodes: int = 1
    sweep_seconds: float = SWEEP_SECONDS
    most_sites: int = MOST_SITES
    watch: bool = True
    pacing: PacingSettings = PacingSettings()
    rules: RuleBook | None = None
