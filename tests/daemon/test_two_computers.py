"""Two real daemons, as on two computers, on one mailbox: each mail moves once, each drag is one label for each of them."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from spamd.domain import MOVED_KEYWORD, MOVING_KEYWORD, AccountName, Label, LabelSource, Mode
from tests.daemon.conftest import Running, wait_for
from tests.daemon.test_daemon import block, folder, ham, moved, spam
from tests.servers.mailhost import nothing_lost

SERVERS = {
    "dovecot-maildir": {},
    "dovecot-mdbox": {"storage": "mdbox"},
    "dovecot-no-move": {
        "capabilities": "IMAP4rev1 LITERAL+ ID NAMESPACE IDLE UIDPLUS ENABLE CONDSTORE UNSELECT"
    },
}


@pytest.fixture(params=[*SERVERS, "cyrus", "courier"])
def host(request):
    if request.param in SERVERS:
        return request.getfixturevalue("dovecot")(**SERVERS[request.param])
    return request.getfixturevalue(request.param)


@pytest.fixture
def computers(tmp_path, invariant):
    made = []
    for name in ("desk", "laptop"):
        (tmp_path / name / "tmp").mkdir(parents=True)
        made.append(Running(tmp_path / name / "home", computer=tmp_path / name / "tmp"))
    yield made
    for one in made:
        one.end()


class Mailbox:
    def __init__(self, host, user, computers):
        self.host, self.user, self.computers = host, user, computers
        self.sentinels = 0

    def deliver(self, *mails):
        return self.host.append(self.user, *mails)

    def wait(self, condition, what):
        """Courier tells nothing of new mail to who waits in IDLE: there both are asked to look."""
        woken = [0.0]

        def looked():
            if self.host.separator == "." and time.monotonic() - woken[0] > 1.0:
                woken[0] = time.monotonic()
                for one in self.computers:
                    if one.process is not None and one.process.poll() is None:
                        with one.client() as client:
                            client.wake()
            return condition()

        return wait_for(looked, what)

    def uids(self, name, text):
        return [one.uid for one in self.host.contents(self.user) if one.folder == name and text in one.raw]

    def drag(self, text, source, target):
        self.host.move(self.user, self.uids(source, text), source, target)

    def labels(self, count):
        """What each daemon has learned, once it has that many labels and has looked once more."""
        for one in self.computers:
            with one.client() as client:
                self.wait(lambda client=client: len(client.labels(limit=500)) >= count, f"{count} labels")
        for _ in range(2):  # a second look, after whatever the first one set off
            self.sentinels += 1
            name = f"sentinel {self.sentinels}"
            self.deliver(ham(name))
            for one in self.computers:
                with one.client() as client:

                    def judged(client=client, name=name):
                        return any(f"note {name}" in j.subject for j in client.judgements(limit=500))

                    self.wait(judged, "the verdict on a later mail")
        found = []
        for one in self.computers:
            with one.store() as store:
                rows = store.labels(AccountName(self.user), limit=500)
                subjects = {j.identity: j.subject for j in store.judgements(limit=500)}
                assert all(row.source is LabelSource.DRAG for row in rows), rows
                found.append(Counter((row.label, subjects[row.identity]) for row in rows))
        return found


@pytest.mark.scenario(32)
def test_each_moves_and_each_learns_from_the_person_only(computers, host):
    user = host.new_user()
    box = Mailbox(host, user, computers)
    for one in computers:
        one.add(host.account(user))
        one.start()
        block(one)
    mails = [spam(number) for number in range(12)] + [ham(number) for number in range(6)]
    for start in range(0, len(mails), 3):
        box.deliver(*mails[start : start + 3])
    box.wait(moved(host, user, 12), "all moves")
    assert box.labels(0) == [Counter(), Counter()], "a move of the other is no drag"
    with nothing_lost(host, user):
        box.drag(b"Subject: offer 1\r", host.junk, "INBOX")
        box.drag(b"Subject: offer 11", host.junk, "INBOX")
        box.drag(b"Subject: note 2\r", "INBOX", host.junk)
        wanted = Counter(
            {(Label.HAM, "offer 1"): 1, (Label.HAM, "offer 11"): 1, (Label.SPAM, "note 2"): 1},
        )
    assert box.labels(3) == [wanted, wanted]
    box.drag(b"Subject: offer 11", "INBOX", host.junk)  # a change of mind: the sign is on it already
    del wanted[Label.HAM, "offer 11"]
    wanted[Label.SPAM, "offer 11"] = 1
    with computers[0].client() as client:
        box.wait(lambda: sum(one.label is Label.SPAM for one in client.labels(limit=500)) == 2, "the change")
    assert box.labels(3) == [wanted, wanted]
    computers[1].stop()  # while the laptop sleeps
    box.deliver(spam(100))
    box.wait(
        moved(host, user, 13), "one more move"
    )  # dragged before its end, copy and original would both stay
    box.drag(b"offer 100", host.junk, "INBOX")
    computers[1].start()
    wanted[Label.HAM, "offer 100"] = 1
    assert box.labels(4) == [wanted, wanted], "the laptop never saw it in Junk: its sign tells"
    lying = host.contents(user)
    assert Counter(Counter(one.raw for one in lying).values()).keys() == {1}, "each mail once"
    assert not any({"\\Seen", "\\Deleted", MOVING_KEYWORD} & one.flags for one in lying)
    assert all(MOVED_KEYWORD in one.flags for one in lying if b"Subject: offer" in one.raw)
    assert len(folder(host, user, host.junk)) == 12
    done = Counter()
    for one in computers:
        one.stop()
        with one.store() as store:
            assert not store.open_moves(user)
            done.update(
                row.identity for row in store.moves(AccountName(user), limit=500) if row.state == "done"
            )
    assert set(done.values()) == {1}, "by one of the two"
    assert len(done) == 13


@pytest.mark.parametrize("host", ["cyrus"], indirect=True)
@pytest.mark.scenario(32, 40)
def test_an_inbox_that_takes_no_further_keywords(computers, host):
    """Cyrus has 100 to a folder. The sign is set after the move, in Junk; no move of the one is a drag for the other."""
    user = host.new_user()
    box = Mailbox(host, user, computers)
    (uid,) = box.deliver(ham("with a hundred labels"))
    for start in range(0, 100, 20):
        words = " ".join(f"label{number}" for number in range(start, start + 20))
        host.store(user, [uid], "+FLAGS", words, "INBOX")
    desk, laptop = computers
    desk.add(host.account(user))
    laptop.add(host.account(user), mode=Mode.LEARNING)
    for one in computers:
        one.start()
        block(one)
    desk.stop()
    box.deliver(*[spam(number) for number in range(6)], *[ham(number) for number in range(3)])
    with laptop.client() as client:
        box.wait(lambda: len(client.judgements(limit=50)) >= 9, "the laptop to see all mail in the inbox")
    desk.start()
    box.wait(moved(host, user, 6), "all moves")
    assert box.labels(0) == [Counter(), Counter()], "a move of the other is no drag"
    box.drag(b"Subject: offer 1\r", host.junk, "INBOX")
    wanted = Counter({(Label.HAM, "offer 1"): 1})
    assert box.labels(1) == [wanted, wanted]
    assert len(folder(host, user, host.junk)) == 5
