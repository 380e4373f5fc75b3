"""Ask the system's routing table whether an address can be reached from one of ours; nothing is sent."""

import errno
import socket

_NO_WAY = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL}


def absent_address(address: str) -> str | None:
    """Why nothing can be sent from `address`; None where it is one of this machine's."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        return f"{address} is no address of this machine ({error.strerror or error})"
    return None


def no_route(address: str, source_address: str | None) -> str | None:
    """Why no packet can go from `source_address` (None: any of ours) to `address`; None where one can.

    To connect a datagram socket looks up a route and sends nothing.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    name = "IPv6" if family == socket.AF_INET6 else "IPv4"
    if source_address is not None and (":" in source_address) != (family == socket.AF_INET6):
        return f"{source_address} cannot send to {name}"
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            if source_address is not None:
                probe.bind((source_address, 0))
            probe.connect((address, 9))
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL and source_address is not None:
            return f"{source_address} is no address of this machine"
        if error.errno in _NO_WAY:
            return f"no route to {name} addresses" + (f" from {source_address}" if source_address else "")
    return None
