"""The sandbox's own MTA-STS, DANE and certificates, seen with clients that are not ours."""

import asyncio
import smtplib
import ssl
import time
import urllib.request
from hashlib import sha256
from pathlib import Path

import dns.flags
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bulkmail.sandbox.certificate import Authority
from bulkmail.sandbox.dnsserver import POLICY_ADDRESS, Responder
from bulkmail.sandbox.policyserver import PATH, PolicyServer
from bulkmail.sandbox.profiles import load_profiles
from bulkmail.sandbox.sandbox import Sandbox
from bulkmail.sandbox.zone import Zone
from bulkmail.smtp.sts import announced_id, parse_policy
from tests.sandbox import test_dnsserver
from tests.sandbox.test_dnsserver import ask


def make_responder() -> Responder:
    responder = test_dnsserver.make_responder()
    responder.key_digest = bytes(32)
    return responder


def texts(domain: str) -> list[bytes]:
    answer = ask(make_responder(), f"_mta-sts.{domain}", "TXT").answer
    return [b"".join(record.strings) for rrset in answer for record in rrset]


@pytest.mark.parametrize(
    ("domain", "mode", "host", "allowed"),
    [
        ("gmail.com", "enforce", "alt1.gmail-smtp-in.l.google.com", True),
        ("outlook.com", "enforce", "outlook-com.olc.protection.outlook.com", True),
        ("yahoo.com", "testing", "mta5.am0.yahoodns.net", True),
        ("sts-7.example", "enforce", "mx2.sts-7.example", True),
        ("badsts.example", "enforce", "mx.badsts.example", False),
    ],
)
def test_domains_with_a_policy_announce_it_and_have_it(domain: str, mode: str, host: str, allowed: bool) -> None:
    assert announced_id(texts(domain))
    server = PolicyServer(Zone(load_profiles(), seed=1), ssl.create_default_context())
    head, _, body = server.answer(f"GET {PATH} HTTP/1.1\r\nHost: mta-sts.{domain}:4443\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    policy = parse_policy(body)
    assert policy.mode == mode
    assert policy.allows(host) is allowed


@pytest.mark.parametrize(
    "head",
    [
        f"GET {PATH} HTTP/1.1\r\nHost: mta-sts.own.example\r\n\r\n",
        f"GET {PATH} HTTP/1.1\r\nHost: gmail.com\r\n\r\n",
        f"GET {PATH} HTTP/1.1\r\n\r\n",
        f"POST {PATH} HTTP/1.1\r\nHost: mta-sts.gmail.com\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: mta-sts.gmail.com\r\n\r\n",
        "\r\n\r\n",
    ],
)
def test_any_other_page_is_not_there(head: str) -> None:
    server = PolicyServer(Zone(load_profiles(), seed=1), ssl.create_default_context())
    assert server.answer(head).startswith(b"HTTP/1.1 404 ")


def test_a_domain_without_a_policy_announces_none() -> None:
    assert texts("own.example") == []
    assert not ask(make_responder(), "mta-sts.own.example", "A").answer


@pytest.mark.parametrize(
    ("name", "rdtype", "signed"),
    [
        ("gmx.de", "MX", True),
        ("mx00.gmx.net", "A", True),
        ("mx00.gmx.net", "AAAA", True),
        ("_25._tcp.mx00.gmx.net", "TLSA", True),
        ("_25._tcp.mx.dane-1.example", "TLSA", True),
        ("_25._tcp.mx.own.example", "TLSA", False),
        ("own.example", "MX", False),
        ("gmail.com", "MX", False),
    ],
)
def test_what_is_signed_says_so_to_those_who_ask(name: str, rdtype: str, signed: bool) -> None:
    responder = make_responder()
    assert bool(ask(responder, name, rdtype, want_dnssec=True).flags & dns.flags.AD) is signed
    assert bool(ask(responder, name, rdtype, flags=dns.flags.RD | dns.flags.AD).flags & dns.flags.AD) is signed
    assert not ask(responder, name, rdtype).flags & dns.flags.AD


def test_the_records_are_of_the_key_that_the_exchangers_have_or_not(tmp_path: Path) -> None:
    def look(sandbox: Sandbox) -> None:
        for domain, same in (("dane-1.example", True), ("baddane.example", False)):
            host = f"mx.{domain}"
            [[record]] = ask(sandbox._responder, f"_25._tcp.{host}", "TLSA").answer
            [[address]] = ask(sandbox._responder, host, "A").answer
            context = ssl.create_default_context(cadata=sandbox.certificate.decode())
            with smtplib.SMTP(address.address, sandbox.smtp_port, timeout=5) as client:
                client._host = host  # type: ignore[attr-defined]
                client.starttls(context=context)
                shown = client.sock.getpeercert(binary_form=True)  # type: ignore[union-attr]
            key = x509.load_der_x509_certificate(shown).public_key()
            spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            assert (record.usage, record.selector, record.mtype) == (3, 1, 1)
            assert (record.cert == sha256(spki).digest()) is same

    async def main() -> None:
        async with Sandbox(tmp_path, keep="none") as sandbox:
            await asyncio.to_thread(look, sandbox)

    uvloop.run(main())


def test_a_policy_is_had_over_https_under_the_name_of_the_domain(tmp_path: Path) -> None:
    def fetch(sandbox: Sandbox) -> bytes:
        context = ssl.create_default_context(cadata=sandbox.certificate.decode())

        # Asked for by its address; the name is in the request alone.
        context.check_hostname = False
        request = urllib.request.Request(
            f"https://{POLICY_ADDRESS}:{sandbox.https_port}{PATH}", headers={"Host": "mta-sts.gmail.com"}
        )
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:
            return bytes(answer.read())

    async def main() -> None:
        async with Sandbox(tmp_path, keep="none") as sandbox:
            assert parse_policy(await asyncio.to_thread(fetch, sandbox)).mode == "enforce"

    uvloop.run(main())


def test_the_authority_vouches_for_any_name_and_each_has_its_own_certificate() -> None:
    authority = Authority(now_seconds=time.time())
    assert authority.context_of("a.example") is authority.context_of("a.example")
    assert authority.context_of("a.example") is not authority.context_of("b.example")
