"""What a label teaches, and how a mail that was there before us is read for one.

Every label that moves the instant head does so here, at once or (after a start, a roll-back) from the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from spamd.domain import (
    Account,
    Decision,
    FetchedMail,
    Identity,
    Judgement,
    Label,
    LabelRecord,
    LabelSource,
    Score,
    Verdict,
)
from spamd.errors import SpamdError
from spamd.judgement import evidence
from spamd.message import vector

if TYPE_CHECKING:
    from spamd.model.scoring import Scorer
    from spamd.store.database import Store

CONTRADICTION = 4.0
"""Log odds from which a weak label against the model is held for the person to look at."""


def teaches(record: LabelRecord) -> bool:
    """Does this label move the instant head? Silence never does; what was only read in the inbox does not."""
    weak_folder = record.source is LabelSource.FOLDER and record.weight < evidence.SURE_WEIGHT
    return not record.held and record.source is not LabelSource.IMPLICIT and not weak_folder


def is_followed(record: LabelRecord) -> bool:
    """Do near-copies of that mail follow the label by themselves? What lay in Junk when the account was set up was put there by
    whatever filter, and may be the letters of a shop that the person misses. It teaches; but they have not said so.
    """
    return not (record.source is LabelSource.FOLDER and record.label is Label.SPAM)


def lessons(
    store: Store, now: float, limit: int
) -> Iterator[tuple[Identity, vector.StoredVector, Label, float, float, bool]]:
    """What the ledger teaches, for `Scorer.rebuild`. Vectors of an older recipe are left out."""
    for record, packed in store.training_set(until=now, limit=limit):
        if not teaches(record):
            continue
        try:
            features = vector.unpack(packed)
        except (SpamdError, ValueError):
            continue
        yield record.identity, features, record.label, record.weight, record.at, is_followed(record)


def teach(scorer: Scorer, packed: bytes, record: LabelRecord) -> None:
    """Unless the label teaches nothing, or the vector is of an older recipe (see `Teaching.read_again`)."""
    if not teaches(record):
        return
    try:
        features = vector.unpack(packed)
    except (SpamdError, ValueError):
        return
    scorer.teach(
        features, record.identity, record.label, record.weight, record.at, followed=is_followed(record)
    )


def read_known_mail(
    account: Account, scorer: Scorer, mail: FetchedMail, label: Label, now: float, explanation: str
) -> tuple[Judgement, bytes]:
    """A mail that was there before us, scored before it is learned.

    Its verdict is what its label says: it was never ours to judge, so it may not count as our error.
    Its judgement bears the mail's own date.
    """
    features = scorer.read(mail.raw)
    score: Score = scorer.score(features, arrived=False)
    at = min(mail.arrival.internal_date or now, now)
    judgement = Judgement(
        id=0,
        account=account.name,
        identity=mail.arrival.identity,
        at=at,
        score=score,
        decision=Decision(
            Verdict.JUNK if label is Label.SPAM else Verdict.KEEP, False, "before", explanation
        ),
        sender=features.sender,
        subject=features.subject,
        snippet=features.snippet,
        sender_domain=features.sender_domain,
        link_hosts=features.link_hosts,
        folder=mail.arrival.ref.folder,
        sender_proof=features.sender_proof,
    )
    return judgement, vector.pack(features)


def read_in_folder(
    account: Account, scorer: Scorer, mail: FetchedMail, label: Label, weight: float, now: float
) -> tuple[Judgement, bytes, LabelRecord]:
    """A mail that lies in a folder, as the first reading takes it: its label follows from the folder. One that contradicts
    its folder is held for the person to look at.
    """
    judgement, packed = read_known_mail(account, scorer, mail, label, now, "Read with its folder.")
    logit = judgement.score.logit
    record = LabelRecord(
        account=account.name,
        identity=mail.arrival.identity,
        label=label,
        source=LabelSource.FOLDER,
        weight=weight,
        at=now,
        model_id=judgement.score.model_id,
        note=mail.arrival.ref.folder,
        held=abs(logit) > CONTRADICTION and (logit > 0) is (label is Label.HAM),
    )
    return judgement, packed, record
