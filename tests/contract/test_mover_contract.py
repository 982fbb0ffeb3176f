"""Moves on real servers: every step cut, every interference played, and each time the same mails remain."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from spamd.domain import (
    MOVED_KEYWORD,
    MOVING_KEYWORD,
    OWNER_KEYWORD,
    FolderName,
    MoveKind,
    MoveRecord,
    MoveState,
    Uid,
)
from spamd.errors import ConnectionLost, FolderChanged, MailboxError, ServerBusy
from spamd.mailbox.move_commands import ImapCommands
from spamd.mailbox.mover import JournaledMover
from spamd.mailbox.session import ImapSession, open_session
from spamd.source import MoveJournal
from spamd.store.database import Store
from tests.fakes.memory_mailbox import MemoryJournal, intent
from tests.servers.dovecot import OUTLOOK
from tests.servers.mailhost import PASSWORD, MailHost, mail, normal, nothing_lost

INBOX = FolderName("INBOX")
UIDPLUS = "IMAP4rev1 LITERAL+ ID NAMESPACE IDLE UIDPLUS UNSELECT ENABLE CONDSTORE"
NEITHER = "IMAP4rev1 LITERAL+ ID NAMESPACE IDLE"

DOVECOTS = {
    "dovecot-maildir": {},
    "dovecot-mdbox": {"storage": "mdbox"},
    "dovecot-inbox-prefix": {"separator": ".", "prefix": "INBOX."},
    "like-outlook": {"capabilities": OUTLOOK, "special_use": False, "junk": "Junk Email"},
    "uidplus-only": {"capabilities": UIDPLUS},
    "neither": {"capabilities": NEITHER},
}
OTHERS = ("gmail", "cyrus", "courier", "pymap")
WAYS = ("dovecot-maildir", "uidplus-only", "neither")  # with MOVE, with UIDPLUS only, with neither


@pytest.fixture(params=[*DOVECOTS, *OTHERS])
def host(request):
    if request.param in OTHERS:
        return request.getfixturevalue(request.param)
    return request.getfixturevalue("dovecot")(**DOVECOTS[request.param])


def only(*servers):
    """This test on these servers."""
    return pytest.mark.parametrize("host", servers, indirect=True)


@pytest.fixture
def user(host):
    return host.new_user()


class Daemon:
    """Sessions, movers and the journal of one account; `new` is what a reconnect gives."""

    def __init__(self, host: MailHost, user: str, journal: MoveJournal | None = None, port: int = 0) -> None:
        self.host, self.user, self.port = host, user, port
        self.journal = journal or MemoryJournal()
        self.sessions: list[ImapSession] = []
        self.session: ImapSession
        self.mover: JournaledMover
        self.now = time.time()

    def new(self) -> Daemon:
        account = self.host.account(self.user)
        self.session = open_session(replace(account, port=self.port or account.port), PASSWORD)
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


def four(host: MailHost, user: str, *, apart: float = 0.0) -> list[int]:
    """Four mails: two of them the same (apart: seconds between them), one without Message-ID."""
    twin = mail("twin", message_id="twin@example.org")
    first = host.append(user, twin, at=1_700_000_000.0)
    rest = (twin, mail("nameless", message_id=""), mail("plain"))
    return first + host.append(user, *rest, at=1_700_000_000.0 + apart)


def assert_settled(host: MailHost, user: str, daemon: Daemon) -> None:
    """Nothing of ours is left behind: no open row, no lock, no mark."""
    assert not daemon.journal.open_moves("test")
    name = f"{OWNER_KEYWORD}{daemon.journal.owner()}"
    for one in host.contents(user):
        assert not {MOVING_KEYWORD, name} & one.flags
        assert "\\Deleted" not in one.flags  # unless the person marked mail, ours can be expunged everywhere


def four_moved(host: MailHost, user: str, daemon: Daemon) -> None:
    """assert_settled, and the mails of `four` are all in Junk as they were: one look at the server."""
    assert not daemon.journal.open_moves("test")
    lying = host.contents(user)
    assert [one.folder for one in lying] == [host.junk] * 4
    subjects = sorted(re.search(rb"Subject: (\w+)", one.raw)[1] for one in lying)
    assert subjects == [b"nameless", b"plain", b"twin", b"twin"]
    assert all(one.raw.rstrip().endswith(b"\n\r\ntext") for one in lying)
    for one in lying:
        assert not one.flags & {MOVING_KEYWORD, "\\Deleted", "\\Seen"}


@pytest.mark.scenario(29)
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


@pytest.mark.scenario(25)
def test_flags_go_along_and_unread_stays_unread(host, user, daemon):
    uids = host.append(user, mail("read"), flags=["\\Seen", "\\Flagged", "$Label1"])
    uids += host.append(user, mail("unread"))
    daemon.move(uids)
    flags = {one.raw.split(b"Subject: ")[1][:4]: one.flags for one in host.contents(user)}
    assert {"\\Seen", "\\Flagged"} <= flags[b"read"]
    assert (
        "$Label1" in flags[b"read"] or not daemon.session.abilities.keywords or "pymap" in type(host).__name__
    )
    assert not flags[b"unre"] & {"\\Seen", "\\Flagged", MOVING_KEYWORD}


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


def cut_after(session: ImapSession, verb: str) -> None:
    """The first command of this kind is carried out; its answer is lost. STORE means the one of \\Deleted."""
    connection = session.connection
    real = connection.command

    def command(name, *args, **kwargs):
        result = real(name, *args, **kwargs)
        if name == verb and (name != "UID STORE" or b"(\\Deleted)" in args):
            connection.drop()
            raise ConnectionLost(f"cut after {verb}")
        return result

    connection.command = command


def before_command(
    session: ImapSession, at: int, deed: Callable[[], object], *, first: Sequence[str] = ()
) -> list[object]:
    """The deed is done just before the at-th command (from now, or from the first of these verbs); what it gave, once it is
    done.
    """
    connection = session.connection
    real, left, done, begun = connection.command, [at], [], [not first]

    def command(*args, **kwargs):
        begun[0] = begun[0] or args[0] in first
        left[0] -= begun[0]
        if left[0] == -1 and not done:
            done.append(deed())
        return real(*args, **kwargs)

    connection.command = command
    return done


def by_hand(host: MailHost, user: str, *words: str) -> bool:
    """One UID command in the inbox, of a move that takes several. Did it copy something?"""
    with host.oracle(user) as imap:
        imap.kept = None  # in the end nothing is copied
        imap.select("INBOX")
        assert imap.uid(*words)[0] == "OK"
        return imap.response("COPYUID")[1] != [None]


CUTS = [
    *[("dovecot-maildir", mode) for mode in ("before", "sent", "after")],
    *[(kind, mode) for kind in ("uidplus-only", "neither") for mode in ("sent", "after")],
    ("dovecot-mdbox", "after"),
    ("neither", "before"),
    ("cyrus", "sent"),
    ("cyrus", "after"),
    ("courier", "sent"),
    ("courier", "after"),
    ("pymap", "after"),
]


@pytest.mark.parametrize(("host", "mode"), CUTS, indirect=["host"])
@pytest.mark.scenario(26, 27, 29)
def test_cut_at_every_command(host, mode):
    """Until a run gets through without meeting the cut."""
    for at in range(40):
        user = host.new_user()
        own = Daemon(host, user).new()
        rows = own.intents(four(host, user))
        cut(own.session, at, mode)
        try:
            own.mover.move([(row, row.source) for row in rows])
            met = False
        except ConnectionLost:
            met = True
        own.session.connection.drop()
        own.new()
        own.mover.recover()
        four_moved(host, user, own)
        assert {row.state for row in own.journal.rows.values()} == {MoveState.DONE}
        own.close()
        if not met:
            break
    else:
        pytest.fail("40 commands were not enough")
    assert at > 3


@only(*WAYS)
@pytest.mark.scenario(26, 27)
def test_recovery_is_cut_too(host, user, daemon):
    """A crash in the recovery from a crash in the recovery ..."""
    uids = four(host, user)
    rows = daemon.intents(uids)
    with nothing_lost(host, user):
        for at in range(60):
            cut(daemon.session, min(at // 2, 12), ("before", "after")[at % 2])
            try:
                if at == 0:
                    daemon.mover.move([(row, row.source) for row in rows])
                else:
                    daemon.mover.recover()
            except ConnectionLost:
                daemon.new()
                continue
            if not daemon.journal.open_moves("test"):
                break
        daemon.new().mover.recover()
        assert where(host, user, b"Subject") == [host.junk] * 4
        assert_settled(host, user, daemon)


@only(*WAYS)
@pytest.mark.parametrize("kind", ["before", "after", "inside", "fragments"])
@pytest.mark.scenario(20, 26, 27)
def test_through_a_network_that_fails(host, user, fault_proxy, kind):
    """The same with a real proxy in between, that cuts also in the middle of an answer."""
    proxy = fault_proxy(host.port)
    own = Daemon(host, user, port=proxy.port).new()
    rows = own.intents(four(host, user))
    with nothing_lost(host, user):
        if kind == "fragments":
            proxy.fragment = 7
            verbs: list[str] = []
        elif own.session.abilities.move:
            verbs = ["UID MOVE"]
        else:
            verbs = ["UID COPY", r"UID STORE .*Deleted", "EXPUNGE"]
        first = True
        for verb in [*verbs, ""]:
            if verb:
                {"before": proxy.cut_before, "after": proxy.cut_after, "inside": proxy.cut_inside}[kind](verb)
            with contextlib.suppress(ConnectionLost):
                if first:
                    own.mover.move([(row, row.source) for row in rows])
                else:
                    own.mover.recover()
            first = False
            own.session.connection.drop()
            proxy.peace()
            own.new()
        own.mover.recover()
        assert where(host, user, b"Subject") == [host.junk] * 4
        assert_settled(host, user, own)
    own.close()
    proxy.close()


@pytest.mark.parametrize("answer", ["NO no", "BAD what?", "NO [UNAVAILABLE] later", "OK"])
@pytest.mark.parametrize(
    ("kind", "verb"),
    [
        ("dovecot-maildir", "UID MOVE"),
        ("uidplus-only", "UID COPY"),
        ("uidplus-only", "UID STORE .*Deleted"),
        ("uidplus-only", "UID EXPUNGE"),
        ("neither", "UID COPY"),
        ("neither", "UID STORE .*Deleted"),
        ("neither", "EXPUNGE"),
    ],
)
@pytest.mark.scenario(11, 33, 34)
def test_a_command_is_refused(dovecot, fault_proxy, kind, verb, answer):
    """Or answered OK, without a word, and not carried out."""
    host = dovecot(**DOVECOTS[kind])
    user = host.new_user()
    proxy = fault_proxy(host.port)
    own = Daemon(host, user, port=proxy.port).new()
    rows = own.intents(four(host, user))
    with nothing_lost(host, user):
        proxy.refuse(verb, answer=answer, every=True)
        with contextlib.suppress(ServerBusy):
            own.mover.move([(row, row.source) for row in rows])
        own.session.connection.drop()
        proxy.peace()
        own.new().mover.recover()
        assert not any("\\Seen" in one.flags for one in host.contents(user))
        lying = where(host, user, b"Subject")
        assert lying in ([host.junk] * 4, ["INBOX"] * 4), lying
        assert not own.journal.open_moves("test")
    own.close()
    proxy.close()


@only("dovecot-maildir", "uidplus-only")
@pytest.mark.scenario(27, 33)
def test_a_recovery_is_refused_one_command(host, fault_proxy):
    """Each in turn, after a move that was cut off in the middle: what may not be looked at for once is not gone."""
    for verb in ("UID MOVE", "UID COPY", r"UID STORE .*\+FLAGS.*Deleted"):
        for nth in range(1, 60):
            user = host.new_user()
            host.append(user, mail("bait"))
            proxy = fault_proxy(host.port)
            own = Daemon(host, user, port=proxy.port).new()
            rows = own.intents(own.session.uids(INBOX))
            proxy.cut_after(verb)
            with contextlib.suppress(ConnectionLost):
                own.mover.move([(row, row.source) for row in rows])
            own.new()
            refused = proxy.refuse(".", nth, every=False, answer="NO no")
            for _ in range(3):
                with contextlib.suppress(MailboxError):
                    own.mover.recover()
                    own.mover.reconcile()
            said = (verb, proxy.commands[-30:])
            assert where(host, user, b"bait") in ([host.junk], ["INBOX"]), said
            assert_settled(host, user, own)
            own.close()
            proxy.close()
            if refused.seen < nth:
                break


# -- kill -9, with the real journal


@pytest.fixture(scope="module")
def kill_child():
    """A process that forks children which die at a chosen step."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.contract.move_and_die"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    def run(**order) -> str:
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    yield run
    process.stdin.close()
    process.wait(60)
    process.stdout.close()


@only(*WAYS, "cyrus", "courier")
@pytest.mark.scenario(28)
def test_killed_at_every_step(host, kill_child, tmp_path):
    empty = tmp_path / "empty.db"
    with Store(empty):
        pass
    for step in range(80):
        user = host.new_user()
        # Where ids are of the content, the journal takes twins of the same second for one mail, and moves one of them.
        four(host, user, apart=60.0)
        database = tmp_path / f"{step}.db"
        order = {"port": host.port, "user": user, "junk": host.junk, "database": str(database), "step": step}
        shutil.copy(empty, database)
        outcome = kill_child(**order)
        with Store(database) as store:
            own = Daemon(host, user, store).new()
            own.mover.recover()
            four_moved(host, user, own)
            own.close()
        if outcome == "0":
            break
        assert outcome == "-9"
    else:
        pytest.fail("80 steps were not enough")
    assert step > 8


# -- somebody else acts between the crash and the recovery


@only("uidplus-only", "neither", "courier")
@pytest.mark.parametrize("verb", ["UID COPY", "UID STORE"])
@pytest.mark.parametrize("deed", ["copy deleted", "copy moved", "original moved", "original deleted"])
@pytest.mark.scenario(31, 38)
def test_interference(host, user, daemon, verb, deed):
    host.append(user, mail("bait"))
    host.append(user, mail("bystander"))
    host.kept(
        user
    ).doubled = True  # the person acts on one of two copies: which one they mean cannot be known
    host.create(user, archive := f"INBOX{host.separator}Archive" if host.separator == "." else "Archive")
    rows = daemon.intents([1])
    cut_after(daemon.session, verb)
    with pytest.raises(ConnectionLost):
        daemon.mover.move([(row, row.source) for row in rows])
    if deed == "copy deleted":
        remove(host, user, host.junk)
    elif deed == "copy moved":
        host.move(user, [1], host.junk, archive)
    elif deed == "original moved":
        host.move(user, [1], "INBOX", archive)
    else:
        remove(host, user, "INBOX", [1])
    daemon.new().mover.recover()
    assert where(host, user, b"bait"), "lost"
    assert where(host, user, b"bystander") == ["INBOX"]
    if deed == "copy deleted" and verb == "UID STORE":
        assert where(host, user, b"bait") == ["INBOX"]
    assert_settled(host, user, daemon)  # also where our mark went along with the mail


def remove(host: MailHost, user: str, folder: str, uids=(1,)) -> None:
    """The person deletes mail for good."""
    host.store(user, uids, "+FLAGS", "\\Deleted", folder)
    with host.oracle(user) as imap:
        imap.select(f'"{folder}"')
        imap.expunge()


@only("neither")
@pytest.mark.scenario(30)
def test_an_answer_that_leaves_out_our_marks_is_not_believed(host, user, daemon, monkeypatch):
    """What else may it leave out? Nothing is expunged, and the move is ended when there is a whole answer."""
    host.append(user, mail("bait"))
    host.append(user, mail("theirs"), flags=["\\Deleted"])
    monkeypatch.setattr(daemon.session.connection, "search", lambda *criteria: [])
    daemon.move([1])
    assert len(host.contents(user)) == 3, "the copy, too"
    monkeypatch.undo()
    daemon.new().mover.recover()
    assert not daemon.journal.open_moves("test")
    assert where(host, user, b"bait") == [host.junk]
    assert [one.folder for one in host.contents(user) if b"theirs" in one.raw] == ["INBOX"]
    host.kept(user).doubled = True  # the original stays, marked, because theirs is


@only("neither")
@pytest.mark.scenario(30)
def test_the_persons_deleted_mail_survives(host, user, daemon):
    host.append(user, mail("bait"))
    host.append(user, mail("theirs"), flags=["\\Deleted"])
    done = daemon.move([1])
    assert done[0].state is MoveState.DONE
    assert "marked" in done[0].error
    assert where(host, user, b"bait") == [host.junk]
    kept = [one for one in host.contents(user) if b"theirs" in one.raw]
    assert [one.folder for one in kept] == ["INBOX"]


@only("neither")
@pytest.mark.scenario(30)
def test_what_had_to_stay_marked_goes_with_the_next(host, user, daemon):
    """Once nothing of the person's is marked there any more; it is no mark of theirs."""
    host.append(user, mail("bait"), mail("other"))
    host.append(user, mail("theirs"), flags=["\\Deleted"])
    with nothing_lost(host, user):
        assert "marked" in daemon.move([1])[0].error
        host.store(user, [3], "-FLAGS", "\\Deleted")
        daemon.new()
        assert not daemon.move([2])[0].error
        assert where(host, user, b"Subject") == ["INBOX", host.junk, host.junk]
        assert_settled(host, user, daemon)


@only("neither")
@pytest.mark.scenario(26, 27, 30)
def test_the_persons_deleted_mail_survives_every_cut(host):
    """In the inbox and in Junk. Ours are moved once; what we may not expunge stays marked."""
    for at in range(50):
        user = host.new_user()
        host.append(user, mail("bait 1"), mail("bait 2"))
        host.append(user, mail("theirs"), flags=["\\Deleted"])
        host.append(user, mail("also theirs"), folder=host.junk, flags=["\\Deleted"])
        own = Daemon(host, user).new()
        rows = own.intents([1, 2])
        cut(own.session, at, ("before", "sent", "after")[at % 3])
        met = True
        with contextlib.suppress(ConnectionLost):
            own.mover.move([(row, row.source) for row in rows])
            met = False
        own.session.connection.drop()
        own.new().mover.recover()
        assert not own.journal.open_moves("test")
        assert where(host, user, b"bait") == [host.junk] * 2, f"cut at {at}"
        theirs = [one for one in host.contents(user) if b"theirs" in one.raw]
        assert sorted(one.folder for one in theirs) == ["INBOX", host.junk], f"cut at {at}"
        assert all("\\Deleted" in one.flags for one in theirs)
        host.kept(user).doubled = True  # our originals, marked
        own.close()
        if not met:
            break
    else:
        pytest.fail("50 commands were not enough")
    assert at > 8


@only(*WAYS, "cyrus", "courier", "pymap")
def test_deleted_by_the_person_is_not_moved(host, user, daemon):
    uids = host.append(user, mail("one"), flags=["\\Deleted"])
    with nothing_lost(host, user):
        assert daemon.move(uids)[0].state is MoveState.ABANDONED


@only(*WAYS, "cyrus", "courier", "pymap")
def test_gone_before_we_move(host, user, daemon):
    uids = host.append(user, mail("one"), mail("two"), mail("three"))
    rows = daemon.intents(uids)
    host.move(user, uids[1:2], "INBOX", host.trash)
    with nothing_lost(host, user):
        states = [row.state for row in daemon.mover.move([(row, row.source) for row in rows])]
    assert states == [MoveState.DONE, MoveState.ABANDONED, MoveState.DONE]
    assert where(host, user, b"two") == [host.trash]


@only("dovecot-maildir", "uidplus-only", "cyrus")
@pytest.mark.scenario(31)
def test_taken_away_while_we_move(host, user, daemon):
    """Our view is old: the mail leaves after we looked and before our command."""
    host.append(user, mail("one"), mail("two"), mail("three"))
    rows = daemon.intents([1, 2, 3])
    connection = daemon.session.connection
    real = connection.command
    done = []

    def command(verb, *args, **kwargs):
        if verb in ("UID MOVE", "UID COPY") and not done:
            done.append(host.move(user, [2], "INBOX", host.trash))
        return real(verb, *args, **kwargs)

    connection.command = command
    with nothing_lost(host, user):
        states = [row.state for row in daemon.mover.move([(row, row.source) for row in rows])]
    assert states == [MoveState.DONE, MoveState.ABANDONED, MoveState.DONE]
    assert where(host, user, b"two") == [host.trash]
    assert_settled(host, user, daemon)


# -- several at once


@only("dovecot-maildir", "dovecot-mdbox", "cyrus")
@pytest.mark.scenario(31)
def test_the_person_moves_the_same_mail_at_the_same_moment(host, user, daemon):
    """Lock-step. Servers may double a mail; where they name mails, our copy goes and theirs stays."""
    count = 24
    host.append(user, *(mail(f"race {number}") for number in range(count)))
    if "Archive" not in host.folder_names(user):
        host.create(user, "Archive")
    before = Counter(normal(one.raw) for one in host.contents(user))
    rows = daemon.intents(range(1, count + 1))
    barrier = threading.Barrier(2)

    def person():
        with host.oracle(user) as imap:
            imap.select("INBOX")
            for number in range(1, count + 1):
                barrier.wait(60)
                imap.uid("MOVE", str(number), "Archive")

    thread = threading.Thread(target=person)
    thread.start()
    try:
        for row in rows:
            real = daemon.session.connection.move

            def move(*args, real=real, **kwargs):
                barrier.wait(60)
                return real(*args, **kwargs)

            daemon.session.connection.move = move
            alive = daemon.mover.move([(row, row.source)])
            daemon.session.connection.move = real
            assert alive[0].state in (MoveState.DONE, MoveState.ABANDONED)
    finally:
        thread.join(60)
    daemon.mover.reconcile()
    after = Counter(normal(one.raw) for one in host.contents(user))
    assert not before - after, "lost"
    if daemon.session.abilities.server_ids:
        assert after == before, "doubled"
    else:
        host.kept(user).doubled = True
    assert_settled(host, user, daemon)


def in_lock_step(host, user, count):
    """Two daemons, each with a journal of its own, move the same mails one by one at the same moments; how they ended."""
    host.append(user, *(mail(f"race {number}") for number in range(count)))
    daemons = [Daemon(host, user).new() for _ in range(2)]
    rows = [daemon.intents(range(1, count + 1)) for daemon in daemons]
    barrier = threading.Barrier(2)
    ended: list[list[MoveState]] = [[], []]

    def work(which: int) -> None:
        for row in rows[which]:
            barrier.wait(60)
            (one,) = daemons[which].mover.move([(row, row.source)])
            ended[which].append(one.state)

    with nothing_lost(host, user):
        threads = [threading.Thread(target=work, args=(which,)) for which in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(240)
        assert [len(its) for its in ended] == [count] * 2
    for daemon in daemons:
        assert_settled(host, user, daemon)
        daemon.close()
    return ended


@only("dovecot-maildir", "dovecot-mdbox", "uidplus-only", "neither", "cyrus", "courier")
@pytest.mark.scenario(32)
def test_two_daemons_on_two_hosts(host, user):
    """The keyword lock lets one of them through."""
    count = 12
    ended = in_lock_step(host, user, count)
    assert where(host, user, b"race") == [host.junk] * count
    for one, other in zip(*ended, strict=True):
        assert MoveState.DONE in (one, other)


@only("dovecot-maildir", "dovecot-mdbox", "uidplus-only", "cyrus")
@pytest.mark.parametrize("name", [f" {OWNER_KEYWORD}zzzz", ""], ids=["named", "nameless"])
@pytest.mark.scenario(32)
def test_two_daemons_break_one_old_lock(host, user, name):
    """The one is about to take it off when the other one has done so, and holds one of its own by now: that must stay, or
    both would move the mail at once.
    """
    count = 12
    host.append(user, *(mail(f"race {number}") for number in range(count)))
    uids = [one.uid for one in host.contents(user) if one.folder == "INBOX"]
    host.store(user, uids, "+FLAGS", f"{MOVING_KEYWORD}{name} {MOVED_KEYWORD}")
    daemons = [Daemon(host, user).new() for _ in range(2)]
    rows = [daemon.intents(uids) for daemon in daemons]
    held = [{ref.uid: ref for ref in daemon.mover.locked_by_others(INBOX)} for daemon in daemons]
    verb = "UID MOVE" if daemons[0].session.abilities.move else "UID COPY"
    ended: list[list[MoveState]] = [[], []]
    for number in range(count):
        looked, locked, ready = threading.Event(), threading.Event(), threading.Event()

        def step(which, looked=looked, locked=locked, ready=ready):
            connection = daemons[which].session.connection
            real = connection.command

            def command(*args, **kwargs):
                breaks = args[0] == "UID STORE" and b"-FLAGS.SILENT" in args
                if which == 0 and breaks:
                    looked.wait(60)
                elif which == 0 and args[0] == verb:
                    locked.set()
                    ready.wait(60)
                elif which == 1 and breaks:
                    looked.set()
                    locked.wait(60)
                elif which == 1 and args[0] == verb:
                    ready.set()
                return real(*args, **kwargs)

            connection.command = command
            row = rows[which][number]  # noqa: B023 both are joined below
            daemons[which].mover.break_locks([held[which][row.source.uid]])
            (one,) = daemons[which].mover.move([(row, row.source)])
            (ready if which else locked).set()
            connection.command = real
            ended[which].append(one.state)

        threads = [threading.Thread(target=step, args=(which,)) for which in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    assert where(host, user, b"race") == [host.junk] * count
    assert ended[0] == [MoveState.DONE] * count, daemons[0].journal.rows[rows[0][0].id]
    for daemon in daemons:
        assert_settled(host, user, daemon)
        daemon.close()


@only("dovecot-mdbox", "uidplus-only", "courier")
@pytest.mark.scenario(32)
def test_two_daemons_whose_lock_holds_for_nobody(host, user, monkeypatch):
    """Both copy each mail (with MOVE, too: mdbox lets both). Whoever sees another copy takes its own away, or waits until the other one has."""
    real = ImapCommands.lock

    def lock(self, folder, uids, keyword, also=()):
        real(self, folder, uids, keyword, also)
        self._connection.store(uids, b"+FLAGS", [keyword, *also])
        return frozenset(uids)

    monkeypatch.setattr(ImapCommands, "lock", lock)
    count = 16
    ended = in_lock_step(host, user, count)
    assert len(where(host, user, b"race")) == count
    moved = sum(MoveState.DONE in pair for pair in zip(*ended, strict=True))
    assert moved == where(host, user, b"race").count(host.junk)
    assert moved >= count // 2, "the lower one waits"


def about_to_move(host: MailHost, to: str) -> tuple[str, str, Daemon, MoveRecord]:
    """A new user with one mail that is about to be moved to Junk: the user, the folder `to` into which another program
    files it, our daemon and its row."""
    user = host.new_user()
    folder = host.junk if to == "Junk" else to
    for missing in {folder} - set(host.folder_names(user)):
        host.create(user, missing)
    host.append(user, mail("other"), folder=host.junk)
    host.append(user, mail("bait"))
    own = Daemon(host, user).new()
    (row,) = own.intents([one.uid for one in host.contents(user) if one.folder == "INBOX"])
    return user, folder, own, row


def file_away(host: MailHost, user: str, row: MoveRecord) -> None:
    """What a mail program without MOVE does after its COPY."""
    by_hand(host, user, "STORE", str(row.source.uid), "+FLAGS.SILENT", "(\\Deleted)")
    by_hand(host, user, "EXPUNGE", str(row.source.uid))


def when_flags_are_read(
    session: ImapSession, deed: Callable[[], object], *, before: bool = False
) -> list[bool]:
    """The deed is done once, just after (or before) the session's next look at flags alone. [True] from then on."""
    real = session.connection.fetch
    done: list[bool] = []

    def fetch(uids, items, modifier=b""):
        first = items[0] == b"FLAGS" and len(items) <= 2 and not done
        if first and before:
            done.append(True)
            deed()
        found = real(uids, items, modifier)
        if first and not before:
            done.append(True)
            deed()
        return found

    session.connection.fetch = fetch
    return done


@only("dovecot-maildir", "uidplus-only", "cyrus")
@pytest.mark.scenario(26, 31)
def test_filed_by_a_copy_before_a_move_that_was_cut_goes_on(host):
    """What the person copied to Junk lies there, whatever became of the original: that may have been moved as well, or their
    copy be taken for ours. It is not doubled, and bears no mark of ours.
    """
    for at in range(40):
        user = host.new_user()
        host.append(user, mail("bait"))
        own = Daemon(host, user).new()
        (row,) = own.intents([one.uid for one in host.contents(user)])
        cut(own.session, at, "before")
        with contextlib.suppress(ConnectionLost):
            own.mover.move([(row, row.source)])
            own.close()
            break
        filed = "INBOX" in where(host, user, b"bait") and by_hand(
            host, user, "COPY", str(row.source.uid), host.junk
        )
        own.new().mover.recover()
        own.mover.reconcile()
        own.mover.reconcile()
        left = where(host, user, b"bait")
        assert host.junk in left, at
        assert len(left) <= 1 + filed, (at, left)
        host.kept(user).bodies = Counter(normal(one.raw) for one in host.contents(user))
        assert_settled(host, user, own)
        own.close()
    else:
        pytest.fail("40 commands were not enough")
    assert at > 8


@only("dovecot-maildir", "uidplus-only", "cyrus")
@pytest.mark.scenario(31)
def test_what_is_copied_out_of_junk_while_we_move(host):
    """The person copies our copy, before each of our commands in turn. Under our lock that is not to be told from a copy of
    the original, so ours may go; theirs stays, and from the lock's end on both. Neither keeps a mark of ours.
    """
    lasting: list[bool] = []
    for at in itertools.count():
        user, _, own, row = about_to_move(host, "Archive")
        (bait,) = [one.raw for one in host.contents(user) if one.folder == "INBOX"]
        copied = before_command(
            own.session, at, lambda user=user: copied_from_junk(host, user), first=("UID MOVE", "UID COPY")
        )
        own.mover.move([(row, row.source)])
        own.mover.reconcile()
        own.mover.reconcile()
        if not copied:
            break
        left = where(host, user, b"bait")
        if copied == [True]:
            assert left in (["Archive"], ["Archive", host.junk]), at
            lasting.append(len(left) == 2)
            host.kept(user).bodies[normal(bait)] = len(left)
        else:
            assert left == [host.junk], at
        assert_settled(host, user, own)
        own.close()
    assert lasting == sorted(lasting)  # what is copied later is not worse off
    assert lasting[-1]


def copied_from_junk(host: MailHost, user: str) -> bool:
    """The person copies what we have moved, if it is there."""
    with host.oracle(user) as imap:
        imap.kept = None  # ours may give way to it
        imap.select(f'"{host.junk}"')
        uids = imap.uid("SEARCH", "SUBJECT", "bait")[1][0].decode().split()
        return bool(uids) and imap.uid("COPY", uids[-1], "Archive")[0] == "OK"


@only("dovecot-maildir", "like-outlook", "neither", "cyrus")
def test_read_at_the_moment_of_the_lock(host, user, daemon):
    """A mail program marks new mail when we lock it: that is nobody's lock, and the mail is moved."""
    host.append(user, mail("bait"), mail("second"))
    done = when_flags_are_read(daemon.session, lambda: host.store(user, [1], "+FLAGS", "NonJunk", "INBOX"))
    with nothing_lost(host, user):
        ended = daemon.move([1, 2])
    assert done
    assert [row.state for row in ended] == [MoveState.DONE] * 2
    assert where(host, user, b"Subject") == [host.junk] * 2
    assert_settled(host, user, daemon)


@only("dovecot-maildir", "dovecot-mdbox", "uidplus-only", "cyrus", "courier")
@pytest.mark.scenario(31)
def test_deleted_at_the_moment_of_the_lock(host, user, daemon):
    """By a mail program that moves it by COPY, STORE and EXPUNGE: its copy is there, and must stay the only one."""
    host.append(user, mail("bait"))
    if "Archive" not in host.folder_names(user):
        host.create(user, "Archive" if host.separator == "/" else "INBOX.Archive")
    rows = daemon.intents([one.uid for one in host.contents(user)])
    deleted = (user, [rows[0].source.uid], "+FLAGS", "\\Deleted", "INBOX")
    done = when_flags_are_read(daemon.session, lambda: host.store(*deleted), before=True)
    (ended,) = daemon.mover.move([(rows[0], rows[0].source)])
    assert done
    assert ended.state is MoveState.ABANDONED
    (lying,) = host.contents(user)
    assert lying.folder == "INBOX"
    assert MOVING_KEYWORD not in lying.flags


FILED = [
    *[
        (kind, to)
        for kind in ("dovecot-maildir", "dovecot-mdbox", "uidplus-only", "cyrus")
        for to in ("Archive", "Junk")
    ],
    ("courier", "Junk"),
]


@pytest.mark.parametrize(("host", "to"), FILED, indirect=["host"])
@pytest.mark.scenario(31)
def test_a_mail_program_without_move_files_what_we_move(host, to):
    """COPY, STORE, EXPUNGE, and we move the mail after its COPY, which comes before each of our commands in turn. One copy
    stays, theirs unless it was made of what we had moved or marked; in Junk as well, wherever it lies beside ours.
    """
    for at in itertools.count():
        user, folder, own, row = about_to_move(host, to)
        # Before we look at the folders it could be a copy that the person wants besides.
        copied = before_command(
            own.session,
            at,
            lambda words=(user, "COPY", str(row.source.uid), folder): by_hand(host, *words),
            first=("EXAMINE", "SELECT"),
        )
        (ended,) = own.mover.move([(row, row.source)])
        file_away(host, user, row)
        own.mover.reconcile()
        own.mover.reconcile()
        if not copied:
            break
        assert where(host, user, b"bait") == [folder if copied == [True] else host.junk], (at, ended)
        assert not own.journal.open_moves("test")
        assert not any(MOVING_KEYWORD in one.flags for one in host.contents(user)), at
        assert not any("\\Deleted" in one.flags for one in host.contents(user)), at
        own.close()
    assert at > 8


@only("dovecot-maildir", "uidplus-only", "cyrus")
@pytest.mark.parametrize("mode", ["before", "after"])
@pytest.mark.parametrize("to", ["Archive", "Junk"])
@pytest.mark.scenario(26, 27, 31)
def test_cut_while_our_copy_gives_way(host, mode, to):
    """Made of the original just before it goes, theirs stays; no mark of ours may stay on ours, wherever the connection
    breaks: the next clean-up of the person's would take it.
    """
    for at in range(40):
        user, folder, own, row = about_to_move(host, to)
        connection = own.session.connection
        real = connection.command

        def command(verb, *args, own=own, row=row, user=user, folder=folder, at=at, real=real, **more):
            if verb == "UID MOVE" or (verb == "UID STORE" and b"(\\Deleted)" in args):
                own.session.connection.command = real
                by_hand(host, user, "COPY", str(row.source.uid), folder)
                cut(own.session, at, mode)
                return own.session.connection.command(verb, *args, **more)
            return real(verb, *args, **more)

        connection.command = command
        met = True
        with contextlib.suppress(ConnectionLost):
            own.mover.move([(row, row.source)])
            own.mover.reconcile()
            met = False
        own.session.connection.drop()
        file_away(host, user, row)
        own.new().mover.recover()
        own.mover.reconcile()
        assert_settled(host, user, own)
        assert where(host, user, b"bait") == [folder], at
        own.close()
        if not met:
            break
    else:
        pytest.fail("40 commands were not enough")
    assert at > 4


@only("dovecot-maildir", "cyrus")
@pytest.mark.scenario(31)
def test_a_copy_that_was_made_under_our_lock(host, user, daemon):
    """Also where an id is that of the content, it is no twin: it bears our lock. A twin does not, and stays."""
    for folder in {"Archive"} - set(host.folder_names(user)):
        host.create(user, folder)
    bait = mail("bait")
    host.append(user, bait, at=1_700_000_000.0)
    (row,) = daemon.intents([one.uid for one in host.contents(user)])
    connection, uid = daemon.session.connection, str(row.source.uid)
    real = connection.move

    def move(*args, **kwargs):
        by_hand(host, user, "COPY", uid, "Archive")
        host.append(user, bait, folder=host.trash, at=1_700_000_000.0)
        return real(*args, **kwargs)

    connection.move = move
    (done,) = daemon.mover.move([(row, row.source)])
    assert where(host, user, b"bait") == sorted(["Archive", host.trash])
    assert daemon.journal.rows[done.id].state is MoveState.ABANDONED
    assert_settled(host, user, daemon)


@only("dovecot-maildir", "like-outlook", "neither")
def test_put_back_whoever_left_a_lock_there(host, user, daemon):
    """A daemon that never came back: neither its lock nor its name may be in the person's way."""
    host.append(user, mail("bait"))
    (done,) = daemon.move([1])
    host.store(user, [1], "+FLAGS", f"{MOVING_KEYWORD} {OWNER_KEYWORD}zzzz {OWNER_KEYWORD}0000", host.junk)
    (ended,) = daemon.move([done.target_uid], folder=daemon.junk, target=INBOX, kind=MoveKind.UNDO)
    assert ended.state is MoveState.DONE
    assert where(host, user, b"bait") == ["INBOX"]
    assert not any(
        "spamdby-" in flag.lower() or "moving" in flag.lower() for flag in host.contents(user)[0].flags
    )


@only("dovecot-maildir", "uidplus-only", "neither", "cyrus", "courier")
def test_a_lock_that_two_have_left_is_nobodys(host, user, daemon):
    """Both withdrew their names: the mail must not lie in the inbox for ever because of it. A name keeps us off."""
    host.append(user, mail("bait"), mail("taken"))
    host.store(user, [1], "+FLAGS", MOVING_KEYWORD)
    host.store(user, [2], "+FLAGS", f"{MOVING_KEYWORD} {OWNER_KEYWORD}zzzz")
    with nothing_lost(host, user):
        states = [row.state for row in daemon.move([1, 2])]
    assert states == [MoveState.DONE, MoveState.ABANDONED]
    assert where(host, user, b"bait") == [host.junk]
    (moved,) = [one for one in host.contents(user) if b"bait" in one.raw]
    assert not any("moving" in flag.lower() or "spamdby-" in flag.lower() for flag in moved.flags)


@only("dovecot-maildir", "uidplus-only", "cyrus", "courier")
def test_a_lock_of_one_that_never_came_back_is_broken(host, user, daemon):
    """Whose it was, and that the mail was moved, is forgotten with it, also where a mail program marks the mail that very
    moment. Ours are none of others.
    """
    host.append(user, mail("bait"), mail("ours"), mail("free"))
    host.store(user, [1], "+FLAGS", f"{MOVING_KEYWORD} {OWNER_KEYWORD}zzzz {MOVED_KEYWORD}")
    ours = f"{MOVING_KEYWORD} {OWNER_KEYWORD}{daemon.journal.owner()}"
    host.store(user, [2], "+FLAGS", ours)
    held = daemon.mover.locked_by_others(INBOX)
    assert [ref.uid for ref in held] == [1]
    done = when_flags_are_read(daemon.session, lambda: host.store(user, [1], "+FLAGS", "NonJunk", "INBOX"))
    daemon.mover.break_locks(held)
    assert done
    assert daemon.mover.locked_by_others(INBOX) == []
    (bait,) = [one for one in host.contents(user) if b"bait" in one.raw]
    assert not any("spamd" in flag.lower() for flag in bait.flags)
    host.store(user, [2], "-FLAGS", ours)
    assert daemon.move([1])[0].state is MoveState.DONE


@pytest.mark.parametrize("kind", ["like-outlook", "neither"])
def test_a_server_that_says_ok_and_keeps_no_keyword(dovecot, fault_proxy, kind):
    host = dovecot(**DOVECOTS[kind])
    user = host.new_user()
    proxy = fault_proxy(host.port)
    own = Daemon(host, user, port=proxy.port).new()
    rows = own.intents(four(host, user))
    proxy.refuse("UID STORE .*Spamd", answer="OK done", every=True)
    ended = own.mover.move([(row, row.source) for row in rows])
    assert [row.state for row in ended] == [MoveState.DONE] * 4
    assert where(host, user, b"Subject") == [host.junk] * 4
    own.close()
    proxy.close()


# -- refusals


@pytest.mark.scenario(35)
def test_target_missing(host, user, daemon):
    uids = host.append(user, mail("one"))
    with nothing_lost(host, user):
        (row,) = daemon.move(uids, target=FolderName(daemon.junk + " of yesterday"))
    assert row.state is MoveState.FAILED
    assert "yesterday" in row.error
    assert where(host, user, b"one") == ["INBOX"]
    assert_settled(host, user, daemon)


@pytest.mark.scenario(33)
def test_over_quota(dovecot):
    """It stays, and is moved when there is room again."""
    host = dovecot(quota_kb=10, capabilities=UIDPLUS)
    user = host.new_user()
    host.append(user, mail("big", "x" * 4000))
    (filler,) = host.append(user, mail("filler", "y" * 4000), folder="Trash")
    daemon = Daemon(host, user).new()
    with nothing_lost(host, user):
        (row,) = daemon.move([1])
    assert row.state is MoveState.FAILED
    assert "full" in row.error
    assert where(host, user, b"big") == ["INBOX"]
    assert_settled(host, user, daemon)
    remove(host, user, "Trash", [filler])
    with nothing_lost(host, user):
        (row,) = daemon.move([1])
    assert row.state is MoveState.DONE
    assert where(host, user, b"big") == ["Junk"]
    assert_settled(host, user, daemon)
    daemon.close()


@pytest.mark.parametrize("options", [{}, {"capabilities": UIDPLUS}, {"capabilities": NEITHER}])
@pytest.mark.parametrize(("folder", "rights"), [("Junk", "lr"), ("INBOX", "lrwts")])
@pytest.mark.scenario(34)
def test_no_right_to_do_it(dovecot, options, folder, rights):
    host = dovecot(acl=True, **options)
    user = host.new_user()
    host.append(user, mail("one"))
    host.append(user, mail("other"), folder="Junk")
    daemon = Daemon(host, user).new()
    rows = daemon.intents([1])
    if folder == "INBOX":
        (host.home(user) / "Maildir" / "dovecot-acl").write_text(f"owner {rights}\n")
        shutil.chown(host.home(user) / "Maildir" / "dovecot-acl", host._mail_uid, host._mail_gid)
    else:
        host.acl(user, folder, rights)
    daemon.new()
    with nothing_lost(host, user):
        (row,) = daemon.mover.move([(row, row.source) for row in rows])
        assert row.state is MoveState.FAILED
        assert where(host, user, b"one") == ["INBOX"]
    assert_settled(host, user, daemon)
    daemon.close()


# -- UIDVALIDITY


@only(*WAYS)
@pytest.mark.parametrize("folder", ["INBOX", "Junk"])
@pytest.mark.parametrize("verb", ["UID COPY", "UID STORE"])
@pytest.mark.scenario(36)
def test_validity_changes_in_between(host, user, daemon, folder, verb):
    host.append(user, mail("bait"))
    host.append(user, mail("bystander"))
    host.kept(user).doubled = True  # nothing is touched by UID in a folder that is another one now
    rows = daemon.intents([1])
    cut_after(daemon.session, "UID MOVE" if daemon.session.abilities.move else verb)
    with pytest.raises(ConnectionLost):
        daemon.mover.move([(row, row.source) for row in rows])
    host.doveadm("mailbox", "update", "--uid-validity", "4242", "-u", user, folder)
    daemon.new()
    ended = daemon.mover.recover()
    again = folder == "INBOX" and not daemon.session.abilities.move
    ours = folder == "Junk"  # what we moved there is known by our lock
    state = MoveState.FAILED if again else MoveState.DONE if ours else MoveState.ABANDONED
    assert {row.state for row in ended} == {state}
    assert any(b"bait" in one.raw for one in host.contents(user)), "lost"
    assert where(host, user, b"bystander") == ["INBOX"]
    assert not daemon.journal.open_moves("test")
    if ours:
        assert where(host, user, b"bait") == ["Junk"]
    if again:
        assert where(host, user, b"bait") == ["INBOX"], "a second copy"
    assert not any(MOVING_KEYWORD in one.flags for one in host.contents(user))


@pytest.mark.scenario(34, 36)
def test_junk_counts_anew_and_the_source_cannot_be_looked_at(dovecot):
    """That folder must not keep the account from working; its move is ended when it can be read again."""
    host = dovecot(acl=True)
    user = host.new_user()
    host.create(user, "Lists")
    host.append(user, mail("bait"), folder="Lists")
    daemon = Daemon(host, user).new()
    (row,) = daemon.intents([1], folder=FolderName("Lists"))
    cut_after(daemon.session, "UID MOVE")
    with pytest.raises(ConnectionLost):
        daemon.mover.move([(row, row.source)])
    host.doveadm("mailbox", "update", "--uid-validity", "4242", "-u", user, "Junk")
    host.acl(user, "Lists", "l")
    assert daemon.new().mover.recover() == []
    host.acl(user, "Lists", "lrwstipekxa")
    assert len(daemon.new().mover.recover()) == 1
    assert where(host, user, b"bait") == ["Junk"]
    assert_settled(host, user, daemon)
    daemon.close()


@only("dovecot-maildir", "uidplus-only", "neither")
@pytest.mark.parametrize("verb", ["UID COPY", "UID STORE"])
@pytest.mark.scenario(35)
def test_junk_has_another_name_when_its_move_goes_on(host, user, daemon, verb):
    """Our copy went along: the move is ended there. (Courier's RENAME gives a new UIDVALIDITY: nothing tells it.)"""
    old = "Old"
    host.append(user, mail("bait"))
    (row,) = daemon.intents([one.uid for one in host.contents(user)])
    cut_after(daemon.session, "UID MOVE" if daemon.session.abilities.move else verb)
    with nothing_lost(host, user) if verb == "UID STORE" else contextlib.nullcontext():
        with pytest.raises(ConnectionLost):
            daemon.mover.move([(row, row.source)])
        with host.oracle(user) as imap:
            assert imap.rename(f'"{host.junk}"', f'"{old}"')[0] == "OK"
        if host.junk not in host.folder_names(user):
            host.create(user, host.junk)
        (ended,) = daemon.new().mover.recover()
    assert ended.state is MoveState.DONE
    assert where(host, user, b"bait") == [old]
    assert_settled(host, user, daemon)


@only("uidplus-only", "neither", "courier")
@pytest.mark.parametrize("deleted_by", ["us", "the person"])
@pytest.mark.scenario(36, 38)
def test_the_copy_is_gone_and_the_inbox_counts_anew(host, user, daemon, monkeypatch, deleted_by):
    """Our marks come off the original, wherever it lies now; a mark of the person's stays."""
    host.append(user, mail("bait"))
    host.kept(user).doubled = True
    (row,) = daemon.intents([one.uid for one in host.contents(user)])
    verb = "expunge" if daemon.session.abilities.uidplus else "deleted"
    refused = "mark_deleted" if deleted_by == "the person" else verb
    real = getattr(ImapCommands, refused)

    def changed(self, folder, *uids):
        monkeypatch.setattr(ImapCommands, refused, real)
        if deleted_by == "the person":
            host.store(user, [row.source.uid], "+FLAGS", "\\Deleted")
        remove(host, user, host.junk)
        raise FolderChanged("The folder has changed.")

    monkeypatch.setattr(ImapCommands, refused, changed)
    (ended,) = daemon.mover.move([(row, row.source)])
    assert ended.state is MoveState.FAILED
    (lying,) = host.contents(user)
    assert lying.folder == "INBOX"
    assert lying.flags - {"\\Recent"} == ({"\\Deleted"} if deleted_by == "the person" else set())


# -- at random


@only(*WAYS, "cyrus")
@pytest.mark.scenario(26, 27)
def test_random_faults(host):
    """Moves, cuts, persons and put-backs as the dice fall; the seed is printed where it fails."""
    seed = int(os.environ.get("SPAMD_SEED", time.time_ns() % 1_000_000))
    dice = random.Random(seed)
    user = host.new_user()
    host.append(user, *(mail(f"mail {number}") for number in range(8)))
    before = Counter(normal(one.raw) for one in host.contents(user))
    own = Daemon(host, user).new()
    try:
        for _ in range(int(os.environ.get("SPAMD_ROUNDS", "8"))):
            back = dice.random() < 0.3
            source, target = (own.junk, INBOX) if back else (INBOX, own.junk)
            there = [one.ref.uid for one in own.session.arrivals(source, Uid(1))]
            if not there:
                continue
            chosen = dice.sample(there, dice.randint(1, min(4, len(there))))
            kind = MoveKind.UNDO if back else MoveKind.JUNK
            rows = own.intents(chosen, folder=source, target=target, kind=kind)
            cut(own.session, dice.randint(0, 14), dice.choice(["before", "sent", "after"]))
            with contextlib.suppress(ConnectionLost):
                own.mover.move([(row, row.source) for row in rows])
            for _ in range(dice.randint(1, 3)):
                own.session.connection.drop()
                own.new()
                if dice.random() < 0.5:
                    cut(own.session, dice.randint(0, 10), dice.choice(["before", "sent", "after"]))
                with contextlib.suppress(ConnectionLost):
                    own.mover.recover()
            own.session.connection.drop()
            own.new().mover.recover()
            after = Counter(normal(one.raw) for one in host.contents(user))
            assert after == before
            assert not any("\\Seen" in one.flags for one in host.contents(user))
            assert_settled(host, user, own)
    except BaseException:
        print(f"SPAMD_SEED={seed}")
        raise
    finally:
        own.close()


@only("dovecot-maildir", "cyrus")
@pytest.mark.scenario(33)
def test_a_lock_that_could_not_be_taken_off(host, user, fault_proxy):
    """The server refuses the STORE for a while: a later look takes it off, and the sign stays."""
    host.append(user, mail("bait"))
    proxy = fault_proxy(host.port)
    own = Daemon(host, user, port=proxy.port).new()
    proxy.refuse(r"UID STORE .*-FLAGS", answer="NO not now", every=True)
    (done,) = own.move([own.session.uids(INBOX)[0]])
    assert done.state is MoveState.DONE
    assert MOVING_KEYWORD in host.contents(user)[0].flags
    proxy.peace()
    own.mover.reconcile()
    flags = host.contents(user)[0].flags
    assert MOVED_KEYWORD in flags
    assert not any("moving" in flag.lower() or "spamdby-" in flag.lower() for flag in flags)
    own.close()
    proxy.close()


@only("dovecot-maildir", "uidplus-only", "cyrus")
@pytest.mark.scenario(32, 33)
@pytest.mark.parametrize("answer", ["NO not now", "BAD what?"])
def test_a_lock_that_is_refused_once(host, user, fault_proxy, answer):
    """It is asked for again: unsigned, another daemon would take the move for a drag of the person's."""
    host.append(user, mail("bait"))
    proxy = fault_proxy(host.port)
    own = Daemon(host, user, port=proxy.port).new()
    proxy.refuse(r"UID STORE .*\+FLAGS", answer=answer, every=False)
    proxy.cut_after("UID MOVE|UID COPY")
    with pytest.raises(ConnectionLost):
        own.move([own.session.uids(INBOX)[0]])
    (moved,) = [one for one in host.contents(user) if one.folder == host.junk]
    assert MOVED_KEYWORD in moved.flags
    (done,) = own.new().mover.recover()
    assert done.state is MoveState.DONE
    assert where(host, user, b"bait") == [host.junk]
    assert_settled(host, user, own)
    own.close()
    proxy.close()


@only("uidplus-only")
@pytest.mark.scenario(27, 32)
def test_cut_while_copies_are_taken_back_and_another_daemon_moves_the_mail(host, user, fault_proxy):
    """The original could not be marked, so our copy was to go; the other daemon's is the one that stays."""
    host.append(user, mail("bait"))
    proxy = fault_proxy(host.port)
    own, other = Daemon(host, user, port=proxy.port).new(), Daemon(host, user).new()
    uid = own.session.uids(INBOX)[0]
    proxy.refuse(r"UID STORE .*\\Deleted", answer="BAD what?", every=False)
    proxy.cut_before("UID EXPUNGE")
    with pytest.raises(ConnectionLost):
        own.move([uid])
    assert {one.folder for one in host.contents(user)} == {"INBOX", host.junk}, "ours is marked"
    (moved,) = other.move([uid])
    assert moved.state is MoveState.DONE
    own.new().mover.recover()
    assert where(host, user, b"bait") == [host.junk]
    for daemon in (own, other):
        assert_settled(host, user, daemon)
        daemon.close()
    proxy.close()


@only("uidplus-only", "courier")
@pytest.mark.scenario(27)
@pytest.mark.parametrize("answer", ["NO not now", "BAD what?"])
def test_a_mark_that_cannot_be_taken_off_where_the_original_cannot_be_removed(
    host, user, fault_proxy, answer
):
    """The copy stays until it can: the next clean-up would take the only mail."""
    host.append(user, mail("bait"))
    proxy = fault_proxy(host.port)
    own = Daemon(host, user, port=proxy.port).new()
    proxy.refuse("EXPUNGE", answer="NO not now", every=False)
    proxy.refuse(r"UID STORE .*-FLAGS.*\\Deleted", answer=answer, every=False)
    (waits,) = own.move([own.session.uids(INBOX)[0]])
    assert waits.error.endswith(f"refused EXPUNGE: not now. A copy is in “{host.junk}”.")
    assert where(host, user, b"bait") == [host.junk]
    own.new().mover.recover()
    assert where(host, user, b"bait") == [host.junk]
    assert_settled(host, user, own)
    own.close()
    proxy.close()
