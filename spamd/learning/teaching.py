"""Corrections into the ledger, then into the model; and labels whose mail must be read anew."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from spamd.answers import Publish
from spamd.domain import Account, FetchedMail, Identity, Label, LabelRecord, LabelSource
from spamd.errors import FolderChanged, FolderMissing, FolderRefused, MailboxError, ModelError, StoreError
from spamd.judgement import corrections
from spamd.judgement.corrections import Correction, Findings
from spamd.learning.lessons import CONTRADICTION, read_known_mail, teach
from spamd.learning.places import by_folder
from spamd.message import vector
from spamd.source import MailSession

if TYPE_CHECKING:
    from spamd.model.scoring import Scorer
    from spamd.store.database import Store

log = logging.getLogger(__name__)

READ_AGAIN = 3000
"""Newest labels of an account whose mail is read again after an upgrade that reads other features."""
READ_AGAIN_STEP = 100
"""Of these, mails read with one look."""


class Teaching:
    """Of one account."""

    def __init__(
        self,
        session: MailSession,
        store: Store,
        scorer: Scorer,
        account: Account,
        *,
        publish: Publish,
        clock: Callable[[], float],
    ) -> None:
        self._session = session
        self._store = store
        self._scorer = scorer
        self._account = account
        self._publish = publish
        self._clock = clock
        self._unreadable: list[Identity] | None = None  # see read_again; None: not asked yet

    def learn(self, findings: Findings, now: float) -> list[LabelRecord]:
        """Labels into the ledger, then into the model."""
        written = [
            record
            for correction in findings.corrections
            if (record := self._label(correction, bool(findings.held), now)) is not None
        ]
        if findings.held:
            text = f"{findings.held} Nothing is learned of it until you say so (Review)."
            self._store.add_event("correction", text, account=self._account.name, needs_person=True)
        else:
            self._tell(written)
        return written

    def read_again(self) -> int:
        """Read some labelled mails anew whose vectors an older version made of other features, and teach them.

        No mail is kept here, so it is read where it lies, the person's newest words first; what is gone from the
        server teaches no more. Returns how many were read. Only the first call on a connection looks at the ledger.
        """
        name = self._account.name
        if self._unreadable is None:
            rows = self._store.training_set(until=self._clock(), limit=READ_AGAIN, account=name)
            found = [record for record, packed in rows if vector.schema_of(packed) not in vector.READABLE]
            found.sort(key=lambda record: (record.source is not LabelSource.IMPLICIT, record.at))
            self._unreadable = [record.identity for record in found]
        wanted = {self._unreadable.pop() for _ in range(min(READ_AGAIN_STEP, len(self._unreadable)))}
        refs = [
            sighting.ref
            for identity in wanted
            for sighting in self._store.sighting_of(name, identity)[:1]
            if sighting.gone_at is None
        ]
        count = 0
        for group in by_folder(refs).values():
            with contextlib.suppress(FolderMissing, FolderRefused, FolderChanged):
                for mail in self._session.fetch(group):
                    if mail.arrival.identity not in wanted:
                        continue
                    packed = self._read(mail, self._read_anew)
                    label = self._store.label_of(name, mail.arrival.identity)
                    if packed is not None and label is not None:
                        teach(self._scorer, packed, label)
                    count += 1
        return count

    def _label(self, correction: Correction, held: bool, now: float) -> LabelRecord | None:
        name, identity = self._account.name, correction.identity
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
        if packed is not None:
            teach(self._scorer, packed, stored)
        return stored

    def _vector(self, correction: Correction) -> bytes | None:
        """The mail's vector: kept from when it was judged, else read now; scored before it is learned."""
        packed = self._store.vector_of(self._account.name, correction.identity)
        if packed is not None and vector.schema_of(packed) in vector.READABLE:
            return packed
        try:
            mails = list(self._session.fetch([correction.ref]))
        except (FolderMissing, FolderRefused):
            return None
        if not mails:
            return None
        first = packed is None
        return self._read(
            mails[0], (lambda mail: self._read_first(mail, correction)) if first else self._read_anew
        )

    def _read(self, mail: FetchedMail, how: Callable[[FetchedMail], bytes]) -> bytes | None:
        """None for a mail that cannot be read: it must not stop the others, nor the look. Its label stands alone."""
        try:
            return how(mail)
        except (MailboxError, StoreError, ModelError):
            raise
        except Exception:
            log.exception("%s: a mail could not be read", self._account.name)
            return None

    def _read_first(self, mail: FetchedMail, correction: Correction) -> bytes:
        why = "The mail was there before it was corrected."
        judgement, packed = read_known_mail(
            self._account, self._scorer, mail, correction.label, self._clock(), why
        )
        self._store.record_judgement(judgement, vector=packed, sighting=None)
        return packed

    def _read_anew(self, mail: FetchedMail) -> bytes:
        packed = vector.pack(self._scorer.read(mail.raw))
        self._store.put_vector(self._account.name, mail.arrival.identity, packed)
        return packed

    def _logit(self, identity: Identity) -> float | None:
        judgement = self._store.judgement_of(self._account.name, identity)
        return judgement.score.logit if judgement is not None else None

    def _tell(self, written: Sequence[LabelRecord]) -> None:
        counts = Counter((record.label, record.held) for record in written)
        for (label, held), number in counts.items():
            mails = "a mail" if number == 1 else f"{number} mails"
            word = "junk" if label is Label.SPAM else "good mail"
            text = f"You marked {mails} as {word}."
            if held:
                text = f"A keyword says that {mails} is {word}, against everything known. Is that so?"
            self._store.add_event("correction", text, account=self._account.name, needs_person=held)
        if written:
            self._publish("state", {"account": self._account.name, "labels": len(written)})
