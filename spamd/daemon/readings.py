"""First readings at work: one in the place of the connection that watches, begun anew where it breaks, and the next day."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from spamd.account_worker import AccountWorker
from spamd.answers import Progress, TellPerson
from spamd.daemon.long_work import LongWork
from spamd.domain import Account, AccountName
from spamd.errors import ConnectionLost, ProtocolFault, RequestError, SpamdError
from spamd.judgement import schedule
from spamd.learning.first_reading import FirstReading, ReadingProgress
from spamd.source import Opener

if TYPE_CHECKING:
    from spamd.model.scoring import Scorer
    from spamd.store.database import Store

log = logging.getLogger(__name__)

READING_LATER = 600.0
"""Seconds between two looks whether a first reading that used up the day's bytes may go on."""


class Readings:
    """Of all accounts; each on a thread of its own."""

    def __init__(
        self,
        opener: Opener,
        store: Store,
        scorer: Scorer,
        work: LongWork,
        *,
        tell: TellPerson,
        stopping: threading.Event,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._opener = opener
        self._store = store
        self._scorer = scorer
        self._work = work
        self._tell = tell
        self._stopping = stopping
        self._clock = clock
        self._rng = rng

    def begin(self, account: AccountName) -> float:
        """It is told from now on; when that was. RequestError where one is under way."""
        started = self._clock()
        if not self._work.begin(Progress("first-reading", account, 0, 0, "Looking at the folders.", started)):
            raise RequestError(
                "The folders are being read already.",
                "`spamdctl status` and the account's page show how far it is.",
            )
        return started

    def run(self, worker: AccountWorker, started: float) -> None:
        account = worker.account
        attempt = 0
        told = ReadingProgress(0, 0, "")

        def tell(progress: ReadingProgress) -> None:
            nonlocal told
            told = progress
            self._note(account, progress, started)

        while not self._stopping.is_set():
            try:
                with (
                    worker.instead_of_watching(),
                    contextlib.closing(self._opener.session(account)) as session,
                ):
                    reading = FirstReading(
                        session,
                        self._store,
                        self._scorer,
                        account,
                        clock=self._clock,
                        stop=lambda: self._stopping.is_set() or worker.used_up(session),
                    )
                    told = reading.run(tell)
                if not told.finished:
                    tell(replace(told, text="As much was downloaded today as may be; it goes on tomorrow."))
                    while not self._stopping.wait(READING_LATER):
                        if worker.may_download():
                            break
                    continue
                self._note(account, told, started, finished=True)
                self._tell("account", f"The folders were read. {told.text}", account=account.name)
                worker.labels_changed()
                return
            except (ConnectionLost, ProtocolFault) as error:
                # Compression that fails is left out the next time.
                attempt += 1
                if attempt >= 5:
                    self._failed(account, told, started, error)
                    return
                self._stopping.wait(schedule.backoff(attempt, self._rng))
            except SpamdError as error:
                self._failed(account, told, started, error)
                return
            except Exception as error:
                log.exception("%s: the first reading failed", account.name)
                self._failed(account, told, started, error)
                return

    def _note(
        self, account: Account, told: ReadingProgress, started: float, *, finished: bool = False
    ) -> None:
        self._work.note(
            Progress("first-reading", account.name, told.done, told.total, told.text, started, finished)
        )

    def _failed(self, account: Account, told: ReadingProgress, started: float, error: Exception) -> None:
        text = error.title if isinstance(error, SpamdError) else type(error).__name__
        self._work.note(
            Progress("first-reading", account.name, told.done, told.total, "", started, True, text)
        )
        if not self._stopping.is_set():
            self._tell("error", f"Reading the folders stopped: {text}", account=account.name)
