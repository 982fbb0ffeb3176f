"""A desktop session of its own: Xvfb, D-Bus, a panel that shows icons, a notification service; and the icon's menu
as a panel reads it (com.canonical.dbusmenu)."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

_NEEDED = {
    "Xvfb": "xvfb",
    "trayer": "trayer",
    "xdotool": "xdotool",
    "import": "imagemagick",
    "dbus-daemon": "dbus",
    "dunst": "dunst",
}


def missing() -> str:
    """Why there can be no such session here, or ""."""
    for program, package in _NEEDED.items():
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian: apt install {package})"
    try:
        import gi

        gi.require_version("Gtk", "3.0")
        gi.require_version("AyatanaAppIndicator3", "0.1")
    except (ImportError, ValueError) as error:
        return f"PyGObject with GTK 3 and AyatanaAppIndicator3 is not installed ({error})"
    try:
        import PIL  # noqa: F401
        import pystray._info  # noqa: F401 the package itself asks for a display when it is imported
    except Exception as error:  # noqa: BLE001 not ImportError alone: pystray raises Xlib's own without a display
        if isinstance(error, ImportError):
            return f"pystray and Pillow are not installed ({error})"
    return ""


def wait_for(what: Callable[[], Any], seconds: float = 180.0, say: str = "") -> Any:
    """Until it is truthy; the value."""
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, say or f"never came true: {what}"
        time.sleep(0.05)
    return value


@dataclass(frozen=True)
class Line:
    """One line of the icon's menu."""

    id: int
    text: str
    enabled: bool
    children: tuple[Line, ...]

    def all(self) -> list[Line]:
        return [self, *(below for child in self.children for below in child.all())]


class DesktopSession:
    """panel: "trayer" (XEmbed), "xfce4-panel" (StatusNotifierItem) or "" (nothing shows icons)."""

    def __init__(self, folder: Path, panel: str = "trayer", *, size: tuple[int, int] = (1024, 640)) -> None:
        self._folder = folder
        self._children: list[subprocess.Popen[bytes]] = []
        self.panel = panel
        runtime = folder / "runtime"
        runtime.mkdir(mode=0o700, exist_ok=True)
        base = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
        self.env = {**base, "HOME": str(folder), "XDG_RUNTIME_DIR": str(runtime), "NO_AT_BRIDGE": "1"}
        self.env["PYTHONPATH"] = str(ROOT)
        for name in ("WAYLAND_DISPLAY", "PYSTRAY_BACKEND", "GTK_MODULES"):
            self.env.pop(name, None)
        try:
            self._begin(panel, size)
        except BaseException:
            self.close()
            raise

    def _begin(self, panel: str, size: tuple[int, int]) -> None:
        read, write = os.pipe()
        screen = ["-screen", "0", f"{size[0]}x{size[1]}x24", "-nolisten", "tcp", "-noreset"]
        self.start("Xvfb", "-displayfd", str(write), *screen, pass_fds=(write,))
        os.close(write)
        self.env["DISPLAY"] = f":{self._first_line(read)}"
        read, write = os.pipe()
        self.start(
            "dbus-daemon",
            "--session",
            "--nofork",
            "--nopidfile",
            f"--print-address={write}",
            pass_fds=(write,),
        )
        os.close(write)
        self.env["DBUS_SESSION_BUS_ADDRESS"] = self._first_line(read)
        # What D-Bus starts by itself must find the display, too.
        names = ["DISPLAY", "HOME", "XDG_RUNTIME_DIR"]
        subprocess.run(["dbus-update-activation-environment", *names], env=self.env, check=True, timeout=60)
        self.bus = _bus(self.env["DBUS_SESSION_BUS_ADDRESS"])
        self.start("dunst", "-conf", "/dev/null")
        self.notices = self._monitor()
        wait_for(lambda: self.has_owner("org.freedesktop.Notifications"), say="dunst did not start")
        if panel == "trayer":
            place = ["--edge", "top", "--align", "left", "--width", "200", "--widthtype", "pixel"]
            self.start("trayer", *place, "--height", "40", "--transparent", "false", "--tint", "0xffffff")
            wait_for(lambda: self.windows("trayer"), say="trayer did not start")
        elif panel:
            self.start("xfce4-panel", "--disable-wm-check")
            wait_for(lambda: self.has_owner("org.kde.StatusNotifierWatcher"), say="the panel shows no icons")

    @staticmethod
    def _first_line(descriptor: int) -> str:
        with os.fdopen(descriptor, "rb") as pipe:
            line = pipe.readline().decode().strip()
        assert line, "a part of the session did not start"
        return line

    def start(self, *words: str, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
        """A program of the session; ended with it."""
        output = (self._folder / f"{Path(words[0]).name}-{len(self._children)}.log").open("wb")
        child = subprocess.Popen(
            words,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        output.close()
        self._children.append(child)
        return child

    def close(self) -> None:
        for child in reversed(self._children):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait(30)

    # D-Bus

    def call(
        self, name: str, path: str, interface: str, method: str, signature: str = "()", *values: Any
    ) -> Any:
        from gi.repository import Gio, GLib

        given = GLib.Variant(signature, values)
        answer = self.bus.call_sync(
            name, path, interface, method, given, None, Gio.DBusCallFlags.NO_AUTO_START, 60_000, None
        )
        return answer.unpack()

    def has_owner(self, name: str) -> bool:
        owned = self.call("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "NameHasOwner", "(s)", name)
        return bool(owned[0])

    def _monitor(self) -> Path:
        child = self.start(
            "dbus-monitor", "--session", "interface='org.freedesktop.Notifications',member='Notify'"
        )
        return self._folder / f"dbus-monitor-{self._children.index(child)}.log"

    def noticed(self) -> str:
        """What the notification service was asked to show, as text."""
        return self.notices.read_text(errors="replace")

    # the screen

    def xdotool(self, *words: object) -> str:
        done = subprocess.run(
            ["xdotool", *map(str, words)],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout.strip()

    def windows(self, name: str) -> list[str]:
        return self.xdotool("search", "--onlyvisible", "--class", name).split()

    def picture(self, path: Path | None = None) -> Any:
        """The whole screen, as a Pillow image; also into a file."""
        from PIL import Image

        done = subprocess.run(
            ["import", "-window", "root", "png:-"], env=self.env, capture_output=True, timeout=60, check=True
        )
        if path:
            path.write_bytes(done.stdout)
        return Image.open(io.BytesIO(done.stdout)).convert("RGB")

    def find_colour(self, colour: tuple[int, int, int]) -> tuple[int, int] | None:
        """Where on the screen something is of (nearly) this colour: the middle of it."""
        image = self.picture()
        pixels = image.load()
        found = [
            (x, y)
            for y in range(min(image.height, 80))
            for x in range(image.width)
            if max(abs(one - other) for one, other in zip(pixels[x, y], colour, strict=True)) <= 12
        ]
        if len(found) < 10:
            return None
        return sum(x for x, _ in found) // len(found), sum(y for _, y in found) // len(found)


class Icon:
    """The real spamd-tray in a session."""

    def __init__(self, session: DesktopSession, command: list[str], environ: Mapping[str, str]) -> None:
        self._session = session
        session.env.update(environ)
        self.process = session.start(*command)
        self._name = ""

    def name(self) -> str:
        """Its name on the bus."""
        if not self._name:
            self._name = wait_for(self._find, say="the icon is not on the bus")
        return self._name

    def _find(self) -> str:
        assert self.process.poll() is None, f"the icon ended with {self.process.returncode}"
        (names,) = self._session.call("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "ListNames")
        for name in names:
            if not name.startswith(":"):
                continue
            with contextlib.suppress(Exception):
                (pid,) = self._session.call(
                    "org.freedesktop.DBus",
                    "/",
                    "org.freedesktop.DBus",
                    "GetConnectionUnixProcessID",
                    "(s)",
                    name,
                )
                if pid == self.process.pid and self._menu_path(name):
                    return str(name)
        return ""

    def until_renewed(self) -> None:
        """Another connection to the bus, from the same process."""
        before, self._name = self._name, ""

        def other() -> str:
            with contextlib.suppress(Exception):
                found = self._find()
                return found if found != before else ""
            return ""

        self._name = wait_for(other, say="the icon was not renewed")

    def _menu_path(self, name: str) -> str:
        path = "/org/ayatana/NotificationItem/spamd/Menu"
        self._session.call(name, path, "com.canonical.dbusmenu", "GetLayout", "(iias)", 0, 0, [])
        return path

    def menu(self) -> Line:
        name = self.name()
        _, layout = self._session.call(
            name, self._menu_path(name), "com.canonical.dbusmenu", "GetLayout", "(iias)", 0, -1, []
        )
        return _line(layout)

    def texts(self) -> list[str]:
        return [line.text for line in self.menu().all() if line.text]

    def wait_for_line(self, beginning: str, seconds: float = 180.0) -> Line:
        def find() -> Line | None:
            return next((line for line in self.menu().all() if line.text.startswith(beginning)), None)

        return wait_for(find, seconds, f"no line {beginning!r} in the menu")  # type: ignore[no-any-return]

    def choose(self, beginning: str) -> None:
        """As a panel does it when the person clicks that line."""
        from gi.repository import GLib

        line = self.wait_for_line(beginning)
        name = self.name()
        nothing = GLib.Variant("i", 0)
        self._session.call(
            name,
            self._menu_path(name),
            "com.canonical.dbusmenu",
            "Event",
            "(isvu)",
            line.id,
            "clicked",
            nothing,
            0,
        )


def _line(layout: Any) -> Line:
    number, properties, children = layout
    text = str(properties.get("label", "")).replace("__", "_")
    return Line(
        number, text, bool(properties.get("enabled", True)), tuple(_line(child) for child in children)
    )


def _bus(address: str) -> Any:
    from gi.repository import Gio

    flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
    return Gio.DBusConnection.new_for_address_sync(address, flags, None, None)
