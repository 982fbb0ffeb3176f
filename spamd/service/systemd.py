"""A systemd user unit for the daemon (systemd.exec(5), systemd.service(5); version 247 and newer).

The daemon reads mail from strangers, so it gets what it needs and nothing else. Left out, and why:
- MemoryDenyWriteExecute: the model's runtime and the trainer compile kernels while they run.
- PrivateNetwork, IPAddressDeny: it talks to mail servers.
- ProcSubset=pid: the model's runtime asks /proc/cpuinfo which instructions there are (ARM).
- ProtectHome=yes or tmpfs: its own folders and the keyring's socket are there; read-only is enough.
- CapabilityBoundingSet beyond the empty set: nothing needs one.

MemoryMax is a backstop for both processes: the daemon takes tens of MB; for minutes at night the trainer needs
600 MB and more, and is ended by the daemon itself above 1.5 GB.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePath

from spamd.errors import AutostartError
from spamd.service import owned
from spamd.service.plan import Part, Plan
from spamd.service.running import ask

KIND = "systemd"
UNIT = "spamd-desktop.service"

_SHARED_TEMPORARY = (PurePath("/tmp"), PurePath("/var/tmp"))


def _refuse_controls(value: str) -> str:
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
        raise AutostartError(
            f"{value!r} holds a control character, which a unit file cannot.", "Rename that folder."
        )
    return value


def quoted(word: str) -> str:
    """One word of ExecStart= (after the ":" prefix, which switches $ off) or Environment=."""
    escaped = _refuse_controls(word).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def quoted_path(path: PurePath) -> str:
    """One path of a list of paths, where backslashes are kept as they are: only the quotes can be chosen."""
    text = _refuse_controls(str(path)).replace("%", "%%")
    quote = "'" if '"' in text else '"'
    if quote in text:
        raise AutostartError(
            f"{path} holds both kinds of quotes, which a unit file cannot.", "Rename that folder."
        )
    return f"{quote}{text}{quote}"


def _below_temporary(path: PurePath) -> bool:
    return any(path == folder or folder in path.parents for folder in _SHARED_TEMPORARY)


def render(plan: Plan) -> str:
    """The unit's text."""
    # A private /tmp would hide programs and folders that lie there (a trial run, a CI checkout).
    imports = [Path(entry) for entry in plan.environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    needed = [*plan.folders, *plan.mail, *imports, Path(plan.daemon[0])]
    resolved = [path.resolve() for path in needed]
    if any(_below_temporary(path) for path in [*needed, *resolved]):
        temporary = "PrivateTmp=no\nReadWritePaths=/tmp /var/tmp"
    else:
        temporary = "PrivateTmp=yes"
    # "-": where one is missing the daemon starts and says so in its own words.
    writable = dict.fromkeys((*plan.folders, *plan.mail))
    folders = "".join(f"ReadWritePaths=-{quoted_path(path)}\n" for path in writable)
    environment = "".join(
        f"Environment={quoted(f'{name}={value}')}\n" for name, value in sorted(plan.environment.items())
    )
    # "+": outside of the sandbox, in which a folder that was removed could not be made again.
    made = "".join(f" {quoted(str(folder))}" for folder in plan.folders)
    make = f"ExecStartPre=-+:mkdir -p -m 0700 --{made}\n" if made else ""
    home = "no" if plan.runs_commands else "read-only"
    words = list(plan.daemon)
    if set(words[0]) & set("\"'\\"):  # refused in a program's name, however quoted
        words.insert(0, "/usr/bin/env")
    command = " ".join(quoted(word) for word in words)
    return f"""\
# {owned.MARK}. `spamdctl service install` writes it anew: put changes of your own into
# {UNIT}.d/own.conf (systemctl --user edit {UNIT}).
[Unit]
Description=Private junk-mail filter
Documentation=https://spamd.example.org
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
TimeoutStartSec=90
{make}ExecStart=:{command}
{environment}Restart=on-failure
RestartPreventExitStatus=3
RestartSec=10
TimeoutStopSec=5
KillMode=mixed
UMask=0077

MemoryHigh=1800M
MemoryMax=2G
TasksMax=256
CPUWeight=50
IOWeight=50
OOMPolicy=continue

NoNewPrivileges=yes
PrivateUsers=yes
ProtectSystem=strict
ProtectHome={home}
{folders}{temporary}
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
CapabilityBoundingSet=
AmbientCapabilities=
LockPersonality=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @mount @swap @reboot @obsolete @keyring
SystemCallErrorNumber=EPERM

[Install]
WantedBy=default.target
"""


class Systemd:
    kind = KIND

    def __init__(self, environ: Mapping[str, str], home: Path) -> None:
        configured = environ.get("XDG_CONFIG_HOME")
        base = Path(configured) if configured and Path(configured).is_absolute() else home / ".config"
        self.file = base / "systemd" / "user" / UNIT

    @staticmethod
    def available(environ: Mapping[str, str]) -> bool:
        """Whether this session has a user manager to talk to."""
        runtime = environ.get("XDG_RUNTIME_DIR")
        return bool(runtime) and Path(str(runtime), "systemd", "private").exists()

    def _text(self, plan: Plan) -> bytes:
        return render(plan).encode("utf-8", "surrogateescape")

    def install(self, plan: Plan, *, start: bool = True) -> tuple[str, ...]:
        """Write and switch on; sentences for what could not be done."""
        for folder in plan.folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        changed = not owned.says(self.file, self._text(plan))
        owned.write(self.file, self._text(plan))
        notes = []
        steps = [["daemon-reload"], ["enable", UNIT]]
        if start:  # a changed unit must reach a daemon that runs already
            steps.append(["restart" if changed else "start", UNIT])
        for words in steps:
            answer = ask(["systemctl", "--user", *words])
            if not answer.ok:
                notes.append(f"systemctl --user {' '.join(words)} failed: {answer.error or answer.output}")
                break
        return tuple(notes)

    def start(self) -> bool:
        return owned.is_ours(self.file) and ask(["systemctl", "--user", "start", UNIT]).ok

    def uninstall(self) -> tuple[str, ...]:
        if not owned.is_ours(self.file):
            return ()
        notes = []
        answer = ask(["systemctl", "--user", "disable", "--now", UNIT])
        if not answer.ok:
            notes.append(f"systemctl --user disable failed: {answer.error or answer.output}")
            link = self.file.parent / "default.target.wants" / UNIT
            if link.is_symlink() and os.readlink(link) == str(self.file):  # noqa: PTH115 compared as it is written
                link.unlink()
        owned.remove(self.file)
        ask(["systemctl", "--user", "daemon-reload"])
        return tuple(notes)

    def status(self, plan: Plan) -> Part:
        installed = owned.is_ours(self.file)
        running: bool | None = None
        detail = ""
        if installed:
            answer = ask(
                ["systemctl", "--user", "show", UNIT, "-p", "ActiveState,UnitFileState,Result,NRestarts"]
            )
            if answer.ok:
                shown = dict(line.split("=", 1) for line in answer.output.splitlines() if "=" in line)
                running = shown.get("ActiveState") in {"active", "reloading"}
                detail = shown.get("ActiveState", "")
                if shown.get("Result", "success") != "success":
                    detail += f" ({shown['Result']}; see journalctl --user -u {UNIT})"
                if shown.get("UnitFileState") not in {"enabled", "enabled-runtime"}:
                    detail += ", not enabled"
            else:
                detail = answer.error
        elif self.file.exists():
            detail = "a file of somebody else's"
        return Part("daemon", self.file, installed, owned.says(self.file, self._text(plan)), running, detail)
