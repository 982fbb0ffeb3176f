"""The gate: each way a night can be bad is refused, with the reason; a good one passes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spamd.errors import ModelError
from spamd.model import gate
from spamd.model.gate import Night, Scored, judge


def scored(before: float, after: float, spam: bool, count: int = 50) -> Scored:
    return Scored(np.full(count, before), np.full(count, after), np.full(count, spam))


GOOD = Night(
    held=scored(0.95, 0.97, True),
    rescued=scored(0.1, 0.05, False, 3),
    pinned=scored(0.02, 0.02, False),
    kept_before=np.zeros(40),
    kept_after=np.full(40, -0.1),
)


SPAM = np.array([False] * 5 + [True] * 45)
SPAM[20:30] = False
SURE = Scored(np.where(SPAM, 0.999, 0.001), np.where(SPAM, 0.999, 0.001), SPAM)


def against(count: int, of: int = 0) -> Scored:
    """So many new labels of either kind against which the serving model is sure, among others."""
    spam = np.arange(max(count, of)) % 2 == 0
    before = np.where(spam, 0.6, 0.4)
    before[:count] = np.where(spam[:count], 0.001, 0.999)
    return Scored(before, before, spam)


def test_a_good_night_is_promoted_with_its_figures() -> None:
    report = judge(GOOD)
    assert report.promoted
    assert report.figures["held"] == 50
    assert report.figures["held_loss_after"] < report.figures["held_loss_before"]


def test_one_held_out_mail_does_not_decide_all_nights() -> None:
    """A person with little junk has one label held out of twenty; what is thought a little less of it is no harm."""
    few = scored(0.94, 0.80, True, gate.HELD_LEAST - 1)
    assert judge(dataclasses.replace(GOOD, held=few)).promoted
    enough = scored(0.94, 0.80, True, gate.HELD_LEAST)
    assert not judge(dataclasses.replace(GOOD, held=enough)).promoted


def test_an_empty_night_is_promoted() -> None:
    nothing = scored(0, 0, False, 0)
    assert judge(Night(nothing, nothing, nothing)).promoted


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"held": scored(0.95, 0.80, True)}, "older labels"),
        ({"rescued": scored(0.1, 0.995, False, 1)}, "took out of Junk"),
        ({"rescued": scored(0.1, float("nan"), False, 1)}, "numbers"),
        ({"difference": float("nan")}, "numbers"),
        ({"pinned": scored(0.02, 0.2, False)}, "reference"),
        ({"kept_after": np.full(40, 2.0)}, "as a whole"),
        ({"new": against(5), "fresh": 100, "held": SURE}, "contradict"),
        (
            {
                "new": dataclasses.replace(against(5), before=np.array([0.04, 0.96] * 2 + [0.04])),
                "fresh": 100,
                "held": SURE,
            },
            "contradict",
        ),
        ({"difference": 0.06}, "differs"),
        ({"shipped": np.full(50, 0.005), "pinned": scored(0.05, 0.065, False)}, "Night by night"),
        ({"held": scored(0.95, float("nan"), True)}, "numbers"),
    ],
)
def test_a_bad_night_is_refused_for_its_reason(change: dict[str, Any], word: str) -> None:
    report = judge(dataclasses.replace(GOOD, **change))
    assert not report.promoted
    assert any(word in reason for reason in report.reasons)


def test_a_few_surprising_labels_are_no_reason() -> None:
    assert judge(dataclasses.replace(GOOD, held=SURE, new=against(2, 20), fresh=20)).promoted
    assert judge(dataclasses.replace(GOOD, held=SURE, new=against(5, 400), fresh=400)).promoted


def test_labels_that_contradict_are_believed_in_the_end() -> None:
    """Of a model that was wrong where it was sure, or after some nights."""
    night = dataclasses.replace(GOOD, new=against(50, 100), fresh=100, held=SURE)
    assert not judge(night).promoted
    assert judge(night, stood=True).promoted
    wrong = dataclasses.replace(SURE, spam=~SURE.spam)
    assert judge(dataclasses.replace(night, held=wrong)).promoted


def test_each_side_must_have_earned_its_trust() -> None:
    """Much spam and hardly any good mail: its "junk" is no proof, its "good" is, for no spam was ever taken for good."""
    spam = np.array([False] * 4 + [True] * 40)
    held = Scored(np.where(spam, 0.999, 0.001), np.where(spam, 0.999, 0.001), spam)
    good = np.full(30, False)
    rescued = Scored(np.full(30, 0.999), np.full(30, 0.5), good)
    assert judge(dataclasses.replace(GOOD, held=held, new=rescued, fresh=30)).promoted
    damaged = Scored(np.full(30, 0.001), np.full(30, 0.5), ~good)
    assert not judge(dataclasses.replace(GOOD, held=held, new=damaged, fresh=30)).promoted
    one_wrong = dataclasses.replace(held, spam=np.array([False] * 4 + [False] + [True] * 39))
    assert judge(dataclasses.replace(GOOD, held=one_wrong, new=rescued, fresh=30)).promoted


def test_the_examination_comes_back_from_disk(tmp_path: Path) -> None:
    night = dataclasses.replace(GOOD, learned={"fresh": 3})
    gate.save(tmp_path, night)
    assert judge(gate.load(tmp_path)) == judge(night)
    (tmp_path / gate.EXAMINATION).write_bytes(b"PK broken")
    with pytest.raises(ModelError):
        gate.load(tmp_path)


def test_a_day_without_junk_is_nothing_special() -> None:
    spam = np.zeros(30, bool)
    unsure = np.full(30, 0.9)  # doubt is no contradiction
    for before in (np.full(30, 0.01), unsure):
        night = dataclasses.replace(GOOD, held=SURE, new=Scored(before, np.zeros(30), spam))
        assert judge(night).promoted
    one = np.full(30, 0.01)
    one[7] = 0.999
    mistaken = dataclasses.replace(GOOD, held=SURE, new=Scored(one, np.zeros(30), spam))
    assert "All 30 new labels say good" in judge(mistaken).reasons[0]
    young = Scored(SURE.before[:2], SURE.after[:2], SURE.spam[:2])
    assert not judge(dataclasses.replace(mistaken, held=young)).promoted, "the other 29 speak for the model"
    assert judge(mistaken, stood=True).promoted, "who lets it stand means it"
    both = spam.copy()
    both[7] = True
    assert judge(dataclasses.replace(GOOD, held=SURE, new=Scored(one, np.zeros(30), both))).promoted
    junk = Scored(1 - one, np.ones(30), ~spam)
    assert "say junk" in judge(dataclasses.replace(GOOD, held=SURE, new=junk, fresh=30)).reasons[0]
    assert judge(dataclasses.replace(GOOD, held=SURE, new=junk, fresh=31)).promoted, (
        "mail was left lying, too"
    )
    few = Scored(one[:19], np.zeros(19), spam[:19])
    assert judge(dataclasses.replace(GOOD, held=SURE, new=few)).promoted


def test_the_shipped_model_notices_a_whole_heap_of_junk_called_good() -> None:
    """It is sure of nothing about this person; of a third of a day's good mail it is, whatever else was left lying."""
    for heap, promoted in ((9, True), (11, False)):
        before = np.full(30, 0.01)
        before[:heap] = 0.999
        new = Scored(before, np.zeros(30), np.zeros(30, bool))
        assert judge(dataclasses.replace(GOOD, personal=False, new=new, fresh=100)).promoted is promoted


def test_small_steps_do_not_lead_far_away() -> None:
    """Each of them passes beside the one before; the shipped model is the fixed point. The way back is always open."""
    shipped, before, nights = np.full(50, 0.02), 0.02, 0
    while nights < 100:
        after = 1 - np.exp(-(1.2 * -np.log(1 - before) + 0.015))
        night = dataclasses.replace(GOOD, pinned=scored(before, float(after), False), shipped=shipped)
        if not judge(night).promoted:
            break
        before, nights = float(after), nights + 1
    assert 1 < nights < 10, "without it: for ever"
    back = dataclasses.replace(GOOD, pinned=scored(0.5, 0.4, False), shipped=shipped)
    assert judge(back).promoted


def test_what_the_trainer_leaves_comes_back_whole(tmp_path: Path) -> None:
    night = dataclasses.replace(GOOD, new=scored(0.9, 0.8, True, 7), shipped=np.full(50, 0.01))
    gate.save(tmp_path, night)
    again = gate.load(tmp_path)
    np.testing.assert_array_equal(again.new.before, night.new.before)
    np.testing.assert_array_equal(again.shipped, night.shipped)
    assert judge(again) == judge(night)
