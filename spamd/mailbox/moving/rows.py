"""The rows of one account in the journal, and what a row says of a mail. Sends nothing.

Every step is written here before it is sent, so that after a crash recovery knows what may have happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby

from spamd.domain import (
    OWNER_KEYWORD,
    Arrival,
    FolderName,
    MoveRecord,
    MoveState,
    UidValidity,
)
from spamd.source import MoveJournal, OpenFolder

BATCH = 50
"""Mails in one command. Few: a server that lost us still finishes, and recovery must not meet it."""

WEAK_ID = "hash:0.0."
"""Identities made without size and date (mailbox/session.py)."""

PROVING_IDS = ("guid:",)
"""Ids of one mail and its copies. An EMAILID may be that of the content (RFC 8474), shared by two deliveries of one
mail: there only our lock tells a copy of ours from a mail of the person's."""

LABELLED_IDS = ("gmail:",)
"""A Gmail id is shared by all labels of one mail, and so are its flags: nothing tells a copy, for there is none."""


class Rows:
    """One account's part of the journal, and its clock (seconds since 1970; a person may set it)."""

    def __init__(self, journal: MoveJournal, account: str, clock: Callable[[], float]) -> None:
        self._journal = journal
        self._account = account
        self._clock = clock

    def now(self) -> float:
        return self._clock()

    @cached_property
    def owner(self) -> str:
        """The keyword that says whose a lock is."""
        return OWNER_KEYWORD + self._journal.owner()

    def open(self) -> Sequence[MoveRecord]:
        """Begun and not ended, oldest first."""
        return self._journal.open_moves(self._account)

    def had_a_twin(self, record: MoveRecord) -> bool:
        """Did another mail of its identity lie in the target already, as far as we knew?"""
        return self._journal.had_a_twin(record)

    def done(self, seconds: float, note: str | None = None) -> Sequence[MoveRecord]:
        """Ended well in the last so many seconds, newest first; of a note: only those that bear it as error."""
        return self._journal.done_since(self._account, self.now() - seconds, note)

    def claimed(self, folder: FolderName, validity: UidValidity | None) -> frozenset[int]:
        """UIDs of that folder of which the journal knows that a row's mail was moved there."""
        return self._journal.claimed_uids(self._account, folder, validity or UidValidity(0))

    def neighbours(self) -> str:
        """What `keep_neighbours` wrote last; "" if nothing."""
        return self._journal.neighbours(self._account)

    def keep_neighbours(self, text: str) -> None:
        self._journal.keep_neighbours(self._account, text)

    def write(self, record: MoveRecord) -> MoveRecord:
        record = replace(record, changed_at=self.now())
        self._journal.advance(record)
        return record

    def end(self, record: MoveRecord, state: MoveState, error: str = "") -> MoveRecord:
        return self.write(replace(record, state=state, error=error))


def source_of(record: MoveRecord) -> OpenFolder:
    return OpenFolder(record.source.folder, record.source.uid_validity)


def target_of(record: MoveRecord) -> OpenFolder:
    return OpenFolder(record.target, record.target_uid_validity or UidValidity(0))


def place_of(record: MoveRecord) -> tuple[str, int, str]:
    """Rows with the same place may share a command."""
    return record.source.folder, record.source.uid_validity, record.target


def batches(records: Iterable[MoveRecord]) -> Iterator[list[MoveRecord]]:
    """Neighbours with the same place, at most BATCH at once."""
    for _, group in groupby(records, key=place_of):
        mails = list(group)
        for start in range(0, len(mails), BATCH):
            yield mails[start : start + BATCH]


def same(record: MoveRecord, mail: Arrival) -> bool:
    """The mail of the record. An identity made of four fields only (servers that rewrite the rest) is not enough
    where there is no Message-ID among them."""
    return (
        mail.identity == record.identity
        and provable(record)
        and (not record.identity.startswith(WEAK_ID) or record.message_id == mail.message_id)
    )


def provable(record: MoveRecord) -> bool:
    """Can any other mail be told to be this one?"""
    return not record.identity.startswith(WEAK_ID) or bool(record.message_id)


def has(mail: Arrival, flag: str) -> bool:
    """Flags are case-insensitive."""
    wanted = flag.lower()
    return any(one.lower() == wanted for one in mail.flags)


__all__ = [
    "BATCH",
    "LABELLED_IDS",
    "PROVING_IDS",
    "Rows",
    "batches",
    "has",
    "place_of",
    "provable",
    "same",
    "source_of",
    "target_of",
]
