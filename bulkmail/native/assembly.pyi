class Assembler:
    """One recipient's bytes from a fixed program of literals and slots; text is quoted-printable encoded on the way.

    Build it once by calling the methods in the order of the output, then call `assemble` from any thread. Between
    `begin` and `end` stands one encoded part, made of `text` and `slot`; outside stand `copy` and `copy_slot`.

    Encoding (RFC 2045 §6.7) is a function of the part's text alone: at most 75 columns and the "=" of a soft break,
    which never cuts a character's UTF-8 sequence; LF, CR and CRLF become CRLF; a blank at the end of a line, "." at
    the start and the F of "From " at the start of an output line are encoded, so that no transport touches them.
    """

    def __init__(self, most: int = ...) -> None:
        """`most` is how many bytes may be set aside for one message; repeats may multiply what literals need."""

    def copy(self, data: bytes) -> None:
        """Bytes as they are."""

    def copy_slot(self, index: int, *, default: bytes | None = None) -> None:
        """The value `index` as it is, or `default` in place of None; the caller answers for what it may contain."""

    def begin(self) -> None:
        """A quoted-printable part starts."""

    def text(self, data: bytes) -> None:
        """Literal UTF-8 text of the part, cut between characters."""

    def slot(self, index: int, *, escape: bool = False, default: bytes | None = None) -> None:
        """The value `index`, HTML-escaped as `markupsafe.escape` does; `default` is literal text in place of None."""

    def repeat(self, index: int) -> None:
        """What follows up to `end_repeat` is done once if the value `index` is True, not at all if it is False.

        Where it is a list, of values lists, it is done once for each of these, which then takes the place of the
        values. Repeats may stand within each other.
        """

    def end_repeat(self) -> None:
        """The innermost repeat ends."""

    def end(self) -> None:
        """The part ends: its last line is closed with a line break if the text has not done so."""

    @property
    def static_size(self) -> int:
        """The most bytes that all but the values and what is repeated can become."""

    @property
    def fixed_size(self) -> int:
        """How many bytes every message has at least."""

    @property
    def has_repeats(self) -> bool:
        """Whether anything is repeated."""

    def assemble(self, values: list[object]) -> bytes:
        """The bytes for these values; what is no `str` is written as `str(value)`.

        Fails with KeyError(index) where a value is None and its slot has no default, IndexError(index) where there are
        too few values, UnicodeEncodeError on a lone surrogate, OverflowError where repeats go beyond `most`.
        """
