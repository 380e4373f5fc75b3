"""Carry messages from an exchange's ring over one connection, and their deliveries back, while all is as it should be.

    replies in -> paired -> 2xx to a message: written down here, anything else: handed out to be judged
    room for an envelope -> next message of the ring, if nothing but the ring decides that -> begun

Whatever needs a decision is left exactly as it was for the general way (bulkmail.net.connection, bulkmail.engine),
which would do the same with the same messages.
"""

from bulkmail.native.buckets cimport TokenBucket
from bulkmail.native.deliveries cimport Deliveries
from bulkmail.native.hashset cimport AddressSet
from bulkmail.native.message cimport Message
from bulkmail.native.reply cimport ReplyParser
from bulkmail.native.session cimport Transaction, Transactions
from bulkmail.native.stuffing cimport stuff

cdef enum:
    MESSAGE = 10         # of bulkmail.model.delivery.Stage
    DISPOSITIONS = 16    # more than there are


cdef class Dispenser:
    cdef object ring
    cdef object lane
    cdef object pacer
    cdef object suppressions
    cdef object may_begin
    cdef object on_delivered
    cdef object on_low
    cdef Deliveries deliveries
    cdef TokenBucket bucket
    cdef bint held
    cdef Py_ssize_t counts[DISPOSITIONS]
    cdef Py_ssize_t untold
    cdef public Py_ssize_t low

    def __init__(
        self, *, ring, lane, suppressions, Deliveries deliveries not None, TokenBucket bucket, bint held, may_begin,
        on_delivered, on_low
    ):
        self.ring, self.lane, self.pacer = ring, lane, lane.pacer
        self.suppressions, self.deliveries = suppressions, deliveries
        self.bucket, self.held = bucket, held
        self.may_begin, self.on_delivered, self.on_low = may_begin, on_delivered, on_low
        self.low = -1

    def forget(self):
        self.low = -1
        self.on_delivered = self.on_low = _nobody

    def take_counts(self):
        cdef int disposition
        counts = []
        for disposition in range(DISPOSITIONS):
            if self.counts[disposition]:
                counts.append((disposition, self.counts[disposition]))
                self.counts[disposition] = 0
        self.untold = 0
        return counts

    cdef Message next(self, double now):
        """The message that would be taken now; None where there is none, or more has to be asked."""
        cdef Message message
        cdef AddressSet known
        if self.held or not self.ring or not self.may_begin() or self.pacer.paused_until > now:
            return None
        if self.bucket is not None and self.bucket.wait_seconds(now) > 0:
            return None
        message = self.ring[0]
        known = self.suppressions.quick
        if known is None:
            return None
        if known.count and known.holds_address(self.suppressions.everywhere, message.recipient):
            return None
        prefix = message.chunk.list_prefix
        if prefix is not None and known.count and known.holds_address(prefix, message.recipient):
            return None
        return message

    cdef int taken(self, double now) except -1:
        lane = self.lane
        self.ring.popleft()
        if self.bucket is not None:
            self.bucket.take(now)
        lane.waiting -= 1
        lane.touched = now
        return 0

    cdef int delivered(self, int before) except -1:
        self.counts[before] += 1
        self.untold += 1
        if self.untold == 1:
            self.on_delivered()
        if len(self.ring) <= self.low:
            self.low = -1
            self.on_low()
        return 0


cdef class Conveyor:
    cdef ReplyParser parser
    cdef Transactions transactions
    cdef Dispenser dispenser
    cdef Deliveries deliveries
    cdef bytes passage
    cdef Py_ssize_t most_bytes
    cdef bint plain

    def __init__(
        self,
        ReplyParser parser not None,
        Transactions transactions not None,
        Dispenser dispenser not None,
        *,
        str site,
        str host,
        str source,
        str tls,
        Py_ssize_t most_bytes,
        bint plain,
    ):
        self.parser, self.transactions, self.dispenser = parser, transactions, dispenser
        self.deliveries = dispenser.deliveries
        self.passage = self.deliveries.lines.passage(site, host, source, tls)
        self.most_bytes = most_bytes
        self.plain = plain

    cpdef list receive(self, bytes data, double now):
        cdef list replies = self.parser.feed(data)
        cdef list results
        cdef tuple result
        cdef Py_ssize_t done = 0
        cdef int code, before
        if not replies:
            return None
        results = self.transactions.answer(replies)
        for result in results:
            code = result[2]
            if <int>result[1] != MESSAGE or not 200 <= code < 300:
                break
            before = self.deliveries.deliver(<Message?>result[0], code, result[3], self.passage, now)
            if before < 0:
                break
            self.dispenser.delivered(before)
            done += 1
        return results[done:] if done else results

    def turn(self, bytes data not None, double now):
        cdef list results = self.receive(data, now)
        if results is None or results or not self.is_well():
            return results
        self.fill(now)
        if self.transactions.ready() or not self.transactions.awaited or not self.intend():
            return results
        return self.transactions.taken()

    @property
    def well(self):
        return self.is_well()

    cdef bint is_well(self):
        cdef Transactions transactions = self.transactions
        return (
            transactions.error is None
            and self.parser.failure is None
            and not transactions.chunking
            and transactions.anomaly is None
            and self.parser.held + self.parser.line.length == 0
        )

    cpdef int fill(self, double now) except -1:
        cdef Message message
        cdef Transactions transactions = self.transactions
        if not self.plain:
            return 0
        while transactions.ready():
            message = self.dispenser.next(now)
            if message is None or message.utf8 or message.size() > self.most_bytes:
                return 0
            data = message.data if transactions.chunking else stuff(message.data)
            try:
                transactions.begin(
                    message, message.sender, message.recipient, message.signature, data, False, message.size(), b"", b""
                )
            except ValueError:
                return 0
            message.started = now
            self.dispenser.taken(now)
        return 0

    cpdef bint intend(self) except -1:
        cdef Transaction transaction
        cdef list begun = self.transactions.begun
        for transaction in begun:
            if not self.deliveries.intend(<Message?>transaction.message):
                return False
        begun.clear()
        return True


def _nobody():
    pass
