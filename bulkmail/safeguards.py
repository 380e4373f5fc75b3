"""Put the TLS policies of one send together: what was kept, the means to fetch, and the counts for reports."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bulkmail.clock import Clock
from bulkmail.dns.resolver import Resolver
from bulkmail.engine.encryption import Encryption
from bulkmail.engine.sts import FETCHES_AT_ONCE, StsPolicies
from bulkmail.engine.tally import Tally
from bulkmail.errors import CampaignError
from bulkmail.http.client import HttpClient
from bulkmail.model.campaign import Campaign
from bulkmail.net.tls import client_context
from bulkmail.sandbox.process import SandboxProcess
from bulkmail.store.assurance import INTERNET, SANDBOX, TlsMemory


async def open_encryption(
    campaign: Campaign,
    resolver: Resolver,
    directory: Path,
    *,
    stack: AsyncExitStack,
    in_store: Callable[..., Awaitable[Any]],
    sandbox: SandboxProcess | None,
    clock: Clock,
) -> Encryption:
    """The campaign's policies, over the state directory `directory`; `stack` closes what is opened here.

    Raises CampaignError where `tls.authorities` cannot be used.
    """
    settings = campaign.tls
    memory = await in_store(lambda: TlsMemory.open(directory, INTERNET if sandbox is None else SANDBOX))
    stack.push_async_callback(in_store, memory.close)
    await in_store(memory.prune, clock.time())
    tally = Tally(memory.add, clock=clock)
    stack.push_async_callback(in_store, tally.flush)
    authorities = settings.authorities
    if sandbox is not None:
        authorities = str(sandbox.folder / "authority.pem")
        await in_store((sandbox.folder / "authority.pem").write_bytes, sandbox.certificate)
    context = None
    if authorities is not None:
        try:
            context = client_context(verify=True, authorities=authorities)
        except OSError as error:
            raise CampaignError(
                f"{authorities} has no certificates that can be used: {error.strerror or error}",
                file=campaign.file,
                path="tls.authorities",
                hint="a PEM file is needed: -----BEGIN CERTIFICATE-----",
            ) from None
    policies = None
    delivery = campaign.delivery
    if settings.mta_sts and (delivery.route != "relay" or any(route.mx for route in delivery.routes.values())):

        async def look_up(host: str) -> Sequence[str]:
            return (await resolver.addresses(host)).addresses

        allow_private = delivery.allow_private_mx or sandbox is not None
        client = HttpClient(look_up, allow_private=allow_private, context=context, connections=FETCHES_AT_ONCE)
        stack.push_async_callback(client.close)
        policies = StsPolicies(
            resolver,
            client,
            memory,
            port=settings.mta_sts_port if sandbox is None else sandbox.https_port,
            clock=clock,
            in_store=in_store,
        )
        stack.push_async_callback(policies.close)
        await policies.load()
    return Encryption(campaign, resolver, tally=tally, policies=policies, authorities=authorities)
