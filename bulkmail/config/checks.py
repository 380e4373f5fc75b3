"""What a well-formed campaign must also be: addresses, names, headers and servers that can be meant.

Each check adds to the findings and goes on. Files are the business of `config.files`; what is legal but unwise is
said by `bulkmail check`, not here.
"""

import re
from collections.abc import Collection
from datetime import UTC, tzinfo
from urllib.parse import urlsplit

from bulkmail.address import MAX_LOCAL_OCTETS, Address, AddressError, parse_address, parse_domain, parse_mailbox
from bulkmail.config.document import quoted
from bulkmail.config.findings import Findings, key_path, nearest
from bulkmail.config.ways import check_relays, check_routes, dns_name, folded_name, is_ip, relays_in_use
from bulkmail.model.campaign import CampaignFile, Delivery, contents_of
from bulkmail.model.delivery import EVENT_NAMES
from bulkmail.policy.schedule import moment_of, window_of, zone_of

# VERP adds "+" and a token of 32 characters to the local part of the return path.
VERP_OCTETS = 33

RESERVED_HEADERS = {
    "from": "from",
    "reply-to": "reply_to",
    "return-path": "return_path",
    "subject": "subject",
    "list-id": "list_id",
    "list-unsubscribe": "unsubscribe",
    "list-unsubscribe-post": "unsubscribe",
    "dkim-signature": "dkim",
}
WRITTEN_HEADERS = frozenset(
    ("to", "date", "message-id", "mime-version", "content-type", "content-transfer-encoding", "content-disposition")
)
NO_HEADERS = frozenset(("cc", "bcc", "received"))

_header_name = re.compile(r"[!-9;-~]+").fullmatch  # RFC 5322 §3.6.8
_control = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]").search
_list_id = re.compile(r"(?:[^<>]*<([^<> ]+)>|([^<> ]+))").fullmatch
_variable = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch
_dot_atom = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)+").fullmatch


def check_meaning(campaign: CampaignFile, findings: Findings) -> None:
    """Add what is wrong with the values of a campaign, file names aside."""
    _check_sender(campaign, findings)
    _check_headers(campaign, findings)
    _check_unsubscribe(campaign, findings)
    _check_dkim(campaign, findings)
    _check_delivery(campaign.delivery, findings)
    _check_dns(campaign, findings)
    for path, places in (("limits", campaign.limits), ("tls", campaign.tls)):
        _check_places(path, places.sites, places.domains, findings)
    _check_feedback(campaign, findings)
    _check_content(campaign, findings)
    _check_schedule(campaign, findings)


def _check_sender(campaign: CampaignFile, findings: Findings) -> None:
    for path, text in (("from", campaign.from_), ("reply_to", campaign.reply_to)):
        if text is None:
            continue
        try:
            address = parse_mailbox(text).address
        except AddressError as error:
            findings.add(path, f"{quoted(text)}: {error}", hint='write "Name <local@domain>" or local@domain')
        else:
            _check_no_template(path, address, findings)
    if campaign.return_path is not None:
        _check_return_path(campaign.return_path, findings)
    if campaign.list_id is not None:
        match = _list_id(campaign.list_id)
        if match is None or not _dot_atom(match[1] or match[2]) or _control(campaign.list_id):
            findings.add(
                "list_id",
                f"{quoted(campaign.list_id)} is no list id (RFC 2919)",
                hint="write news.garden.example or Name <news.garden.example>",
            )


def _check_return_path(text: str, findings: Findings) -> None:
    address = _check_address("return_path", text, findings)
    if address is None:
        return
    room = MAX_LOCAL_OCTETS - VERP_OCTETS
    if len(address.local) > room:
        findings.add("return_path", f"the local part is longer than {room} octets, which leaves no room for the token")
    if not address.ascii_only or '"' in address.local:
        findings.add(
            "return_path", "the local part has quotes or characters beyond ASCII, which not every server takes"
        )


def _check_address(path: str, text: str, findings: Findings) -> Address | None:
    try:
        address = parse_address(text)
    except AddressError as error:
        findings.add(path, f"{quoted(text)}: {error}")
        return None
    _check_no_template(path, address, findings)
    return address


def _check_no_template(path: str, address: Address, findings: Findings) -> None:
    if "{{" in address.local or "{%" in address.local:
        findings.add(path, "a template in an address; this one is the same for all recipients")


def _check_headers(campaign: CampaignFile, findings: Findings) -> None:
    if not campaign.subject.strip():
        findings.add("subject", "is empty")
    _check_one_line("subject", campaign.subject, findings)
    seen: dict[str, str] = {}
    for name, value in campaign.headers.items():
        path, lower = key_path("headers", name), name.lower()
        if not _header_name(name):
            findings.add(path, f"{quoted(name)} is no header name")
        elif lower in RESERVED_HEADERS:
            findings.add(path, f"{name} comes from the key {RESERVED_HEADERS[lower]}", hint="leave it out here")
        elif lower in WRITTEN_HEADERS:
            findings.add(path, f"{name} is written for each message", hint="leave it out")
        elif lower in NO_HEADERS:
            findings.add(path, f"{name} has no place in a campaign", hint="leave it out")
        elif lower in seen:
            findings.add(path, f"the same header as {seen[lower]}", hint="header names ignore case")
        seen.setdefault(lower, name)
        _check_one_line(path, value, findings)


def _check_one_line(path: str, text: str, findings: Findings) -> None:
    control = _control(text)
    if control is None:
        return
    if control[0] in "\r\n":
        findings.add(path, "a line break in a header", hint="write it on one line, in quotes")
    else:
        findings.add(path, f"control character U+{ord(control[0]):04X}")


def _check_content(campaign: CampaignFile, findings: Findings) -> None:
    content = campaign.content
    if all(page is None for page in (content.html, content.mjml, content.markdown, content.text)):
        findings.add("content", "html or text is needed", hint="or mjml, or markdown")
    for key, each in contents_of(campaign).items():
        pages = [name for name in ("html", "mjml", "markdown") if getattr(each, name) is not None]
        if len(pages) > 1:
            findings.add(f"{key}.{pages[1]}", f"{pages[0]} makes the page already", hint="leave one of them out")
    if campaign.languages is not None:
        if not _variable(campaign.languages.by):
            findings.add("languages.by", f"{quoted(campaign.languages.by)} is no name of a field")
        if not campaign.languages.variants:
            findings.add("languages.variants", "is empty", hint="add de: {subject: ..., content: {html: ...}}")
    if len(campaign.split) == 1:
        findings.add("split", "one arm is no test", hint="add another, such as plain: {}")
    for index, source in enumerate(campaign.recipients):
        path = f"recipients[{index}]"
        if bool(source.file) == (source.sql is not None):
            findings.add(path, "one of file and sql is needed")
        if source.sql is not None:
            if (source.sql.url is None) == (source.sql.url_env is None):
                findings.add(
                    f"{path}.sql", "one of url and url_env is needed", hint="url_env keeps a password out of the file"
                )
            if source.sql.url is not None and re.search(r"://[^/@]*:[^/@]+@", source.sql.url):
                findings.add(
                    f"{path}.sql.url", "has a password", hint="put the URL into an environment variable: url_env"
                )
            if not source.sql.query.strip():
                findings.add(f"{path}.sql.query", "is empty")
    if campaign.send_at is not None and not _variable(campaign.send_at):
        findings.add("send_at", f"{quoted(campaign.send_at)} is no name of a field")
    if campaign.tracking is not None and not re.match(r"https://[^/?#\s]+[^?#\s]*\Z", campaign.tracking.url):
        findings.add("tracking.url", f"{quoted(campaign.tracking.url)} is no https URL without ? and #")


def _check_schedule(campaign: CampaignFile, findings: Findings) -> None:
    schedule = campaign.schedule
    if schedule is None:
        return
    if schedule.at is None and schedule.window is None:
        findings.add("schedule", "at or window is needed")
    if schedule.timezone is not None and not _variable(schedule.timezone):
        findings.add("schedule.timezone", f"{quoted(schedule.timezone)} is no name of a field")
    if schedule.window is None and (schedule.timezone is not None or schedule.days):
        findings.add("schedule", "timezone and days belong to a window", hint='add window: "09:00-17:00"')
    zone: tzinfo = UTC
    try:
        zone = zone_of(schedule.default_timezone)
    except ValueError as error:
        findings.add("schedule.default_timezone", str(error))
    try:
        if schedule.at is not None:
            moment_of(schedule.at, zone)
    except ValueError as error:
        findings.add("schedule.at", str(error))
    try:
        if schedule.window is not None:
            window_of(schedule.window)
    except ValueError as error:
        findings.add("schedule.window", str(error))


def _check_unsubscribe(campaign: CampaignFile, findings: Findings) -> None:
    target = campaign.unsubscribe
    if target is None:
        return
    if target.url is None and target.mailto is None:
        findings.add("unsubscribe", "url or mailto is needed")
    if target.url is not None:
        outside = re.sub(r"\{[{%].*?[}%]\}", "", target.url)
        if not re.match(r"https?://[^/?#\s]", target.url, re.IGNORECASE):
            findings.add("unsubscribe.url", f"{quoted(target.url)} does not begin with https:// and a host")
        elif re.search(r"[\s<>]", outside) or _control(target.url):
            findings.add("unsubscribe.url", f"{quoted(target.url)} has a space, < or >, which no URL has")
    if target.mailto is not None:
        _check_address("unsubscribe.mailto", target.mailto, findings)


def _check_dkim(campaign: CampaignFile, findings: Findings) -> None:
    seen: dict[tuple[str, str], int] = {}
    for index, key in enumerate(campaign.dkim):
        path = f"dkim[{index}]"
        domain = _check_domain(f"{path}.domain", key.domain, findings) or key.domain
        if not dns_name(key.selector):
            findings.add(f"{path}.selector", f"{quoted(key.selector)} is no selector, which is a name in the DNS")
        pair = (domain, key.selector.lower())
        if pair in seen:
            findings.add(path, f"the same domain and selector as dkim[{seen[pair]}]")
        seen.setdefault(pair, index)


def _check_domain(path: str, text: str, findings: Findings) -> str | None:
    try:
        return parse_domain(text)
    except AddressError as error:
        findings.add(path, f"{quoted(text)}: {error}")
        return None


def _check_delivery(delivery: Delivery, findings: Findings) -> None:
    if delivery.route == "relay" and not delivery.relay:
        findings.add("delivery.route", "the route relay needs the key relay beside it", hint="add relay: {host: ...}")
    check_relays(delivery.relay, "delivery.relay", findings)
    check_routes(delivery, findings)
    if not delivery.retry:
        findings.add("delivery.retry", "is empty", hint="leave it out for 5m, 30m, 2h, 4h")
    _check_extensions(delivery, findings)
    seen: dict[str | None, int] = {}
    for index, source in enumerate(delivery.sources):
        path = f"delivery.sources[{index}]"
        if source.address is not None and not is_ip(source.address):
            findings.add(f"{path}.address", f"{quoted(source.address)} is no IP address")
        elif source.address is not None and "%" in source.address:
            findings.add(
                f"{path}.address",
                f"{quoted(source.address)} has a zone: it is of one link alone, and reaches no mail exchanger",
                hint="write a global address of this machine; `ip address` lists them",
            )
        if source.ehlo is not None and not _is_address_literal(source.ehlo):
            _check_domain(f"{path}.ehlo", source.ehlo, findings)
        if source.address in seen:
            findings.add(path, f"the same address as delivery.sources[{seen[source.address]}]")
        seen.setdefault(source.address, index)


def _check_extensions(delivery: Delivery, findings: Findings) -> None:
    if delivery.dsn is not None:
        notify = delivery.dsn.notify
        if not notify:
            findings.add("delivery.dsn.notify", "is empty", hint="write [failure], or [never] for no notification")
        elif "never" in notify and len(notify) > 1:
            findings.add(
                "delivery.dsn.notify", "never stands alone (RFC 3461 §4.1)", hint="leave out never or the rest"
            )
        elif len(set(notify)) < len(notify):
            findings.add("delivery.dsn.notify", "names something twice")
        if delivery.requiretls and delivery.dsn.ret == "full":
            problem = "full, and REQUIRETLS lets nobody return a message (RFC 8689 §5)"
            findings.add("delivery.dsn.ret", problem, hint="write hdrs")
    if delivery.requiretls and delivery.tls == "none":
        findings.add("delivery.requiretls", "needs TLS, and delivery.tls is none", hint="leave delivery.tls out")
    for path, relay in relays_in_use(delivery, findings):
        if delivery.requiretls and relay.tls == "none":
            findings.add("delivery.requiretls", f"needs TLS, and {path}.tls is none", hint="use starttls or implicit")


def _check_dns(campaign: CampaignFile, findings: Findings) -> None:
    for index, server in enumerate(campaign.dns.servers):
        host, port = server, "53"
        if match := re.fullmatch(r"\[(.*)\](?::(.*))?", server):
            host, port = match[1], match[2] or ("53" if match[2] is None else "")
        elif server.count(":") == 1:
            host, _, port = server.partition(":")
        if not is_ip(host) or not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or not 1 <= int(port) <= 65535:
            findings.add(
                f"dns.servers[{index}]",
                f"{quoted(server)} is no IP address with or without a port",
                hint="write 192.0.2.1:53 or [2001:db8::1]:53",
            )


def _check_places(path: str, sites: Collection[str], domains: Collection[str], findings: Findings) -> None:
    """The keys of `limits` and `tls`: patterns of MX hosts, and recipient domains."""
    for pattern in sites:
        host = pattern.removeprefix("*.")
        if not dns_name(host):
            findings.add(
                key_path(f"{path}.sites", pattern),
                f"{quoted(pattern)} is no pattern of MX hosts",
                hint='write "*.google.com" or a host name',
            )
    for domain in domains:
        _check_domain(key_path(f"{path}.domains", domain), domain, findings)
    for kind, keys in (("sites", sites), ("domains", domains)):
        seen: dict[str, str] = {}
        for key in keys:
            folded = folded_name(key)
            if folded in seen:
                findings.add(key_path(f"{path}.{kind}", key), f"the same as {seen[folded]}")
            seen.setdefault(folded, key)


def _is_address_literal(text: str) -> bool:
    """`[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3)."""
    match = re.fullmatch(r"\[(IPv6:)?(.*)\]", text, re.IGNORECASE)
    return match is not None and is_ip(match[2]) and (":" in match[2]) == bool(match[1])


def _check_feedback(campaign: CampaignFile, findings: Findings) -> None:
    for index, domain in enumerate(campaign.feedback.trusted_reporters):
        try:
            parse_address(domain) if "@" in domain else parse_domain(domain)
        except AddressError as error:
            findings.add(f"feedback.trusted_reporters[{index}]", f"{quoted(domain)}: {error}")
    for index, hook in enumerate(campaign.webhooks):
        path = f"webhooks[{index}]"
        scheme = hook.url.partition("://")[0]
        if scheme not in ("https", "http") or _control(hook.url) or " " in hook.url or not _host_in(hook.url):
            findings.add(f"{path}.url", f"{quoted(hook.url)} is no https URL")
        elif scheme == "http" and not hook.allow_private:
            findings.add(f"{path}.url", "http carries events in clear", hint="use https, or allow_private in a test")
        if (hook.secret_env is None) == (hook.secret_file is None):
            findings.add(path, "one of secret_env and secret_file is needed")
        if hook.secret_env is not None and not _variable(hook.secret_env):
            findings.add(f"{path}.secret_env", f"{quoted(hook.secret_env)} is no name of an environment variable")
        for name in hook.events:
            if name not in EVENT_NAMES:
                meant = nearest(name, EVENT_NAMES)
                hint = f"did you mean {meant}?" if meant else f"known are {', '.join(EVENT_NAMES)}"
                findings.add(f"{path}.events", f"{quoted(name)} is no event", hint=hint)


def _host_in(url: str) -> bool:
    """Whether there is a host, and a port that can be one where there is any."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
