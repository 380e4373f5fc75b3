"""The server's side of an SMTP connection as a state machine: bytes in, bytes out; no sockets.

The caller feeds what arrives to `receive` and writes what it returns, then looks at three marks: `hold_seconds`
(call `resume` after that time), `starting_tls` (start TLS, then call `secured`) and `closing` (write, then close;
`abrupt`: close without). Input may be split anywhere: the replies do not depend on it.

Strict where leniency hides a sender's mistakes: a message ends at CRLF.CRLF alone, and bare CR or LF is refused in
messages (554) and ends the connection in commands (521).
"""

from collections.abc import Callable

from bulkmail.sandbox import grammar
from bulkmail.sandbox.body import ChunkedBody, DottedBody
from bulkmail.sandbox.doorman import Fate
from bulkmail.sandbox.grammar import Fault
from bulkmail.sandbox.profiles import Answer
from bulkmail.sandbox.reception import Reception, Transaction

COMMAND_BYTES = 512
LONG_COMMAND_BYTES = 2048
CHUNK_BYTES = 1 << 40


class Dialogue:
    """One connection. `reception` decides and keeps; this machine speaks and counts."""

    def __init__(self, reception: Reception) -> None:
        self.reception = reception
        self.manners = reception.manners
        self.hold_seconds = 0.0
        self.closing = False
        self.abrupt = False
        self.starting_tls = False
        self.close_reason = "peer"
        self.commands = 0
        self.messages = 0
        self.greeted: str | None = None
        self.tls: str | None = None
        self.transaction: Transaction | None = None
        self._body: DottedBody | ChunkedBody | None = None
        self._buffer = bytearray()
        self._scanned = 0
        self._overlong = False
        self._bad = 0
        self._out: list[bytes] = []
        self._held = b""
        self._chunk_fault: Fault | None = None

    @property
    def unfinished(self) -> bool:
        """True while a message is begun and not ended."""
        return self._body is not None or (self.transaction is not None and self.transaction.chunks is not None)

    def greet(self) -> bytes:
        """The greeting, or the reply that refuses the connection."""
        refusal = self.reception.refusal
        self._answer(refusal or self.manners.replies.greeting)
        if refusal is not None:
            self._close("refused")
        return self._take()

    def speak_early(self) -> bytes:
        """The reply to a client that talks before it is greeted (RFC 5321 §4.3.1)."""
        self._say(554, "5.5.1", "You spoke before the greeting")
        self._close("early")
        return self._take()

    def expire(self) -> bytes:
        """The reply to a client that says nothing for too long."""
        self._say(421, "4.4.2", f"{self.reception.host} Timeout, closing the connection")
        self._close("idle")
        return self._take()

    def receive(self, data: bytes) -> bytes:
        """Take bytes as they come; returns the replies to write now."""
        self._buffer += data
        return self._run()

    def resume(self) -> bytes:
        """Go on after a hold."""
        if self.hold_seconds:
            self.hold_seconds = 0.0
            self._out.append(self._held)
            self._held = b""
        return self._run()

    def secured(self, tls: str) -> None:
        """TLS stands: all that was said before is forgotten (RFC 3207 §4.2).

        What came behind the command was not protected by what it asks for, and goes too (CVE-2011-0411).
        """
        self.tls = tls
        self.starting_tls = False
        self.greeted = None
        self.transaction = None
        self._buffer.clear()
        self._scanned = 0

    def _run(self) -> bytes:
        going = True
        while going and not (self.hold_seconds or self.closing or self.starting_tls):
            body = self._body
            if body is None:
                going = self._command()
            elif isinstance(body, DottedBody):
                going = self._message(body)
            else:
                going = self._chunk(body)
        return self._take()

    def _take(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out

    # Commands

    def _command(self) -> bool:
        buffer = self._buffer
        end = buffer.find(b"\n", self._scanned)
        if end < 0:
            if len(buffer) > LONG_COMMAND_BYTES:
                self._overlong = True
                buffer.clear()
            self._scanned = len(buffer)
            return False
        line = bytes(buffer[: end + 1])
        del buffer[: end + 1]
        self._scanned = 0
        self.commands += 1
        if self._overlong or end > LONG_COMMAND_BYTES:
            self._overlong = False
            self._bad_command(Fault(500, "5.5.2", "Line too long"))
        elif line[-2:] != b"\r\n" or b"\r" in line[:-2]:
            self._say(521, "5.5.2", "Bare CR or LF in a command, closing the connection")
            self._close("bare newline")
        else:
            self._obey(line[:-2])
        return True

    def _obey(self, line: bytes) -> None:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return self._bad_command(Fault(500, "5.5.2", "Neither ASCII nor UTF-8"))
        if not text.isprintable():
            return self._bad_command(Fault(500, "5.5.2", "Control characters in a command"))
        verb, _, argument = text.partition(" ")
        verb = verb.upper()
        handler = _VERBS.get(verb)
        if handler is None or (verb == "EHLO" and not self.manners.esmtp):
            return self._bad_command(Fault(500, "5.5.1", "Command unknown"))
        if len(line) + 2 > COMMAND_BYTES and verb not in ("MAIL", "RCPT"):
            return self._bad_command(Fault(500, "5.5.2", "Line too long"))
        try:
            return handler(self, argument)
        except Fault as fault:
            return self._bad_command(fault)

    def _bad_command(self, fault: Fault) -> None:
        # A command out of order is often only the rest of a pipelined group whose first command was refused.
        self._bad += fault.code not in (503, 554)
        if self._bad > self.manners.bad_commands:
            self._say(421, "4.7.0", f"{self.reception.host} Too many errors, closing the connection")
            self._close("errors")
        else:
            self._say(fault.code, fault.enhanced, fault.text)

    def _helo(self, argument: str) -> None:
        self.greeted = grammar.parse_greeted(argument)
        self.transaction = None
        self._say(250, "", self.reception.host)

    def _ehlo(self, argument: str) -> None:
        self.greeted = grammar.parse_greeted(argument)
        self.transaction = None
        lines = [f"{self.reception.host} at your service"]
        for keyword in self.manners.extensions:
            if keyword == "SIZE":
                lines.append(f"SIZE {self.manners.size_bytes}")
            elif keyword != "STARTTLS" or self._offers_tls:
                lines.append(keyword)
        self._say(250, "", *lines)

    @property
    def _offers_tls(self) -> bool:
        return "STARTTLS" in self.manners.extensions and self.tls is None and self.reception.tls_ready

    def _starttls(self, argument: str) -> None:
        if argument:
            raise Fault(501, "5.5.4", "STARTTLS takes no argument")
        if not self._offers_tls:
            raise Fault(503 if self.tls else 502, "5.5.1", "TLS is not offered here now")
        self._say(220, "2.0.0", "Ready to start TLS")
        self.starting_tls = True

    def _mail(self, argument: str) -> None:
        if self.greeted is None:
            raise Fault(503, "5.5.1", "EHLO or HELO first")
        if self.transaction is not None:
            raise Fault(503, "5.5.1", "A transaction is open, RSET or finish it first")
        arguments = grammar.parse_mail(argument, self.reception.extensions)
        transaction = Transaction(sender=str(arguments.sender), utf8=arguments.utf8, body=arguments.body)
        replies = self.manners.replies
        if self.manners.tls_required and self.tls is None:
            return self._refuse("mail", replies.tls_required, transaction)
        if self.messages >= self.manners.messages_per_connection:
            self._refuse("mail", replies.message_limit, transaction)
            return self._close("message limit")
        if arguments.size_bytes > self.manners.size_bytes:
            return self._refuse("mail", _TOO_LARGE, transaction)
        throttled = self.reception.throttle("mail")
        if throttled is not None:
            return self._refuse("mail", throttled, transaction)
        self.transaction = transaction
        return self._say(250, "2.1.0", "Sender ok")

    def _rcpt(self, argument: str) -> None:
        transaction = self.transaction
        if transaction is None or transaction.chunks is not None:
            raise _no_mail() if transaction is None else Fault(503, "5.5.1", "The message has begun")
        recipient = grammar.parse_rcpt(argument, utf8=transaction.utf8)
        address = str(recipient)
        if len(transaction.recipients) >= self.manners.recipients_per_message:
            return self._refuse("rcpt", _TOO_MANY, transaction, address)
        fate, refusal = self.reception.recipient(address, grammar.ascii_domain(recipient.domain))
        if refusal is not None:
            return self._refuse("rcpt", refusal, transaction, address)
        transaction.recipients.append(address)
        transaction.fates.append(fate)
        return self._say(250, "2.1.5", "Recipient ok")

    def _data(self, argument: str) -> None:
        if argument:
            raise Fault(501, "5.5.4", "DATA takes no argument")
        transaction = self._ready()
        if transaction.chunks is not None:
            self.transaction = None
            raise Fault(503, "5.5.1", "DATA after BDAT")
        if not transaction.recipients and self.manners.data_without_recipients != "take":
            if self.manners.data_without_recipients == "reset":
                self.transaction = None
            raise _no_recipients()
        self._body = DottedBody(self.manners.size_bytes)
        return self._say(354, "", "End data with <CR><LF>.<CR><LF>")

    def _ready(self) -> Transaction:
        if self.transaction is None:
            raise _no_mail()
        return self.transaction

    def _bdat(self, argument: str) -> None:
        size, _, last = argument.partition(" ")
        if "CHUNKING" not in self.manners.extensions:
            raise Fault(502, "5.5.1", "CHUNKING is not offered here")
        if not (size.isascii() and size.isdigit()) or last.upper() not in ("", "LAST") or int(size) > CHUNK_BYTES:
            # The octets that follow cannot be told from commands any more.
            self._say(501, "5.5.4", "Syntax: BDAT SIZE [LAST]; the chunk has no known end, closing the connection")
            return self._close("errors")
        transaction = self.transaction
        if transaction is None or not transaction.recipients:
            self._chunk_fault = _no_mail() if transaction is None else _no_recipients()
            body = ChunkedBody(0)
        else:
            body = transaction.chunks = transaction.chunks or ChunkedBody(self.manners.size_bytes)
        body.begin(int(size), last=bool(last))
        self._body = body
        return None

    def _rset(self, argument: str) -> None:
        if argument:
            raise Fault(501, "5.5.4", "RSET takes no argument")
        self.transaction = None
        self._say(250, "2.0.0", "Reset")

    def _noop(self, argument: str) -> None:
        self._say(250, "2.0.0", "Nothing done")

    def _vrfy(self, argument: str) -> None:
        self._say(252, "2.5.0", "Cannot verify; send mail and see")

    def _unoffered(self, argument: str) -> None:
        raise Fault(502, "5.5.1", "Not offered here")

    def _quit(self, argument: str) -> None:
        if argument:
            raise Fault(501, "5.5.4", "QUIT takes no argument")
        self._say(221, "2.0.0", f"{self.reception.host} Goodbye")
        self._close("quit")

    # Messages

    def _message(self, body: DottedBody) -> bool:
        message = body.take(self._buffer)
        if message is None:
            return False
        self._body = None
        self._finish(self._ready(), message, oversize=body.oversize)
        return True

    def _chunk(self, body: ChunkedBody) -> bool:
        if not body.take(self._buffer):
            return False
        self._body = None
        fault, self._chunk_fault = self._chunk_fault, None
        if fault is not None:
            self.transaction = None
            self._bad_command(fault)
        elif body.last or body.oversize:
            self._finish(self._ready(), bytes(body.content), oversize=body.oversize)
        else:
            self._say(250, "2.0.0", "Chunk received")
        return True

    def _finish(self, transaction: Transaction, message: bytes, *, oversize: bool) -> None:
        """Judge and keep a whole message; whatever the answer, the transaction is over."""
        self.transaction = None
        if oversize:
            return self._refuse("message", _TOO_LARGE, transaction, *transaction.recipients)
        refusal = self.reception.judge(transaction, message)
        if refusal is not None:
            return self._refuse("message", refusal, transaction, *transaction.recipients)
        fates = transaction.fates
        if Fate.CUT in fates:
            return self._close("cut", abrupt=True)
        replied = Fate.DROP not in fates
        try:
            identity = self.reception.accept(transaction, message, self.greeted, self.tls, replied=replied)
        except OSError:
            return self._refuse("message", _NO_ROOM, transaction, *transaction.recipients)
        self.messages += 1
        if not replied:
            return self._close("drop", abrupt=True)
        delay = self.manners.slow_seconds if Fate.SLOW in fates else 0.0
        self._answer(self.manners.replies.accepted, identity=identity, delay_seconds=delay)
        if self.messages == self.manners.messages_per_connection and self.manners.at_message_limit == "close":
            self._close("message limit")
        return None

    # Replies

    def _refuse(self, stage: str, answer: Answer, transaction: Transaction, *recipients: str) -> None:
        for recipient in recipients or (None,):
            self.reception.refuse(stage, answer, transaction, recipient, self.greeted, self.tls)
        self._answer(answer, address=recipients[0] if recipients else "")
        if answer.code == 421:
            self._close("421")

    def _answer(self, answer: Answer, *, address: str = "", identity: str = "", delay_seconds: float = 0.0) -> None:
        lines = self.reception.fill(answer, address=address, identity=identity)
        self._say(answer.code, answer.enhanced or "", *lines, delay_seconds=delay_seconds)

    def _say(self, code: int, enhanced: str, *lines: str, delay_seconds: float = 0.0) -> None:
        mark = f"{enhanced} " if enhanced and self.reception.marks_replies else ""
        last = len(lines) - 1
        text = "".join(f"{code}{' ' if at == last else '-'}{mark}{line}\r\n" for at, line in enumerate(lines))
        delay_seconds += self.manners.reply_delay_seconds
        if delay_seconds:
            self.hold_seconds, self._held = delay_seconds, text.encode()
        else:
            self._out.append(text.encode())

    def _close(self, reason: str, *, abrupt: bool = False) -> None:
        self.closing, self.abrupt, self.close_reason = True, abrupt, reason


def _no_mail() -> Fault:
    return Fault(503, "5.5.1", "MAIL first")


def _no_recipients() -> Fault:
    return Fault(554, "5.5.1", "No valid recipients")


_TOO_LARGE = Answer("552 5.3.4 Message larger than this exchanger takes")
_TOO_MANY = Answer("452 4.5.3 Too many recipients in one message")
_NO_ROOM = Answer("452 4.3.1 Insufficient system storage")

_VERBS: dict[str, Callable[[Dialogue, str], None]] = {
    "HELO": Dialogue._helo,
    "EHLO": Dialogue._ehlo,
    "STARTTLS": Dialogue._starttls,
    "MAIL": Dialogue._mail,
    "RCPT": Dialogue._rcpt,
    "DATA": Dialogue._data,
    "BDAT": Dialogue._bdat,
    "RSET": Dialogue._rset,
    "NOOP": Dialogue._noop,
    "VRFY": Dialogue._vrfy,
    "HELP": Dialogue._unoffered,
    "EXPN": Dialogue._unoffered,
    "AUTH": Dialogue._unoffered,
    "ETRN": Dialogue._unoffered,
    "QUIT": Dialogue._quit,
}
