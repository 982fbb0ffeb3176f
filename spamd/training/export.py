"""Base and personal part in one TFLite file, dynamic-range quantised."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from spamd.message.vector import LETTERS, SPREAD
from spamd.model.base import Base
from spamd.model.plane import CLIP
from spamd.model.runtime import Floats

DIGIT = 254.0  # how much finer the second digit of a personal weight is


class Combined(tf.Module):  # type: ignore[misc]
    """(base logit, alpha * base + personal) from the three inputs of model/runtime.py."""

    def __init__(
        self,
        base: Base,
        personal: keras.Model | Floats | None,
        alpha: float,
        dense: tuple[Floats, float] | None = None,
    ) -> None:
        """personal: a Keras model, or one weight per bucket, or nothing (the shipped base).

        dense: weights per standardised dense feature, and an offset, that the personal part adds besides.
        """
        super().__init__()
        self.own: tf.Variable | None = None
        if isinstance(personal, np.ndarray):
            # Two digits of one number per row: what rounding to int8 leaves over stands, enlarged, beside it. One strong
            # weight would otherwise make the steps of all others too coarse (measured: 0.07 logits).
            table = np.append(personal, 0).astype(np.float32)
            step = float(np.abs(table).max()) / 127 or 1.0
            coarse = (np.round(table / step) * step).astype(np.float32)
            self.own_pad = len(personal)
            self.own = tf.Variable(np.stack([coarse, (table - coarse) * DIGIT], 1), name="personal_table")
            personal = None
        self.pad = len(base.table) - 1
        self.table = tf.Variable(base.weight_table()[:, None], name="base_table")
        self.mean = tf.constant(base.mean)
        self.deviation = tf.constant(base.deviation)
        own_dense, self.offset = dense or (np.zeros_like(base.weights), 0.0)
        # Of the base and of the personal part, in one product.
        self.weights = tf.constant(np.stack([base.weights, own_dense.astype(np.float32)], 1))
        self.bias = tf.constant(base.bias, tf.float32)
        self.alpha = alpha
        self.personal = personal
        # Keras' variables are saved only if this module holds them itself; else the file has garbage in their place.
        self.kept = [variable.value for variable in personal.variables] if personal is not None else []

    def standardised(self, dense: Any) -> Any:
        known = tf.where(tf.equal(dense, dense), dense, self.mean[None, :])
        return tf.clip_by_value((known - self.mean) / self.deviation, -CLIP, CLIP)

    def logits(self, base_ids: Any, dense: Any, personal_ids: Any) -> Any:
        z = self.standardised(dense)
        shape = tf.matmul(z, self.weights)
        base = _sum(tf.gather(self.table, base_ids), base_ids, self.pad) + shape[:, :1] + self.bias
        total = self.alpha * base + shape[:, 1:] + self.offset
        if self.own is not None:
            digits = _own_sum(tf.gather(self.own, personal_ids), personal_ids, self.own_pad)
            total += tf.reduce_sum(digits * tf.constant([[1.0, 1 / DIGIT]]), 1, keepdims=True)
        elif self.personal is not None:
            total += self.personal([personal_ids, z])
        else:  # the file has three inputs in any case
            total += 0.0 * tf.cast(tf.reduce_sum(personal_ids, 1, keepdims=True), tf.float32)
        return tf.concat([base, total], 1)

    def function(self, batch: int | None = None) -> Any:
        features = int(self.mean.shape[0])
        signature = [
            tf.TensorSpec([batch, None], tf.int32, name="base_ids"),
            tf.TensorSpec([batch, features], tf.float32, name="dense"),
            tf.TensorSpec([batch, None], tf.int32, name="personal_ids"),
        ]

        def call(base_ids: Any, dense: Any, personal_ids: Any) -> Any:
            return self.logits(base_ids, dense, personal_ids)

        return tf.function(call, input_signature=signature)


def _own_sum(rows: Any, ids: Any, pad: int) -> Any:
    """architectures.shared_sum in half the steps: the row of the pad number is 0 here."""
    letters = tf.reduce_sum(rows * tf.cast(ids >= LETTERS, tf.float32)[:, :, None], 1)
    others = tf.reduce_sum(rows, 1) - letters
    count = tf.reduce_sum(tf.cast(ids < pad, tf.float32), 1, keepdims=True)
    count_others = tf.reduce_sum(tf.cast(ids < LETTERS, tf.float32), 1, keepdims=True)
    return SPREAD * (
        others * tf.math.rsqrt(tf.maximum(count_others, 1.0))
        + letters * tf.math.rsqrt(tf.maximum(count - count_others, 1.0))
    )


def _sum(rows: Any, ids: Any, pad: int) -> Any:
    count = tf.reduce_sum(tf.cast(ids < pad, tf.float32), 1, keepdims=True)
    return tf.reduce_sum(rows[:, :, 0], 1, keepdims=True) * tf.math.rsqrt(tf.maximum(count, 1.0))


def to_tflite(combined: Combined) -> bytes:
    """The file's bytes. Weights int8 with one scale per tensor: tflite-runtime 2.14 must run the dense layers too."""
    concrete = combined.function(batch=1).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], combined)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    content: bytes = converter.convert()
    return content


def padded(parts: list[Any], pad: int, width: int | None = None) -> Any:
    """Ragged id lists as one int32 matrix, filled up with the pad number."""
    width = width or max([1, *(len(part) for part in parts)])
    rows = np.full((len(parts), width), pad, np.int32)
    for row, part in zip(rows, parts, strict=True):
        row[: min(width, len(part))] = part[:width]
    return rows
