"""DKIM keys and signatures (RFC 6376, RFC 8301, RFC 8463)."""

from bulkmail.dkim.keys import SigningKey
from bulkmail.dkim.records import published_key_problem
from bulkmail.dkim.signing import Signer, load_keys

__all__ = ["Signer", "SigningKey", "load_keys", "published_key_problem"]
