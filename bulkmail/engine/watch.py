"""Notice when the event loop is blocked, and by whom: where its thread was when it had been away for too long.

A beat of the loop puts off a timer of the kernel. Only where that runs out, because the beat is late, is the thread
that reads it woken: while the loop keeps up, nobody else runs, and a beat costs some microseconds forty times a second.
"""

import asyncio
import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from msgspec import Struct

# A block of BLOCKED_SECONDS that begins right after a beat is made out from BEAT_SECONDS more on.
BEAT_SECONDS = 0.025
BLOCKED_SECONDS = 0.05
# Frames told of a stack, from the innermost outwards.
DEPTH = 6
# How often the same place is told of, and how many are remembered.
TOLD_SECONDS = 60.0
MOST_PLACES = 100

# timerfd_create(2): the clock that no administrator sets, and a descriptor that children do not inherit.
_CLOCK_MONOTONIC = 1
_TFD_CLOEXEC = os.O_CLOEXEC
# Without letting go of the interpreter, which would cost more than the call.
_libc = ctypes.PyDLL(None)


class _Timing(ctypes.Structure):
    """`struct itimerspec`: a pause of the repetition, which there is none of, and the time until it runs out."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class Block(Struct, frozen=True, kw_only=True):
    """The loop did nothing else for `seconds`, of which its thread was at work for `cpu_seconds`.

    `place` is where it was, the innermost frame first; "" where it was over before anybody looked.
    """

    seconds: float
    cpu_seconds: float
    place: str

    def __str__(self) -> str:
        where = f" in {self.place}" if self.place else ""
        wall, cpu = self.seconds * 1000, self.cpu_seconds * 1000
        return f"the event loop was blocked for {wall:.0f} ms ({cpu:.0f} ms CPU){where}"


class LoopWatch:
    """Watches the loop that it is started on until `close`; `on_block` is called there, at most once a minute a place.

    `blocks` and `blocked_seconds` count all. The time that the kernel kept the loop's thread from a processor is not
    counted: it says something of the machine, and nothing of what the loop does.
    """

    def __init__(self, on_block: Callable[[Block], None] = lambda block: None) -> None:
        self._on_block = on_block
        self.blocks = 0
        self.blocked_seconds = 0.0
        self._told: dict[str, float] = {}
        self._place = ""
        self._timer = -1
        self._delays = -1
        self._closing = False

    def start(self) -> None:
        """Nothing is watched where the system has no such timers to give: mail goes out all the same."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._timer = _libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_CLOEXEC)
        if self._timer < 0:
            return
        try:
            self._delays = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        except OSError:
            self._delays = -1  # a kernel that does not count them
        self._at, self._cpu, self._delay = time.monotonic(), time.thread_time(), self._delayed_seconds()
        self._watcher = threading.Thread(target=self._watch, name="bulkmail-watch", daemon=True)
        self._watcher.start()
        self._next()

    def close(self) -> None:
        """Watch no longer; nothing where it was never begun, or is over."""
        if self._timer < 0:
            return
        self._handle.cancel()
        self._closing = True
        self._arm(_AT_ONCE)
        self._watcher.join()
        for descriptor in (self._timer, self._delays):
            if descriptor >= 0:
                os.close(descriptor)
        self._timer = -1

    # On the loop.

    def _next(self) -> None:
        self._arm(_OVERDUE)
        self._handle = self._loop.call_later(BEAT_SECONDS, self._beat)

    def _beat(self) -> None:
        at, cpu, delay = time.monotonic(), time.thread_time(), self._delayed_seconds()
        seconds = at - self._at - BEAT_SECONDS - (delay - self._delay)
        if seconds >= BLOCKED_SECONDS:
            self._blocked(seconds, min(seconds, cpu - self._cpu))
        self._at, self._cpu, self._delay, self._place = at, cpu, delay, ""
        self._next()

    def _blocked(self, seconds: float, cpu_seconds: float) -> None:
        self.blocks += 1
        self.blocked_seconds += seconds
        place, now = self._place, time.monotonic()
        where = place.partition(" < ")[0]
        if now - self._told.get(where, -TOLD_SECONDS) < TOLD_SECONDS:
            return
        if len(self._told) >= MOST_PLACES:
            self._told.clear()
        self._told[where] = now
        self._on_block(Block(seconds=seconds, cpu_seconds=cpu_seconds, place=place))

    def _delayed_seconds(self) -> float:
        """How long the loop's thread has been kept waiting for a processor, so far."""
        return int(os.pread(self._delays, 100, 0).split()[1]) * 1e-9 if self._delays >= 0 else 0.0

    def _arm(self, timing: object) -> None:
        _libc.timerfd_settime(self._timer, 0, timing, None)

    # On the thread that watches.

    def _watch(self) -> None:
        while True:
            os.read(self._timer, 8)
            if self._closing:
                return
            frame = sys._current_frames().get(self._thread)
            if frame is not None:
                self._place = _place_of(frame)


def _in(seconds: float) -> object:
    """The argument that lets a timer run out in less than a second."""
    return ctypes.byref(_Timing(0, 0, 0, int(seconds * 1e9)))


_OVERDUE = _in(BEAT_SECONDS + BLOCKED_SECONDS)
_AT_ONCE = _in(1e-9)


def _place_of(frame: FrameType | None) -> str:
    """`engine/intents.py:39 Intents.record < engine/pool.py:203 Pool.begun`: never what a variable holds."""
    places: list[str] = []
    while frame is not None and len(places) < DEPTH:
        code = frame.f_code
        file = "/".join(code.co_filename.split("/")[-2:])
        places.append(f"{file}:{frame.f_lineno} {code.co_qualname}")
        frame = frame.f_back
    return " < ".join(places)
