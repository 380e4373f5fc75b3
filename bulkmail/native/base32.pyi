def encode(data: bytes, /) -> str:
    """`data` in small letters and without padding. ValueError unless its length is a multiple of 5."""
