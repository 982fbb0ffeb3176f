"""Which of the night's labels are left out of it until the person has looked at them.

Where the serving model is sure of the contrary, a label is mostly a finger that slipped, and now and then the very
correction that matters. Nobody can tell the two apart, so it is not dropped: it stays a lesson of the instant head and in
the memory of copies, the person is asked, and each night looks again, with the model as it is by then. Not doubted are

- what was asked about, and the person stayed with it;
- what other labels agree with: of the same sender, or of near-copies, at least as many say the same as the contrary. Two
  rescues of one newsletter are no slip;
- what the person took out of Junk by hand. That is no click in a list.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from spamd.domain import ModelCard
from spamd.message.likeness import COPY, similarities
from spamd.model import gate
from spamd.model.gate import Night, Scored
from spamd.model.runtime import Floats, MailVector
from spamd.training.dataset import Example, is_held

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
    logits: Callable[[Sequence[MailVector]], Floats],
    believed: Collection[str],
) -> Doubts:
    """card, logits: of the serving model. believed: identities of labels that the person stayed with when asked."""
    if card.parent is None:
        return Doubts()  # the shipped model is sure of nothing
    own = [e for e in everything if not e.implicit]
    tonight = [e for e in own if e.at > card.known_until]
    again = [e for e in own if e.at <= card.known_until and e.identity in card.doubted]
    held = [e for e in own if e.at <= card.known_until and is_held(e.identity)][-LOOKED_AT:]
    asked = tonight + again

    def scored(some: Sequence[Example]) -> Scored:
        before = gate.probabilities(logits([e.vector for e in some]), card.calibration)
        return Scored(before, before, np.array([e.spam for e in some], bool))

    nobody = Scored(np.zeros(0), np.zeros(0), gate.NOBODY)
    new = sum(e.at > card.known_until for e in everything)
    examined = Night(held=scored(held), rescued=nobody, pinned=nobody, new=scored(asked), fresh=new)
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
    left_out = {
        e.identity
        for at, (e, doubted) in enumerate(zip(asked, against & ~settled, strict=True))
        if doubted and not e.taken_out and not (refused and at < count)
    }
    return Doubts(tuple(tonight), settled[:count], frozenset(left_out), new)


def agreed(one: Example, own: Sequence[Example]) -> bool:
    """Do other labels say the same of the like, and no more of them the contrary?"""
    others = [e for e in own[-LOOKED_AT:] if e.identity != one.identity]
    prints = [e.fingerprint for e in others if e.fingerprint is not None]
    if one.fingerprint is None or not prints or len(prints) < len(others):
        return False
    alike = similarities(one.fingerprint, np.stack(prints)) >= COPY
    if one.sender:
        alike |= np.array([e.sender == one.sender for e in others], bool)
    same = np.array([e.spam is one.spam for e in others], bool)
    return int((alike & same).sum()) >= max(1, int((alike & ~same).sum()))
