"""The table of rules: what each id means, and how much it matters. Ids are never renamed or used again."""

from enum import StrEnum

from msgspec import Struct


class Level(StrEnum):
    """`ERROR`: nothing should be sent like this; `WARNING`: some receivers will mind; `NOTE`: good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Rule(Struct, frozen=True):
    """`says` completes "found is ..."; `level` is that of its findings."""

    level: Level
    says: str


_E, _W, _N = Level.ERROR, Level.WARNING, Level.NOTE

RULES: dict[str, Rule] = {
    # The file and its rows
    "campaign.invalid": Rule(_E, "a campaign file that cannot be used"),
    "content.invalid": Rule(_E, "a template, page or attachment that cannot be used"),
    "recipients.none": Rule(_E, "a list of which nobody would get the message"),
    "recipients.rejected": Rule(_W, "a row that gets no mail: no address, or one that is wrong"),
    "recipients.missing-field": Rule(_W, "rows without a field that the message prints"),
    "recipients.duplicates": Rule(_N, "rows that repeat an address; it gets one message"),
    "recipients.suppressed": Rule(_N, "rows whose address is suppressed; they get no mail"),
    "recipients.all-suppressed": Rule(_W, "a list of which a tenth or more is suppressed"),
    "recipients.role": Rule(_W, "an address of an office (postmaster@, abuse@), where nobody has subscribed"),
    "recipients.disposable": Rule(_W, "an address at a provider of throw-away mailboxes, by the list that was given"),
    "recipients.typo": Rule(_W, "a domain that looks like a slip of the keyboard (gmial.com)"),
    "recipients.reserved-domain": Rule(_W, "a domain that can never get mail (.invalid, .test, localhost)"),
    "recipients.dead-domain": Rule(_W, "a domain that takes no mail, by the DNS"),
    "recipients.sample": Rule(_W, "a row that looks left over from a trial (test@, Firstname)"),
    # Links
    "links.empty": Rule(_E, "a link that leads nowhere"),
    "links.placeholder": Rule(_E, "a link to a stand-in (example.com/your-link, TODO)"),
    "links.local": Rule(_E, "a link to this machine or a private network"),
    "links.relative": Rule(_E, "a link without scheme and host, which a mail program cannot follow"),
    "links.syntax": Rule(_E, "a link that is no URL"),
    "links.scheme": Rule(_E, "a link with a scheme that mail programs do not follow"),
    "links.anchor": Rule(_W, "a link to a place of the page that is not there"),
    "links.mailto": Rule(_W, "a mailto: link without a proper address"),
    "links.insecure": Rule(_W, "a link by http, which browsers warn of"),
    "links.address": Rule(_W, "a link to an IP address, as phishers write them"),
    "links.user": Rule(_W, "a link with a user name before the host, as phishers write them"),
    "links.mismatch": Rule(_W, "a link whose words name another host than it leads to"),
    "links.shortener": Rule(_W, "a link of a shortener, which filters distrust"),
    "links.wordless": Rule(_W, "a link without words or picture to press"),
    "links.broken": Rule(_E, "a link whose server answers that there is nothing"),
    "links.unanswered": Rule(_W, "a link whose server did not answer"),
    # Pictures
    "images.missing": Rule(_E, "a picture that is not in the message, or has no source"),
    "images.local": Rule(_E, "a picture on this machine or a private network"),
    "images.broken": Rule(_E, "a picture whose server answers that there is nothing"),
    "images.insecure": Rule(_W, "a picture by http, which many mail programs do not show"),
    "images.alt": Rule(_W, "a picture without alt text"),
    "images.data": Rule(_W, "a picture inside the page (data:), which Gmail and Outlook do not show"),
    "images.format": Rule(_W, "a picture in a format that not every mail program shows (svg, webp, avif)"),
    "images.heavy": Rule(_W, "an inline picture of a megabyte or more"),
    "images.unused": Rule(_W, "an inline picture that the page does not show"),
    "images.only": Rule(_W, "a page of pictures with hardly any text, as spam is"),
    # What is read
    "text.missing": Rule(_W, "a page without a text part"),
    "text.empty": Rule(_W, "a text part, or page, with nothing to read"),
    "text.different": Rule(_W, "a text part that says something else than the page"),
    "text.html": Rule(_W, "HTML tags in the text part"),
    "text.long-line": Rule(_N, "lines of the text part that are longer than readers wrap well"),
    "words.unrendered": Rule(_E, "template syntax, or that of another program, in the finished message"),
    "words.placeholder": Rule(_E, "filler (lorem ipsum, TODO) in the finished message"),
    "words.nothing": Rule(_W, "None, null, undefined or NaN where a value should be"),
    "words.spam": Rule(_W, "phrases that filters count"),
    "html.tag": Rule(_W, "an element that mail programs take out (script, form, iframe)"),
    "html.stylesheet": Rule(_W, "styles from outside, which mail programs do not load"),
    "html.unclosed": Rule(_W, "an element that is not closed where it should be"),
    "html.hidden": Rule(_W, "text made too small or too faint to be seen, as spam does"),
    "html.contrast": Rule(_W, "text that can hardly be read on its background"),
    "html.dark-contrast": Rule(_W, "text that can hardly be read in dark mode, by the page's own dark styles"),
    "html.dark-mode": Rule(_N, "how the page fares in dark mode"),
    "html.language": Rule(_N, "a page that does not say its language"),
    # Subject
    "subject.empty": Rule(_E, "a subject with nothing in it for some rows"),
    "subject.long": Rule(_W, "a subject that is cut off nearly everywhere"),
    "subject.shouting": Rule(_W, "a subject in capitals"),
    "subject.punctuation": Rule(_W, "a subject with !!!, ??? or $$$"),
    "subject.reply": Rule(_W, "a subject that claims to answer or forward (Re:, Fwd:)"),
    # Size
    "message.size": Rule(_N, "how large the messages are"),
    "size.receiver": Rule(_W, "a message larger than receivers take"),
    "size.clipped": Rule(_W, "a page that Gmail cuts off"),
    "size.line": Rule(_E, "a line longer than SMTP carries"),
    "size.header": Rule(_W, "headers larger than receivers take"),
    # Who writes
    "sender.free": Rule(_W, "a From at a free mailbox provider, whose DMARC policy forbids it"),
    "sender.nobody": Rule(_W, "a From that takes no answers, without reply_to"),
    "sender.name": Rule(_W, "a From without a name"),
    "sender.disguise": Rule(_W, "a name in From that looks like another address"),
    "sender.return-path": Rule(_W, "a return path of another organization, so that SPF does not count for DMARC"),
    "sender.postal-address": Rule(_W, "marketing without the sender's postal address in the message"),
    "sender.list-id": Rule(_N, "marketing without List-Id"),
    "headers.priority": Rule(_W, "marketing that claims to be urgent"),
    "headers.precedence": Rule(_W, "headers that make mail look like an automatic answer"),
    "marketing.unsubscribe": Rule(_E, "marketing that a send refuses, for it shows no way out"),
    "marketing.address": Rule(_E, "marketing that a send refuses, for it shows no postal address"),
    "unsubscribe.missing": Rule(_W, "marketing without unsubscribe"),
    "unsubscribe.one-click": Rule(_W, "marketing without one-click unsubscribe (RFC 8058)"),
    "unsubscribe.anonymous": Rule(_W, "an unsubscribe link that is the same for everybody"),
    "unsubscribe.invisible": Rule(_W, "marketing whose page or text has no link to unsubscribe"),
    "tracking.host": Rule(_N, "links that lead through a host of another organization than the sender's"),
    # Proof of origin
    "dkim.key": Rule(_E, "a key that cannot be used"),
    "dkim.missing": Rule(_W, "a message that is not signed"),
    "dkim.alignment": Rule(_W, "signatures that do not count for DMARC"),
    "dkim.weak": Rule(_W, "a key that receivers find too short"),
    "dkim.signature": Rule(_E, "a signature that an independent verifier refuses"),
    "dkim.unverified": Rule(_N, "a signature that could not be verified here"),
    "dkim.sandbox-key": Rule(_N, "a key that the sandbox has yet to make"),
    "dkim.unpublished": Rule(_E, "a key whose public half is not in the DNS"),
    "dkim.published": Rule(_E, "a key whose public half in the DNS is another, or broken"),
    "dkim.unknown": Rule(_W, "a key whose public half could not be looked up"),
    "dns.unusable": Rule(_W, "a DNS that could not be asked"),
    "spf.missing": Rule(_W, "a return path whose domain has no SPF record"),
    "spf.invalid": Rule(_W, "an SPF record that is broken"),
    "spf.fail": Rule(_W, "an address that SPF forbids to send"),
    "spf.weak": Rule(_W, "an address that SPF does not allow to send"),
    "spf.lookups": Rule(_N, "an SPF record close to its limit of look-ups"),
    "spf.unknown": Rule(_W, "an SPF record that could not be evaluated"),
    "dmarc.missing": Rule(_W, "a From whose domain has no DMARC record"),
    "dmarc.several": Rule(_W, "a From whose domain has several DMARC records, which count as none"),
    "dmarc.invalid": Rule(_W, "a DMARC record that is broken"),
    "dmarc.unaligned": Rule(_E, "mail of which neither SPF nor DKIM counts for its From"),
    "dmarc.dkim-unaligned": Rule(_W, "signatures that do not count for From"),
    "dmarc.spf-unaligned": Rule(_N, "a return path that does not count for From"),
    "dmarc.none": Rule(_N, "a DMARC policy that asks for nothing"),
    "dmarc.reports": Rule(_N, "a DMARC record that asks for no reports"),
    "dmarc.unknown": Rule(_W, "a DMARC record that could not be looked up"),
    "from.no-mail": Rule(_W, "a From whose domain takes no mail"),
    "from.unknown": Rule(_W, "a From whose domain could not be looked up"),
    "return-path.no-mail": Rule(_W, "a return path whose domain takes no mail, so that bounces are lost"),
    "return-path.unknown": Rule(_W, "a return path whose domain could not be looked up"),
    # The way
    "relay.secret": Rule(_W, "a relay's secret that is not there"),
    "source.address": Rule(_W, "an address to send from that this machine does not have"),
    "delivery.impatient": Rule(_W, "a retry that comes sooner than real receivers let it"),
    "delivery.expire": Rule(_W, "a message given up before a weekend outage ends"),
    "volume.duration": Rule(_N, "how long the sites will take at the limits"),
    "volume.expire": Rule(_W, "a site that cannot take its mail before it expires"),
}
