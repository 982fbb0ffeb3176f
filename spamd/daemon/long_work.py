"""Training and first readings under way, as they are told."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from spamd.answers import Progress, Publish

KEPT = 60.0
"""Seconds for which what has ended is told."""


class LongWork:
    """Thread-safe."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._lock = threading.Lock()
        self._progress: dict[str, tuple[Progress, float | None]] = {}  # and when it ended (monotonic)

    def begin(self, progress: Progress) -> bool:
        """False where the same is under way already."""
        key = _key(progress)
        with self._lock:
            running = self._progress.get(key)
            if running is not None and not running[0].finished:
                return False
            self._progress[key] = (progress, None)
        return True

    def under_way(self, kind: str) -> bool:
        """Of any account."""
        with self._lock:
            return any(one.kind == kind and not one.finished for one, _ in self._progress.values())

    def note(self, progress: Progress) -> None:
        with self._lock:
            self._progress[_key(progress)] = (progress, time.monotonic() if progress.finished else None)
        told = {"done": progress.done, "total": progress.total, "text": progress.text}
        ended = {"finished": progress.finished, "error": progress.error}
        self._publish("progress", {"kind": progress.kind, "account": progress.account, **told, **ended})

    def all(self) -> Sequence[Progress]:
        """Also those that ended in the last minute."""
        now = time.monotonic()
        with self._lock:
            self._progress = {
                key: (progress, ended)
                for key, (progress, ended) in self._progress.items()
                if ended is None or now - ended < KEPT
            }
            return [progress for progress, _ in self._progress.values()]


def _key(progress: Progress) -> str:
    return f"{progress.kind} {progress.account}" if progress.account else progress.kind
