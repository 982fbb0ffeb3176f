"""The hand-made features: what a mail looks like, apart from which words it uses. They travel between mailboxes.

Each group is one function and one row of GROUPS: (name, version, names of its values, function). Values are rates
(0..1), log counts (log1p) or flags (0/1). Header facts are NaN where the mail has no such header at all: the model
puts its mean there.

Left out on purpose: what HTML (tables, fonts, styles), charset, script and language a mail has. That tells one public
corpus from another (old ham is plain and English), not good mail from bad: with these, two in three of today's receipts
and newsletters passed for spam; without, one in forty, and mail of other corpora is ranked as well as before.
"""

from __future__ import annotations

import contextlib
import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from operator import contains, itemgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spamd.message.links import Link, registered
from spamd.message.parsing import ParsedMessage
from spamd.message.text import MessageText, search
from spamd.message.wordlists import BIT, FREE_MAIL, GREETINGS, LEXICON, TOPICS, listed

TEXT_CHARACTERS: Final = 3_000  # of the visible text that shape is measured on
TEXT_WORDS: Final = 600
MISSING: Final = math.nan


@dataclass(frozen=True, slots=True)
class Mail:
    """What every feature is made from."""

    message: ParsedMessage
    text: MessageText
    links: tuple[Link, ...]
    words: tuple[str, ...]  # of the visible text
    subject_words: tuple[str, ...]
    subject: str  # mended
    trusted: str | None = None  # authserv-id of the person's own server


_log: Final = math.log1p


# --- text shape ---------------------------------------------------------------------------------------------

_UPPER, _LOWER, _DIGIT, _BANG, _QUESTION, _DOLLAR, _PERCENT, _COMMA, _STOP, _MARK, _SYMBOL, _LETTER, \
    _UNCOUNTED = range(13)  # fmt: skip
_CLASSES: Final = 13


def _class_table() -> NDArray[np.uint8]:
    table = np.full(0x3000, _LETTER, np.uint8)  # of any script; letters of ASCII are told apart
    table[0:128] = _MARK
    table[ord("A") : ord("Z") + 1] = _UPPER
    table[ord("a") : ord("z") + 1] = _LOWER
    table[ord("0") : ord("9") + 1] = _DIGIT
    table[0x80:0xC0] = _SYMBOL
    for characters, kind in (("!", _BANG), ("?", _QUESTION), ("$£", _DOLLAR), ("%", _PERCENT), (",;:", _COMMA), (".", _STOP),
                             (" \t\xa0\n\"'()[]{}<>", _UNCOUNTED)):  # fmt: skip
        for character in characters:
            table[ord(character)] = kind
    table[0x2000:0x2070] = _UNCOUNTED
    table[0x2070:0x2E80] = _SYMBOL
    table[0x20A0:0x20D0] = _DOLLAR
    return table


_TABLE: Final = _class_table()
_VOWEL: Final = np.zeros(0x3000, np.int32)
_VOWEL[[ord(character) for character in "aeiouyäöüáéíóúàèìòùâêîôûãõåøæœąęаеёиоуыэюяαεηιουω"]] = 1
_VOWEL[[ord(character) for character in "AEIOUYÄÖÜÁÉÍÓÚÀÈÌÒÙÂÊÎÔÛÃÕÅØÆŒĄĘАЕЁИОУЫЭЮЯΑΕΗΙΟΥΩ"]] = 1
_IN_WORD: Final = np.zeros(_CLASSES, np.int8)
_IN_WORD[[_UPPER, _LOWER, _DIGIT, _LETTER]] = 1
# What a run of letters and digits is asked for, a bit each: what it is made of, and how long it is.
_NOT_CAPITAL, _HAS_DIGIT, _NOT_DIGIT, _HAS_VOWEL, _OVER_3, _OVER_9 = 1, 2, 4, 8, 16, 32
_MADE_OF: Final = (
    np.where(_TABLE == _UPPER, 0, _NOT_CAPITAL)
    | np.where(_TABLE == _DIGIT, _HAS_DIGIT, _NOT_DIGIT)
    | np.where(_VOWEL == 1, _HAS_VOWEL, 0)
).astype(np.uint8) * _IN_WORD[_TABLE].view(np.uint8)
_SIZED: Final = np.array([0] * 4 + [_OVER_3] * 6 + [_OVER_3 | _OVER_9], np.uint8)


def _asked() -> NDArray[np.int64]:
    """Of each kind of run, whether it counts as shouted, a number, mixed, without vowels, long, short."""
    return np.array(
        [
            [
                bool(not kind & _NOT_CAPITAL and kind & _OVER_3),
                not kind & _NOT_DIGIT,
                bool(kind & _HAS_DIGIT and kind & _NOT_DIGIT),
                bool(not kind & (_HAS_VOWEL | _HAS_DIGIT) and kind & _OVER_3),
                bool(kind & _OVER_9),
                not kind & _OVER_3,
            ]
            for kind in range(2 * _OVER_9)
        ],
        np.int64,
    )


_ASKED: Final = _asked()
_ASCII_KINDS: Final = _TABLE[:256].tobytes()
_ASCII_INSIDE: Final = _IN_WORD[_TABLE[:256]].tobytes()
_ASCII_MADE_OF: Final = _MADE_OF[:256].tobytes()
_REPEATABLE: Final = np.zeros(_CLASSES, bool)
_REPEATABLE[[_BANG, _QUESTION, _DOLLAR, _MARK]] = True

_TEXT_NAMES: Final = (
    "text: characters", "text: words", "text: word length", "text: long words", "text: short words",
    "text: words without vowels", "text: capitals", "text: shouted words", "text: digits", "text: ! rate", "text: ? rate",
    "text: ! count", "text: ? count", "text: $ rate", "text: money signs", "text: % count", "text: commas", "text: full stops",
    "text: other marks", "text: symbols", "text: digits inside words", "text: repeated marks",
    "text: number words", "text: empty", "text: very short", "text: sentence length",
)  # fmt: skip


def _text_shape(mail: Mail) -> list[float]:
    text = mail.text.visible[:TEXT_CHARACTERS]
    size = len(text)
    if text.isascii():
        plain = text.encode("ascii")
        codes = np.frombuffer(plain, np.uint8)
        kinds = np.frombuffer(plain.translate(_ASCII_KINDS), np.uint8)
        inside = np.frombuffer(b"\0" + plain.translate(_ASCII_INSIDE) + b"\0", np.int8)
        made_of = np.frombuffer(plain.translate(_ASCII_MADE_OF), np.uint8)
    else:
        wide = np.frombuffer(text.encode("utf-32-le", "replace"), np.int32)
        codes = np.minimum(wide, 0x2FFF)
        kinds = _TABLE.take(codes)
        made_of = _MADE_OF.take(codes)
        if np.maximum.reduce(wide) >= 0x3000:
            beyond = wide >= 0x3000
            kinds[beyond] = _LETTER
            symbols = wide >= 0x1F000
            kinds[symbols] = _SYMBOL
            made_of[symbols] = 0
        inside = np.zeros(size + 2, np.int8)
        _IN_WORD.take(kinds, out=inside[1:-1], mode="clip")
    counts = np.bincount(kinds, minlength=_CLASSES).tolist()
    total = max(size, 1)
    words = len(mail.words)
    # Runs of letters and digits, and what is in each.
    edges = (inside[1:] != inside[:-1]).nonzero()[0]
    starts = edges[::2]
    found = starts.size
    runs = max(found, 1)
    shouted = numbers = mixed = vowelless = long = short = 0
    if found:
        sorts = np.bitwise_or.reduceat(made_of, starts)
        sorts |= _SIZED.take(edges[1::2] - starts, mode="clip")
        shouted, numbers, mixed, vowelless, long, short = (
            np.bincount(sorts, minlength=len(_ASKED)) @ _ASKED
        ).tolist()
    same = codes[1:] == codes[:-1]
    thrice = (same[1:] & same[:-1]).nonzero()[0]
    repeated = 0
    if thrice.size:
        thrice = thrice[_REPEATABLE[kinds[thrice + 2]]]
        repeated = int(np.count_nonzero(thrice[1:] != thrice[:-1] + 1)) + int(thrice.size > 0)
    cased = max(counts[_UPPER] + counts[_LOWER], 1)
    stops = counts[_STOP] + counts[_BANG] + counts[_QUESTION]
    return [
        _log(len(mail.text.visible)),
        _log(words),
        (counts[_UPPER] + counts[_LOWER] + counts[_DIGIT] + counts[_LETTER]) / found if found else 0.0,
        long / runs,
        short / runs,
        vowelless / runs,
        counts[_UPPER] / cased,
        shouted / runs,
        counts[_DIGIT] / total,
        counts[_BANG] / runs,
        counts[_QUESTION] / runs,
        _log(counts[_BANG]),
        _log(counts[_QUESTION]),
        counts[_DOLLAR] / runs,
        _log(counts[_DOLLAR]),
        _log(counts[_PERCENT]),
        counts[_COMMA] / runs,
        counts[_STOP] / runs,
        counts[_MARK] / runs,
        counts[_SYMBOL] / runs,
        mixed / runs,
        _log(repeated),
        numbers / runs,
        float(not words),
        float(0 < words < 15),
        _log(found / max(stops, 1)),
    ]


# --- lines --------------------------------------------------------------------------------------------------

_LINE_NAMES: Final = (
    "lines: count", "lines: quoted", "lines: signature", "lines: indented", "lines: median length",
    "lines: longest", "lines: 'wrote'", "lines: greeting", "lines: greeting with a name", "lines: of one word", "lines: in capitals",
    "lines: bulleted", "lines: first is short", "lines: ends with a name", "lines: forwarded", "lines: >300",
)  # fmt: skip
_first_character: Final = itemgetter(0)
_WROTE: Final = re.compile(
    r"(?:wrote|writes|schrieb|écrit|escribió|scritto|escreveu|schreef|skrev|napisał|napisała|пишет|написал|написала)\s?:\s*$",
    re.I,
)


def _line_shape(mail: Mail) -> list[float]:
    text = mail.text.plain[:TEXT_CHARACTERS]
    lines = text.split("\n")[:120]
    count = len(lines)
    full = list(filter(str.strip, lines))
    filled = max(len(full), 1)
    lengths = sorted(map(len, full)) or [0]
    heads = "".join(map(_first_character, full))
    quoted = heads.count(">") + heads.count("|")
    indented = heads.count(" ") + heads.count("\t")
    bullets = heads.count("*") + heads.count("-") + heads.count("•") + heads.count("·")
    first = full[0].strip() if full else ""
    first_words = first[:80].lower().replace(",", " ").replace("!", " ").split()
    greeting = bool(first_words) and first_words[0].strip(".:") in GREETINGS
    last = full[-1].strip() if full else ""
    wrote = "riginal" in text
    if not wrote and (":\n" in text or ": \n" in text or text.endswith((":", ": "))):
        tails = [line for line in full if line[-1] == ":" or line.endswith(": ")]
        wrote = any(_WROTE.search(line) for line in tails[:20])
    return [
        _log(count),
        quoted / filled,
        float("\n-- \n" in text or "\n--\n" in text),
        indented / filled,
        _log(lengths[len(lengths) // 2]),
        _log(lengths[-1]),
        float(wrote),
        float(greeting),
        float(greeting and 1 < len(first_words) < 5 and first[-1:] in ",!:-"),
        list(map(contains, full, repeat(" "))).count(False) / filled,
        sum(map(str.isupper, full)) / filled,
        bullets / filled,
        float(0 < len(first) < 30),
        float(0 < len(last) < 25 and last[:1].isupper() and last.count(" ") < 3),
        float("orwarded message" in text or "Weitergeleitete" in text or "message transféré" in text),
        (len(lengths) - bisect_right(lengths, 300)) / filled,
    ]


# --- topics -------------------------------------------------------------------------------------------------

_TOPICAL: Final = (
    "money",
    "medicine",
    "dating",
    "fraud",
    "urgency",
    "phishing",
    "promotion",
    "talk",
    "you",
    "i",
    "we",
)
_TOPIC_NAMES: Final = (
    *(f"words: {name}" for name in _TOPICAL),
    *(f"words: many {name}" for name in _TOPICAL[:8]),
    "words: you against I",
    *(f"subject words: {name}" for name in _TOPICAL[:10]),
)  # fmt: skip
_ORDER: Final = {bit: order for order, bit in enumerate(BIT.values())}
_BITS: Final = {
    bits: tuple(order for bit, order in _ORDER.items() if bits & bit) for bits in set(LEXICON.values())
}
_INDEX: Final = {name: order for order, name in enumerate(TOPICS)}
_TOPICAL_AT: Final = tuple(_INDEX[name] for name in _TOPICAL)
_LOOKUP: Final = {
    word: orders
    for word, bits in LEXICON.items()
    if (orders := tuple(order for order in _BITS[bits] if order in _TOPICAL_AT))
}


def _topic_counts(words: Iterable[str]) -> tuple[list[int], list[int]]:
    """How many of these words, all from _LOOKUP, belong to each topic; and how many different ones."""
    counts, distinct = [0] * len(TOPICS), [0] * len(TOPICS)
    for word, times in Counter(words).items():
        for order in _LOOKUP[word]:
            counts[order] += times
            distinct[order] += 1
    return counts, distinct


_NOTHING_TOLD: Final = (0.0,) * 10


def _told(telling: list[str], words: int) -> list[float]:
    """Rates of the first ten topics in the subject."""
    counts, _ = _topic_counts(telling)
    return [counts[at] / words for at in _TOPICAL_AT[:10]]


def _topics(mail: Mail) -> list[float]:
    words = mail.words[:TEXT_WORDS]
    number = max(len(words), 1)
    counts, distinct = _topic_counts(filter(_LOOKUP.__contains__, words))
    subject = mail.subject_words
    told = list(filter(_LOOKUP.__contains__, subject))
    you, me = counts[_INDEX["you"]], counts[_INDEX["i"]]
    return [
        *[counts[at] / number for at in _TOPICAL_AT],
        *[_log(distinct[at]) for at in _TOPICAL_AT[:8]],
        (you - me) / (you + me + 1),
        *(_told(told, len(subject)) if told else _NOTHING_TOLD),
    ]


# --- links --------------------------------------------------------------------------------------------------

_GENERIC: Final = frozenset({"com", "net", "org"})
_SCHOOLS: Final = frozenset({"edu", "gov", "mil", "int", "ac"})
_CHEAP: Final = listed(
    """info biz xyz top club online site shop live click link work icu vip buzz fun space website tech store
    pro bid loan win men stream download trade date racing review party science cyou monster rest sbs
    cfd quest bond lol cc ws tk ml ga cf gq su pw name mobi us"""
)
_LINK_NAMES: Final = (
    "links: count", "links: hosts", "links: domains", "links: per word", "links: IP", "links: port", "links: percent codes",
    "links: digits in host", "links: hyphens in host", "links: longest host", "links: longest", "links: depth", "links: query",
    "links: root only", "links: generic TLD", "links: country TLD", "links: cheap TLD", "links: school or state TLD",
    "links: shortener", "links: redirect", "links: text differs", "links: punycode",
    "links: look-alike host", "links: coded host", "links: user in URL", "links: open hosting", "links: mailto", "links: tel",
    "links: form", "links: script or data", "links: in the text",
    "links: unsubscribe", "links: in capitals or empty text", "links: one host only", "links: none", "links: of sender's domain",
    "links: name of host is long mix",
)  # fmt: skip
_UNSUBSCRIBE: Final = re.compile(
    r"unsub|opt-?out|remove|abmeld|desabonn|désabonn|desinscri|désinscri|cancelar sus|darse de baja|disiscri|annulla l|wypis"
    r"|отписа|afmeld|退订|配信停止"
)
_ASCII_DIGIT: Final = re.compile("[0-9]")
_MIXED_NAME: Final = re.compile(r"(?=[a-z-]*\d)(?=\d*[a-z])[a-z0-9-]{10,}|[bcdfghjklmnpqrstvwxz]{6,}")


def _has_digit(host: str) -> bool:
    return _ASCII_DIGIT.search(host) is not None if host.isascii() else any(map(str.isdigit, host))


_NO_LINKS: Final = [float(name == "links: none") for name in _LINK_NAMES]


def _link_shape(mail: Mail) -> list[float]:
    if not mail.links:
        return _NO_LINKS
    hosts: dict[str, None] = {}
    domains: dict[str, None] = {}
    found: list[str] = []
    count = codes = longest = depth = queried = roots = written = blank = home_links = forms = 0
    sender = mail.message.sender
    home = registered(sender.rpartition("@")[2]) if sender else ""
    for url, host, domain, shown, odd, path, query, kind in mail.links:
        if kind == "img":
            continue
        found.extend(odd)
        if kind == "form":
            forms += 1
        if not host:
            continue
        count += 1
        hosts[host] = None
        domains[domain] = None
        if "%" in url:
            codes += url.count("%")
        if len(url) > longest:
            longest = len(url)
        depth += path.count("/")
        if query:
            queried += 1
        elif len(path) < 2:
            roots += 1
        if kind == "text":
            written += 1
        elif kind == "a" and (not shown or shown.isupper()):
            blank += 1
        if domain == home:
            home_links += 1
    per = max(count, 1)
    number = max(len(mail.words), 1)
    named = max(len(hosts), 1)
    generic = country = cheap = school = digits = hyphens = longest_host = 0
    for host in hosts:
        suffix = host.rpartition(".")[2]
        if suffix in _GENERIC:
            generic += 1
        elif suffix in _CHEAP:
            cheap += 1
        elif suffix in _SCHOOLS:
            school += 1
        elif len(suffix) == 2:
            country += 1
        digits += _has_digit(host)
        hyphens += "-" in host
        longest_host = max(longest_host, len(host))
    flags = Counter(found)
    get = flags.get
    ends = "\n".join([link.shown or link.url for link in mail.links[-24:] if link.kind != "img"]).lower()
    return [
        _log(count),
        _log(len(hosts)),
        _log(len(domains)),
        min(count / number, 1.0),
        _log(get("ip", 0)),
        float("port" in flags),
        _log(codes),
        digits / named,
        hyphens / named,
        _log(longest_host),
        _log(longest),
        depth / per,
        queried / per,
        roots / per,
        generic / named,
        country / named,
        cheap / named,
        school / named,
        float("shortener" in flags),
        get("redirect", 0) / per,
        _log(get("text-differs", 0)),
        float("punycode" in flags or "unicode-host" in flags),
        float("look-alike-host" in flags),
        float("coded-host" in flags or "coded-ip" in flags),
        float("user-in-url" in flags),
        float("open-hosting" in flags),
        _log(get("mailto", 0)),
        float("tel" in flags or "sms" in flags or "whatsapp" in flags),
        float(forms > 0),
        float("javascript" in flags or "data" in flags),
        written / per,
        float("unsub" in ends or _UNSUBSCRIBE.search(ends) is not None),
        blank / per,
        float(len(domains) == 1),
        float(not count),
        home_links / per if home else 0.0,
        float(any(_MIXED_NAME.search(domain.partition(".")[0]) for domain in domains)),
    ]


# --- HTML ---------------------------------------------------------------------------------------------------

_HTML_NAMES: Final = (
    "html: forms and inputs", "html: white text", "html: tiny text", "html: off screen", "html: hidden share",
    "html: only a picture", "html: inline frames and scripts",
)  # fmt: skip


def _html_shape(mail: Mail) -> list[float]:
    text = mail.text
    if not text.markup:
        return [0.0] * len(_HTML_NAMES)
    tags = text.tags
    return [
        _log(tags.get("form", 0) + tags.get("input", 0)),
        _log(text.faint),
        _log(text.tiny),
        float(text.off_screen),
        len(text.hidden) / (len(text.hidden) + len(text.visible) + 1),
        float("img" in tags and len(mail.words) < 25),
        float("iframe" in tags or "script" in tags or "object" in tags or "embed" in tags),
    ]


# --- MIME ---------------------------------------------------------------------------------------------------

_MIME_NAMES: Final = (
    "mime: attachments", "mime: pictures", "mime: documents", "mime: archives or programs", "mime: pages attached",
    "mime: signed or encrypted", "mime: calendar", "mime: nested mail", "mime: damaged",
)  # fmt: skip
_DOCUMENTS: Final = (
    ".pdf",
    ".doc",
    ".docx",
    ".xls",
    ".xlsx",
    ".ppt",
    ".pptx",
    ".odt",
    ".ods",
    ".rtf",
    ".txt",
)
_PROGRAMS: Final = (".zip", ".rar", ".7z", ".gz", ".exe", ".scr", ".pif", ".bat", ".com", ".js", ".vbs", ".iso", ".img", ".lnk", ".ace",
                    ".jar", ".docm", ".xlsm", ".one", ".cab")  # fmt: skip


def _mime_shape(mail: Mail) -> list[float]:
    message = mail.message
    others = message.attachments
    names = [part.filename.lower() for part in others]
    facts = message.facts
    return [
        _log(len(others)),
        _log(sum([part.kind.startswith("image/") for part in others])),
        float(any(name.endswith(_DOCUMENTS) for name in names)),
        float(any(name.endswith(_PROGRAMS) for name in names)),
        float(any(name.endswith((".htm", ".html", ".shtml", ".svg", ".xhtml")) for name in names)),
        float(not facts.isdisjoint(("smime", "smime-signature", "pgp", "pgp-signature"))),
        float("calendar" in facts),
        float("nested-message" in facts or "bounce" in facts),
        float(len(message.defects) > ("cut" in message.defects) + ("no headers" in message.defects)),
    ]


# --- subject ------------------------------------------------------------------------------------------------

_SUBJECT_NAMES: Final = (
    "subject: length", "subject: words", "subject: capitals", "subject: all capitals", "subject: digits", "subject: Re",
    "subject: Fwd", "subject: brackets", "subject: recurs in text", "subject: !", "subject: ?", "subject: $ or %", "subject: empty",
    "subject: symbols", "subject: wide spaces", "subject: number at the end", "subject: lower case",
)  # fmt: skip
_RE: Final = re.compile(
    r"\s*(?:re|aw|sv|antw|odp|vs|ynt|ref|res|rif|回复|答复|ответ)\s*(?:\[\d+\])?\s*[:：]", re.I
)
_FWD: Final = re.compile(r"\s*(?:fwd?|wg|tr|rv|enc|pd|i|vl|doorst|转发|пересл)\s*[:：]", re.I)


def _subject_shape(mail: Mail) -> list[float]:
    subject = mail.subject[:400]
    words = mail.subject_words
    size = max(len(subject), 1)
    if subject.isascii():
        kinds = subject.encode("ascii").translate(_ASCII_KINDS)
        capitals, digits = kinds.count(_UPPER), kinds.count(_DIGIT)
        letters = capitals + kinds.count(_LOWER)
    else:
        capitals, digits = sum(map(str.isupper, subject)), sum(map(str.isdigit, subject))
        letters = sum(map(str.isalpha, subject))
    letters = max(letters, 1)
    long_words = [word for word in words if len(word) > 3]
    seen = set(long_words).intersection(mail.words) if long_words else ()
    return [
        _log(len(subject)),
        _log(len(words)),
        capitals / letters,
        float(letters > 5 and subject.isupper()),
        digits / size,
        float(_RE.match(subject) is not None),
        float(_FWD.match(subject) is not None),
        float("[" in subject or "(" in subject),
        sum([word in seen for word in long_words]) / len(long_words) if long_words else 0.0,
        _log(subject.count("!")),
        float("?" in subject),
        float("$" in subject or "%" in subject or "€" in subject or "£" in subject),
        float(not words),
        sum([ord(character) > 0x2190 and not character.isalpha() for character in subject])
        if not subject.isascii()
        else 0.0,
        float("   " in mail.message.subject),
        float(subject[-1:].isdigit()),
        float(capitals == 0 and letters > 3),
    ]


# --- tricks -------------------------------------------------------------------------------------------------

TRICKS: Final = (
    "hidden-text", "tiny-text", "same-colour", "off-screen", "zero-width", "bidi-control", "tag-characters", "stacked-marks",
    "styled-letters", "look-alike", "spaced-word", "spelled-out-address", "digit-letters", "split-by-comment", "split-by-tags",
    "entity-coded", "other-plain-text",
)  # fmt: skip
_NO_TRICKS: Final = (0.0,) * len(TRICKS)
_TRICK_NAMES: Final = (
    *(f"trick: {name}" for name in TRICKS),
    "trick: any",
    "trick: invisible characters",
    "trick: decoy share",
)


def _trick_flags(mail: Mail) -> list[float]:
    tricks = mail.text.tricks
    return [
        *([float(name in tricks) for name in TRICKS] if tricks else _NO_TRICKS),
        _log(len(tricks)),
        _log(mail.text.invisible),
        mail.text.decoy,
    ]


# --- header facts that travel -------------------------------------------------------------------------------

_HEADER_NAMES: Final = (
    "header: a reply", "header: Re without reply", "header: list", "header: list unsubscribe", "header: one-click unsubscribe",
    "header: bulk or automatic", "header: reply-to elsewhere", "header: reply-to free mail", "header: To missing", "header: recipients",
    "header: undisclosed", "header: Cc", "header: no sender name", "header: name has address", "header: name is another address",
    "header: digits in sender", "header: sender free mail", "header: sender TLD cheap", "header: sender TLD country",
    "header: Message-ID missing", "header: Message-ID of sender's domain", "header: Date missing", "header: mailer", "header: web mailer",
    "header: sender is recipient", "header: name in capitals", "header: name not ASCII", "header: To has name", "header: long sender",
    "header: organisation", "header: priority", "header: hops", "header: authenticated",
)  # fmt: skip
_HEADER_COUNT: Final = len(_HEADER_NAMES)
_WEB_MAILER: Final = re.compile(r"roundcube|squirrel|horde|phpmailer|php|webmail|zimbra|swift", re.I)


def _header_facts(mail: Mail) -> list[float]:
    message = mail.message
    first = message.first
    if not first:
        return [MISSING] * _HEADER_COUNT
    carried = "received" in first or "message-id" in first
    have = first.__contains__
    sender, reply_to, to = message.sender, message.reply_to, message.to
    local, _, domain = sender.rpartition("@")
    home = registered(domain) if domain else ""
    reply_domain = registered(reply_to.rpartition("@")[2]) if reply_to else ""
    suffix = home.rpartition(".")[2]
    name = message.sender_name
    subject_reply = _RE.match(message.subject) is not None
    reply = have("in-reply-to") or have("references")
    recipients = to.count("@") + first.get("cc", "").count("@")
    mailer = first.get("x-mailer", "") or first.get("user-agent", "")
    bulk = first.get("precedence", "").lower() in ("bulk", "list", "junk") or (
        have("auto-submitted") and first["auto-submitted"].lower() != "no"
    )
    id_domain = message.message_id.rpartition("@")[2].lower()
    who = [
        float(bool(reply_domain) and reply_domain != home),
        float(reply_domain in FREE_MAIL and reply_domain != home),
        float(not to.strip()),
        _log(recipients),
        float("undisclosed" in to.lower() or (bool(to.strip()) and "@" not in to)),
        float(have("cc")),
        float(not name),
        float("@" in name),
        float("@" in name and name.strip(" '\"<>").lower() != sender),
        float(sum(map(str.isdigit, local)) > 2),
        float(home in FREE_MAIL),
        float(suffix in _CHEAP),
        float(len(suffix) == 2 and suffix not in _CHEAP),
    ]
    identity = [
        float(not message.message_id),
        float(bool(id_domain) and bool(home) and id_domain.endswith(home)),
        float(not message.date),
        float(bool(mailer)),
        float(bool(mailer) and _WEB_MAILER.search(mailer) is not None),
    ]
    looks = [
        float(bool(sender) and sender in to.lower()),
        float(len(name) > 3 and name.isupper()),
        float(not name.isascii()),
        float("<" in to and bool(to.partition("<")[0].strip())),
        float(len(sender) > 35),
    ]
    verdict = authentication(message, mail.trusted)
    carried_only = [
        float(have("organization") or have("organisation")),
        float(have("x-priority") or have("importance") or have("priority")),
        _log(len(message.all("received"))),
        MISSING if not verdict else float(verdict.get("dmarc", verdict.get("dkim", "")) == "pass"),
    ]
    missing = [MISSING]
    return [
        *([float(reply), float(subject_reply and not reply)] if carried else missing * 2),
        *(
            [
                float(have("list-id") or have("list-post")),
                float(have("list-unsubscribe")),
                float(have("list-unsubscribe-post")),
                float(bulk),
            ]
            if carried
            else missing * 4
        ),
        *(who if sender or to else missing * 13),
        *(identity if carried else missing * 5),
        *(looks if sender or to else missing * 5),
        *(carried_only if carried else missing * 4),
    ]


_RESULT: Final = re.compile(r"(?<![^;])\s*(spf|dkim|dmarc|arc|iprev|compauth)\s*=\s*([a-z]+)", re.I)
"""Only what begins a part is a result: behind it stands what the sender may choose, an envelope of <dmarc=pass@evil.example>."""
_CHECKS: Final = ("spf", "dkim", "dmarc", "arc", "iprev", "compauth")
_OUTCOME: Final = re.compile(r"\s*([a-z]+)")
_BY: Final = re.compile(r"(?<!\S)by\s+([\w.-]{3,255})", re.I)


def authentication(message: ParsedMessage, trusted: str | None = None) -> dict[str, str]:
    """Results of the receiving server's own checks ({"spf": "pass", "dkim": ...}), {} if it wrote none.

    Anyone can write this header, so only the topmost counts, and only if its authserv-id is `trusted`, or (None) belongs
    to the domain of the server that took the mail in: the `by` of the topmost Received.

    DMARC speaks of the domain in From. Where the server proved another one than we read there, it says nothing of ours; where
    From names several, and ours is not the one that was proven, or nobody tells which was, that counts as "fail".
    """
    value, received = _said(message)
    if not value:
        return {}
    results = dict(_results(value, received, trusted))
    if "pass" in (results.get("dmarc"), results.get("compauth")) and not _meant(value, message):
        results = {check: result for check, result in results.items() if check not in ("dmarc", "compauth")}
        if not message.sender_clear:
            results["dmarc"] = "fail"
    return results


def sender_proven(results: Mapping[str, str]) -> bool | None:
    """Did the receiving server prove the address in From? Only DMARC (or Microsoft's compauth) speaks of it:
    SPF and DKIM alone prove some domain, not that one.
    """
    for method in ("dmarc", "compauth"):
        result = results.get(method, "")
        if result == "pass":
            return True
        if result == "fail":
            return False
    return None


_GOOGLE_STORE: Final = "by 2002:"
"""Above what it takes in, Gmail writes the hand-over to its own store: no "from", and an address for a name."""
_APPLE_STORE: Final = re.compile(
    r"from p\d+-icloudmta-smtpin-[a-z0-9-]+ by p\d+-mailgateway-smtp[a-z]*-[a-z0-9-]+ \(mailgateway\b(?!.*\sby\s)"
)
"""iCloud names machines there, which have no domain, and writes one field for each check. What its own customers send each
other (by -asmtp-) it does not check. All of the line is held to it: Exim writes the envelope's sender into its own, "(envelope-from
<"by p1-mailgateway-smtp-a (mailgateway"@evil.example>)", and whoever takes any HELO that one, with its own "by" behind it."""
_APPLE_CHECKS: Final = ("dmarc.icloud.com", "dkim-verifier.icloud.com", "spf.icloud.com")


_FASTMAIL_STORE: Final = re.compile(
    r"from ([a-z0-9-]+\.internal) \(\1 \[10\.[0-9.]+\]\)\s+by [a-z0-9-]+ \(Cyrus [\w.-]+-fm-[\w.-]+\) with LMTPA;[\w\s,:+-]*"
)
"""Fastmail's store has no domain either, and a Cyrus of their own build; nobody else's words are in its line, which is held to all
of it. Its milter writes one field for each of its checks, the last with DKIM, DMARC and SPF; what lies below is the sender's."""
_FASTMAIL_HANDS_IN: Final = re.compile(
    r"from ([a-z]+-mx-[0-9]+) \(\[10\.[0-9.]+\]\)\s+by [a-z0-9-]+\.internal \("
)
"""Which machine it came in by. What its customers send each other comes by another and is not checked, so that what stands where
the milter's lines would be is theirs."""


def _fastmail(message: ParsedMessage) -> str:
    """The fields of its own milter as one, "" if they are not all there."""
    handed_in = next((_FASTMAIL_HANDS_IN.match(one) for one in message.all("received")[1:2]), None)
    taken_in = f"{handed_in[1]}.messagingengine.com" if handed_in else ""
    parts: list[str] = []
    for one in message.all("authentication-results"):
        server, _, found_there = one.partition(";")
        if server.strip().lower() != taken_in:
            break
        parts.append(found_there)
        if "spf=" in found_there:
            return "; ".join(["messagingengine.com", *parts])
    return ""


def _said(message: ParsedMessage) -> tuple[str, str]:
    """The receiving server's Authentication-Results, and its Received. Whose store hands over above it is told by what only
    that store writes: who sends mail to others can write all that lies below their own server's lines, and nothing above.
    """
    value, received = message.first.get("authentication-results", ""), message.first.get("received", "")
    if not value:
        return "", received
    if received.startswith(_GOOGLE_STORE):
        below = next((one for one in message.all("received") if not one.startswith(_GOOGLE_STORE)), "")
        by = _BY.search(below)
        return value, below if by and registered(by[1].lower().rstrip(".")) == "google.com" else ""
    if _FASTMAIL_STORE.fullmatch(received):
        return _fastmail(message), "by messagingengine.com"
    if _APPLE_STORE.match(received):
        first: dict[str, str] = {}
        for one in message.all("authentication-results"):
            server, _, found = one.partition(";")
            first.setdefault(server.strip().lower(), found)
        return "; ".join(["icloud.com", *(first.get(name, "") for name in _APPLE_CHECKS)]), "by icloud.com"
    return value, received


_FROM: Final = re.compile(r"(?<=[\s;])header\.from\s*=\s*(?:[^\s;@]*@)?([\w.-]{1,253})")


def _meant(value: str, message: ParsedMessage) -> bool:
    """Is it the domain of our sender that the server looked at?"""
    read = _FROM.findall(_without_quotes(value[:4000].lower()))
    home = _coded(message.sender.rpartition("@")[2])
    return all(_coded(domain) == home for domain in read) if read else message.sender_clear


def _coded(domain: str) -> str:
    """Its registered domain, as servers write it."""
    if not domain.isascii():
        with contextlib.suppress(UnicodeError):
            domain = domain.encode("idna").decode("ascii")
    return registered(domain.strip().lower().rstrip("."))


_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMMENT: Final = re.compile(r"\((?:[^()\\]|\\.)*\)")
_MARK_LEFT: Final = re.compile(r'["()]')


def _without_quotes(value: str) -> str:
    """A field without quoted text and comments. Both may hold what the sender wrote, a local part such as
    "x; dmarc=pass" in the envelope."""
    if '"' in value:
        value = _QUOTED.sub(" ", value)
    for _ in range(4):  # comments hold comments
        if "(" not in value:
            break
        value = _COMMENT.sub(" ", value)
    return value


_FAILED: Final = re.compile(r";\s*dmarc\s*=\s*fail\b", re.I)
"""Also behind another one (a HELO of "a;dmarc=pass"), and in what is not read of a field: a dozen DKIM signatures of long names take up 4,000 characters, and a lone quote hides the rest.
Whoever writes it themselves speaks against themselves."""


@lru_cache(maxsize=4)  # asked for twice of each mail
def _results(value: str, received: str, trusted: str | None) -> dict[str, str]:
    out = _results_read(value, received, trusted)
    if out and _FAILED.search(value):
        out["dmarc"] = "fail"
    return out


def _results_read(value: str, received: str, trusted: str | None) -> dict[str, str]:
    server = value.partition(";")[0].strip().partition(" ")[0].lower()
    if "=" in server:
        server = ""  # Exchange leaves the name out of its own
    if trusted is not None:
        if server != trusted.lower():
            return {}
    else:
        receiver = search(_BY, "by", received.lower()) if received.isascii() else _BY.search(received)
        if not receiver:
            return {}
        by = registered(receiver[1].lower().rstrip("."))
        if (registered(server) if server else "outlook.com") != by:
            return {}
    out: dict[str, str] = {}
    value = _without_quotes(value[:4000])
    if left := _MARK_LEFT.search(value):  # what follows a quote that does not end is nobody's word
        value = value[: left.start()]
    if not value.isascii():
        for name, result in _RESULT.findall(value):
            out.setdefault(name.lower(), result.lower())
        return out
    # The same from the few "=" there are: the pattern alone looks at each character.
    value = value.lower()
    at, last = value.find("="), 0
    while at >= 0:
        end = at
        while end > last and value[end - 1].isspace():
            end -= 1
        for name in _CHECKS if value.endswith(_CHECKS, last, end) else ():
            begin = end - len(name)
            while begin > last and value[begin - 1].isspace():
                begin -= 1
            if (
                value.endswith(name, last, end)
                and (begin == 0 or value[begin - 1] == ";")
                and (outcome := _OUTCOME.match(value, at + 1))
            ):
                out.setdefault(name, outcome[1])
                last = outcome.end()
                break
        at = value.find("=", at + 1)
    return out


PROVEN: Final = "proven"
_RESULT_FIRST: Final = re.compile(r"\s*(spf|dkim)\s*=\s*pass\b")
_WHOM: Final = re.compile(
    r"(?<=[\s;])(?:header\.[di]|smtp\.mailfrom|smtp\.mail)\s*=\s*(?:[^\s;@]*@)?([\w.-]{1,253})(?![^\s;>])"
)  # what SPF and DKIM vouch for (RFC 8601, 2.7)


def sender_proof(message: ParsedMessage, trusted: str | None = None) -> str:
    """How the receiving server vouches for the address in From: two mails from one address are surely of one sender only
    where this is the same.

    `PROVEN`: by DMARC, or, where DMARC says nothing, by a DKIM or SPF of that very domain (what DMARC asks for). Else what
    was found instead, "dkim=none dmarc=fail spf=pass" say; "" if the server wrote nothing.
    """
    results = authentication(message, trusted)
    verdict = results.get("dmarc") or results.get("compauth") or ""
    if verdict == "pass" or "pass" in (results.get("dmarc"), results.get("compauth")):
        return PROVEN
    if verdict != "fail" and _aligned(_said(message)[0] if results else "", message):
        return PROVEN
    return " ".join(sorted(f"{check}={results[check]}" for check in _SENDER_CHECKS if check in results))


_SENDER_CHECKS: Final = ("spf", "dkim", "dmarc", "compauth")


def _aligned(value: str, message: ParsedMessage) -> bool:
    """Did SPF or DKIM pass for the domain in From?"""
    home = registered(message.sender.rpartition("@")[2].lower())
    plain = _without_quotes(value[:4000].lower())
    if not home or _MARK_LEFT.search(plain):
        return False
    for part in plain.split(";")[1:]:
        if _RESULT_FIRST.match(part):
            whom = _WHOM.findall(part)
            if whom and all(registered(domain) == home for domain in whom):
                return True
    return False


Group = tuple[str, int, tuple[str, ...], Callable[[Mail], list[float]]]
GROUPS: Final[tuple[Group, ...]] = (
    ("text", 1, _TEXT_NAMES, _text_shape),
    ("lines", 1, _LINE_NAMES, _line_shape),
    ("topics", 1, _TOPIC_NAMES, _topics),
    ("links", 1, _LINK_NAMES, _link_shape),
    ("html", 2, _HTML_NAMES, _html_shape),
    ("mime", 1, _MIME_NAMES, _mime_shape),
    ("subject", 1, _SUBJECT_NAMES, _subject_shape),
    ("tricks", 2, _TRICK_NAMES, _trick_flags),
    ("header", 1, _HEADER_NAMES, _header_facts),
)
NAMES: Final = tuple(name for _, _, names, _ in GROUPS for name in names)
LENGTH: Final = len(NAMES)
BODY: Final = LENGTH - _HEADER_COUNT
"""The first BODY values come from body and subject; the rest are header facts and may be NaN."""


def measure(mail: Mail) -> NDArray[np.float32]:
    """All values, rounded to half precision: what is stored is then exactly what was scored."""
    values: list[float] = []
    for _, _, _, function in GROUPS:
        values.extend(function(mail))
    kept: NDArray[np.float32] = np.array(values, np.float32).astype(np.float16).astype(np.float32)
    return kept


__all__ = [
    "BODY",
    "GROUPS",
    "LENGTH",
    "MISSING",
    "NAMES",
    "PROVEN",
    "TRICKS",
    "Mail",
    "authentication",
    "measure",
    "sender_proof",
    "sender_proven",
]
