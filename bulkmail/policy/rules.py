"""Compiles `replies.toml` and `effects.toml` and finds the first entry that fits a reply.

A reply's text is brought to plain words first: capped, lower case, addresses dropped (a local part may read
`blocked`), everything but letters, digits and inner apostrophes a space. A phrase is a run of such words that starts
at a word and may end inside one (`reject` fits `rejected`, `reject.` does not); `*` stands for up to 80 characters,
`{a|b}` for either of two. All matching is substring search, so its time grows with the text's length and never
explodes, whatever a server says.
"""

import itertools
import re
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from bulkmail.errors import InternalError
from bulkmail.model.delivery import Disposition, Reason, Reply, Stage
from bulkmail.policy.verdict import LaneAction, Subject

TEXT_LIMIT = 4096
GAP_LIMIT = 80
START_LIMIT = 16

_NO_WORD = re.compile(r"[^\w']+|_|(?<!\w)'|'(?!\w)")
_SPACE = re.compile(" ")
_BRACES = re.compile(r"[{}]")
_Entry = TypeVar("_Entry")


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[rule]]`: all conditions that are given must hold; the rest overrides what `effects.toml` says.

    `treat` makes a 5yz temporary (4) or a 4yz permanent (5). `pause_seconds` is the least pause, before scaling.
    """

    id: str
    reason: str
    stages: tuple[str, ...] = ()
    classes: tuple[Literal[4, 5], ...] = ()
    codes: tuple[int, ...] = ()
    enhanced: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    treat: Literal[4, 5] | None = None
    subject: Subject | None = None
    charged: bool | None = None
    lane: LaneAction | None = None
    suppress: bool = True
    pause_seconds: float | None = None


class Effect(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[effect]]` (of a reply) or `[[failure]]` (no reply): what a reason means at a stage."""

    subject: Subject
    disposition: Literal["deferred", "bounced", "expired", "suppressed", "in_doubt"]
    reasons: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    classes: tuple[Literal[4, 5], ...] = ()
    codes: tuple[int, ...] = ()
    charged: bool = True
    suppress: bool = False
    lane: LaneAction = LaneAction.NONE
    pause_seconds: float = 0.0

    @property
    def outcome(self) -> Disposition:
        return Disposition[self.disposition.upper()]


class CompiledRule:
    """A rule ready to be tried; `phrases` are its phrases' parts, empty where any text will do."""

    __slots__ = ("_classes", "_codes", "_enhanced", "_stages", "phrases", "reason", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.reason = Reason[rule.reason.upper()]
        spelled_out = (phrase for written in rule.phrases for phrase in _spelled_out(written))
        self.phrases = tuple(tuple(map(_phrase_part, phrase.split("*"))) for phrase in spelled_out)
        self._stages = _stages(rule.stages)
        self._classes = frozenset(rule.classes)
        self._codes = frozenset(rule.codes)
        self._enhanced = frozenset(pair for pattern in rule.enhanced for pair in _enhanced_pairs(pattern))

    def applies(self, stage: Stage, code: int, enhanced: tuple[int, int] | None) -> bool:
        """Whether every condition but the text's holds."""
        return (
            (not self._stages or stage in self._stages)
            and (not self._codes or code in self._codes)
            and (not self._classes or code // 100 in self._classes)
            and (not self._enhanced or enhanced in self._enhanced)
        )


class RuleBook:
    """All rules in order, and an index from a phrase's first `KEY_LENGTH` characters to where it is used.

    Only phrases whose key stands at a word of the text are searched for: a dozen of a thousand.
    """

    KEY_LENGTH = 3

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(map(CompiledRule, rules))
        self._by_key: dict[str, list[tuple[CompiledRule, tuple[str, ...]]]] = {}
        for rule in self.rules:
            for phrase in rule.phrases:
                key = phrase[0].lstrip()[: self.KEY_LENGTH]
                if len(key) < self.KEY_LENGTH:
                    raise ValueError(
                        f"rule {rule.rule.id}: the phrase {phrase[0].strip()!r} begins with too few letters"
                    )
                self._by_key.setdefault(key, []).append((rule, phrase))
        self._applicable = lru_cache(maxsize=1024)(self._find_applicable)

    def after(self, rules: Sequence[Rule]) -> "RuleBook":
        """A book in which `rules` come first."""
        return RuleBook((*rules, *(compiled.rule for compiled in self.rules))) if rules else self

    def first(self, stage: Stage, code: int, enhanced: tuple[int, int] | None, text: str) -> CompiledRule:
        """The first rule that fits; `text` is in plain words."""
        words = f" {text} "
        keys = {words[match.end() : match.end() + self.KEY_LENGTH] for match in _SPACE.finditer(words)}
        candidates: dict[CompiledRule, list[tuple[str, ...]]] = {}
        for key in keys:
            for rule, phrase in self._by_key.get(key, ()):
                candidates.setdefault(rule, []).append(phrase)
        for rule in self._applicable(stage, code, enhanced):
            if not rule.phrases or any(_contains(words, phrase) for phrase in candidates.get(rule, ())):
                return rule
        raise InternalError(f"replies.toml has no rule for {code} at {stage.label}: the last must be for any")

    def _find_applicable(self, stage: Stage, code: int, enhanced: tuple[int, int] | None) -> tuple[CompiledRule, ...]:
        return tuple(rule for rule in self.rules if rule.applies(stage, code, enhanced))


class CompiledEffect:
    """An effect ready to be tried."""

    __slots__ = ("_classes", "_codes", "_reasons", "_stages", "effect")

    def __init__(self, effect: Effect) -> None:
        self.effect = effect
        self._reasons = frozenset(Reason[name.upper()] for name in effect.reasons)
        self._stages = _stages(effect.stages)
        self._classes = frozenset(effect.classes)
        self._codes = frozenset(effect.codes)

    def fits(self, stage: Stage, code: int, klass: int, reason: Reason) -> bool:
        return (
            (not self._stages or stage in self._stages)
            and (not self._classes or klass in self._classes)
            and (not self._codes or code in self._codes)
            and (not self._reasons or reason in self._reasons)
        )


def first_rule(stage: Stage, reply: Reply, book: RuleBook | None = None) -> CompiledRule:
    """The first rule of `book` (default: `replies.toml`) that fits the reply; the last one fits any."""
    return (book or rule_book()).first(stage, reply.code, _enhanced_of(reply), plain_words(_without_addresses(reply)))


def deciding_phrase(rule: CompiledRule, reply: Reply) -> str:
    """The first of the rule's phrases that occurs in the reply, its parts joined by `*`; "" where any text will do."""
    words = f" {plain_words(_without_addresses(reply))} "
    return next(("*".join(phrase).strip() for phrase in rule.phrases if _contains(words, phrase)), "")


def effect_of_reply(stage: Stage, code: int, klass: int, reason: Reason) -> Effect:
    """What `reason` means at `stage` for a reply to be treated as of class `klass` (4 or 5)."""
    return first_effect(_effects().effect, stage, code, klass, reason)


def effect_of_failure(stage: Stage, reason: Reason) -> Effect:
    """What `reason` means at `stage` where there was no reply."""
    return first_effect(_effects().failure, stage, 0, 0, reason)


def plain_words(text: str) -> str:
    """Lower-case words separated by single spaces: `550-[TSS04] Mail_box full!` -> `550 tss04 mail box full`."""
    return " ".join(_NO_WORD.sub(" ", text.lower().replace("\u2019", "'")).split())


def packaged_entries(name: str, key: str, entry: type[_Entry]) -> tuple[_Entry, ...]:
    """The `[[key]]` tables of a data file of this package, checked against `entry`."""
    tables: dict[str, Any] = tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    return msgspec.convert(tables[key], tuple[entry, ...])  # type: ignore[valid-type]


class _Effects:
    __slots__ = ("effect", "failure")

    def __init__(self) -> None:
        self.effect = tuple(map(CompiledEffect, packaged_entries("effects.toml", "effect", Effect)))
        self.failure = tuple(map(CompiledEffect, packaged_entries("effects.toml", "failure", Effect)))


@cache
def rule_book() -> RuleBook:
    """`replies.toml`, read once."""
    return RuleBook(packaged_entries("replies.toml", "rule", Rule))


@cache
def _effects() -> _Effects:
    return _Effects()


def first_effect(effects: Sequence[CompiledEffect], stage: Stage, code: int, klass: int, reason: Reason) -> Effect:
    for compiled in effects:
        if compiled.fits(stage, code, klass, reason):
            return compiled.effect
    raise InternalError(f"effects.toml says nothing of {reason.label} at {stage.label}")


def _stages(names: Sequence[str]) -> frozenset[Stage]:
    return frozenset(Stage[name.upper()] for name in names)


def _enhanced_pairs(pattern: str) -> Iterator[tuple[int, int] | None]:
    """Subject and detail of the enhanced codes of `7.26`, `7.606-649` or `none` (RFC 3463 §2)."""
    if pattern == "none":
        yield None
        return
    subject, _, details = pattern.partition(".")
    low, _, high = details.partition("-")
    for detail in range(int(low), int(high or low) + 1):
        yield int(subject), detail


def _spelled_out(phrase: str) -> Iterator[str]:
    """`{mailbox|account} disabled`: both phrases."""
    pieces = [piece.split("|") for piece in _BRACES.split(phrase)]
    return ("".join(choice) for choice in itertools.product(*pieces))


def _phrase_part(text: str) -> str:
    return f" {plain_words(text)}{' ' if text.rstrip().endswith('.') else ''}"


def _enhanced_of(reply: Reply) -> tuple[int, int] | None:
    """Subject and detail, where the class agrees with the code (RFC 2034 §4); anything else is as good as none."""
    parts = (reply.enhanced or "").split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts):
        return None
    klass, subject, detail = map(int, parts)
    return (subject, detail) if klass == reply.code // 100 else None


def _without_addresses(reply: Reply) -> str:
    return " ".join(word for word in reply.text[:TEXT_LIMIT].split() if "@" not in word and word != reply.enhanced)


def _contains(words: str, phrase: tuple[str, ...]) -> bool:
    """Whether the parts follow each other, each at most `GAP_LIMIT` characters after the one before."""
    first, *others = phrase
    start = words.find(first)
    for _ in range(START_LIMIT):
        if start < 0:
            return False
        end = _end_of(first, start)
        for part in others:
            found = words.find(part, end, end + GAP_LIMIT + len(part))
            if found < 0:
                break
            end = _end_of(part, found)
        else:
            return True
        start = words.find(first, start + 1)
    return False


def _end_of(part: str, start: int) -> int:
    """Where the next part may start: its leading space may be the one that ends this part."""
    return start + len(part.rstrip())
