"""What campaigns said of feedback when they were last sent, for the processes that take it in."""

import msgspec

from bulkmail.model.campaign import Feedback
from bulkmail.store.database import Database


def keep_feedback_settings(database: Database, campaign: str, feedback: Feedback) -> None:
    """Durable when it returns."""
    encoded = msgspec.json.encode(feedback, enc_hook=float)
    with database.transaction() as connection:
        connection.execute("INSERT OR REPLACE INTO feedback_settings VALUES (?, ?)", (campaign, encoded))


def feedback_settings(database: Database, campaign: str) -> Feedback:
    """The defaults for a campaign that said nothing yet."""
    stored = database.value("SELECT settings FROM feedback_settings WHERE campaign = ?", (campaign,))
    if stored is None:
        return Feedback()
    return msgspec.json.decode(stored, type=Feedback, dec_hook=lambda kind, value: kind(value))
