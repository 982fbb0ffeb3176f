"""What Maildir and mbox have in common: a MailSession over folders that can be scanned."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from spamd.domain import (
    INBOX,
    Account,
    Arrival,
    FetchedMail,
    FolderName,
    FolderStatus,
    Identity,
    MessageRef,
    Uid,
    UidValidity,
)
from spamd.errors import ConnectionLost, FolderChanged, FolderMissing, FolderRefused
from spamd.maildir.uid_list import Known, UidList
from spamd.source import FETCH_LIMIT, Abilities, Folder

HEADER_BYTES = 65536  # of a mail's header, for its identity
LOOK_SECONDS = 15.0  # between two looks of a watch that nobody told anything

Classify = Callable[[Sequence[tuple[str, str]]], Sequence[Folder]]
"""(raw name, separator) of each folder -> folders with their roles."""

_BLANK = re.compile(rb"\r?\n\r?\n")
_FIELD = re.compile(rb"(?m)^([^\s:]+)[ \t]*:(?:[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)")
# Fields that a mail program or a synchroniser writes and rewrites: no part of what the mail is.
_CHANGING = frozenset(
    b"status x-status x-keywords x-uid x-imap x-imapbase content-length lines x-tuid x-mozilla-status"
    b" x-mozilla-status2 x-mozilla-keys x-evolution".split()
)


class LocalFolder(Protocol):
    """One folder. Scanning is cheap while nothing changed."""

    def mails(self) -> tuple[UidValidity, Uid, Mapping[Uid, Known], Mapping[Uid, frozenset[str]]]:
        """UIDVALIDITY, UIDNEXT, the mails by UID, and their flags. FolderMissing if it is gone."""
        ...

    def read(self, known: Known, limit: int) -> bytes | None:
        """The mail's first bytes; None if it is gone."""
        ...

    def stamp(self) -> tuple[object, ...]:
        """Differs when something changed."""
        ...

    def watched(self) -> Sequence[Path]:
        """Files or folders that change when mail comes or goes."""
        ...


class LocalMailbox(Protocol):
    """All folders of an account."""

    can_move: bool

    def names(self) -> Sequence[tuple[FolderName, str, str]]:
        """(name, raw name, separator), the inbox first."""
        ...

    def folder(self, name: FolderName) -> LocalFolder:
        """FolderMissing if there is none of that name."""
        ...


class LocalSession:
    """Implements spamd.source.MailSession. Reading a local mail never marks it as read."""

    def __init__(self, account: Account, mailbox: LocalMailbox, classify: Classify) -> None:
        self.account = account
        self.mailbox = mailbox
        self._classify = classify
        self._read_bytes = 0
        self._closed = False

    @property
    def abilities(self) -> Abilities:
        return Abilities(
            move=True,
            uidplus=True,
            condstore=False,
            idle=True,
            server_ids=False,
            keywords=False,
            quirk=self.account.kind.value,
            list_status=True,
        )

    def folders(self) -> Sequence[Folder]:
        self._open()
        names = self.mailbox.names()
        roles = {
            one.raw: one.role for one in self._classify([(raw, separator) for _, raw, separator in names])
        }
        return [
            Folder(
                name,
                raw.encode("utf-8", "surrogateescape"),
                separator,
                "inbox" if name == INBOX else roles.get(raw.encode("utf-8", "surrogateescape"), ""),
                True,
                not self.mailbox.can_move,
            )
            for name, raw, separator in names
        ]

    def junk_folder(self) -> FolderName | None:
        found = self.folders()
        wanted = self.account.junk
        if wanted is not None:
            for folder in found:
                if wanted in (folder.name, folder.raw.decode("utf-8", "surrogateescape")):
                    return folder.name
            return wanted
        return next((folder.name for folder in found if folder.role == "junk"), None)

    def status(self, folder: FolderName) -> FolderStatus:
        validity, uid_next, mails, _ = self._folder(folder).mails()
        return FolderStatus(folder, validity, uid_next, len(mails))

    def statuses(self, folders: Sequence[FolderName]) -> Sequence[FolderStatus]:
        out = []
        for folder in folders:
            try:
                out.append(self.status(folder))
            except (FolderMissing, FolderRefused):
                continue
        return out

    def arrivals(self, folder: FolderName, first: Uid, last: Uid | None = None) -> Iterator[Arrival]:
        validity, _, mails, flags = self._folder(folder).mails()
        for uid in sorted(mails):
            if uid >= first and (last is None or uid <= last):
                yield _arrival(folder, validity, mails[uid], flags[uid])

    def locate(self, refs: Sequence[MessageRef]) -> Sequence[Arrival]:
        if not refs:
            return []
        folder = refs[0].folder
        validity, _, mails, flags = self._folder(folder).mails()
        return [
            _arrival(folder, validity, mails[ref.uid], flags[ref.uid])
            for ref in sorted(refs, key=lambda ref: ref.uid)
            if ref.uid_validity == validity and ref.uid in mails
        ]

    def fetch(self, refs: Sequence[MessageRef], limit: int = FETCH_LIMIT) -> Iterator[FetchedMail]:
        by_folder: dict[FolderName, list[MessageRef]] = {}
        for ref in refs:
            by_folder.setdefault(ref.folder, []).append(ref)
        for name, wanted in by_folder.items():
            folder = self._folder(name)
            validity, _, mails, flags = folder.mails()
            for ref in wanted:
                known = mails.get(ref.uid) if ref.uid_validity == validity else None
                raw = folder.read(known, limit) if known is not None else None
                if known is None or raw is None:
                    continue
                self._read_bytes += len(raw)
                whole = len(raw) < limit or known.size <= len(raw)
                yield FetchedMail(_arrival(name, validity, known, flags[ref.uid]), raw, whole)

    def changed_flags(self, folder: FolderName, since: int | None) -> dict[Uid, frozenset[str]]:
        self._folder(folder).mails()  # there, at least
        return {}  # no keywords here

    def uids(self, folder: FolderName) -> Sequence[Uid]:
        return sorted(self._folder(folder).mails()[2])

    def find(self, folder: FolderName, identity: Identity, message_id: str) -> Sequence[Arrival]:
        return [one for one in self.arrivals(folder, Uid(1)) if one.identity == identity]

    def add_keyword(
        self, ref: MessageRef, keyword: str, remove: Sequence[str] = (), also: Sequence[str] = ()
    ) -> bool:
        return False

    def headers(self, folder: FolderName, uids: Sequence[Uid], names: Sequence[str]) -> dict[Uid, bytes]:
        here = self._folder(folder)
        mails = here.mails()[2]
        wanted = {name.lower().encode("ascii", "replace") for name in names}
        out: dict[Uid, bytes] = {}
        for uid in uids:
            raw = here.read(mails[uid], HEADER_BYTES) if uid in mails else None
            if raw is not None:
                self._read_bytes += len(raw)
                chosen = (m[0] for m in _FIELD.finditer(header_of(raw)) if m[1].lower() in wanted)
                out[uid] = b"".join(_crlf(field) + b"\r\n" for field in chosen) + b"\r\n"
        return out

    def departed(
        self, folder: FolderName, validity: UidValidity, known: Sequence[Uid], since: int | None
    ) -> Sequence[Uid]:
        if self.status(folder).uid_validity != validity:
            raise FolderChanged(f"The folder {folder} has changed.")
        there = set(self.uids(folder))
        return sorted(uid for uid in known if uid not in there)

    def room_for_keywords(self, folder: FolderName) -> bool:
        return True

    def begin_bulk(self) -> None:
        """Nothing travels here."""

    def bytes_received(self) -> int:
        return self._read_bytes

    def close(self) -> None:
        self._closed = True

    def _folder(self, name: FolderName) -> LocalFolder:
        self._open()
        return self.mailbox.folder(name)

    def _open(self) -> None:
        if self._closed:
            raise ConnectionLost("The mail folder was closed.")


class LocalWatch:
    """Implements spamd.source.FolderWatch. `touched` may be called by whoever notices a change (watchdog); without
    it, a look every few seconds finds it."""

    def __init__(
        self,
        folder: LocalFolder,
        *,
        look_seconds: float = LOOK_SECONDS,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._folder = folder
        self._look_seconds = look_seconds
        self._on_close = on_close
        self._condition = threading.Condition()
        self._woken = self._touched = False
        self._stamp = folder.stamp()

    def wait(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while True:
            stamp = self._folder.stamp()
            if stamp != self._stamp:
                self._stamp = stamp
                return True
            with self._condition:
                left = deadline - time.monotonic()
                if not self._woken and not self._touched and left > 0:
                    self._condition.wait(min(left, self._look_seconds))
                woken, self._woken, self._touched = self._woken, False, False
            if woken or time.monotonic() >= deadline:
                return self._folder.stamp() != self._stamp

    def touched(self) -> None:
        """From any thread: look now."""
        with self._condition:
            self._touched = True
            self._condition.notify_all()

    def wake(self) -> None:
        with self._condition:
            self._woken = True
            self._condition.notify_all()

    def close(self) -> None:
        self.wake()
        if self._on_close is not None:
            self._on_close()


def header_of(raw: bytes) -> bytes:
    """Up to the empty line."""
    found = _BLANK.search(raw)
    return raw[: found.start()] if found else raw


def describe(key: str, raw: bytes, size: int, date: float) -> Known:
    """What is remembered of a mail, from its first bytes.

    The identity is a digest of the header without the fields that mail programs rewrite, and of the size of what
    follows it, however lines end. It survives being moved or copied by any program.
    """
    header = header_of(raw)
    stable = [_crlf(m[0]) for m in _FIELD.finditer(header) if m[1].lower() not in _CHANGING]
    digest = hashlib.sha256(b"\r\n".join(stable)).hexdigest()[:40]
    body = max(0, size - len(header))
    return Known(Uid(0), key, Identity(f"hash:{body}.{digest}"), _message_id(header), size, date)


def _message_id(header: bytes) -> str:
    for field in _FIELD.finditer(header):
        if field[1].lower() == b"message-id":
            text = field[0].partition(b":")[2].decode("utf-8", "replace")
            inner = re.search(r"<([^<>\s]+)>", text)
            return (inner[1] if inner else " ".join(text.split()).strip("<> "))[:998]
    return ""


def _crlf(field: bytes) -> bytes:
    return field.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _arrival(folder: FolderName, validity: UidValidity, known: Known, flags: frozenset[str]) -> Arrival:
    return Arrival(
        MessageRef(folder, validity, known.uid),
        known.identity,
        flags,
        known.size,
        known.internal_date,
        known.message_id,
    )


def list_file(state: Path, account: str, raw: str) -> Path:
    """Where the UIDs of a folder are kept."""
    name = hashlib.sha256(raw.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return state / "uids" / account / f"{name}.uids"


def open_list(state: Path, account: str, raw: str) -> UidList:
    return UidList(list_file(state, account, raw))
