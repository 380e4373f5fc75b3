class Sealer:
    """Writes tokens: ten bytes that say something, sealed with keyed BLAKE2b (RFC 7693), in small letters of base32.

    `person` tells the seals of one use from those of another. May be shared among threads.
    """

    def __init__(self, key: bytes, person: bytes) -> None:
        """`key` has 1 to 64 bytes, `person` at most 16; fails with ValueError on others."""

    def pair(self, word: int, index: int) -> tuple[str, str]:
        """The two tokens that say a `word` of 64 bits and an `index` of 16, each with 80 bits of the digest."""
