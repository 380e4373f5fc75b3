"""MTA-STS policies: found, kept over restarts, and not to be shaken off by whoever controls DNS or web (RFC 8461)."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import dns.rcode
import pytest
import uvloop

from bulkmail.clock import SystemClock
from bulkmail.dns.resolver import CacheLimits, Resolver
from bulkmail.engine.sts import StsFinding, StsPolicies
from bulkmail.errors import DiskFull
from bulkmail.http.client import HttpClient
from bulkmail.sandbox.certificate import Authority, server_context
from bulkmail.store.assurance import TlsMemory
from tests.dns.server import DnsServer, failing, nxdomain, records, silence
from tests.http.server import HttpsServer, Script, dripping, endless, says

DOMAIN = "shop.example"
URL = f"mta-sts.{DOMAIN}/.well-known/mta-sts.txt"
POLICY = b"version: STSv1\nmode: enforce\nmx: mx.shop.example\nmax_age: 86400\n"
RECORD = f'_mta-sts.{DOMAIN} 300 TXT "v=STSv1; id=1;"'


class Hands(SystemClock):
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:  # type: ignore[override]
        return time.time() + self.ahead

    def monotonic(self) -> float:  # type: ignore[override]
        return time.monotonic() + self.ahead


class Scene:
    """A DNS, a web server, and policies over them in a state directory."""

    def __init__(self, folder: Path, dns: DnsServer, web: HttpsServer, authority: Authority) -> None:
        self.folder, self.dns, self.web = folder, dns, web
        self.clock = Hands()
        self.failures: list[str] = []
        self._context = ssl.create_default_context(cadata=authority.certificate.decode())

    def announce(self, identity: str = "1") -> None:
        self.dns.has(RECORD.replace("id=1", f"id={identity}"))

    async def ask(self, times: int = 1) -> StsFinding:
        """As a process does that has just begun."""
        limits = CacheLimits(ttl_floor_seconds=0, ttl_ceiling_seconds=0, failure_seconds=0, negative_ceiling_seconds=0)
        resolver = Resolver((self.dns.text,), clock=self.clock, timeout_seconds=0.5, cache=limits)

        async def look_up(host: str) -> Sequence[str]:
            return ["127.0.0.1"]

        async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
            return function(*arguments)

        client = HttpClient(look_up, allow_private=True, context=self._context)
        memory = TlsMemory.open(self.folder)
        policies = StsPolicies(
            resolver,
            client,
            memory,
            port=self.web.port,
            clock=self.clock,
            in_store=at_once,
            timeout_seconds=0.3,
        )
        policies.on_failure = lambda domain, result, explanation: self.failures.append(result)
        try:
            await policies.load()
            for _ in range(times):
                found = await policies.of(DOMAIN)
            return found
        finally:
            await policies.close()
            await client.close()
            memory.close()
            await resolver.close()


def play(
    folder: Path,
    main: Callable[[Scene], Awaitable[None]],
    certificate: Callable[[Authority], tuple[bytes, bytes]] = lambda authority: authority.issue([f"mta-sts.{DOMAIN}"]),
) -> None:
    async def scene() -> None:
        authority = Authority(now_seconds=time.time())
        context = server_context(*certificate(authority))
        async with asyncio.timeout(10), DnsServer() as dns, HttpsServer(context) as web:
            await main(Scene(folder, dns, web, authority))

    uvloop.run(scene())


def test_a_domain_that_announces_nothing_is_not_asked(tmp_path: Path) -> None:
    async def main(scene: Scene) -> None:
        assert await scene.ask() == StsFinding()
        assert not scene.web.asked

    play(tmp_path, main)


def test_a_policy_is_fetched_once_and_known_to_the_next_process(tmp_path: Path) -> None:
    async def main(scene: Scene) -> None:
        scene.announce()
        scene.web.scripts[URL] = says(POLICY)
        found = await scene.ask(times=3)
        assert found.policy is not None
        assert (found.policy.mode, found.policy.mx) == ("enforce", ("mx.shop.example",))
        assert (await scene.ask()).policy == found.policy
        assert scene.web.asked == [URL]

    play(tmp_path, main)


@pytest.mark.parametrize(
    ("script", "result"),
    [
        (says(b"", status="302 Found", location=f"https://{URL}x"), "sts-policy-fetch-error"),
        (says(b"", status="404 Not Found"), "sts-policy-fetch-error"),
        (says(POLICY, kind="text/html"), "sts-policy-fetch-error"),
        (says(b"version: STSv1\n"), "sts-policy-invalid"),
        (endless(b"v" * 65536), "sts-policy-fetch-error"),
        (dripping(0.02), "sts-policy-fetch-error"),
    ],
    ids=["redirect", "not found", "html", "half a policy", "endless", "one byte at a time"],
)
def test_a_kept_policy_holds_though_its_new_version_cannot_be_had(tmp_path: Path, script: Script, result: str) -> None:
    async def main(scene: Scene) -> None:
        scene.announce()
        scene.web.scripts[URL] = says(POLICY)
        kept = (await scene.ask()).policy
        scene.announce("2")
        scene.web.scripts[URL] = script
        found = await scene.ask(times=2)
        assert found.policy == kept is not None
        # Not asked again for a while, and counted once.
        assert scene.failures == [result]
        assert found.result == result
        assert len(scene.web.asked) == 2

    play(tmp_path, main)


@pytest.mark.parametrize(
    "script",
    [nxdomain(), failing(dns.rcode.SERVFAIL), silence(), records(RECORD.replace("id=1", "id=?"))],
    ids=["gone", "failing", "silent", "spoilt"],
)
def test_a_kept_policy_holds_though_its_announcement_is_taken_away(tmp_path: Path, script: Any) -> None:
    async def main(scene: Scene) -> None:
        scene.announce()
        scene.web.scripts[URL] = says(POLICY)
        kept = (await scene.ask()).policy
        scene.dns.on("TXT", f"_mta-sts.{DOMAIN}", script)
        scene.web.scripts[URL] = says(b"", status="503 Gone fishing")
        assert (await scene.ask()).policy == kept is not None
        scene.clock.ahead = 86400 * 0.9
        assert (await scene.ask()).policy == kept
        scene.clock.ahead = 86400 * 1.1
        assert (await scene.ask()).policy is None

    play(tmp_path, main)


def test_another_id_brings_the_new_policy(tmp_path: Path) -> None:
    async def main(scene: Scene) -> None:
        scene.announce()
        scene.web.scripts[URL] = says(POLICY)
        await scene.ask()
        scene.announce("2")
        scene.web.scripts[URL] = says(POLICY.replace(b"enforce", b"none"))
        found = await scene.ask()
        assert found.policy is not None and found.policy.mode == "none"
        assert (await scene.ask()) == found

    play(tmp_path, main)


def test_a_policy_past_half_of_its_time_is_had_anew(tmp_path: Path) -> None:
    async def main(scene: Scene) -> None:
        scene.announce()
        scene.web.scripts[URL] = says(POLICY)
        await scene.ask()
        scene.clock.ahead = 86400 * 0.6
        await scene.ask(times=2)
        assert len(scene.web.asked) == 2
        scene.clock.ahead = 86400 * 1.2
        assert (await scene.ask()).policy is not None
        assert len(scene.web.asked) == 3

    play(tmp_path, main)


@pytest.mark.parametrize(
    "certificate",
    [
        lambda authority: authority.issue(["www.shop.example"]),
        lambda authority: authority.issue([f"mta-sts.{DOMAIN}"], days=-1),
        lambda authority: Authority(now_seconds=time.time()).issue([f"mta-sts.{DOMAIN}"]),
    ],
    ids=["another name", "expired", "a stranger's"],
)
def test_a_policy_under_a_bad_certificate_is_none_but_announced(tmp_path: Path, certificate: Any) -> None:
    async def main(scene: Scene) -> None:
        scene.announce()
        scene.web.scripts[URL] = says(POLICY)
        found = await scene.ask(times=2)
        assert (found.policy, found.announced, found.result) == (None, True, "sts-webpki-invalid")
        assert scene.failures == ["sts-webpki-invalid"]
        # The server never heard of what was wanted.
        assert not scene.web.asked

    play(tmp_path, main, certificate)


def test_the_sandbox_and_the_internet_do_not_share_policies(tmp_path: Path) -> None:
    async def main(scene: Scene) -> None:
        scene.announce()
        scene.web.scripts[URL] = says(POLICY)
        await scene.ask()
        for network, count in (("sandbox", 0), ("", 1)):
            memory = TlsMemory.open(tmp_path, network)
            assert len(memory.policies(time.time())) == count
            memory.close()

    play(tmp_path, main)


def test_a_full_disk_does_not_take_the_policy_from_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise DiskFull("no room")

    monkeypatch.setattr(TlsMemory, "keep", refuse)

    async def main(scene: Scene) -> None:
        scene.announce()
        scene.web.scripts[URL] = says(POLICY)
        assert (await scene.ask(times=2)).policy is not None
        assert len(scene.web.asked) == 1

    play(tmp_path, main)
