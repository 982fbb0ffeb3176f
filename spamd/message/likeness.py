"""Near copies: a fingerprint that stays nearly the same when numbers, names and addresses in a mail are varied.

One-permutation MinHash (Li, Owen, Zhang 2012) over masked word pairs and single words: each item falls into one of
SLOTS slots by the top bits of its hash, each slot keeps its smallest. The share of slots that agree, among those that
either fills, estimates the Jaccard similarity. Two more numbers say how much was compared and what kind of mail it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spamd.message import hashing
from spamd.message.dense import Mail
from spamd.message.text import split_words
from spamd.message.wordlists import GREETINGS

SLOTS: Final = 64
LENGTH: Final = SLOTS + 2
VERSION: Final = 1
EMPTY: Final = 0xFFFFFFFF
COPY: Final = 0.5
"""Similarity from which a mail is a near copy."""
_MAX_WORDS: Final = 1_500
_SHORT: Final = 24  # items; below that a mail says too little to be told from another by chance
_TOO_SHORT: Final = 8  # below: only the very same
_MINIMUM: Final = 4  # below: nothing can be said

Fingerprint = NDArray[np.uint32]


def _items(mail: Mail) -> list[str]:
    text = mail.text.visible[:12_000]
    words: Sequence[str]
    if "@" in text or "://" in text or "www." in text:
        kept = [
            piece for piece in text.split() if "@" not in piece and "://" not in piece and "www." not in piece
        ]
        words = split_words(" ".join(kept).lower())[:_MAX_WORDS]
    else:
        words = mail.words[:_MAX_WORDS]
    names = set(split_words(f"{mail.message.to[:300]} {mail.message.sender_name[:100]}".lower()))
    for place, word in enumerate(words[:10]):
        if word in GREETINGS and place + 1 < len(words):
            names.add(words[place + 1])  # "Dear Anna": whoever it is
    return [word for word in words if word.isalpha() and word not in names]


def fingerprint(mail: Mail) -> Fingerprint:
    """The mail's likeness: SLOTS minima, the number of items, and what kind of mail it is (bits)."""
    words = _items(mail)
    subject = [word for word in mail.subject_words if not any(map(str.isdigit, word))]
    single = hashing.hash_words(words)
    pairs = hashing.pair(single) if single.size > 1 else single
    extra = (
        [f"s {one} {two}" for one, two in zip(["", *subject], [*subject, ""], strict=True)] if subject else []
    )
    # The shape counts like a few words: it parts short mails that say the same with and without a link.
    hosts = min(len({link.domain for link in mail.links if link.host and link.kind != "img"}), 3)
    pictures = min(sum(link.kind == "img" for link in mail.links), 3)
    attached = sorted({part.kind for part in mail.message.attachments})[:4]
    extra += [f"h {hosts}", f"p {pictures}", *(f"a {kind}" for kind in attached)]
    items = np.concatenate(
        (single ^ hashing.salt("one"), pairs ^ hashing.salt("two"), hashing.hash_words(extra))
    )
    items = np.sort(hashing.mix(items))
    out = np.full(LENGTH, EMPTY, np.uint32)
    slots = (items >> np.uint64(58)).astype(np.int64)
    # Sorted by hash means sorted by slot, then by the rest: the first of each slot is its smallest.
    first = np.ones(items.size, bool)
    first[1:] = slots[1:] != slots[:-1]
    out[slots[first]] = ((items[first] >> np.uint64(20)) & np.uint64(0xFFFFFFFE)).astype(np.uint32)
    out[SLOTS] = len(words) + len(subject)
    kind = 0
    if "in-reply-to" in mail.message.first or "references" in mail.message.first:
        kind |= 1
    if hosts:
        kind |= 2
    if mail.text.markup:
        kind |= 4
    if attached:
        kind |= 8
    out[SLOTS + 1] = kind
    return out


def similarities(one: Fingerprint, many: NDArray[np.uint32]) -> NDArray[np.float32]:
    """0..1 for each row of `many` (n x LENGTH). Mails too short to tell apart need to be alike in everything."""
    mine, theirs = one[:SLOTS], many[:, :SLOTS]
    filled = (mine != EMPTY) | (theirs != EMPTY)
    same = ((mine == theirs) & filled).sum(axis=1)
    share = same / np.maximum(filled.sum(axis=1), 1)
    words = np.minimum(many[:, SLOTS], one[SLOTS])
    same_kind = many[:, SLOTS + 1] == one[SLOTS + 1]
    short = words < _SHORT
    # A short reply of one person is no copy of another's advertisement: same shape, and nearly every word.
    share = np.where(short & (~same_kind | (share < 0.8)), share * 0.5, share)
    share = np.where((words < _TOO_SHORT) & (share < 1.0), 0.0, share)
    share = np.where(words < _MINIMUM, 0.0, share)
    return np.asarray(share, np.float32)


def similarity(one: Fingerprint, other: Fingerprint) -> float:
    """0..1, estimated share of masked words and word pairs that both mails have; COPY and more: a near copy."""
    return float(similarities(one, other[np.newaxis, :])[0])
