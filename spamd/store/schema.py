"""Tables and named migrations. A migration once released never changes; a new one is added below.

sqlite-utils is imported only when there is something to migrate: it costs 0.2 s and 20 MB.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

from spamd.errors import StoreDamaged

if TYPE_CHECKING:
    from sqlite_utils import Database

MIGRATION_SET = "spamd"


def first_tables(db: Database) -> None:
    # AUTOINCREMENT: a number once shown to the person never names another mail, even after a wipe.
    db.execute(
        """
        CREATE TABLE judgement (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            account TEXT NOT NULL,
            identity TEXT NOT NULL,
            at REAL NOT NULL,
            probability REAL NOT NULL,
            logit REAL NOT NULL,
            base_logit REAL NOT NULL,
            model_id TEXT NOT NULL,
            copy_of TEXT,
            verdict TEXT NOT NULL,
            move INTEGER NOT NULL,
            reason TEXT NOT NULL,
            explanation TEXT NOT NULL,
            folder TEXT NOT NULL,
            sender TEXT NOT NULL,
            subject TEXT NOT NULL,
            snippet TEXT NOT NULL,
            sender_domain TEXT NOT NULL,
            link_hosts TEXT NOT NULL,        -- one per line
            moved INTEGER NOT NULL,
            label TEXT,                      -- the person's word; follows the ledger
            first_probability REAL NOT NULL, -- before anything was learned from this mail
            first_at REAL NOT NULL
        ) STRICT
        """
    )
    db.execute("CREATE UNIQUE INDEX judgement_mail ON judgement (account, identity)")
    # at, then id: the order of every page. The rest of each index spares counts the rows themselves.
    db.execute("CREATE INDEX judgement_at ON judgement (at, id, verdict, moved, label)")
    db.execute("CREATE INDEX judgement_account ON judgement (account, at, id, verdict, moved, label)")
    db.execute("CREATE INDEX judgement_verdict ON judgement (verdict, at, id)")
    db.execute("CREATE INDEX judgement_account_verdict ON judgement (account, verdict, at, id)")
    db.execute("CREATE INDEX judgement_open ON judgement (verdict, at, id) WHERE label IS NULL")
    db.execute(
        "CREATE INDEX judgement_open_account ON judgement (account, verdict, at, id) WHERE label IS NULL"
    )
    db.execute("CREATE INDEX judgement_labelled ON judgement (at, id) WHERE label IS NOT NULL")
    db.execute(
        "CREATE INDEX judgement_labelled_account ON judgement (account, at, id) WHERE label IS NOT NULL"
    )
    _full_text(db)

    db.table("vector").create(
        {"account": str, "identity": str, "at": float, "data": bytes},
        not_null=("account", "identity", "at", "data"),
        strict=True,
    )
    db.table("vector").create_index(["account", "identity"], index_name="vector_mail", unique=True)
    db.table("vector").create_index(["account", "at"], index_name="vector_at")

    db.table("sighting").create(
        {
            "account": str,
            "folder": str,
            "uid_validity": int,
            "uid": int,
            "identity": str,
            "keywords": str,  # separated by spaces: an IMAP atom has none
            "seen_at": float,
            "gone_at": float,
            "message_id": str,
            "size": int,
            "internal_date": float,
        },
        pk=("account", "folder", "uid_validity", "uid"),
        not_null=("identity", "keywords", "seen_at", "message_id", "size", "internal_date"),
        strict=True,
    )
    db.table("sighting").create_index(["account", "identity"], index_name="sighting_mail")
    db.execute("CREATE INDEX sighting_message ON sighting (message_id) WHERE message_id != ''")
    db.execute("CREATE INDEX sighting_gone ON sighting (gone_at) WHERE gone_at IS NOT NULL")

    db.table("cursor").create(
        {
            "account": str,
            "folder": str,
            "uid_validity": int,
            "uid_next": int,
            "highest_modseq": int,
            "messages": int,
        },
        pk=("account", "folder"),
        not_null=("uid_validity", "uid_next", "messages"),
        strict=True,
    )

    db.execute(
        """
        CREATE TABLE label (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            account TEXT NOT NULL,
            identity TEXT NOT NULL,
            label TEXT NOT NULL,
            source TEXT NOT NULL,
            weight REAL NOT NULL,
            at REAL NOT NULL,
            model_id TEXT NOT NULL,
            note TEXT NOT NULL,
            held INTEGER NOT NULL,
            current INTEGER NOT NULL         -- 0: history, replaced by a later or stronger word
        ) STRICT
        """
    )
    db.execute("CREATE UNIQUE INDEX label_current ON label (account, identity) WHERE current = 1")
    db.execute("CREATE INDEX label_mail ON label (account, identity, label, source)")
    db.execute("CREATE INDEX label_at ON label (at, id) WHERE current = 1")
    db.execute("CREATE INDEX label_account_at ON label (account, at, id) WHERE current = 1")
    db.execute("CREATE INDEX label_held ON label (at, id) WHERE current = 1 AND held = 1")

    db.execute(
        """
        CREATE TABLE move (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            account TEXT NOT NULL,
            identity TEXT NOT NULL,
            kind TEXT NOT NULL,
            state TEXT NOT NULL,
            source_folder TEXT NOT NULL,
            source_uid_validity INTEGER NOT NULL,
            source_uid INTEGER NOT NULL,
            target TEXT NOT NULL,
            target_uid_validity INTEGER,
            target_uid_next INTEGER,
            target_uid INTEGER,
            message_id TEXT NOT NULL,
            size INTEGER NOT NULL,
            fingerprint TEXT NOT NULL,
            created_at REAL NOT NULL,
            changed_at REAL NOT NULL,
            model_id TEXT NOT NULL,
            error TEXT NOT NULL
        ) STRICT
        """
    )
    # At most one automatic move of a mail, ever. A refused or abandoned one did not take place.
    db.execute(
        "CREATE UNIQUE INDEX move_once ON move (account, identity)"
        " WHERE kind IN ('junk', 'unsure') AND state NOT IN ('failed', 'abandoned')"
    )
    db.execute("CREATE INDEX move_mail ON move (account, identity, kind)")
    db.execute("CREATE INDEX move_open ON move (account, id) WHERE state IN ('intent', 'copied', 'marked')")
    db.execute(
        "CREATE INDEX move_target ON move (account, target, target_uid_validity, target_uid)"
        " WHERE target_uid IS NOT NULL"
    )
    db.execute("CREATE INDEX move_created ON move (created_at, id)")
    db.execute("CREATE INDEX move_account_created ON move (account, created_at, id)")
    db.execute("CREATE INDEX move_model ON move (model_id, created_at, id)")

    db.execute(
        """
        CREATE TABLE event (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at REAL NOT NULL,
            kind TEXT NOT NULL,
            account TEXT,
            text TEXT NOT NULL,
            needs_person INTEGER NOT NULL
        ) STRICT
        """
    )
    db.execute("CREATE INDEX event_needs ON event (id) WHERE needs_person = 1")

    db.table("list_entry").create(
        {
            "value": str,
            "label": str,
            "added_at": float,
            "expires_at": float,
            "last_used_at": float,
            "uses": int,
        },
        pk="value",
        not_null=("label", "added_at", "uses"),
        strict=True,
    )
    db.table("contact").create(
        {"account": str, "address": bytes, "at": float},  # a keyed digest: see store/notes.py
        pk=("account", "address"),
        not_null=("at",),
        strict=True,
    )
    db.table("state").create({"key": str, "value": str}, pk="key", not_null=("value",), strict=True)


def _full_text(db: Database) -> None:
    """Search over what may be shown. Triggers keep it true; only changes of these columns cost anything."""
    columns = "sender, subject, snippet"
    old = "old.sender, old.subject, old.snippet"
    new = "new.sender, new.subject, new.snippet"
    remove = (
        f"INSERT INTO judgement_text (judgement_text, rowid, {columns}) VALUES ('delete', old.id, {old});"
    )
    add = f"INSERT INTO judgement_text (rowid, {columns}) VALUES (new.id, {new});"
    db.execute(
        f"CREATE VIRTUAL TABLE judgement_text USING fts5({columns}, content='judgement', content_rowid='id',"
        " tokenize='unicode61 remove_diacritics 2', prefix='2 3')"
    )
    db.execute(f"CREATE TRIGGER judgement_added AFTER INSERT ON judgement BEGIN {add} END")
    db.execute(f"CREATE TRIGGER judgement_removed AFTER DELETE ON judgement BEGIN {remove} END")
    db.execute(
        f"CREATE TRIGGER judgement_changed AFTER UPDATE OF {columns} ON judgement"
        f" WHEN ({old}) IS NOT ({new}) BEGIN {remove} {add} END"
    )


def left_lying(db: Database) -> None:
    """When a mail was seen opened and left; and what silence weighs for the person's habit is no more written into its label.

    What was left without a label had not been written down: of older mail, whatever nobody spoke of and still lies there.
    """
    db.execute("ALTER TABLE judgement ADD COLUMN left_at REAL")
    db.execute("CREATE INDEX judgement_came ON judgement (account, first_at)")
    db.execute(
        "UPDATE judgement SET left_at = (SELECT min(at) FROM label WHERE label.account = judgement.account"
        " AND label.identity = judgement.identity AND source = 'implicit' AND note = 'opened and left')"
    )
    db.execute(
        "UPDATE judgement SET left_at = first_at + 3 * 86400.0"
        " WHERE moved = 0 AND reason != 'before' AND first_at < CAST(strftime('%s', 'now') AS REAL) - 21 * 86400.0"
        " AND NOT EXISTS (SELECT 1 FROM label WHERE label.account = judgement.account"
        " AND label.identity = judgement.identity) AND EXISTS (SELECT 1 FROM sighting"
        " WHERE sighting.account = judgement.account AND sighting.identity = judgement.identity"
        " AND sighting.folder = 'INBOX' AND gone_at IS NULL)"
    )
    db.execute(
        "UPDATE label SET weight = CASE WHEN note IN ('opened and left', 'left among doubtful mail')"
        " AND 'keep' != (SELECT verdict FROM judgement WHERE judgement.account = label.account"
        " AND judgement.identity = label.identity) THEN 0.1 ELSE 0.3 END WHERE source = 'implicit'"
    )


def sender_proof(db: Database) -> None:
    """How the receiving server vouched for the address in From. NULL: judged before it was written down."""
    db.execute("ALTER TABLE judgement ADD COLUMN sender_proof TEXT")


def heard(db: Database) -> None:
    """Of which mail silence was heard, whatever became of it: it is not asked about again."""
    db.execute("ALTER TABLE judgement ADD COLUMN heard INTEGER NOT NULL DEFAULT 0")
    db.execute(
        "UPDATE judgement SET heard = 1 WHERE left_at IS NOT NULL OR EXISTS (SELECT 1 FROM label"
        " WHERE label.account = judgement.account AND label.identity = judgement.identity AND source = 'implicit')"
    )


def proven_senders(db: Database) -> None:
    """Of whom mail came that the server vouches for: asked for while mail is scored, 14 ms of CPU among 65,000 judgements without."""
    for column in ("sender_domain", "sender"):
        db.execute(
            f"CREATE INDEX judgement_{column} ON judgement (account, {column}, first_at) WHERE sender_proof = 'proven'"
        )


def no_fingerprint(db: Database) -> None:
    """A digest of each moved mail's header, that nothing ever asked for."""
    db.execute("ALTER TABLE move DROP COLUMN fingerprint")


def counts_from_an_index(db: Database) -> None:
    """What is counted leaves out by its reason the mail that nobody judged. Without the rows themselves 33,000 mails of a month
    take 5 ms of CPU, not 9; it costs 2 % of the file.
    """
    for name, first in (("judgement_at", ""), ("judgement_account", "account, ")):
        db.execute(f"DROP INDEX {name}")
        db.execute(f"CREATE INDEX {name} ON judgement ({first}at, id, verdict, moved, label, reason)")


MIGRATIONS: tuple[tuple[str, Callable[[Database], None]], ...] = (
    ("2026-11-first-tables", first_tables),
    ("2026-11-left-lying", left_lying),
    ("2026-11-sender-proof", sender_proof),
    ("2026-11-heard", heard),
    ("2026-11-proven-senders", proven_senders),
    ("2026-11-no-fingerprint", no_fingerprint),
    ("2026-12-counts-from-an-index", counts_from_an_index),
)
"""In this order. The name is what the database remembers."""


def applied(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Names of the migrations this database has seen; none for a new one. Needs no sqlite-utils."""
    tables = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_sqlite_migrations'"
    ).fetchone()
    if tables is None:
        return ()
    rows = connection.execute(
        "SELECT name FROM _sqlite_migrations WHERE migration_set = ? ORDER BY rowid", (MIGRATION_SET,)
    )
    return tuple(str(name) for (name,) in rows)


def pending(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Names of the migrations to come. StoreDamaged if a newer version of the program wrote this database."""
    seen = applied(connection)
    known = [name for name, _ in MIGRATIONS]
    foreign = [name for name in seen if name not in known]
    if foreign:
        raise StoreDamaged(
            f"The database was written by a newer version of this program (it has {foreign[-1]!r}).",
            "Install that version again, or move the database away to begin anew.",
        )
    return tuple(name for name in known if name not in seen)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date: all pending migrations, or none, in one transaction.

    Each migration and its record lie in a savepoint of their own.
    """
    from sqlite_utils import Database, Migrations

    migrations = Migrations(MIGRATION_SET)
    for name, function in MIGRATIONS:
        migrations(name=name)(function)
    connection.execute("BEGIN IMMEDIATE")
    try:
        migrations.apply(Database(connection, execute_plugins=False))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
