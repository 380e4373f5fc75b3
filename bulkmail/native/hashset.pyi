"""A set of addresses in 8 bytes each (over its load factor): open addressing over keyed 64-bit hashes."""

def hash64(key: bytes, /) -> int:
    """SipHash-1-3 of `key` under a fixed key, 1 to 2**64 - 1 (0 becomes 1). Stored, so it never changes."""

class AddressSet:
    """Byte strings, kept as their `hash64` alone: `in` can err towards True, once in 2**64 / len(set) questions.

    9 to 14 bytes an entry. Growth needs no second table, but moves every entry: a pause of about 10 ns an entry.
    """

    def add(self, key: bytes, /) -> bool:
        """True if `key` was not in the set. MemoryError leaves the set as it was."""

    def add_hash(self, h: int, /) -> bool:
        """`add` for the key whose `hash64` is `h`. ValueError for 0, OverflowError outside 64 bits."""

    def discard(self, key: bytes, /) -> None:
        """Take `key` out, if it is in."""

    def add_many(self, keys: list[bytes], /) -> list[bool]:
        """`add` for each key in order. On a table larger than the processor's caches several times faster."""

    def contains_many(self, keys: list[bytes], /) -> list[bool]:
        """`in` for each key in order. On a table larger than the processor's caches several times faster."""

    def __contains__(self, key: bytes, /) -> bool: ...
    def __len__(self) -> int: ...
    @property
    def memory_bytes(self) -> int:
        """Bytes the set occupies now; no more are needed while it grows, other than for the larger table itself."""
