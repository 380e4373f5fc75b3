"""The JSON Schema of a campaign file, for editors: types from the model, a sentence for every key."""

from typing import Any

from msgspec import inspect

from bulkmail.config.units import BYTES_PATTERN, RATE_PATTERN, SECONDS_PATTERN, SHARE_PATTERN
from bulkmail.model.campaign import CampaignFile
from bulkmail.model.units import ByteCount, PerSecond, Seconds, Share

DIALECT = "https://json-schema.org/draft/2020-12/schema"

DESCRIPTIONS: dict[str, dict[str, str]] = {
    "CampaignFile": {
        "campaign": "Name of the family of runs: letters, digits, - and _.",
        "kind": "marketing asks for an unsubscribe target in the checks; transactional does not.",
        "from": "The From header: `Name <local@domain>` or `local@domain`.",
        "reply_to": "The Reply-To header, where answers should go elsewhere than to `from`.",
        "return_path": "Where bounces go; +TOKEN is added to the local part for each recipient (VERP).",
        "list_id": "The List-Id header (RFC 2919): `Name <news.garden.example>` or `news.garden.example`.",
        "subject": "The Subject header, a template over the fields of the recipient.",
        "headers": "Further headers; the values are templates. Those with a key of their own are refused here.",
        "content": "The message: template files and what goes with them, relative to the campaign file.",
        "recipients": "The lists to send to, in this order; an address in several is mailed once.",
        "unsubscribe": "Targets of List-Unsubscribe; with an https URL also of one-click (RFC 8058).",
        "languages": "Variants of subject and content by a field, such as the recipient's language.",
        "split": "An A/B test: arms with another subject or content each.",
        "send_at": "The field with the time before which a recipient gets no mail.",
        "schedule": "When mail may go out: from a moment on, or in a window of the recipient's day.",
        "canary": "The first recipients, whose results decide whether the others follow.",
        "sender_address": "The postal address of the sender, which marketing mail must show.",
        "tracking": "Counting of clicks and opens; off if left out.",
        "dkim": "One DKIM signature each.",
        "delivery": "How messages travel, and when to stop trying.",
        "dns": "Name servers to ask.",
        "tls": "What receivers have to prove before they get mail.",
        "limits": "How much at once, and how fast.",
        "feedback": "What follows from answers, and from bounces and complaints that come back.",
        "webhooks": "Where events are posted, as they happen.",
        "max_message_size": "The largest message that is sent; a recipient whose message is larger is not mailed.",
        "sandbox": "The small internet of the route sandbox.",
    },
    "Content": {
        "html": "Template of the HTML part.",
        "mjml": "Template of the HTML part in MJML, which is made HTML once.",
        "markdown": "Template of the HTML part in Markdown; it is the text part too.",
        "text": "Template of the plain text part; made from the page if left out.",
        "amp": "Template of an AMP part (text/x-amp-html), between text and HTML.",
        "calendar": "Template of an iCalendar file, sent as an invitation.",
        "preheader": "A template: the words that stand beside the subject in a list of messages.",
        "locale": "How dates, numbers and money are written: de, en_GB.",
        "inline_css": "Make the rules of <style> style attributes, once.",
        "inline": "Files the HTML part shows, by `cid:` and the file's name.",
        "attachments": "Files sent along; a path that is a template names a file of each recipient's own.",
    },
    "Variant": {"subject": "Another subject.", "content": "What of the content is different."},
    "Languages": {"by": "The field that names the variant.", "variants": "By value of that field: de, fr."},
    "SplitArm": {
        "subject": "Another subject.",
        "content": "What of the content is different.",
        "weight": "Parts of the recipients, by a hash of their addresses.",
    },
    "Schedule": {
        "at": "No mail before: 2027-05-01 09:00 Europe/Vienna, or with an offset, 2027-05-01T09:00:00+02:00.",
        "window": "The hours in which mail may begin to go out, by the recipient's clock: 09:00-17:00.",
        "timezone": "The field with the recipient's time zone: Europe/Vienna.",
        "default_timezone": "The time zone of rows that name none, and of `at` without one.",
        "days": "Days of the week that count: mon, tue, wed, thu, fri, sat, sun; all if left out.",
    },
    "Canary": {
        "first": "The share of recipients who get the mail first, by a hash of their addresses.",
        "wait": "How long after the last of these was tried their results are judged.",
        "bounced": "With more bounced or expired the run is paused.",
        "deferred": "With more still deferred the run is paused.",
    },
    "Tracking": {
        "url": "Where `bulkmail serve` answers, https.",
        "links": "Lead links through signed redirects.",
        "opens": "Add a picture that is fetched when the message is opened.",
    },
    "RecipientSource": {
        "file": "A list ending in .csv, .tsv, .jsonl (each also with .gz) or .parquet, relative to the campaign file.",
        "sql": "A query in place of a file.",
        "address": "The column or key with the address; found by name (email, mail, ...) if left out.",
        "list": "Name of the list, to which an unsubscribe is limited.",
    },
    "SqlQuery": {
        "query": "What selects the recipients; its columns are the fields.",
        "url": "The database as SQLAlchemy names it, without a password: sqlite:///list.db.",
        "url_env": "The environment variable with the database's URL.",
    },
    "Unsubscribe": {
        "url": "An https URL, a template over the recipient's fields and `token`.",
        "mailto": "An address, without mailto:.",
    },
    "DkimKey": {
        "domain": "The signing domain (d=).",
        "selector": "The selector (s=); the public key is at SELECTOR._domainkey.DOMAIN.",
        "key": "The private key as a PEM file, readable by its owner alone; the sandbox makes one that is missing.",
    },
    "Delivery": {
        "route": "sandbox: a small internet on this machine; mx: to the mail exchangers; relay: through a smarthost.",
        "port": "The port of mail exchangers.",
        "allow_private_mx": "Let MX hosts be at loopback and private addresses: for test networks.",
        "relay": "The smarthost of the route relay, or a list of them.",
        "routes": "By recipient domain, or `*.` and a domain for all below it: another way than `route`.",
        "tls": "Towards mail exchangers: none, opportunistic (if offered), required, or verified (with its name).",
        "sources": "Local addresses to send from; the system's choice if left out.",
        "in_doubt": "What to do where a connection ended between a message and its reply: send again, hold, believe.",
        "intent": "What is kept of a message before it leaves: recorded outlives a crash, synced a power cut, too.",
        "retry": "Waits before the attempts after the first; the last repeats until `expire`.",
        "expire": "How long after the first attempt a recipient is given up.",
        "window": "Transactions in flight on a connection where the receiver offers CHUNKING: 1 to 64, grown from 1.",
        "dsn": "Delivery status notifications, asked for where a receiver offers them.",
        "requiretls": "Only to receivers that pass a message on under TLS or not at all (RFC 8689).",
    },
    "Dsn": {
        "notify": "never, or any of failure, delay and success.",
        "ret": "How much of the message a notification brings back: hdrs or full.",
        "envid": "Name the message by its token.",
        "orcpt": "Name the recipient as the list has it.",
    },
    "Relay": {
        "host": "Name or address of the smarthost.",
        "port": "Its port.",
        "tls": "none, starttls, or implicit (TLS from the first byte, usually port 465).",
        "username": "User name for AUTH; with a password, never without TLS.",
        "password_env": "The environment variable with the password.",
        "certificate": "A client's certificate as a PEM file, for a relay that asks for one.",
        "key": "The key of the certificate as a PEM file; in the same file if left out.",
        "password_file": "A file with the password in its first line, readable by its owner alone.",
        "token_command": "A command that prints a bearer token, for XOAUTH2 and OAUTHBEARER; run without a shell.",
        "auth": "The mechanism to log in by; the strongest that the relay offers if left out.",
        "priority": "Relays of a higher number are used while all of a lower one fail.",
        "weight": "The share of the mail among relays of the same priority.",
        "limits": "For this relay; what is left out is as for any site.",
    },
    "DomainRoute": {
        "relay": "A smarthost, or a list of them, as under `delivery.relay`.",
        "hosts": "Hosts to try in this order, as `host`, `host:port` or `[ip6]:port`; without a port, `delivery.port`.",
        "mx": "true: the mail exchangers of the domain, where `route` is relay.",
    },
    "EgressSource": {
        "address": "A local IP address.",
        "ehlo": "The host name to greet with; its addresses should be this one.",
        "weight": "The share of the mail that leaves from here.",
        "limits": "Ceilings for what goes from here to any one site.",
    },
    "Dns": {
        "servers": "Name servers as `ip`, `ip:port` or `[ip6]:port`; the system's if left out.",
        "timeout": "How long one look-up may take.",
        "validating": "Whether the servers' word counts for what DNSSEC proves: never, loopback (all are on this "
        "machine), or always.",
    },
    "TlsSettings": {
        "sites": "In place of delivery.tls, by MX host: a name, or `*.` and a domain.",
        "domains": "In place of delivery.tls and of `sites`, by the domain of recipients.",
        "mta_sts": "Look for MTA-STS policies (RFC 8461) and hold to them.",
        "mta_sts_port": "The port of the web servers that have the policies.",
        "dane": "Hold to TLSA records (RFC 7672) where DNSSEC proves them; needs dns.validating.",
        "authorities": "A PEM file of certificates to trust instead of the system's.",
    },
    "Limits": {
        "default": "For every lane, that is, from one source to one site.",
        "sites": "By MX host: a name, or `*.` and a domain.",
        "domains": "By the domain of recipients, within the lane.",
    },
    "SiteLimits": {
        "connections": "Connections open at once.",
        "messages_per_connection": "Messages before a connection is closed.",
        "messages": "Messages in a span of time.",
        "connects": "New connections in a span of time.",
        "window": "Transactions in flight on a connection; that of `delivery` if left out.",
    },
    "DomainLimits": {"messages": "Messages in a span of time."},
    "Feedback": {
        "rules": "A TOML file of rules on what answers mean; they go before bulkmail's own.",
        "soft_bounces": "When an address that cannot be reached for now is left alone for a time.",
        "trusted_reporters": "Senders, or whole domains, whose signed complaints are believed without a token of ours.",
    },
    "SoftBounces": {
        "count": "So many soft bounces, one a run at most,",
        "within": "in this time,",
        "suppress_for": "and the address gets no mail for so long.",
    },
    "Webhook": {
        "url": "An https URL; http only with allow_private.",
        "secret_env": "The environment variable with the secret that signs each request.",
        "secret_file": "The file with that secret.",
        "events": "Which events are posted; all if left out.",
        "batch": "The most events in one request.",
        "allow_private": "Let the receiver be at a loopback or private address.",
    },
    "SandboxSettings": {"seed": "The same seed gives the same receivers."},
}

_QUANTITIES: dict[type, tuple[str, str]] = {
    Seconds: (SECONDS_PATTERN, "A span of time: 250ms, 90s, 15m, 2h, 1d; a plain number is seconds."),
    Share: (SHARE_PATTERN, "A percentage: 1%, 0.5%."),
    PerSecond: (RATE_PATTERN, "A rate: 500/s, 30/m, 2/h; a plain number is per second."),
    ByteCount: (BYTES_PATTERN, "A size: 512KiB, 2MiB, 10MB; a plain number is bytes."),
}


def campaign_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a campaign file. What needs more than one key to judge is left to `load_campaign`."""
    parts: dict[str, Any] = {}
    # msgspec's own generator cannot write defaults that hold a type of ours.
    _schema(inspect.type_info(CampaignFile), parts)
    root = parts.pop(CampaignFile.__name__)
    return {"$schema": DIALECT, **root, "title": "bulkmail campaign file", "$defs": parts}


def _schema(shape: inspect.Type, parts: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type; those of structs go into `parts`, by name."""
    match shape:
        case inspect.StructType():
            name = shape.cls.__name__
            if name not in parts:
                parts[name] = _object(shape, parts)
            return {"$ref": f"#/$defs/{name}"}
        case inspect.CustomType():
            name = shape.cls.__name__
            pattern, description = _QUANTITIES[shape.cls]
            number = {"type": "integer" if shape.cls is ByteCount else "number", "exclusiveMinimum": 0}
            forms = [{"type": "string", "pattern": pattern}, *([number] if shape.cls is not Share else [])]
            parts.setdefault(name, {"title": name, "description": description, "anyOf": forms})
            return {"$ref": f"#/$defs/{name}"}
        case inspect.Metadata():
            several = _schema(shape.type, parts)
            return {"anyOf": [several["items"], several]}
        case inspect.UnionType():
            return {"anyOf": [_schema(inner, parts) for inner in shape.types]}
        case inspect.VarTupleType():
            return {"type": "array", "items": _schema(shape.item_type, parts)}
        case inspect.DictType():
            return {"type": "object", "additionalProperties": _schema(shape.value_type, parts)}
        case inspect.LiteralType():
            return {"enum": list(shape.values)}
        case inspect.StrType():
            return {"type": "string"} | ({"pattern": shape.pattern} if shape.pattern else {})
        case inspect.IntType():
            bounds = {"minimum": shape.ge, "maximum": shape.le}
            return {"type": "integer"} | {name: bound for name, bound in bounds.items() if bound is not None}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.NoneType():
            return {"type": "null"}
    raise NotImplementedError(f"no schema for {shape}")


def _object(shape: inspect.StructType, parts: dict[str, Any]) -> dict[str, Any]:
    name = shape.cls.__name__
    properties = {}
    for field in shape.fields:
        schema = {"description": DESCRIPTIONS[name][field.encode_name], **_schema(field.type, parts)}
        if isinstance(field.default, (str, int, float)):
            schema["default"] = field.default
        properties[field.encode_name] = schema
    return {
        "title": name,
        "description": (shape.cls.__doc__ or "").partition("\n")[0],
        "type": "object",
        "properties": properties,
        "required": [field.encode_name for field in shape.fields if field.required],
        "additionalProperties": False,
    }
