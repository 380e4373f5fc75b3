"""The DNS servers to ask: from the campaign, or from the system."""

import socket
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from msgspec import Struct

from bulkmail.errors import CampaignError

Trust = Literal["never", "loopback", "always"]


class Server(Struct, frozen=True):
    """A DNS server: `text` for people, `family` and `address` for a socket."""

    text: str
    family: int
    address: tuple[str | int | bytes, ...]


def parse_server(text: str, *, default_port: int, path: str) -> Server:
    """`ip`, `ip:port` or `[ip6]:port`. Raises `CampaignError` at `path`."""
    host, port = text, str(default_port)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _no_server(text, path)
        port = rest[1:] if rest else port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise _no_server(text, path)
    try:
        found = socket.getaddrinfo(host or "?", int(port), type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError, ValueError):
        raise _no_server(text, path) from None
    family, _, _, _, address = found[0]
    return Server(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", family, address)


def system_servers(resolv_conf: str, *, default_port: int) -> list[Server]:
    """The `nameserver` lines of `resolv_conf`. Raises `CampaignError` when there are none."""
    try:
        lines = Path(resolv_conf).read_text("latin-1").splitlines()
    except OSError:
        lines = []
    # resolv.conf(5): a keyword at the very beginning of a line, and its value; the rest is for others.
    words = [line.split() for line in lines if line.startswith("nameserver")]
    addresses = [word[1] for word in words if word[0] == "nameserver" and len(word) > 1]
    if not addresses:
        raise CampaignError(
            f"no DNS server is known: {resolv_conf} names none",
            path="dns.servers",
            hint='name one in the campaign file, such as dns: {servers: ["127.0.0.1"]}',
        )
    return [parse_server(address, default_port=default_port, path=resolv_conf) for address in addresses]


def check_trust(servers: Sequence[Server], trust: Trust) -> None:
    """Raises `CampaignError` where `trust` is `loopback` and a server is elsewhere.

    Between us and a resolver on another machine anybody may set the bit that says "proved". And one untrusted server
    among others would be asked exactly when a trusted one refuses an answer as forged.
    """
    if trust != "loopback":
        return
    for server in servers:
        if not ip_address(str(server.address[0]).partition("%")[0]).is_loopback:
            raise CampaignError(
                f"the DNS server {server.text} is not on this machine: what it says of DNSSEC can be forged on the way",
                path="dns.validating",
                hint="run a validating resolver here (unbound) and name it in dns.servers, or write always where the "
                "way to it is safe",
            )


def _no_server(text: str, path: str) -> CampaignError:
    return CampaignError(
        f"{text!r} is not a DNS server", path=path, hint="write it as 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:53"
    )
