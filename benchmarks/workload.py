"""Campaigns for benchmarks: a personalised message of about 10 KB, a list of any length, a key, written to a folder."""

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

PARAGRAPH = (
    "Dear {{ first_name }}, this week in {{ city }} the soil is warm enough for the first rows of peas, and the "
    "greenhouse of {{ shop }} has kept {{ points }} points for you. Sow thinly, water once, and leave the rest to the "
    "sun: that is the whole art, and nobody in {{ city }} should pay for more advice than that.\n"
)
FILLER = (
    "Keep the bed free of stones, rake it level, and mark the rows with string before the first seed leaves the bag. "
    "What you plant today stands in flower before the swallows leave; what you plant in a month may not.\n"
)


def make_key(path: Path, kind: str) -> None:
    """A private key in PEM, for its owner only: `rsa` (2048 bits) or `ed25519`."""
    private = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if kind == "rsa"
        else ed25519.Ed25519PrivateKey.generate()
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)


def write_recipients(path: Path, count: int, domains: int) -> None:
    """`count` rows spread evenly over `domains` domains under .example."""
    with path.open("w") as file:
        file.write("email,first_name,city,shop,points\n")
        for number in range(count):
            file.write(
                f"reader.{number:07d}@d{number % domains}.example,Anna {number % 977},Town {number % 313},"
                f"Shop {number % 53},{number % 1009}\n"
            )


def write_campaign(
    folder: Path,
    *,
    recipients: int,
    sink: dict[str, object],
    signing: str | None = "rsa",
    domains: int = 1,
    connections: int = 20,
    bytes_wanted: int = 10_000,
    window: int = 1,
    tls: bool = False,
    sources: int = 1,
) -> Path:
    """A campaign that sends to the sink without limits but `connections`; page and text are about `bytes_wanted`.

    The connections are shared by `sources` loopback addresses; of one, the system chooses which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    body = PARAGRAPH * 3
    while len(body) < bytes_wanted * 0.47:
        body += FILLER
    html = "<html><body><h1>{{ first_name }}</h1>\n" + "".join(f"<p>{line}</p>\n" for line in body.splitlines())
    (folder / "body.html").write_text(html[: int(bytes_wanted * 0.47)].rsplit("<p>", 1)[0] + "</body></html>\n")
    write_recipients(folder / "list.csv", recipients, domains)
    dkim = ""
    if signing is not None:
        make_key(folder / "key.pem", signing)
        dkim = "dkim: [{domain: sender.example, selector: s1, key: key.pem}]\n"
    addresses = ", ".join(f"{{address: 127.0.2.{number}}}" for number in range(1, sources + 1))
    share = max(1, connections // sources)
    egress = f"  sources: [{addresses}]\n" if sources > 1 else ""
    path = folder / "campaign.yaml"
    path.write_text(
        f"""campaign: benchmark
kind: transactional
from: "Garden <news@sender.example>"
subject: "{{{{ first_name }}}}, your seeds are here"
content: {{html: body.html}}
recipients: [{{file: list.csv}}]
unsubscribe: {{url: "https://sender.example/u/{{{{ token }}}}"}}
{dkim}delivery:
  route: mx
  port: {sink["smtp_port"]}
  allow_private_mx: true
  tls: {"required" if tls else "none"}
  window: {window}
{egress}dns: {{servers: ["{sink["dns"]}"]}}
limits:
  default: {{connections: {share}, messages_per_connection: 1000000, messages: 1000000/s, connects: 1000/s}}
"""
    )
    return path
