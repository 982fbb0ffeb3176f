"""What the person did, read off what lies where: sightings before and after, and our own journal -> labels.

Arrival-driven: a new UID in a folder is compared with where that mail (by identity) was known before. No
VANISHED is needed; one STATUS per folder says whether anything came. The rules, in the order they are
applied to each arrival:

- our own journal has a move to that folder for that mail: it is ours, no label;
- the mail is not known elsewhere: in the inbox it is new; in Junk a server filter put it there (or it was
  moved while nobody watched): no label;
- it is known elsewhere: *pending*, until the old UID is gone. A copy is not a move. One arrival pairs with
  one departure, so that mail that exists twice counts right;
- the old UID is gone and the new one alive: from the inbox (or any kept folder) to Junk is spam; from Junk
  to the inbox or any other kept folder is ham. Trash is never a label in either direction: people delete
  wanted mail;
- another daemon on the same mailbox signs what it moves by itself (MOVED_KEYWORD). The sign travels with the mail and
  stays on it. From the inbox (or by way of it) to Junk *with a new sign* is that daemon's doing: no label. A sign that
  was there before says nothing: the person took the mail out of Junk and now drags it back. A signed mail that comes to the
  inbox was taken out of Junk by the person, also where nobody here saw it go in: ham;
- where a folder has no room for further keywords (Cyrus: 100), a move of another daemon may be signed only afterwards, or
  never. What left such an inbox for Junk without a sign waits some seconds for it (`Pending.unsigned`), and where another
  daemon is known to work on the mailbox it is no label at all;
- a folder whose UIDVALIDITY changed says nothing in that pass about mail that was known in itself.

Identities are not equally good. X-GUID and X-GM-MSGID name one delivery. EMAILID may be a hash of the content
(Cyrus), and so is our own fallback: a byte-identical twin has the same one. There a pair must also share
INTERNALDATE (kept by MOVE and COPY, new for every delivery), and a twin that stays behind when Junk is
emptied is not a rescue.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from spamd.domain import (
    MOVED_KEYWORD,
    MOVING_KEYWORD,
    RETURNED_KEYWORD,
    STAMPED_KEYWORD,
    FolderName,
    FolderStatus,
    Identity,
    Label,
    LabelRecord,
    LabelSource,
    MessageRef,
    MoveRecord,
    MoveState,
    Sighting,
)

FLOOD = 200
"""More labels than this in one pass are no person's corrections."""
SUDDENLY = 20
"""A folder that loses all of at least this many mails to another at once is asked about."""
AT_ONCE = "very many at once"
"""At the end of the note of a label that is held for that: not for what it says."""
PENDING_LIFE = 7 * 86400.0
"""A copy whose original is still there after a week is a copy (seconds)."""
GONE_LATELY = 900.0
"""STATUS of two folders is not one moment: a departure seen a pass earlier still pairs (seconds)."""
TWIN_SECONDS = 90.0
"""Two mails of one identity that came within this time, one to Junk and one to the inbox, were delivered so."""
SIGN_SECONDS = 5.0
"""How long a sign that could not be set before the move is waited for."""
LOCK_SECONDS = 120.0
"""How long a mail under another daemon's lock is looked at every few seconds; after that with other changes only."""
DRAG_WEIGHT = 1.0
KEYWORD_WEIGHT = 0.7
HINT_WEIGHT = 0.3


class Place(enum.StrEnum):
    """What a folder means for corrections."""

    INBOX = "inbox"
    JUNK = "junk"  # the junk folder and everything below it
    UNSURE = "unsure"  # the person's folder for doubtful mail
    TRASH = "trash"
    KEPT = "kept"  # archive and any other folder
    OTHER = "other"  # sent, drafts, outbox, "all mail": says nothing


_MEANING: Mapping[tuple[Place, Place], Label] = {
    (Place.INBOX, Place.JUNK): Label.SPAM,
    (Place.KEPT, Place.JUNK): Label.SPAM,
    (Place.UNSURE, Place.JUNK): Label.SPAM,
    (Place.JUNK, Place.INBOX): Label.HAM,
    (Place.JUNK, Place.KEPT): Label.HAM,
    (Place.UNSURE, Place.INBOX): Label.HAM,
    (Place.UNSURE, Place.KEPT): Label.HAM,
}


@dataclass(frozen=True, slots=True)
class Pending:
    """A second copy was seen; the first was still there. unsigned: it is gone, and by whom must be seen yet.

    old is new: it lies in the inbox under another daemon's lock. Is it about to be moved, or was it, and the person has
    taken it back before the lock was off?
    """

    identity: Identity
    old: MessageRef
    new: MessageRef
    since: float
    unsigned: bool = False


@dataclass(frozen=True, slots=True)
class KeywordChange:
    """A mail already known, whose keywords are others now."""

    sighting: Sighting  # with the keywords as last known, our own stamps included
    now: frozenset[str]


@dataclass(frozen=True, slots=True)
class Correction:
    identity: Identity
    label: Label
    source: LabelSource
    weight: float
    ref: MessageRef  # where the mail is now
    old: MessageRef | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """What one pass found. held: why the corrections must be asked about instead of believed; "" if not."""

    corrections: tuple[Correction, ...] = ()
    pending: tuple[Pending, ...] = ()
    ours: tuple[Sighting, ...] = ()  # arrivals that our own moves explain
    new: tuple[Sighting, ...] = ()  # in the inbox, not known: to be judged
    filed: tuple[Sighting, ...] = ()  # in Junk, not known: a server filter, or moved while nobody watched
    departed: tuple[MessageRef, ...] = ()  # known to be gone
    others: int = 0  # moves of another daemon
    unclear: int = 0  # from the inbox to Junk, by the person or by another daemon that could not sign it
    held: str = ""


def keyword_label(keywords: Collection[str]) -> Label | None:
    """$Junk, Junk, JUNK -> spam; $NotJunk, NotJunk, NonJunk, ... -> ham; both or neither -> None."""
    plain = {keyword.lower().lstrip("$\\").replace("-", "").replace("_", "") for keyword in keywords}
    junk, good = "junk" in plain, bool(plain & {"notjunk", "nonjunk", "nojunk"})
    if junk == good:
        return None
    return Label.SPAM if junk else Label.HAM


def imported_note(record: LabelRecord) -> str:
    """The note of a word that is taken over: how the person said it there comes first. See `said_how`."""
    return record.note if record.source is LabelSource.IMPORT else f"{record.source.value}: {record.note}"


def said_how(record: LabelRecord) -> LabelSource:
    """How the person said it; of an imported word, on the computer where it was said, as far as that is known."""
    how = record.note.partition(":")[0] if record.source is LabelSource.IMPORT else ""
    return LabelSource(how) if how in set(LabelSource) else record.source


def signed(keywords: Collection[str]) -> bool:
    """Was the mail moved by a daemon, at some time? Together with the lock it is only being moved."""
    return held_or_signed(keywords) and not locked(keywords)


def locked(keywords: Collection[str]) -> bool:
    """Is some daemon moving it?"""
    return MOVING_KEYWORD.lower() in {keyword.lower() for keyword in keywords}


def held_or_signed(keywords: Collection[str]) -> bool:
    """Moved by a daemon at some time, or this moment: in the inbox it is not ours to move, whichever it is."""
    return MOVED_KEYWORD.lower() in {keyword.lower() for keyword in keywords}


def returned(keywords: Collection[str]) -> bool:
    """Was the mail put back by a daemon, at some time, without a word of the person's about it?"""
    return RETURNED_KEYWORD.lower() in {keyword.lower() for keyword in keywords}


def names_one_delivery(identity: Identity) -> bool:
    """Can two mails with the same bytes share this identity? Not where the server counts deliveries."""
    return identity.startswith(("guid:", "gmail:"))


def compare(
    arrivals: Sequence[Sighting],
    *,
    places: Mapping[FolderName, Place],
    known: Mapping[Identity, Sequence[Sighting]],
    alive: Collection[MessageRef],
    own: Sequence[MoveRecord] = (),
    pending: Sequence[Pending] = (),
    reset: Collection[FolderName] = (),
    consumed: Collection[MessageRef] = (),
    keywords: Sequence[KeywordChange] = (),
    statuses: Mapping[FolderName, FolderStatus] | None = None,
    emptied: Collection[FolderName] = (),
    crowded: Collection[FolderName] = (),
    flags: Mapping[MessageRef, Collection[str]] | None = None,
    shared: bool = False,
    now: float,
    flood: int = FLOOD,
) -> Findings:
    """One pass over what changed. Pure.

    arrivals: mails at references not known before. known: all earlier sightings of their identities (and of
    the pending ones'), gone or not. alive: of the earlier and the pending references those that are there
    now. own: journal rows that may explain arrivals. reset: folders whose UIDVALIDITY is new. consumed:
    departures that earlier passes have paired. statuses: the folders as they are now. emptied: folders from
    which all that was known is gone (new mail may be there already). crowded: folders that may have no room for the sign.
    flags: of the pending references that are there, as they are now. shared: another daemon is known to work on this mailbox.
    """
    pairing = _Pairing(
        places,
        known,
        set(alive),
        set(reset),
        set(consumed),
        statuses or {},
        now,
        set(emptied),
        own,
        set(crowded),
        flags or {},
        shared,
    )
    ours, rest = _split_own(arrivals, own)
    still: list[Pending] = []
    corrections: list[Correction] = []
    for wait in pending:
        resolved = pairing.resolve(wait)
        if isinstance(resolved, Correction):
            corrections.append(resolved)
        elif resolved is not None:
            still.append(resolved)
    new: list[Sighting] = []
    filed: list[Sighting] = []
    for arrival in rest:
        outcome = pairing.arrival(arrival)
        if isinstance(outcome, Correction):
            corrections.append(outcome)
        elif isinstance(outcome, Pending):
            still += [outcome] if all(wait.new != outcome.new for wait in still) else []
            if outcome.old == outcome.new and not pairing.earlier(arrival):
                new.append(arrival)  # to be judged all the same
        elif outcome is _UNKNOWN:
            place = places.get(arrival.ref.folder, Place.KEPT)
            if place is Place.INBOX:
                new.append(arrival)
            elif place is Place.JUNK:
                filed.append(arrival)
    spoken = {correction.identity for correction in corrections}
    corrections += [found for change in keywords if (found := _by_keyword(change, spoken)) is not None]
    return Findings(
        corrections=tuple(corrections),
        pending=tuple(still),
        ours=tuple(ours),
        new=tuple(new),
        filed=tuple(filed),
        departed=tuple(pairing.departed),
        others=pairing.others,
        unclear=pairing.unclear,
        held=_too_much(corrections, statuses or {}, flood),
    )


class _Unknown(enum.Enum):
    UNKNOWN = enum.auto()


_UNKNOWN = _Unknown.UNKNOWN


class _Pairing:
    """Which departure belongs to which arrival; every departure is used once."""

    def __init__(
        self,
        places: Mapping[FolderName, Place],
        known: Mapping[Identity, Sequence[Sighting]],
        alive: set[MessageRef],
        reset: set[FolderName],
        consumed: set[MessageRef],
        statuses: Mapping[FolderName, FolderStatus],
        now: float,
        emptied: set[FolderName],
        own: Sequence[MoveRecord],
        crowded: set[FolderName],
        flags: Mapping[MessageRef, Collection[str]],
        shared: bool,
    ) -> None:
        self._crowded = crowded
        self._flags = flags
        self._shared = shared
        self._ours = {(one.target, one.target_uid_validity, one.target_uid) for one in own}
        self._emptied_folders = emptied
        self._places = places
        self._known = known
        self._alive = alive
        self._reset = reset
        self._used = consumed
        self._statuses = statuses
        self._now = now
        self.departed: list[MessageRef] = []
        self.others = 0
        self.unclear = 0

    def earlier(self, arrival: Sighting) -> list[Sighting]:
        return [s for s in self._known.get(arrival.identity, ()) if s.ref != arrival.ref]

    def arrival(self, arrival: Sighting) -> Correction | Pending | _Unknown | None:
        """None: a known mail about which nothing is to be said."""
        earlier = self.earlier(arrival)
        candidates = [s for s in earlier if self._same_delivery(s, arrival)]
        if not candidates and self._taken_out(arrival, earlier):
            return self._rescued_unless_held(arrival)
        if not candidates:
            # A twin of known mail is new mail: it was delivered on its own.
            return None if earlier and arrival.ref.folder in self._reset else _UNKNOWN
        elsewhere = [s for s in candidates if s.ref.folder != arrival.ref.folder]
        if self._taken_out(arrival, earlier):
            return self._rescued_unless_held(arrival)
        if arrival.ref.folder in self._reset and any(s.ref.folder == arrival.ref.folder for s in candidates):
            return None  # the folder was made anew with the mail it had
        gone = [s for s in elsewhere if self._is_gone(s) and s.ref not in self._used]
        recently = [s for s in gone if s.gone_at is None or s.gone_at > self._now - GONE_LATELY]
        there = [s for s in elsewhere if s.ref in self._alive]
        if recently:
            # Seen at once, in the inbox and in Junk, while another daemon moved it: the sign says where it came from.
            came_out = signed(arrival.keywords)
            old = max(recently, key=lambda s: (s.gone_at is None, s.seen_at, self._in_junk(s) is came_out))
            if self._by_a_daemon(old, arrival):
                self.others += 1
                self._use(old.ref)
                return None
            if self._may_lack_the_sign(old.ref, arrival.ref):
                return Pending(arrival.identity, old.ref, arrival.ref, self._now, unsigned=True)
            return self._moved(old, arrival.ref)
        if any(self._by_a_daemon(old, arrival) for old in there):
            self.others += 1
            return None  # its copy; the original is about to go
        if there:
            old = max(there, key=lambda s: s.seen_at)
            return Pending(arrival.identity, old.ref, arrival.ref, self._now)
        return None

    def resolve(self, wait: Pending) -> Correction | Pending | None:
        if wait.old.folder in self._reset or wait.new.folder in self._reset:
            return None
        if wait.new not in self._alive or wait.old in self._used:
            return None
        if wait.old == wait.new:
            return self._unlocked(wait)
        if wait.old in self._alive:
            return wait if self._now - wait.since < PENDING_LIFE else None
        if not names_one_delivery(wait.identity) and self._emptied(wait.old.folder):
            self.departed.append(wait.old)
            return None
        old = next((s for s in self._known.get(wait.identity, ()) if s.ref == wait.old), None)
        if old is None:
            return None
        if self._delivered_twice(old, wait):
            self.departed.append(wait.old)
            return None
        if wait.unsigned or self._may_lack_the_sign(wait.old, wait.new):
            if held_or_signed(self._flags.get(wait.new, ())):
                self.others += 1
                self._use(wait.old)
                return None
            if not wait.unsigned:
                return replace(wait, since=self._now, unsigned=True)
            if 0 <= self._now - wait.since < SIGN_SECONDS:
                return wait
            if self._shared:
                self.unclear += 1
                self._use(wait.old)
                return None
        return self._moved(old, wait.new)

    def _in_junk(self, sighting: Sighting) -> bool:
        return self._places.get(sighting.ref.folder) in (Place.JUNK, Place.UNSURE)

    def _use(self, ref: MessageRef) -> None:
        """This departure is explained."""
        self._used.add(ref)
        self.departed.append(ref)

    def _may_lack_the_sign(self, old: MessageRef, new: MessageRef) -> bool:
        origin, target = (self._places.get(ref.folder, Place.KEPT) for ref in (old, new))
        return old.folder in self._crowded and origin is Place.INBOX and target in (Place.JUNK, Place.UNSURE)

    def _moved(self, old: Sighting, new: MessageRef) -> Correction | None:
        self._use(old.ref)
        if old.ref.folder in self._reset:
            return None
        origin = self._places.get(old.ref.folder, Place.KEPT)
        target = self._places.get(new.folder, Place.KEPT)
        label = _MEANING.get((origin, target))
        if label is None:
            return None
        note = f"{origin.value} to {target.value}"
        return Correction(old.identity, label, LabelSource.DRAG, DRAG_WEIGHT, new, old.ref, note)

    def _by_a_daemon(self, old: Sighting, new: Sighting) -> bool:
        """Did another daemon move it? They take mail from the inbox only, and sign it on the way; what they put back
        without a word of the person's about it, they sign as well. From another folder the person may have put it into the
        inbox, and the daemon was faster than our look.
        """
        origin, target = (self._places.get(s.ref.folder, Place.KEPT) for s in (old, new))
        if origin in (Place.JUNK, Place.UNSURE) and target is Place.INBOX:
            return returned(new.keywords) and not returned(old.keywords)
        return (
            held_or_signed(new.keywords)
            and origin in (Place.INBOX, Place.KEPT)
            and target in (Place.JUNK, Place.UNSURE)
            and not signed(old.keywords)
        )

    def _unlocked(self, wait: Pending) -> Correction | Pending | None:
        """The lock goes together with the sign if the mail was not moved, and alone if it was."""
        flags = self._flags.get(wait.new, ())
        if signed(flags):
            return self._rescued(wait.identity, wait.new)
        if not held_or_signed(flags) or not 0 <= self._now - wait.since < PENDING_LIFE:
            return None
        return replace(wait, unsigned=0 <= self._now - wait.since < LOCK_SECONDS)

    def _taken_out(self, arrival: Sighting, earlier: Sequence[Sighting]) -> bool:
        """Did the person take it out of Junk, where we never saw it? (Where we did, the departure says so.) Under a lock that
        may be so, too.
        """
        return (
            self._places.get(arrival.ref.folder) is Place.INBOX
            and arrival.ref.folder not in self._reset
            and held_or_signed(arrival.keywords)
            and not returned(arrival.keywords)
            and all(s.ref.folder == arrival.ref.folder and not signed(s.keywords) for s in earlier)
        )

    def _rescued_unless_held(self, arrival: Sighting) -> Correction | Pending:
        if locked(arrival.keywords):
            return Pending(arrival.identity, arrival.ref, arrival.ref, self._now, unsigned=True)
        return self._rescued(arrival.identity, arrival.ref)

    def _rescued(self, identity: Identity, ref: MessageRef) -> Correction:
        note = "out of junk, where another daemon had put it"
        return Correction(identity, Label.HAM, LabelSource.DRAG, DRAG_WEIGHT, ref, note=note)

    def _is_gone(self, sighting: Sighting) -> bool:
        return sighting.gone_at is not None or sighting.ref not in self._alive

    def _same_delivery(self, old: Sighting, new: Sighting) -> bool:
        if names_one_delivery(new.identity) or not old.internal_date or not new.internal_date:
            return True
        return abs(old.internal_date - new.internal_date) < 1.0

    def _delivered_twice(self, old: Sighting, wait: Pending) -> bool:
        """Where an identity does not name one delivery: is the mail in the inbox a twin of the one that was deleted
        from Junk, not a copy of it? A copy bears the sign of its original, and is made later.
        """
        origin, target = (self._places.get(ref.folder, Place.KEPT) for ref in (old.ref, wait.new))
        if names_one_delivery(wait.identity) or origin is not Place.JUNK or target is not Place.INBOX:
            return False
        new = next((s for s in self._known.get(wait.identity, ()) if s.ref == wait.new), None)
        if new is not None and signed(new.keywords):
            return False
        if (old.ref.folder, old.ref.uid_validity, old.ref.uid) in self._ours:
            return False  # it came to the inbox, and we moved it: the person takes it back, however soon
        return signed(old.keywords) or abs(wait.since - old.seen_at) < TWIN_SECONDS

    def _emptied(self, folder: FolderName) -> bool:
        status = self._statuses.get(folder)
        empty = folder in self._emptied_folders or (status is not None and status.messages == 0)
        return self._places.get(folder) is Place.JUNK and empty


def _split_own(
    arrivals: Sequence[Sighting], own: Sequence[MoveRecord]
) -> tuple[list[Sighting], list[Sighting]]:
    """Arrivals that our journal explains, and the others. A row without a target UID explains one arrival."""
    exact = {
        (record.target, record.target_uid_validity, record.target_uid)
        for record in own
        if record.target_uid is not None
    }
    loose: defaultdict[tuple[FolderName, Identity], list[MoveRecord]] = defaultdict(list)
    for record in own:
        if record.target_uid is None and record.state not in (MoveState.ABANDONED, MoveState.FAILED):
            loose[record.target, record.identity].append(record)
    ours: list[Sighting] = []
    rest: list[Sighting] = []
    for arrival in arrivals:
        ref = arrival.ref
        rows = loose.get((ref.folder, arrival.identity))
        if (ref.folder, ref.uid_validity, ref.uid) in exact:
            ours.append(arrival)
        elif rows and (rows[0].target_uid_next is None or ref.uid >= rows[0].target_uid_next):
            rows.pop(0)
            ours.append(arrival)
        else:
            rest.append(arrival)
    return ours, rest


def _by_keyword(change: KeywordChange, spoken: Collection[Identity]) -> Correction | None:
    """A newly set keyword. Where we had stamped the mail it is the person's.

    Else another filter may have set it.
    """
    before, now = keyword_label(change.sighting.keywords), keyword_label(change.now)
    if now is None or now is before or change.sighting.identity in spoken:
        return None
    if _stamped(change.now) and not _stamped(change.sighting.keywords):
        return None  # another daemon's verdict
    # Thunderbird sets its keyword before it takes ours off: seen in between, both are there, and neither counts.
    stamped = before is not None or _stamped(change.sighting.keywords)
    return Correction(
        change.sighting.identity,
        now,
        LabelSource.KEYWORD if stamped else LabelSource.HINT,
        KEYWORD_WEIGHT if stamped else HINT_WEIGHT,
        change.sighting.ref,
        note="keyword",
    )


def _stamped(keywords: Collection[str]) -> bool:
    """Keywords are case-insensitive, and a server may give them back in the case in which it first met them."""
    return STAMPED_KEYWORD.lower() in {keyword.lower() for keyword in keywords}


def _too_much(
    corrections: Sequence[Correction], statuses: Mapping[FolderName, FolderStatus], flood: int
) -> str:
    if len(corrections) > flood:
        return f"{len(corrections)} mails changed place or keyword at once; was that you, or a program?"
    origins: defaultdict[FolderName, int] = defaultdict(int)
    for correction in corrections:
        if correction.old is not None:
            origins[correction.old.folder] += 1
    for folder, number in origins.items():
        status = statuses.get(folder)
        if number >= SUDDENLY and status is not None and status.messages == 0:
            return f"All {number} mails left the folder {folder} at once; was that you, or a program?"
    return ""
