"""Anybody can send a mail that brings a parser down: it must not keep the filter down."""

from __future__ import annotations

from tests.daemon import ends_on_a_mail
from tests.daemon.conftest import PATIENCE, wait_for
from tests.servers.mailhost import mail

PROGRAM = ("-m", ends_on_a_mail.__name__)


def test_mails_under_which_the_program_ends_are_left_alone(running, dovecot):
    """However many come at once, one start is all they cost: systemd gives up after ten."""
    server = dovecot()
    user = server.new_user()
    running.add(server.account(user))
    running.start(program=PROGRAM)
    deadly = [mail(f"deadly {n}", body=f"{ends_on_a_mail.MARK.decode()} {n}") for n in range(12)]
    server.append(user, mail("before them"), *deadly[:6], mail("among them"), *deadly[6:], mail("after them"))
    assert running.process.wait(PATIENCE) == ends_on_a_mail.STATUS
    running.start(program=PROGRAM)
    good = {"before them", "among them", "after them"}
    with running.client() as client:
        wait_for(lambda: {one.subject for one in client.judgements()} == good, "the other mails")
        assert any("could not be read" in one.text for one in client.events())
        # They are not met again, and what lies behind them neither waits nor ends anything.
        server.append(user, mail("later"), mail("late", body=ends_on_a_mail.MARK.decode()))
        wait_for(lambda: len(client.judgements()) == len(good) + 1, "the next mail")
    running.stop()
