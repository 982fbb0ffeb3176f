"""How far the model may be trusted on an account: from the ledger, and from mail scored apart from its own lesson."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from spamd.domain import Account, Evidence, Identity, Label, LabelSource, MoveKind
from spamd.errors import SpamdError
from spamd.judgement import calibration, evidence, silence
from spamd.message import vector

if TYPE_CHECKING:
    from spamd.model.scoring import Scorer
    from spamd.store.database import Store

SCORED_APART = 10_000
"""Labels that are looked through for mail to be scored apart: twice what the instant head holds."""
OF_A_NEWER_MODEL = (
    "That was seen of a newer model, which does not serve any more; the next night shows it of this one."
)


def assess_account(store: Store, scorer: Scorer, account: Account, now: float) -> Evidence:
    """The evidence of one account as the ledger has it now."""
    ours = {record.identity for record in store.moves(account.name, kind=MoveKind.JUNK, limit=100_000)}
    recent = store.labels(account.name, since=now - evidence.RESCUES_WINDOW)
    rescues = [
        record.at
        for record in recent
        if record.label is Label.HAM and record.source is not LabelSource.IMPLICIT and record.identity in ours
    ]
    found = evidence.assess(
        store.evidence_points(account.name),
        account.promise,
        now,
        shipped_threshold=scorer.card.junk_threshold,
        said=account.mode,
        rescues=rescues,
    )
    if found.expected_ham_error is not None and scorer.gone_back():
        found = replace(found, explanation=f"{found.explanation} {OF_A_NEWER_MODEL}")
    span = (now - silence.WINDOW, now - silence.AFTER)
    habit = silence.habit_at(now, store.stayed(account.name, *span))
    if habit.share is None:
        return found
    return replace(found, told=calibration.calibration(store.became(account.name, *span), habit))


def score_apart(store: Store, scorer: Scorer, account: Account, now: float) -> int:
    """Score what was read in folders, and learned, as if it had not been: by what all the rest teaches. How many mails.

    Only mail that no night has learned: the night scores it anew in the same way (`spamd.training.apart`).
    """
    rows = list(store.training_set(until=now, limit=SCORED_APART, account=account.name))
    mails: list[tuple[Identity, vector.StoredVector, Label]] = []
    for record, packed in reversed(rows):
        if record.source is LabelSource.FOLDER and record.at > scorer.card.known_until:
            with contextlib.suppress(SpamdError, ValueError):  # of an older recipe
                mails.append((record.identity, vector.unpack(packed), record.label))
    if len(mails) >= evidence.SUGGEST_HAM:
        scores = scorer.apart(mails)
        store.rescore({(account.name, identity): score for identity, score in scores.items()})
    return len(mails)
