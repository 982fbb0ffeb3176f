"""A scorer that does what the test's mail says: `Score: 0.97` in its header. Learns by the subject.

It stands in for model.scoring.Scorer where a test is about the story and not about the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from spamd.domain import Identity, Label, ModelCard, ModelId, Score
from spamd.errors import Unreadable
from spamd.message.vector import Features, vectorise


@dataclass
class ScriptedScorer:
    card: ModelCard = field(
        default_factory=lambda: ModelCard(
            ModelId("base-0123456789"), None, 0.0, "schema", "0" * 64, "scripted", 1.0, (1.0, 0.0)
        )
    )
    taught: list[tuple[Identity, Label, float]] = field(default_factory=list)
    scored: int = 0
    broken: bool = False
    older: bool = False  # than the newest

    def __post_init__(self) -> None:
        self._copies: dict[bytes, Label] = {}
        self._said: dict[bytes, float] = {}

    def gone_back(self) -> bool:
        return self.older

    def read(self, raw) -> Features:
        features = vectorise(raw)
        if features.message.header("score") == "poison":
            raise Unreadable("The program ended each time it read this mail.")
        return features

    def score(self, vector, *, arrived: bool = True) -> Score:
        self.scored += 1
        message = vector.message
        if self.broken or message.header("score") == "break":
            raise RuntimeError("a mail that breaks the reader")
        probability = float(message.header("score") or 0.01)
        logit = math.log(probability / (1 - probability))
        self._said[vector.fingerprint.tobytes()] = probability
        return Score(probability, logit, logit, self.card.id, self._copies.get(vector.fingerprint.tobytes()))

    def teach(self, vector, identity, label, weight=1.0, at=0.0, *, followed=True) -> None:
        self.taught.append((identity, label, weight))
        if weight >= 0.5 and followed:
            self._copies[vector.fingerprint.tobytes()] = label

    def forget(self, identity) -> bool:
        before = len(self.taught)
        self.taught = [row for row in self.taught if row[0] != identity]
        return len(self.taught) != before

    def rebuild(self, lessons) -> None:
        """From nothing but these, as the real one."""
        self.taught, self._copies = [], {}
        for identity, vector, label, weight, at, followed in lessons:
            self.teach(vector, identity, label, weight, at, followed=followed)

    def apart(self, mails) -> dict[Identity, float]:
        """Nothing is learned here that a mail's own word would have to be taken out of."""
        return {identity: self._said[vector.fingerprint.tobytes()] for identity, vector, _ in mails}
