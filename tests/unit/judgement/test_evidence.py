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


def logit(p: float) -> float:
    return math.log(p / (1 - p))


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
    assert nothing.explanation == "300 more good mails until I may move anything to Junk."
    some = ev.assess(mail(rng, 206, 30), 0.001, NOW)
    assert some.mode is Mode.SUGGESTING
    assert some.explanation == "94 more good mails until I may move anything to Junk."
    assert ev.assess(mail(rng, 299, 30), 0.001, NOW).explanation.startswith("1 more good mail until")
    lacking = ev.assess(mail(rng, 400, 3), 0.001, NOW)
    assert (lacking.mode, lacking.explanation) == (
        Mode.SUGGESTING,
        "2 more confirmed junk mails until I may move anything to Junk. A drag to Junk confirms one.",
    )


@pytest.mark.parametrize(
    ("good_a_day", "days", "words"),
    [
        (3, 20, "about 6 months"),  # ten mails a day, two thirds junk
        (6, 20, "about 3 months"),
        (33, 5, "about 2 weeks"),
        (300, 1, ""),  # not known yet
        (40, 6, ""),  # soon enough
    ],
)
def test_who_gets_little_mail_is_told_how_long_it_takes_and_what_ends_it(good_a_day, days, words):
    rng = random.Random(3)
    left = [
        (logistic(rng.gauss(-5, 1.2)), Label.HAM, NOW - (day + 0.5) * ev.DAY, 0.3)
        for day in range(days)
        for _ in range(good_a_day)
    ]
    told = ev.assess(left, 0.001, NOW)
    assert words in told.explanation
    assert (
        ("At your pace" in told.explanation) == ("if you choose filtering" in told.explanation) == bool(words)
    )
    asked = ev.assess(left, 0.001, NOW, said=Mode.FILTERING).explanation
    assert words in asked and "if you choose" not in asked


def test_folders_that_were_read_are_no_pace():
    rng = random.Random(4)
    slow = [(0.01, Label.HAM, NOW - (day + 0.5) * ev.DAY, 0.3) for day in range(20)]
    read = [(logistic(rng.gauss(-5, 1.2)), Label.HAM, NOW - 20.5 * ev.DAY, 1.0) for _ in range(200)]
    assert "about 6 months" in ev.assess(slow + read, 0.001, NOW).explanation


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


def test_the_first_weeks_are_forgotten():
    rng = random.Random(5)
    cold = [(logistic(rng.gauss(2, 3)), Label.HAM, NOW - 5, 1.0) for _ in range(400)]
    warm = mail(rng, 6000, 40, mean=-3.0)
    alone, both = ev.assess(warm, 0.001, NOW), ev.assess(cold + warm, 0.001, NOW)
    assert both.junk_threshold == alone.junk_threshold


def drawn(rng, n: int, mean: float, deviation: float) -> list[ev.Point]:
    """Good mail from a normal distribution of log odds, in order of time."""
    return [(logistic(rng.gauss(mean, deviation)), Label.HAM, NOW - 5, 1.0) for _ in range(n)]


def test_what_an_earlier_model_thought_does_not_hold_the_threshold_up():
    """The good mail of a month in which the model learned this person: each week's lay lower and closer together."""
    rng = random.Random(6)
    junk = [(logistic(rng.gauss(7, 2)), Label.SPAM, NOW - 5, 1.0) for _ in range(60)]
    learning = [
        point
        for mean, deviation in ((0, 3), (-2, 2), (-3, 1.5))
        for point in drawn(rng, 1000, mean, deviation)
    ]
    today = drawn(rng, 1000, -4, 1.2)
    threshold = logit(ev.assess(learning + today + junk, 0.001, NOW).junk_threshold)
    assert -4 + 3.09 * 1.2 < 0 <= threshold < 2.5, "3.09 deviations leave one in 1,000 of today's above"
    strewn = rng.sample(learning + today, 4000)  # nothing tells that the model has come further
    assert logit(ev.assess(strewn + junk, 0.001, NOW).junk_threshold) > 4


@pytest.mark.parametrize("where", ["first", "last", "strewn"])
def test_odd_mail_stays_odd_wherever_it_came(where):
    """Aligned is what ordinary mail tells of the model. Eight in 4,000 are more than was promised, even all in one day."""
    rng = random.Random(7)
    junk = [(logistic(rng.gauss(9, 2)), Label.SPAM, NOW - 5, 1.0) for _ in range(60)]
    plain, odd = drawn(rng, 4000, -4, 1.2), drawn(rng, 8, 6, 0.5)
    if where == "strewn":
        points = [*plain]
        for one in odd:
            points.insert(rng.randrange(len(points)), one)
    else:
        points = odd + plain if where == "first" else plain + odd
    found = ev.assess(points + junk, 0.001, NOW)
    assert found.junk_threshold is not None and logit(found.junk_threshold) > 5


def test_a_mass_of_new_mail_is_no_better_model():
    """Robots begin to write, and lie low. The odd mail of before is as odd as it was: one in 300 people still writes such."""
    rng = random.Random(9)
    junk = [(logistic(rng.gauss(9, 2)), Label.SPAM, NOW - 5, 1.0) for _ in range(60)]
    people, odd = drawn(rng, 4500, -4, 1.8), drawn(rng, 15, 5, 0.5)
    before = rng.sample(people + odd, len(people) + len(odd))
    robots = rng.sample(drawn(rng, 900, -11, 1) + drawn(rng, 100, -4, 1.8), 1000)
    threshold = logit(ev.assess(before + robots + junk, 0.001, NOW).junk_threshold)
    assert threshold > 3, "aligned by ordinary mail alone it was .3"


def test_good_mail_that_comes_to_lie_higher_raises_the_threshold():
    rng = random.Random(8)
    junk = [(logistic(rng.gauss(9, 2)), Label.SPAM, NOW - 5, 1.0) for _ in range(60)]
    before, today = drawn(rng, 3000, -4, 1.2), drawn(rng, 1000, -1, 1.2)
    low = ev.assess(before + junk, 0.001, NOW).junk_threshold
    assert logit(ev.assess(before + today + junk, 0.001, NOW).junk_threshold) > logit(low) + 1.5


def test_silent_junk_is_no_good_mail_that_may_be_counted():
    rng = random.Random(21)
    junk = [logistic(rng.gauss(8, 2)) for _ in range(600)]
    points = [(p, Label.SPAM, NOW - 5, 1.0) for p in junk[:300]] + [
        (p, Label.HAM, NOW - 5, 0.1) for p in junk[300:]
    ]
    points += [(logistic(rng.gauss(-5, 1)), Label.HAM, NOW - 5, 0.3) for _ in range(400)]
    found = ev.assess(points, 0.001, NOW)
    assert 190 <= found.ham_count <= 215, "half of the 400 that are good"
    assert found.mode is Mode.SUGGESTING


def normal(t: float, mean: float, deviation: float) -> float:
    """The share above t."""
    return 0.5 * math.erfc((t - mean) / deviation / math.sqrt(2))


def student(t: float) -> float:
    """The same of Student's t with 3 degrees of freedom."""
    x = t / math.sqrt(3)
    return 0.5 - (math.atan(x) + x / (1 + x * x)) / math.pi


STEADY = {
    "normal": (lambda rng, _: rng.gauss(-4, 1.5), lambda t, _: normal(t, -4, 1.5)),
    "exponential": (lambda rng, _: rng.expovariate(0.5) - 5, lambda t, _: math.exp(-(t + 5) / 2)),
    "wide exponential": (lambda rng, _: rng.expovariate(0.4) - 4, lambda t, _: math.exp(-(t + 4) * 0.4)),
    "logistic": (lambda rng, _: -4 - math.log(1 / rng.random() - 1), lambda t, _: logistic(-t - 4)),
    "student": (
        lambda rng, _: rng.gauss(0, 1) / math.sqrt(rng.gammavariate(1.5, 2) / 3) - 5,
        lambda t, _: student(t + 5),
    ),
    "power law": (
        lambda rng, _: 2 * (1 - rng.random()) ** -0.4 - 7,
        lambda t, _: ((t + 7) / 2) ** -2.5,
    ),
    "two kinds": (
        lambda rng, _: rng.gauss(3, 2) if rng.random() < 0.02 else rng.gauss(-5, 1.2),
        lambda t, _: 0.02 * normal(t, 3, 2) + 0.98 * normal(t, -5, 1.2),
    ),
    "one in 150 is odd": (
        lambda rng, _: rng.uniform(6, 12) if rng.random() < 1 / 150 else rng.gauss(-5, 1),
        lambda t, _: min(1, max(0, (12 - t) / 6)) / 150 + normal(t, -5, 1),
    ),
    "one in 500 is odd": (
        lambda rng, _: rng.uniform(4, 12) if rng.random() < 1 / 500 else rng.gauss(-5, 1),
        lambda t, _: min(1, max(0, (12 - t) / 8)) / 500 + normal(t, -5, 1),
    ),
}
"""The log odds of one good mail of a day, and the share of good mail above a threshold (0 and more) on that day."""
CHANGING = {
    "a drift": (
        lambda rng, day: rng.gauss(-5 + day / 12, 1.3),
        lambda t, day: normal(t, -5 + day / 12, 1.3),
    ),
    "a new kind": (
        lambda rng, day: rng.gauss(3, 1.5) if day >= 12 and rng.random() < 0.01 else rng.gauss(-5, 1.2),
        lambda t, day: (0.01 * normal(t, 3, 1.5) if day >= 12 else 0) + 0.99 * normal(t, -5, 1.2),
    ),
}
PROMISE = 0.001


def month(kind, per_day: int, seed: int) -> tuple[float, float]:
    """A mailbox for 30 days, its threshold drawn anew every night; the person leaves good mail lying, drags missed
    junk away and takes back what was moved wrongly. (Mean share of good mail above the threshold, share of junk caught at
    the end.)
    """
    draw, above = kind
    rng = random.Random(f"{per_day} {seed}")
    points, rescues, borne = [], [], []
    found, threshold = None, math.inf
    for day in range(30):
        now = NOW + day * 86400.0
        if day:
            found = ev.assess(points, PROMISE, now, rescues=rescues)
            filters = found.mode is Mode.FILTERING
            threshold = logit(found.junk_threshold) if filters else math.inf
        borne.append(above(threshold, day) if threshold < math.inf else 0.0)
        doubt = logit(found.unsure_threshold) if found else 0.0
        for number in range(per_day):
            score, at = draw(rng, day), now + number * 86400.0 / per_day
            if score >= threshold:
                rescues.append(at)
            weight = 1.0 if score >= threshold else 0.3 if score < doubt else 0.1
            points.append((logistic(score), Label.HAM, at, weight))
        for number in range(max(2, per_day // 10)):
            score = rng.gauss(9, 3)
            if score < threshold:
                points.append((logistic(score), Label.SPAM, now + number, 1.0))
    return sum(borne) / len(borne), normal(threshold, 9, 3)


@pytest.mark.parametrize("per_day", [40, 80])
@pytest.mark.parametrize("kind", STEADY)
def test_the_promise_is_kept_whatever_the_tail(kind, per_day):
    """On the average over mailboxes, and within twice the promise in nine of ten of them."""
    months = [month(STEADY[kind], per_day, seed) for seed in range(20)]
    borne = [share for share, _ in months]
    assert sum(borne) / len(borne) <= PROMISE
    assert sum(share > 2 * PROMISE for share in borne) <= 2
    if kind in ("normal", "logistic"):
        assert sum(caught for _, caught in months) / len(months) > 0.9, "and not by catching nothing"


def half_named(seed: int) -> list[float]:
    """Twelve days of somebody who names half of the junk that is missed and takes back half of what is moved wrongly, while the model still
    learns: the share of good mail above each day's threshold."""
    rng = random.Random(seed)
    points, rescues, borne = [], [], []
    threshold = math.inf
    for day in range(12):
        now = NOW + day * 86400.0
        level = -3 - 0.3 * day
        if day:
            found = ev.assess(points, PROMISE, now, rescues=rescues)
            threshold = logit(found.junk_threshold) if found.mode is Mode.FILTERING else math.inf
        borne.append(normal(threshold, level, 2))
        for number in range(800):
            good = number % 2 == 0
            score, at = rng.gauss(level, 2) if good else rng.gauss(4, 3), now + number
            said = rng.random() < 0.5
            if score >= threshold:
                if good and said:
                    rescues.append(at)
                    points.append((logistic(score), Label.HAM, at, 1.0))
            elif not good and said:
                points.append((logistic(score), Label.SPAM, at, 1.0))
            else:
                points.append((logistic(score), Label.HAM, at, 0.3 if score < 0 else 0.1))
    return borne


def test_silence_that_is_left_out_leaves_no_threshold_in_the_middle_of_good_mail():
    """Good and junk mail lie close: of half the junk nothing is said, and the good mail beside it goes unheard, too."""
    days = [half_named(seed) for seed in range(10)]
    assert all(any(borne) for borne in days), "and not by moving nothing"
    assert max(max(borne) for borne in days) <= 10 * PROMISE
    assert sum(map(sum, days)) / 120 <= PROMISE


@pytest.mark.parametrize("kind", CHANGING)
def test_where_mail_changes_what_is_taken_back_limits_the_harm(kind):
    """No past tells of mail that never came before: two or three times the promise in that month, and no more."""
    borne = [month(CHANGING[kind], 80, seed)[0] for seed in range(20)]
    assert sum(borne) / len(borne) <= 3 * PROMISE
    assert max(borne) < 5 * PROMISE


@pytest.mark.parametrize("ham", [400, 900])
def test_a_heavy_tail_waits_for_the_counts(ham):
    """One good mail in 150 looks like junk through and through: no tail model may talk it away."""
    rng = random.Random(ham)
    broken = 0
    for _ in range(40):
        good = [
            (
                logistic(rng.uniform(6, 12) if rng.random() < 1 / 150 else rng.gauss(-5, 1)),
                Label.HAM,
                NOW - 5,
                1.0,
            )
            for _ in range(ham)
        ]
        found = ev.assess(good + [(1 - 1e-7, Label.SPAM, NOW, 1.0)] * 20, 0.001, NOW)
        if found.mode is Mode.FILTERING:
            broken += max(0.0, 12 - logit(found.junk_threshold)) / 6 / 150 > 0.001
    assert broken <= 16


def test_odd_good_mail_is_counted_and_does_not_hold_everything_up():
    """Two odd mails in 2,400: not above all junk, as long as the share that was promised allows for them."""
    rng = random.Random(15)
    points = mail(rng, 2400, 60)
    odd = [(logistic(9.0), Label.HAM, NOW - 5, 1.0)]
    once = ev.assess(odd * 2 + points, 0.001, NOW)
    assert once.mode is Mode.FILTERING
    assert logit(once.junk_threshold) < 5
    often = ev.assess(odd * 4 + points, 0.001, NOW)
    assert often.junk_threshold is None or logit(often.junk_threshold) >= 9, "four of 2,400 break it"


@pytest.mark.parametrize("diligence", [1.0, 0.9, 0.8, 0.5, 0.2])
def test_who_leaves_junk_without_a_word_still_gets_a_filter(diligence):
    """Silent junk looks like good mail far up. The threshold stays where it would be if each silence were known."""
    rng = random.Random(int(diligence * 10))
    points, ham = [], []
    for order in range(3000):
        at = NOW - 30 * 86400 + order
        if rng.random() < 0.5:
            score = rng.gauss(-4, 1.5)
            ham.append(score)
            points.append((logistic(score), Label.HAM, at, 0.3 if score < 0 else 0.1))
        else:
            score = rng.gauss(9, 2.5)
            named = rng.random() < diligence
            points.append((logistic(score), *((Label.SPAM, at, 1.0) if named else (Label.HAM, at, 0.1))))
    found = ev.assess(points, 0.001, NOW)
    assert found.mode is Mode.FILTERING
    threshold = logit(found.junk_threshold)
    assert 0.5 * math.erfc((threshold + 4) / 1.5 / math.sqrt(2)) < 0.002
    assert threshold < 6, "most of the junk is caught"


def test_silence_of_a_diligent_person_is_heard():
    """Good mail that scores like doubt, from somebody who names all junk: it keeps the threshold up."""
    rng = random.Random(17)
    junk = [(logistic(rng.gauss(10, 2)), Label.SPAM, NOW - 5, 1.0) for _ in range(300)]
    plain = [(logistic(rng.gauss(-5, 1)), Label.HAM, NOW - 5, 0.3) for _ in range(2000)]
    doubtful = [(logistic(rng.uniform(2, 6)), Label.HAM, NOW - 5, 0.1) for _ in range(40)]
    mixed = rng.sample(plain + doubtful, len(plain) + len(doubtful))
    found = ev.assess(mixed + junk, 0.001, NOW)
    assert found.mode is Mode.SUGGESTING or logit(found.junk_threshold) > 5.5
    assert "looks too much like junk" in found.explanation
    more = ev.assess(mixed * 2 + junk, 0.001, NOW)
    assert more.mode is Mode.FILTERING
    assert logit(more.junk_threshold) > 5.5


def test_where_all_that_is_new_looks_like_junk_nothing_is_proven():
    """Good mail enough in the ledger, and of the newest nothing that could be taken for good."""
    older = [(logistic(-5.0), Label.HAM, NOW - 100, 1.0)] * 1000
    left = [(logistic(5.0), Label.HAM, NOW - 5, 0.3)] * 6000
    named = [(logistic(5.0), Label.SPAM, NOW - 5, 1.0)] * 10
    answer = ev.assess([*older, *left, *named], 0.001, NOW)
    assert (answer.mode, answer.ham_missing) == (Mode.SUGGESTING, 0)


def test_a_word_from_a_lazy_person_counts_for_more():
    """Moves taken back by somebody who names a quarter of the junk: the others, not taken back, count too."""
    rng = random.Random(18)
    junk = [logistic(rng.gauss(9, 1.5)) for _ in range(400)]
    points = [
        (p, *((Label.SPAM, NOW - 5, 1.0) if i % 4 == 0 else (Label.HAM, NOW - 5, 0.1)))
        for i, p in enumerate(junk)
    ]
    points += [(logistic(rng.gauss(-5, 1)), Label.HAM, NOW - 5, 0.3) for _ in range(3000)]
    rng.shuffle(points)
    before = ev.assess(points, 0.001, NOW)
    after = ev.assess(
        [*points, *[(logistic(5.0 + i), Label.HAM, NOW - 1, 1.0) for i in range(3)]], 0.001, NOW
    )
    assert logit(before.junk_threshold) < 5
    assert after.junk_threshold is None or logit(after.junk_threshold) > 5


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
    points = [(p, label, NOW - 30 * 86400, w) for p, label, _, w in mail(random.Random(8), 3200, 300)]
    assert ev.assess(points, 0.001, NOW, rescues=[NOW - 1] * 2).mode is Mode.FILTERING
    back = ev.assess(points, 0.001, NOW, rescues=[NOW - 1] * 3)
    assert back.mode is Mode.SUGGESTING
    assert "took back" in back.explanation
    assert ev.assess(points, 0.001, NOW, rescues=[NOW - 8 * 86400] * 3).mode is Mode.FILTERING


def test_much_good_mail_explains_some_rescues():
    """3,200 good mails this week at 1 in 1,000: three taken back are what was promised, nine are not."""
    points = mail(random.Random(8), 3200, 300)
    assert ev.assess(points, 0.001, NOW, rescues=[NOW - 1] * 3).mode is Mode.FILTERING
    assert ev.assess(points, 0.001, NOW, rescues=[NOW - 1] * 9).mode is Mode.SUGGESTING


def test_the_persons_word_gets_a_careful_threshold():
    early = ev.assess([], 0.001, NOW, said=Mode.FILTERING, shipped_threshold=0.98)
    assert early.junk_threshold == pytest.approx(0.98)
    assert early.mode is Mode.LEARNING, "evidence alone still allows nothing"
    assert "Because you asked" in early.explanation
    points = [(logistic(2.0 + (i % 5)), Label.HAM, NOW - 1, 1.0) for i in range(40)]
    careful = ev.assess(points, 0.001, NOW, said=Mode.FILTERING, shipped_threshold=0.98)
    assert careful.junk_threshold > 0.999


def test_good_mail_far_below_the_shipped_threshold_lowers_the_early_one():
    """As far as its spread allows, never into the mail that was seen, and never to where good is likelier than junk."""

    def early(logits: list[float]) -> float:
        points = [(logistic(x), Label.HAM, NOW - 1, 1.0) for x in logits]
        found = ev.assess(points, 0.001, NOW, said=Mode.FILTERING, shipped_threshold=logistic(4.0))
        return logit(found.junk_threshold)

    wide = [-5.0 + (i % 5) for i in range(80)]  # mean -3, standard deviation 1.4
    assert 1.9 < early(wide) < 2.9
    assert early(wide[:20]) == pytest.approx(4.0), "too few to say"
    assert early(wide[:40]) > early(wide)
    assert early([*wide, 3.2]) >= 3.2
    assert early([*wide, 7.0]) > 4.0 or early([*wide, 7.0]) == pytest.approx(4.0)
    assert early([-9.0 - (i % 2) for i in range(80)]) == 0.0


def test_the_words_are_true_in_every_state():
    """Whoever asked for filtering is not told that nothing may be moved; whoever asked for less not that junk is caught."""
    points = [(p, label, NOW - 30 * 86400, w) for p, label, _, w in mail(random.Random(8), 3200, 300)]
    filters = "3,200 good mails show that at most 1 in 1,000 of them would be moved. About "
    for said, caught in ((None, "is"), (Mode.FILTERING, "is"), (Mode.SUGGESTING, "would be")):
        text = ev.assess(points, 0.001, NOW, said=said).explanation
        assert text.startswith(filters) and text.endswith(f"% of the junk {caught} caught.")
    took_back = "You took back 4 moves within a week, more than 1 in 1,000 allows for"
    asked = " Because you asked for it I already move what is far above your good mail."
    burst = [NOW - 1] * 4
    assert (
        ev.assess(points, 0.001, NOW, rescues=burst).explanation == f"{took_back}, so I only suggest for now."
    )
    told = ev.assess(points, 0.001, NOW, rescues=burst, said=Mode.FILTERING).explanation
    assert told == f"{took_back}.{asked}"
    told = ev.assess([], 0.001, NOW, said=Mode.FILTERING).explanation
    assert told == f"300 more good mails until 1 in 1,000 is proven.{asked}"
    told = ev.assess([], 0.05, NOW).explanation
    assert told == "59 more good mails until I may move anything to Junk."


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
