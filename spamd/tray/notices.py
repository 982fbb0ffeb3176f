"""When to interrupt the person: once a day for doubtful mail, and for what only they can settle. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from spamd.answers import Status
from spamd.tray.view import doubtful, shorten

DIGEST_EVERY = 20 * 3600.0  # seconds: "once a day", also for somebody who is a little earlier today


@dataclass(frozen=True, slots=True)
class Memory:
    """What was told already; kept between runs."""

    event_id: int = 0  # newest needs-person event told
    digest_at: float = 0.0
    digest_count: int = 0  # how many waited then


@dataclass(frozen=True, slots=True)
class Notice:
    title: str
    text: str


def due(
    status: Status, memory: Memory, *, wanted: bool, quiet_hours: str, now: float
) -> tuple[list[Notice], Memory]:
    """The notices to show now, and what to remember. In quiet hours nothing is told and nothing forgotten."""
    if not wanted or is_quiet(quiet_hours, now):
        return [], memory
    notices = []
    news = [event for event in status.needs_person if event.id > memory.event_id]
    if news:
        text = shorten(news[0].text, 180) if len(news) == 1 else f"{len(news)} things wait for you."
        notices.append(Notice("spamd needs you", text))
        memory = replace(memory, event_id=max(event.id for event in news))
    waiting = status.review_waiting
    if waiting < memory.digest_count:  # answered meanwhile: what comes then is new
        memory = replace(memory, digest_count=waiting)
    if waiting > memory.digest_count and now - memory.digest_at >= DIGEST_EVERY:
        notices.append(Notice("Junk or not?", f"{doubtful(waiting).capitalize()} for you to look at."))
        memory = replace(memory, digest_at=now, digest_count=waiting)
    return notices, memory


def is_quiet(quiet_hours: str, now: float) -> bool:
    """quiet_hours: "22:00-07:00" by the person's clock, or ""."""
    start, dash, end = quiet_hours.partition("-")
    if not dash:
        return False
    time = datetime.fromtimestamp(now, UTC).astimezone().strftime("%H:%M")
    start, end = start.strip(), end.strip()
    return start <= time < end if start <= end else time >= start or time < end
