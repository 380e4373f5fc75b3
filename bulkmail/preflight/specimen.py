"""One recipient's message outside of any run, for those who want to look at it first."""

import os
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from msgspec import Struct

from bulkmail.address import parse_address, wire_address
from bulkmail.content.errors import ContentError
from bulkmail.content.program import SAMPLE_TOKEN, Program
from bulkmail.dkim.signing import Signer, load_keys
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign
from bulkmail.model.recipient import Recipient
from bulkmail.native.stuffing import stuff
from bulkmail.sandbox.keys import with_demo_keys


class Specimen(Struct, frozen=True, kw_only=True):
    """An envelope and the bytes after DATA, before dots are doubled. The token in it leads nowhere.

    `lacks` is what marketing mail must show and this does not.
    """

    sender: str
    recipient: str
    message: bytes
    lacks: tuple[tuple[str, str], ...] = ()

    @property
    def wire(self) -> bytes:
        """What the client writes for it, the final dot included (RFC 5321 §3.3)."""
        envelope = f"MAIL FROM:<{self.sender}>\r\nRCPT TO:<{self.recipient}>\r\nDATA\r\n".encode()
        return envelope + stuff(self.message) + b".\r\n"


def make_specimen(program: Program, signer: Signer, recipient: Recipient, *, now: float) -> Specimen:
    """The message as it would be sent at `now` (Unix seconds). CampaignError where the row cannot have one."""
    address = wire_address(parse_address(recipient.address))
    date = format_datetime(datetime.fromtimestamp(now, UTC))
    try:
        rendered = program.render(address, program.encode_row(recipient.fields), SAMPLE_TOKEN, date)
    except ContentError as error:
        raise CampaignError(str(error), file=recipient.source, line=recipient.line) from None
    signature = signer.sign(rendered.header, rendered.body, now=int(now))
    return Specimen(
        sender=program.envelope_sender(SAMPLE_TOKEN),
        recipient=address,
        message=b"".join((signature, rendered.header, b"\r\n", rendered.body)),
        lacks=program.lacks,
    )


def signer_at_hand(campaign: Campaign, directory: Path) -> tuple[Signer, str | None]:
    """The campaign's signer; of the sandbox's own keys only those that a send has made. Then also what is missing.

    Nothing is written. Raises CampaignError for a key that cannot be used.
    """
    if campaign.delivery.route != "sandbox":
        return load_keys(campaign.dkim), None
    absent = [key for key in campaign.dkim if not os.path.lexists(key.key)]
    folder = directory / "sandbox" / "keys"
    if absent and not folder.is_dir():
        there = tuple(key for key in campaign.dkim if key not in absent)
        return load_keys(there), "not signed: the sandbox makes the missing DKIM key with the first send"
    return load_keys(with_demo_keys(campaign, folder).dkim), None
