"""Examine each relay: its secret, its address, TLS and certificate, login, and whether it takes our sender."""

import asyncio
import ssl

import aiosmtplib

from bulkmail.config.secrets import password_of
from bulkmail.doctor import probe
from bulkmail.doctor.finding import Finding, advice, fine, problem, unknown
from bulkmail.doctor.scene import Scene
from bulkmail.engine.router import Unroutable, addresses_of_host
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign, Relay
from bulkmail.model.delivery import Reason
from bulkmail.net.tls import client_context
from bulkmail.net.tokens import TokenError, TokenSource
from bulkmail.outbound import relays_of, verifies
from bulkmail.smtp.sasl import Credentials

EXPIRES_SOON_SECONDS = 14 * 86_400.0
_KNOWN_TO_PROBE = {"cram-md5", "plain", "login", "xoauth2"}


async def examine_relays(scene: Scene, campaign: Campaign, sender: str) -> list[Finding]:
    """Log in to each as the engine would, by another client; `sender` is asked for with MAIL, no message is sent."""
    relays = list(relays_of(campaign.delivery))
    each = await asyncio.gather(*(_examine(scene, campaign, relay, path, sender) for path, relay in relays))
    return [finding for some in each for finding in some]


async def _examine(scene: Scene, campaign: Campaign, relay: Relay, path: str, sender: str) -> list[Finding]:
    place = f"{relay.host}:{relay.port}"
    try:
        credentials = await _credentials(relay, campaign, path)
    except (CampaignError, TokenError) as error:
        return [
            problem(
                "relay.secret",
                f"the password for {place} is not to be had",
                str(error.message if isinstance(error, CampaignError) else error),
                remedy=(error.hint if isinstance(error, CampaignError) else None) or f"mend {path}",
            )
        ]
    try:
        context = _context(scene, campaign, relay, credentials)
    except OSError as error:
        return [
            problem(
                "relay.client-certificate",
                f"the certificate to show to {place} cannot be used",
                f"{relay.certificate}: {error.strerror or error}",
                remedy=f"{path}.certificate and key are PEM files that belong together, the key without a pass phrase",
            )
        ]
    addresses = await addresses_of(scene, campaign, relay)
    if isinstance(addresses, Unroutable):
        return [
            problem(
                "relay.unresolved",
                f"the relay {relay.host} has no address",
                addresses.explanation,
                remedy=f"check {path}.host and the DNS servers",
            )
        ]
    try:
        client = await _reach(scene, relay, addresses, context)
    except probe.NotReached as error:
        return [
            problem(
                "relay.unreachable",
                f"the relay {place} cannot be reached",
                str(error),
                remedy=f"check {path}.host and port (587 and 465 are usual), and the firewall",
            )
        ]
    except probe.FAILURES as error:
        return [_tls_or_greeting(relay, place, error)]
    try:
        return await _talk(scene, client, relay, credentials, place, sender, context)
    except probe.FAILURES as error:
        return [
            problem(
                "relay.breaks", f"the relay {place} broke off", probe.why(error), remedy="try again; ask its operator"
            )
        ]
    finally:
        await probe.leave(client)


async def _credentials(relay: Relay, campaign: Campaign, path: str) -> Credentials | None:
    if relay.username is None:
        return None
    if relay.token_command is not None:
        return Credentials(relay.username, token=await TokenSource(relay.token_command).token())
    return Credentials(relay.username, password_of(relay, file=campaign.file, path=path) or "")


def _context(scene: Scene, campaign: Campaign, relay: Relay, credentials: Credentials | None) -> ssl.SSLContext:
    """What the relay has to prove, and is shown, is what the engine asks for and shows. Raises OSError."""
    verify = verifies(campaign.delivery, login=credentials is not None)
    if verify and relay.certificate is None:
        return scene.certificates
    return client_context(
        verify=verify, authorities=campaign.tls.authorities, certificate=relay.certificate, key=relay.key
    )


async def addresses_of(scene: Scene, campaign: Campaign, relay: Relay) -> tuple[str, ...] | Unroutable:
    """As the engine finds them: a relay may stand in /etc/hosts, where no name servers are given."""
    if not campaign.dns.servers:
        return await addresses_of_host(relay.host)
    found = await scene.lookups.addresses(relay.host)
    return found.records or Unroutable(Reason.DNS, found.explanation)


async def _reach(scene: Scene, relay: Relay, addresses: tuple[str, ...], context: ssl.SSLContext) -> aiosmtplib.SMTP:
    failure = probe.NotReached(relay.host)
    for ip in addresses[:3]:
        try:
            return await probe.connected(
                relay.host,
                ip,
                relay.port,
                source=scene.sources[0].address,
                ehlo=str(scene.sources[0].ehlo),
                tls=context if relay.tls == "implicit" else None,
                seconds=scene.connect_seconds,
            )
        except probe.NotReached as error:
            failure = error
    raise failure


def _tls_or_greeting(relay: Relay, place: str, error: BaseException) -> Finding:
    distrust = probe.distrust_of(error)
    if distrust is not None:
        return _bad_certificate(place, distrust)
    if relay.tls == "implicit":
        return problem(
            "relay.tls",
            f"TLS with {place} fails",
            probe.why(error),
            remedy="port 465 is for tls: implicit, 587 for starttls",
        )
    return problem(
        "relay.greeting",
        f"the relay {place} does not greet us",
        probe.why(error),
        remedy="port 587 is for tls: starttls, 465 for implicit; else ask its operator",
    )


def _bad_certificate(place: str, distrust: str) -> Finding:
    return problem(
        "relay.certificate",
        f"the certificate of {place} is not to be trusted; nothing is sent to it",
        distrust,
        remedy="name the relay as its certificate does, have the certificate (and its chain) mended, or name the roots "
        "of its owner's in tls.authorities",
    )


async def _talk(
    scene: Scene,
    client: aiosmtplib.SMTP,
    relay: Relay,
    credentials: Credentials | None,
    place: str,
    sender: str,
    context: ssl.SSLContext,
) -> list[Finding]:
    findings = []
    if relay.tls == "starttls":
        if not client.supports_extension("starttls"):
            return [
                problem(
                    "relay.starttls",
                    f"the relay {place} offers no STARTTLS",
                    "not in its EHLO reply",
                    remedy="use the port that does, or tls: implicit with port 465",
                )
            ]
        try:
            await probe.secure(client, relay.host, context)
        except probe.FAILURES as error:
            distrust = probe.distrust_of(error)
            if distrust is not None:
                return [_bad_certificate(place, distrust)]
            return [problem("relay.tls", f"TLS with {place} fails", probe.why(error), remedy="ask its operator")]
    certificate = probe.certificate_of(client, None)
    if relay.tls == "none":
        findings.append(
            advice(
                "relay.clear", f"mail to {place} travels in clear", "tls: none", remedy="set tls: starttls or implicit"
            )
        )
    elif certificate.expires is not None and certificate.expires - scene.now < EXPIRES_SOON_SECONDS:
        findings.append(
            advice(
                "relay.expires",
                f"the certificate of {place} ends soon",
                certificate.describe(),
                remedy="have it renewed",
            )
        )
    if credentials is not None:
        failure = await _login(client, relay, credentials, place)
        if failure is not None:
            return [*findings, failure]
    try:
        await client.mail(sender)
        await client.rset()
    except aiosmtplib.SMTPResponseException as error:
        findings.append(
            problem(
                "relay.sender",
                f"the relay {place} does not take mail from {sender}",
                probe.why(error),
                remedy="have the address or its domain allowed for this account, or set return_path to one that is",
            )
        )
    if not findings:
        findings.append(fine("relay.ready", f"the relay {place} takes our mail", certificate.describe()))
    return findings


def _login_of(relay: Relay) -> str:
    if relay.auth is not None:
        return f"auth: {relay.auth}"
    return "a token" if relay.token_command is not None else "a password"


async def _login(client: aiosmtplib.SMTP, relay: Relay, credentials: Credentials, place: str) -> Finding | None:
    offered = {mechanism.lower() for mechanism in client.supported_auth_methods}
    announced = client.last_ehlo_response.message.lower() if client.last_ehlo_response else ""
    if not client.supports_extension("auth"):
        return problem(
            "relay.auth-missing",
            f"the relay {place} offers no login",
            "no AUTH in its EHLO reply",
            remedy="use its submission port (587 or 465), or take the username out if it knows you by address",
        )
    wanted = (
        {relay.auth} if relay.auth is not None else {"xoauth2"} if credentials.token else {"cram-md5", "plain", "login"}
    )
    usable = sorted(wanted & offered & _KNOWN_TO_PROBE)
    if not usable:
        untried = (
            {relay.auth} if relay.auth is not None else {"oauthbearer"} if credentials.token else {"scram-sha-256"}
        )
        if any(name in announced.split() for name in untried):
            return unknown(
                "relay.login-untried",
                f"the login at {place} was not tried: the probe knows no mechanism of those offered",
                ", ".join(sorted(offered | untried)),
                remedy="send to one address of your own to try it: bulkmail send --limit 1",
            )
        return problem(
            "relay.mechanism",
            f"the relay {place} offers no mechanism that fits {_login_of(relay)}",
            ", ".join(sorted(offered)),
            remedy=f"set auth to one of those, or leave it out: {', '.join(sorted(offered))}",
        )
    try:
        if credentials.token:
            await client.auth_xoauth2(credentials.username, credentials.token)
        elif relay.auth is not None:
            await getattr(client, f"auth_{relay.auth.replace('-', '')}")(credentials.username, credentials.password)
        else:
            await client.login(credentials.username, credentials.password)
    except aiosmtplib.SMTPException as error:
        said = credentials.redact(probe.why(error).encode()).decode("ascii", "replace")
        return problem(
            "relay.login",
            f"the relay {place} does not accept the login of {credentials.username}",
            said,
            remedy="check username and password; some providers want a password made for applications",
        )
    return None
