"""A whole send on a clock of its own: the real engine, receivers in memory, days in seconds, repeatable by a seed."""
