"""What all test servers have in common: users, accounts, and an independent view of what lies where.

The view uses imaplib from the standard library and none of our code, so that a mistake of ours cannot hide
itself.
"""

from __future__ import annotations

import contextlib
import imaplib
import itertools
import re
import secrets
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from spamd.domain import Account, AccountName, FolderName, TlsMode

imaplib._MAXLINE = 100_000_000  # type: ignore[attr-defined]  # the oracle reads big folders too

PASSWORD = "pw"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Lying:
    """One mail as it lies in a folder."""

    folder: str  # raw name
    uid: int
    raw: bytes
    flags: frozenset[str]


@dataclass
class Kept:
    """What a user must have at the end of a test, as the test's own deeds left it."""

    bodies: Counter[bytes] = field(default_factory=Counter)
    read: Counter[bytes] = field(default_factory=Counter)
    doubled: bool = False  # a server that doubles mail in a race, and no id to tell by


class Person(imaplib.IMAP4):
    """imaplib that keeps account of mail that a test copies or removes by its own hand."""

    kept: Kept | None = None

    def uid(self, command: str, *arguments: str) -> tuple[str, list[object]]:  # type: ignore[override]
        if self.kept is None or command.upper() not in ("COPY", "EXPUNGE"):
            return super().uid(command, *arguments)  # type: ignore[return-value]
        found = self._bodies(arguments[0], marked=command.upper() == "EXPUNGE")
        answer = super().uid(command, *arguments)
        if answer[0] == "OK":
            (self.kept.bodies.update if command.upper() == "COPY" else self.kept.bodies.subtract)(found)
        return answer  # type: ignore[return-value]

    def expunge(self) -> tuple[str, list[object]]:  # type: ignore[override]
        if self.kept is not None:
            self.kept.bodies.subtract(self._bodies("1:*", marked=True))
        return super().expunge()  # type: ignore[return-value]

    def _bodies(self, uids: str, *, marked: bool) -> list[bytes]:
        lying = read_selected(self, "", uids)
        return [normal(one.raw) for one in lying if not marked or "\\Deleted" in one.flags]


class MailHost:
    """A running server. Subclasses set port (and tls_port, ca_file) and start and stop it."""

    touched: ClassVar[dict[tuple[MailHost, str], Kept]] = {}
    """Users of this test, and what they must have at its end (tests/servers/invariant.py)."""

    host = "127.0.0.1"
    port = 0
    tls_port = 0
    ca_file = ""
    junk = "Junk"  # raw name of the Junk folder of a new user
    trash = "Trash"
    separator = "/"
    patience = 60.0  # seconds without an answer

    def new_user(self) -> str:
        """A user nobody had before, with an empty inbox."""
        return f"u{next(_numbers)}"

    def account(self, user: str, *, tls: TlsMode = TlsMode.NONE, junk: str | None = None) -> Account:
        return Account(
            AccountName(user),
            host=self.host,
            port=self.tls_port if tls is TlsMode.IMPLICIT else self.port,
            user=user,
            tls=tls,
            ca_file=self.ca_file,
            junk=FolderName(junk) if junk else None,
        )

    def kept(self, user: str) -> Kept:
        return MailHost.touched.setdefault((self, user), Kept())

    def arrived(self, user: str, mails: Iterable[bytes], flags: Iterable[str]) -> None:
        kept = self.kept(user)
        for raw in mails:
            kept.bodies[normal(raw)] += 1
            kept.read[normal(raw)] += "\\Seen" in flags

    @contextlib.contextmanager
    def oracle(self, user: str) -> Iterator[Person]:
        """An imaplib connection, signed in."""
        imap = Person(self.host, self.port, timeout=self.patience)
        imap.kept = self.kept(user)
        try:
            imap.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if imap.state == "NONAUTH":
                imap.login(user, PASSWORD)
            yield imap
        finally:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                imap.logout()

    def append(
        self,
        user: str,
        *mails: bytes,
        folder: str = "INBOX",
        flags: Iterable[str] = (),
        at: float | None = None,
    ) -> list[int]:
        """Mail arrives. Its UIDs, in order."""
        with self.oracle(user) as imap:
            before = _status(imap, folder, "UIDNEXT")
            for raw in mails:
                date = imaplib.Time2Internaldate(at if at is not None else time.time())
                status, answer = imap.append(f'"{folder}"', " ".join(flags), date, raw)
                assert status == "OK", answer
                self.arrived(user, [raw], flags)
            return list(range(before, before + len(mails)))

    def contents(self, user: str) -> list[Lying]:
        """Every mail of the user in every folder."""
        out: list[Lying] = []
        with self.oracle(user) as imap:
            for folder in self.folder_names(user, imap):
                status, _ = imap.select(f'"{folder}"', readonly=True)
                assert status == "OK", folder
                out += read_selected(imap, folder)
        return out

    def folder_names(self, user: str, imap: imaplib.IMAP4 | None = None) -> list[str]:
        if imap is None:
            with self.oracle(user) as imap:
                return self.folder_names(user, imap)
        names = []
        for line in imap.list()[1]:
            if isinstance(line, tuple):
                names.append(line[1].decode())
                continue
            match = re.match(rb'\(([^)]*)\) (?:"[^"]*"|NIL) "?(.*?)"?$', line or b"")
            if match and not re.search(rb"\\(Noselect|NonExistent)", match[1], re.IGNORECASE):
                names.append(match[2].decode().replace('\\"', '"').replace("\\\\", "\\"))
        return list(dict.fromkeys(names))

    def move(self, user: str, uids: Iterable[int], source: str, target: str) -> None:
        """The person drags mail (by COPY and EXPUNGE of just these where the server has no MOVE)."""
        chosen = ",".join(str(uid) for uid in uids)
        with self.oracle(user) as imap:
            assert imap.select(f'"{source}"')[0] == "OK"
            if "MOVE" in imap.capabilities:
                status, answer = imap.uid("MOVE", chosen, f'"{target}"')
                assert status == "OK", answer
                return
            imap.kept = None  # in the end it is a move
            status, answer = imap.uid("COPY", chosen, f'"{target}"')
            assert status == "OK", answer
            imap.uid("STORE", chosen, "+FLAGS.SILENT", "(\\Deleted)")
            imap.uid("EXPUNGE", chosen)

    def store(self, user: str, uids: Iterable[int], change: str, flags: str, folder: str = "INBOX") -> None:
        with self.oracle(user) as imap:
            assert imap.select(f'"{folder}"')[0] == "OK"
            chosen = ",".join(str(uid) for uid in uids)
            if "\\Seen" in flags:
                self.kept(user).read.update(normal(one.raw) for one in read_selected(imap, folder, chosen))
            status, answer = imap.uid("STORE", chosen, change, f"({flags})")
            assert status == "OK", answer

    def create(self, user: str, *folders: str) -> None:
        with self.oracle(user) as imap:
            for folder in folders:
                status, answer = imap.create(f'"{folder}"')
                assert status == "OK", answer


def accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """Connections as they come, until the listener is closed. An answer in two parts does not wait 40 ms for itself."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield client


def connected(port: int) -> socket.socket:
    """A connection to a server here, without a time limit once it stands."""
    server = socket.create_connection(("127.0.0.1", port), timeout=30)
    server.settimeout(None)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return server


def _status(imap: imaplib.IMAP4, folder: str, item: str) -> int:
    status, answer = imap.status(f'"{folder}"', f"({item})")
    assert status == "OK", answer
    match = re.search(rb"%s (\d+)" % item.encode(), b" ".join(_flat(answer)))
    assert match, answer
    return int(match[1])


def _flat(answer: Iterable[object]) -> Iterator[bytes]:
    for part in answer:
        if isinstance(part, tuple):
            yield from _flat(part)
        elif isinstance(part, bytes):
            yield part


def read_selected(imap: imaplib.IMAP4, folder: str, uids: str = "1:*") -> list[Lying]:
    """All mails of the open folder, or these."""
    out = []
    status, answer = imap.uid("FETCH", uids, "(FLAGS BODY.PEEK[])")
    assert status == "OK", answer
    pending: tuple[bytes, bytes] | None = None
    for part in answer:
        if isinstance(part, tuple):
            pending = part
        if pending is not None:
            rest = part if isinstance(part, bytes) else b""
            head = pending[0] + b" " + rest
            uid, flags = re.search(rb"UID (\d+)", head), re.search(rb"FLAGS \(([^)]*)\)", head)
            if uid and flags:
                out.append(Lying(folder, int(uid[1]), pending[1], frozenset(flags[1].decode().split())))
                pending = None
    return out


def normal(raw: bytes) -> bytes:
    """A mail however its lines end."""
    return raw.replace(b"\r\n", b"\n").rstrip(b"\n")


@dataclass(frozen=True)
class Snapshot:
    """What must not change, whatever we do: the mails, and which of them were read."""

    bodies: Counter[bytes]
    seen: Counter[bytes]


def snapshot(host: MailHost, user: str) -> Snapshot:
    lying = host.contents(user)
    return Snapshot(
        Counter(normal(mail.raw) for mail in lying),
        Counter(normal(mail.raw) for mail in lying if "\\Seen" in mail.flags),
    )


@contextlib.contextmanager
def nothing_lost(host: MailHost, user: str) -> Iterator[None]:
    """The invariant: inside this block no mail is lost, doubled, changed or newly read."""
    before = snapshot(host, user)
    yield
    after = snapshot(host, user)
    assert after.bodies == before.bodies
    assert not after.seen - before.seen, "something was marked as read"


def free_port() -> int:
    """For a server of another program, which binds it in a moment, and after a restart again.

    Not one that the system would give: it gives them to every connection that is made meanwhile (32768 and up on Linux,
    49152 and up elsewhere). By the system's own dice: Hypothesis sets Python's alike in all processes.
    """
    while True:
        port = 10_000 + secrets.randbelow(22_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


def wait_for_banner(port: int, alive: object = None, seconds: float = 120.0) -> None:
    """Until a greeting can be read there. `alive`: a Popen that must go on running."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
                if sock.recv(4).startswith(b"*"):
                    return
        except OSError:
            pass
        poll = getattr(alive, "poll", None)
        if (poll is not None and poll() is not None) or time.monotonic() > deadline:
            raise RuntimeError("the mail server did not start")
        time.sleep(0.01)


def mail(
    subject: str = "hello",
    body: str = "text",
    *,
    message_id: str | None = None,
    sender: str = "a@example.org",
) -> bytes:
    """A small mail. message_id None: one of its own; "": none."""
    if message_id is None:
        message_id = f"m{next(_numbers)}@example.org"
    lines = [
        f"From: {sender}",
        "To: me@example.net",
        f"Subject: {subject}",
        "Date: Mon, 02 Nov 2026 10:00:00 +0000",
    ]
    if message_id:
        lines.append(f"Message-ID: <{message_id}>")
    return "\r\n".join([*lines, "", body, ""]).encode()
