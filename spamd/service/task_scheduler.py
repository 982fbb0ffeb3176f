"""Windows tasks that run at sign-in (Task Scheduler schema 1.4).

The XML is kept beside our data and handed to schtasks; tests prove the file, not the scheduler's behaviour.
"""

from __future__ import annotations

import ntpath
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from spamd.service import owned
from spamd.service.plan import Part, Plan
from spamd.service.running import ask

KIND = "task scheduler"
TASKS = {"daemon": "spamd-desktop", "tray": "spamd-tray"}
_NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"


def render(name: str, command: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """UTF-16 with a byte order mark, as schtasks wants it."""
    task = ElementTree.Element("Task", {"version": "1.4", "xmlns": _NAMESPACE})

    def add(
        parent: ElementTree.Element, tag: str, text: str | None = None, **attributes: str
    ) -> ElementTree.Element:
        child = ElementTree.SubElement(parent, tag, attributes)
        child.text = text
        return child

    about = add(task, "RegistrationInfo")
    add(about, "Description", f"Private junk-mail filter. {owned.MARK}.")
    add(add(add(task, "Triggers"), "LogonTrigger"), "Enabled", "true")
    principal = add(add(task, "Principals"), "Principal", id="Author")
    add(principal, "LogonType", "InteractiveToken")
    add(principal, "RunLevel", "LeastPrivilege")
    settings = add(task, "Settings")
    for tag, text in (
        ("MultipleInstancesPolicy", "IgnoreNew"),
        ("DisallowStartIfOnBatteries", "false"),
        ("StopIfGoingOnBatteries", "false"),
        ("AllowHardTerminate", "true"),
        ("StartWhenAvailable", "true"),
        ("ExecutionTimeLimit", "PT0S"),
        ("Priority", "7"),
    ):
        add(settings, tag, text)
    retry = add(settings, "RestartOnFailure")
    add(retry, "Interval", "PT1M")
    add(retry, "Count", "5")
    action = add(add(task, "Actions", Context="Author"), "Exec")
    words = list(command)
    if environment:  # a task has no environment of its own
        pairs = " && ".join(f'set "{key}={value}"' for key, value in sorted(environment.items()))
        add(action, "Command", "cmd.exe")
        add(action, "Arguments", f'/d /s /c "{pairs} && {subprocess.list2cmdline(words)}"')
    else:
        add(action, "Command", words[0])
        add(action, "Arguments", subprocess.list2cmdline(words[1:]))
        add(action, "WorkingDirectory", ntpath.dirname(words[0]))
    ElementTree.indent(task)
    text = '<?xml version="1.0" encoding="UTF-16"?>\n' + ElementTree.tostring(task, encoding="unicode")
    return text.encode("utf-16")


class TaskScheduler:
    kind = KIND

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self.file = folder / f"{TASKS[name]}.task.xml"

    def _text(self, plan: Plan) -> bytes | None:
        command = plan.command_of(self._name)
        return None if command is None else render(self._name, command, plan.environment)

    def install(self, plan: Plan, *, start: bool = True) -> tuple[str, ...]:
        text = self._text(plan)
        if text is None:
            return self.uninstall()
        owned.write(self.file, text)
        task = TASKS[self._name]
        answer = ask(["schtasks", "/Create", "/F", "/TN", task, "/XML", str(self.file)])
        if answer.ok and start:
            answer = ask(["schtasks", "/Run", "/TN", task])
        return () if answer.ok else (f"schtasks failed: {answer.error or answer.output}",)

    def uninstall(self) -> tuple[str, ...]:
        if not owned.is_ours(self.file):
            return ()
        task = TASKS[self._name]
        ask(["schtasks", "/End", "/TN", task])
        answer = ask(["schtasks", "/Delete", "/F", "/TN", task])
        owned.remove(self.file)
        return () if answer.ok else (f"schtasks failed: {answer.error or answer.output}",)

    def status(self, plan: Plan) -> Part:
        text = self._text(plan)
        installed = owned.is_ours(self.file)
        detail = ""
        if installed:
            answer = ask(["schtasks", "/Query", "/TN", TASKS[self._name], "/FO", "LIST"])
            detail = "" if answer.ok else "the task is gone: install it again"
        return Part(
            self._name, self.file, installed, text is not None and owned.says(self.file, text), None, detail
        )
