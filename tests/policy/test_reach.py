"""Addresses that a stranger's DNS must not make us connect to."""

import pytest

from bulkmail.policy.route import forbidden_address

FORBIDDEN = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "10.0.0.1": "private",
    "100.64.0.1": "shared",
    "100.100.100.200": "shared",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "cloud",
    "169.254.169.254": "link-local",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.192": "protocols",
    "192.0.2.1": "documentation",
    "192.88.99.1": "6to4",
    "192.168.1.1": "private",
    "198.18.0.1": "benchmarks",
    "198.51.100.7": "documentation",
    "203.0.113.7": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::127.0.0.1": "carries 127.0.0.1: loopback",
    "::ffff:127.0.0.1": "carries 127.0.0.1: loopback",
    "::ffff:a9fe:a9fe": "carries 169.254.169.254: link-local",
    "::ffff:0:10.0.0.1": "carries 10.0.0.1: private",
    "64:ff9b::10.0.0.1": "carries 10.0.0.1: private",
    "64:ff9b:1::1": "translation",
    "100::1": "discarded",
    "2001::1": "protocols",
    "2001:db8::1": "documentation",
    "2002:7f00:1::1": "carries 127.0.0.1: loopback",
    "3fff::1": "documentation",
    "5f00::1": "segment routing",
    "fc00::1": "private",
    "fd00:ec2::254": "private",
    "fe80::1": "link-local",
    "fe80::1%eth0": "one link only",
    "2a00:1450::1%1": "one link only",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
    "4000::1": "outside",
    "mx.example": "not an IP address",
    "127.1": "not an IP address",
    "0x7f000001": "not an IP address",
    "": "not an IP address",
}

ALLOWED = [
    "8.8.8.8",
    "1.1.1.1",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "168.63.129.17",
    "2a00:1450:4013:c05::1b",
    "2607:f8b0::1a",
    "2001:4860::8888",
    "64:ff9b::8.8.8.8",
    "::ffff:8.8.8.8",
    "2002:808:808::1",
]


@pytest.mark.parametrize(("ip", "reason"), FORBIDDEN.items())
def test_an_address_off_the_public_internet_is_forbidden(ip: str, reason: str) -> None:
    assert reason in (forbidden_address(ip) or "allowed")


@pytest.mark.parametrize("ip", ALLOWED)
def test_an_address_of_the_public_internet_is_allowed(ip: str) -> None:
    assert forbidden_address(ip) is None
