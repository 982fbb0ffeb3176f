"""Programs that tests start. Those of a snap do not count: they see no file below /tmp, and may not start other programs
(and where snapd does not run, Ubuntu's packages of Chromium and Thunderbird hold a script that only says so)."""

from __future__ import annotations

import shutil
from pathlib import Path


def find(*names: str) -> str | None:
    """The path of the first of these commands that is there and comes from no snap; None: there is none."""
    found = (path for name in names if (path := shutil.which(name)))
    return next((path for path in found if not _is_snap(Path(path))), None)


def missing(*names: str, package: str) -> str:
    """Why find(*names) finds nothing, for a skip; "" where it does find something."""
    if find(*names):
        return ""
    if snap := next((path for name in names if (path := shutil.which(name))), ""):
        return f"{snap} is a snap, which the tests cannot use (Debian: apt install {package})"
    return f"{names[0]} is not installed (Debian: apt install {package})"


def _is_snap(path: Path) -> bool:
    """A link to snapd's runner, or the script of Ubuntu's package, which calls it."""
    if path.resolve().name == "snap":
        return True
    with path.open("rb") as file:
        start = file.read(4096)
    return start.startswith(b"#!") and b"/snap/bin/" in start


_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = find(*_BROWSERS)
NO_CHROMIUM = missing(*_BROWSERS, package="chromium")
