"""What an answer means: about whom, what becomes of the recipient, what the lane should do."""

from enum import StrEnum

from msgspec import Struct

from bulkmail.model.delivery import Disposition, Reason

NO_REPLY = "failure"


class Subject(StrEnum):
    """Whom an answer is about, and so what may be tried next.

    `RECIPIENT`, `MESSAGE`: this address or this content; the same connection goes on with the next envelope.
    `CONNECTION`: this connection or host; another host of the site may be tried before the lane acts.
    `LANE`: our source at this site; trying another recipient or host now is no use.
    """

    RECIPIENT = "recipient"
    MESSAGE = "message"
    CONNECTION = "connection"
    LANE = "lane"


class LaneAction(StrEnum):
    """What the lane should do; `pacing.Pacer` knows how.

    `WATCH`: nothing, unless the lane hears nothing else for a while. `SLOW`: fewer connections, lower rate.
    `RECYCLE`: this connection has had its share of messages; open another. `PAUSE`: nothing is sent for a time.
    """

    NONE = "none"
    WATCH = "watch"
    SLOW = "slow"
    RECYCLE = "recycle"
    PAUSE = "pause"


class Verdict(Struct, frozen=True, kw_only=True):
    """The decision on one answer.

    `disposition` is the recipient's, who was being served. `charged`: this was an attempt of the recipient, whose next
    is due by the retry schedule; where False, the recipient goes back to its lane as if never taken (behind the others,
    so that one that always draws such an answer holds up nobody). `suppress`: never mail the address again.
    `pause_seconds`: the least pause where `lane` is `PAUSE`, before scaling; 0 leaves it to the pacer. `rule`: the
    entry of `replies.toml` that decided, or `failure`.
    """

    subject: Subject
    disposition: Disposition
    reason: Reason
    rule: str
    charged: bool = True
    suppress: bool = False
    lane: LaneAction = LaneAction.NONE
    pause_seconds: float = 0.0
