"""Which IP addresses mail must not be sent to, though a name resolves to them.

A domain's owner chooses what its MX hosts resolve to: without this, mail for `victim.example` could be turned at the
sender's own network. Only what the registries hold for the public Internet is left (IANA special-purpose registries of
RFC 6890; multicast RFC 5771). An IPv6 address that carries an IPv4 address is judged by the one it carries.
"""

from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_V4 = tuple(
    (IPv4Network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "unspecified, this network (RFC 1122)"),
        ("10.0.0.0/8", "private (RFC 1918)"),
        ("100.64.0.0/10", "shared behind a provider's NAT (RFC 6598)"),
        ("127.0.0.0/8", "loopback (RFC 1122)"),
        ("168.63.129.16/32", "a cloud's own service address"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata (RFC 3927)"),
        ("172.16.0.0/12", "private (RFC 1918)"),
        ("192.0.0.0/24", "for protocols only (RFC 6890)"),
        ("192.0.2.0/24", "for documentation (RFC 5737)"),
        ("192.88.99.0/24", "a 6to4 relay (RFC 7526)"),
        ("192.168.0.0/16", "private (RFC 1918)"),
        ("198.18.0.0/15", "for benchmarks (RFC 2544)"),
        ("198.51.100.0/24", "for documentation (RFC 5737)"),
        ("203.0.113.0/24", "for documentation (RFC 5737)"),
        ("224.0.0.0/4", "multicast (RFC 5771)"),
        ("255.255.255.255/32", "broadcast (RFC 919)"),
        ("240.0.0.0/4", "reserved (RFC 1112)"),
    )
)

_V6 = tuple(
    (IPv6Network(network), reason)
    for network, reason in (
        ("::/128", "unspecified (RFC 4291)"),
        ("::1/128", "loopback (RFC 4291)"),
        ("100::/64", "discarded (RFC 6666)"),
        ("64:ff9b:1::/48", "a local translation prefix (RFC 8215)"),
        ("2001::/23", "for protocols only (RFC 2928)"),
        ("2001:db8::/32", "for documentation (RFC 3849)"),
        ("3fff::/20", "for documentation (RFC 9637)"),
        ("5f00::/16", "for segment routing (RFC 9602)"),
        ("fc00::/7", "private (RFC 4193)"),
        ("fe80::/10", "link-local (RFC 4291)"),
        ("fec0::/10", "site-local (RFC 3879)"),
        ("ff00::/8", "multicast (RFC 4291)"),
    )
)

_GLOBAL_V6 = IPv6Network("2000::/3")
_MAPPED = IPv6Network("::ffff:0:0/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
_COMPATIBLE = IPv6Network("::/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own by what it says."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


def forbidden_address(ip: str) -> str | None:
    """Why no mail may go to `ip`, as the end of a sentence (`loopback (RFC 1122)`), or None where it may."""
    try:
        return _forbidden_v4(IPv4Address(ip))
    except AddressValueError:
        pass
    try:
        address = IPv6Address(ip)
    except AddressValueError:
        return "not an IP address"
    if address.scope_id is not None:
        return "of one link only, it names an interface (RFC 4007)"
    for network, reason in _V6:
        if address in network:
            return reason
    carried = _carried_v4(address)
    if carried is not None:
        reason_of_carried = _forbidden_v4(carried)
        return f"it carries {carried}: {reason_of_carried}" if reason_of_carried else None
    return None if address in _GLOBAL_V6 else "outside what is assigned to the Internet (RFC 4291)"


def _forbidden_v4(address: IPv4Address) -> str | None:
    for network, reason in _V4:
        if address in network:
            return reason
    return None


def _carried_v4(address: IPv6Address) -> IPv4Address | None:
    bits = int(address)
    if any(address in network for network in (_MAPPED, _TRANSLATED, _COMPATIBLE, _NAT64)):
        return IPv4Address(bits & 0xFFFFFFFF)
    if address in _6TO4:
        return IPv4Address(bits >> 80 & 0xFFFFFFFF)
    return None
