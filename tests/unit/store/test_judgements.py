"""Recording, paging, searching, counting; what is kept of a mail."""

from __future__ import annotations

import dataclasses
import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spamd.domain import AccountName, Decision, FolderName, Label, ModelId, MoveState, Past, Uid, Verdict
from spamd.errors import RequestError
from spamd.store.database import Store
from spamd.store.judgements import TOGETHER, Entry, search_words


def test_a_judgement_comes_back_as_it_was(store, rows):
    given_ = rows.judgement(
        1,
        sender="ann@shop.example",
        subject="Your order",
        sender_domain="shop.example",
        link_hosts=("shop.example", "cdn.example"),
    )
    given_ = dataclasses.replace(given_, score=dataclasses.replace(given_.score, copy_of=Label.SPAM))
    stored, moves = store.record_judgement(given_, vector=b"v")
    assert (stored.id, moves) == (1, [])
    assert store.judgement(1) == stored == dataclasses.replace(given_, id=1)
    assert store.judgement_of(rows.account, rows.identity(1)) == stored
    assert store.vector_of(rows.account, rows.identity(1)) == b"v"
    assert store.judgement(2) is None
    assert store.judgement_of(AccountName("other"), rows.identity(1)) is None


def test_judgement_vector_sighting_and_intent_are_one_transaction(store, rows):
    broken = dataclasses.replace(rows.move(1), size=None)  # NOT NULL
    with pytest.raises(Exception, match="refused"):
        store.record_judgement(rows.judgement(1), vector=b"v", intents=[broken], sighting=rows.sighting(1))
    assert store.judgements() == []
    assert store.vector_of(rows.account, rows.identity(1)) is None
    assert store.sighting_of(rows.account, rows.identity(1)) == []
    _, moves = store.record_judgement(
        rows.judgement(1), vector=b"v", intents=[rows.move(1)], sighting=rows.sighting(1)
    )
    assert [move.state for move in moves] == [MoveState.INTENT]
    assert store.open_moves(rows.account) == moves
    assert store.sightings(rows.account, "INBOX") == {Uid(1): rows.sighting(1)}


def test_judged_again_it_keeps_number_first_score_and_mark(store, rows):
    first, _ = store.record_judgement(rows.judgement(1, "unsure", probability=0.6), vector=b"1")
    rows.move_in(store, 1)
    again, _ = store.record_judgement(
        rows.judgement(1, "junk", probability=0.9, at=rows.noon + 9), vector=b"2"
    )
    assert (again.id, again.moved, again.decision.verdict) == (first.id, True, Verdict.JUNK)
    assert store.vector_of(rows.account, rows.identity(1)) == b"2"
    store.add_label(rows.label(1, "spam", at=rows.noon + 20))
    assert store.evidence_points(rows.account) == [(0.6, Label.SPAM, rows.noon + 20, 1.0)]


def test_evidence_leaves_out_what_was_learned_before_it_was_scored(store, rows):
    store.add_label(rows.label(1, at=rows.noon - 1))
    store.add_label(rows.label(2, at=rows.noon + 1))
    store.add_label(rows.label(3, at=rows.noon + 1, held=True))
    store.add_label(rows.label(4, at=rows.noon + 1))  # never scored
    for n in (1, 2, 3):
        store.record_judgement(rows.judgement(n), vector=None)
    assert [point[1:3] for point in store.evidence_points(rows.account)] == [(Label.HAM, rows.noon + 1)]


def test_pages_follow_each_other_without_gap_or_repeat(store, rows):
    for n in range(1, 26):
        at = rows.noon + (n % 5)  # many with the same time, and not in the order of their numbers
        store.record_judgement(rows.judgement(n, "junk" if n % 2 else "keep", at=at), vector=None)
    seen, last = [], None
    while page := store.judgements(before_id=last, limit=4):
        seen += page
        last = page[-1].id
    assert len({one.id for one in seen}) == len(seen) == 25
    assert [(one.at, one.id) for one in seen] == sorted(((one.at, one.id) for one in seen), reverse=True)


def test_filters(store, rows):
    other = AccountName("work")
    store.record_judgement(rows.judgement(1, "junk"), vector=None)
    store.record_judgement(rows.judgement(2, "unsure", at=rows.noon + 10), vector=None)
    store.record_judgement(rows.judgement(3, "unsure", at=rows.noon + 20, account=other), vector=None)
    store.add_label(rows.label(2, "ham"))
    numbers = lambda **chosen: [one.id for one in store.judgements(**chosen)]  # noqa: E731
    assert numbers() == [3, 2, 1]
    assert numbers(account=rows.account) == [2, 1]
    assert numbers(verdict=Verdict.UNSURE) == [3, 2]
    assert numbers(verdict=Verdict.UNSURE, labelled=False) == [3]
    assert numbers(labelled=True) == [2]
    assert numbers(since=rows.noon + 10, until=rows.noon + 20) == [2]
    assert numbers(before_id=99) == [3, 2, 1]


def test_the_label_shown_follows_the_ledger(store, rows):
    store.record_judgement(rows.judgement(1), vector=None)
    label_shown = lambda: store.judgement(1).label  # noqa: E731
    store.add_label(rows.label(1, "ham", "implicit", weight=0.3))
    assert label_shown() is None
    store.add_label(rows.label(1, "ham", "drag"))
    assert label_shown() is Label.HAM
    store.hold(rows.account, rows.identity(1), "says the opposite of a copy")
    assert label_shown() is None
    store.release(rows.account, rows.identity(1))
    assert label_shown() is Label.HAM
    store.forget_label(rows.account, rows.identity(1))
    assert label_shown() is None
    store.add_label(rows.label(2, "spam"))  # labelled before it is judged
    stored, _ = store.record_judgement(rows.judgement(2), vector=None)
    assert stored.label is Label.SPAM


def test_the_display_setting_decides_what_is_kept(store, rows, path):
    mail = {
        "sender": "ann@shop.example",
        "subject": "Hello",
        "snippet": "Dear",
        "sender_domain": "shop.example",
        "link_hosts": ("a.example",),
    }
    assert store.display == "headers"
    store.record_judgement(rows.judgement(1, **mail), vector=None)
    store.set_display("snippet")
    store.record_judgement(rows.judgement(2, **mail), vector=None)
    assert (store.judgement(1).snippet, store.judgement(2).snippet) == ("", "Dear")
    store.set_display("headers")
    assert (store.judgement(2).snippet, store.judgement(2).subject) == ("", "Hello")
    store.set_display("nothing")
    store.record_judgement(rows.judgement(3, **mail), vector=None)
    for n in (1, 2, 3):
        found = store.judgement(n)
        assert (found.sender, found.subject, found.sender_domain, found.link_hosts) == ("", "", "", ())
    assert store.search("hello") == []


def test_long_and_broken_text_is_kept_at_a_length_that_can_be_shown(store, rows):
    hostile = "\udce4\x00" + "x" * 1_000_000
    stored, _ = store.record_judgement(rows.judgement(1, sender=hostile, subject=hostile), vector=None)
    assert len(stored.subject) == 500
    assert len(stored.sender) == 320
    assert "\x00" not in stored.subject
    assert store.judgement(1) == stored


class TestSearch:
    @pytest.fixture(autouse=True)
    def mails(self, store, rows):
        texts = [
            ("ann@shop.example", "Grüße vom Lottó"),
            ("bob@club.example", "Minutes of the meeting"),
            ("Ann Other <ann@club.example>", "Meeting moved, 100% sure"),
            ("shop@jp.example", "【重要】お支払い方法の確認 order 77"),
        ]
        for n, (sender, subject) in enumerate(texts, 1):
            store.record_judgement(rows.judgement(n, sender=sender, subject=subject), vector=None)

    @pytest.mark.parametrize(
        ("typed", "found"),
        [
            ("grusse", []),  # ß is not ss for the tokenizer; accents do not matter
            ("lotto", [1]),
            ("LOTTO", [1]),
            ("meet", [3, 2]),
            ("ann meeting", [3]),
            ("ann@club.example", [3]),
            ("club.example", [3, 2]),
            ("100%", [3]),
            ("", []),
            ('"', []),
            ("***", []),
            ("subject:", []),
            ("meeting OR lotto", []),
            ("NEAR(meeting", []),
            ("meeting -moved", [3]),
            ('mee"ting', []),
            ("meeting ^", [3, 2]),
            ("支払い", [4]),
            ("支払い 確認", [4]),
            ("order 支払い", [4]),
            ("meeting 支払い", []),
            ("支払わない", []),
        ],
    )
    def test_whatever_is_typed_is_safe(self, store, typed, found):
        assert [one.id for one in store.search(typed)] == found

    def test_pages(self, store):
        assert [one.id for one in store.search("meeting", limit=1)] == [3]
        assert [one.id for one in store.search("meeting", limit=1, before_id=3)] == [2]

    def test_follows_changes(self, store, rows):
        store.record_judgement(rows.judgement(2, sender="bob@club.example", subject="Treasure"), vector=None)
        assert [one.id for one in store.search("minutes")] == []
        assert [one.id for one in store.search("treasure")] == [2]

    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(st.text(st.characters(), max_size=40))
    def test_any_text(self, store, text):
        store.search(text)

    def test_query_is_bounded(self):
        assert search_words("a " * 1000) == ["a"] * 20
        assert search_words("x" * 100_000 + "\x00 \x00!") == ["x" * 100]

    def test_of_one_account(self, store, rows):
        for typed in ("meeting", "支払い"):
            assert store.search(typed, account=AccountName("other")) == []
            assert store.search(typed, account=rows.account) == store.search(typed)


def test_counts(store, rows):
    store.record_judgement(rows.judgement(1, "junk"), vector=None)
    store.record_judgement(rows.judgement(2, "junk"), vector=None)
    store.record_judgement(rows.judgement(3, "keep"), vector=None)
    store.record_judgement(rows.judgement(4, "unsure"), vector=None)
    store.record_judgement(rows.judgement(5, "keep", at=rows.noon - 100), vector=None)
    rows.move_in(store, 1)
    for n, label in ((1, "ham"), (2, "spam"), (3, "spam"), (4, "spam")):
        store.add_label(rows.label(n, label))
    # Read in a folder when the account was set up: nothing of it was judged, kept or moved by us.
    lay_there = dataclasses.replace(
        rows.judgement(6, "junk"), decision=Decision(Verdict.JUNK, False, "before", "It lay in Junk.")
    )
    store.record_judgement(lay_there, vector=None)
    store.add_label(rows.label(6, "ham"))
    counts = store.counts(rows.account, rows.noon)
    days = store.daily_counts(rows.noon - 10)
    assert sum(day.junk for day in days) == 2 and sum(day.false_positives for day in days) == 1
    assert (counts["junk"], counts["keep"], counts["unsure"], counts["moved"]) == (2, 1, 1, 1)
    assert (counts["false_positives"], counts["missed"], counts["corrected"]) == (1, 2, 3), (
        "doubtful mail, too"
    )
    assert store.counts(None, 0)["keep"] == 2
    assert store.counts(AccountName("other"), 0)["keep"] == 0


def test_daily_counts_are_the_person_s_days(store, rows, clock):
    midnight = datetime.datetime(2026, 3, 28).timestamp()  # noqa: DTZ001
    for n, offset in enumerate((-1, 0, 86399, 86400 * 2), 1):
        store.record_judgement(rows.judgement(n, at=midnight + offset), vector=None)
    clock.now = midnight + 86400 * 2 + 60
    days = store.daily_counts(midnight - 10)
    assert [day.day for day in days] == ["2026-03-27", "2026-03-28", "2026-03-29", "2026-03-30"]
    assert sum(day.junk for day in days) == 4
    assert [day.junk for day in days][:2] == [1, 2]
    assert len(store.daily_counts(0)) == 400


def test_link_hosts(store, rows):
    for n in range(3):
        hosts = ("bad.example", f"{n}.example", "bad.example")
        store.record_judgement(rows.judgement(n, link_hosts=hosts), vector=None)
    assert store.link_hosts(0)[0] == ("bad.example", 3)
    assert store.link_hosts(0, verdict=Verdict.KEEP) == []


def test_found_by_message_id(store, rows):
    first = rows.sighting(1, message_id="x@y", size=1000)
    store.record_judgement(rows.judgement(1), vector=None, sighting=first)
    store.add_sightings([rows.sighting(1, folder="Junk", message_id="x@y", size=1000)])
    assert [one.id for one in store.judgement_by_message_id("x@y")] == [1]
    assert store.judgement_by_message_id("") == []
    for n in range(2, 40):  # somebody copies it again and again
        copy = rows.sighting(n, message_id="x@y", size=9000 + n)
        store.record_judgement(rows.judgement(n), vector=None, sighting=copy)
    assert len(store.judgement_by_message_id("x@y")) == 20
    assert store.judgement_by_message_id("x@y", size=1000)[0].id == 1
    assert store.judgement_by_message_id("x@y", size=9007)[0].id == 7


def test_an_unknown_wish_to_wipe_is_refused(store):
    for what in ("", "everything", "account:", "text"):
        with pytest.raises(RequestError):
            store.wipe(what)


def test_good_mail_that_a_model_judged(store, rows):
    for n, verdict in enumerate(("keep", "keep", "unsure", "junk", "junk")):
        store.record_judgement(rows.judgement(n, verdict), vector=None)
    store.record_judgement(rows.judgement(10, "keep", at=rows.noon - 9), vector=None)
    store.add_label(rows.label(1, "spam"))
    store.add_label(rows.label(3, "ham"))
    model = rows.judgement(0).score.model_id
    assert store.good_judged(model, rows.noon) == {rows.account: 3}, "kept, doubtful, taken back"
    assert store.good_judged(ModelId("another"), rows.noon) == {}


def test_a_first_score_is_told_anew(store, rows):
    for n in (1, 2):
        store.record_judgement(rows.judgement(n, probability=0.9), vector=None)
        store.add_label(rows.label(n))
    store.rescore({(rows.account, rows.identity(1)): 0.125, (rows.account, rows.identity(9)): 0.5})
    assert [point[0] for point in store.evidence_points(rows.account)] == [0.125, 0.9]
    assert store.judgement_of(rows.account, rows.identity(1)).score.probability == 0.9, "what was said then"


def test_many_at_once_are_as_one_after_the_other(tmp_path, rows, clock):
    """With one in them twice, one that was judged before, one that the person spoke of and one that was moved."""
    stores = [Store(tmp_path / name, clock=clock) for name in ("one", "many")]
    for store in stores:
        store.record_judgement(rows.judgement(3, at=rows.noon - 5, probability=0.4), vector=b"old")
        store.add_label(rows.label(4))
        store.add_label(rows.label(5, source="implicit"))
        store.intent(rows.move(6))
    entries = [
        Entry(
            rows.judgement(n, probability=n / 100, sender=f"ann{n}@x.example", link_hosts=("a.example", "", "b.example")),
            b"v%d" % n if n % 5 else None,
            (rows.move(n),) if n in (6, 7) else (),
            rows.sighting(n) if n % 7 else None,
        )
        for n in (*range(1, 2 * TOGETHER + 3), 9)
    ]  # fmt: skip
    one, many = stores
    single = [one.record([entry])[0] for entry in entries]
    assert many.record(entries) == single
    assert [len(moves) for _, moves in single if moves] == [1]
    assert {judgement.identity: judgement.label for judgement, _ in single if judgement.label} == {
        rows.identity(4): Label.HAM
    }
    for question in (
        lambda store: store.judgements(limit=100),
        lambda store: [(found.id, first) for found, first in store.first_scores(rows.account, 0.0)],
        lambda store: [store.vector_of(rows.account, rows.identity(n)) for n in range(40)],
        lambda store: store.sightings(rows.account, FolderName("INBOX")),
        lambda store: [found.id for found in store.search("ann1", limit=100)],
        lambda store: store.moves(rows.account),
    ):
        assert question(many) == question(one)
        assert question(many)
    for store in stores:
        store.check()
        store.close()


def test_what_is_known_of_many_mails_is_one_question(store, rows):
    store.add_label(rows.label(1))
    store.add_label(rows.label(2))
    store.add_label(rows.label(2, label="spam", at=rows.noon + 1))
    store.add_label(rows.label(3, label="spam", source="hint"))
    store.add_label(rows.label(4, label="spam", held=True))
    store.intent(rows.move(5))
    store.intent(rows.move(6, kind="undo"))
    asked = [rows.identity(n) for n in range(8)]
    assert store.past_of(rows.account, asked) == {
        rows.identity(1): Past(said=Label.HAM, rescued=True),
        rows.identity(2): Past(said=Label.SPAM, rescued=True),
        rows.identity(5): Past(moved=True),
    }
    assert store.past_of(AccountName("other"), asked) == {}
    assert store.past_of(rows.account, []) == {}
    store.add_sightings([rows.sighting(1), rows.sighting(2), rows.sighting(12)])
    found = store.sightings_of(rows.account, asked)
    assert found == {
        one: store.sighting_of(rows.account, one) for one in (rows.identity(1), rows.identity(2))
    }
    assert store.moves_of(rows.account, asked) == [store.move_of(rows.account, rows.identity(5))]
