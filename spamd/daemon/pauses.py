"""For how long the person wants no verdicts and no moves, for one account or for all; kept over restarts."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from spamd.domain import AccountName
from spamd.errors import StoreError

if TYPE_CHECKING:
    from spamd.store.database import Store


class Pauses:
    """Thread-safe. None as an account: all of them; None as a time: until resumed."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._pauses = self._load()  # "*": all

    def pause(self, account: AccountName | None, until: float | None) -> None:
        with self._lock:
            self._set({**self._pauses, account or "*": until})

    def resume(self, account: AccountName | None, accounts: Iterable[AccountName]) -> None:
        """accounts: all there are; where all are paused, the others stay so."""
        with self._lock:
            left: dict[str, float | None] = {}
            if account is not None:
                left = {key: until for key, until in self._pauses.items() if key != "*"}
                for name in accounts if "*" in self._pauses else ():
                    paused, until = self.of(name)
                    if paused:
                        left[name] = until
                left.pop(account, None)
            self._set(left)

    def forget(self, account: AccountName) -> None:
        """It was removed: one that is added under its name later is another."""
        with self._lock:
            if account in self._pauses:
                self._set({key: until for key, until in self._pauses.items() if key != account})

    def end(self, now: float) -> bool:
        """Those whose time is over. Was there one?"""
        with self._lock:
            left = {key: until for key, until in self._pauses.items() if until is None or until > now}
            if left == self._pauses:
                return False
            try:
                self._set(left)
            except StoreError:  # a full disk: what is written there is over for whoever reads it
                self._pauses = left
        return True

    def of(self, account: AccountName) -> tuple[bool, float | None]:
        """Paused, and until when: the later one of all accounts' pause and its own."""
        now, pauses = self._clock(), self._pauses
        ends = [pauses[key] for key in ("*", account) if key in pauses]
        left = [end for end in ends if end is not None and end > now]
        if None in ends:
            return True, None
        return bool(left), max(left, default=None)

    def _load(self) -> dict[str, float | None]:
        try:
            rows = json.loads(self._store.state("pauses") or "{}")
            return {str(k): None if v is None else float(v) for k, v in rows.items()}
        except (ValueError, TypeError, AttributeError):
            return {}

    def _set(self, pauses: dict[str, float | None]) -> None:
        self._store.set_state("pauses", json.dumps(pauses))
        # Not before: who is told that it cannot be written down must not be paused after all.
        self._pauses = pauses
