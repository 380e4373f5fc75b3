"""`bulkmail report --tls --send`: reports of RFC 8460 to where the domains want them, by HTTPS and by mail."""

import asyncio
import gzip
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct
from rich.text import Text

from bulkmail.cli.output import out, print_json, table
from bulkmail.cli.tlsreport import report_of
from bulkmail.clock import Clock, SystemClock
from bulkmail.composition import Send, SendOptions
from bulkmail.content.bodies import Attach, Attachment
from bulkmail.dns.answers import DnsOutcome
from bulkmail.dns.resolver import Resolver
from bulkmail.errors import CampaignError, StateError
from bulkmail.http.client import HttpClient
from bulkmail.http.errors import HttpError
from bulkmail.http.post import post
from bulkmail.model.campaign import Campaign, Content, Delivery, TlsSettings
from bulkmail.model.delivery import Event
from bulkmail.model.units import Seconds
from bulkmail.net.tls import client_context
from bulkmail.smtp.tlsrpt import ReportTarget, report_targets
from bulkmail.store.assurance import INTERNET, TlsMemory, read_tls_sessions

LEFT_OVER = 3
POST_SECONDS = 60.0
# Long enough for a greylist; what is left then is for the next call.
EXPIRE_SECONDS = 3600.0
LONGEST_RETRY_SECONDS = 300.0
LOOK_UPS_AT_ONCE = 20
RUN_NAME = "tls-reports"
SUBJECT = "Report Domain: {{ domain }} Submitter: {{ submitter }} Report-ID: <{{ report_id }}>"
TEXT = """This is a report on TLS between {{ submitter }} and the mail exchangers of {{ domain }}
on {{ day }} (UTC), as RFC 8460 has it. The attachment is for programs.
"""

State = Literal["sent", "written", "sent before", "not asked for", "failed"]


class Report(Struct, frozen=True, kw_only=True):
    """One day's report to one domain; `data` is the JSON, compressed, `name` that of its file (RFC 8460 §5.1)."""

    day: str
    domain: str
    id: str
    name: str
    data: bytes


class Sending(Struct, kw_only=True):
    """What became of one report at one of its targets ("" where there is none)."""

    day: str
    domain: str
    target: str = ""
    state: State = "failed"
    reason: str = ""


def send_tls_reports(
    campaign: Campaign, directory: Path, *, day: str | None, contact: str, json: bool, eml: Path | None
) -> int:
    """Send what has not been sent, of days that are over; the exit code. Raises CampaignError and StateError."""
    if campaign.delivery.route == "sandbox":
        raise CampaignError(
            "its receivers are made up, and nobody reads reports there",
            file=campaign.file,
            path="delivery.route",
            hint="`report --tls` shows the counts; --send is for the routes mx and relay",
        )
    clock = SystemClock()
    today = datetime.fromtimestamp(clock.time(), UTC).date().isoformat()
    if day is not None and day >= today:
        raise CampaignError(f"{day} is not over yet (UTC)", path="--day", hint="a report is of a whole day")
    if eml is not None and not eml.is_dir():
        raise CampaignError(f"{eml} is no directory", path="--eml", hint="make it first")
    rows = [row for row in read_tls_sessions(directory, day, INTERNET) if row.day < today]
    reports = []
    for (when, domain), group in groupby(rows, lambda row: (row.day, row.domain)):
        reports.append(_packed(report_of(when, domain, list(group), contact=contact), when, domain))
    memory = TlsMemory.open(directory)
    try:
        sendings = asyncio.run(
            _Sender(campaign, directory, memory, contact=contact, eml=eml, clock=clock).send(reports)
        )
    except KeyboardInterrupt:
        return LEFT_OVER
    finally:
        memory.close()
    if json:
        for one in sendings:
            print_json(msgspec.to_builtins(one))
    else:
        _print(sendings)
    return LEFT_OVER if any(one.state == "failed" for one in sendings) else 0


def _packed(report: Mapping[str, Any], day: str, domain: str) -> Report:
    begin = int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp())
    name = f"{report['organization-name']}!{domain}!{begin}!{begin + 86399}!1.json.gz"
    data = gzip.compress(msgspec.json.encode(report), mtime=0)
    return Report(day=day, domain=domain, id=report["report-id"], name=name, data=data)


def _print(sendings: Sequence[Sending]) -> None:
    console = out()
    if not sendings:
        console.print(
            "there is no report to send: no sessions with domains that have a TLS policy on a day that is over"
        )
        return
    colours = {"failed": "red", "sent": "green", "written": "green"}
    lines = [
        (one.day, one.domain, one.target, Text(one.state, colours.get(one.state, "")), one.reason) for one in sendings
    ]
    console.print(table(("day (UTC)", "domain", "to", "report", "why"), lines, columns=console.width))


class _Sender:
    """Finds the targets, posts, mails or writes, and remembers what was taken."""

    def __init__(
        self, campaign: Campaign, directory: Path, memory: TlsMemory, *, contact: str, eml: Path | None, clock: Clock
    ) -> None:
        self._campaign, self._directory, self._memory = campaign, directory, memory
        self._contact, self._eml, self._clock = contact, eml, clock
        self._sent = memory.reports_sent()
        self._resolver = Resolver(
            campaign.dns.servers, timeout_seconds=campaign.dns.timeout, clock=clock, trust=campaign.dns.validating
        )

    async def send(self, reports: Sequence[Report]) -> list[Sending]:
        delivery, authorities = self._campaign.delivery, self._campaign.tls.authorities
        try:
            context = client_context(verify=True, authorities=authorities) if authorities is not None else None
        except OSError as error:
            raise CampaignError(
                f"{authorities} has no certificates that can be used: {error.strerror or error}",
                file=self._campaign.file,
                path="tls.authorities",
                hint="a PEM file is needed: -----BEGIN CERTIFICATE-----",
            ) from None
        client = HttpClient(self._look_up, allow_private=delivery.allow_private_mx, context=context)
        slots = asyncio.Semaphore(LOOK_UPS_AT_ONCE)
        letters: list[tuple[Report, ReportTarget, Sending]] = []

        async def one(report: Report) -> list[Sending]:
            async with slots:
                found = await self._targets(report)
                if isinstance(found, Sending):
                    return [found]
                made = []
                for target in found:
                    sending = Sending(day=report.day, domain=report.domain, target=target.uri)
                    made.append(sending)
                    if (report.day, report.domain, target.uri) in self._sent:
                        sending.state = "sent before"
                    elif target.address:
                        letters.append((report, target, sending))
                    else:
                        await self._post(client, report, sending)
                return made

        try:
            sendings = [sending for made in await asyncio.gather(*map(one, reports)) for sending in made]
        finally:
            await client.close()
            await self._resolver.close()
        await self._mail(letters)
        return sendings

    async def _look_up(self, host: str) -> Sequence[str]:
        return (await self._resolver.addresses(host)).addresses

    async def _targets(self, report: Report) -> Sequence[ReportTarget] | Sending:
        answer = await self._resolver.txt(f"_smtp._tls.{report.domain}")
        none = Sending(day=report.day, domain=report.domain, reason=answer.explanation)
        if answer.outcome is DnsOutcome.TEMPORARY:
            return none
        targets = report_targets([text.decode("ascii", "replace") for text in answer.texts])
        if not targets:
            none.state, none.reason = "not asked for", ""
            return none
        return targets

    async def _post(self, client: HttpClient, report: Report, sending: Sending) -> None:
        headers = {"Content-Type": "application/tlsrpt+gzip"}
        try:
            await post(client, sending.target, report.data, headers, timeout_seconds=POST_SECONDS)
        except HttpError as error:
            sending.reason = str(error)
        else:
            self._remember(sending, "sent")

    def _remember(self, sending: Sending, state: State) -> None:
        self._memory.report_sent(sending.day, sending.domain, sending.target, self._clock.time())
        sending.state = state

    async def _mail(self, letters: Sequence[tuple[Report, ReportTarget, Sending]]) -> None:
        if self._eml is not None:
            for report, target, sending in letters:
                self._write(self._eml, report, target)
                self._remember(sending, "written")
        elif not self._campaign.dkim:
            for _, _, sending in letters:
                sending.reason = "a report by mail has to be signed (dkim), or written for another to send (--eml DIR)"
        else:
            # A run mails an address once: reports of several domains to one address are of several runs.
            rounds: list[dict[str, tuple[Report, str, Sending]]] = []
            for report, target, sending in letters:
                key = target.address.lower()
                place = next((one for one in rounds if key not in one), None)
                if place is None:
                    rounds.append(place := {})
                place[key] = (report, target.address, sending)
            for one in rounds:
                await self._send_round(one)

    async def _send_round(self, letters: Mapping[str, tuple[Report, str, Sending]]) -> None:
        by_id = {report.id: report for report, _, _ in letters.values()}

        def attachment(address: str, fields: Mapping[str, Any]) -> Iterable[Attachment]:
            report = by_id[fields["report_id"]]
            yield Attachment(name=report.name, data=report.data, content_type="application/tlsrpt+gzip")

        def learn(events: Sequence[Event]) -> None:
            for event in events:
                found = letters.get((event.recipient or "").lower())
                if found is None:
                    continue
                sending = found[2]
                if event.disposition == "delivered":
                    self._remember(sending, "sent")
                elif event.disposition is not None:
                    sending.reason = event.reply or event.reason or event.disposition

        rows = [
            {"email": address, "domain": one.domain, "day": one.day, "report_id": one.id, "submitter": self._submitter}
            for one, address, _ in letters.values()
        ]
        options = SendOptions(new_run=True, attach=Attach(make=attachment, fields=("report_id",), report_type="tlsrpt"))
        with tempfile.TemporaryDirectory(prefix="bulkmail-report-") as folder:
            text = Path(folder) / "report.txt"
            text.write_text(TEXT)
            campaign = _of_reports(self._campaign, text)
            try:
                async with Send(campaign, self._directory, recipients=rows, options=options) as sending:
                    sending.subscribe(learn)
                    await sending.execute()
            except StateError as error:
                for _, _, one in letters.values():
                    one.reason = one.reason or str(error)

    @property
    def _submitter(self) -> str:
        return self._contact.rpartition("@")[2]

    def _write(self, folder: Path, report: Report, target: ReportTarget) -> None:
        """The message as a file, for whoever signs and sends it."""
        names = {"domain": report.domain, "day": report.day, "submitter": self._submitter, "report_id": report.id}
        message = EmailMessage(policy=SMTP)
        message["From"], message["To"] = self._campaign.from_, target.address
        message["Subject"], message["Date"] = _filled(SUBJECT, names), format_datetime(datetime.now(UTC))
        message["TLS-Report-Domain"], message["TLS-Report-Submitter"] = report.domain, self._submitter
        message.set_content(_filled(TEXT, names))
        message.add_attachment(report.data, maintype="application", subtype="tlsrpt+gzip", filename=report.name)
        message.replace_header("Content-Type", "multipart/report")
        message.set_param("report-type", "tlsrpt")
        # Several targets of a domain may be one host's.
        name = f"{report.name.removesuffix('.json.gz')}!{target.address.replace('/', '_')}.eml"
        (folder / name).write_bytes(message.as_bytes())


def _of_reports(campaign: Campaign, text: Path) -> Campaign:
    """The campaign that carries the reports, from the same sender by the same way.

    It keeps to no TLS policy: a report on what stands in the way of mail must not be stopped by it (RFC 8460 §3).
    """
    delivery: Delivery = msgspec.structs.replace(
        campaign.delivery,
        tls="none" if campaign.delivery.tls == "none" else "opportunistic",
        requiretls=False,
        expire=Seconds(min(campaign.delivery.expire, EXPIRE_SECONDS)),
        retry=tuple(Seconds(min(one, LONGEST_RETRY_SECONDS)) for one in campaign.delivery.retry),
    )
    return Campaign(
        file=campaign.file,
        campaign=RUN_NAME,
        kind="transactional",
        from_=campaign.from_,
        return_path=campaign.return_path,
        subject=SUBJECT,
        headers={"TLS-Report-Domain": "{{ domain }}", "TLS-Report-Submitter": "{{ submitter }}"},
        content=Content(text=str(text)),
        dkim=campaign.dkim,
        delivery=delivery,
        dns=campaign.dns,
        tls=TlsSettings(mta_sts=False, dane=False, authorities=campaign.tls.authorities),
        limits=campaign.limits,
    )


def _filled(template: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        template = template.replace("{{ " + name + " }}", value)
    return template
