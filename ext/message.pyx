"""A message that is ready for the wire, and whose delivery it is."""


cdef class Message:
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
