"""The system-tray program, a process of its own: a failing display must not take filtering with it.

view (pure) says what to show, picture draws it, notices (pure) says when to interrupt, watching talks to the daemon,
surroundings finds a usable backend, icon is the thin layer over pystray.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from spamd import __version__

if TYPE_CHECKING:
    from spamd.paths import Paths

UNUSABLE = 3  # exit code: no display, D-Bus, backend or tray


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `spamd-tray`. Does not return: a display's threads may outlive a failed start."""
    code = _run(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="spamd-tray", description="The spamd icon in the system tray.")
    parser.add_argument(
        "--wait", type=float, default=60.0, metavar="SECONDS", help="wait so long for a tray (default: 60)"
    )
    parser.add_argument("--check", action="store_true", help="only say whether an icon can be shown here")
    parser.add_argument("--version", action="version", version=f"%(prog)s, version {__version__}")
    parser.add_argument(
        "--autostart",
        action="store_true",
        help="started with the session: where an icon is shown already, do not open the page",
    )
    try:
        wanted = parser.parse_args(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    from spamd import paths
    from spamd.errors import SpamdError
    from spamd.service.plan import TRAY
    from spamd.tray import surroundings
    from spamd.tray.signals import Signals
    from spamd.tray.single import Single
    from spamd.upgrade import Program

    logging.basicConfig(level=logging.WARNING, format="spamd-tray: %(message)s")
    here = paths.find()
    signals = Signals()
    try:
        pystray = surroundings.backend()
        if sys.platform.startswith("linux"):
            surroundings.wait_for_host(0.0 if wanted.check else wanted.wait)
        if wanted.check:
            sys.stdout.write("An icon can be shown here.\n")
            return 0
        try:
            here.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = Single(here.state / "tray.lock")
        except OSError as error:
            title = f"{here.state} cannot be written: {error.strerror or error}."
            raise SpamdError(title, "Look at its owner and rights, and at free space.") from error
        if not lock.taken:
            opened = not wanted.autostart and _open_page(here)
            also = " Its page was opened." if opened else ""
            sys.stderr.write(f"spamd-tray: the icon is shown already.{also}\n")
            return 0
    except SpamdError as error:
        sys.stderr.write(f"spamd-tray: {error}\n")
        return UNUSABLE
    from spamd.tray.icon import TrayIcon

    program = Program(["--autostart"], name=TRAY, module="spamd.tray")
    icon = TrayIcon(pystray, here, program)
    signals.stop_with(icon.stop)
    try:
        icon.run()
    except Exception as error:  # noqa: BLE001 GLib.Error, Xlib's own, …: one line, whatever the display raised
        if not icon.was_shown:
            sys.stderr.write(f"spamd-tray: the icon cannot be shown: {error}\n")
            return UNUSABLE
        # Stopping without a notification service raises, too: it has ended as it was to.
    if icon.upgraded:
        try:
            program.become()
        except OSError as error:
            sys.stderr.write(f"spamd-tray: the new version does not start: {error}\n")
            return 1
    return 0


def _open_page(paths: Paths) -> bool:
    """Who starts us a second time wants to see something."""
    from spamd.client import Client
    from spamd.errors import SpamdError
    from spamd.tray.signals import open_page

    try:
        with Client.connect(paths) as client:
            return open_page(client.open_url(""))
    except SpamdError:
        return False
