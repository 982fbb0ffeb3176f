"""This file changed: told once, a moment after it has become quiet. The only room that knows `watchdog`.

A watched path may be a file or a folder, may be missing, may be replaced (os.replace) or be a link. Where
the system tells nothing (network folders), a look every minute finds it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from spamd.errors import SpamdError

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

log = logging.getLogger(__name__)

DEBOUNCE_SECONDS = 0.3  # editors and installers write several times in a row
LOOK_SECONDS = 60.0
_CHANGES = frozenset({"created", "deleted", "modified", "moved", "closed"})

Signature = tuple[object, ...] | None


class Watcher:
    """Calls back when a path changes. A context manager; `start` and `stop` may be called from any thread.

    Callbacks run one after the other in the watcher's own thread and should return soon.
    """

    def __init__(
        self,
        watched: Mapping[Path, Callable[[], None]] | Iterable[Path],
        on_change: Callable[[], None] | None = None,
        debounce: float = DEBOUNCE_SECONDS,
        *,
        look_every: float = LOOK_SECONDS,
    ) -> None:
        """watched: what to call for each path; or the paths, with one `on_change` for all."""
        if isinstance(watched, Mapping):
            calls = dict(watched)
        elif on_change is not None:
            calls = dict.fromkeys(watched, on_change)
        else:
            raise TypeError("a Watcher needs something to call")
        self._calls = {path.absolute(): call for path, call in calls.items()}
        self._debounce = debounce
        self._look_every = look_every
        self._changed = threading.Condition()
        self._due: dict[Path, float] = {}  # path -> when it has been quiet for long enough (monotonic)
        self._folders_changed = False
        self._stale: set[Path] = set()  # folders that went away, and with them the system's watch
        self._stopping = False
        self._signatures: dict[Path, Signature] = {}
        self._observer: BaseObserver | None = None
        self._watches: dict[tuple[Path, bool, int], Any] = {}  # with the inode: a folder made anew is another
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Changes after this returns are noticed."""
        if self._thread is not None:
            return
        self._stopping = False
        self._observer = self._start_observer()
        self._schedule()
        self._signatures = {path: _signature(path) for path in self._calls}
        self._thread = threading.Thread(target=self._run, name="file watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No callback is begun after this returns. Also from within a callback."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join()
        self._watches.clear()

    # ---- what the system tells

    def _start_observer(self) -> BaseObserver | None:
        from watchdog.observers import Observer

        observer = Observer()
        try:
            observer.start()
        except OSError as exc:  # fs.inotify.max_user_instances is reached
            log.warning("Changed files are noticed only once a minute: %s", exc.strerror)
            return None
        return observer

    def _schedule(self) -> None:
        """Watch what exists of each path: the folder that holds it, itself, or the nearest one above.

        Again until nothing more is found: a folder made between the look and its watch is told by nobody.
        """
        for _ in range(20):  # deep enough; more only if folders come and go faster than we look
            if self._observer is None or not self._renew_watches(self._observer):
                return

    def _renew_watches(self, observer: BaseObserver) -> bool:
        with self._changed:
            stale, self._stale = self._stale, set()
        wanted: set[tuple[Path, bool, int]] = set()
        for path in self._calls:
            for place in {path, Path(os.path.realpath(path))}:
                above = _nearest_folder(place.parent)
                with contextlib.suppress(OSError):
                    wanted.add((above, False, above.stat().st_ino))
                    if place.is_dir():
                        wanted.add((place, True, place.stat().st_ino))
        for key in [one for one in self._watches if one not in wanted or one[0] in stale]:
            watch = self._watches.pop(key)
            with contextlib.suppress(KeyError, OSError):  # the folder went away and took its watch along
                observer.unschedule(watch)
        fresh = wanted - self._watches.keys()
        for key in fresh:
            folder, recursive, _ = key
            try:
                self._watches[key] = observer.schedule(cast("Any", self), str(folder), recursive=recursive)
            except FileNotFoundError:
                continue  # gone meanwhile: looked at again
            except OSError as exc:  # fs.inotify.max_user_watches is reached
                log.warning("Changes in a folder are noticed only once a minute: %s", exc.strerror)
                return False
        return bool(fresh)

    def dispatch(self, event: Any) -> None:
        """watchdog's handler interface; in its thread."""
        if event.event_type not in _CHANGES:
            return  # "opened" and "closed_no_write" are only readers, perhaps our own
        places = [Path(os.fsdecode(place)) for place in (event.src_path, event.dest_path) if place]
        with self._changed:
            if event.event_type in ("deleted", "moved"):
                self._stale.add(places[0])  # made anew, it may even have the same inode
            for path in self._calls:
                real = Path(os.path.realpath(path))
                if any(
                    place in (path, real) or path in place.parents or real in place.parents
                    for place in places
                ):
                    self._due[path] = time.monotonic() + self._debounce
                elif event.event_type != "modified" and any(
                    place in path.parents or place in real.parents for place in places
                ):
                    self._folders_changed = True
            self._changed.notify_all()

    # ---- our own thread

    def _run(self) -> None:
        next_look = time.monotonic() + self._look_every
        while True:
            with self._changed:
                if self._stopping:
                    return
                folders_changed, self._folders_changed = self._folders_changed, False
                now = time.monotonic()
                ready = [path for path, at in self._due.items() if at <= now]
                for path in ready:
                    del self._due[path]
                if not ready and not folders_changed and now < next_look:
                    self._changed.wait(min([*self._due.values(), next_look]) - now)
                    continue
            if folders_changed or ready:
                self._schedule()
            if folders_changed or now >= next_look:
                next_look = now + self._look_every
                different = [one for one in self._calls if _signature(one) != self._signatures.get(one)]
                with self._changed:
                    for path in different:
                        self._due.setdefault(path, now + self._debounce)
            for path in ready:
                self._signatures[path] = _signature(path)
                self._call(path)

    def _call(self, path: Path) -> None:
        with self._changed:
            if self._stopping:
                return
        try:
            self._calls[path]()
        except (SpamdError, OSError) as exc:
            log.warning("A changed file (%s) could not be taken up: %s", path.name, exc)
        except Exception:  # this thread serves all files, as long as the program runs
            log.exception("A changed file (%s) could not be taken up", path.name)


def _nearest_folder(path: Path) -> Path:
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


def _signature(path: Path) -> Signature:
    """What differs after a change; of a folder also what lies right below it."""
    try:
        there = path.stat()
        below: tuple[object, ...] = ()
        if path.is_dir():
            with os.scandir(path) as entries:
                below = tuple(sorted((one.name, one.stat().st_mtime_ns) for one in entries))
    except OSError:
        return None
    return (there.st_ino, there.st_size, there.st_mtime_ns, below)
