"""mbox: seen and judged, never changed. Teach folders: a file dropped there is a label."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spamd.domain import Account, AccountName, FolderName, Label, MoveState, SourceKind, Uid
from spamd.errors import FolderMissing
from spamd.judgement import corrections
from spamd.maildir.teach import TeachFolder
from spamd.opening import Opening
from spamd.paths import find
from tests.fakes.memory_mailbox import START, MemoryJournal, intent

INBOX = FolderName("INBOX")


def entry(subject: str, status: str = "") -> bytes:
    lines = [
        "From a@example.org Mon Nov 02 10:00:00 2026",
        f"Subject: {subject}",
        f"Message-ID: <{subject}@x>",
    ]
    if status:
        lines.append(f"Status: {status}")
    return "\n".join([*lines, "", f"body of {subject}", ">From here on it is quoted", "", ""]).encode()


@pytest.fixture
def box(tmp_path):
    path = tmp_path / "mail" / "inbox"
    path.parent.mkdir()
    path.write_bytes(entry("one", "RO") + entry("two"))
    (path.parent / "Junk").write_bytes(b"")
    (path.parent / "notes").write_bytes(b"no mail at all")
    return path


@pytest.fixture
def opening(tmp_path):
    home = find({"SPAMD_HOME": str(tmp_path / "spamd")})
    return Opening(lambda account: pytest.fail("no secret"), MemoryJournal(), paths=home, clock=lambda: START)


@pytest.fixture
def account(box):
    return Account(AccountName("box"), kind=SourceKind.MBOX, path=str(box))


@pytest.fixture
def session(opening, account):
    return opening.session(account)


def test_reads_and_leaves_alone(box, session):
    before = box.read_bytes(), box.stat().st_mtime_ns
    assert [(one.name, one.role, one.read_only) for one in session.folders()] == [
        ("INBOX", "inbox", True),
        ("Junk", "junk", True),
    ]
    one, two = session.arrivals(INBOX, Uid(1))
    assert (one.message_id, one.flags, two.flags) == ("one@x", {"\\Seen"}, frozenset())
    assert one.internal_date > 1_700_000_000
    first = next(session.fetch([one.ref]))
    assert first.raw.startswith(b"Subject: one\n")
    assert b"\nFrom here on" in first.raw
    assert first.complete
    assert (box.read_bytes(), box.stat().st_mtime_ns) == before


def test_a_sender_cannot_write_our_signs(box, session):
    """X-Keywords come with the mail: whoever sent it wrote them. (Servers that keep mbox files: docs/LOG.md.)"""
    forged = (
        b"From a@example.org Mon Nov 02 10:00:00 2026\nX-Keywords: $SpamdMoved Junk $SpamdStamped\nX-UID: 3\n"
    )
    box.write_bytes(forged + entry("three").split(b"\n", 1)[1])
    (arrival,) = session.arrivals(INBOX, Uid(1))
    assert arrival.flags == frozenset()
    assert not corrections.held_or_signed(arrival.flags)


def test_uids_survive_new_mail_and_removed_mail(box, opening, account, session):
    assert session.uids(INBOX) == [1, 2]
    box.write_bytes(entry("two", "RO") + entry("three") + entry("three"))  # as a mail program rewrites it
    again = opening.session(account)
    assert [(one.ref.uid, one.message_id) for one in again.arrivals(INBOX, Uid(1))] == [
        (2, "two@x"),
        (3, "three@x"),
        (4, "three@x"),
    ]
    assert session.uids(INBOX) == [2, 3, 4]
    assert [
        one.raw.startswith(b"Subject: three")
        for one in session.fetch([a.ref for a in again.arrivals(INBOX, Uid(3))])
    ] == [True, True]


def test_a_mail_keeps_its_identity_in_another_file(box, session):
    one, _ = session.arrivals(INBOX, Uid(1))
    box.write_bytes(entry("two"))
    (box.parent / "Junk").write_bytes(entry("one", "O"))
    (moved,) = session.arrivals(FolderName("Junk"), Uid(1))
    assert moved.identity == one.identity


def test_moves_are_refused_in_words(box, opening, account, session):
    before = box.read_bytes()
    journal = opening._journal
    one, _ = session.arrivals(INBOX, Uid(1))
    row = journal.intent(intent(one, FolderName("Junk"), account="box"))
    (ended,) = opening.mover(session, account).move([(row, row.source)])
    assert ended.state is MoveState.FAILED
    assert "watched" in ended.error
    assert box.read_bytes() == before


def test_named_junk_file_and_missing_inbox(box, opening, tmp_path):
    (tmp_path / "spam").write_bytes(entry("bad"))
    named = Account(
        AccountName("box"), kind=SourceKind.MBOX, path=str(box), junk=FolderName(str(tmp_path / "spam"))
    )
    session = opening.session(named)
    junk = session.junk_folder()
    assert junk is not None
    assert session.status(junk).messages == 1
    box.unlink()
    with pytest.raises(FolderMissing):
        session.status(INBOX)


@pytest.mark.parametrize(
    "raw", [b"", b"\n\n", b"From ", b"no mail", b"From x\nSubject: y\n\nz", os.urandom(5000)]
)
def test_odd_files(box, session, raw):
    box.write_bytes(raw)
    for one in session.arrivals(INBOX, Uid(1)):
        assert list(session.fetch([one.ref]))


def test_watch(box, opening, account):
    watch = opening.watch(account, INBOX)
    try:
        assert watch.wait(0.0) is False
        with box.open("ab") as file:
            file.write(entry("three"))
        assert watch.wait(60.0) is True
    finally:
        watch.close()


# -- teach


@pytest.fixture
def teach(tmp_path):
    spam, ham = tmp_path / "spam", tmp_path / "ham"
    spam.mkdir()
    ham.mkdir()
    return TeachFolder(spam, ham, clock=lambda: 10**10)


def drop(folder: Path, name: str, raw: bytes = b"Subject: x\n\nbody") -> Path:
    path = folder / name
    path.write_bytes(raw)
    return path


def test_dropped_files_are_labels(teach):
    drop(teach.folders[Label.SPAM], "bad.eml")
    drop(teach.folders[Label.HAM], "good.EML", b"From x Mon Nov 02 10:00:00 2026\nSubject: y\n\nz")
    found = list(teach.collect())
    assert [(one.label, one.path.name) for one in found] == [(Label.SPAM, "bad.eml"), (Label.HAM, "good.EML")]
    assert len(list(teach.collect())) == 2, "not taught until done() is called"
    for one in found:
        teach.done(one)
    assert list(teach.collect()) == []
    assert not teach.pending()
    drop(teach.folders[Label.SPAM], "bad.eml", b"Subject: another\n\n")
    (again,) = teach.collect()
    teach.done(again)
    learned = teach.folders[Label.SPAM] / "learned"
    assert sorted(path.name for path in learned.iterdir()) == ["bad-2.eml", "bad.eml"]


def test_what_is_no_mail_is_put_aside(teach):
    spam = teach.folders[Label.SPAM]
    drop(spam, "picture.eml", b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    drop(spam, "notes.pdf")
    drop(spam, ".hidden.eml")
    (spam / "folder.eml").mkdir()
    (spam / "link.eml").symlink_to(spam / "notes.pdf")
    assert list(teach.collect()) == []
    assert (spam / "refused" / "picture.eml").exists()


def test_a_file_still_being_written_waits(tmp_path, teach):
    path = drop(teach.folders[Label.HAM], "slow.eml")
    young = TeachFolder(*teach.folders.values(), clock=lambda: path.stat().st_mtime)
    assert list(young.collect()) == []
    assert young.pending()


def test_missing_folders(tmp_path):
    assert list(TeachFolder(tmp_path / "no", tmp_path / "nowhere").collect()) == []
