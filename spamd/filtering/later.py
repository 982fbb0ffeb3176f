"""Mail that is decided on again: a move was refused, the brake held it back, another daemon's lock lay on it too long."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from spamd.domain import (
    INBOX,
    TRY_AGAIN,
    Account,
    FetchedMail,
    Identity,
    Judgement,
    MessageRef,
    MoveRecord,
    MoveState,
    Sighting,
)
from spamd.errors import ConnectionLost, MailboxError, ServerBusy, SignInError
from spamd.filtering.brake import MovingBrake
from spamd.filtering.moves import RETRY_FIRST, Moves, stayed, why_it_stays
from spamd.judgement.corrections import locked
from spamd.source import MailSession, Mover

if TYPE_CHECKING:
    from spamd.store.database import Store

log = logging.getLogger(__name__)

RETRY_MOST = 3600.0
RETRY_HELD = 600.0
"""As long as nothing may be moved, or there is no Junk."""
RETRY_FOR = 86400.0
LOCK_LIFE = 86400.0
"""A lock of another daemon that is seen on a mail for so long (seconds) is nobody's: a move takes less than one."""


@dataclass(frozen=True, slots=True)
class _Due:
    """A mail that was refused, and is to be tried again now."""

    judgement: Judgement
    left: tuple[MessageRef, ...]  # where the refused moves left it
    asked: bool  # by the person


class Later:
    """Of one account. What is due is kept by the journal, and when in `Moves`."""

    def __init__(
        self,
        session: MailSession,
        mover: Mover,
        store: Store,
        account: Account,
        moves: Moves,
        brake: MovingBrake,
        *,
        recover: Callable[[], object],
        decide: Callable[[FetchedMail, Sighting], list[Judgement]],
        idle: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        """recover: ends the moves that an odd answer left open. decide: reads, decides and carries out, as for a new mail.
        idle: is nothing moved now that the person has not asked for?
        """
        self._session = session
        self._mover = mover
        self._store = store
        self._account = account
        self._moves = moves
        self._brake = brake
        self._recover = recover
        self._decide = decide
        self._idle = idle
        self._clock = clock

    def again(self) -> list[Judgement]:
        """Moves that the server refused, or that nobody made (TRY_AGAIN), and that are due to be tried again; cheap where
        none is. What the person asked for is tried also while we move nothing by ourselves.
        """
        now, moves = self._clock(), self._moves
        if not now < moves.open_until <= now + RETRY_MOST and not math.isinf(moves.open_until):
            moves.open_until = math.inf
            self._recover()
            if self._store.open_moves(self._account.name):
                moves.open_until = now + RETRY_HELD
        if math.isinf(moves.retry_at) or now < moves.retry_at <= now + RETRY_MOST:
            return []
        refused: dict[Identity, list[MoveRecord]] = {}
        for record in self._store.left_behind(self._account.name, now - RETRY_FOR, TRY_AGAIN):
            refused.setdefault(record.identity, []).append(record)
        done: list[Judgement] = []
        for one in self._due(refused, now):
            tried, goes_on = self._try(one)
            done += tried
            if not goes_on:  # what refuses this one refuses the others
                moves.retry_at = now + RETRY_FIRST
                break
        return done

    def retry_in(self) -> float | None:
        """Seconds until `again` has something to do; None where nothing was refused."""
        at = min(self._moves.retry_at, self._moves.open_until)
        return None if math.isinf(at) else max(0.0, at - self._clock())

    def end_old_locks(self) -> list[Judgement]:
        """A daemon that never comes back holds no mail for ever: what lies under its lock for a day is decided anew."""
        name, now = self._account.name, self._clock()
        key = f"locks:{name}"
        try:
            under_lock = self._mover.locked_by_others(INBOX)
            before = json.loads(self._store.state(key) or "{}")
            seen = {f"{ref.uid_validity}.{ref.uid}": ref for ref in under_lock}
            since = {place: min(before.get(place, now), now) for place in seen}
            old = [ref for place, ref in seen.items() if now - since[place] >= LOCK_LIFE]
            if since != before:
                self._store.set_state(key, json.dumps(since))
            self._mover.break_locks(old)
        except (ConnectionLost, ServerBusy, SignInError):
            raise
        except MailboxError as error:
            log.info("%s: old locks were not looked for: %s", name, type(error).__name__)
            return []
        known = self._store.sightings(name, INBOX) if old else {}
        done: list[Judgement] = []
        for sighting in (known[ref.uid] for ref in old if ref.uid in known):
            judgement = self._store.judgement_of(name, sighting.identity)
            if judgement is None or judgement.label is not None or judgement.moved:
                continue
            if judgement.decision.move or judgement.decision.reason == "dealt-with":
                done += self._where_it_lies(judgement)
        return done

    def go_on(self) -> list[Judgement]:
        """The brake was released: what it held back is decided again."""
        now = self._clock()
        pulled = self._brake.pulled_at()
        since = now - RETRY_FOR if pulled is None or pulled > now else min(pulled, now - RETRY_FOR)
        held: list[Judgement] = []
        before: int | None = None
        while page := self._store.judgements(
            account=self._account.name, since=since, before_id=before, limit=500
        ):
            held += [one for one in page if one.decision.reason == "brake"]
            before = page[-1].id
        done: list[Judgement] = []
        for judgement in reversed(held):
            if judgement.label is None and not judgement.moved:
                done += self._where_it_lies(judgement)
        return done

    def _due(self, refused: Mapping[Identity, Sequence[MoveRecord]], now: float) -> list[_Due]:
        """Those whose time has come; `retry_at` is when that of the next one does."""
        moves, due = self._moves, []
        moves.retry_at = math.inf
        for identity, rows in refused.items():
            judgement = self._store.judgement_of(self._account.name, identity)
            if judgement is None or judgement.moved:
                continue
            asked = moves.asked_for(rows[0])
            if not asked and not judgement.decision.move:
                continue
            pause = min(RETRY_MOST, RETRY_FIRST * 4 ** min(len(rows) - 1, 5))
            # What a clock that was ahead has written says nothing.
            at = max((row.changed_at for row in rows if row.changed_at <= now), default=-math.inf) + pause
            if now < at:
                moves.retry_at = min(moves.retry_at, at)
            else:
                due.append(_Due(judgement, tuple(row.source for row in rows), asked))
        if not due:
            return due
        idle, nowhere = self._idle(), moves.junk_folder() is None
        possible = [one for one in due if not nowhere and (one.asked or not idle)]
        if len(possible) < len(due):  # decided now, they would stay for good
            moves.retry_at = min(moves.retry_at, now + RETRY_HELD)
        return possible

    def _try(self, due: _Due) -> tuple[list[Judgement], bool]:
        """What came of it; False where it was refused again."""
        self._mover.let_go(due.left)
        if not due.asked:
            late = self._where_it_lies(due.judgement, due.left)
            return late, not any(one.decision.move and not one.moved for one in late)
        outcome = self._moves.file_junk(due.judgement, due.left)
        if outcome is None:
            return [], True
        moved = outcome.state is MoveState.DONE
        return [replace(due.judgement, moved=moved)], moved

    def _where_it_lies(self, judgement: Judgement, left: Collection[MessageRef] = ()) -> list[Judgement]:
        """Decide again about a mail that still lies in the inbox, with its old score.

        left: only if it has not left this place since (but for folders that count anew): else somebody has moved it.
        """
        for sighting in self._store.sighting_of(self._account.name, judgement.identity):
            ref = sighting.ref
            if sighting.gone_at is not None or ref.folder != judgement.folder:
                continue
            if left and not stayed(ref, left):
                continue
            for mail in self._session.fetch([sighting.ref]):
                if locked(mail.arrival.flags):
                    self._moves.retry_at = min(self._moves.retry_at, self._clock() + RETRY_HELD)
                if why_it_stays(mail.arrival.flags) is not None:
                    return []
                return self._decide(mail, sighting)
        return []
