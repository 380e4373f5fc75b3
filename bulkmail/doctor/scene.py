"""What all examinations are given: whom they look at, from where, and how long they may take."""

import ssl

from msgspec import Struct

from bulkmail.doctor.lookups import Lookups
from bulkmail.model.campaign import Campaign, EgressSource, TlsMode
from bulkmail.policy.wishes import TlsWishes


class Scene(Struct, frozen=True, kw_only=True):
    """`sources` have EHLO names; `public` are addresses that the user says receivers see (behind NAT).

    `certificates` is the context that decides whom to trust; `now` Unix seconds.
    """

    campaign: Campaign | None
    sources: tuple[EgressSource, ...]
    lookups: Lookups
    certificates: ssl.SSLContext
    now: float
    public: tuple[str, ...] = ()
    connect_seconds: float = 5.0

    def tls_asked(self, domain: str, host: str) -> TlsMode:
        """What the campaign asks of `host` for mail to `domain`."""
        if self.campaign is None:
            return "opportunistic"
        wishes = TlsWishes(self.campaign)
        return wishes.of_domain(domain) or wishes.at(host)

    @property
    def private_allowed(self) -> bool:
        """Whether loopback and private addresses are part of the campaign's world."""
        return self.campaign is not None and self.campaign.delivery.allow_private_mx
