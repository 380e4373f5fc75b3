"""Where each value of a message stands in the list the assemblers read, and the steps that compute the derived ones."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from bulkmail.content import headers
from bulkmail.content.errors import ContentError, MissingField
from bulkmail.content.identity import TOKEN_LENGTH
from bulkmail.content.template import Slot, Template
from bulkmail.native.assembly import Assembler

Values = list[Any]
Step = Callable[[Values], str]

GIVEN = ("address", "token", "date", "message_id", "campaign")  # behind the recipient's fields, in this order
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-Z\[\]_a-z~%]+")  # RFC 3986's characters, none of `<>"\^`{|}`
MAX_URI = 900  # one header line holds it, with its brackets (RFC 5322 §2.1.1)


class Layout:
    """Values: the fields, `GIVEN`, then the result of each step, in order; a step may read all that stand before it."""

    def __init__(self, fields: Sequence[str], *, max_size: int) -> None:
        self.names = (*fields, *GIVEN)
        self.index = {name: index for index, name in enumerate(self.names)}
        self.max_size = max_size
        self.steps: list[Step] = []

    def add(self, step: Step) -> int:
        """The index that the step's result will have."""
        self.steps.append(step)
        return len(self.names) + len(self.steps) - 1

    def value(self, slot: Slot) -> int:
        source = self.index[slot.name]
        if slot.convert is None:
            return source
        convert = slot.convert
        return self.add(lambda values: convert(values[source]))

    def write(self, out: Assembler, template: Template) -> None:
        """The template inside the quoted-printable part that has begun."""
        if template.parts is None:
            out.slot(self.add(self.text(template)))
            return
        for part in template.parts:
            if isinstance(part, str):
                out.text(part.encode())
            else:
                default = None if part.default is None else part.default.encode()
                out.slot(self.value(part), escape=part.escape, default=default)

    def text(self, template: Template) -> Step:
        """The step that gives a template's text, for headers and URLs; nothing in these is HTML-escaped."""
        if template.parts is None:
            used = [(name, self.index[name]) for name in sorted(template.names)]
            return lambda values: template.render(
                {name: values[index] for name, index in used if values[index] is not None}, max_size=self.max_size
            )
        pieces = ["" if isinstance(part, Slot) else part for part in template.parts]
        slots = [
            (position, self.value(part), part.default, part.name)
            for position, part in enumerate(template.parts)
            if isinstance(part, Slot)
        ]

        def joined(values: Values) -> str:
            texts = pieces.copy()
            for position, index, default, name in slots:
                value = values[index]
                if value is None:
                    if default is None:
                        raise MissingField(name)
                    value = default
                texts[position] = str(value)
            return "".join(texts)

        return joined

    def header_value(self, name: str, template: Template) -> int:
        text = self.text(template)
        return self.add(lambda values: headers.unstructured(name, text(values)))

    def uri(self, key: str, template: Template) -> int:
        text = self.text(template)
        if always_good(template):
            return self.add(text)

        def checked(values: Values) -> str:
            uri = text(values)
            if len(uri) > MAX_URI or not URI.fullmatch(uri):
                shown = uri if len(uri) <= 80 else f"{uri[:80]}..."
                raise ContentError(f"{key} does not give a URL of at most {MAX_URI} ASCII characters: {shown!r}")
            return uri

        return self.add(checked)


def always_good(template: Template) -> bool:
    """True where a URI is made of literals, which the compiler has seen, and tokens."""
    length = 0
    for part in template.parts or ():
        if isinstance(part, str):
            length += len(part)
        elif part.name == "token" and part.convert is None:
            length += TOKEN_LENGTH
        else:
            return False
    return template.parts is not None and length <= MAX_URI
