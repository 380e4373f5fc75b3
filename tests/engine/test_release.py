"""What a run leaves in the memory of its process: nothing."""

import gc
from pathlib import Path

from bulkmail import Engine
from bulkmail.engine.node import Node
from tests.dns.server import records
from tests.engine.exchanger import Guest
from tests.engine.scene import Internet, addresses, run


def nodes() -> int:
    gc.collect()
    return sum(type(one) is Node for one in gc.get_objects())


def test_a_lane_that_was_forgotten_does_not_keep_a_run_that_is_over(tmp_path: Path) -> None:
    refused: set[str] = set()

    def greylisting(stage: str, guest: Guest, argument: str) -> str | None:
        if stage == "rcpt" and argument not in refused:
            refused.add(argument)
            return "451 4.7.1 greylisted"
        return None

    async def main() -> None:
        async with Internet() as internet:
            await internet.exchanger("mx.shop.example", lambda *_: None)
            await internet.exchanger("mx.late.example", greylisting, "late.example")
            # Another host, to be asked if the first were slow: in ten seconds.
            hosts = records("shop.example 300 MX 10 mx.shop.example.", "shop.example 300 MX 20 mx2.shop.example.")
            internet.dns.on("MX", "shop.example", hosts)
            # The first lane is idle and forgotten, after two seconds, before the other is through.
            campaign = internet.campaign(
                tmp_path,
                [*addresses(1), "late@late.example"],
                delivery={"retry": ["4s"], "expire": "1m"},
                limits={"default": {"messages_per_connection": 1}},
            )
            async with Engine(tmp_path / "state", signers=1) as engine:
                async for _ in engine.send(campaign):
                    pass
                assert engine.summary is not None and engine.summary.delivered == 2
            assert nodes() == 0

    run(main())
