"""The thread that waits for changes, on a connection of its own (IDLE); it says only that something changed."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator

from spamd.domain import INBOX, Account
from spamd.errors import CredentialError, MailboxError, ServerBusy, SignInError
from spamd.judgement import schedule
from spamd.source import FolderWatch, Opener

log = logging.getLogger(__name__)

SIGN_IN_RETRY = 3600.0
"""Seconds until a sign-in that was refused is tried again, unless the person changes something (a server may be mistaken)."""
LEND_SECONDS = 30.0
"""The watch gives up its place at once, unless it hangs in a read."""


class Watching:
    """Of one account. `run` is the thread; the rest may be called from any other."""

    def __init__(
        self,
        account: Account,
        opener: Opener,
        *,
        changed: Callable[[], None],
        working: Callable[[], bool],
        stopping: threading.Event,
        rng: random.Random,
    ) -> None:
        """changed: called when there is something to look at. working: has the acting thread a connection that works?"""
        self._account = account
        self._opener = opener
        self._changed = changed
        self._working = working
        self._stopping = stopping
        self._rng = rng
        self._watch: FolderWatch | None = None
        self._anew = False
        self._lock = threading.Lock()
        self._lent = 0  # others that use its place for a connection of theirs

    @property
    def stands(self) -> bool:
        """It waits, and will tell; else changes are found by looking."""
        return self._watch is not None

    def interrupt(self) -> None:
        """It looks whether it is to go on."""
        watch = self._watch
        if watch is not None:
            watch.wake()

    def renew(self) -> None:
        """Its connection is probably dead, however alive it looks: it would find out in nine minutes."""
        self._anew = True
        self.interrupt()

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """In this block another connection takes its place: an account has two, no more."""
        with self._lock:
            self._lent += 1
        try:
            deadline = time.monotonic() + LEND_SECONDS
            while (watch := self._watch) is not None and time.monotonic() < deadline:
                watch.wake()
                if self._stopping.wait(0.05):
                    break
            yield
        finally:
            with self._lock:
                self._lent -= 1

    def run(self) -> None:
        """Until stopped, whatever fails."""
        attempt = 0
        while not self._stopping.is_set():
            if self._lent:
                self._stopping.wait(0.2)
                continue
            self._anew = False
            try:
                watch = self._opener.watch(self._account, INBOX)
            except (MailboxError, CredentialError) as error:
                attempt += 1
                self._pause(self._seconds_after(error, attempt))
                continue
            except Exception:
                attempt += 1
                log.exception("%s: watching failed", self._account.name)
                self._pause(schedule.backoff(attempt, self._rng))
                continue
            self._watch = watch
            try:
                self._changed()  # what came before the watch stood
                while not (self._stopping.is_set() or self._anew or self._lent):
                    if watch.wait(schedule.idle_renewal(self._rng)):
                        self._changed()
                    attempt = 0
            except MailboxError:
                attempt += 1
            except Exception:
                attempt += 1
                log.exception("%s: watching failed", self._account.name)
            finally:
                try:
                    watch.close()
                except Exception:
                    log.exception("%s: a watch could not be closed", self._account.name)
                self._watch = None  # not before: whoever has its place lent would have a third connection
            self._changed()
            if not self._stopping.is_set():
                self._pause(schedule.backoff(attempt, self._rng) if attempt else 0.5)

    def _seconds_after(self, error: MailboxError | CredentialError, attempt: int) -> float:
        # Refused while the other connection works: some providers say that when there are too many.
        refused = isinstance(error, SignInError | CredentialError)
        busy = isinstance(error, ServerBusy)
        if refused and not self._working():
            return SIGN_IN_RETRY
        pause = schedule.backoff(attempt, self._rng, busy=refused or busy)
        return max(pause, error.seconds) if isinstance(error, ServerBusy) else pause

    def _pause(self, seconds: float) -> None:
        """Wait; but no longer than until the acting thread has a connection again.

        One that it had all along is no such sign: a server that allows one connection would be asked every two seconds.
        """
        deadline = time.monotonic() + seconds
        lost = not self._working()
        while not self._stopping.is_set():
            left = deadline - time.monotonic()
            working = self._working()
            lost |= not working
            if left <= 0 or (working and lost and seconds - left > 2.0):
                return
            self._stopping.wait(min(left, 2.0))
