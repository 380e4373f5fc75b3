"""A relay that wants to see a certificate of ours, and roots of one's own to judge the relay's by."""

import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from bulkmail.config.load import load_campaign
from bulkmail.errors import CampaignError
from bulkmail.sandbox.certificate import Authority, server_context
from tests.engine.scene import Internet, addresses, run, send, write_campaign

HOST = "relay.example"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(now_seconds=time.time())


def strict(authority: Authority) -> ssl.SSLContext:
    context = server_context(*authority.issue([HOST]))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.certificate.decode())
    return context


def files(folder: Path, authority: Authority) -> dict[str, str]:
    certificate, key = authority.issue(["client.example"], client=True)
    for name, content in (("client.pem", certificate), ("client.key", key), ("roots.pem", authority.certificate)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(content)
    return {"certificate": str(folder / "client.pem"), "key": str(folder / "client.key")}


@pytest.mark.parametrize("shown", [True, False])
def test_a_relay_that_asks_for_a_certificate_is_shown_it(tmp_path: Path, authority: Authority, shown: bool) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            relay = await internet.exchanger(HOST, tls_context=strict(authority))
            settings: dict[str, Any] = {"host": HOST, "port": internet.port}
            if shown:
                settings |= files(tmp_path, authority)
            else:
                files(tmp_path, authority)
            campaign = internet.campaign(
                tmp_path,
                addresses(5),
                tls={"authorities": "roots.pem"},
                delivery={"route": "relay", "relay": settings, "tls": "verified", "expire": "1s", "retry": ["300ms"]},
            )
            summary, events = await send(campaign, tmp_path / "state")
        assert (summary.delivered, summary.expired) == ((5, 0) if shown else (0, 5))
        assert len(relay.accepted) == summary.delivered
        if shown:
            assert {(event.tls or "").split()[-1] for event in events if event.event == "attempt"} == {"verified"}

    run(scene(), seconds=10)


def test_the_key_must_be_the_owners_alone(tmp_path: Path, authority: Authority) -> None:
    settings = {"host": HOST, "port": 25, **files(tmp_path, authority)}
    (tmp_path / "client.key").chmod(0o644)
    path = write_campaign(tmp_path, addresses(1), delivery={"route": "relay", "relay": settings})
    with pytest.raises(CampaignError) as caught:
        load_campaign(path)
    assert caught.value.path == "delivery.relay.key"
    assert "chmod 600" in str(caught.value)


@pytest.mark.parametrize("name", ["authorities", "certificate"])
def test_a_file_that_is_no_certificate_is_an_error_of_the_campaign(
    tmp_path: Path, authority: Authority, name: str
) -> None:
    given = files(tmp_path, authority)
    broken = tmp_path / ("roots.pem" if name == "authorities" else "client.pem")
    broken.write_text("-----BEGIN NONSENSE-----\n")

    async def scene() -> None:
        async with Internet() as internet:
            campaign = internet.campaign(
                tmp_path,
                addresses(1),
                tls={"authorities": "roots.pem"},
                delivery={"route": "relay", "relay": {"host": HOST, **given}},
            )
            with pytest.raises(CampaignError) as caught:
                await send(campaign, tmp_path / "state")
        assert caught.value.path in ("tls.authorities", "delivery.relay.certificate")
        assert caught.value.file == str(tmp_path / "trial.yaml")

    run(scene(), seconds=5)
