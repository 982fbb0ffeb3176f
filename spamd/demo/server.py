"""An IMAP server inside this process, for the demo and for tests on machines without a real one.

It is pymap's in-memory backend, on the loopback interface only. Three of pymap's internals are changed for it (the version
is pinned for that): keywords are kept, an answer is sent in one piece, and IDLE tells of what happened while it spoke.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import secrets
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spamd.errors import RequestError

FOLDERS = ("Junk", "Trash", "Sent", "Drafts", "Archive")


class EmbeddedServer:
    """A running IMAP server with these users. Signing in needs no encryption, as it never leaves the machine.

    >>> with EmbeddedServer(users={"me": "secret"}) as server:
    ...     server.deliver("me", b"Subject: hello\\r\\n\\r\\nHello!\\r\\n")
    ...     print(server.host, server.port)
    """

    def __init__(
        self,
        users: Mapping[str, str],
        *,
        folders: Sequence[str] = FOLDERS,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.host = host
        self.port = port  # 0: any free one, known after start()
        self._users = dict(users)
        self._folders = tuple(folders)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._config: Any = None
        self._login: Any = None

    # -- life

    def start(self) -> EmbeddedServer:
        """Returns when connections are accepted. RequestError without pymap."""
        try:
            import pymap  # noqa: F401
        except ImportError as error:
            raise RequestError(
                "The demo's mail server is not installed.",
                'Install it with: pip install "spamd-desktop[demo]"',
            ) from error
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="embedded-imap", daemon=True)
        self._thread.start()
        ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise RequestError("The demo's mail server did not start.", str(self._failure)) from self._failure
        return self

    def stop(self) -> None:
        """Close every connection and end the thread. May be called twice."""
        loop, thread, stop = self._loop, self._thread, self._stop
        if loop is None or thread is None or stop is None:
            return
        self._loop = None
        loop.call_soon_threadsafe(stop.set)
        thread.join()

    def __enter__(self) -> EmbeddedServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- the world outside

    def add_user(self, user: str, password: str) -> None:
        """One more user, with the same folders."""
        self._call(self._add_user(user, password))

    def deliver(
        self,
        user: str,
        *mails: bytes,
        folder: str = "INBOX",
        flags: Iterable[str] = (),
        at: float | None = None,
    ) -> None:
        """Mail arrives, as from the outside. Line ends become CRLF, as on every mail server."""
        when = time.time() if at is None else at
        self._call(self._deliver(user, mails, folder, frozenset(flags), when))

    def count(self, user: str, folder: str = "INBOX") -> int:
        """Mails in a folder."""
        return int(self._call(self._count(user, folder)))

    def _call(self, coroutine: Any) -> Any:
        loop = self._loop
        if loop is None:
            coroutine.close()
            raise RequestError("The demo's mail server is not running.")
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    # -- inside the thread

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(ready))
        except BaseException as error:  # noqa: BLE001 - told to start(), in the thread that can act on it
            self._failure = error
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        from proxyprotocol.result import ProxyResultLocal
        from proxyprotocol.sock import SocketInfo
        from pymap.backend.dict import Config, Login
        from pymap.imap import IMAPServer

        arguments = argparse.Namespace(passlib_cfg=None, proxy_protocol=None, inherited_sockets=None)
        self._config = _without_surprises(Config)(
            arguments,
            host=self.host,
            port=self.port,
            tls_enabled=False,
            demo_data=False,
            demo_user="",
            demo_password="",
            hash_context=_Plain(),
            invalid_user_sleep=0.0,
            bad_command_limit=None,
            reject_dnsbl=False,
        )
        self._config.apply_context()
        self._login = Login(self._config)
        for user, password in self._users.items():
            await self._add_user(user, password)
        self._stop = asyncio.Event()
        tasks: set[asyncio.Task[Any]] = set()
        _mend_pymap()
        serve = IMAPServer(self._login, self._config)

        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                info = SocketInfo.get(writer, ProxyResultLocal(), unique_id=uuid.uuid4().bytes)
                await serve(reader, writer, info)
            except (OSError, EOFError, asyncio.CancelledError):
                pass  # the client went away, or we did
            finally:
                tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(connection, self.host, self.port, limit=1 << 26)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            self._loop = asyncio.get_running_loop()
            ready.set()
            await self._stop.wait()
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._config.cpu_subsystem_executor.shutdown(wait=False)

    async def _mailboxes(self, user: str) -> Any:
        from pymap.backend.dict import Identity

        async with Identity(user, self._login, None, frozenset()).new_session() as session:
            return session.mailbox_set

    async def _add_user(self, user: str, password: str) -> None:
        from pymap.user import UserMetadata

        self._login.users_dict[user] = UserMetadata(self._config, user, password=password)
        mailboxes = await self._mailboxes(user)
        for folder in self._folders:
            await mailboxes.add_mailbox(folder)

    async def _deliver(
        self, user: str, mails: Sequence[bytes], folder: str, flags: frozenset[str], at: float
    ) -> None:
        from pymap.parsing.message import AppendMessage
        from pymap.parsing.specials.flag import Flag

        mailbox = await (await self._mailboxes(user)).get_mailbox(folder)
        when = datetime.datetime.fromtimestamp(at, datetime.UTC)
        wanted = frozenset(Flag(flag.encode()) for flag in flags)
        for raw in mails:
            lines = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            await mailbox.append(AppendMessage(lines, when, wanted), recent=False)

    async def _count(self, user: str, folder: str) -> int:
        mailbox = await (await self._mailboxes(user)).get_mailbox(folder)
        return int((await mailbox.snapshot()).exists)


class _Plain:
    """Passwords as they are, for pymap: they live as long as this process."""

    def copy(self, **_: Any) -> _Plain:
        return self

    def hash(self, secret: str) -> str:
        return secret

    def verify(self, secret: str, hash: str) -> bool:  # noqa: A002
        return secrets.compare_digest(secret.encode(), hash.encode())


def _without_surprises(base: Any) -> Any:
    """pymap's configuration, with a fixed greeting (no look-up of our own name) and an ID."""
    from concurrent.futures import ThreadPoolExecutor

    from pymap.concurrent import Subsystem

    class DemoConfig(base):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.cpu_subsystem_executor = ThreadPoolExecutor(max_workers=1)
            super().__init__(
                *args, cpu_subsystem=Subsystem.for_threading(self.cpu_subsystem_executor), **kwargs
            )

        @property
        def greeting(self) -> bytes:
            return b"pymap, embedded in spamd, ready"

        @property
        def id_response(self) -> Mapping[bytes, bytes]:
            return {b"name": b"pymap"}

    return DemoConfig


def _mend_pymap() -> None:
    """Let pymap send each answer at once, keep keywords, and lose no news in IDLE."""
    from pymap.backend.dict.mailbox import MailboxData
    from pymap.imap import IMAPConnection
    from pymap.parsing.specials.flag import Flag

    mailbox: Any = MailboxData
    connection: Any = IMAPConnection
    if connection.write_response is _write_response:
        return  # another server of this process did it
    connection.write_response = _write_response
    known = mailbox.permanent_flags.fget(None) | {Flag(b"\\*")}
    mailbox.permanent_flags = property(lambda _: known)
    update = mailbox.update_selected

    async def update_selected(folder: Any, selected: Any, *, wait_on: Any = None) -> Any:
        """pymap waits for the next news, even if there have been some since it last looked, or IDLE is over by now."""
        if wait_on is not None and (
            wait_on.is_set() or selected.mod_sequence != folder._mod_sequences.highest
        ):
            wait_on = None
        return await update(folder, selected, wait_on=wait_on)

    mailbox.update_selected = update_selected


class _Buffer:
    """Looks like the writer of a stream; keeps what is written."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(bytes(data))


async def _write_response(connection: Any, response: Any) -> None:
    """Replaces IMAPConnection.write_response."""
    buffer = _Buffer()
    await response.async_write(buffer)
    with contextlib.suppress(ConnectionError):  # the reading side notices, and ends
        connection.writer.write(b"".join(buffer.pieces))
        await connection.writer.drain()
