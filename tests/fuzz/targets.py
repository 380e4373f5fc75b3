"""All that is fuzzed: the name, one input of it, and how many of them for each million asked for."""

from collections.abc import Callable
from typing import NamedTuple

from tests.fuzz import connections, natives, streams, texts
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
        Target("handshake", connections.handshake, 0.05),
        Target("connection", connections.connection, 0.02),
        Target("stuffing", natives.stuffed, 0.1),
        Target("canonical", natives.canonicalized, 0.1),
        Target("assembly", natives.assembled, 0.1),
        Target("hashset", natives.hashed, 0.02),
        Target("rows", natives.rows, 0.1),
        Target("lines", natives.event_lines, 0.1),
        Target("records", natives.journal_records, 0.1),
        Target("seals", natives.sealed, 0.1),
        Target("press", natives.pressed, 0.05),
        Target("feedback", texts.feedback, 0.01),
        Target("sts", texts.sts, 0.1),
        Target("spf", texts.spf, 0.02),
        Target("dmarc", texts.dmarc_record, 0.1),
        Target("tokens", texts.tokens, 0.1),
    )
}


def run_block(target: Target, seed: int, block: int, note: Callable[[int], None] = lambda number: None) -> None:
    """The inputs of one block; `note` hears the number of each before it begins."""
    mutator = Mutator(f"{seed}/{target.name}/{block}")
    for number in range(BLOCK):
        note(number)
        target.run(mutator, number % COMPARED == 0)
