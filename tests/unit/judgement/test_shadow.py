"""What would have been moved: rules that stand above the score, and the person's word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spamd.domain import AccountName, Decision, Identity, Judgement, Label, ModelId, Score, Verdict
from spamd.judgement.shadow import outcome, would_move

MAIL = Judgement(
    id=1,
    account=AccountName("home"),
    identity=Identity("guid:1"),
    at=1.0,
    score=Score(0.2, -1.4, -1.4, ModelId("base-0000000000")),  # as it is now: learned meanwhile
    decision=Decision(Verdict.KEEP, False, "learning", ""),
)


def with_reason(reason: str) -> Judgement:
    return replace(MAIL, decision=replace(MAIL.decision, reason=reason))


@pytest.mark.parametrize(("first", "moved"), [(0.99, True), (0.991, True), (0.98, False)])
def test_the_score_before_learning_decides(first: float, moved: bool) -> None:
    assert would_move(MAIL, first, 0.99) is moved


@pytest.mark.parametrize("reason", ["rescued", "allowed", "contact", "own", "dealt-with"])
def test_what_the_person_protects_would_have_stayed(reason: str) -> None:
    assert not would_move(with_reason(reason), 0.9999, 0.99)


@pytest.mark.parametrize("reason", ["blocked", "said"])
def test_what_the_person_blocks_would_have_gone(reason: str) -> None:
    assert would_move(with_reason(reason), 0.01, 0.99)


def test_copies_follow_the_mail_that_was_corrected() -> None:
    spam, ham = (replace(MAIL, score=replace(MAIL.score, copy_of=label)) for label in (Label.SPAM, Label.HAM))
    assert would_move(spam, 0.5, 0.99)
    assert not would_move(ham, 0.9999, 0.99)


@pytest.mark.parametrize(
    ("first", "label", "found"),
    [
        (0.999, Label.SPAM, "right"),
        (0.999, Label.HAM, "wrong"),
        (0.999, None, "open"),
        (0.5, Label.SPAM, "missed"),
        (0.5, Label.HAM, None),
        (0.5, None, None),
    ],
)
def test_outcomes(first: float, label: Label | None, found: str | None) -> None:
    assert outcome(replace(MAIL, label=label), first, 0.99) == found


def test_moved_to_the_folder_for_doubt_is_not_moved_to_junk() -> None:
    doubtful = replace(MAIL, moved=True, decision=replace(MAIL.decision, verdict=Verdict.UNSURE, move=True))
    assert not would_move(doubtful, 0.98, 0.99)
    assert would_move(doubtful, 0.995, 0.99), "while it only suggests all that looks like junk goes there"
