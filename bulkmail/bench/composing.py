"""How many messages a thread composes and signs in a second, by kind of key, with and without eight at once."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from bulkmail.address import AddressError, parse_address, wire_address
from bulkmail.clock import SystemClock
from bulkmail.content.identity import Identity, new_key
from bulkmail.content.program import Program
from bulkmail.dkim.keys import SigningKey
from bulkmail.dkim.multibuffer import MultibufferError, installed
from bulkmail.dkim.signing import Signer
from bulkmail.engine.composer import BATCH, ComposeFailure, Composer
from bulkmail.engine.meter import CpuMeter
from bulkmail.engine.work import ActiveChunk, Work
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign
from bulkmail.model.recipient import RejectedRow
from bulkmail.recipients.source import open_source
from bulkmail.store.chunks import OpenChunk
from bulkmail.store.outcomes import OutcomeColumn

PLAIN, RSA, ED25519 = "unsigned", "rsa-2048", "ed25519"
INSTALL = "pip install bulkmail[turbo]"


class Composing(Struct, frozen=True, kw_only=True):
    """CPU microseconds a message, and the messages a second that a thread of its own makes of them.

    `turbo`: eight signatures at once. `unavailable` says why that cannot be; the figures are 0 then.
    """

    key: str
    turbo: bool = False
    composing_us: float = 0.0
    signing_us: float = 0.0
    per_second: float = 0.0
    unavailable: str = ""


def measure_composing(campaign: Campaign, program: Program, *, seconds: float) -> list[Composing]:
    """Of the campaign's own message to its first recipients. CampaignError where its list has nobody."""
    works = _works(campaign, program)
    names: list[tuple[str, bool]] = [(PLAIN, False), (RSA, False), (RSA, True), (ED25519, False), (ED25519, True)]
    return [_measured(program, works, key, turbo, seconds / len(names)) for key, turbo in names]


def kind_of(signer: Signer) -> str:
    """Which of the kinds measured stands for a campaign's keys: the dearest of them."""
    names = {key.algorithm.partition("-")[0] for key in signer.keys}
    return RSA if "rsa" in names else ED25519 if names else PLAIN


def _measured(program: Program, works: list[Work], kind: str, turbo: bool, seconds: float) -> Composing:
    keys = _keys(kind)
    if turbo:
        try:
            for key in keys:
                key.accelerate()
        except MultibufferError as error:
            why = str(error) if installed() else f"not installed: `{INSTALL}`"
            return Composing(key=kind, turbo=True, unavailable=why)
    _composer(program, keys)[0].compose(works)  # what is made once is not part of a message
    composer, meter = _composer(program, keys)
    end, latest = time.thread_time() + seconds, time.monotonic() + 3 * seconds
    while time.thread_time() < end and time.monotonic() < latest:
        composer.compose(works)
    messages, composing, signing = meter.so_far()
    return Composing(
        key=kind,
        turbo=turbo,
        composing_us=composing / messages * 1e6,
        signing_us=signing / messages * 1e6,
        per_second=messages / (composing + signing),
    )


def _composer(program: Program, keys: Sequence[SigningKey]) -> tuple[Composer, CpuMeter]:
    now = time.time()
    # Neither composer nor meter begins a thread before it is asked for what is not asked for here.
    idle = ThreadPoolExecutor(1)
    meter = CpuMeter(idle, idle)
    issuer = Identity([new_key(1, now)]).issuer(1, now)
    return Composer(program, Signer(keys), issuer, threads=1, clock=SystemClock(), meter=meter), meter


def _keys(kind: str) -> Sequence[SigningKey]:
    if kind == RSA:
        return (SigningKey("sender.example", "bench", rsa.generate_private_key(public_exponent=65537, key_size=2048)),)
    return (SigningKey("sender.example", "bench", Ed25519PrivateKey.generate()),) if kind == ED25519 else ()


def _works(campaign: Campaign, program: Program) -> list[Work]:
    found = list(islice(_good_rows(campaign, program), BATCH))
    if not found:
        raise CampaignError("its recipients have no row that a message can be made for", file=campaign.file)
    while len(found) < BATCH:
        found += found[: BATCH - len(found)]
    chunk = OpenChunk(
        number=1,
        run=1,
        destination="",
        list_name=None,
        addresses=[address for address, _ in found],
        rows=[row for _, row in found],
        outcomes=OutcomeColumn(len(found)),
    )
    active = ActiveChunk(chunk, jitter=0.0)
    works: list[Work] = [(active, index) for index in range(len(found))]
    composer, _ = _composer(program, ())
    failed = next((made for made in composer.compose(works) if isinstance(made, ComposeFailure)), None)
    if failed is not None:
        raise CampaignError(failed.explanation, file=campaign.file, path="content", hint="`check` shows every row")
    return works


def _good_rows(campaign: Campaign, program: Program) -> Iterator[tuple[str, bytes]]:
    for source in campaign.recipients:
        for row in open_source(source):
            if isinstance(row, RejectedRow) or program.problem(row.fields) is not None:
                continue
            try:
                address = wire_address(parse_address(row.address))
            except AddressError:
                continue
            yield address, program.encode_row(row.fields)
