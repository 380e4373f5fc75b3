"""`bulkmail bounces`: take in what came back, and explain what an answer means."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bulkmail.cli.errors import reported

if TYPE_CHECKING:
    from bulkmail.policy.rules import RuleBook

_REPLY = re.compile(
    r"^\s*([2-5]\d\d)(?=[\s-]|$)[\s-]*(?:#?([245]\.\d{1,3}\.\d{1,3})(?=[\s:,]|$))?[\s:,]*(.*)$", re.DOTALL
)

bounces = typer.Typer(help="What came back: bounces and complaints, and what answers mean.", no_args_is_help=True)


@bounces.command()
def read(
    source: Annotated[
        str, typer.Argument(metavar="FILE|DIR|-", help="An mbox, a Maildir, one message, or - for standard input.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    state: Annotated[Path | None, typer.Option("--state", metavar="DIR", help="The state directory.")] = None,
) -> None:
    """Take in bounces and complaints: who is not there, or does not want mail, gets no more.

    Only mail that bears a token of ours has an effect, and only once, however often it is read.
    """
    with reported():
        _read(source, json=json, state=state)


@bounces.command()
def fetch(
    url: Annotated[
        str,
        typer.Argument(metavar="URL", help="imaps://user@host/FOLDER or pop3s://user@host, with a :PORT if need be."),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    state: Annotated[Path | None, typer.Option("--state", metavar="DIR", help="The state directory.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C: with IDLE, else once a minute.")] = False,
    password_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The variable with the password [BULKMAIL_MAILBOX_PASSWORD].")
    ] = None,
    password_file: Annotated[Path | None, typer.Option(metavar="FILE", help="A file with the password.")] = None,
    ca_file: Annotated[
        Path | None, typer.Option(metavar="FILE.pem", help="Trust these certificates, not the system's.")
    ] = None,
    move_to: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Move what is taken in there (IMAP) instead of deleting it.")
    ] = None,
) -> None:
    """Empty a mailbox of bounces: what is taken in for good is deleted there, what is not understood kept here.

    It may be stopped at any time: a message that was not deleted is read again, and has its effect once.
    """
    with reported():
        from bulkmail.cli import fetch as verb

        verb.fetch(
            verb.Wishes(
                url=url,
                state=state,
                password_env=password_env,
                password_file=password_file,
                ca_file=ca_file,
                move_to=move_to,
                watch=watch,
                json=json,
            )
        )


@bounces.command()
def explain(
    answer: Annotated[str, typer.Argument(metavar="ANSWER", help='Such as "550 5.7.1 ...".')],
    stage: Annotated[str, typer.Option(help="What it answers: connect, greeting, mail, rcpt, data, message.")] = "rcpt",
    rules: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="Rules of your own to try. Default: those of the state directory."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    state: Annotated[Path | None, typer.Option("--state", metavar="DIR", help="The state directory.")] = None,
) -> None:
    """Say which rule decides what an answer means, and why."""
    with reported():
        _explain(answer, stage, rules=rules, json=json, state=state)


def _read(source: str, *, json: bool, state: Path | None) -> None:
    from collections import Counter

    import msgspec

    from bulkmail.cli.mailbox import messages
    from bulkmail.cli.output import safe
    from bulkmail.clock import SystemClock
    from bulkmail.engine.feedback import Applied, FeedbackDesk
    from bulkmail.feedback.report import FeedbackError
    from bulkmail.feedback.understand import understand
    from bulkmail.store.locate import state_from_here

    directory = state_from_here(Path.cwd(), state)
    results: list[dict[str, str]] = []
    counts: Counter[str] = Counter()
    with FeedbackDesk(directory, SystemClock) as desk:
        for name, data in messages(source):
            counts["messages"] += 1
            try:
                applied: Applied = desk.apply(understand(data), data)
            except FeedbackError as error:
                counts["refused"] += 1
                results.append({"message": name, "kind": "refused", "effect": "none", "why": str(error)})
            else:
                counts[applied.kind.value] += 1
                counts[applied.effect.value if applied.effect.value != "none" else "without_effect"] += 1
                results.append(
                    {
                        "message": name,
                        "kind": applied.kind.value,
                        "effect": applied.effect.value,
                        "why": applied.why,
                        "recipient": applied.recipient,
                        "run": applied.run,
                        "class": applied.klass.value,
                        "reason": applied.reason.label,
                        "rule": applied.rule,
                    }
                )
            if not json:
                _tell(results.pop(), safe)
    if json:
        print(msgspec.json.encode({**counts, "results": results}).decode())
        return
    effects = ", ".join(f"{counts[name]:,} {name}" for name in ("suppressed", "recorded", "repeated") if counts[name])
    print(f"{counts['messages']:,} messages: {effects or 'none has an effect'}")


def _tell(result: dict[str, str], safe: "object") -> None:
    assert callable(safe)
    about = f" {safe(result['recipient'])}" if result.get("recipient") else ""
    reason = f" ({result['class']}: {result['reason']})" if result.get("rule") else ""
    print(f"{safe(result['message'])}: {result['kind']}{about}{reason}: {safe(result['why'])}")


def _explain(answer: str, stage_name: str, *, rules: Path | None, json: bool, state: Path | None) -> None:
    import msgspec

    from bulkmail.cli.words import reason_words
    from bulkmail.errors import CampaignError
    from bulkmail.feedback.answers import read_answer
    from bulkmail.model.delivery import Reply, Stage
    from bulkmail.policy.feedback import explain_reply

    stage = next((each for each in Stage if each.label == stage_name.lower()), None)
    if stage is None or stage is Stage.NONE:
        known = ", ".join(each.label for each in Stage if each)
        raise CampaignError(f"{stage_name!r} is nothing that is answered", path="--stage", hint=f"one of {known}")
    match = _REPLY.match(answer)
    if match is not None:
        reply = Reply(code=int(match[1]), enhanced=match[2], text=match[3].strip())
    else:
        found = read_answer(answer)
        code = found.code or (450 if found.enhanced.startswith("4") else 550)
        reply = Reply(code=code, enhanced=found.enhanced or None, text=found.text)
    if reply.code // 100 not in (4, 5):
        raise CampaignError(f"{reply.code} is no refusal", path="ANSWER", hint="give a 4yz or 5yz answer, or its text")
    found_rule = explain_reply(stage, reply, _book(rules, state))
    if json:
        print(msgspec.json.encode(found_rule).decode())
        return
    print(f"rule      {found_rule.rule}: {found_rule.because}")
    print(f"reason    {found_rule.reason}: {reason_words(found_rule.reason)}")
    print(f"class     {found_rule.klass}")
    later = (
        ", gets no more mail" if found_rule.suppress else ", a soft bounce if it ends so" if found_rule.counts else ""
    )
    print(f"recipient {found_rule.disposition}{later}")
    print(f"about     {found_rule.subject}; the lane: {found_rule.lane}")


def _book(file: Path | None, state: Path | None) -> "RuleBook":
    """The rules of the file, or of the state directory where there is one, before our own."""
    from bulkmail.config.rules import read_rules, state_rules
    from bulkmail.errors import StateError
    from bulkmail.policy.rules import rule_book
    from bulkmail.store.locate import state_from_here

    if file is not None:
        return rule_book().after(read_rules(file))
    try:
        directory = state_from_here(Path.cwd(), state)
    except StateError:
        return rule_book()
    return rule_book().after(state_rules(directory))
