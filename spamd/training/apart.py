"""Evidence from mail that was found in folders: scored by what the night makes of all the other mail.

The night that learns such mail first fits once more for each part of it, without that part. What comes of it lies beside the
candidate; `nightly` takes it into the ledger when the candidate is taken, since thresholds hold for the model they were
measured with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from spamd.domain import AccountName, Identity
from spamd.message.vector import BUCKETS
from spamd.model import apart
from spamd.model.base import Reference
from spamd.training.dataset import Example
from spamd.training.fit import Fitted, logits

FEWEST = 50  # mails found in folders; with less nothing is listed, let alone moved


def scores(
    everything: Sequence[Example],
    examples: Sequence[Example],
    reference: Reference,
    alpha: float,
    calibration: tuple[float, float],
    *,
    known_until: float,
    refit: Callable[[Sequence[Example], int], Fitted],
) -> dict[tuple[AccountName, Identity], float]:
    """The probability of each mail found in a folder and not known to the parent, by a fit without its part.

    examples: what the night trains on. refit: the night's own fit of fewer examples, for the part of that number.
    """
    found = [e for e in everything if e.found and e.at > known_until]
    if len(found) < FEWEST:
        return {}
    wanted = {e.identity for e in found}
    others = [e for e in examples if e.identity not in wanted]
    part = apart.parts([(e.identity, e.vector, e.spam) for e in [*found, *others]], wanted)
    a, b = calibration
    answer: dict[tuple[AccountName, Identity], float] = {}
    for number in range(apart.PARTS):
        some = [e for e in found if part[e.identity] == number]
        if not some:
            continue
        fitted = refit([e for e in examples if part.get(e.identity) != number], number)
        z = logits(fitted, reference.base, BUCKETS, [e.vector for e in some], alpha)
        p = 1 / (1 + np.exp(-np.clip(a * z.astype(np.float64) + b, -500, 500)))
        for e, probability in zip(some, p.tolist(), strict=True):
            account, _, identity = e.identity.partition("\0")
            answer[AccountName(account), Identity(identity)] = probability
    return answer
