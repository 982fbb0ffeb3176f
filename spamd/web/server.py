"""The web server's thread: loopback, a free port, a run file that says where, and patience with limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from spamd import __version__
from spamd.paths import FULL, write_private
from spamd.web import pairing
from spamd.web.access import Access, Limits

if TYPE_CHECKING:
    from spamd.control import Control
    from spamd.paths import Paths

log = logging.getLogger(__name__)


class WebServer:
    """Serves pages and API while the daemon runs."""

    def __init__(self, control: Control, paths: Paths, *, limits: Limits | None = None) -> None:
        self._control = control
        self._paths = paths
        self.access = Access(limits or Limits())
        self.port = 0
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._written = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when the first request can be answered. OSError where loopback cannot be used."""
        from spamd.web.app import build

        listening = self._listen()
        self.port = listening.getsockname()[1]
        self.access.pairing = pairing.Pairing(self._paths.addon_key, self.port)
        app, streams = build(self._control, self.access, self.port)
        limits = self.access.limits

        class Patient(_PatientProtocol):
            header_seconds = limits.header_seconds

        config = uvicorn.Config(
            app,
            http=Patient,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=limits.connections,
            timeout_keep_alive=math.ceil(limits.header_seconds),
            timeout_graceful_shutdown=3,
            h11_max_incomplete_event_size=32_768,
        )
        started = threading.Event()
        server = _Server(config, started, streams.close)
        self._server = server
        self._thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listening]}, name="web", daemon=True
        )
        self._thread.start()
        if not started.wait(60):
            self.stop()
            raise OSError("the web server did not start")
        try:
            self._write_run_file()
        except OSError as error:
            if error.errno not in FULL:
                raise
            log.warning("there is no room for the run file yet: the pages cannot be found")
        log.info("pages at %s", self.url)

    def _listen(self) -> socket.socket:
        """On the port that a pasted key names, if there is one and it is free; else on any."""
        paired = pairing.wanted_port(self._paths.addon_key)
        if paired:
            try:
                return _listening(paired)
            except OSError as error:
                log.warning("port %d, which the add-on was told, is not free: %s", paired, error)
        return _listening(0)

    def stop(self) -> None:
        """Ends streams and requests, and removes the run file. Safe to call twice."""
        self._remove_run_file()
        if self._server is not None:
            self._server.end_soon()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(10)
        self._server = self._thread = None

    def keep_run_file(self) -> None:
        """Writes it anew if something removed it (a session's end clears its run folder): else nobody finds us."""
        serving = self._thread is not None and self._thread.is_alive()
        if serving and not self._paths.run_file.exists():
            log.info("the run file was gone, and is written anew")
            with contextlib.suppress(OSError):  # no room: the next look will do
                self._write_run_file()

    def _write_run_file(self) -> None:
        self._paths.run_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._written = json.dumps(
            {
                "port": self.port,
                "token": self.access.token,
                "pid": os.getpid(),
                "version": __version__,
                "started_at": time.time(),
            }
        ).encode()
        write_private(self._paths.run_file, self._written)

    def _remove_run_file(self) -> None:
        """Only ours: a daemon started since then has written its own."""
        with contextlib.suppress(OSError):
            if self._written and self._paths.run_file.read_bytes() == self._written:
                self._paths.run_file.unlink()


class _Server(uvicorn.Server):
    """Says when it is ready; ends event streams before it waits for requests to finish."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event, end_streams: Any) -> None:
        super().__init__(config)
        self._ready = ready
        self._end_streams = end_streams
        self._ending = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        """uvicorn looks ten times a second whether it is to end; we are woken when it is."""
        self._loop = asyncio.get_running_loop()
        counter = 0
        while not await self.on_tick(counter):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), 2.0)
            counter += 10  # every tenth renews the Date header

    def end_soon(self) -> None:
        """From any thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._ending.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        await super().shutdown(sockets)


class _PatientProtocol(H11Protocol):
    """Closes connections whose request header does not arrive in time (uvicorn waits for ever)."""

    header_seconds = 10.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_header()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and self._between_requests():
            self._wait_for_header()
        super().data_received(data)
        if not self._between_requests():
            self._header_is_here()

    def connection_lost(self, exc: Exception | None) -> None:
        self._header_is_here()
        super().connection_lost(exc)

    def _between_requests(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, whatever its annotation says
        return cycle is None or cycle.response_complete

    def _wait_for_header(self) -> None:
        self._deadline = self.loop.call_later(self.header_seconds, self._give_up)

    def _header_is_here(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self._between_requests() and not self.transport.is_closing():
            self.transport.close()


def _listening(port: int) -> socket.socket:
    """0: any port. OSError where it is not free."""
    # The protocol is named: only then asyncio switches Nagle off, which costs 40 ms an answer.
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            # Connections of this run may still be fading away when the next one wants its port. Windows needs no
            # such leave, and would share the port with whoever asks.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen(64)
    except OSError:
        made.close()
        raise
    return made
