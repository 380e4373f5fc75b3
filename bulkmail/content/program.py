"""A compiled campaign: one recipient's message from the row that was stored, the token and the date."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct

from bulkmail.address import Address
from bulkmail.content.errors import ContentError, MissingField
from bulkmail.content.headers import control_problem
from bulkmail.content.identity import Issuer, TokenPair
from bulkmail.content.layout import Step, Text
from bulkmail.content.locales import moment_of
from bulkmail.content.segments import Convert
from bulkmail.content.variants import Chooser
from bulkmail.model.recipient import PlainRules
from bulkmail.native.assembly import Assembler
from bulkmail.native.message import Message
from bulkmail.native.press import MAX_TEXTS, Press, finish

if TYPE_CHECKING:
    from bulkmail.content.reading import Preview

# The longest that a message of somebody unknown yet may have in their place.
SAMPLE_ADDRESS = f"{'x' * 64}@{'x' * 63}.invalid"
SAMPLE_TOKEN = "a" * 32
SEND_STEP_SECONDS = 60.0
SAMPLE_DATE = "Thu, 01 Jan 1970 00:00:00 +0000"


class RenderedMessage(Struct, frozen=True, gc=False):
    """A message without the blank line between its halves: `header` and `body` both end with CRLF."""

    header: bytes
    body: bytes
    message_id: str

    @property
    def data(self) -> bytes:
        """The whole message, unsigned."""
        return b"%b\r\n%b" % (self.header, self.body)


class Plan(Struct, frozen=True, kw_only=True):
    """What a `Program` runs on; made by `compile_content`.

    `required` are the fields without which nothing can be made, `selective` those that are printed by a function that
    refuses some values, `in_headers` those whose text a header shows;
    `uncertain` is true where only a rendering tells whether a row is good. `included` are the digests of the templates
    that others include, by name; `lacks` what the law wants of marketing mail and this does not show: the key of the
    campaign file that would mend it, and a sentence.
    """

    fields: tuple[str, ...]
    required: tuple[str, ...]
    selective: tuple[tuple[str, Convert], ...]
    in_headers: tuple[str, ...]
    uncertain: bool
    header: Assembler
    body: Assembler
    steps: tuple[Step, ...]
    slots: int
    static_size: int
    campaign: str
    message_domain: str
    return_address: Address
    max_size: int
    included: Mapping[str, str]
    lacks: tuple[tuple[str, str], ...]
    send_at: str | None


class Program:
    """A campaign's content, compiled. Immutable: any number of threads may render at once."""

    def __init__(self, plans: Sequence[Plan], chooser: Chooser | None = None) -> None:
        """`chooser` picks one of the plans, which all have the same fields; None for the only one."""
        plan = plans[0]
        self.fields = plan.fields
        self.included = {name: digest for each in plans for name, digest in each.included.items()}
        self._plan = plan
        self._plans, self._chooser = plans, chooser
        self.send_at = plan.send_at
        self.lacks = tuple(dict.fromkeys(lack for each in plans for lack in each.lacks))
        self._width = len(plan.fields)
        self._message_domain, self._campaign = plan.message_domain, plan.campaign
        self._message_id = self._width + 3

    def message_id(self, token: str) -> str:
        """`<TOKEN@domain of from>`."""
        return f"<{token}@{self._message_domain}>"

    def envelope_sender(self, token: str) -> str:
        """The return path that leads a bounce back to the recipient (VERP)."""
        address = self._plan.return_address
        return f"{address.local}+{token}@{address.domain}"

    def encode_row(self, fields: Mapping[str, Any]) -> bytes:
        """What has to be kept of a recipient: JSON without line breaks. Null and "" are kept as absent.

        Fails with ContentError on values that JSON cannot hold.
        """
        values = [None if (value := fields.get(name)) == "" else value for name in self.fields]
        try:
            # A copy, for what orjson returns holds on to 4 KiB, and rows are gathered by the ten thousand.
            return bytes(memoryview(orjson.dumps(values)))
        except orjson.JSONEncodeError as error:
            name = next((name for name in self.fields if not storable(fields.get(name))), "")
            raise ContentError(f"field {name} cannot be stored: {error}") from None

    def render(
        self, recipient: str, row: bytes | Sequence[Any], token: str, date: str, link: str = ""
    ) -> RenderedMessage:
        """The message to `recipient` (as it shall stand in To); `row` as `encode_row` made it, or its list.

        `token` is that of the Message-ID, `link` (else the same) the one that templates and links have as `token`;
        both are an `Issuer`'s. `date` is an RFC 5322 date-time. Equal arguments give equal bytes. Fails with
        ContentError.
        """
        values = self._values(recipient, row, token, date, link or token)
        plan = self._plan if self._chooser is None else self._plans[self._chooser.choose(values, recipient)]
        return self._rendered(plan, values)

    def press(self, issuer: Issuer) -> Press | None:
        """Makes the messages of many rows at once, the same as `render`; None where they differ in more than text."""
        plan = self._plan
        texts = [step for step in plan.steps if isinstance(step, Text)]
        programs = [plan.header, plan.body, *(text.assembler for text in texts)]
        if (
            self._chooser is not None
            or len(texts) < len(plan.steps)
            or len(texts) > MAX_TEXTS
            or any(program.has_repeats for program in programs)
        ):
            return None
        return Press(
            issuer.sealer,
            plan.header,
            plan.body,
            texts=[(text.assembler, text.header) for text in texts],
            width=self._width,
            campaign=self._campaign,
            message_domain=self._message_domain,
            return_local=plan.return_address.local,
            return_domain=plan.return_address.domain,
        )

    def message(
        self, chunk: Any, index: int, attempt: int, recipient: str, row: bytes, tokens: TokenPair, date: str
    ) -> Message:
        """What `render` gives, ready to be sent: the `attempt` to the recipient `index` of a chunk."""
        values = self._values(recipient, row, tokens.returning, date, tokens.link)
        plan = self._plan if self._chooser is None else self._plans[self._chooser.choose(values, recipient)]
        sender, message_id = self.envelope_sender(tokens.returning).encode(), values[self._message_id]
        try:
            for step in plan.steps:
                values.append(step(values))
            return finish(plan.header, plan.body, values, chunk, index, attempt, recipient, sender, message_id)
        except (KeyError, OverflowError, UnicodeEncodeError) as error:
            raise self._explained(error) from None

    def _rendered(self, plan: Plan, values: list[Any]) -> RenderedMessage:
        try:
            for step in plan.steps:
                values.append(step(values))
            return RenderedMessage(plan.header.assemble(values), plan.body.assemble(values), values[self._message_id])
        except (KeyError, OverflowError, UnicodeEncodeError) as error:
            raise self._explained(error) from None

    def _explained(self, error: KeyError | OverflowError | UnicodeEncodeError) -> ContentError:
        """What the assemblers, or a step, could not do, as the fault of the row that it is."""
        if isinstance(error, KeyError):
            return MissingField(self.fields[error.args[0]])
        if isinstance(error, OverflowError):
            return ContentError("the message would be many times larger than max_message_size")
        return ContentError("a field has half a character (a lone surrogate)")

    def send_time(self, fields: Mapping[str, Any]) -> float:
        """Unix seconds before which this row gets no mail, a whole minute; 0.0 for as soon as it can be.

        Fails with ContentError.
        """
        value = None if self.send_at is None else fields.get(self.send_at)
        if value is None or value == "":
            return 0.0
        try:
            moment = moment_of(value)
        except ContentError as error:
            raise error.about(str(self.send_at)) from None
        if moment.tzinfo is None:
            raise ContentError(f"field {self.send_at}: {value!r} has no time zone; write 2027-05-08T10:00:00+02:00")
        # Rows of the same minute share chunks; nobody gets anything before the time.
        return max(0.0, -(-moment.timestamp() // SEND_STEP_SECONDS) * SEND_STEP_SECONDS)

    @property
    def plain_rules(self) -> PlainRules | None:
        """What makes a row of texts good, with nothing for `problem` to find; None where only a rendering tells.

        Texts with control characters are not meant: in a header they are a problem.
        """
        plan = self._plan
        room = plan.max_size - plan.static_size
        if self._chooser is not None or plan.send_at is not None or plan.uncertain or plan.selective or room <= 0:
            return None
        return PlainRules(
            fields=self.fields,
            required=plan.required,
            # As in `problem`; characters are never more than bytes.
            max_bytes=room // (24 * plan.slots) if plan.slots else room,
        )

    def problem(self, fields: Mapping[str, Any]) -> str | None:
        """Why no message can be made of this row, as a sentence; None where all is well.

        A row is judged by all arms of an A/B test, whichever it is in: the arms differ in nothing but their content.
        """
        if self.send_at is not None:
            try:
                self.send_time(fields)
            except ContentError as error:
                return str(error)
        if self._chooser is None:
            return self._problem(self._plan, fields)
        values = [None if (value := fields.get(name)) == "" else value for name in self.fields]
        problems = (self._problem(self._plans[number], fields) for number in self._chooser.all(values))
        return next((problem for problem in problems if problem is not None), None)

    def _problem(self, plan: Plan, fields: Mapping[str, Any]) -> str | None:
        for name in plan.required:
            if fields.get(name) in (None, ""):
                return str(MissingField(name))
        for name, convert in plan.selective:
            try:
                convert(None if fields.get(name) == "" else fields.get(name))
            except ContentError as error:
                return str(error)
        certain, longest = not plan.uncertain, 0
        for name in self.fields:
            value = fields.get(name)
            if isinstance(value, str):
                longest = max(longest, len(value))
            elif not isinstance(value, bool | int | float | None):
                certain = False
        unfit = None
        for name in plan.in_headers:
            found = control_problem(fields[name]) if isinstance(fields.get(name), str) else None
            if found is not None:
                certain, unfit = False, f"field {name} has {found} but is used in a header"
        try:
            row = self.encode_row(fields)
            # 24: four bytes a character, six columns a byte.
            if certain and plan.static_size + plan.slots * longest * 24 <= plan.max_size:
                return None
            values = self._values(SAMPLE_ADDRESS, row, SAMPLE_TOKEN, SAMPLE_DATE, SAMPLE_TOKEN)
            size = len(self._rendered(plan, values).data)
        except ContentError as error:
            return unfit or str(error)
        if size > plan.max_size:
            return f"the message would have {size} bytes, max_message_size is {plan.max_size}"
        return None

    def preview(
        self, recipient: str, row: bytes | Sequence[Any], token: str = SAMPLE_TOKEN, date: str = SAMPLE_DATE
    ) -> "Preview":
        """The message as a mail program shows it."""
        # A send looks into none of its messages, and what reads them takes its time to load.
        from bulkmail.content.reading import read_message

        message = self.render(recipient, row, token, date)
        return read_message(message.data, message.header)

    def _values(self, recipient: str, row: bytes | Sequence[Any], token: str, date: str, link: str) -> list[Any]:
        values: list[Any] = orjson.loads(row) if isinstance(row, bytes) else list(row)
        if len(values) != self._width:
            raise ContentError(f"the row has {len(values)} values, the content uses {self._width} fields")
        tokens = token + link
        if not (recipient.isprintable() and date.isprintable() and tokens.isalnum() and tokens.isascii()):
            raise ContentError("a recipient, token or date has characters that may not stand in a header")
        values += (recipient, link, date, f"<{token}@{self._message_domain}>", self._campaign)
        return values


def storable(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True
