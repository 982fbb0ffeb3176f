"""The real daemon, idle and at work, on a Dovecot of its own: see bench.py.

How long a move takes is told from the notice on: the moment the bytes of "* n EXISTS" pass a wire between server and
daemon. It ends when the daemon has written in its journal that the move is done. Dovecot's own delay between delivery
and notice (500 ms) is not in it.
"""

from __future__ import annotations

import contextlib
import re
import socket
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import MAIL  # noqa: E402

from spamd.domain import Account, AccountName, Label, MoveRecord, MoveState  # noqa: E402
from tests.daemon.conftest import Running  # noqa: E402
from tests.servers.dovecot import BINARY, Dovecot, Options  # noqa: E402
from tests.servers.mailhost import mail  # noqa: E402

DELIVERIES = 200
JUNK_SENDER = "offers@junk-sender.example"
PATIENCE = 60.0  # seconds for one move
_EXISTS = re.compile(rb"^\* \d+ EXISTS\r$", re.MULTILINE)


class Wire:
    """Passes bytes between the daemon and the server, and notes when the server said that there is new mail."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._watching: set[socket.socket] = set()  # connections in IDLE
        self.notices: list[float] = []  # time.time()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        try:
            while data := source.recv(65536):
                if not answers and b" IDLE\r\n" in data:
                    self._watching.add(target)
                elif answers and source in self._watching and _EXISTS.search(data):
                    self.notices.append(time.time())
                target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


def bench_daemon(minutes: float = 10.0) -> dict[str, object]:
    """Memory and CPU of the idle daemon with two accounts, then DELIVERIES mails that it moves."""
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
            idle = _idle(process, minutes)
            moves = _deliver(server, wires, running)
            after = process.memory_info().rss / 2**20
            stopped = running.stop()
            return {
                "idle": idle,
                "notice_to_move": moves,
                "rss_mb_after_deliveries": round(after, 1),
                "stop_s": round(stopped, 2),
            }
        finally:
            running.end()
            for wire in wires.values():
                wire.close()
            server.close()


def _through(account: Account, wire: Wire) -> Account:
    return replace(account, port=wire.port)


def _idle(process: psutil.Process, minutes: float) -> dict[str, object]:
    time.sleep(min(20.0, minutes * 60))  # the start is over
    before, began = process.cpu_times(), time.monotonic()
    seen = []
    while (left := began + minutes * 60 - time.monotonic()) > 0:
        time.sleep(min(15.0, left))
        seen.append(process.memory_info().rss / 2**20)
    after, seconds = process.cpu_times(), time.monotonic() - began
    used = after.user - before.user + after.system - before.system
    return {
        "minutes": round(seconds / 60, 2),
        "rss_mb": round(max(seen), 1),
        "uss_mb": round(process.memory_full_info().uss / 2**20, 1),  # what would be free without it
        "cpu_s_per_10_min": round(used / seconds * 600, 3),
        "threads": process.num_threads(),
    }


def _deliver(server: Dovecot, wires: dict[str, Wire], running: Running) -> dict[str, object]:
    """Both accounts at once, one mail after the other in each."""
    waits: list[tuple[float, float]] = []
    failed: list[str] = []

    def account(user: str, count: int) -> None:
        try:
            with running.store() as store:
                waits.extend(_one(user, number, store) for number in range(count))
        except Exception as error:  # noqa: BLE001 told below
            failed.append(f"{type(error).__name__}: {error}")

    def _one(user: str, number: int, store) -> tuple[float, float]:  # type: ignore[no-untyped-def]
        wire = wires[user]
        told = len(wire.notices)
        sent = time.time()
        server.append(user, mail(f"offer {number}", f"Buy number {number} now.", sender=JUNK_SENDER))
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            done = _done(store.moves(account=AccountName(user), limit=1), sent)
            if done is not None:
                noticed = wire.notices[told] if len(wire.notices) > told else sent
                return done.changed_at - noticed, done.changed_at - sent
            time.sleep(0.02)
        raise TimeoutError(f"no move {PATIENCE:.0f} s after delivery {number}")

    threads = [threading.Thread(target=account, args=(user, DELIVERIES // len(wires))) for user in wires]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    noticed, delivered = sorted(one for one, _ in waits), sorted(two for _, two in waits)
    found: dict[str, object] = {"deliveries": len(waits)}
    if failed:
        found["failed"] = "; ".join(failed)
    if len(waits) > 1:
        found |= {
            "p50_ms": round(statistics.median(noticed) * 1e3),
            "p99_ms": round(statistics.quantiles(noticed, n=100, method="inclusive")[98] * 1e3),
            "max_ms": round(noticed[-1] * 1e3),
            "p50_ms_from_delivery": round(statistics.median(delivered) * 1e3),
        }
    return found


def _done(moves: list[MoveRecord], since: float) -> MoveRecord | None:
    return next((one for one in moves if one.created_at >= since and one.state is MoveState.DONE), None)
