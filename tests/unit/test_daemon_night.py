"""The night inside the daemon: started, told, taken, stopped; and going back by itself when mail is rescued."""

from __future__ import annotations

import json
import sys
import time

import pytest

from spamd import paths
from spamd.answers import AccountPhase
from spamd.domain import Label, LabelRecord, LabelSource
from spamd.errors import RequestError
from spamd.model.bundle import Bundles
from spamd.trainer import TrainerProcess
from tests.unit.test_account_worker import wait_for
from tests.unit.test_daemon_pieces import ME, Running, beats
from tests.unit.test_filtering import mail
from tests.unit.test_nightly import FAKE, candidate, gone


class Nights(Running):
    """A daemon whose trainer does what the test says."""

    def __init__(self, root) -> None:
        self.plan = root / "plan.json"
        self.trainer = TrainerProcess((sys.executable, "-I", "-S", str(FAKE), str(self.plan)))
        super().__init__(root / "home", trainer=self.trainer)
        self.root = root

    def plans(self, *steps) -> None:
        self.plan.write_text(json.dumps(steps))

    def plans_a_model(self, number: int = 1, **more) -> None:
        bundles = Bundles(self.paths.personal_models, paths.shipped_model())
        folder = candidate(
            self.root / f"candidate-{number}", bundles, number, known_until=time.time(), **more
        )
        stages = [{"say": json.dumps({"event": "stage", "stage": name})} for name in ("read", "fit")]
        self.plans(
            *stages,
            {"candidate": str(folder)},
            {"say": json.dumps({"event": "result", "status": "candidate"})},
        )

    def train(self) -> str:
        """Until its end; what is told then."""
        self.daemon.train(False)
        wait_for(lambda: self.progress().finished, "the night's end")
        return self.progress().text or self.progress().error

    def progress(self):
        return next(one for one in self.daemon.progress() if one.kind == "train")

    def serves(self) -> str:
        """The model that does."""
        return self.daemon.control.status().model.id


__all__ = ["beats"]


@pytest.fixture
def nights(tmp_path):
    made = Nights(tmp_path)
    made.start()
    yield made
    made.stop()


def test_a_night_ends_with_its_words_and_a_swap(nights):
    shipped = nights.serves()
    nights.plans_a_model(1, better=False)
    text = nights.train()
    assert text.startswith("The model stays. It does worse on older labels")
    assert nights.serves() == shipped
    nights.plans_a_model(2)
    assert nights.train().startswith("A new model serves.")
    assert nights.serves() == "personal-0000000002"
    nights.plans({"complain": "no room"}, {"exit": 9})
    assert "code 9" in nights.train()
    assert nights.serves() == "personal-0000000002"
    texts = [event.text for event in nights.store.events(limit=20)]
    assert sum("code 9" in text for text in texts) == 1, "a failure is told once"


def test_stages_are_told_while_it_runs_and_stopping_ends_it(nights):
    nights.plans(
        {"say": json.dumps({"event": "progress", "stage": "fit", "done": 30, "of": 60})}, {"hang": True}
    )
    nights.daemon.train(False)
    wait_for(lambda: nights.progress().done == 30, "progress")
    told = nights.progress()
    assert (told.total, told.text, told.finished) == (60, "Learning", False)
    with pytest.raises(RequestError):
        nights.daemon.train(False)
    child = nights.trainer.pid
    assert child is not None and not gone(child)
    nights.stop()
    wait_for(lambda: gone(child), "the trainer's end")
    assert not (nights.paths.cache / "night").exists()


def test_rescues_bring_the_model_before_back(beats, nights):
    """Mails that a young model moved are dragged back, more than one: the heartbeat goes back to the model before."""
    shipped = nights.serves()
    nights.plans_a_model(1)
    nights.train()
    assert nights.serves() == "personal-0000000001"
    store = nights.store
    wait_for(lambda: nights.phase() is AccountPhase.WATCHING, "watching")
    nights.daemon.control.lists.add("shop.example", Label.SPAM)
    for number in range(3):
        nights.server.deliver(mail(number))
    wait_for(lambda: len(store.moves(account=ME)) >= 3, "the moves")
    moves = store.moves(account=ME)
    store.add_label(LabelRecord(ME, moves[0].identity, Label.HAM, LabelSource.DRAG, 1.0, time.time()))
    nights.now += 120.0
    beats.two()
    assert nights.serves() == "personal-0000000001"
    store.add_label(LabelRecord(ME, moves[1].identity, Label.HAM, LabelSource.DRAG, 1.0, time.time()))
    nights.now += 120.0
    wait_for(lambda: nights.serves() == shipped, "the model before")
    assert any(event.needs_person and "went back" in event.text for event in store.events(limit=20))
