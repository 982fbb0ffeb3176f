"""Fits the personal part on the frozen base, with Keras.

The shipped architecture is one sparse table: each step touches a few thousand of its 262,144 rows, so the step gathers,
and applies, only those (Adagrad's own sparse kernel). The others go through an ordinary Keras loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from spamd.message.vector import shares
from spamd.model.base import Base, Reference
from spamd.model.plane import Turned
from spamd.model.runtime import MailVector
from spamd.training.architectures import Architecture, Shape
from spamd.training.dataset import SMOOTHING, Example
from spamd.training.export import padded

INITIAL_ACCUMULATOR = 1e-4
L2 = 1e-4  # on touched weights only
BATCH = 8

Progress = Callable[[int, int], None]
Dense = tuple[NDArray[np.float32], float]  # a weight per standardised dense feature, and an offset


@dataclass(frozen=True, slots=True)
class State:
    """Personal weights and optimiser state of a sparse architecture, one number per bucket."""

    weights: NDArray[np.float32]
    accumulator: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fitted:
    model: keras.Model
    state: State | None  # None for architectures that are fitted anew each time
    dense: Dense


def turned(reference: Reference, examples: Sequence[Example]) -> Turned:
    """The personal change of the base's dense part, from the person's own labels."""
    return reference.plane.refit(
        np.array([e.vector.dense for e in examples], np.float32).reshape(-1, len(reference.base.mean)),
        np.array([e.spam for e in examples], bool),
        np.array([e.weight for e in examples], np.float32),
    )


def prior_of(base: Base, vectors: Sequence[MailVector], alpha: float, dense: Dense) -> NDArray[np.float32]:
    """Logits below the personal table: the base, and how the person's mail moved its dense part."""
    answer: NDArray[np.float32] = (alpha * base.logits(vectors)).astype(np.float32)
    if len(vectors):
        answer += base.standardise(np.stack([v.dense for v in vectors])) @ dense[0] + np.float32(dense[1])
    return answer


def fit(
    architecture: Architecture,
    base: Base,
    buckets: int,
    examples: Sequence[Example],
    *,
    state: State | None = None,
    alpha: float | None = None,
    dense: Dense | None = None,
    heard: NDArray[np.float32] | None = None,
    epochs: int | None = None,
    batch: int = BATCH,
    seed: int = 0,
    progress: Progress = lambda done, of: None,
) -> Fitted:
    """Train on these examples, shuffled anew each epoch. Calls progress(done, of) in mails.

    dense: moves the base (refitted). heard: how loud each bucket speaks while a sparse architecture learns (above 0; None: 1).
    """
    dense = dense or (np.zeros(len(base.mean), np.float32), 0.0)
    keras.utils.set_random_seed(seed)
    model = architecture.build(Shape(buckets, len(base.mean)))
    alpha = architecture.alpha if alpha is None else alpha
    epochs = architecture.epochs if epochs is None else epochs
    prior = prior_of(base, [e.vector for e in examples], alpha, dense)
    targets = np.array([1 - SMOOTHING if e.spam else SMOOTHING for e in examples], np.float32)
    weights = np.array([e.weight for e in examples], np.float32)
    rng = np.random.default_rng(seed)
    if architecture.sparse:
        return _fit_sparse(
            model,
            architecture,
            buckets,
            examples,
            state,
            prior,
            targets,
            weights,
            heard,
            epochs,
            batch,
            rng,
            progress,
            dense,
        )
    _fit_dense(model, architecture, base, buckets, examples, prior, targets, weights, epochs, rng, progress)
    return Fitted(model, None, dense)


def _fit_sparse(
    model: keras.Model,
    architecture: Architecture,
    buckets: int,
    examples: Sequence[Example],
    state: State | None,
    prior: Any,
    targets: Any,
    weights: Any,
    heard: Any,
    epochs: int,
    batch: int,
    rng: np.random.Generator,
    progress: Progress,
    dense: Dense,
) -> Fitted:
    layer = model.get_layer("table")
    table = np.zeros((buckets + 1, 1), np.float32)
    accumulated = np.full((buckets + 1, 1), INITIAL_ACCUMULATOR, np.float32)
    if state is not None:
        table[:buckets, 0] = state.weights if heard is None else state.weights / heard
        accumulated[:buckets, 0] = state.accumulator
    layer.set_weights([table])
    variable = layer.embeddings.value
    accumulator = tf.Variable(accumulated)
    rate = architecture.learning_rate

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([None], tf.float32),
        ]
    )
    def run(flat: Any, counts: Any, ends: Any, priors: Any, wanted: Any, mass: Any) -> None:
        """A chunk of mails, `batch` at a time."""
        count = tf.shape(priors)[0]
        for start in tf.range(0, count, batch):
            stop = tf.minimum(start + batch, count)
            first, last = tf.cast(ends[start], tf.int32), tf.cast(ends[stop], tf.int32)
            ids, values = flat[first:last], counts[first:last]
            lengths = tf.cast(ends[start + 1 : stop + 1] - ends[start:stop], tf.int32)
            owner = tf.repeat(tf.range(stop - start), lengths)
            unique, where = tf.unique(ids)
            rows = tf.gather(variable, unique)[:, 0]
            with tf.GradientTape() as tape:
                tape.watch(rows)
                sums = tf.math.unsorted_segment_sum(tf.gather(rows, where) * values, owner, stop - start)
                logits = priors[start:stop] + sums
                losses = tf.nn.sigmoid_cross_entropy_with_logits(wanted[start:stop], logits)
                loss = tf.reduce_sum(losses * mass[start:stop]) + 0.5 * L2 * tf.reduce_sum(rows * rows)
            gradient = tape.gradient(loss, rows)
            # Adagrad divides by what it has seen: a token that only occurs in weak evidence would take whole steps. Such
            # steps are therefore measured by what a full label would have brought.
            residual = tf.sigmoid(logits) - wanted[start:stop]
            whole = tf.math.unsorted_segment_sum(tf.gather(residual, owner) * values, where, tf.size(unique))
            missing = tf.maximum(tf.square(whole) - tf.square(gradient), 0.0)
            tf.raw_ops.ResourceScatterAdd(
                resource=accumulator.handle, indices=unique, updates=missing[:, None]
            )
            tf.raw_ops.ResourceSparseApplyAdagradV2(
                var=variable.handle,
                accum=accumulator.handle,
                lr=rate,
                epsilon=1e-7,
                grad=gradient[:, None],
                indices=unique,
            )

    chunk = batch * 32
    total = len(examples) * epochs
    done = 0
    for _ in range(epochs):
        order = rng.permutation(len(examples))
        for start in range(0, len(order), chunk):
            part = order[start : start + chunk]
            ids = [examples[i].vector.personal_ids for i in part]
            ends = np.cumsum([0, *(len(x) for x in ids)], dtype=np.int64)
            flat = np.concatenate(ids).astype(np.int32)
            counts = np.concatenate([shares(x) for x in ids])
            if heard is not None:
                counts *= heard[flat]
            run(*(tf.constant(x) for x in (flat, counts, ends, prior[part], targets[part], weights[part])))
            done += len(part)
            progress(done, total)
    learned = layer.get_weights()[0]
    learned[buckets] = 0.0
    if heard is not None:
        learned[:buckets, 0] *= heard
    layer.set_weights([learned])
    return Fitted(model, State(learned[:buckets, 0].copy(), accumulator.numpy()[:buckets, 0].copy()), dense)


def _fit_dense(
    model: keras.Model,
    architecture: Architecture,
    base: Base,
    buckets: int,
    examples: Sequence[Example],
    prior: Any,
    targets: Any,
    weights: Any,
    epochs: int,
    rng: np.random.Generator,
    progress: Progress,
    batch: int = 32,
) -> None:
    optimiser = keras.optimizers.Adam(architecture.learning_rate)
    optimiser.build(model.trainable_variables)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(ids: Any, dense: Any, priors: Any, wanted: Any, mass: Any) -> None:
        with tf.GradientTape() as tape:
            logits = priors + model([ids, dense], training=True)[:, 0]
            losses = tf.nn.sigmoid_cross_entropy_with_logits(wanted, logits)
            loss = tf.reduce_mean(losses * mass)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimiser.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    total, done = len(examples) * epochs, 0
    for _ in range(epochs):
        order = rng.permutation(len(examples))
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            vectors = [examples[i].vector for i in part]
            ids = padded([v.personal_ids for v in vectors], buckets)
            dense = base.standardise(np.stack([v.dense for v in vectors]))
            step(*(tf.constant(x) for x in (ids, dense, prior[part], targets[part], weights[part])))
            done += len(part)
            progress(done, total)


def logits(
    fitted: Fitted, base: Base, buckets: int, vectors: Sequence[Any], alpha: float
) -> NDArray[np.float32]:
    """Keras' own answer, to compare the exported file with."""
    if not vectors:
        return np.zeros(0, np.float32)
    parts = []
    for start in range(0, len(vectors), 128):
        some = vectors[start : start + 128]
        ids = padded([v.personal_ids for v in some], buckets)
        dense = base.standardise(np.stack([v.dense for v in some]))
        parts.append(np.asarray(fitted.model([ids, dense]))[:, 0])
    answer: NDArray[np.float32] = prior_of(base, vectors, alpha, fitted.dense) + np.concatenate(parts)
    return answer
