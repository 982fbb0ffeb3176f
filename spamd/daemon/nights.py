"""The training at work: when it is due, or the person asks for it; one at a time, told as it goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from spamd.answers import Progress, TellPerson
from spamd.daemon.long_work import LongWork
from spamd.errors import RequestError, SpamdError

if TYPE_CHECKING:
    from spamd.nightly import Nightly

log = logging.getLogger(__name__)

LOOK_EVERY = 60.0
"""Seconds between two looks whether one is due."""


class Nights:
    """Each on a thread of its own. Thread-safe."""

    def __init__(
        self,
        nightly: Nightly,
        work: LongWork,
        *,
        model_changed: Callable[[], None],
        tell: TellPerson,
        spawn: Callable[[str, Callable[[], None]], None],
        stopping: threading.Event,
        clock: Callable[[], float],
    ) -> None:
        """model_changed: called when another model may be the current one."""
        self._nightly = nightly
        self._work = work
        self._model_changed = model_changed
        self._tell = tell
        self._spawn = spawn
        self._stopping = stopping
        self._clock = clock
        self._looked_at = float("-inf")

    def look(self, now: float) -> None:
        """Once a minute, while none runs: has the person taken back too much of what this model moved? Is a night due?"""
        if 0 <= now - self._looked_at < LOOK_EVERY or self._work.under_way("train"):
            return
        self._looked_at = now
        if self._nightly.roll_back_on_rescues() is not None:
            self._model_changed()
        if self._nightly.due().due:
            self._begin(from_scratch=False)

    def train(self, *, from_scratch: bool) -> None:
        """RequestError where one runs."""
        if not self._begin(from_scratch=from_scratch):
            raise RequestError(
                "A training runs already.", "`spamdctl status` and the Model page show how far it is."
            )

    def stop(self) -> None:
        """Kill the trainer, and let none begin; nothing is changed by that."""
        self._nightly.stop()

    def _begin(self, *, from_scratch: bool) -> bool:
        began = self._clock()
        if not self._work.begin(Progress("train", None, 0, 0, "Training.", began)):
            return False
        self._spawn("night", lambda: self._run(from_scratch, began))
        return True

    def _run(self, from_scratch: bool, began: float) -> None:
        def note(done: int, total: int, text: str, finished: bool = False, error: str = "") -> None:
            self._work.note(Progress("train", None, done, total, text, began, finished, error))

        try:
            note(0, 0, "Training.")
            report = self._nightly.run_night(from_scratch=from_scratch, tell=note)
            told = "A new model serves." if report.promoted else "The model stays."
            text = " ".join(("The training waits." if report.waits else told, *report.reasons))
            self._model_changed()  # also where it is the shipped one again
            note(1, 1, text, finished=True)
        except SpamdError as error:
            if not self._stopping.is_set():
                self._tell("night", f"No training: {error}")
                note(0, 0, "", finished=True, error=str(error))
        except Exception as error:
            log.exception("the night failed")
            note(0, 0, "", finished=True, error=type(error).__name__)
