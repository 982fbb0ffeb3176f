"""Near copies: a fingerprint that stays nearly the same when numbers, names and addresses in a mail are varied.

One-permutation MinHash (Li, Owen, Zhang 2012) over masked word pairs and single words: each item falls into one of
SLOTS slots by the top bits of its hash, each slot keeps its smallest. The share of slots that agree, among those that
either fills, estimates the Jaccard similarity. Two more numbers say how much was compared and what kind of mail it is.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spamd.message import hashing
from spamd.message.dense import Mail
from spamd.message.hashing import Hashes
from spamd.message.text import split_words
from spamd.message.wordlists import GREETINGS

SLOTS: Final = 64
LENGTH: Final = SLOTS + 2
VERSION: Final = 1
EMPTY: Final = np.uint32(0xFFFFFFFF)
_LAST: Final = np.uint32(0xFFFFFFFE)
COPY: Final = 0.5
"""Similarity from which a mail is a near copy."""
_ONE: Final = hashing.salt("likeness one")
_TWO: Final = hashing.salt("likeness two")
_THREE: Final = hashing.salt("likeness shape")
_SPACE: Final = re.compile(r"\s")
_TO_SLOT: Final = np.uint32(26)
_SLOT_NUMBERS: Final = np.arange(SLOTS, dtype=np.uint32)
_BEGINS: Final = _SLOT_NUMBERS << _TO_SLOT
_SHORT: Final = 24  # items; below that a mail says too little to be told from another by chance
_TOO_SHORT: Final = 8  # below: only the very same
_MINIMUM: Final = 4  # below: nothing can be said

Fingerprint = NDArray[np.uint32]
Bits = NDArray[np.bool_]


def masked(mail: Mail) -> list[str]:
    """Words that vary from copy to copy: names of sender and recipient, whoever is greeted, words of written links."""
    message = mail.message
    text = f"{message.to[:300]} {message.sender_name[:100]} "
    text += " ".join([link.url for link in mail.links[:40] if link.kind == "text"])
    if "@" in mail.text.visible:
        text += " " + " ".join(_around_at(mail.text.visible[:4_000]))
    names = split_words(text.lower()[:4_000])
    words = mail.words[:10]
    names += [after for word, after in pairwise(words) if word in GREETINGS]
    return list(dict.fromkeys(names))


def _around_at(text: str) -> list[str]:
    """The first pieces between spaces that hold an "@"."""
    out: list[str] = []
    at = text.find("@")
    while at >= 0 and len(out) < 20:
        # From the last space before it to the first behind: split() decides what a space is.
        begin = text[max(0, at - 80) : at]
        before = text[:at].rsplit(None, 1) if not _SPACE.search(begin) else begin.rsplit(None, 1)
        piece = before[-1] if before and not text[at - 1 : at].isspace() else ""
        after = text[at:].split(None, 1)[0]
        out.append(piece + after)
        at = text.find("@", at + len(after))
    return out


def shape(mail: Mail) -> list[str]:
    """What counts like a few words more: the subject, and what the mail is made of. It parts short mails that say
    the same with and without a link."""
    subject = ["", *[word for word in mail.subject_words[:30] if word.isalpha()], ""]
    hosts = min(len({link.domain for link in mail.links if link.host and link.kind != "img"}), 3)
    pictures = min(len([link for link in mail.links if link.kind == "img"]), 3)
    attached = sorted({part.kind for part in mail.message.attachments})[:4]
    out = [f"s {one} {two}" for one, two in pairwise(subject)] if len(subject) > 2 else []
    return [*out, f"h {hosts}", f"p {pictures}", *[f"a {kind}" for kind in attached]]


def compared(words: Hashes, digits: Bits, names: Hashes, shapes: Hashes) -> tuple[Hashes, Hashes, Hashes]:
    """What is compared: words, pairs of words, and what counts like them; not mixed yet.

    `words` are hashes of the text's words in order, `digits` says which hold a digit, `names` are hashes of masked(),
    `shapes` of shape().
    """
    kept = ~digits
    if names.size:
        names = np.sort(names)
        kept &= names.take(names.searchsorted(words), mode="clip") != words
    single = words.compress(kept)
    pairs = hashing.pair(single) if single.size > 1 else single[:0]
    return single ^ _ONE, pairs ^ _TWO, shapes ^ _THREE


def fingerprint(mail: Mail, items: Hashes, words: int) -> Fingerprint:
    """The mail's likeness: SLOTS minima, the number of items, and what kind of mail it is (bits).

    `items` are those of compared(), mixed; `words` how many of them are single words.
    """
    out = np.full(LENGTH, EMPTY, np.uint32)
    if items.size:
        items = np.sort(items)
        # Sorted by hash means sorted by slot, then by the rest: the first of each slot is its smallest.
        least = items.take(items.searchsorted(_BEGINS), mode="clip")
        filled = least >> _TO_SLOT == _SLOT_NUMBERS
        out[:SLOTS] = np.where(filled, np.minimum(least, _LAST), EMPTY)
    out[SLOTS] = words + len(mail.subject_words)
    first_fields = mail.message.first
    kind = 0
    if "in-reply-to" in first_fields or "references" in first_fields:
        kind |= 1
    if any(link.host and link.kind != "img" for link in mail.links):
        kind |= 2
    if mail.text.markup:
        kind |= 4
    if mail.message.attachments:
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
    share = np.where(short & (~same_kind | (share < 0.8)), share * 0.4, share)
    share = np.where((words < _TOO_SHORT) & (share < 1.0), 0.0, share)
    share = np.where(words < _MINIMUM, 0.0, share)
    return np.asarray(share, np.float32)


def similarity(one: Fingerprint, other: Fingerprint) -> float:
    """0..1, estimated share of masked words and word pairs that both mails have; COPY and more: a near copy."""
    return float(similarities(one, other[np.newaxis, :])[0])
