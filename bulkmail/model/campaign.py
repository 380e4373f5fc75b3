"""What one campaign file says, as frozen values.

The field names are the keys of the file (`campaigns/reference.yaml` documents each). `config` makes these from YAML:
units converted, paths absolute. `Campaign` adds where it came from.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from bulkmail.model.units import ByteCount, PerSecond, Seconds, Share

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Port = Annotated[int, Meta(ge=1, le=65535)]
Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
Weight = Annotated[int, Meta(ge=1, le=1000)]
Route = Literal["sandbox", "mx", "relay"]
TlsMode = Literal["none", "opportunistic", "required", "verified"]
AuthMechanism = Literal["scram-sha-256-plus", "scram-sha-256", "cram-md5", "plain", "login", "xoauth2", "oauthbearer"]
InDoubtPolicy = Literal["resend", "hold", "assume_delivered"]
IntentPolicy = Literal["recorded", "synced"]
Notify = Literal["never", "success", "failure", "delay"]
# Replies of 64 transactions are the most that a connection keeps track of.
WindowSize = Annotated[int, Meta(ge=1, le=64)]


CONTENT_TEXTS = ("html", "mjml", "markdown", "text", "amp", "calendar")  # keys of Content that name one file each


class Content(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Template and file paths; relative to the campaign file in YAML, absolute here.

    One of html, mjml and markdown makes the page; where text is left out, it is made from that. A path of
    `attachments` may be a template, for a file of each recipient's own.
    """

    html: str | None = None
    mjml: str | None = None
    markdown: str | None = None
    text: str | None = None
    amp: str | None = None
    calendar: str | None = None
    preheader: str | None = None
    locale: str | None = None
    inline_css: bool | None = None
    inline: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()


class Variant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is different for some recipients: what is left out is as for all."""

    subject: str | None = None
    content: Content = Content()


class Languages(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Variants by the value of the field `by`; a row whose value names none gets the campaign's own content."""

    by: str
    variants: dict[str, Variant]


class SplitArm(Variant, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One arm of an A/B test, for `weight` parts of the recipients."""

    weight: Positive = 1


WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Schedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When mail goes out: not before `at`, and in the `window` of the recipient's day."""

    at: str | None = None
    window: str | None = None
    timezone: str | None = None
    default_timezone: str = "UTC"
    days: tuple[Weekday, ...] = ()


class Canary(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `first` share is sent; the rest follows after `wait`, if no more have `bounced` or are `deferred`."""

    first: Share
    wait: Seconds = field(default_factory=lambda: Seconds(1800))
    bounced: Share = field(default_factory=lambda: Share(0.05))
    deferred: Share = field(default_factory=lambda: Share(0.5))


class Tracking(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Signed redirect links and a picture that is fetched on opening; `url` is where `bulkmail serve` answers."""

    url: str
    links: bool = False
    opens: bool = False


class SqlQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A query over a database of SQLAlchemy's: its URL, or the environment variable that has it."""

    query: str
    url: str | None = None
    url_env: str | None = None


class RecipientSource(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One list: a file (`.csv .tsv .jsonl`, each also with `.gz`; `.parquet`) or a query.

    `address` names the address column, found by name if left out.
    """

    file: str = ""
    sql: SqlQuery | None = None
    address: str | None = None
    list: Name | None = None


class Unsubscribe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Targets of List-Unsubscribe (RFC 2369, RFC 8058); `url` is a template over the recipient's fields and `token`."""

    url: str | None = None
    mailto: str | None = None


class DkimKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One signature: d=, s= and the private key's PEM file."""

    domain: str
    selector: str
    key: str


class SiteLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one lane; a value left out is taken from the next less specific limits."""

    connections: Positive | None = None
    messages_per_connection: Positive | None = None
    messages: PerSecond | None = None
    connects: PerSecond | None = None
    window: WindowSize | None = None


class Relay(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A smarthost. Its secret is read from the environment, a file or a command, never from the campaign file.

    Of several, those of the lowest `priority` share the mail by `weight`; `limits` hold for this one.
    """

    host: str
    port: Port = 587
    tls: Literal["none", "starttls", "implicit"] = "starttls"
    username: str | None = None
    password_env: str | None = None
    certificate: str | None = None
    key: str | None = None
    password_file: str | None = None
    token_command: str | None = None
    auth: AuthMechanism | None = None
    priority: NotNegative = 0
    weight: Weight = 1
    limits: SiteLimits | None = None


Relays = Annotated[tuple[Relay, ...], Meta(extra={"one_or_more": True})]


class DomainRoute(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another way for the mail of some domains: exactly one of `relay`, `hosts` (`host` or `host:port`) and `mx`."""

    relay: Relays = ()
    hosts: tuple[str, ...] = ()
    mx: bool = False


class EgressSource(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A local address to send from, and the name to greet with; `address: null` lets the system choose.

    Mail is spread over sources by `weight`; `limits` are ceilings of each lane that leaves from here.
    """

    address: str | None = None
    ehlo: str | None = None
    weight: Weight = 1
    limits: SiteLimits | None = None


class Dsn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of servers that offer delivery status notifications (RFC 3461)."""

    notify: tuple[Notify, ...] = ("failure",)
    ret: Literal["hdrs", "full"] = "hdrs"
    envid: bool = True
    orcpt: bool = True


class Delivery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How messages travel, and when to stop trying."""

    route: Route = "sandbox"
    port: Port = 25
    allow_private_mx: bool = False
    relay: Relays = ()
    routes: dict[str, DomainRoute] = {}
    tls: TlsMode = "opportunistic"
    sources: tuple[EgressSource, ...] = ()
    in_doubt: InDoubtPolicy = "resend"
    intent: IntentPolicy = "recorded"
    retry: tuple[Seconds, ...] = field(
        default_factory=lambda: (Seconds(300), Seconds(1800), Seconds(7200), Seconds(14400))
    )
    expire: Seconds = field(default_factory=lambda: Seconds(48 * 3600))
    window: WindowSize = 1
    dsn: Dsn | None = None
    requiretls: bool = False


class Dns(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Resolvers as `ip:port`, `[ip6]:port` or `ip`; none means the system's."""

    servers: tuple[str, ...] = ()
    timeout: Seconds = field(default_factory=lambda: Seconds(10))
    validating: Literal["never", "loopback", "always"] = "never"


class TlsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What connections to mail exchangers have to prove, beyond `delivery.tls`.

    `sites` by MX host pattern and `domains` by recipient domain take the place of `delivery.tls`. `mta_sts` (RFC 8461)
    and `dane` (RFC 7672) find what a domain itself demands. `authorities` is a PEM file of roots to trust instead of
    the system's.
    """

    sites: dict[str, TlsMode] = {}
    domains: dict[str, TlsMode] = {}
    mta_sts: bool = True
    mta_sts_port: Port = 443
    dane: bool = True
    authorities: str | None = None


class DomainLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A narrower rate for one recipient domain inside its lane."""

    messages: PerSecond | None = None


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`default` for every lane, `sites` by MX host pattern (`*.google.com`), `domains` by recipient domain."""

    default: SiteLimits = SiteLimits()
    sites: dict[str, SiteLimits] = {}
    domains: dict[str, DomainLimits] = {}


class SoftBounces(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address with `count` soft bounces `within` that time is not mailed for `suppress_for` (null: for good)."""

    count: Positive = 5
    within: Seconds = field(default_factory=lambda: Seconds(30 * 86400))
    suppress_for: Seconds | None = field(default_factory=lambda: Seconds(90 * 86400))


class Feedback(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What follows from answers and from what comes back; `rules` is a TOML file of rules that go before our own.

    `soft_bounces: null` counts none. `trusted_reporters` are senders, or domains of senders, whose signed
    complaints are believed without a token of ours.
    """

    rules: str | None = None
    soft_bounces: SoftBounces | None = SoftBounces()
    trusted_reporters: tuple[str, ...] = ()


class Webhook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where events are posted, and the secret that signs them: of an environment variable or of a file."""

    url: str
    secret_env: str | None = None
    secret_file: str | None = None
    events: tuple[str, ...] = ()
    batch: Annotated[int, Meta(ge=1, le=1000)] = 100
    allow_private: bool = False


class SandboxSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The small internet of the `sandbox` route: the same seed gives the same receivers."""

    seed: int = 1


class CampaignFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a campaign file."""

    campaign: Name
    kind: Literal["marketing", "transactional"] = "marketing"
    from_: str = field(name="from")
    reply_to: str | None = None
    return_path: str | None = None
    list_id: str | None = None
    subject: str
    headers: dict[str, str] = {}
    content: Content
    recipients: tuple[RecipientSource, ...] = ()
    unsubscribe: Unsubscribe | None = None
    languages: Languages | None = None
    split: dict[Name, SplitArm] = {}
    send_at: str | None = None
    schedule: Schedule | None = None
    canary: Canary | None = None
    sender_address: str | None = None
    tracking: Tracking | None = None
    dkim: tuple[DkimKey, ...] = ()
    delivery: Delivery = Delivery()
    dns: Dns = Dns()
    tls: TlsSettings = TlsSettings()
    limits: Limits = Limits()
    feedback: Feedback = Feedback()
    webhooks: tuple[Webhook, ...] = ()
    max_message_size: ByteCount = field(default_factory=lambda: ByteCount(25 * 1024 * 1024))
    sandbox: SandboxSettings = SandboxSettings()


def contents_of(campaign: CampaignFile) -> dict[str, Content]:
    """The campaign's own content and those of its variants, by their keys in the file."""
    contents = {"content": campaign.content}
    if campaign.languages is not None:
        for name, variant in campaign.languages.variants.items():
            contents[f"languages.variants.{name}.content"] = variant.content
    return contents | {f"split.{name}.content": arm.content for name, arm in campaign.split.items()}


class Campaign(CampaignFile, frozen=True, kw_only=True):
    """A campaign ready to run; `file` is the YAML it came from (None when made in Python)."""

    file: str | None = None
