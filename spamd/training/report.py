"""What the trainer says while it works: one JSON object per line on standard output, nothing else there."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO


class NothingToLearn(Exception):
    """The night is refused before it begins; the text says why."""


class Reporter:
    """Writes events. A reader that went away (a killed parent) is no error: the trainer then simply ends unheard."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._last = -1

    def event(self, name: str, **values: Any) -> None:
        try:
            self._out.write(json.dumps({"event": name, **values}, allow_nan=False) + "\n")
            self._out.flush()
        except BrokenPipeError:
            raise SystemExit(1) from None

    def progress(self, stage: str, done: int, of: int) -> None:
        """At most a hundred lines per stage."""
        percent = 100 * done // max(1, of)
        if percent != self._last or done == of:
            self._last = percent
            self.event("progress", stage=stage, done=done, of=of)
