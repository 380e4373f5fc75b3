"""Rows that are tests of the ordinary suite: one line for those of them that belong together."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from msgspec import Struct

from tests.torture.rows import Row, folder_on_disk

ROOT = Path(__file__).parents[2]
ISOLATION = "tests/simulation/test_isolation.py"


class Check(Struct, frozen=True):
    """What is wrong, which tests of which file, and what they have found where they pass."""

    fault: str
    which: str
    found: str
    where: str = ISOLATION


CHECKS = {
    "isolation": Check(
        "5 % of sites silent, dripping, closing, refusing, deferring, dead or without DNS; 160 connections, or 10",
        "one_site",
        "the others keep 92 % of their rate and more",
    ),
    "dns": Check("DNS silent, or failing, for ten minutes", "dns", "nobody bounced; delivered by the retry schedule"),
    "clock": Check("wall clock set by an hour or a day, forwards or back", "clock", "no retry moved, nobody given up"),
    "provider": Check("a provider that refuses everything with 550 5.7.1", "provider", "nobody suppressed"),
    "loop": Check(
        "the event loop, 4,900 recipients at 1,500 sites with DNS, TLS, greylisting, intake and folds",
        "thousands",
        "no turn takes 50 ms of CPU",
        "tests/engine/test_watch.py",
    ),
    "full-disk": Check(
        "a real disk full for half a minute, from each job of the threads on",
        "disk",
        "the send waits and goes on by itself, each of some fifty times",
        "tests/simulation/test_full_disk.py",
    ),
    "files": Check(
        "files open in sends to 108 domains that refuse, close, reset, defer, are dead or unknown",
        "files",
        "one for each connection and 25 more; then as many as before",
        "tests/engine/test_descriptors.py",
    ),
    "growth": Check(
        "what is held after 700 domains: containers that have grown with their number",
        "grow",
        "the DNS cache and the counts of sites, both bounded",
    ),
}


def checks(name: str) -> Row:
    """Run the tests; each that fails is a problem, and so is it where there are none."""
    check = CHECKS[name]
    with folder_on_disk() as folder:
        report = folder / "report.xml"
        command = [sys.executable, "-m", "pytest", check.where, "-k", check.which, "-q", f"--junit-xml={report}"]
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
        fault=check.fault,
        runs=str(len(cases)),
        note="" if problems else check.found,
        problems=tuple(problems),
    )
