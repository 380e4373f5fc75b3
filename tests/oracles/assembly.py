"""The quoted-printable form and the assembler, told plainly: whole text first, one line at a time."""

import re
from collections.abc import Iterator
from typing import Any, cast

ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"}


def quoted_printable(text: str) -> bytes:
    """A whole part: every line broken at 75 columns, closed by CRLF."""
    lines = re.split(r"\r\n|\r|\n", text)
    if lines[-1] == "":
        lines.pop()
    return "".join(quoted_line(line) + "\r\n" for line in lines).encode("ascii")


def quoted_line(line: str) -> str:
    rows = [""]
    for character in line:
        plain = (" " <= character <= "~" and character != "=") or character == "\t"
        triplets = "".join(f"={byte:02X}" for byte in character.encode("utf-8"))
        if len(rows[-1]) + len(character if plain else triplets) > 75:
            rows.append("")
        row = rows[-1]
        if character == "." and row == "":
            rows[-1] = triplets
        elif character == " " and row == "From":
            rows[-1] = "=46rom "
        else:
            rows[-1] = row + (character if plain else triplets)
    if rows[-1].endswith((" ", "\t")):
        blank = f"={ord(rows[-1][-1]):02X}"
        rows[-1] = rows[-1][:-1]
        if len(rows[-1]) + 3 > 75:
            rows.append(blank)
        else:
            rows[-1] += blank
    return "=\r\n".join(rows)


class Assembler:
    """The same methods as the native one; a part is joined before it is encoded."""

    def __init__(self) -> None:
        self.steps: list[tuple[Any, ...]] = []

    def copy(self, data: bytes) -> None:
        self.steps.append(("copy", data))

    def copy_slot(self, index: int, *, default: bytes | None = None) -> None:
        self.steps.append(("copy_slot", index, default))

    def begin(self) -> None:
        self.steps.append(("begin",))

    def text(self, data: bytes) -> None:
        self.steps.append(("text", data.decode()))

    def slot(self, index: int, *, escape: bool = False, default: bytes | None = None) -> None:
        self.steps.append(("slot", index, escape, default))

    def repeat(self, index: int) -> None:
        self.steps.append(("repeat", index))

    def end_repeat(self) -> None:
        self.steps.append(("end_repeat",))

    def end(self) -> None:
        self.steps.append(("end",))

    def assemble(self, values: list[object]) -> bytes:
        out, part = b"", ""
        for kind, details, frame in self.unrolled(0, len(self.steps), values):
            if kind == "copy":
                out += details[0]
            elif kind == "copy_slot":
                index, default = details
                if frame[index] is None and default is None:
                    raise KeyError(index)
                out += default if frame[index] is None else str(frame[index]).encode()
            elif kind == "begin":
                part = ""
            elif kind == "text":
                part += details[0]
            elif kind == "slot":
                index, escape, default = details
                value = frame[index]
                if value is not None:
                    text = str(value)
                    part += "".join(ENTITIES.get(character, character) for character in text) if escape else text
                elif default is not None:
                    part += default.decode()
                else:
                    raise KeyError(index)
            else:
                out += quoted_printable(part)
        return out

    def unrolled(self, start: int, stop: int, values: list[object]) -> Iterator[tuple[str, Any, list[object]]]:
        """The steps one after the other, each with the values it sees; no repeat is left among them."""
        position = start
        while position < stop:
            kind, *details = self.steps[position]
            position += 1
            if kind != "repeat":
                yield kind, details, values
                continue
            depth, body = 1, position
            while depth:
                depth += {"repeat": 1, "end_repeat": -1}.get(self.steps[position][0], 0)
                position += 1
            frames = values[details[0]]
            if isinstance(frames, bool):
                frames = [values] if frames else []
            for frame in cast(list[list[object]], frames):
                yield from self.unrolled(body, position - 1, frame)
