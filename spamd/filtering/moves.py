"""Moves of one account: what is written down after each, and those that the person asks for."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from spamd.answers import Publish
from spamd.domain import (
    MOVED_KEYWORD,
    OPEN_MOVES,
    TRY_AGAIN,
    Account,
    FolderName,
    Judgement,
    Label,
    MessageRef,
    MoveKind,
    MoveRecord,
    MoveState,
    Sighting,
)
from spamd.errors import (
    ConnectionLost,
    FolderMissing,
    FolderRefused,
    MailboxError,
    RequestError,
    ServerBusy,
    SignInError,
)
from spamd.filtering.notices import Notices
from spamd.judgement.corrections import held_or_signed, signed
from spamd.source import MailSession, Mover

if TYPE_CHECKING:
    from spamd.store.database import Store

log = logging.getLogger(__name__)

RETRY_FIRST = 30.0
"""Seconds after a refused move until it is tried again: most refusals (a lock, a busy server) are over by then. Four
times as long after each further one."""
DEALT_WITH = frozenset({"\\answered", "\\flagged", "\\draft", "\\deleted"})


class Moves:
    """Through the mover. `retry_at`: when the next refused one is due; `open_until`: those that an odd answer has left open
    are ended then.
    """

    def __init__(
        self,
        session: MailSession,
        mover: Mover,
        store: Store,
        account: Account,
        notices: Notices,
        publish: Publish,
        clock: Callable[[], float],
    ) -> None:
        self._session = session
        self._mover = mover
        self._store = store
        self._account = account
        self._notices = notices
        self._publish = publish
        self._clock = clock
        self._junk: FolderName | None = None
        self.retry_at = 0.0
        self.open_until = math.inf

    def junk_folder(self) -> FolderName | None:
        if self._junk is None:
            self._junk = self._session.junk_folder()
        return self._junk

    def intent(
        self,
        judgement: Judgement,
        sighting: Sighting,
        target: FolderName,
        kind: MoveKind,
    ) -> MoveRecord:
        now = self._clock()
        return MoveRecord(
            id=0,
            account=self._account.name,
            identity=sighting.identity,
            kind=kind,
            state=MoveState.INTENT,
            source=sighting.ref,
            target=target,
            target_uid_validity=None,
            target_uid_next=None,
            target_uid=None,
            message_id=sighting.message_id,
            size=sighting.size,
            created_at=now,
            changed_at=now,
            model_id=judgement.score.model_id,
        )

    def finish(self, records: Sequence[MoveRecord]) -> None:
        """Bookkeeping after moves (ours, undone or recovered): who lies where now; what failed is told."""
        now = self._clock()
        done = [record for record in records if record.state is MoveState.DONE]
        if done:
            with self._store.transaction():
                for record in done:
                    self._arrived(record, now)
        for record in records:
            if record.state in OPEN_MOVES:
                self.open_until = now + RETRY_FIRST
            elif record.state is MoveState.ABANDONED:
                self._taken_back(record)
                if record.error in TRY_AGAIN:
                    self.retry_at = 0.0
            elif record.state is MoveState.FAILED:
                log.warning("%s: a move failed: %s", self._account.name, record.error)
                self._junk = None  # it may have another name by now
                self.retry_at = 0.0  # `again` reckons anew
                self._notices.tell_once(
                    f"failed:{record.error}",
                    f"A mail could not be moved, it stays: {record.error}",
                )

    def put_back(self, record: MoveRecord) -> MoveRecord | None:
        """Undo one move: the mail goes back to where it was. None where it has gone elsewhere meanwhile."""
        if record.state is not MoveState.DONE:
            return None
        found = self._whereabouts(record)
        if found is None:
            return None
        judgement = self._store.judgement_of(self._account.name, record.identity)
        undo = replace(
            record,
            id=0,
            kind=MoveKind.UNDO,
            state=MoveState.INTENT,
            source=found,
            target=record.source.folder,
            target_uid_validity=None,
            target_uid_next=None,
            target_uid=None,
            created_at=self._clock(),
            changed_at=self._clock(),
            error="",
        )
        intent = self._store.intent(undo)
        # Among many, of which nothing was said, other daemons shall learn nothing from it either.
        (outcome,) = self._mover.move([(intent, found)], asked=self.is_good(record))
        self.finish([outcome])
        if judgement is not None:
            self._publish("verdict", {"id": judgement.id, "account": self._account.name, "moved": False})
        return outcome

    def set_right(self, records: Sequence[MoveRecord]) -> None:
        """Put back what the person called good while we moved it."""
        for record in records:
            if record.state is MoveState.DONE and record.kind is not MoveKind.UNDO and self.is_good(record):
                try:
                    self.put_back(record)
                except (ConnectionLost, ServerBusy, SignInError):
                    raise
                except MailboxError as error:
                    self._notices.tell_once("back", f"A mail could not be put back: {error.title}")

    def file_junk(self, judgement: Judgement, left: Collection[MessageRef] = ()) -> MoveRecord | None:
        """The person said that this mail is junk: move it to Junk. Where that is refused, `again` tries once more.

        left: only if it has not left these places since (but for folders that count anew); what was answered or starred
        since stays then, too.
        None where that cannot be done (any more).
        """
        target = self.junk_folder()
        if target is None:
            return None
        for sighting in self._store.sighting_of(self._account.name, judgement.identity):
            if sighting.gone_at is not None or sighting.ref.folder == target:
                continue
            if left and not stayed(sighting.ref, left):
                continue
            there = self._session.locate([sighting.ref])
            if not there or (left and {flag.lower() for flag in there[0].flags} & DEALT_WITH):
                continue
            try:
                intent = self._store.intent(self.intent(judgement, sighting, target, MoveKind.JUNK))
            except RequestError:
                return None  # it was moved once and came back: the person may drag it
            (outcome,) = self._mover.move([(intent, sighting.ref)], asked=True)
            self.finish([outcome])
            return outcome
        return None

    def is_good(self, record: MoveRecord) -> bool:
        """Has the person said that this mail is good, and not the contrary since?"""
        return self._store.word_of(self._account.name, record.identity) is Label.HAM

    def asked_for(self, record: MoveRecord) -> bool:
        """Has the person said of this mail what this move says?"""
        if record.kind is MoveKind.UNDO:
            return self.is_good(record)
        return self._store.word_of(self._account.name, record.identity) is Label.SPAM

    def _arrived(self, record: MoveRecord, now: float) -> None:
        source = record.source
        known = [
            sighting
            for sighting in self._store.sighting_of(self._account.name, record.identity)
            if sighting.ref == source
        ]
        self._store.mark_gone(self._account.name, source.folder, source.uid_validity, [source.uid], now)
        if record.target_uid is not None and record.target_uid_validity is not None:
            ref = MessageRef(record.target, record.target_uid_validity, record.target_uid)
            base = known[0] if known else None
            keywords = base.keywords if base else frozenset()
            if record.kind is MoveKind.UNDO:
                keywords |= {MOVED_KEYWORD}  # a later drag to Junk is the person's, not another daemon's move
            there = Sighting(
                self._account.name,
                ref,
                record.identity,
                keywords,
                now,
                None,
                record.message_id,
                record.size,
                base.internal_date if base else 0.0,
            )
            self._store.add_sightings([there])

    def _taken_back(self, record: MoveRecord) -> None:
        """A copy of ours that is no longer there must not look like a mail that the person took out of Junk."""
        for sighting in self._store.sighting_of(self._account.name, record.identity):
            ref = sighting.ref
            if sighting.gone_at is not None or ref.folder != record.target:
                continue
            try:
                there = self._session.locate([ref])
            except (FolderMissing, FolderRefused):
                continue
            if not there:  # long ago: no arrival is paired with it
                self._store.mark_gone(self._account.name, ref.folder, ref.uid_validity, [ref.uid], 0.0)

    def _whereabouts(self, record: MoveRecord) -> MessageRef | None:
        """Where the mail of a finished move lies now, in the folder we moved it to."""
        try:
            if record.target_uid is not None and record.target_uid_validity is not None:
                ref = MessageRef(record.target, record.target_uid_validity, record.target_uid)
                status = self._session.status(record.target)
                if status.uid_validity == ref.uid_validity:
                    there = self._session.locate([ref])
                    if any(arrival.identity == record.identity for arrival in there):
                        return ref
            found = self._session.find(record.target, record.identity, record.message_id)
        except FolderMissing:
            return None
        return found[0].ref if found else None


def stayed(ref: MessageRef, left: Collection[MessageRef]) -> bool:
    """Is this one of the places where a mail was left, or in a folder of these that counts anew since?"""
    here = [one.uid_validity for one in left if one.folder == ref.folder]
    return ref in left or (bool(here) and ref.uid_validity not in here)


def why_it_stays(flags: Collection[str]) -> str | None:
    """A mail that the person has dealt with, or that is in other hands, is not ours to take away; None: it is."""
    if {flag.lower() for flag in flags} & DEALT_WITH:
        return "you have answered or starred it: it stays."
    if signed(flags):  # once moved by a daemon, and here again
        return "it was in Junk before and you took it out: it stays."
    if held_or_signed(flags):  # the lock is still on: it may just have been put back
        return "another program is moving it this moment."
    return None
