cdef class DeliveredLines:
    cdef char *buffer
    cdef Py_ssize_t size
    cdef Py_ssize_t room
    cdef object run

    cdef int reserve(self, Py_ssize_t more) except -1
    cdef int copy(self, const char *data, Py_ssize_t length) except -1
    cdef int number(self, Py_ssize_t value) except -1
    cdef bint text(self, object value) except -1
    cdef bint reply(self, int code, bytes raw) except -1
    cdef bint passage_text(self, str site, str host, str source, str tls) except -1
    cdef bint begin(self, str time, str recipient, int attempt, int code, bytes raw) except -1
    cdef bint finish(self, Py_ssize_t size_bytes, double milliseconds, str message_id) except -1
    cdef bint line(
        self, str time, str recipient, int attempt, int code, bytes raw, bytes passage, Py_ssize_t size_bytes,
        double milliseconds, str message_id,
    ) except -1
