"""Recipient lists: CSV and JSON Lines, streamed with their source lines."""
