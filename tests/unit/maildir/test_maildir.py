"""A Maildir as an account: seen, judged, moved by the Maildir rules, corrections by other programs seen."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from spamd.domain import (
    Account,
    AccountName,
    FolderName,
    Label,
    LabelSource,
    Mode,
    MoveState,
    SourceKind,
    Uid,
    UidValidity,
)
from spamd.errors import FolderChanged, FolderMissing
from spamd.filtering import Filter
from spamd.learning import Learner
from spamd.maildir import maildir
from spamd.maildir.maildir import MaildirCommands
from spamd.opening import Opening
from spamd.paths import find
from spamd.source import OpenFolder
from spamd.store.database import Store
from tests.fakes.memory_mailbox import START, MemoryJournal, intent
from tests.fakes.scripted_scorer import ScriptedScorer
from tests.unit.test_filtering import PROVEN

INBOX = FolderName("INBOX")
JUNK = FolderName("Junk")


class NoSecrets:
    def get(self, account):
        raise AssertionError("a local mailbox needs no secret")


def make(path: Path, *folders: str) -> None:
    for folder in ("", *folders):
        for place in ("cur", "new", "tmp"):
            (path / folder / place).mkdir(parents=True)


def put(path: Path, name: str, subject: str, *, place: str = "new") -> Path:
    file = path / place / name
    file.write_bytes(
        f"From: a@example.org\nSubject: {subject}\nMessage-ID: <{subject}@x>\n\nbody {subject}\n".encode()
    )
    return file


def everything(path: Path) -> Counter[bytes]:
    return Counter(
        file.read_bytes() for file in path.rglob("*") if file.is_file() and file.parent.name in ("cur", "new")
    )


@pytest.fixture
def mail(tmp_path):
    path = tmp_path / "Maildir"
    make(path, ".Junk", ".Lists.Python", ".Entw&APw-rfe")
    return path


@pytest.fixture
def opening(tmp_path):
    home = find({"SPAMD_HOME": str(tmp_path / "spamd")})
    return Opening(NoSecrets(), MemoryJournal(), paths=home, clock=lambda: START)


@pytest.fixture
def account(mail):
    return Account(AccountName("local"), kind=SourceKind.MAILDIR, path=str(mail))


@pytest.fixture
def session(opening, account):
    session = opening.session(account)
    yield session
    session.close()


def test_folders_and_roles(session):
    assert [(one.name, one.role) for one in session.folders()] == [
        ("INBOX", "inbox"),
        ("Entwürfe", "drafts"),
        ("Junk", "junk"),
        ("Lists.Python", ""),
    ]
    assert session.junk_folder() == "Junk"


def test_verbatim_layout(tmp_path, opening):
    path = tmp_path / "mail"
    path.mkdir()
    make(path / "Inbox")
    make(path / "Spam")
    make(path / "Lists", "Python")
    session = opening.session(Account(AccountName("m"), kind=SourceKind.MAILDIR, path=str(path)))
    assert [one.name for one in session.folders()] == ["INBOX", "Lists", "Lists/Python", "Spam"]
    assert session.junk_folder() == "Spam"


def test_no_maildir(tmp_path, opening):
    with pytest.raises(FolderMissing):
        opening.session(Account(AccountName("m"), kind=SourceKind.MAILDIR, path=str(tmp_path / "nothing")))


def test_reading_changes_nothing(mail, session):
    put(mail, "1700000000.M1P1.host", "one")
    put(mail, "1700000001.M1P1.host,S=70:2,FS", "two", place="cur")
    before = sorted(str(file) for file in mail.rglob("*"))
    one, two = session.arrivals(INBOX, Uid(1))
    assert (one.message_id, two.message_id) == ("one@x", "two@x")
    assert two.flags == {"\\Flagged", "\\Seen"}
    assert one.flags == frozenset()
    fetched = list(session.fetch([one.ref, two.ref]))
    assert fetched[0].raw.endswith(b"body one\n")
    assert fetched[0].complete
    assert not next(session.fetch([one.ref], limit=10)).complete
    assert session.headers(INBOX, [one.ref.uid], ["subject"])[one.ref.uid] == b"Subject: one\r\n\r\n"
    assert sorted(str(file) for file in mail.rglob("*")) == before


def test_uids_stay(mail, opening, account, session):
    put(mail, "1700000000.M1P1.host", "one")
    first = session.status(INBOX)
    (mail / "new" / "1700000000.M1P1.host").rename(mail / "cur" / "1700000000.M1P1.host:2,S")
    put(mail, "1700000001.M1P1.host", "two")
    again = opening.session(account)
    assert [(one.ref.uid, one.message_id) for one in again.arrivals(INBOX, Uid(1))] == [
        (1, "one@x"),
        (2, "two@x"),
    ]
    assert again.status(INBOX).uid_validity == first.uid_validity
    (mail / "cur" / "1700000000.M1P1.host:2,S").unlink()
    assert again.uids(INBOX) == [2]
    put(mail, "1700000000.M1P1.host", "one")  # the same file comes back (a program's own undo): an arrival
    assert again.uids(INBOX) == [2, 3]
    assert session.uids(INBOX) == [2, 3]


def test_move_and_back(mail, opening, account, session):
    put(mail, "1700000000.M1P1.host,U=7", "unread")
    put(mail, "1700000001.M1P1.host,U=8,S=70:2,S", "read", place="cur")
    before = everything(mail)
    journal = opening._journal
    mover = opening.mover(session, account)
    rows = [journal.intent(intent(one, account="local")) for one in session.arrivals(INBOX, Uid(1))]
    done = mover.move([(row, row.source) for row in rows])
    assert [row.state for row in done] == [MoveState.DONE, MoveState.DONE]
    assert everything(mail) == before
    names = sorted(file.relative_to(mail / ".Junk") for file in (mail / ".Junk").rglob("*.*"))
    assert [name.parent.name for name in names] == ["cur", "new"]  # the unread one is still new
    assert names[0].name.endswith(",S=70:2,S")
    assert not any("U=" in name.name for name in names)  # a synchroniser's number stays behind
    found = {one.ref.uid: one for one in session.arrivals(JUNK, Uid(1))}
    assert [found[row.target_uid].identity for row in done] == [row.identity for row in rows]
    back = [journal.intent(intent(found[row.target_uid], INBOX, account="local")) for row in done]
    mover.move([(row, row.source) for row in back])
    assert everything(mail) == before
    assert len(session.uids(INBOX)) == 2
    assert mover.recover() == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_crash_around_the_rename(mail, opening, account, session, when, monkeypatch):
    put(mail, "1700000000.M1P1.host", "one")
    before = everything(mail)
    journal = opening._journal
    (row,) = [journal.intent(intent(one, account="local")) for one in session.arrivals(INBOX, Uid(1))]

    class Crash(BaseException):
        pass

    real = MaildirCommands.move

    def move(self, *args):
        if when == "after":
            real(self, *args)
        raise Crash

    monkeypatch.setattr(MaildirCommands, "move", move)
    with pytest.raises(Crash):
        opening.mover(session, account).move([(row, row.source)])
    monkeypatch.undo()
    (ended,) = opening.mover(opening.session(account), account).recover()
    assert ended.state is MoveState.DONE
    assert everything(mail) == before
    assert len(session.uids(JUNK)) == 1
    assert not journal.open_moves("local")


def test_taken_back_before_we_looked(mail, opening, account, session, monkeypatch):
    """The person drags it back at once, while the folder is still being written to disk: it was moved all the same."""
    put(mail, "1700000000.M1P1.host", "one")
    before = everything(mail)
    journal = opening._journal
    (row,) = [journal.intent(intent(one, account="local")) for one in session.arrivals(INBOX, Uid(1))]
    real, back = maildir._make_durable, mail / "cur" / "1700000009.R1.host:2,S"

    def slowly(folder):
        for file in (mail / ".Junk" / "new").iterdir():
            file.rename(back)
        real(folder)

    monkeypatch.setattr(maildir, "_make_durable", slowly)
    (ended,) = opening.mover(session, account).move([(row, row.source)])
    assert (ended.state, ended.target_uid) == (MoveState.DONE, 1)
    assert back.exists()
    assert session.uids(JUNK) == []
    assert session.status(JUNK).uid_next == 2, "the number is used up"
    assert session.uids(INBOX) == [2]
    assert everything(mail) == before


@pytest.mark.parametrize("name", ["1700000009.R1.host:2,S", "the old one"])
@pytest.mark.parametrize("when", ["numbered", "written", "told"])
def test_taken_back_at_once_is_learned(mail, tmp_path, monkeypatch, when, name):
    """Whatever the moment, and under whatever name: mail that comes back is a rescue, and stays."""
    account = Account(AccountName("local"), kind=SourceKind.MAILDIR, path=str(mail), mode=Mode.FILTERING)
    store = Store(tmp_path / "spamd.db")
    opening = Opening(NoSecrets(), store, paths=find({"SPAMD_HOME": str(tmp_path / "spamd")}))
    session, scorer = opening.session(account), ScriptedScorer()
    judge = Filter(session, opening.mover(session, account), store, scorer, account, evidence=lambda: PROVEN)
    learner = Learner(session, store, scorer, account, since=time.time() - 100)

    def look():
        found = learner.look()
        judge.judge(found.new)
        learner.settle(found)

    look()
    arrived = mail / "new" / f"{int(time.time())}.M1P1.host"
    arrived.write_bytes(b"From: a@shop.example\nSubject: offer\nMessage-ID: <1@x>\nScore: 0.99\n\nbody\n")
    before = everything(mail)

    def back():
        for file in (mail / ".Junk" / "new").iterdir():
            file.rename(arrived if name == "the old one" else mail / "cur" / name)

    adopt, durable = maildir.MaildirFolder.adopt, maildir._make_durable
    if when == "numbered":
        monkeypatch.setattr(
            maildir.MaildirFolder, "adopt", lambda self, mails: (back(), adopt(self, mails))[1]
        )
    elif when == "written":
        monkeypatch.setattr(maildir, "_make_durable", lambda folder: (back(), durable(folder)))
    look()
    monkeypatch.undo()
    if when == "told":
        back()
    look()
    look()
    assert [(one.label, one.source) for one in store.labels(account.name)] == [(Label.HAM, LabelSource.DRAG)]
    assert session.uids(JUNK) == []
    assert everything(mail) == before
    session.close()
    store.close()


def test_a_move_by_another_program_keeps_the_identity(mail, session):
    file = put(mail, "1700000000.M1P1.host", "one")
    (before,) = session.arrivals(INBOX, Uid(1))
    other = mail / ".Junk" / "cur" / "1800000000.R1.other:2,S"  # as mutt does: written anew
    other.write_bytes(b"Status: RO\n" + file.read_bytes())
    file.unlink()
    (after,) = session.arrivals(JUNK, Uid(1))
    assert after.identity == before.identity
    assert session.uids(INBOX) == []
    assert list(session.find(JUNK, before.identity, before.message_id)) == [after]


def test_only_what_is_marked_is_removed_and_nothing_where_the_numbers_are_others(mail, session):
    """However it is asked for: a mail of another program's may lie there by now."""
    for number in range(3):
        put(mail, f"{number}.host", f"mail {number}")
    commands = MaildirCommands(session.mailbox)
    here = OpenFolder(INBOX, session.status(INBOX).uid_validity)
    uids = [one.ref.uid for one in session.arrivals(INBOX, Uid(1))]
    commands.mark_deleted(here, uids[:1])
    assert commands.deleted(here) == {uids[0]}
    other = OpenFolder(INBOX, UidValidity(here.uid_validity + 1))
    with pytest.raises(FolderChanged):
        commands.expunge(other, uids[:1])
    commands.expunge(here, uids)
    assert [one.ref.uid for one in session.arrivals(INBOX, Uid(1))] == uids[1:]
    commands.mark_deleted(here, uids[1:])
    commands.clear_deleted(here, uids[1:])
    commands.expunge(here, uids)
    assert len(everything(mail)) == 2


def test_target_missing_or_read_only(mail, opening, account, session):
    put(mail, "1700000000.M1P1.host", "one")
    before = everything(mail)
    journal = opening._journal
    mover = opening.mover(session, account)
    (one,) = session.arrivals(INBOX, Uid(1))
    row = journal.intent(intent(one, FolderName("Nowhere"), account="local"))
    assert mover.move([(row, row.source)])[0].state is MoveState.FAILED
    if os.getuid():
        (mail / ".Junk" / "new").chmod(0o500)
        row = journal.intent(intent(one, account="local"))
        (failed,) = mover.move([(row, row.source)])
        (mail / ".Junk" / "new").chmod(0o700)
        assert failed.state is MoveState.FAILED
    assert everything(mail) == before


def test_watch_tells_of_new_mail(mail, opening, account):
    watch = opening.watch(account, INBOX)
    try:
        assert watch.wait(0.0) is False
        threading.Timer(0.2, put, (mail, "1700000000.M1P1.host", "one")).start()
        assert watch.wait(60.0) is True
        threading.Timer(0.2, watch.wake).start()
        assert watch.wait(60.0) is False
    finally:
        watch.close()


def test_hostile_names(mail, session):
    (mail / "new" / ".hidden").write_bytes(b"x")
    (mail / "new" / "folder").mkdir()
    (mail / "cur" / "a\tb:2,S").write_bytes(b"Subject: tab\n\n")
    (mail / "cur" / os.fsdecode(b"caf\xe9:2,")).write_bytes(b"Subject: latin\n\n")
    (mail / "cur" / "empty").write_bytes(b"")
    (mail / "cur" / "line\nbreak").write_bytes(b"Message-ID: <a\tb>\n\n")
    first = list(session.arrivals(INBOX, Uid(1)))
    assert len(first) == 3
    assert len(list(session.fetch([one.ref for one in first]))) == 3
