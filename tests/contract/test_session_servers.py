"""What one kind of server does and others do not: names, rights, aliases, missing extensions, size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spamd.domain import FolderName, MessageRef, Uid, UidValidity
from spamd.errors import ConfigError, FolderMissing, ServerBusy
from spamd.mailbox.session import open_session
from tests.servers.dovecot import GMAIL, ICLOUD, OUTLOOK, YAHOO
from tests.servers.mailhost import PASSWORD, mail, nothing_lost
from tests.servers.scripted import answer, opened, sign_in

INBOX = FolderName("INBOX")


@pytest.fixture
def opened_on():
    """opened_on(host, user=None, **changes) -> a session, closed at the end."""
    sessions = []

    def make(host, user=None, **changes):
        account = replace(host.account(user or host.new_user()), **changes)
        sessions.append(open_session(account, PASSWORD))
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()


# -- Junk


@pytest.mark.parametrize("junk", ["Spamverdacht", "Courrier indésirable", "Спам", "迷惑メール"])
@pytest.mark.scenario(43)
def test_junk_in_any_language_without_special_use(dovecot, opened_on, junk):
    host = dovecot(capabilities=OUTLOOK, special_use=False, junk=junk)
    session = opened_on(host)
    assert session.junk_folder() == junk
    assert session.status(FolderName(junk)).messages == 0


@pytest.mark.scenario(43)
def test_a_name_of_special_characters_goes_both_ways(dovecot, opened_on):
    host = dovecot()
    user = host.new_user()
    raw = 'A &- B &APw- \\"quoted\\" %*'
    host.create(user, raw)
    host.append(user, mail("inside"), folder=raw)
    session = opened_on(host, user)
    name = FolderName('A & B ü "quoted" %*')
    assert name in {folder.name for folder in session.folders()}
    assert session.status(name).messages == 1
    wanted = [INBOX, name, FolderName("Trash")]
    assert [(s.folder, s.messages) for s in session.statuses(wanted)] == [(f, int(f == name)) for f in wanted]
    (arrival,) = session.arrivals(name, Uid(1))
    assert len(list(session.fetch([arrival.ref]))) == 1


def test_a_server_that_knows_names_in_utf_8_only(scripted_server):
    """RFC 6855: switched on before a folder is opened, and names go both ways as they are."""
    raw = "Müll & mehr"
    server = scripted_server(
        [
            *sign_in("IMAP4rev1 ENABLE UTF8=ONLY LITERAL+"),
            *answer("ENABLE UTF8=ACCEPT", "* ENABLED UTF8=ACCEPT"),
            *answer("LIST", '* LIST () "/" INBOX', f'* LIST (\\Junk) "/" "{raw}"'),
            *answer("STATUS", f'* STATUS "{raw}" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 3)'),
            *answer("STATUS", '* STATUS "Später" (MESSAGES 2 UIDNEXT 3 UIDVALIDITY 3)'),
        ]
    )
    session = open_session(server.account(), PASSWORD)
    assert [folder.name for folder in session.folders()] == ["INBOX", raw]
    assert session.status(FolderName(raw)).messages == 1
    assert session.status(FolderName("Später")).messages == 2  # not listed: the person wrote it down
    assert [line.partition("\r\n")[2].partition(" (")[0] for line in server.received[-2:]] == [raw, "Später"]
    session.close()


@pytest.mark.scenario(43)
def test_the_persons_choice_without_prefix(dovecot, opened_on):
    host = dovecot(separator=".", prefix="INBOX.")
    user = host.new_user()
    host.create(user, "INBOX.My spam")
    assert opened_on(host, user, junk=FolderName("My spam")).junk_folder() == "INBOX.My spam"
    assert opened_on(host, user).junk_folder() == "INBOX.Junk"


def test_the_inbox_is_no_junk_folder(dovecot, opened_on):
    with pytest.raises(ConfigError, match="cannot be the Junk folder"):
        opened_on(dovecot(), junk=INBOX).junk_folder()


def test_an_alias_of_the_inbox_is_no_junk_folder(dovecot, opened_on):
    """Some servers show a folder twice; here by a symbolic link."""
    host = dovecot(capabilities=OUTLOOK, special_use=False)
    user = host.new_user()
    host.append(user, mail("one"))
    maildir = host.home(user) / "Maildir"
    host.kept(user).doubled = True
    link = maildir / ".Spam"
    link.symlink_to(".", target_is_directory=True)
    session = opened_on(host, user, junk=FolderName("Spam"))
    if session.statuses([FolderName("Spam")])[0].messages != 1:
        pytest.skip("this Dovecot does not follow links between folders")
    with pytest.raises(ConfigError, match="cannot be the Junk folder"):
        session.junk_folder()


def test_folders_listed_twice_count_once(dovecot, opened_on):
    """Junk under its other name must not be read as a folder of good mail."""
    host = dovecot(alias=True)
    user = host.new_user()
    host.create(user, "Work")
    for folder in ("INBOX", "Junk", "Work"):
        host.append(user, mail(folder), folder=folder)
    host.kept(user).doubled = True  # by the server, which shows each mail twice
    session = opened_on(host, user)
    roles = {folder.name: folder.role for folder in session.folders()}
    assert roles["Junk"] == "junk"
    assert roles["mail/Junk"] == roles["mail/Work"] == "all"
    assert roles["Work"] == ""
    assert session.junk_folder() == "Junk"
    with pytest.raises(ConfigError, match="only shows mail of other folders"):
        opened_on(host, user, junk=FolderName("mail/Work")).junk_folder()


def test_two_folders_of_one_name_are_two(dovecot, opened_on):
    host = dovecot()
    user = host.new_user()
    host.create(user, "INBOX/Work", "Work")
    for folder in ("INBOX/Work", "Work"):
        host.append(user, mail(folder), folder=folder)
    roles = {folder.name: folder.role for folder in opened_on(host, user).folders()}
    assert roles["INBOX/Work"] == roles["Work"] == ""


@pytest.mark.parametrize("server", ["cyrus", "pymap", "dovecot"])
def test_folders_have_an_id_where_the_server_gives_one(request, opened_on, server):
    host = request.getfixturevalue(server)
    host = host() if server == "dovecot" else host
    user = host.new_user()
    host.create(user, "Work")
    session = opened_on(host, user)
    found = {name: session.mailbox_id(FolderName(name)) for name in ("INBOX", host.junk, "Work")}
    if server == "dovecot":
        assert set(found.values()) == {None}
        return
    assert None not in found.values()
    assert len(set(found.values())) == 3
    with host.oracle(user) as imap:
        assert imap.rename("Work", "Play")[0] == "OK"
    again = opened_on(host, user)
    assert again.mailbox_id(FolderName("Play")) == found["Work"]
    assert again.mailbox_id(FolderName("Work")) is None


def test_an_alias_is_known_by_its_id(scripted_server):
    """Empty, and the counts differ (mail arrived in between): the id decides all the same."""
    server = scripted_server(
        [
            *sign_in("IMAP4rev1 OBJECTID NAMESPACE"),
            *answer(
                "LIST",
                *(f'* LIST () "/" {name}' for name in ("INBOX", "Junk", "mail/Junk", "Work", "mail/Work")),
            ),
            *answer("NAMESPACE", '* NAMESPACE (("" "/")("mail/" "/")) NIL NIL'),
            *answer("STATUS .Junk. .MAILBOXID", "* STATUS Junk (MAILBOXID (F1))"),
            *answer("STATUS .mail/Junk. .MAILBOXID", "* STATUS mail/Junk (MAILBOXID (F1))"),
            *answer("STATUS .Work. .MAILBOXID", "* STATUS Work (MAILBOXID (F2))"),
            *answer("STATUS .mail/Work. .MAILBOXID", "* STATUS mail/Work (MAILBOXID (F-3_x))"),
        ]
    )
    session = open_session(server.account(), PASSWORD)
    assert {folder.name: folder.role for folder in session.folders()} == {
        "INBOX": "inbox",
        "Junk": "junk",
        "mail/Junk": "all",
        "Work": "",
        "mail/Work": "",
    }
    session.close()


def test_a_missing_choice_is_told_when_it_is_used(dovecot, opened_on):
    session = opened_on(dovecot(), junk=FolderName("Gone"))
    assert session.junk_folder() == "Gone"
    with pytest.raises(FolderMissing, match="Gone"):
        session.status(FolderName("Gone"))


def test_no_junk_at_all(dovecot, opened_on):
    session = opened_on(dovecot(special_use=False, junk="Werkstatt"))
    assert session.junk_folder() is None


def test_a_junk_folder_without_the_right_to_insert(dovecot, opened_on):
    host = dovecot(acl=True)
    user = host.new_user()
    session = opened_on(host, user)
    session.status(FolderName("Junk"))
    host.acl(user, "Junk", "lr")
    (folder,) = (folder for folder in opened_on(host, user).folders() if folder.name == "Junk")
    assert folder.read_only
    (trash,) = (folder for folder in opened_on(host, user).folders() if folder.name == "Trash")
    assert not trash.read_only


def test_xlist(scripted_server, opened_on):
    server = scripted_server(
        [
            *sign_in("IMAP4rev1 XLIST"),
            *answer(
                "XLIST",
                '* XLIST (\\HasNoChildren \\Inbox) "/" "Inbox"',
                '* XLIST (\\Noselect) "/" "[Gmail]"',
                '* XLIST (\\HasNoChildren \\AllMail) "/" "[Gmail]/All Mail"',
                '* XLIST (\\HasNoChildren \\Spam) "/" "[Gmail]/Kladd"',
            ),
        ]
    )
    session = open_session(server.account(), PASSWORD)
    roles = {folder.name: folder.role for folder in session.folders()}
    assert roles == {"INBOX": "inbox", "[Gmail]": "", "[Gmail]/All Mail": "all", "[Gmail]/Kladd": "junk"}
    session.close()


def test_shared_folders_are_read_only(scripted_server):
    server = scripted_server(
        [
            *sign_in("IMAP4rev1 NAMESPACE"),
            *answer(
                "LIST", '* LIST () "/" INBOX', '* LIST (\\Junk) "/" "user/ann/Junk"', '* LIST () "/" Junk'
            ),
            *answer("NAMESPACE", '* NAMESPACE (("" "/")) (("user/" "/")) NIL'),
        ]
    )
    session = open_session(server.account(), PASSWORD)
    assert [(f.name, f.role, f.read_only) for f in session.folders()] == [
        ("INBOX", "inbox", False),
        ("user/ann/Junk", "bulk", True),
        ("Junk", "junk", False),
    ]
    session.close()


# -- what is offered and what is not


@pytest.mark.parametrize("capabilities", [ICLOUD, YAHOO])
def test_other_lists_of_capabilities(dovecot, opened_on, capabilities):
    host = dovecot(capabilities=capabilities)
    user = host.new_user()
    host.append(user, mail("one"), mail("two"))
    session = opened_on(host, user)
    with nothing_lost(host, user):
        arrivals = list(session.arrivals(INBOX, Uid(1)))
        assert len(list(session.fetch([a.ref for a in arrivals]))) == 2
    assert session.junk_folder() == "Junk"
    assert session.abilities.quirk in ("icloud", "yahoo")


def test_condstore_offered_and_refused(dovecot, opened_on, fault_proxy):
    host = dovecot()
    user = host.new_user()
    host.append(user, mail("one"))
    proxy = fault_proxy(host.port)
    proxy.refuse(r"\(CONDSTORE\)")
    session = opened_on(host, user, port=proxy.port)
    assert len(list(session.arrivals(INBOX, Uid(1)))) == 1
    assert not session.abilities.condstore


def test_ids_offered_and_refused(dovecot, opened_on, fault_proxy):
    """Dovecot without X-GUID: the header decides, and survives a move all the same."""
    host = dovecot()
    user = host.new_user()
    host.append(user, mail("one"), mail("one", message_id=""))
    proxy = fault_proxy(host.port)
    proxy.refuse("X-GUID")
    session = opened_on(host, user, port=proxy.port)
    before = list(session.arrivals(INBOX, Uid(1)))
    assert not session.abilities.server_ids
    assert all(arrival.identity.startswith("hash:") for arrival in before)
    host.move(user, [1, 2], "INBOX", "Junk")
    after = list(session.arrivals(FolderName("Junk"), Uid(1)))
    assert [a.identity for a in after] == [a.identity for a in before]
    for arrival in after:
        assert [f.ref for f in session.find(FolderName("Junk"), arrival.identity, arrival.message_id)] == [
            arrival.ref
        ]


def test_a_moment_of_trouble_does_not_change_what_mails_are_called(dovecot, opened_on, fault_proxy):
    host = dovecot()
    user = host.new_user()
    host.append(user, mail())
    proxy = fault_proxy(host.port)
    session = opened_on(host, user, port=proxy.port)
    proxy.refuse("X-GUID", answer="NO [UNAVAILABLE] wait a little")
    with pytest.raises(ServerBusy):
        list(session.arrivals(INBOX, Uid(1)))
    proxy.peace()
    assert all(arrival.identity.startswith("guid:") for arrival in session.arrivals(INBOX, Uid(1)))


def test_abilities(dovecot, opened_on, request):
    full = opened_on(dovecot()).abilities
    assert (full.move, full.uidplus, full.condstore, full.idle, full.server_ids) == (True,) * 5
    outlook = opened_on(dovecot(capabilities=OUTLOOK)).abilities
    assert (outlook.move, outlook.condstore) == (True, False)
    courier = opened_on(request.getfixturevalue("courier")).abilities
    assert (courier.move, courier.uidplus, courier.condstore, courier.server_ids) == (
        False,
        True,
        False,
        False,
    )
    assert courier.quirk == "courier"


def test_gmail_ids(gmail, opened_on):
    """X-GM-MSGID is found in FETCH and in SEARCH, and names a mail for ever."""
    user = gmail.new_user()
    gmail.append(user, mail("one"), mail("one", message_id=""))
    session = opened_on(gmail, user)
    assert session.abilities.quirk == "gmail"
    assert session.abilities.server_ids
    one, two = session.arrivals(INBOX, Uid(1))
    assert one.identity.startswith("gmail:")
    assert one.identity != two.identity
    gmail.move(user, [2], "INBOX", "Junk")
    (found,) = session.find(FolderName("Junk"), two.identity, "")
    assert found.identity == two.identity
    assert any(command.startswith("UID SEARCH RETURN (ALL) X-GM-MSGID") for command in gmail.commands)


def test_imap4rev2_is_never_switched_on(scripted_server):
    """Some of Microsoft's tenants offer it, and err in it."""
    offered = "IMAP4rev1 IMAP4rev2 ENABLE UIDPLUS MOVE ID"
    server = scripted_server(
        [
            b"* OK The Microsoft Exchange IMAP4 service is ready.\r\n",
            *answer("CAPABILITY", f"* CAPABILITY {offered}"),
            *answer("LOGIN"),
            *answer("CAPABILITY", f"* CAPABILITY {offered}"),
            *answer("ID", "* ID NIL"),
            *opened(0),
            *answer("UID FETCH"),
        ]
    )
    session = open_session(server.account(), PASSWORD)
    assert session.abilities.quirk == "exchange"
    assert list(session.arrivals(INBOX, Uid(1), Uid(3))) == []
    assert not any(command.startswith("ENABLE") for command in server.received)
    session.close()


def test_cyrus_ids_name_the_content(cyrus, opened_on):
    """Two identical mails share an EMAILID there: it must not be taken for proof of a second copy."""
    user = cyrus.new_user()
    same = mail("same")
    cyrus.append(user, same, at=1_780_000_000)
    cyrus.append(user, same, at=1_780_000_100)
    session = opened_on(cyrus, user)
    one, two = session.arrivals(INBOX, Uid(1))
    assert one.identity != two.identity
    assert one.identity.split("@")[0] == two.identity.split("@")[0]
    assert not session.abilities.server_ids
    assert [f.ref for f in session.find(INBOX, one.identity, one.message_id)] == [one.ref]


def test_keywords_where_none_are_kept(dovecot, opened_on):
    """Exchange takes a STORE of a keyword and forgets it."""
    host = dovecot(capabilities=OUTLOOK)
    user = host.new_user()
    host.append(user, mail())
    session = opened_on(host, user)
    session.connection.quirk = replace(session.connection.quirk, keywords=False, search_keywords=False)
    (arrival,) = session.arrivals(INBOX, Uid(1))
    assert session.add_keyword(arrival.ref, "$Junk") is False
    assert session.changed_flags(INBOX, None) == {}
    assert host.contents(user)[0].flags <= {"\\Recent"}


@pytest.mark.parametrize("kept", ["(\\Seen \\Deleted)", "(\\Seen $Forwarded)", "()"])
def test_nothing_is_stamped_without_the_star_among_the_permanent_flags(scripted_server, kept):
    """Such a server answers OK to the STORE and forgets the keyword: nothing is sent at all."""
    lines = (
        "* 1 EXISTS",
        "* OK [UIDVALIDITY 7] ok",
        "* OK [UIDNEXT 4] ok",
        f"* OK [PERMANENTFLAGS {kept}] ok",
    )
    server = scripted_server([*sign_in(), *answer("SELECT", *lines, status="OK [READ-WRITE] done")])
    session = open_session(server.account(), PASSWORD)
    assert session.add_keyword(MessageRef(INBOX, UidValidity(7), Uid(3)), "NonJunk") is False
    assert not any("STORE" in command for command in server.received)
    assert not session.abilities.keywords, "and from now on nobody asks again"
    session.close()


def test_keyword_in_a_read_only_folder(dovecot, opened_on):
    host = dovecot(acl=True)
    user = host.new_user()
    host.append(user, mail(), folder="Junk")
    host.acl(user, "Junk", "lr")
    session = opened_on(host, user)
    (arrival,) = session.arrivals(FolderName("Junk"), Uid(1))
    assert session.add_keyword(arrival.ref, "$Junk") is False


# -- size


def test_a_large_folder_comes_in_batches(dovecot, opened_on):
    host = dovecot(storage="mdbox")
    user = host.new_user()
    host.append(user, *(mail(f"number {n}") for n in range(450)))
    host.move(user, range(100, 150), "INBOX", "Junk")
    session = opened_on(host, user)
    with nothing_lost(host, user):
        arrivals = list(session.arrivals(INBOX, Uid(1)))
        assert [a.ref.uid for a in arrivals] == [*range(1, 100), *range(150, 451)]
        assert [a.ref.uid for a in session.arrivals(INBOX, Uid(90), Uid(160))] == [
            *range(90, 100),
            *range(150, 161),
        ]
        # another folder is opened in the middle of it: the caller may move while it reads
        seen = []
        for fetched in session.fetch([a.ref for a in arrivals]):
            if len(seen) in (0, 150, 250):
                session.select(FolderName("Junk"), writable=True)
            seen.append(fetched.arrival.ref.uid)
        assert seen == [a.ref.uid for a in arrivals]


def test_a_quiet_poll_is_cheap(dovecot, opened_on):
    host = dovecot()
    user = host.new_user()
    host.append(user, *(mail() for _ in range(20)))
    session = opened_on(host, user)
    assert session.abilities.list_status
    folders = [INBOX, session.junk_folder()]
    session.statuses(folders)
    before = session.bytes_received()
    session.statuses(folders)
    assert session.bytes_received() - before < 400


def test_many_keywords_and_odd_ones(dovecot, opened_on):
    host = dovecot(capabilities=GMAIL)
    user = host.new_user()
    host.append(user, mail(), mail())
    host.store(user, [1], "+FLAGS", "123 NIL $NotJunk " + " ".join(f"k{n}" for n in range(20)))
    session = opened_on(host, user)
    first, _ = session.arrivals(INBOX, Uid(1))
    assert {"123", "NIL", "$NotJunk", "k19"} <= first.flags
    assert list(session.changed_flags(INBOX, None)) == [1]


def test_no_news_without_uidvalidity(scripted_server):
    """A server that forgets UIDVALIDITY: references of such a folder still fit each other."""
    server = scripted_server(
        [
            *sign_in(),
            *opened(0, validity=0),
            *answer("UID FETCH"),
        ]
    )
    session = open_session(server.account(), PASSWORD)
    assert list(session.arrivals(INBOX, Uid(1), Uid(3))) == []
    session.close()
