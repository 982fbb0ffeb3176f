"""`make demo` tells a true story, and leaves nothing behind however it ends."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("pymap", reason="pymap is not installed")

ROOT = Path(__file__).resolve().parents[1]
CAN_TRAIN = importlib.util.find_spec("tensorflow") is not None


class Demo:
    """The demo in a process of its own, with a folder of its own for what is temporary."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.temporary = folder / "t"
        self.temporary.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "spamd.demo", *arguments],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(self.temporary), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.lines = self.process.stdout
        self.told: list[str] = []

    def until(self, words: str) -> None:
        for line in self.lines:
            self.told.append(line)
            if words in line:
                return
        raise AssertionError(f"{words!r} was never said in:\n{''.join(self.told)}")

    def rest(self) -> str:
        self.told += list(self.lines)
        return "".join(self.told)

    def left(self) -> list[psutil.Process]:
        """Processes that work in the demo's folder: filter, trainer."""
        found = []
        for process in psutil.process_iter():
            try:
                if str(self.temporary) in " ".join([*process.cmdline(), *process.environ().values()]):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[type[Demo]]:
    made: list[Demo] = []

    def start(*arguments: str) -> Demo:
        made.append(Demo(tmp_path, *arguments))
        return made[-1]

    yield start  # type: ignore[misc]
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        one.lines.close()
        for process in one.left():
            process.kill()


@pytest.mark.timeout(1200)
def test_the_story_comes_true(demo) -> None:
    telling = demo("--once")
    told = telling.rest()
    assert telling.process.wait(60) == 0, told
    tale = json.loads(told.splitlines()[-1])
    assert tale["judged"] >= (15 if CAN_TRAIN else 14)
    assert tale["moved"] >= 5
    assert tale["corrections"] == 1
    assert tale["relearned"] is True
    assert tale["lost"] == 0
    assert tale["good_in_junk"] == 0
    assert tale["after_night"] >= 3
    night = tale["night"]
    assert night["outcome"] in (("promoted", "refused") if CAN_TRAIN else ("not installed",))
    if night["outcome"] == "promoted":
        assert night["figures"]["pinned_loss_after"] > 0
        assert night["model"].startswith("personal-")
    elif night["outcome"] == "refused":
        assert any(letter.isdigit() for letter in night["text"]), "why, with figures"
    assert set(tale["split"]) == {"start", "reading", "arriving", "teaching", "night", "morning"}
    assert not list(telling.temporary.glob("spamd-demo-*"))
    assert telling.left() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("chapter", ["New mail arrives", "Night"])
def test_broken_off_it_leaves_nothing(demo, number: signal.Signals, chapter: str) -> None:
    telling = demo("--once")
    telling.until(chapter)
    if chapter == "Night" and CAN_TRAIN:
        deadline = time.monotonic() + 90
        while not any("spamd.training" in " ".join(one.cmdline()) for one in telling.left()):
            assert time.monotonic() < deadline, "the trainer did not start"
            time.sleep(0.05)
    telling.process.send_signal(number)
    told = telling.rest()
    assert telling.process.wait(60) == 128 + number, told
    assert "nothing of it is left" in told
    assert "Traceback" not in told
    assert not list(telling.temporary.glob("spamd-demo-*")), "its folder is removed"
    assert telling.left() == [], "no process is left"


def test_what_a_killed_one_leaves_the_next_removes(demo) -> None:
    killed = demo("--no-night")
    killed.until("New mail arrives")
    (folder,) = killed.temporary.glob("spamd-demo-*")
    living = demo("--no-night")
    living.until("New mail arrives")
    stranger = killed.temporary / "spamd-demo-notes"  # of somebody who likes the name
    stranger.mkdir()
    filters = psutil.Process(killed.process.pid).children(recursive=True)
    killed.process.kill()
    assert psutil.wait_procs(filters, timeout=60)[1] == []
    later = demo("--once", "--no-night")
    assert later.process.wait(60) == 0, later.rest()
    assert not folder.exists()
    assert stranger.exists()
    living.until("Have a look yourself")
    living.process.send_signal(signal.SIGINT)
    assert living.process.wait(60) == 0, living.rest()


def test_killed_it_leaves_no_filter_behind(demo) -> None:
    telling = demo("--once")
    telling.until("New mail arrives")
    others = [one for one in telling.left() if one.pid != telling.process.pid]
    assert others
    telling.process.kill()
    assert psutil.wait_procs(others, timeout=60)[1] == []
    assert telling.left() == []


def test_it_stays_until_ctrl_c_and_says_how_to_connect(demo) -> None:
    telling = demo("--no-night")
    telling.until("Have a look yourself")
    telling.until("Ctrl-C ends the demo")
    said = "".join(telling.told)
    for word in ("no TLS, user robin", "http://127.0.0.1:", "spamdctl open"):
        assert word in said
    # To be copied: whole, on a line of its own, with no frame around it.
    assert re.search(r"^Page   http://127\.0\.0\.1:\d+/open\?code=[\w-]+$", said, re.MULTILINE)
    assert re.search(r"^Shell  SPAMD_HOME=\S+ \S*spamdctl status$", said, re.MULTILINE)
    telling.until("keep")  # mail goes on arriving
    telling.process.send_signal(signal.SIGINT)
    assert telling.process.wait(60) == 0, telling.rest()
    assert not list(telling.temporary.glob("spamd-demo-*"))
    assert telling.left() == []
