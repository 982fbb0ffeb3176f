"""A proxy between client and server that makes trouble at a chosen moment. Plain connections; of encrypted ones only the flow can be changed.

A fault belongs to the nth command (counted over all connections) that matches a pattern: cut before it
reaches the server, cut after the server carried it out and before the client hears of it, cut in the middle
of the answer (inside a literal), answer BAD or NO instead of passing it on. Or the proxy breaks every
answer into pieces of a few bytes, or swallows everything without closing (half-open).
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.servers.mailhost import accepted, connected


@dataclass
class Fault:
    """What to do with the nth matching command. kind: before, after, inside, refuse, hang."""

    kind: str
    pattern: str
    nth: int = 1
    every: bool = False  # not only the nth
    answer: str = "BAD not understood"  # for refuse
    at: int = 20  # for inside: bytes of the answer that still get through
    happened: threading.Event = field(default_factory=threading.Event)
    seen: int = 0


class FaultProxy:
    """Listens on its own port. `commands` is what clients sent, without tags. `target`: the server's port; a server that
    is started again may get another one."""

    host = "127.0.0.1"

    def __init__(self, port: int, *, raw: bool = False) -> None:
        self.target = port
        self.raw = raw
        self.commands: list[str] = []
        self.fragment = 0  # bytes; 0: pass on as it comes
        self.hold = threading.Event()  # set: nothing passes any more, and nothing is closed
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((self.host, 0))
        self.port = int(self._listener.getsockname()[1])
        self._spawn(self._listen)

    # -- orders

    def cut_before(self, pattern: str, nth: int = 1) -> Fault:
        return self._order(Fault("before", pattern, nth))

    def cut_after(self, pattern: str, nth: int = 1) -> Fault:
        """The server does it, the answer is lost."""
        return self._order(Fault("after", pattern, nth))

    def cut_inside(self, pattern: str, nth: int = 1, at: int = 20) -> Fault:
        """The first `at` bytes of the answer arrive."""
        return self._order(Fault("inside", pattern, nth, at=at))

    def refuse(
        self, pattern: str, nth: int = 1, *, every: bool = True, answer: str = "BAD not understood"
    ) -> Fault:
        return self._order(Fault("refuse", pattern, nth, every=every, answer=answer))

    def hang(self, pattern: str, nth: int = 1) -> Fault:
        """The command arrives, the answer never does, and nobody closes."""
        return self._order(Fault("hang", pattern, nth))

    def _order(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def peace(self) -> None:
        """No more faults."""
        with self._lock:
            self._faults.clear()
        self.fragment = 0
        self.hold.clear()

    def cut_all(self) -> None:
        """Every connection ends now."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for sock in sockets:
            _shut(sock)

    def close(self) -> None:
        _shut(self._listener)
        self._listener.close()
        self.cut_all()
        for thread in self._threads:
            thread.join(30)

    # -- work

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name="fault-proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        for client in accepted(self._listener):
            try:
                server = connected(self.target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._sockets += [client, server]
            connection = _Connection(self, client, server)
            self._spawn(connection.upward)
            self._spawn(connection.downward)

    def _match(self, command: str) -> Fault | None:
        with self._lock:
            self.commands.append(command)
            for fault in self._faults:
                if re.search(fault.pattern, command, re.IGNORECASE):
                    fault.seen += 1
                    if fault.seen == fault.nth or (fault.every and fault.seen >= fault.nth):
                        return fault
        return None


class _Connection:
    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy, self.client, self.server = proxy, client, server
        self.fault: Fault | None = None  # works on the next answer
        self.tag = b""
        self.passed = 0
        self.answer = bytearray()

    def upward(self) -> None:
        """Client to server, line by line; literals pass untouched."""
        buffer = bytearray()
        literal = 0
        idling = False
        continued = False  # the line goes on after a literal
        try:
            while data := self.client.recv(65536):
                if self.proxy.raw:
                    self.server.sendall(data)
                    continue
                buffer += data
                while buffer:
                    if literal:
                        piece = bytes(buffer[:literal])
                        del buffer[:literal]
                        literal -= len(piece)
                        self.server.sendall(piece)
                        continue
                    line, found, _ = bytes(buffer).partition(b"\n")
                    if not found:
                        break
                    line += b"\n"
                    del buffer[: len(line)]
                    match = re.search(rb"\{(\d+)\+?\}\r\n$", line)
                    literal = int(match[1]) if match else 0
                    if idling or continued:
                        idling = idling and not line.upper().startswith(b"DONE")
                        fault = self.proxy._match("DONE") if not continued else None
                    else:
                        self.tag, _, command = line.partition(b" ")
                        text = command.decode("latin-1").strip()
                        idling = text.upper() == "IDLE"
                        fault = self.proxy._match(text)
                    continued = bool(match)
                    if fault and not self._obey(fault):
                        continue
                    self.server.sendall(line)
        except OSError:
            pass
        finally:
            if not self.proxy.hold.is_set():
                _shut(self.server)
                _shut(self.client)

    def _obey(self, fault: Fault) -> bool:
        """Whether the command still goes to the server."""
        if fault.kind == "before":
            fault.happened.set()
            raise OSError("cut before")
        if fault.kind == "refuse":
            self.client.sendall(self.tag + b" " + fault.answer.encode() + b"\r\n")
            fault.happened.set()
            return False
        if fault.kind == "hang":
            self.proxy.hold.set()
            fault.happened.set()
            return True
        self.fault, self.passed = fault, 0
        self.answer.clear()
        return True

    def downward(self) -> None:
        """Server to client."""
        try:
            while data := self.server.recv(65536):
                if self.proxy.hold.is_set():
                    continue
                fault = self.fault
                if fault and fault.kind == "after":
                    self.answer += data
                    if re.search(
                        rb"(^|\n)" + re.escape(self.tag) + rb" [A-Z]+ ?[^\n]*\n", bytes(self.answer)
                    ):
                        fault.happened.set()
                        break
                    continue
                if fault and fault.kind == "inside":
                    keep = data[: fault.at - self.passed]
                    self.client.sendall(keep)
                    self.passed += len(keep)
                    if self.passed >= fault.at:
                        fault.happened.set()
                        break
                    continue
                size = self.proxy.fragment or len(data)
                for start in range(0, len(data), size):
                    self.client.sendall(data[start : start + size])
        except OSError:
            pass
        finally:
            if not self.proxy.hold.is_set():
                _shut(self.client)
                _shut(self.server)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def fault_proxy():
    """fault_proxy(port) -> a FaultProxy in front of that server. raw: passes on what it cannot read (TLS)."""
    proxies: list[FaultProxy] = []

    def make(port: int, *, raw: bool = False) -> FaultProxy:
        proxies.append(FaultProxy(port, raw=raw))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()
