"""Why a mail got its score: the words, links and facts that carried it, each checked by taking it away.

A guess from the models' weights picks the candidates; what is reported is the true change of the logit when the mail is
scored again without them. Texts are what the person wrote or saw, as plain text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from spamd.answers import LinkView, Why
from spamd.domain import Label, ModelCard, Reason, Score
from spamd.message.vector import Features
from spamd.model.copies import Match
from spamd.model.runtime import Floats, Ints, MailVector
from spamd.reasons import told

CHECKED = 60  # candidates that are taken away one by one
NOTEWORTHY = 0.005  # smaller changes of the logit are no reason
SHOWN_KINDS = frozenset({"word", "link", "fact", "sender"})


class CanExplain(Protocol):
    """What is asked of the scorer."""

    @property
    def card(self) -> ModelCard: ...
    def logits(self, vectors: list[MailVector]) -> Floats: ...
    def guess(self, vector: MailVector) -> tuple[Floats, Floats, Floats]: ...
    def below_usual(self, vector: MailVector) -> NDArray[np.bool_]: ...
    def copy_of(self, vector: MailVector) -> Match | None: ...
    def copy_shift(self, vector: MailVector) -> float: ...


class CanScore(CanExplain, Protocol):
    """The scorer, for a whole mail."""

    def read(self, raw: bytes) -> Features: ...

    def score(self, vector: MailVector, *, arrived: bool = True) -> Score: ...


@dataclass(slots=True)
class _Cause:
    """Everything in the vector that stands for one thing a person can see."""

    kind: str
    text: str
    base: set[int] = field(default_factory=set)
    personal: set[int] = field(default_factory=set)
    dense: set[int] = field(default_factory=set)
    guess: float = 0.0


@dataclass(frozen=True, slots=True)
class _Remains:
    """A vector from which something was taken away."""

    base_ids: Ints
    dense: Floats
    personal_ids: Ints


def explain(features: Features, scorer: CanExplain, limit: int = 12) -> tuple[Reason, ...]:
    """Reasons by size, at most `limit`; contributions in log odds of the (calibrated) probability, positive towards spam."""
    steepness = scorer.card.calibration[0]
    causes = _causes(features, scorer.below_usual(features))
    for_base, for_personal, for_dense = scorer.guess(features)
    base_guess = dict(zip(features.base_ids.tolist(), for_base.tolist(), strict=True))
    personal_guess = dict(zip(features.personal_ids.tolist(), for_personal.tolist(), strict=True))
    for cause in causes:
        cause.guess = (
            sum(base_guess[i] for i in cause.base)
            + sum(personal_guess[i] for i in cause.personal)
            + sum(float(for_dense[i]) for i in cause.dense)
        )
    causes.sort(key=lambda cause: -abs(cause.guess))
    causes = causes[:CHECKED]
    scores = scorer.logits([features, *(_without(features, cause) for cause in causes)])
    reasons = [
        Reason(cause.kind, cause.text, steepness * float(scores[0] - score))
        for cause, score in zip(causes, scores[1:], strict=True)
        if abs(float(scores[0] - score)) >= NOTEWORTHY
    ]
    reasons.sort(key=lambda reason: -abs(reason.contribution))
    found, shift = scorer.copy_of(features), scorer.copy_shift(features)
    if found is not None:
        what = "marked as junk" if found.label is Label.SPAM else "said is good"
        # What a night has learned moves little or nothing any more, and speaks for the word all the same.
        least = NOTEWORTHY if found.label is Label.SPAM else -NOTEWORTHY
        towards = steepness * shift if shift * least > 0 else least
        reasons.insert(0, Reason("copy", f"Nearly the same as a mail you {what}", towards))
    elif shift:
        what = "marked as junk" if shift < 0 else "said is good"
        reasons.insert(0, Reason("imitation", f"{IMITATED} you {what}", steepness * shift))
    return tuple(reasons[:limit])


IMITATED: Final = "What was learned is left out: it only looks like a mail that"

Line = tuple[float, float]
"""a, b: a * log odds + b is told for log odds (judgement.calibration)."""
AS_IT_IS: Final[Line] = (1.0, 0.0)
SHOWN: Final = 65_536  # characters, and bytes of the source


def parts(score: Score, card: ModelCard, line: Line = AS_IT_IS) -> tuple[float, float]:
    """What the shipped base says of a mail, and what was learned here adds to it: together the log odds of its probability.

    `card` is that of the model that scored it, `line` how probabilities are told.
    """
    steepness, offset = line[0] * card.calibration[0], line[0] * card.calibration[1] + line[1]
    base = steepness * card.alpha * score.base_logit + offset
    return base, steepness * score.logit + offset - base


def look_at(raw: bytes, scorer: CanScore, why: Why, line: Line = AS_IT_IS, *, vouched: bool = True) -> Why:
    """`why` with what the mail itself says, and the model of it. A judgement that was stored keeps its probability.

    vouched: see `Features`.
    """
    features = replace(scorer.read(raw), vouched=vouched)
    score = scorer.score(features, arrived=False)
    base, personal = parts(score, scorer.card, line)
    tried = why.judgement is None
    return replace(
        why,
        probability=score.probability if tried else why.probability,
        model_id=score.model_id if tried else why.model_id,
        base_logit=base,
        personal_logit=personal,
        reasons=tuple(
            _in_words(replace(one, contribution=line[0] * one.contribution))
            for one in explain(features, scorer)
        ),
        links=tuple(
            LinkView(link.host, _clip(link.shown, 200), tuple(sorted(link.flags)))
            for link in features.links[:50]
        ),
        tricks=tuple(sorted(features.text.tricks)),
        visible_text=_clip(features.text.visible, SHOWN),
        hidden_text=_clip(features.text.hidden, SHOWN),
        raw_text=raw[:SHOWN].decode("utf-8", "replace"),
        raw_cut=len(raw) > SHOWN,
        defects=tuple(features.message.defects),
        copy_of=score.copy_of,
        subject=_clip(features.message.subject, 1000) or why.subject,
        sender=_clip(features.message.sender, 320) or why.sender,
    )


def _in_words(reason: Reason) -> Reason:
    place, words = told(reason.kind, reason.text)
    return replace(reason, place=place, words=words)


def _clip(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def fact(name: str, value: float, low: bool) -> str:
    """What a dense feature says of this mail: by itself where there is more of it than usual, else "group: not: ..." where
    there is none, "group: little: ..." where there is less. What counts is then that it is missing, and one must read so.
    """
    if not low:
        return name
    group, _, detail = name.partition(": ")
    return f"{group}: {'not' if value == 0 else 'little'}: {detail.removeprefix('many ')}"


def _causes(features: Features, low: NDArray[np.bool_]) -> list[_Cause]:
    names = features.named(SHOWN_KINDS)
    causes: dict[tuple[str, str], _Cause] = {}

    def cause(kind: str, text: str) -> _Cause:
        # "subject offer", "from name anna": what follows is the word itself; it stays its own reason.
        return causes.setdefault((kind, text), _Cause(kind, text))

    for bucket, tokens in names.base.items():
        for kind, text in _readable(tokens):
            cause(kind, text).base.add(bucket)
    for bucket, tokens in names.personal.items():
        for kind, text in _readable(tokens):
            cause(kind, text).personal.add(bucket)
    for index, name in enumerate(names.dense):
        if not np.isnan(features.dense[index]):
            cause("fact", fact(name, float(features.dense[index]), bool(low[index]))).dense.add(index)
    return list(causes.values())


def _readable(tokens: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The first thing a bucket stands for; letters mean nothing to a person."""
    shown = [(kind, text.removeprefix("url ")) for kind, text in tokens if kind in SHOWN_KINDS]
    return shown[:1]


def _without(features: Features, cause: _Cause) -> _Remains:
    dense = features.dense
    if cause.dense:
        dense = dense.copy()
        dense[list(cause.dense)] = np.nan
    return _Remains(
        _dropped(features.base_ids, cause.base), dense, _dropped(features.personal_ids, cause.personal)
    )


def _dropped(ids: Ints, gone: set[int]) -> Ints:
    if not gone:
        return ids
    kept: Ints = ids[~np.isin(ids, list(gone))]
    return kept
