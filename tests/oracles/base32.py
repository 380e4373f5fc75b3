"""Base32 in small letters, by the standard library."""

import base64


def encode(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").lower()
