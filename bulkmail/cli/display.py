"""Show a send as it goes, on standard error: a live display on a terminal, a line every few seconds elsewhere."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from rich.live import Live
from rich.text import Text

from bulkmail.cli.frame import Frame, SiteRow, plain_line, site_rows
from bulkmail.cli.output import PlainConsole, err
from bulkmail.engine.statistics import Snapshot

FRAME_SECONDS = 0.2
SITES_SECONDS = 1.0
LINE_SECONDS = 3.0
# With 100,000 sites a frame takes a tenth of a second: the next one waits so many times as long.
REST = 50.0
# A line that says nothing new comes less often: retries may be hours away.
UNCHANGED_SECONDS = 60.0

Look = Callable[[], Snapshot | None]


class Display(Protocol):
    """`say` puts a sentence above what is shown; `end` leaves the terminal as it was, at once. Neither ever fails."""

    def say(self, text: str) -> None: ...

    def end(self) -> None: ...


class LiveDisplay:
    """Redraws its lines in place."""

    def __init__(self, console: PlainConsole, campaign: str, run: str, look: Look) -> None:
        self._console = console
        self._frame = Frame(campaign, run)
        self._look = look
        self._rows: list[SiteRow] = []
        self._rows_until = 0.0
        self._live = Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop")
        with suppress(OSError):
            self._live.start()

    async def run(self) -> None:
        while True:
            began = time.thread_time()
            self._draw()
            await asyncio.sleep(max(FRAME_SECONDS, REST * (time.thread_time() - began)))

    def say(self, text: str) -> None:
        with suppress(OSError):
            self._console.print(Text(text))

    def end(self) -> None:
        with suppress(OSError):
            self._live.stop()

    def _draw(self) -> None:
        snapshot = self._look()
        if snapshot is None:
            return
        now = time.monotonic()
        if now >= self._rows_until:
            self._rows = site_rows(snapshot)
            self._rows_until = now + SITES_SECONDS
        columns, height = self._console.size
        self._live.update(self._frame.lines(snapshot, self._rows, columns, height), refresh=True)


class LineDisplay:
    """Prints a line now and then."""

    def __init__(self, console: PlainConsole, look: Look) -> None:
        self._console = console
        self._look = look

    async def run(self) -> None:
        last, said = "", 0.0
        rest = 0.0
        while True:
            await asyncio.sleep(max(LINE_SECONDS, rest))
            began = time.thread_time()
            snapshot = self._look()
            if snapshot is None:
                continue
            line, now = plain_line(snapshot), time.monotonic()
            rest = REST * (time.thread_time() - began)
            if line != last or now - said >= UNCHANGED_SECONDS:
                self._console.print(Text(line))
                last, said = line, now

    def say(self, text: str) -> None:
        with suppress(OSError):
            self._console.print(Text(text))

    def end(self) -> None:
        pass


@asynccontextmanager
async def shown(campaign: str, run: str, look: Look) -> AsyncIterator[Display]:
    """A display for as long as the context; a terminal that goes away ends the display and not the send."""
    console = err()
    display: LiveDisplay | LineDisplay
    if console.is_terminal and not console.is_dumb_terminal:
        display = LiveDisplay(console, campaign, run, look)
    else:
        display = LineDisplay(console, look)
    drawing = asyncio.get_running_loop().create_task(_draw(display))
    try:
        yield display
    finally:
        drawing.cancel()
        await asyncio.gather(drawing, return_exceptions=True)
        display.end()


async def _draw(display: LiveDisplay | LineDisplay) -> None:
    with suppress(OSError):
        await display.run()
