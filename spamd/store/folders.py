"""What was seen where: sightings and how far each folder was read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from spamd.domain import (
    AccountName,
    FolderCursor,
    FolderName,
    Identity,
    MessageRef,
    Sighting,
    Uid,
    UidValidity,
)
from spamd.store.connection import ASKED_FOR, Connections, Row, asked

_KEY = "account = ? AND folder = ? AND uid_validity = ? AND uid = ?"


class Folders(Connections):
    """Tables sighting and cursor."""

    def add_sightings(self, sightings: Iterable[Sighting]) -> None:
        """Seen again: identity and keywords are renewed, the first time is kept, it is not gone."""
        with self._write() as db:
            insert_sightings(db, sightings)

    def sightings(
        self, account: AccountName, folder: FolderName, uid_validity: UidValidity | None = None
    ) -> dict[Uid, Sighting]:
        """What lies in the folder as far as we know: under this UIDVALIDITY, or the one we saw last."""
        rows = self._all(
            "SELECT * FROM sighting WHERE account = ?1 AND folder = ?2 AND gone_at IS NULL AND uid_validity ="
            " coalesce(?3, (SELECT uid_validity FROM cursor WHERE account = ?1 AND folder = ?2),"
            " (SELECT uid_validity FROM sighting WHERE account = ?1 AND folder = ?2"
            " ORDER BY seen_at DESC LIMIT 1))"
            " ORDER BY uid",
            (account, folder, uid_validity),
        )
        return {Uid(row["uid"]): _sighting(row) for row in rows}

    def sighting_of(self, account: AccountName, identity: Identity) -> list[Sighting]:
        """Wherever this mail was seen, also where it is gone; newest first."""
        return self.sightings_of(account, (identity,)).get(identity, [])

    def sightings_of(
        self, account: AccountName, identities: Iterable[Identity]
    ) -> dict[Identity, list[Sighting]]:
        """`sighting_of` each of these mails that was ever seen."""
        rows = self._all(
            f"SELECT * FROM sighting WHERE account = ? AND {ASKED_FOR}"
            " ORDER BY gone_at IS NOT NULL, seen_at DESC, rowid DESC",
            (account, asked(identities)),
        )
        found: dict[Identity, list[Sighting]] = {}
        for row in rows:
            found.setdefault(Identity(row["identity"]), []).append(_sighting(row))
        return found

    def newest_date(self, account: AccountName, before: MessageRef, until: float) -> float:
        """The newest INTERNALDATE, not after `until`, among mails known in that folder at lower UIDs; 0 if none."""
        row = self._one(
            "SELECT max(internal_date) FROM sighting WHERE account = ? AND folder = ? AND uid_validity = ?"
            " AND uid < ? AND internal_date <= ?",
            (account, before.folder, before.uid_validity, before.uid, until),
        )
        return float(row[0] or 0.0) if row else 0.0

    def mark_gone(
        self,
        account: AccountName,
        folder: FolderName,
        uid_validity: UidValidity,
        uids: Iterable[Uid],
        at: float,
    ) -> None:
        with self._write() as db:
            db.executemany(
                f"UPDATE sighting SET gone_at = ? WHERE {_KEY} AND gone_at IS NULL",
                [(at, account, folder, uid_validity, uid) for uid in uids],
            )

    def forget_folder(self, account: AccountName, folder: FolderName) -> None:
        """Sightings and cursor, after the folder was renewed (UIDVALIDITY) or removed."""
        with self._write() as db:
            db.execute("DELETE FROM sighting WHERE account = ? AND folder = ?", (account, folder))
            db.execute("DELETE FROM cursor WHERE account = ? AND folder = ?", (account, folder))

    def set_keywords(self, account: AccountName, ref: MessageRef, keywords: Iterable[str]) -> None:
        with self._write() as db:
            db.execute(
                f"UPDATE sighting SET keywords = ? WHERE {_KEY}",
                (_joined(keywords), account, ref.folder, ref.uid_validity, ref.uid),
            )

    def cursor(self, account: AccountName, folder: FolderName) -> FolderCursor | None:
        row = self._one("SELECT * FROM cursor WHERE account = ? AND folder = ?", (account, folder))
        return _cursor(row) if row else None

    def cursors(self, account: AccountName) -> list[FolderCursor]:
        return [
            _cursor(row)
            for row in self._all("SELECT * FROM cursor WHERE account = ? ORDER BY folder", (account,))
        ]

    def set_cursor(self, cursor: FolderCursor) -> None:
        with self._write() as db:
            db.execute(
                "INSERT OR REPLACE INTO cursor"
                " (account, folder, uid_validity, uid_next, highest_modseq, messages)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    cursor.account,
                    cursor.folder,
                    cursor.uid_validity,
                    cursor.uid_next,
                    cursor.highest_modseq,
                    cursor.messages,
                ),
            )


def insert_sightings(db: sqlite3.Connection, sightings: Iterable[Sighting]) -> None:
    db.executemany(
        "INSERT INTO sighting (account, folder, uid_validity, uid, identity, keywords, seen_at, gone_at,"
        " message_id, size, internal_date) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (account, folder, uid_validity, uid) DO UPDATE SET identity = excluded.identity,"
        " keywords = excluded.keywords, gone_at = excluded.gone_at, message_id = excluded.message_id,"
        " size = excluded.size, internal_date = excluded.internal_date",
        (
            (
                one.account,
                one.ref.folder,
                one.ref.uid_validity,
                one.ref.uid,
                one.identity,
                _joined(one.keywords),
                one.seen_at,
                one.gone_at,
                one.message_id,
                one.size,
                one.internal_date,
            )
            for one in sightings
        ),
    )


def _joined(keywords: Iterable[str]) -> str:
    return " ".join(sorted(keywords))


def _sighting(row: Row) -> Sighting:
    return Sighting(
        account=AccountName(row["account"]),
        ref=MessageRef(FolderName(row["folder"]), UidValidity(row["uid_validity"]), Uid(row["uid"])),
        identity=Identity(row["identity"]),
        keywords=frozenset(row["keywords"].split()),
        seen_at=row["seen_at"],
        gone_at=row["gone_at"],
        message_id=row["message_id"],
        size=row["size"],
        internal_date=row["internal_date"],
    )


def _cursor(row: Row) -> FolderCursor:
    return FolderCursor(
        account=AccountName(row["account"]),
        folder=FolderName(row["folder"]),
        uid_validity=UidValidity(row["uid_validity"]),
        uid_next=Uid(row["uid_next"]),
        highest_modseq=row["highest_modseq"],
        messages=row["messages"],
    )
