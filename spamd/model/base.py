"""The shipped base as plain numbers, and the public reference set beside it (models/base/reference.npz).

The base is `words(x) + dense(x)`: a hashed table over the base ids, summed over 1/sqrt(n), and a linear model over
standardised dense features cut at +-2 (what a mail does not tell counts as the mean). The trainer puts these numbers
into each night's file unchanged; the daemon never needs them.

The reference set holds hashed vectors of public mail, spam and ham: the pinned set no night may do worse on, and the
counterweight where a person has labels of one class only. Numbers only, no text; read without pickle.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spamd.errors import ModelError
from spamd.message.vector import BUCKETS, DENSE
from spamd.model.bundle import WEIGHTS
from spamd.model.personal import UsualMail
from spamd.model.plane import DensePart, Plane, standardised
from spamd.model.runtime import Floats, Ints, MailVector

REFERENCE = "reference.npz"


@dataclass(frozen=True, slots=True)
class Base:
    """Parameters of the base. table: int8 with one scale, as TFLite keeps it; the last row is the pad."""

    table: NDArray[np.int8]
    scale: float
    mean: Floats
    deviation: Floats
    weights: Floats
    bias: float

    def weight_table(self) -> Floats:
        return self.table.astype(np.float32) * np.float32(self.scale)

    def logits(self, vectors: Sequence[MailVector]) -> Floats:
        """Without TFLite, for building and checking. One per vector."""
        table = self.weight_table()
        answer = np.array(
            [table[v.base_ids].sum() / np.sqrt(max(1, len(v.base_ids))) for v in vectors], np.float32
        ).reshape(-1)
        if len(vectors):
            answer += self.standardise(np.stack([v.dense for v in vectors])) @ self.weights
        return answer + np.float32(self.bias)

    def standardise(self, dense: Floats) -> Floats:
        return standardised(dense, self.mean, self.deviation)


@dataclass(frozen=True, slots=True)
class ReferenceVector:
    base_ids: Ints
    dense: Floats
    personal_ids: Ints


PUBLIC_WEIGHT = 50  # mails of the person that count as much as the public ones


@dataclass(frozen=True, slots=True)
class Reference:
    """The base, the public mail and what is usual in it."""

    base: Base
    vectors: tuple[ReferenceVector, ...]
    spam: NDArray[np.bool_]
    usual_ids: Ints
    usual_share: Floats
    usual_mean: Floats
    parts: tuple[DensePart, ...] = ()  # none: the dense part cannot be refitted

    @property
    def plane(self) -> Plane:
        dense = np.array([v.dense for v in self.vectors], np.float32).reshape(-1, len(self.base.mean))
        good = self.base.standardise(dense[~self.spam])
        return Plane(self.base.mean, self.base.deviation, self.parts, _mean(good))

    def usual(self, weight: int = PUBLIC_WEIGHT) -> UsualMail:
        """A fresh UsualMail that starts from public mail; weight: mails of the person that count as much."""
        return UsualMail.from_shipped(self.usual_ids, self.usual_share, self.usual_mean, weight)


def save(path: Path, reference: Reference) -> None:
    """Dense features as int8 steps of 1/32 deviation (127: not known), ids as packed differences."""
    base = reference.base
    z = (np.stack([v.dense for v in reference.vectors]) - base.mean) / base.deviation
    steps = np.clip(np.round(z * 32), -126, 126)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        version=np.array(1),
        base_table=base.table,
        base_scale=np.array(base.scale),
        dense_mean=base.mean,
        dense_deviation=base.deviation,
        dense_weights=base.weights,
        base_bias=np.array(base.bias),
        spam=reference.spam,
        dense=np.where(np.isnan(steps), 127, steps).astype(np.int8),
        **_packed("base", [v.base_ids for v in reference.vectors]),  # type: ignore[arg-type]
        **_packed("personal", [v.personal_ids for v in reference.vectors]),  # type: ignore[arg-type]
        usual_ids=reference.usual_ids,
        usual_share=reference.usual_share.astype(np.float16),
        usual_mean=reference.usual_mean.astype(np.float16),
        **_parts_packed(reference.parts),  # type: ignore[arg-type]
    )
    path.write_bytes(buffer.getvalue())


def usual(folder: Path) -> UsualMail:
    """As load(folder).usual(), without the memory for the vectors. ModelError if the file is missing or damaged."""
    try:
        with np.load(folder / REFERENCE, allow_pickle=False) as data:
            if int(data["version"]) != 1:
                raise ValueError("version")
            share, mean = data["usual_share"].astype(np.float32), data["usual_mean"].astype(np.float32)
            return UsualMail.from_shipped(data["usual_ids"].astype(np.int32), share, mean, PUBLIC_WEIGHT)
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged() from error


def plane(folder: Path) -> Plane:
    """As load(folder).plane, without the vectors. ModelError if the file is missing or damaged."""
    try:
        with np.load(folder / REFERENCE, allow_pickle=False) as data:
            if int(data["version"]) != 1:
                raise ValueError("version")
            mean, deviation = data["dense_mean"], data["dense_deviation"]
            good = standardised(
                _dense(data["dense"][~data["spam"].astype(bool)], mean, deviation), mean, deviation
            )
            return Plane(mean, deviation, _parts_unpacked(data, len(mean)), _mean(good))
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged() from error


def _dense(steps: NDArray[np.int8], mean: Floats, deviation: Floats) -> Floats:
    dense: Floats = np.where(steps == 127, np.nan, steps.astype(np.float32) / 32 * deviation + mean).astype(
        np.float32
    )
    return dense


def _mean(rows: Floats) -> Floats:
    mean: Floats = rows.mean(axis=0) if len(rows) else np.zeros(rows.shape[1], np.float32)
    return mean


def _damaged() -> ModelError:
    return ModelError("The shipped reference set is missing or damaged.", "Install spamd again.")


def load(folder: Path) -> Reference:
    """ModelError if the file is missing or damaged."""
    try:
        with np.load(folder / REFERENCE, allow_pickle=False) as data:
            if int(data["version"]) != 1:
                raise ValueError("version")
            base = Base(
                data["base_table"],
                float(data["base_scale"]),
                data["dense_mean"],
                data["dense_deviation"],
                data["dense_weights"],
                float(data["base_bias"]),
            )
            dense = _dense(data["dense"], base.mean, base.deviation)
            rows = zip(_unpacked("base", data), dense, _unpacked("personal", data), strict=True)
            return Reference(
                base,
                tuple(ReferenceVector(words, row, own) for words, row, own in rows),
                data["spam"].astype(bool),
                data["usual_ids"].astype(np.int32),
                data["usual_share"].astype(np.float32),
                data["usual_mean"].astype(np.float32),
                _parts_unpacked(data, len(data["dense_mean"])),
            )
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged() from error


def personal_weights(folder: Path) -> Floats:
    """The personal part of a bundle, one weight per bucket; zeros where it keeps none (the shipped model)."""
    weights = np.zeros(BUCKETS, np.float32)
    path = folder / WEIGHTS
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as data:
                weights[data["ids"]] = data["weights"]
        except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
            raise ModelError("The weights beside the model are damaged.", "Train from scratch.") from error
    return weights


def personal_dense(folder: Path) -> Floats:
    """What a bundle's personal part adds to the logit per standardised dense feature; zeros where it keeps none."""
    path = folder / WEIGHTS
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as data:
                if "dense" in data:
                    weights: Floats = data["dense"].astype(np.float32)
                    if weights.shape != (DENSE,):
                        raise ValueError("length")
                    return weights
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ModelError("The weights beside the model are damaged.", "Train from scratch.") from error
    return np.zeros(DENSE, np.float32)


def _parts_packed(parts: Sequence[DensePart]) -> dict[str, NDArray[np.generic]]:
    """The upper triangles as float16 (entries lie within +-CLIP**2/4)."""
    if not parts:
        return {}
    upper = np.triu_indices(len(parts[0].curvature))
    return {
        "part_weights": np.stack([part.weights for part in parts]).astype(np.float32),
        "part_numbers": np.array([(part.bias, part.share, part.mass) for part in parts], np.float64),
        "part_curvature": np.stack([part.curvature[upper] for part in parts]).astype(np.float16),
    }


def _parts_unpacked(data: np.lib.npyio.NpzFile, features: int) -> tuple[DensePart, ...]:
    if "part_weights" not in data:
        return ()
    upper = np.triu_indices(features + 1)
    parts = []
    rows = zip(data["part_weights"], data["part_numbers"], data["part_curvature"], strict=True)
    for weights, (bias, share, mass), triangle in rows:
        curvature = np.zeros((features + 1, features + 1), np.float32)
        curvature[upper] = triangle
        curvature += np.triu(curvature, 1).T
        parts.append(DensePart(weights.astype(np.float32), float(bias), float(share), curvature, float(mass)))
    return tuple(parts)


def _packed(name: str, parts: list[Ints]) -> dict[str, NDArray[np.generic]]:
    """Sorted ids as differences: the low bytes and the (mostly zero) high ones apart, which compresses well."""
    steps = np.concatenate([np.diff(np.sort(part), prepend=0) for part in parts]).astype(np.uint32)
    return {
        f"{name}_low": (steps & 255).astype(np.uint8),
        f"{name}_high": (steps >> 8).astype(np.uint16),
        f"{name}_length": np.array([len(part) for part in parts], np.uint16),
    }


def _unpacked(name: str, data: np.lib.npyio.NpzFile) -> list[Ints]:
    steps = data[f"{name}_low"].astype(np.int64) + (data[f"{name}_high"].astype(np.int64) << 8)
    ends = np.cumsum(data[f"{name}_length"].astype(np.int64))
    if len(ends) and ends[-1] != len(steps):
        raise ValueError("length")
    return [np.cumsum(part).astype(np.int32) for part in np.split(steps, ends[:-1])]
