"""The commands that change an IMAP mailbox, for the mover. Nothing else in this program changes one, but for
keywords."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from spamd.domain import MOVING_KEYWORD, OWNER_KEYWORD, FolderName, Uid, UidValidity
from spamd.errors import FolderChanged, FolderRefused
from spamd.mailbox.connection import Selected
from spamd.mailbox.protocol import CopyUid, expand, number_set
from spamd.mailbox.session import ImapSession
from spamd.source import Copied, OpenFolder

LOCK_TRIES = 3
"""Other programs mark new mail at the moment in which we lock it: Thunderbird writes NonJunk on it."""

PAUSES = (0.0, 0.2, 0.5, 1.0)
"""Seconds between the looks of a daemon that waits for another one to withdraw."""


class ImapCommands:
    """Implements spamd.source.MoveCommands on a session's connection."""

    def __init__(self, session: ImapSession) -> None:
        self._session = session
        self._connection = session.connection

    def move(self, source: OpenFolder, uids: Sequence[Uid], target: FolderName) -> Copied:
        self._open(source)
        return _copied(self._connection.move(uids, self._session.raw(target), what=target))

    def copy(self, source: OpenFolder, uids: Sequence[Uid], target: FolderName) -> Copied:
        self._open(source)
        return _copied(self._connection.copy(uids, self._session.raw(target), what=target))

    def mark_deleted(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        self._open(folder)
        self._connection.store(uids, b"+FLAGS", ["\\Deleted"])

    def clear_deleted(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        self._open(folder)
        self._connection.store(uids, b"-FLAGS", ["\\Deleted"])

    def deleted(self, folder: OpenFolder) -> frozenset[Uid]:
        self._open(folder)
        self._connection.noop()  # flags that others set show up only now
        return frozenset(Uid(uid) for uid in self._connection.search(b"DELETED"))

    def expunge(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        self._open(folder)
        self._connection.uid_expunge(uids)

    def expunge_all(self, folder: OpenFolder) -> None:
        self._open(folder)
        self._connection.command("EXPUNGE", what=folder.name)

    def lock(
        self, folder: OpenFolder, uids: Sequence[Uid], keyword: str, also: Sequence[str] = ()
    ) -> frozenset[Uid] | None:
        selected = self._open(folder)
        if not selected.keeps_keywords:
            return None
        # [NOMODSEQ], or no CONDSTORE: a lock that two could take at once
        counted = bool(selected.highest_modseq)
        held: set[Uid] = set()
        open_ones = list(uids)
        for _ in range(LOCK_TRIES):
            rows = self._connection.fetch(
                number_set(open_ones), [b"FLAGS", b"MODSEQ"] if counted else [b"FLAGS"]
            ).rows
            free = [uid for uid in open_ones if uid in rows and keyword.lower() not in _flags(rows[uid])]
            if not free:
                break
            # One number for all: whatever changes after our FETCH gets a higher one.
            newest = max(int(number) for uid in free for number in rows[uid].get(b"MODSEQ", (0,)))
            reply = self._connection.command(
                "UID STORE",
                number_set(free),
                *([b"(UNCHANGEDSINCE %d)" % newest] if counted else []),
                b"+FLAGS.SILENT",
                b"(" + " ".join([keyword, *also]).encode("ascii") + b")",
                what=folder.name,
                tolerate=(b"OK", b"NO", b"BAD"),
            )
            modified = reply.code(b"MODIFIED")
            if modified is None and reply.status != b"OK":
                # Refused, as a whole or because one of them is gone: which carry all our words now?
                words = {word.lower() for word in (keyword, *also)}
                rows = self._connection.fetch(number_set(free), [b"FLAGS"]).rows
                held |= {uid for uid in free if uid in rows and words <= _flags(rows[uid])}
                return frozenset(held) or None
            if not counted:
                return self._alone(folder, free, also)
            changed = {Uid(uid) for uid in expand(modified.arguments)} if modified is not None else set()
            held |= set(free) - changed
            # Changed is not locked: the person may have read it, or a mail program have marked it, this very moment.
            open_ones = [uid for uid in free if uid in changed]
            if not open_ones:
                break
        return frozenset(held)

    def _alone(self, folder: OpenFolder, uids: Sequence[Uid], words: Sequence[str]) -> frozenset[Uid] | None:
        """Without CONDSTORE two may have set the lock at once. Each sets its name and then reads: of two, the later one
        sees both names. Whoever has not the lowest withdraws; the lowest waits until it is alone, or gives up.
        None: the server said OK and kept none of our names.
        """
        mine = next((word.lower() for word in words if word.startswith(OWNER_KEYWORD)), "")
        if not mine:
            return frozenset(uids)
        held: set[Uid] = set()
        open_ones = list(uids)
        for pause in PAUSES:
            time.sleep(pause)
            # Opened anew: Courier shows other people's keywords at no other time.
            self._connection.select(
                self._session.raw(folder.name), writable=True, again=True, what=folder.name
            )
            rows = self._connection.fetch(number_set(open_ones), [b"FLAGS"]).rows
            ours = {mine, MOVING_KEYWORD.lower()}
            if rows and not held and not any(ours & _flags(row) for row in rows.values()):
                return None
            contested: list[Uid] = []
            lost: list[Uid] = []
            for uid in open_ones:
                names = {flag for flag in _flags(rows.get(uid, {})) if flag.startswith(OWNER_KEYWORD.lower())}
                if names == {mine}:
                    held.add(uid)
                elif mine in names:
                    (contested if mine == min(names) else lost).append(uid)
            if pause == PAUSES[-1]:
                lost, contested = lost + contested, []
            if lost:
                self._connection.store(lost, b"-FLAGS", [mine])
            if not contested:
                break
            open_ones = contested
        return frozenset(held)

    def unlock(self, folder: OpenFolder, uids: Sequence[Uid], keywords: Sequence[str]) -> None:
        self._open(folder)
        self._connection.store(uids, b"-FLAGS", keywords)

    def left_copy(self, source: OpenFolder, uid: Uid, target: FolderName) -> Uid | None:
        return None

    def locked(self, folder: FolderName, keyword: str) -> tuple[OpenFolder, Sequence[Uid]]:
        selected = self._session.select(folder, writable=True)
        now = OpenFolder(folder, UidValidity(selected.uid_validity))
        if not self._connection.quirk.search_keywords:
            return now, ()
        return now, [Uid(uid) for uid in self._connection.search(b"KEYWORD", keyword.encode("ascii"))]

    def _open(self, folder: OpenFolder) -> Selected:
        """SELECT, and look who it is. Read-only is no protection: some servers move all the same."""
        selected = self._session.select(folder.name, writable=True)
        if selected.uid_validity != folder.uid_validity:
            raise FolderChanged(f"The folder {folder.name} has changed.")
        if selected.read_only:
            raise FolderRefused(
                f"The folder {folder.name} may only be read.",
                "The owner of the folder or the mail administrator can allow changes.",
            )
        return selected


def _flags(row: Mapping[bytes, Any]) -> set[str]:
    """In lower case: they are case-insensitive."""
    return {
        flag.decode("ascii", "replace").lower() for flag in row.get(b"FLAGS", ()) if isinstance(flag, bytes)
    }


def _copied(proof: CopyUid | None) -> Copied:
    if proof is None:
        return Copied()
    return Copied(UidValidity(proof.uid_validity), {Uid(old): Uid(new) for old, new in proof.pairs})


__all__ = ["ImapCommands"]
