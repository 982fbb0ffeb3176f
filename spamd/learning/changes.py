"""What changed in one watched folder since its cursor: arrivals, keywords, departures. Reads, and judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from spamd.domain import Account, FolderCursor, FolderName, FolderStatus, Identity, MessageRef, Sighting, Uid
from spamd.errors import FolderChanged, FolderMissing, FolderRefused
from spamd.judgement import corrections
from spamd.judgement.corrections import KeywordChange, Place
from spamd.learning.places import Places, sighting_of, words_of
from spamd.source import MailSession

if TYPE_CHECKING:
    from spamd.store.database import Store

BASELINE = 5000
"""Mails per folder that are remembered when a folder is first seen."""
STEP = 500
"""Mails of a look that the store is asked about, and of a first look written down, at a time (half a MB). After so many new
ones in the inbox a look ends and the next one begins at once: memory does not grow with what waits, the person's drags are
seen in between, and the day's bytes are counted.
"""
BULK = 1000
"""Mails to be read for the first time from which the connection is worth compressing."""


@dataclass(slots=True)
class Change:
    """One folder in one look."""

    status: FolderStatus
    cursor: FolderCursor | None
    place: Place
    arrivals: list[Sighting] = field(default_factory=list)  # not known at that reference
    arrived: int = 0  # all, also those our own moves brought
    first_time: bool = False
    reset: bool = False
    cut: bool = False  # there is more, for the next look; the status says how far this one read

    @property
    def happened(self) -> bool:
        status, cursor = self.status, self.cursor
        if cursor is None or self.reset:
            return True
        if (status.uid_next, status.messages) != (cursor.uid_next, cursor.messages):
            return True
        if status.highest_modseq is None or cursor.highest_modseq is None:
            return True
        return status.highest_modseq != cursor.highest_modseq


@dataclass(frozen=True, slots=True)
class Departures:
    """What is not in Junk, or the folder for doubtful mail, any more."""

    refs: tuple[MessageRef, ...] = ()
    identities: frozenset[Identity] = frozenset()
    emptied: frozenset[FolderName] = frozenset()  # all that we knew there is gone


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look saw."""

    at: float
    statuses: Mapping[FolderName, FolderStatus]  # of all watched folders
    changes: Sequence[Change]  # of those in which something happened
    arrivals: Sequence[Sighting]  # in these, and what left Junk for elsewhere
    keywords: Sequence[KeywordChange]
    departures: Departures


class Changes:
    """The watched folders of one account."""

    def __init__(
        self,
        session: MailSession,
        store: Store,
        account: Account,
        places: Places,
        *,
        oldest_new: Callable[[], float],
    ) -> None:
        """oldest_new: at the first look at a folder, only mail that came after this is new."""
        self._session = session
        self._store = store
        self._account = account
        self._places = places
        self._oldest_new = oldest_new

    def since_cursor(self, status: FolderStatus) -> Change:
        cursor = self._store.cursor(self._account.name, status.folder)
        change = Change(status, cursor, self._places.of(status.folder) or Place.KEPT)
        change.first_time = cursor is None
        if cursor is not None and cursor.uid_validity != status.uid_validity:
            # Courier gives a folder its UIDVALIDITY when the first mail comes: until then it says the time of day.
            change.reset = cursor.messages > 0 or cursor.uid_next > 1
        return change

    def read(self, change: Change, now: float, *, whole: bool) -> None:
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
            known = self._store.sightings_of(self._account.name, [arrival.identity for arrival in step])
            for arrival in step:
                if arrival.ref.uid < first:
                    continue
                change.arrived += 1
                if any(sighting.ref == arrival.ref for sighting in known.get(arrival.identity, ())):
                    continue
                sighting = sighting_of(self._account, arrival, now)
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

    def departed(self, changes: Sequence[Change]) -> Departures:
        """What left Junk (or the folder for doubtful mail) in these.

        To be written down with what follows from it: if the connection breaks first, the next look asks again.
        """
        refs: list[MessageRef] = []
        identities: set[Identity] = set()
        emptied: set[FolderName] = set()
        for change in changes:
            cursor = change.cursor
            if change.place not in (Place.JUNK, Place.UNSURE) or cursor is None or change.reset:
                continue
            if cursor.messages + change.arrived <= change.status.messages:
                continue
            folder, validity = change.status.folder, change.status.uid_validity
            known = self._store.sightings(self._account.name, folder, validity)
            try:
                uids = self._session.departed(folder, validity, list(known), cursor.highest_modseq)
            except (FolderMissing, FolderRefused, FolderChanged):
                continue
            gone = [known[uid] for uid in uids]
            if gone and len(gone) == len(known):
                emptied.add(folder)
            refs += [sighting.ref for sighting in gone]
            identities |= {sighting.identity for sighting in gone}
        return Departures(tuple(refs), frozenset(identities), frozenset(emptied))

    def keywords(self, change: Change) -> list[KeywordChange]:
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
        known = self._store.sightings(self._account.name, status.folder, status.uid_validity)
        fresh = {sighting.ref.uid for sighting in change.arrivals}
        return [
            KeywordChange(known[uid], words)
            for uid, words in spoken.items()
            if uid in known and uid not in fresh and words_of(words) != known[uid].keywords
        ]

    def _indexed(self, status: FolderStatus) -> Uid:
        """How far a first look came that was cut off; 0: not at all."""
        text = self._store.state(self._indexed_key(status)) or ""
        validity, _, uid = text.partition(" ")
        if validity != str(status.uid_validity) or not uid.isdigit():
            return Uid(0)
        known = self._store.sightings(self._account.name, status.folder, status.uid_validity)
        return Uid(int(uid)) if Uid(int(uid)) in known else Uid(0)

    def _note_indexed(self, status: FolderStatus, old: Sequence[Sighting]) -> None:
        """A step of the first look is done for good: cut off, it goes on from here."""
        with self._store.transaction():
            self._store.add_sightings(old)
            self._store.set_state(self._indexed_key(status), f"{status.uid_validity} {old[-1].ref.uid}")

    def _indexed_key(self, status: FolderStatus) -> str:
        """The account's name comes last: so wiping the account finds it, and the folder's name goes with it."""
        return f"index:{status.folder}:{self._account.name}"
