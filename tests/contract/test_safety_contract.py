"""Suspicions about real servers: rights that change, twins without ids, a word of the person in between."""

from __future__ import annotations

import contextlib
import time
from collections import Counter

import pytest

from spamd.domain import (
    MOVING_KEYWORD,
    AccountName,
    FolderName,
    Label,
    LabelRecord,
    LabelSource,
    MoveState,
    Uid,
)
from spamd.errors import ConnectionLost, StoreFull
from spamd.learning import Learner
from spamd.mailbox.move_commands import ImapCommands
from tests.contract import test_mover_contract as movers
from tests.contract.test_corrections_contract import HAM, SPAM, SUBJECT, Home, mail
from tests.servers.dovecot import OUTLOOK
from tests.servers.mailhost import nothing_lost


@pytest.fixture(params=["ids", "no-ids"])
def host(request, dovecot):
    return dovecot(acl=True) if request.param == "ids" else dovecot(capabilities=OUTLOOK)


@pytest.fixture
def at_home(host, tmp_path):
    home = Home(host, tmp_path)
    yield home
    home.close()


def cut(monkeypatch, *, done):
    """The connection breaks just before or just after the next UID MOVE; returns what mends it."""
    real = ImapCommands.move

    def broken(self, source, uids, target):
        if done:
            real(self, source, uids, target)
        self._connection.drop()
        raise ConnectionLost("cut")

    monkeypatch.setattr(ImapCommands, "move", broken)
    return lambda: monkeypatch.setattr(ImapCommands, "move", real)


def bodies(home):
    folders = ["INBOX", home.host.junk, home.archive]
    return Counter(
        {folder: len(home.uids(folder)) for folder in folders if home.uids(folder)},
    )


@pytest.mark.parametrize("done", [False, True], ids=["not-moved", "moved"])
def test_the_persons_word_while_a_move_is_open(at_home, monkeypatch, done):
    home = at_home
    mend = cut(monkeypatch, done=done)
    home.arrive(0.999)
    with pytest.raises(ConnectionLost):
        home.look()
    mend()
    account = AccountName(home.user)
    (row,) = home.store.open_moves(account)
    home.store.add_label(
        LabelRecord(account, row.identity, Label.HAM, LabelSource.REVIEW, 1.0, time.time() + 1)
    )
    home.come_back()
    home.look()
    assert bodies(home) == {"INBOX": 1}
    assert home.labels() == [("ham", "review")]
    assert not home.store.open_moves(account)


@pytest.mark.scenario(41)
def test_a_twin_of_an_open_move(at_home, monkeypatch):
    """The person files the other one of two identical mails; both must remain."""
    home = at_home
    raw = mail("twins", 0.999)
    at = time.time() + 5
    home.arrive(raw=raw, at=at)
    other = home.arrive(raw=raw, at=at)
    mend = cut(monkeypatch, done=False)
    with pytest.raises(ConnectionLost):
        home.look()
    mend()
    taken = home.store.open_moves(AccountName(home.user))[0].source.uid
    home.drag("INBOX", home.host.junk, other if taken != other else taken - 1)
    home.come_back()
    home.look()
    assert sum(bodies(home).values()) == 2
    assert not home.store.open_moves(AccountName(home.user))


@pytest.mark.parametrize("rights", ["l", "lr", ""], ids=["listed", "read-only", "hidden"])
@pytest.mark.scenario(34)
def test_rights_to_junk_are_taken_away(dovecot, tmp_path, rights):
    """New mail is judged all the same, and stays; when the rights are back, everything goes on."""
    host = dovecot(acl=True)
    home = Home(host, tmp_path)
    try:
        home.arrive(0.999, folder=host.junk)
        home.look()
        host.acl(home.user, host.junk, rights)
        home.come_back()
        home.arrive(0.999)
        home.arrive(0.01)
        assert len(home.look()) == 2
        assert len(home.uids("INBOX")) == 2
        rows = home.store.moves(AccountName(home.user))
        assert {row.state for row in rows} <= {MoveState.FAILED, MoveState.ABANDONED}
        assert not home.labels()
        host.acl(home.user, host.junk, "lrwstipekxa")
    finally:
        home.close()


# -- a whole look: reading, learning, judging, moving


LOOKS = [
    ("dovecot-maildir", "after", 1),
    ("dovecot-maildir", "before", 2),
    ("dovecot-mdbox", "sent", 2),
    ("uidplus-only", "after", 2),
    ("neither", "after", 3),
    ("cyrus", "after", 2),
    ("courier", "after", 3),
    ("pymap", "sent", 3),
]


def unlike(words, score=0.01):
    """A mail that teaches nothing about the others."""
    return mail(next(SUBJECT), score).replace(b"Body of number", " ".join(words.split() * 5).encode())


@pytest.mark.scenario(26, 27, 39)
@pytest.mark.parametrize(("kind", "mode", "stride"), LOOKS)
def test_a_look_is_cut_at_every_command(request, tmp_path, kind, mode, stride):
    """Two drags are to be learned and a new mail is to be moved; then the connection breaks at one command."""
    if kind in movers.DOVECOTS:
        host = request.getfixturevalue("dovecot")(**movers.DOVECOTS[kind])
    else:
        host = request.getfixturevalue(kind)
    for at in range(0, 120, stride):
        (tmp_path / str(at)).mkdir()
        home = Home(host, tmp_path / str(at))
        good, junk = home.arrive(raw=unlike("meeting lunch garden river music paper")), home.host.junk
        home.arrive(raw=unlike("watches cheap replica discount offer today", 0.99))
        home.look()
        assert len(home.uids(junk)) == 1
        home.drag(junk, "INBOX")
        home.drag("INBOX", junk, good)
        home.arrive(0.99)
        home.arrive()
        movers.cut(home.session, at, mode)
        met = True
        with contextlib.suppress(ConnectionLost):
            home.look()
            met = False
        home.come_back()
        for _ in range(3):
            home.look()
        ledger = [(row.label.value, row.source.value) for row in home.store.ledger(AccountName(home.user))]
        assert sorted(ledger) == [HAM, SPAM], f"cut at {at}"
        assert not home.store.open_moves(AccountName(home.user))
        lying = host.contents(home.user)
        assert Counter(one.folder for one in lying) == {"INBOX": 2, junk: 2}, f"cut at {at}"
        assert set(Counter(one.raw for one in lying).values()) == {1}
        assert not any({"\\Seen", "\\Deleted", MOVING_KEYWORD} & one.flags for one in lying)
        home.close()
        if not met:
            break
    else:
        pytest.fail("120 commands were not enough")
    assert at > 8


# -- Junk goes away in the middle


@pytest.mark.scenario(35)
@pytest.mark.parametrize("kind", ["dovecot-maildir", "uidplus-only", "cyrus"])
@pytest.mark.parametrize("deed", ["renamed", "deleted"])
@pytest.mark.parametrize("moment", ["before", "between"])
def test_junk_goes_away_in_the_middle(request, kind, deed, moment):
    """Just before our command, or between it and the answer, which is lost."""
    if kind in movers.DOVECOTS:
        host = request.getfixturevalue("dovecot")(**movers.DOVECOTS[kind], fresh=False)
    else:
        host = request.getfixturevalue(kind)
    user = host.new_user()
    host.append(user, *(mail(next(SUBJECT)) for _ in range(3)))
    host.create(user, "Bulk")
    daemon = movers.Daemon(host, user).new()
    rows = daemon.intents(
        [1, 2, 3]
        if kind != "cyrus"
        else [a.ref.uid for a in daemon.session.arrivals(FolderName("INBOX"), Uid(1))],
        target=FolderName("Bulk"),
    )
    connection = daemon.session.connection
    real = connection.command

    def away() -> None:
        with host.oracle(user) as imap:
            if deed == "renamed":
                assert imap.rename("Bulk", "Old")[0] == "OK"
            elif moment == "before":
                assert imap.delete("Bulk")[0] == "OK"
            else:  # the mail in it goes along, by the person's will: put it elsewhere first
                assert imap.rename("Bulk", "Kept")[0] == "OK"

    def command(verb, *args, **kwargs):
        ours = verb in ("UID MOVE", "UID COPY")
        if ours and moment == "before":
            away()
        answer = real(verb, *args, **kwargs)
        if ours and moment == "between":
            away()
            connection.drop()
            raise ConnectionLost("cut")
        return answer

    connection.command = command
    with nothing_lost(host, user):
        with contextlib.suppress(ConnectionLost):
            ended = daemon.mover.move([(row, row.source) for row in rows])
            assert {row.state for row in ended} == {MoveState.FAILED}
        daemon.session.connection.drop()
        daemon.new().mover.recover()
    assert not daemon.journal.open_moves("test")
    if moment == "before":
        assert sum(one.folder == "INBOX" for one in host.contents(user)) == 3, "the originals stay, unmarked"
    for one in host.contents(user):
        assert one.folder != "INBOX" or not {MOVING_KEYWORD, "\\Deleted"} & one.flags
    daemon.close()


# -- the journal


@pytest.mark.scenario(37)
@pytest.mark.parametrize("kind", ["dovecot-maildir", "uidplus-only", "neither"])
def test_the_disk_is_full_at_every_step_of_the_journal(dovecot, tmp_path, monkeypatch, kind):
    """The real journal on a real server: what cannot be written is not done, and is made good when there is room."""
    host = dovecot(**movers.DOVECOTS[kind])
    for step in range(30):
        user = host.new_user()
        movers.four(host, user)
        with movers.Store(tmp_path / f"{step}.db") as store:
            daemon = movers.Daemon(host, user, store).new()
            rows = daemon.intents([1, 2, 3, 4])
            left = [step]
            real = movers.Store.advance

            def advance(self, record, left=left, real=real):
                left[0] -= 1
                if left[0] < 0:
                    raise StoreFull("The disk is full.")
                real(self, record)

            monkeypatch.setattr(movers.Store, "advance", advance)
            met = True
            with contextlib.suppress(StoreFull):
                daemon.mover.move([(row, row.source) for row in rows])
                met = False
            monkeypatch.undo()
            daemon.session.connection.drop()
            daemon.new().mover.recover()
            movers.four_moved(host, user, daemon)
            daemon.close()
        if not met:
            break
    assert step > 4


# -- floods and clocks


@pytest.mark.scenario(42)
@pytest.mark.parametrize("kind", ["ids", "no-ids"])
def test_a_flood_of_drags_is_asked_about(dovecot, tmp_path, kind):
    host = dovecot(acl=True) if kind == "ids" else dovecot(capabilities=OUTLOOK)
    home = Home(host, tmp_path)
    try:
        uids = [home.arrive() for _ in range(12)]
        kept = home.arrive()
        home.look()
        home.learner = Learner(
            home.session, home.store, home.scorer, home.account, since=home.since, flood=10, clock=home.clock
        )
        home.drag("INBOX", host.junk, *uids)
        home.look()
        rows = home.store.labels(AccountName(home.user))
        assert len(rows) == 12
        assert all(row.held for row in rows), "nothing is learned before the person has said so"
        (asked,) = [event for event in home.store.events(limit=10) if event.needs_person]
        assert "12 mails" in asked.text
        home.drag("INBOX", host.junk, kept)
        home.look()
        assert [row.held for row in home.store.labels(AccountName(home.user))].count(False) == 1
    finally:
        home.close()


@pytest.mark.scenario(44)
@pytest.mark.parametrize("kind", ["ids", "no-ids"])
@pytest.mark.parametrize(
    "at",
    [4_000_000_000.0, 1_761_440_399.0, 1_761_443_999.0, 86_400.0],
    ids=["future", "before-clocks-change", "in-the-hour-that-comes-twice", "1970"],
)
def test_odd_dates(dovecot, tmp_path, monkeypatch, kind, at):
    """Moved, rescued and learned like any other, whatever the time zone of this computer."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    host = dovecot(acl=True) if kind == "ids" else dovecot(capabilities=OUTLOOK)
    home = Home(host, tmp_path)
    try:
        home.since = 0.0
        home.come_back()
        first = home.arrive(0.99, at=at)
        other = home.arrive(at=at)
        (moved, _) = sorted(home.look(), key=lambda one: not one.moved)
        assert moved.moved
        home.later = 7200.0  # the clock is put forward
        home.drag(host.junk, "INBOX")
        home.drag("INBOX", host.junk, other)
        home.look()
        home.later = -3600.0  # and back
        home.look()
        assert home.labels() == [HAM, SPAM]
        assert first not in home.uids("INBOX")
        assert len(home.uids("INBOX")) == len(home.uids(host.junk)) == 1
    finally:
        home.close()
        monkeypatch.undo()
        time.tzset()
