"""Understands what comes back: bounces, delays, complaints and automatic replies, from bytes to values."""
