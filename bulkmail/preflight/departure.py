"""Look at what a send needs of this machine: the secrets of its relays, and the addresses it sends from."""

from collections.abc import Iterator

from msgspec.structs import replace

from bulkmail.config.load import placing_errors
from bulkmail.config.secrets import password_of
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign
from bulkmail.net.reach import absent_address
from bulkmail.outbound import relays_of
from bulkmail.preflight.finding import Finding, from_error
from bulkmail.preflight.rules import Level


def departure_findings(campaign: Campaign) -> Iterator[Finding]:
    """Warnings, not errors: a campaign may be checked on another machine than that which sends it."""
    if campaign.delivery.route == "sandbox":
        return
    for path, relay in relays_of(campaign.delivery):
        try:
            with placing_errors(campaign.file):
                password_of(relay, file=campaign.file, path=path)
        except CampaignError as error:
            yield from _warnings(error, "relay.secret")
    for index, source in enumerate(campaign.delivery.sources):
        problem = absent_address(source.address) if source.address is not None else None
        if problem is None:
            continue
        try:
            with placing_errors(campaign.file):
                raise CampaignError(
                    problem,
                    file=campaign.file,
                    path=f"delivery.sources[{index}].address",
                    hint="give it to an interface, or take it out: nothing leaves from it",
                )
        except CampaignError as error:
            yield from _warnings(error, "source.address")


def _warnings(error: CampaignError, rule: str) -> list[Finding]:
    return [replace(finding, level=Level.WARNING) for finding in from_error(error, rule)]
