"""Marketing mail that shows no sender and no way out stops a send to real people, and nothing else."""

from types import SimpleNamespace
from typing import Any

import pytest

from bulkmail.compilation import refuse_unlawful
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign, Content, Delivery, DomainRoute, Relay

LACKING: Any = SimpleNamespace(lacks=(("sender_address", "marketing mail shows the sender's postal address"),))


def campaign(**delivery: Any) -> Campaign:
    return Campaign(
        campaign="trial",
        from_="news@acme.example",
        subject="News",
        content=Content(text="body.txt"),
        recipients=(),
        delivery=Delivery(**delivery),
        file="trial.yaml",
    )


def relay(*hosts: str) -> tuple[Relay, ...]:
    return tuple(Relay(host=host) for host in hosts)


@pytest.mark.parametrize(
    "delivery",
    [
        {"route": "mx"},
        {"route": "relay", "relay": relay("smtp.example.net")},
        {"route": "relay", "relay": relay("localhost", "smtp.example.net")},
        {"route": "relay", "relay": relay("127.0.0.1"), "routes": {"shop.example": DomainRoute(mx=True)}},
        {"route": "relay", "relay": relay("10.0.0.1")},
    ],
)
def test_to_real_people_it_is_not_sent(delivery: dict[str, Any]) -> None:
    with pytest.raises(CampaignError, match=r"trial.yaml.*sender_address.*postal address"):
        refuse_unlawful(campaign(**delivery), LACKING)


@pytest.mark.parametrize(
    "delivery",
    [
        {"route": "sandbox"},
        {"route": "mx", "allow_private_mx": True},
        {"route": "relay", "relay": relay("localhost")},
        {"route": "relay", "relay": relay("127.0.0.1", "::1", "127.8.9.1")},
    ],
)
def test_what_stays_on_this_machine_or_a_test_network_is_sent(delivery: dict[str, Any]) -> None:
    refuse_unlawful(campaign(**delivery), LACKING)
