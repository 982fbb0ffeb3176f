"""Two clients that move one mail at the same moment can both succeed on real servers.

`reconcile` finds such pairs by server id, or by our lock on the other copy, and removes our copy, never the person's: also
in the target, below ours or above it. What was copied before our lock is asked about after it where no id tells
(`copied_meanwhile`). What was ABANDONED without anybody's decision (domain.TRY_AGAIN) is tried again later, by spamd.filtering.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from spamd.domain import (
    HELD_BY_OTHERS,
    MOVED_KEYWORD,
    MOVING_KEYWORD,
    Arrival,
    FolderName,
    FolderStatus,
    MoveKind,
    MoveRecord,
    MoveState,
    Uid,
    UidValidity,
)
from spamd.errors import FolderChanged, FolderMissing, FolderRefused, MailboxError
from spamd.mailbox.moving.refusals import Tolerated
from spamd.mailbox.moving.removal import STAYS_SECONDS, Removal
from spamd.mailbox.moving.rows import LABELLED_IDS, PROVING_IDS, Rows, has, provable, same, target_of
from spamd.mailbox.moving.signs import Signs, owners_on
from spamd.mailbox.moving.whereabouts import Whereabouts
from spamd.source import MailSession, MoveCommands, OpenFolder

_log = logging.getLogger(__name__)

RIVAL_SECONDS = 10.0
"""A second copy that comes later than this after a move is no rival's: the person has made or moved one of their own."""

RECONCILE_SECONDS = 120.0
"""How much later than that the one look for it may come, where a copy made of ours can be told by its sign: the connection
may have broken."""

GIVES_WAY = "Another copy of it was seen."
"""In the journal of a move that is done, while our copy is being taken away because of another one."""


@dataclass(slots=True)
class _Fresh:
    """A finished move that another client may have raced."""

    record: MoveRecord
    before: Mapping[FolderName, FolderStatus]
    ended: float  # by the clock that nobody sets
    signed: bool = False
    looked: bool = False  # for a second copy, at least once


@dataclass(frozen=True, slots=True)
class _Stood:
    """Where folders stood at a time (seconds since 1970)."""

    at: float
    folders: Mapping[FolderName, FolderStatus]


class _Strangers:
    """What came into folders beside the mails that our journal knows. Asked of the server once for all mails of a look: of
    fifty moved at once each asked for those below it, and all of them were ours.
    """

    def __init__(self, session: MailSession, rows: Rows) -> None:
        self._session = session
        self._rows = rows
        self._claimed: dict[tuple[FolderName, UidValidity], frozenset[int]] = {}
        self._found: dict[tuple[FolderName, Uid, Uid], list[Arrival]] = {}

    def between(self, folder: FolderName, validity: UidValidity, first: Uid, end: Uid) -> list[Arrival]:
        """At UIDs from first on, below end."""
        claimed = self._claimed.get((folder, validity))
        if claimed is None:
            claimed = self._rows.claimed(folder, validity)
            self._claimed[folder, validity] = claimed
        lowest = next((uid for uid in range(first, end) if uid not in claimed), None)
        highest = next((uid for uid in reversed(range(first, end)) if uid not in claimed), None)
        if lowest is None or highest is None:
            return []
        span = (folder, Uid(lowest), Uid(highest))
        if span not in self._found:
            self._found[span] = list(self._session.arrivals(*span))
        return [mail for mail in self._found[span] if mail.ref.uid not in claimed]


@dataclass(slots=True)
class Rivals:
    """Other clients that move what we move, on one connection."""

    _session: MailSession
    _commands: MoveCommands
    _rows: Rows
    _where: Whereabouts
    _signs: Signs
    _removal: Removal
    _steady: Callable[[], float]
    _fresh: list[_Fresh] = field(default_factory=list)

    def around(self, source: FolderName, target: FolderName) -> dict[FolderName, FolderStatus]:
        """STATUS of the target, and of the folders into which another client could be moving the same mail."""
        names = [target]
        if self._session.abilities.server_ids or (self._signs.used and self._session.abilities.condstore):
            names += [name for name in self._where.real_folders(source) if name not in (source, target)]
        return {one.folder: one for one in self._session.statuses(names)}

    def copied_meanwhile(
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
            and not (record.identity.startswith(PROVING_IDS) and self._removal.can_expunge)
        ]
        if not doubtful:
            return ready, []
        new: Sequence[Arrival] = ()
        with Tolerated("could not look for copies of others"):
            new = self._strangers_since(before)
        copies = {record.id: [mail for mail in new if same(record, mail)] for record in doubtful}
        copied = [record for record in doubtful if copies[record.id]]
        if not copied:
            return ready, []
        self._signs.release(source, copied, self._where.alive(source, copied) or {})
        for record in copied:
            for mail in copies[record.id]:  # made after our lock, it bears that
                there = OpenFolder(mail.ref.folder, mail.ref.uid_validity)
                self._signs.unlock(there, [mail], moved=there.name == record.target)
        lost = {record.id for record in copied}
        return (
            [record for record in ready if record.id not in lost],
            [self._rows.end(record, MoveState.ABANDONED, HELD_BY_OTHERS) for record in copied],
        )

    def _strangers_since(self, before: Mapping[FolderName, FolderStatus]) -> Sequence[Arrival]:
        states = {one.folder: one for one in self._session.statuses(sorted(before))}
        strangers = _Strangers(self._session, self._rows)
        return [
            mail
            for then, now in _grown(before, states)
            for mail in strangers.between(then.folder, then.uid_validity, then.uid_next, now.uid_next)
        ]

    def keep_neighbours(self, before: Mapping[FolderName, FolderStatus], target: FolderName) -> None:
        """A broken connection takes our memory along: where the folders stood is written down, each time that mail came to
        another one than the target (what comes there is told by the row).
        """
        if len(before) < 2:
            return
        now, kept = self._rows.now(), self.kept_neighbours()
        # Older than that, it would be forgotten before the last look for a rival of this move.
        lately = bool(kept) and now - kept[-1].at < RECONCILE_SECONDS
        if lately and all(
            name == target or (name in kept[-1].folders and _place(kept[-1].folders[name]) == _place(one))
            for name, one in before.items()
        ):
            return
        rows = [
            {
                "at": one.at,
                "folders": {name: [*_place(then), then.messages] for name, then in one.folders.items()},
            }
            for one in (*kept, _Stood(now, before))
        ]
        self._rows.keep_neighbours(json.dumps(rows, ensure_ascii=True))

    def kept_neighbours(self) -> list[_Stood]:
        """The folders as they were when moves began that may still meet a rival, oldest first; [] if that is long ago."""
        now = self._rows.now()
        try:
            kept = [
                _Stood(
                    float(one["at"]),
                    {
                        FolderName(name): FolderStatus(
                            FolderName(name), UidValidity(row[0]), Uid(row[1]), row[2]
                        )
                        for name, row in one["folders"].items()
                    },
                )
                for one in json.loads(self._rows.neighbours() or "[]")
            ]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return []
        return [one for one in kept if 0 <= now - one.at < 2 * RECONCILE_SECONDS]

    def remember(self, ended: Sequence[MoveRecord], before: Mapping[FolderName, FolderStatus]) -> None:
        """These moves may have met a rival: `reconcile` looks. before: the folders as they were when the moves began."""
        known = {fresh.record.id for fresh in self._fresh}
        signed = self._signs.signed_among(ended)
        for record in ended:
            if self._proves(record) and record.id not in known:
                # A move of the future: the clock was set back since, and for long nobody knows how old it is.
                age = abs(self._rows.now() - record.changed_at)
                self._fresh.append(_Fresh(record, before, self._steady() - age, record.id in signed))

    def remember_lately(self, kept: Sequence[_Stood]) -> None:
        """After a connection broke: the moves that ended before it did."""
        lately = self._rows.done(RECONCILE_SECONDS)
        self._signs.count_as_signed(lately)
        self.remember_since(lately, kept)

    def remember_since(self, ended: Sequence[MoveRecord], kept: Sequence[_Stood]) -> None:
        """As `remember`, each with the folders as they were when it began: a copy that came before that is no rival's. Nor is
        one where it came from: that is left out, though it was written down for moves from elsewhere.
        """
        for record in ended:
            until = [one for one in kept if one.at <= record.changed_at]
            since = [one for one in until if one.at >= record.created_at]
            begun = (*since[:1], *until[-1:])
            folders = begun[0].folders if begun else {}
            self.remember(
                [record], {name: one for name, one in folders.items() if name != record.source.folder}
            )

    def _age(self, fresh: _Fresh) -> float:
        """Seconds since the move. The clock may be set back meanwhile, and the steady one stand still while the machine sleeps."""
        return max(self._steady() - fresh.ended, self._rows.now() - fresh.record.changed_at)

    def _proves(self, record: MoveRecord) -> bool:
        """Can a copy of it be told from another mail, by its id or by the lock that we had on it?"""
        named, labelled = (record.identity.startswith(ids) for ids in (PROVING_IDS, LABELLED_IDS))
        by_lock = self._signs.used and provable(record) and not labelled
        return record.state is MoveState.DONE and (named or by_lock)

    def reconcile(self) -> Sequence[MoveRecord]:
        """Look for mails that another client moved at the same moment; ours go, theirs stay.

        Only with proof (see `_is_copy`). Returns the records that were taken back (now ABANDONED).
        """
        self._signs.take_off_what_was_left()
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
        strangers = _Strangers(self._session, self._rows)
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
        if self._signs.used and grown:  # a mail we had locked may have been taken there, with our keyword
            self._signs.sweep(grown)
        return taken_back

    def reconcile_quietly(self) -> Sequence[MoveRecord]:
        """Reconcile, and let nothing that goes wrong there spoil moves that are done."""
        try:
            return self.reconcile()
        except MailboxError as problem:
            _log.info("could not look for second copies: %s", type(problem).__name__)
            return []

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
                struck = () if fresh.looked else [mail for mail in beside if has(mail, "\\Deleted")]
                self._signs.unlock(ours, [mail for mail in beside if mail not in struck], moved=True)
            fresh.looked = True
            return None
        if record.target_uid not in self._where.by_uid(ours, [record.target_uid]):
            return None
        theirs = OpenFolder(rival.ref.folder, rival.ref.uid_validity)
        moved = rival.ref.folder == record.target
        if not self._removal.can_expunge:
            _log.info("a mail is there twice and this server cannot remove one of them safely")
            self._signs.unlock(theirs, [rival], moved=moved)
            return None
        # First: a mark of ours must not stay where the connection breaks.
        self._rows.write(replace(record, error=GIVES_WAY))
        uid, gone = record.target_uid, False
        with Tolerated("our copy cannot be taken away"):
            self._commands.mark_deleted(ours, [uid])
            # Is the other one still there, and a mail of its own? A virtual folder shows our copy, with our flag.
            seen = self._where.by_uid(theirs, [rival.ref.uid]).get(rival.ref.uid)
            stands = seen is not None and seen.identity == record.identity and not has(seen, "\\Deleted")
            # OK was said; was it done?
            gone = stands and self._removal.expunge(ours, [uid]) and not self._where.by_uid(ours, [uid])
        if not gone:
            self._commands.clear_deleted(ours, [uid])
            self._rows.write(record)
            return None
        self._signs.unlock(theirs, [rival], moved=moved)
        return self._rows.end(
            replace(record, target_uid=None), MoveState.ABANDONED, f"It was moved to “{rival.ref.folder}”."
        )

    def end_giving_way(self) -> list[MoveRecord]:
        """Where the connection broke meanwhile: our copy is unmarked, to be looked at anew, or it is gone."""
        ended: list[MoveRecord] = []
        for row in self._rows.done(STAYS_SECONDS, GIVES_WAY):
            # As in recovery: the account works on, and the next connection tries again.
            with Tolerated("a copy is left marked for now", logging.WARNING):
                copy = self._where.by_uid(target_of(row), [row.target_uid]).get(row.target_uid or Uid(0))
                there = copy is not None and copy.identity == row.identity
                if copy is not None and there:
                    self._commands.clear_deleted(target_of(row), [copy.ref.uid])
                if there or self._where.counts_anew(row):
                    self._rows.end(row, MoveState.DONE)
                else:
                    ended.append(
                        self._rows.end(replace(row, target_uid=None), MoveState.ABANDONED, GIVES_WAY)
                    )
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
            for mail in new:
                copied_there = has(mail, MOVED_KEYWORD) and not has(mail, MOVING_KEYWORD)
                if copied_there or not self._is_copy(record, mail):
                    continue
                # Of two mails with one id in Junk the person may have taken the other one out, at any time.
                if self._signs.came_from_ours(mail) or not self._rows.had_a_twin(record):
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
            for row in self._rows.open()
        ):
            return []
        return found

    def _of_the_original(self, fresh: _Fresh, mail: Arrival) -> bool:
        """A copy above ours in the target: was it made of the mail before that was moved, and by no daemon? Of what lies
        in Junk it would bear the sign without the lock; a daemon's bears its name, and goes by the UID. Where that may be
        ours, the daemon is given time to take its copy away again: with the next look it has.
        """
        if not self._lock_holds and not fresh.looked:
            return False
        names = {name.lower() for name in owners_on(mail)}
        if names:
            return names == {self._rows.owner.lower()} and self._where.ours(mail)
        return fresh.signed and not has(mail, MOVED_KEYWORD) and not has(mail, MOVING_KEYWORD)

    def _is_copy(self, record: MoveRecord, mail: Arrival) -> bool:
        """Of the mail that we have moved: that very mail, or one that was made of it while it bore our lock."""
        certain = record.identity.startswith(PROVING_IDS) or self._signs.came_from_ours(mail)
        return certain and mail.identity == record.identity and not has(mail, "\\Deleted")

    def _unstruck(self, fresh: _Fresh, copies: Sequence[Arrival]) -> Sequence[Arrival]:
        """What somebody copied while we moved it by COPY and had marked the original as deleted bears our lock and that
        mark, which was not theirs: it comes off, else the next clean-up of the person's would take what they filed.

        With the second look: a daemon that believes to hold our lock may be about to expunge its own copy.
        """
        if not fresh.looked or not self._removal.can_expunge:
            return copies  # our own copies that gave way stay marked there
        seen: list[Arrival] = []
        for mail in copies:
            if self._where.ours(mail) and has(mail, "\\Deleted"):
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
        return self._session.abilities.condstore


def _place(one: FolderStatus) -> tuple[UidValidity, Uid]:
    return one.uid_validity, one.uid_next


def _grown(
    before: Mapping[FolderName, FolderStatus], now: Mapping[FolderName, FolderStatus]
) -> list[tuple[FolderStatus, FolderStatus]]:
    """Folders into which mail has come since: (then, now)."""
    return [
        (then, now[name])
        for name, then in before.items()
        if name in now and now[name].uid_validity == then.uid_validity and now[name].uid_next > then.uid_next
    ]


__all__ = ["GIVES_WAY", "RIVAL_SECONDS", "Rivals"]
