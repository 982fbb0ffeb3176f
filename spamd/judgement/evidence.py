"""How far the model may be trusted on one account, from the account's own mail scored before it was learned.

The question is always: above which score lies at most the promised share of good mail? Three answers, by how
much is known. All of them look at good mail only; the junk that the person named tells how much is caught, and how
much else was left lying without a word.

1. *Counts* (about 2.3 / promise good mails, 2,302 for 1 in 1,000). Of n good mails take the (k+1)-th highest score
   as threshold. The share of all good mail above it follows Beta(k+1, n-k), whatever the distribution; its
   `CHANCE` quantile is the Clopper-Pearson upper bound for k of n. The largest k that keeps the promise gives
   the lowest threshold.
2. *Tail* (from `needed()` good mails, 300 for 1 in 1,000). Nobody wants to wait that long. In log odds the upper
   tail of good mail, its highest 2 % and 20 mails at least, is taken to be exponential, the mean excess at its
   upper bound. Of the mail seen, no more than the promised share may lie above, and up to 999 good mails that is
   none. Where good mail lies far above what such a tail explains, one waits for the counts. Both known: the lower.
3. *The person's word* before that: the model's shipped threshold, at least 3 standard deviations above the mean of own
   good mail in log odds; where own good mail lies so low that it is further, 3.5 of them. Measured on four corpora:
   0-0.4 % of good mail above it.

Counts and tail are asked twice (from `RECENT` good mails): of the scores as they were, and *aligned*, at the `CONFIDENCE` quantile. The
model of the first weeks put good mail higher and wider than that of today, and its odd mails would hold the threshold up until they
are forgotten. So each `BLOCK` of good mail, in order of time, is shifted and scaled as to its median and ninth decile to the newest
ones, as far as they surely differ: an odd mail stays as odd as it was among its neighbours, and ordinary mail tells how far
the model has come. No block comes down further than its highest 3 % did: where a mass of new, low mail begins (a newsletter a minute), ordinary
mail falls, but nothing was learned of the other. The lower answer counts; where good mail comes to lie higher, or nothing changes, it is the plain one.

So one odd good mail does not put the threshold above all junk for ever: it counts as the error it is. Each bound
holds in nine of ten cases and is drawn anew every night. What the person bears is the mean over the nights.

Points are what the model said at that time, before it learned the mail; of mail that was found in folders, and learned
at once, what the model says that has learned the rest of it (`model.apart`). The newest `6 / promise` speak: the
first week's model knew less of this person.

**Silence.** Mail that was only left in the inbox counts half towards `needed()`: it is a person's silence, not a word.
And a person who corrects half of what was missed leaves as much junk without a word as they drag away, at about the same
scores: taken for good mail it would put the threshold above all junk, and the filter would never begin. How much is
left is seen where hardly anything is good, above the median of the junk that the person named. From a person who leaves
much, silence up there says nothing, and below, from step to step of the score, as much of it is left out as the junk named
there stands for. From one who names nearly all, all silence is heard: what little of it lies up there is the tail. What really
is good up there is moved, and taken back, and a word is never discounted; from a person who leaves much without a word
it counts for those they did not name, too.

With the silence that is left out goes the good mail in it, and what remains ends where the junk begins: by counts and tail of that alone,
2 to 3 % of the good mail was moved on the first day. So from such a person the threshold is never lower than a
*usual end*: where a normal distribution through the median and the ninth decile of the good mail leaves the promised share above.

**What the promise says.** Over many mailboxes and a month of mail of its usual kinds, no more of the good mail is moved than was
promised, on the average. A single mailbox may see more: of 360 simulated ones (nine kinds of tails, 40 to 120 mails a day, 1 in
1,000) the mean by kind was .001 to .084 %, one was beyond twice the promise. It is no guarantee for each week. Where
good mail changes, by a drift or a kind that never came before, it was .1 to .2 % in that month: nothing but what is taken
back can tell.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import NormalDist

from spamd.domain import Evidence, Label, Mode

NORMAL = NormalDist()

Point = tuple[float, Label, float, float]
"""(probability before it was learned, label, time of the label, weight)"""

CONFIDENCE = 0.95
CHANCE = 0.9
"""Confidence of one night's threshold. At .8 the promise is broken in a quarter of simulated mailboxes with exponential
tails instead of a seventh, for .64 instead of .73 % of the junk left in the inbox (a mailbox that is easy to part)."""
WINDOW = 365 * 86400.0
"""Points older than this say little about today's mail (seconds)."""
NEWEST = 6.0
"""Good mails that speak, over the promise: enough that counts decide, few enough that the first weeks are forgotten."""
NEWEST_LEAST = 3000
SURE_WEIGHT = 0.5
"""From this weight on a label is a person's word and counts whole; below it counts half."""
LEAST_HAM = 300
"""Good mails before anything is moved on evidence, for promises stricter than 1 in 100."""
SUGGEST_HAM = 50
"""Good mails before doubtful mail is listed."""
LEAST_SPAM = 5
"""Spam the person confirmed, before moving; without any there is nothing to gain."""
EARLY_LEAST = 10
EARLY_LOWER_LEAST = 20
EARLY_LOWER, EARLY_LOWER_FEW = 3.5, 4.5
"""Standard deviations by which the early threshold is at least above the mean of own good mail where that makes it lower
than the shipped one; and what share of it is added, over the number of mails."""
TAIL_SHARE = 0.02
TAIL_LEAST = 20
RECENT, BLOCK = 1000, 500
"""Good mails that tell how the model of today sees them, and those that are aligned with them at a time."""
SURELY = 2.0
"""Standard errors by which a block must differ, and which its shift and its scale fall short of the difference: in a mailbox where nothing
changes, alignment by chance alone lowered the scores of odd mail, and the promise was broken a tenth oftener."""
UPPER = 0.03
LEVEL_ERROR, WIDTH_ERROR, UPPER_ERROR = 1.0, 1.4, math.sqrt((1 - UPPER) / UPPER)
"""Standard errors, times the root of the number of mails: of a normal sample's median, over the distance of its ninth decile; of that
distance's logarithm; and of where an exponential tail's upper end begins, over its mean excess."""
SPREAD_LEAST = 0.1
"""Of a block, in log odds."""
SILENT_SPREAD = 2.0
"""Standard deviations by which more silence is discounted than is expected: what chance left over would be a tail."""
UNNAMED_FROM, UNNAMED_AT = 0.125, 0.2
UNHEARD_FROM, UNHEARD_AT = 0.005, 0.01
"""Silence that surely lies above the median of the named junk, over the named junk there, and over all good mail. Up to the
first of each it is all heard, as from a person who names all; from the second of one it is all weighed. Weighed from the
start, the odd good mail of a diligent person was taken for junk, and the promise broken twice over where good mail has a
heavy tail. Who names four fifths of much junk leaves more than any good mail's tail."""
SILENT_STEP = 1.0
"""Width in log odds of the steps in which silent and named mail are compared."""
UNNAMED_MOST = 5.0
"""A good mail the person took back counts at most for this many."""
LOGIT_LIMIT = 18.0
"""A threshold above 1 - 1.5e-8 means: nothing can be moved."""
DAY = 86400.0
PACE_DAYS, PACE_LEAST = 28, 4
"""Days that tell how fast good mail comes, and the fewest."""
WAIT_TOLD = 10
"""Days of waiting from which on the person is told how long it is, and what ends it."""
RESCUES_BURST = 3
RESCUES_WINDOW = 7 * 86400.0
RESCUES_CHANCE = 0.02
"""So many or more taken back must be this unlikely under the promise: 2,300 good mails a week allow for six."""
UNSURE_AT_FIRST = 0.5  # before there is good mail to know better by
UNSURE_LOWEST, UNSURE_HIGHEST = 0.30, 0.90


@dataclass(frozen=True, slots=True)
class _Good:
    """One good mail of the sample."""

    logit: float
    turn: int  # which it was, in order of time
    mass: float = 1.0  # for how many it counts


@dataclass(frozen=True, slots=True)
class _Sample:
    """The good mail that speaks."""

    good: list[_Good]  # highest score first
    left_out: int = 0  # mails that were left without a word and are probably junk
    weighed: float = 0.0  # 0: all silence is heard, 1: it is weighed


def needed(promise: float) -> int:
    """Good mails that must be known before anything may be moved on evidence."""
    exact = math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-promise)) if 0 < promise < 1 else LEAST_HAM
    return min(LEAST_HAM, exact)


def upper_bound(errors: int, total: int, confidence: float = CONFIDENCE) -> float:
    """Clopper-Pearson: the share that is exceeded with probability 1 - confidence at most, after
    errors of total.
    """
    if total <= 0 or errors >= total:
        return 1.0
    low, high = errors / total, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _binomial_cdf(errors, total, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def assess(
    points: Sequence[Point],
    promise: float,
    now: float,
    *,
    shipped_threshold: float = 0.99,
    said: Mode | None = None,
    rescues: Sequence[float] = (),
) -> Evidence:
    """What may be done on this account, and what is missing, in words.

    promise: the share of good mail that may land in Junk. said: the account's mode if the person chose one:
    it wins for what is done, and a threshold is then given early. rescues: times at which the person took
    back a move.
    """
    recent = sorted((point for point in points if point[2] > now - WINDOW), key=lambda point: point[2])
    told = [point for point in recent if point[1] is Label.HAM]
    spam = [_logit(p) for p, label, _, weight in recent if label is Label.SPAM and weight >= SURE_WEIGHT]
    sample = _sample(recent, told, promise)
    counted = _count(told) - sample.left_out // 2
    missing = max(0, needed(promise) - counted)
    proven = None if missing else _proven(sample, promise)
    burst = _burst(rescues, told, promise, now)
    threshold, bound = proven or (_early([_logit(point[0]) for point in told], shipped_threshold), None)
    if counted < SUGGEST_HAM:
        mode = Mode.LEARNING
    elif proven is None or burst or len(spam) < LEAST_SPAM:
        mode = Mode.SUGGESTING
    else:
        mode = Mode.FILTERING
    usable = mode is not Mode.LEARNING or said is Mode.FILTERING
    caught = sum(1 for logit in spam if logit >= threshold) / len(spam) if spam else None
    return Evidence(
        mode=mode,
        junk_threshold=_probability(min(threshold, LOGIT_LIMIT)) if usable else None,
        unsure_threshold=_unsure(sample.good, threshold),
        ham_count=counted,
        spam_count=len(spam),
        ham_missing=missing,
        expected_ham_error=bound,
        expected_spam_caught=caught,
        explanation=_explain(
            mode,
            said,
            counted,
            len(spam),
            missing,
            burst,
            proven is None,
            round(sum(one.mass for one in sample.good)),
            promise,
            caught,
            _wait(told, missing, now),
        ),
        computed_at=now,
    )


def _count(ham: Sequence[Point]) -> int:
    sure = sum(1 for point in ham if point[3] >= SURE_WEIGHT)
    return sure + (len(ham) - sure) // 2


def _wait(told: Sequence[Point], missing: int, now: float) -> float:
    """Days until so many more good mails are known, as fast as they came of late; 0 where nothing tells.

    The busiest day is left out: that is when folders were read.
    """
    since = max(now - PACE_DAYS * DAY, told[0][2]) if told else now
    days = math.ceil((now - since) / DAY)
    if days < PACE_LEAST:
        return 0.0
    counted: Counter[int] = Counter()  # half mails by day
    for _, _, at, weight in told:
        if at >= since:
            counted[int((now - at) // DAY)] += 2 if weight >= SURE_WEIGHT else 1
    usual = sum(counted.values()) - max(counted.values(), default=0)
    return 2 * missing * (days - 1) / usual if usual else 0.0


# which good mail speaks


def _sample(recent: Sequence[Point], told: Sequence[Point], promise: float) -> _Sample:
    """Of the newest good mail."""
    size = max(NEWEST_LEAST, math.ceil(NEWEST / promise)) if promise > 0 else NEWEST_LEAST
    newest = told[-size:]
    if not newest:
        return _Sample([])
    since = newest[0][2] if len(told) > size else -math.inf
    named = sorted(
        _logit(p)
        for p, label, at, weight in recent
        if label is Label.SPAM and weight >= SURE_WEIGHT and at >= since
    )
    words: list[_Good] = []
    silent: list[_Good] = []
    for turn, (p, _, _, weight) in enumerate(newest):
        (words if weight >= SURE_WEIGHT else silent).append(_Good(_logit(p), turn))
    silent.sort(key=lambda one: one.logit)
    heard, unnamed, weighed = _heard(silent, named, len(newest))
    mass = min(UNNAMED_MOST, 1 + unnamed)
    good = heard + [replace(one, mass=mass) if one.logit > 0 else one for one in words]
    left_out = len(silent) - round(sum(one.mass for one in heard))
    return _Sample(sorted(good, key=lambda one: one.logit, reverse=True), left_out, weighed)


def _heard(silent: Sequence[_Good], named: Sequence[float], good: int) -> tuple[list[_Good], float, float]:
    """The silent mail that may be taken for good, how much junk is left without a word for each that is named, and `_Sample.weighed`.

    Both ascending. good: all good mail of that time, by word or silence.
    """
    if not silent or not named:
        return list(silent), 0.0, 0.0
    middle = len(named) // 2
    kept = bisect_left(silent, named[middle], key=lambda one: one.logit)
    above = len(silent) - kept
    surely = above - SILENT_SPREAD * math.sqrt(above)  # a few are chance
    unnamed = above / (len(named) - middle)
    weighed = max(
        _ramp(surely / (len(named) - middle), UNNAMED_FROM, UNNAMED_AT),
        _ramp(surely / good, UNHEARD_FROM, UNHEARD_AT),
    )
    steps = Counter(math.floor(logit / SILENT_STEP) for logit in named)
    heard = [replace(one, mass=1 - weighed) for one in silent[kept:] if weighed < 1]
    for step, group in groupby(silent[:kept], key=lambda one: math.floor(one.logit / SILENT_STEP)):
        around = max(steps[step - 1], steps[step], steps[step + 1])
        spread = math.sqrt(unnamed * (1 + unnamed) * around * (1 + around / (len(named) - middle)))
        junk = weighed * (unnamed * steps[step] + SILENT_SPREAD * spread)
        some = list(group)
        heard += some[: max(0, len(some) - math.floor(junk))]
    return heard, unnamed, weighed


def _ramp(value: float, begin: float, end: float) -> float:
    """0 up to begin, 1 from end."""
    return min(1.0, max(0.0, (value - begin) / (end - begin)))


# where the threshold may be


def _proven(sample: _Sample, promise: float) -> tuple[float, float] | None:
    """(threshold in log odds, upper bound on the share of good mail above it); None where nothing is proven."""
    found = [
        one
        for good, chance in ((sample.good, CHANCE), (_aligned(sample.good), CONFIDENCE))
        for one in (_by_counts(good, promise, chance), _by_tail(good, promise, chance))
        if one is not None
    ]
    if not found:
        return None
    threshold, bound = min(found)
    threshold += sample.weighed * max(0.0, _usual_end(sample.good, promise) - threshold)
    if threshold >= LOGIT_LIMIT:
        return None
    return max(threshold, 0.0), min(bound, promise)  # what is more likely good than junk is never moved


def _usual_end(good: Sequence[_Good], promise: float) -> float:
    """Above it lies the promised share of a normal distribution with the median and the ninth decile of this mail."""
    level, width = _bulk(good)
    return level + width * NORMAL.inv_cdf(1 - promise) / NORMAL.inv_cdf(0.9)


def _aligned(good: Sequence[_Good]) -> list[_Good]:
    """The sample as the model of today might see it, highest first; empty while it is too little."""
    if len(good) < RECENT:
        return []
    newest = sorted(good, key=lambda one: one.turn, reverse=True)
    level, spread = _bulk(newest[:RECENT])
    end, _ = _upper_end(newest[:RECENT])
    aligned: list[_Good] = []
    for begin in range(0, len(newest) - BLOCK + 1, BLOCK):
        rest = len(newest) - begin
        block = newest[begin : begin + (BLOCK if rest >= 2 * BLOCK else rest)]
        chance = SURELY * math.sqrt(1 / len(block) + 1 / RECENT)
        was, width = _bulk(block)
        now = was + _beyond(level - was, chance * LEVEL_ERROR * width)
        scale = math.exp(_beyond(math.log(spread / width), chance * WIDTH_ERROR))
        its_end, excess = _upper_end(block)
        fallen = min(0.0, end - its_end + chance * UPPER_ERROR * excess)
        aligned += [
            replace(one, logit=max(now + scale * (one.logit - was), one.logit + fallen)) for one in block
        ]
    return sorted(aligned, key=lambda one: one.logit, reverse=True)


def _beyond(value: float, chance: float) -> float:
    """What of a difference chance does not explain."""
    return math.copysign(max(0.0, abs(value) - chance), value)


def _bulk(some: Sequence[_Good]) -> tuple[float, float]:
    """Median, and how far above it the ninth decile lies: ordinary mail, which no odd one moves."""
    ordered = sorted(one.logit for one in some)
    middle, high = ordered[len(ordered) // 2], ordered[len(ordered) * 9 // 10]
    return middle, max(SPREAD_LEAST, high - middle)


def _upper_end(some: Sequence[_Good]) -> tuple[float, float]:
    """Where the highest UPPER begin, and their mean above that."""
    ordered = sorted(one.logit for one in some)
    highest = ordered[math.floor(len(ordered) * (1 - UPPER)) :]
    return highest[0], max(SPREAD_LEAST, math.fsum(highest) / len(highest) - highest[0])


def _by_counts(good: Sequence[_Good], promise: float, chance: float) -> tuple[float, float] | None:
    """The lowest order statistic that keeps the promise whatever the distribution. None while mail is too little."""
    total = int(sum(one.mass for one in good))
    errors = _errors_allowed(total, promise, chance)
    if errors is None:
        return None
    return _above_all_but(good, errors), upper_bound(errors, total, chance)


def _countable(promise: float) -> int:
    """Good mails, none of them above a threshold, that prove the promise by counting alone."""
    return math.ceil(math.log(1 - CHANCE) / math.log1p(-promise)) if 0 < promise < 1 else 0


def _errors_allowed(total: int, promise: float, chance: float) -> int | None:
    """The most errors of so many that bound the share of errors by the promise; None if even no error does not."""
    if not 0 < promise < 1:
        return None
    log_p, log_q, whole = math.log(promise), math.log1p(-promise), math.lgamma(total + 1)
    below = 0.0
    for k in range(total):
        below += math.exp(
            whole - math.lgamma(k + 1) - math.lgamma(total - k + 1) + k * log_p + (total - k) * log_q
        )
        if below > 1 - chance:
            return k - 1 if k else None
    return None


def _by_tail(good: Sequence[_Good], promise: float, chance: float) -> tuple[float, float] | None:
    """The exponential tail of good mail, its mean excess at the upper bound. None where the tail is heavier."""
    if not good or promise <= 0:
        return None
    total = sum(one.mass for one in good)
    beyond, length = 0.0, 0
    wanted = max(TAIL_LEAST, TAIL_SHARE * total)
    while length < len(good) and (length == 0 or beyond + good[length].mass <= wanted):
        beyond += good[length].mass
        length += 1
    if total < 2 * beyond:
        return None
    start = good[length].logit
    mean = max(1e-3, sum((one.logit - start) * one.mass for one in good[:length]) / beyond)
    scale = mean * (1 + NORMAL.inv_cdf(chance) / math.sqrt(beyond))
    highest = _above_all_but(good, int(promise * total))
    # The maximum of `beyond` exponential excesses lies below mean*(ln(beyond)+4.6) in 99 of 100 cases.
    if highest - start > scale * (math.log(beyond) + 4.6):
        return None
    share = beyond / total
    threshold = max(start + scale * math.log(max(share / promise, 1.0)), highest)
    return threshold, share * math.exp(-(threshold - start) / scale)


def _above_all_but(good: Sequence[_Good], errors: int) -> float:
    """Just above all good mail but this many of the highest."""
    passed = 0.0
    for one in good:
        passed += one.mass
        if passed >= errors + 1:
            return one.logit + 1e-6
    return good[-1].logit


def _early(told: Sequence[float], shipped: float) -> float:
    """Before anything is proven: the shipped threshold, higher or lower where own good mail asks for it.

    Higher by the mean + 3 standard deviations. Lower only with more of it, to where a normal distribution leaves
    one of 4,000 above (3.5 of them; the fewer mails, the more, as Student's t says), and above each one seen.
    """
    floor = _logit(shipped)
    newer = told[len(told) // 2 :]
    if len(newer) < EARLY_LEAST:
        return floor
    mean = sum(newer) / len(newer)
    deviation = math.sqrt(sum((logit - mean) ** 2 for logit in newer) / (len(newer) - 1))
    if len(newer) >= EARLY_LOWER_LEAST:
        apart = EARLY_LOWER * (1 + EARLY_LOWER_FEW / len(newer))
        floor = min(floor, max(0.0, mean + apart * deviation, *newer))
    return max(floor, mean + 3 * deviation)


def _unsure(good: Sequence[_Good], junk: float) -> float:
    """Where doubt begins: about 2 % of good mail lies above, within sensible limits and below junk."""
    at = UNSURE_AT_FIRST if len(good) < SUGGEST_HAM else _probability(good[len(good) // 50].logit)
    return min(max(at, UNSURE_LOWEST), UNSURE_HIGHEST, _probability(junk))


def chance_of(errors: int, expected: float) -> float:
    """The probability of so many errors or more where so many are expected (Poisson)."""
    if expected <= 0:
        return 0.0 if errors > 0 else 1.0
    fewer = math.fsum(math.exp(k * math.log(expected) - expected - math.lgamma(k + 1)) for k in range(errors))
    return max(0.0, 1 - fewer)


def _burst(rescues: Sequence[float], told: Sequence[Point], promise: float, now: float) -> int:
    """How many moves the person took back this week; 0 if the promise allows for so many."""
    begin = now - RESCUES_WINDOW
    count = sum(1 for at in rescues if at > begin)
    if count < RESCUES_BURST:
        return 0
    expected = promise * sum(1 for point in told if point[2] > begin)
    return count if chance_of(count, expected) < RESCUES_CHANCE else 0


def _explain(
    mode: Mode,
    said: Mode | None,
    counted: int,
    spam: int,
    missing: int,
    burst: int,
    unproven: bool,
    heard: int,
    promise: float,
    caught: float | None,
    wait: float,
) -> str:
    one_in = f"1 in {round(1 / promise):,}" if promise > 0 else "none"
    if mode is Mode.FILTERING:
        is_so = "is" if said in (None, Mode.FILTERING) else "would be"
        share = f" About {caught * 100:.0f} % of the junk {is_so} caught." if caught is not None else ""
        return f"{counted:,} good mails show that at most {one_in} of them would be moved.{share}"
    asked = said is Mode.FILTERING
    until = f"until {one_in} is proven" if asked else "until I may move anything to Junk"
    if missing:
        text = f"{missing:,} more good {'mail' if missing == 1 else 'mails'} {until}."
        if wait >= WAIT_TOLD:
            text += f" At your pace that takes {_weeks(wait)}."
            if not asked:
                text += (
                    " It is sooner if I may read the folders you have, and at once if you choose filtering."
                )
    elif burst:
        then = "" if asked else ", so I only suggest for now"
        text = f"You took back {burst} moves within a week, more than {one_in} allows for{then}."
    elif unproven:
        more = max(0, _countable(promise) - heard)
        when = f"about {more:,} more good mails" if more else "more mail"
        text = f"Some good mail looks too much like junk to promise {one_in}; {when} will settle it."
    else:
        lacking = LEAST_SPAM - spam
        text = f"{lacking} more confirmed junk mail{'' if lacking == 1 else 's'} {until}. A drag to Junk confirms one."
    if asked:
        text += " Because you asked for it I already move what is far above your good mail."
    return text


def _weeks(days: float) -> str:
    weeks = round(days / 7)
    if days > 730:
        return "more than two years"
    return f"about {max(2, weeks)} weeks" if weeks <= 8 else f"about {round(days / 30.4)} months"


def _binomial_cdf(k: int, n: int, p: float) -> float:
    if p <= 0:
        return 1.0
    if p >= 1:
        return 1.0 if k >= n else 0.0
    log_p, log_q, whole = math.log(p), math.log1p(-p), math.lgamma(n + 1)
    return math.fsum(
        math.exp(whole - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * log_p + (n - i) * log_q)
        for i in range(k + 1)
    )


def _logit(probability: float) -> float:
    p = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(p / (1 - p))


def _probability(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0
