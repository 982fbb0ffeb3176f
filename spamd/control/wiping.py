"""Forgetting for good what was learned, and what is kept of mail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spamd import nightly

if TYPE_CHECKING:
    from spamd.control.engine import Engine
    from spamd.model.bundle import Bundles
    from spamd.model.scoring import Scorer
    from spamd.store.database import Store


class Wiping:
    """From store, models on disk and the running model."""

    def __init__(self, store: Store, scorer: Scorer, bundles: Bundles, engine: Engine) -> None:
        self._store = store
        self._scorer = scorer
        self._bundles = bundles
        self._engine = engine

    def wipe(self, what: str) -> None:
        try:
            nightly.wipe(self._store, self._bundles, what)
            if what == "all":
                self._scorer.forget_unreadable()
        finally:  # removed it is in any case, though another program may still read the old pages
            if what != "display":
                self._scorer.reload()
                self._engine.rebuild_scores()
