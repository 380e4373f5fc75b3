"""Signing keys: a domain, a selector and the private key whose public half the DNS publishes."""

import base64
import logging
import re
from collections.abc import Sequence
from typing import Final

import idna
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bulkmail.dkim.multibuffer import LANES, MultibufferError, batch_signer, installed
from bulkmail.dkim.openssl import openssl_key
from bulkmail.dkim.pem import PrivateKey, read_private_key
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import DkimKey
from bulkmail.native.lanes import LaneKey

_RECOMMENDED_RSA_BITS = 2048  # RFC 8301 §3.2
_VERIFIABLE_RSA_BITS = 4096  # RFC 8301 §3.2: beyond it verifiers need not try
_PADDING: Final = PKCS1v15()
_SHA256: Final = Prehashed(SHA256())
_SELF_TEST: Final = tuple(bytes([number]) * 32 for number in range(8))
_log = logging.getLogger(__name__)
# The underscore is not in the grammar of RFC 6376 §3.1, but in use, and names in the DNS may have it.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)


class SigningKey:
    """One signature's d=, s= and private key. Signing is deterministic, thread-safe, and runs without the GIL.

    Raises `CampaignError` when `domain` or `selector` cannot be part of a DNS name.
    """

    __slots__ = ("_private", "algorithm", "bits", "domain", "lanes", "native", "public_base64", "selector")

    def __init__(self, domain: str, selector: str, private: PrivateKey) -> None:
        self.domain = _a_label(domain)
        self.selector = selector
        self._private = private
        self.lanes: LaneKey | None = None
        self.native: LaneKey | None = None
        if not _is_dns_name(self.domain) or "." not in self.domain:
            raise CampaignError(f"{domain!r} is not a domain name", path="dkim.domain")
        if not _is_dns_name(selector):
            raise CampaignError(
                f"{selector!r} is not a selector", path="dkim.selector", hint="use letters, digits, hyphens and dots"
            )
        if len(self.record_name) > 253:
            raise CampaignError(f"{self.record_name} is longer than a DNS name may be (253)", path="dkim.selector")
        public = private.public_key()
        if isinstance(private, RSAPrivateKey):
            self.algorithm = "rsa-sha256"
            self.bits = private.key_size
            encoded = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            self.algorithm = "ed25519-sha256"
            self.bits = 256
            encoded = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public_base64 = base64.b64encode(encoded).decode()

    @property
    def key_type(self) -> str:
        """The k= of the DNS record: `rsa` or `ed25519`."""
        return self.algorithm.partition("-")[0]

    @property
    def record_name(self) -> str:
        """Where receivers look for the public key (RFC 6376 §3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """The TXT to publish at `record_name` (RFC 6376 §3.6.1), to be cut into strings of at most 255 bytes."""
        return f"v=DKIM1; k={self.key_type}; p={self.public_base64}"

    @property
    def weakness(self) -> str | None:
        """Why receivers may think little of signatures by this key, as a sentence; None for a sound key."""
        if self.key_type == "rsa" and self.bits < _RECOMMENDED_RSA_BITS:
            return (
                f"{self.record_name}: an RSA key of {self.bits} bits is short; use {_RECOMMENDED_RSA_BITS} (RFC 8301)"
            )
        if self.key_type == "rsa" and self.bits > _VERIFIABLE_RSA_BITS:
            return f"{self.record_name}: receivers need not verify an RSA key of {self.bits} bits (RFC 8301)"
        return None

    @property
    def accelerated(self) -> bool:
        """Whether batches are signed eight at a time, by `lanes`."""
        return self.lanes is not None

    def accelerate(self) -> None:
        """Sign batches eight at a time from here on. Raises `MultibufferError` where that cannot be done here.

        The self-test compares with OpenSSL, byte for byte: both algorithms are deterministic.
        """
        lanes = batch_signer(self._private)
        if lanes.sign(_SELF_TEST) != [self._sign_digest(digest) for digest in _SELF_TEST]:
            raise MultibufferError("its signatures differ from those of OpenSSL")
        self.lanes = self.native = lanes

    def go_without_interpreter(self) -> None:
        """Sign without the interpreter's lock from here on, where that can be done without eight at a time, too."""
        if self.native is None and (native := openssl_key(self._private)) is not None:
            try:
                same = native.sign(_SELF_TEST[:1]) == [self._sign_digest(_SELF_TEST[0])]
            except ArithmeticError:
                same = False
            self.native = native if same else None

    def slow_down(self) -> None:
        """A signature made eight at a time did not verify: from here on one by one.

        A machine that computes wrong once is not asked again.
        """
        self.native = None
        if self.lanes is not None:
            self.lanes = None
            _log.warning("%s: signing one by one from here on: a signature does not verify", self.record_name)

    def try_to_accelerate(self) -> None:
        """`accelerate` where it can be done; else one by one, as before.

        Where the library is installed and yet cannot be used, that is worth a line in the log; it is no error.
        """
        try:
            self.accelerate()
        except MultibufferError as error:
            if installed():
                _log.warning("%s: signing one by one: %s", self.record_name, error)

    def sign_digests(self, digests: Sequence[bytes]) -> list[bytes]:
        """A signature over each SHA-256, in order, not yet base64 (RFC 6376 §3.3.2, RFC 8463 §3)."""
        lanes = self.lanes
        if lanes is None or len(digests) < lanes.fewest:
            return [self._sign_digest(digest) for digest in digests]
        spare = len(digests) % LANES
        alone = spare if spare < lanes.fewest else 0
        together, rest = digests[: len(digests) - alone], digests[len(digests) - alone :]
        try:
            signatures = lanes.sign(together)
        except ArithmeticError:
            self.slow_down()
            return [self._sign_digest(digest) for digest in digests]
        return signatures + [self._sign_digest(digest) for digest in rest]

    def _sign_digest(self, digest: bytes) -> bytes:
        if isinstance(self._private, RSAPrivateKey):
            return self._private.sign(digest, _PADDING, _SHA256)
        return self._private.sign(digest)

    def __repr__(self) -> str:
        return f"SigningKey({self.record_name}, {self.algorithm}, {self.bits} bits)"


def load_key(entry: DkimKey) -> SigningKey:
    """The key of one `dkim` entry of a campaign file; `CampaignError` names the file or the field that is wrong."""
    return SigningKey(entry.domain, entry.selector, read_private_key(entry.key))


def _a_label(domain: str) -> str:
    if domain.isascii():
        return domain.lower()
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        return domain


def _is_dns_name(name: str) -> bool:
    return len(name) <= 253 and all(_LABEL.fullmatch(label) for label in name.split("."))
