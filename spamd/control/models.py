"""The models: in use and kept on disk, trained, gone back from."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from spamd.answers import Done, Models
from spamd.control.feed import Feed
from spamd.control.kept import Kept
from spamd.control.telling import short
from spamd.domain import ModelCard, ModelId
from spamd.errors import NotFound, RequestError

if TYPE_CHECKING:
    from spamd.control.engine import Engine
    from spamd.model.bundle import Bundles
    from spamd.model.scoring import Scorer
    from spamd.store.database import Store


class KeptModels:
    """Those of one daemon; the accounts share them. changing: held while one takes another's place."""

    def __init__(
        self,
        store: Store,
        scorer: Scorer,
        bundles: Bundles,
        engine: Engine,
        feed: Feed,
        kept: Kept,
        changing: threading.Lock,
    ) -> None:
        self._store = store
        self._scorer = scorer
        self._bundles = bundles
        self._engine = engine
        self._feed = feed
        self._kept = kept
        self._changing = changing

    def all(self) -> Models:
        cards = sorted(self._bundles.list(), key=lambda card: -card.created_at)
        shipped = next((card.id for card in cards if card.id.startswith("base-")), None)
        current = self._scorer.card
        can_train, hint = training_here()
        waiting = self._store.labels_since(current.known_until)
        return Models(
            current=current,
            cards=tuple(cards),
            shipped=shipped,
            can_train=can_train,
            training_hint=hint,
            progress=next((one for one in self._engine.progress() if one.kind == "train"), None),
            labels_waiting=waiting,
            history=tuple(
                sorted(
                    (e for kind in ("night", "model") for e in self._store.events(20, kind=kind)),
                    key=lambda event: -event.id,
                )
            ),
            unusable=self._bundles.unusable(),
        )

    def train(self, *, from_scratch: bool = False) -> Done:
        can, hint = training_here()
        if not can:
            raise RequestError("Training is not possible here.", hint)
        self._engine.train(from_scratch)
        return Done(
            "Training has begun. A new model is taken only if it does no worse on mail it has not seen."
        )

    def roll_back(self, to: str | None = None) -> ModelCard:
        """To a model kept on disk; None: the one before."""
        if to is not None and to not in {card.id for card in self._bundles.list()}:
            raise NotFound(
                f"There is no model {short(to)!r}.",
                "The Model page and `spamdctl model list` show those that are kept.",
            )
        with self._changing:
            before = self._bundles.current().card.id
            bundle = self._bundles.roll_back(ModelId(to) if to else None)
            self._scorer.reload()
        if to is None and bundle.card.id == before:
            raise RequestError(f"Nothing to go back to: {before} serves already.", "See the list of models.")
        return self._changed(bundle.card, "went back to")

    def reset(self) -> ModelCard:
        """Back to the shipped model. Labels stay, so the next night learns from them afresh."""
        with self._changing:
            bundle = self._bundles.reset()
            self._scorer.reload()
        return self._changed(bundle.card, "was reset to")

    def _changed(self, card: ModelCard, verb: str) -> ModelCard:
        self._engine.rebuild_scores()
        self._store.add_event("model", f"The model {verb} {card.id}, because the person asked.")
        self._kept.after_change()
        self._feed.publish("state", {"model": card.id})
        return card


def training_here() -> tuple[bool, str]:
    """Whether the training extra is installed, without importing it."""
    import importlib.util

    from spamd.trainer import how_to_install

    if importlib.util.find_spec("tensorflow") is not None:
        return True, ""
    return False, f"The training extra is not installed: {how_to_install()}"
