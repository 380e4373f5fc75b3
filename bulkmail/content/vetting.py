"""What a template may contain: refused by line at once, and every loop and growing expression put under its limit."""

from collections.abc import Callable, Iterable, Mapping
from typing import cast

from jinja2 import TemplateSyntaxError, nodes
from jinja2.visitor import NodeTransformer

from bulkmail.content.environment import (
    COUNTED,
    JOINER,
    LIMITED,
    NAMESPACE,
    RANGE,
    TemplateEnvironment,
    nearest,
    walk,
)
from bulkmail.content.escaping import Places
from bulkmail.content.filters import ALLOWED_TESTS, AVAILABLE_FILTERS
from bulkmail.content.folder import FolderLoader
from bulkmail.content.tracking import TRACKED, Tracker

ALLOWED_NODES: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Filter, nodes.Test, nodes.Getattr,
    nodes.Getitem, nodes.Slice, nodes.If, nodes.For, nodes.Assign, nodes.AssignBlock, nodes.With, nodes.CondExpr,
    nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos, nodes.Add, nodes.Sub, nodes.Mul,
    nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Concat, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword,
    nodes.Macro, nodes.Call, nodes.CallBlock, nodes.FilterBlock, nodes.Scope, nodes.Include, nodes.Import,
    nodes.FromImport, nodes.Extends, nodes.Block, nodes.NSRef,
)  # fmt: skip
STATEMENTS: Mapping[type[nodes.Node], str] = {nodes.Pow: "**", nodes.ScopedEvalContextModifier: "autoescape"}
REFERRING = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
MADE_BY_CALL = {"range": RANGE, "namespace": NAMESPACE, "joiner": JOINER}
# Filters that take the name of an attribute, a filter or a test.
NAMING = ("map", "select", "reject", "selectattr", "rejectattr")
# What may stand before `.name()`: blocks of the page, the loop.
OWNERS = ("self", "super", "loop")


def forbidden(tree: nodes.Template) -> tuple[int, str] | None:
    """The line and the complaint about the first thing that a template may not use; None where all is allowed."""
    modules = {node.target for node in tree.find_all(nodes.Import)}
    for node in walk(tree):
        complaint = complaint_about(node, modules)
        if complaint is not None:
            return node.lineno, complaint
    return None


def complaint_about(node: nodes.Node, modules: Iterable[str]) -> str | None:
    if not isinstance(node, ALLOWED_NODES):
        return f"{STATEMENTS.get(type(node), type(node).__name__.lower())} is not available in templates"
    if isinstance(node, nodes.Name | nodes.Getattr | nodes.NSRef):
        name = node.name if isinstance(node, nodes.Name) else node.attr
        if name.startswith("_"):
            return f"{name}: names that begin with _ are not available in templates"
    if isinstance(node, nodes.Filter) and node.name not in AVAILABLE_FILTERS:
        return f"there is no filter {node.name}{nearest(node.name, AVAILABLE_FILTERS)}"
    if isinstance(node, nodes.Filter) and node.name in NAMING and not all(map(is_public_name, node.args[:2])):
        return f"{node.name} takes names in quotes, which do not begin with _"
    if isinstance(node, nodes.Test) and node.name not in ALLOWED_TESTS:
        return f"there is no test {node.name}{nearest(node.name, ALLOWED_TESTS)}"
    if isinstance(node, nodes.Call) and not callable_name(node.node, modules):
        return "calls are not available in templates; use a filter"
    if isinstance(node, REFERRING) and names_in(node) is None:
        return "a template is named by text in quotes, which is the same for all recipients"
    return None


def callable_name(target: nodes.Node, modules: Iterable[str]) -> bool:
    if isinstance(target, nodes.Name):
        return True
    if not isinstance(target, nodes.Getattr) or target.attr.startswith("_"):
        return False
    owner = target.node
    return isinstance(owner, nodes.Name) and (owner.name in OWNERS or owner.name in modules)


def is_public_name(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Const) and not str(node.value).startswith("_")


def names_in(node: nodes.Node) -> list[str] | None:
    """The templates that a statement names; None where that is not the same for all recipients."""
    if not isinstance(node, REFERRING):
        return None
    target = node.template
    targets = target.items if isinstance(target, nodes.List | nodes.Tuple) else [target]
    if all(isinstance(item, nodes.Const) and isinstance(item.value, str) for item in targets):
        return [cast(nodes.Const, item).value for item in targets]
    return None


class Making(NodeTransformer):
    """`range(...)`, `namespace(...)` and `joiner(...)` become filters of ours: no name in a template is a function."""

    def visit_Call(self, node: nodes.Call) -> nodes.Expr:
        self.generic_visit(node)
        name = node.node.name if isinstance(node.node, nodes.Name) else ""
        if name not in MADE_BY_CALL or node.dyn_args is not None or node.dyn_kwargs is not None:
            return node
        first, rest = nodes.Const(None, lineno=node.lineno, environment=node.environment), node.args
        if name == "range" and node.args:
            first, rest = cast(nodes.Const, node.args[0]), node.args[1:]
        return nodes.Filter(
            first, MADE_BY_CALL[name], rest, node.kwargs, None, None, lineno=node.lineno, environment=node.environment
        )

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.CallBlock:
        return within_call(self, node)


def within_call(transformer: NodeTransformer, node: nodes.CallBlock) -> nodes.CallBlock:
    """`{% call %}`, whose call is a part of the statement and no expression that another could take the place of."""
    transformer.generic_visit(node.call)
    node.body = [transformer.visit(child) for child in node.body]
    return node


class Meter(NodeTransformer):
    """Puts every loop under its limit, and every expression that works on, or makes, more than one value.

    Imports are made to see the recipient, and with that the budget.
    """

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        node.iter = filtered(node.iter, COUNTED)
        return node

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.AssignBlock:
        self.generic_visit(node)
        node.filter = filtered(node.filter, LIMITED, beside=node)
        return node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Filter:
        self.generic_visit(node)
        if node.node is not None and not isinstance(node.node, nodes.Const | nodes.Filter):
            node.node = filtered(node.node, LIMITED)
        return filtered(node, LIMITED)

    def visit_growing(self, node: nodes.Expr) -> nodes.Filter:
        self.generic_visit(node)
        return filtered(node, LIMITED)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.CallBlock:
        return within_call(self, node)

    def visit_importing(self, node: nodes.Import) -> nodes.Import:
        node.with_context = True
        return node

    visit_Call = visit_Concat = visit_growing
    visit_Import = visit_FromImport = visit_importing


def filtered(node: nodes.Node | None, name: str, *, beside: nodes.Node | None = None) -> nodes.Filter:
    """`node | name`, at the place of `beside` in the source where there is no node (the body of a block)."""
    place = cast(nodes.Node, node or beside)
    return nodes.Filter(
        cast(nodes.Expr, node), name, [], [], None, None, lineno=place.lineno, environment=place.environment
    )


class CheckedEnvironment(TemplateEnvironment):
    """A `TemplateEnvironment` that vets whatever it parses, included files too, and meters whatever it compiles.

    With a `tracker`, what it parses as HTML has its links led through that first.
    """

    tracker: Tracker | None = None
    # Gives a page, by text and file, its Content-IDs in place of the names of inline images.
    refer: Callable[[str, str | None], str] | None = None

    def track(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.filters[TRACKED] = tracker.filter

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if self.refer is not None and self.printing_html:
            source = self.refer(source, filename)
        if self.tracker is not None and self.printing_html:
            source = self.tracker.page(source)
        tree = super()._parse(source, name, filename)

        def refuse(line: int, complaint: str) -> None:
            raise TemplateSyntaxError(complaint, line, name, filename)

        found = forbidden(tree)
        if found is not None:
            refuse(*found)
        tree = cast(nodes.Template, Making().visit(tree))
        if self.printing_html:
            Places(refuse).page(tree)
        return tree

    def _generate(
        self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False
    ) -> str:
        return super()._generate(Meter().visit(source), name, filename, defer_init)

    def join_path(self, template: str, parent: str) -> str:
        return self.loader.joined(template, parent) if isinstance(self.loader, FolderLoader) else template
