"""What an exchanger decides: who may connect, how fast, and the fate of each recipient.

A recipient's fate depends on hash(seed, address) alone, so that a run repeated meets the same mailboxes. A local part
that is one of these words, alone or followed by anything but a letter (`unknown`, `full-3`, `spam.17`), asks for it:

    unknown     no such user                          slow        the reply to the message takes its time
    disabled    a closed mailbox                      later       receives too quickly, for a moment
    full        over quota, permanently (552)         spam        the content is refused
    quota       over quota, for now and for ever (452) drop       accepted, but the connection dies before the reply
    policy      refused by policy                     cut         the connection dies before the message is accepted
    greylist    refused at first, welcome later       welcome     always accepted
"""

import re
from enum import Enum

from bulkmail.sandbox.chance import draw
from bulkmail.sandbox.profiles import Answer, Manners

_FORCED = re.compile(r"([a-z]+)(?:[^a-z].*)?", re.DOTALL)
_REMEMBERED = 200_000


class Fate(Enum):
    """What becomes of mail to one recipient."""

    WELCOME = "welcome"
    UNKNOWN = "unknown"
    DISABLED = "disabled"
    FULL = "full"
    FULL_FOR_NOW = "quota"
    POLICY = "policy"
    CONTENT = "spam"
    GREYLISTED = "greylist"
    LATER = "later"
    SLOW = "slow"
    DROP = "drop"
    CUT = "cut"


_FATES = {fate.value: fate for fate in Fate}


def fate_of(address: str, manners: Manners, *, seed: int) -> Fate:
    """The fate of `local@domain` at exchangers with these manners; always the same for the same arguments."""
    word = _FORCED.fullmatch(address.rpartition("@")[0].lower())
    if word is not None and word[1] in _FATES:
        return _FATES[word[1]]
    chance = draw(seed, "fate", address)
    for fate, share in (
        (Fate.UNKNOWN, manners.unknown_share),
        (Fate.DISABLED, manners.disabled_share),
        (Fate.FULL, manners.full_share),
        (Fate.FULL_FOR_NOW, manners.full_for_now_share),
        (Fate.POLICY, manners.policy_share),
        (Fate.CONTENT, manners.content_share),
        (Fate.GREYLISTED, manners.greylist_share),
        (Fate.LATER, manners.later_share),
        (Fate.SLOW, manners.slow_share),
    ):
        if chance < share:
            return fate
        chance -= share
    return Fate.WELCOME


class Bucket:
    """Tokens that come back at a steady rate; times are monotonic seconds."""

    __slots__ = ("_burst", "_filled", "_rate", "_tokens")

    def __init__(self, rate_per_second: float, burst: int, now: float) -> None:
        self._rate, self._burst, self._tokens, self._filled = rate_per_second, float(burst), float(burst), now

    def take(self, now: float) -> bool:
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class _Client:
    """What is known of one client address."""

    __slots__ = ("blocked_until", "bucket", "connections", "throttled")

    def __init__(self, manners: Manners, now: float) -> None:
        self.connections = 0
        self.throttled = 0
        self.blocked_until = 0.0
        rate = manners.throttle_per_second
        self.bucket = Bucket(rate, manners.throttle_burst, now) if rate else None


class Doorman:
    """The limits and lists shared by all exchangers of one kind."""

    def __init__(self, manners: Manners, *, seed: int) -> None:
        self.manners = manners
        self.seed = seed
        self._clients: dict[str, _Client] = {}
        self._first_seen: dict[str, float] = {}

    def connections(self, peer: str) -> int:
        """How many connections this client has open now."""
        client = self._clients.get(peer)
        return client.connections if client else 0

    def enter(self, peer: str, now: float) -> Answer | None:
        """Count a connection in, whatever the answer; an Answer refuses it. Every `enter` needs its `leave`."""
        client = self._client(peer, now)
        client.connections += 1
        if now < client.blocked_until:
            return self.manners.replies.blocked
        if client.connections > self.manners.connections:
            return self.manners.replies.connections
        return None

    def leave(self, peer: str) -> None:
        self._clients[peer].connections -= 1

    def throttle(self, peer: str, stage: str, now: float) -> Answer | None:
        """Take a token where this stage (`mail`, `rcpt`, `message`) is the one that is counted."""
        manners = self.manners
        if stage != manners.throttle_stage:
            return None
        client = self._client(peer, now)
        if client.bucket is None or client.bucket.take(now):
            return None
        client.throttled += 1
        if manners.block_after and client.throttled >= manners.block_after:
            client.throttled = 0
            client.blocked_until = now + manners.block_seconds
        return manners.replies.throttled

    def recipient(self, peer: str, address: str, now: float) -> tuple[Fate, Answer | None]:
        """The fate of a recipient and, where it is decided at RCPT, the answer that refuses it."""
        fate = fate_of(address, self.manners, seed=self.seed)
        replies = self.manners.replies
        if fate is Fate.GREYLISTED:
            waiting = self._waiting(f"{peer} {address}", self.manners.greylist_seconds, now)
            return fate, replies.greylisted if waiting else None
        if fate is Fate.LATER:
            return fate, replies.later if self._waiting(address, self.manners.later_seconds, now) else None
        refusals = {
            Fate.UNKNOWN: replies.unknown,
            Fate.DISABLED: replies.disabled,
            Fate.FULL: replies.full,
            Fate.FULL_FOR_NOW: replies.full_for_now,
            Fate.POLICY: replies.policy,
        }
        return fate, refusals.get(fate)

    def _client(self, peer: str, now: float) -> _Client:
        client = self._clients.get(peer)
        if client is None:
            client = self._clients[peer] = _Client(self.manners, now)
        return client

    def _waiting(self, key: str, seconds: float, now: float) -> bool:
        first = self._first_seen.setdefault(key, now)
        if len(self._first_seen) > _REMEMBERED:
            for old in list(self._first_seen)[: _REMEMBERED // 2]:
                del self._first_seen[old]
        return now - first < seconds
