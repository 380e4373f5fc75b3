"""Understands what comes back: bounces, delays, complaints and automatic replies, from bytes to values."""

from bulkmail.feedback.report import Action, FeedbackError, Kind, Report, ReportedRecipient
from bulkmail.feedback.understand import understand

__all__ = ["Action", "FeedbackError", "Kind", "Report", "ReportedRecipient", "understand"]
