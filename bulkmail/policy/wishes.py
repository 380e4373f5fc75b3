"""What a campaign asks of TLS, place by place."""

from bulkmail.model.campaign import Campaign, TlsMode
from bulkmail.policy.route import fitting_pattern


class TlsWishes:
    """The campaign's own words: for a domain, for a host by the longest pattern that fits it, and for all others.

    With REQUIRETLS only TLS that proves the peer will do, whatever is said of single places (RFC 8689 §4.1).
    """

    def __init__(self, campaign: Campaign) -> None:
        self.usual: TlsMode = "verified" if campaign.delivery.requiretls else campaign.delivery.tls
        self._domains = {} if campaign.delivery.requiretls else campaign.tls.domains
        self._sites = {} if campaign.delivery.requiretls else campaign.tls.sites
        self._patterns = sorted(self._sites, key=lambda text: (-len(text), text))

    def of_domain(self, domain: str) -> TlsMode | None:
        return self._domains.get(domain)

    def at(self, host: str) -> TlsMode:
        for pattern in self._patterns:
            if fitting_pattern(host, (pattern,)):
                return self._sites[pattern]
        return self.usual
