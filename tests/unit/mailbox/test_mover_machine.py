"""A state machine plays a daemon that crashes, a person who interferes, and a server that changes its mind.

The real mover runs on the mailbox in memory. After every run, whatever happened: the same mails, none newly
read, no open row.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spamd.domain import MOVING_KEYWORD, MessageRef, MoveKind, Uid
from spamd.errors import ConnectionLost
from tests.fakes.memory_mailbox import (
    FULL,
    INBOX,
    JUNK,
    MemoryJournal,
    MemoryMover,
    MemoryServer,
    MemorySession,
    intent,
)

ABILITIES = (
    FULL,
    replace(FULL, server_ids=False),
    replace(FULL, condstore=False, keywords=False),
    replace(FULL, move=False),
    replace(FULL, move=False, server_ids=False),
    replace(FULL, move=False, uidplus=False),
    replace(FULL, move=False, uidplus=False, server_ids=False, condstore=False, keywords=False),
    replace(FULL, uidplus=False),
)
FOLDERS = st.sampled_from(["INBOX", "Junk", "Trash", "Archive"])


class Machine(RuleBasedStateMachine):
    @initialize(abilities=st.sampled_from(ABILITIES))
    def start(self, abilities) -> None:  # type: ignore[no-untyped-def]
        self.server = MemoryServer(abilities=abilities, id_kind="guid")
        self.journal = MemoryJournal()
        self.expected: Counter[bytes] = Counter()
        self.dragged = False  # a lock may travel with a mail into a folder of the person's
        self.seen: Counter[bytes] = Counter()
        self.number = 0
        self.calm = True  # nobody interfered: then nothing may be doubled either
        self.connect()

    def connect(self) -> None:
        self.session = MemorySession(self.server)
        self.mover = MemoryMover(self.session, self.journal, use_lock=True)

    def mail(self, pick: int) -> MessageRef | None:
        everything = [ref for name in self.server.folders for ref in self.server.refs(name)]
        return everything[pick % len(everything)] if everything else None

    @rule(folder=FOLDERS, seen=st.booleans(), twin=st.booleans())
    def deliver(self, folder: str, seen: bool, twin: bool) -> None:
        self.number += 0 if twin and self.number else 1
        raw = b"Subject: %d\r\nMessage-ID: <m%d@x>\r\n\r\nbody" % (self.number, self.number // 2)
        self.server.deliver(raw, folder, flags=["\\Seen"] if seen else [])
        self.expected[raw] += 1
        if seen:
            self.seen[raw] += 1

    def settled(self) -> bool:
        """A daemon recovers before it moves anything else."""
        return not self.journal.open_moves("test")

    @precondition(settled)
    @rule(picks=st.lists(st.integers(0, 50), min_size=1, max_size=4, unique=True), cut=st.integers(0, 25))
    def move(self, picks: list[int], cut: int) -> None:
        """The daemon moves mails; the connection breaks at the cut-th command (25: never)."""
        here = list(self.session.arrivals(INBOX, Uid(1)))
        chosen = {here[pick % len(here)].ref: here[pick % len(here)] for pick in picks} if here else {}
        rows = [self.journal.intent(intent(mail)) for mail in chosen.values()]
        self.attempt(cut, lambda: self.mover.move([(row, row.source) for row in rows]))

    @precondition(settled)
    @rule(pick=st.integers(0, 50), cut=st.integers(0, 25))
    def put_back(self, pick: int, cut: int) -> None:
        junk = list(self.session.arrivals(JUNK, Uid(1)))
        if junk:
            row = self.journal.intent(intent(junk[pick % len(junk)], INBOX, kind=MoveKind.UNDO))
            self.attempt(cut, lambda: self.mover.move([(row, row.source)]))

    @rule(cut=st.integers(0, 25))
    def recover(self, cut: int) -> None:
        self.attempt(cut, self.mover.recover)

    def attempt(self, cut: int, action) -> None:  # type: ignore[no-untyped-def]
        left = cut if cut < 25 else 10_000

        def count(_: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise ConnectionLost("cut")

        if cut % 2:
            self.server.before = count
        else:
            self.server.after = count
        try:
            action()
        except ConnectionLost:
            pass
        finally:
            self.server.before = self.server.after = None
        self.connect()

    @rule(pick=st.integers(0, 50), folder=FOLDERS)
    def person_drags(self, pick: int, folder: str) -> None:
        ref = self.mail(pick)
        if ref is not None and ref.folder != folder:
            self.server.drag(ref, folder)
            self.calm = False
            self.dragged = True

    @rule(pick=st.integers(0, 50))
    def person_marks_deleted(self, pick: int) -> None:
        ref = self.mail(pick)
        if ref is not None:
            self.server.set_flags(ref, ["\\Deleted"])
            self.calm = False

    @rule(folder=st.sampled_from(["INBOX", "Junk"]))
    @precondition(lambda self: self.number > 0)
    def renumber(self, folder: str) -> None:
        self.server.renumber(folder)
        self.calm = False

    @invariant()
    def nothing_lost(self) -> None:
        if not hasattr(self, "server"):
            return
        missing = self.expected - self.server.bodies()
        assert not missing, f"lost: {missing}\n{self.server.commands}"

    def teardown(self) -> None:
        if not hasattr(self, "server"):
            return
        self.mover.recover()
        assert not self.journal.open_moves("test")
        self.nothing_lost()
        assert self.server.flagged("\\Seen").keys() <= self.seen.keys(), "newly read"
        if not self.dragged:
            assert not self.server.flagged(MOVING_KEYWORD), self.server.commands
        if self.calm:
            assert self.server.bodies() == self.expected, self.server.commands
            if self.server.abilities.uidplus:
                assert not self.server.flagged("\\Deleted")


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=150,
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
