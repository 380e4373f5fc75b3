"""Rows that are tests of the ordinary suite: one line for those of them that belong together."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tests.torture.rows import Row, folder_on_disk

ROOT = Path(__file__).parents[2]
ISOLATION = "tests/simulation/test_isolation.py"
# What is wrong, where the tests are, which of them, and what they have found where they pass.
CHECKS = {
    "isolation": (
        "5 % of sites silent, dripping, closing, refusing, deferring, dead or without DNS",
        "one_site",
        "the others keep 90 % of their rate and more",
    ),
    "dns": ("DNS silent, or failing, for ten minutes", "dns", "nobody bounced; delivered by the retry schedule"),
    "clock": ("wall clock set by an hour or a day, forwards or back", "clock", "no retry moved, nobody given up"),
    "provider": ("a provider that refuses everything with 550 5.7.1", "provider", "nobody suppressed"),
}


def checks(name: str, *, where: str = ISOLATION) -> Row:
    """Run the tests; each that fails is a problem, and so is it where there are none."""
    fault, which, found = CHECKS[name]
    with folder_on_disk() as folder:
        report = folder / "report.xml"
        command = [sys.executable, "-m", "pytest", where, "-k", which, "-q", f"--junit-xml={report}"]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    failed = [
        f"{case.get('name')}: {(bad.get('message') or '').splitlines()[0]}"
        for case in cases
        for bad in (*case.findall("failure"), *case.findall("error"))
    ]
    skipped = [case.get("name") for case in cases if case.find("skipped") is not None]
    problems = failed + [f"{one} was skipped" for one in skipped] + ([] if cases else ["no test ran"])
    return Row(
        name=name,
        fault=fault,
        runs=str(len(cases)),
        recovery="" if problems else found,
        problems=tuple(problems),
    )
