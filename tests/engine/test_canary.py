"""The canary: who goes first, and whether the others follow."""

from bulkmail.engine.canary import CanaryWatch
from bulkmail.engine.timing import Timing
from bulkmail.model.campaign import CampaignFile, Canary, Content
from bulkmail.model.delivery import Disposition
from bulkmail.model.units import Seconds, Share
from bulkmail.store.chunks import HELD_SECONDS

GOOD = {Disposition.OPEN: 90, Disposition.DELIVERED: 10}
BAD = {Disposition.OPEN: 90, Disposition.DELIVERED: 6, Disposition.BOUNCED: 3, Disposition.EXPIRED: 1}


def watch() -> CanaryWatch:
    return CanaryWatch(Canary(first=Share(0.1), wait=Seconds(60), bounced=Share(0.3)), held=90)


def test_the_first_are_a_share_by_hash_and_the_same_ones_each_time() -> None:
    campaign = CampaignFile(
        campaign="c", from_="a@b.example", subject="s", content=Content(text="t"), canary=Canary(first=Share(0.1))
    )
    timing, again = Timing(campaign, began=0.0), Timing(campaign, began=9.0)  # type: ignore[arg-type]
    keys = [f"reader{number}@x.example".encode() for number in range(10_000)]
    first = [key for key in keys if timing.goes_first(key)]
    assert 850 < len(first) < 1_150
    assert first == [key for key in keys if again.goes_first(key)]
    assert {timing.due({}, key) for key in first} == {0.0}
    assert timing.due({}, next(key for key in keys if key not in first)) == HELD_SECONDS


def test_the_others_follow_once_all_of_the_first_were_tried_and_the_wait_is_over() -> None:
    canary = watch()
    assert not canary.look({Disposition.OPEN: 95, Disposition.DELIVERED: 5}, 0.0).release
    assert not canary.look(GOOD, 100.0).release
    assert not canary.look(GOOD, 159.0).release
    assert canary.look(GOOD, 160.0).release


def test_too_many_bounces_pause_the_run_once_and_a_resume_lets_the_others_go() -> None:
    canary = watch()
    canary.look(BAD, 0.0)
    verdict = canary.look(BAD, 60.0)
    assert verdict.reason == "canary: 4 of 10 bounced (40.0%, at most 30.0%)" and not verdict.release
    assert canary.look(BAD, 61.0).release


def test_deferred_ones_count_as_well() -> None:
    canary = watch()
    counts = {Disposition.OPEN: 90, Disposition.DEFERRED: 6, Disposition.DELIVERED: 4}
    canary.look(counts, 0.0)
    assert "6 of 10 deferred" in canary.look(counts, 60.0).reason
