"""What is wrong with one campaign file, collected so that a person sees all of it at once."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from bulkmail.errors import CampaignError

MAX_FINDINGS = 50

_plain_key = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*").fullmatch
_last_step = re.compile(r'(?:\.?[A-Za-z_][A-Za-z0-9_-]*|\[[0-9]+\]|\["(?:[^"\\]|\\.)*"\])$')


class Findings:
    """The errors found so far, and the line of every path seen (`delivery.retry[2]`)."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._lines: dict[str, int] = {}
        self._errors: list[CampaignError] = []

    def place(self, path: str, line: int) -> None:
        """Remember where a path stands."""
        self._lines[path] = line

    def is_placed(self, path: str) -> bool:
        """Whether this very path stands in the file."""
        return path in self._lines

    def line(self, path: str) -> int | None:
        """The line of the path, or of the nearest part of the file around it."""
        while path and path not in self._lines:
            shorter = _last_step.sub("", path)
            path = shorter if shorter != path else ""
        return self._lines.get(path)

    def add(self, path: str, message: str, *, hint: str | None = None) -> None:
        self._errors.append(CampaignError(message, file=self.file, line=self.line(path), path=path or None, hint=hint))
        if len(self._errors) >= MAX_FINDINGS:
            self.fail()

    def fail(self) -> NoReturn:
        """Raise the first error of the file, with the others in its `also`."""
        first, *others = sorted(self._errors, key=lambda error: error.line or 0)
        first.also = tuple(others)
        raise first

    def fail_if_any(self) -> None:
        if self._errors:
            self.fail()


def key_path(path: str, key: str) -> str:
    """The path of a key inside `path`."""
    if not _plain_key(key):
        return f'{path}["{key.replace(chr(92), chr(92) * 2).replace(chr(34), chr(92) + chr(34))}"]'
    return f"{path}.{key}" if path else key


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The one of the known words that is most like it, if any is."""
    near = get_close_matches(word.lower()[:80], [name.lower() for name in known], n=1)
    return next((name for name in known if name.lower() == near[0]), None) if near else None
