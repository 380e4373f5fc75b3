"""A campaign's content, compiled for a send: the program, what pins it, and what the law asks of it."""

from collections.abc import Sequence

from bulkmail.config.load import placing_errors
from bulkmail.content.bodies import Attach
from bulkmail.content.compiler import compile_content
from bulkmail.content.identity import TokenKey
from bulkmail.content.program import Program
from bulkmail.content.tracking import LinkSeal
from bulkmail.engine.pinning import named_files
from bulkmail.engine.sources import columns_of
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign
from bulkmail.policy.reach import is_loopback
from bulkmail.recipients.source import fingerprint


def compile_for(
    campaign: Campaign,
    recipients: object | None = None,
    attach: Attach | None = None,
    seal: LinkSeal | None = None,
) -> Program:
    """The campaign's content, checked against the columns of its recipients where those are known."""
    columns = columns_of(campaign.recipients) if recipients is None else None
    zone = campaign.schedule.timezone if campaign.schedule is not None else None
    with placing_errors(campaign.file):
        if zone is not None and columns is not None and zone not in columns:
            raise CampaignError(
                f"{zone} is no field of the recipients",
                file=campaign.file,
                path="schedule.timezone",
                hint=f"the fields are {', '.join(columns)}",
            )
        return compile_content(campaign, columns=columns, attach=attach, seal=seal)


def fingerprints(campaign: Campaign) -> dict[str, str]:
    """Digests of all files that a run is pinned to, by key."""
    return {key: fingerprint(path) for key, path in named_files(campaign).items()}


def content_digests(campaign: Campaign, program: Program) -> dict[str, str]:
    """Digests of the files of the content alone, by key."""
    files = {key: path for key, path in named_files(campaign).items() if not key.startswith("recipients[")}
    return {key: fingerprint(path) for key, path in files.items()} | dict(program.included)


def sealing_key(keys: Sequence[TokenKey], began: float) -> TokenKey:
    """The newest key of the time when a run began, so that what is sent again later is the same."""
    known = sorted(keys, key=lambda key: key.number)
    return next((key for key in reversed(known) if key.created <= began), known[0])


def refuse_unlawful(campaign: Campaign, program: Program) -> None:
    """Marketing mail to real people shows a way out and who sends it, or is not sent. Raises CampaignError."""
    delivery = campaign.delivery
    if delivery.route == "sandbox" or delivery.allow_private_mx:
        return  # neither reaches real people: the other is for test networks
    if delivery.route == "relay" and not delivery.routes and all(is_loopback(relay.host) for relay in delivery.relay):
        return  # what becomes of it is decided on this machine; `check` has said it
    for key, sentence in program.lacks:
        raise CampaignError(
            sentence,
            file=campaign.file,
            path=key,
            hint="kind: transactional is for what is waited for, such as bills",
        )
