"""Threads that work on batches of signatures without the interpreter, and a pipe that tells the event loop.

A wait for the interpreter's lock costs a thread and the loop more than the hand-over of a batch, so a batch that needs
nothing but native work passes through without it.
"""

import os

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from bulkmail.native.signing cimport Batch, Job, work_on

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int pthread_mutex_init(pthread_mutex_t *mutex, void *attributes)
    int pthread_mutex_lock(pthread_mutex_t *mutex)
    int pthread_mutex_unlock(pthread_mutex_t *mutex)
    int pthread_mutex_destroy(pthread_mutex_t *mutex)
    int pthread_cond_init(pthread_cond_t *condition, void *attributes)
    int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
    int pthread_cond_signal(pthread_cond_t *condition)
    int pthread_cond_broadcast(pthread_cond_t *condition)
    int pthread_cond_destroy(pthread_cond_t *condition)

cdef extern from "<unistd.h>" nogil:
    ssize_t read(int descriptor, void *data, size_t size)
    ssize_t write(int descriptor, const void *data, size_t size)
    int close(int descriptor)

cdef struct Queue:
    Job *first
    Job *last

# What `work_on` is to those who have no reference to count.
ctypedef void (*Work)(PyObject *batch) noexcept nogil


cdef inline void append(Queue *queue, Job *job) noexcept nogil:
    job.next = NULL
    if queue.first == NULL:
        queue.first = job
    else:
        queue.last.next = job
    queue.last = job


cdef inline Job *pop(Queue *queue) noexcept nogil:
    cdef Job *job = queue.first
    if job != NULL:
        queue.first = job.next
    return job


cdef class Crew:
    """Two queues: batches to be worked on, and those that are done. Each holds a reference to what is in it."""

    cdef pthread_mutex_t lock
    cdef pthread_cond_t wanted
    cdef Queue waiting, done
    cdef bint closed, told             # told: there is a byte in the pipe
    cdef int reading, writing

    def __cinit__(self):
        self.waiting.first = self.done.first = NULL
        self.closed = self.told = False
        self.reading = self.writing = -1
        pthread_mutex_init(&self.lock, NULL)
        pthread_cond_init(&self.wanted, NULL)
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)

    def __dealloc__(self):
        let_go(&self.waiting)
        let_go(&self.done)
        pthread_cond_destroy(&self.wanted)
        pthread_mutex_destroy(&self.lock)
        if self.reading >= 0:
            close(self.reading)
            close(self.writing)

    def fileno(self):
        return self.reading

    def submit(self, Batch batch not None):
        Py_INCREF(batch)
        pthread_mutex_lock(&self.lock)
        append(&self.waiting, &batch.job)
        pthread_cond_signal(&self.wanted)
        pthread_mutex_unlock(&self.lock)

    def serve(self):
        cdef Job *job
        with nogil:
            job = self.next()
            while job != NULL:
                (<Work> <void *> work_on)(job.batch)
                if not job.finished:
                    break
                self.hand_over(job)
                job = self.next()
        if job == NULL:
            return None
        batch = <Batch> job.batch
        Py_DECREF(batch)
        return batch

    def give_back(self, Batch batch not None):
        Py_INCREF(batch)
        self.hand_over(&batch.job)

    def take(self):
        cdef char bytes[16]
        cdef Job *job
        cdef list batches = []
        pthread_mutex_lock(&self.lock)
        if self.told:
            read(self.reading, bytes, sizeof(bytes))
            self.told = False
        job, self.done.first = self.done.first, NULL
        pthread_mutex_unlock(&self.lock)
        while job != NULL:
            batch = <Batch> job.batch
            job = job.next
            batches.append(batch)
            Py_DECREF(batch)
        return batches

    def close(self):
        pthread_mutex_lock(&self.lock)
        self.closed = True
        pthread_cond_broadcast(&self.wanted)
        pthread_mutex_unlock(&self.lock)

    cdef Job *next(self) noexcept nogil:
        """The batch that waits longest, when there is one; NULL once closed."""
        cdef Job *job
        pthread_mutex_lock(&self.lock)
        while self.waiting.first == NULL and not self.closed:
            pthread_cond_wait(&self.wanted, &self.lock)
        job = pop(&self.waiting)
        pthread_mutex_unlock(&self.lock)
        return job

    cdef void hand_over(self, Job *job) noexcept nogil:
        pthread_mutex_lock(&self.lock)
        append(&self.done, job)
        if not self.told:
            self.told = write(self.writing, b"!", 1) == 1
        pthread_mutex_unlock(&self.lock)


cdef void let_go(Queue *queue):
    cdef Job *job = pop(queue)
    while job != NULL:
        Py_DECREF(<Batch> job.batch)
        job = pop(queue)
