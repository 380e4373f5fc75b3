"""Jinja2's marks out of a page and back, so that tools which read HTML or MJML can work on the page around them."""

import re
from itertools import pairwise

from bulkmail.content.escaping import TEXT, feed
from bulkmail.content.plain import PIECE
from bulkmail.content.template import Source


class Placeholders:
    """One page without its Jinja2: `text` has words in place of values and comments in place of statements."""

    def __init__(self, source: Source, tool: str) -> None:
        self.source, self.tool = source, tool
        self.pieces: list[tuple[str, int]] = []
        self.mark = "jinja"
        while self.mark in source.text.lower():
            self.mark += "x"
        # Among the classes of an element a word stands apart, or it would be a part of one.
        self.found = re.compile(rf"<!--\s*{self.mark}(\d+)z\s*-->| {self.mark}(\d+)y |{self.mark}(\d+)z")
        self.text = self.taken()

    def taken(self) -> str:
        state, made, position, text = TEXT, [], 0, self.source.text
        for found in PIECE.finditer(text):
            before = text[position : found.start()]
            state = feed(state, before)
            line = text.count("\n", 0, found.start()) + 1
            word = f"{self.mark}{len(self.pieces)}z"
            statement = not found[0].startswith("{{")
            if state.kind in ("tag", "name", "attribute", "before", "bare"):
                raise self.source.error(
                    f"{found[0][:40]} stands inside a tag, where {self.tool} cannot keep it",
                    line=line,
                    hint="put it inside an attribute's quotes, or around the whole element",
                )
            if state.kind == "raw" and state.tag == "style" and statement:
                raise self.source.error(f"{found[0][:40]} stands inside a style, where {self.tool} loses it", line=line)
            as_comment = statement and state.kind == "text"
            if state.kind == "quoted" and state.attribute in ("class", "css-class"):
                word = f" {word[:-1]}y "
            made += [before, f"<!--{word}-->" if as_comment else word]
            self.pieces.append((found[0], line))
            position = found.end()
        return "".join((*made, text[position:]))

    def put_back(self, text: str) -> str:
        """The tool's result with Jinja2 in it again. Fails with CampaignError where the tool has lost or moved it."""
        seen: list[int] = [number_of(found) for found in self.found.finditer(text)]
        for number, (piece, line) in enumerate(self.pieces):
            times = seen.count(number)
            if times == 0 or (times > 1 and not piece.startswith("{{")):
                raise self.source.error(f"{self.tool} does not keep {piece[:40]} where it stands", line=line)
        statements = [number for number in seen if not self.pieces[number][0].startswith("{{")]
        for first, second in pairwise(statements):
            if first > second:
                piece, line = self.pieces[second]
                raise self.source.error(f"{self.tool} moves {piece[:40]} to another place", line=line)
        return self.found.sub(lambda found: self.pieces[number_of(found)][0], text)


def number_of(found: re.Match[str]) -> int:
    return int(next(group for group in found.groups() if group is not None))
