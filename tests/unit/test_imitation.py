"""A forged mail and the one that it imitates, with the real scorer, memory of copies and store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spamd import paths
from spamd.domain import (
    Account,
    AccountName,
    Arrival,
    FetchedMail,
    FolderName,
    Identity,
    Label,
    MessageRef,
    Uid,
    UidValidity,
)
from spamd.imitation import Imitations
from spamd.learning.lessons import read_known_mail
from spamd.message.dense import PROVEN
from spamd.message.vector import unpack, vectorise
from spamd.model.bundle import Bundles
from spamd.model.scoring import Scorer
from spamd.store.database import Store
from tests.unit.model.made import MODERN_HAM
from tests.web.world import HOME, World

ME = AccountName("home")
DAY = 86400.0
GENUINE = [path.read_bytes() for path in MODERN_HAM]
PROOFS = (b"dmarc=pass", b"dkim=pass", b"spf=pass")


class Place:
    def __init__(self, folder) -> None:
        self.store = Store(folder / "spamd.db")
        bundles = Bundles(folder / "models", paths.shipped_model())
        self.scorer = Scorer(bundles, imitates=Imitations(self.store, lambda: [ME]))
        self.number = 0
        self.now = 1_000_000_000.0

    def judged(self, raw: bytes, label: Label, *, named: bool) -> None:
        """A mail that came and was judged so; named: the person said it."""
        self.number += 1
        self.now += 1.0
        ref = MessageRef(FolderName("INBOX"), UidValidity(1), Uid(self.number))
        identity = Identity(f"guid:{self.number}")
        arrival = Arrival(ref, identity, frozenset(), len(raw), self.now)
        mail = FetchedMail(arrival, raw, True)
        judgement, packed = read_known_mail(Account(ME), self.scorer, mail, label, self.now, "")
        self.store.record_judgement(judgement, vector=packed)
        if named:
            self.scorer.teach(unpack(packed), identity, label, 1.0, self.now)

    def copy_of(self, raw: bytes) -> Label | None:
        return self.scorer.score(vectorise(raw)).copy_of


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.store.close()


def domain_of(raw: bytes) -> bytes:
    return vectorise(raw).sender_domain.encode()


def forged(raw: bytes, domain: bytes | None = None, *, proven: bool = False) -> bytes:
    """The same text, from and with links to another domain; or with its own, which the server does not believe."""
    made = raw.replace(domain_of(raw), domain) if domain else raw
    for word in () if proven else PROOFS:
        made = made.replace(word, word.replace(b"pass", b"fail"))
    return made


def another(raw: bytes) -> bytes:
    """Another mail of that sender, which the server vouches for."""
    domain = domain_of(raw).decode()
    return (
        f"Received: from mail.{domain} by mx.home.example with ESMTPS; Mon, 24 Nov 2025 18:18:11 -0000\n"
        f"Authentication-Results: mx.home.example; dmarc=pass header.from={domain}\nFrom: <hello@{domain}>\n"
        "To: robin@home.example\nSubject: A few words\n\nWhat we wrote about last spring has come true after all.\n"
    ).encode()


MAILS = [raw for raw in GENUINE if vectorise(raw).sender_proof == PROVEN]


def test_the_one_that_was_imitated_is_no_copy_of_the_forgery(place):
    """Before, each of these was junk as soon as its imitation was."""
    taken = caught = 0
    for raw in MAILS:
        place.scorer.rebuild([])
        imitation = forged(raw, b"parcel-pay.example")
        place.judged(imitation, Label.SPAM, named=True)
        caught += place.copy_of(forged(raw, b"shop-pay.example")) is Label.SPAM
        taken += place.copy_of(raw) is Label.SPAM
    assert len(MAILS) > 60 and taken > 60, "nobody has known these senders"
    assert caught > 60
    for raw in MAILS:
        place.scorer.rebuild([])
        place.judged(another(raw), Label.HAM, named=False)
        place.now += 2 * DAY
        place.judged(forged(raw, b"parcel-pay.example"), Label.SPAM, named=True)
        assert place.copy_of(raw) is None
        caught += place.copy_of(forged(raw)) is Label.SPAM
        assert place.copy_of(forged(raw)) is place.copy_of(forged(raw, b"parcel-pay.example"))
    assert caught > 120


def test_nor_is_it_one_of_a_forgery_that_was_handed_over_as_a_file(tmp_path):
    world = World(tmp_path / "home", mails=False)
    try:
        scorer = world.scorer = Scorer(world.bundles, imitates=Imitations(world.store, lambda: [HOME]))
        world.begin()
        raw = MAILS[0]
        world.control.labels.teach_mail(forged(raw), Label.SPAM, HOME)
        assert scorer.score(vectorise(forged(raw))).copy_of is Label.SPAM
        assert scorer.score(vectorise(raw)).copy_of is None
    finally:
        world.close()


def test_nor_does_a_forgery_that_lay_in_junk_when_the_account_was_set_up(place):
    """It has no copies, but teaches its words. Before, of 22 real mails one such lesson each put 19 beyond the threshold."""
    beyond = place.scorer.card.junk_threshold
    lifted = 0
    for raw in MAILS[::4]:
        place.scorer.rebuild([])
        before = place.scorer.score(vectorise(raw))
        place.judged(another(raw), Label.HAM, named=False)
        place.now += 2 * DAY
        imitation = forged(raw, b"parcel-pay.example")
        place.judged(imitation, Label.SPAM, named=False)
        name = Identity(f"guid:{place.number}")
        place.scorer.teach(vectorise(imitation), name, Label.SPAM, 0.7, place.now, followed=False)
        lifted += place.scorer.probability(float(place.scorer.logits([vectorise(raw)])[0])) >= beyond
        assert place.scorer.score(vectorise(raw)).logit <= before.logit
        assert place.copy_of(forged(raw, b"shop-pay.example")) is None
        place.scorer.rebuild([(name, vectorise(imitation), Label.SPAM, 0.7, place.now, False)])
        assert place.scorer.score(vectorise(raw)).logit <= before.logit
    assert lifted > 10, "its lesson has the words of the real mail"


def test_nor_does_the_lesson_move_it(place):
    """What the forgery taught at once has the words of the real mail."""
    beyond = place.scorer.card.junk_threshold
    for raw in MAILS[::4]:
        place.scorer.rebuild([])
        before = place.scorer.score(vectorise(raw))
        place.judged(another(raw), Label.HAM, named=False)
        place.now += 2 * DAY
        place.judged(forged(raw, b"parcel-pay.example"), Label.SPAM, named=True)
        assert place.scorer.score(vectorise(raw)).logit <= before.logit
        assert place.scorer.score(vectorise(forged(raw, b"shop-pay.example"))).probability >= beyond
        place.scorer.rebuild([])
        imitation = vectorise(forged(raw, b"parcel-pay.example"))
        before = place.scorer.score(imitation)
        place.judged(raw, Label.HAM, named=True)
        assert place.scorer.score(imitation).logit >= before.logit


def test_junk_of_a_sender_of_whom_good_mail_came_has_copies(place):
    raw = MAILS[0]
    place.judged(another(raw), Label.HAM, named=False)
    place.now += 2 * DAY
    place.judged(raw, Label.SPAM, named=True)
    assert place.copy_of(raw) is Label.SPAM
    assert place.copy_of(forged(raw)) is Label.SPAM


def test_a_forgery_is_told_apart_also_when_its_sender_is_not_kept_any_more(place):
    """After keep_days who sent it is wiped, and who had sent mail before; what came since is known."""
    raw = MAILS[0]
    now = place.store.clock()
    place.now = now - 100 * DAY
    place.judged(another(raw), Label.HAM, named=False)
    place.now += 2 * DAY
    place.judged(forged(raw, b"parcel-pay.example"), Label.SPAM, named=True)
    assert place.copy_of(raw) is None
    place.store.prune(now, 90)
    assert place.copy_of(raw) is Label.SPAM, "nothing is known of anybody"
    place.now = now - 2 * DAY
    place.judged(another(raw), Label.HAM, named=False)
    assert place.copy_of(raw) is None
    assert place.copy_of(forged(raw)) is Label.SPAM
    place.judged(raw, Label.SPAM, named=True)
    place.store.wipe("display")
    place.now = now - 2 * DAY
    place.judged(another(raw), Label.HAM, named=False)
    assert place.copy_of(raw) is Label.SPAM, "it may be the same sender"


def test_a_forged_sender_needs_no_history(place):
    """In the sender's own name: what the server proves is not what it disbelieved."""
    raw = MAILS[0]
    place.judged(forged(raw), Label.SPAM, named=True)
    assert place.copy_of(forged(raw)) is Label.SPAM
    assert place.copy_of(raw) is None


def test_junk_that_goes_from_one_proven_domain_to_the_next_stays_a_copy(place):
    raw = MAILS[0]
    place.judged(forged(raw, b"first-shop.example", proven=True), Label.SPAM, named=True)
    assert place.copy_of(forged(raw, b"second-shop.example", proven=True)) is Label.SPAM
    place.judged(another(forged(raw, b"third-shop.example")), Label.SPAM, named=False)
    assert place.copy_of(forged(raw, b"third-shop.example", proven=True)) is Label.SPAM, (
        "of whom only junk came"
    )


def test_of_a_flood_that_is_still_on_nothing_is_known_to_be_good(place):
    """Some of it came before the person named one, and was missed."""
    raw = MAILS[0]
    place.judged(forged(raw, b"second-shop.example", proven=True), Label.HAM, named=False)
    place.judged(forged(raw, b"first-shop.example", proven=True), Label.SPAM, named=True)
    assert place.copy_of(forged(raw, b"second-shop.example", proven=True)) is Label.SPAM


def test_a_provider_of_free_mail_is_not_one_sender(place):
    raw = MAILS[0]
    someone, sender = b"hello@" + domain_of(raw), vectorise(raw).sender.encode()
    for known, expected in ((someone, Label.SPAM), (sender, None)):
        place.judged(
            another(raw).replace(someone, known).replace(domain_of(raw), b"gmail.com"), Label.HAM, named=False
        )
        place.now += 2 * DAY
        place.scorer.rebuild([])
        place.judged(forged(raw, b"first-shop.example", proven=True), Label.SPAM, named=True)
        assert place.copy_of(forged(raw, b"gmail.com", proven=True)) is expected


def test_what_imitates_a_rescued_mail_is_not_good_for_that(place):
    raw = MAILS[0]
    place.judged(raw, Label.HAM, named=True)
    assert place.copy_of(raw) is Label.HAM
    assert place.copy_of(forged(raw)) is None
    assert place.copy_of(forged(raw, b"parcel-pay.example")) is None
    assert place.copy_of(forged(raw, b"parcel-pay.example", proven=True)) is None
    place.store.wipe("display")
    assert place.copy_of(raw) is Label.HAM
    assert place.copy_of(forged(raw)) is None
    place.scorer.rebuild([])
    place.judged(forged(raw), Label.HAM, named=True)
    assert place.copy_of(raw) is place.copy_of(forged(raw, b"parcel-pay.example")) is Label.HAM


def test_of_mail_without_a_sender_nothing_tells(place):
    """Mail whose sender was wiped is not of the same one."""
    raw = MAILS[0]
    place.judged(another(raw), Label.HAM, named=False)
    place.store.wipe("display")
    place.now += 2 * DAY
    place.judged(forged(raw, b"parcel-pay.example"), Label.SPAM, named=True)
    nobody = raw.replace(b"\nFrom:", b"\nX-Was:")
    assert not vectorise(nobody).sender_domain and vectorise(nobody).sender_proof
    assert place.copy_of(nobody) is Label.SPAM


def test_where_the_server_never_writes_a_word_no_mail_shields_itself_with_its_own(place):
    """Exim and Postfix alone. Before, one harmless mail of a domain was enough: its junk was then no copy of what was called junk."""
    raw = MAILS[0]
    for number in range(30):
        place.judged(
            b"From: a%d@friend.example\n\nNews number %d." % (number, number), Label.HAM, named=False
        )
    place.judged(another(raw), Label.HAM, named=False)
    place.now += 2 * DAY
    first = forged(raw, b"first-shop.example", proven=True)
    place.judged(first, Label.SPAM, named=True)
    assert place.copy_of(raw) is Label.SPAM
    for number in range(60):  # a flood says of itself what it likes
        place.judged(forged(raw, b"shop-%d.example" % number, proven=True), Label.SPAM, named=False)
    assert place.copy_of(raw) is Label.SPAM
    for number in range(30):
        place.judged(another(raw).replace(b"spring", b"%d" % number), Label.HAM, named=False)
    assert place.copy_of(raw) is None, "it writes them now"
    unvouched = replace(vectorise(raw), vouched=False)
    assert place.scorer.score(unvouched).copy_of is Label.SPAM, "at another account, whose server does not"


def test_where_the_server_says_nothing_copies_are_copies(place):
    proven = raw = MAILS[0]
    for word in (*PROOFS, b"header.from"):
        raw = raw.replace(word, b"x=none")
    assert not vectorise(raw).sender_proof
    place.judged(proven, Label.HAM, named=True)
    assert place.copy_of(raw) is Label.HAM, "it came through another server, say"
    for label in Label:
        place.judged(raw, label, named=True)
        assert place.copy_of(forged(raw, b"parcel-pay.example")) is label
    place.judged(another(proven), Label.HAM, named=False)
    place.now += 2 * DAY
    place.judged(raw, Label.SPAM, named=True)
    assert place.copy_of(proven) is Label.SPAM, "nor did it of the junk"
    place.scorer.rebuild([])
    place.scorer.teach(vectorise(forged(proven)), Identity("guid:wiped"), Label.SPAM, 1.0, place.now)
    assert place.copy_of(proven) is Label.SPAM, "nothing is kept of the junk"
