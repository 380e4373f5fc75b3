"""Composing: whichever way a message goes, it is what the program renders; each in its place, failures among them."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.content.compiler import compile_content
from bulkmail.content.errors import ContentError
from bulkmail.content.identity import Identity, TokenKey
from bulkmail.content.program import Program
from bulkmail.dkim.keys import SigningKey
from bulkmail.dkim.signing import Signer
from bulkmail.engine.composer import ComposeFailure, Composer
from bulkmail.engine.work import ActiveChunk
from bulkmail.model.campaign import Campaign, Content, SplitArm, Unsubscribe
from bulkmail.model.delivery import Disposition
from bulkmail.native.message import Message
from bulkmail.store.chunks import OpenChunk
from bulkmail.store.outcomes import Outcome, OutcomeColumn
from tests.dkim.material import ed25519_key
from tests.oracles.dkim import verify

NOW = 1_803_888_900.0
DATE = "Mon, 01 Mar 2027 08:15:00 +0000"
ISSUER = Identity([TokenKey(number=3, created=0.0, secret=b"0123456789abcdef")]).issuer(7, 1.8e9)
BODY = "Dear {{ name }},\n{{ city | default('somewhere') }} {{ unsubscribe_url }}\n" + "words and words\n" * 20
NAME = st.one_of(
    st.sampled_from(["Ann", "Zoë", 'O"Neil', "a\\b", "=?x", " x", "x" * 90, "", None, 7, 1.5, True, 2**60, "a\tb"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "condition": {"text": BODY + "{% if city %}yes{% endif %}"},
    "loop": {"text": BODY + "{% for letter in 'ab' %}{{ letter }}{% endfor %}"},
    "filter in the subject": {"subject": "{{ name | upper }}"},
    "split": {"split": True},
}


class StillClock:
    def time(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0


class NoMeter:
    def composed(self, messages: int, seconds: float) -> None:
        self.seen = messages

    def signed(self, seconds: float) -> None:
        self.signing = seconds


def program_of(folder: Path, way: str) -> Program:
    changed = WAYS[way]
    path = folder / "body.html"
    path.write_text(changed.get("text", BODY))
    options: dict[str, Any] = {}
    if "split" in changed:
        options["split"] = {"a": SplitArm(weight=1), "b": SplitArm(weight=1, subject="B: {{ name }}")}
    return compile_content(
        Campaign(
            campaign="spring",
            from_="Acme Garden <news@garden.example>",
            subject=changed.get("subject", "{{ name }}, your seeds are here"),
            content=Content(html=str(path)),
            unsubscribe=Unsubscribe(url="https://garden.example/u/{{ token }}"),
            **options,
        ),
        columns=["name", "city"],
    )


def chunk_of(number: int, program: Program, people: list[tuple[str, dict[str, Any]]]) -> ActiveChunk:
    chunk = OpenChunk(
        number=number,
        run=7,
        destination="",
        list_name=None,
        addresses=[address for address, _ in people],
        rows=[program.encode_row(fields) for _, fields in people],
        outcomes=OutcomeColumn(len(people)),
    )
    return ActiveChunk(chunk, jitter=0.0)


def composer_of(program: Program, *keys: Any) -> Composer:
    meter: Any = NoMeter()
    return Composer(program, Signer(keys), ISSUER, threads=1, clock=StillClock(), meter=meter)


@pytest.fixture(scope="module", params=WAYS)
def program(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Program:
    return program_of(tmp_path_factory.mktemp("content"), request.param)


@given(st.lists(st.tuples(st.sampled_from(["ann@example.com", "käthe@example.com"]), NAME, NAME), min_size=1))
def test_each_message_is_what_the_program_renders(program: Program, people: list[tuple[str, Any, Any]]) -> None:
    chunks = [
        chunk_of(number, program, [(address, {"name": name, "city": city}) for address, name, city in people])
        for number in (5, 6)
    ]
    composer = composer_of(program)
    chunks[1].chunk.outcomes.set(0, Outcome(Disposition.DEFERRED, attempt=3))
    works = [(active, index) for active in chunks for index in reversed(range(len(people)))]
    made = composer.compose(works)
    assert len(made) == len(works)
    for (active, index), result in zip(works, made, strict=True):
        chunk = active.chunk
        pair = ISSUER.tokens(chunk.number, index)
        assert (result.active if isinstance(result, ComposeFailure) else result.chunk, result.index) == (active, index)
        try:
            expected = program.render(chunk.addresses[index], chunk.rows[index], pair.returning, DATE, pair.link)
        except ContentError as error:
            assert isinstance(result, ComposeFailure) and result.explanation == str(error)
            continue
        assert isinstance(result, Message)
        assert result.data == expected.data
        assert result.message_id == expected.message_id
        assert result.address == chunk.addresses[index]
        assert result.recipient == result.address.encode()
        assert result.utf8 == (not result.address.isascii())
        assert result.sender == program.envelope_sender(pair.returning).encode()
        assert result.attempt == (4 if chunk.number == 6 and index == 0 else 1)


def test_what_is_signed_is_the_message_that_goes_out_whichever_way_it_was_made(tmp_path: Path) -> None:
    program = program_of(tmp_path, "plain")
    key = SigningKey("garden.example", "ed2027", ed25519_key())
    zone = {name.encode(): text.encode() for name, text in Signer([key]).records()}
    people = [("ann@example.com", {"name": name}) for name in ("Ann", "Zoë", None, "x" * 90)]
    active = chunk_of(5, program, people)
    works = [(active, index) for index in range(len(people))]
    made, unsigned = composer_of(program, key).compose(works), composer_of(program).compose(works)
    assert [isinstance(result, Message) for result in made] == [True, True, False, True]
    for signed, plain in zip(made, unsigned, strict=True):
        if isinstance(signed, Message) and isinstance(plain, Message):
            assert signed.signature.startswith(b"DKIM-Signature: ") and signed.data == plain.data
            whole = signed.signature + signed.data
            assert signed.size_bytes == len(whole) and not plain.signature
            assert verify(whole, lambda name: zone[name.encode()]) == [True]


def test_plain_content_needs_the_general_way_for_nothing_but_odd_rows(tmp_path: Path) -> None:
    press = program_of(tmp_path, "plain").press(ISSUER)
    assert press is not None
    rows = [b'[null,"Ann"]', b'["Graz","Zo\xc3\xab"]', b"[null,null]", b'[1.5,"Ann"]', b'["x",7]']
    made, left = press.messages(None, 1, ["ann@example.com"] * 5, rows, [0, 1, 2, 3, 4], [0] * 5, DATE.encode())
    assert left == [2, 3]
    assert [message is None for message in made] == [False, False, True, True, False]
    for way in ("condition", "loop", "filter in the subject", "split"):
        assert program_of(tmp_path, way).press(ISSUER) is None
