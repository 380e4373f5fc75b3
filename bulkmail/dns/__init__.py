"""Mail exchanger look-ups over dnspython, cached, one query in flight per name."""
