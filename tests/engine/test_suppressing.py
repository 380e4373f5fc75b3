"""What is put on the list while a run is sent, by another process or by the run's own bounces."""

import subprocess
import sys
import time
from pathlib import Path

from bulkmail.store.suppressions import Suppressions
from tests.engine.exchanger import Guest
from tests.engine.scene import Internet, addresses, of, run, send

ADD = """
import sys, time
from pathlib import Path
from bulkmail.store.suppressions import Suppression, Suppressions
with Suppressions.open(Path(sys.argv[1])) as suppressions:
    sys.stdin.readline()
    for key, scope in (("r290@shop.example", "all"), ("@spam.example", "all"), ("r291@shop.example", "campaign:trial"),
                       ("r292@shop.example", "campaign:other")):
        suppressions.add(Suppression(key=key, scope=scope, address=key, reason="manual", source="test", time=1.0))
    print(time.time(), flush=True)
"""


def test_a_change_by_another_process_holds_within_a_second_for_addresses_domains_and_campaigns(tmp_path: Path) -> None:
    taken: dict[str, float] = {}
    changed: list[float] = []
    other: list[subprocess.Popen[str]] = []

    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        if stage == "rcpt":
            address = argument.partition("<")[2].partition(">")[0] or argument
            taken[address] = time.time()
            if len(taken) == 20:
                assert other[0].stdin is not None and other[0].stdout is not None
                other[0].stdin.write("go\n")
                other[0].stdin.flush()
                changed.append(float(other[0].stdout.readline()))
        return None

    async def scene() -> None:
        async with Internet() as internet:
            await internet.exchanger("mx.shop.example", behave, "shop.example")
            await internet.exchanger("mx.spam.example", behave, "spam.example")
            rows = [*addresses(300), *addresses(100, "spam.example")]
            campaign = internet.campaign(tmp_path, rows, limits={"default": {"messages": "120/s", "connections": 1}})
            with Suppressions.open(tmp_path / "state"):
                pass
            with subprocess.Popen(  # noqa: ASYNC220 - it waits for its line
                [sys.executable, "-c", ADD, str(tmp_path / "state")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as process:
                other.append(process)
                summary, events = await send(campaign, tmp_path / "state")
            assert summary.state == "finished"
            assert summary.delivered + summary.suppressed == 400
            for address in ("r290@shop.example", "r291@shop.example"):
                assert [event.event for event in of(events, address)] == ["suppressed"]
                assert address not in taken
            assert "r292@shop.example" in taken
            late = [at - changed[0] for name, at in taken.items() if name.endswith("@spam.example")]
            assert max(late) < 1.0
            assert summary.suppressed > 2

    run(scene())


def test_soft_bounces_of_several_runs_add_up_until_the_address_is_left_alone(tmp_path: Path) -> None:
    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        return "552 5.2.2 mailbox full" if stage == "rcpt" and "r1@" in argument else None

    async def scene() -> None:
        async with Internet() as internet:
            await internet.exchanger("mx.shop.example", behave, "shop.example")
            campaign = internet.campaign(
                tmp_path, addresses(2), feedback={"soft_bounces": {"count": 2, "within": "1d", "suppress_for": "1h"}}
            )
            counts = []
            for _ in range(3):
                summary, _ = await send(campaign, tmp_path / "state", new_run=True)
                counts.append((summary.delivered, summary.bounced, summary.suppressed))
            assert counts == [(1, 1, 0), (1, 1, 0), (1, 0, 1)]
        with Suppressions.open(tmp_path / "state") as suppressions:
            entry = suppressions.check("r1@shop.example")
            assert entry is not None
            assert entry.reason == "soft_bounces"
            assert entry.expires is not None
            assert 3500 < entry.expires - time.time() < 3700

    run(scene())


def test_rules_of_the_campaign_judge_replies(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(
        '[[rule]]\nid = "odd"\nreason = "user_unknown"\nstages = ["rcpt"]\nphrases = ["nobody of that name"]\n'
    )

    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        return "550 Alas, nobody of that name" if stage == "rcpt" and "r1@" in argument else None

    async def scene() -> None:
        async with Internet() as internet:
            await internet.exchanger("mx.shop.example", behave, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(2), feedback={"rules": "rules.toml"})
            _, events = await send(campaign, tmp_path / "state")
            assert of(events, "r1@shop.example")[-1].reason == "user_unknown"
        with Suppressions.open(tmp_path / "state") as suppressions:
            assert suppressions.contains("r1@shop.example")

    run(scene())
