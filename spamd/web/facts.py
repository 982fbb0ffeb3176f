"""What the hand-made facts of a mail are called for people: message.dense names them for the model."""

from __future__ import annotations

import re
from typing import Final

_PERSONS: Final = {"you": "“you”", "i": "“I”", "we": "“we”", "you against I": "“you” more than “I”"}
_MEASURES: Final = {
    "text: characters": ("more text than usual", "less text than usual", "no text"),
    "text: word length": ("longer words than usual", "shorter words than usual", "no words"),
    "text: sentence length": ("longer sentences than usual", "shorter sentences than usual", "no sentences"),
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
_QUALITIES: Final = {
    "text: empty": "empty",
    "text: very short": "very short",
    "lines: first is short": "a short first line",
    "links: one host only": "all to one host",
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


def said(group: str, what: str, how: str, word: str = "") -> str:
    """The fact in words. how: "" where there is more of it than usual, "little" where there is less, "not" where none.
    word: what it is called elsewhere, if it is."""
    name = f"{group}: {what}"
    if name in _MEASURES:
        return _MEASURES[name][("", "little", "not").index(how)]
    if name in _QUALITIES:
        return f"not {_QUALITIES[name]}" if how else _QUALITIES[name]
    if how == "not" and what.startswith("no "):  # what is a lack already, is there
        return what.removeprefix("no ")
    if how == "not" and what.endswith(" missing"):
        return what.removesuffix(" missing") + " there"
    thing = _THINGS.get(name) or word or what
    if group in ("words", "subject words"):
        topic = what.removeprefix("many ")
        thing = _PERSONS.get(topic, f"words of {topic}")
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
