"""Spread recipients over egress sources and relays by weight, the same recipient always the same way.

A receiver that greylists wants to see the second attempt come from where the first came from, so the place of a
recipient decides, not chance and not a counter.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import gcd


@lru_cache(maxsize=1024)
def pattern_of(weights: tuple[int, ...]) -> tuple[int, ...]:
    """Positions of `weights`, each as often as its weight says, as evenly mixed as can be (smooth round robin)."""
    divisor = gcd(*weights)
    shares = [weight // divisor for weight in weights]
    total = sum(shares)
    credit = [0] * len(shares)
    pattern = []
    for _ in range(total):
        for position, share in enumerate(shares):
            credit[position] += share
        chosen = max(range(len(shares)), key=credit.__getitem__)
        credit[chosen] -= total
        pattern.append(chosen)
    return tuple(pattern)


def spread(places: Sequence[int], weights: tuple[int, ...], *, offset: int) -> list[list[int]]:
    """`places` (of recipients in their chunk) for each weight; `offset` sets chunks apart from each other."""
    if len(weights) == 1:
        return [list(places)]
    pattern = pattern_of(weights)
    shares: list[list[int]] = [[] for _ in weights]
    for place in places:
        shares[pattern[(place + offset) % len(pattern)]].append(place)
    return shares
