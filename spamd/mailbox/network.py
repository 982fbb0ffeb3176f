"""Has this computer changed networks? Seen by its own addresses, without sending a byte.

A connection dies with the address it was made from: the other side's answers go nowhere, and nobody says so. Keep-alive finds
that within a minute (connection.py); this finds it at the next look, and also that the network is back.
"""

from __future__ import annotations

import contextlib
import enum
import socket
from collections.abc import Callable

# Reserved for documentation (RFC 5737, RFC 3849): routed like any address out there. A UDP socket that is "connected" sends
# nothing; the system only chooses the address it would speak from.
_OUT_THERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


class News(enum.Enum):
    NOTHING = "nothing"
    MOVED = "moved"  # an address we spoke from is gone: what was connected from it is dead
    BACK = "back"  # there is a way out again


def own_addresses() -> frozenset[tuple[socket.AddressFamily, str]]:
    """Those this computer speaks from; empty without a network."""
    found = set()
    for family, address in _OUT_THERE:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            found.add((family, str(probe.getsockname()[0])))
    return frozenset(found)


def is_ours(family: socket.AddressFamily, address: str) -> bool:
    """Still an address of this computer? (One for privacy may be replaced for new connections, and live on for old ones.)"""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


class Network:
    """Compares what is with what was."""

    def __init__(
        self,
        addresses: Callable[[], frozenset[tuple[socket.AddressFamily, str]]] = own_addresses,
        ours: Callable[[socket.AddressFamily, str], bool] = is_ours,
    ) -> None:
        self._addresses = addresses
        self._ours = ours
        self._known = addresses()  # that connections may have been made from
        self._online = bool(self._known)

    def look(self) -> News:
        """What happened since the last look. Some 50 microseconds."""
        now = self._addresses()
        gone = {one for one in self._known if one not in now and not self._ours(*one)}
        was_online, self._online = self._online, bool(now)
        self._known = (self._known | now) - gone
        if gone:
            return News.MOVED
        return News.BACK if now and not was_online else News.NOTHING


__all__ = ["Network", "News", "is_ours", "own_addresses"]
