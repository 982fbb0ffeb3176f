"""What the person does with their mail becomes labels, and labels teach the model at once.

`Learner.look` reads what changed since the last look (one STATUS per folder when nothing did), lets
`judgement.corrections` say what it means, writes labels and teaches the instant head. New mail it only
reports: the filter judges it, and `settle` moves the cursors when that is done. A crash in between repeats
the look; what was recorded by then is recognised, so that nothing is judged, labelled or missed twice.

`FirstReading` learns from folders that were there before us. `Learner.keep_quiet_mail` turns mail that was
opened and left alone into weak evidence.
"""

from __future__ import annotations

import bisect
import contextlib
import email.utils
import functools
import json
import logging
import math
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from spamd.domain import (
    Account,
    Arrival,
    Decision,
    Evidence,
    FetchedMail,
    FolderCursor,
    FolderName,
    FolderStatus,
    Identity,
    Judgement,
    Label,
    LabelRecord,
    LabelSource,
    MessageRef,
    MoveKind,
    MoveState,
    Score,
    Sighting,
    Uid,
    UidValidity,
    Verdict,
)
from spamd.errors import FolderChanged, FolderMissing, FolderRefused, SpamdError
from spamd.judgement import calibration, corrections, evidence, silence
from spamd.judgement.corrections import Correction, Findings, KeywordChange, Pending, Place
from spamd.message import vector
from spamd.source import Folder, MailSession

if TYPE_CHECKING:
    from spamd.model.scoring import Scorer
    from spamd.store.database import Store

log = logging.getLogger(__name__)

INBOX = FolderName("INBOX")
BASELINE = 5000
"""Mails per folder that are remembered when a folder is first seen."""
STEP = 500
"""Mails of a look that the store is asked about, and of a first look written down, at a time (half a MB). After so many new
ones in the inbox a look ends and the next one begins at once: memory does not grow with what waits, the person's drags are
seen in between, and the day's bytes are counted.
"""
BULK = 1000
"""Mails to be read for the first time from which the connection is worth compressing."""
ELSEWHERE = 500
"""Newest mails of another folder that are looked through for mail that left Junk."""
ELSEWHERE_AT_ONCE = 50
"""Other folders that are asked about in one hour where each is a question of its own; the others follow in turn."""
COPY_SETTLED = 1800.0
"""A copy that lies beside its original in Junk for so many seconds is no move under way."""
FETCH_LIMIT = 65536
READ_AGAIN = 3000
"""Newest labels of an account whose mail is read again after an upgrade that reads other features."""
READ_AGAIN_STEP = 100
"""Of these, mails read with one look."""
DAY = 86400.0
FOLDERS_FRESH = 600.0
BROUGHT = DAY
"""A mail this much older (seconds) than one that came before it was not delivered but put there."""
CONTRADICTION = 4.0
"""Log odds from which a weak label against the model is held for the person to look at."""
KEPT_PER_SENDER = 3
KEPT_PER_DAY = 60
KEPT_AT_ONCE = 1000
"""Mails that silence tells something of and that are heard in one day; the others come with the next."""

_PLACES = {
    "inbox": Place.INBOX,
    "junk": Place.JUNK,
    "trash": Place.TRASH,
    "sent": Place.OTHER,
    "drafts": Place.OTHER,
    "all": Place.OTHER,
}
Publish = Callable[[str, Mapping[str, object]], None]


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


@dataclass(slots=True)
class _Change:
    """One folder in one look."""

    status: FolderStatus
    cursor: FolderCursor | None
    place: Place
    arrivals: list[Sighting] = field(default_factory=list)  # not known at that reference
    arrived: int = 0  # all, also those our own moves brought
    first_time: bool = False
    reset: bool = False
    cut: bool = False  # there is more, for the next look; the status says how far this one read


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
        self._session = session
        self._store = store
        self._scorer = scorer
        self.account = account
        self._since = since
        self._flood = flood
        self._publish = publish
        self._clock = clock
        self._places: dict[FolderName, Place] = {}
        self._places_at = float("-inf")
        self._consumed: dict[MessageRef, float] = {}
        self._first_seen: dict[MessageRef, float] = {}
        # In the inbox, and not yet judged: kept by the store, too, as it may be dragged while nobody runs.
        self._waiting = self._load_waiting()
        self._first_seen.update((sighting.ref, sighting.seen_at) for sighting in self._waiting)
        self._pending = self._load_pending()
        self._unreadable: list[Identity] | None = None  # see read_again; None: not asked yet
        self._locked_elsewhere: list[Sighting] = []  # see _taken_under_lock
        self._left: list[MessageRef] = []  # in this look: known in Junk and not there any more
        self._copies: dict[MessageRef, float] = {}  # of mail in Junk, beside their originals; since when
        self._emptied: set[FolderName] = set()  # in this look: all that we knew there is gone

    # -- folders

    def places(self) -> Mapping[FolderName, Place]:
        """What each folder means. Read again every ten minutes: people make folders."""
        now = self._clock()
        if now - self._places_at >= FOLDERS_FRESH or not self._places:
            self._places = places(self._session.folders(), self._session.junk_folder(), self.account)
            self._places_at = now
        return self._places

    def watched(self) -> list[FolderName]:
        """Inbox first: a drag from it to Junk is then seen at its target at the latest."""
        found = self.places()
        order = (Place.INBOX, Place.UNSURE, Place.JUNK)
        return [name for place in order for name, its in found.items() if its is place]

    # -- one look

    def look(self, *, judge: bool = True) -> Look:
        """What changed since the cursors: labels are written and taught; new mail is returned.

        judge: False where new mail must wait (the day's bytes are used up): it comes again with the next look.
        """
        now = self._clock()
        watched = self.watched()
        statuses = {status.folder: status for status in self._session.statuses(watched)}
        changes = [self._change(statuses[name]) for name in watched if name in statuses]
        moved = [change for change in changes if _changed(change)]
        # A copy whose original lies in a folder that did not change is still one: not asked about every minute for a week.
        if not moved and all(wait.old.folder in statuses and not wait.unsigned for wait in self._pending):
            return Look(quiet=True, locked=self._taken_under_lock())
        fresh: list[Sighting] = []
        for change in list(moved):
            try:
                self._read(change, now, whole=not judge or self.account.wait_seconds > 0)
            except (FolderMissing, FolderRefused, FolderChanged) as error:
                # Taken away or locked this moment: the other folders are looked at all the same.
                log.info("%s: a folder is left for later: %s", self.account.name, type(error).__name__)
                moved.remove(change)
                self._places_at = float("-inf")
                continue
            fresh += change.arrivals
        found_elsewhere, elsewhere_cursors = self._left_junk(moved, fresh, now)
        keywords = [hint for change in moved for hint in self._keywords(change)]
        findings = self._compare([*fresh, *found_elsewhere], moved, keywords, statuses, now)
        labels = self._learn(findings, now)
        self._write_down(findings, moved, keywords, now)
        new, waiting = self._ripe(findings, moved, now, judge)
        if any(wait.unsigned for wait in self._pending):
            waiting = min(waiting or corrections.SIGN_SECONDS, corrections.SIGN_SECONDS)
        if any(change.cut for change in moved):
            waiting = 0.0
        held_back = {sighting.ref for sighting in findings.new} - {sighting.ref for sighting in new}
        cursors = [_cursor(self.account, change.status, held_back) for change in moved]
        locked = (*(one for one in fresh if corrections.locked(one.keywords)), *self._taken_under_lock())
        return Look(tuple(new), tuple(labels), (*cursors, *elsewhere_cursors), locked, waiting)

    def _taken_under_lock(self) -> tuple[Sighting, ...]:
        """What came to folders that are not watched under a lock. Without CONDSTORE (Courier) the mover looks into none of
        them: a copy that the person made of ours in Junk kept its lock there.
        """
        locked, self._locked_elsewhere = tuple(self._locked_elsewhere), []
        return locked

    def settle(self, look: Look) -> None:
        """The new mails of this look are judged: the next one starts after them."""
        for cursor in look.cursors:
            self._store.set_cursor(cursor)

    def _change(self, status: FolderStatus) -> _Change:
        cursor = self._store.cursor(self.account.name, status.folder)
        change = _Change(status, cursor, self.places().get(status.folder, Place.KEPT))
        change.first_time = cursor is None
        if cursor is not None and cursor.uid_validity != status.uid_validity:
            # Courier gives a folder its UIDVALIDITY when the first mail comes: until then it says the time of day.
            change.reset = cursor.messages > 0 or cursor.uid_next > 1
        return change

    def _read(self, change: _Change, now: float, *, whole: bool) -> None:
        """The arrivals of one folder that the store does not know at that reference.

        whole: however much is new: mail that will not be judged now holds the cursor back, and what came after it must be
        seen all the same. Mail known from elsewhere does not count as new: of many drags at once must be asked together.
        """
        status, cursor = change.status, change.cursor
        if cursor is None or change.reset:
            uids = self._session.uids(status.folder)
            first = uids[-BASELINE] if len(uids) > BASELINE else Uid(1)
            if not uids:
                return
            if len(uids) >= BULK:
                self._session.begin_bulk()
        elif status.uid_next <= cursor.uid_next:
            return
        else:
            first = cursor.uid_next
        if cursor is None:
            first = max(first, Uid(self._indexed(status) + 1))
        old: list[Sighting] = []  # at the first look, up to the first mail that is new
        limit = self._oldest_new() if cursor is None else float("-inf")
        whole = whole or cursor is None or change.reset or change.place is not Place.INBOX
        unknown = 0
        arrivals = self._session.arrivals(status.folder, first)
        while step := list(islice(arrivals, STEP)):
            known = self._store.sightings_of(self.account.name, [arrival.identity for arrival in step])
            for arrival in step:
                if arrival.ref.uid < first:
                    continue
                change.arrived += 1
                if any(sighting.ref == arrival.ref for sighting in known.get(arrival.identity, ())):
                    continue
                sighting = sighting_of(self.account, arrival, now)
                newer = change.arrivals or arrival.internal_date > limit
                (change.arrivals if newer else old).append(sighting)
            if len(old) >= STEP:
                self._note_indexed(status, old)
                old = []
            unknown += sum(arrival.identity not in known for arrival in step)
            following = Uid(step[-1].ref.uid + 1)
            if unknown >= STEP and not whole and following < status.uid_next:
                change.status, change.cut = replace(status, uid_next=following), True
                break
        change.arrivals[:0] = old

    def _oldest_new(self) -> float:
        """At the first look, only mail that came after this is new."""
        return max(self._since, self._store.wiped_at(self.account.name))

    def _indexed(self, status: FolderStatus) -> Uid:
        """How far a first look came that was cut off; 0: not at all."""
        text = self._store.state(self._indexed_key(status)) or ""
        validity, _, uid = text.partition(" ")
        if validity != str(status.uid_validity) or not uid.isdigit():
            return Uid(0)
        known = self._store.sightings(self.account.name, status.folder, status.uid_validity)
        return Uid(int(uid)) if Uid(int(uid)) in known else Uid(0)

    def _note_indexed(self, status: FolderStatus, old: Sequence[Sighting]) -> None:
        """A step of the first look is done for good: cut off, it goes on from here."""
        with self._store.transaction():
            self._store.add_sightings(old)
            self._store.set_state(self._indexed_key(status), f"{status.uid_validity} {old[-1].ref.uid}")

    def _indexed_key(self, status: FolderStatus) -> str:
        """The account's name comes last: so wiping the account finds it, and the folder's name goes with it."""
        return f"index:{status.folder}:{self.account.name}"

    def _compare(
        self,
        arrivals: Sequence[Sighting],
        changes: Sequence[_Change],
        keywords: Sequence[KeywordChange],
        statuses: Mapping[FolderName, FolderStatus],
        now: float,
    ) -> Findings:
        name = self.account.name
        identities = dict.fromkeys(
            [sighting.identity for sighting in arrivals] + [wait.identity for wait in self._pending]
        )
        known = self._store.sightings_of(name, identities)
        # Mail that still waits to be judged can be dragged, too.
        outside = {one.identity for one in arrivals if self.places().get(one.ref.folder) is not Place.INBOX}
        outside |= {wait.identity for wait in self._pending}
        for sighting in self._waiting:
            if sighting.identity in outside:
                known.setdefault(sighting.identity, []).append(sighting)
        here = {sighting.ref for sighting in arrivals}
        asked = {
            sighting.ref
            for earlier in known.values()
            for sighting in earlier
            if sighting.gone_at is None and sighting.ref not in here
        }
        for wait in self._pending:
            asked |= {wait.old, wait.new}
        own = self._store.moves_of(name, identities)
        self._consumed.update((record.source, now) for record in own if record.state is MoveState.DONE)
        own += [row for row in self._store.open_moves(name) if row not in own]
        found, renewed = self._alive(asked, statuses)
        alive = set(found)
        findings = corrections.compare(
            arrivals,
            places=self.places(),
            known=known,
            alive=alive | here,
            own=own,
            pending=self._pending,
            reset=renewed | {change.status.folder for change in changes if change.reset or change.first_time},
            consumed=set(self._consumed),
            keywords=keywords,
            statuses=statuses,
            emptied=self._emptied,
            crowded=self._crowded(arrivals, known),
            flags=found,
            shared=self._store.state(f"shared:{name}") is not None,
            now=now,
            flood=self._flood,
        )
        self._note_others(findings)
        return self._without_brought(self._without_old(findings, changes, now), changes, now)

    def _crowded(
        self, arrivals: Sequence[Sighting], known: Mapping[Identity, Sequence[Sighting]]
    ) -> set[FolderName]:
        """The inbox, if mail that we knew there lies in Junk without a sign, and the sign may have been refused."""
        if not self._session.abilities.keywords:
            return set()
        dragged = any(
            self.places().get(one.ref.folder) in (Place.JUNK, Place.UNSURE)
            and not corrections.held_or_signed(one.keywords)
            and any(earlier.ref.folder == INBOX for earlier in known.get(one.identity, ()))
            for one in arrivals
        )
        if not dragged and not any(wait.old.folder == INBOX for wait in self._pending):
            return set()
        try:
            return set() if self._session.room_for_keywords(INBOX) else {INBOX}
        except (FolderMissing, FolderRefused):
            return set()

    def _note_others(self, findings: Findings) -> None:
        """Other daemons are at work here; and what cannot be told because of that, once."""
        name = self.account.name
        if findings.others and self._store.state(f"shared:{name}") is None:
            self._store.set_state(f"shared:{name}", str(self._clock()))
        if findings.unclear and self._store.state(f"unclear:{name}") is None:
            self._store.set_state(f"unclear:{name}", str(self._clock()))
            self._store.add_event(
                "account",
                "Nothing is learned from mail that goes to Junk: your inbox has no room for further keywords, so your moves "
                "cannot be told from those of your other computer. Remove labels that you do not use in a mail program.",
                account=name,
            )

    def _without_old(self, findings: Findings, changes: Sequence[_Change], now: float) -> Findings:
        """At the first look only mail that came after the account was set up is new.

        Where a folder was made anew (UIDVALIDITY), only what is younger than all that was known in it (or of the same
        second, with a Message-ID), and has no Message-ID that was: a restored mailbox may have lost its dates or its ids.
        """
        limits: dict[FolderName, float] = {}
        known_ids: set[str] = set()
        for change in changes:
            if change.first_time:
                limits[change.status.folder] = self._oldest_new()
            elif change.reset and change.cursor is not None:
                before = self._store.sightings(
                    self.account.name, change.status.folder, change.cursor.uid_validity
                ).values()
                limits[change.status.folder] = max(
                    [self._since, *(sighting.internal_date for sighting in before)]
                )
                known_ids |= {sighting.message_id for sighting in before if sighting.message_id}
        if not limits:
            return findings
        for change in changes:
            if change.first_time and any(one.internal_date > now + DAY for one in change.arrivals):
                limits[change.status.folder] = math.inf  # our clock is behind: nobody knows what is new
        new = tuple(
            sighting
            for sighting in findings.new
            if (sighting.internal_date, bool(sighting.message_id))
            > (limits.get(sighting.ref.folder, float("-inf")), False)
            and not (sighting.ref.folder in limits and sighting.message_id in known_ids)
        )
        return replace(findings, new=new)

    def _without_brought(self, findings: Findings, changes: Sequence[_Change], now: float) -> Findings:
        """Mail in the inbox that is much older than mail which came before it was not delivered: the person (or
        a program of theirs) put it there, from a folder nobody watches. It is not ours to judge.

        MOVE and COPY keep INTERNALDATE; a delivery sets it. Dates beyond our clock prove nothing.
        """
        brought: set[MessageRef] = set()
        for change in changes:
            if change.place is not Place.INBOX or change.cursor is None or change.reset:
                continue
            new = sorted(
                (one for one in findings.new if one.ref.folder == change.status.folder),
                key=lambda one: one.ref.uid,
            )
            if not new:
                continue
            newest = self._store.newest_date(self.account.name, new[0].ref, now)
            for sighting in new:
                if 0 < sighting.internal_date < newest - BROUGHT:
                    brought.add(sighting.ref)
                elif sighting.internal_date <= now:
                    newest = max(newest, sighting.internal_date)
        if not brought:
            return findings
        return replace(findings, new=tuple(one for one in findings.new if one.ref not in brought))

    def _alive(
        self, refs: Iterable[MessageRef], statuses: Mapping[FolderName, FolderStatus]
    ) -> tuple[dict[MessageRef, frozenset[str]], set[FolderName]]:
        """Of these the ones that are there now, with their flags; and the folders that are not what they were (renamed, made
        anew): what left those says nothing.
        """
        by_folder: defaultdict[tuple[FolderName, UidValidity], list[MessageRef]] = defaultdict(list)
        for ref in refs:
            by_folder[ref.folder, ref.uid_validity].append(ref)
        alive: dict[MessageRef, frozenset[str]] = {}
        renewed: set[FolderName] = set()
        for (folder, validity), group in by_folder.items():
            try:
                status = statuses.get(folder) or self._session.status(folder)
                if status.uid_validity != validity:
                    renewed.add(folder)
                    continue
                for start in range(0, len(group), 500):
                    there = self._session.locate(group[start : start + 500])
                    alive |= {arrival.ref: arrival.flags for arrival in there}
            except (FolderMissing, FolderRefused):
                renewed.add(folder)
        return alive, renewed

    def _left_junk(
        self, changes: Sequence[_Change], fresh: Sequence[Sighting], now: float
    ) -> tuple[list[Sighting], list[FolderCursor]]:
        """Mail that left Junk (or the unsure folder) for a folder that is not watched: found alive there?"""
        arrived = {sighting.identity for sighting in fresh}
        left: set[Identity] = set()
        self._left.clear()
        self._emptied.clear()
        for change in changes:
            cursor = change.cursor
            if change.place not in (Place.JUNK, Place.UNSURE) or cursor is None or change.reset:
                continue
            if cursor.messages + change.arrived <= change.status.messages:
                continue
            folder, validity = change.status.folder, change.status.uid_validity
            known = self._store.sightings(self.account.name, folder, validity)
            try:
                departed = self._session.departed(folder, validity, list(known), cursor.highest_modseq)
            except (FolderMissing, FolderRefused, FolderChanged):
                continue
            gone = [known[uid] for uid in departed]
            if gone and len(gone) == len(known):
                self._emptied.add(change.status.folder)
            # Written down with what follows from it: if the connection breaks first, the next look asks again.
            self._left += [sighting.ref for sighting in gone]
            left |= {sighting.identity for sighting in gone}
        lost = left - arrived
        cursors = {cursor.folder: cursor for cursor in self._store.cursors(self.account.name)}
        kept = self._kept()
        found, renewed = self._found_in(
            kept if lost else [name for name in kept if name not in cursors], cursors, lost, now
        )
        if lost - {sighting.identity for sighting in found}:  # perhaps in a folder that was made a moment ago
            self._places_at = float("-inf")
            new = [name for name in self._kept() if name not in kept]
            more, more_renewed = self._found_in(new, cursors, lost, now)
            found, renewed = found + more, renewed + more_renewed
        found += self._known_elsewhere(lost, {sighting.ref for sighting in found})
        return found, renewed

    def _kept(self) -> list[FolderName]:
        return [name for name, place in self.places().items() if place is Place.KEPT]

    def look_elsewhere(self) -> None:
        """What came to folders that are not watched: known mail is noted there. Once an hour is enough.

        What was copied out of Junk (or the folder for doubtful mail), and an hour later still lies there unmarked beside its
        copy, is not: when Junk is emptied some day, that copy is no rescue. COPY, mark and EXPUNGE is how many programs move,
        and a MOVE is seen from both sides for a moment.
        """
        cursors = {cursor.folder: cursor for cursor in self._store.cursors(self.account.name)}
        folders = self._kept()
        if not self._session.abilities.list_status and len(folders) > ELSEWHERE_AT_ONCE:
            folders = self._in_turn(folders, cursors)
        _, renewed = self._found_in(folders, cursors, (), self._clock())
        for cursor in renewed:
            self._store.set_cursor(cursor)

    def _in_turn(
        self, folders: Sequence[FolderName], cursors: Mapping[FolderName, FolderCursor]
    ) -> list[FolderName]:
        """The next of these, and all that are new or hold what may be a copy. Also over restarts each has its turn."""
        key = f"elsewhere:{self.account.name}"
        last = self._store.state(key) or ""
        due = {name for name in folders if name not in cursors} | {ref.folder for ref in self._copies}
        known = sorted(name for name in folders if name not in due)
        after = bisect.bisect_right(known, last)
        turn = (known[after:] + known[:after])[:ELSEWHERE_AT_ONCE]
        if turn:
            self._store.set_state(key, turn[-1])
        return [name for name in folders if name in due or name in turn]

    def _found_in(
        self,
        folders: Sequence[FolderName],
        cursors: Mapping[FolderName, FolderCursor],
        lost: Collection[Identity],
        now: float,
    ) -> tuple[list[Sighting], list[FolderCursor]]:
        """Which of the lost mails came to these folders since their cursors; a folder without one is new, unless all are.
        (found, cursors)
        """
        found: list[Sighting] = []
        others: list[Arrival] = []
        read: list[FolderStatus] = []
        first_look = not any(name in cursors for name in self._kept())
        for status in self._session.statuses(folders) if folders else ():
            cursor = cursors.get(status.folder)
            # Made anew under its name, or renumbered: what was lost may have come there since.
            anew = cursor is not None and cursor.uid_validity != status.uid_validity
            then = cursor.uid_next if cursor is not None and not anew else Uid(1)
            first = Uid(max(then, status.uid_next - ELSEWHERE))
            there: list[Arrival] = []
            if status.uid_next > then and (lost or not (first_look or anew)):
                try:
                    there = list(self._session.arrivals(status.folder, first))
                except (FolderMissing, FolderRefused, FolderChanged):
                    continue  # taken away or locked this moment
            read.append(status)
            for arrival in there:
                if arrival.ref.uid < first:
                    continue
                sighting = sighting_of(self.account, arrival, now)
                if corrections.locked(sighting.keywords):
                    self._locked_elsewhere.append(sighting)
                if arrival.identity in lost:
                    found.append(sighting)
                else:
                    others.append(arrival)
        waiting = self._note_known(others, now)
        return found, [_cursor(self.account, status, waiting) for status in read]

    def _note_known(self, arrivals: Sequence[Arrival], now: float) -> list[MessageRef]:
        """Mail that we know, in a folder that is not watched: a later drag to Junk is then known to come from there.

        Returns what looks like a copy, and has not for long.
        """
        seen = self._store.sightings_of(self.account.name, [arrival.identity for arrival in arrivals])
        suspected = {
            sighting.ref: identity
            for identity, earlier in seen.items()
            for sighting in earlier
            if sighting.gone_at is None
            and self.places().get(sighting.ref.folder) in (Place.JUNK, Place.UNSURE)
            and not self._has_twin(identity)
        }
        there, _ = self._alive(suspected, {})
        copied = {
            suspected[ref]
            for ref, flags in there.items()
            if "\\deleted" not in {flag.lower() for flag in flags}
        }
        self._store.add_sightings(
            sighting_of(self.account, arrival, now)
            for arrival in arrivals
            if arrival.identity in seen and arrival.identity not in copied
        )
        refs = [arrival.ref for arrival in arrivals if arrival.identity in copied]
        self._copies = {ref: self._copies.get(ref, now) for ref in refs} | {
            ref: since for ref, since in self._copies.items() if since > now - DAY
        }
        return [ref for ref in refs if 0 <= now - self._copies[ref] < COPY_SETTLED]

    def _known_elsewhere(self, left: set[Identity], told: set[MessageRef]) -> list[Sighting]:
        """Of mails that left Junk, copies in other folders that were noticed before the departure was."""
        seen = [
            sighting
            for identity in left
            for sighting in self._store.sighting_of(self.account.name, identity)
            if sighting.gone_at is None
            and sighting.ref not in told
            and self.places().get(sighting.ref.folder) is Place.KEPT
            and not self._has_twin(identity)
        ]
        alive, _ = self._alive([sighting.ref for sighting in seen], {})
        return [sighting for sighting in seen if sighting.ref in alive]

    def _has_twin(self, identity: Identity) -> bool:
        """Where an id is one of the content: was a second mail of it delivered to the inbox? Then a copy in
        another folder is that one, and says nothing of the one in Junk.
        """
        if corrections.names_one_delivery(identity):
            return False
        ours = self._store.move_of(self.account.name, identity)
        return any(
            self.places().get(sighting.ref.folder) is Place.INBOX
            and (ours is None or sighting.ref != ours.source)
            for sighting in self._store.sighting_of(self.account.name, identity)
        )

    def _keywords(self, change: _Change) -> list[KeywordChange]:
        """Mails known before whose junk keywords are others now."""
        status, cursor = change.status, change.cursor
        if cursor is None or change.reset or status.messages == 0:
            return []
        if cursor.highest_modseq is not None and cursor.highest_modseq == status.highest_modseq:
            return []
        try:
            flags = self._session.changed_flags(status.folder, cursor.highest_modseq)
        except (FolderMissing, FolderRefused):
            return []
        spoken = {uid: words for uid, words in flags.items() if corrections.keyword_label(words) is not None}
        if not spoken:
            return []
        known = self._store.sightings(self.account.name, status.folder, status.uid_validity)
        fresh = {sighting.ref.uid for sighting in change.arrivals}
        return [
            KeywordChange(known[uid], words)
            for uid, words in spoken.items()
            if uid in known and uid not in fresh and words_of(words) != known[uid].keywords
        ]

    # -- what follows

    def _learn(self, findings: Findings, now: float) -> list[LabelRecord]:
        """Labels into the ledger, then into the model."""
        written = [
            record
            for correction in findings.corrections
            if (record := self._label(correction, bool(findings.held), now)) is not None
        ]
        if findings.held:
            text = f"{findings.held} Nothing is learned of it until you say so (Review)."
            self._store.add_event("correction", text, account=self.account.name, needs_person=True)
        else:
            self._tell(written)
        return written

    def _label(self, correction: Correction, held: bool, now: float) -> LabelRecord | None:
        name, identity = self.account.name, correction.identity
        packed = self._vector(correction)
        weak = correction.source is LabelSource.HINT
        logit = self._logit(identity)
        against = logit is not None and (logit > CONTRADICTION) is (correction.label is Label.HAM)
        contradicts = weak and logit is not None and abs(logit) > CONTRADICTION and against
        record = LabelRecord(
            account=name,
            identity=identity,
            label=correction.label,
            source=correction.source,
            weight=correction.weight,
            at=now,
            model_id=self._scorer.card.id,
            note=f"{correction.note}; {corrections.AT_ONCE}" if held else correction.note,
            held=held or contradicts,
        )
        stored = self._store.add_label(record)
        if stored.at != now or stored.source is not correction.source:
            return None  # what was said before is stronger, or the same
        if teaches(stored) and packed is not None:
            self._teach(packed, stored)
        return stored

    def _teach(self, packed: bytes, record: LabelRecord) -> None:
        try:
            stored = vector.unpack(packed)
        except (SpamdError, ValueError):
            return  # of an older recipe: see read_again
        self._scorer.teach(stored, record.identity, record.label, record.weight, record.at)

    def _vector(self, correction: Correction) -> bytes | None:
        """The mail's vector: kept from when it was judged, else read now; scored before it is learned."""
        packed = self._store.vector_of(self.account.name, correction.identity)
        if packed is not None and vector.schema_of(packed) in vector.READABLE:
            return packed
        try:
            mails = list(self._session.fetch([correction.ref], FETCH_LIMIT))
        except (FolderMissing, FolderRefused):
            return None
        for mail in mails:
            if packed is not None:
                return self._read_anew(mail)
            judgement, packed = read_known_mail(
                self.account,
                self._scorer,
                mail,
                correction.label,
                self._clock(),
                "The mail was there before it was corrected.",
            )
            self._store.record_judgement(judgement, vector=packed, sighting=None)
            return packed
        return None

    # -- after an upgrade that reads other features

    def read_again(self) -> int:
        """Read some labelled mails anew whose vectors an older version made of other features, and teach them.

        No mail is kept here, so it is read where it lies, the person's newest words first; what is gone from the
        server teaches no more. Returns how many were read. Only the first call on a connection looks at the ledger.
        """
        name = self.account.name
        if self._unreadable is None:
            rows = self._store.training_set(until=self._clock(), limit=READ_AGAIN, account=name)
            found = [record for record, packed in rows if vector.schema_of(packed) not in vector.READABLE]
            found.sort(key=lambda record: (record.source is not LabelSource.IMPLICIT, record.at))
            self._unreadable = [record.identity for record in found]
        wanted = {self._unreadable.pop() for _ in range(min(READ_AGAIN_STEP, len(self._unreadable)))}
        by_folder: defaultdict[tuple[FolderName, UidValidity], list[MessageRef]] = defaultdict(list)
        for identity in wanted:
            for sighting in self._store.sighting_of(name, identity)[:1]:
                if sighting.gone_at is None:
                    by_folder[sighting.ref.folder, sighting.ref.uid_validity].append(sighting.ref)
        count = 0
        for refs in by_folder.values():
            with contextlib.suppress(FolderMissing, FolderRefused, FolderChanged):
                for mail in self._session.fetch(refs, FETCH_LIMIT):
                    if mail.arrival.identity not in wanted:
                        continue
                    packed = self._read_anew(mail)
                    label = self._store.label_of(name, mail.arrival.identity)
                    if label is not None and teaches(label):
                        self._teach(packed, label)
                    count += 1
        return count

    def _read_anew(self, mail: FetchedMail) -> bytes:
        packed = vector.pack(vector.vectorise(mail.raw))
        self._store.put_vector(self.account.name, mail.arrival.identity, packed)
        return packed

    def _logit(self, identity: Identity) -> float | None:
        judgement = self._store.judgement_of(self.account.name, identity)
        return judgement.score.logit if judgement is not None else None

    def _tell(self, written: Sequence[LabelRecord]) -> None:
        counts = Counter((record.label, record.held) for record in written)
        for (label, held), number in counts.items():
            mails = "a mail" if number == 1 else f"{number} mails"
            word = "junk" if label is Label.SPAM else "good mail"
            text = f"You marked {mails} as {word}."
            if held:
                text = f"A keyword says that {mails} is {word}, against everything known. Is that so?"
            self._store.add_event("correction", text, account=self.account.name, needs_person=held)
        if written:
            self._publish("state", {"account": self.account.name, "labels": len(written)})

    def _write_down(
        self,
        findings: Findings,
        changes: Sequence[_Change],
        keywords: Sequence[KeywordChange],
        now: float,
    ) -> None:
        """Sightings as they are now; new mail's are written with its judgement."""
        name = self.account.name
        new = {sighting.ref for sighting in findings.new}
        with self._store.transaction():
            # Killed in between, all mail of a folder made anew would be new mail.
            for change in changes:
                if change.reset:
                    self._store.forget_folder(name, change.status.folder)
            self._store.add_sightings(
                sighting for change in changes for sighting in change.arrivals if sighting.ref not in new
            )
        for hint in keywords:
            self._store.set_keywords(name, hint.sighting.ref, words_of(hint.now))
        gone: defaultdict[tuple[FolderName, UidValidity], list[Uid]] = defaultdict(list)
        for ref in self._left:
            gone[ref.folder, ref.uid_validity].append(ref.uid)
        for ref in findings.departed:
            gone[ref.folder, ref.uid_validity].append(ref.uid)
            self._consumed[ref] = now
        for (folder, validity), uids in gone.items():
            self._store.mark_gone(name, folder, validity, uids, now)
        limit = now - 2 * corrections.GONE_LATELY
        self._consumed = {ref: at for ref, at in self._consumed.items() if at > limit}
        if tuple(self._pending) != findings.pending:
            self._pending = findings.pending
            self._save_pending()

    def _ripe(
        self, findings: Findings, changes: Sequence[_Change], now: float, judge: bool
    ) -> tuple[list[Sighting], float | None]:
        """New mail that has waited as long as the person wants.

        And how long the youngest still has to wait.
        """
        ripe: list[Sighting] = []
        before = self._waiting
        ends = {change.status.folder: change.status.uid_next for change in changes if change.cut}
        # What was met already (the day's bytes were used up), and this look did not come to: it may be dragged meanwhile.
        self._waiting = [one for one in before if one.ref.uid >= ends.get(one.ref.folder, math.inf)]
        missing: list[float] = []
        seen = {sighting.ref: self._first_seen.get(sighting.ref, now) for sighting in findings.new}
        for sighting in findings.new:
            left = seen[sighting.ref] + self.account.wait_seconds - now
            if judge and left <= 0:
                ripe.append(sighting)
                continue
            missing += [left] if judge else []
            self._waiting.append(replace(sighting, seen_at=seen[sighting.ref]))
        self._first_seen = seen
        if self._waiting != before:
            self._save_waiting()
        return ripe, min(missing) if missing else None

    def _load_waiting(self) -> list[Sighting]:
        try:
            rows = json.loads(self._store.state(f"waiting:{self.account.name}") or "[]")
            return [
                Sighting(
                    self.account.name,
                    _ref(row["ref"]),
                    Identity(row["identity"]),
                    frozenset(row["keywords"]),
                    float(row["seen_at"]),
                    None,
                    str(row["message_id"]),
                    int(row["size"]),
                    float(row["internal_date"]),
                )
                for row in rows
            ]
        except (ValueError, KeyError, TypeError):
            return []

    def _save_waiting(self) -> None:
        rows = [{**asdict(one), "keywords": sorted(one.keywords)} for one in self._waiting[-1000:]]
        self._store.set_state(f"waiting:{self.account.name}", json.dumps(rows))

    # -- copies that may become moves

    def _load_pending(self) -> tuple[Pending, ...]:
        try:
            rows = json.loads(self._store.state(f"pending:{self.account.name}") or "[]")
            return tuple(
                Pending(
                    Identity(row["identity"]),
                    _ref(row["old"]),
                    _ref(row["new"]),
                    float(row["since"]),
                    bool(row.get("unsigned")),
                )
                for row in rows
            )
        except (ValueError, KeyError, TypeError):
            return ()

    def _save_pending(self) -> None:
        rows = [asdict(wait) for wait in self._pending[-1000:]]
        self._store.set_state(f"pending:{self.account.name}", json.dumps(rows))

    # -- whom the person writes to

    def read_sent(self) -> None:
        """Whom the person has written to since the last time. Once an hour is enough.

        What was sent before the first time is the first reading's, which asks the person before.
        """
        for status in self._session.statuses(sent_folders(self._session)):
            folder = status.folder
            cursor = self._store.cursor(self.account.name, folder)
            if cursor is not None and cursor.uid_next >= status.uid_next and not _renumbered(cursor, status):
                continue
            with contextlib.suppress(FolderMissing, FolderRefused, FolderChanged):
                if cursor is not None and not _renumbered(cursor, status):
                    first = max(cursor.uid_next, status.uid_next - READ_SENT)
                    new = [Uid(uid) for uid in range(first, status.uid_next)]
                    for start in range(0, len(new), 200):
                        some = new[start : start + 200]
                        add_recipients(self._session, self._store, self.account, folder, some, self._clock())
                self._store.set_cursor(_cursor(self.account, status, ()))

    # -- weak evidence

    def keep_quiet_mail(self) -> int:
        """Mail that was opened and left in the inbox for days, or put into another folder, is, weakly, good
        mail. Once a day is enough.

        In the inbox it never follows from our own verdict alone: the person must have opened (or flagged, answered,
        filed) it. A sender counts a few times a day at most; what is left besides is noted, as it tells of the person's habit,
        by which silence weighs as a lesson (judgement/silence.py): what we suspected and the person left counts for the
        proof, and as a lesson only from who names nearly all. What we moved to the folder for doubtful mail and still lies
        there, opened or not, counts for the proof alone: the good mail among it is the very tail that thresholds are drawn
        from. What was heard once is not asked about again, also where the day was full: nor does a label that is taken back
        come again. Returns the number of labels.
        """
        now = self._clock()
        name = self.account.name
        here = self._still_here(now)
        self.look_elsewhere()
        wanted: list[tuple[Judgement, str]] = []  # and what it tells
        per_sender: Counter[tuple[str, int]] = Counter()
        per_day: Counter[int] = Counter()
        before: int | None = None
        while len(wanted) < KEPT_AT_ONCE:
            asked: list[tuple[Judgement, Sighting, str]] = []  # and why, where its flags do not say it
            page = self._store.judgements(
                account=name,
                since=now - silence.WINDOW,
                labelled=False,
                before_id=before,
                limit=STEP,
            )
            known = self._store.spoken_or_heard(name, [judgement.identity for judgement in page])
            filed = self._filed(judgement.identity for judgement in page if judgement.identity not in known)
            for judgement in page:
                sighting = here.get(judgement.identity)
                if judgement.identity in known:
                    if known[judgement.identity] is LabelSource.IMPLICIT:
                        per_sender[_sender_day(judgement)] += 1
                        per_day[_sender_day(judgement)[1]] += 1
                elif judgement.decision.reason == "before":
                    continue  # it was not judged when it came: only a label that was taken back told of it
                elif judgement.moved:
                    doubted = self._doubted(judgement) if judgement.at < now - silence.AFTER else None
                    if doubted is not None:
                        asked.append((judgement, doubted, silence.DOUBTED))
                elif judgement.identity in filed:
                    asked.append((judgement, filed[judgement.identity], silence.FILED))
                elif sighting is not None and judgement.at < now - silence.AFTER:
                    asked.append((judgement, sighting, ""))
            # What says nothing is asked about again every day, and must not keep older mail from being heard.
            flags = self._flags([sighting.ref for _, sighting, _ in asked])
            for judgement, sighting, why in asked:
                note = _told_by(flags.get(sighting.ref), why)
                if note is not None:
                    wanted.append((judgement, note))
            if len(page) < STEP:
                break
            before = page[-1].id
        found: list[LabelRecord] = []
        left: list[Identity] = []
        for judgement, note in wanted:
            left += [judgement.identity] if note == silence.OPENED else []
            sender_day = _sender_day(judgement)
            per_sender[sender_day] += 1
            per_day[sender_day[1]] += 1
            if per_sender[sender_day] > KEPT_PER_SENDER or per_day[sender_day[1]] > KEPT_PER_DAY:
                continue
            doubtful = judgement.decision.verdict is not Verdict.KEEP
            found.append(
                LabelRecord(
                    account=name,
                    identity=judgement.identity,
                    label=Label.HAM,
                    source=LabelSource.IMPLICIT,
                    weight=silence.lesson(
                        silence.Habit(), judgement.score.probability, doubtful=doubtful, note=note
                    ),
                    at=now,
                    model_id=judgement.score.model_id,
                    note=note,
                )
            )
        with self._store.transaction():
            self._store.note_heard(name, [judgement.identity for judgement, _ in wanted], left, now)
            for record in found:
                self._store.add_label(record)
        return len(found)

    def _filed(self, identities: Iterable[Identity]) -> dict[Identity, Sighting]:
        """Those that came to lie in another folder. What carries the sign may have been put there by another daemon (its
        folder for doubtful mail).
        """
        return {
            identity: sighting
            for identity, known in self._store.sightings_of(self.account.name, identities).items()
            for sighting in known
            if sighting.gone_at is None
            and self.places().get(sighting.ref.folder) is Place.KEPT
            and not corrections.signed(sighting.keywords)
        }

    def _still_here(self, now: float) -> dict[Identity, Sighting]:
        """The inbox as we know it; what is gone from it is marked so."""
        status = self._session.status(INBOX)
        known = self._store.sightings(self.account.name, INBOX, status.uid_validity)
        gone = self._session.departed(INBOX, status.uid_validity, list(known), None)
        self._store.mark_gone(self.account.name, INBOX, status.uid_validity, gone, now)
        departed = set(gone)
        return {sighting.identity: sighting for uid, sighting in known.items() if uid not in departed}

    def _doubted(self, judgement: Judgement) -> Sighting | None:
        """Where we put it, if that is the folder for doubtful mail; whether it still lies there, its flags tell."""
        folder = self.account.unsure_folder
        if judgement.decision.verdict is not Verdict.UNSURE or folder is None:
            return None
        known = self._store.sighting_of(self.account.name, judgement.identity)
        return next((one for one in known if one.gone_at is None and one.ref.folder == folder), None)

    def _flags(self, refs: Sequence[MessageRef]) -> dict[MessageRef, frozenset[str]]:
        """Of those that are still there."""
        found: dict[MessageRef, frozenset[str]] = {}
        by_folder: defaultdict[tuple[FolderName, UidValidity], list[MessageRef]] = defaultdict(list)
        for ref in refs:
            by_folder[ref.folder, ref.uid_validity].append(ref)
        for group in by_folder.values():
            for start in range(0, len(group), 500):
                try:
                    there = self._session.locate(group[start : start + 500])
                except (FolderMissing, FolderRefused, FolderChanged):
                    break  # gone with the mail in it, or not ours to read now
                found |= {arrival.ref: arrival.flags for arrival in there}
        return found


# -- the first reading


@dataclass(frozen=True, slots=True)
class ReadingProgress:
    done: int
    total: int
    text: str
    finished: bool = False


READ = {Place.JUNK: 1000, Place.INBOX: 1000, Place.KEPT: 2000}
"""Mails that the first reading takes from folders of one kind, in the order in which it begins."""
READ_PER_FOLDER = 1000
READ_FOLDERS = 100
"""Folders of one kind: opening each takes some time, and they share what is read."""
READ_SENT = 2000
READ_CHUNK = 25
FOLDER_WEIGHT = 0.7
SCORED_APART = 10_000
"""Labels that are looked through for mail to be scored apart: twice what the instant head holds."""


class FirstReading:
    """Learns from folders that were there before us: Junk as spam, kept folders as good mail, newest first.

    The inbox says little: only what was answered or flagged counts whole, what was read counts weakly, what
    was not opened counts nothing. Bounded, resumable (each chunk is written down), and never sets \\Seen.
    At the end each mail is scored by what the others taught, so that reading is also the first proof.
    """

    def __init__(
        self,
        session: MailSession,
        store: Store,
        scorer: Scorer,
        account: Account,
        *,
        clock: Callable[[], float] = time.time,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._session = session
        self._store = store
        self._scorer = scorer
        self._account = account
        self._clock = clock
        self._stop = stop
        self._key = f"reading:{account.name}"

    def run(self, tell: Callable[[ReadingProgress], None] = lambda _: None) -> ReadingProgress:
        """Read on where the last one stopped, until done or told to stop."""
        self._session.begin_bulk()
        state = self._load()
        plan = self._plan()
        total = sum(len(uids) for _, _, uids in plan)
        started, begun, done = self._clock(), state.count, state.count
        for status, place, chunk in _in_turn(
            [(status, place, state.remaining(status, uids)) for status, place, uids in plan]
        ):
            if self._stop():
                return ReadingProgress(done, max(total, done), "Stopped; it goes on from here next time.")
            with contextlib.suppress(FolderMissing, FolderRefused):  # gone or locked meanwhile: the others
                self._read_chunk(status, place, chunk)
            done += len(chunk)
            state.advance(status, chunk[-1], done)
            self._save(state)
            text = self._time_left(started, done - begun, total - done)
            tell(ReadingProgress(done, max(total, done), text))
        self._read_sent()
        tell(ReadingProgress(done, max(total, done), "Finding out how much of it I would have known."))
        score_apart(self._store, self._scorer, self._account, self._clock())
        state.finished = True
        self._save(state)
        text = f"{done} mails read." if done else "There was nothing to read."
        progress = ReadingProgress(done, max(total, done), text, finished=True)
        tell(progress)
        return progress

    def _plan(self) -> list[tuple[FolderStatus, Place, list[Uid]]]:
        """Folders and their newest UIDs, descending, within the bounds. Where there are many, each has its share: in one for
        each year, the years that come first by name would be all that is read.
        """
        found = places(self._session.folders(), self._session.junk_folder(), self._account)
        statuses = self._session.statuses([name for name, place in found.items() if place in READ])
        plan: list[tuple[FolderStatus, Place, list[Uid]]] = []
        for place, left in READ.items():
            some = [one for one in statuses if found[one.folder] is place and one.messages]
            some = sorted(some, key=lambda one: one.messages)[-READ_FOLDERS:]
            for number, status in enumerate(some):
                share = min(READ_PER_FOLDER, left // (len(some) - number))
                with contextlib.suppress(FolderMissing, FolderRefused):
                    uids = list(self._session.uids(status.folder))[-share:]
                    left -= len(uids)
                    plan.append((status, place, uids[::-1]))
        return plan

    def _read_chunk(self, status: FolderStatus, place: Place, uids: Sequence[Uid]) -> None:
        refs = [MessageRef(status.folder, status.uid_validity, uid) for uid in uids]
        wanted = self._wanted(self._session.locate(refs), place)
        label = Label.SPAM if place is Place.JUNK else Label.HAM
        read: list[tuple[FetchedMail, Judgement, bytes, LabelRecord]] = []
        try:
            for mail in self._session.fetch([ref for ref in refs if ref in wanted], FETCH_LIMIT):
                try:
                    read.append(self._learn(mail, label, wanted[mail.arrival.ref]))
                except Exception:
                    log.exception("%s: a mail could not be read", self._account.name)
        finally:
            # Also when the connection broke: what was taught is written down, and not scored again as if it
            # had not been. One commit for a chunk: a slow disk would make it a long evening.
            with self._store.transaction():
                for mail, judgement, packed, record in read:
                    self._write(mail, judgement, packed, record)

    def _wanted(self, arrivals: Sequence[Arrival], place: Place) -> dict[MessageRef, float]:
        """Those whose folder says something, or of which something was said that could not be learned yet (an imported
        ledger); with the folder's weight. Read once more when the filter has worked for a while, Junk holds what we put
        there, and the inbox what we left there: our own verdicts, not the person's.
        """
        name = self._account.name
        wanted: dict[MessageRef, float] = {}
        past = self._store.past_of(name, [arrival.identity for arrival in arrivals])
        for arrival in arrivals:
            identity, weight = arrival.identity, self._weight(arrival, place)
            if self._store.label_of(name, identity) is not None:
                if self._store.vector_of(name, identity) is None:
                    wanted[arrival.ref] = FOLDER_WEIGHT
                continue
            ours = place is Place.JUNK and identity in past and past[identity].moved
            if weight == silence.LEFT:
                judged = self._store.judgement_of(name, identity)
                ours = judged is not None and judged.decision.reason != "before"
            if weight > 0 and not ours:
                wanted[arrival.ref] = weight
        return wanted

    def _learn(
        self, mail: FetchedMail, label: Label, weight: float
    ) -> tuple[FetchedMail, Judgement, bytes, LabelRecord]:
        """Score it, then teach it. What was said of the mail before goes before its folder."""
        said = self._store.label_of(self._account.name, mail.arrival.identity)
        label = label if said is None else said.label
        judgement, packed, record = read_in_folder(
            self._account, self._scorer, mail, label, weight, self._clock()
        )
        self._teach(packed, record)
        return mail, judgement, packed, record

    def _write(self, mail: FetchedMail, judgement: Judgement, packed: bytes, record: LabelRecord) -> None:
        name, identity = self._account.name, mail.arrival.identity
        if self._store.judgement_of(name, identity) is None:
            sighting = sighting_of(self._account, mail.arrival, record.at)
            self._store.record_judgement(judgement, vector=packed, sighting=sighting)
        else:
            self._store.put_vector(name, identity, packed)
        stored = self._store.label_of(name, identity) or self._store.add_label(record)
        if stored.source is not LabelSource.FOLDER:
            self._teach(packed, stored)  # the person spoke meanwhile, or on another computer

    def _teach(self, packed: bytes, record: LabelRecord) -> None:
        if teaches(record):
            self._scorer.teach(vector.unpack(packed), record.identity, record.label, record.weight, record.at)

    def _weight(self, arrival: Arrival, place: Place) -> float:
        flags = {flag.lower() for flag in arrival.flags}
        if "\\deleted" in flags or "\\draft" in flags:
            return 0.0
        if place is not Place.INBOX:
            return FOLDER_WEIGHT
        if flags & {"\\answered", "\\flagged"}:
            return FOLDER_WEIGHT
        old = arrival.internal_date < self._clock() - silence.AFTER
        return silence.LEFT if "\\seen" in flags and old else 0.0

    def _read_sent(self) -> None:
        """Whom the person has written to: evidence, never taught."""
        for folder in sent_folders(self._session):
            with contextlib.suppress(FolderMissing, FolderRefused):
                uids = list(self._session.uids(folder))[-READ_SENT:]
                for start in range(0, len(uids), 200):
                    if self._stop():
                        break
                    some = uids[start : start + 200]
                    add_recipients(self._session, self._store, self._account, folder, some, self._clock())

    def _time_left(self, started: float, done: int, left: int) -> str:
        if left <= 0 or done <= 0:
            return f"{done} mails read."
        seconds = (self._clock() - started) / done * left
        about = f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{max(1, round(seconds))} seconds"
        return f"{left} mails to go, about {about}."

    def _load(self) -> _ReadingState:
        try:
            raw = json.loads(self._store.state(self._key) or "{}")
            if raw.get("finished"):
                raw = {}
            folders = {str(name): [int(part) for part in row] for name, row in raw.get("folders", {}).items()}
            return _ReadingState(folders, int(raw.get("count", 0)))
        except (ValueError, AttributeError, TypeError):
            return _ReadingState()

    def _save(self, state: _ReadingState) -> None:
        self._store.set_state(
            self._key,
            json.dumps({"folders": state.folders, "count": state.count, "finished": state.finished}),
        )


def _in_turn(
    plan: Sequence[tuple[FolderStatus, Place, Sequence[Uid]]],
) -> Iterator[tuple[FolderStatus, Place, Sequence[Uid]]]:
    """A chunk of each folder in turn: who learns only spam first takes all mail for spam."""
    longest = max((len(uids) for _, _, uids in plan), default=0)
    for start in range(0, longest, READ_CHUNK):
        for status, place, uids in plan:
            if chunk := uids[start : start + READ_CHUNK]:
                yield status, place, chunk


@dataclass(slots=True)
class _ReadingState:
    """How far each folder was read: [UIDVALIDITY, lowest UID done]."""

    folders: dict[str, list[int]] = field(default_factory=dict)
    count: int = 0
    finished: bool = False

    def remaining(self, status: FolderStatus, uids: Sequence[Uid]) -> list[Uid]:
        validity, lowest = self.folders.get(status.folder, (0, 0))
        if validity != status.uid_validity:
            return list(uids)
        return [uid for uid in uids if uid < lowest]

    def advance(self, status: FolderStatus, lowest: Uid, count: int) -> None:
        self.folders[status.folder] = [status.uid_validity, lowest]
        self.count = count


def reading_unfinished(store: Store, account: Account) -> bool:
    """Was a first reading begun and not ended?"""
    try:
        raw = json.loads(store.state(f"reading:{account.name}") or "{}")
    except ValueError:
        return False
    return bool(raw) and not raw.get("finished", False)


# -- how far the model may be trusted


def score_apart(store: Store, scorer: Scorer, account: Account, now: float) -> int:
    """Score what was read in folders, and learned, as if it had not been: by what all the rest teaches. How many mails.

    Only mail that no night has learned: the night scores it anew in the same way (`spamd.training.apart`).
    """
    rows = list(store.training_set(until=now, limit=SCORED_APART, account=account.name))
    mails: list[tuple[Identity, vector.StoredVector, Label]] = []
    for record, packed in reversed(rows):
        if record.source is LabelSource.FOLDER and record.at > scorer.card.known_until:
            with contextlib.suppress(SpamdError, ValueError):  # of an older recipe
                mails.append((record.identity, vector.unpack(packed), record.label))
    if len(mails) >= evidence.SUGGEST_HAM:
        scores = scorer.apart(mails)
        store.rescore({(account.name, identity): score for identity, score in scores.items()})
    return len(mails)


OF_A_NEWER_MODEL = (
    "That was seen of a newer model, which does not serve any more; the next night shows it of this one."
)


def assess_account(store: Store, scorer: Scorer, account: Account, now: float) -> Evidence:
    """The evidence of one account as the ledger has it now."""
    ours = {record.identity for record in store.moves(account.name, kind=MoveKind.JUNK, limit=100_000)}
    recent = store.labels(account.name, since=now - evidence.RESCUES_WINDOW)
    rescues = [
        record.at
        for record in recent
        if record.label is Label.HAM and record.source is not LabelSource.IMPLICIT and record.identity in ours
    ]
    found = evidence.assess(
        store.evidence_points(account.name),
        account.promise,
        now,
        shipped_threshold=scorer.card.junk_threshold,
        said=account.mode,
        rescues=rescues,
    )
    if found.expected_ham_error is not None and scorer.gone_back():
        found = replace(found, explanation=f"{found.explanation} {OF_A_NEWER_MODEL}")
    span = (now - silence.WINDOW, now - silence.AFTER)
    habit = silence.habit_at(now, store.stayed(account.name, *span))
    if habit.share is None:
        return found
    return replace(found, told=calibration.calibration(store.became(account.name, *span), habit))


def teaches(record: LabelRecord) -> bool:
    """Does this label move the instant head? Silence never does; what was only read in the inbox does not."""
    weak_folder = record.source is LabelSource.FOLDER and record.weight < evidence.SURE_WEIGHT
    return not record.held and record.source is not LabelSource.IMPLICIT and not weak_folder


def lessons(
    store: Store, now: float, limit: int
) -> Iterator[tuple[Identity, vector.StoredVector, Label, float, float]]:
    """What the ledger teaches, for `Scorer.rebuild`. Vectors of an older recipe are left out."""
    for record, packed in store.training_set(until=now, limit=limit):
        if not teaches(record):
            continue
        try:
            yield record.identity, vector.unpack(packed), record.label, record.weight, record.at
        except (SpamdError, ValueError):
            continue


# -- values


def places(folders: Sequence[Folder], junk: FolderName | None, account: Account) -> dict[FolderName, Place]:
    """What each selectable folder means for this account."""
    found: dict[FolderName, Place] = {}
    for folder in folders:
        if not folder.selectable:
            continue
        place = _PLACES.get(folder.role, Place.KEPT)
        if folder.name.upper() == "INBOX":
            place = Place.INBOX
        elif junk is not None and (
            folder.name == junk or (folder.separator and folder.name.startswith(junk + folder.separator))
        ):
            place = Place.JUNK
        elif folder.name == account.unsure_folder:
            place = Place.UNSURE
        elif folder.name in (account.doubt_label, account.gmail_label.strip()):
            # What we marked there says nothing, also before a folder for doubtful mail took the label's place.
            place = Place.OTHER
        found[folder.name] = place
    return found


def sighting_of(account: Account, arrival: Arrival, at: float) -> Sighting:
    return Sighting(
        account.name,
        arrival.ref,
        arrival.identity,
        words_of(arrival.flags),
        at,
        None,
        arrival.message_id,
        arrival.size,
        arrival.internal_date,
    )


@functools.lru_cache(maxsize=256)  # most mail has the same few: one set, not one for each
def words_of(flags: frozenset[str]) -> frozenset[str]:
    """The keywords among flags."""
    return frozenset(flag for flag in flags if not flag.startswith("\\"))


def read_known_mail(
    account: Account, scorer: Scorer, mail: FetchedMail, label: Label, now: float, explanation: str
) -> tuple[Judgement, bytes]:
    """A mail that was there before us, scored before it is learned.

    Its verdict is what its label says: it was never ours to judge, so it may not count as our error.
    Its judgement bears the mail's own date.
    """
    features = vector.vectorise(mail.raw)
    score: Score = scorer.score(features, arrived=False)
    at = min(mail.arrival.internal_date or now, now)
    judgement = Judgement(
        id=0,
        account=account.name,
        identity=mail.arrival.identity,
        at=at,
        score=score,
        decision=Decision(
            Verdict.JUNK if label is Label.SPAM else Verdict.KEEP, False, "before", explanation
        ),
        sender=features.sender,
        subject=features.subject,
        snippet=features.snippet,
        sender_domain=features.sender_domain,
        link_hosts=features.link_hosts,
        folder=mail.arrival.ref.folder,
        sender_proof=features.sender_proof,
    )
    return judgement, vector.pack(features)


def read_in_folder(
    account: Account, scorer: Scorer, mail: FetchedMail, label: Label, weight: float, now: float
) -> tuple[Judgement, bytes, LabelRecord]:
    """A mail that lies in a folder, as the first reading takes it: its label follows from the folder. One that contradicts
    its folder is held for the person to look at.
    """
    judgement, packed = read_known_mail(account, scorer, mail, label, now, "Read with its folder.")
    logit = judgement.score.logit
    record = LabelRecord(
        account=account.name,
        identity=mail.arrival.identity,
        label=label,
        source=LabelSource.FOLDER,
        weight=weight,
        at=now,
        model_id=judgement.score.model_id,
        note=mail.arrival.ref.folder,
        held=abs(logit) > CONTRADICTION and (logit > 0) is (label is Label.HAM),
    )
    return judgement, packed, record


def sent_folders(session: MailSession) -> list[FolderName]:
    return [folder.name for folder in session.folders() if folder.role == "sent" and folder.selectable]


def add_recipients(
    session: MailSession,
    store: Store,
    account: Account,
    folder: FolderName,
    uids: Sequence[Uid],
    now: float,
) -> None:
    """To whom these were sent."""
    found: set[str] = set()
    for header in session.headers(folder, uids, ("To", "Cc")).values():
        found |= recipients(header)
    store.add_contacts(account.name, sorted(found), now)


def _renumbered(cursor: FolderCursor, status: FolderStatus) -> bool:
    return cursor.uid_validity != status.uid_validity


def recipients(header: bytes) -> set[str]:
    """Addresses of To and Cc lines, lower case. Never raises."""
    text = re.sub(r"\r?\n[ \t]", " ", header.decode("utf-8", "replace"))
    values = [line.partition(":")[2] for line in text.split("\n") if ":" in line]
    found = set()
    try:
        for _, address in email.utils.getaddresses(values):
            address = address.strip().lower()
            if address.count("@") == 1 and len(address) <= 254 and " " not in address:
                found.add(address)
    except (ValueError, IndexError, RecursionError):  # comments in comments, a thousand deep
        return set()
    return found


def _told_by(flags: frozenset[str] | None, why: str) -> str | None:
    """What the silence about a mail tells, by its flags (None: it is not there any more), or by why it is where it is."""
    if flags is None:
        return None  # deleted, or taken elsewhere: no word at all
    lower = {flag.lower() for flag in flags}
    if "\\deleted" in lower:
        return None
    if why:
        return why
    if lower & {"\\answered", "\\flagged"}:
        return silence.ANSWERED
    return silence.OPENED if "\\seen" in lower else None


def _sender_day(judgement: Judgement) -> tuple[str, int]:
    return judgement.sender or judgement.sender_domain or judgement.identity, int(judgement.at // DAY)


def _changed(change: _Change) -> bool:
    status, cursor = change.status, change.cursor
    if cursor is None or change.reset:
        return True
    if (status.uid_next, status.messages) != (cursor.uid_next, cursor.messages):
        return True
    if status.highest_modseq is None or cursor.highest_modseq is None:
        return True
    return status.highest_modseq != cursor.highest_modseq


def _cursor(account: Account, status: FolderStatus, held_back: Iterable[MessageRef]) -> FolderCursor:
    """How far the folder is read; not beyond mail that must still wait."""
    uids = [ref.uid for ref in held_back if ref.folder == status.folder]
    first = min([status.uid_next, *uids])
    return FolderCursor(
        account.name, status.folder, status.uid_validity, first, status.highest_modseq, status.messages
    )


def _ref(row: Mapping[str, object]) -> MessageRef:
    return MessageRef(
        FolderName(str(row["folder"])), UidValidity(int(str(row["uid_validity"]))), Uid(int(str(row["uid"])))
    )
