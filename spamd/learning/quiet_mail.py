"""What silence tells: mail that was opened and left alone for days becomes weak evidence (judgement/silence.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
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
                limit=PAGE,
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
            if len(page) < PAGE:
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


def _sender_day(judgement: Judgement) -> tuple[str, int]:
    return judgement.sender or judgement.sender_domain or judgement.identity, int(judgement.at // DAY)
