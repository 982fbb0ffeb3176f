"""An IMAP mailbox as the story needs it: MailSession on one connection.

Reading opens folders with EXAMINE and asks for bodies with BODY.PEEK only, so nothing is ever marked as
read.
"""

from __future__ import annotations

import bisect
import contextlib
import datetime
import email
import functools
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spamd.domain import (
    INBOX,
    MOVED_KEYWORD,
    MOVING_KEYWORD,
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
from spamd.errors import (
    ConfigError,
    ConnectionLost,
    FolderChanged,
    FolderMissing,
    FolderRefused,
    MailboxError,
    ProtocolFault,
    ServerBusy,
)
from spamd.mailbox import folders as names
from spamd.mailbox.border import border, refused
from spamd.mailbox.connection import Connection, Credential, Selected, connect
from spamd.mailbox.folders import Listed, Namespaces
from spamd.mailbox.protocol import Literal, Reply, Response, fetch_attributes, number_set, parse_values, quote
from spamd.source import FETCH_LIMIT, Abilities, Folder

BATCH = 200  # mails per FETCH
BATCH_BYTES = 4 << 20  # of bodies asked for at once; keeps memory flat
RECENT_SECONDS = 1.0  # so long a folder that was opened needs no NOOP to be read
HEADER_BYTES = 65536  # of a header, for identity
ASKED_BYTES = 16384  # of UIDs named in one question; more than this, and the plain way is as cheap
CROWDED = 90  # keywords of a folder; Cyrus has room for 100
REFUSALS_IN_A_ROW = 8  # single mails the server refuses before we take it for the server's fault
NO_UID = b"4294967295"  # the highest; asks for nothing, but shows whether an item is understood

_SPELLINGS = ("$Junk", "Junk", "$NotJunk", "NotJunk", "$NonJunk", "NonJunk", "$NoJunk", "NoJunk")
JUNK_KEYWORDS = frozenset(name.lower() for name in _SPELLINGS)
_KEYWORD_SEARCH = " ".join(
    [*(f"OR KEYWORD {name}" for name in _SPELLINGS[:-1]), f"KEYWORD {_SPELLINGS[-1]}"]
).encode()
_STATUS = b"MESSAGES UIDNEXT UIDVALIDITY"
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_DAY = 86400.0
_PLAIN_ID = re.compile(r"[!#-\[\]-~]+\Z")  # no quotes, spaces or backslashes: servers differ about those
_MESSAGE_ID = re.compile(r"<([^<>\s]+)>")


@dataclass(frozen=True, slots=True)
class IdItem:
    """How a server names a mail for ever."""

    item: bytes  # to FETCH
    key: bytes  # in the answer
    prefix: str  # of the Identity
    search: bytes  # SEARCH key; b"" where there is none
    of_content: bool = False  # two identical mails share it: no proof that they are one


# RFC 8474 lets a server give identical mails one EMAILID, and Cyrus does so whenever they arrived.
_EMAILID = IdItem(b"EMAILID", b"EMAILID", "emailid", b"EMAILID", of_content=True)
_GMAIL = IdItem(b"X-GM-MSGID", b"X-GM-MSGID", "gmail", b"X-GM-MSGID")
_GUID = IdItem(b"X-GUID", b"X-GUID", "guid", b"X-GUID")


class ImapSession:
    """One connection to one account. Implements spamd.source.MailSession."""

    def __init__(self, connection: Connection, account: Account) -> None:
        self.connection = connection
        self.account = account
        self.quarantined: set[MessageRef] = set()  # mails the server cannot give us; left alone
        self._folders: tuple[Folder, ...] | None = None
        self._namespaces: Namespaces | None = None
        self._raw: dict[FolderName, bytes] = {INBOX: b"INBOX"}
        self._id_items: list[IdItem] | None = None  # candidates; the first one is tried
        self._id_known = False
        self._keywords: bool | None = None
        self._aliases: dict[tuple[FolderName, FolderName], bool] = {}
        self._resynced: tuple[FolderName, int, int, dict[Uid, frozenset[str]]] | None = None

    # -- what the server can do

    @property
    def abilities(self) -> Abilities:
        connection, quirk = self.connection, self.connection.quirk
        item = self._id_item()
        return Abilities(
            move=connection.has("MOVE"),
            uidplus=connection.has("UIDPLUS") and quirk.uid_expunge,
            condstore=connection.has("CONDSTORE"),
            idle=connection.has("IDLE") and quirk.idle,
            server_ids=item is not None and not item.of_content,
            keywords=quirk.keywords if self._keywords is None else self._keywords,
            quirk=quirk.name,
            bytes_per_day=quirk.bytes_per_day,
            labels=connection.has("X-GM-EXT-1"),
            list_status=self._list_status(),
        )

    def _list_status(self) -> bool:
        return self.connection.has("LIST-EXTENDED") and self.connection.has("LIST-STATUS")

    def _id_item(self) -> IdItem | None:
        """The first kind of id that the server really gives; asked once."""
        if self._id_items is None:
            connection = self.connection
            self._id_items = [
                item
                for item, offered in (
                    (_EMAILID, connection.has("OBJECTID")),
                    (_GMAIL, connection.has("X-GM-EXT-1")),
                    (_GUID, connection.quirk.guid),
                )
                if offered
            ]
        while self._id_items and not self._id_known:
            if self.connection.selected is None:
                self.connection.select(b"INBOX", what=INBOX)
            if self._understands(self._id_items[0].item):
                self._id_known = True
            else:
                self._id_items.pop(0)
        return self._id_items[0] if self._id_items else None

    def _understands(self, item: bytes) -> bool:
        """Whether FETCH knows an item. Must not be decided by a moment's trouble: identities hang on it."""
        for uids in (NO_UID, b"*"):
            reply = self.connection.command(
                "UID FETCH", uids, b"(" + item + b")", tolerate=(b"OK", b"NO", b"BAD")
            )
            if reply.status != b"NO":
                return reply.status == b"OK"
            error = refused(reply, "UID FETCH", host=self.connection.host)
            if isinstance(error, ServerBusy):
                raise error
        return False

    # -- folders

    def folders(self) -> Sequence[Folder]:
        connection = self.connection
        if connection.has("SPECIAL-USE") and connection.has("LIST-EXTENDED"):
            verb, extra = "LIST", [b"RETURN (SPECIAL-USE)"]
        elif connection.has("XLIST") and not connection.has("SPECIAL-USE"):
            verb, extra = "XLIST", []
        else:
            verb, extra = "LIST", []
        reply = connection.command(verb, b'""', b'"*"', *extra, tolerate=(b"OK", b"NO", b"BAD"))
        listed = list(_listed(reply))
        if reply.status != b"OK" or not listed:
            listed = list(_listed(connection.command("LIST", b'""', b'"*"')))
        found = names.classify(listed, self.namespaces())
        if connection.has("ACL"):
            found = tuple(self._with_rights(folder) if folder.role == "junk" else folder for folder in found)
        self._raw = {INBOX: b"INBOX"} | {folder.name: folder.raw for folder in found}
        self._folders = found
        self._folders = self._aliases_marked(found)
        return self._folders

    def _with_rights(self, folder: Folder) -> Folder:
        """Read-only where we may not put mail into it (RFC 4314: right "i")."""
        reply = self.connection.command("MYRIGHTS", quote(folder.raw), tolerate=(b"OK", b"NO", b"BAD"))
        for response in reply.named(b"MYRIGHTS"):
            values = self.connection.values(response)
            if values and b"i" not in _as_bytes(values[-1]):
                return replace(folder, read_only=True)
        return folder

    def namespaces(self) -> Namespaces:
        """Prefixes of our own and of other people's folders; asked once."""
        if self._namespaces is None:
            self._namespaces = self._ask_namespaces()
        return self._namespaces

    def _ask_namespaces(self) -> Namespaces:
        connection = self.connection
        if not connection.has("NAMESPACE"):
            return Namespaces((b"", b"INBOX.", b"INBOX/"))
        reply = connection.command("NAMESPACE", tolerate=(b"OK", b"NO", b"BAD"))
        for response in reply.named(b"NAMESPACE"):
            try:
                parts = [_prefixes(part) for part in connection.values(response)]
            except ProtocolFault:
                continue
            parts += [()] * (3 - len(parts))
            return Namespaces(parts[0] or (b"",), parts[1] + parts[2])
        return Namespaces()

    def junk_folder(self) -> FolderName | None:
        wanted = self.account.junk
        found = names.junk(self._folders or self.folders(), wanted, self.namespaces())
        chosen = found.name if found else wanted
        if chosen is not None and (chosen == INBOX or self._is_inbox(chosen)):
            raise ConfigError(
                "The inbox cannot be the Junk folder.", "Choose another Junk folder for the account."
            )
        if found is not None and (found.role == "all" or not found.selectable):
            raise ConfigError(
                f"The folder {chosen} only shows mail of other folders.",
                "Choose another Junk folder for the account.",
            )
        return chosen

    def _is_inbox(self, folder: FolderName) -> bool:
        """Another name of the inbox: a move would go in circles."""
        return self._same_folder(INBOX, folder)

    def _same_folder(self, one: FolderName, other: FolderName) -> bool:
        """Two names of one folder? By MAILBOXID (RFC 8474); else by what STATUS says, and the last mail. Remembered once
        it is certain.
        """
        pair = (one, other)
        if pair not in self._aliases:
            answer = self._compare_ids(one, other)
            if answer is None:
                answer = self._compare_contents(one, other)
            if answer is None:
                return False  # empty, or not there: cannot be told yet
            self._aliases[pair] = answer
        return self._aliases[pair]

    def _compare_ids(self, one: FolderName, other: FolderName) -> bool | None:
        ids = [self.mailbox_id(folder) for folder in (one, other)] if self.connection.has("OBJECTID") else []
        return ids[0] == ids[1] if all(ids) and ids else None

    def _compare_contents(self, one: FolderName, other: FolderName) -> bool | None:
        for _ in range(3):  # mail may arrive between the two
            states = self.statuses([one, other])
            if len(states) < 2:
                return None
            if states[0].uid_validity != states[1].uid_validity:
                return False
            if replace(states[0], folder=other) == states[1]:
                break
        else:
            return False
        if states[0].messages == 0:
            return None
        last = max(self.uids(one), default=Uid(0))  # it may be by chance
        seen = [[a.identity for a in self.arrivals(name, last, last)] for name in (one, other)]
        return bool(seen[0]) and seen[0] == seen[1]

    def mailbox_id(self, folder: FolderName) -> str | None:
        """The folder's id for ever (RFC 8474): the same under another name; None where there is none."""
        if not self.connection.has("OBJECTID"):
            return None
        raw = self.raw(folder)
        self._leave(raw)
        reply = self.connection.command("STATUS", quote(raw), b"(MAILBOXID)", tolerate=(b"OK", b"NO", b"BAD"))
        for response in reply.named(b"STATUS"):
            match = re.search(rb"\bMAILBOXID \(([A-Za-z0-9_-]+)\)", b" ".join(_plain_text(response)))
            if match:
                return match.group(1).decode("ascii")
        return None

    def _aliases_marked(self, found: Sequence[Folder]) -> tuple[Folder, ...]:
        """A folder that is listed under two names (Dovecot's namespaces may do that: mail/Junk is Junk) counts once. Its
        other names only show its mail, like All Mail: read as a folder of good mail, it would teach that junk is good.
        """
        named: dict[str, list[int]] = {}
        for index, folder in enumerate(found):
            if folder.selectable:
                short = names.relative(folder.raw, folder.separator, self.namespaces()).casefold()
                named.setdefault(short, []).append(index)
        out = list(found)
        for group in named.values():
            if len(group) < 2:
                continue
            first = min(group, key=lambda index: (found[index].role != "junk", not found[index].role, index))
            for index in group:
                if index != first and self._same_folder(found[first].name, found[index].name):
                    out[index] = replace(found[index], role="all")
        return tuple(out)

    def raw(self, folder: FolderName) -> bytes:
        """The name as the server wants it."""
        if folder not in self._raw:
            if self._folders is None:
                self.folders()
            if folder not in self._raw:
                # Not listed (yet): perhaps hidden, perhaps just made. Not remembered.
                return names.encode(folder, utf8="UTF8=ACCEPT" in self.connection.enabled)
        return self._raw[folder]

    def select(self, folder: FolderName, *, writable: bool = False) -> Selected:
        """Open a folder; see Connection.select."""
        with self._opening(folder):
            selected = self.connection.select(self.raw(folder), writable=writable, what=folder)
        if writable and selected.permanent_flags is not None:
            # Of any folder: one that is full of names (Cyrus: 100) says nothing of the others.
            keeps = self._keywords or selected.keeps_keywords or selected.keeps(MOVING_KEYWORD, MOVED_KEYWORD)
            self._keywords = keeps and self.connection.quirk.keywords
        return selected

    @contextlib.contextmanager
    def _opening(self, folder: FolderName) -> Iterator[None]:
        """What is refused without a reason (an error inside, a lock, a disk) reads as if there were no such folder. One that
        is listed is there: nobody may conclude that its mails are gone.
        """
        try:
            yield
        except FolderMissing as refusal:
            if folder == INBOX or self._is_listed(folder):
                raise FolderRefused(
                    f"The folder {folder} cannot be opened for the moment.", "It is tried again by itself."
                ) from refusal
            raise

    def _is_listed(self, folder: FolderName) -> bool:
        raw = self.raw(folder)
        reply = self.connection.command("LIST", b'""', quote(raw), tolerate=(b"OK", b"NO", b"BAD"))
        none = {"\\nonexistent", "\\noselect"}
        return reply.status != b"OK" or any(
            one.raw == raw and not none & one.attributes for one in _listed(reply)
        )

    def _refreshed(self, folder: FolderName) -> Selected:
        """Open a folder and see its news, also if it was open before."""
        current = self.connection.selected
        if current and current.raw == self.raw(folder):
            self.connection.noop()
            return current
        return self.select(folder)

    def _again(self, folder: FolderName, before: Selected) -> None:
        """The caller may have opened another one meanwhile, and this one be made anew: then its UIDs name other mails."""
        if self.select(folder).uid_validity != before.uid_validity:
            raise FolderChanged(f"The folder {folder} has changed.")

    def _recent(self, folder: FolderName) -> Selected:
        """Open a folder and see its news up to the last STATUS. For what follows a look at it at once: a round trip less
        than _refreshed(), which is for whoever needs proof.
        """
        connection = self.connection
        current = connection.selected
        if current and current.raw == self.raw(folder) and connection.current(RECENT_SECONDS):
            return current
        return self._refreshed(folder)

    # -- status

    def status(self, folder: FolderName) -> FolderStatus:
        raw = self.raw(folder)
        self._leave(raw)
        with self._opening(folder):
            reply = self.connection.command("STATUS", quote(raw), self._status_items(), what=folder)
        for status in self._statuses_in(reply):
            if status[0] == raw or len(reply.named(b"STATUS")) == 1:
                return _status(folder, status[1])
        raise ProtocolFault(f"{self.connection.host} did not tell the state of {folder}.")

    def statuses(self, folders: Sequence[FolderName]) -> Sequence[FolderStatus]:
        raws = {self.raw(folder): folder for folder in folders}
        connection = self.connection
        # What would be a pattern, or needs a literal (8-bit names), is asked for alone.
        plain = [raw for raw in raws if not (set(raw) & set(b"%*") or isinstance(quote(raw), Literal))]
        if len(plain) > 1 and self._list_status():
            for raw in plain:
                self._leave(raw)
            reply = connection.command(
                "LIST",
                b'""',
                b"(" + b" ".join(quote(raw) for raw in plain) + b")",
                b"RETURN (STATUS " + self._status_items() + b")",
                tolerate=(b"OK", b"NO", b"BAD"),
            )
            if reply.status == b"OK":
                found = dict(self._statuses_in(reply))
                by_list = {raws[raw]: _status(raws[raw], found[raw]) for raw in plain if raw in found}
                # A moment's trouble with one of them, and its answer is left out (RFC 5819): that is not gone.
                alone = self._each_status([folder for folder in folders if folder not in by_list])
                known = by_list | {status.folder: status for status in alone}
                return [known[folder] for folder in folders if folder in known]
        return self._each_status(folders)

    def _each_status(self, folders: Sequence[FolderName]) -> list[FolderStatus]:
        out = []
        for folder in folders:
            try:
                out.append(self.status(folder))
            except (FolderMissing, FolderRefused):
                continue
        return out

    def _leave(self, raw: bytes) -> None:
        """STATUS of the open folder may be stale, and RFC 3501 asks not to: close it first."""
        current = self.connection.selected
        if current and current.raw == raw:
            if self.connection.has("UNSELECT"):
                self.connection.unselect()
            else:
                self.connection.noop()

    def _status_items(self) -> bytes:
        return b"(" + _STATUS + (b" HIGHESTMODSEQ" if self.connection.has("CONDSTORE") else b"") + b")"

    def _statuses_in(self, reply: Reply) -> Iterator[tuple[bytes, dict[bytes, int]]]:
        for response in reply.named(b"STATUS"):
            values = self.connection.values(response)
            if len(values) < 2 or not isinstance(values[-1], tuple):
                continue
            raw = b" ".join(_as_bytes(value) for value in values[:-1])  # Exchange once left out the quotes
            pairs = values[-1]
            yield (
                b"INBOX" if raw.upper() == b"INBOX" else raw,
                {
                    _as_bytes(k).upper(): v
                    for k, v in zip(pairs[::2], pairs[1::2], strict=False)
                    if isinstance(v, int)
                },
            )

    # -- mails

    def arrivals(self, folder: FolderName, first: Uid, last: Uid | None = None) -> Iterator[Arrival]:
        selected = self._refreshed(folder)
        if last is None and selected.uid_next and selected.uid_next - first <= BATCH:
            numbers: list[bytes] = [b"%d:*" % first]
        elif last is not None and last - first < BATCH:
            numbers = [b"%d:%d" % (first, last)]
        else:
            span = b"%d:%s" % (first, b"%d" % last if last is not None else b"*")
            uids = [uid for uid in self._there(span) if uid >= first]
            numbers = [number_set(batch) for batch in _batches(uids)]
        for span in numbers:
            self._again(folder, selected)
            rows = self._describe(folder, selected.uid_validity, span)
            # n:* always gives the last mail, even below n
            yield from (rows[uid] for uid in sorted(rows) if uid >= first and (last is None or uid <= last))

    def locate(self, refs: Sequence[MessageRef]) -> Sequence[Arrival]:
        if not refs:
            return []
        folder = refs[0].folder
        selected = self._refreshed(folder)
        out: list[Arrival] = []
        for batch in _batches(self._valid(refs, folder, selected)):
            rows = self._describe(folder, selected.uid_validity, number_set(batch))
            out += (rows[uid] for uid in batch if uid in rows)
        return out

    def fetch(self, refs: Sequence[MessageRef], limit: int = FETCH_LIMIT) -> Iterator[FetchedMail]:
        by_folder: dict[FolderName, list[MessageRef]] = {}
        for ref in refs:
            by_folder.setdefault(ref.folder, []).append(ref)
        at_once = max(1, min(BATCH, BATCH_BYTES // limit))
        body = b"BODY.PEEK[]<0.%d>" % limit
        for folder, wanted in by_folder.items():
            selected = self._recent(folder)
            asked = self._asked_of_each(body)
            for batch in _batches(self._valid(wanted, folder, selected), at_once):
                self._again(folder, selected)
                rows = self._fetch_rows(folder, selected.uid_validity, number_set(batch), asked)
                described = self._described(folder, selected.uid_validity, rows)
                for uid in batch:
                    # Of the body NIL: taken away meanwhile, which is not the same as empty.
                    raw = _section(rows.get(uid, {}), b"BODY[]")
                    if raw is not None and uid in described:
                        arrival, raw = described[uid], raw[:limit]
                        yield FetchedMail(arrival, raw, complete=len(raw) < limit or arrival.size <= limit)

    def _valid(self, refs: Sequence[MessageRef], folder: FolderName, selected: Selected) -> list[int]:
        return sorted(
            {
                int(ref.uid)
                for ref in refs
                if ref.folder == folder and ref.uid_validity == selected.uid_validity
            }
        )

    def _describe(self, folder: FolderName, validity: int, numbers: bytes) -> dict[int, Arrival]:
        rows = self._fetch_rows(folder, validity, numbers, self._asked_of_each())
        return self._described(folder, validity, rows)

    def _asked_of_each(self, *more: bytes) -> list[bytes]:
        """What an Arrival is made of."""
        item = self._id_item()
        items = [b"FLAGS", b"RFC822.SIZE", b"INTERNALDATE", *more]
        if item:
            return [*items, item.item, b"BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"]
        return [*items, b"BODY.PEEK[HEADER]<0.%d>" % HEADER_BYTES]

    def _described(
        self, folder: FolderName, validity: int, rows: Mapping[int, dict[bytes, Any]]
    ) -> dict[int, Arrival]:
        item = self._id_item()
        quirk = self.connection.quirk
        out: dict[int, Arrival] = {}
        for uid, row in rows.items():
            ref = MessageRef(folder, UidValidity(validity), Uid(uid))
            size, header = row.get(b"RFC822.SIZE"), _section(row, b"BODY[HEADER")
            if not isinstance(size, int):
                continue  # not the answer to our question, or the mail is gone
            texts = (header or b"", _section(row, b"BODY[]") or b"")
            if quirk.instead and any(text.startswith(quirk.instead) for text in texts):
                continue  # a mail that was delivered begins with the lines of the servers on its way
            at = _timestamp(row.get(b"INTERNALDATE"))
            identity = _server_identity(item, row, at) if item else None
            if identity is None:
                if header is None or (item and not header):
                    continue
                identity = _header_identity(header, size, at, loose=quirk.rewrites_headers)
            out[uid] = Arrival(ref, identity, _flags(row.get(b"FLAGS")), size, at, message_id(header or b""))
        return out

    def _fetch_rows(
        self, folder: FolderName, validity: int, numbers: bytes, items: Sequence[bytes]
    ) -> dict[int, dict[bytes, Any]]:
        """UID FETCH; where the server refuses a batch, its halves, down to the mail it cannot give."""
        try:
            fetched = self.connection.fetch(numbers, items)
        except (ConnectionLost, ServerBusy):
            raise
        except MailboxError as error:
            return self._bisect(folder, validity, numbers, items, error)
        for uid in fetched.damaged:
            self.quarantined.add(MessageRef(folder, UidValidity(validity), Uid(uid)))
        return fetched.rows

    def _bisect(
        self, folder: FolderName, validity: int, numbers: bytes, items: Sequence[bytes], error: MailboxError
    ) -> dict[int, dict[bytes, Any]]:
        if self.connection.broken:
            raise error
        rows: dict[int, dict[bytes, Any]] = {}
        open_batches = [self._there(numbers)]
        refused = 0
        while open_batches:
            batch = open_batches.pop()
            if not batch:
                continue
            try:
                rows.update(self.connection.fetch(number_set(batch), items).rows)
                refused = 0
            except (ConnectionLost, ServerBusy):
                raise
            except MailboxError:
                if self.connection.broken:
                    raise
                if len(batch) > 1:
                    middle = len(batch) // 2
                    open_batches += [batch[middle:], batch[:middle]]
                    continue
                self.quarantined.add(MessageRef(folder, UidValidity(validity), Uid(batch[0])))
                refused += 1
                if refused >= REFUSALS_IN_A_ROW:
                    raise
        return rows

    def uids(self, folder: FolderName) -> Sequence[Uid]:
        self._refreshed(folder)
        return [Uid(uid) for uid in self._there(b"1:*")]

    def _there(self, span: bytes) -> list[int]:
        """UIDs of the open folder in a span, ascending. By SEARCH; where the server fails at it (Yahoo does, on some
        folders and days), by FETCH, which is forty bytes a mail instead of seven.
        """
        try:
            return self.connection.search(*((b"ALL",) if span == b"1:*" else (b"UID", span)))
        except (ConnectionLost, ServerBusy):
            raise
        except MailboxError:
            if self.connection.broken:
                raise
            return sorted(self.connection.fetch(span, [b"FLAGS"]).rows)

    def find(self, folder: FolderName, identity: Identity, message_id: str) -> Sequence[Arrival]:
        selected = self._refreshed(folder)
        uids: set[int] | None = None
        for criteria in self._criteria(identity, message_id):
            try:
                uids = set(self.connection.search(*criteria))
            except (ConnectionLost, ServerBusy):
                raise
            except MailboxError:
                if self.connection.broken:
                    raise
                continue  # not understood: the next way
            break
        if uids is None:  # a server that fails at every SEARCH must not look like one that has no such mail
            uids = set(self._there(b"1:*"))
        out: list[Arrival] = []
        for batch in _batches(sorted(uids)):
            rows = self._describe(folder, selected.uid_validity, number_set(batch))
            out += (arrival for uid, arrival in sorted(rows.items()) if arrival.identity == identity)
        return out

    def _criteria(self, identity: Identity, message_id: str) -> Iterator[tuple[bytes, ...]]:
        """Ways to narrow a search for an identity, best first. What they find is compared afterwards."""
        kind, _, value = str(identity).partition(":")
        item = self._id_item()
        if item and item.prefix == kind and item.search:
            yield item.search, quote(value.partition("@")[0].encode())
        about: tuple[bytes, ...] = ()
        if kind == "hash":
            size, at = (int(part) if part.isdigit() else 0 for part in value.split(".")[:2])
            if size > 0:
                # Servers differ in what they count (Courier: bytes on disk), and in their time zone.
                days = (_search_date(at - 2 * _DAY), _search_date(at + 2 * _DAY))
                about = (b"LARGER %d SMALLER %d" % (size // 2, size * 2), b"SINCE %s BEFORE %s" % days)
        if _PLAIN_ID.match(message_id):
            # Courier opens every file for a header: in 10,000 mails .5 s, and .09 s where size and day come first.
            yield *about, b"HEADER", b"Message-ID", quote(message_id.encode())
        if about:
            yield about

    def departed(
        self, folder: FolderName, validity: UidValidity, known: Sequence[Uid], since: int | None
    ) -> Sequence[Uid]:
        if not known:
            return []
        wanted = sorted(known)
        gone = self._vanished(folder, validity, wanted, since) if since else None
        if gone is not None:
            return gone
        selected = self._refreshed(folder)
        if selected.uid_validity != validity:
            raise FolderChanged(f"The folder {folder} has changed.")
        there = set(self._there(b"%d:%d" % (wanted[0], wanted[-1])))
        return [uid for uid in wanted if uid not in there]

    def _vanished(
        self, folder: FolderName, validity: UidValidity, wanted: Sequence[Uid], since: int
    ) -> Sequence[Uid] | None:
        """By QRESYNC, and only if the server can prove it: as many of `wanted` are left as it says. Else None.

        Mod-sequences begin anew where an index is made anew (Dovecot), HIGHESTMODSEQ may be missing or 0, and what a
        server remembers of expunged mail may end before `since`.
        """
        connection = self.connection
        if "QRESYNC" not in connection.enabled:
            return None
        asked = number_set(wanted)
        if len(asked) > ASKED_BYTES:
            return None
        found = connection.resync(self.raw(folder), validity, since, what=folder)
        if found is None:
            return None
        if found.selected.uid_validity != validity:
            raise FolderChanged(f"The folder {folder} has changed.")
        if not found.selected.highest_modseq or found.selected.highest_modseq < since:
            return None
        gone = _within(wanted, found.vanished)
        if connection.count(asked) != len(wanted) - len(gone):
            connection.enabled -= {"QRESYNC"}  # it does not know what it says: never again on this connection
            return None
        # The answer brought the flags, too. They are asked for next.
        words = {Uid(uid): _flags(flags) for uid, flags in found.flags.items()}
        self._resynced = (folder, since, found.selected.highest_modseq, words)
        return gone

    def changed_flags(self, folder: FolderName, since: int | None) -> dict[Uid, frozenset[str]]:
        selected = self._recent(folder)
        if since is not None and selected.highest_modseq and selected.highest_modseq < since:
            # Opened long ago, or counted anew from 1 (Dovecot without its index): then it would say that nothing changed.
            selected = self.connection.select(selected.raw, again=True, what=folder)
        if since is not None and selected.highest_modseq and selected.highest_modseq >= since:
            known: dict[Uid, frozenset[str]] = {}
            if self._resynced and self._resynced[:2] == (folder, since):
                _, _, since, known = self._resynced
            self._resynced = None
            fetched = self.connection.fetch(b"1:*", [b"FLAGS"], b"CHANGEDSINCE %d" % since)
            rows = fetched.rows.items()
            return known | {Uid(uid): _flags(row[b"FLAGS"]) for uid, row in rows if b"FLAGS" in row}
        if not self.connection.quirk.search_keywords:
            return {}
        try:
            uids = self.connection.search(_KEYWORD_SEARCH)
        except (ConnectionLost, ServerBusy):
            raise
        except MailboxError:
            if self.connection.broken:
                raise
            return {}  # the server cannot search for keywords
        out: dict[Uid, frozenset[str]] = {}
        for batch in _batches(uids):
            fetched = self.connection.fetch(number_set(batch), [b"FLAGS"])
            for uid, row in fetched.rows.items():
                flags = _flags(row.get(b"FLAGS"))
                if any(flag.lower() in JUNK_KEYWORDS for flag in flags):
                    out[Uid(uid)] = flags
        return out

    def add_keyword(
        self, ref: MessageRef, keyword: str, remove: Sequence[str] = (), also: Sequence[str] = ()
    ) -> bool:
        if not self.connection.quirk.keywords:
            return False
        selected = self.select(ref.folder, writable=True)
        if (
            selected.read_only
            or not selected.keeps(keyword, *also)
            or selected.uid_validity != ref.uid_validity
        ):
            return False
        self.connection.store([ref.uid], b"+FLAGS", [keyword, *also])
        if remove:
            self.connection.store([ref.uid], b"-FLAGS", list(remove))
        return True

    def room_for_keywords(self, folder: FolderName) -> bool:
        if not self.connection.quirk.keywords:
            return True
        allowed = self.select(folder, writable=True).permanent_flags
        if allowed is None:
            return True
        names = sum(not flag.startswith("\\") for flag in allowed)
        # Cyrus refuses the 101st and says all the time that others may be made.
        return names < CROWDED if "\\*" in allowed else not names

    # -- labels (Gmail's X-GM-EXT-1); implements spamd.source.LabelSession

    def add_label(self, ref: MessageRef, label: FolderName) -> bool:
        return self._change_label(ref, b"+X-GM-LABELS", label)

    def remove_label(self, ref: MessageRef, label: FolderName) -> bool:
        return self._change_label(ref, b"-X-GM-LABELS", label)

    def _change_label(self, ref: MessageRef, change: bytes, label: FolderName) -> bool:
        """Only the tagged answer may not be believed: a UID that is gone gets an OK, too. The echo is the proof."""
        self._need_labels()
        selected = self.select(ref.folder, writable=True)
        if selected.read_only or selected.uid_validity != ref.uid_validity:
            return False
        reply = self.connection.command(
            "UID STORE", number_set([ref.uid]), change, b"(" + self._label(label) + b")", what=label
        )
        for response in reply.named(b"FETCH"):
            with border(self.connection.host, self.connection.port):
                attributes = fetch_attributes(response)
            if attributes and attributes[b"UID"] == ref.uid:
                return True
        return ref in self.labels([ref])

    def labels(self, refs: Sequence[MessageRef]) -> dict[MessageRef, frozenset[FolderName]]:
        self._need_labels()
        by_folder: dict[FolderName, list[MessageRef]] = {}
        for ref in refs:
            by_folder.setdefault(ref.folder, []).append(ref)
        out: dict[MessageRef, frozenset[FolderName]] = {}
        for folder, wanted in by_folder.items():
            selected = self._refreshed(folder)
            validity = UidValidity(selected.uid_validity)
            for batch in _batches(self._valid(wanted, folder, selected)):
                rows = self._fetch_rows(folder, validity, number_set(batch), [b"X-GM-LABELS"])
                for uid, row in rows.items():
                    found = row.get(b"X-GM-LABELS")
                    if isinstance(found, tuple):
                        words = frozenset(_label_name(_as_bytes(word)) for word in found)
                        out[MessageRef(folder, validity, Uid(uid))] = words
        return out

    def labelled(self, folder: FolderName, label: FolderName) -> Sequence[Uid]:
        self._need_labels()
        self._refreshed(folder)
        return [Uid(uid) for uid in self.connection.search(b"X-GM-LABELS", self._label(label))]

    def _label(self, label: FolderName) -> bytes:
        """As an argument. System labels (a backslash in front) are atoms, ours are the names of their folders."""
        if str(label).startswith("\\"):
            return str(label).encode("ascii")
        return quote(self._raw.get(label) or names.encode(label))

    def _need_labels(self) -> None:
        if not self.connection.has("X-GM-EXT-1"):
            raise FolderRefused(f"{self.connection.host} has no labels.")

    def headers(self, folder: FolderName, uids: Sequence[Uid], names: Sequence[str]) -> dict[Uid, bytes]:
        selected = self._refreshed(folder)
        fields = b" ".join(name.upper().encode("ascii") for name in names)
        item = b"BODY.PEEK[HEADER.FIELDS (" + fields + b")]"
        out: dict[Uid, bytes] = {}
        for batch in _batches(sorted(uids)):
            rows = self._fetch_rows(folder, selected.uid_validity, number_set(batch), [item])
            for uid, row in rows.items():
                header = _section(row, b"BODY[HEADER")
                if header is not None:
                    out[Uid(uid)] = header
        return out

    def begin_bulk(self) -> None:
        self.connection.compress()

    def bytes_received(self) -> int:
        return self.connection.received

    def close(self) -> None:
        self.connection.close()


def open_session(account: Account, credential: Credential) -> ImapSession:
    """Connect and sign in. Raises what connection.connect raises."""
    connection = connect(account, credential)
    try:
        if connection.quirk.qresync:
            connection.enable("QRESYNC")  # only possible now: no folder is open yet
    except BaseException:
        connection.drop()
        raise
    return ImapSession(connection, account)


def message_id(header: bytes) -> str:
    """The Message-ID without angle brackets; "" where there is none."""
    if b"essage-" not in header and b"ESSAGE-" not in header:
        return ""
    match = re.search(rb"^message-id:((?:.|\r?\n[ \t])*)", header, re.IGNORECASE | re.MULTILINE)
    if not match:
        return ""
    text = " ".join(match.group(1).decode("utf-8", "replace").split())
    inner = _MESSAGE_ID.search(text)
    return (inner.group(1) if inner else text.strip("<> "))[:998]


def fingerprint(header: bytes) -> str:
    """sha256 of a header, hex; the same however its lines end."""
    lines = header.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n")
    return hashlib.sha256(lines.replace(b"\n", b"\r\n")).hexdigest()


def _server_identity(item: IdItem, row: dict[bytes, Any], at: float) -> Identity | None:
    value = row.get(item.key)
    while isinstance(value, tuple):
        value = value[0] if value else None
    if isinstance(value, int):
        value = b"%d" % value
    if not value:
        return None
    text = bytes(value).decode("ascii", "backslashreplace").strip("()")
    if item.of_content:
        text += f"@{int(at)}"  # tells copies apart that arrived at different times
    return Identity(f"{item.prefix}:{text}")


def _header_identity(header: bytes, size: int, at: float, *, loose: bool) -> Identity:
    if not loose:
        return Identity(f"hash:{size}.{int(at)}.{fingerprint(header)[:40]}")
    parsed = email.message_from_bytes(header)
    kept = [" ".join(str(parsed.get(name, "")).split()) for name in ("Message-ID", "Date", "From", "Subject")]
    digest = hashlib.sha256("\n".join(kept).encode("utf-8", "surrogateescape")).hexdigest()
    return Identity(f"hash:0.0.{digest[:40]}")


def _flags(value: Any) -> frozenset[str]:
    return _flag_names(value) if isinstance(value, tuple) else frozenset()


@functools.lru_cache(maxsize=256)  # the same few on all mail: one set instead of one for each
def _flag_names(flags: tuple[Any, ...]) -> frozenset[str]:
    return frozenset(_as_bytes(flag).decode("utf-8", "replace") for flag in flags)


def _label_name(raw: bytes) -> FolderName:
    """Gmail writes system labels with a backslash, and doubles it inside quotes."""
    return (
        FolderName("\\" + raw.lstrip(b"\\").decode("utf-8", "replace"))
        if raw[:1] == b"\\"
        else names.decode(raw)
    )


def _as_bytes(value: object) -> bytes:
    """An atom: imapclient makes a number of "123" and None of "NIL", also where it is a name."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, int):
        return b"%d" % value
    return b"NIL" if value is None else b""


def _plain_text(response: Response) -> Iterator[bytes]:
    for source in response.sources:
        yield source[0] if isinstance(source, tuple) else source


def _section(row: dict[bytes, Any], prefix: bytes) -> bytes | None:
    for key, value in row.items():
        if key.startswith(prefix):
            return value if isinstance(value, bytes) else (b"%d" % value if isinstance(value, int) else None)
    return None


def _search_date(at: float) -> bytes:
    """A day as SEARCH wants it: 2-Nov-2026, whatever the locale."""
    day = datetime.datetime.fromtimestamp(max(at, 0), datetime.UTC)
    return b"%d-%s-%04d" % (day.day, _MONTHS[day.month - 1], day.year)


def _timestamp(value: object) -> float:
    if not isinstance(value, datetime.datetime):
        return 0.0
    try:
        return value.timestamp()
    except (OverflowError, ValueError, OSError):
        return 0.0


def _within(uids: Sequence[Uid], ranges: Sequence[tuple[int, int]]) -> list[Uid]:
    """Of these (ascending) the ones in any of the ranges."""
    found: set[Uid] = set()
    for start, end in ranges:
        found.update(uids[bisect.bisect_left(uids, start) : bisect.bisect_right(uids, end)])
    return sorted(found)


def _batches(uids: Sequence[int], size: int = BATCH) -> Iterator[Sequence[int]]:
    for start in range(0, len(uids), size):
        yield uids[start : start + size]


def _listed(reply: Reply) -> Iterator[Listed]:
    for response in reply.responses:
        if response.name not in (b"LIST", b"XLIST"):  # either may answer either
            continue
        entry = _list_entry(response)
        if entry is not None:
            yield entry


def _list_entry(response: Response) -> Listed | None:
    try:
        values = parse_values(response.sources)
    except Exception:  # noqa: BLE001 - the parser raises many kinds; go on with the other folders
        return None
    if len(values) < 3 or not isinstance(values[0], tuple):
        return None
    attributes = frozenset(_as_bytes(attribute).decode("ascii", "replace").lower() for attribute in values[0])
    separator = "" if values[1] is None else _as_bytes(values[1]).decode("ascii", "replace")
    return Listed(attributes, separator, _as_bytes(values[2]))


def _prefixes(part: object) -> tuple[bytes, ...]:
    if not isinstance(part, tuple):
        return ()
    return tuple(_as_bytes(entry[0]) for entry in part if isinstance(entry, tuple) and entry)


def _status(folder: FolderName, values: dict[bytes, int]) -> FolderStatus:
    return FolderStatus(
        folder,
        UidValidity(values.get(b"UIDVALIDITY", 0)),
        Uid(values.get(b"UIDNEXT", 0)),
        values.get(b"MESSAGES", 0),
        values.get(b"HIGHESTMODSEQ") or None,
    )
