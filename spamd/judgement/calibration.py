"""How sure the filter may sound: probabilities as they are told, from what became of mail they were told of before.

A model's own probability stays on the shipped scale, whatever it has learned, so that thresholds hold from night to night; and
what is called 96 % likely there is junk four times in five. (Held-out labels do not tell it better: a person who only corrects
errors gives hardly any good ones.) What became of all other mail is known: what was moved and not taken back is junk, and of what was not named so much is as the person's habit lets
lie (judgement/silence.py). So a straight line through the log odds, held near the identity, is drawn through both.

Only what is told changes. Thresholds and verdicts go by the model's own probability; both are told by the same line, which rises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from spamd.judgement.silence import Habit

Calibration = tuple[float, float]
"""a, b: told is the logistic of a * log odds + b."""

AS_IT_IS: Calibration = (1.0, 0.0)
PULL = 50.0
"""So many mails in doubt would hold the line where it was; a quarter of them its height."""
STEEPEST, FLATTEST, HIGHEST = 10.0, 0.1, 10.0
LIMIT = 1e-12  # from 0 and 1


class Became(NamedTuple):
    """A mail that was judged when it came, and what became of it."""

    probability: float  # of junk, as first judged
    moved: bool  # to Junk, by us
    junk: bool | None  # what the person said; None: nothing


def calibration(mails: Sequence[Became], habit: Habit) -> Calibration:
    """Of mail that the person has had some days for. While nothing is known of the person, it is told as it is."""
    if habit.share is None or not mails:
        return AS_IT_IS
    points = [(_log_odds(one.probability), _junk(one, habit)) for one in mails]
    a, b = AS_IT_IS
    for _ in range(50):  # Newton's method on the log-loss
        slope_a, slope_b = PULL * (a - 1), PULL / 4 * b
        aa, ab, bb = PULL, 0.0, PULL / 4
        for x, junk in points:
            p = _logistic(a * x + b)
            off, curve = p - junk, p * (1 - p)
            slope_a += off * x
            slope_b += off
            aa += curve * x * x
            ab += curve * x
            bb += curve
        size = aa * bb - ab * ab
        step_a, step_b = (slope_a * bb - slope_b * ab) / size, (slope_b * aa - slope_a * ab) / size
        a -= min(1.0, max(-1.0, step_a))
        b -= min(1.0, max(-1.0, step_b))
        if max(abs(step_a), abs(step_b)) < 1e-6:
            break
    return min(STEEPEST, max(FLATTEST, a)), min(HIGHEST, max(-HIGHEST, b))


def told(probability: float, line: Calibration) -> float:
    """The probability as it is told, 0..1."""
    if line == AS_IT_IS:
        return probability
    return _logistic(line[0] * _log_odds(probability) + line[1])


def _junk(one: Became, habit: Habit) -> float:
    if one.junk is not None:
        return float(one.junk)
    return 1.0 if one.moved else habit.hidden(one.probability)


def _log_odds(probability: float) -> float:
    kept = min(1 - LIMIT, max(LIMIT, probability))
    return math.log(kept / (1 - kept))


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-min(700.0, max(-700.0, x))))
