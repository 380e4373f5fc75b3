"""Chance that repeats: numbers drawn from a seed and names, never from a generator's state."""

from hashlib import blake2b

_SPAN = float(1 << 64)


def draw(seed: int, kind: str, name: str) -> float:
    """A number in [0, 1) that depends on the three arguments alone."""
    return int.from_bytes(_digest(seed, kind, name), "big") / _SPAN


def pick(seed: int, kind: str, name: str, count: int) -> int:
    """A number in range(count) that depends on the arguments alone."""
    return int.from_bytes(_digest(seed, kind, name), "big") % count


def _digest(seed: int, kind: str, name: str) -> bytes:
    return blake2b(f"{seed}\0{kind}\0{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
