"""A few thousand inputs of every target, and whether the targets would find what they are there to find."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bulkmail.errors import ProtocolError
from bulkmail.native.reply import ReplyParser
from bulkmail.native.session import Transactions
from tests.fuzz import __main__ as command
from tests.fuzz import connections, streams, worker
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import BLOCK, TARGETS, Target, run_block

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_nothing_is_found_in_a_few_blocks(target: Target) -> None:
    for block in range(8 if target.share >= 0.5 else 2):
        run_block(target, 2027, block)


def test_the_same_seed_gives_the_same_inputs() -> None:
    streams_of = [[Mutator("1/reply/7").mutated([b"250 ok\r\n" * 3]) for _ in range(1)] for _ in range(2)]
    assert streams_of[0] == streams_of[1]
    some = Mutator("2/x/0")
    assert len({some.mutated([b"250 one\r\n250 two\r\n"]) for _ in range(200)}) > 100


def test_the_streams_lead_to_every_end_of_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[str] = Counter()

    class Journal(connections.Journal):
        def summary(self) -> dict[str, str]:
            summary = super().summary()
            seen.update(outcome.partition(" at ")[0] for outcome in summary.values())
            return summary

    monkeypatch.setattr(connections, "Journal", Journal)
    for block in range(3):
        run_block(TARGETS["connection"], 2027, block)
    assert {"delivered", "refused", "in doubt", "broken off", "untouched", "quit", "lost PROTOCOL"} <= set(seen)
    assert seen["delivered"] > 200


def found(target: str) -> bool:
    try:
        run_block(TARGETS[target], 2027, 0)
    except (AssertionError, ProtocolError):
        return True
    return False


def test_a_parser_that_forgets_where_a_chunk_ended_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful:
        def __init__(self) -> None:
            self.failure: str | None = None
            self.pending = 0

        def feed(self, data: bytes) -> list[tuple[int, bytes]]:
            return ReplyParser().feed(data)

    monkeypatch.setattr(streams, "ReplyParser", Forgetful)
    assert found("reply")


class Boastful:
    """Transactions that call a refusal of the message a delivery."""

    def __init__(self, **options: Any) -> None:
        self._real = Transactions(**options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def answer(self, replies: list[tuple[int, bytes]]) -> list[tuple[Any, int, int, bytes]]:
        return [(message, 10, 250, text) for message, _, _, text in self._real.answer(replies)]


class Forgetful(Boastful):
    """Transactions that lose a message when the connection breaks."""

    def answer(self, replies: list[tuple[int, bytes]]) -> list[tuple[Any, int, int, bytes]]:
        return self._real.answer(replies)

    def abandon(self, **how: Any) -> list[tuple[Any, int, bool]]:
        return self._real.abandon(**how)[1:]


@pytest.mark.parametrize("wrong", [Boastful, Forgetful])
def test_transactions_that_lie_or_lose_are_found(monkeypatch: pytest.MonkeyPatch, wrong: type) -> None:
    monkeypatch.setattr(streams, "Transactions", wrong)
    assert found("transactions")


@pytest.mark.parametrize(
    ("program", "finding"),
    [
        ("import os; os.abort()", "ended by SIGABRT"),
        ("raise SystemExit(3)", "failed"),
        ("while True: pass", "one input took more than 0.3 s of CPU time"),
        ("pass", ""),
    ],
)
def test_a_worker_that_crashes_fails_or_hangs_is_told(
    program: str, finding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "HANG_SECONDS", 0.3)
    place = tmp_path / "place"
    place.write_bytes(bytes(worker.PLACE.size))
    with subprocess.Popen([sys.executable, "-c", program], text=True) as process:
        assert command.watch(process, place) == finding


def test_memory_that_grows_all_the_time_is_told_from_a_start() -> None:
    assert command.grown([5, 9, 9, 9]) == 0
    assert command.grown([1, 2, 3, 4]) == 2


def test_the_command_says_its_seed_what_it_did_and_how_to_see_a_finding_again(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "tests.fuzz", "reply", "seals", "--plain", "--count", "500", "--seed", "7"]
    said = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "seed 7" in said and "reply" in said and f"{BLOCK} inputs" in said and "nothing found" in said
    assert worker.memory_bytes() > 1 << 20
