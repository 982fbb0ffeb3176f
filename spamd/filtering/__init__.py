"""A new mail: fetch, read, score, decide, write it down with the intent, move, write down what came of it.

One `Filter` serves one account and belongs to its worker's thread. What it must never do: judge one mail
twice, lose sight of a mail between deciding and moving (both are one transaction), or try a mail that breaks
it for ever.

This is the story. The rooms behind it; none imports one that comes later in this list:

    ======= ===================================================================================
    notices what goes wrong, told without repeating itself
    brake   held or not, as journal and person have it
    marks   the verdict as a keyword; on Gmail a label that the person sees
    moves   what is written down after each move; those that the person asks for
    later   what is decided again: refused, held by the brake, under an old lock
    ======= ===================================================================================
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from spamd.answers import Publish
from spamd.domain import (
    INBOX,
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
from spamd.errors import ConnectionLost, MailboxError, ModelError, ServerBusy, SignInError, StoreError
from spamd.filtering.brake import MovingBrake
from spamd.filtering.later import Later
from spamd.filtering.marks import Marks
from spamd.filtering.moves import RETRY_FIRST, Moves, why_it_stays
from spamd.filtering.notices import Notices
from spamd.judgement import brake as brakes
from spamd.judgement import calibration
from spamd.judgement.policy import History, decide, effective_mode, match
from spamd.message import vector
from spamd.message.dense import authentication, sender_proven
from spamd.message.wordlists import FREE_MAIL
from spamd.source import MailSession, Mover
from spamd.store.judgements import Entry

if TYPE_CHECKING:
    from spamd.model.scoring import Scorer
    from spamd.store.database import Store

log = logging.getLogger(__name__)

BATCH = 64
"""Mails read, 12 kB each, before they are decided on, written down in one transaction, and moved: a tenth of a second."""
_NOTHING = Past()

_TOLD = re.compile(r"=(?:pass|(?:soft|hard)?fail)\b")
"""In `sender_proof`: the server found something. Not: there was nothing to check, or no answer in time."""


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
        self._notices = Notices(store, account, clock)
        self._marks = Marks(session, store, account, self._notices)
        self.brake = MovingBrake(store, account, publish, clock)
        self.moves = Moves(session, mover, store, account, self._notices, publish, clock)
        self.later = Later(
            session,
            mover,
            store,
            account,
            self.moves,
            self.brake,
            recover=self.recover,
            decide=self._decide_again,
            idle=self._idle,
            clock=clock,
        )
        self._addresses = frozenset({account.user.lower()} if "@" in account.user else ())

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
            self._marks.stamp(one.sighting, one.judgement.decision)
            if one.label is not None:
                self._marks.put_label(one.sighting, one.label)

    def _read(self, mail: FetchedMail, sighting: Sighting) -> _Read | None:
        """None for a mail that cannot be read."""
        try:
            features = self._scorer.read(mail.raw)
            if features.sender_proof and not self._store.server_vouches(self.account.name):
                features = replace(features, vouched=False)
            score = self._scorer.score(features)
        except (MailboxError, StoreError, ModelError):
            raise
        except Exception:
            # A mail that breaks the reader must not stop the others, nor come back with every look.
            log.exception("%s: a mail could not be read; it stays where it is", self.account.name)
            self._store.add_sightings([sighting])
            self._notices.tell_once("unreadable", "A mail could not be read. It stays where it is.")
            return None
        return _Read(
            sighting=sighting,
            flags=mail.arrival.flags,
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
        known = contacts | self._addresses & {one.address for one in read if one.authenticated}
        vouched = bool(known) and self._store.server_vouches(name)
        lists, held = self._store.list_entries(), self.brake.check()
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
                # Nobody writes of their own mail that it is forged; that it is not, the sender may have written.
                authenticated=None if one.authenticated and not vouched else one.authenticated,
                unlike=self._is_unlike(one, lists),
            )
            decided.append(self._decide_one(one, history, lists, held))
            if decided[-1].intents:
                moving.add(identity)
                held = self.brake.check(len(moving))
        return decided

    def _is_unlike(self, read: _Read, lists: Sequence[ListEntry]) -> bool:
        """Has the server checked a listed sender's mail, and found another's, where it proves theirs? Without DMARC it says no more
        than that; and who sends by a third party's servers alone is never proven, and listed all the more.
        """
        if read.authenticated is not None or not _TOLD.search(read.sender_proof):
            return False
        entry = match(lists, read.address, self._clock())
        if entry is None or entry.label is not Label.HAM or not self._store.server_vouches(self.account.name):
            return False
        who = read.address if read.sender_domain in FREE_MAIL else read.sender_domain
        return self._store.good_mail_came_from(
            self.account.name, who, self._clock()
        ) and not self._store.called_good_unproven(self.account.name, read.address)

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
        if decision.move and (why := why_it_stays(read.flags)) is not None:
            decision = _stays(decision, f"But {why}", reason="dealt-with")
        label = self._label_instead(decision)
        if label is not None:
            decision = _stays(decision, f"It gets the label “{label}” and stays where it is.")
        target = self._target(decision)
        if decision.move and target is None:
            decision = _stays(decision, "The account has no Junk folder.", reason="no-folder")
            self._notices.tell_once(
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
        kind = MoveKind.UNSURE if decision.verdict is Verdict.UNSURE else MoveKind.JUNK
        intents: tuple[MoveRecord, ...] = ()
        if target is not None:
            intents = (self.moves.intent(judgement, read.sighting, target, kind),)
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
        if self._idle() or decision.reason in ("dealt-with", "once"):
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
        if doubt is None or doubt.lower() not in (INBOX.lower(), (self.moves.junk_folder() or "").lower()):
            return self.account
        self._notices.tell_once(
            "doubt", f"Doubtful mail stays in the inbox: “{doubt}” is no folder of its own."
        )
        return replace(self.account, unsure_folder=None)

    def _target(self, decision: Decision) -> FolderName | None:
        if not decision.move:
            return None
        if decision.verdict is Verdict.UNSURE:
            return self.account.unsure_folder
        return self.moves.junk_folder()

    def _carry_out(self, batch: Sequence[_Judged]) -> list[Judgement]:
        """Move what is to be moved, then tell of every mail in the batch."""
        moves: list[tuple[MoveRecord, MessageRef]] = []
        for judged in batch:
            if judged.intent is None:
                continue
            if self.moves.is_good(judged.intent):  # the person was faster than we
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
            self.moves.finish(list(outcome.values()))
            self.moves.set_right(list(outcome.values()))
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

    def recover(self) -> list[MoveRecord]:
        """Bring intents that a crash left open to an end; not against what the person said since.

        Nothing is begun again that would not be begun now; what had happened to a mail that the person has
        called good meanwhile is put back.
        """
        records = list(self._mover.recover(self._still_wanted, self.moves.asked_for))
        self.moves.finish(records)
        self.moves.set_right(records)
        self._marks.stamp_late(records)
        self._marks.stamp_what_stays(BATCH)
        if self._store.open_moves(self.account.name):
            self.moves.open_until = self._clock() + RETRY_FIRST
        return records

    def _still_wanted(self, record: MoveRecord) -> bool:
        if record.kind is MoveKind.UNDO:
            return True
        if self.moves.is_good(record):
            return False
        if self.moves.asked_for(record):
            return True
        if self._idle():
            return False
        judgement = self._store.judgement_of(self.account.name, record.identity)
        by_list = judgement is not None and judgement.decision.reason == "blocked"
        if by_list and self.account.mode is None:
            return True
        mode = effective_mode(self.account, self._evidence())
        return mode is Mode.FILTERING or (mode is Mode.SUGGESTING and record.kind is MoveKind.UNSURE)

    def reconcile(self) -> None:
        """Another client may have moved a mail at the very moment we did: theirs stays, ours goes."""
        try:
            records = self._mover.reconcile()
        except (ConnectionLost, ServerBusy, SignInError):
            raise
        except MailboxError as error:
            log.info("%s: second copies were not looked for: %s", self.account.name, type(error).__name__)
            return
        self.moves.finish(records)

    def free(self, found: Iterable[Sighting]) -> None:
        """Mail that the person took away under our lock is theirs again."""
        self._mover.free(found)

    def _decide_again(self, mail: FetchedMail, sighting: Sighting) -> list[Judgement]:
        read = self._read(mail, sighting)
        return [] if read is None else self._deal_with([read])

    def _idle(self) -> bool:
        """Is nothing moved now that the person has not asked for?"""
        return self._paused() or self.account.paused

    def take_labels_off(self) -> int:
        """Off the mail in the inbox that the person has called good since; how many."""
        return self._marks.take_labels_off(self._deciding().doubt_label)


def _stays(decision: Decision, why: str, *, reason: str | None = None) -> Decision:
    return replace(
        decision,
        move=False,
        reason=reason or decision.reason,
        explanation=f"{decision.explanation} {why}",
    )
