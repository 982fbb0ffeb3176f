"""Whom the person writes to: evidence for good mail, never taught."""

from __future__ import annotations

import contextlib
import email.utils
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from spamd.domain import Account, FolderCursor, FolderName, FolderStatus, Uid
from spamd.errors import FolderChanged, FolderMissing, FolderRefused
from spamd.learning.places import cursor_at
from spamd.source import MailSession

if TYPE_CHECKING:
    from spamd.store.database import Store

READ_SENT = 2000
AT_ONCE = 200
"""Mails whose headers are asked for with one command."""


def read_sent_since(session: MailSession, store: Store, account: Account, now: float) -> None:
    """Whom the person has written to since the last time. Once an hour is enough.

    What was sent before the first time is the first reading's, which asks the person before.
    """
    for status in session.statuses(sent_folders(session)):
        folder = status.folder
        cursor = store.cursor(account.name, folder)
        if cursor is not None and cursor.uid_next >= status.uid_next and not _renumbered(cursor, status):
            continue
        with contextlib.suppress(FolderMissing, FolderRefused, FolderChanged):
            if cursor is not None and not _renumbered(cursor, status):
                first = max(cursor.uid_next, status.uid_next - READ_SENT)
                new = [Uid(uid) for uid in range(first, status.uid_next)]
                for start in range(0, len(new), AT_ONCE):
                    some = new[start : start + AT_ONCE]
                    _add_recipients(session, store, account, folder, some, now)
            store.set_cursor(cursor_at(account, status, ()))


def read_sent_before(
    session: MailSession, store: Store, account: Account, now: float, stop: Callable[[], bool]
) -> None:
    """Whom the person wrote to before we came, as far as the newest mails tell."""
    for folder in sent_folders(session):
        with contextlib.suppress(FolderMissing, FolderRefused):
            uids = list(session.uids(folder))[-READ_SENT:]
            for start in range(0, len(uids), AT_ONCE):
                if stop():
                    break
                _add_recipients(session, store, account, folder, uids[start : start + AT_ONCE], now)


def sent_folders(session: MailSession) -> list[FolderName]:
    return [folder.name for folder in session.folders() if folder.role == "sent" and folder.selectable]


def _add_recipients(
    session: MailSession,
    store: Store,
    account: Account,
    folder: FolderName,
    uids: Sequence[Uid],
    now: float,
) -> None:
    """To whom these were sent."""
    found: set[str] = set()
    for header in session.headers(folder, uids, ("To", "Cc")).values():
        found |= recipients(header)
    store.add_contacts(account.name, sorted(found), now)


def recipients(header: bytes) -> set[str]:
    """Addresses of To and Cc lines, lower case. Never raises."""
    text = re.sub(r"\r?\n[ \t]", " ", header.decode("utf-8", "replace"))
    values = [line.partition(":")[2] for line in text.split("\n") if ":" in line]
    found = set()
    try:
        for _, address in email.utils.getaddresses(values):
            address = address.strip().lower()
            if address.count("@") == 1 and len(address) <= 254 and " " not in address:
                found.add(address)
    except (ValueError, IndexError, RecursionError):  # comments in comments, a thousand deep
        return set()
    return found


def _renumbered(cursor: FolderCursor, status: FolderStatus) -> bool:
    return cursor.uid_validity != status.uid_validity
