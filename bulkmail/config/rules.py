"""Reads a user's rules on what replies mean: a TOML file of `[[rule]]` tables that go before our own."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from bulkmail.config.findings import nearest
from bulkmail.errors import CampaignError
from bulkmail.model.delivery import Reason, Stage
from bulkmail.policy.rules import Rule, RuleBook, rule_book

FILE_NAME = "rules.toml"
FILE_LIMIT = 1 << 20
_HEADER = re.compile(r"^\s*\[\[\s*rule\s*\]\]")
_PLACE = re.compile(r"at line (\d+)")
_KEY = re.compile(r"`\$\.(\w+)|field `(\w+)`")
_ENHANCED = re.compile(r"none|\d{1,3}\.\d{1,3}(?:-\d{1,3})?")
_CONDITIONS = ("stages", "classes", "codes", "enhanced", "phrases")


def state_rules(directory: Path) -> tuple[Rule, ...]:
    """The rules that a state directory has of its own, for all campaigns sent from it. Raises CampaignError."""
    path = directory / FILE_NAME
    return read_rules(path) if path.exists() else ()


def read_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of one file, in order. Raises CampaignError with its line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CampaignError(f"cannot be read: {error.strerror}", file=str(path)) from None
    if len(data) > FILE_LIMIT:
        raise CampaignError(f"is larger than {FILE_LIMIT >> 20} MB", file=str(path))
    try:
        text = data.decode("utf-8")
        tables: dict[str, Any] = tomllib.loads(text)
    except UnicodeDecodeError:
        raise CampaignError("is not UTF-8", file=str(path), hint="save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        place = _PLACE.search(str(error))
        raise CampaignError(f"is no TOML: {error}", file=str(path), line=int(place[1]) if place else None) from None
    unknown = next((name for name in tables if name != "rule"), None)
    if unknown is not None:
        raise CampaignError(
            f"{unknown}: no such table",
            file=str(path),
            line=_line_of(text, unknown, 0),
            hint="rules are [[rule]] tables",
        )
    given = tables.get("rule", [])
    if not isinstance(given, list):
        raise CampaignError("[rule]: one pair of brackets is missing", file=str(path), hint="write [[rule]]")
    starts = [number for number, line in enumerate(text.splitlines()) if _HEADER.match(line)]
    taken = {compiled.rule.id for compiled in rule_book().rules}
    rules = []
    for position, table in enumerate(given):
        start = starts[position] if position < len(starts) else 0
        rule = _rule(table, path, text, start)
        if rule.id in taken:
            raise CampaignError(
                f"id: {rule.id!r} is taken", file=str(path), line=_line_of(text, "id", start), hint="choose another id"
            )
        taken.add(rule.id)
        rules.append(rule)
    return tuple(rules)


def _rule(table: object, path: Path, text: str, start: int) -> Rule:
    def refuse(key: str, problem: str, hint: str | None = None) -> CampaignError:
        return CampaignError(f"{key}: {problem}", file=str(path), line=_line_of(text, key, start), hint=hint)

    try:
        rule = msgspec.convert(table, Rule)
    except msgspec.ValidationError as error:
        found = _KEY.search(str(error))
        key = (found[1] or found[2]) if found is not None else "rule"
        meant = nearest(key, Rule.__struct_fields__) if "unknown" in str(error) else None
        sentence = str(error).partition(" - at")[0]
        raise refuse(key, sentence, f"did you mean {meant}?" if meant else None) from None
    if not any(getattr(rule, name) for name in _CONDITIONS):
        raise refuse("rule", f"{rule.id} has no condition: it would fit every reply", f"give {', '.join(_CONDITIONS)}")
    names = {
        "reason": ((rule.reason,), [each.label for each in Reason if each]),
        "stages": (rule.stages, [each.label for each in Stage if each]),
    }
    for key, (values, known) in names.items():
        for value in values:
            if value not in known:
                meant = nearest(value, known)
                raise refuse(
                    key, f"{value!r} is none", f"did you mean {meant}?" if meant else f"one of {', '.join(known)}"
                )
    for pattern in rule.enhanced:
        if not _ENHANCED.fullmatch(pattern):
            raise refuse("enhanced", f"{pattern!r} is no subject and detail", 'such as "7.1", "7.500-699" or "none"')
    wrong = next((code for code in rule.codes if not 400 <= code <= 599), None)
    if wrong is not None:
        raise refuse("codes", f"{wrong} is no refusal", "codes from 400 to 599")
    try:
        RuleBook((rule,))
    except ValueError as error:
        raise refuse("phrases", str(error), "begin with three letters at least") from None
    return rule


def _line_of(text: str, key: str, start: int) -> int:
    """The line, counted from 1, of `key = ...` in the table that begins at line `start`; else that table's first."""
    lines = text.splitlines()
    for number in range(start, len(lines)):
        if number > start and _HEADER.match(lines[number]):
            break
        if re.match(rf"\s*\[*\s*{re.escape(key)}\s*[=\]]", lines[number]):
            return number + 1
    return start + 1
