"""What marketing mail must show: a way out, and who sends it."""

from typing import Any

import pytest

from bulkmail.content.compiler import compile_content
from bulkmail.model.campaign import Unsubscribe
from tests.content.conftest import MakeCampaign

URL = Unsubscribe(url="https://garden.example/u/{{ token }}", mailto="out@garden.example")
ADDRESS = "Acme Ltd, 14 Orchard Lane, Exampleton"


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({"text": "x"}, ["unsubscribe", "sender_address"]),
        ({"text": "x", "unsubscribe": URL}, ["content", "sender_address"]),
        ({"text": "{{ unsubscribe_url }}", "unsubscribe": URL}, ["sender_address"]),
        ({"text": "{{ unsubscribe_url }}", "unsubscribe": URL, "sender_address": ADDRESS}, ["content"]),
        ({"text": "{{ unsubscribe_url }} {{ sender_address }}", "unsubscribe": URL, "sender_address": ADDRESS}, []),
        ({"text": "mailto:out@garden.example {{ sender_address }}", "unsubscribe": URL, "sender_address": ADDRESS}, []),
        (
            {
                "html": "<p>Acme Ltd<br>14&nbsp;Orchard Lane, Exampleton <a href='{{ unsubscribe_url }}'>x</a></p>",
                "unsubscribe": URL,
                "sender_address": ADDRESS,
            },
            [],
        ),
        (
            {
                "html": "{{ unsubscribe_url }}{{ sender_address }}",
                "text": "{{ unsubscribe_url }}",
                "unsubscribe": URL,
                "sender_address": ADDRESS,
            },
            ["content"],
        ),
        ({"text": "x", "kind": "transactional"}, []),
    ],
)
def test_what_a_campaign_lacks_is_named_by_its_key(
    make_campaign: MakeCampaign, settings: dict[str, Any], keys: list[str]
) -> None:
    assert [key for key, _ in compile_content(make_campaign(**settings)).lacks] == keys


def test_the_address_is_printed_by_both_ways(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(html="<p>{{ sender_address }}</p>", sender_address="A & B <x>")
    for compiled in (True, False):
        program = compile_content(campaign, columns=["email"], compiled=compiled)
        assert program.preview("a@b.example", b"[]").html == "<p>A &amp; B &lt;x&gt;</p>\r\n"
