"""A memory of corrected mail that knows near-copies: the same mail with other numbers, names and links.

Each mail is remembered by its set of base ids (words, subject and link tokens). MinHash signatures cut into bands find
candidates, then the sets themselves are compared. The newest label among the copies decides.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spamd.domain import Label
from spamd.model.runtime import Ints, MailVector

BANDS, ROWS = 24, 4
FEWEST = 8  # ids: a shorter mail says too little to have copies
SIMILAR = 0.5  # Jaccard of the sets, for long mail
SIMILAR_SHORT = 0.7  # for mail of FEWEST ids; in between by length up to LONG
LONG = 60
CAPACITY = 2000

# Any numbers will do (the factors odd). Not from numpy.random: that would be 3 MB in memory for these alone.
_numbers = np.frombuffer(hashlib.shake_128(b"near copies").digest(8 * BANDS * ROWS), "<u4").astype(np.uint32)
_FACTORS = (_numbers[: BANDS * ROWS] | np.uint32(1))[:, None]
_SHIFTS = _numbers[BANDS * ROWS :][:, None]


@dataclass(frozen=True, slots=True)
class Match:
    """A remembered mail that another one is a copy of. similarity: Jaccard, 0..1."""

    key: str
    label: Label
    at: float
    similarity: float


@dataclass(frozen=True, slots=True)
class _Remembered:
    ids: Ints
    label: Label
    at: float
    bands: tuple[int, ...]
    followed: bool


def signature(ids: Ints) -> tuple[int, ...]:
    """One number per band; two sets share a band with probability Jaccard^ROWS."""
    numbers = ids.astype(np.uint32)
    rows = BANDS * ROWS if numbers.size < 400 else BANDS  # at once: what stays in the processor's cache
    mixed = np.empty((rows, numbers.size), np.uint32)
    moved = np.empty_like(mixed)
    minima = np.empty(BANDS * ROWS, np.uint32)
    for at in range(0, BANDS * ROWS, rows):
        np.multiply(numbers, _FACTORS[at : at + rows], out=mixed)
        np.add(mixed, _SHIFTS[at : at + rows], out=mixed)
        np.right_shift(mixed, np.uint32(15), out=moved)
        np.bitwise_xor(mixed, moved, out=mixed)
        np.multiply(mixed, np.uint32(2246822519), out=mixed)
        np.minimum.reduce(mixed, axis=1, out=minima[at : at + rows])
    least = minima.reshape(BANDS, ROWS).astype(np.uint64)
    folded = least[:, 0]
    for column in range(1, ROWS):
        folded = folded * np.uint64(0x9E3779B97F4A7C15) + least[:, column]
    folded += np.arange(BANDS, dtype=np.uint64)
    return tuple(folded.tolist())


class CopyMemory:
    """Not thread-safe: the scorer holds the lock."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._mails: dict[str, _Remembered] = {}
        self._bands: dict[int, set[str]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._mails)

    def remember(
        self, key: str, vector: MailVector, label: Label, at: float, *, followed: bool = True
    ) -> None:
        """Replaces what was remembered under this key; the oldest goes when the memory is full. followed=False: it has no
        copies, but what it imitates (see `match`) is to be known.
        """
        self.forget(key)
        ids = vector.base_ids
        if len(ids) < FEWEST:
            return
        bands = signature(ids)
        self._mails[key] = _Remembered(np.asarray(ids, np.int32), label, at, bands, followed)
        for band in bands:
            self._bands[band].add(key)
        while len(self._mails) > self._capacity:
            self.forget(next(iter(self._mails)))

    def forget(self, key: str) -> bool:
        gone = self._mails.pop(key, None)
        if gone is None:
            return False
        for band in gone.bands:
            keys = self._bands[band]
            keys.discard(key)
            if not keys:
                del self._bands[band]
        return True

    def clear(self) -> None:
        self._mails.clear()
        self._bands.clear()

    def match(self, vector: MailVector, no_copy: Callable[[Match], bool] | None = None) -> Match | None:
        """The newest remembered mail this one is a copy of; among equally old ones the most alike.

        Never by the order of a set: that differs from process to process, and so would what a night learns. no_copy: asked of
        each that is alike, the newest first, until it is none; also of those that are not followed.
        """
        ids = vector.base_ids
        if not self._mails or len(ids) < FEWEST:
            return None
        candidates = {key for band in signature(ids) for key in self._bands.get(band, ())}
        best: Match | None = None
        for key in sorted(candidates, key=lambda key: self._mails[key].at, reverse=True):
            mail = self._mails[key]
            if best is not None and mail.at < best.at:
                break
            similarity = jaccard(ids, mail.ids)
            if similarity < needed(min(len(ids), len(mail.ids))):
                continue
            if best is not None and (mail.at, similarity, key) < (best.at, best.similarity, best.key):
                continue
            found = Match(key, mail.label, mail.at, similarity)
            if (no_copy is None or not no_copy(found)) and mail.followed:
                best = found
        return best

    def copy_of(self, vector: MailVector) -> Label | None:
        found = self.match(vector)
        return found.label if found else None


def needed(length: int) -> float:
    """How alike two mails must be, by the ids of the shorter one."""
    part = min(1.0, max(0.0, (length - FEWEST) / (LONG - FEWEST)))
    return SIMILAR_SHORT + (SIMILAR - SIMILAR_SHORT) * part


def jaccard(one: Ints, other: Ints) -> float:
    """Of two sorted sets of ids."""
    both = _shared(one, other)
    return both / (len(one) + len(other) - both)


def _shared(one: Ints, other: Ints) -> int:
    joined: NDArray[np.int32] = np.concatenate((one, other))
    joined.sort(kind="stable")
    return int((joined[1:] == joined[:-1]).sum())
