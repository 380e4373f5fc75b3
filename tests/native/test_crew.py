"""The crew: batches go in, are worked on by whatever thread, and come out once; nobody waits for nothing."""

import select
import sys
import threading
from collections.abc import Iterator

import pytest

from bulkmail.dkim.keys import SigningKey
from bulkmail.dkim.multibuffer import MultibufferError
from bulkmail.dkim.signing import Signer
from bulkmail.native.crew import Crew
from bulkmail.native.signing import Batch
from tests.dkim.material import ed25519_key

NOW = 1_700_000_000


def messages_of(number: int) -> list[bytes]:
    return [b"From: a@garden.example\r\nSubject: %d %d\r\n\r\nSeeds\r\n" % (number, index) for index in range(8)]


def signer_of(*, turbo: bool) -> Signer:
    signer = Signer([SigningKey("garden.example", "ed2027", ed25519_key())])
    if turbo:
        try:
            signer.keys[0].accelerate()
        except MultibufferError as error:
            pytest.skip(f"no multi-buffer library here: {error}")
    return signer


def readable(crew: Crew, seconds: float = 0.0) -> bool:
    return bool(select.select([crew.fileno()], [], [], seconds)[0])


def taken(crew: Crew, count: int) -> Iterator[Batch]:
    """As many as there will be, waiting for them as a loop does."""
    while count > 0:
        assert readable(crew, 30.0), "no batch came"
        for batch in crew.take():
            count -= 1
            yield batch


def test_what_needs_no_interpreter_passes_through_and_all_comes_back_signed() -> None:
    signer = signer_of(turbo=True)
    expected = [signer.sign_many(messages_of(number), now=NOW) for number in range(60)]
    crew = Crew()
    returned: list[Batch | None] = []
    threads = [threading.Thread(target=lambda: returned.append(crew.serve())) for _ in range(3)]
    for thread in threads:
        thread.start()
    batches = [signer.prepare(messages_of(number), now=NOW) for number in range(60)]
    for batch in batches:
        crew.submit(batch)
    found = {batches.index(batch): signer.collect(batch) for batch in taken(crew, 60)}
    assert [found[number] for number in range(60)] == expected
    crew.close()
    for thread in threads:
        thread.join(30.0)
    assert returned == [None] * 3
    assert not readable(crew)


def test_a_batch_that_needs_the_interpreter_is_returned_and_comes_out_when_given_back() -> None:
    signer = signer_of(turbo=False)
    crew = Crew()
    batch = signer.prepare(messages_of(1), now=NOW)
    crew.submit(batch)
    assert crew.serve() is batch and batch.seconds > 0.0
    assert not readable(crew) and crew.take() == []
    signer.complete(batch)
    crew.give_back(batch)
    assert readable(crew) and crew.take() == [batch]
    assert not readable(crew) and crew.take() == []
    assert signer.collect(batch) == signer.sign_many(messages_of(1), now=NOW)


def test_the_pipe_has_one_byte_however_much_is_done() -> None:
    signer = signer_of(turbo=False)
    crew = Crew()
    batches = [signer.prepare(messages_of(number), now=NOW) for number in range(5)]
    for batch in batches:
        crew.give_back(batch)
    assert crew.take() == batches
    assert not readable(crew)


def test_what_waits_is_worked_on_before_a_closed_crew_ends() -> None:
    signer = signer_of(turbo=False)
    crew = Crew()
    batches = [signer.prepare(messages_of(number), now=NOW) for number in range(3)]
    for batch in batches:
        crew.submit(batch)
    crew.close()
    assert [crew.serve() for _ in range(4)] == [*batches, None]


def test_what_is_left_in_a_crew_goes_with_it() -> None:
    signer = signer_of(turbo=False)
    crew = Crew()
    batches = [signer.prepare(messages_of(number), now=NOW) for number in range(2)]
    before = [sys.getrefcount(batch) for batch in batches]
    crew.submit(batches[0])
    crew.give_back(batches[1])
    assert [sys.getrefcount(batch) for batch in batches] == [count + 1 for count in before]
    descriptor = crew.fileno()
    del crew
    assert [sys.getrefcount(batch) for batch in batches] == before
    with pytest.raises(OSError):
        select.select([descriptor], [], [], 0)
