"""What would have been done with a mail, had the account been filtering. Pure; figures for a person, never a proof."""

from __future__ import annotations

from spamd.domain import Judgement, Label, Verdict

OF_THE_PERSON = frozenset({"rescued", "allowed", "contact", "own", "dealt-with"})
"""Reasons of a decision by which a mail stays, whatever the model says."""
BY_WORD = frozenset({"blocked", "said"})
"""Reasons by which it goes, whatever the model says."""
BEFORE = "before"
"""Reason of a mail that lay in a folder before the account was watched: it was never ours to move."""


def would_move(judgement: Judgement, first_probability: float, threshold: float) -> bool:
    """first_probability: before anything was learned from this mail."""
    moved_to_junk = judgement.moved and judgement.decision.verdict is Verdict.JUNK
    if moved_to_junk or judgement.decision.reason in BY_WORD:
        return True
    if judgement.decision.reason in OF_THE_PERSON or judgement.score.copy_of is Label.HAM:
        return False
    return judgement.score.copy_of is Label.SPAM or first_probability >= threshold


def outcome(judgement: Judgement, first_probability: float, threshold: float) -> str | None:
    """ "right", "wrong" or "open" for what would have been moved; "missed" for junk that would not; else None.

    Only the person's word counts: a mail that was left lying may be good, or not yet looked at.
    """
    if would_move(judgement, first_probability, threshold):
        return {Label.SPAM: "right", Label.HAM: "wrong", None: "open"}[judgement.label]
    return "missed" if judgement.label is Label.SPAM else None


__all__ = ["BEFORE", "outcome", "would_move"]
