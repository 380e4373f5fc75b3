from libc.stdint cimport uint64_t


cdef class AddressSet:
    cdef uint64_t *slots     # 0: empty
    cdef size_t capacity     # home slots
    cdef size_t total        # with the spare ones
    cdef size_t count
    cdef size_t limit        # entries above which the table grows: 7/8 of the capacity

    cdef Py_ssize_t approach(self, list keys, Py_ssize_t first, uint64_t *values) except -1
    cdef bint holds(self, uint64_t value) noexcept
    cdef int holds_address(self, bytes prefix, bytes wire) noexcept
    cdef size_t search(self, uint64_t value) noexcept
    cdef bint insert(self, uint64_t value) except -1
    cdef int rebuild(self, size_t capacity) except -1
