"""A Maildir whose Junk lies on another file system: killed at every step, a mail is in one place when it is over."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path

import pytest

from spamd.domain import Account, AccountName, MoveState, SourceKind, Uid
from spamd.opening import Opening
from spamd.paths import find
from spamd.store.database import Store
from tests.fakes.memory_mailbox import START, intent
from tests.unit.maildir.test_maildir import INBOX, JUNK, NoSecrets, everything, mail, put

__all__ = ["mail"]


@pytest.fixture(autouse=True)
def two_file_systems(monkeypatch):
    """A rename between folders is refused as the kernel refuses it between file systems."""
    real = Path.rename

    def rename(self, target):
        if self.parent.parent != Path(target).parent.parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)


def open_at(mail, store):
    home = find({"SPAMD_HOME": str(mail.parent / "spamd")})
    account = Account(AccountName("local"), kind=SourceKind.MAILDIR, path=str(mail))
    opening = Opening(NoSecrets(), store, paths=home, clock=lambda: START)
    return opening, account, opening.session(account)


def begin(mail, path, patch):
    """Move all mail to Junk with a journal on the disk."""
    with Store(path) as store:
        opening, account, session = open_at(mail, store)
        mover = opening.mover(session, account)
        rows = [store.intent(intent(one, account="local")) for one in session.arrivals(INBOX, Uid(1))]
        patch()
        return mover.move([(row, row.source) for row in rows])


def recover(mail, path):
    with Store(path) as store:
        opening, account, session = open_at(mail, store)
        opening.mover(session, account).recover()
        assert not store.open_moves("local")
        return [row.state for row in store.moves()]


def die_at(step):
    """SIGKILL at the step-th call that changes files or the journal."""
    left = [step]

    def patched(owner, name):
        real = getattr(owner, name)

        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        setattr(owner, name, call)

    for owner, name in (
        (Path, "rename"),
        (Path, "unlink"),
        (shutil, "copy2"),
        (shutil, "copystat"),
        (os, "fsync"),
        (Store, "advance"),
    ):
        patched(owner, name)


def test_killed_at_every_step(mail, tmp_path):
    for step in range(60):
        for file in [*mail.rglob("17*"), *mail.rglob("18*")]:
            file.unlink()
        put(mail, "1700000000.M1P1.host", "unread")
        put(mail, "1700000001.M1P1.host:2,S", "read", place="cur")
        put(mail, "1700000002.M1P1.host", "another")
        before = everything(mail)
        database = tmp_path / f"{step}.db"
        child = os.fork()
        if child == 0:
            try:
                begin(mail, database, lambda step=step: die_at(step))
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        recover(mail, database)
        assert everything(mail) == before, f"at step {step}"
        assert not [file for place in ("new", "cur") for file in (mail / place).iterdir()], f"at step {step}"
        names = sorted(file.name[-4:] for file in (mail / ".Junk" / "cur").iterdir())
        assert len([name for name in names if name.endswith(":2,S")]) == 1, f"at step {step}: {names}"
        if os.waitstatus_to_exitcode(status) == 0:
            break
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    else:
        pytest.fail("60 steps were not enough")
    assert step > 8


def test_the_original_cannot_be_removed(mail, tmp_path, monkeypatch):
    put(mail, "1700000000.M1P1.host", "one")
    before = everything(mail)
    real = Path.unlink

    def unlink(self, missing_ok=False):
        if self.parent.parent == mail:
            raise PermissionError(errno.EACCES, "Permission denied")
        real(self, missing_ok=missing_ok)

    (row,) = begin(mail, tmp_path / "x.db", lambda: monkeypatch.setattr(Path, "unlink", unlink))
    assert row.state is MoveState.FAILED
    assert everything(mail) == before
    assert not list((mail / ".Junk" / "new").iterdir())


@pytest.mark.parametrize("deed", ["read", "filed"])
def test_another_program_is_faster(mail, tmp_path, monkeypatch, deed):
    """Between the copy and the removal of the original."""
    file = put(mail, "1700000000.M1P1.host", "one")
    before = everything(mail)
    real = shutil.copy2

    def copy(source, target):
        real(source, target)
        to = mail / "cur" if deed == "read" else mail / ".Archive" / "cur"
        to.mkdir(parents=True, exist_ok=True)
        file.replace(to / (file.name + ":2,S"))  # not Path.rename, which is refused here

    (row,) = begin(mail, tmp_path / "x.db", lambda: monkeypatch.setattr(shutil, "copy2", copy))
    assert everything(mail) == before, "once"
    if deed == "read":
        assert row.state is MoveState.DONE
        assert len(list((mail / ".Junk").rglob("17*"))) + len(list((mail / ".Junk").rglob("18*"))) == 1
    else:
        assert row.state is MoveState.ABANDONED
        assert list((mail / ".Archive" / "cur").iterdir())


def test_nothing_is_left_over_without_a_crash(mail, tmp_path):
    put(mail, "1700000000.M1P1.host", "one")
    (row,) = begin(mail, tmp_path / "x.db", lambda: None)
    assert row.state is MoveState.DONE
    with Store(tmp_path / "x.db") as store:
        _, _, session = open_at(mail, store)
        assert session.uids(JUNK) == [row.target_uid]
        assert session.uids(INBOX) == []
    assert not list((mail / ".Junk" / "tmp").iterdir())
