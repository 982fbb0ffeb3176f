"""A person, a server and the filter, in any order: no mail lost or read, no label the person did not mean."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from spamd.domain import Label, LabelSource, MoveKind
from spamd.errors import ConnectionLost
from tests.fakes.memory_mailbox import FULL, MemoryServer
from tests.unit.test_filtering import Place, mail

FOLDERS = ("INBOX", "Junk", "Archive", "Trash")


class Story(RuleBasedStateMachine):
    abilities = FULL

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        server = MemoryServer(abilities=self.abilities, folders=("Junk", "Trash", "Archive"))
        self.place = Place(Path(self.folder.name), server=server)
        self.server = server
        self.number = 0
        self.there = Counter()
        self.to_junk, self.from_junk = set(), set()  # subjects the person moved so, ever
        self.look()

    def teardown(self):
        self.place.store.close()
        self.folder.cleanup()

    # -- the world

    @rule(
        score=st.sampled_from([0.01, 0.6, 0.99]), folder=st.sampled_from(["INBOX", "INBOX", "INBOX", "Junk"])
    )
    def deliver(self, score, folder):
        self.number += 1
        raw = mail(self.number, score)
        self.server.deliver(raw, folder, at=self.place.now + self.number)
        self.there[raw] += 1

    @rule(data=st.data())
    @precondition(lambda self: self.there)
    def deliver_a_twin(self, data):
        raw = data.draw(st.sampled_from(sorted(self.there)))
        self.number += 1
        self.server.deliver(raw, "INBOX", at=self.place.now + self.number)
        self.there[raw] += 1

    # -- the person

    def pick(self, data, *folders):
        refs = [ref for folder in folders for ref in self.server.refs(folder)]
        return data.draw(st.sampled_from(refs)) if refs else None

    @rule(data=st.data(), to=st.sampled_from(FOLDERS))
    def drag(self, data, to):
        target = to
        ref = self.pick(data, *FOLDERS)
        if ref is None or ref.folder == target:
            return
        raw = self.server.folders[ref.folder].mails[ref.uid].raw
        if target == "Junk":
            self.to_junk.add(raw)
        if target in ("INBOX", "Archive"):
            # Also by way of Trash: if we looked at none of the stops, only the ends are seen.
            self.from_junk.add(raw)
        self.server.drag(ref, target)

    @rule(data=st.data())
    def copy_to_archive(self, data):
        ref = self.pick(data, "INBOX")
        if ref is not None:
            raw = self.server.folders[ref.folder].mails[ref.uid].raw
            self.there[raw] += 1
            self.from_junk.add(
                raw
            )  # who keeps a copy wants the mail, if it is found there when Junk is emptied
            self.server.copy(ref, "Archive")

    @rule()
    def empty_junk(self):
        for ref in self.server.refs("Junk"):
            self.there[self.server.folders["Junk"].mails[ref.uid].raw] -= 1
            self.server.delete(ref)

    @rule(folder=st.sampled_from(["INBOX", "Junk"]))
    def renumber(self, folder):
        self.server.renumber(folder)

    # -- the filter

    @rule()
    def look(self):
        self.place.look()

    @rule(point=st.integers(1, 25))
    def look_and_lose_the_connection(self, point):
        count = 0

        def cut(command):
            nonlocal count
            count += 1
            if count == point:
                raise ConnectionLost("cut")

        self.server.after = cut
        try:
            self.place.look()
        except ConnectionLost:
            pass
        finally:
            self.server.after = None
        self.restart()

    @rule()
    def restart(self):
        self.place.connect()
        self.place.filter.recover()

    @rule()
    def undo_the_last_move(self):
        rows = self.place.store.moves(self.place.account.name, kind=MoveKind.JUNK, limit=1)
        if rows:
            self.place.filter.moves.put_back(rows[0])

    @rule(hours=st.sampled_from([0.1, 1, 30, 24 * 4]))
    def time_passes(self, hours):
        self.place.now += hours * 3600
        self.place.learner.keep_quiet_mail()
        self.place.filter.later.again()

    # -- what must be true at any time

    @invariant()
    def nothing_is_lost_or_doubled(self):
        assert self.server.bodies() == +self.there

    @invariant()
    def nothing_is_read_or_marked(self):
        assert not self.server.flagged("\\Seen")
        assert not self.server.flagged("\\Deleted")

    @invariant()
    def every_label_was_meant(self):
        for label in self.place.labels():
            if label.source is LabelSource.IMPLICIT:
                assert label.label is Label.HAM
                assert 0 < label.weight <= 1
                continue
            assert label.source is LabelSource.DRAG
            judged = self.place.store.judgement_of(label.account, label.identity)
            assert judged is not None
            meant = self.to_junk if label.label is Label.SPAM else self.from_junk
            assert judged.subject in {raw.split(b"Subject: ")[1].split(b"\r\n")[0].decode() for raw in meant}

    @invariant()
    def one_automatic_move_for_one_mail(self):
        moves = self.place.store.moves(self.place.account.name, kind=MoveKind.JUNK, limit=10_000)
        done = Counter(row.identity for row in moves if row.state.value == "done")
        assert not done or max(done.values()) == 1

    @invariant()
    def what_was_rescued_stays(self):
        for label in self.place.labels():
            if label.label is Label.HAM and label.source is LabelSource.DRAG:
                assert self.place.store.past_of(label.account, [label.identity])[label.identity].rescued


class WithoutServerIds(Story):
    abilities = FULL.__class__(
        move=True, uidplus=True, condstore=False, idle=True, server_ids=False, keywords=True, quirk="memory"
    )


class TwoComputers(Story):
    """A second daemon with a home of its own on the same mailbox."""

    def __init__(self):
        super().__init__()
        (Path(self.folder.name) / "other").mkdir()
        self.other = Place(Path(self.folder.name) / "other", server=self.server)
        self.other.look()

    def teardown(self):
        self.other.store.close()
        super().teardown()

    @rule()
    def the_other_looks(self):
        self.other.now = max(self.other.now, self.place.now)
        self.other.look()

    @rule(point=st.integers(1, 25))
    def the_other_looks_in_the_middle(self, point):
        """Between two commands of the first one, of which one may be the move."""
        count = 0

        def look(command):
            nonlocal count
            count += 1
            if count == point:
                self.server.before = None
                self.the_other_looks()

        self.server.before = look
        try:
            self.place.look()
        finally:
            self.server.before = None

    @rule()
    def undo_the_last_move(self):
        rows = self.place.store.moves(self.place.account.name, kind=MoveKind.JUNK, limit=1)
        if rows and self.place.filter.moves.put_back(rows[0]) is not None:
            judged = self.place.store.judgement_of(rows[0].account, rows[0].identity)
            self.from_junk |= {raw for raw in self.there if f"Subject: {judged.subject}\r".encode() in raw}

    @invariant()
    def every_label_of_the_other_was_meant(self):
        mine, self.place = self.place, self.other
        try:
            self.every_label_was_meant()
        finally:
            self.place = mine

    @invariant()
    def one_of_the_two_moved_it(self):
        done = Counter(
            row.identity
            for place in (self.place, self.other)
            for row in place.store.moves(place.account.name, kind=MoveKind.JUNK, limit=10_000)
            if row.state.value == "done"
        )
        assert not done or max(done.values()) == 1


@pytest.mark.parametrize("machine", [Story, WithoutServerIds, TwoComputers])
def test_any_order_of_things(machine):
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
