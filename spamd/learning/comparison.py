"""What lies where now against where it lay: through `judgement.corrections`, with what the store and the journal know.

Between two looks it keeps copies that may become moves, and departures that were explained already.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from spamd.domain import (
    INBOX,
    Account,
    FolderName,
    FolderStatus,
    Identity,
    MessageRef,
    MoveState,
    Sighting,
    Uid,
    UidValidity,
)
from spamd.errors import FolderMissing, FolderRefused
from spamd.judgement import corrections
from spamd.judgement.corrections import Findings, Pending, Place
from spamd.learning.changes import Seen
from spamd.learning.places import Places, ref_of, words_of
from spamd.source import MailSession

if TYPE_CHECKING:
    from spamd.store.database import Store


class Comparison:
    """Of one account. flood: more corrections than this in one look are asked about."""

    def __init__(
        self, session: MailSession, store: Store, account: Account, places: Places, *, flood: int
    ) -> None:
        self._session = session
        self._store = store
        self._account = account
        self._places = places
        self._flood = flood
        self._consumed: dict[MessageRef, float] = {}
        self._pending = self._load_pending()

    def is_settled(self, statuses: Mapping[FolderName, FolderStatus]) -> bool:
        """Where no folder changed: is there nothing to compare? A copy whose original lies in a folder that did not change is
        still one: not asked about every minute for a week.
        """
        return all(wait.old.folder in statuses and not wait.unsigned for wait in self._pending)

    def waits_for_a_sign(self) -> bool:
        return any(wait.unsigned for wait in self._pending)

    def compare(self, seen: Seen, waiting: Sequence[Sighting]) -> Findings:
        """waiting: new mail that is not judged yet can be dragged, too."""
        name = self._account.name
        identities = dict.fromkeys(
            [sighting.identity for sighting in seen.arrivals] + [wait.identity for wait in self._pending]
        )
        known = self._store.sightings_of(name, identities)
        outside = {
            one.identity for one in seen.arrivals if self._places.of(one.ref.folder) is not Place.INBOX
        }
        outside |= {wait.identity for wait in self._pending}
        for sighting in waiting:
            if sighting.identity in outside:
                known.setdefault(sighting.identity, []).append(sighting)
        here = {sighting.ref for sighting in seen.arrivals}
        asked = {
            sighting.ref
            for earlier in known.values()
            for sighting in earlier
            if sighting.gone_at is None and sighting.ref not in here
        }
        for wait in self._pending:
            asked |= {wait.old, wait.new}
        own = self._store.moves_of(name, identities)
        self._consumed.update((record.source, seen.at) for record in own if record.state is MoveState.DONE)
        own += [row for row in self._store.open_moves(name) if row not in own]
        found, renewed = self._places.alive(asked, seen.statuses)
        alive = set(found)
        findings = corrections.compare(
            seen.arrivals,
            places=self._places.all(),
            known=known,
            alive=alive | here,
            own=own,
            pending=self._pending,
            reset=renewed
            | {change.status.folder for change in seen.changes if change.reset or change.first_time},
            consumed=set(self._consumed),
            keywords=seen.keywords,
            statuses=seen.statuses,
            emptied=seen.departures.emptied,
            crowded=self._crowded(seen.arrivals, known),
            flags=found,
            shared=self._store.state(f"shared:{name}") is not None,
            now=seen.at,
            flood=self._flood,
        )
        self._note_others(findings, seen.at)
        return findings

    def write_down(self, seen: Seen, findings: Findings) -> None:
        """Sightings as they are now; new mail's are written with its judgement."""
        name = self._account.name
        new = {sighting.ref for sighting in findings.new}
        with self._store.transaction():
            # Killed in between, all mail of a folder made anew would be new mail.
            for change in seen.changes:
                if change.reset:
                    self._store.forget_folder(name, change.status.folder)
            # Also what left Junk for a folder that is not watched: a later drag comes from there.
            self._store.add_sightings(sighting for sighting in seen.arrivals if sighting.ref not in new)
        for hint in seen.keywords:
            self._store.set_keywords(name, hint.sighting.ref, words_of(hint.now))
        gone: defaultdict[tuple[FolderName, UidValidity], list[Uid]] = defaultdict(list)
        for ref in seen.departures.refs:
            gone[ref.folder, ref.uid_validity].append(ref.uid)
        for ref in findings.departed:
            gone[ref.folder, ref.uid_validity].append(ref.uid)
            self._consumed[ref] = seen.at
        for (folder, validity), uids in gone.items():
            self._store.mark_gone(name, folder, validity, uids, seen.at)
        limit = seen.at - 2 * corrections.GONE_LATELY
        self._consumed = {ref: at for ref, at in self._consumed.items() if at > limit}
        if tuple(self._pending) != findings.pending:
            self._pending = findings.pending
            self._save_pending()

    def _crowded(
        self, arrivals: Sequence[Sighting], known: Mapping[Identity, Sequence[Sighting]]
    ) -> set[FolderName]:
        """The inbox, if mail that we knew there lies in Junk without a sign, and the sign may have been refused."""
        if not self._session.abilities.keywords:
            return set()
        dragged = any(
            self._places.of(one.ref.folder) in (Place.JUNK, Place.UNSURE)
            and not corrections.held_or_signed(one.keywords)
            and any(earlier.ref.folder == INBOX for earlier in known.get(one.identity, ()))
            for one in arrivals
        )
        if not dragged and not any(wait.old.folder == INBOX for wait in self._pending):
            return set()
        try:
            return set() if self._session.room_for_keywords(INBOX) else {INBOX}
        except (FolderMissing, FolderRefused):
            return set()

    def _note_others(self, findings: Findings, now: float) -> None:
        """Other daemons are at work here; and what cannot be told because of that, once."""
        name = self._account.name
        if findings.others and self._store.state(f"shared:{name}") is None:
            self._store.set_state(f"shared:{name}", str(now))
        if findings.unclear and self._store.state(f"unclear:{name}") is None:
            self._store.set_state(f"unclear:{name}", str(now))
            self._store.add_event(
                "account",
                "Nothing is learned from mail that goes to Junk: your inbox has no room for further keywords, so your moves "
                "cannot be told from those of your other computer. Remove labels that you do not use in a mail program.",
                account=name,
            )

    def _load_pending(self) -> tuple[Pending, ...]:
        try:
            rows = json.loads(self._store.state(f"pending:{self._account.name}") or "[]")
            return tuple(
                Pending(
                    Identity(row["identity"]),
                    ref_of(row["old"]),
                    ref_of(row["new"]),
                    float(row["since"]),
                    bool(row.get("unsigned")),
                )
                for row in rows
            )
        except (ValueError, KeyError, TypeError):
            return ()

    def _save_pending(self) -> None:
        rows = [asdict(wait) for wait in self._pending[-1000:]]
        self._store.set_state(f"pending:{self._account.name}", json.dumps(rows))
