"""What is to be started at sign-in: which commands, what they may write to, in which environment."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DAEMON = "spamdctl"
TRAY = "spamd-tray"

_PASSED_ON = ("SPAMD_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
"""A session manager starts programs with its own environment: without these the daemon would look for its
files in another place than the shell it was installed from."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One sign-in's programs.

    daemon, tray: command lines, the program as an absolute path; tray None: no tray.
    folders: what the daemon writes to; made before it starts.
    mail: Maildir and mbox accounts; may be missing.
    environment: set for both. runs_commands: the person's password command, which may write in their home
    (gpg's locks and agent).
    """

    daemon: tuple[str, ...]
    tray: tuple[str, ...] | None
    folders: tuple[Path, ...] = ()
    mail: tuple[Path, ...] = ()
    runs_commands: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    def command_of(self, part: str) -> tuple[str, ...] | None:
        """What starts "daemon" or "tray"; None: there is none."""
        return self.daemon if part == "daemon" else self.tray


@dataclass(frozen=True, slots=True)
class Part:
    """One of our entries in the session's autostart."""

    name: str  # "daemon" or "tray"
    file: Path
    installed: bool
    current: bool = False  # says what would be written today
    running: bool | None = None  # None: cannot be told
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AutostartStatus:
    kind: str  # "systemd", "xdg autostart", "launchd", "task scheduler"
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()  # sentences for the person

    @property
    def installed(self) -> bool:
        return any(part.name == "daemon" and part.installed for part in self.parts)


def program(name: str, *, prefix: Path | None = None, search: str | None = None) -> Path | None:
    """The script `name` of this installation, by the path that is the least likely to move.

    A script on PATH that leads to this environment (pipx and uv keep a link of that name through every
    upgrade) goes before the environment's own; the path is not resolved, since what it leads to may move.
    """
    folder = (prefix or Path(sys.prefix)) / ("Scripts" if os.name == "nt" else "bin")
    suffix = ".exe" if os.name == "nt" else ""
    own = folder / f"{name}{suffix}"
    found = shutil.which(name, path=search)
    if found is not None and own.exists() and Path(found).is_absolute():
        link = Path(found)
        if link.resolve() == own.resolve() or (os.name == "nt" and link.read_bytes() == own.read_bytes()):
            return link
    return own if own.is_file() else None


def command(name: str, arguments: Sequence[str] = (), *, module: str) -> tuple[str, ...]:
    """The command line of one of our programs; from a source tree without scripts: `python -m MODULE`."""
    script = program(name)
    start = (str(script),) if script else (str(Path(sys.executable).absolute()), "-m", module)
    return (*start, *arguments)


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    kept = {name: environ[name] for name in _PASSED_ON if environ.get(name)}
    if program(DAEMON) is None and environ.get("PYTHONPATH"):
        kept["PYTHONPATH"] = os.pathsep.join(
            str(Path(entry).absolute()) for entry in environ["PYTHONPATH"].split(os.pathsep) if entry
        )
    return kept
