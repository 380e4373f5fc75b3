"""A campaign written for real receivers, as it is sent in the sandbox."""

from msgspec.structs import replace

from bulkmail.model.campaign import Campaign
from bulkmail.model.units import Seconds

# The longest that the sandbox is waited for, by attempt, and altogether.
SANDBOX_RETRY = (2.0, 4.0, 8.0)
SANDBOX_EXPIRE_SECONDS = 30.0


def in_sandbox(campaign: Campaign) -> Campaign:
    """A campaign written for real receivers, as it is sent in the sandbox.

    Its receivers count in seconds, not hours: retry and expire are cut to that, or a greylisting of two seconds would
    be waited out for five minutes. Egress sources become loopback addresses, for no other reaches 127.0.0.0/8.
    """
    delivery = campaign.delivery
    retry = tuple(
        Seconds(min(delay, SANDBOX_RETRY[min(position, len(SANDBOX_RETRY) - 1)]))
        for position, delay in enumerate(delivery.retry)
    )
    expire = Seconds(min(delivery.expire, SANDBOX_EXPIRE_SECONDS))
    sources = tuple(
        replace(source, address=f"127.0.1.{position}") for position, source in enumerate(delivery.sources, start=1)
    )
    delivery = replace(delivery, retry=retry, expire=expire, sources=sources, routes={})
    return replace(campaign, delivery=delivery)
