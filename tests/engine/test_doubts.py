"""The connection dies between the end of a message and its reply: known, and treated as the campaign says."""

from pathlib import Path

import pytest

from tests.engine.exchanger import CLOSE, HANG, RESET, Guest
from tests.engine.scene import Internet, addresses, of, run, send


@pytest.mark.parametrize("cut", [CLOSE, RESET])
@pytest.mark.parametrize(
    ("policy", "outcome", "copies"),
    [("resend", "delivered", 2), ("hold", "in_doubt", 1), ("assume_delivered", "delivered", 1)],
)
def test_a_message_without_a_reply_is_in_doubt_and_treated_by_the_policy(
    tmp_path: Path, cut: str, policy: str, outcome: str, copies: int
) -> None:
    cuts: list[str] = []

    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        if stage == "message" and argument.startswith("r7@") and not cuts:
            cuts.append(argument)
            return cut
        return None

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", behave, "shop.example")
            campaign = internet.campaign(
                tmp_path, addresses(20), delivery={"in_doubt": policy}, limits={"default": {"connections": 2}}
            )
            summary, events = await send(campaign, tmp_path / "state")
            assert summary.state == "finished"
            assert (summary.delivered, summary.in_doubt) == (19 + (outcome == "delivered"), outcome == "in_doubt")
            assert mx.recipients.count("r7@shop.example") == copies
            story = of(events, "r7@shop.example")
            assert story[0].event == "in_doubt"
            assert story[-1].disposition == outcome
            assert {
                one: mx.recipients.count(one) for one in addresses(20) if one != "r7@shop.example"
            } == dict.fromkeys((one for one in addresses(20) if one != "r7@shop.example"), 1)
            again, events = await send(campaign, tmp_path / "state")
            assert (again.delivered, again.in_doubt, events) == (summary.delivered, summary.in_doubt, [])

    run(scene())


def test_a_message_sent_twice_is_the_same_message(tmp_path: Path) -> None:
    seen: set[str] = set()

    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        if stage == "message" and argument not in seen:
            seen.add(argument)
            return CLOSE
        return None

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", behave, "shop.example")
            await send(internet.campaign(tmp_path, addresses(3)), tmp_path / "state")
        for address in addresses(3):
            first, second = [message.data for message in mx.accepted if message.recipient == address]
            without_date = [
                [line for line in data.split(b"\r\n") if not line.startswith(b"Date:")] for data in (first, second)
            ]
            assert without_date[0] == without_date[1]

    run(scene())


def test_a_reply_that_does_not_come_in_time_leaves_a_doubt(tmp_path: Path, short_timeouts: object) -> None:
    short_timeouts(message=0.4)  # type: ignore[operator]

    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        return HANG if stage == "message" and argument.startswith("r1@") else None

    async def scene() -> None:
        async with Internet() as internet:
            await internet.exchanger("mx.shop.example", behave, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(4), delivery={"in_doubt": "hold"})
            summary, events = await send(campaign, tmp_path / "state")
        assert (summary.delivered, summary.in_doubt) == (3, 1)
        assert "no reply" in (of(events, "r1@shop.example")[-1].reply or "")

    run(scene())
