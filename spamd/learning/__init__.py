"""What the person does with their mail becomes labels, and labels teach the model at once.

`Learner.look` reads what changed since the last look (one STATUS per folder when nothing did), lets
`judgement.corrections` say what it means, writes labels and teaches the instant head. New mail it only
reports: the filter judges it, and `settle` moves the cursors when that is done. A crash in between repeats
the look; what was recorded by then is recognised, so that nothing is judged, labelled or missed twice.

This is the story; each room knows one thing of it, and none imports one that comes later in this list:

    ============= ====================================================================================
    places        what each folder means, and what lies in it
    lessons       what a label teaches; how a mail that was there before us is read for one
    contacts      whom the person writes to
    proof         how far the model may be trusted on an account
    changes       what changed in a watched folder: arrivals, keywords, departures
    elsewhere     the folders that nobody watches: known mail that came there, what of it left Junk
    teaching      corrections into the ledger and the model; after an upgrade, labelled mail read anew
    comparison    what lies where now against where it lay
    new_mail      which arrivals are ours to judge, and which of them are ripe
    quiet_mail    what silence tells: mail that was opened and left alone is weak evidence
    first_reading what the folders that were there before us teach, once, when the person asks for it
    ============= ====================================================================================
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spamd.answers import Publish
from spamd.domain import Account, FolderCursor, FolderName, LabelRecord, Sighting
from spamd.errors import FolderChanged, FolderMissing, FolderRefused
from spamd.judgement import corrections
from spamd.learning.changes import Change, Changes, Seen
from spamd.learning.comparison import Comparison
from spamd.learning.contacts import read_sent_since
from spamd.learning.elsewhere import Elsewhere
from spamd.learning.new_mail import NewMail
from spamd.learning.places import Places, cursor_at
from spamd.learning.quiet_mail import QuietMail
from spamd.learning.teaching import Teaching
from spamd.source import MailSession

if TYPE_CHECKING:
    from spamd.judgement.corrections import Place
    from spamd.model.scoring import Scorer
    from spamd.store.database import Store

log = logging.getLogger(__name__)


def _silent(kind: str, data: Mapping[str, object]) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found. new: mails to be judged. Give it back to `settle` when they are."""

    new: tuple[Sighting, ...] = ()
    labels: tuple[LabelRecord, ...] = ()
    cursors: tuple[FolderCursor, ...] = ()
    # New at their places, watched or not, and some daemon's lock is on them.
    locked: tuple[Sighting, ...] = ()
    waiting: float | None = None  # seconds until there is more to judge: mail too young yet, or not looked at
    quiet: bool = False  # nothing had changed


class Learner:
    """Reads what the person did on one account; belongs to that account's worker thread."""

    def __init__(
        self,
        session: MailSession,
        store: Store,
        scorer: Scorer,
        account: Account,
        *,
        since: float,
        flood: int = corrections.FLOOD,
        publish: Publish = _silent,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """since: when the account was set up; older mail found at the first look is not judged. flood: more
        corrections than this in one look are asked about.
        """
        self.account = account
        self._session = session
        self._store = store
        self._clock = clock
        self._places = Places(session, account, clock)
        self._new_mail = NewMail(store, account, since=since)
        self._changes = Changes(session, store, account, self._places, oldest_new=self._new_mail.oldest)
        self._elsewhere = Elsewhere(session, store, account, self._places, clock)
        self._teaching = Teaching(session, store, scorer, account, publish=publish, clock=clock)
        self._comparison = Comparison(session, store, account, self._places, flood=flood)
        self._quiet_mail = QuietMail(session, store, account, self._places, self._elsewhere, clock)

    def look(self, *, judge: bool = True) -> Look:
        """What changed since the cursors: labels are written and taught; new mail is returned.

        judge: False where new mail must wait (the day's bytes are used up): it comes again with the next look.
        """
        now = self._clock()
        watched = self._places.watched()
        statuses = {status.folder: status for status in self._session.statuses(watched)}
        changes = [self._changes.since_cursor(statuses[name]) for name in watched if name in statuses]
        moved = [change for change in changes if change.happened]
        if not moved and self._comparison.is_settled(statuses):
            return Look(quiet=True, locked=self._elsewhere.taken_under_lock())
        moved = self._read(moved, now, whole=not judge or self.account.wait_seconds > 0)
        fresh = [sighting for change in moved for sighting in change.arrivals]
        departures = self._changes.departed(moved)
        lost = departures.identities - {sighting.identity for sighting in fresh}
        found_elsewhere, elsewhere_cursors = self._elsewhere.find(lost, now)
        keywords = [hint for change in moved for hint in self._changes.keywords(change)]
        seen = Seen(now, statuses, moved, [*fresh, *found_elsewhere], keywords, departures)
        findings = self._comparison.compare(seen, self._new_mail.waiting)
        findings = self._new_mail.among(findings, moved, now)
        labels = self._teaching.learn(findings, now)
        self._comparison.write_down(seen, findings)
        new, waiting = self._new_mail.ripe(findings, moved, now, judge)
        if self._comparison.waits_for_a_sign():
            waiting = min(waiting or corrections.SIGN_SECONDS, corrections.SIGN_SECONDS)
        if any(change.cut for change in moved):
            waiting = 0.0
        held_back = {sighting.ref for sighting in findings.new} - {sighting.ref for sighting in new}
        cursors = [cursor_at(self.account, change.status, held_back) for change in moved]
        locked = (
            *(one for one in fresh if corrections.locked(one.keywords)),
            *self._elsewhere.taken_under_lock(),
        )
        return Look(tuple(new), tuple(labels), (*cursors, *elsewhere_cursors), locked, waiting)

    def settle(self, look: Look) -> None:
        """The new mails of this look are judged: the next one starts after them."""
        for cursor in look.cursors:
            self._store.set_cursor(cursor)

    def look_elsewhere(self) -> None:
        """What came to folders that are not watched. Once an hour is enough."""
        self._elsewhere.look()

    def read_again(self) -> int:
        """After an upgrade that reads other features: read some labelled mails anew, and teach them. How many."""
        return self._teaching.read_again()

    def read_sent(self) -> None:
        """Whom the person has written to since the last time. Once an hour is enough."""
        read_sent_since(self._session, self._store, self.account, self._clock())

    def keep_quiet_mail(self) -> int:
        """What silence tells (quiet_mail.py). Once a day is enough. Returns the number of labels."""
        return self._quiet_mail.keep()

    def places(self) -> Mapping[FolderName, Place]:
        """What each folder means."""
        return self._places.all()

    def _read(self, changes: Sequence[Change], now: float, *, whole: bool) -> list[Change]:
        """Read the arrivals of these. Those that could be read."""
        read: list[Change] = []
        for change in changes:
            try:
                self._changes.read(change, now, whole=whole)
            except (FolderMissing, FolderRefused, FolderChanged) as error:
                # Taken away or locked this moment: the other folders are looked at all the same.
                log.info("%s: a folder is left for later: %s", self.account.name, type(error).__name__)
                self._places.ask_again()
                continue
            read.append(change)
        return read
