"""Sockets: connecting from an egress source, TLS contexts, and the pump between a socket and an SMTP session."""
