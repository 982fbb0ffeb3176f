"""After a crash: every open row of the account is brought to an end.

The copy is looked for by identity, at UIDs from the target's UIDNEXT on that no other row has claimed:

    ============== ================ ==============================================
    in the target  in the source    then
    ============== ================ ==============================================
    yes            yes              finish the deletion, DONE (with MOVE and no true id: that is a twin;
                                    start again)
    yes            no               DONE
    no             yes, INTENT      start again
    no             yes, later       take our \\Deleted off again, ABANDONED
    no             no               someone else acted: ABANDONED
    UIDVALIDITY changed             nothing is touched by UID. Of the source: our copy goes where the mail is found
                                    there by identity, our marks come off it, FAILED (to be tried with its new UID). Of
                                    the target: our copy is known by our lock, and followed (with MOVE: where the
                                    original is gone); without one ABANDONED (with MOVE, and no copy there, the mail
                                    in the source: start again)
    may not be looked at            nothing: what cannot be seen is not gone. The rows stay open
    ============== ================ ==============================================
"""

from __future__ import annotations

import contextlib
import enum
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from spamd.domain import (
    OTHERS_WERE_FASTER,
    TARGET_CHANGED,
    Arrival,
    FolderName,
    FolderStatus,
    MessageRef,
    MoveRecord,
    MoveState,
    UidValidity,
)
from spamd.errors import FolderMissing
from spamd.mailbox.moving.refusals import Tolerated
from spamd.mailbox.moving.removal import GUESSED, HAS_A_COPY, Removal
from spamd.mailbox.moving.rivals import Rivals
from spamd.mailbox.moving.rows import PROVING_IDS, Rows, batches, place_of, same, source_of, target_of
from spamd.mailbox.moving.sending import Sending
from spamd.mailbox.moving.signs import UNSIGNED, Signs
from spamd.mailbox.moving.whereabouts import Whereabouts
from spamd.source import MailSession, MoveCommands, OpenFolder

REDO_SECONDS = 24 * 3600.0
"""An intent older than this, of which nothing was done, is given up: the person has long seen the mail."""


class _Then(enum.Enum):
    """What is done with a row after it was looked at."""

    ENDED = enum.auto()  # nothing more
    FINISH = enum.auto()  # the copy is there: the original goes
    KEEP = enum.auto()  # the copy is gone: the original stays
    AGAIN = enum.auto()


@dataclass(frozen=True, slots=True)
class Recovery:
    """Of one account, on a new connection."""

    _session: MailSession
    _commands: MoveCommands
    _rows: Rows
    _where: Whereabouts
    _signs: Signs
    _removal: Removal
    _rivals: Rivals
    _sending: Sending

    def recover(
        self,
        wanted: Callable[[MoveRecord], bool] | None = None,
        asked: Callable[[MoveRecord], bool] | None = None,
    ) -> Sequence[MoveRecord]:
        """Bring every open row of the account to an end, by the table above; the rows that were ended.

        wanted: may this move, of which nothing was done, be begun again? The person may have spoken meanwhile.
        asked: did the person ask for it, for this very mail (see mover.JournaledMover.move)?
        """
        finished: list[MoveRecord] = []
        again: list[MoveRecord] = []
        # Rivals of moves that ended before the connection did, and of those that are ended now.
        kept = self._rivals.kept_neighbours()
        given_way = self._rivals.end_giving_way()
        finished += given_way
        self._rivals.remember_lately(kept)
        unfinished = self._rows.open()
        left_over = sorted(self._followed(unfinished), key=place_of)
        self._signs.asked_for(row for row in left_over if asked is not None and asked(row))
        if unfinished and self._signs.used:
            # Wherever a locked mail was taken to meanwhile. Before the rows are ended: a crash here repeats it.
            seen = {row.id for row in left_over}
            rows = [*left_over, *(row for row in unfinished if row.id not in seen)]
            involved = {row.source.folder for row in rows} | {row.target for row in rows}
            self._signs.sweep(involved | set(self._where.real_folders(rows[0].source.folder)), rows)
        for batch in batches(left_over):
            # One folder that cannot be looked at must not keep the account from working.
            with Tolerated("moves are left open", logging.WARNING):
                ended, unsent = self._recover_batch(batch)
                finished += ended
                again += unsent
        if self._signs.used and given_way:  # theirs may bear our lock
            left = [row.target for row in given_way]
            self._signs.sweep({*left, *self._where.real_folders(left[0])})
        self._rivals.remember_since(finished, kept)
        if wanted is not None:
            finished += [
                self._rows.end(row, MoveState.ABANDONED, "It is not wanted any more.")
                for row in again
                if not wanted(row)
            ]
            again = [row for row in again if wanted(row)]
        for batch in batches(again):
            finished += self._sending.start(batch)
        finished += self._rivals.reconcile_quietly()
        # Of a row that is among them twice the later word counts.
        return list({row.id: row for row in finished}.values())

    def _recover_batch(self, batch: Sequence[MoveRecord]) -> tuple[list[MoveRecord], list[MoveRecord]]:
        """(ended, to be started again)."""
        source = source_of(batch[0])
        ended: list[MoveRecord] = []
        there: FolderStatus | None = None
        # Refused, it is not gone: nobody knows what lies there, and the rows stay open.
        with contextlib.suppress(FolderMissing):
            there = self._session.status(batch[0].target)
        for record in batch:
            if record.error == OTHERS_WERE_FASTER:  # decided before the crash
                ended += self._removal.give_way(source, target_of(record), [record])
        batch = [record for record in batch if record.error != OTHERS_WERE_FASTER]
        if not batch:
            return ended, []
        alive = self._where.alive(source, batch)
        if alive is None:
            return ended + self._removal.give_up(source, batch), []
        rows: dict[_Then, list[MoveRecord]] = {then: [] for then in _Then}
        # Rows whose original is gone choose their copy first: of two identical mails the one that was surely
        # moved must not lose its copy to the one that was not.
        for record in sorted(batch, key=lambda r: r.source.uid in alive):
            then, row = self._decide(source, record, alive.get(record.source.uid), there)
            rows[then].append(row)
        ended += rows[_Then.ENDED]
        if rows[_Then.KEEP]:
            ended += self._removal.keep_originals(source, rows[_Then.KEEP])
        ended += self._removal.delete_originals(source, rows[_Then.FINISH])
        return ended, rows[_Then.AGAIN]

    def _decide(
        self, source: OpenFolder, record: MoveRecord, mail: Arrival | None, there: FolderStatus | None
    ) -> tuple[_Then, MoveRecord]:
        """The table, of one row. mail: the original, if it is still in its place; there: the target, if it is."""
        if record.target_uid_next is None:  # nothing was ever sent
            if mail is not None and not self._too_old(record):
                return _Then.AGAIN, record
            return self._end(record, MoveState.ABANDONED, "The mail is no longer there.")
        same_target = there is not None and there.uid_validity == record.target_uid_validity
        copy = self._copy_made(source, record, mail) if same_target else None
        if copy is not None:
            return self._with_copy(record, mail, copy)
        if mail is None:
            return self._end(record, MoveState.ABANDONED, "Another program moved it.")
        if record.state is not MoveState.INTENT:
            return _Then.KEEP, record
        self._signs.release(source, [record], {record.source.uid: mail})
        if there is None:
            return self._end(record, MoveState.FAILED, f"There is no folder “{record.target}”.")
        if not same_target and self._where.others(record, record.target):
            # It may be ours, or is one too many: it must not get a second one.
            return self._end(record, MoveState.ABANDONED, HAS_A_COPY)
        if not same_target and not self._session.abilities.move:
            return self._end(record, MoveState.ABANDONED, TARGET_CHANGED)
        if self._too_old(record):
            return self._end(record, MoveState.ABANDONED, "Given up: too old.")
        return _Then.AGAIN, record

    def _with_copy(self, record: MoveRecord, mail: Arrival | None, copy: Arrival) -> tuple[_Then, MoveRecord]:
        ours = record.state is not MoveState.INTENT or self._where.ours(copy)
        record = replace(record, target_uid=copy.ref.uid)
        # Not marked by us, and gone: another daemon may have been faster, and its copy be there, too.
        rivalled = ours and not self._session.abilities.move and record.state is not MoveState.MARKED
        if mail is None and not rivalled:
            self._signs.sign_late(record, copy)
            self._signs.unlock_targets([record])
            return self._end(record, MoveState.DONE)
        if record.state is MoveState.INTENT:
            copied = replace(record, state=MoveState.COPIED, error="" if ours else GUESSED)
            record = self._rows.write(copied)
        return _Then.FINISH, record

    def _end(self, record: MoveRecord, state: MoveState, error: str = "") -> tuple[_Then, MoveRecord]:
        return _Then.ENDED, self._rows.end(record, state, error)

    def _too_old(self, record: MoveRecord) -> bool:
        return self._rows.now() - record.created_at > REDO_SECONDS

    def _copy_made(self, source: OpenFolder, record: MoveRecord, mail: Arrival | None) -> Arrival | None:
        """Our copy, in a target that counts as before. mail: the original, if it is still there."""
        if mail is None:
            return self._where.our_copy(record)
        if self._never_copied(record):
            left = self._commands.left_copy(source, record.source.uid, record.target)
            return None if left is None else self._where.our_copy(replace(record, target_uid=left))
        copy = self._where.our_copy(record)
        return copy if copy is not None and self._surely_ours(record, copy) else None

    def _followed(self, rows: Sequence[MoveRecord]) -> list[MoveRecord]:
        """Where the target counts its mails anew, or has another name by now, our copies in it are known by our lock, which
        no twin bears.
        """
        if not self._signs.used:
            return list(rows)
        followed: list[MoveRecord] = []
        for place, here in groupby(sorted(rows, key=_place_of_target), key=_place_of_target):
            # Where that cannot be looked at: without its copy a move would be given up, or begun again.
            with Tolerated("moves are left open", logging.WARNING):
                followed += self._followed_to(OpenFolder(*place), list(here))
        return followed

    def _followed_to(self, target: OpenFolder, rows: Sequence[MoveRecord]) -> list[MoveRecord]:
        followed = list(rows)
        batch = [row for row in rows if row.target_uid_validity is not None]
        copies = self._locked_copies(target) if batch and self._where.counts_anew(batch[0]) else []
        for row in self._may_have_copies(batch) if copies else ():
            copy = next((mail for mail in copies if same(row, mail) and _may_be_of(row, mail.ref)), None)
            if copy is None:
                continue
            copies.remove(copy)
            there, uid = copy.ref, copy.ref.uid
            now = replace(
                row,
                target=there.folder,
                target_uid_validity=there.uid_validity,
                target_uid_next=uid,
                target_uid=uid,
            )
            followed[followed.index(row)] = self._rows.write(now)
        return followed

    def _may_have_copies(self, rows: Sequence[MoveRecord]) -> list[MoveRecord]:
        """MOVE leaves none beside the original."""
        if not self._session.abilities.move:
            return list(rows)
        gone: list[MoveRecord] = []
        for batch in batches(sorted(rows, key=place_of)):
            alive = self._where.alive(source_of(batch[0]), batch)
            gone += [row for row in batch if alive is not None and row.source.uid not in alive]
        return gone

    def _locked_copies(self, target: OpenFolder) -> list[Arrival]:
        """What bears our lock in the folder of that name, or with that UIDVALIDITY, and belongs to no other row."""
        names = [name for name in self._where.real_folders(target.name) if name != target.name]
        renamed = [s.folder for s in self._session.statuses(names) if s.uid_validity == target.uid_validity]
        copies: list[Arrival] = []
        for name in (*renamed, target.name):
            with contextlib.suppress(FolderMissing):
                copies += [mail for mail in self._signs.unclaimed(name)[1] if self._where.ours(mail)]
        return copies

    def _never_copied(self, record: MoveRecord) -> bool:
        """MOVE never leaves a mail in both folders. What has the same identity there is a twin (one that another
        program moved or delivered); the original must not go because of it. Only a true id proves more.
        """
        return (
            record.state is MoveState.INTENT
            and self._session.abilities.move
            and not record.identity.startswith(PROVING_IDS)
        )

    def _surely_ours(self, record: MoveRecord, copy: Arrival) -> bool:
        """Both are there. Is this copy the one we made? A twin that the person dragged there may have the same
        identity, but not our sign: the original must not go because of it.
        """
        certain = record.state is not MoveState.INTENT or record.identity.startswith(PROVING_IDS)
        # What the original bears tells nothing: without CONDSTORE another daemon's lock may have taken the place of ours.
        return certain or not self._signs.used or record.error == UNSIGNED or self._where.ours(copy)


def _may_be_of(record: MoveRecord, copy: MessageRef) -> bool:
    """In a target that has another name by now, it still has its UID. (Folders that were made in one second may have one
    UIDVALIDITY: the source is none.)
    """
    if copy.folder == record.target:
        return True
    known = record.target_uid is None or record.target_uid == copy.uid
    return copy.folder != record.source.folder and known and copy.uid >= (record.target_uid_next or 1)


def _place_of_target(record: MoveRecord) -> tuple[FolderName, UidValidity]:
    return record.target, record.target_uid_validity or UidValidity(0)


__all__ = ["REDO_SECONDS", "Recovery"]
