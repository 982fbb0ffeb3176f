"""The first reading: what the folders that were there before us teach."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spamd.domain import (
    Account,
    Arrival,
    FetchedMail,
    FolderStatus,
    Judgement,
    Label,
    LabelRecord,
    LabelSource,
    MessageRef,
    Uid,
)
from spamd.errors import FolderMissing, FolderRefused
from spamd.judgement import silence
from spamd.judgement.corrections import Place
from spamd.learning.contacts import read_sent_before
from spamd.learning.lessons import read_in_folder, teach
from spamd.learning.places import places, sighting_of
from spamd.learning.proof import score_apart
from spamd.source import MailSession

if TYPE_CHECKING:
    from spamd.model.scoring import Scorer
    from spamd.store.database import Store

log = logging.getLogger(__name__)

READ = {Place.JUNK: 1000, Place.INBOX: 1000, Place.KEPT: 2000}
"""Mails that the first reading takes from folders of one kind, in the order in which it begins."""
READ_PER_FOLDER = 1000
READ_FOLDERS = 100
"""Folders of one kind: opening each takes some time, and they share what is read."""
READ_CHUNK = 25
FOLDER_WEIGHT = 0.7


@dataclass(frozen=True, slots=True)
class ReadingProgress:
    done: int
    total: int
    text: str
    finished: bool = False


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
        read_sent_before(self._session, self._store, self._account, self._clock(), self._stop)
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
            for mail in self._session.fetch([ref for ref in refs if ref in wanted]):
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
        teach(self._scorer, packed, record)
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
            teach(self._scorer, packed, stored)  # the person spoke meanwhile, or on another computer

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


def reading_unfinished(store: Store, account: Account) -> bool:
    """Was a first reading begun and not ended?"""
    try:
        raw = json.loads(store.state(f"reading:{account.name}") or "{}")
    except ValueError:
        return False
    return bool(raw) and not raw.get("finished", False)


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
