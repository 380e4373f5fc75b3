"""All that is fuzzed: the name, one input of it, and how many of them for each million asked for."""

from collections.abc import Callable
from typing import NamedTuple

from tests.fuzz import streams
from tests.fuzz.mutation import Mutator

# An input's seed is that of its block.
BLOCK = 500
# One in so many is compared with the plain twin.
COMPARED = 32


class Target(NamedTuple):
    """`run` takes the mutator and whether to compare with the twin; any exception is a finding."""

    name: str
    run: Callable[[Mutator, bool], None]
    share: float


TARGETS = {
    target.name: target
    for target in (
        Target("reply", streams.reply_parser, 0.5),
        Target("transactions", streams.transactions, 0.5),
    )
}


def run_block(target: Target, seed: int, block: int, note: Callable[[int], None] = lambda number: None) -> None:
    """The inputs of one block; `note` hears the number of each before it begins."""
    mutator = Mutator(f"{seed}/{target.name}/{block}")
    for number in range(BLOCK):
        note(number)
        target.run(mutator, number % COMPARED == 0)
