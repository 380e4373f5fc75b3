"""What the law wants every marketing mail to show: a way out, and the postal address of whoever sends it."""

import re
from collections.abc import Sequence
from html import unescape

from bulkmail.content.mime import TextPart
from bulkmail.content.template import TemplateFolder
from bulkmail.model.campaign import Campaign

ADDRESS_SENTENCE = "marketing mail shows the sender's postal address: print {{ sender_address }} in page and text"


def lacking(campaign: Campaign, texts: Sequence[TextPart], templates: TemplateFolder) -> tuple[tuple[str, str], ...]:
    """What marketing mail must show and this does not: the key to set, and a sentence."""
    if campaign.kind != "marketing":
        return ()
    lacks: list[tuple[str, str]] = []
    if campaign.unsubscribe is None:
        lacks.append(("unsubscribe", "marketing mail needs a way out: set unsubscribe.url"))
    elif not all(shows_way_out(campaign, text) for text in texts if text.subtype in ("plain", "html")):
        lacks.append(("content", "marketing mail shows its way out: print {{ unsubscribe_url }} in page and text"))
    if not campaign.sender_address:
        lacks.append(
            ("sender_address", "marketing mail shows the sender's postal address: set sender_address and print it")
        )
    else:
        included = " ".join(templates.loader.texts.values()) if templates.loader else ""
        for text in texts:
            shown = squeezed(f"{text.template.source.text} {included}")
            if text.subtype in ("plain", "html") and not (
                "sender_address" in shown or squeezed(campaign.sender_address) in shown
            ):
                lacks.append(
                    ("content", "marketing mail shows the sender's postal address: print {{ sender_address }}")
                )
                break
    return tuple(lacks)


def shows_way_out(campaign: Campaign, text: TextPart) -> bool:
    mailto = campaign.unsubscribe.mailto if campaign.unsubscribe is not None else None
    return "unsubscribe_url" in text.template.names or (mailto is not None and mailto in text.template.source.text)


def squeezed(text: str) -> str:
    """The words of a text or page, for looking up others in them."""
    return re.sub(r"[\s,]+", " ", re.sub(r"<[^>]*>", " ", unescape(text))).strip()
