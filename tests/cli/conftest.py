"""Small campaigns, and the command line run in this process and in processes of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

ROOT = Path(__file__).parents[2]

YAML = """\
campaign: letter
kind: transactional
from: "Acme <news@garden.example>"
subject: "Hello {{ first_name }}"
content: {html: body.html, text: body.txt, inline: [logo.png]}
recipients:
  - {file: recipients.csv, list: letter}
delivery:
  route: sandbox
  retry: [1s]
  expire: 20s
"""


class Folder:
    """A campaign in a folder of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "letter.yaml"
        self.state = path / ".bulkmail"
        self.recipients = path / "recipients.csv"
        self.file.write_text(YAML)
        (path / "body.html").write_text('<p>Hello {{ first_name }}</p><img src="logo.png">\n')
        (path / "body.txt").write_text("Hello {{ first_name }}\n.\n")
        (path / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        self.write_rows(f"reader{number}@own-house.example,Reader {number}" for number in range(30))

    def write_rows(self, rows: "Iterator[str] | list[str]") -> None:
        self.recipients.write_text("email,first_name\n" + "".join(f"{row}\n" for row in rows))

    def edit(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def files(self) -> set[Path]:
        return set(self.path.rglob("*"))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BULKMAIL_STATE", raising=False)
    monkeypatch.delenv("BULKMAIL_DEBUG", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)


Call = Callable[..., Result]


@pytest.fixture
def call() -> Call:
    """The command line in this process."""
    from bulkmail.cli.main import command_line

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(command_line(), [str(argument) for argument in arguments], catch_exceptions=False)

    return run


Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """The command line in a process of its own, ended with the test."""
    processes: list[subprocess.Popen[str]] = []

    def run(*arguments: object, **options: object) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "bulkmail", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
            **options,  # type: ignore[call-overload]
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()
