"""SipHash-1-3 as its paper writes it, and a set of its values: what `bulkmail.native.hashset` must agree with."""

MASK = 2**64 - 1
KEY = b"bulkmail:address"


def rotate(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & MASK


def siphash13(data: bytes, key: bytes) -> int:
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    start = b"somepseudorandomlygeneratedbytes"
    v = [int.from_bytes(start[at : at + 8], "big") for at in range(0, 32, 8)]
    v = [v[0] ^ k0, v[1] ^ k1, v[2] ^ k0, v[3] ^ k1]

    def sip_round() -> None:
        v[0] = (v[0] + v[1]) & MASK
        v[2] = (v[2] + v[3]) & MASK
        v[1], v[3] = rotate(v[1], 13) ^ v[0], rotate(v[3], 16) ^ v[2]
        v[0] = rotate(v[0], 32)
        v[2] = (v[2] + v[1]) & MASK
        v[0] = (v[0] + v[3]) & MASK
        v[1], v[3] = rotate(v[1], 17) ^ v[2], rotate(v[3], 21) ^ v[0]
        v[2] = rotate(v[2], 32)

    padded = data + bytes(-(len(data) + 1) % 8) + bytes([len(data) % 256])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        sip_round()
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(3):
        sip_round()
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def hash64(key: bytes) -> int:
    return siphash13(key, KEY) or 1


class AddressSet:
    def __init__(self) -> None:
        self.hashes: set[int] = set()

    def add(self, key: bytes) -> bool:
        return self.add_hash(hash64(key))

    def add_hash(self, h: int) -> bool:
        new = h not in self.hashes
        self.hashes.add(h)
        return new

    def discard(self, key: bytes) -> None:
        self.hashes.discard(hash64(key))

    def add_many(self, keys: list[bytes]) -> list[bool]:
        return [self.add(key) for key in keys]

    def contains_many(self, keys: list[bytes]) -> list[bool]:
        return [key in self for key in keys]

    def __contains__(self, key: bytes) -> bool:
        return hash64(key) in self.hashes

    def __len__(self) -> int:
        return len(self.hashes)
