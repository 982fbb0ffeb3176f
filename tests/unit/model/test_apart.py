"""Mail scored by a model that has learned all but it: parts in time, near-copies together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spamd import paths
from spamd.domain import AccountName, Identity, Label
from spamd.errors import ModelError
from spamd.message.vector import StoredVector, vectorise
from spamd.model import apart
from spamd.model.bundle import Bundles
from spamd.model.scoring import Scorer
from tests.unit.model.made import flood

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("nel", "rto", "lian", "sk")]


def letter(seed: int, junk: bool = False) -> bytes:
    rng = np.random.default_rng(seed)
    half = len(WORDS) // 2
    text = " ".join(rng.choice(WORDS[half:] if junk else WORDS[:half], 80))
    return f"From: a@b.example\r\nSubject: {' '.join(rng.choice(WORDS, 3))}\r\n\r\n{text}\r\n".encode()


def rows(count: int, junk: bool = False, first: int = 0) -> list[tuple[str, StoredVector, bool]]:
    return [(f"{junk}-{n}", vectorise(letter(first + n)), junk) for n in range(count)]


def test_parts_are_runs_in_time_and_of_both_classes() -> None:
    mails = [*rows(50), *rows(20, True, 1000)]
    part = apart.parts(mails, {name for name, _, _ in mails})
    assert [part[f"False-{n}"] for n in range(50)] == [n // 10 for n in range(50)]
    assert [part[f"True-{n}"] for n in range(20)] == [n // 4 for n in range(20)]


def test_near_copies_stay_together_whoever_named_them() -> None:
    mails = rows(40)
    copies = [(f"copy-{n}", vectorise(flood(n)), n % 2 == 0) for n in range(4)]
    mixed = [copies[0], *mails[:20], copies[1], *mails[20:], copies[2]]
    wanted = {name for name, _, _ in mixed}
    part = apart.parts([*mixed, copies[3]], wanted)
    assert len({part[f"copy-{n}"] for n in range(4)}) == 1, "also the one that is not asked for"
    assert set(part) == wanted | {"copy-3"}, "what is like none of them belongs to no part"
    assert apart.parts([*mixed, *rows(5, True, 5000)], wanted).keys() == wanted


def test_a_mail_is_not_scored_by_its_own_lesson(tmp_path: Path) -> None:
    scorer = Scorer(Bundles(tmp_path / "models", paths.shipped_model()))
    good = [(Identity(f"good-{n}"), vectorise(letter(n)), Label.HAM) for n in range(60)]
    junk = [(Identity(f"junk-{n}"), vectorise(letter(2000 + n, True)), Label.SPAM) for n in range(30)]
    odd = [(Identity(f"odd-{n}"), vectorise(flood(n)), Label.HAM) for n in range(5)]

    def ask(mails: list[tuple[Identity, StoredVector, Label]]) -> list[float]:
        return [scorer.score(vector, arrived=False).probability for _, vector, _ in mails]

    cold = ask(good)
    turns = [*(one for pair in zip(good, junk, strict=False) for one in pair), *good[30:], *odd]
    for at, (identity, vector, label) in enumerate(turns):
        if identity == odd[0][0]:
            before = ask(odd)
        scorer.teach(vector, identity, label, 0.7, float(at))
    after = ask(odd)
    said = scorer.apart([*good, *junk, *odd])
    assert set(said) == {identity for identity, _, _ in [*good, *junk, *odd]}
    assert max(after) < 0.01 < 0.4 < min(before)
    assert [said[identity] for identity, _, _ in odd] == pytest.approx(before, abs=0.02), (
        "as if never learned"
    )
    assert max(said[identity] for identity, _, _ in good) < min(cold), "the others tell what is usual here"
    assert ask(odd) == after, "and the model is what it was"


def test_what_the_trainer_leaves_is_read_back_or_refused(tmp_path: Path) -> None:
    assert apart.load(tmp_path) == {}
    scores = {(AccountName("home"), Identity("hash:1")): 0.25, (AccountName("work"), Identity("hash:1")): 1.0}
    apart.save(tmp_path, scores)
    assert apart.load(tmp_path) == scores
    for damage in ("[[1, 2]]", "{", json.dumps([["home", "hash:1", 1.5]]), "[[[[", '[["a", "b", NaN]]'):
        (tmp_path / apart.FILE).write_text(damage)
        with pytest.raises(ModelError):
            apart.load(tmp_path)
