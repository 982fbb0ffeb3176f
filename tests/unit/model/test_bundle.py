"""Models on disk: taken whole or not at all, and never a bad one in service."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from spamd import paths
from spamd.domain import ModelId
from spamd.errors import ModelError, SchemaMismatch
from spamd.message.vector import SCHEMA
from spamd.model.bundle import Bundles, digest, read_card, verify, write_card
from tests.unit.model.made import candidate


@pytest.fixture
def bundles(tmp_path: Path) -> Bundles:
    return Bundles(tmp_path / "models", paths.shipped_model())


def named(number: int) -> str:
    return f"personal-{number:010d}"


def install(bundles: Bundles, tmp_path: Path, number: int, keep: int = 3) -> None:
    bundles.install(
        candidate(tmp_path / f"c{number}", name=named(number), created_at=float(number)), keep=keep
    )


def test_the_shipped_model_has_this_versions_features() -> None:
    assert verify(paths.shipped_model()).card.schema == SCHEMA, "run scripts/build_model.py"


def test_the_shipped_model_is_small() -> None:
    assert (paths.shipped_model() / "base.tflite").stat().st_size <= 1_500_000


def test_without_a_personal_model_the_shipped_one_serves(bundles: Bundles) -> None:
    assert bundles.current().card.id.startswith("base-")
    assert [card.id for card in bundles.list()] == [bundles.current().card.id]
    assert bundles.roll_back().card.id.startswith("base-")


def test_an_installed_model_serves_and_can_be_gone_back_from(bundles: Bundles, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        install(bundles, tmp_path, number)
    assert bundles.current().card.id == named(3)
    assert bundles.roll_back().card.id == named(2)
    assert bundles.current().card.id == named(2)
    assert bundles.roll_back(ModelId(named(3))).card.id == named(3)
    assert bundles.reset().card.id.startswith("base-")
    assert bundles.current().card.id.startswith("base-")
    assert bundles.roll_back(ModelId(named(1))).card.id == named(1)
    assert bundles.roll_back(bundles.shipped().card.id).card.id.startswith("base-")
    with pytest.raises(ModelError):
        bundles.roll_back(ModelId("../models"))


def test_going_back_by_name_loses_no_other(bundles: Bundles, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        install(bundles, tmp_path, number)
    assert bundles.roll_back(ModelId(named(1))).card.id == named(1)
    earlier = [bundles.roll_back().card.id for _ in range(3)]
    assert earlier == [named(3), named(2), bundles.shipped().card.id]


def test_the_newest_is_the_one_that_was_taken_last_whatever_the_clock_said(
    bundles: Bundles, tmp_path: Path
) -> None:
    """Set back an hour, the model that serves looked older than the one before, and its evidence like another one's."""
    assert bundles.newest() is None
    for number in (5, 3):
        install(bundles, tmp_path, number)
        assert bundles.newest().id == named(number)
    bundles.roll_back()
    assert (bundles.current().card.id, bundles.newest().id) == (named(5), named(3))
    bundles.reset()
    assert bundles.newest().id == named(3)
    pointer = tmp_path / "models" / "current"
    told = json.loads(pointer.read_text())
    del told["taken_last"]  # as older versions wrote it
    pointer.write_text(json.dumps(told))
    assert bundles.newest().id == named(5)
    bundles.wipe()
    assert bundles.newest() is None


def test_at_least_three_are_kept(bundles: Bundles, tmp_path: Path) -> None:
    for number in range(1, 7):
        install(bundles, tmp_path, number, keep=1)
    assert [card.id for card in bundles.list()][:-1] == [named(6), named(5), named(4)]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "foreign", "missing"])
def test_a_damaged_model_gives_way_to_the_one_before(bundles: Bundles, tmp_path: Path, damage: str) -> None:
    install(bundles, tmp_path, 1)
    install(bundles, tmp_path, 2)
    path = bundles.current().path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    harm = {
        "flip": bytes(content),
        "cut": bytes(content[:-1]),
        "empty": b"",
        "foreign": b"\x80\x04cos\nsystem\n",
    }
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(harm[damage])
    assert bundles.current().card.id == named(1)
    assert list(bundles.refused) == [named(2)]
    (why,) = bundles.unusable().values()
    assert list(bundles.unusable()) == [named(2)] and named(2) in why
    (tmp_path / "models" / named(1) / "card.json").write_text("{}")
    assert bundles.current().card.id.startswith("base-")


def test_a_model_of_other_features_is_refused(bundles: Bundles, tmp_path: Path) -> None:
    folder = candidate(tmp_path / "c", name=named(1))
    data = json.loads((folder / "card.json").read_text())
    data["schema"] = "0" * 16
    (folder / "card.json").write_text(json.dumps(data))
    with pytest.raises(SchemaMismatch):
        bundles.install(folder)
    assert bundles.current().card.id.startswith("base-")


@pytest.mark.parametrize(
    "change",
    [
        {"id": "../../etc"},
        {"id": f"{named(1)}/../../out"},
        {"id": read_card(paths.shipped_model()).id},
        {"id": ""},
        {"calibration": [1.0]},
        {"calibration": [float("nan"), 0.0]},
        {"sureness": [1.0]},
        {"sureness": [float("nan"), 0.0]},
        {"sha256": 5},
        {"alpha": "much"},
        {"labels": {"ham": float("inf")}},
        {"taught": 5},
        {"files": {"../../secret": "0"}},
        {"files": {"weights.npz": "0"}},
    ],
)
def test_a_card_that_lies_is_refused(bundles: Bundles, tmp_path: Path, change: dict[str, object]) -> None:
    install(bundles, tmp_path, 1)
    folder = candidate(tmp_path / "c", name=named(2))
    data = json.loads((folder / "card.json").read_text()) | change
    (folder / "card.json").write_text(json.dumps(data))
    with pytest.raises(ModelError):
        bundles.install(folder)
    assert bundles.current().card.id == named(1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "pointer", ["", "{", "[]", '{"current": "../../x", "before": []}', '{"current": 5, "before": 5}']
)
def test_a_damaged_pointer_never_stops_the_scoring(bundles: Bundles, tmp_path: Path, pointer: str) -> None:
    install(bundles, tmp_path, 1)
    (tmp_path / "models" / "current").write_text(pointer)
    assert bundles.current().card.id in (named(1), bundles.shipped().card.id)


def test_every_file_that_the_card_names_is_brought_along_and_looked_at(
    bundles: Bundles, tmp_path: Path
) -> None:
    folder = candidate(tmp_path / "c")
    weights = folder / "weights.npz"
    weights.write_bytes(b"weights")
    (tmp_path / "outside").write_bytes(b"weights")
    card = read_card(folder)
    write_card(folder, dataclasses.replace(card, files={"../outside": digest(weights)}))
    with pytest.raises(ModelError, match="outside is not the file"):
        verify(folder)
    write_card(folder, dataclasses.replace(card, files={weights.name: digest(weights)}))
    bundles.install(folder, keep=3)
    installed = bundles.current()
    assert installed.card.id == card.id
    (installed.folder / weights.name).write_bytes(b"others")
    assert bundles.current().card.id.startswith("base-")
    (installed.folder / weights.name).unlink()
    assert bundles.current().card.id.startswith("base-")


def test_a_half_written_model_is_never_seen(bundles: Bundles, tmp_path: Path) -> None:
    install(bundles, tmp_path, 1)
    half = tmp_path / "models" / ".incoming-999"
    half.mkdir()
    (half / "model.tflite").write_bytes(b"half")
    assert [card.id for card in bundles.list()][:-1] == [named(1)]
    install(bundles, tmp_path, 2)
    assert not half.exists()


@pytest.mark.parametrize("name", ["card.json", "current"])
def test_endless_brackets_are_damage(bundles: Bundles, tmp_path: Path, name: str) -> None:
    install(bundles, tmp_path, 1)
    path = tmp_path / "models" / name if name == "current" else bundles.current().folder / name
    path.write_text("[" * 100_000)
    assert bundles.current().card.id in (named(1), bundles.shipped().card.id)


@pytest.mark.skipif(
    not Path("/proc/self/mem").exists(), reason="needs a file that is there and cannot be read"
)
def test_a_model_that_cannot_be_read_gives_way(bundles: Bundles, tmp_path: Path) -> None:
    install(bundles, tmp_path, 1)
    install(bundles, tmp_path, 2)
    path = bundles.current().path
    path.unlink()
    path.symlink_to("/proc/self/mem")
    assert bundles.current().card.id == named(1)
    assert "cannot be read" in bundles.refused[named(2)]


def test_a_model_that_could_not_be_pointed_to_is_not_kept(bundles: Bundles, tmp_path: Path) -> None:
    """Nobody has taken it: it is none to go back to."""
    install(bundles, tmp_path, 1)
    (tmp_path / "models" / f".current.{os.getpid()}").mkdir()  # in the place of the pointer being written
    with pytest.raises(ModelError, match="could not be saved"):
        install(bundles, tmp_path, 2)
    assert bundles.current().card.id == named(1)
    assert [card.id for card in bundles.list()][:-1] == [named(1)]


def test_wiping_leaves_the_shipped_model(bundles: Bundles, tmp_path: Path) -> None:
    install(bundles, tmp_path, 1)
    (tmp_path / "models" / ".incoming-999").mkdir()
    (tmp_path / "models" / ".current.999").write_text("half")
    bundles.wipe()
    assert bundles.current().card.id.startswith("base-")
    assert len(bundles.list()) == 1
    assert not list((tmp_path / "models").iterdir())


def test_a_damaged_installation_says_so(tmp_path: Path) -> None:
    (tmp_path / "shipped").mkdir()
    with pytest.raises(ModelError) as caught:
        Bundles(tmp_path / "models", tmp_path / "shipped").current()
    assert "Install" in caught.value.hint


def test_a_card_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = candidate(tmp_path / "c")
    card = read_card(folder)
    assert read_card(folder) == card
    assert card.parent == read_card(paths.shipped_model()).id
