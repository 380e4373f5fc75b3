import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.feedback.report import Action, FeedbackError, Kind, Report
from bulkmail.feedback.understand import understand
from bulkmail.model.delivery import Stage
from tests.feedback import messages
from tests.feedback.messages import TOKEN, plain, report, status


def addresses(found: Report) -> list[str]:
    return [recipient.address for recipient in found.recipients]


@pytest.mark.parametrize("name", ["exim", "exchange", "notes", "postfix", "sendmail", "standard"])
def test_each_manner_of_bounce_names_its_recipient_alone(name: str) -> None:
    found = understand(messages.ALL[name])
    assert found.kind is Kind.BOUNCE
    assert addresses(found) == ["anna@house.example"]


def test_a_carrier_that_shows_its_dialogue_is_understood() -> None:
    (one,) = understand(messages.CARRIER).recipients
    assert (one.address, one.code) == ("anna@phone.example", 550)
    assert "User unknown" in one.diagnostic


def test_of_several_recipients_each_has_its_own_answer() -> None:
    found = understand(messages.QMAIL)
    assert addresses(found) == ["anna@house.example", "bert@house.example"]
    assert [(one.code, one.enhanced) for one in found.recipients] == [(550, "5.1.1"), (552, "5.2.2")]
    assert "full" not in found.recipients[0].diagnostic


def test_a_report_tells_all_that_its_fields_say() -> None:
    found = understand(messages.STANDARD)
    (one,) = found.recipients
    assert found.reporting_host == "mx.house.example"
    assert found.message_id == f"{TOKEN}@garden.example"
    assert (one.action, one.status, one.code, one.remote_host) == (Action.FAILED, "5.1.1", 550, "inner.house.example")


def test_the_original_recipient_goes_before_the_final_one() -> None:
    fields = status("deep@inner.example").replace("Action:", "Original-Recipient: rfc822;anna@house.example\nAction:")
    (one,) = understand(report(fields)).recipients
    assert (one.address, one.final) == ("anna@house.example", "deep@inner.example")


def test_addresses_in_unicode_are_read_from_utf_8_and_from_its_ascii_form() -> None:
    for form in ("utf-8; jürgen@haus.example", r"utf-8; j\x{FC}rgen@haus.example"):
        fields = status().replace("rfc822; anna@house.example", form)
        assert addresses(understand(report(fields))) == ["jürgen@haus.example"]


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("delayed", Kind.DELAYED),
        ("delivered", Kind.DELIVERED),
        ("relayed", Kind.DELIVERED),
        ("expanded", Kind.DELIVERED),
    ],
)
def test_what_did_not_fail_is_no_bounce(action: str, kind: Kind) -> None:
    assert understand(report(status(action=action))).kind is kind


def test_a_warning_is_no_bounce_though_it_quotes_a_refusal() -> None:
    found = understand(messages.WARNING)
    assert found.kind is Kind.DELAYED
    assert {one.action for one in found.recipients} == {Action.DELAYED}


@pytest.mark.parametrize("name", ["person", "newsletter", "receipt"])
def test_what_people_write_about_bounces_is_no_bounce(name: str) -> None:
    assert understand(messages.ALL[name]).kind is Kind.NONE


def test_an_automatic_reply_is_one_even_where_it_speaks_of_unknown_users() -> None:
    assert understand(messages.VACATION).kind is Kind.AUTOREPLY


def test_what_only_the_notice_says_completes_the_report() -> None:
    notice = (
        "<anna@house.example>: host mx.house.example[192.0.2.7] said: 550 unknown user\n"
        "    (in reply to end of DATA command)"
    )
    (one,) = understand(report(status(text="550 unknown user"), notice=notice)).recipients
    assert one.stage is Stage.MESSAGE


def test_a_complaint_names_its_type_and_its_recipient() -> None:
    found = understand(messages.COMPLAINT)
    assert (found.kind, found.feedback_type, addresses(found)) == (Kind.COMPLAINT, "abuse", ["anna@house.example"])


def test_a_complaint_loop_without_a_report_is_known_by_its_field() -> None:
    found = understand(messages.JMRP)
    assert (found.kind, addresses(found), found.tokens) == (Kind.COMPLAINT, ["anna@house.example"], (TOKEN,))


def test_the_token_of_the_envelope_comes_first() -> None:
    other = "z" * 32
    found = understand(messages.STANDARD, envelope_recipient=f"BOUNCES+{other.upper()}@garden.example")
    assert found.tokens == (other, TOKEN)


def test_a_service_that_notifies_in_json_is_understood() -> None:
    text = (
        '{"notificationType":"Bounce","bounce":{"bounceType":"Permanent","bouncedRecipients":[{"emailAddress":'
        '"anna@house.example","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 unknown"}]},"mail":{}}\n'
    )
    found = understand(plain(text, sender="no-reply@service.example", Subject="Notification"))
    assert (found.kind, addresses(found), found.recipients[0].code) == (Kind.BOUNCE, ["anna@house.example"], 550)


BOMBS = {
    "depth": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(100_000)),
    "parts": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 100_000,
    "headers": b"X: y\n" * 1_000_000,
    "one header": b"X: " + b"y" * 300_000 + b"\n\nz",
    "size": b"x" * (10 << 20) + b"y",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_with_the_limit_it_breaks(name: str) -> None:
    with pytest.raises(FeedbackError, match=r"deep|parts|headers|larger"):
        understand(BOMBS[name])


DAEMON = b"From: MAILER-DAEMON@x.example\nSubject: failure notice\n"
GROWING = {
    "spaces": lambda n: DAEMON + b"\n" + b" " * n + b"x",
    "line feeds": lambda n: DAEMON + b'\n"notificationType"' + b"\n" * n + b"x",
    "almost boundaries": lambda n: DAEMON + b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--bx\n" * (n // 5),
    "at signs": lambda n: DAEMON + b"\n" + b"a@" * (n // 2),
    "labels": lambda n: DAEMON + b"\n" + b"a." * (n // 2) + b"@b.c",
    "brackets": lambda n: DAEMON + b"Content-Type: text/html\n\n" + b"<" * n,
    "styles": lambda n: DAEMON + b"Content-Type: text/html\n\n" + b"<style>" * (n // 7),
    "words": lambda n: DAEMON + b"\n" + b"could not be deliver recipient " * (n // 31),
    "answers": lambda n: DAEMON + b"\nfailed: <a@b.cc>\n" + (b" " * 1990 + b"x\n") * (n // 1992),
}


@pytest.mark.parametrize("name", GROWING)
def test_hostile_text_costs_no_more_than_its_length(name: str) -> None:
    import time

    def seconds(size: int) -> float:
        data = GROWING[name](size)
        started = time.process_time()
        understand(data)
        return time.process_time() - started

    assert min(seconds(1_000_000) for _ in range(2)) < 0.25


@given(st.binary(max_size=600))
def test_any_bytes_are_a_report_or_refused(data: bytes) -> None:
    assert isinstance(understand(data), Report)


@given(st.sampled_from(sorted(messages.ALL)), st.randoms(use_true_random=False), st.integers(1, 12))
def test_a_message_damaged_anyhow_is_a_report_or_refused(name: str, chance: random.Random, wounds: int) -> None:
    data = bytearray(messages.ALL[name])
    for _ in range(wounds):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                del data[at : at + chance.randrange(60)]
            case 1:
                data[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(6)))
            case 2:
                data[at:at] = chance.choice(
                    (b"\n", b"\r\n", b"\n\n", b"--=_b\n", b":", b"<", b"@", b"=?utf-8?q?=", b"\0")
                )
            case 3:
                other = messages.ALL[chance.choice(sorted(messages.ALL))]
                data[at:at] = other[chance.randrange(len(other)) :][: chance.randrange(300)]
            case _:
                data[at : at + 40] = data[at : at + 40] * 2
    try:
        found = understand(bytes(data))
    except FeedbackError:
        return
    assert all("@" in recipient.address for recipient in found.recipients)
    assert all(len(recipient.diagnostic) <= 4096 for recipient in found.recipients)


@pytest.mark.parametrize("name", sorted(messages.ALL))
def test_a_message_cut_off_at_any_byte_is_a_report(name: str) -> None:
    data = messages.ALL[name]
    for end in range(0, len(data), 7):
        assert isinstance(understand(data[:end]), Report)


@pytest.mark.parametrize("name", sorted(messages.ALL))
def test_line_ends_make_no_difference(name: str) -> None:
    data = messages.ALL[name]
    assert understand(data.replace(b"\n", b"\r\n")) == understand(data)
