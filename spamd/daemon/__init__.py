"""The composition root: builds every object once, starts and stops what runs, and is the `Engine` behind
`Control`.

Order of a start: the lock (one daemon per home), the store, the model, the lessons since the last night, the
accounts, the pages. Order of a stop: no new requests, the accounts' threads (what was begun is finished),
the trainer (killed: it has changed nothing), the store. A stop takes at most five seconds.

The rooms of spamd.daemon; none imports one that comes later in this list:

    ========= ===========================================================================
    process   one for each home, seen by systemd, small
    pauses    for how long the person wants no verdicts and no moves
    long_work training and first readings under way, as they are told
    readings  first readings at work
    ========= ===========================================================================
"""

from __future__ import annotations

import contextlib
import gc
import logging
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from spamd import __version__, logs, settings, upgrade
from spamd.account_worker import AccountWorker, Opener, fetch_now
from spamd.answers import AccountCheck, AccountPhase, AccountState, Progress, ServerGuess, SignIn
from spamd.daemon.long_work import LongWork
from spamd.daemon.pauses import Pauses
from spamd.daemon.process import bring_back, give_back_memory, lock, make_database, notify, spare_memory
from spamd.daemon.readings import Readings
from spamd.domain import Account, AccountName, AuthMethod, GateReport, Identity, ModelId
from spamd.errors import (
    AlreadyRunning,
    ConfigError,
    ConnectionLost,
    ModelError,
    NotFound,
    RequestError,
    SpamdError,
    StoreError,
    Unreadable,
)
from spamd.file_lock import FileLock
from spamd.imitation import Imitations
from spamd.judgement import schedule
from spamd.learning.first_reading import reading_unfinished
from spamd.learning.lessons import lessons
from spamd.paths import FULL

if TYPE_CHECKING:
    from spamd.control import Control
    from spamd.credentials import Secrets
    from spamd.file_watch import Watcher
    from spamd.mailbox.oauth import PendingSignIn
    from spamd.model.bundle import Bundles
    from spamd.model.scoring import Scorer
    from spamd.paths import Paths
    from spamd.settings import Settings
    from spamd.store.database import Store
    from spamd.upgrade import Program
    from spamd.web.server import WebServer

log = logging.getLogger(__name__)

PULSE = 10.0
"""Seconds between two looks at the clock (sleep, the night, the day's tidying)."""
SETTINGS_STAY = "The settings stay as they were."
STOP_SECONDS = 4.0
PRUNE_EVERY = 86400.0
NIGHT_EVERY = 60.0
LESSONS = 5000
FETCH_SECONDS = 20.0


class Night(Protocol):
    """The nightly training, as the daemon sees it."""

    def due(self) -> schedule.Due: ...

    def run_night(
        self, *, from_scratch: bool = False, tell: Callable[[int, int, str], None] = ...
    ) -> GateReport:
        """Blocks until the trainer has ended and the gate has spoken. TrainingError when it could not."""
        ...

    def roll_back_on_rescues(self) -> ModelId | None:
        """Go back to the model before, when the person takes back many moves of this one."""
        ...

    def stop(self) -> None:
        """Kill the trainer; nothing is changed by that."""
        ...


class Daemon:
    """Everything that runs. Implements spamd.control.engine.Engine; its methods may be called from any thread."""

    def __init__(
        self,
        paths: Paths,
        *,
        clock: Callable[[], float] = time.time,
        opener: Opener | None = None,
        rng: random.Random | None = None,
        serve: bool = True,
        poll: float | None = None,
        program: Program | None = None,
    ) -> None:
        """opener: how mailboxes are reached (default: as the accounts say). serve: with pages and API.

        program: looked at for an upgrade under our feet; `upgraded` then says why `run` has ended.
        """
        self._paths = paths
        self._clock = clock
        self._given_opener = opener
        self._rng = rng or random.Random()
        self._serve = serve
        self._poll = poll
        self._program = program
        self._told_broken = False
        self._looking: threading.Thread | None = None
        self._anew = False  # it ends to go on as the program that is on the disk now, or with the database that is there
        self._place: FileLock | None = None
        self._told_to_stop = False
        self._stopping = threading.Event()
        self._changing = threading.RLock()  # workers and settings
        self._workers: dict[AccountName, AccountWorker] = {}
        self._leaving: list[AccountWorker] = []  # told to stop, and not yet at an end
        self._work = LongWork(self._publish)
        self._background: list[threading.Thread] = []
        self._training = threading.Lock()
        self._ready = threading.Event()
        self._night: Night | None = None
        self._web: WebServer | None = None
        self._watcher: Watcher | None = None
        self._pruned_at = float("-inf")
        self._night_asked_at = float("-inf")
        self.control: Control | None = None
        self._settings: Settings
        self._store: Store
        self._bundles: Bundles
        self._scorer: Scorer
        self._secrets: Secrets
        self._opener: Opener
        self._pauses: Pauses
        self._readings: Readings
        self._pending_sign_ins: list[tuple[AccountName, PendingSignIn]] = []
        self._teaching = threading.Lock()

    # -- life

    def run(self) -> None:
        """Until `stop`. AlreadyRunning, ConfigError, StoreError or ModelError when it cannot begin.

        A full disk is waited out: whoever starts us with the session gives up after a few tries.
        """
        with contextlib.ExitStack() as stack:
            self._take_place(stack)
            if self._stopping.is_set():
                return
            self._build(stack)
            stack.callback(self._shut_down)
            self._start()
            self._ready.set()
            notify("READY=1\nSTATUS=")
            log.info("spamd %s is ready, accounts: %d", __version__, len(self._workers))
            give_back_memory()
            gc.freeze()
            self._beat()
            if not self.upgraded:  # else the service goes on, as the new program
                notify("STOPPING=1")
            log.info("stopping")

    def stop(self) -> None:
        self._told_to_stop = True
        self._stopping.set()

    @property
    def upgraded(self) -> bool:
        """It has ended to begin anew. Who told it to stop is obeyed, also while a new program was tried."""
        return self._anew and not self._told_to_stop

    def wait_until_ready(self, timeout: float) -> bool:
        return self._ready.wait(timeout)

    def _take_place(self, stack: contextlib.ExitStack) -> None:
        """The lock, and room for what a start writes."""
        told = False
        while not self._stopping.is_set():
            try:
                if self._place is None:
                    self._place = stack.enter_context(lock(self._paths.lock_file))
                if self._paths.has_room():
                    return
            except OSError as error:
                if error.errno not in FULL:
                    raise
            if not told:
                told = True
                log.error("There is no room on the disk: the filter waits for it. Mail stays where it is.")
                notify("READY=1\nSTATUS=Waiting for room on the disk.")  # or the start would time out
            self._stopping.wait(PULSE)

    def _build(self, stack: contextlib.ExitStack) -> None:
        from spamd.credentials import Secrets
        from spamd.model.bundle import Bundles
        from spamd.model.poison import Poison
        from spamd.model.scoring import Scorer
        from spamd.paths import shipped_model
        from spamd.store.database import Store

        self._paths.make()
        self._settings = settings.load(self._paths.config_file)
        for warning in self._settings.warnings:
            log.warning("%s", warning)
        self._secrets = Secrets.choose(self._settings, self._paths)
        bring_back(self._paths)
        database = self._paths.database
        make_database(database)
        self._store = stack.enter_context(
            Store(database, clock=self._clock, display=self._settings.display)  # type: ignore[arg-type]
        )
        self._bundles = Bundles(self._paths.personal_models, shipped_model())
        imitations = Imitations(self._store, lambda: [account.name for account in self._settings.accounts])
        poison = Poison(self._paths.state)
        stack.callback(poison.close)
        self._scorer = Scorer(self._bundles, imitates=imitations, poison=poison)
        self._pauses = Pauses(self._store, self._clock)
        self.rebuild_scores()
        self._opener = self._given_opener or self._default_opener()
        self._readings = Readings(
            self._opener,
            self._store,
            self._scorer,
            self._work,
            tell=self._tell,
            stopping=self._stopping,
            clock=self._clock,
            rng=self._rng,
        )

    def _default_opener(self) -> Opener:
        from spamd.opening import Opening

        return Opening(lambda _: self._secrets, self._store, clock=self._clock, paths=self._paths)

    def _start(self) -> None:
        from spamd.control import Control

        self.control = Control(
            paths=self._paths,
            store=self._store,
            scorer=self._scorer,
            bundles=self._bundles,
            engine=self,
            secrets=self._secrets,
            clock=self._clock,
        )
        self.control.settings.all()  # read while they are good: the pages keep them when the file breaks
        self._settle_settings()
        self.control.accounts.end_sign_ins()
        self._night = self._make_night()
        with self._changing:
            for account in self._settings.accounts:
                if account.name not in self._workers:  # what ended a sign-in has read the settings anew
                    self._start_worker(account)
        self._watch_files()
        if self._serve:
            from spamd.web.server import WebServer

            self._web = WebServer(self.control, self._paths)
            self._web.start()
        for account in self._settings.accounts:
            if reading_unfinished(self._store, account) and not account.paused:
                self.start_first_reading(account.name)

    def _make_night(self) -> Night:
        from spamd.nightly import Nightly

        return Nightly(
            paths=self._paths,
            store=self._store,
            bundles=self._bundles,
            settings=lambda: self._settings,
            clock=self._clock,
        )

    def _shut_down(self) -> None:
        self._stopping.set()
        with self._changing:  # who reads the settings just now starts no worker after this
            workers = [*self._workers.values(), *self._leaving]
        deadline = time.monotonic() + STOP_SECONDS
        for worker in workers:
            worker.stop()
        if self._watcher is not None:
            self._watcher.stop()
        if self._night is not None:
            with contextlib.suppress(Exception):
                self._night.stop()
        for _, pending in list(self._pending_sign_ins):
            pending.cancel()
        if self._web is not None:
            self._web.stop()
        for worker in workers:
            if not worker.join(deadline):
                log.warning("%s: cut off while waiting for the server", worker.account.name)
        for thread in self._background:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._store.removed:  # also since the last look: who told us to stop did not mean the ledger
            self._write_back()

    def _write_back(self) -> None:
        log.error("the database was removed: it is written back")
        self._tell("error", "The database was removed while the filter ran. It was written back.")
        for path in (self._paths.database, self._paths.rescued_database):
            try:
                self._store.write_back(path)
            except StoreError as error:
                log.error("the database cannot be written back: %s", error)
            else:
                return

    def _beat(self) -> None:
        """The main thread's work: the clock."""
        from spamd.mailbox.network import Network, News

        wall, steady = self._clock(), time.monotonic()
        network = Network()
        while not self._stopping.wait(PULSE):
            wall_now, steady_now = self._clock(), time.monotonic()
            slept = schedule.slept(steady_now - steady, wall_now - wall, PULSE)
            wall, steady = wall_now, steady_now
            try:
                if slept:
                    log.info("the machine slept, or its clock was set")
                    for worker in list(self._workers.values()):
                        worker.awake_again()
                news = network.look()
                if news is not News.NOTHING:
                    log.info("the network: %s", news.value)
                    for worker in list(self._workers.values()):
                        (worker.awake_again if news is News.MOVED else worker.kick)()
                self._keep_files()
                self._due(wall_now)
                if self._program is not None and self._program.differs():
                    self._look_at(self._program)
            except Exception:
                log.exception("the hourly work failed")

    def _keep_files(self) -> None:
        """What was removed from under us (somebody tidied up): taken again, written anew, or we begin anew."""
        if self._web is not None:
            self._web.keep_run_file()
        if self._store.removed or self._store.replaced:
            what = "is gone from" if self._store.removed else "was replaced by another one in"
            log.error("the open database %s its place: the filter begins anew", what)
            self._anew = True
            self._stopping.set()
        elif self._place is not None and not self._place.held:
            self._place.release()
            if not self._place.take():
                log.error("another filter has this home now: this one ends")
                self.stop()

    def _due(self, now: float) -> None:
        if not 0 <= now - self._pruned_at < PRUNE_EVERY:
            from spamd.mailbox import lease

            self._pruned_at = now
            try:
                self._store.prune(now, self._settings.keep_days)
            except (SpamdError, OSError):  # a full disk must not keep a pause from ending
                log.exception("old entries could not be removed")
            lease.keep()
            give_back_memory()
        if self._pauses.end(now):
            for worker in list(self._workers.values()):
                worker.wake()
        asked_lately = 0 <= now - self._night_asked_at < NIGHT_EVERY
        if self._night is not None and not asked_lately and not self._training.locked():
            self._night_asked_at = now
            if self._night.roll_back_on_rescues() is not None:
                self.model_changed()
            if self._night.due().due:
                self._start_night(from_scratch=False)

    def _look_at(self, program: Program) -> None:
        """In a thread: the new program is tried, and may take its time, while we are asked to stop."""
        if self._looking is None or not self._looking.is_alive():
            self._looking = threading.Thread(
                target=lambda: self._judge_program(program), name="upgrade", daemon=True
            )
            self._looking.start()

    def _judge_program(self, program: Program) -> None:
        from spamd.upgrade import Change

        change = program.look()
        if change is Change.NEW:
            log.info("spamd was upgraded: going on as the new version")
            self._anew = True
            self._stopping.set()
        elif change is Change.GONE:
            log.warning("spamd was removed from this computer: the filter ends")
            self._tell("error", "spamd was removed while it ran, so it has ended.")
            self.stop()
        elif change is Change.BROKEN and not self._told_broken:
            self._told_broken = True
            log.error("the program on the disk has changed and does not start; this one goes on from memory")
            text = "The installed spamd is damaged and does not start. What runs goes on as long as it can."
            self._tell("error", f"{text} Install spamd again.", needs_person=True)

    # -- accounts

    def _start_worker(self, account: Account) -> None:
        from spamd.mailbox.lease import mailbox_key

        worker = AccountWorker(
            account,
            store=self._store,
            scorer=self._scorer,
            opener=self._opener,
            paused_until=partial(self._pauses.of, account.name),
            hold_labels=self._settings.hold_labels,
            daily_bytes=self._settings.daily_bytes,
            publish=self._publish,
            clock=self._clock,
            rng=random.Random(self._rng.random()),
            **({} if self._poll is None else {"poll": self._poll}),
        )
        self._workers[account.name] = worker
        self._leaving = [left for left in self._leaving if left.threads()]
        worker.start(after=[one for one in self._leaving if mailbox_key(one.account) == mailbox_key(account)])

    def _worker(self, name: AccountName) -> AccountWorker:
        worker = self._workers.get(name)
        if worker is None:
            raise NotFound(f"There is no account called {name!r}.", "`spamdctl account list` shows them.")
        return worker

    def _chosen(self, name: AccountName | None) -> list[AccountWorker]:
        return list(self._workers.values()) if name is None else [self._worker(name)]

    def account_states(self) -> Sequence[AccountState]:
        reading = {
            progress.account
            for progress in self.progress()
            if progress.kind == "first-reading" and not progress.finished
        }
        states = []
        for worker in list(self._workers.values()):
            state = worker.state()
            if state.name in reading and state.phase is AccountPhase.WATCHING:
                state = replace(state, phase=AccountPhase.READING)
            states.append(state)
        return states

    def reload_settings(self) -> None:
        with self._changing:
            if self._stopping.is_set():
                return
            try:
                fresh = settings.load(self._paths.config_file)
            except ConfigError as error:
                log.warning("the settings stay as they were: %s", error)
                self._settle_settings()
                self._tell("error", f"{SETTINGS_STAY} {error}", needs_person=True)
                return
            self._settle_settings()
            before, self._settings = self._settings, fresh
            logs.set_level(fresh.log_level)
            if fresh.display != before.display:
                self._store.set_display(fresh.display)  # type: ignore[arg-type]
            if (fresh.secrets, fresh.accounts) != (before.secrets, before.accounts):
                from spamd.credentials import Secrets

                self._secrets = Secrets.choose(fresh, self._paths)
            wanted = {account.name: account for account in fresh.accounts}
            everything = (fresh.hold_labels, fresh.daily_bytes) != (before.hold_labels, before.daily_bytes)
            for name, worker in list(self._workers.items()):
                if everything or wanted.get(name) != worker.account:
                    worker.stop()
                    if not worker.join(time.monotonic() + STOP_SECONDS):
                        self._leaving.append(worker)
                    del self._workers[name]
                    self._forget_opening(worker.account)
                    if self._stopping.is_set():
                        return
            for account in fresh.accounts:
                if account.name in self._workers:
                    self._workers[account.name].kick()
                else:
                    try:
                        self._start_worker(account)
                    except SpamdError as error:  # the others are served all the same
                        log.error("%s: %s", account.name, error)
        self._publish("state", {"settings": True})

    def _settle_settings(self) -> None:
        """What was wrong with the settings is no more, or is something else now."""
        with contextlib.suppress(StoreError):  # a full disk: then it is told a while longer
            for event in self._store.events(needs_person=True):
                if event.text.startswith(SETTINGS_STAY):
                    self._store.settle_event(event.id)

    def _forget_opening(self, account: Account) -> None:
        forget = getattr(self._opener, "forget", None)
        if forget is not None:
            forget(account)

    def wake(self, account: AccountName | None) -> None:
        for worker in self._chosen(account):
            worker.kick()

    # -- pausing

    def pause(self, account: AccountName | None, until: float | None) -> None:
        self._pauses.pause(account, until)
        self._publish("state", {"account": account, "paused": True})

    def resume(self, account: AccountName | None) -> None:
        # Those of the settings: an account that begins anew has no worker for a moment, and stays paused.
        self._pauses.resume(account, [one.name for one in self._settings.accounts])
        self._publish("state", {"account": account, "paused": False})
        for worker in self._chosen(account) if account in self._workers or account is None else []:
            worker.wake()

    # -- what the person asks for

    def go_on(self, account: AccountName) -> None:
        self._worker(account).go_on()

    def put_back(self, move_ids: Sequence[int]) -> None:
        self._order("put-back", move_ids, self._store.move)

    def file_junk(self, judgement_ids: Sequence[int]) -> None:
        self._order("file-junk", judgement_ids, self._store.judgement)

    def _order(self, kind: str, numbers: Sequence[int], find: Callable[[int], object]) -> None:
        """Each to its account; what one account cannot do never keeps another from it."""
        chosen: dict[AccountName, list[int]] = {}
        for number in numbers:
            row = find(number)
            name = getattr(row, "account", None)
            if name is not None:
                chosen.setdefault(name, []).append(number)
        for name, own in chosen.items():
            worker = self._workers.get(name)
            if worker is None:
                log.warning("%s: this account is not served any more", name)
                continue
            worker.order(kind, own)
            worker.labels_changed()

    def fetch_mail(self, account: AccountName, identity: Identity) -> bytes | None:
        worker = self._worker(account)
        try:
            return worker.ask(fetch_now(identity, self._store, worker.account), FETCH_SECONDS)
        except TimeoutError:
            raise ConnectionLost("The mailbox does not answer now.", "Try again in a moment.") from None

    def check_account(self, account: Account, secret: str | None) -> AccountCheck:
        from spamd.opening import Opening, check

        return check(account, Opening(self._secrets, clock=self._clock, secret=secret, paths=self._paths))

    def find_servers(self, address: str, *, look_up: bool = False) -> Sequence[ServerGuess]:
        from spamd.opening import find_servers

        known = self._settings
        return find_servers(address, replace(known, look_up_servers=True) if look_up else known)

    def sign_in(self, account: Account) -> SignIn:
        from spamd.opening import begin_sign_in

        if account.auth is not AuthMethod.OAUTH:
            raise RequestError("This account signs in with a password.", "Set it on the Accounts page.")
        pending = begin_sign_in(account, self._paths)
        self._spawn(f"sign-in {account.name}", lambda: self._finish_sign_in(account, pending))
        return SignIn(account.name, pending.url, pending.code, pending.expires_at)

    def _finish_sign_in(self, account: Account, pending: PendingSignIn) -> None:
        begun = (account.name, pending)
        with self._changing:
            self._pending_sign_ins.append(begun)
        try:
            if not self._keep_grant(account, pending.wait()):
                return
        except SpamdError as error:
            if not self._stopping.is_set():
                self._tell("account", f"The sign-in did not work. {error}", account=account.name)
                with self._changing:
                    again = any(
                        name == account.name and one is not pending for name, one in self._pending_sign_ins
                    )
                if self.control is not None and not again:
                    self.control.accounts.sign_in_ended(account.name)
            return
        finally:
            with self._changing:
                self._pending_sign_ins.remove(begun)
        if self.control is not None:
            self.control.accounts.sign_in_ended(account.name)
        self._tell("account", "You are signed in.", account=account.name)
        self.reload_settings()

    def _keep_grant(self, account: Account, grant: str) -> bool:
        """False where the account was removed while the browser was open: its grant goes, too."""
        assert self.control is not None
        with self.control.settings.changing:
            now = self.control.settings.now().account(account.name)
            if now is not None and (now.user, now.oauth_provider) == (account.user, account.oauth_provider):
                self._secrets.set(account.name, grant)
                return True
        from spamd.opening import end_sign_in

        end_sign_in(account, grant, self._paths)
        return False

    # -- labels and models

    def rebuild_scores(self) -> None:
        """The instant head and the memory of copies, from the ledger."""
        self._scorer.rebuild(lessons(self._store, self._clock(), LESSONS))
        for worker in list(self._workers.values()):
            worker.labels_changed()

    def train(self, from_scratch: bool) -> None:
        if self._night is None:
            raise RequestError("Training is not installed.", 'pip install "spamd-desktop[train]"')
        if not self._start_night(from_scratch=from_scratch):
            raise RequestError(
                "A training runs already.", "`spamdctl status` and the Model page show how far it is."
            )

    def _start_night(self, *, from_scratch: bool) -> bool:
        if not self._training.acquire(blocking=False):
            return False
        self._spawn("night", lambda: self._run_night(from_scratch))
        return True

    def _run_night(self, from_scratch: bool) -> None:
        assert self._night is not None
        began = self._clock()

        def note(done: int, total: int, text: str, finished: bool = False, error: str = "") -> None:
            self._work.note(Progress("train", None, done, total, text, began, finished, error))

        try:
            note(0, 0, "Training.")
            report = self._night.run_night(from_scratch=from_scratch, tell=note)
            told = "A new model serves." if report.promoted else "The model stays."
            text = " ".join(("The training waits." if report.waits else told, *report.reasons))
            self.model_changed()  # also where it is the shipped one again
            note(1, 1, text, finished=True)
        except SpamdError as error:
            if not self._stopping.is_set():
                note(0, 0, "", finished=True, error=str(error))
                self._tell("night", f"No training: {error}")
        except Exception as error:
            log.exception("the night failed")
            note(0, 0, "", finished=True, error=type(error).__name__)
        finally:
            self._training.release()

    def model_changed(self) -> None:
        """The pointer to the current model changed: swap between two mails."""
        try:
            if not self._scorer.reload():
                return
        except ModelError as error:
            log.warning("the model stays: %s", error)
            self._tell("model", f"A model file was refused. {error}", needs_person=True)
            return
        card = self._scorer.card
        self.rebuild_scores()
        log.info("model %s serves", card.id)
        self._tell("model", f"Model {card.id} serves.")
        self._publish("state", {"model": card.id})

    # -- the first reading

    def start_first_reading(self, account: AccountName) -> None:
        worker = self._worker(account)
        started = self._readings.begin(account)
        self._spawn(f"reading {account}", lambda: self._readings.run(worker, started))

    # -- telling

    def _tell(
        self, kind: str, text: str, *, account: AccountName | None = None, needs_person: bool = False
    ) -> None:
        """An event. Where none can be written (a full disk) what it tells of has happened all the same."""
        try:
            self._store.add_event(kind, text, account, needs_person)
        except StoreError as error:
            log.warning("this could not be written down: %s (%s)", text, error.title)

    def progress(self) -> Sequence[Progress]:
        return self._work.all()

    def _publish(self, kind: str, data: Mapping[str, object]) -> None:
        if self.control is not None:
            self.control.feed.publish(kind, data)

    def _spawn(self, name: str, work: Callable[[], None]) -> None:
        self._background = [thread for thread in self._background if thread.is_alive()]
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._background.append(thread)
        thread.start()

    # -- files

    def _watch_files(self) -> None:
        from spamd.file_watch import Watcher

        self._watcher = Watcher(
            {
                self._paths.config_file: self.reload_settings,
                self._paths.personal_models / "current": self.model_changed,
                self._paths.teach_spam: self._teach,
                self._paths.teach_ham: self._teach,
            }
        )
        self._watcher.start()
        self._spawn("teach", self._teach)

    def _teach(self) -> None:
        """Mail files dropped into the teach folders are learned, once they are whole."""
        from spamd.maildir.teach import TeachFolder

        if self.control is None or not self._teaching.acquire(blocking=False):
            return
        try:
            folder = TeachFolder(self._paths.teach_spam, self._paths.teach_ham)
            while not self._stopping.is_set():
                for taught in folder.collect():
                    try:
                        self.control.labels.teach_mail(taught.raw, taught.label)
                    except RequestError as error:
                        log.info("a mail file waits: %s", error.title)  # there is no account yet
                        return
                    except Unreadable as error:
                        log.warning("a mail file cannot be learned: %s", error.title)
                        folder.refuse(taught)
                        continue
                    except (SpamdError, OSError):
                        raise
                    except Exception:  # a file that breaks the reader must not keep the others waiting
                        log.exception("a mail file cannot be learned")
                        folder.refuse(taught)
                        continue
                    if not folder.done(taught):
                        return  # or it would be learned once a second
                if not folder.pending():
                    return
                self._stopping.wait(1.0)
        except (SpamdError, OSError) as error:
            log.warning("the teach folder: %s", type(error).__name__)
        finally:
            self._teaching.release()


def main(paths: Paths, *, foreground: bool = True) -> int:
    """Run until SIGTERM or Ctrl-C. The exit code: 0 stopped, 1 could not begin, 3 runs already.

    After an upgrade the new program takes this one's place, in the same process.
    """
    try:
        level = settings.load(paths.config_file).log_level
    except ConfigError:
        level = "info"
    logs.configure(paths, level, foreground=foreground)
    spare_memory()
    program = upgrade.Program(["run"] if foreground else ["run", "--quiet"])
    daemon = Daemon(paths, program=program)

    def end(number: int, _: object) -> None:
        log.info("%s", signal.Signals(number).name)
        daemon.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda *_: daemon._spawn("reload", daemon.reload_settings))
        # Whoever started us may have blocked them, as the icon has, and a child takes that over.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    try:
        daemon.run()
    except AlreadyRunning as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 3
    except SpamdError as error:
        log.error("%s", error)
        if not foreground:  # there the log is on the terminal already
            print(error, file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:  # a full disk, rights, no loopback
        log.error("The filter cannot begin: %s. `spamdctl doctor` says more.", error)
        if not foreground:
            print(f"The filter cannot begin: {error}. `spamdctl doctor` says more.", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        if not daemon.upgraded:
            logs.close()
    if daemon.upgraded:
        try:
            program.become()
        except OSError as error:
            log.error("the new version cannot be started: %s", error)
            return 1
        finally:
            logs.close()
    return 0
