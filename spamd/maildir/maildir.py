"""Maildir: one file per mail. Names and places as Dovecot (Maildir++), mbsync (Verbatim, Legacy) and others use them.

A mail is moved as the Maildir rules say: one rename within the file system, from new/ to new/ and from cur/ to
cur/, so that unread mail stays new and flags stay. The name is a new one: a synchroniser's number in it (",U=12")
belongs to the old folder and must not come along.

Between two file systems (a folder that is a link, or mounted) no rename is possible: a copy is written and synced in
tmp/, shown by a rename, and only then the original is removed. The copy's name says of which file it is, so that
after a crash in between `left_copy` knows it and the mover ends the move instead of making a second copy.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import hashlib
import itertools
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spamd.domain import INBOX, FolderName, Uid, UidValidity
from spamd.errors import FolderChanged, FolderMissing, FolderRefused, MailboxError, QuotaExceeded
from spamd.maildir.local import HEADER_BYTES, describe, open_list
from spamd.maildir.uid_list import Known
from spamd.paths import FULL
from spamd.source import Copied, OpenFolder

_FLAGS = {
    "S": "\\Seen",
    "R": "\\Answered",
    "F": "\\Flagged",
    "T": "\\Deleted",
    "D": "\\Draft",
    "P": "$Forwarded",
}
_INFO = re.compile(r"[:;!]2,([A-Za-z]*)$")  # ";" and "!" on file systems that forbid ":"
_SIZES = re.compile(r",[SW]=\d+")
_RECENT_NS = 2_000_000_000
"""A folder changed less than this before it was read may change again within the same time stamp."""

_count = itertools.count(1)


@dataclass(frozen=True, slots=True)
class _File:
    place: str  # "new" or "cur"
    name: str
    flags: frozenset[str]

    @property
    def key(self) -> str:
        """The unique name: without the flags."""
        return _INFO.sub("", self.name)


class MaildirFolder:
    """One folder with new/ and cur/. Implements spamd.maildir.local.LocalFolder."""

    def __init__(self, path: Path, state: Path, account: str, raw: str) -> None:
        self.path = path
        self._list = open_list(state, account, raw)
        self._lock = threading.RLock()
        self._files: dict[str, _File] = {}
        self._scanned: tuple[object, ...] | None = None
        self._known: tuple[UidValidity, Uid, dict[Uid, Known], dict[Uid, frozenset[str]]] | None = None

    def stamp(self) -> tuple[object, ...]:
        out: list[object] = []
        for place in ("new", "cur"):
            try:
                stat = (self.path / place).stat()
                out.append((stat.st_mtime_ns, stat.st_ino))
            except OSError:
                out.append(None)
        return tuple(out)

    def watched(self) -> Sequence[Path]:
        return [self.path / "new", self.path / "cur"]

    def mails(self) -> tuple[UidValidity, Uid, Mapping[Uid, Known], Mapping[Uid, frozenset[str]]]:
        with self._lock:
            stamp = self.stamp()
            if self._known is not None and self._scanned == stamp:
                return self._known
            validity, uid_next, by_key = self._list.update(self._scan, self._describe)
            mails = {known.uid: known for known in by_key.values()}
            flags = {known.uid: self._files[key].flags for key, known in by_key.items()}
            self._known = (validity, uid_next, mails, flags)
            newest = max((one[0] for one in stamp if isinstance(one, tuple)), default=0)
            settled = time.time_ns() - newest > _RECENT_NS
            self._scanned = stamp if settled else None
            return self._known

    def adopt(self, arrived: Iterable[Known]) -> tuple[UidValidity, dict[str, Uid]]:
        """UIDVALIDITY, and the numbers of mails that were moved here."""
        return self._list.adopt(arrived)

    def dismiss(self, left: Iterable[Known]) -> None:
        """Mails that were moved from here."""
        self._list.dismiss(known.key for known in left)

    def read(self, known: Known, limit: int) -> bytes | None:
        for _ in range(3):  # it may be renamed between the look and the reading
            path = self.path_of(known.key)
            if path is None:
                return None
            with contextlib.suppress(FileNotFoundError):
                return _head(path, limit)
        return None

    def path_of(self, key: str) -> Path | None:
        """Where the mail's file is now; other programs rename it when flags change."""
        with self._lock:
            file = self._files.get(key)
            if file is not None:
                path = self.path / file.place / file.name
                if path.exists():
                    return path
            self._files = self._scan_files()
            file = self._files.get(key)
            return None if file is None else self.path / file.place / file.name

    def forget(self) -> None:
        """We changed it ourselves: look again."""
        with self._lock:
            self._scanned = None

    def _scan(self) -> Sequence[str]:
        files = self._scan_files()
        if any(key not in files for key in self._files):
            files = self._scan_files()  # a file renamed while we read the folder may have escaped us
        self._files = files
        return sorted(files, key=_by_delivery)

    def _scan_files(self) -> dict[str, _File]:
        files: dict[str, _File] = {}
        try:
            for place in ("new", "cur"):  # in this order: mail only ever goes from new to cur
                with os.scandir(self.path / place) as entries:
                    for entry in entries:
                        if entry.name.startswith(".") or not entry.is_file():
                            continue
                        if "\n" in entry.name or "\r" in entry.name:
                            continue  # no mail program makes such names, and our list could not hold them
                        info = _INFO.search(entry.name) if place == "cur" else None
                        letters = info[1] if info else ""
                        flags = frozenset(_FLAGS[one] for one in letters if one in _FLAGS)
                        file = _File(place, entry.name, flags)
                        files[file.key] = file
        except FileNotFoundError:
            raise FolderMissing(
                f"The mail folder {self.path} is not there.", "Look at the account's path."
            ) from None
        except OSError as error:
            title = f"The mail folder {self.path} cannot be read: {error.strerror}."
            raise FolderRefused(title, "Look at its owner and rights.") from error
        return files

    def _describe(self, key: str) -> Known | None:
        file = self._files.get(key)
        if file is None:
            return None
        path = self.path / file.place / file.name
        try:
            stat = path.stat()
            return describe(key, _head(path, HEADER_BYTES), stat.st_size, stat.st_mtime)
        except OSError:
            return None


class MaildirMailbox:
    """All folders below one path. Implements spamd.maildir.local.LocalMailbox."""

    can_move = True

    def __init__(self, path: Path, state: Path, account: str, decode: Callable[[bytes], FolderName]) -> None:
        self.path = path
        self._state = state
        self._account = account
        self._decode = decode
        self._folders: dict[FolderName, tuple[MaildirFolder, str, str]] = {}
        self._names: list[tuple[FolderName, str, str]] = []

    def names(self) -> Sequence[tuple[FolderName, str, str]]:
        found = list(self._find())
        if not any(name == INBOX for name, *_ in found):
            raise FolderMissing(
                f"{self.path} is no Maildir.", "It should hold the folders cur, new and tmp, or an INBOX."
            )
        for name, raw, separator, path in found:
            if name not in self._folders or self._folders[name][0].path != path:
                folder = MaildirFolder(path, self._state, self._account, raw)
                self._folders[name] = (folder, raw, separator)
        there = {name for name, *_ in found}
        for name in set(self._folders) - there:
            del self._folders[name]
        return [(name, raw, separator) for name, raw, separator, _ in found]

    def folder(self, name: FolderName) -> MaildirFolder:
        if name not in self._folders:
            self.names()
        try:
            return self._folders[name][0]
        except KeyError:
            raise FolderMissing(f"There is no mail folder “{name}” in {self.path}.") from None

    def _find(self) -> Sequence[tuple[FolderName, str, str, Path]]:
        """(name, raw name, separator, path), the inbox first."""
        out: list[tuple[FolderName, str, str, Path]] = []
        inbox: Path | None = self.path if _is_maildir(self.path) else None
        try:
            entries = sorted(one for one in self.path.iterdir() if one.is_dir())
        except OSError as error:
            title = f"The mail folder {self.path} cannot be read: {error.strerror}."
            raise FolderMissing(title, "Look at the account's path, and at its owner and rights.") from error
        if inbox is None:
            inbox = next((one for one in entries if one.name.upper() == "INBOX" and _is_maildir(one)), None)
        if inbox is not None:
            out.append((INBOX, "INBOX", "", inbox))
        taken = {INBOX}
        for path, raw, separator in itertools.chain(_dotted(entries), _nested(self.path, "", 0)):
            name = self._decode(raw.encode("utf-8", "surrogateescape"))
            if path != inbox and name not in taken:
                taken.add(name)
                out.append((name, raw, separator, path))
        return out


def _dotted(entries: Sequence[Path]) -> Sequence[tuple[Path, str, str]]:
    """Maildir++: ".Junk", ".Lists.Python"."""
    return [
        (path, path.name[1:], ".")
        for path in entries
        if path.name.startswith(".") and len(path.name) > 1 and _is_maildir(path)
    ]


def _nested(folder: Path, above: str, depth: int) -> Sequence[tuple[Path, str, str]]:
    """Folders within folders: "Junk", "Lists/Python"."""
    out: list[tuple[Path, str, str]] = []
    if depth > 8:
        return out
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            if path.name in ("cur", "new", "tmp") or path.name.startswith("."):
                continue
            if not path.is_dir() or (path.is_symlink() and depth > 0):
                continue
            raw = f"{above}{path.name}"
            if _is_maildir(path):
                out.append((path, raw, "/"))
            out += _nested(path, raw + "/", depth + 1)
    return out


def _is_maildir(path: Path) -> bool:
    return (path / "cur").is_dir() and (path / "new").is_dir()


class MaildirCommands:
    """Implements spamd.source.MoveCommands on a Maildir."""

    def __init__(self, mailbox: MaildirMailbox) -> None:
        self._mailbox = mailbox

    def move(self, source: OpenFolder, uids: Sequence[Uid], target: FolderName) -> Copied:
        here, mails = self._open(source)
        there = self._mailbox.folder(target)
        moved: dict[Uid, Known] = {}
        for uid in uids:
            if uid not in mails:
                continue
            path = here.path_of(mails[uid].key)
            if path is None:
                continue
            name = _new_name(path.name)
            try:
                if (there.path / path.parent.name / name).exists():
                    raise FileExistsError(name)
                try:
                    path.rename(there.path / path.parent.name / name)
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
                    name = _carry(here, mails[uid].key, path, there)
            except FileNotFoundError:
                continue  # taken away this moment
            except OSError as error:
                raise _refusal(error, target) from error
            moved[uid] = replace(mails[uid], key=_INFO.sub("", name))
        # The rename is the proof, also where the person takes a mail back before we look.
        validity, numbers = there.adopt(moved.values())
        here.dismiss(mails[uid] for uid in moved)
        for folder in (here.path, there.path):
            _make_durable(folder)
        here.forget()
        there.forget()
        return Copied(validity, {uid: numbers[known.key] for uid, known in moved.items()})

    def copy(self, source: OpenFolder, uids: Sequence[Uid], target: FolderName) -> Copied:
        raise FolderRefused("Mail is never copied here.")  # the mover sees abilities.move and does not ask

    def mark_deleted(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        self._flag(folder, uids, lambda letters: letters | {"T"})

    def clear_deleted(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        self._flag(folder, uids, lambda letters: letters - {"T"})

    def deleted(self, folder: OpenFolder) -> frozenset[Uid]:
        here, _ = self._open(folder)
        return frozenset(uid for uid, flags in here.mails()[3].items() if "\\Deleted" in flags)

    def expunge(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        here, mails = self._open(folder)
        marked = self.deleted(folder)
        for uid in uids:
            path = here.path_of(mails[uid].key) if uid in mails and uid in marked else None
            if path is not None:
                path.unlink(missing_ok=True)
        here.forget()

    def expunge_all(self, folder: OpenFolder) -> None:
        raise FolderRefused("Only single mails are removed here.")

    def lock(
        self, folder: OpenFolder, uids: Sequence[Uid], keyword: str, also: Sequence[str] = ()
    ) -> frozenset[Uid] | None:
        return None  # a rename can succeed for one program only

    def unlock(self, folder: OpenFolder, uids: Sequence[Uid], keywords: Sequence[str]) -> None:
        return

    def break_lock(self, folder: OpenFolder, uids: Sequence[Uid], words: frozenset[str]) -> None:
        return

    def left_copy(self, source: OpenFolder, uid: Uid, target: FolderName) -> Uid | None:
        here, mails = self._open(source)
        there = self._mailbox.folder(target)
        path = here.path_of(mails[uid].key) if uid in mails else None
        if path is None:
            return None
        copy = _copy_of(here, mails[uid].key, there)
        if copy is None or not filecmp.cmp(path, copy, shallow=False):
            return None
        there.forget()
        by_key = {known.key: known.uid for known in there.mails()[2].values()}
        return by_key.get(_INFO.sub("", copy.name))

    def locked(self, folder: FolderName, keyword: str) -> tuple[OpenFolder, Sequence[Uid]]:
        return OpenFolder(folder, self._mailbox.folder(folder).mails()[0]), ()

    def _open(self, folder: OpenFolder) -> tuple[MaildirFolder, Mapping[Uid, Known]]:
        here = self._mailbox.folder(folder.name)
        validity, _, mails, _ = here.mails()
        if validity != folder.uid_validity:
            raise FolderChanged(f"The folder {folder.name} has changed.")
        return here, mails

    def _flag(self, folder: OpenFolder, uids: Sequence[Uid], change: Callable[[set[str]], set[str]]) -> None:
        here, mails = self._open(folder)
        for uid in uids:
            path = here.path_of(mails[uid].key) if uid in mails else None
            if path is None:
                continue
            info = _INFO.search(path.name)
            letters = change(set(info[1]) if info else set())
            if path.parent.name == "new" and not letters:
                continue
            mark = path.name[info.start()] if info else ":"
            name = f"{_INFO.sub('', path.name)}{mark}2,{''.join(sorted(letters))}"
            with contextlib.suppress(FileNotFoundError):
                path.rename(here.path / "cur" / name)
        here.forget()


def _new_name(old: str, tag: str = "") -> str:
    """Unique on this host, with the sizes and flags of the old name."""
    info = _INFO.search(old)
    sizes = "".join(_SIZES.findall(_INFO.sub("", old)))
    now = time.time()
    host = socket.gethostname().replace("/", "\\057").replace(":", "\\072").replace(",", "-") or "localhost"
    unique = f"{int(now)}.M{int(now % 1 * 1e6):06d}P{os.getpid()}Q{next(_count)}{tag}.{host}"
    return unique + sizes + (old[info.start() :] if info else "")


def _tag(here: MaildirFolder, key: str) -> str:
    """Says in a copy's name of which file it is."""
    return "R" + hashlib.sha256(os.fsencode(f"{here.path}/{key}")).hexdigest()[:20]


def _copy_of(here: MaildirFolder, key: str, there: MaildirFolder) -> Path | None:
    """The copy that _carry made of this file, if it is shown already."""
    tag = _tag(here, key) + "."
    for place in ("new", "cur"):
        with os.scandir(there.path / place) as entries:
            for entry in entries:
                if tag in entry.name:
                    return Path(entry.path)
    return None


def _carry(here: MaildirFolder, key: str, path: Path, there: MaildirFolder) -> str:
    """Move between two file systems. The new name. Either both steps are done or none, but for a crash.

    Raises FileNotFoundError if another program took the mail away meanwhile: theirs stays, and our copy goes.
    """
    tag = _tag(here, key)
    tmp = there.path / "tmp"
    tmp.mkdir(exist_ok=True)
    for unfinished in tmp.glob(f"*{tag}.*"):
        unfinished.unlink(missing_ok=True)
    name = _new_name(path.name, tag)
    copy = tmp / _INFO.sub("", name)
    try:
        shutil.copy2(path, copy)
        with copy.open("rb") as file:
            os.fsync(file.fileno())
        copy.rename(there.path / path.parent.name / name)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    _make_durable(there.path)
    try:
        for _ in range(3):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                return name
            now = here.path_of(key)  # with other flags?
            if now is None:
                raise FileNotFoundError(path)
            path = now
        raise FileNotFoundError(path)
    except OSError:
        ours = _copy_of(here, key, there)
        if ours is not None:
            ours.unlink(missing_ok=True)
        raise


def _make_durable(folder: Path) -> None:
    if os.name != "posix":
        return
    for place in ("new", "cur"):
        with contextlib.suppress(OSError):
            descriptor = os.open(folder / place, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _refusal(error: OSError, target: FolderName) -> MailboxError:
    if error.errno in FULL:
        return QuotaExceeded("The disk is full.", "Make room; the mail stays where it is.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return FolderRefused(f"The folder {target} cannot be written.", "Look at its owner and rights.")
    return MailboxError(f"The mail could not be moved to {target}: {error.strerror}.")


def _head(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        return file.read(limit)


def _by_delivery(key: str) -> tuple[float, str]:
    """Names start with the time of delivery."""
    head = key.partition(".")[0]
    return (float(head) if head.isdigit() else float("inf"), key)
