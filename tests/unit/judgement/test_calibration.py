"""How sure the filter sounds, against what became of the mail."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamd.domain import Account, AccountName, Evidence, Mode, ModelId, Score
from spamd.judgement import silence
from spamd.judgement.calibration import AS_IT_IS, Became, calibration, told
from spamd.judgement.policy import History, decide

DILIGENT = silence.Habit(0.95)
PROVEN = Evidence(Mode.FILTERING, 0.97, 0.5, 400, 90, 0, 0.001, 0.9, "")


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def mailbox(seed: int, sureness: float, *, names: float = 1.0, count: int = 2500) -> list[Became]:
    """Log odds are told `sureness` times too far from 0, and what is above 4 is moved."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        true = rng.gauss(-1, 3)
        junk, said = rng.random() < logistic(true), logistic(sureness * true)
        moved = sureness * true > 4
        wrong = junk is not moved
        found.append(Became(said, moved, junk if wrong and (not junk or rng.random() < names) else None))
    return found


@pytest.mark.parametrize("sureness", [2.5, 1.0, 0.6])
def test_what_is_told_is_true(sureness):
    line = calibration(mailbox(1, sureness), DILIGENT)
    assert line[0] == pytest.approx(1 / sureness, rel=0.15)
    for true in (-3.0, -1.0, 0.0, 1.0, 3.0):
        assert told(logistic(sureness * true), line) == pytest.approx(logistic(true), abs=0.05)


def test_junk_that_is_left_lying_is_known_by_the_habit():
    """Who names half: what lies about there besides is half junk."""
    mails = mailbox(2, 2.5, names=0.5)
    left = sorted(one.probability for one in mails if one.junk is None and not one.moved)
    edge = left[len(left) * 4 // 5]
    half = silence.Habit(0.5, (edge,), (0.0, 0.35))
    heard, unheard = (calibration(mails, habit) for habit in (half, DILIGENT))
    assert abs(told(logistic(2.5), heard) - logistic(1)) < abs(told(logistic(2.5), unheard) - logistic(1))


def test_little_is_told_otherwise_while_little_is_known():
    assert calibration(mailbox(1, 2.5), silence.Habit()) == AS_IT_IS
    assert calibration([], DILIGENT) == AS_IT_IS
    a, b = calibration(mailbox(3, 2.5, count=10), DILIGENT)
    assert abs(a - 1) < 0.6 and abs(b) < 1
    assert told(0.25, AS_IT_IS) == 0.25


became = st.builds(Became, st.floats(0, 1), st.booleans(), st.one_of(st.none(), st.booleans()))


@given(st.lists(became, max_size=60), st.lists(st.floats(0, 1), min_size=2, max_size=10))
def test_what_is_likelier_is_told_as_likelier(mails, probabilities):
    line = calibration(mails, silence.Habit(0.9, (0.3,), (0.0, 0.5)))
    ordered = [told(one, line) for one in sorted(probabilities)]
    assert all(0 <= one <= 1 for one in ordered)
    assert ordered == sorted(ordered)


@given(st.floats(0, 1), st.floats(0.1, 10), st.floats(-10, 10))
def test_no_verdict_depends_on_how_it_is_told(probability, a, b):
    score = Score(probability, 0.0, 0.0, ModelId("base"))
    account = Account(AccountName("home"))
    plain, other = (
        decide(score, evidence=one, account=account, history=History(), now=0.0)
        for one in (PROVEN, Evidence(**{**_fields(PROVEN), "told": (a, b)}))
    )
    assert (plain.verdict, plain.move, plain.reason) == (other.verdict, other.move, other.reason)


def _fields(one: Evidence) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__slots__}
