"""What the daemon does as a process of this system: one for each home, seen by systemd, small."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from spamd.errors import AlreadyRunning
from spamd.file_lock import FileLock

if TYPE_CHECKING:
    from spamd.paths import Paths

M_TRIM_THRESHOLD, M_ARENA_MAX = -1, -8  # malloc.h


@contextlib.contextmanager
def lock(path: Path) -> Iterator[FileLock]:
    """Held while the daemon runs; the system lets go of it however the process ends. AlreadyRunning."""
    place = FileLock(path)
    if not place.take():
        raise AlreadyRunning(
            "spamd runs already.", "See `spamdctl status`; its page opens with `spamdctl open`."
        )
    try:
        yield place
    finally:
        place.release()


def notify(message: str) -> None:
    """Tell systemd (sd_notify(3)), where it listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
        speaker.connect("\0" + address[1:] if address.startswith("@") else address)
        speaker.sendall(message.encode())


def spare_memory() -> None:
    """Fewer malloc arenas (glibc makes up to eight per core, one for each of our threads).

    Give back what is free.
    """
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(AttributeError, OSError):  # another libc
        libc = ctypes.CDLL(None)
        libc.mallopt(M_ARENA_MAX, 2)
        libc.mallopt(M_TRIM_THRESHOLD, 256 * 1024)


def give_back_memory() -> None:
    """What starting up (or a busy hour) left free goes back to the system."""
    gc.collect()
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def make_database(path: Path) -> None:
    """Make the tables of a new database in a child, so that what only this needs (sqlite-utils, 8 MB) does not stay
    in our memory. Where that cannot be, or fails, opening the store does it and says what is wrong.
    """
    if path.exists() or not hasattr(os, "fork") or threading.active_count() > 1:
        return
    child = os.fork()
    if not child:
        code = 1
        try:
            from spamd.store.database import Store

            Store(path).close()
            code = 0
        finally:
            os._exit(code)
    os.waitpid(child, 0)


def bring_back(here: Paths) -> None:
    """A rescued database to its place. Where another one was put there meanwhile, that serves, and a wipe removes this one as
    it does other copies.
    """
    if here.rescued_database.exists():
        copy = here.database.with_name(f"{here.database.name}.before-start")
        shutil.move(here.rescued_database, copy if here.database.exists() else here.database)
