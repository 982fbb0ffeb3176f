"""May a candidate replace the model that serves? Numbers in, an answer with reasons out. Needs no TensorFlow.

Three sets of mail decide, and but for `rescued` the candidate learned from none of them in this night:
- `held`: labels older than this night's, held out from training (about a tenth);
- `rescued`: mail the person ever took out of Junk, learned again every night: what they said must count;
- `pinned`: the public reference set that comes with the program, beside the serving and the shipped model;
and `new`, the night's own labels, which may not contradict what the serving model has earned to be sure of;
and `kept`: logits of mail kept lately, which must not be lifted as a whole.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spamd.domain import GateReport
from spamd.errors import ModelError
from spamd.model.runtime import Floats

Numbers = NDArray[np.float64]

# Where there is hardly any loss, a freshly fitted line alone makes .003 to .010.
HELD_FACTOR, HELD_SLACK = 1.25, 0.01
HELD_LEAST = 5
"""Held-out mails of which a mean loss says anything. Of seventeen labels one or two are held out: in one life of 39 days their loss went from
.058 to .24 (of one mail: .94 to .79, still right), and nine of twelve nights were refused, each for the same mails."""
# Made from scratch, a candidate never saw what is held out now, while the serving model once learned it when it was new.
SCRATCH_FACTOR, SCRATCH_SLACK = 1.5, 0.05
RESCUED_SLACK = 0.02  # probability: quantisation alone moves it a little
PINNED_FACTOR, PINNED_SLACK = 1.25, 0.02
# Many small steps, each taken, must not lead away from where it began: against the shipped model itself.
DRIFT_FACTOR, DRIFT_SLACK = 2.0, 0.05
KEPT_LIFT = 1.0  # logit: mean lift of kept mail
CLIP = 1e-3  # of probabilities in a log-loss: one hopeless mail must not decide alone
# Smoothed labels do not do here: their least possible loss (0.03) hides what 5 % of wrong labels do (0.01).
DOUBTFUL = (
    3.0  # calibrated logit from which a label against the serving model is left out, or refuses the night
)
STRONGLY = 4.0  # and from which a single one shows that a day on which all is said to be the same is damaged
CONTRADICTED_LEAST, CONTRADICTED_SHARE = 3, 0.025  # of a night's new labels, against a sure personal model
ASKED_MOST = 500
"""The newest of the labels in question; who has let older ones stand for so long means them. A card has room for 2,000."""
ONE_SIDED_LEAST = 20  # new labels of one class alone
FIRST_ONE_SIDED_SHARE = 1 / 3
"""Of the first labels ever, all good: so much of that mail must be surely junk to the shipped model. That is a Junk folder
taken for an archive; of anybody's good mail it is sure in one of hundreds."""
# A model may only speak against new labels if what it was sure of among older ones was so, and for each side by itself:
# one that learned from much spam and five good mails is sure that all is spam, and would refuse every correction for
# ever. What shows that its "junk" can be believed is older good mail, and the other way round.
TRUSTED_HELD, TRUSTED_SOME = 5, 10  # held-out mails of the other class: without an error, or with one at most
TRUSTED_ERRORS = 0.01  # share of them of which it was wrongly sure


@dataclass(frozen=True, slots=True)
class Scored:
    """Probabilities of one set, by the model that serves and by the candidate. spam: the labels."""

    before: Numbers
    after: Numbers
    spam: NDArray[np.bool_]


NOBODY: NDArray[np.bool_] = np.zeros(0, bool)


def _nothing() -> Numbers:
    return np.zeros(0)


@dataclass(frozen=True, slots=True)
class Night:
    """What the gate is told."""

    held: Scored
    rescued: Scored
    pinned: Scored
    kept_before: Numbers = field(default_factory=_nothing)  # logits
    kept_after: Numbers = field(default_factory=_nothing)
    threshold: float = 0.99  # probability from which mail may be moved
    fresh: int = 0  # new labels, silence included
    difference: float = 0.0  # largest gap between Keras and TFLite logits
    learned: dict[str, int] = field(default_factory=dict)
    new: Scored = field(
        default_factory=lambda: Scored(_nothing(), _nothing(), np.zeros(0, bool))
    )  # the person's, learned
    names: tuple[str, ...] = ()  # of `new`, "account\0identity"
    settled: NDArray[np.bool_] = field(
        default_factory=lambda: NOBODY
    )  # of `new`, what is not doubted; or empty
    shipped: Numbers = field(default_factory=_nothing)  # the shipped model's probabilities of the pinned set
    personal: bool = True  # has the serving model learned from this person?


def probabilities(logits: Numbers | Floats, calibration: tuple[float, float]) -> Numbers:
    """Calibrated by a model card's a and b."""
    a, b = calibration
    answer: Numbers = 1 / (1 + np.exp(-np.clip(a * logits.astype(np.float64) + b, -700, 700)))
    return answer


def _losses(probabilities: Numbers, spam: NDArray[np.bool_]) -> Numbers:
    p = np.clip(probabilities.astype(np.float64), CLIP, 1 - CLIP)
    losses: Numbers = -np.log(np.where(spam, p, 1 - p))
    return losses


def _chance(scored: Scored) -> float:
    """Standard error of the change of the mean loss: one mail among thirty may be bad luck, thirty among three hundred not."""
    change = _losses(scored.after, scored.spam) - _losses(scored.before, scored.spam)
    return float(np.nan_to_num(change.std() / np.sqrt(len(change))))


def log_loss(probabilities: Numbers, spam: NDArray[np.bool_]) -> float:
    """Mean negative log-likelihood, natural log; 0 for an empty set."""
    if not len(probabilities):
        return 0.0
    return float(_losses(probabilities, spam).mean())


def judge(night: Night, *, stood: bool = False) -> GateReport:
    """Promote, or say why not.

    stood: the new labels were refused for some nights, the person was told, and they still hold. Then they are no longer
    doubted for contradicting the model; all other rules stay.
    """
    figures: dict[str, float] = {f"learned_{name}": float(count) for name, count in night.learned.items()}
    figures["tflite_difference"] = night.difference
    against: list[str] = []
    if night.difference > 0.05:
        against.append(f"The exported model differs from the trained one by {night.difference:.2f} logits.")

    before, after = (log_loss(side, night.held.spam) for side in (night.held.before, night.held.after))
    figures |= {"held": float(len(night.held.spam)), "held_loss_before": before, "held_loss_after": after}
    factor, slack = HELD_FACTOR, HELD_SLACK
    if night.learned.get("from_scratch"):
        factor, slack = SCRATCH_FACTOR, SCRATCH_SLACK
    enough = len(night.held.spam) >= HELD_LEAST
    if enough and after > factor * before + slack + _chance(night.held):
        against.append(
            f"It does worse on older labels it did not learn from (log-loss {after:.3f}, before {before:.3f})."
        )

    worse = int(rescued_worse(night.rescued, night.threshold).sum())
    figures |= {"rescued": float(len(night.rescued.spam)), "rescued_worse": float(worse)}
    if worse:
        against.append(f"It thinks worse of {worse} mail{'s' if worse > 1 else ''} you took out of Junk.")

    before, after = (log_loss(side, night.pinned.spam) for side in (night.pinned.before, night.pinned.after))
    figures |= {
        "pinned": float(len(night.pinned.spam)),
        "pinned_loss_before": before,
        "pinned_loss_after": after,
    }
    if after > PINNED_FACTOR * before + PINNED_SLACK:
        against.append(
            f"It does worse on the public reference mail (log-loss {after:.3f}, before {before:.3f})."
        )

    if len(night.shipped):
        first = log_loss(night.shipped, night.pinned.spam)
        figures["pinned_loss_shipped"] = first
        if after > max(before, DRIFT_FACTOR * first + DRIFT_SLACK):
            against.append(
                f"Night by night it has come too far from the public reference mail (log-loss {after:.3f}, the shipped "
                f"model {first:.3f})."
            )

    contradicted = int(_doubted(night).sum())
    figures["contradicted"] = float(contradicted)
    if too_many(night) and not stood:
        against.append(
            f"{contradicted} of {night.fresh} new labels contradict what the model is sure of: please look at them."
        )
    elif (surprises := int(_contradicted(night, STRONGLY).sum())) and _one_sided(night) and not stood:
        kind = "junk" if night.new.spam.any() else "good"
        against.append(
            f"All {len(night.new.spam)} new labels say {kind}, also that of {surprises} mail{'s' if surprises > 1 else ''} "
            "of which the model is sure that it is not: please look at them."
        )

    if len(night.kept_after):
        lift = float((night.kept_after - night.kept_before).mean())
        figures |= {"kept": float(len(night.kept_after)), "kept_lift": lift}
        if lift > KEPT_LIFT:
            against.append(f"It lifts the mail you kept lately as a whole (by {lift:.1f} logits).")
    sides = (night.held.after, night.rescued.after, night.pinned.after, night.kept_after, night.difference)
    if any(not np.isfinite(side).all() for side in sides):
        against.append("It does not give numbers for some mail.")
    taken = ["It does no worse on older labels, on rescued mail and on the public reference mail."]
    if left_out := night.learned.get("left_out", 0):
        taken.append(
            f"{left_out} label{'s' if left_out > 1 else ''} against which the model in force is sure "
            f"{'were' if left_out > 1 else 'was'} left out: please look."
        )
    return GateReport(promoted=not against, reasons=tuple(against or taken), figures=figures)


def _sure(probabilities: Numbers, strongly: float) -> NDArray[np.bool_]:
    sure: NDArray[np.bool_] = np.abs(probabilities - 0.5) > 1 / (1 + np.exp(-strongly)) - 0.5
    return sure


def contradicting(night: Night) -> tuple[str, ...]:
    """Names of the new labels that speak against what the serving model has earned to be sure of."""
    return tuple(name for name, is_so in zip(night.names, _doubted(night), strict=False) if is_so)


def believing(night: Night, names: Collection[str]) -> Night:
    """The same night; these of the new labels are not doubted, whatever the model says."""
    settled = np.array([name in names for name in night.names], bool)
    return replace(night, settled=settled | night.settled if len(night.settled) else settled)


def too_many(night: Night) -> bool:
    """Do so many new labels contradict what the model is sure of that none of the night is to be learned?"""
    contradicted = int(_doubted(night).sum())
    return contradicted >= CONTRADICTED_LEAST and contradicted > CONTRADICTED_SHARE * night.fresh


def doubtful(night: Night) -> NDArray[np.bool_]:
    """Of the new labels, those to be left out while they are few, and asked about."""
    return _contradicted(night, DOUBTFUL)


def _doubted(night: Night) -> NDArray[np.bool_]:
    contradicted = doubtful(night)
    return contradicted & ~night.settled if len(night.settled) else contradicted


def _contradicted(night: Night, strongly: float) -> NDArray[np.bool_]:
    """Of the new labels, those against which the serving model is sure, as far as it may be believed."""
    new = night.new
    found = np.zeros(len(new.spam), bool)
    if not night.personal:  # the shipped model is sure of nothing, but of a whole heap of junk called good
        junk_to_it = _sure(new.before, strongly) & (new.before > 0.5)
        heap = _one_sided(night) and not new.spam.any() and junk_to_it.mean() > FIRST_ONE_SIDED_SHARE
        return junk_to_it if heap else found
    for junk in (True, False):
        against = _sure(new.before, strongly) & ((new.before > 0.5) == junk) & (new.spam != junk)
        if against.any() and (_trusted(night.held, junk, strongly) or _first_surprise(night, junk, strongly)):
            found |= against
    return found


def _trusted(held: Scored, junk: bool, strongly: float) -> bool:
    """Is it so when the serving model is sure that a mail is junk (or is not)? Older mail of the other class tells."""
    others = held.spam != junk
    count = int(others.sum())
    wrong = int((_sure(held.before, strongly) & ((held.before > 0.5) == junk))[others].sum())
    return count >= TRUSTED_HELD and wrong <= max(float(count >= TRUSTED_SOME), TRUSTED_ERRORS * count)


def _first_surprise(night: Night, junk: bool, strongly: float) -> bool:
    """Where little is held out yet: has the night itself much mail of the other class, with this one surprise?"""
    held, new = (
        _sure(some.before, strongly)[some.spam != junk] & ((some.before > 0.5) == junk)[some.spam != junk]
        for some in (night.held, night.new)
    )
    few = len(held) < TRUSTED_HELD
    return few and len(held) + len(new) >= 2 * TRUSTED_SOME and int(held.sum()) + int(new.sum()) <= 1


def _one_sided(night: Night) -> bool:
    """Do many new labels all say the same?

    A day without junk is nothing special, nor is one surprise; a day on which all is good, also mail that is surely
    junk, looks like a finger that slipped. Junk alone is what most people label: that is one-sided only where no mail
    left lying speaks beside it.
    """
    new = night.new
    if len(new.spam) < ONE_SIDED_LEAST or new.spam.all() != new.spam.any():
        return False
    return not new.spam.any() or night.fresh <= len(new.spam)


def rescued_worse(rescued: Scored, threshold: float) -> NDArray[np.bool_]:
    """Which rescued mail moves towards Junk noticeably, or across the threshold."""
    lifted = rescued.after > rescued.before + RESCUED_SLACK
    doubtful = rescued.after > 0.5 * threshold
    crossed = (rescued.after >= threshold) & (rescued.before < threshold)
    worse: NDArray[np.bool_] = ((lifted & doubtful) | crossed) & ~rescued.spam
    return worse


EXAMINATION = "examination.npz"
_SETS = ("held", "rescued", "pinned", "new")


def save(folder: Path, night: Night) -> None:
    """What the trainer leaves beside its candidate for the judge."""
    arrays: dict[str, NDArray[np.generic]] = {
        "kept_before": night.kept_before,
        "kept_after": night.kept_after,
        "numbers": np.array([night.threshold, night.difference, night.fresh]),
        "learned_names": np.array(list(night.learned), np.str_),
        "learned_counts": np.array(list(night.learned.values()), np.int64),
        "shipped": night.shipped,
        "names": np.array(night.names, np.str_),
        "settled": night.settled,
        "personal": np.array(night.personal),
    }
    for name in _SETS:
        scored: Scored = getattr(night, name)
        arrays |= {
            f"{name}_before": scored.before,
            f"{name}_after": scored.after,
            f"{name}_spam": scored.spam,
        }
    with (folder / EXAMINATION).open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load(folder: Path) -> Night:
    """ModelError if the trainer left none."""
    try:
        with np.load(folder / EXAMINATION, allow_pickle=False) as data:
            sets = {
                name: Scored(data[f"{name}_before"], data[f"{name}_after"], data[f"{name}_spam"].astype(bool))
                for name in _SETS
            }
            threshold, difference, fresh = (float(number) for number in data["numbers"])
            learned = dict(zip(data["learned_names"].tolist(), data["learned_counts"].tolist(), strict=True))
            return Night(
                **sets,
                kept_before=data["kept_before"],
                kept_after=data["kept_after"],
                threshold=threshold,
                difference=difference,
                fresh=int(fresh),
                learned=learned,
                shipped=data["shipped"],
                names=tuple(str(name) for name in data["names"]),
                settled=data["settled"].astype(bool),
                personal=bool(data["personal"]),
            )
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelError("The trainer left no readable examination.", "The night is tried again.") from error
