"""Colours of style sheets, and how well one can be read on another (WCAG 2.2 §1.4.3)."""

import re
from collections.abc import Iterator

Colour = tuple[int, int, int]

NAMED: dict[str, Colour] = {
    "black": (0, 0, 0), "silver": (192, 192, 192), "gray": (128, 128, 128), "grey": (128, 128, 128),
    "white": (255, 255, 255), "maroon": (128, 0, 0), "red": (255, 0, 0), "purple": (128, 0, 128),
    "fuchsia": (255, 0, 255), "green": (0, 128, 0), "lime": (0, 255, 0), "olive": (128, 128, 0),
    "yellow": (255, 255, 0), "navy": (0, 0, 128), "blue": (0, 0, 255), "teal": (0, 128, 128),
    "aqua": (0, 255, 255), "orange": (255, 165, 0), "lightgray": (211, 211, 211), "lightgrey": (211, 211, 211),
    "darkgray": (169, 169, 169), "darkgrey": (169, 169, 169), "whitesmoke": (245, 245, 245),
}  # fmt: skip
_HEX = re.compile(r"#([0-9a-f]{6}|[0-9a-f]{3})\b", re.IGNORECASE)
_RGB = re.compile(r"rgba?\(\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\s*\)", re.IGNORECASE)
_WORD = re.compile(r"(?<![\w#-])[a-z]+(?![\w(-])", re.IGNORECASE)

Style = dict[str, str]


def colour_in(value: str) -> Colour | None:
    """The first opaque colour of a value such as `#fff` or `url(x.png) no-repeat white`."""
    if found := _HEX.search(value):
        digits = found[1] if len(found[1]) == 6 else "".join(2 * digit for digit in found[1])
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    if found := _RGB.search(value):
        return min(int(found[1]), 255), min(int(found[2]), 255), min(int(found[3]), 255)
    return next((NAMED[word.lower()] for word in _WORD.findall(value) if word.lower() in NAMED), None)


def contrast(one: Colour, other: Colour) -> float:
    """From 1 (the same) to 21 (black and white)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Colour) -> float:
    linear = [part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def declarations(text: str) -> Style:
    """`name: value` pairs of a style attribute or rule, lower-case names, without !important."""
    style: Style = {}
    for part in text.split(";"):
        name, colon, value = part.partition(":")
        if colon:
            style[name.strip().lower()] = value.replace("!important", "").strip()
    return style


class Sheet:
    """The rules of a page's `<style>` that name one class or one element: at all times, and in dark mode."""

    def __init__(self) -> None:
        self.light: dict[str, Style] = {}
        self.dark: dict[str, Style] = {}

    def read(self, text: str) -> None:
        """Add what stands in one `<style>`."""
        for condition, selectors, body in _rules(re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)):
            if condition and "prefers-color-scheme" not in condition:
                continue
            target = self.dark if "dark" in condition else self.light
            for selector in selectors.split(","):
                # Of `table.card td.ink` the last part is what is styled.
                last = selector.split()[-1] if selector.split() else ""
                if re.fullmatch(r"\w+|\w*\.[\w-]+", last):
                    name = f".{last.partition('.')[2]}" if "." in last else last.lower()
                    target.setdefault(name, {}).update(declarations(body))


def _rules(text: str, condition: str = "") -> Iterator[tuple[str, str, str]]:
    """(media condition, selectors, declarations) of each rule."""
    position = 0
    while (brace := text.find("{", position)) >= 0:
        head = text[position:brace].strip()
        depth, end = 1, brace + 1
        while end < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        inside = text[brace + 1 : end - 1]
        if head.startswith("@"):
            if head.lower().startswith("@media"):
                yield from _rules(inside, head.lower())
        else:
            yield condition, head, inside
        position = end
