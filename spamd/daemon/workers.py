"""The accounts' workers: begun, begun anew where the settings of one changed, told what has happened, ended."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from spamd.account_worker import AccountWorker
from spamd.answers import Publish
from spamd.daemon.pauses import Pauses
from spamd.domain import Account, AccountName
from spamd.errors import NotFound, SpamdError
from spamd.mailbox.lease import mailbox_key
from spamd.source import Opener

if TYPE_CHECKING:
    from spamd.model.scoring import Scorer
    from spamd.settings import Settings
    from spamd.store.database import Store

log = logging.getLogger(__name__)

STOP_SECONDS = 4.0
"""How long a worker is waited for; one that hangs in a read for longer is left to its end."""


class Workers:
    """One for each account. `begin`, `follow` and `end` are for one thread at a time; the rest is thread-safe."""

    def __init__(
        self,
        opener: Opener,
        store: Store,
        scorer: Scorer,
        pauses: Pauses,
        *,
        publish: Publish,
        stopping: threading.Event,
        clock: Callable[[], float],
        rng: random.Random,
        poll: float | None = None,
    ) -> None:
        self._opener = opener
        self._store = store
        self._scorer = scorer
        self._pauses = pauses
        self._publish = publish
        self._stopping = stopping
        self._clock = clock
        self._rng = rng
        self._poll = poll
        self._serving: dict[AccountName, AccountWorker] = {}
        self._leaving: list[AccountWorker] = []  # told to stop, and not yet at an end
        self._limits: tuple[int, int] | None = None  # of all: hold_labels, daily_bytes

    def __iter__(self) -> Iterator[AccountWorker]:
        return iter(list(self._serving.values()))

    def __len__(self) -> int:
        return len(self._serving)

    def get(self, name: AccountName) -> AccountWorker | None:
        """None: this account is not served (any more)."""
        return self._serving.get(name)

    def of(self, name: AccountName) -> AccountWorker:
        """NotFound where this account is not served."""
        worker = self._serving.get(name)
        if worker is None:
            raise NotFound(f"There is no account called {name!r}.", "`spamdctl account list` shows them.")
        return worker

    def begin(self, settings: Settings) -> None:
        """A worker for each account that has none. StoreError."""
        self._limits = _limits(settings)
        for account in settings.accounts:
            if account.name not in self._serving:
                self._start(account, settings)

    def follow(self, settings: Settings) -> None:
        """As these settings say: who changed begins anew, who is gone ends, who is new begins, all others try again now."""
        wanted = {account.name: account for account in settings.accounts}
        everything = _limits(settings) != self._limits
        self._limits = _limits(settings)
        for name, worker in list(self._serving.items()):
            if everything or wanted.get(name) != worker.account:
                worker.stop()
                if not worker.join(time.monotonic() + STOP_SECONDS):
                    self._leaving.append(worker)
                del self._serving[name]
                self._opener.forget(worker.account)
                if self._stopping.is_set():
                    return
        for account in settings.accounts:
            if account.name in self._serving:
                self._serving[account.name].kick()
                continue
            try:
                self._start(account, settings)
            except SpamdError as error:  # the others are served all the same
                log.error("%s: %s", account.name, error)

    def end(self) -> list[AccountWorker]:
        """All are told to stop. Those that are to be waited for."""
        workers = [*self._serving.values(), *self._leaving]
        for worker in workers:
            worker.stop()
        return workers

    def _start(self, account: Account, settings: Settings) -> None:
        worker = AccountWorker(
            account,
            store=self._store,
            scorer=self._scorer,
            opener=self._opener,
            paused_until=partial(self._pauses.of, account.name),
            hold_labels=settings.hold_labels,
            daily_bytes=settings.daily_bytes,
            publish=self._publish,
            clock=self._clock,
            rng=random.Random(self._rng.random()),
            **({} if self._poll is None else {"poll": self._poll}),
        )
        self._serving[account.name] = worker
        self._leaving = [left for left in self._leaving if left.threads()]
        worker.start(after=[one for one in self._leaving if mailbox_key(one.account) == mailbox_key(account)])


def _limits(settings: Settings) -> tuple[int, int]:
    return settings.hold_labels, settings.daily_bytes
