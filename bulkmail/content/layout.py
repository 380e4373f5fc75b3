"""Where each value of a message stands in the list the assemblers read, and the steps that compute the derived ones.

What is behind a condition or in a loop has a frame: the values so far, and behind them its own. A step computes the
frames, none where the condition is false, and the assembler writes the segments once for each.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, cast

from jinja2 import nodes
from markupsafe import escape

from bulkmail.content import headers
from bulkmail.content.environment import Budget
from bulkmail.content.errors import ContentError, MissingField
from bulkmail.content.expressions import LOOP_VALUES, Expressions, Function, Scope, Values
from bulkmail.content.identity import TOKEN_LENGTH
from bulkmail.content.segments import Choice, Computed, Loop, Segments, Setting, Slot, all_segments, set_names
from bulkmail.content.template import Template
from bulkmail.native.assembly import Assembler

Step = Callable[[Values], Any]

GIVEN = ("address", "token", "date", "message_id", "campaign")  # behind the recipient's fields, in this order
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-Z\[\]_a-z~%]+")  # RFC 3986's characters, none of `<>"\^`{|}`
MAX_URI = 900  # one header line holds it, with its brackets (RFC 5322 §2.1.1)


class Output(Protocol):
    """What segments are written into: an `Assembler`, or a `Text`."""

    def text(self, data: bytes) -> None: ...
    def slot(self, index: int, *, escape: bool = False, default: bytes | None = None) -> None: ...
    def repeat(self, index: int) -> None: ...
    def end_repeat(self) -> None: ...


class Frame:
    """Values that steps add behind the first `base`."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.steps: list[Step] = []

    def add(self, step: Step) -> int:
        """The index that the step's result will have."""
        self.steps.append(step)
        return self.base + len(self.steps) - 1


class Layout(Frame):
    """Values: the fields, `GIVEN`, then the result of each step, in order; a step may read all that stand before it."""

    def __init__(self, fields: Sequence[str], *, max_size: int) -> None:
        self.names = (*fields, *GIVEN)
        super().__init__(len(self.names))
        self.index = {name: index for index, name in enumerate(self.names)}
        self.max_size = max_size

    def write(self, out: Output, template: Template) -> None:
        """The template inside the quoted-printable part that has begun."""
        if template.segments is None:
            out.slot(self.add(self.by_jinja(template)))
        else:
            self.lay_out(out, template, template.segments)

    def lay_out(self, out: Output, template: Template, segments: Segments) -> None:
        scope = Scope(self.index)
        if any(isinstance(segment, Loop) for segment in all_segments(segments)):
            scope.budget = self.add(lambda values: Budget())
        Writer(out, template).segments(segments, scope, self)

    def write_calendar(self, out: Output, template: Template) -> None:
        """The same for iCalendar, whose lines have at most 75 octets (RFC 5545 §3.1)."""
        text = self.text(template)
        out.slot(self.add(lambda values: folded(text(values))))

    def by_jinja(self, template: Template) -> Step:
        used = [(name, self.index[name]) for name in sorted(template.names)]
        return lambda values: template.render(
            {name: values[index] for name, index in used if values[index] is not None}, max_size=self.max_size
        )

    def text(self, template: Template) -> Step:
        """The step that gives a template's text, for headers and URLs; nothing in these is HTML-escaped."""
        if template.segments is None:
            return self.by_jinja(template)
        out = Text(self.names)
        self.lay_out(out, template, template.segments)
        return out

    def header_value(self, name: str, template: Template) -> int:
        text = self.text(template)
        if isinstance(text, Text):
            text.header = name
            return self.add(text)
        return self.add(lambda values: headers.unstructured(name, text(values)))

    def uri(self, key: str, template: Template) -> int:
        text = self.text(template)
        if always_good(template):
            return self.add(text)

        def checked(values: Values) -> str:
            uri: str = text(values)
            if len(uri) > MAX_URI or not URI.fullmatch(uri):
                shown = uri if len(uri) <= 80 else f"{uri[:80]}..."
                raise ContentError(f"{key} does not give a URL of at most {MAX_URI} ASCII characters: {shown!r}")
            return uri

        return self.add(checked)


class Writer:
    """Writes one template's segments; their steps go into frames."""

    def __init__(self, out: Output, template: Template) -> None:
        self.out = out
        self.where = template.source.where
        self.environment = template.environment
        self.expressions = Expressions(template.environment)

    def segments(self, segments: Segments, scope: Scope, frame: Frame) -> None:
        for segment in segments:
            match segment:
                case str():
                    self.out.text(segment.encode())
                case Slot():
                    self.slot(segment, scope, frame)
                case Computed():
                    escaped = segment.data and self.environment.printing_html
                    self.out.slot(frame.add(self.printing(segment, scope)), escape=escaped)
                case Choice():
                    self.choice(segment, scope, frame)
                case Loop():
                    self.loop(segment, scope, frame)
                case Setting():
                    functions = [self.function(value, scope) for value in segment.values]
                    inner = scope if segment.body is None else scope.inner()
                    places = [frame.add(function) for function in functions]
                    set_names(inner, segment.names).index.update(zip(segment.names, places, strict=True))
                    if segment.body is not None:
                        self.segments(segment.body, inner, frame)

    def slot(self, slot: Slot, scope: Scope, frame: Frame) -> None:
        index = scope.index[slot.name]
        if slot.convert is not None:
            index = frame.add(Converted(slot.convert, index))
        default = None if slot.default is None else slot.default.encode()
        self.out.slot(index, escape=slot.escape, default=default)

    def function(self, node: nodes.Node, scope: Scope) -> Function:
        return Guarded(self.expressions.function(node, scope), self.where(node.lineno))

    def printing(self, segment: Computed, scope: Scope) -> Step:
        function = self.function(segment.node, scope)
        finalize: Callable[[Any], Any] = self.environment.finalize or str
        if self.environment.printing_html and not segment.data:
            return lambda values: str(escape(finalize(function(values))))
        return lambda values: str(finalize(function(values)))

    def choice(self, choice: Choice, scope: Scope, frame: Frame) -> None:
        taken: list[int] = []
        for test, body in choice.arms:
            arm = Arm(None if test is None else self.function(test, scope), tuple(taken))
            index = frame.add(arm)
            self.repeated(index, body, scope, arm)
            taken.append(index)

    def loop(self, loop: Loop, scope: Scope, frame: Frame) -> None:
        turns = Turns(loop, self.function(loop.items, scope), cast(int, scope.budget), self.where(loop.items.lineno))
        index = frame.add(turns)
        inner = set_names(scope.inner(), loop.targets)
        inner.index.update({name: index + number for number, name in enumerate(loop.targets)})
        inner.loop = index + len(loop.targets) if loop.counting else None
        turns.test = None if loop.test is None else self.function(loop.test, inner)
        width = len(loop.targets) + (len(LOOP_VALUES) if loop.counting else 0)
        self.repeated(index, loop.body, inner, turns, width=width)
        if loop.otherwise:
            arm = Arm(None, (index,))
            self.repeated(frame.add(arm), loop.otherwise, scope, arm)

    def repeated(self, index: int, body: Segments, scope: Scope, maker: "Arm | Turns", *, width: int = 0) -> None:
        inner = Frame(index + width)
        maker.steps = inner.steps
        self.out.repeat(index)
        self.segments(body, scope.inner(), inner)
        self.out.end_repeat()


class Converted:
    """A slot's value through its filters."""

    def __init__(self, convert: Callable[[Any], str], index: int) -> None:
        self.convert, self.index = convert, index

    def __call__(self, values: Values) -> str:
        return self.convert(values[self.index])


class Guarded:
    """An expression; whatever it does with unsuitable data is that row's fault."""

    def __init__(self, function: Function, where: str) -> None:
        self.function, self.where = function, where

    def __call__(self, values: Values) -> Any:
        try:
            return self.function(values)
        except ContentError:
            raise
        except Exception as error:
            raise ContentError(f"{self.where}: {error}") from error


class Arm:
    """Gives False where another arm is taken or its test is false, else its frame; True for the values as they are."""

    def __init__(self, test: Step | None, taken: tuple[int, ...]) -> None:
        self.test, self.taken = test, taken
        self.steps: list[Step] = []

    def __call__(self, values: Values) -> bool | list[Values]:
        for index in self.taken:
            if values[index]:
                return False
        if self.test is not None and not self.test(values):
            return False
        return [extended(values.copy(), self.steps)] if self.steps else True


class Turns:
    """Gives the frames of a loop, one a turn."""

    def __init__(self, loop: Loop, items: Step, budget: int, where: str) -> None:
        self.loop, self.items, self.budget, self.where = loop, items, budget, where
        self.test: Step | None = None
        self.steps: list[Step] = []

    def __call__(self, values: Values) -> list[Values]:
        frames: list[Values] = []
        for item in self.checked(values):
            frame = values.copy()
            if self.loop.unpacked:
                frame += self.unpacked(item)
            else:
                frame.append(item)
            if self.test is None or self.test(frame):
                frames.append(frame)
        if self.loop.counting:
            total = len(frames)
            for number, frame in enumerate(frames):
                left = total - number
                frame += (number + 1, number, left, left - 1, number == 0, left == 1, total)
        for frame in frames:
            extended(frame, self.steps)
        return frames

    def checked(self, values: Values) -> Iterator[Any]:
        budget = cast(Budget, values[self.budget])
        try:
            for item in self.items(values):
                budget.spend()
                yield item
        except TypeError as error:
            raise ContentError(f"{self.where}: {error}") from None

    def unpacked(self, item: Any) -> Sequence[Any]:
        try:
            parts = tuple(item)
        except TypeError:
            parts = ()
        if len(parts) != len(self.loop.targets):
            raise ContentError(f"{self.where}: the loop sets {len(self.loop.targets)} names, an item has {len(parts)}")
        return parts


def extended(values: Values, steps: Sequence[Step]) -> Values:
    for step in steps:
        values.append(step(values))
    return values


class Text:
    """The step that makes a text which is not encoded: a header's value where `header` names one, else a URL."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.header: str | None = None
        self.assembler = Assembler()

    def text(self, data: bytes) -> None:
        self.assembler.copy(data)

    def slot(self, index: int, *, escape: bool = False, default: bytes | None = None) -> None:
        self.assembler.copy_slot(index, default=default)

    def repeat(self, index: int) -> None:
        self.assembler.repeat(index)

    def end_repeat(self) -> None:
        self.assembler.end_repeat()

    def __call__(self, values: Values) -> str:
        try:
            text = self.assembler.assemble(values).decode()
        except KeyError as error:
            raise MissingField(self.names[error.args[0]]) from None
        return text if self.header is None else headers.unstructured(self.header, text)


def folded(text: str) -> str:
    """iCalendar lines of at most 75 octets, cut between characters."""
    lines = []
    for line in text.splitlines():
        data = line.encode()
        while len(data) > 75:
            cut = 75
            while data[cut] & 0xC0 == 0x80:
                cut -= 1
            lines.append(data[:cut].decode())
            data = b" " + data[cut:]
        lines.append(data.decode())
    return "\n".join((*lines, ""))


def always_good(template: Template) -> bool:
    """True where a URI is made of literals, which the compiler has seen, and tokens."""
    length = 0
    for part in template.segments or ():
        if isinstance(part, str):
            length += len(part)
        elif isinstance(part, Slot) and part.name == "token" and part.convert is None:
            length += TOKEN_LENGTH
        else:
            return False
    return template.segments is not None and length <= MAX_URI
