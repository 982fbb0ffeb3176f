"""The night's conductor with a trainer that does what the test says: when, what it is told, and what may change."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spamd import nightly as nightly_module
from spamd import paths as places
from spamd import trainer as trainer_module
from spamd.domain import (
    Account,
    AccountName,
    Decision,
    FolderName,
    Identity,
    Judgement,
    Label,
    LabelRecord,
    LabelSource,
    MessageRef,
    ModelId,
    MoveKind,
    MoveRecord,
    MoveState,
    Score,
    Uid,
    UidValidity,
    Verdict,
)
from spamd.errors import TrainingError
from spamd.judgement.schedule import Due
from spamd.message.vector import SCHEMA
from spamd.model import apart, gate
from spamd.model.bundle import Bundles, digest, read_card, write_card
from spamd.nightly import LAST_NIGHT, Nightly
from spamd.settings import Settings
from spamd.store.database import Store
from spamd.trainer import TIME_LIMIT, Outcome, Tell, Trainer, TrainerProcess

FAKE = Path(__file__).parents[1] / "fakes" / "trainer.py"
HOME = AccountName("home")
PATIENCE = 60.0
DAY = 86400.0


def local(text: str) -> float:
    """The Unix time of a local clock time on one winter's day."""
    return dt.datetime.fromisoformat(f"2026-01-15T{text}").timestamp()


NIGHT = local("03:00")


def candidate(
    folder: Path,
    bundles: Bundles,
    number: int = 1,
    *,
    better: bool = True,
    known_until: float = NIGHT - 1.0,
    created_at: float = NIGHT,
) -> Path:
    """The shipped file under another name, with an examination that pleases the gate or does not."""
    folder.mkdir()
    shipped = bundles.shipped()
    shutil.copy(shipped.path, folder / "model.tflite")
    card = dataclasses.replace(
        shipped.card,
        id=ModelId(f"personal-{number:010d}"),
        parent=bundles.current().card.id,
        created_at=created_at,
        sha256=digest(folder / "model.tflite"),
        known_until=known_until,
        labels={"ham": 30, "spam": 20},
        files={},
    )
    write_card(folder, card)
    spam = np.array([True, False] * 20)
    good = np.where(spam, 0.95, 0.05)
    held = gate.Scored(good, good if better else 1 - good, spam)
    nothing = gate.Scored(np.zeros(0), np.zeros(0), np.zeros(0, bool))
    gate.save(folder, gate.Night(held=held, rescued=nothing, pinned=gate.Scored(good, good, spam)))
    return folder


class Meanwhile:
    """A trainer, and what happens between its end and the night's look at what it made."""

    def __init__(self, trainer: Trainer, happens: Callable[[], object]) -> None:
        self._trainer, self._happens = trainer, happens

    def installed(self) -> bool:
        return self._trainer.installed()

    def train(self, arguments: Sequence[str], *, folder: Path, deadline: float, tell: Tell) -> Outcome:
        outcome = self._trainer.train(arguments, folder=folder, deadline=deadline, tell=tell)
        self._happens()
        return outcome

    def stop(self) -> None:
        self._trainer.stop()


class Home:
    """A home with a store, models and a night whose trainer is the fake one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = NIGHT
        self.paths = places.find({"SPAMD_HOME": str(root / "home")})
        self.paths.make()
        self.shipped = root / "shipped"
        shutil.copytree(places.shipped_model(), self.shipped)
        write_card(self.shipped, dataclasses.replace(read_card(self.shipped), schema=SCHEMA, known_until=0.0))
        self.bundles = Bundles(self.paths.personal_models, self.shipped)
        self.store = Store(self.paths.database, clock=lambda: self.now)
        self.settings = Settings()
        self.plan = root / "plan.json"
        self.trainer = self.new_trainer()
        self.night = self.new_night(self.trainer)
        self.told: list[tuple[int, int, str]] = []
        self.judged = 0

    def new_trainer(self) -> TrainerProcess:
        return TrainerProcess((sys.executable, "-I", "-S", str(FAKE), str(self.plan)))

    def new_night(self, trainer: Trainer) -> Nightly:
        return Nightly(
            paths=self.paths,
            store=self.store,
            bundles=self.bundles,
            settings=lambda: self.settings,
            clock=lambda: self.now,
            shipped=self.shipped,
            trainer=trainer,
        )

    def run(self, *steps: dict[str, Any], from_scratch: bool = False):
        self.plan.write_text(json.dumps(steps))
        return self.night.run_night(
            from_scratch=from_scratch, tell=lambda *progress: self.told.append(progress)
        )

    def candidate(self, number: int = 1, **more: Any) -> Path:
        folder = self.root / f"candidate-{number}"
        return candidate(folder, self.bundles, number, created_at=self.now, **more)

    def promote(self, number: int = 1, **more: Any):
        return self.run(
            {"candidate": str(self.candidate(number, **more))},
            {"say": json.dumps({"event": "result", "status": "candidate"})},
        )

    def label(
        self,
        identity: str,
        label: Label = Label.SPAM,
        *,
        at: float = NIGHT - 100.0,
        source: LabelSource = LabelSource.DRAG,
        held: bool = False,
    ) -> None:
        self.store.put_vector(HOME, Identity(identity), b"its vector")
        self.store.add_label(LabelRecord(HOME, Identity(identity), label, source, 1.0, at, held=held))

    def events(self) -> list[str]:
        return [event.text for event in self.store.events(limit=100)]

    def arguments(self) -> list[str]:
        return json.loads((self.root / "arguments.json").read_text())

    def leftovers(self) -> list[str]:
        folders = [self.paths.cache, self.paths.personal_models]
        return [
            path.name
            for folder in folders
            if folder.is_dir()
            for path in folder.iterdir()
            if path.name == "night" or path.name.startswith(".incoming")
        ]


@pytest.fixture
def home(tmp_path, home):
    made = Home(tmp_path)
    yield made
    made.night.stop()
    made.store.close()


@pytest.fixture(autouse=True)
def a_quiet_machine(monkeypatch):
    monkeypatch.setattr(nightly_module, "on_mains", lambda: True)
    monkeypatch.setattr(nightly_module, "quiet_seconds", lambda: 3600.0)


def gone(pid: int) -> bool:
    """Whether this process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False


def wait_for(condition, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


# ---- when


def enough(home: Home, count: int = 8, **more: Any) -> None:
    for number in range(count):
        home.label(f"hash:{number}", **more)


def test_due_with_enough_labels_inside_the_window(home):
    assert not home.night.due().due
    assert "8 more labels" in home.night.due().reason
    enough(home, 7)
    assert home.night.due().reason.startswith("1 more label ")
    enough(home)
    assert home.night.due().due
    home.now = local("12:00")
    assert not home.night.due().due


def test_what_does_not_count_towards_a_night(home):
    enough(home, 20, source=LabelSource.IMPLICIT)
    for number in range(20):
        home.label(f"hash:held-{number}", held=True)
    assert home.night.new_labels() == 0
    assert not home.night.due().due
    enough(home)
    home.promote(known_until=NIGHT - 100.0)
    assert home.night.new_labels() == 0, "the new model knows them"
    home.label("hash:later", at=NIGHT - 50.0)
    assert home.night.new_labels() == 1


def test_battery_and_busy_machines_wait(home, monkeypatch):
    enough(home)
    monkeypatch.setattr(nightly_module, "on_mains", lambda: False)
    assert "mains" in home.night.due().reason
    home.settings = dataclasses.replace(home.settings, on_battery=True)
    assert home.night.due().due
    monkeypatch.setattr(nightly_module, "quiet_seconds", lambda: 0.0)
    assert "idle" in home.night.due().reason


def test_once_a_night_whatever_came_of_it(home):
    enough(home)
    with pytest.raises(TrainingError):
        home.run({"exit": 7})
    assert "tonight" in home.night.due().reason, "a failure is not repeated every ten seconds"
    home.now += DAY
    assert home.night.due().due


@pytest.mark.parametrize("first", [False, True], ids=["a later one", "the first"])
def test_a_missed_night_is_made_up_for(home, first):
    enough(home)
    home.now = local("15:00")
    assert not home.night.due().due
    if first:
        home.label("hash:early", at=NIGHT - 2 * DAY)
    else:
        home.store.set_state(LAST_NIGHT, repr(NIGHT - 2 * DAY))
    assert home.night.due().due


@pytest.mark.parametrize("said", ["nonsense", "", "inf", "nan", repr(NIGHT + 400 * DAY)])
def test_a_clock_that_was_ahead_does_not_stop_the_nights(home, said):
    enough(home)
    home.store.set_state(LAST_NIGHT, said)
    home.night.due()
    home.now += DAY
    assert home.night.due().due


def test_what_was_said_while_the_clock_was_ahead_is_learned_tonight(home):
    for number in range(8):
        home.label(f"hash:{number}", at=NIGHT + 400 * DAY + number)
    assert home.night.due().due
    home.promote()
    assert {one.at for one in home.store.labels()} == {NIGHT + 400 * DAY + number for number in range(8)}, (
        "where nothing was said in the past, today's clock may be wrong"
    )
    home.label("hash:0", Label.HAM, at=NIGHT - 1.0)
    home.promote(2, known_until=NIGHT)
    said = [one.identity for one in home.store.ledger()]
    assert said == ["hash:0", "hash:0", *(f"hash:{number}" for number in range(1, 8))]
    assert home.store.label_of(HOME, Identity("hash:0")).label is Label.HAM
    assert all(NIGHT - 2.0 < one.at <= NIGHT for one in home.store.ledger())
    assert home.night.new_labels() == 0


def test_a_model_made_while_the_clock_was_ahead_is_trained_anew(home):
    home.promote(known_until=NIGHT + 400 * DAY)
    enough(home)
    assert home.night.new_labels() == 8
    home.run({"say": json.dumps({"event": "result", "status": "waits", "reason": "no"})})
    assert "--from-scratch" in home.arguments()


def test_without_tensorflow_it_says_how_to_add_it(home, monkeypatch):
    monkeypatch.setattr(trainer_module.importlib.util, "find_spec", lambda name: None)
    night = Nightly(
        paths=home.paths,
        store=home.store,
        bundles=home.bundles,
        settings=lambda: home.settings,
        clock=lambda: home.now,
        shipped=home.shipped,
    )
    enough(home)
    assert "not installed" in night.due().reason
    with pytest.raises(TrainingError) as error:
        night.run_night()
    assert "spamd-desktop" in error.value.hint


def test_mains_as_linux_tells_it(tmp_path):
    def supply(name: str, **values: str) -> None:
        (tmp_path / name).mkdir(exist_ok=True)
        for key, value in values.items():
            (tmp_path / name / key).write_text(value + "\n")

    on_mains = nightly_module._linux_on_mains
    assert on_mains(tmp_path / "none")
    supply("mouse", type="Battery", scope="Device", status="Discharging")
    assert on_mains(tmp_path)
    supply("BAT0", type="Battery", status="Discharging")
    assert not on_mains(tmp_path)
    supply("AC", type="Mains", online="0")
    assert not on_mains(tmp_path)
    supply("AC", type="Mains", online="1")
    assert on_mains(tmp_path)


# ---- the gate's word


def test_a_better_model_is_taken_and_its_card_says_why(home):
    home.label("hash:1")
    before = home.bundles.current().card.id
    report = home.promote()
    assert report.promoted
    card = home.bundles.current().card
    assert (card.id, card.parent) == ("personal-0000000001", before)
    assert card.reasons == report.reasons
    assert card.figures["held_loss_after"] == pytest.approx(report.figures["held_loss_after"])
    assert any("30 good and 20 junk" in text for text in home.events())
    assert home.leftovers() == []
    arguments = home.arguments()
    assert arguments[arguments.index("--until") + 1] == repr(NIGHT)
    assert "--tied" in arguments
    assert "--from-scratch" not in arguments


def test_a_worse_model_is_refused_with_the_reason(home):
    before = home.bundles.current().card.id
    report = home.promote(better=False)
    assert not report.promoted
    assert home.bundles.current().card.id == before
    assert any("older labels" in text for text in home.events())
    assert home.leftovers() == []


def test_nothing_to_learn_yet_is_neither_an_error_nor_a_refusal(home):
    report = home.run(
        {"say": json.dumps({"event": "result", "status": "waits", "reason": "There are no new labels."})},
        {"exit": 3},
    )
    assert report.waits and not report.promoted
    assert report.reasons == ("There are no new labels.",)
    assert home.events()[0] == "The training waits. There are no new labels."


def test_the_person_chose_another_model_meanwhile(home):
    home.promote(1)
    home.promote(2)
    home.plan.write_text(
        json.dumps(
            [
                {"candidate": str(home.candidate(3))},
                {"say": json.dumps({"event": "stage", "stage": "fit"})},
                {"say": json.dumps({"event": "result", "status": "candidate"})},
            ]
        )
    )

    def tell(done: int, of: int, text: str) -> None:
        if text == "Learning":
            home.bundles.roll_back()

    report = home.night.run_night(tell=tell)
    assert not report.promoted
    assert "meanwhile" in report.reasons[0]
    assert home.bundles.current().card.id == "personal-0000000001"


def test_a_label_taken_back_is_trained_away(home):
    """What the model has learned of it cannot be subtracted: the next night begins from the whole ledger."""
    enough(home)
    home.promote(1)
    assert not home.night.forgotten()
    home.now += DAY
    home.label("hash:silent", at=NIGHT - 200.0, source=LabelSource.IMPLICIT)
    home.label("hash:new", at=home.now - 1)
    assert not home.night.forgotten()
    assert not home.night.due().due
    home.store.forget_label(HOME, Identity("hash:new"))
    assert not home.night.forgotten(), "the model does not know it yet"
    home.store.forget_label(HOME, Identity("hash:3"))
    assert home.night.forgotten()
    assert home.night.due().due
    home.promote(2)
    assert "--from-scratch" in home.arguments()
    assert not home.night.forgotten()
    home.bundles.roll_back()
    assert home.night.forgotten(), "the model before still knows it"


@pytest.mark.parametrize("damage", ["nonsense", "[1]", '[["a"]]', '{"a": []}', "null"])
def test_damaged_notes_are_no_notes(home, damage):
    home.store.set_state(nightly_module.REFUSALS, damage)
    assert home.promote().promoted


def test_labels_that_contradict_are_believed_when_they_stand(home):
    spam = np.array([True, False] * 20)
    sure = np.where(spam, 0.999, 0.001)
    told = []
    for number in range(1, 5):
        folder = home.candidate(number)
        night = dataclasses.replace(
            gate.load(folder),
            held=gate.Scored(sure, sure, spam),
            new=gate.Scored(sure, sure, ~spam),
            fresh=40,
        )
        gate.save(folder, night)
        steps = {"candidate": str(folder)}, {"say": json.dumps({"event": "result", "status": "candidate"})}
        told.append(home.run(*steps).promoted)
        if number == 1:
            assert not any(home.run(*steps).promoted for _ in range(3)), "clicks are no nights"
        home.now += DAY
    assert told == [False, False, True, False], "the third night; another model begins to count anew"


def test_what_a_night_was_refused_for_is_shown_and_the_persons_answer_counts(home):
    spam = np.array([True, False] * 20)
    sure = np.where(spam, 0.999, 0.001)
    names = tuple(f"home\0hash:{number}" for number in range(40))
    new = gate.Scored(sure, sure, np.where(np.arange(40) < 4, ~spam, spam))

    def night(number):
        folder = home.candidate(number)
        held = gate.Scored(sure, sure, spam)
        gate.save(folder, dataclasses.replace(gate.load(folder), held=held, new=new, names=names, fresh=40))
        steps = {"candidate": str(folder)}, {"say": json.dumps({"event": "result", "status": "candidate"})}
        return home.run(*steps)

    assert not night(1).promoted
    asked = nightly_module.contradicting(home.store)
    assert asked == [(HOME, Identity(f"hash:{number}")) for number in range(4)]
    nightly_module.settle(home.store, HOME, Identity("hash:30"))  # not among them
    nightly_module.settle(home.store, *asked[0])
    assert not night(2).promoted, "three were not looked at"
    assert nightly_module.contradicting(home.store) == asked[1:]
    for account, identity in nightly_module.contradicting(home.store):
        nightly_module.settle(home.store, account, identity)
    assert night(3).promoted, "who was asked and stayed with it means it"
    assert nightly_module.contradicting(home.store) == []
    arguments = home.arguments()
    assert "--believe" in arguments and "--believe-all" not in arguments


def test_what_the_night_left_out_is_asked_about(home):
    """One label against a sure model: the others are learned, it stays the instant head's, and the person is asked."""
    enough(home)
    folder = home.candidate(1)
    doubted = ("home\0hash:3",)
    write_card(folder, dataclasses.replace(read_card(folder), doubted=doubted))
    gate.save(folder, dataclasses.replace(gate.load(folder), learned={"left_out": 1}))
    steps = {"candidate": str(folder)}, {"say": json.dumps({"event": "result", "status": "candidate"})}
    report = home.run(*steps)
    assert report.promoted and "left out" in report.reasons[1]
    assert home.bundles.current().card.doubted == doubted
    assert nightly_module.contradicting(home.store) == [(HOME, Identity("hash:3"))]
    home.store.forget_label(HOME, Identity("hash:3"))
    assert not home.night.forgotten(), "the model never knew it"
    home.store.forget_label(HOME, Identity("hash:4"))
    assert home.night.forgotten()


def test_who_took_the_slip_back_is_not_asked_about_it(home):
    home.label("hash:3", at=NIGHT - 300)
    folder = home.candidate(1)
    write_card(folder, dataclasses.replace(read_card(folder), doubted=("home\0hash:3",)))
    home.run({"candidate": str(folder)}, {"say": json.dumps({"event": "result", "status": "candidate"})})
    slip = (HOME, Identity("hash:3"))
    assert nightly_module.contradicting(home.store) == [slip]
    home.now += 60.0
    home.label("hash:3", Label.HAM, at=home.now)  # dragged back
    assert nightly_module.contradicting(home.store) == []
    nightly_module.settle(home.store, *slip)  # a click on Review says it anew, and is believed
    assert json.loads(home.store.state(nightly_module.BELIEVED)) == [list(slip)]


def test_nobody_is_asked_twice(home):
    """What was left out stays in the card of the model that serves, also where later nights are refused."""

    def night(number, meanwhile=lambda: None, better=True):
        folder = home.candidate(number, better=better)
        write_card(folder, dataclasses.replace(read_card(folder), doubted=("home\0hash:3", "home\0hash:5")))
        home.night = home.new_night(Meanwhile(home.trainer, meanwhile))
        said = json.dumps({"event": "result", "status": "candidate"})
        return home.run({"candidate": str(folder)}, {"say": said})

    assert night(1, lambda: None).promoted
    three, five = nightly_module.contradicting(home.store)
    nightly_module.settle(home.store, *three)
    assert not night(2, better=False).promoted
    assert nightly_module.contradicting(home.store) == [five]
    assert night(3, lambda: nightly_module.settle(home.store, *five)).promoted
    assert nightly_module.contradicting(home.store) == [], "answered while the night learned"


@pytest.mark.parametrize("trouble", ["the disk is full", "another was chosen"])
def test_where_the_candidate_cannot_be_taken_nobody_is_asked_about_its_doubts(home, trouble):
    home.promote(1)
    home.label("hash:3", at=NIGHT - 300)
    folder = home.candidate(2)
    write_card(folder, dataclasses.replace(read_card(folder), doubted=("home\0hash:3",)))
    steps = {"candidate": str(folder)}, {"say": json.dumps({"event": "result", "status": "candidate"})}
    if trouble == "the disk is full":
        (home.paths.personal_models / "personal-0000000002").write_text("in the way")
        with pytest.raises(TrainingError):
            home.run(*steps)
    else:
        home.plan.write_text(json.dumps(steps))
        told = iter([home.bundles.reset])
        report = home.night.run_night(tell=lambda *_: next(told, lambda: None)())
        assert not report.promoted
    assert nightly_module.contradicting(home.store) == []


# ---- what the child says and does


def test_progress_is_told_in_words(home):
    home.run(
        {"say": json.dumps({"event": "stage", "stage": "read"})},
        {"say": json.dumps({"event": "progress", "stage": "fit", "done": 3, "of": 10})},
        {"say": json.dumps({"event": "progress", "stage": "fit", "done": "3", "of": None})},
        {"say": json.dumps({"event": "stage", "stage": "examine"})},
        {"say": json.dumps({"event": "result", "status": "waits", "reason": "enough"})},
    )
    assert (0, 0, "Reading labels") in home.told
    assert (3, 10, "Learning") in home.told
    assert home.told[-1][2] == "Comparing with the model in force"


GARBAGE = [
    {"bytes": "00ff80feff0a"},
    {"say": "WARNING: something a library says"},
    {"say": "[1, 2]"},
    {"say": '"result"'},
    {"say": "{"},
    {"say": "[" * 100_000},
    {"say": json.dumps({"event": {"stage": []}, "stage": {}, "done": [], "of": {}})},
]


def test_garbage_on_its_output_is_passed_over(home):
    report = home.run(*GARBAGE, {"say": json.dumps({"event": "result", "status": "waits", "reason": "none"})})
    assert report.reasons == ("none",)


@pytest.mark.parametrize(
    ("steps", "title", "hint"),
    [
        ([{"complain": "Traceback\nValueError: bad"}, {"exit": 1}], "code 1", "ValueError: bad"),
        ([{"crash": True}], "ended with code", ""),
        ([], "ended with code 0", ""),
        (GARBAGE, "ended with code 0", ""),
        (
            [
                {
                    "say": json.dumps(
                        {"event": "result", "status": "impossible", "reason": "No base.", "hint": "Mend it."}
                    )
                },
                {"exit": 4},
            ],
            "No base.",
            "Mend it.",
        ),
        (
            [{"say": json.dumps({"event": "result", "status": "candidate"})}, {"exit": 139}],
            "code 139",
            "",
        ),
        ([{"say": json.dumps({"event": "result", "status": "candidate"})}], "examination", ""),
        ([{"say": json.dumps({"event": "result", "status": 7, "reason": ["x"]})}], "['x']", ""),
    ],
    ids=["error", "crash", "silent", "garbage", "impossible", "died after its word", "no candidate", "odd"],
)
def test_a_trainer_that_fails_changes_nothing(home, steps, title, hint):
    home.label("hash:1")
    ledger = home.store.labels()
    before = home.bundles.current().card.id
    with pytest.raises(TrainingError) as error:
        home.run(*steps)
    assert title in error.value.title
    assert hint in error.value.hint
    assert home.bundles.current().card.id == before
    assert home.store.labels() == ledger
    assert home.leftovers() == []


def test_a_trainer_that_cannot_be_started(home):
    home.night = home.new_night(TrainerProcess(("/nowhere/python",)))
    with pytest.raises(TrainingError, match="cannot be started"):
        home.run()
    assert home.leftovers() == []


@pytest.mark.parametrize("damage", ["model", "card", "numbers"])
def test_a_damaged_candidate_is_no_model(home, damage):
    candidate = home.candidate()
    if damage == "model":
        path = candidate / "model.tflite"
        path.write_bytes(path.read_bytes()[:-7])
    elif damage == "card":
        (candidate / "card.json").write_text("{}")
    else:
        (candidate / gate.EXAMINATION).write_bytes(b"PK\x03\x04 nothing")
    before = home.bundles.current().card.id
    with pytest.raises(TrainingError):
        home.run(
            {"candidate": str(candidate)}, {"say": json.dumps({"event": "result", "status": "candidate"})}
        )
    assert home.bundles.current().card.id == before
    assert home.leftovers() == []


class Running:
    """A night in a thread, until the trainer hangs."""

    def __init__(self, home: Home, *steps: dict[str, Any]) -> None:
        self.error: BaseException | None = None
        self.report = None
        hangs = threading.Event()
        home.plan.write_text(
            json.dumps([*steps, {"say": json.dumps({"event": "stage", "stage": "fit"})}, {"hang": True}])
        )

        def run() -> None:
            try:
                self.report = home.night.run_night(
                    tell=lambda _d, _o, text: text == "Learning" and hangs.set()
                )
            except BaseException as error:  # noqa: BLE001 the test looks at it
                self.error = error

        self.thread = threading.Thread(target=run)
        self.thread.start()
        assert hangs.wait(PATIENCE)
        pid = home.trainer.pid
        assert pid is not None
        self.pid = pid

    def end(self) -> None:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def test_stop_ends_a_hanging_trainer_and_what_it_started(home):
    running = Running(home, {"child": True})
    child = int((home.root / "child.pid").read_text())
    assert not gone(child)
    home.night.stop()
    running.end()
    assert isinstance(running.error, TrainingError)
    assert "stopped" in running.error.title
    assert gone(running.pid)
    wait_for(lambda: gone(child), "the grandchild's end")
    assert home.leftovers() == []
    assert home.store.state(LAST_NIGHT) is None, "a night that was stopped is made up for"
    with pytest.raises(TrainingError, match="stopped"):
        home.run()


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
@pytest.mark.parametrize("alone", [True, "alone"], ids=["of its group", "of a session of its own"])
def test_what_a_killed_trainer_left_behind_does_not_hold_up_the_night(home, monkeypatch, alone):
    """It has the trainer's output open: to read on to its end would be for ever."""
    monkeypatch.setattr(trainer_module, "LAST_WORDS", 2.0)
    running = Running(home, {"child": alone})
    child = int((home.root / "child.pid").read_text())
    try:
        os.kill(running.pid, signal.SIGKILL)
        running.end()
        assert isinstance(running.error, TrainingError)
        assert "killed" in running.error.title
        if alone is True:
            wait_for(lambda: gone(child), "the grandchild's end")
        assert home.leftovers() == []
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    assert home.promote().promoted, "and the next night is as ever"


@pytest.mark.skipif(sys.platform == "win32", reason="sessions")
def test_what_a_trainer_that_did_its_work_left_behind_does_not_spoil_it(home, monkeypatch):
    monkeypatch.setattr(trainer_module, "LAST_WORDS", 2.0)
    word = {"say": json.dumps({"event": "result", "status": "waits", "reason": "none"})}
    try:
        assert home.run({"child": "alone"}, word).reasons == ("none",)
    finally:
        os.kill(int((home.root / "child.pid").read_text()), signal.SIGKILL)


def test_two_nights_at_once_are_one(home):
    running = Running(home)
    with pytest.raises(TrainingError, match="runs already"):
        home.night.run_night()
    assert not gone(running.pid)
    home.night.stop()
    running.end()


def test_too_much_memory(home, monkeypatch):
    monkeypatch.setattr(trainer_module, "MEMORY_LIMIT", 200 * 2**20)
    with pytest.raises(TrainingError, match="needed more than 200 MB"):
        home.run({"allocate": 300}, {"hang": True})
    assert home.leftovers() == []


def test_too_long(home, monkeypatch):
    monkeypatch.setattr(nightly_module, "TIME_LIMIT", 0.5)
    with pytest.raises(TrainingError, match="took longer"):
        home.run({"close": True}, {"hang": True})
    assert home.leftovers() == []


def test_with_a_clock_that_was_never_set_there_is_no_night(home):
    """All that was ever said would lie ahead of what is said now, and be dated back to 1970 for good."""
    enough(home)
    home.now = 3600.0
    home.label("hash:now", at=1800.0)
    before = {one.identity: one.at for one in home.store.labels()}
    assert home.night.due() == (Due(False, "the clock of this computer is not set"))
    with pytest.raises(TrainingError, match="clock"):
        home.promote()
    assert {one.identity: one.at for one in home.store.labels()} == before


def test_a_night_that_begins_once_more_has_no_more_time(home):
    """The first training takes all of it, and a label is taken back meanwhile: the second one has what is left."""
    home.label("hash:late")
    made, deadlines = home.candidate(), []

    class Forgetting:
        def installed(self) -> bool:
            return True

        def train(self, arguments: Sequence[str], *, folder: Path, deadline: float, tell: Tell) -> Outcome:
            deadlines.append(deadline)
            shutil.copytree(made, arguments[arguments.index("--out") + 1])
            home.store.forget_label(HOME, Identity("hash:late"))
            return Outcome(0, {"status": "candidate"})

        def stop(self) -> None:
            pass

    began = time.monotonic()
    assert home.new_night(Forgetting()).run_night().promoted
    first, second = deadlines
    assert first == second
    assert began <= first - TIME_LIMIT <= time.monotonic()


def test_a_listener_that_fails_leaves_no_trainer(home):
    home.plan.write_text(
        json.dumps([{"say": json.dumps({"event": "progress", "done": 1, "of": 2})}, {"hang": True}])
    )
    pids = []

    def tell(done: int, of: int, text: str) -> None:
        if done:
            pids.append(home.trainer.pid)
            raise RuntimeError("the page is gone")

    with pytest.raises(RuntimeError):
        home.night.run_night(tell=tell)
    assert gone(pids[0])
    assert home.leftovers() == []


def test_killed_at_random_moments_nothing_changes(home):
    """The trainer is killed from outside (out of memory, a shutdown) anywhere between start and end."""
    home.promote(1)
    enough(home)
    ledger = home.store.labels()
    candidate = str(home.candidate(2))
    chatter = [
        {"say": json.dumps({"event": "progress", "stage": "fit", "done": n, "of": 40})} for n in range(40)
    ]
    rng = random.Random(7)
    for _ in range(8):
        home.plan.write_text(json.dumps([*chatter, {"candidate": candidate}, *chatter, {"hang": True}]))
        at = rng.randrange(80)
        seen = 0

        def tell(_done: int, _of: int, _text: str, at: int = at) -> None:
            nonlocal seen
            seen += 1
            pid = home.trainer.pid
            if seen >= at and pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

        with pytest.raises(TrainingError):
            home.night.run_night(tell=tell)
        assert home.bundles.current().card.id == "personal-0000000001"
        assert home.leftovers() == []
    assert home.store.labels() == ledger
    assert home.promote(3).promoted


DAEMON = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.unit.test_nightly import Home
home = Home.__new__(Home)
home.__dict__.update(root=Path({folder!r}), now={now!r})
from spamd import paths
from spamd.model.bundle import Bundles
from spamd.settings import Settings
from spamd.store.database import Store
home.paths = paths.find({{"SPAMD_HOME": {folder!r} + "/home"}})
home.shipped = home.root / "shipped"
home.plan = home.root / "plan.json"
home.settings = Settings()
home.bundles = Bundles(home.paths.personal_models, home.shipped)
home.store = Store(home.paths.database)
trainer = home.new_trainer()
night = home.new_night(trainer)
night.run_night(tell=lambda d, o, text: text == "Learning" and print(trainer.pid, flush=True))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_the_trainer_ends_with_a_daemon_that_was_killed(home):
    home.plan.write_text(
        json.dumps([{"say": json.dumps({"event": "stage", "stage": "fit"})}, {"hang": True}])
    )
    script = DAEMON.format(root=str(FAKE.parents[2]), folder=str(home.root), now=NIGHT)
    daemon = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())
        assert not gone(pid)
    finally:
        daemon.kill()
        daemon.wait(PATIENCE)
        daemon.stdout.close()
    wait_for(lambda: gone(pid), "the trainer's end")
    assert home.leftovers() == ["night"]
    assert home.promote().promoted, "the next night clears it away"
    assert home.leftovers() == []


# ---- disks


def test_a_full_disk_is_told_and_nothing_changes(home, monkeypatch):
    before = home.bundles.current().card.id
    usage = shutil.disk_usage(home.root)
    monkeypatch.setattr(nightly_module.shutil, "disk_usage", lambda _: usage._replace(free=5 * 2**20))
    with pytest.raises(TrainingError, match="5 MB are free"):
        home.promote()
    assert home.bundles.current().card.id == before
    assert home.leftovers() == []


def test_no_room_for_the_new_model(home):
    """The models' folder cannot be written: the old model goes on, and the night says so."""
    home.paths.personal_models.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(home.paths.personal_models, ignore_errors=True)
    home.paths.personal_models.write_text("a file in its place")
    before = home.bundles.current().card.id
    with pytest.raises(TrainingError, match="could not be saved"):
        home.promote()
    assert home.bundles.current().card.id == before
    assert home.leftovers() == []


def test_a_cache_that_cannot_be_made(home):
    shutil.rmtree(home.paths.cache, ignore_errors=True)
    home.paths.cache.write_text("a file in its place")
    with pytest.raises(TrainingError, match="cannot be made"):
        home.promote()


# ---- mail that was found in folders


def found_in_folder(home: Home, number: int, probability: float) -> Identity:
    identity = Identity(f"hash:found-{number}")
    judge(home, 1, identity=identity)
    home.store.rescore({(HOME, identity): probability})
    home.label(str(identity), Label.HAM, at=home.now, source=LabelSource.FOLDER)
    return identity


def first_scores(home: Home) -> list[float]:
    return [point[0] for point in home.store.evidence_points(HOME)]


def test_a_model_that_is_taken_brings_its_own_scores_of_mail_from_folders(home):
    identity = found_in_folder(home, 1, 0.5)
    folder = home.candidate()
    apart.save(folder, {(HOME, identity): 0.75})
    report = home.run(
        {"candidate": str(folder)}, {"say": json.dumps({"event": "result", "status": "candidate"})}
    )
    assert report.promoted
    assert first_scores(home) == [0.75]


def test_a_model_that_is_refused_changes_no_score(home):
    identity = found_in_folder(home, 1, 0.5)
    folder = home.candidate(better=False)
    apart.save(folder, {(HOME, identity): 0.75})
    report = home.run(
        {"candidate": str(folder)}, {"say": json.dumps({"event": "result", "status": "candidate"})}
    )
    assert not report.promoted
    assert first_scores(home) == [0.5]


def test_damaged_scores_of_mail_from_folders_stop_the_night(home):
    before = home.bundles.current().card.id
    folder = home.candidate()
    (folder / apart.FILE).write_text("[[1, 2]]")
    with pytest.raises(TrainingError, match="mail from folders"):
        home.run({"candidate": str(folder)}, {"say": json.dumps({"event": "result", "status": "candidate"})})
    assert home.bundles.current().card.id == before


# ---- rescues


def move(home: Home, identity: str, model: str, kind: MoveKind = MoveKind.JUNK) -> None:
    home.store.intent(
        MoveRecord(
            0,
            HOME,
            Identity(identity),
            kind,
            MoveState.DONE,
            MessageRef(FolderName("INBOX"), UidValidity(1), Uid(1)),
            FolderName("Junk"),
            UidValidity(1),
            Uid(1),
            Uid(1),
            "",
            1,
            home.now,
            home.now,
            ModelId(model),
        )
    )


@pytest.fixture
def two_models(home):
    home.promote(1)
    home.promote(2)
    return home


def judge(
    home: Home, count: int, model: str = "personal-0000000002", identity: Identity | None = None
) -> None:
    """So many good mails of a day, judged by that model."""
    with home.store.transaction():
        for _ in range(count):
            home.judged += 1
            judgement = Judgement(
                id=0,
                account=HOME,
                identity=identity or Identity(f"hash:judged-{home.judged}"),
                at=home.now,
                score=Score(0.01, -4.0, -4.0, ModelId(model)),
                decision=Decision(Verdict.KEEP, False, "score", "It looks like good mail."),
            )
            home.store.record_judgement(judgement, vector=None)


def rescue(home: Home, *numbers: int, model: str = "personal-0000000002", **more: Any) -> None:
    for number in numbers:
        move(home, f"hash:good-{number}", model)
        home.label(f"hash:good-{number}", Label.HAM, at=home.now, **more)


def test_a_burst_of_rescues_goes_back_by_itself(two_models):
    home = two_models
    judge(home, 10)
    rescue(home, 1)
    assert home.night.roll_back_on_rescues() is None, "one is none"
    rescue(home, 2)
    assert home.night.roll_back_on_rescues() == "personal-0000000001", "2 of 10 good mails"
    assert home.bundles.current().card.id == "personal-0000000001"
    (event, *_) = home.store.events(limit=1)
    assert event.needs_person
    assert "2 mails back" in event.text
    assert home.night.roll_back_on_rescues() is None, "the model before did not move them"
    assert home.bundles.current().card.id == "personal-0000000001"


@pytest.mark.parametrize(
    ("good", "rescues", "burst"),
    [(150, 2, False), (150, 3, True), (3000, 9, False), (3000, 10, True)],
)
def test_what_the_promise_explains_is_no_burst(two_models, good, rescues, burst):
    """Where there is much mail, a kept promise brings some rescues, too."""
    judge(two_models, good)
    rescue(two_models, *range(rescues))
    assert (two_models.night.roll_back_on_rescues() is not None) is burst


def test_the_promise_of_the_account_counts(two_models):
    judge(two_models, 100)
    two_models.settings = Settings(accounts=(Account(HOME, promise=0.01),))
    rescue(two_models, 1, 2, 3, 4)
    assert two_models.night.roll_back_on_rescues() is None
    two_models.settings = Settings(accounts=(Account(HOME, promise=0.001),))
    assert two_models.night.roll_back_on_rescues() is not None


def test_a_week_of_little_mail_counts_as_one(two_models):
    """Four good mails a day, and twice one of them in Junk: no day is a burst, the week is."""
    home = two_models
    for number in range(2):
        home.now += 3 * DAY
        judge(home, 4)
        rescue(home, number)
        assert (home.night.roll_back_on_rescues() is not None) is (number == 1)


def test_mail_of_another_model_does_not_thin_a_burst_out(two_models):
    judge(two_models, 5000, model="personal-0000000001")
    judge(two_models, 20)
    rescue(two_models, 1, 2)
    assert two_models.night.roll_back_on_rescues() == "personal-0000000001"


@pytest.mark.parametrize(
    "more",
    [
        {"model": "personal-0000000001"},
        {"source": LabelSource.IMPLICIT},
        {"source": LabelSource.FOLDER},
        {"held": True},
    ],
    ids=["moved by another model", "nobody's word", "found in a folder", "held back"],
)
def test_what_is_no_burst(two_models, more):
    rescue(two_models, *range(5), **more)
    assert two_models.night.roll_back_on_rescues() is None
    assert two_models.bundles.current().card.id == "personal-0000000002"


def test_old_rescues_and_the_shipped_model(two_models):
    home = two_models
    rescue(home, *range(5))
    home.now += 2 * DAY
    assert home.night.roll_back_on_rescues() is None
    home.bundles.reset()
    rescue(home, *range(5, 10), model=str(home.bundles.current().card.id))
    assert home.night.roll_back_on_rescues() is None


def test_a_burst_after_the_first_night_goes_back_to_the_shipped_model(home):
    shipped = home.bundles.current().card.id
    home.promote(1)
    rescue(home, 1, 2, 3, model="personal-0000000001")
    assert home.night.roll_back_on_rescues() == shipped


# ---- labels that are taken back


def test_a_label_taken_back_during_the_night(home):
    """What the trainer has read by then is in its candidate: it is thrown away, and the night begins once more."""
    home.label("hash:old", at=NIGHT - 300)
    home.label("hash:late", at=NIGHT - 100)
    trained: list[bool] = []

    def happens() -> None:
        trained.append(home.store.forget_label(HOME, Identity("hash:late")))

    home.night = home.new_night(Meanwhile(home.trainer, happens))
    assert home.promote(known_until=NIGHT - 100).promoted
    assert trained == [True, False]
    assert not home.night.forgotten()


def test_labels_that_never_stand_still(home):
    home.night = home.new_night(Meanwhile(home.trainer, lambda: home.label(f"hash:{time.monotonic_ns()}")))
    report = home.promote()
    assert not report.promoted and "taken back" in report.reasons[0]
    assert home.bundles.current().card.parent is None


def test_one_taken_back_and_another_come_in_late(home):
    """As many labels as before, and not the same."""
    enough(home)
    home.promote()
    home.store.forget_label(HOME, Identity("hash:3"))
    assert home.night.forgotten()
    home.label("hash:imported", at=NIGHT - 200)
    assert home.night.forgotten()
    home.store.forget_label(HOME, Identity("hash:imported"))
    home.label("hash:3")
    assert not home.night.forgotten(), "said again as it was"


def test_a_label_that_came_before_its_mail_is_learned_when_the_mail_is_met(home):
    enough(home)
    record = LabelRecord(HOME, Identity("hash:elsewhere"), Label.HAM, LabelSource.IMPORT, 1.0, NIGHT - 300)
    home.store.add_label(record)
    home.promote()
    assert not home.night.forgotten()
    home.store.put_vector(HOME, record.identity, b"its vector")
    assert home.night.forgotten()


def test_with_all_taken_back_the_shipped_model_serves(home):
    """There is nothing to make another model of, and the one in force knows what was taken back."""
    shipped = home.bundles.current().card.id
    enough(home)
    home.promote()
    for number in range(8):
        home.store.forget_label(HOME, Identity(f"hash:{number}"))
    refusal = {"event": "result", "status": "waits", "reason": "There are no new labels."}
    home.run({"say": json.dumps(refusal)}, {"exit": 3})
    assert home.bundles.current().card.id == shipped
    assert any("taken back" in text for text in home.events())
    assert not home.night.forgotten()


def test_what_was_taken_back_is_not_known_for_ever_where_no_other_model_is_good_enough(home):
    shipped = home.bundles.current().card.id
    enough(home)
    home.promote(1)
    home.store.forget_label(HOME, Identity("hash:3"))
    serving = []
    for number in (2, 3, 4):
        home.now += DAY
        assert not home.promote(number, better=False).promoted
        serving.append(home.bundles.current().card.id == shipped)
    assert serving == [False, False, True], "the third night"
    assert any("taken back" in text for text in home.events())


def test_nothing_to_learn_alone_keeps_the_model(home):
    enough(home)
    home.promote()
    refusal = {"event": "result", "status": "waits", "reason": "There are no new labels."}
    home.run({"say": json.dumps(refusal)}, {"exit": 3})
    assert home.bundles.current().card.id == "personal-0000000001"


def test_wiping_takes_the_models_along(home):
    enough(home)
    home.promote()
    nightly_module.wipe(home.store, home.bundles, "account:somebody-else")
    nightly_module.wipe(home.store, home.bundles, "display")
    assert home.bundles.current().card.id == "personal-0000000001"
    for key in (nightly_module.CONTRADICTING, nightly_module.BELIEVED):
        home.store.set_state(key, json.dumps([["home", "hash:1"], ["work", "hash:2"]]))
    nightly_module.wipe(home.store, home.bundles, "account:home")
    for key in (nightly_module.CONTRADICTING, nightly_module.BELIEVED):
        assert json.loads(home.store.state(key)) == [["work", "hash:2"]]
    assert home.bundles.current().card.parent is None
    assert not list(home.paths.personal_models.iterdir())


def test_temporary_files_go_with_the_night(home):
    """TensorFlow's own: of a trainer that is killed, none stays behind elsewhere."""
    home.run({"temporary": True}, {"say": json.dumps({"event": "result", "status": "waits", "reason": "-"})})
    folder = Path((home.root / "temporary.txt").read_text())
    assert folder == home.paths.cache / "night" and not folder.exists()
    (folder / "candidate").mkdir(parents=True)
    home.new_night(home.trainer)
    assert not folder.exists(), "nor of a daemon that was killed"
