"""Pair commands with replies over many mail transactions on one SMTP connection (RFC 5321, RFC 2920, RFC 3030).

Sans-I/O: parsed replies in, bytes out. The queue of awaited replies is the whole truth about the connection, so a
reply is never paired with another command than the one it answers.

    DATA, pipelined   MAIL RCPT DATA | body . MAIL RCPT DATA | body . ...     one round trip a message
    DATA, alone       MAIL | RCPT | DATA | body . | ...                       servers without PIPELINING
    BDAT, window n    (RSET MAIL RCPT BDAT-LAST body) x n in flight           less than one round trip a message

Not here: greeting, EHLO, STARTTLS and AUTH (bulkmail.smtp.handshake); timeouts and sockets (bulkmail.net).
"""

from bulkmail.native.commands cimport path_line, size_parameter

cdef enum:
    # The values of bulkmail.model.delivery.Stage.
    MAIL = 7
    RCPT = 8
    DATA = 9
    MESSAGE = 10
    RSET = 11
    QUIT = 12
    MAX_WINDOW = 64

cdef dict NAMES = {MAIL: "MAIL", RCPT: "RCPT", MESSAGE: "the end of a message", RSET: "RSET"}


cdef class Transaction:
    pass


cdef class Transactions:
    """The transactions of one greeted connection.

    `pipelining` and `size` are what EHLO offered; `chunking` asks for BDAT where that was offered (only with
    pipelining), with `window` transactions in flight (at most 64); `max_messages` ends the connection after so many.
    `dismissed`: the last reply was 421, by which the server says that it does nothing more. `proven` counts
    transactions by BDAT that filled the window and whose replies were right; `anomaly` is the first reply that a server
    which keeps its replies in order would not give.
    """

    def __cinit__(self, *, bint pipelining, bint chunking=False, bint size=False, int window=1,
                  Py_ssize_t max_messages=100):
        self.pipelining = pipelining
        self.size = size
        self.chunking = pipelining and chunking
        self.set_window(window)
        self.max_messages = max_messages
        self.out = []
        self.begun = []
        self.misunderstood = []
        self.open = []
        self.owners = [None] * RING

    # Inputs.

    def set_window(self, int window):
        """From now on so many transactions in flight; 1 without CHUNKING."""
        if window < 1 or window > MAX_WINDOW:
            raise ValueError(f"window is {window}, it must be from 1 to {MAX_WINDOW}")
        self.window = window if self.chunking else 1

    def give_up_chunking(self):
        """DATA from now on. What is in flight goes on as it was begun."""
        self.chunking = False
        self.window = 1

    @property
    def wants(self):
        """True where the envelope of one more message would leave at once."""
        return self.ready()

    cdef bint ready(self):
        cdef Py_ssize_t flying = len(self.open)
        if self.closing or self.submitted >= self.max_messages:
            return False
        if self.chunking:
            return flying < self.window
        if flying == 0:
            return self.awaited == 0 or self.pipelining
        if not self.pipelining:
            return False
        # The one in flight has ended: the next envelope travels behind its body (RFC 2920 §3.1).
        return flying == 1 and (<Transaction> self.open[0]).ended

    def submit(self, message, bytes sender not None, bytes recipient not None, bytes data not None,
               *, bint utf8=False, Py_ssize_t size_bytes=-1, bytes mail=b"", bytes rcpt=b"",
               bytes head=b""):
        """Begin a transaction: `data` is the message, normalised and (for DATA) dot-stuffed, ending in CRLF; `head` are
        header lines in front of it, each whole and none beginning with a dot.

        `size_bytes` is its size without doubled dots (RFC 1870 §3), where that differs. `mail` and `rcpt` are more
        parameters of the two commands, each with its space before it. `utf8`: the message is an internationalized one,
        in headers and envelope. Raises ValueError where a path or parameter holds a control character or is too long;
        nothing is written then.
        """
        if not self.ready():
            raise RuntimeError("the session does not want a message now")
        self.begin(message, sender, recipient, head, data, utf8, size_bytes, mail, rcpt)

    cdef int begin(
        self, message, bytes sender, bytes recipient, bytes head, bytes data, bint utf8, Py_ssize_t size_bytes, bytes mail,
        bytes rcpt
    ) except -1:
        cdef Transaction transaction
        cdef bytes parameters = b""
        if self.size:
            parameters = size_parameter(len(head) + len(data) if size_bytes < 0 else size_bytes)
        if utf8:
            # RFC 6531 §3.1 (8), §3.4: servers that offer one offer the other.
            parameters += b" BODY=8BITMIME SMTPUTF8"
        mail_line = path_line(b"MAIL FROM:", sender, parameters + mail if mail else parameters, utf8)
        transaction = Transaction.__new__(Transaction)
        transaction.message = message
        transaction.recipient = path_line(b"RCPT TO:", recipient, rcpt, utf8)
        transaction.head, transaction.data = head, data
        transaction.stage = MAIL
        self.open.append(transaction)
        self.submitted += 1
        if self.chunking or self.dirty:
            self.send(b"RSET\r\n", RSET, None)
            self.dirty = False
        self.send(mail_line, MAIL, transaction)
        if self.pipelining:
            self.send(transaction.recipient, RCPT, transaction)
            if self.chunking:
                transaction.chunked = True
                transaction.filling = len(self.open) == self.window
                # What a refused recipient leaves behind, an envelope for DATA must not find.
                self.dirty = True
                self.write(b"BDAT %d LAST\r\n" % (len(head) + len(data)))
                self.finish(transaction, b"")
            else:
                self.send(b"DATA\r\n", DATA, transaction)
        return 0

    cpdef list answer(self, list replies):
        """Take replies in order of arrival; the results that follow: (message, stage, code, text) each.

        Stage and code are those of the reply that decided: 2xx at MESSAGE is a delivery. A reply that nothing asked
        for, or one that makes no sense for its command, sets `error`; what follows it is not looked at. It raises
        nothing, for the results before it must not be lost with it.
        """
        cdef list results = []
        cdef int code
        for code, text in replies:
            self.pair(code, text, results)
            if self.error is not None:
                self.closing = True
                break
        return results

    def quit(self):
        """Say QUIT once nothing is in flight (RFC 5321 §4.1.1.10)."""
        if not self.quitting and not self.open:
            self.quitting = self.closing = True
            self.send(b"QUIT\r\n", QUIT, None)

    def abandon(self, *, bint closed=False, long long unwritten_bytes=0):
        """The connection is gone: every message without a result, as (message, stage waited for, may be delivered).

        `closed`: the server ended it. Where 421 was the last that it said, it took nothing of what came after: 421 is
        the end of its service (RFC 5321 §4.2.3), and replies come in the order of commands (RFC 2920 §3.2).
        `unwritten_bytes` of what was handed out never left: a message whose end is among them was not sent.
        """
        cdef Transaction transaction
        cdef list left = []
        cdef bint taken
        self.withdraw()
        for transaction in self.open:
            if not transaction.failed:
                taken = transaction.ended and transaction.end <= self.written_bytes - unwritten_bytes
                if closed and self.dismissed:
                    taken = False
                left.append((transaction.message, transaction.stage, taken))
        self.open.clear()
        self.awaited = self.unsent = 0
        self.closing = True
        return left

    # Outputs.

    def outgoing(self):
        """The bytes to write now, or b"". `take_begun` must be recorded before they leave."""
        return self.taken()

    cdef bytes taken(self):
        if not self.out:
            return b""
        data = b"".join(self.out)
        self.out.clear()
        self.unsent = 0
        return data

    def take_begun(self):
        """The messages whose last byte is in the bytes that `outgoing` hands out next."""
        if not self.begun:
            return ()
        messages = [(<Transaction> transaction).message for transaction in self.begun]
        self.begun.clear()
        return messages

    def take_misunderstood(self):
        """The messages whose BDAT the server did not know for a command: they have no result, and were not taken."""
        messages = self.misunderstood
        if messages:
            self.misunderstood = []
        return messages

    @property
    def stage(self):
        """The stage of the oldest awaited reply, 0 where none is: what a timeout is measured for."""
        return self.stages[self.head] if self.awaited else 0

    @property
    def asked(self):
        """True where a command that was handed out has no reply yet: only then may the server say anything but 421."""
        return self.awaited > self.unsent

    @property
    def in_flight(self):
        return len(self.open)

    @property
    def oldest(self):
        """The message whose transaction was begun first of those in flight; None where none is."""
        return (<Transaction> self.open[0]).message if self.open else None

    @property
    def may_be_taken(self):
        """True where the last byte of a message in flight was handed out: its end leaves a doubt."""
        return any((<Transaction> transaction).ended for transaction in self.open)

    @property
    def windowed(self):
        """True where more than one transaction by BDAT is in flight: what goes wrong now may be the window's doing."""
        return len(self.open) > 1 and (<Transaction> self.open[0]).chunked

    @property
    def finished(self):
        """True after the reply to QUIT."""
        return self.quitting and self.awaited == 0

    # The state machine.

    cdef write(self, bytes data):
        self.out.append(data)
        self.written_bytes += len(data)

    cdef send(self, bytes command, int stage, Transaction owner):
        cdef int slot = (self.head + self.awaited) % RING
        self.write(command)
        self.stages[slot] = stage
        self.owners[slot] = owner
        self.awaited += 1
        self.unsent += 1

    cdef finish(self, Transaction transaction, bytes terminator):
        """The message itself and its end."""
        if transaction.head:
            self.write(transaction.head)
        self.write(transaction.data)
        self.send(terminator, MESSAGE, transaction)
        transaction.end = self.written_bytes
        transaction.ended = True
        transaction.head = transaction.data = None
        self.begun.append(transaction)

    cdef withdraw(self):
        """What was not handed out never will be."""
        cdef Transaction transaction
        for transaction in self.begun:
            transaction.ended = False
        self.begun.clear()
        for data in self.out:
            self.written_bytes -= len(<bytes> data)
        self.out.clear()

    cdef drop(self, Transaction transaction):
        self.open.remove(transaction)
        if self.dirty and not self.pipelining and not self.closing:
            # Alone in its flight; with pipelining it travels ahead of the next MAIL.
            self.dirty = False
            self.send(b"RSET\r\n", RSET, None)

    cdef fail(self, Transaction transaction, int stage, int code, text, list results):
        if not transaction.failed:
            transaction.failed = True
            self.dirty = True
            results.append((transaction.message, stage, code, text))

    cdef pair(self, int code, text, list results):
        cdef Transaction transaction
        cdef int stage
        cdef bint positive = 200 <= code < 300
        if self.awaited == self.unsent:
            self.closing = True
            if code == 421:
                # RFC 5321 §3.8: a server may say 421 to nothing when it shuts down.
                self.shut(text, results)
                return
            self.error = f"a reply that nothing asked for: {code} {text[:200]!r}"
            return
        stage = self.stages[self.head]
        transaction = <Transaction> self.owners[self.head]
        self.owners[self.head] = None
        self.head = (self.head + 1) % RING
        self.awaited -= 1
        self.dismissed = code == 421
        if self.dismissed:
            self.closing = True
        if 300 <= code < 400 and stage != DATA and stage != QUIT:
            # Some other command's reply. A message whose end was written stays in doubt.
            self.error = f"{code} in reply to {NAMES[stage]}"
            return
        if stage == MAIL:
            if not positive:
                self.fail(transaction, MAIL, code, text, results)
                if not self.pipelining:
                    self.drop(transaction)
            else:
                transaction.stage = RCPT
                if not self.pipelining:
                    self.send(transaction.recipient, RCPT, transaction)
        elif stage == RCPT:
            if not positive:
                self.fail(transaction, RCPT, code, text, results)
                if not self.pipelining:
                    self.drop(transaction)
            else:
                transaction.stage = MESSAGE if transaction.ended else DATA
                if not self.pipelining:
                    self.send(b"DATA\r\n", DATA, transaction)
        elif stage == DATA:
            if 300 <= code < 400:
                if transaction.failed:
                    # RFC 2920 §3.1: the server wants a message for nobody; it gets an empty one.
                    self.send(b".\r\n", MESSAGE, transaction)
                    transaction.ended = True
                else:
                    transaction.stage = MESSAGE
                    self.finish(transaction, b".\r\n")
            elif positive:
                self.error = f"{code} in reply to DATA, where 354 or a refusal belongs"
            else:
                self.fail(transaction, DATA, code, text, results)
                self.drop(transaction)
        elif stage == MESSAGE:
            if transaction.chunked:
                self.prove(transaction, code, text)
            if positive and not transaction.failed:
                self.completed += 1
                results.append((transaction.message, MESSAGE, code, text))
            else:
                self.fail(transaction, MESSAGE, code, text, results)
            self.drop(transaction)
        elif stage == RSET and not positive:
            # RFC 5321 §4.1.1.5 has no refusal of RSET: what is in flight goes on, nothing more is begun, QUIT follows.
            self.max_messages = self.submitted
            if code != 421:
                self.suspect(f"RSET was refused: {code} {text[:200]!r}")

    cdef prove(self, Transaction transaction, int code, text):
        """The reply to BDAT LAST, held against what a server that reads the window in order would say."""
        if transaction.failed and 200 <= code < 300:
            self.suspect(f"a message was accepted for nobody: {code} {text[:200]!r}")
        elif not transaction.failed and 500 <= code < 505:
            self.suspect(f"BDAT was not understood: {code} {text[:200]!r}")
            transaction.failed = True
            self.misunderstood.append(transaction.message)
        elif transaction.filling and self.anomaly is None and code != 421:
            self.proven += 1

    cdef suspect(self, str what):
        if self.anomaly is None:
            self.anomaly = what

    cdef shut(self, text, list results):
        """421 ahead of commands that were not handed out: it is the reply to the oldest, and none of them leaves."""
        cdef Transaction transaction
        self.withdraw()
        if self.awaited:
            transaction = <Transaction> self.owners[self.head]
            if transaction is not None:
                self.fail(transaction, self.stages[self.head], 421, text, results)
                self.open.remove(transaction)
        self.awaited = self.unsent = 0
