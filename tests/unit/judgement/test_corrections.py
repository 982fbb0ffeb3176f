"""corrections.compare: every case of a person (or a program) moving mail, as pure values."""

from __future__ import annotations

import pytest

from spamd.domain import (
    MOVED_KEYWORD,
    MOVING_KEYWORD,
    AccountName,
    FolderName,
    FolderStatus,
    Identity,
    Label,
    LabelSource,
    MessageRef,
    MoveKind,
    MoveRecord,
    MoveState,
    Sighting,
    Uid,
    UidValidity,
)
from spamd.judgement.corrections import (
    GONE_LATELY,
    PENDING_LIFE,
    KeywordChange,
    Place,
    compare,
    keyword_label,
)

NOW = 1_000_000.0
ME = AccountName("home")
PLACES = {
    FolderName(name): place
    for name, place in {
        "INBOX": Place.INBOX,
        "Junk": Place.JUNK,
        "Junk/old": Place.JUNK,
        "Doubt": Place.UNSURE,
        "Trash": Place.TRASH,
        "Archive": Place.KEPT,
        "Sent": Place.OTHER,
    }.items()
}


def ref(folder: str, uid: int, validity: int = 1) -> MessageRef:
    return MessageRef(FolderName(folder), UidValidity(validity), Uid(uid))


def seen(
    folder, uid, identity="guid:a", *, date=500.0, at=900.0, gone=None, keywords=(), validity=1
) -> Sighting:
    return Sighting(
        ME,
        ref(folder, uid, validity),
        Identity(identity),
        frozenset(keywords),
        at,
        gone,
        internal_date=date,
    )


def look(arrivals, known=(), alive=(), **more):
    by_identity = {}
    for sighting in known:
        by_identity.setdefault(sighting.identity, []).append(sighting)
    return compare(
        arrivals, places=PLACES, known=by_identity, alive=set(alive), now=more.pop("now", NOW), **more
    )


def row(folder, identity="guid:a", *, uid=None, state=MoveState.DONE, next_uid=1) -> MoveRecord:
    return MoveRecord(
        1,
        ME,
        Identity(identity),
        MoveKind.JUNK,
        state,
        ref("INBOX", 1),
        FolderName(folder),
        UidValidity(1),
        Uid(next_uid),
        None if uid is None else Uid(uid),
        "",
        1,
        0.0,
        0.0,
    )


@pytest.mark.parametrize(
    ("origin", "target", "label"),
    [
        ("INBOX", "Junk", Label.SPAM),
        ("INBOX", "Junk/old", Label.SPAM),
        ("Archive", "Junk", Label.SPAM),
        ("Doubt", "Junk", Label.SPAM),
        ("Junk", "INBOX", Label.HAM),
        ("Junk/old", "INBOX", Label.HAM),
        ("Junk", "Archive", Label.HAM),
        ("Doubt", "INBOX", Label.HAM),
        ("Doubt", "Archive", Label.HAM),
        ("Junk", "Junk/old", None),
        ("Junk", "Trash", None),
        ("INBOX", "Trash", None),
        ("INBOX", "Archive", None),
        ("INBOX", "Doubt", None),
        ("Trash", "INBOX", None),
        ("Trash", "Junk", None),
        ("Sent", "Junk", None),
    ],
)
def test_a_move(origin, target, label):
    found = look([seen(target, 9)], [seen(origin, 1)])
    assert [c.label for c in found.corrections] == ([label] if label else [])
    assert found.departed == (ref(origin, 1),)
    if label:
        (correction,) = found.corrections
        assert (correction.source, correction.weight) == (LabelSource.DRAG, 1.0)
        assert (correction.old, correction.ref) == (ref(origin, 1), ref(target, 9))


def test_unknown_mail_is_no_label():
    found = look([seen("INBOX", 1, "guid:n"), seen("Junk", 1, "guid:f"), seen("Archive", 1, "guid:k")])
    assert not found.corrections
    assert [s.identity for s in found.new] == ["guid:n"]
    assert [s.identity for s in found.filed] == ["guid:f"]


def test_copy_then_delete_over_three_polls():
    old, new = seen("INBOX", 1), seen("Junk", 9)
    first = look([new], [old], alive=[old.ref])
    assert not first.corrections
    assert not first.new, "it was judged"
    (waiting,) = first.pending
    second = look([], [old, new], alive=[old.ref, new.ref], pending=[waiting])
    assert second.pending == (waiting,)
    third = look([], [old, new], alive=[new.ref], pending=[waiting])
    assert [c.label for c in third.corrections] == [Label.SPAM]
    assert not third.pending


def test_a_copy_that_is_taken_back_or_stays_is_no_label():
    old, new = seen("INBOX", 1), seen("Junk", 9)
    (waiting,) = look([new], [old], alive=[old.ref]).pending
    assert not look([], [old, new], alive=[old.ref], pending=[waiting]).pending
    assert not look([], [old, new], alive=[], pending=[waiting]).corrections
    later = look([], [old, new], alive=[old.ref, new.ref], pending=[waiting], now=NOW + PENDING_LIFE)
    assert not later.pending
    assert not later.corrections


def test_our_own_move_is_not_the_person():
    found = look([seen("Junk", 9)], [seen("INBOX", 1)], own=[row("Junk", uid=9)])
    assert (len(found.ours), found.corrections) == (1, ())


def test_another_daemons_move_is_not_the_person_and_explains_one_arrival():
    known = [seen("INBOX", 1, "hash:a"), seen("INBOX", 2, "hash:a")]
    arrivals = [seen("Junk", 8, "hash:a", keywords=[MOVED_KEYWORD]), seen("Junk", 9, "hash:a")]
    found = look(arrivals, known)
    assert found.others == 1
    assert {found.corrections[0].old, *found.departed} == {ref("INBOX", 1), ref("INBOX", 2)}
    (gone,) = look(arrivals[:1], known[:1]).departed
    assert gone == ref("INBOX", 1)


def test_what_leaves_a_folder_without_room_for_the_sign_waits_for_it():
    """Seen as a copy first; whose it was is told by a sign that is set late, or by nothing."""
    old, new = seen("INBOX", 1), seen("Junk", 9)
    crowded = [FolderName("INBOX")]
    (waiting,) = look([new], [old], alive=[old.ref], crowded=crowded).pending

    def later(waiting, seconds, **more):
        known, wait = [old, new], [waiting]
        return look([], known, alive=[new.ref], pending=wait, crowded=crowded, now=NOW + 60 + seconds, **more)

    gone = later(waiting, 0)
    assert not gone.corrections
    (waiting,) = gone.pending
    assert later(waiting, 4).pending == (waiting,)
    theirs = later(waiting, 4, flags={new.ref: [MOVED_KEYWORD]})
    assert (theirs.corrections, theirs.others, theirs.departed) == ((), 1, (old.ref,))
    unclear = later(waiting, 6, shared=True)
    assert (unclear.corrections, unclear.unclear, unclear.departed) == ((), 1, (old.ref,))
    assert [one.label for one in later(waiting, 6).corrections] == [Label.SPAM]


def test_an_open_journal_row_without_a_uid_explains_one_arrival():
    arrivals = [seen("Junk", 9, "hash:a"), seen("Junk", 10, "hash:a")]
    known = [seen("INBOX", 1, "hash:a"), seen("INBOX", 2, "hash:a")]
    found = look(arrivals, known, own=[row("Junk", "hash:a", state=MoveState.INTENT, next_uid=9)])
    assert [s.ref.uid for s in found.ours] == [9]
    assert len(found.corrections) == 1
    none = look(arrivals, known, own=[row("Junk", "hash:a", state=MoveState.ABANDONED, next_uid=9)])
    assert not none.ours
    early = look(arrivals, known, own=[row("Junk", "hash:a", state=MoveState.INTENT, next_uid=11)])
    assert not early.ours


def test_the_person_rescues_what_we_moved():
    known = [seen("INBOX", 1, gone=950.0), seen("Junk", 9, at=950.0)]
    found = look([seen("INBOX", 2)], known, own=[row("Junk", uid=9)])
    assert [(c.label, c.old) for c in found.corrections] == [(Label.HAM, ref("Junk", 9))]


def test_identical_mail_one_after_the_other():
    known = [seen("INBOX", 1, "hash:a"), seen("INBOX", 2, "hash:a")]
    first = look([seen("Junk", 9, "hash:a")], known, alive=[ref("INBOX", 2)])
    assert [c.old for c in first.corrections] == [ref("INBOX", 1)]
    known = [seen("INBOX", 1, "hash:a", gone=NOW), seen("INBOX", 2, "hash:a"), seen("Junk", 9, "hash:a")]
    second = look(
        [seen("Junk", 10, "hash:a")],
        known,
        alive=[ref("Junk", 9)],
        consumed=[ref("INBOX", 1)],
        now=NOW + 5,
    )
    assert [c.old for c in second.corrections] == [ref("INBOX", 2)]
    both = look(
        [seen("Junk", 9, "hash:a"), seen("Junk", 10, "hash:a")],
        [seen("INBOX", 1, "hash:a"), seen("INBOX", 2, "hash:a")],
    )
    assert len(both.corrections) == 2
    one_copied = look(
        [seen("Junk", 9, "hash:a"), seen("Junk", 10, "hash:a")],
        [seen("INBOX", 1, "hash:a")],
    )
    assert len(one_copied.corrections) == 1


def test_a_departure_seen_a_pass_earlier_still_pairs():
    known = [seen("Junk", 9, gone=NOW - 5)]
    assert [c.label for c in look([seen("INBOX", 2)], known).corrections] == [Label.HAM]
    assert not look([seen("INBOX", 2)], known, now=NOW + GONE_LATELY).corrections
    assert not look([seen("INBOX", 2)], known, consumed=[ref("Junk", 9)]).corrections


@pytest.mark.parametrize("identity", ["emailid:M1", "hash:a"])
def test_a_twin_delivered_to_the_inbox_is_new_mail(identity):
    """Cyrus: same bytes, same EMAILID. The twin has an INTERNALDATE of its own."""
    old, twin = seen("Junk", 9, identity, date=500.0), seen("INBOX", 2, identity, date=520.0)
    found = look([twin], [old], alive=[old.ref])
    assert found.new == (twin,)
    assert not found.pending
    emptied = look([twin], [old])
    assert not emptied.corrections, "Junk emptied in the same moment"


def test_a_twin_of_the_same_second_is_no_rescue_when_junk_is_emptied():
    old, twin = seen("Junk", 9, "emailid:M1"), seen("INBOX", 2, "emailid:M1")
    (waiting,) = look([twin], [old], alive=[old.ref]).pending
    empty = {FolderName("Junk"): FolderStatus(FolderName("Junk"), UidValidity(1), Uid(99), 0)}
    found = look([], [old, twin], alive=[twin.ref], pending=[waiting], statuses=empty)
    assert not found.corrections
    assert not found.pending
    sure = seen("Junk", 9), seen("INBOX", 2)
    (waiting,) = look([sure[1]], [sure[0]], alive=[sure[0].ref]).pending
    found = look([], sure, alive=[sure[1].ref], pending=[waiting], statuses=empty)
    assert [c.label for c in found.corrections] == [Label.HAM], "X-GUID names one delivery: a real rescue"


def test_of_twins_that_came_together_the_one_deleted_from_junk_was_not_taken_out():
    """A flood, one of which the server's filter let through. A copy that is made later is a rescue, and one of what we moved."""
    ours = [row("Junk", "emailid:M1", uid=9)]
    for came, own, label in ((NOW - 5, [], []), (NOW - 3600, [], [Label.HAM]), (NOW - 5, ours, [Label.HAM])):
        old, twin = seen("Junk", 9, "emailid:M1", at=came), seen("INBOX", 2, "emailid:M1", at=NOW)
        (waiting,) = look([twin], [old], alive=[old.ref]).pending
        found = look([], [old, twin], alive=[twin.ref], pending=[waiting], own=own, now=NOW + 60)
        assert [one.label for one in found.corrections] == label
        assert found.departed == (old.ref,)
        assert not found.pending


def test_a_folder_made_anew_is_matched_not_judged():
    known = [seen("INBOX", 1, "guid:a"), seen("INBOX", 2, "guid:b")]
    arrivals = [seen("INBOX", 1, "guid:a", validity=2), seen("INBOX", 2, "guid:b", validity=2)]
    found = look(arrivals, known, reset=[FolderName("INBOX")])
    assert not found.corrections
    assert not found.new


def test_junk_renamed_recreated_and_all_copied_back():
    known = [seen("Junk", uid, f"guid:{uid}") for uid in range(1, 30)]
    arrivals = [seen("Junk", uid, f"guid:{uid}", validity=2) for uid in range(1, 30)]
    assert not look(arrivals, known, reset=[FolderName("Junk")]).corrections


def test_a_new_uidvalidity_still_labels_what_left_the_other_folder():
    arrival = seen("Junk", 1, validity=2)
    assert [c.label for c in look([arrival], [seen("INBOX", 1)], reset=[FolderName("Junk")]).corrections] == [
        Label.SPAM
    ]
    there = look([arrival], [seen("INBOX", 1)], alive=[ref("INBOX", 1)], reset=[FolderName("Junk")])
    assert not there.corrections
    from_reset = look([seen("Junk", 5)], [seen("INBOX", 1)], reset=[FolderName("INBOX")])
    assert not from_reset.corrections, "what left a folder that was made anew says nothing"


def test_ping_pong_between_polls_is_nothing():
    known = [seen("INBOX", 1)]
    found = look([seen("INBOX", 2)], known)
    assert not found.corrections
    assert not found.new


@pytest.mark.parametrize(
    ("keywords", "label"),
    [
        (["$Junk"], Label.SPAM),
        (["JUNK"], Label.SPAM),
        (["junk", "\\Seen"], Label.SPAM),
        (["NonJunk"], Label.HAM),
        (["$NotJunk"], Label.HAM),
        (["notjunk"], Label.HAM),
        (["Not-Junk"], Label.HAM),
        (["$Junk", "NonJunk"], None),
        (["\\Flagged", "JunkRecorded"], None),
        ([], None),
    ],
)
def test_spellings_of_keywords(keywords, label):
    assert keyword_label(keywords) is label


def test_a_keyword_is_a_hint_unless_we_had_stamped_the_mail():
    def change(before, now):
        return look(
            [], keywords=[KeywordChange(seen("INBOX", 1, keywords=before), frozenset(now))]
        ).corrections

    (hint,) = change([], ["$Junk"])
    assert (hint.label, hint.source, hint.weight) == (Label.SPAM, LabelSource.HINT, 0.3)
    (word,) = change(["NonJunk"], ["Junk"])
    assert (word.label, word.source, word.weight) == (Label.SPAM, LabelSource.KEYWORD, 0.7)
    for seen_between in ([], ["NonJunk", "Junk"]):
        (word,) = change(["$SpamdStamped", *seen_between], ["$spamdstamped", "Junk"])
        assert word.source is LabelSource.KEYWORD
    (hint,) = change(["NonJunk", "Junk"], ["Junk"])
    assert hint.source is LabelSource.HINT
    assert not change(["Junk"], ["$Junk", "\\Seen"]), "not newly set"
    assert not change([], ["Junk", "NonJunk"]), "both at once say nothing"
    assert not change(["Junk"], ["\\Seen"]), "taking a keyword away says nothing"


def test_a_drag_outweighs_its_keyword():
    arrival = seen("Junk", 9, keywords=["Junk"])
    found = look(
        [arrival],
        [seen("INBOX", 1)],
        keywords=[KeywordChange(seen("INBOX", 1), frozenset({"Junk"}))],
    )
    assert [c.source for c in found.corrections] == [LabelSource.DRAG]


def test_a_flood_is_asked_about():
    known = [seen("INBOX", n, f"guid:{n}") for n in range(201)]
    arrivals = [seen("Junk", n, f"guid:{n}") for n in range(201)]
    found = look(arrivals, known)
    assert len(found.corrections) == 201
    assert "201" in found.held
    assert not look(arrivals[:200], known).held


def test_a_folder_suddenly_empty_is_asked_about():
    known = [seen("INBOX", n, f"guid:{n}") for n in range(25)]
    arrivals = [seen("Junk", n, f"guid:{n}") for n in range(25)]
    empty = {FolderName("INBOX"): FolderStatus(FolderName("INBOX"), UidValidity(1), Uid(99), 0)}
    assert "INBOX" in look(arrivals, known, statuses=empty).held
    some = {FolderName("INBOX"): FolderStatus(FolderName("INBOX"), UidValidity(1), Uid(99), 3)}
    assert not look(arrivals, known, statuses=some).held


@pytest.mark.parametrize(("before", "labels"), [([], []), ([MOVED_KEYWORD], [Label.SPAM])])
def test_what_the_person_put_into_the_inbox_another_daemon_moved_before_we_looked(before, labels):
    """Seen in the archive and then in Junk, with a sign that it did not bear before: by way of the inbox, where that daemon
    took it. With one from long ago the person has dragged it.
    """
    found = look([seen("Junk", 9, at=NOW, keywords=[MOVED_KEYWORD])], [seen("Archive", 4, keywords=before)])
    assert [one.label for one in found.corrections] == labels
    assert found.others == (not labels)


@pytest.mark.parametrize("signed", [True, False])
def test_both_places_of_another_daemons_copy_were_seen_at_once(signed):
    """Its copy in Junk and the original that was about to go; then the person takes the mail out of Junk, signed. Unsigned, it
    came out of the inbox, and the copy was withdrawn.
    """
    lock = [MOVED_KEYWORD, MOVING_KEYWORD]
    known = [seen("INBOX", 60, keywords=lock), seen("Junk", 36, keywords=lock)]
    for earlier in (known, known[::-1]):
        found = look([seen("Archive", 9, at=NOW, keywords=[MOVED_KEYWORD] * signed)], earlier)
        assert [one.label for one in found.corrections] == [Label.HAM] * signed
