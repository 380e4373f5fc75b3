cdef struct Buffer:
    unsigned char *data
    Py_ssize_t length
    Py_ssize_t capacity


cpdef enhanced_code(bytes text, int code)


cdef class ReplyParser:
    cdef Buffer line         # the beginning of a line whose end has not come
    cdef Buffer text         # the lines so far of a reply that goes on
    cdef Py_ssize_t held     # raw bytes of those lines
    cdef int lines
    cdef int code            # of the reply that goes on; 0 between replies
    cdef readonly str failure

    cpdef list feed(self, bytes data)
    cdef str judge(self, const unsigned char *line, Py_ssize_t length, bint whole)
    cdef str take(self, const unsigned char *line, Py_ssize_t length, list replies)
