"""Bulk mail engine: renders, signs and delivers campaigns straight to the recipients' mail exchangers.

    Engine, send                          sending, from asyncio programs and from scripts
    Campaign, Recipient, load_campaign    what is sent, and to whom
    Event, Summary                        what became of it

Everything else is private, however it is named.
"""

from bulkmail.config.load import load_campaign
from bulkmail.library import Engine, send
from bulkmail.model.campaign import Campaign
from bulkmail.model.delivery import Event, Summary
from bulkmail.model.recipient import Recipient

__all__ = ["Campaign", "Engine", "Event", "Recipient", "Summary", "load_campaign", "send"]
