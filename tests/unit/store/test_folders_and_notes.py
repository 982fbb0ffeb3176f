"""Sightings, cursors, events, lists, contacts and the daemon's notes."""

from __future__ import annotations

import sqlite3

import pytest

from spamd.domain import AccountName, FolderCursor, FolderName, Label, ListEntry, MessageRef, Uid, UidValidity

INBOX = FolderName("INBOX")
JUNK = FolderName("Junk")


def test_sightings_come_back_as_they_were(store, rows):
    seen = rows.sighting(
        5, keywords=frozenset({"$Junk", "NonJunk"}), message_id="a@b", size=12, internal_date=rows.noon - 5
    )
    store.add_sightings([seen, rows.sighting(6), rows.sighting(5, "Junk", 9)])
    assert store.sightings(rows.account, INBOX) == {Uid(5): seen, Uid(6): rows.sighting(6)}
    assert store.sighting_of(rows.account, rows.identity(5))[0] in (seen, rows.sighting(5, "Junk", 9))
    assert len(store.sighting_of(rows.account, rows.identity(5))) == 2
    assert store.sightings(AccountName("other"), INBOX) == {}


def test_seen_again_the_first_time_is_kept(store, rows):
    store.add_sightings([rows.sighting(5)])
    store.mark_gone(rows.account, INBOX, UidValidity(1), [Uid(5)], rows.noon + 1)
    store.add_sightings([rows.sighting(5, seen_at=rows.noon + 9, keywords=frozenset({"Junk"}))])
    assert store.sightings(rows.account, INBOX) == {
        Uid(5): rows.sighting(5, keywords=frozenset({"Junk"}))  # seen_at as at first, not gone
    }


def test_gone_is_remembered(store, rows):
    store.add_sightings([rows.sighting(5), rows.sighting(6)])
    store.mark_gone(rows.account, INBOX, UidValidity(1), [Uid(5), Uid(99)], rows.noon + 1)
    store.mark_gone(rows.account, INBOX, UidValidity(1), [Uid(5)], rows.noon + 2)
    assert list(store.sightings(rows.account, INBOX)) == [Uid(6)]
    assert store.sighting_of(rows.account, rows.identity(5))[0].gone_at == rows.noon + 1


def test_only_the_folder_as_it_is_now_counts(store, rows):
    """After UIDVALIDITY changed, UIDs of before mean other mails."""
    store.add_sightings([rows.sighting(1, validity=1), rows.sighting(2, validity=1)])
    store.add_sightings([rows.sighting(1, validity=2, seen_at=rows.noon + 5)])
    assert list(store.sightings(rows.account, INBOX)) == [Uid(1)]
    assert list(store.sightings(rows.account, INBOX, UidValidity(1))) == [Uid(1), Uid(2)]
    store.set_cursor(FolderCursor(rows.account, INBOX, UidValidity(1), Uid(3), None, 2))
    assert list(store.sightings(rows.account, INBOX)) == [Uid(1), Uid(2)]


def test_keywords_and_forgetting_a_folder(store, rows):
    store.add_sightings([rows.sighting(1), rows.sighting(1, "Junk")])
    store.set_keywords(rows.account, MessageRef(INBOX, UidValidity(1), Uid(1)), {"Junk"})
    assert store.sightings(rows.account, INBOX)[Uid(1)].keywords == {"Junk"}
    store.set_cursor(FolderCursor(rows.account, INBOX, UidValidity(1), Uid(2), 77, 1))
    store.forget_folder(rows.account, INBOX)
    assert store.sightings(rows.account, INBOX) == {}
    assert store.cursor(rows.account, INBOX) is None
    assert len(store.sightings(rows.account, JUNK)) == 1


def test_cursors(store, rows):
    assert store.cursor(rows.account, INBOX) is None
    for modseq in (None, 2**63 - 1):
        cursor = FolderCursor(rows.account, INBOX, UidValidity(2**32 - 1), Uid(2**32 - 1), modseq, 10)
        store.set_cursor(cursor)
        assert store.cursor(rows.account, INBOX) == cursor
    assert store.cursors(rows.account) == [cursor]


def test_events(store, rows, clock):
    first = store.add_event("move", "A mail went to Junk.", rows.account)
    clock.now += 1
    second = store.add_event("brake", "Too many at once.", rows.account, needs_person=True)
    assert store.events() == [second, first]
    assert store.events(needs_person=True) == [second]
    assert store.events(before_id=second.id) == [first]
    assert store.events(1) == [second]
    assert store.settle_event(second.id)
    assert not store.settle_event(second.id)
    assert store.events(needs_person=True) == []


def test_list_entries(store, rows):
    store.add_list_entry(ListEntry(" Ann@Shop.example ", Label.HAM, rows.noon))
    store.add_list_entry(ListEntry("bad.example", Label.SPAM, rows.noon, expires_at=rows.noon + 5))
    store.touch_list_entry("ANN@shop.example", rows.noon + 1)
    store.touch_list_entry("unknown.example", rows.noon + 1)
    ann, bad = store.list_entries()
    assert (ann.value, ann.uses, ann.last_used_at) == ("ann@shop.example", 1, rows.noon + 1)
    assert bad.expires_at == rows.noon + 5
    changed = store.add_list_entry(ListEntry("ann@shop.example", Label.SPAM, rows.noon + 2))
    assert (changed.label, changed.uses) == (Label.SPAM, 1)
    assert store.remove_list_entry("Bad.example")
    assert not store.remove_list_entry("bad.example")


def test_contacts_are_known_but_not_readable(store, rows, path):
    store.add_contacts(
        rows.account, ["Ann.Secretname@Shop.example", "ann.secretname@shop.example", "no address"], 1.0
    )
    asked = {"ann.secretname@shop.EXAMPLE", "bob@shop.example"}
    assert store.contacts_among(rows.account, asked) == {"ann.secretname@shop.EXAMPLE"}
    assert store.contacts_among(AccountName("other"), asked) == set()
    assert store.contact_count(rows.account) == 1
    raw = b"".join(one.read_bytes() for one in path.parent.iterdir())
    assert b"secretname" not in raw.lower()


def test_contacts_before_any_were_added(store, rows):
    assert store.contacts_among(rows.account, ["a@b.example"]) == set()


def test_state(store):
    assert store.state("night") is None
    store.set_state("night", "1")
    store.set_state("night", "2")
    assert store.state("night") == "2"
    store.remove_state("night")
    assert store.state("night") is None


@pytest.mark.parametrize("column", ["subject", "identity", "account"])
def test_names_with_quotes_are_data(store, rows, column, path):
    evil = "'; DROP TABLE judgement; --"
    store.set_state(evil, evil)
    assert store.state(evil) == evil
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM judgement").fetchone() == (0,)
    db.close()
