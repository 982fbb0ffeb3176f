"""The program itself: run and stop it, start it with the session, the add-on, completion."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spamd import paths, settings
from spamd.cli.commands import Group
from spamd.cli.output import json_option, print_json
from spamd.errors import NotAnswering, NotRunning, RequestError

if TYPE_CHECKING:
    from spamd.service import AutostartStatus


@click.command()
@click.option("--quiet", is_flag=True, help="Log to the file only.")
def run(quiet: bool) -> int:
    """Run the filter in the foreground until Ctrl-C."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's threads would only wait
    from spamd import daemon

    return daemon.main(paths.find(), foreground=not quiet)


@click.command()
def stop() -> None:
    """Stop the running filter. Mail stays where it is; what was begun is finished."""
    from spamd.client import Client

    try:
        with Client.connect(paths.find()) as client:
            client.stop()
    except NotAnswering:
        raise
    except NotRunning as exc:
        raise NotRunning(exc.title, "There is nothing to stop.") from None
    click.echo("Stopping.")


@click.group(cls=Group)
def service() -> None:
    """Start with your session."""


def _tell(found: AutostartStatus) -> None:
    for part in found.parts:
        if not part.installed:
            state = "does not start with the session"
        else:
            running = {True: ", runs", False: ", does not run now", None: ""}[part.running]
            state = f"starts with the session ({found.kind}){running}"
        click.echo(f"{part.name}: {state}{'. ' + part.detail if part.detail else ''}")
    for note in found.notes:
        click.echo(note)


def _local_mail() -> list[Path]:
    """Maildir and mbox accounts: a hardened service may write nowhere else."""
    accounts = settings.load(paths.find().config_file).accounts
    return [Path(one.path).expanduser().absolute() for one in accounts if one.path]


@service.command()
@click.option("--tray/--no-tray", default=True, help="Also the icon.")
@click.option("--start/--no-start", default=True, help="Start it now, too.")
def install(tray: bool, start: bool) -> None:
    """Start the filter with your session from now on."""
    from spamd import service as autostart

    here = paths.find()
    here.make()
    _tell(autostart.install(here, tray=tray, start=start, mail=_local_mail()))


@service.command()
def uninstall() -> None:
    """Do not start it by itself any more."""
    from spamd import service as autostart

    _tell(autostart.uninstall(paths.find()))


@service.command("status")
@json_option
def service_status(as_json: bool) -> None:
    """Whether it starts with the session, and runs."""
    from spamd import service as autostart

    found = autostart.status(paths.find(), mail=_local_mail())
    if as_json:
        print_json(found)
    else:
        _tell(found)


@click.group(cls=Group)
def thunderbird() -> None:
    """The add-on for Thunderbird."""


@thunderbird.command("install")
def thunderbird_install() -> None:
    """Let the add-on find the filter, and say where the add-on is."""
    from spamd import thunderbird_host

    for path in thunderbird_host.install(Path.home()):
        click.echo(f"Wrote {path}")
    target = paths.find().data / "spamd-thunderbird.xpi"
    thunderbird_host.package(target)
    click.echo(f"In Thunderbird: Add-ons and Themes, the gear, Install Add-on From File: {target}")
    for kind in thunderbird_host.boxed(Path.home()):
        click.echo(
            f"Thunderbird from {kind} may not start other programs, so the add-on cannot find spamd by itself: "
            "run `spamdctl thunderbird token` and paste what it prints into the add-on's settings, once."
        )


@thunderbird.command("uninstall")
def thunderbird_uninstall() -> None:
    """Take the add-on's connection away again."""
    from spamd import thunderbird_host

    for path in thunderbird_host.uninstall(Path.home()):
        click.echo(f"Removed {path}")


@thunderbird.command("token")
def thunderbird_token() -> None:
    """What to paste into the add-on's settings, once, where Thunderbird comes from Snap or Flatpak."""
    from spamd import thunderbird_host

    click.echo(thunderbird_host.pasteable(paths.find()))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print shell completion. Bash: eval "$(spamdctl completion bash)"."""
    from click.shell_completion import get_completion_class

    from spamd.cli.commands import spamdctl

    kind = get_completion_class(shell)
    if kind is None:
        raise RequestError(f"No completion for {shell}.")
    click.echo(kind(spamdctl, {}, "spamdctl", "_SPAMDCTL_COMPLETE").source())
