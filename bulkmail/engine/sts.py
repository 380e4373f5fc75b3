"""The MTA-STS policies of domains: announced in the DNS, fetched over HTTPS, kept for as long as they say (RFC 8461).

    kept and still valid, same id or none announced   use it; past half of its time, try to have it anew
    kept and still valid, another id announced        fetch; where that fails, the kept one still holds
    none kept, announced                              fetch; where that fails, TLS is required meanwhile
    none kept, none announced                         no policy

What protects a domain today is thus never lost by an attack on its DNS or web server, only by its own time running out.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from msgspec import Struct

from bulkmail.clock import Clock
from bulkmail.dns.answers import DnsOutcome
from bulkmail.dns.resolver import Resolver
from bulkmail.errors import StateError
from bulkmail.http.client import HttpClient
from bulkmail.http.errors import HttpError
from bulkmail.http.fetch import fetch_text
from bulkmail.smtp.sts import POLICY_BYTES, StsError, StsPolicy, announced_id, parse_policy
from bulkmail.store.assurance import KeptPolicy, TlsMemory

# After a fetch that failed: §3.3 says not sooner than that.
PAUSE_SECONDS = 300.0
# A policy is fetched anew, before it expires, at most so often.
REFRESH_SECONDS = 3600.0
FETCHES_AT_ONCE = 100
MOST_ATTEMPTS = 100_000


class StsFinding(Struct, frozen=True, kw_only=True):
    """A domain's policy, and what went wrong in looking for it (`result` in the words of RFC 8460 §4.3).

    Without a policy and `announced`, there is one that could not be had.
    """

    policy: StsPolicy | None = None
    announced: bool = False
    result: str = ""
    explanation: str = ""


class _Attempt(Struct, frozen=True):
    announced: str
    not_before: float
    finding: StsFinding


class StsPolicies:
    """All policies known to one process. `in_store` runs a function on the thread that the memory belongs to.

    `on_failure(domain, result, explanation)` is called once for each fetch that came to nothing.
    """

    def __init__(
        self,
        resolver: Resolver,
        client: HttpClient,
        memory: TlsMemory,
        *,
        port: int,
        clock: Clock,
        in_store: Callable[..., Awaitable[Any]],
        timeout_seconds: float = 60.0,
    ) -> None:
        self._resolver = resolver
        self._client = client
        self._memory = memory
        self._port = port
        self._clock = clock
        self._in_store = in_store
        self._timeout_seconds = timeout_seconds
        self._kept: dict[str, KeptPolicy] = {}
        self._attempts: dict[str, _Attempt] = {}
        self._running: dict[str, asyncio.Task[StsFinding]] = {}
        self._slots = asyncio.Semaphore(FETCHES_AT_ONCE)
        self.on_failure: Callable[[str, str, str], None] = lambda domain, result, explanation: None

    async def load(self) -> None:
        """Take in what earlier processes kept."""
        kept = await self._in_store(self._memory.policies, self._clock.time())
        self._kept = {one.domain: one for one in kept}

    async def of(self, domain: str) -> StsFinding:
        """What holds for mail to `domain` (an A-label) now. Raises nothing for what the DNS and the web do."""
        answer = await self._resolver.txt(f"_mta-sts.{domain}")
        announced = announced_id(answer.texts) if answer.outcome is DnsOutcome.FOUND else None
        now = self._clock.time()
        kept = self._kept.get(domain)
        if kept is not None and kept.expires <= now:
            del self._kept[domain]
            kept = None
        if kept is not None:
            fresh = announced is None or announced == kept.id
            if fresh and now < kept.fetched + kept.policy.max_age_seconds / 2:
                return StsFinding(policy=kept.policy)
        elif announced is None:
            return StsFinding()
        identity = announced if announced is not None or kept is None else kept.id
        assert identity is not None
        attempt = self._attempts.get(domain)
        recent = attempt is not None and self._clock.monotonic() < attempt.not_before
        if attempt is not None and recent and attempt.announced == identity and (kept or not attempt.finding.policy):
            return self._still(domain, attempt.finding)
        return self._still(domain, await self._fetch_once(domain, identity))

    async def close(self) -> None:
        """Give up the fetches in flight."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _still(self, domain: str, finding: StsFinding) -> StsFinding:
        """A fetch that failed leaves the kept policy in force."""
        kept = self._kept.get(domain)
        if finding.policy is not None or kept is None:
            return finding
        return StsFinding(policy=kept.policy, result=finding.result, explanation=finding.explanation)

    async def _fetch_once(self, domain: str, identity: str) -> StsFinding:
        task = self._running.get(domain)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._fetch(domain, identity))
            self._running[domain] = task
            task.add_done_callback(lambda _: self._running.pop(domain, None))
        return await asyncio.shield(task)

    async def _fetch(self, domain: str, identity: str) -> StsFinding:
        port = "" if self._port == 443 else f":{self._port}"
        url = f"https://mta-sts.{domain}{port}/.well-known/mta-sts.txt"
        pause = PAUSE_SECONDS
        try:
            async with self._slots:
                body = await fetch_text(
                    self._client, url, limit_bytes=POLICY_BYTES, timeout_seconds=self._timeout_seconds
                )
            policy = parse_policy(body)
        except HttpError as error:
            result = "sts-webpki-invalid" if error.kind == "tls" else "sts-policy-fetch-error"
            finding = StsFinding(announced=True, result=result, explanation=f"its MTA-STS policy: {error}")
        except StsError as error:
            explanation = f"its MTA-STS policy {error}"
            finding = StsFinding(announced=True, result="sts-policy-invalid", explanation=explanation)
        else:
            now = self._clock.time()
            kept = KeptPolicy(
                domain=domain, id=identity, policy=policy, fetched=now, expires=now + policy.max_age_seconds
            )
            self._kept[domain] = kept
            with suppress(StateError):
                # A full disk: known to this process at least, and written when it is fetched anew.
                await self._in_store(self._memory.keep, kept)
            finding = StsFinding(policy=policy)
            pause = REFRESH_SECONDS
        if finding.result:
            self.on_failure(domain, finding.result, finding.explanation)
        if len(self._attempts) >= MOST_ATTEMPTS:
            del self._attempts[next(iter(self._attempts))]
        self._attempts[domain] = _Attempt(identity, self._clock.monotonic() + pause, finding)
        return finding
