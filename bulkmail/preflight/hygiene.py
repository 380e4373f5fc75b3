"""Judge a list: offices, throw-away mailboxes, slips of the keyboard, names that can get no mail, suppressed ones."""

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from msgspec import Struct

from bulkmail.errors import CampaignError
from bulkmail.model.recipient import Recipient
from bulkmail.preflight.finding import Finding, found

# RFC 2142 and what else nobody subscribes from. `info`, `sales` and the like are somebody's address often enough.
ROLES = frozenset(("abuse", "admin", "administrator", "bounce", "bounces", "daemon", "donotreply", "hostmaster",
                   "mailer-daemon", "no-reply", "nobody", "noc", "noreply", "postmaster", "root", "security", "spam",
                   "usenet", "webmaster"))  # fmt: skip
WELL_KNOWN = ("aol.com", "gmail.com", "gmx.de", "gmx.net", "googlemail.com", "hotmail.com", "icloud.com", "live.com",
              "orange.fr", "outlook.com", "t-online.de", "web.de", "yahoo.com", "yahoo.fr", "yahoo.co.uk")  # fmt: skip
# Real domains that are one slip from a well-known one.
NO_SLIPS = frozenset(("mail.com", "email.com", "ymail.com", "gmx.at", "gmx.ch", "gmx.com", "gmx.us", "web.com",
                      "aol.de", "aol.fr", "live.de", "live.fr", "live.nl", "live.ca", "live.se", "live.no", "live.dk",
                      "live.be", "live.it", "yahoo.de", "yahoo.it", "yahoo.es", "yahoo.ca", "yahoo.co.in",
                      "yahoo.co.id", "hotmail.de", "hotmail.fr", "hotmail.it", "hotmail.es", "hotmail.nl",
                      "outlook.de", "outlook.fr", "outlook.es", "outlook.it", "orange.es", "orange.com"))  # fmt: skip
NEVER = (".invalid", ".test", ".localhost", ".local", ".localdomain", ".internal", ".onion")
SAMPLE_LOCALS = frozenset(("test", "test1", "test2", "testing", "asdf", "foo", "example", "john.doe", "max.mustermann"))
SAMPLE_VALUES = frozenset(("firstname", "first name", "vorname", "prénom", "test", "asdf", "xxx", "mickey mouse"))
SHOWN = 5
MUCH_SUPPRESSED = 0.1


class Group(Struct):
    """Rows with the same trait: how many, and the first few."""

    count: int = 0
    examples: list[str] = []

    def take(self, example: str) -> None:
        self.count += 1
        if len(self.examples) < SHOWN:
            self.examples.append(example)

    def shown(self) -> str:
        return ", ".join(self.examples) + (", ..." if self.count > len(self.examples) else "")


class Hygiene:
    """Looks at each row that would get the message; memory for the traits alone, however long the list."""

    def __init__(self, disposable: Collection[str] = ()) -> None:
        self._disposable = disposable
        self._groups: dict[str, Group] = {}
        self.domains: Counter[str] = Counter()
        self._verdicts: dict[str, str | None] = {}

    def take(self, row: Recipient, local: str, domain: str) -> None:
        """Judge one row."""
        self.domains[domain] += 1
        if domain not in self._verdicts:
            self._verdicts[domain] = self._domain_rule(domain)
        verdict = self._verdicts[domain]
        if verdict is not None:
            self._note(verdict, row)
        if local.partition("+")[0] in ROLES:
            self._note("recipients.role", row)
        if local in SAMPLE_LOCALS or any(
            isinstance(value, str) and value.lower() in SAMPLE_VALUES for value in row.fields.values()
        ):
            self._note("recipients.sample", row)

    def findings(self) -> Iterator[Finding]:
        """One for each trait, with its first rows."""
        remedies = {
            "recipients.role": "ask the persons behind it, or take it out",
            "recipients.disposable": "take them out: they are gone by the next issue",
            "recipients.typo": "ask, or mend them",
            "recipients.reserved-domain": "take them out",
            "recipients.sample": "take them out",
        }
        for rule, remedy in remedies.items():
            if group := self._groups.get(rule):
                what = f"{group.count:,} {'row' if group.count == 1 else 'rows'}: {group.shown()}"
                yield found(rule, what, remedy=remedy)

    def _note(self, rule: str, row: Recipient) -> None:
        self._groups.setdefault(rule, Group()).take(f"{Path(row.source).name}:{row.line} {row.address}")

    def _domain_rule(self, domain: str) -> str | None:
        if domain in self._disposable or domain.partition(".")[2] in self._disposable:
            return "recipients.disposable"
        if f".{domain}".endswith(NEVER):
            return "recipients.reserved-domain"
        if (
            domain not in WELL_KNOWN
            and domain not in NO_SLIPS
            and any(_one_slip(domain, known) for known in WELL_KNOWN)
        ):
            return "recipients.typo"
        return None


def suppressed_findings(suppressed: int, rows: int) -> Iterator[Finding]:
    """Overlap of the list with the suppressions."""
    if suppressed:
        share = suppressed / rows
        rule = "recipients.all-suppressed" if share >= MUCH_SUPPRESSED else "recipients.suppressed"
        what = f"{suppressed:,} of {rows:,} rows are suppressed ({share:.1%}) and get no mail"
        remedy = "see where the list comes from" if share >= MUCH_SUPPRESSED else ""
        yield found(rule, what, remedy=remedy)


def read_domains(path: Path) -> frozenset[str]:
    """A file with one domain a line; # begins a comment. CampaignError where it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CampaignError(f"cannot be read: {error}", file=str(path), path="--disposable") from None
    return frozenset(name for line in lines if (name := line.partition("#")[0].strip().lower().lstrip("@")))


def _one_slip(one: str, other: str) -> bool:
    """One letter more, less, changed, or two changed places (Damerau-Levenshtein distance 1)."""
    if abs(len(one) - len(other)) > 1 or one == other or len(other) < 6:
        return False
    if len(one) > len(other):
        one, other = other, one
    start = next((index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    if len(one) < len(other):
        return one[start:] == other[start + 1 :]
    swapped = one[start + 1 : start + 2] + one[start : start + 1] + one[start + 2 :]
    return one[start + 1 :] == other[start + 1 :] or swapped == other[start:]
