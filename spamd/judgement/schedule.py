"""When: the nightly window, IDLE renewal, back-off with jitter, the daily round. Times are Unix seconds."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass

from spamd.errors import ClockWrong

MINUTE = 60.0
HOUR = 3600.0
IDLE_LIMIT = 29 * MINUTE
"""RFC 2177: a server may drop an IDLE after 30 minutes; NAT boxes do it earlier."""
EARLIEST = 1_672_531_200.0
"""The beginning of 2023: a clock that shows less was never set. A computer without a battery for it begins in 1970 or 2000."""
FIRST_WAIT = 2.0
LONGEST_WAIT = 300.0
BUSY_WAIT = 60.0
CATCH_UP = 20 * HOUR
"""A night missed (machine asleep) is made up for half a day after this much time has passed since the last one."""
PATIENCE = 72 * HOUR
"""So long is an idle machine waited for. Its load says little where something runs at low priority all day, and Windows
tells none."""


@dataclass(frozen=True, slots=True)
class Due:
    due: bool
    reason: str  # for status: why, or why not


def require_set_clock(now: float, hint: str) -> None:
    """ClockWrong where it was never set. hint: what is not done until it is."""
    if now < EARLIEST:
        day = dt.datetime.fromtimestamp(now, dt.UTC).astimezone()
        raise ClockWrong(f"The clock of this computer shows {day:%Y-%m-%d}.", hint)


def backoff(attempt: int, rng: random.Random, *, busy: bool = False) -> float:
    """Seconds to wait before attempt number `attempt` (1 is the first repetition): exponential, with jitter.

    Half of the wait is fixed, so that a server is never hammered; half is random, so that clients spread out.
    A server that said it is busy is given at least a minute.
    """
    ceiling = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(max(attempt - 1, 0), 16))
    if busy:
        ceiling = max(BUSY_WAIT, ceiling)
    return ceiling / 2 + rng.random() * ceiling / 2


def idle_renewal(rng: random.Random, *, limit: float = IDLE_LIMIT) -> float:
    """Seconds after which an IDLE is begun anew: between 9 minutes and a third of an hour, below `limit`."""
    return min(limit, 9 * MINUTE + rng.random() * 11 * MINUTE)


def clock(text: str) -> dt.time:
    """ "02:00" -> time. ValueError for anything else."""
    hour, _, minute = text.partition(":")
    return dt.time(int(hour), int(minute or "0"))


def in_window(local: dt.datetime, start: str, end: str) -> bool:
    """Is this local time inside the window? A window over midnight (22:00-05:00) works.

    Start = end means always.
    """
    first, last, at = clock(start), clock(end), local.time()
    if first == last:
        return True
    if first < last:
        return first <= at < last
    return at >= first or at < last


def night_is_due(
    now: float,
    *,
    last_night: float | None,
    began: float | None = None,
    new_labels: int,
    min_labels: int,
    start: str,
    end: str,
    on_mains: bool,
    on_battery_allowed: bool,
    idle_seconds: float | None = None,
    idle_needed: float = 10 * MINUTE,
    zone: dt.tzinfo | None = None,
) -> Due:
    """Should the trainer run now? At most once a night; a missed night is made up for when the machine is idle.

    began: when the person first said something; where there was no night yet, nights are missed from then on.
    idle_seconds: how long nobody has used the machine; None where that is not known (then it is not asked for inside the
    window). zone: None is the machine's own time zone.
    """
    if new_labels < min_labels:
        missing = min_labels - new_labels
        return Due(False, f"{missing} more {'label' if missing == 1 else 'labels'} until a night is worth it")
    if not on_mains and not on_battery_allowed:
        return Due(False, "waiting for mains power")
    waited = max(0.0, now - (last_night or began or now))
    local = dt.datetime.fromtimestamp(now, zone) if zone else dt.datetime.fromtimestamp(now).astimezone()
    if in_window(local, start, end):
        if last_night is not None and waited < CATCH_UP / 2:
            return Due(False, "done for tonight")
        if idle_seconds is not None and idle_seconds < idle_needed and waited < PATIENCE:
            return Due(False, "waiting until the machine is idle")
        return Due(True, "in the nightly window")
    idle = waited >= PATIENCE if idle_seconds is None else idle_seconds >= idle_needed
    if waited >= CATCH_UP + 12 * HOUR and idle:
        return Due(True, "making up for a missed night")
    return Due(False, f"waiting for {start}")


def slept(monotonic_gap: float, wall_gap: float, expected: float) -> bool:
    """Did the machine sleep (or its clock jump) between two looks that were `expected` seconds apart?

    Linux's monotonic clock stands still during sleep, the wall clock does not; elsewhere both jump.
    """
    return wall_gap - monotonic_gap > 30.0 or wall_gap > expected + 60.0 or wall_gap < -30.0
