"""What four large receivers ask of bulk senders, as a table, and which of it a campaign meets."""

from collections.abc import Collection

from msgspec import Struct

ASKED_OF = ("Gmail", "Yahoo", "Microsoft", "Orange")
_ALL = frozenset(ASKED_OF)


class Requirement(Struct, frozen=True, kw_only=True):
    """`rules` are those that find it broken; `seen` False: only receivers and `bulkmail doctor` can tell.

    `marketing`: it is not asked of transactional mail. `online`: found out only where the DNS or records are looked at.
    """

    says: str
    of: frozenset[str]
    rules: tuple[str, ...] = ()
    marketing: bool = False
    online: bool = False
    seen: bool = True


# Google's "Email sender guidelines", Yahoo's "Sender best practices", Microsoft's "requirements for high-volume
# senders" of Outlook.com (from 5,000 messages a day, as with Google) and Orange's postmaster page (from 1,000).
REQUIREMENTS = (
    Requirement(says="DKIM signature", of=_ALL, rules=("dkim.missing", "dkim.signature", "dkim.key")),
    Requirement(
        says="DKIM key published", of=_ALL, rules=("dkim.unpublished", "dkim.published", "dkim.unknown"), online=True
    ),
    Requirement(says="RSA key of 1,024 bits or more", of=_ALL, rules=("dkim.weak",)),
    Requirement(
        says="SPF", of=_ALL, rules=("spf.missing", "spf.invalid", "spf.fail", "spf.weak", "spf.unknown"), online=True
    ),
    Requirement(
        says="DMARC record, p=none or more",
        of=_ALL,
        rules=("dmarc.missing", "dmarc.several", "dmarc.invalid", "dmarc.unknown"),
        online=True,
    ),
    Requirement(
        says="From aligned with SPF or DKIM", of=_ALL, rules=("dkim.alignment", "dmarc.unaligned", "sender.free")
    ),
    Requirement(
        says="one-click unsubscribe (RFC 8058)",
        of=frozenset(("Gmail", "Yahoo", "Orange")),
        rules=("unsubscribe.missing", "unsubscribe.one-click", "unsubscribe.anonymous"),
        marketing=True,
    ),
    Requirement(says="visible unsubscribe link", of=_ALL, rules=("unsubscribe.invisible",), marketing=True),
    Requirement(
        says="a From that can be answered", of=frozenset(("Microsoft",)), rules=("sender.nobody", "from.no-mail")
    ),
    Requirement(
        says="no misleading subject, sender or hidden content",
        of=_ALL,
        rules=("subject.reply", "sender.disguise", "html.hidden", "links.mismatch"),
    ),
    Requirement(says="form of RFC 5322", of=_ALL, rules=("size.line", "size.header")),
    Requirement(says="PTR and EHLO names that agree", of=_ALL, seen=False),
    Requirement(says="TLS", of=frozenset(("Gmail", "Orange")), seen=False),
    Requirement(says="complaints below 0.3 % (Orange: 0.6 %)", of=frozenset(("Gmail", "Yahoo", "Orange")), seen=False),
)


class Met(Struct, frozen=True, kw_only=True):
    """`met` None: not looked at here. `rules` are those that found it broken."""

    says: str
    of: tuple[str, ...]
    met: bool | None
    rules: tuple[str, ...] = ()


def judged(found_rules: Collection[str], *, kind: str, looked_up: bool) -> list[Met]:
    """Each requirement with what became of it; none that this kind of mail is not held to."""
    return [
        Met(
            says=one.says,
            of=tuple(name for name in ASKED_OF if name in one.of),
            met=_met(one, found_rules, looked_up=looked_up),
            rules=tuple(rule for rule in one.rules if rule in found_rules),
        )
        for one in REQUIREMENTS
        if kind == "marketing" or not one.marketing
    ]


def _met(one: Requirement, found_rules: Collection[str], *, looked_up: bool) -> bool | None:
    if any(rule in found_rules for rule in one.rules):
        return False
    return None if not one.seen or (one.online and not looked_up) else True
