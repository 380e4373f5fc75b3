"""Where in an HTML page a value is printed, and what it must be there: text, a link, a style, or nothing at all.

Escaping `<`, `>`, `&` and quotes makes a value safe between tags and in a quoted attribute. It does not in an attribute
without quotes, where a space begins the next one, nor at the start of a link, where `javascript:` runs. So the literal
text around each value is read as a browser reads it (HTML Living Standard §13.2.5), along every branch of the template.
"""

import html
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from jinja2 import nodes
from markupsafe import Markup

from bulkmail.content.errors import ContentError

LINK, STYLE = "_link", "_style"
URL_ATTRIBUTES = frozenset(("action", "background", "cite", "data", "formaction", "href", "longdesc", "manifest",
                            "ping", "poster", "src", "srcset", "usemap", "xlink:href"))  # fmt: skip
LINK_SCHEMES = frozenset(("http", "https", "mailto", "tel", "sms", "cid"))
# Names whose values the program makes itself.
OWN_LINKS = frozenset(("unsubscribe_url", "open_pixel", "token", "message_id", "campaign"))

_scheme = re.compile(r"([^/?#]*?):")
_unseen = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]+")
_style_breakers = re.compile(r"[;{}()<>\"'\\@]|/\*")


class State(NamedTuple):
    """Where a reader of the page stands."""

    kind: str = "text"  # text, raw, comment, declaration, tag, name, attribute, before, quoted, bare
    tag: str = ""
    attribute: str = ""
    quote: str = ""
    fresh: bool = False  # in the value of an attribute: what a link leads to is still open


TEXT = State()
OPEN = {"<": State("name"), "</": State("name", "/")}
_opening = re.compile(r"<(?:!--(?P<empty>-?>)|!--(?P<cond>\[if\b)?|(?P<decl>[!?])|(?P<tag>/?[A-Za-z][^\s/>]*))")
_attribute = re.compile(r"""[^\s/>=]+""")
_RAW = ("script", "style", "title", "textarea", "xmp", "noscript")


def feed(state: State, text: str) -> State:
    """The state behind some literal text."""
    if state in OPEN.values():
        return feed(TEXT, f"<{state.tag}{text}") if text else state
    position, size = 0, len(text)
    while position < size:
        match state.kind:
            case "text":
                found = _opening.search(text, position)
                if found is None:
                    return OPEN["</" if text.endswith("</") else "<"] if text.endswith(("<", "</")) else state
                position = found.end()
                if found["empty"]:
                    continue
                if found["tag"]:
                    state = State("name" if position == size else "tag", found["tag"].lower())
                elif found["decl"] or found["cond"]:
                    state = State("declaration")
                else:
                    state = State("comment")
            case "declaration" | "comment":
                end = ">" if state.kind == "declaration" else "-->"
                at = text.find(end, position)
                if at < 0:
                    return state
                position, state = at + len(end), TEXT
            case "raw":
                found = re.compile(rf"</{re.escape(state.tag)}(?=[\s/>])", re.I).search(text, position)
                if found is None:
                    return state
                position, state = found.end(), State("tag", f"/{state.tag}")
            case "name":
                found = re.compile(r"[^\s/>]*").match(text, position)
                assert found is not None
                name = state.tag + found[0].lower()
                position, state = found.end(), State("name" if found.end() == size else "tag", name)
            case "tag":
                character = text[position]
                position += 1
                if character == ">":
                    state = State("raw", state.tag) if state.tag in _RAW else TEXT
                elif not character.isspace() and character != "/":
                    state, position = State("attribute", state.tag), position - 1
            case "attribute":
                found = _attribute.match(text, position)
                if found is not None:
                    state, position = state._replace(attribute=state.attribute + found[0].lower()), found.end()
                    continue
                if text[position].isspace():
                    rest = text[position:].lstrip()
                    position = size - len(rest)
                    if rest and not rest.startswith("="):
                        state = State("tag", state.tag)
                elif text[position] == "=":
                    position, state = position + 1, state._replace(kind="before", fresh=True)
                else:
                    state = State("tag", state.tag)
            case "before":
                character = text[position]
                if character in "\"'":
                    position, state = position + 1, state._replace(kind="quoted", quote=character)
                elif character.isspace():
                    position += 1
                elif character == ">":
                    state = State("tag", state.tag)
                else:
                    state = state._replace(kind="bare")
            case "quoted":
                at = text.find(state.quote, position)
                piece = text[position : at if at >= 0 else size]
                if at < 0:
                    return state._replace(fresh=state.fresh and not re.search(r"[/?#:]", piece))
                position, state = at + 1, State("tag", state.tag)
            case _:
                found = re.compile(r"[\s>]").search(text, position)
                if found is None:
                    return state
                position, state = found.start(), State("tag", state.tag)
    return state


class Places:
    """Walks a page's tree and puts each value under the rule of its place; `refuse` gets line and sentence."""

    def __init__(self, refuse: Callable[[int, str], None]) -> None:
        self.refuse = refuse

    def page(self, tree: nodes.Template) -> None:
        self.body(tree.body, frozenset((TEXT,)))

    def body(self, body: Sequence[nodes.Node], states: frozenset[State]) -> frozenset[State]:
        for node in body:
            states = self.statement(node, states)
        return states

    def statement(self, node: nodes.Node, states: frozenset[State]) -> frozenset[State]:
        match node:
            case nodes.Output():
                return self.output(node, states)
            case nodes.If():
                after = self.body(node.body, states)
                for arm in node.elif_:
                    after |= self.body(arm.body, states)
                return after | (self.body(node.else_, states) if node.else_ else states)
            case nodes.For():
                after = states
                for _ in range(2):
                    after |= self.body(node.body, after)
                return after | self.body(node.else_, states)
            case nodes.With() | nodes.Scope() | nodes.Block() | nodes.FilterBlock():
                return self.body(node.body, states)
            case nodes.Macro() | nodes.CallBlock() | nodes.AssignBlock():
                self.body(node.body, frozenset((TEXT,)))
        return states

    def output(self, node: nodes.Output, states: frozenset[State]) -> frozenset[State]:
        for position, child in enumerate(node.nodes):
            if isinstance(child, nodes.TemplateData):
                states = frozenset(feed(state, child.data) for state in states)
            elif not isinstance(child, nodes.Const):
                for state in states:
                    node.nodes[position] = child = self.placed(child, state)
        return states

    def placed(self, node: nodes.Expr, state: State) -> nodes.Expr:
        marked = set(filters_of(node))
        if marked & {LINK, STYLE}:
            return node
        match state.kind:
            case "name" | "tag" | "attribute" if "safe" not in marked:
                self.refuse(node.lineno, "a value cannot stand inside a tag without being in an attribute's quotes")
            case "before" | "bare":
                self.refuse(
                    node.lineno,
                    f'the attribute {state.attribute} needs quotes around its value: {state.attribute}="..."',
                )
            case "quoted" if state.attribute.startswith("on"):
                self.refuse(node.lineno, f"a value cannot stand in {state.attribute}: it would be run as a script")
            case "quoted" if state.attribute in URL_ATTRIBUTES and state.fresh and not of_our_own(node):
                return wrapped(node, LINK)
            case "quoted" if state.attribute == "style" and not isinstance(node, nodes.Const):
                return wrapped(node, STYLE)
            case "raw" if state.tag == "style":
                return wrapped(node, STYLE)
            case "raw" if state.tag == "script" and not isinstance(node, nodes.Filter | nodes.Call):
                self.refuse(node.lineno, "inside a script a value is written as {{ value | tojson }}")
            case "raw" if state.tag == "script" and "tojson" not in marked:
                self.refuse(node.lineno, "inside a script a value is written as {{ value | tojson }}")
        return node


def filters_of(node: nodes.Node | None) -> Iterable[str]:
    while isinstance(node, nodes.Filter):
        yield node.name
        node = node.node


def of_our_own(node: nodes.Expr) -> bool:
    return isinstance(node, nodes.Name) and node.name in OWN_LINKS


def wrapped(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=node.environment)


def link(value: Any) -> Any:
    """What stands first in a link: a path, or a URL of a scheme that runs nothing. Fails with ContentError."""
    text = str(value)
    plain = _unseen.sub("", html.unescape(text) if isinstance(value, Markup) else text)
    found = _scheme.match(plain)
    if found is not None and found[1].lower() not in LINK_SCHEMES:
        raise ContentError(f"a link begins with {found[0][:40]!r}, and no link may; http, https, mailto and tel can")
    return value


def style(value: Any) -> Any:
    """One value of a style: a colour, a width, a name. Fails with ContentError."""
    found = _style_breakers.search(str(value))
    if found is not None:
        raise ContentError(f"a value printed into a style has {found[0]!r}")
    return value
