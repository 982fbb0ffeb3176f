"""Everything a person can ask or say. Pages, API, command line, tray and add-on are thin doors over it.

A `Control` holds one room for each thing that people ask about, and the doors call the rooms. They only read and write
through store, scorer and bundles; what needs a connection to a mailbox or another thread goes through `Engine`, which
the daemon implements. Safe to call from any thread. None imports one that comes later in this list:

    ======== ===========================================================================================
    engine   what only the running daemon can do
    feed     happenings, and who wants to hear of them
    kept     slow answers, kept for a moment
    telling  probabilities by the account's line, labels in words, long lists a page at a time
    settings config.toml as it is now, the settings a person can change, where passwords are
    wiping   forgetting for good
    lists    senders that are always kept, or always junk
    events   the log for people
    accounts how each is doing; added, changed, signed in to, paused, removed
    mail     what was judged: listed, searched, found again, and why it was judged so
    labels   the ledger: listed, added to, taken back, carried to another computer
    figures  figures over time, the promise, and what would have been moved
    models   in use and kept on disk; trained, gone back from
    review   what the person's word is wanted on, and the word
    moves    our own moves, taken back
    ======== ===========================================================================================

Errors: `RequestError` (bad value), `NotFound` (no such thing), and whatever store, model and mailbox raise.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from spamd import __version__
from spamd.answers import AccountPhase, Done, Progress, Status, Wiped
from spamd.control.accounts import Accounts, headline
from spamd.control.events import Events
from spamd.control.feed import Feed
from spamd.control.figures import Figures
from spamd.control.kept import Kept
from spamd.control.labels import Labels
from spamd.control.lists import Lists
from spamd.control.mail import Mail
from spamd.control.models import KeptModels, training_here
from spamd.control.moves import Moves
from spamd.control.review import Review
from spamd.control.settings import SettingsNow
from spamd.control.telling import Telling, midnight
from spamd.control.wiping import Wiping
from spamd.errors import RequestError

if TYPE_CHECKING:
    from spamd.control.engine import Engine
    from spamd.credentials import Secrets
    from spamd.model.bundle import Bundles
    from spamd.model.scoring import Scorer
    from spamd.paths import Paths
    from spamd.store.database import Store


class Control:
    """Answers questions and carries out wishes. One per daemon."""

    def __init__(
        self,
        *,
        paths: Paths,
        store: Store,
        scorer: Scorer,
        bundles: Bundles,
        engine: Engine,
        secrets: Secrets,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.paths = paths
        self._store = store
        self._scorer = scorer
        self._engine = engine
        self._clock = clock
        self._started_at = clock()
        telling = Telling(engine)
        self._wiping = Wiping(store, scorer, bundles, engine)
        self.feed = feed = Feed(clock)
        self.kept = kept = Kept()
        self.settings = settings = SettingsNow(paths, secrets, store, engine, feed, kept)
        self.lists = Lists(store, clock)
        self.events = Events(store, feed)
        self.accounts = accounts = Accounts(store, engine, paths, settings, self._wiping, feed, kept, clock)
        self.mail = mail = Mail(store, scorer, engine, settings, accounts, telling)
        self.labels = labels = Labels(store, scorer, engine, accounts, kept, clock)
        self.figures = Figures(store, scorer, bundles, settings, accounts, telling, kept, clock)
        self.models = KeptModels(store, scorer, bundles, engine, feed, kept, settings.changing)
        self.review = review = Review(store, engine, accounts, mail, labels, telling, feed, kept, clock)
        self.moves = Moves(store, engine, accounts, mail, review, kept)

    def status(self) -> Status:
        """How things are."""
        now = self._clock()
        accounts = self.accounts.all()
        today: Counter[str] = Counter()
        since = midnight(now)
        for view in accounts:
            today.update(self._store.counts(view.account.name, since))
        return Status(
            version=__version__,
            now=now,
            started_at=self._started_at,
            accounts=accounts,
            today=dict(today),
            review_waiting=self.review.waiting(),
            model=self._scorer.card,
            progress=self.progress(),
            needs_person=self.events.newest(limit=5, needs_person=True),
            paused=bool(accounts) and all(v.state.phase is AccountPhase.PAUSED for v in accounts),
            headline=headline(accounts, now),
            training_hint=training_here()[1],
        )

    def progress(self) -> tuple[Progress, ...]:
        """Training and first readings under way."""
        return tuple(self._engine.progress())

    def wipe(self, what: str) -> Wiped:
        """what: "display" (senders, subjects, snippets), "account:NAME" (all of one), or "all"."""
        kind, _, account = what.partition(":")
        if what not in ("display", "all") and not (kind == "account" and account):
            raise RequestError('What to wipe is "display", "account:NAME" or "all".')
        if account:
            self.accounts.met(account)
        self._wiping.wipe(what)
        self.kept.clear()
        return Wiped(what, "Wiped, and the file was cleaned so that nothing can be read back.")

    def stop(self) -> Done:
        self._engine.stop()
        return Done("spamd is stopping.")
