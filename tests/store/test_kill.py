"""A process that records is killed: what it had recorded is there."""

import subprocess
import sys
from pathlib import Path

import pytest

from bulkmail.model.delivery import Disposition
from bulkmail.store.store import Store

SIZE = 1000
REPORTS = 3000

# Reports each record right after it was made: an intent as "i INDEX ATTEMPT", an outcome as "o INDEX ATTEMPT".
SENDER = f"""
import os, sys
from pathlib import Path
from bulkmail.clock import SystemClock
from bulkmail.model.delivery import Disposition
from bulkmail.store.chunks import NewChunk
from bulkmail.store.outcomes import Outcome
from bulkmail.store.runs import IntakeProgress
from bulkmail.store.store import Store

store = Store.open(Path(sys.argv[1]), clock=SystemClock(), segment_bytes=1 << 16, mapped=sys.argv[2] == "True")
run = store.create_run("c", "", "", b"").number
recipients = [f"{{n}}@a.example" for n in range({SIZE})]
store.ingest(run, [NewChunk("a.example", None, recipients, [b"[]"] * {SIZE})],
             IntakeProgress(rows={SIZE}, rejected=0, duplicates=0, suppressed=0, watermark={SIZE}))
chunk = store.claim(run, "a.example", 1.0)
journal, attempt = store.journal, 0
while True:
    attempt += 1
    for index in range({SIZE}):
        journal.intent(chunk.number, index, attempt, 1.0)
        journal.flush()
        os.write(1, b"i %d %d\\n" % (index, attempt))
        if index % 7:
            outcome = Outcome(Disposition.DEFERRED, attempt, code=451, text=f"try {{attempt}}")
            chunk.outcomes.set(index, outcome)
            journal.outcome(chunk.number, index, outcome)
            journal.flush()
            os.write(1, b"o %d %d\\n" % (index, attempt))
        if index % 300 == 299:
            store.fold([chunk])
"""


@pytest.mark.parametrize("mapped", [True, False])
def test_all_that_a_killed_process_reported_is_there(tmp_path: Path, clock, mapped: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SENDER, str(tmp_path / "state"), str(mapped)], stdout=subprocess.PIPE
    ) as sender:
        assert sender.stdout is not None
        reports = [sender.stdout.readline() for _ in range(REPORTS)]
        sender.kill()
        reports += sender.stdout.readlines()
    assert sender.returncode == -9

    intended, answered = {}, {}
    for report in reports:
        kind, index, attempt = report.split()
        (intended if kind == b"i" else answered)[int(index)] = int(attempt)
    with Store.open(tmp_path / "state", clock=clock, segment_bytes=1 << 16) as store:
        (run,) = store.runs()
        doubts = {doubt.index: doubt.attempt for doubt in store.recovered.doubts}
        found = list(store.outcomes(run.number))
    # One record may have been made whose report was not.
    made = {one.index for one in found if one.disposition is not Disposition.OPEN}
    assert len(made - intended.keys()) <= 1
    late = 0
    for index, attempt in intended.items():
        one = found[index]
        if answered.get(index) == attempt:
            # A new intent may follow, unreported, the answer that was reported.
            assert (one.attempts, one.text) == (attempt, f"try {attempt}") or one.attempts == attempt + 1
            late += one.attempts == attempt + 1
        else:
            assert one.attempts == attempt
            assert doubts.get(index) == attempt or one.text == f"try {attempt}"
            late += doubts.get(index) != attempt
    assert late <= 1
    assert len(doubts) > SIZE // 7
