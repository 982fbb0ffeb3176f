"""Keeps a snapshot of the daemon fresh, and carries out what the person clicks. Threads; no display."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from spamd import service
from spamd.client import Client
from spamd.domain import Label, LabelSource, Verdict
from spamd.errors import NotRunning, SpamdError
from spamd.paths import Paths
from spamd.tray.signals import open_page
from spamd.tray.view import SHOWN_MOVES, Action, Deed, Snapshot

log = logging.getLogger(__name__)

POLL = 30.0  # seconds between looks without news
RETRY = 5.0  # seconds between looks for a daemon that is not there
FOLLOW_UP = 3.0  # seconds until a second look after news: the daemon keeps slow answers for a moment
SETTLE = 0.4  # seconds to gather news that come together


class Watching:
    """One thread looks, one listens to the daemon's stream, one acts. All end with `stop`."""

    def __init__(self, paths: Paths, on_change: Callable[[Snapshot], None]) -> None:
        self._paths = paths
        self._on_change = on_change
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._wishes: queue.SimpleQueue[Action | None] = queue.SimpleQueue()
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._told = ""  # the last failed wish, shown until the next look that brings news

    def start(self) -> None:
        for run in (self._look, self._act):
            threading.Thread(target=run, name=f"tray-{run.__name__.strip('_')}", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()
        self._news.set()
        self._wishes.put(None)
        self._leave()

    def wish(self, action: Action) -> None:
        """From the display's thread: returns at once."""
        self._wishes.put(action)

    # looking

    def _look(self) -> None:
        heard = True
        while not self._stopping.is_set():
            self._news.clear()
            snapshot = self._snapshot()
            try:
                self._on_change(snapshot)
            except Exception:  # a display's fault must not make the icon blind
                log.exception("The icon could not be changed")
            pause = RETRY if snapshot.status is None else FOLLOW_UP if heard else POLL
            heard = self._news.wait(pause)
            self._stopping.wait(SETTLE)

    def _snapshot(self) -> Snapshot:
        try:
            client = self._connected()
            status = client.status()
            moved = [
                one for one in client.judgements(verdict=Verdict.JUNK, limit=50) if one.moved or one.label
            ]
        except (NotRunning, RuntimeError) as error:  # RuntimeError: closed meanwhile by another thread
            self._leave()
            return Snapshot(trouble=error.title if isinstance(error, NotRunning) else "")
        except SpamdError as error:
            # Also a daemon of another version whose answers are strange to us: it must not end the icon.
            return Snapshot(trouble=str(error))
        told, self._told = self._told, ""
        return Snapshot(status, tuple(moved[:SHOWN_MOVES]), told)

    def _connected(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = Client.connect(self._paths)
                threading.Thread(
                    target=self._listen, args=(self._client,), name="tray-listen", daemon=True
                ).start()
            return self._client

    def _leave(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _listen(self, client: Client) -> None:
        """Until this daemon is gone; then the next look finds out."""
        try:
            for _ in client.stream():
                self._news.set()
        except (SpamdError, RuntimeError):  # RuntimeError: closed by _leave while it was read
            pass
        finally:
            with self._lock:
                if self._client is client:
                    self._client = None
            client.close()
            self._news.set()

    # acting

    def _act(self) -> None:
        while (action := self._wishes.get()) is not None:
            try:
                self._carry_out(action)
            except SpamdError as error:
                self._told = str(error)
            except RuntimeError:  # the daemon went away under the wish
                self._told = "That was not done: the daemon stopped."
            except OSError as error:
                self._told = f"That did not work: {error.strerror or error}"
            self._news.set()

    def _carry_out(self, action: Action) -> None:
        if action.deed is Deed.START:
            service.start_daemon(self._paths)
            return
        client = self._connected()
        match action.deed:
            case Deed.OPEN:
                open_page(client.open_url(action.value))
            case Deed.NOT_JUNK:
                client.answer(int(action.value), Label.HAM, source=LabelSource.UNDO)
            case Deed.PAUSE:
                client.pause(seconds=float(action.value))
            case Deed.PAUSE_UNTIL:
                client.pause(until=float(action.value))
            case Deed.RESUME:
                client.resume()
            case Deed.TRAIN:
                client.train()
            case Deed.GO_ON:
                client.go_on(action.value)
            case Deed.QUIT:
                pass  # the icon's own business
