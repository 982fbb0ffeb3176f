"""IMAP on the wire: values in, bytes out and back. Touches no socket.

imapclient's parser is used for what is inside a response. What is around it (tagged lines, literals,
response codes, number sets) is read here, because imaplib keeps answers of one command for the next one and
gives up on lines that real servers send (a tagged OK without text, a line of more than 1 MB). FETCH answers without
anything nested are read here, too: imapclient goes through them character by character, which is eight times the work.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from imapclient.response_parser import parse_fetch_response, parse_response

Source = bytes | tuple[bytes, bytes]
"""Part of a response: plain text, or text that ends in a literal's {size} together with the literal."""

STATUS_NAMES = frozenset({b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"})

_LITERAL = re.compile(rb"~?\{(\d+)\+?\}$")
_CODE = re.compile(rb"\s*\[([A-Za-z0-9=_\-/.]+)(?: ([^\]]*))?\]")
_UID = re.compile(rb"[( ]UID (\d+)", re.IGNORECASE)
_QUOTABLE = re.compile(rb"[\x20-\x7e]*\Z")
_ATOM = re.compile(rb"[A-Za-z0-9$\\_.+:,*<>=/\-]+\Z")
_ITEM_NAME = rb" ?([A-Za-z0-9.-]+(?:\[[A-Za-z0-9.() -]*\])?(?:<\d+>)?) "
_WORD = rb"[\\A-Za-z0-9$_.,:;=+/@#&!-]+"
_ITEM = re.compile(
    _ITEM_NAME + rb"(?:(%b)|\(((?:%b(?: %b)*)?)\)|\"([^\"\\\r\n]*)\")(?=[ )])" % (_WORD, _WORD, _WORD)
)
_LITERAL_ITEM = re.compile(_ITEM_NAME + rb"~?\{\d+\+?\}\Z")
_NESTED = frozenset({b"BODY", b"BODYSTRUCTURE", b"ENVELOPE"})
_DATE = re.compile(
    rb"([ 0-3]\d)-([A-Z][a-z]{2})-([1-9]\d{3}) (\d\d):(\d\d):(\d\d) ((?:\+|-(?!0000))[01]\d[0-5]\d)\Z"
)
_MONTHS = {
    name: number
    for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1)
}


class Literal(bytes):
    """An argument that must travel as a literal."""


@dataclass(frozen=True, slots=True)
class Code:
    """A response code: [COPYUID 1 2 3] is Code(b"COPYUID", b"1 2 3")."""

    name: bytes  # upper case
    arguments: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """One untagged response. `* 3 FETCH (...)` has number 3 and name FETCH."""

    name: bytes  # upper case
    number: int | None
    sources: tuple[Source, ...]  # what follows the name

    @property
    def text(self) -> bytes:
        """The first piece of plain text."""
        first = self.sources[0] if self.sources else b""
        return first[0] if isinstance(first, tuple) else first

    @property
    def size(self) -> int:
        """About the bytes it takes in memory."""
        return 200 + sum(
            len(source[0]) + len(source[1]) if isinstance(source, tuple) else len(source)
            for source in self.sources
        )


@dataclass(slots=True)
class Reply:
    """All that one command brought back."""

    status: bytes  # OK, NO, BAD
    text: bytes
    responses: list[Response] = field(default_factory=list)

    def codes(self) -> Iterator[Code]:
        """Response codes of the untagged status lines, then of the tagged one (servers put COPYUID in

        either).
        """
        for response in self.responses:
            if response.name in STATUS_NAMES:
                code = response_code(response.text)
                if code:
                    yield code
        code = response_code(self.text)
        if code:
            yield code

    def code(self, name: bytes) -> Code | None:
        """The last response code of that name."""
        found = None
        for code in self.codes():
            if code.name == name:
                found = code
        return found

    def named(self, name: bytes) -> list[Response]:
        return [response for response in self.responses if response.name == name]


@dataclass(frozen=True, slots=True)
class CopyUid:
    """Proof of a copy or move (RFC 4315): which UID became which."""

    uid_validity: int
    pairs: tuple[tuple[int, int], ...]  # (source UID, target UID)


def literal_size(line: bytes) -> int | None:
    """Bytes of the literal that follows this line, if it ends in one."""
    match = _LITERAL.search(line)
    return int(match.group(1)) if match else None


def response_code(text: bytes) -> Code | None:
    match = _CODE.match(text)
    return Code(match.group(1).upper(), match.group(2) or b"") if match else None


def split_response(line: bytes) -> tuple[int | None, bytes, bytes]:
    """`3 FETCH (..` -> (3, FETCH, `(..`); `OK text` -> (None, OK, `text`).

    The leading `* ` is already off.
    """
    head, _, rest = line.partition(b" ")
    if head.isdigit():
        name, _, rest = rest.partition(b" ")
        return int(head), name.upper(), rest
    return None, head.upper(), rest


def quote(value: bytes) -> bytes:
    """A string argument: quoted where that is allowed, a literal where it is not."""
    if _QUOTABLE.match(value):
        return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return Literal(value)


def is_atom(value: bytes) -> bool:
    """May travel without quotes."""
    return bool(_ATOM.match(value))


def number_set(numbers: Iterable[int]) -> bytes:
    """1,2,3,7 -> b"1:3,7". Ascending; duplicates fall away."""
    pieces: list[bytes] = []
    start = end = -1
    for number in sorted(set(numbers)):
        if number == end + 1 and start >= 0:
            end = number
            continue
        if start >= 0:
            pieces.append(_run(start, end))
        start = end = number
    if start >= 0:
        pieces.append(_run(start, end))
    return b",".join(pieces)


def _run(start: int, end: int) -> bytes:
    return b"%d" % start if start == end else b"%d:%d" % (start, end)


def expand(numbers: bytes, limit: int = 5_000_000) -> list[int]:
    """b"1:3,7" -> [1, 2, 3, 7], in the order given. ValueError on anything else, and on more than `limit`."""
    out: list[int] = []
    for piece in numbers.split(b","):
        first, colon, last = piece.partition(b":")
        start = int(first)
        end = int(last) if colon else start
        if abs(end - start) + len(out) >= limit:
            raise ValueError("number set too large")
        out.extend(range(start, end + 1) if end >= start else range(end, start + 1))
    return out


def ranges(numbers: bytes) -> list[tuple[int, int]]:
    """b"1:3,7,12:10" -> [(1, 3), (7, 7), (10, 12)]: not one by one, as a set may span millions that never were.

    ValueError on anything else.
    """
    out: list[tuple[int, int]] = []
    for piece in numbers.split(b","):
        first, colon, last = piece.partition(b":")
        start = int(first)
        end = int(last) if colon else start
        out.append((min(start, end), max(start, end)))
    return out


def done_down_to(reply: Reply) -> int | None:
    """Where a server answered only in part (RFC 9738: from the newest mail downwards): the lowest UID it looked at; 0 if it
    does not say which. None: the answer is whole.
    """
    code = reply.code(b"MESSAGELIMIT")
    if code is None or reply.status != b"OK":
        return None
    words = code.arguments.split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def below(numbers: bytes, limit: int) -> bytes:
    """What of a set ("3:*", "1:5,9") lies below a number; b"" if nothing does. ValueError on what is no set."""
    out: list[bytes] = []
    for piece in numbers.split(b","):
        first, _, last = piece.partition(b":")
        start, end = int(first), limit if last == b"*" else int(last or first)
        start, end = min(start, end), min(max(start, end), limit - 1)
        if start <= end:
            out.append(_run(start, end))
    return b",".join(out)


def vanished(reply: Reply) -> list[tuple[int, int]]:
    """What VANISHED responses name (RFC 7162), as ranges; EARLIER or not. ValueError on a malformed one."""
    out: list[tuple[int, int]] = []
    for response in reply.named(b"VANISHED"):
        text = response.text.strip()
        out += ranges(text.rpartition(b" ")[2] if text[:1] == b"(" else text)
    return out


def copyuid(reply: Reply) -> CopyUid | None:
    """The reply's COPYUID; None where the server sent none or an unequal one. Several are joined."""
    validity = 0
    pairs: list[tuple[int, int]] = []
    for code in reply.codes():
        if code.name != b"COPYUID":
            continue
        try:
            uid_validity, source, target = code.arguments.split()
            sources, targets = expand(source), expand(target)
            if len(sources) != len(targets):
                continue
            validity = int(uid_validity)
        except ValueError:
            continue
        pairs.extend(zip(sources, targets, strict=True))
    return CopyUid(validity, tuple(dict.fromkeys(pairs))) if pairs else None


def search_result(reply: Reply) -> list[int]:
    """UIDs of a SEARCH or ESEARCH reply, ascending."""
    found: set[int] = set()
    for response in reply.responses:
        if response.name == b"ESEARCH":
            match = re.search(rb"\bALL ([0-9:,]+)", response.text)
            if match:
                found.update(expand(match.group(1)))
        elif response.name == b"SEARCH":
            text = response.text.partition(b"(")[0]  # a MODSEQ may follow
            found.update(int(word) for word in text.split() if word.isdigit())
    return sorted(found)


def parse_values(sources: Sequence[Source]) -> tuple[Any, ...]:
    """The values of a response (nested tuples, bytes, ints, None). Raises what imapclient raises."""
    return tuple(parse_response(list(sources)))


def fetch_attributes(response: Response) -> dict[bytes, Any] | None:
    """Attributes of one FETCH response with its UID under b"UID"; None where it has no UID.

    A FETCH without UID is an unsolicited one that speaks of a sequence number: it must not be taken for the
    mail that was asked for. Raises whatever imapclient raises on a malformed one.
    """
    attributes = _plain_attributes(response)
    if attributes is not None:
        return attributes if b"UID" in attributes else None
    first, *others = response.sources or (b"",)
    number = b"%d " % (response.number or 0)
    head: Source = (number + first[0], first[1]) if isinstance(first, tuple) else number + first
    parsed = parse_fetch_response([_plain_literal(head), *map(_plain_literal, others)], False, False)
    for found in parsed.values():
        return dict(found) if b"UID" in found else None
    return None


def _plain_attributes(response: Response) -> dict[bytes, Any] | None:
    """What imapclient would say of a FETCH response in which nothing is nested, escaped or odd; None: ask it."""
    attributes: dict[bytes, Any] = {b"SEQ": response.number or 0}
    place, closed = 1, False
    for source in response.sources:
        text, literal = source if isinstance(source, tuple) else (source, None)
        if closed or (place and text[:1] != b"("):
            return None
        while (item := _ITEM.match(text, place)) is not None:
            name, word, words, quoted = item.groups()
            name = name.upper()
            value: Any
            if name in _NESTED:
                return None
            if word is not None:
                value = _word(word)
            elif words is not None:
                value = _list(words)
            else:
                value = quoted
            if (name == b"INTERNALDATE" and (value := _date(value)) is None) or (
                name == b"UID" and type(value) is not int
            ):
                return None
            attributes[name] = value
            place = item.end()
        if literal is None:
            if text[place:] != b")":
                return None
            closed = True
        else:
            last = _LITERAL_ITEM.match(text, place)
            if (
                last is None
                or (name := last.group(1).upper()) in _NESTED
                or name in (b"UID", b"INTERNALDATE")
            ):
                return None
            attributes[name] = literal
            place = 0
    return attributes if closed else None


def _word(word: bytes) -> bytes | int | None:
    if word.isdigit() and (word[:1] != b"0" or len(word) == 1):
        return int(word)
    return None if word == b"NIL" else word


@functools.lru_cache(maxsize=256)  # the same few flags on all mail
def _list(words: bytes) -> tuple[bytes | int | None, ...]:
    return tuple(map(_word, words.split()))


def _date(value: object) -> datetime.datetime | None:
    found = _DATE.match(value) if isinstance(value, bytes) else None
    if found is None:
        return None
    day, month, year, hour, minute, second, zone = found.groups()
    try:
        return datetime.datetime(
            int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second), tzinfo=_zone(zone)
        )
    except (KeyError, ValueError):
        return None


@functools.lru_cache(maxsize=64)
def _zone(offset: bytes) -> datetime.timezone:
    minutes = int(offset[1:3]) * 60 + int(offset[3:5])
    return datetime.timezone(datetime.timedelta(minutes=-minutes if offset[:1] == b"-" else minutes))


def _plain_literal(source: Source) -> Source:
    """literal8 (~{5}) and {5+} as imapclient knows them: {5}."""
    if isinstance(source, bytes):
        return source
    text, literal = source
    return _LITERAL.sub(b"{%d}" % len(literal), text), literal


def claimed_uid(response: Response) -> int | None:
    """The UID a malformed FETCH response names, to know which mail must be left aside."""
    for source in response.sources:
        match = _UID.search(source[0] if isinstance(source, tuple) else source)
        if match:
            return int(match.group(1))
    return None
