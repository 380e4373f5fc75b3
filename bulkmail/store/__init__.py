"""Durable state: chunks, outcomes, journal and suppressions in one directory."""
