"""Judge who writes: From, return path, headers, the ways out for readers, and the postal address."""

import re
from collections.abc import Iterator

from bulkmail.address import parse_mailbox
from bulkmail.model.campaign import Campaign
from bulkmail.preflight.finding import Finding, found
from bulkmail.preflight.links import same_house
from bulkmail.preflight.page import Page

FREE_MAILBOXES = frozenset((
    "aol.com", "gmail.com", "gmx.com", "gmx.de", "gmx.net", "googlemail.com", "hotmail.com", "icloud.com", "live.com",
    "mail.ru", "me.com", "msn.com", "orange.fr", "outlook.com", "proton.me", "protonmail.com", "qq.com", "t-online.de",
    "wanadoo.fr", "web.de", "yahoo.co.jp", "yahoo.co.uk", "yahoo.com", "yahoo.de", "yahoo.fr", "yandex.ru", "163.com",
))  # fmt: skip
_NOBODY = re.compile(r"(?:no|do-?not|donot)[-_.]?reply", re.IGNORECASE)
_LEAVE = re.compile(
    r"unsubscrib|opt[- ]?out|abmeld|abbestell|désabonn|désinscri|se désinscrire|darse de baja|cancelar (?:la )?suscrip"
    r"|disiscriv|annulla l.iscrizione|afmelden|uitschrijven|avregistrera|afmeld|meld deg av|peruuta|wypisz|odhlásit"
    r"|отписаться|配信停止|退订|수신거부|abonelikten|descadastr|cancelar inscri",
    re.IGNORECASE,
)


def campaign_findings(campaign: Campaign) -> Iterator[Finding]:
    """What the campaign's own words show, whoever the recipient is."""
    where = str(campaign.file)
    yield from _from_findings(campaign, where)
    headers = {name.lower(): value.strip().lower() for name, value in campaign.headers.items()}
    urgent = {
        "x-priority": ("1", "2"),
        "importance": ("high",),
        "priority": ("urgent",),
        "x-msmail-priority": ("high",),
    }
    for name, values in urgent.items():
        if campaign.kind == "marketing" and headers.get(name, "").split(" ")[0] in values:
            yield found("headers.priority", f"{name}: {headers[name]}", where=where, remedy="leave it out")
    if headers.get("auto-submitted", "no").startswith("auto-replied") or headers.get("precedence") in (
        "auto_reply",
        "junk",
    ):
        yield found(
            "headers.precedence", "mail that calls itself an automatic answer", where=where, remedy="leave it out"
        )
    author = parse_mailbox(campaign.from_).address.domain
    if campaign.return_path is not None:
        bounces = campaign.return_path.rpartition("@")[2].lower()
        if not same_house(author, bounces):
            what = f"return_path is at {bounces}, from at {author}"
            yield found("sender.return-path", what, where=where, remedy=f"take one at {author} or below it")
    if campaign.tracking is not None and (campaign.tracking.links or campaign.tracking.opens):
        host = re.sub(r"^https://|[:/].*$", "", campaign.tracking.url)
        if not same_house(author, host):
            what = f"links lead through {host}, which is not of {author}"
            yield found("tracking.host", what, where=where, remedy=f"take a host below {author}")
    if campaign.kind == "marketing":
        yield from _unsubscribe_findings(campaign, where)
        if campaign.list_id is None:
            what = "no list_id: filters and feedback loops cannot tell this list from your other mail"
            yield found("sender.list-id", what, where=where, remedy="set list_id (RFC 2919)")


def _from_findings(campaign: Campaign, where: str) -> Iterator[Finding]:
    mailbox = parse_mailbox(campaign.from_)
    domain, name = mailbox.address.domain.lower(), mailbox.name or ""
    if domain in FREE_MAILBOXES:
        what = f"from is at {domain}, which lets nobody else send for it"
        yield found("sender.free", what, where=where, remedy="write from a domain of your own")
    if _NOBODY.match(mailbox.address.local) and campaign.reply_to is None:
        what = f"{mailbox.address} takes no answers and there is no reply_to"
        yield found("sender.nobody", what, where=where, remedy="set reply_to to a mailbox that somebody reads")
    if not name.strip():
        what = f"readers see {mailbox.address} alone"
        yield found("sender.name", what, where=where, remedy='write from: "Name <address>"')
    shown = re.search(r"@([\w-]+(?:\.[\w-]+)+)", name)
    if shown is not None and not same_house(shown[1].lower(), domain):
        what = f'the name "{name}" looks like an address of {shown[1]}'
        yield found(
            "sender.disguise", what, where=where, remedy="Gmail and Microsoft take that for fraud: write a name"
        )


def _unsubscribe_findings(campaign: Campaign, where: str) -> Iterator[Finding]:
    target = campaign.unsubscribe
    if target is None:
        what = "a marketing campaign without unsubscribe"
        remedy = "Gmail and Yahoo ask bulk senders for one-click unsubscribe (RFC 8058): set unsubscribe.url"
        yield found("unsubscribe.missing", what, where=where, remedy=remedy)
    elif target.url is None or not target.url.startswith("https://"):
        what = "unsubscribe has no https url, so there is no one-click unsubscribe (RFC 8058)"
        yield found(
            "unsubscribe.one-click",
            what,
            where=where,
            remedy="set unsubscribe.url to an https address that takes a POST",
        )
    elif "token" not in target.url and "{{" not in target.url:
        what = "unsubscribe.url is the same for everybody, so nobody can be told apart by it"
        yield found("unsubscribe.anonymous", what, where=where, remedy="put {{ token }} into it")


def message_findings(
    campaign: Campaign, page: Page | None, text: str | None, leave: str | None, where: str
) -> Iterator[Finding]:
    """What law and receivers want to see in marketing itself; `leave` is the URL of List-Unsubscribe."""
    if campaign.kind != "marketing":
        return
    parts = [("page", page.text)] if page is not None else []
    parts += [("text part", text)] if text is not None else []
    for name, words in parts:
        links = [link for link in page.links if link.target] if page is not None and name == "page" else []
        by_link = any(link.target == leave or _LEAVE.search(link.words) for link in links)
        if not by_link and not (name == "text part" and ((leave and leave in words) or _LEAVE.search(words))):
            what = f"the {name} has no link to unsubscribe"
            yield found(
                "unsubscribe.invisible", what, where=where, remedy="print {{ unsubscribe_url }} where it can be seen"
            )
    wanted = _folded(campaign.sender_address or "")
    if not wanted:
        what = "no postal address is named, which CAN-SPAM and other laws want in every such message"
        yield found(
            "sender.postal-address", what, where=where, remedy="set sender_address, and print {{ sender_address }}"
        )
    for name, words in parts:
        if wanted and wanted not in _folded(words):
            what = f"the {name} does not show sender_address"
            yield found("sender.postal-address", what, where=where, remedy="print {{ sender_address }}")


def _folded(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.lower())
