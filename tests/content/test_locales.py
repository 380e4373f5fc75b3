"""Dates, numbers and money as each locale writes them, from what lists and databases have in their cells."""

from typing import Any

import pytest

from bulkmail.content.errors import ContentError
from bulkmail.content.template import Mode, Source, TemplateFolder


def printed(text: str, *, locale: str = "en", compiled: bool = True, **values: Any) -> str:
    folder = TemplateFolder(locale=locale, compiled=False)
    template = folder.parse(Source(text=text, mode=Mode.TEXT, file="body.txt"))
    return template.render(values, max_size=1000)


@pytest.mark.parametrize(
    ("text", "locale", "value", "expected"),
    [
        ("{{ a | date }}", "en_GB", "2027-05-08", "8 May 2027"),
        ("{{ a | date('long') }}", "de", "2027-05-08T22:30:00Z", "8. Mai 2027"),
        ("{{ a | date('long', tz='Europe/Vienna') }}", "de", "2027-05-08T22:30:00Z", "9. Mai 2027"),
        ("{{ a | date('EEEE, d MMMM', locale='fr') }}", "de", "2027-05-08", "samedi, 8 mai"),
        ("{{ a | time(tz='Europe/Vienna') }}", "de", "2027-05-08T22:30:00Z", "00:30"),
        ("{{ a | datetime('short') }}", "de", "2027-05-08T10:00:00", "08.05.27, 10:00"),
        ("{{ a | date }}", "de", 0, "01.01.1970"),
        ("{{ a | number }}", "de", "1234567.891", "1.234.567,891"),
        ("{{ a | number('#,##0.00') }}", "en", 5, "5.00"),
        ("{{ a | currency('EUR') }}", "de", "1234.5", "1.234,50\xa0€"),
        ("{{ a | currency('usd') }}", "en", 1234.5, "$1,234.50"),
        ("{{ a | currency('JPY', locale='ja-JP') }}", "en", 99, "¥99"),
        ("{{ a | percent }}", "de", 0.25, "25\xa0%"),
    ],
)
def test_values_are_printed_as_the_locale_writes_them(text: str, locale: str, value: Any, expected: str) -> None:
    assert printed(text, locale=locale, a=value).replace("\uffe5", "¥") == expected


@pytest.mark.parametrize(
    ("text", "value", "complaint"),
    [
        ("{{ a | date }}", "soon", "'soon' is no date"),
        ("{{ a | date }}", "2027-02-30", "is no date"),
        ("{{ a | number }}", "ten", "'ten' is no number"),
        ("{{ a | number }}", "NaN", "no number that can be printed"),
        ("{{ a | number }}", True, "is no number"),
        ("{{ a | currency('XYZ9') }}", 1, "is no currency"),
        ("{{ a | number(locale='tlh') }}", 1, "'tlh' is no locale"),
        ("{{ a | date(tz='Mars/Base') }}", 1, "is no time zone"),
        ("{{ b | date }}", 1, "field b is missing"),
        ("{{ b | currency('EUR') }}", 1, "field b is missing"),
    ],
)
def test_what_cannot_be_printed_is_a_problem_in_plain_words(text: str, value: Any, complaint: str) -> None:
    with pytest.raises(ContentError, match=complaint):
        printed(text, a=value)
