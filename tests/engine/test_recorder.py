"""What is recorded is what another process finds after a crash."""

import shutil
from collections.abc import Callable
from pathlib import Path

from bulkmail.clock import SystemClock
from bulkmail.native.message import Message
from bulkmail.store.store import Store
from tests.engine.records import Records


def test_an_attempt_given_back_is_in_no_doubt_after_a_crash(
    open_records: Callable[..., Records], tmp_path: Path
) -> None:
    records = open_records()
    sent = [
        Message(
            chunk=records.active,
            index=index,
            attempt=1,
            address="",
            sender=b"",
            recipient=b"",
            data=b"",
            message_id="",
        )
        for index in (3, 4)
    ]
    records.recorder.intents.record(sent, lambda: None)
    records.recorder.answered(sent[0])
    crashed = tmp_path / "crashed"
    shutil.copytree(records.path, crashed)
    with Store.open(crashed, clock=SystemClock()) as store:
        assert [doubt.index for doubt in store.recovered.doubts] == [4]
