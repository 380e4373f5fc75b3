"""The native transactions: the dialogues of RFC 5321, RFC 2920 and RFC 3030, and agreement with their plain twin."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkmail.native.commands import command_line
from bulkmail.native.session import Transactions
from bulkmail.smtp import commands
from tests.oracles import session as oracle

OK = (250, b"2.0.0 ok")
GO_ON = (354, b"go on")
ENVELOPE = b"MAIL FROM:<s@a.example>\r\nRCPT TO:<r@b.example>\r\nDATA\r\n"
DATA = b"Subject: x\r\n\r\nhello\r\n"


def started(**options) -> Transactions:
    transactions = Transactions(**{"pipelining": True, **options})
    submit(transactions, "first")
    return transactions


def submit(transactions, name: str, data: bytes = DATA, head: bytes = b"") -> None:
    transactions.submit(name, b"s@a.example", b"r@b.example", data, head=head)


def hear(transactions, replies) -> list:
    """The replies, once all that is to be written was written."""
    transactions.take_begun()
    transactions.outgoing()
    return transactions.answer(replies)


def test_a_pipelined_message_takes_two_flights_and_the_second_carries_the_next_envelope() -> None:
    transactions = started()
    assert transactions.outgoing() == ENVELOPE
    assert not transactions.wants
    assert transactions.answer([OK, OK, GO_ON]) == []
    assert transactions.wants
    submit(transactions, "second")
    assert list(transactions.take_begun()) == ["first"]
    assert transactions.outgoing() == DATA + b".\r\n" + ENVELOPE
    assert transactions.answer([OK, OK, OK, GO_ON]) == [("first", 10, 250, b"2.0.0 ok")]
    assert list(transactions.take_begun()) == ["second"]
    assert transactions.outgoing() == DATA + b".\r\n"
    assert transactions.completed == 1


def test_without_pipelining_every_command_waits_for_its_reply() -> None:
    transactions = started(pipelining=False)
    assert transactions.outgoing() == b"MAIL FROM:<s@a.example>\r\n"
    transactions.answer([OK])
    assert transactions.outgoing() == b"RCPT TO:<r@b.example>\r\n"
    transactions.answer([OK])
    assert transactions.outgoing() == b"DATA\r\n"
    transactions.answer([GO_ON])
    assert transactions.outgoing() == DATA + b".\r\n"
    assert not transactions.wants
    assert transactions.answer([OK])[0][1:3] == (10, 250)
    assert transactions.wants


def test_a_refused_recipient_is_one_result_and_the_next_transaction_begins_with_rset() -> None:
    transactions = started()
    transactions.outgoing()
    assert transactions.answer([OK, (550, b"5.1.1 nobody"), (503, b"no recipients")]) == [
        ("first", 8, 550, b"5.1.1 nobody")
    ]
    assert transactions.wants
    submit(transactions, "second")
    assert transactions.outgoing() == b"RSET\r\n" + ENVELOPE


def test_a_refusal_without_pipelining_sends_rset_alone() -> None:
    transactions = started(pipelining=False)
    transactions.outgoing()
    transactions.answer([(451, b"later")])
    assert transactions.outgoing() == b"RSET\r\n"
    assert not transactions.wants
    transactions.answer([OK])
    assert transactions.wants


def test_354_after_all_recipients_were_refused_gets_an_empty_message_whose_250_is_no_delivery() -> None:
    transactions = started()
    transactions.outgoing()
    results = transactions.answer([OK, (550, b"nobody"), GO_ON])
    assert [result[1:3] for result in results] == [(8, 550)]
    assert transactions.outgoing() == b".\r\n"
    assert list(transactions.take_begun()) == []
    assert transactions.answer([OK]) == []
    assert transactions.completed == 0


def test_a_reply_that_nothing_asked_for_is_an_error() -> None:
    transactions = Transactions(pipelining=True)
    assert transactions.answer([OK]) == []
    assert "nothing asked for" in str(transactions.error)
    assert not transactions.wants


@pytest.mark.parametrize("chunking", [False, True])
def test_the_head_goes_in_front_of_the_message_and_counts_for_its_size(chunking: bool) -> None:
    transactions = Transactions(pipelining=True, chunking=chunking, size=True)
    submit(transactions, "first", head=b"DKIM-Signature: v=1\r\n")
    whole = b"DKIM-Signature: v=1\r\n" + DATA
    envelope = transactions.outgoing()
    assert b" SIZE=%d\r\n" % len(whole) in envelope
    if chunking:
        assert envelope.endswith(b"BDAT %d LAST\r\n" % len(whole) + whole)
    else:
        hear(transactions, [OK, OK, GO_ON])
        assert transactions.outgoing() == whole + b".\r\n"


def test_a_delivery_confirmed_just_before_an_error_is_still_a_result() -> None:
    transactions = started()
    hear(transactions, [OK, OK, GO_ON])
    assert hear(transactions, [OK, OK]) == [("first", 10, 250, b"2.0.0 ok")]
    assert transactions.error
    assert transactions.abandon() == []


def test_a_reply_to_a_message_that_was_not_handed_out_is_no_delivery() -> None:
    transactions = started()
    assert hear(transactions, [OK, OK, GO_ON, OK]) == []
    assert "nothing asked for" in str(transactions.error)
    assert transactions.abandon() == [("first", 10, False)]


def test_421_behind_354_is_the_result_of_a_message_that_is_not_written() -> None:
    transactions = started()
    assert hear(transactions, [OK, OK, GO_ON, (421, b"bye")]) == [("first", 10, 421, b"bye")]
    assert list(transactions.take_begun()) == []
    assert transactions.outgoing() == b""
    assert transactions.closing
    assert transactions.abandon() == []


@pytest.mark.parametrize("replies", [[GO_ON], [OK, GO_ON]])
def test_354_to_another_command_than_data_is_an_error(replies) -> None:
    transactions = started()
    assert hear(transactions, replies) == []
    assert transactions.error
    assert transactions.abandon() == [("first", 6 + len(replies), False)]


def test_a_refused_rset_is_the_end_of_the_connection_after_what_is_in_flight() -> None:
    transactions = started()
    hear(transactions, [OK, (550, b"nobody"), (503, b"no")])
    submit(transactions, "second")
    hear(transactions, [(502, b"what?"), OK, OK, GO_ON])
    assert not transactions.wants
    assert hear(transactions, [OK])[0][1:3] == (10, 250)
    transactions.quit()
    assert transactions.outgoing() == b"QUIT\r\n"


def test_421_out_of_nothing_only_closes() -> None:
    transactions = Transactions(pipelining=True)
    assert transactions.answer([(421, b"bye")]) == []
    assert transactions.closing


def test_250_to_data_is_an_error_and_leaves_the_message_unsent() -> None:
    transactions = started()
    assert hear(transactions, [OK, OK, OK]) == []
    assert transactions.error
    assert transactions.abandon() == [("first", 9, False)]


def test_354_to_the_end_of_a_message_is_an_error_and_leaves_it_in_doubt() -> None:
    transactions = started()
    assert hear(transactions, [OK, OK, GO_ON]) == []
    assert hear(transactions, [GO_ON]) == []
    assert transactions.error
    assert transactions.abandon() == [("first", 10, True)]


def test_after_the_end_of_a_message_a_lost_connection_leaves_a_doubt_and_the_next_untouched() -> None:
    transactions = started()
    hear(transactions, [OK, OK, GO_ON])
    submit(transactions, "second")
    transactions.take_begun()
    transactions.outgoing()
    assert transactions.abandon() == [("first", 10, True), ("second", 7, False)]


def test_before_the_end_of_a_message_a_lost_connection_leaves_no_doubt() -> None:
    transactions = started()
    hear(transactions, [OK, OK])
    assert transactions.abandon() == [("first", 9, False)]


def test_421_to_the_end_of_a_message_is_its_result_and_no_doubt() -> None:
    transactions = started()
    hear(transactions, [OK, OK, GO_ON])
    assert hear(transactions, [(421, b"closing")]) == [("first", 10, 421, b"closing")]
    assert transactions.closing
    assert transactions.abandon() == []


def test_a_window_of_bdat_transactions_is_in_flight_at_once() -> None:
    transactions = Transactions(pipelining=True, chunking=True, window=3)
    for name in ("a", "b", "c"):
        submit(transactions, name)
    assert not transactions.wants
    one = b"RSET\r\nMAIL FROM:<s@a.example>\r\nRCPT TO:<r@b.example>\r\nBDAT %d LAST\r\n%b" % (len(DATA), DATA)
    assert transactions.outgoing() == one * 3
    results = transactions.answer([OK] * 4 + [OK, OK, (550, b"no"), (503, b"none")] + [OK] * 4)
    assert [(name, stage, code) for name, stage, code, _ in results] == [("a", 10, 250), ("b", 8, 550), ("c", 10, 250)]


def test_messages_per_connection_are_counted_at_the_envelope() -> None:
    transactions = started(max_messages=1)
    hear(transactions, [OK, OK, GO_ON])
    assert not transactions.wants
    hear(transactions, [OK])
    transactions.outgoing()
    transactions.quit()
    assert transactions.outgoing() == b"QUIT\r\n"
    hear(transactions, [(221, b"bye")])
    assert transactions.finished


# RELIABILITY: what has been used to end a line early, or was taken for the end of one by somebody.
INJECTIONS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\x0b",
    b"\x0c",
    b"\x1b",
    b"\x7f",
    "\x85".encode(),
    "\u2028".encode(),
    "\u2029".encode(),
    "\ud800".encode("utf-8", "surrogatepass"),
    # No UTF-8, and to a lenient decoder a line feed, U+0085, half a character.
    b"\xc0\x8a",
    b"\xe0\x80\x8a",
    b"\xe0\x82\x85",
    b"\xff",
    b"\xe2\x80",
]


@pytest.mark.parametrize("utf8", [False, True])
@pytest.mark.parametrize("side", [Transactions, oracle.Transactions], ids=["native", "plain"])
@pytest.mark.parametrize("text", [*INJECTIONS, b"<", b">"])
@pytest.mark.parametrize("field", ["sender", "recipient", "mail", "rcpt"])
def test_nothing_that_could_end_a_command_reaches_one(field: str, text: bytes, side, utf8: bool) -> None:
    fields = {"sender": b"s@a.example", "recipient": b"r@b.example", "mail": b" RET=HDRS", "rcpt": b" NOTIFY=NEVER"}
    fields[field] = fields[field][:3] + text + fields[field][3:]
    transactions = side(pipelining=True, size=True)
    if field in ("mail", "rcpt") and text in (b"<", b">"):
        return  # they end a path, not a parameter
    with pytest.raises(ValueError, match=r"(?s)."):
        transactions.submit(
            "m", fields["sender"], fields["recipient"], DATA, utf8=utf8, mail=fields["mail"], rcpt=fields["rcpt"]
        )
    assert transactions.outgoing() == b""
    assert transactions.wants


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_command_line_of_the_handshake_takes_them_either(text: bytes) -> None:
    for utf8 in (False, True):
        for line in (command_line, oracle.command_line):
            with pytest.raises(ValueError, match=r"(?s)."):
                line(b"EHLO me" + text + b"MAIL FROM:<x@y>", utf8)
    argument = text.decode("utf-8", "replace")
    with pytest.raises(ValueError, match=r"(?s)."):
        commands.command_line("EHLO", f"me{argument}you")


def test_characters_that_hold_the_bytes_of_a_line_end_when_cut_to_one_byte_stay_whole() -> None:
    transactions = Transactions(pipelining=True)
    transactions.submit("m", b"s@a.example", "x\u560d\u560ay@b.example".encode(), DATA, utf8=True)
    lines = transactions.outgoing().split(b"\r\n")
    assert lines[1] == "RCPT TO:<x\u560d\u560ay@b.example>".encode()
    assert len(lines) == 4


@pytest.mark.parametrize("mail", [b"RET=HDRS", b" X=" + b"x" * 640])
def test_parameters_begin_with_their_space_and_have_an_end(mail: bytes) -> None:
    for side in (Transactions(pipelining=True), oracle.Transactions(pipelining=True)):
        with pytest.raises(ValueError, match=r"(?s)."):
            side.submit("m", b"s@a.example", b"r@b.example", DATA, mail=mail)
        assert side.outgoing() == b""


def test_a_path_has_256_octets_with_its_brackets() -> None:
    for length, fits in ((254, True), (255, False)):
        transactions = Transactions(pipelining=True)
        path = b"r@" + b"b" * (length - 2)
        if fits:
            transactions.submit("m", b"", path, DATA)
            assert b"RCPT TO:<%b>\r\n" % path in transactions.outgoing()
        else:
            with pytest.raises(ValueError, match="too long"):
                transactions.submit("m", b"", path, DATA)


def test_the_size_of_a_message_is_that_without_doubled_dots() -> None:
    transactions = Transactions(pipelining=True, size=True)
    transactions.submit("m", b"s@a.example", b"r@b.example", b"..x\r\n", size_bytes=4, mail=b" RET=HDRS")
    assert transactions.outgoing().startswith(b"MAIL FROM:<s@a.example> SIZE=4 RET=HDRS\r\n")


def windowed(*names: str, window: int = 3) -> Transactions:
    transactions = Transactions(pipelining=True, chunking=True, window=window)
    for name in names:
        submit(transactions, name)
    transactions.take_begun()
    transactions.outgoing()
    return transactions


def test_what_came_after_421_was_not_taken_where_the_server_closed() -> None:
    for closed, taken in ((True, False), (False, True)):
        transactions = windowed("a", "b", "c")
        results = transactions.answer([OK] * 4 + [OK, (421, b"4.3.2 bye")])
        assert [result[:3] for result in results] == [("a", 10, 250), ("b", 7, 421)]
        assert transactions.abandon(closed=closed) == [("c", 7, taken)]


def test_a_server_that_goes_on_after_421_has_proven_nothing_with_it() -> None:
    transactions = windowed("a", "b", "c")
    transactions.answer([OK, (421, b"bye"), (503, b"no"), (503, b"no"), OK])
    assert transactions.abandon(closed=True) == [("b", 7, True), ("c", 7, True)]


def test_a_message_whose_end_was_not_written_is_not_in_doubt() -> None:
    transactions = windowed("a", "b")
    assert transactions.abandon(unwritten_bytes=1) == [("a", 7, True), ("b", 7, False)]


def test_a_window_is_proven_by_what_filled_it_and_was_answered_right() -> None:
    transactions = windowed("a", "b", window=3)
    transactions.answer([OK] * 8)
    assert transactions.proven == 0
    for name in ("c", "d", "e"):
        submit(transactions, name)
    hear(transactions, [OK] * 8 + [OK, OK, (550, b"nobody"), (503, b"no recipient")])
    assert transactions.proven == 1
    assert transactions.anomaly is None


@pytest.mark.parametrize(
    "replies",
    [[OK, OK, (550, b"nobody"), OK], [(502, b"what?"), OK, OK, OK], [OK, OK, OK, (500, b"BDAT?")]],
    ids=["accepted for nobody", "RSET refused", "BDAT unknown"],
)
def test_replies_that_no_window_should_bring_are_an_anomaly(replies) -> None:
    transactions = windowed("a")
    transactions.answer(replies)
    assert transactions.anomaly
    assert transactions.proven == 0


def test_a_message_whose_bdat_was_no_command_to_the_server_has_no_result() -> None:
    transactions = windowed("a")
    assert transactions.answer([OK, OK, OK, (503, b"bad sequence")]) == []
    assert transactions.take_misunderstood() == ["a"]
    assert transactions.take_misunderstood() == []
    transactions.give_up_chunking()
    submit(transactions, "a")
    assert transactions.outgoing() == b"RSET\r\n" + ENVELOPE


def test_data_after_bdat_begins_with_rset_and_waits_for_room() -> None:
    transactions = windowed("a", "b")
    transactions.give_up_chunking()
    assert not transactions.wants
    transactions.answer([OK] * 4)
    assert transactions.wants
    submit(transactions, "c")
    assert transactions.outgoing() == b"RSET\r\n" + ENVELOPE


def test_8_bit_addresses_need_smtputf8() -> None:
    transactions = Transactions(pipelining=True)
    transactions.submit("m", b"s@a.example", "jürgen@b.example".encode(), DATA, utf8=True)
    assert transactions.outgoing().startswith(b"MAIL FROM:<s@a.example> BODY=8BITMIME SMTPUTF8\r\n")


codes = [
    (250, b"ok"),
    (250, b"ok"),
    (250, b"ok"),
    (354, b"go"),
    (550, b"no"),
    (451, b"later"),
    (421, b"bye"),
    (221, b""),
]
replies = st.lists(st.sampled_from(codes), min_size=1, max_size=5)
COMPARED = [
    "stage",
    "asked",
    "in_flight",
    "finished",
    "closing",
    "dismissed",
    "submitted",
    "completed",
    "max_messages",
    "window",
    "chunking",
    "proven",
    "written_bytes",
    "oldest",
    "windowed",
    "may_be_taken",
]
events = st.sampled_from(["submit", "submit", "quit", "wider", "narrower", "DATA again"])
steps = st.lists(st.one_of(events, replies), max_size=40)


@settings(max_examples=400, deadline=None)
@given(
    steps=steps,
    pipelining=st.booleans(),
    chunking=st.booleans(),
    size=st.booleans(),
    window=st.sampled_from([1, 2, 5]),
    max_messages=st.sampled_from([1, 3, 100]),
    closed=st.booleans(),
    unwritten_bytes=st.sampled_from([0, 1, 100, 1000]),
)
def test_native_and_plain_transactions_agree_on_any_dialogue(
    steps, closed: bool, unwritten_bytes: int, **options
) -> None:
    native, plain = Transactions(**options), oracle.Transactions(**options)
    concluded: list[str] = []
    for number, step in enumerate(steps):
        assert native.wants == plain.wants
        outcome = []
        for side in (native, plain):
            if step == "submit":
                if side.wants:
                    submit(side, f"m{number}", head=b"DKIM-Signature: v=1\r\n" * (number % 2))
                outcome.append(None)
            elif step == "quit":
                outcome.append(side.quit())
            elif step in ("wider", "narrower"):
                outcome.append(side.set_window(7 if step == "wider" else 1))
            elif step == "DATA again":
                outcome.append(side.give_up_chunking())
            else:
                outcome.append(side.answer(step))
        assert outcome[0] == outcome[1]
        concluded += [result[0] for result in outcome[0] or ()]
        misunderstood = native.take_misunderstood()
        assert misunderstood == plain.take_misunderstood()
        concluded += misunderstood
        assert list(native.take_begun()) == plain.take_begun()
        assert native.outgoing() == plain.outgoing()
        for name in COMPARED:
            assert getattr(native, name) == getattr(plain, name), name
        assert bool(native.error) == bool(plain.error)
        assert bool(native.anomaly) == bool(plain.anomaly)
        if native.error:
            break
    submitted = native.submitted
    left = native.abandon(closed=closed, unwritten_bytes=unwritten_bytes)
    assert left == plain.abandon(closed=closed, unwritten_bytes=unwritten_bytes)
    # Nothing is lost and nothing is counted twice, whatever the server said.
    concluded += [name for name, _, _ in left]
    assert len(concluded) == len(set(concluded)) == submitted
