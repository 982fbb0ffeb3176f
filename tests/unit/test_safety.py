"""Ways to lose, bury or mislabel a mail that were thought of, each tried on a mailbox in memory."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace

import pytest

from spamd.answers import AccountPhase
from spamd.domain import (
    MOVING_KEYWORD,
    Account,
    Label,
    LabelRecord,
    LabelSource,
    Mode,
    MoveKind,
    MoveState,
    Verdict,
)
from spamd.errors import ConfigError, ConnectionLost, FolderRefused, ProtocolFault
from spamd.filtering import Filter
from spamd.judgement import schedule
from spamd.store.database import Store
from tests.fakes.memory_mailbox import FULL, START, MemoryServer
from tests.unit.test_account_worker import World, wait_for
from tests.unit.test_filtering import ME, Place, mail

FOLDERS = ("Junk", "Trash", "Archive", "Doubt", "Sent")


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    made.look()
    yield made
    made.store.close()


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "FIRST_WAIT", 0.02)
    monkeypatch.setattr(schedule, "BUSY_WAIT", 0.02)
    made = World(tmp_path)
    yield made
    made.close()


def cut_at(place, verb, *, after=False):
    """The connection breaks at every command that starts so; returns what mends it."""

    def cut(command):
        if command.startswith(verb):
            raise ConnectionLost("cut")

    name = "after" if after else "before"
    setattr(place.server, name, cut)
    return lambda: setattr(place.server, name, None)


def say(place, label, source=LabelSource.REVIEW):
    identity = place.judgement().identity
    place.now += 1
    place.store.add_label(LabelRecord(ME, identity, label, source, 1.0, place.now))


# -- an interrupted move, and what the person says meanwhile


def interrupted(place, *, after):
    place.server.deliver(mail(1, 0.99))
    mend = cut_at(place, "MOVE", after=after)
    with pytest.raises(ConnectionLost):
        place.look()
    mend()
    place.connect()


def test_a_move_is_not_begun_again_when_the_person_has_said_that_the_mail_is_good(place):
    interrupted(place, after=False)
    say(place, Label.HAM)
    place.filter.recover()
    place.look()
    assert place.server.raws("INBOX") == [mail(1, 0.99)]
    assert not place.server.raws("Junk")
    assert not place.store.open_moves(ME)


def test_a_move_that_was_done_after_all_is_undone_when_the_person_has_said_that_the_mail_is_good(place):
    interrupted(place, after=True)
    assert place.server.raws("Junk")
    say(place, Label.HAM)
    place.filter.recover()
    place.look()
    assert place.server.raws("INBOX") == [mail(1, 0.99)]
    assert not place.server.raws("Junk")
    assert [one.source for one in place.labels()] == [LabelSource.REVIEW]
    assert not place.judgement().moved


def test_a_move_is_not_begun_again_while_paused(place):
    interrupted(place, after=False)
    place.paused = True
    place.filter.recover()
    assert place.server.raws("INBOX") == [mail(1, 0.99)]
    assert not place.store.open_moves(ME)


def test_a_put_back_is_finished_even_while_paused(place):
    place.server.deliver(mail(1, 0.99))
    place.look()
    mend = cut_at(place, "MOVE")
    with pytest.raises(ConnectionLost):
        place.filter.moves.put_back(place.store.moves(ME)[0])
    mend()
    place.paused = True
    place.connect()
    place.filter.recover()
    assert place.server.raws("INBOX") == [mail(1, 0.99)]


def test_the_twin_of_an_interrupted_move_is_not_taken_for_our_copy(tmp_path):
    """Without a true id two identical mails cannot be told apart; MOVE never leaves both."""
    place = Place(tmp_path, server=MemoryServer(abilities=replace(FULL, server_ids=False), folders=FOLDERS))
    place.look()
    place.server.deliver(mail(1, 0.99), at=place.now)
    twin = place.server.deliver(mail(1, 0.99), at=place.now)
    mend = cut_at(place, "MOVE")
    with pytest.raises(ConnectionLost):
        place.look()
    mend()
    before = place.server.bodies()
    place.server.drag(twin, "Junk")
    place.connect()
    place.filter.recover()
    place.look()
    assert place.server.bodies() == before, "no mail may be lost"
    assert len(place.server.raws("Junk")) == 2
    assert not place.store.open_moves(ME)
    place.store.close()


# -- two clients at the same moment


def test_a_race_is_settled_at_the_next_look_and_is_no_rescue(tmp_path):
    place = Place(tmp_path, server=MemoryServer(folders=FOLDERS, id_kind="guid"))
    place.look()
    ref = place.server.deliver(mail(1, 0.99))
    copied = []

    def race(command):
        if command.startswith("MOVE") and not copied:
            copied.append(place.server.folders["INBOX"].mails[ref.uid])

    place.server.before = race
    place.look()
    place.server.before = None
    with place.server.changed:  # the other client's copy shows up only now
        place.server._put(place.server.folders["Archive"], copied[0])
        place.server._tell()
    place.now += 5
    place.filter.reconcile()
    place.look()
    assert place.server.raws("Archive") == [mail(1, 0.99)]
    assert not place.server.raws("Junk")
    place.look()
    assert not place.labels(), "taking our own copy away is no word of the person"
    (row,) = place.store.moves(ME)
    assert row.state is MoveState.ABANDONED
    place.store.close()


def test_the_worker_reconciles_at_every_look(world, monkeypatch):
    asked = []
    real = Filter.reconcile
    monkeypatch.setattr(Filter, "reconcile", lambda self: (asked.append(1), real(self))[1])
    worker = world.worker()
    world.watching(worker)
    before = len(asked)
    worker.wake()
    wait_for(lambda: len(asked) > before, "another look")


def test_a_lock_left_behind_does_not_keep_a_mail_from_being_put_back(place):
    place.server.deliver(mail(1, 0.99))
    place.look()
    place.server.set_flags(place.server.refs("Junk")[0], [MOVING_KEYWORD])
    outcome = place.filter.moves.put_back(place.store.moves(ME)[0])
    assert outcome is not None
    assert outcome.state is MoveState.DONE
    assert place.server.raws("INBOX") == [mail(1, 0.99)]
    assert not place.server.flagged(MOVING_KEYWORD)


# -- one folder's trouble


@pytest.mark.parametrize("folder", ["Junk", "Doubt"])
@pytest.mark.parametrize("verb", ["STATUS", "FETCH", "FLAGS", "SEARCH"])
def test_a_refused_folder_does_not_end_the_look(tmp_path, folder, verb):
    place = Place(
        tmp_path,
        Account(ME, unsure_folder="Doubt"),
        MemoryServer(folders=FOLDERS),
    )
    place.server.deliver(mail(7), folder)
    place.look()
    place.server.deliver(mail(8), folder)
    place.server.delete(place.server.refs(folder)[0])

    def refuse(command):
        if command.startswith(f"{verb} {folder}"):
            raise FolderRefused("no right")

    place.server.before = refuse
    place.server.deliver(mail(1))
    assert [one.decision.verdict for one in place.look()] == [Verdict.KEEP]
    place.server.before = None
    assert place.look() == []
    place.store.close()


def test_a_refused_mark_does_not_keep_mail_from_being_moved(tmp_path):
    place = Place(tmp_path, Account(ME, stamp=True))
    place.look()

    def refuse(command):
        if command.startswith("STORE INBOX"):
            raise ProtocolFault("BAD")

    place.server.before = refuse
    place.server.deliver(mail(1, 0.99))
    place.server.deliver(mail(2))
    assert [one.moved for one in place.look()] == [True, False]
    place.store.close()


# -- the brake


def held_by_the_brake(tmp_path):
    place = Place(tmp_path, Account(ME, max_moves_per_hour=2))
    place.look()
    for number in range(4):
        place.server.deliver(mail(number, 0.99))
    place.look()
    assert len(place.server.raws("Junk")) == 2
    return place


def test_go_on_after_a_long_weekend_moves_what_was_held_back(tmp_path):
    place = held_by_the_brake(tmp_path)
    place.now += 4 * 86400
    place.filter.brake.release()
    place.filter.later.go_on()
    assert len(place.server.raws("Junk")) == 4
    place.store.close()


@pytest.mark.scenario(44)
def test_the_brake_works_after_the_clock_was_ahead(tmp_path):
    place = held_by_the_brake(tmp_path)
    place.now += 10 * 365 * 86400
    place.filter.brake.release()
    place.now -= 10 * 365 * 86400 - 7200
    for number in range(10, 15):
        place.server.deliver(mail(number, 0.99))
    place.look()
    assert place.filter.brake.check().held
    assert len(place.server.raws("Junk")) == 4
    place.store.close()


def test_go_on_said_while_there_is_no_connection(world):
    worker = world.worker(Account(ME, mode=Mode.FILTERING, max_moves_per_hour=2))
    world.watching(worker)
    for number in range(4):
        world.server.deliver(mail(number))
    wait_for(lambda: worker.state().phase is AccountPhase.BRAKE, "the brake")
    world.opener.trouble = [ConnectionLost("no network")] * 5
    worker.awake_again()
    worker.go_on()
    wait_for(lambda: len(world.server.raws("Junk")) == 4, "the rest")


# -- what the person asks for


def test_an_order_against_the_persons_later_word_is_not_carried_out(world):
    worker = world.worker(Account(ME, mode=Mode.LEARNING))
    world.watching(worker)
    world.server.deliver(mail(1))
    judgement = wait_for(lambda: world.store.judgements(account=ME), "the verdict")[0]
    world.store.add_label(
        LabelRecord(ME, judgement.identity, Label.HAM, LabelSource.REVIEW, 1.0, time.time())
    )
    worker.order("file-junk", [judgement.id])
    wait_for(lambda: world.store.state(f"orders:{ME}") == "[]", "the order")
    assert world.server.raws("INBOX") == [mail(1)]


def test_put_back_although_no_more_may_be_downloaded_today(world):
    worker = world.worker(daily_bytes=1)
    world.watching(worker)
    world.server.deliver(mail(1))
    # The first bytes are counted after the first round only, so that this one mail may have been judged.
    world.store.set_state(f"bytes:{ME}", "")
    worker.stop()
    assert worker.join(time.monotonic() + 30)
    free = world.worker()
    wait_for(lambda: world.server.raws("Junk"), "the move")
    free.stop()
    assert free.join(time.monotonic() + 30)
    world.store.set_state(f"bytes:{ME}", time.strftime("%Y-%m-%d") + " 1000000")
    again = world.worker(daily_bytes=1)
    again.order("put-back", [world.store.moves(ME)[0].id])
    wait_for(lambda: world.server.raws("INBOX"), "the undo")


def test_a_mistake_in_the_settings_is_told_in_words(world):
    world.opener.trouble = [ConfigError("The inbox cannot be the Junk folder.", "Choose another.")]
    worker = world.worker()
    wait_for(lambda: worker.state().phase is AccountPhase.ERROR, "the error")
    (event,) = wait_for(lambda: world.store.events(limit=5), "the event")
    assert event.needs_person
    assert "inbox cannot be" in event.text
    worker.kick()
    world.watching(worker)


def test_the_watch_goes_on_when_it_cannot_be_closed(world, monkeypatch):
    worker = world.worker(poll=0.2)
    world.watching(worker)
    (watch,) = wait_for(lambda: list(world.server.watches), "the watch")
    monkeypatch.setattr(watch, "close", lambda: (_ for _ in ()).throw(OSError("broken")))
    with world.server.changed:
        watch.lost = True
        world.server.changed.notify_all()
    wait_for(lambda: world.server.watches != [watch], "a new watch")


# -- twins where an id is one of the content


def twins(tmp_path):
    """One of two identical mails of the same second was moved, the other stays."""
    server = MemoryServer(abilities=replace(FULL, server_ids=False), folders=FOLDERS)
    place = Place(tmp_path, server=server)
    place.look()
    at = place.now
    for number, count in ((1, 2), (2, 1), (3, 1)):
        for _ in range(count):
            server.deliver(mail(number, 0.99), at=at)
    place.look()
    assert len(server.raws("Junk")) == 3
    assert server.raws("INBOX") == [mail(1, 0.99)]
    return place, at


def test_emptying_junk_says_nothing_about_a_twin_in_another_folder(tmp_path):
    place, _ = twins(tmp_path)
    place.server.drag(place.server.refs("INBOX")[0], "Archive")
    place.look()
    place.learner.keep_quiet_mail()
    for ref in place.server.refs("Junk"):
        place.server.delete(ref)
    place.look()
    place.look()
    assert [one.source for one in place.labels() if one.source is not LabelSource.IMPLICIT] == []
    place.store.close()


def test_emptying_junk_says_nothing_about_a_twin_that_came_later(tmp_path):
    place, at = twins(tmp_path)
    place.server.deliver(mail(2, 0.99), at=at)
    place.look()
    for ref in place.server.refs("Junk"):
        place.server.delete(ref)
    place.server.deliver(mail(9, 0.99), "Junk")  # Junk is not empty when we look
    place.look()
    place.look()
    assert not place.labels()
    place.store.close()


# -- clocks


@pytest.mark.scenario(44)
def test_a_word_said_while_the_clock_was_ahead_does_not_silence_the_person(place):
    place.server.deliver(mail(1, 0.2))
    place.look()
    place.now += 365 * 86400
    say(place, Label.SPAM)
    place.now -= 365 * 86400 - 60
    say(place, Label.HAM)
    (label,) = place.labels()
    assert label.label is Label.HAM


# -- a crash in the middle of a look


def test_a_crash_while_a_folder_made_anew_is_written_down(tmp_path, monkeypatch):
    place = Place(tmp_path)
    place.look()
    for number in range(3):
        place.server.deliver(mail(number, 0.2))
    place.look()
    place.server.renumber("INBOX")
    crashes = itertools.count()
    real = place.store.add_sightings

    def crash(found):
        if next(crashes) == 0:
            raise RuntimeError("killed")
        return real(found)

    monkeypatch.setattr(place.store, "add_sightings", crash)
    with pytest.raises(RuntimeError):
        place.look()
    scored = place.scorer.scored
    place.connect()
    place.look()
    assert place.scorer.scored == scored, "no mail is judged again"
    assert not place.store.moves(ME, kind=MoveKind.JUNK)
    place.store.close()


# -- two workers of one mailbox


def test_a_new_worker_waits_for_the_old_one_to_end(world):
    """Changed settings start a new worker; the old one may hang in the middle of a move."""
    old = world.worker()
    world.watching(old)
    arrived, release = threading.Event(), threading.Event()

    def hang(command):
        if command.startswith("MOVE"):
            arrived.set()
            release.wait(60)

    world.server.before = hang
    world.server.deliver(mail(1))
    assert arrived.wait(60)
    old.stop()
    before = world.opener.opened
    new = world.worker(after=[old])
    worker_of = [thread.name for thread in new.threads()]
    assert len(worker_of) > 2, "its own and the old ones"
    assert world.opener.opened == before
    world.server.before = None
    release.set()
    world.watching(new)
    assert world.opener.opened == before + 1
    assert world.server.raws("Junk") == [mail(1)]
    assert world.server.raws("INBOX") == []


# -- mail that the person brings to the inbox


def test_old_mail_put_into_the_inbox_is_not_judged(place):
    """From a folder that nobody watches: it was not delivered, so it is not ours to file."""
    old = place.server.deliver(mail(1, 0.99), "Archive", at=START - 90 * 86400)
    place.server.deliver(mail(2), at=place.now)
    place.look()
    place.server.drag(old, "INBOX")
    place.server.deliver(mail(3, 0.99), at=place.now)
    judged = place.look()
    assert [one.moved for one in judged] == [True]
    assert place.server.raws("INBOX") == [mail(2), mail(1, 0.99)]
    place.connect()
    assert place.look() == []
    moved = place.server.drag(place.server.refs("INBOX")[1], "Junk")
    place.look()
    assert moved
    assert [one.label for one in place.labels()] == [Label.SPAM], "and can be corrected like any other"


@pytest.mark.scenario(44)
def test_a_mail_from_the_future_does_not_stop_the_filter(place):
    place.server.deliver(mail(1), at=place.now + 9 * 365 * 86400)
    place.look()
    place.server.deliver(mail(2, 0.99), at=place.now)
    assert [one.moved for one in place.look()] == [True]


def test_an_old_database_is_put_back_and_rescued_mail_stays(tmp_path):
    """What was moved and rescued since that copy is not known any more; its place among newer mail tells."""
    place = Place(tmp_path)
    place.server.deliver(mail(1), at=place.now)
    place.look()
    place.store.backup_to(tmp_path / "old.db")
    place.server.deliver(mail(2, 0.99), at=place.now)
    place.look()
    place.server.deliver(mail(3), at=place.now + 2 * 86400)
    place.look(2 * 86400 + 60)
    place.server.drag(place.server.refs("Junk")[0], "INBOX")
    place.look()
    assert mail(2, 0.99) in place.server.raws("INBOX")
    place.store.close()
    (tmp_path / "spamd.db").unlink()
    for rest in tmp_path.glob("spamd.db-*"):
        rest.unlink()
    (tmp_path / "old.db").rename(tmp_path / "spamd.db")
    place.store = Store(tmp_path / "spamd.db", clock=lambda: place.now)
    place.connect()
    place.filter.recover()
    place.look()
    assert mail(2, 0.99) in place.server.raws("INBOX")
    assert [one.label for one in place.labels()] == [Label.HAM], (
        "its sign tells that it was taken out of Junk"
    )
    place.store.close()


# -- the person is faster


@pytest.mark.parametrize("moment", ["LOCK", "MOVE"])
def test_the_person_speaks_between_the_verdict_and_the_move(place, moment):
    for number in range(2):
        place.server.deliver(mail(number, 0.99))

    def speak(command):
        if command.startswith(moment):
            for one in place.store.judgements(account=ME):
                place.store.add_label(
                    LabelRecord(ME, one.identity, Label.HAM, LabelSource.REVIEW, 1.0, place.now)
                )

    place.server.before = speak
    place.look()
    place.server.before = None
    place.look()
    assert len(place.server.raws("INBOX")) == 2
    assert not place.server.raws("Junk")


def test_the_person_speaks_before_anything_is_sent(place, monkeypatch):
    place.server.deliver(mail(1, 0.99))
    real = place.store.record

    def speak(entries):
        recorded = real(entries)
        for judgement, _ in recorded:
            place.store.add_label(
                LabelRecord(ME, judgement.identity, Label.HAM, LabelSource.REVIEW, 1.0, place.now)
            )
        return recorded

    monkeypatch.setattr(place.store, "record", speak)
    (judged,) = place.look()
    assert not judged.moved
    assert not [command for command in place.server.commands if command.startswith("MOVE")]
    assert not place.store.open_moves(ME)


def test_go_on_leaves_alone_what_the_person_answered(tmp_path):
    place = held_by_the_brake(tmp_path)
    place.server.set_flags(place.server.refs("INBOX")[0], ["\\Answered"])
    place.now += 10
    place.filter.brake.release()
    place.filter.later.go_on()
    assert len(place.server.raws("Junk")) == 3
    assert len(place.server.raws("INBOX")) == 1
    place.store.close()


def test_a_copy_made_of_a_mail_that_was_put_back_takes_nothing_away(tmp_path):
    place = Place(tmp_path, server=MemoryServer(folders=FOLDERS, id_kind="guid"))
    place.look()
    place.server.deliver(mail(1, 0.99))
    place.look()
    place.now += 600
    place.filter.moves.put_back(place.store.moves(ME)[0])
    place.server.copy(place.server.refs("INBOX")[0], "Archive")
    place.filter.reconcile()
    place.look()
    assert place.server.raws("INBOX") == [mail(1, 0.99)]
    assert place.server.raws("Archive") == [mail(1, 0.99)]
    place.store.close()


def test_a_move_is_not_begun_again_when_the_proof_is_gone(place):
    interrupted(place, after=False)
    place.evidence = replace(place.evidence, mode=Mode.LEARNING)
    place.filter.recover()
    assert place.server.raws("INBOX") == [mail(1, 0.99)]
    assert not place.store.open_moves(ME)


# -- without its past


@pytest.mark.parametrize("what", ["all", f"account:{ME}"])
def test_wiping_while_the_filter_runs_makes_no_old_mail_new(place, what):
    for number in range(3):
        place.server.deliver(mail(number, 0.99), at=place.now)
    place.look()
    place.server.drag(place.server.refs("Junk")[0], "INBOX")
    place.look()
    place.now += 86400
    place.store.wipe(what)
    assert place.look() == []
    assert len(place.server.raws("INBOX")) == 1, "what was rescued stays"
    assert not place.labels()
    place.scorer.rebuild(())  # what was taught is wiped, too
    place.server.deliver(mail(9, 0.99), at=place.now + 1)
    assert [one.moved for one in place.look()] == [True]


@pytest.mark.parametrize("flag", ["\\Answered", "\\Flagged"])
def test_what_the_person_has_dealt_with_is_not_moved(place, flag):
    """The filter was off, and the person answered on the telephone."""
    place.server.deliver(mail(1, 0.99), flags=[flag])
    (judged,) = place.look()
    assert (judged.decision.verdict, judged.moved) == (Verdict.JUNK, False)
    assert judged.decision.reason == "dealt-with"
    assert place.server.raws("INBOX") == [mail(1, 0.99)]
