"""Nothing leaves the computer: whom filter and trainer speak to, as Python's audit events tell (PEP 578)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.daemon.conftest import wait_for
from tests.servers.mailhost import mail

ROOT = Path(__file__).resolve().parents[2]
NOTED = """
import os, sys

notes = open(os.environ["NOTES"], "a", buffering=1)

def note(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        notes.write(f"{event} {arguments[1]!r}\\n")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        notes.write(f"look-up {arguments[0]!r}\\n")
    elif event == "subprocess.Popen":
        notes.write(f"program {' '.join(map(str, arguments[1][1:3]))}\\n")

sys.addaudithook(note)
"""


@pytest.mark.train
def test_filter_and_trainer_speak_to_the_mail_server_alone(running, dovecot, tmp_path, monkeypatch):
    host = dovecot()
    user = host.new_user()
    account = running.add(host.account(user))
    with host.oracle(user) as imap:
        imap.create("Archive")
    for folder, word in (("Archive", "note"), ("Junk", "offer")):
        host.append(
            user,
            *(mail(f"{word} {n}", f"A {word}: http://{word}{n}.example/x.gif") for n in range(12)),
            folder=folder,
        )
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(NOTED)
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "hook"), str(ROOT)]))
    running.start()
    with running.client() as client:
        client.start_first_reading(account.name)
        wait_for(lambda: any("folders were read" in one.text for one in client.events()), "the first reading")
        host.append(user, mail("new", "See http://new.example/x.gif"))
        wait_for(lambda: any(one.subject == "new" for one in client.judgements()), "the new mail")
        client.train()
        wait_for(lambda: any(one.kind in ("night", "model") for one in client.events()), "the training")
    running.stop()
    notes = set((tmp_path / "notes").read_text().splitlines())
    assert "program -m spamd.training" in notes, "the trainer was listened to as well"
    server = {f"socket.connect {(host.host, host.port)!r}", f"look-up {host.host!r}"}
    assert server <= notes
    # Which network this is: a UDP socket is bound to a way there, and nothing is sent (mailbox/network.py).
    ways = {f"socket.connect {(address, 9)!r}" for address in ("192.0.2.1", "2001:db8::1")}
    assert {one for one in notes if not one.startswith("program ")} <= server | ways
