"""The ledger: what the person said of a mail (or weak evidence), with its history. Forgetting is exact."""

from __future__ import annotations

import dataclasses
import hashlib
import sqlite3
from collections.abc import Collection, Iterator

from spamd.domain import AccountName, Identity, Label, LabelRecord, LabelSource, ModelId
from spamd.store.connection import Connections, Row

STRENGTH: dict[LabelSource, int] = {
    LabelSource.DRAG: 4,
    LabelSource.ADDON: 4,
    LabelSource.REVIEW: 4,
    LabelSource.UNDO: 4,
    LabelSource.TEACH: 4,
    LabelSource.IMPORT: 4,
    LabelSource.KEYWORD: 3,
    LabelSource.FOLDER: 2,
    LabelSource.HINT: 2,
    LabelSource.IMPLICIT: 1,
}
"""A word replaces an older one of the same or less strength: a hint never undoes a drag."""

CLOCK_SLACK = 60.0
"""Seconds by which a word may seem to come from the future."""

APART = 1e-3
"""Seconds between two words that are dated back."""

PERSON_SOURCES = frozenset(source for source, strength in STRENGTH.items() if strength >= 3)
"""What only the person does."""

_PERSON = ", ".join(f"'{source.value}'" for source in sorted(PERSON_SOURCES))
SAID = f"current = 1 AND held = 0 AND source IN ({_PERSON})"
RESCUED = f"label = 'ham' AND source IN ({_PERSON})"


class Labels(Connections):
    """Table label."""

    def add_label(self, record: LabelRecord) -> LabelRecord:
        """Write it and return what now holds for this mail.

        That is the record itself, unless what is there is stronger, or as strong and newer; then the record
        only becomes history. Said again with nothing new, nothing is written.
        """
        with self._write() as db:
            current = _current(db, record.account, record.identity)
            if current is not None and _outranks(current, record, self.clock()):
                if not _known(db, record):
                    _insert(db, record, current=False)
                return current
            if current is not None:
                if _same(current, record):
                    return current
                db.execute("UPDATE label SET current = 0 WHERE id = ?", (current.id,))
            stored = _insert(db, record, current=True)
            _show(db, record.account, record.identity)
            return stored

    def labels(
        self,
        account: AccountName | None = None,
        since: float | None = None,
        held: bool | None = None,
        source: LabelSource | None = None,
        *,
        before_id: int | None = None,
        limit: int | None = None,
    ) -> list[LabelRecord]:
        """What now holds, newest first."""
        where, values = ["current = 1"], list[object]()
        chosen = {"account = ?": account, "at >= ?": since, "source = ?": source, "held = ?": held}
        for condition, value in chosen.items():
            if value is not None:
                where.append(condition)
                values.append(value)
        if before_id is not None:
            where.append("(at, id) < ((SELECT at FROM label WHERE id = ?), ?)")
            values += [before_id, before_id]
        rows = self._all(
            f"SELECT * FROM label WHERE {' AND '.join(where)} ORDER BY at DESC, id DESC LIMIT ?",
            (*values, -1 if limit is None else limit),
        )
        return [_label(row) for row in rows]

    def label(self, label_id: int) -> LabelRecord | None:
        row = self._one("SELECT * FROM label WHERE id = ?", (label_id,))
        return _label(row) if row else None

    def label_of(self, account: AccountName, identity: Identity) -> LabelRecord | None:
        with self._read() as db:
            return _current(db, account, identity)

    def first_word(self) -> float | None:
        """When the oldest of what now holds was said, or fell silent."""
        row = self._one("SELECT min(at) FROM label WHERE current = 1")
        return None if row is None else row[0]

    def ledger(self, account: AccountName | None = None) -> Iterator[LabelRecord]:
        """Every word ever said and not forgotten, oldest first: for export."""
        with self._read() as db:
            for row in db.execute(
                "SELECT * FROM label WHERE (? IS NULL OR account = ?) ORDER BY at, id", (account, account)
            ):
                yield _label(row)

    def label_counts(self, account: AccountName | None = None) -> dict[tuple[LabelSource, Label], int]:
        rows = self._all(
            "SELECT source, label, count(*) FROM label WHERE current = 1 AND held = 0"
            " AND (? IS NULL OR account = ?) GROUP BY source, label",
            (account, account),
        )
        return {(LabelSource(row[0]), Label(row[1])): int(row[2]) for row in rows}

    def labels_since(self, at: float) -> int:
        """How many were said after that time, to be learned from."""
        row = self._one("SELECT count(*) FROM label WHERE current = 1 AND held = 0 AND at > ?", (at,))
        return int(row[0]) if row else 0

    def forget_label(self, account: AccountName, identity: Identity) -> bool:
        """As if nothing had ever been said of this mail; False if nothing was."""
        with self._write() as db:
            removed = db.execute(
                "DELETE FROM label WHERE account = ? AND identity = ?", (account, identity)
            ).rowcount
            _show(db, account, identity)
            return removed > 0

    def hold(self, account: AccountName, identity: Identity, note: str = "") -> bool:
        """Keep this label out of training until the person has looked at it."""
        return self._set_held(account, identity, True, note)

    def release(self, account: AccountName, identity: Identity) -> bool:
        """The person confirmed it."""
        return self._set_held(account, identity, False, "")

    def _set_held(self, account: AccountName, identity: Identity, held: bool, note: str) -> bool:
        with self._write() as db:
            changed = db.execute(
                "UPDATE label SET held = ?, note = CASE WHEN ? = '' THEN note ELSE ? END"
                " WHERE account = ? AND identity = ? AND current = 1",
                (held, note, note, account, identity),
            ).rowcount
            _show(db, account, identity)
            return changed > 0

    def date_back(self, now: float) -> int:
        """Words from the future were said while the clock was ahead: by now, and before a later word on the same mail.

        Returns how many. Where all lie ahead it is today's clock that is wrong (no battery: 1970), and nothing changes.
        """
        latest = now + CLOCK_SLACK
        first = self._one("SELECT min(id) FROM label WHERE at > ?", (latest,))
        if first is None or first[0] is None:
            return 0
        if self._one("SELECT 1 FROM label WHERE at <= ? LIMIT 1", (latest,)) is None:
            return 0
        dated: list[tuple[float, int]] = []
        later: dict[tuple[str, str], float] = {}
        written = "SELECT id, account, identity, at FROM label WHERE id >= ? ORDER BY id DESC"
        for label_id, account, identity, at in self._all(written, (first[0],)):
            if at > latest:
                at = min(now, later.get((account, identity), now)) - APART * (len(dated) + 1)
                dated.append((at, label_id))
            later[account, identity] = at
        with self._write() as db:
            db.executemany("UPDATE label SET at = ? WHERE id = ?", dated)
        return len(dated)

    def training_set(
        self, *, until: float, limit: int, account: AccountName | None = None
    ) -> Iterator[tuple[LabelRecord, bytes]]:
        """What holds and is not held, with the mail's vector, labelled at or before `until`.

        Newest first, and silence last: sixty mails left lying each day must not push what the person said out of `limit`.
        """
        with self._read() as db:
            for silent in ("!=", "="):
                rows = db.execute(
                    "SELECT label.*, vector.data FROM label JOIN vector USING (account, identity)"
                    " WHERE current = 1 AND held = 0 AND label.at <= ? AND (? IS NULL OR label.account = ?)"
                    f" AND source {silent} 'implicit' ORDER BY label.at DESC, label.id DESC LIMIT ?",
                    (until, account, account, limit),
                )
                for row in rows:
                    limit -= 1
                    yield _label(row), bytes(row["data"])

    def senders(self) -> dict[tuple[AccountName, Identity], str]:
        """Whom labelled mail came from, as far as that is kept for display."""
        rows = self._all(
            "SELECT account, identity, sender FROM label JOIN judgement USING (account, identity)"
            " WHERE current = 1 AND sender != ''"
        )
        return {(AccountName(row[0]), Identity(row[1])): str(row[2]) for row in rows}

    def taught(self, until: float, without: Collection[str] = ()) -> str:
        """One name (hex) for all that a night may learn from that was said at or before `until`, silence aside.

        Another one as soon as a label of these is taken back, changed, held, or comes in late (imported, or its mail
        is only met now). without: "account\0identity" of labels that are passed over.
        """
        told = hashlib.sha256()
        with self._read() as db:
            for row in db.execute(
                "SELECT account, identity, label, weight FROM label"
                " WHERE current = 1 AND held = 0 AND source != 'implicit' AND at <= ? AND EXISTS (SELECT 1 FROM vector"
                " WHERE vector.account = label.account AND vector.identity = label.identity)"
                " ORDER BY account, identity",
                (until,),
            ):
                if f"{row[0]}\0{row[1]}" not in without:
                    told.update(repr(tuple(row)).encode("utf-8", "surrogatepass"))
        return told.hexdigest()


def _outranks(current: LabelRecord, record: LabelRecord, now: float) -> bool:
    """A word said while the clock was ahead must not silence the person until that time has come."""
    ours, theirs = STRENGTH[current.source], STRENGTH[record.source]
    newer = current.at > record.at and current.at <= now + CLOCK_SLACK
    return ours > theirs or (ours == theirs and newer)


def _same(current: LabelRecord, record: LabelRecord) -> bool:
    return (current.label, current.source, current.weight, current.held) == (
        record.label,
        record.source,
        record.weight,
        record.held,
    )


def _current(db: sqlite3.Connection, account: str, identity: str) -> LabelRecord | None:
    row = db.execute(
        "SELECT * FROM label WHERE account = ? AND identity = ? AND current = 1", (account, identity)
    ).fetchone()
    return _label(row) if row else None


def _known(db: sqlite3.Connection, record: LabelRecord) -> bool:
    row = db.execute(
        "SELECT 1 FROM label WHERE account = ? AND identity = ? AND label = ? AND source = ? LIMIT 1",
        (record.account, record.identity, record.label, record.source),
    ).fetchone()
    return row is not None


def _insert(db: sqlite3.Connection, record: LabelRecord, *, current: bool) -> LabelRecord:
    cursor = db.execute(
        "INSERT INTO label (account, identity, label, source, weight, at, model_id, note, held, current)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.account,
            record.identity,
            record.label,
            record.source,
            record.weight,
            record.at,
            record.model_id,
            record.note,
            record.held,
            current,
        ),
    )
    return dataclasses.replace(record, id=cursor.lastrowid or 0)


def shown_label(account: str, identity: str) -> str:
    """SQL for the person's word as a page shows it: no hints, nothing implicit, nothing held."""
    return (
        f"(SELECT label FROM label WHERE account = {account} AND identity = {identity}"
        f" AND current = 1 AND held = 0 AND source IN ({_PERSON}, 'folder'))"
    )


def _show(db: sqlite3.Connection, account: str, identity: str) -> None:
    db.execute(
        f"UPDATE judgement SET label = {shown_label('?1', '?2')} WHERE account = ?1 AND identity = ?2",
        (account, identity),
    )


def _label(row: Row) -> LabelRecord:
    return LabelRecord(
        account=AccountName(row["account"]),
        identity=Identity(row["identity"]),
        label=Label(row["label"]),
        source=LabelSource(row["source"]),
        weight=row["weight"],
        at=row["at"],
        model_id=ModelId(row["model_id"]),
        note=row["note"],
        held=bool(row["held"]),
        id=row["id"],
    )
