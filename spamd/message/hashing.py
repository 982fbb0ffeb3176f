"""Tokens -> 32-bit hashes -> buckets, whole arrays at a time.

A word's hash is a polynomial of its UTF-8 bytes modulo 2**32, read off running sums, so hashing all words of a mail is
a handful of numpy steps. Finished with MurmurHash3's mixer. The same on every machine (unsigned wrap-around only).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint32]

_PRIME: Final = 0x9E3779B1  # odd, so it has an inverse modulo 2**32
_MASK: Final = (1 << 32) - 1
_MIX1: Final = np.uint32(0x85EBCA6B)
_MIX2: Final = np.uint32(0xC2B2AE35)
_13: Final = np.uint32(13)
_16: Final = np.uint32(16)
_NEW_LINE: Final = 10


def _powers(base: int, count: int) -> Hashes:
    out = np.full(count, base & _MASK, np.uint32)
    out[0] = 1
    np.multiply.accumulate(out, out=out)
    return out


@lru_cache(maxsize=4)
def _tables(bits: int) -> tuple[Hashes, Hashes]:
    """Powers of the prime and of its inverse, 2**bits of each."""
    return _powers(_PRIME, 1 << bits), _powers(pow(_PRIME, -1, 1 << 32), 1 << bits)


def mix(values: Hashes) -> Hashes:
    """MurmurHash3's 32-bit finaliser: every bit in reaches every bit out."""
    out: Hashes = values ^ (values >> _16)
    out *= _MIX1
    out ^= out >> _13
    out *= _MIX2
    out ^= out >> _16
    return out


def measure_lines(joined: bytes) -> tuple[Hashes, NDArray[np.int64], NDArray[np.bool_]]:
    """Of each line (parted by one newline; empty input: one empty line): its hash, its length in bytes, and whether
    it holds an ASCII digit."""
    if not joined:
        return mix(np.zeros(1, np.uint32)), np.zeros(1, np.int64), np.zeros(1, np.bool_)
    raw = np.frombuffer(joined, np.uint8)
    size = raw.size
    up, down = _tables(max(15, (size - 1).bit_length()))
    sums = np.empty(size + 1, np.uint32)
    sums[0] = 0
    np.multiply(raw, up[:size], out=sums[1:])
    np.add.accumulate(sums[1:], out=sums[1:])
    ends = np.flatnonzero(raw == _NEW_LINE)
    stops = np.append(ends, size)
    starts = np.empty_like(stops)
    starts[0] = 0
    np.add(ends, 1, out=starts[1:])
    lengths = stops - starts
    values = sums[stops] - sums[starts]
    values *= down[np.minimum(starts, size - 1)]
    values += lengths.astype(np.uint32)
    digits = np.zeros(starts.size, np.bool_)
    places = np.flatnonzero((raw - np.uint8(48)) < 10)
    if places.size:
        digits[np.searchsorted(stops, places)] = True
    return mix(values), lengths, digits


def hash_words(words: Sequence[str]) -> Hashes:
    """Hash of each word; none may hold a newline."""
    return measure_lines("\n".join(words).encode("utf-8", "replace"))[0] if words else np.empty(0, np.uint32)


def hash_grams(data: bytes) -> Hashes:
    """Each 4 bytes in a row, as one number."""
    if len(data) < 4:
        return np.empty(0, np.uint32)
    grams = np.empty(len(data) - 3, np.uint32)
    for offset in range(4):
        part = np.frombuffer(data, "<u4", count=(len(data) - offset) // 4, offset=offset)
        grams[offset::4] = part
    return grams


def pair(hashes: Hashes) -> Hashes:
    """Hash of each two neighbours, in order."""
    out: Hashes = hashes[:-1] * np.uint32(3) + (hashes[1:] ^ (hashes[1:] >> _13))
    return out


def salt(name: str) -> np.uint32:
    """What keeps one group's tokens apart from another's."""
    return np.uint32(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little"))


def buckets(hashes: Hashes, groups: np.uint32 | Hashes, bits: int) -> NDArray[np.int32]:
    """Bucket of each hash, 0 .. 2**bits - 1. `groups`: one salt, or one for each hash."""
    found: NDArray[np.int32] = (mix(hashes ^ groups) >> np.uint32(32 - bits)).view(np.int32)
    return found
