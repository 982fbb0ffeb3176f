"""Bytes -> ParsedMessage, inside hard limits. Never raises, whatever the bytes.

Not the standard library's parser: that one recurses with the mail's nesting, has no limits and takes three times as
long. What a mail says here follows RFC 5322, 2045-2047, 2231 and 6532, read as generously as mail programs do.
Work is bounded by counters (bytes, parts, depth, header fields), never by a clock, so the same bytes always give the
same answer.
"""

from __future__ import annotations

import binascii
import codecs
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from spamd.message import charsets
from spamd.message.wordlists import listed


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a mail is read. Counts of bytes, parts, levels and fields."""

    bytes: int = 65_536  # head of the mail; the rest is never looked at
    depth: int = 16  # multipart and message/rfc822 levels
    parts: int = 100
    headers: int = 400  # fields per entity
    header_bytes: int = 16_384  # one field
    part_bytes: int = 262_144  # decoded, per part (base64 inside 64 KiB cannot reach it; bigger `bytes` can)


DEFAULT: Final = Limits()

# Verdicts of other filters: a stranger can write them too, and a model that reads them learns only to agree. RFC-less
# names, collected from the filters' own documentation (SpamAssassin, Exchange, rspamd, bogofilter, Proofpoint, ...).
_VERDICT_PREFIXES: Final = tuple(
    listed(
        """x-spam x-microsoft-antispam x-forefront x-rspamd x-bogosity x-spamexperts x-proofpoint
    x-ms-exchange-organization-scl x-ms-exchange-organization-pcl x-ms-exchange-organization-antispam
    x-ms-exchange-antispam x-ms-exchange-atpmessage x-ms-exchange-crosstenant-antispam x-sid-
    x-barracuda x-ironport-anti x-amp-result x-virus x-kaspersky x-kse x-klms x-mailscanner x-dspam
    x-crm114 x-policyd x-greylist x-junk x-sophos x-cloudmark x-cmae x-csa x-gmx-anti x-ui-filter
    x-ui-out-filter x-ui-junk x-spambayes x-spamprobe x-popfile x-text-classification x-pmx x-pyzor
    x-razor x-dcc x-hashcash-junk x-antispam x-anti-spam x-anti-virus x-antivirus x-avas x-asg
    x-eopattributed x-eoptenant x-mimecast-spam x-mimecast-bulk x-purgate x-ham-report x-ovh-spam
    x-vr-spam x-vade x-trend x-tm-as x-tmase x-fireeye x-fe- x-cisco x-mxpurifier x-nospam x-canit
    x-icsp x-rocket-spam x-yahoofilteredbulk x-ymailisg x-aol-scoll x-aol-ip x-mailfoundry x-postini
    x-pstn x-gm-spam x-gm-phishy x-brightmail x-bmi x-uidl-spam x-apple-mail-junk x-cf-spam
    x-mail-filter x-filter x-scanned x-quarantine x-msg-score x-msfbl-score x-spampal x-whitelist
    x-blacklist x-dnsbl x-rbl x-suspected x-esetresult x-esetid x-drweb x-nai-spam x-symantec x-assp
    x-mdspam x-mdav x-zoho-virus x-wum x-old-spam x-pmas spamdiagnostic x-bitdefender x-feas x-ctch
    x-cm-score x-cm-analysis x-cnfs-analysis x-authority-analysis x-vr-score xscore xscanned x_cmae
    x-mailgun-sflag x-mailgun-sscore x-haraka-karma x-halon x-imss x-sasi x-threatscanner"""
    )
)
_VERDICT_WORDS: Final = ("spam", "virus", "mailscanner")
"""In the names that a server gives its filter's findings: X-RC-Spam, X-Example-MailScanner-SpamCheck."""
_VERDICT_NAMES: Final = listed(
    """x-mozilla-status x-mozilla-status2 x-mozilla-keys x-keywords x-status status x-uid x-imap x-imapbase
    x-evolution x-account-key x-uidl x-label x-gmail-labels x-incomingtopheadermarker
    x-incomingheadercount"""
)
# True but opaque: signatures and routing marks that differ in every mail and would fill the first 3,000 bytes.
_OPAQUE_PREFIXES: Final = (
    "dkim-signature",
    "domainkey-signature",
    "arc-",
    "x-google-",
    "x-gm-",
    "x-received",
    "x-ms-",
    "x-microsoft",
    "x-originator",
    "x-sg-",
    "x-ses-",
    "x-forwarded-encrypted",
    "x-me-",
    "feedback-id",
    "autocrypt",
    "openpgp",
    "face",
    "x-face",
)
_VERDICT, _OPAQUE, _TELLING = 0, 1, 2


@lru_cache(
    maxsize=1024
)  # a mailbox knows some hundred names; asking for a hundred prefixes takes longer than the field
def _use_of(written: str) -> tuple[str, int]:
    """A field's lower-case name, and whether it is another filter's verdict, opaque or telling."""
    name = written.lower()
    if (
        name in _VERDICT_NAMES
        or name.startswith(_VERDICT_PREFIXES)
        or any(word in name for word in _VERDICT_WORDS)
    ):
        return name, _VERDICT
    return name, _OPAQUE if name.startswith(_OPAQUE_PREFIXES) else _TELLING


@dataclass(frozen=True, slots=True)
class Part:
    """One leaf of the MIME tree."""

    kind: str  # "text/html"; lower case
    text: str | None = None  # decoded, for text that is shown; None for everything else
    charset: str = ""  # as declared, lower case
    encoding: str = ""  # content-transfer-encoding, lower case
    disposition: str = ""  # "attachment", "inline" or ""
    filename: str = ""
    content_id: str = ""
    size: int = 0  # encoded bytes
    depth: int = 0
    alternative: bool = False  # a member of multipart/alternative: shown only if nothing better follows
    nested: bool = False  # inside a message/rfc822


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """A mail, read. Header values are decoded and unfolded; names are lower case."""

    headers: tuple[tuple[str, str], ...] = ()
    parts: tuple[Part, ...] = ()
    containers: tuple[str, ...] = ()  # multipart kinds, outermost first
    defects: tuple[str, ...] = ()
    facts: frozenset[str] = (
        frozenset()
    )  # "tnef", "calendar", "bounce", "smime", "pgp", "nested-message", "uuencode"
    subject: str = ""
    sender: str = ""  # address, lower case
    sender_name: str = ""
    sender_clear: bool = False  # From is there once, and all servers read the same domain in it
    reply_to: str = ""
    to: str = ""
    date: str = ""
    message_id: str = ""  # without angle brackets
    list_id: str = ""
    size: int = 0  # bytes given, before clipping
    clean: bytes = b""  # first bytes without other filters' verdicts and opaque fields
    first: dict[str, str] = field(default_factory=dict, repr=False, compare=False)  # name -> topmost value

    def header(self, name: str, default: str = "") -> str:
        """The topmost field of that (lower-case) name."""
        return self.first.get(name, default)

    def all(self, name: str) -> tuple[str, ...]:
        """Every field of that (lower-case) name, topmost first."""
        return tuple(value for key, value in self.headers if key == name)

    @property
    def plain(self) -> str:
        """Plain-text parts of the mail, joined."""
        return "\n".join(part.text for part in self.parts if part.text and part.kind != "text/html")

    @property
    def html(self) -> str:
        """HTML parts of the mail, joined."""
        return "\n".join(part.text for part in self.parts if part.text and part.kind == "text/html")

    @property
    def attachments(self) -> tuple[Part, ...]:
        """Parts that are not shown as text and are no picture inside the HTML."""
        return tuple(part for part in self.parts if part.text is None)


_PLAIN_FIELD: Final = re.compile(r"([!-9;-~]++)([ \t]*+:[ \t]*+)([^\n]*+(?:\n[ \t][^\n]*+)*+)\n")
_FIELD: Final = re.compile(rb"([!-9;-~]+)[ \t]*:[ \t]*([^\n]*(?:\n[ \t][^\n]*)*)(?:\n|$)")
_MBOX_LINE: Final = re.compile(rb">?From (?![ \t]*:)")
_CLEAN_BYTES: Final = 3_000
_Field = tuple[str, str | bytes, int, int]


class _Reader:
    """State of one reading: what was found and how much work is left."""

    __slots__ = ("containers", "defects", "facts", "limits", "parts", "visits")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.parts: list[Part] = []
        self.containers: list[str] = []
        self.defects: list[str] = []
        self.facts: set[str] = set()
        self.visits = 0  # entities opened, leaves or not

    def defect(self, what: str) -> None:
        if what not in self.defects:
            self.defects.append(what)

    def open(self, data: bytes) -> tuple[list[_Field], bytes, bytes]:
        """Fields, header block and body of an entity."""
        end = data.find(b"\n\n") + 1
        if end and (fields := self._plain_fields(data[:end])) is not None:
            return fields, data[:end], data[end + 1 :]
        head, body = _split(data)
        return self.fields(head), head, body

    def _plain_fields(self, block: bytes) -> list[_Field] | None:
        """The same as fields() for a block that is ASCII and in order, as in most mail; else None.

        Then one step of the pattern finds all fields, nothing needs decoding, and _split would part the mail here:
        matches stand apart, so there is nothing between them if they make up the whole block.
        """
        if not block.isascii():
            return None
        out: list[_Field] = []
        start = longest = 0
        for name, mark, text in _PLAIN_FIELD.findall(block.decode("ascii")):
            size = len(text)
            if size > longest:
                longest = size
            end = start + len(name) + len(mark) + size + 1
            out.append((name, text, start, end))
            start = end
        limits = self.limits
        if start != len(block) or len(out) > limits.headers or longest > limits.header_bytes:
            return None
        return out

    def fields(self, block: bytes) -> list[_Field]:
        """Header fields as (name as written, raw value, start, end)."""
        out: list[_Field] = []
        expected = 0
        limit = self.limits.headers
        for match in _FIELD.finditer(block):
            start = match.start()
            if start != expected:
                # The pattern may have matched inside a line: only a line's beginning is a field.
                if start and block[start - 1] != 10:
                    continue
                self.defect("bad header line")
            expected = match.end()
            if len(out) >= limit:
                self.defect("too many headers")
                break
            value = match[2]
            if len(value) > self.limits.header_bytes:
                value = value[: self.limits.header_bytes]
                self.defect("long header")
            out.append((match[1].decode("ascii"), value, start, match.end()))
        else:
            if expected < len(block) and block[expected:].strip():
                self.defect("bad header line")
        return out

    def entity(self, data: bytes, depth: int, alternative: bool, nested: bool, default: str) -> None:
        """One MIME entity: its fields, then its body."""
        fields, _, body = self.open(data)
        found: dict[str, str] = {}
        for written, value, _, _ in fields:
            name = written.lower()
            if name.startswith("content-") and name not in found:
                found[name] = decode_header(value)
        self.body(found, body, depth, alternative, nested, default)

    def body(
        self, fields: dict[str, str], body: bytes, depth: int, alternative: bool, nested: bool, default: str
    ) -> None:
        self.visits += 1
        if len(self.parts) >= self.limits.parts or self.visits > 2 * self.limits.parts:
            self.defect("too many parts")
            return
        kind, parameters = content_type(fields.get("content-type", ""), default)
        encoding = _encoding(fields.get("content-transfer-encoding", ""))
        if kind.startswith("multipart/"):
            if depth >= self.limits.depth:
                self.defect("nested too deep")
                return
            if boundary := parameters.get("boundary", ""):
                self.containers.append(kind)
                self._multipart(kind, boundary, body, depth, nested)
                return
            self.defect("no boundary")
            kind = "text/plain"
        if kind == "message/rfc822" or kind == "message/global":
            self.facts.add("nested-message")
            if depth >= self.limits.depth:
                self.defect("nested too deep")
                return
            inner = _transfer_decode(body, encoding, self)[: self.limits.part_bytes]
            self.entity(inner.lstrip(b"\n"), depth + 1, False, True, "text/plain")
            return
        disposition, more = _with_parameters(fields.get("content-disposition", ""))
        filename = more.get("filename") or parameters.get("name", "")
        if kind.startswith("message/") and kind not in (
            "message/delivery-status",
            "message/disposition-notification",
        ):
            self.facts.add(kind)
        text: str | None = None
        charset = parameters.get("charset", "").strip().lower()
        lowered = filename.lower()
        if kind in ("application/ms-tnef", "application/vnd.ms-tnef") or lowered == "winmail.dat":
            self.facts.add("tnef")
        elif kind in ("text/calendar", "application/ics") or lowered.endswith(".ics"):
            self.facts.add("calendar")
        elif kind in ("application/pkcs7-signature", "application/x-pkcs7-signature") or lowered.endswith(
            ".p7s"
        ):
            self.facts.add("smime-signature")
        elif kind in ("application/pkcs7-mime", "application/x-pkcs7-mime") or lowered.endswith(".p7m"):
            self.facts.add("smime")
        elif kind == "application/pgp-signature":
            self.facts.add("pgp-signature")
        elif kind == "application/pgp-encrypted":
            self.facts.add("pgp")
        elif kind in ("message/delivery-status", "text/rfc822-headers"):
            self.facts.add("bounce")
        elif kind == "message/disposition-notification":
            self.facts.add("receipt")
        shown = disposition != "attachment" and (
            kind in _SHOWN
            or (kind == "text/calendar" and not self.parts)
            # RFC 2046, 4.1.4: a subtype that is not known is shown as plain text. As a part it may be a file.
            or (depth == 0 and kind.startswith("text/") and kind not in _TEXT_NOT_SHOWN)
        )
        if shown or (kind.startswith("message/") and disposition != "attachment"):
            data = _transfer_decode(body, encoding, self)
            if len(data) > self.limits.part_bytes:
                data = data[: self.limits.part_bytes]
                self.defect("part cut")
            text, known = charsets.decode(data, charset, is_html=kind == "text/html")
            if not known:
                self.defect("bad charset")
            if kind == "text/calendar":
                text = _calendar_text(text)
            elif kind != "text/html":
                if "begin" in text and (end := _uuencoded(text)) >= 0:
                    self.facts.add("uuencode")
                    text = text[:end]
                if "BEGIN" in text and "-----BEGIN PGP " in text:  # five letters are found faster than more
                    self.facts.add("pgp" if "-----BEGIN PGP MESSAGE" in text else "pgp-signature")
        self.parts.append(
            Part(
                kind=kind,
                text=text,
                charset=charset,
                encoding=encoding,
                disposition=disposition,
                filename=filename,
                content_id=fields.get("content-id", "").strip(" <>"),
                size=len(body),
                depth=depth,
                alternative=alternative,
                nested=nested,
            )
        )

    def _multipart(self, kind: str, boundary: str, body: bytes, depth: int, nested: bool) -> None:
        if kind == "multipart/report":
            self.facts.add("bounce")
        elif kind == "multipart/encrypted":
            self.facts.add("pgp")
        default = "message/rfc822" if kind == "multipart/digest" else "text/plain"
        alternative = kind == "multipart/alternative"
        mark = b"--" + boundary.encode("utf-8", "surrogateescape").rstrip()
        width = len(mark)
        begin = -1
        at = 0 if body.startswith(mark) else body.find(b"\n" + mark) + 1 or -1
        closed = False
        seen = 0
        while at >= 0:
            line_end = body.find(b"\n", at)
            if line_end < 0:
                line_end = len(body)
            rest = body[at + width : min(line_end, at + width + 80)].rstrip()
            if rest in (b"", b"--"):
                if begin >= 0:
                    seen += 1
                    self.entity(body[begin : max(begin, at - 1)], depth + 1, alternative, nested, default)
                if rest:
                    closed = True
                    begin = -1
                    break
                begin = line_end + 1
                if len(self.parts) >= self.limits.parts:
                    self.defect("too many parts")
                    return
            found = body.find(b"\n" + mark, max(line_end - 1, at + width))
            at = found + 1 if found >= 0 else -1
        if begin >= 0 and begin <= len(body):
            seen += 1
            self.entity(body[begin:], depth + 1, alternative, nested, default)
        if not closed:
            self.defect("unclosed multipart")
        if not seen:
            # The boundary never comes: mail programs show the body as text, so spammers use it.
            self.defect("empty multipart")
            if body.strip():
                text, _ = charsets.decode(body[: self.limits.part_bytes], "", is_html=False)
                sort = (
                    "text/html"
                    if "<html" in text[:2000].lower() or "<body" in text[:2000].lower()
                    else "text/plain"
                )
                self.parts.append(Part(kind=sort, text=text, size=len(body), depth=depth, nested=nested))


_SHOWN: Final = frozenset(
    {"text/plain", "text/html", "text/enriched", "text/richtext", "text/markdown", "text/x-amp-html"}
) - {"text/x-amp-html"}
_TEXT_NOT_SHOWN: Final = frozenset({"text/calendar", "text/rfc822-headers", "text/x-amp-html"})
_UUENCODED: Final = re.compile(r"^begin [0-7]{3,4} [^\n]{1,200}\n(?=M)", re.M)


def _uuencoded(text: str) -> int:
    """Where a uuencoded file begins, -1 where none does. Searched for, the pattern would try each line."""
    at = text.find("begin ")
    while at >= 0 and not _UUENCODED.match(text, at):
        at = text.find("begin ", at + 6)
    return at


_CALENDAR: Final = re.compile(r"^(?:SUMMARY|DESCRIPTION|LOCATION|URL)[^:\n]{0,200}:([^\n]*)", re.M)


def _calendar_text(text: str) -> str:
    """What an invitation says: RFC 5545 folded lines joined, escapes undone."""
    unfolded = text.replace("\n ", "").replace("\n\t", "")
    said = "\n".join(_CALENDAR.findall(unfolded))
    return said.replace("\\n", "\n").replace("\\,", ",").replace("\\;", ";")


_FIELDS: Final = re.compile(rb"(?:[!-9;-~]+[ \t]*:[^\n]*(?:\n|$)(?:[ \t][^\n]*(?:\n|$))*)+")
_MAX_BAD_LINES: Final = 20


def _with_newlines(data: bytes) -> bytes:
    """Every line end as one newline. To take all carriage returns out is twice as fast as to replace pairs, and
    the same where each stands before a newline."""
    raw = np.frombuffer(data, np.uint8)
    alone = (raw[:-1] == 13) > (raw[1:] == 10)
    if alone.any() or data[-1] == 13:
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data.translate(None, b"\r")


def _split(data: bytes) -> tuple[bytes, bytes]:
    """Header block and body, parted at the first empty line, or where the fields end without one.

    A bad line between fields is stepped over; a line that is no field and is not followed by one begins the body.
    """
    if data.startswith(b"\n"):
        return b"", data[1:]
    end = 0
    for _ in range(_MAX_BAD_LINES):
        if run := _FIELDS.match(data, end):
            end = run.end()
        if end >= len(data):
            return data, b""
        if data[end] == 10:
            return data[:end], data[end + 1 :]
        line_end = data.find(b"\n", end) + 1
        if not line_end or not _FIELDS.match(data, line_end):
            break
        if not end and not run:
            break  # no field before it: text with a colon somewhere
        end = line_end
    return data[:end], data[end:]


_NOT_BASE64: Final = bytes(
    sorted(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
)


def _encoding(value: str) -> str:
    """The name in a Content-Transfer-Encoding: mail programs read over quotes, comments and parameters beside it."""
    value = value.strip().lower()
    if value in ("7bit", "8bit", "quoted-printable", "base64", ""):
        return value
    found = _ENCODING.search(value)
    return found[0] if found else value


_ENCODING: Final = re.compile(r"[a-z0-9][a-z0-9-]*")


def _transfer_decode(body: bytes, encoding: str, reader: _Reader | None) -> bytes:
    """Undo base64 and quoted-printable, taking what can be taken of damaged data."""
    if encoding == "quoted-printable":
        return binascii.a2b_qp(body)
    if encoding == "base64":
        # Cut to whole groups after dropping foreign bytes: a clipped mail ends anywhere.
        kept = body.partition(b"=")[0].translate(None, _NOT_BASE64) if b"=" in body[:-80] else b""
        kept = kept or body.translate(None, _NOT_BASE64)
        over = len(kept) % 4
        if over == 1:
            kept = kept[:-1]
            if reader:
                reader.defect("bad base64")
        elif over:
            kept += b"=" * (4 - over)
        try:
            return binascii.a2b_base64(kept)
        except binascii.Error:
            if reader:
                reader.defect("bad base64")
            return b""
    if reader and encoding not in ("", "7bit", "8bit", "binary"):
        reader.defect("unknown encoding")
    return body


_PARAMETER: Final = re.compile(r';\s*([A-Za-z0-9_.!#$&^*+%-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)')
_MAX_PARAMETERS: Final = 30


def _with_parameters(value: str) -> tuple[str, dict[str, str]]:
    """A structured field: its lower-case value and parameters, RFC 2231 continuations and charsets resolved."""
    head, semicolon, _ = value.partition(";")
    if not semicolon:
        return head.strip().lower(), {}
    plain: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[str, bool]]] = {}
    for count, match in enumerate(_PARAMETER.finditer(value[:2048])):
        if count >= _MAX_PARAMETERS:
            break
        name, text = match[1].lower(), match[2].strip()
        if len(text) > 1 and text[0] == '"' == text[-1]:
            text = text[1:-1]
            if "\\" in text:
                text = re.sub(r"\\(.)", r"\1", text)
        elif text[:1] == '"':
            text = text[1:]
        if "*" in name:
            name, _, order = name.partition("*")
            encoded = order.endswith("*") or order == ""
            number = order.rstrip("*")
            pieces.setdefault(name, {})[
                int(number) if number.isascii() and number.isdigit() and len(number) < 4 else 0
            ] = (
                text,
                encoded,
            )
        else:
            plain.setdefault(name, text)
    for name, numbered in pieces.items():
        joined = bytearray()
        charset = ""
        for position, (number, (text, encoded)) in enumerate(sorted(numbered.items())):
            if encoded:
                if position == 0 and number == 0 and text.count("'") >= 2:
                    charset, _, text = text.split("'", 2)
                joined += _percent_decode(text)
            else:
                joined += text.encode("utf-8", "surrogateescape")
        plain[name] = charsets.decode(bytes(joined), charset.lower(), is_html=False)[0]
    return head.strip().lower(), plain


def _percent_decode(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    if b"%" not in raw:
        return raw
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes((int(match[1], 16),)), raw)


@lru_cache(maxsize=256)
def _content_type(value: str, default: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    kind, parameters = _with_parameters(value)
    if " " in kind or "(" in kind:
        kind = re.split(r"[ (]", kind, maxsplit=1)[0]  # a comment, or a forgotten semicolon
    if not 0 < kind.find("/") < len(kind) - 1 or len(kind) > 100:
        kind = {"text": "text/plain", "html": "text/html", "multipart": "multipart/mixed"}.get(kind, default)
    if boundary := parameters.get("boundary", ""):
        parameters["boundary"] = decode_words(boundary)[:200]
    if "name" in parameters:
        parameters["name"] = decode_words(parameters["name"])
    return kind, tuple(parameters.items())


def content_type(value: str, default: str = "text/plain") -> tuple[str, dict[str, str]]:
    """Kind and parameters of a Content-Type field."""
    kind, parameters = (
        _content_type(value, default) if len(value) < 200 else _content_type.__wrapped__(value, default)
    )
    return kind, dict(parameters)


_WORD: Final = re.compile(
    r"=\?([A-Za-z0-9!#$%&'+./^`{|}~_-]{1,60})(?:\*[A-Za-z0-9-]{0,20})?\?([bBqQ])\?([^?\n]*)\?="
)
_BETWEEN_WORDS: Final = re.compile(r"\?=[ \t\n]+(?==\?)")


def decode_words(text: str) -> str:
    """RFC 2047 encoded words, once. Neighbours of one charset are joined before they are decoded: many programs cut
    a character in two."""
    if "=?" not in text:
        return text
    text = _BETWEEN_WORDS.sub("?=", text)
    out: list[str] = []
    at = 0
    pending = bytearray()
    charset = ""

    def flush() -> None:
        if pending:
            out.append(charsets.decode(bytes(pending), charset, is_html=False)[0])
            pending.clear()

    for match in _WORD.finditer(text):
        if match.start() > at:
            flush()
            out.append(text[at : match.start()])
        name = match[1].lower()
        if name != charset:
            flush()
            charset = name
        raw = match[3].encode("utf-8", "surrogateescape")
        if match[2] in "bB":
            pending += _transfer_decode(raw, "base64", None)
        else:
            pending += binascii.a2b_qp(raw, header=True)
        at = match.end()
    flush()
    out.append(text[at:])
    return "".join(out)


_FOLD: Final = re.compile(r"\n[ \t]+")


_TRACE: Final = frozenset({"received", "authentication-results"})
"""No encoded words there (RFC 2047, 5): a HELO or an envelope that reads as one would be decoded into the server's own words.
But Microsoft encodes all of its field, from the first letter on, where the domain in From is not ASCII."""


_FOREIGN_SPACE: Final = re.compile(r"[^\S \t\n]")
"""A HELO of "x<U+2028>by<U+2028>google.com" is one word to its server."""


def decode_header(value: bytes | str, *, words: bool = True) -> str:
    """A header value: unfolded, decoded (RFC 6532 UTF-8, RFC 2047 words, else guessed), no line breaks left."""
    text = _unfolded(value)
    if "=?" in text and (words or text.lstrip().startswith("=?")):
        text = decode_words(text)
    if not text.isprintable():
        text = (text if words else _FOREIGN_SPACE.sub("?", text)).translate(_NO_BREAKS)
    return text.strip()


def _unfolded(value: bytes | str) -> str:
    if isinstance(value, str):
        text = value
    else:
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            text = charsets.guess(value)
    return _FOLD.sub(" ", text) if "\n" in text else text


_NO_BREAKS: Final = {0: None, 9: " ", 10: " ", 11: " ", 12: " ", 13: " ", 0x85: " ", 0x2028: " ", 0x2029: " "}
_ANGLE: Final = re.compile(r"<([^<>]*)>")
_BARE: Final = re.compile(r"[^\s<>,;:\"()\[\]]{1,120}@[^\s<>,;:\"()\[\]]{1,255}")


_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMMENT: Final = re.compile(r"\((?:[^()\\]|\\.)*\)")


class Mailbox(NamedTuple):
    """Of a From-like field. clear: it names one domain only, and in a place where every server reads it."""

    name: str = ""
    address: str = ""  # lower case
    clear: bool = False


def address(value: str) -> Mailbox:
    """Display name and address of a From-like field, unfolded, encoded words not decoded. Not a full RFC 5322 reader: what a
    person would see. But quoted text, comments and encoded words hold no address: `x@evil (<info@bank>)` is mail of
    evil's, and a server that vouches for it vouches for evil.
    """
    value = value[:2000]
    masked = _masked(value)
    name, found = _mailbox(value, masked)
    clear = bool(found)
    if not found:
        # Nothing that a server would read as an address.
        text = decode_header(value)
        name, found = _mailbox(text, text)
        masked = text
    local, at, domain = found.rpartition("@")
    found = f"{decode_header(local)}@{domain}" if at else found
    domains = {bare.rpartition("@")[2].lower() for bare in _BARE.findall(masked)}
    name = decode_header(name)
    if len(name) > 1 and name[0] == '"' == name[-1]:
        name = name[1:-1].replace('\\"', '"')
    return Mailbox(name.strip(" \t\"'"), found.lower(), clear and len(domains) < 2)


def _mailbox(value: str, masked: str) -> tuple[str, str]:
    """Name as written and address, of the last of several; places are looked for in the masked value."""
    if angles := list(_ANGLE.finditer(masked)):
        found = value[angles[-1].start(1) : angles[-1].end(1)].strip()
        name = value[: angles[-1].start()]
        if not name.strip() or (found and "@" not in found):
            # "<a@b> Name", "<Name> a@b"
            bare = _BARE.search(masked)
            found = value[bare.start() : bare.end()] if "@" not in found and bare else found
        return name, found
    bare = _BARE.search(masked)
    if not bare:
        return value.strip(' "'), ""
    name = value[: bare.start()]
    if not name.strip() and (comment := re.search(r"\(([^()]*)\)", value[bare.end() :])):
        name = comment[1]
    return name, value[bare.start() : bare.end()]


def _masked(value: str) -> str:
    """With quoted text and comments made harmless, at the same length."""
    if '"' not in value:
        for _ in range(4):  # comments hold comments
            if "(" not in value:
                break
            value = _COMMENT.sub(_blank, value)
        return value
    if "(" not in value:
        return _QUOTED.sub(_filled, value)
    # Both: each may hold what looks like the other.
    out: list[str] = []
    depth, quoted, escaped = 0, False, False
    for one in value:
        kept = one
        if quoted or depth:
            kept = " " if depth else '"'
        if escaped:
            escaped = False
        elif one == "\\" and (quoted or depth):
            escaped = True
        elif quoted:
            quoted = one != '"'
        elif one == "(":
            depth, kept = depth + 1, " "
        elif one == ")" and depth:
            depth -= 1
        elif one == '"' and not depth:
            quoted = True
        out.append(kept)
    return value if quoted or depth else "".join(out)


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])


def _filled(found: re.Match[str]) -> str:
    return '"' * len(found[0])


def parse(raw: bytes, *, limits: Limits = DEFAULT) -> ParsedMessage:
    """Read a mail (its first `limits.bytes`). Never raises; what was wrong with it is in `.defects`."""
    reader = _Reader(limits)
    data = bytes(raw[: limits.bytes])
    if len(raw) > limits.bytes:
        reader.defect("cut")
    if b"\r" in data:
        data = _with_newlines(data)
    if _MBOX_LINE.match(data):
        data = data.partition(b"\n")[2]
    if data.startswith((b"\n", codecs.BOM_UTF8)):
        stripped = data.removeprefix(codecs.BOM_UTF8).lstrip(b"\n")
        reader.defect("leading blank lines")
        data = stripped if _FIELD.match(stripped[:200]) else b"\n" + stripped
    fields, head, body = reader.open(data)
    headers: list[tuple[str, str]] = []
    first: dict[str, str] = {}
    kept: list[bytes] = []
    room = _CLEAN_BYTES
    written_from = ""  # where it differs from the text
    for written, value, start, end in fields:
        name, use = _use_of(written) if len(written) < 80 else _use_of.__wrapped__(written)
        if use == _VERDICT:
            continue
        if value.__class__ is str and value.isprintable() and "=?" not in value:
            text = value.strip()
        else:
            text = decode_header(value, words=name not in _TRACE)
            if name == "from" and name not in first:
                written_from = _unfolded(value)
        headers.append((name, text))
        if name not in first:
            first[name] = text
        elif name == "authentication-results":
            continue
        elif name in _SINGLE:
            reader.defect("repeated " + name)
        if room > 0 and use == _TELLING:
            kept.append(head[start:end])
            room -= end - start
    clean = b"".join(kept)[:_CLEAN_BYTES]
    if len(clean) < _CLEAN_BYTES:
        clean = clean + b"\n" + body[: _CLEAN_BYTES - len(clean)]
    if not headers:
        reader.defect("no headers")
    reader.body(first, body, 0, False, False, "text/plain")
    if first.get("x-ms-tnef-correlator"):
        reader.facts.add("tnef-correlator")
    sender = address(written_from or first.get("from", ""))
    return ParsedMessage(
        headers=tuple(headers),
        parts=tuple(reader.parts),
        containers=tuple(reader.containers),
        defects=tuple(reader.defects),
        facts=frozenset(reader.facts),
        subject=first.get("subject", ""),
        sender=sender.address,
        sender_name=sender.name,
        sender_clear=sender.clear and "repeated from" not in reader.defects,
        reply_to=address(first["reply-to"]).address if "reply-to" in first else "",
        to=first.get("to", ""),
        date=first.get("date", ""),
        message_id=first.get("message-id", "").strip(" <>"),
        list_id=first.get("list-id", ""),
        size=len(raw),
        clean=clean,
        first=first,
    )


_SINGLE: Final = frozenset(
    ["from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to", "references"]
)
