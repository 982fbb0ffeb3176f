"""Thirty-nine days of one mailbox on Dovecot: mail arrives, is judged and moved; the person reads it and corrects all, half
or a fifth of what was judged wrong, in a mail program of their own; nights come when the product would have them.

The clock is driven. At random moments (SPAMD_SEED, printed) there are kills: of the filter before any of its writes, of the
filter when the server has just moved a mail and the journal does not know it yet, of the trainer, and of the program while it
takes a new model. Each kind happens in each life. Most nights run in this process, so that TensorFlow starts once.

What the ledger, the journal, the models' history, the figures and the server say afterwards must be one story, and that
of the person who remembers what they did.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts import evaluate
from spamd import paths as places
from spamd.domain import Identity, Judgement, Label, LabelSource, MoveKind, MoveState, Verdict
from spamd.errors import TrainingError
from spamd.judgement import evidence, silence
from spamd.model.bundle import Bundles, read_card
from spamd.model.scoring import Scorer
from spamd.nightly import Nightly
from spamd.settings import Settings
from spamd.store.database import Store
from spamd.trainer import STAGES, Outcome, Trainer, TrainerProcess
from tests.servers.mailhost import MailHost, normal
from tests.training.filter_and_die import PROMISE, Running, account_of
from tests.unit.model.made import mail

pytestmark = [pytest.mark.train, pytest.mark.timeout(1800)]
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


@dataclass(frozen=True)
class Mail:
    number: int
    day: int
    label: Label
    raw: bytes


def stream() -> list[Mail]:
    """The demo's mails with other numbers and words, and plain letters whose subjects change from week to week."""
    rng = np.random.default_rng(39)
    originals = {
        label: [path.read_bytes() for path in sorted((DEMO / label).glob("*.eml"))]
        for label in ("ham", "spam")
    }
    mails = []
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
        number_line = f"X-Day-Number: {number}\r\n".encode()
        mails.append(
            Mail(number, day, Label(label), number_line + raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        )
    return mails


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


ROOT = Path(__file__).parents[2]
START = 1_790_000_000.0  # a Monday in September 2026; nothing depends on it
DAY = 86400.0
LOOKS = 4  # a day
KILLED_LOOKS = 0.16
TRAIN_NOW = 3  # days; a good filter is corrected little, and the person presses the button all the same
SEED = int(os.environ.get("SPAMD_SEED", "39"))
KILLS = {"before a write": 5, "in a move": 1, "trainer": 1, "in the swap": 3}
"""At least so many of each kind in every life."""
SWAP_STEPS = 24  # more than a swap has


@dataclass
class Person:
    """What the person did, as they remember it."""

    dragged: dict[int, Label] = field(default_factory=dict)  # number of the mail -> what they said
    opened: set[int] = field(default_factory=set)


class Life:
    """One mailbox, the filter that watches it, and its person."""

    def __init__(self, host: MailHost, home: Path, fraction: float) -> None:
        self.host, self.user, self.fraction, self.home = host, host.new_user(), fraction, home
        self.paths = places.find({"SPAMD_HOME": str(home)})
        self.paths.make()
        self.now = START
        self.store = Store(self.paths.database, clock=lambda: self.now)
        self.bundles = Bundles(self.paths.personal_models, places.shipped_model())
        self.account = account_of(self.user, host.port)
        self.person = Person()
        self.dice = np.random.default_rng((SEED, int(fraction * 10)))
        self.mails: dict[int, Mail] = {}
        self.names: dict[int, Identity] = {}
        self.nights: Counter[str] = Counter()
        self.kills: Counter[str] = Counter()
        self.untold = 0  # nights of which the log says nothing: killed after the swap
        self.child = subprocess.Popen(
            [sys.executable, "-m", "tests.training.filter_and_die"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.running: Running | None = None
        self.come_back()

    def come_back(self) -> Running:
        """The program is started (again) on the same home."""
        self.go_away()
        self.running = Running(self.account, self.store, Scorer(self.bundles), lambda: self.now, START - 1)
        return self.running

    def go_away(self) -> None:
        if self.running is not None:
            self.running.session.close()
        self.running = None

    def close(self) -> None:
        self.go_away()
        self.store.close()
        assert self.child.stdin is not None and self.child.stdout is not None
        self.child.stdin.close()
        self.child.wait(60)
        self.child.stdout.close()

    # -- what happens

    def day(self, mails: list[Mail]) -> None:
        for part in range(LOOKS):
            self.now += DAY / (LOOKS + 2)
            arrived = mails[part::LOOKS]
            self.deliver(arrived)
            self.look(dangerous=True)
            self.read_and_correct(arrived)
            self.look()
        assert self.running is not None
        self.running.learner.keep_quiet_mail()
        self.now = START + (mails[0].day + 1) * DAY
        self.night(mails[0].day)

    def deliver(self, mails: list[Mail]) -> None:
        uids = self.host.append(self.user, *(one.raw for one in mails), at=self.now - 60)
        with self.host.oracle(self.user) as imap:
            imap.select("INBOX", readonly=True)
            for uid, one in zip(uids, mails, strict=True):
                answer = imap.uid("FETCH", str(uid), "(X-GUID)")[1][0]
                self.names[one.number] = Identity(
                    "guid:" + answer.split(b"X-GUID ")[1].split(b")")[0].decode()
                )
                self.mails[one.number] = one

    def look(self, *, dangerous: bool = False) -> None:
        running = self.running
        if dangerous and self.dice.random() < KILLED_LOOKS:
            self.go_away()
            if self.kills["in a move"] and self.dice.random() < 0.7:
                self.live_and_die("before a write", step=int(self.dice.integers(0, 8)))
            else:
                self.live_and_die("in a move", moved=0)
            running = self.come_back()
        assert running is not None
        while not running.look():  # a drag is two events; the second look sees that nothing is left
            pass

    def live_and_die(self, kind: str, **how: Any) -> bool:
        """False: it came to its end before its time had come."""
        order = {
            "port": self.host.port, "user": self.user, "home": str(self.home), "clock": self.now,
            "since": START - 1, **how,
        }  # fmt: skip
        assert self.child.stdin is not None and self.child.stdout is not None
        self.child.stdin.write(json.dumps(order) + "\n")
        self.child.stdin.flush()
        status = int(self.child.stdout.readline())
        assert status in (0, -9), "the program itself failed"
        self.kills[kind if status else f"{kind}, too late"] += 1
        print(f"day {(self.now - START) / DAY:.2f}: {how}, {'killed' if status else 'came to its end'}")
        if status and kind == "in a move":
            assert self.store.open_moves(self.account.name), "the journal does not know yet what became of it"
        return bool(status)

    def read_and_correct(self, arrived: list[Mail]) -> None:
        """Opens what lies in the inbox; drags what is wrong, as far as they care to."""
        inbox, junk = self.lying("INBOX", newest=100), self.lying("Junk", newest=100)
        for one in arrived:
            spam = one.label is Label.SPAM
            wrong = (one.number in junk) is not spam
            if wrong and self.dice.random() < self.fraction:
                self.person.dragged[one.number] = one.label
                where, to = ("INBOX", "Junk") if spam else ("Junk", "INBOX")
                self.host.move(self.user, [(inbox if spam else junk)[one.number]], where, to)
            elif one.number in inbox:
                self.person.opened.add(one.number)
                self.host.store(self.user, [inbox[one.number]], "+FLAGS.SILENT", "\\Seen")

    def lying(self, folder: str, newest: int = 10_000) -> dict[int, int]:
        """Number -> UID of what lies in a folder, as the person's mail program sees it."""
        found: dict[int, int] = {}
        with self.host.oracle(self.user) as imap:
            count = int(imap.select(folder, readonly=True)[1][0])
            if not count:
                return found
            first = max(1, count - newest + 1)
            _, rows = imap.fetch(f"{first}:{count}", "(UID BODY.PEEK[HEADER.FIELDS (X-Day-Number)])")
            for row in rows:
                if isinstance(row, tuple):
                    number = int(row[1].split(b":")[1])
                    assert number not in found, "a mail was doubled"
                    found[number] = int(row[0].split(b"UID ")[1].split()[0])
        return found

    def night(self, day: int) -> None:
        job = self.job(evaluate.InProcess())
        if job.new_labels() < Settings().night_min_labels and day % TRAIN_NOW:
            self.nights["not due"] += 1
            return
        if day > 6 and not self.kills["trainer"] and not self.killed_night():
            self.nights["waits"] += 1
            return
        if self.kills["in the swap"] < KILLS["in the swap"] or self.dice.random() < 0.1:
            outcome = self.killed_swap()
            if outcome:
                self.nights[outcome] += 1
                return
        report = job.run_night()
        self.nights[evaluate.outcome(report)] += 1
        assert self.running is not None
        assert self.running.scorer.reload() is report.promoted

    def killed_swap(self) -> str:
        """The program is killed while it takes what the trainer made. "": nothing has changed, and the night goes on."""
        kept, plan = self.home / "kept", self.home / "plan.json"
        shutil.rmtree(kept, ignore_errors=True)

        class Kept(TrainingError):
            pass

        class OnlyTrains(evaluate.InProcess):
            """Keeps its candidate from the night: here it is not to be judged."""

            def train(self, arguments: Sequence[str], **given: Any) -> Outcome:
                outcome = super().train(arguments, **given)
                if outcome.result["status"] != "candidate":
                    return outcome
                shutil.copytree(arguments[arguments.index("--out") + 1], kept)
                raise Kept("The candidate is kept.", "")

        with contextlib.suppress(Kept):
            self.job(OnlyTrains()).run_night()
        if not kept.exists():
            return "waits"
        plan.write_text(
            json.dumps(
                [{"candidate": str(kept)}, {"say": json.dumps({"event": "result", "status": "candidate"})}]
            )
        )
        before, ledger = self.bundles.current(), list(self.store.ledger())
        told, refused = self.taken(), self.refused()
        self.go_away()
        killed = self.live_and_die("in the swap", swap=int(self.dice.integers(0, SWAP_STEPS)), plan=str(plan))
        self.come_back()
        now = self.bundles.current()
        assert now.card.id in (before.card.id, read_card(kept).id) and not self.bundles.refused
        assert list(self.store.ledger()) == ledger
        if now.card.id != before.card.id:
            assert killed or self.taken() == told + 1
            self.untold += told + 1 - self.taken()
            return "promoted"
        assert killed or self.refused() == refused + 1
        return "" if self.refused() == refused else "refused"

    def taken(self) -> int:
        return self.told("A new model")

    def refused(self) -> int:
        return self.told("No new model")

    def told(self, beginning: str) -> int:
        return sum(one.text.startswith(beginning) for one in self.store.events(limit=10_000))

    def job(self, trainer: Trainer) -> Nightly:
        return Nightly(
            paths=self.paths,
            store=self.store,
            bundles=self.bundles,
            settings=Settings,
            clock=lambda: self.now,
            shipped=places.shipped_model(),
            trainer=trainer,
        )

    def killed_night(self) -> bool:
        """A real child, killed at a random moment before its model is written: nothing has changed.

        False where it had nothing to learn and ended by itself.
        """
        job, before = self.job(TrainerProcess()), self.standing()
        at, heard = int(self.dice.integers(1, 40)), itertools.count(1)

        def tell(_done: int, _of: int, text: str) -> None:
            if next(heard) >= at or text == STAGES["export"]:
                job.stop()

        try:
            report = job.run_night(tell=tell)
        except TrainingError as error:
            assert "stopped" in error.title
        else:
            assert not report.promoted
            return False
        self.kills["trainer"] += 1
        assert self.standing() == before
        assert not (self.paths.cache / "night").exists()
        return True

    def standing(self) -> tuple[object, ...]:
        """All that a night may change."""
        folder = self.paths.personal_models
        files = {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }
        return (
            files,
            list(self.store.ledger()),
            self.store.events(limit=10_000),
            self.store.state("last_night"),
        )

    def judgement(self, number: int) -> Judgement:
        found = self.store.judgement_of(self.account.name, self.names[number])
        assert found is not None, "a mail was never judged"
        return found


@pytest.mark.parametrize("fraction", [1.0, 0.5, 0.2], ids=["all", "half", "a fifth"])
def test_thirty_nine_days(dovecot, tmp_path: Path, fraction: float) -> None:
    mails = stream()
    life = Life(dovecot(), tmp_path / "spamd", fraction)
    try:
        for _, today in itertools.groupby(mails, lambda one: one.day):
            life.day(list(today))
        the_server_is_as_it_should_be(life)
        the_ledger_is_what_the_person_remembers(life)
        the_journal_tells_where_mail_went(life)
        the_models_are_those_of_the_nights(life)
        the_figures_follow_from_the_ledger(life)
        print(life.nights, life.kills, len(life.store.moves(life.account.name, limit=10_000)), "moved")
        assert all(life.kills[kind] >= least for kind, least in KILLS.items()), life.kills
        it_was_worth_it(life)
    finally:
        life.close()


def the_server_is_as_it_should_be(life: Life) -> None:
    """No mail lost, doubled, changed; read only what the person opened; each where it belongs."""
    lying = life.host.contents(life.user)
    assert Counter(normal(one.raw) for one in lying) == Counter(
        normal(one.raw) for one in life.mails.values()
    )
    number = {normal(one.raw): one.number for one in life.mails.values()}
    seen = {number[normal(one.raw)] for one in lying if "\\Seen" in one.flags}
    assert seen == life.person.opened
    in_junk = {number[normal(one.raw)] for one in lying if one.folder == "Junk"}
    for one in life.mails.values():
        said = life.person.dragged.get(one.number)
        moved = life.store.was_moved(life.account.name, life.names[one.number])
        assert (one.number in in_junk) is (said is Label.SPAM or (moved and said is None))
    assert {one.folder for one in lying} == {"INBOX", "Junk"}


def the_ledger_is_what_the_person_remembers(life: Life) -> None:
    """Each correction and nothing else is a drag and says what they said; silence is weak, only good, only opened."""
    labels = life.store.labels()
    drags = {one.identity: one.label for one in labels if one.source is LabelSource.DRAG}
    assert drags == {life.names[number]: label for number, label in life.person.dragged.items()}
    silent = {one.identity: one for one in labels if one.source is LabelSource.IMPLICIT}
    assert len(drags) + len(silent) == len(labels), "and there is no other label"
    assert all(one.label is Label.HAM for one in silent.values())
    opened = {life.names[number] for number in life.person.opened}
    assert set(silent) <= opened - set(drags)
    for number in life.person.opened:
        one, judged = silent.get(life.names[number]), life.judgement(number)
        if one is not None:
            assert 0 < one.weight <= 1, "how much, the habit of the person says"
            assert one.at - judged.at >= 3 * DAY
    assert not any(one.held for one in labels)
    assert life.store.labels(held=True) == []


def the_journal_tells_where_mail_went(life: Life) -> None:
    name = life.account.name
    assert life.store.open_moves(name) == []
    moves = life.store.moves(name, limit=10_000)
    assert {one.kind for one in moves} <= {MoveKind.JUNK}
    done = Counter(one.identity for one in moves if one.state is MoveState.DONE)
    assert set(done.values()) <= {1}, "no mail is moved twice"
    # A mail that was dragged back is marked as not moved; the journal knows that it was.
    rescued = {life.names[number] for number, label in life.person.dragged.items() if label is Label.HAM}
    assert rescued <= set(done)
    cards = {card.id for card in life.bundles.list()}
    history = {one.model_id for one in moves}
    assert all(one.startswith(("personal-", "base-")) for one in history) and cards


def the_models_are_those_of_the_nights(life: Life) -> None:
    """One card for each night that was taken, each the child of the one before, and all that they count is there."""
    nights, labels = life.nights, life.store.weighed(life.store.labels())
    assert sum(nights.values()) == DAYS
    assert nights["promoted"] >= (3 if life.fraction > 0.2 else 1)
    why = [one.text for one in life.store.events(limit=10_000) if one.text.startswith("No new model")]
    assert nights["refused"] <= nights["promoted"], why
    assert (life.taken() + life.untold, life.refused()) == (nights["promoted"], nights["refused"])
    cards = [card for card in life.bundles.list() if card.parent is not None]
    assert len(cards) == min(3, nights["promoted"]), "three are kept"
    current = life.bundles.current().card
    assert current == cards[0]
    for newer, older in itertools.pairwise(cards):
        assert newer.parent == older.id and newer.known_until > older.known_until
    lessons = [one for one in labels if one.weight > silence.LEFT_DOUBTFUL]
    for card in cards:
        known = Counter(
            str(one.label)
            for one in lessons
            if one.at <= card.known_until and f"{one.account}\0{one.identity}" not in card.doubted
        )
        assert card.labels == {"ham": known["ham"], "spam": known["spam"]}
        assert card.reasons and card.sha256
    assert current.taught == life.store.taught(current.known_until, current.doubted), (
        "and of what they were made"
    )
    late = {one.identity for one in labels if one.at > current.known_until and one.source is LabelSource.DRAG}
    assert life.job(TrainerProcess()).new_labels() == len(late)
    assert life.running is not None
    head = {lesson.identity for lesson in life.running.scorer.head.lessons()}
    unknown = late | {Identity(name.partition("\0")[2]) for name in current.doubted}
    assert head == unknown, "the instant head holds what the model does not know yet, exactly"


def the_figures_follow_from_the_ledger(life: Life) -> None:
    name, store = life.account.name, life.store
    judged = [one for one in map(life.judgement, life.mails) if one.decision.reason != "before"]
    counts = store.counts(name, 0.0)
    verdicts = Counter(one.decision.verdict.value for one in judged)
    assert {key: counts[key] for key in ("keep", "unsure", "junk")} == {
        key: verdicts[key] for key in ("keep", "unsure", "junk")
    }
    said = {number: life.person.dragged.get(number) for number in life.mails}
    assert all(life.judgement(number).label is said[number] for number in life.mails)
    daily = store.daily_counts(START, account=name, until=life.now)
    assert sum(day.keep + day.unsure + day.junk for day in daily) == len(judged)
    assert sum(day.false_positives for day in daily) == sum(
        one.decision.verdict is Verdict.JUNK and one.label is Label.HAM for one in judged
    )
    buried = {number for number, label in life.person.dragged.items() if label is Label.HAM}
    assert store.buried(name, START) == len(buried)
    # Evidence: from the scores before learning, of all that has a label.
    points = store.evidence_points(name)
    labels = store.labels()
    assert len(points) == len(labels)
    assert Counter(label for _, label, _, _ in points) == Counter(one.label for one in labels)
    assert life.running is not None
    found = life.running.evidence()
    again = evidence.assess(
        points, PROMISE, life.now, shipped_threshold=life.bundles.current().card.junk_threshold,
        said=life.account.mode,
        rescues=[one.at for one in labels if one.identity in {life.names[number] for number in buried}],
    )  # fmt: skip
    assert (found.mode, found.ham_count, found.spam_count) == (again.mode, again.ham_count, again.spam_count)
    assert found.junk_threshold == again.junk_threshold
    assert found.spam_count == sum(one is Label.SPAM for one in life.person.dragged.values())


def it_was_worth_it(life: Life) -> None:
    """Even for the lazy: spam is told from ham, and hardly any good mail was moved."""
    late = [one for one in life.mails.values() if one.day >= DAYS - 10]
    spam, ham = (
        np.array([life.store.judgement_of(life.account.name, life.names[one.number]).score.logit for one in late
                  if one.label is label])
        for label in (Label.SPAM, Label.HAM)
    )  # fmt: skip
    assert float((spam[:, None] > ham[None, :]).mean()) > 0.97
    good = sum(one.label is Label.HAM for one in life.mails.values())
    buried = sum(
        one.label is Label.HAM and life.store.was_moved(life.account.name, life.names[one.number])
        for one in life.mails.values()
    )
    assert buried <= 0.02 * good
