"""What each folder means to an account, and what lies in it: the ground the other rooms stand on. Asks only."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from spamd.domain import (
    Account,
    Arrival,
    FolderCursor,
    FolderName,
    FolderStatus,
    MessageRef,
    Sighting,
    Uid,
    UidValidity,
)
from spamd.errors import FolderMissing, FolderRefused
from spamd.judgement.corrections import Place
from spamd.source import Folder, MailSession

FOLDERS_FRESH = 600.0
LOCATE_AT_ONCE = 500
"""Mails that are asked about with one command."""

_BY_ROLE = {
    "inbox": Place.INBOX,
    "junk": Place.JUNK,
    "also junk": Place.JUNK,
    "bulk": Place.OTHER,
    "trash": Place.TRASH,
    "sent": Place.OTHER,
    "drafts": Place.OTHER,
    "all": Place.OTHER,
}


class Places:
    """The folders of one account, as its session lists them."""

    def __init__(self, session: MailSession, account: Account, clock: Callable[[], float]) -> None:
        self._session = session
        self._account = account
        self._clock = clock
        self._found: dict[FolderName, Place] = {}
        self._found_at = float("-inf")

    def all(self) -> Mapping[FolderName, Place]:
        """What each folder means. Read again every ten minutes: people make folders."""
        now = self._clock()
        if now - self._found_at >= FOLDERS_FRESH or not self._found:
            self._found = places(self._session.folders(), self._session.junk_folder(), self._account)
            self._found_at = now
        return self._found

    def of(self, folder: FolderName) -> Place | None:
        return self.all().get(folder)

    def ask_again(self) -> None:
        """The list may be out of date: it is read anew when it is needed next."""
        self._found_at = float("-inf")

    def watched(self) -> list[FolderName]:
        """Inbox first: a drag from it to Junk is then seen at its target at the latest."""
        found = self.all()
        order = (Place.INBOX, Place.UNSURE, Place.JUNK)
        return [name for place in order for name, its in found.items() if its is place]

    def kept(self) -> list[FolderName]:
        return [name for name, place in self.all().items() if place is Place.KEPT]

    def alive(
        self, refs: Iterable[MessageRef], statuses: Mapping[FolderName, FolderStatus]
    ) -> tuple[dict[MessageRef, frozenset[str]], set[FolderName]]:
        """Of these the ones that are there now, with their flags; and the folders that are not what they were (renamed, made
        anew): what left those says nothing.
        """
        alive: dict[MessageRef, frozenset[str]] = {}
        renewed: set[FolderName] = set()
        for (folder, validity), group in by_folder(refs).items():
            try:
                status = statuses.get(folder) or self._session.status(folder)
                if status.uid_validity != validity:
                    renewed.add(folder)
                    continue
                for start in range(0, len(group), LOCATE_AT_ONCE):
                    there = self._session.locate(group[start : start + LOCATE_AT_ONCE])
                    alive |= {arrival.ref: arrival.flags for arrival in there}
            except (FolderMissing, FolderRefused):
                renewed.add(folder)
        return alive, renewed


def places(folders: Sequence[Folder], junk: FolderName | None, account: Account) -> dict[FolderName, Place]:
    """What each selectable folder means for this account. What lies below a Junk folder is what that is: a year's, say."""
    found: dict[FolderName, Place] = {}
    below = {
        one.name + one.separator: _BY_ROLE[one.role]
        for one in folders
        if one.separator and one.role in ("junk", "also junk", "bulk")
    }
    for folder in folders:
        if not folder.selectable:
            continue
        above = (its for prefix, its in below.items() if folder.name.startswith(prefix))
        place = _BY_ROLE.get(folder.role) or next(above, Place.KEPT)
        if folder.name.upper() == "INBOX":
            place = Place.INBOX
        elif junk is not None and (
            folder.name == junk or (folder.separator and folder.name.startswith(junk + folder.separator))
        ):
            place = Place.JUNK
        elif folder.name == account.unsure_folder:
            place = Place.UNSURE
        elif folder.name in (account.doubt_label, account.gmail_label.strip()):
            # What we marked there says nothing, also before a folder for doubtful mail took the label's place.
            place = Place.OTHER
        found[folder.name] = place
    return found


def sighting_of(account: Account, arrival: Arrival, at: float) -> Sighting:
    return Sighting(
        account.name,
        arrival.ref,
        arrival.identity,
        words_of(arrival.flags),
        at,
        None,
        arrival.message_id,
        arrival.size,
        arrival.internal_date,
    )


@functools.lru_cache(maxsize=256)  # most mail has the same few: one set, not one for each
def words_of(flags: frozenset[str]) -> frozenset[str]:
    """The keywords among flags."""
    return frozenset(flag for flag in flags if not flag.startswith("\\"))


def ref_of(row: Mapping[str, object]) -> MessageRef:
    """As `asdict` wrote it down."""
    return MessageRef(
        FolderName(str(row["folder"])), UidValidity(int(str(row["uid_validity"]))), Uid(int(str(row["uid"])))
    )


def cursor_at(account: Account, status: FolderStatus, held_back: Iterable[MessageRef]) -> FolderCursor:
    """How far the folder is read; not beyond mail that must still wait."""
    uids = [ref.uid for ref in held_back if ref.folder == status.folder]
    first = min([status.uid_next, *uids])
    return FolderCursor(
        account.name, status.folder, status.uid_validity, first, status.highest_modseq, status.messages
    )


def by_folder(refs: Iterable[MessageRef]) -> Mapping[tuple[FolderName, UidValidity], Sequence[MessageRef]]:
    """As they were numbered: those of one key can be asked for together."""
    found: defaultdict[tuple[FolderName, UidValidity], list[MessageRef]] = defaultdict(list)
    for ref in refs:
        found[ref.folder, ref.uid_validity].append(ref)
    return found
