"""Moves that lose nothing and double nothing, whatever breaks in between.

Every step is written to the journal before it is sent, so that after a crash `recover` knows what may have
happened. Success is a COPYUID that names our UID (RFC 4315), never the tagged OK: Cyrus answers OK when
another client was faster and nothing was done.

With MOVE (RFC 6851)::

    INTENT ── UID MOVE ──▶ DONE

Without it, the copy is proven before the original is touched::

    INTENT ── UID COPY ──▶ COPIED ── alone? ──▶ MARKED ── STORE +\\Deleted, UID EXPUNGE ──▶ DONE
                                        └─ no: UID EXPUNGE of our copy ──▶ ABANDONED

What recovery does with an open row (the copy is looked for by identity, at UIDs from the target's UIDNEXT
on that no other row has claimed):

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
                                    the target: our copy is known by our lock, and followed; without one ABANDONED
                                    (with MOVE, and no copy there, the mail in the source: start again)
    ============== ================ ==============================================

Two clients that move one mail at the same moment can both succeed on real servers. `reconcile` finds such
pairs by server id, or by our lock on the other copy, and removes our copy, never the person's: also in the target,
below ours or above it. What was copied before our lock is asked about after it where no id tells (`_copied_meanwhile`).
What was ABANDONED without anybody's decision (domain.TRY_AGAIN) is tried again later, by filtering.py.

Copies are no race that a lock must win (Courier's STORE of one daemon undoes that of another, and both believe that
they hold it): whoever has copied looks for other copies of that mail in the target, and goes on to the original only if
there is none. Of two daemons the one that copied later sees both copies, so never more than one goes on, and nobody
removes an original without having been alone, nor a copy without another one after it was marked. The lower UID waits for the
other to withdraw; who waits in vain withdraws, too, and the mail stays where it was.

Where the server keeps keywords a mail is signed before it is moved, in one STORE: the lock (MOVING_KEYWORD), whose
it is (OWNER_KEYWORD and the journal's name) and, unless the person asked for the move, MOVED_KEYWORD (RETURNED_KEYWORD
where it is put back). Lock and name are taken off when the move has ended; the others stay on mail that was moved. The sign travels with the mail, and
so it tells our copy from a twin that the person put there, a rival's copy (made before we had moved) from one that
the person made of our mail in Junk, and another daemon's move from a drag (judgement/corrections.py).
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby

from spamd.domain import (
    HELD_BY_OTHERS,
    MOVED_KEYWORD,
    MOVING_KEYWORD,
    OTHERS_WERE_FASTER,
    OWNER_KEYWORD,
    RETURNED_KEYWORD,
    TARGET_CHANGED,
    Arrival,
    FolderName,
    FolderStatus,
    MessageRef,
    MoveKind,
    MoveRecord,
    MoveState,
    Sighting,
    Uid,
    UidValidity,
)
from spamd.errors import (
    ConnectionLost,
    FolderChanged,
    FolderMissing,
    FolderRefused,
    MailboxError,
    ProtocolFault,
    QuotaExceeded,
    ServerBusy,
    SignInError,
)
from spamd.source import Abilities, Copied, Folder, MailSession, MoveCommands, MoveJournal, OpenFolder

_log = logging.getLogger(__name__)

LOCK_KEYWORD = MOVING_KEYWORD

BATCH = 50
"""Mails in one command. Few: a server that lost us still finishes, and recovery must not meet it."""

RIVAL_SECONDS = 10.0
"""A second copy that comes later than this after a move is no rival's: the person has made or moved one of their own."""

RECONCILE_SECONDS = 120.0
"""How much later than that the one look for it may come, where a copy made of ours can be told by its sign: the connection
may have broken."""

_UNSIGNED = "This folder keeps no keywords."
"""In the journal before anything is copied: such a copy cannot be known by our sign."""

WEAK_ID = "hash:0.0."
"""Identities made without size and date (mailbox/session.py)."""

FOLDERS_SECONDS = 600.0
"""How long the list of folders is taken for true when second copies are looked for."""

REDO_SECONDS = 24 * 3600.0
"""An intent older than this, of which nothing was done, is given up: the person has long seen the mail."""

PROVING_IDS = ("guid:",)
"""Ids of one mail and its copies. An EMAILID may be that of the content (RFC 8474), shared by two deliveries of one
mail: there only our lock tells a copy of ours from a mail of the person's."""

LABELLED_IDS = ("gmail:",)
"""A Gmail id is shared by all labels of one mail, and so are its flags: nothing tells a copy, for there is none."""

WATCHED_FOLDERS = 25
"""Reconciling asks for the STATUS of at most so many folders."""

_CHANGED = "The folder it was in has changed."
"""In the journal of a move that failed since the source counts its mails anew: with its new UID the mail may be moved."""

_GIVES_WAY = "Another copy of it was seen."
"""In the journal of a move that is done, while our copy is being taken away because of another one."""

_HAS_A_COPY = "The target folder has changed, and a copy lies there."

_STAYS = "The original stays in its folder, marked as deleted."
"""In the journal of a move that is done, where a plain EXPUNGE would have taken other mail along."""

STAYS_SECONDS = 30 * 86400.0
"""So long such an original goes with the next plain EXPUNGE of ours."""

_GUESSED = "This copy was found by what it says."
"""In the journal of a copy that may be another daemon's: it is never taken away."""

PAUSES = (0.0, 0.2, 0.5, 1.0)
"""Seconds between the looks of a daemon that waits for another one to withdraw its copy."""

_TRANSIENT = (ConnectionLost, ServerBusy, SignInError)


@dataclass(slots=True)
class _Fresh:
    """A finished move that another client may have raced."""

    record: MoveRecord
    before: dict[FolderName, FolderStatus]
    ended: float  # by the clock that nobody sets
    signed: bool = False
    looked: bool = False  # for a second copy, at least once


class _Strangers:
    """What came into folders beside the mails that our journal knows. Asked of the server once for all mails of a look: of
    fifty moved at once each asked for those below it, and all of them were ours.
    """

    def __init__(self, session: MailSession, journal: MoveJournal, account: str) -> None:
        self._session = session
        self._journal = journal
        self._account = account
        self._claimed: dict[tuple[FolderName, UidValidity], frozenset[int]] = {}
        self._found: dict[tuple[FolderName, Uid, Uid], list[Arrival]] = {}

    def between(self, folder: FolderName, validity: UidValidity, first: Uid, end: Uid) -> list[Arrival]:
        """At UIDs from first on, below end."""
        claimed = self._claimed.get((folder, validity))
        if claimed is None:
            claimed = self._journal.claimed_uids(self._account, folder, validity)
            self._claimed[folder, validity] = claimed
        lowest = next((uid for uid in range(first, end) if uid not in claimed), None)
        highest = next((uid for uid in reversed(range(first, end)) if uid not in claimed), None)
        if lowest is None or highest is None:
            return []
        span = (folder, Uid(lowest), Uid(highest))
        if span not in self._found:
            self._found[span] = list(self._session.arrivals(*span))
        return [mail for mail in self._found[span] if mail.ref.uid not in claimed]


class JournaledMover:
    """Moves on one session. Not thread-safe, like the session it uses."""

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
        self._session = session
        self._commands = commands
        self._journal = journal
        self._account = account
        self._clock = clock
        self._steady = steady
        self._pause = pause
        self._use_lock = use_lock
        self._expunge_refused = False
        self._folders: tuple[float, list[Folder]] = (float("-inf"), [])
        self._fresh: list[_Fresh] = []
        self._asked: set[int] = set()
        self._signed: set[int] = set()
        self._unsigned: set[int] = set()  # they should be, and could not before the move
        self._name = ""
        self._swept: set[MessageRef] = set()  # what bore our lock where we have moved nothing
        self._seen_locks: dict[MessageRef, frozenset[str]] = {}
        self._left: list[
            tuple[OpenFolder, Sequence[Uid], Sequence[str]]
        ] = []  # words that could not be taken off

    @property
    def _abilities(self) -> Abilities:
        return self._session.abilities

    @property
    def _single_expunge(self) -> bool:
        """UID EXPUNGE is there and works (Proton Bridge once offered UIDPLUS and refused it)."""
        return self._abilities.uidplus and not self._expunge_refused

    @property
    def _owner(self) -> str:
        self._name = self._name or OWNER_KEYWORD + self._journal.owner()
        return self._name

    @property
    def _locks(self) -> bool:
        return self._use_lock and self._abilities.keywords

    # -- the road

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
        self._asked = {record.id for record in records} if asked else set()
        for batch in _batches(records):
            for record in self._start_or_leave(batch):
                finished[record.id] = record
        for record in self._reconcile_quietly():
            finished[record.id] = record
        return [finished[record.id] for record in records]

    def recover(
        self,
        wanted: Callable[[MoveRecord], bool] | None = None,
        asked: Callable[[MoveRecord], bool] | None = None,
    ) -> Sequence[MoveRecord]:
        """Bring every open row of the account to an end, by the table above.

        wanted: may this move, of which nothing was done, be begun again? The person may have spoken meanwhile.
        asked: did the person ask for it, for this very mail (see `move`)?
        """
        finished: list[MoveRecord] = []
        again: list[MoveRecord] = []
        # Rivals of moves that ended before the connection did, and of those that are ended now.
        before = self._kept_neighbours()
        given_way = self._end_giving_way()
        finished += given_way
        lately = self._journal.done_since(self._account, self._clock() - RECONCILE_SECONDS)
        self._signed |= {row.id for row in lately if self._locks}
        self._remember(lately, before)
        left_over = sorted(self._followed(self._journal.open_moves(self._account)), key=_place)
        self._asked = {row.id for row in left_over if asked is not None and asked(row)}
        if left_over and self._locks:
            # Wherever a locked mail was taken to meanwhile. Before the rows are ended: a crash here repeats it.
            involved = {row.source.folder for row in left_over} | {row.target for row in left_over}
            self._sweep_locks(involved | set(self._real_folders(left_over[0].source.folder)), left_over)
        for batch in _batches(left_over):
            try:
                ended, unsent = self._recover_batch(batch)
            except _TRANSIENT:
                raise
            except MailboxError as problem:
                # One folder that cannot be looked at must not keep the account from working.
                _log.warning("moves are left open: %s", type(problem).__name__)
                continue
            finished += ended
            again += unsent
        if self._locks and given_way:  # theirs may bear our lock
            left = [row.target for row in given_way]
            self._sweep_locks({*left, *self._real_folders(left[0])})
        self._remember(finished, before)
        if wanted is not None:
            finished += [
                self._end(row, MoveState.ABANDONED, "It is not wanted any more.")
                for row in again
                if not wanted(row)
            ]
            again = [row for row in again if wanted(row)]
        for batch in _batches(again):
            finished += self._start_or_leave(batch)
        self._reconcile_quietly()
        return finished

    def reconcile(self) -> Sequence[MoveRecord]:
        """Look for mails that another client moved at the same moment; ours go, theirs stay.

        Only with proof (see `_is_copy`). Returns the records that were taken back (now ABANDONED).
        """
        left, self._left = self._left, []
        for folder, uids, words in left:
            self._take_off(folder, uids, words)
        # One more look when the time is over, but not where that would be the person's copy.
        ages = {fresh.record.id: self._age(fresh) for fresh in self._fresh}
        self._fresh = [
            fresh
            for fresh in self._fresh
            if ages[fresh.record.id] < RIVAL_SECONDS + (RECONCILE_SECONDS if fresh.signed else 0.0)
        ]
        if not self._fresh:
            return []
        taken_back: list[MoveRecord] = []
        targets = {fresh.record.target for fresh in self._fresh}
        names = {name for fresh in self._fresh for name in fresh.before} | targets
        states = {one.folder: one for one in self._session.statuses(sorted(names))}
        grown = {then.folder for fresh in self._fresh for then, _ in _grown(fresh.before, states)} - targets
        strangers = _Strangers(self._session, self._journal, self._account)
        for fresh in list(self._fresh):
            given_up: MoveRecord | None = None
            try:
                given_up = self._reconcile_one(fresh, states, strangers)
            except (FolderMissing, FolderRefused, FolderChanged):
                self._fresh.remove(fresh)
                continue
            if given_up is not None:
                taken_back.append(given_up)
            # What was put back is the person's again: a copy that comes later is one they made on purpose.
            once = fresh.record.kind is MoveKind.UNDO
            if given_up is not None or once or ages[fresh.record.id] >= RIVAL_SECONDS:
                self._fresh.remove(fresh)
        if self._locks and grown:  # a mail we had locked may have been taken there, with our keyword
            self._sweep_locks(grown)
        return taken_back

    def free(self, found: Iterable[Sighting]) -> None:
        """Our lock goes off mail of which no open row speaks: the person (or a program of theirs) took it out of the target
        between our move and the end of the lock, and so it came along. The sign stays, for other daemons.
        """
        mine = {word.lower() for word in self._lock_words}
        ours = [one.ref for one in found if mine <= {keyword.lower() for keyword in one.keywords}]
        if not ours:
            return
        spoken_of = {place for row in self._journal.open_moves(self._account) for place in _places_of(row)}
        ours = sorted((ref for ref in ours if ref not in spoken_of), key=lambda ref: (ref.folder, ref.uid))
        for (name, validity), refs in groupby(ours, key=lambda ref: (ref.folder, ref.uid_validity)):
            self._take_off(OpenFolder(name, validity), [ref.uid for ref in refs], self._lock_words)

    def let_go(self, refs: Sequence[MessageRef]) -> None:
        """Our lock, and the sign that came with it, go off mail that has not left its place, where no open row speaks of it."""
        spoken_of = {row.source for row in self._journal.open_moves(self._account)}
        left = sorted(set(refs) - spoken_of, key=lambda ref: (ref.folder, ref.uid_validity))
        for (name, validity), here in groupby(left, key=lambda ref: (ref.folder, ref.uid_validity)):
            folder = OpenFolder(name, validity)
            mails = self._by_uid(folder, [ref.uid for ref in here])
            self._unlock(folder, list(mails.values()), moved=False)

    def locked_by_others(self, folder: FolderName) -> Sequence[MessageRef]:
        if not self._locks:
            return []
        opened, uids = self._commands.locked(folder, LOCK_KEYWORD)
        found = [mail for mail in self._by_uid(opened, uids).values() if not self._ours(mail)]
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
            self._quietly(functools.partial(self._commands.break_lock, folder, uids, lock))

    def _reconcile_quietly(self) -> Sequence[MoveRecord]:
        """Reconcile, and let nothing that goes wrong there spoil moves that are done."""
        try:
            return self.reconcile()
        except MailboxError as problem:
            _log.info("could not look for second copies: %s", type(problem).__name__)
            return []

    # -- first attempt

    def _start_or_leave(self, batch: Sequence[MoveRecord]) -> Sequence[MoveRecord]:
        """Rows that a server's odd answer kept us from finishing stay open, for the next recovery."""
        try:
            return self._start(batch)
        except _TRANSIENT:
            raise
        except MailboxError as problem:
            _log.warning("moves are left open: %s", type(problem).__name__)
            return batch

    def _start(self, batch: Sequence[MoveRecord]) -> list[MoveRecord]:
        """One batch from INTENT on: same source folder, same target."""
        source = OpenFolder(batch[0].source.folder, batch[0].source.uid_validity)
        target = batch[0].target
        if source.name == target:
            return [self._end(record, MoveState.ABANDONED, "The mail is there already.") for record in batch]
        # First: what comes to the other folders from now on may be one of these.
        before = self._around(source.name, target)
        try:
            there = before.get(target) or self._session.status(target)
            if not there.messages and there.uid_next == 1:
                # Courier gives a folder its UIDVALIDITY when it is first opened for writing.
                self._commands.locked(target, self._owner)
                there = self._session.status(target)
        except FolderMissing:
            return [
                self._end(record, MoveState.FAILED, f"There is no folder “{target}”.") for record in batch
            ]
        except FolderRefused as refusal:
            return [self._end(record, MoveState.FAILED, refusal.title) for record in batch]
        ended: list[MoveRecord] = []
        ready: list[MoveRecord] = []
        alive = self._alive(source, batch)
        if alive is None:
            changed = self._what_changed(source.name)
            return [self._end(r, MoveState.FAILED, changed) for r in batch]
        for record in batch:
            mail = alive.get(record.source.uid)
            if mail is None:
                ended.append(self._end(record, MoveState.ABANDONED, "The mail is no longer there."))
            elif _has(mail, "\\Deleted"):
                ended.append(self._end(record, MoveState.ABANDONED, "The mail was deleted meanwhile."))
            else:
                # A row that is started again keeps the lower mark: its first attempt may still come through.
                known = record.target_uid_validity == there.uid_validity
                first = record.target_uid_next if known and record.target_uid_next else there.uid_next
                begun = replace(record, target_uid_validity=there.uid_validity, target_uid_next=first)
                ready.append(self._write(begun))
        if ready:
            self._release(source, ready, alive)  # a lock of ours that an earlier attempt could not take off
            self._keep_neighbours(before)
            moved = self._send(source, target, ready, before)
            ended += moved
            self._remember(moved, before)
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
            if self._locks:
                ready, lost = self._lock(source, ready)
                ended += lost
                ready, lost = self._copied_meanwhile(source, ready, before)
                ended += lost
            if not ready:
                return ended
            uids = [record.source.uid for record in ready]
            if self._abilities.move:
                copied = self._commands.move(source, uids, target)
                return ended + self._after_move(source, ready, copied)
            copied = self._commands.copy(source, uids, target)
        except _TRANSIENT:
            raise
        except FolderChanged:
            # Checked when the folder was opened, so nothing was sent.
            return ended + [self._end(r, MoveState.FAILED, _CHANGED) for r in ready]
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
        self._unlock_targets(proven)
        ended = [self._end(record, MoveState.DONE) for record in proven]
        named = {record.id for record in proven}
        doubtful = [record for record in batch if record.id not in named]
        if doubtful:
            ended += self._look(source, doubtful, "The server did not move the mail.")
        return ended

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
            alive = self._alive(source, batch) or {}
            ended += self._look(source, [r for r in batch if r.source.uid not in alive], refusal.title)
            self._release(source, batch, alive)
            for record in batch:
                if record.source.uid in alive:
                    ended += self._send(source, target, [record], before, retry=False)
            return ended
        return self._look(source, batch, refusal.title or "The server refused the move.")

    def _look(self, source: OpenFolder, batch: Sequence[MoveRecord], reason: str) -> list[MoveRecord]:
        """No proof: see where the mails are. Still in the source: FAILED; found in the target: DONE."""
        ended: list[MoveRecord] = []
        alive = self._alive(source, batch)
        for record in batch:
            mail = (alive or {}).get(record.source.uid)
            if mail is not None:
                self._release(source, [record], alive or {})
                ended.append(self._end(record, MoveState.FAILED, reason))
                continue
            copy = self._find_copy(record)
            if copy is not None:
                done = replace(record, target_uid=copy.ref.uid)
                self._unlock_targets([done])
                ended.append(self._end(done, MoveState.DONE))
            else:
                ended.append(self._end(record, MoveState.ABANDONED, "Another program moved it first."))
        return ended

    # -- without MOVE

    def _after_copy(
        self, source: OpenFolder, batch: Sequence[MoveRecord], copied: Copied
    ) -> list[MoveRecord]:
        ended: list[MoveRecord] = []
        proven: list[MoveRecord] = []
        for record in batch:
            uid = copied.uids.get(record.source.uid)
            if uid is not None:
                copy_of = replace(record, target_uid=uid, target_uid_validity=copied.uid_validity)
                proven.append(self._write(replace(copy_of, state=MoveState.COPIED)))
                continue
            copy = None if self._abilities.uidplus else self._find_copy(record, newest=True)
            if copy is not None:
                proven.append(self._write(replace(record, state=MoveState.COPIED, target_uid=copy.ref.uid)))
            else:
                ended += self._look(source, [record], "The server did not copy the mail.")
        return ended + self._delete_originals(source, proven)

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
            originals = self._alive(source, open_ones)
            contested: list[MoveRecord] = []
            for record in open_ones:
                found = others[record.id]
                original = None if originals is None else originals.get(record.source.uid)
                if original is None and originals is not None:
                    found = self._copies(record, record.target) + self._copies(record, source.name)
                if not found:
                    sure.append(record)
                elif (
                    original is None
                    or _has(original, "\\Deleted")
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
        target = _target(copied[0])
        _, locked = self._commands.locked(target.name, LOCK_KEYWORD) if self._locks else (target, ())
        in_flight = set(locked)
        strangers = in_flight - self._journal.claimed_uids(self._account, target.name, target.uid_validity)
        others: dict[int, list[Arrival]] = {}
        for record in copied:
            if record.target_uid not in in_flight:
                others[record.id] = self._copies(record, target.name)
            else:
                found = self._copies(record, target.name) if strangers else []
                others[record.id] = [mail for mail in found if mail.ref.uid in strangers]
        return others

    def _copies(self, record: MoveRecord, folder: FolderName) -> list[Arrival]:
        """Mails of that identity in a folder, but for the original and those that our journal knows."""
        if not _provable(record):
            return []  # and not looked for: such a search reads every header of the folder
        found = self._find_quietly(folder, record)
        validity = found[0].ref.uid_validity if found else UidValidity(0)
        known = self._journal.claimed_uids(self._account, folder, validity)
        return [
            mail
            for mail in found
            if _same(record, mail)
            and mail.ref.uid not in known
            and mail.ref != record.source
            and not _has(mail, "\\Deleted")
        ]

    def _find_quietly(self, folder: FolderName, record: MoveRecord) -> Sequence[Arrival]:
        try:
            return self._session.find(folder, record.identity, record.message_id)
        except (FolderMissing, FolderChanged):
            return []

    def _yield(
        self, source: OpenFolder, target: OpenFolder, batch: Sequence[MoveRecord], *, dead: bool = False
    ) -> list[MoveRecord]:
        """Another copy of these was seen, and will stay or go without us: ours goes, and no other.

        dead: there need be no other one, for the original was being deleted when ours was made.
        """
        if not batch:
            return []
        batch = [self._write(replace(record, error=OTHERS_WERE_FASTER)) for record in batch]
        originals = self._alive(source, batch) or {}
        self._release(source, batch, originals)
        copies = self._by_uid(target, [record.target_uid for record in batch])
        ours = {
            record.target_uid: record
            for record in batch
            if record.target_uid is not None
            and record.target_uid in copies
            and copies[record.target_uid].identity == record.identity
        }
        last: list[MoveRecord] = []
        if ours:
            try:
                self._commands.mark_deleted(target, sorted(ours))
                last = [] if dead else self._last_copies(source, list(ours.values()))
                kept = {record.target_uid for record in last if record.target_uid is not None}
                if kept:
                    self._commands.clear_deleted(target, sorted(kept))
                uids = sorted(ours.keys() - kept)
                if uids and not self._expunge(target, uids):
                    self._expunge_ours(target, uids)  # else it stays marked, and goes when somebody cleans up
            except _TRANSIENT:
                raise
            except MailboxError as refusal:
                _log.warning("a copy cannot be taken away: %s", type(refusal).__name__)
                return list(batch)
        self._unlock_others(target, batch)
        gone = [r for r in batch if r not in last]
        ended = [
            self._end(replace(r, target_uid=None), MoveState.ABANDONED, OTHERS_WERE_FASTER) for r in gone
        ]
        self._unlock_targets([record for record in last if record.source.uid not in originals])
        for record in last:
            if record.source.uid in originals:
                ended.append(self._write(replace(record, error="")))  # about to be expunged: for `recover`
            else:
                ended.append(self._end(record, MoveState.DONE))
        return ended

    def _last_copies(self, source: OpenFolder, batch: Sequence[MoveRecord]) -> list[MoveRecord]:
        """Of these, whose copies we have marked, the ones of which no other is left: it was taken away since we saw it.
        Each marks first and looks then, so that of two who do this at once both cannot go.
        """
        originals = self._alive(source, batch) or {}
        last: list[MoveRecord] = []
        for record in batch:
            original = originals.get(record.source.uid)
            if original is not None and not _has(original, "\\Deleted"):
                continue
            if not self._copies(record, record.target) and not self._copies(record, source.name):
                last.append(record)
        return last

    def _unlock_others(self, target: OpenFolder, batch: Sequence[MoveRecord]) -> None:
        """A copy that somebody made of a mail under our lock bears it, and stays."""
        if not self._locks:
            return
        here, locked = self._commands.locked(target.name, self._owner)
        known = self._journal.claimed_uids(self._account, here.name, here.uid_validity)
        identities = {record.identity for record in batch}
        found = self._by_uid(here, [uid for uid in locked if uid not in known])
        self._unlock(here, [mail for mail in found.values() if mail.identity in identities], moved=True)

    def _delete_originals(self, source: OpenFolder, copied: Sequence[MoveRecord]) -> list[MoveRecord]:
        """From COPIED or MARKED to DONE, in one go for a batch. The copies were proven a moment ago; they are
        looked at once more, because from here on the originals go."""
        ended: list[MoveRecord] = []
        if not copied:
            return ended
        target = _target(copied[0])
        copied, lost = self._alone(source, copied)
        guessed = [record for record in lost if record.error == _GUESSED]
        ended += [
            self._end(replace(r, target_uid=None), MoveState.ABANDONED, OTHERS_WERE_FASTER) for r in guessed
        ]
        ended += self._yield(source, target, [record for record in lost if record.error != _GUESSED])
        copies = self._by_uid(target, [r.target_uid for r in copied if r.target_uid is not None])
        safe = [
            record
            for record in copied
            if record.target_uid in copies and not _has(copies[record.target_uid], "\\Deleted")
        ]
        # Made of an original that was just being deleted (and not marked by us yet): the copy bears that mark.
        dead = [
            record
            for record in copied
            if record not in safe
            and record.target_uid in copies
            and record.state is MoveState.COPIED
            and record.error != _GUESSED
        ]
        ended += self._yield(source, target, dead, dead=True)
        gone = [record for record in copied if record not in safe and record not in dead]
        if gone:
            deleted = [copies[r.target_uid] for r in gone if r.target_uid in copies]
            self._unlock(target, deleted, moved=False)  # the person may take their \Deleted off it again
            ended += self._keep_originals(source, gone)
        if not safe:
            return ended
        uids = [record.source.uid for record in safe]
        copied_only = safe
        # Before it is done: what is only COPIED was surely not marked by us, and may be gone by another hand.
        safe = [
            record
            if record.state is MoveState.MARKED
            else self._write(replace(record, state=MoveState.MARKED))
            for record in safe
        ]
        try:
            self._commands.mark_deleted(source, uids)
            copied_only = safe
            note = ""
            if not self._expunge(source, uids) and not self._expunge_ours(source, uids):
                # Someone else's \Deleted mail would go with ours. It stays marked until the person's own
                # program cleans up.
                note = _STAYS
        except _TRANSIENT:
            raise
        except FolderChanged:
            return ended + self._give_up(
                source, copied_only
            )  # known by then not to be marked by us, or not known
        except MailboxError as refusal:
            return ended + self._take_copies_back(source, target, safe, refusal.title)
        if note:
            if self._locks:
                self._take_off(source, uids, self._lock_words)
            self._unlock_targets(safe)
            return ended + [self._end(record, MoveState.DONE, note) for record in safe]
        left = self._alive(source, safe) or {}
        stuck = [record for record in safe if record.source.uid in left]
        done = [record for record in safe if record.source.uid not in left]
        self._unlock_targets(done)  # not before: others see by the lock that this copy is about to stay
        ended += [self._end(record, MoveState.DONE) for record in done]
        if stuck:
            # Answered OK and did nothing (a read-only folder; Proton Bridge refuses UID EXPUNGE quietly).
            ended += self._take_copies_back(source, target, stuck, "The server did not remove the original.")
        return ended

    def _expunge(self, folder: OpenFolder, uids: Sequence[Uid]) -> bool:
        """UID EXPUNGE; False where the server does not have it, or says it has and does not know it."""
        if not self._single_expunge:
            return False
        try:
            self._commands.expunge(folder, uids)
        except ProtocolFault:  # BAD
            self._expunge_refused = True
            return False
        return True

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
        rows = [row for row in self._journal.open_moves(self._account) if row.state is MoveState.MARKED]
        rows += self._journal.done_since(self._account, self._clock() - STAYS_SECONDS, _STAYS)
        here = (source.name, source.uid_validity)
        return frozenset(uids) | {
            row.source.uid for row in rows if (row.source.folder, row.source.uid_validity) == here
        }

    def _keep_originals(self, source: OpenFolder, batch: Sequence[MoveRecord]) -> list[MoveRecord]:
        """The copy is gone (the person deleted or moved it): the original must stay."""
        alive = self._alive(source, batch)
        if alive:
            # What is only COPIED was not marked by us: a mark on it is the person's.
            ours = [r.source.uid for r in batch if r.source.uid in alive and r.state is MoveState.MARKED]
            if ours:
                self._commands.clear_deleted(source, sorted(ours))
            self._release(source, batch, alive)
        # Taken out of a folder that is still the same, it was taken out by somebody; and a copy that lies unknown in a
        # folder that counts anew must not get a second one.
        if not self._is_another(batch[0]):
            return [
                self._end(r, MoveState.ABANDONED, "The copy in the target folder is gone.") for r in batch
            ]
        return [
            self._end(r, MoveState.ABANDONED, _HAS_A_COPY if self._copies(r, r.target) else TARGET_CHANGED)
            for r in batch
        ]

    def _is_another(self, record: MoveRecord) -> bool:
        """Does the target count its mails anew, or is it gone?"""
        try:
            return self._session.status(record.target).uid_validity != record.target_uid_validity
        except (FolderMissing, FolderRefused):
            return True

    def _take_copies_back(
        self, source: OpenFolder, target: OpenFolder, batch: Sequence[MoveRecord], reason: str
    ) -> list[MoveRecord]:
        """The original cannot be removed: remove our copies instead, those whose original is surely there."""
        alive = self._alive(source, batch)
        if alive is None:
            return self._give_up(source, batch)
        if alive:
            self._quietly(lambda: self._commands.clear_deleted(source, sorted(alive)))
            self._release(source, batch, alive)
        ended: list[MoveRecord] = []
        for record in batch:
            if record.source.uid not in alive:
                ended.append(self._end(record, MoveState.DONE))
                continue
            if record.target_uid is not None:
                uid = [record.target_uid]
                self._quietly(lambda uid=uid: self._remove(target, uid))  # type: ignore[misc]
            if record.target_uid in self._by_uid(target, [record.target_uid]):
                # Refused as well. The row stays open: recovery tries again, and until then no second attempt
                # can make a second copy.
                waiting = f"{reason} A copy is in “{target.name}”."
                ended.append(self._write(replace(record, error=waiting)))
            else:
                ended.append(self._end(replace(record, target_uid=None), MoveState.FAILED, reason))
        return ended

    def _give_up(self, source: OpenFolder, batch: Sequence[MoveRecord]) -> list[MoveRecord]:
        """The source counts its mails anew, so no UID of ours means anything there. Where the mail is in it still, our
        copy goes: it would be a second one. A lock that went along comes off.
        """
        changed = self._what_changed(source.name)
        ended: list[MoveRecord] = []
        for record in batch:
            copy = self._find_copy(record)
            # What was to be put back stays back.
            by_copy = not self._abilities.move and record.kind is not MoveKind.UNDO
            if copy is None:
                self._lies_there(source.name, record)
                ended.append(self._end(record, MoveState.FAILED, changed))
            elif record.target_uid is None and not self._ours(copy):
                # Ours or not, the mail may have gone there.
                ended.append(self._end(record, MoveState.ABANDONED, changed))
            elif by_copy and self._lies_there(source.name, record):
                ours = replace(record, target_uid=copy.ref.uid)
                for row in self._yield(source, _target(record), [ours]):
                    closed = row.state is MoveState.ABANDONED  # else a copy that cannot be taken away yet
                    ended.append(self._end(row, MoveState.FAILED, changed) if closed else row)
            else:
                self._unlock(_target(record), [copy], moved=True)
                ended.append(self._end(record, MoveState.ABANDONED, changed))
        return ended

    def _what_changed(self, source: FolderName) -> str:
        try:
            self._session.status(source)
        except FolderMissing:
            return f"The folder it was in, “{source}”, is gone."
        except MailboxError as problem:
            if isinstance(problem, _TRANSIENT):
                raise
        return _CHANGED

    def _lies_there(self, folder: FolderName, record: MoveRecord) -> bool:
        """Is the original in its folder, under whatever UID? Our marks come off; where nothing tells that they are ours, a
        mail marked as deleted counts as gone.
        """
        found = [mail for mail in self._find_quietly(folder, record) if _same(record, mail)]
        marked = not self._abilities.move and record.state is MoveState.MARKED
        for mail in found:
            if self._ours(mail):
                here = OpenFolder(folder, mail.ref.uid_validity)
                if marked:
                    self._commands.clear_deleted(here, [mail.ref.uid])
                self._unlock(here, [mail], moved=False)
        return any((marked and self._ours(mail)) or not _has(mail, "\\Deleted") for mail in found)

    # -- after a crash

    def _recover_batch(self, batch: Sequence[MoveRecord]) -> tuple[list[MoveRecord], list[MoveRecord]]:
        """(ended, to be started again)."""
        source = OpenFolder(batch[0].source.folder, batch[0].source.uid_validity)
        ended: list[MoveRecord] = []
        there: FolderStatus | None = None
        with contextlib.suppress(FolderMissing, FolderRefused):
            there = self._session.status(batch[0].target)
        for record in batch:
            if record.error == OTHERS_WERE_FASTER:  # decided before the crash
                ended += self._yield(source, _target(record), [record])
        batch = [record for record in batch if record.error != OTHERS_WERE_FASTER]
        if not batch:
            return ended, []
        alive = self._alive(source, batch)
        if alive is None:
            return ended + self._give_up(source, batch), []
        again: list[MoveRecord] = []
        to_finish: list[MoveRecord] = []
        to_keep: list[MoveRecord] = []
        # Rows whose original is gone choose their copy first: of two identical mails the one that was surely
        # moved must not lose its copy to the one that was not.
        for record in sorted(batch, key=lambda r: r.source.uid in alive):
            mail = alive.get(record.source.uid)
            if record.target_uid_next is None:  # nothing was ever sent
                if mail is not None and self._clock() - record.created_at <= REDO_SECONDS:
                    again.append(record)
                else:
                    ended.append(self._end(record, MoveState.ABANDONED, "The mail is no longer there."))
                continue
            copy: Arrival | None = None
            same_target = there is not None and there.uid_validity == record.target_uid_validity
            if same_target and not (mail is not None and self._never_copied(record)):
                copy = self._find_copy(record)
                if mail is not None and copy is not None and not self._surely_ours(record, mail, copy):
                    copy = None
            elif same_target and mail is not None:
                left = self._commands.left_copy(source, record.source.uid, record.target)
                if left is not None:
                    copy = self._find_copy(replace(record, target_uid=left))
            if mail is not None and copy is None and record.state is MoveState.INTENT:
                self._release(source, [record], {record.source.uid: mail})
            if copy is not None:
                ours = record.state is not MoveState.INTENT or self._ours(copy)
                record = replace(record, target_uid=copy.ref.uid)
                # Not marked by us, and gone: another daemon may have been faster, and its copy be there, too.
                rivalled = ours and not self._abilities.move and record.state is not MoveState.MARKED
                if mail is None and not rivalled:
                    if self._lacks_the_sign(record, copy):
                        self._unsigned.add(record.id)
                    self._unlock_targets([record])
                    ended.append(self._end(record, MoveState.DONE))
                elif record.state is MoveState.INTENT:
                    copied = replace(record, state=MoveState.COPIED, error="" if ours else _GUESSED)
                    to_finish.append(self._write(copied))
                else:
                    to_finish.append(record)
            elif mail is None:
                ended.append(self._end(record, MoveState.ABANDONED, "Another program moved it."))
            elif record.state is not MoveState.INTENT:
                to_keep.append(record)
            elif there is None:
                ended.append(self._end(record, MoveState.FAILED, f"There is no folder “{record.target}”."))
            elif not same_target and self._copies(record, record.target):
                # It may be ours, or is one too many: it must not get a second one.
                ended.append(self._end(record, MoveState.ABANDONED, _HAS_A_COPY))
            elif not same_target and not self._abilities.move:
                ended.append(self._end(record, MoveState.ABANDONED, TARGET_CHANGED))
            elif self._clock() - record.created_at > REDO_SECONDS:
                ended.append(self._end(record, MoveState.ABANDONED, "Given up: too old."))
            else:
                again.append(record)
        if to_keep:
            ended += self._keep_originals(source, to_keep)
        ended += self._delete_originals(source, to_finish)
        return ended, again

    def _followed(self, rows: Sequence[MoveRecord]) -> list[MoveRecord]:
        """Where the target counts its mails anew, or has another name by now, our copies in it are known by our lock, which
        no twin bears. (MOVE leaves none beside the original.)
        """
        followed = list(rows)
        if self._abilities.move or not self._locks:
            return followed
        for place, here in groupby(sorted(rows, key=_place_of_target), key=_place_of_target):
            batch = [row for row in here if row.target_uid_validity is not None]
            if not batch or not self._is_another(batch[0]):
                continue
            try:
                copies = self._locked_copies(OpenFolder(*place))
            except _TRANSIENT:
                raise
            except MailboxError as problem:
                _log.debug("copies of ours could not be looked for: %s", type(problem).__name__)
                continue
            for row in batch:
                copy = next((mail for mail in copies if _same(row, mail) and _may_be_of(row, mail.ref)), None)
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
                followed[followed.index(row)] = self._write(now)
        return followed

    def _locked_copies(self, target: OpenFolder) -> list[Arrival]:
        """What bears our lock in the folder of that name, or with that UIDVALIDITY, and belongs to no other row."""
        names = [name for name in self._real_folders(target.name) if name != target.name]
        renamed = [s.folder for s in self._session.statuses(names) if s.uid_validity == target.uid_validity]
        copies: list[Arrival] = []
        for name in (*renamed, target.name):
            try:
                here, locked = self._commands.locked(name, self._owner)
            except (FolderMissing, FolderRefused):
                continue
            known = self._journal.claimed_uids(self._account, here.name, here.uid_validity)
            copies += [
                mail
                for mail in self._by_uid(here, locked).values()
                if self._ours(mail) and mail.ref.uid not in known
            ]
        return copies

    def _lacks_the_sign(self, record: MoveRecord, copy: Arrival) -> bool:
        """The connection broke after a move that could not be signed before. Where the source has room for the sign, what
        lies there without it was taken there by the person.
        """
        by_itself = record.kind is not MoveKind.UNDO and record.id not in self._asked
        if not self._locks or not by_itself or _has(copy, MOVED_KEYWORD):
            return False
        try:
            return not self._session.room_for_keywords(record.source.folder)
        except (FolderMissing, FolderRefused):
            return False

    def _never_copied(self, record: MoveRecord) -> bool:
        """MOVE never leaves a mail in both folders. What has the same identity there is a twin (one that another
        program moved or delivered); the original must not go because of it. Only a true id proves more.
        """
        return (
            record.state is MoveState.INTENT
            and self._abilities.move
            and not record.identity.startswith(PROVING_IDS)
        )

    def _surely_ours(self, record: MoveRecord, mail: Arrival, copy: Arrival) -> bool:
        """Both are there. Is this copy the one we made? A twin that the person dragged there may have the same
        identity, but not our sign: the original must not go because of it.
        """
        certain = record.state is not MoveState.INTENT or record.identity.startswith(PROVING_IDS)
        if certain or not self._locks or record.error == _UNSIGNED:
            return True
        # Without CONDSTORE another daemon's lock may have taken the place of ours on the original since.
        return self._ours(copy) and (self._ours(mail) or not self._abilities.move)

    def _sweep_locks(self, folders: Iterable[FolderName], rows: Sequence[MoveRecord] = ()) -> None:
        """No mail may keep our lock, also where UIDs have changed and the rows could only be given up. What open rows
        speak of is left to them: our sign tells our copies from others.
        """
        sources = {row.source for row in rows}
        for name in sorted(set(folders)):
            try:
                folder, uids = self._commands.locked(name, self._owner)
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
                    words = self._lock_words if into else (*self._lock_words, MOVED_KEYWORD)
                    self._swept |= {MessageRef(folder.name, folder.uid_validity, uid) for uid in swept}
                    self._unmark(folder, swept, rows)
                    self._commands.unlock(folder, swept, words)
            except _TRANSIENT:
                raise
            except MailboxError as problem:
                _log.debug("a folder could not be searched for locks: %s", type(problem).__name__)

    def _unmark(self, folder: OpenFolder, uids: Sequence[Uid], rows: Sequence[MoveRecord]) -> None:
        """Our \\Deleted may have gone along with our lock. In a source that counts anew it is ours only where we were about
        to set it; else the person wants that mail deleted.
        """
        if self._abilities.move:
            return
        if any(row.source.folder == folder.name for row in rows):
            marked = {row.identity for row in rows if row.state is MoveState.MARKED}
            uids = [uid for uid, mail in self._by_uid(folder, uids).items() if mail.identity in marked]
        if uids:
            self._commands.clear_deleted(folder, uids)

    # -- two clients at once

    def _around(self, source: FolderName, target: FolderName) -> dict[FolderName, FolderStatus]:
        """STATUS of the target, and of the folders into which another client could be moving the same mail."""
        names = [target]
        if self._abilities.server_ids or (self._locks and self._abilities.condstore):
            names += [name for name in self._real_folders(source) if name not in (source, target)]
        return {one.folder: one for one in self._session.statuses(names)}

    def _copied_meanwhile(
        self,
        source: OpenFolder,
        ready: Sequence[MoveRecord],
        before: Mapping[FolderName, FolderStatus],
    ) -> tuple[Sequence[MoveRecord], list[MoveRecord]]:
        """(those to be moved, those that another program copied since `before`, ended).

        A copy that was made under our lock bears it. One that was made before it, and after our first question, is told
        afterwards only by the id of a mail; where there is none, it is asked about now. It is about to be expunged, or
        the person wants both: it is tried again later.
        """
        doubtful = [
            record
            for record in ready
            if record.kind is not MoveKind.UNDO  # the person has asked for it
            and not record.identity.startswith(LABELLED_IDS)
            and not (record.identity.startswith(PROVING_IDS) and self._single_expunge)
        ]
        if not doubtful:
            return ready, []
        try:
            new = self._strangers_since(before)
        except _TRANSIENT:
            raise
        except MailboxError as problem:
            _log.debug("could not look for copies of others: %s", type(problem).__name__)
            return ready, []
        copies = {record.id: [mail for mail in new if _same(record, mail)] for record in doubtful}
        copied = [record for record in doubtful if copies[record.id]]
        if not copied:
            return ready, []
        self._release(source, copied, self._alive(source, copied) or {})
        for record in copied:
            for mail in copies[record.id]:  # made after our lock, it bears that
                there = OpenFolder(mail.ref.folder, mail.ref.uid_validity)
                self._unlock(there, [mail], moved=there.name == record.target)
        lost = {record.id for record in copied}
        return (
            [record for record in ready if record.id not in lost],
            [self._end(record, MoveState.ABANDONED, HELD_BY_OTHERS) for record in copied],
        )

    def _strangers_since(self, before: Mapping[FolderName, FolderStatus]) -> Sequence[Arrival]:
        states = {one.folder: one for one in self._session.statuses(sorted(before))}
        strangers = _Strangers(self._session, self._journal, self._account)
        return [
            mail
            for then, now in _grown(before, states)
            for mail in strangers.between(then.folder, then.uid_validity, then.uid_next, now.uid_next)
        ]

    def _real_folders(self, first: FolderName) -> list[FolderName]:
        """Folders that hold mail of their own and into which people move mail; the likely ones first."""
        if self._steady() - self._folders[0] > FOLDERS_SECONDS:
            self._folders = (self._steady(), list(self._session.folders()))
        unlikely = ("all", "drafts", "sent")
        real = [one for one in self._folders[1] if one.selectable and one.role not in unlikely]
        real.sort(key=lambda one: (one.name != first, one.role == "", one.name))
        return [one.name for one in real][:WATCHED_FOLDERS]

    def _remember(self, ended: Sequence[MoveRecord], before: dict[FolderName, FolderStatus]) -> None:
        known = {fresh.record.id for fresh in self._fresh}
        for record in ended:
            if self._proves(record) and record.id not in known:
                signed = record.id in self._signed
                # A move of the future: the clock was set back since, and for long nobody knows how old it is.
                age = abs(self._clock() - record.changed_at)
                self._fresh.append(_Fresh(record, before, self._steady() - age, signed))
        self._signed.difference_update(record.id for record in ended)

    def _age(self, fresh: _Fresh) -> float:
        """Seconds since the move. The clock may be set back meanwhile, and the steady one stand still while the machine sleeps."""
        return max(self._steady() - fresh.ended, self._clock() - fresh.record.changed_at)

    def _keep_neighbours(self, before: Mapping[FolderName, FolderStatus]) -> None:
        """A broken connection takes our memory along: where the folders stood is written down, the first of what
        belongs together.
        """
        if len(before) < 2 or self._kept_neighbours():
            return
        folders = {name: [one.uid_validity, one.uid_next, one.messages] for name, one in before.items()}
        self._journal.keep_neighbours(
            self._account, json.dumps({"at": self._clock(), "folders": folders}, ensure_ascii=True)
        )

    def _kept_neighbours(self) -> dict[FolderName, FolderStatus]:
        """As they were when moves began that may still meet a rival; {} if that is long ago."""
        try:
            kept = json.loads(self._journal.neighbours(self._account) or "{}")
            if not 0 <= self._clock() - float(kept.get("at", 0.0)) < RECONCILE_SECONDS:
                return {}
            return {
                FolderName(name): FolderStatus(FolderName(name), UidValidity(row[0]), Uid(row[1]), row[2])
                for name, row in kept["folders"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return {}

    def _proves(self, record: MoveRecord) -> bool:
        """Can a copy of it be told from another mail, by its id or by the lock that we had on it?"""
        named, labelled = (record.identity.startswith(ids) for ids in (PROVING_IDS, LABELLED_IDS))
        by_lock = self._locks and _provable(record) and not labelled
        return record.state is MoveState.DONE and (named or by_lock)

    def _is_copy(self, record: MoveRecord, mail: Arrival) -> bool:
        """Of the mail that we have moved: that very mail, or one that was made of it while it bore our lock."""
        certain = record.identity.startswith(PROVING_IDS) or self._ours(mail) or mail.ref in self._swept
        return certain and mail.identity == record.identity and not _has(mail, "\\Deleted")

    def _reconcile_one(
        self, fresh: _Fresh, states: Mapping[FolderName, FolderStatus], strangers: _Strangers
    ) -> MoveRecord | None:
        record = fresh.record
        if not self._proves(record) or record.target_uid is None or record.target_uid_validity is None:
            return None
        ours = OpenFolder(record.target, record.target_uid_validity)
        beside = self._unstruck(fresh, self._beside(record, states.get(record.target), strangers))
        rival = self._rival(fresh, states, beside, strangers)
        if rival is None:
            if self._lock_holds or fresh.looked:
                struck = () if fresh.looked else [mail for mail in beside if _has(mail, "\\Deleted")]
                self._unlock(ours, [mail for mail in beside if mail not in struck], moved=True)
            fresh.looked = True
            return None
        if record.target_uid not in self._by_uid(ours, [record.target_uid]):
            return None
        theirs = OpenFolder(rival.ref.folder, rival.ref.uid_validity)
        moved = rival.ref.folder == record.target
        if not self._single_expunge:
            _log.info("a mail is there twice and this server cannot remove one of them safely")
            self._unlock(theirs, [rival], moved=moved)
            return None
        self._write(
            replace(record, error=_GIVES_WAY)
        )  # a mark of ours must not stay where the connection breaks
        self._commands.mark_deleted(ours, [record.target_uid])
        # Is the other one still there, and a mail of its own? A virtual folder shows our copy, with our flag.
        seen = self._by_uid(theirs, [rival.ref.uid]).get(rival.ref.uid)
        alone = seen is None or seen.identity != record.identity or _has(seen, "\\Deleted")
        if alone or not self._expunge(ours, [record.target_uid]):
            self._commands.clear_deleted(ours, [record.target_uid])
            self._write(record)
            return None
        self._unlock(theirs, [rival], moved=moved)
        return self._end(
            replace(record, target_uid=None), MoveState.ABANDONED, f"It was moved to “{rival.ref.folder}”."
        )

    def _end_giving_way(self) -> list[MoveRecord]:
        """Where the connection broke meanwhile: our copy is unmarked, to be looked at anew, or it is gone."""
        ended: list[MoveRecord] = []
        for row in self._journal.done_since(self._account, self._clock() - STAYS_SECONDS, _GIVES_WAY):
            try:
                copy = self._by_uid(_target(row), [row.target_uid]).get(row.target_uid or Uid(0))
                there = copy is not None and copy.identity == row.identity
                if copy is not None and there:
                    self._commands.clear_deleted(_target(row), [copy.ref.uid])
                if there or self._is_another(row):
                    self._end(row, MoveState.DONE)
                else:
                    ended.append(self._end(replace(row, target_uid=None), MoveState.ABANDONED, _GIVES_WAY))
            except _TRANSIENT:
                raise
            except MailboxError as problem:
                # As below: the account works on, and the next connection tries again.
                _log.warning("a copy is left marked for now: %s", type(problem).__name__)
        return ended

    def _rival(
        self,
        fresh: _Fresh,
        states: Mapping[FolderName, FolderStatus],
        beside: Sequence[Arrival],
        strangers: _Strangers,
    ) -> Arrival | None:
        """Another copy that came while we moved: in a folder that grew, or in the target.

        The winner is the same for every daemon: non-Junk beats Junk, then the lowest UID. A copy that was made of
        the mail in Junk bears the sign without the lock: the person wants both.
        """
        record = fresh.record
        for then, now in _grown(fresh.before, states):
            if then.folder == record.target:
                continue
            new = strangers.between(then.folder, then.uid_validity, then.uid_next, now.uid_next)
            for mail in self._unstruck(fresh, [mail for mail in new if mail.identity == record.identity]):
                copied_there = _has(mail, MOVED_KEYWORD) and not _has(mail, LOCK_KEYWORD)
                if not copied_there and self._is_copy(record, mail):
                    return mail
        ours = record.target_uid or Uid(0)
        return next(
            (
                mail
                for mail in beside
                if self._is_copy(record, mail) and (mail.ref.uid < ours or self._of_the_original(fresh, mail))
            ),
            None,
        )

    def _unstruck(self, fresh: _Fresh, copies: Sequence[Arrival]) -> Sequence[Arrival]:
        """What somebody copied while we moved it by COPY and had marked the original as deleted bears our lock and that
        mark, which was not theirs: it comes off, else the next clean-up of the person's would take what they filed.

        With the second look: a daemon that believes to hold our lock may be about to expunge its own copy.
        """
        if not fresh.looked or not self._single_expunge:
            return copies  # our own copies that gave way stay marked there
        seen: list[Arrival] = []
        for mail in copies:
            if self._ours(mail) and _has(mail, "\\Deleted"):
                self._commands.clear_deleted(
                    OpenFolder(mail.ref.folder, mail.ref.uid_validity), [mail.ref.uid]
                )
                kept = frozenset(flag for flag in mail.flags if flag.lower() != "\\deleted")
                mail = replace(mail, flags=kept)
            seen.append(mail)
        return seen

    @property
    def _lock_holds(self) -> bool:
        """Without CONDSTORE two may both believe that they hold it, and the copy of the one bear the other one's name."""
        return self._abilities.condstore

    def _of_the_original(self, fresh: _Fresh, mail: Arrival) -> bool:
        """A copy above ours in the target: was it made of the mail before that was moved, and by no daemon? Of what lies
        in Junk it would bear the sign without the lock; a daemon's bears its name, and goes by the UID. Where that may be
        ours, the daemon is given time to take its copy away again: with the next look it has.
        """
        if not self._lock_holds and not fresh.looked:
            return False
        names = {flag.lower() for flag in mail.flags if _names_an_owner(flag)}
        if names:
            return names == {self._owner.lower()} and self._ours(mail)
        return fresh.signed and not _has(mail, MOVED_KEYWORD) and not _has(mail, LOCK_KEYWORD)

    def _beside(
        self, record: MoveRecord, now: FolderStatus | None, strangers: _Strangers
    ) -> Sequence[Arrival]:
        """Mails of its identity in the target that came there since the move began, and that our journal does not know."""
        first, validity = record.target_uid_next, record.target_uid_validity
        if first is None or now is None or now.uid_validity != validity:
            return []
        strange = strangers.between(record.target, now.uid_validity, first, now.uid_next)
        found = [mail for mail in strange if mail.identity == record.identity]
        # A twin whose move is not ended may have left its copy there: that is none of this mail.
        if found and any(
            (row.identity, row.target, row.target_uid) == (record.identity, record.target, None)
            for row in self._journal.open_moves(self._account)
        ):
            return []
        return found

    # -- looking

    def _alive(self, source: OpenFolder, batch: Sequence[MoveRecord]) -> dict[Uid, Arrival] | None:
        """Which originals are still there, by UID; None if the folder is not the one we knew."""
        wanted = {record.source.uid: record for record in batch}
        try:
            found = self._session.locate([record.source for record in batch])
            if len(found) < len(wanted):  # else it is the folder that we know
                status = self._session.status(source.name)
                if status.uid_validity != source.uid_validity:
                    return None
        except (FolderMissing, FolderChanged):
            return None
        return {mail.ref.uid: mail for mail in found if mail.identity == wanted[mail.ref.uid].identity}

    def _by_uid(self, folder: OpenFolder, uids: Sequence[Uid | None]) -> dict[Uid, Arrival]:
        refs = [MessageRef(folder.name, folder.uid_validity, uid) for uid in uids if uid is not None]
        if not refs:
            return {}
        try:
            return {mail.ref.uid: mail for mail in self._session.locate(refs)}
        except (FolderMissing, FolderChanged):
            return {}

    def _find_copy(self, record: MoveRecord, *, newest: bool = False) -> Arrival | None:
        """Our copy in the target: by its UID if known, else by identity among what came since the intent.

        newest: it was made this moment. Of several without our sign the others were made before it, by somebody else.
        """
        if record.target_uid_validity is None or record.target_uid_next is None:
            return None
        target = OpenFolder(record.target, record.target_uid_validity)
        if record.target_uid is not None:
            return self._by_uid(target, [record.target_uid]).get(record.target_uid)
        try:
            if self._session.status(record.target).uid_validity != record.target_uid_validity:
                return None
            claimed = self._claimed(record)
            found = [
                mail
                for mail in self._session.arrivals(record.target, record.target_uid_next)
                if _same(record, mail) and mail.ref.uid not in claimed
            ]
            # MOVE: what bears the sign alone we have unlocked, and what is locked besides was made of the original.
            unlocked = (m for m in found if _has(m, MOVED_KEYWORD) and not _has(m, LOCK_KEYWORD))
            locked = (mail for mail in found if self._ours(mail))
            signed = next(chain(unlocked if self._abilities.move else (), locked), None)
            if signed is not None or not found:
                return signed
            return found[-1 if newest else 0]
        except (FolderMissing, FolderChanged):
            return None

    def _claimed(self, record: MoveRecord) -> frozenset[int]:
        """Mails of the target that our journal knows to be moved there by other rows."""
        return self._journal.claimed_uids(
            self._account, record.target, record.target_uid_validity or UidValidity(0)
        )

    # -- small steps

    def _remove(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        """These mails of ours, and no others: without UIDPLUS only where nothing else is marked."""
        self._commands.mark_deleted(folder, uids)
        left: Sequence[Uid] = uids
        try:
            if self._expunge(folder, uids) or self._expunge_ours(folder, uids):
                left = sorted(self._by_uid(folder, uids))  # OK was said; was it done?
        finally:
            if left:
                self._quietly(lambda: self._commands.clear_deleted(folder, left))

    @property
    def _lock_words(self) -> tuple[str, str]:
        return LOCK_KEYWORD, self._owner

    def _ours(self, mail: Arrival) -> bool:
        """Do we hold the lock on it?"""
        return _has(mail, LOCK_KEYWORD) and _has(mail, self._owner)

    def _lock(
        self, source: OpenFolder, ready: Sequence[MoveRecord]
    ) -> tuple[Sequence[MoveRecord], list[MoveRecord]]:
        """(those we hold, those that another daemon holds, ended)."""
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
            (by_itself, (self._owner, MOVED_KEYWORD)),
            (returned, (self._owner, RETURNED_KEYWORD)),
            ([r for r in ready if r.id in self._asked], (self._owner,)),
        ):
            if not part:
                continue
            held = self._commands.lock(source, [r.source.uid for r in part], LOCK_KEYWORD, signs)
            if held is None:
                if MOVED_KEYWORD in signs:
                    self._unsigned |= {r.id for r in part}
                copies = not self._abilities.move
                kept += [self._write(replace(r, error=_UNSIGNED)) if copies else r for r in part]
                continue
            kept += [r for r in part if r.source.uid in held]
            if MOVED_KEYWORD in signs:
                self._signed |= {r.id for r in part if r.source.uid in held}
            ended += [
                self._end(r, MoveState.ABANDONED, HELD_BY_OTHERS) for r in part if r.source.uid not in held
            ]
        return kept, ended

    def _break(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        """Whoever's lock it is."""
        names = {
            flag
            for mail in self._by_uid(folder, uids).values()
            for flag in mail.flags
            if _names_an_owner(flag)
        }
        words = (LOCK_KEYWORD, *sorted(names | {self._owner}))
        self._quietly(lambda: self._commands.unlock(folder, uids, words))

    def _release(
        self, source: OpenFolder, records: Sequence[MoveRecord], alive: Mapping[Uid, Arrival]
    ) -> None:
        """These are not moved (yet): our sign goes, but for the one that mail to be put back had before."""
        for undo in (False, True):
            mails = [
                alive[r.source.uid]
                for r in records
                if r.source.uid in alive and (r.kind is MoveKind.UNDO) is undo
            ]
            self._unlock(source, mails, moved=undo)
            uids = sorted(mail.ref.uid for mail in mails if undo and self._ours(mail))
            if uids:
                self._take_off(source, uids, [RETURNED_KEYWORD])

    def _unlock(self, folder: OpenFolder, mails: Sequence[Arrival], *, moved: bool) -> None:
        """Take our lock off; moved: it has been moved, and goes on saying so."""
        uids = sorted(mail.ref.uid for mail in mails if self._ours(mail))
        words = self._lock_words if moved else (*self._lock_words, MOVED_KEYWORD)
        if uids:
            self._take_off(folder, uids, words)

    def _unlock_targets(self, records: Sequence[MoveRecord]) -> None:
        """The keyword went along with the mail. Taken off before the row is closed: none is forgotten."""
        if not records or not self._locks:
            return
        target = _target(records[0])
        uids = sorted(record.target_uid for record in records if record.target_uid is not None)
        if uids:
            self._take_off(target, uids, self._lock_words)
        for record in records:
            if record.id in self._unsigned and record.target_uid is not None:
                # No room for it in the source (Cyrus has 100 keywords to a folder); in the target there may be.
                ref = MessageRef(target.name, target.uid_validity, record.target_uid)
                self._quietly(lambda ref=ref: self._session.add_keyword(ref, MOVED_KEYWORD))  # type: ignore[misc]
        self._unsigned.difference_update(record.id for record in records)

    def _take_off(self, folder: OpenFolder, uids: Sequence[Uid], words: Sequence[str]) -> None:
        """A lock that stays would keep others off the mail for good: refused, it is tried again with the next look."""
        try:
            self._commands.unlock(folder, uids, words)
        except _TRANSIENT:
            raise
        except (FolderMissing, FolderRefused, FolderChanged):
            return
        except MailboxError as problem:
            _log.debug("a lock is left on for now: %s", type(problem).__name__)
            self._left.append((folder, uids, words))

    def _quietly(self, step: Callable[[], object]) -> None:
        """A step whose refusal changes nothing for the mail."""
        try:
            step()
        except _TRANSIENT:
            raise
        except MailboxError as problem:
            _log.debug("a clean-up step was refused: %s", type(problem).__name__)

    def _write(self, record: MoveRecord) -> MoveRecord:
        record = replace(record, changed_at=self._clock())
        self._journal.advance(record)
        return record

    def _end(self, record: MoveRecord, state: MoveState, error: str = "") -> MoveRecord:
        return self._write(replace(record, state=state, error=error))


def _target(record: MoveRecord) -> OpenFolder:
    return OpenFolder(record.target, record.target_uid_validity or UidValidity(0))


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


def _place(record: MoveRecord) -> tuple[str, int, str]:
    return record.source.folder, record.source.uid_validity, record.target


def _places_of(record: MoveRecord) -> Iterator[MessageRef]:
    yield record.source
    if record.target_uid is not None and record.target_uid_validity is not None:
        yield MessageRef(record.target, record.target_uid_validity, record.target_uid)


def _batches(records: Iterable[MoveRecord]) -> Iterable[list[MoveRecord]]:
    """Neighbours with the same source and target, at most BATCH at once, each UID once."""
    for _, group in groupby(records, key=_place):
        mails = list(group)
        for start in range(0, len(mails), BATCH):
            yield mails[start : start + BATCH]


def _same(record: MoveRecord, mail: Arrival) -> bool:
    """The mail of the record. An identity made of four fields only (servers that rewrite the rest) is not enough
    where there is no Message-ID among them."""
    return (
        mail.identity == record.identity
        and _provable(record)
        and (not record.identity.startswith(WEAK_ID) or record.message_id == mail.message_id)
    )


def _provable(record: MoveRecord) -> bool:
    """Can any other mail be told to be this one?"""
    return not record.identity.startswith(WEAK_ID) or bool(record.message_id)


def _grown(
    before: Mapping[FolderName, FolderStatus], now: Mapping[FolderName, FolderStatus]
) -> list[tuple[FolderStatus, FolderStatus]]:
    """Folders into which mail has come since: (then, now)."""
    return [
        (then, now[name])
        for name, then in before.items()
        if name in now and now[name].uid_validity == then.uid_validity and now[name].uid_next > then.uid_next
    ]


def _lock_on(mail: Arrival) -> frozenset[str]:
    """The words of a lock, in lower case."""
    flags = {flag.lower() for flag in mail.flags}
    names = {flag.lower() for flag in mail.flags if _names_an_owner(flag)}
    return frozenset(flags & {LOCK_KEYWORD.lower(), MOVED_KEYWORD.lower()} | names)


def _names_an_owner(flag: str) -> bool:
    return flag.isascii() and flag.lower().startswith(OWNER_KEYWORD.lower())


def _has(mail: Arrival, flag: str) -> bool:
    """Flags are case-insensitive."""
    wanted = flag.lower()
    return any(one.lower() == wanted for one in mail.flags)
