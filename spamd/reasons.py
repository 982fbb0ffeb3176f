"""How a score and its causes are told to people: message.dense and message.tokens name the causes for the model.

One vocabulary for the page, the command line, the add-on and the demo. Pure; words are plain text, not escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_CLUES: Final = {
    "hidden-text": "hidden text",
    "tiny-text": "text too small to read",
    "same-colour": "text in the colour of its ground",
    "off-screen": "text outside of the window",
    "split-by-comment": "words split by comments",
    "split-by-tags": "words split by markup",
    "entity-coded": "letters written as numbers",
    "tag-characters": "characters that nothing shows",
    "zero-width": "invisible characters in words",
    "bidi-control": "text that runs backwards",
    "stacked-marks": "stacked accents",
    "styled-letters": "letters of odd styles",
    "look-alike": "letters of other alphabets",
    "spaced-word": "s p a c e d words",
    "spelled-out-address": "an address in words",
    "digit-letters": "digits for letters",
    "other-plain-text": "another text for programs that show no HTML",
    "not-https": "not encrypted",
    "text-differs": "leads elsewhere than it says",
    "shortener": "shortened",
    "redirect": "leads on to another site",
    "ip": "a number for a name",
    "port": "an unusual port",
    "punycode": "name in another alphabet",
    "user-in-url": "a name before the host",
    "spelled-out": "spelled out",
    "relative": "leads nowhere",
}
"""Tricks of a mail and qualities of its links, in words."""

_GROUPS: Final = {
    "text": "wording",
    "lines": "lines",
    "words": "words",
    "subject words": "subject",
    "links": "links",
    "html": "HTML",
    "mime": "parts",
    "subject": "subject",
    "trick": "trick",
    "header": "header",
}

_TOPICS: Final = {
    "money": "words about money",
    "medicine": "words about medicine",
    "dating": "words about dating",
    "fraud": "words common in fraud",
    "urgency": "words that press for time",
    "phishing": "words common in phishing",
    "promotion": "words of advertising",
    "talk": "everyday words",
    "you": "“you”",
    "i": "“I”",
    "we": "“we”",
}
MEASURES: Final = {
    "text: characters": ("more text than usual", "less text than usual", "no text"),
    "text: word length": ("longer words than usual", "shorter words than usual", "no words"),
    "text: sentence length": ("longer sentences than usual", "shorter sentences than usual", "no sentences"),
    "words: you against I": ("more “you” than “I”", "less “you” beside “I” than usual", "no more “you” than “I”"),
    "lines: median length": ("longer lines than usual", "shorter lines than usual", "no lines"),
    "lines: longest": ("a longer line than usual", "no line as long as usual", "no lines"),
    "links: per word": ("more links for its words than usual", "fewer links for its words than usual", "no links"),
    "links: longest host": ("a longer host name than usual", "shorter host names than usual", "no host names"),
    "links: longest": ("a longer address than usual", "shorter addresses than usual", "no links"),
    "links: depth": ("longer paths than usual", "shorter paths than usual", "no paths"),
    "links: none": ("no links", "links", "links"),
    "html: hidden share": ("more hidden text than usual", "less hidden text than usual", "no hidden text"),
    "subject: length": ("longer than usual", "shorter than usual", "no subject"),
    "header: hops": ("more servers on its way than usual", "fewer servers on its way than usual", "no server on its way"),
}  # fmt: skip
"""Facts that are a size, not a number of things: more than usual, less, none."""
QUALITIES: Final = {
    "text: empty": "empty",
    "text: very short": "very short",
    "lines: first is short": "a short first line",
    "links: one host only": "all links to one host",
    "html: off screen": "text outside of the window",
    "html: only a picture": "only a picture",
    "mime: signed or encrypted": "signed or encrypted",
    "mime: damaged": "damaged",
    "subject: all capitals": "all in capitals",
    "subject: recurs in text": "repeated in the text",
    "subject: empty": "empty",
    "subject: lower case": "in lower case",
    "header: a reply": "a reply",
    "header: Re without reply": "“Re:” without being a reply",
    "header: bulk or automatic": "bulk or automatic",
    "header: undisclosed": "to undisclosed recipients",
    "header: name is another address": "another address as the sender's name",
    "header: sender is recipient": "sent to the sender's own address",
    "header: name in capitals": "sender's name in capitals",
    "header: name not ASCII": "sender's name beyond ASCII",
    "header: authenticated": "vouched for by your server",
}
_THINGS: Final = {
    "text: ! rate": "“!” for its length",
    "text: ? rate": "“?” for its length",
    "text: $ rate": "“$” for its length",
    "text: ! count": "“!”",
    "text: ? count": "“?”",
    "text: % count": "“%”",
    "text: number words": "numbers",
    "lines: count": "lines",
    "lines: quoted": "quoted lines",
    "lines: indented": "indented lines",
    "lines: 'wrote'": "“… wrote:” before a quote",
    "lines: of one word": "lines of one word",
    "lines: in capitals": "lines in capitals",
    "lines: bulleted": "bulleted lines",
    "lines: ends with a name": "name at the end",
    "lines: forwarded": "forwarded mail",
    "lines: >300": "lines of more than 300 characters",
    "links: count": "links",
    "links: hosts": "different hosts",
    "links: domains": "different domains",
    "links: IP": "numbers instead of host names (IP)",
    "links: port": "port numbers",
    "links: digits in host": "host names with digits",
    "links: hyphens in host": "hyphens in host names",
    "links: query": "addresses with a query (“?…”)",
    "links: root only": "links to a site's first page",
    "links: generic TLD": "host names under .com and the like",
    "links: country TLD": "host names of a country",
    "links: cheap TLD": "host names under cheap endings",
    "links: school or state TLD": "host names of schools or states",
    "links: shortener": "link shorteners",
    "links: redirect": "links that lead on elsewhere",
    "links: text differs": "links whose text names another host",
    "links: punycode": "host names in punycode",
    "links: look-alike host": "host names of look-alike letters",
    "links: coded host": "host names in code",
    "links: user in URL": "user names in links",
    "links: open hosting": "sites that anyone may open",
    "links: mailto": "mail addresses",
    "links: tel": "telephone numbers",
    "links: form": "forms",
    "links: script or data": "scripts or data",
    "links: in the text": "addresses written in the text",
    "links: unsubscribe": "way to unsubscribe",
    "links: in capitals or empty text": "links in capitals or without text",
    "links: of sender's domain": "links to the sender's domain",
    "links: name of host is long mix": "host names of letters and digits mixed",
    "mime: pages attached": "web pages attached",
    "mime: calendar": "calendar entry",
    "mime: nested mail": "mail inside the mail",
    "subject: Re": "“Re:”",
    "subject: Fwd": "“Fwd:”",
    "subject: !": "“!”",
    "subject: ?": "“?”",
    "subject: $ or %": "“$” or “%”",
    "trick: any": "tricks",
    "trick: decoy share": "text in the plain part alone",
    "header: list": "mailing list",
    "header: list unsubscribe": "list's way to unsubscribe",
    "header: one-click unsubscribe": "one-click way to unsubscribe",
    "header: reply-to elsewhere": "replies wanted elsewhere",
    "header: reply-to free mail": "replies wanted at a free mail service",
    "header: name has address": "address in the sender's name",
    "header: digits in sender": "digits in the sender's address",
    "header: sender free mail": "sender at a free mail service",
    "header: sender TLD cheap": "sender under a cheap ending",
    "header: sender TLD country": "sender of a country's domain",
    "header: mailer": "name of the mail program",
    "header: web mailer": "web mail program",
    "header: To has name": "name of the recipient",
    "header: long sender": "long sender's address",
}


def likelihood(probability: float) -> str:
    """ "85 %", and near both ends as many digits as tell it from certainty: "98.2 %", "99.987 %", "0.4 %", "< 0.1 %"."""
    if 0.9 < probability < 1:
        digits = 3 if probability > 0.99 else 1
        return f"{min(probability, 0.99999) * 100:.{digits}f}".rstrip("0").rstrip(".") + " %"
    if 0 < probability < 0.01:
        return f"{probability * 100:.1f} %" if probability >= 0.0005 else "< 0.1 %"
    return f"{probability * 100:.0f} %"


def clue(name: str) -> str:
    """A trick, or what is odd about a link."""
    return _CLUES.get(name, name.replace("-", " "))


def told(kind: str, text: str) -> tuple[str, str]:
    """Where a cause of the score lies, and what it is: ("wording", "no long words").

    kind and text: of a Reason, as model.explanation finds it. Words of the mail, addresses and hosts stay as they are.
    """
    group, colon, detail = text.partition(": ")
    if kind == "fact" and colon and group in _GROUPS:
        how, colon, what = detail.partition(": ")
        if not colon or how not in ("not", "little"):
            how, what = "", detail
        return _GROUPS[group], _measured(group, what, how)
    for place, pattern, words in _TOKENS.get(kind, ()):
        if found := pattern.fullmatch(text):
            return place, words(found) if callable(words) else found.expand(words)
    return _PLACES.get(kind, kind), text


def _measured(group: str, what: str, how: str) -> str:
    """A fact that is measured. how: "" where there is more of it than usual, "little" where there is less, "not" where
    there is none."""
    name = f"{group}: {what}"
    if name in MEASURES:
        return MEASURES[name][("", "little", "not").index(how)]
    if name in QUALITIES:
        return f"not {QUALITIES[name]}" if how else QUALITIES[name]
    if how == "not" and what.startswith("no "):  # what is a lack already, is there
        return what.removeprefix("no ")
    if how == "not" and what.endswith(" missing"):
        return what.removesuffix(" missing") + " there"
    thing = clue(what) if group == "trick" and what in _CLUES else _THINGS.get(name, what)
    if group in ("words", "subject words"):
        topic = what.removeprefix("many ")
        thing = _TOPICS.get(topic, topic)
        thing = f"many {thing}" if topic != what else thing
    if how:
        thing = thing.removeprefix("an ")
    if how == "little":
        return f"{'fewer' if _are_several(thing) else 'less'} {thing} than usual"
    return f"no {thing}" if how else thing


_AFTER_THING: Final = re.compile(
    r" (?:of|in|to|for|with|without|whose|that|under|instead|inside|attached|written)\b"
)


def _are_several(thing: str) -> bool:
    """Whether a thing is counted: "words of money", not "“you”"."""
    first = _AFTER_THING.split(thing, maxsplit=1)[0]
    return first.endswith("s") and not first.endswith("ss")


# --- what the personal part of a model learned by name ------------------------------------------------------------

_PLACES: Final = {
    "imitation": "copy",
    "word": "words",
    "link": "links",
    "sender": "header",
    "fact": "structure",
}


_FEW: Final = {"0": "no", "1": "one"}


def _numbered(found: re.Match[str]) -> str:
    """message.tokens counts in powers of two: 4 stands for 8 to 15."""
    bits, thing = int(found["bits"]), found["thing"]
    if bits < 2:
        return f"{_FEW[str(bits)]} {thing.removesuffix('s')}"
    return f"{1 << bits - 1} to {(1 << bits) - 1} {thing}"


def _times(found: re.Match[str]) -> str:
    bits = int(found["bits"])
    often = "once" if bits < 2 else f"{1 << bits - 1} to {(1 << bits) - 1} times"
    return f"<{found['tag']}> {often}"


def _counted(found: re.Match[str]) -> str:
    """ "3", or "8+": eight or more."""
    one, more = {"hops": ("server", "servers"), "recipients": ("recipient", "recipients")}[found["thing"]]
    where = " on its way" if found["thing"] == "hops" else ""
    number = found["number"].replace("+", " or more")
    return f"{_FEW.get(number, number)} {one if number in '01' else more}{where}"


def _clue(found: re.Match[str]) -> str:
    return clue(found["name"])


def _check(found: re.Match[str]) -> str:
    return f"{found['check'].upper()}: {found['result']}"


_Words = str | Callable[[re.Match[str]], str]


def _table(*rows: tuple[str, str, _Words]) -> tuple[tuple[str, re.Pattern[str], _Words], ...]:
    return tuple((place, re.compile(pattern, re.DOTALL), words) for place, pattern, words in rows)


_TOKENS: Final = {
    "fact": _table(
        ("trick", r"trick (?P<name>\S+)", _clue),
        ("wording", r"(?P<thing>words) (?P<bits>\d+)", _numbered),
        ("links", r"(?P<thing>links) (?P<bits>\d+)", _numbered),
        ("HTML", r"tag (?P<tag>\S+) (?P<bits>\d+)", _times),
        ("parts", r"has (?P<name>\S+)", _clue),
        ("parts", r"defect (.+)", r"damaged: \1"),
        ("parts", r"(?:part|tree) (.+)", r"a part of type \1"),
        ("parts", r"charset (.+)", r"letters coded as \1"),
        ("parts", r"encoding (.+)", r"sent as \1"),
        ("parts", r"attached (.+)", r"a \1 file attached"),
    ),
    "link": _table(
        ("links", r"link: (?P<name>\S+)", _clue),
        ("links", r"link to (.+)", r"\1"),
        ("links", r"mail link to (.+)", r"a mail address at \1"),
        ("links", r"link path (.+)", r"addresses with /\1"),
    ),
    "sender": _table(
        ("header", r"from free mail", "sender at a free mail service"),
        ("header", r"from nobody", "no sender"),
        ("header", r"from name (.+)", r"“\1” in the sender's name"),
        ("header", r"from domain (.+)", r"sender at \1"),
        ("header", r"from suffix (.+)", r"sender under \1"),
        ("header", r"from (.+)", r"sender \1"),
        ("header", r"reply-to elsewhere", "replies wanted elsewhere"),
        ("header", r"reply-to at home", "replies wanted at the sender's"),
        ("header", r"reply-to (?:domain )?(.+)", r"replies wanted at \1"),
        ("header", r"return path empty", "no address for returns"),
        ("header", r"return path (.+)", r"returns go to \1"),
        ("header", r"list (.+)", r"mailing list \1"),
        ("header", r"precedence (.+)", r"says of itself: precedence \1"),
        ("header", r"no mailer", "no mail program named"),
        ("header", r"mailer (.+)", r"written with \1"),
        ("header", r"(?P<check>dkim|spf|dmarc) (?P<result>.+)", _check),
        ("header", r"proven (.+)", r"\1, vouched for by your server"),
        ("header", r"unproven (.+)", r"\1, not vouched for by your server"),
        ("header", r"(?P<thing>hops|recipients) (?P<number>\d+\+?)", _counted),
        ("header", r"by (.+)", r"received by \1"),
        ("header", r"through (.+)", r"came through \1"),
        ("header", r"origin (.+)", r"came first from \1"),
        ("header", r"helo without dot", "a server on its way without a full name"),
        ("header", r"helo differs", "a server on its way under another name"),
        ("header", r"with (\S+) \d+", r"handed over by \1"),
        ("header", r"id domain (.+)", r"Message-ID of \1"),
        ("header", r"no id", "no Message-ID"),
        ("header", r"to nobody", "no recipient"),
        ("header", r"to (.+)", r"to \1"),
        ("header", r"zone (.+)", r"time zone \1"),
        ("header", r"order (\S+) (\S+)", r"field \2 after \1"),
        ("header", r"(?:header|has) (.+)", r"field \1"),
        ("header", r"type (.+)", r"mail of type \1"),
    ),
}
"""kind -> place, pattern, words; the first that fits."""
