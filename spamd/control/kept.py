"""Slow answers, kept for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Kept:
    """Of one `Control`. Safe to call from any thread."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, Any]] = {}

    def remember(self, key: str, seconds: float, work: Callable[[], Any]) -> Any:
        """A slow answer, at most so many seconds old. Two threads may both work it out: harmless."""
        now = time.monotonic()
        kept = self._kept.get(key)
        if kept is not None and kept[0] > now:
            return kept[1]
        answer = work()
        self._kept[key] = (now + seconds, answer)
        return answer

    def after_change(self) -> None:
        """After a change. Trends may be a minute old: one answer among thousands of mails does not show there."""
        self._kept = {key: kept for key, kept in self._kept.items() if key.startswith("trends")}

    def clear(self) -> None:
        self._kept = {}
