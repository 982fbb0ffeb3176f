"""One daemon per mailbox on a computer, even with homes of their own; a dead one holds nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from spamd.domain import Account, AccountName, SourceKind
from spamd.errors import ServerBusy, StoreBusy
from spamd.file_lock import FileLock, locked
from spamd.mailbox import lease

HOLD = """
import sys
from pathlib import Path
from spamd.domain import Account, AccountName
from spamd.errors import ServerBusy
from spamd.mailbox import lease
try:
    lease.take(Account(AccountName("x"), host="imap.example.org", user="me"), Path(sys.argv[1]))
except ServerBusy:
    print("busy", flush=True)
else:
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def account():
    account = Account(AccountName("home"), host="IMAP.example.org.", user="me")
    yield account
    lease.give_up(account)


def start(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, process.stdout.readline().strip()


def finish(process):
    process.kill()
    process.communicate(timeout=60)


def test_another_process_is_kept_away(account, tmp_path):
    lease.take(account, tmp_path)
    lease.take(account, tmp_path)  # a reconnect
    process, said = start(tmp_path)
    finish(process)
    assert said == "busy"
    lease.give_up(account)
    process, said = start(tmp_path)
    assert said == "held"
    finish(process)  # killed: the system takes the lock back
    lease.take(account, tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="no open file can be removed there")
def test_a_lock_that_was_removed_is_taken_again(account, tmp_path):
    """By whoever tidies up the folder for temporary files. With the next connection nobody else gets in."""
    lease.take(account, tmp_path)
    (file,) = tmp_path.glob("*.lock")
    file.unlink()
    lease.take(account, tmp_path)
    process, said = start(tmp_path)
    finish(process)
    assert said == "busy"
    file.unlink()
    process, said = start(tmp_path)
    assert said == "held"
    with pytest.raises(ServerBusy):
        lease.take(account, tmp_path)
    finish(process)
    lease.take(account, tmp_path)


def test_a_lock_that_is_held_for_long_is_no_old_file(account, tmp_path):
    lease.take(account, tmp_path)
    (file,) = tmp_path.glob("*.lock")
    os.utime(file, (0.0, 0.0))
    lease.keep()
    assert min(file.stat().st_atime, file.stat().st_mtime) > time.time() - 3600.0
    file.unlink()
    lease.keep()
    assert not file.exists()


def test_no_folder_means_no_protection_and_no_error(account, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    lease.take(account, blocked / "below")


def test_key(tmp_path):
    def key(**values):
        return lease.mailbox_key(Account(AccountName("any"), **values))

    assert key(host="a.example", user="x") == key(host="A.Example.", user="x")
    assert key(host="a.example", user="x") != key(host="a.example", user="X")
    (tmp_path / "mail").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mail")
    kind = SourceKind.MAILDIR
    assert key(kind=kind, path=str(tmp_path / "mail")) == key(kind=kind, path=str(tmp_path / "link"))


def test_waiting_for_a_lock(tmp_path):
    path = tmp_path / "below" / "lock"
    lock = FileLock(path)
    assert lock.take("a note")
    assert not FileLock(path).take()
    with pytest.raises(StoreBusy), locked(path, seconds=0.05):
        pass
    threading.Timer(0.1, lock.release).start()
    with locked(path, seconds=60):
        assert not FileLock(path).take()
    with FileLock(path) as again:
        assert again.take()
    assert not lock.held
