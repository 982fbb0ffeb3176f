"""Single labels against a sure model: which of them a night leaves out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from spamd import paths
from spamd.domain import Evidence, Mode, ModelCard
from spamd.message.dense import PROVEN
from spamd.message.vector import vectorise
from spamd.model import gate
from spamd.model.bundle import read_card
from spamd.training import doubt
from spamd.training.dataset import Example, examples, in_tenth
from tests.unit.model.made import flood, mail
from tests.unit.test_filtering import Place
from tests.unit.test_filtering import mail as letter

KNOWN = 1000.0


def sure(vectors) -> np.ndarray:
    """A model that is sure of what it is asked about: junk, where the mail is marked so."""
    return np.array([6.0 if v.junk else -6.0 for v in vectors])


class Vector:
    def __init__(self, raw: bytes, junk: bool) -> None:
        features = vectorise(raw)
        self.fingerprint, self.junk = features.fingerprint, junk


def example(number: int, junk: bool, said: bool, at: float, raw: bytes | None = None, **more) -> Example:
    text = " ".join(f"w{number}x{n}" for n in range(40))
    vector = Vector(raw or mail(f"Letter {number}", f"Hello, {text}."), junk)
    return Example(f"home\0{number}", vector, said, 1.0, at, fingerprint=vector.fingerprint, **more)


@pytest.fixture
def card() -> ModelCard:
    shipped = read_card(paths.shipped_model())
    return dataclasses.replace(shipped, parent=shipped.id, known_until=KNOWN, calibration=(1.0, 0.0))


def history() -> list[Example]:
    """Enough held-out mail of both kinds, of which the model was right."""
    return [example(n, n % 2 == 0, n % 2 == 0, KNOWN - 1) for n in range(400) if in_tenth(f"home\0{n}")]


def left_out(card: ModelCard, new: list[Example], believed=()) -> set[str]:
    usual = [example(n, n % 2 == 0, n % 2 == 0, KNOWN + 1) for n in range(500, 540)]
    return set(doubt.doubts([*history(), *usual, *new], card, sure, believed).left_out)


def test_a_label_against_a_sure_model_is_left_out(card):
    slip = example(1000, True, False, KNOWN + 2)
    assert left_out(card, [slip]) == {slip.identity}
    assert left_out(card, [example(1000, True, True, KNOWN + 2)]) == set()
    assert left_out(card, [dataclasses.replace(slip, implicit=True)]) == set()


def test_what_the_person_stayed_with_is_believed(card):
    slip = example(1000, True, False, KNOWN + 2)
    assert left_out(card, [slip], believed={slip.identity}) == set()


def test_what_was_taken_out_of_junk_by_hand_is_no_slip(card):
    assert left_out(card, [example(1000, True, False, KNOWN + 2, rescued=True, taken_out=True)]) == set()


def test_the_shipped_model_is_sure_of_nothing(card):
    first = dataclasses.replace(card, parent=None)
    assert left_out(first, [example(1000, True, False, KNOWN + 2)]) == set()


def test_a_model_that_was_wrong_where_it_was_sure_is_not_believed(card):
    wrong = [example(n, True, False, KNOWN - 2) for n in range(5000, 5400) if in_tenth(f"home\0{n}")]
    assert left_out(card, [*wrong, example(1000, True, False, KNOWN + 2)]) == set()


@pytest.mark.parametrize("alike", ["sender", "text"])
def test_others_of_its_kind_that_say_the_same_support_it(card, alike):
    """Two newsletters that the person has had enough of; but not one among many that were good."""

    def of_kind(number: int, said: bool, at: float = KNOWN + 2) -> Example:
        if alike == "sender":
            return example(number, False, said, at, sender="news@shop.example")
        return example(number, False, said, at, raw=flood(number))

    assert left_out(card, [of_kind(1000, True), of_kind(1001, True)]) == set()
    assert left_out(card, [of_kind(1000, True)]) == {"home\x001000"}
    older = [of_kind(n, False, KNOWN - 5) for n in range(1002, 1006)]
    assert left_out(card, [of_kind(1000, True), *older]) == {"home\x001000"}
    assert left_out(card, [of_kind(1000, True), of_kind(1001, True), *older]) == {
        "home\x001000",
        "home\x001001",
    }


@pytest.mark.parametrize("alike", ["sender", "text"])
def test_what_came_in_another_one_s_name_says_nothing_of_their_mail(card, alike):
    """Three forged mails are called junk. The bank's own mail is not overruled by them, nor its rescue doubted."""

    def of_bank(number: int, said: bool, at: float, proof: str, **more) -> Example:
        raw = flood(number) if alike == "text" else None
        return example(number, not said, said, at, raw, sender="info@bank.example", proof=proof, **more)

    own = [of_bank(n, False, KNOWN - 50 + n, PROVEN) for n in (1, 2, 3)]
    forged = [of_bank(n, True, KNOWN + n, "dmarc=fail") for n in (5, 6, 7)]
    for one in forged:
        one.vector.junk = False  # the model takes it for the bank's
    assert overruled(card, [*own, *forged], {e.identity for e in forged}) == set()
    assert {e.identity for e in doubt.like(forged[0], [*own, *forged])} == {"home\x006", "home\x007"}
    real = [dataclasses.replace(one, proof=PROVEN) for one in forged]
    assert overruled(card, [*own, *real]) == {e.identity for e in own}, (
        "their own newsletters may be had enough of"
    )
    unknown = [dataclasses.replace(e, proof="") for e in (*own, *forged)]
    assert overruled(card, unknown) == {e.identity for e in own}, "where the server vouches for nobody"
    rescued = of_bank(10, False, KNOWN + 10, PROVEN)
    rescued.vector.junk = True
    friend = dataclasses.replace(own[0], at=KNOWN - 1)
    assert rescued.identity in left_out(card, [rescued, *real])
    assert rescued.identity not in left_out(card, [rescued, *forged, friend])


def test_a_copy_with_another_sender_says_nothing_against_who_is_proven(card):
    own = [
        example(n, True, False, KNOWN - 50, flood(n), sender="info@bank.example", proof=PROVEN)
        for n in (1, 2, 3)
    ]
    copies = [
        example(n, False, True, KNOWN + n, flood(n), sender=f"a{n}@other.example", proof=PROVEN)
        for n in (5, 6, 7)
    ]
    assert overruled(card, [*own, *copies]) == set()
    assert len(doubt.like(copies[0], [*own, *copies])) == 2, "they agree with each other"
    unnamed = [dataclasses.replace(e, sender="") for e in (*own, *copies)]
    assert overruled(card, unnamed) == {e.identity for e in own}, (
        "where nothing is kept, copies are all there is"
    )


NEWS = "news@shop.example"


def overruled(card: ModelCard, some: list[Example], believed=()) -> set[str]:
    return set(doubt.overruled(sorted(some, key=lambda e: e.at), card, sure, believed))


def newsletters(*numbers: int, said: bool, at: float, junk: bool = False) -> list[Example]:
    return [example(n, junk, said, at + n / 1e6, sender=NEWS) for n in numbers]


def test_who_has_changed_their_mind_is_not_held_to_what_they_said_before(card):
    """Rescued a few times, and now junk: neither protected nor rehearsed as good mail any more."""
    older = newsletters(1, 2, 3, said=False, at=KNOWN - 50)
    names = {e.identity for e in older}
    other = example(4, False, False, KNOWN - 50, sender="friend@home.example")
    now = newsletters(5, 6, 7, said=True, at=KNOWN + 5)
    assert overruled(card, [*older, other, *now]) == names
    assert overruled(card, [*older, *now[:2]]) == set(), "two may be of those mails alone"
    assert overruled(card, [*older, *now, *newsletters(8, said=False, at=KNOWN + 4)]) == set()
    many = [*older, *newsletters(*range(10, 20), said=False, at=KNOWN - 40)]
    assert overruled(card, [*many, *now]) == set(), (
        "three promotions of a shop whose confirmations are wanted"
    )
    assert overruled(card, [*many, *now], {e.identity for e in now}) == {e.identity for e in many}
    assert overruled(dataclasses.replace(card, parent=None), [*older, *now]) == set()


def test_a_changed_mind_stays_so_until_it_changes_again(card):
    older = newsletters(1, 2, 3, said=False, at=KNOWN - 50)
    taken = newsletters(5, 6, 7, said=True, at=KNOWN - 5, junk=True)
    names = {e.identity for e in older}
    after = dataclasses.replace(card, overruled=tuple(names))
    assert overruled(after, [*older, *taken]) == names
    assert overruled(card, [*older, *taken]) == set()
    assert overruled(after, [*older, *taken[1:]]) == set(), "one was taken back: as if it had never been said"
    assert overruled(after, [*older, *taken, *newsletters(8, said=False, at=KNOWN + 1, junk=True)]) == set()


def test_first_labels_that_call_a_heap_of_junk_good_are_for_the_gate(card):
    first = dataclasses.replace(card, parent=None, known_until=0.0)

    def doubted(junk: int, good: int, spam: int = 0) -> tuple[int, int]:
        kinds = [(True, False)] * junk + [(False, False)] * good + [(True, True)] * spam
        labels = [example(n, is_junk, said, KNOWN) for n, (is_junk, said) in enumerate(kinds)]
        found = doubt.doubts(labels, first, sure, ())
        before = gate.probabilities(sure([e.vector for e in found.tonight]), first.sure)
        new = gate.Scored(before, before, np.array([e.spam for e in found.tonight], bool))
        nobody = gate.Scored(np.zeros(0), np.zeros(0), gate.NOBODY)
        night = gate.Night(nobody, nobody, nobody, new=new, fresh=found.fresh, personal=False)
        return len(found.left_out), int(gate.too_many(night))

    assert doubted(30, 20) == (0, 1), "a Junk folder taken for an archive"
    assert doubted(10, 40) == (0, 0), "good mail that looks like junk"
    assert doubted(30, 20, 1) == (0, 0), "whose first words say both"
    assert doubted(10, 5) == (0, 0), "too few to tell"


def test_too_many_are_for_the_gate(card):
    """The whole night is refused then: it learns as it is told, and nothing of it is taken."""
    many = [example(n, True, False, KNOWN + 2) for n in range(1000, 1010)]
    assert left_out(card, many) == set()


def test_from_scratch_the_gate_counts_the_same_labels(card):
    """All labels are learned anew then. Counted among all of them, those left to the gate would be few enough for it."""
    many = [example(n, True, False, KNOWN + 2) for n in range(1000, 1010)]
    everything = [*history(), *many]
    found = doubt.doubts(everything, card, sure, ())
    assert not found.left_out and found.fresh == len(many) < len(everything)


def test_no_card_grows_for_ever(card, monkeypatch):
    monkeypatch.setattr(gate, "ASKED_MOST", 3)
    waiting = [example(n, True, False, KNOWN - n) for n in range(1000, 1005)]
    again = dataclasses.replace(card, doubted=tuple(e.identity for e in waiting))
    assert left_out(again, waiting) == {e.identity for e in waiting[:3]}, "the newest"


def test_what_was_left_out_is_looked_at_again(card):
    waiting = example(1000, True, False, KNOWN - 1)
    again = dataclasses.replace(card, doubted=(waiting.identity,))
    assert left_out(again, [waiting]) == {waiting.identity}
    waiting.vector.junk = False  # meanwhile the model has changed its mind
    assert left_out(again, [waiting]) == set()


@pytest.mark.parametrize(
    ("own_found", "forged_found", "before", "proofs"),
    [
        (
            "dkim=pass header.d=bank.example; dmarc=pass",
            "dkim=none; dmarc=fail",
            False,
            (PROVEN, "dkim=none dmarc=fail"),
        ),
        (
            "dkim=pass header.d=bank.example",
            "dkim=pass header.d=forger.example",
            False,
            (PROVEN, "dkim=pass"),
        ),
        ("dkim=pass header.d=bank.example", "dkim=pass header.d=forger.example", True, (PROVEN, "passed")),
        ("dkim=pass header.d=bank.example", "dkim=fail", True, (PROVEN, "unproven")),
    ],
)
def test_three_forged_mails_do_not_put_the_bank_in_doubt(
    card, tmp_path, own_found, forged_found, before, proofs
):
    """From the mail on the server to the night: rescued three times, and then three come in the bank's name.

    before: judged by a version that did not write down what vouches for a sender.
    """
    place = Place(tmp_path)
    place.evidence = Evidence(Mode.LEARNING, None, 0.5, 0, 0, 300, None, None, "")
    place.look()

    def arrives(number: int, found: str) -> str:
        head = (
            "Received: from relay.example by mx.home.example\r\n"
            f"Authentication-Results: mx.home.example; {found}\r\n"
        )
        text = " ".join(f"w{number}x{n}" for n in range(40))
        raw = letter(number, 0.2, sender="info@bank.example", more=head).replace(b"Body", text.encode())
        ref = place.server.deliver(raw)
        place.look()
        place.server.drag(ref, "Junk")
        place.look()
        return place.store.sightings(place.account.name, "Junk")[place.server.refs("Junk")[-1].uid].identity

    for number in (1, 2, 3):
        arrives(number, own_found)
        place.server.drag(place.server.refs("Junk")[-1], "INBOX")
        place.look()
    own = {one.identity for one in place.store.labels()}
    after = dataclasses.replace(card, known_until=place.now)
    forged = {arrives(number, forged_found) for number in (4, 5, 6)}
    rows = list(place.store.training_set(until=place.now, limit=100))
    senders = place.store.senders()
    if before:
        senders = {key: one._replace(proof=None) for key, one in senders.items()}
    found = examples(rows, senders)
    place.store.close()
    assert {e.identity.partition("\0")[2] for e in found if e.rescued} == own and len(own) == 3
    assert {e.identity.partition("\0")[2] for e in found if e.spam} == forged
    assert [e.proof for e in found] == [proofs[0]] * 3 + [proofs[1]] * 3

    def takes_all_for_good(vectors) -> np.ndarray:
        return np.full(len(vectors), -6.0)

    assert doubt.overruled(found, after, takes_all_for_good, {e.identity for e in found}) == ()
    unsaid = [dataclasses.replace(e, proof="") for e in found]
    assert len(doubt.overruled(unsaid, after, takes_all_for_good, {e.identity for e in found})) == 3
