"""The real daemon in its own process, on real mail servers: from delivery to Junk, and everything in between."""

from __future__ import annotations

import pytest

from spamd.domain import Label
from tests.daemon.conftest import wait_for
from tests.servers.mailhost import mail, normal, snapshot

SERVERS = {"dovecot-maildir": {}, "dovecot-mdbox": {"storage": "mdbox"}}
JUNK_SENDER = "offers@junk-sender.example"


@pytest.fixture(params=[*SERVERS, "pymap"])
def host(request):
    if request.param in SERVERS:
        return request.getfixturevalue("dovecot")(**SERVERS[request.param])
    return request.getfixturevalue(request.param)


def spam(number: int) -> bytes:
    """A mail that the person's list calls junk, so that no test depends on the model's taste."""
    return mail(f"offer {number}", f"Buy number {number} now.", sender=JUNK_SENDER)


def ham(number: int) -> bytes:
    return mail(f"note {number}", f"See you at {number}.", sender="friend@home.example")


def block(running) -> None:
    with running.client() as client:
        client.add_to_list(JUNK_SENDER, Label.SPAM)


def folder(host, user, name):
    return sorted(normal(one.raw) for one in host.contents(user) if one.folder == name)


def moved(host, user, count):
    return lambda: len(folder(host, user, host.junk)) >= count


def test_a_mail_arrives_is_judged_and_moved(running, host):
    user = host.new_user()
    host.append(user, ham(0))
    running.add(host.account(user))
    running.start()
    block(running)
    host.append(user, spam(1), ham(1))
    wait_for(moved(host, user, 1), "the move")
    assert folder(host, user, host.junk) == [normal(spam(1))] or len(folder(host, user, host.junk)) == 1
    assert len(folder(host, user, "INBOX")) == 2
    assert not snapshot(host, user).seen
    with running.client() as client:
        wait_for(lambda: len(client.judgements(limit=10)) == 2, "both verdicts")
        status = client.status()
        assert status.accounts[0].state.junk_folder == host.junk
    assert running.stop() < 10
