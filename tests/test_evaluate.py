"""scripts/evaluate.py on a handful of mails: every protocol and option does what it says."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts import evaluate
from spamd import trainer
from spamd.domain import Label
from tests.stream import letter, written

DAYS, PER_DAY = 3, 12
BECAME = "waits", "refused", evaluate.TAKEN_WITHOUT, evaluate.TAKEN_WITH


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("stream"), days=DAYS, per_day=PER_DAY, seed=11)


def run(
    index: Path, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[dict[str, Any], list[list[str]]]:
    out = index.parent / "results.txt"
    assert evaluate.main(["--index", str(index), "--out", str(out), *options]) == 0
    told = capsys.readouterr()
    summary = json.loads(told.out.splitlines()[-1])
    assert ("clean nights judged" in told.err) is ("--poison" in options)
    rows = [line.split() for line in out.read_text().splitlines()]
    assert all(row[0] in ("ham", "spam") and math.isfinite(float(row[1])) for row in rows)
    assert all(row[3] in ("keep", "unsure", "junk") for row in rows)
    days = [int(row[2]) for row in rows]
    assert days == sorted(days)
    assert summary["messages"] == len(rows)
    return summary, rows


def gap(rows: list[list[str]]) -> float:
    """Between the mean scores of spam and ham."""
    means = [np.mean([float(row[1]) for row in rows if row[0] == label]) for label in ("spam", "ham")]
    return float(means[0] - means[1])


def test_immediate_learns_and_cold_does_not(index, capsys):
    summary, cold = run(index, capsys, "--protocol", "cold")
    assert summary["nights"] == {}
    _, immediate = run(index, capsys, "--protocol", "immediate")
    assert float(cold[0][1]) == float(immediate[0][1]), "the first mail is scored before anything is learned"
    assert gap(immediate[-PER_DAY:]) > gap(cold[-PER_DAY:]) + 1


def test_folders_before_the_first_mail(index, capsys):
    _, plain = run(index, capsys, "--protocol", "cold")
    summary, taught = run(index, capsys, "--protocol", "cold", "--bootstrap", "20")
    assert summary["messages"] == DAYS * PER_DAY - 20
    assert gap(taught) > gap(plain[20:])
    summary, _ = run(index, capsys, "--protocol", "immediate", "--bootstrap-ham", "10", "--limit", "30")
    assert summary["messages"] == 20


def test_an_index_without_days_takes_them_from_received(tmp_path, capsys):
    rng = np.random.default_rng(1)
    lines = []
    for number, date in enumerate(["Mon, 02 Nov 2026", "Mon, 02 Nov 2026", "nonsense", "Tue, 03 Nov 2026"]):
        received = f"From mbox\nReceived: from a\n\tby b; {date} 10:00:00 +0000\n".encode()
        (tmp_path / f"{number}").write_bytes(received + letter(rng, False))
        lines.append(f"0 {number}")
    (tmp_path / "index").write_text("\n".join(["# label path", *lines, ""]))
    _, rows = run(tmp_path / "index", capsys, "--protocol", "immediate")
    days = [int(row[2]) for row in rows]
    assert days == [days[0]] * 3 + [days[0] + 1]


MONDAY = 20_759  # 2 November 2026, in days since 1970


@pytest.mark.parametrize(
    ("raw", "day"),
    [
        (b"From a@b.example Mon Nov  2 10:00:00 2026\nSubject: x\n\n", MONDAY),
        (b"From a@b.example Mon Nov  2 23:30:00 2026 -0100\r\nSubject: x\r\n\r\n", MONDAY + 1),
        (b"From - Mon Nov  2 10:00:00 2026\nReceived: by b; Sun, 1 Nov 2026 10:00:00 +0000\n\n", MONDAY - 1),
        (b"From x Mon Nov  2 10:00:00 2026\nReceived: by b; nonsense\n\n", MONDAY),
        (b"Received: by b; Mon, 2 Nov 2026 10:00:00 +0000\nReceived: by a; Sun, 1 Nov 2026 10:00:00 +0000\n\n", MONDAY),
        (b"From a@b.example\nSubject: x\n\nReceived: by b; Mon, 2 Nov 2026 10:00:00 +0000\n", None),
        (b"From a@b.example Mon Nov 32 10:00:00 2026\nSubject: x\n\n", None),
        (b"", None),
    ],
)  # fmt: skip
def test_the_day_is_that_of_the_topmost_received_or_else_of_the_mbox_line(raw, day):
    assert evaluate.day_of(raw) == day


@pytest.mark.parametrize(
    ("told", "days"),
    [
        ([1, 2, 2, 3], [1, 2, 2, 3]),
        ([1, 1, 9999, 2, 3, 3], [1, 1, 1, 2, 3, 3]),
        ([9999, 1, 2], [1, 1, 2]),
        ([5, 5, 0, 6, -700, 7], [5, 5, 5, 6, 6, 7]),
        ([5, 6, 5, 6, 7, 6, 7], [5, 5, 5, 6, 6, 6, 7]),
        ([4], [4]),
    ],
)
def test_no_night_is_held_up_by_one_date_of_a_year_to_come(tmp_path, told, days):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"Subject: x\n\n")
    mails = [evaluate.Mail(number, Label.HAM, tmp_path / "a", day) for number, day in enumerate(told)]
    assert [mail.day for mail in evaluate.in_days(mails)] == days
    undated = evaluate.Mail(len(told), Label.HAM, tmp_path / "b", None)
    assert [mail.day for mail in evaluate.in_days([undated, *mails, undated])] == [days[0], *days, days[-1]]
    assert [mail.day for mail in evaluate.in_days([undated])] == [0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("junk mail", "index:2: not `spam|ham path [day]`"),
        ("short", "index:2: not `spam|ham path [day]`"),
        ("ham index today", "index:2: the day is no number: today"),
        ("ham index inf", "index:2: the day is no number: inf"),
        ("ham nowhere", "index:2: there is no file"),
    ],
)
def test_what_is_no_index(tmp_path, capsys, line, said):
    """A label taken for another would only be seen in the figures."""
    (tmp_path / "index").write_text(f"spam index 3\n{line}\n")
    with pytest.raises(SystemExit):
        run(tmp_path / "index", capsys, "--protocol", "cold")
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--protocol", "bootstrap"],
        ["--protocol", "cold", "--bootstrap", "1000"],
        ["--protocol", "nonsense"],
        ["--protocol", "bootstrap", "--bootstrap", "10", "--bootstrap-ham", "5"],
        ["--protocol", "cold", "--limit", "0"],
        ["--protocol", "cold", "--base", "nowhere"],
        ["--protocol", "cold", "--out", "/nowhere/results"],
        ["--protocol", "corrections", "--correct-fraction", "80"],
        ["--protocol", "corrections", "--poison", "some"],
        pytest.param(["--protocol", "nightly", "--architecture", "nonsense.v1"], marks=pytest.mark.train),
    ],
)
def test_what_makes_no_sense(index, capsys, options):
    with pytest.raises(SystemExit):
        run(index, capsys, *options)


def test_who_the_person_is_does_not_depend_on_what_was_judged():
    mails = range(2000)
    half = [number for number in mails if evaluate.speaks(1, number, 0.5)]
    backwards = [number for number in reversed(mails[::3]) if evaluate.speaks(1, number, 0.5)]
    assert backwards[::-1] == [number for number in half if number % 3 == 0]
    assert {number for number in mails if evaluate.speaks(1, number, 0.2)} < set(half)
    assert len(half) == pytest.approx(1000, abs=100)
    assert half != [number for number in mails if evaluate.speaks(2, number, 0.5)]
    assert all(evaluate.speaks(1, number, 1.0) and not evaluate.speaks(1, number, 0.0) for number in mails)


@pytest.mark.train
def test_nightly_in_this_process(index, capsys):
    summary, rows = run(index, capsys, "--protocol", "nightly", "--in-process")
    assert summary["nights"] == {"promoted": DAYS}
    assert summary["model"].startswith("personal-")
    assert gap(rows[-PER_DAY:]) > gap(rows[:PER_DAY])


@pytest.mark.train
def test_nightly_in_the_trainers_own_process(index, capsys, monkeypatch):
    monkeypatch.setattr(trainer, "NICENESS", 0)
    options = ["--protocol", "nightly", "--limit", str(2 * PER_DAY)]
    summary, rows = run(index, capsys, *options)
    assert summary["nights"] == {"promoted": 2}
    _, same = run(index, capsys, *options, "--in-process")
    for one, other in zip(rows, same, strict=True):
        assert float(one[1]) == pytest.approx(float(other[1]), abs=0.01)


@pytest.mark.train
def test_corrections_and_damaged_nights(index, capsys):
    summary, rows = run(
        index, capsys, *("--protocol", "corrections", "--mode", "filtering", "--in-process"),
        *("--poison", ".5", "--poison", "spam", "--poison", "ham", "--poison-every", "2"),
    )  # fmt: skip
    wrong = sum((row[3] == "junk") != (row[0] == "spam") for row in rows)
    assert summary["corrections"] == wrong > 0
    assert summary["moved_ham"] == sum(row[0] == "ham" and row[3] == "junk" for row in rows)
    assert sum(summary["nights"].values()) == DAYS
    assert set(summary["poisoned"]) <= {".5", "spam", "ham"}
    for found in summary["poisoned"].values():
        assert found["nights"] == sum(found.get(one, 0) for one in BECAME)
        assert found.get("of them learned", 0) <= found.get("damaged labels in nights taken", 0)
    assert any(found["nights"] for found in summary["poisoned"].values())
    lazy, _ = run(
        index, capsys, *("--protocol", "corrections", "--correct-fraction", "0", "--in-process"),
        *("--when-due", "--limit", str(2 * PER_DAY)),
    )  # fmt: skip
    assert lazy["corrections"] == 0
    assert lazy["nights"] == {"not due": 2}, "silence alone starts no night"


@pytest.mark.train
@pytest.mark.parametrize(
    "options",
    [["--bootstrap", "16"], ["--bootstrap-ham", "8"]],
    ids=["both", "ham alone"],
)
def test_bootstrap(index, capsys, options):
    summary, _ = run(index, capsys, "--protocol", "bootstrap", "--in-process", *options)
    assert summary["messages"] == DAYS * PER_DAY - int(options[1])
    assert summary["nights"]["promoted"] >= 1


@pytest.mark.train
def test_without_the_base_and_with_another_architecture(index, capsys):
    limit = ["--limit", str(2 * PER_DAY)]
    summary, rows = run(index, capsys, "--protocol", "immediate", "--base", "none", *limit)
    assert float(rows[0][1]) == 0.0
    summary, rows = run(index, capsys, "--protocol", "nightly", "--base", "none", "--in-process", *limit)
    assert all(float(row[1]) == 0.0 for row in rows[:PER_DAY])
    assert summary["nights"] == {"promoted": 2}
    assert gap(rows[PER_DAY:]) > 0
    other = ["--architecture", "fasttext.v1", "--in-process", *limit]
    summary, _ = run(index, capsys, "--protocol", "nightly", *other)
    assert sum(summary["nights"].values()) == 2
    assert "failed" not in summary["nights"]
