"""The brake of one account, as the journal and the person have it (judgement/brake.py says when it is pulled)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from spamd.answers import Publish
from spamd.domain import Account
from spamd.judgement import brake as brakes

if TYPE_CHECKING:
    from spamd.store.database import Store


class MovingBrake:
    """Held or not; kept by the store."""

    def __init__(self, store: Store, account: Account, publish: Publish, clock: Callable[[], float]) -> None:
        self._store = store
        self._account = account
        self._publish = publish
        self._clock = clock

    def check(self, begun: int = 0) -> brakes.Brake:
        """Pulled or not, counted anew from the journal; pulling it is written down and told.

        begun: moves decided on that are not in the journal yet.
        """
        name, now = self._account.name, self._clock()
        state = self._state()
        if state.get("held"):
            return brakes.Brake(True, _number(state.get("since")) or 0.0, str(state.get("reason", "")))
        released = _number(state.get("released")) or 0.0
        if released > now + brakes.HOUR:
            released = 0.0  # the clock was ahead when the person let it go
        hour_ago = max(now - brakes.HOUR, released)
        last_hour = self._store.moves_since(name, hour_ago) + begun
        if last_hour < min(self._account.max_moves_per_hour or brakes.SURGE_FLOOR, brakes.SURGE_FLOOR):
            return brakes.FREE
        weeks = self._store.moves_since(name, now - brakes.HISTORY_WINDOW) + begun - last_hour
        first = _number(state.get("first"))
        if first is None:
            oldest = self._store.moves(name, limit=100_000)
            first = oldest[-1].created_at if oldest else None
        pulled = brakes.check(
            last_hour=last_hour,
            last_weeks=max(0, weeks),
            first_move_at=first,
            cap_per_hour=self._account.max_moves_per_hour,
            now=now,
        )
        if pulled.held:
            self._save({"held": True, "since": now, "reason": pulled.reason, "first": first})
            self._store.add_event(
                "brake",
                f"Moving has stopped: {pulled.reason} Look at what it found, then let it go on.",
                account=name,
                needs_person=True,
            )
            self._publish("state", {"account": name, "brake": True})
        return pulled

    def release(self) -> None:
        """The person looked and said: go on."""
        state = self._state()
        if state.get("held"):
            self._save(
                {
                    "held": False,
                    "released": self._clock(),
                    "pulled": state.get("since"),
                    "first": state.get("first"),
                }
            )

    def pulled_at(self) -> float | None:
        """When it was pulled last; None: not known."""
        return _number(self._state().get("pulled"))

    def _state(self) -> dict[str, object]:
        try:
            state = json.loads(self._store.state(f"brake:{self._account.name}") or "{}")
        except ValueError:
            return {}
        return state if isinstance(state, dict) else {}

    def _save(self, state: Mapping[str, object]) -> None:
        self._store.set_state(f"brake:{self._account.name}", json.dumps(state))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
