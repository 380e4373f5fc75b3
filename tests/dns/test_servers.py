"""Which servers are asked: as written in the campaign, else the system's."""

import socket
from pathlib import Path

import pytest

from bulkmail.clock import SystemClock
from bulkmail.dns.resolver import Resolver
from bulkmail.dns.servers import parse_server, system_servers
from bulkmail.errors import CampaignError


@pytest.mark.parametrize(
    ("text", "shown", "family", "address"),
    [
        ("192.0.2.53", "192.0.2.53:53", socket.AF_INET, ("192.0.2.53", 53)),
        ("127.0.0.1:5353", "127.0.0.1:5353", socket.AF_INET, ("127.0.0.1", 5353)),
        ("2001:db8::53", "[2001:db8::53]:53", socket.AF_INET6, ("2001:db8::53", 53, 0, 0)),
        ("[2001:db8::53]", "[2001:db8::53]:53", socket.AF_INET6, ("2001:db8::53", 53, 0, 0)),
        ("[::1]:5353", "[::1]:5353", socket.AF_INET6, ("::1", 5353, 0, 0)),
    ],
)
def test_a_server_is_written_as_an_address_with_or_without_port(
    text: str, shown: str, family: int, address: tuple[str | int, ...]
) -> None:
    server = parse_server(text, default_port=53, path="dns.servers[0]")
    assert (server.text, server.family, server.address) == (shown, family, address)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":53", "dns.example", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "192.0.2.53:x"),
        *("192.0.2.53:²", "192.0.2.300", "[::1", "[::1]53", "[::1]:", "1:2:3", "a\0b"),
    ],
)
def test_what_is_no_server_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(CampaignError, match="is not a DNS server; write it as") as caught:
        Resolver(["127.0.0.1", text], clock=SystemClock())
    assert caught.value.path == "dns.servers[1]"


def test_the_system_servers_are_used_when_none_are_named(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("# local\nsearch example\nnameserver 192.0.2.1\noptions edns0\nnameserver 2001:db8::2\n")
    assert [server.text for server in system_servers(str(conf), default_port=53)] == [
        "192.0.2.1:53",
        "[2001:db8::2]:53",
    ]


@pytest.mark.parametrize("content", [None, "", "search example\n"])
def test_no_server_anywhere_is_said_with_what_to_do(tmp_path: Path, content: str | None) -> None:
    conf = tmp_path / "resolv.conf"
    if content is not None:
        conf.write_text(content)
    with pytest.raises(CampaignError, match=r"no DNS server is known.*name one in the campaign file"):
        Resolver(clock=SystemClock(), resolv_conf=str(conf))
