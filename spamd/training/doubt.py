"""Which of the night's labels are left out of it until the person has looked at them.

Where the serving model is sure of the contrary, a label is mostly a finger that slipped, and now and then the very
correction that matters. Nobody can tell the two apart, so it is not dropped: it stays a lesson of the instant head and in
the memory of copies, the person is asked, and each night looks again, with the model as it is by then. Not doubted are

- what was asked about, and the person stayed with it;
- what other labels agree with: of the same sender, or of near-copies, at least as many say the same as the contrary. Two
  rescues of one newsletter are no slip;
- what the person took out of Junk by hand. That is no click in a list.

Anybody can write any address into From. Of the same sender are only mails for which the receiving server vouches in the same
way: what came in a bank's name, and was called junk, says nothing of the bank's own mail.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from spamd.domain import ModelCard
from spamd.message.dense import PROVEN
from spamd.message.likeness import COPY, similarities
from spamd.model import gate
from spamd.model.gate import Night, Scored
from spamd.model.runtime import Floats, MailVector
from spamd.training.dataset import Example, is_held

Logits = Callable[[Sequence[MailVector]], Floats]
CHANGED_LEAST = 3  # labels of one sender: what a single one says may be of that mail alone
LOOKED_AT = 3000  # labels: the newest tell what the person thinks of the like


@dataclass(frozen=True, slots=True)
class Doubts:
    """tonight: the person's labels that the serving model does not know, where it has learned from the person at all."""

    tonight: tuple[Example, ...] = ()
    settled: NDArray[np.bool_] = field(
        default_factory=lambda: gate.NOBODY
    )  # of tonight's, what is not doubted
    left_out: frozenset[str] = frozenset()  # identities, also of earlier nights
    fresh: int = 0  # labels that it does not know, silence included


def doubts(
    everything: Sequence[Example],
    card: ModelCard,
    logits: Logits,
    believed: Collection[str],
) -> Doubts:
    """card, logits: of the serving model. believed: identities of labels that the person stayed with when asked."""
    personal = card.parent is not None
    own = [e for e in everything if not e.implicit]
    tonight = [e for e in own if e.at > card.known_until]
    if not personal and any(e.spam for e in tonight):
        return Doubts()  # the shipped model is sure of nothing
    again = [e for e in own if e.at <= card.known_until and e.identity in card.doubted]
    held = [e for e in own if e.at <= card.known_until and is_held(e)][-LOOKED_AT:]
    asked = tonight + again

    def scored(some: Sequence[Example]) -> Scored:
        before = gate.probabilities(logits([e.vector for e in some]), card.sure)
        return Scored(before, before, np.array([e.spam for e in some], bool))

    nobody = Scored(np.zeros(0), np.zeros(0), gate.NOBODY)
    new = sum(e.at > card.known_until for e in everything)
    examined = Night(
        held=scored(held), rescued=nobody, pinned=nobody, new=scored(asked), fresh=new, personal=personal
    )
    against = gate.doubtful(examined)
    settled = np.array(
        [
            e.identity in believed or (bool(doubted) and agreed(e, own))
            for e, doubted in zip(asked, against, strict=True)
        ],
        bool,
    )
    count = len(tonight)
    # A night of which too much is doubted is refused as a whole.
    refused = gate.too_many(replace(examined, new=scored(tonight), settled=settled[:count]))
    left_out = [
        e
        for at, (e, doubted) in enumerate(zip(asked, against & ~settled, strict=True))
        if doubted and not e.taken_out and not (refused and at < count)
    ]
    newest = sorted(left_out, key=lambda e: e.at)[-gate.ASKED_MOST :]
    return Doubts(tuple(tonight), settled[:count], frozenset(e.identity for e in newest), new)


def agreed(one: Example, own: Sequence[Example]) -> bool:
    """Do other labels say the same of the like, and no more of them the contrary?"""
    others = like(one, own[-LOOKED_AT:])
    same = sum(e.spam is one.spam for e in others)
    return same >= max(1, len(others) - same)


def like(one: Example, some: Sequence[Example]) -> list[Example]:
    """The others of the same sender, and near-copies; but no copy that may be another one's and says the contrary."""
    others = [e for e in some if e.identity != one.identity]
    prints = [e.fingerprint for e in others if e.fingerprint is not None]
    if one.fingerprint is None or not prints or len(prints) < len(others):
        return []
    alike = similarities(one.fingerprint, np.stack(prints)) >= COPY
    return [
        e
        for e, copy in zip(others, alike, strict=True)
        if _of_one_sender(one, e) or (copy and (e.spam is one.spam or not _of_others(one, e)))
    ]


def _of_one_sender(one: Example, other: Example) -> bool:
    return bool(one.sender) and (one.sender, one.proof) == (other.sender, other.proof)


def _of_others(one: Example, other: Example) -> bool:
    """Is one of the two surely from somebody, and the other from somebody else, as far as is known?"""
    if one.proof != other.proof:
        return PROVEN in (one.proof, other.proof)
    return one.proof == PROVEN and bool(one.sender and other.sender)


def overruled(
    everything: Sequence[Example], card: ModelCard, logits: Logits, believed: Collection[str]
) -> tuple[str, ...]:
    """Older labels of mail of which the person has changed their mind since, as identities, oldest first.

    After them `CHANGED_LEAST` labels of the like or more say the contrary, and none the same. Those are believed, or no
    fewer than the older ones; or a night has taken them for such already. What was said before must hold back no model
    that has learned better: who had rescued a newsletter, and then had enough of it, got no new model any more.
    """
    if card.parent is None:
        return ()
    own = [e for e in everything if not e.implicit][-LOOKED_AT:]
    tonight = [e for e in own if e.at > card.known_until]
    changed: set[str] = set()
    for one in own:
        if one.identity in card.overruled:
            newer = [e for e in like(one, own) if e.at > one.at and e.identity not in card.overruled]
            if len(newer) >= CHANGED_LEAST and not any(e.spam is one.spam for e in newer):
                changed.add(one.identity)
    seen: set[str] = set()
    junk = gate.probabilities(logits([e.vector for e in tonight]), card.sure) > 0.5
    for one in (e for e, says in zip(tonight, junk.tolist(), strict=True) if says is not e.spam):
        if one.identity in seen:
            continue
        others = like(one, own)
        said = [one, *(e for e in others if e.at > card.known_until)]
        seen |= {e.identity for e in said}
        older = {e.identity for e in others if e.at <= card.known_until and e.spam is not one.spam}
        meant = len(said) >= len(older) or sum(e.identity in believed for e in said) >= CHANGED_LEAST
        if len(said) >= CHANGED_LEAST and meant and all(e.spam is one.spam for e in said):
            changed |= older
    return tuple(e.identity for e in own if e.identity in changed)
