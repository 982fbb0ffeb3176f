"""Where mails are: the originals of rows, our copies of them, and those of others. Looks only, changes nothing.

A mail is known by its UID as long as its folder counts as before, else by its identity; a copy of ours besides by the sign
that it bears (signs.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from spamd.domain import MOVED_KEYWORD, MOVING_KEYWORD, Arrival, FolderName, MessageRef, MoveRecord, Uid
from spamd.errors import FolderChanged, FolderMissing
from spamd.mailbox.moving.refusals import Tolerated
from spamd.mailbox.moving.rows import Rows, has, provable, same
from spamd.source import Folder, MailSession, OpenFolder

FOLDERS_SECONDS = 600.0
"""How long the list of folders is taken for true when second copies are looked for."""

WATCHED_FOLDERS = 25
"""Reconciling asks for the STATUS of at most so many folders."""

CHANGED = "The folder it was in has changed."
"""In the journal of a move that failed since the source counts its mails anew: with its new UID the mail may be moved."""


class Whereabouts:
    """Of the mails of one account, asked of its session."""

    def __init__(self, session: MailSession, rows: Rows, steady: Callable[[], float]) -> None:
        self._session = session
        self._rows = rows
        self._steady = steady
        self._folders: tuple[float, list[Folder]] = (float("-inf"), [])

    def alive(self, source: OpenFolder, batch: Sequence[MoveRecord]) -> dict[Uid, Arrival] | None:
        """Which originals are still there, by UID; None if the folder is not the one we knew."""
        wanted = {record.source.uid: record for record in batch}
        try:
            found = self._session.locate([record.source for record in batch])
            if len(found) < len(wanted):  # else it is the folder that we know
                status = self._session.status(source.name)
                if status.uid_validity != source.uid_validity:
                    return None
        except (FolderMissing, FolderChanged):
            return None
        return {mail.ref.uid: mail for mail in found if mail.identity == wanted[mail.ref.uid].identity}

    def by_uid(self, folder: OpenFolder, uids: Sequence[Uid | None]) -> dict[Uid, Arrival]:
        """Of these the ones still there; none if the folder is not the one we knew."""
        refs = [MessageRef(folder.name, folder.uid_validity, uid) for uid in uids if uid is not None]
        if not refs:
            return {}
        try:
            return {mail.ref.uid: mail for mail in self._session.locate(refs)}
        except (FolderMissing, FolderChanged):
            return {}

    def our_copy(self, record: MoveRecord, *, newest: bool = False) -> Arrival | None:
        """Our copy in the target: by its UID if known, else by identity among what came since the intent.

        newest: it was made this moment. Of several without our sign the others were made before it, by somebody else.
        """
        if record.target_uid_validity is None or record.target_uid_next is None:
            return None
        target = OpenFolder(record.target, record.target_uid_validity)
        if record.target_uid is not None:
            return self.by_uid(target, [record.target_uid]).get(record.target_uid)
        try:
            if self._session.status(record.target).uid_validity != record.target_uid_validity:
                return None
            claimed = self._rows.claimed(record.target, record.target_uid_validity)
            found = [
                mail
                for mail in self._session.arrivals(record.target, record.target_uid_next)
                if same(record, mail) and mail.ref.uid not in claimed
            ]
            # MOVE: what bears the sign alone we have unlocked, and what is locked besides was made of the original.
            unlocked = (m for m in found if has(m, MOVED_KEYWORD) and not has(m, MOVING_KEYWORD))
            locked = (mail for mail in found if self.ours(mail))
            signed = next(chain(unlocked if self._session.abilities.move else (), locked), None)
            if signed is not None or not found:
                return signed
            return found[-1 if newest else 0]
        except (FolderMissing, FolderChanged):
            return None

    def others(self, record: MoveRecord, folder: FolderName, *, marked: bool = False) -> list[Arrival]:
        """The mail of the record in a folder, but for the original, copies that our journal knows, and (unless marked) what is
        marked as deleted.
        """
        if not provable(record):
            return []  # and not looked for: such a search reads every header of the folder
        found = self.find(folder, record)
        known = self._rows.claimed(folder, found[0].ref.uid_validity if found else None)
        return [
            mail
            for mail in found
            if mail.ref.uid not in known
            and mail.ref != record.source
            and (marked or not has(mail, "\\Deleted"))
        ]

    def find(self, folder: FolderName, record: MoveRecord) -> Sequence[Arrival]:
        """The mail of the record, as often as it is in that folder."""
        try:
            found = self._session.find(folder, record.identity, record.message_id)
            return [mail for mail in found if same(record, mail)]
        except (FolderMissing, FolderChanged):
            return []

    def counts_anew(self, record: MoveRecord) -> bool:
        """Does the target count its mails anew, or is it gone?"""
        try:
            return self._session.status(record.target).uid_validity != record.target_uid_validity
        except FolderMissing:
            return True

    def what_changed(self, source: FolderName) -> str:
        """Of a folder that is not the one we knew, in words for the journal."""
        with Tolerated("a folder that has changed could not be looked at"):
            try:
                self._session.status(source)
            except FolderMissing:
                return f"The folder it was in, “{source}”, is gone."
        return CHANGED

    def real_folders(self, first: FolderName) -> list[FolderName]:
        """Folders that hold mail of their own and into which people move mail; the likely ones first."""
        if self._steady() - self._folders[0] > FOLDERS_SECONDS:
            self._folders = (self._steady(), list(self._session.folders()))
        unlikely = ("all", "drafts", "sent")
        real = [one for one in self._folders[1] if one.selectable and one.role not in unlikely]
        real.sort(key=lambda one: (one.name != first, one.role == "", one.name))
        return [one.name for one in real][:WATCHED_FOLDERS]

    def ours(self, mail: Arrival) -> bool:
        """Do we hold the lock on it? (signs.py)"""
        return has(mail, MOVING_KEYWORD) and has(mail, self._rows.owner)


__all__ = ["CHANGED", "Whereabouts"]
