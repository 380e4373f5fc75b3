"""What inputs are made of: the server's side of every dialogue, whole and in its replies."""

from functools import cache
from pathlib import Path

from tests.dialogues.player import read

DIALOGUES = Path(__file__).parents[1] / "dialogues"


@cache
def server_sides() -> list[bytes]:
    """All that the server of each dialogue says. The two floods are not among them: mutation makes its own."""
    sides = []
    for path in sorted(DIALOGUES.glob("*.smtp")):
        said = b"".join(step for step in read(path).steps if isinstance(step, bytes))
        if len(said) < 10_000:
            sides.append(said)
    return sides


@cache
def after_the_greeting() -> list[bytes]:
    """The same from the reply to EHLO on, or to AUTH: where transactions begin."""
    return [side[_first_transaction(side) :] for side in server_sides()]


def _first_transaction(side: bytes) -> int:
    """Behind the last line of the reply to the greeting and to EHLO."""
    at = 0
    for _ in range(2):
        while True:
            end = side.find(b"\n", at)
            if end < 0:
                return 0
            goes_on = side[at + 3 : at + 4] == b"-"
            at = end + 1
            if not goes_on:
                break
    return at


@cache
def replies() -> list[bytes]:
    """Every line that a server of the dialogues says, once."""
    return sorted({line + b"\n" for side in server_sides() for line in side.split(b"\n")[:-1]})
