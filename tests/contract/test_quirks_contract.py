"""What each fact in the table of servers does: on a Dovecot that greets like that server, so that the row is found as it is in
life. (Tables and signs: unit tests. Gmail, iCloud: test_session_servers, test_qresync. Sign-in: test_connection_faults.)"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from spamd.domain import FolderName, Uid, UidValidity
from spamd.errors import MailboxError
from spamd.mailbox.idle import open_watch
from spamd.mailbox.quirks import QUIRKS, Quirk, named, remarks
from spamd.mailbox.session import open_session
from tests.servers.dovecot import OUTLOOK, YAHOO
from tests.servers.mailhost import PASSWORD, mail, nothing_lost
from tests.servers.scripted import answer, opened, sign_in

INBOX, JUNK = FolderName("INBOX"), FolderName("Junk")
GREETINGS = {
    "exchange": "The Microsoft Exchange IMAP4 service is ready.",
    "proton-bridge": "Proton Mail Bridge 03.0 - gluon session ID 1",
    "yandex": "Yandex IMAP4rev1 at imap.yandex.example ready",
    "courier": "Courier-IMAP ready. Copyright 1998-2018",
    "davmail": "DavMail 6.2 IMAP4 server ready",
    "hmailserver": "IMAPrev1 hMailServer",
    "cyrus": "mail.example.org Cyrus IMAP v3.6 server ready",
}


@pytest.fixture
def like(dovecot):
    """like(name, **options) -> a Dovecot that greets like that kind of server."""
    return lambda name, **options: dovecot(greeting=GREETINGS[name], **options)


@pytest.fixture
def opened_on():
    sessions = []

    def make(host, user, **changes):
        sessions.append(open_session(replace(host.account(user), **changes), PASSWORD))
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()


@pytest.mark.parametrize("name", GREETINGS)
def test_the_whole_way_on_each(like, opened_on, name):
    """Found by its greeting; reads, finds, follows a move and writes a keyword, or says that it cannot."""
    host = like(name)
    user = host.new_user()
    host.append(user, mail("one"), mail("two", message_id=""))
    session = opened_on(host, user)
    assert session.abilities.quirk == name
    with nothing_lost(host, user):
        before = list(session.arrivals(INBOX, Uid(1)))
        host.move(user, [2], "INBOX", "Junk")
        (after,) = session.arrivals(JUNK, Uid(1))
        assert after.identity == before[1].identity
        assert [found.ref for found in session.find(JUNK, after.identity, "")] == [after.ref]
        assert session.add_keyword(after.ref, "$Junk") is named(name).keywords
        flags = {uid: words - {"\\Recent"} for uid, words in session.changed_flags(JUNK, None).items()}
        assert flags == ({after.ref.uid: {"$Junk"}} if named(name).keywords else {})


@pytest.mark.parametrize("name", ["proton-bridge", "davmail"])
def test_uid_expunge_offered_and_refused(like, opened_on, name):
    """UIDPLUS is in the list, and the table knows better: COPY and \\Deleted are not begun with an EXPUNGE in mind."""
    session = opened_on(like(name, capabilities="IMAP4rev1 UIDPLUS IDLE NAMESPACE"), "u")
    assert session.connection.has("UIDPLUS")
    assert not session.abilities.uidplus


@pytest.mark.parametrize("name", ["exchange", "hmailserver"])
def test_no_keywords(like, opened_on, fault_proxy, name):
    host = like(name, capabilities=OUTLOOK)
    user = host.new_user()
    host.append(user, mail())
    proxy = fault_proxy(host.port)
    session = opened_on(host, user, port=proxy.port)
    assert not session.abilities.keywords
    (arrival,) = session.arrivals(INBOX, Uid(1))
    assert session.add_keyword(arrival.ref, "$Junk") is False
    session.changed_flags(INBOX, None)
    assert not any("STORE" in command for command in proxy.commands)
    if name == "exchange":  # answers BAD to it
        assert not any("KEYWORD" in command for command in proxy.commands)


@pytest.mark.parametrize("name", ["exchange", "davmail"])
def test_header_and_size_may_change_on_the_way(like, opened_on, fault_proxy, name):
    """What Exchange adds to a header in a move does not make it another mail; another subject does."""
    host = like(name)
    user = host.new_user()
    same = mail("same", message_id="x@example.org")
    changed = b"X-MS-Exchange-Something: added\r\n" + same + b"more\r\n"
    host.append(user, same, changed, mail("other", message_id="x@example.org"))
    proxy = fault_proxy(host.port)
    proxy.refuse("X-GUID")
    session = opened_on(host, user, port=proxy.port)
    one, two, three = (arrival.identity for arrival in session.arrivals(INBOX, Uid(1)))
    assert one == two != three
    assert one.startswith("hash:0.0.")
    strict = opened_on(like("cyrus"), user)
    assert not strict.connection.quirk.rewrites_headers


def test_uids_that_change_without_a_word(like, opened_on, fault_proxy):
    """Proton's Bridge: another mail lies at the UID of a reference. It is not taken for the one that was there."""
    host = like("proton-bridge")
    user = host.new_user()
    host.append(user, mail("one"), mail("two"))
    proxy = fault_proxy(host.port)
    proxy.refuse("X-GUID")
    session = opened_on(host, user, port=proxy.port)
    assert session.connection.quirk.unstable_uids
    one, two = session.arrivals(INBOX, Uid(1))
    assert one.identity != two.identity
    (there,) = session.locate([replace(one.ref, uid=two.ref.uid)])
    assert there.identity == two.identity, "whoever goes by a reference compares identities (the mover does)"


@pytest.mark.parametrize(("name", "seconds"), [("yandex", 240.0), ("cyrus", 540.0)])
def test_idle_is_renewed_in_time(like, name, seconds):
    host = like(name)
    watch = open_watch(host.account(host.new_user()), PASSWORD, INBOX)
    assert watch.renew_seconds == seconds
    watch.close()


def test_no_idle_where_it_brings_no_news(like):
    host = like("courier")
    watch = open_watch(host.account(host.new_user()), PASSWORD, INBOX)
    assert watch.connection.has("IDLE")
    assert not watch.idling
    watch.close()


@pytest.mark.parametrize(
    "said", ["NO [SERVERBUG] SEARCH Server error - Please try again later", "BAD [SERVERBUG] no"]
)
def test_yahoo_fails_at_searching(dovecot, opened_on, fault_proxy, said):
    """Every question has a second way."""
    host = dovecot(capabilities=YAHOO, storage="mdbox")
    user = host.new_user()
    host.append(user, *(mail(f"no {n}") for n in range(250)))
    proxy = fault_proxy(host.port)
    proxy.refuse("UID SEARCH", answer=said)
    session = opened_on(host, user, port=proxy.port)
    assert session.abilities.quirk == "yahoo"
    with nothing_lost(host, user):
        arrivals = list(session.arrivals(INBOX, Uid(1)))
        assert len(arrivals) == 250
        assert len(session.uids(INBOX)) == 250
        validity = UidValidity(session.status(INBOX).uid_validity)
        host.move(user, [7], "INBOX", "Junk")
        assert session.departed(INBOX, validity, [Uid(uid) for uid in range(1, 20)], None) == [7]
        assert session.changed_flags(INBOX, None) == {}
        wanted = arrivals[9]
        assert [found.ref for found in session.find(INBOX, wanted.identity, wanted.message_id)] == [
            wanted.ref
        ]


def test_yahoo_fails_at_fetching_some(dovecot, opened_on, fault_proxy):
    """A batch with one mail it cannot give, and SEARCH refused besides: the others are had, that one is remembered."""
    host = dovecot(capabilities=YAHOO)
    user = host.new_user()
    host.append(user, *(mail(f"no {n}") for n in range(8)))
    proxy = fault_proxy(host.port)
    proxy.refuse(r"UID FETCH (1:8|5:8|5:6|5) \(UID FLAGS R", answer="NO [SERVERBUG] UID FETCH Server error")
    session = opened_on(host, user, port=proxy.port)
    assert [arrival.ref.uid for arrival in session.arrivals(INBOX, Uid(1), Uid(8))] == [1, 2, 3, 4, 6, 7, 8]
    assert {ref.uid for ref in session.quarantined} == {5}


# -- answers in part (RFC 9738: Yahoo's MESSAGELIMIT)


def limited(verb, *lines, down_to=""):
    code = f"[MESSAGELIMIT 3{down_to and ' ' + down_to}] " if down_to is not None else ""
    return answer(verb, *lines, status=f"OK {code}completed")


def test_a_search_in_parts_is_asked_to_the_end(scripted_server):
    """The newest three at a time: the rest is not gone."""
    server = scripted_server(
        [
            *sign_in("IMAP4rev1 MESSAGELIMIT=3 ESEARCH"),
            *opened(8),
            *limited(r"UID SEARCH RETURN \(ALL\) ALL$", "* ESEARCH (TAG) UID ALL 6:8", down_to="6"),
            *limited(r"UID SEARCH RETURN \(ALL\) UID 1:5 ALL$", "* ESEARCH (TAG) UID ALL 3:5", down_to="3"),
            *limited(r"UID SEARCH RETURN \(ALL\) UID 1:2 ALL$", "* ESEARCH (TAG) UID ALL 1:2", down_to=None),
        ]
    )
    session = open_session(server.account(), PASSWORD)
    assert session.uids(INBOX) == [1, 2, 3, 4, 5, 6, 7, 8]
    session.close()


def test_a_fetch_in_parts_is_asked_to_the_end(scripted_server):
    server = scripted_server(
        [
            *sign_in("IMAP4rev1 MESSAGELIMIT=3"),
            *opened(8),
            *limited("UID FETCH 2:8", *(f"* {n} FETCH (UID {n} FLAGS ())" for n in (6, 7, 8)), down_to="6"),
            *limited("UID FETCH 2:5", *(f"* {n} FETCH (UID {n} FLAGS ())" for n in (3, 4, 5)), down_to="3"),
            *limited("UID FETCH 2 ", "* 2 FETCH (UID 2 FLAGS ())", down_to=None),
        ]
    )
    session = open_session(server.account(), PASSWORD)
    session.select(INBOX)
    assert sorted(session.connection.fetch(b"2:8", [b"FLAGS"]).rows) == [2, 3, 4, 5, 6, 7, 8]
    session.close()


@pytest.mark.parametrize("second", ["", "6", "9"], ids=["does not say", "no progress", "goes up"])
def test_a_part_is_never_taken_for_all(scripted_server, second):
    """What the server does not look at is not gone: better no answer than that one."""
    server = scripted_server(
        [
            *sign_in("IMAP4rev1 MESSAGELIMIT=3"),
            *opened(8),
            *limited("UID SEARCH", "* SEARCH 6 7 8", down_to="6"),
            *limited("UID SEARCH UID 1:5", "* SEARCH 4 5", down_to=second),
            *limited("UID FETCH", "* 1 FETCH (UID 8 FLAGS ())", down_to=""),
        ]
    )
    session = open_session(server.account(), PASSWORD)
    with pytest.raises(MailboxError, match="only in part"):
        session.departed(INBOX, UidValidity(7), [Uid(1), Uid(5), Uid(8)], None)
    session.close()


# -- the table as a whole


def test_every_fact_is_used():
    """A column that nobody reads would be a promise."""
    code = "".join(
        path.read_text("utf-8")
        for path in Path("spamd").rglob("*.py")
        if path.name not in ("quirks.py", "providers.py")
    )
    signs = {"name", "title", "hosts", "id_names", "banner", "capability"}  # how a row is found and called
    for field in fields(Quirk):
        if field.name in signs:
            continue
        told = any(
            remarks(quirk) != remarks(replace(quirk, **{field.name: field.default})) for quirk in QUIRKS
        )
        assert f"quirk.{field.name}" in code or f"_known_quirk().{field.name}" in code or told, field.name


def test_what_the_table_says_of_the_large_providers():
    exchange, gmail = named("exchange"), named("gmail")
    assert not (exchange.keywords or exchange.search_keywords)
    assert exchange.rewrites_headers
    assert (gmail.max_connections, gmail.bytes_per_day, gmail.spam_folder_reports) == (
        15,
        2_500_000_000,
        True,
    )
    assert not named("icloud").qresync
    assert named("proton-bridge").unstable_uids
    assert not named("proton-bridge").uid_expunge
    assert named("yandex").idle_seconds < 360
    assert named("yahoo").vendor == "Yahoo"
