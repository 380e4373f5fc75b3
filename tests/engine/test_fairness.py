"""One recipient that a site's refusals are all about: the others of its lane get their mail."""

from pathlib import Path

import pytest

from bulkmail import composition
from bulkmail.engine import courier
from bulkmail.policy.pacing import PacingSettings
from tests.engine.exchanger import Guest
from tests.engine.scene import Internet, addresses, of, run, send


def test_one_recipient_that_closes_its_lane_each_time_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every pause gives the lane's recipients back to the store, as one of a minute does.
    monkeypatch.setattr(courier, "PARK_SECONDS", 0.0)
    monkeypatch.setattr(composition, "pacing_of", lambda campaign: PacingSettings().scaled(1 / 6000))

    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        worst = stage == "rcpt" and argument == "r1@shop.example"
        return "421 4.7.28 unusual rate of unsolicited mail" if worst else None

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", behave, "shop.example")
            campaign = internet.campaign(
                tmp_path, addresses(50), delivery={"expire": "2s"}, limits={"default": {"connections": 1}}
            )
            summary, events = await send(campaign, tmp_path / "state")
        assert (summary.delivered, summary.expired) == (49, 1)
        assert sorted(mx.recipients) == sorted(addresses(50)[1:])
        assert of(events, "r1@shop.example")[-1].disposition == "expired"

    run(scene())
