"""Batches of signatures: SHA-256 in lanes against hashlib, and the whole of a batch against its twin."""

import gc
import hashlib
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkmail.native.lanes import LaneKey, sha256_many
from bulkmail.native.signing import Batch, Layout
from tests.oracles import signing as oracle

LANES = [16, 2, 0]
NOW = b"1700000000"
TEMPLATES = (
    ((b"DKIM-Signature: t=", b";\r\n\tbh=", b"; b="), (b"dkim-signature:t=", b"; bh=", b"; b=")),
    ((b"DKIM-Signature: a=x; t=", b"; bh=", b";\r\n\tb="), (b"dkim-signature:a=x; t=", b"; bh=", b"; b=")),
)
LAYOUT = Layout((b"from", b"subject"), (1, 0), TEMPLATES)
MESSAGE = b"From: a@garden.example\r\nSubject:  Seeds\r\n\tand  more \r\n\r\nHello \t there \r\n\r\n"


def run(
    batch: Batch, layouts: tuple[Layout, ...], keys: tuple[LaneKey | None, ...], messages: list[bytes], now: bytes
) -> tuple[bytes, ...] | None:
    batch.load(layouts, keys, messages, now)
    batch.work()
    return batch.trouble()


def digests_of(messages: list[bytes]) -> list[bytes]:
    return [hashlib.sha256(message).digest() for message in messages]


@pytest.mark.parametrize("lanes", LANES)
def test_every_length_around_the_edges_of_blocks_is_hashed_rightly(lanes: int) -> None:
    noise = random.Random(1).randbytes(600)
    messages = [noise[:length] for length in range(len(noise) + 1)]
    assert sha256_many(messages, lanes) == digests_of(messages)
    for message in messages[:140]:
        assert sha256_many([message], lanes) == digests_of([message])


@pytest.mark.parametrize("lanes", LANES)
def test_every_lane_hashes_rightly_whatever_the_others_do(lanes: int) -> None:
    noise = random.Random(2)
    for place in range(16):
        messages = [noise.randbytes(noise.choice([0, 1, 55, 56, 63, 64, 65, 119, 120, 5000])) for _ in range(16)]
        messages[place] = noise.randbytes(10_000)
        assert sha256_many(messages, lanes) == digests_of(messages)


@settings(max_examples=150, deadline=None)
@given(
    lanes=st.sampled_from(LANES),
    lengths=st.lists(st.integers(0, 70) | st.integers(0, 3000), max_size=70),
    seed=st.integers(0, 2**32),
)
@example(lanes=16, lengths=[], seed=0)
@example(lanes=16, lengths=[200_000] + [0] * 40, seed=0)
def test_any_number_of_messages_of_any_lengths_is_hashed_as_by_hashlib(
    lanes: int, lengths: list[int], seed: int
) -> None:
    noise = random.Random(seed)
    messages = [noise.randbytes(length) for length in lengths]
    assert sha256_many(messages, lanes) == digests_of(messages)


spaces = st.sampled_from([b"", b" ", b"  ", b"\t", b"\r\n ", b"\r\n\t", b" \r\n  "])
words = st.sampled_from([b"", b"a", b"Seeds:", b"\xc3\xa9", b"x" * 70])
values = st.lists(st.tuples(spaces, words).map(b"".join), max_size=5).map(b"".join)
names = st.tuples(st.sampled_from([b"From", b"from", b"FROM \t"]), st.sampled_from([b"Subject", b"SUBJECT"]))
bodies = st.lists(
    st.sampled_from([b"", b" ", b"\t", b" a  b\t", b".", b"a" * 90, b"b c" * 40, b"\r", b"\n", b"\r\n", b"\r\n\r\n"]),
    max_size=12,
).map(b"".join)
whole = st.builds(
    lambda name, sender, subject, blank, body: (
        name[0] + b":" + sender + b"\r\n" + name[1] + b":" + subject + b"\r\n" + blank + body
    ),
    names,
    values,
    values,
    st.sampled_from([b"\r\n", b"\n"]),
    bodies,
)


@settings(max_examples=150, deadline=None)
@given(lanes=st.sampled_from(LANES), messages=st.lists(whole, max_size=20), repeated=st.integers(1, 3))
def test_a_batch_agrees_with_its_twin(lanes: int, messages: list[bytes], repeated: int) -> None:
    messages = [message for message in messages for _ in range(repeated)]
    batch = Batch(lanes)
    for _ in range(2):
        assert run(batch, (LAYOUT,), (None, None), messages, NOW) is None
        expected = [b""] * len(messages)
        for key, (folded, canonical) in enumerate(TEMPLATES):
            digests = batch.digests(key)
            assert digests == [oracle.digest(message, (1, 0), canonical, NOW) for message in messages]
            signatures = [digest * (key + 1) for digest in digests]
            batch.put(key, signatures)
            assert batch.digests(key) == []
            for number, message in enumerate(messages):
                expected[number] += oracle.line(message, folded, NOW, signatures[number])
        assert batch.lines() == expected
        batch.release()


@pytest.mark.parametrize(
    "event", [b" ", b"\t", b"  ", b" \r\n", b"\t \r\n", b" \r", b" \n", b"\r\n", b" \r\n ", b"\r\n\r\n"]
)
def test_an_event_in_a_body_is_seen_at_every_distance_from_a_block_edge(event: bytes) -> None:
    tails = (b"", b"b", b"b\r\n", b"b" * 70 + b"\r\n", b"b  c" * 40 + b"\r\n")
    messages = [
        b"From: a\r\nSubject: b\r\n\r\n" + b"a" * before + event + tail for before in range(140) for tail in tails
    ]
    batch = Batch()
    assert run(batch, (LAYOUT,), (None, None), messages, NOW) is None
    assert batch.digests(0) == [oracle.digest(message, (1, 0), TEMPLATES[0][1], NOW) for message in messages]


def test_the_names_of_a_header_that_no_layout_fits_are_told_and_the_batch_can_go_on() -> None:
    batch = Batch()
    others = [
        b"From: a\r\n\r\n",
        b"From: a\r\nX: b\r\n\r\n",
        b"Subject: b\r\nFrom: a\r\n\r\n",
        b"From: a\r\nsubjects: b\r\n",
    ]
    for other in others:
        names = tuple(name for name, _ in oracle.fields_of(other)[0])
        assert run(batch, (LAYOUT,), (None, None), [MESSAGE, other], NOW) == names
        layout = Layout(names, (0,), TEMPLATES)
        assert run(batch, (LAYOUT, layout), (None, None), [MESSAGE, other, MESSAGE], NOW) is None
        assert batch.digests(1)[1] == oracle.digest(other, (0,), TEMPLATES[1][1], NOW)
        assert batch.digests(1)[0] == batch.digests(1)[2]


def test_a_header_of_hundreds_of_fields_is_read_whole() -> None:
    count = 700
    message = b"".join(b"X-%d: %s\r\n" % (number, b"y" * number) for number in range(count)) + b"\r\nbody"
    layout = Layout(tuple(b"x-%d" % number for number in range(count)), tuple(range(count)), TEMPLATES[:1])
    batch = Batch()
    assert run(batch, (layout,), (None,), [message], NOW) is None
    assert batch.digests(0) == [oracle.digest(message, range(count), TEMPLATES[0][1], NOW)]


def test_large_bodies_and_many_of_them_fit_and_are_let_go() -> None:
    messages = [MESSAGE + b"two  spaces\r\n" * 100_000 + b"%d\r\n" % number for number in range(20)]
    batch = Batch()
    assert run(batch, (LAYOUT,), (None, None), messages, NOW) is None
    assert batch.digests(0) == [oracle.digest(message, (1, 0), TEMPLATES[0][1], NOW) for message in messages[:20]]


def test_messages_are_held_until_release() -> None:
    messages = [MESSAGE]
    layout = Layout((b"from", b"subject"), (0,), TEMPLATES[:1])
    batch = Batch()
    assert run(batch, (layout,), (None,), messages, NOW) is None
    expected = oracle.digest(MESSAGE, (0,), TEMPLATES[0][1], NOW)
    messages.clear()
    gc.collect()
    assert batch.digests(0) == [expected]
    batch.release()
    assert batch.lines() == []


@pytest.mark.parametrize("line", [b" folded: first\r\n", b"no colon\r\n", b": no name\r\n"])
def test_a_line_that_is_no_field_is_shown(line: bytes) -> None:
    batch = Batch()
    with pytest.raises(ValueError, match="does not begin with a name and a colon") as caught:
        run(batch, (LAYOUT,), (None, None), [MESSAGE, b"From: a\r\n" + line + b"\r\n" if line[0] != 32 else line], NOW)
    assert repr(line)[2:12] in str(caught.value)


def test_what_does_not_fit_together_is_refused() -> None:
    batch = Batch()
    with pytest.raises(ValueError, match="other keys"):
        run(batch, (LAYOUT,), (None,), [MESSAGE], NOW)
    with pytest.raises(IndexError):
        Layout((b"from",), (1,), TEMPLATES)
    assert run(batch, (LAYOUT,), (None, None), [MESSAGE, MESSAGE], NOW) is None
    with pytest.raises(RuntimeError, match="not all is signed"):
        batch.lines()
    with pytest.raises(ValueError, match="not one signature a digest"):
        batch.put(0, [b"x"])
    with pytest.raises(ValueError, match="different lengths"):
        batch.put(0, [b"x", b"yz"])
    for key in (-1, 2):
        with pytest.raises(IndexError):
            batch.digests(key)
    with pytest.raises(ValueError, match="32 bytes"):
        LaneKey.ed25519((1, 1), 4, b"short", bytes(32))
    with pytest.raises(ValueError, match="RSA key"):
        LaneKey.rsa((1, 1), (1, 1), 64, 3, bytes(600), [b""] * 6)
    with pytest.raises(ValueError, match="too long"):
        LaneKey.rsa((1, 1), (1, 1), 64, 3, bytes(96), [bytes(300)] * 6)
    with pytest.raises(ValueError, match="digests have 32 bytes"):
        LaneKey.ed25519((1, 1), 4, bytes(32), bytes(32)).sign([b"short"])
