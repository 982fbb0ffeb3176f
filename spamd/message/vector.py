"""Bytes -> Features: everything the model reads of one mail, and how it is kept.

SCHEMA names the recipe: what the numbers mean, and how a mail is read for them. What they mean changes it by itself
(an extractor, a hand-made feature, a word list), and vectors and models of other meaning are of no use any more. How a
mail is read is counted by READING: what earlier readings of the same meaning made can still be used, see READABLE.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spamd.errors import SchemaMismatch
from spamd.message import dense as dense_features
from spamd.message import hashing, likeness, links, parsing, text, tokens
from spamd.message.dense import Mail
from spamd.message.likeness import Fingerprint
from spamd.message.links import Link
from spamd.message.parsing import ParsedMessage
from spamd.message.text import MessageText
from spamd.message.wordlists import TOPICS

_BITS: Final = 18
BUCKETS: Final = 1 << _BITS  # personal ids
LETTERS: Final = BUCKETS // 2
"""Personal ids from here on are runs of letters, those below are everything else: words, links, facts, headers."""
SPREAD: Final = 2.0
BASE_BUCKETS: Final = 1 << _BITS  # base word ids, a space of their own
DENSE: Final = dense_features.LENGTH
DENSE_BODY: Final = dense_features.BODY
"""dense[:DENSE_BODY] are body features, the rest header facts (NaN: missing)"""
DENSE_NAMES: Final = dense_features.NAMES
LENGTH: Final = 4_096
"""most ids a vector may have, in either part"""
SNIPPET: Final = 200

_BASE: Final = tuple(row for row in tokens.EXTRACTORS if row.part == "base")
_PERSONAL: Final = tuple(row for row in tokens.EXTRACTORS if row.part == "personal")
assert tokens.EXTRACTORS == _BASE + _PERSONAL  # base groups first
_SALT: Final = {row.name: hashing.salt(f"{row.name}.{row.version}") for row in tokens.EXTRACTORS}
assert [row.kind == "letters" for row in _PERSONAL] == [*[False] * (len(_PERSONAL) - 1), True]
_SALTS: Final = np.array([*[_SALT[row.name] for row in tokens.EXTRACTORS], 0, 0, 0], np.uint32)
_TO_BUCKET: Final = np.uint32(32 - _BITS)
_BEYOND: Final = np.int32(BASE_BUCKETS)


READING: Final = 4
"""To be raised with a change of how a mail is read (limits, lines, which text counts as seen) that leaves the meaning
of each number as it is. 2: lines of HTML end where an element parts text, and only the first pictures are links. 3:
comments end where a reader ends them, and <noscript> is seen. 4: sizes after a space and in style sheets, transparent
letters, and encodings and addresses as loosely written as mail programs take them."""


def _schema(reading: int) -> str:
    told = [f"{row.name} {row.version} {row.part}" for row in tokens.EXTRACTORS]
    told += [f"{name} {version}" for name, version, _, _ in dense_features.GROUPS] + [*DENSE_NAMES]
    told += [f"{topic} {sorted(words.split())}" for topic, words in TOPICS.items()]
    told += [f"{_BITS} {LENGTH} {likeness.LENGTH} {likeness.VERSION} {_VERSION} halves"]
    told += [f"reading {reading}"] if reading > 1 else []
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class StoredVector:
    """What the store keeps of a mail: nothing a person could read."""

    base_ids: NDArray[np.int32]
    dense: NDArray[np.float32]
    personal_ids: NDArray[np.int32]
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What the model reads of one mail, and what it was read from."""

    base_ids: NDArray[np.int32]  # sorted, each once
    dense: NDArray[np.float32]  # DENSE values; header facts may be NaN
    personal_ids: NDArray[np.int32]  # sorted, each once
    fingerprint: Fingerprint
    mail: Mail
    vouched: bool = True
    """Is what stands in it of its sender the receiving server's word? Not at one that writes none: the sender wrote it."""

    @property
    def message(self) -> ParsedMessage:
        return self.mail.message

    @property
    def text(self) -> MessageText:
        return self.mail.text

    @property
    def links(self) -> tuple[Link, ...]:
        return self.mail.links

    @property
    def subject(self) -> str:
        """For display: one harmless line."""
        return text.harmless(self.mail.message.subject, 300)

    @property
    def sender(self) -> str:
        """For display: the address."""
        return text.harmless(self.mail.message.sender, 254)

    @property
    def sender_name(self) -> str:
        return text.harmless(self.mail.message.sender_name, 120)

    @property
    def sender_domain(self) -> str:
        """Registered domain of the sender's address."""
        return text.harmless(links.registered(self.mail.message.sender.rpartition("@")[2]), 253)

    @property
    def sender_proof(self) -> str:
        """How the receiving server vouches for the sender's address: dense.sender_proof."""
        return dense_features.sender_proof(self.mail.message, self.mail.trusted)

    @property
    def snippet(self) -> str:
        """For display: how the visible text begins."""
        return text.harmless(self.mail.text.visible, SNIPPET)

    @property
    def link_hosts(self) -> tuple[str, ...]:
        """Registered domains of the links, in order, each once."""
        domains = dict.fromkeys(link.domain for link in self.mail.links if link.host)
        return tuple(dict.fromkeys(text.harmless(domain, 253) for domain in domains))[:20]

    @property
    def tricks(self) -> frozenset[str]:
        return self.mail.text.tricks

    def stored(self) -> StoredVector:
        return StoredVector(self.base_ids, self.dense, self.personal_ids, self.fingerprint)

    def named(self, kinds: frozenset[str] | None = None) -> Names:
        """What stands behind the numbers, for an explanation: all, or what is of these kinds."""
        return named(self, kinds)


@dataclass(frozen=True, slots=True)
class Names:
    """Readable meaning of a mail's buckets: (kind, text) pairs; kind is "word", "link", "fact", "sender", "letters"."""

    base: Mapping[int, tuple[tuple[str, str], ...]]
    personal: Mapping[int, tuple[tuple[str, str], ...]]
    dense: tuple[str, ...] = DENSE_NAMES


def read(raw: bytes, *, limits: parsing.Limits = parsing.DEFAULT, trusted: str | None = None) -> Mail:
    """Parse a mail and collect what features are made from. `trusted`: authserv-id of the person's own server."""
    message = parsing.parse(raw, limits=limits)
    said = text.read(message)
    return Mail(
        message=message,
        text=said,
        links=links.find(message, said),
        words=said.words,
        subject_words=tuple(text.split_words(said.subject[:1000].lower())),
        subject=said.subject,
        trusted=trusted,
    )


def vectorise(
    raw: bytes, *, limits: parsing.Limits = parsing.DEFAULT, trusted: str | None = None
) -> Features:
    """Features of a mail. Never raises, whatever the bytes; the same bytes always give the same numbers."""
    return vectorise_mail(read(raw, limits=limits, trusted=trusted))


def vectorise_mail(mail: Mail) -> Features:
    """Features of a mail that is already read."""
    hashed = tokens.Hashed(mail)
    found = [tokens.hashes_of(row, hashed) for row in tokens.EXTRACTORS]
    found.extend(hashed.compared())
    sizes = [part.size for part in found]
    # All hashes of the mail are mixed at once: each call into numpy costs more than the numbers in it.
    mixed = hashing.mix(np.concatenate(found) ^ np.repeat(_SALTS, sizes))
    counts = sizes[: len(tokens.EXTRACTORS)]
    ids, travels = (mixed[: sum(counts)] >> _TO_BUCKET).view(np.int32), sum(counts[: len(_BASE)])
    own = ids[travels:]
    own >>= 1
    own[own.size - counts[-1] :] += LETTERS
    base_ids, personal_ids = _sets_of(ids, travels)
    return Features(
        base_ids=base_ids,
        dense=dense_features.measure(mail),
        personal_ids=personal_ids,
        fingerprint=likeness.fingerprint(mail, mixed[ids.size :], sizes[len(counts)]),
        mail=mail,
    )


def shares(personal_ids: NDArray[np.int32]) -> NDArray[np.float32]:
    """What each of a mail's personal ids (sorted) counts in a linear model: SPREAD / sqrt(n), for each half its own n.

    A mail has ten times as many runs of letters as other tokens; with one n for both, the others hardly count.
    Measured, learning at once from no base, 1-ROCA % after 1,000 mails (SpamAssassin+CSDMC / Enron / modern lists):
    one n and no spread .070 / .134 / .021, own n .034 / .108 / .023, own n and spread 2 .022 / .096 / .024, 4 .023 /
    .123 / .036.
    """
    split = int(np.searchsorted(personal_ids, LETTERS))
    values = np.empty(personal_ids.size, np.float32)
    values[:split] = SPREAD / max(split, 1) ** 0.5
    values[split:] = SPREAD / max(personal_ids.size - split, 1) ** 0.5
    return values


def _sets_of(ids: NDArray[np.int32], travels: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Base ids (the first `travels` of them) and personal ids: each sorted, each once; the first LENGTH different ones
    where there are more. Changes `ids`."""
    ids[travels:] += BASE_BUCKETS
    found = _different(np.sort(ids))
    split = int(found.searchsorted(_BEYOND))
    base_ids, personal_ids = found[:split].copy(), found[split:] - _BEYOND
    if base_ids.size > LENGTH:
        base_ids = np.sort(_first_different(ids[:travels], LENGTH))
    if personal_ids.size > LENGTH:
        personal_ids = np.sort(_first_different(ids[travels:], LENGTH) - _BEYOND)
    return base_ids, personal_ids


def _different(ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """Sorted ids, each once."""
    kept = np.ones(ids.size, np.bool_)
    np.not_equal(ids[1:], ids[:-1], out=kept[1:])
    return ids.compress(kept)  # ids[kept] takes twice as long


def _first_different(values: NDArray[np.int32], limit: int) -> NDArray[np.int32]:
    _, places = np.unique(values, return_index=True)
    places.sort()
    return values[places[:limit]]


def named(features: Features, kinds: frozenset[str] | None = None) -> Names:
    """Which tokens fill which buckets. Computed anew (a few ms); only for the mail at hand.

    kinds: these alone. Most buckets are runs of letters, which take half of the time and which nobody is shown.
    """
    sides: list[dict[int, tuple[tuple[str, str], ...]]] = []
    hashed = tokens.Hashed(features.mail)
    for rows, present in ((_BASE, features.base_ids), (_PERSONAL, features.personal_ids)):
        there = frozenset(present.tolist())
        names: dict[int, tuple[tuple[str, str], ...]] = {}
        for row in rows:
            if kinds is not None and row.kind not in kinds:
                continue
            found = hashing.buckets(tokens.hashes_of(row, hashed), _SALT[row.name], _BITS)
            if row.part == "personal":
                found = (found >> 1) + (LETTERS if row.kind == "letters" else 0)
            ids = found.tolist()
            for bucket, token in zip(ids, row.texts(features.mail), strict=True):
                if bucket in there:
                    pair = (row.kind, text.harmless(token, 120))
                    before = names.get(bucket, ())
                    if pair not in before:
                        names[bucket] = (*before, pair)
        sides.append(names)
    return Names(base=sides[0], personal=sides[1])


# --- what is kept --------------------------------------------------------------------------------------------------

_VERSION: Final = 1
_MAGIC: Final = b"SV"
_HEAD: Final = struct.Struct(
    "<2sB8sHHHH"
)  # magic, version, schema, base ids, personal ids, dense, fingerprint
SCHEMA: Final = _schema(READING)
READABLE: Final = frozenset(_schema(reading) for reading in range(1, READING + 1))
"""Recipes whose vectors and models are used as our own: the same numbers, from mail that was read a little differently.
So an upgrade that only reads differently loses nothing of what the filter has learned."""
_SCHEMA_BYTES: Final = bytes.fromhex(SCHEMA)
_READABLE_BYTES: Final = frozenset(map(bytes.fromhex, READABLE))


def _steps(ids: NDArray[np.int32]) -> bytes:
    """Sorted ids as differences: three planes of bytes, which compress well."""
    steps = ids.astype("<u4")
    steps[1:] -= steps[:-1].copy()
    planes = steps.view(np.uint8).reshape(-1, 4)
    return planes[:, 0].tobytes() + planes[:, 1].tobytes() + planes[:, 2].tobytes()


def _ids(data: bytes, count: int) -> NDArray[np.int32]:
    planes = np.frombuffer(data, np.uint8).reshape(3, count).astype(np.int32)
    return np.cumsum(planes[0] | (planes[1] << 8) | (planes[2] << 16), dtype=np.int32)


def pack(features: Features | StoredVector) -> bytes:
    """About 3 kB that hold the vector; the words cannot be read back from it."""
    head = _HEAD.pack(
        _MAGIC,
        _VERSION,
        _SCHEMA_BYTES,
        features.base_ids.size,
        features.personal_ids.size,
        features.dense.size,
        features.fingerprint.size,
    )
    body = (
        _steps(features.base_ids)
        + _steps(features.personal_ids)
        + features.dense.astype("<f2").tobytes()
        + features.fingerprint.astype("<u4").tobytes()
    )
    return head + zlib.compress(body, 1)


def schema_of(packed: bytes) -> str:
    """The SCHEMA a packed vector was made with, "" if it is none."""
    if len(packed) < _HEAD.size or packed[:2] != _MAGIC:
        return ""
    return packed[3:11].hex()


def unpack(packed: bytes) -> StoredVector:
    """The vector again, bit for bit. SchemaMismatch if its recipe is not READABLE or it is damaged."""
    try:
        magic, version, schema, base, personal, dense_count, prints = _HEAD.unpack_from(packed)
    except struct.error:
        raise SchemaMismatch("A stored vector is damaged.", "It is left out.") from None
    if magic != _MAGIC or version != _VERSION or schema not in _READABLE_BYTES:
        raise SchemaMismatch("A stored vector was made by another version.", "It is left out.")
    sizes = (3 * base, 3 * personal, 2 * dense_count, 4 * prints)
    total = sum(sizes)
    if base > LENGTH or personal > LENGTH or dense_count != DENSE or prints != likeness.LENGTH:
        raise SchemaMismatch("A stored vector is damaged.", "It is left out.")
    try:
        unzip = zlib.decompressobj()
        body = unzip.decompress(packed[_HEAD.size :], total + 1)
    except zlib.error:
        raise SchemaMismatch("A stored vector is damaged.", "It is left out.") from None
    if len(body) != total or not unzip.eof:
        raise SchemaMismatch("A stored vector is damaged.", "It is left out.")
    one, two, three = sizes[0], sizes[0] + sizes[1], sizes[0] + sizes[1] + sizes[2]
    base_ids, personal_ids = _ids(body[:one], base), _ids(body[one:two], personal)
    if any(ids.size and (int(ids[-1]) >= BUCKETS or int(ids[0]) < 0) for ids in (base_ids, personal_ids)):
        raise SchemaMismatch("A stored vector is damaged.", "It is left out.")
    return StoredVector(
        base_ids=base_ids,
        dense=np.frombuffer(body[two:three], "<f2").astype(np.float32),
        personal_ids=personal_ids,
        fingerprint=np.frombuffer(body[three:], "<u4").astype(np.uint32),
    )


similarity = likeness.similarity
similarities = likeness.similarities
