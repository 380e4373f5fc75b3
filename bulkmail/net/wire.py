"""The sending side of one socket: what is written, what is held back, and what the network has not taken yet."""

import asyncio


class Wire:
    """Nothing leaves while it is held; what was written meanwhile leaves with the last `release`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        # What STARTTLS was said on: TLS keeps what it has encrypted there.
        self._beneath: asyncio.Transport | None = None
        self._holds = 0
        self._held: list[bytes] = []

    @property
    def transport(self) -> asyncio.Transport | None:
        return self._transport

    @property
    def upgraded(self) -> bool:
        """Whether TLS began on it by STARTTLS."""
        return self._beneath is not None

    def open(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def upgrade(self, transport: asyncio.Transport) -> None:
        """From now on by way of `transport`, which encrypts."""
        self._beneath, self._transport = self._transport, transport

    def write(self, data: bytes) -> None:
        if self._holds:
            self._held.append(data)
        elif data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def hold(self) -> None:
        """Nothing may leave before `release` was called once more."""
        self._holds += 1

    def release(self) -> None:
        self._holds -= 1
        if not self._holds:
            held, self._held = self._held, []
            self.write(b"".join(held))

    @property
    def unwritten_bytes(self) -> int:
        """What was handed to the transport and not yet taken by the network."""
        if self._transport is None or self._transport.is_closing():
            return 0
        beneath = self._beneath
        encrypted = beneath.get_write_buffer_size() if beneath is not None and not beneath.is_closing() else 0
        return self._transport.get_write_buffer_size() + encrypted

    @property
    def held_bytes(self) -> int:
        return sum(map(len, self._held))

    def close(self, *, gently: bool) -> None:
        """`gently`: what was written is sent first, as far as the network takes it."""
        if self._transport is not None:
            if gently:
                self._transport.close()
            else:
                self._transport.abort()
