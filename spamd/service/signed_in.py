"""When what is entered really starts, where there may be no desktop: a server, a shell over ssh, `su`.

A desktop entry is read by a desktop alone. A user's systemd begins with the first sign-in of any kind and ends with the last
sign-out, unless the user may linger (loginctl(1)).
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from spamd.service.plan import Plan
from spamd.service.running import ask

BOOTED = Path("/run/systemd/system")
"""Only where systemd runs the computer: sd_booted(3)."""


def on_a_desktop(environ: Mapping[str, str]) -> bool:
    return any(environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_CURRENT_DESKTOP"))


def by_desktop(plan: Plan, environ: Mapping[str, str]) -> str:
    """What to know of a desktop entry, or ""."""
    if on_a_desktop(environ):
        return ""
    if BOOTED.is_dir():
        other = (
            "This shell does not reach your own systemd (it came by su or sudo?): "
            "sign in as yourself and run `spamdctl service install` again."
        )
    else:
        known = ["env", *(f"{name}={value}" for name, value in sorted(plan.environment.items()))]
        words = [*(known if plan.environment else []), *plan.daemon, "--quiet"]
        line = shlex.join(words).replace("%", r"\%")  # crontab(5): a bare one ends the command
        other = f"A line for `crontab -e` does: @reboot {line}"
    return f"The entry is read by a desktop when you sign in to it; without one nothing starts the filter. {other}"


def by_systemd(environ: Mapping[str, str]) -> str:
    """What to know of a unit of the user, or ""."""
    if on_a_desktop(environ):
        return ""
    shown = ask(["loginctl", "show-user", str(os.getuid()), "-p", "Linger", "-p", "Display"])
    known = dict(line.split("=", 1) for line in shown.output.splitlines() if "=" in line)
    if known.get("Linger") == "yes" or known.get("Display"):
        return ""
    return (
        "The filter starts when you sign in, over ssh, too, and ends when you have signed out everywhere. "
        "To let it run from the start of the computer on: loginctl enable-linger"
    )
