"""Tokens open only under the secret that made them, and fit where they are used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.content import Identity, Position, compile_content
from bulkmail.content.identity import return_path
from bulkmail.errors import CampaignError
from tests.content.conftest import MakeCampaign

IDENTITY = Identity(b"0123456789abcdef")
POSITIONS = st.builds(Position, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1))


@given(POSITIONS)
def test_a_token_opens_to_its_position_in_any_case(position: Position) -> None:
    token = IDENTITY.token(position.run, position.chunk, position.index)
    assert len(token) == 32
    assert token.isalnum() and token.islower() and token.isascii()
    assert IDENTITY.open(token) == IDENTITY.open(token.upper()) == IDENTITY.open(token.title()) == position


def test_tokens_do_not_change_between_versions() -> None:
    assert IDENTITY.token(1, 2, 3) == "aaaaaaiaaaaaeaaddoqq4k356st35ua7"


@given(POSITIONS, st.integers(0, 159))
def test_a_flipped_bit_opens_nothing(position: Position, bit: int) -> None:
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    token = IDENTITY.token(position.run, position.chunk, position.index)
    at, mask = bit // 5, 1 << bit % 5
    changed = token[:at] + alphabet[alphabet.index(token[at]) ^ mask] + token[at + 1 :]
    assert IDENTITY.open(changed) is None


def test_another_secret_opens_nothing() -> None:
    assert Identity(b"fedcba9876543210").open(IDENTITY.token(1, 2, 3)) is None


@given(st.one_of(st.text(max_size=40), st.text(min_size=32, max_size=32), st.from_regex(r"\A[a-z2-7=]{32}\Z")))
def test_whatever_is_no_token_opens_nothing(text: str) -> None:
    assert IDENTITY.open(text) is None


@pytest.mark.parametrize("secret", [b"", b"short", b"x" * 65])
def test_a_secret_has_16_to_64_bytes(secret: bytes) -> None:
    with pytest.raises(ValueError, match="16 to 64"):
        Identity(secret)


def test_the_return_path_carries_the_token_and_falls_back_to_from(make_campaign: MakeCampaign) -> None:
    token = IDENTITY.token(1, 2, 3)
    campaign = make_campaign(return_path="bounces@mail.garden.example")
    assert return_path(campaign, token) == f"bounces+{token}@mail.garden.example"
    assert return_path(make_campaign(), token) == f"news+{token}@garden.example"


def test_a_return_path_whose_token_would_not_fit_is_refused_with_the_longest_allowed(
    make_campaign: MakeCampaign,
) -> None:
    program = compile_content(make_campaign(return_path=f"{'b' * 31}@garden.example"))
    assert len(program.envelope_sender("a" * 32).partition("@")[0]) == 64
    with pytest.raises(CampaignError, match=r"spring.yaml: return_path: .*at most 31 characters"):
        compile_content(make_campaign(return_path=f"{'b' * 32}@garden.example"))
    with pytest.raises(CampaignError, match=r"spring.yaml: from: .*set a return_path"):
        compile_content(make_campaign(from_=f"{'b' * 32}@garden.example"))
