"""Mail addresses: strict RFC 5321 mailboxes in, one canonical form out.

Only a bare `local@domain` is an address: no comments, groups, routes or folding, the constructs over which parsers
disagree about whose domain a message goes to. The header and the envelope are made from the one parsed value.
Everything runs in linear time, and input longer than any address is refused by its length alone.
"""

import re
import unicodedata

from msgspec import Struct

MAX_LOCAL_OCTETS = 64  # RFC 5321 §4.5.3.1.1
MAX_DOMAIN_OCTETS = 255  # RFC 5321 §4.5.3.1.2
MAX_ADDRESS_OCTETS = 254  # RFC 5321 §4.5.3.1.3: a path of 256 octets, of which two are "<" and ">"
MAX_LABEL_OCTETS = 63  # RFC 1035 §2.3.4

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_TOP_LABEL = r"[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_plain_address = re.compile(rf"({_ATOM}++(?:\.{_ATOM}++)*+)@((?:{_LABEL}\.)++{_TOP_LABEL})").fullmatch
_dot_atom = re.compile(rf"{_ATOM}++(?:\.{_ATOM}++)*+").fullmatch
_atom_character = re.compile(rf"{_ATOM}|\.").fullmatch
_host_name = re.compile(rf"{_LABEL}(?:\.{_LABEL})*+").fullmatch


class AddressError(ValueError):
    """Not an address; the text says in a few words what is wrong with it."""


class Address(Struct, frozen=True):
    """One mailbox: `local` as written, `domain` in lower case with A-labels (`xn--...`)."""

    local: str
    domain: str

    @property
    def ascii_only(self) -> bool:
        """False where the local part needs SMTPUTF8 (RFC 6531); the domain is ASCII always."""
        return self.local.isascii()

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


class Mailbox(Struct, frozen=True):
    """An address with a display name, unquoted and possibly empty."""

    name: str
    address: Address


def parse_address(text: str) -> Address:
    """The mailbox that `text` is, with nothing before or after it (RFC 5321 §4.1.2, RFC 6531 §3.3).

    The domain needs a dot and is no address literal. Raises AddressError.
    """
    if len(text) <= MAX_ADDRESS_OCTETS:
        match = _plain_address(text)
        if match is not None:
            local, domain = match.groups()
            if len(local) <= MAX_LOCAL_OCTETS:
                return Address(local, domain.lower())
    return _parse_with_care(text)


def comparison_key(address: Address) -> str:
    """The form in which two spellings of one mailbox are equal: for duplicates and suppression, never for sending.

    Case of the local part is ignored though RFC 5321 §2.4 leaves it to the receiver: nobody gives two people
    addresses that differ in case alone, and a suppression must not be undone by a capital letter.
    """
    local = address.local
    if local.isascii() and '"' not in local:
        return f"{local.lower()}@{address.domain}"
    if local.startswith('"'):
        local = _unquoted(local)
    local = unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).casefold())
    if not _is_dot_atom(local):
        local = _quoted(local)
    return f"{local}@{address.domain}"


def comparison_key_of_wire(wire: str) -> str:
    """`comparison_key` of an address as `wire_address` wrote it."""
    if wire.isascii() and '"' not in wire:
        return wire.lower()
    return comparison_key(parse_address(wire))


def wire_address(address: Address) -> str:
    """What stands between < and > in MAIL and RCPT."""
    return f"{address.local}@{address.domain}"


def parse_mailbox(text: str) -> Mailbox:
    """`addr` or `Display Name <addr>`, for the headers that a campaign sets. Raises AddressError.

    The name may be a quoted string; one that is not may hold anything but `"`, `\\`, `<`, `>`, `@` and controls.
    """
    if len(text) > 1000:
        raise AddressError(f"too long: {len(text)} characters")
    text = text.strip(" ")
    if not text.endswith(">"):
        return Mailbox("", parse_address(text))
    before, bracket, address = text[:-1].rpartition("<")
    if not bracket:
        raise AddressError('">" without "<"')
    name = before.strip(" ")
    _refuse_controls(name)
    if name.startswith('"'):
        end = _end_of_quoted(name)
        if end != len(name):
            raise AddressError("text between the quoted name and the <")
        name = _unquoted(name)
    else:
        for character in '<>@"\\':
            if character in name:
                raise AddressError(
                    f"{_shown(character)} in the name; one mailbox is wanted, with such a name in quotes"
                )
    return Mailbox(name, parse_address(address))


def parse_domain(text: str) -> str:
    """A domain in lower case with A-labels (RFC 5890 §2.3.2.1), at least two labels. Raises AddressError.

    Nothing but case and canonical composition is mapped: width variants, ideographic full stops and invisible
    characters are refused, so that the domain reached is never another than the one read.
    """
    if not text:
        raise AddressError("the domain is empty")
    if len(text) > MAX_DOMAIN_OCTETS:
        raise AddressError(f"the domain is longer than {MAX_DOMAIN_OCTETS} octets")
    if text.startswith("["):
        raise AddressError("the domain is an address literal; a domain name is needed")
    _refuse_bad_dots(text, "the domain")
    domain = text.lower() if text.isascii() else _to_a_labels(text)
    labels = domain.split(".")
    if len(domain) > MAX_DOMAIN_OCTETS:
        raise AddressError(f"the domain is longer than {MAX_DOMAIN_OCTETS} octets")
    for label in labels:
        if len(label) > MAX_LABEL_OCTETS:
            raise AddressError(f"a label of the domain is longer than {MAX_LABEL_OCTETS} octets")
        if label.startswith("-") or label.endswith("-"):
            raise AddressError("a label of the domain starts or ends with a hyphen")
    if not _host_name(domain):
        culprit = next(c for c in domain if not (c.isalnum() or c in "-."))
        raise AddressError(f"{_shown(culprit)} in the domain")
    if len(labels) == 1:
        raise AddressError("the domain has no dot")
    if labels[-1].isdigit():
        raise AddressError("the domain is a number; a domain name is needed")
    if not labels[-1][0].isalpha():
        raise AddressError("the last label of the domain starts with a digit")
    return domain


def _parse_with_care(text: str) -> Address:
    """The same grammar as the fast path and the rest of it: quoted local parts, UTF-8, and why it is not met."""
    if not text:
        raise AddressError("the address is empty")
    if len(text) > MAX_LOCAL_OCTETS + 1 + MAX_DOMAIN_OCTETS:
        raise AddressError(f"too long: {len(text)} characters, where {MAX_ADDRESS_OCTETS} octets are allowed")
    _refuse_controls(text)
    if text.startswith('"'):
        end = _end_of_quoted(text)
        local, separator, domain = text[:end], text[end : end + 1], text[end + 1 :]
        if separator != "@":
            raise AddressError("text after the quoted local part" if separator else "no @")
    else:
        local, separator, domain = text.partition("@")
        if not separator:
            raise AddressError("no @")
        _refuse_decoration(text, domain)
        _refuse_bad_local(local)
    if not domain:
        raise AddressError("nothing after the @")
    if "@" in domain:
        raise AddressError("more than one @")
    octets = len(local.encode())
    if octets > MAX_LOCAL_OCTETS:
        raise AddressError(f"the local part is {octets} octets long, where {MAX_LOCAL_OCTETS} are allowed")
    address = Address(local, parse_domain(domain))
    octets += 1 + len(address.domain)
    if octets > MAX_ADDRESS_OCTETS:
        raise AddressError(f"too long: {octets} octets, where {MAX_ADDRESS_OCTETS} are allowed")
    return address


def _refuse_decoration(text: str, domain: str) -> None:
    """What people paste around addresses gets a sentence of its own."""
    if text[0] == "<" or text[-1] == ">":
        raise AddressError("a name or angle brackets; the bare address is needed")
    if text[:7].lower() == "mailto:":
        raise AddressError('starts with "mailto:"; the bare address is needed')
    if "@" in domain:
        separated = any(c in text for c in ",; ")
        raise AddressError("more than one @; a row has one address" if separated else "more than one @")


def _refuse_bad_local(local: str) -> None:
    if not local:
        raise AddressError("nothing before the @")
    _refuse_bad_dots(local, "the local part")
    for character in local:
        if character.isascii() and not _atom_character(character):
            raise AddressError(f"{_shown(character)} in the local part")


def _refuse_bad_dots(text: str, part: str) -> None:
    if text.startswith("."):
        raise AddressError(f"{part} starts with a dot")
    if text.endswith("."):
        raise AddressError(f"{part} ends with a dot")
    if ".." in text:
        raise AddressError(f"two dots in a row in {part}")


def _refuse_controls(text: str) -> None:
    """Refuse what is not seen: controls, line and paragraph separators, formats, odd spaces, lone surrogates."""
    if text.isascii() and text.isprintable():
        return
    for character in text:
        category = unicodedata.category(character)
        if category == "Cc":
            raise AddressError(f"control character {_code_point(character)}")
        if category in ("Cf", "Zl", "Zp", "Cs", "Cn", "Co"):
            raise AddressError(f"invisible or invalid character {_code_point(character)}")
        if category == "Zs" and character != " ":
            raise AddressError(f"odd space {_code_point(character)}")


def _end_of_quoted(text: str) -> int:
    """The index after the closing quote of the Quoted-string at the start of `text` (RFC 5321 §4.1.2)."""
    index = 1
    while index < len(text):
        if text[index] == '"':
            return index + 1
        if text[index] == "\\":
            index += 1
            if not text[index : index + 1].isascii():
                raise AddressError("a backslash before a character beyond ASCII")
        index += 1
    raise AddressError("the quotation mark is not closed")


def _unquoted(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted[1:-1])


def _quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _is_dot_atom(local: str) -> bool:
    """Whether `local` may stand without quotes; every character beyond ASCII is an atom's (RFC 6531 §3.3)."""
    return _dot_atom(re.sub(r"[^\x00-\x7f]", "x", local)) is not None


def _to_a_labels(text: str) -> str:
    # Imported where needed: lists of plain ASCII addresses never pay for the tables.
    import idna

    for character in text:
        # Kelvin sign, dotted capital I: what becomes a plain letter is another name to the eye.
        if not character.isascii() and any(c.isascii() for c in unicodedata.normalize("NFC", character).lower()):
            raise AddressError(f"{_shown(character)} in the domain")
    labels = []
    for label in unicodedata.normalize("NFC", text).lower().split("."):
        if label.isascii():
            labels.append(label)
            continue
        if len(label) > MAX_LABEL_OCTETS:
            raise AddressError(f"a label of the domain is longer than {MAX_LABEL_OCTETS} octets")
        try:
            labels.append(idna.alabel(unicodedata.normalize("NFC", label)).decode("ascii"))
        except UnicodeError:
            culprit = next((character for character in label if not _permitted(character)), None)
            what = f'"{label}"' if culprit is None else _shown(culprit)
            why = "is no internationalised label (IDNA 2008)" if culprit is None else ""
            raise AddressError(f"{what} in the domain {why}".rstrip()) from None
    return ".".join(labels)


def _permitted(character: str) -> bool:
    """Whether IDNA 2008 has the character in labels at all, whatever it asks of its neighbours."""
    import idna

    try:
        idna.check_label(f"a{character}a")
    except idna.InvalidCodepoint:
        return False
    except UnicodeError:
        return True
    return True


def _shown(character: str) -> str:
    if character == " ":
        return "space"
    if character == '"':
        return "quotation mark"
    return f'"{character}"' if character.isascii() else f'"{character}" ({_code_point(character)})'


def _code_point(character: str) -> str:
    return f"U+{ord(character):04X}"
