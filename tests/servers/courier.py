"""A real Courier from unpacked Debian packages (scripts/test_servers.sh): no MOVE, no CONDSTORE, no server
ids.

Its imapd speaks on standard input and output; a small listener greets, takes the password and gives it the
socket.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import selectors
import shlex
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from tests.servers.cyrus import UNPACKED, libraries, why_not
from tests.servers.mailhost import PASSWORD, MailHost, accepted

CAPABILITIES = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE"
OWNER = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name


class Courier(MailHost):
    junk = "INBOX.Junk"
    trash = "INBOX.Trash"
    separator = "."

    def __init__(self) -> None:
        self.root = UNPACKED / "courier"
        self.folder = Path(tempfile.mkdtemp(prefix="spamd-courier-"))
        self.folder.chmod(0o755)
        self.processes: set[subprocess.Popen[bytes]] = set()
        self._errors = (self.folder / "errors.txt").open("ab")
        self._ends: list[str] = []  # of processes that did not end well
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.monitor = FileMonitor(OWNER, str(self.port))
        self._thread = threading.Thread(target=self._listen, name="courier", daemon=True)
        self._thread.start()

    def new_user(self) -> str:
        user = super().new_user()
        home = self.folder / user
        for box in (home / "Maildir", home / "Maildir/.Junk", home / "Maildir/.Trash"):
            for part in ("cur", "new", "tmp"):
                (box / part).mkdir(parents=True)
            if box.name != "Maildir":
                (box / "maildirfolder").touch()
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            for path in (home, *home.rglob("*")):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        return user

    def _listen(self) -> None:
        for client in accepted(self._listener):
            threading.Thread(target=self._greet, args=(client,), name="courier-front", daemon=True).start()

    def _greet(self, client: socket.socket) -> None:
        """The part of couriertcpd and authdaemond: until somebody has signed in, and when their process has ended."""
        process = None
        with client, contextlib.suppress(OSError):
            client.sendall(f"* OK [CAPABILITY {CAPABILITIES}] Courier-IMAP ready.\r\n".encode())
            while line := _line(client):
                tag, command, *words = shlex.split(line)
                if command.upper() == "CAPABILITY":
                    client.sendall(
                        f"* CAPABILITY {CAPABILITIES}\r\n{tag} OK CAPABILITY completed\r\n".encode()
                    )
                elif (
                    command.upper() == "LOGIN" and words[1] == PASSWORD and (self.folder / words[0]).exists()
                ):
                    client.sendall(f"{tag} OK LOGIN Ok.\r\n".encode())
                    process = self._imapd(client, self.folder / words[0])
                    self.processes.add(process)
                    break
                elif command.upper() == "LOGIN":
                    client.sendall(f"{tag} NO Login failed.\r\n".encode())
                elif command.upper() == "LOGOUT":
                    client.sendall(f"* BYE Courier-IMAP server shutting down\r\n{tag} OK bye\r\n".encode())
                    return
                else:
                    client.sendall(f"{tag} BAD Invalid command\r\n".encode())
        if process is not None:
            self._bury(process)

    def _imapd(self, client: socket.socket, home: Path) -> subprocess.Popen[bytes]:
        environment = libraries(self.root) | {
            "AUTHENTICATED": home.name,
            "HOME": str(home),
            "IMAP_CAPABILITY": CAPABILITIES,
            "IMAP_KEYWORDS": "1",
            "IMAP_TRASHFOLDERNAME": "Trash",
            "IMAP_IDLE_TIMEOUT": "60",
            "TCPREMOTEIP": "127.0.0.1",
            "GAM_CLIENT_ID": str(self.port),
        }
        as_nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
        return subprocess.Popen(
            [str(self.root / "usr/bin/imapd"), "Maildir"],
            stdin=client,
            stdout=client,
            stderr=self._errors,
            cwd=home,
            env=environment,
            **as_nobody,
        )

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        """As couriertcpd does, and at once: the lock of a folder is broken where the process that took it is gone, and an ended
        one that nobody asked after is not.
        """
        process.wait()
        if process.returncode:
            self._ends.append(f"imapd {process.pid}: {process.returncode}")
        self.processes.discard(process)

    def met_a_lock(self) -> bool:
        """A process waits until a folder's lock is gone: 5.0 asks the monitor to tell it, 5.2 the kernel."""
        watches = (Path(f"/proc/{process.pid}/fdinfo").glob("*") for process in list(self.processes))
        return self.monitor.asked.is_set() or any(
            "inotify wd:" in watch.read_text() for found in watches for watch in found
        )

    def log(self) -> str:
        """What its processes complained of, and which did not end well."""
        said = (self.folder / "errors.txt").read_text(errors="replace").splitlines()
        return "\n".join([line for line in said if not line.startswith("INFO:")] + self._ends)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.monitor.close()
        for process in tuple(self.processes):
            process.kill()
            process.wait(30)
        self._thread.join(30)
        self._errors.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class FileMonitor:
    """Tells an imapd when the lock of another one is gone, in gamin's protocol: of file monitors Courier asks no more than
    that, without IMAP_ENHANCEDIDLE.

    It must answer, and at once. Without one Courier looks for it 25 times, more than a second for each folder, and then
    for the lock once a second; from one that hangs up before it says anything a waiting imapd signs off and on for two
    minutes, whatever becomes of the lock.
    """

    HEAD = struct.Struct("=HHHHH")  # length of all, version, number, kind, length of the path
    FILE, CANCEL = 1, 3
    DELETED, ACKNOWLEDGED = 2, 7

    def __init__(self, owner: str, client_id: str) -> None:
        """owner: the user whose processes ask. They believe nobody else's monitor. asked: set by each question."""
        self.asked = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(b"\0" + f"/tmp/fam-{owner}-{client_id}".encode().ljust(107, b"\0"))
        me = os.geteuid()
        os.seteuid(pwd.getpwnam(owner).pw_uid)  # whose monitor it is counts from listen on
        try:
            self._listener.listen(64)
        finally:
            os.seteuid(me)
        self._ending, self._end = socket.socketpair()
        self._asking = selectors.DefaultSelector()
        self._asking.register(self._listener, selectors.EVENT_READ)
        self._asking.register(self._ending, selectors.EVENT_READ)
        self._unread: dict[socket.socket, bytearray] = {}
        self._paths: dict[tuple[socket.socket, int], bytes] = {}
        self._waiting: set[tuple[socket.socket, int]] = set()
        self._thread = threading.Thread(target=self._serve, name="file-monitor", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._end.close()
        self._thread.join(30)
        for one in (self._asking, self._listener, self._ending, *self._unread):
            one.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._asking.select(0.002 if self._waiting else None):
                asking = key.fileobj
                assert isinstance(asking, socket.socket)
                if asking is self._ending:
                    return
                if asking is self._listener:
                    client = asking.accept()[0]
                    self._asking.register(client, selectors.EVENT_READ)
                    self._unread[client] = bytearray()
                    self._say(client, b"\0")
                else:
                    self._hear(asking)
            for client, number in tuple(self._waiting):
                path = self._paths[client, number]
                if not os.path.lexists(path):
                    self._waiting.discard((client, number))
                    self._tell(client, number, self.DELETED, path)

    def _hear(self, client: socket.socket) -> None:
        unread = self._unread[client]
        try:
            heard = client.recv(4096)
        except OSError:
            heard = b""
        unread += heard
        if not heard:
            self._asking.unregister(client)
            del self._unread[client]
            client.close()
            self._paths = {asked: path for asked, path in self._paths.items() if asked[0] is not client}
            self._waiting &= self._paths.keys()
            return
        if unread.startswith(b"\0"):  # their greeting; of a packet the first byte is its length
            del unread[0]
        while len(unread) >= self.HEAD.size and len(unread) >= self.HEAD.unpack_from(unread)[0]:
            length, _, number, kind, _ = self.HEAD.unpack_from(unread)
            path = bytes(unread[self.HEAD.size : length])
            del unread[:length]
            if kind & 15 == self.FILE:
                self._paths[client, number] = path
                self._waiting.add((client, number))
                self.asked.set()
            elif kind & 15 == self.CANCEL:
                self._waiting.discard((client, number))
                self._tell(client, number, self.ACKNOWLEDGED, self._paths.pop((client, number), b"?"))

    def _tell(self, client: socket.socket, number: int, event: int, path: bytes) -> None:
        head = self.HEAD.pack(self.HEAD.size + len(path), 1, number, event, len(path))
        self._say(client, head + path)

    def _say(self, client: socket.socket, what: bytes) -> None:
        with contextlib.suppress(OSError):  # it is gone: heard of next
            client.sendall(what)


def _line(client: socket.socket) -> str:
    """One line, and not a byte more: the rest is for imapd."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = client.recv(1)
        if not byte:
            return ""
        line += byte
    return line.decode("latin-1").strip()


@pytest.fixture(scope="session")
def _courier():
    if reason := why_not("courier", "usr/bin/imapd"):
        pytest.skip(reason)
    server = Courier()
    yield server
    server.close()


@pytest.fixture
def courier(_courier):
    """A running Courier."""
    return _courier
