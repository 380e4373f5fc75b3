"""The server's state machine, without sockets."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkmail.sandbox.dialogue import Dialogue
from tests.sandbox.conftest import Bench, codes, play

MakeBench = Callable[..., Bench]
ENVELOPE = b"MAIL FROM:<news@garden.example>\r\nRCPT TO:<welcome@own.test>\r\n"
MESSAGE = b"Message-ID: <1@garden.example>\r\nSubject: seeds\r\n\r\nHello\r\n"


def greeted(bench: Bench, domain: str = "own.test", **options: object) -> Dialogue:
    dialogue = bench.dialogue(domain, **options)
    dialogue.greet()
    play(dialogue, b"EHLO sender.test\r\n")
    return dialogue


def test_a_pipelined_transaction_is_kept_byte_for_byte(make_bench: MakeBench) -> None:
    bench = make_bench()
    dialogue = bench.dialogue()
    assert dialogue.greet() == f"220 {dialogue.reception.host} ESMTP\r\n".encode()
    replies = play(
        dialogue, b"EHLO sender.test\r\n", ENVELOPE + b"DATA\r\n", MESSAGE + b"..dot\r\n.\r\n" + ENVELOPE + b"DATA\r\n"
    )
    assert codes(replies) == [250, 250, 250, 354, 250, 250, 250, 354]
    assert bench.book.messages == [MESSAGE + b".dot\r\n"]
    (result,) = bench.book.results
    assert (result.rcpt, result.stage, result.code, result.message_id) == (
        "welcome@own.test",
        "message",
        250,
        "<1@garden.example>",
    )
    assert result.bytes == len(MESSAGE) + 6
    assert bench.book.urgent


def test_an_empty_message_ends_with_the_line_of_data(make_bench: MakeBench) -> None:
    bench = make_bench()
    assert codes(play(greeted(bench), ENVELOPE + b"DATA\r\n", b".\r\n")) == [250, 250, 354, 250]
    assert bench.book.messages == [b""]


def test_a_leading_dot_of_the_first_line_is_unstuffed(make_bench: MakeBench) -> None:
    bench = make_bench()
    play(greeted(bench), ENVELOPE + b"DATA\r\n", b"..first\r\n..\r\n...\r\n.\r\n")
    assert bench.book.messages == [b".first\r\n.\r\n..\r\n"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"MAIL FROM:<a@b.test>\r\n", [503]),
        (b"EHLO x.test\r\nRCPT TO:<welcome@own.test>\r\n", [250, 503]),
        (b"EHLO x.test\r\nDATA\r\n", [250, 503]),
        (b"EHLO x.test\r\nMAIL FROM:<a@b.test>\r\nMAIL FROM:<a@b.test>\r\n", [250, 250, 503]),
        (b"EHLO x.test\r\nMAIL FROM:<a@b.test>\r\nDATA\r\nMAIL FROM:<a@b.test>\r\n", [250, 250, 554, 250]),
        (b"EHLO x.test\r\nMAIL FROM:<a@b.test>\r\nRSET\r\nRCPT TO:<welcome@own.test>\r\n", [250, 250, 250, 503]),
        (b"EHLO x.test\r\nMAIL FROM:<a@b.test>\r\nEHLO x.test\r\nDATA\r\n", [250, 250, 250, 503]),
        (b"EHLO\r\nHELO bad_name.test\r\nHELO x.test\r\n", [501, 501, 250]),
        (
            b"NOOP\r\nNOOP x\r\nVRFY a@b.test\r\nEXPN x\r\nHELP\r\nAUTH PLAIN\r\nWHAT\r\n",
            [250, 250, 252, 502, 502, 502, 500],
        ),
        (b"RSET x\r\nDATA x\r\nQUIT x\r\nSTARTTLS x\r\nQUIT\r\n", [501, 501, 501, 501, 221]),
        (b"EHLO x.test\r\nMAIL FROM: <a@b.test>\r\nMAIL FROM:a@b.test\r\nMAIL TO:<a@b.test>\r\n", [250, 501, 501, 501]),
        (b"EHLO x.test\r\nMAIL FROM:<a@b.test> SIZE=99999999\r\n", [250, 552]),
        (b"EHLO x.test\r\nMAIL FROM:<a@b.test> RET=HDRS\r\nMAIL FROM:<a@b.test> SIZE=1 SIZE=1\r\n", [250, 555, 501]),
        (b"EHLO x.test\r\nMAIL FROM:<>\r\nRCPT TO:<>\r\nRCPT TO:<postmaster>\r\n", [250, 250, 501, 250]),
        (b"EHLO x.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<welcome@elsewhere.example>\r\n", [250, 250, 550]),
        (b"EHLO x.test\r\nMAIL FROM:<\xc3\xa9@b.test>\r\nMAIL FROM:<\xc3\xa9@b.test> SMTPUTF8\r\n", [250, 553, 250]),
        (b"N" * 600 + b"\r\nNOOP " + b"x" * 3000 + b"\r\nNOOP\r\n", [500, 500, 250]),
        (b"NOOP \x07\r\nNOOP \xff\r\nNOOP\r\n", [500, 500, 250]),
    ],
)
def test_commands_out_of_order_or_shape_have_their_codes(
    make_bench: MakeBench, lines: bytes, expected: list[int]
) -> None:
    assert codes(play(make_bench("size_bytes = 1000000").dialogue(), lines)) == expected


@pytest.mark.parametrize("line", [b"NOOP\n", b"NO\rOP\r\n", b"NOOP\r\r\n", b"\n"])
def test_a_bare_newline_in_a_command_ends_the_connection(make_bench: MakeBench, line: bytes) -> None:
    dialogue = make_bench().dialogue()
    assert codes(play(dialogue, line + b"NOOP\r\n")) == [521]
    assert dialogue.closing


@pytest.mark.parametrize(
    "body",
    [b"bare\nlf\r\n", b"bare\rcr\r\n", b"\n", b"x\r\r\n", b"nul\0\r\n", b"x" * 999 + b"\r\n", b"y\r\n" + b"x" * 1200],
)
def test_a_message_no_sender_may_write_is_refused_and_the_transaction_is_over(
    make_bench: MakeBench, body: bytes
) -> None:
    bench = make_bench()
    replies = play(greeted(bench), ENVELOPE + b"DATA\r\n", body + b"\r\n.\r\n", b"RCPT TO:<welcome@own.test>\r\n")
    assert codes(replies) == [250, 250, 354, 554, 503]
    assert not bench.book.messages
    assert [result.code for result in bench.book.results] == [554]


def test_a_line_of_998_characters_is_long_enough_for_everybody(make_bench: MakeBench) -> None:
    bench = make_bench()
    play(greeted(bench), ENVELOPE + b"DATA\r\n", b"a\r\n" + b"x" * 998 + b"\r\n" + b"y" * 998 + b"\r\n.\r\n")
    assert len(bench.book.messages) == 1


def test_eight_bit_content_needs_8bitmime(make_bench: MakeBench) -> None:
    bench = make_bench('extensions = ["PIPELINING"]')
    replies = play(greeted(bench), ENVELOPE + b"DATA\r\n", "Grüße\r\n.\r\n".encode())
    assert codes(replies)[-1] == 554


@pytest.mark.parametrize("size", [1, 3, 100, 1000, 5000])
def test_a_message_that_is_too_large_is_read_to_its_end_and_refused(make_bench: MakeBench, size: int) -> None:
    bench = make_bench("size_bytes = 100")
    dialogue = greeted(bench)
    play(dialogue, ENVELOPE + b"DATA\r\n")
    # What is kept of the head and of the tail must never look like the end of data together.
    body = b"y.\r\nx" * 1000
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    assert codes(play(dialogue, *pieces, b"\r\n.\r\n", b"NOOP\r\n")) == [552, 250]
    assert not bench.book.messages


def test_chunks_are_kept_as_they_come(make_bench: MakeBench) -> None:
    bench = make_bench()
    replies = play(greeted(bench), ENVELOPE + b"BDAT 5\r\n.\r\n.\rBDAT 3\r\n\n\r\nBDAT 0 LAST\r\n" + ENVELOPE)
    assert codes(replies) == [250, 250, 250, 250, 250, 250, 250]
    assert bench.book.messages == [b".\r\n.\r\n\r\n"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"BDAT 4 LAST\r\nQUITNOOP\r\n", [503, 250]),
        (b"MAIL FROM:<a@b.test>\r\nBDAT 4 LAST\r\nQUITNOOP\r\n", [250, 554, 250]),
        (
            b"MAIL FROM:<a@b.test>\r\nRCPT TO:<unknown@own.test>\r\nBDAT 4\r\nQUITBDAT 2 LAST\r\nxyNOOP\r\n",
            [250, 550, 554, 503, 250],
        ),
        (ENVELOPE + b"BDAT 2\r\nxxDATA\r\nRCPT TO:<welcome@own.test>\r\n", [250, 250, 250, 503, 503]),
        (ENVELOPE + b"BDAT 2\r\nxxRCPT TO:<welcome@own.test>\r\nMAIL FROM:<a@b.test>\r\n", [250, 250, 250, 503, 503]),
        (ENVELOPE + b"BDAT 4 LAST\r\na\nb\nRCPT TO:<welcome@own.test>\r\n", [250, 250, 554, 503]),
        (
            ENVELOPE + b"BDAT 4\r\nabcdBDAT 97\r\n" + b"x" * 97 + b"BDAT 2 LAST\r\nxxNOOP\r\n",
            [250, 250, 250, 552, 503, 250],
        ),
        (ENVELOPE + b"BDAT 2\r\nxxRSET\r\nBDAT 2 LAST\r\nxxNOOP\r\n", [250, 250, 250, 250, 503, 250]),
        (b"BDAT x\r\nNOOP\r\n", [501]),
        (b"BDAT 5 LAST x\r\nNOOP\r\n", [501]),
        (b"BDAT -5\r\nNOOP\r\n", [501]),
    ],
)
def test_chunks_out_of_order_are_read_past_and_reset_the_transaction(
    make_bench: MakeBench, lines: bytes, expected: list[int]
) -> None:
    bench = make_bench("size_bytes = 100")
    assert codes(play(greeted(bench), lines)) == expected
    assert not bench.book.messages


def test_what_is_sent_behind_starttls_is_thrown_away(make_bench: MakeBench) -> None:
    bench = make_bench()
    dialogue = greeted(bench)
    assert codes(play(dialogue, ENVELOPE + b"STARTTLS\r\nMAIL FROM:<evil@x.test>\r\n")) == [250, 250, 220]
    assert dialogue.starting_tls
    dialogue.secured("TLSv1.3")
    assert codes(play(dialogue, b"RCPT TO:<welcome@own.test>\r\n" + ENVELOPE)) == [503, 503, 503]
    offered = play(dialogue, b"EHLO sender.test\r\n")
    assert b"STARTTLS" not in offered
    assert codes(play(dialogue, b"STARTTLS\r\n" + ENVELOPE + b"DATA\r\n", MESSAGE + b".\r\n"))[-1] == 250
    assert bench.book.results[-1].tls == "TLSv1.3"


def test_tls_can_be_required(make_bench: MakeBench) -> None:
    bench = make_bench("tls_required = true")
    assert codes(play(greeted(bench), ENVELOPE)) == [530, 503]


def test_an_exchanger_without_esmtp_knows_helo_alone(make_bench: MakeBench) -> None:
    bench = make_bench("esmtp = false")
    dialogue = bench.dialogue()
    replies = play(dialogue, b"EHLO x.test\r\nHELO x.test\r\n" + ENVELOPE + b"BDAT 1\r\n")
    assert b"2.1.0" not in replies
    assert codes(replies)[:4] == [500, 250, 250, 250]


def test_many_bad_commands_end_the_connection_but_refused_groups_do_not(make_bench: MakeBench) -> None:
    bench = make_bench("bad_commands = 3")
    dialogue = greeted(bench)
    assert set(codes(play(dialogue, b"RCPT TO:<welcome@own.test>\r\nDATA\r\n" * 10))) == {503}
    assert codes(play(dialogue, b"WHAT\r\n" * 9)) == [500, 500, 500, 421]
    assert dialogue.closing


def test_no_room_is_a_temporary_refusal(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.book.full = True
    assert codes(play(greeted(bench), ENVELOPE + b"DATA\r\n", MESSAGE + b".\r\n"))[-1] == 452
    assert bench.counts.messages == 0


@pytest.mark.parametrize(
    ("setting", "expected"), [("reset", [554, 250]), ("refuse", [554, 503]), ("take", [354, 554, 250])]
)
def test_data_without_recipients_is_answered_as_the_manners_say(
    make_bench: MakeBench, setting: str, expected: list[int]
) -> None:
    bench = make_bench(f'data_without_recipients = "{setting}"')
    dialogue = greeted(bench)
    play(dialogue, b"MAIL FROM:<a@b.test>\r\n")
    replies = play(dialogue, b"DATA\r\n" + (b".\r\n" if setting == "take" else b""), b"MAIL FROM:<a@b.test>\r\n")
    assert codes(replies) == expected


def test_a_message_may_have_many_recipients_but_not_too_many(make_bench: MakeBench) -> None:
    bench = make_bench("recipients_per_message = 2")
    recipients = b"".join(b"RCPT TO:<welcome-%d@own.test>\r\n" % number for number in range(3))
    replies = play(greeted(bench), b"MAIL FROM:<a@b.test>\r\n" + recipients + b"DATA\r\n", MESSAGE + b".\r\n")
    assert codes(replies) == [250, 250, 250, 452, 354, 250]
    assert [result.rcpt for result in bench.book.results if result.code == 250] == [
        "welcome-0@own.test",
        "welcome-1@own.test",
    ]


SMUGGLING = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r\n",
    b"\r.\r",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n\0.\r\n",
    b"\n\n.\r\n",
    b"\n\n.\n\n",
    b"\r\r\n.\n",
    b"\r\n.\r\r\n",
    b"\r\n.\n\r\n",
    b"\r\n.\0\r\n",
    b"\r\n\x0b.\r\n",
    b"\r\n.\x0c\r\n",
    b"\r\n. \r\n",
    b"\r\n .\r\n",
    b"\n\r.\r\n",
    b"\r\n.\xc2\x85",
    b"\xe2\x80\xa8.\xe2\x80\xa8",
    b"\r\n.\r\t\n",
    b"\r\r.\r\r",
]
SMUGGLED = ENVELOPE + b"DATA\r\nSubject: smuggled\r\n\r\nbad\r\n.\r\n"


def stored_at_every_split(bench: Bench, stream: bytes) -> list[list[bytes]]:
    stored = []
    for split in range(len(stream)):
        bench.book.messages = []
        play(greeted(bench), ENVELOPE + b"DATA\r\n", stream[:split], stream[split:])
        stored.append(bench.book.messages)
    return stored


@pytest.mark.parametrize("sequence", SMUGGLING)
def test_no_false_end_of_data_smuggles_a_second_message(make_bench: MakeBench, sequence: bytes) -> None:
    stream = b"Subject: one\r\n\r\nhi" + sequence + SMUGGLED
    stored = stored_at_every_split(make_bench("connections = 1000"), stream)
    assert all(messages == stored[0] for messages in stored)
    assert len(stored[0]) <= 1
    assert not any(message.startswith(b"Subject: smuggled") for message in stored[0])


def test_the_true_end_of_data_is_found_at_every_split(make_bench: MakeBench) -> None:
    stream = b"Subject: one\r\n\r\nhi\r\n.\r\n" + SMUGGLED
    assert {len(messages) for messages in stored_at_every_split(make_bench("connections = 1000"), stream)} == {2}


LINES = st.sampled_from(
    [
        b"EHLO x.test\r\n",
        b"HELO x.test\r\n",
        b"MAIL FROM:<a@b.test>\r\n",
        b"MAIL FROM:<a@b.test> SIZE=500\r\n",
        b"RCPT TO:<welcome@own.test>\r\n",
        b"RCPT TO:<unknown@own.test>\r\n",
        b"RCPT TO:<slow@own.test>\r\n",
        b"RCPT TO:<spam@own.test>\r\n",
        ENVELOPE + b"DATA\r\n" + MESSAGE + b".\r\n",
        ENVELOPE + b"BDAT 3\r\na\r\nBDAT 2 LAST\r\n\r\n",
        ENVELOPE + b"DATA\r\n" + b"." * 300 + b"\r\n.\r\n",
        b"DATA\r\n",
        b".\r\n",
        b"x\n.\n",
        b"BDAT 4 LAST\r\nQUIT",
        b"BDAT 150\r\n" + b"RSET\r\n" * 25,
        b"RSET\r\n",
        b"NOOP\r\n",
        b"\r\n",
        b"NOOP " + b"y" * 2100 + b"\r\n",
        b"QUIT\r\n",
        b"\0\r\n",
        b"\r",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINES, max_size=12), cuts=st.lists(st.integers(1, 4000), max_size=30))
def test_replies_do_not_depend_on_how_the_input_is_split(
    make_bench: MakeBench, lines: list[bytes], cuts: list[int]
) -> None:
    stream = b"EHLO x.test\r\n" + b"".join(lines)
    edges = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    whole, split, single = (
        make_bench("size_bytes = 200"),
        make_bench("size_bytes = 200"),
        make_bench("size_bytes = 200"),
    )
    expected = play(whole.dialogue(), stream)
    assert play(split.dialogue(), *pieces) == expected
    assert play(single.dialogue(), *(stream[at : at + 1] for at in range(len(stream)))) == expected
    assert split.book.messages == single.book.messages == whole.book.messages
    assert split.book.entries == single.book.entries == whole.book.entries


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.lists(st.one_of(LINES, st.binary(max_size=80)), max_size=10))
def test_noise_gets_replies_and_after_a_refused_message_no_transaction_is_left(
    make_bench: MakeBench, noise: list[bytes]
) -> None:
    dialogue = make_bench("size_bytes = 200").dialogue()
    replies = play(dialogue, b"".join(noise))
    for line in replies.split(b"\r\n")[:-1]:
        assert line[:3].isdigit()
        assert line[3:4] in b" -"
    assert replies == b"" or replies.endswith(b"\r\n")
