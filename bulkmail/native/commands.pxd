cpdef bytes command_line(bytes text, bint utf8=*)
cdef bytes size_parameter(Py_ssize_t size)
cdef bytes path_line(bytes start, bytes path, bytes parameters, bint utf8)
