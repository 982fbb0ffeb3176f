"""What goes wrong, told to the person without repeating itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from spamd.domain import Account
from spamd.judgement import brake as brakes

if TYPE_CHECKING:
    from spamd.store.database import Store


class Notices:
    """Events of one account."""

    def __init__(self, store: Store, account: Account, clock: Callable[[], float]) -> None:
        self._store = store
        self._account = account
        self._clock = clock
        self._told: dict[str, float] = {}

    def tell_once(self, key: str, text: str, *, needs_person: bool = False) -> None:
        """An event, but the same one at most once an hour."""
        now = self._clock()
        if now - self._told.get(key, float("-inf")) < brakes.HOUR:
            return
        self._told[key] = now
        self._store.add_event("error", text, account=self._account.name, needs_person=needs_person)
