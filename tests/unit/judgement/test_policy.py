"""policy.decide: what the person said beats the model; only a proven model moves."""

from __future__ import annotations

import pytest

from spamd.domain import (
    Account,
    AccountName,
    Evidence,
    FolderName,
    Label,
    ListEntry,
    Mode,
    ModelId,
    Score,
    Verdict,
)
from spamd.judgement.brake import Brake
from spamd.judgement.policy import History, decide, match

ACCOUNT = Account(AccountName("home"))
FORCED = Account(AccountName("home"), mode=Mode.FILTERING)
PROVEN = Evidence(Mode.FILTERING, 0.97, 0.5, 400, 90, 0, 0.001, 0.9, "")
WATCHING = Evidence(Mode.LEARNING, None, 0.5, 4, 0, 296, None, None, "")
SUGGESTS = Evidence(Mode.SUGGESTING, 0.99, 0.5, 100, 9, 200, None, 0.9, "")


def score(probability: float, copy_of: Label | None = None) -> Score:
    return Score(probability, 0.0, 0.0, ModelId("base-0"), copy_of)


def rule(value: str, label: Label, expires: float | None = None) -> ListEntry:
    return ListEntry(value, label, 0.0, expires)


def ask(probability=0.999, *, evidence=PROVEN, account=ACCOUNT, lists=(), copy_of=None, **more):
    history = {name: more.pop(name) for name in list(more) if name in set(History.__dataclass_fields__)}
    return decide(
        score(probability, copy_of),
        evidence=evidence,
        account=account,
        history=History(**{"sender": "a@shop.example", **history}),
        lists=lists,
        now=100.0,
        **more,
    )


@pytest.mark.parametrize(
    ("probability", "verdict", "move"),
    [
        (0.97, Verdict.JUNK, True),
        (0.9699, Verdict.UNSURE, False),
        (0.5, Verdict.UNSURE, False),
        (0.4, Verdict.KEEP, False),
    ],
)
def test_the_bands(probability, verdict, move):
    decision = ask(probability)
    assert (decision.verdict, decision.move) == (verdict, move)
    assert decision.explanation.endswith(".")


def test_doubtful_mail_moves_only_to_a_folder_the_person_named():
    account = Account(AccountName("home"), unsure_folder=FolderName("Doubt"))
    assert ask(0.8, account=account).move
    assert not ask(0.8).move


def test_while_suggesting_what_is_suspected_goes_to_the_folder_for_doubt_and_never_to_junk():
    account = Account(AccountName("home"), unsure_folder=FolderName("Doubt"))
    for probability, reason in ((0.8, "score"), (0.99999, "suggesting")):
        decision = ask(probability, account=account, evidence=SUGGESTS)
        assert (decision.verdict, decision.move, decision.reason) == (Verdict.UNSURE, True, reason)
    assert "“Doubt”" in decision.explanation
    assert not ask(0.99999, account=account, evidence=WATCHING).move, "learning is watching"
    assert not ask(0.1, account=account, evidence=SUGGESTS).move
    for held in ({"paused": True}, {"brake": Brake(True, 1.0, "Too many.")}, {"moved_before": True}):
        assert not ask(0.99999, account=account, evidence=SUGGESTS, **held).move


@pytest.mark.parametrize("evidence", [WATCHING, SUGGESTS])
def test_nothing_moves_before_there_is_evidence(evidence):
    decision = ask(0.99999, evidence=evidence)
    assert decision.verdict is Verdict.JUNK
    assert not decision.move
    assert decision.reason == evidence.mode.value
    assert not ask(0.99999, evidence=evidence, copy_of=Label.SPAM).move


def test_the_persons_word_wins_over_evidence():
    assert ask(0.995, evidence=WATCHING, account=FORCED).move
    learning = Account(AccountName("home"), mode=Mode.LEARNING)
    assert not ask(0.99999, account=learning).move
    assert not ask(0.1, account=learning, lists=[rule("shop.example", Label.SPAM)]).move


def test_rescued_is_for_ever():
    for kind in ({"rescued": True}, {"said": Label.HAM}):
        decision = ask(0.99999, copy_of=Label.SPAM, lists=[rule("a@shop.example", Label.SPAM)], **kind)
        assert (decision.verdict, decision.move, decision.reason) == (Verdict.KEEP, False, "rescued")


def test_at_most_one_move_for_one_mail():
    decision = ask(moved_before=True)
    assert (decision.verdict, decision.move, decision.reason) == (Verdict.JUNK, False, "once")


def test_paused_and_brake():
    assert ask(paused=True).reason == "paused"
    assert ask(account=Account(AccountName("home"), paused=True)).reason == "paused"
    decision = ask(brake=Brake(True, 1.0, "Too many."))
    assert (decision.reason, decision.move) == ("brake", False)
    assert "Too many." in decision.explanation


def test_known_senders_are_exempt_only_when_the_server_confirmed_them():
    for kind in ({"contact": True}, {"own": True}):
        assert ask(authenticated=True, **kind).verdict is Verdict.KEEP
        assert ask(authenticated=None, **kind).move
        assert ask(authenticated=False, **kind).move


def test_the_persons_word_on_such_mail_goes_before_having_written_to_the_sender():
    """Who once answered a shop and now drags its offers to Junk, or "no more, please" to a spammer."""
    for kind in ({"contact": True}, {"own": True}):
        assert ask(0.2, authenticated=True, copy_of=Label.SPAM, **kind).reason == "copy"
        assert ask(0.2, authenticated=True, said=Label.SPAM, **kind).reason == "said"
        assert (
            ask(0.2, authenticated=True, said=Label.HAM, copy_of=Label.SPAM, **kind).verdict is Verdict.KEEP
        )


def test_lists():
    keep, junk = rule("a@shop.example", Label.HAM), rule("shop.example", Label.SPAM)
    assert ask(lists=[junk, keep]).reason == "allowed"
    assert ask(lists=[keep], authenticated=False).move, "a forged name is not on the list"
    for forged in ({"authenticated": False}, {"unlike": True}):
        told = ask(lists=[keep], **forged)
        assert (
            told.move
            and "a@shop.example is on your list of senders to keep, but the server" in told.explanation
        )
        assert "your list" not in ask(lists=[keep], said=Label.HAM, **forged).explanation
        assert "to keep" not in ask(lists=[junk], **forged).explanation
    assert ask(0.01, lists=[junk]).reason == "blocked"
    assert ask(0.01, lists=[junk]).move
    assert ask(0.01, evidence=WATCHING, lists=[junk]).move, "the person's own rule needs no evidence"


def test_the_most_exact_rule_wins():
    rows = [
        rule("example", Label.SPAM),
        rule("shop.example", Label.HAM),
        rule("@mail.shop.example", Label.SPAM),
    ]
    assert match(rows, "x@shop.example", 0) is rows[1]
    assert match(rows, "x@mail.shop.example", 0) is rows[2]
    assert match(rows, "x@notshop.example", 0) is rows[0]
    assert match(rows, "", 0) is None
    assert match([rule("shop.example", Label.HAM, 5.0)], "x@shop.example", 5.0) is None
    twice = [rule("shop.example", Label.SPAM), rule("shop.example", Label.HAM)]
    assert match(twice, "x@shop.example", 0) is twice[1]


def test_copies_of_what_the_person_corrected():
    assert ask(0.2, copy_of=Label.SPAM).move
    assert ask(0.2, copy_of=Label.SPAM).reason == "copy"
    assert ask(0.9999, copy_of=Label.HAM).verdict is Verdict.KEEP
