"""What silence weighs: who names all of the junk is told from who names a fifth, by nothing but scores."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamd.judgement import silence
from spamd.judgement.evidence import SURE_WEIGHT

chances = st.floats(0, 1)


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def inbox(seed: int, names: float, *, junk: int = 120, good: int = 900) -> tuple[list[float], list[float]]:
    """What the model said of three weeks' mail that stayed in the inbox: named as junk, and left."""
    rng = random.Random(f"{seed} {names}")
    missed = [logistic(rng.gauss(1, 2.5)) for _ in range(junk)]
    left = [logistic(rng.gauss(-4, 1.6)) for _ in range(good)]
    named = []
    for one in missed:
        (named if rng.random() < names else left).append(one)
    return named, left


@pytest.mark.parametrize(
    ("names", "least", "most"), [(1, 0.95, 1), (0.8, 0.65, 0.95), (0.5, 0.35, 0.7), (0.2, 0.1, 0.4)]
)
def test_how_much_a_person_names_is_seen_without_asking(names, least, most):
    found = [silence.share_named(*inbox(seed, names, junk=400 if names < 0.5 else 120)) for seed in range(40)]
    assert all(least <= share <= most for share in sorted(found)[2:-2]), sorted(found)


def test_good_mail_that_looks_like_junk_is_not_taken_for_laziness():
    """A person who names all, and whose good mail has a tail among what was missed."""
    rng = random.Random(1)
    named, left = inbox(1, 1.0)
    left += [logistic(rng.gauss(0, 0.5)) for _ in range(60)]
    assert silence.share_named(named, left) > 0.9


def test_little_is_known_of_a_person_who_named_little():
    named, left = inbox(1, 1.0)
    assert silence.share_named(named[: silence.FEWEST - 1], left) is None
    assert silence.share_named([], []) is None
    assert silence.weight(0.01, None, doubtful=False) == silence.LEFT < SURE_WEIGHT
    assert silence.weight(0.9, None, doubtful=True) == silence.LEFT_DOUBTFUL


def test_a_good_mail_left_by_who_names_all_is_nearly_a_word():
    assert silence.weight(0.01, 0.98, doubtful=False) > 0.99
    assert silence.weight(0.5, 0.98, doubtful=True) > 0.9
    assert silence.weight(0.99, 0.98, doubtful=True) == silence.LEFT_DOUBTFUL, (
        "but the surest junk is no lesson"
    )


def test_who_names_half_teaches_little_by_silence_and_nothing_about_doubtful_mail():
    assert 0.3 < silence.weight(0.01, 0.5, doubtful=False) < 0.4
    assert silence.weight(0.01, 0.2, doubtful=False) < 0.2
    for share in (0.2, 0.5, 0.8):
        assert silence.weight(0.4, share, doubtful=True) == silence.LEFT_DOUBTFUL


@given(chances, chances, chances, st.booleans())
def test_more_junk_less_weight_and_more_words_more_weight(probability, one, other, doubtful):
    worse, better = sorted((one, other))
    weights = [silence.weight(probability, share, doubtful=doubtful) for share in (worse, better)]
    assert 0 <= weights[0] <= weights[1] + 1e-9 <= 1 + 2e-9
    surer = [silence.weight(p, probability, doubtful=doubtful) for p in (worse, better)]
    assert surer[0] >= surer[1] - 1e-9


@given(st.lists(chances, min_size=20), st.lists(chances), st.lists(chances))
def test_more_silence_is_less_naming(named, left, more):
    before, after = silence.share_named(named, left), silence.share_named(named, left + more)
    assert 0 <= after <= before < 1
