"""What was taught, and the models made of it."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spamd import wire
from spamd.cli.commands import Group
from spamd.cli.daily import connect
from spamd.cli.output import (
    confirm,
    console,
    json_option,
    moment,
    plain,
    print_json,
    table,
    tell,
    when,
    yes_option,
)
from spamd.domain import AccountName, Identity, Label, LabelRecord, LabelSource, ModelId
from spamd.errors import RequestError, SpamdError, TrainingError

if TYPE_CHECKING:
    from spamd.answers import Progress
    from spamd.client import Client

WORDS = {"junk": Label.SPAM, "good": Label.HAM}
LONGEST_DAYS = 36_500  # of an entry of the lists
POLL_SECONDS = 0.5  # between two looks at the trainer's progress
START_SECONDS = 30.0  # until the daemon says that it trains


@click.group(cls=Group)
def labels() -> None:
    """The ledger: what you taught, where from, and taking it back."""


@labels.command("list")
@click.option("--account", default=None)
@click.option("--since", default=None)
@click.option("--source", type=click.Choice([one.value for one in LabelSource]), default=None)
@click.option(
    "--held", is_flag=True, help="Only those held: they contradict what is known, or were very many at once."
)
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def labels_list(
    account: str | None, since: str | None, source: str | None, held: bool, limit: int, as_json: bool
) -> None:
    """The newest labels."""
    with connect() as client:
        found = client.labels(
            account=account,
            since=moment(since, now=time.time()) if since else None,
            held=True if held else None,
            source=LabelSource(source) if source else None,
            limit=limit,
        )
    if as_json:
        print_json(list(found))
        return
    table(
        ("when", "account", "label", "source", "weight", "held", "identity"),
        [
            (
                when(one.at),
                one.account,
                "junk" if one.label is Label.SPAM else "good",
                one.source,
                f"{one.weight:.2g}",
                "held" if one.held else "",
                one.identity,
            )
            for one in found
        ],
        empty="No labels yet.",
    )


@labels.command("set")
@click.argument("account")
@click.argument("identity")
@click.argument("word", type=click.Choice(list(WORDS)))
@json_option
def labels_set(account: str, identity: str, word: str, as_json: bool) -> None:
    """Say what a known mail is (its identity from `labels list`)."""
    with connect() as client:
        made = client.set_label(account, Identity(identity), WORDS[word])
    if as_json:
        print_json(made)
    else:
        click.echo(f"Learned: {word}.")


@labels.command()
@click.argument("account")
@click.argument("identity")
@json_option
def forget(account: str, identity: str, as_json: bool) -> None:
    """Take a label back exactly: as if it had never been (the model at night, your corrections at once)."""
    with connect() as client:
        tell(client.forget_label(account, Identity(identity)), as_json=as_json)


@labels.command()
@click.argument("who", type=click.Choice(["me", "program"]))
@click.option("--account", default=None)
@json_option
def answer(who: str, account: str | None, as_json: bool) -> None:
    """Who moved or marked so many mails at once? What is held back for that is learned, or forgotten.

    Forgotten, each mail is again what was said of it before. `labels list --held` shows them.
    """
    with connect() as client:
        tell(client.answer_held(mine=who == "me", account=account), as_json=as_json)


@labels.command("export")
@click.argument("file", type=click.Path(path_type=Path), default="-")
def labels_export(file: Path) -> None:
    """Write all labels as JSON lines. They hold identities, no mail text."""
    with connect() as client:
        found = client.export_labels()
    lines = "".join(json.dumps(wire.to_json(one)) + "\n" for one in found)
    if str(file) == "-":
        click.echo(lines, nl=False)
    else:
        from spamd.paths import write_private

        try:
            write_private(file, lines.encode())
        except OSError as exc:
            raise RequestError(
                f"{file} cannot be written: {exc.strerror}.", "Look at its folder and at free space."
            ) from exc
        click.echo(f"{len(found)} labels written to {file}.")


@labels.command("import")
@click.argument("file", type=click.Path(path_type=Path), default="-")
@click.option("--account", default=None, help="Take all for this account, whatever it was called there.")
@json_option
def labels_import(file: Path, account: str | None, as_json: bool) -> None:
    """Read labels written by `labels export`, also from another computer."""
    text = sys.stdin.read() if str(file) == "-" else _text(file)
    records = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                records.append(wire.from_json(LabelRecord, json.loads(line)))
            except (ValueError, RecursionError, SpamdError) as exc:
                raise RequestError(
                    f"Line {number} is no label: {exc}",
                    "The file is not from `labels export`. Nothing was read.",
                ) from exc
    if account is not None:
        records = [replace(one, account=AccountName(account)) for one in records]
    with connect() as client:
        if account is not None:
            client.account(account)  # there is none of that name: said, not skipped
        tell(client.import_labels(tuple(records)), as_json=as_json)


LABELS_FILE = "Give a file that `spamdctl labels export` wrote."


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as exc:
        raise RequestError(f"{file}: {exc.strerror or exc}.", LABELS_FILE) from exc
    except UnicodeDecodeError as exc:
        raise RequestError(f"{file} is no text.", LABELS_FILE) from exc


@click.group(cls=Group)
def lists() -> None:
    """Senders and domains that are always kept, or always junk."""


@lists.command("show")
@json_option
def lists_show(as_json: bool) -> None:
    """The two lists."""
    with connect() as client:
        found = client.lists()
    if as_json:
        print_json(list(found))
        return
    table(
        ("sender", "always", "added", "until", "used", "last used"),
        [
            (
                one.value,
                "keep" if one.label is Label.HAM else "junk",
                when(one.added_at),
                when(one.expires_at) if one.expires_at else "for ever",
                one.uses,
                when(one.last_used_at),
            )
            for one in found
        ],
        empty="Both lists are empty.",
    )


@lists.command("keep")
@click.argument("value", metavar="ADDRESS|DOMAIN")
@click.option("--days", type=click.FloatRange(min=0.01), default=None, help="Only for so many days.")
@json_option
def lists_keep(value: str, days: float | None, as_json: bool) -> None:
    """Always keep mail of this sender (when the server says that it really is theirs)."""
    _add(value, Label.HAM, days, as_json=as_json)


@lists.command("junk")
@click.argument("value", metavar="ADDRESS|DOMAIN")
@click.option("--days", type=click.FloatRange(min=0.01), default=None, help="Only for so many days.")
@json_option
def lists_junk(value: str, days: float | None, as_json: bool) -> None:
    """Mail of this sender is always junk."""
    _add(value, Label.SPAM, days, as_json=as_json)


def _add(value: str, label: Label, days: float | None, *, as_json: bool) -> None:
    if days is not None and not days <= LONGEST_DAYS:  # nor is "nan"
        raise RequestError(f"{days:g} days are too many.", "Without --days it is for ever.")
    with connect() as client:
        entry = client.add_to_list(value, label, time.time() + days * 86400 if days else None)
    if as_json:
        print_json(entry)
    else:
        click.echo(f"{entry.value}: always {'kept' if label is Label.HAM else 'junk'}.")


@lists.command("remove")
@click.argument("value", metavar="ADDRESS|DOMAIN")
@json_option
def lists_remove(value: str, as_json: bool) -> None:
    """Take a sender off the lists."""
    with connect() as client:
        tell(client.remove_from_list(value), as_json=as_json)


@click.command()
@click.option("--from-scratch", is_flag=True, help="Make the personal part anew from the whole ledger.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the end.")
@json_option
def train(from_scratch: bool, no_wait: bool, as_json: bool) -> None:
    """Train now instead of at night. The new model is taken only if it proves itself.

    A candidate that is refused is no error: the exit code is 0, and the reason is said.
    """
    with connect() as client:
        before = client.models().current
        begun = client.status().now
        answer = client.train(from_scratch=from_scratch)
        if no_wait or not as_json:
            tell(answer, as_json=as_json)
        if no_wait:
            return
        work = _until_trained(client, begun)
        now = client.models().current
    if work.error:
        raise TrainingError("The training failed.", work.error)
    if as_json:
        promoted = now is not None and (before is None or now.id != before.id)
        print_json({"promoted": promoted, "model": now.id if now else None, "text": work.text})
    else:
        click.echo(plain(work.text))


def _until_trained(client: Client, begun: float) -> Progress:
    """Shows how far the trainer is until it ends. begun: the daemon's time before it was asked."""
    from rich import progress as shown

    columns = (shown.TextColumn("{task.description}"), shown.BarColumn(), shown.TimeElapsedColumn())
    patience = time.monotonic() + START_SECONDS
    with shown.Progress(*columns, console=console(), disable=not sys.stdout.isatty(), transient=True) as bar:
        task = bar.add_task("Training.", total=None)
        while True:
            # An earlier training's last word stays for a minute: only one that began since counts.
            work = next((p for p in client.progress() if p.kind == "train" and p.started_at >= begun), None)
            if work is not None and work.finished:
                return work
            if work is None and time.monotonic() > patience:
                raise TrainingError("The training did not begin.", "`spamdctl logs` may say why.")
            if work is not None:
                bar.update(task, description=plain(work.text), total=work.total or None, completed=work.done)
                patience = time.monotonic() + START_SECONDS
            time.sleep(POLL_SECONDS)


@click.group(cls=Group)
def model() -> None:
    """The models: what each was made of, and going back."""


@model.command("list")
@json_option
def model_list(as_json: bool) -> None:
    """All models on this computer, newest first."""
    with connect() as client:
        found = client.models()
    if as_json:
        print_json(found)
        return
    table(
        ("", "model", "made", "good", "junk", "from"),
        [
            (
                "*"
                if found.current and one.id == found.current.id
                else "!"
                if one.id in found.unusable
                else "",
                one.id,
                when(one.created_at),
                one.labels.get("ham", 0),
                one.labels.get("spam", 0),
                one.parent or "",
            )
            for one in found.cards
        ],
        empty="No model.",
    )
    for why in found.unusable.values():
        click.echo(plain(f"! {why}"))
    if found.training_hint:
        click.echo(plain(found.training_hint))


@model.command("show")
@click.argument("id", required=False)
@json_option
def model_show(id: str | None, as_json: bool) -> None:  # noqa: A002
    """A model's card; the one in force unless named."""
    with connect() as client:
        found = client.models()
    wanted = id or (found.current.id if found.current else "")
    card = next((one for one in found.cards if one.id == wanted), None)
    if card is None:
        raise RequestError(f"There is no model {wanted!r}.", "`spamdctl model list` shows them.")
    if as_json:
        print_json(card)
        return
    click.echo(f"{card.id}, made {when(card.created_at)}, {card.architecture}")
    from spamd.web.shown import figure_word

    table(
        ("figure", "value"),
        [(figure_word(name), f"{value:.5g}") for name, value in card.figures.items()],
        empty="",
    )
    for reason in card.reasons:
        click.echo(plain(reason))
    if card.notes:
        click.echo(plain(card.notes))


model.add_command(train)


@model.command()
@click.argument("id", required=False)
@yes_option
@json_option
def rollback(id: str | None, yes: bool, as_json: bool) -> None:  # noqa: A002
    """Back to the model before, or to the one named."""
    confirm(f"Go back to {id or 'the model before'}?", yes=yes)
    with connect() as client:
        card = client.roll_back(ModelId(id) if id else None)
    if as_json:
        print_json(card)
    else:
        click.echo(f"Now {card.id}.")


@model.command()
@yes_option
@json_option
def reset(yes: bool, as_json: bool) -> None:
    """Back to the shipped model. Labels stay; the next night learns from them again."""
    confirm("Go back to the shipped model?", yes=yes)
    with connect() as client:
        card = client.reset_model()
    if as_json:
        print_json(card)
    else:
        click.echo(f"Now {card.id}.")
