"""`report --tls --send`: reports reach those who asked, once; by HTTPS, by signed mail, or as files for others."""

import asyncio
import email
import email.policy
import gzip
import json
import ssl
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import dkim
import dns.rcode
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bulkmail.dkim.keys import load_key
from bulkmail.model.campaign import DkimKey
from bulkmail.sandbox.certificate import Authority, server_context
from bulkmail.store.assurance import TlsMemory, TlsSessions
from tests.cli.conftest import Call
from tests.dkim.material import rsa_key
from tests.dns.server import failing
from tests.engine.scene import Internet, run, write_campaign
from tests.http.server import HttpsServer, says

# Counts are kept for a while only.
BEGIN = int(time.time()) // 86400 * 86400 - 3 * 86400
DAY, NEXT = (time.strftime("%Y-%m-%d", time.gmtime(BEGIN + days * 86400)) for days in (0, 1))
WEB = "reports.shop.example"
POLICY = "version: STSv1\nmode: enforce\nmx: mx.shop.example"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(now_seconds=time.time())


class Scene:
    """A domain's mail exchanger, web server and DNS, and the command line beside them."""

    def __init__(self, folder: Path, internet: Internet, web: HttpsServer, call: Call) -> None:
        self.folder, self.internet, self.web, self.call = folder, internet, web, call
        self.state = folder / "state"
        internet.dns.has(f"{WEB} 300 A {web.address}")
        web.scripts[f"{WEB}/tls"] = says(b"thanks")
        self.url = f"https://{WEB}:{web.port}/tls"

    def counted(self, *domains: str, day: str = DAY) -> None:
        self.state.mkdir(exist_ok=True)
        memory = TlsMemory.open(self.state)
        memory.add(TlsSessions(day=day, domain=one, policy_type="sts", policy=POLICY, sessions=3) for one in domains)
        memory.close()

    def wants(self, domain: str, rua: str) -> None:
        self.internet.dns.has(f'_smtp._tls.{domain} 300 TXT "v=TLSRPTv1; rua={rua}"')

    def campaign(self, *, key: Path | None = None, **delivery: Any) -> Path:
        return write_campaign(
            self.folder / "campaign",
            ["nobody@elsewhere.example"],
            delivery={
                "route": "mx",
                "port": self.internet.port or 25,
                "allow_private_mx": True,
                "retry": ["200ms"],
                "expire": "1s",
                **delivery,
            },
            dns={"servers": [self.internet.dns.text], "timeout": "1s", "validating": "loopback"},
            tls={"authorities": str(self.folder / "roots.pem"), "mta_sts_port": self.web.port},
            **({"dkim": [{"domain": "acme.example", "selector": "s1", "key": str(key)}]} if key else {}),
        )

    async def send(self, campaign: Path, *more: object, exit_code: int = 0) -> dict[str, tuple[str, str]]:
        """State and reason by target; by domain where there is none."""
        arguments = ("report", campaign, "--tls", "--send", "--json", "--state", self.state, *more)
        result = await asyncio.to_thread(self.call, *arguments)
        assert result.exit_code == exit_code, result.output
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        return {one["target"] or one["domain"]: (one["state"], one["reason"]) for one in lines}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    path.touch(0o600)
    path.write_bytes(rsa_key(2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.fixture
def play(tmp_path: Path, authority: Authority, call: Call) -> Callable[..., None]:
    def play(main: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
        async def scene() -> None:
            (tmp_path / "roots.pem").write_bytes(authority.certificate)
            context = server_context(*authority.issue([WEB, "mta-sts.shop.example"]))
            async with Internet() as internet, HttpsServer(context) as web:
                await main(Scene(tmp_path, internet, web, call))

        run(scene(), seconds=25)

    return play


def test_a_report_is_posted_once(play: Callable[..., None]) -> None:
    async def main(scene: Scene) -> None:
        scene.counted("shop.example", "silent.example")
        scene.wants("shop.example", scene.url)
        campaign = scene.campaign()
        assert await scene.send(campaign) == {scene.url: ("sent", ""), "silent.example": ("not asked for", "")}
        [head], [body] = scene.web.heads, scene.web.bodies
        assert "Content-Type: application/tlsrpt+gzip\r\n" in head and head.startswith("POST /tls ")
        report = json.loads(gzip.decompress(body))
        assert report["organization-name"] == "acme.example" and report["contact-info"] == "news@acme.example"
        assert report["policies"][0]["summary"]["total-successful-session-count"] == 3
        assert (await scene.send(campaign))[scene.url] == ("sent before", "")
        assert len(scene.web.bodies) == 1
        # Another day is another report; this day is not over.
        today = time.strftime("%Y-%m-%d", time.gmtime())
        scene.counted("shop.example", day=NEXT)
        scene.counted("shop.example", day=today)
        assert (await scene.send(campaign, "--day", NEXT))[scene.url] == ("sent", "")
        result = await asyncio.to_thread(
            scene.call, "report", campaign, "--tls", "--send", "--day", today, "--state", scene.state
        )
        assert result.exit_code == 2 and "not over yet" in result.stderr
        assert len(scene.web.bodies) == 2

    play(main)


def test_what_a_server_does_not_take_is_tried_again_by_the_next_call(play: Callable[..., None]) -> None:
    async def main(scene: Scene) -> None:
        scene.counted("shop.example")
        scene.wants("shop.example", scene.url)
        scene.web.scripts[f"{WEB}/tls"] = says(b"", status="302 Found", location=f"https://{WEB}:{scene.web.port}/x")
        campaign = scene.campaign()
        [(state, reason)] = (await scene.send(campaign, exit_code=3)).values()
        assert state == "failed" and "redirect (302)" in reason
        assert [one.partition("/")[2] for one in scene.web.asked] == ["tls"]
        scene.web.scripts[f"{WEB}/tls"] = says(b"", status="201 Created")
        assert (await scene.send(campaign))[scene.url] == ("sent", "")

    play(main)


def test_no_report_leads_into_our_own_network(play: Callable[..., None]) -> None:
    async def main(scene: Scene) -> None:
        scene.counted("shop.example")
        scene.wants("shop.example", f"{scene.url},https://127.0.0.1:{scene.web.port}/tls")
        found = await scene.send(scene.campaign(allow_private_mx=False), exit_code=3)
        assert {state for state, _ in found.values()} == {"failed"} and len(found) == 2
        assert not scene.web.asked

    play(main)


def test_a_domain_whose_wish_cannot_be_found_out_is_asked_again(play: Callable[..., None]) -> None:
    async def main(scene: Scene) -> None:
        scene.counted("shop.example")
        scene.internet.dns.on("TXT", "_smtp._tls.shop.example", failing(dns.rcode.SERVFAIL))
        [(state, reason)] = (await scene.send(scene.campaign(), exit_code=3)).values()
        assert state == "failed" and "SERVFAIL" in reason

    play(main)


def test_reports_by_mail_are_signed_and_no_tls_policy_stops_them(key: Path, play: Callable[..., None]) -> None:
    record = load_key(DkimKey(domain="acme.example", selector="s1", key=str(key))).record.encode()

    async def main(scene: Scene) -> None:
        # The domain's policy allows no host that it has: all other mail waits.
        stranger = Authority(now_seconds=time.time())
        context: ssl.SSLContext = server_context(*stranger.issue(["other.example"]))
        mx = await scene.internet.exchanger("mx.shop.example", lambda *_: None, "shop.example", tls_context=context)
        scene.internet.dns.has('_mta-sts.shop.example 300 TXT "v=STSv1; id=1;"')
        scene.internet.dns.has(f"mta-sts.shop.example 300 A {scene.web.address}")
        policy = b"version: STSv1\nmode: enforce\nmx: elsewhere.example\nmax_age: 86400"
        scene.web.scripts["mta-sts.shop.example/.well-known/mta-sts.txt"] = says(policy)
        # Two domains have one mailbox for theirs.
        for domain in ("shop.example", "farm.example"):
            scene.counted(domain)
            scene.wants(domain, "mailto:TLS@shop.example")
        campaign = scene.campaign(key=key)
        arguments = ("report", campaign, "--tls", "--send", "--state", scene.state)
        result = await asyncio.to_thread(scene.call, *arguments)
        assert result.exit_code == 0, result.output
        assert result.stdout.count("sent") == 2 and "farm.example" in result.stdout
        assert mx.recipients == ["TLS@shop.example"] * 2
        domains = set()
        for accepted in mx.accepted:
            message = email.message_from_bytes(accepted.data, policy=email.policy.default)
            assert message.get_content_type() == "multipart/report"
            assert message["Content-Type"].params["report-type"] == "tlsrpt"
            domain = str(message["TLS-Report-Domain"])
            domains.add(domain)
            assert message["TLS-Report-Submitter"] == "acme.example"
            assert message["Subject"] == (
                f"Report Domain: {domain} Submitter: acme.example Report-ID: <{DAY}-{domain}@acme.example>"
            )
            text, report = message.iter_parts()
            assert text.get_content_type() == "text/plain" and domain in text.get_content()
            assert report.get_content_type() == "application/tlsrpt+gzip"
            assert report.get_filename() == f"acme.example!{domain}!{BEGIN}!{BEGIN + 86399}!1.json.gz"
            said = json.loads(gzip.decompress(report.get_content()))
            assert said["policies"][0]["policy"]["policy-domain"] == domain
            assert dkim.verify(accepted.data, dnsfunc=lambda *_, **__: record)
        assert domains == {"shop.example", "farm.example"}
        again = await scene.send(campaign)
        assert set(again.values()) == {("sent before", "")} and len(mx.accepted) == 2

    play(main)


def test_mail_that_is_not_taken_is_left_for_the_next_call(key: Path, play: Callable[..., None]) -> None:
    async def main(scene: Scene) -> None:
        def behaviour(stage: str, guest: Any, argument: str) -> str | None:
            return "451 4.3.0 disk full" if stage == "rcpt" else None

        await scene.internet.exchanger("mx.shop.example", behaviour, "shop.example")
        scene.counted("shop.example")
        scene.wants("shop.example", "mailto:tls@shop.example")
        campaign = scene.campaign(key=key)
        [(state, reason)] = (await scene.send(campaign, exit_code=3)).values()
        assert state == "failed" and "disk full" in reason

    play(main)


def test_without_a_key_a_report_by_mail_is_a_file_or_left(tmp_path: Path, play: Callable[..., None]) -> None:
    async def main(scene: Scene) -> None:
        scene.counted("shop.example")
        scene.wants("shop.example", "mailto:tls@shop.example")
        campaign = scene.campaign()
        [(state, reason)] = (await scene.send(campaign, exit_code=3)).values()
        assert state == "failed" and "--eml" in reason
        box = tmp_path / "box"
        missing = await asyncio.to_thread(
            scene.call, "report", campaign, "--tls", "--send", "--state", scene.state, "--eml", box
        )
        assert missing.exit_code == 2 and "no directory" in missing.stderr
        box.mkdir()
        assert set((await scene.send(campaign, "--eml", box)).values()) == {("written", "")}
        [file] = box.iterdir()
        message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
        assert (message["To"], message["TLS-Report-Domain"]) == ("tls@shop.example", "shop.example")
        assert message.get_content_type() == "multipart/report"
        _, report = message.iter_parts()
        assert report.get_content_type() == "application/tlsrpt+gzip"
        assert json.loads(gzip.decompress(report.get_content()))["report-id"] == f"{DAY}-shop.example@acme.example"

    play(main)


def test_what_it_needs_is_said(tmp_path: Path, play: Callable[..., None]) -> None:
    async def main(scene: Scene) -> None:
        scene.counted("shop.example")
        file = await asyncio.to_thread(scene.call, "report", "--tls", "--send", "--state", scene.state)
        assert file.exit_code == 2 and "campaign's file" in file.stderr
        alone = await asyncio.to_thread(scene.call, "report", "--tls", "--eml", tmp_path, "--state", scene.state)
        assert alone.exit_code == 2 and "--send" in alone.stderr
        sandbox = scene.campaign(route="sandbox")
        made_up = await asyncio.to_thread(scene.call, "report", sandbox, "--tls", "--send", "--state", scene.state)
        assert made_up.exit_code == 2 and "delivery.route" in made_up.stderr

    play(main)
