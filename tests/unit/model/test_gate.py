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


def test_a_good_night_is_promoted_with_its_figures() -> None:
    report = judge(GOOD)
    assert report.promoted
    assert report.figures["held"] == 50
    assert report.figures["held_loss_after"] < report.figures["held_loss_before"]


def test_an_empty_night_is_promoted() -> None:
    nothing = scored(0, 0, False, 0)
    assert judge(Night(nothing, nothing, nothing)).promoted


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"held": scored(0.95, 0.80, True)}, "older labels"),
        ({"rescued": scored(0.1, 0.995, False, 1)}, "took out of Junk"),
        ({"pinned": scored(0.02, 0.2, False)}, "reference"),
        ({"kept_after": np.full(40, 2.0)}, "as a whole"),
        ({"contradicted": 5, "fresh": 100, "held": SURE}, "contradict"),
        ({"difference": 0.06}, "differs"),
        ({"held": scored(0.95, float("nan"), True)}, "numbers"),
    ],
)
def test_a_bad_night_is_refused_for_its_reason(change: dict[str, Any], word: str) -> None:
    report = judge(dataclasses.replace(GOOD, **change))
    assert not report.promoted
    assert any(word in reason for reason in report.reasons)


def test_a_few_surprising_labels_are_no_reason() -> None:
    assert judge(dataclasses.replace(GOOD, contradicted=2, fresh=20)).promoted
    assert judge(dataclasses.replace(GOOD, contradicted=5, fresh=400)).promoted


def test_labels_that_contradict_are_believed_in_the_end() -> None:
    """By a model that was wrong where it was sure, that knows hardly any good mail, or after some nights."""
    night = dataclasses.replace(GOOD, contradicted=50, fresh=100, held=SURE)
    assert not judge(night).promoted
    assert judge(night, stood=True).promoted
    wrong = dataclasses.replace(SURE, spam=SURE.spam.copy())
    wrong.spam[5:8] = False
    assert judge(dataclasses.replace(night, held=wrong)).promoted
    few = gate.Scored(SURE.before[:24], SURE.after[:24], SURE.spam[:24])
    assert judge(dataclasses.replace(night, held=few)).promoted


def test_the_examination_comes_back_from_disk(tmp_path: Path) -> None:
    night = dataclasses.replace(GOOD, learned={"fresh": 3})
    gate.save(tmp_path, night)
    assert judge(gate.load(tmp_path)) == judge(night)
    (tmp_path / gate.EXAMINATION).write_bytes(b"PK broken")
    with pytest.raises(ModelError):
        gate.load(tmp_path)
