"""Secrets are planted wherever a campaign may have one, and looked for in all that commands print and leave behind."""

import asyncio
import base64
import os
import sqlite3
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bulkmail.sandbox.certificate import make_certificate, server_context
from tests.engine.exchanger import EXTENSIONS, Guest
from tests.engine.scene import Internet, addresses, run

HOST = "relay.shop.example"
PASSWORD, HOOK = "planted-Relay-7f3a", "planted-Hook-91c4-and-long-enough-to-be-one"
VERBS = (
    ("check",),
    ("check", "--json"),
    ("preview",),
    ("send", "--yes"),
    ("send", "--yes", "--json"),
    ("status",),
    ("report",),
    ("report", "--json"),
    ("events", "push"),
    ("doctor",),
)


async def told_by(arguments: list[str], environment: Mapping[str, str]) -> bytes:
    """Everything that the command prints, whatever comes of it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bulkmail",
        *arguments,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert b"Traceback" not in printed, printed.decode()
    return printed


def forms(secret: bytes) -> list[bytes]:
    """As it is, and as protocols and files write it."""
    return [secret, base64.b64encode(secret).rstrip(b"="), secret.hex().encode()]


def test_no_secret_is_printed_logged_or_kept_by_any_command(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "dkim.pem").write_bytes(pem)
    (tmp_path / "dkim.pem").chmod(0o600)
    certificate, server_key = make_certificate([HOST], now_seconds=time.time())
    (tmp_path / "roots.pem").write_bytes(certificate)
    environment = {"RELAY_PASSWORD": PASSWORD, "HOOK_SECRET": HOOK, "SSL_CERT_FILE": str(tmp_path / "roots.pem")}
    state = tmp_path / "state"
    printed: list[tuple[str, bytes]] = []

    def repeating(stage: str, guest: Guest, argument: str) -> str | None:
        # What it was told, in the words and in the code of the protocol.
        if stage != "auth":
            return None
        return f"535 5.7.8 wrong: {argument!r} {base64.b64encode(argument.encode()).decode()}"

    async def scene() -> None:
        async with Internet() as internet:
            context = server_context(certificate, server_key)
            await internet.exchanger(HOST, repeating, tls_context=context, extensions=(*EXTENSIONS, "AUTH PLAIN"))
            relay = {"host": HOST, "port": internet.port, "tls": "starttls", "username": "acme"}
            campaign = internet.campaign(
                tmp_path,
                addresses(3),
                delivery={
                    "route": "relay",
                    "relay": {**relay, "password_env": "RELAY_PASSWORD"},
                    "expire": "2s",
                },
                dkim=[{"domain": "acme.example", "selector": "s1", "key": "dkim.pem"}],
                webhooks=[{"url": "http://127.0.7.1:9/hook", "secret_env": "HOOK_SECRET", "allow_private": True}],
            )
            for verb in VERBS:
                arguments = [*verb, str(campaign), "--state", str(state)]
                if verb == ("preview",):
                    arguments = [*verb, str(campaign)]
                printed.append((" ".join(verb), await told_by(arguments, environment)))

    run(scene(), seconds=60)
    assert "535" in "".join(text.decode() for verb, text in printed if verb.startswith(("send", "report")))
    database = sqlite3.connect(f"file:{state / 'queue.db'}?mode=ro", uri=True)
    try:
        (own,) = database.execute("SELECT value FROM meta WHERE name = 'secret'").fetchone()
    finally:
        database.close()
    key_lines = [line for line in pem.splitlines() if not line.startswith(b"-----")]
    foreign = [
        *forms(PASSWORD.encode()),
        *forms(f"\0acme\0{PASSWORD}".encode()),
        *forms(HOOK.encode()),
        *key_lines[:-1],
    ]
    left = [(str(path), path.read_bytes()) for path in sorted(state.rglob("*")) if path.is_file()]
    assert len(left) >= 4
    for where, text in (*printed, *left):
        for secret in foreign:
            assert secret not in text, (where, secret)
        if not Path(where).name.startswith("queue.db"):
            for secret in forms(own):
                assert secret not in text, (where, "the secret of the state directory")
