"""Tokens -> 64-bit hashes -> buckets, whole arrays at a time.

A word's hash is a polynomial of its UTF-8 bytes modulo 2**64, read off running sums, so hashing all words of a mail is
a handful of numpy steps. Finished with MurmurHash3's mixer. The same on every machine (unsigned wrap-around only).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_PRIME: Final = 0x9E3779B97F4A7C55  # odd, so it has an inverse modulo 2**64
_MASK: Final = (1 << 64) - 1
_MIX1: Final = np.uint64(0xFF51AFD7ED558CCD)
_MIX2: Final = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT: Final = np.uint64(33)
NEW_LINE: Final = 10


def _powers(base: int, count: int) -> Hashes:
    out = np.ones(count, np.uint64)
    out[1:] = base & _MASK
    with np.errstate(over="ignore"):
        np.multiply.accumulate(out, out=out)
    return out


@lru_cache(maxsize=4)
def _tables(bits: int) -> tuple[Hashes, Hashes]:
    """Powers of the prime and of its inverse, 2**bits of each."""
    return _powers(_PRIME, 1 << bits), _powers(pow(_PRIME, -1, 1 << 64), 1 << bits)


def mix(values: Hashes) -> Hashes:
    """MurmurHash3's 64-bit finaliser: every bit in reaches every bit out."""
    out: Hashes = values ^ (values >> _SHIFT)
    out *= _MIX1
    out ^= out >> _SHIFT
    out *= _MIX2
    out ^= out >> _SHIFT
    return out


def hash_lines(joined: bytes) -> Hashes:
    """Hash of each line of `joined` (lines parted by one newline; empty input: one empty line)."""
    return measure_lines(joined)[0]


def measure_lines(joined: bytes) -> tuple[Hashes, NDArray[np.int64], NDArray[np.bool_]]:
    """Of each line: its hash, its length in bytes, and whether it holds an ASCII digit."""
    if not joined:
        return mix(np.zeros(1, np.uint64)), np.zeros(1, np.int64), np.zeros(1, np.bool_)
    raw = np.frombuffer(joined, np.uint8)
    size = raw.size
    up, down = _tables(max(15, (size - 1).bit_length()))
    ends = np.flatnonzero(raw == NEW_LINE)
    sums = np.empty(size + 1, np.uint64)
    sums[0] = 0
    np.cumsum(raw * up[:size], out=sums[1:])
    starts = np.empty(ends.size + 1, np.int64)
    starts[0] = 0
    np.add(ends, 1, out=starts[1:])
    stops = np.append(ends, size)
    values = sums[stops] - sums[starts]
    values *= down[np.minimum(starts, size - 1)]
    lengths = stops - starts
    values += lengths.view(np.uint64)
    digits = np.zeros(starts.size, np.bool_)
    places = np.flatnonzero((raw - np.uint8(48)) < 10)
    if places.size:
        digits[np.searchsorted(stops, places)] = True
    return mix(values), lengths, digits


def hash_words(words: Sequence[str]) -> Hashes:
    """Hash of each word; none may hold a newline."""
    return hash_lines("\n".join(words).encode("utf-8", "surrogatepass")) if words else np.empty(0, np.uint64)


def hash_grams(data: bytes) -> Hashes:
    """Hash of each 4 bytes in a row."""
    if len(data) < 4:
        return np.empty(0, np.uint64)
    raw = np.frombuffer(data, np.uint8).astype(np.uint32)
    grams = raw[:-3] | (raw[1:-2] << np.uint32(8)) | (raw[2:-1] << np.uint32(16)) | (raw[3:] << np.uint32(24))
    out: Hashes = grams.astype(np.uint64)
    return out


def pair(hashes: Hashes) -> Hashes:
    """Hash of each two neighbours, in order."""
    out: Hashes = hashes[:-1] * np.uint64(3) + (hashes[1:] ^ (hashes[1:] >> np.uint64(29)))
    return out


def salt(name: str) -> np.uint64:
    """What keeps one group's tokens apart from another's."""
    return np.uint64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))


def buckets(hashes: Hashes, groups: np.uint64 | Hashes, bits: int) -> NDArray[np.int32]:
    """Bucket of each hash, 0 .. 2**bits - 1. `groups`: one salt, or one for each hash."""
    found: NDArray[np.int32] = (mix(hashes ^ groups) >> np.uint64(64 - bits)).astype(np.int32)
    return found
