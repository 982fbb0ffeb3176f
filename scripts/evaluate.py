#!/usr/bin/env python3
"""Run the product's own code over a stream of labelled mail, as it would have been judged at the time.

    scripts/evaluate.py --index INDEX --protocol immediate|nightly|corrections|bootstrap|cold --out RESULTS

INDEX has lines `label path [day]` in order of arrival (spam|ham or 1|0), paths relative to its folder; without a day that
of the topmost Received counts, or else that of the mbox "From " line; days do not fall, and one that does not fit is not believed. RESULTS gets lines
`label score day verdict`: the score (log odds, higher is spammier) and the verdict under the evidence rules, both before
any label of that message was known. The last line on standard output is a JSON summary.

immediate    score a message, then learn its true label at once
nightly      a day's mail is scored with what was known when the day began; at midnight the nightly job learns it all
corrections  nightly; a wrong verdict is corrected by the person at once with probability --correct-fraction; what is left
             uncorrected becomes weak evidence, right or wrong
bootstrap    corrections, with the first --bootstrap N messages lying in folders when the account is added; `first` in the
             summary says what the person is told after the first reading, and after the first night
cold         the shipped base alone; nothing is learned

--poison SHARE (or ham, spam): some nights are also run on a copy whose new labels are damaged (flipped with that
probability, or all ham, or all spam). The damaged model is never used. May be given several times. What became of them
is told on standard error, night by night and in sum, and counted in the summary: refused by the gate; taken, but with
none of the damaged labels (all were left out, and the person is asked), which is as good; taken with some of them.
Nights that train nothing yet, for want of good mail, count as "waits" on both sides.
"""

from __future__ import annotations

import argparse
import bisect
import collections
import contextlib
import dataclasses
import datetime
import email.utils
import io
import json
import math
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from spamd.model.bundle import CARD, Bundles  # noqa: E402
from spamd.model.scoring import Scorer  # noqa: E402
from spamd.settings import Settings  # noqa: E402

if TYPE_CHECKING:
    from spamd.nightly import Nightly
    from spamd.store.database import Store
    from spamd.trainer import Tell

from spamd import paths as places  # noqa: E402
from spamd.domain import (  # noqa: E402
    Account,
    AccountName,
    Arrival,
    Evidence,
    FetchedMail,
    FolderName,
    GateReport,
    Identity,
    Label,
    LabelRecord,
    LabelSource,
    MessageRef,
    Mode,
    ModelId,
    Score,
    Uid,
    UidValidity,
    Verdict,
)
from spamd.errors import TrainingError  # noqa: E402
from spamd.judgement import evidence, policy, silence  # noqa: E402
from spamd.learning.first_reading import FOLDER_WEIGHT, READ_CHUNK  # noqa: E402
from spamd.learning.lessons import read_in_folder, teach  # noqa: E402
from spamd.learning.proof import score_apart  # noqa: E402
from spamd.message import vector  # noqa: E402
from spamd.trainer import COMMAND, Outcome, Trainer, TrainerProcess  # noqa: E402
from spamd.training.dataset import is_heard  # noqa: E402

ACCOUNT = AccountName("stream")
DAY = 86400.0
SHIPPED = "hashed_linear.v1"
EPOCH = 20_000 * DAY  # the stream's days are numbered; a plausible clock is enough
HEAD = 2**20  # bytes read of one file: the parser looks at the first 64 KiB
FROM_LINE = re.compile(rb"\AFrom ([^\r\n]*)\r?\n")
FROM_DATE = re.compile(r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b.*")
RECEIVED = re.compile(rb"^Received:(.*?)(?=^\S|\Z)", re.IGNORECASE | re.MULTILINE | re.DOTALL)
BODY = re.compile(rb"\r?\n\r?\n")
LABELS = {"spam": Label.SPAM, "1": Label.SPAM, "ham": Label.HAM, "0": Label.HAM}


@dataclass(frozen=True, slots=True)
class Mail:
    number: int
    label: Label
    path: Path
    day: int | None

    @property
    def identity(self) -> Identity:
        return Identity(f"hash:{self.number}")


def read_index(index: Path, limit: int | None) -> list[Mail]:
    """ValueError, with the line, where it is no index: a label taken for another would only be seen in the figures."""
    mails: list[Mail] = []
    lines = index.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) not in (2, 3) or words[0].lower() not in LABELS:
            raise ValueError(f"{index}:{number}: not `spam|ham path [day]`: {line[:80]}")
        try:
            day = int(float(words[2])) if len(words) > 2 else None
        except (ValueError, OverflowError):
            raise ValueError(f"{index}:{number}: the day is no number: {words[2][:80]}") from None
        mail = Mail(len(mails), LABELS[words[0].lower()], index.parent / words[1], day)
        if not mail.path.is_file():
            raise ValueError(f"{index}:{number}: there is no file {mail.path}")
        mails.append(mail)
        if limit and len(mails) >= limit:
            break
    return mails


def read_file(mail: Mail) -> bytes:
    with mail.path.open("rb") as file:
        return file.read(HEAD)


def without_from_line(raw: bytes) -> bytes:
    return FROM_LINE.sub(b"", raw)


def read_mail(mail: Mail) -> bytes:
    return without_from_line(read_file(mail))


def as_read(mails: list[Mail]) -> Iterator[Mail]:
    """In the order of the first reading: newest first, some of each folder in turn."""
    folders = [[mail for mail in reversed(mails) if mail.label is label] for label in (Label.SPAM, Label.HAM)]
    for start in range(0, max(map(len, folders)), READ_CHUNK):
        for folder in folders:
            yield from folder[start : start + READ_CHUNK]


def fetched(mail: Mail) -> FetchedMail:
    raw = read_mail(mail)
    folder = FolderName("Junk" if mail.label is Label.SPAM else "Archive")
    ref = MessageRef(folder, UidValidity(1), Uid(mail.number + 1))
    return FetchedMail(Arrival(ref, mail.identity, frozenset(), len(raw), EPOCH - DAY), raw, True)


def speaks(seed: int, number: int, share: float) -> bool:
    """Does the person name this mail if it was judged wrongly? share: of the errors, what they name, 0..1.

    Drawn for each mail by itself: in one sequence, the first verdict that differs between two builds would give them
    different persons for the rest of the stream.
    """
    return random.Random(f"{seed}:{number}").random() < share


def day_of(raw: bytes) -> int | None:
    """From the topmost Received line; else from the mbox "From " line, which is often that of a later copy; None where
    neither tells."""
    head = BODY.split(raw[:16384], maxsplit=1)[0]
    told = []
    if received := RECEIVED.search(head):
        told.append(received[1].rpartition(b";")[2].decode("ascii", "replace"))
    if (line := FROM_LINE.match(raw)) and (dated := FROM_DATE.search(line[1].decode("ascii", "replace"))):
        told.append(dated[0])
    for text in told:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            date = email.utils.parsedate_to_datetime(" ".join(text.split()))
            aware = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)  # an mbox line has no zone
            return int(aware.timestamp() // DAY)
    return None


def in_days(mails: Sequence[Mail]) -> list[Mail]:
    """Each with its day. Mail comes in order, so days do not fall: those of the longest row that does not are believed, and
    what says another one came on the day of the mail before. One date of a year to come held up all nights after it.
    """
    told = [mail.day if mail.day is not None else day_of(read_file(mail)) for mail in mails]
    days: list[int] = []  # the least one that ends a row of this length
    ends: list[int] = []  # and where
    before: list[int | None] = [None] * len(told)
    for number, day in enumerate(told):
        if day is None:
            continue
        length = bisect.bisect_right(days, day)
        before[number] = ends[length - 1] if length else None
        days[length : length + 1], ends[length : length + 1] = [day], [number]
    believed: set[int] = set()
    last = ends[-1] if ends else None
    while last is not None:
        believed.add(last)
        last = before[last]
    today = told[min(believed)] if believed else 0
    dated = []
    for number, mail in enumerate(mails):
        today = told[number] if number in believed else today
        dated.append(dataclasses.replace(mail, day=today))
    return dated


@dataclass
class Counts:
    nights: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    poisoned: dict[str, collections.Counter[str]] = dataclasses.field(default_factory=dict)
    corrections: int = 0
    moved_ham: int = 0
    moved: int = 0
    reasons: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


class Run:
    """One account over one stream."""

    def __init__(self, given: argparse.Namespace, home: Path) -> None:
        self.given = given
        self.dice = random.Random(given.seed + 1)  # of damage: the run itself is the same with and without
        self.paths = places.find({"SPAMD_HOME": str(home)})
        self.paths.make()
        if given.base == "none":
            self.shipped = without_base(home)
        else:
            self.shipped = places.shipped_model() if given.base == "shipped" else Path(given.base)
        self.bundles = Bundles(self.paths.personal_models, self.shipped)
        self.scorer = Scorer(self.bundles)
        self.account = Account(
            name=ACCOUNT, mode=Mode(given.mode) if given.mode else None, promise=given.promise
        )
        self.points: list[evidence.Point] = []
        self.rescues: list[float] = []
        self.now = EPOCH
        self.counts = Counts()
        self.first: dict[str, dict[str, object]] = {}  # what the first reading and the first night gave
        self.in_folders = 0  # of the points, the first so many are of mail that lay in folders
        self.nights = 0
        self.evidence = self.assess()
        self.today: list[tuple[Mail, bytes, Score, Verdict]] = []
        self.nightly = given.protocol in ("nightly", "corrections", "bootstrap")
        if self.nightly:
            from spamd.store.database import Store

            self.store = Store(self.paths.database, clock=lambda: self.now)

    def assess(self) -> Evidence:
        threshold = self.scorer.card.junk_threshold
        return evidence.assess(
            self.points,
            self.given.promise,
            self.now,
            shipped_threshold=threshold,
            said=self.account.mode,
            rescues=self.rescues[-50:],
        )

    def close(self) -> None:
        if self.nightly:
            self.store.close()

    # ---- judging

    def judge(self, features: Any) -> tuple[Score, Verdict]:
        score = self.scorer.score(features)
        decision = policy.decide(
            score, evidence=self.evidence, account=self.account, history=policy.History(), now=self.now
        )
        verdict = decision.verdict
        if verdict is Verdict.JUNK and not decision.move:
            verdict = Verdict.UNSURE  # listed, not moved: that is what the person sees
        return score, verdict

    def write_label(
        self, mail: Mail, packed: bytes, label: Label, source: LabelSource, weight: float
    ) -> None:
        self.store.put_vector(ACCOUNT, mail.identity, packed)
        self.store.add_label(
            LabelRecord(ACCOUNT, mail.identity, label, source, weight, self.now, self.scorer.card.id)
        )

    # ---- protocols

    def bootstrap(self, mails: list[Mail]) -> None:
        """Mail that lies in folders when the account is added: the first reading, and the first night over it."""
        for mail in as_read(mails):
            if self.given.bootstrap_ham and mail.label is Label.SPAM:
                continue
            self.now += 1e-3
            judgement, packed, record = read_in_folder(
                self.account, self.scorer, fetched(mail), mail.label, FOLDER_WEIGHT, self.now
            )
            self.store.record_judgement(judgement, vector=packed)
            self.store.add_label(record)
            teach(self.scorer, packed, record)
        score_apart(self.store, self.scorer, self.account, self.now)
        self.first["reading"] = self.told()
        self.night()
        self.first["night"] = self.told()

    def told(self) -> dict[str, object]:
        """The evidence from what was read, as the person is told."""
        self.points = self.store.evidence_points(ACCOUNT)
        self.in_folders = len(self.points)
        self.evidence = found = self.assess()
        return {"mode": found.mode, "threshold": found.junk_threshold, "text": found.explanation}

    def one(self, mail: Mail) -> tuple[float, int, Verdict]:
        raw = read_mail(mail)
        assert mail.day is not None, "see in_days"
        self.turn_to(mail.day)
        features = vector.vectorise(raw)
        score, verdict = self.judge(features)
        self.counts.moved += verdict is Verdict.JUNK
        self.counts.moved_ham += verdict is Verdict.JUNK and mail.label is Label.HAM
        self.now += DAY / 200_000  # time goes on within the day
        if self.given.protocol == "immediate":
            self.points.append((score.probability, mail.label, self.now, 1.0))
            self.scorer.teach(features, mail.identity, mail.label, 1.0, self.now)
        elif self.nightly:
            self.today.append((mail, vector.pack(features), score, verdict))
            if self.given.protocol != "nightly":
                self.correct(mail, features, score, verdict)
        return score.logit, self.day, verdict

    def correct(self, mail: Mail, features: Any, score: Score, verdict: Verdict) -> None:
        wrong = (verdict is Verdict.JUNK) != (mail.label is Label.SPAM)
        if not wrong or not speaks(self.given.seed, mail.number, self.given.correct_fraction):
            return
        self.counts.corrections += 1
        if mail.label is Label.HAM:
            self.rescues.append(self.now)
        self.points.append((score.probability, mail.label, self.now, 1.0))
        self.write_label(mail, vector.pack(features), mail.label, LabelSource.DRAG, 1.0)
        self.scorer.teach(features, mail.identity, mail.label, 1.0, self.now)

    started = False
    day = 0

    def turn_to(self, day: int) -> None:
        if not self.started:
            self.started, self.day = True, day
        if day <= self.day:
            return
        if self.nightly:
            self.midnight()
        elif self.given.protocol == "immediate":
            self.evidence = self.assess()
        self.now = max(self.now + DAY / 100, EPOCH + (day - self.first_day) * DAY)
        self.day = day

    first_day = 0

    def midnight(self) -> None:
        """The day's labels, and the night."""
        left = []
        for mail, packed, score, verdict in self.today:
            self.now += 1e-3
            if self.given.protocol == "nightly":
                self.points.append((score.probability, mail.label, self.now, 1.0))
                self.write_label(mail, packed, mail.label, LabelSource.REVIEW, 1.0)
            elif verdict is not Verdict.JUNK and self.store.label_of(ACCOUNT, mail.identity) is None:
                # Left in the inbox without a word: weak evidence for good mail, right or wrong.
                self.points.append((score.probability, Label.HAM, self.now, silence.LEFT))
                left.append((mail, packed, score, verdict))
        habit = self.habit()
        for mail, packed, score, verdict in left:
            self.now += 1e-3
            weight = habit.weight(score.probability, doubtful=verdict is not Verdict.KEEP)
            self.write_label(mail, packed, Label.HAM, LabelSource.IMPLICIT, weight)
        self.today = []
        self.night()
        self.evidence = self.assess()

    def habit(self) -> silence.Habit:
        """As in spamd.learning, but that nobody waits for days: whoever corrects does so at once."""
        lately = [point for point in self.points[self.in_folders :] if point[2] >= self.now - silence.WINDOW]
        said = [point for point in lately if point[1] is Label.SPAM and point[3] >= evidence.SURE_WEIGHT]
        left = [point for point in lately if point[3] < evidence.SURE_WEIGHT]
        named, silent = ([silence.Seen(at, p) for p, _, at, _ in some] for some in (said, left))
        return silence.habit(named, silent)

    def night(self) -> None:
        self.now += 1.0
        job = self.job(self.paths, self.store, self.bundles)
        if self.given.when_due and job.new_labels() < Settings().night_min_labels:
            self.counts.nights["not due"] += 1
            return
        self.nights += 1
        if self.nights > 1 and self.nights % self.given.poison_every == 0:
            for poison in self.given.poison:
                self.poisoned_night(poison)
        try:
            report = job.run_night()
        except TrainingError as exc:
            self.counts.nights["failed"] += 1
            self.counts.reasons[exc.title] += 1
            return
        self.counts.nights[outcome(report)] += 1
        if not report.promoted:
            self.counts.reasons.update(report.reasons)
            return
        if doubted := len(self.bundles.current().card.doubted):
            self.counts.nights["labels left out"] += doubted
        if not self.scorer.reload():
            raise RuntimeError("promoted, but the same model serves")
        if self.in_folders:  # the night that learned them has scored them apart
            self.points[: self.in_folders] = self.store.evidence_points(ACCOUNT)

    def job(self, home: places.Paths, store: Store, bundles: Bundles) -> Nightly:
        from spamd.nightly import Nightly

        more = ("--architecture", self.given.architecture)
        trainer: Trainer = InProcess(more) if self.given.in_process else TrainerProcess((*COMMAND, *more))
        return Nightly(
            paths=home,
            store=store,
            bundles=bundles,
            settings=Settings,
            clock=lambda: self.now,
            shipped=self.shipped,
            trainer=trainer,
        )

    def poisoned_night(self, poison: str) -> None:
        """The same night on damaged labels, in a copy of everything."""
        from spamd.store.database import Store

        known = self.bundles.current().card.known_until
        counts = self.counts.poisoned.setdefault(poison, collections.Counter())
        with tempfile.TemporaryDirectory() as folder:
            copy = places.find({"SPAMD_HOME": folder})
            copy.make()
            self.store.backup_to(copy.database)
            shutil.copytree(self.paths.personal_models, copy.personal_models, dirs_exist_ok=True)
            with Store(copy.database, clock=lambda: self.now) as store:
                damaged: set[str] = set()
                for record in store.labels(since=known):
                    if record.at <= known or not is_heard(record):
                        continue
                    label = self.damaged(record.label, poison)
                    if label is not record.label:
                        store.forget_label(record.account, record.identity)
                        store.add_label(dataclasses.replace(record, label=label, id=0))
                        damaged.add(f"{record.account}\0{record.identity}")
                if not damaged:
                    return
                bundles = Bundles(copy.personal_models, self.shipped)
                job = self.job(copy, store, bundles)
                try:
                    report = job.run_night()
                except TrainingError:
                    counts["failed"] += 1
                    return
                learned = damaged - set(bundles.current().card.doubted) if report.promoted else set()
                became = outcome(report)
                if report.promoted:
                    became = TAKEN_WITH if learned else TAKEN_WITHOUT
                counts["nights"] += 1
                counts[became] += 1
                if report.promoted:
                    counts["damaged labels in nights taken"] += len(damaged)
                    counts["of them learned"] += len(learned)
                print(
                    f"night {self.nights}, {poison}: {len(damaged)} labels damaged, {became}"
                    + (f" ({len(learned)})" if learned else ""),
                    file=sys.stderr,
                )

    def damaged(self, label: Label, poison: str) -> Label:
        if poison in ("ham", "spam"):
            return Label(poison)
        flip = self.dice.random() < float(poison)
        return (Label.HAM if label is Label.SPAM else Label.SPAM) if flip else label


TAKEN_WITHOUT, TAKEN_WITH = "taken without a damaged label", "taken with damaged labels"


def outcome(report: GateReport) -> str:
    if report.promoted:
        return "promoted"
    return "waits" if report.waits else "refused"


def in_sum(counts: Counts) -> Iterator[str]:
    """What became of clean and of damaged nights, in words."""
    judged = counts.nights["promoted"] + counts.nights["refused"]
    yield f"{judged} clean nights judged: {counts.nights['refused']} refused"
    for poison, found in counts.poisoned.items():
        judged = found["nights"] - found["waits"]
        text = (
            f"{poison}: {judged} damaged nights judged: {found['refused']} refused, {found[TAKEN_WITHOUT]} "
        )
        text += f"{TAKEN_WITHOUT}, {found[TAKEN_WITH]} with some"
        if found[TAKEN_WITH]:
            text += f" ({found['of them learned']} of {found['damaged labels in nights taken']} labels)"
        yield text


class InProcess:
    """The trainer without the child: TensorFlow is loaded once. Faster (2.5 CPU s a night), less real.

    One that runs is not ended, neither by its deadline nor by `stop`, and of its progress nothing is told.
    """

    def __init__(self, more: Sequence[str] = ()) -> None:
        """more: arguments before the night's own."""
        self._more = tuple(more)
        self._stopped = False

    def installed(self) -> bool:
        return True  # else the trainer says what is missing

    def train(self, arguments: Sequence[str], *, folder: Path, deadline: float, tell: Tell) -> Outcome:
        from spamd.training import __main__ as trainer

        if self._stopped:
            raise TrainingError("The training was ended: it was stopped.", "Nothing has changed.")
        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            code = trainer.main([*self._more, *arguments])
        return Outcome(code, json.loads(told.getvalue().splitlines()[-1]))

    def stop(self) -> None:
        self._stopped = True


def without_base(home: Path) -> Path:
    """The shipped bundle with a base that says nothing, to see what the personal part does alone."""
    from spamd.model import base as base_file
    from spamd.model import bundle
    from spamd.training import export

    source, folder = places.shipped_model(), home / "no-base"
    shutil.copytree(source, folder)
    reference = base_file.load(source)
    base = reference.base
    silent = dataclasses.replace(
        base, table=np.zeros_like(base.table), weights=np.zeros_like(base.weights), bias=0.0
    )
    base_file.save(folder / base_file.REFERENCE, dataclasses.replace(reference, base=silent, parts=()))
    path = folder / bundle.SHIPPED_MODEL
    path.write_bytes(export.to_tflite(export.Combined(silent, None, 0.0)))
    card = bundle.read_card(folder)
    sha = bundle.digest(path)
    bundle.write_card(
        folder,
        dataclasses.replace(
            card,
            id=ModelId(f"base-{sha[:10]}"),
            sha256=sha,
            calibration=(1.0, 0.0),
            files={name: bundle.digest(folder / name) for name in card.files},
        ),
    )
    return folder


def progress(mails: list[Mail]) -> Iterator[Mail]:
    """Told on a terminal's stderr, with the time left."""
    began, told = time.monotonic(), 0.0
    for number, mail in enumerate(mails):
        passed = time.monotonic() - began
        if passed - told > 5:
            told = passed
            left = passed / max(number, 1) * (len(mails) - number)
            print(f"{number}/{len(mails)}, {left:.0f} s left", file=sys.stderr)
        yield mail


def share(text: str) -> float:
    """Of something, 0..1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def damage(text: str) -> str:
    if text not in ("ham", "spam"):
        share(text)
    return text


def architectures() -> tuple[str, ...]:
    from spamd.training.architectures import ARCHITECTURES

    return tuple(ARCHITECTURES)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--protocol", choices=["immediate", "nightly", "corrections", "bootstrap", "cold"], required=True
    )
    parser.add_argument("--correct-fraction", type=share, default=1.0, metavar="SHARE")
    in_folders = parser.add_mutually_exclusive_group()
    in_folders.add_argument("--bootstrap", type=count, default=0, metavar="N")
    in_folders.add_argument("--bootstrap-ham", type=count, default=0, metavar="N", help="kept mail only")
    parser.add_argument(
        "--base", default="shipped", metavar="shipped|none|FOLDER", help="FOLDER: build_model.py --leave-out"
    )
    parser.add_argument(
        "--architecture", default=SHIPPED, metavar="NAME", help="of training/architectures.py, for the nights"
    )
    parser.add_argument(
        "--mode", choices=[one.value for one in Mode], help="the person's word; default: evidence"
    )
    parser.add_argument("--promise", type=share, default=0.001, metavar="SHARE")
    parser.add_argument(
        "--when-due", action="store_true", help="nights only with as many new labels as the product waits for"
    )
    parser.add_argument("--poison", type=damage, action="append", default=[], metavar="SHARE|ham|spam")
    parser.add_argument(
        "--poison-every", type=count, default=3, metavar="N", help="only each N-th night, for time"
    )
    parser.add_argument("--limit", type=count, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--in-process", action="store_true", help="no child process for the trainer: faster")
    given = parser.parse_args(arguments)
    if given.protocol == "bootstrap" and not (given.bootstrap or given.bootstrap_ham):
        parser.error("bootstrap needs --bootstrap N or --bootstrap-ham N")
    os.environ["PYTHONPATH"] = str(ROOT)  # for the trainer's process
    if given.architecture != SHIPPED and given.architecture not in (known := architectures()):
        parser.error(f"there is no architecture {given.architecture}: {', '.join(known)}")
    if given.base not in ("shipped", "none") and not (Path(given.base) / CARD).is_file():
        parser.error(f"{given.base} is no folder of a base")
    if not given.out.parent.is_dir():
        parser.error(f"there is no folder {given.out.parent}")
    try:
        mails = read_index(given.index, given.limit)
    except (OSError, ValueError) as exc:
        parser.error(str(exc))
    if not mails:
        parser.error(f"{given.index} names no mail")
    began, cpu = time.monotonic(), time.process_time()
    with (
        tempfile.TemporaryDirectory() as home,
        given.out.open("w", encoding="utf-8") as out,
        contextlib.closing(Run(given, Path(home))) as run,
    ):
        first = given.bootstrap or given.bootstrap_ham
        if given.bootstrap_ham:
            taken, rest = [], []
            for mail in mails:
                (taken if mail.label is Label.HAM and len(taken) < first else rest).append(mail)
            begin, mails = taken, rest
        else:
            begin, mails = mails[:first], mails[first:]
        if begin:
            if run.nightly:
                run.bootstrap(begin)
            else:
                teach_folders(run, begin)
        if not mails:
            parser.error("no mail is left after the first ones")
        mails = in_days(mails)
        run.first_day = mails[0].day or 0
        for mail in progress(mails):
            logit, day, verdict = run.one(mail)
            if not math.isfinite(logit):
                raise RuntimeError(f"{mail.path}: the score is not finite")
            out.write(f"{mail.label} {logit:.6f} {day} {verdict}\n")
        if run.nightly:
            run.midnight()
    counts = run.counts
    if given.poison:
        for line in in_sum(counts):
            print(line, file=sys.stderr)
    print(
        json.dumps(
            {
                "messages": len(mails),
                "seconds": round(time.monotonic() - began, 1),
                "cpu_seconds": round(time.process_time() - cpu, 1),
                "corrections": counts.corrections,
                "moved": counts.moved,
                "moved_ham": counts.moved_ham,
                "nights": dict(counts.nights),
                "poisoned": {poison: dict(found) for poison, found in counts.poisoned.items()},
                "refusals": dict(counts.reasons.most_common(8)),
                "ham": sum(mail.label is Label.HAM for mail in mails),
                "first": run.first,
                "evidence": run.evidence.explanation,
                "model": run.scorer.card.id,
            }
        )
    )
    return 0


def teach_folders(run: Run, mails: list[Mail]) -> None:
    """Without nights (immediate, cold): what lies in folders teaches the instant head alone."""
    for mail in mails:
        features = vector.vectorise(read_mail(mail))
        run.now += 1e-3
        score = run.scorer.score(features)
        run.points.append((score.probability, mail.label, run.now, 1.0))
        run.scorer.teach(features, mail.identity, mail.label, 1.0, run.now)


if __name__ == "__main__":
    raise SystemExit(main())
