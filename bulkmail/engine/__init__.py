"""The engine: what is sent next, over which connection, and what became of it."""
