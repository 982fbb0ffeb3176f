"""A real night on a real store: labels, the trainer in its own process, the gate, the swap between two mails."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from spamd import nightly, trainer
from spamd import paths as places
from spamd.domain import (
    Account,
    AccountName,
    Arrival,
    Decision,
    FetchedMail,
    FolderName,
    Identity,
    Judgement,
    Label,
    LabelRecord,
    LabelSource,
    MessageRef,
    Uid,
    UidValidity,
    Verdict,
)
from spamd.errors import TrainingError
from spamd.imitation import Imitations
from spamd.learning.lessons import read_known_mail
from spamd.message.vector import pack, unpack, vectorise
from spamd.model.bundle import WEIGHTS, Bundles
from spamd.model.explanation import explain
from spamd.model.scoring import Scorer
from spamd.nightly import Nightly
from spamd.settings import Settings
from spamd.store.database import Store
from spamd.trainer import COMMAND, TIME_LIMIT, Trainer, TrainerProcess
from spamd.training.dataset import in_tenth
from tests.stream import letter
from tests.training.test_night import train
from tests.unit.model.made import mail
from tests.unit.test_imitation import MAILS, another, forged

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]
HOME = AccountName("home")
BEGIN = 1_790_000_000.0
DAY = 86400.0
CLUB = "club@sofa.example"


class Home:
    def __init__(self, root: Path) -> None:
        self.paths = places.find({"SPAMD_HOME": str(root)})
        self.paths.make()
        self.now = BEGIN
        self.store = Store(self.paths.database, clock=lambda: self.now)
        self.bundles = Bundles(self.paths.personal_models, places.shipped_model())
        self.scorer = Scorer(self.bundles)
        self.night = self.new_night()
        self._numbers = itertools.count()

    def new_night(self, trainer: Trainer | None = None) -> Nightly:
        return Nightly(
            paths=self.paths,
            store=self.store,
            bundles=self.bundles,
            settings=Settings,
            clock=lambda: self.now,
            trainer=trainer,
        )

    def teach(self, spam: bool, seed: int, count: int = 1, *, wrong: bool = False) -> list[Identity]:
        """Mails of one kind, labelled by the person (wrongly, where asked for)."""
        rng = np.random.default_rng(seed)
        identities = []
        for _ in range(count):
            self.now += 1.0
            identity = Identity(f"hash:{next(self._numbers)}")
            features = vectorise(letter(rng, spam))
            label = Label.SPAM if spam != wrong else Label.HAM
            self.store.put_vector(HOME, identity, pack(features))
            self.store.add_label(LabelRecord(HOME, identity, label, LabelSource.DRAG, 1.0, self.now))
            self.scorer.teach(features, identity, label, 1.0, self.now)
            identities.append(identity)
        return identities

    def say(
        self,
        mails: Sequence[bytes],
        label: Label,
        sender: str,
        named: Callable[[int], bool] = lambda number: True,
    ) -> list[Identity]:
        """Judged mails of one sender, labelled by the person."""
        identities = []
        for raw in mails:
            self.now += 1.0
            identity = Identity(f"hash:{next(filter(named, self._numbers))}")
            features = vectorise(raw)
            score = self.scorer.score(features)
            decision = Decision(Verdict.KEEP, False, "score", "")
            judgement = Judgement(0, HOME, identity, self.now, score, decision, sender=sender)
            self.store.record_judgement(judgement, vector=pack(features))
            self.store.add_label(LabelRecord(HOME, identity, label, LabelSource.DRAG, 1.0, self.now))
            self.scorer.teach(features, identity, label, 1.0, self.now)
            identities.append(identity)
        return identities

    def first_night(
        self, rescued: Sequence[bytes] = (), named: Callable[[int], bool] = lambda number: True
    ) -> list[Identity]:
        """Of 60 good mails, 60 junk mails and these of the club, which were taken out of Junk; the names of the latter."""
        self.teach(False, 1, 60)
        self.teach(True, 2, 60)
        names = self.say(rescued, Label.HAM, CLUB, named)
        report = self.sleep()
        assert report.promoted, report
        self.scorer.reload()
        return names

    def sleep(self):
        self.now += DAY
        return self.night.run_night()


@pytest.fixture(autouse=True)
def as_fast_as_any(monkeypatch):
    """At its own priority the trainer would wait for every other test on a busy machine."""
    monkeypatch.setattr(trainer, "NICENESS", 0)


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "spamd")
    yield made
    made.night.stop()
    made.store.close()


def test_nights_of_one_mailbox(mailbox: Home) -> None:
    rng = np.random.default_rng(1000)
    ham, spam = ([vectorise(letter(rng, kind)) for _ in range(15)] for kind in (False, True))
    shipped = mailbox.bundles.current().card
    before = mailbox.scorer.logits(ham + spam)

    # The first night.
    mailbox.teach(False, 1, 45)
    mailbox.teach(True, 2, 35)
    stages: list[str] = []
    mailbox.now += DAY
    report = mailbox.night.run_night(tell=lambda _done, _of, text: stages.append(text))
    assert report.promoted, report
    assert stages[0] == "Starting the trainer"
    assert {"Reading labels", "Learning", "Comparing with the model in force"} <= set(stages)
    card = mailbox.bundles.current().card
    assert card.parent == shipped.id
    assert (card.labels["ham"], card.labels["spam"]) == (45, 35)
    assert card.known_until == BEGIN + 80
    assert card.figures["tflite_difference"] <= 0.05
    assert mailbox.scorer.card.id == shipped.id, "the swap is between two mails, by the daemon"
    assert mailbox.scorer.reload()
    assert mailbox.scorer.card.id == card.id
    assert len(mailbox.scorer.head) == 0, "what the head knew, the model knows now"
    after = mailbox.scorer.logits(ham + spam)
    assert (after[15:] - before[15:]).mean() > 1.0
    assert (after[:15] < after[15:].min()).all()
    assert all(mailbox.scorer.score(one).probability > 0.5 for one in spam)
    assert all(mailbox.scorer.score(one).probability < 0.5 for one in ham)

    # Nothing new: nothing changes.
    report = mailbox.sleep()
    assert not report.promoted
    assert "no new labels" in report.reasons[0]
    assert mailbox.bundles.current().card == card
    assert not mailbox.scorer.reload()

    # More of the same is taken; the ledger says how many.
    mailbox.teach(False, 3, 15)
    mailbox.teach(True, 4, 15)
    assert mailbox.night.new_labels() == 30
    report = mailbox.sleep()
    assert report.promoted, report
    assert mailbox.scorer.reload()
    second = mailbox.bundles.current().card
    assert second.parent == card.id
    assert sum(second.labels.values()) == 110
    assert mailbox.night.new_labels() == 0

    # A night of wrong labels is refused; the labels stay in the ledger, to be looked at.
    mailbox.teach(True, 5, 25, wrong=True)
    mailbox.teach(False, 6, 25, wrong=True)
    report = mailbox.sleep()
    assert not report.promoted
    assert report.reasons
    assert mailbox.bundles.current().card == second
    assert len(mailbox.store.labels()) == 160
    texts = [event.text for event in mailbox.store.events(limit=10)]
    assert any(report.reasons[0] in text for text in texts)
    assert list(mailbox.paths.cache.iterdir()) == []


def test_after_a_night_a_forgery_named_junk_does_not_bury_the_mail_that_it_imitates(mailbox: Home) -> None:
    """Before, the night had learned the words of the forgery, and put the real mail far beyond the threshold with them."""
    mailbox.scorer = Scorer(mailbox.bundles, imitates=Imitations(mailbox.store, lambda: [HOME]))

    def judged(raw: bytes, label: Label, *, named: bool) -> None:
        mailbox.now += 1.0
        names = (Identity(f"hash:{number}") for number in mailbox._numbers)
        identity = next(name for name in names if not in_tenth(f"{HOME}\0{name}"))
        arrival = Arrival(
            MessageRef(FolderName("INBOX"), UidValidity(1), Uid(1)), identity, frozenset(), 0, mailbox.now
        )
        judgement, packed = read_known_mail(
            Account(HOME), mailbox.scorer, FetchedMail(arrival, raw, True), label, mailbox.now, ""
        )
        mailbox.store.record_judgement(judgement, vector=packed)
        if named:
            mailbox.store.add_label(LabelRecord(HOME, identity, label, LabelSource.DRAG, 1.0, mailbox.now))
            mailbox.scorer.teach(unpack(packed), identity, label, 1.0, mailbox.now)

    real = MAILS[::8]
    for raw in real:
        judged(another(raw), Label.HAM, named=False)
    mailbox.now += 2 * DAY
    mailbox.teach(False, 1, 40)
    mailbox.teach(True, 2, 40)
    for raw in real:
        judged(forged(raw, b"parcel-pay.example"), Label.SPAM, named=True)
    report = mailbox.sleep()
    assert report.promoted, report
    assert mailbox.scorer.reload()
    beyond = mailbox.scorer.card.junk_threshold
    lifted = mailbox.scorer.logits([vectorise(raw) for raw in real])
    assert sum(mailbox.scorer.probability(float(logit)) >= beyond for logit in lifted) > len(real) / 2
    for raw in real:
        score = mailbox.scorer.score(vectorise(raw))
        assert score.probability < beyond
        first = explain(vectorise(raw), mailbox.scorer)[0]
        assert first.kind == "imitation"
        assert "only looks like" in first.text
        assert first.contribution < 0
        again = mailbox.scorer.score(vectorise(forged(raw, b"shop-pay.example")))
        assert (again.copy_of, again.probability >= beyond) == (Label.SPAM, True)


def test_spam_alone_teaches_no_night(mailbox: Home) -> None:
    mailbox.teach(True, 1, 40)
    mailbox.teach(False, 2, 2)
    shipped = mailbox.bundles.current().card.id
    report = mailbox.sleep()
    assert not report.promoted
    assert "good mail" in report.reasons[0]
    assert mailbox.bundles.current().card.id == shipped
    assert len(mailbox.scorer.head) == 42, "what was taught goes on counting"


def test_one_class_from_one_day_to_the_next_is_refused(mailbox: Home) -> None:
    """All of a day's mail called spam: a finger that slipped, a rule gone wild."""
    mailbox.teach(False, 1, 50)
    mailbox.teach(True, 2, 50)
    assert mailbox.sleep().promoted
    card = mailbox.bundles.current().card
    mailbox.teach(True, 3, 20)
    mailbox.teach(False, 4, 40, wrong=True)
    report = mailbox.sleep()
    assert not report.promoted, report
    assert mailbox.bundles.current().card == card


def test_forgetting_is_exact(mailbox: Home, tmp_path: Path) -> None:
    """After a label was taken back, the next night's model is the one of a person who never said it."""
    identities = mailbox.teach(False, 1, 30) + mailbox.teach(True, 2, 30)
    assert mailbox.sleep().promoted
    for identity in identities[25:35]:
        assert mailbox.store.forget_label(HOME, identity)
    report = mailbox.sleep()
    assert report.promoted, report
    card = mailbox.bundles.current().card
    assert card.figures["from_scratch"] == 1
    assert (card.labels["ham"], card.labels["spam"]) == (25, 25)

    other = Home(tmp_path / "other")
    try:
        same = other.teach(False, 1, 30) + other.teach(True, 2, 30)
        for identity in same[25:35]:
            other.store.forget_label(HOME, identity)
        assert other.sleep().promoted
        rng = np.random.default_rng(3)
        mails = [vectorise(letter(rng, spam)) for spam in (True, False) * 10]
        for home in (mailbox, other):
            home.scorer.reload()
        np.testing.assert_array_equal(mailbox.scorer.logits(mails), other.scorer.logits(mails))
        one, two = (home.bundles.current() for home in (mailbox, other))
        assert one.card.sha256 == two.card.sha256, "the very same file"
        with np.load(one.folder / WEIGHTS) as mine, np.load(two.folder / WEIGHTS) as theirs:
            for name in ("ids", "weights", "accumulator"):
                np.testing.assert_array_equal(mine[name], theirs[name])
    finally:
        other.store.close()


def test_a_finger_that_slipped_is_left_out_and_asked_about(mailbox: Home) -> None:
    """The night is taken without the one label; it stays a lesson of the head; confirmed, the next night learns it."""
    mailbox.first_night()
    mailbox.teach(False, 3, 15)
    mailbox.teach(True, 4, 15)
    (slip,) = mailbox.teach(False, 5, 1, wrong=True)
    report = mailbox.sleep()
    assert report.promoted, report
    assert report.figures["learned_left_out"] == 1
    card = mailbox.bundles.current().card
    assert card.doubted == (f"{HOME}\0{slip}",)
    assert nightly.contradicting(mailbox.store) == [(HOME, slip)]
    assert mailbox.scorer.reload()
    assert [lesson.identity for lesson in mailbox.scorer.head.lessons()] == [slip]
    assert not mailbox.night.forgotten()

    nightly.settle(mailbox.store, HOME, slip)  # the person was asked, and stays with it
    mailbox.teach(False, 6, 8)
    report = mailbox.sleep()
    assert report.promoted, report
    card = mailbox.bundles.current().card
    assert card.doubted == () and sum(card.labels.values()) == 159
    assert card.figures["from_scratch"] == 0
    assert mailbox.scorer.reload() and len(mailbox.scorer.head) == 0


def newsletter(rng: np.random.Generator, sender: str = CLUB) -> bytes:
    words = " ".join(
        rng.choice(
            ["sofa", "chair", "table", "lamp", "cushion", "collection", "outlet", "shop", "members", "week"],
            40,
        )
    )
    filler = " ".join(f"n{number}" for number in rng.integers(0, 5000, 20))
    text = f"Dear members, {words} {filler} http://club.sofa.example/{rng.integers(9999)}"
    return mail(f"Saturday at the sofa club {rng.integers(1000)}", text, sender=f"Sofa Club <{sender}>")


@pytest.mark.parametrize(
    ("rescued", "nights"), [(12, [True, True]), (25, [False, False, True, True])], ids=["few", "many"]
)
def test_who_changes_their_mind_is_believed(mailbox: Home, rescued: int, nights: list[bool]) -> None:
    """Twenty newsletters on one day are junk, and others were rescued before.

    More than these were: two nights ask, the third one learns. What was rescued stands against none of the later nights.
    """
    rng = np.random.default_rng(7)
    mailbox.first_night([newsletter(rng) for _ in range(rescued)])
    fresh = [vectorise(newsletter(rng)) for _ in range(5)]
    assert all(mailbox.scorer.score(one).probability < 0.1 for one in fresh)
    meant = mailbox.say([newsletter(rng) for _ in range(20)], Label.SPAM, CLUB)
    assert all(mailbox.scorer.score(one).probability > 0.9 for one in fresh), "at once"
    taken, asked = [], []
    for day in range(len(nights)):
        mailbox.teach(False, 10 + day, 5)
        mailbox.teach(True, 20 + day, 5)
        report = mailbox.sleep()
        taken.append(report.promoted)
        asked.append({identity for _, identity in nightly.contradicting(mailbox.store)})
        mailbox.scorer.reload()
        assert all(mailbox.scorer.score(one).probability > 0.9 for one in fresh), report
    assert taken == nights
    assert asked == [set() if one else set(meant) for one in nights]
    assert len(mailbox.bundles.current().card.overruled) == rescued


def test_what_was_rescued_holds_up_no_night(mailbox: Home) -> None:
    """Three newsletters were taken out of Junk, and their like of other senders is dragged into it day by day. Each night
    learns that, and thinks no worse of the three."""
    rng = np.random.default_rng(7)
    mails = [newsletter(rng) for _ in range(3)]
    names = mailbox.first_night(mails, named=lambda number: in_tenth(f"{HOME}\0hash:{number}"))
    for day in range(4):
        mailbox.teach(False, 10 + day, 5)
        club = f"club{day}@sofa.example"
        mailbox.say([newsletter(rng, club) for _ in range(20)], Label.SPAM, club)
        report = mailbox.sleep()
        assert report.promoted, report
        mailbox.scorer.reload()
        junk = mailbox.scorer.score(vectorise(newsletter(rng, "club9@sofa.example")), arrived=False)
        assert junk.probability > 0.5, "the like of it is junk"
    card = mailbox.bundles.current().card
    stand = [raw for raw, name in zip(mails, names, strict=True) if f"{HOME}\0{name}" not in card.overruled]
    assert len(stand) >= 2, "of a third one, copies were called junk"
    for logit in mailbox.scorer.logits([vectorise(raw) for raw in stand]):
        assert mailbox.scorer.probability(float(logit)) < 0.5 * card.junk_threshold


def test_who_calls_copies_of_a_rescued_mail_junk_holds_up_no_night(mailbox: Home) -> None:
    """One newsletter was taken out of Junk, and on later days two copies of it, sent by another, are dragged into it. What was
    rescued is said again in the night until it counts; the copies are known as such."""
    raw = newsletter(np.random.default_rng(3))
    mailbox.first_night([raw])
    said_again = 0.0
    for day in range(3):
        mailbox.teach(False, 10 + day, 5)
        mailbox.teach(True, 20 + day, 5)
        if day < 2:
            mailbox.say([raw.replace(CLUB.encode(), b"club@sofb.example")], Label.SPAM, "club@sofb.example")
        report = mailbox.sleep()
        assert report.promoted, report
        mailbox.scorer.reload()
        said_again += mailbox.bundles.current().card.figures["said_again"]
    assert said_again, "else this test shows nothing"


def test_what_is_said_again_is_told_as_one_and_has_its_time(mailbox: Home, tmp_path: Path) -> None:
    """As above. A night is fitted anew until it thinks no worse of the rescued mail, but not where that took long already."""
    hurry = (
        "from spamd import trainer; from spamd.training import __main__, night\n"
        "assert night.FITTING_SECONDS <= trainer.TIME_LIMIT / 10\n"
        "night.FITTING_SECONDS = 0.0; raise SystemExit(__main__.main())"
    )
    raw = newsletter(np.random.default_rng(3))
    mailbox.first_night([raw])
    mailbox.teach(False, 10, 5)
    mailbox.teach(True, 20, 5)
    for other in ("club@sofb.example", "club@sofc.example"):
        mailbox.say([raw.replace(CLUB.encode(), other.encode())], Label.SPAM, other)
    told = {}
    for name, command in (("unhurried", ("-m", "spamd.training")), ("hurried", ("-c", hurry))):
        parent = mailbox.bundles.current().folder
        out = tmp_path / name
        code, events = train(mailbox.paths.database, parent, out, "--threshold", "0.1", trainer=command)
        assert code == 0, events
        told[name] = events[-1]["card"]["figures"]["said_again"]
        stages = [event["stage"] for event in events if event["event"] in ("stage", "progress")]
        assert len([*itertools.groupby(stages)]) == len(set(stages)), "no stage comes back"
        for stage in set(stages):
            shares = [e["done"] / e["of"] for e in events if e["event"] == "progress" and e["stage"] == stage]
            assert shares == sorted(shares)
    assert told["unhurried"] > 1, "else this test shows nothing"
    assert told["hurried"] == 0


def test_from_scratch_many_slips_are_refused_as_ever(mailbox: Home) -> None:
    """Five of 45 labels against a sure model; among all 345, which a night from scratch learns, they would be few."""
    (taken_back, *_) = mailbox.teach(False, 1, 150)
    mailbox.teach(True, 2, 150)
    assert mailbox.sleep().promoted
    assert mailbox.store.forget_label(HOME, taken_back)
    mailbox.teach(False, 3, 20)
    mailbox.teach(True, 4, 20)
    mailbox.teach(False, 5, 5, wrong=True)
    report = mailbox.sleep()
    assert report.figures["learned_from_scratch"] == 1
    assert report.figures["learned_left_out"] == 0
    assert not report.promoted and "of 45 new labels contradict" in " ".join(report.reasons), report


def test_a_damaged_parent_gives_way_to_the_one_before(mailbox: Home) -> None:
    mailbox.teach(False, 1, 20)
    mailbox.teach(True, 2, 20)
    assert mailbox.sleep().promoted
    folder = mailbox.bundles.current().folder
    (folder / "model.tflite").write_bytes(b"nothing")
    mailbox.teach(True, 3, 10)
    assert mailbox.sleep().promoted, "the night starts from the model that serves: the shipped one"
    card = mailbox.bundles.current().card
    assert card.figures["from_scratch"] == 1
    assert sum(card.labels.values()) == 50


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit, of util-linux, is not installed")
@pytest.mark.parametrize(
    "most", [100_000, 700_000], ids=["no room for TensorFlow's own", "no room for the file"]
)
def test_no_room_while_the_model_is_written(mailbox: Home, most: int) -> None:
    mailbox.teach(False, 1, 20)
    mailbox.teach(True, 2, 20)
    before = mailbox.bundles.current().card.id
    mailbox.night = mailbox.new_night(TrainerProcess(("prlimit", f"--fsize={most}", *COMMAND)))
    with pytest.raises(TrainingError, match="could not be written") as told:
        mailbox.sleep()
    assert "disk" in told.value.hint
    assert mailbox.bundles.current().card.id == before
    assert list(mailbox.paths.cache.iterdir()) == []
    mailbox.night = mailbox.new_night()
    assert mailbox.sleep().promoted


def test_the_trainer_says_what_is_wrong_with_the_store(mailbox: Home) -> None:
    mailbox.store.close()
    mailbox.paths.database.write_bytes(b"not a database" * 100)
    for beside in mailbox.paths.database.parent.glob("*-wal"):
        beside.unlink()
    folder = mailbox.paths.cache / "night"
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ["--database", mailbox.paths.database, "--parent", mailbox.bundles.current().folder]
    outcome = TrainerProcess().train(
        [str(one) for one in [*arguments, "--out", folder / "new"]],
        folder=folder,
        deadline=time.monotonic() + TIME_LIMIT,
        tell=lambda *_: None,
    )
    assert outcome.code == 4
    assert outcome.result["status"] == "impossible"
    assert outcome.result["reason"] and outcome.result["hint"]
    assert not (folder / "new" / "card.json").exists()
