"""Against public collections of bounces, where BULKMAIL_CORPORA names their folder."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bulkmail.feedback import Kind, Report, understand
from bulkmail.policy.feedback import Class, judge_report

FOLDER = os.environ.get("BULKMAIL_CORPORA")
pytestmark = pytest.mark.skipif(FOLDER is None, reason="BULKMAIL_CORPORA names no folder of bounces")
NEEDED = 0.95
# Labels whose own text says that the user is unknown, though the label does not: no mistake to call them hard.
SAYS_SO = ("unknown user", "user unknown", "no such user", "does not exist", "ディレクトリ")


def corpus(name: str) -> Path:
    path = Path(FOLDER or "") / name
    if not path.is_dir():
        pytest.skip(f"no {path}")
    return path


def right(found: Report, expected: set[str]) -> bool:
    names = [{name for name in (one.address.lower(), one.final.lower()) if name} for one in found.recipients]
    return all(each & expected for each in names) and all(any(one in each for each in names) for one in expected)


def effective(found: Report) -> bool:
    return found.kind in (Kind.BOUNCE, Kind.COMPLAINT)


def test_the_recipients_and_delays_of_a_list_managers_collection_are_right() -> None:
    folder = corpus("flufl-bounces")
    expected: dict[str, tuple[set[str], bool]] = {}
    for entry in json.loads((folder / "expected.json").read_text()):
        known, _ = expected.setdefault(entry["file"], (set(), entry["temporary"]))
        known.update(address.lower() for address in entry["recipients"])
    wrong = []
    for file, (recipients, temporary) in expected.items():
        found = understand((folder / file).read_bytes())
        if not recipients:
            # A notice that names nobody reads as a bounce of nobody, which has no effect on anybody.
            assert not (effective(found) and found.recipients), file
        elif not right(found, recipients):
            wrong.append(file)
        else:
            assert (found.kind is Kind.DELAYED) == temporary, file
    assert len(wrong) <= (1 - NEEDED) * len(expected), wrong


def test_the_recipients_of_a_bounce_readers_collection_are_right() -> None:
    folder = corpus("sisimai-dev")
    entries = json.loads((folder / "reference.json").read_text())
    wrong = []
    for entry in entries:
        recipients = {fact["recipient"].lower() for fact in entry["facts"]}
        if not any(address.startswith("undisclosed") for address in recipients):
            found = understand((folder / entry["file"]).read_bytes())
            if not right(found, recipients):
                wrong.append(entry["file"])
    assert len(wrong) <= (1 - NEEDED) * len(entries), wrong


def test_the_classes_of_a_bounce_readers_collection_are_right_and_none_is_falsely_hard() -> None:
    folder = corpus("sisimai-dev")
    labels: dict[str, list[dict[str, Any]]] = {}
    for label in json.loads((folder / "expected.json").read_text()):
        labels.setdefault(label["file"], []).append(label)
    wrong, falsely_hard, judged = [], [], 0
    for file, known in labels.items():
        found = understand((folder / file).read_bytes())
        if found.kind is Kind.COMPLAINT:
            continue
        hard = sorted(judgement.klass is Class.HARD for judgement in judge_report(found))
        judged += 1
        if hard != sorted(label["hard"] for label in known):
            text = " ".join(one.diagnostic for one in found.recipients).lower()
            if sum(hard) <= sum(label["hard"] for label in known):
                wrong.append(file)
            elif not any(words in text for words in SAYS_SO):
                falsely_hard.append(file)
    assert falsely_hard == []
    assert len(wrong) <= (1 - NEEDED) * judged, wrong
