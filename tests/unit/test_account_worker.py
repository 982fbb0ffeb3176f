"""account_worker: two threads that never give up, on a mailbox in memory."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from spamd import account_worker
from spamd.account_worker import AccountWorker, DayMeter, fetch_now
from spamd.answers import AccountPhase
from spamd.domain import Account, AccountName, Label, ListEntry, Mode, MoveState
from spamd.errors import (
    ConnectionLost,
    CredentialError,
    ServerBusy,
    SignInError,
    SignInExpired,
    StoreFull,
)
from spamd.judgement import schedule
from spamd.mailbox.mover import JournaledMover
from spamd.store.database import Store
from tests.fakes.memory_mailbox import FULL, START, MemoryCommands, MemoryServer, MemorySession, MemoryWatch
from tests.fakes.scripted_scorer import ScriptedScorer
from tests.unit.test_filtering import mail

ME = AccountName("home")


class Opener:
    """Opens sessions of one server; `trouble` is raised instead, once for each in the list."""

    def __init__(self, server, store):
        self.server, self.store = server, store
        self.trouble = []
        self.watch_trouble = []
        self.opened = 0

    def session(self, account):
        if self.trouble:
            raise self.trouble.pop(0)
        self.opened += 1
        return MemorySession(self.server)

    def mover(self, session, account):
        return JournaledMover(session, MemoryCommands(session), self.store, account.name)

    def watch(self, account, folder):
        if self.watch_trouble:
            raise self.watch_trouble.pop(0)
        return MemoryWatch(self.server, folder)

    def forget(self, account):
        pass


def wait_for(condition, what):
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.005)
    return found


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "FIRST_WAIT", 0.02)
    monkeypatch.setattr(schedule, "BUSY_WAIT", 0.02)
    made = World(tmp_path)
    yield made
    made.close()


class World:
    def __init__(self, path):
        self.server = MemoryServer()
        self.store = Store(path / "spamd.db")
        self.store.add_list_entry(ListEntry("shop.example", Label.SPAM, 0.0))
        self.opener = Opener(self.server, self.store)
        self.scorer = ScriptedScorer()
        self.told = []
        self.paused, self.paused_until = False, None
        self.workers = []

    def worker(self, account=None, *, after=(), **more):
        made = AccountWorker(
            account or Account(ME, mode=Mode.FILTERING),
            store=self.store,
            scorer=self.scorer,
            opener=self.opener,
            paused_until=lambda: (self.paused, self.paused_until),
            hold_labels=50,
            publish=lambda kind, data: self.told.append((kind, data)),
            rng=random.Random(1),
            poll=more.pop("poll", 30.0),
            **more,
        )
        self.workers.append(made)
        made.start(after)
        return made

    def watching(self, worker):
        wait_for(lambda: worker.state().phase is AccountPhase.WATCHING, "watching")

    def close(self):
        for worker in self.workers:
            worker.stop()
        for worker in self.workers:
            assert worker.join(time.monotonic() + 30)
        self.store.close()


def test_with_a_clock_that_was_never_set_nothing_is_looked_at(world):
    """A computer without a battery for it: set right, the account is met as if then, and its old mail is not new."""
    now = 3600.0
    world.server.deliver(mail(7, 0.99), at=START)
    worker = world.worker(clock=lambda: now)
    wait_for(lambda: worker.state().phase is AccountPhase.ERROR, "the clock to be told")
    assert worker.state().detail == (
        "The clock of this computer shows 1970-01-01. Nothing is looked at until it is set right."
    )
    now = START + 1000.0
    worker.awake_again()
    world.watching(worker)
    world.server.deliver(mail(1), at=now)
    worker.wake()
    wait_for(lambda: world.server.raws("Junk"), "the move")
    (judged,) = world.store.judgements(account=ME, limit=10)
    assert judged.at == now
    assert len(world.server.raws("INBOX")) == 1
    assert world.opener.opened == 1


def test_mail_that_came_before_the_first_sign_in_is_not_new(world):
    """With TLS a clock that is months behind shows in this alone: no certificate is valid."""
    world.server.deliver(mail(7, 0.99), at=START)
    world.opener.trouble = [ConnectionLost("The certificate is not yet valid.")]
    worker = world.worker(clock=lambda: START + (-200 * 86400.0 if world.opener.trouble else 1000.0))
    world.watching(worker)
    wait_for(lambda: world.store.cursor(ME, "INBOX"), "the first look")
    assert world.store.judgements(account=ME, limit=10) == []


def test_whom_the_person_writes_to_is_known_within_the_hour(world):
    world.server.create("Sent")
    now = START
    worker = world.worker(clock=lambda: now)
    world.watching(worker)
    wait_for(lambda: world.store.cursor(ME, "Sent"), "the first look")
    world.server.deliver(b"From: me@home.example\r\nTo: ann@friend.example\r\n\r\nHi\r\n", "Sent", at=now)
    now += account_worker.TIDY_EVERY
    worker.wake()
    wait_for(lambda: world.store.contacts_among(ME, ["ann@friend.example"]), "the mail to be read")


def test_it_watches_judges_and_moves(world):
    worker = world.worker()
    world.watching(worker)
    world.server.deliver(mail(1))
    wait_for(lambda: world.server.raws("Junk"), "the move")
    state = worker.state()
    assert state.junk_folder == "Junk"
    assert state.mode is Mode.FILTERING
    assert state.evidence is not None
    assert state.last_contact is not None


def test_trouble_is_waited_out(world):
    world.opener.trouble = [
        ConnectionLost("no network"),
        ServerBusy("too many"),
        RuntimeError("a bug"),
        ConnectionLost("again"),
    ]
    world.opener.watch_trouble = [ConnectionLost("no"), RuntimeError("a bug"), ServerBusy("too many")]
    worker = world.worker()
    world.watching(worker)
    world.server.deliver(mail(1))
    wait_for(lambda: world.server.raws("Junk"), "the move")
    assert [event.kind for event in world.store.events(kind="error")] == ["error"], "only the bug is told"


def test_a_keyring_that_is_not_open_yet_is_asked_again_soon(world, monkeypatch, caplog):
    """Nobody is prompted by it. It was an hour after each start of the session."""
    monkeypatch.setattr(account_worker, "KEYRING_RETRY", 0.02)
    world.opener.trouble = [CredentialError("The keyring is locked.", quiet=True)] * 3
    world.opener.watch_trouble = list(world.opener.trouble)
    worker = world.worker()
    world.watching(worker)
    (told,) = world.store.events()
    assert (told.kind, told.needs_person) == ("sign-in", False), (
        "it is told once, and nobody is needed any more"
    )
    assert len([one for one in caplog.records if "locked" in one.message]) == 1, (
        "and written into the log once"
    )


@pytest.mark.parametrize(
    "error", [SignInError("refused"), SignInExpired("the grant has ended"), CredentialError("no secret")]
)
@pytest.mark.scenario(4)
def test_a_refused_sign_in_waits_for_the_person(world, error):
    world.opener.trouble = [error] * 3
    worker = world.worker()
    wait_for(lambda: worker.state().phase is AccountPhase.SIGN_IN, "the refusal")
    worker.wake()
    time.sleep(0.05)
    assert len(world.opener.trouble) == 2, "it does not hammer"
    worker.kick()
    wait_for(lambda: len(world.opener.trouble) == 1, "another try")
    assert len(world.store.events(needs_person=True)) == 1, "told once"
    world.opener.trouble.clear()
    worker.kick()
    world.watching(worker)


def test_a_worker_that_crashes_in_the_middle_goes_on(world):
    worker = world.worker()
    world.watching(worker)
    calls = 0

    def crash(command):
        nonlocal calls
        if command.startswith("MOVE"):
            calls += 1
            if calls == 1:
                raise RuntimeError("a bug in the middle of a move")
            if calls == 2:
                raise ConnectionLost("and a lost connection")

    world.server.before = crash
    world.server.deliver(mail(1))
    wait_for(lambda: world.server.raws("Junk"), "the move")
    assert world.server.raws("INBOX") == []
    wait_for(lambda: not world.store.open_moves(ME), "a clean journal")
    assert not world.store.labels(ME)


def test_accounts_do_not_disturb_each_other(world):
    other = MemoryServer()
    opener = Opener(other, world.store)
    healthy = world.worker()
    world.opener = opener
    opener.trouble = [RuntimeError("broken")] * 1000
    world.worker(Account(AccountName("sick"), mode=Mode.FILTERING))
    world.watching(healthy)
    for number in range(3):
        world.server.deliver(mail(number))
    wait_for(lambda: len(world.server.raws("Junk")) == 3, "the moves of the healthy one")


def test_orders_survive_trouble_and_restarts(world):
    worker = world.worker()
    world.watching(worker)
    for number in range(3):
        world.server.deliver(mail(number))
    wait_for(lambda: len(world.server.raws("Junk")) == 3, "the moves")
    worker.stop()
    assert worker.join(time.monotonic() + 30)
    rows = [row.id for row in world.store.moves(ME)]
    worker.order("put-back", [*rows, 999])
    again = world.worker()
    world.watching(again)
    wait_for(lambda: len(world.server.raws("INBOX")) == 3, "the undo")
    assert world.server.raws("Junk") == []
    time.sleep(0.05)
    third = World.worker(world)
    world.watching(third)
    assert len(world.server.raws("INBOX")) == 3
    assert all(row.state is MoveState.DONE for row in world.store.moves(ME))


def test_what_cannot_be_written_down_is_not_done_later(world):
    """Whoever asked was told so."""
    worker = world.worker()
    world.watching(worker)
    world.server.deliver(mail(1))
    wait_for(lambda: world.server.raws("Junk"), "the move")
    (row,) = world.store.moves(ME)
    with world.store._outside_transaction() as db:
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
    with pytest.raises(StoreFull):
        worker.order("put-back", [row.id, *range(10_000, 60_000)])
    with world.store._outside_transaction() as db:
        db.execute("PRAGMA max_page_count = 1000000")
    world.server.deliver(mail(2))
    wait_for(lambda: len(world.server.raws("Junk")) == 2, "the next move")


def test_questions_are_answered_or_refused(world):
    worker = world.worker()
    world.watching(worker)
    world.server.deliver(mail(7))
    judgement = wait_for(lambda: world.store.judgements(account=ME), "the verdict")[0]
    wait_for(lambda: world.server.raws("Junk"), "the move")
    question = fetch_now(judgement.identity, world.store, worker.account)
    assert worker.ask(question, 30) == mail(7)
    assert worker.ask(lambda session, _: session.bytes_received() > 0, 30)
    with pytest.raises(ValueError, match="mine"):
        worker.ask(lambda session, _: (_ for _ in ()).throw(ValueError("mine")), 30)
    world.opener.trouble = [SignInError("refused")] * 10
    worker.awake_again()
    wait_for(lambda: worker.state().phase is AccountPhase.SIGN_IN, "the refusal")
    with pytest.raises((ConnectionLost, TimeoutError)):
        worker.ask(question, 0.2)


def test_the_watch_is_lost_and_comes_back(world):
    worker = world.worker(poll=0.2)
    world.watching(worker)
    wait_for(lambda: world.server.watches, "the watch")
    with world.server.changed:
        world.server.watches[0].lost = True
        world.server.changed.notify_all()
    world.server.deliver(mail(1))
    wait_for(lambda: world.server.raws("Junk"), "the move, by polling or by the new watch")


@pytest.mark.parametrize(
    "error", [ServerBusy("one connection and no more"), SignInError("not now")], ids=["busy", "refused"]
)
def test_where_one_connection_is_allowed_nobody_knocks_again_and_again(world, monkeypatch, error):
    """The look works, the watch is refused: mail is moved all the same, and the refusal is respected."""
    monkeypatch.setattr(schedule, "BUSY_WAIT", 600.0)
    knocks = []

    def refused(account, folder):
        knocks.append(folder)
        raise error

    monkeypatch.setattr(world.opener, "watch", refused)
    worker = world.worker(poll=0.2)
    world.watching(worker)
    world.server.deliver(mail(1))
    wait_for(lambda: world.server.raws("Junk"), "the move, by polling")
    wait_for(lambda: knocks, "the watch")
    looks = sum("STATUS" in command for command in world.server.commands)
    wait_for(
        lambda: sum("STATUS" in command for command in world.server.commands) > looks + 60,
        "some seconds of work",
    )
    assert len(knocks) <= 2, "once more when the look began to work, and no more"


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_a_busy_server_is_left_alone_as_long_as_it_wants(world, monkeypatch, seconds):
    began = time.monotonic()
    tries = iter([ServerBusy("later", seconds=seconds)])
    real = world.opener.session

    def session(account):
        for error in tries:
            raise error
        return real(account)

    monkeypatch.setattr(world.opener, "session", session)
    worker = world.worker()
    world.watching(worker)
    assert time.monotonic() - began >= seconds


def test_after_sleep_everything_is_connected_anew(world):
    worker = world.worker()
    world.watching(worker)
    before = world.opener.opened
    worker.awake_again()
    wait_for(lambda: world.opener.opened > before, "a new connection")
    world.watching(worker)


def test_the_brake_shows_and_goes_on(world):
    worker = world.worker(Account(ME, mode=Mode.FILTERING, max_moves_per_hour=2))
    world.watching(worker)
    for number in range(4):
        world.server.deliver(mail(number))
    wait_for(lambda: worker.state().phase is AccountPhase.BRAKE, "the brake")
    assert len(world.server.raws("Junk")) == 2
    worker.go_on()
    wait_for(lambda: len(world.server.raws("Junk")) == 4, "the rest")


def test_a_paused_account_does_nothing(world):
    worker = world.worker(Account(ME, paused=True))
    assert worker.state().phase is AccountPhase.PAUSED
    world.paused, world.paused_until = True, time.time() + 60
    assert worker.state().paused_until is None, "the settings name no end"
    assert world.opener.opened == 0
    assert threading.active_count() >= 1


def test_no_more_is_downloaded_than_allowed(world):
    worker = world.worker(daily_bytes=2000)
    world.watching(worker)
    for number in range(10):
        world.server.deliver(mail(number))
    worker.wake()
    wait_for(lambda: world.store.events(kind="account"), "the limit")
    held = mail(99)
    world.server.deliver(held)
    worker.wake()
    worker.ask(lambda session, _: session.bytes_received(), 30)
    assert held in world.server.raws("INBOX")
    assert len(world.store.events(kind="account")) == 1, "told once a day"


def test_drags_are_seen_when_the_bytes_of_the_day_are_used_up(world):
    """New mail waits until tomorrow, the person's word does not."""
    first = world.worker()
    world.watching(first)
    ref = world.server.deliver(mail(1, sender="someone@else.example"))
    wait_for(lambda: world.store.judgements(account=ME), "the verdict")
    first.stop()
    assert first.join(time.monotonic() + 30)
    world.store.set_state(f"bytes:{ME}", f"{time.strftime('%Y-%m-%d')} 100000")
    days = [0.0]
    second = world.worker(daily_bytes=100_000, clock=lambda: time.time() + 86400.0 * days[0])
    wait_for(lambda: world.store.events(kind="account"), "the limit")
    world.server.deliver(mail(2))
    world.server.drag(ref, "Junk")
    second.wake()
    wait_for(lambda: world.store.labels(ME), "the lesson")
    assert [one.label for one in world.store.labels(ME)] == [Label.SPAM]
    assert world.server.raws("INBOX") == [mail(2)]
    assert len(world.store.judgements(account=ME)) == 1
    # Tomorrow, by the clock: a word about the bytes that is written down here is lost where the worker is about to write its own.
    days[0] = 1.0
    second.wake()
    wait_for(lambda: mail(2) in world.server.raws("Junk"), "what had waited")


# -- bytes a day


class Line:
    """A connection that received so much."""

    def __init__(self, provider=0):
        self.abilities = replace(FULL, bytes_per_day=provider)
        self.received = 0

    def bytes_received(self):
        return self.received


@pytest.fixture
def metered(tmp_path):
    """metered(allowed) -> a meter whose clock is metered.now."""
    with contextlib.closing(Store(tmp_path / "meter.db")) as store:

        def make(allowed):
            return DayMeter(ME, store, allowed, lambda: make.now)

        make.now, make.store = 1_780_000_000.0, store
        yield make


def test_all_connections_count_together(metered):
    meter, one, other = metered(10_000), Line(), Line()
    one.received = 6_000
    assert not meter.used_up(one)
    assert not meter.used_up(one), "counted once"
    other.received = 3_999
    assert not meter.used_up(other)
    one.received += 1
    assert meter.used_up(one)
    assert meter.used_up(None)
    assert "as you allow" in meter.text
    assert metered(10_000).used_up(None), "a restart forgets nothing"
    metered.now += 86400
    assert not meter.used_up(one), "tomorrow is another day"
    one.received += 9_999
    assert not meter.used_up(one)


def test_most_of_what_the_provider_allows(metered):
    meter, line = metered(0), Line(provider=2_500_000_000)
    line.received = 1_999_999_999
    assert not meter.used_up(line)
    line.received += 1
    assert meter.used_up(line)
    assert meter.text.startswith("2000 MB were downloaded today")
    person = metered(2_200_000_000)
    assert not person.used_up(Line(provider=2_500_000_000)), "the person's word counts, also above that"
    assert not metered(0).used_up(Line()), "no limit known"


def test_quiet_looks_write_nothing(metered, monkeypatch):
    written = []
    real = metered.store.set_state
    monkeypatch.setattr(metered.store, "set_state", lambda *row: (written.append(row), real(*row)))
    meter, line = metered(0), Line(provider=2_500_000_000)
    for _ in range(1000):
        line.received += 300
        meter.used_up(line)
    assert not written
    line.received += 1_000_000
    meter.used_up(line)
    assert [row[1].split()[1] for row in written] == ["1300000"]


def test_a_day_of_the_provider_is_told_and_ends(world):
    """Mail that comes when the provider's day is used up stays where it is, and is looked at tomorrow."""
    now = time.time()
    world.server.abilities = replace(FULL, bytes_per_day=2_500_000_000)
    today = time.strftime("%Y-%m-%d", time.localtime(now))
    world.store.set_state(f"bytes:{ME}", f"{today} 2000000000")
    late = 0.0
    worker = world.worker(clock=lambda: now + late, poll=0.1)
    wait_for(lambda: "most of what the provider allows" in worker.state().detail, "the state says why")
    world.server.deliver(mail(1), at=now + 60)
    (event,) = wait_for(lambda: world.store.events(kind="account"), "the event")
    assert "2000 MB" in event.text
    assert len(world.server.raws("INBOX")) == 1
    late = 86400.0
    wait_for(lambda: world.server.raws("Junk"), "the next day")
    wait_for(lambda: "provider" not in worker.state().detail, "the usual state")


# -- two connections


def test_another_connection_takes_the_place_of_the_watch(world):
    worker = world.worker(poll=0.1)
    world.watching(worker)
    wait_for(lambda: world.server.watches, "the watch")
    with worker.instead_of_watching():
        assert not world.server.watches
        world.server.deliver(mail(1))
        wait_for(lambda: world.server.raws("Junk"), "the move, by polling")
        assert not world.server.watches
    wait_for(lambda: world.server.watches, "the watch again")


def test_the_place_of_the_watch_is_free_when_it_is_closed(world, monkeypatch):
    """Before, there was a third connection for as long as the close took."""
    worker = world.worker()
    world.watching(worker)
    (watch,) = wait_for(lambda: list(world.server.watches), "the watch")
    closing, go = threading.Event(), threading.Event()
    close, wake = watch.close, watch.wake

    def close_slowly():
        closing.set()
        assert go.wait(60)
        close()

    def woken():
        wake()
        if closing.is_set():  # it is still waited for
            go.set()

    def open_now():
        with worker.instead_of_watching():
            return list(world.server.watches)

    monkeypatch.setattr(watch, "close", close_slowly)
    monkeypatch.setattr(watch, "wake", woken)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(open_now).result(60)
        go.set()
    assert found == []


def test_after_sleep_one_watch_is_enough(world, monkeypatch):
    """The acting thread hangs in a dead connection; the watch comes back once, and not again and again."""
    opened, hang, hanging = [], threading.Event(), threading.Event()
    real_watch, real_session = world.opener.watch, world.opener.session

    def watch(account, folder):
        opened.append(folder)
        return real_watch(account, folder)

    def session(account):
        if opened:
            hanging.set()
            hang.wait(60)
        return real_session(account)

    worker = world.worker(poll=0.1)
    world.watching(worker)
    wait_for(lambda: world.server.watches, "the watch")
    monkeypatch.setattr(world.opener, "watch", watch)
    monkeypatch.setattr(world.opener, "session", session)
    opened.append("before")
    worker.awake_again()
    assert hanging.wait(60)
    wait_for(lambda: len(opened) > 1 and world.server.watches, "the watch again")
    again = list(world.server.watches)
    time.sleep(2)  # before, it was opened anew every half second here
    assert world.server.watches == again
    hang.set()
    world.watching(worker)


def test_where_one_connection_is_lost_the_other_is_made_anew(world):
    """A box on the way may keep the one that waits looking alive."""
    worker = world.worker(poll=0.1)
    world.watching(worker)
    (first,) = wait_for(lambda: list(world.server.watches), "the watch")
    opened = world.opener.opened

    def cut(command):
        world.server.before = None
        raise ConnectionLost("no answer in time")

    world.server.before = cut
    wait_for(lambda: world.opener.opened > opened, "a new connection")
    wait_for(lambda: world.server.watches not in ([], [first]), "a new watch")
