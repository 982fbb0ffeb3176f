"""Senders that are always kept, or always junk."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from spamd.answers import Done
from spamd.control.telling import short
from spamd.domain import Label, ListEntry
from spamd.errors import NotFound, RequestError

if TYPE_CHECKING:
    from spamd.store.database import Store


class Lists:
    """One for all accounts."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    def all(self) -> tuple[ListEntry, ...]:
        return tuple(sorted(self._store.list_entries(), key=lambda entry: (entry.label, entry.value)))

    def add(self, value: str, label: Label, expires_at: float | None = None) -> ListEntry:
        value = list_value(value)
        if expires_at is not None and expires_at <= self._clock():
            raise RequestError("This time is over already.", "Choose one that is to come.")
        return self._store.add_list_entry(ListEntry(value, label, self._clock(), expires_at))

    def remove(self, value: str) -> Done:
        if not self._store.remove_list_entry(value):
            raise NotFound("This is not on a list.", "The Lists page and `spamdctl lists show` show what is.")
        return Done(f"{value} is on no list any more.")


def list_value(text: str) -> str:
    """An address or a domain in the form lists hold it. RequestError for anything else."""
    value = text.strip().strip("<>").lower().removeprefix("@").rstrip(".")
    name, at, domain = value.rpartition("@")
    plain = value.isprintable() and not any(c.isspace() or c in '<>"(),;:\\' for c in value)
    labels = domain.split(".")
    if not (plain and len(value) <= 254 and len(labels) > 1 and all(labels) and (name or not at)):
        raise RequestError(
            f"{short(text)!r} is neither an address nor a domain.", 'Such as "a@b.example" or "b.example".'
        )
    return value
