"""Examine a sender's set-up and say what is wrong, on what evidence, and what to do about it."""
