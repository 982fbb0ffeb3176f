"""How values look on a page: times, shares, hostile text. Pure functions, used as template filters."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from spamd.answers import AccountPhase
from spamd.domain import Label, Mode, Reason, Verdict

SUBJECT_SHOWN = 160  # characters

_MARKS = {
    "\u202a": "LRE",
    "\u202b": "RLE",
    "\u202c": "PDF",
    "\u202d": "LRO",
    "\u202e": "RLO",
    "\u2066": "LRI",
    "\u2067": "RLI",
    "\u2068": "FSI",
    "\u2069": "PDI",
    "\u200b": "ZWSP",
    "\u200c": "ZWNJ",
    "\u200d": "ZWJ",
    "\u200e": "LRM",
    "\u200f": "RLM",
    "\u2060": "WJ",
    "\u00ad": "SHY",
    "\ufeff": "BOM",
}


def one_line(text: str, length: int = SUBJECT_SHOWN) -> str:
    """A subject or sender for a list: one line, no control characters, clipped. Bidi stays in its <bdi>."""
    clean = "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c
        for c in text[: length * 4]
        if c not in _MARKS
    )
    clean = " ".join(clean.split())
    return clean if len(clean) <= length else clean[: length - 1] + "…"


def raw_text(text: str) -> str:
    """Mail text as text, with what cannot be seen made visible: ⟨RLO⟩, ⟨ZWSP⟩, ␛."""
    shown = []
    for char in text:
        if char in _MARKS:
            shown.append(f"⟨{_MARKS[char]}⟩")
        elif char in "\n\t":
            shown.append(char)
        elif char == "\r":
            continue
        elif ord(char) < 32:
            shown.append(chr(0x2400 + ord(char)))
        elif unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co"):
            shown.append(f"⟨U+{ord(char):04X}⟩")
        else:
            shown.append(char)
    return "".join(shown)


def when(at: float | None, now: float) -> str:
    """As people say it: "14:05", "yesterday 09:12", "12 Nov", "12 Nov 2025"."""
    if not at:
        return "never"
    local, today = _local(at), _local(now).date()
    if local.date() == today:
        return f"{local:%H:%M}"
    if local.date() == today - timedelta(days=1):
        return f"yesterday {local:%H:%M}"
    if local.year == today.year:
        return f"{local.day} {local:%b %H:%M}"
    return f"{local.day} {local:%b %Y}"


def full_time(at: float | None) -> str:
    return f"{_local(at):%Y-%m-%d %H:%M:%S}" if at else ""


def ago(at: float | None, now: float) -> str:
    """Roughly how long ago."""
    if not at:
        return "not yet"
    seconds = max(0.0, now - at)
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count != 1 else ''} ago"
    return "just now"


def percent(share: float | None, digits: int = 0) -> str:
    """Never "100 %" or "0 %" for what is only nearly so."""
    if share is None:
        return "–"
    text = f"{share * 100:.{digits}f}"
    if share < 1 and float(text) >= 100:
        return "> 99.9 %"
    if share > 0 and float(text) == 0:
        return "< 0.1 %" if share < 0.001 else f"{share * 100:.1f} %"
    return f"{text} %"


def bound(share: float) -> float:
    """An upper bound with two figures, rounded up: what is at most .0449 % is not "at most .04 %"."""
    if share <= 0:
        return 0.0
    figures = 1 - math.floor(math.log10(share))
    scale: float = 10.0**figures
    return round(math.ceil(round(share * scale, 6)) / scale, figures)


def at_most(share: float) -> str:
    return f"{float(f'{100 * bound(share):.3g}'):g} %"


def one_in(share: float) -> str:
    """0.001 -> "1 in 1,000"."""
    return f"1 in {round(1 / share):,}" if share > 0 else "none"


def number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def verdict_word(verdict: Verdict) -> str:
    return {Verdict.JUNK: "junk", Verdict.UNSURE: "unsure", Verdict.KEEP: "good"}[verdict]


def label_word(label: Label) -> str:
    return "junk" if label is Label.SPAM else "not junk"


def mode_word(mode: Mode | None) -> str:
    return {
        None: "As the evidence allows",
        Mode.LEARNING: "Learning: only watch",
        Mode.SUGGESTING: "Suggesting: list what looks like junk",
        Mode.FILTERING: "Filtering: move junk",
    }[mode]


def phase_word(phase: AccountPhase) -> str:
    return {
        AccountPhase.WATCHING: "watching",
        AccountPhase.READING: "first reading",
        AccountPhase.SIGN_IN: "sign-in needed",
        AccountPhase.BRAKE: "stopped by the brake",
    }.get(phase, phase.value)


def phase_tone(phase: AccountPhase) -> str:
    if phase in (AccountPhase.WATCHING, AccountPhase.READING):
        return "good"
    if phase in (AccountPhase.BRAKE, AccountPhase.SIGN_IN, AccountPhase.ERROR):
        return "bad"
    return "doubt"


def worst_tone(phases: Iterable[AccountPhase]) -> str:
    """Of several accounts."""
    return max(map(phase_tone, phases), key=("good", "doubt", "bad").index, default="doubt")


def strength(contribution: float, largest: float) -> float:
    """Length of a bar, 0..100."""
    return round(100 * min(1.0, abs(contribution) / largest), 1) if largest > 0 else 0.0


def effect(reason: Reason) -> str:
    """What a cause makes of the mail. By a near-copy the person's word decides, whatever else the score is made of."""
    return "goes before the score" if reason.kind == "copy" else odds(reason.contribution)


def odds(contribution: float) -> str:
    """A change of the log odds, as people can read it: "7 times likelier"."""
    factor = math.exp(min(abs(contribution), 20.0))
    if factor < 1.05:
        return "hardly matters"
    text = f"{factor:.1f}" if factor < 10 else f"{factor:,.0f}"
    return f"{text} times {'likelier' if contribution > 0 else 'less likely'} to be junk"


_FIGURES = {
    "contradicted": "new labels that contradict the model",
    "counterweight": "public mails learned beside yours",
    "cpu_seconds": "seconds of the processor",
    "decisions_changed": "verdicts changed by the export",
    "expected_calibration_error": "how far its sureness is off",
    "fresh": "new labels learned",
    "from_scratch": "trained from scratch",
    "held": "labels held out",
    "held_loss_after": "loss on them",
    "held_loss_before": "loss of the model before on them",
    "kept": "mails you kept lately",
    "kept_lift": "by how much it lifts them",
    "learned_ham": "good mails it learned that night",
    "learned_left_out": "labels left out, as they contradict the model",
    "learned_spam": "junk mails it learned that night",
    "level": "shift of all scores",
    "pinned": "public reference mails",
    "pinned_loss_after": "loss on the reference mails",
    "pinned_loss_before": "loss of the model before on them",
    "pinned_loss_shipped": "loss of the shipped model on them",
    "replayed": "older labels learned again",
    "rescued": "mails you took out of Junk",
    "rescued_worse": "of these, thought worse of",
    "said_again": "times your rescues were said again",
    "tflite_difference": "difference made by the export",
}


def figure_word(name: str) -> str:
    """One of the figures that a model's card names."""
    return _FIGURES.get(name, name.replace("_", " ").replace(".", ": "))


def day_start(text: str) -> float | None:
    """A date field's value ("2026-11-29") as local midnight; None for nothing or nonsense."""
    try:
        day = date.fromisoformat(text.strip())
        return datetime(day.year, day.month, day.day).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def day_end(text: str) -> float | None:
    """The end of that day."""
    start = day_start(text)
    return None if start is None else day_start((_local(start).date() + timedelta(days=1)).isoformat())


def moment(text: str) -> float | None:
    """A date-and-time field's value ("2026-11-29T14:00", local), or a date's."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _local(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC).astimezone()
