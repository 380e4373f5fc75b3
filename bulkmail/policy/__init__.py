"""Decisions: facts and the time in, a decision out; no I/O."""
