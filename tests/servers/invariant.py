"""What must be true at the end of every test on a real server, whatever it was about.

Each mail that arrived lies there once, unless the test itself copied or removed it by a person's hand; and none is
marked as read that was not. Tests of the mover and of the daemon look besides for open rows and labels.
"""

from __future__ import annotations

import contextlib
import imaplib
import time
from collections import Counter
from collections.abc import Iterator

from tests.servers.mailhost import Kept, Lying, MailHost, normal

SETTLING = 30.0
"""Seconds in which a server ends a move that was asked for by a program that is gone: meanwhile the mail lies in both
folders, or, as these are read one after the other, in neither.
"""


@contextlib.contextmanager
def nothing_lost_doubled_or_read() -> Iterator[None]:
    MailHost.touched.clear()
    yield
    deadline = time.monotonic() + SETTLING
    for (host, user), kept in list(MailHost.touched.items()):
        while (lying := everything(host, user)) is not None:
            try:
                check(kept, lying)
                break
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
    MailHost.touched.clear()


def everything(host: MailHost, user: str) -> list[Lying] | None:
    """None where the test has left a server that nobody can look into (no rights, not running)."""
    try:
        return host.contents(user)
    except (OSError, AssertionError, imaplib.IMAP4.error):
        return None


def check(kept: Kept, lying: list[Lying]) -> None:
    there = Counter(normal(one.raw) for one in lying)
    shown = Counter(normal(one.raw) for one in lying if "\\Deleted" not in one.flags)
    for body, count in kept.bodies.items():
        assert there[body] >= count, f"lost: {body[:200]!r}"
        # An original that may not be expunged without taking along what the person marked stays, marked as deleted.
        assert kept.doubled or shown[body] <= count, f"doubled: {body[:200]!r}"
    read = [normal(one.raw) for one in lying if "\\Seen" in one.flags]
    for body in set(read):
        if body in kept.bodies:
            assert kept.read[body], f"newly read: {body[:200]!r}"
