"""A message that is ready for the wire, and whose delivery it is."""


cdef class Message:
    def __cinit__(self):
        self.signature = b""

    def __init__(
        self,
        *,
        chunk,
        int index,
        int attempt,
        str address not None,
        bytes sender not None,
        bytes recipient not None,
        bytes data not None,
        str message_id not None,
        bint utf8=False,
    ):
        self.chunk = chunk
        self.index = index
        self.attempt = attempt
        self.address = address
        self.sender = sender
        self.recipient = recipient
        self.data = data
        self.message_id = message_id
        self.utf8 = utf8

    @property
    def size_bytes(self):
        return self.size()

    cdef Py_ssize_t size(self):
        return len(self.signature) + len(self.data)
