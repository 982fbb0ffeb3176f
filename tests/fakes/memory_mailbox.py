"""A mailbox in memory: MailSession, FolderWatch, Mover and MoveJournal, with the hard cases of servers.

`MemoryServer` holds the mail and is shared; every `MemorySession` is one connection to it. The server also
plays the person (`drag`, `copy`, `delete`, `set_flags`) and the trouble (`before`/`after` hooks that cut the
connection, quotas, missing folders, a changed UIDVALIDITY). Thread-safe.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from spamd.domain import (
    OPEN_MOVES,
    OWNER_KEYWORD,
    AccountName,
    Arrival,
    FetchedMail,
    FolderName,
    FolderStatus,
    Identity,
    MessageRef,
    MoveKind,
    MoveRecord,
    MoveState,
    Uid,
    UidValidity,
)
from spamd.errors import ConnectionLost, FolderChanged, FolderMissing, FolderRefused, QuotaExceeded
from spamd.mailbox.mover import JournaledMover
from spamd.mailbox.session import JUNK_KEYWORDS
from spamd.source import Abilities, Copied, Folder, MoveJournal, OpenFolder

INBOX = FolderName("INBOX")
JUNK = FolderName("Junk")
FULL = Abilities(
    move=True, uidplus=True, condstore=True, idle=True, server_ids=True, keywords=True, quirk="memory"
)
START = 1_700_000_000.0

_ROLES = {
    "INBOX": "inbox",
    "Junk": "junk",
    "Trash": "trash",
    "Sent": "sent",
    "Drafts": "drafts",
    "Archive": "archive",
}


def header_of(raw: bytes) -> bytes:
    """The header with CRLF line ends, up to and without the empty line."""
    head = re.split(rb"\r?\n\r?\n", raw, maxsplit=1)[0]
    return head.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def message_id_of(raw: bytes) -> str:
    found = re.search(rb"(?im)^message-id:\s*<?([^>\r\n]*)>?", header_of(raw))
    return found[1].decode("latin-1").strip() if found else ""


@dataclass
class StoredMail:
    uid: int
    raw: bytes
    flags: set[str]
    internal_date: float
    email_id: str
    modseq: int


@dataclass
class StoredFolder:
    name: str
    uid_validity: int
    uid_next: int = 1
    mails: dict[int, StoredMail] = field(default_factory=dict)
    role: str = ""
    read_only: bool = False
    full: bool = False  # APPEND and COPY answer [OVERQUOTA]


class MemoryServer:
    """The mail. `deliver` is the only way in; everything else moves what is there."""

    def __init__(
        self,
        *,
        abilities: Abilities = FULL,
        folders: Iterable[str] = ("Junk", "Trash", "Archive"),
        id_kind: str = "emailid",  # or "guid"
    ) -> None:
        self.abilities = abilities
        self.id_kind = id_kind
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.folders: dict[str, StoredFolder] = {}
        self.modseq = 1
        self.change = 0  # grows with every change, for watches
        self._validity = 1000
        self._ids = 0
        self._time = START
        self.watches: list[MemoryWatch] = []  # those that are open
        self.crowded: set[str] = set()  # folders that take no further keywords
        self.commands: list[str] = []  # what sessions asked, e.g. "MOVE INBOX Junk 1,2"
        self.before: Callable[[str], None] | None = None  # gets a command; may raise or act
        self.after: Callable[[str], None] | None = None  # after it was carried out, before the answer
        for name in ("INBOX", *folders):
            self.create(name)

    # -- the world outside

    def create(self, name: str, role: str | None = None) -> None:
        with self.lock:
            self._validity += 1
            self.folders[name] = StoredFolder(
                name, self._validity, role=_ROLES.get(name, "") if role is None else role
            )

    def deliver(
        self, raw: bytes, folder: str = "INBOX", *, flags: Iterable[str] = (), at: float | None = None
    ) -> MessageRef:
        """A new mail arrives (server filters deliver to other folders)."""
        with self.changed:
            self._ids += 1
            self._time += 1.0
            mail = StoredMail(0, raw, set(flags), self._time if at is None else at, f"M{self._ids}", 0)
            ref = self._put(self._folder(folder), mail)
            self._tell()
            return ref

    def drag(self, ref: MessageRef, folder: str) -> MessageRef:
        """The person moves a mail."""
        with self.changed:
            new = self.copy(ref, folder)
            self._remove(ref.folder, ref.uid)
            return new

    def copy(self, ref: MessageRef, folder: str) -> MessageRef:
        with self.changed:
            mail = self._folder(ref.folder).mails[ref.uid]
            new = self._put(self._folder(folder), replace(mail, flags=set(mail.flags)))
            self._tell()
            return new

    def delete(self, ref: MessageRef) -> None:
        """Gone for good: the only thing that makes mail fewer."""
        with self.changed:
            self._remove(ref.folder, ref.uid)

    def set_flags(self, ref: MessageRef, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        with self.changed:
            mail = self._folder(ref.folder).mails[ref.uid]
            self._store(mail, add, remove)
            self._tell()

    def drop_folder(self, name: str) -> None:
        with self.changed:
            del self.folders[name]
            self._tell()

    def rename_folder(self, old: str, new: str) -> None:
        with self.changed:
            folder = self.folders.pop(old)
            folder.name = new
            self.folders[new] = folder
            self._tell()

    def renumber(self, name: str) -> None:
        """UIDVALIDITY changes and every mail has another UID."""
        with self.changed:
            folder = self._folder(name)
            self._validity += 1
            folder.uid_validity = self._validity
            mails = list(folder.mails.values())
            folder.mails = {}
            folder.uid_next = 1
            for mail in reversed(mails):  # other mails at old UIDs: whoever goes by UID hits the wrong one
                self._put(folder, mail)
            self._tell()

    # -- looking on from outside

    def refs(self, folder: str = "INBOX") -> list[MessageRef]:
        with self.lock:
            here = self._folder(folder)
            return [
                MessageRef(FolderName(folder), UidValidity(here.uid_validity), Uid(uid)) for uid in here.mails
            ]

    def raws(self, folder: str) -> list[bytes]:
        with self.lock:
            return [mail.raw for mail in self._folder(folder).mails.values()]

    def flags(self, ref: MessageRef) -> set[str]:
        with self.lock:
            return set(self._folder(ref.folder).mails[ref.uid].flags)

    def bodies(self) -> Counter[bytes]:
        """All mail over all folders, as a multiset."""
        with self.lock:
            return Counter(mail.raw for folder in self.folders.values() for mail in folder.mails.values())

    def flagged(self, flag: str) -> Counter[bytes]:
        """Mail with this flag, in any folder."""
        with self.lock:
            return Counter(
                mail.raw
                for folder in self.folders.values()
                for mail in folder.mails.values()
                if flag in mail.flags
            )

    # -- inside

    def _folder(self, name: str) -> StoredFolder:
        try:
            return self.folders[name]
        except KeyError:
            raise FolderMissing(f"There is no folder {name}.") from None

    def _put(self, folder: StoredFolder, mail: StoredMail) -> MessageRef:
        uid = folder.uid_next
        folder.uid_next += 1
        self.modseq += 1
        folder.mails[uid] = replace(mail, uid=uid, modseq=self.modseq)
        return MessageRef(FolderName(folder.name), UidValidity(folder.uid_validity), Uid(uid))

    def _remove(self, folder: str, uid: int) -> None:
        del self._folder(folder).mails[uid]
        self.modseq += 1
        self._tell()

    def _store(self, mail: StoredMail, add: Iterable[str], remove: Iterable[str]) -> None:
        known = [flag for flag in add if flag.startswith("\\") or self.abilities.keywords]
        flags = (mail.flags | set(known)) - set(remove)
        if flags != mail.flags:
            mail.flags = flags
            self.modseq += 1
            mail.modseq = self.modseq

    def _tell(self) -> None:
        self.change += 1
        self.changed.notify_all()


class MemorySession:
    """One connection: a MailSession."""

    def __init__(self, server: MemoryServer, junk: str | None = None) -> None:
        self.server = server
        self._junk = junk
        self._received = 0
        self.dead = False

    @property
    def abilities(self) -> Abilities:
        return self.server.abilities

    def folders(self) -> Sequence[Folder]:
        with self._command("LIST"):
            return [
                Folder(FolderName(one.name), one.name.encode(), "/", one.role, True, one.read_only)
                for one in self.server.folders.values()
            ]

    def junk_folder(self) -> FolderName | None:
        if self._junk is not None:
            return FolderName(self._junk)
        return next((one.name for one in self.folders() if one.role == "junk"), None)

    def status(self, folder: FolderName) -> FolderStatus:
        with self._command(f"STATUS {folder}"):
            here = self.server._folder(folder)
            return FolderStatus(
                folder,
                UidValidity(here.uid_validity),
                Uid(here.uid_next),
                len(here.mails),
                self.server.modseq if self.abilities.condstore else None,
            )

    def statuses(self, folders: Sequence[FolderName]) -> Sequence[FolderStatus]:
        found = []
        for name in folders:
            with contextlib.suppress(FolderMissing, FolderRefused):
                found.append(self.status(name))
        return found

    def arrivals(self, folder: FolderName, first: Uid, last: Uid | None = None) -> Iterator[Arrival]:
        with self._command(f"FETCH {folder} {first}:{last or '*'}"):
            here = self.server._folder(folder)
            found = [
                self._arrival(here, mail)
                for uid, mail in sorted(here.mails.items())
                if uid >= first and (last is None or uid <= last)
            ]
        yield from found

    def locate(self, refs: Sequence[MessageRef]) -> Sequence[Arrival]:
        if not refs:
            return []
        with self._command(f"LOCATE {refs[0].folder} {','.join(str(ref.uid) for ref in refs)}"):
            here = self.server._folder(refs[0].folder)
            return [
                self._arrival(here, here.mails[ref.uid])
                for ref in sorted(refs, key=lambda ref: ref.uid)
                if ref.uid_validity == here.uid_validity and ref.uid in here.mails
            ]

    def fetch(self, refs: Sequence[MessageRef], limit: int = 65536) -> Iterator[FetchedMail]:
        for arrival in self.locate(refs):
            with self._command(f"FETCH {arrival.ref.folder} {arrival.ref.uid} BODY"):
                mail = self.server._folder(arrival.ref.folder).mails.get(arrival.ref.uid)
                if mail is None:
                    continue
                raw = mail.raw
            self._received += min(len(raw), limit)
            yield FetchedMail(arrival, raw[:limit], len(raw) <= limit)

    def changed_flags(self, folder: FolderName, since: int | None) -> dict[Uid, frozenset[str]]:
        with self._command(f"FLAGS {folder} {since}"):
            here = self.server._folder(folder)
            if since is not None and self.abilities.condstore:
                return {Uid(uid): frozenset(m.flags) for uid, m in here.mails.items() if m.modseq > since}
            return {
                Uid(uid): frozenset(mail.flags)
                for uid, mail in here.mails.items()
                if any(flag.lower() in JUNK_KEYWORDS for flag in mail.flags)
            }

    def uids(self, folder: FolderName) -> Sequence[Uid]:
        with self._command(f"SEARCH {folder} ALL"):
            return [Uid(uid) for uid in sorted(self.server._folder(folder).mails)]

    def find(self, folder: FolderName, identity: Identity, message_id: str) -> Sequence[Arrival]:
        return [one for one in self.arrivals(folder, Uid(1)) if one.identity == identity]

    def add_keyword(
        self, ref: MessageRef, keyword: str, remove: Sequence[str] = (), also: Sequence[str] = ()
    ) -> bool:
        with self._command(f"STORE {ref.folder} {ref.uid} +{keyword}"):
            if not self.abilities.keywords or ref.folder in self.server.crowded:
                return False
            here = self.server._folder(ref.folder)
            if ref.uid_validity != here.uid_validity or ref.uid not in here.mails:
                return False
            self.server.set_flags(ref, [keyword, *also], remove)
            return True

    def room_for_keywords(self, folder: FolderName) -> bool:
        with self._command(f"ROOM {folder}"):
            return folder not in self.server.crowded

    # As on Gmail: a label is a folder that shows the same mail once more, under its own UID and with the same id.

    def add_label(self, ref: MessageRef, label: FolderName) -> bool:
        with self._command(f"STORE {ref.folder} {ref.uid} +X-GM-LABELS {label}"):
            if not self.abilities.labels:
                raise FolderRefused("There are no labels here.")
            here = self.server._folder(ref.folder)
            if ref.uid_validity != here.uid_validity or ref.uid not in here.mails:
                return False
            if label not in self.server.folders:
                self.server.create(label)
            if here.mails[ref.uid].email_id not in self._ids_in(label):
                self.server.copy(ref, label)
            return True

    def remove_label(self, ref: MessageRef, label: FolderName) -> bool:
        with self._command(f"STORE {ref.folder} {ref.uid} -X-GM-LABELS {label}"):
            mail = self.server._folder(ref.folder).mails.get(ref.uid)
            if mail is None:
                return False
            for there in self.server.refs(label) if label in self.server.folders else []:
                if self.server.folders[label].mails[there.uid].email_id == mail.email_id:
                    self.server.delete(there)
            return True

    def labels(self, refs: Sequence[MessageRef]) -> dict[MessageRef, frozenset[FolderName]]:
        with self._command("FETCH X-GM-LABELS"):
            return {
                ref: frozenset(
                    FolderName(name)
                    for name in self.server.folders
                    if name != ref.folder and mail.email_id in self._ids_in(name)
                )
                for ref in refs
                if (mail := self.server._folder(ref.folder).mails.get(ref.uid)) is not None
            }

    def labelled(self, folder: FolderName, label: FolderName) -> Sequence[Uid]:
        with self._command(f"SEARCH {folder} X-GM-LABELS {label}"):
            there = self._ids_in(label)
            return [
                Uid(uid) for uid, mail in self.server._folder(folder).mails.items() if mail.email_id in there
            ]

    def _ids_in(self, folder: str) -> set[str]:
        here = self.server.folders.get(folder)
        return {mail.email_id for mail in here.mails.values()} if here else set()

    def headers(self, folder: FolderName, uids: Sequence[Uid], names: Sequence[str]) -> dict[Uid, bytes]:
        wanted = {name.lower().encode() for name in names}
        found: dict[Uid, bytes] = {}
        with self._command(f"HEADERS {folder}"):
            here = self.server._folder(folder)
            for uid in uids:
                if uid in here.mails:
                    fields = re.findall(
                        rb"(?m)^[^\s:]+:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*", header_of(here.mails[uid].raw)
                    )
                    chosen = [one.rstrip(b"\r") for one in fields if one.split(b":")[0].lower() in wanted]
                    found[uid] = b"".join(one + b"\r\n" for one in chosen) + b"\r\n"
        return found

    def departed(
        self, folder: FolderName, validity: UidValidity, known: Sequence[Uid], since: int | None
    ) -> Sequence[Uid]:
        with self._command(f"DEPARTED {folder}"):
            here = self.server._folder(folder)
            if here.uid_validity != validity:
                raise FolderChanged(f"The folder {folder} has changed.")
            return sorted(uid for uid in known if uid not in here.mails)

    def begin_bulk(self) -> None:
        """Nothing travels here."""

    def bytes_received(self) -> int:
        return self._received

    def close(self) -> None:
        self.dead = True

    def _arrival(self, folder: StoredFolder, mail: StoredMail) -> Arrival:
        self._received += 80
        if self.abilities.server_ids:
            identity = f"{self.server.id_kind}:{mail.email_id}"
        else:
            identity = (
                "hash:"
                + hashlib.sha256(
                    b"%d|%f|" % (len(mail.raw), mail.internal_date) + header_of(mail.raw)
                ).hexdigest()
            )
        return Arrival(
            MessageRef(FolderName(folder.name), UidValidity(folder.uid_validity), Uid(mail.uid)),
            Identity(identity),
            frozenset(mail.flags),
            len(mail.raw),
            mail.internal_date,
            message_id_of(mail.raw),
        )

    def _command(self, text: str) -> _Command:
        return _Command(self, text)


class _Command:
    """One command on one connection: hooks before and after, under the server's lock."""

    def __init__(self, session: MemorySession, text: str) -> None:
        self.session = session
        self.text = text

    def __enter__(self) -> None:
        server = self.session.server
        if self.session.dead:
            raise ConnectionLost("The connection is closed.")
        if server.before is not None:
            self._hook(server.before)
        server.lock.acquire()
        server.commands.append(self.text)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        server = self.session.server
        server.lock.release()
        if kind is None and server.after is not None:
            self._hook(server.after)

    def _hook(self, hook: Callable[[str], None]) -> None:
        try:
            hook(self.text)
        except ConnectionLost:
            self.session.dead = True
            raise


class MemoryWatch:
    """A FolderWatch on one folder of the server (any change anywhere counts: it never says what)."""

    def __init__(self, server: MemoryServer, folder: FolderName = INBOX) -> None:
        self.server = server
        self.folder = folder
        self._seen = server.change
        self._woken = False
        self.lost = False
        server.watches.append(self)

    def wait(self, timeout: float) -> bool:
        server = self.server
        with server.changed:
            server.changed.wait_for(lambda: self._woken or self.lost or server.change != self._seen, timeout)
            if self.lost:
                raise ConnectionLost("The connection was closed.")
            changed = server.change != self._seen
            self._seen = server.change
            self._woken = False
            return changed

    def wake(self) -> None:
        with self.server.changed:
            self._woken = True
            self.server.changed.notify_all()

    def close(self) -> None:
        self.wake()
        self.server.watches.remove(self)


class MemoryJournal:
    """A MoveJournal in memory. `before` is called with ("intent" | "advance", record) and may raise."""

    def __init__(self) -> None:
        self.rows: dict[int, MoveRecord] = {}
        self.before: Callable[[str, MoveRecord], None] | None = None
        self._lock = threading.Lock()
        self._owner = secrets.token_hex(3)
        self._neighbours: dict[str, str] = {}
        self.twins: set[Identity] = set()  # that lay in the target before

    def had_a_twin(self, record: MoveRecord) -> bool:
        return record.identity in self.twins

    def done_since(self, account: str, at: float, note: str | None = None) -> Sequence[MoveRecord]:
        with self._lock:
            return [
                row
                for row in reversed(self.rows.values())
                if row.account == account and row.state is MoveState.DONE and row.changed_at >= at
                if note is None or row.error == note
            ][:1000]

    def neighbours(self, account: str) -> str:
        return self._neighbours.get(account, "")

    def keep_neighbours(self, account: str, text: str) -> None:
        self._neighbours[account] = text

    def owner(self) -> str:
        return self._owner

    def intent(self, record: MoveRecord) -> MoveRecord:
        if self.before is not None:
            self.before("intent", record)
        with self._lock:
            stored = replace(record, id=len(self.rows) + 1)
            self.rows[stored.id] = stored
            return stored

    def advance(self, record: MoveRecord) -> None:
        if self.before is not None:
            self.before("advance", record)
        with self._lock:
            assert record.id in self.rows, "advance of a row that was never an intent"
            self.rows[record.id] = record

    def open_moves(self, account: str) -> Sequence[MoveRecord]:
        with self._lock:
            return [row for row in self.rows.values() if row.account == account and row.state in OPEN_MOVES]

    def claimed_uids(self, account: str, folder: FolderName, uid_validity: int) -> frozenset[int]:
        with self._lock:
            return frozenset(
                row.target_uid
                for row in self.rows.values()
                if row.account == account
                and row.target == folder
                and row.target_uid_validity == uid_validity
                and row.target_uid is not None
            )


class MemoryCommands:
    """The commands that change the mailbox, as a server with these abilities carries them out."""

    def __init__(self, session: MemorySession) -> None:
        self.session = session
        self.server = session.server

    def move(self, source: OpenFolder, uids: Sequence[Uid], target: FolderName) -> Copied:
        with self._command("MOVE", source, uids, target):
            here, there = self._open(source), self._target(target)
            pairs = {}
            for uid in uids:
                if uid in here.mails:
                    pairs[uid] = self.server.drag(self._ref(source, uid), there.name).uid
            return self._proof(there, pairs)

    def copy(self, source: OpenFolder, uids: Sequence[Uid], target: FolderName) -> Copied:
        with self._command("COPY", source, uids, target):
            here, there = self._open(source), self._target(target)
            if there.full:
                raise QuotaExceeded("The mailbox is full.")
            pairs = {
                uid: self.server.copy(self._ref(source, uid), there.name).uid
                for uid in uids
                if uid in here.mails
            }
            return self._proof(there, pairs)

    def mark_deleted(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        self._store("STORE+DELETED", folder, uids, add=["\\Deleted"])

    def clear_deleted(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        self._store("STORE-DELETED", folder, uids, remove=["\\Deleted"])

    def deleted(self, folder: OpenFolder) -> frozenset[Uid]:
        with self._command("SEARCH-DELETED", folder):
            here = self._open(folder)
            return frozenset(Uid(uid) for uid, mail in here.mails.items() if "\\Deleted" in mail.flags)

    def expunge(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        assert self.session.abilities.uidplus
        with self._command("UIDEXPUNGE", folder, uids):
            self._expunge(folder, set(uids))

    def expunge_all(self, folder: OpenFolder) -> None:
        with self._command("EXPUNGE", folder):
            self._expunge(folder, None)

    def lock(
        self, folder: OpenFolder, uids: Sequence[Uid], keyword: str, also: Sequence[str] = ()
    ) -> frozenset[Uid] | None:
        with self._command("LOCK", folder, uids):
            here = self._open(folder)
            if not self.session.abilities.keywords or folder.name in self.server.crowded:
                return None
            free = [
                uid
                for uid in uids
                if uid in here.mails and not {keyword, "\\Deleted"} & here.mails[uid].flags
            ]
            for uid in free:
                self.server.set_flags(self._ref(folder, uid), [keyword, *also])
            return frozenset(free)

    def unlock(self, folder: OpenFolder, uids: Sequence[Uid], keywords: Sequence[str]) -> None:
        self._store("UNLOCK", folder, uids, remove=keywords)

    def break_lock(self, folder: OpenFolder, uids: Sequence[Uid], words: frozenset[str]) -> None:
        with self._command("BREAK", folder, uids):
            here = self._open(folder)
            for uid in uids:
                flags = here.mails[uid].flags if uid in here.mails else set()
                lock = {
                    flag for flag in flags if flag.lower().startswith(("$spamdmov", OWNER_KEYWORD.lower()))
                }
                if {flag.lower() for flag in lock} == words:
                    self.server.set_flags(self._ref(folder, uid), (), lock)

    def left_copy(self, source: OpenFolder, uid: Uid, target: FolderName) -> Uid | None:
        return None

    def locked(self, folder: FolderName, keyword: str) -> tuple[OpenFolder, Sequence[Uid]]:
        with _Command(self.session, f"SEARCH {folder} KEYWORD {keyword}"):
            here = self.server._folder(folder)
            found = [Uid(uid) for uid, mail in here.mails.items() if keyword in mail.flags]
            return OpenFolder(folder, UidValidity(here.uid_validity)), found

    def _command(
        self, verb: str, folder: OpenFolder, uids: Sequence[Uid] = (), target: FolderName | None = None
    ) -> _Command:
        words = [verb, folder.name, *([target] if target else []), ",".join(str(uid) for uid in uids)]
        return _Command(self.session, " ".join(words).strip())

    def _open(self, folder: OpenFolder) -> StoredFolder:
        here = self.server._folder(folder.name)
        if here.uid_validity != folder.uid_validity:
            raise FolderChanged("The folder has changed.")
        if here.read_only:
            raise FolderRefused(f"{folder.name} may only be read.")
        return here

    def _target(self, name: FolderName) -> StoredFolder:
        there = self.server._folder(name)
        if there.read_only:
            raise FolderRefused(f"{name} may only be read.")
        return there

    def _ref(self, folder: OpenFolder, uid: Uid) -> MessageRef:
        return MessageRef(folder.name, folder.uid_validity, uid)

    def _proof(self, there: StoredFolder, pairs: dict[Uid, Uid]) -> Copied:
        return Copied(UidValidity(there.uid_validity), pairs) if self.session.abilities.uidplus else Copied()

    def _store(
        self,
        verb: str,
        folder: OpenFolder,
        uids: Sequence[Uid],
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
    ) -> None:
        with self._command(verb, folder, uids):
            here = self._open(folder)
            for uid in uids:
                if uid in here.mails:
                    self.server.set_flags(self._ref(folder, uid), add, remove)

    def _expunge(self, folder: OpenFolder, uids: set[Uid] | None) -> None:
        here = self._open(folder)
        for uid, mail in list(here.mails.items()):
            if "\\Deleted" in mail.flags and (uids is None or uid in uids):
                self.server.delete(self._ref(folder, Uid(uid)))


class MemoryMover(JournaledMover):
    """The real mover on a MemorySession."""

    def __init__(
        self,
        session: MemorySession,
        journal: MoveJournal,
        account: str = "test",
        *,
        commands: MemoryCommands | None = None,
        clock: Callable[[], float] = lambda: START,
        use_lock: bool = False,
    ) -> None:
        self.commands = commands or MemoryCommands(session)
        super().__init__(
            session, self.commands, journal, account, clock=clock, pause=lambda _: None, use_lock=use_lock
        )


def intent(
    mail: Arrival,
    target: FolderName = JUNK,
    *,
    account: str = "test",
    kind: MoveKind = MoveKind.JUNK,
    at: float = START,
) -> MoveRecord:
    """A journal row for moving this mail, as it is before the journal gives it a number."""
    return MoveRecord(
        id=0,
        account=AccountName(account),
        identity=mail.identity,
        kind=kind,
        state=MoveState.INTENT,
        source=mail.ref,
        target=target,
        target_uid_validity=None,
        target_uid_next=None,
        target_uid=None,
        message_id=mail.message_id,
        size=mail.size,
        created_at=at,
        changed_at=at,
    )
