"""Names of columns and keys: as templates use them, and which of them holds the address."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

ADDRESS_NAMES = frozenset(
    (
        "address",
        "e_mail",
        "e_mail_address",
        "email",
        "email_address",
        "emailaddress",
        "mail",
        "mail_address",
        "mailaddress",
        "recipient",
    )
)


class ColumnError(ValueError):
    """No column, or more than one, can be the address; the text says which there are."""


def template_name(name: str) -> str:
    """The name as it is where it is an identifier, else `First Name` as `first_name`; "" where nothing is left."""
    name = name.strip()
    if name.isidentifier():
        return name
    plain = re.sub(r"\W+", "_", name.lower()).strip("_")
    return f"_{plain}" if plain[:1].isdigit() else plain


def address_column(names: Sequence[str], wanted: str | None) -> int:
    """The index of the address among the names of a header. Raises ColumnError."""
    stripped = [name.strip() for name in names]
    if wanted is not None:
        for candidates in (stripped, [template_name(name) for name in names]):
            if wanted in candidates:
                return candidates.index(wanted)
        raise ColumnError(f'no column "{wanted}"; {_columns_are(stripped)}{_nearest(wanted, stripped)}')
    found = [index for index, name in enumerate(stripped) if template_name(name).lower() in ADDRESS_NAMES]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(stripped[index] for index in found)
        raise ColumnError(f"more than one column may hold the address: {listed}; name it with the key address")
    columns = _columns_are(stripped)
    raise ColumnError(
        f"no column is called email or the like; {columns}; name that of the address with the key address"
    )


def _columns_are(names: Sequence[str]) -> str:
    shown = ", ".join(name[:40] or '""' for name in names[:20])
    return f"the columns are {shown}" + (", ..." if len(names) > 20 else "")


def _nearest(wanted: str, names: Sequence[str]) -> str:
    near = get_close_matches(wanted.lower(), [name.lower() for name in names], n=1)
    return f'; did you mean "{next(name for name in names if name.lower() == near[0])}"?' if near else ""
