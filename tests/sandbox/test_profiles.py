"""The data files."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bulkmail.errors import CampaignError
from bulkmail.sandbox.profiles import OPEN_HOUSE, Answer, load_profiles


@pytest.mark.parametrize("path", [None, OPEN_HOUSE], ids=["providers", "open house"])
def test_the_shipped_files_load(path: Path | None) -> None:
    profiles = load_profiles(path)
    assert {"gmail", "yahoo", "outlook", "icloud", "gmx"} <= set(profiles.group)
    for group in profiles.group.values():
        assert profiles.manners[group.manners]


def test_every_shipped_reply_fits_a_reply_line() -> None:
    values = {"host": "h" * 60, "peer": "127.255.255.255", "address": "a" * 254, "seconds": "10", "id": "i" * 20}
    for manners in load_profiles().manners.values():
        for name in manners.replies.__struct_fields__:
            answer = getattr(manners.replies, name)
            assert all(len(line) < 500 for line in answer.fill(**values))
            if "ENHANCEDSTATUSCODES" in manners.extensions and name not in ("greeting",):
                assert answer.enhanced, f"{name}: {answer.lines}"


def test_each_reply_means_what_its_name_says() -> None:
    for manners in load_profiles().manners.values():
        replies = manners.replies
        assert replies.accepted.code == 250
        assert replies.greeting.code == 220
        for permanent in (replies.unknown, replies.disabled, replies.full, replies.policy, replies.content):
            assert 500 <= permanent.code < 600
        for passing in (replies.greylisted, replies.later, replies.full_for_now):
            assert 400 <= passing.code < 500


@pytest.mark.parametrize(
    ("text", "code", "enhanced", "lines"),
    [
        ("421 4.7.0 slow {peer}", 421, "4.7.0", ("slow {peer}",)),
        ("550 5.1.1 a\nb", 550, "5.1.1", ("a", "b")),
        ("550 4.1.1 not its class", 550, None, ("4.1.1 not its class",)),
        ("554 plain words", 554, None, ("plain words",)),
    ],
)
def test_a_reply_is_read_into_code_enhanced_code_and_lines(
    text: str, code: int, enhanced: str | None, lines: tuple[str, ...]
) -> None:
    answer = Answer(text)
    assert (answer.code, answer.enhanced, answer.lines) == (code, enhanced, lines)


@pytest.mark.parametrize(
    ("manners", "message"),
    [
        ('replies = {unknown = "no code"}', "begins with a code"),
        ('replies = {unknown = "550 {adress}"}', "unknown placeholder 'adress'"),
        ("connectoins = 3", "connectoins"),
        ('connections = "many"', "manners"),
        ('extensions = ["PIPELINE"]', "unknown extension 'PIPELINE'"),
        ("connections = ", "line"),
    ],
)
def test_a_mistake_is_named_with_its_file(write_profiles: Callable[..., Path], manners: str, message: str) -> None:
    path = write_profiles(manners)
    with pytest.raises(CampaignError, match=message) as caught:
        load_profiles(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('manners = "plain"', 'manners = "rude"', "no manners 'rude'"),
        ("share = 1.0", "", "no group takes a share"),
        ('"10 mx.{domain}"', '"mx.{domain}"', "PREFERENCE HOST"),
        ("addresses = 2", "addresses = 0", "1 to 200 addresses"),
    ],
)
def test_groups_are_checked(write_profiles: Callable[..., Path], old: str, new: str, message: str) -> None:
    path = write_profiles()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(CampaignError, match=message):
        load_profiles(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match=r"nowhere\.toml"):
        load_profiles(tmp_path / "nowhere.toml")
