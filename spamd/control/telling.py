"""How what is known is told: probabilities by the account's line, labels in words, long lists a page at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from spamd.domain import AccountName, Evidence, Judgement, Label, LabelSource
from spamd.judgement import calibration
from spamd.judgement.calibration import told

if TYPE_CHECKING:
    from spamd.control.engine import Engine

MAX_PAGE = 200
YEAR = 365 * 86400.0

SOURCE_WORDS: dict[LabelSource, str] = {
    LabelSource.DRAG: "you moved it",
    LabelSource.KEYWORD: "marked in a mail program",
    LabelSource.HINT: "a keyword, perhaps of another filter",
    LabelSource.ADDON: "the Thunderbird button",
    LabelSource.REVIEW: "your answer in Review",
    LabelSource.UNDO: "you put it back",
    LabelSource.TEACH: "handed over as a mail",
    LabelSource.FOLDER: "found in a folder at the first reading",
    LabelSource.IMPORT: "imported",
    LabelSource.IMPLICIT: "kept or answered",
}


def paused_words(until: float | None, now: float) -> str:
    """ "Paused", or "Paused until 14:05" by this computer's clock."""
    if until is None or not until - now <= 2 * YEAR:  # no pause is so long: the clock was wrong
        return "Paused"
    then, today = (datetime.fromtimestamp(at, UTC).astimezone() for at in (until, now))
    return (
        f"Paused until {then:%H:%M}"
        if then.date() == today.date()
        else f"Paused until {then.day} {then:%b %H:%M}"
    )


class Telling:
    """By the evidence of now. Thresholds are asked of the model's own probabilities: only what leaves `control` is told."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def evidence(self) -> dict[AccountName, Evidence]:
        """As it holds: thresholds are the model's own probabilities."""
        return {
            state.name: state.evidence
            for state in self._engine.account_states()
            if state.evidence is not None
        }

    def mails(self, mails: Iterable[Judgement]) -> tuple[Judgement, ...]:
        """With probabilities as they are told. For what leaves here: thresholds are asked of the model's own."""
        lines = {account: known.told for account, known in self.evidence().items()}
        return tuple(
            replace(one, score=replace(one.score, probability=told(one.score.probability, line)))
            if (line := lines.get(one.account, calibration.AS_IT_IS)) != calibration.AS_IT_IS
            else one
            for one in mails
        )


def evidence_told(evidence: Evidence | None) -> Evidence | None:
    """Its thresholds as they are told, by the line by which mail is told; nothing is left to do by that line then."""
    if evidence is None:
        return None
    junk, line = evidence.junk_threshold, evidence.told
    return replace(
        evidence,
        junk_threshold=None if junk is None else told(junk, line),
        unsure_threshold=told(evidence.unsure_threshold, line),
        told=calibration.AS_IT_IS,
    )


def page(limit: int) -> int:
    return max(1, min(limit, MAX_PAGE))


def within(at: float, since: float | None, until: float | None) -> bool:
    return (since is None or at >= since) and (until is None or at < until)


def midnight(now: float) -> float:
    """The last local midnight."""
    local = datetime.fromtimestamp(now, UTC).astimezone()
    return local.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


def short(text: str) -> str:
    """As much of what was typed as an error may repeat."""
    return text if len(text) <= 60 else text[:59] + "…"


def label_word(label: Label) -> str:
    return "junk" if label is Label.SPAM else "good mail"


def source_word(source: LabelSource | str) -> str:
    return SOURCE_WORDS.get(LabelSource(source), str(source))
