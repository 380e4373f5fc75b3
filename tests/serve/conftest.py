"""Listeners on loopback over the state of a run that its process still owns, in a thread of their own."""

import asyncio
import datetime
import http.client
import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec import structs

from bulkmail.model.units import Seconds
from bulkmail.serve.server import Listeners, Notes, Where
from bulkmail.serve.settings import Certificate, PeerLimits, ServeFile
from tests.engine.test_feedback import Sent

BOUNCES = "bounces@mail.garden.example"
UNSUBSCRIBE = "unsubscribe@garden.example"
COMPLAINTS = "fbl@garden.example"
SETTINGS = ServeFile(
    bounces=(BOUNCES,),
    complaints=(COMPLAINTS,),
    unsubscribe=(UNSUBSCRIBE,),
    name="mx.garden.example",
    sender="Acme Garden",
    lists={"newsletter": {"en": "Monthly newsletter", "de": "Monatlicher Rundbrief"}, "events": {}},
)


class RunningClock:
    """The day stands still, seconds pass."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self, sent: Sent) -> None:
        self.time = sent.clock.time


class Listening:
    """Listeners that run until `stop`; what they tell is in `told`."""

    def __init__(self, sent: Sent, settings: ServeFile) -> None:
        self.sent = sent
        self.told: list[object] = []
        self._settings = settings
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        self._ready.wait(10)
        if self._error is not None:
            self._thread.join()
            raise self._error

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        notes = Notes(mail=self.told.append, wish=lambda wish, reader: self.told.append((wish, reader)))
        where = Where("127.0.0.1", 0)
        try:
            async with Listeners(
                self.sent.path, self._settings, RunningClock(self.sent), smtp=where, http=where, notes=notes
            ) as listeners:
                self.listeners = listeners
                self.smtp_port, self.http_port = listeners.smtp_port, listeners.http_port
                self._ready.set()
                await self._stopped.wait()
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join()

    def smtp(self) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.smtp_port, local_hostname="peer.example", timeout=10)

    def socket(self, port: int | None = None) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port or self.smtp_port), timeout=10)

    def request(
        self, method: str, path: str, body: bytes | str | None = None, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=10)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            response.text = response.read().decode()  # type: ignore[attr-defined]
            return response
        finally:
            connection.close()

    def post(self, path: str, body: str, **headers: str) -> http.client.HTTPResponse:
        return self.request("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded", **headers})


@pytest.fixture
def sent(tmp_path: Path) -> Iterator[Sent]:
    made = Sent(tmp_path / "state")
    yield made
    made.store.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Certificate(certificate=str(folder / "cert.pem"), key=str(folder / "key.pem"))


@pytest.fixture
def listening(sent: Sent, certificate: Certificate) -> Iterator[Listening]:
    running = Listening(sent, structs.replace(SETTINGS, tls=certificate))
    yield running
    running.stop()


@pytest.fixture
def cramped(sent: Sent) -> Iterator[Listening]:
    """With little room and little patience."""
    limits = PeerLimits(connections=8, connections_per_peer=4, messages_per_peer=0.5, idle=Seconds(0.4))  # type: ignore[arg-type]
    running = Listening(sent, structs.replace(SETTINGS, limits=limits))
    yield running
    running.stop()
