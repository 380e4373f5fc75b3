"""What a connection asks of whoever decides for it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from bulkmail.model.delivery import Reason
from bulkmail.native.conveyor import Conveyor
from bulkmail.native.message import Message
from bulkmail.native.reply import ReplyParser

if TYPE_CHECKING:
    from bulkmail.net.connection import Connection

# Of a reply that decided something: message, stage, code, text. Of a message without one: stage, may be delivered.
Result = tuple[Message, int, int, bytes]
Left = tuple[Message, int, bool]


class Owner(Protocol):
    """Who decides for a connection. All methods are called on the event loop and must not block."""

    def conveyor(self, connection: "Connection", parser: ReplyParser, *, plain: bool) -> Conveyor | None:
        """The short way for a connection that may begin transactions, if there is one; the rest is asked for below.

        Without `plain`, its envelopes have parameters that the connection puts there.
        """

    def take(self, connection: "Connection") -> Message | None:
        """The next message for the wire, its tokens debited; None where there is none now."""

    def begun(self, connection: "Connection", messages: Sequence[Message]) -> bool:
        """The last byte of these is about to be written: record the intent now.

        True: nothing may be written before `connection.release` is called, once for each.
        """

    def results(self, connection: "Connection", results: Sequence[Result]) -> None:
        """Replies that decided something, in order."""

    def unfit(self, connection: "Connection", message: Message, reason: Reason, explanation: str) -> None:
        """This server cannot take this message; nothing of it was written."""

    def again(self, connection: "Connection", messages: Sequence[Message]) -> None:
        """The server took none of these, for reasons that are not theirs, and they had an intent: send them anew."""

    def lost(self, connection: "Connection", left: Sequence[Left], reason: Reason, explanation: str) -> None:
        """The connection has ended; `left` are the messages without a result (message, stage, may be delivered)."""
