"""Who reads a mail before the filter does, where it may be deadly: a child process, whose end is none of ours.

It is told the length of each mail (4 bytes, big end first) and the mail, and answers with one byte: once when it is there, then
after each mail. It ends with its standard input, so with us, however we end. Its start costs .2 CPU s and 40 MB,
a mail .8 ms (500 of CSDMC2010).
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from typing import BinaryIO

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "spamd.model.taster")
_WELL = b"."


class Taster:
    """One child, started when it is needed. For one thread at a time; `close` from any."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def survives(self, raw: bytes) -> bool | None:
        """Does the child live on when it has read this mail? None: no child can be had."""
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
        if _answered(child):
            return child
        self.close()
        log.warning("mail is read without a taster: it ended at its start")
        return None


def _asked(child: subprocess.Popen[bytes], raw: bytes) -> bool:
    assert child.stdin is not None
    with contextlib.suppress(OSError, ValueError):  # it ended, or was closed
        child.stdin.write(len(raw).to_bytes(4, "big") + raw)
        child.stdin.flush()
        return _answered(child)
    return False


def _answered(child: subprocess.Popen[bytes]) -> bool:
    assert child.stdout is not None
    with contextlib.suppress(OSError, ValueError):
        return child.stdout.read(1) == _WELL
    return False


def serve(mails: BinaryIO, answers: BinaryIO) -> None:
    """The child: read mail until there is no more."""
    from spamd.message.vector import vectorise

    answers.write(_WELL)
    answers.flush()
    while size := mails.read(4):
        with contextlib.suppress(Exception):  # an error is no end: the filter meets and reports it
            vectorise(mails.read(int.from_bytes(size, "big")))
        answers.write(_WELL)
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
