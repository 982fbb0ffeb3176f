"""The real daemon in its own process, on real mail servers.

From delivery to Junk, and everything in between.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from spamd import cli, client, settings
from spamd.answers import AccountPhase
from spamd.daemon.process import lock
from spamd.domain import AccountName, Label, MoveState
from spamd.errors import AlreadyRunning, NotRunning
from tests.daemon.conftest import PATIENCE, wait_for
from tests.servers.mailhost import mail, normal, nothing_lost, snapshot

SERVERS = {"dovecot-maildir": {}, "dovecot-mdbox": {"storage": "mdbox"}}
JUNK_SENDER = "offers@junk-sender.example"


@pytest.fixture(params=[*SERVERS, "pymap"])
def host(request):
    if request.param in SERVERS:
        return request.getfixturevalue("dovecot")(**SERVERS[request.param])
    return request.getfixturevalue(request.param)


def spam(number: int | str) -> bytes:
    """A mail that the person's list calls junk, so that no test depends on the model's taste."""
    return mail(f"offer {number}", f"Buy number {number} now.", sender=JUNK_SENDER)


def ham(number: int | str) -> bytes:
    return mail(f"note {number}", f"See you at {number}.", sender="friend@home.example")


def block(running) -> None:
    with running.client() as client:
        client.add_to_list(JUNK_SENDER, Label.SPAM)


def folder(host, user, name):
    return sorted(normal(one.raw) for one in host.contents(user) if one.folder == name)


def moved(host, user, count):
    """So many lie in Junk, and each mail once: for a moment of its move it lies in both folders."""

    def settled():
        lying = host.contents(user)
        once = len({normal(one.raw) for one in lying}) == len(lying)
        return once and sum(one.folder == host.junk for one in lying) >= count

    return settled


def test_a_mail_arrives_is_judged_and_moved(running, host):
    user = host.new_user()
    host.append(user, ham(0))
    running.add(host.account(user))
    running.start()
    block(running)
    host.append(user, spam(1), ham(1))
    wait_for(moved(host, user, 1), "the move")
    assert len(folder(host, user, "INBOX")) == 2
    assert not snapshot(host, user).seen
    with running.client() as client:
        wait_for(lambda: len(client.judgements(limit=10)) == 2, "both verdicts")
        status = client.status()
        assert status.accounts[0].state.junk_folder == host.junk
    running.stop()


@pytest.mark.parametrize("host", ["dovecot-mdbox", "pymap"], indirect=True)
def test_a_drag_is_learned_and_a_rescue_holds(running, host):
    user = host.new_user()
    running.add(host.account(user))
    running.start()
    block(running)
    (first,) = host.append(user, ham("dragged"))
    host.append(user, spam("rescued"))
    wait_for(moved(host, user, 1), "the move")
    host.append(user, ham("later"))
    with nothing_lost(host, user), running.client() as client:
        wait_for(lambda: len(client.judgements()) == 3, "the verdicts")
        later = client.judgements(limit=1)[0].id
        host.move(user, [first], "INBOX", host.junk)
        wait_for(lambda: len(client.labels()) == 1, "the label")
        mails = [one for one in host.contents(user) if one.folder == host.junk]
        (rescued,) = [one.uid for one in mails if b"rescued" in one.raw]
        host.move(user, [rescued], host.junk, "INBOX")
        wait_for(lambda: len(client.labels()) == 2, "the second label")
        assert sorted(one.label for one in client.labels()) == [Label.HAM, Label.SPAM]
        client.wake(user)
        assert len(folder(host, user, "INBOX")) == 2, "what was rescued stays"
        client.answer(later, Label.SPAM)
        wait_for(lambda: client.judgement(later).moved, "the mail that the person called junk, and its row")
        client.undo_move(later)
        wait_for(lambda: len(folder(host, user, "INBOX")) == 2, "the undo")
    with nothing_lost(host, user):
        running.stop()


def test_its_folders_are_removed_while_it_runs(running, dovecot):
    """By a program that tidies up, or a slip of the hand. The ledger comes back, and no second filter gets in."""
    host = dovecot()
    user = host.new_user()
    running.add(host.account(user))
    running.start()
    block(running)
    (uid,) = host.append(user, ham(1))
    host.append(user, spam(1))
    wait_for(moved(host, user, 1), "the move")
    with running.client() as client:
        wait_for(lambda: len(client.judgements()) == 2, "the verdicts")
        host.move(user, [uid], "INBOX", host.junk)
        wait_for(client.labels, "the label")
    for place in ("state", "data", "log", "run"):
        shutil.rmtree(running.root / place)
    wait_for(running.paths.database.exists, "the filter to end, and to begin anew")
    with running.client() as client:
        assert any("database was removed" in event.text for event in client.events())
        assert len(client.judgements()) == 2
        assert len(client.labels()) == 1
    running.until(user, "watching")
    host.append(user, spam(2))
    wait_for(moved(host, user, 3), "the next move")
    with pytest.raises(AlreadyRunning), lock(running.paths.lock_file):
        pass
    assert running.paths.log_file.exists()
    running.stop()


@pytest.mark.parametrize("host", ["dovecot-maildir", "pymap"], indirect=True)
@pytest.mark.scenario(28)
def test_killed_at_random_moments(running, host):
    """kill -9 while mail arrives and moves: nothing lost, doubled or read, and no move left open."""
    rng = random.Random(20261129)
    user = host.new_user()
    running.add(host.account(user))
    running.start()
    block(running)
    sent = 0
    for _ in range(5):
        batch = [spam(sent + n) for n in range(8)]
        sent += len(batch)
        host.append(user, *batch)
        time.sleep(rng.random() * 0.8)  # the random moment itself
        running.kill()
        # What it had asked for last is still carried out: the mail is on its way from one folder to the other.
        wait_for(lambda sent=sent: sum(snapshot(host, user).bodies.values()) == sent, "all mails, each once")
        running.start(wait=False)
    running.until(user, "watching")
    wait_for(moved(host, user, sent), "the rest of the moves")
    after = snapshot(host, user)
    assert set(after.bodies.values()) == {1}
    assert sum(after.bodies.values()) == sent
    assert not after.seen
    running.stop()
    with running.store() as store:
        assert not store.open_moves(user)
        assert not store.labels(), "our own moves are no corrections, whatever was interrupted"
        states = {row.state for row in store.moves(AccountName(user), limit=1000)}
        assert MoveState.DONE in states


def test_the_person_drags_while_the_daemon_is_away(running, dovecot):
    host = dovecot()
    user = host.new_user()
    running.add(host.account(user))
    running.start()
    uids = host.append(user, *(ham(n) for n in range(4)))
    with running.client() as client:
        wait_for(lambda: len(client.judgements()) == 4, "the verdicts")
    running.stop()
    host.move(user, uids[:2], "INBOX", host.junk)
    running.start()
    with running.client() as client:
        wait_for(lambda: len(client.labels()) == 2, "the labels")
        assert {one.label for one in client.labels()} == {Label.SPAM}


def test_two_accounts_and_one_cannot_sign_in(running, dovecot):
    host = dovecot(storage="mdbox")
    one, two, locked = host.new_user(), host.new_user(), host.new_user()
    running.add(host.account(one))
    running.add(host.account(two))
    running.add(host.account(locked), secret="wrong")
    running.start(one, two)
    block(running)
    host.append(one, spam(1))
    host.append(two, spam(2))
    wait_for(moved(host, one, 1), "the first account")
    wait_for(moved(host, two, 1), "the second account")
    running.until(locked, "sign-in")
    with running.client() as client:
        told = wait_for(
            lambda: [event for event in client.events(needs_person=True) if event.account == locked],
            "the person to be told",
        )
        assert len(told) == 1
        client.set_secret(locked, "pw")
    running.until(locked, "watching")
    with running.client() as client:
        client.pause(account=one)
    host.append(one, spam(3))
    host.append(two, spam(4))
    wait_for(moved(host, two, 2), "the account that is not paused")
    with running.client() as client:
        wait_for(lambda: len(client.judgements(account=one)) == 2, "the verdict of the paused account")
        assert client.judgements(account=one)[0].decision.reason == "paused"
        assert len(folder(host, one, host.junk)) == 1
        client.remove_account(two)
        wait_for(lambda: {view.account.name for view in client.accounts()} == {one, locked}, "the removal")


def test_the_settings_change_while_it_runs(running, dovecot):
    host = dovecot()
    first, second = host.new_user(), host.new_user()
    running.add(host.account(first))
    running.start()
    running.add(host.account(second))
    running.until(second, "watching")
    block(running)
    settings.update_account(running.paths.config_file, second, mode="learning")
    with running.client() as client:
        wait_for(lambda: client.account(second).state.mode == "learning", "the mode")
        running.until(second, "watching")
        host.append(second, spam(1))
        wait_for(lambda: len(client.judgements(account=second)) == 1, "the verdict")
        assert client.judgements(account=second)[0].decision.reason == "learning"
    text = running.paths.config_file.read_text()
    running.paths.config_file.write_text("this is = not = toml")
    with running.client() as client:
        wait_for(lambda: client.events(needs_person=True), "the complaint")
    running.paths.config_file.write_text(text)
    host.append(first, spam(2))
    wait_for(moved(host, first, 1), "filtering goes on")


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.scenario(1, 8)
def test_the_server_goes_away_and_comes_back(running, dovecot, how):
    host = dovecot(fresh=True)
    user = host.new_user()
    running.add(host.account(user))
    running.start()
    block(running)
    host.append(user, spam(1))
    wait_for(moved(host, user, 1), "the move")
    getattr(host, how)()
    running.until(user, "offline")
    host.start()
    running.until(user, "watching")
    host.append(user, spam(2))
    wait_for(moved(host, user, 2), "the move after the return")
    assert sum(snapshot(host, user).bodies.values()) == 2
    running.stop()


@pytest.mark.scenario(10)
def test_kicked_again_and_again(running, dovecot):
    host = dovecot(fresh=True)
    user = host.new_user()
    running.add(host.account(user))
    running.start()
    block(running)
    for number in range(6):
        host.append(user, spam(number))
        host.doveadm("kick", user)
    wait_for(moved(host, user, 6), "all moves")
    after = snapshot(host, user)
    assert set(after.bodies.values()) == {1}
    assert not after.seen


def test_a_second_start_says_so(running, dovecot):
    host = dovecot()
    running.add(host.account(host.new_user()))
    running.start()
    again = subprocess.run(
        [sys.executable, "-m", "spamd", "run"],
        env={**os.environ, "SPAMD_HOME": str(running.root)},
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert again.returncode == 3
    assert b"runs already" in again.stderr
    assert running.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.scenario(7)
def test_it_stops_while_the_server_hangs(running, dovecot, number):
    host = dovecot(fresh=True)
    user = host.new_user()
    running.add(host.account(user))
    running.start()
    host.freeze()
    with running.client() as client:
        client.wake(user)
    running.process.send_signal(number)
    assert running.process.wait(PATIENCE) == 0
    assert not running.paths.run_file.exists()
    host.thaw()


def test_one_that_is_held_up_is_not_called_absent(running, monkeypatch, capsys):
    running.start()
    with running.client():
        pass
    monkeypatch.setattr(client, "QUICK", 0.5)
    running.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(NotRunning, match="does not answer"):
            client.Client.connect(running.paths)
        monkeypatch.setenv("SPAMD_HOME", str(running.root))
        for command in ("stop", "status"):
            assert cli.run([command]) == 1
            assert capsys.readouterr().err.splitlines()[1].startswith("It is very busy"), command
    finally:
        running.process.send_signal(signal.SIGCONT)
    running.stop()


def test_it_stops_though_who_started_it_had_the_signals_blocked(running):
    """As the icon has, whose menu starts it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        running.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with running.client():
        running.stop()


def test_it_stops_in_the_middle_of_a_first_reading_and_goes_on_later(running, dovecot):
    host = dovecot()
    user = host.new_user()
    host.append(user, *(mail(f"cheap {number}") for number in range(900)), folder="Junk")
    running.add(host.account(user))
    running.start()

    def reading(client):
        return next((one for one in client.progress() if one.kind == "first-reading"), None)

    with running.client() as client:
        client.start_first_reading(user)
        under_way = wait_for(lambda: (one := reading(client)) and one.done and one, "the reading to begin")
        assert not under_way.finished, "nothing was broken off"
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(PATIENCE) == 0
    assert "cut off" not in running.output()
    assert "Traceback" not in running.output()
    running.start()
    with running.client() as client:
        wait_for(lambda: (one := reading(client)) and one.finished, "the rest by itself")
    with running.store() as store:
        assert len(list(store.ledger())) == 900, "each mail once"


@pytest.mark.train
def test_it_stops_in_the_middle_of_a_night(running, dovecot):
    """The trainer, a process of its own, goes with it; what serves is what served before."""
    host = dovecot()
    user = host.new_user()
    host.append(user, *(mail(f"cheap {number}") for number in range(30)), folder="Junk")
    letters = [mail(f"letter {number}", "Dear Ann") for number in range(30)]
    host.append(user, *letters, flags=[r"\Answered", r"\Seen"])
    running.add(host.account(user))
    running.start()
    daemon = psutil.Process(running.process.pid)

    def trainers():
        return [one for one in daemon.children(recursive=True) if "spamd.training" in one.cmdline()]

    with running.client() as client:
        client.start_first_reading(user)
        wait_for(lambda: client.labels(limit=1), "something to learn from")
        wait_for(lambda: any(one.finished for one in client.progress()), "the reading to end")
        before = client.models().current.id
        client.train()
        children = wait_for(trainers, "the trainer")
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(PATIENCE) == 0
    assert psutil.wait_procs(children, timeout=30)[1] == []
    assert "Traceback" not in running.output()
    running.start()
    with running.client() as client:
        assert client.models().current.id == before
        assert not [one for one in client.events() if one.needs_person], "a stop is no failure"


def test_the_first_reading_through_the_api(running, dovecot):
    """With two connections, which is all that an account may have: the server refuses a third."""
    host = dovecot(storage="mdbox", connection_limit=2, compress=True)
    user = host.new_user()
    host.append(user, *(spam(n) for n in range(30)), folder=host.junk)
    host.create(user, "Keep")
    host.append(user, *(ham(n) for n in range(30)), folder="Keep")
    running.add(host.account(user), mode=None)
    before = snapshot(host, user)
    running.start()
    with running.client() as client:
        wait_for(lambda: client.account(user).state.phase is AccountPhase.WATCHING, "watching")
        client.start_first_reading(user)
        wait_for(lambda: any(p.finished for p in client.progress()), "the first reading")
        assert len(client.labels(limit=100)) == 60
        evidence = client.account(user).state.evidence
        assert evidence.ham_missing > 0
        assert "more good mails until I may move anything" in evidence.explanation
    running.stop()
    assert snapshot(host, user) == before


def test_a_mail_file_is_taught(running, dovecot):
    host = dovecot()
    running.add(host.account(host.new_user()))
    running.start()
    (running.paths.teach_spam / "one.eml").write_bytes(spam("taught"))
    with running.client() as client:
        wait_for(lambda: len(client.labels()) == 1, "the lesson")
        assert client.labels()[0].source == "teach"
    wait_for((running.paths.teach_spam / "learned" / "one.eml").exists, "the file to be put aside")
