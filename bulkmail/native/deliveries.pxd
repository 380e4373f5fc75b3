from bulkmail.native.lines cimport DeliveredLines
from bulkmail.native.message cimport Message
from bulkmail.native.records cimport RecordWriter


cdef class Deliveries:
    cdef RecordWriter writer
    cdef DeliveredLines lines
    cdef object journal
    cdef object time
    cdef object stamp
    cdef object on_first
    cdef object on_few
    cdef int few
    cdef public bint intents_wanted
    cdef long long milliseconds
    cdef str seconds_text
    cdef str time_text

    cdef bint intend(self, Message message) except -1
    cdef int deliver(self, Message message, int code, bytes text, bytes passage, double now) except -2
    cdef str text_of(self, double time)
