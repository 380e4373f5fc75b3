"""Mailboxes elsewhere that bounces are fetched from: IMAP4 and POP3, over TLS."""

from bulkmail.mailbox.imap import ImapMailbox
from bulkmail.mailbox.place import Fetched, Mailbox, MailboxError, MailboxPlace, parse_place
from bulkmail.mailbox.pop import PopMailbox

__all__ = [
    "Fetched",
    "ImapMailbox",
    "Mailbox",
    "MailboxError",
    "MailboxPlace",
    "PopMailbox",
    "open_mailbox",
    "parse_place",
]


def open_mailbox(
    place: MailboxPlace, password: str, *, ca_file: str | None = None, move_to: str | None = None
) -> Mailbox:
    """Connect and log in. Raises MailboxError."""
    if place.protocol == "imaps":
        return ImapMailbox(place, password, ca_file=ca_file, move_to=move_to)
    return PopMailbox(place, password, ca_file=ca_file)
