"""How answers are shown: JSON for programs, tables and short sentences for people."""

from __future__ import annotations

import datetime
import functools
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import click

from spamd import wire
from spamd.errors import RequestError

if TYPE_CHECKING:
    from rich.console import Console


class Told(Protocol):
    """An answer with a sentence for the person."""

    @property
    def text(self) -> str: ...


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only show what would happen.")


def print_json(value: object) -> None:
    click.echo(json.dumps(wire.to_json(value), ensure_ascii=False, indent=2))


@functools.cache
def console() -> Console:
    from rich.console import Console

    # In a pipe: one row, one line, whatever the width.
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A table on a terminal; tab-separated lines in a pipe (no boxes to cut away)."""
    lines = [[plain(cell) for cell in row] for row in rows]
    if not lines:
        click.echo(empty)
        return
    if not sys.stdout.isatty():
        click.echo("\t".join(columns))
        for line in lines:
            click.echo("\t".join(line))
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    view = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        view.add_column(column, overflow="fold" if column in ("subject", "text", "what") else "ellipsis")
    for line in lines:
        view.add_row(*[Text(cell) for cell in line])
    console().print(view)


def plain(value: object) -> str:
    """Text that cannot steer a terminal: mail decides what subjects and senders hold."""
    text = "" if value is None else str(value)
    return "".join(one if one.isprintable() else " " for one in text)


def when(at: float | None) -> str:
    """A time as the person's clock shows it."""
    if at is None:
        return "never"
    return datetime.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")


def moment(text: str, *, now: float) -> float:
    """A time as typed: "2026-11-24", "2026-11-24 18:00", "tuesday", "yesterday", "3 days", "2h".

    RequestError where it cannot be understood.
    """
    words = text.strip().lower()
    local = datetime.datetime.fromtimestamp(now).astimezone()
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
    if words == "today":
        return midnight.timestamp()
    if words == "yesterday":
        return (midnight - datetime.timedelta(days=1)).timestamp()
    if words in days:
        back = (local.weekday() - days.index(words)) % 7
        return (midnight - datetime.timedelta(days=back)).timestamp()
    try:
        return now - seconds(words)
    except RequestError:
        pass
    for form in ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dt%H:%M", "%d.%m.%Y"):
        try:
            return datetime.datetime.strptime(words, form).replace(tzinfo=local.tzinfo).timestamp()
        except ValueError:
            continue
    raise RequestError(
        f"{text!r} is no time I understand.", 'Try "yesterday", "tuesday", "3 days" or "2026-11-24 18:00".'
    )


def seconds(text: str) -> float:
    """A span as typed: "90s", "30 min", "2h", "3 days", "1 week". RequestError if it is none."""
    import re

    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)( ago)?", text.strip().lower())
    units = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
    units |= {"d": 86400, "day": 86400, "w": 604800, "week": 604800}
    unit = match and units.get(match[2] if match[2] in units else match[2].rstrip("s"))
    if not match or not unit:
        raise RequestError(f"{text!r} is no span of time.", 'Try "30 min", "2h" or "3 days".')
    return float(match[1]) * unit


def tell(answer: Told, *, as_json: bool) -> None:
    """What a request did: its own sentence, or all of it as JSON."""
    if as_json:
        print_json(answer)
    else:
        click.echo(plain(answer.text))


def confirm(question: str, *, yes: bool) -> None:
    """Ask before what cannot be taken back. In a script without --yes: refuse, with how."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise RequestError("This needs a yes.", "Add --yes.")
    if not click.confirm(question):
        raise RequestError("Nothing was changed.")
