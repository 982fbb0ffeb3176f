"""A disk that is full to the last byte, for real: the filter waits for room, says so, and goes on by itself."""

from __future__ import annotations

import pytest

from spamd.client import Client
from spamd.errors import NotRunning, SpamdError
from tests.daemon.conftest import Running, wait_for
from tests.daemon.test_daemon import block, folder, ham, moved, spam


@pytest.fixture
def full(small_disk, invariant):
    made = Running(small_disk.path / "spamd", disk=small_disk)
    yield made
    made.end()


@pytest.mark.parametrize("before", ["never started", "stopped", "killed"])
def test_a_start_waits_for_room(full, small_disk, pymap, before):
    """Who starts it with the session (systemd) would give up after a few tries, for good."""
    user = pymap.new_user()
    full.add(pymap.account(user))
    if before != "never started":
        full.start()
        full.stop() if before == "stopped" else full.kill()
    small_disk.fill()
    full.start(wait=False)
    with pytest.raises(NotRunning, match="no room on the disk"):
        Client.connect(full.paths)
    small_disk.make_room()
    full.until(user, "watching")
    pymap.append(user, ham(1))
    with full.client() as client:
        wait_for(client.judgements, "the verdict")
    full.stop()


def test_a_filter_that_waits_for_room_can_be_stopped(full, small_disk):
    small_disk.fill()
    full.start(wait=False)
    wait_for(lambda: signals_are_taken(full.process.pid), "the filter to be there")
    full.stop()


def signals_are_taken(pid: int) -> bool:
    """SIGTERM is caught."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:  # noqa: PTH123
        caught = next(line for line in status if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> 14 & 1)


def test_a_disk_that_fills_up_while_it_runs(full, small_disk, dovecot):
    host = dovecot()
    user = host.new_user()
    full.add(host.account(user))
    full.start()
    block(full)
    host.append(user, spam(1))
    with full.client() as client:  # it moved, and that is written down
        wait_for(lambda: any(one.moved for one in client.judgements()), "the first move")
    small_disk.fill()
    host.append(user, spam(2), ham(2))
    with full.client() as client:
        state = wait_for(lambda: (one := client.account(user).state).phase == "error" and one, "the error")
        assert "no space left" in state.detail
        for ask in (lambda: client.pause(seconds=60), lambda: client.undo_move(1)):
            with pytest.raises(SpamdError, match="no space left"):
                ask()
        client.train()
        wait_for(lambda: any(one.error for one in client.progress()), "the word about the training")
        small_disk.make_room()
        full.until(user, "watching")
        wait_for(moved(host, user, 2), "the move that had to wait")
        wait_for(lambda: len(client.judgements()) == 3, "the verdicts")
    assert len(folder(host, user, "INBOX")) == 1
    small_disk.fill()
    full.stop()
    assert "Traceback" not in full.output()
