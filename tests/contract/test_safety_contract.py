"""Suspicions about real servers: rights that change, twins without ids, a word of the person in between."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from spamd.domain import AccountName, Label, LabelRecord, LabelSource, MoveState
from spamd.errors import ConnectionLost
from spamd.mailbox.move_commands import ImapCommands
from tests.contract.test_corrections_contract import Home, mail
from tests.servers.dovecot import OUTLOOK


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
    finally:
        home.close()
