"""CSV lists as they come out of spreadsheets, exports and text editors."""

import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkmail.errors import CampaignError
from bulkmail.model.recipient import Recipient, RejectedRow

PLAIN = "email,first_name\na@x.example,Anna\nb@x.example,Bert\n"


def brief(rows: list[Recipient | RejectedRow]) -> list[tuple[int, str, object]]:
    """(line, address, fields without the address, or the reason) of each row."""
    return [
        (row.line, row.address, row.reason)
        if isinstance(row, RejectedRow)
        else (row.line, row.address, {name: value for name, value in row.fields.items() if name != "email"})
        for row in rows
    ]


def test_a_row_becomes_a_recipient_with_its_place(rows) -> None:
    assert rows(PLAIN)[1] == Recipient(
        address="b@x.example",
        fields={"email": "b@x.example", "first_name": "Bert"},
        source="l.csv",
        line=3,
        list="news",
    )


TWO = [(2, "a@x.example", {"first_name": "Anna"}), (3, "b@x.example", {"first_name": "Bert"})]


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.removesuffix("\n"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace(",", ", "),
        PLAIN.replace("@x.example", "@x.example "),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        '"email","first_name"\n"a@x.example","Anna"\n"b@x.example","Bert"\n',
        "first_name,email\nAnna,a@x.example\nBert,b@x.example\n",
        PLAIN + "\n\n,\n  ,  \n",
    ],
)
@pytest.mark.parametrize("name", ["l.csv", "l.csv.gz", "L.CSV"])
def test_every_dialect_gives_the_same_rows(data: str | bytes, name: str, rows) -> None:
    assert brief(rows(data, name)) == TWO


def test_a_line_that_names_the_separator_is_believed(rows) -> None:
    data = 'sep=;\nemail;"a,b,c"\nx@x.example;1\n'
    assert brief(rows(data)) == [(3, "x@x.example", {"a_b_c": "1"})]


def test_separators_inside_quotes_do_not_count(rows) -> None:
    assert brief(rows('email;"a,b,c,d"\nx@x.example;1\n')) == [(2, "x@x.example", {"a_b_c_d": "1"})]


def test_blank_lines_shift_the_line_numbers_as_an_editor_shows_them(rows) -> None:
    data = '\n\nemail,note\n\na@x.example,"one\ntwo\n\nfour"\n\nb@x.example,x\n'
    assert brief(rows(data)) == [
        (5, "a@x.example", {"note": "one\ntwo\n\nfour"}),
        (10, "b@x.example", {"note": "x"}),
    ]


def test_a_list_of_addresses_alone_is_a_list(rows) -> None:
    assert brief(rows("email\na@x.example\n\nb@x.example\n")) == [(2, "a@x.example", {}), (4, "b@x.example", {})]


def test_an_empty_cell_is_a_field_left_out(rows) -> None:
    assert brief(rows("email,a,b\nx@x.example,,1\n")) == [(2, "x@x.example", {"b": "1"})]


def test_cells_of_a_column_without_a_name_are_left_out(open_list) -> None:
    reader = open_list("email,,b\nx@x.example,1,2\n")
    assert reader.columns == ("email", "b")
    assert brief(list(reader)) == [(2, "x@x.example", {"b": "2"})]


def test_columns_are_known_before_the_first_row_and_as_templates_name_them(open_list) -> None:
    reader = open_list("E-Mail, First Name ,größe,2nd,plan\na@x.example,b,c,d,e\n")
    assert reader.columns == ("e_mail", "first_name", "größe", "_2nd", "plan")
    (row,) = reader
    assert row.fields["first_name"] == "b"


def test_a_reader_can_be_iterated_again_and_left_early(open_list) -> None:
    reader = open_list(PLAIN)
    first = iter(reader)
    assert next(first).line == 2
    first.close()
    assert list(reader) == list(reader) != []


REJECTED = [
    ("email,a\nanna.example,1\n", [(2, "anna.example", "no @")]),
    ("email,a\n,1\n", [(2, "", "the address is empty")]),
    ("email,a\na@x.example\n", [(2, "a@x.example", "1 cell where the header has 2")]),
    ("email,a\na@x.example,1,2\n", [(2, "a@x.example", "3 cells where the header has 2")]),
    ("a,email\n1\n", [(2, "", "1 cell where the header has 2")]),
    ("email,a\na@x.example,\0\n", [(2, "a@x.example", "a NUL byte")]),
    (b"email,a\na@x.example,\xfc\n", [(2, "a@x.example", "byte 0xFC is not UTF-8")]),
    (b'email,a\na@x.example,"1\n\xfc"\n', [(2, "a@x.example", "byte 0xFC is not UTF-8")]),
    (
        'email,a\na@x.example,"1"2\n',
        [(2, "", 'text after a closing quotation mark; inside a cell in quotes write "" for one')],
    ),
    ("email,a\na@x.example,1\r2\n", [(2, "", "a bare carriage return in the row")]),
    ("email,a\na@x.example," + "1" * 200_000 + "\n", [(2, "", "a cell is longer than 128 KiB")]),
    ("email,a\na@x.example," + "1" * 3_000_000 + "\n", [(2, "", "the row is longer than 1 MiB")]),
    ('email,a\na@x.example,"1\n', [(2, "", "a quotation mark is not closed")]),
    ('email,a\na@x.example,"1', [(2, "", "a quotation mark is not closed")]),
    ("email,a\n" + "a" * 1000 + ",1\n", [(2, "a" * 320, "too long: 1000 characters, where 254 octets are allowed")]),
]


@pytest.mark.parametrize(("data", "expected"), REJECTED, ids=[str(data)[:40] for data, _ in REJECTED])
def test_a_row_that_cannot_be_read_is_refused_and_the_next_is_not(data: str | bytes, expected: list, rows) -> None:
    raw = data if isinstance(data, bytes) else data.encode()
    assert brief(rows(raw)) == expected
    more = raw.removesuffix(b"\n") + b"\nz@x.example,9\n"
    if b"a,email" in raw:
        more = more.replace(b"z@x.example,9", b"9,z@x.example")
    last = raw.removesuffix(b"\n").count(b"\n") + 2
    assert brief(rows(more)) == [*expected, (last, "z@x.example", {"a": "9"})]


def test_a_forgotten_quotation_mark_costs_its_own_row_only(rows) -> None:
    good = [f"p{i}@x.example,P\n" for i in range(5000)]
    data = "email,name\n" + "".join(good[:10]) + 'a@x.example,"Anna\n' + "".join(good[10:])
    result = rows(data)
    assert [(row.line, row.reason) for row in result if isinstance(row, RejectedRow)] == [
        (12, "a quotation mark is not closed")
    ]
    assert [row.address for row in result if isinstance(row, Recipient)] == [line.split(",")[0] for line in good]
    assert [row.line for row in result] == list(range(2, 5003))


def test_two_forgotten_quotation_marks_that_close_each_other_are_found_by_the_width(rows) -> None:
    data = 'email,name,city\na@x.example,"Anna,Bonn\nb@x.example,Bert,Köln\nc@x.example,"Cara",Bonn\n'
    assert brief(rows(data)) == [
        (2, "", "a quotation mark is not closed"),
        (3, "b@x.example", {"name": "Bert", "city": "Köln"}),
        (4, "c@x.example", {"name": "Cara", "city": "Bonn"}),
    ]
    data = 'email,name,city\na@x.example,"Anna,Bonn\nb@x.example,Bert",Köln,x\nc@x.example,Cara,Bonn\n'
    assert brief(rows(data)) == [
        (2, "a@x.example", "4 cells where the header has 3"),
        (3, "b@x.example", "4 cells where the header has 3"),
        (4, "c@x.example", {"name": "Cara", "city": "Bonn"}),
    ]


def test_bad_bytes_in_a_line_given_back_are_remembered(rows) -> None:
    data = b'email,name\na@x.example,"Anna\nb@x.example,\xfc\nc@x.example,Cara\n'
    assert brief(rows(data)) == [
        (2, "", "a quotation mark is not closed"),
        (3, "b@x.example", "byte 0xFC is not UTF-8"),
        (4, "c@x.example", {"name": "Cara"}),
    ]


def test_many_broken_rows_do_not_add_up(rows) -> None:
    result = rows("email,name\n" + 'a@x.example,"A\n' * 2001)
    assert {row.reason for row in result} == {"a quotation mark is not closed"}
    assert [row.line for row in result] == list(range(2, 2003))


def test_a_lone_surrogate_in_utf16_costs_its_row_only(rows) -> None:
    data = "email,a\na@x.example,\ud800\nb@x.example,1\n".encode("utf-16", "surrogatepass")
    assert brief(rows(data)) == [
        (2, "a@x.example", "byte 0xED is not UTF-8"),
        (3, "b@x.example", {"a": "1"}),
    ]


NO_LIST = [
    (b"", "l.csv: the file is empty"),
    (b"\n\n", "l.csv:1: the file has no header line"),
    (b" , ,\n", "l.csv:1: the file has no header line"),
    (
        b"name,city\nA,B\n",
        "l.csv:1: no column is called email or the like; the columns are name, city; "
        "name that of the address with the key address",
    ),
    (
        b"\nname,Email,Mail\n",
        "l.csv:2: more than one column may hold the address: Email, Mail; name it with the key address",
    ),
    (b"email,First Name,first_name\n", 'l.csv:1: two columns are called "first_name"; rename one'),
    (b"email,f\xfcr\n", "l.csv:1: the header: byte 0xFC is not UTF-8"),
    (b'email,"f\n', "l.csv:1: the header: a quotation mark is not closed"),
    (b"email,a\ra@x.example,b\r", "l.csv: the lines end in bare carriage returns; save it with line feeds"),
    (b"\x1f\x8b\x08", "l.csv: is gzip, which its name does not say; rename it to l.csv.gz"),
    (
        "email,a\ra@x.example,b\r".encode("utf-16"),
        "l.csv: the lines end in bare carriage returns; save it with line feeds",
    ),
    ("email\n".encode("utf-16") + b"a", "l.csv:2: is not valid UTF-16: truncated data"),
]


@pytest.mark.parametrize(("data", "message"), NO_LIST, ids=[str(data)[:40] for data, _ in NO_LIST])
def test_a_file_that_is_no_list_is_named(data: bytes, message: str, rows) -> None:
    with pytest.raises(CampaignError) as caught:
        rows(data)
    assert str(caught.value) == message


@pytest.mark.parametrize("wanted", ["Kontakt E-Mail", "kontakt_e_mail"])
def test_the_address_column_may_be_named_as_it_is_or_as_templates_name_it(wanted: str, rows) -> None:
    data = "email,Kontakt E-Mail\na@x.example,b@x.example\n"
    assert rows(data, address=wanted)[0].address == "b@x.example"


def test_a_named_column_that_is_not_there_is_named_with_the_nearest(rows) -> None:
    with pytest.raises(CampaignError) as caught:
        rows("Email,name\n", address="emial")
    assert str(caught.value) == 'l.csv:1: no column "emial"; the columns are Email, name; did you mean "Email"?'


@pytest.mark.parametrize(
    "name", ["email", "E-Mail", "MAIL", "Address", "email_address", "E-mail address", "emailAddress", "Recipient"]
)
def test_the_address_column_is_found_by_its_name(name: str, rows) -> None:
    assert rows(f"x,{name}\n1,a@x.example\n")[0].address == "a@x.example"


cells = st.text(st.sampled_from('ab@.,;"\n\r\0 é'), max_size=6)


@given(st.lists(st.lists(cells, min_size=2, max_size=2), max_size=8))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_the_csv_module_writes_is_read_back_whole(rows, table: list[list[str]]) -> None:
    """Every row written is there once, as a recipient or with a reason, unless all its cells are blank."""
    table = [[f"p{index}@x.example", *row] for index, row in enumerate(table)]
    out = io.StringIO()
    csv.writer(out).writerows([["email", "a", "b"], *table])
    result = rows(out.getvalue().encode())
    assert [row.address for row in result] == [row[0] for row in table]
    for row, (_, a, b) in zip(result, table, strict=True):
        assert isinstance(row, RejectedRow) == ("\0" in a + b)
        if isinstance(row, Recipient):
            wanted = {"a": a.lstrip(" ") if '"' not in a else a, "b": b}
            assert {k: v.strip() for k, v in row.fields.items() if k != "email" and v.strip()} == {
                k: v.strip() for k, v in wanted.items() if v.strip()
            }


@given(st.binary(max_size=200))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_below_a_header_lose_no_good_row_after_them(rows, data: bytes) -> None:
    good = b"\nz@x.example,9\n"
    result = rows(b"email,a\n" + data + good)
    assert [row.line for row in result] == sorted(row.line for row in result)
    if data.count(b'"') == 0:
        assert result[-1].address == "z@x.example"
