"""Start with the session: systemd, XDG autostart, launchd, Task Scheduler behind three functions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from spamd import settings
from spamd.errors import ConfigError
from spamd.paths import Paths
from spamd.service.plan import DAEMON, TRAY, AutostartStatus, Part, Plan, command, environment
from spamd.service.running import ask

__all__ = [
    "AutostartStatus",
    "Part",
    "Plan",
    "entries",
    "install",
    "plan_for",
    "start_daemon",
    "start_tray",
    "status",
    "uninstall",
]


class Entry(Protocol):
    """One program's place in one kind of autostart."""

    kind: str
    file: Path

    def install(self, plan: Plan, *, start: bool = True) -> tuple[str, ...]: ...
    def uninstall(self) -> tuple[str, ...]: ...
    def status(self, plan: Plan) -> Part: ...


def entries(
    paths: Paths,
    *,
    platform: str = sys.platform,
    environ: Mapping[str, str] = os.environ,
    home: Path | None = None,
) -> tuple[Entry, Entry]:
    """Where daemon and tray are entered on this computer. The only place that looks at the platform."""
    # Each only where it is used: the daemon, which looks for upgrades, keeps none of them in memory.
    home = home or Path.home()
    if platform == "darwin":
        from spamd.service.launchd import Launchd

        return Launchd("daemon", home), Launchd("tray", home)
    if platform == "win32":
        from spamd.service.task_scheduler import TaskScheduler

        return TaskScheduler("daemon", paths.data), TaskScheduler("tray", paths.data)
    from spamd.service.systemd import Systemd
    from spamd.service.xdg_autostart import XdgAutostart

    tray = XdgAutostart("tray", environ, home)
    systemd = Systemd(environ, home)
    # Once installed it stays the place to look, also from a shell that does not reach the user manager.
    if Systemd.available(environ) or systemd.file.exists():
        return systemd, tray
    return XdgAutostart("daemon", environ, home), tray


def plan_for(
    paths: Paths, *, tray: bool = True, mail: Sequence[Path] = (), environ: Mapping[str, str] = os.environ
) -> Plan:
    """mail: folders of Maildir and mbox accounts, which the daemon must be able to write to."""
    # A configuration that is a link into a folder of dotfiles is written there.
    config_target = paths.config_file.resolve().parent
    try:
        runs_commands = settings.load(paths.config_file).secrets == "command"
    except ConfigError:
        runs_commands = False
    folders = dict.fromkeys(
        (paths.config, paths.data, paths.state, paths.cache, paths.log, paths.runtime, config_target)
    )
    return Plan(
        daemon=command(DAEMON, ["run"], module="spamd"),
        tray=command(TRAY, ["--autostart"], module="spamd.tray") if tray else None,
        folders=tuple(folders),
        mail=tuple(mail),
        runs_commands=runs_commands,
        environment=environment(environ),
    )


def install(
    paths: Paths, *, tray: bool = True, start: bool = True, mail: Sequence[Path] = ()
) -> AutostartStatus:
    """Enter daemon (and tray) in the session's autostart; again after a change brings the entries up to date.

    AutostartError where a file cannot be written or is somebody else's; what a session manager refused
    is in notes.
    """
    plan = plan_for(paths, tray=tray, mail=mail)
    daemon_entry, tray_entry = entries(paths)
    notes = (*daemon_entry.install(plan, start=start), *tray_entry.install(plan, start=start))
    return _status(plan, daemon_entry, tray_entry, notes)


def uninstall(paths: Paths) -> AutostartStatus:
    """Stop the daemon that was started so, and take away the entries that we wrote; nothing else."""
    plan = plan_for(paths)
    daemon_entry, tray_entry = entries(paths)
    notes = (*tray_entry.uninstall(), *daemon_entry.uninstall())
    return _status(plan, daemon_entry, tray_entry, notes)


def status(paths: Paths, *, mail: Sequence[Path] = ()) -> AutostartStatus:
    daemon_entry, tray_entry = entries(paths)
    return _status(plan_for(paths, mail=mail), daemon_entry, tray_entry, ())


def start_daemon(paths: Paths) -> None:
    """Now: by the session's manager where it is entered there, else as a process of its own. OSError."""
    from spamd.service.systemd import Systemd

    daemon_entry, _ = entries(paths)
    if isinstance(daemon_entry, Systemd) and daemon_entry.start():
        return
    _detached([*plan_for(paths).daemon, "--quiet"])


def start_tray(paths: Paths) -> str:
    """Show the icon now; "" or why there is none, in one line. OSError."""
    words = plan_for(paths).tray
    assert words is not None
    answer = ask([*words, "--check"], seconds=60.0)
    if not answer.ok:
        lines = (answer.error or answer.output).splitlines()
        return lines[-1].removeprefix("spamd-tray: ") if lines else "it does not start here."
    _detached(words)
    return ""


def _detached(words: Sequence[str]) -> None:
    """A process that outlives us and this terminal."""
    subprocess.Popen(
        list(words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _status(plan: Plan, daemon_entry: Entry, tray_entry: Entry, notes: tuple[str, ...]) -> AutostartStatus:
    parts = (daemon_entry.status(plan), tray_entry.status(plan))
    if parts[0].installed and (remark := _remark(plan, daemon_entry.kind, os.environ)):
        notes = (*notes, remark)
    stale = [part.name for part in parts if part.installed and not part.current]
    if stale and plan.tray is not None:
        notes = (*notes, f"Out of date: {' and '.join(stale)}. Run `spamdctl service install` again.")
    return AutostartStatus(daemon_entry.kind, parts, notes)


def _remark(plan: Plan, kind: str, environ: Mapping[str, str]) -> str:
    """When the daemon really starts, where "with the session" says too much; else ""."""
    if kind not in ("systemd", "xdg autostart"):
        return ""
    from spamd.service import signed_in

    return signed_in.by_systemd(environ) if kind == "systemd" else signed_in.by_desktop(plan, environ)
