"""Tokens: what is hashed. One generator per group, one row of EXTRACTORS each.

A "base" group may only hold what travels between mailboxes and years: words of subject, text, sender's name and links.
A "personal" group may hold anything of the mail, except what other filters said of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise
from typing import Final, Literal

import numpy as np

from spamd.message import hashing, likeness
from spamd.message.dense import TRICKS, Mail, authentication
from spamd.message.hashing import Hashes
from spamd.message.links import registered
from spamd.message.text import search, split_words
from spamd.message.wordlists import FREE_MAIL

MAX_WORDS: Final = 2_500  # of the text, for the base
_MAX_OWN_WORDS: Final = 1_000  # of the text, for the personal part
_MAX_SUBJECT: Final = 60
_MAX_NAME: Final = 12
_MAX_BYTES: Final = 30  # of a word that travels
_MAX_LINK_WORDS: Final = 400
_MAX_LINKS: Final = 40

Texts = list[str]


class Hashed:
    """The strings of one mail, hashed together: words of subject, sender's name and text, then each group's own."""

    __slots__ = ("digits", "groups", "mail", "pairs", "subject", "travels", "words")

    def __init__(self, mail: Mail) -> None:
        self.mail = mail
        words = [*mail.subject_words[:_MAX_SUBJECT], *name_words(mail), *mail.words[:MAX_WORDS]]
        lists = [*[row.texts(mail) for row in _HASHED], likeness.masked(mail), likeness.shape(mail)]
        everything = list(chain(words, *lists))
        hashes, lengths, digits = hashing.measure_lines(
            "\n".join(everything).encode("utf-8", "replace"), len(words)
        )
        if not everything:
            hashes = hashes[:0]
        count = len(words)
        at = min(len(mail.subject_words), _MAX_SUBJECT)
        after = count - min(len(mail.words), MAX_WORDS)
        self.words: Hashes = hashes[after:count]
        # Of all words at once; a pair of the last word of one kind and the first of the next is in neither.
        pairs = hashing.pair(hashes[:count])
        self.subject: Hashes = np.concatenate((hashes[:at], pairs[: max(at - 1, 0)]))
        self.pairs: Hashes = pairs[after : after + _MAX_OWN_WORDS]
        # Below 2 wraps around to a huge number; True > False is "and not".
        sized = (lengths - 2).view(np.uint64) <= _MAX_BYTES - 2
        self.travels: Hashes = hashes[:count].compress(sized > digits)
        self.groups: dict[str, Hashes] = {}
        for name, texts in zip(_HASHED_NAMES, lists, strict=True):
            self.groups[name] = hashes[count : count + len(texts)]
            count += len(texts)
        self.digits = digits[after:]

    def compared(self) -> tuple[Hashes, Hashes, Hashes]:
        """What the mail's likeness is made of."""
        return likeness.compared(self.words, self.digits, self.groups["masked"], self.groups["shape"])


@dataclass(frozen=True, slots=True)
class Extractor:
    """A group of tokens. `texts` gives them for people and, unless `hashes` is given, for hashing; both in the same
    order."""

    name: str
    version: int
    part: Literal["base", "personal"]
    kind: str  # what a person is told: "word", "link", "fact", "sender", "letters"
    texts: Callable[[Mail], Texts]
    hashes: Callable[[Hashed], Hashes] | None = None


# --- words -------------------------------------------------------------------------------------------------


def name_words(mail: Mail) -> Texts:
    return split_words(mail.message.sender_name[:200].lower())[:_MAX_NAME]


def _travels(word: str) -> bool:
    return 1 < len(word.encode("utf-8", "replace")) <= _MAX_BYTES and _DIGIT.isdisjoint(word)


_DIGIT: Final = frozenset("0123456789")


def base_words(mail: Mail) -> Texts:
    """Words of subject, sender's name and text without digits, neither single letters nor endless."""
    found = (*mail.subject_words[:_MAX_SUBJECT], *name_words(mail), *mail.words[:MAX_WORDS])
    return [word for word in found if _travels(word)]


def _words(mail: Mail) -> Texts:
    return list(mail.words[:_MAX_OWN_WORDS])


def _pair_texts(mail: Mail) -> Texts:
    return [f"{one} {two}" for one, two in pairwise(mail.words[: _MAX_OWN_WORDS + 1])]


def _subject_texts(mail: Mail) -> Texts:
    found = mail.subject_words[:_MAX_SUBJECT]
    return [*(f"subject {word}" for word in found), *(f"subject {one} {two}" for one, two in pairwise(found))]


_TO_LETTERS: Final = bytes(code if 97 <= code <= 122 else 32 for code in range(256))


def link_words(mail: Mail) -> Texts:
    """Words of links' hosts and paths: ASCII letters, 2 to 20 of them."""
    if not mail.links:
        return []
    links = [
        f"{host}{path}?{query[:100]}" for _, host, _, _, _, path, query, _ in mail.links[:_MAX_LINKS] if host
    ]
    letters = "\n".join(links).lower().encode("ascii", "replace").translate(_TO_LETTERS).decode("ascii")
    found = dict.fromkeys(letters.split(None, _MAX_LINK_WORDS)[:_MAX_LINK_WORDS])
    return list(map("url ".__add__, [word for word in found if 1 < len(word) < 21]))


# --- letters ------------------------------------------------------------------------------------------------


def _gram_texts(mail: Mail) -> Texts:
    text = mail.message.clean.decode("latin-1")
    return [text[at : at + 4] for at in range(max(len(text) - 3, 0))]


def _gram_hashes(hashed: Hashed) -> Hashes:
    return hashing.hash_grams(hashed.mail.message.clean)


# --- links --------------------------------------------------------------------------------------------------


def link_tokens(mail: Mail) -> Texts:
    """Hosts, domains, first path steps and oddities of links."""
    out: Texts = []
    hosts: set[str] = set()
    flagged: frozenset[str] = frozenset()
    for _, host, domain, _, flags, path, _, _ in mail.links[:100]:
        if host:
            if host not in hosts:  # most links lead to the same few
                hosts.add(host)
                out.append(f"link to {host}")
                if domain != host:
                    out.append(f"link to {domain}")
            step = path.strip("/").partition("/")[0]
            if step and len(step) < 25:
                out.append(f"link path {step.lower()}")
        elif domain:
            out.append(f"mail link to {domain}")
        if not flags <= flagged:
            flagged |= flags
            out.extend([f"link: {flag}" for flag in flags])
    return list(dict.fromkeys(out))


# --- headers ------------------------------------------------------------------------------------------------

_HOST_FROM: Final = re.compile(r"from\s+(\S{1,255})(?:\s+\(([^()\s]{0,255})?)", re.I)
_HOST_BY: Final = re.compile(r"\bby\s+([\w.-]{1,255})", re.I)
_WITH: Final = re.compile(r"\bwith\s+([A-Za-z]{2,12})")
_VERSION: Final = re.compile(r"[\d.]{2,}")
_ADDRESSES: Final = re.compile(r"[\w.+-]{1,64}@[\w.-]{1,100}")
_HOPS: Final = frozenset({"received", "authentication-results"})
_ZONE: Final = re.compile(r"([+-]\d{4})\b")


def _size_class(count: int) -> str:
    return str(count) if count < 6 else f"{1 << count.bit_length() - 1}+"


def header_tokens(mail: Mail) -> Texts:
    """Who sent it, how it travelled, what the receiving server found."""
    message = mail.message
    first = message.first
    out: Texts = []
    sender = message.sender
    if sender:
        domain = sender.rpartition("@")[2]
        home = registered(domain)
        out += [
            f"from {sender}",
            f"from domain {domain}",
            f"from domain {home}",
            f"from suffix .{home.rpartition('.')[2]}",
        ]
        if home in FREE_MAIL:
            out.append("from free mail")
    elif first:
        out.append("from nobody")
    for word in name_words(mail):
        out.append(f"from name {word}")
    if message.reply_to:
        reply_home = registered(message.reply_to.rpartition("@")[2])
        if reply_home != registered(sender.rpartition("@")[2]):
            out += ["reply-to elsewhere", f"reply-to {message.reply_to}", f"reply-to domain {reply_home}"]
        else:
            out.append("reply-to at home")
    if path := first.get("return-path", ""):
        bounce = path.strip(" <>").lower().rpartition("@")[2]
        out.append(f"return path {registered(bounce)}" if bounce else "return path empty")
    if message.list_id:
        out.append(f"list {message.list_id.rpartition('<')[2].strip('> ').lower()[:120]}")
    for name in (
        "list-post",
        "list-unsubscribe",
        "list-unsubscribe-post",
        "in-reply-to",
        "references",
        "auto-submitted",
        "cc",
    ):
        if name in first:
            out.append(f"has {name}")
    if precedence := first.get("precedence", ""):
        out.append(f"precedence {precedence.lower()[:20]}")
    mailer = first.get("x-mailer", "") or first.get("user-agent", "")
    if mailer:
        out += [f"mailer {mailer[:80].lower()}", f"mailer {_VERSION.sub('', mailer)[:60].lower().strip()}"]
    elif first:
        out.append("no mailer")
    results = authentication(message, mail.trusted)
    out += [f"{check} {result}" for check, result in results.items()]
    if results and sender:
        good = results.get("dmarc") == "pass" or results.get("dkim") == "pass" or results.get("spf") == "pass"
        out.append(f"{'proven' if good else 'unproven'} {registered(sender.rpartition('@')[2])}")
    received = message.all("received")
    out.append(f"hops {_size_class(len(received))}")
    for position, line in enumerate(received[:6]):
        line = line[:600]
        if by := _host_by(line):
            out.append(f"by {by[1].lower()}")
        if came := _HOST_FROM.match(line):
            helo, seen = came[1].lower(), (came[2] or "").lower()
            home = registered(helo.strip("[]"))
            out.append(f"through {home}")
            if position == len(received) - 1:
                out.append(f"origin {home}")
            if "." not in helo:
                out.append("helo without dot")
            if seen and seen != helo and "." in seen and not seen.startswith("["):
                out.append("helo differs")
        at = line.find("with")
        if at >= 0 and (how := _WITH.search(line, at)):
            out.append(f"with {how[1].lower()} {position}")
    identity = message.message_id.rpartition("@")[2].lower()
    out.append(f"id domain {registered(identity)}" if identity else "no id")
    to = message.to.lower()[:400]
    if to:
        out += [f"to {found}" for found in _recipients(to)]
        out.append(f"recipients {_size_class(message.to.count('@'))}")
    elif first:
        out.append("to nobody")
    if zone := _ZONE.search(message.date):
        out.append(f"zone {zone[1]}")
    out += _named(tuple([name for name, _ in message.headers if name not in _HOPS][:60]))
    if kind := first.get("content-type", ""):
        out.append(f"type {kind.partition(';')[0].strip().lower()[:60]}")
    return _once(out)


@lru_cache(maxsize=256)
def _named(names: tuple[str, ...]) -> Texts:
    """Which fields a mail has, in which order: alike in all mail of one program."""
    return [
        *(f"header {name}" for name in names if len(name) < 60),
        *(f"order {one} {two}" for one, two in pairwise(names) if len(one) + len(two) < 100),
    ]


def _once(tokens: Texts) -> Texts:
    """Each once, in order, without line breaks."""
    if "\n".join(tokens).count("\n") >= len(tokens):
        tokens = [token.replace("\n", " ") for token in tokens]
    return list(dict.fromkeys(tokens))


def _host_by(line: str) -> re.Match[str] | None:
    return search(_HOST_BY, "by", line.lower()) if line.isascii() else _HOST_BY.search(line)


def _recipients(to: str) -> list[str]:
    """The first five addresses."""
    out: list[str] = []
    at, end = to.find("@"), 0
    while at >= 0 and len(out) < 5:
        found = _ADDRESSES.search(to, max(end, at - 64))  # none begins earlier
        if not found:
            break
        out.append(found[0])
        end = found.end()
        at = to.find("@", end)
    return out


def fact_tokens(mail: Mail) -> Texts:
    """Tricks, structure and attachments."""
    message, text = mail.message, mail.text
    out = [f"trick {name}" for name in TRICKS if name in text.tricks]
    out += [f"has {name}" for name in sorted(message.facts)]
    out += [f"defect {name}" for name in message.defects if name not in ("cut", "no headers")]
    for part in message.parts[:30]:
        out.append(f"part {part.kind}")
        if part.charset:
            out.append(f"charset {part.charset[:30]}")
        if part.encoding:
            out.append(f"encoding {part.encoding[:20]}")
        if part.filename and "." in part.filename:
            out.append(f"attached .{part.filename.rpartition('.')[2].lower()[:10]}")
    out += [f"tree {kind}" for kind in message.containers[:20]]
    out += [f"tag {tag} {count.bit_length()}" for tag, count in list(text.tags.items())[:40]]
    out.append(f"words {len(mail.words).bit_length()}")
    out.append(f"links {len(mail.links).bit_length()}")
    return _once(out)


EXTRACTORS: Final[tuple[Extractor, ...]] = (
    Extractor("base words", 2, "base", "word", base_words, lambda hashed: hashed.travels),
    Extractor("base links", 1, "base", "link", link_words),
    Extractor("facts", 1, "personal", "fact", fact_tokens),
    Extractor("header", 1, "personal", "sender", header_tokens),
    Extractor("subject", 2, "personal", "word", _subject_texts, lambda hashed: hashed.subject),
    Extractor("links", 1, "personal", "link", link_tokens),
    Extractor("words", 2, "personal", "word", _words, lambda hashed: hashed.words[:_MAX_OWN_WORDS]),
    Extractor("pairs", 2, "personal", "word", _pair_texts, lambda hashed: hashed.pairs),
    Extractor("letters", 1, "personal", "letters", _gram_texts, _gram_hashes),
)
"""In order of importance: where a mail has more than vector.LENGTH different buckets, the last groups are cut."""
_HASHED: Final = tuple(row for row in EXTRACTORS if row.hashes is None)
_HASHED_NAMES: Final = (*(row.name for row in _HASHED), "masked", "shape")


def hashes_of(row: Extractor, hashed: Hashed) -> Hashes:
    """The hashes of one group, in the order of its texts."""
    return row.hashes(hashed) if row.hashes else hashed.groups[row.name]
