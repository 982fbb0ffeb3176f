"""What the person wants done to mails, kept until it is done: also over a restart."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spamd.domain import AccountName

if TYPE_CHECKING:
    from spamd.store.database import Store


@dataclass(slots=True)
class Order:
    """One thing, to one mail."""

    kind: str  # "put-back", "file-junk" or "go-on"
    number: int  # of the journal row, or of the judgement; 0 where there is none
    tries: int = 0


class Orders:
    """Of one account, oldest first. Thread-safe."""

    def __init__(self, store: Store, account: AccountName) -> None:
        self._store = store
        self._key = f"orders:{account}"
        self._lock = threading.Lock()
        self._waiting = deque(self._load())

    def add(self, kind: str, numbers: Iterable[int]) -> None:
        """Those that do not wait already. StoreError: none of them is done later, either, as whoever asks is told so."""
        with self._lock:
            known = {(order.kind, order.number) for order in self._waiting}
            fresh = [Order(kind, number) for number in dict.fromkeys(numbers) if (kind, number) not in known]
            self._save([*self._waiting, *fresh])
            self._waiting.extend(fresh)

    def first(self) -> Order | None:
        with self._lock:
            return self._waiting[0] if self._waiting else None

    def drop(self, order: Order) -> None:
        """It is done, or cannot be."""
        with self._lock:
            if self._waiting and self._waiting[0] is order:
                self._waiting.popleft()
            self._save(self._waiting)

    def _load(self) -> list[Order]:
        try:
            return [
                Order(str(kind), int(number))
                for kind, number in json.loads(self._store.state(self._key) or "[]")
            ]
        except (ValueError, TypeError):
            return []

    def _save(self, orders: Iterable[Order]) -> None:
        self._store.set_state(self._key, json.dumps([[order.kind, order.number] for order in orders]))
