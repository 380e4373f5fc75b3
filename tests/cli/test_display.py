"""The live display's frames, the plain line, and the words they are made of."""

import asyncio
import io

import msgspec
import pytest
from rich.cells import cell_len

from bulkmail.cli import display
from bulkmail.cli.frame import Frame, plain_line, site_rows
from bulkmail.cli.output import PlainConsole, percent, safe, shortened, span, table
from bulkmail.cli.undelivered import cell
from bulkmail.cli.words import REASONS, STAGES
from bulkmail.engine.lane import LaneStatistics
from bulkmail.engine.statistics import SiteCount, Snapshot
from bulkmail.model.delivery import Reason, Stage, Summary


def lane(site: str, **values: object) -> LaneStatistics:
    defaults = {
        "source": "",
        "waiting": 0,
        "ready": 0,
        "connections": 0,
        "accepted": 0,
        "paused_seconds": 0.0,
        "state": "",
    }
    return msgspec.convert({**defaults, "site": site, **values}, LaneStatistics)


def snapshot(**values: object) -> Snapshot:
    summary = Summary(
        campaign="letter",
        run="letter-1",
        state="sending",
        recipients=10_000,
        rejected=3,
        delivered=4_000,
        deferred=5_900,
        bounced=97,
    )
    given: dict[str, object] = {
        "summary": summary,
        "open": 5_900,
        "phase": "sending",
        "rate_per_second": 590.0,
        "lanes": (
            lane("google", connections=5, waiting=900, ready=20),
            lane("yahoo", waiting=50, paused_seconds=2.4, state="lane paused for 3 s: 421 4.7.0 too many\x1b[31m"),
        ),
        "lane_count": 2,
        "sites": {"google": SiteCount(3_000, 4, 90), "yahoo": SiteCount(1_000, 0, 7)},
        "problem": "",
    }
    return Snapshot(**{**given, **values})  # type: ignore[arg-type]


def lines_of(shown: Snapshot, columns: int = 120, height: int = 40) -> list[str]:
    return Frame("letter", "letter-1").lines(shown, site_rows(shown), columns, height).plain.split("\n")


def test_a_frame_says_how_far_how_fast_and_how_long() -> None:
    lines = lines_of(snapshot())
    assert lines[0] == "letter  run letter-1  sending"
    assert "4,100 of 10,000   41 %  590/s  10 s left" in lines[1]
    assert lines[2] == "delivered 4,000   open 5,900   bounced 97   rejected 3"


def test_a_paused_site_says_for_how_long_and_what_its_server_said() -> None:
    row = next(line for line in lines_of(snapshot()) if line.startswith("yahoo"))
    assert row.endswith(r"paused 3 s: 421 4.7.0 too many\x1b[31m")
    narrow = lines_of(snapshot(), columns=80)
    assert any(line.startswith("yahoo ") and line.endswith("paused 3 s") for line in narrow)
    assert r"yahoo: 421 4.7.0 too many\x1b[31m" in narrow


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120, 140, 200])
@pytest.mark.parametrize("height", [5, 12, 24, 40])
def test_no_line_is_wider_than_the_terminal_and_no_frame_higher(columns: int, height: int) -> None:
    many = {f"mx{number}.ドメイン.example": SiteCount(number, 1, 1) for number in range(50)}
    lines = lines_of(snapshot(sites=many, problem="paused: disk full"), columns, height)
    assert len(lines) < height
    assert max(map(cell_len, lines)) <= columns


def test_the_number_of_lines_never_falls() -> None:
    frame = Frame("letter", "letter-1")
    full = snapshot()
    before = frame.lines(full, site_rows(full), 80, 40).plain.count("\n")
    empty = snapshot(sites={}, lanes=())
    assert frame.lines(empty, [], 80, 40).plain.count("\n") == before


def test_all_is_claimed_only_when_all_is_done() -> None:
    almost = Summary(campaign="letter", run="letter-1", state="sending", recipients=10_000, delivered=9_999, deferred=1)
    assert " 99 %" in lines_of(snapshot(summary=almost, open=1))[1]
    assert percent(9_999, 10_000) == "99.9 %"
    assert percent(10_000, 10_000) == "100.0 %"
    assert percent(0, 0) == ""


def test_sites_where_mail_waits_come_first_and_lanes_of_one_site_are_added() -> None:
    shown = snapshot(
        sites={"done": SiteCount(9_000, 0, 0), "slow": SiteCount(1, 2, 0)},
        lanes=(lane("slow", connections=1, waiting=3), lane("slow", connections=2, ready=4)),
    )
    rows = site_rows(shown)
    assert [row.site for row in rows] == ["slow", "done"]
    assert (rows[0].connections, rows[0].waiting) == (3, 7)


def test_where_nothing_moves_the_display_says_what_is_waited_for() -> None:
    still = snapshot(rate_per_second=0.0, lanes=())
    assert "waiting to retry" in lines_of(still)[1]
    assert "waiting to retry" in plain_line(still)


def test_while_rows_are_read_only_their_number_is_known() -> None:
    reading = snapshot(phase="reading recipients")
    assert lines_of(reading)[1] == "10,000 rows read"
    assert plain_line(reading) == "letter-1: reading recipients: 10,000 rows"


def test_the_plain_line_has_the_same_figures() -> None:
    assert plain_line(snapshot()) == (
        "letter-1: sending: 4,100/10,000 final, delivered 4,000, open 5,900, bounced 97, rejected 3, 590/s, 10 s left, "
        "paused: yahoo"
    )


def test_a_terminal_that_goes_away_ends_the_display_and_not_the_send(monkeypatch) -> None:
    class Gone(io.StringIO):
        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Gone())
    monkeypatch.setattr(display, "LINE_SECONDS", 0.0)
    monkeypatch.setenv("TERM", "dumb")

    async def run() -> str:
        async with display.shown("letter", "letter-1", snapshot) as shown:
            await asyncio.sleep(0.01)
            shown.say("hello")
            return "sent"

    assert asyncio.run(run()) == "sent"


def test_a_line_that_says_nothing_new_is_not_repeated_all_the_time(monkeypatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(display, "LINE_SECONDS", 0.0)
    shots = [snapshot()] * 3 + [snapshot(rate_per_second=1.0)] * 3
    looked = iter(shots)
    done = asyncio.Event()

    def look() -> Snapshot | None:
        shot = next(looked, None)
        if shot is None:
            done.set()
        return shot

    async def run() -> None:
        async with display.shown("letter", "letter-1", look):
            await asyncio.wait_for(done.wait(), 5)

    asyncio.run(run())
    assert stream.getvalue().count("letter-1: sending") == 2


def test_colours_and_cursor_movements_are_for_terminals_that_want_them(monkeypatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def drawn() -> str:
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        live = display.LiveDisplay(PlainConsole(stderr=True), "letter", "letter-1", snapshot)
        live._draw()
        live.end()
        return terminal.getvalue()

    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[32m" in drawn()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in drawn()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (7, "7 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.7, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_spans_of_time_are_written_for_people(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_nothing_that_steers_a_terminal_gets_through() -> None:
    assert safe("a\x1b]0;title\x07b\r\nc\u202ed\x9b1m") == "a\\x1b]0;title\\x07b  c\\u202ed\\x9b1m"
    assert safe("Zoë 世界") == "Zoë 世界"
    assert cell_len(shortened("世界" * 50, 21)) <= 21


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_what_a_spreadsheet_would_compute_is_made_text(text: str) -> None:
    assert cell(text) == f"'{text}"
    assert cell("a" + text) == "a" + text


def test_a_table_keeps_to_its_width_by_its_last_column() -> None:
    text = table(("a", "n", "last"), [("one", "1", "x" * 200), ("three", "22", "y")], columns=40, numbers=(1,))
    lines = text.plain.split("\n")
    assert all(cell_len(line) <= 40 for line in lines)
    assert lines[1].startswith("  one     1  xxx") and lines[1].endswith("…")
    assert lines[2] == "  three  22  y"


def test_every_reason_and_stage_has_words() -> None:
    assert REASONS.keys() == set(Reason)
    assert STAGES.keys() == set(Stage)
    assert all(REASONS.values())
