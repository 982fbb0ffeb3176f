"""The demo's embedded server (pymap, in this process) as a test server: EMAILID, but no CONDSTORE."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from spamd.demo.server import EmbeddedServer
from tests.servers.mailhost import PASSWORD, MailHost


class Embedded(MailHost):
    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server
        self.host, self.port = server.host, server.port

    def new_user(self) -> str:
        user = super().new_user()
        self.server.add_user(user, PASSWORD)
        return user

    def append(
        self,
        user: str,
        *mails: bytes,
        folder: str = "INBOX",
        flags: Iterable[str] = (),
        at: float | None = None,
    ) -> list[int]:
        self.server.deliver(user, *mails, folder=folder, flags=flags, at=at)
        self.arrived(user, mails, flags)
        with self.oracle(user) as imap:
            imap.select(f'"{folder}"', readonly=True)
            uids = [int(uid) for uid in imap.uid("SEARCH", "ALL")[1][0].split()]
        return uids[len(uids) - len(mails) :]


@pytest.fixture(scope="session")
def _embedded():
    pytest.importorskip("pymap", reason="pymap is not installed (pip install pymap)")
    with EmbeddedServer(users={}) as server:
        yield Embedded(server)


@pytest.fixture
def pymap(_embedded):
    """The embedded server."""
    return _embedded
