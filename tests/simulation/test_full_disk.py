"""A real file system that is full for half a minute, from each job of a send's threads on: it waits, and goes on."""

import asyncio
import errno
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import structs

from bulkmail.errors import DiskFull
from bulkmail.model.delivery import Summary
from bulkmail.sandbox.profiles import Profiles
from bulkmail.simulation.loop import VirtualClock, VirtualLoop
from tests.auditor.audit import audit
from tests.simulation.playing import REAL, Played, SmallSend, play
from tests.simulation.trial import eight, export

SIZE = "6m"
FULL_SECONDS = 30.0
BALLAST = "ballast"
ROWS = [f"r{n}@own-{n % 6}.test" for n in range(16)] + [f"p{n}@gmail.com" for n in range(12)] + ["g@greylisting-1.test"]
# Around the middle the send waits for the last one and looks around each second: some of that is enough.
FIRST, LAST, STEP = 26, 16, 97


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """A file system of its own at `path`."""
    path.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"a file system of a few megabytes cannot be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(path: Path) -> None:
    """Leave no byte."""
    with open(path / BALLAST, "ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1 << 9, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC, error


class FullAt:
    """Fills the disk before the job `at` (from 1 on) of any thread of a simulated send, for `seconds`.

    `jobs` are those there were, `struck` is the one. Called on the loop when the send begins.
    """

    def __init__(self, path: Path, at: int, seconds: float = FULL_SECONDS) -> None:
        self._path = path
        self._at = at
        self._seconds = seconds
        self.jobs = 0
        self.struck = ""

    def __call__(self, clock: VirtualClock) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._loop = loop
        loop.job_seconds = self._begin

    def _begin(self, job: Callable[..., object]) -> float:
        self.jobs += 1
        if self.jobs == self._at:
            self.struck = getattr(job, "__qualname__", repr(job))
            fill(self._path)
            self._loop.call_later(self._seconds, (self._path / BALLAST).unlink)
        return 0.0


def some_unknown(profiles: Profiles) -> Profiles:
    """Bounces, for the suppression list to be written."""
    google = structs.replace(profiles.manners["google"], unknown_share=0.5, full_share=0.0)
    return structs.replace(profiles, manners={**profiles.manners, "google": google})


class Impatient(SmallSend):
    """Stopped after a minute."""

    async def execute(self) -> Summary:
        asyncio.get_running_loop().call_later(60.0, self.stop)
        return await super().execute()


def played_with(folder: Path, full: FullAt) -> Played:
    delivery = {**REAL, "retry": ["2m"], "expire": "2h"}
    return play(folder, ROWS, profiles=None, change=some_unknown, act=full, delivery=delivery)


def went_through(folder: Path, at: int) -> FullAt:
    """One send whose disk is full from that job on, judged from what it has left."""
    state = folder / "state"
    with small_disk(state):
        full = FullAt(state, at)
        played = played_with(folder, full)
        found = audit(
            recipients=folder / "recipients.csv",
            log=folder / "receivers" / "log.ndjson",
            events=state / "events" / "trial-1.ndjson",
            summary=eight(played.summary),
            suppressions=export(state, folder / "suppressed.csv"),
            policy="resend",
        )
    where = f"full at job {at}, {full.struck}"
    assert played.summary.state == "finished", where
    assert played.summary.bounced >= 3, where
    assert not found.problems, (where, found.problems)
    assert not found.duplicates, (where, found.duplicates)
    return full


def test_wherever_the_disk_is_full_for_a_while_the_send_waits_and_loses_nobody(tmp_path: Path) -> None:
    jobs = went_through(tmp_path / "untouched", 0).jobs
    assert jobs > 100
    struck = {
        went_through(tmp_path / str(at), at).struck
        for at in (*range(1, FIRST), *range(FIRST, jobs - LAST, STEP), *range(jobs - LAST, jobs + 1))
    }
    # The places that matter were among them.
    for place in ("Intake.finish", "Store.set_state", "Syncs._write", "Syncs._change_list", "Store.keep_cpu"):
        assert place in struck, struck
    assert any("Store.fold" in place for place in struck)


def test_a_disk_that_stays_full_ends_a_send_that_is_asked_to_stop_and_the_next_one_goes_on(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with small_disk(state):
        # What has been read cannot be stored, and somebody loses patience.
        with pytest.raises(DiskFull, match="free some space"):
            play(tmp_path, ROWS, profiles=None, act=FullAt(state, 9, seconds=1e6), kind=Impatient)
        (state / BALLAST).unlink()
        played = play(tmp_path, ROWS, profiles=None)
    assert played.summary.state == "finished"
    assert len(played.delivered) + played.summary.bounced == len(ROWS)
