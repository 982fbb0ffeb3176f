"""What silence tells: mail that was opened and left alone for days becomes weak evidence (judgement/silence.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from spamd.domain import (
    INBOX,
    Account,
    Identity,
    Judgement,
    Label,
    LabelRecord,
    LabelSource,
    MessageRef,
    Sighting,
    Verdict,
)
from spamd.errors import FolderChanged, FolderMissing, FolderRefused
from spamd.judgement import corrections, silence
from spamd.judgement.corrections import Place
from spamd.learning.elsewhere import Elsewhere
from spamd.learning.places import LOCATE_AT_ONCE, Places, by_folder
from spamd.source import MailSession

if TYPE_CHECKING:
    from spamd.store.database import Store

DAY = 86400.0
PAGE = 500
"""Judgements that are looked through at a time."""
KEPT_PER_SENDER = 3
KEPT_PER_DAY = 60
KEPT_AT_ONCE = 1000
"""Mails that silence tells something of and that are heard in one day; the others come with the next."""


class QuietMail:
    """Of one account."""

    def __init__(
        self,
        session: MailSession,
        store: Store,
        account: Account,
        places: Places,
        elsewhere: Elsewhere,
        clock: Callable[[], float],
    ) -> None:
        self._session = session
        self._store = store
        self._account = account
        self._places = places
        self._elsewhere = elsewhere
        self._clock = clock

    def keep(self) -> int:
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
        name = self._account.name
        here = self._still_here(now)
        self._elsewhere.look()
        counted = _Counted()
        wanted = self._wanted(here, counted, now)
        found = [
            _label(judgement, note, now)
            for judgement, note in wanted
            if counted.add(judgement)  # of every one, also of those that are too many
        ]
        left = [judgement.identity for judgement, note in wanted if note == silence.OPENED]
        with self._store.transaction():
            self._store.note_heard(name, [judgement.identity for judgement, _ in wanted], left, now)
            for record in found:
                self._store.add_label(record)
        return len(found)

    def _wanted(
        self, here: Mapping[Identity, Sighting], counted: _Counted, now: float
    ) -> list[tuple[Judgement, str]]:
        """Mails that nobody spoke of, newest first, and what each one's silence tells; what was heard before is counted."""
        wanted: list[tuple[Judgement, str]] = []
        before: int | None = None
        while len(wanted) < KEPT_AT_ONCE:
            page = self._store.judgements(
                account=self._account.name,
                since=now - silence.WINDOW,
                labelled=False,
                before_id=before,
                limit=PAGE,
            )
            asked = self._asked(page, here, counted, now)
            # What says nothing is asked about again every day, and must not keep older mail from being heard.
            flags = self._flags([sighting.ref for _, sighting, _ in asked])
            for judgement, sighting, why in asked:
                note = _told_by(flags.get(sighting.ref), why)
                if note is not None:
                    wanted.append((judgement, note))
            if len(page) < PAGE:
                break
            before = page[-1].id
        return wanted

    def _asked(
        self, page: Sequence[Judgement], here: Mapping[Identity, Sighting], counted: _Counted, now: float
    ) -> list[tuple[Judgement, Sighting, str]]:
        """Mails to ask the server about, where each lies, and why, where its flags do not say it."""
        asked: list[tuple[Judgement, Sighting, str]] = []
        known = self._store.spoken_or_heard(self._account.name, [judgement.identity for judgement in page])
        filed = self._filed(judgement.identity for judgement in page if judgement.identity not in known)
        for judgement in page:
            identity, long_ago = judgement.identity, judgement.at < now - silence.AFTER
            if identity in known:
                if known[identity] is LabelSource.IMPLICIT:
                    counted.add(judgement)
            elif judgement.decision.reason == "before":
                continue  # it was not judged when it came: only a label that was taken back told of it
            elif judgement.moved:
                if long_ago and (doubted := self._doubted(judgement)) is not None:
                    asked.append((judgement, doubted, silence.DOUBTED))
            elif identity in filed:
                asked.append((judgement, filed[identity], silence.FILED))
            elif identity in here and long_ago:
                asked.append((judgement, here[identity], ""))
        return asked

    def _filed(self, identities: Iterable[Identity]) -> dict[Identity, Sighting]:
        """Those that came to lie in another folder. What carries the sign may have been put there by another daemon (its
        folder for doubtful mail).
        """
        return {
            identity: sighting
            for identity, known in self._store.sightings_of(self._account.name, identities).items()
            for sighting in known
            if sighting.gone_at is None
            and self._places.of(sighting.ref.folder) is Place.KEPT
            and not corrections.signed(sighting.keywords)
        }

    def _still_here(self, now: float) -> dict[Identity, Sighting]:
        """The inbox as we know it; what is gone from it is marked so."""
        status = self._session.status(INBOX)
        known = self._store.sightings(self._account.name, INBOX, status.uid_validity)
        gone = self._session.departed(INBOX, status.uid_validity, list(known), None)
        self._store.mark_gone(self._account.name, INBOX, status.uid_validity, gone, now)
        departed = set(gone)
        return {sighting.identity: sighting for uid, sighting in known.items() if uid not in departed}

    def _doubted(self, judgement: Judgement) -> Sighting | None:
        """Where we put it, if that is the folder for doubtful mail; whether it still lies there, its flags tell."""
        folder = self._account.unsure_folder
        if judgement.decision.verdict is not Verdict.UNSURE or folder is None:
            return None
        known = self._store.sighting_of(self._account.name, judgement.identity)
        return next((one for one in known if one.gone_at is None and one.ref.folder == folder), None)

    def _flags(self, refs: Sequence[MessageRef]) -> dict[MessageRef, frozenset[str]]:
        """Of those that are still there."""
        found: dict[MessageRef, frozenset[str]] = {}
        for group in by_folder(refs).values():
            for start in range(0, len(group), LOCATE_AT_ONCE):
                try:
                    there = self._session.locate(group[start : start + LOCATE_AT_ONCE])
                except (FolderMissing, FolderRefused, FolderChanged):
                    break  # gone with the mail in it, or not ours to read now
                found |= {arrival.ref: arrival.flags for arrival in there}
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


class _Counted:
    """Mails whose silence was heard, by sender and by day."""

    def __init__(self) -> None:
        self._of_sender: Counter[tuple[str, int]] = Counter()
        self._of_day: Counter[int] = Counter()

    def add(self, judgement: Judgement) -> bool:
        """One more. False where that is too many, of its sender or for its day."""
        day = int(judgement.at // DAY)
        sender = judgement.sender or judgement.sender_domain or judgement.identity
        self._of_sender[sender, day] += 1
        self._of_day[day] += 1
        return self._of_sender[sender, day] <= KEPT_PER_SENDER and self._of_day[day] <= KEPT_PER_DAY


def _label(judgement: Judgement, note: str, now: float) -> LabelRecord:
    doubtful = judgement.decision.verdict is not Verdict.KEEP
    return LabelRecord(
        account=judgement.account,
        identity=judgement.identity,
        label=Label.HAM,
        source=LabelSource.IMPLICIT,
        weight=silence.lesson(silence.Habit(), judgement.score.probability, doubtful=doubtful, note=note),
        at=now,
        model_id=judgement.score.model_id,
        note=note,
    )
