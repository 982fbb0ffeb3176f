"""Taking a label back: ledger, night's labels and instant head are those of a world in which it had never been."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from hypothesis import event, given, settings
from hypothesis import strategies as st

from spamd.domain import (
    AccountName,
    Decision,
    Identity,
    Judgement,
    Label,
    LabelRecord,
    LabelSource,
    ModelId,
    Score,
    Verdict,
)
from spamd.judgement import silence
from spamd.learning.lessons import lessons
from spamd.message.vector import StoredVector, pack
from spamd.model.personal import InstantHead, Lesson
from spamd.store.database import Store
from spamd.store.judgements import Entry
from spamd.training.dataset import Example, examples, mix
from tests.unit.model.made import stored

ME = AccountName("home")
DAY = 86400.0
BEGIN = 1_700_000_000.0
MAILS = 70
NAMED = tuple(range(24))
"""So many are dragged to Junk in every world: just enough that one word less or more tells of another habit."""


@cache
def vectors() -> list[StoredVector]:
    rng = np.random.default_rng(11)
    return [stored(rng) for _ in range(MAILS)]


@cache
def packed() -> list[bytes]:
    return [pack(vector) for vector in vectors()]


def identity(number: int) -> Identity:
    return Identity(f"hash:{number}")


def judged(number: int) -> Judgement:
    """Came on one of ten days; every third looks like junk, and was not moved all the same."""
    probability = 0.93 if number in NAMED else (number % 33 + 1) / 34
    verdict = Verdict.UNSURE if 0.5 < probability < 0.8 else Verdict.KEEP
    at = BEGIN + number % 10 * DAY + number
    score = Score(probability, 0.0, 0.0, ModelId("base"))
    return Judgement(0, ME, identity(number), at, score, Decision(verdict, False, "score", ""))


said = st.tuples(
    st.just("said"),
    st.integers(0, MAILS - 1),
    st.sampled_from([Label.HAM, Label.SPAM]),
    st.sampled_from(
        [LabelSource.DRAG, LabelSource.REVIEW, LabelSource.KEYWORD, LabelSource.HINT, LabelSource.FOLDER]
    ),
)
quiet = st.tuples(st.just("quiet"), st.sets(st.integers(0, MAILS - 1), max_size=40), st.integers(1, 3))
held = st.tuples(st.just("held"), st.integers(0, MAILS - 1))
released = st.tuples(st.just("released"), st.integers(0, MAILS - 1))
steps = st.lists(st.one_of(said, said, quiet, quiet, held, released), min_size=1, max_size=25)


class World:
    """A ledger, and the head that hears of each word at once."""

    def __init__(self, path, without: int | None = None) -> None:
        self.store = Store(path)
        self.head = InstantHead()
        self.without = without
        self.now = BEGIN + 13 * DAY
        self.store.record([Entry(judged(number), packed()[number]) for number in range(MAILS)])

    def say(
        self, number: int, label: Label, source: LabelSource, weight: float = 1.0, note: str = ""
    ) -> None:
        if number == self.without:
            return
        record = LabelRecord(ME, identity(number), label, source, weight, self.now, ModelId("base"), note)
        stored_as = self.store.add_label(record)
        if stored_as.at == self.now and stored_as.source is source and source is not LabelSource.IMPLICIT:
            self.head.teach(Lesson(identity(number), vectors()[number], label, weight, self.now))

    def take(self, step) -> None:
        self.now += DAY / 2
        match step:
            case ("said", number, label, source):
                self.say(number, label, source, {LabelSource.HINT: 0.3}.get(source, 1.0))
            case ("quiet", numbers, labelled):
                self.store.note_heard(ME, (), [identity(number) for number in numbers], self.now)
                for number in sorted(numbers)[::labelled]:
                    note = (silence.OPENED, silence.OPENED, silence.ANSWERED, silence.FILED)[number % 4]
                    self.say(number, Label.HAM, LabelSource.IMPLICIT, silence.LEFT, note)
            case ("held", number):
                self.store.hold(ME, identity(number))
            case ("released", number):
                self.store.release(ME, identity(number))

    def live(self, story) -> None:
        with self.store.transaction():  # one wait for the disk
            for number in NAMED:
                self.now += 60.0
                self.say(number, Label.SPAM, LabelSource.DRAG)
            for step in story:
                self.take(step)

    def ledger(self) -> list[LabelRecord]:
        """What holds and what was replaced, numbers aside, as it is written down and as it weighs."""
        weighed = self.store.weighed(self.store.labels())
        return [replace(one, id=0) for one in (*self.store.ledger(), *weighed)]

    def night(self) -> list[Example]:
        return examples(self.store.training_set(until=self.now, limit=10_000))


def same(some: list[Example], others: list[Example]) -> bool:
    """Bit for bit, vectors aside: these are the mails'."""
    plain = [[replace(e, vector=None, fingerprint=None) for e in rows] for rows in (some, others)]
    return plain[0] == plain[1]


@settings(max_examples=40, deadline=None)
@given(steps, st.integers(0, MAILS - 1))
def test_a_ledger_without_a_label_is_that_of_a_world_without_it(tmp_path_factory, story, number):
    folder = tmp_path_factory.mktemp("worlds")
    forgetful, other = World(folder / "one.db"), World(folder / "two.db", without=number)
    for world in (forgetful, other):
        world.live(story)
    before = {one.identity: one.weight for one in forgetful.store.weighed(forgetful.store.labels())}
    forgetful.store.forget_label(ME, identity(number))
    forgetful.head.forget(identity(number))
    after = {one.identity: one.weight for one in forgetful.store.weighed(forgetful.store.labels())}
    event(f"other weights change: {any(before[one] != weight for one, weight in after.items())}")
    assert forgetful.ledger() == other.ledger()
    assert forgetful.store.evidence_points(ME) == other.store.evidence_points(ME)
    nights = [world.night() for world in (forgetful, other)]
    assert same(*nights)
    for from_scratch in (True, False):
        mixed = [mix(one, known_until=BEGIN + 15 * DAY, from_scratch=from_scratch) for one in nights]
        for part in ("fresh", "replay", "held", "rescued", "kept"):
            assert same(*(list(getattr(one, part)) for one in mixed)), part
        assert mixed[0].counts == mixed[1].counts
    taught = [list(lessons(world.store, world.now, 10_000)) for world in (forgetful, other)]
    assert [row[0] for row in taught[0]] == [row[0] for row in taught[1]]
    for name in ("_weights", "_accumulator"):
        np.testing.assert_array_equal(getattr(forgetful.head, name), getattr(other.head, name))
    assert [forgetful.head.logit(one) for one in vectors()] == [other.head.logit(one) for one in vectors()]
    for world in (forgetful, other):
        world.store.close()


def test_a_word_less_changes_what_silence_weighs(tmp_path):
    """Else the above would prove nothing."""
    world = World(tmp_path / "one.db")
    world.live([("quiet", set(range(30, 70)), 1)])
    before = [one.weight for one in world.night() if one.implicit]
    for number in NAMED[: len(NAMED) - silence.FEWEST + 1]:
        world.store.forget_label(ME, identity(number))
    after = [one.weight for one in world.night() if one.implicit]
    assert before != after and set(after) == {silence.LEFT}
    world.store.close()
