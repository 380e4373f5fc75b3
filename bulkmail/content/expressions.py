"""Jinja2's expressions as functions over a list of values, with the results that Jinja2 itself would give.

Most expressions of a template are a name, a comparison, a filter. Called as functions they cost a tenth of a rendering
by Jinja2, and what is behind a condition or in a loop can be encoded beforehand.
"""

import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from jinja2 import Undefined, nodes
from jinja2.runtime import markup_join, str_join
from jinja2.utils import _PassArg

from bulkmail.content.environment import Absent, Budget, TemplateEnvironment
from bulkmail.content.filters import limited_text

Values = list[Any]
Function = Callable[[Values], Any]

COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
    "in": lambda left, right: left in right,
    "notin": lambda left, right: left not in right,
}
ARITHMETIC: Mapping[type[nodes.Node], str] = {
    nodes.Add: "+",
    nodes.Sub: "-",
    nodes.Mul: "*",
    nodes.Div: "/",
    nodes.FloorDiv: "//",
    nodes.Mod: "%",
}
LOOP_VALUES = ("index", "index0", "revindex", "revindex0", "first", "last", "length")


class Unsupported(Exception):
    """Only Jinja2 can evaluate this."""


class Scope:
    """Where names stand among the values: `index` of each, `raw` those that loops set, `loop` the innermost loop's.

    `budget` is the index of the Budget that loops have; None outside of loops.
    """

    def __init__(self, index: Mapping[str, int]) -> None:
        self.index: dict[str, int] = dict(index)
        self.raw: frozenset[str] = frozenset()
        self.loop: int | None = None
        self.budget: int | None = None

    def inner(self) -> "Scope":
        scope = Scope(self.index)
        scope.raw, scope.loop, scope.budget = self.raw, self.loop, self.budget
        return scope


class Expressions:
    """Makes functions of expressions; fails with Unsupported."""

    def __init__(self, environment: TemplateEnvironment) -> None:
        self.environment = environment
        self._eval_context = nodes.EvalContext(environment)

    def function(self, node: nodes.Node, scope: Scope) -> Function:
        match node:
            case nodes.Name():
                return self.name(node.name, scope)
            case nodes.Const():
                constant = node.value
                return lambda values: constant
            case nodes.Getattr():
                return self.attribute(node, scope)
            case nodes.Getitem():
                if isinstance(node.arg, nodes.Slice):
                    raise Unsupported
                owner, key, get = self.function(node.node, scope), self.function(node.arg, scope), self.environment
                return lambda values: get.getitem(owner(values), key(values))
            case nodes.Not():
                inner = self.function(node.node, scope)
                return lambda values: not inner(values)
            case nodes.And():
                left, right = self.both(node, scope)
                return lambda values: left(values) and right(values)
            case nodes.Or():
                left, right = self.both(node, scope)
                return lambda values: left(values) or right(values)
            case nodes.Compare():
                return self.comparison(node, scope)
            case nodes.Test() | nodes.Filter():
                return self.call(node, scope)
            case nodes.CondExpr():
                return self.conditional(node, scope)
            case nodes.Concat():
                pieces = self.all(node.nodes, scope)
                join = markup_join if self.environment.autoescape else str_join
                return lambda values: limited_text(join([piece(values) for piece in pieces]))
            case nodes.List():
                items = self.all(node.items, scope)
                return lambda values: [item(values) for item in items]
            case nodes.Tuple() if node.ctx == "load":
                items = self.all(node.items, scope)
                return lambda values: tuple(item(values) for item in items)
            case nodes.Neg():
                inner = self.function(node.node, scope)
                return lambda values: -inner(values)
            case nodes.BinExpr() if type(node) in ARITHMETIC:
                return self.arithmetic(node, scope)
        raise Unsupported

    def all(self, expressions: list[nodes.Expr], scope: Scope) -> list[Function]:
        return [self.function(expression, scope) for expression in expressions]

    def both(self, node: nodes.BinExpr, scope: Scope) -> tuple[Function, Function]:
        return self.function(node.left, scope), self.function(node.right, scope)

    def name(self, name: str, scope: Scope) -> Function:
        index = scope.index.get(name)
        if index is None:
            if name not in self.environment.globals:
                raise Unsupported
            constant = self.environment.globals[name]
            return lambda values: constant
        if name in scope.raw:
            return operator.itemgetter(index)
        missing = partial(Absent, name=name)

        def value(values: Values) -> Any:
            found = values[index]
            return missing() if found is None else found

        return value

    def attribute(self, node: nodes.Getattr, scope: Scope) -> Function:
        owner, name, environment = node.node, node.attr, self.environment
        if isinstance(owner, nodes.Name) and owner.name == "loop" and scope.loop is not None:
            if name not in LOOP_VALUES:
                raise Unsupported
            at = scope.loop + LOOP_VALUES.index(name)
            return operator.itemgetter(at)
        inner = self.function(owner, scope)
        return lambda values: environment.getattr(inner(values), name)

    def comparison(self, node: nodes.Compare, scope: Scope) -> Function:
        if len(node.ops) != 1:
            raise Unsupported
        compare = COMPARISONS[node.ops[0].op]
        left, right = self.function(node.expr, scope), self.function(node.ops[0].expr, scope)
        return lambda values: compare(left(values), right(values))

    def conditional(self, node: nodes.CondExpr, scope: Scope) -> Function:
        test, then = self.function(node.test, scope), self.function(node.expr1, scope)
        if node.expr2 is None:
            return lambda values: then(values) if test(values) else Undefined("the inline if-expression has no else")
        otherwise = self.function(node.expr2, scope)
        return lambda values: then(values) if test(values) else otherwise(values)

    def arithmetic(self, node: nodes.BinExpr, scope: Scope) -> Function:
        symbol, environment = ARITHMETIC[type(node)], self.environment
        left, right = self.both(node, scope)
        if symbol in environment.intercepted_binops:
            return lambda values: environment.call_binop(None, symbol, left(values), right(values))
        compute = environment.binop_table[symbol]
        return lambda values: compute(left(values), right(values))

    def call(self, node: nodes.Filter | nodes.Test, scope: Scope) -> Function:
        """A filter or test; in loops the budget pays for it, as it does where Jinja2 renders."""
        if node.dyn_args is not None or node.dyn_kwargs is not None or node.node is None:
            raise Unsupported
        is_filter = isinstance(node, nodes.Filter)
        table = cast(dict[str, Any], self.environment.filters if is_filter else self.environment.tests)
        function = table[node.name]
        passed = _PassArg.from_obj(function)
        if passed is _PassArg.context:
            raise Unsupported
        if passed is not None:
            first = self.environment if passed is _PassArg.environment else self._eval_context
            function = partial(function, first)
        inner = self.function(node.node, scope)
        arguments = self.all(node.args, scope)
        # Jinja2 types these as pairs of str; they are Keyword nodes.
        keywords = cast(list[nodes.Keyword], node.kwargs)
        named = [(keyword.key, self.function(keyword.value, scope)) for keyword in keywords]
        budget = scope.budget if is_filter else None
        if not arguments and not named and budget is None:
            return lambda values: limited_text(function(inner(values)))

        def result(values: Values) -> Any:
            value = inner(values)
            if budget is not None:
                cast(Budget, values[budget]).charge(value)
            keyed = {name: argument(values) for name, argument in named}
            return limited_text(function(value, *[argument(values) for argument in arguments], **keyed))

        return result
