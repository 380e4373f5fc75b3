"""Write the parameters by which a client asks for delivery status notifications (RFC 3461 §4, RFC 6533 §3)."""

from bulkmail.model.campaign import Dsn

# RFC 3461 §4.4, §4.2: what is longer is left out rather than cut.
MAX_ENVID_CHARACTERS = 100
MAX_ORCPT_CHARACTERS = 500


def mail_parameters(dsn: Dsn, envelope_id: str) -> bytes:
    """` RET=... ENVID=...`, for MAIL."""
    text = f" RET={dsn.ret.upper()}"
    if dsn.envid and (envid := xtext(envelope_id)) and len(envid) <= MAX_ENVID_CHARACTERS:
        text += f" ENVID={envid}"
    return text.encode()


def recipient_parameters(dsn: Dsn, address: str) -> bytes:
    """` NOTIFY=... ORCPT=...`, for RCPT; `address` as the campaign has it."""
    text = f" NOTIFY={','.join(dsn.notify).upper()}"
    if dsn.orcpt:
        original = f"rfc822;{xtext(address)}" if address.isascii() else f"utf-8;{utf8_xtext(address)}"
        if len(original) <= MAX_ORCPT_CHARACTERS:
            text += f" ORCPT={original}"
    return text.encode()


def xtext(text: str) -> str:
    """Printable ASCII, all else as +HH (RFC 3461 §4); of what is beyond ASCII, the bytes of its UTF-8."""
    return "".join(
        chr(byte) if 0x21 <= byte <= 0x7E and byte not in b"+=" else f"+{byte:02X}" for byte in text.encode()
    )


def utf8_xtext(text: str) -> str:
    """An address of type utf-8 in ASCII alone, `\\x{HEX}` for what is not (RFC 6533 §3: utf-8-addr-xtext)."""
    return "".join(
        character if "!" <= character <= "~" and character not in "+=\\" else f"\\x{{{ord(character):X}}}"
        for character in text
    )
