"""The mover's journal: intents, their states, and at most one automatic move of a mail."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from spamd import source
from spamd.domain import AccountName, FolderName, ModelId, MoveKind, MoveState, Uid, UidValidity
from spamd.errors import RequestError, StoreError


def test_it_is_the_journal_the_mover_knows(store):
    for name, method in inspect.getmembers(source.MoveJournal, inspect.isfunction):
        if not name.startswith("_"):
            assert list(inspect.signature(getattr(store, name)).parameters) == [
                one for one in inspect.signature(method).parameters if one != "self"
            ]


def test_from_intent_to_done(store, rows):
    judged, [intent] = store.record_judgement(rows.judgement(1), vector=None, intents=[rows.move(1)])
    assert store.open_moves(rows.account) == [intent]
    assert not store.judgement(judged.id).moved
    copied = dataclasses.replace(
        intent, state=MoveState.COPIED, target_uid=Uid(101), changed_at=rows.noon + 1
    )
    store.advance(copied)
    assert store.open_moves(rows.account) == [copied]
    assert store.claimed_uids(rows.account, "Junk", 7) == {101}
    assert store.claimed_uids(rows.account, "Junk", 8) == frozenset()
    done = dataclasses.replace(copied, state=MoveState.DONE, changed_at=rows.noon + 2)
    store.advance(done)
    assert store.open_moves(rows.account) == []
    assert store.move_of(rows.account, rows.identity(1)) == done == store.move(intent.id)
    assert store.judgement(judged.id).moved
    store.advance(dataclasses.replace(done, state=MoveState.ABANDONED, target_uid=None))
    assert not store.judgement(judged.id).moved, "our copy gave way to a rival's: it is not in Junk by us"


def test_undoing_takes_the_mark_back_but_the_mail_is_never_moved_again(store, rows):
    judged, [move] = store.record_judgement(rows.judgement(1), vector=None, intents=[rows.move(1)])
    store.advance(dataclasses.replace(move, state=MoveState.DONE))
    undo = store.intent(rows.move(1, "undo", target="INBOX"))
    store.advance(dataclasses.replace(undo, state=MoveState.DONE))
    assert not store.judgement(judged.id).moved
    assert store.was_moved(rows.account, rows.identity(1))
    assert store.move_of(rows.account, rows.identity(1)).kind is MoveKind.JUNK
    with pytest.raises(RequestError):
        store.intent(rows.move(1))
    with pytest.raises(RequestError):
        store.intent(rows.move(1, "unsure", target="Maybe"))
    _, left = store.record_judgement(rows.judgement(1), vector=None, intents=[rows.move(1)])
    assert left == []
    assert store.intent(rows.move(1, account=AccountName("other"))).id


def test_a_twin_is_what_lay_in_the_target_when_the_move_began(store, rows):
    """Not our own copy, nor one that had left by then, nor another folder's mail."""
    move = rows.move(1, target_uid_next=Uid(50), target_uid=Uid(50))
    assert not store.had_a_twin(move)
    ref = dataclasses.replace(move.source, folder=move.target, uid_validity=move.target_uid_validity)

    def seen(uid: int, folder=move.target, gone_at: float | None = None) -> None:
        there = dataclasses.replace(ref, uid=Uid(uid), folder=folder)
        store.add_sightings([dataclasses.replace(rows.sighting(1), ref=there)])
        if gone_at is not None:
            store.mark_gone(rows.account, there.folder, there.uid_validity, [there.uid], gone_at)

    seen(50)
    seen(3, FolderName("Archive"))
    seen(4, gone_at=move.created_at - 1)
    assert not store.had_a_twin(move)
    seen(5, gone_at=move.created_at + 1)
    assert store.had_a_twin(move)
    assert not store.had_a_twin(dataclasses.replace(move, target_uid_validity=UidValidity(8)))


@pytest.mark.parametrize("state", [MoveState.FAILED, MoveState.ABANDONED])
def test_a_move_that_did_not_take_place_may_be_tried_again(store, rows, state):
    first = store.intent(rows.move(1))
    store.advance(dataclasses.replace(first, state=state, error="NO [NOPERM]"))
    assert not store.was_moved(rows.account, rows.identity(1))
    second = store.intent(rows.move(1))
    assert second.id != first.id
    assert store.move_of(rows.account, rows.identity(1)) == second
    # ... and the database itself would not hold two
    with pytest.raises(StoreError):
        store.advance(dataclasses.replace(first, state=MoveState.DONE))


def test_two_intents_for_one_mail_in_one_call(store, rows):
    _, moves = store.record_judgement(rows.judgement(1), vector=None, intents=[rows.move(1), rows.move(1)])
    assert len(moves) == 1


def test_an_unknown_move_cannot_advance(store, rows):
    with pytest.raises(RequestError):
        store.advance(rows.move(1, id=77))


def test_lists_of_moves(store, rows):
    other = AccountName("work")
    store.intent(rows.move(1, model_id=ModelId("base-1")))
    second = store.intent(rows.move(2, created_at=rows.noon + 10, model_id=ModelId("personal-2")))
    store.intent(rows.move(3, account=other, created_at=rows.noon + 20))
    store.advance(dataclasses.replace(second, state=MoveState.DONE))
    undo = store.intent(rows.move(2, "undo", created_at=rows.noon + 30))
    ids = lambda **chosen: [one.id for one in store.moves(**chosen)]  # noqa: E731
    assert ids() == [undo.id, 3, 2, 1]
    assert ids(account=rows.account) == [undo.id, 2, 1]
    assert ids(since=rows.noon + 10, kind=MoveKind.JUNK) == [3, 2]
    assert ids(model_id=ModelId("personal-2")) == [2]
    assert ids(state=MoveState.DONE) == [2]
    assert ids(limit=1) == [undo.id]
    assert store.moves_since(rows.account, rows.noon + 1) == 1  # the undoing is not counted


def test_open_moves_are_the_oldest_first_and_per_account(store, rows):
    made = [
        store.intent(rows.move(n, account=rows.account if n % 2 else AccountName("b"))) for n in range(1, 6)
    ]
    assert store.open_moves(rows.account) == made[::2]


def test_a_new_intent_without_time_gets_one(store, rows, clock):
    clock.now = rows.noon + 5
    stored = store.intent(rows.move(1, created_at=0.0))
    assert (stored.created_at, stored.changed_at) == (rows.noon + 5, rows.noon + 5)


def test_claims_of_undo_in_the_inbox(store, rows):
    move = store.intent(rows.move(1, "undo", target="INBOX", target_uid_validity=UidValidity(3)))
    store.advance(dataclasses.replace(move, target_uid=Uid(8)))
    assert store.claimed_uids(rows.account, "INBOX", 3) == {8}


def test_moves_that_ended_lately(store, rows):
    """The newest, however many there are; and those with a note among them, however old."""
    noted = "It stays marked."
    with store.transaction():
        for number in range(1002):
            row = store.intent(rows.move(number))
            store.advance(dataclasses.replace(row, state=MoveState.DONE, error="" if number else noted))
    lately = store.done_since(rows.account, rows.noon)
    assert [row.identity for row in lately] == [rows.identity(number) for number in range(1001, 1, -1)]
    assert [row.error for row in store.done_since(rows.account, rows.noon, noted)] == [noted]
    assert store.done_since(rows.account, rows.noon + 1) == []


def test_what_the_mover_keeps_from_one_connection_to_the_next(store, rows):
    assert store.neighbours(rows.account) == ""
    for account, text in ((rows.account, "a"), ("work", "b"), (rows.account, "c")):
        store.keep_neighbours(account, text)
    assert (store.neighbours(rows.account), store.neighbours("work")) == ("c", "b")
    assert store.owner() == store.owner() != "", "its locks are known after a crash"
