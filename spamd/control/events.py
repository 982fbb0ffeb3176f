"""The log for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spamd.answers import Done
from spamd.control.feed import Feed
from spamd.control.telling import MAX_PAGE, page, within
from spamd.domain import EventRecord
from spamd.errors import NotFound

if TYPE_CHECKING:
    from spamd.store.database import Store


class Events:
    """Of all accounts."""

    def __init__(self, store: Store, feed: Feed) -> None:
        self._store = store
        self._feed = feed

    def newest(
        self,
        *,
        limit: int = 100,
        before_id: int | None = None,
        needs_person: bool | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> tuple[EventRecord, ...]:
        """Newest first."""
        wanted, found = page(limit), list[EventRecord]()
        while len(found) < wanted:
            batch = self._store.events(MAX_PAGE, before_id, needs_person)
            found += [event for event in batch if within(event.at, since, until)]
            if len(batch) < MAX_PAGE or (since is not None and batch[-1].at < since):
                break
            before_id = batch[-1].id
        return tuple(found[:wanted])

    def settle(self, event_id: int) -> Done:
        """The person has seen to it."""
        if not self._store.settle_event(event_id):
            raise NotFound("There is nothing to settle.")
        self._feed.publish("state", {"event": event_id})
        return Done("Settled.")
