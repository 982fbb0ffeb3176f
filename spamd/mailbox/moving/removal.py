"""Of a mail that was copied one must go: the original, if our copy stands alone, else our copy.

Copies are no race that a lock must win (Courier's STORE of one daemon undoes that of another, and both believe that
they hold it): whoever has copied looks for other copies of that mail in the target, and goes on to the original only if
there is none. Of two daemons the one that copied later sees both copies, so never more than one goes on, and nobody
removes an original without having been alone, nor a copy without another one after it was marked. The lower UID waits for the
other to withdraw; who waits in vain withdraws, too, and the mail stays where it was.

Never a plain EXPUNGE that would take another program's mail along.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from spamd.domain import (
    MOVING_KEYWORD,
    OTHERS_WERE_FASTER,
    TARGET_CHANGED,
    Arrival,
    FolderName,
    MoveKind,
    MoveRecord,
    MoveState,
    Uid,
)
from spamd.errors import FolderChanged, MailboxError, ProtocolFault
from spamd.mailbox.moving.refusals import TRANSIENT, Tolerated
from spamd.mailbox.moving.rows import Rows, has, target_of
from spamd.mailbox.moving.signs import Signs
from spamd.mailbox.moving.whereabouts import Whereabouts
from spamd.source import MailSession, MoveCommands, OpenFolder

_log = logging.getLogger(__name__)

HAS_A_COPY = "The target folder has changed, and a copy lies there."

STAYS = "The original stays in its folder, marked as deleted."
"""In the journal of a move that is done, where a plain EXPUNGE would have taken other mail along."""

STAYS_SECONDS = 30 * 86400.0
"""So long such an original goes with the next plain EXPUNGE of ours."""

GUESSED = "This copy was found by what it says."
"""In the journal of a copy that may be another daemon's: it is never taken away."""

PAUSES = (0.0, 0.2, 0.5, 1.0)
"""Seconds between the looks of a daemon that waits for another one to withdraw its copy."""


@dataclass(slots=True)
class Removal:
    """Takes away originals and copies of ours, on one connection. Rows come in batches: one source, one target."""

    _session: MailSession
    _commands: MoveCommands
    _rows: Rows
    _where: Whereabouts
    _signs: Signs
    _pause: Callable[[float], None]
    _expunge_refused: bool = False

    @property
    def can_expunge(self) -> bool:
        """UID EXPUNGE is there and works (Proton Bridge once offered UIDPLUS and refused it)."""
        return self._session.abilities.uidplus and not self._expunge_refused

    def expunge(self, folder: OpenFolder, uids: Sequence[Uid]) -> bool:
        """UID EXPUNGE; False where the server does not have it, or says it has and does not know it."""
        if not self.can_expunge:
            return False
        try:
            self._commands.expunge(folder, uids)
        except ProtocolFault:  # BAD
            self._expunge_refused = True
            return False
        return True

    def _purge(self, folder: OpenFolder, uids: Sequence[Uid]) -> bool:
        """These mails, which we have marked, and no others: False where that cannot be, and they stay marked."""
        return self.expunge(folder, uids) or self._expunge_ours(folder, uids)

    def _expunge_ours(self, folder: OpenFolder, uids: Sequence[Uid]) -> bool:
        """Plain EXPUNGE, only if every \\Deleted mail of the folder is ours; else False. Between the answer and the command
        lies one way to the server: a mail that the person marks right then goes with ours.
        """
        ours = self._marked_by_us(folder, uids)
        marked = self._commands.deleted(folder)  # from here on nothing may take time
        if not marked <= ours:
            return False
        if marked.issuperset(uids):  # what leaves out our own marks may leave out others
            self._commands.expunge_all(folder)
        return True

    def _marked_by_us(self, source: OpenFolder, uids: Sequence[Uid]) -> frozenset[Uid]:
        """All mails of this folder that our journal says we marked: this batch, rows still open, and what had to stay."""
        rows = [row for row in self._rows.open() if row.state is MoveState.MARKED]
        rows += self._rows.done(STAYS_SECONDS, STAYS)
        here = (source.name, source.uid_validity)
        return frozenset(uids) | {
            row.source.uid for row in rows if (row.source.folder, row.source.uid_validity) == here
        }

    # -- the original goes

    def delete_originals(
        self, source: OpenFolder, copied: Sequence[MoveRecord], *, just_made: bool = False
    ) -> list[MoveRecord]:
        """From COPIED or MARKED to DONE, in one go for a batch. The copies were proven a moment ago; they are
        looked at once more, because from here on the originals go.

        just_made: the copies, so that a mark on one came with it. Later the person may have set it: that one stays struck,
        if it is the only one.
        """
        if not copied:
            return []
        target = target_of(copied[0])
        copied, lost = self._alone(source, copied)
        guessed = [record for record in lost if record.error == GUESSED]
        ended = [
            self._rows.end(replace(r, target_uid=None), MoveState.ABANDONED, OTHERS_WERE_FASTER)
            for r in guessed
        ]
        ended += self.give_way(source, target, [record for record in lost if record.error != GUESSED])
        copies = self._where.by_uid(target, [r.target_uid for r in copied if r.target_uid is not None])
        safe = [
            record
            for record in copied
            if record.target_uid in copies and not has(copies[record.target_uid], "\\Deleted")
        ]
        # Made of an original that was just being deleted (and not marked by us yet): the copy bears that mark.
        dead = [
            record
            for record in copied
            if record not in safe
            and record.target_uid in copies
            and record.state is MoveState.COPIED
            and record.error != GUESSED
        ]
        if dead and not just_made:
            originals = self._where.alive(source, dead) or {}
            dead = [record for record in dead if record.source.uid in originals]
        ended += self.give_way(source, target, dead, dead=True)
        gone = [record for record in copied if record not in safe and record not in dead]
        if gone:
            deleted = [copies[r.target_uid] for r in gone if r.target_uid in copies]
            # The person may take their \Deleted off it again.
            self._signs.unlock(target, deleted, moved=False)
            ended += self.keep_originals(source, gone)
        return ended + self._remove_originals(source, target, safe)

    def _remove_originals(
        self, source: OpenFolder, target: OpenFolder, safe: Sequence[MoveRecord]
    ) -> list[MoveRecord]:
        """Of rows whose copies are there, and alone."""
        if not safe:
            return []
        uids = [record.source.uid for record in safe]
        copied_only = safe
        # Before it is done: what is only COPIED was surely not marked by us, and may be gone by another hand.
        safe = [
            record
            if record.state is MoveState.MARKED
            else self._rows.write(replace(record, state=MoveState.MARKED))
            for record in safe
        ]
        try:
            self._commands.mark_deleted(source, uids)
            copied_only = safe
            # False: someone else's \Deleted mail would go with ours. It stays marked until the person's own program cleans up.
            purged = self._purge(source, uids)
        except TRANSIENT:
            raise
        except FolderChanged:
            return self.give_up(source, copied_only)  # known by then not to be marked by us, or not known
        except MailboxError as refusal:
            return self._take_copies_back(source, target, safe, refusal.title)
        if not purged:
            if self._signs.used:
                self._signs.take_off(source, uids)
            self._signs.unlock_targets(safe)
            return [self._rows.end(record, MoveState.DONE, STAYS) for record in safe]
        left = self._where.alive(source, safe) or {}
        stuck = [record for record in safe if record.source.uid in left]
        done = [record for record in safe if record.source.uid not in left]
        self._signs.unlock_targets(done)  # not before: others see by the lock that this copy is about to stay
        ended = [self._rows.end(record, MoveState.DONE) for record in done]
        if stuck:
            # Answered OK and did nothing (a read-only folder; Proton Bridge refuses UID EXPUNGE quietly).
            ended += self._take_copies_back(source, target, stuck, "The server did not remove the original.")
        return ended

    def _alone(
        self, source: OpenFolder, copied: Sequence[MoveRecord]
    ) -> tuple[list[MoveRecord], list[MoveRecord]]:
        """(those whose original may go, those whose copy must).

        The copies are read first, the original then: who sees no other copy because it was taken out of the target
        again sees at least that the original is gone, and looks where that was.
        """
        sure = [record for record in copied if record.state is MoveState.MARKED]
        open_ones = [record for record in copied if record.state is not MoveState.MARKED]
        lost: list[MoveRecord] = []
        for pause in PAUSES:
            if not open_ones:
                break
            self._pause(pause)
            others = self._others(open_ones)
            originals = self._where.alive(source, open_ones)
            contested: list[MoveRecord] = []
            for record in open_ones:
                found = others[record.id]
                original = None if originals is None else originals.get(record.source.uid)
                if original is None and originals is not None:
                    found = self._anywhere(source, record)
                if not found:
                    sure.append(record)
                elif (
                    original is None
                    or has(original, "\\Deleted")
                    or min(mail.ref.uid for mail in found) < (record.target_uid or 0)
                ):
                    lost.append(record)
                else:
                    contested.append(record)
            open_ones = contested
        return sure, lost + open_ones

    def _others(self, copied: Sequence[MoveRecord]) -> dict[int, list[Arrival]]:
        """Other daemons' copies of each in the target, about to stay or to go: they bear the lock if ours does. A twin
        that lies there does not.
        """
        target = target_of(copied[0])
        _, locked = self._commands.locked(target.name, MOVING_KEYWORD) if self._signs.used else (target, ())
        in_flight = set(locked)
        strangers = in_flight - self._rows.claimed(target.name, target.uid_validity)
        others: dict[int, list[Arrival]] = {}
        for record in copied:
            if record.target_uid not in in_flight:
                others[record.id] = self._where.others(record, target.name)
            else:
                found = self._where.others(record, target.name) if strangers else []
                others[record.id] = [mail for mail in found if mail.ref.uid in strangers]
        return others

    # -- our copy goes

    def give_way(
        self, source: OpenFolder, target: OpenFolder, batch: Sequence[MoveRecord], *, dead: bool = False
    ) -> list[MoveRecord]:
        """Another copy of these was seen, and will stay or go without us: ours goes, and no other.

        dead: there need be no other one, for the original was being deleted when ours was made.
        """
        if not batch:
            return []
        batch = [self._rows.write(replace(record, error=OTHERS_WERE_FASTER)) for record in batch]
        originals = self._where.alive(source, batch) or {}
        self._signs.release(source, batch, originals)
        copies = self._where.by_uid(target, [record.target_uid for record in batch])
        ours: dict[Uid | None, MoveRecord] = {
            record.target_uid: record
            for record in batch
            if record.target_uid is not None
            and record.target_uid in copies
            and copies[record.target_uid].identity == record.identity
        }
        last: list[MoveRecord] = []
        if ours:
            try:
                last = self._withdraw(source, target, ours, dead=dead)
                for pause in PAUSES[1:]:
                    # Two that did this at once have both stayed: the higher one tries again.
                    lower = {
                        r.target_uid: r for r in last if r.source.uid not in originals and self._above(r)
                    }
                    if not lower:
                        break
                    self._pause(pause)
                    stayed = self._withdraw(source, target, lower)
                    last = [record for record in last if record.target_uid not in lower] + stayed
            except TRANSIENT:
                raise
            except MailboxError as refusal:
                _log.warning("a copy cannot be taken away: %s", type(refusal).__name__)
                return list(batch)
        self._signs.unlock_others(target.name, batch)
        gone = [r for r in batch if r not in last]
        ended = [
            self._rows.end(replace(r, target_uid=None), MoveState.ABANDONED, OTHERS_WERE_FASTER) for r in gone
        ]
        self._signs.unlock_targets([record for record in last if record.source.uid not in originals])
        for record in last:
            if record.source.uid in originals:
                # About to be expunged: for recovery.
                ended.append(self._rows.write(replace(record, error="")))
            else:
                ended.append(self._rows.end(record, MoveState.DONE))
        return ended

    def _withdraw(
        self,
        source: OpenFolder,
        target: OpenFolder,
        ours: Mapping[Uid | None, MoveRecord],
        *,
        dead: bool = False,
    ) -> list[MoveRecord]:
        """Takes away our copies, by UID, beside which another one stands; the others, which stay, are not marked any more."""
        uids = {uid for uid in ours if uid is not None}
        self._commands.mark_deleted(target, sorted(uids))
        last = [] if dead else self._last_copies(source, list(ours.values()))
        kept = {record.target_uid for record in last if record.target_uid is not None}
        if kept:
            self._commands.clear_deleted(target, sorted(kept))
        if uids - kept:
            self._purge(target, sorted(uids - kept))  # else it stays marked, and goes when somebody cleans up
        return last

    def _above(self, record: MoveRecord) -> bool:
        """Does another copy lie below ours, marked or not?"""
        found = self._where.others(record, record.target, marked=True)
        return any(mail.ref.uid < (record.target_uid or 0) for mail in found)

    def _last_copies(self, source: OpenFolder, batch: Sequence[MoveRecord]) -> list[MoveRecord]:
        """Of these, whose copies we have marked, the ones of which no other is left: it was taken away since we saw it.
        Each marks first and looks then, so that of two who do this at once both cannot go.
        """
        originals = self._where.alive(source, batch) or {}
        last: list[MoveRecord] = []
        for record in batch:
            original = originals.get(record.source.uid)
            if original is not None and not has(original, "\\Deleted"):
                continue
            if not self._anywhere(source, record):
                last.append(record)
        return last

    def _anywhere(self, source: OpenFolder, record: MoveRecord) -> list[Arrival]:
        """Copies of others, in the target or in the source."""
        return self._where.others(record, record.target) or self._where.others(record, source.name)

    def keep_originals(self, source: OpenFolder, batch: Sequence[MoveRecord]) -> list[MoveRecord]:
        """The copy is gone (the person deleted or moved it): the original must stay."""
        alive = self._where.alive(source, batch)
        if alive:
            # What is only COPIED was not marked by us: a mark on it is the person's.
            ours = [r.source.uid for r in batch if r.source.uid in alive and r.state is MoveState.MARKED]
            if ours:
                self._commands.clear_deleted(source, sorted(ours))
            self._signs.release(source, batch, alive)
        # Taken out of a folder that is still the same, it was taken out by somebody; and a copy that lies unknown in a
        # folder that counts anew must not get a second one.
        if not self._where.counts_anew(batch[0]):
            return [
                self._rows.end(r, MoveState.ABANDONED, "The copy in the target folder is gone.")
                for r in batch
            ]
        return [
            self._rows.end(
                r, MoveState.ABANDONED, HAS_A_COPY if self._where.others(r, r.target) else TARGET_CHANGED
            )
            for r in batch
        ]

    def _take_copies_back(
        self, source: OpenFolder, target: OpenFolder, batch: Sequence[MoveRecord], reason: str
    ) -> list[MoveRecord]:
        """The original cannot be removed: remove our copies instead, those whose original is surely there, and not marked."""
        alive = self._where.alive(source, batch)
        if alive is None:
            return self.give_up(source, batch)
        ended: list[MoveRecord] = []
        waiting = f"{reason.rstrip('.')}. A copy is in “{target.name}”."
        if alive:
            cleared = False
            with Tolerated("originals stay marked"):
                self._commands.clear_deleted(source, sorted(alive))
                cleared = True
            if not cleared:
                # The next clean-up takes what is marked: there the copy must stay, until recovery has done better.
                alive = self._where.alive(source, batch)
                if alive is None:
                    return self.give_up(source, batch)
                marked = {uid for uid, mail in alive.items() if has(mail, "\\Deleted")}
                ended += [
                    self._rows.write(replace(r, error=waiting)) for r in batch if r.source.uid in marked
                ]
                batch = [r for r in batch if r.source.uid not in marked]
            # Before others may move it: an original that is gone from here on was not marked by us.
            batch = [
                self._rows.write(replace(r, state=MoveState.COPIED)) if r.source.uid in alive else r
                for r in batch
            ]
            self._signs.release(source, batch, alive)
        for record in batch:
            if record.source.uid not in alive:
                ended.append(self._rows.end(record, MoveState.DONE))
                continue
            if record.error == GUESSED:  # perhaps somebody's own
                ended.append(self._rows.end(replace(record, target_uid=None), MoveState.FAILED, reason))
                continue
            if record.target_uid is not None:
                with Tolerated("a copy cannot be taken away"):
                    self._remove(target, [record.target_uid])
            if record.target_uid in self._where.by_uid(target, [record.target_uid]):
                # Refused as well. The row stays open: recovery tries again, and until then no second attempt
                # can make a second copy.
                ended.append(self._rows.write(replace(record, error=waiting)))
            else:
                ended.append(self._rows.end(replace(record, target_uid=None), MoveState.FAILED, reason))
        return ended

    def _remove(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        """These mails of ours, and no others: without UIDPLUS only where nothing else is marked."""
        self._commands.mark_deleted(folder, uids)
        left: Sequence[Uid] = uids
        try:
            if self._purge(folder, uids):
                left = sorted(self._where.by_uid(folder, uids))  # OK was said; was it done?
        finally:
            if left:
                with Tolerated("a copy stays marked"):
                    self._commands.clear_deleted(folder, left)

    # -- a source that is another one

    def give_up(self, source: OpenFolder, batch: Sequence[MoveRecord]) -> list[MoveRecord]:
        """The source counts its mails anew, so no UID of ours means anything there. Where the mail is in it still, our
        copy goes: it would be a second one. A lock that went along comes off.
        """
        changed = self._where.what_changed(source.name)
        ended: list[MoveRecord] = []
        for record in batch:
            copy = self._where.our_copy(record)
            # What was to be put back stays back.
            by_copy = not self._session.abilities.move and record.kind is not MoveKind.UNDO
            if copy is None:
                self._lies_there(source.name, record)
                ended.append(self._rows.end(record, MoveState.FAILED, changed))
            elif record.target_uid is None and not self._where.ours(copy):
                # Ours or not, the mail may have gone there.
                ended.append(self._rows.end(record, MoveState.ABANDONED, changed))
            elif by_copy and self._lies_there(source.name, record):
                ours = replace(record, target_uid=copy.ref.uid)
                for row in self.give_way(source, target_of(record), [ours]):
                    closed = row.state is MoveState.ABANDONED  # else a copy that cannot be taken away yet
                    ended.append(self._rows.end(row, MoveState.FAILED, changed) if closed else row)
            else:
                self._signs.unlock(target_of(record), [copy], moved=True)
                ended.append(self._rows.end(record, MoveState.ABANDONED, changed))
        return ended

    def _lies_there(self, folder: FolderName, record: MoveRecord) -> bool:
        """Is the original in its folder, under whatever UID? Our marks come off; where nothing tells that they are ours, a
        mail marked as deleted counts as gone.
        """
        found = self._where.find(folder, record)
        marked = not self._session.abilities.move and record.state is MoveState.MARKED
        for mail in found:
            if self._where.ours(mail):
                here = OpenFolder(folder, mail.ref.uid_validity)
                if marked:
                    self._commands.clear_deleted(here, [mail.ref.uid])
                self._signs.unlock(here, [mail], moved=False)
        return any((marked and self._where.ours(mail)) or not has(mail, "\\Deleted") for mail in found)


__all__ = ["GUESSED", "HAS_A_COPY", "STAYS", "STAYS_SECONDS", "Removal"]
