"""A real Courier from unpacked Debian packages (scripts/test_servers.sh): no MOVE, no CONDSTORE, no server
ids.

Its imapd speaks on standard input and output; a small listener greets, takes the password and gives it the
socket.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import shutil
import socket
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
    patience = 20.0

    def __init__(self) -> None:
        self.root = UNPACKED / "courier"
        self.folder = Path(tempfile.mkdtemp(prefix="spamd-courier-"))
        self.folder.chmod(0o755)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        # Courier looks for a file monitor that is not there, 25 times, and waits in between: more than a
        # second for
        # each folder. This one is there, and hangs up at once.
        self._monitor = socket.socket(socket.AF_UNIX)
        self._monitor.bind(b"\0" + f"/tmp/fam-{OWNER}-{self.port}".encode().ljust(107, b"\0"))
        self._monitor.listen()
        threading.Thread(target=self._hang_up, name="no-file-monitor", daemon=True).start()
        self._thread = threading.Thread(target=self._listen, name="courier", daemon=True)
        self._thread.start()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._monitor.accept()[0].close()

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
        """The part of couriertcpd and authdaemond: until somebody has signed in."""
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
                    self._processes.append(self._imapd(client, self.folder / words[0]))
                    return
                elif command.upper() == "LOGIN":
                    client.sendall(f"{tag} NO Login failed.\r\n".encode())
                elif command.upper() == "LOGOUT":
                    client.sendall(f"* BYE Courier-IMAP server shutting down\r\n{tag} OK bye\r\n".encode())
                    return
                else:
                    client.sendall(f"{tag} BAD Invalid command\r\n".encode())

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
            stderr=subprocess.DEVNULL,
            cwd=home,
            env=environment,
            **as_nobody,
        )

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._monitor.close()
        for process in self._processes:
            process.kill()
            process.wait(30)
        self._thread.join(30)
        shutil.rmtree(self.folder, ignore_errors=True)


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
