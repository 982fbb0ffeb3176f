"""mbox: many mails in one file. Read, judged and learned from; nothing is moved in it.

Taking a mail out of an mbox means rewriting a file that other programs append to, each with locks of its own kind; a
mistake there loses mail for good. So an mbox is watched only, and a move is refused in clear words.
"""

from __future__ import annotations

import email.utils
import hashlib
import mmap
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spamd.domain import INBOX, FolderName, Uid, UidValidity
from spamd.errors import FolderMissing, FolderRefused
from spamd.maildir.local import HEADER_BYTES, describe, header_of, open_list
from spamd.maildir.uid_list import Known
from spamd.source import Copied, OpenFolder

_FROM = re.compile(rb"(?:\A|\n\r?\n)From [^\r\n]*\d{2}:\d{2}[^\r\n]*\r?\n")
_STATUS = re.compile(rb"(?im)^(?:x-)?status:[ \t]*([A-Za-z]*)[ \t]*\r?$")
_FLAGS = {"R": "\\Seen", "A": "\\Answered", "F": "\\Flagged", "D": "\\Deleted", "T": "\\Draft"}
_REFUSAL = "An mbox file is only watched: mail in it is judged and learned from, but not moved."
_HINT = "Use a Maildir, or the IMAP server itself, if junk should be moved."


@dataclass(frozen=True, slots=True)
class _Place:
    start: int  # bytes; after the From_ line
    end: int
    flags: frozenset[str]
    date: float


class MboxFolder:
    """One file. Implements spamd.maildir.local.LocalFolder."""

    def __init__(self, path: Path, state: Path, account: str, raw: str) -> None:
        self.path = path
        self._list = open_list(state, account, raw)
        self._lock = threading.RLock()
        self._places: dict[str, _Place] = {}
        self._scanned: tuple[object, ...] | None = None
        self._known: tuple[UidValidity, Uid, dict[Uid, Known], dict[Uid, frozenset[str]]] | None = None

    def stamp(self) -> tuple[object, ...]:
        try:
            stat = self.path.stat()
        except OSError:
            return (None,)
        return (stat.st_ino, stat.st_size, stat.st_mtime_ns)

    def watched(self) -> Sequence[Path]:
        return [self.path]

    def mails(self) -> tuple[UidValidity, Uid, Mapping[Uid, Known], Mapping[Uid, frozenset[str]]]:
        with self._lock:
            stamp = self.stamp()
            if stamp == (None,):
                raise FolderMissing(f"The mail file {self.path} is not there.", "Look at the account's path.")
            if self._known is None or self._scanned != stamp:
                validity, uid_next, by_key = self._list.update(self._scan, self._describe)
                mails = {known.uid: known for known in by_key.values()}
                flags = {known.uid: self._places[key].flags for key, known in by_key.items()}
                self._known = (validity, uid_next, mails, flags)
                self._scanned = stamp
            return self._known

    def read(self, known: Known, limit: int) -> bytes | None:
        with self._lock:
            if self._scanned != self.stamp():
                self.mails()
            place = self._places.get(known.key)
            if place is None:
                return None
            with self.path.open("rb") as file:
                file.seek(place.start)
                return _unquoted(file.read(min(limit, place.end - place.start)))

    def _scan(self) -> Sequence[str]:
        """Keys in the order of the file: a digest of the mail, and which of several equal ones it is."""
        places: dict[str, _Place] = {}
        seen: dict[str, int] = {}
        try:
            with self.path.open("rb") as file:
                for place, digest in _mails(file.fileno()):
                    number = seen[digest] = seen.get(digest, 0) + 1
                    places[f"{digest}#{number}"] = place
        except FileNotFoundError:
            raise FolderMissing(
                f"The mail file {self.path} is not there.", "Look at the account's path."
            ) from None
        except OSError as error:
            title = f"The mail file {self.path} cannot be read: {error.strerror}."
            raise FolderRefused(title, "Look at the account's path, and at its owner and rights.") from error
        self._places = places
        return list(places)

    def _describe(self, key: str) -> Known | None:
        place = self._places.get(key)
        if place is None:
            return None
        with self.path.open("rb") as file:
            file.seek(place.start)
            raw = file.read(min(HEADER_BYTES, place.end - place.start))
        return describe(key, _unquoted(raw), place.end - place.start, place.date)


class MboxMailbox:
    """The inbox file, and the Junk file if one is named or lies beside it. Implements LocalMailbox."""

    can_move = False

    def __init__(
        self, path: Path, state: Path, account: str, decode: Callable[[bytes], FolderName], junk: str | None
    ) -> None:
        self.path = path
        self._state = state
        self._account = account
        self._decode = decode
        self._junk = junk
        self._folders: dict[FolderName, MboxFolder] = {}

    def names(self) -> Sequence[tuple[FolderName, str, str]]:
        return [(name, raw, "") for name, (raw, _) in self._find().items()]

    def folder(self, name: FolderName) -> MboxFolder:
        if name not in self._folders:
            try:
                raw, path = self._find()[name]
            except KeyError:
                raise FolderMissing(f"There is no mail file “{name}” beside {self.path}.") from None
            self._folders[name] = MboxFolder(path, self._state, self._account, raw)
        return self._folders[name]

    def _find(self) -> dict[FolderName, tuple[str, Path]]:
        out = {INBOX: ("INBOX", self.path)}
        if self._junk:
            chosen = Path(self._junk).expanduser()
            path = chosen if chosen.is_absolute() else self.path.parent / chosen
            out[FolderName(self._junk)] = (self._junk, path)
        if self.path.parent.name == "mail" and self.path.parent.parent.name in ("var", "spool"):
            return out  # the system's spool: the files beside it are other people's
        try:
            beside = sorted(self.path.parent.iterdir())
        except OSError:
            return out
        for path in beside:
            if path != self.path and "." not in path.name and path.is_file() and _is_mbox(path):
                out.setdefault(self._decode(path.name.encode("utf-8", "surrogateescape")), (path.name, path))
        return out


class MboxCommands:
    """Implements spamd.source.MoveCommands by refusing."""

    def move(self, source: OpenFolder, uids: Sequence[Uid], target: FolderName) -> Copied:
        raise FolderRefused(_REFUSAL, _HINT)

    def copy(self, source: OpenFolder, uids: Sequence[Uid], target: FolderName) -> Copied:
        raise FolderRefused(_REFUSAL, _HINT)

    def mark_deleted(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        raise FolderRefused(_REFUSAL, _HINT)

    def clear_deleted(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        raise FolderRefused(_REFUSAL, _HINT)

    def deleted(self, folder: OpenFolder) -> frozenset[Uid]:
        return frozenset()

    def expunge(self, folder: OpenFolder, uids: Sequence[Uid]) -> None:
        raise FolderRefused(_REFUSAL, _HINT)

    def expunge_all(self, folder: OpenFolder) -> None:
        raise FolderRefused(_REFUSAL, _HINT)

    def lock(
        self, folder: OpenFolder, uids: Sequence[Uid], keyword: str, also: Sequence[str] = ()
    ) -> frozenset[Uid] | None:
        return None

    def unlock(self, folder: OpenFolder, uids: Sequence[Uid], keywords: Sequence[str]) -> None:
        return

    def break_lock(self, folder: OpenFolder, uids: Sequence[Uid], words: frozenset[str]) -> None:
        return

    def left_copy(self, source: OpenFolder, uid: Uid, target: FolderName) -> Uid | None:
        return None

    def locked(self, folder: FolderName, keyword: str) -> tuple[OpenFolder, Sequence[Uid]]:
        raise FolderRefused(_REFUSAL, _HINT)


def _is_mbox(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(5)
    except OSError:
        return False
    return head in (b"From ", b"")


def _mails(descriptor: int) -> Iterator[tuple[_Place, str]]:
    """Every mail of the file with the digest of what does not change in it."""
    try:
        view = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    except ValueError:
        return  # an empty file
    with view:
        starts = list(_FROM.finditer(view))
        for index, found in enumerate(starts):
            start = found.end()
            end = starts[index + 1].start() + 1 if index + 1 < len(starts) else len(view)
            # The empty line before the next From_ belongs to neither; the last mail may or may not have one.
            tail = bytes(view[max(start, end - 64) : end])
            end -= max(0, len(tail) - len(tail.rstrip(b"\r\n")) - (2 if tail.endswith(b"\r\n") else 1))
            head = bytes(view[start : min(end, start + HEADER_BYTES)])
            header = header_of(head)
            letters = "".join(one.decode("ascii") for one in _STATUS.findall(header)).upper()
            flags = frozenset(_FLAGS[one] for one in letters if one in _FLAGS)
            body = hashlib.sha256(view[start + len(header) : end].strip(b"\r\n")).hexdigest()[:24]
            known = describe("", head, end - start, 0.0)
            message = known.identity.rpartition(".")[2][:24]
            yield _Place(start, end, flags, _date(found[0], header)), f"{message}{body}"


def _date(line: bytes, header: bytes) -> float:
    """When it was delivered, by its From_ line; else by its Date."""
    words = line.decode("ascii", "replace").split()
    for count in (5, 6):
        try:
            stamp = time.strptime(" ".join(words[2:7] if count == 5 else words[2:8]), "%a %b %d %H:%M:%S %Y")
            return time.mktime(stamp)
        except (ValueError, OverflowError):
            continue
    found = re.search(rb"(?im)^date:([^\r\n]*)", header)
    try:
        return (
            email.utils.parsedate_to_datetime(found[1].decode("ascii", "replace")).timestamp()
            if found
            else 0.0
        )
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _unquoted(raw: bytes) -> bytes:
    """As it was sent: ">From " at the start of a line was "From " (mboxrd)."""
    return re.sub(rb"(?m)^>(>*From )", rb"\1", raw)


__all__ = ["MboxCommands", "MboxFolder", "MboxMailbox"]
