"""Which mailbox of ours an address is, if any: by name, or by name and token."""

from bulkmail.engine.incoming import Box
from bulkmail.serve.settings import Addresses

_POSTMASTER = "postmaster"


class Mailboxes:
    """The listener's mailboxes. Behind a `+` anything may stand: whose mail it is, its token says, and the key."""

    def __init__(self, addresses: Addresses) -> None:
        self._boxes = {
            **dict.fromkeys(addresses.bounces, Box.RETURNS),
            **dict.fromkeys(addresses.complaints, Box.RETURNS),
            **dict.fromkeys(addresses.unsubscribe, Box.UNSUBSCRIBE),
        }
        self._domains = addresses.domains

    def box(self, address: str) -> Box | None:
        """None where the address is not ours."""
        local, _, domain = address.lower().rstrip(".").rpartition("@")
        if not local and domain == _POSTMASTER:
            return Box.POSTMASTER
        if domain not in self._domains:
            return None
        if local == _POSTMASTER:
            return Box.POSTMASTER
        return self._boxes.get(f"{local.partition('+')[0]}@{domain}")
