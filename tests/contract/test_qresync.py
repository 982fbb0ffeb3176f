"""What changed since a cursor, in three ways: QRESYNC, CONDSTORE, neither. The same history gives the same answer, and the
answer is what an independent client sees."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest

from spamd.domain import FolderName, Uid, UidValidity
from spamd.errors import ConnectionLost, FolderChanged
from spamd.mailbox.session import JUNK_KEYWORDS, open_session
from tests.servers.dovecot import ICLOUD
from tests.servers.mailhost import PASSWORD, mail, normal, nothing_lost, read_selected
from tests.servers.scripted import answer, opened, sign_in

JUNK = FolderName("Junk")
WAYS = {
    "qresync": frozenset(),
    "condstore": frozenset({"QRESYNC"}),
    "plain": frozenset({"QRESYNC", "CONDSTORE", "ESEARCH"}),
}
KEYWORDS = ["$Junk", "$NotJunk", "Junk", "NonJunk", "$Label1", "\\Seen", "\\Flagged"]


def spoken(flags) -> frozenset[str]:
    return frozenset(flag.lower() for flag in flags if flag.lower() in JUNK_KEYWORDS)


@dataclass(frozen=True)
class Changes:
    """What one look finds in a folder."""

    arrived: tuple[int, ...]
    departed: tuple[int, ...]
    keywords: tuple[tuple[int, frozenset[str]], ...]  # of known mails whose junk keywords are new


@dataclass
class Observer:
    """Looks at a folder as the learner does: a cursor, what is known, and what became of it."""

    session: object
    known: dict[int, frozenset[str]] = field(default_factory=dict)
    validity: int = 0
    next_uid: int = 1
    modseq: int | None = None
    resynced: int = 0

    def look(self) -> Changes:
        status = self.session.status(JUNK)
        validity = UidValidity(status.uid_validity)
        first = Uid(self.next_uid)
        arrivals = {a.ref.uid: spoken(a.flags) for a in self.session.arrivals(JUNK, first)}
        before = len(self.session.connection.enabled)
        departed = self.session.departed(JUNK, validity, [Uid(uid) for uid in self.known], self.modseq)
        self.resynced += bool(before and self.modseq and self.known and self.session._resynced)
        flags = self.session.changed_flags(JUNK, self.modseq)
        keywords = {
            uid: spoken(words)
            for uid, words in flags.items()
            if uid in self.known
            and uid not in departed
            and spoken(words) not in (frozenset(), self.known[uid])
        }
        for uid in departed:
            del self.known[uid]
        self.known |= keywords | arrivals
        self.validity, self.next_uid, self.modseq = validity, status.uid_next, status.highest_modseq
        return Changes(tuple(sorted(arrivals)), tuple(departed), tuple(sorted(keywords.items())))


@pytest.fixture
def observers(request):
    """observers(host, user) -> one for each way."""
    opened_sessions = []

    def make(host, user):
        sessions = {way: open_session(host.account(user), PASSWORD) for way in WAYS}
        opened_sessions.extend(sessions.values())
        for way, session in sessions.items():
            session.connection.capabilities -= WAYS[way]
            if way != "qresync":
                session.connection.enabled -= {"QRESYNC"}
        return {way: Observer(session) for way, session in sessions.items()}

    yield make
    for session in opened_sessions:
        session.close()


def disturb(host, user, dice: random.Random) -> None:
    """A few changes by another client: arrivals, departures, keywords, flags."""
    with host.oracle(user) as imap:
        for _ in range(dice.randrange(0, 5)):
            there = [int(uid) for uid in (imap.select("Junk"), imap.uid("SEARCH", "ALL"))[1][1][0].split()]
            chosen = ",".join(str(uid) for uid in dice.sample(there, min(len(there), dice.randrange(1, 6))))
            deed = dice.choice(["arrive", "arrive", "move", "expunge", "keyword", "keyword", "unkeyword"])
            if deed == "arrive":
                flags = " ".join(dice.sample(KEYWORDS, dice.randrange(0, 3)))
                for _ in range(dice.randrange(1, 4)):
                    raw = mail()
                    imap.append("Junk", flags, None, raw)
                    host.arrived(user, [raw], flags.split())
            elif not there:
                continue
            elif deed == "move":
                imap.uid("MOVE", chosen, "Trash")
            elif deed == "expunge":
                imap.uid("STORE", chosen, "+FLAGS.SILENT", "(\\Deleted)")
                imap.uid("EXPUNGE", chosen)
            else:
                sign, word = "+" if deed == "keyword" else "-", dice.choice(KEYWORDS)
                if word == "\\Seen":
                    host.kept(user).read.update(
                        normal(one.raw) for one in read_selected(imap, "Junk", chosen)
                    )
                imap.uid("STORE", chosen, f"{sign}FLAGS.SILENT", f"({word})")


def truth(host, user) -> dict[int, frozenset[str]]:
    return {lying.uid: spoken(lying.flags) for lying in host.contents(user) if lying.folder == host.junk}


@pytest.mark.parametrize("storage", ["maildir", "mdbox"])
@pytest.mark.parametrize("seed", range(3))
def test_three_ways_one_answer(dovecot, observers, storage, seed):
    host = dovecot(storage=storage)
    user = host.new_user()
    host.append(user, *(mail() for _ in range(8)), folder="Junk")
    ways = observers(host, user)
    dice = random.Random(f"{storage} {seed}")
    known: dict[int, frozenset[str]] = {}
    for step in range(12):
        if step:
            disturb(host, user, dice)
        now = truth(host, user)
        expected = Changes(
            tuple(sorted(now.keys() - known.keys())),
            tuple(sorted(known.keys() - now.keys())),
            tuple(sorted((u, w) for u, w in now.items() if u in known and w and w != known[u])),
        )
        for way, observer in ways.items():
            assert observer.look() == expected, f"{way}, seed {seed}, step {step}"
        # a keyword taken away says nothing to the learner: it keeps what it knew
        known = {uid: words or known.get(uid, words) for uid, words in now.items()}
    assert ways["qresync"].session.connection.enabled, "it could not prove what it said"
    assert ways["qresync"].resynced >= 4, "QRESYNC was not what was tested"
    assert ways["condstore"].resynced == ways["plain"].resynced == 0


@pytest.mark.parametrize("server", ["cyrus", "pymap", "courier"])
def test_other_servers(request, observers, server):
    host = request.getfixturevalue(server)
    user = host.new_user()
    host.append(user, *(mail() for _ in range(5)), folder=host.junk)
    session = open_session(host.account(user), PASSWORD)
    junk = session.junk_folder()
    status = session.status(junk)
    assert session.departed(junk, status.uid_validity, session.uids(junk), status.highest_modseq) == []
    known = session.uids(junk)
    host.move(user, known[1:3], host.junk, host.trash)
    assert session.departed(junk, status.uid_validity, known, status.highest_modseq) == known[1:3]
    assert session.departed(junk, status.uid_validity, known[:2], None) == known[1:2]
    assert session.departed(junk, status.uid_validity, [], None) == []
    assert ("QRESYNC" in session.connection.enabled) == (server == "cyrus")
    session.close()


def test_few_bytes_for_few_changes(dovecot):
    """Ten of 2,000 left, with holes everywhere: QRESYNC names them, SEARCH names what is left."""
    host = dovecot(storage="mdbox")
    user = host.new_user()
    with host.oracle(user) as imap:
        for _ in range(2000):
            imap.append("Junk", None, None, mail(body="x"))
    host.move(user, range(1, 2000, 2), "Junk", "Trash")
    session = open_session(host.account(user), PASSWORD)
    status = session.status(JUNK)
    known = session.uids(JUNK)
    session.departed(JUNK, status.uid_validity, known, status.highest_modseq)  # the counting begins here
    status = session.status(JUNK)
    host.move(user, known[100:110], "Junk", "Trash")
    cost = {}
    for way in (status.highest_modseq, None):
        received = session.bytes_received()
        assert session.departed(JUNK, status.uid_validity, known, way) == known[100:110]
        cost[way] = session.bytes_received() - received
    assert cost[status.highest_modseq] < 800 < cost[None]
    session.close()


# -- servers that lie, forget or begin anew


@pytest.mark.parametrize("way", WAYS)
def test_counting_that_begins_anew(dovecot, observers, way):
    """Dovecot without its index files: mod-sequences begin at 1 again, UIDs and UIDVALIDITY stay."""
    host = dovecot()
    user = host.new_user()
    host.append(user, *(mail() for _ in range(6)), folder="Junk")
    for _ in range(4):
        host.store(user, [1, 2], "+FLAGS", "\\Flagged", folder="Junk")
        host.store(user, [1, 2], "-FLAGS", "\\Flagged", folder="Junk")
    observer = observers(host, user)[way]
    observer.look()
    before = observer.modseq
    observer.session.close()
    host.doveadm("kick", user)  # a process that has them open would be confused
    for file in (host.home(user) / "Maildir" / ".Junk").glob("dovecot.index*"):
        file.unlink()
    observer.session = observers(host, user)[way].session
    host.move(user, [3], "Junk", "Trash")
    host.store(user, [5], "+FLAGS", "$NotJunk", folder="Junk")
    assert observer.look() == Changes((), (3,), ((5, frozenset({"$notjunk"})),))
    if way != "plain":
        assert before is not None
        assert observer.modseq < before, "it did not begin anew: nothing was tested"
    host.move(user, [4], "Junk", "Trash")
    assert observer.look() == Changes((), (4,), ())


@pytest.mark.parametrize("way", WAYS)
def test_another_uidvalidity(dovecot, observers, way):
    host = dovecot()
    user = host.new_user()
    host.append(user, mail(), mail(), folder="Junk")
    observer = observers(host, user)[way]
    observer.look()
    host.doveadm("mailbox", "update", "--uid-validity", "4242", "-u", user, "Junk")
    fresh = observers(host, user)[way].session  # Dovecot drops who had it open
    assert fresh.status(JUNK).uid_validity == 4242
    with pytest.raises(FolderChanged):
        fresh.departed(JUNK, UidValidity(observer.validity), [Uid(1), Uid(2)], observer.modseq)
    assert fresh.departed(JUNK, UidValidity(4242), [Uid(1), Uid(2)], observer.modseq) == []


QRESYNC = "IMAP4rev1 ENABLE CONDSTORE QRESYNC ESEARCH UNSELECT"


def scripted(scripted_server, *steps, enabled="* ENABLED QRESYNC"):
    server = scripted_server([*sign_in(QRESYNC), *answer("ENABLE QRESYNC", enabled), *steps])
    return open_session(server.account(), PASSWORD), server


def resynced(*said: str, modseq: str = "[HIGHESTMODSEQ 99] ok", validity: int = 7):
    return answer(
        r"EXAMINE .Junk. \(QRESYNC \(7 50\)\)",
        "* 4 EXISTS",
        f"* OK [UIDVALIDITY {validity}] ok",
        "* OK [UIDNEXT 7] ok",
        f"* OK {modseq}",
        *said,
        status="OK [READ-ONLY] done",
    )


LISTED = answer("LIST", '* LIST () "/" INBOX', '* LIST (\\Junk) "/" Junk')
SIX = [Uid(uid) for uid in range(1, 7)]
SEARCHED = answer(r"UID SEARCH RETURN \(ALL\) UID 1:6", "* ESEARCH (TAG) UID ALL 1,3:4,6")


def test_vanished_and_flags_in_one_answer(scripted_server):
    """More may be named than ever was there, and what was expunged long ago."""
    session, _ = scripted(
        scripted_server,
        *LISTED,
        *resynced("* VANISHED (EARLIER) 2,5,100:4000000000", "* 3 FETCH (UID 4 MODSEQ (77) FLAGS ($Junk))"),
        *answer(r"UID SEARCH RETURN \(COUNT\) UID 1:6", "* ESEARCH (TAG) UID COUNT 4"),
        *answer(
            r"UID FETCH 1:\* \(UID FLAGS\) \(CHANGEDSINCE 99\)", "* 1 FETCH (UID 1 MODSEQ (101) FLAGS ())"
        ),
    )
    assert session.departed(JUNK, UidValidity(7), SIX, 50) == [2, 5]
    assert session.changed_flags(JUNK, 50) == {4: {"$Junk"}, 1: frozenset()}
    session.close()


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(resynced(modseq="[NOMODSEQ] none"), id="no mod-sequences"),
        pytest.param(resynced(modseq="[HIGHESTMODSEQ 0] none"), id="zero"),
        pytest.param(resynced("* VANISHED (EARLIER) 2", modseq="[HIGHESTMODSEQ 12] ok"), id="begun anew"),
        pytest.param(resynced("* VANISHED (EARLIER) 2:x"), id="malformed"),
        pytest.param(
            resynced("* VANISHED (EARLIER) 2")
            + answer("UID SEARCH RETURN .COUNT.", "* ESEARCH (TAG) UID COUNT 4"),
            id="forgot one",
        ),
        pytest.param(
            resynced("* VANISHED (EARLIER) 2,4:5")
            + answer("UID SEARCH RETURN .COUNT.", "* ESEARCH (TAG) UID COUNT 4"),
            id="names one that is there",
        ),
        pytest.param(
            resynced("* VANISHED (EARLIER) 2,5") + answer("UID SEARCH RETURN .COUNT.", status="BAD what?"),
            id="cannot count",
        ),
    ],
)
def test_a_server_that_cannot_prove_it_is_asked_in_the_plain_way(scripted_server, said):
    session, _ = scripted(scripted_server, *LISTED, *said, *answer("NOOP"), *SEARCHED)
    assert session.departed(JUNK, UidValidity(7), SIX, 50) == [2, 5]
    session.close()


def test_qresync_not_understood(scripted_server):
    session, _ = scripted(
        scripted_server,
        *LISTED,
        *answer("EXAMINE .Junk. .QRESYNC", status="BAD what?"),
        *opened(4),
        *SEARCHED,
        *answer("NOOP"),
        *SEARCHED,
    )
    for _ in range(2):  # and it is not tried again
        assert session.departed(JUNK, UidValidity(7), SIX, 50) == [2, 5]
    session.close()


def test_enabled_only_if_the_server_says_so(scripted_server, dovecot):
    """iCloud's proxy says OK and nothing else; and no folder is open yet when it is asked."""
    session, server = scripted(scripted_server, enabled="* ENABLED")
    assert session.connection.enabled == frozenset()
    assert not any("SELECT" in line or "EXAMINE" in line for line in server.received)
    session.close()
    host = dovecot(capabilities=ICLOUD)
    icloud = open_session(host.account(host.new_user()), PASSWORD)
    assert icloud.abilities.quirk == "icloud"
    assert icloud.connection.has("QRESYNC")
    assert icloud.connection.enabled == frozenset()  # the row of the table says: not there
    icloud.close()


@pytest.mark.parametrize("cut", ["cut_before", "cut_after", "cut_inside"])
@pytest.mark.parametrize("verb", [r"EXAMINE .*QRESYNC", r"UID SEARCH RETURN \(COUNT\)"])
def test_cut_off(dovecot, fault_proxy, verb, cut):
    """An error of ours, nothing half said, and the next connection finds the same."""
    host = dovecot()
    user = host.new_user()
    host.append(user, mail(), mail(), mail(), folder="Junk")
    proxy = fault_proxy(host.port)
    account = replace(host.account(user), port=proxy.port)
    first = open_session(account, PASSWORD)
    first.departed(JUNK, first.status(JUNK).uid_validity, first.uids(JUNK), 1)
    status = first.status(JUNK)
    host.move(user, [2], "Junk", "Trash")
    known = [Uid(1), Uid(2), Uid(3)]
    fault = getattr(proxy, cut)(verb)
    with pytest.raises(ConnectionLost):
        first.departed(JUNK, status.uid_validity, known, status.highest_modseq)
    assert fault.happened.wait(60)
    assert first.connection.broken
    proxy.peace()
    again = open_session(account, PASSWORD)
    assert again.departed(JUNK, status.uid_validity, known, status.highest_modseq) == [2]
    assert again._resynced is not None
    for session in (first, again):
        session.close()


def test_looking_leaves_no_trace(dovecot, observers):
    host = dovecot()
    user = host.new_user()
    host.append(user, mail(), mail(), mail(), folder="Junk")
    ways = observers(host, user)
    for observer in ways.values():
        observer.look()
    host.store(user, [1], "+FLAGS", "$Junk", folder="Junk")
    with nothing_lost(host, user):
        for observer in ways.values():
            assert observer.look() == Changes((), (), ((1, frozenset({"$junk"})),))
