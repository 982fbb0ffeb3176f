"""What an account downloads in a day, against what it may."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from spamd.domain import AccountName
from spamd.source import MailSession

if TYPE_CHECKING:
    from spamd.store.database import Store

PROVIDER_SHARE = 0.8
"""Of the bytes a day that a provider allows; the rest is for the person's mail programs."""
COUNT_STEP = 1_000_000
"""Bytes that may be forgotten when the program is killed."""


class DayMeter:
    """Bytes an account downloads in a day, over all of its connections, against what it may. Thread-safe.

    The limit is the person's (`daily_bytes`), else most of what the provider allows all programs together: whoever goes
    beyond that is locked out of the mailbox for hours (Gmail: 2,500 MB). Counted in memory and written down in steps.
    """

    def __init__(
        self, account: AccountName, store: Store, allowed: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._key = f"bytes:{account}"
        self._store = store
        self._person = allowed
        self._allowed = allowed
        self._clock = clock
        self._lock = threading.Lock()
        self._counted: weakref.WeakKeyDictionary[MailSession, int] = weakref.WeakKeyDictionary()
        self._unsaved = 0
        self.day = ""

    @property
    def text(self) -> str:
        """For the person, when it is used up."""
        if self._person:
            return "As much was downloaded today as you allow; new mail is looked at tomorrow."
        megabytes = self._allowed // 1_000_000
        return (
            f"{megabytes} MB were downloaded today, which is most of what the provider allows in a day; new mail is "
            "looked at tomorrow."
        )

    def used_up(self, session: MailSession | None, more: float = 0.0) -> bool:
        """Count what this connection received since it was last asked about. Is there nothing left for today?

        more: a share of the day's bytes that may be used on top.
        """
        with self._lock:
            if session is not None and not self._person:
                self._allowed = int(session.abilities.bytes_per_day * PROVIDER_SHARE)
            if not self._allowed:
                return False
            today = time.strftime("%Y-%m-%d", time.localtime(self._clock()))
            if today != self.day:
                self.day, self._unsaved = today, 0
            if session is not None:
                received = session.bytes_received()
                self._unsaved += max(0, received - self._counted.get(session, 0))
                self._counted[session] = received
            day, _, count = (self._store.state(self._key) or "").partition(" ")
            used = (int(count) if day == today and count.isdigit() else 0) + self._unsaved
            over = used >= self._allowed * (1.0 + more)
            # Not with every look: a quiet one is 300 bytes, and each write makes the disk turn.
            if self._unsaved >= min(COUNT_STEP, self._allowed // 20) or (over and self._unsaved):
                self._store.set_state(self._key, f"{today} {used}")
                self._unsaved = 0
            return over
