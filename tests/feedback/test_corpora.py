"""Against public collections of bounces, where BULKMAIL_CORPORA names their folder."""

import os
from pathlib import Path

import pytest

from benchmarks.bounces import NEEDED, Score, scores

FOLDER = os.environ.get("BULKMAIL_CORPORA")
pytestmark = pytest.mark.skipif(FOLDER is None, reason="BULKMAIL_CORPORA names no folder of bounces")


@pytest.fixture(scope="module")
def scored() -> dict[str, Score]:
    return scores(Path(FOLDER or ""))


@pytest.mark.parametrize(
    "question", ["recipients, flufl", "delayed or failed, flufl", "recipients, sisimai", "hard or not, sisimai"]
)
def test_recipients_and_classes_are_right_in_95_of_100(scored: dict[str, Score], question: str) -> None:
    assert scored[question].judged > 100
    assert scored[question].share >= NEEDED, scored[question].wrong


@pytest.mark.parametrize("question", ["not falsely hard, sisimai", "no effect where nobody is named, flufl"])
def test_nobody_is_falsely_hard_and_what_names_nobody_has_no_effect(scored: dict[str, Score], question: str) -> None:
    assert scored[question].judged
    assert scored[question].wrong == []
