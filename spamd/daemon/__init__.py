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
    workers   the accounts' workers, as the settings say
    sign_ins  those with the browser, waited for
    taught    mail files that the person puts into the folders that teach
    nights    the training at work
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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from spamd import __version__, logs, settings, upgrade
from spamd.account_worker import AccountWorker, fetch_now
from spamd.answers import AccountCheck, AccountPhase, AccountState, Progress, ServerGuess, SignIn
from spamd.daemon.long_work import LongWork
from spamd.daemon.nights import Nights
from spamd.daemon.pauses import Pauses
from spamd.daemon.process import bring_back, give_back_memory, lock, make_database, notify, spare_memory
from spamd.daemon.readings import Readings
from spamd.daemon.sign_ins import SignIns
from spamd.daemon.taught import TaughtMail
from spamd.daemon.workers import STOP_SECONDS, Workers
from spamd.domain import Account, AccountName, Identity, Judgement, MoveRecord
from spamd.errors import (
    AlreadyRunning,
    ConfigError,
    ConnectionLost,
    ModelError,
    SpamdError,
    StoreError,
)
from spamd.file_lock import FileLock
from spamd.imitation import Imitations
from spamd.judgement import schedule
from spamd.learning.first_reading import reading_unfinished
from spamd.learning.lessons import lessons
from spamd.paths import FULL
from spamd.source import Opener

if TYPE_CHECKING:
    from spamd.control import Control
    from spamd.credentials import Secrets
    from spamd.file_watch import Watcher
    from spamd.model.bundle import Bundles
    from spamd.model.scoring import Scorer
    from spamd.paths import Paths
    from spamd.settings import Settings
    from spamd.store.database import Store
    from spamd.trainer import Trainer
    from spamd.upgrade import Program
    from spamd.web.server import WebServer

log = logging.getLogger(__name__)

PULSE = 10.0
"""Seconds between two looks at the clock (sleep, the night, the day's tidying)."""
SETTINGS_STAY = "The settings stay as they were."
PRUNE_EVERY = 86400.0
LESSONS = 5000
"""Newest labels that a start teaches the instant head."""
FETCH_SECONDS = 20.0


class Daemon:
    """Everything that runs. Implements spamd.control.engine.Engine; its methods may be called from any thread."""

    def __init__(
        self,
        paths: Paths,
        *,
        clock: Callable[[], float] = time.time,
        opener: Callable[[Store], Opener] | None = None,
        trainer: Trainer | None = None,
        rng: random.Random | None = None,
        serve: bool = True,
        poll: float | None = None,
        program: Program | None = None,
    ) -> None:
        """opener: how mailboxes are reached, with this journal (default: as the accounts say). trainer: who trains
        (default: a child process). serve: with pages and API.

        program: looked at for an upgrade under our feet; `upgraded` then says why `run` has ended.
        """
        self._paths = paths
        self._clock = clock
        self._given_opener = opener
        self._trainer = trainer
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
        self._work = LongWork(self._publish)
        self._background: list[threading.Thread] = []
        self._ready = threading.Event()
        self._web: WebServer | None = None
        self._watcher: Watcher | None = None
        self._sign_ins: SignIns | None = None
        self._nights: Nights | None = None
        self._pruned_at = float("-inf")
        self.control: Control | None = None
        self._settings: Settings
        self._store: Store
        self._bundles: Bundles
        self._scorer: Scorer
        self._secrets: Secrets
        self._pauses: Pauses
        self._workers: Workers
        self._readings: Readings

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
        opener = (self._given_opener or self._default_opener)(self._store)
        self._pauses = Pauses(self._store, self._clock)
        self._workers = Workers(
            opener,
            self._store,
            self._scorer,
            self._pauses,
            publish=self._publish,
            stopping=self._stopping,
            clock=self._clock,
            rng=self._rng,
            poll=self._poll,
        )
        self._readings = Readings(
            opener,
            self._store,
            self._scorer,
            self._work,
            tell=self._tell,
            stopping=self._stopping,
            clock=self._clock,
            rng=self._rng,
        )
        self.rebuild_scores()

    def _default_opener(self, journal: Store) -> Opener:
        from spamd.opening import Opening

        return Opening(lambda _: self._secrets, journal, clock=self._clock, paths=self._paths)

    def _start(self) -> None:
        from spamd.control import Control
        from spamd.nightly import Nightly

        self.control = control = Control(
            paths=self._paths,
            store=self._store,
            scorer=self._scorer,
            bundles=self._bundles,
            engine=self,
            secrets=self._secrets,
            clock=self._clock,
        )
        self._sign_ins = SignIns(
            control,
            self._paths,
            secrets=lambda: self._secrets,
            signed_in=self.reload_settings,
            tell=self._tell,
            spawn=self._spawn,
            stopping=self._stopping,
        )
        self._nights = Nights(
            Nightly(
                paths=self._paths,
                store=self._store,
                bundles=self._bundles,
                settings=lambda: self._settings,
                clock=self._clock,
                trainer=self._trainer,
            ),
            self._work,
            model_changed=self.model_changed,
            tell=self._tell,
            spawn=self._spawn,
            stopping=self._stopping,
            clock=self._clock,
        )
        control.settings.all()  # read while they are good: the pages keep them when the file breaks
        self._settle_settings()
        control.accounts.end_sign_ins()
        with self._changing:
            self._workers.begin(self._settings)  # what ended a sign-in has read the settings anew
        self._watch_files(control)
        if self._serve:
            from spamd.web.server import WebServer

            self._web = WebServer(control, self._paths)
            self._web.start()
        for account in self._settings.accounts:
            if reading_unfinished(self._store, account) and not account.paused:
                self.start_first_reading(account.name)

    def _shut_down(self) -> None:
        self._stopping.set()
        with self._changing:  # who reads the settings just now starts no worker after this
            workers = self._workers.end()
        deadline = time.monotonic() + STOP_SECONDS
        if self._watcher is not None:
            self._watcher.stop()
        if self._nights is not None:
            with contextlib.suppress(Exception):
                self._nights.stop()
        if self._sign_ins is not None:
            self._sign_ins.cancel()
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
                    for worker in self._workers:
                        worker.awake_again()
                news = network.look()
                if news is not News.NOTHING:
                    log.info("the network: %s", news.value)
                    for worker in self._workers:
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
            for worker in self._workers:
                worker.wake()
        if self._nights is not None:
            self._nights.look(now)

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

    def _chosen(self, name: AccountName | None) -> Iterable[AccountWorker]:
        return self._workers if name is None else [self._workers.of(name)]

    def account_states(self) -> Sequence[AccountState]:
        reading = {
            progress.account
            for progress in self.progress()
            if progress.kind == "first-reading" and not progress.finished
        }
        states = []
        for worker in self._workers:
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
            self._workers.follow(fresh)
        self._publish("state", {"settings": True})

    def _settle_settings(self) -> None:
        """What was wrong with the settings is no more, or is something else now."""
        with contextlib.suppress(StoreError):  # a full disk: then it is told a while longer
            for event in self._store.events(needs_person=True):
                if event.text.startswith(SETTINGS_STAY):
                    self._store.settle_event(event.id)

    def wake(self, account: AccountName | None) -> None:
        for worker in self._chosen(account):
            worker.kick()

    # -- pausing

    def pause(self, account: AccountName | None, until: float | None) -> None:
        self._pauses.pause(account, until)
        self._publish("state", {"account": account, "paused": True})

    def forget_pause(self, account: AccountName) -> None:
        self._pauses.forget(account)

    def resume(self, account: AccountName | None) -> None:
        # Those of the settings: an account that begins anew has no worker for a moment, and stays paused.
        self._pauses.resume(account, [one.name for one in self._settings.accounts])
        self._publish("state", {"account": account, "paused": False})
        for worker in self._workers:
            if account in (None, worker.account.name):
                worker.wake()

    # -- what the person asks for

    def go_on(self, account: AccountName) -> None:
        self._workers.of(account).go_on()

    def put_back(self, move_ids: Sequence[int]) -> None:
        self._order("put-back", move_ids, self._store.move)

    def file_junk(self, judgement_ids: Sequence[int]) -> None:
        self._order("file-junk", judgement_ids, self._store.judgement)

    def _order(
        self, kind: str, numbers: Sequence[int], find: Callable[[int], Judgement | MoveRecord | None]
    ) -> None:
        """Each to its account; what one account cannot do never keeps another from it."""
        chosen: dict[AccountName, list[int]] = {}
        for number in numbers:
            row = find(number)
            if row is not None:
                chosen.setdefault(row.account, []).append(number)
        for name, own in chosen.items():
            worker = self._workers.get(name)
            if worker is None:
                log.warning("%s: this account is not served any more", name)
                continue
            worker.order(kind, own)
            worker.labels_changed()

    def fetch_mail(self, account: AccountName, identity: Identity) -> bytes | None:
        worker = self._workers.of(account)
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
        assert self._sign_ins is not None  # who asks came through the pages, and those begin later
        return self._sign_ins.begin(account)

    # -- labels and models

    def rebuild_scores(self) -> None:
        """The instant head and the memory of copies, from the ledger."""
        self._scorer.rebuild(lessons(self._store, self._clock(), LESSONS))
        for worker in self._workers:
            worker.labels_changed()

    def train(self, from_scratch: bool) -> None:
        assert self._nights is not None
        self._nights.train(from_scratch=from_scratch)

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
        worker = self._workers.of(account)
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

    def _watch_files(self, control: Control) -> None:
        from spamd.file_watch import Watcher

        teach_spam, teach_ham = self._paths.teach_spam, self._paths.teach_ham
        taught = TaughtMail(teach_spam, teach_ham, control.labels, stopping=self._stopping)
        self._watcher = Watcher(
            {
                self._paths.config_file: self.reload_settings,
                self._paths.personal_models / "current": self.model_changed,
                teach_spam: taught.learn,
                teach_ham: taught.learn,
            }
        )
        self._watcher.start()
        self._spawn("teach", taught.learn)


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
