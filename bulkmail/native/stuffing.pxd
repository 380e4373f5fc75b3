cpdef bytes stuff(bytes data)
