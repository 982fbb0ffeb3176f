"""The ledger: which word holds, what is history, what forgetting means; out and in again."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spamd.domain import AccountName, Label, LabelSource
from spamd.store.database import Store
from spamd.store.labels import PERSON_SOURCES, STRENGTH


def now_of(store, rows, n=1):
    found = store.label_of(rows.account, rows.identity(n))
    return (found.label, found.source) if found else None


def test_every_source_has_a_strength():
    assert set(STRENGTH) == set(LabelSource)


@pytest.mark.parametrize(
    ("first", "second", "holds"),
    [
        ("drag", "drag", "second"),
        ("drag", "review", "second"),
        ("drag", "keyword", "first"),
        ("keyword", "drag", "second"),
        ("keyword", "hint", "first"),
        ("hint", "keyword", "second"),
        ("implicit", "hint", "second"),
        ("hint", "implicit", "first"),
        ("implicit", "implicit", "second"),
        ("folder", "drag", "second"),
    ],
)
def test_a_later_word_holds_unless_it_is_weaker(store, rows, first, second, holds):
    store.add_label(rows.label(1, "ham", first, at=rows.noon))
    returned = store.add_label(rows.label(1, "spam", second, at=rows.noon + 1))
    expected = (Label.HAM, LabelSource(first)) if holds == "first" else (Label.SPAM, LabelSource(second))
    assert now_of(store, rows) == expected
    assert (returned.label, returned.source) == expected
    assert len(list(store.ledger())) == 2


def test_an_older_word_of_the_same_strength_becomes_history(store, rows):
    store.add_label(rows.label(1, "spam", at=rows.noon))
    store.add_label(rows.label(1, "ham", at=rows.noon - 5))
    assert now_of(store, rows) == (Label.SPAM, LabelSource.DRAG)
    assert rows.rescued(store, 1)


def test_a_word_said_while_the_clock_was_ahead_does_not_silence_the_person(store, rows):
    store.add_label(rows.label(1, "spam", at=rows.noon + 365 * 86400.0))
    store.add_label(rows.label(1, "ham", at=rows.noon))
    assert now_of(store, rows) == (Label.HAM, LabelSource.DRAG)


def test_said_again_nothing_is_written(store, rows):
    first = store.add_label(rows.label(1, "ham", "implicit", weight=0.3))
    for later in range(5):
        again = store.add_label(rows.label(1, "ham", "implicit", weight=0.3, at=rows.noon + later))
        assert again.id == first.id
    store.add_label(rows.label(1, "spam", "drag", at=rows.noon + 9))
    for later in range(5):
        store.add_label(rows.label(1, "ham", "implicit", weight=0.3, at=rows.noon + 10 + later))
    assert len(list(store.ledger())) == 2


@pytest.mark.parametrize("source", list(LabelSource))
def test_rescued_is_what_the_person_did_for_ever(store, rows, source):
    store.add_label(rows.label(1, "ham", source))
    person = source in PERSON_SOURCES
    assert rows.rescued(store, 1) == person
    store.add_label(rows.label(1, "spam", "drag", at=rows.noon + 1))
    assert rows.rescued(store, 1) == person
    assert not rows.rescued(store, 1, AccountName("other"))
    assert not rows.rescued(store, 2)
    store.forget_label(rows.account, rows.identity(1))
    assert not rows.rescued(store, 1)


def test_forgetting_is_exact(store, rows):
    store.put_vector(rows.account, rows.identity(1), b"v")
    assert not store.forget_label(rows.account, rows.identity(1))
    store.add_label(rows.label(1, "ham", "keyword"))
    store.add_label(rows.label(1, "spam", "drag"))
    store.add_label(rows.label(2))
    assert store.forget_label(rows.account, rows.identity(1))
    assert [record.identity for record in store.ledger()] == [rows.identity(2)]
    assert list(store.training_set(until=rows.noon, limit=10)) == []


def test_a_word_that_is_taken_back_leaves_what_was_said_before(store, rows):
    store.add_label(rows.label(1, "ham", "review", at=rows.noon))
    store.add_label(rows.label(1, "spam", "drag", at=rows.noon + 1))
    assert store.withdraw(rows.account, rows.identity(1))
    assert now_of(store, rows) == (Label.HAM, LabelSource.REVIEW)
    assert [one.label for one in store.ledger()] == [Label.HAM]
    assert store.withdraw(rows.account, rows.identity(1))
    assert now_of(store, rows) is None
    assert not store.withdraw(rows.account, rows.identity(1))


def test_training_set_is_what_holds_until_then(store, rows):
    for n in range(1, 6):
        store.put_vector(rows.account, rows.identity(n), b"%d" % n)
        store.add_label(rows.label(n, at=rows.noon + n))
    store.hold(rows.account, rows.identity(2))
    store.add_label(rows.label(9, at=rows.noon))  # without a vector
    training = list(store.training_set(until=rows.noon + 4, limit=10))
    assert [data for _, data in training] == [b"4", b"3", b"1"]
    assert [data for _, data in store.training_set(until=rows.noon + 99, limit=2)] == [b"5", b"4"]
    assert list(store.training_set(until=rows.noon + 99, limit=2, account=AccountName("other"))) == []


def test_what_the_person_said_is_not_pushed_out_by_silence(store, rows):
    for n in range(1, 9):
        store.put_vector(rows.account, rows.identity(n), b"%d" % n)
        silent = n in (3, 5, 6, 7, 8)
        store.add_label(rows.label(n, at=rows.noon + n, source="implicit" if silent else "drag"))
    for limit in range(9):
        found = [data for _, data in store.training_set(until=rows.noon + 7, limit=limit)]
        assert found == [b"4", b"2", b"1", b"7", b"6", b"5", b"3"][:limit]


def test_held_labels_are_listed_and_released(store, rows):
    store.add_label(rows.label(1))
    store.add_label(rows.label(2, held=True, note="contradicts"))
    assert [one.note for one in store.labels(held=True)] == ["contradicts"]
    assert [one.identity for one in store.labels(held=False)] == [rows.identity(1)]
    assert store.release(rows.account, rows.identity(2))
    assert store.labels(held=True) == []
    assert not store.hold(rows.account, rows.identity(3))


def test_silence_is_not_said(store, rows):
    store.add_label(rows.label(1, at=rows.noon))
    store.add_label(rows.label(2, at=rows.noon + 1))
    store.add_label(rows.label(3, source="implicit", at=rows.noon + 1))
    store.add_label(rows.label(4, held=True, at=rows.noon + 1))
    assert store.labels_since(rows.noon) == 1


def test_pages_of_labels(store, rows):
    for n in range(1, 8):
        store.add_label(rows.label(n, at=rows.noon + n % 3, source="review" if n % 2 else "drag"))
    everything = store.labels()
    first = store.labels(limit=3)
    rest = store.labels(before_id=first[-1].id)
    assert first + rest == everything
    assert {one.source for one in store.labels(source=LabelSource.REVIEW)} == {LabelSource.REVIEW}
    assert len(store.labels(since=rows.noon + 2)) == 2
    assert store.label(everything[0].id) == everything[0]
    assert sum(store.label_counts().values()) == 7


words = st.tuples(
    st.integers(1, 3),
    st.sampled_from(["ham", "spam"]),
    st.sampled_from([source.value for source in LabelSource]),
    st.integers(0, 4),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(words, st.tuples(st.just(0), st.integers(1, 3))), max_size=20))
def test_one_word_holds_and_the_ledger_restores_it(tmp_path_factory, rows, said):
    """Whatever is said and forgotten: the strongest, then newest word holds; a new installation agrees."""
    model: dict[int, list[tuple[int, int, str]]] = {}
    folder = tmp_path_factory.mktemp("ledger")
    with Store(folder / "one.db") as store, Store(folder / "two.db") as other:
        for step in said:
            if step[0] == 0:
                store.forget_label(rows.account, rows.identity(step[1]))
                model.pop(step[1], None)
            else:
                n, label, source, at = step
                store.add_label(rows.label(n, label, source, at=float(at)))
                model.setdefault(n, []).append((STRENGTH[LabelSource(source)], at, label))
        for record in store.ledger():
            other.add_label(record)
        for n in range(1, 4):
            held = store.label_of(rows.account, rows.identity(n))
            assert (held is None) == (n not in model)
            if held is not None:
                strongest = max((strength, at) for strength, at, _ in model[n])
                assert STRENGTH[held.source] == strongest[0]
                assert held.label in {label for strength, at, label in model[n] if strength == strongest[0]}
            there = other.label_of(rows.account, rows.identity(n))
            assert (there is None) == (held is None)
            if held is not None:
                assert (there.label, there.source) == (held.label, held.source)
            assert rows.rescued(store, n) == rows.rescued(other, n)


def test_mail_seen_left_while_the_clock_was_ahead_was_left_by_now(store, rows):
    """Also where no label was written then: thirty mails of one sender get three."""
    now = 1_700_000_000.0
    store.record_judgement(rows.judgement(1), vector=None)
    store.note_heard(rows.account, (), [rows.identity(1)], now + 300 * 86400.0)
    store.date_back(now)
    assert store.judgement_of(rows.account, rows.identity(1)).left_at == now + 300 * 86400.0, (
        "nothing tells which clock is wrong"
    )
    store.add_label(rows.label(2, "spam", "drag", now - 86400.0))
    store.date_back(now)
    assert now - 1.0 < store.judgement_of(rows.account, rows.identity(1)).left_at <= now
