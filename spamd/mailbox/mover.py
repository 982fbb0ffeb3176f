"""Moves that lose nothing and double nothing, whatever breaks in between.

Every step is written to the journal before it is sent, so that after a crash `recover` knows what may have
happened. Success is a COPYUID that names our UID, never the tagged OK.

With MOVE (RFC 6851)::

    INTENT ── UID MOVE ──▶ DONE

Without it, the copy is proven before the original is touched::

    INTENT ── UID COPY ──▶ COPIED ── alone? ──▶ MARKED ── STORE +\\Deleted, UID EXPUNGE ──▶ DONE
                                        └─ no: UID EXPUNGE of our copy ──▶ ABANDONED

This is the face; the work is done in the rooms of spamd.mailbox.moving:

    ============ =====================================================================================
    rows         the account's rows in the journal: each change is written before the next command is sent
    whereabouts  where originals and copies are, by UID or by identity
    signs        the keywords that a mail bears while we move it: the lock, whose it is, that it was moved
    removal      of a mail that was copied, one goes: the original, or our copy
    rivals       what other clients did with the same mail at the same moment
    sending      the way forward, from INTENT to the end
    recovery     the table of what is done with each open row after a crash
    ============ =====================================================================================
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from spamd.domain import FolderName, MessageRef, MoveRecord, Sighting
from spamd.mailbox.moving.recovery import Recovery
from spamd.mailbox.moving.removal import Removal
from spamd.mailbox.moving.rivals import Rivals
from spamd.mailbox.moving.rows import Rows, batches
from spamd.mailbox.moving.sending import Sending
from spamd.mailbox.moving.signs import Signs
from spamd.mailbox.moving.whereabouts import Whereabouts
from spamd.source import MailSession, MoveCommands, MoveJournal


class JournaledMover:
    """Implements spamd.source.Mover on one session. Not thread-safe, like the session it uses."""

    def __init__(
        self,
        session: MailSession,
        commands: MoveCommands,
        journal: MoveJournal,
        account: str,
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        use_lock: bool = True,
    ) -> None:
        rows = Rows(journal, account, clock)
        where = Whereabouts(session, rows, steady)
        self._signs = Signs(session, commands, rows, where, use_lock=use_lock)
        removal = Removal(session, commands, rows, where, self._signs, pause)
        self._rivals = Rivals(session, commands, rows, where, self._signs, removal, steady)
        self._sending = Sending(session, commands, rows, where, self._signs, removal, self._rivals)
        self._recovery = Recovery(
            session, commands, rows, where, self._signs, removal, self._rivals, self._sending
        )

    def move(
        self, mails: Iterable[tuple[MoveRecord, MessageRef]], *, asked: bool = False
    ) -> Sequence[MoveRecord]:
        """Carry out intents; their final states, in the order given. (A row that can neither be finished nor
        taken back, because the server refuses both, stays open and is returned so.)

        asked: by the person, for these very mails; they are not signed as moved (or put back) by themselves.

        Raises ConnectionLost or ServerBusy: rows that were not finished stay open, for `recover`.
        """
        records = [record if record.source == ref else replace(record, source=ref) for record, ref in mails]
        finished: dict[int, MoveRecord] = {}
        self._signs.asked_for(records if asked else ())
        for batch in batches(records):
            for record in self._sending.start(batch):
                finished[record.id] = record
        for record in self._rivals.reconcile_quietly():
            finished[record.id] = record
        return [finished[record.id] for record in records]

    def recover(
        self,
        wanted: Callable[[MoveRecord], bool] | None = None,
        asked: Callable[[MoveRecord], bool] | None = None,
    ) -> Sequence[MoveRecord]:
        """Bring every open row of the account to an end (moving/recovery.py)."""
        return self._recovery.recover(wanted, asked)

    def reconcile(self) -> Sequence[MoveRecord]:
        """Take back what another client moved at the same moment (moving/rivals.py)."""
        return self._rivals.reconcile()

    def free(self, found: Iterable[Sighting]) -> None:
        self._signs.free(found)

    def let_go(self, refs: Sequence[MessageRef]) -> None:
        self._signs.let_go(refs)

    def locked_by_others(self, folder: FolderName) -> Sequence[MessageRef]:
        return self._signs.locked_by_others(folder)

    def break_locks(self, refs: Sequence[MessageRef]) -> None:
        self._signs.break_locks(refs)


__all__ = ["JournaledMover"]
