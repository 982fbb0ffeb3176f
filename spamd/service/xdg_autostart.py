"""Desktop entries in the session's autostart folder (Desktop Application Autostart Specification 0.5).

For the tray on every Linux desktop, and for the daemon where there is no systemd user manager.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from spamd.errors import AutostartError
from spamd.service import owned, signed_in
from spamd.service.plan import Part, Plan

KIND = "xdg autostart"

_RESERVED = set(" \t\n\"'\\><~|&;$*?#()`")
_FILES = {"daemon": "spamd-desktop.desktop", "tray": "spamd-tray.desktop"}
_NAMES = {"daemon": "Junk-mail filter", "tray": "Junk-mail filter icon"}


def exec_word(word: str) -> str:
    """One word of Exec= (Desktop Entry Specification 1.5: quoting, then field codes, then string escapes)."""
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in word):
        raise AutostartError(
            f"{word!r} holds a control character, which a desktop entry cannot.", "Rename that folder."
        )
    word = word.replace("%", "%%")
    if not word or _RESERVED & set(word):
        for letter in '\\"`$':
            word = word.replace(letter, "\\" + letter)
        word = f'"{word}"'
    return word.replace("\\", "\\\\")


def render(name: str, command: Sequence[str], environment: Mapping[str, str]) -> str:
    words = list(command)
    if environment:
        words = ["env", *(f"{key}={value}" for key, value in sorted(environment.items())), *words]
    return f"""\
[Desktop Entry]
# {owned.MARK}.
Type=Application
Version=1.0
Name={_NAMES[name]}
Comment=Filters junk mail on this computer
Exec={" ".join(exec_word(word) for word in words)}
Icon=mail-mark-junk
Terminal=false
NoDisplay=true
X-GNOME-Autostart-enabled=true
"""


class XdgAutostart:
    kind = KIND

    def __init__(self, name: str, environ: Mapping[str, str], home: Path) -> None:
        self._name = name
        self._environ = environ
        configured = environ.get("XDG_CONFIG_HOME")
        base = Path(configured) if configured and Path(configured).is_absolute() else home / ".config"
        self.file = base / "autostart" / _FILES[name]

    def _text(self, plan: Plan) -> bytes | None:
        command = plan.command_of(self._name)
        if command is None:
            return None
        return render(self._name, command, plan.environment).encode("utf-8", "surrogateescape")

    def install(self, plan: Plan, *, start: bool = True) -> tuple[str, ...]:
        text = self._text(plan)
        if text is None:
            self.uninstall()
            return ()
        owned.write(self.file, text)
        told = start and self._name == "daemon" and signed_in.on_a_desktop(self._environ)
        return ("The filter starts with your next sign-in.",) if told else ()

    def uninstall(self) -> tuple[str, ...]:
        owned.remove(self.file)
        return ()

    def status(self, plan: Plan) -> Part:
        text = self._text(plan)
        installed = owned.is_ours(self.file)
        current = text is not None and owned.says(self.file, text)
        return Part(self._name, self.file, installed, current)
