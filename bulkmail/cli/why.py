"""`bulkmail why`: the life of one delivery, in sentences."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from bulkmail.address import AddressError, comparison_key, parse_address, wire_address
from bulkmail.cli.hints import command
from bulkmail.cli.output import COLOURS, local_time, out, print_paragraph, safe, span
from bulkmail.cli.places import has_state, place
from bulkmail.cli.suppress import sentence
from bulkmail.cli.trail import events_about, lane_events, site_of_domain
from bulkmail.cli.words import REASONS, reason_words, stage_words
from bulkmail.clock import SystemClock
from bulkmail.engine.returns import feedback_log
from bulkmail.errors import StateError
from bulkmail.model.delivery import CAME_BACK, TRACKED, Disposition, Event
from bulkmail.store.directory import EVENTS, owner_of
from bulkmail.store.runs import Run, RunState
from bulkmail.store.suppressions import Suppression, Suppressions
from bulkmail.store.view import RecipientOutcome, StoreView

# Of the times that a site made everybody wait, the last so many are told.
LANE_EVENTS = 6


def why(address: str, campaign: str | None, *, state: Path | None) -> None:
    """Print what is known of the address, run by run. Raises CampaignError and StateError."""
    directory, name = place(campaign, state)
    if not has_state(directory):
        raise StateError(f"{directory}: nothing has been sent from here yet", hint="`send` a campaign first")
    spellings = spellings_of(address)
    with StoreView.open_readonly(directory) as view:
        runs = [run for run in view.runs() if name is None or run.campaign == name]
        found = {outcome.run: outcome for spelling in spellings for outcome in view.find(spelling)}
    console = out()
    told = 0
    for run in runs:
        outcome = found.get(run.number)
        path = directory / EVENTS / f"{run.id}.ndjson"
        later = feedback_log(directory, run.id)
        events = [event for log in (path, later) for spelling in spellings for event in events_about(log, spelling)]
        if outcome is None and not events:
            continue
        if told:
            console.print()
        told += 1
        console.print(Text.assemble((safe(address), "bold"), f" in run {run.id} of {local_time(run.created)}"))
        _tell(console, run, outcome, events, path, running=owner_of(directory) is not None)
    if not told:
        which = f"the {len(runs):,} runs" if len(runs) != 1 else f"run {runs[0].id}"
        console.print(f"{safe(address)} is not in {which} of {directory}" if runs else f"{directory} has no runs")
    for line in _suppressed(directory, address):
        console.print(line)


def spellings_of(address: str) -> list[str]:
    """The address as typed, and with its domain in A-labels and in U-labels: lists and logs have either."""
    try:
        parsed = parse_address(address)
    except AddressError:
        return [address]
    domain = ".".join(map(_u_label, parsed.domain.split(".")))
    written = (address, wire_address(parsed), f"{parsed.local}@{domain}")
    return list({spelling.lower(): spelling for spelling in written}.values())


def _u_label(label: str) -> str:
    try:
        return label[4:].encode().decode("punycode") if label.startswith("xn--") else label
    except UnicodeError:
        return label


def _tell(
    console: Console,
    run: Run,
    outcome: RecipientOutcome | None,
    events: list[Event],
    path: Path,
    *,
    running: bool,
) -> None:
    domain = outcome.destination if outcome is not None else ""
    sites = {event.site for event in events if event.site is not None and event.host is not None}
    if outcome is not None and not sites and (site := site_of_domain(path, domain)) is not None:
        sites = {site}
    sent = [event for event in events if event.event not in (*CAME_BACK, *TRACKED)]
    last = sent[-1].time if outcome is not None and outcome.disposition.final and sent else None
    lanes = [event for event in lane_events(path, sites) if last is None or event.time <= last]
    for event in sorted([*events, *lanes[-LANE_EVENTS:]], key=lambda event: event.time):
        print_paragraph(console, Text.assemble((f"  {_clock(event.time)}  ", "dim"), *_sentence(event)), hang=4)
    if len(lanes) > LANE_EVENTS:
        console.print(
            Text(
                f"  {len(lanes):,} times in all its site was slowed or paused; the last {LANE_EVENTS} are shown", "dim"
            )
        )
    if outcome is not None:
        print_paragraph(console, Text.assemble("  ", *_standing(outcome, run, running=running)), hang=4)


def _sentence(event: Event) -> Iterable[str | tuple[str, str]]:
    match event.event:
        case "rejected":
            yield ("rejected", COLOURS["rejected"])
            yield f": {safe(event.reason or '')}"
        case "click":
            yield f"followed a link to {safe(event.reason or '')}"
        case "open":
            yield "opened the message"
        case "duplicate":
            yield ("duplicate", COLOURS["duplicates"])
            yield f": {safe(event.reason or '')}"
        case "suppressed":
            yield ("suppressed", COLOURS["suppressed"])
            yield ": on the suppression list; it was not tried"
        case "bounce":
            yield ("bounced later", COLOURS["bounced"])
            yield f": {reason_words(event.reason)}{f': {safe(event.reply)}' if event.reply else ''}"
        case "complaint":
            yield ("complained", COLOURS["bounced"])
            yield ": the recipient reported the mail as unwanted"
        case "unsubscribe" | "resubscribe":
            yield (f"{event.event}d", COLOURS["suppressed"])
            yield f": {safe(event.reply)}" if event.reply else ""
        case "lane":
            because, _, what = (event.reply or "").rpartition("; ")
            yield ("all waited", "yellow")
            yield f": {what} at {safe(event.site or '')}{f', after {safe(because)}' if because else ''}"
        case _:
            yield from _attempt(event)


def _attempt(event: Event) -> Iterable[str | tuple[str, str]]:
    disposition = event.disposition or "?"
    word = "in doubt" if event.event == "in_doubt" else disposition.replace("_", " ")
    yield f"try {event.attempt}" if event.attempt else "not tried"
    yield f" at {safe(event.host or event.site or '')}: " if event.host or event.site else ": "
    yield (word, COLOURS.get(disposition, ""))
    if disposition != "delivered":
        because = ", ".join(filter(None, (reason_words(event.reason), stage_words(event.stage))))
        yield f", {because}" if because else ""
    reply = " ".join(filter(None, (event.reply,)))
    yield f": {safe(reply)}" if reply else ""
    how = [
        event.tls or ("without TLS" if event.host and event.milliseconds is not None else ""),
        f"{event.milliseconds:,.0f} ms" if event.milliseconds is not None else "",
        f"{event.bytes:,} bytes" if event.bytes and disposition == "delivered" else "",
        f"from {event.source}" if event.source else "",
    ]
    yield (f" ({', '.join(filter(None, how))})" if any(how) else "", "dim")


def _standing(outcome: RecipientOutcome, run: Run, *, running: bool) -> Iterable[str | tuple[str, str]]:
    """Where it stands, and what happens next."""
    colour = COLOURS.get(outcome.disposition.label, "yellow")
    because = REASONS[outcome.reason]
    match outcome.disposition:
        case Disposition.DELIVERED:
            yield ("delivered", colour)
            yield f": the receiver took it at try {outcome.attempts}; nothing more is sent"
        case Disposition.BOUNCED:
            yield ("bounced", colour)
            yield f": {because}; it is not tried again"
        case Disposition.EXPIRED:
            yield ("expired", colour)
            yield f": given up after {outcome.attempts} tries; the last answer was: {safe(outcome.text)}"
        case Disposition.SUPPRESSED:
            yield ("suppressed", colour)
            yield ": it came onto the suppression list after the run had begun; it is not tried"
        case Disposition.IN_DOUBT:
            yield ("in doubt", colour)
            yield ": the message was sent whole and no reply came, so it may have arrived"
        case _:
            yield ("open", colour)
            yield f": {_next(outcome, run, running=running)}"


def _next(outcome: RecipientOutcome, run: Run, *, running: bool) -> str:
    tried = f"tried {outcome.attempts} times" if outcome.attempts > 1 else "tried once" if outcome.attempts else ""
    tried = tried or "not tried yet"
    if run.state is RunState.CANCELLED:
        return f"{tried}; its run was given up for a newer one, so it is not tried again"
    wait = outcome.due - SystemClock.time()
    when = f"the next try is due in {span(wait)}, {local_time(outcome.due)}" if wait > 0 else "it is due now"
    return f"{tried}; {when}" if running else f"{tried}; {when}, once `send` goes on with the run"


def _suppressed(directory: Path, address: str) -> Iterable[Text]:
    try:
        key = comparison_key(parse_address(address))
    except AddressError as error:
        yield Text(f"no mail can be sent to it: {safe(str(error))}")
        return
    entries: list[Suppression] = []
    with Suppressions.open_readonly(directory) as suppressions:
        entries = suppressions.entries(key)
    for entry in entries:
        yield Text(f"{safe(address)} is {sentence(entry)}", COLOURS["suppressed"])
        words = ["suppress", "remove", address] + ([] if entry.scope == "all" else ["--list", entry.scope])
        yield Text(f"  {command(*words, directory=directory)} takes it off", "dim")


def _clock(time: str) -> str:
    return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
