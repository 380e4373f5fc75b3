"""JSON Lines, and recipients that a program hands over."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator

import pytest

from bulkmail.errors import CampaignError
from bulkmail.model.recipient import Recipient, RejectedRow
from bulkmail.recipients.objects import from_async_iterable, from_iterable

GOOD = '{"email": "a@x.example", "first_name": "Anna", "orders": [1, {"n": 2}], "x": null, "y": ""}\n'


@pytest.mark.parametrize("name", ["l.jsonl", "l.jsonl.gz"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_an_object_becomes_a_recipient_with_its_place(mark: bytes, name: str, open_list) -> None:
    reader = open_list(mark + b"\n" + GOOD.encode(), name)
    assert reader.columns == ()
    assert list(reader) == [
        Recipient(
            address="a@x.example",
            fields={"email": "a@x.example", "first_name": "Anna", "orders": [1, {"n": 2}]},
            source=name,
            line=2,
            list="news",
        )
    ]
    assert list(reader) == list(reader)


@pytest.mark.parametrize(
    ("line", "address", "reason"),
    [
        (b"{'email': 1}", "", "not JSON at column 2: "),
        (b'{"email": "b@x.example"', "", "not JSON at column 24: "),
        (b'["b@x.example"]', "", "not a JSON object"),
        (b'{"name": "B"}', "", 'no "email"'),
        (b'{"email": null}', "", 'no "email"'),
        (b'{"email": 7}', "", '"email" is not text'),
        (b'{"email": " b "}', "b", "no @"),
        (b'{"email": "\xfc"}', "", "byte 0xFC is not UTF-8"),
        (b'{"email": "\\ud800"}', "", None),
        (b"[" * 100_000, "", None),
        (b'{"email": "' + b"b" * 2_000_000 + b'"}', "", "the row is longer than 1 MiB"),
        (b'{"email": "b"}\0', "", "a NUL byte"),
    ],
)
def test_a_line_that_is_no_recipient_is_refused_and_the_next_is_not(line, address, reason, rows) -> None:
    result = rows(GOOD.encode() + line + b"\n" + GOOD.encode(), "l.jsonl")
    assert [row.line for row in result] == [1, 2, 3]
    assert isinstance(result[1], RejectedRow)
    assert result[1].address == address
    if reason is not None:
        # What follows the colon is orjson's and changes with it.
        assert result[1].reason == reason or (reason.endswith(": ") and result[1].reason.startswith(reason))
    assert isinstance(result[2], Recipient)


def test_keys_are_named_as_templates_name_them(rows) -> None:
    (row,) = rows('{"E-Mail": "a@x.example", "First Name": "Anna"}', "l.jsonl")
    assert row.fields == {"e_mail": "a@x.example", "first_name": "Anna"}


@pytest.mark.parametrize(
    ("data", "address", "message"),
    [
        ("", None, "l.jsonl: the file is empty"),
        ("\n[1]\n", None, "l.jsonl:1: the file has no JSON object; one object a line is needed"),
        (
            '\n{"name": "A"}\n{"name": "B"}\n',
            None,
            "l.jsonl:2: no key is called email or the like; the keys are name; "
            "name that of the address with the key address",
        ),
        (
            '{"email": "a", "mail": "b"}',
            None,
            "l.jsonl:1: more than one key may hold the address: email, mail; name it with the key address",
        ),
        ('{"email": "a"}', "emial", 'l.jsonl:1: no key "emial"; the keys are email; did you mean "email"?'),
    ],
)
def test_a_file_that_is_no_list_is_named(data: str, address: str | None, message: str, rows) -> None:
    with pytest.raises(CampaignError) as caught:
        rows(data, "l.jsonl", address)
    assert str(caught.value) == message


def test_the_first_object_may_lack_the_address(rows) -> None:
    result = rows('{"name": "A"}\n{"name": "B", "email": "b@x.example"}\n', "l.jsonl")
    assert [type(row) for row in result] == [RejectedRow, Recipient]


def test_a_program_may_give_addresses_mappings_and_recipients() -> None:
    items = [
        "a@x.example",
        {"name": "B", "Email": " b@x.example "},
        Recipient(address="c@x.example", fields={"name": "C"}, source="crm", line=77, list="vip"),
        "nobody",
        {"name": "D"},
        {"Email": "e@x.example", "id": 7},
    ]
    assert list(from_iterable(items, list="news")) == [
        Recipient(address="a@x.example", line=1, list="news"),
        Recipient(address="b@x.example", fields={"name": "B", "Email": " b@x.example "}, line=2, list="news"),
        Recipient(address="c@x.example", fields={"name": "C"}, source="crm", line=77, list="vip"),
        RejectedRow(address="nobody", reason="no @", line=4),
        RejectedRow(address="", reason='no "Email"', line=5),
        Recipient(address="e@x.example", fields={"Email": "e@x.example", "id": 7}, line=6, list="news"),
    ]


def test_rows_of_a_database_are_mappings_enough() -> None:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    (row,) = from_iterable(connection.execute("SELECT 'a@x.example' AS email, 1 AS n"))
    connection.close()
    assert row == Recipient(address="a@x.example", fields={"email": "a@x.example", "n": 1}, line=1)


def test_a_program_may_give_what_is_awaited() -> None:
    async def items() -> AsyncIterator[str]:
        yield "a@x.example"
        yield "b"

    async def collect() -> list[Recipient | RejectedRow]:
        return [row async for row in from_async_iterable(items(), list="news")]

    assert asyncio.run(collect()) == list(from_iterable(["a@x.example", "b"], list="news"))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (7, "recipient 2: an address, a mapping or a Recipient is needed, found int"),
        (b"a@x.example", "recipient 2: an address, a mapping or a Recipient is needed, found bytes"),
        (
            {"name": "A"},
            "recipient 2: no key is called email or the like; the keys are name; "
            "name that of the address with the key address",
        ),
    ],
)
def test_what_can_be_no_recipient_is_the_programs_mistake(item: object, message: str) -> None:
    with pytest.raises(CampaignError) as caught:
        list(from_iterable(["a@x.example", item]))
    assert str(caught.value) == message
