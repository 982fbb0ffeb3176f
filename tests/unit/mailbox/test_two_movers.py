"""Two daemons copy one mail at the same moment, on a server whose lock holds for nobody: every order of their commands.

Courier as it behaves in lock-step (each STORE of a keyword may undo the other one's, so that both believe that they hold
the lock), without MOVE, CONDSTORE and server ids. A controller lets one command through at a time; Hypothesis chooses
whose, where a daemon crashes, and what the person does in between.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, example, given, settings

from spamd.domain import MOVED_KEYWORD, MOVING_KEYWORD, OWNER_KEYWORD, MoveState, Uid
from spamd.errors import ConnectionLost
from tests.fakes.memory_mailbox import (
    FULL,
    INBOX,
    MemoryCommands,
    MemoryJournal,
    MemoryMover,
    MemoryServer,
    MemorySession,
    intent,
)

COURIER = replace(FULL, move=False, condstore=False, server_ids=False)
MUTE = replace(COURIER, keywords=False)
LONELY = replace(FULL, move=False)  # with ids; the lock is ours to break
RAW = b"Subject: offer\r\nMessage-ID: <offer@x>\r\n\r\nbody"
OTHER = b"Subject: other\r\nMessage-ID: <other@x>\r\n\r\nbody"
FOREVER = 60.0


class BrokenLock(MemoryCommands):
    """Both get the lock. A copy bears the name of who made it, which was confirmed a moment before; or (not named) that of
    the other one, who has locked it since.
    """

    owner = ""
    named = True
    copying: Sequence[Uid] = ()

    def lock(self, folder, uids, keyword, also=()):  # type: ignore[no-untyped-def]
        with self._command("LOCK", folder, uids):
            here = self._open(folder)
            if not self.session.abilities.keywords:
                return None
            there = [uid for uid in uids if uid in here.mails]
            for uid in there:
                self._name(folder, uid, keyword, *also)
            return frozenset(there)

    def copy(self, source, uids, target):  # type: ignore[no-untyped-def]
        self.copying = uids if self.named else ()
        return super().copy(source, uids, target)

    def _open(self, folder):  # type: ignore[no-untyped-def]
        here = super()._open(folder)
        if self.session.abilities.keywords:
            for uid in self.copying:  # inside of the command
                if uid in here.mails:
                    self._name(folder, uid, MOVING_KEYWORD, self.owner, MOVED_KEYWORD)
        self.copying = ()
        return here

    def _name(self, folder, uid, *words):  # type: ignore[no-untyped-def]
        ref = self._ref(folder, uid)
        others = [flag for flag in self.server.flags(ref) if flag.startswith(OWNER_KEYWORD)]
        self.server.set_flags(ref, words, [flag for flag in others if flag not in words])


class Daemon(threading.Thread):
    """One daemon: moves, and after each crash recovers with a new connection, until its journal is closed."""

    def __init__(self, server: MemoryServer, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.server = server
        self.journal = MemoryJournal()
        self.journal._owner = name
        self.go, self.paused = threading.Semaphore(0), threading.Semaphore(0)
        self.crash = ""
        self.named = True
        self.crashes: dict[int, str] = {}  # at its how many-th command, and how
        self.done = 0
        self.over = False
        self.failed: BaseException | None = None
        mails = list(MemorySession(server).arrivals(INBOX, Uid(1)))
        self.rows = [self.journal.intent(intent(mail)) for mail in mails]

    def step(self) -> None:
        """Let it do one command, or lose its connection "before" it or "after" it, before the answer came."""
        self.crash = self.crashes.get(self.done, "")
        self.done += 1
        self.go.release()
        assert self.paused.acquire(timeout=FOREVER)

    def before(self) -> None:
        self.paused.release()
        assert self.go.acquire(timeout=FOREVER)
        if self.crash == "before":
            raise ConnectionLost("cut before")

    def after(self) -> None:
        if self.crash == "after":
            raise ConnectionLost("cut after")

    def run(self) -> None:
        assert self.go.acquire(timeout=FOREVER)
        try:
            first = True
            while first or self.journal.open_moves("test"):
                session = MemorySession(self.server)
                commands = BrokenLock(session)
                commands.owner, commands.named = OWNER_KEYWORD + self.journal.owner(), self.named
                mover = MemoryMover(session, self.journal, commands=commands, use_lock=True)
                try:
                    if first:
                        first = False
                        mover.move([(row, row.source) for row in self.rows])
                    else:
                        mover.recover()
                except ConnectionLost:
                    continue
        except BaseException as problem:  # noqa: BLE001 shown by the test
            self.failed = problem
        self.over = True
        self.paused.release()


class Play:
    """The server, both daemons, and the person."""

    def __init__(self, abilities=COURIER, mails: tuple[bytes, ...] = (RAW,), *, named: bool = True) -> None:
        self.server = MemoryServer(abilities=abilities, id_kind="guid")
        for raw in mails:
            self.server.deliver(raw, at=1_700_000_000.0)
        self.expected = self.server.bodies()
        self.daemons = [Daemon(self.server, name) for name in ("aaa", "bbb")]
        self.server.before = self._before
        self.server.after = self._after
        self.commands: list[str] = []  # by whom, and how they ended
        for daemon in self.daemons:
            daemon.named = named
            daemon.start()

    def _daemon(self) -> Daemon | None:
        return next((one for one in self.daemons if one is threading.current_thread()), None)

    def _before(self, command: str) -> None:
        daemon = self._daemon()
        if daemon is not None:
            daemon.before()
            self.commands.append(f"{daemon.name} {command} {daemon.crash}")

    def _after(self, _: str) -> None:
        daemon = self._daemon()
        if daemon is not None:
            daemon.after()

    def step(self, which: int, times: int = 1) -> None:
        daemon = self.daemons[which]
        for _ in range(times):
            if not daemon.over:
                daemon.step()

    def person(self, deed: str) -> None:
        """Takes a copy out of Junk, puts the original elsewhere, or copies it to Junk by hand."""
        source = self.server.refs("Junk" if deed == "rescue" else "INBOX")
        if not source:
            return
        self.commands.append(f"person {deed} {source[0].uid}")
        if deed == "copy":
            self.server.copy(source[0], "Junk")
            self.expected = self.expected + Counter([RAW])
        else:
            self.server.drag(source[0], "INBOX" if deed == "rescue" else "Archive")

    def finish(self) -> None:
        """In turn, until both have ended."""
        for _ in range(400):
            for which in (0, 1):
                self.step(which)
            if all(one.over for one in self.daemons):
                break
        for one in self.daemons:
            one.join(FOREVER)
            if one.failed is not None:
                raise one.failed

    def story(self) -> str:
        rows = [row for one in self.daemons for row in one.journal.rows.values()]
        told = [f"{row.state} {row.target_uid} {row.error}" for row in rows]
        return "\n".join([*self.commands, *told])

    def states(self) -> list[list[MoveState]]:
        return [[row.state for row in one.journal.rows.values()] for one in self.daemons]


TURNS = st.lists(st.integers(1, 12), max_size=16)
"""How many commands the one and the other do, in turn."""
CRASHES = st.dictionaries(st.integers(1, 40), st.sampled_from(["before", "after"]), max_size=2)
CALM = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def play_out(play: Play, turns: list[int], *, doubled: bool = False) -> None:
    for number, times in enumerate(turns):
        play.step(number % 2, times)
    play.finish()
    marked = play.server.flagged("\\Deleted")
    if doubled:
        shown = play.server.bodies() - marked
        assert shown in (play.expected, play.expected + Counter([RAW])), play.story()
    else:
        assert play.server.bodies() == play.expected, play.story()
        assert not marked
    assert not any(one.journal.open_moves("test") for one in play.daemons)
    assert not play.server.flagged("\\Seen")


@pytest.mark.scenario(32)
@given(
    turns=TURNS,
    abilities=st.sampled_from([COURIER, LONELY, MUTE]),
    mails=st.sampled_from([(RAW,), (RAW, OTHER), (RAW, RAW)]),
    named=st.booleans(),
)
@settings(max_examples=150, **CALM)
def test_in_any_order(turns, abilities, mails, named):
    """Nothing lost, nothing doubled."""
    play_out(Play(abilities, mails, named=named), turns)


@pytest.mark.scenario(32)
def test_it_is_moved():
    """One begins while the other one is in the middle: one of them moves it, and no lock stays."""
    for head_start in range(20):
        play = Play()
        play_out(play, [head_start, 3])
        assert play.server.raws("Junk") == [RAW], (head_start, play.story())
        assert sorted(state for states in play.states() for state in states) == ["abandoned", "done"]
        assert not play.server.flagged(MOVING_KEYWORD)


@pytest.mark.scenario(28, 32)
@given(
    turns=TURNS,
    crashes=st.tuples(CRASHES, CRASHES),
    abilities=st.sampled_from([COURIER, LONELY]),
    named=st.booleans(),
)
@settings(max_examples=300, **CALM)
def test_whoever_crashes(turns, crashes, abilities, named):
    """Cut before a command or after it, and again in the recovery. Nothing is lost; a copy too many stays at most where
    one crashed in COPY under a lock that named the other.
    """
    play = Play(abilities, named=named)
    for daemon, its in zip(play.daemons, crashes, strict=True):
        daemon.crashes = its
    play_out(play, turns, doubled=not named and any(crashes))


@pytest.mark.scenario(31, 32)
@example(turns=[11, 1], at=1, deed="copy", crashes=({}, {}), abilities=COURIER)
@example(turns=[8, 6, 1], at=2, deed="archive", crashes=({}, {}), abilities=COURIER)
@given(
    turns=TURNS,
    at=st.integers(0, 15),
    deed=st.sampled_from(["rescue", "archive", "copy"]),
    crashes=st.tuples(CRASHES, CRASHES),
    abilities=st.sampled_from([COURIER, LONELY]),
)
@settings(max_examples=300, **CALM)
def test_the_person_acts_meanwhile(turns, at, deed, crashes, abilities):
    """Between our COPY and the end of the original nobody can tell which of the two the person means: both may stay. A
    copy that they made for themselves stays; ours may go for it.
    """
    play = Play(abilities)
    for daemon, its in zip(play.daemons, crashes, strict=True):
        daemon.crashes = its
    for number, times in enumerate(turns):
        if number == at:
            play.person(deed)
        play.step(number % 2, times)
    play.finish()
    # A copy made in the moment in which a daemon has marked the original bears its mark, and goes with the next clean-up.
    marked = play.server.flagged("\\Deleted")[RAW]
    number = play.server.bodies()[RAW] - marked
    assert number in (1, 2), play.story()
    assert not any(one.journal.open_moves("test") for one in play.daemons)
