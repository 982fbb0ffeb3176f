"""The base's numbers and how a person's mail may move them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from spamd import paths
from spamd.errors import ModelError
from spamd.message.vector import DENSE, vectorise
from spamd.model import base as base_file
from spamd.model.base import Reference
from spamd.model.bundle import WEIGHTS
from tests.unit.model.made import MODERN_HAM


@pytest.fixture(scope="module")
def reference() -> Reference:
    return base_file.load(paths.shipped_model())


@pytest.fixture(scope="module")
def own() -> np.ndarray:
    return np.stack([vectorise(path.read_bytes()).dense for path in MODERN_HAM])


def shift(reference: Reference, dense: np.ndarray, change: tuple[np.ndarray, float]) -> np.ndarray:
    return reference.base.standardise(dense) @ change[0] + change[1]


def labels(count: int, spam: bool = False) -> tuple[np.ndarray, np.ndarray]:
    return np.full(count, spam), np.ones(count, np.float32)


def test_own_good_mail_moves_such_mail_and_public_spam_little(reference: Reference, own: np.ndarray) -> None:
    change = reference.refit(own[::2], *labels(len(own[::2])))
    unseen = shift(reference, own[1::2], change).mean()
    public_spam = np.stack(
        [v.dense for v, spam in zip(reference.vectors, reference.spam, strict=True) if spam]
    )
    assert unseen < -0.1
    assert shift(reference, public_spam, change).mean() > 0.5 * unseen


def test_own_spam_moves_the_other_way(reference: Reference, own: np.ndarray) -> None:
    change = reference.refit(own[::2], *labels(len(own[::2]), spam=True))
    assert shift(reference, own[1::2], change).mean() > 0.1


def test_a_refit_follows_from_its_labels_alone(reference: Reference, own: np.ndarray) -> None:
    """Taking a label away is exact: the order does not count, and without labels nothing has moved."""
    some = own[:30]
    first, offset = reference.refit(some, *labels(30))
    again, other = reference.refit(some[::-1], *labels(30))
    np.testing.assert_allclose(first, again, atol=1e-6)
    assert offset == pytest.approx(other, abs=1e-6)
    nothing, zero = reference.refit(np.zeros((0, DENSE), np.float32), *labels(0))
    assert not nothing.any() and zero == 0
    silent, zero = reference.refit(some, np.zeros(30, bool), np.zeros(30, np.float32))
    assert not silent.any() and zero == 0


def test_few_mails_move_less_than_many(reference: Reference, own: np.ndarray) -> None:
    few = np.linalg.norm(reference.refit(own[:5], *labels(5))[0])
    many = np.linalg.norm(reference.refit(np.tile(own[:5], (20, 1)), *labels(100))[0])
    assert 0 < few < many


def test_what_public_mail_never_shows_is_not_moved(reference: Reference, own: np.ndarray) -> None:
    part = reference.parts[0]
    hollow = part.curvature.copy()
    hollow[3, :] = hollow[:, 3] = 0
    alone = dataclasses.replace(reference, parts=(dataclasses.replace(part, curvature=hollow),))
    assert alone.refit(own, *labels(len(own)))[0][3] == 0


def test_the_file_keeps_what_a_refit_needs(reference: Reference, own: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / base_file.REFERENCE
    base_file.save(path, reference)
    loaded = base_file.load(tmp_path)
    assert len(loaded.parts) == len(reference.parts) == 2
    expected, offset = reference.refit(own, *labels(len(own)))
    change, other = loaded.refit(own, *labels(len(own)))
    np.testing.assert_allclose(change, expected, atol=1e-3)
    assert other == pytest.approx(offset, abs=1e-3)


def test_a_file_without_it_still_loads(reference: Reference, own: np.ndarray, tmp_path: Path) -> None:
    base_file.save(tmp_path / base_file.REFERENCE, dataclasses.replace(reference, parts=()))
    loaded = base_file.load(tmp_path)
    assert loaded.parts == ()
    assert not loaded.refit(own, *labels(len(own)))[0].any()


def test_weights_of_an_older_night_have_no_dense_part(tmp_path: Path) -> None:
    assert not base_file.personal_dense(tmp_path).any()
    np.savez(tmp_path / WEIGHTS, ids=np.array([1]), weights=np.array([0.5]))
    assert base_file.personal_dense(tmp_path).shape == (DENSE,)
    np.savez(tmp_path / WEIGHTS, dense=np.ones(3, np.float32))
    with pytest.raises(ModelError):
        base_file.personal_dense(tmp_path)
