"""Replies as well-known receivers and servers give them, and the reason each is to be given.

A line: stage, code, enhanced code or `-`, text, `=`, the reasons that would be right, and `S` where the address is to
be suppressed. Everything without `S` must not suppress.
"""

import json
import os
import re
from pathlib import Path

import pytest

from bulkmail.model.delivery import Reason, Reply, Stage
from bulkmail.policy.disposition import judge

SEEN = """
rcpt 550 5.1.1 The email account that you tried to reach does not exist. Please try double-checking t = USER_UNKNOWN S
rcpt 550 5.2.1 The email account that you tried to reach is inactive. Learn more at https://suppo = MAILBOX_INACTIVE S
rcpt 552 5.2.2 The recipient's inbox is out of storage space. Please direct the recipient to https://su = MAILBOX_FULL
rcpt 450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional = RATE_LIMITED
message 550 5.7.26 This mail has been blocked because the sender is unauthenticated. Gmail requires a = AUTHENTICATION
message 550 5.7.1 This message is likely suspicious due to the very low reputation of the sending IP address. = BLOCKED
message 550 5.7.1 Our system has detected that this message is likely unsolicited mail. To reduce the amount = CONTENT
message 421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP addr = RATE_LIMITED
greeting 421 4.7.0 Try again later, closing connection. = GREYLISTED
mail 421 4.7.0 IP not in whitelist for RCPT domain, closing connection. = POLICY
message 552 5.3.4 Your message exceeded Google's message size limits. = TOO_LARGE
message 552 5.7.0 This message was blocked because its content presents a potential security issue. = CONTENT
rcpt 550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302). = USER_UNKNOWN S
mail 550 5.7.1 Unfortunately, part of your network is on our block list (S3140). = BLOCKED
mail 451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputa = RATE_LIMITED BLOCKED
mail 421 4.7.652 The mail server [192.0.2.1] has exceeded the maximum number of connections. = TOO_MANY_CONNECTIONS
rcpt 550 5.4.1 Recipient address rejected: Access denied. AS(201806281) [DB5EUR01FT012] = USER_UNKNOWN
rcpt 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup = USER_UNKNOWN S
rcpt 550 5.7.1 RESOLVER.RST.AuthRequired; authentication required = POLICY
rcpt 550 5.7.606 Access denied, banned sending IP [192.0.2.1]. = BLOCKED
rcpt 550 5.7.511 Access denied, banned sender [192.0.2.1] = BLOCKED
rcpt 451 4.7.500 Server busy. Please try again later from [192.0.2.1]. = SYSTEM RATE_LIMITED
message 550 5.7.509 Access denied, sending domain x.example does not pass DMARC verification and has = AUTHENTICATION
message 554 5.2.0 STOREDRV.Deliver.Exception:QuotaExceededException; Failed to process message = MAILBOX_FULL
rcpt 554 5.2.2 mailbox full = MAILBOX_FULL
rcpt 554 - delivery error: dd This user doesn't have a yahoo.com account (x@y.example) [-9] = USER_UNKNOWN S
rcpt 554 - delivery error: dd Your message cannot be delivered. This mailbox is disabled (554.30). = MAILBOX_INACTIVE S
rcpt 552 - 1 Requested mail action aborted, mailbox not found = USER_UNKNOWN S
message 554 5.7.9 Message not accepted for policy reasons. = POLICY
message 554 - Message not allowed - [PH01] Email not accepted for policy reasons. = POLICY
mail 553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ip is in Spamhaus's list = BLOCKED
rcpt 550 5.1.1 <x@y>: Recipient address rejected: User unknown in virtual mailbox table = USER_UNKNOWN S
rcpt 450 4.7.1 Client host rejected: cannot find your hostname, [192.0.2.1] = AUTHENTICATION
rcpt 554 5.7.1 <x@y>: Relay access denied = RELAYING_DENIED
rcpt 450 4.2.0 <x@y>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/y.ht = GREYLISTED
rcpt 554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; https://www.spam = BLOCKED
rcpt 450 4.1.8 <a@b>: Sender address rejected: Domain not found = POLICY
rcpt 504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname = POLICY
rcpt 421 4.3.2 Service not available, closing transmission channel = SYSTEM
rcpt 452 4.3.1 Insufficient system storage = SYSTEM
rcpt 550 - Unrouteable address = USER_UNKNOWN S
rcpt 550 - relay not permitted = RELAYING_DENIED
rcpt 550 - No Such User Here = USER_UNKNOWN S
rcpt 550 - Sender verify failed = POLICY
rcpt 550 - "JunkMail rejected - host [192.0.2.1]:1234 is in an RBL, see Blocked by" = BLOCKED
message 550 - This message was classified as SPAM and may not be delivered = CONTENT
message 550 - High probability of spam = CONTENT
rcpt 553 - sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1) = RELAYING_DENIED
rcpt 550 - sorry, no mailbox here by that name. (#5.1.1) = USER_UNKNOWN S
rcpt 451 - Temporary local problem - please try later = SYSTEM GREYLISTED
rcpt 451 - Could not complete sender verify callout = POLICY
rcpt 550 5.7.1 Mail from IP 192.0.2.1 was rejected due to listing in Spamhaus PBL = BLOCKED
greeting 554 - mx.example ESMTP not accepting messages = OTHER SYSTEM POLICY BLOCKED
greeting 554 - Your access to this mail system has been rejected due to the sending MTA's poor reputation. = BLOCKED
greeting 421 - Too many concurrent SMTP connections; please try again later. = TOO_MANY_CONNECTIONS
rcpt 452 4.1.1 requested action aborted: try again later = GREYLISTED USER_UNKNOWN
rcpt 550 5.1.1 User does not exist = USER_UNKNOWN S
rcpt 550 5.1.1 <x@c.example> Address rejected = USER_UNKNOWN S
rcpt 550 5.0.0 Mailbox quota exceeded = MAILBOX_FULL
rcpt 550 - Account x@y is over quota = MAILBOX_FULL
rcpt 554 - The message has been rejected because the mailbox for x is over size limit = MAILBOX_FULL
message 550 5.6.0 Message contains bare LF and is violating 822.bis section 2.3 = CONTENT
message 550 5.7.1 Messages missing a valid Message-ID header are not accepted. = CONTENT
message 554 5.6.1 Message contains a virus = CONTENT
rcpt 550 5.7.1 Blocked by policy: No Prohibited Content Please = POLICY CONTENT
rcpt 554 5.7.1 [HM08] Message rejected due to local policy. = POLICY
message 550 - Requested action not taken: mailbox unavailable. Reject due to policy restrictions. = POLICY
greeting 554 - gmx.net (mxgmx015) Nemesis ESMTP Service not available. No SMTP service. Bad DNS PTR r = AUTHENTICATION
greeting 554 - No SMTP service. IP address is block listed. = BLOCKED
mail 421 - mwinf5c04 ME Trop de connexions, veuillez verifier votre configuration. Too many con = TOO_MANY_CONNECTIONS
rcpt 550 5.1.1 Adresse d au moins un destinataire invalide. Invalid recipient. OFR_416 [416] = USER_UNKNOWN S
rcpt 552 5.1.1 Boite du destinataire pleine. Recipient overquota. OFR_417 [417] = MAILBOX_FULL
rcpt 550 - Mailbox not found. http://service.mail.qq.com = USER_UNKNOWN S
message 550 - Mail content denied. http://service.mail.qq.com/cgi-bin/help = CONTENT
mail 550 - Connection frequency limited. http://service.mail.qq.com = RATE_LIMITED
mail 550 - Ip frequency limited = RATE_LIMITED
rcpt 550 - User not found: x@n.example = USER_UNKNOWN S
rcpt 550 - RP:ORQ 163 = RATE_LIMITED
message 554 - DT:SPM 163 smtp12 = CONTENT
mail 554 - IP<192.0.2.1> in blacklist = BLOCKED
rcpt 550 5.1.1 x@m.example: Message was not accepted -- invalid mailbox. Local mailbox x@m.example is = USER_UNKNOWN S
message 550 - spam message rejected. Please visit https://help.mail.ru = CONTENT
rcpt 550 5.7.1 No such user! = USER_UNKNOWN S
rcpt 451 4.7.1 Sorry, the service is currently unavailable. Please come back later. = SYSTEM GREYLISTED
rcpt 550 5.2.1 Mailbox unavailable = MAILBOX_INACTIVE USER_UNKNOWN S
rcpt 550 - Mailbox unavailable or access denied - <x@y> = USER_UNKNOWN POLICY
rcpt 550 5.4.300 Message expired = EXPIRED
rcpt 454 4.7.1 <x@y>: Relay access denied = RELAYING_DENIED
auth 535 5.7.8 Error: authentication failed: authentication failure = AUTHENTICATION
starttls 454 4.7.0 TLS not available due to local problem = TLS
mail 530 5.7.0 Must issue a STARTTLS command first = TLS
mail 530 5.7.1 Authentication required = AUTHENTICATION
rcpt 503 5.5.1 Error: need MAIL command = PROTOCOL
data 554 5.5.1 Error: no valid recipients = USER_UNKNOWN PROTOCOL
rcpt 550 5.1.1 Recipient not found. <https://community.mimecast.com/docs/DOC-1369#550> = USER_UNKNOWN S
rcpt 550 - Administrative prohibition - envelope blocked - https://community.mimecast.com/docs/DOC-1369#550 = POLICY
rcpt 550 - Rejected by header based manually Blocked Senders - block policy = POLICY BLOCKED
rcpt 451 - Internal resource temporarily unavailable - https://community.mimecast.com/docs/DOC-1369#451 = GREYLISTED
rcpt 550 5.1.0 Address rejected. = USER_UNKNOWN
rcpt 550 5.7.0 Local Policy Violation = POLICY
message 554 5.7.1 The message was rejected because it contains prohibited virus or spam content = CONTENT
rcpt 550 - permanent failure for one or more recipients (x@y:blocked) = OTHER
rcpt 550 - 5.7.1 Sender IP reverse lookup rejected = AUTHENTICATION
rcpt 450 - too many errors from your ip (192.0.2.1), please visit = RATE_LIMITED
rcpt 550 5.7.1 Your email has been rejected because you are not allowed to post to x@y. Please contact the ow = POLICY
rcpt 550 - The mail address you sent to is a trap = OTHER POLICY BLOCKED
rcpt 421 4.4.5 Server busy, try again later. = SYSTEM
message 451 4.3.5 Server configuration problem = SYSTEM
rcpt 550 - invalid rcptto address = USER_UNKNOWN BAD_ADDRESS S
rcpt 550 - Unknown address error = USER_UNKNOWN S
rcpt 550 5.1.1 sid=... Account not available = USER_UNKNOWN MAILBOX_INACTIVE S
rcpt 550 - x@t.example: user quota exceeded = MAILBOX_FULL
greeting 554 - IP=192.0.2.1 - A problem occurred. (Ask your postmaster for help or to contact t = BLOCKED OTHER POLICY
mail 571 - Delivery not authorized, message refused = POLICY
""".strip().splitlines()

ADDRESS_IS_NO_GOOD = {Reason.USER_UNKNOWN, Reason.MAILBOX_INACTIVE, Reason.MOVED, Reason.BAD_ADDRESS}

# What the labels of the public corpus would be here. Labels that hold no reply but a word of the corpus's own, and one
# that no server sends (`vacation`), are left out by the reader.
CORPUS_LABELS = {
    "authfailure": "authentication",
    "badreputation": "blocked rate_limited",
    "blocked": "blocked",
    "exceedlimit": "too_large",
    "failedstarttls": "tls",
    "hasmoved": "moved",
    "mailboxfull": "mailbox_full",
    "mailererror": "system",
    "networkerror": "network loop",
    "norelaying": "relaying_denied",
    "notaccept": "null_mx domain_unknown",
    "onhold": "other",
    "rejected": "policy authentication",
    "requireptr": "authentication blocked",
    "spamdetected": "content",
    "speeding": "rate_limited",
    "systemerror": "system",
    "systemfull": "system",
    "userunknown": "user_unknown",
    "user_unknown": "user_unknown",
    "mailbox_full": "mailbox_full",
    "greylisting": "greylisted",
    "rate_limited": "rate_limited",
    "auth_failure": "authentication",
    "policy_blocked": "policy",
    "server_error": "system",
    "spam_blocked": "content",
    "invalid_address": "bad_address",
    "relay_denied": "relaying_denied",
    "mailbox_disabled": "mailbox_inactive",
    "QuotaIssues": "mailbox_full",
    "InactiveMailbox": "mailbox_inactive",
}


@pytest.mark.parametrize("line", SEEN)
def test_a_reply_seen_in_the_wild_is_understood(line: str) -> None:
    said, _, wanted = line.rpartition(" = ")
    stage, code, enhanced, text = said.split(" ", 3)
    verdict = judge(
        Stage[stage.upper()], Reply(code=int(code), enhanced=None if enhanced == "-" else enhanced, text=text)
    )
    reasons = wanted.split()
    assert verdict.reason.name in reasons, verdict.rule
    assert verdict.suppress is ("S" in reasons), verdict.rule


def test_the_public_corpus_is_understood() -> None:
    folder = os.environ.get("BULKMAIL_CORPORA")
    if not folder:
        pytest.skip("BULKMAIL_CORPORA does not name the folder of the public reply corpora")
    entries = json.loads(Path(folder, "smtp-replies", "labelled-quarter.json").read_text(encoding="utf-8"))
    replies = [entry for entry in entries if " " in entry["text"] and entry["label"] != "vacation"]
    wrong = []
    for entry in replies:
        verdict = judge(Stage.RCPT, reply_of(entry["text"]))
        wanted = {Reason[name.upper()] for label in entry["label"].split("|") for name in CORPUS_LABELS[label].split()}
        if verdict.reason not in wanted:
            wrong.append(f"{entry['text']}: {verdict.reason.label} by {verdict.rule}, not {entry['label']}")
        assert not verdict.suppress or wanted & ADDRESS_IS_NO_GOOD, entry["text"]
    print(f"{len(replies) - len(wrong)} of {len(replies)} replies understood")
    assert len(wrong) <= 0.1 * len(replies), "\n".join(wrong)


def reply_of(text: str) -> Reply:
    match = re.match(r"(?:([45]\d\d)[ -])?\s*(?:([45](?:\.\d+){2}) )?(.*)", text, re.DOTALL)
    assert match is not None
    return Reply(code=int(match[1] or 550), enhanced=match[2], text=match[3])
