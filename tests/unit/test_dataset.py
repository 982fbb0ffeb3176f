"""The mixture of a night: how much each kind of evidence weighs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spamd.domain import AccountName, Identity, Label, LabelRecord, LabelSource
from spamd.message.vector import pack, vectorise
from spamd.training.dataset import Example, balanced, examples, tempered
from tests.unit.model.made import mail, stored

VECTOR = stored(np.random.default_rng(1))


def some(count: int, spam: bool, weight: float = 1.0, *, implicit: bool = False) -> list[Example]:
    return [Example(f"{spam}{implicit}{n}", VECTOR, spam, weight, float(n), implicit) for n in range(count)]


def mass(rows: list[Example], spam: bool) -> float:
    return sum(e.weight for e in rows if e.spam is spam)


def test_both_classes_pull_alike_within_limits():
    even = balanced(some(30, True) + some(10, False))
    assert mass(even, True) == pytest.approx(mass(even, False)) == pytest.approx(20)
    assert mass(balanced(some(1000, True) + some(1, False)), False) == pytest.approx(4)
    assert balanced(some(3, True)) == some(3, True)


def test_much_spam_does_not_outweigh_little_good_mail():
    """Who dragged six hundred spams away and left eight mails lying has not said that all their mail is spam."""
    few = tempered(some(600, True) + some(8, False, 0.3, implicit=True))
    assert mass(few, False) == pytest.approx(2.4) and mass(few, True) == pytest.approx(2.4 * 1.24)
    more = tempered(some(600, True) + some(30, False))
    assert mass(more, True) == pytest.approx(120)
    for usual in (some(60, True) + some(50, False), some(5, True) + some(500, False), some(40, True)):
        assert tempered(usual) == usual, "nothing else is touched"


def test_silence_is_never_raised():
    """A hundred times nobody said anything, fifty times the person dragged spam away."""
    mixed = balanced(some(50, True) + some(100, False, 0.3, implicit=True))
    assert all(e.weight <= 0.3 for e in mixed if e.implicit)
    said = balanced(some(50, True) + some(5, False) + some(100, False, 0.01, implicit=True))
    assert all(e.weight > 1 for e in said if not e.spam and not e.implicit)
    loud = balanced(some(5, True) + some(500, False, 0.3, implicit=True))
    assert all(e.weight < 0.3 for e in loud if e.implicit), "but lowered where it would drown the rest"


@pytest.mark.parametrize(
    ("note", "rescued"), [("undo: ", True), ("drag: junk to inbox", True), ("review: ", False), ("", False)]
)
def test_a_rescue_is_one_also_where_the_ledger_was_imported(note, rescued):
    packed = pack(vectorise(mail("Hello", "How are you?")))
    record = LabelRecord(
        AccountName("a"), Identity("hash:1"), Label.HAM, LabelSource.IMPORT, 1.0, 1.0, note=note
    )
    (example,) = examples([(record, packed)])
    assert example.rescued is rescued and example.taken_out is rescued
    (example,) = examples([(replace(record, label=Label.SPAM), packed)])
    assert not example.rescued


def test_silence_about_doubtful_mail_teaches_nothing():
    packed = pack(vectorise(mail("Hello", "How are you?")))

    def row(number: int, source: LabelSource, weight: float, *, held: bool = False):
        identity = Identity(f"hash:{number}")
        return (
            LabelRecord(AccountName("a"), identity, Label.HAM, source, weight, float(number), held=held),
            packed,
        )

    rows = [
        row(1, LabelSource.IMPLICIT, 0.1),
        row(2, LabelSource.IMPLICIT, 0.3),
        row(3, LabelSource.KEYWORD, 0.1),
        row(4, LabelSource.DRAG, 1.0, held=True),
    ]
    assert [e.at for e in examples(rows)] == [2.0, 3.0]
