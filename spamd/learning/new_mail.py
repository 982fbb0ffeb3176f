"""Which arrivals are new mail that is ours to judge, and which of it is ripe.

What waits is kept by the store, too, as it may be dragged while nobody runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from spamd.domain import Account, FolderName, Identity, MessageRef, Sighting
from spamd.judgement.corrections import Findings, Place
from spamd.learning.changes import Change
from spamd.learning.places import ref_of

if TYPE_CHECKING:
    from spamd.store.database import Store

DAY = 86400.0
BROUGHT = DAY
"""A mail this much older (seconds) than one that came before it was not delivered but put there."""


class NewMail:
    """Of one account. waiting: in the inbox, and not yet judged."""

    def __init__(self, store: Store, account: Account, *, since: float) -> None:
        """since: when the account was set up."""
        self._store = store
        self._account = account
        self._since = since
        self.waiting = self._load_waiting()
        self._first_seen = {sighting.ref: sighting.seen_at for sighting in self.waiting}

    def oldest(self) -> float:
        """At the first look, only mail that came after this is new."""
        return max(self._since, self._store.wiped_at(self._account.name))

    def among(self, findings: Findings, changes: Sequence[Change], now: float) -> Findings:
        """With as new only what is ours to judge."""
        return self._without_brought(self._without_old(findings, changes, now), changes, now)

    def ripe(
        self, findings: Findings, changes: Sequence[Change], now: float, judge: bool
    ) -> tuple[list[Sighting], float | None]:
        """New mail that has waited as long as the person wants.

        And how long the youngest still has to wait.
        """
        ripe: list[Sighting] = []
        before = self.waiting
        ends = {change.status.folder: change.status.uid_next for change in changes if change.cut}
        # What was met already (the day's bytes were used up), and this look did not come to: it may be dragged meanwhile.
        self.waiting = [one for one in before if one.ref.uid >= ends.get(one.ref.folder, math.inf)]
        missing: list[float] = []
        seen = {sighting.ref: self._first_seen.get(sighting.ref, now) for sighting in findings.new}
        for sighting in findings.new:
            left = seen[sighting.ref] + self._account.wait_seconds - now
            if judge and left <= 0:
                ripe.append(sighting)
                continue
            missing += [left] if judge else []
            self.waiting.append(replace(sighting, seen_at=seen[sighting.ref]))
        self._first_seen = seen
        if self.waiting != before:
            self._save_waiting()
        return ripe, min(missing) if missing else None

    def _without_old(self, findings: Findings, changes: Sequence[Change], now: float) -> Findings:
        """At the first look only mail that came after the account was set up is new.

        Where a folder was made anew (UIDVALIDITY), only what is younger than all that was known in it (or of the same
        second, with a Message-ID), and has no Message-ID that was: a restored mailbox may have lost its dates or its ids.
        """
        limits: dict[FolderName, float] = {}
        known_ids: set[str] = set()
        for change in changes:
            if change.first_time:
                limits[change.status.folder] = self.oldest()
            elif change.reset and change.cursor is not None:
                before = self._store.sightings(
                    self._account.name, change.status.folder, change.cursor.uid_validity
                ).values()
                limits[change.status.folder] = max(
                    [self._since, *(sighting.internal_date for sighting in before)]
                )
                known_ids |= {sighting.message_id for sighting in before if sighting.message_id}
        if not limits:
            return findings
        for change in changes:
            if change.first_time and any(one.internal_date > now + DAY for one in change.arrivals):
                limits[change.status.folder] = math.inf  # our clock is behind: nobody knows what is new
        new = tuple(
            sighting
            for sighting in findings.new
            if (sighting.internal_date, bool(sighting.message_id))
            > (limits.get(sighting.ref.folder, float("-inf")), False)
            and not (sighting.ref.folder in limits and sighting.message_id in known_ids)
        )
        return replace(findings, new=new)

    def _without_brought(self, findings: Findings, changes: Sequence[Change], now: float) -> Findings:
        """Mail in the inbox that is much older than mail which came before it was not delivered: the person (or
        a program of theirs) put it there, from a folder nobody watches. It is not ours to judge.

        MOVE and COPY keep INTERNALDATE; a delivery sets it. Dates beyond our clock prove nothing.
        """
        brought: set[MessageRef] = set()
        for change in changes:
            if change.place is not Place.INBOX or change.cursor is None or change.reset:
                continue
            new = sorted(
                (one for one in findings.new if one.ref.folder == change.status.folder),
                key=lambda one: one.ref.uid,
            )
            if not new:
                continue
            newest = self._store.newest_date(self._account.name, new[0].ref, now)
            for sighting in new:
                if 0 < sighting.internal_date < newest - BROUGHT:
                    brought.add(sighting.ref)
                elif sighting.internal_date <= now:
                    newest = max(newest, sighting.internal_date)
        if not brought:
            return findings
        return replace(findings, new=tuple(one for one in findings.new if one.ref not in brought))

    def _load_waiting(self) -> list[Sighting]:
        try:
            rows = json.loads(self._store.state(f"waiting:{self._account.name}") or "[]")
            return [
                Sighting(
                    self._account.name,
                    ref_of(row["ref"]),
                    Identity(row["identity"]),
                    frozenset(row["keywords"]),
                    float(row["seen_at"]),
                    None,
                    str(row["message_id"]),
                    int(row["size"]),
                    float(row["internal_date"]),
                )
                for row in rows
            ]
        except (ValueError, KeyError, TypeError):
            return []

    def _save_waiting(self) -> None:
        rows = [{**asdict(one), "keywords": sorted(one.keywords)} for one in self.waiting[-1000:]]
        self._store.set_state(f"waiting:{self._account.name}", json.dumps(rows))
