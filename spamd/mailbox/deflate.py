"""COMPRESS=DEFLATE on the wire (RFC 4978): bytes in, bytes out. Touches no socket.

Memory is bounded on both sides: what is unpacked at once is limited by the caller, so that a small packet that unpacks to
gigabytes is read in pieces, and meets the limits for lines, literals and answers like anything a server sends.
"""

from __future__ import annotations

import zlib

from spamd.errors import ConnectionLost, ProtocolFault

_WINDOW = 12  # bits: 4 kB to look back in; what we send is commands
_MEMORY = 5  # with the window some 32 kB; the usual 15 and 8 take 256 kB


class Deflate:
    """Both directions of one connection."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._packer = zlib.compressobj(1, zlib.DEFLATED, -_WINDOW, _MEMORY)
        self._unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        self._full = (
            False  # the last piece was as long as it might be (zlib may hold more), or the last of all
        )

    @property
    def waiting(self) -> bool:
        """There may be more to unpack without a further byte from the network."""
        return self._full or bool(self._unpacker.unconsumed_tail)

    def pack(self, data: bytes) -> bytes:
        """A whole command (or piece of one), flushed so that the server can read it now."""
        return self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)

    def unpack(self, data: bytes, at_most: int) -> bytes:
        """At most so many bytes of what came; the rest with the next calls. b"": more must be received first.

        Raises ProtocolFault on what is no deflate stream, ConnectionLost at its end.
        """
        if self._unpacker.eof:
            raise ConnectionLost(f"{self._host} closed the connection.", "It is tried again by itself.")
        try:
            found = self._unpacker.decompress(self._unpacker.unconsumed_tail + data, at_most)
        except zlib.error as error:
            raise ProtocolFault(
                f"What {self._host} sent cannot be unpacked.", "It is tried again without compression."
            ) from error
        self._full = len(found) >= at_most or self._unpacker.eof
        return found


__all__ = ["Deflate"]
