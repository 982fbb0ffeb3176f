"""What was learned since the last night: the instant head.

A linear model over the personal part's buckets, moved by one NumPy Adagrad step per correction (about 40 us). It never
changes by itself: it follows from its lessons alone, so that taking one away is exact, and from how the usual mail
looks, which keeps one-sided lessons from lifting everything:

- After spam labels alone every bucket that all mail shares would weigh towards spam, and so would all mail. What the
  mean of the usual mail would get is therefore taken off.
- A bucket that most mail has takes smaller steps.

With enough labels of both classes this fades out: then the labels themselves tell what is common. It also does where
nearly all mail that arrives is labelled, however rare one class is. Only mail counts there that this very head saw arrive: after a start
the ledger's labels are many, and the mail seen is little, though the person named hardly any of what came.

Runs of letters and all other tokens are two models of one table, each half taught by the joint logit and its own.

On the shipped model the lessons also turn its dense part (plane.py), anew with each quarter more of them; the table then
learns what that leaves wrong. A personal model was turned at night.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spamd.domain import Identity, Label
from spamd.message.vector import BUCKETS, LETTERS, shares
from spamd.model.plane import Plane, level
from spamd.model.runtime import Floats, Ints, MailVector

LEARNING_RATE = 0.2  # of runs of letters
LEARNING_RATE_OTHERS = 0.3  # of words, links, facts and headers
OWN = 0.5  # 0: both halves learn what their sum leaves wrong; 1: each what it would leave wrong alone
MARGIN = 1.0  # a lesson is learned until the logit is this far on its side
PENALTY = 1e-3  # L2, on what a lesson touches
INITIAL_ACCUMULATOR = 1e-4
ALL_LABELLED = (0.5, 0.9)  # share of the mails seen that is labelled: the guard begins to go, and is gone
LABELLED_AT = (20.0, 40.0)  # and this weight of labels, with ALL_LABELLED_RARER of the rarer class
ALL_LABELLED_RARER = 1.0
BALANCED_AT = 8.0  # weight of the rarer class's labels from which the offset is gone
BALANCED_SHARE = 0.1
"""And at least this much of the other class's. Where no night is, corrections add up: after a few hundred junk mails named and eight good ones
taken back, all good mail looked like junk (docs/LOG.md)."""
ONE_SIDED = 10.0  # labels of one class alone beyond this weight: all of them together count no more
GOOD_ALONE = 0.1
"""How loud the table is with good mail alone on the shipped model, where usual buckets are not damped: what is known of a
mailbox is good mostly. 1-ROCA % of SpamAssassin / CSDMC2010 / Enron / modern-lists after 100: dense part alone .75 / .03 /
7.8 / .63, with the table .60 / .00 / 5.3 / .57, and usual buckets damped .81 / .04 / 7.3 / .65. At full loudness the first
good mail made 3.0 of 1.0."""
OFFSET = 0.5  # share of what the usual mail gets that is taken off: with all of it, unrelated mail moves the other way
CAPACITY = 5000  # lessons kept; the oldest go first
USUAL_SPAN = 500  # mails over which the usual mail is averaged
WAITING = 16  # mails seen until they are added to it: 150 kB of ids
TURNED_AGAIN = 1.25  # times the lessons at which the dense part was turned last
TURNED_MOST = 400  # lessons it is turned by; then the table knows more, and turning takes 40 ms
TURNED_HAM = (
    20.0  # with less good mail, and more spam than that, it is not: it would follow two or three mails
)
SCARCE = 10.0  # there, spam outweighs good mail of weight g by 1 + g / SCARCE at most, as at night (training/dataset.py)
ONE_SIDED_DAMPING = 20.0  # with labels of one class alone, what one usual mail in 20 has is not learned


class UsualMail:
    """The mean of the mail seen lately, per bucket. Holds no label and no text."""

    def __init__(self, dimension: int = BUCKETS, span: int = USUAL_SPAN) -> None:
        self._share = np.zeros(dimension, np.float32)  # of mail that has the bucket, over _scale
        self._mean = np.zeros(dimension, np.float32)  # of what each counts (vector.shares), over _scale
        self._scale = 1.0
        self._span = span
        self.count = 0
        # Mails seen whose ids are not added yet: nobody asks for the mean before the next lesson, and a mail's verdict
        # need not wait for it.
        self._waiting: list[tuple[Ints, float]] = []

    @classmethod
    def from_shipped(
        cls, ids: Ints, share: Floats, mean: Floats, count: int, dimension: int = BUCKETS
    ) -> UsualMail:
        """Start from public mail until enough of the person's own was seen; `count` is its weight in mails."""
        usual = cls(dimension)
        usual._share[ids] = share
        usual._mean[ids] = mean
        usual.count = count
        return usual

    def see(self, ids: Ints) -> float:
        """One more mail. Returns the share of the old mean that stays (0..1)."""
        self.count += 1
        keep = 1 - 1 / min(self.count, self._span)
        if keep * self._scale < 1e-6:
            self._add_waiting()
            self._share *= np.float32(self._scale * keep)
            self._mean *= np.float32(self._scale * keep)
            self._scale = 1.0
        else:
            self._scale *= keep
        if len(ids):
            self._waiting.append((ids, (1 - keep) / self._scale))
            if len(self._waiting) >= WAITING:
                self._add_waiting()
        return keep

    def _add_waiting(self) -> None:
        """Bring the sums up to date with all mails seen."""
        waiting, self._waiting = self._waiting, []
        for ids, weight in waiting:
            # Twice as fast as `+=`, and ids are there once each.
            values = shares(ids)
            values *= np.float32(weight)
            np.add.at(self._mean, ids, values)
            values.fill(weight)
            np.add.at(self._share, ids, values)

    def share(self, ids: Ints) -> Floats:
        """Of the usual mail, the share that has each of these buckets (0..1)."""
        self._add_waiting()
        return self._share[ids] * np.float32(self._scale)

    def mean(self, ids: Ints) -> Floats:
        self._add_waiting()
        return self._mean[ids] * np.float32(self._scale)

    def dot(self, weights: Floats) -> float:
        """What linear weights give the mean mail."""
        self._add_waiting()
        return float(self._mean @ weights) * self._scale


@dataclass(frozen=True, slots=True)
class Lesson:
    """One label the head stands on. prior: logit of the model below the head when it was taught."""

    identity: Identity
    vector: MailVector
    label: Label
    weight: float
    at: float
    prior: float = 0.0


class InstantHead:
    """Not thread-safe: the scorer holds the lock."""

    def __init__(
        self, dimension: int = BUCKETS, usual: UsualMail | None = None, *, capacity: int = CAPACITY
    ) -> None:
        self.usual = usual or UsualMail(dimension)
        self._dimension = dimension
        self._capacity = capacity
        self._lessons: dict[Identity, Lesson] = {}
        self._seen = 0  # mails since the head was made
        self._arrived: dict[int, None] = {}  # checksums of the newest of them
        self._plane: Callable[[], Plane | None] = lambda: None
        self._alpha = 1.0
        self._clear()

    def stand_on(self, plane: Callable[[], Plane | None], alpha: float) -> None:
        """The model below, from the next rebuild on: its dense part, if lessons may turn it, and how much that counts.

        plane is asked at each turn, and not before: most starts need none.
        """
        self._plane, self._alpha = plane, alpha

    def _clear(self) -> None:
        self._weights = np.zeros(self._dimension, np.float32)
        # Without INITIAL_ACCUMULATOR, which is added where it is used: memory that is all zero costs nothing.
        self._accumulator = np.zeros(self._dimension, np.float32)
        self._asked: tuple[Ints, float] | None = None
        self._turned: _Turned | None = None
        self._unseen = 0.0  # what the table said of the turning lessons' mails, had they not been learned
        self._offset = 0.0  # what the mean usual mail gets
        self._mass = {Label.HAM: 0.0, Label.SPAM: 0.0}
        self._witnessed = 0.0  # weight of the labels of mail that was seen

    def __len__(self) -> int:
        return len(self._lessons)

    def lessons(self) -> Iterator[Lesson]:
        return iter(self._lessons.values())

    def logit(self, vector: MailVector) -> float:
        """What the lessons add to a mail's logit."""
        if not self._lessons:
            return 0.0
        ids = vector.personal_ids
        own = self._heard(self._raw(ids)) if len(ids) else 0.0
        if self._turned is None:
            return own
        turned = self._turned
        unseen = turned.unseen + self._heard(self._unseen)
        rarer = min(self._mass.values())
        return own + turned.logit(vector) + level(unseen, turned.good, rarer, self._alpha)

    def _heard(self, raw: float) -> float:
        """What the table says, less what it says of all mail, as loud as the labels allow."""
        guard = self._guard()
        loud = GOOD_ALONE if self._first_good() else min(1.0, ONE_SIDED / max(1.0, sum(self._mass.values())))
        return (1 - guard * (1 - loud)) * (raw - OFFSET * guard * self._offset)

    def _first_good(self) -> bool:
        """Good mail on the shipped model, which knows nothing of this mailbox, and hardly any junk."""
        return self._turned is not None and self._mass[Label.HAM] >= self._mass[Label.SPAM]

    def _raw(self, ids: Ints) -> float:
        """What the weights say of these ids; remembered, since a mail is scored and then seen."""
        if self._asked is None or self._asked[0] is not ids:
            self._asked = (ids, float(self._weights[ids] @ shares(ids)))
        return self._asked[1]

    def contributions(self, vector: MailVector) -> Floats:
        """What each personal id adds to logit(), before the offset."""
        ids = vector.personal_ids
        return self._weights[ids] * shares(ids)

    def dense_weights(self) -> Floats | None:
        """What is added to logit() per standardised dense feature; None: nothing."""
        return self._turned.weights if self._turned else None

    def _guard(self) -> float:
        """1: the labels are one-sided and say nothing of what is usual. 0: they tell it themselves."""
        rarer, labels = min(self._mass.values()), self._witnessed
        told = _ramp(labels / max(1, self._seen), ALL_LABELLED) * _ramp(labels, LABELLED_AT)
        told *= min(1.0, rarer / ALL_LABELLED_RARER)
        balanced = max(BALANCED_AT, BALANCED_SHARE * max(self._mass.values()))
        return (1 - min(1.0, rarer / balanced)) * (1 - told)

    def see(self, vector: MailVector) -> None:
        """A mail arrived, of whatever kind: it is usual from now on."""
        ids = vector.personal_ids
        if not len(ids):
            return
        raw = self._raw(ids) if self._lessons else 0.0
        self._seen += 1
        self._arrived[_checksum(ids)] = None
        if len(self._arrived) > self._capacity:
            del self._arrived[next(iter(self._arrived))]
        keep = self.usual.see(ids)
        self._offset = keep * self._offset + (1 - keep) * raw

    def teach(self, lesson: Lesson) -> None:
        """Learn one label. A label for a mail already taught replaces the old one (everything is rebuilt then)."""
        if lesson.identity in self._lessons:
            self.rebuild(
                [*(old for old in self._lessons.values() if old.identity != lesson.identity), lesson]
            )
            return
        self._lessons[lesson.identity] = lesson
        while len(self._lessons) > self._capacity:  # its trace in the weights stays until the next rebuild
            del self._lessons[next(iter(self._lessons))]
        count = len(self._lessons)
        if count == _turned_at(count) and (self._turned or self._turns(self.lessons())):
            self.rebuild(self.lessons())
        else:
            self._step(lesson)

    def _step(self, lesson: Lesson) -> None:
        ids = lesson.vector.personal_ids
        self._mass[lesson.label] += lesson.weight
        if not len(ids):
            return
        if _checksum(ids) in self._arrived:
            self._witnessed += lesson.weight
        target, margin = (1.0, MARGIN) if lesson.label is Label.SPAM else (0.0, -MARGIN)
        values = shares(ids)
        weights = self._weights[ids]
        split = int(np.searchsorted(ids, LETTERS))
        others = float(weights[:split] @ values[:split])
        letters = float(weights[split:] @ values[split:])
        prior = lesson.prior + (self._turned.logit(lesson.vector) if self._turned else 0.0)
        below = prior - OFFSET * self._guard() * self._offset - margin
        joint = (1 - OWN) * (others + letters) + below
        gradient = values
        gradient[:split] *= np.float32(sigmoid(joint + 2 * OWN * others) - target)
        gradient[split:] *= np.float32(sigmoid(joint + 2 * OWN * letters) - target)
        gradient += np.float32(PENALTY) * weights
        accumulated = self._accumulator[ids] + gradient * gradient
        self._accumulator[ids] = accumulated
        accumulated += np.float32(INITIAL_ACCUMULATOR)
        step = gradient / np.sqrt(accumulated, out=accumulated)
        step[:split] *= np.float32(-LEARNING_RATE_OTHERS * lesson.weight)
        step[split:] *= np.float32(-LEARNING_RATE * lesson.weight)
        one_sided = 0.0 if self._first_good() else self._guard()
        damping = np.float32(1 + one_sided * (ONE_SIDED_DAMPING - 1))
        step *= np.maximum(0, 1 - self.usual.share(ids) * damping)
        self._weights[ids] += step
        self._asked = None
        self._offset += float(step @ self.usual.mean(ids))

    def beside(self, lessons: Iterable[Lesson]) -> InstantHead:
        """Another head, which has seen the same mail and stands on these lessons."""
        other = InstantHead(self._dimension, self.usual, capacity=self._capacity)
        other._seen, other._arrived = self._seen, self._arrived
        other.stand_on(self._plane, self._alpha)
        other.rebuild(lessons)
        return other

    def forget(self, identity: Identity) -> bool:
        """As if that label had never been taught. False if it was not."""
        if identity not in self._lessons:
            return False
        self.rebuild([lesson for lesson in self._lessons.values() if lesson.identity != identity])
        return True

    def rebuild(self, lessons: Iterable[Lesson], prior: Callable[[MailVector], float] | None = None) -> None:
        """Start anew from these lessons, oldest first; with `prior` the model below them has changed."""
        kept: dict[Identity, Lesson] = {}
        for lesson in sorted(lessons, key=lambda lesson: lesson.at):
            kept.pop(lesson.identity, None)
            kept[lesson.identity] = lesson
        self._clear()
        new = list(kept.values())[-self._capacity :]
        if prior is not None:
            new = [replace(lesson, prior=prior(lesson.vector)) for lesson in new]
        self._lessons = {lesson.identity: lesson for lesson in new}
        turning = new[: _turned_at(len(new))]
        plane = self._turns(turning)
        if plane is not None:
            self._turned = self._turn(plane, turning)
        seen = self._seen
        for number, lesson in enumerate(new, 1):
            self._seen = round(seen * number / len(new))  # mail came between the lessons
            self._step(lesson)
            if number == len(turning) and self._turned:
                self._unseen = self._table_unseen(turning)
        self._seen = seen

    def _turns(self, lessons: Iterable[Lesson]) -> Plane | None:
        """What these lessons turn, if they do."""
        mass = dict.fromkeys(Label, 0.0)
        for lesson in lessons:
            mass[lesson.label] += lesson.weight
        if not mass[Label.HAM] or mass[Label.HAM] < min(mass[Label.SPAM], TURNED_HAM):
            return None
        plane = self._plane()
        return plane if plane is not None and plane.parts else None

    def _turn(self, plane: Plane, lessons: Sequence[Lesson]) -> _Turned:
        spam = np.array([lesson.label is Label.SPAM for lesson in lessons], bool)
        weights = np.array([lesson.weight for lesson in lessons], np.float32)
        ham, junk = float(weights[~spam].sum()), float(weights[spam].sum())
        most = ham * (1 + ham / SCARCE)
        if junk > most:
            weights[spam] *= most / junk
        turned = plane.refit(np.stack([lesson.vector.dense for lesson in lessons]), spam, weights)
        return _Turned(
            plane,
            (self._alpha * turned.weights).astype(np.float32),
            self._alpha * turned.offset,
            self._alpha * float(np.average(turned.unseen, weights=weights)),
            self._alpha * turned.good,
        )

    def _table_unseen(self, lessons: Sequence[Lesson]) -> float:
        """What a mail gets from a bucket of k mails it would have got unlearned, but for a k-th of it."""
        weight = sum(lesson.weight for lesson in lessons)
        if self._turned is None or not weight:
            return 0.0
        count = np.zeros(self._dimension, np.float32)
        for lesson in lessons:
            count[lesson.vector.personal_ids] += 1
        total = 0.0
        for lesson in lessons:
            ids = lesson.vector.personal_ids
            total += lesson.weight * float((self._weights[ids] * (1 - 1 / count[ids])) @ shares(ids))
        return total / weight


@dataclass(frozen=True, slots=True)
class _Turned:
    """A turned plane, as it adds to the logit, without the level."""

    plane: Plane
    weights: Floats
    offset: float
    unseen: float  # mean change of the lessons' mails, had they not been learned
    good: float  # change of public good mail

    def logit(self, vector: MailVector) -> float:
        return float(self.plane.standardise(vector.dense) @ self.weights) + self.offset


def _turned_at(count: int) -> int:
    """Of so many lessons, by how many of the oldest the dense part is turned."""
    at, following = 0, 1
    while following <= min(count, TURNED_MOST):
        at, following = following, max(following + 1, math.ceil(following * TURNED_AGAIN))
    return at


def _checksum(ids: Ints) -> int:
    """Of a mail's ids (2 us). That of another mail is the same once in four thousand millions."""
    return zlib.crc32(ids.data)


def _ramp(value: float, between: tuple[float, float]) -> float:
    """0 up to the first, 1 from the second."""
    return min(1.0, max(0.0, (value - between[0]) / (between[1] - between[0])))


def sigmoid(logit: float) -> float:
    """1/(1+e^-x) without overflow."""
    if logit >= 0:
        return 1 / (1 + math.exp(-min(logit, 700.0)))
    return 1 - 1 / (1 + math.exp(max(logit, -700.0)))
