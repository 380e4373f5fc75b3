"""The engine's rooms one by one: what waits is what is there, pins, chunks, routes and sums."""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bulkmail.dns.answers import DnsOutcome, HostAddresses, MailHosts, MxHost
from bulkmail.engine.exchange import Exchange
from bulkmail.engine.intake import CHUNK_RECIPIENTS, OWN_CHUNK_RECIPIENTS, Groups, build_chunks
from bulkmail.engine.lane import Lane
from bulkmail.engine.pinning import changes, pin
from bulkmail.engine.router import Router, Unroutable
from bulkmail.engine.statistics import Statistics
from bulkmail.engine.ways import Ways
from bulkmail.model.campaign import Campaign, Content, Delivery, Dns, DomainRoute, EgressSource, Relay
from bulkmail.model.delivery import Disposition, Reason
from bulkmail.native.message import Message
from bulkmail.policy.limits import EffectiveLimits
from bulkmail.policy.pacing import Pacer
from bulkmail.policy.route import site_of
from tests.engine.scene import OUTCOMES

SITE = site_of([(10, "mx.shop.example")])


def campaign(**delivery: Any) -> Campaign:
    content = Content(text="body.txt")
    return Campaign(
        campaign="trial", from_="a@acme.example", subject="s", content=content, delivery=Delivery(**delivery)
    )


def message(index: int, chunk: object = None) -> Message:
    return Message(chunk=chunk, index=index, attempt=1, address="", sender=b"", recipient=b"", data=b"", message_id="")


# Lanes and exchanges.

STEPS = st.lists(st.sampled_from(["put", "compose", "ready", "fail", "take", "back", "first", "clear"]), max_size=60)


def test_what_is_composed_comes_from_the_front_and_counts_as_waiting_until_it_fails() -> None:
    limits = EffectiveLimits(messages_per_second=None, connects_per_second=None)
    lane = Lane(SITE, EgressSource(), limits, Pacer([1.0]), now=0.0)
    exchange = Exchange(lane, ((10, "a.example"),))
    exchange.put([(None, number) for number in range(20)])  # type: ignore[misc]
    assert exchange.to_compose(5) == []
    exchange.connections = 1
    assert [index for _, index in exchange.to_compose(5)] == [0, 1, 2, 3, 4]
    assert (exchange.waiting, lane.waiting, exchange.composing) == (20, 20, 5)
    exchange.composed([message(0), message(1), message(2)], failed=2)
    assert (exchange.waiting, lane.waiting, exchange.composing, len(exchange.ring)) == (18, 18, 0, 3)


@given(STEPS)
def test_what_a_lane_counts_as_waiting_is_what_its_exchanges_hold(steps: list[str]) -> None:
    limits = EffectiveLimits(messages_per_second=None, connects_per_second=None)
    lane = Lane(SITE, EgressSource(), limits, Pacer([1.0]), now=0.0)
    exchanges = [Exchange(lane, ((10, "a.example"),)), Exchange(lane, ((10, "b.example"),))]
    taken: list[tuple[Exchange, Message]] = []
    total = 0
    for number, step in enumerate(steps):
        exchange = exchanges[number % 2]
        if step == "put":
            exchange.put([(None, number), (None, number)])  # type: ignore[list-item]
            total += 2
        elif step == "compose" and exchange.backlog:
            exchange.backlog.popleft()
            exchange.composing += 1
        elif step == "ready" and exchange.composing:
            exchange.composed([message(number)])
        elif step == "fail" and exchange.composing:
            exchange.composed([], failed=1)
            total -= 1
        elif step == "take" and (found := exchange.take(0.0)) is not None:
            taken.append((exchange, found))
            total -= 1
        elif step in ("back", "first") and taken:
            owner, found = taken.pop()
            owner.give_back(found, first=step == "first")
            total += 1
        elif step == "clear":
            total -= len(exchange.clear())
        assert lane.waiting == total == sum(one.waiting for one in exchanges)


# Chunks.


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["", "letter"]), st.sampled_from(["a.example", "b.example", "c.example"])),
        st.integers(1, 2 * CHUNK_RECIPIENTS + 1),
        max_size=4,
    )
)
def test_chunks_hold_every_recipient_once_by_list_and_are_not_too_large(sizes: dict[tuple[str, str], int]) -> None:
    due = 60.0
    groups = {
        (name, domain): [(f"{name}{n}@{domain}", b"%d" % n) for n in range(size)]
        for (name, domain), size in sizes.items()
    }
    by_list: dict[tuple[str, float], Groups] = {}
    for (name, domain), entries in groups.items():
        by_list.setdefault((name, due), {})[domain] = [one for one, _ in entries], [row for _, row in entries]
    chunks = build_chunks(by_list)
    assert sorted(
        (chunk.list_name or "", address, row)
        for chunk in chunks
        for address, row in zip(chunk.addresses, chunk.rows, strict=True)
    ) == sorted((name, address, row) for (name, _), rows in groups.items() for address, row in rows)
    for chunk in chunks:
        domains = {address.rpartition("@")[2] for address in chunk.addresses}
        assert 1 <= len(chunk.addresses) <= CHUNK_RECIPIENTS
        assert chunk.due == due
        assert chunk.destination == "" or domains == {chunk.destination}
    for (name, domain), size in sizes.items():
        own = [chunk for chunk in chunks if chunk.destination == domain and (chunk.list_name or "") == name]
        assert bool(own) == (size >= OWN_CHUNK_RECIPIENTS)


# Pins.


def test_pins_name_what_differs_and_leave_out_how_it_is_sent() -> None:
    files = {"content.text": "1", "recipients[0].file": "2"}
    before = pin(campaign(), files, limit=None)
    assert changes(before.encoded(), pin(campaign(retry=(1.0,), window=4), files, limit=None)) == []
    assert changes(before.encoded(), pin(campaign(), {**files, "content.text": "x"}, limit=None)) == ["content.text"]
    assert changes(before.encoded(), pin(campaign(), files, limit=5)) == ["--limit"]
    assert changes(before.encoded(), pin(campaign(), {"content.text": "1"}, limit=None)) == ["recipients[0].file"]
    assert before.content_hash != pin(campaign(), {**files, "content.text": "x"}, limit=None).content_hash


# Routes.


class Answers:
    """A resolver that says what it was made with."""

    def __init__(self, hosts: MailHosts | None = None, *addresses: str) -> None:
        self._hosts = hosts
        self._addresses = addresses

    async def mail_hosts(self, domain: str) -> MailHosts:
        assert self._hosts is not None, "the DNS was asked"
        return self._hosts

    async def addresses(self, host: str) -> HostAddresses:
        outcome = DnsOutcome.FOUND if self._addresses else DnsOutcome.NOT_FOUND
        return HostAddresses(outcome=outcome, addresses=self._addresses, expires=0.0)


def router(given: Campaign, answers: Answers, *own: str) -> Router:
    return Router(given, answers, Ways(given.delivery), own_names=own, rng=random.Random(1))  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.169.254", "::1", "fd00::1"])
def test_addresses_inside_our_own_network_are_left_out_unless_allowed(address: str) -> None:
    public = "93.184.215.14"
    found = asyncio.run(router(campaign(route="mx"), Answers(None, address, public)).addresses("mx"))
    assert found == (public,)
    alone = asyncio.run(router(campaign(route="mx"), Answers(None, address)).addresses("mx"))
    assert isinstance(alone, Unroutable) and alone.reason is Reason.DNS and "allow_private_mx" in alone.explanation
    allowed = asyncio.run(router(campaign(route="mx", allow_private_mx=True), Answers(None, address)).addresses("mx"))
    assert allowed == (address,)


def test_an_exchanger_at_an_address_that_we_send_from_is_not_knocked_at() -> None:
    ours, public = "93.184.215.10", "93.184.215.14"
    given = campaign(route="mx", sources=(EgressSource(address=ours, ehlo="me.example"),))
    assert asyncio.run(router(given, Answers(None, ours, public)).addresses("mx")) == (public,)
    alone = asyncio.run(router(given, Answers(None, ours)).addresses("mx"))
    assert isinstance(alone, Unroutable) and "sends from itself" in alone.explanation


def test_a_host_that_the_campaign_names_may_be_in_our_own_network_and_no_other_may() -> None:
    routes = {"corp.example": DomainRoute(hosts=("inner.corp.example", "10.9.9.9:2525"))}
    given = replace(campaign(route="mx", routes=routes), dns=Dns(servers=("127.0.0.1",)))
    routed = router(given, Answers(None, "10.1.2.3"))
    (way,) = asyncio.run(routed.ways("corp.example"))
    first, second = (name for _, name in way.site.hosts)
    assert (first, second) == ("inner.corp.example:25", "10.9.9.9:2525")
    assert asyncio.run(routed.addresses(first)) == ("10.1.2.3",)
    assert asyncio.run(routed.addresses(second)) == ("10.9.9.9",)
    assert isinstance(asyncio.run(routed.addresses("inner.corp.example")), Unroutable)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (DnsOutcome.NULL_MX, Reason.NULL_MX),
        (DnsOutcome.NOT_FOUND, Reason.DOMAIN_UNKNOWN),
        (DnsOutcome.TEMPORARY, Reason.DNS),
    ],
)
def test_a_domain_without_a_way_in_says_whether_for_good(outcome: DnsOutcome, reason: Reason) -> None:
    hosts = MailHosts(outcome=outcome, explanation="because", expires=0.0)
    found = asyncio.run(router(campaign(route="mx"), Answers(hosts)).ways("shop.example"))
    assert found == Unroutable(reason, "because")


def test_mail_that_would_come_back_to_us_is_a_loop_and_a_relay_needs_no_dns() -> None:
    hosts = MailHosts(outcome=DnsOutcome.FOUND, hosts=(MxHost(preference=5, host="me.example"),), expires=0.0)
    loop = asyncio.run(router(campaign(route="mx"), Answers(hosts), "me.example").ways("shop.example"))
    assert isinstance(loop, Unroutable) and loop.reason is Reason.LOOP
    relay = campaign(route="relay", relay=(Relay(host="relay.example"),))
    found = asyncio.run(router(relay, Answers(None)).ways("shop.example"))
    assert not isinstance(found, Unroutable) and [way.site.hosts for way in found] == [((0, "relay.example:587"),)]


# Sums.

MOVES = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(list(Disposition)[1:])), max_size=50)


@given(MOVES)
def test_the_eight_outcomes_are_all_rows_whatever_moves(moves: list[tuple[int, Disposition]]) -> None:
    statistics = Statistics(campaign(), "trial-1", now=0.0)
    statistics.rows, statistics.rejected, statistics.duplicates, statistics.suppressed_at_intake = 16, 3, 2, 1
    stands = dict.fromkeys(range(10), Disposition.OPEN)
    statistics.totals[Disposition.OPEN] = 10
    for who, after in moves:
        statistics.moved(stands[who], after, "site")
        stands[who] = after
        summary = statistics.summary("sending", 1.0)
        assert sum(getattr(summary, name) for name in OUTCOMES) == summary.recipients == 16
    assert statistics.summary("sending", 1.0).delivered == list(stands.values()).count(Disposition.DELIVERED)
    assert statistics.sites["site"].deferred >= 0 if moves else True
