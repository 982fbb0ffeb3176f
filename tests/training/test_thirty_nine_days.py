"""Thirty-nine days of one mailbox: mail arrives, is judged and moved; the person corrects all, half or a fifth of what
was judged wrong; the rest is silence. Nights come when the product would have them.

The clock is driven, the trainer is the real one, in this process (TensorFlow starts once instead of a dozen times).
What the ledger, the models' history and the figures say afterwards must be one story.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from scripts import evaluate
from spamd.domain import Label, LabelSource, Verdict
from spamd.judgement import evidence
from spamd.learning import KEPT_WEIGHT, SUSPECT_WEIGHT
from spamd.training.dataset import SILENCE_LEAST
from tests.unit.model.made import mail

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]
DAYS, PER_DAY = 39, 16
SPAM_SHARE = 0.4
DEMO = Path(__file__).parents[2] / "spamd" / "demo" / "mail"
WORDS = [
    "garden",
    "report",
    "meeting",
    "train",
    "summer",
    "invoice",
    "parcel",
    "music",
    "school",
    "doctor",
    "window",
    "kitchen",
    "river",
    "football",
    "concert",
    "translation",
    "mountain",
    "bicycle",
    "library",
    "holiday",
    "insurance",
    "printer",
    "birthday",
    "cousin",
    "recipe",
    "weather",
    "lecture",
    "budget",
]
OFFERS = (
    "watches", "loans", "casino spins", "diet drops", "crypto doubling", "lottery claim", "cheap licences", "romance",
)  # fmt: skip


def stream(folder: Path) -> Path:
    """The demo's mails with other numbers and words, and plain letters whose subjects change from week to week."""
    rng = np.random.default_rng(39)
    originals = {
        label: [path.read_bytes() for path in sorted((DEMO / label).glob("*.eml"))]
        for label in ("ham", "spam")
    }
    lines = []
    for number in range(DAYS * PER_DAY):
        day = number // PER_DAY
        spam = rng.random() < SPAM_SHARE
        label = "spam" if spam else "ham"
        if rng.random() < 0.5:
            raw = varied(originals[label][rng.integers(len(originals[label]))], rng)
        elif spam:
            offer = OFFERS[(day // 5 + rng.integers(2)) % len(OFFERS)]
            raw = mail(
                f"{offer} {rng.integers(10**6)}",
                f"Dear friend, {offer} for you only today {words(rng, 12)} http://w{rng.integers(99)}.example/{day}",
                sender=f"Team <info{rng.integers(50)}@offers{day}.example>",
            )
        else:
            topic = WORDS[(day // 3 + rng.integers(4)) % len(WORDS)]
            raw = mail(
                f"{topic} {words(rng, 2)}",
                f"Hi, about the {topic}: {words(rng, 25)}. See you, Anna",
                sender="Anna <anna@work.example>",
            )
        (folder / f"{number}.eml").write_bytes(raw)
        lines.append(f"{label} {number}.eml {day}")
    (folder / "mailbox.idx").write_text("\n".join(lines) + "\n")
    return folder / "mailbox.idx"


def words(rng: np.random.Generator, count: int) -> str:
    return " ".join(rng.choice(WORDS, count))


def varied(raw: bytes, rng: np.random.Generator) -> bytes:
    """Other digits in the subject and body; the structure stays."""
    head, _, body = raw.partition(b"\n\n")
    marked = f"\nX-Number: {rng.integers(10**9)}".encode()
    digits = bytes.maketrans(b"0123456789", bytes(rng.permutation(list(b"0123456789")).tolist()))
    if b"base64" in raw or b"quoted-printable" in raw:
        return head + marked + b"\n\n" + body
    return head + marked + b"\n\n" + body.translate(digits)


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory) -> Path:
    return stream(tmp_path_factory.mktemp("mailbox"))


def live(
    index: Path, home: Path, fraction: float
) -> tuple[evaluate.Run, list[tuple[Label, float, int, Verdict]]]:
    given = argparse.Namespace(
        protocol="corrections", correct_fraction=fraction, base="shipped", architecture="hashed_linear.v1",
        mode=None, promise=0.01, poison=[], poison_every=3, seed=1, in_process=True, when_due=True,
    )  # fmt: skip
    run = evaluate.Run(given, home)
    rows = []
    for one in evaluate.read_index(index, None):
        logit, day, verdict = run.one(one)
        rows.append((one.label, logit, day, verdict))
    run.midnight()
    return run, rows


def area(rows: list[tuple[Label, float, int, Verdict]]) -> float:
    """Share of pairs in which the spam scores higher."""
    spam, ham = (np.array([row[1] for row in rows if row[0] is label]) for label in (Label.SPAM, Label.HAM))
    return float((spam[:, None] > ham[None, :]).mean())


@pytest.mark.parametrize("fraction", [1.0, 0.5, 0.2], ids=["all", "half", "a fifth"])
def test_thirty_nine_days(mailbox: Path, tmp_path: Path, fraction: float) -> None:
    run, rows = live(mailbox, tmp_path / "spamd", fraction)
    try:
        mails = evaluate.read_index(mailbox, None)
        truth = {one.identity: one.label for one in mails}
        verdicts = {one.identity: row[3] for one, row in zip(mails, rows, strict=True)}
        wrong = {one for one in truth if (verdicts[one] is Verdict.JUNK) != (truth[one] is Label.SPAM)}
        labels = run.store.labels()

        # Labels: each correction and nothing else is a drag, and says the truth; silence is weak, and only good.
        drags = {one.identity: one for one in labels if one.source is LabelSource.DRAG}
        silent = {one.identity: one for one in labels if one.source is LabelSource.IMPLICIT}
        assert len(drags) + len(silent) == len(labels)
        assert set(drags) <= wrong
        assert len(drags) == run.counts.corrections
        assert all(one.label is truth[name] for name, one in drags.items())
        if fraction == 1.0:
            assert set(drags) == wrong
        else:
            share = len(drags) / len(wrong)
            assert fraction - 0.15 < share < fraction + 0.15
        assert all(one.label is Label.HAM for one in silent.values())
        assert {one.weight for one in silent.values()} <= {KEPT_WEIGHT, SUSPECT_WEIGHT}
        assert set(silent) == {one for one in truth if verdicts[one] is not Verdict.JUNK} - set(drags)

        # Models: one card for each night that was taken, each the child of the one before, all that they count is there.
        nights = run.counts.nights
        assert nights["promoted"] >= 3
        assert nights["refused"] <= nights["promoted"]
        assert sum(nights.values()) == DAYS
        taken = [event for event in run.store.events(limit=1000) if event.text.startswith("A new model")]
        refused = [event for event in run.store.events(limit=1000) if event.text.startswith("No new model")]
        assert (len(taken), len(refused)) == (nights["promoted"], nights["refused"])
        cards = [card for card in run.bundles.list() if card.parent is not None]
        assert len(cards) == min(3, nights["promoted"]), "three are kept"
        current = run.bundles.current().card
        assert current == cards[0]
        assert run.scorer.card.id == current.id
        for newer, older in itertools.pairwise(cards):
            assert newer.parent == older.id
            assert newer.known_until > older.known_until
        lessons = [one for one in labels if one.weight >= SILENCE_LEAST]
        for card in cards:
            known = Counter(str(one.label) for one in lessons if one.at <= card.known_until)
            assert card.labels == {"ham": known["ham"], "spam": known["spam"]}
            assert card.reasons
        late = [one for one in labels if one.at > current.known_until]
        fresh = run.job(run.paths, run.store, run.bundles).new_labels()
        assert fresh == sum(one.source is LabelSource.DRAG for one in late)
        assert {lesson.identity for lesson in run.scorer.head.lessons()} == {
            one.identity for one in late if one.source is LabelSource.DRAG
        }, "the instant head holds what the model does not know yet, exactly"

        # Figures.
        assert run.counts.moved == sum(verdict is Verdict.JUNK for verdict in verdicts.values())
        assert run.counts.moved_ham == sum(
            verdicts[one] is Verdict.JUNK and truth[one] is Label.HAM for one in truth
        )
        again = evidence.assess(
            run.points[-5000:], 0.01, run.now, shipped_threshold=current.junk_threshold, rescues=run.rescues
        )
        assert (again.mode, again.ham_count, again.spam_count) == (
            run.evidence.mode, run.evidence.ham_count, run.evidence.spam_count,
        )  # fmt: skip
        assert run.evidence.spam_count == sum(one.label is Label.SPAM for one in drags.values())

        # And it was worth it, even for the lazy: spam is told from ham, and hardly any good mail was moved.
        assert area(rows[-10 * PER_DAY :]) > 0.97
        ham = sum(one is Label.HAM for one in truth.values())
        assert run.counts.moved_ham <= 0.02 * ham
    finally:
        run.close()
