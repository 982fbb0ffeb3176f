"""A mail under which the program ended again and again is read no more; any other is."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spamd import paths
from spamd.errors import ModelError, Unreadable
from spamd.message.vector import vectorise
from spamd.model import poison, taster
from spamd.model.bundle import Bundles
from spamd.model.poison import ENDS, WARY, Poison
from spamd.model.scoring import Scorer

DEADLY, GOOD = b"Subject: deadly\r\n\r\nx\r\n", b"Subject: good\r\n\r\nx\r\n"
ENDING = """
import os, pathlib, sys
from spamd.model.poison import Poison
guard = Poison(pathlib.Path(sys.argv[1]))
with guard.reading(%r):
    pass
with guard.reading(%r):
    os._exit(7)
"""


def ends(folder: Path, deadly: bytes = DEADLY, before: bytes = GOOD) -> int:
    """A program that reads one mail well, and ends in the middle of another."""
    return subprocess.run([sys.executable, "-c", ENDING % (before, deadly), folder], check=False).returncode


HANGING = """
import sys
sys.stdout.write(".")
sys.stdout.flush()
sys.stdin.read()
"""
KILLED = """
import os, sys
from spamd.model import taster
from spamd.message import vector
read = vector.vectorise
vector.vectorise = lambda raw: os.kill(os.getpid(), 11) if b"deadly" in raw else read(raw)
taster.serve(sys.stdin.buffer, sys.stdout.buffer)
"""


@pytest.fixture(autouse=True)
def closed(monkeypatch):
    """No child outlives its test."""
    made: list[Poison] = []
    begin = Poison.__init__
    monkeypatch.setattr(
        Poison, "__init__", lambda self, *a, **k: (made.append(self), begin(self, *a, **k))[1]
    )
    yield
    for guard in made:
        guard.close()


def child_is(monkeypatch, program: str) -> None:
    """What the taster's child does."""
    monkeypatch.setattr(taster, "COMMAND", (sys.executable, "-c", program))


def reads(guard: Poison, raw: bytes) -> bool:
    try:
        with guard.reading(raw):
            return True
    except Unreadable:
        return False


def test_after_so_many_ends_it_is_read_no_more(tmp_path):
    for _ in range(ENDS):
        assert ends(tmp_path) == 7
    assert ends(tmp_path) == 1, "it is not read, so that it ends otherwise"
    guard = Poison(tmp_path)
    assert not reads(guard, DEADLY) and reads(guard, GOOD)
    assert not reads(Poison(tmp_path), DEADLY), "nor at any later start"


def test_a_kill_in_the_middle_of_any_mail_is_forgotten_when_it_is_read_well(tmp_path):
    for _ in range(ENDS - 1):
        ends(tmp_path)
    assert reads(Poison(tmp_path), DEADLY)
    for _ in range(ENDS - 1):
        ends(tmp_path)
    assert reads(Poison(tmp_path), DEADLY)


def test_an_error_is_no_end(tmp_path):
    for _ in range(ENDS + 1):
        with pytest.raises(ValueError), Poison(tmp_path).reading(DEADLY):
            raise ValueError
    assert reads(Poison(tmp_path), DEADLY)


def test_another_version_tries_again(tmp_path, monkeypatch):
    for _ in range(ENDS):
        ends(tmp_path)
    assert not reads(Poison(tmp_path), DEADLY)
    monkeypatch.setattr(poison, "__version__", "another")
    assert reads(Poison(tmp_path), DEADLY)


def test_many_threads_and_no_place_for_a_note(tmp_path):
    guard = Poison(tmp_path)
    with ThreadPoolExecutor(50) as pool:
        assert all(pool.map(lambda n: reads(guard, b"%d" % n), range(500)))
    assert (tmp_path / "reading").read_bytes().strip() == b""
    (tmp_path / "file").write_text("")
    assert reads(Poison(tmp_path / "file"), DEADLY)
    (tmp_path / "unreadable.json").write_text("{")
    (tmp_path / "reading").write_bytes(b"\xff" * 99)
    assert reads(Poison(tmp_path), DEADLY)


def test_the_scorer_asks_it(tmp_path):
    for _ in range(ENDS):
        ends(tmp_path)
    scorer = Scorer(Bundles(tmp_path / "models", paths.shipped_model()), poison=Poison(tmp_path))
    with pytest.raises(Unreadable):
        scorer.read(DEADLY)
    assert scorer.score(scorer.read(GOOD)) == scorer.score(vectorise(GOOD))


def test_after_one_end_a_child_meets_the_others_first(tmp_path, monkeypatch):
    ends(tmp_path)
    child_is(monkeypatch, KILLED)
    guard = Poison(tmp_path)
    assert not any(reads(guard, DEADLY + b"%d" % n) for n in range(3)) and not reads(guard, DEADLY)
    assert reads(guard, GOOD)
    assert not reads(Poison(tmp_path), DEADLY + b"1"), "nor at any later start"


def test_it_is_wary_for_a_while_and_again_after_each_end(tmp_path, monkeypatch):
    ends(tmp_path)
    child_is(monkeypatch, KILLED)
    now = 0.0
    guard = Poison(tmp_path, lambda: now)
    now = WARY
    assert not reads(guard, DEADLY + b"1")
    now = 2 * WARY
    assert not reads(guard, DEADLY + b"2")
    now = 3 * WARY + 1
    assert reads(guard, DEADLY + b"3"), "as no child read it"
    assert not reads(guard, DEADLY + b"2"), "what ended a child is still known"


def test_without_an_end_there_is_no_child(tmp_path, monkeypatch):
    child_is(monkeypatch, KILLED)
    assert reads(Poison(tmp_path), DEADLY)


@pytest.mark.parametrize("program", ["raise SystemExit(1)", None], ids=["ends at once", "is not there"])
def test_where_no_child_can_be_had_mail_is_read_without_it(tmp_path, monkeypatch, program):
    ends(tmp_path)
    child_is(monkeypatch, program or "")
    if program is None:
        monkeypatch.setattr(taster, "COMMAND", (str(tmp_path / "missing"),))
    assert reads(Poison(tmp_path), GOOD)


def test_a_mail_that_an_end_of_the_filter_interrupted_is_not_blamed(tmp_path, monkeypatch):
    """The child is stopped under it, by us."""
    ends(tmp_path)
    child_is(monkeypatch, HANGING)
    guard = Poison(tmp_path)
    asked = threading.Event()
    survives = taster.Taster.survives
    monkeypatch.setattr(taster.Taster, "survives", lambda self, raw: (asked.set(), survives(self, raw))[1])
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(reads, guard, GOOD)
        assert asked.wait(30)
        while guard._taster._child is None:
            pass
        guard.close()
        with pytest.raises(ModelError):
            read.result(30)
    child_is(monkeypatch, KILLED)
    assert reads(Poison(tmp_path), GOOD)


def test_what_was_wiped_is_known_no_more(tmp_path):
    """A digest tells whoever has a mail that it was here."""
    for _ in range(ENDS):
        ends(tmp_path)
    guard = Poison(tmp_path)
    assert not reads(guard, DEADLY) and (tmp_path / "unreadable.json").exists()
    guard.forget()
    assert not (tmp_path / "unreadable.json").exists()
    assert reads(guard, DEADLY) and not (tmp_path / "unreadable.json").exists()
    guard.close()


def test_a_mail_in_which_the_child_hangs_is_passed_by(tmp_path, monkeypatch):
    """All accounts would wait for it until the filter is stopped, and it would be as unknown as before."""
    ends(tmp_path)
    child_is(monkeypatch, HANGING)
    monkeypatch.setattr(taster, "READ_SECONDS", 0.1)
    assert not reads(Poison(tmp_path), GOOD)


def test_a_child_that_somebody_ended_while_it_waited_blames_no_mail(tmp_path, monkeypatch):
    ends(tmp_path)
    child_is(monkeypatch, KILLED)
    guard = Poison(tmp_path)
    assert reads(guard, GOOD)
    child = guard._taster._child
    child.kill()
    child.wait()
    blamed = []
    monkeypatch.setattr(guard, "_save", lambda: blamed.append(dict(guard._counts)))
    assert reads(guard, GOOD + b"1") and blamed == []
