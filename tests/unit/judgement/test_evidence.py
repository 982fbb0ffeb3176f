"""evidence.assess: how many, how sure, and said in words."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spamd.domain import Label, Mode
from spamd.judgement import evidence as ev

NOW = 1_000_000_000.0


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def mail(rng, ham, spam, *, weight=1.0, mean=-5.0, spread=1.2):
    points = [(logistic(rng.gauss(mean, spread)), Label.HAM, NOW - 5, weight) for _ in range(ham)]
    return points + [(logistic(rng.gauss(5, 2)), Label.SPAM, NOW - 5, 1.0) for _ in range(spam)]


def test_clopper_pearson_against_known_values():
    assert ev.upper_bound(0, 2995) == pytest.approx(0.001, rel=1e-3)
    assert ev.upper_bound(0, 300) == pytest.approx(0.00994, rel=1e-2)
    assert ev.upper_bound(2, 50) == pytest.approx(0.1206, rel=1e-2)  # tables: 12.06 %
    assert ev.upper_bound(5, 5) == 1.0
    assert ev.upper_bound(0, 0) == 1.0


def test_it_says_what_is_missing():
    rng = random.Random(1)
    nothing = ev.assess([], 0.001, NOW)
    assert nothing.mode is Mode.LEARNING
    assert nothing.junk_threshold is None
    assert nothing.explanation == "300 more good mails until I may move anything."
    some = ev.assess(mail(rng, 206, 30), 0.001, NOW)
    assert some.mode is Mode.SUGGESTING
    assert some.explanation == "94 more good mails until I may move anything."
    assert ev.assess(mail(rng, 299, 30), 0.001, NOW).explanation.startswith("1 more good mail until")
    lacking = ev.assess(mail(rng, 400, 3), 0.001, NOW)
    assert (lacking.mode, lacking.explanation) == (
        Mode.SUGGESTING,
        "2 more confirmed junk mails until I may move anything.",
    )


def test_kept_mail_counts_half():
    rng = random.Random(2)
    assert ev.assess(mail(rng, 300, 9, weight=0.3), 0.001, NOW).ham_count == 150
    assert ev.assess(mail(rng, 600, 9, weight=0.3), 0.001, NOW).mode is Mode.FILTERING


def test_old_mail_does_not_count():
    points = [(p, label, NOW - ev.WINDOW - 1, w) for p, label, _, w in mail(random.Random(3), 400, 40)]
    assert ev.assess(points, 0.001, NOW).ham_count == 0


def test_enough_mail_filters_and_keeps_the_promise():
    rng = random.Random(4)
    found = ev.assess(mail(rng, 3200, 300), 0.001, NOW)
    assert found.mode is Mode.FILTERING
    assert found.expected_ham_error is not None
    assert found.expected_ham_error <= 0.001
    assert found.expected_spam_caught is not None
    assert found.expected_spam_caught > 0.8
    assert found.unsure_threshold < found.junk_threshold
    near = mail(rng, 3200, 300, mean=-3.0)
    assert ev.assess(near, 0.01, NOW).junk_threshold < ev.assess(near, 0.001, NOW).junk_threshold
    far = mail(rng, 3200, 300, mean=-9.0)
    assert ev.assess(far, 0.01, NOW).junk_threshold == 0.5, "what is more likely good is never moved"


def test_only_the_newer_mail_speaks_when_it_is_enough():
    rng = random.Random(5)
    cold = [(logistic(rng.gauss(2, 3)), Label.HAM, NOW - 900, 1.0) for _ in range(150)]
    warm = mail(rng, 500, 40)
    assert ev.assess(cold + warm, 0.001, NOW).mode is Mode.FILTERING
    alone = ev.assess(warm, 0.001, NOW)
    both = ev.assess(cold + warm, 0.001, NOW)
    assert both.junk_threshold == pytest.approx(alone.junk_threshold, abs=0.2)


@pytest.mark.parametrize("ham", [300, 600, 1500, 3000])
def test_the_promise_holds_on_mail_never_seen(ham):
    """200 mailboxes: the true error above the threshold breaks the promise in few of them, and never
    by much.
    """
    rng = random.Random(ham)
    broken, worst = 0, 0.0
    for _ in range(200):
        found = ev.assess(mail(rng, ham, 40), 0.001, NOW)
        assert found.mode is Mode.FILTERING
        limit = math.log(found.junk_threshold / (1 - found.junk_threshold))
        error = 0.5 * math.erfc((limit + 5.0) / 1.2 / math.sqrt(2))
        broken += error > 0.001
        worst = max(worst, error)
    assert broken <= 18
    assert worst < 0.004


def test_a_heavy_tail_is_not_extrapolated():
    rng = random.Random(6)
    points = [*mail(rng, 400, 40), (logistic(9.0), Label.HAM, NOW - 5, 1.0)]
    found = ev.assess(points, 0.001, NOW)
    assert found.mode is Mode.SUGGESTING
    assert "looks too much like junk" in found.explanation


def test_a_few_wrong_among_many_are_allowed_by_a_loose_promise():
    rng = random.Random(7)
    points = mail(rng, 2000, 40) + [(logistic(9.0), Label.HAM, NOW - 5, 1.0)] * 3
    assert ev.assess(points, 0.01, NOW).mode is Mode.FILTERING


def test_rescues_fall_back():
    points = mail(random.Random(8), 3200, 300)
    assert ev.assess(points, 0.001, NOW, rescues=[NOW - 1] * 2).mode is Mode.FILTERING
    back = ev.assess(points, 0.001, NOW, rescues=[NOW - 1] * 3)
    assert back.mode is Mode.SUGGESTING
    assert "took back" in back.explanation
    assert ev.assess(points, 0.001, NOW, rescues=[NOW - 8 * 86400] * 3).mode is Mode.FILTERING


def test_the_persons_word_gets_a_careful_threshold():
    early = ev.assess([], 0.001, NOW, said=Mode.FILTERING, shipped_threshold=0.98)
    assert early.junk_threshold == pytest.approx(0.98)
    assert early.mode is Mode.LEARNING, "evidence alone still allows nothing"
    assert "Because you asked" in early.explanation
    points = [(logistic(2.0 + (i % 5)), Label.HAM, NOW - 1, 1.0) for i in range(40)]
    careful = ev.assess(points, 0.001, NOW, said=Mode.FILTERING, shipped_threshold=0.98)
    assert careful.junk_threshold > 0.999


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 1),
            st.sampled_from(list(Label)),
            st.floats(NOW - 1e6, NOW),
            st.sampled_from([0.3, 1.0]),
        ),
        max_size=120,
    ),
    st.sampled_from([0.0001, 0.001, 0.01, 0.05]),
)
def test_any_points_give_a_sane_answer(points, promise):
    found = ev.assess(points, promise, NOW, said=Mode.FILTERING)
    assert 0 <= found.unsure_threshold <= 1
    assert found.junk_threshold is not None
    assert found.unsure_threshold <= found.junk_threshold <= 1
    assert found.explanation
    if found.mode is Mode.FILTERING:
        assert found.ham_missing == 0
