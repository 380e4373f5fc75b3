"""What `bulkmail serve` is told, by a file of its own and by campaigns: where it listens, and for whom."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct, field, structs

from bulkmail.address import AddressError, parse_address, parse_mailbox, wire_address
from bulkmail.config.document import line_of, read_document
from bulkmail.config.findings import Findings
from bulkmail.config.shape import read_struct
from bulkmail.content.identity import return_address
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign, Positive
from bulkmail.model.units import ByteCount, PerSecond, Seconds

_TEMPLATE = re.compile(r"\+?\{\{.*?\}\}")  # the token, in an address that is a template


class Certificate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PEM files of the SMTP listener's certificate chain and its key."""

    certificate: str
    key: str


class PeerLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the listeners allow: connections in all and of one address; mail of one address; and times."""

    connections: Positive = 10_000
    connections_per_peer: Positive = 200
    messages_per_peer: PerSecond = field(default_factory=lambda: PerSecond(200))
    message_size: ByteCount = field(default_factory=lambda: ByteCount(10 << 20))
    idle: Seconds = field(default_factory=lambda: Seconds(60))


class ServeFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a listener's file; `campaigns` are files whose addresses and lists are taken over."""

    campaigns: tuple[str, ...] = ()
    bounces: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    smtp: str | None = None
    http: str | None = None
    name: str | None = None
    sender: str | None = None
    tls: Certificate | None = None
    lists: dict[str, dict[str, str]] = {}
    proxies: tuple[str, ...] = ()
    limits: PeerLimits = PeerLimits()


class Addresses(Struct, frozen=True, kw_only=True):
    """The mailboxes that are ours, as `local@domain` in lower case."""

    bounces: frozenset[str] = frozenset()
    complaints: frozenset[str] = frozenset()
    unsubscribe: frozenset[str] = frozenset()

    @property
    def domains(self) -> frozenset[str]:
        return frozenset(address.rpartition("@")[2] for address in self.bounces | self.complaints | self.unsubscribe)


def read_serve_file(path: Path) -> ServeFile:
    """A listener's YAML file, paths in it absolute. CampaignError with file and line for what is wrong in it."""
    name = os.fspath(path)
    root = read_document(path, name)
    findings = Findings(name)
    findings.place("", line_of(root))
    settings = read_struct(root, ServeFile, findings)
    for key in ("bounces", "complaints", "unsubscribe"):
        for index, text in enumerate(getattr(settings, key)):
            try:
                parse_address(text)
            except AddressError as error:
                findings.add(f"{key}[{index}]", str(error))
    folder = path.resolve().parent
    tls = settings.tls
    if tls is not None:
        tls = Certificate(certificate=str(folder / tls.certificate), key=str(folder / tls.key))
        for key, file in (("certificate", tls.certificate), ("key", tls.key)):
            if not os.access(file, os.R_OK):
                findings.add(f"tls.{key}", f"{file} cannot be read")
    findings.fail_if_any()
    campaigns = tuple(str(folder / campaign) for campaign in settings.campaigns)
    return structs.replace(settings, tls=tls, campaigns=campaigns)


def with_campaigns(settings: ServeFile, campaigns: Sequence[Campaign]) -> ServeFile:
    """The settings, and what the campaigns add: where their bounces and unsubscribes go, their lists, their sender."""
    bounces, unsubscribe, lists = list(settings.bounces), list(settings.unsubscribe), dict(settings.lists)
    sender = settings.sender
    for campaign in campaigns:
        bounces.append(wire_address(return_address(campaign)))
        if campaign.unsubscribe is not None and campaign.unsubscribe.mailto is not None:
            address = campaign.unsubscribe.mailto.removeprefix("mailto:").partition("?")[0]
            unsubscribe.append(_TEMPLATE.sub("", address))
        for source in campaign.recipients:
            if source.list is not None:
                lists.setdefault(source.list, {})
        sender = sender or parse_mailbox(campaign.from_).name
    return structs.replace(settings, bounces=tuple(bounces), unsubscribe=tuple(unsubscribe), lists=lists, sender=sender)


def addresses_of(settings: ServeFile) -> Addresses:
    """The mailboxes of the settings, in the one form in which they are compared."""
    return Addresses(
        bounces=_plain(settings.bounces),
        complaints=_plain(settings.complaints),
        unsubscribe=_plain(settings.unsubscribe),
    )


def host_and_port(text: str, *, option: str, default_port: int) -> tuple[str, int]:
    """`HOST:PORT`, `[ADDRESS]:PORT`, `:PORT` or `HOST`. CampaignError for anything else."""
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:
        host, port = text, str(default_port)
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise CampaignError(f"{text!r} is no HOST:PORT", path=option, hint=f"write 127.0.0.1:{default_port}")
    return host.strip("[]") or "0.0.0.0", int(port)


def _plain(addresses: Sequence[str]) -> frozenset[str]:
    return frozenset(wire_address(parse_address(address)).lower() for address in addresses)
