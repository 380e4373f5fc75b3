"""What `check --online` asks the network: recipients' domains, links and pictures."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web

from bulkmail.config.load import load_campaign
from bulkmail.errors import CampaignError
from bulkmail.preflight.network import fetched_findings, find_hosts
from bulkmail.preflight.records import RecordsFile
from tests.preflight.faulty import make_key, sound_campaign


def records(path: Path, text: str) -> RecordsFile:
    (path / "dns.txt").write_text(text)
    return RecordsFile(path / "dns.txt")


def test_domains_that_take_no_mail_are_found_and_the_others_have_their_hosts(tmp_path) -> None:
    lookups = records(
        tmp_path,
        "good.example 3600 IN MX 10 mx.good.example.\nplain.example A 192.0.2.1\nnull.example MX 0 .\n"
        "; a comment\nbare.example TXT hello\n",
    )
    domains = Counter({"good.example": 5, "plain.example": 2, "null.example": 1, "gone.example": 3, "bare.example": 1})
    hosts = asyncio.run(find_hosts(domains, lookups))
    assert hosts.by_domain == {"good.example": ((10, "mx.good.example"),), "plain.example": ((0, "plain.example"),)}
    (finding,) = hosts.findings
    assert finding.rule == "recipients.dead-domain"
    assert finding.what.startswith("3 domains take no mail: gone.example (3)")
    assert "null.example (null MX)" in finding.what and "bare.example" in finding.what


def test_a_line_that_is_no_record_is_named(tmp_path) -> None:
    with pytest.raises(CampaignError) as raised:
        records(tmp_path, "good.example MX 10 mx.good.example\nnonsense\n")
    assert raised.value.line == 2 and "NAME TYPE VALUE" in str(raised.value.hint)


def test_links_are_asked_and_what_is_gone_or_fails_is_found(tmp_path) -> None:
    sound_campaign(tmp_path, make_key())
    asked: Counter[str] = Counter()

    async def answer(request: web.Request) -> web.Response:
        asked[request.path] += 1
        return web.Response(status={"/gone": 404, "/broken": 500, "/moved": 302}.get(request.path, 200), text="x")

    async def main() -> list[tuple[str, str]]:
        application = web.Application()
        application.router.add_get("/{name}", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            host, port = runner.addresses[0][:2]
            at = f"http://{host}:{port}"
            links = [f"{at}/{name}" for name in ("fine", "gone", "broken", "moved")]
            campaign = load_campaign(tmp_path / "campaign.yaml")
            found = await fetched_findings(campaign, links, [f"{at}/gone", f"{at}/fine"])
            return [(finding.rule, finding.what.removeprefix(at)) for finding in found]
        finally:
            await runner.cleanup()

    assert asyncio.run(main()) == [
        ("links.broken", "/gone answers 404"),
        ("links.unanswered", "/broken answers 500"),
        ("images.broken", "/gone answers 404"),
    ]
    assert asked["/moved"] == 1
