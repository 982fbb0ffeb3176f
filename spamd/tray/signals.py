"""An orderly end on SIGTERM. A GUI main loop never comes back to Python for a signal: a thread waits for them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator

STOP_SECONDS = 3.0
"""A display that hangs must not keep us."""


if sys.platform == "win32":
    _CHOSEN: frozenset[signal.Signals] = frozenset()
else:
    _CHOSEN = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


def open_page(address: str) -> bool:
    """In the browser. One that starts now must not have our signals blocked: a session would wait for its end."""
    with _unblocked():
        return webbrowser.open(address)


@contextlib.contextmanager
def _unblocked() -> Iterator[None]:
    """For this thread and the programs that it starts. A signal that comes just now ends us at once."""
    if sys.platform == "win32":
        yield
    else:
        before = signal.pthread_sigmask(signal.SIG_UNBLOCK, _CHOSEN)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Signals:
    """Made before anything starts a thread: a thread that existed before would not have them blocked."""

    def __init__(self) -> None:
        self._stop: Callable[[], None] | None = None
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_BLOCK, _CHOSEN)
            threading.Thread(target=self._wait, name="tray-signals", daemon=True).start()

    def stop_with(self, stop: Callable[[], None]) -> None:
        """What ends the program once there is an icon; until then it just ends."""
        self._stop = stop

    def _wait(self) -> None:
        if sys.platform != "win32":
            signal.sigwait(_CHOSEN)
            if self._stop is None:
                os._exit(0)
            threading.Timer(STOP_SECONDS, os._exit, [0]).start()
            self._stop()
