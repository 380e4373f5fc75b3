"""The state of a session, for natives that work on it without going through Python."""

cdef enum:
    # Replies that can be outstanding: four a transaction (RSET MAIL RCPT BDAT), and QUIT.
    RING = 272


cdef class Transaction:
    cdef object message
    cdef bytes recipient  # the whole RCPT line
    cdef bytes head
    cdef bytes data
    cdef int stage       # the earliest command whose reply is still out
    cdef bint failed     # its result is out; the replies that still come are swallowed
    cdef bint ended      # its last byte was handed out: from here on it may have been delivered
    cdef bint chunked    # by BDAT
    cdef bint filling    # it took the last place of the window
    cdef long long end   # where its last byte is among all bytes of the connection


cdef class Transactions:
    cdef readonly bint pipelining
    cdef readonly bint size
    cdef readonly int window
    cdef readonly Py_ssize_t max_messages
    cdef readonly Py_ssize_t submitted
    cdef readonly Py_ssize_t completed
    cdef readonly Py_ssize_t proven
    cdef readonly long long written_bytes
    cdef readonly bint chunking
    cdef readonly str anomaly
    cdef readonly bint closing
    cdef readonly bint dismissed
    cdef readonly str error
    cdef bint dirty
    cdef readonly bint quitting
    cdef list out
    cdef list begun
    cdef list misunderstood
    cdef list open
    cdef list owners
    cdef int[RING] stages
    cdef int head
    cdef int awaited
    cdef int unsent      # the last so many of the awaited: their commands are in `out` still

    cdef bint ready(self)
    cdef int begin(
        self, message, bytes sender, bytes recipient, bytes head, bytes data, bint utf8, Py_ssize_t size_bytes, bytes mail,
        bytes rcpt
    ) except -1
    cpdef list answer(self, list replies)
    cdef bytes taken(self)
    cdef write(self, bytes data)
    cdef send(self, bytes command, int stage, Transaction owner)
    cdef finish(self, Transaction transaction, bytes terminator)
    cdef withdraw(self)
    cdef drop(self, Transaction transaction)
    cdef fail(self, Transaction transaction, int stage, int code, text, list results)
    cdef pair(self, int code, text, list results)
    cdef prove(self, Transaction transaction, int code, text)
    cdef suspect(self, str what)
    cdef shut(self, text, list results)
