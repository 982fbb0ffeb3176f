"""Gmail's labels (X-GM-EXT-1): no server here has them, so one that speaks as Google documents it says them."""

from __future__ import annotations

import pytest

from spamd.domain import FolderName, MessageRef, Uid, UidValidity
from spamd.errors import FolderRefused
from spamd.mailbox.session import open_session
from spamd.source import LabelSession
from tests.servers.dovecot import GMAIL
from tests.servers.mailhost import PASSWORD, mail, nothing_lost
from tests.servers.scripted import answer, opened, sign_in

INBOX = FolderName("INBOX")
LABEL = FolderName("spamd/Zweifelhaft & übrig")
RAW = "spamd/Zweifelhaft &- &APw-brig"
GIMAP = GMAIL.replace(" ID ", " ")  # an ID exchange would only lengthen each script


@pytest.fixture
def scripted_gmail(scripted_server):
    """scripted_gmail(steps...) -> a session on a server that then answers those."""
    sessions = []

    def make(*steps):
        server = scripted_server([*sign_in(GIMAP), *steps])
        sessions.append(open_session(server.account(), PASSWORD))
        return sessions[-1], server

    yield make
    for session in sessions:
        session.close()


def ref(uid: int, validity: int = 7) -> MessageRef:
    return MessageRef(INBOX, UidValidity(validity), Uid(uid))


def test_a_label_goes_on_and_off(scripted_gmail):
    session, server = scripted_gmail(
        *opened(writable=True),
        *answer("UID STORE 2", f'* 2 FETCH (X-GM-LABELS ("{RAW}" "\\\\Important") UID 2)'),
        *answer("UID STORE 2", '* 2 FETCH (X-GM-LABELS ("\\\\Important") UID 2)'),
    )
    assert isinstance(session, LabelSession)
    assert session.add_label(ref(2), LABEL)
    assert session.remove_label(ref(2), LABEL)
    assert server.received[-2:] == [
        f'UID STORE 2 +X-GM-LABELS ("{RAW}")',
        f'UID STORE 2 -X-GM-LABELS ("{RAW}")',
    ]


def test_a_mail_that_is_gone_has_no_label(scripted_gmail):
    """Gmail says OK to a UID that does not exist."""
    session, _ = scripted_gmail(
        *opened(writable=True), *answer("UID STORE 9"), *answer("NOOP"), *answer("UID FETCH 9")
    )
    assert session.add_label(ref(9), LABEL) is False
    assert session.add_label(ref(2, validity=8), LABEL) is False  # another folder by now: nothing is sent


def test_an_answer_without_uid_is_no_proof(scripted_gmail):
    """Another mail's news may come in between; then the labels are asked for."""
    session, _ = scripted_gmail(
        *opened(writable=True),
        *answer("UID STORE 2", "* 1 FETCH (FLAGS (\\Seen))", "* 3 FETCH (X-GM-LABELS (x) UID 3)"),
        *answer("NOOP"),
        *answer("UID FETCH 2", f'* 2 FETCH (UID 2 X-GM-LABELS ("{RAW}"))'),
    )
    assert session.add_label(ref(2), LABEL)


def test_labels_are_read_as_people_know_them(scripted_gmail):
    session, server = scripted_gmail(
        *opened(),
        *answer(
            "UID FETCH 1:3",
            f'* 1 FETCH (X-GM-LABELS ("\\\\Inbox" \\Sent "{RAW}" work 123 NIL) UID 1)',
            "* 2 FETCH (X-GM-LABELS () UID 2)",
        ),
    )
    assert session.labels([ref(1), ref(2), ref(3), ref(1, validity=6)]) == {
        ref(1): {"\\Inbox", "\\Sent", LABEL, "work", "123", "NIL"},
        ref(2): frozenset(),
    }
    assert server.received[-1] == "UID FETCH 1:3 (UID X-GM-LABELS)"


def test_mails_with_a_label_are_found(scripted_gmail):
    session, server = scripted_gmail(*opened(), *answer("UID SEARCH", "* ESEARCH (TAG) UID ALL 4:5,9"))
    assert session.labelled(INBOX, LABEL) == [4, 5, 9]
    assert server.received[-1] == f'UID SEARCH RETURN (ALL) X-GM-LABELS "{RAW}"'


def test_on_a_server_that_keeps_them(gmail):
    """Unread stays unread, the mail stays where it is, and flags and labels do not mix."""
    user = gmail.new_user()
    gmail.append(user, mail("one"), mail("two"), mail("three"))
    session = open_session(gmail.account(user), PASSWORD)
    assert session.abilities.labels
    one, two, three = (arrival.ref for arrival in session.arrivals(INBOX, Uid(1)))
    with nothing_lost(gmail, user):
        for label in (LABEL, FolderName("Junk?")):
            assert session.add_label(one, label)
            assert session.add_label(two, label)
        assert session.add_keyword(two, "$NotJunk")
        assert session.remove_label(one, LABEL)
        assert session.labels([one, two, three]) == {
            one: {"Junk?"},
            two: {LABEL, "Junk?"},
            three: frozenset(),
        }
        assert session.labelled(INBOX, LABEL) == [two.uid]
        assert session.labelled(INBOX, FolderName("Junk?")) == [one.uid, two.uid]
        of_the_server = {"\\Recent", "$HasNoAttachment"}  # the second: Dovecot 2.4.5
        assert [sorted(arrival.flags - of_the_server) for arrival in session.arrivals(INBOX, Uid(1))] == [
            [],
            ["$NotJunk"],
            [],
        ]
    gmail.move(user, [3], "INBOX", "Trash")
    assert session.add_label(three, LABEL) is False
    session.close()


def test_only_where_there_are_labels(dovecot):
    host = dovecot()
    session = open_session(host.account(host.new_user()), PASSWORD)
    assert not session.abilities.labels
    for ask in (lambda: session.add_label(ref(1), LABEL), lambda: session.labels([ref(1)])):
        with pytest.raises(FolderRefused, match="has no labels"):
            ask()
    session.close()
