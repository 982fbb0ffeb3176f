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
from spamd.model.plane import LIFTED, Turned, level
from tests.unit.model.made import MODERN_HAM


@pytest.fixture(scope="module")
def reference() -> Reference:
    return base_file.load(paths.shipped_model())


@pytest.fixture(scope="module")
def own() -> np.ndarray:
    return np.stack([vectorise(path.read_bytes()).dense for path in MODERN_HAM])


def shift(reference: Reference, dense: np.ndarray, change: Turned) -> np.ndarray:
    return reference.base.standardise(dense) @ change.weights + change.offset


def labels(count: int, spam: bool = False) -> tuple[np.ndarray, np.ndarray]:
    return np.full(count, spam), np.ones(count, np.float32)


def test_own_good_mail_moves_such_mail_and_public_spam_little(reference: Reference, own: np.ndarray) -> None:
    change = reference.plane.refit(own[::2], *labels(len(own[::2])))
    unseen = shift(reference, own[1::2], change).mean()
    public_spam = np.stack(
        [v.dense for v, spam in zip(reference.vectors, reference.spam, strict=True) if spam]
    )
    assert unseen < -0.1
    assert shift(reference, public_spam, change).mean() > 0.5 * unseen


def test_own_spam_moves_the_other_way(reference: Reference, own: np.ndarray) -> None:
    change = reference.plane.refit(own[::2], *labels(len(own[::2]), spam=True))
    assert shift(reference, own[1::2], change).mean() > 0.1


@pytest.mark.parametrize("spam", [False, True])
def test_what_is_taught_of_unlearned_mail_is_known(reference: Reference, own: np.ndarray, spam: bool) -> None:
    few = own[::8]
    change = reference.plane.refit(few, *labels(len(few), spam=spam))
    for number in (0, 5):
        rest = np.delete(few, number, 0)
        without = reference.plane.refit(rest, *labels(len(rest), spam=spam))
        alone = shift(reference, few[number], without)
        assert change.unseen[number] == pytest.approx(alone, rel=0.1, abs=0.02)
        learned = shift(reference, few[number], change)
        assert learned > alone if spam else learned < alone
    good = np.stack([v.dense for v, junk in zip(reference.vectors, reference.spam, strict=True) if not junk])
    assert change.good == pytest.approx(shift(reference, good, change).mean(), abs=1e-4)


def test_labels_of_one_class_do_not_tell_where_mail_lies() -> None:
    assert level(-1.0, -1.0, 0, 1.0) == 1.0, "what the labels did to all such mail is taken back"
    assert level(-1.0, -0.2, 0, 1.0) == pytest.approx(LIFTED + 0.2), (
        "but no other good mail may be lifted far"
    )
    assert level(-1.0, LIFTED + 0.1, 0, 1.0) == 0.0
    assert level(1.0, LIFTED + 0.1, 0, 1.0) == -1.0, "lowering is no danger"
    faded = [level(-1.0, -1.0, rarer, 1.0) for rarer in (0, 2, 5, 8, 50)]
    assert faded[0] > faded[1] > faded[2] > faded[3] == faded[4] == 0


def test_a_refit_follows_from_its_labels_alone(reference: Reference, own: np.ndarray) -> None:
    """Taking a label away is exact: the order does not count, and without labels nothing has moved."""
    some = own[:30]
    first = reference.plane.refit(some, *labels(30))
    again = reference.plane.refit(some[::-1], *labels(30))
    np.testing.assert_allclose(first.weights, again.weights, atol=1e-6)
    assert first.offset == pytest.approx(again.offset, abs=1e-6)
    for nothing in (
        reference.plane.refit(np.zeros((0, DENSE), np.float32), *labels(0)),
        reference.plane.refit(some, np.zeros(30, bool), np.zeros(30, np.float32)),
    ):
        assert not nothing.weights.any() and nothing.offset == nothing.good == 0


def test_few_mails_move_less_than_many(reference: Reference, own: np.ndarray) -> None:
    few = np.linalg.norm(reference.plane.refit(own[:5], *labels(5)).weights)
    many = np.linalg.norm(reference.plane.refit(np.tile(own[:5], (20, 1)), *labels(100)).weights)
    assert 0 < few < many


def test_what_public_mail_never_shows_is_not_moved(reference: Reference, own: np.ndarray) -> None:
    part = reference.parts[0]
    hollow = part.curvature.copy()
    hollow[3, :] = hollow[:, 3] = 0
    alone = dataclasses.replace(reference, parts=(dataclasses.replace(part, curvature=hollow),))
    assert alone.plane.refit(own, *labels(len(own))).weights[3] == 0


def test_the_file_keeps_what_a_refit_needs(reference: Reference, own: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / base_file.REFERENCE
    base_file.save(path, reference)
    loaded = base_file.load(tmp_path)
    assert len(loaded.parts) == len(reference.parts) == 2
    expected = reference.plane.refit(own, *labels(len(own)))
    for plane in (loaded.plane, base_file.plane(tmp_path)):
        change = plane.refit(own, *labels(len(own)))
        np.testing.assert_allclose(change.weights, expected.weights, atol=1e-3)
        assert (change.offset, change.good) == pytest.approx((expected.offset, expected.good), abs=1e-3)


def test_a_file_without_it_still_loads(reference: Reference, own: np.ndarray, tmp_path: Path) -> None:
    base_file.save(tmp_path / base_file.REFERENCE, dataclasses.replace(reference, parts=()))
    loaded = base_file.load(tmp_path)
    assert loaded.parts == ()
    assert not loaded.plane.refit(own, *labels(len(own))).weights.any()


def test_weights_of_an_older_night_have_no_dense_part(tmp_path: Path) -> None:
    assert not base_file.personal_dense(tmp_path).any()
    np.savez(tmp_path / WEIGHTS, ids=np.array([1]), weights=np.array([0.5]))
    assert base_file.personal_dense(tmp_path).shape == (DENSE,)
    np.savez(tmp_path / WEIGHTS, dense=np.ones(3, np.float32))
    with pytest.raises(ModelError):
        base_file.personal_dense(tmp_path)
