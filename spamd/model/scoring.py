"""One scorer for the whole daemon: the model that serves, the instant head and the memory of copies, behind one lock.

`score` may be called from any thread; `reload` swaps the model between two mails.
"""

from __future__ import annotations

import copy
import functools
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spamd.domain import Identity, Label, ModelCard, Score
from spamd.errors import ModelError
from spamd.message.vector import Features, shares, vectorise
from spamd.model import apart, base
from spamd.model.bundle import Bundle, Bundles
from spamd.model.copies import CopyMemory, Match
from spamd.model.personal import InstantHead, Lesson, UsualMail, sigmoid
from spamd.model.plane import Plane
from spamd.model.poison import Poison
from spamd.model.runtime import Floats, MailVector, Runtime

REMEMBERED_FROM = 0.5
"""weight of a label from which copies follow it: the person's own word, not implicit evidence"""
COPY_LOGIT = 5.0
"""Calibrated logit a copy gets at least (or at most, for ham). The verdict asks for the copy itself; further out, one
copy of the other class would rank above (below) all other mail: at 10, 1-ROCA rose from .018 to .069 %."""


class Scorer:
    """Scores mail and learns from labels at once."""

    def __init__(
        self,
        bundles: Bundles,
        head: InstantHead | None = None,
        *,
        imitates: Callable[[MailVector, Match], bool] | None = None,
        poison: Poison | None = None,
    ) -> None:
        """imitates: is a near-copy none, as one of the two imitates the other? poison: mails that are better not read.

        ModelError when not even the shipped model can be used.
        """
        self._lock = threading.RLock()
        self._reloading = (
            threading.Lock()
        )  # who reads an older pointer must not swap after who read a newer one
        self._bundles = bundles
        if head is None:
            head = InstantHead(usual=_usual(bundles))
        self.head = head
        self.copies = CopyMemory()
        self._imitates = imitates
        self._poison = poison
        bundle = bundles.current()
        self._take(bundle, Runtime(bundle.path))
        self._hints: tuple[str, Floats, Floats, Floats, base.Base] | None = None
        for lesson in head.lessons():
            self._remember(lesson.identity, lesson.vector, lesson.label, lesson.weight, lesson.at, True)

    def _take(self, bundle: Bundle, runtime: Runtime) -> None:
        self._runtime, self._card = runtime, bundle.card
        shipped = bundle.card.parent is None
        self.head.stand_on(
            functools.cache(lambda: _plane(bundle.folder) if shipped else None), bundle.card.alpha
        )
        # What the model was not made from, though it is older: the person still has to look at it.
        self._left_out = {name.partition("\0")[2] for name in bundle.card.doubted}

    def _is_unknown(self, identity: Identity, at: float) -> bool:
        """Is that label none that the model in force was made from?"""
        return at > self._card.known_until or identity in self._left_out

    @property
    def card(self) -> ModelCard:
        """Of the model that serves."""
        return self._card

    def gone_back(self) -> bool:
        """Does an older model serve than the newest of the person's own? What earlier mail scored then says less of it."""
        newest = self._bundles.newest()
        return newest is not None and newest.id != self._card.id

    # scoring

    def read(self, raw: bytes) -> Features:
        """What a mail from outside is scored by. Unreadable for one under which the program ended (`model.poison`)."""
        if self._poison is None:
            return vectorise(raw)
        with self._poison.reading(raw):
            return vectorise(raw)

    def forget_unreadable(self) -> None:
        """Under which mails the program ended: after all was wiped."""
        if self._poison is not None:
            self._poison.forget()

    def score(self, vector: MailVector, *, arrived: bool = True) -> Score:
        """The model's word on one mail. arrived=False for a mail only looked at again (explained, tried).

        SchemaMismatch for a vector of other features.
        """
        with self._lock:
            bases, totals = self._runtime.score_logits([vector])
            refused: set[Label] = set()
            match = self._copied(vector, refused)
            logit = self._of_its_own(float(bases[0]), float(totals[0]), self.head.logit(vector), refused)
            if match is not None:
                logit = self._with_copy(logit, match)
            elif arrived:
                self.head.see(vector)
            return Score(
                probability=self.probability(logit),
                logit=logit,
                base_logit=float(bases[0]),
                model_id=self._card.id,
                copy_of=match.label if match else None,
            )

    def logits(self, vectors: Sequence[MailVector]) -> Floats:
        """Total logits (model and head, without the memory of copies), for explanations and figures."""
        with self._lock:
            _, totals = self._runtime.score_logits(vectors)
            return totals + np.array([self.head.logit(vector) for vector in vectors], np.float32)

    def probability(self, logit: float) -> float:
        """Calibrated by the card."""
        a, b = self._card.calibration
        return sigmoid(a * logit + b)

    def apart(self, mails: Sequence[tuple[Identity, MailVector, Label]]) -> dict[Identity, float]:
        """The probability of each of these mails, oldest first, by lessons that hold neither it nor what came with it.

        For mail that the model below the head has not learned. Some seconds for some thousand; mail goes on being scored.
        """
        with self._lock:
            lessons, a_b = list(self.head.lessons()), self._card.calibration
            below = {identity: self._prior(vector) for identity, vector, _ in mails}
            head = copy.deepcopy(self.head.beside(()))
        names = {identity for identity, _, _ in mails}
        rows = [(str(identity), vector, label is Label.SPAM) for identity, vector, label in mails]
        rows += [
            (str(one.identity), one.vector, one.label is Label.SPAM)
            for one in lessons
            if one.identity not in names
        ]
        part = apart.parts(rows, names)
        found: dict[Identity, float] = {}
        for number in range(apart.PARTS):
            others = head.beside(one for one in lessons if part.get(one.identity) != number)
            for identity, vector, _ in mails:
                if part[identity] == number:
                    found[identity] = sigmoid(a_b[0] * (below[identity] + others.logit(vector)) + a_b[1])
        return found

    def copy_of(self, vector: MailVector) -> Match | None:
        """The corrected mail this one is a near-copy of."""
        with self._lock:
            return self._copied(vector)

    def _copied(self, vector: MailVector, refused: set[Label] | None = None) -> Match | None:
        """refused: takes the labels of those that are alike and yet not copied."""
        imitates = self._imitates
        if imitates is None:
            return self.copies.match(vector)

        def no_copy(match: Match) -> bool:
            none = imitates(vector, match)
            if none and refused is not None:
                refused.add(match.label)
            return none

        return self.copies.match(vector, no_copy)

    def _of_its_own(self, base: float, total: float, learned: float, refused: set[Label]) -> float:
        """The logit of a mail that imitations tell nothing of. Their lessons had nearly the same words, and would move it as
        far: one forgery named junk put all of 85 good mails beyond the shipped threshold, at once by the head (learned), and
        after a night by the model (total), also where the good mail itself was a lesson of that night. So what was learned
        here only speaks for such a mail. What imitates a good one gets nothing more from the head.
        """
        if Label.SPAM in refused:
            total, learned = min(total, self._card.alpha * base), min(learned, 0.0)
        return total + (max(learned, 0.0) if Label.HAM in refused else learned)

    def _with_copy(self, logit: float, match: Match) -> float:
        """What was just corrected decides its copies: on the calibrated scale, so that any threshold is passed."""
        a, b = self._card.calibration
        a = max(a, 1e-3)
        cut = min(max(self._card.junk_threshold, 0.5), 1 - 1e-9)
        far = math.log(cut / (1 - cut)) + 0.3
        if match.label is Label.SPAM:
            return max(logit, (max(COPY_LOGIT, far) - b) / a)
        return min(logit, (-COPY_LOGIT - b) / a)

    # explaining

    def guess(self, vector: MailVector) -> tuple[Floats, Floats, Floats]:
        """Roughly what each base id, personal id and dense feature adds to the logit; zeros where nothing is known.

        Read from the numbers beside the model (linear architectures keep them); only to choose what to look at.
        """
        with self._lock:
            hints = self._load_hints()
            own = self.head.contributions(vector)
            if hints is None:
                return (
                    np.zeros(len(vector.base_ids), np.float32),
                    own,
                    np.zeros(len(vector.dense), np.float32),
                )
            _, words, personal, own_dense, parameters = hints
            turned = self.head.dense_weights()
            if turned is not None:
                own_dense = own_dense + turned
            alpha = np.float32(self._card.alpha)
            return (
                alpha * words[vector.base_ids] / np.float32(np.sqrt(max(1, len(vector.base_ids)))),
                personal[vector.personal_ids] * shares(vector.personal_ids) + own,
                parameters.standardise(vector.dense) * (alpha * parameters.weights + own_dense),
            )

    def below_usual(self, vector: MailVector) -> NDArray[np.bool_]:
        """Which dense features are lower than in the mail the base was made from; False where nothing is known."""
        with self._lock:
            hints = self._load_hints()
        if hints is None:
            return np.zeros(len(vector.dense), bool)
        with np.errstate(invalid="ignore"):
            below: NDArray[np.bool_] = vector.dense < hints[4].mean
        return below

    def copy_shift(self, vector: MailVector) -> float:
        """How far the correction of its copy moves this mail's logit, lesson and memory together; or, where what is nearly the
        same only imitates it (or is imitated), how far it is from what their lessons would make of it (0: nothing is alike).
        """
        with self._lock:
            refused: set[Label] = set()
            match = self._copied(vector, refused)
            bases, totals = self._runtime.score_logits([vector])
            base, below, learned = float(bases[0]), float(totals[0]), self.head.logit(vector)
            if match is None:
                return self._of_its_own(base, below, learned, refused) - (below + learned)
            return self._with_copy(below + learned, match) - below

    def _load_hints(self) -> tuple[str, Floats, Floats, Floats, base.Base] | None:
        if self._hints is None or self._hints[0] != self._card.sha256:
            try:
                parameters = base.load(self._bundles.shipped().folder).base
                folder = self._bundles.current().folder
                personal, dense = base.personal_weights(folder), base.personal_dense(folder)
            except ModelError:
                return None
            self._hints = (self._card.sha256, parameters.weight_table(), personal, dense, parameters)
        return self._hints

    # learning

    def teach(
        self,
        vector: MailVector,
        identity: Identity,
        label: Label,
        weight: float = 1.0,
        at: float | None = None,
        *,
        followed: bool = True,
    ) -> None:
        """Learn one label at once; a newer label of the same mail replaces the older. at: None means now. followed: do
        near-copies of the mail follow it by themselves (if it weighs enough)?
        """
        at = time.time() if at is None else at
        with self._lock:
            self.head.teach(Lesson(identity, vector, label, weight, at, self._prior(vector)))
            self._remember(identity, vector, label, weight, at, followed)

    def forget(self, identity: Identity) -> bool:
        """As if that label had not been taught since the last night. False if it was not."""
        with self._lock:
            remembered = self.copies.forget(identity)
            return self.head.forget(identity) or remembered

    def rebuild(self, labels: Iterable[tuple[Identity, MailVector, Label, float, float, bool]]) -> None:
        """Start anew from the ledger (identity, vector, label, weight, time, followed).

        The head learns what is newer than the model; the memory of copies takes all of them.
        """
        with self._lock:
            rows = sorted(labels, key=lambda row: row[4])
            self.copies.clear()
            for identity, vector, label, weight, at, followed in rows:
                self._remember(identity, vector, label, weight, at, followed)
            self.head.rebuild(
                (
                    Lesson(identity, vector, label, weight, at)
                    for identity, vector, label, weight, at, _ in rows
                    if self._is_unknown(identity, at)
                ),
                self._prior,
            )

    def reload(self) -> bool:
        """Look whether another model serves now, and swap. True if it does.

        The head starts anew on it with the lessons the new model does not know. ModelError leaves the old one serving.
        """
        with self._reloading:
            bundle = self._bundles.current()
            with self._lock:
                if bundle.card.id == self._card.id and bundle.card.sha256 == self._card.sha256:
                    return False
            runtime = Runtime(bundle.path)  # outside the lock: mail goes on being scored meanwhile
            with self._lock:
                self._take(bundle, runtime)
                unknown = [one for one in self.head.lessons() if self._is_unknown(one.identity, one.at)]
                self.head.rebuild(unknown, self._prior)
                return True

    def _prior(self, vector: MailVector) -> float:
        return float(self._runtime.score_logits([vector])[1][0])

    def _remember(
        self, identity: Identity, vector: MailVector, label: Label, weight: float, at: float, followed: bool
    ) -> None:
        if weight >= REMEMBERED_FROM:
            self.copies.remember(identity, vector, label, at, followed=followed)
        else:
            self.copies.forget(identity)


class _HasShipped(Protocol):
    def shipped(self) -> Bundle: ...


def _plane(folder: Path) -> Plane | None:
    try:
        return base.plane(folder)
    except ModelError:
        return None  # lessons then move the table alone


def _usual(bundles: _HasShipped) -> UsualMail | None:
    try:
        return base.usual(bundles.shipped().folder)
    except ModelError:
        return None  # only the head's guard is weaker without it
