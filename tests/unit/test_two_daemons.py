"""Two daemons with homes of their own on one mailbox: neither takes the other's moves for drags."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spamd.domain import (
    MOVED_KEYWORD,
    MOVING_KEYWORD,
    OWNER_KEYWORD,
    Account,
    Label,
    LabelRecord,
    LabelSource,
    Mode,
)
from spamd.errors import ConnectionLost, FolderRefused
from spamd.judgement.corrections import SIGN_SECONDS
from tests.fakes.memory_mailbox import FULL, MemoryServer
from tests.unit.test_filtering import ME, Place, mail

FOLDERS = ("Junk", "Trash", "Archive", "Doubt")
SPAM, HAM = (Label.SPAM, LabelSource.DRAG), (Label.HAM, LabelSource.DRAG)
ABILITIES = {
    "all": FULL,
    "no-move": replace(FULL, move=False),
    "no-ids": replace(FULL, server_ids=False),
    "no-condstore": replace(FULL, condstore=False),
    "old": replace(FULL, move=False, uidplus=False, condstore=False, server_ids=False),
}


class Two:
    def __init__(self, path, abilities=FULL, account=None):
        self.server = MemoryServer(abilities=abilities, folders=FOLDERS, id_kind="guid")
        self.places = []
        for name in ("desk", "lap"):
            (path / name).mkdir()
            self.places.append(Place(path / name, account or Account(ME), self.server))
        self.desk, self.lap = self.places
        self.look()

    def look(self, *places):
        for place in places or self.places:
            place.look()

    def labels(self):
        return [[(one.label, one.source) for one in place.labels()] for place in self.places]

    def only(self, folder):
        (ref,) = self.server.refs(folder)
        return ref


@pytest.fixture(params=ABILITIES)
def two(request, tmp_path):
    made = Two(tmp_path, ABILITIES[request.param])
    yield made
    for place in made.places:
        place.store.close()


def moved_by_desk(two, score=0.99):
    """The laptop knows the mail in the inbox; the desk moves it."""
    two.lap.evidence = replace(two.lap.evidence, mode=Mode.LEARNING)
    two.server.deliver(mail(1, score))
    two.look(two.lap)
    two.look(two.desk)
    assert two.server.raws("Junk") == [mail(1, score)]
    two.look()
    two.look()


@pytest.mark.scenario(32)
def test_a_move_of_the_other_is_no_drag(two):
    moved_by_desk(two)
    assert two.labels() == [[], []]
    assert two.server.flags(two.only("Junk")) == {MOVED_KEYWORD}


def test_rescue_and_a_change_of_mind_are_the_persons(two):
    moved_by_desk(two)
    two.server.drag(two.only("Junk"), "INBOX")
    two.look()
    two.look()
    assert two.labels() == [[HAM], [HAM]]
    assert two.server.raws("INBOX"), "and nobody files it again"
    two.server.drag(two.only("INBOX"), "Junk")
    two.look()
    two.look()
    assert two.labels() == [[SPAM], [SPAM]]


def test_a_rescue_while_the_other_was_off(two):
    """It saw the mail in the inbox, and sees it there again: signed."""
    two.lap.evidence = replace(two.lap.evidence, mode=Mode.LEARNING)
    two.server.deliver(mail(1, 0.99))
    two.look(two.lap)
    two.look(two.desk)
    two.server.drag(two.only("Junk"), "INBOX")
    two.look(two.desk)
    two.look(two.lap)
    two.look()
    assert two.labels() == [[HAM], [HAM]]


def test_what_was_taken_out_of_junk_is_left_alone_by_who_never_saw_it(two):
    two.server.deliver(mail(1, 0.99))
    two.look(two.desk)
    two.server.drag(two.only("Junk"), "INBOX")
    two.look(two.lap)
    two.look(two.desk)
    two.look()
    assert two.server.raws("INBOX") == [mail(1, 0.99)]
    assert two.labels() == [[HAM], [HAM]]


def drag_under_the_lock(two):
    """The desk moves the mail, and the person has it back in the inbox before the desk can take its lock off."""

    def before(command):
        if command.startswith("UNLOCK") and (lying := two.server.refs("Junk")):
            two.server.before = None
            two.server.drag(lying[0], "INBOX")

    two.server.before = before
    two.desk.look()
    assert two.server.before is None, "it was dragged"


@pytest.mark.parametrize("seen", [True, False], ids=["seen-before", "never-seen"])
@pytest.mark.parametrize("sees_the_lock", [True, False])
def test_a_rescue_under_the_lock_is_the_persons_for_both(two, seen, sees_the_lock):
    two.lap.evidence = replace(two.lap.evidence, mode=Mode.LEARNING)
    two.server.deliver(mail(1, 0.99))
    if seen:
        two.look(two.lap)
    drag_under_the_lock(two)
    if sees_the_lock:
        two.look(two.lap)
        assert MOVING_KEYWORD in two.server.flags(two.only("INBOX"))
    two.look(two.desk)
    assert two.server.flags(two.only("INBOX")) == {MOVED_KEYWORD}, "the lock went, the sign stays"
    two.look(two.lap)
    two.look()
    assert two.labels() == [[HAM], [HAM]]
    assert not two.server.raws("Junk")


@pytest.mark.parametrize("moved", [True, False], ids=["then-moved", "then-given-up"])
def test_a_mail_under_a_lock_is_no_rescue(two, moved):
    """The laptop looks while the desk is at it; in the end the mail is in Junk, or it is not."""
    two.lap.evidence = replace(two.lap.evidence, mode=Mode.LEARNING)
    two.server.deliver(mail(1, 0.99))

    def before(command):
        if command.startswith(("MOVE", "COPY")):
            two.server.before = None
            assert MOVING_KEYWORD in two.server.flags(two.only("INBOX"))
            two.look(two.lap)
            if not moved:
                raise FolderRefused("no")

    two.server.before = before
    two.desk.look()
    assert two.server.before is None
    for _ in range(3):
        two.look()
    assert len(two.server.raws("Junk" if moved else "INBOX")) == 1
    assert two.labels() == [[], []]
    assert [one.subject for one in two.lap.store.judgements()], "the laptop has its verdict on it, too"


def test_put_back_by_one_is_the_persons_word_for_both(two):
    moved_by_desk(two)
    (row,) = two.desk.store.moves(ME)
    two.desk.store.add_label(LabelRecord(ME, row.identity, Label.HAM, LabelSource.UNDO, 1.0, two.desk.now))
    two.desk.filter.moves.put_back(row)
    two.look()
    two.look()
    assert two.server.raws("INBOX")
    assert two.labels() == [[(Label.HAM, LabelSource.UNDO)], [HAM]]
    two.server.drag(two.only("INBOX"), "Junk")
    two.look()
    two.look()
    assert two.labels() == [[SPAM], [SPAM]]


@pytest.mark.parametrize("seen", [True, False])
def test_put_back_among_many_says_nothing_of_the_mail(two, seen):
    """All moves of a model are undone, real junk among them: the other computer learns nothing either."""
    two.lap.evidence = replace(two.lap.evidence, mode=Mode.LEARNING)
    two.server.deliver(mail(1, 0.99))
    two.look(two.lap)
    two.look(two.desk)
    if seen:
        two.look(two.lap)
    two.desk.filter.moves.put_back(two.desk.store.moves(ME)[0])
    two.look()
    two.look()
    assert two.server.raws("INBOX")
    assert two.labels() == [[], []]
    two.server.drag(two.only("INBOX"), "Junk")
    two.look()
    assert two.labels() == [[SPAM], [SPAM]]
    two.server.drag(two.only("Junk"), "INBOX")
    two.look()
    assert two.labels() == [[HAM], [HAM]]


def test_the_persons_answer_on_one_page_is_a_label_for_both(two):
    """Moved to Junk because the person said so: not signed."""
    two.server.deliver(mail(1, 0.2))
    two.look()
    judgement = two.desk.judgement()
    two.desk.store.add_label(
        LabelRecord(ME, judgement.identity, Label.SPAM, LabelSource.REVIEW, 1.0, two.desk.now)
    )
    two.desk.filter.moves.file_junk(judgement)
    two.look()
    two.look()
    assert two.labels() == [[(Label.SPAM, LabelSource.REVIEW)], [SPAM]]


@pytest.mark.parametrize("deed", ["filed", "put back"])
def test_the_persons_wish_outlives_a_crash(two, deed):
    """The connection breaks before the move; the recovery knows that it was asked for, and so does the other computer."""
    if deed == "put back":
        moved_by_desk(two)
        (row,) = two.desk.store.moves(ME)
        word = LabelRecord(ME, row.identity, Label.HAM, LabelSource.UNDO, 1.0, two.desk.now)
    else:
        two.server.deliver(mail(1, 0.2))
        two.look()
        judgement = two.desk.judgement()
        word = LabelRecord(ME, judgement.identity, Label.SPAM, LabelSource.REVIEW, 1.0, two.desk.now)
    two.desk.store.add_label(word)

    def cut(command):
        if command.startswith(("MOVE", "COPY")):
            raise ConnectionLost("cut")

    two.server.before = cut
    with pytest.raises(ConnectionLost):
        if deed == "put back":
            two.desk.filter.moves.put_back(row)
        else:
            two.desk.filter.moves.file_junk(judgement)
    two.server.before = None
    two.desk.connect()
    two.desk.filter.recover()
    two.look()
    two.look()
    assert two.server.raws("INBOX" if deed == "put back" else "Junk") == [
        mail(1, 0.99 if deed == "put back" else 0.2)
    ]
    assert two.labels() == [[(word.label, word.source)], [(word.label, LabelSource.DRAG)]]


def test_a_drag_is_learned_once_by_each(two):
    two.server.deliver(mail(1, 0.2))
    two.look()
    two.server.drag(two.only("INBOX"), "Junk")
    two.look()
    two.look()
    assert two.labels() == [[SPAM], [SPAM]]


def test_seen_in_the_middle_of_the_move(two):
    """The laptop first sees the mail while it is locked."""
    looked = []

    def look(command):
        if command.startswith(("MOVE", "COPY")) and not looked:
            looked.append(1)
            two.server.before = None
            two.look(two.lap)

    two.server.before = look
    two.server.deliver(mail(1, 0.99))
    two.look(two.desk)
    two.look()
    two.look()
    assert two.labels() == [[], []]
    assert sum(two.server.bodies().values()) == 1
    assert not two.server.flagged(MOVING_KEYWORD)
    two.server.drag(two.only("Junk"), "INBOX")
    two.look()
    assert two.labels() == [[HAM], [HAM]]


def test_put_back_and_seen_before_the_lock_is_off(two):
    """The laptop reads the mail in the moment between the desk's move out of Junk and the end of it."""
    held = [MOVING_KEYWORD, OWNER_KEYWORD + "desk"]
    ref = two.server.deliver(mail(1, 0.99), flags=[*held, MOVED_KEYWORD])

    def let_go(command):
        if command.startswith("LOCK"):
            two.server.before = None
            two.server.set_flags(ref, remove=held)

    two.server.before = let_go
    two.look(two.lap)
    two.server.before = None
    assert two.server.raws("INBOX") == [mail(1, 0.99)]
    assert two.lap.judgement().decision.reason == "dealt-with"
    two.server.set_flags(ref, remove=held)
    two.look()
    assert two.server.raws("INBOX") == [mail(1, 0.99)]


@pytest.mark.parametrize("back", ["INBOX", "Junk"])
def test_the_folder_for_doubtful_mail(tmp_path, back):
    two = Two(tmp_path, account=Account(ME, unsure_folder="Doubt"))
    two.lap.evidence = replace(two.lap.evidence, mode=Mode.LEARNING)
    two.server.deliver(mail(1, 0.7))
    two.look(two.lap)
    two.look(two.desk)
    assert two.server.raws("Doubt")
    two.look()
    for place in two.places:
        place.learner.keep_quiet_mail()
    assert two.labels() == [[], []]
    two.server.drag(two.only("Doubt"), back)
    two.look()
    two.look()
    assert two.labels() == ([[HAM], [HAM]] if back == "INBOX" else [[SPAM], [SPAM]])
    for place in two.places:
        place.store.close()


def test_the_unsure_folder_of_the_other_is_no_filing(tmp_path):
    """The laptop knows nothing of that folder."""
    two = Two(tmp_path)
    two.desk.account = Account(ME, unsure_folder="Doubt")
    two.desk.connect()
    two.lap.evidence = replace(two.lap.evidence, mode=Mode.LEARNING)
    two.server.deliver(mail(1, 0.7))
    two.look(two.lap)
    two.lap.learner.keep_quiet_mail()
    two.look(two.desk)
    assert two.server.raws("Doubt")
    two.look(two.lap)
    two.lap.learner.keep_quiet_mail()
    assert two.labels() == [[], []]
    for place in two.places:
        place.store.close()


@pytest.mark.scenario(40)
def test_stamps_of_the_other_are_no_hints(tmp_path):
    two = Two(tmp_path, account=Account(ME, stamp=True))
    two.server.deliver(mail(1))
    two.look(two.lap)  # both stamp good mail
    two.look(two.desk)
    two.look()
    assert two.labels() == [[], []]
    ref = two.only("INBOX")
    two.server.set_flags(ref, ["Junk"], ["NonJunk"])
    two.look()
    assert two.labels() == [[(Label.SPAM, LabelSource.KEYWORD)]] * 2
    for place in two.places:
        place.store.close()


def test_the_stamp_of_one_alone(tmp_path):
    two = Two(tmp_path)
    two.desk.account = Account(ME, stamp=True)
    two.desk.connect()
    two.server.deliver(mail(1))
    two.look(two.lap)
    two.look(two.desk)
    two.look()
    assert two.labels() == [[], []]
    for place in two.places:
        place.store.close()


class TestAnInboxWithoutRoomForTheSign:
    """As on Cyrus, where a folder has 100 keywords and no more."""

    @pytest.fixture
    def two(self, tmp_path):
        made = Two(tmp_path)
        made.lap.evidence = replace(made.lap.evidence, mode=Mode.LEARNING)
        made.server.crowded = {"INBOX"}
        yield made
        for place in made.places:
            place.store.close()

    def later(self, two):
        for place in two.places:
            place.now += SIGN_SECONDS
        two.look()

    def test_signed_in_junk_instead(self, two):
        two.server.deliver(mail(1, 0.99))
        two.look(two.lap)
        two.look(two.desk)
        assert two.server.flags(two.only("Junk")) == {MOVED_KEYWORD}
        two.look()
        self.later(two)
        assert two.labels() == [[], []]

    def test_seen_before_the_sign_is_on(self, two):
        """The laptop looks in the moment between the move and the sign."""
        two.server.deliver(mail(1, 0.99))
        two.look(two.lap)

        def look(command):
            if command.startswith("STORE Junk"):
                two.server.before = None
                two.look(two.lap)

        two.server.before = look
        two.look(two.desk)
        assert two.server.before is None
        self.later(two)
        assert two.labels() == [[], []]

    @pytest.mark.parametrize("asked", [False, True])
    def test_cut_between_the_move_and_the_sign(self, two, asked):
        """The next connection sets it, long after: the laptop was off. Not where the person has said that it is junk."""
        two.server.deliver(mail(1, 0.99))
        two.look(two.lap)

        def cut(command):
            if command.startswith("MOVE"):
                raise ConnectionLost("cut")

        two.server.after = cut
        with pytest.raises(ConnectionLost):
            two.look(two.desk)
        two.server.after = None
        (row,) = two.desk.store.open_moves(ME)
        if asked:
            said = LabelRecord(ME, row.identity, Label.SPAM, LabelSource.REVIEW, 1.0, two.desk.now)
            two.desk.store.add_label(said)
        two.desk.connect()
        two.desk.filter.recover()
        assert two.server.flags(two.only("Junk")) == (set() if asked else {MOVED_KEYWORD})
        two.look()
        self.later(two)
        assert two.labels()[1] == ([SPAM] if asked else [])

    def test_no_sign_anywhere(self, two):
        """Then nothing is learned where another daemon is known to be at work, and the person is told."""
        two.server.crowded = set()
        moved_by_desk(two)
        two.server.crowded = {"INBOX", "Junk"}
        two.server.deliver(mail(2, 0.99))
        two.look(two.lap)
        two.look(two.desk)
        assert len(two.server.raws("Junk")) == 2
        two.look()
        self.later(two)
        self.later(two)
        assert two.labels() == [[], []]
        assert [event.text for event in two.lap.store.events(limit=50) if "no room" in event.text]

    def test_a_drag_where_one_daemon_works(self, two):
        two.server.deliver(mail(1, 0.2))
        two.look()
        two.server.drag(two.only("INBOX"), "Junk")
        two.look()
        assert two.labels() == [[], []]
        self.later(two)
        assert two.labels() == [[SPAM], [SPAM]]
