"""A new mail: fetch, read, score, decide, write it down with the intent, move, write down what came of it.

One `Filter` serves one account and belongs to its worker's thread. What it must never do: judge one mail
twice, lose sight of a mail between deciding and moving (both are one transaction), or try a mail that breaks
it for ever.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from spamd.domain import (
    INBOX,
    MOVED_KEYWORD,
    OPEN_MOVES,
    STAMPED_KEYWORD,
    TRY_AGAIN,
    Account,
    Decision,
    Evidence,
    FetchedMail,
    FolderName,
    Identity,
    Judgement,
    Label,
    ListEntry,
    MessageRef,
    Mode,
    MoveKind,
    MoveRecord,
    MoveState,
    Past,
    Score,
    Sighting,
    Verdict,
)
from spamd.errors import (
    ConnectionLost,
    FolderChanged,
    FolderMissing,
    FolderRefused,
    MailboxError,
    ModelError,
    RequestError,
    ServerBusy,
    SignInError,
    StoreError,
)
from spamd.judgement import brake as brakes
from spamd.judgement import calibration
from spamd.judgement.corrections import held_or_signed, keyword_label, locked, signed
from spamd.judgement.policy import History, decide, effective_mode, match
from spamd.message import vector
from spamd.message.dense import authentication
from spamd.source import LabelSession, MailSession, Mover
from spamd.store.judgements import Entry
from spamd.store.labels import PERSON_SOURCES

if TYPE_CHECKING:
    from spamd.model.scoring import Scorer
    from spamd.store.database import Store

log = logging.getLogger(__name__)

BATCH = 64
"""Mails read, 12 kB each, before they are decided on, written down in one transaction, and moved: a tenth of a second."""
RETRY_FIRST = 30.0
"""Seconds after a refused move until it is tried again: most refusals (a lock, a busy server) are over by then. Four
times as long after each further one."""
RETRY_MOST = 3600.0
RETRY_HELD = 600.0
"""As long as nothing may be moved, or there is no Junk."""
RETRY_FOR = 86400.0
LOCK_LIFE = 86400.0
"""A lock of another daemon that is seen on a mail for so long (seconds) is nobody's: a move takes less than one."""
DEALT_WITH = frozenset({"\\answered", "\\flagged", "\\draft", "\\deleted"})
STAMPS = {Verdict.JUNK: "Junk", Verdict.KEEP: "NonJunk"}
OPPOSITE = {"Junk": ("NonJunk", "$NotJunk", "NotJunk"), "NonJunk": ("Junk", "$Junk")}
_NOTHING = Past()
Publish = Callable[[str, Mapping[str, object]], None]


def _silent(kind: str, data: Mapping[str, object]) -> None:
    """Nobody listens."""


@dataclass(slots=True)
class _Judged:
    """One mail on its way: judged, perhaps about to move."""

    judgement: Judgement
    ref: MessageRef
    intent: MoveRecord | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    """What one mail said; its text is let go."""

    sighting: Sighting
    flags: frozenset[str]
    head: bytes
    score: Score
    vector: vector.StoredVector
    address: str  # From, lower case
    authenticated: bool | None
    # For display:
    sender: str
    subject: str
    snippet: str
    sender_domain: str
    link_hosts: tuple[str, ...]
    sender_proof: str


@dataclass(frozen=True, slots=True)
class _Decided:
    """One mail that is decided on and not yet written down."""

    judgement: Judgement
    vector: vector.StoredVector
    intents: tuple[MoveRecord, ...]
    sighting: Sighting
    rule: str | None = None  # of the person's lists, that decided it
    label: FolderName | None = None  # to be put on it (Gmail)


class Filter:
    """Judges new mail of one account and moves what is to be moved."""

    def __init__(
        self,
        session: MailSession,
        mover: Mover,
        store: Store,
        scorer: Scorer,
        account: Account,
        *,
        evidence: Callable[[], Evidence],
        paused: Callable[[], bool] = lambda: False,
        publish: Publish = _silent,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._session = session
        self._mover = mover
        self._store = store
        self._scorer = scorer
        self.account = account
        self._evidence = evidence
        self._paused = paused
        self._publish = publish
        self._clock = clock
        self._junk: FolderName | None = None
        self._retry_at = 0.0
        self._open_until = math.inf  # moves that an odd answer has left open are ended then
        self._told: dict[str, float] = {}
        self._addresses = frozenset({account.user.lower()} if "@" in account.user else ())

    # -- judging

    def judge_all(self, arrivals: Sequence[Sighting]) -> None:
        """As `judge`, for any number, in memory that does not grow with it."""
        for _ in self._judging(arrivals):
            pass

    def judge(self, arrivals: Sequence[Sighting]) -> list[Judgement]:
        """Judge these new mails and carry out what is decided. Mails that are gone meanwhile are skipped.

        Raises MailboxError when the connection fails: what was read until then is recorded, the rest comes again
        with the next look.
        """
        return list(self._judging(arrivals))

    def _judging(self, arrivals: Sequence[Sighting]) -> Iterator[Judgement]:
        wanted = {sighting.ref: sighting for sighting in arrivals}
        read: list[_Read] = []
        try:
            for mail in self._session.fetch(list(wanted)):
                one = self._read(mail, wanted[mail.arrival.ref])
                if one is not None:
                    read.append(one)
                if len(read) >= BATCH:
                    ready, read = read, []
                    yield from self._deal_with(ready)
        except MailboxError:
            self._record(self._decide(read))
            raise
        yield from self._deal_with(read)

    def _deal_with(self, read: Sequence[_Read]) -> list[Judgement]:
        """Decide, record, then stamp and move. What goes need not wait for the marks of what stays: each is a question."""
        decided = self._decide(read)
        judged = self._record(decided)
        self._mark(one for one in decided if one.intents)
        told = self._carry_out(judged)
        self._mark(one for one in decided if not one.intents)
        return told

    def _mark(self, decided: Iterable[_Decided]) -> None:
        for one in decided:
            self._stamp(one.sighting, one.judgement.decision)
            if one.label is not None:
                self._put_label(one.sighting, one.label)

    def _read(self, mail: FetchedMail, sighting: Sighting) -> _Read | None:
        """None for a mail that cannot be read."""
        try:
            features = self._scorer.read(mail.raw)
            score = self._scorer.score(features)
        except (MailboxError, StoreError, ModelError):
            raise
        except Exception:
            # A mail that breaks the reader must not stop the others, nor come back with every look.
            log.exception("%s: a mail could not be read; it stays where it is", self.account.name)
            self._store.add_sightings([sighting])
            self._tell_once("unreadable", "A mail could not be read. It stays where it is.")
            return None
        return _Read(
            sighting=sighting,
            flags=mail.arrival.flags,
            head=header_of(mail.raw),
            score=score,
            vector=vector.StoredVector(
                features.base_ids, features.dense, features.personal_ids, features.fingerprint
            ),
            address=features.message.sender.lower(),
            authenticated=sender_proven(authentication(features.message)),
            sender=features.sender,
            subject=features.subject,
            snippet=features.snippet,
            sender_domain=features.sender_domain,
            link_hosts=features.link_hosts,
            sender_proof=features.sender_proof,
        )

    def _decide(self, read: Sequence[_Read]) -> list[_Decided]:
        """What is known besides is asked for all of them at once: whoever changes it in this tenth of a second is heard with
        the next mails.
        """
        decided: list[_Decided] = []
        if not read:
            return decided
        name = self.account.name
        past = self._store.past_of(name, [one.sighting.identity for one in read])
        contacts = self._store.contacts_among(name, {one.address for one in read if one.authenticated})
        contacts -= self._store.unwelcome(name, contacts)
        lists, held = self._store.list_entries(), self.brake()
        moving: set[Identity] = set()
        for one in read:
            identity = one.sighting.identity
            before = past.get(identity, _NOTHING)
            history = History(
                sender=one.address,
                rescued=before.rescued,
                said=before.said,
                moved_before=before.moved or identity in moving,
                contact=one.address in contacts,
                own=one.address in self._addresses,
                authenticated=one.authenticated,
            )
            decided.append(self._decide_one(one, history, lists, held))
            if decided[-1].intents:
                moving.add(identity)
                held = self.brake(len(moving))
        return decided

    def _decide_one(
        self, read: _Read, history: History, lists: Sequence[ListEntry], held: brakes.Brake
    ) -> _Decided:
        now = self._clock()
        decision = decide(
            read.score,
            evidence=self._evidence(),
            account=self._deciding(),
            history=history,
            lists=lists,
            brake=held,
            paused=self._paused(),
            now=now,
        )
        entry = match(lists, history.sender, now) if decision.reason in ("allowed", "blocked") else None
        if decision.move and {flag.lower() for flag in read.flags} & DEALT_WITH:
            decision = replace(
                decision,
                move=False,
                reason="dealt-with",
                explanation=f"{decision.explanation} But you have answered or starred it: it stays.",
            )
        if decision.move and held_or_signed(read.flags):
            # Also with the lock still on: it may just have been put back.
            why = (
                "it was in Junk before and you took it out: it stays."
                if signed(read.flags)
                else "another program is moving it this moment."
            )
            decision = replace(
                decision, move=False, reason="dealt-with", explanation=f"{decision.explanation} But {why}"
            )
        label = self._label_instead(decision)
        if label is not None:
            decision = replace(
                decision,
                move=False,
                explanation=f"{decision.explanation} It gets the label “{label}” and stays where it is.",
            )
        target = self._target(decision)
        if decision.move and target is None:
            decision = replace(
                decision,
                move=False,
                reason="no-folder",
                explanation=f"{decision.explanation} The account has no Junk folder.",
            )
            self._tell_once(
                "no-folder",
                "There is no Junk folder: make one, or name one.",
                needs_person=True,
            )
        judgement = Judgement(
            id=0,
            account=self.account.name,
            identity=read.sighting.identity,
            at=now,
            score=read.score,
            decision=decision,
            sender=read.sender,
            subject=read.subject,
            snippet=read.snippet,
            sender_domain=read.sender_domain,
            link_hosts=read.link_hosts,
            folder=read.sighting.ref.folder,
            sender_proof=read.sender_proof,
        )
        intents = () if target is None else (self._intent(judgement, read.sighting, target, read.head),)
        return _Decided(
            judgement,
            read.vector,
            intents,
            read.sighting,
            rule=entry.value if entry is not None else None,
            label=label,
        )

    def _record(self, decided: Sequence[_Decided]) -> list[_Judged]:
        """All of them in one transaction: each one costs a wait for the disk."""
        if not decided:
            return []
        entries = [
            Entry(one.judgement, vector.pack(one.vector), one.intents, one.sighting) for one in decided
        ]
        with self._store.transaction():
            for one in decided:
                if one.rule is not None:
                    self._store.touch_list_entry(one.rule, one.judgement.at)
            stored = self._store.record(entries)
        return [
            _Judged(judgement, one.sighting.ref, moves[0] if moves else None)
            for one, (judgement, moves) in zip(decided, stored, strict=True)
        ]

    def _label_instead(self, decision: Decision) -> FolderName | None:
        """Where a move to Junk tells the provider and the server has labels (Gmail): until the account filters, what is
        suspected gets a label, and so does what a list of the person's would have moved.
        """
        if not self._session.abilities.labels or decision.verdict is Verdict.KEEP:
            return None
        if self._paused() or self.account.paused or decision.reason in ("dealt-with", "once"):
            return None
        mode = effective_mode(self.account, self._evidence())
        if mode is Mode.SUGGESTING or (mode is Mode.LEARNING and decision.move):
            return self._deciding().doubt_label
        return None

    def _deciding(self) -> Account:
        """The account, as decisions take it. Where the folder for doubtful mail is Junk, or the inbox itself, there is
        none: what is not sure enough must not come to lie in Junk (and on Gmail be reported) under another name.
        """
        doubt = self.account.unsure_folder
        if doubt is None or doubt.lower() not in (INBOX.lower(), (self.junk_folder() or "").lower()):
            return self.account
        self._tell_once("doubt", f"Doubtful mail stays in the inbox: “{doubt}” is no folder of its own.")
        return replace(self.account, unsure_folder=None)

    def _put_label(self, sighting: Sighting, label: FolderName) -> None:
        """A mark that the person sees and can take off; where it is refused, the mail is only listed."""
        if not isinstance(self._session, LabelSession):
            return
        try:
            self._session.add_label(sighting.ref, label)
        except (ConnectionLost, ServerBusy, SignInError):
            raise
        except MailboxError as error:
            log.info("%s: a mail could not be labelled: %s", self.account.name, type(error).__name__)
            self._tell_once("label", f"A mail could not get the label “{label}”: {error.title}")

    def take_labels_off(self) -> int:
        """Off the mail in the inbox that the person has called good since; how many. One SEARCH where there is none."""
        label = self._deciding().doubt_label
        if label is None or not self._session.abilities.labels or not isinstance(self._session, LabelSession):
            return 0
        count = 0
        try:
            marked = self._session.labelled(INBOX, label)
            known = self._store.sightings(self.account.name, INBOX) if marked else {}
            for sighting in (known[uid] for uid in marked if uid in known):
                said = self._store.label_of(self.account.name, sighting.identity)
                if (
                    said is not None
                    and said.source in PERSON_SOURCES
                    and not said.held
                    and said.label is Label.HAM
                ):
                    count += self._session.remove_label(sighting.ref, label)
        except (ConnectionLost, ServerBusy, SignInError):
            raise
        except MailboxError as error:
            log.info("%s: labels were not taken off: %s", self.account.name, type(error).__name__)
        return count

    def _target(self, decision: Decision) -> FolderName | None:
        if not decision.move:
            return None
        if decision.verdict is Verdict.UNSURE:
            return self.account.unsure_folder
        return self.junk_folder()

    def junk_folder(self) -> FolderName | None:
        if self._junk is None:
            self._junk = self._session.junk_folder()
        return self._junk

    def _intent(
        self, judgement: Judgement, sighting: Sighting, target: FolderName, head: bytes
    ) -> MoveRecord:
        kind = MoveKind.UNSURE if judgement.decision.verdict is Verdict.UNSURE else MoveKind.JUNK
        return self._move_record(judgement, sighting, target, kind, header_digest(head))

    def _move_record(
        self,
        judgement: Judgement,
        sighting: Sighting,
        target: FolderName,
        kind: MoveKind,
        fingerprint: str = "",
    ) -> MoveRecord:
        now = self._clock()
        return MoveRecord(
            id=0,
            account=self.account.name,
            identity=sighting.identity,
            kind=kind,
            state=MoveState.INTENT,
            source=sighting.ref,
            target=target,
            target_uid_validity=None,
            target_uid_next=None,
            target_uid=None,
            message_id=sighting.message_id,
            size=sighting.size,
            fingerprint=fingerprint,
            created_at=now,
            changed_at=now,
            model_id=judgement.score.model_id,
        )

    def _stamp(self, sighting: Sighting, decision: Decision) -> None:
        """Write the verdict as a keyword, where the person wants it and the server keeps it."""
        keyword = STAMPS.get(decision.verdict)
        if not self.account.stamp or keyword is None or not self._session.abilities.keywords:
            return
        if STAMPED_KEYWORD.lower() in {word.lower() for word in sighting.keywords}:
            return  # by another daemon; two that disagree would look like a person who changes their mind
        try:
            stamped = self._session.add_keyword(
                sighting.ref, keyword, OPPOSITE[keyword], also=(STAMPED_KEYWORD,)
            )
        except (ConnectionLost, ServerBusy, SignInError):
            raise
        except MailboxError as error:  # a mark that is refused keeps no mail from being judged and moved
            log.info("%s: a mail could not be marked: %s", self.account.name, type(error).__name__)
            return
        if stamped:
            kept = {word for word in sighting.keywords if word not in OPPOSITE[keyword]}
            self._store.set_keywords(self.account.name, sighting.ref, kept | {keyword, STAMPED_KEYWORD})

    # -- moving

    def _carry_out(self, batch: Sequence[_Judged]) -> list[Judgement]:
        """Move what is to be moved, then tell of every mail in the batch."""
        moves: list[tuple[MoveRecord, MessageRef]] = []
        for judged in batch:
            if judged.intent is None:
                continue
            if self._good(judged.intent):  # the person was faster than we
                self._store.advance(
                    replace(
                        judged.intent,
                        state=MoveState.ABANDONED,
                        changed_at=self._clock(),
                        error="It is not wanted any more.",
                    )
                )
            else:
                moves.append((judged.intent, judged.ref))
        outcome: dict[Identity, MoveRecord] = {}
        if moves:
            for record in self._mover.move(moves):
                outcome[record.identity] = record
            self.finish(list(outcome.values()))
            self._set_right(list(outcome.values()))
        told: list[Judgement] = []
        for judged in batch:
            ended = outcome.get(judged.judgement.identity) if judged.intent is not None else None
            moved = ended is not None and ended.state is MoveState.DONE
            judgement = replace(judged.judgement, moved=True) if moved else judged.judgement
            told.append(judgement)
            self._publish(
                "verdict",
                {
                    "id": judgement.id,
                    "account": judgement.account,
                    "verdict": judgement.decision.verdict.value,
                    "moved": moved,
                    "reason": judgement.decision.reason,
                    "probability": round(
                        calibration.told(judgement.score.probability, self._evidence().told), 4
                    ),
                },
            )
        return told

    def finish(self, records: Sequence[MoveRecord]) -> None:
        """Bookkeeping after moves (ours, undone or recovered): who lies where now; what failed is told."""
        now = self._clock()
        done = [record for record in records if record.state is MoveState.DONE]
        if done:
            with self._store.transaction():
                for record in done:
                    self._arrived(record, now)
        for record in records:
            if record.state in OPEN_MOVES:
                self._open_until = now + RETRY_FIRST
            elif record.state is MoveState.ABANDONED:
                self._taken_back(record)
                if record.error in TRY_AGAIN:
                    self._retry_at = 0.0
            elif record.state is MoveState.FAILED:
                log.warning("%s: a move failed: %s", self.account.name, record.error)
                self._junk = None  # it may have another name by now
                self._retry_at = 0.0  # `again` reckons anew
                self._tell_once(
                    f"failed:{record.error}",
                    f"A mail could not be moved, it stays: {record.error}",
                )

    def _arrived(self, record: MoveRecord, now: float) -> None:
        source = record.source
        known = [
            sighting
            for sighting in self._store.sighting_of(self.account.name, record.identity)
            if sighting.ref == source
        ]
        self._store.mark_gone(self.account.name, source.folder, source.uid_validity, [source.uid], now)
        if record.target_uid is not None and record.target_uid_validity is not None:
            ref = MessageRef(record.target, record.target_uid_validity, record.target_uid)
            base = known[0] if known else None
            keywords = base.keywords if base else frozenset()
            if record.kind is MoveKind.UNDO:
                keywords |= {MOVED_KEYWORD}  # a later drag to Junk is the person's, not another daemon's move
            there = Sighting(
                self.account.name,
                ref,
                record.identity,
                keywords,
                now,
                None,
                record.message_id,
                record.size,
                base.internal_date if base else 0.0,
            )
            self._store.add_sightings([there])

    def _taken_back(self, record: MoveRecord) -> None:
        """A copy of ours that is no longer there must not look like a mail that the person took out of Junk."""
        for sighting in self._store.sighting_of(self.account.name, record.identity):
            ref = sighting.ref
            if sighting.gone_at is not None or ref.folder != record.target:
                continue
            try:
                there = self._session.locate([ref])
            except (FolderMissing, FolderRefused):
                continue
            if not there:  # long ago: no arrival is paired with it
                self._store.mark_gone(self.account.name, ref.folder, ref.uid_validity, [ref.uid], 0.0)

    def recover(self) -> list[MoveRecord]:
        """Bring intents that a crash left open to an end; not against what the person said since.

        Nothing is begun again that would not be begun now; what had happened to a mail that the person has
        called good meanwhile is put back.
        """
        records = list(self._mover.recover(self._still_wanted, self._asked_for))
        self.finish(records)
        self._set_right(records)
        self._stamp_late(records)
        self._stamp_what_stays()
        if self._store.open_moves(self.account.name):
            self._open_until = self._clock() + RETRY_FIRST
        return records

    def _stamp_late(self, records: Sequence[MoveRecord]) -> None:
        """A batch is decided on, marked and then moved: what ended in between was moved without its mark."""
        if not self.account.stamp:
            return
        for record in records:
            if record.state is not MoveState.DONE or record.kind is not MoveKind.JUNK or self._good(record):
                continue
            judgement = self._store.judgement_of(self.account.name, record.identity)
            if judgement is None or not judgement.decision.move:
                continue
            for sighting in self._store.sighting_of(self.account.name, record.identity):
                if (sighting.ref.folder, sighting.ref.uid) == (record.target, record.target_uid):
                    self._stamp(sighting, judgement.decision)

    def _stamp_what_stays(self) -> None:
        """Of the last batch that was judged: what ended in between was judged without its mark, and the person's "Junk" in a
        mail program would be a hint there, no word. Not where a mail program has marked it meanwhile.
        """
        if not self.account.stamp or not self._session.abilities.keywords:
            return
        decided: dict[MessageRef, tuple[Sighting, Decision]] = {}
        for judgement in self._store.judgements(account=self.account.name, limit=BATCH):
            decision = judgement.decision
            if (
                judgement.moved
                or judgement.label
                or decision.reason == "before"
                or decision.verdict not in STAMPS
            ):
                continue
            for sighting in self._store.sighting_of(self.account.name, judgement.identity):
                bare = STAMPED_KEYWORD.lower() not in {word.lower() for word in sighting.keywords}
                if bare and sighting.gone_at is None and sighting.ref.folder == judgement.folder:
                    decided[sighting.ref] = sighting, decision
        try:
            there = self._session.locate(list(decided)) if decided else ()
        except (FolderMissing, FolderChanged, FolderRefused):
            return
        for arrival in there:
            keywords = frozenset(flag for flag in arrival.flags if not flag.startswith("\\"))
            sighting, decision = decided[arrival.ref]
            if keyword_label(keywords) is None and not held_or_signed(keywords):
                self._stamp(replace(sighting, keywords=keywords), decision)

    def _set_right(self, records: Sequence[MoveRecord]) -> None:
        """Put back what the person called good while we moved it."""
        for record in records:
            if record.state is MoveState.DONE and record.kind is not MoveKind.UNDO and self._good(record):
                try:
                    self.put_back(record)
                except (ConnectionLost, ServerBusy, SignInError):
                    raise
                except MailboxError as error:
                    self._tell_once("back", f"A mail could not be put back: {error.title}")

    def _still_wanted(self, record: MoveRecord) -> bool:
        if record.kind is MoveKind.UNDO:
            return True
        if self._good(record):
            return False
        if self._asked_for(record):
            return True
        if self._paused() or self.account.paused:
            return False
        judgement = self._store.judgement_of(self.account.name, record.identity)
        by_list = judgement is not None and judgement.decision.reason == "blocked"
        if by_list and self.account.mode is None:
            return True
        mode = effective_mode(self.account, self._evidence())
        return mode is Mode.FILTERING or (mode is Mode.SUGGESTING and record.kind is MoveKind.UNSURE)

    def _asked_for(self, record: MoveRecord) -> bool:
        """Has the person said of this mail what this move says?"""
        if record.kind is MoveKind.UNDO:
            return self._good(record)
        label = self._store.label_of(self.account.name, record.identity)
        return (
            label is not None
            and label.source in PERSON_SOURCES
            and not label.held
            and label.label is Label.SPAM
        )

    def _good(self, record: MoveRecord) -> bool:
        """Has the person said that this mail is good, and not the contrary since?"""
        label = self._store.label_of(self.account.name, record.identity)
        return (
            label is not None
            and label.source in PERSON_SOURCES
            and not label.held
            and label.label is Label.HAM
        )

    def reconcile(self) -> None:
        """Another client may have moved a mail at the very moment we did: theirs stays, ours goes."""
        try:
            records = self._mover.reconcile()
        except (ConnectionLost, ServerBusy, SignInError):
            raise
        except MailboxError as error:
            log.info("%s: second copies were not looked for: %s", self.account.name, type(error).__name__)
            return
        self.finish(records)

    def free(self, found: Iterable[Sighting]) -> None:
        """Mail that the person took away under our lock is theirs again."""
        self._mover.free(found)

    def put_back(self, record: MoveRecord) -> MoveRecord | None:
        """Undo one move: the mail goes back to where it was. None where it has gone elsewhere meanwhile."""
        if record.state is not MoveState.DONE:
            return None
        found = self._whereabouts(record)
        if found is None:
            return None
        judgement = self._store.judgement_of(self.account.name, record.identity)
        undo = replace(
            record,
            id=0,
            kind=MoveKind.UNDO,
            state=MoveState.INTENT,
            source=found,
            target=record.source.folder,
            target_uid_validity=None,
            target_uid_next=None,
            target_uid=None,
            created_at=self._clock(),
            changed_at=self._clock(),
            error="",
        )
        intent = self._store.intent(undo)
        # Among many, of which nothing was said, other daemons shall learn nothing from it either.
        (outcome,) = self._mover.move([(intent, found)], asked=self._good(record))
        self.finish([outcome])
        if judgement is not None:
            self._publish("verdict", {"id": judgement.id, "account": self.account.name, "moved": False})
        return outcome

    def _whereabouts(self, record: MoveRecord) -> MessageRef | None:
        """Where the mail of a finished move lies now, in the folder we moved it to."""
        try:
            if record.target_uid is not None and record.target_uid_validity is not None:
                ref = MessageRef(record.target, record.target_uid_validity, record.target_uid)
                status = self._session.status(record.target)
                if status.uid_validity == ref.uid_validity:
                    there = self._session.locate([ref])
                    if any(arrival.identity == record.identity for arrival in there):
                        return ref
            found = self._session.find(record.target, record.identity, record.message_id)
        except FolderMissing:
            return None
        return found[0].ref if found else None

    def file_junk(self, judgement: Judgement, left: Collection[MessageRef] = ()) -> MoveRecord | None:
        """The person said that this mail is junk: move it to Junk. Where that is refused, `again` tries once more.

        left: as for `_move_late`; what was answered or starred since stays then, too.
        None where that cannot be done (any more).
        """
        target = self.junk_folder()
        if target is None:
            return None
        for sighting in self._store.sighting_of(self.account.name, judgement.identity):
            if sighting.gone_at is not None or sighting.ref.folder == target:
                continue
            if left and not _stayed(sighting.ref, left):
                continue
            there = self._session.locate([sighting.ref])
            if not there or (left and {flag.lower() for flag in there[0].flags} & DEALT_WITH):
                continue
            try:
                intent = self._store.intent(self._move_record(judgement, sighting, target, MoveKind.JUNK))
            except RequestError:
                return None  # it was moved once and came back: the person may drag it
            (outcome,) = self._mover.move([(intent, sighting.ref)], asked=True)
            self.finish([outcome])
            return outcome
        return None

    def again(self) -> list[Judgement]:
        """Moves that the server refused, or that nobody made (TRY_AGAIN), and that are due to be tried again; cheap where
        none is. What the person asked for is tried also while we move nothing by ourselves.
        """
        now = self._clock()
        if not now < self._open_until <= now + RETRY_MOST and not math.isinf(self._open_until):
            self._open_until = math.inf
            self.recover()
            if self._store.open_moves(self.account.name):
                self._open_until = now + RETRY_HELD
        if math.isinf(self._retry_at) or now < self._retry_at <= now + RETRY_MOST:
            return []
        refused: dict[Identity, list[MoveRecord]] = {}
        for record in self._store.left_behind(self.account.name, now - RETRY_FOR, TRY_AGAIN):
            refused.setdefault(record.identity, []).append(record)
        due: list[Judgement] = []
        asked: set[Identity] = set()
        self._retry_at = math.inf
        for identity, rows in refused.items():
            judgement = self._store.judgement_of(self.account.name, identity)
            if judgement is None or judgement.moved:
                continue
            if self._asked_for(rows[0]):
                asked.add(identity)
            elif not judgement.decision.move:
                continue
            pause = min(RETRY_MOST, RETRY_FIRST * 4 ** min(len(rows) - 1, 5))
            # What a clock that was ahead has written says nothing.
            at = max((row.changed_at for row in rows if row.changed_at <= now), default=-math.inf) + pause
            if now < at:
                self._retry_at = min(self._retry_at, at)
            else:
                due.append(judgement)
        if due and (self._paused() or self.account.paused or self.junk_folder() is None):
            possible = [] if self.junk_folder() is None else [one for one in due if one.identity in asked]
            if len(possible) < len(due):
                self._retry_at = min(
                    self._retry_at, now + RETRY_HELD
                )  # decided now, they would stay for good
            due = possible
        done: list[Judgement] = []
        for judgement in due:
            left = [row.source for row in refused[judgement.identity]]
            self._mover.let_go(left)
            if judgement.identity in asked:
                outcome = self.file_junk(judgement, left)
                if outcome is not None:
                    done.append(replace(judgement, moved=outcome.state is MoveState.DONE))
                    if outcome.state is not MoveState.DONE:
                        self._retry_at = now + RETRY_FIRST
                        break
                continue
            late = self._move_late(judgement, left)
            done += late
            if any(one.decision.move and not one.moved for one in late):
                self._retry_at = now + RETRY_FIRST  # what refuses this one refuses the others
                break
        return done

    def retry_in(self) -> float | None:
        """Seconds until `again` has something to do; None where nothing was refused."""
        at = min(self._retry_at, self._open_until)
        return None if math.isinf(at) else max(0.0, at - self._clock())

    def end_old_locks(self) -> list[Judgement]:
        """A daemon that never comes back holds no mail for ever: what lies under its lock for a day is decided anew."""
        name, now = self.account.name, self._clock()
        key = f"locks:{name}"
        try:
            locked = self._mover.locked_by_others(INBOX)
            before = json.loads(self._store.state(key) or "{}")
            seen = {f"{ref.uid_validity}.{ref.uid}": ref for ref in locked}
            since = {place: min(before.get(place, now), now) for place in seen}
            old = [ref for place, ref in seen.items() if now - since[place] >= LOCK_LIFE]
            if since != before:
                self._store.set_state(key, json.dumps(since))
            self._mover.break_locks(old)
        except (ConnectionLost, ServerBusy, SignInError):
            raise
        except MailboxError as error:
            log.info("%s: old locks were not looked for: %s", name, type(error).__name__)
            return []
        known = self._store.sightings(name, INBOX) if old else {}
        done: list[Judgement] = []
        for sighting in (known[ref.uid] for ref in old if ref.uid in known):
            judgement = self._store.judgement_of(name, sighting.identity)
            if judgement is None or judgement.label is not None or judgement.moved:
                continue
            if judgement.decision.move or judgement.decision.reason == "dealt-with":
                done += self._move_late(judgement)
        return done

    def go_on(self) -> list[Judgement]:
        """The brake was released: what it held back is decided again."""
        now = self._clock()
        pulled = _number(self._brake_state().get("pulled"))
        since = now - RETRY_FOR if pulled is None or pulled > now else min(pulled, now - RETRY_FOR)
        held: list[Judgement] = []
        before: int | None = None
        while page := self._store.judgements(
            account=self.account.name, since=since, before_id=before, limit=500
        ):
            held += [one for one in page if one.decision.reason == "brake"]
            before = page[-1].id
        done: list[Judgement] = []
        for judgement in reversed(held):
            if judgement.decision.reason == "brake" and judgement.label is None and not judgement.moved:
                done += self._move_late(judgement)
        return done

    def _move_late(self, judgement: Judgement, left: Collection[MessageRef] = ()) -> list[Judgement]:
        """Decide again about a mail that still lies in the inbox, with its old score.

        left: only if it has not left this place since (but for folders that count anew): else somebody has moved it.
        """
        for sighting in self._store.sighting_of(self.account.name, judgement.identity):
            ref = sighting.ref
            if sighting.gone_at is not None or ref.folder != judgement.folder:
                continue
            if left and not _stayed(ref, left):
                continue
            for mail in self._session.fetch([sighting.ref]):
                if locked(mail.arrival.flags):
                    self._retry_at = min(self._retry_at, self._clock() + RETRY_HELD)
                if {flag.lower() for flag in mail.arrival.flags} & DEALT_WITH or held_or_signed(
                    mail.arrival.flags
                ):
                    return []  # the person has dealt with it meanwhile: it is not ours to take away any more
                read = self._read(mail, sighting)
                return [] if read is None else self._deal_with([read])
        return []

    # -- the brake

    def brake(self, begun: int = 0) -> brakes.Brake:
        """Pulled or not, counted anew from the journal; pulling it is written down and told.

        begun: moves decided on that are not in the journal yet.
        """
        name, now = self.account.name, self._clock()
        state = self._brake_state()
        if state.get("held"):
            return brakes.Brake(True, _number(state.get("since")) or 0.0, str(state.get("reason", "")))
        released = _number(state.get("released")) or 0.0
        if released > now + brakes.HOUR:
            released = 0.0  # the clock was ahead when the person let it go
        hour_ago = max(now - brakes.HOUR, released)
        last_hour = self._store.moves_since(name, hour_ago) + begun
        if last_hour < min(self.account.max_moves_per_hour or brakes.SURGE_FLOOR, brakes.SURGE_FLOOR):
            return brakes.FREE
        weeks = self._store.moves_since(name, now - brakes.HISTORY_WINDOW) + begun - last_hour
        first = _number(state.get("first"))
        if first is None:
            oldest = self._store.moves(name, limit=100_000)
            first = oldest[-1].created_at if oldest else None
        pulled = brakes.check(
            last_hour=last_hour,
            last_weeks=max(0, weeks),
            first_move_at=first,
            cap_per_hour=self.account.max_moves_per_hour,
            now=now,
        )
        if pulled.held:
            self._save_brake({"held": True, "since": now, "reason": pulled.reason, "first": first})
            self._store.add_event(
                "brake",
                f"Moving has stopped: {pulled.reason} Look at what it found, then let it go on.",
                account=name,
                needs_person=True,
            )
            self._publish("state", {"account": name, "brake": True})
        return pulled

    def release_brake(self) -> None:
        """The person looked and said: go on."""
        state = self._brake_state()
        if state.get("held"):
            self._save_brake(
                {
                    "held": False,
                    "released": self._clock(),
                    "pulled": state.get("since"),
                    "first": state.get("first"),
                }
            )

    def _brake_state(self) -> dict[str, object]:
        try:
            state = json.loads(self._store.state(f"brake:{self.account.name}") or "{}")
        except ValueError:
            return {}
        return state if isinstance(state, dict) else {}

    def _save_brake(self, state: Mapping[str, object]) -> None:
        self._store.set_state(f"brake:{self.account.name}", json.dumps(state))

    # -- telling

    def _tell_once(self, key: str, text: str, *, needs_person: bool = False) -> None:
        """An event, but the same one at most once an hour."""
        now = self._clock()
        if now - self._told.get(key, float("-inf")) < brakes.HOUR:
            return
        self._told[key] = now
        self._store.add_event("error", text, account=self.account.name, needs_person=needs_person)


def _stayed(ref: MessageRef, left: Collection[MessageRef]) -> bool:
    """Is this one of the places where a mail was left, or in a folder of these that counts anew since?"""
    here = [one.uid_validity for one in left if one.folder == ref.folder]
    return ref in left or (bool(here) and ref.uid_validity not in here)


def sender_proven(results: Mapping[str, str]) -> bool | None:
    """Did the receiving server prove the address in From? Only DMARC (or Microsoft's compauth) speaks of it:
    SPF and DKIM alone prove some domain, not that one.
    """
    for method in ("dmarc", "compauth"):
        result = results.get(method, "")
        if result == "pass":
            return True
        if result == "fail":
            return False
    return None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def header_of(raw: bytes) -> bytes:
    """Up to the first empty line."""
    end = raw.find(b"\n\r\n")
    other = raw.find(b"\n\n", 0, end + 1 or len(raw))
    end = other if other >= 0 else end
    return raw[:end].removesuffix(b"\r") if end >= 0 else raw


def header_digest(head: bytes) -> str:
    """sha256 of a header with CRLF line ends, hex: tells two mails with one Message-ID apart."""
    return hashlib.sha256(b"\r\n".join(head.splitlines())).hexdigest()
