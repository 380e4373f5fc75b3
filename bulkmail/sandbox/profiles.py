"""The data file of the sandbox as values: who hosts which domains, and with what manners."""

import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from bulkmail.errors import CampaignError

PROVIDERS = Path(__file__).with_name("profiles.toml")
OPEN_HOUSE = Path(__file__).with_name("open.toml")

_SAMPLE = {"host": "h", "peer": "p", "address": "a", "seconds": "1", "id": "i"}


class Answer:
    """A reply as the data file writes it: `421 4.7.0 text {host}`, one line of the reply per line.

    Placeholders: `{host}` this exchanger, `{peer}` the client's IP, `{address}` the recipient, `{seconds}` how long to
    wait, `{id}` a queue name. The enhanced code (RFC 3463) is said only by exchangers that offer ENHANCEDSTATUSCODES.
    """

    __slots__ = ("code", "enhanced", "lines")

    def __init__(self, template: str) -> None:
        first, _, rest = template.partition(" ")
        if not (len(first) == 3 and first.isdigit() and "2" <= first[0] <= "5" and rest):
            raise ValueError(f"a reply begins with a code from 200 to 599 and a text, not {template[:40]!r}")
        self.code = int(first)
        enhanced, _, text = rest.partition(" ")
        digits = enhanced.split(".")
        marked = len(digits) == 3 and all(digit.isdigit() for digit in digits) and digits[0] == first[0]
        self.enhanced = enhanced if marked else None
        self.lines = tuple((text if marked else rest).split("\n"))
        try:
            self.fill(**_SAMPLE)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"unknown placeholder {error} in {template[:60]!r}; known: {', '.join(_SAMPLE)}") from None

    def fill(self, **values: str) -> list[str]:
        """The lines of the text with the placeholders replaced."""
        return [line.format(**values) for line in self.lines]


class Replies(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an exchanger says, in its own words."""

    greeting: Answer = Answer("220 {host} ESMTP")
    accepted: Answer = Answer("250 2.0.0 Ok: queued as {id}")
    unknown: Answer = Answer("550 5.1.1 <{address}>: Recipient address rejected: User unknown")
    disabled: Answer = Answer("550 5.2.1 <{address}>: this mailbox is closed")
    full: Answer = Answer("552 5.2.2 <{address}>: mailbox full, quota exceeded")
    full_for_now: Answer = Answer("452 4.2.2 <{address}>: mailbox over quota, try again later")
    policy: Answer = Answer("550 5.7.1 <{address}>: delivery refused by local policy")
    content: Answer = Answer("554 5.7.1 Message refused: its content looks like unsolicited bulk mail")
    greylisted: Answer = Answer("451 4.7.1 <{address}>: Greylisted, please come back in {seconds} seconds")
    later: Answer = Answer("450 4.2.1 <{address}>: receiving mail too quickly, try again in {seconds} seconds")
    relaying: Answer = Answer("550 5.7.1 <{address}>: Relay access denied")
    throttled: Answer = Answer("451 4.7.1 Too much mail from {peer}, slow down")
    connections: Answer = Answer("421 4.7.0 {host} Too many connections from {peer}")
    message_limit: Answer = Answer("421 4.7.0 {host} Too many messages in this session, open another one")
    blocked: Answer = Answer("554 5.7.1 {host} No mail accepted from {peer} for now")
    tls_required: Answer = Answer("530 5.7.0 Must issue a STARTTLS command first")


class Manners(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How exchangers of one kind behave; every limit counts per client address over all exchangers of the kind.

    Shares are of recipients, by hash of (seed, address). `throttle_per_second` 0 and `block_after` 0 mean never.
    """

    extensions: tuple[str, ...] = (
        "PIPELINING",
        "SIZE",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "CHUNKING",
        "STARTTLS",
    )
    esmtp: bool = True
    tls_required: bool = False
    size_bytes: int = 35 * 1024 * 1024
    connections: int = 50
    messages_per_connection: int = 1000
    at_message_limit: Literal["reply", "close"] = "reply"
    recipients_per_message: int = 100
    data_without_recipients: Literal["reset", "refuse", "take"] = "reset"
    idle_seconds: float = 300.0
    bad_commands: int = 20
    greeting_delay_seconds: float = 0.0
    reply_delay_seconds: float = 0.0
    silent: bool = False
    throttle_per_second: float = 0.0
    throttle_burst: int = 100
    throttle_stage: Literal["mail", "rcpt", "message"] = "mail"
    block_after: int = 0
    block_seconds: float = 5.0
    greylist_share: float = 0.0
    greylist_seconds: float = 2.0
    slow_share: float = 0.0
    slow_seconds: float = 2.0
    later_share: float = 0.0
    later_seconds: float = 1.5
    unknown_share: float = 0.0
    disabled_share: float = 0.0
    full_share: float = 0.0
    full_for_now_share: float = 0.0
    policy_share: float = 0.0
    content_share: float = 0.0
    replies: Replies = Replies()

    def __post_init__(self) -> None:
        known = {"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "STARTTLS"}
        unknown = set(self.extensions) - known
        if unknown:
            raise ValueError(f"unknown extension {min(unknown)!r}; known: {', '.join(sorted(known))}")


class Group(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A set of exchangers under one roof.

    `exchangers` are `PREFERENCE HOST`; a host may hold one of `{tenant}` (the domain with dashes), `{number}` (five
    digits by hash of the domain) or, at its end, `{domain}`: such hosts share `addresses` loopback addresses. `domains`
    are its own; `share` is its part of all domains that no group owns; `word` forces it for domains that begin so. The
    exchangers of groups of the same `house` take mail for each other's domains. Its domains publish an MTA-STS policy
    of mode `sts`; with `dane` their DNS is signed and its exchangers have TLSA records. Where it is `betrayed`, the
    policy names other hosts and the records another key, as if somebody stood in between.
    """

    manners: str
    exchangers: tuple[str, ...]
    domains: tuple[str, ...] = ()
    share: float = 0.0
    addresses: int = 4
    banner: str | None = None
    word: str | None = None
    house: str | None = None
    sts: Literal["", "enforce", "testing", "none"] = ""
    dane: bool = False
    betrayed: bool = False


class OddShares(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of all domains that no group owns that is odd in its DNS."""

    nxdomain: float = 0.0
    nullmx: float = 0.0
    implicit: float = 0.0
    flaky: float = 0.0
    deadfirst: float = 0.0
    dead: float = 0.0
    cname: float = 0.0


class Profiles(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole data file."""

    manners: dict[str, Manners]
    group: dict[str, Group]
    odd: OddShares = OddShares()


def load_profiles(path: Path | None = None) -> Profiles:
    """Read a data file, the shipped providers without one; CampaignError says what is wrong in it."""
    file = path or PROVIDERS
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
        profiles = msgspec.convert(data, Profiles, dec_hook=_decode)
    except OSError as error:
        raise CampaignError(f"cannot read the sandbox's profiles: {error.strerror}", file=str(file)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise CampaignError(str(error), file=str(file)) from None
    _check(profiles, str(file))
    return profiles


def _decode(kind: type, value: Any) -> Any:
    if kind is Answer and isinstance(value, str):
        return Answer(value)
    raise TypeError(f"a reply is a text, not {type(value).__name__}")


def _check(profiles: Profiles, file: str) -> None:
    if not profiles.group:
        raise CampaignError("no group of exchangers", file=file, path="group")
    if not any(group.share for group in profiles.group.values()):
        raise CampaignError("no group takes a share of other domains", file=file, path="group", hint="set a share")
    if len(profiles.group) > 250:
        raise CampaignError("more than 250 groups", file=file, path="group")
    for name, group in profiles.group.items():
        path = f"group.{name}"
        if group.manners not in profiles.manners:
            known = ", ".join(sorted(profiles.manners))
            raise CampaignError(f"no manners {group.manners!r}; known: {known}", file=file, path=f"{path}.manners")
        if not group.exchangers or not 1 <= group.addresses <= 200 or len(group.exchangers) > 50:
            raise CampaignError("1 to 50 exchangers and 1 to 200 addresses are needed", file=file, path=path)
        for index, exchanger in enumerate(group.exchangers):
            preference, _, host = exchanger.partition(" ")
            if not preference.isdigit() or not host or " " in host:
                message = f"an exchanger is `PREFERENCE HOST`, not {exchanger!r}"
                raise CampaignError(message, file=file, path=f"{path}.exchangers[{index}]")
