"""A peer that is gone without a word, for real: in a network of its own whose only line is cut.

The proxy of the other tests keeps TCP alive while it swallows everything. Here not even TCP answers, and it is the system that
must find out: by keep-alive where we wait, by the read limit where we asked.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import missing

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = r"""
import subprocess, threading, time
from spamd.domain import FolderName
from spamd.errors import ConnectionLost
from spamd.mailbox.connection import connect
from spamd.mailbox.idle import ImapWatch
from tests.servers.scripted import ScriptedServer, expect, opened, sign_in

def line(state):
    subprocess.run(["ip", "link", "set", "lo", state], check=True)

line("up")
server = ScriptedServer([
    [*sign_in(), *opened(3), expect("IDLE"), b"+ idling\r\n"],
    [*sign_in(), expect("NOOP"), threading.Event()],
])
watch = ImapWatch(connect(server.account(), "pw"), FolderName("INBOX"), b"INBOX")
asking = connect(server.account(), "pw")
assert watch.wait(0.3) is False
line("down")
began = time.monotonic()

def until_lost(name, work):
    try:
        while True:
            work()
    except ConnectionLost:
        print(name, round(time.monotonic() - began), flush=True)

threads = [
    threading.Thread(target=until_lost, args=("waiting", lambda: watch.wait(600))),
    threading.Thread(target=until_lost, args=("asking", asking.noop)),
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def _own_network() -> list[str] | None:
    """The start of a command that runs in an empty network; None where that is not allowed."""
    command = ["unshare", "--user", "--map-root-user", "--net"]
    allowed = subprocess.run([*command, "ip", "link", "set", "lo", "up"], capture_output=True, check=False)
    return command if allowed.returncode == 0 else None


def test_9_half_open_is_found_within_a_minute():
    for program, package in (("unshare", "util-linux"), ("ip", "iproute2")):
        if reason := missing(program, package=package):
            pytest.skip(reason)
    command = _own_network()
    if command is None:
        pytest.skip("no network of one's own is allowed here (unshare --net)")
    result = subprocess.run(
        [*command, sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = dict(line.split() for line in result.stdout.splitlines())
    assert set(found) == {"waiting", "asking"}, result.stderr
    # The timers are the system's: 60; without them it is nine minutes and more.
    assert all(int(seconds) <= 120 for seconds in found.values()), found
