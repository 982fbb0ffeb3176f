"""A Dovecot that speaks like Gmail: what the real one says differently is said differently, by a translator in front.

X-GM-MSGID is a number (made from X-GUID), COPYUID comes in the tagged line, a mail that is gone is answered with OK, ID says
gimap, and X-GM-LABELS can be given, read and searched for (Dovecot keeps them as keywords that nobody sees). Not imitated: that
a mail lies in All Mail whatever its labels, and that a label is a folder.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import zlib
from dataclasses import replace

import pytest

from spamd.domain import Account
from tests.servers.dovecot import BINARY, GMAIL, Dovecot, Options
from tests.servers.mailhost import MailHost, accepted, connected

_HIDDEN = "gml-"  # how a keyword begins that is a label


class Gmail(MailHost):
    """The person and the independent view talk to Dovecot itself; accounts lead to the translator."""

    def __init__(self) -> None:
        self.dovecot = Dovecot(Options(storage="mdbox", capabilities=GMAIL))
        self.port = self.dovecot.port
        self.numbers: dict[str, str] = {}  # X-GM-MSGID -> X-GUID
        self.labels: list[str] = []
        self.commands: list[str] = []
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((self.host, 0))
        self._front = int(self._listener.getsockname()[1])
        threading.Thread(target=self._listen, name="gmail", daemon=True).start()

    def account(self, user: str, **options: object) -> Account:
        return replace(super().account(user, **options), port=self._front)  # type: ignore[arg-type]

    def number(self, guid: str) -> str:
        """A 60-bit number that stands for this id."""
        number = str((zlib.crc32(guid.encode()) << 28) + (zlib.crc32(guid[::-1].encode()) & 0xFFFFFFF))
        assert self.numbers.setdefault(number, guid) == guid
        return number

    def hidden(self, label: str) -> str:
        """The keyword for a label, which is quoted as it came."""
        if label not in self.labels:
            self.labels.append(label)
        return f"{_HIDDEN}{self.labels.index(label)}"

    def _listen(self) -> None:
        for client in accepted(self._listener):
            server = connected(self.dovecot.port)
            self._sockets += [client, server]
            talk = _Talk(self, client, server)
            threading.Thread(target=talk.upward, name="gmail", daemon=True).start()
            threading.Thread(target=talk.downward, name="gmail", daemon=True).start()

    def close(self) -> None:
        for sock in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.dovecot.close()


class _Talk:
    def __init__(self, host: Gmail, client: socket.socket, server: socket.socket) -> None:
        self.host, self.client, self.server = host, client, server
        self.copyuid = b""
        self.labels = False  # the command that is answered speaks of labels

    def upward(self) -> None:
        """Line by line; literals go on untouched."""
        try:
            with self.client.makefile("rb") as lines:
                while line := lines.readline():
                    text = line.decode("latin-1").rstrip("\r\n")
                    self.host.commands.append(text.partition(" ")[2])
                    text = re.sub(
                        r'X-GM-MSGID "?(\d+)"?',
                        lambda m: f'X-GUID "{self.host.numbers.get(m[1], m[1])}"',
                        text,
                    )
                    text = text.replace("X-GM-MSGID", "X-GUID")
                    self.labels = "X-GM-LABELS" in text
                    text = re.sub(
                        r"([+-])X-GM-LABELS \((.*)\)$",
                        lambda m: f"{m[1]}FLAGS ({self.host.hidden(m[2])})",
                        text,
                    )
                    text = re.sub(
                        r"X-GM-LABELS (\".*\")$", lambda m: f"KEYWORD {self.host.hidden(m[1])}", text
                    )
                    text = text.replace("X-GM-LABELS", "FLAGS")
                    text = text.replace(
                        "COMPRESS DEFLATE", "COMPRESS NOTHING"
                    )  # refused: here lines are read
                    self.server.sendall(text.encode("latin-1") + b"\r\n")
                    if match := re.search(r"\{(\d+)\+?\}$", text):
                        self.server.sendall(lines.read(int(match[1])))
        except OSError:
            pass
        finally:
            _shut(self.server)

    def downward(self) -> None:
        try:
            with self.server.makefile("rb") as lines:
                while line := lines.readline():
                    if match := re.search(rb"\{(\d+)\}\r\n$", line):
                        literal = lines.read(int(match[1]))
                        self.client.sendall(self.translated(line) + literal)
                    else:
                        self.client.sendall(self.translated(line))
        except OSError:
            pass
        finally:
            _shut(self.client)

    def translated(self, line: bytes) -> bytes:
        line = re.sub(
            rb"X-GUID (\w+)", lambda m: b"X-GM-MSGID " + self.host.number(m[1].decode()).encode(), line
        )
        if b" FETCH (" in line:
            line = re.sub(rb"FLAGS \(([^)]*)\)", self._flags, line)
        elif line.startswith(b"* FLAGS") or b"[PERMANENTFLAGS" in line:
            line = re.sub(rb" " + _HIDDEN.encode() + rb"\w+", b"", line)
        line = re.sub(rb"\] Dovecot( \(\w+\))? ready\.", b"] Gimap ready for requests", line)
        line = line.replace(b'("name" "Dovecot")', b'("vendor" "Google, Inc." "name" "GImap")')
        if match := re.match(rb"\* OK (\[COPYUID [^\]]*\])", line):
            self.copyuid = match[1]  # kept for the tagged line
            return b""
        if self.copyuid and re.match(rb"[A-Z]+\d+ OK ", line):
            line, self.copyuid = line.replace(b" OK ", b" OK " + self.copyuid + b" ", 1), b""
        # a mail that is gone is no reason to say NO
        return (
            re.sub(rb"^([A-Z]+\d+) NO \[EXPUNGEISSUED\].*", rb"\1 OK (Success)", line.rstrip(b"\r\n"))
            + b"\r\n"
        )

    def _flags(self, match: re.Match[bytes]) -> bytes:
        """Labels where they were asked for, else flags without them."""
        words = match[1].decode().split()
        hidden = [self.host.labels[int(word[len(_HIDDEN) :])] for word in words if word.startswith(_HIDDEN)]
        if self.labels:
            return f"X-GM-LABELS ({' '.join(hidden)})".encode()
        return f"FLAGS ({' '.join(word for word in words if not word.startswith(_HIDDEN))})".encode()


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="session")
def _gmail():
    if not BINARY:
        pytest.skip("Dovecot is not installed (Debian: apt install dovecot-imapd dovecot-lmtpd)")
    server = Gmail()
    yield server
    server.close()


@pytest.fixture
def gmail(_gmail):
    """A Dovecot that speaks like Gmail."""
    return _gmail
