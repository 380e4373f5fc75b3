"""How well bounces of public collections are understood: recipients, classes, and what is no bounce at all.

    python -m benchmarks.bounces [FOLDER] [--wrong]

FOLDER (else $BULKMAIL_CORPORA) has `flufl-bounces/` (`expected.json` with file, recipients, temporary) and
`sisimai-dev/` (`reference.json` with the recipients, `expected.json` with file and hard; `maildir/not/`, if it is
there, has mails that are no bounces). `--wrong` names the files that were not understood as their labels say.
"""

import argparse
import json
import os
from collections import defaultdict
from pathlib import Path

from msgspec import Struct, field

from bulkmail.errors import BulkmailError
from bulkmail.feedback.report import Kind, Report
from bulkmail.feedback.understand import understand
from bulkmail.policy.feedback import Class, judge_report

NEEDED = 0.95


class Score(Struct):
    """Files of one question: how many there are, and which were answered otherwise than labelled."""

    judged: int = 0
    wrong: list[str] = field(default_factory=list)

    def count(self, file: str, right: bool) -> None:
        self.judged += 1
        if not right:
            self.wrong.append(file)

    @property
    def share(self) -> float:
        return 1 - len(self.wrong) / self.judged if self.judged else 1.0


def exactly(found: Report, expected: set[str]) -> bool:
    """Whether the report names these recipients, each by one of its addresses, and nobody else."""
    names = [{name for name in (one.address.lower(), one.final.lower()) if name} for one in found.recipients]
    return all(each & expected for each in names) and all(any(one in each for each in names) for one in expected)


def effective(found: Report) -> bool:
    """Whether it may have an effect on anybody."""
    return found.kind in (Kind.BOUNCE, Kind.COMPLAINT) and bool(found.recipients)


def scores(corpora: Path) -> dict[str, Score]:
    """By question. A falsely hard bounce is one of an address that no label of its file calls hard."""
    made: defaultdict[str, Score] = defaultdict(Score)
    _flufl(corpora / "flufl-bounces", made)
    _sisimai(corpora / "sisimai-dev", made)
    return dict(made)


def _flufl(folder: Path, made: defaultdict[str, Score]) -> None:
    expected: dict[str, tuple[set[str], bool]] = {}
    for entry in json.loads((folder / "expected.json").read_text()):
        known, _ = expected.setdefault(entry["file"], (set(), entry["temporary"]))
        known.update(address.lower() for address in entry["recipients"])
    for file, (recipients, temporary) in expected.items():
        found = understand((folder / file).read_bytes())
        if recipients:
            made["recipients, flufl"].count(file, exactly(found, recipients))
            made["delayed or failed, flufl"].count(file, (found.kind is Kind.DELAYED) == temporary)
        else:
            made["no effect where nobody is named, flufl"].count(file, not effective(found))


def _sisimai(folder: Path, made: defaultdict[str, Score]) -> None:
    for entry in json.loads((folder / "reference.json").read_text()):
        recipients = {fact["recipient"].lower() for fact in entry["facts"]}
        if not any(address.startswith("undisclosed") for address in recipients):
            found = understand((folder / entry["file"]).read_bytes())
            made["recipients, sisimai"].count(entry["file"], exactly(found, recipients))
    labels: defaultdict[str, list[bool]] = defaultdict(list)
    for label in json.loads((folder / "expected.json").read_text()):
        labels[label["file"]].append(label["hard"])
    for file, known in labels.items():
        found = understand((folder / file).read_bytes())
        if found.kind is not Kind.COMPLAINT:
            hard = [judgement.klass is Class.HARD for judgement in judge_report(found)]
            made["hard or not, sisimai"].count(file, sorted(hard) == sorted(known))
            made["not falsely hard, sisimai"].count(file, sum(hard) <= sum(known))
    for path in sorted((folder / "maildir" / "not").rglob("*.eml")):
        try:
            found = understand(path.read_bytes())
        except BulkmailError:
            found = Report(kind=Kind.NONE, source="")
        made["no effect of what is no bounce, sisimai"].count(os.fspath(path.relative_to(folder)), not effective(found))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=os.environ.get("BULKMAIL_CORPORA"))
    parser.add_argument("--wrong", action="store_true")
    options = parser.parse_args()
    if options.folder is None:
        parser.error("name the folder of the collections, or set BULKMAIL_CORPORA")
    for question, score in scores(Path(options.folder)).items():
        print(f"{question:<42} {score.judged - len(score.wrong):>4} of {score.judged:>4}  {score.share:7.2%}")
        for file in score.wrong if options.wrong else ():
            print(f"    {file}")


if __name__ == "__main__":
    main()
