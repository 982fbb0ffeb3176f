"""One night in the trainer's own process, on a real database: learn, export, examine, and refuse what would do harm."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spamd import paths
from spamd.domain import AccountName, Identity, Label, LabelRecord, LabelSource
from spamd.message.vector import pack, unpack, vectorise
from spamd.model import apart, bundle, gate
from spamd.model.bundle import Bundles, verify
from spamd.model.runtime import Runtime
from spamd.model.scoring import Scorer
from spamd.store.database import Store
from spamd.training import dataset, examine
from spamd.training.dataset import Example, Mixture, in_tenth
from tests.stream import TOPICS, letter
from tests.unit.model.made import MODERN_HAM, mail

pytestmark = [pytest.mark.train, pytest.mark.timeout(300)]
ACCOUNT = AccountName("home")


def fill(
    database: Path,
    ham: int,
    spam: int,
    *,
    start: float,
    seed: int,
    source: LabelSource = LabelSource.DRAG,
) -> None:
    rng = np.random.default_rng(seed)
    with Store(database, clock=lambda: start) as store:
        for number in range(ham + spam):
            is_spam = number >= ham
            identity = Identity(f"hash:{seed}-{number}")
            store.put_vector(ACCOUNT, identity, pack(vectorise(letter(rng, is_spam))))
            label = Label.SPAM if is_spam else Label.HAM
            store.add_label(LabelRecord(ACCOUNT, identity, label, source, 1.0, start + number))


def train(
    database: Path, parent: Path, out: Path, *more: str, trainer: tuple[str, ...] = ("-m", "spamd.training")
) -> tuple[int, list[dict[str, Any]]]:
    done = subprocess.run(
        [
            sys.executable,
            *trainer,
            "--database",
            database,
            "--parent",
            parent,
            "--out",
            out,
            *more,
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode in (0, 3, 4), done.stderr[-2000:]
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_a_decision_changes_where_another_verdict_is_given() -> None:
    scale, threshold = (3.0, 0.1), 0.99
    junk = (np.log(threshold / (1 - threshold)) - 0.1) / 3
    one = np.array([-0.05, 0.01, junk + 0.01, 4.0, -4.0], np.float32)
    other = np.array([-0.02, -0.02, junk - 0.01, 3.96, -4.04], np.float32)
    assert examine.decisions_changed(one, one, scale, threshold) == 0
    assert examine.decisions_changed(one, other, scale, threshold) == 2  # doubt begins at -.1 / 3, not at 0
    assert examine.decisions_changed(one[3:], other[3:], scale, threshold) == 0


def test_how_far_sureness_is_off() -> None:
    spam = np.array([0.0] * 90 + [1.0] * 10)
    assert examine.expected_calibration_error(np.full(100, 0.1), spam, bins=1) == pytest.approx(0)
    assert examine.expected_calibration_error(np.full(100, 0.9), spam, bins=1) == pytest.approx(0.8)
    assert examine.expected_calibration_error(spam * 0.8 + 0.1, spam) == pytest.approx(0.1)
    assert examine.expected_calibration_error(np.zeros(0), np.zeros(0)) == 0


def test_two_nights_make_better_models_and_a_swap(tmp_path: Path) -> None:
    database = tmp_path / "spamd.db"
    fill(database, 120, 120, start=1000.0, seed=1)
    bundles = Bundles(tmp_path / "models", paths.shipped_model())
    scorer = Scorer(bundles)
    before = database.read_bytes()
    code, events = train(database, bundles.current().folder, tmp_path / "one")
    assert code == 0, events
    assert database.read_bytes() == before
    assert [event for event in events if event["event"] == "progress"][-1]["done"] > 0
    card = events[-1]["card"]
    assert events[-1]["status"] == "candidate"
    assert card["figures"]["tflite_difference"] <= 0.05
    assert card["figures"]["decisions_changed"] == 0
    assert gate.judge(gate.load(tmp_path / "one")).promoted
    bundles.install(tmp_path / "one")
    assert scorer.reload()
    assert scorer.card.known_until == 1239.0
    rng = np.random.default_rng(99)
    for spam in (True, False) * 5:
        assert (scorer.score(vectorise(letter(rng, spam))).probability > 0.5) is spam

    fill(database, 20, 20, start=90_000.0, seed=2)
    code, events = train(database, bundles.current().folder, tmp_path / "two")
    assert code == 0, events
    figures = events[-1]["card"]["figures"]
    assert figures["from_scratch"] == 0
    assert 20 <= figures["fresh"] <= 40  # near-copies count three times at most
    assert figures["held"] == sum(in_tenth(f"{ACCOUNT}\0hash:1-{number}") for number in range(120, 240)), (
        "of the junk"
    )
    assert gate.judge(gate.load(tmp_path / "two")).promoted
    shipped = bundle.read_card(paths.shipped_model())
    for one in (card, events[-1]["card"]):  # thresholds of one week hold for the next
        assert one["calibration"] == pytest.approx(shipped.calibration)

    # A night of wrong labels only: refused by the gate.
    with Store(database, clock=lambda: 200_000.0) as store:
        rng = np.random.default_rng(7)
        for number in range(60):
            identity = Identity(f"hash:wrong-{number}")
            store.put_vector(ACCOUNT, identity, pack(vectorise(letter(rng, number % 2 == 0))))
            wrong = Label.HAM if number % 2 == 0 else Label.SPAM
            store.add_label(
                LabelRecord(ACCOUNT, identity, wrong, LabelSource.IMPORT, 1.0, 200_000.0 + number)
            )
    code, events = train(database, bundles.current().folder, tmp_path / "three")
    assert code == 0, events
    assert not gate.judge(gate.load(tmp_path / "three")).promoted


def test_a_model_that_has_a_scale_of_its_own(tmp_path: Path) -> None:
    """As before nights had one: it is compared on that of today, and is as sure as its own tells."""
    database, one, two = (tmp_path / name for name in ("spamd.db", "one", "two"))
    fill(database, 40, 40, start=1000.0, seed=1)
    code, events = train(database, paths.shipped_model(), one)
    assert code == 0, events
    flat = (0.9, -0.5)
    bundle.write_card(one, replace(bundle.read_card(one), calibration=flat, sureness=None))
    fill(database, 20, 20, start=90_000.0, seed=2)
    code, events = train(database, one, two)
    assert code == 0, events
    shipped = bundle.read_card(paths.shipped_model())
    assert events[-1]["card"]["calibration"] == pytest.approx(shipped.calibration)
    with Store(database, read_only=True) as store:
        known = dataset.examples(store.training_set(until=1e9, limit=1000))
    serving, night = Runtime(one / bundle.MODEL), gate.load(two)
    rescued = [e.vector for e in known if e.rescued]
    held = [e.vector for e in known if dataset.is_held(e) and e.at < 90_000.0]
    assert len(rescued) == 60
    assert held
    for before, mails, scale in (
        (night.rescued.before, rescued, shipped.calibration),
        (night.held.before, held, flat),
    ):
        assert before == pytest.approx(gate.probabilities(serving.score_logits(mails)[1], scale))
    assert gate.judge(night).promoted


def test_mail_from_folders_is_scored_by_what_the_rest_teaches(tmp_path: Path) -> None:
    """Copies of one odd mail lie in a folder of good mail: learned, they are good; by the others' word they are not."""
    database = tmp_path / "spamd.db"
    fill(database, 60, 40, start=1000.0, seed=1, source=LabelSource.FOLDER)
    fill(database, 10, 10, start=2000.0, seed=2)
    odd = [Identity(f"hash:odd-{number}") for number in range(3)]
    with Store(database, clock=lambda: 3000.0) as store:
        text = " ".join([*TOPICS, *TOPICS]) + " http://shop7.example/"
        for number, identity in enumerate(odd):
            raw = mail("casino pharmacy", f"{text} {number}", sender="Shop <a@shop.example>")
            store.put_vector(ACCOUNT, identity, pack(vectorise(raw)))
            store.add_label(
                LabelRecord(ACCOUNT, identity, Label.HAM, LabelSource.FOLDER, 1.0, 3000.0 + number)
            )
            vector = vectorise(raw)
    code, events = train(database, paths.shipped_model(), tmp_path / "one")
    assert code == 0, events
    scores = apart.load(tmp_path / "one")
    assert set(scores) == {
        *((ACCOUNT, Identity(f"hash:1-{number}")) for number in range(100)),
        *((ACCOUNT, identity) for identity in odd),
    }, "all that lay in folders, held out or not, and nothing else"
    good = [scores[ACCOUNT, Identity(f"hash:1-{number}")] for number in range(60)]
    junk = [scores[ACCOUNT, Identity(f"hash:1-{number}")] for number in range(60, 100)]
    assert np.median(good) < 0.1 < 0.9 < np.median(junk)
    card = events[-1]["card"]
    bundles = Bundles(tmp_path / "models", paths.shipped_model())
    bundles.install(tmp_path / "one")
    learned = Scorer(bundles).score(vector, arrived=False).probability
    assert min(scores[ACCOUNT, identity] for identity in odd) > max(0.5, learned)
    assert {event.get("stage") for event in events if event["event"] == "progress"} >= {"fit", "apart"}
    fill(database, 20, 20, start=90_000.0, seed=3)
    code, events = train(database, bundles.current().folder, tmp_path / "two")
    assert code == 0 and apart.load(tmp_path / "two") == {}, f"{card['known_until']}: these are known"


def test_spam_alone_is_refused_with_a_reason(tmp_path: Path) -> None:
    fill(tmp_path / "spamd.db", 2, 60, start=1000.0, seed=3)
    code, events = train(tmp_path / "spamd.db", paths.shipped_model(), tmp_path / "out")
    assert code == 3
    assert events[-1]["status"] == "waits"
    assert "good mail" in events[-1]["reason"]
    assert not (tmp_path / "out" / "card.json").exists()


def test_good_mail_alone_is_a_first_lesson(tmp_path: Path) -> None:
    fill(tmp_path / "spamd.db", 60, 0, start=1000.0, seed=4)
    code, events = train(tmp_path / "spamd.db", paths.shipped_model(), tmp_path / "out")
    assert code == 0, events
    card = events[-1]["card"]
    assert card["figures"]["counterweight"] >= 100
    shipped = bundle.read_card(paths.shipped_model())
    assert card["alpha"] != shipped.alpha, "the base counts otherwise; what it says is on the same scale"
    assert card["calibration"][0] * card["alpha"] == pytest.approx(shipped.calibration[0] * shipped.alpha)
    bundles = Bundles(tmp_path / "models", paths.shipped_model())
    old = Scorer(bundles)
    bundles.install(tmp_path / "out")
    new = Scorer(bundles)
    rng = np.random.default_rng(5)
    ham = [vectorise(letter(rng, False)) for _ in range(10)]
    assert all(new.score(one).logit < old.score(one).logit for one in ham)
    above = [
        path.name
        for path in MODERN_HAM
        if new.score(vectorise(path.read_bytes()), arrived=False).probability >= new.card.junk_threshold
    ]
    assert above == []


def test_how_sure_a_model_is_the_held_labels_tell(tmp_path: Path) -> None:
    from spamd.training.night import sureness  # TensorFlow: the rest of this file is collected without it

    card = bundle.read_card(paths.shipped_model())
    runtime = Runtime(paths.shipped_model() / bundle.SHIPPED_MODEL)
    rng = np.random.default_rng(6)
    mails = [(vectorise(letter(rng, spam)), spam) for spam in (True, False) * 60]

    def told(count: int, wrong: int = 0) -> tuple[float, float]:
        held = [
            Example(str(n), vector, spam=spam is (n >= wrong), weight=1.0, at=0.0)
            for n, (vector, spam) in enumerate(mails[:count])
        ]
        return sureness(Mixture((), (), tuple(held), (), ()), runtime, card, card.alpha)

    assert told(18) == pytest.approx(card.calibration), "nine of each kind tell nothing"
    a, b = told(120)
    logits = runtime.score_logits([vector for vector, _ in mails])[1]
    junk = np.array([spam for _, spam in mails])
    before, now = (
        gate.log_loss(gate.probabilities(logits, scale), junk) for scale in (card.calibration, (a, b))
    )
    assert now < before
    assert told(120, wrong=60)[0] < a, "wrong as often as right"


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    code, events = train(tmp_path / "none.db", paths.shipped_model(), tmp_path / "out")
    assert (code, events[-1]["status"]) == (4, "impossible")
    fill(tmp_path / "spamd.db", 1, 1, start=1.0, seed=6)
    code, events = train(tmp_path / "spamd.db", tmp_path / "no-model", tmp_path / "out")
    assert (code, events[-1]["status"]) == (4, "impossible")
    code, events = train(
        tmp_path / "spamd.db", paths.shipped_model(), tmp_path / "out", "--architecture", "magic.v1"
    )
    assert code == 4
    assert "hashed_linear.v1" in events[-1]["hint"]


def test_the_candidate_is_a_whole_bundle(tmp_path: Path) -> None:
    fill(tmp_path / "spamd.db", 30, 30, start=1000.0, seed=8)
    code, _ = train(tmp_path / "spamd.db", paths.shipped_model(), tmp_path / "out", "--from-scratch")
    assert code == 0
    bundle = verify(tmp_path / "out")
    assert bundle.path.stat().st_size <= 1_500_000
    assert bundle.card.parent == verify(paths.shipped_model()).card.id
    assert unpack(pack(vectorise(letter(np.random.default_rng(1), True)))).personal_ids.size


@pytest.mark.parametrize("architecture", ["fasttext.v1", "wide_and_deep.v1", "cnn.v1", "bilstm.v1"])
def test_the_other_architectures_give_whole_models_too(tmp_path: Path, architecture: str) -> None:
    fill(tmp_path / "spamd.db", 20, 20, start=1000.0, seed=9)
    code, events = train(
        tmp_path / "spamd.db", paths.shipped_model(), tmp_path / "out", "--architecture", architecture
    )
    assert code == 0, events
    bundle = verify(tmp_path / "out")
    assert bundle.card.architecture == architecture
    assert bundle.card.figures["tflite_difference"] <= 0.05
    assert bundle.path.stat().st_size <= 1_500_000
