"""The folders that nobody watches: known mail that came there, and what of it left Junk.

They are looked into once an hour, and when mail left Junk for somewhere.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from spamd.domain import (
    Account,
    Arrival,
    FolderCursor,
    FolderName,
    FolderStatus,
    Identity,
    MessageRef,
    Sighting,
    Uid,
)
from spamd.errors import FolderChanged, FolderMissing, FolderRefused
from spamd.judgement import corrections
from spamd.judgement.corrections import Place
from spamd.learning.places import Places, cursor_at, sighting_of
from spamd.source import MailSession

if TYPE_CHECKING:
    from spamd.store.database import Store

DAY = 86400.0
NEWEST = 500
"""Newest mails of another folder that are looked through for mail that left Junk."""
AT_ONCE = 50
"""Other folders that are asked about in one hour where each is a question of its own; the others follow in turn."""
COPY_SETTLED = 1800.0
"""A copy that lies beside its original in Junk for so many seconds is no move under way."""


class Elsewhere:
    """The folders of one account that are kept, and not watched."""

    def __init__(
        self,
        session: MailSession,
        store: Store,
        account: Account,
        places: Places,
        clock: Callable[[], float],
    ) -> None:
        self._session = session
        self._store = store
        self._account = account
        self._places = places
        self._clock = clock
        self._locked: list[Sighting] = []  # see taken_under_lock
        self._copies: dict[MessageRef, float] = {}  # of mail in Junk, beside their originals; since when

    def look(self) -> None:
        """What came to folders that are not watched: known mail is noted there. Once an hour is enough.

        What was copied out of Junk (or the folder for doubtful mail), and an hour later still lies there unmarked beside its
        copy, is not: when Junk is emptied some day, that copy is no rescue. COPY, mark and EXPUNGE is how many programs move,
        and a MOVE is seen from both sides for a moment.
        """
        cursors = {cursor.folder: cursor for cursor in self._store.cursors(self._account.name)}
        folders = self._places.kept()
        if not self._session.abilities.list_status and len(folders) > AT_ONCE:
            folders = self._in_turn(folders, cursors)
        _, renewed = self._found_in(folders, cursors, (), self._clock())
        for cursor in renewed:
            self._store.set_cursor(cursor)

    def find(self, lost: Collection[Identity], now: float) -> tuple[list[Sighting], list[FolderCursor]]:
        """Of mail that left Junk (or the folder for doubtful mail), what is alive here; and how far that was read."""
        cursors = {cursor.folder: cursor for cursor in self._store.cursors(self._account.name)}
        kept = self._places.kept()
        found, renewed = self._found_in(
            kept if lost else [name for name in kept if name not in cursors], cursors, lost, now
        )
        if not {sighting.identity for sighting in found}.issuperset(lost):
            # Perhaps in a folder that was made a moment ago.
            self._places.ask_again()
            new = [name for name in self._places.kept() if name not in kept]
            more, more_renewed = self._found_in(new, cursors, lost, now)
            found, renewed = found + more, renewed + more_renewed
        found += self._known_elsewhere(lost, {sighting.ref for sighting in found})
        return found, renewed

    def taken_under_lock(self) -> tuple[Sighting, ...]:
        """What came to folders that are not watched under a lock. Without CONDSTORE (Courier) the mover looks into none of
        them: a copy that the person made of ours in Junk kept its lock there.
        """
        locked, self._locked = tuple(self._locked), []
        return locked

    def _in_turn(
        self, folders: Sequence[FolderName], cursors: Mapping[FolderName, FolderCursor]
    ) -> list[FolderName]:
        """The next of these, and all that are new or hold what may be a copy. Also over restarts each has its turn."""
        key = f"elsewhere:{self._account.name}"
        last = self._store.state(key) or ""
        due = {name for name in folders if name not in cursors} | {ref.folder for ref in self._copies}
        known = sorted(name for name in folders if name not in due)
        after = bisect.bisect_right(known, last)
        turn = (known[after:] + known[:after])[:AT_ONCE]
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
        first_look = not any(name in cursors for name in self._places.kept())
        for status in self._session.statuses(folders) if folders else ():
            cursor = cursors.get(status.folder)
            # Made anew under its name, or renumbered: what was lost may have come there since.
            anew = cursor is not None and cursor.uid_validity != status.uid_validity
            then = cursor.uid_next if cursor is not None and not anew else Uid(1)
            first = Uid(max(then, status.uid_next - NEWEST))
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
                sighting = sighting_of(self._account, arrival, now)
                if corrections.locked(sighting.keywords):
                    self._locked.append(sighting)
                if arrival.identity in lost:
                    found.append(sighting)
                else:
                    others.append(arrival)
        waiting = self._note_known(others, now)
        return found, [cursor_at(self._account, status, waiting) for status in read]

    def _note_known(self, arrivals: Sequence[Arrival], now: float) -> list[MessageRef]:
        """Mail that we know, in a folder that is not watched: a later drag to Junk is then known to come from there.

        Returns what looks like a copy, and has not for long.
        """
        seen = self._store.sightings_of(self._account.name, [arrival.identity for arrival in arrivals])
        suspected = {
            sighting.ref: identity
            for identity, earlier in seen.items()
            for sighting in earlier
            if sighting.gone_at is None
            and self._places.of(sighting.ref.folder) in (Place.JUNK, Place.UNSURE)
            and not self._has_twin(identity)
        }
        there, _ = self._places.alive(suspected, {})
        copied = {
            suspected[ref]
            for ref, flags in there.items()
            if "\\deleted" not in {flag.lower() for flag in flags}
        }
        self._store.add_sightings(
            sighting_of(self._account, arrival, now)
            for arrival in arrivals
            if arrival.identity in seen and arrival.identity not in copied
        )
        refs = [arrival.ref for arrival in arrivals if arrival.identity in copied]
        self._copies = {ref: self._copies.get(ref, now) for ref in refs} | {
            ref: since for ref, since in self._copies.items() if since > now - DAY
        }
        return [ref for ref in refs if 0 <= now - self._copies[ref] < COPY_SETTLED]

    def _known_elsewhere(self, left: Collection[Identity], told: set[MessageRef]) -> list[Sighting]:
        """Of mails that left Junk, copies in other folders that were noticed before the departure was."""
        seen = [
            sighting
            for identity in left
            for sighting in self._store.sighting_of(self._account.name, identity)
            if sighting.gone_at is None
            and sighting.ref not in told
            and self._places.of(sighting.ref.folder) is Place.KEPT
            and not self._has_twin(identity)
        ]
        alive, _ = self._places.alive([sighting.ref for sighting in seen], {})
        return [sighting for sighting in seen if sighting.ref in alive]

    def _has_twin(self, identity: Identity) -> bool:
        """Where an id is one of the content: was a second mail of it delivered to the inbox? Then a copy in
        another folder is that one, and says nothing of the one in Junk.
        """
        if corrections.names_one_delivery(identity):
            return False
        ours = self._store.move_of(self._account.name, identity)
        return any(
            self._places.of(sighting.ref.folder) is Place.INBOX
            and (ours is None or sighting.ref != ours.source)
            for sighting in self._store.sighting_of(self._account.name, identity)
        )
