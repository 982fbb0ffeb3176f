"""The base's dense part, a linear model over hand-made features, and how a few labels of a person turn it.

Hand-made features of 30 good mails say more of a mailbox than their words do: this is what the first night, and before it
the instant head (personal.py), learns from good mail alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spamd.model.runtime import Floats

CLIP = 2.0
PENALTY = 1 / 0.0003  # L2 of the regressions, for a loss summed over the public mail
OWN_MASS, OWN_HALF = 0.3, 200.0
"""Own mail against public mail in a refit: at most, and the weight of own mail that counts half of it. With half at 20 a
single junk mail said to be good lowered all others by as much as its words do."""
TOLD_LEVEL = 8.0  # weight of the rarer class's labels from which they tell where this person's mail lies
LIFTED = 0.5
"""Base logits by which public good mail may be lifted on the average so that the person's own stays where it was. The
highest of 85 modern good mails lies .9 below the shipped threshold."""


def standardised(dense: Floats, mean: Floats, deviation: Floats) -> Floats:
    """In standard deviations, cut at +-CLIP; what a mail does not tell counts as the mean."""
    z = (np.where(np.isnan(dense), mean, dense) - mean) / deviation
    clipped: Floats = np.clip(z, -CLIP, CLIP).astype(np.float32)
    return clipped


@dataclass(frozen=True, slots=True)
class DensePart:
    """One of the regressions that the dense part sums up, and how firmly public mail holds it.

    A person's mail may move it (Plane.refit). The public matrix it was learned from need not be at hand for that:
    near its optimum the public loss is a quadratic form. Refitted so, 1-ROCA of left-out corpora came out as with all
    of the matrix, within .03.
    """

    weights: Floats
    bias: float
    share: float  # what it counts in the base
    curvature: (
        Floats  # (features + 1, features + 1): second derivative of the mean public loss; the bias is last
    )
    mass: float  # of the public mail


@dataclass(frozen=True, slots=True)
class Turned:
    """A change of the base's dense part: of the weights over standardised features, and of the bias."""

    weights: NDArray[np.float64]
    offset: float
    unseen: NDArray[np.float64]  # by it, of each labelled mail's logit, had that mail not been learned
    good: float  # by it, of the mean public good mail's logit


@dataclass(frozen=True, slots=True)
class Plane:
    """The dense part of the base, as a person's labels may turn it."""

    mean: Floats
    deviation: Floats
    parts: tuple[DensePart, ...]  # none: it cannot be turned
    good: Floats  # mean of public good mail, standardised

    def standardise(self, dense: Floats) -> Floats:
        return standardised(dense, self.mean, self.deviation)

    def refit(self, dense: Floats, spam: NDArray[np.bool_], weights: Floats) -> Turned:
        """How these labels change the base's dense weights and its bias. One row of dense and one weight per mail.

        Follows from these labels alone: without a label nothing of it is left.
        """
        moved, offset, unseen = np.zeros(len(self.mean)), 0.0, np.zeros(len(dense))
        if not self.parts or not len(dense) or not weights.sum():
            return Turned(moved, offset, unseen, 0.0)
        x = np.column_stack([self.standardise(dense), np.ones(len(dense))]).astype(np.float64)
        share = OWN_MASS / (float(weights.sum()) + OWN_HALF)
        for part in self.parts:
            known = np.diag(part.curvature) > 0  # public mail says nothing of the others
            change, of_others = _moved(x * known, spam, part.mass * share * weights.astype(np.float64), part)
            moved += part.share * change[:-1]
            offset += part.share * float(change[-1])
            unseen += part.share * of_others
        return Turned(moved, offset, unseen, float(self.good @ moved) + offset)


def level(unseen: float, good: float, rarer: float, alpha: float) -> float:
    """What makes up for a change of the logit that lifts or lowers all mail of a person.

    Labels of one class say how to tell mail apart, but not where all mail of this mailbox lies; if they move it, junk goes
    along, and no threshold fits any more (after 100 good mails alone, spam caught of SpamAssassin 61 -> 22 %). So
    what they changed for such mail on the average, had it not been learned, `unseen`, is taken back, as far as good mail
    of other kinds than was labelled may be lifted: `good` is the change of public good mail. rarer: the weight of the
    rarer class's labels; with it that fades. alpha: of the base.
    """
    return (1 - min(1.0, rarer / TOLD_LEVEL)) * min(-unseen, max(0.0, alpha * LIFTED - good))


def _moved(
    x: NDArray[np.float64], spam: NDArray[np.bool_], mass: NDArray[np.float64], part: DensePart
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Newton's method on the own loss and the public one's quadratic form: the change of weights and bias.

    And the change of each mail's logit had it not been learned (one Newton step back from the solution).
    """
    firmness = part.mass * part.curvature.astype(np.float64)
    firmness[np.diag_indices(len(firmness))] += PENALTY
    firmness[-1, -1] += 1e-3 * part.mass - PENALTY
    start = np.append(part.weights, part.bias).astype(np.float64)
    change = np.zeros_like(start)

    def loss(change: NDArray[np.float64]) -> float:
        logits = x @ (start + change)
        return float(mass @ (np.logaddexp(0, logits) - spam * logits) + change @ firmness @ change / 2)

    for _ in range(30):
        probability, curvature = _bend(x, mass, start + change, firmness)
        gradient = x.T @ (mass * (probability - spam)) + firmness @ change
        step = np.linalg.solve(curvature, gradient)
        # A mail far on the wrong side has no curvature: a whole step would leap over the valley, and back.
        size, most = 1.0, loss(change)
        while size > 1e-6 and loss(change - size * step) > most - 0.25 * size * float(gradient @ step):
            size /= 2
        change -= size * step
        if np.abs(size * step).max() < 1e-4:
            break
    probability, curvature = _bend(x, mass, start + change, firmness)
    leverage = np.einsum("ij,ji->i", x, np.linalg.solve(curvature, x.T))
    own = np.minimum(mass * probability * (1 - probability) * leverage, 0.99)
    learned = x @ change
    unseen = learned + leverage * mass * (probability - spam) / (1 - own)
    # A single odd mail is far from where a straight line leads back.
    return change, np.clip(unseen, np.minimum(learned, 0), np.maximum(learned, 0))


def _bend(
    x: NDArray[np.float64],
    mass: NDArray[np.float64],
    weights: NDArray[np.float64],
    firmness: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each mail's probability of spam, and the second derivative of the loss."""
    probability = 1 / (1 + np.exp(-np.clip(x @ weights, -40, 40)))
    return probability, (x * (mass * probability * (1 - probability))[:, None]).T @ x + firmness
