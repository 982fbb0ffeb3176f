"""What was taught, and the models made of it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from spamd import wire
from spamd.cli.daily import connect
from spamd.cli.output import confirm, console, json_option, moment, plain, print_json, table, when, yes_option
from spamd.domain import Identity, Label, LabelRecord, LabelSource, ModelId
from spamd.errors import RequestError, SpamdError

WORDS = {"junk": Label.SPAM, "good": Label.HAM}
POLL_SECONDS = 0.5  # between two looks at the trainer's progress


@click.group()
def labels() -> None:
    """The ledger: what you taught, where from, and taking it back."""


@labels.command("list")
@click.option("--account", default=None)
@click.option("--since", default=None)
@click.option("--source", type=click.Choice([one.value for one in LabelSource]), default=None)
@click.option("--held", is_flag=True, help="Only those held because they contradict what is known.")
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1, 200))
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
                f"{one.weight:g}",
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
def labels_set(account: str, identity: str, word: str) -> None:
    """Say what a known mail is."""
    with connect() as client:
        client.set_label(account, Identity(identity), WORDS[word])
    click.echo(f"Learned: {word}.")


@labels.command()
@click.argument("account")
@click.argument("identity")
def forget(account: str, identity: str) -> None:
    """Take a label back exactly: as if it had never been (the model at night, your corrections at once)."""
    with connect() as client:
        click.echo(plain(client.forget_label(account, Identity(identity)).text))


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

        write_private(file, lines.encode())
        click.echo(f"{len(found)} labels written to {file}.")


@labels.command("import")
@click.argument("file", type=click.Path(path_type=Path), default="-")
def labels_import(file: Path) -> None:
    """Read labels written by `labels export`, also from another computer."""
    text = sys.stdin.read() if str(file) == "-" else _text(file)
    records = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                records.append(wire.from_json(LabelRecord, json.loads(line)))
            except (ValueError, SpamdError) as exc:
                raise RequestError(
                    f"Line {number} is no label: {exc}",
                    "The file is not from `labels export`. Nothing was read.",
                ) from exc
    with connect() as client:
        click.echo(plain(client.import_labels(tuple(records)).text))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise RequestError(f"{file} cannot be read.", str(exc)) from exc


@click.group()
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
def lists_keep(value: str, days: float | None) -> None:
    """Always keep mail of this sender (when the server says that it really is theirs)."""
    _add(value, Label.HAM, days)


@lists.command("junk")
@click.argument("value", metavar="ADDRESS|DOMAIN")
@click.option("--days", type=click.FloatRange(min=0.01), default=None, help="Only for so many days.")
def lists_junk(value: str, days: float | None) -> None:
    """Mail of this sender is always junk."""
    _add(value, Label.SPAM, days)


def _add(value: str, label: Label, days: float | None) -> None:
    with connect() as client:
        entry = client.add_to_list(value, label, time.time() + days * 86400 if days else None)
    click.echo(f"{entry.value}: always {'kept' if label is Label.HAM else 'junk'}.")


@lists.command("remove")
@click.argument("value", metavar="ADDRESS|DOMAIN")
def lists_remove(value: str) -> None:
    """Take a sender off the lists."""
    with connect() as client:
        click.echo(plain(client.remove_from_list(value).text))


@click.command()
@click.option("--from-scratch", is_flag=True, help="Make the personal part anew from the whole ledger.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the end.")
def train(from_scratch: bool, no_wait: bool) -> int:
    """Train now instead of at night. The new model is taken only if it proves itself."""
    with connect() as client:
        click.echo(plain(client.train(from_scratch=from_scratch).text))
        if no_wait:
            return 0
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console(), disable=not sys.stdout.isatty()) as bar:
            task = bar.add_task("training", total=None)
            while True:
                work = next((one for one in client.progress() if one.kind == "train"), None)
                if work is None or work.finished:
                    break
                bar.update(task, description=plain(work.text), total=work.total or None, completed=work.done)
                time.sleep(POLL_SECONDS)
        if work is not None and work.error:
            raise SpamdError("The training failed.", work.error)
        if work is not None:
            click.echo(plain(work.text))
    return 0


@click.group()
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
                "*" if found.current and one.id == found.current.id else "",
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
    table(("figure", "value"), [(name, f"{value:.5g}") for name, value in card.figures.items()], empty="")
    for reason in card.reasons:
        click.echo(plain(reason))
    if card.notes:
        click.echo(plain(card.notes))


@model.command("train")
@click.pass_context
def model_train(context: click.Context) -> None:
    """As `spamdctl train`."""
    context.invoke(train)


@model.command()
@click.argument("id", required=False)
@yes_option
def rollback(id: str | None, yes: bool) -> None:  # noqa: A002
    """Back to the model before, or to the one named."""
    confirm(f"Go back to {id or 'the model before'}?", yes=yes)
    with connect() as client:
        card = client.roll_back(ModelId(id) if id else None)
    click.echo(f"Now {card.id}.")


@model.command()
@yes_option
def reset(yes: bool) -> None:
    """Back to the shipped model. Labels stay; the next night learns from them again."""
    confirm("Go back to the shipped model?", yes=yes)
    with connect() as client:
        card = client.reset_model()
    click.echo(f"Now {card.id}.")
