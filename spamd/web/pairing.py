"""A lasting key for the Thunderbird add-on where it cannot ask the native-messaging host (Snap, Flatpak).

`spamdctl thunderbird token` writes key and port; the person pastes both once. From then on the daemon listens on
that port if it is free. The key itself never travels: while the daemon is off, any user of this computer may listen
on its port. Both sides prove that they hold it for this port and this talk, and the add-on gets the token of this
run, which dies with it:

    add-on   nonce a                                    -> daemon
    daemon   nonce b, HMAC-SHA256(key, "daemon P a b")  -> add-on
    add-on   a, b, HMAC-SHA256(key, "addon P a b")      -> daemon
    daemon   token                                      -> add-on

Who held the port before the daemon may still hold a connection of the add-on's, and could pass this talk on. So on
Linux, where Snap and Flatpak are, the daemon talks only with programs of its own user (`is_own`).

However the add-on came by port and token: the daemon may have ended since, and another user may listen there now. So
before it shows a mail, the daemon proves that it is the one whose token that is (`run_proof`).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_FILE = 4096
_CONNECTIONS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_NONCE = re.compile(r"[\w-]{16,64}")
_OPEN = 100  # talks begun and not ended
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Key:
    port: int
    secret: str


def read(file: Path) -> Key | None:
    """What was paired; None: nothing, or a damaged file."""
    try:
        with file.open("rb") as stream:
            found = json.loads(stream.read(MAX_FILE))
        port, secret = found["port"], found["key"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if type(port) is not int or not 0 < port < 65536 or not isinstance(secret, str) or len(secret) < 16:
        return None
    return Key(port, secret)


class Pairing:
    """The daemon's side. Thread-safe."""

    def __init__(self, file: Path, port: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._port = port
        self._clock = clock
        self._lock = threading.Lock()
        self._begun: dict[tuple[str, str], float] = {}  # both nonces -> until

    def begin(self, theirs: str) -> tuple[str, str] | None:
        """Our nonce and our proof. None: nothing is paired with this port, or that is no nonce."""
        key = self._key()
        if key is None or not _NONCE.fullmatch(theirs):
            return None
        ours = secrets.token_urlsafe(24)
        now = self._clock()
        with self._lock:
            for talk in [talk for talk, until in self._begun.items() if until < now]:
                del self._begun[talk]
            while len(self._begun) >= _OPEN:  # oldest first
                del self._begun[next(iter(self._begun))]
            self._begun[theirs, ours] = now + _SECONDS
        return ours, self._proof(key, "daemon", theirs, ours)

    def proves(self, theirs: str, ours: str, proof: str) -> bool:
        """Does the other side hold the key? A talk counts once."""
        with self._lock:
            until = self._begun.pop((theirs, ours), None)
        key = self._key()
        if until is None or until < self._clock() or key is None:
            return False
        wanted = self._proof(key, "addon", theirs, ours)
        return hmac.compare_digest(wanted.encode(), proof.encode("utf-8", "replace"))

    def _key(self) -> Key | None:
        key = read(self._file)
        return key if key is not None and key.port == self._port else None

    def _proof(self, key: Key, side: str, theirs: str, ours: str) -> str:
        return _hmac(key.secret, f"{side} {self._port} {theirs} {ours}")


def _hmac(key: str, told: str) -> str:
    return hmac.new(key.encode(), told.encode(), hashlib.sha256).hexdigest()


def run_proof(token: str, port: int, nonce: str) -> str | None:
    """Of the daemon whose token this is, for the add-on. None: that is no nonce."""
    return _hmac(token, f"run {port} {nonce}") if _NONCE.fullmatch(nonce) else None


def is_own(peer: tuple[str, int], port: int, tables: Sequence[Path] = _CONNECTIONS) -> bool:
    """Is the other end of a connection to our `port` a program of this user, or root's? True where the system does not tell."""
    wanted = (_as_listed(*peer), _as_listed("127.0.0.1", port))
    told = False
    for _ in range(3):  # the list is no snapshot: a row may be missed while others come and go
        for table in tables:
            try:
                rows = table.read_text().splitlines()[1:]
            except OSError:
                continue
            told = True
            for row in rows:
                parts = row.split()
                # An IPv4 address within IPv6 ends with it.
                if len(parts) > 7 and (parts[1][-13:], parts[2][-13:]) == wanted:
                    return int(parts[7]) in (0, os.getuid())  # from root nothing is hidden anyway
    return not told


def _as_listed(host: str, port: int) -> str:
    """As the kernel writes it: the address as a number of the machine's own byte order."""
    return f"{struct.unpack('=I', socket.inet_aton(host))[0]:08X}:{port:04X}"


def wanted_port(file: Path) -> int:
    """The port that was paired; 0: any."""
    with contextlib.suppress(OSError):
        if (key := read(file)) is not None:
            return key.port
    return 0
