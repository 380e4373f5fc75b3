"""The five campaigns to copy, compiled and by Jinja2: the same bytes for generated rows of every kind.

`BULKMAIL_ROWS=10000` asks as many of each (`make test-campaigns`); the ordinary suite fewer.
"""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from bulkmail.config.load import load_campaign
from bulkmail.content.compiler import compile_content
from bulkmail.content.errors import ContentError
from bulkmail.content.program import SAMPLE_DATE, SAMPLE_TOKEN, Program

CAMPAIGNS = Path(__file__).parents[2] / "campaigns"
ROWS = int(os.environ.get("BULKMAIL_ROWS", "150"))
WORDS = [
    "Ann",
    "Zoë",
    "漢字",
    "ليلى",
    "<b>",
    "O'Hara & Söhne",
    "x" * 200,
    "=20",
    ".",
    "From me",
    "😀",
    '"',
    "{{ x }}",
    " ",
]
SELDOM = [None, "", "a\r\nBcc: x@y.example", "\x00", "\u2028", "\x85"]


def word(chance: random.Random) -> Any:
    return chance.choice(SELDOM if chance.random() < 0.05 else WORDS)


def value(chance: random.Random, name: str) -> Any:
    match name:
        case "last_frost" | "due" | "until":
            return chance.choice(
                ["2027-05-06", "2027-12-31", "2028-02-29", None if chance.random() < 0.2 else "2027-01-01"]
            )
        case "price" | "total" | "each" | "sum":
            return chance.choice(["0", "249", "1234.5", 9.9, "-3", "x" if chance.random() < 0.05 else "7"])
        case "points" | "guests" | "count":
            return chance.choice(["", "0", "1", "12", "1250", 3])
        case "language":
            return chance.choice(["en", "de", "DE", "de-AT", "fr", "ar", "", None, "xx"])
        case "number":
            return chance.choice(
                ["2027-0411", "2027-0412", "2027-0413", "2027-9999" if chance.random() < 0.1 else "2027-0411"]
            )
        case "lines":
            names = ("what", "count", "each", "sum")
            return [{key: value(chance, key) for key in names} for _ in range(chance.randrange(5))]
        case _:
            return word(chance)


def made(program: Program, address: str, fields: dict[str, Any]) -> bytes | None:
    try:
        return program.render(address, program.encode_row(fields), SAMPLE_TOKEN, SAMPLE_DATE).data
    except ContentError:
        return None


@pytest.mark.parametrize("name", ["newsletter", "announcement", "invoice", "invitation", "multilingual"])
def test_both_paths_make_the_same_bytes_or_refuse_together(name) -> None:
    campaign = load_campaign(CAMPAIGNS / f"{name}.yaml")
    compiled, plain = compile_content(campaign), compile_content(campaign, compiled=False)
    assert compiled.fields == plain.fields
    chance = random.Random(name)
    good = 0
    for number in range(ROWS):
        fields = {field: value(chance, field) for field in compiled.fields}
        address = f"reader{number}@x.example"
        message = made(compiled, address, fields)
        assert message == made(plain, address, fields), fields
        good += message is not None
    assert good > ROWS / 3
