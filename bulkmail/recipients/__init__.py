"""Recipient lists: CSV and JSON Lines, streamed with their source lines."""

from bulkmail.recipients.objects import from_async_iterable, from_iterable
from bulkmail.recipients.source import RowReader, fingerprint, open_source

__all__ = ["RowReader", "fingerprint", "from_async_iterable", "from_iterable", "open_source"]
