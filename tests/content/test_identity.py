"""Tokens open only under the keys that made them, for their purpose, and fit where they are used."""

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.content.compiler import compile_content
from bulkmail.content.identity import (
    KEYS_IN_USE,
    WEEK_SECONDS,
    Identity,
    Issuer,
    Position,
    Purpose,
    TokenKey,
    new_key,
    return_path,
)
from bulkmail.errors import CampaignError
from tests.content.conftest import MakeCampaign
from tests.content.first_tokens import first_token

SECRET = b"0123456789abcdef"
BEGAN = 1_800_000_000.0
KEY = TokenKey(number=0, created=0.0, secret=SECRET)
IDENTITY = Identity([KEY])
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
POSITIONS = st.builds(Position, st.integers(0, 2**20 - 1), st.integers(0, 2**30 - 1), st.integers(0, 2**16 - 1))
PURPOSES = st.sampled_from(Purpose)


def token_of(position: Position, purpose: Purpose, identity: Identity = IDENTITY, began: float = BEGAN) -> str:
    pair = identity.issuer(position.run, began).tokens(position.chunk, position.index)
    return pair.returning if purpose is Purpose.RETURN else pair.link


@given(POSITIONS, PURPOSES)
def test_a_token_opens_to_its_position_in_any_case(position: Position, purpose: Purpose) -> None:
    token = token_of(position, purpose)
    assert len(token) == 32
    assert token.isalnum() and token.islower() and token.isascii()
    for form in (token, token.upper(), token.title()):
        opened = IDENTITY.open(form, purpose)
        assert opened is not None and opened.position == position
        assert opened.issued is not None and opened.issued <= BEGAN < opened.issued + WEEK_SECONDS


@given(POSITIONS)
def test_a_return_path_cannot_unsubscribe_and_a_link_can_be_told_from_it(position: Position) -> None:
    assert IDENTITY.open(token_of(position, Purpose.RETURN), Purpose.LINK) is None
    assert IDENTITY.open(token_of(position, Purpose.LINK), Purpose.RETURN) is None
    assert IDENTITY.open(token_of(position, Purpose.LINK)) is not None


def test_tokens_do_not_change_between_versions() -> None:
    pair = IDENTITY.issuer(1, BEGAN).tokens(2, 3)
    assert (pair.returning, pair.link) == ("aj4aaacaaaaaeaadxc65sr6z4qk3jxee", "aj4aaacaaaaaeaadqgpvpovpwrzyem6g")
    first = IDENTITY.open("aaaaaaiaaaaaeaaddoqq4k356st35ua7")
    assert first is not None and (first.position, first.issued) == (Position(1, 2, 3), None)


@given(st.builds(Position, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1)))
def test_tokens_of_the_first_form_are_understood_for_every_purpose(position: Position) -> None:
    token = first_token(SECRET, position)
    for purpose in Purpose:
        opened = IDENTITY.open(token, purpose)
        assert opened is not None and opened.position == position
    assert Identity([new_key(1, 0.0)]).open(token) is None


@given(POSITIONS, PURPOSES, st.integers(0, 159))
def test_a_flipped_bit_opens_nothing(position: Position, purpose: Purpose, bit: int) -> None:
    token = token_of(position, purpose)
    at, mask = bit // 5, 1 << bit % 5
    changed = token[:at] + ALPHABET[ALPHABET.index(token[at]) ^ mask] + token[at + 1 :]
    assert IDENTITY.open(changed) is None


def test_no_forged_flipped_or_cut_token_opens_anything() -> None:
    """BULKMAIL_FORGERIES=1000000 is the whole of it (`make test-listeners`)."""
    chance = random.Random(7)
    ring = Identity([KEY, new_key(1, BEGAN), new_key(5, BEGAN + 1)])
    for _ in range(int(os.environ.get("BULKMAIL_FORGERIES", "20000")) // 4):
        position = Position(chance.randrange(1 << 20), chance.randrange(1 << 30), chance.randrange(1 << 16))
        token = token_of(position, chance.choice(list(Purpose)), ring, BEGAN + chance.randrange(3))
        at = chance.randrange(32)
        flipped = token[:at] + chance.choice(ALPHABET.replace(token[at], "")) + token[at + 1 :]
        forged = token[:16] + "".join(chance.choices(ALPHABET, k=16))
        for each in (flipped, forged, token[:at], token[at + 1 :] + "a"):
            assert ring.open(each) is None, (token, each)


def test_a_new_key_signs_from_its_time_on_and_the_older_ones_open_still() -> None:
    ring = Identity([KEY, new_key(1, BEGAN)])
    before, after = (ring.issuer(1, began).tokens(2, 3).returning for began in (BEGAN - 1, BEGAN))
    assert before == IDENTITY.issuer(1, BEGAN - 1).tokens(2, 3).returning
    assert ring.open(before) and ring.open(after)
    assert IDENTITY.open(after) is None


def test_the_oldest_key_is_forgotten_when_there_are_more_than_a_token_can_name() -> None:
    keys = [KEY, *(new_key(number, BEGAN) for number in range(1, KEYS_IN_USE + 1))]
    ring = Identity(keys)
    assert ring.open(token_of(Position(1, 2, 3), Purpose.RETURN)) is None
    assert ring.open(Issuer(keys[1], 1, BEGAN).tokens(2, 3).returning)


@given(st.one_of(st.text(max_size=40), st.text(min_size=32, max_size=32), st.from_regex(r"\A[a-z2-7=]{32}\Z")))
def test_whatever_is_no_token_opens_nothing(text: str) -> None:
    assert IDENTITY.open(text) is None


@pytest.mark.parametrize("secret", [b"", b"short", b"x" * 65])
def test_a_secret_has_16_to_64_bytes(secret: bytes) -> None:
    with pytest.raises(ValueError, match="16 to 64"):
        Identity([TokenKey(number=1, created=0.0, secret=secret)])


@pytest.mark.parametrize(("run", "chunk"), [(1 << 20, 0), (0, 1 << 30), (-1, 0)])
def test_what_has_no_place_in_a_token_is_refused(run: int, chunk: int) -> None:
    with pytest.raises(ValueError, match="no place in a token"):
        IDENTITY.issuer(run, BEGAN).tokens(chunk, 0)


def test_the_return_path_carries_the_token_and_falls_back_to_from(make_campaign: MakeCampaign) -> None:
    token = IDENTITY.issuer(1, BEGAN).tokens(2, 3).returning
    campaign = make_campaign(return_path="bounces@mail.garden.example")
    assert return_path(campaign, token) == f"bounces+{token}@mail.garden.example"
    assert return_path(make_campaign(), token) == f"news+{token}@garden.example"


def test_the_message_carries_the_link_token_in_links_alone(make_campaign: MakeCampaign) -> None:
    program = compile_content(make_campaign(text="Leave: https://garden.example/u/{{ token }}\n"))
    message = program.render("a@b.example", b"[]", "r" * 32, "Mon, 01 Mar 2027 08:15:00 +0000", link="l" * 32)
    assert "r" * 32 in message.message_id
    assert b"l" * 32 in message.body and b"r" * 32 not in message.body and b"l" * 32 not in message.header


def test_a_return_path_whose_token_would_not_fit_is_refused_with_the_longest_allowed(
    make_campaign: MakeCampaign,
) -> None:
    program = compile_content(make_campaign(return_path=f"{'b' * 31}@garden.example"))
    assert len(program.envelope_sender("a" * 32).partition("@")[0]) == 64
    with pytest.raises(CampaignError, match=r"spring.yaml: return_path: .*at most 31 characters"):
        compile_content(make_campaign(return_path=f"{'b' * 32}@garden.example"))
    with pytest.raises(CampaignError, match=r"spring.yaml: from: .*set a return_path"):
        compile_content(make_campaign(from_=f"{'b' * 32}@garden.example"))
