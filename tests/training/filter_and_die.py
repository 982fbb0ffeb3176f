"""The filter of one mailbox, in a process that dies.

Reads orders as JSON lines: port, user, home, clock, since, and how to die. For each a child lives once, and is killed (-9),
if it comes that far:

    {"step": n}     it looks (learns, judges, moves), until before its n-th write to the database or to the mailbox
    {"moved": n}    it looks, until right after the server has carried out its n-th move
    {"swap": n, "plan": FILE}  a night whose trainer leaves what the plan says, until before the n-th step of taking it

Answers with the child's exit status. TensorFlow is not loaded here, so forking is safe.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from spamd import paths as places
from spamd.domain import Account, AccountName, Mode, TlsMode
from spamd.filtering import Filter
from spamd.learning import Learner
from spamd.learning.lessons import lessons
from spamd.learning.proof import assess_account
from spamd.mailbox.move_commands import ImapCommands
from spamd.mailbox.mover import JournaledMover
from spamd.mailbox.session import open_session
from spamd.model import bundle, gate
from spamd.model.bundle import Bundles
from spamd.model.scoring import Scorer
from spamd.nightly import Nightly
from spamd.settings import Settings
from spamd.store.database import Store
from spamd.trainer import TrainerProcess
from tests.servers.mailhost import PASSWORD

FAKE = Path(__file__).parents[1] / "fakes" / "trainer.py"

PROMISE = 0.01
WRITES = {
    "store": {
        "add_label",
        "add_sightings",
        "advance",
        "intent",
        "mark_gone",
        "record_judgement",
        "set_cursor",
        "set_keywords",
        "set_state",
    },
    "commands": {"move", "copy", "mark_deleted", "expunge", "lock", "unlock"},
}


MOVES = {"move", "copy"}
TAKING = {bundle: ("_write_whole", "_flush_folder"), Store: ("add_event", "set_state"), shutil: ("rmtree",)}
"""What a night does from the gate's word on: owner -> its functions."""


class Countdown:
    """Kills this process before the step-th call of what it is put around, or right after it."""

    def __init__(self, step: int, *, after: bool = False) -> None:
        self._left, self._after = step, after

    def around(self, function: Any) -> Any:
        def call(*args: object, **kwargs: object) -> object:
            self._left -= 1
            if self._left < 0 and not self._after:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = function(*args, **kwargs)
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return call


class Dying:
    """Passes every call on, those named past the countdown."""

    def __init__(self, real: object, names: set[str], countdown: Countdown) -> None:
        self._real, self._names, self._countdown = real, names, countdown

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        return self._countdown.around(found) if name in self._names else found


class Running:
    """Session, mover, filter and learner of one mailbox: what a start of the program makes of a home."""

    def __init__(
        self,
        account: Account,
        store: Any,
        scorer: Scorer,
        clock: Any,
        since: float,
        order: dict[str, Any] | None = None,
    ) -> None:
        self.account, self.store, self.scorer, self.clock = account, store, scorer, clock
        scorer.rebuild(lessons(store, clock(), 5000))
        self.session = open_session(account, PASSWORD)
        seen, commands = store, ImapCommands(self.session)  # type: Any, Any
        if order is not None and "moved" in order:
            commands = Dying(commands, MOVES, Countdown(order["moved"], after=True))
        elif order is not None:
            countdown = Countdown(order["step"])
            seen, commands = (
                Dying(store, WRITES["store"], countdown),
                Dying(commands, WRITES["commands"], countdown),
            )
        mover = JournaledMover(self.session, commands, seen, account.name, clock=clock)
        self.filter = Filter(self.session, mover, seen, scorer, account, evidence=self.evidence, clock=clock)
        self.learner = Learner(self.session, seen, scorer, account, since=since, clock=clock)
        self.filter.recover()

    def evidence(self) -> Any:
        return assess_account(self.store, self.scorer, self.account, self.clock())

    def look(self) -> bool:
        """One round of the account's worker. True: there was nothing to see."""
        self.filter.reconcile()
        look = self.learner.look()
        self.filter.judge(look.new)
        self.learner.settle(look)
        return look.quiet


def account_of(user: str, port: int) -> Account:
    """Of a person who wants mail moved from the first day on: with sixteen mails a day, evidence alone takes months."""
    return Account(
        AccountName(user),
        host="127.0.0.1",
        port=port,
        user=user,
        tls=TlsMode.NONE,
        promise=PROMISE,
        mode=Mode.FILTERING,
    )


def live_and_die(order: dict[str, Any]) -> None:
    paths = places.find({"SPAMD_HOME": order["home"]})
    clock = lambda: float(order["clock"])  # noqa: E731
    with Store(paths.database, clock=clock) as store:
        bundles = Bundles(paths.personal_models, places.shipped_model())
        if "swap" in order:
            take_and_die(paths, store, bundles, clock, order)
            return
        account = account_of(order["user"], order["port"])
        Running(account, store, Scorer(bundles), clock, order["since"], order).look()


def take_and_die(
    paths: places.Paths, store: Store, bundles: Bundles, clock: Any, order: dict[str, Any]
) -> None:
    trainer = TrainerProcess((sys.executable, "-I", "-S", str(FAKE), order["plan"]))
    job = Nightly(paths=paths, store=store, bundles=bundles, settings=Settings, clock=clock, trainer=trainer)
    countdown = Countdown(order["swap"])
    judge = gate.judge

    def judged(*args: Any, **kwargs: Any) -> Any:
        for owner, names in TAKING.items():
            for name in names:
                setattr(owner, name, countdown.around(getattr(owner, name)))
        return judge(*args, **kwargs)

    gate.judge = judged
    job.run_night()


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                live_and_die(json.loads(line))
            except BaseException:  # noqa: BLE001 - whatever it is, the parent must be told
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
