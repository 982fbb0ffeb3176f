"""Scores before and after on the mail that decides, for the gate (model/gate.py)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spamd.domain import ModelCard
from spamd.model.base import Reference
from spamd.model.gate import Night, Numbers, Scored, probabilities
from spamd.model.runtime import Runtime
from spamd.training.dataset import Example, Mixture
from spamd.training.doubt import Doubts

Scale = tuple[float, float]
"""a, b: the probability is the logistic of a * logit + b."""


def examine(
    mixture: Mixture,
    reference: Reference,
    *,
    shipped: tuple[Path, ModelCard],
    before: tuple[Path, ModelCard],
    after: tuple[Path, Scale, Scale],
    level: float,
    difference: float,
    threshold: float,
    doubts: Doubts,
) -> Night:
    """Both models over the held-out, rescued, pinned and kept mail.

    after: the candidate, its calibration, and how sure it is (`sureness`). Rescued mail is told on the scale of the threshold,
    all other by how sure each model is. level: what the candidate adds because of where this mailbox's mail lies (plane.level()). Of public mail it says
    nothing, so there it is taken off.
    """
    old, new = Runtime(before[0]), Runtime(after[0])

    def own(mails: Sequence[Example]) -> Scored:
        return both(old, before[1].sure, new, after[2], mails)

    kept = [e.vector for e in mixture.kept]
    pinned = reference.vectors[1::2]  # the others are rehearsed
    was = old.score_logits(pinned)[1].astype(np.float64) - before[1].figures.get("level", 0.0)
    now = new.score_logits(pinned)[1].astype(np.float64) - level
    first = Runtime(shipped[0]).score_logits(pinned)[1].astype(np.float64)
    return Night(
        held=own(mixture.held),
        rescued=both(old, before[1].calibration, new, after[1], mixture.rescued),
        pinned=Scored(probabilities(was, before[1].sure), probabilities(now, after[2]), reference.spam[1::2]),
        new=own(doubts.tonight),
        names=tuple(e.identity for e in doubts.tonight),
        settled=doubts.settled,
        shipped=probabilities(first, shipped[1].calibration),
        personal=before[1].parent is not None,
        kept_before=old.score_logits(kept)[1].astype(np.float64),
        kept_after=new.score_logits(kept)[1].astype(np.float64),
        threshold=threshold,
        difference=difference,
        fresh=doubts.fresh,  # not what is learned: from scratch that is all, and the gate would pass what doubt left to it
        learned=mixture.counts | {"left_out": len(doubts.left_out)},
    )


def both(
    old: Runtime,
    old_scale: Scale,
    new: Runtime,
    new_scale: Scale,
    mails: Sequence[Example],
) -> Scored:
    """These mails by the model that serves and by the candidate."""
    vectors = [e.vector for e in mails]
    return Scored(
        probabilities(old.score_logits(vectors)[1], old_scale),
        probabilities(new.score_logits(vectors)[1], new_scale),
        np.array([e.spam for e in mails], bool),
    )


def decisions_changed(
    one: NDArray[np.float32], other: NDArray[np.float32], scale: Scale, threshold: float
) -> int:
    """How many mails get another verdict by the one logits than by the other: keep, unsure or junk."""
    verdicts = [np.digitize(probabilities(logits, scale), (0.5, threshold)) for logits in (one, other)]
    return int((verdicts[0] != verdicts[1]).sum())


def expected_calibration_error(values: Numbers, spam: Numbers, bins: int = 10) -> float:
    """Mean gap between promised and true share of spam, over bins of equal size (0..1)."""
    if not len(values):
        return 0.0
    order = np.argsort(values)
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return float(
        sum(len(part) * abs(values[part].mean() - spam[part].mean()) for part in parts) / len(values)
    )
