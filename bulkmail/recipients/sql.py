"""Rows that a query gives, streamed by a server-side cursor (SQLAlchemy), and their snapshot on disk.

A table changes while it is read, and has no order of its own. So the query is asked once a run: its rows go into a
file first, and an intake that was interrupted goes on from that file, not from the database.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from bulkmail.errors import CampaignError
from bulkmail.model.campaign import RecipientSource, SqlQuery
from bulkmail.model.recipient import Recipient, RejectedRow
from bulkmail.recipients.columns import ColumnError, address_column
from bulkmail.recipients.objects import Names, recipient_of
from bulkmail.recipients.values import plain_value

FETCH_ROWS = 2_000
LABEL = "sql"  # what stands for the file where a row of a query is named


@contextmanager
def answered(query: SqlQuery) -> Iterator[Any]:
    """The result of the query, at its first row. Raises CampaignError, which never has the URL's password in it."""
    try:
        import sqlalchemy
    except ImportError:
        raise CampaignError(
            "a query needs sqlalchemy, which is not installed", path="recipients", hint="pip install 'bulkmail[sql]'"
        ) from None
    engine = None
    try:
        engine = sqlalchemy.create_engine(url_of(query), poolclass=sqlalchemy.pool.NullPool)
        with engine.connect().execution_options(stream_results=True, yield_per=FETCH_ROWS) as connection:
            yield connection.execute(sqlalchemy.text(query.query))
    except sqlalchemy.exc.SQLAlchemyError as error:
        problem = f"the database says: {cause_of(error, query)}"
        raise CampaignError(problem, path="recipients", hint=hint_of(error)) from None
    except ImportError as error:
        raise CampaignError(f"the database's driver is missing: {error}", path="recipients") from None
    finally:
        if engine is not None:
            engine.dispose()


def url_of(query: SqlQuery) -> str:
    if query.url_env is None:
        return query.url or ""
    url = os.environ.get(query.url_env)
    if not url:
        raise CampaignError(
            f"the environment variable {query.url_env} is not set",
            path="recipients",
            hint=f"export {query.url_env}=postgresql+psycopg://...",
        )
    return url


def cause_of(error: Exception, query: SqlQuery) -> str:
    """The driver's own words, without a URL that may have a password."""
    words = str(getattr(error, "orig", None) or error).splitlines()[0][:300]
    return words.replace(url_of(query), "the URL")


def hint_of(error: Exception) -> str | None:
    return "write sqlite:///list.db or postgresql+psycopg://..." if type(error).__name__ == "ArgumentError" else None


def sql_columns(source: RecipientSource, query: SqlQuery) -> tuple[list[str], str]:
    """The names of the result's columns, and that of the address. Raises CampaignError."""
    with answered(query) as result:
        names = list(result.keys())
        try:
            return names, names[address_column(names, source.address)]
        except ColumnError as error:
            raise CampaignError(str(error), path="recipients") from None


def read_sql(source: RecipientSource, query: SqlQuery, address: str) -> Iterator[Recipient | RejectedRow]:
    """Every row, in the order of the answer; `line` is its number from 1."""
    names = Names()
    with answered(query) as result:
        for line, row in enumerate(result.mappings(), 1):
            yield recipient_of(plain_value(dict(row)), address, names, source=LABEL, line=line, list_name=source.list)


def take_snapshot(source: RecipientSource, query: SqlQuery, path: Path) -> RecipientSource:
    """The source as a file of one JSON object a row, made now unless it is there; whole or not at all.

    Raises CampaignError; OSError where it cannot be written.
    """
    if not path.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        unfinished = path.with_suffix(".part")
        with open(unfinished, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            rows = 0
            with answered(query) as result:
                for row in result.mappings():
                    file.write(orjson.dumps(plain_value(dict(row))) + b"\n")
                    rows += 1
            file.flush()
            os.fsync(file.fileno())
        if not rows:
            raise CampaignError("the query gives no row", path="recipients")
        os.replace(unfinished, path)
    return RecipientSource(file=str(path), list=source.list, address=source.address)
