"""filtering.Filter on a mailbox in memory, with the real store and the real mover."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from itertools import islice

import pytest

from spamd.domain import (
    MOVED_KEYWORD,
    MOVING_KEYWORD,
    OWNER_KEYWORD,
    STAMPED_KEYWORD,
    Account,
    AccountName,
    Evidence,
    FolderName,
    Label,
    LabelRecord,
    LabelSource,
    ListEntry,
    Mode,
    MoveKind,
    MoveState,
    Verdict,
)
from spamd.errors import ConnectionLost, FolderRefused, ProtocolFault, StoreFull
from spamd.filtering import BATCH, Filter
from spamd.judgement import corrections
from spamd.learning import Learner
from spamd.learning.places import places
from spamd.mailbox.mover import JournaledMover
from spamd.mailbox.moving.rivals import GIVES_WAY
from spamd.source import Folder
from spamd.store.database import Store
from tests.fakes.memory_mailbox import FULL, START, MemoryCommands, MemoryServer, MemorySession
from tests.fakes.scripted_scorer import ScriptedScorer

ME = AccountName("home")
PROVEN = Evidence(Mode.FILTERING, 0.97, 0.5, 400, 90, 0, 0.001, 0.9, "")
DMARC = (
    "Received: from x by mx.home.example; Sun, 1 Nov 2026 10:00:00 +0000\r\n"
    "Authentication-Results: mx.home.example; dmarc={}\r\n"
)


def mail(number, score=0.01, *, sender="a@shop.example", subject=None, more=""):
    text = (
        f"From: <{sender}>\r\nTo: me@home.example\r\nSubject: {subject or f'mail {number}'}\r\n"
        f"Message-ID: <{number}@shop.example>\r\nScore: {score}\r\n{more}\r\nBody of number {number}.\r\n"
    )
    return text.encode()


class Place:
    """One account on one server in memory."""

    def __init__(self, path, account=None, server=None):
        self.now = START + 1_000_000
        self.steady = 1_000.0
        self.server = server or MemoryServer(folders=("Junk", "Trash", "Archive", "Doubt", "Sent"))
        self.account = account or Account(ME)
        self.store = Store(path / "spamd.db", clock=lambda: self.now)
        self.scorer = ScriptedScorer()
        self.evidence = PROVEN
        self.paused = False
        self.told = []
        self.connect()

    def connect(self):
        self.session = MemorySession(self.server)
        mover = JournaledMover(
            self.session,
            MemoryCommands(self.session),
            self.store,
            self.account.name,
            clock=lambda: self.now,
            steady=lambda: self.steady,
        )
        self.filter = Filter(
            self.session,
            mover,
            self.store,
            self.scorer,
            self.account,
            evidence=lambda: self.evidence,
            paused=lambda: self.paused,
            publish=lambda kind, data: self.told.append((kind, data)),
            clock=lambda: self.now,
        )
        self.learner = Learner(
            self.session,
            self.store,
            self.scorer,
            self.account,
            since=START,
            flood=50,
            clock=lambda: self.now,
        )

    def look(self, seconds=5.0):
        self.now += seconds
        self.steady += seconds
        look = self.learner.look()
        self.filter.free(look.locked)
        judged = self.filter.judge(look.new)
        self.learner.settle(look)
        return judged

    def judgement(self):
        return self.store.judgements(account=self.account.name, limit=1)[0]

    def labels(self):
        return self.store.labels(self.account.name)


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    made.look()
    yield made
    made.store.close()


def test_junk_moves_and_good_mail_stays(place):
    before = place.server.bodies()
    place.server.deliver(mail(1, 0.99))
    place.server.deliver(mail(2, 0.7))
    place.server.deliver(mail(3))
    judged = place.look()
    assert [one.decision.verdict for one in judged] == [Verdict.JUNK, Verdict.UNSURE, Verdict.KEEP]
    assert [one.moved for one in judged] == [True, False, False]
    assert place.server.raws("Junk") == [mail(1, 0.99)]
    assert len(place.server.bodies()) == len(before) + 3
    assert not place.server.flagged("\\Seen")
    assert not place.store.open_moves(ME)
    (row,) = place.store.moves(ME)
    assert (row.state, row.target_uid) == (MoveState.DONE, 1)
    assert [data["moved"] for kind, data in place.told if kind == "verdict"] == [True, False, False]
    assert place.look() == []
    assert place.labels() == [], "our own move is no correction"


def test_the_same_mail_is_judged_once(place):
    place.server.deliver(mail(1, 0.7))
    place.look()
    scored = place.scorer.scored
    place.connect()
    place.look()
    assert place.scorer.scored == scored


def test_a_connection_lost_between_recording_and_moving(place):
    place.server.deliver(mail(1, 0.99))
    place.server.deliver(mail(2, 0.99))

    def cut(command):
        if command.startswith("MOVE"):
            raise ConnectionLost("cut")

    place.server.before = cut
    with pytest.raises(ConnectionLost):
        place.look()
    place.server.before = None
    assert len(place.store.open_moves(ME)) == 2
    place.connect()
    place.filter.recover()
    assert sorted(place.server.raws("Junk")) == [mail(1, 0.99), mail(2, 0.99)]
    assert place.look() == []
    assert place.scorer.scored == 2
    assert not place.labels()
    assert all(one.moved for one in place.store.judgements(account=ME))


def test_many_verdicts_are_written_down_before_anything_else_is_said(tmp_path):
    """Good mail is recorded in groups: all of a group before the first command that may fail."""
    place = Place(tmp_path, Account(ME, stamp=True))
    place.look()
    count = BATCH + 5
    for number in range(count):
        place.server.deliver(mail(number))
    place.server.deliver(mail(count, 0.99))

    def cut(command):
        if "STORE" in command:
            raise ConnectionLost("cut")

    place.server.before = cut
    with pytest.raises(ConnectionLost):
        place.look()
    place.server.before = None
    assert len(place.store.judgements(account=ME, limit=100)) == BATCH
    place.connect()
    place.filter.recover()
    place.look()
    judged = place.store.judgements(account=ME, limit=100)
    assert len({one.identity for one in judged}) == count + 1
    assert [one.moved for one in judged].count(True) == 1
    assert place.scorer.scored == count + 1, "what was written down is not judged again"
    place.store.close()


def test_the_line_breaks_within_a_batch(tmp_path, monkeypatch):
    """What was read until then is written down, and nothing of it read again."""
    place = Place(tmp_path)
    place.look()
    for number in range(3 * BATCH):
        place.server.deliver(mail(number))
    real, read = place.session.fetch, 2 * BATCH + 3

    def cut(refs):
        yield from islice(real(refs), read)
        raise ConnectionLost("cut")

    monkeypatch.setattr(place.session, "fetch", cut)
    with pytest.raises(ConnectionLost):
        place.look()
    assert len(place.store.judgements(account=ME, limit=500)) == read
    place.connect()
    place.look()
    judged = place.store.judgements(account=ME, limit=500)
    assert len({one.identity for one in judged}) == len(judged) == 3 * BATCH == place.scorer.scored
    place.store.close()


def test_what_could_not_be_written_is_judged_again(tmp_path, monkeypatch):
    """The disk is full at the second batch."""
    place = Place(tmp_path)
    place.look()
    for number in range(2 * BATCH + 1):
        place.server.deliver(mail(number))
    real, sizes = place.store.record, []

    def full(entries):
        sizes.append(len(entries))
        if len(sizes) == 2:
            raise StoreFull("There is no space left.", "")
        return real(entries)

    monkeypatch.setattr(place.store, "record", full)
    with pytest.raises(StoreFull):
        place.look()
    assert sizes == [BATCH, BATCH]
    assert len(place.store.judgements(account=ME, limit=500)) == BATCH
    place.connect()
    place.look()
    judged = place.store.judgements(account=ME, limit=500)
    assert len({one.identity for one in judged}) == len(judged) == 2 * BATCH + 1
    assert len([1 for kind, _ in place.told if kind == "verdict"]) == 2 * BATCH + 1
    place.store.close()


def test_of_a_mail_and_its_copy_in_one_batch_one_is_moved(place):
    place.server.copy(place.server.deliver(mail(1, 0.99)), "INBOX")
    judged = place.look()
    assert [(one.moved, one.decision.reason) for one in judged] == [(True, "score"), (False, "once")]
    assert len(place.store.moves(ME)) == 1
    assert place.server.raws("INBOX") == place.server.raws("Junk") == [mail(1, 0.99)]


def test_junk_goes_before_what_stays_is_stamped(tmp_path):
    place = Place(tmp_path, Account(ME, stamp=True))
    place.look()
    for number in range(5):
        place.server.deliver(mail(number))
    place.server.deliver(mail(5, 0.99))
    place.server.commands.clear()
    assert [one.moved for one in place.look()] == [False] * 5 + [True]
    stamps = [n for n, one in enumerate(place.server.commands) if one.startswith("STORE") and "Junk" in one]
    (move,) = [n for n, one in enumerate(place.server.commands) if one.startswith("MOVE")]
    assert [n < move for n in stamps] == [True] + [False] * 5
    (there,) = place.server.refs("Junk")
    assert {"Junk", STAMPED_KEYWORD} <= place.server.flags(there)
    place.store.close()


def test_the_answer_of_the_move_is_lost(place):
    place.server.deliver(mail(1, 0.99))

    def cut(command):
        if command.startswith("MOVE"):
            raise ConnectionLost("cut")

    place.server.after = cut
    with pytest.raises(ConnectionLost):
        place.look()
    place.server.after = None
    place.connect()
    place.filter.recover()
    place.look()
    assert place.server.raws("Junk") == [mail(1, 0.99)]
    assert place.server.raws("INBOX") == []
    assert not place.labels()


def test_cut_at_every_command(tmp_path):
    """Wherever the connection breaks: nothing lost, doubled or read, and each mail judged once."""
    for point in range(1, 150):
        folder = tmp_path / str(point)
        folder.mkdir()
        place = Place(folder)
        place.look()
        for number in range(3):
            place.server.deliver(mail(number, 0.99))
        count = 0

        def cut(command, point=point):
            nonlocal count
            count += 1
            if count == point:
                raise ConnectionLost("cut")

        place.server.after = cut
        for _ in range(6):
            try:
                place.connect()
                place.filter.recover()
                place.look()
            except ConnectionLost:
                continue
        place.server.after = None
        place.connect()
        place.filter.recover()
        place.look()
        assert sorted(place.server.raws("Junk")) == [mail(n, 0.99) for n in range(3)], point
        assert place.server.raws("INBOX") == [], point
        assert len(place.store.judgements(account=ME)) == 3
        assert not place.labels(), point
        assert not place.server.flagged("\\Seen")
        place.store.close()
        if count < point:
            break
    else:
        pytest.fail("never ran through without a cut")


def test_nothing_moves_while_learning(place):
    place.evidence = Evidence(Mode.LEARNING, None, 0.5, 0, 0, 300, None, None, "")
    place.server.deliver(mail(1, 0.999))
    (judged,) = place.look()
    assert (judged.decision.verdict, judged.decision.reason) == (Verdict.JUNK, "learning")
    assert len(place.server.raws("INBOX")) == 1


def test_old_mail_is_not_judged_at_the_first_look(tmp_path):
    server = MemoryServer()
    server.deliver(mail(1, 0.999), at=START - 100)
    server.deliver(mail(2, 0.999), at=START + 100)
    place = Place(tmp_path, server=server)
    assert [one.identity for one in place.look()] == ["emailid:M2"]
    assert place.server.raws("Junk") == [mail(2, 0.999)]
    place.store.close()


def test_a_mail_that_breaks_the_reader_is_left_alone(place):
    place.server.deliver(mail(1, "break"))
    place.server.deliver(mail(2, 0.99))
    assert len(place.look()) == 1
    assert place.server.raws("INBOX") == [mail(1, "break")]
    scored = place.scorer.scored
    place.look()
    assert place.scorer.scored == scored, "not tried again"
    assert [event.kind for event in place.store.events()] == ["error"]


def test_uidvalidity_changes_and_nothing_is_judged_again(place):
    for number in range(3):
        place.server.deliver(mail(number, 0.6))
    place.look()
    scored = place.scorer.scored
    place.server.renumber("INBOX")
    assert place.look() == []
    assert place.scorer.scored == scored
    place.server.deliver(mail(9, 0.6), at=place.now)
    assert len(place.look()) == 1


@pytest.mark.parametrize("seen", ["under the lock", "before it"])
def test_a_daemon_that_never_comes_back_holds_its_mail_for_a_day(place, monkeypatch, seen):
    """Its lock was on the mail when we read it, or came before our own."""
    ref = place.server.deliver(mail(1, 0.99))
    held = [MOVING_KEYWORD, f"{OWNER_KEYWORD}gone", MOVED_KEYWORD]
    if seen == "under the lock":
        place.server.set_flags(ref, held)
    score = place.scorer.score

    def locked_meanwhile(features):
        place.server.set_flags(ref, held)
        return score(features)

    monkeypatch.setattr(place.scorer, "score", locked_meanwhile)
    assert [one.moved for one in place.look()] == [False]
    monkeypatch.undo()
    assert place.filter.later.end_old_locks() == [], "it may be at work this moment"
    place.connect()
    place.now += 86_000
    assert place.filter.later.end_old_locks() == []
    assert place.server.flags(ref) >= set(held)
    place.now += 1_000
    assert [one.moved for one in place.filter.later.end_old_locks()] == [True]
    assert place.server.raws("Junk") == [mail(1, 0.99)]
    (there,) = place.server.refs("Junk")
    assert place.server.flags(there) == {MOVED_KEYWORD}
    assert place.filter.later.end_old_locks() == []


def test_a_lock_that_comes_and_goes_is_not_old(place):
    ref = place.server.deliver(mail(1, 0.6))
    place.look()
    for _ in range(3):
        place.server.set_flags(ref, [MOVING_KEYWORD, f"{OWNER_KEYWORD}busy"])
        assert place.filter.later.end_old_locks() == []
        place.now += 80_000
        place.server.set_flags(ref, [], [MOVING_KEYWORD, f"{OWNER_KEYWORD}busy"])
        assert place.filter.later.end_old_locks() == []
    assert place.store.state(f"locks:{ME}") == "{}"


def test_mail_of_the_second_in_which_uidvalidity_changes(place):
    """INTERNALDATE counts seconds: what comes in that of the newest known mail is new, if it can be told from what was known."""
    place.server.deliver(mail(1, 0.6), at=place.now)
    place.look()
    place.server.renumber("INBOX")
    place.server.deliver(mail(9, 0.99), at=place.now)
    assert len(place.look()) == 1
    assert place.server.raws("Junk") == [mail(9, 0.99)]


def test_a_restored_mailbox_without_its_dates_and_ids(tmp_path):
    place = Place(tmp_path)
    for number in range(3):
        place.server.deliver(mail(number, 0.99), at=START - 50)
    place.look()
    raws = place.server.raws("INBOX")
    place.server.drop_folder("INBOX")
    place.server.create("INBOX")
    for raw in raws:
        place.server.deliver(raw, at=place.now)
    assert place.look() == []
    assert len(place.server.raws("INBOX")) == 3
    place.store.close()


def test_rescued_mail_is_never_filed_again(place):
    place.server.deliver(mail(1, 0.99))
    place.look()
    (ref,) = place.server.refs("Junk")
    back = place.server.drag(ref, "INBOX")
    place.look()
    (label,) = place.labels()
    assert (label.label, label.source) == (Label.HAM, LabelSource.DRAG)
    place.server.renumber("INBOX")
    place.look()
    assert place.server.raws("INBOX") == [mail(1, 0.99)]
    place.connect()
    place.look()
    assert place.server.raws("INBOX") == [mail(1, 0.99)]
    assert back


def test_a_move_that_is_refused_is_told_once_an_hour(place):
    place.server.folders["Junk"].read_only = True
    for number in range(3):
        place.server.deliver(mail(number, 0.99))
        place.look(1900.0)
        told = [event.text for event in place.store.events() if event.kind == "error"]
        assert len(told) == (2 if number == 2 else 1)
    assert "could not be moved, it stays: Junk may only be read." in told[0]
    assert len(place.server.raws("INBOX")) == 3


def test_mail_of_which_the_person_said_before_that_it_is_junk_is_moved(place):
    """Imported from another computer, say. Whatever the model thinks of it."""
    (arrival,) = place.session.locate([place.server.deliver(mail(1, 0.3))])
    place.store.add_label(LabelRecord(ME, arrival.identity, Label.SPAM, LabelSource.IMPORT, 1.0, place.now))
    (judged,) = place.look()
    assert (judged.decision.reason, judged.moved) == ("said", True)


def test_lists_and_contacts(place):
    place.store.add_list_entry(ListEntry("shop.example", Label.HAM, place.now))
    place.server.deliver(mail(1, 0.99))
    (judged,) = place.look()
    assert judged.decision.reason == "allowed"
    assert place.store.list_entries()[0].uses == 1
    place.store.remove_list_entry("shop.example")
    place.store.add_contacts(ME, ["a@shop.example"], place.now)
    place.server.deliver(mail(2, 0.99, more=DMARC.format("pass")))
    place.server.deliver(mail(3, 0.99, more=DMARC.format("fail")))
    place.server.deliver(mail(4, 0.99))
    assert [one.moved for one in place.look()] == [False, True, True]


def test_a_list_does_not_speak_for_whom_the_server_found_to_be_another(place):
    """Without DMARC it cannot say "forged". Before, whoever wrote a listed domain into From was kept."""
    place.store.add_list_entry(ListEntry("shop.example", Label.HAM, place.now))
    number = 0

    def comes(found, score=0.99):
        nonlocal number
        number += 1
        place.now += 1
        more = DMARC.format(f"none; {found}") if found else ""
        place.server.deliver(mail(number, score, more=more))
        (judged,) = place.look()
        return judged

    other = "spf=pass smtp.mailfrom=x@evil.example; dkim=none"
    assert comes(other).decision.reason == "allowed", "who sends by a third party's servers alone"
    assert comes("dkim=pass header.d=shop.example").decision.reason == "allowed"
    for found in (other, "spf=softfail smtp.mailfrom=x@shop.example", "dkim=fail header.d=shop.example"):
        judged = comes(found)
        assert (judged.moved, judged.decision.reason) == (True, "score")
        assert "shop.example is on your list of senders to keep, but" in judged.decision.explanation
    assert comes(other, 0.01).decision.verdict is Verdict.KEEP
    for found in ("", "spf=none; dkim=none", "spf=temperror smtp.mailfrom=x@shop.example; dkim=temperror"):
        assert comes(found).decision.reason == "allowed", "the server says nothing"
    for source, weight, reason in (
        (LabelSource.IMPLICIT, 0.3, "score"),
        (LabelSource.REVIEW, 1.0, "allowed"),
    ):
        good = LabelRecord(ME, judged.identity, Label.HAM, source, weight, place.now)
        place.store.add_label(good)
        assert comes(other).decision.reason == reason


def test_mail_in_the_persons_own_name_stays_where_the_server_confirms_it(place):
    place.account = replace(place.account, user="A@shop.example")
    place.connect()
    place.server.deliver(mail(1, 0.99, more=DMARC.format("pass")))
    place.server.deliver(mail(2, 0.99, more=DMARC.format("fail")))
    assert [one.decision.reason for one in place.look()] == ["own", "score"]
    place.account = replace(place.account, user="b@shop.example")
    place.connect()
    place.server.deliver(mail(3, 0.99, more=DMARC.format("pass")))
    assert [one.moved for one in place.look()] == [True]


def test_whom_the_person_has_written_to_is_not_exempt_for_ever(place):
    """Who asked a shop to stop had its mail for life; its texts differ, so none is a copy of what was called junk."""
    place.store.add_contacts(ME, ["a@shop.example"], place.now)

    def comes(number, verdict="pass"):
        place.server.deliver(mail(number, 0.99, more=DMARC.format(verdict)))
        (judged,) = place.look()
        return judged

    def calls(judged, label):
        place.now += 1
        place.store.add_label(LabelRecord(ME, judged.identity, label, LabelSource.DRAG, 1.0, place.now))

    for number in range(3):
        calls(comes(number, "fail"), Label.SPAM)
    assert comes(10).decision.reason == "contact", "what others sent in their name says nothing"
    for number in range(20, 23):
        judged = comes(number)
        assert judged.decision.reason == "contact"
        calls(judged, Label.SPAM)
    assert comes(30).moved
    for number in range(40, 43):
        calls(comes(number), Label.HAM)
    assert comes(50).decision.reason == "contact", "thought better of"


def test_a_friends_account_in_other_hands_ends_the_exemption_until_their_own_mail_comes_again(place):
    """Before, three junk mails ended it for as long as they were kept, beside whatever number of good ones."""
    place.store.add_contacts(ME, ["a@shop.example"], place.now)
    number = 0

    def comes(score):
        nonlocal number
        number += 1
        place.now += 1
        place.server.deliver(mail(number, score, more=DMARC.format("pass")))
        (judged,) = place.look()
        return judged

    def calls(judged, label):
        place.now += 1
        place.store.add_label(LabelRecord(ME, judged.identity, label, LabelSource.DRAG, 1.0, place.now))

    for _ in range(10):
        calls(comes(0.01), Label.HAM)
    place.now += 2 * 86400
    for _ in range(3):
        calls(comes(0.99), Label.SPAM)
    assert comes(0.99).moved, "the same day's, beside all that is good"
    for _ in range(4):
        assert comes(0.01).decision.verdict is Verdict.KEEP
    assert comes(0.99).moved, "nobody has looked at these yet"
    place.now += 2 * 86400
    assert comes(0.99).decision.reason == "contact"
    calls(comes(0.99), Label.SPAM)
    assert comes(0.99).moved, "it begins again: one is enough"


def test_whoever_writes_the_word_of_a_server_that_has_none_is_nobody_known(place):
    """Exim and Postfix alone write no Authentication-Results. Before, there a sender's own was believed: "dmarc=pass" for the
    person's own address was never moved."""
    place.store.add_contacts(ME, ["a@shop.example"], place.now)

    def comes(number, score=0.99, verdict="pass"):
        place.now += 1
        place.server.deliver(mail(number, score, more=DMARC.format(verdict) if verdict else ""))
        (judged,) = place.look()
        return judged

    assert comes(1).decision.reason == "contact", "nothing is known of the server yet"
    for number in range(10, 40):
        comes(number, 0.01, verdict=None)
    vouched = []
    score = place.scorer.score
    place.scorer.score = lambda mail, **more: (vouched.append(mail.vouched), score(mail, **more))[1]
    assert comes(50).moved
    place.store.add_list_entry(ListEntry("a@shop.example", Label.HAM, place.now))
    assert comes(51, verdict="fail").decision.reason != "allowed", "what speaks against a sender holds"
    assert comes(52).decision.reason == "allowed"
    place.store.remove_list_entry("a@shop.example")
    for number in range(60, 80):
        comes(number, 0.01, verdict="fail" if number % 2 else "none")
    assert comes(90).decision.reason == "contact", "it writes them now"
    assert (vouched[0], vouched[-1]) == (False, True), "nor does it tell an imitation apart before"


def test_a_friend_whose_mail_an_old_filter_put_into_junk_is_a_friend(place):
    """Before, three of theirs found in Junk at the first reading counted like three that the person had called junk."""
    place.store.add_contacts(ME, ["a@shop.example"], place.now)
    for number, source in enumerate([LabelSource.FOLDER] * 4 + [LabelSource.DRAG] * 2):
        place.server.deliver(mail(number, 0.01, more=DMARC.format("pass")))
        (judged,) = place.look()
        place.now += 1
        place.store.add_label(LabelRecord(ME, judged.identity, Label.SPAM, source, 0.7, place.now))
    place.server.deliver(mail(10, 0.99, more=DMARC.format("pass")))
    (judged,) = place.look()
    assert judged.decision.reason == "contact"


def test_a_lesson_stops_the_rest_of_the_flood(place):
    ref = place.server.deliver(mail(1, 0.2, subject="Sofa club"))
    place.look()
    place.server.drag(ref, "Junk")
    place.server.deliver(mail(2, 0.2, subject="Sofa club").replace(b"number 2", b"number 1"))
    judged = place.look()
    assert [one.decision.reason for one in judged] == ["copy"], "judged by the lesson of the same look"
    assert len(place.server.raws("Junk")) == 2


def test_paused_judges_and_moves_nothing(place):
    place.paused = True
    place.server.deliver(mail(1, 0.99))
    (judged,) = place.look()
    assert judged.decision.reason == "paused"
    assert place.server.raws("Junk") == []


def test_the_brake_stops_asks_and_goes_on(tmp_path):
    place = Place(tmp_path, Account(ME, max_moves_per_hour=5))
    place.look()
    for number in range(12):
        place.server.deliver(mail(number, 0.99))
    judged = place.look()
    assert sum(one.moved for one in judged) == 5
    assert {one.decision.reason for one in judged if not one.moved} == {"brake"}
    (event,) = place.store.events(needs_person=True)
    assert event.kind == "brake"
    place.server.deliver(mail(20, 0.99))
    assert place.look(7200)[0].decision.reason == "brake", "only the person lets it go"
    place.filter.brake.release()
    assert sum(one.moved for one in place.filter.later.go_on()) == 5
    assert place.filter.brake.check().held
    place.now += 1
    place.filter.brake.release()
    place.filter.later.go_on()
    assert place.server.raws("INBOX") == []
    assert len(place.store.events(needs_person=True)) == 2
    place.store.close()


def test_no_junk_folder(tmp_path):
    place = Place(tmp_path, server=MemoryServer(folders=("Trash",)))
    place.look()
    place.server.deliver(mail(1, 0.99))
    place.server.deliver(mail(2, 0.99))
    judged = place.look()
    assert {one.decision.reason for one in judged} == {"no-folder"}
    assert len(place.store.events(needs_person=True)) == 1
    place.store.close()


def test_doubtful_mail_to_a_folder_of_the_persons_naming(tmp_path):
    place = Place(tmp_path, Account(ME, unsure_folder=FolderName("Doubt")))
    place.look()
    place.server.deliver(mail(1, 0.7))
    place.look()
    (ref,) = place.server.refs("Doubt")
    assert not place.labels()
    place.server.drag(ref, "INBOX")
    place.look()
    assert [label.label for label in place.labels()] == [Label.HAM]
    place.store.close()


SUGGESTS = Evidence(Mode.SUGGESTING, 0.97, 0.5, 80, 9, 220, None, None, "")
DOUBT = Account(ME, unsure_folder=FolderName("Doubt"))


def test_while_suggesting_the_folder_for_doubtful_mail_is_used(tmp_path):
    place = Place(tmp_path, DOUBT)
    place.evidence = SUGGESTS
    place.look()
    for number, score in ((1, 0.99), (2, 0.7), (3, 0.01)):
        place.server.deliver(mail(number, score))
    judged = place.look()
    assert [one.decision.verdict for one in judged] == [Verdict.UNSURE, Verdict.UNSURE, Verdict.KEEP]
    assert [one.moved for one in judged] == [True, True, False]
    assert place.server.raws("Doubt") == [mail(1, 0.99), mail(2, 0.7)] and place.server.refs("Junk") == []
    assert {(row.kind, row.state) for row in place.store.moves(ME)} == {(MoveKind.UNSURE, MoveState.DONE)}
    assert not place.server.flagged("\\Seen")
    undone = place.filter.moves.put_back(place.store.move_of(ME, judged[0].identity))
    assert undone is not None and undone.state is MoveState.DONE
    assert mail(1, 0.99) in place.server.raws("INBOX")
    place.server.drag(place.server.refs("Doubt")[0], "Junk")
    place.look()
    assert [(one.identity, one.label) for one in place.labels()] == [(judged[1].identity, Label.SPAM)]
    place.store.close()


def test_a_move_to_the_folder_for_doubt_that_was_cut_off_is_ended_while_suggesting(tmp_path):
    place = Place(tmp_path, DOUBT)
    place.evidence = SUGGESTS
    place.look()
    place.server.deliver(mail(1, 0.99))

    def cut(command):
        if command.startswith("MOVE"):
            raise ConnectionLost("cut")

    place.server.before = cut
    with pytest.raises(ConnectionLost):
        place.look()
    place.server.before = None
    place.connect()
    place.filter.recover()
    assert place.server.raws("Doubt") == [mail(1, 0.99)] and place.server.refs("INBOX") == []
    assert not place.store.open_moves(ME)
    place.store.close()


@pytest.mark.parametrize("name", ["Junk", "junk", "INBOX", "Inbox"])
@pytest.mark.parametrize("evidence", [SUGGESTS, PROVEN])
def test_junk_is_no_folder_for_doubtful_mail(tmp_path, name, evidence):
    place = Place(tmp_path, Account(ME, unsure_folder=FolderName(name)))
    place.evidence = evidence
    place.look()
    place.server.deliver(mail(1, 0.7))
    (judged,) = place.look()
    assert not judged.moved and place.server.refs("Junk") == [] and not place.store.moves(ME)
    assert any("no folder of its own" in event.text for event in place.store.events())
    place.store.close()


def test_nor_is_it_a_label_on_gmail(tmp_path):
    place = on_gmail(tmp_path, Account(ME, unsure_folder=FolderName("Junk")))
    ref = place.server.deliver(mail(1, 0.99))
    place.look()
    assert place.server.refs("Junk") == [] and labelled(place) == [ref.uid]
    place.store.close()


GMAIL = replace(FULL, labels=True, keywords=False, quirk="gmail")


def on_gmail(path, account=None, evidence=SUGGESTS):
    server = MemoryServer(abilities=GMAIL, folders=("Junk", "Trash", "Archive"))
    place = Place(path, account or Account(ME), server)
    place.evidence = evidence
    place.look()
    return place


def labelled(place, label="Junk?"):
    return place.session.labelled(FolderName("INBOX"), FolderName(label))


def test_on_gmail_what_is_suspected_gets_a_label_until_the_account_filters(tmp_path):
    """A move to Spam there reports the sender to Google."""
    place = on_gmail(tmp_path)
    junk = place.server.deliver(mail(1, 0.99))
    doubtful = place.server.deliver(mail(2, 0.7))
    place.server.deliver(mail(3))
    judged = place.look()
    assert [one.decision.verdict for one in judged] == [Verdict.JUNK, Verdict.UNSURE, Verdict.KEEP]
    assert [one.moved for one in judged] == [False, False, False] and not place.store.moves(ME)
    assert place.server.refs("Junk") == []
    assert labelled(place) == [junk.uid, doubtful.uid]
    assert "label “Junk?”" in judged[0].decision.explanation and "label" not in judged[2].decision.explanation
    assert place.server.flags(junk) == set(), "nothing is marked as read"

    place.look()  # the label is a folder; what appears there says nothing
    assert place.labels() == [] and labelled(place) == [junk.uid, doubtful.uid]

    place.evidence = PROVEN
    place.server.deliver(mail(4, 0.99))
    (last,) = place.look()
    assert last.moved and len(place.server.refs("Junk")) == 1, "now it filters"
    assert labelled(place) == [junk.uid, doubtful.uid]
    place.store.close()


@pytest.mark.parametrize(
    ("account", "label"),
    [
        (Account(ME, gmail_label="Verdacht"), "Verdacht"),
        (Account(ME, unsure_folder=FolderName("Doubt")), "Doubt"),
        (Account(ME, gmail_label="none"), None),
    ],
)
def test_the_label_has_the_name_the_person_chose(tmp_path, account, label):
    place = on_gmail(tmp_path, account)
    place.server.deliver(mail(1, 0.99))
    place.look()
    assert place.server.refs("Junk") == []
    assert [name for name in place.server.folders if name not in ("INBOX", "Junk", "Trash", "Archive")] == (
        [label] if label else []
    )
    place.store.close()


def test_no_label_while_learning_or_paused_or_on_what_is_dealt_with(tmp_path):
    place = on_gmail(tmp_path, evidence=replace(SUGGESTS, mode=Mode.LEARNING))
    place.server.deliver(mail(1, 0.99))
    place.look()
    place.evidence, place.paused = SUGGESTS, True
    place.server.deliver(mail(2, 0.99))
    place.look()
    assert labelled(place) == []
    place.store.close()


def test_on_gmail_a_blocked_sender_is_labelled_before_it_filters_and_moved_after(tmp_path):
    place = on_gmail(tmp_path, evidence=replace(SUGGESTS, mode=Mode.LEARNING))
    place.store.add_list_entry(ListEntry("shop.example", Label.SPAM, place.now))
    first = place.server.deliver(mail(1))
    place.look()
    assert labelled(place) == [first.uid] and place.server.refs("Junk") == []
    place.evidence = PROVEN
    place.server.deliver(mail(2))
    place.look()
    assert len(place.server.refs("Junk")) == 1
    place.store.close()


def test_a_drag_of_a_labelled_mail_is_the_persons_word(tmp_path):
    place = on_gmail(tmp_path)
    ref = place.server.deliver(mail(1, 0.99))
    place.look()
    place.session.remove_label(ref, FolderName("Junk?"))  # as Gmail does when a mail goes to Spam
    place.server.drag(ref, "Junk")
    place.look()
    assert [(one.label, one.source) for one in place.labels()] == [(Label.SPAM, LabelSource.DRAG)]
    place.store.close()


def test_the_label_comes_off_what_the_person_calls_good(tmp_path):
    place = on_gmail(tmp_path)
    good, junk = place.server.deliver(mail(1, 0.99)), place.server.deliver(mail(2, 0.99))
    judged = place.look()
    place.store.add_label(
        LabelRecord(
            ME, judged[0].identity, Label.HAM, LabelSource.REVIEW, 1.0, place.now, judged[0].score.model_id
        )
    )
    assert place.filter.take_labels_off() == 1
    assert labelled(place) == [junk.uid] and good in place.server.refs("INBOX")
    assert place.filter.take_labels_off() == 0
    place.look()
    assert len(place.labels()) == 1, "and that is no word of the person's"
    place.store.close()


def test_a_label_that_is_refused_keeps_no_mail_from_being_judged(tmp_path):
    place = on_gmail(tmp_path)

    def refuse(command):
        if "+X-GM-LABELS" in command:
            raise FolderRefused("Over quota.")

    place.server.before = refuse
    place.server.deliver(mail(1, 0.99))
    (one,) = place.look()
    assert one.decision.verdict is Verdict.JUNK and not one.moved
    assert any("label" in event.text for event in place.store.events(limit=10))
    place.store.close()


def test_what_carries_the_label_is_not_read_as_good_mail():
    folders = [
        Folder(FolderName(name), name.encode(), "/", role)
        for name, role in (("INBOX", "inbox"), ("Spam", "junk"), ("Junk?", ""), ("Work", ""))
    ]
    found = places(folders, FolderName("Spam"), Account(ME))
    assert found["Junk?"] is corrections.Place.OTHER and found["Work"] is corrections.Place.KEPT


@pytest.mark.parametrize("at", [1, 3, 4])
def test_moves_that_were_cut_off_before_their_stamps_get_them(tmp_path, at):
    """The fourth command of these is the move."""
    place = Place(tmp_path, Account(ME, stamp=True))
    place.look()
    for number in range(3):
        place.server.deliver(mail(number, 0.99))
    left = [at]

    def cut(command):
        if command.startswith(("STORE INBOX", "MOVE")):
            left[0] -= 1
            if not left[0]:
                raise ConnectionLost("cut")

    place.server.before = cut
    with pytest.raises(ConnectionLost):
        place.look()
    place.server.before = None
    place.connect()
    assert [row.state for row in place.filter.recover()] == [MoveState.DONE] * 3
    there = [place.server.flags(ref) for ref in place.server.refs("Junk")]
    assert there == [{"Junk", STAMPED_KEYWORD, MOVED_KEYWORD}] * 3
    for _ in range(2):
        place.look()
    assert place.labels() == []
    place.store.close()


def test_what_stays_and_was_cut_off_before_its_stamp_gets_it(tmp_path):
    """Not over what the person's mail program has marked meanwhile; and nobody is asked again when all are stamped."""
    place = Place(tmp_path, Account(ME, stamp=True))
    place.evidence = replace(PROVEN, mode=Mode.LEARNING)
    place.look()
    good, junk, marked, rival = (
        place.server.deliver(mail(number, score)) for number, score in enumerate((0.01, 0.99, 0.01, 0.01))
    )

    def cut(command):
        if command.startswith("STORE"):
            raise ConnectionLost("cut")

    place.server.before = cut
    with pytest.raises(ConnectionLost):
        place.look()
    place.server.before = None
    place.server.set_flags(marked, ["Junk"])
    place.server.set_flags(rival, [MOVED_KEYWORD])
    place.connect()
    place.filter.recover()
    flags = [place.server.flags(ref) for ref in (good, junk, marked, rival)]
    assert flags == [{"NonJunk", STAMPED_KEYWORD}, {"Junk", STAMPED_KEYWORD}, {"Junk"}, {MOVED_KEYWORD}]
    place.look()
    assert [one.source for one in place.labels()] == [LabelSource.HINT], "the mail program's mark alone"
    place.server.set_flags(good, ["Junk"], ["NonJunk"])
    place.look()
    assert LabelSource.KEYWORD in [one.source for one in place.labels()]
    place.store.close()


def test_stamping_is_not_the_person(tmp_path):
    place = Place(tmp_path, Account(ME, stamp=True))
    place.look()
    kept = place.server.deliver(mail(1))
    place.server.deliver(mail(2, 0.99))
    doubtful = place.server.deliver(mail(3, 0.7))
    place.look()
    assert place.server.flags(kept) == {"NonJunk", STAMPED_KEYWORD}
    assert place.server.flags(place.server.refs("Junk")[0]) == {"Junk", STAMPED_KEYWORD, MOVED_KEYWORD}
    assert place.server.flags(doubtful) == set()
    place.look()
    assert not place.labels()
    place.server.set_flags(kept, ["Junk"], ["NonJunk"])
    place.look()
    assert [(one.label, one.source) for one in place.labels()] == [(Label.SPAM, LabelSource.KEYWORD)]
    place.store.close()


def test_undo_puts_back_and_it_stays(place):
    place.server.deliver(mail(1, 0.99))
    place.look()
    (row,) = place.store.moves(ME)
    outcome = place.filter.moves.put_back(row)
    assert outcome is not None
    assert outcome.state is MoveState.DONE
    assert place.server.raws("INBOX") == [mail(1, 0.99)]
    place.look()
    assert not place.labels(), "our own undo is not the person's drag"
    assert place.server.raws("INBOX") == [mail(1, 0.99)]
    assert place.judgement().moved is False
    assert place.filter.moves.put_back(row) is None, "it is not there any more"
    assert [one.kind for one in place.store.moves(ME, kind=MoveKind.UNDO)] == [MoveKind.UNDO]


def test_undo_of_a_mail_that_went_elsewhere(place):
    place.server.deliver(mail(1, 0.99))
    place.look()
    place.server.drag(place.server.refs("Junk")[0], "Archive")
    (row,) = place.store.moves(ME)
    assert place.filter.moves.put_back(row) is None
    assert len(place.server.raws("Archive")) == 1


def test_the_person_says_junk_on_a_page(place):
    place.server.deliver(mail(1, 0.3))
    (judged,) = place.look()
    outcome = place.filter.moves.file_junk(judged)
    assert outcome is not None
    assert place.server.raws("Junk") == [mail(1, 0.3)]
    place.look()
    assert not place.labels()
    assert place.filter.moves.file_junk(judged) is None


@pytest.mark.parametrize(
    ("since", "moved"),
    [("", True), ("good", False), ("paused", False), ("suggesting", False), ("blocked", True)],
)
def test_an_intent_is_begun_again_if_it_would_be_begun_now(place, since, moved):
    """The connection broke before anything was sent, and the person may have spoken."""
    if since == "blocked":
        place.store.add_list_entry(ListEntry("shop.example", Label.SPAM, place.now))
        place.evidence = SUGGESTS
    place.server.deliver(mail(1, 0.99))

    def cut(command):
        if command.startswith("MOVE"):
            raise ConnectionLost("cut")

    place.server.before = cut
    with pytest.raises(ConnectionLost):
        place.look()
    place.server.before = None
    if since == "good":
        identity = place.judgement().identity
        place.store.add_label(LabelRecord(ME, identity, Label.HAM, LabelSource.REVIEW, 1.0, place.now))
    elif since == "paused":
        place.paused = True
    elif since == "suggesting":
        place.evidence = SUGGESTS
    place.connect()
    place.filter.recover()
    assert place.server.raws("Junk" if moved else "INBOX") == [mail(1, 0.99)]
    (row,) = place.store.moves(ME)  # not begun, and put back
    assert row.state is (MoveState.DONE if moved else MoveState.ABANDONED)
    assert not place.server.flagged(MOVING_KEYWORD)


def test_a_refused_move_is_tried_again_later(place):
    place.server.folders["Junk"].read_only = True
    place.server.deliver(mail(1, 0.99))
    (judged,) = place.look()
    assert judged.decision.move
    assert not judged.moved
    assert place.server.raws("INBOX") == [mail(1, 0.99)]
    assert place.filter.later.again() == [], "not at once"
    begun, tried = place.now, []
    while len(tried) < 6:
        assert 0 < place.filter.later.retry_in() <= 3600, "time passes between two looks"
        place.now += place.filter.later.retry_in()
        if place.filter.later.again():
            tried.append(place.now - begun)
    assert tried == pytest.approx([30, 150, 630, 2550, 6150, 9750])
    place.now -= 7200.0  # the clock was ahead, and the refusal goes on
    for _ in range(3):
        place.filter.later.again()
        assert place.filter.later.retry_in() >= 30
    place.server.folders["Junk"].read_only = False
    place.now += 7200.0 + 3600.0
    assert [one.moved for one in place.filter.later.again()] == [True]
    assert place.server.raws("Junk") == [mail(1, 0.99)]
    assert place.filter.later.again() == []
    assert place.filter.later.retry_in() is None


def test_many_refused_moves_are_tried_one_by_one(place):
    place.server.folders["Junk"].read_only = True
    for number in range(30):
        place.server.deliver(mail(number, 0.99))
    place.look()
    place.now += 30.0
    assert [one.moved for one in place.filter.later.again()] == [False], "what refuses one refuses the others"
    assert place.filter.later.retry_in() == pytest.approx(30.0)
    place.server.folders["Junk"].read_only = False
    place.now += 30.0
    assert [one.moved for one in place.filter.later.again()] == [True] * 29
    place.now += 90.0
    assert [one.moved for one in place.filter.later.again()] == [True]


def test_a_junk_folder_that_may_only_be_read_now_ends_no_connection(place):
    """The connection broke while our copy there gave way to another one; then the rights were taken away."""
    place.look()
    place.server.deliver(mail(1, 0.99))
    place.look()
    (row,) = place.store.moves(ME)
    place.store.advance(replace(row, error=GIVES_WAY))
    place.server.folders["Junk"].read_only = True
    place.connect()
    assert place.filter.recover() == []
    place.server.folders["Junk"].read_only = False
    place.connect()
    place.filter.recover()
    (row,) = place.store.moves(ME)
    assert (row.state, row.error) == (MoveState.DONE, ""), "it is looked at again"
    assert place.server.raws("Junk") == [mail(1, 0.99)]


def test_a_move_that_an_odd_answer_left_open_is_ended_on_the_same_connection(place):
    """Nobody has to lose the connection first."""
    place.server.deliver(mail(1, 0.99))

    def odd(command):
        if command.startswith("LOCATE INBOX"):
            place.server.before = None
            raise ProtocolFault("BAD")

    real = place.session.fetch

    def fetch(*asked):
        yield from real(*asked)
        place.server.before = odd  # the next look at it is the mover's

    place.session.fetch = fetch
    (judged,) = place.look()
    place.session.fetch = real
    assert not judged.moved
    assert len(place.store.open_moves(ME)) == 1
    assert place.filter.later.again() == []
    assert 0 < place.filter.later.retry_in() <= 30.0
    place.now += 30.0
    place.filter.later.again()
    assert not place.store.open_moves(ME)
    assert place.server.raws("Junk") == [mail(1, 0.99)]
    place.filter.later.again()
    assert place.filter.later.retry_in() is None


def test_a_move_that_a_recovery_left_open_is_ended_on_the_same_connection(place):
    """The connection broke, and on the next one the server gave an odd answer once."""
    place.server.deliver(mail(1, 0.99))

    def cut(command):
        if command.startswith("MOVE"):
            raise ConnectionLost("cut")

    place.server.after = cut
    with pytest.raises(ConnectionLost):
        place.look()

    def odd(command):
        if command.startswith("LOCATE INBOX"):
            place.server.before = None
            raise ProtocolFault("BAD")

    place.server.after, place.server.before = None, odd
    place.connect()
    place.filter.recover()
    assert place.server.before is None
    assert len(place.store.open_moves(ME)) == 1
    assert place.filter.later.again() == []
    assert 0 < place.filter.later.retry_in() <= 30.0
    place.now += 30.0
    place.filter.later.again()
    assert not place.store.open_moves(ME)
    assert place.server.raws("Junk") == [mail(1, 0.99)]
    place.filter.later.again()
    assert place.filter.later.retry_in() is None


@pytest.mark.parametrize("again", [False, True], ids=["goes on", "begins anew"])
@pytest.mark.parametrize("set_by", [-86_400.0, 0.0, 86_400.0], ids=["set back", "right", "put forward"])
def test_what_the_person_copies_out_of_junk_stays_there_whatever_the_clock_says(tmp_path, set_by, again):
    """Without keywords nothing but the time tells their copy from a rival's."""
    abilities = replace(FULL, keywords=False)
    place = Place(tmp_path, server=MemoryServer(abilities=abilities, id_kind="guid"))
    place.look()
    place.server.deliver(mail(1, 0.99))
    place.look()
    place.now += set_by
    if again:
        place.connect()
        place.filter.recover()
    place.look(60.0)
    (ref,) = place.server.refs("Junk")
    place.server.copy(ref, "Archive")
    place.filter.reconcile()
    assert place.server.raws("Junk") == place.server.raws("Archive") == [mail(1, 0.99)]
    place.store.close()


@pytest.mark.parametrize("slept", [False, True])
def test_a_rivals_copy_is_found_though_the_clock_was_set_back(tmp_path, slept):
    """slept: so did the machine, and what came meanwhile is the person's."""
    abilities = replace(FULL, keywords=False)
    place = Place(tmp_path, server=MemoryServer(abilities=abilities, id_kind="guid"))
    place.look()
    place.server.deliver(mail(1, 0.99))
    place.look()
    place.now += 3600.0 if slept else -86_400.0
    (ref,) = place.server.refs("Junk")
    place.server.copy(ref, "Archive")
    place.filter.reconcile()
    assert place.server.raws("Archive") == [mail(1, 0.99)]
    assert place.server.raws("Junk") == [mail(1, 0.99)] * slept
    place.store.close()


def test_what_gave_way_to_a_rival_after_the_connection_broke_was_not_rescued(tmp_path):
    """Our copy is no longer in Junk, and theirs lies in the archive: nobody has taken it out of Junk."""
    server = MemoryServer(abilities=replace(FULL, keywords=False), id_kind="guid")
    place = Place(tmp_path, server=server)
    place.look()
    server.deliver(mail(1, 0.99))
    place.look()
    place.look(1.0)
    server.copy(server.refs("Junk")[0], "Archive")
    place.connect()
    assert [row.state for row in place.filter.recover()] == [MoveState.ABANDONED]
    assert (server.raws("Junk"), server.raws("Archive")) == ([], [mail(1, 0.99)])
    place.look()
    assert place.labels() == []
    place.store.close()


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("at", [*range(1, 15), None])
def test_wherever_the_connection_breaks_while_copies_give_way_none_was_rescued(tmp_path, at, anew):
    """Two of them: what the first one's end told was lost with the second one's connection."""
    server = MemoryServer(abilities=replace(FULL, keywords=False), id_kind="guid")
    place = Place(tmp_path, server=server)
    place.look()
    server.deliver(mail(1, 0.99))
    server.deliver(mail(2, 0.99))
    place.look()
    place.look(1.0)
    for ref in server.refs("Junk"):
        server.copy(ref, "Archive")
    asked = []

    def cut(command):
        asked.append(command)
        if len(asked) == at:
            raise ConnectionLost("cut")

    if anew:
        place.connect()
    server.before = cut
    with contextlib.suppress(ConnectionLost):
        place.filter.recover() if anew else place.filter.reconcile()
    assert at is None or len(asked) >= at
    server.before = None
    place.connect()
    place.filter.recover()
    place.look()
    place.filter.reconcile()
    place.look()
    assert (server.raws("Junk"), len(server.raws("Archive"))) == ([], 2)
    assert place.labels() == []
    place.store.close()


FOREIGN = (MOVING_KEYWORD, f"{OWNER_KEYWORD}zzzz")


def held_by_another(place):
    """A mail that another daemon locks just before we do."""
    ref = place.server.deliver(mail(1, 0.99))

    def lock(command):
        if command.startswith("LOCK INBOX"):
            place.server.before = None
            place.server.set_flags(ref, FOREIGN)

    place.server.before = lock
    (judged,) = place.look()
    assert judged.decision.move
    assert not judged.moved
    assert [row.state for row in place.store.moves(ME)] == [MoveState.ABANDONED]
    assert place.filter.later.again() == [], "not at once"
    return ref


def test_what_another_daemon_held_and_left_is_tried_again(place):
    ref = held_by_another(place)
    place.server.set_flags(ref, (), FOREIGN)
    assert place.filter.later.retry_in() == pytest.approx(30.0)
    place.now += 30.0
    assert [one.moved for one in place.filter.later.again()] == [True]
    assert place.server.raws("Junk") == [mail(1, 0.99)]
    assert place.filter.later.again() == []
    assert place.filter.later.retry_in() is None


def test_our_lock_goes_off_mail_that_was_taken_out_before_it_was_unlocked(place):
    place.server.deliver(mail(1, 0.99))

    def taken_out(command):
        if command.startswith("UNLOCK Junk"):
            place.server.before = None
            place.server.drag(place.server.refs("Junk")[0], "INBOX")

    place.server.before = taken_out
    place.look()
    assert place.server.flagged(MOVING_KEYWORD)
    place.look()
    assert not place.server.flagged(MOVING_KEYWORD)
    assert place.server.raws("INBOX") == [mail(1, 0.99)]


def test_what_another_daemon_left_is_tried_again_where_the_inbox_counts_anew(place):
    ref = held_by_another(place)
    place.server.set_flags(ref, (), FOREIGN)
    place.server.renumber("INBOX")
    place.look()
    place.now += 30.0
    assert [one.moved for one in place.filter.later.again()] == [True]


def test_what_another_daemon_still_holds_waits(place):
    ref = held_by_another(place)
    place.server.set_flags(ref, [MOVED_KEYWORD])
    for _ in range(3):
        place.now += place.filter.later.retry_in()
        assert place.filter.later.again() == []
        assert place.filter.later.retry_in() == pytest.approx(600.0)
    place.server.set_flags(ref, (), [*FOREIGN, MOVED_KEYWORD])
    place.now += 600.0
    assert [one.moved for one in place.filter.later.again()] == [True]


def test_a_lock_of_ours_that_was_left_on_does_not_keep_us_off(place):
    ref = held_by_another(place)
    place.server.set_flags(ref, [f"{OWNER_KEYWORD}{place.store.owner()}", MOVED_KEYWORD], FOREIGN[1:])
    place.now += 30.0
    assert [one.moved for one in place.filter.later.again()] == [True]
    assert place.server.raws("Junk") == [mail(1, 0.99)]
    assert not place.server.flagged(MOVING_KEYWORD)


@pytest.mark.parametrize(
    "deed", ["starred", "answered", "taken out of Junk", "filed", "moved and moved back", "called good"]
)
def test_what_the_person_has_dealt_with_since_is_not_tried_again(place, deed):
    ref = held_by_another(place)
    place.server.set_flags(ref, (), FOREIGN)
    if deed == "starred":
        place.server.set_flags(ref, ["\\Flagged"])
    elif deed == "answered":
        place.server.set_flags(ref, ["\\Answered"])
    elif deed == "called good":
        identity = place.judgement().identity
        place.store.add_label(LabelRecord(ME, identity, Label.HAM, LabelSource.REVIEW, 1.0, place.now))
    elif deed == "filed":
        place.server.drag(ref, "Archive")
    elif deed == "taken out of Junk":  # where another daemon had put it
        place.server.set_flags(ref, [MOVED_KEYWORD])
        place.server.drag(place.server.drag(ref, "Junk"), "INBOX")
    else:
        ref = place.server.drag(ref, "Archive")
        place.look()
        place.server.drag(ref, "INBOX")
    place.look()
    for _ in range(3):
        place.now += 3600.0
        assert not any(one.moved for one in place.filter.later.again())
    assert place.server.raws("Junk") == []


def asked_for(place, refusal):
    """A mail that we would keep, and the person says Junk: another daemon locks it just then, or the server refuses."""
    ref = place.server.deliver(mail(1, 0.3))
    (judged,) = place.look()
    assert not judged.decision.move
    place.store.add_label(LabelRecord(ME, judged.identity, Label.SPAM, LabelSource.REVIEW, 1.0, place.now))
    if refusal == "held":

        def lock(command):
            if command.startswith("LOCK INBOX"):
                place.server.before = None
                place.server.set_flags(ref, FOREIGN)

        place.server.before = lock
    else:
        place.server.folders["Junk"].read_only = True
    outcome = place.filter.moves.file_junk(judged)
    assert outcome.state is (MoveState.ABANDONED if refusal == "held" else MoveState.FAILED)
    place.server.set_flags(ref, (), FOREIGN)
    place.server.folders["Junk"].read_only = False
    assert place.filter.later.again() == [], "not at once"
    return ref


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("refusal", ["held", "refused"])
def test_what_the_person_asked_for_is_tried_again(place, refusal, paused):
    asked_for(place, refusal)
    place.paused = paused
    place.now += place.filter.later.retry_in()
    assert [one.moved for one in place.filter.later.again()] == [True]
    assert place.server.raws("Junk") == [mail(1, 0.3)]
    assert not place.server.flagged(MOVED_KEYWORD), "for other daemons it is the person's word"
    place.look()
    assert [(one.label, one.source) for one in place.labels()] == [(Label.SPAM, LabelSource.REVIEW)]
    assert place.filter.later.again() == []
    assert place.filter.later.retry_in() is None


def test_what_the_person_asked_for_and_is_refused_still_waits_longer_each_time(place):
    asked_for(place, "refused")
    place.server.folders["Junk"].read_only = True
    begun, tried = place.now, []
    while len(tried) < 3:
        place.now += place.filter.later.retry_in()
        if place.filter.later.again():
            tried.append(place.now - begun)
    assert tried == pytest.approx([30, 150, 630])


@pytest.mark.parametrize(
    "deed", ["starred", "moved and moved back", "filed", "called good", "taken back", "filed, not seen yet"]
)
def test_what_the_person_asked_for_and_dealt_with_since_is_not_tried_again(place, deed):
    ref = asked_for(place, "held")
    identity = place.judgement().identity
    if deed == "starred":
        place.server.set_flags(ref, ["\\Flagged"])
    elif deed == "moved and moved back":
        ref = place.server.drag(ref, "Archive")
        place.look()
        place.server.drag(ref, "INBOX")
    elif deed == "called good":
        place.store.add_label(LabelRecord(ME, identity, Label.HAM, LabelSource.REVIEW, 1.0, place.now))
    elif deed == "taken back":
        assert place.store.forget_label(ME, identity)
    else:
        place.server.drag(ref, "Archive")
    if deed != "filed, not seen yet":
        place.look()
    for _ in range(3):
        place.now += 3600.0
        assert place.filter.later.again() == []
    assert place.server.raws("Junk") == []


def test_young_mail_waits(tmp_path):
    place = Place(tmp_path, Account(ME, wait_seconds=60))
    place.look()
    place.server.deliver(mail(1, 0.99))
    place.now += 5
    look = place.learner.look()
    assert look.new == ()
    assert look.waiting == 60
    place.learner.settle(look)
    place.server.deliver(mail(2, 0.99))
    assert place.look(30) == []
    assert len(place.look(31)) == 1
    assert len(place.look(40)) == 1
    assert len(place.server.raws("Junk")) == 2
    place.store.close()


def test_the_wait_goes_on_after_a_restart(tmp_path):
    place = Place(tmp_path, Account(ME, wait_seconds=60))
    place.look()
    place.server.deliver(mail(1, 0.99))
    assert place.look() == []
    place.connect()
    assert place.look(50) == []
    assert len(place.look(10)) == 1
    place.store.close()


def test_a_label_of_the_ledger_protects(place):
    place.store.add_label(LabelRecord(ME, "emailid:M1", Label.HAM, LabelSource.IMPORT, 1.0, place.now))
    place.server.deliver(mail(1, 0.99))
    (judged,) = place.look()
    assert judged.decision.reason == "rescued"
