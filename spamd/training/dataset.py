"""Which labels a night learns from, in what mixture. NumPy only.

From the ledger: one label per mail, newest word wins; near-copies count once; no sender, no day and no kind of evidence
may dominate; about a tenth of the older labels is held out, always the same ones, so that nights can be compared; what
was taken out of Junk is learned again every night.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from spamd.domain import AccountName, Identity, Label, LabelRecord, LabelSource, Sender
from spamd.errors import SchemaMismatch
from spamd.judgement import silence
from spamd.judgement.corrections import said_how
from spamd.message.dense import NAMES, PROVEN
from spamd.message.likeness import Fingerprint
from spamd.message.vector import unpack
from spamd.model.copies import CopyMemory
from spamd.model.runtime import Floats, MailVector

HELD_SHARE = 10  # one in ten of the older labels
REPLAY = 2000  # older labels rehearsed each night, at least; else as many as there are new ones
RESCUED_MOST = 1000
"""Mails taken out of Junk, the newest, that every night learns again and is examined on."""
MAX_LABELS = 20_000
SMOOTHING = 0.005
DAY_CAP = 500  # new implicit labels of one day
SENDER_CAP = 100  # labels of one sender and class in one night
COPY_CAP = 3  # near-copies of one mail
_AUTHENTICATED = NAMES.index("header: authenticated")
SCARCE = 10.0  # weight of good mail that spam may outweigh twice; it rises and falls with that weight


@dataclass(frozen=True, slots=True)
class Example:
    identity: str
    vector: MailVector
    spam: bool
    weight: float
    at: float
    implicit: bool = False
    rescued: bool = False
    found: bool = False  # in a folder, when the account was set up: learned before it could be judged
    taken_out: bool = False  # of Junk, by hand
    sender: str = ""  # the address in From; "" where it is not kept
    proof: str = ""  # what vouches for it: message.dense.sender_proof
    fingerprint: Fingerprint | None = None


@dataclass(frozen=True, slots=True)
class Mixture:
    """What a night works with."""

    fresh: tuple[Example, ...]  # new since the parent model
    replay: tuple[Example, ...]
    held: tuple[Example, ...]
    rescued: tuple[Example, ...]  # judged, whether learned or not
    kept: tuple[Example, ...]  # lately, implicit or ham
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def training(self) -> tuple[Example, ...]:
        return self.replay + self.fresh


def is_held(example: Example) -> bool:
    """Is a mail of the tenth that older labels are held out of? The same mails, whichever night asks.

    Never silence, and never what was taken out of Junk: there is little of that, every night is examined on all of it, and
    a night that may not think worse of a mail it does not learn is refused until that mail is forgotten. Of 39 nights of
    36,000 mails (SpamAssassin, CSDMC2010 and Enron, all errors corrected) 25 were.
    """
    return not example.implicit and not example.rescued and in_tenth(example.identity)


def in_tenth(identity: str) -> bool:
    return hashlib.sha256(identity.encode("utf-8", "replace")).digest()[0] < 256 // HELD_SHARE


def is_heard(record: LabelRecord) -> bool:
    """Does a night learn anything from it? Not from what is held, nor from silence that says next to nothing
    (judgement/silence.py)."""
    silent = record.source is LabelSource.IMPLICIT
    return not record.held and not (silent and record.weight <= silence.LEFT_DOUBTFUL)


def examples(
    rows: Iterable[tuple[LabelRecord, bytes]],
    senders: Mapping[tuple[AccountName, Identity], Sender] | None = None,
) -> list[Example]:
    """Ledger rows that are heard and have readable vectors, oldest first. Vectors of other features are left out."""
    found: dict[tuple[str, str], Example] = {}
    for record, packed in rows:
        if not is_heard(record):
            continue
        try:
            vector = unpack(packed)
        except SchemaMismatch:
            continue
        sender = (senders or {}).get((record.account, record.identity), Sender("", None))
        found[record.account, record.identity] = Example(
            identity=f"{record.account}\0{record.identity}",
            vector=vector,
            spam=record.label is Label.SPAM,
            weight=record.weight,
            at=record.at,
            implicit=record.source is LabelSource.IMPLICIT,
            rescued=record.label is Label.HAM
            and said_how(record) in (LabelSource.DRAG, LabelSource.UNDO, LabelSource.ADDON),
            found=record.source is LabelSource.FOLDER,
            taken_out=record.label is Label.HAM and said_how(record) in (LabelSource.DRAG, LabelSource.UNDO),
            fingerprint=vector.fingerprint,
            sender=sender.address,
            proof=_read_back(vector.dense, record.label) if sender.proof is None else sender.proof,
        )
    return sorted(found.values(), key=lambda example: example.at)


def _read_back(dense: Floats, label: Label) -> str:
    """Of mail judged before `sender_proof` was written down: what the vector tells of it.

    Where the server writes no DMARC, any domain's DKIM passes there, also a forger's own. So what was called junk proves
    nothing: it could speak against the mail of whose name it bears.
    """
    authenticated = float(dense[_AUTHENTICATED])
    if math.isnan(authenticated):
        return ""
    if authenticated != 1.0:
        return "unproven"
    return PROVEN if label is Label.HAM else "passed"


def mix(
    all_examples: Sequence[Example],
    *,
    known_until: float,
    from_scratch: bool = False,
    left_out: Collection[str] = (),
    replay: int = REPLAY,
    seed: int = 0,
) -> Mixture:
    """Choose what to learn, what to rehearse and what to keep for the examination.

    left_out: identities of older labels that the parent was not made from; they are as new as tonight's.
    """

    def is_old(e: Example) -> bool:
        return e.at <= known_until and not from_scratch and e.identity not in left_out

    old = [e for e in all_examples if is_old(e)]
    new = [e for e in all_examples if not is_old(e)]
    held = [e for e in (new if from_scratch else old) if is_held(e)]  # from scratch, everything is new
    examined = {e.identity for e in held}
    rng = np.random.default_rng(seed)
    fresh = balanced(tempered(capped([e for e in new if e.identity not in examined])))
    pool = capped([e for e in old if e.identity not in examined], day_cap=None, sender_cap=None)
    rescued = [e for e in pool if e.rescued][-RESCUED_MOST:]
    others = _sample([e for e in pool if not e.rescued], max(replay, len(fresh)), rng)
    chosen = tempered(sorted(rescued + others, key=lambda e: e.at))
    recent = [e for e in all_examples if not e.spam and not e.rescued][-300:]
    counts = {
        "fresh": len(fresh),
        "replayed": len(chosen),
        "held": len(held),
        "from_scratch": int(from_scratch),
        "ham": sum(not e.spam for e in fresh + chosen),
        "spam": sum(e.spam for e in fresh + chosen),
    }
    return Mixture(
        tuple(fresh),
        tuple(chosen),
        tuple(held[-3000:]),
        tuple([e for e in all_examples if e.rescued][-RESCUED_MOST:]),
        tuple(recent),
        counts,
    )


def capped(
    some: Sequence[Example],
    *,
    day_cap: int | None = DAY_CAP,
    sender_cap: int | None = SENDER_CAP,
    copy_cap: int = COPY_CAP,
) -> list[Example]:
    """Newest labels first claim their place; order of the answer is by time."""
    days: Counter[tuple[int, bool]] = Counter()
    senders: Counter[tuple[str, bool]] = Counter()
    copies: dict[bool, CopyCounter] = {True: CopyCounter(), False: CopyCounter()}
    taken: list[Example] = []
    for example in reversed(some[-MAX_LABELS:]):
        day = (int(example.at // 86400), example.spam)
        sender = (example.sender, example.spam)
        if example.implicit and day_cap is not None and days[day] >= day_cap:
            continue
        if example.sender and sender_cap is not None and senders[sender] >= sender_cap:
            continue
        if copies[example.spam].seen(example.vector) >= copy_cap:
            continue
        days[day] += example.implicit
        senders[sender] += 1
        taken.append(example)
    return taken[::-1]


class CopyCounter:
    """How many near-copies of a mail were counted before."""

    def __init__(self) -> None:
        self._memory = CopyMemory(capacity=MAX_LABELS)
        self._counts: Counter[str] = Counter()

    def seen(self, vector: MailVector) -> int:
        """Counts this one too. Near-copies are named after the first of them."""
        match = self._memory.match(vector)
        name = match.key if match else str(len(self._counts))
        if match is None:
            self._memory.remember(name, vector, Label.SPAM, 0.0)
        self._counts[name] += 1
        return self._counts[name] - 1


def balanced(some: Sequence[Example], *, at_most: float = 4.0) -> list[Example]:
    """Weights such that both classes pull alike, the rarer one by at most `at_most` times its own.

    Nobody's word is never raised: silence about a hundred spam mails must not outweigh fifty that the person dragged away.
    """
    mass = [sum(e.weight for e in some if e.spam is spam) for spam in (False, True)]
    if not all(mass):
        return list(some)
    target = sum(mass) / 2
    factor = [float(np.clip(target / m, 1 / at_most, at_most)) for m in mass]
    return [
        replace(e, weight=e.weight * (min(1.0, factor[e.spam]) if e.implicit else factor[e.spam]))
        for e in some
    ]


def tempered(some: Sequence[Example]) -> list[Example]:
    """Where little good mail is known, spam may outweigh it little, however much of it there is.

    Six hundred dragged spams beside eight mails left lying would teach that what all mail of this mailbox has in common
    is spam: every mail of the next day stood two logits higher (SpamAssassin in 39 days, which begins with four days of
    nearly nothing but spam: 1-ROCA of the first 1,000 mails 16.8 %, and .9 % with this).
    """
    ham, spam = (sum(e.weight for e in some if e.spam is side) for side in (False, True))
    most = ham * (1 + ham / SCARCE)
    if not ham or spam <= most:
        return list(some)
    return [replace(e, weight=e.weight * most / spam) if e.spam else e for e in some]


def _sample(pool: Sequence[Example], count: int, rng: np.random.Generator) -> list[Example]:
    """As many of each class, as far as they reach; the rest from the other. Order by time."""
    if len(pool) <= count:
        return list(pool)
    by_class: dict[bool, list[int]] = defaultdict(list)
    for index, example in enumerate(pool):
        by_class[example.spam].append(index)
    ham, spam = by_class[False], by_class[True]
    share = min(len(ham), max(count // 2, count - len(spam)))
    picked = np.concatenate(
        [rng.permutation(np.array(ham, int))[:share], rng.permutation(np.array(spam, int))[: count - share]]
    )
    return [pool[i] for i in sorted(picked.tolist())]
