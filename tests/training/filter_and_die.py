"""The filter of one mailbox, in a process that dies.

Reads orders as JSON lines: port, user, home, clock, step, since. For each a child looks once: learns, judges, moves. It is
killed (-9) before its `step`-th write to the database or to the mailbox, if it comes that far. Answers with the child's
exit status. TensorFlow is not loaded here, so forking is safe.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import Any

from spamd import paths as places
from spamd.domain import Account, AccountName, TlsMode
from spamd.filtering import Filter
from spamd.learning import Learner, assess_account, lessons
from spamd.mailbox.move_commands import ImapCommands
from spamd.mailbox.mover import JournaledMover
from spamd.mailbox.session import open_session
from spamd.model.bundle import Bundles
from spamd.model.scoring import Scorer
from spamd.store.database import Store
from tests.servers.mailhost import PASSWORD

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


class Dying:
    """Passes every call on, and kills this process before the step-th of those named."""

    def __init__(self, real: object, names: set[str], step: list[int]) -> None:
        self._real, self._names, self._step = real, names, step

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name not in self._names:
            return found

        def call(*args: object, **kwargs: object) -> object:
            self._step[0] -= 1
            if self._step[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return found(*args, **kwargs)

        return call


class Running:
    """Session, mover, filter and learner of one mailbox: what a start of the program makes of a home."""

    def __init__(
        self,
        account: Account,
        store: Any,
        scorer: Scorer,
        clock: Any,
        since: float,
        step: list[int] | None = None,
    ) -> None:
        self.account, self.store, self.scorer, self.clock = account, store, scorer, clock
        scorer.rebuild(lessons(store, clock(), 5000))
        self.session = open_session(account, PASSWORD)
        seen = Dying(store, WRITES["store"], step) if step is not None else store
        commands: Any = ImapCommands(self.session)
        if step is not None:
            commands = Dying(commands, WRITES["commands"], step)
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
    return Account(
        AccountName(user), host="127.0.0.1", port=port, user=user, tls=TlsMode.NONE, promise=PROMISE
    )


def live_and_die(order: dict[str, Any]) -> None:
    paths = places.find({"SPAMD_HOME": order["home"]})
    clock = lambda: float(order["clock"])  # noqa: E731
    with Store(paths.database, clock=clock) as store:
        scorer = Scorer(Bundles(paths.personal_models, places.shipped_model()))
        account = account_of(order["user"], order["port"])
        Running(account, store, scorer, clock, order["since"], [order["step"]]).look()


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
