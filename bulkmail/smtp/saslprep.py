"""Prepare user names and passwords for comparison: SASLprep (RFC 4013), a profile of stringprep (RFC 3454)."""

import stringprep
import unicodedata

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """`text` as a server compares it; ValueError, without the text, where it has a character that is prohibited.

    Characters that Unicode 3.2 did not know are let through, as in a query (RFC 3454 §7).
    """
    if text.isascii():
        prepared = text
    else:
        mapped = "".join(
            " " if stringprep.in_table_c12(character) else character
            for character in text
            if not stringprep.in_table_b1(character)
        )
        prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if any(prohibited(character) for character in prepared for prohibited in _PROHIBITED):
        raise ValueError("a character that SASLprep prohibits (RFC 4013 §2.3)")
    # RFC 3454 §6: text that runs from right to left must do so from its first to its last character.
    if any(stringprep.in_table_d1(character) for character in prepared) and (
        any(stringprep.in_table_d2(character) for character in prepared)
        or not stringprep.in_table_d1(prepared[0])
        or not stringprep.in_table_d1(prepared[-1])
    ):
        raise ValueError("text in both directions, which SASLprep prohibits (RFC 4013 §2.4)")
    return prepared
