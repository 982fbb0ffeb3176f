"""Numbers for mails that have none.

A local mail is named by a key (a Maildir's unique name, an mbox mail's digest). A list beside our other state gives
each key a UID that never changes and never comes back, as an IMAP server would, and remembers what was read from the
mail's header. Several sessions may use one list, also from several processes. Losing the file is harmless: a new one
has another UIDVALIDITY, and mails are recognised by identity.

File: a header line, then one line per mail, appended; a torn last line is cut off.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from spamd.domain import Identity, Uid, UidValidity
from spamd.file_lock import locked
from spamd.paths import write_private

_HEADER = "spamd-uids 1"
_GONE = "gone"
_DEAD_KEPT = 2000
"""The file is written anew when more mails than this (and than there are) have gone."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of a mail."""

    uid: Uid
    key: str
    identity: Identity
    message_id: str
    size: int  # bytes
    internal_date: float


class UidList:
    """The list of one folder. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._by_key: dict[str, Known] = {}
        self._validity = UidValidity(0)
        self._next = Uid(1)
        self._dead = 0
        self._stamp: tuple[int, int, int] | None = None

    def update(
        self, scan: Callable[[], Iterable[str]], describe: Callable[[str], Known | None]
    ) -> tuple[UidValidity, Uid, dict[str, Known]]:
        """(UIDVALIDITY, UIDNEXT, the mails by key). New keys get UIDs in the order of the scan.

        scan: the keys that are there, looked up while the list is locked. describe: reads a new mail (its
        uid is ignored); None where it is gone again.
        """
        with self._lock, locked(self._path.with_suffix(".lock")):
            self._read()
            wanted = dict.fromkeys(scan())
            changes: list[str] = []
            for key in [key for key in self._by_key if key not in wanted]:
                changes.append(f"{_GONE}\t{self._by_key.pop(key).uid}\n")
                self._dead += 1
            for key in wanted:
                if key in self._by_key:
                    continue
                known = describe(key)
                if known is not None:
                    known = replace(known, uid=self._next, message_id=_plain(known.message_id))
                    self._next = Uid(self._next + 1)
                    self._by_key[key] = known
                    changes.append(_line(known))
            if self._dead > max(_DEAD_KEPT, len(self._by_key)):
                self._rewrite()
            elif changes:
                self._append(changes)
            return self._validity, self._next, dict(self._by_key)

    def adopt(self, arrived: Iterable[Known]) -> tuple[UidValidity, dict[str, Uid]]:
        """Numbers for mails that we put there ourselves (their own uid is ignored), whether or not they still are."""
        with self._lock, locked(self._path.with_suffix(".lock")):
            self._read()
            found: dict[str, Uid] = {}
            changes: list[str] = []
            for one in arrived:
                if one.key not in self._by_key:
                    self._by_key[one.key] = known = replace(one, uid=self._next)
                    self._next = Uid(self._next + 1)
                    changes.append(_line(known))
                found[one.key] = self._by_key[one.key].uid
            if changes:
                self._append(changes)
            return self._validity, found

    def dismiss(self, keys: Iterable[str]) -> None:
        """We took these mails away. One that is put back under its old name before anybody looked is another one."""
        with self._lock, locked(self._path.with_suffix(".lock")):
            self._read()
            gone = [self._by_key.pop(key).uid for key in keys if key in self._by_key]
            if gone:
                self._dead += len(gone)
                self._append(f"{_GONE}\t{uid}\n" for uid in gone)

    def _read(self) -> None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            self._by_key, self._next = {}, Uid(1)
            # A second that no earlier list of this folder can have had: the clock may only stand still in tests.
            self._validity = UidValidity(max(int(time.time()), self._validity + 1))
            self._rewrite()
            return
        if self._stamp == (stat.st_ino, stat.st_size, stat.st_mtime_ns):
            return
        text = self._path.read_text("utf-8", "surrogateescape")
        whole = text[: text.rfind("\n") + 1]
        lines = whole.split("\n")[:-1]
        try:
            magic, validity, floor = lines[0].rsplit(" ", 2)
            if magic != _HEADER:
                raise ValueError(magic)
            self._validity, self._next = UidValidity(int(validity)), Uid(int(floor))
            by_uid: dict[int, Known] = {}
            for line in lines[1:]:
                if line.startswith(_GONE + "\t"):
                    by_uid.pop(int(line.partition("\t")[2]), None)
                    continue
                known = _parse(line)
                by_uid[known.uid] = known
                self._next = Uid(max(self._next, known.uid + 1))
            self._by_key = {known.key: known for known in by_uid.values()}
            self._dead = len(lines) - 1 - len(by_uid)
        except (ValueError, IndexError):
            self._path.unlink()
            self._read()
            return
        if whole != text:
            self._rewrite()
        else:
            self._stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)

    def _append(self, lines: Iterable[str]) -> None:
        with self._path.open("a", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            file.write("".join(lines))
            file.flush()
            os.fsync(file.fileno())
        self._remember()

    def _rewrite(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        head = f"{_HEADER} {self._validity} {self._next}\n"
        text = head + "".join(map(_line, self._by_key.values()))
        write_private(self._path, text.encode("utf-8", "surrogateescape"))
        self._dead = 0
        self._remember()

    def _remember(self) -> None:
        stat = self._path.stat()
        self._stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)


def _line(known: Known) -> str:
    return (
        "\t".join(
            (
                str(known.uid),
                str(known.size),
                repr(known.internal_date),
                known.identity,
                known.message_id,
                known.key,
            )
        )
        + "\n"
    )


def _parse(line: str) -> Known:
    uid, size, date, identity, message_id, key = line.split("\t", 5)
    return Known(Uid(int(uid)), key, Identity(identity), message_id, int(size), float(date))


def _plain(text: str) -> str:
    """Without what would break a line."""
    return "".join(one for one in text if one.isprintable())[:998]
