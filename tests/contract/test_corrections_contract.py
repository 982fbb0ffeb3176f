"""What a person does, on real servers: which moves are labels, and which are not.

Every row of the table of corrections on every kind of server, with server ids and without, with CONDSTORE and without,
while the filter looks on and while it is away. The model is scripted; session, mover, store, filter and learner are real.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

import pytest

from spamd.domain import (
    MOVING_KEYWORD,
    AccountName,
    Evidence,
    FolderName,
    Label,
    LabelSource,
    Mode,
    MoveState,
)
from spamd.errors import ConnectionLost
from spamd.filtering import Filter
from spamd.judgement.corrections import FLOOD
from spamd.learning import Learner
from spamd.learning.contacts import sent_folders
from spamd.learning.first_reading import FirstReading
from spamd.learning.places import FOLDERS_FRESH
from spamd.mailbox.move_commands import ImapCommands
from spamd.mailbox.mover import JournaledMover
from spamd.mailbox.session import open_session
from spamd.store.database import Store
from tests.fakes.scripted_scorer import ScriptedScorer
from tests.servers.dovecot import ICLOUD, OLD, OUTLOOK, YAHOO
from tests.servers.mailhost import PASSWORD, nothing_lost, snapshot
from tests.unit.test_filtering import mail

PROVEN = Evidence(Mode.FILTERING, 0.97, 0.5, 400, 90, 0, 0.001, 0.9, "")
SERVERS = {
    "dovecot-maildir": {},
    "dovecot-mdbox": {"storage": "mdbox"},
    "dovecot-inbox-prefix": {"separator": ".", "prefix": "INBOX."},
    "like-outlook": {"capabilities": OUTLOOK, "special_use": False, "junk": "Junk Email"},
    "like-icloud": {"capabilities": ICLOUD, "special_use": False},
    "like-yahoo": {"capabilities": YAHOO, "special_use": False, "junk": "Bulk Mail"},
    "like-1996": {"capabilities": OLD, "special_use": False},
    "no-move": {"capabilities": "IMAP4rev1 LITERAL+ ID NAMESPACE IDLE UIDPLUS"},
}
IDS, CONDSTORE = "no ids", "no CONDSTORE"
"""What is not asked for: without ids mails are known by their header, size and date. The embedded server has no CONDSTORE."""
WHOLE = {
    "dovecot-maildir": [(), (IDS,), (CONDSTORE,), (IDS, CONDSTORE)],
    "dovecot-mdbox": [(), (IDS, CONDSTORE)],
    "cyrus": [(), (IDS, CONDSTORE)],
    "pymap": [(), (IDS,)],
}
HOSTS = [(name, without, away) for name in WHOLE for without in WHOLE[name] for away in (False, True)]
HOSTS += [(name, (), False) for name in [*SERVERS, "gmail"] if name not in WHOLE]
HOSTS += [(name, (), True) for name in ("like-1996", "no-move", "gmail")]
HOSTS += [("like-outlook", (IDS,), False)]
SUBJECT = iter(range(10**9))


def _named(param):
    name, without, away = param
    return ", ".join([name, *without, "away" if away else "looking"])


@pytest.fixture(params=HOSTS, ids=_named)
def host(request):
    name = request.param[0]
    if name in SERVERS:
        return request.getfixturevalue("dovecot")(**SERVERS[name])
    return request.getfixturevalue(name)


class Home:
    """One account of one person, watched."""

    def __init__(self, host, path, *, without=(), away=False):
        self.host, self.user = host, host.new_user()
        self.without, self.away = without, away
        self.flood = FLOOD
        self.path = path
        self.later = 0.0
        self.account = host.account(self.user)
        self.store = Store(path / "spamd.db", clock=self.clock)
        self.scorer = ScriptedScorer()
        self.archive = host.junk[: -len(host.junk.rpartition(host.separator)[2])] + "Keep"
        host.create(self.user, self.archive)
        self.session = None
        self.since = time.time() - 5
        self.come_back()
        self.look()

    def clock(self):
        return time.time() + self.later

    def come_back(self):
        """A new process on the same database."""
        self.go_away()
        self.session = open_session(self.account, PASSWORD)
        connection = self.session.connection
        if IDS in self.without:
            connection.quirk = replace(connection.quirk, guid=False)
            connection.capabilities -= {"OBJECTID"}
            assert not self.session.abilities.server_ids
        if CONDSTORE in self.without:
            connection.capabilities -= {"CONDSTORE", "QRESYNC"}
            assert not self.session.abilities.condstore
        mover = JournaledMover(
            self.session, ImapCommands(self.session), self.store, self.user, clock=self.clock
        )
        self.filter = Filter(
            self.session,
            mover,
            self.store,
            self.scorer,
            self.account,
            evidence=lambda: PROVEN,
            clock=self.clock,
        )
        self.learner = Learner(
            self.session,
            self.store,
            self.scorer,
            self.account,
            since=self.since,
            flood=self.flood,
            clock=self.clock,
        )
        self.filter.recover()

    def go_away(self):
        if self.session is not None:
            self.session.close()
        self.session = None

    @contextlib.contextmanager
    def unseen(self):
        """What the person does between two looks, or while the filter does not run at all."""
        if self.away:
            self.go_away()
        yield
        if self.away:
            self.come_back()

    def close(self):
        self.go_away()
        self.store.close()

    def look(self):
        look = self.learner.look()
        judged = self.filter.judge(look.new)
        self.learner.settle(look)
        return judged

    def arrive(self, score=0.01, *, folder="INBOX", raw=None, **more):
        """Its UID."""
        raw = raw or mail(next(SUBJECT), score)
        return self.host.append(self.user, raw, folder=folder, **more)[0]

    def uids(self, folder):
        with self.host.oracle(self.user) as imap:
            imap.select(f'"{folder}"', readonly=True)
            return [int(uid) for uid in imap.uid("SEARCH", "ALL")[1][0].split()]

    def drag(self, folder, target, *uids):
        self.host.move(self.user, uids or self.uids(folder), folder, target)

    def labels(self):
        rows = self.store.labels(AccountName(self.user))
        return sorted((row.label.value, row.source.value) for row in rows)


@pytest.fixture
def at_home(host, tmp_path, request):
    _, without, away = request.node.callspec.params["host"]
    home = Home(host, tmp_path, without=without, away=away)
    yield home
    home.close()
    assert not home.store.path.with_suffix(".broken").exists()


SPAM, HAM = ("spam", "drag"), ("ham", "drag")


@pytest.mark.scenario(39, 43)
def test_drags(at_home):
    """To Junk, out of it, both at once, to another folder; each once, also when nobody looked."""
    home, junk = at_home, at_home.host.junk
    first, second = home.arrive(), home.arrive()
    home.arrive(folder=junk)
    home.look()
    with nothing_lost(home.host, home.user):
        with home.unseen():
            home.drag("INBOX", junk, first)
        home.look()
        assert home.labels() == [SPAM]
        with home.unseen():
            (rescued, *_) = home.uids(junk)
            home.drag(junk, "INBOX", rescued)
            home.drag("INBOX", junk, second)
        home.look()
        home.look()
        assert home.labels() == [HAM, SPAM, SPAM]
        with home.unseen():
            home.drag(junk, home.archive, home.uids(junk)[-1])
        home.look()
        home.look()
        assert home.labels() == [HAM, HAM, SPAM]
        home.look()
    assert home.labels() == [HAM, HAM, SPAM]


@pytest.mark.scenario(39)
def test_no_labels(at_home):
    """A server filter, our own move, Trash, emptied Junk, another folder, a ping-pong, moved and deleted, a copy."""
    home, junk, trash = at_home, at_home.host.junk, at_home.host.trash
    with home.unseen():
        home.arrive(folder=junk)  # a server filter
    deleted, archived, pinged, copied, dropped = (home.arrive() for _ in range(5))
    home.arrive(0.99)  # ours
    home.look()
    home.look()
    assert len(home.uids(junk)) == 2
    with home.unseen():
        home.drag("INBOX", trash, deleted)
        home.drag("INBOX", home.archive, archived)
        home.drag("INBOX", junk, pinged)
        home.drag(junk, "INBOX", home.uids(junk)[-1])
        home.drag("INBOX", junk, dropped)
        with home.host.oracle(home.user) as imap:
            imap.select(f'"{junk}"')
            imap.uid("STORE", str(home.uids(junk)[-1]), "+FLAGS.SILENT", "(\\Deleted)")
            imap.expunge()
            imap.select("INBOX", readonly=True)
            imap.uid("COPY", str(copied), f'"{junk}"')
    home.look()
    home.look()
    assert home.labels() == []
    with home.unseen():
        home.drag(junk, trash, home.uids(junk)[0])
    home.look()
    with home.unseen(), home.host.oracle(home.user) as imap:
        imap.select(f'"{junk}"')
        imap.uid("STORE", "1:*", "+FLAGS.SILENT", "(\\Deleted)")
        imap.expunge()
    home.look()
    home.look()
    assert home.labels() == []


@pytest.mark.scenario(39)
def test_arrived_and_moved_between_two_looks(at_home):
    """Never seen in the inbox: a server filter may have put it there."""
    home, junk = at_home, at_home.host.junk
    home.arrive()
    home.look()
    with home.unseen():
        home.drag("INBOX", junk, home.arrive())
    home.look()
    home.look()
    assert home.labels() == []


@pytest.mark.scenario(39)
def test_mail_put_into_another_folder_is_weakly_good(at_home):
    """Not at once, and only if it is found alive there."""
    home = at_home
    kept, thrown_away = home.arrive(), home.arrive()
    home.look()
    with home.unseen():
        home.drag("INBOX", home.archive, kept, thrown_away)
    home.look()
    assert home.labels() == []
    home.learner.look_elsewhere()
    with home.unseen():
        home.drag(home.archive, home.host.trash, home.uids(home.archive)[-1])
    assert home.learner.keep_quiet_mail() == 1
    assert home.labels() == [("ham", "implicit")]
    home.look()
    with home.unseen():
        home.drag(home.archive, home.host.junk)
    home.look()
    home.look()
    assert home.labels() == [SPAM], "and the person's word replaces it"


@pytest.mark.scenario(39)
def test_our_move_rescued(at_home):
    home, junk = at_home, at_home.host.junk
    home.arrive(0.99)
    with nothing_lost(home.host, home.user):
        (judged,) = home.look()
        assert judged.moved
        with home.unseen():
            home.drag(junk, "INBOX")
        home.look()
        home.look()
    assert home.labels() == [HAM]
    assert home.uids(junk) == []
    assert [row.state for row in home.store.moves(AccountName(home.user))] == [MoveState.DONE]


@pytest.mark.scenario(39)
def test_copy_mark_expunge_over_three_looks(at_home):
    home, junk = at_home, at_home.host.junk
    uid, other = home.arrive(), home.arrive()
    home.look()
    with home.host.oracle(home.user) as imap:
        imap.select("INBOX")
        with home.unseen():
            imap.uid("COPY", str(uid), f'"{junk}"')
        home.look()
        with home.unseen():
            imap.uid("STORE", str(uid), "+FLAGS.SILENT", "(\\Deleted)")
        home.look()
        assert home.labels() == []
        with home.unseen():
            imap.expunge()
    home.look()
    assert home.labels() == [SPAM]
    assert home.uids("INBOX") == [other]


@pytest.mark.parametrize("new", [False, True], ids=["known folder", "new folder"])
@pytest.mark.parametrize("marked", [False, True], ids=["copied", "marked"])
@pytest.mark.scenario(39)
def test_a_copy_out_of_junk_that_lay_beside_its_original_is_no_rescue(at_home, marked, new):
    """Junk is emptied later. But COPY, mark and, much later, EXPUNGE is a move."""
    home, junk, target = at_home, at_home.host.junk, at_home.archive
    uid, _ = home.arrive(folder=junk), home.arrive(folder=junk)
    home.look()
    home.learner.look_elsewhere()
    if new:
        target = target[: -len("Keep")] + "Evidence"
        home.host.create(home.user, target)
    with home.host.oracle(home.user) as imap:
        imap.select(f'"{junk}"')
        imap.uid("COPY", str(uid), f'"{target}"')
        if marked:
            imap.uid("STORE", str(uid), "+FLAGS.SILENT", "(\\Deleted)")
        home.look()
        for _ in range(2):
            home.later += 3600.0
            home.learner.look_elsewhere()
            home.look()
        assert home.labels() == []
        with home.unseen():
            imap.uid("STORE", str(uid), "+FLAGS.SILENT", "(\\Deleted)")
            imap.expunge()
    home.look()
    home.look()
    assert home.labels() == ([HAM] if marked else [])


@pytest.mark.scenario(41)
def test_identical_mails_count_one_by_one(at_home):
    home, junk = at_home, at_home.host.junk
    raw = mail(next(SUBJECT))
    at = time.time()
    first, second = home.arrive(raw=raw, at=at), home.arrive(raw=raw, at=at)
    home.look()
    with home.unseen():
        home.drag("INBOX", junk, first)
    home.look()
    spam = home.store.labels(AccountName(home.user))
    assert len(spam) == 1
    with home.unseen():
        home.drag("INBOX", junk, second)
    home.look()
    assert {row.label for row in home.store.labels(AccountName(home.user))} == {Label.SPAM}


@pytest.mark.scenario(41)
def test_two_mails_with_one_message_id(at_home):
    """One is moved, then the other: one label each."""
    home, junk = at_home, at_home.host.junk
    raw = mail(next(SUBJECT))
    first, second = home.arrive(raw=raw), home.arrive(raw=raw.replace(b"Subject: ", b"Subject: Fwd: "))
    kept = home.arrive(raw=raw.replace(b"Subject: ", b"Subject: Re: "))
    home.look()
    with home.unseen():
        home.drag("INBOX", junk, second)
    home.look()
    assert home.labels() == [SPAM]
    with home.unseen():
        home.drag("INBOX", junk, first)
    home.look()
    home.look()
    assert home.labels() == [SPAM, SPAM]
    assert home.uids("INBOX") == [kept]


@pytest.mark.scenario(41)
def test_a_twin_in_the_inbox_when_junk_is_emptied(at_home):
    """Content ids (Cyrus): the same bytes delivered again are new mail, and stay when Junk is emptied."""
    home, junk = at_home, at_home.host.junk
    raw = mail(next(SUBJECT))
    home.arrive(raw=raw, folder=junk, at=time.time() - 100)
    home.look()
    with home.unseen():
        home.arrive(raw=raw)
    home.look()
    with home.unseen(), home.host.oracle(home.user) as imap:
        imap.select(f'"{junk}"')
        imap.uid("STORE", "1:*", "+FLAGS.SILENT", "(\\Deleted)")
        imap.expunge()
    home.look()
    home.look()
    assert home.labels() == []


@pytest.mark.scenario(39, 41)
def test_mail_without_message_id(at_home):
    home = at_home
    uid = home.arrive(raw=b"From: a@b.example\r\nSubject: none\r\n\r\nText %d\r\n" % next(SUBJECT))
    home.look()
    with home.unseen():
        home.drag("INBOX", home.host.junk, uid)
    home.look()
    assert home.labels() == [SPAM]


@pytest.mark.scenario(39)
def test_fifty_at_once(at_home):
    home = at_home
    uids = home.host.append(home.user, *(mail(next(SUBJECT)) for _ in range(50)))
    kept = home.arrive()
    home.look()
    with home.unseen():
        home.drag("INBOX", home.host.junk, *uids)
    home.look()
    assert home.labels() == [SPAM] * 50
    assert home.uids("INBOX") == [kept]


@pytest.mark.scenario(39, 42)
def test_a_flood_is_held(at_home):
    """More at once than a person drags: asked about, not learned."""
    home = at_home
    home.flood = 10
    home.come_back()
    uids = home.host.append(home.user, *(mail(next(SUBJECT)) for _ in range(12)))
    home.arrive()
    home.look()
    with home.unseen():
        home.drag("INBOX", home.host.junk, *uids)
    home.look()
    home.look()
    found = home.store.labels(AccountName(home.user))
    assert [one.held for one in found] == [True] * 12
    assert not home.scorer.taught


@pytest.mark.scenario(35, 39)
def test_junk_recreated_and_all_copied_back(at_home):
    home, junk = at_home, at_home.host.junk
    for _ in range(3):
        home.arrive(folder=junk)
    home.look()
    with home.unseen(), home.host.oracle(home.user) as imap:
        old = junk[: -len(junk.rpartition(home.host.separator)[2])] + "Older"
        assert imap.rename(f'"{junk}"', f'"{old}"')[0] == "OK"
        imap.create(f'"{junk}"')
        imap.select(f'"{old}"', readonly=True)
        imap.uid("COPY", "1:*", f'"{junk}"')
    if not home.away:
        home.come_back()  # the folder's new number is seen on a new connection
    home.look()
    home.look()
    assert home.labels() == []


def test_the_junk_folder_of_another_program_is_one_too(at_home):
    """Each program of the person's may have made its own. Before, what a phone had filed there was good mail that was put into a folder."""
    home, junk = at_home, at_home.host.junk
    last = junk.rpartition(home.host.separator)[2]
    other = junk[: -len(last)] + {"Spam": "Junk", "Bulk Mail": "Junkmail"}.get(last, "Spam")
    first, second, third = (home.arrive() for _ in range(3))
    home.look()
    home.host.create(home.user, other)
    home.later += FOLDERS_FRESH
    home.look()
    with home.unseen():
        home.drag("INBOX", other, first, second)
        home.drag("INBOX", junk, third)
    home.look()
    home.look()
    assert home.labels() == [SPAM] * 3
    with home.unseen():
        home.drag(junk, other)
    home.look()
    home.look()
    assert home.labels() == [SPAM] * 3, "from one Junk to the other is no rescue"
    home.later += 8 * 86400.0
    home.learner.keep_quiet_mail()
    assert home.labels() == [SPAM] * 3
    with home.unseen():
        home.drag(other, "INBOX", home.uids(other)[0])
    home.look()
    home.look()
    assert home.labels() == [HAM, SPAM, SPAM]


@pytest.mark.scenario(40)
def test_keywords(at_home):
    home = at_home
    if not home.session.abilities.keywords:
        pytest.skip("this server keeps no keywords")
    hinted, both, other, kept = (home.arrive() for _ in range(4))
    home.look()
    with home.unseen():
        home.host.store(home.user, [hinted], "+FLAGS", "$Junk")
        home.host.store(home.user, [both], "+FLAGS", "Junk NonJunk")
        home.host.store(home.user, [other], "+FLAGS", "work")
    home.look()
    home.look()
    assert home.labels() == [("spam", "hint")]
    with home.unseen():
        home.host.store(home.user, [kept], "+FLAGS", "NonJunk")
    home.look()
    assert home.labels() == [("ham", "hint"), ("spam", "hint")]
    spellings = ("Junk", "$NotJunk", "NotJunk", "$NonJunk", "NonJunk", "NoJunk", "$NoJunk")
    uids = home.host.append(home.user, *(mail(next(SUBJECT)) for _ in spellings))
    home.look()
    with home.unseen():
        for uid, word in zip(uids, spellings, strict=True):
            home.host.store(home.user, [uid], "+FLAGS", word)
    home.look()
    assert home.labels() == [("ham", "hint")] * 7 + [("spam", "hint")] * 2


def test_stamps_are_written_where_the_server_keeps_them_and_are_not_the_person(at_home):
    """And a keyword against the stamp is: weaker than a move, stronger than a hint."""
    home = at_home
    home.account = replace(home.account, stamp=True)
    home.come_back()
    kept, doubtful = home.arrive(), home.arrive(0.7)
    home.arrive(0.99)
    home.look()
    lying = {
        (one.folder, one.uid): {flag.lower() for flag in one.flags} for one in home.host.contents(home.user)
    }
    ours = {"nonjunk", "junk"}
    if not home.session.abilities.keywords:
        assert not any(flags & ours for flags in lying.values()), "never without PERMANENTFLAGS \\*"
        return
    assert lying["INBOX", kept] & ours == {"nonjunk"}
    assert not lying["INBOX", doubtful] & ours
    assert [flags & ours for (folder, _), flags in lying.items() if folder == home.host.junk] == [{"junk"}]
    home.look()
    assert home.labels() == []
    home.host.store(home.user, [kept], "+FLAGS", "Junk")
    home.look()
    assert home.labels() == [], "both at once say nothing"
    home.host.store(home.user, [kept], "-FLAGS", "NonJunk")
    home.look()
    (label,) = home.store.labels(AccountName(home.user))
    assert (label.label, label.source, label.weight) == (Label.SPAM, LabelSource.KEYWORD, 0.7)


@pytest.mark.scenario(25)
def test_the_first_reading_leaves_no_trace(at_home):
    home, junk = at_home, at_home.host.junk
    home.host.append(home.user, *(mail(next(SUBJECT), 0.9) for _ in range(20)), folder=junk)
    home.host.append(home.user, *(mail(next(SUBJECT), 0.1) for _ in range(20)), folder=home.archive)
    before = snapshot(home.host, home.user)
    reading = FirstReading(home.session, home.store, home.scorer, home.account, clock=home.clock)
    assert reading.run().done == 40
    assert home.store.label_counts(AccountName(home.user)) == {
        (LabelSource.FOLDER, Label.SPAM): 20,
        (LabelSource.FOLDER, Label.HAM): 20,
    }
    assert snapshot(home.host, home.user) == before
    assert home.session.status(FolderName("INBOX"))


@pytest.mark.scenario(25)
def test_whom_the_person_writes_to(at_home):
    """From the day of the account on; what was sent before, the first reading asks for."""
    home, user = at_home, AccountName(at_home.user)
    sent = FolderName(home.archive.removesuffix("Keep") + "Sent")
    with contextlib.suppress(AssertionError):  # Gmail and others have it
        home.host.create(home.user, sent)
    home.come_back()
    (sent,) = sent_folders(home.session)
    asked = {f"{name}@friend.example" for name in ("old", "ann", "bea", "cleo")}

    def write(*names):
        for name in names:
            home.arrive(
                folder=sent, raw=f"From: me@home.example\r\nTo: {name}@Friend.example\r\n\r\nHi\r\n".encode()
            )

    write("old")
    home.learner.read_sent()
    assert not home.store.contacts_among(user, asked)
    with home.unseen():
        write("ann", "bea")
    with nothing_lost(home.host, home.user):
        home.learner.read_sent()
    assert home.store.contacts_among(user, asked) == {"ann@friend.example", "bea@friend.example"}
    write("cleo")
    home.learner.read_sent()
    assert home.store.contacts_among(user, asked) == asked - {"old@friend.example"}


@pytest.mark.scenario(35, 36)
@pytest.mark.parametrize("kind", ["no-move", "dovecot-maildir"])
def test_junk_is_made_anew_under_a_move_and_the_mail_is_moved_later(dovecot, tmp_path, monkeypatch, kind):
    """The connection breaks, and with Junk goes what was copied there. Nobody has decided on that mail."""
    host = dovecot(**SERVERS[kind], fresh=False)
    home = Home(host, tmp_path)
    try:
        home.arrive(0.99)
        verb = "move" if kind == "dovecot-maildir" else "mark_deleted"

        def cut(self, *_):
            self._connection.drop()
            raise ConnectionLost("cut")

        with monkeypatch.context() as patched, pytest.raises(ConnectionLost):
            patched.setattr(ImapCommands, verb, cut)
            home.look()
        with host.oracle(home.user) as imap:
            assert imap.delete(host.junk)[0] == "OK"
            assert imap.create(host.junk)[0] == "OK"
        home.come_back()
        home.look()
        home.filter.later.again()
        home.later += home.filter.later.retry_in() or 0.0
        home.filter.later.again()
        assert len(home.uids(host.junk)) == 1
        assert home.uids("INBOX") == []
        assert not any({"\\Deleted", MOVING_KEYWORD} & one.flags for one in host.contents(home.user))
        assert home.labels() == []
    finally:
        home.close()


@pytest.mark.scenario(26, 36)
@pytest.mark.parametrize("kind", ["no-move", "dovecot-maildir"])
def test_junk_counts_anew_while_the_answer_to_a_move_is_lost(dovecot, tmp_path, monkeypatch, kind):
    """What lies there then was put there by us: the person has said nothing of it."""
    host = dovecot(**SERVERS[kind], fresh=False)
    home = Home(host, tmp_path)
    try:
        home.arrive(0.99)
        verb = "move" if kind == "dovecot-maildir" else "copy"
        real = getattr(ImapCommands, verb)

        def cut(self, *command):
            real(self, *command)
            self._connection.drop()
            raise ConnectionLost("cut")

        with monkeypatch.context() as patched, pytest.raises(ConnectionLost):
            patched.setattr(ImapCommands, verb, cut)
            home.look()
        host.doveadm("mailbox", "update", "--uid-validity", "4242", "-u", home.user, host.junk)
        home.come_back()
        home.look()
        assert len(home.uids(host.junk)) == 1
        assert home.uids("INBOX") == []
        assert home.labels() == []
        (moved,) = home.store.moves(AccountName(home.user))
        assert moved.state is MoveState.DONE
    finally:
        home.close()


@pytest.mark.scenario(32)
def test_copied_out_of_junk_under_our_lock_to_a_folder_nobody_watches(courier, tmp_path):
    """Where the mover looks into no other folder, the hourly look finds our lock on it, and the mail is theirs again."""
    home = Home(courier, tmp_path)
    try:
        home.learner.look_elsewhere()
        home.arrive(0.99)
        connection = home.session.connection
        store = connection.store

        def take_off(uids, change, flags):
            if change == b"-FLAGS" and home.uids(courier.junk) and not home.uids(home.archive):
                with courier.oracle(home.user) as imap:
                    imap.select(courier.junk)
                    assert imap.uid("COPY", "1", home.archive)[0] == "OK"
            return store(uids, change, flags)

        connection.store = take_off
        home.look()

        def locked():
            return [one.folder for one in courier.contents(home.user) if MOVING_KEYWORD in one.flags]

        assert locked() == [home.archive]
        home.learner.look_elsewhere()
        home.filter.free(home.learner.look().locked)
        assert locked() == []
        assert sorted(one.folder for one in courier.contents(home.user)) == sorted(
            [home.archive, courier.junk]
        )
        assert home.labels() == []
    finally:
        home.close()
