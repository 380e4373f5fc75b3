"""A YAML file as a tree of nodes that know their lines; everything that is wrong with it as YAML.

Only the plain part of YAML is taken: one document, text, numbers, truth values, lists and mappings, anchors and merge
keys. Tags are refused, so that no file can name a Python object. Size, depth and the number of nodes are bounded, and
aliases are shared nodes, never copies: a few lines cannot grow into gigabytes.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from yaml import MappingNode, Node, SequenceNode

from bulkmail.errors import CampaignError

try:
    from yaml import CSafeLoader as Loader
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

MAX_FILE_BYTES = 1 << 20
MAX_DEPTH = 40
MAX_NODES = 100_000

_TAG = "tag:yaml.org,2002:"
MERGE_TAG = _TAG + "merge"
_PLAIN_TAGS = frozenset(
    _TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp", "seq", "map", "merge", "value")
)
_forbidden = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]").search


def read_document(path: Path, name: str) -> MappingNode:
    """The mapping that a campaign file is. `name` is what errors call the file. Raises CampaignError."""
    text = _read_text(path, name)
    try:
        _bound(text, name)
        root = yaml.compose(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        raise _translate(error, text, name) from None
    except yaml.YAMLError as error:
        raise CampaignError(f"not valid YAML: {error}", file=name) from None
    if root is None:
        raise CampaignError("the file is empty", file=name)
    for node in _distinct_nodes(root):
        if node.tag not in _PLAIN_TAGS:
            raise CampaignError(f'the tag "{_short_tag(node.tag)}" is not allowed', file=name, line=line_of(node))
    if not isinstance(root, MappingNode):
        raise CampaignError(
            f"a mapping of keys to values is needed, found {described(root)}", file=name, line=line_of(root)
        )
    return root


def line_of(node: Node) -> int:
    """The line a node starts on; 1 is the first."""
    return int(node.start_mark.line) + 1


def kind_of(node: Node) -> str:
    """What YAML takes a node for: str, int, float, bool, null, timestamp, seq or map."""
    return str(node.tag).removeprefix(_TAG)


def described(node: Node) -> str:
    """The node as a sentence names it: `the number 2027`, `a list`, `"text"`."""
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    kind = kind_of(node)
    if kind == "null":
        return "nothing"
    noun = {"int": "the number ", "float": "the number ", "bool": "the truth value ", "timestamp": "the date "}
    return noun[kind] + str(node.value) if kind in noun else quoted(str(node.value))


def quoted(text: str, limit: int = 60) -> str:
    """Text of the user's in an error: on one line, without controls, not endless."""
    shown = text if len(text) <= limit else text[: limit - 3] + "..."
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown) + '"'


def _read_text(path: Path, name: str) -> str:
    try:
        if path.is_dir():
            campaigns = sorted(path.glob("*.yaml")) + sorted(path.glob("*.yml"))
            hint = f"write {Path(name, campaigns[0].name)}" if campaigns else None
            raise CampaignError("is a folder; a campaign file is needed", file=name, hint=hint)
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise CampaignError("no such file", file=name, hint=_other_campaigns(path)) from None
    except (OSError, ValueError) as error:
        raise CampaignError(f"cannot be read: {getattr(error, 'strerror', None) or error}", file=name) from None
    if len(data) > MAX_FILE_BYTES:
        raise CampaignError("larger than 1 MiB; recipients and content belong in files of their own", file=name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CampaignError(
            f"byte 0x{data[error.start]:02X} is not UTF-8", file=name, line=line, hint="save the file as UTF-8"
        ) from None
    control = _forbidden(text)
    if control is not None:
        line = text.count("\n", 0, control.start()) + 1
        raise CampaignError(f"control character U+{ord(control[0]):04X}", file=name, line=line)
    return text


def _other_campaigns(path: Path) -> str | None:
    try:
        found = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix in (".yaml", ".yml"))
    except OSError:
        return f"there is no folder {path.parent}"
    return f"{path.parent} has {', '.join(found[:8])}" if found else None


def _bound(text: str, name: str) -> None:
    """Refuse what is too deep or too much before anything recursive sees it."""
    depth = 0
    for nodes, event in enumerate(yaml.parse(text, Loader=Loader)):
        if isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            depth += 1
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            depth -= 1
        if depth > MAX_DEPTH or nodes > MAX_NODES:
            what = f"nested deeper than {MAX_DEPTH} levels" if depth > MAX_DEPTH else f"more than {MAX_NODES} values"
            mark = event.start_mark
            raise CampaignError(what, file=name, line=mark.line + 1 if mark else None)


def _distinct_nodes(root: Node) -> Iterator[Node]:
    """Every node once, however many aliases lead to it."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, SequenceNode):
            waiting.extend(reversed(node.value))
        elif isinstance(node, MappingNode):
            waiting.extend(part for pair in reversed(node.value) for part in reversed(pair))


def _short_tag(tag: str) -> str:
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag


def _translate(error: yaml.MarkedYAMLError, text: str, name: str) -> CampaignError:
    """The parser's complaint, said to somebody who writes campaigns: the same for both parsers of PyYAML."""
    context, problem = error.context or "", error.problem or ""
    lines = text.splitlines() or [""]
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    opened = error.context_mark.line if error.context_mark else line
    here = lines[line] if line < len(lines) else ""
    character = here[column : column + 1]
    hint = None
    if "cannot start any token" in problem:
        if character == "\t":
            message, hint = "a tab where spaces are needed", "indent with spaces"
        else:
            message, hint = f'a value starts with "{character}"', "put the value in quotes"
    elif "{{" in here and re.search(r"(: |- )\{\{", here):
        message, hint = 'a value starts with "{{"', "put the value in quotes"
    elif "mapping values are not allowed" in problem:
        if ": " in here[:column]:
            message, hint = 'a second ": " in the line', "put the value in quotes"
        else:
            message, hint = "the indentation does not fit the lines above", "line the keys up"
    elif "quoted scalar" in context and "end of stream" in problem:
        line, message = opened, "a quotation mark is not closed"
    elif "unknown escape" in problem:
        message, hint = "unknown escape after \\ in double quotes", "use single quotes, or write \\\\"
    elif "flow sequence" in context or "flow mapping" in context:
        line, message = opened, f"a {'[' if 'sequence' in context else '{'} is not closed, or a comma is missing"
    elif "simple key" in context:
        line, message = opened, "a key without a colon and a space after it"
    elif "alias" in context or "alias" in problem or "anchor" in context:
        found = lines[opened if "while" in context else line].strip()
        sign = "*" if "alias" in context + problem else "&"
        message, hint = f'a value starts with "{sign}" in {quoted(found)}', "put the value in quotes"
    elif "block collection" in context or "block mapping" in context:
        message, hint = "the indentation does not fit the lines above", "line the keys up"
    elif "another document" in problem:
        message, hint = "a second document", "a file holds one campaign"
    else:
        message = f"not valid YAML: {' '.join(part for part in (context, problem) if part)}"
    if not name.lower().endswith((".yaml", ".yml")):
        hint = "campaign files are YAML; is this one of the files that such a file names?"
    return CampaignError(message, file=name, line=line + 1, hint=hint)
