"""The commands that change an IMAP mailbox, for the mover. Nothing else in this program changes one, but for
keywords."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spamd.domain import MOVED_KEYWORD, MOVING_KEYWORD, OWNER_KEYWORD, FolderName, Uid, UidValidity
from spamd.errors import FolderChanged, FolderRefused
from spamd.mailbox.connection import Selected
from spamd.mailbox.protocol import CopyUid, expand, number_set
from spamd.mailbox.session import ImapSession
from spamd.source import Copied, OpenFolder

LOCK_TRIES = 3
"""Other programs mark new mail at the moment in which we lock it: Thunderbird writes NonJunk on it."""

PAUSES = (0.0, 0.2, 0.3, 0.5, 1.0)
"""Seconds between the looks of a daemon that waits for another one to withdraw its name."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """What became of one STORE."""

    uids: Sequence[Uid]
    changed: Sequence[Uid]  # those of them that it left alone: somebody was faster
    counted: bool  # with CONDSTORE: else nobody knows who was faster
    refused: bool


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
        if not selected.keeps(keyword, *also):
            return None
        words = (keyword, *also)
        held: set[Uid] = set()
        stores = self._stores(
            selected,
            folder,
            uids,
            b"+FLAGS.SILENT",
            words,
            lambda flags: _free(flags, keyword),
            refusable=True,
        )
        for tries, stored in enumerate(stores, start=1):
            if stored.refused:
                # As a whole, or because one of them is gone: which carry all our words now?
                wanted = {word.lower() for word in words}
                rows = self._connection.fetch(number_set(stored.uids), [b"FLAGS"]).rows
                held |= {uid for uid in stored.uids if uid in rows and wanted <= _flags(rows[uid])}
                if held or tries > 1:
                    return frozenset(held) or None
                continue  # a NO that passes must not let the mail go unsigned: other daemons would take it for a drag
            if not stored.counted:
                alone = self._alone(folder, stored.uids, keyword, also)
                if alone is not None or tries > 1:
                    return alone
                continue  # or another one's STORE, on its way, took off all that we had written
            held |= set(stored.uids) - set(stored.changed)
            # Changed is not locked: the person may have read it, or a mail program have marked it, this very moment.
            if not stored.changed:
                break
        return frozenset(held)

    def _alone(
        self, folder: OpenFolder, uids: Sequence[Uid], keyword: str, words: Sequence[str]
    ) -> frozenset[Uid] | None:
        """Without CONDSTORE two may have set the lock at once. Each sets its name and then reads: of two, the later one
        sees both names. Whoever has not the lowest withdraws; the lowest waits until it is alone, or gives up. Alone is
        who was so twice, with a pause: on Courier the other one's STORE, on its way, takes our name off again.
        None: the server said OK and kept none of our names.
        """
        mine = next((word.lower() for word in words if word.startswith(OWNER_KEYWORD)), "")
        if not mine:
            return frozenset(uids)
        held: set[Uid] = set()
        once: set[Uid] = set()
        lost: list[Uid] = []
        open_ones = list(uids)
        for pause in PAUSES:
            time.sleep(pause)
            self._reopen(folder)
            rows = self._connection.fetch(number_set(open_ones), [b"FLAGS"]).rows
            if not pause and rows and not any({mine, keyword.lower()} & _flags(row) for row in rows.values()):
                return None
            names = {uid: _owners(_flags(rows.get(uid, {}))) for uid in open_ones}
            alone = {uid for uid in open_ones if names[uid] == {mine}}
            held |= alone & once
            once = alone
            lost += [uid for uid in open_ones if names[uid] and mine != min(names[uid])]
            open_ones = [
                uid for uid in open_ones if uid not in held and mine in names[uid] and uid not in lost
            ]
            if not open_ones:
                break
        self._withdraw(folder, lost + open_ones, mine, (keyword, *words))
        return frozenset(held)

    def _withdraw(self, folder: OpenFolder, uids: Sequence[Uid], mine: str, words: Sequence[str]) -> None:
        """Our name goes; and the lock with all that belongs to it, if nobody's name is left: of two that withdraw at
        once the later one sees that.
        """
        if not uids:
            return
        self._connection.store(uids, b"-FLAGS", [mine])
        self._reopen(folder)
        rows = self._connection.fetch(number_set(uids), [b"FLAGS"]).rows
        nobodys = [uid for uid in uids if uid in rows and not _owners(_flags(rows[uid]))]
        if nobodys:
            self._connection.store(nobodys, b"-FLAGS", [word for word in words if word.lower() != mine])

    def _reopen(self, folder: OpenFolder) -> None:
        """Courier shows other people's keywords at no other time."""
        self._connection.select(self._session.raw(folder.name), writable=True, again=True, what=folder.name)

    def unlock(self, folder: OpenFolder, uids: Sequence[Uid], keywords: Sequence[str]) -> None:
        self._open(folder)
        self._connection.store(uids, b"-FLAGS", keywords)

    def break_lock(self, folder: OpenFolder, uids: Sequence[Uid], words: frozenset[str]) -> None:
        selected = self._open(folder)
        for stored in self._stores(
            selected, folder, uids, b"-FLAGS.SILENT", sorted(words), lambda flags: _lock_words(flags) == words
        ):
            if not stored.changed:
                return

    def _stores(
        self,
        selected: Selected,
        folder: OpenFolder,
        uids: Sequence[Uid],
        sign: bytes,
        words: Sequence[str],
        fits: Callable[[set[str]], bool],
        *,
        refusable: bool = False,
    ) -> Iterator[_Stored]:
        """A STORE on those of these whose flags (lower case) are fit for it, and again on those that changed between our
        look and it, LOCK_TRIES times at the most. Without CONDSTORE none is known to have changed: whoever goes on has
        seen that it must be done again for all.

        refusable: a NO is an answer, too.
        """
        # [NOMODSEQ], or no CONDSTORE: two could do it at once
        counted = bool(selected.highest_modseq)
        if not counted:
            self._reopen(folder)
        items = [b"FLAGS", b"MODSEQ"] if counted else [b"FLAGS"]
        for _ in range(LOCK_TRIES):
            rows = self._connection.fetch(number_set(uids), items).rows
            fit = [uid for uid in uids if uid in rows and fits(_flags(rows[uid]))]
            if not fit:
                return
            # One number for all: whatever changes after our FETCH gets a higher one.
            newest = max(int(number) for uid in fit for number in rows[uid].get(b"MODSEQ", (0,)))
            reply = self._connection.command(
                "UID STORE",
                number_set(fit),
                *([b"(UNCHANGEDSINCE %d)" % newest] if counted else []),
                sign,
                b"(" + " ".join(words).encode("ascii") + b")",
                what=folder.name,
                tolerate=(b"OK", b"NO", b"BAD") if refusable else (b"OK",),
            )
            modified = reply.code(b"MODIFIED")
            late = {Uid(uid) for uid in expand(modified.arguments)} if modified is not None else set()
            changed = [uid for uid in fit if uid in late]
            yield _Stored(fit, changed, counted, refused=modified is None and reply.status != b"OK")
            uids = changed or uids

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


def _owners(flags: set[str]) -> set[str]:
    """Whose locks are on it."""
    return {flag for flag in flags if flag.startswith(OWNER_KEYWORD.lower())}


def _lock_words(flags: set[str]) -> frozenset[str]:
    """What a lock has put there."""
    return frozenset(flags & {MOVING_KEYWORD.lower(), MOVED_KEYWORD.lower()} | _owners(flags))


def _free(flags: set[str], keyword: str) -> bool:
    """Not locked; a lock without a name was left by two that withdrew, and is nobody's. Nor about to be expunged: a mail
    program without MOVE copies, marks and expunges.
    """
    return "\\deleted" not in flags and (keyword.lower() not in flags or not _owners(flags))


def _copied(proof: CopyUid | None) -> Copied:
    if proof is None:
        return Copied()
    return Copied(UidValidity(proof.uid_validity), {Uid(old): Uid(new) for old, new in proof.pairs})


__all__ = ["ImapCommands"]
