"""Messages as mail systems and people send them, each in the manner of one that is in use."""

TOKEN = "abcdefghijklmnopqrstuvwxyz234567"


def plain(
    body: str, *, sender: str = "Mail Delivery System <MAILER-DAEMON@mx.garden.example>", **headers: str
) -> bytes:
    fields = {"From": sender, "To": f"bounces+{TOKEN}@garden.example", "Subject": "failure notice", **headers}
    return (
        "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in fields.items()).encode()
        + b"\n"
        + body.encode()
    )


def report(
    status: str, *, notice: str = "Something went wrong.", kind: str = "delivery-status", original: str = ""
) -> bytes:
    original = original or (
        f"Return-Path: <bounces+{TOKEN}@garden.example>\nMessage-ID: <{TOKEN}@garden.example>\n"
        "To: anna@house.example\nSubject: Spring\n"
    )
    return (
        "Return-Path: <>\nFrom: MAILER-DAEMON@mx.house.example\n"
        f"To: bounces+{TOKEN}@garden.example\nSubject: Undelivered Mail Returned to Sender\nMIME-Version: 1.0\n"
        f'Content-Type: multipart/report; report-type={kind}; boundary="=_b"\n\n'
        f"--=_b\nContent-Type: text/plain\n\n{notice}\n\n"
        f"--=_b\nContent-Type: message/{kind}\n\n{status}\n"
        f"--=_b\nContent-Type: text/rfc822-headers\n\n{original}\n--=_b--\n"
    ).encode()


def status(address: str = "anna@house.example", action: str = "failed", code: str = "5.1.1", text: str = "") -> str:
    text = text or f"550 {code} <{address}>: Recipient address rejected: User unknown"
    return (
        "Reporting-MTA: dns; mx.house.example\n\n"
        f"Final-Recipient: rfc822; {address}\nAction: {action}\nStatus: {code}\n"
        f"Remote-MTA: dns; inner.house.example\nDiagnostic-Code: smtp; {text}\n"
    )


QMAIL = plain(
    "Hi. This is the qmail-send program at mx.garden.example.\n"
    "I'm afraid I wasn't able to deliver your message to the following addresses.\n"
    "This is a permanent error; I've given up. Sorry it didn't work out.\n\n"
    "<anna@house.example>:\n192.0.2.7 does not like recipient.\n"
    "Remote host said: 550 5.1.1 <anna@house.example>... User unknown\nGiving up on 192.0.2.7.\n\n"
    "<bert@house.example>:\n192.0.2.7 does not like recipient.\n"
    "Remote host said: 552 5.2.2 <bert@house.example>... Mailbox full\nGiving up on 192.0.2.7.\n\n"
    "--- Below this line is a copy of the message.\n\n"
    f"Return-Path: <bounces+{TOKEN}@garden.example>\nMessage-ID: <{TOKEN}@garden.example>\nTo: anna@house.example\n"
    "Subject: Spring\n\nHello carl@house.example, write to dora@house.example\n"
)
EXIM = plain(
    "This message was created automatically by mail delivery software.\n\n"
    "A message that you sent could not be delivered to one or more of its\n"
    "recipients. This is a permanent error. The following address(es) failed:\n\n"
    "  anna@house.example\n    host mx.house.example [192.0.2.7]\n"
    "    SMTP error from remote mail server after RCPT TO:<anna@house.example>:\n"
    "    550 5.7.1 Service unavailable; client [192.0.2.9] blocked using list.example\n\n"
    "------ This is a copy of the message, including all the headers. ------\n\nTo: anna@house.example\n\nHello\n",
    Subject="Mail delivery failed: returning message to sender",
    X_Failed_Recipients="anna@house.example",
    Auto_Submitted="auto-replied",
)
EXCHANGE = plain(
    "Your message\n\n  To:      someone else\n  Subject: Spring\n\ndid not reach the following recipient(s):\n\n"
    "anna@house.example on Fri, 20 Jul 2001 11:08:59 -0700\n    The recipient name is not recognized\n"
    "\tThe MTS-ID of the original message is: c=us;a= ;p=house\n",
    sender="System Administrator <postmaster@house.example>",
    Subject="Undeliverable: Spring",
)
NOTES = plain(
    "------- Failure Reasons  --------\n\nUser anna not listed in public Name & Address Book\nanna@house.example\n\n"
    "------- Returned Message --------\n\nReceived: from x by y\nTo: anna@house.example\n\nHello\n",
    sender="postmaster@house.example",
    Subject="Undeliverable message",
)
POSTFIX_OLD = plain(
    "This is the Postfix program at host mx.garden.example.\n\n"
    "I'm sorry to have to inform you that the message returned\n"
    "below could not be delivered to one or more destinations.\n\n"
    "For further assistance, please contact <postmaster@garden.example>\n\n\t\t\tThe Postfix program\n\n"
    "<anna@house.example>: host mx.house.example[192.0.2.7] said: 550 5.1.1\n    <anna@house.example>... User unknown\n"
)
SENDMAIL_OLD = plain(
    "   ----- Transcript of session follows -----\nWhile talking to mx.house.example:\n"
    ">>> RCPT To:<anna@house.example>\n<<< 550 <anna@house.example>, User Unknown\n"
    "550 <anna@house.example>... User unknown\n\n   ----- Unsent message follows -----\nReceived: by x\n"
    "To: b@house.example\n",
    Subject="Returned mail: User unknown",
)
CARRIER = plain(
    "Each of the following recipients was rejected by a remote\nmail server.\n\n"
    "    Recipient: <anna@phone.example>\n    >>> RCPT TO:<anna@phone.example>\n"
    "    <<< 550 <anna@phone.example>: User unknown\n",
    sender="Postmaster@phone.example",
    Subject="Mail System Error - Returned Mail",
)
WARNING = plain(
    "This message was created automatically by mail delivery software.\n"
    "A message that you sent has not yet been delivered to one or more of its\nrecipients after more than 24 hours.\n\n"
    "  anna@house.example\n    host mx.house.example: 550 5.1.1 user unknown\n\n"
    "No action is required on your part. Delivery attempts will continue for\nsome time.\n",
    Subject="Warning: message delayed 24 hours",
)
VACATION = plain(
    "I am out of the office until Monday. For anything urgent please write to bert@house.example.\n"
    "This mailbox does not exist after May: user unknown.\n",
    sender="Anna <anna@house.example>",
    Subject="Automatic reply: Spring",
    Auto_Submitted="auto-replied",
)
PERSON = plain(
    "Hello,\n\n"
    "last week my mail could not be delivered to you, it said 550 user unknown <bert@house.example>.\nIs it fixed?\n",
    sender="Anna <anna@house.example>",
    Subject="Re: Undelivered Mail Returned to Sender",
    In_Reply_To="<1@garden.example>",
)
NEWSLETTER = plain(
    "Why mail is returned: a mailbox is full, or the user is unknown. Write to us: care@house.example\n",
    sender="House News <news@house.example>",
    Subject="Your deliverability report: fewer bounces",
    List_Unsubscribe="<https://house.example/u>",
)
COMPLAINT = report(
    "Feedback-Type: abuse\nUser-Agent: SomeLoop/1.0\nVersion: 1\nOriginal-Rcpt-To: <anna@house.example>\n",
    kind="feedback-report",
)
JMRP = (
    b"From: staff@loop.example\nTo: abuse@garden.example\nSubject: complaint about message from 192.0.2.9\n"
    b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=q\n\n--q\nContent-Type: message/rfc822\n\n"
    b"X-HmXmrOriginalRecipient: anna@house.example\n"
    b"Message-ID: <" + TOKEN.encode() + b"@garden.example>\nTo: anna@house.example\n\nHello\n--q--\n"
)
RECEIPT = (
    b"From: Anna <anna@house.example>\nTo: news@garden.example\nSubject: Read: Spring\nMIME-Version: 1.0\n"
    b"Content-Type: multipart/report; report-type=disposition-notification; boundary=q\n\n--q\n\n"
    b"Your message was displayed.\n"
    b"--q\nContent-Type: message/disposition-notification\n\nFinal-Recipient: rfc822;anna@house.example\n"
    b"Disposition: manual-action/MDN-sent-manually; displayed\n\n--q--\n"
)
STANDARD = report(status())
ALL = {
    "standard": STANDARD, "qmail": QMAIL, "exim": EXIM, "exchange": EXCHANGE, "notes": NOTES, "postfix": POSTFIX_OLD,
    "sendmail": SENDMAIL_OLD, "carrier": CARRIER, "warning": WARNING, "vacation": VACATION, "person": PERSON,
    "newsletter": NEWSLETTER, "complaint": COMPLAINT, "jmrp": JMRP, "receipt": RECEIPT,
}  # fmt: skip
