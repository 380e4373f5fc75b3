"""A send as `composition` puts it together, with what touches the world replaced by the simulation's."""

import random
import sys
from collections.abc import AsyncIterable, Iterable
from pathlib import Path
from typing import Any

from msgspec import structs

from bulkmail.composition import Send, SendOptions
from bulkmail.dns.resolver import Resolver
from bulkmail.engine.options import NodeOptions
from bulkmail.events.log import EventLog
from bulkmail.model.campaign import Campaign, Delivery, EgressSource, Relay, TlsSettings
from bulkmail.simulation.disk import Disk, DiskLog
from bulkmail.simulation.internet import DNS_SERVER, PORT, Internet, InternetDns
from bulkmail.simulation.loop import VirtualClock
from bulkmail.store.database import SECRET_BYTES, Database
from bulkmail.store.directory import DATABASE, make_directory
from bulkmail.store.store import Store

# A node looks around four times a second; days of simulated waiting need not.
SWEEP_SECONDS = 1.0


class SimulatedSend(Send):
    """`campaign` is one that `simulated` made. The same `rng`, internet and clock give the same send."""

    def __init__(
        self,
        campaign: Campaign,
        directory: Path,
        *,
        internet: Internet,
        disk: Disk,
        clock: VirtualClock,
        rng: random.Random,
        recipients: Iterable[Any] | AsyncIterable[Any] | None = None,
        options: SendOptions | None = None,
        sweep_seconds: float = SWEEP_SECONDS,
    ) -> None:
        super().__init__(campaign, directory, recipients=recipients, options=options, clock=clock)
        self._internet = internet
        self._disk = disk
        self._rng = rng
        self._sweep_seconds = sweep_seconds

    def _open_store(self) -> Store:
        prepare(self.directory, self._rng)
        return Store.open(self.directory, clock=self._clock, **self._disk.journal_options())

    def _open_log(self, path: Path) -> EventLog:
        return DiskLog(path, self._disk)

    def _resolver(self, campaign: Campaign) -> Resolver:
        timeout = campaign.dns.timeout
        return Resolver(
            (DNS_SERVER,),
            timeout_seconds=timeout,
            clock=self._clock,
            exchange=InternetDns(self._internet, timeout_seconds=timeout),
        )

    def _node_options(self, campaign: Campaign) -> NodeOptions:
        options = super()._node_options(campaign)
        options = structs.replace(options, signers=1, most_sites=sys.maxsize, watch=False)
        return structs.replace(options, sweep_seconds=self._sweep_seconds)


def _open_relays(relays: tuple[Relay, ...]) -> tuple[Relay, ...]:
    return tuple(
        Relay(host=one.host, port=one.port, tls="none", priority=one.priority, weight=one.weight, limits=one.limits)
        for one in relays
    )


def prepare(directory: Path, rng: random.Random) -> None:
    """Make a state directory whose secret repeats with the seed, and so its tokens and all that is derived from them.

    Nothing where there is one.
    """
    make_directory(directory)
    if (directory / DATABASE).exists():
        return
    database = Database(directory / DATABASE)
    try:
        with database.transaction() as connection:
            connection.execute("UPDATE meta SET value = ? WHERE name = 'secret'", (rng.randbytes(SECRET_BYTES),))
    finally:
        database.close()


def simulated(campaign: Campaign) -> Campaign:
    """The campaign as it is sent in a simulation: to exchangers that speak no TLS, unsigned, telling nobody.

    Limits, retries and routes stay as they are; relays take mail from anybody, so that no secret is needed.
    """
    delivery = campaign.delivery
    sources = tuple(
        structs.replace(source, address=f"127.0.1.{position}")
        for position, source in enumerate(delivery.sources or (EgressSource(),), start=1)
    )
    delivery = structs.replace(
        delivery,
        route="mx" if delivery.route == "sandbox" else delivery.route,
        port=PORT,
        allow_private_mx=True,
        relay=_open_relays(delivery.relay),
        routes={}
        if delivery.route == "sandbox"
        else {name: structs.replace(one, relay=_open_relays(one.relay)) for name, one in delivery.routes.items()},
        tls="none",
        requiretls=False,
        sources=sources,
    )
    assert isinstance(delivery, Delivery)
    return structs.replace(
        campaign,
        delivery=delivery,
        dkim=(),
        webhooks=(),
        send_at=None,
        dns=structs.replace(campaign.dns, servers=(DNS_SERVER,), validating="never"),
        tls=TlsSettings(mta_sts=False, dane=False),
    )
