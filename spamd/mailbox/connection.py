"""One signed-in connection to an IMAP server.

imapclient connects, encrypts and parses; commands and answers are sent and read here, one at a time, so
that nothing of one answer is left over for the next (see protocol.py). Every error is a MailboxError. A
connection belongs to one thread, and is finished after the first ConnectionLost.
"""

from __future__ import annotations

import base64
import bisect
import contextlib
import functools
import ipaddress
import re
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import imapclient
from imapclient import SocketTimeout

import spamd
from spamd.domain import Account, AuthMethod, TlsMode
from spamd.errors import (
    ConfigError,
    ConnectionLost,
    MailboxError,
    PasswordsRefused,
    ProtocolFault,
    ServerBusy,
    SignInError,
)
from spamd.mailbox import quirks
from spamd.mailbox.border import (
    APP_PASSWORD_HINT,
    PASSWORD_HINT,
    TOKEN_HINT,
    border,
    convert,
    plain,
    refused,
)
from spamd.mailbox.deflate import Deflate
from spamd.mailbox.protocol import (
    STATUS_NAMES,
    CopyUid,
    Literal,
    Reply,
    Response,
    Source,
    below,
    claimed_uid,
    copyuid,
    done_down_to,
    fetch_attributes,
    is_atom,
    literal_size,
    number_set,
    parse_values,
    quote,
    response_code,
    search_result,
    split_response,
    vanished,
)
from spamd.mailbox.quirks import Quirk

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
LINE_LIMIT = 32 << 20  # bytes; a SEARCH of two million UIDs is 16 MB
LITERAL_LIMIT = 64 << 20  # bytes; we never ask for more than this
ANSWER_LIMIT = 256 << 20  # bytes of memory for one answer; the flags of a million mails fit
_SHOWS_NEWS = frozenset({"SELECT", "EXAMINE", "NOOP"})
_READS_ONLY = frozenset({"UID FETCH", "UID SEARCH"})  # of the open folder: they leave it as it was seen
DEFAULT_PORTS = {TlsMode.IMPLICIT: 993, TlsMode.STARTTLS: 143, TlsMode.NONE: 143}


class TokenSource(Protocol):
    """Gives an OAuth access token. fresh: the last one was refused, so ask for a new one."""

    def __call__(self, *, fresh: bool) -> str: ...


Credential = str | TokenSource


@dataclass(frozen=True, slots=True)
class Selected:
    """The folder that is open on a connection."""

    raw: bytes
    uid_validity: int
    uid_next: int  # 0 where the server does not say
    exists: int
    highest_modseq: int | None
    read_only: bool
    permanent_flags: frozenset[str] | None  # None: the server did not say

    @property
    def keeps_keywords(self) -> bool:
        return self.permanent_flags is None or "\\*" in self.permanent_flags

    def keeps(self, *words: str) -> bool:
        """These keywords: also where there is no room for others (Cyrus has 100 to a folder) and they are known already."""
        if self.permanent_flags is None or "\\*" in self.permanent_flags:
            return True
        return {word.lower() for word in words} <= {flag.lower() for flag in self.permanent_flags}


@dataclass(frozen=True, slots=True)
class Resync:
    """A folder as it was opened, and what happened to it since a mod-sequence (RFC 7162)."""

    selected: Selected
    vanished: tuple[tuple[int, int], ...]  # ranges of UIDs; more than ever were is allowed
    flags: dict[int, tuple[Any, ...]]  # of each changed one


@dataclass(slots=True)
class Fetched:
    """What UID FETCH brought back: attributes by UID, and UIDs whose answer was unreadable."""

    rows: dict[int, dict[bytes, Any]] = field(default_factory=dict)
    damaged: set[int] = field(default_factory=set)
    _expunged: list[int] = field(default_factory=list)  # message numbers, ascending

    def take(self, response: Response) -> bool:
        """One response of the answer; True: it was a FETCH. Only those that name their UID count."""
        if response.name == b"EXPUNGE" and response.number:
            bisect.insort(self._expunged, self._at_first(response.number))
        if response.name != b"FETCH":
            return False
        try:
            attributes = fetch_attributes(response)
        except Exception:  # noqa: BLE001 - imapclient's parser raises many kinds on a malformed answer
            uid = claimed_uid(response)
            if uid is not None:
                self.damaged.add(uid)
            return True
        if attributes is not None:
            attributes[b"SEQ"] = self._at_first(response.number or 0)
            self.rows.setdefault(int(attributes[b"UID"]), {}).update(attributes)
        return True

    def _at_first(self, number: int) -> int:
        """The number that a message had when the command began."""
        for gone in self._expunged:
            if gone > number:
                break
            number += 1
        return number

    def drop_expunged(self, gone: Sequence[tuple[int, int]]) -> None:
        """What is gone by the end of the answer is not told of: also not with the flags of its last moment, of which
        Dovecot leaves out some (it knew none of the words that its folder did not have before). gone: UIDs by VANISHED.
        """
        for uid, row in list(self.rows.items()) if self._expunged or gone else ():
            if row[b"SEQ"] in self._expunged or any(first <= uid <= last for first, last in gone):
                del self.rows[uid]


class Connection:
    """Use connect() to get one."""

    _spoilt: ClassVar[set[tuple[str, int]]] = set()
    """Servers whose compressed answers could not be read: not compressed again by this process."""

    def __init__(
        self, client: imapclient.IMAPClient, host: str, port: int, read_seconds: float = READ_SECONDS
    ) -> None:
        self.host = host
        self.port = port
        self.capabilities: frozenset[str] = frozenset()  # upper case
        self.identification: dict[str, str] = {}  # the ID answer, keys in lower case
        self.quirk: Quirk = quirks.QUIRKS[-1]
        self.selected: Selected | None = None
        self.enabled: frozenset[str] = frozenset()  # extensions switched on (RFC 5161), upper case
        self.received = 0  # bytes on the wire, without TLS
        self.sent = 0
        self.broken = False
        self._client = client
        self._imap = client._imap
        self._wire: Deflate | None = None  # between the socket and us, once COMPRESS is on
        self._buffer = bytearray()  # received, not yet read
        self._scanned = 0  # no line ends before this place in the buffer
        self._tag = 0
        self._read_seconds = read_seconds
        self._current_at = float("-inf")  # monotonic; when the open folder's news were last heard
        self.banner = plain(self._imap.welcome or b"")

    # -- state

    def has(self, capability: str) -> bool:
        return capability.upper() in self.capabilities

    def current(self, seconds: float) -> bool:
        """The open folder was opened, or its news were asked for, so short a time ago, and no change or STATUS since then
        may have told of something newer.
        """
        return time.monotonic() - self._current_at < seconds

    @property
    def signed_in(self) -> bool:
        return bool(self._imap.state in ("AUTH", "SELECTED"))

    @property
    def socket(self) -> socket.socket:
        """For waiting only; read_line() and receive_now() read it."""
        sock: socket.socket = self._imap.sock
        return sock

    def close(self) -> None:
        """Say goodbye if the server still listens, and free the socket. Never raises."""
        if not self.broken:
            try:
                self._imap.sock.settimeout(2.0)
                self.send(self._next_tag() + b" LOGOUT\r\n")
            except (MailboxError, OSError, ValueError):
                pass
        self.drop()

    def drop(self) -> None:
        """Free the socket without a word."""
        self.broken = True
        self.selected = None
        with contextlib.suppress(OSError, ValueError):
            self._imap.sock.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError, ValueError):
            self._imap.shutdown()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- commands

    def command(
        self,
        verb: str,
        *arguments: bytes,
        what: str = "",
        answer: Callable[[bytes], bytes] | None = None,
        take: Callable[[Response], bool] | None = None,
        tolerate: Sequence[bytes] = (b"OK",),
    ) -> Reply:
        """Send one command and read all of its answer.

        verb: "SELECT", "UID FETCH", ...; arguments are sent as they are, Literals as literals. what: the
        folder, for messages. answer: gives the client's line for each continuation request (sign-in). take: is given
        each response as it comes; True: it is not kept for the Reply. A status that is not in `tolerate` raises the
        MailboxError that fits.
        """
        if self.broken:
            raise ConnectionLost(f"The connection to {self.host} is closed.", "It is tried again by itself.")
        began = time.monotonic()
        try:
            with border(self.host, self.port):
                reply = self._converse(verb, arguments, answer, take)
        except (ConnectionLost, ProtocolFault, ServerBusy):
            self.drop()
            raise
        if verb in _SHOWS_NEWS:
            self._current_at = began
        elif verb not in _READS_ONLY:
            self._current_at = float("-inf")
        if reply.status not in tolerate:
            raise refused(reply, verb, host=self.host, what=what)
        return reply

    def _converse(
        self,
        verb: str,
        arguments: Sequence[bytes],
        answer: Callable[[bytes], bytes] | None,
        take: Callable[[Response], bool] | None,
    ) -> Reply:
        tag = self._next_tag()
        responses: list[Response] = []
        line = bytearray(tag + b" " + verb.encode("ascii"))
        for argument in arguments:
            line += b" "
            if not isinstance(argument, Literal):
                line += argument
                continue
            if self._short_literal(len(argument)):
                line += b"{%d+}\r\n" % len(argument) + argument
                continue
            line += b"{%d}\r\n" % len(argument)
            self.send(bytes(line))
            line = bytearray(argument)
            reply = self._read_reply(tag, responses, until_continue=True)
            if reply is not None:
                return reply
        self.send(bytes(line) + b"\r\n")
        while True:
            reply = self._read_reply(tag, responses, until_continue=answer is not None, take=take)
            if reply is not None:
                return reply
            assert answer is not None
            self.send(answer(self._continuation) + b"\r\n")

    def _short_literal(self, size: int) -> bool:
        return self.has("LITERAL+") or (self.has("LITERAL-") and size <= 4096)

    _continuation = b""

    def _read_reply(
        self,
        tag: bytes,
        responses: list[Response],
        *,
        until_continue: bool,
        take: Callable[[Response], bool] | None = None,
    ) -> Reply | None:
        """Read up to the tagged line (a Reply), or, where wanted, to a continuation request (None)."""
        size = 0
        while True:
            line = self.read_line()
            if line.startswith(b"* "):
                response = self.finish_response(line[2:])
                self.note(response)
                if take is None or not take(response):
                    responses.append(response)
                size += response.size
                if size > ANSWER_LIMIT:
                    raise ProtocolFault(f"{self.host} sent an answer of more than {ANSWER_LIMIT >> 20} MB.")
            elif line[:1] == b"+":
                if not until_continue:
                    raise ProtocolFault(f"{self.host} asked for more than the command had.")
                self._continuation = line[1:].strip()
                return None
            elif line == tag or line.startswith(tag + b" "):
                status, _, text = line[len(tag) + 1 :].partition(b" ")
                return Reply(status.upper(), text, responses)
            elif line:
                raise ProtocolFault(f"{self.host} sent an answer that belongs to no command.")

    def note(self, response: Response) -> None:
        """Heed what any answer may bring: a BYE (raises), new capabilities."""
        if response.name == b"BYE":
            raise self._goodbye(response.text)
        if response.name == b"CAPABILITY":
            self._take_capabilities(response.text)
        elif response.name == b"OK":
            code = response_code(response.text)
            if code and code.name == b"CAPABILITY":
                self._take_capabilities(code.arguments)

    def _goodbye(self, text: bytes) -> MailboxError:
        error = refused(Reply(b"NO", text), "", host=self.host)
        # Once signed in, words may be of anything ("too many idle minutes"); a code is meant.
        if isinstance(error, ServerBusy) and (not self.signed_in or response_code(text)):
            return error
        return ConnectionLost(
            f"{self.host} closed the connection: {plain(text)}", "It is tried again by itself."
        )

    def _take_capabilities(self, text: bytes) -> None:
        self.capabilities = frozenset(text.decode("ascii", "replace").upper().split())

    # -- bytes

    def _next_tag(self) -> bytes:
        self._tag += 1
        return b"S%d" % self._tag

    def send(self, data: bytes) -> None:
        packed = self._wire.pack(data) if self._wire else data
        with border(self.host, self.port):
            self._imap.send(packed)
        self.sent += len(packed)

    def read_line(self) -> bytes:
        """One line without its end. ConnectionLost at the end of the stream."""
        while not self.has_line():
            if len(self._buffer) > LINE_LIMIT:
                raise ProtocolFault(f"{self.host} sent a line of more than {LINE_LIMIT >> 20} MB.")
            self._receive()
        end = self._buffer.index(b"\n", self._scanned)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._scanned = 0
        return line.removesuffix(b"\r")

    def has_line(self) -> bool:
        """A whole line is there already."""
        place = self._buffer.find(b"\n", self._scanned)
        if place < 0:
            self._scanned = len(self._buffer)
            return False
        self._scanned = place
        return True

    def receive_now(self) -> bool:
        """Take what has arrived, without waiting. False: nothing had."""
        sock = self.socket
        seconds = sock.gettimeout()
        with border(self.host, self.port):
            try:
                sock.settimeout(0.0)
                self._receive()
                while self._more_at_hand():
                    self._receive()
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return False
            finally:
                sock.settimeout(seconds)
        return True

    def _more_at_hand(self) -> bool:
        """Bytes that no select() would tell of."""
        if self._wire and self._wire.waiting:
            return True
        sock = self.socket
        return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0

    def _receive(self) -> None:
        self._buffer += self._bytes(65536)

    def _bytes(self, at_most: int) -> bytes:
        """What comes next, at least one byte. ConnectionLost at the end of the stream."""
        wire = self._wire
        while True:
            if wire and wire.waiting and (unpacked := self._unpacked(b"", at_most)):
                return unpacked
            data = self.socket.recv(65536 if wire else at_most)
            if not data:
                raise ConnectionLost(f"{self.host} closed the connection.", "It is tried again by itself.")
            self.received += len(data)
            if wire is None:
                return data
            if unpacked := self._unpacked(data, at_most):
                return unpacked

    def _unpacked(self, data: bytes, at_most: int) -> bytes:
        assert self._wire is not None
        try:
            return self._wire.unpack(data, at_most)
        except ProtocolFault:
            self._spoilt.add((self.host, self.port))
            raise

    def _read_exactly(self, size: int) -> bytes:
        pieces = [bytes(self._buffer[:size])]
        del self._buffer[:size]
        self._scanned = 0
        missing = size - len(pieces[0])
        while missing:
            data = self._bytes(min(missing, 1 << 20))
            missing -= len(data)
            pieces.append(data)
        return b"".join(pieces)

    def finish_response(self, line: bytes) -> Response:
        """The untagged response that starts with this line (without "* "), with its literals read."""
        number, name, rest = split_response(line)
        if name in STATUS_NAMES:
            return Response(name, number, (rest,))
        sources: list[Source] = []
        while (size := literal_size(rest)) is not None:
            if size > LITERAL_LIMIT:
                raise ProtocolFault(f"{self.host} announced {size} bytes at once.")
            sources.append((rest, self._read_exactly(size)))
            rest = self.read_line()
        if rest or not sources:
            sources.append(rest)
        return Response(name, number, tuple(sources))

    # -- compression

    @property
    def compressed(self) -> bool:
        return self._wire is not None

    def compress(self) -> bool:
        """COMPRESS=DEFLATE (RFC 4978) from here to the end of the connection; False where the server does not.

        For a connection that reads much. One that waits keeps some 100 kB for nothing.
        """
        if self._wire is not None:
            return True
        if not self.has("COMPRESS=DEFLATE") or not self.quirk.compress:
            return False
        if (self.host, self.port) in self._spoilt:
            return False
        if self.command("COMPRESS", b"DEFLATE", tolerate=(b"OK", b"NO", b"BAD")).status != b"OK":
            return False
        self._wire = Deflate(self.host)
        if self._buffer:  # read ahead, and packed already
            ahead, self._buffer, self._scanned = bytes(self._buffer), bytearray(), 0
            try:
                self._buffer += self._unpacked(ahead, 65536)
            except MailboxError:
                self.drop()
                raise
        return True

    # -- what the rooms above use

    def folder_argument(self, raw: bytes) -> bytes:
        """A folder's raw name as an argument."""
        return quote(raw)

    def select(self, raw: bytes, *, writable: bool = False, again: bool = False, what: str = "") -> Selected:
        """Open a folder; nothing is sent if it is open already in the mode wanted, except with `again`.

        Reading uses EXAMINE, which leaves even \\Recent alone.
        """
        current = self.selected
        if current and current.raw == raw and not again and (not writable or not current.read_only):
            return current
        self.selected = None
        arguments = [self.folder_argument(raw)]
        if self.has("CONDSTORE"):
            arguments.append(b"(CONDSTORE)")
        verb = "SELECT" if writable else "EXAMINE"
        reply = self.command(verb, *arguments, what=what, tolerate=(b"OK", b"BAD", b"NO"))
        if reply.status == b"BAD" and len(arguments) > 1:
            self.capabilities -= {"CONDSTORE"}  # offered, and not understood
            reply = self.command(verb, arguments[0], what=what)
        elif reply.status != b"OK":
            raise refused(reply, verb, host=self.host, what=what)
        self.selected = _selected(raw, reply, examined=not writable)
        return self.selected

    def enable(self, name: str) -> bool:
        """Switch an extension on, before any folder is opened (iCloud ignores it later). False where the server does
        not confirm it: iCloud's proxy answers OK and an empty list.
        """
        offered = self.has(name) or (name == "UTF8=ACCEPT" and self.has("UTF8=ONLY"))
        if not (offered and self.has("ENABLE")) or self.selected is not None:
            return False
        reply = self.command("ENABLE", name.encode("ascii"), tolerate=(b"OK", b"NO", b"BAD"))
        words = b" ".join(response.text for response in reply.named(b"ENABLED"))
        self.enabled |= frozenset(words.decode("ascii", "replace").upper().split())
        return name in self.enabled

    def resync(self, raw: bytes, validity: int, modseq: int, *, what: str = "") -> Resync | None:
        """Open a folder for reading and hear what changed since `modseq`. Needs enable("QRESYNC").

        None: the server does not understand it, or says something odd. Where its UIDVALIDITY is another one, the server
        says nothing of changes: look at `selected`. Known UIDs are not named: they would limit the flags, too.
        """
        self.selected = None
        reply = self.command(
            "EXAMINE",
            self.folder_argument(raw),
            b"(QRESYNC (%d %d))" % (validity, modseq),
            what=what,
            tolerate=(b"OK", b"BAD", b"NO"),
        )
        if reply.status == b"BAD":
            self.enabled -= {"QRESYNC"}
            return None
        if reply.status != b"OK":
            raise refused(reply, "EXAMINE", host=self.host, what=what)
        self.selected = _selected(raw, reply, examined=True)
        flags: dict[int, tuple[Any, ...]] = {}
        try:
            gone = vanished(reply)
            for response in reply.named(b"FETCH"):
                attributes = fetch_attributes(response)
                if attributes and isinstance(attributes.get(b"FLAGS"), tuple):
                    flags[int(attributes[b"UID"])] = attributes[b"FLAGS"]
        except Exception:  # noqa: BLE001 - whatever the parser raises: ask in the plain way
            return None
        return Resync(self.selected, tuple(gone), flags)

    def count(self, uids: bytes) -> int | None:
        """How many of these are there (ESEARCH); None where the server cannot count."""
        if not self.has("ESEARCH"):
            return None
        reply = self.command("UID SEARCH", b"RETURN (COUNT)", b"UID", uids, tolerate=(b"OK", b"NO", b"BAD"))
        if done_down_to(reply) is not None:
            return None
        for response in reply.named(b"ESEARCH"):
            match = re.search(rb"\bCOUNT (\d+)", response.text)
            if match:
                return int(match.group(1))
        return None

    def unselect(self) -> None:
        """Close the open folder, expunging nothing."""
        if self.selected is None:
            return
        self.selected = None
        if self.has("UNSELECT"):
            self.command("UNSELECT", tolerate=(b"OK", b"NO", b"BAD"))

    def fetch(self, uids: bytes, items: Sequence[bytes], modifier: bytes = b"") -> Fetched:
        """UID FETCH. uids: a number set as IMAP writes it. What the same answer says to be expunged is left out."""
        result = Fetched()
        limit: int | None = None
        while uids:
            arguments = [uids, b"(UID " + b" ".join(items) + b")"]
            if modifier:
                arguments.append(b"(" + modifier + b")")
            reply = self.command("UID FETCH", *arguments, take=result.take)
            with border(self.host, self.port):
                result.drop_expunged(vanished(reply))
            limit = self._lower(done_down_to(reply), limit)
            uids = below(uids, limit) if limit is not None else b""
        result.damaged -= result.rows.keys()
        return result

    def _lower(self, done: int | None, before: int | None) -> int | None:
        """Where to go on after an answer in part; None: it was whole. Whoever took a part for all would take the rest for
        gone.
        """
        if done is None or done == 1:
            return None
        if done == 0 or (before is not None and done >= before):
            raise MailboxError(f"{self.host} answers only in part.", "The mail it speaks of is left alone.")
        return done

    def search(self, *criteria: bytes) -> list[int]:
        """UID SEARCH, ascending; by ESEARCH where offered, as 100,000 UIDs then are some bytes."""
        found: set[int] = set()
        limit: int | None = None
        while True:
            only = () if limit is None else (b"UID 1:%d" % (limit - 1),)
            returned = (b"RETURN (ALL)",) if self.has("ESEARCH") else ()
            reply = self.command("UID SEARCH", *returned, *only, *criteria)
            with border(self.host, self.port):
                found.update(search_result(reply))
            limit = self._lower(done_down_to(reply), limit)
            if limit is None:
                return sorted(found)

    def store(self, uids: Sequence[int], change: bytes, flags: Sequence[str]) -> Reply:
        """UID STORE without an echo. change: b"+FLAGS" or b"-FLAGS"."""
        names = b"(" + " ".join(flags).encode("ascii") + b")"
        return self.command("UID STORE", number_set(uids), change + b".SILENT", names)

    def move(self, uids: Sequence[int], target: bytes, what: str = "") -> CopyUid | None:
        """UID MOVE. None means: no proof that anything was moved (the mail may be gone already)."""
        return copyuid(self.command("UID MOVE", number_set(uids), self.folder_argument(target), what=what))

    def copy(self, uids: Sequence[int], target: bytes, what: str = "") -> CopyUid | None:
        """UID COPY. None: the server gives no UIDs, or nothing was copied."""
        return copyuid(self.command("UID COPY", number_set(uids), self.folder_argument(target), what=what))

    def uid_expunge(self, uids: Sequence[int]) -> Reply:
        """Remove these and no others (RFC 4315)."""
        return self.command("UID EXPUNGE", number_set(uids))

    def begin(self, verb: str) -> bytes:
        """Send a command whose answer is read elsewhere (IDLE). Its tag."""
        tag = self._next_tag()
        self.send(tag + b" " + verb.encode("ascii") + b"\r\n")
        return tag

    def noop(self) -> Reply:
        return self.command("NOOP")

    def values(self, response: Response) -> tuple[Any, ...]:
        """The parsed values of a response; ProtocolFault where it cannot be read."""
        with border(self.host, self.port):
            return parse_values(response.sources)

    # -- start

    def ask_capabilities(self) -> None:
        self.command("CAPABILITY")

    def identify(self) -> None:
        """ID (RFC 2971): tells who we are, and learns who they are. Some servers serve only who does."""
        if not self.has("ID"):
            return
        arguments = b'("name" "spamd-desktop" "version" "%s")' % spamd.__version__.encode("ascii", "replace")
        reply = self.command("ID", arguments, tolerate=(b"OK", b"NO", b"BAD"))
        for response in reply.named(b"ID"):
            try:
                (pairs,) = parse_values(response.sources)
            except Exception:  # noqa: BLE001 - a curious ID is no reason to give up
                continue
            words = [plain(word) if isinstance(word, bytes) else "" for word in pairs or ()]
            self.identification = dict(zip((w.lower() for w in words[::2]), words[1::2], strict=False))

    def sign_in(self, account: Account, credential: Credential) -> None:
        """By OAuth token or password, whatever the account says."""
        if account.auth is AuthMethod.OAUTH:
            self._sign_in_by_token(account, credential)
        else:
            if not isinstance(credential, str):
                raise ConfigError("This account signs in by password, but was given a token.")
            self._sign_in_by_password(account.user, credential)
        self._imap.state = "AUTH"
        # What was offered before the sign-in may be a proxy's list (iCloud): ask the real server.
        self.ask_capabilities()

    def _sign_in_by_password(self, user: str, password: str) -> None:
        response = b"\0" + user.encode() + b"\0" + password.encode()
        try:
            if self.has("AUTH=PLAIN"):
                self._authenticate("PLAIN", response)
                return
            if self.has("LOGINDISABLED"):
                raise SignInError(
                    f"{self.host} accepts no password on this connection.",
                    "Choose TLS (port 993) or STARTTLS for this account.",
                )
            self.command("LOGIN", _astring(user.encode()), _astring(password.encode()))
        except PasswordsRefused as error:
            provider = self._known_quirk().oauth
            hint = error.hint.replace("PROVIDER", provider) if provider else error.hint
            raise PasswordsRefused(error.title, hint, provider=provider) from error
        except SignInError as error:
            help_text = self._known_quirk().password_help
            if help_text and error.hint in (PASSWORD_HINT, APP_PASSWORD_HINT):
                raise type(error)(error.title, help_text) from error
            raise

    def _sign_in_by_token(self, account: Account, credential: Credential) -> None:
        if isinstance(credential, str):
            token_source: Callable[[bool], str] = lambda fresh: credential  # noqa: E731
        else:
            token_source = lambda fresh: credential(fresh=fresh)  # noqa: E731
        bearer = self.has("AUTH=OAUTHBEARER") and not self.has("AUTH=XOAUTH2")
        mechanism = "OAUTHBEARER" if bearer else "XOAUTH2"
        for attempt in (0, 1):
            token = token_source(bool(attempt))
            if bearer:
                name = account.user.replace("=", "=3D").replace(",", "=2C")
                text = f"n,a={name},\1host={self.host}\1port={self.port}\1auth=Bearer {token}\1\1"
            else:
                vendor = self._known_quirk().vendor
                text = (
                    f"user={account.user}\1auth=Bearer {token}\1"
                    + (f"vendor={vendor}\1" if vendor else "")
                    + "\1"
                )
            try:
                self._authenticate(mechanism, text.encode())
                return
            except SignInError as error:
                if not attempt and not isinstance(credential, str):
                    continue  # the token may have ended early
                if error.hint in (PASSWORD_HINT, APP_PASSWORD_HINT):  # no password was asked for
                    title = f"{self.host} did not accept the sign-in with the browser."
                    raise SignInError(title, TOKEN_HINT) from error
                raise

    def _authenticate(self, mechanism: str, response: bytes) -> None:
        encoded = base64.b64encode(response)
        if self.has("SASL-IR"):
            # A further continuation is an error report (RFC 7628): an empty answer ends it.
            empty = b"AQ==" if mechanism == "OAUTHBEARER" else b""
            self.command("AUTHENTICATE", mechanism.encode("ascii"), encoded, answer=lambda _: empty)
            return
        lines = iter([encoded])
        self.command("AUTHENTICATE", mechanism.encode("ascii"), answer=lambda _: next(lines, b""))

    def _known_quirk(self) -> Quirk:
        return quirks.match(self.host, self.banner, self.capabilities, self.identification)

    def start(self, account: Account, credential: Credential, context: ssl.SSLContext | None) -> None:
        """From greeting to signed in."""
        self._take_over()
        self.capabilities = frozenset(str(capability).upper() for capability in self._imap.capabilities)
        if account.tls is TlsMode.STARTTLS:
            self._start_tls(context)
        if not self.signed_in:
            self.sign_in(account, credential)
        else:
            self.ask_capabilities()
        self.identify()
        self.quirk = self._known_quirk()
        if self.has("UTF8=ONLY"):  # opens no folder before that (RFC 6855); elsewhere names stay in UTF-7
            self.enable("UTF8=ACCEPT")

    def _take_over(self) -> None:
        """From here on we read the socket ourselves: what imaplib has read ahead belongs to us."""
        self._buffer += b"".join(getattr(self._imap, "_readbuf", ()))  # Python 3.14 and later
        file = getattr(self._imap, "_file", None) or self._imap.file
        read_ahead = getattr(file, "read1", None)  # not of an unbuffered file
        sock = self.socket
        sock.settimeout(0.0)
        try:
            while read_ahead and (ahead := read_ahead(65536)):
                self._buffer += ahead
        except OSError:
            pass  # nothing there: a TLS socket says so by an error
        finally:
            sock.settimeout(self._read_seconds)

    def _start_tls(self, context: ssl.SSLContext | None) -> None:
        if not self.has("STARTTLS"):
            raise ConnectionLost(
                f"{self.host} port {self.port} offers no encryption, so no password was sent.",
                "Use TLS on port 993 if the provider has it.",
            )
        if self.signed_in:
            raise ConnectionLost(f"{self.host} signs in before encryption starts.", "Use TLS on port 993.")
        with border(self.host, self.port):
            if self._buffer:
                raise ProtocolFault(f"{self.host} sent something nobody asked for before encryption.")
            # Not imaplib's: of Python 3.14 it keeps what came with the answer, and hears it as if it had come encrypted.
            reply = self.command("STARTTLS", tolerate=(b"OK", b"NO", b"BAD"))
            if reply.status != b"OK":
                error = refused(reply, "STARTTLS", host=self.host)
                if isinstance(error, ServerBusy):
                    raise error
                raise ConnectionLost(
                    f"{self.host} port {self.port} does not begin encryption, so no password was sent: {plain(reply.text)}",
                    "Use TLS on port 993 if the provider has it.",
                )
            self._buffer, self._scanned = bytearray(), 0
            self._imap.sock = (context or ssl.create_default_context()).wrap_socket(
                self._imap.sock, server_hostname=self.host
            )
        _tune(self._imap.sock)
        self.capabilities = frozenset()  # what was said in the clear does not count
        self.ask_capabilities()


def connect(
    account: Account,
    credential: Credential,
    *,
    connect_seconds: float = CONNECT_SECONDS,
    read_seconds: float = READ_SECONDS,
) -> Connection:
    """Connect, verify, sign in.

    Raises ConfigError, ConnectionLost, SignInError, ServerBusy, ProtocolFault.
    """
    host, port = account.host, account.port or DEFAULT_PORTS[account.tls]
    if not host:
        raise ConfigError("The account has no server.", "Give the account a host.")
    if account.tls is TlsMode.NONE and not is_loopback(host):
        raise ConfigError(
            "Without encryption, only a mail server on this computer may be used.",
            "Set tls to implicit (port 993) or starttls (port 143).",
        )
    context = None if account.tls is TlsMode.NONE else tls_context(account.ca_file)
    try:
        client = imapclient.IMAPClient(
            host,
            port,
            ssl=account.tls is TlsMode.IMPLICIT,
            ssl_context=context,
            timeout=SocketTimeout(connect_seconds, read_seconds),
        )
    except Exception as error:
        raise convert(error, host=host, port=port) from error
    connection = Connection(client, host, port, read_seconds)
    try:
        client._imap.debug = 0  # 4 times less work per mail, and no copy of it in memory
        _tune(client._imap.sock)
        connection.start(account, credential, context)
    except BaseException:
        connection.drop()
        raise
    return connection


def tls_context(ca_file: str = "") -> ssl.SSLContext:
    """Verifies certificate and host name, TLS 1.2 or newer.

    ca_file: trusted besides the system's authorities; read again when the file changes.
    """
    try:
        changed = Path(ca_file).stat().st_mtime_ns if ca_file else 0
        return _tls_context(ca_file, changed)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise ConfigError(
            f"The certificate file {ca_file} cannot be used.", "It must be a readable file in PEM format."
        ) from error


@functools.lru_cache(maxsize=8)
def _tls_context(ca_file: str, _changed: int) -> ssl.SSLContext:
    """Shared by all connections: each copy of the system's authorities takes a megabyte and some 20 ms."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
        # It may be the server's own certificate instead of an authority's (Proton Bridge, home servers), and
        # older than the strictest rules.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tune(sock: socket.socket) -> None:
    """No waiting for full packets; a dead peer is noticed within about a minute."""
    options: list[tuple[int, str, int]] = [
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 30),
        (socket.IPPROTO_TCP, "TCP_KEEPALIVE", 30) if sys.platform == "darwin" else (0, "", 0),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 10),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 60_000),  # ms; Linux
    ]
    for level, name, value in options:
        number = getattr(socket, name, None) if name else None
        if number is None:
            continue
        try:
            sock.setsockopt(level, number, value)
        except OSError:
            continue  # a nicety of this system, not of every one


def _astring(value: bytes) -> bytes:
    return quote(value)


def _selected(raw: bytes, reply: Reply, *, examined: bool) -> Selected:
    numbers: dict[bytes, int] = {}
    permanent: frozenset[str] | None = None
    read_only = examined
    for code in reply.codes():
        if code.name in (b"UIDVALIDITY", b"UIDNEXT", b"HIGHESTMODSEQ"):
            word = code.arguments.strip()
            if word.isdigit():
                numbers[code.name] = int(word)
        elif code.name == b"PERMANENTFLAGS":
            permanent = frozenset(code.arguments.decode("utf-8", "replace").strip("() ").split())
        elif code.name == b"READ-ONLY":
            read_only = True
    exists = next((response.number or 0 for response in reversed(reply.named(b"EXISTS"))), 0)
    return Selected(
        raw,
        numbers.get(b"UIDVALIDITY", 0),
        numbers.get(b"UIDNEXT", 0),
        exists,
        numbers.get(b"HIGHESTMODSEQ") or None,
        read_only,
        None if examined else permanent,
    )


__all__ = [
    "Connection",
    "Credential",
    "Fetched",
    "Resync",
    "Selected",
    "TokenSource",
    "connect",
    "is_atom",
    "tls_context",
]
