"""Bulk mail engine: renders, signs and delivers campaigns straight to the recipients' mail exchangers."""
