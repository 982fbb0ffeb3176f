"""Folders that teach: a mail saved into teach/spam or teach/ham (as .eml) is a label.

A file is taken when it is whole, and moved into `learned` beside it afterwards, so that nothing is taught twice and
nothing is deleted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from spamd.domain import Label

_log = logging.getLogger(__name__)

LIMIT = 32 << 20  # bytes of one mail
SETTLE_SECONDS = 1.0  # a file younger than this may still be being written
LEARNED = "learned"
REFUSED = "refused"
_ENDINGS = frozenset({".eml", ".msg", ".mbox", ".txt", ""})


@dataclass(frozen=True, slots=True)
class Taught:
    """One mail that the person put there."""

    path: Path
    label: Label
    raw: bytes


class TeachFolder:
    """Both folders. Not thread-safe."""

    def __init__(self, spam: Path, ham: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.folders = {Label.SPAM: spam, Label.HAM: ham}
        self._clock = clock

    def collect(self) -> Iterator[Taught]:
        """Mails not yet taught, oldest first. Call `done` for each one afterwards."""
        for label, folder in self.folders.items():
            for path in self._files(folder):
                try:
                    raw = path.read_bytes()
                except OSError as error:
                    _log.warning("a file in %s cannot be read: %s", folder.name, error.strerror)
                    continue
                if _looks_like_mail(raw):
                    yield Taught(path, label, raw)
                else:
                    self._put_aside(path, REFUSED)

    def done(self, taught: Taught) -> bool:
        """It has been learned. False: the file cannot be moved away, and would be met again."""
        return self._put_aside(taught.path, LEARNED)

    def refuse(self, taught: Taught) -> bool:
        """It cannot be learned."""
        return self._put_aside(taught.path, REFUSED)

    def pending(self) -> bool:
        """A file is there that was too young for `collect`, or has come since."""
        return any(self._candidates(folder) for folder in self.folders.values())

    def _files(self, folder: Path) -> list[Path]:
        now = self._clock()
        out: list[tuple[float, Path]] = []
        for path in self._candidates(folder):
            with contextlib.suppress(OSError):
                stat = path.stat()
                if stat.st_size > LIMIT:
                    self._put_aside(path, REFUSED)
                elif abs(now - stat.st_mtime) >= SETTLE_SECONDS and stat.st_size > 0:
                    out.append((stat.st_mtime, path))
        return [path for _, path in sorted(out)]

    def _candidates(self, folder: Path) -> list[Path]:
        try:
            with os.scandir(folder) as entries:
                return [
                    Path(entry.path)
                    for entry in entries
                    if entry.is_file(follow_symlinks=False)
                    and not entry.name.startswith(".")
                    and Path(entry.name).suffix.lower() in _ENDINGS
                ]
        except OSError:
            return []

    def _put_aside(self, path: Path, where: str) -> bool:
        folder = path.parent / where
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            target = folder / path.name
            number = 1
            while target.exists():
                number += 1
                target = folder / f"{path.stem}-{number}{path.suffix}"
            path.rename(target)
        except OSError as error:
            _log.warning("a file in %s could not be put aside: %s", path.parent.name, error.strerror)
            return False
        return True


def _looks_like_mail(raw: bytes) -> bool:
    """Starts with header fields (or an mbox From_ line)."""
    for line in raw[:4096].lstrip().splitlines()[:5]:
        if line.startswith((b"From ", b">From ")):
            continue
        name, colon, _ = line.partition(b":")
        return bool(colon) and 0 < len(name) < 80 and all(33 <= one <= 126 for one in name)
    return False


__all__ = ["LEARNED", "REFUSED", "Taught", "TeachFolder"]
