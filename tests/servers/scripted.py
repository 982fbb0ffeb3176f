"""A server that says exactly what a test wants, for oddities that no real server here produces.

A script is a list of steps; a connection runs through it, the last script is used again for further
connections:
    expect(r"UID FETCH") -> reads a command, which must match; its tag replaces TAG in what follows
    b"* 3 EXISTS\\r\\n"    -> is sent as it is, in one piece
    CLOSE                 -> ends the connection
Standard openings save writing the same lines again: see GREETING and sign_in().
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from spamd.domain import Account, AccountName, TlsMode
from tests.servers.mailhost import accepted


@dataclass(frozen=True)
class Expect:
    pattern: str


CLOSE = None
Step = bytes | Expect | threading.Event | ssl.SSLContext | None
"""What is sent, a command that is expected, something to wait for, the begin of TLS, or the end."""


def expect(pattern: str) -> Expect:
    return Expect(pattern)


def answer(pattern: str, *lines: str, status: str = "OK done") -> list[Step]:
    """A command and its whole answer."""
    text = "".join(line + "\r\n" for line in lines) + f"TAG {status}\r\n"
    return [expect(pattern), text.encode("utf-8", "surrogateescape")]


def sign_in(capabilities: str = "IMAP4rev1 IDLE", *, login: str = "OK welcome") -> list[Step]:
    """Greeting to signed in, as spamd does it. (A greeting with capabilities: imaplib of Python 3.14 does not ask for them.)"""
    return [
        b"* OK ready\r\n",
        *answer("CAPABILITY", f"* CAPABILITY {capabilities}"),
        *answer("LOGIN|AUTHENTICATE", status=login),
        *answer("CAPABILITY", f"* CAPABILITY {capabilities}"),
    ]


def opened(exists: int = 3, *, validity: int = 7, next_uid: int = 4, writable: bool = False) -> list[Step]:
    """EXAMINE or SELECT of a folder."""
    return answer(
        "SELECT" if writable else "EXAMINE|SELECT",
        f"* {exists} EXISTS",
        f"* OK [UIDVALIDITY {validity}] ok",
        f"* OK [UIDNEXT {next_uid}] ok",
        "* OK [PERMANENTFLAGS (\\Seen \\*)] ok",
        status="OK [READ-WRITE] done" if writable else "OK [READ-ONLY] done",
    )


class ScriptedServer:
    """Runs its scripts, one per connection. `received`: the commands, without tags.

    `failures`: broken expectations.
    """

    host = "127.0.0.1"

    def __init__(self, scripts: Sequence[Sequence[Step]]) -> None:
        self._scripts = list(scripts)
        self.received: list[str] = []
        self.failures: list[str] = []
        self.connections = 0
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((self.host, 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._listen, name="scripted", daemon=True)]
        self._threads[0].start()

    def account(self) -> Account:
        return Account(AccountName("scripted"), host=self.host, port=self.port, user="u", tls=TlsMode.NONE)

    def _listen(self) -> None:
        for client in accepted(self._listener):
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self._sockets.append(client)
            thread = threading.Thread(target=self._play, args=(client, script), name="scripted", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _play(self, client: socket.socket, script: Sequence[Step]) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tag = b"TAG"
        try:
            with contextlib.ExitStack() as stack:
                lines = stack.enter_context(stack.enter_context(client).makefile("rb"))
                for step in script:
                    if isinstance(step, bytes):
                        client.sendall(step.replace(b"TAG", tag))
                    elif isinstance(step, Expect):
                        line = self._command(client, lines)
                        if line is None:
                            return
                        first, _, command = line.partition(b" ")
                        if command:  # DONE has no tag: what is answered is the IDLE before
                            tag = first
                        text = (command or first).decode("utf-8", "replace").strip()
                        self.received.append(text)
                        if not re.search(step.pattern, text, re.IGNORECASE):
                            self.failures.append(f"expected {step.pattern!r}, got {text!r}")
                            return
                    elif isinstance(step, threading.Event):
                        step.wait(60)
                    elif isinstance(step, ssl.SSLContext):
                        client = stack.enter_context(step.wrap_socket(client, server_side=True))
                        lines = stack.enter_context(client.makefile("rb"))
                    else:
                        return
                lines.read()  # until the client goes
        except OSError:
            return

    @staticmethod
    def _command(client: socket.socket, lines) -> bytes | None:  # type: ignore[no-untyped-def]
        """One command with its literals; a continuation is asked for."""
        whole = b""
        while line := lines.readline():
            whole += line
            match = re.search(rb"\{(\d+)(\+?)\}\r\n$", line)
            if not match:
                return bytes(whole.strip())
            if not match[2]:
                client.sendall(b"+ go on\r\n")
            whole += lines.read(int(match[1]))
        return None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)


@pytest.fixture
def scripted_server():
    """scripted_server(script, ...) -> a ScriptedServer; every expectation is checked at the end."""
    servers: list[ScriptedServer] = []

    def make(*scripts: Sequence[Step]) -> ScriptedServer:
        servers.append(ScriptedServer(scripts))
        return servers[-1]

    yield make
    for server in servers:
        server.close()
    assert [failure for server in servers for failure in server.failures] == []
