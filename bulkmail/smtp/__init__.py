"""The SMTP client's side of the wire, sans-I/O: handshake and transactions; no sockets, no clock."""
