"""What strangers publish or send back: bounces, complaints, policies, DNS records, tokens."""

import ipaddress

from bulkmail.authentication import dmarc
from bulkmail.authentication.spf import Answer, SpfResult, evaluate
from bulkmail.authentication.spfterms import SpfSyntaxError, parse_record
from bulkmail.content.identity import Identity, Purpose, TokenKey
from bulkmail.content.tracking import LinkSeal, open_link, open_pixel
from bulkmail.feedback.report import FeedbackError, Report
from bulkmail.feedback.understand import understand
from bulkmail.smtp.sts import StsError, StsPolicy, announced_id, host_allowed, parse_policy
from tests.feedback.dialects import DELAYED, HARD, HARMLESS, NAMED
from tests.feedback.messages import ALL
from tests.fuzz.mutation import Mutator


def _messages() -> list[bytes]:
    found: list[bytes] = []
    for collection in (ALL, HARD, NAMED, DELAYED, HARMLESS):
        for value in collection.values():
            found += [part for part in (value if isinstance(value, tuple) else (value,)) if isinstance(part, bytes)]
    return found


MESSAGES = _messages()


def feedback(mutator: Mutator, compare: bool) -> None:
    """A message that came back: a report, or FeedbackError for what is beyond the limits."""
    data = mutator.mutated(MESSAGES)
    try:
        report = understand(data, envelope_recipient=mutator.one(["", "bounces+x@garden.example"]))
    except FeedbackError:
        return
    assert isinstance(report, Report)


POLICIES = [
    b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n",
    b"version: STSv1\nmode: testing\nmx: *.a.example\nmax_age: 1\nextra: a:b\n",
    b"version: STSv1\nmode: none\nmax_age: 86400",
]
ANNOUNCED = [b"v=STSv1; id=20160831085700Z;", b"v=STSv1;id=1;future=x/y"]


def sts(mutator: Mutator, compare: bool) -> None:
    """A policy within its limits, or StsError; an id that is one, or none."""
    try:
        policy = parse_policy(mutator.mutated(POLICIES))
    except StsError as error:
        assert len(str(error)) < 400
    else:
        assert isinstance(policy, StsPolicy) and policy.mode in ("enforce", "testing", "none")
        assert 0 <= policy.max_age_seconds <= 31_557_600
        for pattern in policy.mx:
            assert host_allowed(pattern.replace("*", "x"), policy.mx)
    found = announced_id([mutator.mutated(ANNOUNCED) for _ in range(mutator.below(3))])
    assert found is None or (found.isascii() and found.isalnum() and len(found) <= 32)


SPF = [
    b"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 a:x.example/24//64 mx ?all",
    b"v=spf1 include:_spf.%{d2} exists:%{ir}.%{v}._spf.%{d} ~all",
    b"v=spf1 redirect=%{d}.other.example exp=why.%{h}",
    b"v=spf1 ptr +a -all",
]
DMARC = [b"v=DMARC1; p=reject; rua=mailto:a@x.example, mailto:b@x.example; adkim=s; aspf=r; sp=none; psd=y; t=y"]
ADDRESSES = ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"]


def spf(mutator: Mutator, compare: bool) -> None:
    """Records whose answers are such records again: an end within the limits of RFC 7208 §4.6.4."""
    try:
        parse_record(mutator.text(mutator.mutated(SPF)))
    except SpfSyntaxError:
        pass
    evaluation = evaluate(mutator.one(ADDRESSES), "d.example", sender="x@d.example", helo="mx.example.org")
    questions = 0
    answer: Answer | None = None
    while True:
        try:
            question = evaluation.send(answer)  # type: ignore[arg-type]
        except StopIteration as done:
            assert isinstance(done.value.result, SpfResult)
            return
        questions += 1
        assert questions <= 200, "an evaluation without end"
        assert len(question.name) <= 255
        if question.kind == "TXT":
            text = mutator.text(mutator.mutated(SPF))
            records: tuple[str, ...] = (text,) if mutator.chance() < 0.9 else (text, mutator.text(mutator.one(SPF)))
        elif question.kind in ("A", "AAAA"):
            records = (str(ipaddress.ip_address(mutator.one(ADDRESSES[: 1 if question.kind == "A" else 2]))),)
        else:
            records = tuple(f"mx{number}.example" for number in range(mutator.below(12)))
        answer = Answer(failed=True) if mutator.chance() < 0.02 else Answer(records=records)


def dmarc_record(mutator: Mutator, compare: bool) -> None:
    """A record with a policy that there is, or none; and the walk over the names of any domain."""
    texts = [mutator.text(mutator.mutated(DMARC)) for _ in range(1 + mutator.below(2))]
    record = dmarc.read_record(texts)
    assert record is None or record.policy in ("none", "quarantine", "reject")
    names = dmarc.walk(mutator.text(mutator.mutated([b"a.b.c.d.e.f.g.h.i.j.example"])))
    assert len(names) <= dmarc.MAXIMUM_QUERIES + 1


KEYS = [TokenKey(number=number, created=100.0 * number, secret=bytes([number + 1]) * 32) for number in range(3)]
IDENTITY = Identity(KEYS)
SEALS = [LinkSeal(key.secret) for key in KEYS]
PAIRS = [IDENTITY.issuer(7, 100.0 * number).tokens(12, 5) for number in range(3)]
TOKENS = [token.encode() for pair in PAIRS for token in (pair.returning, pair.link)]
GENUINE = {token.decode() for token in TOKENS}
TARGET = "https://garden.example/spring?x=1"
LINKS = [f"/c/{seal.sealed(TARGET)}/{PAIRS[0].link}".encode() for seal in SEALS]


def tokens(mutator: Mutator, compare: bool) -> None:
    """Only what was issued opens, in any case of letters; only what was sealed leads anywhere."""
    token = mutator.text(mutator.mutated(TOKENS))
    purpose = mutator.one(list(Purpose))
    opened = IDENTITY.open(token, purpose) if mutator.chance() < 0.5 else IDENTITY.open(token)
    assert opened is None or token.lower() in GENUINE, f"{token!r} is not ours, and opens"
    click = open_link(mutator.text(mutator.mutated(LINKS)), SEALS)
    assert click is None or click.target == TARGET, "a link leads where nothing was sealed"
    open_pixel(mutator.text(mutator.mutated([b"/o/" + TOKENS[0] + b".gif"])))
