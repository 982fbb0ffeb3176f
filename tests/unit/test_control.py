"""Control on its own: what it does at the edges, where pages and API only pass on what it says."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import sqlite3
import threading
import time
from dataclasses import replace
from datetime import datetime

import pytest

from spamd import __version__, nightly, settings
from spamd.answers import AccountPhase, AccountState
from spamd.control import Control
from spamd.control.accounts import account_headline
from spamd.control.feed import Feed
from spamd.control.lists import list_value
from spamd.control.telling import paused_words
from spamd.domain import (
    Account,
    AccountName,
    AuthMethod,
    Evidence,
    FolderName,
    Identity,
    Label,
    LabelSource,
    MessageRef,
    Mode,
    MoveKind,
    MoveState,
    Sighting,
    Uid,
    UidValidity,
    Verdict,
)
from spamd.errors import (
    ClockWrong,
    ConnectionLost,
    DoneInPart,
    NotFound,
    RequestError,
    SecretMissing,
    SpamdError,
)
from spamd.judgement import corrections
from spamd.judgement.calibration import told
from spamd.learning.lessons import lessons
from spamd.mailbox.oauth import packed
from spamd.message import vector
from spamd.model.poison import Poison
from spamd.model.scoring import Scorer
from spamd.store import connection
from spamd.store.database import Store
from tests.servers.authorisation import Grant, authorisation
from tests.web.world import HOME, JUNK_RAW, WORK, World, move

__all__ = ["authorisation"]

EVIDENCE = Evidence(Mode.FILTERING, 0.97, 0.5, 400, 90, 0, 0.001, 0.9, "")


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "world", hostile=False)
    yield made
    made.close()


def test_nothing_is_known_at_first(tmp_path):
    empty = World(tmp_path / "empty", accounts=False, mails=False)
    try:
        control = empty.control
        assert control.status().headline == "No account yet." and not control.status().paused
        assert (
            control.mail.recent()
            == control.review.items()
            == control.mail.search("x")
            == control.lists.all()
            == ()
        )
        assert (
            control.figures.trends(30).promises == ()
            and sum(d.junk for d in control.figures.trends(30).daily) == 0
        )
        assert control.moves.undo(since=0.0).count == 0
        with pytest.raises(RequestError, match="no account"):
            control.labels.teach_mail(JUNK_RAW, Label.SPAM)
        with pytest.raises(NotFound):
            control.accounts.one("home")
        assert control.mail.try_mail(JUNK_RAW).junk_threshold == empty.scorer.card.junk_threshold
    finally:
        empty.close()


@pytest.mark.parametrize(
    ("account", "quirk", "words"),
    [
        ({}, "dovecot", "it lists what looks like junk and moves nothing"),
        ({"unsure_folder": "Maybe"}, "dovecot", "goes to “Maybe”, and nothing to Junk"),
        ({}, "gmail", "gets the label “Junk?” and stays"),
        ({"gmail_label": "none"}, "gmail", "it lists what looks like junk and moves nothing"),
        ({"unsure_folder": "Maybe"}, "gmail", "gets the label “Maybe” and stays"),
    ],
)
def test_what_happens_while_suggesting_is_said(account, quirk, words):
    state = AccountState(HOME, AccountPhase.WATCHING, mode=Mode.SUGGESTING, quirk=quirk)
    assert words in account_headline(Account(HOME, **account), state, 0.0)


def test_with_a_clock_that_was_never_set_no_word_is_taken(world):
    """It would be older than all that was said before: told as learned, and lost."""
    behind = Control(
        paths=world.paths,
        store=world.store,
        scorer=world.scorer,
        bundles=world.bundles,
        engine=world.engine,
        secrets=world.secrets,
        clock=lambda: 3600.0,
    )
    ledger = list(world.store.ledger())
    dragged = next(one for one in world.store.labels() if one.source is LabelSource.DRAG)
    mail = world.store.judgement_of(dragged.account, dragged.identity)
    with pytest.raises(ClockWrong, match="1970-01-01"):
        behind.review.answer(mail.id, Label.HAM)
    with pytest.raises(ClockWrong):
        behind.labels.teach_mail(JUNK_RAW, Label.SPAM)
    with pytest.raises(ClockWrong):
        behind.labels.take_over(ledger)
    assert list(world.store.ledger()) == ledger and not world.engine.calls
    assert world.control.review.answer(mail.id, Label.HAM).label.label is Label.HAM


def test_the_worst_state_of_an_account_is_the_headline(world):
    for phase, word in (
        (AccountPhase.BRAKE, "too much"),
        (AccountPhase.SIGN_IN, "sign in"),
        (AccountPhase.ERROR, "problem"),
        (AccountPhase.OFFLINE, "not connected"),
        (AccountPhase.STARTING, "Starting"),
        (AccountPhase.WATCHING, "Watching"),
    ):
        world.engine.states[WORK] = AccountState(WORK, phase)
        assert word in world.control.status().headline
    world.engine.states = {name: AccountState(name, AccountPhase.PAUSED) for name in (HOME, WORK)}
    assert world.control.status().headline == "Paused."
    late = datetime(2026, 11, 29, 23, 5).astimezone().timestamp()
    world.engine.states = {
        name: AccountState(name, AccountPhase.PAUSED, paused_until=late) for name in (HOME, WORK)
    }
    told = {view.headline for view in world.control.accounts.all()}
    assert told == {"Paused until 29 Nov 23:05: new mail stays where it is."}
    assert world.control.status().headline == "Paused until 29 Nov 23:05."
    assert paused_words(late, late - 60) == "Paused until 23:05"


def test_an_account_the_daemon_has_not_started_yet_is_shown(world):
    settings.add_account(
        world.paths.config_file, Account(AccountName("new"), host="imap.new.example", user="me")
    )
    assert world.control.accounts.one("new").state.phase is AccountPhase.STARTING


def test_a_mail_that_cannot_be_read_still_has_its_verdict(world):
    for error in (ConnectionLost("No network."), NotFound("There is no such account.")):
        world.engine.fetch_error = error
        why = world.control.mail.why(world.why_id)
        assert why.verdict is Verdict.JUNK and error.title in why.missing and why.reasons == ()
    world.engine.fetch_error = None
    world.engine.mails.clear()
    assert "not in a folder" in world.control.mail.why(world.why_id).missing


def test_explaining_teaches_nothing(world):
    before = world.control.mail.try_mail(JUNK_RAW)
    for _ in range(5):
        assert world.control.mail.try_mail(JUNK_RAW).probability == before.probability
    assert world.control.labels.newest(limit=10_000) == world.control.labels.newest(limit=10_000)


def test_saying_the_same_twice_moves_once(world):
    world.control.review.answer(world.why_id, Label.HAM)
    world.control.review.answer(world.why_id, Label.HAM)
    assert len([call for call in world.engine.calls if call[0] == "put_back"]) == 1


def test_an_answer_without_a_move(world):
    unsure = next(item.judgement for item in world.control.review.items(50) if item.cause == "unsure")
    assert world.control.review.answer(unsure.id, Label.SPAM, move=False).move == "none"
    assert not [call for call in world.engine.calls if call[0] == "file_junk"]


def test_doubtful_mail_that_was_moved_to_its_folder_is_asked_about_too(world):
    unsure = next(item.judgement for item in world.control.review.items(50) if item.cause == "unsure")
    move(world.store, unsure, world.now, "Doubt")
    assert unsure.id in {item.judgement.id for item in world.control.review.items(50)}
    answered = world.control.review.answer(unsure.id, Label.SPAM)
    assert answered.move == "none" and "folder for doubtful mail" in answered.text
    assert unsure.id not in {item.judgement.id for item in world.control.review.items(50)}


def test_of_good_mail_that_is_to_stay_in_junk_is_not_said_that_another_put_it_there(world):
    mail = world.store.judgement(world.why_id)
    assert mail.moved
    world.engine.states[HOME] = replace(world.engine.states[HOME], junk_folder=FolderName("Junk"))
    ref = MessageRef(FolderName("Junk"), UidValidity(9), Uid(78))
    world.store.add_sightings([Sighting(HOME, ref, mail.identity, frozenset(), world.now, None)])
    answered = world.control.review.answer(mail.id, Label.HAM, move=False)
    assert answered.text == "Learned as good mail. It stays where I put it."


def test_of_good_mail_that_another_program_filed_is_said_where_it_lies(world):
    """Nothing of ours moved it, so nothing of ours takes it back."""
    world.engine.states[HOME] = replace(world.engine.states[HOME], junk_folder=FolderName("Junk"))
    mail = next(
        item.judgement
        for item in world.control.review.items(50)
        if item.cause == "unsure" and item.judgement.account == HOME
    )
    ref = MessageRef(FolderName("Junk"), UidValidity(9), Uid(77))
    world.store.add_sightings([Sighting(HOME, ref, mail.identity, frozenset(), world.now, None)])
    answered = world.control.review.answer(mail.id, Label.HAM)
    assert answered.move == "none" and "lies in Junk, where I have not put it" in answered.text
    world.store.mark_gone(HOME, ref.folder, ref.uid_validity, [ref.uid], world.now)
    assert "lies in Junk" not in world.control.review.answer(mail.id, Label.HAM).text


def test_a_held_label_is_asked_about_first_and_settled_by_the_answer(world):
    first = world.control.review.items(1)[0]
    assert first.cause == "held" and first.suggestion is Label.SPAM and "found in a folder" in first.question
    world.control.review.answer(first.judgement.id, Label.HAM)
    assert "held" not in {item.cause for item in world.control.review.items(50)}
    assert world.control.labels.of(first.judgement.account, first.judgement.identity).label is Label.HAM


def test_a_label_taken_back_is_as_if_never_said(world):
    mail = next(item.judgement for item in world.control.review.items(50) if item.cause == "unsure")
    before = world.control.mail.try_mail(JUNK_RAW).probability
    world.control.review.answer(mail.id, Label.SPAM)
    world.control.labels.forget(mail.account, mail.identity)
    assert world.control.mail.try_mail(JUNK_RAW).probability == pytest.approx(before, abs=0.01)
    assert world.control.mail.one(mail.id).label is None


def test_where_an_answer_is_taken_back_silence_teaches_no_more_than_before(world):
    """It is evidence; the head learns nothing of it, at a start neither."""
    heard = world.control.labels.teach_mail(JUNK_RAW, Label.HAM, HOME)
    world.control.labels.forget(HOME, heard.identity)
    world.store.add_label(replace(heard, id=0, source=LabelSource.IMPLICIT, weight=0.3))
    before = world.control.mail.try_mail(JUNK_RAW)
    mail = world.store.judgement_of(HOME, heard.identity)
    world.control.review.answer(mail.id, Label.SPAM, move=False)
    assert world.control.mail.try_mail(JUNK_RAW).probability > before.probability
    world.control.review.unanswer(mail.id)
    after = world.control.mail.try_mail(JUNK_RAW)
    assert (after.probability, after.copy_of) == (before.probability, before.copy_of)
    assert world.store.label_of(HOME, heard.identity).source is LabelSource.IMPLICIT


def test_a_label_taken_back_in_one_account_holds_in_the_other(world, monkeypatch):
    """The head and the memory of copies know a mail by its identity, wherever it lies."""
    monkeypatch.setattr(
        world.engine, "rebuild_scores", lambda: world.scorer.rebuild(lessons(world.store, time.time(), 5000))
    )
    for account in ("home", "work"):
        record = world.control.labels.teach_mail(JUNK_RAW, Label.SPAM, account)
    world.engine.rebuild_scores()
    taught = world.control.mail.try_mail(JUNK_RAW)
    assert taught.copy_of is Label.SPAM
    world.control.labels.forget("home", record.identity)
    assert world.control.mail.try_mail(JUNK_RAW).copy_of is Label.SPAM
    assert world.control.mail.try_mail(JUNK_RAW).probability == pytest.approx(taught.probability)
    world.control.labels.forget("work", record.identity)
    assert world.control.mail.try_mail(JUNK_RAW).copy_of is None


def test_a_mail_that_was_handed_over_is_known_and_proves_nothing_of_the_mailbox(world):
    points = world.store.evidence_points(HOME)
    mails = len(world.store.judgements(account=HOME, limit=10_000))
    record = world.control.labels.teach_mail(JUNK_RAW, Label.SPAM, HOME)
    assert world.control.labels.teach_mail(JUNK_RAW, Label.SPAM, HOME).identity == record.identity
    known = world.store.judgement_of(HOME, record.identity)
    assert known.decision.reason == "before" and known.label is Label.SPAM
    assert (
        known.sender == vector.vectorise(JUNK_RAW).sender
        and known.subject == vector.vectorise(JUNK_RAW).subject
    )
    assert len(world.store.judgements(account=HOME, limit=10_000)) == mails + 1
    assert world.store.evidence_points(HOME) == points
    assert "could not be read" not in world.control.mail.why(known.id).missing


def test_undo_leaves_out_what_was_refused_or_is_under_way(world):
    since = world.now - 40 * 86400
    count = world.control.moves.undo(since=since).count
    moves = [m for m in world.store.moves(since=since) if m.kind == "junk" and m.state is MoveState.DONE]
    world.store.advance(replace(moves[0], state=MoveState.FAILED))
    world.store.intent(replace(moves[1], id=0, kind=MoveKind.UNDO, state=MoveState.INTENT))
    plan = world.control.moves.undo(since=since)
    assert plan.count == count - 2
    assert not {moves[0].id, moves[1].id} & {item.move_id for item in plan.items}


def test_one_mail_is_not_put_back_while_it_is_being_moved_nor_if_it_never_was(world):
    moves = [m for m in world.store.moves(HOME) if m.kind == "junk" and m.state is MoveState.DONE]
    for row, state, said in (
        (moves[0], MoveState.COPIED, "this very moment"),
        (moves[1], MoveState.ABANDONED, "nothing to undo"),
    ):
        judged = world.store.judgement_of(HOME, row.identity)
        world.store.advance(replace(row, state=state))
        with pytest.raises(RequestError, match=said) as refused:
            world.control.moves.undo_one(judged.id)
        assert refused.value.hint
        assert world.store.label_of(HOME, row.identity) is None or judged.label is not None


def test_undo_of_one_account_leaves_the_other(world):
    plan = world.control.moves.undo(since=0.0, account="home")
    assert {item.account for item in plan.items} == {HOME}
    assert world.control.moves.undo(since=0.0, account="work").count == 0
    with pytest.raises(NotFound):
        world.control.moves.undo(since=0.0, account="nobody")


def test_what_a_program_did_to_many_mails_at_once_is_forgotten_and_nothing_else(world):
    """What the person said of one of them before holds again: forgotten with the rest, its rescue would be."""
    first, second = [m for m in world.store.judgements(account=HOME, limit=50) if m.label is None][:2]
    said = world.control.review.answer(first.id, Label.HAM).label
    asked_before = world.control.labels.export()
    for mail in (first, second):
        world.say(mail, Label.SPAM, LabelSource.DRAG, world.now + 100, held=True)
    world.store.add_event("correction", "2 mails at once", account=HOME, needs_person=True)
    assert [one.identity for one in world.control.labels.held_back(WORK)] == []
    assert {one.identity for one in world.control.labels.held_back()} == {first.identity, second.identity}
    assert "Nothing is held back" in world.control.labels.answer_held(False, "work").text
    assert "2 labels" in world.control.labels.answer_held(False).text
    assert world.store.label_of(HOME, first.identity) == said
    assert world.store.label_of(HOME, second.identity) is None
    assert world.control.labels.export() == asked_before
    assert world.store.past_of(HOME, [first.identity])[first.identity].rescued
    assert not [one for one in world.control.events.newest(needs_person=True) if one.kind == "correction"]
    assert ("rebuild",) in world.engine.calls


def test_imported_labels_are_checked(world):
    good = world.control.labels.export()[0]
    strange = [
        replace(good, account=AccountName("nobody")),
        replace(good, identity=Identity("")),
        replace(good, weight=-1.0),
        replace(good, weight=1e9),
    ]
    assert world.control.labels.take_over(strange).added == 0
    assert not [call for call in world.engine.calls if call == ("rebuild",)]
    result = world.control.labels.take_over([replace(good, label=Label.HAM, at=world.now)])
    assert result.added == 1
    assert world.store.label_of(good.account, good.identity).source is LabelSource.IMPORT


@pytest.mark.parametrize("source", [LabelSource.FOLDER, LabelSource.HINT, LabelSource.IMPLICIT])
def test_an_imported_rescue_is_more_than_what_the_first_reading_made_of_the_folder(world, source):
    """A new installation reads the folders first, and only then the ledger of the old one."""
    good = world.control.labels.export()[0]
    read = replace(good, identity=Identity("guid:both"), label=Label.HAM, source=source, weight=0.7, id=0)
    world.store.add_label(replace(read, at=world.now, held=False))
    rescued = replace(read, source=LabelSource.DRAG, weight=1.0, at=world.now - 1000)
    assert world.control.labels.take_over([rescued]).added == 1
    assert world.store.label_of(good.account, read.identity).source is LabelSource.IMPORT
    assert world.store.past_of(good.account, [read.identity])[read.identity].rescued
    assert corrections.said_how(world.store.label_of(good.account, read.identity)) is LabelSource.DRAG
    assert world.control.labels.take_over([replace(read, source=LabelSource.IMPLICIT, at=1.0)]).added == 0


@pytest.mark.parametrize("at", [-7e10, 9e10])
def test_an_imported_word_was_said_by_now(world, at):
    """Lists show when: 2.6e11 seconds lie behind the year 9999, and -6.3e10 before the year 1."""
    good = replace(world.control.labels.export()[0], identity=Identity("guid:when"), at=at)
    assert world.control.labels.take_over([good]).added == (at > 0)
    assert all(0 < one.at <= time.time() for one in world.control.labels.newest(limit=1000))


def test_importing_what_is_there_changes_nothing(world):
    """A drag stays a drag: by its source the gate knows a rescue."""
    mail = world.store.judgements(account=HOME, limit=1)[0]
    for label in (Label.HAM, Label.SPAM):  # and what was said before stays once in the history
        world.control.review.answer(mail.id, label, move=False)
    before = list(world.store.ledger())
    assert {one.source for one in before} >= {LabelSource.DRAG, LabelSource.REVIEW}
    assert world.control.labels.take_over(before).added == 0
    assert list(world.store.ledger()) == before


def test_what_a_removed_account_left_is_still_found_by_its_name(world):
    world.control.accounts.remove("work", wipe=False)
    assert world.control.mail.recent(account="work") and world.control.labels.newest(account="work")
    world.control.wipe("account:work")
    for asked in (world.control.mail.recent, world.control.labels.newest):
        with pytest.raises(NotFound, match="'work'"):
            asked(account="work")
    with pytest.raises(NotFound, match="'work'"):
        world.control.wipe("account:work")


def test_before_the_first_model_there_is_nothing_to_go_back_to(world):
    world.control.wipe("all")
    with pytest.raises(RequestError, match="Nothing to go back to"):
        world.control.models.roll_back()


def test_a_model_that_was_put_aside_is_known_until_there_is_a_newer_one(world):
    assert not world.scorer.gone_back()
    world.control.models.reset()
    assert world.scorer.gone_back()
    world.control.models.roll_back(world.bundles.newest().id)
    assert not world.scorer.gone_back()
    world.control.wipe("all")
    assert not world.scorer.gone_back(), "nothing was measured of another one"


def test_wiping_all_forgets_also_under_which_mail_the_program_ended(world):
    ends = world.paths.state / "unreadable.json"
    ends.write_text(json.dumps({"version": __version__, "ends": {"0" * 32: 2}}))
    world.scorer = Scorer(world.bundles, poison=Poison(world.paths.state))
    world.begin()
    for what in ("display", "account:work"):
        world.control.wipe(what)
    assert ends.exists()
    world.control.wipe("all")
    assert not ends.exists()


def test_wiping_takes_the_model_along(world):
    assert world.control.models.all().current.parent is not None
    world.control.wipe("display")
    assert world.control.models.all().current.parent is not None
    world.control.wipe("all")
    assert world.control.models.all().current.parent is None and world.scorer.card.parent is None
    assert ("rebuild",) in world.engine.calls


def test_an_account_goes_even_where_what_was_learned_of_it_cannot(world, monkeypatch):
    """Another program reads the database: said together with what was done, and the rest is done."""
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    with contextlib.closing(sqlite3.connect(world.paths.database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM judgement").fetchone()
        world.store.close()
        world.store = Store(world.paths.database)
        world.begin()
        with pytest.raises(DoneInPart, match=r"^The account work was removed\.") as told:
            world.control.accounts.remove("work", wipe=True)
    assert "could not be wiped for good" in told.value.title and "then wipe again" in told.value.hint
    assert settings.load(world.paths.config_file).account("work") is None
    assert ("reload",) in world.engine.calls
    assert world.store.events(limit=1)[0].text == "Account work was removed."


def test_with_an_account_goes_its_grant_at_the_provider(world, authorisation, tmp_path):
    """Where the provider does not answer, that is said, and the account goes all the same."""
    settings.save(world.paths.config_file, {"oauth_file": str(authorisation.provider_file(tmp_path))})
    signed_in, never = (
        Account(
            AccountName(name),
            host=f"{name}.example",
            user="u1",
            auth=AuthMethod.OAUTH,
            oauth_provider="local",
        )
        for name in ("signed-in", "never")
    )
    grant = Grant("u1", "a refresh token")
    authorisation.grants.append(grant)
    for account, secret in ((never, None), (signed_in, packed(grant.refresh_token))):
        world.control.accounts.add(account, secret)
        world.control.accounts.remove(account.name)
    assert grant.revoked and len(authorisation.requests) == 1
    world.control.accounts.add(signed_in, packed(grant.refresh_token))
    authorisation.close()
    with pytest.raises(DoneInPart, match="could not be ended") as told:
        world.control.accounts.remove(signed_in.name)
    assert "at local" in told.value.hint
    assert settings.load(world.paths.config_file).account(signed_in.name) is None
    with pytest.raises(SecretMissing):
        world.secrets.get(signed_in.name)


def test_an_imported_ledger_protects_mail_that_is_not_known_here_yet(world):
    """A new installation: what the person rescued on the old one is never filed."""
    good = world.control.labels.export()[0]
    rescued = replace(
        good, identity=Identity("guid:elsewhere"), label=Label.HAM, source=LabelSource.DRAG, at=world.now
    )
    weak = replace(rescued, identity=Identity("guid:weak"), source=LabelSource.IMPLICIT, weight=0.3)
    assert world.control.labels.take_over([rescued, weak]).added == 2
    assert world.store.past_of(good.account, [rescued.identity])[rescued.identity].rescued
    assert weak.identity not in world.store.past_of(good.account, [weak.identity]), (
        "silence is no word of the person"
    )
    assert world.store.label_of(good.account, weak.identity).source is LabelSource.IMPLICIT


def test_settings_are_all_or_nothing(world):
    from spamd.errors import ConfigError

    with pytest.raises(ConfigError):
        world.control.settings.change({"keep_days": "30", "night_start": "noon"})
    assert settings.load(world.paths.config_file).keep_days == 90
    world.control.settings.change({"keep_days": "30"})
    assert ("reload",) in world.engine.calls


def test_passwords_move_along_with_where_they_are_kept(tmp_path):
    from spamd.credentials import Secrets

    world = World(tmp_path / "moving", hostile=False, mails=False)
    try:
        world.control.accounts.set_secret(
            "home", "s3cret"
        )  # the tests' place, which the settings call "keyring"
        world.control.settings.change({"secrets": "file"})
        kept = Secrets.choose(settings.load(world.paths.config_file), world.paths)
        assert kept.get(HOME) == "s3cret"
        world.control.accounts.set_secret("home", "newer")
        assert kept.get(HOME) == "newer"
        with pytest.raises(SpamdError):
            world.secrets.get(HOME)
    finally:
        world.close()


def test_a_keyring_that_cannot_be_used_changes_nothing(tmp_path):
    world = World(tmp_path / "stuck", hostile=False, mails=False)
    try:
        world.control.settings.change({"secrets": "file"})
        world.control.accounts.set_secret("home", "s3cret")
        with pytest.raises(SpamdError):
            world.control.settings.change({"secrets": "keyring"})
        assert settings.load(world.paths.config_file).secrets == "file"
        assert world.control.settings.vault().get(HOME) == "s3cret"
    finally:
        world.close()


def test_settings_changed_by_hand_are_seen(world):
    from spamd.paths import write_private

    assert {one.name: one.value for one in world.control.settings.all()}["keep_days"] == "90"
    text = world.paths.config_file.read_text()
    write_private(world.paths.config_file, ("keep_days = 31\n" + text).encode())
    assert {one.name: one.value for one in world.control.settings.all()}["keep_days"] == "31"


def test_a_broken_file_leaves_the_settings_as_they_were(world):
    from spamd.errors import ConfigError

    assert len(world.control.accounts.all()) == 2
    world.paths.config_file.write_text("keep_days = many\n")
    assert len(world.control.accounts.all()) == 2
    with pytest.raises(ConfigError):
        world.control.settings.change({"keep_days": "30"})
    assert world.paths.config_file.read_text() == "keep_days = many\n"


def test_doubtful_mail_called_junk_is_counted_as_corrected(world):
    mail = world.add(902, ("shop@buy.example", "Order", "x"), Verdict.UNSURE, 0.7, world.now, WORK)
    before = world.control.status().today["corrected"]
    world.control.review.answer(mail.id, Label.SPAM, move=False)
    assert world.control.status().today["corrected"] == before + 1


def test_figures_kept_for_a_moment_do_not_outlive_an_answer(world):
    waiting = world.control.review.waiting()
    world.control.review.answer(world.control.review.items(1)[0].judgement.id, Label.HAM)
    assert world.control.review.waiting() == waiting - 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a@b.example", "a@b.example"),
        (" <A@B.Example> ", "a@b.example"),
        ("@b.example", "b.example"),
        ("b.example.", "b.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_list_values(text, value):
    assert list_value(text) == value


@pytest.mark.parametrize(
    "text", ["", "b", "a@b", "a b.example", "a@b..example", "a\nb.example", "a@b.example\x00", "<>"]
)
def test_what_is_no_list_value(text):
    with pytest.raises(RequestError):
        list_value(text)


def test_the_feed_tells_every_listener_and_forgets_those_who_left():
    feed, heard = Feed(lambda: 5.0), []
    forget = feed.listen(heard.append)
    feed.listen(heard.append)
    feed.publish("state", {"x": 1})
    forget()
    forget()
    feed.publish("verdict", {})
    assert [(one.kind, one.at) for one in heard] == [("state", 5.0), ("state", 5.0), ("verdict", 5.0)]


def test_many_threads_ask_at_once(world):
    """Pages, tray and add-on at the same time, while answers come in."""
    trouble = []

    def ask():
        try:
            for _ in range(10):
                world.control.status()
                world.control.mail.recent(limit=20)
                world.control.review.items(10)
        except Exception as error:  # noqa: BLE001 whatever it is, it belongs to the test
            trouble.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for item in world.control.review.items(10):
        world.control.review.answer(item.judgement.id, Label.SPAM)
    for thread in threads:
        thread.join(120)
    assert trouble == []


def test_the_shadow_table_is_what_the_ledger_says(world):
    """Counted by hand: each mail of the week at its first score, against the person's word."""
    (shadow,) = world.control.figures.shadow(account=WORK)
    since = world.now - 7 * 86400.0
    week = [one for one in world.store.judgements(account=WORK, limit=500) if one.at >= shadow.since]
    assert since <= shadow.since <= time.time() - 7 * 86400.0 and shadow.judged == len(week) > 0
    high = [one for one in week if one.score.probability >= shadow.threshold]
    assert shadow.threshold == world.scorer.card.junk_threshold and not shadow.proven
    assert shadow.would_move == len(high)
    assert shadow.right == sum(one.label is Label.SPAM for one in high)
    assert shadow.wrong == sum(one.label is Label.HAM for one in high)
    assert shadow.missed == sum(one.label is Label.SPAM for one in week if one not in high)

    low = next(one for one in week if one.score.probability < shadow.threshold and one.label is None)
    top = world.add(900, ("shop@buy.example", "Order", "x"), Verdict.UNSURE, 0.9999, world.now - 60, WORK)
    world.say(low, Label.SPAM, LabelSource.DRAG, world.now)
    world.say(top, Label.HAM, LabelSource.REVIEW, world.now)
    world.control.kept.after_change()
    (after,) = world.control.figures.shadow(account=WORK)
    assert (after.wrong, after.missed) == (shadow.wrong + 1, shadow.missed + 1)
    assert [one.outcome for one in after.mails][:1] == ["wrong"]
    assert after.mails[0].judgement.id == top.id
    assert f"{after.wrong} wrong" in after.text and f"{after.missed} would have stayed" in after.text


def test_all_doors_tell_one_probability_and_no_verdict_hangs_on_it(world):
    """A filter that sounds surer than it is, as became of its mail: mails, thresholds and tables are told by one line."""
    control = world.control
    state = control.accounts.one(HOME).state
    known = state.evidence or EVIDENCE
    line = (0.5, -0.7)

    def asked():
        mail = control.mail.one(world.why_id)
        found = next(one for one in control.mail.recent(account=HOME, limit=200) if one.id == mail.id)
        searched = next(
            one for one in control.mail.search(mail.sender.partition("@")[0]) if one.id == mail.id
        )
        why, tried = control.mail.why(world.why_id), control.mail.try_mail(JUNK_RAW)
        (shadow,) = control.figures.shadow(90, HOME)
        shown = control.accounts.one(HOME).state.evidence
        return {
            "mail": (mail.score.probability, mail.decision.verdict),
            "list": (found.score.probability, found.decision.verdict),
            "search": (searched.score.probability, searched.decision.verdict),
            "why": (why.probability, why.verdict),
            "tried": (tried.probability, tried.verdict),
            "junk from": (
                why.junk_threshold,
                tried.junk_threshold,
                shadow.threshold,
                shown.junk_threshold,
            ),
            "unsure from": (why.unsure_threshold, tried.unsure_threshold, shown.unsure_threshold),
            "shadow": tuple(x for one in shadow.mails for x in (one.probability, one.outcome)),
            "review": tuple(
                x
                for one in control.review.items(50)
                if one.judgement.account == HOME
                for x in (one.judgement.score.probability, one.cause)
            ),
        }

    world.engine.states[HOME] = replace(state, evidence=replace(known, junk_threshold=0.97))
    plain, before = asked(), control.mail.try_mail(JUNK_RAW)
    control.kept.after_change()
    world.engine.states[HOME] = replace(state, evidence=replace(known, junk_threshold=0.97, told=line))
    after, then = asked(), control.mail.try_mail(JUNK_RAW)
    for why in (before, then):  # the parts and reasons add up to what is told beside them
        log_odds = math.log(why.probability / (1 - why.probability))
        assert why.base_logit + why.personal_logit == pytest.approx(log_odds, abs=1e-3)
    assert [one.contribution for one in then.reasons] == pytest.approx(
        [line[0] * one.contribution for one in before.reasons], abs=1e-4
    )
    for name, values in plain.items():
        wanted = tuple(told(one, line) if isinstance(one, float) else one for one in values)
        assert after[name] == pytest.approx(wanted), name
    assert any(isinstance(one, float) for one in plain["review"] + plain["shadow"])
    assert world.store.judgement(world.why_id).score.probability == plain["mail"][0], "as it is kept"


def test_what_is_scored_again_keeps_its_first_score_in_the_shadow_table(world):
    mail = world.add(901, ("shop@buy.example", "Order", "x"), Verdict.UNSURE, 0.9999, world.now - 60, WORK)
    before = world.control.figures.shadow(account=WORK)[0].would_move
    learned = replace(mail, id=0, score=replace(mail.score, probability=0.001))
    world.store.record_judgement(learned, vector=None)
    world.control.kept.after_change()
    assert world.store.judgement(mail.id).score.probability == 0.001
    assert world.control.figures.shadow(account=WORK)[0].would_move == before


def test_the_evidence_s_own_threshold_is_the_shadow_s(world):
    found = {one.account: one for one in world.control.figures.shadow(30)}
    assert found[HOME].threshold == 0.982 and found[HOME].proven
    assert found[HOME].wrong >= 1, "the mail that was put back"
    assert "were or would be moved" in found[HOME].text  # this account filters


LETTER = (
    b"From: Anna <anna@example.org>\r\nTo: me@example.org\r\nSubject: Saturday\r\nMessage-ID: <twin@example.org>\r\n"
    b"\r\nAre you still in for the lake? We leave at nine and take the small tent.\r\n"
)
FORGED = JUNK_RAW.replace(b"\r\n\r\n", b"\r\nMessage-ID: <twin@example.org>\r\n\r\n", 1)


def arrived(world, number: int, raw: bytes, *, account=HOME, folder="INBOX", size=None):
    """A mail of these bytes was judged and lies there."""
    verdict = Verdict.JUNK if b"PayPa1" in raw else Verdict.KEEP
    mail = world.add(number, ("x@example.org", "twin", ""), verdict, 0.5, world.now + number, account=account)
    world.store.put_vector(mail.account, mail.identity, vector.pack(vector.vectorise(raw)))
    place = MessageRef(FolderName(folder), UidValidity(1), Uid(number))
    world.store.add_sightings(
        [
            Sighting(
                mail.account,
                place,
                mail.identity,
                seen_at=world.now,
                message_id="twin@example.org",
                size=len(raw) if size is None else size,
            )
        ]
    )
    return world.store.judgement(mail.id)


def test_a_copied_message_id_lends_no_verdict(world):
    """Only the forged mail was judged: the true one, an old letter, must not be shown as junk, nor answered for it."""
    junk = arrived(world, 900, FORGED)
    ask = world.control.mail.identify
    assert ask("twin@example.org", size=len(FORGED)).judgement == junk
    doubtful = ask("twin@example.org", size=len(LETTER))
    assert (doubtful.judgement, doubtful.doubtful) == (None, True)
    assert ask("twin@example.org", size=len(LETTER), raw=LETTER).judgement is None
    # The junk mail itself, in a local folder where its size is another one.
    for end in (b"", b"\r\n", b"\r\n\r\n"):
        assert ask("twin@example.org", size=7, raw=FORGED.rstrip() + end).judgement == junk
    assert ask("twin@example.org", size=0).doubtful
    good = arrived(world, 901, LETTER)
    for _ in range(2):  # whichever came last
        assert ask("twin@example.org", size=len(LETTER)).judgement == good
        assert ask("twin@example.org", size=len(FORGED)).judgement == junk
        arrived(world, 902, FORGED, size=1)
    nobody = ask("nobody@example.org", size=3)
    assert (nobody.judgement, nobody.doubtful) == (None, False)


def test_mails_of_one_size_are_told_apart_by_what_they_say(world):
    good = arrived(world, 900, LETTER, size=1000)
    junk = arrived(world, 901, FORGED, size=1000)
    ask = world.control.mail.identify
    assert ask("twin@example.org", size=1000).doubtful
    assert ask("twin@example.org", size=1000, raw=LETTER).judgement == good
    assert ask("twin@example.org", size=1000, raw=FORGED).judgement == junk
    assert ask("twin@example.org", size=1000, raw=LETTER.replace(b"lake", b"bank")).judgement is None


def test_true_copies_are_told_apart_by_where_they_lie(world):
    """A letter to two addresses of one person, and twice in one account."""
    home = arrived(world, 900, LETTER, account=HOME)
    work = arrived(world, 901, LETTER, account=WORK)
    sub = arrived(world, 902, LETTER, account=HOME, folder="INBOX.Lists")
    world.store.mark_gone(HOME, FolderName("INBOX"), UidValidity(1), [Uid(902)], world.now)

    def ask(**more):
        return world.control.mail.identify("twin@example.org", size=len(LETTER), raw=LETTER, **more).judgement

    assert ask(account=WORK, lies_in="/INBOX") == work
    assert ask(account=HOME, lies_in="/INBOX") == home
    assert ask(account=HOME, lies_in="/INBOX/Lists") == sub
    assert ask(account=HOME, lies_in="/Elsewhere/") == sub  # the newest


def test_without_the_trainer_status_says_how_to_add_it(world, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tensorflow" else found(name, *rest)
    )
    assert "spamd-desktop[train]" in world.control.status().training_hint
    with pytest.raises(RequestError, match="not possible"):
        world.control.models.train()
    monkeypatch.undo()
    if found("tensorflow") is not None:
        assert world.control.status().training_hint == ""


def test_labels_that_hold_a_night_up_are_asked_about_until_they_are_answered(world):
    mails = [one for one in world.store.judgements(account=HOME, limit=500) if one.label is not None][:2]
    waiting = [[one.account, one.identity] for one in mails]
    world.store.set_state(nightly.CONTRADICTING, json.dumps([*waiting, [HOME, "hash:gone"]]))
    asked = {one.judgement.id: one for one in world.control.review.items(50) if one.cause == "contradicts"}
    assert set(asked) == {one.id for one in mails}
    assert all(one.suggestion is world.store.judgement(number).label for number, one in asked.items())
    world.control.review.answer(mails[0].id, mails[0].label, move=False)
    world.control.labels.forget(HOME, mails[1].identity)
    assert not [one for one in world.control.review.items(50) if one.cause == "contradicts"]
