"""learning on a mailbox in memory: labels at once, weak evidence, the first reading."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from dataclasses import replace

import pytest

from spamd.domain import (
    Account,
    AccountName,
    Evidence,
    Identity,
    Label,
    LabelRecord,
    LabelSource,
    Mode,
    ModelId,
)
from spamd.errors import ConnectionLost, FolderChanged, FolderMissing, FolderRefused
from spamd.judgement import evidence, silence
from spamd.judgement.calibration import AS_IT_IS, told
from spamd.judgement.corrections import Place as Folder
from spamd.learning import changes, first_reading, quiet_mail
from spamd.learning.contacts import recipients
from spamd.learning.first_reading import FirstReading, reading_unfinished
from spamd.learning.lessons import lessons, teaches
from spamd.learning.places import places
from spamd.learning.proof import OF_A_NEWER_MODEL, assess_account
from spamd.message import vector
from tests.fakes.memory_mailbox import FULL, START, MemoryServer
from tests.unit.test_filtering import ME, PROVEN, Place, mail

DAY = 86400.0


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    made.evidence = Evidence(Mode.LEARNING, None, 0.5, 0, 0, 300, None, None, "")
    made.look()
    yield made
    made.store.close()


def states(place):
    """Keys of all that is kept besides rows."""
    with contextlib.closing(sqlite3.connect(place.store.path)) as db:
        return [key for (key,) in db.execute("SELECT key FROM state")]


def test_a_drag_is_a_label_and_a_lesson(place):
    ref = place.server.deliver(mail(1, 0.2))
    place.look()
    place.server.drag(ref, "Junk")
    place.look()
    (label,) = place.labels()
    assert (label.label, label.source, label.weight, label.note) == (
        Label.SPAM,
        LabelSource.DRAG,
        1.0,
        "inbox to junk",
    )
    assert place.scorer.taught == [(label.identity, Label.SPAM, 1.0)]
    assert place.judgement().label is Label.SPAM
    place.look()
    assert len(place.scorer.taught) == 1
    assert [event.kind for event in place.store.events()] == ["correction"]
    assert sum(command.endswith("BODY") for command in place.server.commands) == 1, "read when it was judged"


@pytest.mark.parametrize("score", ["poison", "break"])
def test_a_mail_that_cannot_be_read_can_still_be_named(place, score):
    """It teaches nothing of its words, and keeps nothing else from being learned."""
    named, other = place.server.deliver(mail(1, score)), place.server.deliver(mail(2, 0.2))
    assert [one.subject for one in place.look()] == ["mail 2"]
    for ref in (named, other):
        place.server.drag(ref, "Junk")
    place.look()
    assert [(one.label, one.source) for one in place.labels()] == [(Label.SPAM, LabelSource.DRAG)] * 2
    assert len(place.scorer.taught) == 1
    place.look()
    assert len(place.labels()) == 2


def test_mail_that_was_there_before_us_can_be_corrected(tmp_path):
    server = MemoryServer()
    ref = server.deliver(mail(1, 0.2), at=START - 500)
    place = Place(tmp_path, server=server)
    place.look()
    server.drag(ref, "Junk")
    place.look()
    assert [one.label for one in place.labels()] == [Label.SPAM]
    assert len(place.scorer.taught) == 1
    ((probability, label, _, weight),) = place.store.evidence_points(ME)
    assert (probability, label, weight) == (pytest.approx(0.2), Label.SPAM, 1.0)
    place.store.close()


def test_a_first_look_with_a_clock_that_is_years_behind_finds_nothing_new(tmp_path):
    """The mailbox tells: it holds mail of days to come. What comes after that look is judged, and after the clock is right."""
    server = MemoryServer()
    server.deliver(mail(1, 0.2), at=START)
    server.deliver(mail(2, 0.2), at=START + 400 * DAY)
    place = Place(tmp_path, server=server)
    place.now = START + DAY
    assert place.look() == []
    server.deliver(mail(3, 0.2), at=START + 401 * DAY)
    assert len(place.look()) == 1
    place.now = START + 402 * DAY
    server.deliver(mail(4, 0.2), at=place.now)
    assert len(place.look()) == 1
    place.store.close()


def test_a_first_look_that_is_cut_off_goes_on_where_it_was(tmp_path, monkeypatch):
    """1,700 mails, and the line breaks after 1,200, twice: what was written down is not asked for again."""
    server = MemoryServer()
    for number in range(1700):
        server.deliver(mail(number), "Junk", at=START - 5000 + number)
    new = server.deliver(mail(9999, 0.2), at=START + 500_000)
    place = Place(tmp_path, server=server)
    real, asked = place.session.arrivals, []
    cuts = [1200, 300]

    def arrivals(folder, first, last=None):
        if folder == "Junk":
            asked.append(first)
            cut = cuts.pop(0) if cuts else None
            for number, arrival in enumerate(real(folder, first, last)):
                if number == cut:
                    raise ConnectionLost("cut off")
                yield arrival
        else:
            yield from real(folder, first, last)

    monkeypatch.setattr(place.session, "arrivals", arrivals)
    for _ in range(2):
        with pytest.raises(ConnectionLost):
            place.look()
    place.look()
    assert asked == [1, 1001, 1001], "in steps of 500"
    assert len(place.store.sightings(ME, "Junk")) == 1700
    assert place.labels() == []
    assert [one.identity for one in place.store.judgements(account=ME)] == [
        place.store.sightings(ME, "INBOX")[new.uid].identity
    ]
    server.drag(server.refs("Junk")[700], "INBOX")
    place.look()
    assert [one.label for one in place.labels()] == [Label.HAM]
    place.store.wipe(f"account:{ME}")
    kept = [key for key in states(place) if not key.startswith("wiped")]
    assert not [key for key in kept if ME in key or "Junk" in key], "the folder's name is forgotten, too"
    place.store.close()


def test_the_person_drags_while_we_are_away(place):
    refs = [place.server.deliver(mail(number)) for number in range(3)]
    place.look()
    for ref in refs[:2]:
        place.server.drag(ref, "Junk")
    place.connect()
    place.look(86400)
    assert [one.label for one in place.labels()] == [Label.SPAM] * 2


def test_arrived_and_moved_while_we_were_away(place):
    place.server.drag(place.server.deliver(mail(1)), "Junk")
    place.look()
    assert not place.labels()
    assert not place.scorer.taught


def test_copy_and_delete_over_three_looks_and_a_restart(place):
    ref = place.server.deliver(mail(1))
    place.look()
    place.server.copy(ref, "Junk")
    place.look()
    place.server.set_flags(ref, ["\\Deleted"])
    place.connect()
    place.look()
    assert not place.labels()
    place.server.delete(ref)
    place.look()
    assert [one.label for one in place.labels()] == [Label.SPAM]


@pytest.mark.parametrize("seconds", [5.0, DAY])
def test_who_took_a_mail_out_of_junk_and_drags_it_back_has_changed_their_mind(place, seconds):
    """Also from a folder that is not watched, and long after that."""
    ref = place.server.deliver(mail(1), "Junk")
    place.look()
    for folder, word in (("Archive", Label.HAM), ("Junk", Label.SPAM), ("Archive", Label.HAM)):
        ref = place.server.drag(ref, folder)
        place.look(seconds)
        assert [one.label for one in place.labels()] == [word]


def test_a_program_that_copies_mail_from_a_folder_nobody_watches_and_deletes_it_later(place):
    """Nothing that is watched has changed when the original goes."""
    ref = place.server.deliver(mail(1))
    place.look()
    for folder in ("Junk", "Archive"):
        ref = place.server.drag(ref, folder)
        place.look()
    place.server.copy(ref, "Junk")
    place.look()
    assert [one.label for one in place.labels()] == [Label.HAM]
    place.server.delete(ref)
    place.look()
    assert [one.label for one in place.labels()] == [Label.SPAM]


def test_a_program_that_copies_mail_that_waits_to_be_judged_and_deletes_it_later(tmp_path):
    place = Place(tmp_path, account=Account(ME, wait_seconds=300))
    place.look()
    ref = place.server.deliver(mail(1), at=place.now)
    assert place.look() == []
    place.server.copy(ref, "Junk")
    place.look()
    place.server.delete(ref)
    place.look()
    assert [one.label for one in place.labels()] == [Label.SPAM]
    place.store.close()


@pytest.mark.parametrize("emptied", [True, False])
def test_junk_is_emptied_also_where_new_junk_came_since(tmp_path, emptied):
    """Where bytes are the identity, what stays in the inbox is a twin then; of one mail taken out of Junk it is the mail."""
    server = MemoryServer(abilities=replace(FULL, server_ids=False))
    place = Place(tmp_path, server=server)
    place.look()
    gone = [server.deliver(mail(number), "Junk") for number in (1, 2)]
    place.look()
    place.look(200.0)
    server.copy(gone[0], "INBOX")
    place.look()
    for ref in gone if emptied else gone[:1]:
        server.delete(ref)
    server.deliver(mail(3), "Junk")
    place.look()
    assert [one.label for one in place.labels()] == [Label.HAM] * (not emptied)
    place.store.close()


def test_emptying_junk_and_trash_are_nothing(place):
    place.server.deliver(mail(1), "Junk")
    place.server.deliver(mail(2), "Junk")
    inbox = place.server.deliver(mail(3))
    place.look()
    place.server.drag(place.server.refs("Junk")[0], "Trash")
    place.server.delete(place.server.refs("Junk")[0])
    place.server.drag(inbox, "Trash")
    place.look()
    place.look()
    assert not place.labels()


def test_junk_to_another_folder_is_ham_when_it_lives_there(place):
    place.server.deliver(mail(1), "Junk")
    place.look()
    place.server.drag(place.server.refs("Junk")[0], "Archive")
    place.look()
    assert [(one.label, one.note) for one in place.labels()] == [(Label.HAM, "junk to kept")]


@pytest.mark.parametrize("kind", ["kept", "trash"])
def test_junk_to_a_folder_that_was_made_for_it(place, kind):
    """Not known before: folders are read again every ten minutes only. A wastebasket says nothing, a new one neither."""
    lying = [place.server.deliver(mail(number), "Junk") for number in (1, 2)]
    place.look()
    place.server.create("Receipts", "trash" if kind == "trash" else None)
    place.server.drag(lying[0], "Receipts")
    place.look(seconds=1.0)
    place.look(seconds=1.0)
    told = [(one.label, one.note) for one in place.labels()]
    assert told == ([(Label.HAM, "junk to kept")] if kind == "kept" else [])


def test_junk_to_a_folder_that_was_made_anew(place):
    """Known by its name, with more mails than there are now: its UIDs say nothing any more."""
    for number in (1, 2, 3):
        place.server.deliver(mail(number), "Archive")
    place.server.deliver(mail(4), "Junk")
    place.look()
    place.learner.look_elsewhere()
    place.server.rename_folder("Archive", "Old")
    place.server.create("Archive")
    place.server.drag(place.server.refs("Junk")[0], "Archive")
    place.look()
    assert [(one.label, one.note) for one in place.labels()] == [(Label.HAM, "junk to kept")]


def test_what_lay_in_a_renumbered_folder_is_no_rescue(place):
    """The person has a copy of it there since long, and deletes the one in Junk."""
    ref = place.server.deliver(mail(1))
    place.look()
    place.server.copy(ref, "Archive")
    place.learner.look_elsewhere()
    place.server.drag(ref, "Junk")
    place.look()
    before = [one.label for one in place.labels()]
    place.server.renumber("Archive")
    place.server.delete(place.server.refs("Junk")[0])
    place.look()
    assert [one.label for one in place.labels()] == before == [Label.SPAM]


def test_a_departure_hidden_by_our_own_arrival(place):
    """One mail leaves Junk for the archive in the same moment in which we move another one there."""
    place.evidence = Evidence(Mode.FILTERING, 0.97, 0.5, 400, 90, 0, 0.001, 0.9, "")
    place.server.deliver(mail(1), "Junk")
    place.look()
    place.server.deliver(mail(2, 0.99))
    place.look()
    place.server.drag(place.server.refs("Junk")[0], "Archive")
    place.look()
    assert [one.label for one in place.labels()] == [Label.HAM]


def test_a_subfolder_of_junk_is_junk(tmp_path):
    server = MemoryServer(folders=("Junk", "Junk/old", "Trash"))
    place = Place(tmp_path, server=server)
    place.look()
    ref = server.deliver(mail(1))
    place.look()
    server.drag(ref, "Junk/old")
    place.look()
    server.drag(server.refs("Junk/old")[0], "Junk")
    place.look()
    assert [one.label for one in place.labels()] == [Label.SPAM]
    place.store.close()


def test_junk_renamed_and_made_anew(place):
    for number in range(5):
        place.server.deliver(mail(number), "Junk")
    place.look()
    place.server.rename_folder("Junk", "Old")
    place.server.create("Junk")
    for ref in place.server.refs("Old"):
        place.server.copy(ref, "Junk")
    place.look(700)
    place.look()
    assert not place.labels()


def test_keywords(place):
    hinted = place.server.deliver(mail(1))
    both = place.server.deliver(mail(2))
    other = place.server.deliver(mail(3))
    arrived = place.server.deliver(mail(4), flags=["$Junk"])
    place.look()
    place.server.set_flags(hinted, ["$Junk"])
    place.server.set_flags(both, ["Junk", "NonJunk"])
    place.server.set_flags(other, ["\\Seen", "work"])
    place.look()
    place.look()
    assert [(one.label, one.source, one.weight) for one in place.labels()] == [
        (Label.SPAM, LabelSource.HINT, 0.3)
    ]
    assert arrived


@pytest.mark.parametrize(
    ("score", "keyword", "held"),
    [(0.001, "Junk", True), (0.999, "NonJunk", True), (0.999, "Junk", False), (0.001, "NonJunk", False)],
)
def test_a_hint_against_everything_is_held_and_shown(place, score, keyword, held):
    ref = place.server.deliver(mail(1, score))
    place.look()
    place.server.set_flags(ref, [keyword])
    place.look()
    (label,) = place.labels()
    assert label.held is held
    assert len(place.scorer.taught) == (not held)
    assert len(place.store.events(needs_person=True)) == held


def test_a_drag_is_stronger_than_a_later_hint(place):
    ref = place.server.deliver(mail(1))
    place.look()
    new = place.server.drag(ref, "Junk")
    place.look()
    place.server.set_flags(new, ["NonJunk"])
    place.look()
    assert [(one.label, one.source) for one in place.labels()] == [(Label.SPAM, LabelSource.DRAG)]
    assert len(place.scorer.taught) == len(place.store.events()) == 1, "nor is that hint learned, or told of"


@pytest.mark.scenario(42)
def test_a_flood_is_held_and_asked_about(place):
    refs = [place.server.deliver(mail(number)) for number in range(51)]
    place.look()
    for ref in refs:
        place.server.drag(ref, "Junk")
    place.look()
    assert all(one.held for one in place.labels())
    assert len(place.labels()) == 51
    assert not place.scorer.taught
    (event,) = place.store.events(needs_person=True)
    assert "51" in event.text
    assert {one.note for one in place.labels()} == {"inbox to junk; very many at once"}


def test_fifty_at_once_are_fifty_labels(place):
    refs = [place.server.deliver(mail(number)) for number in range(50)]
    kept = place.server.deliver(mail(99))
    place.look()
    for ref in refs:
        place.server.drag(ref, "Junk")
    place.look()
    assert len([one for one in place.labels() if not one.held]) == 50
    assert kept


def test_a_crash_after_the_labels_repeats_nothing(place):
    ref = place.server.deliver(mail(1))
    place.look()
    place.server.drag(ref, "Junk")
    place.server.deliver(mail(2))
    place.now += 5
    place.learner.look()  # and no settle: the process died here
    place.connect()
    judged = place.look()
    assert len(judged) == 1
    assert len(place.labels()) == 1
    assert len(place.scorer.taught) == 1


def test_quiet_looks_cost_one_status_each(place):
    place.look()
    place.server.commands.clear()
    place.look()
    assert all(command.startswith("STATUS") for command in place.server.commands)


def test_looks_are_quiet_also_while_a_copy_may_become_a_move(place):
    ref = place.server.deliver(mail(1))
    place.look()
    place.server.copy(ref, "Junk")
    place.look()
    place.look()
    place.server.commands.clear()
    place.look()
    assert all(command.startswith("STATUS") for command in place.server.commands)
    place.server.delete(ref)
    place.look()
    assert [one.label for one in place.labels()] == [Label.SPAM]


def test_kept_mail_is_weak_evidence(place):
    opened = place.server.deliver(mail(1))
    place.server.deliver(mail(2))
    answered = place.server.deliver(mail(3))
    suspected = place.server.deliver(mail(4, 0.8))
    gone = place.server.deliver(mail(5))
    place.look()
    for ref in (opened, suspected, gone):
        place.server.set_flags(ref, ["\\Seen"])
    place.server.set_flags(answered, ["\\Answered"])
    place.server.delete(gone)
    assert place.learner.keep_quiet_mail() == 0, "not before some days have passed"
    place.now += 4 * DAY
    assert place.learner.keep_quiet_mail() == 3
    weights = {one.identity: one.weight for one in place.labels()}
    assert weights == {"emailid:M1": 0.3, "emailid:M3": 0.3, "emailid:M4": 0.1}
    assert all(one.source is LabelSource.IMPLICIT for one in place.labels())
    assert not place.scorer.taught, "silence teaches nothing at once"
    assert place.learner.keep_quiet_mail() == 0


def silent_weights(place):
    """What silence weighs as a lesson, by mail."""
    found = place.store.weighed(place.store.labels(ME, source=LabelSource.IMPLICIT))
    return {one.identity: one.weight for one in found}


@pytest.mark.parametrize(("names", "least", "most"), [(1, 0.85, 1.0), (2, 0.2, 0.5)])
def test_silence_weighs_by_what_the_person_names(place, names, least, most):
    """Forty junk mails are missed; who drags each of them away tells more by leaving mail than who drags every second."""
    missed = [
        place.server.deliver(mail(number, 0.9, sender=f"{number}@x.example")) for number in range(100, 140)
    ]
    good = [place.server.deliver(mail(number, 0.05, sender=f"{number}@y.example")) for number in range(30)]
    doubted = place.server.deliver(mail(50, 0.6))
    answered = place.server.deliver(mail(51, 0.05))
    place.look()
    for ref in (*missed, *good, doubted, answered):
        place.server.set_flags(ref, ["\\Seen"])
    place.server.set_flags(answered, ["\\Seen", "\\Answered"])
    place.look()
    for ref in missed[::names]:
        place.server.drag(ref, "Junk")
    place.look()
    place.now += 4 * DAY
    written = place.learner.keep_quiet_mail()
    weights = silent_weights(place)
    assert len(weights) == written
    assert all(least <= weights[f"emailid:M{40 + number}"] <= most for number in range(1, 28)), weights
    assert (weights["emailid:M71"] > 0.5) is (names == 1), "doubted: a lesson from who names all"
    if names == 2:
        silent_junk = [
            weights[f"emailid:M{number}"] for number in range(2, 40, 2) if f"emailid:M{number}" in weights
        ]
        assert silent_junk and set(silent_junk) == {silence.LEFT_DOUBTFUL}
    points = place.store.evidence_points(ME)
    silent = [weight for _, label, _, weight in points if label is Label.HAM]
    assert silent and max(silent) <= silence.LEFT, "for the proof it stays silence"


def test_silence_about_mail_of_days_of_which_nothing_was_named_weighs_as_ever(place):
    """Such a person may have stopped, or has not come to it yet."""
    missed = [
        place.server.deliver(mail(number, 0.9, sender=f"{number}@x.example")) for number in range(100, 130)
    ]
    early = place.server.deliver(mail(1, 0.05, sender="1@y.example"))
    place.look()
    place.now += DAY
    late = place.server.deliver(mail(2, 0.05, sender="2@y.example"))
    place.look()
    for ref in missed:
        place.server.drag(ref, "Junk")
    place.server.set_flags(early, ["\\Seen"])
    place.look()
    place.now += 2.5 * DAY
    assert place.learner.keep_quiet_mail() == 1
    place.server.set_flags(late, ["\\Seen"])
    place.now += DAY
    assert place.learner.keep_quiet_mail() == 1
    weights = silent_weights(place)
    assert weights["emailid:M31"] > 0.5
    assert weights["emailid:M32"] == silence.LEFT


def test_what_lies_unopened_in_the_folder_for_doubt_is_no_lesson_however_much_is_named(tmp_path):
    """Who drags all junk out of the inbox may never look into that folder: their habit says nothing of what we put there."""
    place = Place(tmp_path, account=Account(ME, unsure_folder="Doubt"))
    place.look()
    missed = [
        place.server.deliver(mail(number, 0.3, sender=f"{number}@x.example")) for number in range(100, 130)
    ]
    place.server.deliver(mail(1, 0.7))
    place.server.deliver(mail(2, 0.05))  # a folder that is emptied at once is asked about
    place.look()
    assert len(place.server.refs("Doubt")) == 1
    for ref in missed:
        place.server.drag(ref, "Junk")
    place.look()
    place.now += 4 * DAY
    assert place.learner.keep_quiet_mail() == 1
    assert list(silent_weights(place).values()) == [silence.LEFT_DOUBTFUL]
    place.store.close()


def test_silence_about_mail_in_the_folder_for_doubt_counts_for_the_proof(tmp_path):
    """What was moved there is the tail that thresholds are drawn from: unseen, it would seem to be empty."""
    place = Place(tmp_path, account=Account(ME, unsure_folder="Doubt"))
    place.look()
    for number in (1, 2, 3):
        place.server.deliver(mail(number, 0.7))
    place.look()
    one, two, _ = place.server.refs("Doubt")
    place.server.drag(one, "INBOX")
    place.server.delete(two)
    place.look()
    place.now += 4 * DAY
    assert place.learner.keep_quiet_mail() == 1
    said = {label.identity: (label.label, label.source, label.weight) for label in place.labels()}
    assert said["emailid:M3"] == (Label.HAM, LabelSource.IMPLICIT, 0.1)
    assert "emailid:M2" not in said, "whoever deletes it has not called it good"
    assert said["emailid:M1"][:2] == (Label.HAM, LabelSource.DRAG)
    assert [label for _, label, _, _ in place.store.evidence_points(ME)] == [Label.HAM] * 2
    assert [label for _, label, _ in place.scorer.taught] == [Label.HAM], "the drag alone"
    place.store.close()


def test_one_sender_counts_three_times_a_day(place):
    refs = [place.server.deliver(mail(number)) for number in range(6)]
    other = place.server.deliver(mail(9, sender="b@other.example"))
    place.look()
    for ref in [*refs, other]:
        place.server.set_flags(ref, ["\\Seen"])
    place.now += 4 * DAY
    assert place.learner.keep_quiet_mail() == 4
    taken_back = next(one for one in place.labels() if one.identity == "emailid:M7")
    assert place.store.forget_label(ME, taken_back.identity)
    place.now += DAY
    assert place.learner.keep_quiet_mail() == 0, (
        "neither comes it again, nor another of a sender that was full"
    )


def test_a_day_has_room_for_so_many_whoever_sent_them(place, monkeypatch):
    """Also where they are opened one after the other."""
    monkeypatch.setattr(quiet_mail, "KEPT_PER_DAY", 4)
    refs = [place.server.deliver(mail(number, sender=f"{number}@z.example")) for number in range(8)]
    place.look()
    kept = []
    for opened in (refs[:3], refs[3:]):
        for ref in opened:
            place.server.set_flags(ref, ["\\Seen"])
        place.now += 4 * DAY
        kept.append(place.learner.keep_quiet_mail())
    assert kept == [3, 1]


@pytest.mark.parametrize("how", ["filed", "answered"])
def test_what_a_full_day_left_over_is_not_asked_about_again(place, monkeypatch, how):
    """Nor does it take the place of a label that is taken back, nor that label come again."""
    refs = [place.server.deliver(mail(number)) for number in range(6)]
    place.look()
    for ref in refs:
        if how == "filed":
            place.server.drag(ref, "Archive")
        else:
            place.server.set_flags(ref, ["\\Seen", "\\Answered"])
    place.now += 4 * DAY
    assert place.learner.keep_quiet_mail() == 3
    assert place.store.forget_label(ME, place.labels()[0].identity)
    place.now += DAY
    place.look()
    locate, asked = place.session.locate, []

    def noting(refs):
        asked.extend(refs)
        return locate(refs)

    monkeypatch.setattr(place.session, "locate", noting)
    assert place.learner.keep_quiet_mail() == 0
    assert asked == []


def test_silence_that_a_restored_backup_does_not_know_is_heard_again(place):
    """But not what the person took back."""
    refs = [place.server.deliver(mail(number, sender=f"{number}@x.example")) for number in range(3)]
    place.look()
    for ref in refs:
        place.server.set_flags(ref, ["\\Seen", "\\Answered"])
    place.now += 4 * DAY
    assert place.learner.keep_quiet_mail() == 3
    taken_back = place.labels()[0].identity
    assert place.store.forget_label(ME, taken_back)
    place.store.forget_learned()
    place.now += DAY
    assert place.learner.keep_quiet_mail() == 2
    assert taken_back not in {one.identity for one in place.labels()}


def test_unopened_mail_does_not_keep_older_mail_from_being_heard(place):
    """A list of which nothing is opened, 1,100 mails above thirty that were: they are heard all the same."""
    opened = [place.server.deliver(mail(number, sender=f"{number}@x.example")) for number in range(30)]
    place.look()
    for number in range(100, 1200):
        place.server.deliver(mail(number, sender="list@many.example"))
    while len(place.store.judgements(account=ME, limit=2000)) < 1130:
        assert place.look()
    for ref in opened:
        place.server.set_flags(ref, ["\\Seen"])
    place.now += 4 * DAY
    assert place.learner.keep_quiet_mail() == 30
    assert place.learner.keep_quiet_mail() == 0


def named_and_left(place, named, left):
    """So much junk is missed and dragged away, some mail of many senders lies opened; and a day of silence follows."""
    missed = [
        place.server.deliver(mail(number, 0.9, sender=f"{number}@x.example"))
        for number in range(100, 100 + named)
    ]
    good = [
        place.server.deliver(mail(number, 0.05 + number / 1000, sender=f"{number}@y.example"))
        for number in range(left)
    ]
    shop = [place.server.deliver(mail(900 + number, 0.7, sender="one@shop.example")) for number in range(6)]
    place.look()
    for ref in (*missed, *good, *shop):
        place.server.set_flags(ref, ["\\Seen"])
    for ref in missed:
        place.server.drag(ref, "Junk")
    place.look()


@pytest.mark.parametrize("named", [silence.FEWEST, silence.FEWEST + 15])
def test_a_word_that_is_taken_back_leaves_no_trace_in_what_silence_weighs(tmp_path, named):
    """Taken back before silence was weighed, or long after: the habit never had that word in it."""
    weights = []
    for late in (False, True):
        (tmp_path / str(late)).mkdir()
        place = Place(tmp_path / str(late))
        place.evidence = Evidence(Mode.LEARNING, None, 0.5, 0, 0, 300, None, None, "")
        place.look()
        named_and_left(place, named, 40)
        spam = [one.identity for one in place.labels()]
        assert len(spam) == named
        if not late:
            assert place.store.forget_label(ME, spam[3])
        for _ in range(3):
            place.now += 4 * DAY
            place.learner.keep_quiet_mail()
        if late:
            with_it = silent_weights(place)
            assert place.store.forget_label(ME, spam[3])
            assert with_it != silent_weights(place), "it did count"
        weights.append((silent_weights(place), place.store.evidence_points(ME)))
        place.store.close()
    assert weights[0] == weights[1]


def test_what_lies_beyond_the_labels_of_a_day_tells_of_the_habit(tmp_path):
    """Thirty mails of one sender look like junk, and three get a label: who leaves them all names little."""
    share = []
    for many in (3, 30):
        (tmp_path / str(many)).mkdir()
        place = Place(tmp_path / str(many))
        place.evidence = Evidence(Mode.LEARNING, None, 0.5, 0, 0, 300, None, None, "")
        place.look()
        for number in range(many):
            place.server.deliver(mail(500 + number, 0.95, sender="one@shop.example"), flags=["\\Seen"])
        named_and_left(place, 30, 30)
        place.now += 4 * DAY
        place.learner.keep_quiet_mail()
        weights = silent_weights(place)
        share.append(sum(weights.values()) / len(weights))
        place.store.close()
    assert share[1] < share[0] - 0.2, share


def test_how_sure_it_sounds_follows_from_what_became_of_the_mail(place):
    """What is called 70 % likely is kept by one who names all junk: it is told as less. The threshold stays."""
    named_and_left(place, 45, 30)
    before = assess_account(place.store, place.scorer, place.account, place.now)
    assert before.told == AS_IT_IS, "the person has had no time yet"
    for number in range(40):
        place.server.deliver(
            mail(2000 + number, 0.7, sender=f"{number}@z.example"), flags=["\\Seen"] if number % 2 else []
        )
    place.look()
    place.now += 4 * DAY
    place.learner.keep_quiet_mail()
    after = assess_account(place.store, place.scorer, place.account, place.now)
    assert told(0.7, after.told) < 0.5 < 0.7 and told(0.9, after.told) > told(0.7, after.told)
    assert replace(after, told=AS_IT_IS) == evidence.assess(
        place.store.evidence_points(ME),
        place.account.promise,
        place.now,
        shipped_threshold=place.scorer.card.junk_threshold,
    )


def test_named_and_silent_mail_are_compared_as_they_first_were_judged(place):
    """Judged again after the lesson, what was named looks like junk, and what lies there like good mail."""
    named_and_left(place, 30, 30)
    place.now += 4 * DAY
    place.learner.keep_quiet_mail()
    weights = silent_weights(place)
    for judgement in place.store.judgements(account=ME, limit=500):
        again = replace(judgement.score, probability=0.999 if judgement.label is Label.SPAM else 0.001)
        place.store.record_judgement(replace(judgement, score=again), vector=None)
    assert silent_weights(place) == weights


def test_what_teaches():
    def record(source, weight=1.0, held=False):
        return LabelRecord(ME, Identity("a"), Label.HAM, source, weight, 0.0, ModelId(""), held=held)

    assert teaches(record(LabelSource.DRAG))
    assert teaches(record(LabelSource.HINT, 0.3))
    assert teaches(record(LabelSource.FOLDER, 0.7))
    assert not teaches(record(LabelSource.FOLDER, 0.3))
    assert not teaches(record(LabelSource.IMPLICIT, 0.3))
    assert not teaches(record(LabelSource.DRAG, held=True))


def test_the_ledger_gives_the_lessons_back(place):
    refs = [place.server.deliver(mail(number)) for number in range(3)]
    place.look()
    for ref in refs:
        place.server.drag(ref, "Junk")
    place.look()
    rows = list(lessons(place.store, place.now, 100))
    assert {row[0] for row in rows} == {f"emailid:M{n}" for n in (1, 2, 3)}
    assert {row[2] for row in rows} == {Label.SPAM}


# -- the first reading


def old_mailbox():
    server = MemoryServer(folders=("Junk", "Trash", "Archive", "Sent"))
    for number in range(30):
        server.deliver(mail(number, 0.9), "Junk", at=START - 10 * DAY)
    for number in range(30, 70):
        server.deliver(mail(number, 0.1), "Archive", at=START - 10 * DAY)
    server.deliver(mail(70, 0.1), flags=["\\Seen"], at=START - 10 * DAY)
    server.deliver(mail(71, 0.1), at=START - 10 * DAY)
    server.deliver(mail(72, 0.1), flags=["\\Answered", "\\Seen"], at=START - 10 * DAY)
    server.deliver(mail(73, 0.995), "Archive", at=START - 10 * DAY)
    server.deliver(mail(74, 0.1), "Trash", at=START - 10 * DAY)
    sent = b"From: me@home.example\r\nTo: Ann <ann@friend.example>,\r\n b@friend.example\r\n\r\nHello\r\n"
    server.deliver(sent, "Sent", at=START - 10 * DAY)
    return server


def read(place, **more):
    reading = FirstReading(
        place.session, place.store, place.scorer, place.account, clock=lambda: place.now, **more
    )
    told = []
    return reading.run(told.append), told


def test_the_first_reading(tmp_path):
    server = old_mailbox()
    place = Place(tmp_path, server=server)
    end, told = read(place)
    assert end.finished
    assert end.done == end.total == 74
    assert told[-1].finished
    counts = place.store.label_counts(ME)
    assert counts == {(LabelSource.FOLDER, Label.SPAM): 30, (LabelSource.FOLDER, Label.HAM): 42}
    (held,) = place.store.labels(ME, held=True)
    assert held.identity == "emailid:M74", "a mail in the archive that looks like junk is asked about"
    assert len(place.scorer.taught) == 71
    assert len(place.store.evidence_points(ME)) == 72
    asked = {"ann@friend.example", "b@friend.example", "me@home.example"}
    assert place.store.contacts_among(ME, asked) == {"ann@friend.example", "b@friend.example"}
    assert sum(server.flagged("\\Seen").values()) == 2
    assert not reading_unfinished(place.store, place.account)
    assert place.look() == [], "and nothing of it is new"
    place.store.close()


def test_read_once_more_its_own_verdicts_are_no_lesson(place):
    """In Junk lies what we put there, in the inbox what we left there: only what the person did tells anything."""
    place.evidence = PROVEN
    for number in range(6):
        place.server.deliver(mail(number, 0.99))
    seen = [place.server.deliver(mail(number), flags=["\\Seen"]) for number in range(6, 10)]
    place.look()
    assert len(place.server.raws("Junk")) == 6
    place.server.deliver(mail(20, 0.9), "Junk")  # by a server filter
    place.server.set_flags(seen[0], ["\\Answered"])
    place.server.drag(seen[1], "Archive")
    place.now += 10 * DAY
    place.look()
    read(place)
    told = sorted((one.label.value, one.note, one.weight) for one in place.labels())
    assert told == [("ham", "Archive", 0.7), ("ham", "INBOX", 0.7), ("spam", "Junk", 0.7)]


def test_an_imported_word_is_learned_when_its_mail_is_read(tmp_path):
    """On a new installation the ledger comes without mail; the mail lies in its folders, and is not new."""
    server = old_mailbox()
    place = Place(tmp_path, server=server)
    spam, ham = Identity("emailid:M31"), Identity("emailid:M1")  # in the archive, in Junk
    for identity, label in ((spam, Label.SPAM), (ham, Label.HAM)):
        place.store.add_label(
            LabelRecord(ME, identity, label, LabelSource.IMPORT, 1.0, place.now - DAY, ModelId("other"))
        )
    ledger = list(place.store.ledger())
    read(place)
    assert [one for one in place.store.ledger() if one.identity in (spam, ham)] == ledger
    trained = {row[0].identity: row[0] for row in place.store.training_set(until=place.now, limit=100)}
    assert (trained[spam].label, trained[ham].label) == (Label.SPAM, Label.HAM)
    taught = {one[0]: one[1] for one in place.scorer.taught}
    assert (taught[spam], taught[ham]) == (Label.SPAM, Label.HAM)
    place.store.close()


def test_each_of_many_folders_has_its_share_of_the_first_reading(tmp_path, monkeypatch):
    """One for each year: the first two by name were all that was read."""
    monkeypatch.setattr(first_reading, "READ", {Folder.JUNK: 10, Folder.INBOX: 10, Folder.KEPT: 20})
    monkeypatch.setattr(first_reading, "READ_PER_FOLDER", 10)
    years = [str(year) for year in range(2019, 2026)]
    server = MemoryServer(folders=("Junk", "Trash", *years, "Empty", "Small"))
    for folder in [year for year in years for _ in range(9)] + ["Small"]:
        server.deliver(
            mail(len(server.raws(folder)), 0.1, sender=f"a@{folder}.example"), folder, at=START - DAY
        )
    place = Place(tmp_path, server=server)
    end, _ = read(place)
    assert end.done == end.total == 20
    read_in = Counter(one.note for one in place.store.labels(ME))
    assert read_in.pop("Small") == 1 and set(read_in) == set(years) and set(read_in.values()) == {2, 3}, (
        read_in
    )
    newest = max(server.folders["2025"].mails.values(), key=lambda one: one.uid)
    assert place.store.label_of(ME, f"emailid:{newest.email_id}") is not None
    place.store.close()


def test_a_reading_that_breaks_goes_on_where_it_was(tmp_path):
    server = old_mailbox()
    for number in range(100, 350):
        server.deliver(mail(number, 0.1), "Archive", at=START - 10 * DAY)
    place = Place(tmp_path, server=server)
    count = 0

    def cut(command):
        nonlocal count
        count += command.endswith("BODY")
        if count == 200:
            raise ConnectionLost("cut")

    server.after = cut
    with pytest.raises(ConnectionLost):
        read(place)
    server.after = None
    assert reading_unfinished(place.store, place.account)
    scored = place.scorer.scored
    place.connect()
    end, _ = read(place)
    assert end.finished
    assert len(place.labels()) == 30 + 41 + 2 + 250
    assert place.scorer.scored <= 30 + 41 + 2 + 250 + 1
    assert scored >= 199
    place.store.close()


def test_a_reading_can_be_stopped(tmp_path):
    place = Place(tmp_path, server=old_mailbox())
    end, _ = read(place, stop=lambda: place.scorer.scored > 0)
    assert not end.finished
    assert end.done == 25
    end, _ = read(place)
    assert end.finished
    place.store.close()


def test_reading_is_also_the_first_proof(tmp_path):
    server = MemoryServer(folders=("Junk", "Trash", "Archive"))
    for number in range(320):
        server.deliver(mail(number, 0.001 + number / 10_000), "Archive", at=START - 10 * DAY)
    for number in range(1000, 1020):
        server.deliver(mail(number, 0.9999), "Junk", at=START - 10 * DAY)
    place = Place(tmp_path, server=server)
    assert assess_account(place.store, place.scorer, place.account, place.now).mode is Mode.LEARNING
    read(place)
    found = assess_account(place.store, place.scorer, place.account, place.now)
    assert found.mode is Mode.FILTERING
    assert found.ham_count == 320
    place.scorer.older = True  # after a reset or a roll back, of the model that went
    said = f"{found.explanation} {OF_A_NEWER_MODEL}"
    assert assess_account(place.store, place.scorer, place.account, place.now) == replace(
        found, explanation=said
    )
    place.store.close()


def test_rescues_are_counted_from_the_journal(tmp_path):
    place = Place(tmp_path)
    place.look()
    for number in range(4):
        place.server.deliver(mail(number, 0.99))
    place.look()
    for ref in place.server.refs("Junk")[:3]:
        place.server.drag(ref, "INBOX")
    place.look()
    found = assess_account(place.store, place.scorer, place.account, place.now)
    assert found.mode is not Mode.FILTERING
    place.store.close()


def test_places_and_recipients():
    account = Account(AccountName("home"))
    server = MemoryServer(folders=("Junk", "Junk/a", "Junkyard", "Sent", "Drafts", "Trash", "Archive"))
    from tests.fakes.memory_mailbox import MemorySession

    session = MemorySession(server)
    found = places(session.folders(), session.junk_folder(), account)
    assert found["Junk/a"] is Folder.JUNK
    assert found["Junkyard"] is Folder.KEPT
    assert found["Sent"] is Folder.OTHER
    assert found["INBOX"] is Folder.INBOX
    assert recipients(b"To: A <A@B.example>, undisclosed:;\r\nCc: c@d.example\r\n") == {
        "a@b.example",
        "c@d.example",
    }
    assert recipients(b"\xff\xfe To: <<<>>>,,,;\r\n") == set()
    assert recipients(b"To: a@b.example,\n\tB <c@d.example>\n") == {"a@b.example", "c@d.example"}
    assert recipients(b"To: " + b"(" * 10_000 + b"a@b.example\r\n") == set()


def test_what_lies_below_another_junk_folder_is_no_good_mail():
    """Before, last year's junk in "Spam/2025" was read as a folder of good mail, where Junk is another one."""
    server = MemoryServer(folders=("Junk", "Spammers", "Archive"))
    for name, role in (("Spam", "also junk"), ("Bulk", "bulk")):
        server.create(name, role)
    for name in ("Spam/2025", "Bulk/2025", "Archive/Spam"):
        server.create(name)
    from tests.fakes.memory_mailbox import MemorySession

    session = MemorySession(server)
    for junk in ("Junk", "Archive"):
        found = places(session.folders(), junk, Account(ME))
        assert (found["Spam/2025"], found["Bulk/2025"]) == (Folder.JUNK, Folder.OTHER)
        assert (found["Spammers"], found["Archive/Spam"]) == (
            Folder.KEPT,
            Folder.JUNK if junk == "Archive" else Folder.KEPT,
        )


def test_what_a_server_had_filed_has_no_copies_until_the_person_says_that_it_is_junk(tmp_path):
    """Three issues of a newsletter that an old filter had put into Junk, unseen, took the next one along."""
    server = MemoryServer(folders=("Junk", "Archive"))
    filed = server.deliver(mail(1, 0.2, subject="Sofa club"), "Junk", at=START - 5000)
    server.deliver(mail(2, 0.2, subject="Tea club"), "Archive", at=START - 5000)
    place = Place(tmp_path, server=server)
    FirstReading(place.session, place.store, place.scorer, place.account, clock=lambda: place.now).run()
    assert sorted(label for _, label, _ in place.scorer.taught) == [Label.HAM, Label.SPAM]
    place.look()

    def comes(number, subject):
        raw = mail(number, 0.2, subject=subject).replace(b"number %d" % number, b"number %d" % (number % 10))
        return place.scorer.score(place.scorer.read(raw)).copy_of

    assert (comes(11, "Sofa club"), comes(12, "Tea club")) == (None, Label.HAM)
    followed = {row[0]: row[5] for row in lessons(place.store, place.now, 100)}
    assert sorted(followed.values()) == [False, True]
    back = server.drag(filed, "INBOX")
    place.look()
    assert comes(11, "Sofa club") is Label.HAM
    server.drag(back, "Junk")
    place.look()
    assert comes(11, "Sofa club") is Label.SPAM
    place.store.close()


def test_a_first_reading_takes_no_junk_folder_for_a_folder_of_good_mail(tmp_path):
    server = MemoryServer(folders=("Junk", "Archive"))
    for name, role in (("Spam", "also junk"), ("Bulk", "bulk")):
        server.create(name, role)
    for number, folder in enumerate(["Junk", "Spam", "Spam", "Bulk", "Archive"]):
        server.deliver(mail(number), folder, at=START - 5000 + number)
    place = Place(tmp_path, server=server)
    FirstReading(place.session, place.store, place.scorer, place.account, clock=lambda: place.now).run()
    assert sorted((one.label.value, one.note) for one in place.labels()) == [
        ("ham", "Archive"),
        ("spam", "Junk"),
        ("spam", "Spam"),
        ("spam", "Spam"),
    ]
    place.store.close()


def test_the_label_for_suspected_mail_is_no_folder_of_good_mail():
    """Read again after a folder for doubtful mail was chosen instead, it would teach that junk is good."""
    from tests.fakes.memory_mailbox import MemorySession

    session = MemorySession(MemoryServer(folders=("Junk", "Junk?", "Doubt")))
    for account in (Account(ME), Account(ME, unsure_folder="Doubt")):
        found = places(session.folders(), session.junk_folder(), account)
        assert found["Junk?"] is Folder.OTHER
    assert found["Doubt"] is Folder.UNSURE


def test_mail_put_into_another_folder_is_weak_evidence(place):
    ref = place.server.deliver(mail(1, 0.8))
    place.look()
    place.server.drag(ref, "Archive")
    place.look()
    assert place.learner.keep_quiet_mail() == 1
    (label,) = place.labels()
    assert (label.label, label.weight, label.note) == (Label.HAM, 0.3, "filed in a folder")
    assert not place.scorer.taught
    place.server.drag(place.server.refs("Archive")[0], "Junk")
    place.look()
    (label,) = place.labels()
    assert (label.label, label.note) == (Label.SPAM, "kept to junk"), "the person's word replaces silence"


@pytest.mark.parametrize("trouble", [FolderMissing, FolderRefused, FolderChanged])
def test_a_folder_that_cannot_be_read_keeps_no_other_mail_from_being_learned(place, trouble):
    """A shared folder whose owner took our rights away, after something was filed there."""
    ref = place.server.deliver(mail(1))
    place.server.deliver(mail(2), flags=["\\Seen"])
    place.look()
    place.server.drag(ref, "Archive")
    place.look()
    place.now += 4 * DAY
    place.learner.look_elsewhere()

    def refuse(command):
        if command.startswith("LOCATE Archive"):
            raise trouble("Archive")

    place.server.before = refuse
    assert place.learner.keep_quiet_mail() == 1
    place.server.before = None
    assert [one.note for one in place.labels()] == ["opened and left"]
    assert place.learner.keep_quiet_mail() == 1, "what was filed is learned when the folder can be read again"


@pytest.mark.parametrize("new", [False, True])
@pytest.mark.parametrize("how", ["copied", "copied and marked", "moved", "beside another one's departure"])
def test_a_copy_noticed_before_junk_was_left(place, how, new):
    """Copied, and Junk emptied much later: no rescue. A program without MOVE marks the original at once, and expunges later."""
    place.server.deliver(mail(1), "Junk")
    other = place.server.deliver(mail(2), "Junk")
    place.look()
    place.learner.look_elsewhere()
    folder = "Receipts" if new else "Archive"
    if new:
        place.server.create(folder, "")
    ref = place.server.refs("Junk")[0]
    place.server.copy(ref, folder)
    if how == "copied and marked":
        place.server.set_flags(ref, ["\\Deleted"])
    elif how == "moved":
        place.server.delete(ref)
    elif how == "beside another one's departure":
        place.server.set_flags(ref, ["\\Deleted"])
        place.server.delete(other)
        place.look(700.0)
    place.now += 700.0  # a new folder is known then
    place.learner.look_elsewhere()
    place.now += 3600.0
    place.learner.look_elsewhere()
    if how != "moved":
        place.server.delete(ref)
    place.look()
    assert [one.label for one in place.labels()] == ([] if how == "copied" else [Label.HAM])


def test_a_move_that_is_seen_half_done_is_a_move(place):
    """Between COPY and mark, or within the server's MOVE, the mail lies in both places, as a copy does."""
    place.server.deliver(mail(1), "Junk")
    place.server.deliver(mail(2), "Junk")
    place.look()
    place.learner.look_elsewhere()
    ref = place.server.refs("Junk")[0]
    place.server.copy(ref, "Archive")
    place.learner.look_elsewhere()
    place.server.deliver(mail(3), "Archive")
    place.learner.look_elsewhere()
    place.server.delete(ref)
    place.look()
    assert [one.label for one in place.labels()] == [Label.HAM]


@pytest.mark.parametrize("list_status", [False, True])
def test_many_folders_are_asked_about_in_turn_where_each_is_a_question(tmp_path, list_status):
    """180 folders: what was filed in any of them is seen within the fourth hour, with a restart in between."""
    server = MemoryServer(
        abilities=replace(FULL, list_status=list_status),
        folders=("Junk", *(f"Project {number:03}" for number in range(180))),
    )
    place = Place(tmp_path, server=server)
    refs = [place.server.deliver(mail(number, sender=f"{number}@x.example")) for number in range(4)]
    place.look()
    place.learner.look_elsewhere()  # the first time all of them
    folders = [f"Project {number:03}" for number in (0, 60, 120, 179)]
    for ref, folder in zip(refs, folders, strict=True):
        place.server.drag(ref, folder)
    asked = []
    for hour in range(4):
        if hour == 2:
            place.connect()
        place.now += 3600
        place.server.commands.clear()
        place.learner.look_elsewhere()
        asked.append(sum(command.startswith("STATUS Project") for command in place.server.commands))
    assert asked == ([180] * 4 if list_status else [50] * 4)
    assert [len(place.store.sightings(ME, folder)) for folder in folders] == [1] * 4
    server.create("Project new", "")
    place.server.drag(place.server.deliver(mail(9)), "Project new")
    place.now += 3600
    place.server.commands.clear()
    place.learner.look_elsewhere()
    assert "STATUS Project new" in place.server.commands, "a new one does not wait for its turn"
    place.store.wipe(f"account:{ME}")
    kept = [key for key in states(place) if key.startswith("elsewhere")]
    assert kept == [], "the folder's name is forgotten, too"
    place.store.close()


@pytest.mark.parametrize(("target", "cut"), [("Archive", "STATUS Archive"), ("INBOX", "LOCATE")])
def test_a_look_that_is_cut_off_forgets_no_rescue(place, target, cut):
    """The departure is known and the connection is lost; the computer sleeps for hours."""
    place.server.deliver(mail(1), "Junk")
    place.look()
    place.server.drag(place.server.refs("Junk")[0], target)

    def lost(command):
        if command.startswith(cut):
            raise ConnectionLost("The connection is lost.")

    place.server.before = lost
    with pytest.raises(ConnectionLost):
        place.learner.look()
    place.server.before = None
    place.now += 8 * 3600
    place.connect()
    place.look()
    assert [one.label for one in place.labels()] == [Label.HAM]
    assert not place.store.sightings(place.account.name, "Junk")


@pytest.mark.parametrize("restart", [False, True])
def test_a_drag_while_mail_still_waits_to_be_judged(tmp_path, restart):
    """The person is faster than the minute that they gave themselves."""
    place = Place(tmp_path, Account(ME, wait_seconds=60.0))
    place.evidence = Evidence(Mode.LEARNING, None, 0.5, 0, 0, 300, None, None, "")
    place.look()
    ref = place.server.deliver(mail(1, 0.2))
    other = place.server.deliver(mail(2, 0.2))
    assert not place.look()
    if restart:
        place.connect()
    place.server.drag(ref, "Junk")
    place.server.drag(other, "Archive")
    place.look()
    place.look()
    assert [one.label for one in place.labels()] == [Label.SPAM]
    assert not place.look(120.0)
    place.store.close()


def test_all_mail_is_never_touched(tmp_path):
    """Gmail shows every mail there once more: nothing is read, looked for, moved or learned in it."""
    server = MemoryServer(folders=("Junk", "Trash", "Archive", "Sent"))
    server.create("All Mail", role="all")

    def arrives(number, probability, folder="INBOX", at=None):
        raw = mail(number, probability)
        server.deliver(raw, "All Mail", at=at)
        return server.deliver(raw, folder, at=at)

    for number in range(5):
        arrives(number, 0.9, "Junk", at=START - 500 + number)
        arrives(10 + number, 0.1, "Archive", at=START - 400 + number)
    place = Place(tmp_path, server=server)
    place.look()
    FirstReading(place.session, place.store, place.scorer, place.account, clock=lambda: place.now).run()
    wanted = arrives(20, 0.2)
    arrives(21, 0.99)
    place.look()
    server.drag(wanted, "Junk")
    place.look()
    server.drag(server.refs("Junk")[0], "Archive")
    place.look()
    place.now += 10 * DAY
    place.learner.keep_quiet_mail()
    place.look()
    assert place.labels()
    assert [command for command in server.commands if "All Mail" in command] == []


@pytest.mark.parametrize("verb", ["STATUS Archive", "FETCH Archive", "LOCATE"])
def test_a_rescue_to_another_folder_is_seen_again_when_the_connection_broke(place, verb):
    place.server.deliver(mail(1), "Junk")
    place.server.deliver(mail(2), "Junk")
    place.look()
    place.server.drag(place.server.refs("Junk")[0], "Archive")

    def cut(command):
        if command.startswith(verb):
            raise ConnectionLost("cut")

    place.server.after = cut
    with pytest.raises(ConnectionLost):
        place.look()
    place.server.after = None
    place.connect()
    place.look()
    place.look()
    assert [one.label for one in place.labels()] == [Label.HAM]


def test_a_folder_that_gets_its_uidvalidity_with_its_first_mail(tmp_path):
    """Courier: what leaves it in the next moment is a rescue all the same."""
    place = Place(tmp_path)
    place.look()
    renumbered = []

    def renumber(command):
        if command.startswith("MOVE") and not renumbered:
            renumbered.append(command)
            place.server.renumber("Junk")

    place.server.deliver(mail(1, 0.99))
    place.server.before = renumber
    assert [one.moved for one in place.look()] == [True]
    place.server.before = None
    place.server.drag(place.server.refs("Junk")[0], "INBOX")
    place.look()
    assert [one.label for one in place.labels()] == [Label.HAM]
    place.store.close()


def of_another_recipe(packed):
    return packed[:3] + bytes(8) + packed[11:]


def test_after_an_upgrade_to_other_features_labelled_mail_is_read_again_and_taught(place):
    here, there, gone = (place.server.deliver(mail(number, 0.2)) for number in (1, 2, 3))
    place.look()
    dragged = [place.server.drag(ref, "Junk") for ref in (here, there, gone)]
    place.look()
    labels = place.labels()
    for label in labels:
        packed = place.store.vector_of(ME, label.identity)
        place.store.put_vector(ME, label.identity, of_another_recipe(packed))
    (lost,) = place.session.locate([dragged[-1]])
    place.server.delete(lost.ref)
    place.look()
    place.scorer.taught.clear()
    place.connect()  # as after a start
    assert list(lessons(place.store, place.now, 100)) == []
    assert place.learner.read_again() == 2
    kept = [label.identity for label in labels if label.identity != lost.identity]
    assert sorted(identity for identity, *_ in lessons(place.store, place.now, 100)) == sorted(kept)
    assert sorted(place.scorer.taught) == sorted((identity, Label.SPAM, 1.0) for identity in kept)
    assert not place.server.flagged("\\Seen")
    assert place.learner.read_again() == 0, "each is asked for once"


def test_a_mail_of_another_recipe_is_read_again_when_it_is_corrected(place):
    ref = place.server.deliver(mail(1, 0.2))
    place.look()
    identity = place.judgement().identity
    place.store.put_vector(ME, identity, of_another_recipe(place.store.vector_of(ME, identity)))
    place.server.drag(ref, "Junk")
    place.look()
    assert place.scorer.taught == [(identity, Label.SPAM, 1.0)]
    assert len(place.store.judgements(account=ME, limit=10)) == 1


def test_what_was_read_in_an_earlier_way_is_not_read_again(place):
    ref = place.server.deliver(mail(1, 0.2))
    place.look()
    place.server.drag(ref, "Junk")
    place.look()
    (label,) = place.labels()
    packed = place.store.vector_of(ME, label.identity)
    earlier = next(schema for schema in vector.READABLE if schema != vector.SCHEMA)
    place.store.put_vector(ME, label.identity, packed[:3] + bytes.fromhex(earlier) + packed[11:])
    place.connect()
    assert place.learner.read_again() == 0
    assert [found[0] for found in lessons(place.store, place.now, 100)] == [label.identity]


# -- much at once


def test_much_new_mail_is_looked_at_in_steps(place, monkeypatch):
    """Each mail is judged once, and what the person does meanwhile is seen between two steps."""
    monkeypatch.setattr(changes, "STEP", 4)
    refs = [place.server.deliver(mail(number, 0.2)) for number in range(10)]
    look = place.learner.look()
    assert [one.ref for one in look.new] == refs[:4]
    assert look.waiting == 0, "the next look begins at once"
    place.filter.judge(look.new)
    place.learner.settle(look)
    place.server.drag(refs[1], "Junk")
    place.server.drag(refs[8], "Junk")  # before anybody here saw it
    second = place.learner.look()
    assert [one.ref for one in second.new] == refs[4:8]
    assert [one.label for one in second.labels] == [Label.SPAM]
    place.filter.judge(second.new)
    place.learner.settle(second)
    assert [one.folder for one in place.look()] == ["INBOX"]
    assert place.learner.look().quiet
    assert place.scorer.scored == 9
    assert len(place.labels()) == 1


def test_a_rescue_behind_much_new_mail_is_seen_though_none_is_judged(place, monkeypatch):
    monkeypatch.setattr(changes, "STEP", 4)
    junk = place.server.deliver(mail(100, 0.2), "Junk")
    place.look()
    for number in range(9):
        place.server.deliver(mail(number, 0.2))
    place.server.drag(junk, "INBOX")
    look = place.learner.look(judge=False)
    assert [one.label for one in look.labels] == [Label.HAM]
    assert not look.new


def test_mail_that_was_met_yesterday_is_known_until_it_is_come_to(place, monkeypatch):
    """The day's bytes were used up; today it is judged in steps, and the person drags what the first did not come to."""
    monkeypatch.setattr(changes, "STEP", 4)
    refs = [place.server.deliver(mail(number, 0.2)) for number in range(10)]
    place.learner.settle(place.learner.look(judge=False))
    assert len(place.look()) == 4
    place.server.drag(refs[8], "Junk")
    place.connect()
    assert len(place.look()) == 4
    assert [one.label for one in place.labels()] == [Label.SPAM]
    assert len(place.look()) == 1
    assert place.learner.look().quiet
    assert place.store.state(f"waiting:{ME}") == "[]"


def test_many_drags_behind_much_new_mail_are_asked_about_together(place, monkeypatch):
    monkeypatch.setattr(changes, "STEP", 4)
    junk = [place.server.deliver(mail(100 + number, 0.2), "Junk") for number in range(61)]
    place.look()
    for number in range(5):
        place.server.deliver(mail(number, 0.2))
    for ref in junk[:60]:
        place.server.drag(ref, "INBOX")
    place.look()
    assert place.labels() == [], "not come to yet"
    place.look()
    assert [one.held for one in place.labels()] == [True] * 60
    assert len(place.store.events(needs_person=True)) == 1
    judged = [one for one in place.store.judgements(account=ME, limit=100) if one.decision.reason != "before"]
    assert len(judged) == 5
