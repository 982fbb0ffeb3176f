"""Anybody can send a mail that brings a parser down: it must not keep the filter down."""

from __future__ import annotations

from spamd.model.poison import ENDS
from tests.daemon import ends_on_a_mail
from tests.daemon.conftest import PATIENCE, wait_for
from tests.servers.mailhost import mail

PROGRAM = ("-m", ends_on_a_mail.__name__)


def test_a_mail_under_which_the_program_ends_is_left_alone(running, dovecot):
    server = dovecot()
    user = server.new_user()
    running.add(server.account(user))
    running.start(program=PROGRAM)
    server.append(user, mail("deadly", body=ends_on_a_mail.MARK.decode()), mail("after it"))
    for _ in range(ENDS - 1):
        assert running.process.wait(PATIENCE) == ends_on_a_mail.STATUS
        running.start(wait=False, program=PROGRAM)
    assert running.process.wait(PATIENCE) == ends_on_a_mail.STATUS
    running.start(program=PROGRAM)
    with running.client() as client:
        wait_for(lambda: [one.subject for one in client.judgements()] == ["after it"], "the other mail")
        assert any("could not be read" in one.text for one in client.events())
        # It is not met again, and what lies behind it neither waits nor ends anything.
        server.append(user, mail("later"))
        wait_for(lambda: len(client.judgements()) == 2, "the next mail")
    assert running.process.poll() is None
