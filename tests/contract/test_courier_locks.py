"""Courier locks a folder for each look at it. Here nobody waits longer for that than the lock is there: soaks ended, and
tests of two computers, because a SELECT had no answer for two minutes."""

from __future__ import annotations

import os
import signal

import pytest

from tests.daemon.conftest import wait_for
from tests.servers.mailhost import mail


@pytest.fixture
def locked(courier):
    """(user, lock): the inbox is locked by a process that lives."""
    user = courier.new_user()
    courier.append(user, mail("one"))
    lock = courier.folder / user / "Maildir/tmp/courier.lock"
    lock.write_text(f"{os.getpid()}:{os.uname().nodename}")
    yield user, lock
    lock.unlink(missing_ok=True)


def test_a_lock_is_waited_for_as_long_as_it_is_there(courier, locked):
    user, lock = locked
    courier.monitor.asked.clear()
    with courier.oracle(user) as imap:
        imap.send(b"w1 SELECT INBOX\r\n")
        wait_for(courier.met_a_lock, "Courier to meet the lock")
        lock.unlink()
        lines = []
        while not lines or not lines[-1].startswith(b"w1 "):
            lines.append(imap.readline())
        assert lines[-1].startswith(b"w1 OK"), lines
    assert len(courier.contents(user)) == 1


def test_the_lock_of_a_process_that_was_killed_is_broken(courier, locked):
    user, lock = locked
    known = set(courier.processes)
    with courier.oracle(user) as imap:
        imap.noop()
        (mine,) = set(courier.processes) - known
        lock.write_text(f"{mine.pid}:{os.uname().nodename}")
        mine.send_signal(signal.SIGKILL)
        assert imap.readline() == b""
        wait_for(lambda: mine not in courier.processes, "its burial")  # not asked for by anybody
    assert len(courier.contents(user)) == 1
    assert not lock.exists()
