"""Connections to the database file: one writer under a lock, a few readers, clear errors."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spamd.errors import StoreBusy, StoreDamaged, StoreError, StoreFull
from spamd.paths import FULL, PRIVATE_FILE, PRIVATE_FOLDER, is_full
from spamd.store import schema

BUSY_SECONDS = 10.0  # how long to wait for another program
IDLE_READERS = 3  # kept open between questions; each has its own page cache
Clock = Callable[[], float]
Row = sqlite3.Row
ASKED_FOR = "identity IN (SELECT value FROM json_each(?))"
"""Any number of mails in one question; its value is made by `asked`."""


class Connections:
    """An open database file. Thread-safe.

    read_only: for the trainer and for looking at a database; creates and migrates nothing.
    """

    def __init__(self, path: Path, *, clock: Clock = time.time, read_only: bool = False) -> None:
        self.path = path
        self.clock = clock
        self.read_only = read_only
        self._lock = threading.RLock()
        self._readers: list[sqlite3.Connection] = []
        self._readers_lock = threading.Lock()
        self._closed = threading.Event()
        self._writer: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        with opening(path):
            if read_only:
                if not path.is_file():
                    raise StoreError(
                        f"There is no database at {path}.", "It appears when the daemon first runs."
                    )
                with self._read() as db:
                    if schema.pending(db):
                        raise StoreError(
                            "The database has an older form.",
                            "Start the daemon once: it brings it up to date.",
                        )
            else:
                self._writer = self._open_writer()
                self._file = _which(path)

    # ---- opening and closing

    def _open_writer(self) -> sqlite3.Connection:
        path = self.path
        path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        # Made by us, so that it is private from its first byte on; -wal and -shm get the same rights.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE))
        unclean = path.with_name(path.name + "-wal").exists()
        db = self._connect(writing=True)
        try:
            if unclean or path.stat().st_size < 16_000_000:
                quick_check(db, path)
            waiting = schema.pending(db)
            if waiting:
                if schema.applied(db):
                    copy_to(db, path.with_name(f"{path.name}.before-{waiting[0]}"))
                schema.migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def copies(self) -> list[Path]:
        """Made before a migration, or before a backup was restored; and what a killed process left half copied."""
        return sorted([*self.path.parent.glob(f"{self.path.name}.before-*"), *half_copied(self.path)])

    def _connect(self, *, writing: bool) -> sqlite3.Connection:
        address = f"{self.path.absolute().as_uri()}?mode={'rw' if writing else 'ro'}"
        db = sqlite3.connect(
            address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA cache_size = -1024")
            if writing:
                db.execute("PRAGMA journal_mode = WAL")
                # FULL: an intent must outlive a power cut, or our own move would be taken for the person's.
                db.execute("PRAGMA synchronous = FULL")
                db.execute("PRAGMA foreign_keys = ON")
                db.execute("PRAGMA secure_delete = ON")
                db.execute("PRAGMA journal_size_limit = 8000000")
            else:
                db.execute("PRAGMA query_only = ON")
        except BaseException:
            db.close()
            raise
        return db

    def close(self) -> None:
        """Close writer and readers. A question still running in another thread closes its own."""
        with self._lock, self._readers_lock:
            self._closed.set()
            for db in self._readers:
                db.close()
            self._readers.clear()
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    # ---- asking and writing

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed at the end of the block, undone by an exception. May be nested."""
        with self._lock, converted(self.path):
            db = self._writer
            if db is None:
                raise StoreError(
                    "The database is closed."
                    if self._closed.is_set()
                    else "The database was opened for reading only."
                )
            if db.in_transaction:
                yield db
                return
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                _roll_back(db)
                raise

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees every commit made so far. For one thread at a time."""
        with converted(self.path):
            with self._readers_lock:
                if self._closed.is_set():
                    raise StoreError("The database is closed.")
                db = self._readers.pop() if self._readers else None
            if db is None:
                db = self._connect(writing=False)
            try:
                yield db
            finally:
                with self._readers_lock:
                    keep = not self._closed.is_set() and len(self._readers) < IDLE_READERS
                    if keep:
                        self._readers.append(db)
                if not keep:
                    db.close()

    def _all(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        with self._read() as db:
            return db.execute(sql, values).fetchall()

    @contextlib.contextmanager
    def _outside_transaction(self) -> Iterator[sqlite3.Connection]:
        """The writer alone, for what cannot be part of a transaction."""
        with self._lock, converted(self.path):
            if self._writer is None:
                raise StoreError("The database is closed or read only.")
            yield self._writer

    def _one(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        with self._read() as db:
            row: Row | None = db.execute(sql, values).fetchone()
            return row

    def check(self) -> None:
        """StoreDamaged if the file is."""
        with self._read() as db:
            quick_check(db, self.path)

    @property
    def removed(self) -> bool:
        """The file is not there any more. What is open goes on without it, and would be gone with us."""
        return self._file is not None and self._there() is None

    @property
    def replaced(self) -> bool:
        """Another file is in its place, such as a backup that was brought back by hand."""
        return self._there() not in (None, self._file)

    def _there(self) -> tuple[int, int] | None:
        """Device and inode of what is at the path now; None: nothing."""
        try:
            return _which(self.path)
        except FileNotFoundError:
            return None
        except OSError:  # a network folder that does not answer just now
            return self._file

    def write_back(self, path: Path) -> None:
        """A removed file anew, from what is open. Close after it: what is open is still the old one."""
        with opening(path), self._outside_transaction() as db:
            path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            copy_to(db, path)

    def backup_to(self, path: Path) -> None:
        """A consistent copy, while everything goes on."""
        with opening(path), self._read() as db:
            copy_to(db, path)


def _which(path: Path) -> tuple[int, int]:
    there = path.stat()
    return there.st_dev, there.st_ino


def asked(identities: Iterable[str]) -> str:
    """The value of ASKED_FOR."""
    return json.dumps(list(identities))


def _roll_back(db: sqlite3.Connection) -> None:
    if db.in_transaction:  # a full disk may have ended it already
        db.execute("ROLLBACK")


def quick_check(db: sqlite3.Connection, path: Path) -> None:
    row = db.execute("PRAGMA quick_check(1)").fetchone()
    if row is None or row[0] != "ok":
        raise _damaged(path, str(row[0]) if row else "no answer")


def copy_to(db: sqlite3.Connection, path: Path) -> None:
    """Copy a database to a file that appears whole, for this person only."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    for left in half_copied(path):
        left.unlink(missing_ok=True)
    try:
        os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
        copy = sqlite3.connect(fresh, isolation_level=None)
        try:
            db.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        finally:
            copy.close()
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def half_copied(path: Path) -> list[Path]:
    """What `copy_to` leaves beside a file where it is killed."""
    return list(path.parent.glob(f".{path.name}.[0-9]*"))


def _damaged(path: Path, detail: str) -> StoreDamaged:
    return StoreDamaged(
        f"The database {path} is damaged ({detail}).",
        "Stop the daemon, move the file away and restore a backup or start anew: no mail is lost.",
    )


@contextlib.contextmanager
def converted(path: Path) -> Iterator[None]:
    """sqlite3's errors as StoreErrors."""
    try:
        yield
    except sqlite3.Error as exc:
        raise as_store_error(exc, path) from exc


@contextlib.contextmanager
def opening(path: Path) -> Iterator[None]:
    """As `converted`, and what the system says of the file itself."""
    try:
        with converted(path):
            yield
    except OSError as exc:
        if exc.errno in FULL:
            raise _full(path) from exc
        hint = "Look at its owner and rights."
        raise StoreError(f"The database {path} cannot be used: {exc.strerror or exc}.", hint) from exc


def as_store_error(exc: sqlite3.Error, path: Path) -> StoreError:
    """What a sqlite3 error means to the person."""
    code = getattr(exc, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(
            f"The database {path} is locked by another program.", "Close that program, or try again."
        )
    if primary == sqlite3.SQLITE_FULL:
        return _full(path)
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and is_full(path):
        return _full(path)  # what SQLite says where its shared memory does not fit
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(path, str(exc))
    if primary in (
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_IOERR,
    ):
        return StoreError(
            f"The database {path} cannot be used: {exc}.", "Look at its owner and rights, and at the disk."
        )
    return StoreError(f"The database refused a request: {exc}.")


def _full(path: Path) -> StoreFull:
    return StoreFull(f"There is no space left for the database {path}.", "Free some space; nothing was lost.")
