"""The nodes of a file held against the types of its model: unknown keys, missing keys, values of another kind.

The model's own annotations are the rules, so that a key added there is known here. What YAML 1.1 makes of unquoted
words (`no` a truth value, `2027` a number, `1:30` ninety) is told to the user instead of guessed back.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar, get_args

import msgspec
from msgspec import inspect
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from bulkmail.config.document import MERGE_TAG, described, kind_of, line_of, quoted
from bulkmail.config.findings import Findings, key_path, nearest
from bulkmail.config.units import parse_bytes, parse_rate, parse_seconds, parse_share
from bulkmail.model.campaign import Name
from bulkmail.model.units import ByteCount, PerSecond, Seconds, Share

MAX_MERGED_KEYS = 10_000

QUANTITIES: dict[type, Callable[[str], Any]] = {
    Seconds: parse_seconds,
    PerSecond: parse_rate,
    ByteCount: parse_bytes,
    Share: parse_share,
}

_TRUTH = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
# What a pattern of the model means to a person.
_PATTERN_SENTENCES = {
    get_args(Name)[1].pattern: "has something other than letters, digits, - and _, or more than 64 of them",
}
_decimal = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})").fullmatch
_WRONG = object()
T = TypeVar("T", bound=msgspec.Struct)


def read_struct(root: MappingNode, model: type[T], findings: Findings) -> T:
    """The model's value that the mapping describes. Raises CampaignError with everything that stands against it."""
    shape = inspect.type_info(model)
    assert isinstance(shape, inspect.StructType)
    values = _Reader(findings, _homes_of_keys(shape)).struct(root, shape, "")
    findings.fail_if_any()
    try:
        return msgspec.convert(values, model, dec_hook=_as_it_is)
    except msgspec.ValidationError as error:
        # A constraint of the model that the reader has no sentence of its own for.
        message, _, path = str(error).partition(" - at `$")
        findings.add(_key_names(path), message[:1].lower() + message[1:])
        findings.fail()


def _as_it_is(_: type, value: Any) -> Any:
    return value


def _homes_of_keys(shape: inspect.StructType, path: str = "") -> dict[str, str]:
    """Every key of a section of its own, with the path of the section: where a key put in the wrong place belongs."""
    homes: dict[str, str] = {}
    for field in shape.fields:
        if path and field.encode_name == "limits":
            # Their place is at the top; those of one relay or source are a special case.
            continue
        inner = field.type
        if isinstance(inner, inspect.Metadata) and isinstance(inner.type, inspect.VarTupleType):
            inner = inner.type.item_type
        if isinstance(inner, inspect.UnionType):
            inner = next(kind for kind in inner.types if not isinstance(kind, inspect.NoneType))
        if isinstance(inner, inspect.StructType):
            for key, home in _homes_of_keys(inner, key_path(path, field.encode_name)).items():
                homes.setdefault(key, home)
        if path:
            homes[field.encode_name] = path
    return homes


def _key_names(msgspec_path: str) -> str:
    """`.delivery.retry[2]` + backtick, as msgspec ends its messages, to `delivery.retry[2]`."""
    return msgspec_path.rstrip("`").lstrip(".")


class _Reader:
    """One pass over one file; `_WRONG` stands for a value whose error is recorded already."""

    def __init__(self, findings: Findings, homes: dict[str, str]) -> None:
        self._findings = findings
        self._homes = homes
        self._merged = 0

    def struct(self, node: Node, shape: inspect.StructType, path: str) -> Any:
        names = [field.encode_name for field in shape.fields]
        if not isinstance(node, MappingNode):
            keys = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
            return self._wrong(path, f"a mapping with the keys {keys} is needed, found {described(node)}")
        values = {}
        meant = set()
        pairs = self._pairs(node, path)
        for key, value_node in pairs.items():
            field = next((field for field in shape.fields if field.encode_name == key), None)
            if field is None:
                meant.add(self._unknown(key, names, path))
                continue
            value = self._optional(value_node, field, key_path(path, key))
            if value is not msgspec.UNSET:
                values[key] = value
        for field in shape.fields:
            if field.required and field.encode_name not in pairs and field.encode_name not in meant:
                self._findings.add(path, f'the key "{field.encode_name}" is missing')
        return values

    def _optional(self, node: Node, field: inspect.Field, path: str) -> Any:
        """A section whose lines are all commented out counts as left out; a single value left empty does not."""
        if kind_of(node) == "null":
            shape = field.type.type if isinstance(field.type, inspect.Metadata) else field.type
            sections = (inspect.StructType, inspect.VarTupleType, inspect.DictType)
            if isinstance(shape, inspect.UnionType):
                return None
            if not field.required and isinstance(shape, sections):
                return msgspec.UNSET
        return self.value(node, field.type, path)

    def value(self, node: Node, shape: inspect.Type, path: str) -> Any:
        match shape:
            case inspect.Metadata():
                # `one_or_more`: one of a list may be written without the list.
                if isinstance(shape.type, inspect.VarTupleType) and isinstance(node, MappingNode):
                    return [self.value(node, shape.type.item_type, path)]
                return self.value(node, shape.type, path)
            case inspect.UnionType():
                if kind_of(node) == "null":
                    return None
                inner = next(kind for kind in shape.types if not isinstance(kind, inspect.NoneType))
                return self.value(node, inner, path)
            case inspect.StructType():
                return self.struct(node, shape, path)
            case inspect.VarTupleType():
                return self._list(node, shape, path)
            case inspect.DictType():
                if not isinstance(node, MappingNode):
                    return self._wrong(path, f"a mapping is needed, found {described(node)}")
                pairs = self._pairs(node, path)
                return {key: self.value(value, shape.value_type, key_path(path, key)) for key, value in pairs.items()}
            case inspect.StrType():
                return self._text(node, shape, path)
            case inspect.LiteralType():
                return self._word(node, shape, path)
            case inspect.BoolType():
                truth = _TRUTH.get(str(node.value).lower()) if kind_of(node) == "bool" else None
                return (
                    self._wrong(path, f"true or false is needed, found {described(node)}") if truth is None else truth
                )
            case inspect.IntType():
                return self._whole_number(node, shape, path)
            case inspect.CustomType():
                return self._quantity(node, shape, path)
        raise NotImplementedError(f"{path}: no reader for {shape}")

    def _list(self, node: Node, shape: inspect.VarTupleType, path: str) -> Any:
        if not isinstance(node, SequenceNode):
            hint = None
            if (
                isinstance(node, ScalarNode)
                and kind_of(node) != "null"
                and isinstance(shape.item_type, inspect.StructType)
            ):
                # Brackets alone would not help: what is to stand in them is said.
                return self.value(node, shape.item_type, path)
            if kind_of(node) != "null":
                hint = 'begin it with "- "' if isinstance(node, MappingNode) else "put it in [ ]"
            return self._wrong(path, f"a list is needed, found {described(node)}", hint=hint)
        items = []
        for index, item in enumerate(node.value):
            item_path = f"{path}[{index}]"
            self._findings.place(item_path, line_of(item))
            items.append(self.value(item, shape.item_type, item_path))
        return items

    def _text(self, node: Node, shape: inspect.StrType, path: str) -> Any:
        if isinstance(node, MappingNode) and node.flow_style and any(isinstance(k, MappingNode) for k, _ in node.value):
            return self._wrong(path, 'a value starts with "{{"', hint="put the value in quotes")
        if not isinstance(node, ScalarNode):
            return self._wrong(path, f"text is needed, found {described(node)}")
        if kind_of(node) == "null":
            return self._wrong(path, "text is needed, found nothing")
        if kind_of(node) not in ("str", "value"):
            return self._wrong(
                path, f"text is needed, found {described(node)}", hint=f"put it in quotes: {quoted(node.value)}"
            )
        # \Z, because $ lets a line break follow.
        if shape.pattern is not None and not re.search(shape.pattern.removesuffix("$") + r"\Z", node.value):
            sentence = _PATTERN_SENTENCES.get(shape.pattern, f"does not match {shape.pattern}")
            return self._wrong(path, f"{quoted(node.value)} {sentence}")
        return node.value

    def _word(self, node: Node, shape: inspect.LiteralType, path: str) -> Any:
        words = [str(word) for word in shape.values]
        if not isinstance(node, ScalarNode) or node.value not in words:
            meant = nearest(node.value, words) if isinstance(node, ScalarNode) else None
            hint = f'did you mean "{meant}"?' if meant else None
            return self._wrong(path, f"one of {', '.join(words)} is needed, found {described(node)}", hint=hint)
        return node.value

    def _whole_number(self, node: Node, shape: inspect.IntType, path: str) -> Any:
        wanted = "a whole number"
        if shape.ge is not None:
            wanted += f" from {shape.ge}" + (f" to {shape.le}" if shape.le is not None else " up")
        if not isinstance(node, ScalarNode) or kind_of(node) != "int" or not _decimal(node.value):
            in_quotes = isinstance(node, ScalarNode) and kind_of(node) == "str" and _decimal(node.value)
            hint = "leave out the quotes" if in_quotes else None
            return self._wrong(path, f"{wanted} is needed, found {described(node)}", hint=hint)
        number = int(node.value)
        if (shape.ge is not None and number < shape.ge) or (shape.le is not None and number > shape.le):
            return self._wrong(path, f"{wanted} is needed, found {described(node)}")
        return number

    def _quantity(self, node: Node, shape: inspect.CustomType, path: str) -> Any:
        if not isinstance(node, ScalarNode):
            return self._wrong(path, f"a quantity is needed, found {described(node)}")
        try:
            return QUANTITIES[shape.cls](node.value)
        except ValueError as error:
            found = quoted(node.value) if node.value else "nothing"
            return self._wrong(path, f"{error}, found {found}")

    def _pairs(self, node: MappingNode, path: str) -> dict[str, Node]:
        """The keys of a mapping as text; a key twice is an error, merged keys give way to the mapping's own."""
        own: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        merge_line = 0
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._findings.place(path, line_of(key_node))
                self._findings.add(path, f"a key must be a word, found {described(key_node)}")
                continue
            key, line = key_node.value, line_of(key_node)
            if key_node.tag == MERGE_TAG:
                merge_line = line
                self._merge(value_node, merged, path)
                continue
            where = key_path(path, key)
            if key in own:
                first = self._findings.line(where)
                self._findings.place(where, line)
                self._findings.add(where, f"the key is there twice, first in line {first}")
                continue
            own[key] = value_node
            self._findings.place(where, line)
        for key in merged.keys() - own.keys():
            self._findings.place(key_path(path, key), merge_line)
        return merged | own

    def _merge(self, node: Node, into: dict[str, Node], path: str) -> None:
        """`<<: *anchor`, or a list of such, the first of which wins. Counted: merges of merges can grow without end."""
        waiting = list(reversed(node.value)) if isinstance(node, SequenceNode) else [node]
        while waiting:
            source = waiting.pop()
            self._merged += 1
            if self._merged > MAX_MERGED_KEYS or not isinstance(source, MappingNode):
                many = self._merged > MAX_MERGED_KEYS
                self._findings.add(path, "too many merged keys" if many else "<< takes a mapping or a list of mappings")
                return
            for key_node, value_node in source.value:
                self._merged += 1
                if key_node.tag == MERGE_TAG:
                    waiting += reversed(value_node.value) if isinstance(value_node, SequenceNode) else [value_node]
                elif isinstance(key_node, ScalarNode) and key_node.value not in into:
                    into[key_node.value] = value_node

    def _unknown(self, key: str, names: list[str], path: str) -> str | None:
        """The key that was meant, if there is one like it; then it does not count as missing too."""
        meant = nearest(key, names)
        hint = f'did you mean "{meant}"?' if meant else f"known here: {', '.join(names)}"
        if key not in names and self._homes.get(key, path) != path:
            hint = f"it belongs in {self._homes[key]}"
        self._findings.add(key_path(path, key), "unknown key", hint=hint)
        return meant

    def _wrong(self, path: str, message: str, *, hint: str | None = None) -> object:
        self._findings.add(path, message, hint=hint)
        return _WRONG
