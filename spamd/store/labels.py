"""The ledger: what the person said of a mail (or weak evidence), with its history. Forgetting is exact.

So nothing that follows from other labels is written into one. How much silence weighs as a lesson does follow from them
(judgement/silence.py): it is told when it is asked for (`weighed`, `training_set`), of what the ledger holds by then.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from spamd.domain import AccountName, Identity, Label, LabelRecord, LabelSource, ModelId, Sender, Verdict
from spamd.judgement import silence
from spamd.judgement.calibration import Became
from spamd.judgement.silence import Habit, Stayed
from spamd.store.connection import ASKED_FOR, Connections, Row, asked

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

_NAMED = "said.label = 'spam' AND said.held = 0 AND said.source IN ('drag', 'keyword', 'addon', 'review')"
_LAY = f"CASE WHEN said.source = 'implicit' AND said.note = '{silence.OPENED}' THEN said.at END"
_STAYED = (
    f"SELECT first_at, first_probability, coalesce(left_at, {_LAY}) AS lay,"
    f" CASE WHEN said.source != 'implicit' THEN said.at END, coalesce({_NAMED}, 0) AS named"
    " FROM judgement LEFT JOIN label AS said"
    " ON said.account = judgement.account AND said.identity = judgement.identity AND said.current = 1"
    " WHERE judgement.account = :account AND first_at >= :since AND first_at < :until AND moved = 0 AND reason != 'before'"
    " AND (lay IS NOT NULL OR named)"
)
"""Mail that was judged when it came, and stayed in the inbox: of each what silence.Stayed holds."""

_BECAME = (
    "SELECT first_probability, moved, verdict, CASE WHEN said.source IN"
    f" ({_PERSON}) AND said.held = 0 THEN said.label = 'spam' END AS junk"
    " FROM judgement LEFT JOIN label AS said"
    " ON said.account = judgement.account AND said.identity = judgement.identity AND said.current = 1"
    " WHERE judgement.account = :account AND first_at >= :since AND first_at < :until AND reason != 'before'"
)
_HABITUAL = frozenset({silence.OPENED, silence.ANSWERED, silence.FILED})
TOGETHER = 500
"""Labels of a training set that are weighed at once."""


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
        """What now holds, newest first, with the weights that are written down (see `weighed`)."""
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

    def weighed(self, records: Sequence[LabelRecord]) -> list[LabelRecord]:
        """The same with what silence weighs as a lesson, by what the ledger says of the person's habit now.

        Of a mail whose judgement is not kept it weighs what is written down, as while nothing is known of the person.
        """
        silent: defaultdict[AccountName, list[LabelRecord]] = defaultdict(list)
        for record in records:
            if record.source is LabelSource.IMPLICIT and record.note in _HABITUAL:
                silent[record.account].append(record)
        weights: dict[int, float] = {}
        for account, some in silent.items():
            weights |= self._weights(account, some)
        if not weights:
            return list(records)
        return [dataclasses.replace(one, weight=weights.get(one.id, one.weight)) for one in records]

    def _weights(self, account: AccountName, silent: Sequence[LabelRecord]) -> dict[int, float]:
        """By the label's number."""
        judged = {
            Identity(row["identity"]): row
            for row in self._all(
                f"SELECT identity, first_probability, verdict FROM judgement WHERE account = ? AND {ASKED_FOR}"
                " AND moved = 0",
                (account, asked(one.identity for one in silent)),
            )
        }
        times = {one.at for one in silent}
        stayed = self.stayed(account, min(times) - silence.WINDOW, max(times) - silence.AFTER)
        habits: dict[float, Habit] = {at: silence.habit_at(at, stayed) for at in times}
        return {
            one.id: silence.lesson(
                habits[one.at],
                row["first_probability"],
                doubtful=row["verdict"] != Verdict.KEEP,
                note=one.note,
            )
            for one in silent
            if (row := judged.get(one.identity)) is not None
        }

    def stayed(self, account: AccountName, since: float, until: float) -> list[Stayed]:
        """Mail of that time that was judged when it came, and stayed in the inbox: left lying, or called junk there."""
        rows = self._all(_STAYED, {"account": account, "since": since, "until": until})
        return [Stayed(row[0], row[1], row[2], row[3], bool(row[4])) for row in rows]

    def became(self, account: AccountName, since: float, until: float) -> list[Became]:
        """Of the mail of that time, judged when it came, what is known of each. Not of what went to the folder for doubtful mail."""
        rows = self._all(_BECAME, {"account": account, "since": since, "until": until})
        return [
            Became(
                row["first_probability"],
                bool(row["moved"]),
                row["junk"] if row["junk"] is None else bool(row["junk"]),
            )
            for row in rows
            if row["junk"] is not None or not row["moved"] or row["verdict"] == Verdict.JUNK
        ]

    def label(self, label_id: int) -> LabelRecord | None:
        row = self._one("SELECT * FROM label WHERE id = ?", (label_id,))
        return _label(row) if row else None

    def label_of(self, account: AccountName, identity: Identity) -> LabelRecord | None:
        with self._read() as db:
            return _current(db, account, identity)

    def word_of(self, account: AccountName, identity: Identity) -> Label | None:
        """What the person said of this mail last; None: nothing, or nothing that holds before they are asked."""
        said = self.label_of(account, identity)
        if said is None or said.held or said.source not in PERSON_SOURCES:
            return None
        return said.label

    def is_labelled(self, identity: Identity) -> bool:
        """In whatever account."""
        return (
            self._one("SELECT 1 FROM label WHERE identity = ? AND current = 1 LIMIT 1", (identity,))
            is not None
        )

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
        """How many were said after that time, to be learned from. Silence is not said."""
        row = self._one(
            "SELECT count(*) FROM label WHERE current = 1 AND held = 0 AND source != 'implicit' AND at > ?",
            (at,),
        )
        return int(row[0]) if row else 0

    def forget_label(self, account: AccountName, identity: Identity) -> bool:
        """As if nothing had ever been said of this mail; False if nothing was."""
        with self._write() as db:
            removed = db.execute(
                "DELETE FROM label WHERE account = ? AND identity = ?", (account, identity)
            ).rowcount
            _show(db, account, identity)
            return removed > 0

    def withdraw(self, account: AccountName, identity: Identity) -> bool:
        """Take back what holds now, alone: what was said before of this mail holds again. False if nothing does."""
        with self._write() as db:
            current = _current(db, account, identity)
            if current is None:
                return False
            db.execute("DELETE FROM label WHERE id = ?", (current.id,))
            rows = db.execute(
                "SELECT * FROM label WHERE account = ? AND identity = ?", (account, identity)
            ).fetchall()
            if rows:
                before = max(map(_label, rows), key=lambda one: (STRENGTH[one.source], one.at, one.id))
                db.execute("UPDATE label SET current = 1 WHERE id = ?", (before.id,))
            _show(db, account, identity)
            return True

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
        if self._one("SELECT 1 FROM label WHERE at <= ? LIMIT 1", (latest,)) is None:
            return 0
        dated: list[tuple[float, int]] = []
        later: dict[tuple[str, str], float] = {}
        written = (
            "SELECT id, account, identity, at FROM label"
            " WHERE id >= (SELECT min(id) FROM label WHERE at > ?) ORDER BY id DESC"
        )
        for label_id, account, identity, at in self._all(written, (latest,)):
            if at > latest:
                at = min(now, later.get((account, identity), now)) - APART * (len(dated) + 1)
                dated.append((at, label_id))
            later[account, identity] = at
        with self._write() as db:
            db.executemany("UPDATE label SET at = ? WHERE id = ?", dated)
            seen = now - APART * (len(dated) + 1)  # before the silent labels of that look
            db.execute("UPDATE judgement SET left_at = ? WHERE left_at > ?", (seen, latest))
        return len(dated)

    def training_set(
        self, *, until: float, limit: int, account: AccountName | None = None
    ) -> Iterator[tuple[LabelRecord, bytes]]:
        """What holds and is not held, as it weighs now, with the mail's vector, labelled at or before `until`.

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
                while some := rows.fetchmany(TOGETHER):
                    limit -= len(some)
                    records = self.weighed([_label(row) for row in some])
                    yield from zip(records, (bytes(row["data"]) for row in some), strict=True)

    def senders(self) -> dict[tuple[AccountName, Identity], Sender]:
        """Whom labelled mail says to come from, as far as that is kept for display, and what vouches for it."""
        rows = self._all(
            "SELECT account, identity, sender, sender_proof FROM label JOIN judgement USING (account, identity)"
            " WHERE current = 1"
        )
        return {(AccountName(row[0]), Identity(row[1])): Sender(row[2], row[3]) for row in rows}

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
