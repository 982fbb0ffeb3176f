"""What the story needs of a mailbox of any kind: IMAP, Maildir and the tests' memory mailbox implement it.

One object is one connection and belongs to one thread. Every method may raise spamd.errors.MailboxError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from spamd.domain import (
    Account,
    Arrival,
    FetchedMail,
    FolderName,
    FolderStatus,
    Identity,
    MessageRef,
    MoveRecord,
    Sighting,
    Uid,
    UidValidity,
)

FETCH_LIMIT = 65536
"""Bytes of a mail that are read: more changes no verdict."""


@dataclass(frozen=True, slots=True)
class Folder:
    name: FolderName
    raw: bytes
    separator: str
    role: str = ""  # "inbox", "junk", "also junk", "bulk", "trash", "sent", "drafts", "archive", "all", ""
    selectable: bool = True
    read_only: bool = False  # shared or refused


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the server really can do."""

    move: bool
    uidplus: bool
    condstore: bool
    idle: bool
    server_ids: bool  # X-GM-MSGID or X-GUID: one id, one mail (an EMAILID names the content)
    keywords: bool  # PERMANENTFLAGS \\*
    quirk: str  # row of mailbox/quirks.py: "dovecot", "gmail", ...
    bytes_per_day: int = 0  # that the provider lets all programs download together; 0: no limit known
    labels: bool = False  # Gmail's: the session implements LabelSession
    list_status: bool = False  # `statuses` is one question, however many folders


class MailSession(Protocol):
    """One connection to one mailbox."""

    @property
    def abilities(self) -> Abilities: ...

    def folders(self) -> Sequence[Folder]:
        """Every folder, with its role found by SPECIAL-USE, XLIST or name."""
        ...

    def junk_folder(self) -> FolderName | None:
        """The account's Junk: the person's setting, else the folder with that role, else None."""
        ...

    def status(self, folder: FolderName) -> FolderStatus:
        """Cheap: one STATUS. FolderMissing if it is not there, FolderRefused if it is, and may not be looked at (for now)."""
        ...

    def statuses(self, folders: Sequence[FolderName]) -> Sequence[FolderStatus]:
        """STATUS of several folders in as few round trips as the server allows.

        Missing and refused ones are left out.
        """
        ...

    def arrivals(self, folder: FolderName, first: Uid, last: Uid | None = None) -> Iterator[Arrival]:
        """Mails with first <= uid (<= last), by UID, without their text. Never sets \\Seen."""
        ...

    def locate(self, refs: Sequence[MessageRef]) -> Sequence[Arrival]:
        """Of these (one folder, one UIDVALIDITY) the ones still there."""
        ...

    def fetch(self, refs: Sequence[MessageRef], limit: int = FETCH_LIMIT) -> Iterator[FetchedMail]:
        """The first `limit` bytes of each still there, in batches bounded by size. Never sets \\Seen."""
        ...

    def changed_flags(self, folder: FolderName, since: int | None) -> dict[Uid, frozenset[str]]:
        """Flags of mails changed since a mod-sequence; without CONDSTORE: those with a junk keyword."""
        ...

    def departed(
        self, folder: FolderName, validity: UidValidity, known: Sequence[Uid], since: int | None
    ) -> Sequence[Uid]:
        """Of these UIDs the ones no longer there, ascending. FolderChanged if the folder has another UIDVALIDITY.

        since: a mod-sequence at which all of them were there; the server may then name what vanished (QRESYNC).
        """
        ...

    def uids(self, folder: FolderName) -> Sequence[Uid]:
        """All UIDs of a folder in ascending order (compressed on the wire where the server can)."""
        ...

    def find(self, folder: FolderName, identity: Identity, message_id: str) -> Sequence[Arrival]:
        """Mails of that identity in a folder; message_id narrows the search where there is no server id."""
        ...

    def add_keyword(
        self, ref: MessageRef, keyword: str, remove: Sequence[str] = (), also: Sequence[str] = ()
    ) -> bool:
        """Silent STORE, of `also` in the same command; False where the server does not keep keywords."""
        ...

    def room_for_keywords(self, folder: FolderName) -> bool:
        """False where a folder has so many keywords that others may be refused: mail moved out of it may lack the sign.

        True also where there are no keywords at all.
        """
        ...

    def headers(self, folder: FolderName, uids: Sequence[Uid], names: Sequence[str]) -> dict[Uid, bytes]:
        """Chosen header fields (BODY.PEEK[HEADER.FIELDS])."""
        ...

    def begin_bulk(self) -> None:
        """Much is going to be read on this connection: from here on it is compressed, where the server can."""
        ...

    def bytes_received(self) -> int:
        """On this connection so far, as they travelled."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class LabelSession(Protocol):
    """What a MailSession can do besides where `Abilities.labels` is true (Gmail).

    A label is a mark that the person sees and can take off; the mail stays where it is and as unread as it was. Giving
    one tells Google nothing, while a move to Spam reports the sender. A folder's name is the name of its label.
    """

    def add_label(self, ref: MessageRef, label: FolderName) -> bool:
        """Put a label on a mail; Gmail makes a label that is new. False: the mail is not there (or not there any more)."""
        ...

    def remove_label(self, ref: MessageRef, label: FolderName) -> bool:
        """Take it off. False: the mail is not there."""
        ...

    def labels(self, refs: Sequence[MessageRef]) -> dict[MessageRef, frozenset[FolderName]]:
        """The labels of each that is still there, without that of its own folder. System ones begin with a backslash."""
        ...

    def labelled(self, folder: FolderName, label: FolderName) -> Sequence[Uid]:
        """The mails of a folder that carry a label, ascending."""
        ...


class FolderWatch(Protocol):
    """An IDLE (or polling) thread's view: says that something changed, never what."""

    def wait(self, timeout: float) -> bool:
        """True when the folder changed; False after `timeout` seconds of quiet. Raises ConnectionLost."""
        ...

    def wake(self) -> None:
        """From another thread: make wait() return at once (stop, sleep, network change)."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Copied:
    """What COPYUID said: the target's UIDVALIDITY, and the new UID of each mail. Empty if there was none."""

    uid_validity: UidValidity | None = None
    uids: Mapping[Uid, Uid] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OpenFolder:
    """A folder as we know it."""

    name: FolderName
    uid_validity: UidValidity


class MoveCommands(Protocol):
    """The few commands that change a mailbox. Each opens its folder read-write first.

    All raise FolderChanged if the folder is not the one we know, FolderMissing, FolderRefused (also where
    SELECT answers READ-ONLY), QuotaExceeded or another MailboxError for a NO, and ConnectionLost.
    """

    def move(self, source: OpenFolder, uids: Sequence[Uid], target: FolderName) -> Copied: ...

    def copy(self, source: OpenFolder, uids: Sequence[Uid], target: FolderName) -> Copied: ...

    def mark_deleted(self, folder: OpenFolder, uids: Sequence[Uid]) -> None: ...

    def clear_deleted(self, folder: OpenFolder, uids: Sequence[Uid]) -> None: ...

    def deleted(self, folder: OpenFolder) -> frozenset[Uid]:
        """UIDs that carry \\Deleted, whoever set it."""
        ...

    def expunge(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        """UID EXPUNGE: these and no others."""
        ...

    def expunge_all(self, folder: OpenFolder) -> None:
        """Plain EXPUNGE."""
        ...

    def lock(
        self, folder: OpenFolder, uids: Sequence[Uid], keyword: str, also: Sequence[str] = ()
    ) -> frozenset[Uid] | None:
        """Set the keyword, and `also` in the same command, on those that lack it, are not marked \\Deleted and (with
        CONDSTORE) did not change meanwhile; which we now hold. None where the folder keeps no keywords: nothing was set.
        """
        ...

    def unlock(self, folder: OpenFolder, uids: Sequence[Uid], keywords: Sequence[str]) -> None: ...

    def break_lock(self, folder: OpenFolder, uids: Sequence[Uid], words: frozenset[str]) -> None:
        """Take a lock off these, whosever it is: its keyword, its owners' names and the sign. Only where these `words`
        (lower case) are on the mail, no more of them and no fewer, (with CONDSTORE) at that very moment: another one may
        have been faster, and hold a lock of its own by now.
        """
        ...

    def left_copy(self, source: OpenFolder, uid: Uid, target: FolderName) -> Uid | None:
        """The copy that a move of this very mail left in the target when it was interrupted, if that can be known.
        (MOVE of a server leaves none.)"""
        ...

    def locked(self, folder: FolderName, keyword: str) -> tuple[OpenFolder, Sequence[Uid]]:
        """The folder as it is now, and the mails in it that carry the keyword."""
        ...


class MoveJournal(Protocol):
    """Where the mover writes before it acts. Implemented by the store; each call commits."""

    def intent(self, record: MoveRecord) -> MoveRecord:
        """Stored, with its id."""
        ...

    def advance(self, record: MoveRecord) -> None:
        """Write the record's new state (by id)."""
        ...

    def open_moves(self, account: str) -> Sequence[MoveRecord]: ...

    def claimed_uids(self, account: str, folder: FolderName, uid_validity: int) -> frozenset[int]:
        """Target UIDs that belong to other journal rows."""
        ...

    def done_since(self, account: str, at: float, note: str | None = None) -> Sequence[MoveRecord]:
        """Moves that were ended well since then, newest first, 1000 at most; of a note: only those that bear it as error."""
        ...

    def had_a_twin(self, record: MoveRecord) -> bool:
        """Was another mail of its identity known in the target, when the move began, below the UIDs that came since?"""
        ...

    def neighbours(self, account: str) -> str:
        """What was kept by keep_neighbours; "" if nothing was."""
        ...

    def keep_neighbours(self, account: str, text: str) -> None:
        """Where the other folders stood when the last moves began, as the mover writes it."""
        ...

    def owner(self) -> str:
        """A short random name of this journal, made once: no other daemon has the same."""
        ...


class Mover(Protocol):
    """Journaled moves on one session."""

    def move(
        self, mails: Iterable[tuple[MoveRecord, MessageRef]], *, asked: bool = False
    ) -> Sequence[MoveRecord]:
        """Intents (already journaled) are carried out; returns the records with their final state.

        asked: the person wants it, so that for other daemons it is the person's word, too.
        """
        ...

    def recover(
        self,
        wanted: Callable[[MoveRecord], bool] | None = None,
        asked: Callable[[MoveRecord], bool] | None = None,
    ) -> Sequence[MoveRecord]:
        """Bring every open intent of the account to an end; nothing lost, nothing doubled.

        wanted: is this move, of which nothing was done yet, still to be made? (Default: yes.) asked: does the person want
        it, as in `move`? (Default: no.)
        """
        ...

    def reconcile(self) -> Sequence[MoveRecord]:
        """Take back moves that another client made at the same moment (now ABANDONED: theirs stays).

        Worth calling at every look: without a move in the last two minutes it asks nothing.
        """
        ...

    def free(self, found: Iterable[Sighting]) -> None:
        """Our lock goes off mail of which no open row speaks: the person had taken it away before we could."""
        ...

    def let_go(self, refs: Sequence[MessageRef]) -> None:
        """Our lock, and the sign that came with it, go off mail that has not left its place: its move has ended without."""
        ...

    def locked_by_others(self, folder: FolderName) -> Sequence[MessageRef]:
        """Mails there under the lock of another daemon (or of one that is no more)."""
        ...

    def break_locks(self, refs: Sequence[MessageRef]) -> None:
        """Take these locks off, as `locked_by_others` has just seen them (one folder), whosever they are, and the sign that
        the mail was moved: it was not.
        """
        ...


__all__ = [
    "Abilities",
    "Copied",
    "Folder",
    "FolderWatch",
    "MailSession",
    "MoveCommands",
    "MoveJournal",
    "Mover",
    "OpenFolder",
]


class Opener(Protocol):
    """Opens connections for an account. Raises MailboxError or CredentialError."""

    def session(self, account: Account) -> MailSession: ...

    def mover(self, session: MailSession, account: Account) -> Mover: ...

    def watch(self, account: Account, folder: FolderName) -> FolderWatch: ...

    def forget(self, account: Account) -> None:
        """What is kept of it between connections: it is gone, or has another secret."""
        ...
