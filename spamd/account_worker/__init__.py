"""One account at work: a thread that watches (IDLE) and a thread that acts, each with its own connection.

The acting thread owns the session, the filter and the learner; everything else talks to it through `wake`,
`ask` and `order`. It ends only when told to: whatever fails is told, waited out (with jitter; a sign-in that
was refused waits for the person) and begun anew. Other accounts never notice.

This is the acting thread; the rooms beside it, none of which knows another:

    ========= ================================================================
    watching  the thread that waits for changes
    orders    what the person wants done to mails, kept until it is done
    day_meter bytes a day, against what the provider allows
    ========= ================================================================
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from spamd.account_worker.day_meter import DayMeter
from spamd.account_worker.orders import Order, Orders
from spamd.account_worker.watching import SIGN_IN_RETRY, Watching
from spamd.answers import AccountPhase, AccountState, Publish
from spamd.domain import (
    Account,
    Evidence,
    Identity,
    Label,
    LabelSource,
    Mode,
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
from spamd.source import MailSession, Mover, Opener

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
KEYRING_RETRY = 30.0
"""A keyring that is not open yet (the session has just begun) is asked again this often: the person opens it for whatever
needs it first, and is not prompted by us again.
"""
SIGN_IN = "sign-in"
"""Kind of the events that end with the next sign-in."""
CLOCK_RETRY = 10.0
"""Seconds until a clock that was never set is looked at again; that it was set is mostly noticed sooner (`awake_again`)."""
ORDER_TRIES = 5
DRAGS_SHARE = 0.02
"""Of the bytes of a day, on top of them: the person's drags cost little, and are seen also when new mail must wait."""


@dataclass(slots=True)
class _AtWork:
    """What belongs to one connection."""

    session: MailSession
    filter: Filter
    learner: Learner


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
        self._asks: deque[tuple[Callable[[_AtWork], object], Future[object]]] = deque()
        self._orders = Orders(store, account.name)
        self._threads: list[threading.Thread] = []
        self._after: list[threading.Thread] = []
        self._state = AccountState(account.name, AccountPhase.STARTING)
        self._state_lock = threading.Lock()
        self._told: str = ""
        self._evidence: Evidence | None = None
        self._evidence_stale = True
        self._tidied_at = float("-inf")
        self._meter = DayMeter(account.name, store, daily_bytes, clock)
        self._told_day = ""
        self._watching = Watching(
            account,
            opener,
            changed=self.wake,
            working=lambda: self._state.phase is AccountPhase.WATCHING,
            stopping=self._stopping,
            rng=self._rng,
        )

    # -- from other threads

    def start(self, after: Sequence[AccountWorker] = ()) -> None:
        """after: earlier workers of this mailbox, which may still hang in a read; nothing is done before they have
        ended. Two at once would be two clients that move the same mail.
        """
        self._after = [thread for worker in after for thread in worker.threads()]
        if self.account.paused:
            self._say(AccountPhase.PAUSED, "Paused in the settings.")
            return
        for name, target in (("work", self._run), ("watch", self._watching.run)):
            thread = threading.Thread(target=target, name=f"{name} {self.account.name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Ask both threads to end; returns at once."""
        self._stopping.set()
        with self._work:
            self._work.notify_all()
        self._watching.interrupt()

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
            self._reconnect = self._woken = self._kicked = True
            self._work.notify_all()
        self._watching.renew()

    def instead_of_watching(self) -> contextlib.AbstractContextManager[None]:
        """In this block another connection takes the place of the one that watches: an account has two, no more.

        New mail is found by looking meanwhile.
        """
        return self._watching.lent()

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
        self._orders.add(kind, numbers)
        self.wake()

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
                    self._watching.renew()  # a box on the way may keep that one looking alive
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
        at_work.filter.later.again()
        due = [seconds for seconds in (look.waiting, at_work.filter.later.retry_in()) if seconds is not None]
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
        at_work.filter.later.end_old_locks()
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
        seconds = self._poll if self._watching.stands else min(self._poll, POLL_BLIND)
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
        while (order := self._orders.first()) is not None:
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
                    self._orders.drop(order)
                    raise  # the others need a connection that lives
            except SpamdError as error:
                self._tell(f"What you asked for could not be done: {error.title}")
            except Exception as error:
                log.exception("%s: an order failed", self.account.name)
                self._tell(f"What you asked for could not be done ({type(error).__name__}).")
            self._orders.drop(order)

    def _carry_out(self, at_work: _AtWork, order: Order) -> None:
        if order.kind == "put-back":
            record = self._store.move(order.number)
            if record is not None and record.account == self.account.name:
                at_work.filter.moves.put_back(record)
        elif order.kind == "go-on":
            at_work.filter.brake.release()
            at_work.filter.later.go_on()
        else:
            judgement = self._store.judgement(order.number)
            if judgement is not None and judgement.account == self.account.name:
                label = self._store.label_of(self.account.name, judgement.identity)
                if label is None or label.label is not Label.HAM or label.source is LabelSource.IMPLICIT:
                    at_work.filter.moves.file_junk(
                        judgement
                    )  # else the person thought better of it meanwhile

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
