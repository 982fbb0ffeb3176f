"""What is hard to provoke on a real server: races at an exact moment, virtual folders, refusals in the middle."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from spamd.domain import (
    MOVED_KEYWORD,
    MOVING_KEYWORD,
    OTHERS_WERE_FASTER,
    OWNER_KEYWORD,
    TRY_AGAIN,
    AccountName,
    FolderName,
    Identity,
    MoveKind,
    MoveState,
    Sighting,
    Uid,
)
from spamd.errors import ConnectionLost, FolderRefused, MailboxError, ProtocolFault, ServerBusy
from spamd.mailbox.moving.recovery import REDO_SECONDS
from spamd.mailbox.moving.removal import STAYS
from spamd.mailbox.moving.rivals import RIVAL_SECONDS
from spamd.mailbox.moving.rows import BATCH, Rows
from spamd.mailbox.moving.whereabouts import CHANGED, Whereabouts
from spamd.source import Copied
from tests.fakes.memory_mailbox import (
    FULL,
    INBOX,
    JUNK,
    START,
    MemoryCommands,
    MemoryJournal,
    MemoryMover,
    MemoryServer,
    MemorySession,
    intent,
)

ONE = b"Subject: one\r\nMessage-ID: <one@x>\r\n\r\nbody"


class Place:
    def __init__(self, **changes) -> None:
        self.server = MemoryServer(abilities=replace(FULL, **changes), id_kind="guid")
        self.journal = MemoryJournal()
        self.session = MemorySession(self.server)
        self.now = START
        self.mover = MemoryMover(self.session, self.journal, use_lock=True, clock=lambda: self.now)

    def intents(self, folder=INBOX, target=JUNK, at=START):
        found = self.session.arrivals(folder, Uid(1))
        return [self.journal.intent(intent(one, target, at=at)) for one in found]

    def move(self, rows):
        return self.mover.move([(row, row.source) for row in rows])

    def when(self, verb: str, deed) -> None:
        """The person acts just before our command arrives."""
        done: list[str] = []

        def before(command: str) -> None:
            if command.startswith(verb) and not done:
                done.append(command)
                deed()

        self.server.before = before

    def cut(self, verb: str, *, after: bool = False) -> None:
        """The connection breaks before such a command arrives, or after it was done."""

        def lost(command: str) -> None:
            if command.startswith(verb):
                raise ConnectionLost("cut")

        self.server.before, self.server.after = (None, lost) if after else (lost, None)

    def recovered(self) -> list[MoveState]:
        """By the next connection, which is not cut."""
        self.server.before = self.server.after = None
        session = MemorySession(self.server)
        mover = MemoryMover(session, self.journal, use_lock=True, clock=lambda: self.now)
        return [row.state for row in mover.recover()]


def test_a_race_that_both_win_is_settled_in_favour_of_the_person():
    place = Place()
    ref = place.server.deliver(ONE)
    rows = place.intents()
    place.when("MOVE", lambda: place.server.copy(ref, "Archive"))
    (ended,) = place.move(rows)
    assert ended.state is MoveState.ABANDONED
    assert "Archive" in ended.error
    assert place.server.raws("Archive") == [ONE]
    assert sum(place.server.bodies().values()) == 1
    assert not place.server.flagged(MOVING_KEYWORD)
    assert not place.server.flagged("\\Deleted")


def test_a_race_seen_later():
    """The other client's copy, taken from the inbox, appears after our move was done."""
    place = Place()
    place.server.deliver(ONE)
    rows = place.intents()
    (done,) = place.move(rows)
    assert done.state is MoveState.DONE
    (junk,) = place.server.refs("Junk")
    place.server.set_flags(place.server.copy(junk, "Archive"), remove=[MOVED_KEYWORD])
    (taken_back,) = place.mover.reconcile()
    assert taken_back.id == done.id
    assert place.server.bodies() == {ONE: 1}
    assert place.mover.reconcile() == []
    place.now += 1000.0
    assert place.mover.reconcile() == []


@pytest.mark.parametrize("cut", ["MOVE", "UNLOCK", "STATUS Archive"])
def test_a_race_that_both_win_and_then_the_connection_breaks(cut):
    """The next connection still knows where the other folders stood."""
    place = Place()
    ref = place.server.deliver(ONE)
    rows = place.intents()
    place.when("MOVE", lambda: place.server.copy(ref, "Archive"))
    moved = []

    def after(command: str) -> None:
        moved.extend([command] * command.startswith("MOVE"))
        if moved and command.startswith(cut):
            raise ConnectionLost("cut")

    place.server.after = after
    with contextlib.suppress(ConnectionLost):
        place.move(rows)
    assert place.server.bodies() == {ONE: 2}
    place.now += 20.0
    assert place.recovered() == [MoveState.ABANDONED], "told once, by its last word"
    assert place.server.raws("Archive") == [ONE]
    assert place.server.bodies() == {ONE: 1}
    assert not place.server.flagged(MOVING_KEYWORD)
    assert not place.journal.open_moves("test")


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_copy_that_was_there_when_our_move_began_is_no_rival_after_a_cut_either(cut):
    """Where the folders stood at an earlier move, a moment before, says nothing of this one: of two copies one went."""
    place = Place()
    place.server.deliver(b"Subject: earlier\r\n\r\n")
    place.move(place.intents())
    place.now += 1.0
    ref = place.server.deliver(ONE)
    there = place.server.copy(ref, "Archive")
    place.now += 1.0
    rows = place.intents(at=place.now)
    if cut == "before":
        place.cut("UNLOCK")
        with pytest.raises(ConnectionLost):
            place.move(rows)
    else:
        place.move(rows)
    place.now += 1.0
    assert place.recovered() == [MoveState.DONE] * (cut == "before")
    assert place.server.raws("Junk").count(ONE) == 1
    assert there in place.server.refs("Archive")
    assert not place.server.flagged(MOVING_KEYWORD)


@pytest.mark.parametrize("earlier", [100.0, 119.0, 121.0])
def test_a_race_a_while_after_another_move_is_settled_after_a_cut_too(earlier):
    """Where the folders stood was written down with the earlier move, and forgotten too early for this one."""
    place = Place()
    place.server.deliver(b"Subject: earlier\r\n\r\n")
    place.move(place.intents())
    place.now += earlier
    ref = place.server.deliver(ONE)
    rows = place.intents(at=place.now)
    place.cut("MOVE", after=True)
    place.server.before = lambda command: command.startswith("MOVE") and place.server.copy(ref, "Archive")
    with pytest.raises(ConnectionLost):
        place.move(rows)
    assert place.server.bodies()[ONE] == 2
    place.now += 25.0
    assert place.recovered() == [MoveState.ABANDONED]
    assert place.server.raws("Archive") == [ONE]
    assert place.server.bodies()[ONE] == 1


def test_what_was_put_back_does_not_give_way_to_a_copy_in_junk_after_a_cut():
    """Where Junk stood when the mail was moved there is no beginning of the way back: it would lie in Junk alone."""
    place = Place()
    place.server.deliver(ONE)
    place.move(place.intents())
    (junk,) = place.server.refs("Junk")
    place.server.set_flags(place.server.copy(junk, "Junk"), remove=[MOVED_KEYWORD])
    place.now += RIVAL_SECONDS
    (there, _) = place.session.arrivals(JUNK, Uid(1))
    undo = place.journal.intent(intent(there, INBOX, kind=MoveKind.UNDO, at=place.now))
    place.cut("MOVE", after=True)
    with pytest.raises(ConnectionLost):
        place.move([undo])
    place.now += 1.0
    assert place.recovered() == [MoveState.DONE]
    assert place.server.raws("INBOX") == [ONE]


@pytest.mark.parametrize("then", ["marked", "only", "gone", "anew"])
def test_the_connection_breaks_while_our_copy_gives_way(then):
    """Marked only, it is looked at anew, and stays where it is the only one by now; gone, the move has not taken place; where
    Junk counts anew, nobody knows, and it has.
    """
    place = Place()
    ref = place.server.deliver(ONE)
    rows = place.intents()
    place.cut("UIDEXPUNGE", after=then in ("gone", "anew"))
    lost = place.server.before

    def before(command: str) -> None:
        if command.startswith("MOVE"):
            place.server.copy(ref, "Archive")
        elif lost is not None:
            lost(command)

    place.server.before = before
    place.move(rows)
    if then == "anew":
        place.server.renumber("Junk")
    elif then == "only":
        assert place.server.flagged("\\Deleted")
        place.server.delete(place.server.refs("Archive")[0])
    moved = then in ("anew", "only")
    assert place.recovered() == [MoveState.ABANDONED] * (not moved)
    assert place.server.bodies() == {ONE: 1}
    assert place.server.raws("Junk" if then == "only" else "Archive") == [ONE]
    assert not place.server.flagged("\\Deleted")
    assert not place.server.flagged(MOVING_KEYWORD)
    assert len(place.journal.done_since("test", START)) == moved


@pytest.mark.parametrize(
    ("signs", "left"),
    [("lock", 1), ("none", 1), ("sign", 2), ("theirs", 2), ("none, asked", 2), ("struck", 2)],
)
@pytest.mark.parametrize("condstore", [True, False])
def test_a_copy_above_ours_in_junk_is_a_rivals_if_it_was_made_of_the_original(signs, left, condstore):
    """It bears our lock, or was made before that; with the sign alone it was made of what lies in Junk, and another daemon's
    goes by its UID. Where two may believe that they hold the lock, the other one is given time to withdraw.
    """
    place = Place(condstore=condstore)
    place.server.deliver(ONE)
    lock = {MOVING_KEYWORD, MOVED_KEYWORD, OWNER_KEYWORD + place.journal.owner()}
    borne = {
        "lock": lock,
        "sign": {MOVED_KEYWORD},
        "theirs": {MOVING_KEYWORD, MOVED_KEYWORD, OWNER_KEYWORD + "other"},
        "struck": {*lock, "\\Deleted"},
    }.get(signs, set())

    def after(command: str) -> None:
        if command.startswith("MOVE"):
            theirs = place.server.copy(place.server.refs("Junk")[0], "Junk")
            place.server.set_flags(theirs, borne, place.server.flags(theirs) - borne)

    place.server.after = after
    rows = place.intents()
    (ended,) = place.mover.move([(row, row.source) for row in rows], asked=signs == "none, asked")
    place.server.after = None
    assert ended.state is (MoveState.ABANDONED if condstore and left == 1 else MoveState.DONE)
    if signs == "struck":
        assert place.server.flagged("\\Deleted") == {ONE: 1}
        place.server.set_flags(place.server.refs("Junk")[1], (), ["\\Deleted"])
        left = 1
    place.mover.reconcile()
    assert len(place.server.raws("Junk")) == left
    assert {ref.uid for ref in place.server.refs("Junk")} >= {2}
    owners = [
        OWNER_KEYWORD + place.journal.owner() in place.server.flags(r) for r in place.server.refs("Junk")
    ]
    assert not any(owners)


@pytest.mark.parametrize("folder", ["Archive", "Junk"])
@pytest.mark.parametrize("ours", [True, False])
def test_our_mark_comes_off_what_somebody_copied_before_the_original_went(folder, ours):
    """The next clean-up would take what they filed. Without our lock it is theirs, and so is the mark. In Junk with the second
    look: a daemon may be about to expunge its own.
    """
    place = Place(move=False)
    ref = place.server.deliver(ONE)
    rows = place.intents()
    there = []

    def theirs() -> None:
        there.append(place.server.copy(ref, folder))
        if not ours:
            place.server.set_flags(there[0], (), place.server.flags(there[0]) - {"\\Deleted"})

    place.when("UIDEXPUNGE", theirs)
    (ended,) = place.move(rows)
    assert ended.state is MoveState.DONE
    assert ("\\Deleted" in place.server.flags(there[0])) == (folder == "Junk" or not ours)
    place.mover.reconcile()
    assert place.server.flagged("\\Deleted") == ({} if ours else {ONE: 1})
    assert place.server.bodies() == {ONE: 1 if ours else 2}
    assert there[0] in place.server.refs(folder)
    assert not place.server.flagged(MOVING_KEYWORD)


def test_what_the_person_copies_of_a_mail_that_was_put_back_is_no_rival():
    """However soon: it is theirs again."""
    place = Place()
    place.server.deliver(ONE, "Junk")
    rows = [replace(row, kind=MoveKind.UNDO) for row in place.intents(folder=JUNK, target=INBOX)]
    (done,) = place.move(rows)
    assert done.state is MoveState.DONE
    copy = place.server.copy(place.server.refs("INBOX")[0], "Archive")
    place.server.set_flags(copy, (), place.server.flags(copy))
    assert place.mover.reconcile() == []
    assert (place.server.raws("INBOX"), place.server.raws("Archive")) == ([ONE], [ONE])


def test_a_lock_that_is_refused_to_go_goes_with_the_next_look():
    """Not again and again where the folder itself is refused."""
    place = Place()
    place.server.deliver(ONE)
    tried = []
    unlock = place.mover.commands.unlock

    def refuse(problem):
        def refused(folder, *_):
            tried.append(folder.name)
            raise problem

        return refused

    place.mover.commands.unlock = refuse(MailboxError("Not now."))
    (ended,) = place.move(place.intents())
    assert ended.state is MoveState.DONE
    assert place.server.flagged(MOVING_KEYWORD)
    place.mover.reconcile()
    assert place.server.flagged(MOVING_KEYWORD)
    place.mover.commands.unlock = unlock
    place.mover.reconcile()
    assert not place.server.flagged(MOVING_KEYWORD)
    place.server.deliver(ONE + b"2")
    place.mover.commands.unlock = refuse(FolderRefused("You may not."))
    place.move(place.intents())
    place.mover.reconcile()
    tried.clear()
    place.mover.reconcile()
    assert tried == []


def test_our_lock_goes_off_mail_of_which_no_open_row_speaks():
    """The person took it out of Junk before it was unlocked; or it never left its place."""
    place = Place()
    lock = [MOVING_KEYWORD, MOVED_KEYWORD, OWNER_KEYWORD + place.journal.owner()]
    refs = [place.server.deliver(b"Subject: %d\r\n\r\n" % number) for number in range(3)]
    for ref in refs:
        place.server.set_flags(ref, lock)
    known, stayed, spoken_of = place.session.locate(refs)
    place.journal.intent(intent(spoken_of))
    found = [Sighting(AccountName("test"), one.ref, one.identity, one.flags) for one in (known, spoken_of)]
    place.mover.free(found)
    place.mover.let_go([stayed.ref, spoken_of.ref])
    assert [place.server.flags(ref) for ref in refs] == [{MOVED_KEYWORD}, set(), set(lock)]


def test_our_copy_is_followed_though_a_look_saw_it_first_where_junk_counts_anew():
    """A move that was left open: the lock on its copy is how recovery knows that, and no look takes it off. Its UID may be a
    lower one there.
    """
    place = Place(move=False)
    for _ in range(3):
        place.server.delete(place.server.deliver(b"Subject: old\r\n\r\n", "Junk"))
    place.server.deliver(ONE)
    rows = place.intents()

    place.cut("COPY", after=True)
    with pytest.raises(ConnectionLost):
        place.move(rows)
    place.server.after = None
    place.server.renumber("Junk")
    session = MemorySession(place.server)
    mover = MemoryMover(session, place.journal, use_lock=True, clock=lambda: place.now)
    (copy,) = session.arrivals(JUNK, Uid(1))
    mover.free([Sighting(AccountName("test"), copy.ref, copy.identity, frozenset(copy.flags))])
    (done,) = mover.recover()
    assert done.state is MoveState.DONE
    assert place.server.bodies() == {ONE: 1}
    assert place.server.raws("Junk") == [ONE]
    assert not place.server.flagged(MOVING_KEYWORD)


def test_a_copy_that_the_person_makes_of_our_mail_in_junk_takes_nothing_away():
    """At once, and a minute later: it bears our sign, and the lock is off."""
    place = Place()
    place.server.deliver(ONE)
    place.move(place.intents())
    for folder in ("Archive", "Trash"):
        place.server.copy(place.server.refs("Junk")[0], folder)
        assert place.mover.reconcile() == []
        place.now += 30.0
    assert place.server.bodies() == {ONE: 3}
    assert place.server.raws("Junk") == [ONE]


@pytest.mark.parametrize("known", [True, False])
def test_the_person_takes_a_twin_out_of_junk_just_after_our_move(known):
    """Copies of one mail share its id (mdbox): what lies elsewhere then is none of ours, where the other one was known."""
    place = Place()
    twin = place.server.copy(place.server.deliver(ONE), "Junk")
    (row,) = place.intents()
    place.journal.twins |= {row.identity} if known else set()
    (done,) = place.move([row])
    assert done.state is MoveState.DONE
    place.server.copy(twin, "Trash")
    place.server.delete(twin)
    taken_back = place.mover.reconcile()
    assert len(place.server.raws("Trash")) == 1
    assert (taken_back, place.server.raws("Junk")) == ([], [ONE]) if known else taken_back


def test_without_keywords_only_a_copy_at_once_is_a_rival():
    place = Place(keywords=False)
    place.server.deliver(ONE)
    place.move(place.intents())
    place.now += RIVAL_SECONDS + 1
    place.server.copy(place.server.refs("Junk")[0], "Archive")
    assert place.mover.reconcile() == []
    assert place.server.raws("Junk") == [ONE]
    assert place.server.raws("Archive") == [ONE]


def test_the_lock_of_another_daemon_is_left_alone():
    """Also in a recovery: ours is known by the journal's name."""
    place = Place()
    theirs, ours = place.server.deliver(ONE), place.server.deliver(b"Subject: two\r\n\r\n")
    place.intents()
    place.server.set_flags(theirs, [MOVING_KEYWORD, OWNER_KEYWORD + "other", MOVED_KEYWORD])
    place.server.set_flags(ours, [MOVING_KEYWORD, OWNER_KEYWORD + place.journal.owner(), MOVED_KEYWORD])
    ended = place.mover.recover()
    assert [row.state for row in ended] == [MoveState.ABANDONED, MoveState.DONE]
    assert place.server.raws("INBOX") == [ONE]
    assert place.server.flags(theirs) == {MOVING_KEYWORD, OWNER_KEYWORD + "other", MOVED_KEYWORD}


@pytest.mark.parametrize(("way", "cut"), [(True, "MOVE"), (False, "COPY")])
def test_no_lock_stays_where_the_inbox_was_made_anew(way, cut):
    """The answer is lost, and then the UIDs: the row is given up, and no lock forgotten. A copy whose original is there
    still goes.
    """
    place = Place(move=way)
    place.server.deliver(ONE)
    rows = place.intents()

    def after(command: str) -> None:
        if command.startswith(cut):
            raise ConnectionLost("cut")

    place.server.after = after
    with contextlib.suppress(ConnectionLost):
        place.move(rows)
    place.server.after = None
    place.server.renumber("INBOX")
    session = MemorySession(place.server)
    (ended,) = MemoryMover(session, place.journal, use_lock=True, clock=lambda: place.now).recover()
    assert ended.state is (MoveState.ABANDONED if way else MoveState.FAILED)
    assert not place.server.flagged(MOVING_KEYWORD)
    assert place.server.bodies() == {ONE: 1}
    assert [place.server.flags(ref) for ref in place.server.refs("Junk")] == [{MOVED_KEYWORD}] * way


def test_the_inbox_is_made_anew_between_copy_and_deletion():
    place = Place(move=False)
    place.server.deliver(ONE)
    rows = place.intents()
    place.when("STORE+DELETED", lambda: place.server.renumber("INBOX"))
    (ended,) = place.move(rows)
    assert ended.state is MoveState.FAILED
    assert place.server.raws("INBOX") == [ONE]
    assert place.server.bodies() == {ONE: 1}
    assert place.server.flags(place.server.refs("INBOX")[0]) == set()
    assert not MemoryMover(MemorySession(place.server), place.journal, use_lock=True).recover()


@pytest.mark.parametrize(("cut", "taken"), [(True, False), (False, False), (False, True)])
def test_the_inbox_is_made_anew_after_our_mark(cut, taken):
    """Both are there, and the mark on the original is ours: it comes off, and the copy goes. taken: by the person, before."""
    place = Place(move=False)
    place.server.deliver(ONE)
    rows = place.intents()
    if cut:
        place.cut("UIDEXPUNGE")
        with pytest.raises(ConnectionLost):
            place.move(rows)
        place.server.renumber("INBOX")
        assert place.server.flagged("\\Deleted") == {ONE: 1}
        assert place.recovered() == [MoveState.FAILED]
    else:

        def anew() -> None:
            place.server.renumber("INBOX")
            if taken:
                place.server.delete(place.server.refs("Junk")[0])

        place.when("UIDEXPUNGE", anew)
        assert [row.state for row in place.move(rows)] == [MoveState.FAILED]
    assert (place.server.raws("INBOX"), place.server.raws("Junk")) == ([ONE], [])
    assert not place.server.flagged("\\Deleted")
    assert not place.server.flagged(MOVING_KEYWORD)


@pytest.mark.parametrize("cut", [False, True])
def test_the_persons_mark_stays_where_the_inbox_is_made_anew_before_ours(cut):
    """They want it deleted: what was copied counts as moved."""
    place = Place(move=False)
    ref = place.server.deliver(ONE)
    rows = place.intents()

    def anew() -> None:
        place.server.set_flags(ref, ["\\Deleted"])
        place.server.renumber("INBOX")
        if cut:
            raise ConnectionLost("cut")

    place.when("STORE+DELETED INBOX" if not cut else "LOCATE Junk", anew)
    if cut:
        with pytest.raises(ConnectionLost):
            place.move(rows)
        assert place.recovered() == [MoveState.ABANDONED]
    else:
        assert [row.state for row in place.move(rows)] == [MoveState.ABANDONED]
    assert (place.server.raws("INBOX"), place.server.raws("Junk")) == ([ONE], [ONE])
    assert "\\Deleted" in place.server.flags(place.server.refs("INBOX")[0])
    assert "\\Deleted" not in place.server.flags(place.server.refs("Junk")[0])
    assert not place.server.flagged(MOVING_KEYWORD) or not cut


def test_the_inbox_is_made_anew_before_our_lock():
    place = Place()
    place.server.deliver(ONE)
    rows = place.intents()
    place.when("LOCK", lambda: place.server.renumber("INBOX"))
    (ended,) = place.move(rows)
    assert (ended.state, ended.error) == (MoveState.FAILED, CHANGED)
    assert place.server.raws("INBOX") == [ONE]


def test_what_lies_at_its_uid_and_is_another_mail_is_left_alone():
    place = Place()
    ref = place.server.deliver(ONE)
    (row,) = place.intents()
    (ended,) = place.move([replace(row, identity=Identity("guid:another"))])
    assert ended.state is MoveState.ABANDONED
    assert place.server.refs("INBOX") == [ref]


@pytest.mark.parametrize("twins", [False, True])
def test_no_copy_in_a_junk_made_anew_is_taken_for_that_of_another_mail(twins):
    """Both bear our lock; one of them has lost its copy, and keeps its original for that."""
    place = Place(move=False)
    two = ONE if twins else ONE.replace(b"one", b"two")
    ref = place.server.deliver(ONE)
    if twins:
        place.server.copy(ref, "INBOX")
    else:
        place.server.deliver(two)
    rows = place.intents()
    place.cut("COPY", after=True)
    with pytest.raises(ConnectionLost):
        place.move(rows)
    place.server.delete(place.server.refs("Junk")[0])
    place.server.renumber("Junk")
    assert sorted(place.recovered()) == [MoveState.ABANDONED, MoveState.DONE]
    assert (place.server.raws("INBOX"), place.server.raws("Junk")) == ([ONE], [two])


def test_the_inbox_is_made_anew_and_a_twin_lies_in_junk():
    """It does not bear our lock: the person may have filed it."""
    place = Place(move=False, server_ids=False)
    place.server.deliver(ONE, at=START)
    rows = place.intents()
    place.cut("COPY")
    with pytest.raises(ConnectionLost):
        place.move(rows)
    place.server.deliver(ONE, "Junk", at=START)
    place.server.renumber("INBOX")
    assert place.recovered() == [MoveState.ABANDONED]
    assert place.server.raws("INBOX") == place.server.raws("Junk") == [ONE]
    assert not place.server.flagged("\\Deleted")


def test_what_was_put_back_stays_back_where_junk_is_made_anew():
    place = Place(move=False)
    place.server.deliver(ONE, "Junk")
    rows = [replace(row, kind=MoveKind.UNDO) for row in place.intents(folder=JUNK, target=INBOX)]
    place.when("STORE+DELETED", lambda: place.server.renumber("Junk"))
    (ended,) = place.move(rows)
    assert ended.state is MoveState.ABANDONED
    assert place.server.raws("INBOX") == [ONE]
    assert not place.server.flagged("\\Deleted")


def test_a_marked_copy_that_may_be_another_ones_is_not_expunged():
    """Without MOVE, cut off before COPY: what lies in Junk, and somebody has marked, is found only by what it says."""
    place = Place(move=False)
    ref = place.server.deliver(ONE)
    rows = place.intents()

    place.cut("COPY")
    with pytest.raises(ConnectionLost):
        place.move(rows)
    place.server.before = None
    theirs = place.server.copy(ref, "Junk")
    place.server.set_flags(theirs, ["\\Deleted"], place.server.flags(theirs))
    mover = MemoryMover(MemorySession(place.server), place.journal, use_lock=True, clock=lambda: place.now)
    assert [row.state for row in mover.recover()] == [MoveState.ABANDONED]
    assert place.server.flags(theirs) == {"\\Deleted"}
    assert place.server.flags(ref) == set()


@pytest.mark.parametrize(("there", "state"), [(False, MoveState.DONE), (True, MoveState.ABANDONED)])
def test_junk_is_made_anew_before_a_move_that_was_cut_off_is_begun_again(there, state):
    """MOVE leaves no mail in both folders: what is in the inbox was not moved, whatever has become of Junk. A copy that lies
    there is one too many.
    """
    place = Place()
    ref = place.server.deliver(ONE)
    rows = place.intents()

    place.cut("MOVE")
    with pytest.raises(ConnectionLost):
        place.move(rows)
    place.server.before = None
    place.server.renumber("Junk")
    if there:
        place.server.copy(ref, "Junk")
    mover = MemoryMover(MemorySession(place.server), place.journal, use_lock=True, clock=lambda: place.now)
    assert [row.state for row in mover.recover()] == [state]
    assert place.server.raws("Junk") == [ONE]
    assert place.server.raws("INBOX") == [ONE] * there
    assert not place.server.flagged(MOVING_KEYWORD)


def test_junk_is_made_anew_and_the_second_attempt_is_cut_off_as_well():
    """Where Junk stood at the first attempt says nothing of the new one."""
    place = Place()
    for _ in range(3):
        place.server.delete(place.server.deliver(b"Subject: old\r\n\r\n", "Junk"))
    place.server.deliver(ONE)
    rows = place.intents()
    place.cut("MOVE")
    with pytest.raises(ConnectionLost):
        place.move(rows)
    place.server.renumber("Junk")
    place.cut("MOVE", after=True)
    with pytest.raises(ConnectionLost):
        MemoryMover(
            MemorySession(place.server), place.journal, use_lock=True, clock=lambda: place.now
        ).recover()
    assert place.recovered() == [MoveState.DONE]
    assert not place.server.flagged(MOVING_KEYWORD)


def test_a_mail_that_is_not_moved_is_not_signed():
    """Nor as put back; that it was moved once, it goes on saying."""
    place = Place(move=False)
    place.server.folders["Junk"].full = place.server.folders["INBOX"].full = True
    for folder, target, kind, sign in (
        (INBOX, JUNK, MoveKind.JUNK, set()),
        (JUNK, INBOX, MoveKind.UNDO, {MOVED_KEYWORD}),
    ):
        ref = place.server.deliver(ONE, folder)
        place.server.set_flags(ref, sign)
        (arrival,) = place.session.locate([ref])
        (ended,) = place.move([place.journal.intent(intent(arrival, target, kind=kind))])
        assert ended.state is MoveState.FAILED
        assert place.server.flags(ref) == sign


@pytest.mark.parametrize("asked", [False, True])
def test_what_was_moved_is_signed_but_not_what_the_person_asked_for(asked):
    place = Place()
    place.server.deliver(ONE)
    place.mover.move([(row, row.source) for row in place.intents()], asked=asked)
    assert place.server.flags(place.server.refs("Junk")[0]) == (set() if asked else {MOVED_KEYWORD})


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize(("kind", "sign"), [(MoveKind.JUNK, {MOVED_KEYWORD}), (MoveKind.UNDO, set())])
def test_what_had_no_room_for_its_sign_is_signed_where_it_came_to_lie(kind, sign, cut):
    """Also after a cut. Not what was put back: to other computers it would be mail that the person took out of Junk."""
    place = Place()
    place.server.deliver(ONE)
    place.server.crowded = {"INBOX"}
    rows = [place.journal.intent(replace(row, kind=kind)) for row in place.intents()[:1]]
    del place.journal.rows[1]
    if cut:
        place.cut("MOVE", after=True)
    with pytest.raises(ConnectionLost) if cut else contextlib.nullcontext():
        place.move(rows)
    place.recovered()
    assert place.server.raws("Junk") == [ONE]
    assert place.server.flags(place.server.refs("Junk")[0]) == sign


@pytest.mark.parametrize("uidplus", [True, False])
@pytest.mark.parametrize("cut_after", ["LOCK", "COPY", ""])
def test_a_twin_that_the_person_filed_is_not_taken_for_our_copy(uidplus, cut_after):
    """Without MOVE and without ids: our copy bears our sign."""
    place = Place(move=False, uidplus=uidplus, server_ids=False)
    place.server.deliver(ONE, at=START)
    twin = place.server.deliver(ONE, at=START)
    row = place.intents()[0]

    def cut(command: str) -> None:
        if command.startswith(cut_after or "LOCK"):
            raise ConnectionLost("cut")

    if cut_after:
        place.server.after = cut
    else:  # nothing but the mark in Junk is written down
        place.server.before = cut
    with pytest.raises(ConnectionLost):
        place.mover.move([(row, row.source)])
    place.server.before = place.server.after = None
    place.server.drag(twin, "Junk")
    MemoryMover(MemorySession(place.server), place.journal, use_lock=True).recover()
    assert place.server.bodies() == {ONE: 2}
    assert place.server.raws("Junk") == [ONE, ONE]
    assert not place.journal.open_moves("test")
    assert not place.server.flagged(MOVING_KEYWORD)


def test_where_nothing_is_signed_a_twin_in_junk_is_no_proof_of_a_move():
    """MOVE leaves no mail in both folders: what is in the inbox was not moved, and the twin in Junk is the person's."""
    place = Place(keywords=False, condstore=False, server_ids=False)
    place.server.deliver(ONE, at=START)
    twin = place.server.deliver(ONE, at=START)
    rows = place.intents()[:1]
    place.cut("MOVE")
    with pytest.raises(ConnectionLost):
        place.move(rows)
    place.server.drag(twin, "Junk")
    assert MoveState.DONE in place.recovered()
    assert place.server.raws("Junk") == [ONE, ONE]


def test_the_copy_of_a_daemon_at_work_is_not_taken_for_ours_by_a_recovery():
    """The connection broke before our COPY; theirs bears a lock, and not our name: the original is theirs to remove."""
    place = Place(move=False, server_ids=False)
    ref = place.server.deliver(ONE, at=START)
    rows = place.intents()
    place.cut("LOCK")
    with pytest.raises(ConnectionLost):
        place.move(rows)
    lock = [MOVING_KEYWORD, MOVED_KEYWORD, OWNER_KEYWORD + "other"]
    place.server.set_flags(ref, lock)
    place.server.copy(ref, "Junk")
    assert place.recovered() == [MoveState.ABANDONED]
    assert place.server.flags(ref) == set(lock)
    assert place.server.bodies() == {ONE: 2}


@pytest.mark.parametrize("keywords", [True, False])
def test_the_copy_of_a_faster_daemon_is_not_taken_for_ours(keywords):
    """Without COPYUID (hMailServer: without keywords, too), by a row that is started again, at the moment in which the
    other one has its copy and begins with the original: whoever comes later withdraws the copy of their own.
    """
    place = Place(move=False, uidplus=False, condstore=False, server_ids=False, keywords=keywords)
    place.server.deliver(ONE)
    rows = place.intents()
    journal = MemoryJournal()
    other = MemoryMover(MemorySession(place.server), journal, use_lock=True)
    (mail,) = place.session.arrivals(INBOX, Uid(1))
    theirs = journal.intent(intent(mail))
    there = place.session.status(JUNK)
    theirs = replace(theirs, target_uid_validity=there.uid_validity, target_uid_next=there.uid_next)
    ended = []
    place.when("STORE+DELETED INBOX", lambda: ended.extend(other.move([(theirs, theirs.source)])))
    (done,) = place.move(rows)
    assert [done.state, ended[0].state] == [MoveState.DONE, MoveState.ABANDONED]
    assert place.server.bodies() == {ONE: 1}
    assert [ref.uid for ref in place.server.refs("Junk")] == [done.target_uid]
    assert not place.server.flagged("\\Deleted")


def test_copies_of_a_mail_that_cannot_be_told_are_not_looked_for():
    """An identity of four fields, without a Message-ID (Exchange): each search would read the whole of Junk."""
    place = Place(move=False, keywords=False, server_ids=False)
    place.server.deliver(b"Subject: bare\r\n\r\nbody")
    rows = [replace(row, identity=Identity("hash:0.0.bare"), message_id="") for row in place.intents()]
    for row in rows:
        place.journal.advance(row)
    searched = []
    place.session.find = lambda *asked: searched.append(asked) or ()
    where = Whereabouts(place.session, Rows(place.journal, "test", lambda: place.now), lambda: place.now)
    assert not where.others(rows[0], JUNK)
    assert not searched
    theirs = place.server.deliver(b"Subject: bare\r\n\r\nother", "Junk")
    row = replace(rows[0], target_uid_validity=theirs.uid_validity, target_uid_next=Uid(1))
    for sent, found, ours in (("", "", False), ("one@x", "one@x", True), ("one@x", "two@x", False)):
        (there,) = place.session.locate([theirs])
        bare = replace(there, identity=row.identity, message_id=found)
        place.session.arrivals = lambda *_, bare=bare: [bare]
        assert bool(where.our_copy(replace(row, message_id=sent))) is ours, "nor taken for ours"


@pytest.mark.parametrize("changes", [{"server_ids": False}, {"keywords": False}, {}])
def test_without_proof_nothing_is_removed(changes):
    """An EMAILID is no proof either: two deliveries of one mail may share it, and the twin in the archive is the person's."""
    place = Place(**changes)
    place.server.id_kind = "emailid"
    ref = place.server.deliver(ONE)
    rows = place.intents()

    def twin():
        there = place.server.copy(ref, "Archive")
        place.server.set_flags(there, (), place.server.flags(there))

    place.when("MOVE", twin)
    (ended,) = place.move(rows)
    assert ended.state is MoveState.DONE
    assert place.server.bodies() == {ONE: 2}


def test_without_uid_expunge_nothing_is_removed():
    place = Place(uidplus=False)
    ref = place.server.deliver(ONE)
    rows = place.intents()
    place.when("MOVE", lambda: place.server.copy(ref, "Archive"))
    (ended,) = place.move(rows)
    assert ended.state is MoveState.DONE
    assert place.server.bodies() == {ONE: 2}


@pytest.mark.parametrize(("kind", "bodies"), [("emailid", 1), ("gmail", 2)])
def test_our_lock_is_proof_but_where_flags_are_shared(kind, bodies):
    """A copy made under it bears it. So do all labels of a Gmail mail, which is one."""
    place = Place()
    place.server.id_kind = kind
    ref = place.server.deliver(ONE)
    rows = place.intents()
    place.when("MOVE", lambda: place.server.copy(ref, "Archive"))
    place.move(rows)
    assert place.server.bodies() == {ONE: bodies}


def test_a_virtual_folder_is_no_second_copy():
    """A folder that only shows what lies elsewhere shows our mark, too."""
    place = Place()
    ref = place.server.deliver(ONE)
    rows = place.intents()
    place.when("MOVE", lambda: place.server.copy(ref, "Archive"))
    real = MemoryCommands.mark_deleted

    def mark(self, folder, uids):
        real(self, folder, uids)
        if folder.name == JUNK:
            for shown in place.server.refs("Archive"):
                place.server.set_flags(shown, ["\\Deleted"])

    place.mover.commands.mark_deleted = mark.__get__(place.mover.commands)
    (ended,) = place.move(rows)
    assert ended.state is MoveState.DONE
    assert place.server.raws("Junk") == [ONE]
    (ours,) = place.server.refs("Junk")
    assert "\\Deleted" not in place.server.flags(ours)


def test_a_twin_in_junk_is_no_rival_though_another_daemon_is_at_work_there():
    place = Place(move=False, server_ids=False)
    place.server.deliver(ONE, "Junk", at=START)
    other = place.server.deliver(b"Subject: other\r\n\r\n", "Junk")
    place.server.set_flags(other, [MOVING_KEYWORD, OWNER_KEYWORD + "other"])
    place.server.deliver(ONE, at=START)
    (ended,) = place.move(place.intents())
    assert (ended.state, ended.error) == (MoveState.DONE, "")
    assert place.server.raws("INBOX") == []


def test_twins_of_one_batch_are_both_kept():
    place = Place()
    place.server.id_kind = "guid"
    place.server.deliver(ONE)
    place.server.deliver(ONE)
    for folder in place.server.folders.values():
        for mail in folder.mails.values():
            mail.email_id = "same"
    ended = place.move(place.intents())
    assert [row.state for row in ended] == [MoveState.DONE, MoveState.DONE]
    assert place.server.raws("Junk") == [ONE, ONE]


def test_each_of_two_twins_has_a_copy_of_its_own_where_the_answer_names_none():
    place = Place(uidplus=False)
    place.server.copy(place.server.deliver(ONE), "INBOX")
    ended = place.move(place.intents())
    assert [(row.state, row.target_uid) for row in ended] == [(MoveState.DONE, 1), (MoveState.DONE, 2)]
    assert not place.server.flagged(MOVING_KEYWORD)


def test_of_twins_the_one_that_was_surely_moved_has_the_copy():
    """The server did half of a batch; both bear one id (mdbox), and the other one must not go because of that copy."""
    place = Place()
    place.server.copy(place.server.deliver(ONE), "INBOX")
    place.cut("MOVE")
    rows = place.intents()
    with pytest.raises(ConnectionLost):
        place.move(rows)
    place.server.drag(rows[1].source, "Junk")
    assert place.recovered() == [MoveState.DONE, MoveState.DONE]
    assert place.server.raws("Junk") == [ONE, ONE]
    assert not place.server.flagged(MOVING_KEYWORD)


def test_our_lock_is_found_where_the_mail_was_taken_after_the_connection_broke():
    """From the inbox, where it was locked: it was not moved, and is not signed so."""
    place = Place()
    ref = place.server.deliver(ONE)
    rows = place.intents()
    place.cut("MOVE")
    with pytest.raises(ConnectionLost):
        place.move(rows)
    there = place.server.drag(ref, "Archive")
    assert MOVING_KEYWORD in place.server.flags(there)
    assert place.recovered() == [MoveState.ABANDONED]
    assert place.server.flags(there) == set()


def test_without_keywords_our_copy_gives_way_to_that_of_a_daemon_that_took_the_original():
    """The connection broke between our COPY and our mark, so the original was surely not taken by us."""
    place = Place(move=False, keywords=False)
    ref = place.server.deliver(ONE)
    rows = place.intents()
    place.cut("LOCATE Junk")
    with pytest.raises(ConnectionLost):
        place.move(rows)
    (row,) = place.journal.open_moves("test")
    assert row.state is MoveState.COPIED
    place.server.copy(ref, "Junk")
    place.server.delete(ref)
    assert place.recovered() == [MoveState.ABANDONED]
    assert place.server.bodies() == {ONE: 1}
    assert not place.server.flagged("\\Deleted")


def test_a_locked_mail_is_left_to_the_other_daemon():
    place = Place()
    ref = place.server.deliver(ONE)
    place.server.set_flags(ref, [MOVING_KEYWORD])
    (ended,) = place.move(place.intents())
    assert ended.state is MoveState.ABANDONED
    assert place.server.raws("INBOX") == [ONE]


def test_a_batch_that_is_refused_is_tried_mail_by_mail():
    """Dovecot refuses all of it where another client took one."""
    place = Place()
    refs = [place.server.deliver(b"Subject: %d\r\n\r\n" % number) for number in range(3)]
    rows = place.intents()
    real = place.mover.commands.move

    def refuse(source, uids, target):
        if len(uids) > 1:
            place.server.delete(refs[1])
        if refs[2].uid in uids:
            raise MailboxError("No.")
        return real(source, uids, target)

    place.mover.commands.move = refuse
    ended = sorted((row.source.uid, row.state, row.error) for row in place.move(rows))
    assert ended == [
        (1, MoveState.DONE, ""),
        (2, MoveState.ABANDONED, "Another program moved it first."),
        (3, MoveState.FAILED, "No."),
    ]


def test_a_large_batch_goes_in_parts():
    place = Place()
    for number in range(BATCH * 2 + 5):
        place.server.deliver(b"Subject: %d\r\n\r\n" % number)
    ended = place.move(place.intents())
    assert {row.state for row in ended} == {MoveState.DONE}
    assert sum(command.startswith("MOVE") for command in place.server.commands) == 3
    assert [row.id for row in ended] == sorted(row.id for row in ended)


def test_rivals_of_many_moves_are_looked_for_in_one_go():
    """Fifty mails had asked for those below them one by one, which were the other 49."""
    place = Place()
    refs = [place.server.deliver(b"Subject: %d\r\n\r\n" % number) for number in range(BATCH)]

    def meanwhile():
        place.server.copy(refs[7], "Archive")
        place.server.deliver(ONE, "Archive")
        place.server.deliver(ONE, "Junk")

    place.when("MOVE", meanwhile)
    ended = place.move(place.intents())
    assert [row.source for row in ended if row.state is MoveState.ABANDONED] == [refs[7]]
    assert [row.state for row in ended].count(MoveState.DONE) == BATCH - 1
    assert place.server.bodies()[ONE] == 2
    looks = [
        command for command in place.server.commands if command.startswith(("FETCH Junk", "FETCH Archive"))
    ]
    assert len(looks) == 2
    assert place.mover.reconcile() == []


@pytest.mark.parametrize("sent", [False, True])
def test_an_old_intent_is_given_up(sent):
    place = Place()
    place.server.deliver(ONE)
    rows = place.intents()
    place.cut("MOVE")
    with pytest.raises(ConnectionLost) if sent else contextlib.nullcontext():
        place.move(rows if sent else [])
    place.now += REDO_SECONDS + 1
    assert place.recovered() == [MoveState.ABANDONED]
    assert place.server.raws("INBOX") == [ONE]
    assert not place.server.flags(place.server.refs("INBOX")[0])


def test_an_intent_that_is_not_wanted_any_more_is_not_begun_again():
    """The person spoke while nothing ran."""
    place = Place()
    refs = [place.server.deliver(b"Subject: %d\r\n\r\n" % number) for number in range(2)]
    place.intents()
    ended = place.mover.recover(wanted=lambda row: row.source == refs[1])
    assert sorted((row.source.uid, row.state) for row in ended) == [
        (refs[0].uid, MoveState.ABANDONED),
        (refs[1].uid, MoveState.DONE),
    ]
    assert place.server.refs("INBOX") == refs[:1]
    assert not place.journal.open_moves("test")


def test_a_busy_server_leaves_the_row_open():
    place = Place()
    place.server.deliver(ONE)
    rows = place.intents()

    def busy() -> None:
        raise ServerBusy("come back later")

    place.when("MOVE", busy)
    with pytest.raises(ServerBusy):
        place.move(rows)
    assert len(place.journal.open_moves("test")) == 1
    (ended,) = place.mover.recover()
    assert ended.state is MoveState.DONE
    assert not place.server.flagged(MOVING_KEYWORD)


@pytest.mark.scenario(37)
def test_the_journal_fails_before_anything_is_sent():
    """A full disk: no intent, no move."""
    place = Place()
    place.server.deliver(ONE)
    rows = place.intents()

    def full(kind, record):
        raise OSError(28, "No space left on device")

    place.journal.before = full
    with pytest.raises(OSError, match="space"):
        place.move(rows)
    assert not any(command.startswith(("MOVE", "COPY", "LOCK")) for command in place.server.commands)
    assert place.server.raws("INBOX") == [ONE]


@pytest.mark.parametrize("after", range(1, 5))
@pytest.mark.scenario(37)
def test_the_journal_fails_in_the_middle(after):
    place = Place(move=False)
    place.server.deliver(ONE)
    rows = place.intents()
    left = [after]

    def full(kind, record):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")

    place.journal.before = full
    with contextlib.suppress(OSError):
        place.move(rows)
    place.journal.before = None
    MemoryMover(MemorySession(place.server), place.journal, use_lock=True).recover()
    assert place.server.bodies() == {ONE: 1}
    assert place.server.raws("Junk") == [ONE]
    assert not place.journal.open_moves("test")


def test_uid_expunge_that_is_not_understood():
    """Offered and refused: plain EXPUNGE, as long as every marked mail is ours."""
    place = Place(move=False)
    place.server.deliver(ONE)

    def refuse(folder, uids):
        raise ProtocolFault("BAD")

    place.mover.commands.expunge = refuse
    (ended,) = place.move(place.intents())
    assert (ended.state, ended.error) == (MoveState.DONE, "")
    assert place.server.bodies() == {ONE: 1}


def test_plain_expunge_takes_what_had_to_stay_before_but_no_mark_of_the_persons():
    """A UID in the journal says nothing of the mail with that UID in another folder."""
    place = Place(move=False, uidplus=False)

    def move(folder: str) -> str:
        ref = place.server.deliver(b"Subject: ours\r\n\r\n", folder)
        (arrival,) = place.session.locate([ref])
        (ended,) = place.move([place.journal.intent(intent(arrival, JUNK, at=START))])
        assert ended.state is MoveState.DONE
        return ended.error

    theirs = place.server.deliver(ONE)
    place.server.set_flags(theirs, ["\\Deleted"])
    assert move("INBOX") == move("INBOX") == STAYS
    marked = [place.server.deliver(ONE, "Archive") for _ in range(3)][-1]
    place.server.set_flags(marked, ["\\Deleted"])
    assert marked.uid in [ref.uid for ref in place.server.refs("INBOX") if ref != theirs]
    assert move("Archive") == STAYS
    assert place.server.bodies()[ONE] == 4
    place.server.set_flags(theirs, (), ["\\Deleted"])
    assert move("INBOX") == ""
    assert place.server.raws("INBOX") == [ONE]


def test_plain_expunge_takes_no_mark_that_the_person_set_on_a_mail_we_have_only_copied():
    """A row left open before it was marked by us."""
    place = Place(move=False, uidplus=False)
    ref = place.server.deliver(ONE)
    (row,) = place.intents()
    place.journal.advance(replace(row, state=MoveState.COPIED))
    place.server.set_flags(ref, ["\\Deleted"])
    other = place.server.deliver(ONE + b"2")
    (arrival,) = place.session.locate([other])
    (ended,) = place.move([place.journal.intent(intent(arrival))])
    assert (ended.state, ended.error) == (MoveState.DONE, STAYS)
    assert place.server.refs("INBOX") == [ref, other]


def test_the_persons_mark_on_an_original_stays_when_its_copy_is_gone():
    """The connection broke before our mark, and both were thrown away."""
    place = Place(move=False)
    ref = place.server.deliver(ONE)
    rows = place.intents()
    place.cut("LOCATE Junk")
    with pytest.raises(ConnectionLost):
        place.move(rows)
    place.server.delete(place.server.refs("Junk")[0])
    place.server.set_flags(ref, ["\\Deleted"])
    assert place.recovered() == [MoveState.ABANDONED]
    assert place.server.flags(ref) == {"\\Deleted"}


def test_an_answer_that_leaves_out_our_own_marks_is_not_believed():
    """It may leave out the person's as well."""
    place = Place(move=False, uidplus=False)
    theirs = place.server.deliver(ONE)
    place.server.set_flags(theirs, ["\\Deleted"])
    ref = place.server.deliver(ONE + b"2")
    place.mover.commands.deleted = lambda _: frozenset()
    (arrival,) = place.session.locate([ref])
    (ended,) = place.move([place.journal.intent(intent(arrival))])
    assert ended.state is not MoveState.DONE
    assert place.server.raws("INBOX") == [ONE, ONE + b"2"]
    assert "\\Deleted" not in place.server.flags(ref)


@pytest.mark.parametrize("said", ["You may not.", ""])
def test_expunge_without_right_takes_the_copy_back(said):
    """Refused, or answered OK and not done."""
    place = Place(move=False)
    place.server.deliver(ONE)
    real = place.mover.commands.expunge

    def refuse(folder, uids):
        if folder.name != INBOX:
            real(folder, uids)
        elif said:
            raise FolderRefused(said)

    place.mover.commands.expunge = refuse
    (ended,) = place.move(place.intents())
    assert (ended.state, ended.error) == (MoveState.FAILED, said or "The server did not remove the original.")
    assert place.server.raws("INBOX") == [ONE]
    assert place.server.bodies() == {ONE: 1}
    assert not place.server.flagged("\\Deleted")
    assert not place.server.flagged(MOVING_KEYWORD)


def test_where_nothing_can_be_expunged_nothing_stays_marked():
    place = Place(move=False)
    place.server.deliver(ONE)

    def refuse(folder, uids):
        raise FolderRefused("You may not.")

    place.mover.commands.expunge = refuse
    (row,) = place.move(place.intents())
    assert (row.state, row.error) == (MoveState.COPIED, "You may not. A copy is in “Junk”.")
    assert not place.server.flagged("\\Deleted")
    assert place.recovered() == [MoveState.DONE]
    assert (place.server.raws("INBOX"), place.server.raws("Junk")) == ([], [ONE])


def test_the_copy_of_an_original_that_went_though_that_was_refused_stays():
    """Another program cleaned up in that moment."""
    place = Place(move=False)
    two = ONE.replace(b"one", b"two")
    refs = [place.server.deliver(raw) for raw in (ONE, two)]
    real = place.mover.commands.expunge

    def refuse(folder, uids):
        if folder.name != INBOX:
            return real(folder, uids)
        place.server.delete(refs[0])
        raise MailboxError("No.")

    place.mover.commands.expunge = refuse
    states = {row.source: row.state for row in place.move(place.intents())}
    assert states == {refs[0]: MoveState.DONE, refs[1]: MoveState.FAILED}
    assert (place.server.raws("INBOX"), place.server.raws("Junk")) == ([two], [ONE])
    assert not place.server.flagged("\\Deleted")


def test_a_copy_stays_beside_an_original_that_stays_marked():
    """Neither the mail nor our mark on it can be taken away, and the next clean-up takes what is marked; not so the other one."""
    place = Place(move=False)
    two = ONE.replace(b"one", b"two")
    for raw in (ONE, two):
        place.server.deliver(raw)
    commands = place.mover.commands
    mark = commands.mark_deleted

    def refuse(folder, uids):
        raise MailboxError("No.")

    def mark_one(folder, uids):
        mark(folder, uids[:1])
        commands.mark_deleted, commands.clear_deleted = mark, refuse
        raise MailboxError("No.")

    commands.mark_deleted = mark_one
    states = {row.source.uid: (row.state, row.error) for row in place.move(place.intents())}
    assert states[1] == (MoveState.MARKED, "No. A copy is in “Junk”.")
    assert states[2] == (MoveState.FAILED, "No.")
    assert place.server.raws("Junk") == [ONE]
    assert place.recovered() == [MoveState.DONE]
    assert (place.server.raws("INBOX"), place.server.raws("Junk")) == ([two], [ONE])
    assert not place.server.flagged("\\Deleted")
    assert not place.server.flagged(MOVING_KEYWORD)


@pytest.mark.parametrize("problem", [MailboxError("No."), FolderRefused("You may not."), None])
def test_our_copy_that_cannot_give_way_is_not_left_marked(problem):
    """Refused, or answered OK and not done: the next clean-up of the person's would take it."""
    place = Place()
    ref = place.server.deliver(ONE)
    rows = place.intents()
    place.when("MOVE", lambda: place.server.copy(ref, "Archive"))
    expunge = place.mover.commands.expunge

    def refuse(folder, uids):
        if problem is not None:
            raise problem

    place.mover.commands.expunge = refuse
    (ended,) = place.move(rows)
    assert (ended.state, ended.error) == (MoveState.DONE, "")
    assert place.server.bodies() == {ONE: 2}
    assert not place.server.flagged("\\Deleted")
    assert not place.server.flagged(MOVING_KEYWORD)
    place.mover.commands.expunge = expunge
    (taken_back,) = place.mover.reconcile()
    assert taken_back.state is MoveState.ABANDONED
    assert place.server.raws("Archive") == [ONE]
    assert place.server.bodies() == {ONE: 1}


def test_a_server_that_offers_uidplus_and_names_no_copy():
    """Its copy is known by our lock. Taken for none, each new attempt left one more in Junk."""
    place = Place(move=False)
    place.server.deliver(ONE)
    copy = place.mover.commands.copy
    place.mover.commands.copy = lambda *asked: (copy(*asked), Copied())[1]
    (ended,) = place.move(place.intents())
    assert ended.state is MoveState.DONE
    assert place.server.raws("Junk") == [ONE]
    assert place.server.bodies() == {ONE: 1}
    assert not place.server.flagged(MOVING_KEYWORD)


def test_of_two_copies_one_of_which_may_be_ours_none_is_taken_back():
    """Without keywords neither bears a sign."""
    place = Place(move=False, uidplus=False, keywords=False, server_ids=False, condstore=False)
    place.server.deliver(ONE, at=START)
    rows = place.intents()
    place.cut("COPY")
    with pytest.raises(ConnectionLost):
        place.move(rows)
    for _ in range(2):
        place.server.deliver(ONE, "Junk", at=START)
    assert place.recovered() == [MoveState.ABANDONED]
    assert place.server.bodies() == {ONE: 3}
    assert not place.server.flagged("\\Deleted")


def test_a_copy_that_is_only_guessed_to_be_ours_is_not_taken_back():
    """It may be a twin that the person filed: where the original cannot be removed, both stay."""
    place = Place(move=False, uidplus=False, keywords=False, server_ids=False, condstore=False)
    place.server.deliver(ONE, at=START)
    rows = place.intents()

    place.cut("COPY")
    with pytest.raises(ConnectionLost):
        place.move(rows)
    place.server.before = None
    place.server.deliver(ONE, "Junk", at=START)
    mover = MemoryMover(MemorySession(place.server), place.journal, use_lock=True, clock=lambda: place.now)
    real = mover.commands.mark_deleted

    def refuse(folder, uids):
        if folder.name == INBOX:
            raise MailboxError("No.")
        real(folder, uids)

    mover.commands.mark_deleted = refuse
    assert [row.state for row in mover.recover()] == [MoveState.FAILED]
    assert place.server.raws("INBOX") == place.server.raws("Junk") == [ONE]
    assert not place.server.flagged("\\Deleted")


@pytest.mark.parametrize("state", [MoveState.COPIED, MoveState.MARKED])
@pytest.mark.parametrize("refused", ["STATUS Junk", "SEARCH Junk KEYWORD"])
def test_a_junk_that_cannot_be_looked_at_for_once_is_not_gone(state, refused):
    """Taken for gone, the original was kept, and the copy lay in Junk besides."""
    place = Place(move=False)
    place.server.deliver(ONE)
    rows = place.intents()
    left = {MoveState.COPIED: "LOCATE Junk", MoveState.MARKED: "UIDEXPUNGE"}[state]

    place.cut(left)
    with pytest.raises(ConnectionLost):
        place.move(rows)
    (row,) = place.journal.open_moves("test")
    assert row.state is state
    if "KEYWORD" in refused:
        place.server.renumber("Junk")
    session = MemorySession(place.server)
    mover = MemoryMover(session, place.journal, use_lock=True, clock=lambda: place.now)

    def refuse(command: str) -> None:
        if command.startswith(refused):
            raise FolderRefused("It cannot be opened.")

    place.server.before = refuse
    assert mover.recover() == []
    place.server.before = None
    (done,) = mover.recover()
    assert done.state is MoveState.DONE
    assert place.server.raws("Junk") == [ONE]
    assert place.server.bodies() == {ONE: 1}
    assert not place.server.flagged(MOVING_KEYWORD)


@pytest.mark.parametrize("known", ["LOCATE Junk", "COPY"])
def test_what_the_person_has_only_marked_is_not_expunged(known):
    """The connection broke after our copy; they deleted the original and struck through what lies in Junk. It is the only one."""
    place = Place(move=False)
    ref = place.server.deliver(ONE)
    rows = place.intents()

    place.cut(known, after=True)
    with pytest.raises(ConnectionLost):
        place.move(rows)
    place.server.after = None
    (copy,) = place.server.refs("Junk")
    place.server.set_flags(copy, ["\\Deleted"])
    place.server.delete(ref)
    mover = MemoryMover(MemorySession(place.server), place.journal, use_lock=True, clock=lambda: place.now)
    assert [row.state for row in mover.recover()] == [MoveState.ABANDONED]
    assert place.server.raws("Junk") == [ONE]
    assert place.server.flags(copy) == {"\\Deleted"}


def test_who_strikes_through_our_copy_finds_the_original_unmarked():
    """Ours was the mark on it, and the connection broke before it went: with both marked none would be left."""
    place = Place(move=False)
    ref = place.server.deliver(ONE)
    rows = place.intents()
    place.cut("UIDEXPUNGE")
    with pytest.raises(ConnectionLost):
        place.move(rows)
    assert "\\Deleted" in place.server.flags(ref)
    (copy,) = place.server.refs("Junk")
    place.server.set_flags(copy, ["\\Deleted"])
    assert place.recovered() == [MoveState.ABANDONED]
    assert place.server.flags(ref) == set()
    assert place.server.flags(copy) == {"\\Deleted"}


@pytest.mark.parametrize("original", ["gone", "marked"])
@pytest.mark.parametrize("busy", [False, True])
def test_our_copy_stays_unmarked_where_the_other_one_is_taken_away(original, busy):
    """Another daemon's copy was seen beside it, and ours marked for that; then it was the only one. Where the server is too
    busy to mark it, nothing is ended.
    """
    place = Place(move=False)
    ref = place.server.deliver(ONE)
    rows = place.intents()
    theirs = []

    def after(command: str) -> None:
        if command.startswith("COPY"):
            theirs.append(place.server.copy(ref, "Junk"))
            place.server.set_flags(theirs[0], (), place.server.flags(theirs[0]))
            place.server.set_flags(theirs[0], [MOVING_KEYWORD, OWNER_KEYWORD + "other", MOVED_KEYWORD])
            place.server.set_flags(ref, ["\\Deleted"])
            if original == "gone":
                place.server.delete(ref)

    def before(command: str) -> None:
        if command.startswith("STORE+DELETED Junk") and theirs:
            if busy:
                raise ServerBusy("come back later")
            place.server.delete(theirs.pop())

    place.server.after, place.server.before = after, before
    with pytest.raises(ServerBusy) if busy else contextlib.nullcontext():
        place.move(rows)
    assert len(place.journal.open_moves("test")) == (busy or original == "marked")
    place.recovered()
    (row,) = place.journal.rows.values()
    assert row.error == (OTHERS_WERE_FASTER if busy else ""), "and it may be tried again"
    assert not place.journal.open_moves("test")
    assert place.server.raws("Junk") == [ONE]
    (left,) = place.server.refs("Junk")
    assert "\\Deleted" not in place.server.flags(left)


def test_what_the_person_has_struck_through_is_not_moved():
    place = Place()
    ref = place.server.deliver(ONE)
    rows = place.intents()
    place.server.set_flags(ref, ["\\Deleted"])
    (ended,) = place.move(rows)
    assert ended.state is MoveState.ABANDONED
    assert ended.error not in TRY_AGAIN
    assert place.server.flags(ref) == {"\\Deleted"}


def test_what_another_program_copies_before_our_lock_is_left_to_it():
    """No id tells its copy from another mail afterwards; it is about to expunge this one, or will not."""
    place = Place(server_ids=False)
    ref = place.server.deliver(ONE, at=START)
    rows = place.intents()
    place.when("LOCK", lambda: place.server.copy(ref, "Archive"))
    (ended,) = place.move(rows)
    assert (ended.state, ended.error in TRY_AGAIN) == (MoveState.ABANDONED, True)
    assert place.server.raws("INBOX") == place.server.raws("Archive") == [ONE]
    assert place.server.flags(ref) == set()


def test_a_copy_that_was_taken_out_before_the_original_went_is_not_made_again():
    """Both stay, and that is nothing to be tried again: the person does not want it in Junk."""
    place = Place(move=False)
    ref = place.server.deliver(ONE)
    (row,) = place.intents()
    place.cut("UIDEXPUNGE")
    with pytest.raises(ConnectionLost):
        place.move([row])
    place.server.drag(place.server.refs("Junk")[0], "Archive")
    assert place.recovered() == [MoveState.ABANDONED]
    assert place.server.flags(ref) == set()
    assert place.server.raws("Archive") == [ONE]
    assert place.journal.rows[row.id].error not in TRY_AGAIN


def test_our_copy_does_not_give_way_to_one_that_is_struck_through():
    """The connection broke after our COPY, another program removed the original, and withdraws its own copy."""
    place = Place(move=False)
    ref = place.server.deliver(ONE)
    rows = place.intents()
    place.cut("COPY", after=True)
    with pytest.raises(ConnectionLost):
        place.move(rows)
    theirs = place.server.copy(ref, "Junk")
    place.server.set_flags(theirs, (), place.server.flags(theirs))
    place.server.set_flags(theirs, [MOVING_KEYWORD, OWNER_KEYWORD + "other", "\\Deleted"])
    place.server.delete(ref)
    assert place.recovered() == [MoveState.DONE]
    assert place.server.bodies() == {ONE: 2}
    assert place.server.flagged("\\Deleted") == {ONE: 1}


@pytest.mark.parametrize("then", ["cut", "gone", ""])
def test_a_copy_of_what_the_person_deletes_that_moment_goes(then):
    """It bears their mark, and the original does: two struck mails, where one was."""
    place = Place(move=False)
    ref = place.server.deliver(ONE)
    rows = place.intents()
    if then == "cut":
        place.cut("COPY", after=True)
    elif then == "gone":
        place.server.after = lambda command: command.startswith("COPY") and place.server.delete(ref)
    place.when("COPY", lambda: place.server.set_flags(ref, ["\\Deleted"]))
    with contextlib.suppress(ConnectionLost):
        place.move(rows)
    place.recovered()
    assert not place.journal.open_moves("test")
    assert place.server.raws("Junk") == []
    assert place.server.flagged("\\Deleted") == ({} if then == "gone" else {ONE: 1})


def test_same_folder_and_missing_source():
    place = Place()
    place.server.deliver(ONE)
    (ended,) = place.move(place.intents(target=INBOX))
    assert ended.state is MoveState.ABANDONED
    place.server.create("Old")
    place.server.deliver(ONE, "Old")
    rows = place.intents(folder=FolderName("Old"))
    place.server.drop_folder("Old")
    (ended,) = place.move(rows)
    assert ended.state is MoveState.FAILED
    assert "“Old”, is gone" in ended.error
    rows = place.intents()
    place.server.drop_folder("Junk")
    (ended,) = place.mover.recover()
    assert ended.state is MoveState.ABANDONED or ended.state is MoveState.FAILED
    assert place.server.raws("INBOX") == [ONE]


@pytest.mark.scenario(35)
def test_a_copy_of_their_own_is_no_rival():
    """The person had copied the mail to Junk by hand before we moved it, and files that copy later: both stay."""
    place = Place()
    ref = place.server.deliver(ONE)
    rows = place.intents()
    theirs = place.server.copy(ref, "Junk")
    place.move(rows)
    place.now += RIVAL_SECONDS + 1
    place.mover.reconcile()  # a look in between
    place.server.drag(theirs, "Archive")
    place.now += RIVAL_SECONDS
    place.mover.reconcile()
    assert place.server.raws("Junk") == place.server.raws("Archive") == [ONE]


def test_our_copy_is_followed_where_junk_was_renamed():
    place = Place(move=False)
    place.server.deliver(ONE)
    rows = place.intents()
    place.cut("COPY", after=True)
    with pytest.raises(ConnectionLost):
        place.move(rows)
    place.server.rename_folder("Junk", "Old junk")
    assert place.recovered() == [MoveState.DONE]
    assert (place.server.raws("INBOX"), place.server.raws("Old junk")) == ([], [ONE])
    assert not place.server.flagged(MOVING_KEYWORD)


def test_renamed_target_is_not_followed():
    """Junk is renamed after our copy: the original stays, unmarked."""
    place = Place(move=False)
    place.server.deliver(ONE)
    rows = place.intents()

    place.cut("COPY", after=True)
    with pytest.raises(ConnectionLost):
        place.move(rows)
    place.server.after = None
    place.server.rename_folder("Junk", "Old junk")
    place.server.create("Junk")
    MemoryMover(MemorySession(place.server), place.journal).recover()
    assert ONE in place.server.raws("INBOX")
    assert not place.journal.open_moves("test")


def test_an_odd_answer_does_not_stop_the_account():
    """One folder that cannot be looked at: its rows wait, others are brought to an end."""
    place = Place()
    place.server.deliver(ONE)
    rows = place.intents()
    real = place.session.status

    def odd(folder):
        if folder == JUNK:
            raise ProtocolFault("An answer cannot be understood.")
        return real(folder)

    place.session.status = odd
    (left,) = place.move(rows)
    assert left.state is MoveState.INTENT
    assert place.mover.recover() == []
    assert len(place.journal.open_moves("test")) == 1
    del place.session.status
    (ended,) = place.mover.recover()
    assert ended.state is MoveState.DONE
    assert place.server.bodies() == {ONE: 1}
