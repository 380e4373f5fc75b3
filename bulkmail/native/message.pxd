cdef class Message:
    cdef readonly object chunk
    cdef readonly int index
    cdef readonly int attempt
    cdef readonly str address
    cdef readonly bytes sender
    cdef readonly bytes recipient
    cdef public bytes signature
    cdef readonly bytes data
    cdef readonly str message_id
    cdef readonly bint utf8
    cdef public double started

    cdef Py_ssize_t size(self)
