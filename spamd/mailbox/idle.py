"""Waiting for news of a folder: IDLE where it works, else a question every two minutes.

Where the server has NOTIFY (RFC 5465), the same connection also hears of Junk and the folder for doubtful mail, so that a
drag out of Junk or a keyword there is known at once. IDLE stays below it: Dovecot 2.3 tells of the open folder only in
IDLE, NOTIFY or not, and a server whose NOTIFY is worth nothing then costs nothing either. The worker's look every minute
stays as well, and is what is right where both are silent.

Says only that something changed, never what; the worker looks on its own connection. The reader loses
nothing: IDLE goes on between two calls of wait(), lines that came together with another or in pieces are
read like any other, and the end of the stream is an error instead of silence.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Sequence

from spamd.domain import Account, FolderName
from spamd.errors import ConfigError, ConnectionLost, MailboxError, ProtocolFault
from spamd.mailbox.border import border
from spamd.mailbox.connection import Connection, Credential, connect
from spamd.mailbox.protocol import Response, quote, ranges, response_code
from spamd.mailbox.session import ImapSession

POLL_SECONDS = 120.0  # without IDLE
SLICE_SECONDS = 45.0  # between two looks at the clock
SLEEP_SECONDS = 20.0  # a wall clock this far ahead of the other one: the computer slept
_EVENTS = b"(MessageNew MessageExpunge FlagChange)"
_THIS_FOLDER = b"(SELECTED " + _EVENTS + b")"
EARLY_ENDS = 5  # the server ended IDLE by itself so often: it does not really have it


class ImapWatch:
    """One connection that watches a folder, and others besides it where the server can. Implements
    spamd.source.FolderWatch.

    Whatever happens after it was made counts: make it, look at the folder once, then wait.
    """

    def __init__(
        self,
        connection: Connection,
        folder: FolderName,
        raw: bytes,
        *,
        others: Sequence[bytes] = (),
        renew_seconds: float | None = None,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """others: raw names of folders to hear of by NOTIFY; without it they are left to whoever asks."""
        quirk = connection.quirk
        self.folder = folder
        self.renewals = 0
        self.connection = connection
        self.renew_seconds = quirk.idle_seconds if renew_seconds is None else renew_seconds
        self._poll_seconds = poll_seconds
        self._can_idle = connection.has("IDLE") and quirk.idle and quirk.idle_pushes
        self._idle_tag: bytes | None = None
        self._idle_since = 0.0
        self._early_ends = 0
        self._changed = False
        self._notified = False  # NOTIFY is in force
        self._overflowed = False  # the server gave it up by itself
        self._receiver, self._sender = socket.socketpair()
        for end in (self._receiver, self._sender):
            end.setblocking(False)
        self._selector = selectors.DefaultSelector()
        try:
            self._exists = connection.select(raw, what=folder, again=True).exists
            if others and self._can_idle and connection.has("NOTIFY") and quirk.notify:
                names = b" ".join(quote(other) for other in others)
                self._notified = self._notify(_THIS_FOLDER, b"(mailboxes (" + names + b") " + _EVENTS + b")")
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

    @property
    def notified(self) -> bool:
        """The other folders are heard of, too."""
        return self._notified

    def wait(self, timeout: float) -> bool:
        """True when the folder changed; False after `timeout` seconds of quiet, or on wake().

        Raises ConnectionLost (or another MailboxError); the watch is finished then.
        """
        if self.connection.broken:
            raise ConnectionLost(f"The connection to {self.connection.host} is closed.")
        try:
            with border(self.connection.host, self.connection.port):
                return self._wait(time.monotonic() + timeout)
        except MailboxError:
            self.connection.drop()
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
            if self._overflowed:
                self._give_up_notify()
                continue
            now = time.monotonic()
            due = self._idle_since + self.renew_seconds if self._can_idle else self._next_poll
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
            self.connection.receive_now()
        return False

    def _slept(self) -> bool:
        """The wall clock ran on while ours stood still: the connection may be long dead."""
        clocks = time.time() - time.monotonic()
        ahead = clocks - self._clocks
        self._clocks = clocks
        return ahead > SLEEP_SECONDS

    # -- NOTIFY

    def _notify(self, *what: bytes) -> bool:
        """False: the server does not want to. A refusal changes nothing (RFC 5465, 3.1): IDLE goes on as without."""
        reply = self.connection.command("NOTIFY", b"SET", *what, tolerate=(b"OK", b"NO", b"BAD"))
        for response in reply.responses:
            self._judge(response)
        return reply.status == b"OK"

    def _give_up_notify(self) -> None:
        """After NOTIFICATIONOVERFLOW nothing is told any more, of the open folder neither: ask for that one alone."""
        self._overflowed = self._notified = False
        if self._idle_tag is not None:
            self._renew()
        if not self._notify(_THIS_FOLDER):
            raise ConnectionLost(
                f"{self.connection.host} tells no news any more.", "It is tried again by itself."
            )

    # -- IDLE

    def _start_idle(self) -> None:
        connection = self.connection
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
        while self.connection.has_line():
            line = self.connection.read_line()
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
                raise ProtocolFault(f"{self.connection.host} sent an answer that belongs to no command.")
            return
        response = self.connection.finish_response(line[2:])
        self.connection.note(response)
        self._judge(response)

    def _judge(self, response: Response) -> None:
        number = response.number
        if response.name == b"EXISTS" and number is not None:
            self._changed |= number != self._exists
            self._exists = number
        elif response.name == b"EXPUNGE":
            self._changed = True
            self._exists = max(0, self._exists - 1)
        elif response.name == b"VANISHED":
            self._changed = True
            # Counted, or the next arrival would only bring the number up to what it was.
            with contextlib.suppress(ValueError):
                gone = sum(end - start + 1 for start, end in ranges(response.text.strip()))
                self._exists = max(0, self._exists - gone)
        elif response.name in (b"FETCH", b"STATUS"):
            self._changed = True
        elif response.name == b"OK" and self._notified:
            code = response_code(response.text)
            if code and code.name == b"NOTIFICATIONOVERFLOW":
                self._changed = self._overflowed = True

    def _renew(self) -> None:
        """Show the server (and every router on the way) that we are here, and see whether it is."""
        connection = self.connection
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
        if self._idle_tag is not None and not self.connection.broken:
            self._idle_tag = None
            with contextlib.suppress(ConnectionLost, OSError):
                self.connection.send(b"DONE\r\n")
        self._selector.close()
        self.connection.close()
        self._receiver.close()
        self._sender.close()


def open_watch(account: Account, credential: Credential, folder: FolderName) -> ImapWatch:
    """Connect, sign in and watch. Raises what connection.connect raises, and FolderMissing."""
    connection = connect(account, credential)
    try:
        session = ImapSession(connection, account)
        others = _others(session, account, folder) if connection.has("NOTIFY") else ()
        return ImapWatch(connection, folder, session.raw(folder), others=others)
    except BaseException:
        connection.drop()
        raise


def _others(session: ImapSession, account: Account, folder: FolderName) -> list[bytes]:
    """Junk and the folder for doubtful mail, raw."""
    try:
        wanted = [session.junk_folder(), account.unsure_folder]
    except ConfigError:
        return []  # the worker tells the person
    there = {one.name: one for one in session.folders()}
    chosen = dict.fromkeys(name for name in wanted if name and name != folder)
    # A name that needs a literal is left out: it is asked for every minute like before.
    return [
        there[name].raw
        for name in chosen
        if name in there and there[name].selectable and there[name].raw.isascii()
    ]
