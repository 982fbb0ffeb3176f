"""The way forward: a batch of rows from INTENT to its end.

Success is a COPYUID that names our UID (RFC 4315), never the tagged OK: Cyrus answers OK when another client was faster and
nothing was done. Where there is no proof it is looked where the mails are.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from spamd.domain import FolderName, FolderStatus, MoveRecord, MoveState
from spamd.errors import FolderChanged, FolderMissing, FolderRefused, MailboxError, QuotaExceeded
from spamd.mailbox.moving.refusals import TRANSIENT, Tolerated
from spamd.mailbox.moving.removal import Removal
from spamd.mailbox.moving.rivals import Rivals
from spamd.mailbox.moving.rows import Rows, has, source_of
from spamd.mailbox.moving.signs import Signs
from spamd.mailbox.moving.whereabouts import CHANGED, Whereabouts
from spamd.source import Copied, MailSession, MoveCommands, OpenFolder


@dataclass(frozen=True, slots=True)
class Sending:
    """Moves of one account, on one connection."""

    _session: MailSession
    _commands: MoveCommands
    _rows: Rows
    _where: Whereabouts
    _signs: Signs
    _removal: Removal
    _rivals: Rivals

    def start(self, batch: Sequence[MoveRecord]) -> Sequence[MoveRecord]:
        """One batch (same source, same target) from INTENT on; the rows as they are then.

        Rows that a server's odd answer kept us from finishing stay open, for the next recovery.
        """
        with Tolerated("moves are left open", logging.WARNING):
            return self._start(batch)
        return batch

    def _start(self, batch: Sequence[MoveRecord]) -> list[MoveRecord]:
        source = source_of(batch[0])
        target = batch[0].target
        if source.name == target:
            return [
                self._rows.end(record, MoveState.ABANDONED, "The mail is there already.") for record in batch
            ]
        # First: what comes to the other folders from now on may be one of these.
        before = self._rivals.around(source.name, target)
        try:
            there = before.get(target) or self._session.status(target)
            if not there.messages and there.uid_next == 1:
                # Courier gives a folder its UIDVALIDITY when it is first opened for writing.
                self._commands.locked(target, self._rows.owner)
                there = self._session.status(target)
        except FolderMissing:
            return [
                self._rows.end(record, MoveState.FAILED, f"There is no folder “{target}”.")
                for record in batch
            ]
        except FolderRefused as refusal:
            return [self._rows.end(record, MoveState.FAILED, refusal.title) for record in batch]
        ended: list[MoveRecord] = []
        ready: list[MoveRecord] = []
        alive = self._where.alive(source, batch)
        if alive is None:
            changed = self._where.what_changed(source.name)
            return [self._rows.end(r, MoveState.FAILED, changed) for r in batch]
        for record in batch:
            mail = alive.get(record.source.uid)
            if mail is None:
                ended.append(self._rows.end(record, MoveState.ABANDONED, "The mail is no longer there."))
            elif has(mail, "\\Deleted"):
                ended.append(self._rows.end(record, MoveState.ABANDONED, "The mail was deleted meanwhile."))
            else:
                # A row that is started again keeps the lower mark: its first attempt may still come through.
                known = record.target_uid_validity == there.uid_validity
                first = record.target_uid_next if known and record.target_uid_next else there.uid_next
                begun = replace(record, target_uid_validity=there.uid_validity, target_uid_next=first)
                ready.append(self._rows.write(begun))
        if ready:
            # A lock of ours that an earlier attempt could not take off.
            self._signs.release(source, ready, alive)
            self._rivals.keep_neighbours(before, target)
            moved = self._send(source, target, ready, before)
            ended += moved
            self._rivals.remember(moved, before)
        return ended

    def _send(
        self,
        source: OpenFolder,
        target: FolderName,
        ready: Sequence[MoveRecord],
        before: Mapping[FolderName, FolderStatus],
        *,
        retry: bool = True,
    ) -> list[MoveRecord]:
        ended: list[MoveRecord] = []
        try:
            if self._signs.used:
                ready, lost = self._signs.take(source, ready)
                ended += lost
                ready, lost = self._rivals.copied_meanwhile(source, ready, before)
                ended += lost
            if not ready:
                return ended
            uids = [record.source.uid for record in ready]
            if self._session.abilities.move:
                copied = self._commands.move(source, uids, target)
                return ended + self._after_move(source, ready, copied)
            copied = self._commands.copy(source, uids, target)
        except TRANSIENT:
            raise
        except FolderChanged:
            # Checked when the folder was opened, so nothing was sent.
            return ended + [self._rows.end(r, MoveState.FAILED, CHANGED) for r in ready]
        except MailboxError as refusal:
            return ended + self._after_refusal(source, target, ready, refusal, before if retry else None)
        return ended + self._after_copy(source, ready, copied)

    def _after_move(
        self, source: OpenFolder, batch: Sequence[MoveRecord], copied: Copied
    ) -> list[MoveRecord]:
        # COPYUID speaks of the folder as it is now; a STATUS of a folder nobody had opened yet may have been
        # another one (Courier).
        proven = [
            replace(
                record, target_uid=copied.uids[record.source.uid], target_uid_validity=copied.uid_validity
            )
            for record in batch
            if record.source.uid in copied.uids
        ]
        self._signs.unlock_targets(proven)
        ended = [self._rows.end(record, MoveState.DONE) for record in proven]
        named = {record.id for record in proven}
        doubtful = [record for record in batch if record.id not in named]
        return ended + self._look(source, doubtful, "The server did not move the mail.")

    def _after_copy(
        self, source: OpenFolder, batch: Sequence[MoveRecord], copied: Copied
    ) -> list[MoveRecord]:
        ended: list[MoveRecord] = []
        proven: list[MoveRecord] = []
        for record in batch:
            uid = copied.uids.get(record.source.uid)
            if uid is not None:
                copy_of = replace(record, target_uid=uid, target_uid_validity=copied.uid_validity)
                proven.append(self._rows.write(replace(copy_of, state=MoveState.COPIED)))
                continue
            copy = self._where.our_copy(record, newest=True)
            if copy is not None and self._session.abilities.uidplus:
                # Where the answer should have named it, nothing was copied (Cyrus, if the mail was gone); but for a server
                # that says UIDPLUS and names none, where each attempt would leave another copy.
                original = (self._where.alive(source, [record]) or {}).get(record.source.uid)
                copy = copy if original is not None and self._where.ours(copy) else None
            if copy is not None:
                proven.append(
                    self._rows.write(replace(record, state=MoveState.COPIED, target_uid=copy.ref.uid))
                )
            else:
                ended += self._look(source, [record], "The server did not copy the mail.")
        return ended + self._removal.delete_originals(source, proven, just_made=True)

    def _after_refusal(
        self,
        source: OpenFolder,
        target: FolderName,
        batch: Sequence[MoveRecord],
        refusal: MailboxError,
        before: Mapping[FolderName, FolderStatus] | None,
    ) -> list[MoveRecord]:
        """A NO. Part of a batch may have been done; another client may have taken one of the mails (Dovecot
        then refuses the whole batch). What is left is tried once more (before: not None), each for itself."""
        if before is not None and not isinstance(refusal, FolderMissing | FolderRefused | QuotaExceeded):
            ended: list[MoveRecord] = []
            alive = self._where.alive(source, batch) or {}
            ended += self._look(source, [r for r in batch if r.source.uid not in alive], refusal.title)
            self._signs.release(source, batch, alive)
            for record in batch:
                if record.source.uid in alive:
                    ended += self._send(source, target, [record], before, retry=False)
            return ended
        return self._look(source, batch, refusal.title or "The server refused the move.")

    def _look(self, source: OpenFolder, batch: Sequence[MoveRecord], reason: str) -> list[MoveRecord]:
        """No proof: see where the mails are. Still in the source: FAILED; found in the target: DONE."""
        ended: list[MoveRecord] = []
        alive = self._where.alive(source, batch) or {}
        for record in batch:
            if record.source.uid in alive:
                self._signs.release(source, [record], alive)
                ended.append(self._rows.end(record, MoveState.FAILED, reason))
                continue
            copy = self._where.our_copy(record)
            if copy is not None:
                done = replace(record, target_uid=copy.ref.uid)
                self._signs.unlock_targets([done])
                ended.append(self._rows.end(done, MoveState.DONE))
            else:
                ended.append(self._rows.end(record, MoveState.ABANDONED, "Another program moved it first."))
        return ended


__all__ = ["Sending"]
