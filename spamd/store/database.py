"""The store: one SQLite file, one writer, many readers; questions and answers are domain values.

Each family of tables has its file (judgements, labels, moves, folders, notes); here is what concerns all.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from spamd.domain import AccountName, Identity, Label, Past
from spamd.errors import RequestError, StoreBusy, StoreFull
from spamd.store.connection import Clock, asked
from spamd.store.folders import Folders
from spamd.store.judgements import DISPLAYS, Display, Judgements, blank, display_of
from spamd.store.labels import RESCUED, SAID, Labels
from spamd.store.moves import MOVED, Moves
from spamd.store.notes import Notes

DAY = 86400.0
TREND_DAYS = 400  # judgements without text and label are kept this long: a year's picture
_ACCOUNT_TABLES = ("judgement", "vector", "sighting", "cursor", "label", "move", "event", "contact")
_OF_MAIL = "WHERE account = :account AND identity = asked.value"
_PAST = (
    f"SELECT asked.value AS identity, (SELECT label FROM label {_OF_MAIL} AND {SAID}) AS said,"
    f" EXISTS (SELECT 1 FROM label {_OF_MAIL} AND {RESCUED}) AS rescued,"
    f" EXISTS (SELECT 1 FROM move {_OF_MAIL} AND {MOVED}) AS moved FROM json_each(:asked) AS asked"
)
_UNCLEAN = "wiped, not yet cleaned"
WIPED = "wiped"
_ALL_TABLES = (*_ACCOUNT_TABLES, "list_entry")


class Store(Judgements, Labels, Moves, Folders, Notes):
    """The database, open. A context manager; thread-safe. Raises StoreError and its kinds."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock = time.time,
        display: Display | None = None,
        read_only: bool = False,
    ) -> None:
        """display: how much of a mail may be kept; None leaves what was chosen before (at first: headers)."""
        super().__init__(path, clock=clock, read_only=read_only)
        try:
            if not read_only and self.state(_UNCLEAN):
                with contextlib.suppress(StoreBusy, StoreFull):  # then at the next start
                    self.clean()  # the program ended in the middle of wiping
            if display is not None:
                self.set_display(display)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written in this block, by this thread, at once or not at all. Others' writes wait."""
        with self._write():
            yield

    # ---- asking about many at once

    def past_of(self, account: AccountName, identities: Iterable[Identity]) -> dict[Identity, Past]:
        """Of each of these mails of which the person said anything, or that we moved."""
        rows = self._all(_PAST, {"account": account, "asked": asked(identities)})
        return {
            Identity(row["identity"]): Past(
                Label(row["said"]) if row["said"] else None, bool(row["rescued"]), bool(row["moved"])
            )
            for row in rows
            if row["said"] or row["rescued"] or row["moved"]
        }

    # ---- forgetting

    def set_display(self, display: Display) -> int:
        """How much is kept for display. Choosing less wipes what is there: rows changed."""
        with self._write() as db:
            before = display_of(db)
            if before == display:
                return 0
            db.execute("INSERT OR REPLACE INTO state (key, value) VALUES ('display', ?)", (display,))
            if DISPLAYS.index(display) > DISPLAYS.index(before):
                return 0
            if display == "headers":
                changed = db.execute("UPDATE judgement SET snippet = '' WHERE snippet != ''").rowcount
            else:
                changed = blank(db, "1 = 1", ())
            _remember_to_clean(db)
        self.clean()
        return changed

    @property
    def display(self) -> Display:
        with self._read() as db:
            return display_of(db)

    def prune(self, now: float, keep_days: int) -> int:
        """What is older than keep_days and serves nothing any more; the number of rows changed or removed.

        Text kept for display, vectors nobody labelled, mails gone from their folder, events. Labels,
        journal and score of labelled mail stay: rescued mail is never filed again; evidence needs them.
        """
        old, ancient = now - keep_days * DAY, now - max(keep_days, TREND_DAYS) * DAY
        with self._write() as db:
            changed = blank(db, "at < ?", (old,))
            for sql, values in (
                (
                    "DELETE FROM vector WHERE at < ? AND NOT EXISTS (SELECT 1 FROM label"
                    " WHERE label.account = vector.account AND label.identity = vector.identity)",
                    (old,),
                ),
                ("DELETE FROM sighting WHERE gone_at < ?", (old,)),
                ("DELETE FROM event WHERE at < ? AND needs_person = 0", (old,)),
                (
                    "DELETE FROM judgement WHERE at < ? AND NOT EXISTS (SELECT 1 FROM label"
                    " WHERE label.account = judgement.account AND label.identity = judgement.identity)",
                    (ancient,),
                ),
            ):
                changed += db.execute(sql, values).rowcount
            if changed:
                # FTS5 only marks removed words; merged into one segment they are gone.
                db.execute("INSERT INTO judgement_text (judgement_text) VALUES ('optimize')")
        if changed:
            with self._outside_transaction() as db:  # else it lies in the log until that is written over
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for copy in self.copies():
            if copy.stat().st_mtime < old:
                copy.unlink(missing_ok=True)
        return changed

    def forget_learned(self) -> None:
        """Every label, every list entry, and what only they need: before a backup is restored.

        Silence that made a label may be heard again, as the backup may not know it; not where the label was taken back.
        """
        with self._write() as db:
            db.execute(
                "UPDATE judgement SET heard = 0 WHERE heard AND EXISTS (SELECT 1 FROM label"
                " WHERE label.account = judgement.account AND label.identity = judgement.identity"
                " AND source = 'implicit')"
            )
            db.execute("DELETE FROM label")
            db.execute("DELETE FROM list_entry")
            db.execute("UPDATE judgement SET label = NULL WHERE label IS NOT NULL")

    def wipe(self, what: str) -> None:
        """Remove for good: nothing of it is left in the file, its log, or the copies made before a migration.

        what: "display" (what is kept so that pages can show it), "account:NAME" (everything of that account)
        or "all".
        """
        kind, _, account = what.partition(":")
        with self._write() as db:
            if what == "display":
                blank(db, "1 = 1", ())
            elif kind == "account" and account:
                for table in _ACCOUNT_TABLES:
                    db.execute(f"DELETE FROM {table} WHERE account = ?", (account,))
                # Notes of one account have its name at the end of their key.
                db.execute("DELETE FROM state WHERE substr(key, -length(?1) - 1) = ':' || ?1", (account,))
                _remember_wiping(db, f"{WIPED}:{account}", self.clock())
            elif what == "all":
                for table in _ALL_TABLES:
                    db.execute(f"DELETE FROM {table}")
                db.execute("DELETE FROM state WHERE key != 'display'")
                _remember_wiping(db, WIPED, self.clock())
            else:
                raise RequestError(f"{what!r} cannot be wiped.", 'Say "display", "account:NAME" or "all".')
            _remember_to_clean(db)
        self.clean()

    def wiped_at(self, account: AccountName) -> float:
        """When what was known of this account was last wiped; 0 if never."""
        said = [self.state(WIPED), self.state(f"{WIPED}:{account}")]
        return max(float(one) if one else 0.0 for one in said)

    def clean(self) -> None:
        """Write the file anew without what was deleted. StoreBusy if another program reads old pages."""
        with self._lock:
            with self._write() as db:
                db.execute("INSERT INTO judgement_text (judgement_text) VALUES ('rebuild')")
            for copy in self.copies():
                copy.unlink(missing_ok=True)
            with self._outside_transaction() as db:
                db.execute("VACUUM")
                row = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if row is not None and row[0]:
            raise StoreBusy(
                "The wiped data may still lie in the database's log.",
                "Close other programs, then wipe again.",
            )
        self.remove_state(_UNCLEAN)


def _remember_wiping(db: sqlite3.Connection, key: str, at: float) -> None:
    """Without its past, a filter at work would take all mail in the inbox for new."""
    db.execute("INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)", (key, repr(at)))


def _remember_to_clean(db: sqlite3.Connection) -> None:
    db.execute("INSERT OR REPLACE INTO state (key, value) VALUES (?, '1')", (_UNCLEAN,))


def check(path: Path) -> None:
    """StoreError if the database at this path is damaged, locked, or of another version. Changes nothing."""
    with Store(path, read_only=True) as store:
        store.check()
