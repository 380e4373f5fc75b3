"""What goes wrong with a mailbox is told with its place, whichever library it comes from."""

import poplib
import ssl

import pytest
from imapclient.exceptions import IMAPClientError

from bulkmail.mailbox.place import MailboxError, parse_place, told_of

PLACE = parse_place("imaps://news@mail.example/Bounces")


def distrust() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("raised", "said", "final"),
    [
        (distrust(), "its certificate is not good: self-signed certificate", True),
        (poplib.error_proto(b"-ERR [SYS/TEMP] t\xc3\xb6 busy"), "-ERR [SYS/TEMP] t\u00f6 busy", False),
        (poplib.error_proto(b"\xff"), "\ufffd", False),
        (ConnectionResetError("gone"), "gone", False),
        (OSError(), "", False),
    ],
)
def test_a_failure_names_the_mailbox_and_says_whether_to_try_again(raised: Exception, said: str, final: bool) -> None:
    with pytest.raises(MailboxError) as caught, told_of(PLACE, poplib.error_proto):
        raise raised
    assert (str(caught.value), caught.value.final) == (f"imaps://news@mail.example/Bounces: {said}", final)


def test_an_error_of_our_own_is_left_as_it_is() -> None:
    with pytest.raises(MailboxError, match=r"^no such folder$"), told_of(PLACE, IMAPClientError):
        raise MailboxError("no such folder", final=True)
