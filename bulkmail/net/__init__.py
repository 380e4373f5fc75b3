"""Sockets: connecting from an egress source, TLS contexts."""
