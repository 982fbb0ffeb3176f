"""The flood brake: when more is moved than a person would believe, stop and ask.

A broken model, a wrong setting or a mail bomb all look the same from here: many moves in a short time.
Nothing is lost by waiting; the mail stays in the inbox. The person says "go on" and counting starts again
from that moment.
"""

from __future__ import annotations

from dataclasses import dataclass

HOUR = 3600.0
DAY = 86400.0
SURGE_FLOOR = 50
"""Moves in an hour below this are never a surge."""
SURGE_FACTOR = 10.0
"""How many times the usual hour counts as a surge."""
HISTORY_NEEDED = 7 * DAY
"""A usual rate is known only after this long (seconds since the first move)."""
HISTORY_WINDOW = 14 * DAY


@dataclass(frozen=True, slots=True)
class Brake:
    """Whether moving is allowed at this moment, and why not."""

    held: bool = False
    since: float = 0.0
    reason: str = ""  # one sentence for the person


FREE = Brake()


def check(
    *,
    last_hour: int,
    last_weeks: int,
    first_move_at: float | None,
    cap_per_hour: int,
    now: float,
    held: Brake = FREE,
) -> Brake:
    """The brake after counting moves.

    last_hour: moves since the later of one hour ago and the person's last "go on". last_weeks: moves in
    HISTORY_WINDOW before that hour. A brake once pulled stays pulled until the person lets it go.
    """
    if held.held:
        return held
    if cap_per_hour > 0 and last_hour >= cap_per_hour:
        return Brake(
            True, now, f"{last_hour} mails were moved within an hour; the limit you set is {cap_per_hour}."
        )
    if first_move_at is not None and now - first_move_at >= HISTORY_NEEDED and last_hour >= SURGE_FLOOR:
        hours = min(now - first_move_at, HISTORY_WINDOW) / HOUR
        usual = last_weeks / hours
        if last_hour > SURGE_FACTOR * usual:
            return Brake(
                True, now, f"{last_hour} mails were moved within an hour; usual is about {usual:.0f}."
            )
    return FREE
