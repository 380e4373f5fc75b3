"""After a crash: publish what the journal knew and the event log lacks, and settle what is in doubt."""

from collections import defaultdict
from pathlib import Path

from msgspec import Struct

from bulkmail.address import comparison_key, parse_address
from bulkmail.clock import Clock, rfc3339
from bulkmail.events.log import EventLog, read_events
from bulkmail.model.campaign import InDoubtPolicy
from bulkmail.model.delivery import Disposition, Event, Reason, Reply, Stage
from bulkmail.policy.disposition import judge
from bulkmail.store.runs import Run
from bulkmail.store.store import Store
from bulkmail.store.suppressions import Suppression, Suppressions
from bulkmail.store.view import RecipientOutcome

# Of an event log, so much of the end is searched for the sites of the domains that were being sent to.
RECENT_BYTES = 8 << 20


class Recovered(Struct, frozen=True):
    """What was made good: events published late, and recipients that were in doubt, by run number."""

    events: int = 0
    doubts: dict[int, list[str]] = {}


def publish_recovered(store: Store, suppressions: Suppressions) -> Recovered:
    """Bring the event logs of all runs, and the suppressions, up to what the journal had when the process died."""
    report = store.recovered
    by_run: defaultdict[int, list[RecipientOutcome]] = defaultdict(list)
    for found in report.events_to_publish:
        by_run[found.run].append(found)
    published = 0
    offsets: dict[int, int] = {}
    for number, outcomes in by_run.items():
        run = store.run(number)
        log = EventLog(store.events_path(run))
        try:
            start = min(report.events_offsets.get(number, 0), log.offset)
            known = {
                (event.recipient, event.attempt, event.disposition)
                for event in read_events(store.events_path(run), start)
            }
            sites = _recent_sites(store.events_path(run), log.offset)
            missing = []
            for found in outcomes:
                event = _event(run, found, sites.get(found.destination))
                # What a node recorded, and its owner again when that had died, is one event.
                if _key(event) not in known:
                    known.add(_key(event))
                    missing.append(event)
            log.append(missing)
            log.sync()
            suppressions.add_many(entry for found in outcomes if (entry := _suppression(run, found)) is not None)
            offsets[number] = log.offset
        finally:
            log.close()
        published += len(missing)
    # Only now: a mark speaks for all that recovery found, of whatever run.
    for number, offset in offsets.items():
        store.journal.mark(number, offset)
    doubts: defaultdict[int, list[str]] = defaultdict(list)
    for doubt in report.doubts:
        doubts[doubt.run].append(doubt.address)
    return Recovered(published, dict(doubts))


def settle_doubts(store: Store, run: Run, policy: InDoubtPolicy, clock: Clock) -> int:
    """Do with the run's recipients in doubt what the campaign says; how many there were."""
    now = clock.time()
    if policy == "hold":
        return len(store.doubts(run.number))
    disposition = Disposition.DEFERRED if policy == "resend" else Disposition.DELIVERED
    if disposition is Disposition.DELIVERED:
        _publish_assumed(store, run, now)
    return store.settle_doubts(run.number, disposition, time=now, due=now)


def _publish_assumed(store: Store, run: Run, now: float) -> None:
    """Say of each doubt that it counts as delivered: before it does, so that a crash in between loses no event."""
    doubts = store.doubts(run.number)
    if not doubts:
        return
    path = store.events_path(run)
    log = EventLog(path)
    try:
        sites = _recent_sites(path, log.offset)
        names = {doubt.address for doubt in doubts}
        said = {_key(event) for event in read_events(path) if event.recipient in names}
        events = [
            Event(
                time=rfc3339(now),
                event="in_doubt",
                run=run.id,
                recipient=doubt.address,
                attempt=doubt.attempt or None,
                disposition=Disposition.DELIVERED.label,
                reply="the process ended before the reply came; delivery.in_doubt has it assumed delivered",
                stage=Stage.MESSAGE.label,
                reason=Reason.CONNECTION_LOST.label,
                site=sites.get(doubt.address.rpartition("@")[2].lower()),
            )
            for doubt in doubts
        ]
        log.append([event for event in events if _key(event) not in said])
        log.sync()
    finally:
        log.close()


def _recent_sites(path: Path, end: int) -> dict[str, str]:
    """The site of each domain that the last attempts before byte `end` of a log were made at: the journal has none."""
    start = max(0, end - RECENT_BYTES)
    if start:
        with open(path, "rb") as file:
            file.seek(start)
            start += len(file.readline())
    return {
        event.recipient.rpartition("@")[2].lower(): event.site
        for event in read_events(path, start)
        if event.recipient is not None and event.site is not None
    }


def _key(event: Event) -> tuple[str | None, int | None, str | None]:
    return event.recipient, event.attempt, event.disposition


def _event(run: Run, found: RecipientOutcome, site: str | None) -> Event:
    # Every message has its reply as its outcome, unless it is in doubt.
    in_doubt = found.disposition is Disposition.IN_DOUBT or (found.stage is Stage.MESSAGE and not found.code)
    return Event(
        time=rfc3339(found.time),
        event="in_doubt" if in_doubt else "attempt",
        run=run.id,
        recipient=found.address,
        attempt=found.attempts or None,
        disposition=found.disposition.label,
        code=found.code or None,
        reply=found.text or None,
        stage=found.stage.label if found.stage else None,
        reason=found.reason.label if found.reason else None,
        # What the DNS decided was decided at no site.
        site=site if found.stage is not Stage.DNS else found.destination,
    )


def _suppression(run: Run, found: RecipientOutcome) -> Suppression | None:
    """The suppression that should have followed a bounce, by the same rules as it would have then."""
    if found.disposition is not Disposition.BOUNCED:
        return None
    reply = Reply(code=found.code, text=found.text) if found.code else None
    if not judge(found.stage, reply, Reason.NONE if reply else found.reason).suppress:
        return None
    return Suppression(
        key=comparison_key(parse_address(found.address)),
        address=found.address,
        reason=found.reason.label,
        source=f"{run.campaign}: {found.text}"[:300],
        time=found.time,
    )
