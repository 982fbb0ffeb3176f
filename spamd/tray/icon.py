"""pystray's icon around the view: the only place that knows pystray."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from dataclasses import asdict
from typing import Any

from spamd import settings, wire
from spamd.errors import ConfigError, RequestError
from spamd.paths import Paths, write_private
from spamd.tray import notices, picture
from spamd.tray.view import Action, Deed, Face, IconState, Item, Snapshot, View, tomorrow, view
from spamd.tray.watching import Watching
from spamd.upgrade import Change, Program

log = logging.getLogger(__name__)


class TrayIcon:
    """Shows what `Watching` sees until the person quits."""

    def __init__(self, pystray: Any, paths: Paths, program: Program) -> None:
        """program: looked at now and then; where `upgraded`, the icon has ended for the new one."""
        self._program = program
        self._new_program = False
        self._told_to_stop = False
        self._pystray = pystray
        self._paths = paths
        self._watching = Watching(paths, self._seen)
        self._shown: View | None = None
        self._ready = threading.Event()
        self._memory_file = paths.state / "tray.json"
        self._memory = self._remembered()
        start = view(Snapshot(trouble="Looking for the filter…"), time.time())
        self._face: Face = start.face
        self._icon = pystray.Icon("spamd", picture.draw(start.face), start.title, self._menu(start.menu))

    def run(self) -> None:
        """Blocks on the calling thread, which must be the main one (macOS)."""
        self._icon.run(setup=self._begin)

    @property
    def was_shown(self) -> bool:
        return self._ready.is_set()

    @property
    def upgraded(self) -> bool:
        """It has ended for the new program. Who quits is obeyed, also while the new one was tried."""
        return self._new_program and not self._told_to_stop

    def stop(self) -> None:
        self._told_to_stop = True
        self._end()

    def _end(self) -> None:
        self._watching.stop()
        self._icon.stop()

    def _begin(self, icon: Any) -> None:
        icon.visible = True
        self._ready.set()
        self._watching.start()

    def _seen(self, snapshot: Snapshot) -> None:
        """On the watching thread; pystray hands changes to the display's own."""
        if self._program.look() is Change.NEW:
            self._new_program = True
            self._end()
            return
        now = time.time()
        wanted = view(snapshot, now)
        before, self._shown = self._shown, wanted
        if before is None or wanted.face != self._face:
            self._icon.icon = picture.draw(wanted.face)
            self._face = wanted.face
        if before is None or wanted.title != before.title:
            self._icon.title = wanted.title
        # "Until tomorrow" moves with every look: a menu that differs only in that stays as it is.
        if before is None or _texts(wanted.menu) != _texts(before.menu):
            self._icon.menu = self._menu(wanted.menu)
            self._icon.update_menu()
        if wanted.face.state is not IconState.AWAY and snapshot.status is not None:
            self._notify(snapshot, now)

    def _notify(self, snapshot: Snapshot, now: float) -> None:
        assert snapshot.status is not None
        try:
            chosen = settings.load(self._paths.config_file)
        except ConfigError:
            return  # the daemon tells of it
        told, memory = notices.due(
            snapshot.status,
            self._memory,
            wanted=chosen.notifications,
            quiet_hours=chosen.quiet_hours,
            now=now,
        )
        for notice in told:
            self._icon.notify(notice.text, notice.title)
        if memory != self._memory:
            self._memory = memory
            try:
                write_private(self._memory_file, json.dumps(asdict(memory)).encode())
            except OSError as error:
                log.warning("The notices that were shown could not be noted: %s", error.strerror)

    def _remembered(self) -> notices.Memory:
        try:
            return wire.from_json(notices.Memory, json.loads(self._memory_file.read_bytes()))
        except (OSError, ValueError, RequestError):
            return notices.Memory()

    def _menu(self, items: tuple[Item, ...]) -> Any:
        return self._pystray.Menu(*(self._line(item) for item in items))

    def _line(self, item: Item) -> Any:
        if not item.text:
            return self._pystray.Menu.SEPARATOR
        text = item.text.replace("&", "&&") if sys.platform == "win32" else item.text
        if item.children:
            return self._pystray.MenuItem(text, self._menu(item.children))
        action = item.action
        if action is None:
            return self._pystray.MenuItem(text, None, enabled=False)
        return self._pystray.MenuItem(text, lambda icon, line: self._clicked(action), default=item.default)

    def _clicked(self, action: Action) -> None:
        if action.deed is Deed.QUIT:
            self.stop()
        elif action.deed is Deed.PAUSE_UNTIL:
            self._watching.wish(Action(action.deed, str(tomorrow(time.time()))))
        else:
            self._watching.wish(action)


def _texts(items: tuple[Item, ...]) -> list[object]:
    return [
        (one.text, None if one.action is None else _stable(one.action), _texts(one.children)) for one in items
    ]


def _stable(action: Action) -> object:
    return action.deed if action.deed is Deed.PAUSE_UNTIL else action
