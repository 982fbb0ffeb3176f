"""The real daemon, idle and at work, on a Dovecot of its own: see bench.py.

How long a move takes is told twice. From the delivery (the server's OK to the APPEND): the server's own delay of half a
second between a change and its notice is in it. And from the notice on: when the first line that says "something is
new" passed the wire to the waiting connection after the delivery, whatever the line spoke of. Of mails that come one
right after the other half are found by the notice of our own move of the one before, before their own EXISTS; that is
told in `woken_by`. A move ends when the daemon has written into its journal that it is done.
"""

from __future__ import annotations

import contextlib
import re
import socket
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from scripts.bench_mails import MAIL
from spamd.domain import Account, AccountName, Label, MoveRecord, MoveState
from spamd.store.database import Store
from tests.daemon.conftest import Running
from tests.servers.dovecot import BINARY, Dovecot, Options
from tests.servers.mailhost import accepted, connected, mail

DELIVERIES = 100  # to each account
APART = 20  # further ones, each when all is quiet again
QUIET = 0.7  # seconds without a word on the wire; the server's delay is .5
JUNK_SENDER = "offers@junk-sender.example"
PATIENCE = 60.0  # seconds for one move
_NEWS = re.compile(rb"^\* (?:\d+ )?(EXISTS|EXPUNGE|VANISHED|FETCH|STATUS)\b", re.MULTILINE)
_COMMAND = re.compile(rb"^\w+ ((?:UID )?[A-Z]+)\b", re.MULTILINE)


class Wire:
    """Passes bytes between the daemon and the server. Notes what the server told the connection that waits, and which
    commands went over the others.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._waiting: set[socket.socket] = set()  # connections in IDLE
        self.notices: list[tuple[float, str]] = []  # time.time(), of what it spoke
        self.commands: list[tuple[float, str]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for client in accepted(self._listener):
            server = connected(self._target)
            threading.Thread(target=self._pass, args=(client, server, self._asked), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, self._told), daemon=True).start()

    def _asked(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        if b" IDLE\r\n" in data:
            self._waiting.add(server)
        elif server not in self._waiting:
            self.commands += [(time.time(), verb.decode()) for verb in _COMMAND.findall(data)]

    def _told(self, server: socket.socket, client: socket.socket, data: bytes) -> None:
        words = _NEWS.findall(data) if server in self._waiting else []
        if words:
            self.notices.append((time.time(), (b"EXISTS" if b"EXISTS" in words else words[0]).decode()))

    def _pass(
        self,
        source: socket.socket,
        target: socket.socket,
        note: Callable[[socket.socket, socket.socket, bytes], None],
    ) -> None:
        try:
            while data := source.recv(65536):
                note(source, target, data)
                target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def wait_until_quiet(self) -> None:
        while (
            last := max(self.notices[-1:] + self.commands[-1:], default=(0.0, ""))[0]
        ) > time.time() - QUIET:
            time.sleep(last + QUIET - time.time() + 0.01)

    def close(self) -> None:
        self._listener.close()


@dataclass(frozen=True, slots=True)
class Moved:
    """One delivery that was moved."""

    delivered: float  # time.time(), here and below
    noticed: float | None  # None: found by a look that was under way
    by: str  # what the notice spoke of
    done: float
    until_moved: tuple[str, ...]  # the commands between


def bench_daemon(minutes: float, share: float) -> dict[str, object]:
    """Memory and CPU of the idle daemon with two accounts, then mails that it moves."""
    if not BINARY:
        return {"skipped": "Dovecot is not installed (Debian: apt install dovecot-imapd)"}
    server = Dovecot(Options(storage="maildir"))
    with tempfile.TemporaryDirectory() as home:
        running = Running(Path(home) / "spamd")
        wires: dict[str, Wire] = {}
        try:
            kept = [file.read_bytes() for file in sorted((MAIL / "ham").glob("*.eml"))]
            for _ in range(2):
                user = server.new_user()
                server.append(user, *kept)
                wires[user] = Wire(server.port)
                running.add(_through(server.account(user), wires[user]))
            running.start()
            with running.client() as client:
                client.add_to_list(JUNK_SENDER, Label.SPAM)
            assert running.process is not None
            process = psutil.Process(running.process.pid)
            found: dict[str, object] = {"idle": _idle(process, minutes)}
            one_by_one = _deliver(server, wires, running, max(2, round(APART * share)), apart=True)
            found["each_for_itself"] = _told(one_by_one) | _commands(one_by_one)
            found["rss_mb_after_these"] = _rss_mb(process)
            found["one_after_the_other"] = _told(
                _deliver(server, wires, running, max(2, round(DELIVERIES * share)), apart=False)
            )
            found["rss_mb_after_deliveries"] = _rss_mb(process)
            found["stop_s"] = round(running.stop(), 2)
            return found
        finally:
            running.end()
            for wire in wires.values():
                wire.close()
            server.close()


def _rss_mb(process: psutil.Process) -> float:
    return round(process.memory_info().rss / 2**20, 1)


def _through(account: Account, wire: Wire) -> Account:
    return replace(account, port=wire.port)


def _idle(process: psutil.Process, minutes: float) -> dict[str, object]:
    time.sleep(min(20.0, minutes * 60))  # the start is over
    before, began = process.cpu_times(), time.monotonic()
    seen = []
    while (left := began + minutes * 60 - time.monotonic()) > 0:
        time.sleep(min(15.0, left))
        seen.append(_rss_mb(process))
    after, seconds = process.cpu_times(), time.monotonic() - began
    used = after.user - before.user + after.system - before.system
    return {
        "minutes": round(seconds / 60, 2),
        "rss_mb": max(seen),
        "uss_mb": round(process.memory_full_info().uss / 2**20, 1),  # what would be free without it
        "cpu_s_per_10_min": round(used / seconds * 600, 3),
        "threads": process.num_threads(),
    }


def _deliver(
    server: Dovecot, wires: dict[str, Wire], running: Running, count: int, *, apart: bool
) -> list[Moved]:
    """So many mails to each account, both at once; in each one mail after the other. Raises what went wrong."""
    moved: list[Moved] = []
    failed: list[BaseException] = []

    def account(user: str) -> None:
        try:
            with running.store() as store:
                for number in range(count):
                    if apart:
                        wires[user].wait_until_quiet()
                    moved.append(_one(server, user, wires[user], store, number))
        except BaseException as error:  # noqa: BLE001 raised below
            failed.append(error)

    threads = [threading.Thread(target=account, args=(user,)) for user in wires]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in failed:
        raise error
    return moved


def _one(server: Dovecot, user: str, wire: Wire, store: Store, number: int) -> Moved:
    began = time.time()
    server.append(user, mail(f"offer {number}", f"Buy number {number} now.", sender=JUNK_SENDER))
    delivered = time.time()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        done = _done(store.moves(account=AccountName(user), limit=1), began)
        if done is not None:
            end = done.changed_at
            first = next((one for one in list(wire.notices) if delivered <= one[0] <= end), None)
            commands = tuple(verb for at, verb in list(wire.commands) if delivered <= at <= end)
            noticed, by = first or (None, "a look under way")
            return Moved(delivered, noticed, by, end, commands)
        time.sleep(0.01)
    raise TimeoutError(f"no move {PATIENCE:.0f} s after delivery {number}")


def _done(moves: list[MoveRecord], since: float) -> MoveRecord | None:
    return next((one for one in moves if one.created_at >= since and one.state is MoveState.DONE), None)


def _told(moved: Sequence[Moved]) -> dict[str, object]:
    noticed = [one.done - one.noticed for one in moved if one.noticed is not None]
    return {
        "moved": len(moved),
        "woken_by": dict(Counter(one.by for one in moved).most_common()),
        "from_notice": _spread(noticed),
        "from_delivery": _spread([one.done - one.delivered for one in moved]),
    }


def _spread(seconds: Sequence[float]) -> dict[str, int]:
    if len(seconds) < 2:
        return {}
    return {
        "p50_ms": round(statistics.median(seconds) * 1e3),
        "p99_ms": round(statistics.quantiles(seconds, n=100, method="inclusive")[98] * 1e3),
        "max_ms": round(max(seconds) * 1e3),
    }


def _commands(moved: Sequence[Moved]) -> dict[str, object]:
    """Round trips of one mail, from its notice on: what makes a move slow where the server is far away."""
    counts = [len(one.until_moved) for one in moved]
    usual = next(one for one in moved if len(one.until_moved) == statistics.median_low(counts))
    return {"commands_p50": statistics.median_low(counts), "commands": " ".join(usual.until_moved)}
