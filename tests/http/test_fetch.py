"""Fetching a policy: what is taken, what is refused, and how little a hostile server can cost."""

import asyncio
import ssl
import time
from collections.abc import Sequence
from typing import Any

import pytest
import uvloop

from bulkmail.http.client import HttpClient
from bulkmail.http.errors import HttpError
from bulkmail.http.fetch import fetch_text
from bulkmail.sandbox.certificate import Authority, server_context
from tests.http.server import HttpsServer, Script, dripping, endless, says

HOST = "mta-sts.shop.example"
PATH = "/.well-known/mta-sts.txt"
BODY = b"version: STSv1\nmode: none\nmax_age: 86400\n"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(now_seconds=time.time())


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.certificate.decode())


def fetch(
    authority: Authority,
    script: Script,
    *,
    certificate: tuple[bytes, bytes] | None = None,
    addresses: Sequence[str] = ("127.0.0.1",),
    allow_private: bool = True,
    url: str = "",
    **options: Any,
) -> tuple[bytes, HttpsServer]:
    async def main() -> tuple[bytes, HttpsServer]:
        async def look_up(host: str) -> Sequence[str]:
            return addresses

        context = server_context(*(certificate or authority.issue([HOST])))
        async with HttpsServer(context) as server:
            server.scripts[HOST + PATH] = script
            client = HttpClient(look_up, allow_private=allow_private, context=trusting(authority))
            try:
                where = url or f"https://{HOST}:{server.port}{PATH}"
                return await fetch_text(client, where, limit_bytes=65536, **options), server
            finally:
                await client.close()

    async def bounded() -> tuple[bytes, HttpsServer]:
        async with asyncio.timeout(10):
            return await main()

    return uvloop.run(bounded())


def failure(*arguments: Any, **options: Any) -> HttpError:
    with pytest.raises(HttpError) as caught:
        fetch(*arguments, **options)
    return caught.value


def test_a_text_under_a_trusted_certificate_is_fetched(authority: Authority) -> None:
    body, server = fetch(authority, says(BODY, kind="text/plain; charset=utf-8"))
    assert body == BODY
    assert server.asked == [HOST + PATH]


def test_a_redirect_is_not_followed(authority: Authority) -> None:
    error = failure(authority, says(b"", status="302 Found", location=f"https://{HOST}/elsewhere"))
    assert error.kind == "redirect"
    assert error.status == 302


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (says(b"", status="404 Not Found"), "status"),
        (says(b"", status="500 Oops"), "status"),
        (says(BODY, kind="text/html"), "type"),
        (says(b"v" * 65537), "size"),
        (endless(b"v" * 65536), "size"),
    ],
)
def test_anything_but_a_small_text_is_refused(authority: Authority, script: Script, kind: str) -> None:
    assert failure(authority, script).kind == kind


def test_a_body_of_a_byte_now_and_then_is_not_waited_for(authority: Authority) -> None:
    error = failure(authority, dripping(0.02), timeout_seconds=0.3)
    assert error.kind == "time"


def test_a_server_that_speaks_no_http_is_an_error(authority: Authority) -> None:
    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx.shop.example ESMTP\r\n")

    assert failure(authority, script).kind in ("protocol", "connect")


def test_another_name_in_the_certificate_is_refused(authority: Authority) -> None:
    error = failure(authority, says(BODY), certificate=authority.issue(["www.shop.example"]))
    assert error.kind == "tls"
    assert "mismatch" in str(error).lower()


def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    error = failure(authority, says(BODY), certificate=authority.issue([HOST], days=-1))
    assert (error.kind, "expired" in str(error)) == ("tls", True)


def test_a_certificate_of_somebody_else_is_refused(authority: Authority) -> None:
    stranger = Authority(now_seconds=time.time())
    assert failure(authority, says(BODY), certificate=stranger.issue([HOST])).kind == "tls"


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1"])
def test_a_name_that_leads_into_our_own_network_is_not_asked(authority: Authority, address: str) -> None:
    error = failure(authority, says(BODY), addresses=[address], allow_private=False)
    assert error.kind == "address"


def test_an_address_in_place_of_a_name_is_checked_too(authority: Authority) -> None:
    error = failure(authority, says(BODY), url="https://169.254.169.254/latest", allow_private=False)
    assert error.kind == "address"


def test_a_name_without_an_address_is_a_failure_of_the_dns(authority: Authority) -> None:
    assert failure(authority, says(BODY), addresses=[]).kind == "dns"


def test_each_name_is_looked_up_once_for_each_connection(authority: Authority) -> None:
    """The address that was judged is the one connected to: a second answer is never asked for."""
    looked_up = []

    async def main() -> None:
        async def look_up(host: str) -> Sequence[str]:
            looked_up.append(host)
            return ["127.0.0.1"]

        async with HttpsServer(server_context(*authority.issue([HOST]))) as server:
            server.scripts[HOST + PATH] = says(BODY)
            client = HttpClient(look_up, allow_private=True, context=trusting(authority))
            await fetch_text(client, f"https://{HOST}:{server.port}{PATH}", limit_bytes=65536)
            await client.close()

    uvloop.run(main())
    assert looked_up == [HOST]


@pytest.mark.parametrize(
    "url",
    [
        "https://mta-sts.xn--zzzzzzzzzz.example/x",
        "https://mta-sts.xn--.example/x",
        f"https://mta-sts.{'x' * 70}.example/x",
        f"https://mta-sts.{'.'.join(['x' * 60] * 5)}/x",
        "https://mta-sts.a_b.example/x",
        "https://[::1/x",
        "https://a:99999/x",
        "not a url",
    ],
)
def test_a_url_that_leads_nowhere_is_an_error_like_any_other(authority: Authority, url: str) -> None:
    assert failure(authority, says(BODY), addresses=[], url=url).kind in ("dns", "protocol", "connect")
