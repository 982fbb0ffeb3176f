"""The signs that a mail bears while we move it and afterwards: the lock, whose it is, and that it was moved.

Where the server keeps keywords a mail is signed before it is moved, in one STORE: the lock (MOVING_KEYWORD), whose
it is (OWNER_KEYWORD and the journal's name) and, unless the person asked for the move, MOVED_KEYWORD (RETURNED_KEYWORD
where it is put back). Lock and name are taken off when the move has ended; the others stay on mail that was moved. The sign
travels with the mail, and so it tells our copy from a twin that the person put there, a rival's copy (made before we had
moved) from one that the person made of our mail in Junk, and another daemon's move from a drag (judgement/corrections.py).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from spamd.domain import (
    HELD_BY_OTHERS,
    MOVED_KEYWORD,
    MOVING_KEYWORD,
    OWNER_KEYWORD,
    RETURNED_KEYWORD,
    Arrival,
    FolderName,
    MessageRef,
    MoveKind,
    MoveRecord,
    MoveState,
    Sighting,
    Uid,
)
from spamd.errors import FolderChanged, FolderMissing, FolderRefused, MailboxError
from spamd.mailbox.moving.refusals import TRANSIENT, Tolerated
from spamd.mailbox.moving.rows import Rows, has, target_of
from spamd.mailbox.moving.whereabouts import Whereabouts
from spamd.source import MailSession, MoveCommands, OpenFolder

_log = logging.getLogger(__name__)

UNSIGNED = "This folder keeps no keywords."
"""In the journal before anything is copied: such a copy cannot be known by our sign."""


class Signs:
    """What we have put on mails, on one connection."""

    def __init__(
        self,
        session: MailSession,
        commands: MoveCommands,
        rows: Rows,
        where: Whereabouts,
        *,
        use_lock: bool,
    ) -> None:
        self._session = session
        self._commands = commands
        self._rows = rows
        self._where = where
        self._use_lock = use_lock
        self._asked: frozenset[int] = frozenset()
        self._signed: set[int] = set()
        self._unsigned: set[int] = set()  # they should be, and could not before the move
        self._swept: set[MessageRef] = set()  # what bore our lock where we have moved nothing
        self._seen_locks: dict[MessageRef, frozenset[str]] = {}
        self._left: list[
            tuple[OpenFolder, Sequence[Uid], Sequence[str]]
        ] = []  # words that could not be taken off

    @property
    def used(self) -> bool:
        """False: the server keeps no keywords, or nobody else moves mail there."""
        return self._use_lock and self._session.abilities.keywords

    def asked_for(self, rows: Iterable[MoveRecord]) -> None:
        """From here on the person asked for these moves, and for no others: they are not signed as moved by themselves."""
        self._asked = frozenset(record.id for record in rows)

    def count_as_signed(self, rows: Iterable[MoveRecord]) -> None:
        """They were, before the connection broke."""
        if self.used:
            self._signed |= {record.id for record in rows}

    def signed_among(self, ended: Iterable[MoveRecord]) -> set[int]:
        """The ids of those that were signed before they were moved. Told once."""
        signed = self._signed & {record.id for record in ended}
        self._signed -= signed
        return signed

    def came_from_ours(self, mail: Arrival) -> bool:
        """Was it made of a mail while that bore our lock?"""
        return self._where.ours(mail) or mail.ref in self._swept

    @property
    def words(self) -> tuple[str, str]:
        """Our lock, as it is on a mail."""
        return MOVING_KEYWORD, self._rows.owner

    def take(
        self, source: OpenFolder, ready: Sequence[MoveRecord]
    ) -> tuple[Sequence[MoveRecord], list[MoveRecord]]:
        """Sign mail that is about to be moved: (the rows that may go on, those whose mail another daemon holds, ended).

        Where the folder keeps no keywords all may go on, and the journal is told so before anything is copied.
        """
        asked_for = [record.source.uid for record in ready if record.kind is MoveKind.UNDO]
        if asked_for:
            # The person wants it back. A keyword that some daemon left there long ago must not be in the way:
            # nobody else moves mail out of where we put it.
            self._break(source, asked_for)
        kept: list[MoveRecord] = []
        ended: list[MoveRecord] = []
        by_itself = [r for r in ready if r.kind is not MoveKind.UNDO and r.id not in self._asked]
        returned = [r for r in ready if r.kind is MoveKind.UNDO and r.id not in self._asked]
        for part, signs in (
            (by_itself, (self._rows.owner, MOVED_KEYWORD)),
            (returned, (self._rows.owner, RETURNED_KEYWORD)),
            ([r for r in ready if r.id in self._asked], (self._rows.owner,)),
        ):
            if not part:
                continue
            held = self._commands.lock(source, [r.source.uid for r in part], MOVING_KEYWORD, signs)
            if held is None:
                if MOVED_KEYWORD in signs:
                    self._unsigned |= {r.id for r in part}
                copies = not self._session.abilities.move
                kept += [self._rows.write(replace(r, error=UNSIGNED)) if copies else r for r in part]
                continue
            kept += [r for r in part if r.source.uid in held]
            if MOVED_KEYWORD in signs:
                self._signed |= {r.id for r in part if r.source.uid in held}
            ended += [
                self._rows.end(r, MoveState.ABANDONED, HELD_BY_OTHERS)
                for r in part
                if r.source.uid not in held
            ]
        return kept, ended

    def _break(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        """Whoever's lock it is."""
        names = {name for mail in self._where.by_uid(folder, uids).values() for name in owners_on(mail)}
        words = (MOVING_KEYWORD, *sorted(names | {self._rows.owner}))
        with Tolerated("an old lock is left on"):
            self._commands.unlock(folder, uids, words)

    def release(
        self, source: OpenFolder, records: Sequence[MoveRecord], alive: Mapping[Uid, Arrival]
    ) -> None:
        """These are not moved (yet): our sign goes, but for the one that mail to be put back had before."""
        for undo in (False, True):
            mails = [
                alive[r.source.uid]
                for r in records
                if r.source.uid in alive and (r.kind is MoveKind.UNDO) is undo
            ]
            self.unlock(source, mails, moved=undo)
            uids = sorted(mail.ref.uid for mail in mails if undo and self._where.ours(mail))
            if uids:
                self._take_words_off(source, uids, [RETURNED_KEYWORD])

    def unlock(self, folder: OpenFolder, mails: Sequence[Arrival], *, moved: bool) -> None:
        """Take our lock off; moved: it has been moved, and goes on saying so."""
        named = [mail for mail in mails if has(mail, self._rows.owner)]
        words = self.words if moved else (*self.words, MOVED_KEYWORD)
        for locked, off in ((True, words), (False, (self._rows.owner,))):
            # The name alone stays of a lock that two had at once, when the other one has taken its own off.
            if uids := sorted(mail.ref.uid for mail in named if self._where.ours(mail) is locked):
                self._take_words_off(folder, uids, off)

    def unlock_targets(self, records: Sequence[MoveRecord]) -> None:
        """Of rows (one target) about to be DONE: the lock went along with the mail. Taken off before the row is closed:
        none is forgotten.
        """
        if not records or not self.used:
            return
        target = target_of(records[0])
        uids = sorted(record.target_uid for record in records if record.target_uid is not None)
        if uids:
            self.take_off(target, uids)
        for record in records:
            if record.id in self._unsigned and record.target_uid is not None:
                # No room for it in the source (Cyrus has 100 keywords to a folder); in the target there may be.
                ref = MessageRef(target.name, target.uid_validity, record.target_uid)
                with Tolerated("a mail stays unsigned"):
                    self._session.add_keyword(ref, MOVED_KEYWORD)
        self._unsigned.difference_update(record.id for record in records)

    def unlock_others(self, target: FolderName, batch: Sequence[MoveRecord]) -> None:
        """A copy that somebody made of a mail under our lock bears it, and stays."""
        if not self.used:
            return
        here, found = self.unclaimed(target)
        identities = {record.identity for record in batch}
        self.unlock(here, [mail for mail in found if mail.identity in identities], moved=True)

    def unclaimed(self, name: FolderName) -> tuple[OpenFolder, list[Arrival]]:
        """A folder as it is now, and what bears our name in it though no row knows it for its copy."""
        here, locked = self._commands.locked(name, self._rows.owner)
        known = self._rows.claimed(here.name, here.uid_validity)
        found = self._where.by_uid(here, [uid for uid in locked if uid not in known])
        return here, [mail for mail in found.values() if has(mail, self._rows.owner)]

    def take_off(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        """Our lock, and nothing else, whether it is on them or not."""
        self._take_words_off(folder, uids, self.words)

    def take_off_what_was_left(self) -> None:
        """What the server refused before."""
        left, self._left = self._left, []
        for folder, uids, words in left:
            self._take_words_off(folder, uids, words, before=True)

    def _take_words_off(
        self, folder: OpenFolder, uids: Sequence[Uid], words: Sequence[str], *, before: bool = False
    ) -> None:
        """A lock that stays would keep others off the mail for good: refused, it is tried again with the next look. Not where
        the folder itself was refused before: that is a right we do not have.
        """
        try:
            self._commands.unlock(folder, uids, words)
        except TRANSIENT:
            raise
        except (FolderMissing, FolderChanged):
            return
        except MailboxError as problem:
            if before and isinstance(problem, FolderRefused):
                return
            _log.debug("a lock is left on for now: %s", type(problem).__name__)
            self._left.append((folder, uids, words))

    def sign_late(self, record: MoveRecord, copy: Arrival) -> None:
        """The connection broke after a move that could not be signed before: its copy is, once it is unlocked. Where the
        source has room for the sign, what lies there without it was taken there by the person.
        """
        by_itself = record.kind is not MoveKind.UNDO and record.id not in self._asked
        if not self.used or not by_itself or has(copy, MOVED_KEYWORD):
            return
        with contextlib.suppress(FolderMissing, FolderRefused):
            if not self._session.room_for_keywords(record.source.folder):
                self._unsigned.add(record.id)

    def sweep(self, folders: Iterable[FolderName], rows: Sequence[MoveRecord] = ()) -> None:
        """No mail may keep our lock, also where UIDs have changed and the rows could only be given up. What open rows
        speak of is left to them: our sign tells our copies from others.
        """
        sources = {row.source for row in rows}
        for name in sorted(set(folders)):
            with Tolerated("a folder could not be searched for locks"):
                folder, uids = self._commands.locked(name, self._rows.owner)
                into = [
                    row
                    for row in rows
                    if (row.target, row.target_uid_validity) == (folder.name, folder.uid_validity)
                ]
                first = min((row.target_uid_next for row in into if row.target_uid_next), default=None)
                swept = [
                    uid
                    for uid in uids
                    if MessageRef(folder.name, folder.uid_validity, uid) not in sources
                    and (first is None or uid < first)
                ]
                if swept:
                    # Not where we wanted it: then we have not moved it.
                    words = self.words if into else (*self.words, MOVED_KEYWORD)
                    self._swept |= {MessageRef(folder.name, folder.uid_validity, uid) for uid in swept}
                    self._unmark(folder, swept, rows)
                    self._commands.unlock(folder, swept, words)

    def _unmark(self, folder: OpenFolder, uids: Sequence[Uid], rows: Sequence[MoveRecord]) -> None:
        """Our \\Deleted may have gone along with our lock. In a source that counts anew it is ours only where we were about
        to set it; else the person wants that mail deleted.
        """
        if self._session.abilities.move:
            return
        if any(row.source.folder == folder.name for row in rows):
            marked = {row.identity for row in rows if row.state is MoveState.MARKED}
            uids = [uid for uid, mail in self._where.by_uid(folder, uids).items() if mail.identity in marked]
        if uids:
            self._commands.clear_deleted(folder, uids)

    def free(self, found: Iterable[Sighting]) -> None:
        """Our lock goes off mail of which no open row speaks: the person (or a program of theirs) took it out of the target
        between our move and the end of the lock, and so it came along. The sign stays, for other daemons. Where a folder counts
        anew, an open row speaks of its mail wherever that lies: by the lock recovery knows our copy there.
        """
        mine = {word.lower() for word in self.words}
        ours = [one for one in found if mine <= {keyword.lower() for keyword in one.keywords}]
        if not ours:
            return
        spoken_of = {row.identity for row in self._rows.open()}
        for folder, uids in _by_folder(one.ref for one in ours if one.identity not in spoken_of):
            self.take_off(folder, uids)

    def let_go(self, refs: Iterable[MessageRef]) -> None:
        """Our lock, and the sign that came with it, go off mail that has not left its place, where no open row speaks of it."""
        spoken_of = {row.source for row in self._rows.open()}
        for folder, uids in _by_folder(set(refs) - spoken_of):
            self.unlock(folder, list(self._where.by_uid(folder, uids).values()), moved=False)

    def locked_by_others(self, folder: FolderName) -> Sequence[MessageRef]:
        """Mails there under the lock of another daemon (or of one that is no more)."""
        if not self.used:
            return []
        opened, uids = self._commands.locked(folder, MOVING_KEYWORD)
        found = [mail for mail in self._where.by_uid(opened, uids).values() if not self._where.ours(mail)]
        self._seen_locks = {mail.ref: _lock_on(mail) for mail in found}
        return [mail.ref for mail in found]

    def break_locks(self, refs: Sequence[MessageRef]) -> None:
        """As they were seen: two daemons may do this at once, and the later one must not break the new lock of the other."""
        locks: dict[tuple[OpenFolder, frozenset[str]], list[Uid]] = {}
        for ref in refs:
            if ref in self._seen_locks:
                here = OpenFolder(ref.folder, ref.uid_validity)
                locks.setdefault((here, self._seen_locks[ref]), []).append(ref.uid)
        for (folder, lock), uids in locks.items():
            with Tolerated("an old lock is left on"):
                self._commands.break_lock(folder, uids, lock)


def owners_on(mail: Arrival) -> frozenset[str]:
    """The keywords on it that say whose lock it is."""
    own = OWNER_KEYWORD.lower()
    return frozenset(flag for flag in mail.flags if flag.isascii() and flag.lower().startswith(own))


def _lock_on(mail: Arrival) -> frozenset[str]:
    """The words of a lock, in lower case."""
    flags = {flag.lower() for flag in mail.flags}
    names = {name.lower() for name in owners_on(mail)}
    return frozenset(flags & {MOVING_KEYWORD.lower(), MOVED_KEYWORD.lower()} | names)


def _by_folder(refs: Iterable[MessageRef]) -> Iterator[tuple[OpenFolder, list[Uid]]]:
    ordered = sorted(refs, key=lambda ref: (ref.folder, ref.uid_validity, ref.uid))
    for (name, validity), here in groupby(ordered, key=lambda ref: (ref.folder, ref.uid_validity)):
        yield OpenFolder(name, validity), [ref.uid for ref in here]


__all__ = ["UNSIGNED", "Signs", "owners_on"]
