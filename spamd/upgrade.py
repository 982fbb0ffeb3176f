"""An upgrade under the feet of what runs: the program on the disk is not the one in memory any more.

pip takes the old files away before it brings the new ones, and what is imported late would then come from another
version, or from nowhere. So daemon and icon look, and once the new program starts, they end in order and become it.
"""

from __future__ import annotations

import enum
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import spamd
from spamd.service.plan import DAEMON, command
from spamd.service.running import ask

log = logging.getLogger(__name__)

GONE_SECONDS = 300.0
"""So long the program may be missing or broken before it is told; an upgrade takes seconds, a slow disk minutes."""
TRY_SECONDS = 60.0


class Change(enum.Enum):
    SAME = "same"
    NEW = "new"  # another version is there, and starts
    BROKEN = "broken"  # something is there, and does not start
    GONE = "gone"


class Program:
    """The program as it was when this process began. `look` is for one thread at a time."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        name: str = DAEMON,
        module: str = "spamd",
        file: Path | None = None,
        words: Sequence[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """arguments: with which this process was started; name, module: which of our programs it is.

        file: names the version; changes with every upgrade.
        """
        self._file = file or Path(spamd.__file__)
        self._words = list(words or command(name, module=module))
        self._arguments = list(arguments)
        self._clock = clock
        self._mine = self._read()
        self._seen = self._mine
        self._since: float | None = None  # when it was first seen to differ
        self._tried_at = float("-inf")

    def _read(self) -> bytes | None:
        try:
            return self._file.read_bytes()
        except OSError:
            return None

    def differs(self) -> bool:
        """Cheap, and starts nothing: whether it is worth a `look`."""
        return self._read() != self._mine or self._since is not None

    def look(self) -> Change:
        """What is there now. Starts the new program to see whether it can (up to a minute), seldom."""
        seen, self._seen = self._seen, self._read()
        now = self._seen
        if now == self._mine:
            self._since = None
            return Change.SAME
        at = self._clock()
        if self._since is None:
            self._since, self._tried_at = at, float("-inf")
        if now != seen:
            return Change.SAME  # still changing
        late = at - self._since >= GONE_SECONDS
        if at - self._tried_at >= TRY_SECONDS:
            self._tried_at = at
            # Also where the file is gone: a new Python has its packages elsewhere, behind the same command.
            if ask([*self._words, "--version"], seconds=60.0).ok:
                return Change.NEW
        if not late:
            return Change.SAME
        return Change.BROKEN if now is not None or Path(self._words[0]).exists() else Change.GONE

    def become(self) -> NoReturn:
        """Start the program that is there now in the place of this process. OSError if that fails."""
        words = [*self._words, *self._arguments]
        if (
            sys.platform == "win32"
        ):  # where exec is a new process, too, and the old one's exit seems to end it
            subprocess.Popen(words, creationflags=subprocess.CREATE_NEW_PROCESS_GROUP)
            os._exit(0)
        os.execv(words[0], words)
