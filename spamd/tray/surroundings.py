"""Whether an icon can be shown here: display, D-Bus, a backend that gets clicks, somebody to show it."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from spamd.errors import SpamdError

BACKENDS = ("appindicator", "gtk")
"""Of pystray's Linux backends; xorg is refused, because it never gets a click and has no menu."""

BUS_SECONDS = 15.0

INSTALL = "pipx inject spamd-desktop pystray pillow"
if sys.platform.startswith("linux"):  # PyGObject is built where it is installed
    INSTALL = (
        "Debian, Ubuntu: apt install python3-dev pkg-config libcairo2-dev libgirepository1.0-dev gir1.2-gtk-3.0 "
        "gir1.2-ayatanaappindicator3-0.1; then: pipx inject spamd-desktop 'PyGObject<3.51' pystray pillow"
    )


class NoTray(SpamdError):
    """The icon cannot be shown here. The daemon is not concerned."""


def backend(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Any:
    """The pystray module with a usable backend. NoTray, in words, where there is none."""
    if platform.startswith("linux"):
        _session(environ)
    try:
        importlib.import_module("PIL")
    except ImportError:
        raise NoTray("The icon's parts are not installed.", INSTALL) from None
    if not platform.startswith("linux"):
        return _load(None)
    wanted = environ.get("PYSTRAY_BACKEND", "")
    if wanted and wanted not in BACKENDS:
        raise NoTray(f"The tray backend {wanted!r} gets no clicks.", f"Unset PYSTRAY_BACKEND. {INSTALL}")
    _asked_in_time(_watcher_on_bus)  # before GTK, whose very import waits for the bus
    _display()
    for name in (wanted,) if wanted else BACKENDS:
        found = _load(name)
        if found is not None:
            return found
    raise NoTray("There is no usable tray backend (AppIndicator or GTK).", INSTALL)


def _session(environ: Mapping[str, str]) -> None:
    if not environ.get("DISPLAY") and not environ.get("WAYLAND_DISPLAY"):
        raise NoTray("There is no display.", "Start spamd-tray from a desktop session.")
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if not environ.get("DBUS_SESSION_BUS_ADDRESS") and not os.path.exists(f"{runtime}/bus"):  # noqa: PTH110
        raise NoTray("There is no D-Bus session.", "Start spamd-tray from a desktop session.")


def _display() -> None:
    try:
        gi = importlib.import_module("gi")
        gi.require_version("Gtk", "3.0")
        gtk = importlib.import_module("gi.repository.Gtk")
    except (ImportError, ValueError) as error:
        raise NoTray("GTK 3 for Python is not installed.", INSTALL) from error
    # False, not an exception, for a display that is named but not there.
    if not gtk.init_check(None)[0]:
        raise NoTray("The display cannot be opened.", "Start spamd-tray from a desktop session.")


def _load(name: str | None) -> Any:
    if name is not None:
        os.environ["PYSTRAY_BACKEND"] = name  # read once, when it is imported
    try:
        return importlib.import_module("pystray")
    except Exception as error:
        if name is None:
            raise NoTray("The tray backend does not work.", str(error)) from error
        for module in [one for one in sys.modules if one == "pystray" or one.startswith("pystray.")]:
            del sys.modules[module]
        return None


def somebody_shows_icons() -> bool:
    """A status notifier watcher on the bus, or a system tray of the X display."""
    return _asked_in_time(_watcher_on_bus) or _tray_on_display()


def _asked_in_time(question: Callable[[], bool]) -> bool:
    """A bus that takes the connection and then says nothing would hold us for ever. NoTray after a while."""
    answers: list[bool | NoTray] = []

    def ask() -> None:
        try:
            answers.append(question())
        except NoTray as error:
            answers.append(error)
        except ImportError:
            answers.append(False)  # GTK is missing: told when it is wanted

    asking = threading.Thread(target=ask, name="tray-bus", daemon=True)
    asking.start()
    asking.join(BUS_SECONDS)
    answer = answers[0] if answers else NoTray("The D-Bus session does not answer.", "Sign out and in again.")
    if isinstance(answer, NoTray):
        raise answer
    return answer


def _watcher_on_bus() -> bool:
    gio = importlib.import_module("gi.repository.Gio")
    glib = importlib.import_module("gi.repository.GLib")
    try:
        bus = gio.bus_get_sync(gio.BusType.SESSION, None)
        answer = bus.call_sync(
            "org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "NameHasOwner",
            glib.Variant("(s)", ("org.kde.StatusNotifierWatcher",)),
            None,
            gio.DBusCallFlags.NONE,
            5000,
            None,
        )
    except glib.Error as error:
        raise NoTray("The D-Bus session does not answer.", str(error.message)) from error
    return bool(answer.unpack()[0])


def _tray_on_display() -> bool:
    if not os.environ.get("DISPLAY"):
        return False
    try:
        display = importlib.import_module("Xlib.display").Display()
    except Exception:  # noqa: BLE001 python-xlib raises its own kinds for every way a display can be wrong
        return False
    try:
        atom = display.intern_atom(f"_NET_SYSTEM_TRAY_S{display.get_default_screen()}")
        return bool(display.get_selection_owner(atom))
    finally:
        display.close()


def wait_for_host(
    seconds: float, shows: Callable[[], bool] = somebody_shows_icons, stopping: threading.Event | None = None
) -> None:
    """At sign-in the panel may come after us. NoTray when nobody has come in that time."""
    pause = stopping or threading.Event()
    left = seconds
    while not shows():
        if left <= 0 or pause.wait(min(1.0, left)):
            raise NoTray(
                "Nothing on this desktop shows tray icons.",
                "GNOME: install the extension AppIndicator and KStatusNotifierItem Support, then start spamd-tray again.",
            )
        left -= 1.0
