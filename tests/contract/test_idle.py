"""Waiting for news. Scenarios 8, 9 and 12 to 16: nothing is lost, nothing spins, the dead are noticed."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from spamd.domain import FolderName, TlsMode
from spamd.errors import ConnectionLost
from spamd.mailbox import idle
from spamd.mailbox.connection import connect
from spamd.mailbox.idle import ImapWatch, open_watch
from tests.servers.dovecot import OLD
from tests.servers.mailhost import PASSWORD, mail
from tests.servers.scripted import CLOSE, answer, expect, opened, sign_in

INBOX = FolderName("INBOX")
LONG = 60.0  # never waited for in full
QUIET = 0.05


def scripted_watch(server, **options):
    return ImapWatch(connect(server.account(), PASSWORD), INBOX, b"INBOX", **options)


def settle(watch, quiet=QUIET):
    """Until what the server says on its own about the past has been said."""
    while watch.wait(quiet):
        pass


@pytest.mark.parametrize("kind", ["dovecot", "dovecot-tls", "cyrus", "pymap", "courier"])
def test_tells_of_arrivals_and_departures(request, kind, monkeypatch):
    monkeypatch.setattr(idle, "POLL_SECONDS", 0.2)
    name, _, tls = kind.partition("-")
    host = request.getfixturevalue(name)
    host = host() if name == "dovecot" else host
    user = host.new_user()
    account = host.account(user, tls=TlsMode.IMPLICIT if tls else TlsMode.NONE)
    connection = connect(account, PASSWORD)
    watch = ImapWatch(connection, INBOX, b"INBOX", poll_seconds=0.2)
    assert watch.idling == (name != "courier")
    settle(watch)
    (uid,) = host.append(user, mail("one"))
    assert watch.wait(LONG)
    settle(watch)
    host.move(user, [uid], "INBOX", host.junk)
    assert watch.wait(LONG)
    watch.close()


def test_flags_are_news(dovecot):
    host = dovecot()
    user = host.new_user()
    host.append(user, mail("one"))
    watch = open_watch(host.account(user), PASSWORD, INBOX)
    settle(watch)
    host.store(user, [1], "+FLAGS", "$Junk")
    assert watch.wait(LONG)
    watch.close()


def test_nothing_is_lost_between_two_waits(dovecot):
    host = dovecot()
    user = host.new_user()
    watch = open_watch(host.account(user), PASSWORD, INBOX)
    settle(watch)
    for _ in range(3):
        host.append(user, mail())
        assert watch.wait(LONG)
        host.append(user, mail())  # while nobody waits
        assert watch.wait(LONG)
        settle(watch)
    watch.close()


def test_12_news_in_the_segment_of_the_continuation(scripted_server):
    server = scripted_server([*sign_in(), *opened(3), expect("IDLE"), b"+ idling\r\n* 4 EXISTS\r\n"])
    watch = scripted_watch(server)
    assert watch.wait(LONG)
    watch.close()


def test_news_before_the_continuation(scripted_server):
    server = scripted_server([*sign_in(), *opened(3), expect("IDLE"), b"* 4 EXISTS\r\n+ idling\r\n"])
    watch = scripted_watch(server)
    assert watch.wait(LONG)
    watch.close()


def test_repeated_exists_and_greetings_are_no_news(scripted_server):
    said = threading.Event()
    server = scripted_server(
        [
            *sign_in(),
            *opened(3),
            expect("IDLE"),
            b"+ idling\r\n* OK Still here\r\n* 3 EXISTS\r\n* 0 RECENT\r\n",
            said,
            b"* 2 EXPUNGE\r\n",
        ]
    )
    watch = scripted_watch(server)
    assert watch.wait(0.3) is False
    said.set()
    assert watch.wait(LONG)
    watch.close()


@pytest.mark.parametrize("tls", [False, True])
def test_13_fragmented_lines(dovecot, fault_proxy, tls):
    host = dovecot()
    user = host.new_user()
    proxy = fault_proxy(host.tls_port if tls else host.port, raw=tls)
    account = replace(host.account(user, tls=TlsMode.IMPLICIT if tls else TlsMode.NONE), port=proxy.port)
    watch = open_watch(account, PASSWORD, INBOX)
    settle(watch)
    proxy.fragment = 3
    host.append(user, mail())
    assert watch.wait(LONG)
    watch.close()


def test_13_a_line_in_pieces_over_time(scripted_server):
    rest = threading.Event()
    server = scripted_server(
        [*sign_in(), *opened(3), expect("IDLE"), b"+ idling\r\n* 4 EX", rest, b"ISTS\r\n"]
    )
    watch = scripted_watch(server)
    assert watch.wait(0.2) is False
    rest.set()
    assert watch.wait(LONG)
    watch.close()


def test_14_without_idle_it_polls(dovecot):
    host = dovecot(capabilities="IMAP4rev1 UIDPLUS MOVE")
    user = host.new_user()
    watch = ImapWatch(connect(host.account(user), PASSWORD), INBOX, b"INBOX", poll_seconds=0.1)
    assert not watch.idling
    settle(watch)
    host.append(user, mail())
    assert watch.wait(LONG)
    watch.close()


def test_14_idle_offered_but_refused(scripted_server):
    server = scripted_server(
        [
            *sign_in(),
            *opened(3),
            *answer("IDLE", status="BAD Unknown command"),
            *answer("NOOP"),
            *answer("NOOP", "* 4 EXISTS"),
        ]
    )
    watch = scripted_watch(server, poll_seconds=0.05)
    assert watch.wait(LONG)
    assert not watch.idling
    watch.close()


def test_a_server_that_ends_idle_again_and_again(scripted_server):
    ended = [step for _ in range(5) for step in (expect("IDLE"), b"+ idling\r\nTAG OK that was it\r\n")]
    server = scripted_server([*sign_in(), *opened(3), *ended, *answer("NOOP", "* 4 EXISTS")])
    watch = scripted_watch(server, poll_seconds=0.05)
    assert watch.wait(LONG)
    assert not watch.idling
    watch.close()


def test_15_renewal(dovecot):
    host = dovecot()
    user = host.new_user()
    watch = ImapWatch(connect(host.account(user), PASSWORD), INBOX, b"INBOX", renew_seconds=0.1)
    settle(watch)
    deadline = time.monotonic() + LONG
    while watch.renewals < 2 and time.monotonic() < deadline:
        assert watch.wait(0.2) is False
    assert watch.renewals >= 2
    host.append(user, mail())
    assert watch.wait(LONG)
    watch.close()


def test_15_news_that_come_with_the_end_of_idle(scripted_server):
    server = scripted_server(
        [
            *sign_in(),
            *opened(3),
            expect("IDLE"),
            b"+ idling\r\n",
            expect("DONE"),
            b"* 4 EXISTS\r\nTAG OK done\r\n",
        ]
    )
    watch = scripted_watch(server, renew_seconds=0.05)
    assert watch.wait(LONG)
    watch.close()


def test_16_vanished(scripted_server):
    server = scripted_server([*sign_in(), *opened(3), expect("IDLE"), b"+ idling\r\n* VANISHED 4\r\n"])
    watch = scripted_watch(server)
    assert watch.wait(LONG)
    watch.close()


def test_16_an_arrival_after_vanished(scripted_server):
    """The count is what it was before the one that vanished: news all the same."""
    more = threading.Event()
    server = scripted_server(
        [*sign_in(), *opened(3), expect("IDLE"), b"+ idling\r\n* VANISHED 2:3\r\n", more, b"* 3 EXISTS\r\n"]
    )
    watch = scripted_watch(server)
    assert watch.wait(LONG)
    more.set()
    assert watch.wait(LONG)
    watch.close()


@pytest.mark.parametrize("server", ["dovecot", "cyrus"])
def test_16_vanished_for_real(request, server):
    """With QRESYNC switched on, a server says VANISHED instead of EXPUNGE in IDLE."""
    host = request.getfixturevalue(server)
    host = host() if server == "dovecot" else host
    user = host.new_user()
    host.append(user, mail("one"), mail("two"))
    connection = connect(host.account(user), PASSWORD)
    assert connection.enable("QRESYNC")
    watch = ImapWatch(connection, INBOX, b"INBOX")
    settle(watch)
    seen = []
    take = watch._judge
    watch._judge = lambda response: (seen.append(response.name), take(response))
    for uid in (1, 2):
        host.move(user, [uid], "INBOX", host.junk)
        assert watch.wait(LONG)
        settle(watch, 1.0)
        host.append(user, mail("another"))
        assert watch.wait(LONG)
        settle(watch, 1.0)
    assert b"VANISHED" in seen
    assert b"EXPUNGE" not in seen
    watch.close()


@pytest.mark.parametrize("said", ["VANISHED 1:4000000000", "VANISHED nonsense", "VANISHED (EARLIER) 1"])
def test_16_any_vanished_is_news(scripted_server, said):
    server = scripted_server([*sign_in(), *opened(3), expect("IDLE"), f"+ idling\r\n* {said}\r\n".encode()])
    watch = scripted_watch(server)
    assert watch.wait(LONG)
    watch.close()


# -- NOTIFY

NOTIFY = "IMAP4rev1 IDLE NOTIFY"


@pytest.mark.parametrize("storage", ["maildir", "mdbox"])
def test_notify_tells_of_the_other_folders(dovecot, storage):
    """One connection: arrivals, keywords and departures in Junk, and the inbox as ever."""
    host = dovecot(storage=storage)
    user = host.new_user()
    host.create(user, "Maybe", "Work")
    for folder in ("INBOX", "Junk", "Maybe", "Work"):
        host.append(user, mail("one"), mail("two"), folder=folder)
    account = replace(host.account(user), unsure_folder=FolderName("Maybe"))
    watch = open_watch(account, PASSWORD, INBOX)
    assert watch.idling
    assert watch.notified
    settle(watch)
    deeds = [
        lambda: host.append(user, mail("three"), folder="Junk"),
        lambda: host.store(user, [1], "+FLAGS", "$NotJunk", folder="Junk"),
        lambda: host.move(user, [1], "Junk", "Work"),
        lambda: host.move(user, [1], "Maybe", "Work"),
        lambda: host.append(user, mail("three")),
        lambda: host.store(user, [1], "+FLAGS", "$Junk"),
        lambda: host.move(user, [1], "INBOX", "Work"),
        lambda: host.move(user, [2], "Junk", "INBOX"),
    ]
    for deed in deeds:
        deed()
        assert watch.wait(LONG)
        settle(watch, 1.0)  # a drag is two pieces of news, and Dovecot waits half a second with each
    watch.close()


def test_notify_misses_nothing_between_two_waits(dovecot):
    host = dovecot()
    user = host.new_user()
    watch = open_watch(host.account(user), PASSWORD, INBOX)
    assert watch.notified
    settle(watch)
    for folder in ("INBOX", "Junk", "INBOX", "Junk"):
        host.append(user, mail(), folder=folder)
        assert watch.wait(LONG)
        settle(watch)
        watch._renew()  # DONE: Dovecot tells of Junk also now, and of the inbox with the next IDLE
        host.append(user, mail(), folder=folder)
        assert watch.wait(LONG)
        settle(watch)
    watch.close()


@pytest.mark.parametrize("said", ["NO too much to watch", "BAD what?", "NO [NOTIFICATIONOVERFLOW] no"])
def test_notify_refused_leaves_idle(scripted_server, said):
    server = scripted_server(
        [
            *sign_in(NOTIFY),
            *opened(3),
            *answer("NOTIFY", status=said),
            expect("IDLE"),
            b"+ idling\r\n* 4 EXISTS\r\n",
        ]
    )
    watch = scripted_watch(server, others=[b"Junk", b"My &APw-"])
    assert watch.idling
    assert not watch.notified
    assert watch.wait(LONG)
    events = "(MessageNew MessageExpunge FlagChange)"
    assert server.received[-2] == f'NOTIFY SET (SELECTED {events}) (mailboxes ("Junk" "My &APw-") {events})'
    watch.close()


def test_notify_not_offered(dovecot):
    """Dovecot without its index of folders: the inbox is watched by IDLE as ever."""
    host = dovecot(list_index=False)
    user = host.new_user()
    watch = open_watch(host.account(user), PASSWORD, INBOX)
    assert not watch.notified
    assert watch.idling
    settle(watch)
    host.append(user, mail("one"))
    assert watch.wait(LONG)
    watch.close()


def test_notify_given_up_by_the_server(scripted_server):
    """What was lost is news; from then on it is a watch of one folder."""
    more = threading.Event()
    server = scripted_server(
        [
            *sign_in(NOTIFY),
            *opened(3),
            *answer("NOTIFY", '* STATUS "Junk" (MESSAGES 1)'),
            expect("IDLE"),
            b"+ idling\r\n* OK [NOTIFICATIONOVERFLOW] too busy\r\n",
            expect("DONE"),
            b"TAG OK done\r\n",
            *answer("NOTIFY SET .SELECTED .MessageNew MessageExpunge FlagChange..$"),
            expect("IDLE"),
            b"+ idling\r\n",
            more,
            b"* 4 EXISTS\r\n",
        ]
    )
    watch = scripted_watch(server, others=[b"Junk"])
    assert watch.wait(LONG)  # of the STATUS that came with the answer
    assert watch.wait(LONG)
    assert watch.wait(0.3) is False
    assert not watch.notified
    more.set()
    assert watch.wait(LONG)
    watch.close()


def test_notify_given_up_for_good(scripted_server):
    server = scripted_server(
        [
            *sign_in(NOTIFY),
            *opened(3),
            *answer("NOTIFY"),
            expect("IDLE"),
            b"+ idling\r\n* OK [NOTIFICATIONOVERFLOW] too busy\r\n",
            expect("DONE"),
            b"TAG OK done\r\n",
            *answer("NOTIFY", status="NO not now"),
        ]
    )
    watch = scripted_watch(server, others=[b"Junk"])
    assert watch.wait(LONG)
    with pytest.raises(ConnectionLost, match="no news any more"):
        watch.wait(LONG)
    watch.close()


@pytest.mark.parametrize("cut", ["cut_before", "cut_after", "cut_inside"])
@pytest.mark.parametrize("verb", ["LIST", "EXAMINE", "NOTIFY"])
def test_notify_cut_off(dovecot, fault_proxy, verb, cut):
    """Whenever the line breaks while the watch is made, it is an error of ours, and the next one stands."""
    host = dovecot()
    user = host.new_user()
    proxy = fault_proxy(host.port)
    account = replace(host.account(user), port=proxy.port)
    fault = getattr(proxy, cut)(f"^{verb}")
    with pytest.raises(ConnectionLost):
        open_watch(account, PASSWORD, INBOX)
    assert fault.happened.wait(60)
    proxy.peace()
    watch = open_watch(account, PASSWORD, INBOX)
    assert watch.notified
    watch.close()


def test_notify_waits_as_cheaply(dovecot):
    host = dovecot()
    watch = open_watch(host.account(host.new_user()), PASSWORD, INBOX)
    assert watch.notified
    settle(watch)
    received, cpu = watch.connection.received, time.thread_time()
    assert watch.wait(1.0) is False
    assert time.thread_time() - cpu < 0.05
    assert watch.connection.received == received
    watch.close()


@pytest.mark.parametrize("last", [b"", b"* BYE Server shutting down.\r\n", b"* 4 EXI"])
def test_8_the_end_of_the_stream_is_an_error(scripted_server, last):
    server = scripted_server([*sign_in(), *opened(3), expect("IDLE"), b"+ idling\r\n" + last, CLOSE])
    watch = scripted_watch(server)
    with pytest.raises(ConnectionLost):
        watch.wait(LONG)
    with pytest.raises(ConnectionLost):
        watch.wait(LONG)
    watch.close()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_8_restart_while_idling(dovecot, how):
    host = dovecot(fresh=True)
    user = host.new_user()
    watch = open_watch(host.account(user), PASSWORD, INBOX)
    settle(watch)
    getattr(host, how)()
    with pytest.raises(ConnectionLost):
        watch.wait(LONG)
    watch.close()
    host.start()
    again = open_watch(host.account(user), PASSWORD, INBOX)
    settle(again)
    again.close()


def test_9_half_open_connection(dovecot, fault_proxy):
    """Nothing arrives any more and nobody says so: found at the next renewal."""
    host = dovecot()
    user = host.new_user()
    proxy = fault_proxy(host.port)
    connection = connect(replace(host.account(user), port=proxy.port), PASSWORD)
    watch = ImapWatch(connection, INBOX, b"INBOX", renew_seconds=0.3)
    settle(watch)
    connection.socket.settimeout(0.5)
    proxy.hold.set()
    with pytest.raises(ConnectionLost, match="did not answer in time"):
        watch.wait(LONG)
    watch.close()


def test_9_the_system_watches_the_connection_too(dovecot):
    import socket

    connection = connect(dovecot().account("u"), PASSWORD)
    sock = connection.socket
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
        idle_time = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        interval = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        assert idle_time + interval * sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) <= 60
    connection.close()


def test_after_sleep_the_connection_is_tried(dovecot, monkeypatch):
    host = dovecot()
    watch = open_watch(host.account(host.new_user()), PASSWORD, INBOX)
    settle(watch)
    before = watch.renewals
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert watch.wait(QUIET) is False
    assert watch.renewals == before + 1
    watch.close()


def test_wake_from_another_thread(dovecot):
    host = dovecot()
    watch = open_watch(host.account(host.new_user()), PASSWORD, INBOX)
    settle(watch)
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(watch.wait(600)))
    thread.start()
    watch.wake()
    thread.join(60)
    assert answers == [False]
    watch.wake()  # before anybody waits
    assert watch.wait(600) is False
    watch.close()
    watch.wake()  # after the end: nothing happens


def test_missing_folder(dovecot):
    from spamd.errors import FolderMissing

    with pytest.raises(FolderMissing):
        open_watch(dovecot().account("u"), PASSWORD, FolderName("Nowhere"))


def test_watches_junk_with_any_name(dovecot):
    host = dovecot(capabilities=OLD, junk="Müll")
    user = host.new_user()
    watch = ImapWatch(
        connect(host.account(user), PASSWORD), FolderName("Müll"), b"M&APw-ll", poll_seconds=0.1
    )
    settle(watch)
    host.append(user, mail(), folder="M&APw-ll")
    assert watch.wait(LONG)
    watch.close()


def test_quiet_waiting_costs_nothing(dovecot):
    host = dovecot()
    watch = open_watch(host.account(host.new_user()), PASSWORD, INBOX)
    settle(watch)
    before = time.thread_time()
    assert watch.wait(1.0) is False
    assert time.thread_time() - before < 0.05
    watch.close()
