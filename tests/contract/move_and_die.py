"""Moves all mail of an inbox to Junk in a child process, and kills that child at a chosen step.

Reads orders as JSON lines: port, user, junk, database, step. Answers with the child's exit status (-9: killed). Steps
are counted before every write to the journal and every command that changes the mailbox.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from spamd.domain import Account, AccountName, FolderName, TlsMode, Uid
from spamd.mailbox.move_commands import ImapCommands
from spamd.mailbox.mover import JournaledMover
from spamd.mailbox.session import open_session
from spamd.store.database import Store
from tests.fakes.memory_mailbox import intent
from tests.servers.mailhost import PASSWORD


class Dying:
    """Passes every call on, and kills this process at the step."""

    def __init__(self, real: object, step: list[int], names: tuple[str, ...]) -> None:
        self._real, self._step, self._names = real, step, names

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
        method = getattr(self._real, name)
        if name not in self._names:
            return method

        def call(*args: object, **kwargs: object) -> object:
            self._count()
            return method(*args, **kwargs)

        return call

    def _count(self) -> None:
        self._step[0] -= 1
        if self._step[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def move(order: dict[str, object]) -> None:
    user = str(order["user"])
    account = Account(
        AccountName("test"), host="127.0.0.1", port=int(str(order["port"])), user=user, tls=TlsMode.NONE
    )
    session = open_session(account, PASSWORD)
    with Store(Path(str(order["database"]))) as store:
        step = [int(str(order["step"]))]
        commands = (
            "move",
            "copy",
            "mark_deleted",
            "clear_deleted",
            "expunge",
            "expunge_all",
            "lock",
            "unlock",
        )
        rows = [
            store.intent(intent(one, FolderName(str(order["junk"])), at=time.time()))
            for one in session.arrivals(FolderName("INBOX"), Uid(1))
        ]
        mover = JournaledMover(
            session,
            Dying(ImapCommands(session), step, commands),  # type: ignore[arg-type]
            Dying(store, step, ("advance",)),  # type: ignore[arg-type]
            "test",
        )
        mover.move([(row, row.source) for row in rows])
    session.close()


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                move(json.loads(line))
            except BaseException as error:  # noqa: BLE001 - whatever it is, the parent must be told
                sys.stderr.write(f"{error!r}\n")
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
