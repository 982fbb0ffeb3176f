"""The night: is it due, the training, the gate's word, promotion. Nothing changes before that.

Who trains (`spamd.trainer`) only reads the database and only writes the night's own folder below the cache. It can be killed
at any moment: until `Bundles.install` renames a whole folder, the old model serves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path

from spamd import paths as places
from spamd.domain import (
    AccountName,
    GateReport,
    Identity,
    Label,
    LabelSource,
    ModelCard,
    ModelId,
    MoveKind,
)
from spamd.errors import ModelError, StoreError, TrainingError
from spamd.judgement import evidence, schedule
from spamd.model import apart, bundle, gate
from spamd.model.bundle import Bundles
from spamd.paths import Paths
from spamd.settings import Settings
from spamd.store.database import Store
from spamd.trainer import TIME_LIMIT, Tell, Trainer, TrainerProcess, how_to_install

log = logging.getLogger(__name__)

FREE_BYTES = 100 * 2**20
LAST_NIGHT = "last_night"
REFUSALS = "refused_nights"
CONTRADICTING = "contradicting_labels"
BELIEVED = "believed_labels"
BELIEVED_MOST = 2000
PATIENCE = 2
"""Nights in a row in which labels that contradict the model are refused. Who let them stand so long means them."""
NEXT_NIGHT = schedule.CATCH_UP / 2
"""Seconds from which a refusal is one of another night: three clicks on "train now" are no patience."""
ATTEMPTS = 2
"""Trainings in one night: one more where labels were taken back, or came in late, while the first one learned."""
CLOCK_SLACK = 3600.0
"""A model whose knowledge ends further ahead than this was made with a wrong clock (seconds)."""
RESCUES_LEAST = 2
"""Mails taken back from which one may speak of a burst: anybody can change their mind about one."""
RESCUES_WINDOWS = (86400.0, 7 * 86400.0)
"""A bad night is seen within a day where there is much mail, within a week where there is little (seconds)."""
RESCUES_CHANCE = 0.002
"""So many or more taken back must be this unlikely under the promise: asked of 365 days, less than one model a year that
keeps it is given up. At 1 in 1,000: 2 of up to 60 good mails, 3 of 240, 6 of 1,000, 14 of 5,000."""
BY_HAND = frozenset(
    {LabelSource.DRAG, LabelSource.UNDO, LabelSource.REVIEW, LabelSource.ADDON, LabelSource.KEYWORD}
)
PLATFORM: str = sys.platform  # not narrowed by the type checker, which sees one platform at a time


def _silent(_done: int, _of: int, _text: str) -> None:
    pass


def contradicting(store: Store) -> list[tuple[AccountName, Identity]]:
    """Labels that no night has learned yet, because the model is sure of the contrary; not looked at yet.

    What was said anew since that night (the slip was dragged back) is for the next one, and nothing to ask about.
    """
    try:
        night = float(store.state(LAST_NIGHT) or "inf")
    except ValueError:
        night = math.inf
    waiting = _pairs(store, CONTRADICTING)
    return [one for one in waiting if (said := store.label_of(*one)) is None or not said.at > night]


def settle(store: Store, account: AccountName, identity: Identity) -> None:
    """The person has looked at this one. What they say of it now, the next night believes."""
    waiting = _pairs(store, CONTRADICTING)
    if (account, identity) not in waiting:
        return
    store.set_state(CONTRADICTING, json.dumps([one for one in waiting if one != (account, identity)]))
    store.set_state(BELIEVED, json.dumps([*_pairs(store, BELIEVED), (account, identity)][-BELIEVED_MOST:]))


def _pairs(store: Store, key: str) -> list[tuple[AccountName, Identity]]:
    try:
        rows = json.loads(store.state(key) or "[]")
        return [(AccountName(str(account)), Identity(str(identity))) for account, identity in rows]
    except (ValueError, TypeError):
        return []


def wipe(store: Store, bundles: Bundles, what: str) -> None:
    """`Store.wipe`, and with labels go the models that were made of them: the next night makes one of what is left."""
    kind, _, account = what.partition(":")
    if kind == "all" or (kind == "account" and store.labels(AccountName(account), limit=1)):
        bundles.wipe()
    if kind == "account":
        for key in (CONTRADICTING, BELIEVED):
            store.set_state(key, json.dumps([one for one in _pairs(store, key) if one[0] != account]))
    store.wipe(what)


class Nightly:
    """One per daemon. `run_night` blocks; `stop` may be called from any thread and is final."""

    def __init__(
        self,
        *,
        paths: Paths,
        store: Store,
        bundles: Bundles,
        settings: Callable[[], Settings],
        clock: Callable[[], float] = time.time,
        shipped: Path | None = None,
        trainer: Trainer | None = None,
    ) -> None:
        """trainer: who trains; it is stopped with this one. Default: a child process, `python -m spamd.training`."""
        self._paths = paths
        self._store = store
        self._bundles = bundles
        self._settings = settings
        self._clock = clock
        self._shipped = shipped or places.shipped_model()
        self._trainer = trainer or TrainerProcess()
        self._lock = threading.Lock()  # one night at a time
        self._stopped = threading.Event()
        self._tried: float | None = None
        shutil.rmtree(self._paths.cache / "night", ignore_errors=True)  # of a daemon that was killed

    # ---- when

    def installed(self) -> bool:
        return self._trainer.installed()

    def due(self) -> schedule.Due:
        """Should the trainer run now, and why (not)?"""
        if not self.installed():
            return schedule.Due(False, "the trainer is not installed")
        now = self._clock()
        if now < schedule.EARLIEST:
            return schedule.Due(False, "the clock of this computer is not set")
        settings = self._settings()
        due = partial(
            schedule.night_is_due,
            now,
            last_night=self._last_night(now),
            began=self._store.first_word(),
            min_labels=settings.night_min_labels,
            start=settings.night_start,
            end=settings.night_end,
            on_mains=on_mains(),
            on_battery_allowed=settings.on_battery,
            idle_seconds=quiet_seconds(),
        )
        # Forgetting reads the whole ledger (30 CPU ms for 10,000 labels), so it is asked only when a night could begin.
        by_forgetting = due(new_labels=settings.night_min_labels)
        if by_forgetting.due and self.forgotten():
            return by_forgetting
        return due(new_labels=self.new_labels())

    def new_labels(self) -> int:
        """Labels by the person that the model in force does not know yet, also if the clock was ahead when they were said."""
        known = self._bundles.current().card.known_until
        if known > self._clock() + CLOCK_SLACK:
            known = 0.0  # made while the clock was ahead; the next night begins from scratch
        fresh = self._store.labels(since=known, held=False)
        return sum(one.at > known and one.source is not LabelSource.IMPLICIT for one in fresh)

    def forgotten(self) -> bool:
        """Has the model in force learned a label that no longer holds (taken back, changed, held, wiped)?

        What one label did to the weights cannot be taken out of them again: the next night begins from scratch. So it
        does where a label older than the model came in after it.
        """
        card = self._bundles.current().card
        return card.taught not in ("", self._store.taught(card.known_until, card.doubted))

    def _last_night(self, now: float) -> float | None:
        text = self._store.state(LAST_NIGHT)
        try:
            last = float(text) if text else None
        except ValueError:
            last = None
        if last is not None and math.isnan(last):
            last = None
        if self._tried is not None:
            last = self._tried if last is None else max(last, self._tried)
        if last is not None and last > now + CLOCK_SLACK:
            # The clock was ahead that night. Set right once, or no night would be due until then.
            self._remember_night(now)
            return now
        return last

    def _remember_night(self, at: float) -> None:
        self._tried = at
        with contextlib.suppress(StoreError):  # a full disk: remembered at least until the daemon ends
            self._store.set_state(LAST_NIGHT, repr(at))

    # ---- the night

    def run_night(self, *, from_scratch: bool = False, tell: Tell = _silent) -> GateReport:
        """Train, judge, promote or discard. Blocks until the end.

        tell(done, of, text): progress. A night that is refused (by the gate, or because there is nothing to learn) is a
        report, not an error. TrainingError: the trainer is missing, was stopped, or failed; nothing has changed then.
        """
        if not self.installed():
            raise TrainingError(
                "The trainer is not installed.",
                f"{how_to_install()}. Until then what you teach counts at once, but is not built into the model.",
            )
        if not self._lock.acquire(blocking=False):
            raise TrainingError("Training runs already.", "Wait for its end.")
        folder = self._paths.cache / "night"
        try:
            deadline = time.monotonic() + TIME_LIMIT
            for _ in range(ATTEMPTS):
                report = self._night(folder, deadline, from_scratch=from_scratch, tell=tell)
                if report is not None:
                    return report
            return self._refused(
                GateReport(
                    False,
                    ("Labels were taken back while it was learned: the next night learns without them.",),
                )
            )
        except OSError as exc:
            raise TrainingError(
                f"The night failed: {exc.strerror}.", "Look at the disk, and at the rights of the folder."
            ) from exc
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if not self._stopped.is_set():
                # Also after a failure: what failed now fails again in ten seconds, and again all night.
                self._remember_night(self._clock())
            self._lock.release()

    def stop(self) -> None:
        """End the training, if one runs, and let none begin. The model in force goes on."""
        self._stopped.set()  # first: a night that was stopped is made up for
        self._trainer.stop()

    def _night(self, folder: Path, deadline: float, *, from_scratch: bool, tell: Tell) -> GateReport | None:
        """One training and what became of it. None: the ledger has changed meanwhile, so it was in vain.

        deadline: by `time.monotonic`, when the trainer is ended.
        """
        now = self._clock()
        if now < schedule.EARLIEST:  # every word would lie ahead, and be dated back to now
            raise TrainingError(
                "The clock of this computer is not set.", "Set it; the model in force goes on."
            )
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(mode=0o700, parents=True)
            free = shutil.disk_usage(folder).free
        except OSError as exc:
            raise TrainingError(
                f"{folder} cannot be made: {exc.strerror}.", "Look at its owner and free space."
            ) from exc
        if free < FREE_BYTES:
            raise TrainingError(
                f"Only {free // 2**20} MB are free.", "Make room; the model in force goes on."
            )
        parent = self._bundles.current()
        if parent.card.known_until > now + CLOCK_SLACK:
            # It was made while the clock was ahead: what was taught since would never count as new.
            log.info("the model's knowledge lies in the future: training from scratch")
            from_scratch = True
        self._store.date_back(now)
        if self.forgotten():
            log.info("a label that the model knew was taken back: training from scratch")
            from_scratch = True
        taught = self._store.taught(now)
        tell(0, 0, "Starting the trainer")
        arguments = [
            "--database",
            self._paths.database,
            "--parent",
            parent.folder,
            "--shipped",
            self._shipped,
        ]
        arguments += ["--out", folder / "candidate", "--until", repr(now)]
        arguments += ["--from-scratch"] * from_scratch
        stood = self._refusals(parent.card.id)[0] >= PATIENCE
        believed = [f"{account}\0{identity}" for account, identity in _pairs(self._store, BELIEVED)]
        if stood:
            arguments += ["--believe-all"]
        elif believed:
            (folder / "believed.json").write_text(json.dumps(believed), "utf-8")
            arguments += ["--believe", folder / "believed.json"]
        outcome = self._trainer.train(
            [str(one) for one in arguments], folder=folder, deadline=deadline, tell=tell
        )
        status = outcome.result.get("status")
        if status == "waits":
            if self.forgotten():
                self._unlearn(parent.card.id)
            report = GateReport(False, (str(outcome.result.get("reason", "")),), waits=True)
            self._store.add_event("night", f"The training waits. {' '.join(report.reasons)}")
            return report
        if outcome.was_killed:
            raise TrainingError(
                "The trainer was killed by the system or by another program.",
                "Perhaps memory ran out. Nothing has changed; the next night tries again, or: spamdctl train",
            )
        if status != "candidate" or outcome.code != 0:
            title = str(outcome.result.get("reason") or f"The trainer ended with code {outcome.code}.")
            hint = str(outcome.result.get("hint") or outcome.last_words or "The model in force goes on.")
            raise TrainingError(title, hint)
        try:
            examined, card = gate.load(folder / "candidate"), bundle.read_card(folder / "candidate")
        except ModelError as exc:
            raise TrainingError(exc.title, exc.hint) from exc
        card = dataclasses.replace(card, taught=self._store.taught(card.known_until, card.doubted))
        if self._store.taught(now) != taught:
            log.info("labels were taken back, or came in late, while the night learned: once more")
            return None
        examined = gate.believing(examined, believed)
        report = gate.judge(examined, stood=stood)
        judged = self._judged(folder / "candidate", card, report, parent.card.id)
        if judged is report:  # else neither model nor list of what is asked about has changed
            refused = (*parent.card.doubted, *gate.contradicting(examined))
            self._ask(card.doubted if report.promoted else refused)
        return judged

    def _ask(self, names: Iterable[str]) -> None:
        """About these labels ("account\0identity"), and no others. Nobody is asked twice."""
        answered = _pairs(self._store, BELIEVED)  # also while the night learned
        asked = [(account, identity) for account, _, identity in (name.partition("\0") for name in names)]
        asked = [one for one in asked if one not in answered][-gate.ASKED_MOST :]
        self._store.set_state(CONTRADICTING, json.dumps(asked))

    def _unlearn(self, model: ModelId) -> None:
        """No other model comes of what is left, and this one knows what was taken back: the shipped one serves."""
        self._bundles.reset()
        self._store.add_event(
            "model", f"Model {model} knew labels that were taken back. The model that came with spamd serves."
        )

    def _judged(self, candidate: Path, card: ModelCard, report: GateReport, parent: ModelId) -> GateReport:
        """Taken, or refused."""
        if not report.promoted:
            (refused, at), now = self._refusals(parent), self._clock()
            if abs(now - at) >= NEXT_NIGHT:
                self._store.set_state(REFUSALS, json.dumps([parent, refused + 1, now]))
                if refused >= PATIENCE and self.forgotten():
                    self._unlearn(parent)
            return self._refused(report)
        if self._bundles.current().card.id != parent:
            return self._refused(GateReport(False, ("Another model was chosen meanwhile.",), report.figures))
        card = dataclasses.replace(card, reasons=report.reasons, figures={**card.figures, **report.figures})
        try:
            bundle.write_card(candidate, card)
            # Before the model serves: thresholds of its larger scores are too strict for the one in force, not too lax.
            self._store.rescore(apart.load(candidate))
            self._bundles.install(candidate, keep=self._settings().keep_models)
        except ModelError as exc:
            raise TrainingError(exc.title, exc.hint) from exc
        text = f"A new model was taken ({card.labels.get('ham', 0)} good and {card.labels.get('spam', 0)} junk mails)."
        self._store.add_event("night", f"{text} {' '.join(report.reasons)}")
        return report

    def _refusals(self, parent: ModelId) -> tuple[int, float]:
        """In how many nights in a row the gate has refused a candidate beside this model, and when last."""
        try:
            model, count, at = json.loads(self._store.state(REFUSALS) or "[]")
        except (ValueError, TypeError):
            return 0, -math.inf
        usable = model == parent and isinstance(count, int) and isinstance(at, float)
        return (count, at) if usable else (0, -math.inf)

    def _refused(self, report: GateReport) -> GateReport:
        self._store.add_event("night", f"No new model tonight. {' '.join(report.reasons)}")
        return report

    # ---- afterwards

    def roll_back_on_rescues(self) -> ModelId | None:
        """Go back to the model before when the person takes back many moves of a young one; its id, or None.

        Many: more than the promise explains, of the good mail that this very model judged in a day or a week. Cheap: to
        be asked often.
        """
        now = self._clock()
        card = self._bundles.current().card
        if card.parent is None:
            return None
        rescued = {
            (one.account, one.identity): one.at
            for one in self._store.labels(since=now - max(RESCUES_WINDOWS), held=False)
            if one.label is Label.HAM and one.source in BY_HAND
        }
        if max(rescued.values(), default=-math.inf) < now - min(RESCUES_WINDOWS):
            return None  # an old burst was dealt with in its day
        count = next(
            (n for window in RESCUES_WINDOWS if (n := self._burst(card.id, rescued, now - window))), 0
        )
        if not count:
            return None
        before = self._bundles.roll_back()
        self._store.add_event(
            "model",
            f"You took {count} mails back that {card.id} had moved, more than you were promised. "
            f"I went back to {before.card.id}.",
            needs_person=True,
        )
        log.warning("rolled back from %s to %s after %d rescues", card.id, before.card.id, count)
        return before.card.id

    def _burst(self, model: ModelId, rescued: Collection[tuple[AccountName, Identity]], since: float) -> int:
        """How many of this model's moves since then were taken back; 0 if the promise explains them."""
        moves = self._store.moves(since=since, model_id=model, kind=MoveKind.JUNK, limit=100_000)
        count = len({(one.account, one.identity) for one in moves} & set(rescued))
        if count < RESCUES_LEAST:
            return 0
        settings = self._settings()
        promises = {account.name: account.promise for account in settings.accounts}
        expected = sum(
            good * promises.get(account, settings.promise)
            for account, good in self._store.good_judged(model, since).items()
        )
        return count if evidence.chance_of(count, expected) < RESCUES_CHANCE else 0


def on_mains(supplies: Path = Path("/sys/class/power_supply")) -> bool:
    """False only where the machine says that it runs on battery."""
    if PLATFORM == "linux":
        return _linux_on_mains(supplies)
    if PLATFORM == "darwin":
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            told = subprocess.run(
                ["pmset", "-g", "batt"], capture_output=True, text=True, timeout=5, check=False
            )
            return "Battery Power" not in told.stdout
    if PLATFORM == "win32":
        import ctypes

        status = (
            ctypes.c_byte * 12
        )()  # SYSTEM_POWER_STATUS; its first byte: 0 battery, 1 mains, 255 unknown
        if getattr(ctypes, "windll").kernel32.GetSystemPowerStatus(status):  # noqa: B009 absent elsewhere
            return status[0] != 0
    return True


def _linux_on_mains(supplies: Path) -> bool:
    mains: list[bool] = []
    discharging = False
    try:
        entries = sorted(supplies.iterdir())
    except OSError:
        return True
    for entry in entries:
        read = {}
        for name in ("type", "scope", "online", "status"):
            with contextlib.suppress(OSError):
                read[name] = (entry / name).read_text().strip()
        if read.get("scope") == "Device":
            continue  # a mouse or a headset
        if read.get("type") in ("Mains", "USB") and read.get("online") in ("0", "1"):
            mains.append(read["online"] == "1")
        if read.get("type") == "Battery" and read.get("status") == "Discharging":
            discharging = True
    return any(mains) or not discharging


def quiet_seconds() -> float | None:
    """For how long the machine has had little to do, by its load averages; None where they are unknown.

    A desktop's own idle time is not asked for: a daemon may have no session. Load says whether training disturbs.
    """
    try:
        one, five, fifteen = os.getloadavg()
    except (OSError, AttributeError):
        return None
    limit = 0.5 * (os.cpu_count() or 1)
    if one > limit or five > limit:
        return 0.0
    return 900.0 if fifteen <= limit else 300.0


__all__ = ["Nightly", "on_mains", "quiet_seconds"]
