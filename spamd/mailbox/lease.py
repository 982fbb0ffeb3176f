"""One daemon per mailbox on this computer.

Two daemons with homes of their own could be told to look after the same mailbox; each would move and learn what the
other does. The lease is a locked file outside of both homes, named after the mailbox. The system takes the lock back
when its holder dies, however it dies. Daemons on different computers are kept apart by the mover's
keywords (domain.MOVING_KEYWORD, domain.MOVED_KEYWORD) where the server keeps any.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import threading
from pathlib import Path

from spamd.domain import Account, SourceKind
from spamd.errors import ServerBusy
from spamd.file_lock import FileLock

_held: dict[str, FileLock] = {}
_lock = threading.Lock()


def mailbox_key(account: Account) -> str:
    """The same for two accounts that are the same mailbox."""
    if account.kind is SourceKind.IMAP:
        name = f"imap|{account.host.lower().rstrip('.')}|{account.port}|{account.user}"
    else:
        name = f"file|{Path(account.path).expanduser().resolve()}"
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def take(account: Account, folder: Path | None = None) -> None:
    """Hold the mailbox until this process ends or gives it up. Taking it again is nothing new, unless the lock was removed.

    Raises ServerBusy if another process has it. Where no lock file can be made, there is no protection and no error.
    """
    key = mailbox_key(account)
    with _lock:
        try:
            if key in _held and _held[key].held:
                return
            if key in _held:
                _held.pop(key).release()
            lock = FileLock((folder or _folder()) / f"{key}.lock")
            taken = lock.take(str(os.getpid()))
        except OSError:
            return
        if not taken:
            raise ServerBusy(
                "Another spamd on this computer looks after this mailbox.",
                "Stop one of the two, or remove the account from one of them.",
            )
        _held[key] = lock


def keep() -> None:
    """Touch what is held, once a day: of temporary files systemd removes those that nobody has touched for ten days."""
    with _lock:
        for lock in _held.values():
            with contextlib.suppress(OSError):
                os.utime(lock.path)


def give_up(account: Account) -> None:
    """Nothing happens if it is not held."""
    with _lock:
        lock = _held.pop(mailbox_key(account), None)
    if lock is not None:
        lock.release()


def _folder() -> Path:
    """A folder that all homes of this person share, and that nobody else can write to. OSError if there is none."""
    if sys.platform != "win32":
        folder = Path(tempfile.gettempdir()) / f"spamd-desktop-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        stat = folder.lstat()
        if folder.is_symlink() or stat.st_uid != os.getuid() or stat.st_mode & 0o022:
            raise PermissionError(f"{folder} belongs to somebody else")
    else:  # the folder for temporary files is the person's own there
        folder = Path(tempfile.gettempdir()) / "spamd-desktop"
    return folder


__all__ = ["give_up", "keep", "mailbox_key", "take"]
