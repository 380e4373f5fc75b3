"""What came back about a message that was sent: the values that the parsers of this package make."""

from enum import StrEnum

from msgspec import Struct

from bulkmail.errors import RemoteError
from bulkmail.model.delivery import Stage

DIAGNOSTIC_LIMIT = 4096
RECIPIENT_LIMIT = 1000
STANDARD = "delivery status"  # the `source` of what is told in the fields of RFC 3464


class FeedbackError(RemoteError):
    """Bytes that are not taken for a message: over a limit. To be set aside with this text as the reason."""


class Kind(StrEnum):
    """What a message is. Only `BOUNCE` and `COMPLAINT` may ever have an effect."""

    BOUNCE = "bounce"
    DELAYED = "delayed"
    COMPLAINT = "complaint"
    AUTOREPLY = "autoreply"
    DELIVERED = "delivered"
    NONE = "none"


class Action(StrEnum):
    """What became of one recipient (RFC 3464 §2.3.3); relayed and expanded count as delivered."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"


class ReportedRecipient(Struct, frozen=True, kw_only=True):
    """One recipient that a report speaks of.

    `address` is the one that was mailed as far as the report says (Original-Recipient before Final-Recipient);
    `final` where the mail went from there. `status` is the enhanced code of the report's own status field, `code` and
    `enhanced` what the refusing server answered; 0 and "" where nothing was said. `stage` is what it answered to,
    `Stage.NONE` where unknown. `diagnostic` is its text, at most `DIAGNOSTIC_LIMIT` characters; `quoted` is False
    where that text is only the reporting host's own account.
    """

    address: str
    action: Action
    final: str = ""
    status: str = ""
    code: int = 0
    enhanced: str = ""
    stage: Stage = Stage.NONE
    diagnostic: str = ""
    quoted: bool = False
    remote_host: str = ""


class Report(Struct, frozen=True, kw_only=True):
    """One message, understood.

    `tokens` are all strings in it that have the form of a token of ours, the most trustworthy place first; whether
    one is, only the key tells. `message_id` and `return_path` are those of the message that is reported on, without
    angle brackets. `feedback_type` is a complaint's (RFC 5965 §7.3). `source` names the way it was understood, for
    people who look for a cause.
    """

    kind: Kind
    recipients: tuple[ReportedRecipient, ...] = ()
    tokens: tuple[str, ...] = ()
    message_id: str = ""
    return_path: str = ""
    reporting_host: str = ""
    feedback_type: str = ""
    source: str = ""
