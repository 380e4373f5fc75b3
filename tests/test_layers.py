"""The layer picture of docs/architecture.md, executed: imports go down only, adapters do not know each other."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bulkmail"

LAYERS = {
    "errors": 0,
    "clock": 0,
    "model": 0,
    "native": 0,
    "smtp": 1,
    "content": 1,
    "address": 1,
    "dkim": 1,
    "authentication": 1,
    "feedback": 1,
    "policy": 2,
    "config": 3,
    "recipients": 3,
    "dns": 3,
    "net": 3,
    "http": 3,
    "store": 3,
    "events": 3,
    "mailbox": 3,
    "engine": 4,
    "library": 5,
    "composition": 5,
    "compilation": 5,
    "resumption": 5,
    "safeguards": 5,
    "nodeprocess": 5,
    "outbound": 5,
    "doctor": 5,
    "bench": 5,
    "preflight": 5,
    "cli": 5,
    "sandbox": 5,
    "simulation": 5,
    "serve": 5,
    "__init__": 5,
    "__main__": 5,
}
ADAPTERS = {name for name, layer in LAYERS.items() if layer == 3}
FORBIDDEN_NAMES = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "base"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[tuple[int, str]]:
    """Line and room (`store` for `bulkmail.store.journal`) of every import of the package in a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names = [node.module or ""]
            if node.module == "bulkmail":
                names = [f"bulkmail.{alias.name}" for alias in node.names]
        rooms = [[*name.split("."), "__init__"] for name in names]
        found.extend((node.lineno, room[1]) for room in rooms if room[0] == "bulkmail")
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    room = room_of(path)
    for line, other in imports_of(path):
        target = other if other in LAYERS else "__init__"
        if target == room:
            continue
        assert LAYERS[target] <= LAYERS[room], f"{path.name}:{line}: {room} imports {target}, which is above it"
        both_adapters = room in ADAPTERS and target in ADAPTERS
        assert not both_adapters, f"{path.name}:{line}: adapter {room} imports adapter {target}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_its_one_job(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, f"{path} has no docstring"
    assert len(docstring.splitlines()[0]) <= 120


def test_no_room_for_leftovers() -> None:
    assert not [path for path in FILES if path.stem in FORBIDDEN_NAMES]


def test_only_the_policy_decides_what_is_permanent() -> None:
    """`code >= 500` outside policy would be a second place that tells temporary from permanent."""
    for path in FILES:
        if room_of(path) in ("policy", "sandbox"):
            continue
        text = path.read_text()
        for phrase in ("code >= 500", "code // 100 == 5", "code >= 400"):
            assert phrase not in text, f"{path}: {phrase}"
