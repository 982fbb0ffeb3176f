"""launchd agents (launchd.plist(5)): one for the daemon, one for the tray.

The keys are from the documentation; tests prove the file, not launchd's behaviour.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from spamd.service import owned
from spamd.service.plan import Part, Plan
from spamd.service.running import ask

KIND = "launchd"
LABELS = {"daemon": "org.spamd.desktop", "tray": "org.spamd.tray"}


def render(name: str, command: Sequence[str], environment: Mapping[str, str]) -> bytes:
    content: dict[str, object] = {
        "Label": LABELS[name],
        "ProgramArguments": list(command),
        "RunAtLoad": True,
        "ProcessType": "Background" if name == "daemon" else "Interactive",
        "LimitLoadToSessionType": "Aqua",
        "Umask": 0o077,
        "ExitTimeOut": 5,  # seconds between SIGTERM and SIGKILL
        "ThrottleInterval": 10,
        "KeepAlive": {"SuccessfulExit": False},
        "SpamdNote": owned.MARK,  # launchd passes over keys that it does not know
    }
    if environment:
        content["EnvironmentVariables"] = dict(environment)
    if name == "daemon":
        content |= {"LowPriorityBackgroundIO": True, "Nice": 5}
    import plistlib  # not in the memory of a daemon that never installs anything

    return plistlib.dumps(content)


_DOMAIN = "gui/0"
if sys.platform != "win32":
    _DOMAIN = f"gui/{os.getuid()}"


class Launchd:
    kind = KIND

    def __init__(self, name: str, home: Path) -> None:
        self._name = name
        self.file = home / "Library" / "LaunchAgents" / f"{LABELS[name]}.plist"

    def _text(self, plan: Plan) -> bytes | None:
        command = plan.command_of(self._name)
        return None if command is None else render(self._name, command, plan.environment)

    def install(self, plan: Plan, *, start: bool = True) -> tuple[str, ...]:
        text = self._text(plan)
        if text is None:
            return self.uninstall()
        owned.write(self.file, text)
        if not start:
            return ()
        ask(["launchctl", "bootout", f"{_DOMAIN}/{LABELS[self._name]}"])  # an older one, if loaded
        answer = ask(["launchctl", "bootstrap", _DOMAIN, str(self.file)])
        return () if answer.ok else (f"launchctl bootstrap failed: {answer.error or answer.output}",)

    def uninstall(self) -> tuple[str, ...]:
        if not owned.is_ours(self.file):
            return ()
        ask(["launchctl", "bootout", f"{_DOMAIN}/{LABELS[self._name]}"])
        owned.remove(self.file)
        return ()

    def status(self, plan: Plan) -> Part:
        text = self._text(plan)
        installed = owned.is_ours(self.file)
        running: bool | None = None
        if installed:
            answer = ask(["launchctl", "print", f"{_DOMAIN}/{LABELS[self._name]}"])
            running = "state = running" in answer.output if answer.code is not None else None
        return Part(
            self._name, self.file, installed, text is not None and owned.says(self.file, text), running
        )
