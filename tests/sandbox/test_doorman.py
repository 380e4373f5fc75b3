"""Fates and limits."""

import pytest

from bulkmail.sandbox.doorman import Bucket, Doorman, Fate, fate_of
from bulkmail.sandbox.profiles import Manners, load_profiles

PEER = "127.0.0.1"


def test_the_fate_of_an_address_depends_on_seed_and_address_alone() -> None:
    manners = load_profiles().manners["google"]
    addresses = [f"person.{number}@gmail.com" for number in range(3000)]
    first = [fate_of(address, manners, seed=1) for address in addresses]
    assert first == [fate_of(address, manners, seed=1) for address in addresses]
    assert first != [fate_of(address, manners, seed=2) for address in addresses]


def test_a_list_of_consumers_is_mostly_welcome() -> None:
    profiles = load_profiles()
    lost = {Fate.UNKNOWN, Fate.DISABLED, Fate.FULL, Fate.FULL_FOR_NOW, Fate.POLICY, Fate.CONTENT}
    for name in ("google", "yahoo", "outlook", "gmx", "icloud"):
        fates = [fate_of(f"person.{number}@x.example", profiles.manners[name], seed=1) for number in range(5000)]
        assert 0.93 < sum(fate not in lost for fate in fates) / len(fates) < 0.97, name
        assert 0.02 < fates.count(Fate.UNKNOWN) / len(fates) < 0.04, name


@pytest.mark.parametrize(
    ("local", "fate"),
    [
        ("unknown", Fate.UNKNOWN),
        ("Unknown-7", Fate.UNKNOWN),
        ("full.3", Fate.FULL),
        ("quota+x", Fate.FULL_FOR_NOW),
        ("greylist_1", Fate.GREYLISTED),
        ("slow1", Fate.SLOW),
        ("spam", Fate.CONTENT),
        ("drop", Fate.DROP),
        ("cut", Fate.CUT),
        ("welcome", Fate.WELCOME),
        ("fuller", Fate.WELCOME),
        ("slowik", Fate.WELCOME),
        ("j.unknown", Fate.WELCOME),
    ],
)
def test_a_local_part_may_ask_for_its_fate(local: str, fate: Fate) -> None:
    assert fate_of(f"{local}@own.test", Manners(), seed=1) is fate


def test_every_fate_can_be_asked_for_by_its_word() -> None:
    for fate in Fate:
        assert fate_of(f"{fate.value}@own.test", Manners(unknown_share=1.0), seed=1) is fate


def test_connections_are_counted_per_client_and_refusals_count_until_they_leave() -> None:
    doorman = Doorman(Manners(connections=2), seed=1)
    assert [doorman.enter(PEER, 0.0) for _ in range(2)] == [None, None]
    refusal = doorman.enter(PEER, 0.0)
    assert refusal is not None
    assert refusal.code == 421
    assert doorman.enter("127.0.0.2", 0.0) is None
    doorman.leave(PEER)
    doorman.leave(PEER)
    assert doorman.enter(PEER, 0.0) is None
    assert doorman.connections(PEER) == 2


def test_the_rate_limit_speaks_at_its_stage_and_lets_through_again_in_time() -> None:
    doorman = Doorman(Manners(throttle_per_second=10, throttle_burst=2, throttle_stage="rcpt"), seed=1)
    assert doorman.throttle(PEER, "mail", 0.0) is None
    answers = [doorman.throttle(PEER, "rcpt", 0.0) for _ in range(3)]
    assert answers[:2] == [None, None]
    assert answers[2] is not None
    assert doorman.throttle("127.0.0.2", "rcpt", 0.0) is None
    assert doorman.throttle(PEER, "rcpt", 0.05) is not None
    assert doorman.throttle(PEER, "rcpt", 0.2) is None


def test_a_client_that_does_not_slow_down_is_blocked_for_a_while() -> None:
    doorman = Doorman(Manners(throttle_per_second=1, throttle_burst=1, block_after=3, block_seconds=5), seed=1)
    for _ in range(4):
        doorman.throttle(PEER, "mail", 0.0)
    blocked = doorman.enter(PEER, 4.0)
    assert blocked is not None
    assert blocked.code == 554
    assert doorman.enter("127.0.0.2", 4.0) is None
    assert doorman.enter(PEER, 5.5) is None


def test_greylisting_ends_after_its_time_for_the_same_client() -> None:
    doorman = Doorman(Manners(greylist_seconds=2), seed=1)
    address = "greylist@own.test"
    assert [doorman.recipient(PEER, address, now)[1] is None for now in (0.0, 1.9, 2.0, 9.0)] == [
        False,
        False,
        True,
        True,
    ]
    assert doorman.recipient("127.0.0.2", address, 9.0)[1] is not None


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    bucket = Bucket(100.0, 3, 0.0)
    assert sum(bucket.take(1000.0) for _ in range(10)) == 3
