"""An orderly end on SIGTERM. A GUI main loop never comes back to Python for a signal: a thread waits for them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

STOP_SECONDS = 3.0
"""A display that hangs must not keep us."""


class Signals:
    """Made before anything starts a thread: a thread that existed before would not have them blocked."""

    def __init__(self) -> None:
        self._stop: Callable[[], None] | None = None
        if sys.platform != "win32":
            self._chosen = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
            signal.pthread_sigmask(signal.SIG_BLOCK, self._chosen)
            threading.Thread(target=self._wait, name="tray-signals", daemon=True).start()

    def stop_with(self, stop: Callable[[], None]) -> None:
        """What ends the program once there is an icon; until then it just ends."""
        self._stop = stop

    def _wait(self) -> None:
        if sys.platform != "win32":
            signal.sigwait(self._chosen)
            if self._stop is None:
                os._exit(0)
            threading.Timer(STOP_SECONDS, os._exit, [0]).start()
            self._stop()
