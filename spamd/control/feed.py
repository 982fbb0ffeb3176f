"""Happenings, and who wants to hear of them."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping

from spamd.answers import Happening


class Feed:
    """Who wants to hear of happenings. Listeners must return at once and never raise."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._listeners: dict[int, Callable[[Happening], None]] = {}

    @property
    def heard_by(self) -> int:
        """How many listen now."""
        with self._lock:
            return len(self._listeners)

    def publish(self, kind: str, data: Mapping[str, object]) -> None:
        """data: JSON values only, no mail text beyond what the store may keep for display."""
        happening = Happening(kind, dict(data), self._clock())
        with self._lock:
            listeners = list(self._listeners.values())
        for listener in listeners:
            listener(happening)

    def listen(self, listener: Callable[[Happening], None]) -> Callable[[], None]:
        """Returns what to call to stop listening."""
        with self._lock:
            number = next(self._numbers)
            self._listeners[number] = listener

        def forget() -> None:
            with self._lock:
                self._listeners.pop(number, None)

        return forget
