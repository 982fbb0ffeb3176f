"""The ledger of what was taught: listed, added to, taken back, carried from one computer to another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from spamd import nightly
from spamd.answers import Done, Imported, imported
from spamd.control.accounts import Accounts
from spamd.control.kept import Kept
from spamd.domain import (
    AccountName,
    Arrival,
    FetchedMail,
    FolderName,
    Identity,
    Label,
    LabelRecord,
    LabelSource,
    MessageRef,
    Uid,
    UidValidity,
)
from spamd.errors import NotFound, RequestError
from spamd.judgement import corrections, schedule
from spamd.store.labels import PERSON_SOURCES, STRENGTH

if TYPE_CHECKING:
    from spamd.control.engine import Engine
    from spamd.model.scoring import Scorer
    from spamd.store.database import Store


class Labels:
    """Of all accounts. What is said here counts at once, and moves no mail (review.py does)."""

    def __init__(
        self,
        store: Store,
        scorer: Scorer,
        engine: Engine,
        accounts: Accounts,
        kept: Kept,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._scorer = scorer
        self._engine = engine
        self._accounts = accounts
        self._kept = kept
        self._clock = clock

    def newest(
        self,
        *,
        account: str | None = None,
        since: float | None = None,
        held: bool | None = None,
        source: LabelSource | None = None,
        before_id: int | None = None,
        limit: int = 100,
    ) -> tuple[LabelRecord, ...]:
        """Newest first."""
        found = self._store.labels(
            self._accounts.met(account) if account else None,
            since,
            held,
            source,
            before_id=before_id,
            limit=max(1, min(limit, 10_000)),
        )
        return tuple(self._store.weighed(found))

    def of(self, account: AccountName, identity: Identity) -> LabelRecord | None:
        found = self._store.label_of(account, identity)
        return self._store.weighed([found])[0] if found else None

    def teach(
        self, account: AccountName, identity: Identity, label: Label, source: LabelSource, note: str = ""
    ) -> LabelRecord:
        # Any word that was said before, and the model, would count as newer than this one.
        now = self._clock()
        schedule.require_set_clock(now, "Nothing is learned until it is set right.")
        card = self._scorer.card
        record = self._store.add_label(
            LabelRecord(
                account=account,
                identity=identity,
                label=label,
                source=source,
                weight=1.0,
                at=now,
                model_id=card.id,
                note=note,
            )
        )
        self._learn(record)
        return record

    def teach_mail(self, raw: bytes, label: Label, account: str | None = None) -> LabelRecord:
        """A mail handed over as a whole (Try it, add-on): known from now on as one that was there before, taught at once."""
        from spamd.learning.lessons import read_known_mail

        if not raw.strip():
            raise RequestError("There is no mail to learn from.")
        schedule.require_set_clock(self._clock(), "Nothing is learned until it is set right.")
        about = self._accounts.one(account or self._accounts.first()).account
        identity = Identity("hash:" + hashlib.sha256(raw).hexdigest())
        nowhere = MessageRef(FolderName(""), UidValidity(0), Uid(0))
        mail = FetchedMail(Arrival(nowhere, identity, frozenset(), len(raw), 0.0), raw, True)
        judgement, packed = read_known_mail(
            about, self._scorer, mail, label, self._clock(), "It was handed over as a whole."
        )
        self._store.record_judgement(judgement, vector=packed)
        return self.teach(about.name, identity, label, LabelSource.TEACH)

    def forget(self, account: str, identity: str) -> Done:
        """Take one label back, exactly: the model scores as if it had never been."""
        if not self._store.forget_label(AccountName(account), Identity(identity)):
            raise NotFound(
                "There is no such label.",
                "`spamdctl labels list` shows them; identities are written in full.",
            )
        if self._store.is_labelled(Identity(identity)):
            self._engine.rebuild_scores()  # the same mail in another account: what was said there holds
        else:
            self._scorer.forget(Identity(identity))
        nightly.settle(self._store, AccountName(account), Identity(identity))
        self._kept.after_change()
        return Done("The label was taken back. The next night trains without it.")

    def restore(self, record: LabelRecord) -> None:
        """What was said before holds again."""
        self._store.add_label(replace(record, id=0))
        self._learn(record)

    def held_back(self, account: AccountName | None = None) -> list[LabelRecord]:
        """What the person (or a program) did to so many mails at once that it is asked about."""
        return [one for one in self._store.labels(account, held=True) if at_once(one)]

    def answer_held(self, mine: bool, account: str | None = None) -> Done:
        """All of that at once. mine: it counts from now on; else what was said of each mail before holds again."""
        name = self._accounts.one(account).account.name if account else None
        found = self.held_back(name)
        if not found:
            return Done("Nothing is held back because it was very much at once.")
        with self._store.transaction():
            for one in found:
                if mine:
                    self._store.release(one.account, one.identity)
                else:
                    self._store.withdraw(one.account, one.identity)
            for event in self._store.events(needs_person=True, account=name, kind="correction"):
                self._store.settle_event(event.id)
        self._engine.rebuild_scores()
        self._kept.after_change()
        what = "1 label" if len(found) == 1 else f"{len(found)} labels"
        return Done(f"Learned: {what}." if mine else f"Forgotten: {what}. The mail stays where it is.")

    def export(self) -> tuple[LabelRecord, ...]:
        return tuple(self._store.ledger())

    def take_over(self, records: Sequence[LabelRecord]) -> Imported:
        """The person's words from elsewhere, with their history: rescued mail stays rescued on a new installation.

        Also of mail that is not known here yet; it counts when the mail is met. Weak evidence stays weak, what was
        held stays held. Labels of accounts that are not here are skipped.
        """
        now = self._clock()
        schedule.require_set_clock(now, "Nothing is learned until it is set right.")
        known = {view.account.name for view in self._accounts.all()}
        with self._store.transaction():  # 20,000: 75 s with a commit for each, 2 s so
            there = {(one.account, one.identity, one.label, one.at) for one in self._store.ledger()}
            words = [one for one in records if (one.account, one.identity, one.label, one.at) not in there]
            added = sum(self._take_over(one, now) for one in words if one.account in known)
        if added:
            self._engine.rebuild_scores()
        self._kept.after_change()
        return imported(added, len(records) - added)

    def _take_over(self, record: LabelRecord, now: float) -> bool:
        """Does it say anything new?"""
        if not 0 < len(record.identity) <= 1000 or not 0.0 < record.weight <= 1.0 or not record.at >= 0.0:
            return False
        source, note = record.source, record.note
        if source in PERSON_SOURCES:
            source, note = LabelSource.IMPORT, corrections.imported_note(record)
        there = self._store.label_of(record.account, record.identity)
        same = there is not None and there.label is record.label and there.at >= min(record.at, now)
        if there is not None and same and STRENGTH[there.source] >= STRENGTH[source]:
            return False  # it keeps its source. Silence, or the folder it lay in, is less than a word
        self._store.add_label(replace(record, id=0, source=source, note=note, at=min(record.at, now)))
        return True

    def _learn(self, record: LabelRecord) -> None:
        from spamd.learning.lessons import teach

        packed = self._store.vector_of(record.account, record.identity)
        if packed is not None:
            teach(self._scorer, packed, record)


def at_once(held: LabelRecord) -> bool:
    """Is it held because it was one of very many? What the person does is never held for anything else."""
    return held.source in PERSON_SOURCES or held.note.endswith(corrections.AT_ONCE)
