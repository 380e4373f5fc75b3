"""Bulk mail engine: renders, signs and delivers campaigns straight to the recipients' mail exchangers.

    Engine, send                          sending, from asyncio programs and from scripts
    Campaign, Recipient, load_campaign    what is sent, and to whom
    Event, Summary                        what became of it
    Attach, Attachment                    files made for each recipient by your own code

Everything else is private, however it is named. The names are loaded on first use: the command line starts quickly.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bulkmail.config.load import load_campaign
    from bulkmail.content.bodies import Attach, Attachment
    from bulkmail.library import Engine, send
    from bulkmail.model.campaign import Campaign
    from bulkmail.model.delivery import Event, Summary
    from bulkmail.model.recipient import Recipient

__all__ = ["Attach", "Attachment", "Campaign", "Engine", "Event", "Recipient", "Summary", "load_campaign", "send"]

_HOMES = {
    "Attach": "bulkmail.content.bodies",
    "Attachment": "bulkmail.content.bodies",
    "Campaign": "bulkmail.model.campaign",
    "Engine": "bulkmail.library",
    "Event": "bulkmail.model.delivery",
    "Recipient": "bulkmail.model.recipient",
    "Summary": "bulkmail.model.delivery",
    "load_campaign": "bulkmail.config.load",
    "send": "bulkmail.library",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bulkmail' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
