"""The trainer's child process by itself: what it is told, what it answers, and that `stop` is final."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from spamd.errors import TrainingError
from spamd.trainer import Outcome, TrainerProcess, how_to_install, resident_bytes

FAKE = Path(__file__).parents[1] / "fakes" / "trainer.py"
RESULT = {"event": "result", "status": "waits", "reason": "none"}


@pytest.mark.parametrize(
    ("system", "machine", "package"),
    [
        ("linux", "x86_64", "tensorflow-cpu "),
        ("win32", "AMD64", "tensorflow-cpu "),
        ("linux", "aarch64", "tensorflow "),
        ("darwin", "arm64", "tensorflow "),
        ("darwin", "x86_64", "tensorflow "),
    ],
)
def test_the_package_that_is_named_is_made_for_this_machine(system, machine, package):
    assert f" {package}" in how_to_install(system, machine)


class Child:
    def __init__(self, root: Path) -> None:
        self.plan = root / "plan.json"
        self.trainer = TrainerProcess((sys.executable, "-I", "-S", str(FAKE), str(self.plan)))
        self.pids: list[int | None] = []

    def train(self, *steps: dict[str, Any]) -> Outcome:
        self.plan.write_text(json.dumps(steps))
        return self.trainer.train(
            ["--until", "7.0"],
            folder=self.plan.parent,
            deadline=time.monotonic() + 60.0,
            tell=lambda *_: self.pids.append(self.trainer.pid),
        )


@pytest.fixture
def child(tmp_path):
    made = Child(tmp_path)
    yield made
    made.trainer.stop()


def test_it_is_given_its_arguments_and_gives_an_outcome(child):
    progress = {"say": json.dumps({"event": "progress", "stage": "fit", "done": 1, "of": 2})}
    outcome = child.train(
        progress, {"complain": f"first\n{'x' * 301}\n\n"}, {"say": json.dumps(RESULT)}, {"exit": 3}
    )
    assert outcome == Outcome(3, RESULT, "x" * 300)
    assert not outcome.was_killed
    assert json.loads((child.plan.parent / "arguments.json").read_text()) == ["--until", "7.0", "--tied"]
    assert child.pids[0] not in (None, os.getpid()), "while it trains"
    assert child.trainer.pid is None, "and afterwards"


def test_one_after_another_each_with_its_own_outcome(child):
    assert child.train({"complain": "bad"}, {"exit": 9}) == Outcome(9, {}, "bad")
    assert child.train({"say": json.dumps(RESULT)}) == Outcome(0, RESULT, "")


def test_who_was_stopped_begins_no_more(child):
    child.trainer.stop()
    with pytest.raises(TrainingError, match="stopped"):
        child.train({"say": json.dumps(RESULT)})
    assert not (child.plan.parent / "arguments.json").exists(), "no child was started"


def test_whether_another_trainer_needs_tensorflow_is_its_own_matter(child, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert child.trainer.installed()
    assert not TrainerProcess().installed()


@pytest.mark.skipif(sys.platform == "win32", reason="unknown there")
def test_memory_of_a_process():
    before = resident_bytes(os.getpid())
    block = bytearray(os.urandom(2**20)) * 64
    after = resident_bytes(os.getpid())
    assert before is not None and after is not None
    assert after - before > 32 * 2**20, f"{len(block)} bytes more"
    assert resident_bytes(2**22 + 1) is None, "there is no such process"
