"""Passwords of relays: from the environment or a file of the owner's alone, and in no error."""

from pathlib import Path

import pytest

from bulkmail.config.load import load_campaign
from bulkmail.config.secrets import password_of
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Relay

SECRET = "pl4nted S3cret"
YAML = """\
campaign: c
from: a@x.example
subject: s
content: {text: t}
recipients: [{file: r.csv}]
delivery:
  route: relay
  relay:
    - host: a.example
      username: u
      password_file: p
"""


def file_with(folder: Path, content: bytes, mode: int = 0o600) -> Relay:
    path = folder / "p"
    path.write_bytes(content)
    path.chmod(mode)
    return Relay(host="a.example", username="u", password_file=str(path))


@pytest.mark.parametrize("content", [SECRET, f"{SECRET}\n", f"{SECRET}\r\n"])
def test_the_only_line_of_a_file_is_the_password(tmp_path: Path, content: str) -> None:
    assert password_of(file_with(tmp_path, content.encode()), file=None, path="r") == SECRET


@pytest.mark.parametrize(
    "content, mode, complaint",
    [
        (SECRET.encode(), 0o640, r"mode 0640"),
        (SECRET.encode(), 0o604, r"mode 0604"),
        (f"{SECRET}\nmore\n".encode(), 0o600, "more than one line"),
        (b"", 0o600, "is empty"),
        (b"\n", 0o600, "is empty"),
        (SECRET.encode() + b"\xff", 0o600, "not UTF-8"),
        (SECRET.encode() + b"\x07", 0o600, "SASLprep"),
        (SECRET.encode() * 1000, 0o600, "more than one line"),
    ],
)
def test_a_file_that_will_not_do_is_named_and_not_quoted(
    tmp_path: Path, content: bytes, mode: int, complaint: str
) -> None:
    with pytest.raises(CampaignError, match=complaint) as caught:
        password_of(file_with(tmp_path, content, mode), file="c.yaml", path="delivery.relay")
    assert "S3cret" not in str(caught.value)
    assert caught.value.path == "delivery.relay.password_file"


def test_a_campaign_whose_password_others_can_read_is_refused_with_the_command_to_run(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(YAML)
    (tmp_path / "t").write_text("hello")
    (tmp_path / "r.csv").write_text("email\n")
    file_with(tmp_path, SECRET.encode(), 0o644)
    with pytest.raises(CampaignError) as caught:
        load_campaign(tmp_path / "c.yaml")
    assert caught.value.line == 11 and caught.value.hint == f"chmod 600 {tmp_path / 'p'}"
    (tmp_path / "p").chmod(0o600)
    campaign = load_campaign(tmp_path / "c.yaml")
    assert campaign.delivery.relay[0].password_file == str(tmp_path / "p")
    assert "S3cret" not in repr(campaign)
