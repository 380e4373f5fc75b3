"""Write down what needs no thought: the intent of a message, and its delivery in column, journal and event log at once.

In this order, so that whoever reads one has what is before it: the column of the chunk, the journal, the event line.
"""

from libc.math cimport floor

from bulkmail.native.records cimport mark_delivered

cdef extern from "Python.h":
    str PyUnicode_FromFormat(const char *format, ...)

cdef enum:
    BEHIND_SECONDS = 5   # .123Z


cdef class Deliveries:
    def __init__(
        self,
        *,
        journal,
        DeliveredLines lines not None,
        time,
        stamp,
        int few,
        on_first,
        on_few,
        bint intents_wanted,
    ):
        self.journal, self.writer, self.lines = journal, journal.writer, lines
        self.time, self.stamp = time, stamp
        self.few = few
        self.on_first, self.on_few = on_first, on_few
        self.intents_wanted = intents_wanted
        self.milliseconds = -1

    cdef bint intend(self, Message message) except -1:
        """Record the intent; False, with nothing recorded, where that is not as simple as usual."""
        if not self.intents_wanted:
            return False
        return self.writer.intent(message.chunk.number, message.index, message.attempt, self.time())

    cdef int deliver(self, Message message, int code, bytes text, bytes passage, double now) except -2:
        """Record a delivery. The disposition that was there before it, or -1, with nothing recorded, where that is not
        as simple as usual. Raises what the journal raises."""
        cdef double time
        cdef Py_ssize_t size = self.lines.size
        cdef int before, outstanding
        if passage is None:
            return -1
        time = self.time()
        if not self.lines.line(
            self.text_of(time), message.address, message.attempt, code, text, passage, message.size(),
            (now - message.started) * 1000, message.message_id
        ):
            return -1
        try:
            active = message.chunk
            number = active.number
            column = active.chunk.outcomes
            before = mark_delivered(column.records, message.index, message.attempt, code, time)
            if column.texts:
                column.texts.pop(message.index, None)
            column.changes += 1
            if not self.writer.delivered(number, message.index, message.attempt, code, time):
                self.journal.delivered(number, message.index, message.attempt, code, time)
        except BaseException:
            self.lines.size = size
            raise
        if size == 0:
            self.on_first()
        outstanding = active.outstanding - 1
        active.outstanding = outstanding
        if outstanding == 0 or outstanding == self.few:
            self.on_few(active)
        return before

    cdef str text_of(self, double time):
        """The stamp of a time: put into words once a second, and once a millisecond what is behind the point."""
        cdef long long milliseconds = <long long>floor(time * 1000)
        if milliseconds != self.milliseconds:
            if milliseconds // 1000 != self.milliseconds // 1000:
                self.seconds_text = self.stamp(milliseconds // 1000)[:-BEHIND_SECONDS]
            self.milliseconds = milliseconds
            self.time_text = PyUnicode_FromFormat("%U.%03dZ", <void *>self.seconds_text, <int>(milliseconds % 1000))
        return self.time_text
