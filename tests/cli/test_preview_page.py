"""`preview --browser` and `--png`: one local page, and pictures by headless Chromium."""

import struct
from pathlib import Path

import pytest

from bulkmail.cli import pictures
from bulkmail.preflight.gallery import gallery, shown

MESSAGE = (
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: a@b.example\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: text/html; charset=utf-8\r\n\r\n<p onclick="x">Hello</p><script>alert(1)</script>\r\n'
)


def size_of(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def test_the_page_shows_several_recipients_with_page_text_and_source(folder, call, monkeypatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    result = call("preview", folder.file, "--browser", "--rows", "1,5", "--out", "shown")
    assert result.exit_code == 0, result.stderr
    page = (folder.path / "shown" / "index.html").read_text(encoding="utf-8")
    assert page.count("<section>") == 2
    assert "Hello Reader 0" in page and "Hello Reader 4" in page
    assert "data:image/png;base64," in page and "recipients.csv:6" in page
    assert "shown/index.html" in result.stdout and opened == [(folder.path / "shown" / "index.html").as_uri()]


def test_without_rows_those_that_differ_are_shown_and_a_page_is_made_elsewhere(folder, call, monkeypatch) -> None:
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    (folder.path / "body.html").write_text('<p>Hello {{ first_name | default("you") }}</p><img src="cid:logo.png">')
    folder.edit('"Hello {{ first_name }}"', '"Hello"')
    (folder.path / "body.txt").write_text("Hello")
    folder.write_rows(["a@own-house.example,A", "b@own-house.example,B", "c@own-house.example,"])
    result = call("preview", folder.file, "--browser")
    path = Path(result.stdout.split()[0])
    page = path.read_text(encoding="utf-8")
    assert "recipients.csv:2" in page and "recipients.csv:4" in page and "recipients.csv:3" not in page
    assert folder.path not in path.parents


def test_what_a_message_has_in_it_stays_in_its_frame() -> None:
    page = gallery("t</title>", [shown("row <1>", "r@x.example", MESSAGE)])
    assert '<iframe sandbox="allow-same-origin" ' in page and "<script>alert" not in page and "t&lt;/title&gt;" in page
    assert "row &lt;1&gt;" in page and "Grüße" in page
    assert "default-src 'none'" in page


def test_pictures_are_taken_at_desktop_and_phone_width(folder, call) -> None:
    if pictures.find_chromium() is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    result = call("preview", folder.file, "--png", "--row", "2", "--out", "shown")
    assert result.exit_code == 0, result.stderr
    assert size_of(folder.path / "shown" / "row-2-desktop.png")[0] == 1200
    assert size_of(folder.path / "shown" / "row-2-phone.png")[0] == 390


def test_without_chromium_the_reason_and_what_to_do_are_said(folder, call, monkeypatch) -> None:
    monkeypatch.setattr(pictures, "find_chromium", lambda: None)
    result = call("preview", folder.file, "--png", "--out", "shown")
    assert result.exit_code == 2 and "no Chromium" in result.stderr and "apt-get install" in result.stderr


def test_what_is_no_browser_is_said_to_be_none(folder, call, monkeypatch) -> None:
    monkeypatch.setenv("BULKMAIL_CHROMIUM", "/bin/false")
    result = call("preview", folder.file, "--png", "--out", "shown")
    assert result.exit_code == 2 and "takes no picture" in result.stderr
