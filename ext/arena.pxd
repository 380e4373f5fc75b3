"""Memory in pieces that are taken one after the other and given back together, without the interpreter.

Header only (no .pyx twin), so that every extension compiles it into itself.
"""

from libc.stdlib cimport free, malloc

cdef enum:
    BLOCK_BYTES = 1 << 20
    BLOCKS_KEPT = 4

cdef struct Block:           # BLOCK_BYTES, or one big piece
    Block *next
    size_t size

cdef struct Arena:           # to begin with, all zero
    Block *first
    Block *block             # the one that is taken from
    size_t used


cdef inline char *take(Arena *arena, size_t size) noexcept nogil:
    """So many bytes until `give_back`; NULL where there are no more."""
    cdef Block *made
    cdef char *taken
    if arena.block == NULL:
        arena.block, arena.used = arena.first, 0
    size = (size + 63) & ~<size_t> 63
    while arena.block != NULL and arena.block.size - arena.used < size and arena.block.next != NULL:
        arena.block, arena.used = arena.block.next, 0
    if arena.block == NULL or arena.block.size - arena.used < size:
        made = <Block *> malloc(sizeof(Block) + max(size, <size_t> BLOCK_BYTES))
        if made == NULL:
            return NULL
        made.next, made.size = NULL, max(size, <size_t> BLOCK_BYTES)
        if arena.block == NULL:
            arena.first = made
        else:
            arena.block.next = made
        arena.block, arena.used = made, 0
    taken = <char *> (arena.block + 1) + arena.used
    arena.used += size
    return taken


cdef inline void give_back(Arena *arena, int blocks_kept) noexcept nogil:
    """All of it; so many blocks are kept for those who take next."""
    cdef Block **link = &arena.first
    cdef Block *block
    while link[0] != NULL:
        block = link[0]
        if block.size == BLOCK_BYTES and blocks_kept > 0:
            blocks_kept -= 1
            link = &block.next
        else:
            link[0] = block.next
            free(block)
    arena.block = NULL
