"""The event log of a run, one JSON object a line."""
