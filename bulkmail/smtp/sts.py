"""MTA-STS (RFC 8461) as text: the DNS record that announces a policy, the policy itself, and what it lets through."""

import re
from collections.abc import Collection, Iterable
from typing import Literal, cast

from msgspec import Struct

# RFC 8461 §3.2: about a year; a longer one is cut to it.
MAX_AGE_SECONDS = 31_557_600
# Policies are a few hundred octets; the standard suggests to read no more than this (§3.3).
POLICY_BYTES = 64 * 1024
MX_PATTERNS = 500

Mode = Literal["enforce", "testing", "none"]

_version = re.compile(rb"v=STSv1[ \t]*;").match
_id = re.compile(r"[A-Za-z0-9]{1,32}").fullmatch
_extension = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[\x21-\x3a\x3c\x3e-\x7e]+").fullmatch
_host = re.compile(
    r"(?:\*\.)?(?:[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
).fullmatch
_seconds = re.compile(r"[0-9]{1,10}").fullmatch


class StsPolicy(Struct, frozen=True, kw_only=True):
    """A policy as published; `mx` are lower-case host names, or `*.` and the rest of one; `max_age_seconds` capped."""

    mode: Mode
    mx: tuple[str, ...] = ()
    max_age_seconds: int = 0

    def allows(self, host: str) -> bool:
        """Whether a mail exchanger of that name (an A-label) may be given mail."""
        return host_allowed(host, self.mx)


class StsError(ValueError):
    """A policy that does not say what a policy has to say; the text is the end of a sentence."""


def host_allowed(host: str, mx: Collection[str]) -> bool:
    """Whether `host` is one of `mx`; a `*` at the beginning stands for one label (§4.1)."""
    name = host.lower().removesuffix(".")
    label, _, parent = name.partition(".")
    return name in mx or (bool(label and parent) and f"*.{parent}" in mx)


def announced_id(texts: Iterable[bytes]) -> str | None:
    """The id in the TXT records of `_mta-sts.DOMAIN`; None where there is not exactly one good record (§3.1)."""
    records = [text for text in texts if _version(text)]
    if len(records) != 1:
        return None
    fields = [field.strip(" \t") for field in records[0].decode("latin-1").split(";")[1:]]
    if fields and not fields[-1]:
        fields.pop()
    found = None
    for field in fields:
        name, _, value = field.partition("=")
        if name == "id":
            if found is None:
                found = value if _id(value) else ""
        elif not _extension(field):
            return None
    return found or None


def parse_policy(body: bytes) -> StsPolicy:
    """The policy in the text of `.well-known/mta-sts.txt`. Raises StsError.

    A field that is there twice counts once, but for `mx`; unknown ones are passed over (§3.2).
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise StsError("is not UTF-8 text") from None
    fields: dict[str, str] = {}
    hosts: dict[str, None] = {}
    for line in text.split("\n"):
        stripped = line.removesuffix("\r").strip(" \t")
        if not stripped:
            continue
        name, colon, value = stripped.partition(":")
        if not colon:
            raise StsError(f"has a line without a colon: {stripped[:60]!r}")
        value = value.strip(" \t")
        if name == "mx":
            host = value.lower().removesuffix(".")
            if not _host(host):
                raise StsError(f"has an mx that is no host name: {value[:60]!r}")
            hosts[host] = None
        else:
            fields.setdefault(name, value)
    if fields.get("version") != "STSv1":
        raise StsError("does not say version: STSv1")
    mode, age = fields.get("mode", ""), fields.get("max_age", "")
    if mode not in ("enforce", "testing", "none"):
        raise StsError(f"has no mode that is known: {mode[:60]!r}")
    if not _seconds(age):
        raise StsError(f"has no max_age in seconds: {age[:60]!r}")
    if mode != "none" and not hosts:
        raise StsError("names no mx")
    if len(hosts) > MX_PATTERNS:
        raise StsError(f"names more than {MX_PATTERNS} mx")
    return StsPolicy(mode=cast(Mode, mode), mx=tuple(hosts), max_age_seconds=min(int(age), MAX_AGE_SECONDS))
