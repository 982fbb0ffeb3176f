"""Looking after the program: settings, doctor, logs, backup, wiping."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import click

from spamd import paths, settings
from spamd.answers import Level, Wiped
from spamd.cli.commands import Group
from spamd.cli.output import confirm, json_option, plain, print_json, table, tell, yes_option
from spamd.errors import NotRunning, RequestError, SpamdError, StoreDamaged


@click.group("settings", cls=Group, invoke_without_command=True)
@json_option
@click.pass_context
def settings_group(context: click.Context, as_json: bool) -> None:
    """Show all settings, or change one: `spamdctl settings set display snippet`."""
    if context.invoked_subcommand is None:
        now = settings.load(paths.find().config_file)
        rows = [(one.name, getattr(now, one.name), one.default, one.help) for one in settings.OPTIONS]
        if as_json:
            print_json({name: value for name, value, _default, _help in rows})
        else:
            table(("setting", "value", "default", "what"), rows, empty="")
        for warning in now.warnings:
            click.echo(warning, err=True)


@settings_group.command("set", context_settings={"ignore_unknown_options": True})  # -3 is a value
@click.argument("name")
@click.argument("value")
def set_(name: str, value: str) -> None:
    """Change one setting; a running filter takes it up at once."""
    here = paths.find()
    here.make()
    wanted = settings.from_text(name, value)
    if name == "secrets":
        _move_secrets(str(wanted))
    settings.save(here.config_file, {name: wanted})
    click.echo(f"{name} = {plain(wanted if name == 'oauth_file' else value)}")


@settings_group.command("unset")
@click.argument("name")
def unset(name: str) -> None:
    """Take a setting back to its default."""
    settings.save(paths.find().config_file, {name: None})
    click.echo(f"{name} is at its default.")


def _move_secrets(kind: str) -> None:
    """Passwords move along with the choice of where they are; nothing is left in two places."""
    import dataclasses

    from spamd.credentials import Secrets

    here = paths.find()
    now = settings.load(here.config_file)
    if kind == now.secrets or kind not in ("keyring", "file"):
        return
    old = Secrets.choose(now, here)
    new = Secrets.choose(dataclasses.replace(now, secrets=kind), here)
    for account in now.accounts:
        try:
            secret = old.get(account.name)
        except SpamdError:
            continue  # nothing there to move
        new.set(account.name, secret)
        old.delete(account.name)


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Look at everything that can be wrong. Exit code 1 where something needs you."""
    from spamd.cli.doctor import examine

    findings = list(examine(paths.find()))
    if as_json:
        print_json(findings)
    else:
        marks = {Level.OK: ("ok  ", "green"), Level.WARN: ("note", "yellow"), Level.BAD: ("BAD ", "red")}
        for one in findings:
            mark, colour = marks[one.level]
            click.echo(f"{click.style(mark, fg=colour)} {plain(one.text)}")
            if one.hint and one.level is not Level.OK:
                click.echo(f"     {plain(one.hint)}")
    return 1 if any(one.level is Level.BAD for one in findings) else 0


@click.command()
@click.option("-n", "--lines", default=50, show_default=True, type=click.IntRange(1, 100_000))
@click.option("-f", "--follow", is_flag=True, help="Go on showing new lines until Ctrl-C.")
def logs(lines: int, follow: bool) -> None:
    """Show the log. It holds no subjects, addresses or text of mail (with log_level debug, a fault may quote some)."""
    file = paths.find().log_file
    try:
        stream: TextIO = file.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise RequestError("There is no log yet.", f"It will be at {file} once the filter has run.") from None
    with contextlib.closing(stream):
        for line in deque(stream, maxlen=lines):
            click.echo(line.rstrip("\n"))
        if follow:
            import threading

            from spamd.file_watch import Watcher

            changed = threading.Event()
            # Ctrl-C is how one stops looking: nothing to complain about.
            with Watcher({file: changed.set}), contextlib.suppress(KeyboardInterrupt):
                while True:
                    stream = _show_new(stream, file)  # first, too: what came before we watched
                    changed.wait()
                    changed.clear()


def _show_new(stream: TextIO, file: Path) -> TextIO:
    """What was written since; the log that is written now, where it was begun anew (rotated)."""
    while True:
        for line in stream:
            click.echo(line.rstrip("\n"))
        with contextlib.suppress(FileNotFoundError):
            if not os.path.samestat(file.stat(), os.fstat(stream.fileno())):
                stream.close()
                stream = file.open(encoding="utf-8", errors="replace")
                continue
        return stream


def _passphrase(*, stdin: bool, twice: bool) -> str:
    if stdin:
        given = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        given = getpass.getpass("Passphrase of the backup: ")
        if twice and getpass.getpass("Once more: ") != given:
            raise RequestError("The two were not the same.", "Nothing was written.")
    else:
        raise RequestError("There is no terminal to ask for the passphrase.", "Use --passphrase-stdin.")
    if twice and len(given) < 8:
        raise RequestError("The passphrase is too short.", "Take at least eight characters.")
    return given


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--passphrase-stdin", is_flag=True, help="Read the passphrase from standard input.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
def backup(file: Path, passphrase_stdin: bool, force: bool) -> None:
    """Save labels, lists, models and settings in one encrypted file. Passwords are not in it."""
    from spamd import backup as room

    if file.exists() and not force:
        raise RequestError(f"{file} is there already.", "Choose another name, or add --force.")
    made = room.save(paths.find(), file, _passphrase(stdin=passphrase_stdin, twice=True))
    click.echo(made.text)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--passphrase-stdin", is_flag=True, help="Read the passphrase from standard input.")
@click.option(
    "--trust-settings",
    is_flag=True,
    help="Take over commands, files and servers of its settings that are not in yours, without asking.",
)
@yes_option
def restore(file: Path, passphrase_stdin: bool, trust_settings: bool, yes: bool) -> None:
    """Bring a backup back. What is here now is kept aside, and named."""
    from spamd import backup as room
    from spamd.daemon.process import lock

    if running():
        raise RequestError("The filter is running.", "Stop it first: `spamdctl stop`.")
    confirm("Replace labels, lists, models and settings by those of the backup?", yes=yes)
    here = paths.find()
    passphrase = _passphrase(stdin=passphrase_stdin, twice=False)
    with lock(here.lock_file):  # none may begin meanwhile
        contents = room.read(file, passphrase)
        _show_foreign(room.foreign(contents, here), trusted=trust_settings)
        click.echo(room.put_back(here, contents).text)


def _show_foreign(found: Sequence[str], *, trusted: bool) -> None:
    """What the backup's settings bring along that acts. RequestError without a yes to just that."""
    if not found:
        return
    click.echo("The settings in the backup are not yours of now. With them:", err=True)
    for sentence in found:
        click.echo(f"  {plain(sentence)}", err=True)
    if trusted:
        return
    if not sys.stdin.isatty():
        raise RequestError(
            "The backup's settings run commands, or name files and servers, that yours do not. Nothing was changed.",
            "If the backup is your own and has not been in other hands, add --trust-settings.",
        )
    if not click.confirm("Did you write all of that?"):
        raise RequestError(
            "Nothing was changed.", "A backup of somebody else's can have any command run in your name."
        )


def running() -> bool:
    from spamd.client import Client

    try:
        Client.connect(paths.find()).close()
    except NotRunning:
        return False
    return True


@click.command()
@click.argument("what", metavar="display|account:NAME|all")
@yes_option
@json_option
def wipe(what: str, yes: bool, as_json: bool) -> None:
    """Wipe what is kept for display (senders, subjects), all of an account, or all that was learned."""
    from spamd.client import Client

    kind = what.partition(":")[0]
    if kind not in ("display", "account", "all") or (kind == "account") != (":" in what):
        raise RequestError(f"{what!r} cannot be wiped.", "Say display, account:NAME or all.")
    confirm(f"Wipe {what}? This cannot be taken back. Mail itself is not touched.", yes=yes)
    here = paths.find()
    if running():
        with Client.connect(here) as client:
            tell(client.wipe(what), as_json=as_json)
        return
    wiped = wipe_alone(here, what)
    tell(Wiped(what, "Wiped." if wiped else "There is nothing to wipe."), as_json=as_json)


def wipe_alone(here: paths.Paths, what: str) -> bool:
    """Where no filter runs, and none may begin meanwhile. False: there is nothing. AlreadyRunning: one does."""
    from spamd.daemon.process import lock

    if not _kept(here):
        return False
    with lock(here.lock_file):
        wipe_locked(here, what)
    return True


def wipe_locked(here: paths.Paths, what: str) -> None:
    """By who holds the lock. A damaged database goes as a file where all is to be wiped; else StoreDamaged, and it stays."""
    from spamd.daemon.process import bring_back

    if not _kept(here):
        return
    here.make()
    bring_back(here)
    try:
        _wipe(here, what)
    except StoreDamaged as exc:
        if what != "all":
            hint = (
                "Nothing in it was wiped: what is damaged cannot be taken apart. "
                "`spamdctl wipe all` removes the file, its copies and the models: what was learned of every account."
            )
            raise StoreDamaged(exc.title, hint) from exc
        for one in _database_files(here):
            one.unlink(missing_ok=True)
        _wipe(here, what)  # the models, and that it was wiped: what lies in the inbox is not judged anew


def _wipe(here: paths.Paths, what: str) -> None:
    from spamd import nightly
    from spamd.model.bundle import Bundles
    from spamd.model.poison import Poison
    from spamd.store.database import Store

    with Store(here.database) as store:
        nightly.wipe(store, Bundles(here.personal_models, paths.shipped_model()), what)
    if what == "all":
        Poison(here.state).forget()


def _kept(here: paths.Paths) -> list[Path]:
    """Whatever there is to wipe."""
    from spamd.store.connection import half_copied

    rescued = [one for one in (here.rescued_database,) if one.exists()]
    models = here.personal_models.glob("*")
    ends = here.state.glob("unreadable.json")
    return [*_database_files(here), *models, *rescued, *ends, *half_copied(here.rescued_database)]


def _database_files(here: paths.Paths) -> list[Path]:
    from spamd.store.connection import half_copied

    return [*here.state.glob(f"{here.database.name}*"), *half_copied(here.database)]
