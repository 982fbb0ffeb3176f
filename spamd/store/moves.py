"""The mover's journal. Every call commits, so that an intent is on the disk before anything is sent."""

from __future__ import annotations

import dataclasses
import json
import secrets
import sqlite3
from collections.abc import Collection, Iterable, Sequence

from spamd.domain import (
    AccountName,
    FolderName,
    Identity,
    MessageRef,
    ModelId,
    MoveKind,
    MoveRecord,
    MoveState,
    Uid,
    UidValidity,
)
from spamd.errors import RequestError
from spamd.store.connection import ASKED_FOR, Connections, Row, asked

_AUTOMATIC = "kind IN ('junk', 'unsure')"
_HAPPENED = "state NOT IN ('failed', 'abandoned')"
MOVED = f"{_AUTOMATIC} AND {_HAPPENED}"
_OPEN = "state IN ('intent', 'copied', 'marked')"


class Moves(Connections):
    """Table move. Implements spamd.source.MoveJournal."""

    def intent(self, record: MoveRecord) -> MoveRecord:
        """Stored, with its id. RequestError if this mail was already moved once and this is no undo."""
        with self._write() as db:
            stored = insert_move(db, record, self.clock())
            if stored is None:
                raise RequestError("This mail was already moved once.", "It is never moved by itself again.")
            return stored

    def advance(self, record: MoveRecord) -> None:
        """Write the record's new state, and with it whether the mail is marked as moved, and that a copy of ours that gave
        way is gone: by itself it would look rescued, had the connection broken before somebody was told.
        """
        with self._write() as db:
            before = db.execute("SELECT * FROM move WHERE id = ?", (record.id,)).fetchone()
            if before is None:
                raise RequestError(f"There is no move {record.id} in the journal.")
            db.execute(
                "UPDATE move SET state = ?, target = ?, target_uid_validity = ?, target_uid_next = ?,"
                " target_uid = ?, changed_at = ?, error = ? WHERE id = ?",
                (
                    record.state,
                    record.target,
                    record.target_uid_validity,
                    record.target_uid_next,
                    record.target_uid,
                    record.changed_at or self.clock(),
                    record.error,
                    record.id,
                ),
            )
            done = record.state is MoveState.DONE
            if done or before["state"] == MoveState.DONE:  # not any more: it gave way to a rival's
                moved = done and record.kind is not MoveKind.UNDO
                db.execute(
                    "UPDATE judgement SET moved = ? WHERE account = ? AND identity = ?",
                    (moved, record.account, record.identity),
                )
            if before["state"] == MoveState.DONE and record.state is MoveState.ABANDONED:
                db.execute(  # long ago: no arrival is paired with it
                    "UPDATE sighting SET gone_at = 0 WHERE account = ? AND folder = ? AND uid_validity = ? AND uid = ?"
                    " AND gone_at IS NULL",
                    (
                        before["account"],
                        before["target"],
                        before["target_uid_validity"],
                        before["target_uid"],
                    ),
                )

    def open_moves(self, account: str) -> Sequence[MoveRecord]:
        """Those begun and not ended, oldest first."""
        rows = self._all(f"SELECT * FROM move WHERE account = ? AND {_OPEN} ORDER BY id", (account,))
        return [_move(row) for row in rows]

    def claimed_uids(self, account: str, folder: FolderName, uid_validity: int) -> frozenset[int]:
        rows = self._all(
            "SELECT target_uid FROM move WHERE account = ? AND target = ? AND target_uid_validity = ?"
            " AND target_uid IS NOT NULL",
            (account, folder, uid_validity),
        )
        return frozenset(int(row[0]) for row in rows)

    def had_a_twin(self, record: MoveRecord) -> bool:
        row = self._one(
            "SELECT 1 FROM sighting WHERE account = ? AND identity = ? AND folder = ? AND uid_validity = ? AND uid < ?"
            " AND (gone_at IS NULL OR gone_at > ?)",
            (
                record.account,
                record.identity,
                record.target,
                record.target_uid_validity,
                record.target_uid_next,
                record.created_at,
            ),
        )
        return row is not None

    def done_since(self, account: str, at: float, note: str | None = None) -> Sequence[MoveRecord]:
        rows = self._all(
            "SELECT * FROM move WHERE account = ?1 AND state = 'done' AND changed_at >= ?2"
            " AND (?3 IS NULL OR error = ?3) ORDER BY id DESC LIMIT 1000",
            (account, at, note),
        )
        return [_move(row) for row in rows]

    def neighbours(self, account: str) -> str:
        row = self._one("SELECT value FROM state WHERE key = ?", (f"neighbours:{account}",))
        return str(row[0]) if row else ""

    def keep_neighbours(self, account: str, text: str) -> None:
        with self._write() as db:
            db.execute(
                "INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)", (f"neighbours:{account}", text)
            )

    def owner(self) -> str:
        """A short random name of this journal, made once: it tells our locks from those of other daemons."""
        row = self._one("SELECT value FROM state WHERE key = 'owner'")
        if row is None:
            with self._write() as db:
                name = secrets.token_hex(3)
                db.execute("INSERT OR IGNORE INTO state (key, value) VALUES ('owner', ?)", (name,))
            row = self._one("SELECT value FROM state WHERE key = 'owner'")
        return str(row[0]) if row else ""

    def move(self, move_id: int) -> MoveRecord | None:
        row = self._one("SELECT * FROM move WHERE id = ?", (move_id,))
        return _move(row) if row else None

    def moves(
        self,
        account: AccountName | None = None,
        since: float | None = None,
        model_id: ModelId | None = None,
        kind: MoveKind | None = None,
        state: MoveState | None = None,
        limit: int = 1000,
    ) -> list[MoveRecord]:
        """Newest first."""
        where, values = ["1 = 1"], list[object]()
        chosen = {
            "account = ?": account,
            "created_at >= ?": since,
            "model_id = ?": model_id,
            "kind = ?": kind,
        }
        for condition, value in (chosen | {"state = ?": state}).items():
            if value is not None:
                where.append(condition)
                values.append(value)
        rows = self._all(
            f"SELECT * FROM move WHERE {' AND '.join(where)} ORDER BY created_at DESC, id DESC LIMIT ?",
            (*values, limit),
        )
        return [_move(row) for row in rows]

    def left_behind(self, account: AccountName, since: float, errors: Collection[str]) -> list[MoveRecord]:
        """Our moves begun since then that were refused, or abandoned with one of these errors, and whose mail has not left
        its place since, as far as we know (or has a new UID because the folder counts anew); newest first.
        """
        rows = self._all(
            "SELECT * FROM move WHERE account = ?1 AND created_at >= ?2 AND kind != 'undo' AND (state = 'failed'"
            " OR (state = 'abandoned' AND error IN (SELECT value FROM json_each(?3)))) AND EXISTS (SELECT 1"
            " FROM sighting WHERE sighting.account = move.account AND sighting.identity = move.identity"
            " AND sighting.folder = move.source_folder AND gone_at IS NULL"
            " AND (sighting.uid = move.source_uid OR sighting.uid_validity != move.source_uid_validity))"
            " ORDER BY created_at DESC, id DESC",
            (account, since, json.dumps(sorted(errors))),
        )
        return [_move(row) for row in rows]

    def move_of(self, account: AccountName, identity: Identity) -> MoveRecord | None:
        """Our move of this mail (not its undoing): the one that took place, else the last tried."""
        return next(iter(self.moves_of(account, (identity,))), None)

    def moves_of(self, account: AccountName, identities: Iterable[Identity]) -> list[MoveRecord]:
        """`move_of` each of these mails that has one."""
        rows = self._all(
            f"SELECT * FROM move WHERE account = ? AND {ASKED_FOR} AND {_AUTOMATIC} ORDER BY {_HAPPENED}, id",
            (account, asked(identities)),
        )
        return [_move(row) for row in {row["identity"]: row for row in rows}.values()]

    def to_undo(
        self, account: AccountName | None = None, since: float | None = None, model_id: ModelId | None = None
    ) -> tuple[list[int], int]:
        """Our moves that took place and were not put back since: their numbers, newest first.

        And how many more there are that failed, are under way, or were put back.
        """
        rows = self._all(
            "WITH back AS (SELECT account, identity, max(created_at) AS at FROM move"
            " WHERE kind = 'undo' AND state NOT IN ('failed', 'abandoned') GROUP BY account, identity)"
            " SELECT id, state = 'done' AND coalesce(back.at, 0) < created_at AS wanted"
            " FROM move LEFT JOIN back USING (account, identity) WHERE kind != 'undo'"
            " AND (?1 IS NULL OR account = ?1) AND (?2 IS NULL OR created_at >= ?2)"
            " AND (?3 IS NULL OR model_id = ?3) ORDER BY created_at DESC, id DESC",
            (account, since, model_id),
        )
        wanted = [int(row["id"]) for row in rows if row["wanted"]]
        return wanted, len(rows) - len(wanted)

    def buried(self, account: AccountName, since: float) -> int:
        """Mails we moved to Junk since then that are good by the person's word."""
        row = self._one(
            "SELECT count(DISTINCT move.identity) FROM move JOIN label USING (account, identity)"
            " WHERE move.account = ? AND move.kind = 'junk' AND move.state = 'done' AND move.created_at >= ?"
            " AND label.current = 1 AND label.held = 0 AND label.label = 'ham'",
            (account, since),
        )
        return int(row[0]) if row else 0

    def was_moved(self, account: AccountName, identity: Identity) -> bool:
        """Whether we moved this mail, or are about to, even if it was put back since."""
        with self._read() as db:
            return _was_moved(db, account, identity)

    def moves_since(self, account: AccountName, at: float) -> int:
        """Moves to Junk or the unsure folder begun since then that were not refused: for the flood brake."""
        row = self._one(
            f"SELECT count(*) FROM move WHERE account = ? AND created_at >= ? AND {MOVED}", (account, at)
        )
        return int(row[0]) if row else 0


def _was_moved(db: sqlite3.Connection, account: str, identity: str) -> bool:
    row = db.execute(
        f"SELECT 1 FROM move WHERE account = ? AND identity = ? AND {MOVED}", (account, identity)
    ).fetchone()
    return row is not None


def insert_move(db: sqlite3.Connection, record: MoveRecord, now: float) -> MoveRecord | None:
    """The record with its id; None if this mail was already moved by us and this is not the undoing."""
    if record.kind is not MoveKind.UNDO and _was_moved(db, record.account, record.identity):
        return None
    stored = dataclasses.replace(
        record, created_at=record.created_at or now, changed_at=record.changed_at or record.created_at or now
    )
    cursor = db.execute(
        "INSERT INTO move (account, identity, kind, state, source_folder, source_uid_validity, source_uid,"
        " target, target_uid_validity, target_uid_next, target_uid, message_id, size,"
        " created_at, changed_at, model_id, error)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            stored.account,
            stored.identity,
            stored.kind,
            stored.state,
            stored.source.folder,
            stored.source.uid_validity,
            stored.source.uid,
            stored.target,
            stored.target_uid_validity,
            stored.target_uid_next,
            stored.target_uid,
            stored.message_id,
            stored.size,
            stored.created_at,
            stored.changed_at,
            stored.model_id,
            stored.error,
        ),
    )
    return dataclasses.replace(stored, id=cursor.lastrowid or 0)


def _move(row: Row) -> MoveRecord:
    validity, following, uid = row["target_uid_validity"], row["target_uid_next"], row["target_uid"]
    return MoveRecord(
        id=row["id"],
        account=AccountName(row["account"]),
        identity=Identity(row["identity"]),
        kind=MoveKind(row["kind"]),
        state=MoveState(row["state"]),
        source=MessageRef(
            FolderName(row["source_folder"]), UidValidity(row["source_uid_validity"]), Uid(row["source_uid"])
        ),
        target=FolderName(row["target"]),
        target_uid_validity=UidValidity(validity) if validity is not None else None,
        target_uid_next=Uid(following) if following is not None else None,
        target_uid=Uid(uid) if uid is not None else None,
        message_id=row["message_id"],
        size=row["size"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
        model_id=ModelId(row["model_id"]),
        error=row["error"],
    )
