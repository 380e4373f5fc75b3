"""What it costs to render one message of a compiled campaign: a newsletter of 10 KB with twelve slots."""

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bulkmail.content.compiler import compile_content
from bulkmail.content.identity import Identity, TokenKey
from bulkmail.content.program import Program
from bulkmail.model.campaign import Campaign, Content, Unsubscribe
from bulkmail.native.assembly import Assembler

PARAGRAPH = (
    '<p style="font-family: sans-serif; color: #333">Seeds, bulbs & tools for your garden, chosen by hand.</p>\n'
)
SLOT = "<p>For {{ first_name | default('friend') }} in {{ city }}: <b>{{ offer }}</b> and more, only until Sunday</p>\n"
ROW = {"first_name": "Zoë", "city": "Graz", "offer": "20% <off>", "plan": "gold"}
ISSUER = Identity([TokenKey(number=0, created=0.0, secret=b"0123456789abcdef")]).issuer(1, 1.8e9)
TOKEN = ISSUER.tokens(2, 3).returning
DATE = "Mon, 01 Mar 2027 08:15:00 +0000"


def newsletter(folder: Path, *, separator: str = "\n", general: bool = False) -> Program:
    page = (PARAGRAPH * 25 + SLOT) * 4 + "{{ unsubscribe_url }}\n"
    path = folder / "body.html"
    path.write_text(page.replace("\n", separator) + ("{% if plan %}{{ plan }}{% endif %}" if general else ""))
    campaign = Campaign(
        campaign="bench",
        from_="Acme Garden <news@garden.example>",
        subject="{{ first_name | default('friend') }}, your spring seeds are here",
        content=Content(html=str(path)),
        unsubscribe=Unsubscribe(url="https://garden.example/u/{{ token }}"),
    )
    return compile_content(campaign)


@pytest.mark.parametrize("shape", ["lines", "one line", "general"])
def test_render(benchmark: BenchmarkFixture, tmp_path: Path, shape: str) -> None:
    program = newsletter(tmp_path, separator=" " if shape == "one line" else "\n", general=shape == "general")
    row = program.encode_row(ROW)
    message = benchmark(program.render, "ann@example.com", row, TOKEN, DATE)
    assert len(message.data) > 10_000


def test_press(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """A batch of 64: divide by that."""
    program = newsletter(tmp_path)
    press = program.press(ISSUER)
    assert press is not None
    rows = [program.encode_row(ROW | {"first_name": f"Zoë {number}"}) for number in range(64)]
    arguments = ("chunk", ISSUER.word(2), ["ann@example.com"] * 64, rows, list(range(64)), [0] * 64, DATE.encode())
    made, left = benchmark(press.messages, *arguments)
    assert len(made) == 64 and not left


def test_problem(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    assert benchmark(newsletter(tmp_path).problem, ROW) is None


def test_token(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(ISSUER.tokens, 2, 3).link) == 32


def test_assemble(benchmark: BenchmarkFixture) -> None:
    program = Assembler()
    program.begin()
    for index in range(12):
        program.text((PARAGRAPH * 8).encode() + b"<p>Dear ")
        program.slot(index, escape=True)
        program.text(b", this is what comes after the name on its line.</p>\n")
    program.end()
    values: list[object] = [f"Ann & {index}" for index in range(12)]
    assert len(benchmark(program.assemble, values)) > 10_000
