"""What one asks every day: status, the latest verdicts, review, search, why, undo, pause."""

from __future__ import annotations

import time
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spamd import paths, settings
from spamd.cli.output import (
    confirm,
    dry_run_option,
    json_option,
    moment,
    plain,
    print_json,
    seconds,
    table,
    tell,
    when,
    yes_option,
)
from spamd.domain import AccountName, Judgement, Label, Mode, Verdict
from spamd.errors import NotAnswering, NotRunning, RequestError
from spamd.reasons import clue, likelihood

if TYPE_CHECKING:
    from spamd.answers import Status, Why
    from spamd.client import Client

SENDER_WIDTH = 34
LINKS_SHOWN = 10  # of those that are odd; the page and --json have all
limit_option = click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1, 200))


def connect() -> Client:
    """To the running filter. NotRunning, with what to do."""
    from spamd.client import Client

    return Client.connect(paths.find())


@click.command()
@json_option
def status(as_json: bool) -> None:
    """How things are: accounts, today's mail, what waits for you."""
    try:
        with connect() as client:
            found = client.status()
            waiting = any(view.state.mode is not Mode.FILTERING for view in found.accounts)
            told = {one.account: one.text for one in client.shadow()} if waiting and not as_json else {}
    except NotAnswering:
        raise
    except NotRunning as exc:
        now = settings.load(
            paths.find().config_file
        )  # broken settings are the reason: ConfigError says where
        if not now.accounts:
            raise NotRunning(exc.title, "There is no account yet: begin with `spamdctl setup`.") from None
        raise NotRunning(exc.title, f"{exc.hint} If it does not start, `spamdctl doctor` says why.") from None
    if as_json:
        print_json(found)
    else:
        _tell_status(found, told)


def _tell_status(found: Status, shadows: Mapping[AccountName, str]) -> None:
    """shadows: of accounts that do not filter yet, what would have been moved."""
    click.echo(plain(found.headline))
    for view in found.accounts:
        click.echo(f"  {view.account.name}: {plain(view.headline)}")
        if view.state.mode is not Mode.FILTERING and view.account.name in shadows:
            click.echo(f"    {plain(shadows[view.account.name])}")
        if view.state.detail and view.state.detail not in view.headline:
            click.echo(f"    {plain(view.state.detail)}")
    today = found.today
    click.echo(
        f"Today: {today.get('keep', 0)} good, {today.get('unsure', 0)} unsure, {today.get('junk', 0)} junk, "
        f"{today.get('moved', 0)} moved, {today.get('corrected', 0)} corrected by you."
    )
    if found.review_waiting:
        count = found.review_waiting  # counted up to 100
        wait = "1 mail waits" if count == 1 else f"{count if count < 100 else 'More than 99'} mails wait"
        click.echo(f"{wait} for your word: `spamdctl review`.")
    if found.model is not None:
        click.echo(f"Model {found.model.id} of {when(found.model.created_at)}.")
    if found.training_hint:
        click.echo(f"What you teach counts at once, but no night builds it in. {plain(found.training_hint)}")
    for work in found.progress:
        of = f" {100 * work.done // work.total} %" if work.total and not work.finished else ""
        click.echo(f"{plain(work.error or work.text)}{of}")
    for event in found.needs_person:
        whose = f"{event.account}: " if event.account else ""
        click.echo(click.style(plain(f"{whose}{event.text}"), fg="yellow"))


@click.command("open")
def open_() -> None:
    """Open the page in your browser."""
    with connect() as client:
        address = client.open_url()
    if not webbrowser.open(address):
        click.echo(f"Open this in your browser within a minute: {address}")


@click.command()
@click.option("--account", default=None, help="Only this account.")
@click.option("--days", default=7, show_default=True, type=click.IntRange(1, 90))
@json_option
def shadow(account: str | None, days: int, as_json: bool) -> None:
    """What would have been moved, had it been filtering: right, wrong, and without your word."""
    with connect() as client:
        found = client.shadow(days, account)
    if as_json:
        print_json(list(found))
        return
    for one in found:
        click.echo(f"{one.account}: {plain(one.text)}")
        source = (
            "by the evidence on your mail" if one.proven else "the shipped model's; yours is not proven yet"
        )
        click.echo(f"  From {likelihood(one.threshold)} likely junk on ({source}).")
    table(
        ("no", "when", "would be", "likely junk", "you", "account", "from", "subject"),
        [
            (
                row.judgement.id,
                when(row.judgement.at),
                "left" if row.outcome == "missed" else "moved",
                likelihood(row.probability),
                {"right": "junk", "missed": "junk", "wrong": "good", "open": ""}[row.outcome],
                one.account,
                _who(row.judgement.sender),
                row.judgement.subject,
            )
            for one in found
            for row in one.mails
        ],
        empty="Nothing would have been moved.",
    )


def _who(sender: str) -> str:
    """Cut so that it is seen: the end of a domain says whose it is."""
    return sender if len(sender) <= SENDER_WIDTH else f"{sender[: SENDER_WIDTH - 1]}…"


def _rows(found: tuple[Judgement, ...]) -> list[tuple[object, ...]]:
    return [
        (
            one.id,
            when(one.at),
            one.decision.verdict + (" (moved)" if one.moved else ""),
            likelihood(one.score.probability),
            {Label.SPAM: "junk", Label.HAM: "good", None: ""}[one.label],
            _who(one.sender),
            one.subject,
        )
        for one in found
    ]


COLUMNS = ("no", "when", "verdict", "likely junk", "you", "from", "subject")


@click.command()
@click.option("--account", default=None, help="Only this account.")
@click.option(
    "--verdict", type=click.Choice([one.value for one in Verdict]), default=None, help="Only this verdict."
)
@click.option("--since", default=None, help='Such as "tuesday", "3 days", "2026-11-24".')
@limit_option
@json_option
def recent(account: str | None, verdict: str | None, since: str | None, limit: int, as_json: bool) -> None:
    """The latest verdicts."""
    with connect() as client:
        found = client.judgements(
            account=account,
            verdict=Verdict(verdict) if verdict else None,
            since=moment(since, now=time.time()) if since else None,
            limit=limit,
        )
    if as_json:
        print_json(list(found))
    else:
        asked = account or verdict or since
        table(COLUMNS, _rows(found), empty="No such mail was judged." if asked else "No verdicts yet.")


@click.command()
@click.option("--since", default=None, help='Such as "tuesday", "3 days", "2026-11-24".')
@limit_option
@json_option
def events(since: str | None, limit: int, as_json: bool) -> None:
    """What happened: corrections, nights, what was taken back or refused, and what needs you."""
    with connect() as client:
        found = client.events(since=moment(since, now=time.time()) if since else None, limit=limit)
    if as_json:
        print_json(list(found))
        return
    table(
        ("when", "account", "text"),
        [
            (when(one.at), one.account or "", f"{'Needs you: ' if one.needs_person else ''}{one.text}")
            for one in found
        ],
        empty="Nothing has happened yet.",
    )


@click.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--since", default=None, help='Such as "tuesday", "3 days", "2026-11-24".')
@limit_option
@json_option
def search(words: tuple[str, ...], since: str | None, limit: int, as_json: bool) -> None:
    """Find judged mail by sender and subject (as far as your privacy setting keeps them)."""
    with connect() as client:
        found = client.search(
            " ".join(words), since=moment(since, now=time.time()) if since else None, limit=limit
        )
    if as_json:
        print_json(list(found))
    else:
        table(COLUMNS, _rows(found), empty="Nothing found.")


@click.command()
@click.option("--list", "only_list", is_flag=True, help="Only show what waits.")
@limit_option
@json_option
def review(only_list: bool, limit: int, as_json: bool) -> None:
    """Answer for doubtful mail, one by one: j junk, g good, s skip, w why, q stop."""
    import sys

    with connect() as client:
        waiting = client.review(limit)
        if as_json:
            print_json(list(waiting))
            return
        if only_list or not sys.stdin.isatty():
            table(
                ("no", "likely junk", "from", "subject", "what"),
                [
                    (
                        one.judgement.id,
                        likelihood(one.judgement.score.probability),
                        _who(one.judgement.sender),
                        one.judgement.subject,
                        one.question,
                    )
                    for one in waiting
                ],
                empty="Nothing waits for you.",
            )
            return
        for item in waiting:
            if not _ask(client, item.judgement, item.question):
                return
    click.echo("That was all." if waiting else "Nothing waits for you.")


def _ask(client: Client, judgement: Judgement, question: str) -> bool:
    """One question; False to stop."""
    while True:
        click.echo(f"\n{plain(judgement.sender)}\n  {plain(judgement.subject)}\n  {plain(question)}")
        key = click.prompt("  [j]unk [g]ood [s]kip [w]hy [q]uit", default="s", show_default=False).lower()[:1]
        if key == "w":
            _tell_why(client.why(judgement.id))
        elif key in ("j", "g"):
            answered = client.answer(judgement.id, Label.SPAM if key == "j" else Label.HAM)
            click.echo(f"  {plain(answered.text)}")
            return True
        elif key in ("s", "q"):
            return key == "s"


@click.command()
@click.argument("number", type=int)
@click.argument("word", type=click.Choice(["junk", "good"]))
@click.option("--no-move", is_flag=True, help="Only learn; leave the mail where it is.")
@json_option
def label(number: int, word: str, no_move: bool, as_json: bool) -> None:
    """Say that a judged mail is junk or good; it is learned at once and moved accordingly."""
    with connect() as client:
        answered = client.answer(number, Label.SPAM if word == "junk" else Label.HAM, move=not no_move)
    tell(answered, as_json=as_json)


@click.command()
@click.argument("what", metavar="NUMBER|FILE")
@json_option
def explain(what: str, as_json: bool) -> None:
    """Why a mail was judged as it was: the number from `recent`, or a raw mail file.

    Every reason was checked by taking it away and scoring again.
    """
    if what.isdigit() and not Path(what).exists():
        with connect() as client:
            found = client.why(int(what))
    else:
        found = _explain_file(Path(what))
    if as_json:
        print_json(found)
    else:
        _tell_why(found)


def _explain_file(file: Path) -> Why:
    from spamd.cli.judge import explain_raw

    try:
        raw = file.read_bytes()
    except OSError as exc:
        raise RequestError(f"{file}: {exc.strerror or exc}.", "Give a raw mail file (.eml).") from exc
    try:
        with connect() as client:
            return client.try_mail(raw)
    except NotRunning:
        return explain_raw(raw)


def _tell_why(found: Why) -> None:
    click.echo(f"{plain(found.subject)}\nfrom {plain(found.sender)}")
    limit = likelihood(found.junk_threshold) if found.junk_threshold is not None else "not set yet"
    click.echo(
        f"{found.verdict} · {likelihood(found.probability)} likely to be junk (junk from {limit}) · model {found.model_id}\n"
        f"{plain(found.explanation)}"
    )
    from spamd.web.shown import effect, one_line

    table(
        ("what", "where", "makes it"),
        [(one.words, one.place, effect(one)) for one in found.reasons],
        empty="Nothing stands out.",
    )
    for link in [one for one in found.links if one.flags][:LINKS_SHOWN]:
        shown = f" shown as “{one_line(link.shown, 100)}”" if link.shown else ""
        click.echo(plain(f"Link: {link.host}{shown}: {', '.join(map(clue, link.flags))}"))
    for title, words in (("Tricks", [clue(one) for one in found.tricks]), ("Defects", found.defects)):
        if words:
            click.echo(f"{title}: {plain(', '.join(words))}")
    if found.hidden_text:
        click.echo(f"Hidden text: {plain(found.hidden_text[:400])}")
    if found.missing:
        click.echo(plain(found.missing))


@click.command()
@click.argument("number", type=int, required=False)
@click.option("--since", default=None, help='All moves since then, such as "tuesday" or "2h".')
@click.option("--model", default=None, help="All moves of this model.")
@click.option("--account", default=None, help="Only of this account.")
@dry_run_option
@yes_option
@json_option
def undo(
    number: int | None,
    since: str | None,
    model: str | None,
    account: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Put moved mail back: one (its number from `recent`), all since a time, or all of a model.

    One mail put back is learned as good. Of many nothing is learned, as there is real junk among them. Neither
    is moved again by itself.
    """
    many = since is not None or model is not None
    if (number is not None) == many:
        title = "Either one mail, or many." if many else "Say what to undo."
        raise RequestError(title, "A number, or --since, or --model.")
    with connect() as client:
        if number is not None:
            if dry_run:
                _would_put_back(client.judgement(number), as_json=as_json)
            else:
                tell(client.undo_move(number), as_json=as_json)
            return
        start = moment(since, now=time.time()) if since else None
        plan = client.undo(since=start, model_id=model, account=account, dry_run=True)
        if model and not plan.count and not plan.skipped:
            _no_such_model(client, model)
        if not as_json:
            table(
                ("when", "account", "from", "subject"),
                [(when(one.at), one.account, _who(one.sender), one.subject) for one in plan.items],
                empty="No moves of ours match.",
            )
        if dry_run or not plan.count:
            tell(plan, as_json=as_json)
            return
        confirm("Put this mail back?" if plan.count == 1 else f"Put {plan.count} mails back?", yes=yes)
        tell(client.undo(since=start, model_id=model, account=account, dry_run=False), as_json=as_json)


def _would_put_back(one: Judgement, *, as_json: bool) -> None:
    if not one.moved:
        raise RequestError(
            "This mail was not moved, so there is nothing to undo.", "`spamdctl recent` says which ones were."
        )
    if as_json:
        print_json({"dry_run": True, "judgement": one})
    else:
        click.echo(f"Would put back: {plain(one.sender)}  {plain(one.subject)}")


def _no_such_model(client: Client, model: str) -> None:
    """A typing mistake must not look like "nothing to do"."""
    if model not in {card.id for card in client.models().cards}:
        raise RequestError(
            f"No mail was moved by a model {plain(model)!r}.",
            "`spamdctl model list` shows the models; their names are written in full.",
        )


@click.command()
@click.argument("span", required=False)
@click.option("--account", default=None, help="Only this account.")
@json_option
def pause(span: str | None, account: str | None, as_json: bool) -> None:
    """Leave mail alone: for a while ("1h", "2 days"), or until `resume`."""
    with connect() as client:
        tell(client.pause(seconds=seconds(span) if span else None, account=account), as_json=as_json)


@click.command()
@click.option("--account", default=None, help="Only this account.")
@json_option
def resume(account: str | None, as_json: bool) -> None:
    """Go on after a pause; mail that came meanwhile is judged now."""
    with connect() as client:
        tell(client.resume(account), as_json=as_json)
