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


def timed(probabilities: list[float], begin: float = 0.0) -> list[silence.Seen]:
    """Came over a week, whatever they look like."""
    step = 7 / max(1, len(probabilities))
    return [silence.Seen(begin + number * step, one) for number, one in enumerate(probabilities)]


def mail_of(
    seed: int, names: float, begin: float = 0.0, **more: int
) -> tuple[list[silence.Seen], list[silence.Seen]]:
    named, left = inbox(seed, names, **more)
    random.Random(seed).shuffle(left)
    return timed(named, begin), timed(left, begin)


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
    for unknown in (silence.habit([], []), silence.habit(timed(named[:5]), timed(left))):
        assert unknown.weight(0.01, doubtful=False) == silence.LEFT < SURE_WEIGHT
        assert unknown.weight(0.9, doubtful=True) == silence.LEFT_DOUBTFUL


def test_what_stays_with_who_names_all_is_as_good_as_said():
    habit = silence.habit(*mail_of(1, 1.0))
    assert 0.99 < habit.weight(0.001, doubtful=False) <= 1
    assert habit.weight(0.5, doubtful=True) > 0.7


def test_who_names_half_teaches_by_the_mail_that_hides_no_junk():
    """Far down nothing was named, so nothing is hidden there; further up as much is left as is named."""
    habit = silence.habit(*mail_of(1, 0.5, junk=300, good=6000))
    low, middle = habit.weight(1e-4, doubtful=False), habit.weight(0.15, doubtful=False)
    assert 1 >= low > 0.6 > 0.4 > middle
    for names in (0.2, 0.5):
        lazy = silence.habit(*mail_of(1, names, junk=300))
        assert lazy.weight(0.6, doubtful=True) == silence.LEFT_DOUBTFUL
        hiding_none = silence.Habit(names)
        assert hiding_none.weight(0.6, doubtful=True) == silence.LEFT_DOUBTFUL


def test_junk_that_is_left_lying_among_sure_good_mail_is_hardly_learned():
    """A model that takes much junk for good mail, and a person who names a fifth of it."""
    rng = random.Random(3)
    missed = [logistic(rng.gauss(-3, 2.5)) for _ in range(400)]
    named = [one for one in missed if rng.random() < 0.2]
    unnamed = [one for one in missed if one not in set(named)]
    good = [logistic(rng.gauss(-4, 1.6)) for _ in range(900)]
    habit = silence.habit(timed(named), timed(good + unnamed))
    assert sum(habit.weight(one, doubtful=one > 0.4) for one in unnamed) < 0.2 * len(unnamed)


def test_a_person_who_becomes_lazy_is_noticed_within_a_hundred_words():
    before = mail_of(1, 1.0, junk=400)
    after = mail_of(2, 0.2, 7.0, junk=500)
    named, left = before[0] + after[0], before[1] + after[1]
    assert silence.share_named([one.probability for one in named], [one.probability for one in left]) > 0.5
    assert silence.habit(*before).share > 0.95
    assert silence.habit(named, left).share < 0.35


def test_who_names_no_more_is_not_known_any_more():
    """Taught that all they leave is good, the model thinks so of their junk, too: no score tells that they have stopped."""

    def mail(count: int, begin: float, days: float, probability: float) -> list[silence.Seen]:
        step = days * 86400 / count
        return [silence.Seen(86400 * begin + step * number, probability) for number in range(count)]

    named, left = mail(150, 0, 14, 0.9), mail(900, 0, 14, 0.01)
    assert silence.habit(named, left).weight(0.01, doubtful=False) > 0.9
    for days in (1.5, 3, 7):
        later = left + mail(round(60 * days), 14, days, 0.02)
        assert silence.habit(named, later) == silence.Habit()
    seldom = mail(21, 0, 21, 0.9)
    assert silence.habit(seldom, mail(900, 0, 24, 0.01)).share > 0.9, (
        "three days without any are nothing to them"
    )


@pytest.mark.parametrize("names", [0.05, 0.1])
def test_good_mail_of_who_names_hardly_any_junk_is_still_heard(names):
    """Unheard, the nights of such a person know junk alone, and all good mail rises towards it."""
    named, left = mail_of(1, names, junk=round(40 / names), good=900)
    habit = silence.habit(named, left)
    low = [one.probability for one in left if one.probability < 0.05]
    heard = sum(habit.weight(one, doubtful=False) > silence.LEFT_DOUBTFUL for one in low)
    assert heard > 0.5 * len(low)


@given(st.lists(chances, min_size=20), st.lists(chances), chances, st.booleans())
def test_a_weight_is_a_weight(named, left, probability, doubtful):
    assert 0 <= silence.habit(timed(named), timed(left)).weight(probability, doubtful=doubtful) <= 1


@given(st.lists(chances, min_size=20), st.lists(chances), st.lists(chances))
def test_more_silence_is_less_naming(named, left, more):
    before, after = silence.share_named(named, left), silence.share_named(named, left + more)
    assert 0 <= after <= before < 1
