"""One at a time, across processes: a lock on a file that the system takes back when its holder dies."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from spamd.errors import StoreBusy

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class FileLock:
    """An exclusive lock, held from take() to release(). The file stays; its content is a note on the holder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def take(self, note: str = "") -> bool:
        """False if someone else holds it. OSError where the file cannot be made."""
        if self._descriptor is not None:
            return True
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            if not _try(descriptor):
                os.close(descriptor)
                return False
            if note and sys.platform != "win32":  # Windows forbids reading the locked byte
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, note.encode("utf-8"), 0)
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Nothing happens if it is not held."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            if sys.platform == "win32":
                with contextlib.suppress(OSError):
                    msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
            os.close(descriptor)

    @property
    def held(self) -> bool:
        """False, too, where the file was removed or replaced under its holder: then others can take it."""
        if self._descriptor is None:
            return False
        try:
            there, ours = os.stat(self.path), os.fstat(self._descriptor)  # noqa: PTH116 beside fstat
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


if sys.platform == "win32":

    def _try(descriptor: int) -> bool:
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:

    def _try(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextlib.contextmanager
def locked(path: Path, *, seconds: float = 60.0) -> Iterator[None]:
    """Wait for the lock and hold it inside the block. StoreBusy if it does not become free."""
    lock = FileLock(path)
    deadline = time.monotonic() + seconds
    pause = 0.001
    while not lock.take():
        if time.monotonic() > deadline:
            raise StoreBusy(f"{path} is held by another program.", "Look whether a second daemon is running.")
        time.sleep(pause)
        pause = min(pause * 2, 0.1)
    try:
        yield
    finally:
        lock.release()


__all__ = ["FileLock", "locked"]
