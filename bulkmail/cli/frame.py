"""One frame of the live display: a snapshot of a run as lines of a given width."""

from collections.abc import Iterable, Sequence
from heapq import nlargest
from math import ceil

from msgspec import Struct
from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from bulkmail.cli.output import COLOURS, safe, shortened, span
from bulkmail.engine.lane import LaneStatistics
from bulkmail.engine.statistics import SiteCount, Snapshot
from bulkmail.model.delivery import Summary

SITES = 10
NOTES = 3
# Of what a server said, in a line without a terminal's width.
SAID_COLUMNS = 160
# With fewer columns for it, a site's state is told in a word.
STATE_COLUMNS = 24
HELP = "Ctrl-C stops in order; the same command goes on from there"
DIM, BOLD = Style(dim=True), Style(bold=True)
_NUMBERS = (("delivered", 9), ("deferred", 8), ("bounced", 7), ("conns", 5), ("waiting", 7))
_NUMBER_COLUMNS = sum(width + 1 for _, width in _NUMBERS)


class SiteRow(Struct):
    """One site over all its lanes; `state` in full, `short` in a few characters."""

    site: str
    delivered: int = 0
    deferred: int = 0
    bounced: int = 0
    connections: int = 0
    waiting: int = 0
    paused_seconds: float = 0.0
    said: str = ""

    @property
    def rank(self) -> tuple[int, int, str]:
        """By powers of two of what waits, so that rows do not swap places all the time."""
        waits = self.deferred + self.waiting
        return waits.bit_length(), self.delivered + self.bounced + waits, self.site

    @property
    def short(self) -> str:
        if self.paused_seconds > 0:
            return f"paused {span(ceil(self.paused_seconds))}"
        return "slowed" if self.said else ""

    @property
    def state(self) -> str:
        return ": ".join(part for part in (self.short, self.said) if part)


def final(summary: Summary) -> int:
    """Recipients for whom nothing more will be tried."""
    return summary.recipients - summary.deferred


def site_rows(snapshot: Snapshot, count: int = SITES) -> list[SiteRow]:
    """The sites where most mail waits, then those with most mail; in an order that changes little."""
    lanes: dict[str, list[LaneStatistics]] = {}
    for lane in snapshot.lanes:
        lanes.setdefault(lane.site, []).append(lane)
    # There may be 100,000 of the others, so no more of them are looked at in full than may be shown.
    others = nlargest(
        count,
        ((_rank(one.deferred, one), site) for site, one in snapshot.sites.items() if site not in lanes),
    )
    rows = [_site_row(snapshot, site, lanes.get(site, ())) for site in (*lanes, *(site for _, site in others))]
    return nlargest(count, rows, key=lambda row: row.rank)


def _rank(waits: int, counted: SiteCount) -> tuple[int, int]:
    """As that of a row."""
    return waits.bit_length(), counted.delivered + counted.bounced + waits


def _site_row(snapshot: Snapshot, site: str, lanes: Sequence[LaneStatistics]) -> SiteRow:
    counted = snapshot.sites.get(site)
    row = SiteRow(site or "(no site)")
    if counted is not None:
        row.delivered, row.deferred, row.bounced = counted.delivered, counted.deferred, counted.bounced
    for lane in lanes:
        row.connections += lane.connections
        row.waiting += lane.waiting + lane.ready
        if lane.state and (lane.paused_seconds > 0 or not row.said):
            row.said = lane.state.partition(": ")[2] or lane.state
        row.paused_seconds = max(row.paused_seconds, lane.paused_seconds)
    return row


def eta(snapshot: Snapshot) -> str:
    """When all is done at the present rate, or what is waited for."""
    if snapshot.phase != "sending" or not snapshot.open:
        return ""
    in_hand = any(lane.waiting + lane.ready for lane in snapshot.lanes)
    if snapshot.rate_per_second < 0.5:
        return "" if in_hand else "waiting to retry"
    return f"{span(max(1, round(snapshot.open / snapshot.rate_per_second)))} left" if in_hand else ""


def counts(summary: Summary) -> list[tuple[str, int]]:
    """What is worth a word: the four that matter always, the others when there are any."""
    always = ("delivered", "deferred", "bounced")
    names = (*always, "expired", "in_doubt", "suppressed", "rejected", "duplicates")
    return [(name, count) for name in names if (count := getattr(summary, name)) or name in always]


def word_of(name: str) -> str:
    """While a run is on, who was not tried yet is not called deferred."""
    return "open" if name == "deferred" else name.replace("_", " ")


class Frame:
    """Makes frames of one run. The number of lines never falls, so that nothing jumps."""

    def __init__(self, campaign: str, run: str) -> None:
        self._campaign = campaign
        self._run = run
        self._lines = 0

    def lines(self, snapshot: Snapshot, rows: Sequence[SiteRow], columns: int, height: int) -> Text:
        """The frame; `rows` as `site_rows` gave them, perhaps a moment ago."""
        columns = max(columns, 40)
        lines = [
            self._title(snapshot),
            self._bar(snapshot, columns),
            *self._counts(snapshot.summary, columns),
            Text(),
        ]
        if snapshot.problem:
            lines.insert(1, Text(shortened(snapshot.problem, columns), Style(color="red", bold=True)))
        room = max(height - len(lines) - 5, 0)
        lines += _site_lines(rows[:room], snapshot, columns)
        cut = [row for row in rows[:room] if row.said and cell_len(row.state) > _state_width(columns)]
        for row in cut[: min(NOTES, max(room - len(rows), 0))]:
            lines.append(Text(shortened(f"{row.site}: {row.said}", columns), DIM))
        lines += [Text(), Text(shortened(HELP, columns), DIM)]
        for line in lines:
            line.truncate(columns, overflow="ellipsis")
        self._lines = min(max(self._lines, len(lines)), max(height - 1, 1))
        lines[-2:-2] = [Text()] * (self._lines - len(lines))
        return Text("\n", no_wrap=True, overflow="ellipsis").join(lines[: self._lines])

    def _title(self, snapshot: Snapshot) -> Text:
        return Text.assemble((self._campaign, BOLD), "  ", (f"run {self._run}", DIM), "  ", snapshot.phase)

    def _bar(self, snapshot: Snapshot, columns: int) -> Text:
        summary = snapshot.summary
        done, total = final(summary), summary.recipients
        if snapshot.phase == "reading recipients":
            return Text(f"{total:,} rows read")
        share = done / total if total else 1.0
        figures = f" {done:,} of {total:,}  {int(share * 100):>3} %  {snapshot.rate_per_second:,.0f}/s"
        figures = f"{figures}  {eta(snapshot)}".rstrip()
        # Room for the longest figures there can be, or the bar would change its length with each frame.
        width = max(columns - (2 * len(f"{total:,}") + 41), 10)
        filled = share * width
        whole = int(filled)
        bar = Text.assemble(("━" * whole, "green"))
        bar.append(("╸" if filled - whole >= 0.5 else "━") if whole < width else "", Style(color="bright_black"))
        bar.append("━" * (width - whole - 1), Style(color="bright_black"))
        return Text.assemble(bar, figures)

    def _counts(self, summary: Summary, columns: int) -> list[Text]:
        lines = [Text()]
        for name, count in counts(summary):
            word = word_of(name)
            if lines[-1].cell_len + len(word) + len(f"{count:,}") + 3 > columns:
                lines.append(Text())
            if lines[-1]:
                lines[-1].append("   ")
            lines[-1].append(f"{word} ", DIM).append(f"{count:,}", Style(color=COLOURS[name], bold=bool(count)))
        return lines


def _site_lines(rows: Sequence[SiteRow], snapshot: Snapshot, columns: int) -> Iterable[Text]:
    name_width, state_width = _name_width(columns), _state_width(columns)
    head = f"{'site':<{name_width}}" + "".join(f" {title:>{width}}" for title, width in _NUMBERS)
    yield Text(f"{head}  state"[:columns], DIM)
    for row in rows:
        line = Text(shortened(row.site, name_width))
        line.pad_right(name_width - line.cell_len)
        for (title, width), value in zip(
            _NUMBERS, (row.delivered, row.deferred, row.bounced, row.connections, row.waiting), strict=True
        ):
            style = Style(color=COLOURS.get(title)) if value else DIM
            line.append(" ").append(f"{value if value < 10_000_000 else f'{value // 1_000_000}M':>{width}}", style)
        state = row.state if state_width >= STATE_COLUMNS else row.short
        line.append("  ").append(shortened(state, state_width), Style(color="yellow"))
        yield line
    if snapshot.more_sites:
        yield Text("and thousands more sites", DIM)
    elif len(snapshot.sites) > len(rows):
        yield Text(f"and {len(snapshot.sites) - len(rows):,} more sites", DIM)


def _name_width(columns: int) -> int:
    """Where there is little room, names give way to states."""
    return max(16, min(34, (columns - _NUMBER_COLUMNS) * 3 // 5))


def _state_width(columns: int) -> int:
    return max(columns - _name_width(columns) - _NUMBER_COLUMNS - 2, 0)


def plain_line(snapshot: Snapshot) -> str:
    """The frame of where there is no terminal: one line."""
    summary = snapshot.summary
    if snapshot.phase == "reading recipients":
        return f"{summary.run}: reading recipients: {summary.recipients:,} rows"
    parts = [f"{word_of(name)} {count:,}" for name, count in counts(summary)]
    parts.append(f"{snapshot.rate_per_second:,.0f}/s")
    parts += filter(None, (eta(snapshot), snapshot.problem))
    rows = site_rows(snapshot)
    paused = [row for row in rows if row.paused_seconds > 0]
    if paused:
        parts.append(f"paused: {', '.join(row.site for row in paused[:3])}{', ...' if len(paused) > 3 else ''}")
    stuck = next((row for row in paused or rows if row.said), None)
    if stuck is not None and snapshot.rate_per_second < 0.5:
        place = "" if stuck.said.startswith(stuck.site.rstrip(".")) else f"{stuck.site}: "
        parts.append(shortened(f"{place}{stuck.said}", SAID_COLUMNS))
    figures = f"{final(summary):,}/{summary.recipients:,} final"
    return safe(f"{summary.run}: {snapshot.phase}: {figures}, {', '.join(parts)}")
