"""The instant head: one step per lesson, exact forgetting, and no lifting of all mail by one-sided lessons."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from spamd.domain import Identity, Label
from spamd.message.vector import StoredVector
from spamd.model.personal import InstantHead, Lesson, UsualMail
from tests.unit.model.made import stored


def lesson(number: int, vector: StoredVector, label: Label, weight: float = 1.0) -> Lesson:
    return Lesson(Identity(f"hash:{number}"), vector, label, weight, float(number))


def test_a_lesson_moves_its_own_mail_at_once() -> None:
    spam = stored(np.random.default_rng(1))
    head = InstantHead()
    assert head.logit(spam) == 0.0
    head.teach(lesson(1, spam, Label.SPAM))
    assert head.logit(spam) > 1.0
    head.teach(lesson(1, spam, Label.HAM))  # the newer word on the same mail
    assert head.logit(spam) < -1.0
    assert len(head) == 1


@pytest.mark.parametrize("label", list(Label))
def test_labels_of_one_class_hardly_move_other_mail(label: Label) -> None:
    rng = np.random.default_rng(2)
    head = InstantHead()
    for _ in range(50):
        head.see(stored(rng))
    others = [stored(rng, start=40_000) for _ in range(50)]
    for number in range(20):
        head.teach(lesson(number, stored(rng), label))
    moved = np.array([head.logit(vector) for vector in others])
    assert abs(moved.mean()) < 0.5
    assert np.abs(moved).max() < 1.0


def test_where_all_mail_is_labelled_the_rare_class_is_enough() -> None:
    """The guard goes: what the labels have in common is learned, though nearly all of them are spam."""
    rng = np.random.default_rng(12)
    told, partly = InstantHead(), InstantHead()

    def alike() -> StoredVector:  # a third of all mail has each of these buckets
        ids = np.sort(rng.choice(600, 200, replace=False)).astype(np.int32)
        return dataclasses.replace(stored(rng), personal_ids=ids)

    for number in range(60):
        vector = alike()
        told.see(vector)
        for _ in range(4):
            partly.see(vector)
        for head in (told, partly):
            head.teach(lesson(number, vector, Label.HAM if number in (7, 20) else Label.SPAM))
    other = alike()
    assert abs(partly.logit(other)) < 0.2
    assert told.logit(other) > 1.0
    # After a start the ledger has 60 labels, and ten mails, forty, sixty came since. That is not all mail labelled.
    started = InstantHead(usual=partly.usual)
    started.rebuild(told.lessons())
    for number in range(60):
        assert abs(started.logit(other)) < 0.3, number
        started.see(alike())


def test_some_rescues_beside_much_named_junk_do_not_lift_all_mail() -> None:
    """Weeks without a night: of ten mails that come one is junk that was missed, and is named."""
    rng = np.random.default_rng(13)
    head = InstantHead()

    def alike() -> StoredVector:
        ids = np.sort(rng.choice(600, 200, replace=False)).astype(np.int32)
        return dataclasses.replace(stored(rng), personal_ids=ids)

    for number in range(300):
        for _ in range(9):
            head.see(alike())
        vector = alike()
        head.see(vector)
        head.teach(lesson(number, vector, Label.HAM if number % 30 == 29 else Label.SPAM))
    lifted = [head.logit(alike()) for _ in range(20)]
    assert np.mean(lifted) < 0.5


def test_a_light_label_moves_less() -> None:
    vector = stored(np.random.default_rng(3))
    full, light = InstantHead(), InstantHead()
    full.teach(lesson(1, vector, Label.HAM))
    light.teach(lesson(1, vector, Label.HAM, weight=0.3))
    assert full.logit(vector) < light.logit(vector) < 0


def test_forgetting_is_exact() -> None:
    rng = np.random.default_rng(4)
    mails = [stored(rng) for _ in range(12)]
    with_it, without = InstantHead(), InstantHead()
    for number, vector in enumerate(mails):
        label = Label.SPAM if number % 3 else Label.HAM
        with_it.teach(lesson(number, vector, label))
        if number != 5:
            without.teach(lesson(number, vector, label))
    assert with_it.logit(mails[5]) != without.logit(mails[5])
    assert with_it.forget(Identity("hash:5"))
    assert [with_it.logit(vector) for vector in mails] == [without.logit(vector) for vector in mails]
    assert not with_it.forget(Identity("hash:5"))


def test_after_forgetting_every_weight_is_that_of_a_start_without_the_label() -> None:
    """Also when mail was seen in between, and the label was one of a class that has few."""
    rng = np.random.default_rng(40)
    mails = [stored(rng) for _ in range(30)]
    head = InstantHead()
    for number, vector in enumerate(mails):
        head.see(mails[(number * 7) % 30])
        head.teach(lesson(number, vector, Label.HAM if number in (3, 9) else Label.SPAM))
    assert head.forget(Identity("hash:9"))
    started = head.beside(one for one in head.lessons() if one.identity != "hash:9")
    np.testing.assert_array_equal(head._weights, started._weights)
    np.testing.assert_array_equal(head._accumulator, started._accumulator)
    assert (head._offset, head._mass) == (started._offset, started._mass)
    kept = {one.identity for one in head.lessons()}
    assert kept == {f"hash:{number}" for number in range(30)} - {"hash:9"}


def test_an_empty_mail_teaches_nothing_and_breaks_nothing() -> None:
    nothing = np.zeros(0, np.int32)
    empty = StoredVector(nothing, np.zeros(3, np.float32), nothing, np.zeros(66, np.uint32))
    head = InstantHead()
    head.see(empty)
    head.teach(lesson(1, empty, Label.SPAM))
    assert head.logit(empty) == 0.0


def test_old_lessons_leave_a_full_head() -> None:
    rng = np.random.default_rng(7)
    head = InstantHead(capacity=3)
    for number in range(5):
        head.teach(lesson(number, stored(rng), Label.SPAM))
    assert [str(one.identity) for one in head.lessons()] == ["hash:2", "hash:3", "hash:4"]


def test_the_usual_mail_is_a_decaying_mean() -> None:
    usual = UsualMail(10, span=4)
    for _ in range(3):
        usual.see(np.array([1, 2], np.int32))
    usual.see(np.array([2, 3], np.int32))
    np.testing.assert_allclose(usual.share(np.array([1, 2, 3], np.int32)), [0.75, 1.0, 0.25], atol=1e-6)
    for _ in range(200):
        usual.see(np.array([5], np.int32))
    np.testing.assert_allclose(usual.share(np.array([1, 5], np.int32)), [0.0, 1.0], atol=1e-6)
