"""The real daemon on mail that lies on this computer: a Maildir and an mbox."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from spamd.domain import Account, AccountName, Label, SourceKind
from tests.daemon.conftest import wait_for
from tests.servers.mailhost import mail

JUNK_SENDER = "offers@junk-sender.example"


def spam(number: int) -> bytes:
    return mail(f"offer {number}", f"Buy number {number} now.", sender=JUNK_SENDER)


def ham(number: int) -> bytes:
    return mail(f"note {number}", f"See you at {number}.", sender="friend@home.example")


@pytest.fixture
def maildir(tmp_path):
    path = tmp_path / "Maildir"
    for folder in (path, path / ".Junk", path / ".Archive"):
        for place in ("cur", "new", "tmp"):
            (folder / place).mkdir(parents=True)
    return path


def deliver(path: Path, name: str, raw: bytes) -> None:
    """As the rules say: written in tmp, renamed into new."""
    (path / "tmp" / name).write_bytes(raw)
    (path / "tmp" / name).rename(path / "new" / name)


def mails(path: Path) -> list[Path]:
    return sorted(file for place in ("new", "cur") for file in (path / place).iterdir())


def everything(path: Path) -> Counter[bytes]:
    return Counter(
        file.read_bytes() for file in path.rglob("*") if file.is_file() and file.parent.name in ("new", "cur")
    )


def test_maildir_junk_moves_and_a_rescue_holds(running, maildir):
    running.add(Account(AccountName("local"), kind=SourceKind.MAILDIR, path=str(maildir)), secret="unused")
    running.start()
    with running.client() as client:
        client.add_to_list(JUNK_SENDER, Label.SPAM)
    good, bad = ham(1), spam(1)
    deliver(maildir, "1700000001.M1P1.host", good)
    deliver(maildir, "1700000002.M1P1.host", bad)
    wait_for(lambda: len(mails(maildir / ".Junk")) == 1, "the move")
    (junk,) = mails(maildir / ".Junk")
    assert b"offer 1" in junk.read_bytes()
    assert junk.parent.name == "new", "still unread"
    assert everything(maildir) == Counter([good, bad])
    with running.client() as client:  # a person is not faster than the journal
        wait_for(lambda: any(one.moved for one in client.judgements(limit=5)), "the journal")
    # The person takes it back, with any program, and opens it: it stays.
    junk.rename(maildir / "cur" / "1700000009.R1.host:2,S")
    with running.client() as client:
        wait_for(lambda: client.labels(limit=5), "the lesson")
        assert client.labels(limit=5)[0].label is Label.HAM
    deliver(maildir, "1700000010.M1P1.host", spam(2))
    wait_for(lambda: len(mails(maildir / ".Junk")) == 1, "the next one")
    assert len(mails(maildir)) == 2
    running.stop()


def test_mbox_is_judged_and_left_alone(running, tmp_path):
    box = tmp_path / "inbox"
    box.write_bytes(b"")
    running.add(Account(AccountName("box"), kind=SourceKind.MBOX, path=str(box)), secret="unused")
    running.start()
    with running.client() as client:
        client.add_to_list(JUNK_SENDER, Label.SPAM)
        with box.open("ab") as file:
            file.write(b"From x Mon Nov 02 10:00:00 2026\n" + spam(1).replace(b"\r\n", b"\n") + b"\n")
        content = box.read_bytes()
        wait_for(lambda: client.judgements(limit=5), "the verdict")
    assert box.read_bytes() == content
    running.stop()
