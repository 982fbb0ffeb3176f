"""Tokens: what is hashed. One generator per group, one row of EXTRACTORS each.

A "base" group may only hold what travels between mailboxes and years: words of subject, text, sender's name and links.
A "personal" group may hold anything of the mail, except what other filters said of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from spamd.message import hashing
from spamd.message.dense import TRICKS, Mail, authentication
from spamd.message.hashing import Hashes
from spamd.message.links import registered
from spamd.message.wordlists import FREE_MAIL

MAX_BASE_WORDS: Final = 2_500  # of the text, before repeats are dropped
MAX_WORDS: Final = 4_000
_MAX_LINK_WORDS: Final = 400
_MAX_LINKS: Final = 40

Texts = list[str]


@dataclass(frozen=True, slots=True)
class Extractor:
    """A group of tokens. `texts` gives them for people and, unless `hashes` is given, for hashing; both in the same
    order. `limit` is how many different buckets of this group one mail may fill."""

    name: str
    version: int
    part: Literal["base", "personal"]
    kind: str  # what a person is told: "word", "link", "fact", "sender", "letters"
    limit: int
    texts: Callable[[Mail], Texts]
    hashes: Callable[[Mail, dict[str, Hashes]], Hashes] | None = None


# --- words --------------------------------------------------------------------------------------------------

_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)
_UNSPACED_RUN: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+|[^\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
)
_NAME_WORDS: Final = re.compile(r"\w+")
_TO_ZERO: Final = {ord(digit): "0" for digit in "123456789"}


def cut_unspaced(words: tuple[str, ...], limit: int) -> Texts:
    """Words; runs of a script that is written without spaces become pairs of neighbouring characters."""
    out: Texts = []
    for word in words:
        if word.isascii() or not _UNSPACED.search(word):
            out.append(word)
        else:
            for run in _UNSPACED_RUN.findall(word):
                if not _UNSPACED.match(run) or len(run) == 1:
                    out.append(run)
                else:
                    out.extend([run[at : at + 2] for at in range(min(len(run) - 1, 2_000))])
        if len(out) >= limit:
            break
    return out[:limit]


def _spaced(words: tuple[str, ...], limit: int) -> Texts:
    words = words[:limit]
    joined = " ".join(words)
    return list(words) if joined.isascii() or not _UNSPACED.search(joined) else cut_unspaced(words, limit)


def words(mail: Mail) -> Texts:
    """Lower-case words of the visible text, in order."""
    return _spaced(mail.words, MAX_WORDS)


def subject_words(mail: Mail) -> Texts:
    return _spaced(mail.subject_words, 100)


def name_words(mail: Mail) -> Texts:
    return _spaced(tuple(_NAME_WORDS.findall(mail.message.sender_name[:200].lower())), 20)


def base_words(mail: Mail) -> Texts:
    """Words of text, subject and sender's name, digits all alike, nothing longer than 24 characters."""
    found = [*subject_words(mail), *name_words(mail), *words(mail)[:MAX_BASE_WORDS]]
    if not found:
        return []
    joined = "\n".join(found)
    if any(map(joined.__contains__, "123456789")):
        joined = joined.translate(_TO_ZERO)
    return [word for word in dict.fromkeys(joined.split("\n")) if 1 < len(word) < 25]


_URL_WORDS: Final = re.compile(r"[a-z]{2,20}")


def link_words(mail: Mail) -> Texts:
    """Words of links' hosts and paths, without digits."""
    joined = "\n".join(
        [f"{link.host}{link.path}?{link.query[:100]}" for link in mail.links[:_MAX_LINKS] if link.host]
    )
    return [f"url {word}" for word in dict.fromkeys(_URL_WORDS.findall(joined.lower())[:_MAX_LINK_WORDS])]


def _texts_for_naming(mail: Mail) -> Texts:
    found = words(mail)
    return [f"{one} {two}" for one, two in pairwise(found)]


def _pairs(mail: Mail, known: dict[str, Hashes]) -> Hashes:
    found = known.get("words")
    if found is None:
        found = hashing.hash_words(words(mail))
    return hashing.pair(found) if found.size > 1 else np.empty(0, np.uint64)


# --- letters ------------------------------------------------------------------------------------------------


def _gram_texts(mail: Mail) -> Texts:
    text = mail.message.clean.decode("latin-1")
    return [text[at : at + 4] for at in range(max(len(text) - 3, 0))]


def _gram_hashes(mail: Mail, known: dict[str, Hashes]) -> Hashes:
    return hashing.hash_grams(mail.message.clean)


# --- links --------------------------------------------------------------------------------------------------


def link_tokens(mail: Mail) -> Texts:
    """Hosts, domains, first path steps and oddities of links."""
    out: Texts = []
    for link in mail.links[:100]:
        if link.host:
            out.append(f"link to {link.host}")
            if link.domain != link.host:
                out.append(f"link to {link.domain}")
            step = link.path.strip("/").partition("/")[0]
            if step and len(step) < 25:
                out.append(f"link path {step.lower()}")
        elif link.domain:
            out.append(f"mail link to {link.domain}")
        out.extend([f"link: {flag}" for flag in link.flags])
    return list(dict.fromkeys(out))


# --- headers ------------------------------------------------------------------------------------------------

_HOST_FROM: Final = re.compile(r"from\s+(\S{1,255})(?:\s+\(([^()\s]{0,255})?)", re.I)
_HOST_BY: Final = re.compile(r"\bby\s+([\w.-]{1,255})", re.I)
_WITH: Final = re.compile(r"\bwith\s+([A-Za-z]{2,12})")
_VERSION: Final = re.compile(r"[\d.]{2,}")
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
    out += [f"from name {word}" for word in name_words(mail)]
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
        if by := _HOST_BY.search(line):
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
        if how := _WITH.search(line):
            out.append(f"with {how[1].lower()} {position}")
    identity = message.message_id.rpartition("@")[2].lower()
    out.append(f"id domain {registered(identity)}" if identity else "no id")
    to = message.to.lower()[:400]
    if to:
        out += [f"to {found}" for found in re.findall(r"[\w.+-]{1,64}@[\w.-]{1,100}", to)[:5]]
        out.append(f"recipients {_size_class(message.to.count('@'))}")
    elif first:
        out.append("to nobody")
    if zone := _ZONE.search(message.date):
        out.append(f"zone {zone[1]}")
    names = [name for name, _ in message.headers if name not in ("received", "authentication-results")][:60]
    out += [f"header {name}" for name in names if len(name) < 60]
    out += [f"order {one} {two}" for one, two in pairwise(names) if len(one) + len(two) < 100]
    if kind := first.get("content-type", ""):
        out.append(f"type {kind.partition(';')[0].strip().lower()[:60]}")
    return list(dict.fromkeys(token.replace("\n", " ") for token in out))


def subject_tokens(mail: Mail) -> Texts:
    found = subject_words(mail)
    return [
        *(f"subject {word}" for word in found),
        *(f"subject {a} {b}" for a, b in pairwise(found)),
    ]


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
    return list(dict.fromkeys(token.replace("\n", " ") for token in out))


EXTRACTORS: Final[tuple[Extractor, ...]] = (
    Extractor("base words", 1, "base", "word", 2_400, base_words),
    Extractor("base links", 1, "base", "link", 400, link_words),
    Extractor("facts", 1, "personal", "fact", 150, fact_tokens),
    Extractor("header", 1, "personal", "sender", 300, header_tokens),
    Extractor("subject", 1, "personal", "word", 120, subject_tokens),
    Extractor("links", 1, "personal", "link", 300, link_tokens),
    Extractor("words", 1, "personal", "word", 1_000, words),
    Extractor("pairs", 1, "personal", "word", 1_200, _texts_for_naming, _pairs),
    Extractor("letters", 1, "personal", "letters", 3_000, _gram_texts, _gram_hashes),
)
"""In order of importance: where a mail has more than vector.LENGTH personal buckets, the last groups are cut."""


def hashed(extractor: Extractor, mail: Mail, known: dict[str, Hashes]) -> Hashes:
    """The hashes of one group, remembered in `known` for groups built on it."""
    found = extractor.hashes(mail, known) if extractor.hashes else hashing.hash_words(extractor.texts(mail))
    known[extractor.name] = found
    return found


def unique_in_order(values: NDArray[np.int32], limit: int) -> NDArray[np.int32]:
    """Different values, the first `limit` by place in the mail."""
    if values.size <= limit:
        return values
    _, places = np.unique(values, return_index=True)
    if places.size <= limit:
        return values
    places.sort()
    return values[places[:limit]]
