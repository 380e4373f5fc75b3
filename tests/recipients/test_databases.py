"""Lists in Parquet and from queries: plain data, row numbers, clear errors, and one answer for one run."""

import datetime
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bulkmail.errors import CampaignError
from bulkmail.model.campaign import RecipientSource, SqlQuery
from bulkmail.model.recipient import Recipient, RejectedRow
from bulkmail.recipients.source import open_source
from bulkmail.recipients.sql import take_snapshot
from bulkmail.recipients.values import plain_value

pytest.importorskip("sqlalchemy", reason="bulkmail[sql] is not installed")
pyarrow = pytest.importorskip("pyarrow", reason="bulkmail[parquet] is not installed")


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "list.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE member (email TEXT, first_name TEXT, spent REAL, active INTEGER)")
    rows = [
        ("ann@example.com", "Ann", 1.5, 1),
        ("no-address", "Bob", 2, 1),
        (None, "Eve", 0, 1),
        ("x@y.example", "", 0, 0),
    ]
    connection.executemany("INSERT INTO member VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return f"sqlite:///{path}"


def query(database: str, text: str = "SELECT email, first_name, spent FROM member WHERE active") -> RecipientSource:
    return RecipientSource(sql=SqlQuery(url=database, query=text), list="members")


def test_a_query_gives_rows_with_their_numbers(database: str) -> None:
    reader = open_source(query(database))
    assert reader.columns == ("email", "first_name", "spent")
    first, second, third = reader
    assert first == Recipient(
        address="ann@example.com",
        fields={"email": "ann@example.com", "first_name": "Ann", "spent": 1.5},
        source="sql",
        line=1,
        list="members",
    )
    assert isinstance(second, RejectedRow) and (second.line, second.source) == (2, "sql")
    assert isinstance(third, RejectedRow) and third.reason == 'no "email"'


@pytest.mark.parametrize(
    ("url", "text", "complaint"),
    [
        (None, "SELECT 1 AS a", "no column is called email"),
        (None, "SELECT * FROM lost", "the database says: no such table: lost"),
        (None, "DROP", "the database says"),
        ("nonsense", "SELECT 1", "the database says"),
        ("sqlite:////no/such/folder/x.db", "SELECT 1", "unable to open database file"),
    ],
)
def test_what_is_wrong_with_a_query_is_told_in_one_sentence(
    database: str, url: str | None, text: str, complaint: str
) -> None:
    with pytest.raises(CampaignError, match=complaint):
        open_source(query(url or database, text))


def test_the_url_may_come_from_the_environment_and_is_not_shown(monkeypatch: pytest.MonkeyPatch, database: str) -> None:
    source = RecipientSource(sql=SqlQuery(url_env="LIST_URL", query="SELECT email FROM member"))
    with pytest.raises(CampaignError, match="LIST_URL is not set"):
        open_source(source)
    monkeypatch.setenv("LIST_URL", "nosuch://user:hunter2@host/db")
    with pytest.raises(CampaignError) as caught:
        open_source(source)
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("LIST_URL", database)
    assert len(list(open_source(source))) == 4


def test_a_snapshot_stays_what_the_query_answered_first(database: str, tmp_path: Path) -> None:
    source = query(database)
    assert source.sql is not None
    path = tmp_path / "snapshots" / "spring-1.0.jsonl"
    taken = take_snapshot(source, source.sql, path)
    before = list(open_source(taken))
    connection = sqlite3.connect(tmp_path / "list.db")
    connection.execute("DELETE FROM member")
    connection.commit()
    connection.close()
    assert list(open_source(take_snapshot(source, source.sql, path))) == before
    assert [row.line for row in before] == [1, 2, 3]
    assert path.stat().st_mode & 0o777 == 0o600
    path.unlink()
    with pytest.raises(CampaignError, match="gives no row"):
        take_snapshot(source, source.sql, path)
    assert not path.exists()


def test_parquet_is_read_by_batches_with_its_nested_data(tmp_path: Path) -> None:
    from pyarrow import parquet

    rows: list[dict[str, Any]] = [
        {
            "E-Mail": f"a{n}@example.com",
            "when": datetime.date(2027, 5, 8),
            "order": {"lines": [n]},
            "sum": Decimal("1.50"),
        }
        for n in range(5000)
    ]
    rows[4321]["E-Mail"] = "x"
    path = tmp_path / "list.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=1000)
    reader = open_source(RecipientSource(file=str(path)))
    assert reader.columns == ("e_mail", "when", "order", "sum")
    found = list(reader)
    assert len(found) == 5000
    first = found[0]
    assert isinstance(first, Recipient)
    assert first.fields == {"e_mail": "a0@example.com", "when": "2027-05-08", "order": {"lines": [0]}, "sum": "1.50"}
    assert isinstance(found[4321], RejectedRow) and found[4321].line == 4322


def test_a_file_that_is_no_parquet_or_has_no_address_is_refused(tmp_path: Path) -> None:
    from pyarrow import parquet

    path = tmp_path / "list.parquet"
    path.write_text("email\n")
    with pytest.raises(CampaignError, match="cannot be read as Parquet"):
        open_source(RecipientSource(file=str(path)))
    parquet.write_table(pyarrow.Table.from_pylist([{"a": 1}]), path)
    with pytest.raises(CampaignError, match="no column is called email"):
        open_source(RecipientSource(file=str(path)))


def test_tabs_separate_a_tsv(tmp_path: Path) -> None:
    path = tmp_path / "list.tsv"
    path.write_text("email\tname\nann@example.com\tAnn, Lee\n")
    (row,) = open_source(RecipientSource(file=str(path)))
    assert isinstance(row, Recipient) and row.fields["name"] == "Ann, Lee"


def test_values_become_plain_data() -> None:
    moment = datetime.datetime(2027, 5, 8, 10, tzinfo=datetime.UTC)
    assert plain_value([Decimal("5"), Decimal("5.10"), moment, b"\x01", {"a": (1, None)}]) == [
        *(5, "5.10", "2027-05-08T10:00:00+00:00", "01", {"a": [1, None]}),
    ]
