"""Which of the figures binds: what a send waits for on this machine, said in one sentence."""

from collections.abc import Sequence

from msgspec import Struct

from bulkmail.bench.composing import INSTALL, RSA, Composing
from bulkmail.bench.disk import Disk
from bulkmail.bench.lanes import Lanes, SiteTime
from bulkmail.bench.whole import Sending
from bulkmail.cli.output import span

# A second node costs CPU for each message that the owner hands to a node and hears of again (benchmarks.send --nodes 2,
# of 100,000), and trouble to nobody: it pays where it brings this much more.
HANDOVER_US = 12.0
WORTHWHILE = 1.15
# With eight signatures at once RSA costs about a third; measured where it can be, else said so.
TURBO_GAIN = 2.7
RECORDS_PER_MESSAGE = 2


class Verdict(Struct, frozen=True, kw_only=True):
    """`per_second` is what this machine can send, `binds` what keeps it from more; `seconds` what the list takes.

    `loop_share` is how much of a core the event loop needs at that pace. `second_node` is how many times as much two
    nodes would send; `second_process` whether that is worth while.
    """

    binds: str
    per_second: float
    seconds: float | None
    loop_share: float
    second_process: bool
    second_node: float
    sentence: str


def judge(
    key: str,
    composed: Sequence[Composing],
    sending: Sending,
    disk: Disk,
    lanes: Lanes | None,
    *,
    threads: int,
    cores: int,
    turbo: bool = True,
) -> Verdict:
    """`key` is the kind that the campaign signs with, `threads` how many compose and sign."""
    usable = {one.turbo: one for one in composed if one.key == key and not one.unavailable and (turbo or not one.turbo)}
    chosen = usable.get(True) or usable[False]
    message_us = chosen.composing_us + chosen.signing_us
    others_us = sum(us for stage, us in sending.stages.items() if stage not in ("composing", "signing"))
    # Unsigned messages are composed on the loop.
    loop_us = sending.loop_us + (message_us if not chosen.signing_us > 1.0 else 0.0)
    rates = {
        "signing" if chosen.signing_us > chosen.composing_us else "composing": threads * 1e6 / message_us,
        "the event loop": 1e6 / loop_us,
        "the processor": cores * 1e6 / (message_us + others_us),
        "the disk": disk.records_per_second / RECORDS_PER_MESSAGE,
    }
    binds, per_second = min(rates.items(), key=lambda one: one[1])
    if binds == "the processor" and chosen.signing_us > (message_us + others_us) / 2:
        binds = "signing"
    slowest = lanes.sites[0] if lanes is not None and lanes.sites else None
    if slowest is not None and lanes is not None and slowest.seconds > lanes.recipients / per_second:
        pace = lanes.recipients / slowest.seconds
        return _verdict("the limits", per_second, slowest.seconds, pace * loop_us / 1e6, 1.0, _limits_bind(slowest))
    sentence = f"{binds} binds: {per_second:,.0f} messages/s"
    if binds == "signing":
        sentence += _advice(chosen, [one for one in composed if one.key == key and one.turbo])
    seconds = lanes.recipients / per_second if lanes is not None else None
    two = min(2e6 / loop_us, cores * 1e6 / (message_us + others_us + HANDOVER_US), rates["the disk"])
    # What more threads would bring as well is no reason for another process.
    one = min(rates["the event loop"], rates["the processor"], rates["the disk"])
    return _verdict(binds, per_second, seconds, per_second * loop_us / 1e6, max(1.0, two / one), sentence)


def _verdict(
    binds: str, per_second: float, seconds: float | None, share: float, second_node: float, sentence: str
) -> Verdict:
    share = min(1.0, share)
    return Verdict(
        binds=binds,
        per_second=per_second,
        seconds=seconds,
        loop_share=share,
        second_process=second_node >= WORTHWHILE,
        second_node=second_node,
        sentence=sentence,
    )


def _limits_bind(slowest: SiteTime) -> str:
    return f"the limits bind: {slowest.site} takes {span(slowest.seconds)}"


def _advice(chosen: Composing, turbo: Sequence[Composing]) -> str:
    if chosen.turbo:
        return ", eight at once" if chosen.key == RSA else ""
    why = turbo[0].unavailable if turbo else ""
    if INSTALL in why:
        gain = TURBO_GAIN if chosen.key == RSA else 1.3
        return f"; with `{INSTALL}`, where the CPU has AVX-512 IFMA, about {gain:g} times as many"
    return f"; eight at once is not to be had here ({why})" if why else ""
