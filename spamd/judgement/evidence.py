"""How far the model may be trusted on one account, from the account's own mail scored before it was learned.

The question is always: above which score lies at most the promised share of good mail? Three answers, by how
much is known. All of them look only at good mail; spam tells how much is caught, never where the threshold
may be.

1. *Order statistics* (enough mail: about 3 / promise good mails, 2,995 for 1 in 1,000). Of n good mails take
   the (k+1)-th highest score as threshold. The share of all good mail above it follows Beta(k+1, n-k),
   whatever the distribution; its 95 % quantile is the Clopper-Pearson upper bound for k of n. The largest k
   that keeps the promise gives the lowest threshold.
2. *Tail* (from `needed()` good mails, 300 for 1 in 1,000). Nobody wants to wait half a year. In log odds the
   upper tail of good mail is taken to be exponential beyond its 90 % quantile u. This is no guess out of the
   blue: for a calibrated score the density of good mail at log odds t is e^-t times that of spam, and spam's
   density near its own lower tail does not grow as fast. Both unknowns are replaced by their upper 95 %
   bounds (share beyond u by Clopper-Pearson, mean excess by the chi-square bound), never below the highest
   good mail seen, and the tail must not be visibly heavier than exponential; else the account waits for (1).
   At least 300 good mails also mean that even without the tail the bound is 1 in 100.
3. *The person's word* before that: max(the model's shipped threshold, mean + 3 standard deviations of own
   good mail in log odds). Measured on four corpora: 0-0.7 % of good mail above it.

Points are what the model said at that time. As far as the newer half of them is enough, only that half
speaks: the older half was scored by a model that knew less of this person.

Kept mail that was only left in the inbox counts half: it is a person's silence, not a word. Where a lazy
person leaves spam in the inbox it raises the threshold, so its error is on the safe side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from spamd.domain import Evidence, Label, Mode

Point = tuple[float, Label, float, float]
"""(probability before it was learned, label, time of the label, weight)"""

CONFIDENCE = 0.95
WINDOW = 365 * 86400.0
"""Points older than this say little about today's mail (seconds)."""
SURE_WEIGHT = 0.5
"""From this weight on a label is a person's word and counts whole; below it counts half."""
LEAST_HAM = 300
"""Good mails before anything is moved on evidence, for promises stricter than 1 in 100."""
SUGGEST_HAM = 50
"""Good mails before doubtful mail is listed."""
LEAST_SPAM = 5
"""Spam the person confirmed, before moving; without any there is nothing to gain."""
EARLY_LEAST = 10
TAIL_SHARE = 0.10
TAIL_LEAST = 20
LOGIT_LIMIT = 18.0
"""A threshold above 1 - 1.5e-8 means: nothing can be moved."""
RESCUES_BURST = 3
RESCUES_WINDOW = 7 * 86400.0
UNSURE_LOWEST, UNSURE_HIGHEST = 0.30, 0.90


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
    told = [(_logit(p), weight) for p, label, _, weight in recent if label is Label.HAM]
    ham = sorted(told, reverse=True)
    spam = [_logit(p) for p, label, _, weight in recent if label is Label.SPAM and weight >= SURE_WEIGHT]
    counted = _count(ham)
    missing = max(0, needed(promise) - counted)
    burst = sum(1 for at in rescues if at > now - RESCUES_WINDOW) >= RESCUES_BURST
    proven = None if missing else _proven(told, promise)
    threshold, bound = proven if proven is not None else (_early(told, shipped_threshold), None)
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
        unsure_threshold=_unsure(ham, threshold),
        ham_count=counted,
        spam_count=len(spam),
        ham_missing=missing,
        expected_ham_error=bound,
        expected_spam_caught=caught,
        explanation=_explain(mode, said, counted, len(spam), missing, burst, proven is None, promise, caught),
        computed_at=now,
    )


def _count(ham: Sequence[tuple[float, float]]) -> int:
    sure = sum(1 for _, weight in ham if weight >= SURE_WEIGHT)
    return sure + (len(ham) - sure) // 2


def _proven(told: Sequence[tuple[float, float]], promise: float) -> tuple[float, float] | None:
    """(threshold in log odds, upper bound on the share of good mail above it); None where nothing is proven.

    told: good mail in the order in which it was labelled.
    """
    newer = _newer(told, promise)
    found = (
        _by_order([logit for logit, _ in newer], _count(newer), promise)
        or _tail(sorted((logit for logit, _ in newer), reverse=True), _count(newer), promise)
        or _by_order([logit for logit, _ in told], _count(told), promise)
    )
    if found is None or found[0] >= LOGIT_LIMIT:
        return None
    return max(found[0], 0.0), min(found[1], promise)  # what is more likely good than junk is never moved


def _newer(told: Sequence[tuple[float, float]], promise: float) -> Sequence[tuple[float, float]]:
    """The newer half, but enough of them to prove anything: all, where there are not twice as many."""
    first = len(told) // 2
    while first > 0 and _count(told[first:]) < needed(promise):
        first = max(0, first - 50)
    return told[first:]


def _by_order(logits: Sequence[float], counted: int, promise: float) -> tuple[float, float] | None:
    """The lowest order statistic that keeps the promise whatever the distribution.

    None while mail is too little.
    """
    highest = sorted(logits, reverse=True)
    best = None
    for errors in range(min(counted, 1000)):
        bound = upper_bound(errors, counted)
        if bound > promise:
            break
        best = (highest[errors] + 1e-6, bound)
    return best


def _tail(logits: Sequence[float], counted: int, promise: float) -> tuple[float, float] | None:
    """The exponential tail of good mail, both parameters at their upper bounds. logits: highest first."""
    beyond = max(TAIL_LEAST, int(len(logits) * TAIL_SHARE))
    if len(logits) < 2 * beyond:
        return None
    start = logits[beyond]
    mean = sum(logit - start for logit in logits[:beyond]) / beyond
    mean = max(mean, 1e-3)
    scale = mean * 2 * beyond / _chi_square_low(2 * beyond)
    share = upper_bound(round(beyond * counted / len(logits)), counted)
    # The maximum of `beyond` exponential excesses lies below mean*(ln(beyond)+4.6) in 99 of 100 cases.
    if logits[0] - start > scale * (math.log(beyond) + 4.6):
        return None
    threshold = max(start + scale * math.log(max(share / promise, 1.0)), logits[0] + 1e-6)
    return threshold, share * math.exp(-(threshold - start) / scale)


def _early(told: Sequence[tuple[float, float]], shipped: float) -> float:
    """Before anything is proven: the shipped threshold, or higher where own good mail asks for it."""
    floor = _logit(shipped)
    newer = [logit for logit, _ in told[len(told) // 2 :]]
    if len(newer) < EARLY_LEAST:
        return floor
    mean = sum(newer) / len(newer)
    deviation = math.sqrt(sum((logit - mean) ** 2 for logit in newer) / (len(newer) - 1))
    return max(floor, mean + 3 * deviation)


def _unsure(ham: Sequence[tuple[float, float]], junk: float) -> float:
    """Where doubt begins: about 2 % of good mail lies above, within sensible limits and below junk."""
    at = 0.5 if len(ham) < SUGGEST_HAM else _probability(ham[len(ham) // 50][0])
    return min(max(at, UNSURE_LOWEST), UNSURE_HIGHEST, _probability(junk))


def _explain(
    mode: Mode,
    said: Mode | None,
    counted: int,
    spam: int,
    missing: int,
    burst: bool,
    unproven: bool,
    promise: float,
    caught: float | None,
) -> str:
    one_in = f"1 in {round(1 / promise):,}" if promise > 0 else "none"
    if mode is Mode.FILTERING:
        share = f" About {caught * 100:.0f} % of the junk is caught." if caught is not None else ""
        return f"{counted} good mails show that at most {one_in} of them would be moved.{share}"
    if missing:
        text = f"{missing} more good {'mail' if missing == 1 else 'mails'} until I may move anything."
    elif burst:
        text = f"You took back {RESCUES_BURST} or more moves within a week, so I only suggest for now."
    elif unproven:
        text = f"Some good mail looks too much like junk to promise {one_in}; more mail will settle it."
    else:
        lacking = LEAST_SPAM - spam
        text = f"{lacking} more confirmed junk mail{'' if lacking == 1 else 's'} until I may move anything."
    if said is Mode.FILTERING:
        text += " Because you asked for it I already move what is far above your good mail."
    return text


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


def _chi_square_low(freedom: int, z: float = -1.6449) -> float:
    """5 % quantile of chi-square (Wilson-Hilferty; within 0.5 % from 40 degrees of freedom on)."""
    part = 2 / (9 * freedom)
    return freedom * float((1 - part + z * math.sqrt(part)) ** 3)


def _logit(probability: float) -> float:
    p = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(p / (1 - p))


def _probability(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0
