"""daemon: the lock, the notices to systemd, pauses, sleep; with a mailbox in memory and the real model."""

from __future__ import annotations

import itertools
import os
import queue
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from spamd import daemon as daemon_module
from spamd import paths, settings
from spamd.answers import AccountPhase
from spamd.credentials import Secrets
from spamd.daemon import Daemon, readings
from spamd.daemon.process import lock, notify
from spamd.domain import Account, AccountName, AuthMethod, Label, ListEntry, Mode
from spamd.errors import AlreadyRunning, ConfigError, NotFound, SecretMissing, SignInError, SpamdError
from spamd.mailbox.network import Network, News
from spamd.store.database import Store
from spamd.upgrade import Program
from tests.fakes.memory_mailbox import MemoryServer
from tests.servers.authorisation import authorisation
from tests.unit.test_account_worker import Opener, wait_for
from tests.unit.test_filtering import mail

__all__ = ["authorisation"]

ME = AccountName("home")


def test_one_daemon_per_home(tmp_path):
    path = tmp_path / "run" / "daemon.lock"
    with lock(path):
        with pytest.raises(AlreadyRunning), lock(path):
            pass
        code = f"from spamd.daemon.process import lock; from pathlib import Path\nwith lock(Path({str(path)!r})): pass"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
        assert b"AlreadyRunning" in other.stderr
    with lock(path):
        pass


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets")
def test_systemd_is_told(socket_folder, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(socket_folder / "n"))
        listener.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(socket_folder / "n"))
        notify("READY=1")
        assert listener.recv(100) == b"READY=1"
    notify("READY=1")  # nobody listens: nothing happens
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")


class Running:
    """A daemon in a thread of this process."""

    def __init__(self, root, program=None, trainer=None):
        self.now = time.time()
        self.paths = paths.find({"SPAMD_HOME": str(root)})
        self.paths.make()
        settings.save(self.paths.config_file, {"secrets": "file"})
        account = Account(ME, host="localhost", user="me", mode=Mode.FILTERING)
        if not settings.load(self.paths.config_file).accounts:
            settings.add_account(self.paths.config_file, account)
        self.server = MemoryServer()
        self.opener = Opener(self.server, None)
        self.store = None
        self.failed = None
        self.daemon = Daemon(
            self.paths,
            clock=lambda: self.now + time.time(),
            opener=self.reach,
            trainer=trainer,
            rng=random.Random(1),
            serve=False,
            program=program,
        )
        self.now = 0.0

    def start(self, *, well=True):
        self.thread = threading.Thread(target=self.run, name="daemon under test")
        self.thread.start()
        wait_for(lambda: self.daemon.wait_until_ready(0.05) or self.failed, "the start")
        assert not (well and self.failed), self.failed
        return self

    def reach(self, store):
        self.store = self.opener.store = store
        return self.opener

    def run(self):
        try:
            self.daemon.run()
        except SpamdError as error:
            self.failed = error

    def state(self, name=ME):
        return next((one for one in self.daemon.account_states() if one.name == name), None)

    def phase(self, name=ME):
        return state.phase if (state := self.state(name)) else None

    def pause(self, name=ME):
        """Paused, and until when."""
        wait_for(lambda: self.phase(name) in (AccountPhase.WATCHING, AccountPhase.PAUSED), "watching")
        return self.phase(name) is AccountPhase.PAUSED, self.state(name).paused_until

    def secrets(self):
        return Secrets.choose(settings.load(self.paths.config_file), self.paths)

    def stop(self):
        self.daemon.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture
def beats(monkeypatch):
    """A quick pulse; looked: it beats. news: what is to be seen of the network."""

    class Beats:
        news = queue.SimpleQueue()
        looked = threading.Event()

        @classmethod
        def two(cls):
            """Until what was due before this call is done: the network is looked at first."""
            for _ in range(2):
                cls.looked.clear()
                assert cls.looked.wait(60)

    def look(self):
        Beats.looked.set()
        return News.NOTHING if Beats.news.empty() else Beats.news.get()

    monkeypatch.setattr(daemon_module, "PULSE", 0.05)
    monkeypatch.setattr(Network, "look", look)
    return Beats


@pytest.fixture
def running(tmp_path):
    made = Running(tmp_path / "home")
    made.start()
    yield made
    made.stop()


def test_told_to_stop_right_after_its_database_was_removed_it_writes_it_back(tmp_path):
    """Before the next look at the clock, which would have seen it."""
    running = Running(tmp_path / "home").start()
    running.daemon.control.lists.add("shop.example", Label.SPAM)
    shutil.rmtree(running.paths.database.parent)
    running.stop()
    with Store(running.paths.database, read_only=True) as store:
        assert [one.value for one in store.list_entries()] == ["shop.example"]
        assert any("was written back" in event.text for event in store.events())


def test_it_runs_and_answers(running):
    daemon = running.daemon
    wait_for(lambda: running.phase() is AccountPhase.WATCHING, "watching")
    control = daemon.control
    control.lists.add("shop.example", Label.SPAM)
    running.server.deliver(mail(1))
    wait_for(lambda: running.server.raws("Junk"), "the move")
    (judgement,) = wait_for(control.mail.recent, "the verdict")
    why = control.mail.why(judgement.id)
    assert why.subject == "mail 1"
    assert control.status().accounts[0].state.mode is Mode.FILTERING
    control.moves.undo_one(judgement.id)
    wait_for(lambda: running.server.raws("INBOX"), "the undo")
    with pytest.raises(NotFound):
        daemon.go_on(AccountName("nobody"))


@pytest.mark.parametrize("another", [False, True])
def test_a_rescued_database_serves_or_is_one_copy_more(tmp_path, another):
    """Where another one was put in its place meanwhile, it neither comes back later nor outlives a wipe."""
    running = Running(tmp_path / "home")
    place = running.paths
    with Store(place.rescued_database) as store:
        store.add_list_entry(ListEntry("rescued.example", Label.HAM, 0.0))
    if another:
        with Store(place.database) as store:
            store.add_list_entry(ListEntry("restored.example", Label.HAM, 0.0))
    running.start()
    try:
        (entry,) = running.daemon.control.lists.all()
        assert entry.value == ("restored.example" if another else "rescued.example")
        assert not place.rescued_database.exists()
        running.daemon.control.wipe("all")
    finally:
        running.stop()
    left = [one for one in (tmp_path / "home").rglob("*") if one.is_file()]
    assert left and not [one for one in left if b"rescued.example" in one.read_bytes()]


def test_pauses_end_and_survive(beats, tmp_path):
    running = Running(tmp_path / "home").start()
    daemon = running.daemon
    wait_for(lambda: running.phase() is AccountPhase.WATCHING, "watching")
    daemon.pause(None, None)
    assert running.phase() is AccountPhase.PAUSED
    daemon.control.lists.add("shop.example", Label.SPAM)
    running.server.deliver(mail(1))
    wait_for(daemon.control.mail.recent, "the verdict")
    assert running.server.raws("Junk") == []
    running.stop()
    again = Running(tmp_path / "home").start()
    again.server = running.server
    assert again.pause() == (True, None)
    again.daemon.resume(ME)
    assert again.pause() == (False, None)
    again.daemon.pause(ME, time.time() + 3600)
    assert again.pause()[0]
    again.now = 7200.0
    assert again.pause() == (False, None)
    wait_for(lambda: again.store.state("pauses") == "{}", "what is over to be forgotten")
    end = time.time() + 7260
    again.daemon.pause(None, end)
    again.daemon.pause(ME, end + 60)
    assert again.pause() == (True, end + 60)
    again.daemon.pause(None, end + 120)
    assert again.pause() == (True, end + 120)
    again.daemon.pause(ME, None)
    assert again.pause() == (True, None)
    again.stop()


def test_a_pause_does_not_outlive_its_account(running):
    """Before, an account that was added again under that name lay there without a word. What holds for all still holds."""
    other = AccountName("other")
    made = Account(other, host="localhost", user="other")
    control, daemon = running.daemon.control, running.daemon
    settings.add_account(running.paths.config_file, made)
    daemon.reload_settings()
    lock = running.paths.state / "oauth" / "other.lock"
    lock.parent.mkdir()
    lock.touch()
    daemon.pause(other, None)
    daemon.pause(ME, None)
    control.accounts.remove(other)
    assert not lock.exists()
    settings.add_account(running.paths.config_file, made)
    daemon.reload_settings()
    assert [daemon._pauses.of(name) for name in (other, ME)] == [(False, None), (True, None)]
    assert "other" not in daemon._store.state("pauses")
    daemon.pause(None, None)
    control.accounts.remove(other)
    assert daemon._pauses.of(other) == (True, None)


def test_a_pause_of_all_goes_on_for_an_account_that_begins_anew_while_another_is_resumed(running):
    other = AccountName("other")
    settings.add_account(running.paths.config_file, Account(other, host="localhost", user="other"))
    running.daemon.reload_settings()
    running.daemon.pause(None, None)
    running.daemon.pause(ME, time.time() + 60)  # over before that of all
    running.opener.forget = lambda account: running.daemon.resume(other)  # between its end and its beginning
    settings.update_account(running.paths.config_file, ME, promise=0.002)
    running.daemon.reload_settings()
    assert running.pause() == (True, None)
    assert running.pause(other) == (False, None)


def test_settings_change(running):
    wait_for(lambda: running.phase() is AccountPhase.WATCHING, "watching")
    other = AccountName("other")
    settings.add_account(running.paths.config_file, Account(other, host="localhost", user="you"))
    wait_for(lambda: running.phase(other) is AccountPhase.WATCHING, "the new account")
    settings.remove_account(running.paths.config_file, other)
    wait_for(lambda: running.phase(other) is None, "the removal")
    text = running.paths.config_file.read_text()
    running.paths.config_file.write_text("not = = toml")
    wait_for(lambda: running.daemon.control.events.newest(needs_person=True), "the complaint")
    assert running.phase() is AccountPhase.WATCHING
    assert running.daemon.control.status().accounts, "pages go on with the settings that were good"
    running.paths.config_file.write_text("promise = 'high'")
    wait_for(
        lambda: any("promise" in one.text for one in running.daemon.control.events.newest()), "the next one"
    )
    assert len(running.daemon.control.events.newest(needs_person=True)) == 1, (
        "what is no more is not asked for"
    )
    running.paths.config_file.write_text(text)
    wait_for(lambda: not running.daemon.control.events.newest(needs_person=True), "all to be well")


def test_sleep_is_noticed(beats, running):
    wait_for(lambda: running.phase() is AccountPhase.WATCHING, "watching")
    assert beats.looked.wait(60)
    before = running.opener.opened
    running.now += 3600.0  # the wall clock ran on, ours stood still
    wait_for(lambda: running.opener.opened > before, "a new connection")


@pytest.mark.skipif(os.name == "nt", reason="its program is a shell script")
@pytest.mark.parametrize("fate", ["new", "gone", "broken"])
def test_the_program_on_the_disk_changes(beats, tmp_path, fate):
    """A new one is to be started; a removed one ends; a broken one is told once, and mail is judged all the same."""
    file, script = tmp_path / "__init__.py", tmp_path / "spamdctl"
    file.write_text('__version__ = "1"\n')
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    clock = itertools.count(step=10.0)  # seconds between two looks
    program = Program(["run"], file=file, words=[str(script)], clock=lambda: next(clock))
    running = Running(tmp_path / "home", program).start()
    try:
        if fate != "new":
            script.write_text("#!/bin/sh\nexit 1\n")
        if fate == "gone":
            script.unlink()
            file.unlink()
        else:
            file.write_text('__version__ = "2"\n')
        if fate != "broken":
            running.thread.join(60)
            assert not running.thread.is_alive()
            assert running.daemon.upgraded is (fate == "new")
            return
        control = running.daemon.control
        (told,) = wait_for(lambda: control.events.newest(needs_person=True), "the person to be told")
        assert "damaged" in told.text
        running.server.deliver(mail(1))
        wait_for(control.mail.recent, "the verdict")
        assert len(control.events.newest(needs_person=True)) == 1
        file.write_text('__version__ = "1"\n')  # repaired
        wait_for(lambda: not program.differs(), "the program to be as it was")
    finally:
        running.stop()


@pytest.mark.skipif(os.name == "nt", reason="its program is a shell script")
def test_a_stop_while_the_new_program_is_tried_is_obeyed(beats, tmp_path):
    """Else a service that is told to stop comes back as the new version."""
    file, script, tried, go = (tmp_path / name for name in ("__init__.py", "spamdctl", "tried", "go"))
    file.write_text('__version__ = "1"\n')
    script.write_text(f"#!/bin/sh\n: > '{tried}'\nwhile [ ! -e '{go}' ]; do sleep .05; done\n")
    script.chmod(0o755)
    clock = itertools.count(step=10.0)
    program = Program(["run"], file=file, words=[str(script)], clock=lambda: next(clock))
    running = Running(tmp_path / "home", program).start()
    try:
        file.write_text('__version__ = "2"\n')
        wait_for(tried.exists, "the new program to be tried")
        (looking,) = [one for one in threading.enumerate() if one.name == "upgrade"]
    finally:
        running.stop()
        go.touch()
    looking.join(60)
    assert not looking.is_alive()
    assert not running.daemon.upgraded


def test_another_network_is_noticed(beats, running):
    """The address is gone: all is connected anew. The network is back: nobody waits any longer."""
    wait_for(lambda: running.phase() is AccountPhase.WATCHING, "watching")
    assert beats.looked.wait(60)
    before = running.opener.opened
    beats.news.put(News.MOVED)
    wait_for(lambda: running.opener.opened > before, "a new connection")
    running.opener.trouble = [SignInError("The password is wrong.")]  # tried again in an hour
    beats.news.put(News.MOVED)
    wait_for(lambda: running.phase() is AccountPhase.SIGN_IN, "the refusal")
    beats.news.put(News.BACK)
    wait_for(lambda: running.phase() is AccountPhase.WATCHING, "the next try")


def test_a_broken_config_says_where(tmp_path):
    made = Running(tmp_path / "home")
    made.paths.config_file.write_text("promise = 7\n")
    made.start(well=False)
    assert isinstance(made.failed, ConfigError)
    assert not made.paths.run_file.exists()
    made.thread.join(30)


def test_the_second_start_of_the_program(tmp_path):
    made = Running(tmp_path / "home")
    made.paths.make()
    with lock(made.paths.lock_file):
        ended = subprocess.run(
            [sys.executable, "-m", "spamd", "run"],
            env={**os.environ, "SPAMD_HOME": str(tmp_path / "home")},
            capture_output=True,
            timeout=120,
            check=False,
        )
    assert ended.returncode == 3


def test_a_mail_file_that_breaks_the_reader_is_put_aside(running, monkeypatch):
    """The others are learned all the same, and the thread that watches the files lives on."""
    daemon = running.daemon
    real = daemon.control.labels.teach_mail

    def teach(raw, label, *more):
        if b"poison" in raw:
            raise RecursionError
        return real(raw, label, *more)

    monkeypatch.setattr(daemon.control.labels, "teach_mail", teach)
    old = time.time() - 60
    for name, raw in (("a.eml", b"Subject: poison\r\n\r\n"), ("b.eml", mail(1))):
        path = running.paths.teach_spam / name
        path.write_bytes(raw)
        os.utime(path, (old, old))
    wait_for(daemon.control.labels.newest, "the label")
    wait_for(lambda: not list(running.paths.teach_spam.glob("*.eml")), "both put away")


def test_a_first_reading_goes_on_the_next_day(tmp_path, monkeypatch):
    """The day's bytes are used up in the middle of it: it waits, says so, and reads the rest."""
    monkeypatch.setattr(readings, "READING_LATER", 0.05)
    running = Running(tmp_path / "home")
    settings.save(
        running.paths.config_file, {"daily_bytes": 30_000}
    )  # less than 25 of these mails, which are read at once
    running.start()
    try:
        daemon = running.daemon
        wait_for(lambda: running.phase() is AccountPhase.WATCHING, "watching")
        for number in range(60):
            running.server.deliver(mail(number, more=f"X-Long: {'x' * 2000}\r\n"), "Junk")

        def told():
            return next((one for one in daemon.progress() if one.kind == "first-reading"), None)

        def waits(done):
            return (found := told()) and "tomorrow" in found.text and found.done == done

        daemon.start_first_reading(ME)
        wait_for(lambda: waits(25), "it stops")
        assert not told().finished
        running.now += 86400.0
        wait_for(lambda: waits(50), "the next day")
        running.now += 86400.0
        wait_for(lambda: told().finished, "the end")
        assert told().done == 60
    finally:
        running.stop()


def acting():
    """The threads that act on a mailbox."""
    return sorted(one.name for one in threading.enumerate() if one.name.startswith("work "))


def test_an_account_that_comes_while_the_daemon_ends(tmp_path, monkeypatch, caplog):
    """The settings are being read when it is told to stop: what that starts is waited for, too."""
    running = Running(tmp_path / "home").start()
    wait_for(lambda: running.phase() is AccountPhase.WATCHING, "watching")
    with_another = tmp_path / "config.toml"
    with_another.write_bytes(running.paths.config_file.read_bytes())
    settings.add_account(with_another, Account(AccountName("other"), host="localhost", user="you"))
    text = with_another.read_text()
    reading, go, load = threading.Event(), threading.Event(), settings.load

    def slowly(path):
        reading.set()
        assert go.wait(60)
        return load(path)

    monkeypatch.setattr(daemon_module.settings, "load", slowly)
    running.paths.config_file.write_text(text)
    assert reading.wait(60)
    running.daemon.stop()
    go.set()
    running.stop()
    assert acting() == []
    assert "closed" not in caplog.text


class BrowserThatIsClosed:
    """A sign-in that nobody ends before it is told to."""

    url, code, expires_at = "https://login.example/", "", 0.0

    def __init__(self):
        self.over = threading.Event()
        self.waited_for = threading.Event()
        self.grant = ""

    def wait(self):
        self.waited_for.set()
        assert self.over.wait(60)
        if not self.grant:
            raise SignInError("Nobody signed in.", "Start the sign-in again.")
        return self.grant

    def cancel(self):
        self.over.set()


def test_an_account_that_is_never_signed_in_to_goes_again(running, monkeypatch):
    """Once it was, or a second sign-in is under way, it stays whatever comes of this one."""
    daemon = running.daemon
    wait_for(lambda: running.phase() is AccountPhase.WATCHING, "watching")
    monkeypatch.setattr("spamd.opening.begin_sign_in", lambda account, paths: pages.pop(0))
    first, second, third, fourth = browsers = [BrowserThatIsClosed() for _ in range(4)]
    pages = list(browsers)
    new = Account(
        AccountName("new"), host="imap.new.example", user="me", auth=AuthMethod.OAUTH, oauth_provider="google"
    )

    def told(words):
        return [one for one in daemon.control.events.newest() if words in one.text]

    daemon.control.accounts.add(new, None)
    daemon.control.accounts.sign_in("new")
    daemon.control.accounts.sign_in("new")
    assert first.waited_for.wait(60) and second.waited_for.wait(60)
    first.over.set()
    wait_for(lambda: told("sign-in did not work"), "the first one's end")
    assert daemon.control.accounts.one("new")
    second.over.set()
    wait_for(lambda: not settings.load(running.paths.config_file).account("new"), "it goes")
    daemon.control.accounts.add(new, None)
    daemon.control.accounts.sign_in("new")
    third.grant = "{}"
    third.over.set()
    wait_for(lambda: told("You are signed in."), "it is signed in")
    daemon.control.accounts.sign_in("new")
    fourth.over.set()
    wait_for(lambda: len(told("sign-in did not work")) == 3, "the last one's end")
    assert daemon.control.accounts.one("new")


def test_who_waits_for_a_sign_in_is_told_of_its_end_whatever_else_fails(running, monkeypatch):
    """The account cannot be taken away again while the settings are broken."""
    control = running.daemon.control
    wait_for(lambda: running.phase() is AccountPhase.WATCHING, "watching")
    browser = BrowserThatIsClosed()
    monkeypatch.setattr("spamd.opening.begin_sign_in", lambda account, paths: browser)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    new = Account(
        AccountName("new"), host="imap.new.example", user="me", auth=AuthMethod.OAUTH, oauth_provider="google"
    )
    control.accounts.add(new, None)
    control.accounts.sign_in("new")
    assert browser.waited_for.wait(60)
    with running.paths.config_file.open("a") as file:
        file.write("[broken")
    browser.over.set()
    wait_for(
        lambda: [one for one in control.events.newest() if "sign-in did not work" in one.text], "its end"
    )


def test_who_signs_in_to_an_account_that_was_removed_meanwhile_allows_nothing(
    running, authorisation, tmp_path
):
    daemon = running.daemon
    settings.save(running.paths.config_file, {"oauth_file": str(authorisation.provider_file(tmp_path))})
    new = Account(
        AccountName("new"), host="imap.new.example", user="u1", auth=AuthMethod.OAUTH, oauth_provider="local"
    )
    daemon.control.accounts.add(new, None)
    page = daemon.control.accounts.sign_in("new").url
    daemon.control.accounts.remove("new")
    urllib.request.urlopen(page).close()
    wait_for(lambda: not [one for one in threading.enumerate() if one.name == "sign-in new"], "its end")
    assert [grant.revoked for grant in authorisation.grants] == [True]
    with pytest.raises(SecretMissing):
        running.secrets().get("new")
    assert not [one for one in daemon.control.events.newest() if "signed in" in one.text]


def test_a_sign_in_that_was_cut_off_leaves_no_account(tmp_path, monkeypatch):
    """The program ends while the person is at the provider's page: nobody listens there any more."""
    home = tmp_path / "home"
    running = Running(home).start()
    browsers = [BrowserThatIsClosed(), BrowserThatIsClosed()]
    pages = list(browsers)
    monkeypatch.setattr("spamd.opening.begin_sign_in", lambda account, paths: pages.pop())
    new = Account(
        AccountName("new"), host="imap.new.example", user="me", auth=AuthMethod.OAUTH, oauth_provider="google"
    )
    signed_in = Account(
        AccountName("old"), host="imap.old.example", user="me", auth=AuthMethod.OAUTH, oauth_provider="google"
    )
    for account in (new, signed_in):
        running.daemon.control.accounts.add(account, None)
        running.daemon.control.accounts.sign_in(account.name)
    assert all(browser.waited_for.wait(60) for browser in browsers)
    running.secrets().set(signed_in.name, "{}")
    running.stop()
    assert settings.load(running.paths.config_file).account("new")
    running = Running(home).start()
    try:
        assert [one.name for one in settings.load(running.paths.config_file).accounts] == [ME, "old"]
        assert {one.name for one in running.daemon.account_states()} == {ME, "old"}
        assert acting() == ["work home", "work old"], (
            "one that acts for each, though the settings were read twice"
        )
        assert any("new was removed" in one.text for one in running.daemon.control.events.newest())
    finally:
        running.stop()
