"""Numbers that carry their unit as a type; written by people as `15m`, `500/s`, `2MiB` and read by `config.units`."""


class Seconds(float):
    """A span of time in seconds."""


class PerSecond(float):
    """A rate: how many a second."""


class Share(float):
    """A part of a whole, from 0 to 1."""


class ByteCount(int):
    """A size in bytes."""
