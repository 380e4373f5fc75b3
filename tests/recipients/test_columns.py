"""Names of columns."""

import pytest

from bulkmail.recipients.columns import ColumnError, address_column, template_name


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("first_name", "first_name"),
        ("FirstName", "FirstName"),
        (" plan ", "plan"),
        ("First Name", "first_name"),
        ("E-Mail", "e_mail"),
        ("Größe (cm)", "größe_cm"),
        ("2nd name", "_2nd_name"),
        ("%", ""),
        ("", ""),
    ],
)
def test_a_name_is_made_an_identifier(name: str, wanted: str) -> None:
    assert template_name(name) == wanted


def test_a_long_header_is_not_listed_without_end() -> None:
    with pytest.raises(ColumnError) as caught:
        address_column([f"c{i}" for i in range(500)] + ["x" * 1000], "zzz")
    assert str(caught.value).endswith("c18, c19, ...")
