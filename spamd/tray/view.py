"""What the tray shows: pure. A snapshot of the daemon goes in; icon, tooltip and menu come out."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from spamd.answers import AccountView, Progress, Status
from spamd.domain import Judgement, Label, Mode

WAITING_PHASES = frozenset({"brake", "sign-in", "error"})
"""In these an account does nothing until the person does something."""

SHOWN_MOVES = 8
TEXT_LIMIT = 60  # characters of somebody else's text in a menu


class IconState(enum.StrEnum):
    FILTERING = "filtering"
    LEARNING = "learning"  # watches only
    PAUSED = "paused"
    ATTENTION = "attention"  # needs the person
    AWAY = "away"  # no daemon


@dataclass(frozen=True, slots=True)
class Face:
    """How the icon looks. progress: of a training, 0..1; None: none under way."""

    state: IconState
    progress: float | None = None
    waiting: bool = False  # doubtful mail waits for review


class Deed(enum.StrEnum):
    OPEN = "open"  # value: page
    NOT_JUNK = "not-junk"  # value: judgement id
    PAUSE = "pause"  # value: seconds
    PAUSE_UNTIL = "pause-until"  # value: Unix time
    RESUME = "resume"
    TRAIN = "train"
    GO_ON = "go-on"  # value: account
    START = "start"  # the daemon
    QUIT = "quit"


@dataclass(frozen=True, slots=True)
class Action:
    deed: Deed
    value: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the menu. No action and no children: text only. text "": a separator."""

    text: str = ""
    action: Action | None = None
    children: tuple[Item, ...] = ()
    default: bool = False


SEPARATOR = Item()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of the daemon at one moment. status None: it does not run, or cannot be understood."""

    status: Status | None = None
    moved: tuple[Judgement, ...] = ()  # newest first
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class View:
    face: Face
    title: str  # tooltip
    menu: tuple[Item, ...]


def view(snapshot: Snapshot, now: float) -> View:
    """now: Unix time, for clock times and "until tomorrow"."""
    status = snapshot.status
    quit_item = Item("Quit the icon (filtering goes on)", Action(Deed.QUIT))
    if status is None:
        trouble = snapshot.trouble or "spamd is not running."
        menu = (
            Item(trouble),
            Item("Start filtering", Action(Deed.START), default=True),
            SEPARATOR,
            Item("Quit the icon", Action(Deed.QUIT)),
        )
        return View(Face(IconState.AWAY), f"spamd: {trouble}", menu)
    training = _training(status.progress)
    face = Face(_state(status), _fraction(training), status.review_waiting > 0)
    lines = [Item(status.headline or "spamd"), Item(today(status))]
    if snapshot.trouble:
        lines.append(Item(snapshot.trouble))
    lines += [SEPARATOR, Item("Open spamd", Action(Deed.OPEN), default=True)]
    lines += [Item(shorten(event.text), Action(Deed.OPEN, "log")) for event in status.needs_person[:3]]
    if status.review_waiting:
        lines.append(Item(f"Review {doubtful(status.review_waiting)}", Action(Deed.OPEN, "review")))
    if snapshot.moved:
        moves = tuple(_moved(mail, now) for mail in snapshot.moved[:SHOWN_MOVES])
        lines.append(Item("Last moved to Junk", children=moves))
    if status.accounts:
        accounts = tuple(item for account in status.accounts for item in _account(account))
        lines.append(Item("Accounts", children=accounts))
    lines += [SEPARATOR, *_pause(status, now), _train(training), SEPARATOR, quit_item]
    return View(face, shorten(f"spamd: {status.headline}. {today(status)}", 120), tuple(lines))


def _state(status: Status) -> IconState:
    if status.needs_person or any(one.state.phase.value in WAITING_PHASES for one in status.accounts):
        return IconState.ATTENTION
    if status.paused:
        return IconState.PAUSED
    if any(one.state.mode is Mode.FILTERING for one in status.accounts):
        return IconState.FILTERING
    return IconState.LEARNING


def _training(progress: Iterable[Progress]) -> Progress | None:
    return next((one for one in progress if one.kind == "train" and not one.finished), None)


def _fraction(training: Progress | None) -> float | None:
    if training is None:
        return None
    return min(1.0, max(0.0, training.done / training.total)) if training.total > 0 else 0.0


def today(status: Status) -> str:
    judged = sum(status.today.get(name, 0) for name in ("keep", "unsure", "junk"))
    parts = [f"{judged} judged", f"{status.today.get('moved', 0)} moved"]
    if status.today.get("corrected"):
        parts.append(f"{status.today['corrected']} corrected by you")
    return f"Today: {', '.join(parts)}"


def doubtful(count: int) -> str:
    if count >= 100:
        return "100 or more doubtful mails"
    return "1 doubtful mail" if count == 1 else f"{count} doubtful mails"


def _moved(mail: Judgement, now: float) -> Item:
    who = mail.sender or mail.sender_domain or "somebody"
    what = mail.subject or "(no subject kept)"
    text = f"{clock(mail.at, now)}  {shorten(who, 26)}: {shorten(what, 40)}"
    if mail.label is Label.HAM:
        answer = Item("Taken back: good mail")
    else:
        answer = Item("That was not junk", Action(Deed.NOT_JUNK, str(mail.id)))
    return Item(text, children=(answer, Item("Why?", Action(Deed.OPEN, f"why/{mail.id}"))))


def _account(account: AccountView) -> list[Item]:
    state = account.state
    phase = state.phase.value
    words = {"watching": state.mode.value, "brake": "stopped, waits for you", "sign-in": "sign in again"}
    line = Item(shorten(f"{account.account.name}: {words.get(phase, phase)}"), Action(Deed.OPEN, "accounts"))
    if phase == "brake":
        return [line, Item("    I have looked: go on", Action(Deed.GO_ON, account.account.name))]
    return [line]


def _pause(status: Status, now: float) -> list[Item]:
    if status.paused:
        return [Item("Resume filtering", Action(Deed.RESUME))]
    return [
        Item("Pause for an hour", Action(Deed.PAUSE, "3600")),
        Item("Pause until tomorrow, 6:00", Action(Deed.PAUSE_UNTIL, str(tomorrow(now)))),
    ]


def _train(training: Progress | None) -> Item:
    if training is None:
        return Item("Train now", Action(Deed.TRAIN))
    fraction = _fraction(training) or 0.0
    return Item(f"Training, {fraction * 100:.0f} %")


def tomorrow(now: float) -> float:
    """Six in the morning of the next day, by the person's clock."""
    local = datetime.fromtimestamp(now, UTC).astimezone()
    day = local.date() + timedelta(days=1)
    return datetime(day.year, day.month, day.day, 6).astimezone().timestamp()


def clock(at: float, now: float) -> str:
    then, today_ = datetime.fromtimestamp(at, UTC).astimezone(), datetime.fromtimestamp(now, UTC).astimezone()
    return then.strftime("%H:%M") if then.date() == today_.date() else then.strftime("%d.%m. %H:%M")


def shorten(text: str, limit: int = TEXT_LIMIT) -> str:
    """One line of printable text: it may come from a stranger's mail."""
    clean = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"
