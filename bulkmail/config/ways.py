"""Check the relays and routes of a campaign file: hosts, logins, and domains that are sent another way."""

import re
import shlex
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from bulkmail.address import AddressError, parse_domain
from bulkmail.config.document import quoted
from bulkmail.config.findings import Findings, key_path
from bulkmail.model.campaign import Delivery, DomainRoute, Relay
from bulkmail.policy.route import endpoint_of

SECRETS = ("password_env", "password_file", "token_command")
# Mechanisms that take a bearer token, and those that do not show the password to whoever listens.
TOKEN_MECHANISMS = ("xoauth2", "oauthbearer")
DISCREET_MECHANISMS = ("scram-sha-256", "cram-md5")

dns_name = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}"
    r"[A-Za-z0-9_])?)*"
).fullmatch
_variable = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch
_control = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]").search


def check_relays(relays: Sequence[Relay], path: str, findings: Findings) -> None:
    """Add what is wrong with each, and with two that are the same."""
    seen: dict[tuple[str, int, str | None], str] = {}
    for index, relay in enumerate(relays):
        place = relay_path(path, index, findings)
        _check_relay(relay, place, findings)
        identity = (relay.host.lower(), relay.port, relay.username)
        if identity in seen:
            findings.add(place, f"the same relay as {seen[identity]}", hint="give one of them a larger weight")
        seen.setdefault(identity, place)


def relay_path(path: str, index: int, findings: Findings) -> str:
    """`delivery.relay[1]`, or `delivery.relay` where one is written without the list."""
    item = f"{path}[{index}]"
    return item if findings.is_placed(item) else path


def relays_in_use(delivery: Delivery, findings: Findings) -> Iterator[tuple[str, Relay]]:
    """Every relay that mail may go through, with its path."""
    if delivery.route == "relay":
        for index, relay in enumerate(delivery.relay):
            yield relay_path("delivery.relay", index, findings), relay
    if delivery.route != "sandbox":
        for pattern, route in delivery.routes.items():
            for index, relay in enumerate(route.relay):
                yield relay_path(f"{key_path('delivery.routes', pattern)}.relay", index, findings), relay


def check_routes(delivery: Delivery, findings: Findings) -> None:
    """Add what is wrong with `delivery.routes`."""
    seen: dict[str, str] = {}
    for pattern, route in delivery.routes.items():
        path = key_path("delivery.routes", pattern)
        try:
            parse_domain(pattern.removeprefix("*."))
        except AddressError as error:
            findings.add(path, f"{quoted(pattern)}: {error}", hint='write example.org or "*.example.org"')
        folded = folded_name(pattern)
        if folded in seen:
            findings.add(path, f"the same as {seen[folded]}")
        seen.setdefault(folded, pattern)
        _check_way(route, path, findings)


def _check_way(route: DomainRoute, path: str, findings: Findings) -> None:
    ways = [name for name, given in (("relay", route.relay), ("hosts", route.hosts), ("mx", route.mx)) if given]
    if len(ways) != 1:
        found = f"{' and '.join(ways)} are there" if ways else "none is there"
        findings.add(path, f"exactly one of relay, hosts and mx is needed, {found}", hint="or leave the route out")
    check_relays(route.relay, f"{path}.relay", findings)
    for index, text in enumerate(route.hosts):
        host, _ = endpoint_of(text, 25)
        if not dns_name(host) and not is_ip(host):
            findings.add(
                f"{path}.hosts[{index}]",
                f"{quoted(text)} is no host with or without a port",
                hint="write mx1.example.org, mx1.example.org:2525, 192.0.2.1:25 or [2001:db8::1]:25",
            )
        elif text in route.hosts[:index]:
            findings.add(f"{path}.hosts[{index}]", "the same host twice")


def _check_relay(relay: Relay, path: str, findings: Findings) -> None:
    if not dns_name(relay.host) and not is_ip(relay.host):
        findings.add(f"{path}.host", f"{quoted(relay.host)} is no host name", hint=_better_host(relay.host))
    given = [name for name in SECRETS if getattr(relay, name) is not None]
    if relay.username is None:
        for name in given:
            findings.add(f"{path}.{name}", f"{name} needs a username")
        if relay.auth is not None:
            findings.add(f"{path}.auth", "auth needs a username")
    elif not given:
        findings.add(f"{path}.username", "a username needs password_env, the environment variable with the password")
    if len(given) > 1:
        findings.add(f"{path}.{given[1]}", f"{given[0]} is there too; one secret is enough")
    if relay.password_env is not None and not _variable(relay.password_env):
        # The text may be the password itself: not shown.
        findings.add(f"{path}.password_env", "is no name of an environment variable", hint="never put a password here")
    if relay.token_command is not None and not _words(relay.token_command):
        findings.add(f"{path}.token_command", "is empty, or a quote in it is not closed")
    if relay.username is not None and (not relay.username or _control(relay.username)):
        findings.add(f"{path}.username", "is empty or has a control character")
    if relay.certificate is None and relay.key is not None:
        findings.add(f"{path}.key", "key needs certificate, the file with the certificate that it is for")
    if relay.certificate is not None and relay.tls == "none":
        findings.add(f"{path}.tls", "none shows no certificate", hint="use starttls or implicit")
    if relay.username is not None and given:
        _check_login(relay, path, findings)


def _check_login(relay: Relay, path: str, findings: Findings) -> None:
    token = relay.token_command is not None
    if relay.auth is not None and (relay.auth in TOKEN_MECHANISMS) != token:
        needed = "token_command" if not token else "password_env or password_file"
        findings.add(f"{path}.auth", f"{relay.auth} needs {needed}")
    elif relay.tls == "none" and relay.auth not in DISCREET_MECHANISMS:
        what = "token" if token else "password"
        findings.add(f"{path}.tls", f"none would send the {what} in clear", hint="use starttls or implicit")


def _better_host(text: str) -> str:
    folded = folded_name(text)
    if folded != text.lower() and dns_name(folded):
        return f"in the DNS it is {folded}"
    return "the port has a key of its own"


def folded_name(name: str) -> str:
    """The form in which a site pattern or domain is looked up: lower case, A-labels."""
    star = "*." if name.startswith("*.") else ""
    try:
        return star + parse_domain(name.removeprefix("*."))
    except AddressError:
        return name.lower()


def is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return []
