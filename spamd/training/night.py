"""One night's work: read, mix, fit, calibrate, export, compare, examine, write the candidate bundle."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spamd.domain import AccountName, Identity, LabelRecord, ModelCard, ModelId, Sender
from spamd.errors import ModelError, TrainingError
from spamd.message.vector import BUCKETS, SCHEMA, shares
from spamd.model import apart, bundle, gate
from spamd.model import base as base_file
from spamd.model.base import Reference
from spamd.model.bundle import Bundle
from spamd.model.gate import Numbers
from spamd.model.plane import Turned
from spamd.model.plane import level as level_of
from spamd.model.runtime import Floats, MailVector, Runtime
from spamd.training import dataset, examine, export
from spamd.training.apart import scores as scores_apart
from spamd.training.architectures import ARCHITECTURES, SHIPPED, Architecture
from spamd.training.dataset import Example, Mixture
from spamd.training.doubt import Doubts, doubts, overruled
from spamd.training.examine import Scale
from spamd.training.fit import Dense, Fitted, Progress, State, fit, logits, turned
from spamd.training.report import NothingToLearn, Reporter

FEWEST_HAM = 5  # with less good mail to learn from, any lesson would lift all mail
FEWEST_SPAM = 5  # below this, public spam is the counterweight
HAM_ONLY_ALPHA_FACTOR = 2.0  # without own spam the base must carry more (reference: .7 -> 1.4)
OWN_HABIT = 30.0
"""With good mail alone, a bucket speaks the less, the more of it has it: 1/(1 + 30 x its share). The mailbox's own habits
(its server's lines, its address, its lists) are in the junk sent there, too, and public spam lacks them. 100 own ham,
1-ROCA % of SpamAssassin / modern-lists, each with a base that had not seen it: cold 1.29 / 1.29; base refitted 1.01 / .98;
and with all learned alike .96 / 3.84, so .63 / .94."""
LIFTED_FIRST = 0.3
"""Of plane.LIFTED with good mail alone, where the base counts double. After sixty plain letters, of 85 modern good mails 5 came
to lie above the shipped threshold with the whole of it, 1 with half, none with .3 or .2."""
SAID_AGAIN = 4
"""Times a night is fitted anew: the rescued mail that it would think worse of said once more, then twice, four, eight times."""
FITTING_SECONDS = 180.0
"""CPU seconds after which a night is not fitted anew once more: a tenth of trainer.TIME_LIMIT. One more fit takes as long as
the one before, or twice as long, and scores_apart() as long as five."""
COMPARED = 2000
LISTED_MOST = 1000
"""Identities in a list of a card: a card may have 256 kB, and the newest tell what the person thinks."""
REHEARSED = 0.5
"""Weight of the rehearsed public mail against the own. Log-loss on the other public half after a first night on 60+20
own mails of CSDMC: .48 without (refused by the gate), .16 at .25, .12 at .5 (before the night .11); held-out own mail the
same."""
PRIOR_MASS = 20.0  # pseudo-mails that hold the sureness near what it was


@dataclass(frozen=True, slots=True)
class Settings:
    parent: Path
    shipped: Path
    out: Path
    from_scratch: bool = False
    architecture: str = SHIPPED
    threshold: float | None = None  # probability; None: the parent card's
    replay: int = dataset.REPLAY
    seed: int = 0
    believed: frozenset[str] = (
        frozenset()
    )  # "account\0identity" of labels that the person stayed with when asked
    doubt: bool = True  # False: all labels are believed


def run(
    rows: Iterable[tuple[LabelRecord, bytes]],
    settings: Settings,
    report: Reporter,
    senders: Mapping[tuple[AccountName, Identity], Sender] | None = None,
) -> ModelCard:
    """Train on these ledger rows and write `out`. Returns the candidate's card. senders: of mails, where they are kept.

    NothingToLearn: too few labels, or of one kind. TrainingError, ModelError: parent or installation unusable.
    """
    began = time.process_time()
    architecture = ARCHITECTURES.get(settings.architecture)
    if architecture is None:
        raise TrainingError(
            f"There is no architecture {settings.architecture}.", f"There are: {', '.join(ARCHITECTURES)}."
        )
    shipped = bundle.read_card(settings.shipped)
    parent = on_scale(bundle.verify(settings.parent), shipped)
    reference = base_file.load(settings.shipped)
    from_scratch = settings.from_scratch or not architecture.sparse
    state = None if from_scratch else read_state(parent, settings.shipped)
    if state is None:
        from_scratch = True  # weights of another base, or none yet
    report.event("stage", stage="read")
    everything = dataset.examples(rows, senders)
    serving = Runtime(parent.path)

    def serving_logits(some: Sequence[MailVector]) -> Floats:
        return serving.score_logits(some)[1]

    asked, believed = Doubts(), settings.believed
    if settings.doubt:
        asked = doubts(everything, parent.card, serving_logits, believed)
    else:
        believed = frozenset(e.identity for e in everything)
    heard = [e for e in everything if e.identity not in asked.left_out]
    changed = overruled(heard, parent.card, serving_logits, believed)
    mixture = dataset.mix(
        [e for e in heard if e.identity not in changed],
        known_until=parent.card.known_until,
        from_scratch=from_scratch,
        left_out=parent.card.doubted,
        replay=settings.replay,
        seed=settings.seed,
    )
    lessons = counterweighted(mixture, reference, architecture)
    examples, alpha = lessons.examples, lessons.alpha
    calibration = carried(shipped.calibration, shipped, alpha)
    report.event("stage", stage="fit", mails=len(examples))

    def fitted_to(some: Sequence[Example], progress: Progress) -> tuple[Fitted, float]:
        """The fit, and what in it keeps this person's mail where it was (plane.level)."""
        names = {e.identity for e in some}
        own = [e for e in mixture.training if e.identity in names]
        turn = turned(reference, own)
        dense = ((alpha * turn.weights).astype(np.float32), alpha * turn.offset)
        fitted = fit(
            architecture,
            reference.base,
            BUCKETS,
            some,
            state=state,
            alpha=alpha,
            dense=dense,
            heard=lessons.heard,
            seed=settings.seed,
            progress=progress,
        )
        level = kept_level(fitted, turn, own, reference, alpha, lessons.lifted)
        return replace(fitted, dense=(dense[0], dense[1] + level)), level

    settings.out.mkdir(parents=True, exist_ok=True)
    path = settings.out / bundle.MODEL
    threshold = parent.card.junk_threshold if settings.threshold is None else settings.threshold
    said_again, fitting_since = 0, time.process_time()

    def tell(done: int, of: int) -> None:
        """Of all rounds: a later one does not begin at nothing again."""
        if said_again:
            report.progress("again", (said_again - 1) * of + done, SAID_AGAIN * of)
        else:
            report.progress("fit", done, of)

    while True:
        fitted, level = fitted_to(examples, tell)
        if not said_again:
            report.event("stage", stage="export")
        table = fitted.state.weights if fitted.state else fitted.model
        path.write_bytes(export.to_tflite(export.Combined(reference.base, table, alpha, fitted.dense)))
        made = Runtime(path)
        sure = sureness(mixture, made, parent.card, alpha)
        seen = examine.both(serving, parent.card.calibration, made, calibration, mixture.rescued)
        worse = gate.rescued_worse(seen, threshold)
        too_long = time.process_time() - fitting_since > FITTING_SECONDS
        if not worse.any() or said_again == SAID_AGAIN or too_long:
            break
        examples = examples + list(compress(mixture.rescued, worse)) * 2**said_again
        said_again += 1
    files = {}
    if fitted.state is not None:
        write_state(settings.out, fitted.state, fitted.dense, settings.shipped)
        files[bundle.WEIGHTS] = bundle.digest(settings.out / bundle.WEIGHTS)

    report.event("stage", stage="examine")
    compared = ([e.vector for e in mixture.held] + [e.vector for e in examples])[:COMPARED]
    keras_logits = logits(fitted, reference.base, BUCKETS, compared, alpha)
    tflite_logits = made.score_logits(compared)[1]
    difference = float(np.abs(keras_logits - tflite_logits).max(initial=0.0))
    found = scores_apart(
        everything,
        examples,
        reference,
        alpha,
        calibration,
        known_until=parent.card.known_until,
        refit=lambda some, part: fitted_to(
            some, lambda done, of: report.progress("apart", part * of + done, apart.PARTS * of)
        )[0],
    )
    apart.save(settings.out, found)
    night = examine.examine(
        mixture,
        reference,
        shipped=(settings.shipped / bundle.SHIPPED_MODEL, shipped),
        before=(parent.path, parent.card),
        after=(path, calibration, sure),
        level=level,
        difference=difference,
        threshold=threshold,
        doubts=asked,
    )
    gate.save(settings.out, night)
    sha = bundle.digest(path)
    card = ModelCard(
        # Of the parent, too: a night that ends with the very weights it began with is another model than its parent.
        id=ModelId(f"personal-{hashlib.sha256(f'{sha} {parent.card.id}'.encode()).hexdigest()[:10]}"),
        parent=parent.card.id,
        created_at=time.time(),
        schema=SCHEMA,
        sha256=sha,
        architecture=architecture.name,
        alpha=alpha,
        calibration=calibration,
        sureness=sure,
        labels={
            side: sum(e.spam is spam and e.identity not in asked.left_out for e in everything)
            for side, spam in (("ham", False), ("spam", True))
        },
        figures={
            "fresh": float(len(mixture.fresh)),
            "replayed": float(len(mixture.replay)),
            "held": float(len(mixture.held)),
            "counterweight": float(len(lessons.examples) - len(mixture.training)),
            "from_scratch": float(from_scratch),
            "said_again": float(said_again),
            "level": level,
            "tflite_difference": difference,
            "decisions_changed": float(
                examine.decisions_changed(keras_logits, tflite_logits, calibration, threshold)
            ),
            "expected_calibration_error": examine.expected_calibration_error(
                night.held.after, night.held.spam.astype(np.float64)
            ),
            "cpu_seconds": round(time.process_time() - began, 2),
        },
        junk_threshold=parent.card.junk_threshold,
        known_until=max((e.at for e in everything), default=parent.card.known_until),
        files=files,
        doubted=tuple(sorted(asked.left_out)),
        overruled=changed[-LISTED_MOST:],
    )
    bundle.write_card(settings.out, card)
    return card


def kept_level(
    fitted: Fitted,
    turn: Turned,
    training: Sequence[Example],
    reference: Reference,
    alpha: float,
    lifted: float,
) -> float:
    """plane.level() of the whole change, the table's included.

    What a mail gets from a bucket that k mails share is taken to be what it would have got unlearned, but for a k-th of it
    (100 good mails alone, this estimate / the truth on others: -1.42/-1.70, -.56/-.65, -.59/-.60).
    """
    unseen, good = alpha * turn.unseen, alpha * turn.good
    if fitted.state is not None:
        weights = fitted.state.weights
        count = np.zeros(BUCKETS)
        for example in training:
            count[example.vector.personal_ids] += 1
        shared = weights * (1 - 1 / np.maximum(count, 1))
        ids = [e.vector.personal_ids for e in training]
        unseen = unseen + np.array([shared[some] @ shares(some) for some in ids])
        public = [
            v.personal_ids for v, spam in zip(reference.vectors, reference.spam, strict=True) if not spam
        ]
        good += float(np.mean([weights[some] @ shares(some) for some in public])) if public else 0.0
    weight = [e.weight for e in training]
    rarer = min(sum(e.weight for e in training if e.spam is side) for side in (False, True))
    mean = float(np.average(unseen, weights=weight)) if any(weight) else 0.0
    return level_of(mean, good, rarer, alpha * lifted)


@dataclass(frozen=True, slots=True)
class Lessons:
    """What a night trains on."""

    examples: list[Example]
    alpha: float  # the base's multiplier
    heard: NDArray[np.float32] | None = None  # how loud each bucket speaks (0..1); None: all alike
    lifted: float = 1.0  # share of plane.LIFTED


def counterweighted(mixture: Mixture, reference: Reference, architecture: Architecture) -> Lessons:
    """The mails to train on, and the base's multiplier.

    Own good mail alone is a first lesson: public spam stands on the other side, and public good mail keeps it from
    standing for more than this mailbox (without it, log-loss on the other public half: .23 instead of .07 after 100 ham
    of CSDMC, .39 instead of .10 after 100 of Enron, and the gate refused both). Own spam alone is none: it would teach
    the model that everything this mailbox's mail has in common is spam.
    """
    training = list(mixture.training)
    ham = sum(not e.spam for e in training)
    spam = len(training) - ham
    if not mixture.fresh:
        raise NothingToLearn("There are no new labels.")
    if ham < FEWEST_HAM:
        raise NothingToLearn(
            f"There is too little good mail to learn from ({ham} of at least {FEWEST_HAM}): spam alone would lift all mail."
        )
    if spam >= FEWEST_SPAM:
        return Lessons(training + rehearsed(training, reference), architecture.alpha)
    own = sum(e.weight for e in training if not e.spam)
    public = rehearsed(training, reference)
    count = {side: max(1, sum(e.spam is side for e in public)) for side in (False, True)}
    mass = {True: own, False: REHEARSED * own}
    training += [replace(e, weight=min(1.0, mass[e.spam] / count[e.spam])) for e in public]
    heard = (1 / (1 + OWN_HABIT * _share(mixture.training))).astype(np.float32)
    return Lessons(training, architecture.alpha * HAM_ONLY_ALPHA_FACTOR, heard, LIFTED_FIRST)


def _share(examples: Sequence[Example]) -> NDArray[np.float64]:
    """Of these mails, the share that has each bucket."""
    share = np.zeros(BUCKETS)
    for example in examples:
        share[example.vector.personal_ids] += 1 / len(examples)
    return share


def rehearsed(training: Sequence[Example], reference: Reference) -> list[Example]:
    """Half of the public mail, at `REHEARSED` of the own labels' weight: what a few hundred own mails have in common
    must not stand for good and junk everywhere. The other half is the pinned set of the examination.
    """
    vectors, spam = reference.vectors[::2], reference.spam[::2].tolist()
    weight = min(1.0, REHEARSED * sum(e.weight for e in training) / max(1, len(vectors)))
    return [
        Example(f"public\0{i}", vector, spam=is_spam, weight=weight, at=0.0, implicit=True)
        for i, (vector, is_spam) in enumerate(zip(vectors, spam, strict=True))
    ]


def carried(scale: Scale, of: ModelCard, alpha: float) -> Scale:
    """Where the base counts more (or less) than in that model, so do the logits, and a makes up for it."""
    a, b = scale
    return a * of.alpha / alpha, b


def on_scale(some: Bundle, shipped: ModelCard) -> Bundle:
    """A model as it would be told today. Before all nights had one scale each had its own, flatter as it learned: next to that
    a candidate would seem to think worse of rescued mail on which both agree.
    """
    card = some.card
    scale = carried(shipped.calibration, shipped, card.alpha)
    return replace(some, card=replace(card, calibration=scale, sureness=card.sure))


def sureness(mixture: Mixture, runtime: Runtime, parent: ModelCard, alpha: float) -> Scale:
    """Platt's a and b on held-out labels of the person, held near the parent's by `PRIOR_MASS` mails; a stays > 0."""
    prior = carried(parent.sure, parent, alpha)
    held = [e for e in mixture.held if not e.implicit]
    spam = np.array([e.spam for e in held], bool)
    if min(int(spam.sum()), int((~spam).sum())) < 10:
        return prior
    x = runtime.score_logits([e.vector for e in held])[1].astype(np.float64)
    return platt(x, spam, prior)


def platt(x: Numbers, spam: NDArray[np.bool_], prior: tuple[float, float]) -> tuple[float, float]:
    """Newton's method on the smoothed log-loss, with a Gaussian pull towards the prior."""
    count_spam, count_ham = int(spam.sum()), int((~spam).sum())
    target = np.where(spam, (count_spam + 1) / (count_spam + 2), 1 / (count_ham + 2))
    features = np.column_stack([x, np.ones(len(x))])
    start = np.array(prior, np.float64)
    weights = start.copy()
    pull = np.diag([PRIOR_MASS, PRIOR_MASS / 4])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(features @ weights, -40, 40)))
        gradient = features.T @ (p - target) + pull @ (weights - start)
        curvature = (features * (p * (1 - p))[:, None]).T @ features + pull
        step = np.linalg.solve(curvature, gradient)
        weights -= np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-6:
            break
    return float(np.clip(weights[0], 0.1, 10)), float(np.clip(weights[1], -10, 10))


# The float weights and Adagrad's sums lie beside the file, so that nights add up without rounding twice.


def write_state(folder: Path, state: State, dense: Dense, shipped: Path) -> None:
    touched = np.flatnonzero((state.weights != 0) | (state.accumulator > 1.01e-4)).astype(np.int32)
    np.savez_compressed(
        folder / bundle.WEIGHTS,
        ids=touched,
        weights=state.weights[touched],
        accumulator=state.accumulator[touched],
        dense=dense[0],
        base=np.array(bundle.digest(shipped / base_file.REFERENCE)),
    )


def read_state(parent: Bundle, shipped: Path) -> State | None:
    """None where there is none, or where it was learned on another base."""
    path = parent.folder / bundle.WEIGHTS
    if not path.is_file() or bundle.WEIGHTS not in parent.card.files:
        return None
    try:
        with np.load(path, allow_pickle=False) as data:
            if str(data["base"]) != bundle.digest(shipped / base_file.REFERENCE):
                return None
            weights = np.zeros(BUCKETS, np.float32)
            accumulator = np.full(BUCKETS, 1e-4, np.float32)
            weights[data["ids"]] = data["weights"]
            accumulator[data["ids"]] = data["accumulator"]
            return State(weights, accumulator)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ModelError("The weights beside the parent model are damaged.", "Train from scratch.") from error


__all__ = ["NothingToLearn", "Settings", "run"]
