"""Tokens -> 32-bit hashes -> buckets, whole arrays at a time.

A word's hash is a polynomial of its UTF-8 bytes modulo 2**32, summed for all words of a mail at once: a handful of
numpy steps. Finished with MurmurHash3's mixer. The same on every machine (unsigned wrap-around only).
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
_NO_NEW_LINE: Final = bytes(code if code != _NEW_LINE else 0 for code in range(256))
_NO_DIGITS: Final = np.zeros(0, np.bool_)
_IS_DIGIT: Final = bytes(48 <= code <= 57 for code in range(256))


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


def measure_lines(
    joined: bytes, first: int | None = None
) -> tuple[Hashes, NDArray[np.int64], NDArray[np.bool_]]:
    """Of each line (parted by one newline; empty input: one empty line) its hash; of the first ones (None: all) also its length
    in bytes, and whether it holds an ASCII digit."""
    joined += b"\n"
    size = len(joined)
    up, down = _tables(max(15, (size - 1).bit_length()))
    ends = (np.frombuffer(joined, np.uint8) == _NEW_LINE).nonzero()[0]
    starts = np.empty_like(ends)
    starts[0] = 0
    np.add(ends[:-1], 1, out=starts[1:])
    lengths = ends - starts
    # A newline stands at the end of each line and counts nothing, so no line is empty for reduceat. bytes.translate
    # costs less than the numpy calls it saves.
    letters = np.frombuffer(joined.translate(_NO_NEW_LINE), np.uint8)
    values: Hashes = np.add.reduceat(letters * up[:size], starts, dtype=np.uint32)
    values *= down[starts]
    values += lengths.astype(np.uint32)
    if first == 0:
        return mix(values), lengths[:0], _NO_DIGITS
    if first is not None:
        starts, lengths = starts[:first], lengths[:first]
        joined = joined[: ends[first - 1] + 1]
    places = np.frombuffer(joined.translate(_IS_DIGIT), np.bool_).nonzero()[0]
    digits = np.zeros(starts.size, np.bool_)
    digits[ends.searchsorted(places)] = True
    return mix(values), lengths, digits


def hash_words(words: Sequence[str]) -> Hashes:
    """Hash of each word; none may hold a newline."""
    return measure_lines("\n".join(words).encode("utf-8", "replace"))[0] if words else np.empty(0, np.uint32)


def hash_grams(data: bytes) -> Hashes:
    """Each 4 bytes in a row, as one number."""
    return np.ndarray(max(len(data) - 3, 0), "<u4", data, 0, (1,))


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
