"""Every MailSession method on every kind of server: what it answers, and that nothing is touched."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from spamd.domain import FolderName, MessageRef, Uid, UidValidity
from spamd.errors import FolderChanged, FolderMissing, FolderRefused
from spamd.mailbox.session import BATCH, open_session
from tests.servers.dovecot import GMAIL, ICLOUD, OLD, OUTLOOK, YAHOO
from tests.servers.mailhost import PASSWORD, mail, nothing_lost

INBOX = FolderName("INBOX")

SERVERS = {
    "dovecot-maildir": {},
    "dovecot-mdbox": {"storage": "mdbox"},
    "dovecot-inbox-prefix": {"separator": ".", "prefix": "INBOX."},
    "listed-like-gmail": {"capabilities": GMAIL},
    "like-outlook": {"capabilities": OUTLOOK, "special_use": False, "junk": "Junk Email"},
    "like-icloud": {"capabilities": ICLOUD, "special_use": False},
    "like-yahoo": {"capabilities": YAHOO, "special_use": False, "junk": "Bulk Mail"},
    "like-1996": {"capabilities": OLD, "special_use": False},
}


@pytest.fixture(params=[*SERVERS, "gmail", "pymap", "cyrus", "courier"])
def host(request):
    if request.param in SERVERS:
        return request.getfixturevalue("dovecot")(**SERVERS[request.param])
    return request.getfixturevalue(request.param)


@pytest.fixture
def user(host):
    return host.new_user()


@pytest.fixture
def session(host, user):
    session = open_session(host.account(user), PASSWORD)
    yield session
    session.close()


def test_finds_junk(host, session):
    assert session.junk_folder() == host.junk
    roles = {folder.name: folder.role for folder in session.folders()}
    assert roles[INBOX] == "inbox"
    assert list(roles.values()).count("junk") == 1


@pytest.mark.scenario(25)
def test_reads_without_a_trace(host, user, session):
    uids = host.append(user, mail("one"), mail("two", message_id=""), mail("three"))
    with nothing_lost(host, user):
        status = session.status(INBOX)
        assert (status.messages, status.uid_next) == (3, uids[-1] + 1)
        arrivals = list(session.arrivals(INBOX, Uid(1)))
        assert [arrival.ref.uid for arrival in arrivals] == uids
        assert len({arrival.identity for arrival in arrivals}) == 3
        assert arrivals[1].message_id == ""
        assert arrivals[0].message_id.endswith("@example.org")
        refs = [arrival.ref for arrival in arrivals]
        assert list(session.locate(refs)) == arrivals
        fetched = list(session.fetch(refs))
        assert [b"Subject: two" in item.raw for item in fetched] == [False, True, False]
        assert all(item.complete for item in fetched)
        short = next(session.fetch(refs[:1], limit=20))
        assert len(short.raw) == 20
        assert not short.complete
        assert session.uids(INBOX) == uids
        assert b"three" in session.headers(INBOX, [Uid(uids[2])], ["Subject"])[Uid(uids[2])]
    assert not any("\\Seen" in lying.flags for lying in host.contents(user))


def test_only_new_ones(host, user, session):
    one, two = host.append(user, mail("one"), mail("two"))
    assert [a.ref.uid for a in session.arrivals(INBOX, Uid(two + 1))] == []
    assert [a.ref.uid for a in session.arrivals(INBOX, Uid(two))] == [two]
    (three,) = host.append(user, mail("three"))
    assert [a.ref.uid for a in session.arrivals(INBOX, Uid(three))] == [three]
    assert [a.ref.uid for a in session.arrivals(INBOX, Uid(one), Uid(two))] == [one, two]


def test_identity_survives_a_move(host, user, session):
    uids = host.append(user, mail("one"), mail("two", message_id=""), mail("three"))
    before = list(session.arrivals(INBOX, Uid(1)))
    host.move(user, uids[:2], "INBOX", host.junk)
    junk = session.junk_folder()
    after = list(session.arrivals(junk, Uid(1)))
    assert {a.identity for a in after} == {a.identity for a in before[:2]}
    for arrival in after:
        assert [f.ref for f in session.find(junk, arrival.identity, arrival.message_id)] == [arrival.ref]
        assert not session.find(INBOX, arrival.identity, arrival.message_id)
    assert [a.ref.uid for a in session.locate([a.ref for a in before])] == uids[2:]
    assert [f.arrival.ref.uid for f in session.fetch([a.ref for a in before])] == uids[2:]


def test_missing_folder(session):
    with pytest.raises(FolderMissing):
        session.status(FolderName("Nowhere"))
    found = session.statuses([INBOX, FolderName("Nowhere")])
    assert [status.folder for status in found] == [INBOX]


@pytest.mark.parametrize("answer", ["NO no", "NO Unable to open this mailbox."])
def test_a_folder_that_cannot_be_opened_for_once_is_not_missing(host, user, fault_proxy, answer):
    """It is listed. Who takes it for gone takes its mails for gone."""
    host.append(user, mail())
    proxy = fault_proxy(host.port)
    with contextlib.closing(open_session(replace(host.account(user), port=proxy.port), PASSWORD)) as own:
        junk = own.junk_folder()
        proxy.refuse("STATUS|SELECT|EXAMINE", answer=answer)
        for folder in (INBOX, junk):
            for look in (own.status, own.uids):
                with pytest.raises(FolderRefused):
                    look(folder)
        proxy.peace()
        assert len(own.uids(INBOX)) == 1
        for look in (own.status, own.uids):
            with pytest.raises(FolderMissing):
                look(FolderName("Nowhere"))


def test_statuses_of_all(host, user, session):
    host.append(user, mail(), folder=host.junk)
    wanted = [folder.name for folder in session.folders()]
    found = {status.folder: status.messages for status in session.statuses(wanted)}
    assert set(found) == set(wanted)
    assert found[session.junk_folder()] == 1


def test_keywords(host, user, session):
    host.append(user, mail(), mail())
    first, second = session.arrivals(INBOX, Uid(1))
    modseq = session.status(INBOX).highest_modseq
    assert session.add_keyword(first.ref, "$NotJunk")
    assert session.add_keyword(first.ref, "$Junk", remove=["$NotJunk"])
    changed = session.changed_flags(INBOX, modseq)
    assert {flag for flag in changed[first.ref.uid] if flag.lower() in ("$junk", "$notjunk")} == {"$Junk"}
    assert second.ref.uid not in changed


def test_other_uidvalidity_is_another_folder(host, user, session):
    host.append(user, mail())
    (arrival,) = session.arrivals(INBOX, Uid(1))
    stale = MessageRef(INBOX, UidValidity(arrival.ref.uid_validity + 1), arrival.ref.uid)
    assert session.locate([stale]) == []
    assert list(session.fetch([stale])) == []
    assert session.add_keyword(stale, "$Junk") is False


@pytest.mark.parametrize("reading", ["fetch", "arrivals"])
@pytest.mark.scenario(36)
def test_the_folder_is_another_one_in_the_middle_of_reading(dovecot, reading):
    """The mover opens Junk between two batches; when the inbox is opened again its UIDs name other mails."""
    host = dovecot()
    user = host.new_user()
    host.append(user, *(mail(f"number {number}") for number in range(BATCH + 1)))
    session = open_session(host.account(user), PASSWORD)
    refs = [arrival.ref for arrival in session.arrivals(INBOX, Uid(1))]
    found = iter(session.fetch(refs) if reading == "fetch" else session.arrivals(INBOX, Uid(1)))
    next(found)
    session.select(FolderName(host.junk))
    host.doveadm("mailbox", "update", "--uid-validity", "4242", "-u", user, "INBOX")
    with pytest.raises(FolderChanged):
        list(found)
    session.close()
