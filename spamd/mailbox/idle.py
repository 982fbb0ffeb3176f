"""Waiting for news of a folder: IDLE where it works, else a question every two minutes.

Says only that something changed, never what; the worker looks on its own connection. The reader loses
nothing: IDLE goes on between two calls of wait(), lines that came together with another or in pieces are
read like any other, and the end of the stream is an error instead of silence.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time

from spamd.domain import Account, FolderName
from spamd.errors import ConnectionLost, MailboxError, ProtocolFault
from spamd.mailbox.border import border
from spamd.mailbox.connection import Connection, Credential, connect
from spamd.mailbox.protocol import Response
from spamd.mailbox.session import ImapSession

POLL_SECONDS = 120.0  # without IDLE
SLICE_SECONDS = 45.0  # between two looks at the clock
SLEEP_SECONDS = 20.0  # a wall clock this far ahead of the other one: the computer slept
EARLY_ENDS = 5  # the server ended IDLE by itself so often: it does not really have it


class ImapWatch:
    """One connection that watches one folder. Implements spamd.source.FolderWatch.

    Whatever happens after it was made counts: make it, look at the folder once, then wait.
    """

    def __init__(
        self,
        connection: Connection,
        folder: FolderName,
        raw: bytes,
        *,
        renew_seconds: float | None = None,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        quirk = connection.quirk
        self.folder = folder
        self.renewals = 0
        self._connection = connection
        self._renew_seconds = quirk.idle_seconds if renew_seconds is None else renew_seconds
        self._poll_seconds = poll_seconds
        self._can_idle = connection.has("IDLE") and quirk.idle and quirk.idle_pushes
        self._idle_tag: bytes | None = None
        self._idle_since = 0.0
        self._early_ends = 0
        self._changed = False
        self._receiver, self._sender = socket.socketpair()
        for end in (self._receiver, self._sender):
            end.setblocking(False)
        self._selector = selectors.DefaultSelector()
        try:
            self._exists = connection.select(raw, what=folder).exists
            self._selector.register(connection.socket, selectors.EVENT_READ)
            self._selector.register(self._receiver, selectors.EVENT_READ)
        except BaseException:
            self.close()
            raise
        self._next_poll = time.monotonic() + poll_seconds
        self._clocks = time.time() - time.monotonic()

    @property
    def idling(self) -> bool:
        """IDLE is used (else polling)."""
        return self._can_idle

    def wait(self, timeout: float) -> bool:
        """True when the folder changed; False after `timeout` seconds of quiet, or on wake().

        Raises ConnectionLost (or another MailboxError); the watch is finished then.
        """
        if self._connection.broken:
            raise ConnectionLost(f"The connection to {self._connection.host} is closed.")
        try:
            with border(self._connection.host, self._connection.port):
                return self._wait(time.monotonic() + timeout)
        except MailboxError:
            self._connection.drop()
            raise

    def _wait(self, deadline: float) -> bool:
        while True:
            self._read_lines()
            if self._changed:
                self._changed = False
                return True
            if self._can_idle and self._idle_tag is None:
                self._start_idle()
                continue
            now = time.monotonic()
            due = self._idle_since + self._renew_seconds if self._can_idle else self._next_poll
            if self._slept() or now >= due:
                self._renew()
                continue
            if now >= deadline:
                return False
            if self._woken(min(deadline - now, due - now, SLICE_SECONDS)):
                return False

    def _woken(self, seconds: float) -> bool:
        """Wait for bytes or wake(); True: wake()."""
        for key, _ in self._selector.select(max(seconds, 0.0)):
            if key.fileobj is self._receiver:
                with contextlib.suppress(BlockingIOError):
                    while self._receiver.recv(4096):
                        pass
                return True
            self._connection.receive_now()
        return False

    def _slept(self) -> bool:
        """The wall clock ran on while ours stood still: the connection may be long dead."""
        clocks = time.time() - time.monotonic()
        ahead = clocks - self._clocks
        self._clocks = clocks
        return ahead > SLEEP_SECONDS

    # -- IDLE

    def _start_idle(self) -> None:
        connection = self._connection
        tag = connection.begin("IDLE")
        while True:
            line = connection.read_line()
            if line.startswith(b"+"):
                self._idle_tag, self._idle_since = tag, time.monotonic()
                return
            if line.startswith(tag + b" "):
                self._can_idle = False  # offered, but refused: ask instead
                self._next_poll = time.monotonic() + self._poll_seconds
                return
            self._take(line)

    def _read_lines(self) -> None:
        while self._connection.has_line():
            line = self._connection.read_line()
            if self._idle_tag and line.startswith(self._idle_tag + b" "):
                self._idle_tag = None
                self._early_ends += 1
                if self._early_ends >= EARLY_ENDS:
                    self._can_idle = False
                    self._next_poll = time.monotonic() + self._poll_seconds
                continue
            self._take(line)

    def _take(self, line: bytes) -> None:
        if not line.startswith(b"* "):
            if line and not line.startswith(b"+"):
                raise ProtocolFault(f"{self._connection.host} sent an answer that belongs to no command.")
            return
        response = self._connection.finish_response(line[2:])
        self._connection.note(response)
        self._judge(response)

    def _judge(self, response: Response) -> None:
        number = response.number
        if response.name == b"EXISTS" and number is not None:
            self._changed |= number != self._exists
            self._exists = number
        elif response.name == b"EXPUNGE":
            self._changed = True
            self._exists = max(0, self._exists - 1)
        elif response.name in (b"VANISHED", b"FETCH"):
            self._changed = True

    def _renew(self) -> None:
        """Show the server (and every router on the way) that we are here, and see whether it is."""
        connection = self._connection
        self.renewals += 1
        if self._idle_tag is None:
            for response in connection.noop().responses:
                self._judge(response)
            self._next_poll = time.monotonic() + self._poll_seconds
            return
        tag, self._idle_tag = self._idle_tag, None
        self._early_ends = 0
        connection.send(b"DONE\r\n")
        while True:
            line = connection.read_line()
            if line.startswith(tag + b" "):
                return
            self._take(line)

    # -- other threads

    def wake(self) -> None:
        """From any thread: wait() returns False at once, now or when it is called next."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._sender.send(b"w")

    def close(self) -> None:
        """End the connection. Never raises."""
        if self._idle_tag is not None and not self._connection.broken:
            self._idle_tag = None
            with contextlib.suppress(ConnectionLost, OSError):
                self._connection.send(b"DONE\r\n")
        self._selector.close()
        self._connection.close()
        self._receiver.close()
        self._sender.close()


def open_watch(account: Account, credential: Credential, folder: FolderName) -> ImapWatch:
    """Connect, sign in and watch. Raises what connection.connect raises, and FolderMissing."""
    connection = connect(account, credential)
    try:
        raw = ImapSession(connection, account).raw(folder)
        return ImapWatch(connection, folder, raw)
    except BaseException:
        connection.drop()
        raise
