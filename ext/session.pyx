"""Pair commands with replies over many mail transactions on one SMTP connection (RFC 5321, RFC 2920, RFC 3030).

Sans-I/O: parsed replies in, bytes out. The queue of awaited replies is the whole truth about the connection, so a
reply is never paired with another command than the one it answers.

    DATA, pipelined   MAIL RCPT DATA | body . MAIL RCPT DATA | body . ...     one round trip a message
    DATA, alone       MAIL | RCPT | DATA | body . | ...                       servers without PIPELINING
    BDAT, window n    (RSET MAIL RCPT BDAT-LAST body) x n in flight           less than one round trip a message

Not here: greeting, EHLO, STARTTLS and AUTH (bulkmail.smtp.handshake); timeouts and sockets (bulkmail.net).
"""

cdef enum:
    # The values of bulkmail.model.delivery.Stage.
    MAIL = 7
    RCPT = 8
    DATA = 9
    MESSAGE = 10
    RSET = 11
    QUIT = 12
    # Replies that can be outstanding: four a transaction (RSET MAIL RCPT BDAT), and QUIT.
    MAX_WINDOW = 64
    RING = 272
    # RFC 5321 §4.5.3.1.3: a path has 256 octets.
    MAX_PATH = 256

cdef dict NAMES = {MAIL: "MAIL", RCPT: "RCPT", MESSAGE: "the end of a message", RSET: "RSET"}


cdef class Transaction:
    cdef object message
    cdef bytes recipient
    cdef bytes data
    cdef int stage       # the earliest command whose reply is still out
    cdef bint failed     # its result is out; the replies that still come are swallowed
    cdef bint ended      # its last byte was handed out: from here on it may have been delivered


cdef bint is_clean(bytes path, bint utf8):
    """No control character and no bracket reaches a command line; 8-bit only under SMTPUTF8 (RFC 6531 §3.4)."""
    cdef const unsigned char *p = path
    cdef Py_ssize_t i, n = len(path)
    if n > MAX_PATH:
        return False
    for i in range(n):
        if p[i] < 0x20 or p[i] == 0x7F or p[i] == 0x3C or p[i] == 0x3E or (p[i] >= 0x80 and not utf8):
            return False
    return True


cdef class Transactions:
    """The transactions of one greeted connection.

    `pipelining`, `chunking` and `size` are what EHLO offered; `window` > 1 asks for BDAT with that many transactions
    in flight (at most 64; only with pipelining and chunking); `max_messages` ends the connection after so many.
    """

    cdef readonly bint pipelining
    cdef readonly bint size
    cdef readonly int window
    cdef readonly Py_ssize_t max_messages
    cdef readonly Py_ssize_t submitted
    cdef readonly Py_ssize_t completed
    cdef readonly Py_ssize_t tail_bytes
    cdef readonly bint closing
    cdef readonly str error
    cdef bint dirty
    cdef readonly bint quitting
    cdef list out
    cdef list begun
    cdef list open
    cdef list owners
    cdef int[RING] stages
    cdef int head
    cdef int awaited
    cdef int unsent      # the last so many of the awaited: their commands are in `out` still

    def __cinit__(self, *, bint pipelining, bint chunking=False, bint size=False, int window=1,
                  Py_ssize_t max_messages=100):
        if window < 1 or window > MAX_WINDOW:
            raise ValueError(f"window is {window}, it must be from 1 to {MAX_WINDOW}")
        self.pipelining = pipelining
        self.size = size
        self.window = window if pipelining and chunking else 1
        self.max_messages = max_messages
        self.out = []
        self.begun = []
        self.open = []
        self.owners = [None] * RING

    # Inputs.

    @property
    def wants(self):
        """True where the envelope of one more message would leave at once."""
        cdef Py_ssize_t flying = len(self.open)
        if self.closing or self.submitted >= self.max_messages:
            return False
        if self.window > 1:
            return flying < self.window
        if flying == 0:
            return self.awaited == 0 or self.pipelining
        if not self.pipelining:
            return False
        # The one in flight has ended: the next envelope travels behind its body (RFC 2920 §3.1).
        return flying == 1 and (<Transaction> self.open[0]).ended

    def submit(self, message, bytes sender not None, bytes recipient not None, bytes data not None,
               *, bint utf8=False):
        """Begin a transaction: `data` is the message, normalised and (for DATA) dot-stuffed, ending in CRLF.

        Raises ValueError where the paths hold a control character or are too long; nothing is written then.
        """
        cdef Transaction transaction
        if not self.wants:
            raise RuntimeError("the session does not want a message now")
        if not is_clean(sender, utf8) or not is_clean(recipient, utf8):
            raise ValueError("a control character, bracket or 8-bit character in an envelope address")
        transaction = Transaction.__new__(Transaction)
        transaction.message = message
        transaction.recipient = recipient
        transaction.data = data
        transaction.stage = MAIL
        self.open.append(transaction)
        self.submitted += 1
        if self.window > 1 or self.dirty:
            self.send(b"RSET\r\n", RSET, None)
            self.dirty = False
        parameters = b""
        if self.size:
            parameters = b" SIZE=%d" % len(data)
        if utf8:
            parameters += b" SMTPUTF8"
        self.send(b"MAIL FROM:<%b>%b\r\n" % (sender, parameters), MAIL, transaction)
        if self.pipelining:
            self.send(b"RCPT TO:<%b>\r\n" % recipient, RCPT, transaction)
            if self.window > 1:
                self.out.append(b"BDAT %d LAST\r\n" % len(data))
                self.finish(transaction, data, b"")
            else:
                self.send(b"DATA\r\n", DATA, transaction)

    def answer(self, list replies not None):
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

    def abandon(self):
        """The connection is gone: every message without a result, as (message, stage waited for, may be delivered)."""
        cdef Transaction transaction
        cdef list left = []
        self.withdraw()
        for transaction in self.open:
            if not transaction.failed:
                left.append((transaction.message, transaction.stage, transaction.ended))
        self.open.clear()
        self.awaited = self.unsent = 0
        self.closing = True
        return left

    # Outputs.

    def outgoing(self):
        """The bytes to write now, or b"". `take_begun` must be recorded before they leave."""
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
    def finished(self):
        """True after the reply to QUIT."""
        return self.quitting and self.awaited == 0

    # The state machine.

    cdef send(self, bytes command, int stage, Transaction owner):
        cdef int slot = (self.head + self.awaited) % RING
        self.out.append(command)
        self.stages[slot] = stage
        self.owners[slot] = owner
        self.awaited += 1
        self.unsent += 1
        self.tail_bytes += len(command)

    cdef finish(self, Transaction transaction, bytes data, bytes terminator):
        """The message itself and its end."""
        self.out.append(data)
        self.send(terminator, MESSAGE, transaction)
        self.tail_bytes = 0
        transaction.ended = True
        transaction.data = None
        self.begun.append(transaction)

    cdef withdraw(self):
        """What was not handed out never will be."""
        cdef Transaction transaction
        for transaction in self.begun:
            transaction.ended = False
        self.begun.clear()
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
        if code == 421:
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
                    self.send(b"RCPT TO:<%b>\r\n" % transaction.recipient, RCPT, transaction)
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
                    self.finish(transaction, transaction.data, b".\r\n")
            elif positive:
                self.error = f"{code} in reply to DATA, where 354 or a refusal belongs"
            else:
                self.fail(transaction, DATA, code, text, results)
                self.drop(transaction)
        elif stage == MESSAGE:
            if positive and not transaction.failed:
                self.completed += 1
                results.append((transaction.message, MESSAGE, code, text))
            else:
                self.fail(transaction, MESSAGE, code, text, results)
            self.drop(transaction)
        elif stage == RSET and not positive:
            # RFC 5321 §4.1.1.5 has no refusal of RSET: what is in flight goes on, nothing more is begun, QUIT follows.
            self.max_messages = self.submitted

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
