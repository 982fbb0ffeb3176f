"""What the personal part may look like: one function and one row each. A versioned name never changes its meaning.

Each function builds a Keras model from padded personal ids (int32 [batch, length]; the pad number is the bucket count)
and dense features (float32 [batch, features], standardised by the base, NaN-free) to one logit [batch, 1]. The base is
added outside. Ids come as a sorted set: what reads them as a sequence (CNN, BiLSTM) is here to be compared, not because
the order says much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from spamd.message.vector import LETTERS, SPREAD

FOLDED_BUCKETS = 2**16  # the wider embeddings share buckets: 2^18 x 16 would be 4 MB
SEQUENCE = 256  # ids the sequence models read


@dataclass(frozen=True, slots=True)
class Shape:
    buckets: int
    dense: int


@dataclass(frozen=True, slots=True)
class Architecture:
    name: str
    build: Callable[[Shape], keras.Model]
    sparse: bool  # a single table of weights, fitted by sparse Adagrad steps (fit.py)
    learning_rate: float
    epochs: int
    alpha: float  # of the base beside it


@keras.saving.register_keras_serializable("spamd")
class RootMean(keras.layers.Layer):  # type: ignore[misc]
    """Sum of the rows of real ids, over the square root of their number."""

    def __init__(self, pad: int, **rest: Any) -> None:
        super().__init__(**rest)
        self.pad = pad

    def call(self, ids: Any, rows: Any) -> Any:
        real = tf.cast(ids < self.pad, tf.float32)
        count = tf.reduce_sum(real, 1, keepdims=True)
        return tf.reduce_sum(rows * real[:, :, None], 1) * tf.math.rsqrt(tf.maximum(count, 1.0))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pad": self.pad}


def shared_sum(rows: Any, ids: Any, pad: int) -> Any:
    """Of rows (batch, ids, width), each counting as message.vector.shares says; `pad` counts nothing."""
    letters = tf.cast(tf.logical_and(ids >= LETTERS, ids < pad), tf.float32)
    others = tf.cast(ids < min(LETTERS, pad), tf.float32)
    total = 0.0
    for half in (others, letters):
        count = tf.reduce_sum(half, 1, keepdims=True)
        total += tf.reduce_sum(rows * half[:, :, None], 1) * tf.math.rsqrt(tf.maximum(count, 1.0))
    return total * SPREAD


@keras.saving.register_keras_serializable("spamd")
class Shares(keras.layers.Layer):  # type: ignore[misc]
    """Sum of the rows of real ids, each counting as message.vector.shares says: SPREAD / sqrt(n of its half)."""

    def __init__(self, pad: int, **rest: Any) -> None:
        super().__init__(**rest)
        self.pad = pad

    def call(self, ids: Any, rows: Any) -> Any:
        return shared_sum(rows, ids, self.pad)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pad": self.pad}


@keras.saving.register_keras_serializable("spamd")
class Fold(keras.layers.Layer):  # type: ignore[misc]
    """Ids into fewer buckets; the pad number becomes the new bucket count."""

    def __init__(self, pad: int, into: int, length: int = 0, **rest: Any) -> None:
        super().__init__(**rest)
        self.pad, self.into, self.length = pad, into, length

    def call(self, ids: Any) -> Any:
        folded = tf.where(ids < self.pad, tf.math.floormod(ids, self.into), self.into)
        if not self.length:
            return folded
        room = tf.pad(folded, [[0, 0], [0, self.length]], constant_values=self.into)[:, : self.length]
        return tf.reshape(room, [-1, self.length])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pad": self.pad, "into": self.into, "length": self.length}


def _inputs(shape: Shape) -> tuple[Any, Any]:
    return (
        keras.Input((None,), dtype="int32", name="personal_ids"),
        keras.Input((shape.dense,), dtype="float32", name="dense"),
    )


def _table(rows: int, width: int, name: str, initial: str = "uniform") -> keras.layers.Embedding:
    return keras.layers.Embedding(rows + 1, width, embeddings_initializer=initial, name=name)


def hashed_linear(shape: Shape) -> keras.Model:
    """One weight per bucket, each counting as message.vector.shares says."""
    ids, dense = _inputs(shape)
    logit = Shares(shape.buckets, name="sum")(ids, _table(shape.buckets, 1, "table", "zeros")(ids))
    return keras.Model([ids, dense], logit, name="hashed_linear")


def fasttext(shape: Shape) -> keras.Model:
    """Mean of 16-wide embeddings, one small hidden layer."""
    ids, dense = _inputs(shape)
    folded = Fold(shape.buckets, FOLDED_BUCKETS)(ids)
    mean = RootMean(FOLDED_BUCKETS)(folded, _table(FOLDED_BUCKETS, 16, "table")(folded))
    hidden = keras.layers.Dense(32, activation="relu", name="hidden")(
        keras.layers.Concatenate()([mean, dense])
    )
    return keras.Model([ids, dense], keras.layers.Dense(1, name="logit")(hidden), name="fasttext")


def wide_and_deep(shape: Shape) -> keras.Model:
    """The linear model beside a deep one on folded embeddings."""
    ids, dense = _inputs(shape)
    wide = RootMean(shape.buckets)(ids, _table(shape.buckets, 1, "wide", "zeros")(ids))
    folded = Fold(shape.buckets, FOLDED_BUCKETS)(ids)
    deep = RootMean(FOLDED_BUCKETS)(folded, _table(FOLDED_BUCKETS, 8, "deep")(folded))
    deep = keras.layers.Dense(16, activation="relu", name="hidden")(keras.layers.Concatenate()([deep, dense]))
    return keras.Model(
        [ids, dense],
        keras.layers.Add()([wide, keras.layers.Dense(1, name="logit")(deep)]),
        name="wide_and_deep",
    )


def cnn(shape: Shape) -> keras.Model:
    """A small convolution over the first ids, largest answer of each filter."""
    ids, dense = _inputs(shape)
    folded = Fold(shape.buckets, FOLDED_BUCKETS, SEQUENCE)(ids)
    rows = _table(FOLDED_BUCKETS, 8, "table")(folded)
    peaks = keras.layers.GlobalMaxPooling1D()(keras.layers.Conv1D(16, 3, activation="relu")(rows))
    return keras.Model(
        [ids, dense],
        keras.layers.Dense(1, name="logit")(keras.layers.Concatenate()([peaks, dense])),
        name="cnn",
    )


def bilstm(shape: Shape) -> keras.Model:
    """Two small LSTMs over the first ids in groups of sixteen, one from each end; unrolled, so that TFLite can run it."""
    ids, dense = _inputs(shape)
    folded = Fold(shape.buckets, FOLDED_BUCKETS, SEQUENCE)(ids)
    rows = keras.layers.AveragePooling1D(16)(_table(FOLDED_BUCKETS, 8, "table")(folded))
    read = keras.layers.Bidirectional(keras.layers.LSTM(8, unroll=True))(rows)
    return keras.Model(
        [ids, dense],
        keras.layers.Dense(1, name="logit")(keras.layers.Concatenate()([read, dense])),
        name="bilstm",
    )


ARCHITECTURES = {
    row.name: row
    for row in (
        Architecture("hashed_linear.v1", hashed_linear, sparse=True, learning_rate=0.1, epochs=2, alpha=0.7),
        Architecture("fasttext.v1", fasttext, sparse=False, learning_rate=1e-3, epochs=3, alpha=0.7),
        Architecture(
            "wide_and_deep.v1", wide_and_deep, sparse=False, learning_rate=1e-3, epochs=3, alpha=0.7
        ),
        Architecture("cnn.v1", cnn, sparse=False, learning_rate=1e-3, epochs=3, alpha=0.7),
        Architecture("bilstm.v1", bilstm, sparse=False, learning_rate=1e-3, epochs=3, alpha=0.7),
    )
}
SHIPPED = "hashed_linear.v1"
