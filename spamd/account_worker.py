"""One account at work: a thread that watches (IDLE) and a thread that acts, each with its own connection.

The acting thread owns the session, the filter and the learner; everything else talks to it through `wake`,
`ask` and `order`. It ends only when told to: whatever fails is told, waited out (with jitter; a sign-in that
was refused waits for the person) and begun anew. Other accounts never notice.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from spamd.answers import AccountPhase, AccountState, Publish
from spamd.domain import (
    INBOX,
    Account,
    AccountName,
    Evidence,
    FolderName,
    Identity,
    Label,
    LabelSource,
    Mode,
    MoveRecord,
)
from spamd.errors import (
    ClockWrong,
    ConfigError,
    ConnectionLost,
    CredentialError,
    MailboxError,
    ServerBusy,
    SignInError,
    SpamdError,
    StoreError,
    StoreFull,
)
from spamd.filtering import Filter
from spamd.judgement import policy, schedule
from spamd.learning import Learner
from spamd.learning.proof import assess_account
from spamd.source import FolderWatch, MailSession, Mover

if TYPE_CHECKING:
    from spamd.model.scoring import Scorer
    from spamd.store.database import Store

log = logging.getLogger(__name__)

T = TypeVar("T")
POLL_WATCHED = 60.0
"""Seconds between looks while IDLE works: keywords set in Junk, and drags between other folders."""
POLL_BLIND = 20.0
"""The same while it does not."""
TIDY_EVERY = 3600.0
QUIET_MAIL_EVERY = 86400.0
SIGN_IN_RETRY = 3600.0
"""A refused sign-in is tried again this seldom unless the person changes something (a server may be
mistaken).
"""
KEYRING_RETRY = 30.0
"""A keyring that is not open yet (the session has just begun) is asked again this often: the person opens it for whatever
needs it first, and is not prompted by us again.
"""
SIGN_IN = "sign-in"
"""Kind of the events that end with the next sign-in."""
CLOCK_RETRY = 10.0
"""Seconds until a clock that was never set is looked at again; that it was set is mostly noticed sooner (`awake_again`)."""
ORDER_TRIES = 5
PROVIDER_SHARE = 0.8
"""Of the bytes a day that a provider allows; the rest is for the person's mail programs."""
DRAGS_SHARE = 0.02
"""Of the bytes of a day, on top of them: the person's drags cost little, and are seen also when new mail must wait."""
LEND_SECONDS = 30.0
"""The watch gives up its place at once, unless it hangs in a read."""
COUNT_STEP = 1_000_000
"""Bytes that may be forgotten when the program is killed."""


class Opener(Protocol):
    """Opens connections for an account. Raises MailboxError or CredentialError."""

    def session(self, account: Account) -> MailSession: ...

    def mover(self, session: MailSession, account: Account) -> Mover: ...

    def watch(self, account: Account, folder: FolderName) -> FolderWatch: ...

    def forget(self, account: Account) -> None:
        """What is kept of it between connections: it is gone, or has another secret."""
        ...


@dataclass(slots=True)
class _Order:
    """Something the person wants done to a mail, kept until it is done."""

    kind: str  # "put-back", "file-junk" or "go-on"
    number: int  # of the journal row, or of the judgement; 0 where there is none
    tries: int = 0


@dataclass(slots=True)
class _AtWork:
    """What belongs to one connection."""

    session: MailSession
    filter: Filter
    learner: Learner


class DayMeter:
    """Bytes an account downloads in a day, over all of its connections, against what it may. Thread-safe.

    The limit is the person's (`daily_bytes`), else most of what the provider allows all programs together: whoever goes
    beyond that is locked out of the mailbox for hours (Gmail: 2,500 MB). Counted in memory and written down in steps.
    """

    def __init__(
        self, account: AccountName, store: Store, allowed: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._key = f"bytes:{account}"
        self._store = store
        self._person = allowed
        self._allowed = allowed
        self._clock = clock
        self._lock = threading.Lock()
        self._counted: weakref.WeakKeyDictionary[MailSession, int] = weakref.WeakKeyDictionary()
        self._unsaved = 0
        self.day = ""

    @property
    def text(self) -> str:
        """For the person, when it is used up."""
        if self._person:
            return "As much was downloaded today as you allow; new mail is looked at tomorrow."
        megabytes = self._allowed // 1_000_000
        return (
            f"{megabytes} MB were downloaded today, which is most of what the provider allows in a day; new mail is "
            "looked at tomorrow."
        )

    def used_up(self, session: MailSession | None, more: float = 0.0) -> bool:
        """Count what this connection received since it was last asked about. Is there nothing left for today?

        more: a share of the day's bytes that may be used on top.
        """
        with self._lock:
            if session is not None and not self._person:
                self._allowed = int(session.abilities.bytes_per_day * PROVIDER_SHARE)
            if not self._allowed:
                return False
            today = time.strftime("%Y-%m-%d", time.localtime(self._clock()))
            if today != self.day:
                self.day, self._unsaved = today, 0
            if session is not None:
                received = session.bytes_received()
                self._unsaved += max(0, received - self._counted.get(session, 0))
                self._counted[session] = received
            day, _, count = (self._store.state(self._key) or "").partition(" ")
            used = (int(count) if day == today and count.isdigit() else 0) + self._unsaved
            over = used >= self._allowed * (1.0 + more)
            # Not with every look: a quiet one is 300 bytes, and each write makes the disk turn.
            if self._unsaved >= min(COUNT_STEP, self._allowed // 20) or (over and self._unsaved):
                self._store.set_state(self._key, f"{today} {used}")
                self._unsaved = 0
            return over


class AccountWorker:
    """Starts and stops the two threads of an account, and knows how it is doing."""

    def __init__(
        self,
        account: Account,
        *,
        store: Store,
        scorer: Scorer,
        opener: Opener,
        paused_until: Callable[[], tuple[bool, float | None]],
        hold_labels: int,
        daily_bytes: int = 0,
        publish: Publish,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        poll: float = POLL_WATCHED,
    ) -> None:
        self.account = account
        self._store = store
        self._scorer = scorer
        self._opener = opener
        self._paused_until = paused_until
        self._hold_labels = hold_labels
        self._publish = publish
        self._clock = clock
        self._rng = rng or random.Random()
        self._poll = poll
        self._stopping = threading.Event()
        self._work = threading.Condition()
        self._woken = True
        self._kicked = False
        self._reconnect = False
        self._rewatch = False
        self._lent = 0  # others that use the watch's place for a connection of theirs
        self._asks: deque[tuple[Callable[[_AtWork], object], Future[object]]] = deque()
        self._orders: deque[_Order] = deque(self._load_orders())
        self._threads: list[threading.Thread] = []
        self._after: list[threading.Thread] = []
        self._watch: FolderWatch | None = None
        self._watching = False
        self._session: MailSession | None = None
        self._state = AccountState(account.name, AccountPhase.STARTING)
        self._state_lock = threading.Lock()
        self._told: str = ""
        self._evidence: Evidence | None = None
        self._evidence_stale = True
        self._tidied_at = float("-inf")
        self._meter = DayMeter(account.name, store, daily_bytes, clock)
        self._told_day = ""

    # -- from other threads

    def start(self, after: Sequence[AccountWorker] = ()) -> None:
        """after: earlier workers of this mailbox, which may still hang in a read; nothing is done before they have
        ended. Two at once would be two clients that move the same mail.
        """
        self._after = [thread for worker in after for thread in worker.threads()]
        if self.account.paused:
            self._say(AccountPhase.PAUSED, "Paused in the settings.")
            return
        for name, target in (("work", self._run), ("watch", self._run_watch)):
            thread = threading.Thread(target=target, name=f"{name} {self.account.name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Ask both threads to end; returns at once."""
        self._stopping.set()
        with self._work:
            self._work.notify_all()
        watch = self._watch
        if watch is not None:
            watch.wake()

    def join(self, deadline: float) -> bool:
        """Wait for the threads until a monotonic time. False: one still hangs in a read; it is cut off."""
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def threads(self) -> list[threading.Thread]:
        """Those that still run, also of workers this one waits for."""
        return [thread for thread in (*self._threads, *self._after) if thread.is_alive()]

    def wake(self) -> None:
        """Look now."""
        with self._work:
            self._woken = True
            self._work.notify_all()

    def kick(self) -> None:
        """Something changed that may help: do not wait any longer before trying again."""
        with self._work:
            self._woken = self._kicked = True
            self._work.notify_all()

    def awake_again(self) -> None:
        """The machine slept: connections are probably dead."""
        with self._work:
            self._reconnect = self._rewatch = self._woken = self._kicked = True
            self._work.notify_all()
        watch = self._watch
        if watch is not None:
            watch.wake()

    def _suspect_watch(self) -> None:
        """This connection is lost: the other one may be, too, and a box on the way keeps it looking alive. It waits, and
        would find out in nine minutes.
        """
        self._rewatch = True
        watch = self._watch
        if watch is not None:
            watch.wake()

    @contextlib.contextmanager
    def instead_of_watching(self) -> Iterator[None]:
        """In this block another connection takes the place of the one that watches: an account has two, no more.

        New mail is found by looking meanwhile.
        """
        with self._work:
            self._lent += 1
        try:
            deadline = time.monotonic() + LEND_SECONDS
            while (watch := self._watch) is not None and time.monotonic() < deadline:
                watch.wake()
                if self._stopping.wait(0.05):
                    break
            yield
        finally:
            with self._work:
                self._lent -= 1

    def ask(self, question: Callable[[MailSession, Filter], T], timeout: float) -> T:
        """Have the worker answer on its connection. TimeoutError; whatever the question raises."""
        future: Future[T] = Future()

        def answer(at_work: _AtWork) -> object:
            return question(at_work.session, at_work.filter)

        with self._work:
            self._asks.append((answer, future))  # type: ignore[arg-type]
            self._work.notify_all()
        try:
            return future.result(timeout)
        finally:
            future.cancel()

    def order(self, kind: str, numbers: list[int]) -> None:
        """Things to be done to mails as soon as there is a connection; they survive a restart."""
        with self._work:
            before = list(self._orders)
            waiting = {(order.kind, order.number) for order in before}
            self._orders.extend(
                _Order(kind, number) for number in dict.fromkeys(numbers) if (kind, number) not in waiting
            )
            try:
                self._save_orders()
            except (
                StoreError
            ):  # whoever asks is told that it cannot be: then it must not be done later, either
                self._orders = deque(before)
                raise
            self._woken = True
            self._work.notify_all()

    def go_on(self) -> None:
        """Release the brake; what it held back is decided again (as soon as there is a connection)."""
        self.order("go-on", [0])

    def labels_changed(self) -> None:
        self._evidence_stale = True
        self.wake()

    def state(self) -> AccountState:
        paused, until = (True, None) if self.account.paused else self._paused_until()
        with self._state_lock:
            state = replace(
                self._state,
                mode=self._mode(),
                evidence=self._evidence,
                paused_until=until if paused else None,
            )
        if paused and state.phase in (AccountPhase.WATCHING, AccountPhase.BRAKE):
            return replace(state, phase=AccountPhase.PAUSED, detail="")
        return state

    def _mode(self) -> Mode:
        if self._evidence is None:
            return self.account.mode or Mode.LEARNING
        return policy.effective_mode(self.account, self._evidence)

    # -- the acting thread

    def _run(self) -> None:
        for thread in self._after:
            while thread.is_alive() and not self._stopping.wait(0.05):
                self._refuse_asks()
        self._after = []
        attempt = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            pause: float | None = None
            try:
                self._say(AccountPhase.CONNECTING)
                self._serve()
            except SignInError as error:
                pause = self._refused(error)
            except CredentialError as error:
                pause = self._refused(error)
            except ServerBusy as error:
                attempt = 1 if time.monotonic() - began > 120 else attempt + 1
                pause = max(error.seconds, schedule.backoff(attempt, self._rng, busy=True))
                self._say(AccountPhase.OFFLINE, error.title)
            except MailboxError as error:
                attempt = 1 if time.monotonic() - began > 120 else attempt + 1
                pause = schedule.backoff(attempt, self._rng)
                log.info("%s: %s", self.account.name, type(error).__name__)
                self._say(AccountPhase.OFFLINE, error.title)
                if isinstance(error, ConnectionLost):
                    self._suspect_watch()
            except ClockWrong as error:
                pause = CLOCK_RETRY
                if self._told != str(error):
                    log.warning("%s: %s", self.account.name, error)
                self._told = str(error)
                self._say(AccountPhase.ERROR, str(error))
            except StoreError as error:
                attempt += 1
                pause = schedule.backoff(attempt, self._rng)
                log.error("%s: %s", self.account.name, error)
                self._say(AccountPhase.ERROR, str(error))
            except ConfigError as error:
                pause = SIGN_IN_RETRY  # only the person can mend it; a change of the settings ends the wait
                self._say(AccountPhase.ERROR, str(error))
                self._tell(str(error), needs_person=True)
            except Exception as error:
                attempt += 1
                pause = schedule.backoff(attempt, self._rng)
                log.exception("%s: the worker failed and is started anew", self.account.name)
                self._say(AccountPhase.ERROR, "Something went wrong; it is tried again.")
                self._tell(f"An error in the program: {type(error).__name__}. It is tried again.")
            else:
                attempt = 0
            finally:
                self._refuse_asks()
            if pause is not None:
                self._sleep(pause)

    def _serve(self) -> None:
        """Work on one connection until stopped, or until it breaks."""
        # As all mail would be new, every word older than the model, no wait would end.
        schedule.require_set_clock(self._clock(), "Nothing is looked at until it is set right.")
        session = self._opener.session(self.account)
        self._session = session
        try:
            mover = self._opener.mover(session, self.account)
            at_work = _AtWork(session, self._filter(session, mover), self._learner(session))
            at_work.filter.recover()
            self._told = ""
            self._signed_in()
            with self._work:
                self._reconnect = False
            self._note_folders(at_work)
            while not self._stopping.is_set():
                if self.used_up(session):
                    waiting = None
                    self._carry_out_orders(at_work)  # what the person asks for is done all the same
                    if not self._meter.used_up(session, DRAGS_SHARE):
                        self._see_drags(at_work)
                    self._say(AccountPhase.WATCHING, self._meter.text)
                else:
                    waiting = self._round(at_work)
                    self._say_working(at_work)
                self._answer(at_work)
                if not self._wait(waiting):
                    return
        finally:
            self._session = None
            session.close()

    def _round(self, at_work: _AtWork) -> float | None:
        """Look, learn, judge; then what is due besides. Seconds until waiting mail is ripe."""
        self._answer(at_work)
        self._carry_out_orders(at_work)
        at_work.filter.reconcile()  # before the look: a second copy of ours must not be taken for the person's
        look = at_work.learner.look()
        if look.labels:
            self._evidence_stale = True
        at_work.filter.free(look.locked)
        at_work.filter.judge_all(look.new)
        at_work.learner.settle(look)
        if not look.new:  # new mail comes first
            at_work.learner.read_again()
        self._contact()
        now = self._clock()
        if now - self._tidied_at >= TIDY_EVERY or now < self._tidied_at:
            self._tidied_at = now
            self._tidy(at_work, now)
        at_work.filter.again()
        due = [seconds for seconds in (look.waiting, at_work.filter.retry_in()) if seconds is not None]
        return min(due, default=None)

    def _see_drags(self, at_work: _AtWork) -> None:
        """Look and learn; new mail waits."""
        at_work.filter.reconcile()
        look = at_work.learner.look(judge=False)
        if look.labels:
            self._evidence_stale = True
        at_work.filter.free(look.locked)
        at_work.learner.settle(look)

    def used_up(self, session: MailSession) -> bool:
        """Has this account downloaded as much today as it may? Then new mail waits until tomorrow, and the person is
        told once. From any thread that reads on a connection of this account.
        """
        if not self._meter.used_up(session):
            return False
        if self._told_day != self._meter.day:
            self._told_day = self._meter.day
            self._store.add_event("account", self._meter.text, account=self.account.name)
        return True

    def may_download(self) -> bool:
        """As far as is known without a connection."""
        return not self._meter.used_up(None)

    def _tidy(self, at_work: _AtWork, now: float) -> None:
        """Once an hour: locks that nobody takes off, whom the person wrote to, the weak evidence of the day, the proof."""
        at_work.filter.end_old_locks()
        at_work.filter.take_labels_off()
        at_work.learner.look_elsewhere()
        at_work.learner.read_sent()
        key = f"kept:{self.account.name}"
        last = float(self._store.state(key) or 0.0)
        if not 0 <= now - last < QUIET_MAIL_EVERY:
            if at_work.learner.keep_quiet_mail():
                self._evidence_stale = True
            self._store.set_state(key, str(now))
        self._evidence_stale = True

    def _wait(self, waiting: float | None) -> bool:
        """Until there is something to do. False: the connection is to be made anew."""
        seconds = self._poll if self._watching else min(self._poll, POLL_BLIND)
        if waiting is not None:
            seconds = min(seconds, waiting)
        with self._work:
            if not (self._woken or self._asks or self._stopping.is_set()):
                self._work.wait(seconds)
            self._woken = self._kicked = False
            return not self._reconnect

    def _sleep(self, seconds: float) -> None:
        """Wait out a failure; a kick ends it. Whoever asks meanwhile is refused at once."""
        deadline = time.monotonic() + seconds
        while not self._stopping.is_set():
            self._refuse_asks()
            with self._work:
                left = deadline - time.monotonic()
                if self._kicked or left <= 0:
                    break
                if not self._asks:
                    self._work.wait(left)
        with self._work:
            self._kicked = False
            self._woken = True

    # -- pieces

    def _filter(self, session: MailSession, mover: Mover) -> Filter:
        return Filter(
            session,
            mover,
            self._store,
            self._scorer,
            self.account,
            evidence=self.evidence,
            paused=lambda: self._paused_until()[0],
            publish=self._publish,
            clock=self._clock,
        )

    def _learner(self, session: MailSession) -> Learner:
        return Learner(
            session,
            self._store,
            self._scorer,
            self.account,
            since=self._met_at(),
            flood=self._hold_labels,
            publish=self._publish,
            clock=self._clock,
        )

    def evidence(self) -> Evidence:
        """Recomputed when labels changed, and once an hour."""
        if self._evidence is None or self._evidence_stale:
            self._evidence_stale = False
            found = assess_account(self._store, self._scorer, self.account, self._clock())
            self._evidence = found
            self._note_mode(found)
        return self._evidence

    def _note_mode(self, found: Evidence) -> None:
        """Tell when evidence changes what is done."""
        if self.account.mode is not None:
            return
        key = f"mode:{self.account.name}"
        before = self._store.state(key)
        if before != found.mode.value:
            self._store.set_state(key, found.mode.value)
            if before is not None:
                text = f"From {before} to {found.mode.value}. {found.explanation}"
                self._store.add_event("mode", text, account=self.account.name)
                self._publish("state", {"account": self.account.name, "mode": found.mode.value})

    def _answer(self, at_work: _AtWork) -> None:
        """Questions of other threads. A connection that breaks breaks the round, too."""
        while True:
            with self._work:
                if not self._asks:
                    return
                question, future = self._asks.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(question(at_work))
            except ConnectionLost as error:
                future.set_exception(error)
                raise
            except Exception as error:  # noqa: BLE001 whoever asked is told
                future.set_exception(error)

    def _refuse_asks(self) -> None:
        """There is no connection: whoever asks is told at once."""
        with self._work:
            waiting, self._asks = list(self._asks), deque()
        for _, future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(ConnectionLost("There is no connection to the mailbox now."))

    def _carry_out_orders(self, at_work: _AtWork) -> None:
        while True:
            with self._work:
                if not self._orders:
                    return
                order = self._orders[0]
            try:
                self._carry_out(at_work, order)
            except StoreFull:
                raise  # it waits for room, as all else does
            except (ConnectionLost, ServerBusy, StoreError) as error:
                order.tries += 1
                if order.tries < ORDER_TRIES:
                    raise
                self._tell(f"What you asked for could not be done: {error.title}")
                if isinstance(error, ConnectionLost):
                    self._drop_order(order)
                    raise  # the others need a connection that lives
            except SpamdError as error:
                self._tell(f"What you asked for could not be done: {error.title}")
            except Exception as error:
                log.exception("%s: an order failed", self.account.name)
                self._tell(f"What you asked for could not be done ({type(error).__name__}).")
            self._drop_order(order)

    def _drop_order(self, order: _Order) -> None:
        with self._work:
            if self._orders and self._orders[0] is order:
                self._orders.popleft()
            self._save_orders()

    def _carry_out(self, at_work: _AtWork, order: _Order) -> None:
        if order.kind == "put-back":
            record = self._store.move(order.number)
            if record is not None and record.account == self.account.name:
                at_work.filter.moves.put_back(record)
        elif order.kind == "go-on":
            at_work.filter.brake.release()
            at_work.filter.go_on()
        else:
            judgement = self._store.judgement(order.number)
            if judgement is not None and judgement.account == self.account.name:
                label = self._store.label_of(self.account.name, judgement.identity)
                if label is None or label.label is not Label.HAM or label.source is LabelSource.IMPLICIT:
                    at_work.filter.moves.file_junk(
                        judgement
                    )  # else the person thought better of it meanwhile

    def open_moves(self) -> list[MoveRecord]:
        return list(self._store.open_moves(self.account.name))

    def _load_orders(self) -> list[_Order]:
        try:
            rows = json.loads(self._store.state(f"orders:{self.account.name}") or "[]")
            return [_Order(str(kind), int(number)) for kind, number in rows]
        except (ValueError, TypeError):
            return []

    def _save_orders(self) -> None:
        rows = [[order.kind, order.number] for order in self._orders]
        self._store.set_state(f"orders:{self.account.name}", json.dumps(rows))

    def _met_at(self) -> float:
        """When this account was first signed in to: older mail is none of our business.

        Not when it was set up: where the clock was wrong then, there was no sign-in, as no certificate was valid.
        """
        key = f"since:{self.account.name}"
        known = self._store.state(key)
        if known is not None:
            return float(known)
        now = self._clock()
        self._store.set_state(key, str(now))
        return now

    # -- telling

    def _say(self, phase: AccountPhase, detail: str = "") -> None:
        with self._state_lock:
            changed = (self._state.phase, self._state.detail) != (phase, detail)
            self._state = replace(self._state, phase=phase, detail=detail)
        if changed:
            self._publish("state", {"account": self.account.name, "phase": phase.value})

    def _say_working(self, at_work: _AtWork) -> None:
        evidence = self.evidence()
        brake = at_work.filter.brake.check()
        if brake.held:
            self._say(AccountPhase.BRAKE, brake.reason)
        else:
            self._say(AccountPhase.WATCHING, evidence.explanation)

    def _contact(self) -> None:
        with self._state_lock:
            self._state = replace(self._state, last_contact=self._clock())

    def _note_folders(self, at_work: _AtWork) -> None:
        from spamd.opening import remarks

        names = tuple(at_work.learner.places())
        junk = at_work.filter.moves.junk_folder()
        quirk = at_work.session.abilities.quirk
        with self._state_lock:
            self._state = replace(
                self._state,
                folders=names,
                junk_folder=junk,
                quirk=quirk,
                remarks=remarks(quirk, self.account),
            )

    def _refused(self, error: SpamdError) -> float:
        if self._told != str(error):  # a keyring that never opens would fill the log, twice a minute
            log.warning("%s: %s", self.account.name, error)
        self._say(AccountPhase.SIGN_IN, error.title)
        self._tell(str(error), needs_person=True, kind=SIGN_IN)
        return KEYRING_RETRY if isinstance(error, CredentialError) and error.quiet else SIGN_IN_RETRY

    def _tell(self, text: str, *, needs_person: bool = False, kind: str = "error") -> None:
        """An event, once until things went well again."""
        if self._told == text:
            return
        self._told = text
        try:
            self._store.add_event(kind, text, account=self.account.name, needs_person=needs_person)
        except StoreError:
            log.exception("%s: an event could not be written", self.account.name)

    def _signed_in(self) -> None:
        """What was said of a sign-in that failed, by an earlier run, too, needs nobody any more."""
        with contextlib.suppress(StoreError):  # a full disk: then it is told a while longer
            for event in self._store.events(needs_person=True, account=self.account.name, kind=SIGN_IN):
                self._store.settle_event(event.id)

    # -- the watching thread

    def _run_watch(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            if self._lent:
                self._stopping.wait(0.2)
                continue
            self._rewatch = False
            try:
                watch = self._opener.watch(self.account, INBOX)
            except (MailboxError, CredentialError) as error:
                attempt += 1
                # Refused while the other connection works: some providers say that when there are too many.
                refused = isinstance(error, SignInError | CredentialError)
                works = self._state.phase is AccountPhase.WATCHING
                pause = schedule.backoff(attempt, self._rng, busy=refused or isinstance(error, ServerBusy))
                if refused and not works:
                    pause = SIGN_IN_RETRY
                elif isinstance(error, ServerBusy):
                    pause = max(pause, error.seconds)
                self._watch_pause(pause)
                continue
            except Exception:
                attempt += 1
                log.exception("%s: watching failed", self.account.name)
                self._watch_pause(schedule.backoff(attempt, self._rng))
                continue
            self._watch, self._watching = watch, True
            try:
                self.wake()  # what came before the watch stood
                while not (self._stopping.is_set() or self._rewatch or self._lent):
                    if watch.wait(schedule.idle_renewal(self._rng)):
                        self.wake()
                    attempt = 0
            except MailboxError:
                attempt += 1
            except Exception:
                attempt += 1
                log.exception("%s: watching failed", self.account.name)
            finally:
                self._watch, self._watching = None, False
                try:
                    watch.close()
                except Exception:
                    log.exception("%s: a watch could not be closed", self.account.name)
            self.wake()
            if not self._stopping.is_set():
                self._watch_pause(schedule.backoff(attempt, self._rng) if attempt else 0.5)

    def _watch_pause(self, seconds: float) -> None:
        """Wait; but no longer than until the acting thread has a connection again.

        One that it had all along is no such sign: a server that allows one connection would be asked every two seconds.
        """
        deadline = time.monotonic() + seconds
        lost = self._state.phase is not AccountPhase.WATCHING
        while not self._stopping.is_set():
            left = deadline - time.monotonic()
            working = self._state.phase is AccountPhase.WATCHING
            lost |= not working
            if left <= 0 or (working and lost and seconds - left > 2.0):
                return
            self._stopping.wait(min(left, 2.0))


def fetch_now(
    identity: Identity, store: Store, account: Account
) -> Callable[[MailSession, Filter], bytes | None]:
    """A question for `ask`: the bytes of a mail where it lies now."""

    def question(session: MailSession, _: Filter) -> bytes | None:
        for sighting in store.sighting_of(account.name, identity):
            if sighting.gone_at is not None:
                continue
            try:
                for mail in session.fetch([sighting.ref]):
                    return mail.raw
            except MailboxError as error:
                if isinstance(error, ConnectionLost):
                    raise
        return None

    return question
