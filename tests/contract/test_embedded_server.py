"""The demo's own mail server: what the demo and the tests rely on."""

from __future__ import annotations

import imaplib
import sys
import threading

import pytest

from spamd.domain import Account, AccountName, FolderName, TlsMode, Uid
from spamd.errors import ConnectionLost, RequestError, ServerBusy, SignInError
from spamd.mailbox.idle import open_watch
from spamd.mailbox.session import open_session
from tests.servers.mailhost import mail

pytest.importorskip("pymap")
from spamd.demo.server import EmbeddedServer

INBOX = FolderName("INBOX")


def account(server: EmbeddedServer, user: str) -> Account:
    return Account(AccountName(user), host=server.host, port=server.port, user=user, tls=TlsMode.NONE)


def test_users_folders_and_delivery():
    with EmbeddedServer(users={"ann": "one", "bob": "zwei ✓"}) as server:
        server.deliver("bob", b"Subject: hello\n\nHello!\n", flags=["\\Seen", "$Junk"], at=1_780_000_000)
        session = open_session(account(server, "bob"), "zwei ✓")
        assert {folder.role for folder in session.folders()} >= {"inbox", "junk", "trash", "sent"}
        (arrival,) = session.arrivals(INBOX, Uid(1))
        assert arrival.internal_date == 1_780_000_000
        assert {"\\Seen", "$Junk"} <= arrival.flags
        (fetched,) = session.fetch([arrival.ref])
        assert fetched.raw == b"Subject: hello\r\n\r\nHello!\r\n"
        session.close()
        assert (server.count("ann"), server.count("bob"), server.count("bob", "Junk")) == (0, 1, 0)
        with pytest.raises(SignInError):
            open_session(account(server, "ann"), "zwei ✓")
        with pytest.raises(SignInError):
            open_session(account(server, "nobody"), "x")
        server.add_user("cid", "three")
        open_session(account(server, "cid"), "three").close()


def test_it_pushes_news():
    with EmbeddedServer(users={"ann": "pw"}) as server:
        watch = open_watch(account(server, "ann"), "pw", INBOX)
        assert watch.idling
        while watch.wait(0.05):
            pass
        threading.Timer(0.05, server.deliver, ("ann", mail())).start()
        assert watch.wait(60)
        watch.close()


def test_news_while_it_tells_of_others():
    """A mail is moved away the moment IDLE tells of another client's SELECT: pymap alone said nothing in two of three."""
    with EmbeddedServer(users={"ann": "pw"}) as server:
        watch = open_watch(account(server, "ann"), "pw", INBOX)
        for _ in range(10):
            server.deliver("ann", mail())
            assert watch.wait(60)
            while watch.wait(0.05):
                pass
            with imaplib.IMAP4(server.host, server.port) as imap:
                imap.login("ann", "pw")
                imap.select()
                assert imap.uid("MOVE", "*", "Junk")[0] == "OK"
            assert watch.wait(60)
            while watch.wait(0.05):
                pass
        watch.close()


def test_the_end_reaches_everybody():
    server = EmbeddedServer(users={"ann": "pw"}).start()
    watch = open_watch(account(server, "ann"), "pw", INBOX)
    session = open_session(account(server, "ann"), "pw")
    server.stop()
    server.stop()
    ended = (ConnectionLost, ServerBusy)  # the second is its farewell, where that arrives before the end
    with pytest.raises(ended):
        while True:
            watch.wait(60)
    with pytest.raises(ended):
        session.status(INBOX)
    with pytest.raises(RequestError, match="not running"):
        server.deliver("ann", mail())
    with pytest.raises(ConnectionLost):
        open_session(account(server, "ann"), "pw")
    watch.close()


def test_two_at_once_on_chosen_ports():
    with EmbeddedServer(users={"ann": "pw"}) as one, EmbeddedServer(users={"ann": "pw"}) as two:
        assert one.port != two.port
        one.deliver("ann", mail())
        assert (one.count("ann"), two.count("ann")) == (1, 0)
        with pytest.raises(RequestError, match="did not start"):
            EmbeddedServer(users={}, port=one.port).start()


def test_without_pymap(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymap", None)
    with pytest.raises(RequestError, match="not installed") as caught:
        EmbeddedServer(users={}).start()
    assert "spamd-desktop[demo]" in caught.value.hint


def test_keywords_are_kept():
    with EmbeddedServer(users={"ann": "pw"}) as server:
        server.deliver("ann", mail())
        with imaplib.IMAP4(server.host, server.port) as imap:
            imap.login("ann", "pw")
            imap.select()
            imap.store("1", "+FLAGS", "($NotJunk)")
        session = open_session(account(server, "ann"), "pw")
        (arrival,) = session.arrivals(INBOX, Uid(1))
        assert "$NotJunk" in arrival.flags
        session.close()
