"""Who reads a mail before the filter does, where it may be deadly: a child process, whose end is none of ours.

It is told the length of each mail (4 bytes, big end first) and the mail, and answers with one byte: once when it is there, then
after each mail. It ends with its standard input, so with us, however we end. One that hangs is ended: all accounts wait for it.
Its start costs .2 CPU s and 40 MB, a mail .8 ms (500 of CSDMC2010).
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import BinaryIO

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "spamd.model.taster")
START_SECONDS = 60.0
READ_SECONDS = 30.0
"""For one mail."""
_WELL = b"."


class Taster:
    """One child, started when it is needed. For one thread at a time; `close` from any."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def survives(self, raw: bytes) -> bool | None:
        """Does the child live on when it has read this mail? None: no child can be had."""
        idle = self._child
        if idle is not None and idle.poll() is not None:
            self.close()  # somebody ended it while it had nothing to read: no mail did
        child = self._child or self._start()
        if child is None:
            return None
        if _asked(child, raw):
            return True
        self.close()
        return False

    def close(self) -> None:
        """The next mail has a new one."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what it did not take
                    pipe.close()

    def _start(self) -> subprocess.Popen[bytes] | None:
        flags = 0
        if sys.platform == "win32":
            flags = subprocess.CREATE_NO_WINDOW
        try:
            child = self._child = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C in the terminal is ours to answer
                creationflags=flags,
            )
        except OSError as error:
            log.warning("mail is read without a taster: %s", error.strerror)
            return None
        with _ended_after(START_SECONDS, child):
            well = _answered(child)
        if well:
            return child
        self.close()
        log.warning("mail is read without a taster: it ended at its start")
        return None


def _asked(child: subprocess.Popen[bytes], raw: bytes) -> bool:
    assert child.stdin is not None
    # It ended, or was closed.
    with _ended_after(READ_SECONDS, child), contextlib.suppress(OSError, ValueError):
        child.stdin.write(len(raw).to_bytes(4, "big") + raw)
        child.stdin.flush()
        return _answered(child)
    return False


def _answered(child: subprocess.Popen[bytes]) -> bool:
    assert child.stdout is not None
    with contextlib.suppress(OSError, ValueError):
        return child.stdout.read(1) == _WELL
    return False


@contextlib.contextmanager
def _ended_after(seconds: float, child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Where the block takes longer."""
    timer = threading.Timer(seconds, child.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def serve(mails: BinaryIO, answers: BinaryIO) -> None:
    """The child: read mail until there is no more."""
    from spamd.message.vector import vectorise

    answers.write(_WELL)
    answers.flush()
    while size := mails.read(4):
        raw = mails.read(int.from_bytes(size, "big"))
        with contextlib.suppress(Exception):  # an error is no end: the filter meets and reports it
            vectorise(raw)
        answers.write(_WELL)
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
