"""What CI installs is pinned by hash, and is what pyproject.toml asks for."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
LOCK = ROOT / ".ci" / "requirements.txt"


def pins() -> dict[str, tuple[Requirement, list[str]]]:
    """Each package of the lock file with its hashes."""
    text = re.sub(r"\\\n\s+", " ", LOCK.read_text())
    found = {}
    for line in text.splitlines():
        pin, *hashes = line.split(" --hash=")
        requirement = Requirement(pin)
        found[canonicalize_name(requirement.name)] = (requirement, [one.strip() for one in hashes])
    return found


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def asked_for(names: Iterable[str], extras: dict[str, list[str]]) -> Iterator[Requirement]:
    """Requirements, with the project's own extras in place of its own name."""
    for text in names:
        requirement = Requirement(text)
        if requirement.name == "bulkmail":
            for extra in requirement.extras:
                yield from asked_for(extras[extra], extras)
        else:
            yield requirement


def test_everything_that_the_project_asks_for_is_pinned_at_a_version_that_fits() -> None:
    described, locked = project(), pins()
    extras = described["project"]["optional-dependencies"]
    wanted = [*described["project"]["dependencies"], *described["build-system"]["requires"], *extras["dev"]]
    asked = list(asked_for(wanted, extras))
    assert len(asked) > 25
    for requirement in asked:
        name = canonicalize_name(requirement.name)
        assert name in locked, f"{requirement.name} is not in {LOCK.name}: `make lock`"
        (specifier,) = locked[name][0].specifier
        assert requirement.specifier.contains(Version(specifier.version)), f"{name}: `make lock`"


def test_each_pin_is_one_version_and_the_hashes_of_its_files_and_says_nothing_of_where_they_come_from() -> None:
    locked = pins()
    assert len(locked) > 50
    for requirement, hashes in locked.values():
        assert [specifier.operator for specifier in requirement.specifier] == ["=="]
        assert requirement.url is None
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), requirement
    assert not re.search(r"^-|://", LOCK.read_text(), re.MULTILINE)


def test_what_is_pinned_fits_every_python_that_the_project_runs_on() -> None:
    # A marker of the interpreter would leave some of them with what is not pinned.
    markers = [str(pin.marker) for pin, _ in pins().values() if pin.marker is not None]
    assert not [marker for marker in markers if "python_version" in marker or "python_full_version" in marker]
