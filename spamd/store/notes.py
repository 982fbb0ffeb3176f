"""Events, the person's lists, whom the person writes to, and the daemon's small notes to itself."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Iterable

from spamd.domain import AccountName, EventRecord, Label, ListEntry
from spamd.store.connection import Connections, Row


class Notes(Connections):
    """Tables event, list_entry, contact and state."""

    def add_event(
        self, kind: str, text: str, account: AccountName | None = None, needs_person: bool = False
    ) -> EventRecord:
        """Never with text of a mail in it."""
        at = self.clock()
        with self._write() as db:
            cursor = db.execute(
                "INSERT INTO event (at, kind, account, text, needs_person) VALUES (?, ?, ?, ?, ?)",
                (at, kind, account, text, needs_person),
            )
            return EventRecord(cursor.lastrowid or 0, at, kind, account, text, needs_person)

    def events(
        self,
        limit: int = 50,
        before_id: int | None = None,
        needs_person: bool | None = None,
        *,
        account: AccountName | None = None,
        kind: str | None = None,
    ) -> list[EventRecord]:
        """Newest first."""
        where, values = ["1 = 1"], list[object]()
        if needs_person is not None:
            where.append(f"needs_person = {int(needs_person)}")
        for condition, value in {"id < ?": before_id, "account = ?": account, "kind = ?": kind}.items():
            if value is not None:
                where.append(condition)
                values.append(value)
        rows = self._all(
            f"SELECT * FROM event WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?", (*values, limit)
        )
        return [_event(row) for row in rows]

    def settle_event(self, event_id: int) -> bool:
        """The person has seen to it; False if it needed nobody."""
        with self._write() as db:
            return (
                db.execute(
                    "UPDATE event SET needs_person = 0 WHERE id = ? AND needs_person = 1", (event_id,)
                ).rowcount
                > 0
            )

    # ---- lists

    def list_entries(self) -> list[ListEntry]:
        """All, also the expired; by value."""
        return [_entry(row) for row in self._all("SELECT * FROM list_entry ORDER BY value")]

    def add_list_entry(self, entry: ListEntry) -> ListEntry:
        """Replaces an entry of the same value; its use is kept."""
        value = entry.value.strip().lower()
        with self._write() as db:
            row = db.execute(
                "INSERT INTO list_entry (value, label, added_at, expires_at, last_used_at, uses)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (value) DO UPDATE SET label = excluded.label,"
                " added_at = excluded.added_at, expires_at = excluded.expires_at RETURNING *",
                (
                    value,
                    entry.label,
                    entry.added_at or self.clock(),
                    entry.expires_at,
                    entry.last_used_at,
                    entry.uses,
                ),
            ).fetchone()
            return _entry(row)

    def remove_list_entry(self, value: str) -> bool:
        with self._write() as db:
            return db.execute("DELETE FROM list_entry WHERE value = ?", (value.strip().lower(),)).rowcount > 0

    def touch_list_entry(self, value: str, at: float) -> None:
        """It decided something."""
        with self._write() as db:
            db.execute(
                "UPDATE list_entry SET last_used_at = ?, uses = uses + 1 WHERE value = ?",
                (at, value.strip().lower()),
            )

    # ---- contacts: only a keyed digest of each address is kept

    def add_contacts(self, account: AccountName, addresses: Iterable[str], at: float) -> None:
        """Addresses the person wrote to."""
        with self._write() as db:
            key = _contact_key(db)
            if key is None:
                fresh = secrets.token_hex(32)
                db.execute("INSERT INTO state (key, value) VALUES ('contact_key', ?)", (fresh,))
                key = bytes.fromhex(fresh)
            db.executemany(
                "INSERT INTO contact (account, address, at) VALUES (?, ?, ?)"
                " ON CONFLICT (account, address) DO UPDATE SET at = max(at, excluded.at)",
                [(account, _digest(key, address), at) for address in addresses if "@" in address],
            )

    def contacts_among(self, account: AccountName, addresses: Iterable[str]) -> set[str]:
        """Those of these addresses that the person wrote to."""
        with self._read() as db:
            key = _contact_key(db)
            if key is None:
                return set()
            sql = "SELECT 1 FROM contact WHERE account = ? AND address = ?"
            return {one for one in addresses if db.execute(sql, (account, _digest(key, one))).fetchone()}

    def contact_count(self, account: AccountName) -> int:
        row = self._one("SELECT count(*) FROM contact WHERE account = ?", (account,))
        return int(row[0]) if row else 0

    # ---- state

    def state(self, key: str) -> str | None:
        row = self._one("SELECT value FROM state WHERE key = ?", (key,))
        return str(row[0]) if row else None

    def set_state(self, key: str, value: str) -> None:
        with self._write() as db:
            db.execute("INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)", (key, value))

    def remove_state(self, key: str) -> None:
        with self._write() as db:
            db.execute("DELETE FROM state WHERE key = ?", (key,))


def _contact_key(db: sqlite3.Connection) -> bytes | None:
    row = db.execute("SELECT value FROM state WHERE key = 'contact_key'").fetchone()
    return bytes.fromhex(row[0]) if row else None


def _digest(key: bytes, address: str) -> bytes:
    plain = address.strip().lower().encode("utf-8", "surrogatepass")
    return hashlib.blake2b(plain, key=key, digest_size=16).digest()


def _event(row: Row) -> EventRecord:
    account = row["account"]
    return EventRecord(
        id=row["id"],
        at=row["at"],
        kind=row["kind"],
        account=AccountName(account) if account is not None else None,
        text=row["text"],
        needs_person=bool(row["needs_person"]),
    )


def _entry(row: Row) -> ListEntry:
    return ListEntry(
        value=row["value"],
        label=Label(row["label"]),
        added_at=row["added_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
        uses=row["uses"],
    )
