"""Every dialogue (*.smtp) comes out as it says, and still makes sense when the server breaks off anywhere in it."""

import asyncio
import re
from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest
import uvloop

from bulkmail.native.stuffing import stuff
from tests.dialogues.player import Dialogue, Played, play, read
from tests.net.scripted import Cut

DIALOGUES = [read(path) for path in sorted(Path(__file__).parent.glob("*.smtp"))]
NAMES = [dialogue.name for dialogue in DIALOGUES]
# Every dialogue is cut after every byte, but the two floods that say more than this: at both ends of them after every
# one of so many bytes, and between at steps of so many.
FLOOD_BYTES = 10_000
FLOOD_ENDS = 250
FLOOD_STEP = 211
# So many cuts of one dialogue are played at once, on one loop.
AT_ONCE = 50


def check(played: Played) -> None:
    """What holds for every dialogue, however it ends."""
    bodies = {body.data.replace(b"\r\n..", b"\r\n."): body.said for body in played.server.bodies}
    for name, data in played.sent.items():
        outcome = played.outcomes[name]
        assert " and " not in outcome and outcome != "nothing said", (name, outcome)
        if outcome == "delivered":
            assert data in bodies, f"{name} is delivered, and never came in whole"
            after = bytes(played.server.said[bodies[data] :])
            assert re.search(rb"(?m)^2\d\d([ ].*)?\r?\n", after), f"{name} is delivered, and nothing said so"
        if outcome in ("delivered", "in doubt"):
            assert name in played.intents, f"{name} is {outcome}, and its intent was not recorded"
        if outcome.startswith(("untouched", "local failure")):
            assert name not in played.intents, f"{name} is {outcome}, and an intent was recorded"
        if outcome.startswith("broken off") and name in played.intents:
            # Written whole, and known not to be taken: only by a 421 that nothing came after.
            last = bytes(played.server.said).rpartition(b"\r\n")[0].rpartition(b"\r\n")[2]
            assert last.startswith(b"421"), f"{name} is {outcome}, and an intent was recorded"
    assert " and " not in played.outcomes["connection"]
    assert not any("BINARYMIME" in line for line in played.server.heard)


@pytest.mark.parametrize("short", [False, True], ids=["general", "short"])
@pytest.mark.parametrize("loop", [asyncio, uvloop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("dialogue", DIALOGUES, ids=NAMES)
def test_a_dialogue_comes_out_as_it_says(dialogue: Dialogue, loop: ModuleType, short: bool) -> None:
    played = loop.run(play(dialogue, short=short))
    assert played.server.error is None
    assert played.outcomes == dialogue.expected
    check(played)
    refused = [name for name, outcome in played.outcomes.items() if outcome.startswith("refused")]
    for name, data in played.sent.items():
        forms = [form for step, form in (("B", data), ("D", stuff(data))) if step in dialogue.steps]
        if name not in refused and any(f"Subject: {name[1:]}\r".encode() in body for body in played.server.messages):
            assert any(form in played.server.messages for form in forms)


def points_of(whole: int) -> list[int]:
    """How many bytes the server has said when it breaks off."""
    if whole <= FLOOD_BYTES:
        return list(range(whole))
    between = range(FLOOD_ENDS, whole - FLOOD_ENDS, FLOOD_STEP)
    return [*range(FLOOD_ENDS), *between, *range(whole - FLOOD_ENDS, whole)]


def judge(dialogue: Dialogue, cut: Cut, played: Played, settled: dict[str, str]) -> None:
    """One cut, after those before it in the dialogue, which left what is `settled`."""
    assert played.server.cut_off, cut
    check(played)
    for name in played.sent:
        outcome, uncut = played.outcomes[name], dialogue.expected[name]
        allowed = outcome in (uncut, "untouched", "in doubt") or outcome.startswith("broken off")
        assert allowed, f"{cut}: {name} is {outcome}, uncut it is {uncut}"
        # What was heard before a FIN is not lost with it, however little came after.
        if cut.how == "FIN" and outcome.startswith(("delivered", "refused")):
            settled.setdefault(name, outcome)
        assert outcome == settled.get(name, outcome), f"{cut}: {name} was {settled[name]} before"


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize("dialogue", DIALOGUES, ids=NAMES)
def test_a_server_that_breaks_off_after_any_byte_leaves_one_honest_outcome(
    dialogue: Dialogue, how: Literal["FIN", "RST"]
) -> None:
    async def run() -> None:
        points = points_of(len((await play(dialogue)).server.said))
        settled: dict[str, str] = {}
        for start in range(0, len(points), AT_ONCE):
            cuts = [Cut(point, how) for point in points[start : start + AT_ONCE]]
            # One byte the one way, the next the other: where it is cut must not matter to either.
            plays = (play(dialogue, cut, short=cut.bytes_said % 2 == 1) for cut in cuts)
            for cut, played in zip(cuts, await asyncio.gather(*plays), strict=True):
                judge(dialogue, cut, played, settled)

    asyncio.run(run())


def test_the_table_of_conformance_names_what_exists_and_every_dialogue() -> None:
    root = Path(__file__).parents[2]
    rows = [line for line in (root / "docs/conformance.md").read_text().splitlines() if line.startswith("| ")]
    shown = {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[-2])}
    paths = {name for name in shown if "/" in name}
    assert [path for path in sorted(paths) if not (root / path).is_file()] == []
    assert sorted(shown - paths) == NAMES


def test_every_must_of_the_table_passes_and_what_else_does_not_says_why() -> None:
    table = (Path(__file__).parents[2] / "docs/conformance.md").read_text().partition("\n## Threats")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    missed: dict[str, list[str]] = {"MUST": [], "SHOULD": []}
    count = dict.fromkeys(missed, 0)
    for section, *_, level, state, _ in (row for row in rows if len(row) >= 5):
        word = level.partition(" ")[0]
        if word in missed:
            count[word] += 1
            if not state.startswith("passes"):
                missed[word].append(section)
                assert re.match(r"(deviates|not yet): .{20}", state), state
    assert missed["MUST"] == []
    assert len(missed["SHOULD"]) <= 0.05 * count["SHOULD"]
    assert min(count.values()) > 30
