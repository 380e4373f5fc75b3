"""Frozen values that cross module borders; no behaviour beyond their own consistency."""
