"""Files that hold lists: kinds, damage, fingerprints, memory."""

import gzip
import tracemalloc
from pathlib import Path

import pytest

from bulkmail.errors import CampaignError
from bulkmail.model.campaign import RecipientSource
from bulkmail.recipients.lines import refuse_foreign_encoding
from bulkmail.recipients.source import fingerprint, open_source


def message(call, *args) -> str:
    with pytest.raises(CampaignError) as caught:
        call(*args)
    return str(caught.value)


def test_the_ending_says_what_kind_of_list_it_is(open_list) -> None:
    assert (
        message(open_list, "x", "l.txt") == "l.txt: is none of .csv, .tsv and .jsonl (or these with .gz) and .parquet"
    )


def test_a_file_that_is_not_there_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("l.csv", "l.jsonl.gz"):
        assert message(open_source, RecipientSource(file=name)) == f"{name}: cannot be read: No such file or directory"
    assert message(fingerprint, "l.csv") == "l.csv: cannot be read: No such file or directory"
    Path("d.csv").mkdir()
    assert message(open_source, RecipientSource(file="d.csv")) == "d.csv: cannot be read: Is a directory"


def test_damaged_gzip_is_told_with_the_line_reached(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = gzip.compress(b"email\n" + b"".join(b"p%d@x.example\n" % (i * 7919) for i in range(50_000)))
    path = Path("l.csv.gz")
    source = RecipientSource(file="l.csv.gz")

    path.write_bytes(whole[: len(whole) // 2])
    reader = open_source(source)
    text = message(list, reader)
    assert text.startswith("l.csv.gz:") and text.endswith(": the gzip data ends too early; copy it again")

    path.write_bytes(whole[: len(whole) // 2] + b"\xff" * 2000 + whole[len(whole) // 2 + 2000 :])
    assert ": the gzip data is damaged: " in message(list, open_source(source))

    path.write_bytes(whole[:-8] + b"\0\0\0\0" + whole[-4:])
    assert ": the gzip data is damaged: CRC check failed" in message(list, open_source(source))

    path.write_bytes(whole[:5])
    assert message(open_source, source) == "l.csv.gz:1: the gzip data ends too early; copy it again"

    path.write_bytes(b"email\n")
    assert message(open_source, source) == "l.csv.gz: is not gzip, though its name ends in .gz"

    path.write_bytes(b"")
    assert message(open_source, source) == "l.csv.gz: the file is empty"


def test_the_fingerprint_is_that_of_the_bytes(tmp_path) -> None:
    one, two, three = tmp_path / "1.csv", tmp_path / "2.csv", tmp_path / "3.csv"
    one.write_bytes(b"email\n")
    two.write_bytes(b"email\n")
    three.write_bytes(b"email\r\n")
    assert fingerprint(one) == fingerprint(RecipientSource(file=str(two), list="x"))
    assert fingerprint(one) != fingerprint(str(three))
    assert len(fingerprint(one)) == 32


@pytest.mark.parametrize("name", ["l.csv", "l.csv.gz", "l.jsonl"])
def test_a_long_list_is_read_in_little_memory(name: str, open_list) -> None:
    row = '{"email": "p@x.example", "a": "%s"}\n' if name == "l.jsonl" else "p@x.example,%s\n"
    data = ("" if name == "l.jsonl" else "email,a\n") + row % ("z" * 200) * 20_000
    reader = open_list(data, name)
    tracemalloc.start()
    try:
        assert sum(1 for _ in reader) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000 < len(data)
    finally:
        tracemalloc.stop()


def test_a_file_that_is_one_endless_line_is_read_in_little_memory(open_list) -> None:
    reader = open_list("email,a\n" + "z" * 20_000_000)
    tracemalloc.start()
    try:
        assert [row.reason for row in reader] == ["the row is longer than 1 MiB"]
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("email,name\na@x.example,Ann\nb@x.example,Zoë\nc@x.example,Jörg\n".encode("latin-1"), 3),
        (b"email,name\na@x.example,\x93Ann\x94\n", 2),
        ("email,größe\n".encode("latin-1"), 1),
    ],
)
def test_a_list_in_another_encoding_is_refused_whole(tmp_path, monkeypatch, data, line) -> None:
    monkeypatch.chdir(tmp_path)
    Path("l.csv").write_bytes(data)
    text = message(refuse_foreign_encoding, "l.csv")
    assert text.startswith(f"l.csv:{line}: byte 0x") and "iconv" in text


@pytest.mark.parametrize(
    "data",
    [
        b"email,name\na@x.example,Ann\n",
        "email,name\na@x.example,Zoë\n".encode() + b"b@x.example,\xfc\n",
        b"email,name\nb@x.example,\xfc\n" + "a@x.example,Zoë\n".encode(),
        "email,name\na@x.example,Zoë\n".encode("utf-16"),
    ],
    ids=["ascii", "broken-after", "broken-before", "utf-16"],
)
def test_a_list_with_one_good_letter_beyond_ascii_is_utf8_for_all_its_other_rows(tmp_path, monkeypatch, data) -> None:
    monkeypatch.chdir(tmp_path)
    Path("l.csv").write_bytes(data)
    refuse_foreign_encoding("l.csv")
