"""How the connections of a campaign are made: from where, how fast, to mail exchangers and to what it names itself."""

import os
import resource
import socket
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from bulkmail.address import parse_mailbox
from bulkmail.config.findings import key_path
from bulkmail.config.secrets import password_of
from bulkmail.dkim.signing import Signer, load_keys
from bulkmail.engine.dialer import Transport
from bulkmail.engine.ways import Ways
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign, Delivery, EgressSource, Relay, TlsMode
from bulkmail.net.tls import client_context
from bulkmail.net.tokens import TIMEOUT_SECONDS, TokenSource
from bulkmail.policy.pacing import PacingSettings
from bulkmail.sandbox.stay import in_sandbox
from bulkmail.smtp.sasl import Credentials

# So many that a thousand hosts that keep us waiting leave enough to the rest; one under TLS takes up to 100 KB.
MOST_CONNECTIONS = 2500
FEWEST_CONNECTIONS = 100
# What a process has open beside them: the store, the journal, the list, sockets of DNS queries.
OTHER_FILES = 250
# The retry delay for which the pacer's own times are made; a campaign that lives faster has them all shortened.
USUAL_RETRY_SECONDS = 300.0
FASTEST_TEMPO = 1 / 600


class Means(Struct, frozen=True, kw_only=True):
    """What a campaign signs with and where it sends: keys, relays and hosts, and how each is connected to."""

    signer: Signer
    ways: Ways
    transports: dict[str, Transport]


def means_of(campaign: Campaign) -> Means:
    """Raises CampaignError for a key, a secret or a certificate that is not to be had, or cannot be used."""
    ways = Ways(campaign.delivery)
    return Means(signer=load_keys(campaign.dkim), ways=ways, transports=transports_of(campaign, ways))


def means_at_hand(campaign: Campaign) -> Means | None:
    """None where the sandbox has keys to make yet, which need a state directory. Raises CampaignError."""
    if campaign.delivery.route == "sandbox":
        there = tuple(key for key in campaign.dkim if os.path.lexists(key.key))
        if len(there) < len(campaign.dkim):
            load_keys(there)
            return None
        campaign = in_sandbox(campaign)
    return means_of(campaign)


def transport_of(campaign: Campaign) -> Transport:
    """To mail exchangers."""
    delivery = campaign.delivery
    tls: TlsMode = "verified" if delivery.requiretls else delivery.tls
    return Transport(
        port=delivery.port,
        tls=tls,
        authorities=campaign.tls.authorities,
        dsn=delivery.dsn,
        requiretls=delivery.requiretls,
    )


def transports_of(campaign: Campaign, ways: Ways) -> dict[str, Transport]:
    """To what the campaign names itself, by the names of `ways`.

    Raises CampaignError where a secret is not to be had, or a certificate cannot be used.

    The error has the path of the relay's key, and never the secret.
    """
    if campaign.delivery.route != "sandbox":
        _check_certificates(campaign, "tls.authorities")
    usual = transport_of(campaign)
    paths = {replace(relay, weight=1, priority=0): path for path, relay in reversed(list(relays_of(campaign.delivery)))}
    transports = {
        name: _to_relay(campaign, relay, paths[replace(relay, weight=1, priority=0)])
        for name, relay in ways.relays.items()
    }
    for name, (host, port) in ways.hosts.items():
        transports[name] = replace(usual, host=host, port=port)
    return transports


def relays_of(delivery: Delivery) -> Iterator[tuple[str, Relay]]:
    """Every relay that mail may go through, with its path in the campaign file."""
    lists = [("delivery.relay", delivery.relay)] if delivery.route == "relay" else []
    if delivery.route != "sandbox":
        lists += [
            (f"{key_path('delivery.routes', pattern)}.relay", route.relay) for pattern, route in delivery.routes.items()
        ]
    for path, relays in lists:
        for index, relay in enumerate(relays):
            yield (f"{path}[{index}]" if len(relays) > 1 else path), relay


def verifies(delivery: Delivery, *, login: bool) -> bool:
    """Whether a relay has to prove its name: always where we log in."""
    return login or delivery.tls == "verified" or delivery.requiretls


def _to_relay(campaign: Campaign, relay: Relay, path: str) -> Transport:
    delivery = campaign.delivery
    _check_certificates(campaign, f"{path}.certificate", relay)
    credentials = None
    if relay.username is not None:
        credentials = Credentials(
            relay.username,
            password_of(relay, file=campaign.file, path=path) or "",
            mechanism=relay.auth,
            host=relay.host,
            port=relay.port,
        )
    return Transport(
        host=relay.host,
        port=relay.port,
        tls="none" if relay.tls == "none" else "required",
        authorities=campaign.tls.authorities,
        certificate=relay.certificate,
        key=relay.key,
        implicit_tls=relay.tls == "implicit",
        verify=verifies(delivery, login=credentials is not None),
        credentials=credentials,
        tokens=_token_source(relay.token_command, delivery) if relay.token_command is not None else None,
        dsn=delivery.dsn,
        requiretls=delivery.requiretls,
    )


def _token_source(command: str, delivery: Delivery) -> TokenSource:
    """Commands that hang leave time to expire in, and to be tried again before that."""
    return TokenSource(command, timeout_seconds=min(TIMEOUT_SECONDS, delivery.expire / 4))


def _check_certificates(campaign: Campaign, path: str, relay: Relay | None = None) -> None:
    """Raises CampaignError where the roots, or with `relay` its certificate and key, cannot be used."""
    file = campaign.tls.authorities if relay is None else relay.certificate
    if file is None:
        return
    try:
        if relay is None:
            client_context(verify=True, authorities=file)
        else:
            client_context(verify=False, certificate=file, key=relay.key)
    except OSError as error:
        needed = "certificates" if relay is None else "a certificate with the key that belongs to it"
        raise CampaignError(
            f"{file} cannot be used: {error.strerror or error}",
            file=campaign.file,
            path=path,
            hint=f"PEM is needed, {needed}",
        ) from None


def egress_sources(campaign: Campaign) -> tuple[EgressSource, ...]:
    """The campaign's sources, or one that leaves the address to the system; each with a name to greet with."""
    fallback = default_ehlo(campaign)
    sources = campaign.delivery.sources or (EgressSource(),)
    return tuple(source if source.ehlo else replace(source, ehlo=fallback) for source in sources)


def default_ehlo(campaign: Campaign) -> str:
    """This host's name where it is a full one (RFC 5321 §2.3.5), else `mail.` and the sender's domain."""
    name = socket.gethostname()
    return name if "." in name.strip(".") else f"mail.{parse_mailbox(campaign.from_).address.domain}"


def pacing_of(campaign: Campaign) -> PacingSettings:
    """Pauses and recoveries in the tempo of the campaign's retry schedule.

    No pause is longer than an eighth of the time to expire: waiting for a lane must not be giving up on its recipients.
    """
    tempo = campaign.delivery.retry[0] / USUAL_RETRY_SECONDS
    pacing = PacingSettings().scaled(min(1.0, max(FASTEST_TEMPO, tempo)))
    return replace(pacing, pause_limit_seconds=campaign.delivery.expire / 8)


def most_connections() -> int:
    """How many connections this process may have open: MOST_CONNECTIONS, or what its limit of open files leaves.

    The limit is raised as far as it is ours to raise (the soft one, up to the hard one).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Half as many more are open where hosts keep us waiting.
    wanted = MOST_CONNECTIONS * 3 // 2 + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):
            pass
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(FEWEST_CONNECTIONS, min(MOST_CONNECTIONS, (soft - OTHER_FILES) * 2 // 3))
