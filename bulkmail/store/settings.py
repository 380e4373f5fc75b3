"""What campaigns said of feedback when they were last sent, for the processes that take it in."""

import msgspec
from msgspec import Struct

from bulkmail.model.campaign import Feedback
from bulkmail.policy.rules import Rule
from bulkmail.store.database import Database


class FeedbackSettings(Struct, frozen=True):
    """`rules` are the user's own, read when the campaign was sent: their file may be gone by now."""

    feedback: Feedback = Feedback()
    rules: tuple[Rule, ...] = ()


def keep_feedback_settings(database: Database, campaign: str, settings: FeedbackSettings) -> None:
    """Durable when it returns."""
    encoded = msgspec.json.encode(settings, enc_hook=float)
    with database.transaction() as connection:
        connection.execute("INSERT OR REPLACE INTO feedback_settings VALUES (?, ?)", (campaign, encoded))


def feedback_settings(database: Database, campaign: str) -> FeedbackSettings:
    """The defaults for a campaign that said nothing yet."""
    stored = database.value("SELECT settings FROM feedback_settings WHERE campaign = ?", (campaign,))
    if stored is None:
        return FeedbackSettings()
    return msgspec.json.decode(stored, type=FeedbackSettings, dec_hook=lambda kind, value: kind(value))


def trusted_reporters(database: Database) -> frozenset[str]:
    """Those of all campaigns together: a report without a token does not say which it is about."""
    names = database.rows("SELECT campaign FROM feedback_settings")
    return frozenset(one for (name,) in names for one in feedback_settings(database, name).feedback.trusted_reporters)
