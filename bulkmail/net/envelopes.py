"""Begin the transaction of a message on one server, as far as that server can take it at all."""

from bulkmail.model.campaign import Dsn
from bulkmail.model.delivery import Reason
from bulkmail.native.message import Message
from bulkmail.native.session import Transactions
from bulkmail.native.stuffing import stuff
from bulkmail.smtp import notification
from bulkmail.smtp.capabilities import Capabilities

Problem = tuple[Reason, str]


class Envelopes:
    """What MAIL and RCPT say on one connection: `dsn` where that is offered, REQUIRETLS with `requiretls`."""

    def __init__(self, capabilities: Capabilities, host: str, *, dsn: Dsn | None, requiretls: bool) -> None:
        self._capabilities = capabilities
        self._host = host
        self._dsn = dsn if capabilities.dsn else None
        self._mail_parameters = b" REQUIRETLS" if requiretls else b""

    @property
    def plain(self) -> bool:
        """Whether they have no parameters but the size."""
        return self._dsn is None and not self._mail_parameters

    def begin(self, transactions: Transactions, message: Message, now: float) -> Problem | None:
        """Begin it; or nothing is written, and why this server cannot take it comes back. `now` is monotonic."""
        if (problem := self._problem(message)) is not None:
            return problem
        message.started = now
        data = message.data if transactions.chunking else stuff(message.data)
        mail, rcpt = self._mail_parameters, b""
        if self._dsn is not None:
            # The token, by which a notification is recognised as one of ours.
            mail += notification.mail_parameters(self._dsn, message.message_id.strip("<>").partition("@")[0])
            rcpt = notification.recipient_parameters(self._dsn, message.address)
        try:
            transactions.submit(
                message,
                message.sender,
                message.recipient,
                data,
                utf8=message.utf8,
                size_bytes=message.size_bytes,
                mail=mail,
                rcpt=rcpt,
                head=message.signature,
            )
        except ValueError as error:
            return Reason.BAD_ADDRESS, str(error)
        return None

    def _problem(self, message: Message) -> Problem | None:
        capabilities, limit = self._capabilities, self._capabilities.size_bytes
        if limit is not None and message.size_bytes > limit:
            return (
                Reason.TOO_LARGE,
                f"5.3.4 the message has {message.size_bytes} bytes, {self._host} takes {limit}",
            )
        if message.utf8 and not (capabilities.smtputf8 and capabilities.eight_bit_mime):
            # RFC 6531 §3.1 (8): a server with the one and without the other has neither.
            missing = "8BITMIME, which belongs to it" if capabilities.smtputf8 else "it"
            return (
                Reason.UNSUPPORTED,
                f"5.6.7 the address needs SMTPUTF8 (RFC 6531), and {self._host} does not offer {missing}",
            )
        return None
