"""A mail under which the program ended again and again is read no more; any other is."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spamd import paths
from spamd.errors import Unreadable
from spamd.message.vector import vectorise
from spamd.model import poison
from spamd.model.bundle import Bundles
from spamd.model.poison import ENDS, Poison
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
