"""Mails under which the program ended.

Who parses HTML is a C library, and anybody may send a mail: what brings the library down cannot be caught. The session
starts the filter again, the mail lies there still, and systemd gives up after ten times in five minutes. So what is read is noted
first, in a file whose pages outlive the process. (Not the computer: after a power cut no mail is blamed.) Who starts
next finds what was open, and for `WARY` seconds lets a child process read each mail before itself (`model.taster`): of any number
of such mails that come at once only the first ends the filter. A mail that was open at `ENDS` ends in a row, of whoever read it, is
read no more. More than one, as a kill may hit any mail; and what was read well is forgotten. The note costs 20 us a mail, most of it
for the digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from spamd import __version__
from spamd.errors import ModelError, Unreadable
from spamd.message.parsing import DEFAULT
from spamd.model.taster import Taster
from spamd.paths import write_private

ENDS = 2
WARY = 600.0  # seconds after an end: twice the time in which systemd counts starts
KEPT = 200  # mails
_SLOTS = 16  # mails that threads read at once; any more are read without a note
_WIDTH = 32  # hexadecimal digits of a digest
_EMPTY = b" " * _WIDTH


class Poison:
    """One per daemon, under its lock. Thread-safe. Where nothing can be written, mail is read without it."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: in seconds, from anywhere on."""
        self._clock = clock
        self._taster, self._tasting = Taster(), threading.Lock()
        self._closed = threading.Event()
        self._wary_until: float | None = None
        self._open, self._ends = folder / "reading", folder / "unreadable.json"
        self._lock = threading.Lock()
        self._free = list(range(_SLOTS))
        self._counts = self._counted()
        found = self._left_open()
        for name in found:
            self._counts[name] = self._counts.get(name, 0) + 1
        if found:
            self._save()
            self._wary_until = clock() + WARY
        with contextlib.suppress(OSError):
            write_private(self._open, _EMPTY * _SLOTS)  # whole: a full disk does not matter later

    @contextlib.contextmanager
    def reading(self, raw: bytes) -> Iterator[None]:
        """Read this mail in the block. Unreadable for one under which the program ended; ModelError while it stops."""
        name = hashlib.blake2b(raw[: DEFAULT.bytes], digest_size=_WIDTH // 2).hexdigest()
        if self._wary_until is not None and self._counts.get(name, 0) < ENDS:
            self._taste(name, raw[: DEFAULT.bytes])
        if self._counts.get(name, 0) >= ENDS:
            raise Unreadable("The program ended each time it read this mail.", "It stays where it is.")
        with self._lock:
            slot = self._free.pop() if self._free else None
        self._note(slot, name.encode())
        try:
            yield
        finally:
            self._note(slot, _EMPTY)
            if slot is not None:
                with self._lock:
                    self._free.append(slot)
        if self._counts.pop(name, None) is not None:
            self._save()

    def _taste(self, name: str, raw: bytes) -> None:
        """Let the child read it first, and count its ends."""
        with self._tasting:
            if self._wary_until is None or self._clock() > self._wary_until:
                self._wary_until = None
                self._taster.close()
                return
            while self._counts.get(name, 0) < ENDS:
                survived = self._taster.survives(raw)
                if survived:
                    return
                if self._closed.is_set():  # it was ended by us, and what it was about to do is not known
                    raise ModelError("The filter is stopping.", "This mail is read at the next start.")
                if survived is None:
                    return
                self._counts[name] = self._counts.get(name, 0) + 1
                self._wary_until = self._clock() + WARY
                self._save()

    def close(self) -> None:
        """No child outlives this, whatever it does: who waits for it goes on."""
        self._closed.set()
        self._taster.close()

    def forget(self) -> None:
        """As if the program had never ended: no digest of a mail is left."""
        with self._lock:
            self._counts = {}
            with contextlib.suppress(OSError):
                self._ends.unlink(missing_ok=True)

    def _note(self, slot: int | None, text: bytes) -> None:
        if slot is None:
            return
        with contextlib.suppress(OSError), self._open.open("r+b", buffering=0) as file:
            file.seek(slot * _WIDTH)
            file.write(text)

    def _left_open(self) -> list[str]:
        try:
            return self._open.read_bytes()[: _SLOTS * _WIDTH].decode("ascii").split()
        except (OSError, UnicodeDecodeError):
            return []

    def _counted(self) -> dict[str, int]:
        """Another version may read what this one could not."""
        try:
            found = json.loads(self._ends.read_bytes())
            return (
                {str(k): int(v) for k, v in found["ends"].items()} if found["version"] == __version__ else {}
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}

    def _save(self) -> None:
        kept = dict(list(self._counts.items())[-KEPT:])
        with contextlib.suppress(OSError):
            write_private(self._ends, json.dumps({"version": __version__, "ends": kept}).encode())
