"""The scorer on the shipped model: lessons count at once, copies follow, models are swapped between two mails."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from spamd import paths
from spamd.domain import Identity, Label
from spamd.errors import ModelError, SchemaMismatch
from spamd.message.vector import StoredVector, pack, unpack, vectorise
from spamd.model.base import load
from spamd.model.bundle import Bundle, Bundles, read_card, write_card
from spamd.model.explanation import explain, parts
from spamd.model.runtime import Runtime, _without_news, interpreter_class
from spamd.model.scoring import Scorer
from tests.unit.model.made import MODERN_HAM, candidate, flood, mail

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

import modern_junk


@pytest.fixture
def bundles(tmp_path: Path) -> Bundles:
    return Bundles(tmp_path / "models", paths.shipped_model())


@pytest.fixture
def scorer(bundles: Bundles) -> Scorer:
    return Scorer(bundles)


def test_one_correction_decides_the_very_next_copies(scorer: Scorer) -> None:
    before = scorer.score(vectorise(flood(1)), arrived=False)
    assert before.copy_of is None
    scorer.teach(vectorise(flood(0)), Identity("a"), Label.HAM)
    assert scorer.score(vectorise(flood(1))).probability < 0.01
    scorer.teach(vectorise(flood(2)), Identity("b"), Label.SPAM)
    after = scorer.score(vectorise(flood(3)))
    assert after.copy_of is Label.SPAM
    assert after.probability >= scorer.card.junk_threshold
    assert scorer.forget(Identity("b"))
    assert scorer.score(vectorise(flood(3))).copy_of is Label.HAM
    assert scorer.forget(Identity("a"))
    assert scorer.score(vectorise(flood(1)), arrived=False) == before


def test_the_stored_vector_gets_the_same_score(scorer: Scorer) -> None:
    features = vectorise(MODERN_HAM[0].read_bytes())
    assert scorer.score(features, arrived=False) == scorer.score(unpack(pack(features)), arrived=False)


def test_twenty_spam_lessons_do_not_lift_good_mail(scorer: Scorer) -> None:
    ham = [vectorise(path.read_bytes()) for path in MODERN_HAM]
    for features in ham[
        ::2
    ]:  # what this mailbox's mail has in common is known from what arrives, without any label
        scorer.score(features)
    ham = ham[1::2]
    before = scorer.logits(ham)
    for seed in range(20):
        text = f"{flood(seed).decode()} {seed} buy now the best offer number {seed * 7} of this week"
        scorer.teach(vectorise(text.encode()), Identity(str(seed)), Label.SPAM)
    lift = scorer.logits(ham) - before
    assert lift.mean() < 0.3
    assert lift.max() < 1.5


def test_good_mail_alone_parts_it_from_junk_and_lowers_no_junk(scorer: Scorer) -> None:
    """The shipped threshold goes on fitting."""
    ham = [vectorise(path.read_bytes()) for path in MODERN_HAM]
    junk = [vectorise(raw) for raw in modern_junk.mails(40)]
    before = scorer.logits(ham[1::2]), scorer.logits(junk)
    for number, features in enumerate(ham[::2]):
        scorer.score(features)
        scorer.teach(features, Identity(str(number)), Label.HAM)
    after = scorer.logits(ham[1::2]), scorer.logits(junk)
    assert after[0].mean() < before[0].mean() - 0.2
    assert after[1].mean() > before[1].mean() + 0.2


def test_one_odd_lesson_does_not_turn_all_mail(scorer: Scorer) -> None:
    """A slip, or a newsletter that looks like junk: other junk goes on being junk."""
    junk = [vectorise(raw) for raw in modern_junk.mails(40)]
    before = scorer.logits(junk)
    order = np.argsort(before)
    for number in (order[-1], order[20]):
        scorer.teach(junk[number], Identity("slip"), Label.HAM)
        others = np.delete(scorer.logits(junk) - before, number)
        assert -1.0 < others.mean() < 0
        assert others.min() > -2.0
        assert scorer.forget(Identity("slip"))


def test_forgetting_is_exact_on_the_shipped_model(scorer: Scorer, tmp_path: Path) -> None:
    ham = [vectorise(path.read_bytes()) for path in MODERN_HAM]
    other = Scorer(Bundles(tmp_path / "others", paths.shipped_model()))
    for number, features in enumerate(ham[:31]):
        scorer.teach(features, Identity(str(number)), Label.HAM if number % 5 else Label.SPAM, at=number)
        if number != 7:
            other.teach(features, Identity(str(number)), Label.HAM if number % 5 else Label.SPAM, at=number)
    assert scorer.forget(Identity("7"))
    np.testing.assert_array_equal(scorer.logits(ham), other.logits(ham))


def test_much_junk_and_hardly_any_good_mail_turns_nothing(scorer: Scorer) -> None:
    """Two good mails beside fifty junk mails are no picture of a mailbox; twenty are."""
    ham = [vectorise(path.read_bytes()) for path in MODERN_HAM]
    for number, raw in enumerate(modern_junk.mails(50)):
        scorer.teach(vectorise(raw), Identity(f"junk {number}"), Label.SPAM, at=number)
    for number, features in enumerate(ham[:2]):
        scorer.teach(features, Identity(str(number)), Label.HAM, at=50.0 + number)
    assert scorer.head.dense_weights() is None
    for number, features in enumerate(ham[2:40], 2):
        scorer.teach(features, Identity(str(number)), Label.HAM, at=50.0 + number)
    assert scorer.head.dense_weights() is not None


def test_what_the_night_turned_is_not_turned_again(scorer: Scorer, bundles: Bundles, tmp_path: Path) -> None:
    for number, path in enumerate(MODERN_HAM[:20]):
        scorer.teach(vectorise(path.read_bytes()), Identity(str(number)), Label.HAM, at=1.0 + number)
    assert scorer.head.dense_weights() is not None
    bundles.install(candidate(tmp_path / "night"))
    assert scorer.reload()
    assert len(scorer.head) == 20
    assert scorer.head.dense_weights() is None


def test_rebuild_teaches_only_what_the_model_does_not_know(scorer: Scorer) -> None:
    features = vectorise(flood(0))
    known = scorer.card.known_until
    scorer.rebuild([(Identity("old"), features, Label.SPAM, 1.0, known - 1, True)])
    assert len(scorer.head) == 0
    assert scorer.copy_of(features) is not None  # copies are remembered all the same
    scorer.rebuild([(Identity("new"), features, Label.SPAM, 1.0, known + 1, True)])
    assert len(scorer.head) == 1


def test_what_a_model_was_not_made_from_stays_a_lesson(
    scorer: Scorer, bundles: Bundles, tmp_path: Path
) -> None:
    """Though it is older than the model: the night had doubts about it."""
    folder = candidate(tmp_path / "new")
    card = read_card(folder)
    write_card(
        folder, dataclasses.replace(card, doubted=("home\0left out",), known_until=card.known_until + 9)
    )
    old = card.known_until + 5
    rows = [
        (Identity(one), vectorise(flood(n)), Label.SPAM, 1.0, old, True)
        for n, one in enumerate(("known", "left out"))
    ]
    scorer.rebuild(rows)
    assert len(scorer.head) == 2
    bundles.install(folder)
    assert scorer.reload()
    assert [lesson.identity for lesson in scorer.head.lessons()] == ["left out"]
    scorer.rebuild(rows)
    assert [lesson.identity for lesson in scorer.head.lessons()] == ["left out"]


def test_what_is_not_followed_is_a_lesson_without_copies(scorer: Scorer) -> None:
    features, now = vectorise(flood(0)), scorer.card.known_until + 1
    before = scorer.score(features).logit
    scorer.teach(features, Identity("a"), Label.SPAM, 0.7, now, followed=False)
    told = scorer.score(features)
    assert told.logit > before and told.copy_of is None
    scorer.teach(features, Identity("a"), Label.SPAM, 1.0, now)
    assert scorer.score(features).copy_of is Label.SPAM
    scorer.rebuild([(Identity("a"), features, Label.SPAM, 0.7, now, False)])
    assert scorer.score(features).copy_of is None


def test_weak_evidence_has_no_copies(scorer: Scorer) -> None:
    scorer.teach(vectorise(flood(0)), Identity("a"), Label.HAM, weight=0.3)
    assert scorer.score(vectorise(flood(1))).copy_of is None


def test_another_model_is_swapped_in_while_mail_arrives(
    scorer: Scorer, bundles: Bundles, tmp_path: Path
) -> None:
    features = [vectorise(path.read_bytes()) for path in MODERN_HAM[:5]]
    names = [f"personal-{number:010d}" for number in range(4)]
    expected = {str(scorer.card.id), *names}
    seen: set[str] = set()
    wrong: list[Exception] = []
    stop = threading.Event()

    def arrive() -> None:
        try:
            while not stop.is_set():
                seen.update(str(scorer.score(one).model_id) for one in features)
        except Exception as error:  # noqa: BLE001 - reported below, whatever it is
            wrong.append(error)

    threads = [threading.Thread(target=arrive) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number, name in enumerate(names):
        bundles.install(candidate(tmp_path / name, name=name, created_at=float(number)))
        assert scorer.reload()
        assert not scorer.reload()
    stop.set()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert seen <= expected
    assert scorer.card.id == names[-1]


def test_of_two_swaps_at_once_the_later_choice_serves(bundles: Bundles, tmp_path: Path) -> None:
    """One reads the pointer, and is overtaken by the person who goes back: it must not put the old choice in force."""
    read, going_on = threading.Event(), threading.Event()

    class Slow(Bundles):
        def current(self) -> Bundle:
            found = super().current()
            if threading.current_thread().name == "night":
                read.set()
                assert going_on.wait(60)
            return found

    slow = Slow(tmp_path / "models", paths.shipped_model())
    scorer = Scorer(slow)
    shipped = scorer.card.id
    slow.install(candidate(tmp_path / "new"))
    night = threading.Thread(target=scorer.reload, name="night")
    night.start()
    assert read.wait(60)
    slow.reset()
    person = threading.Thread(target=scorer.reload)
    person.start()
    person.join(0.5)  # without the order it ends here
    going_on.set()
    night.join(60)
    person.join(60)
    assert scorer.card.id == shipped


def test_a_vector_of_other_features_is_refused(scorer: Scorer) -> None:
    ids = np.arange(3, dtype=np.int32)
    with pytest.raises(SchemaMismatch):
        scorer.score(StoredVector(ids, np.zeros(2, np.float32), ids, np.zeros(66, np.uint32)))


def test_any_length_of_mail_is_scored(scorer: Scorer) -> None:
    features = vectorise(mail("x", "word"))
    for count in (0, 1, 255, 256, 257, 1024, 1025, 4096):
        ids = np.arange(count, dtype=np.int32)
        score = scorer.score(StoredVector(ids, features.dense, ids, features.fingerprint))
        assert np.isfinite(score.logit)
        assert 0 <= score.probability <= 1


def test_the_file_says_what_the_shipped_numbers_say() -> None:
    """base.tflite and reference.npz are one model."""
    base = load(paths.shipped_model()).base
    vectors = [vectorise(path.read_bytes()) for path in MODERN_HAM]
    logits, totals = Runtime(paths.shipped_model() / "base.tflite").score_logits(vectors)
    np.testing.assert_allclose(logits, base.logits(vectors), atol=0.02)
    np.testing.assert_allclose(totals, 0.7 * logits, atol=1e-3)


def test_no_modern_good_mail_is_junk_to_the_shipped_model(scorer: Scorer) -> None:
    above = [
        path.name
        for path in MODERN_HAM
        if scorer.score(vectorise(path.read_bytes()), arrived=False).probability >= scorer.card.junk_threshold
    ]
    assert above == []


def test_without_an_interpreter_the_error_says_what_to_install() -> None:
    with pytest.raises(ModelError) as caught:
        interpreter_class(("no_such_module_at_all",))
    assert "ai-edge-litert" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\x1c\0\0\0TFL"])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        Runtime(path)


def test_reasons_are_ordered_and_readable(scorer: Scorer) -> None:
    features = vectorise(
        mail("Cheap pills, act now!!!", "Buy cheap pills now at http://pills77.example/x, win $$$")
    )
    reasons = explain(features, scorer)
    assert 0 < len(reasons) <= 12
    assert {reason.kind for reason in reasons} <= {"word", "link", "fact", "sender"}
    sizes = [abs(reason.contribution) for reason in reasons]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    "mail_file", sorted((paths.shipped_model().parents[1] / "spamd/demo/mail").glob("*/*1-*.eml"))
)
def test_a_reason_says_whether_a_thing_is_there_or_missing(scorer: Scorer, mail_file: Path) -> None:
    """And what it says was checked: without it the mail scores so much differently."""
    features = vectorise(mail_file.read_bytes())
    values = dict(zip(features.named().dense, features.dense.tolist(), strict=True))
    means = dict(zip(features.named().dense, load(paths.shipped_model()).base.mean.tolist(), strict=True))
    facts = [one for one in explain(features, scorer, limit=60) if one.kind == "fact"]
    assert facts
    for one in facts:
        group, _, detail = one.text.partition(": ")
        how, colon, what = detail.partition(": ")
        names = [f"{group}: {what}", f"{group}: many {what}"] if colon else [one.text]
        found = [name for name in names if name in values]
        assert found, one.text
        if how == "not":
            assert all(values[name] == 0 < means[name] for name in found if values[name] < means[name])
            assert any(values[name] == 0 for name in found)
        elif how == "little":
            assert any(values[name] < means[name] for name in found)
        else:
            assert values[found[0]] >= means[found[0]]


def test_a_reason_is_what_the_probability_changes_by_without_it(scorer: Scorer) -> None:
    """In log odds of the probability that is shown beside it, not of the model's uncalibrated number."""
    features = vectorise(
        mail("Cheap pills", "Buy cheap pills now at http://pills77.example/x and hydrocodone")
    )
    names = features.named()

    def without(word: str, ids: np.ndarray, side: object) -> np.ndarray:
        return np.array([one for one in ids if side[one][0] != ("word", word)], np.int32)  # type: ignore[index]

    words = [one for one in explain(features, scorer, limit=60) if one.kind == "word"]
    assert len(words) > 2
    for one in words:
        rest = StoredVector(
            without(one.text, features.base_ids, names.base),
            features.dense,
            without(one.text, features.personal_ids, names.personal),
            features.fingerprint,
        )
        whole, left = (scorer.probability(float(logit)) for logit in scorer.logits([features, rest]))
        change = np.log(whole / (1 - whole)) - np.log(left / (1 - left))
        assert one.contribution == pytest.approx(change, abs=1e-3)


def test_nothing_learned_adds_nothing(scorer: Scorer) -> None:
    features = vectorise(mail("Cheap pills", "Buy cheap pills now at http://pills77.example/x"))
    for learned in (False, True):
        score = scorer.score(features)
        base, personal = parts(score, scorer.card)
        assert base + personal == pytest.approx(np.log(score.probability / (1 - score.probability)))
        assert (abs(personal) > 0.5) if learned else personal == pytest.approx(0, abs=1e-4)
        scorer.teach(features, Identity("a"), Label.HAM)


def test_a_lesson_shows_in_the_reasons(scorer: Scorer) -> None:
    features = vectorise(
        mail("Quarterly numbers", "Please see the xylophone figures before we meet on Friday.")
    )
    scorer.teach(features, Identity("a"), Label.SPAM)
    reasons = explain(features, scorer, limit=60)
    assert reasons[0].kind == "copy"
    assert reasons[0].contribution > 0
    assert any("xylophone" in reason.text for reason in reasons)


def test_the_interpreter_says_nothing_on_its_start_and_swallows_nothing(
    bundles: Bundles, capfd: pytest.CaptureFixture[str]
) -> None:
    Runtime(bundles.current().path)
    with _without_news():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\na warning\n")
    assert capfd.readouterr().err == "a warning\n"
