"""Moves on real servers: every step cut, every interference played, and each time the same mails remain."""

from __future__ import annotations

import pytest

from spamd.domain import FolderName, MoveKind, MoveState, Uid
from spamd.errors import ConnectionLost
from spamd.mailbox.move_commands import ImapCommands
from spamd.mailbox.mover import LOCK_KEYWORD, JournaledMover
from spamd.mailbox.session import ImapSession, open_session
from tests.fakes.memory_mailbox import MemoryJournal, intent
from tests.servers.dovecot import OUTLOOK
from tests.servers.mailhost import PASSWORD, MailHost, mail, nothing_lost

INBOX = FolderName("INBOX")
UIDPLUS = "IMAP4rev1 LITERAL+ ID NAMESPACE IDLE UIDPLUS UNSELECT ENABLE CONDSTORE"
NEITHER = "IMAP4rev1 LITERAL+ ID NAMESPACE IDLE"

SERVERS = {
    "dovecot-maildir": {},
    "dovecot-mdbox": {"storage": "mdbox"},
    "like-outlook": {"capabilities": OUTLOOK, "special_use": False, "junk": "Junk Email"},
    "uidplus-only": {"capabilities": UIDPLUS},
    "neither": {"capabilities": NEITHER},
}


@pytest.fixture(params=list(SERVERS))
def host(request, dovecot):
    return dovecot(**SERVERS[request.param])


@pytest.fixture
def user(host):
    return host.new_user()


class Daemon:
    """Sessions, movers and the journal of one account; `new` is what a reconnect gives."""

    def __init__(self, host: MailHost, user: str, journal: MemoryJournal | None = None) -> None:
        self.host, self.user = host, user
        self.journal = journal or MemoryJournal()
        self.sessions: list[ImapSession] = []
        self.session: ImapSession
        self.mover: JournaledMover
        self.now = 1000.0

    def new(self) -> Daemon:
        self.session = open_session(self.host.account(self.user), PASSWORD)
        self.sessions.append(self.session)
        self.mover = JournaledMover(
            self.session, ImapCommands(self.session), self.journal, "test", clock=lambda: self.now
        )
        return self

    @property
    def junk(self) -> FolderName:
        junk = self.session.junk_folder()
        assert junk is not None
        return junk

    def intents(self, uids, *, folder=INBOX, target=None, kind=MoveKind.JUNK):
        found = [one for one in self.session.arrivals(folder, Uid(1)) if one.ref.uid in uids]
        assert len(found) == len(uids)
        rows = [intent(one, target or self.junk, kind=kind, at=self.now) for one in found]
        return [self.journal.intent(row) for row in rows]

    def move(self, uids, **where):
        rows = self.intents(uids, **where)
        return self.mover.move([(row, row.source) for row in rows])

    def close(self) -> None:
        for session in self.sessions:
            session.close()


@pytest.fixture
def daemon(host, user):
    daemon = Daemon(host, user).new()
    yield daemon
    daemon.close()


def where(host: MailHost, user: str, text: bytes) -> list[str]:
    """Folders in which a mail with this text lies, but for those marked as deleted."""
    return sorted(
        one.folder for one in host.contents(user) if text in one.raw and "\\Deleted" not in one.flags
    )


def four(host: MailHost, user: str) -> list[int]:
    """Four mails: two of them the same, one without Message-ID."""
    twin = mail("twin", message_id="twin@example.org")
    return host.append(user, twin, twin, mail("nameless", message_id=""), mail("plain"), at=1_700_000_000.0)


def assert_settled(host: MailHost, user: str, daemon: Daemon) -> None:
    assert not daemon.journal.open_moves("test")
    for one in host.contents(user):
        assert LOCK_KEYWORD not in one.flags
        assert "\\Deleted" not in one.flags  # unless the person marked mail, ours can be expunged everywhere


def test_move_and_put_back(host, user, daemon):
    uids = four(host, user)
    with nothing_lost(host, user):
        done = daemon.move(uids)
        assert [row.state for row in done] == [MoveState.DONE] * 4
        assert all(row.target_uid for row in done)
        assert where(host, user, b"Subject") == [host.junk] * 4
        assert daemon.mover.recover() == []
        back = daemon.move(
            [row.target_uid for row in done[:2]], folder=daemon.junk, target=INBOX, kind=MoveKind.UNDO
        )
        assert [row.state for row in back] == [MoveState.DONE] * 2
        assert where(host, user, b"twin") == ["INBOX", "INBOX"]
        assert_settled(host, user, daemon)


def test_flags_go_along_and_unread_stays_unread(host, user, daemon):
    host.append(user, mail("read"), flags=["\\Seen", "\\Flagged", "$Label1"])
    host.append(user, mail("unread"))
    daemon.move([1, 2])
    flags = {one.raw.split(b"Subject: ")[1][:4]: one.flags for one in host.contents(user)}
    assert {"\\Seen", "\\Flagged", "$Label1"} <= flags[b"read"]
    assert not flags[b"unre"] & {"\\Seen", "\\Flagged", LOCK_KEYWORD}


# -- the connection breaks


def cut(session: ImapSession, at: int, mode: str) -> None:
    """The at-th command (from now) never goes out, is sent and not answered, or is answered to nobody."""
    connection = session.connection
    real, real_send = connection.command, connection.send
    left = [at]

    def command(*args, **kwargs):
        left[0] -= 1
        if left[0] != -1:
            return real(*args, **kwargs)
        if mode == "before":
            connection.drop()
        elif mode == "sent":

            def send(data):
                real_send(data)
                connection.drop()
                raise ConnectionLost("cut after sending")

            connection.send = send
        result = real(*args, **kwargs)
        connection.drop()
        raise ConnectionLost(f"cut after {args[0]} {result.status!r}")

    connection.command = command


@pytest.mark.parametrize("mode", ["before", "sent", "after"])
def test_cut_at_every_command(host, user, daemon, mode):
    """Until a run gets through without meeting the cut."""
    for at in range(40):
        for one in host.contents(user):  # back to the start: all mail in the inbox
            if one.folder != "INBOX":
                host.move(user, [one.uid], one.folder, "INBOX")
        if at == 0:
            four(host, user)
        here = [one.uid for one in host.contents(user) if one.folder == "INBOX"]
        daemon.journal.rows.clear()
        rows = daemon.intents(here)
        with nothing_lost(host, user):
            cut(daemon.session, at, mode)
            try:
                daemon.mover.move([(row, row.source) for row in rows])
                met = False
            except ConnectionLost:
                met = True
            daemon.session.connection.drop()
            daemon.new()
            daemon.mover.recover()
            assert where(host, user, b"Subject") == [host.junk] * 4
            assert_settled(host, user, daemon)
            assert {row.state for row in daemon.journal.rows.values()} == {MoveState.DONE}
        if not met:
            break
    else:
        pytest.fail("40 commands were not enough")
    assert at > 3
