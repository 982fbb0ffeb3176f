"""scripts/compare_filters.py: other filters see the same stream by the same rules."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from scripts import compare_filters
from tests.stream import written

DAYS, PER_DAY = 3, 20


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("stream"), days=DAYS, per_day=PER_DAY, seed=5)


def run(index: Path, capsys: pytest.CaptureFixture[str], *options: str) -> list[tuple[str, float, int]]:
    out = index.parent / "results.txt"
    assert compare_filters.main(["--index", str(index), "--out", str(out), *options]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["messages"] == DAYS * PER_DAY
    rows = [line.split() for line in out.read_text().splitlines()]
    assert len(rows) == DAYS * PER_DAY
    return [(label, float(score), int(day)) for label, score, day in rows]


def gap(rows: list[tuple[str, float, int]]) -> float:
    """Between the mean scores of spam and ham."""
    means = [np.mean([score for label, score, _ in rows if label == wanted]) for wanted in ("spam", "ham")]
    return float(means[0] - means[1])


@pytest.mark.parametrize("name", ["letters", "bogofilter"])
def test_what_is_learned_shows_at_once_or_after_the_day(index, capsys, name):
    if name != "letters" and not shutil.which(name):
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    immediate = run(index, capsys, "--filter", name)
    nightly = run(index, capsys, "--filter", name, "--protocol", "nightly")
    first = [row for row in nightly if row[2] == 0]
    assert len({score for _, score, _ in first}) == 1, "nothing is known on the first day"
    assert gap([row for row in immediate if row[2] == 0]) > 0
    assert gap([row for row in nightly if row[2] > 0]) > 0


def test_a_filter_that_is_not_there_is_named(index, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SystemExit):
        compare_filters.main(
            ["--index", str(index), "--out", str(index.parent / "x"), "--filter", "spamprobe"]
        )
    assert "spamprobe is not installed" in capsys.readouterr().err
