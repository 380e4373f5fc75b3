"""Mail exchanger look-ups over dnspython, cached, one query in flight per name."""

from bulkmail.dns.answers import DnsOutcome, HostAddresses, MailHosts, MxHost, ResolverStatistics, TxtAnswer
from bulkmail.dns.resolver import CacheLimits, Resolver

__all__ = [
    "CacheLimits",
    "DnsOutcome",
    "HostAddresses",
    "MailHosts",
    "MxHost",
    "Resolver",
    "ResolverStatistics",
    "TxtAnswer",
]
