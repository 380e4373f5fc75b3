"""A window of transactions by site: used where asked for, given up for good where something is odd, and remembered."""

from pathlib import Path

import pytest

from tests.engine.exchanger import CLOSE, EXTENSIONS, Behaviour, Guest, yes
from tests.engine.scene import Internet, addresses, run, send

CHUNKING = (*EXTENSIONS, "CHUNKING")
ONE = {"default": {"connections": 1}}


def verbs(guests: list[Guest]) -> set[str]:
    return {line.partition(" ")[0] for guest in guests for line in guest.commands} & {"DATA", "BDAT"}


def once(number: int, answer: str, at: str = "message") -> Behaviour:
    """`answer` to the message that comes as this one, or to its MAIL or RCPT; yes to the others."""
    seen = 0

    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        nonlocal seen
        seen += stage == at
        return answer if stage == at and seen == number else None

    return behave


def test_a_window_is_used_where_it_is_asked_for_by_campaign_or_by_site(tmp_path: Path) -> None:
    async def scene(delivery: dict[str, int], limits: dict[str, object], folder: str) -> list[set[str]]:
        async with Internet() as internet:
            asked = await internet.exchanger("mx.shop.example", yes, "shop.example", extensions=CHUNKING)
            other = await internet.exchanger("mx.farm.example", yes, "farm.example", extensions=CHUNKING)
            people = [*addresses(40), *addresses(40, "farm.example")]
            campaign = internet.campaign(tmp_path / folder, people, delivery=delivery, limits={**ONE, **limits})
            summary, _ = await send(campaign, tmp_path / folder / "state")
        assert summary.delivered == 80
        assert all(b".\r\n" not in message.data[-3:] for message in asked.accepted)
        return [verbs(asked.guests), verbs(other.guests)]

    assert run(scene({"window": 8}, {}, "a")) == [{"BDAT"}, {"BDAT"}]
    assert run(scene({}, {"sites": {"mx.shop.example": {"window": 8}}}, "b")) == [{"BDAT"}, {"DATA"}]
    assert run(scene({"window": 8}, {"sites": {"mx.shop.example": {"window": 1}}}, "c")) == [{"DATA"}, {"BDAT"}]


def test_a_site_that_breaks_off_in_a_window_is_given_one_at_a_time_and_that_is_remembered(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            options = {"extensions": CHUNKING}
            mx = await internet.exchanger("mx.shop.example", once(30, CLOSE), "shop.example", **options)
            campaign = internet.campaign(tmp_path, addresses(200), delivery={"window": 8}, limits=ONE)
            summary, events = await send(campaign, tmp_path / "state")
            assert summary.delivered == 200
            # Those of the window alone, and each of them is known.
            doubts = [event.recipient for event in events if event.event == "in_doubt"]
            assert 1 <= len(doubts) <= 8
            assert len(mx.accepted) - 200 <= len(doubts)
            assert set(mx.recipients) == set(addresses(200))
            said = [event for event in events if event.event == "lane" and "one transaction at a time" in event.reply]
            assert len(said) == 1
            assert said[0].site == "mx.shop.example"
            assert [verbs([guest]) for guest in mx.guests] == [{"BDAT"}, {"DATA"}]
            before = len(mx.guests)
            await send(campaign, tmp_path / "state", new_run=True)
            assert verbs(mx.guests[before:]) == {"DATA"}

    run(scene())


@pytest.mark.parametrize("stage", ["mail", "rcpt", "message"])
def test_a_server_that_shuts_down_in_a_window_leaves_nobody_in_doubt(tmp_path: Path, stage: str) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            behave = once(50, "421 closing", stage)
            mx = await internet.exchanger("mx.shop.example", behave, "shop.example", extensions=CHUNKING)
            campaign = internet.campaign(tmp_path, addresses(200), delivery={"window": 16}, limits=ONE)
            summary, events = await send(campaign, tmp_path / "state")
        assert summary.delivered == 200
        assert [event for event in events if event.event == "in_doubt"] == []
        assert sorted(mx.recipients) == sorted(addresses(200))
        # It is no fault of the window, which stays; and one such end is no limit of messages a connection.
        assert [verbs([guest]) for guest in mx.guests] == [{"BDAT"}, {"BDAT"}]

    run(scene())


def test_a_server_that_offers_chunking_and_does_not_know_bdat_gets_all_its_mail(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", bdat_unknown, "shop.example", extensions=CHUNKING)
            campaign = internet.campaign(tmp_path, addresses(50), delivery={"window": 8}, limits=ONE)
            summary, events = await send(campaign, tmp_path / "state")
        assert summary.delivered == 50
        assert [event.attempt for event in events if event.event == "attempt"] == [1] * 50
        assert len(mx.guests) == 1

    def bdat_unknown(stage: str, guest: Guest, argument: str) -> str | None:
        return "502 5.5.1 what?" if stage == "message" and guest.commands[-1].startswith("BDAT") else None

    run(scene())
