"""The SMTP client's side of the wire: bytes in, bytes and values out; no sockets, no clock."""
