"""What is wrong with a file as YAML, said by both parsers of PyYAML in the same words."""

import os
from pathlib import Path

import pytest
import yaml

from bulkmail.config import document
from bulkmail.config.document import MAX_FILE_BYTES, read_document
from bulkmail.errors import CampaignError

QUOTES = "put the value in quotes"
BROKEN = [
    ("", "c.yaml: the file is empty"),
    ("# nothing yet\n", "c.yaml: the file is empty"),
    ("- a\n", "c.yaml:1: a mapping of keys to values is needed, found a list"),
    ("\nhello\n", 'c.yaml:2: a mapping of keys to values is needed, found "hello"'),
    ("a:\n\tb: c\n", "c.yaml:2: a tab where spaces are needed; indent with spaces"),
    ("a: {{ x }}, y\n", f'c.yaml:1: a value starts with "{{{{"; {QUOTES}'),
    ("a:\n  - {{ x }} y\n", f'c.yaml:2: a value starts with "{{{{"; {QUOTES}'),
    ("a: 50% off: now\n", f'c.yaml:1: a second ": " in the line; {QUOTES}'),
    ("a: @all\n", f'c.yaml:1: a value starts with "@"; {QUOTES}'),
    ("a: %x\n", f'c.yaml:1: a value starts with "%"; {QUOTES}'),
    ("a: `x`\n", f'c.yaml:1: a value starts with "`"; {QUOTES}'),
    ("a: *star*\n", f'c.yaml:1: a value starts with "*" in "a: *star*"; {QUOTES}'),
    ("a: *x\n", f'c.yaml:1: a value starts with "*" in "a: *x"; {QUOTES}'),
    ("a: & b\n", f'c.yaml:1: a value starts with "&" in "a: & b"; {QUOTES}'),
    ("a: b\n  c: d\n", "c.yaml:2: the indentation does not fit the lines above; line the keys up"),
    ("a:\n    b: c\n  d: e\n", "c.yaml:3: the indentation does not fit the lines above; line the keys up"),
    ("- a\nb: c\n", "c.yaml:2: the indentation does not fit the lines above; line the keys up"),
    ("a: 'b\nc: d\n", "c.yaml:1: a quotation mark is not closed"),
    ('x: y\na: "b\nc: d\n', "c.yaml:2: a quotation mark is not closed"),
    ('a: "b\\qc"\n', "c.yaml:1: unknown escape after \\ in double quotes; use single quotes, or write \\\\"),
    ("x: y\na: [b, c\nd: e\n", "c.yaml:2: a [ is not closed, or a comma is missing"),
    ("a: {b: c\n", "c.yaml:1: a { is not closed, or a comma is missing"),
    ("a: b\nc\nd: e\n", "c.yaml:2: a key without a colon and a space after it"),
    ("a: b\n---\nc: d\n", "c.yaml:2: a second document; a file holds one campaign"),
    ("a: !!python/object/apply:os.system [ls]\n", 'c.yaml:1: the tag "!!python/object/apply:os.system" is not allowed'),
    ("a:\n  - !env HOME\n", 'c.yaml:2: the tag "!env" is not allowed'),
    ("a: !!binary aGk=\n", 'c.yaml:1: the tag "!!binary" is not allowed'),
    ("a: b\x07\n", "c.yaml:1: control character U+0007"),
    ("a: b\nc: \x9f\n", "c.yaml:2: control character U+009F"),
    ("a: " + "[" * 50 + "]" * 50, "c.yaml:1: nested deeper than 40 levels"),
    ("a:\n" + "- 1\n" * 100_001, "c.yaml:99998: more than 100000 values"),
]


def parse(text: str | bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(folder)
    Path("c.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CampaignError) as caught:
        read_document(Path("c.yaml"), "c.yaml")
    return str(caught.value)


@pytest.mark.parametrize("loader", ["libyaml", "Python"])
@pytest.mark.parametrize(("text", "message"), BROKEN, ids=[text[:30] for text, _ in BROKEN])
def test_broken_yaml_is_explained(text: str, message: str, loader: str, tmp_path, monkeypatch) -> None:
    if loader == "Python":
        if len(text) > 10_000:
            pytest.skip("the same code, and slow in Python")
        monkeypatch.setattr(document, "Loader", yaml.SafeLoader)
    assert parse(text, tmp_path, monkeypatch) == message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: b\nc: \xfc\n", "c.yaml:2: byte 0xFC is not UTF-8; save the file as UTF-8"),
        ("a: b".encode("utf-16"), "c.yaml:1: byte 0xFF is not UTF-8; save the file as UTF-8"),
        (b"\0" * 10, "c.yaml:1: control character U+0000"),
        (
            b"#" * (MAX_FILE_BYTES + 1),
            "c.yaml: larger than 1 MiB; recipients and content belong in files of their own",
        ),
    ],
)
def test_bytes_that_are_no_text_are_refused(data: bytes, message: str, tmp_path, monkeypatch) -> None:
    assert parse(data, tmp_path, monkeypatch) == message


@pytest.mark.parametrize("piece", ["[", "{", "a: ", "- ", "? ", "&a ", "!", '"', "[a, ", "{a: ", "*a ", "|\n", "'"])
def test_a_megabyte_of_garbage_is_refused(piece: str, tmp_path, monkeypatch) -> None:
    assert parse(piece * (1_000_000 // len(piece)), tmp_path, monkeypatch).startswith(("c.yaml:1: ", "c.yaml:2: "))


def test_a_missing_file_names_the_campaigns_beside_it(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "campaigns"
    with pytest.raises(CampaignError) as caught:
        read_document(folder / "spring.yaml", "campaigns/spring.yaml")
    assert str(caught.value) == f"campaigns/spring.yaml: no such file; there is no folder {folder}"
    folder.mkdir()
    with pytest.raises(CampaignError) as caught:
        read_document(folder / "spring.yaml", "campaigns/spring.yaml")
    assert str(caught.value) == "campaigns/spring.yaml: no such file"
    (folder / "sprign.yaml").touch()
    (folder / "autumn.yml").touch()
    with pytest.raises(CampaignError) as caught:
        read_document(folder / "spring.yaml", "campaigns/spring.yaml")
    assert str(caught.value) == f"campaigns/spring.yaml: no such file; {folder} has autumn.yml, sprign.yaml"


def test_a_folder_is_no_campaign_file(tmp_path) -> None:
    with pytest.raises(CampaignError) as caught:
        read_document(tmp_path, "x")
    assert str(caught.value) == "x: is a folder; a campaign file is needed"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_says_so(tmp_path) -> None:
    path = tmp_path / "c.yaml"
    path.touch(0)
    with pytest.raises(CampaignError) as caught:
        read_document(path, "c.yaml")
    assert str(caught.value) == "c.yaml: cannot be read: Permission denied"
