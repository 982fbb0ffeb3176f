"""Wiping really wipes: the raw files are searched for a word."""

from __future__ import annotations

import os
import sqlite3

import pytest

from spamd.domain import AccountName, Label, ListEntry
from spamd.errors import StoreBusy
from spamd.store import connection
from spamd.store.database import DAY, Store

WORD = "Xylophonkonzert"
OTHER = AccountName("work")


def traces(path):
    """Files in which the word is, in any form SQLite keeps text."""
    found = []
    for file in path.parent.iterdir():
        content = file.read_bytes().lower()
        if WORD.lower().encode() in content or WORD.lower()[1:].encode() in content:
            found.append(file.name)
    return found


@pytest.fixture
def told(store, rows, path):
    """The word is everywhere: table, full text, log, and a copy made before a migration."""
    store.set_display("snippet")
    for n in range(1, 200):
        account = rows.account if n % 2 else OTHER
        store.record_judgement(
            rows.judgement(
                n,
                account=account,
                sender=f"{WORD}@example.org",
                subject=f"About {WORD} {n}",
                snippet=WORD,
                sender_domain=f"{WORD}.example",
                link_hosts=(f"{WORD}.example",),
            ),
            vector=b"v",
            sighting=rows.sighting(n, account=account),
        )
    store.add_label(rows.label(1))
    store.add_label(rows.label(2, account=OTHER))
    store.backup_to(path.with_name(path.name + ".before-something"))
    assert len(traces(path)) >= 2
    return store


def test_display_text(told, path, rows):
    told.wipe("display")
    assert traces(path) == []
    assert len(told.judgements(limit=500)) == 199
    assert told.search(WORD) == []
    assert rows.rescued(told, 1)
    told.close()
    assert traces(path) == []


def test_one_account(told, path, rows):
    for key in (f"reading:{OTHER}", f"reading:{rows.account}", "night", str(OTHER)):
        told.set_state(key, "1")
    told.wipe(f"account:{OTHER}")
    assert told.state(f"reading:{OTHER}") is None
    assert all(told.state(key) for key in (f"reading:{rows.account}", "night", str(OTHER)))
    assert told.judgements(account=OTHER) == []
    assert not rows.rescued(told, 2, OTHER)
    assert told.sighting_of(OTHER, rows.identity(2)) == []
    assert len(told.judgements(account=rows.account, limit=500)) == 100
    assert len(told.search(WORD, limit=500)) == 100


def test_all(told, path, rows):
    told.add_list_entry(ListEntry(f"{WORD}@example.org", Label.SPAM, rows.noon))
    told.add_contacts(rows.account, [f"{WORD}@example.org"], rows.noon)
    told.set_state("note", WORD)
    told.add_event("move", WORD)
    told.wipe("all")
    assert traces(path) == []
    assert (told.judgements(), told.labels(), told.list_entries(), told.events()) == ([], [], [], [])
    assert told.display == "snippet"  # a setting, not something learned
    stored, _ = told.record_judgement(rows.judgement(1), vector=None)
    assert stored.id == 200  # never a number the person has seen for another mail


def test_choosing_to_keep_less_wipes(told, path):
    told.set_display("nothing")
    assert traces(path) == []


def test_choosing_less_while_it_was_off(told, path):
    told.close()
    with Store(path, display="nothing"):
        assert traces(path) == []


def test_what_a_killed_copy_left_is_wiped_and_not_left_by_the_next(told, path):
    left = path.with_name(f".{path.name}.4711")
    left.write_bytes(path.read_bytes())
    assert left in told.copies()
    told.clean()
    assert not left.exists()
    backup = path.with_name("kept.db")
    half = backup.with_name(f".{backup.name}.4711")
    half.write_bytes(b"half")
    with sqlite3.connect(path) as db:
        connection.copy_to(db, backup)
    assert backup.exists() and not half.exists()


def test_prune_forgets_the_text_of_old_mail(told, path, rows):
    told.record_judgement(rows.judgement(500, at=rows.noon + 80 * DAY, subject="Recent"), vector=b"v")
    told.mark_gone(rows.account, "INBOX", 1, [3], rows.noon + 1)
    told.add_event("move", "old")
    [copy] = told.copies()
    os.utime(copy, (rows.noon, rows.noon))
    assert told.prune(rows.noon + 91 * DAY, 90) > 0
    assert traces(path) == []
    assert told.search(WORD) == []
    assert [one.id for one in told.search("recent")] == [200]
    assert len(told.judgements(limit=500)) == 200  # the figures stay
    assert told.vector_of(rows.account, rows.identity(1)) == b"v"  # labelled
    assert told.vector_of(rows.account, rows.identity(3)) is None
    assert told.sighting_of(rows.account, rows.identity(3)) == []
    assert told.sighting_of(rows.account, rows.identity(5)) != []
    assert told.events() == []
    assert told.prune(rows.noon + 91 * DAY, 90) == 0
    told.prune(rows.noon + 401 * DAY, 90)
    assert {one.identity for one in told.judgements(limit=500)} == {
        rows.identity(1),
        rows.identity(2),
        rows.identity(500),
    }
    assert rows.rescued(told, 1)


def test_ended_in_the_middle_of_wiping(told, path, monkeypatch):
    def power_cut(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "clean", power_cut)
        told.wipe("display")
    told.close()
    assert traces(path) != []  # the copy made before a migration
    with Store(path) as store:
        assert traces(path) == []
        assert store.search(WORD) == []
    with monkeypatch.context() as patch, Store(path):
        patch.setattr(Store, "clean", power_cut)  # it is not done again at each start
        Store(path).close()


def test_another_program_still_reads(told, path, monkeypatch):
    """An old snapshot keeps the log alive: said clearly, and done at the next start."""
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM judgement").fetchone()
    told.close()
    try:
        with Store(path) as store, pytest.raises(StoreBusy):
            store.wipe("display")
    finally:
        reader.close()
    with Store(path):
        assert traces(path) == []
