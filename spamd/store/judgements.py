"""Verdicts and what may be shown of the mail: recording, paging, searching, counting. And feature vectors."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from spamd.domain import (
    AccountName,
    DayCount,
    Decision,
    FolderName,
    Identity,
    Judgement,
    Label,
    LabelSource,
    ModelId,
    MoveRecord,
    Score,
    Sighting,
    Verdict,
)
from spamd.judgement.silence import LEFT
from spamd.store.connection import ASKED_FOR, Connections, Row, asked
from spamd.store.folders import insert_sightings
from spamd.store.labels import shown_label
from spamd.store.moves import insert_move

Display = Literal["nothing", "headers", "snippet"]
DISPLAYS: tuple[Display, ...] = ("nothing", "headers", "snippet")
SUBJECT_LIMIT = 500  # characters kept for display
SNIPPET_LIMIT = 300
TOGETHER = 16
"""Judgements written by one statement: 126 us of CPU each alone, 93 by 16, 86 by 64."""
UNWELCOME = 3
"""What a person called junk of one sender, from which on they mean the sender: one may be a finger that slipped, or a friend's
account in other hands for a day."""
LOOKED_AT = 86_400.0
"""Seconds after which a mail that nobody complained of was seen: what came since this morning may be the rest of a flood."""
VOUCHING_MAILS = 100
VOUCHING_LEAST = 20
VOUCHING_SHARE = 0.2
"""Of the newest mails, in how many the server's word must be found. Not more: some providers fetch mail from elsewhere, too."""
SENDER_LIMIT = 320  # RFC 5321 4.5.3.1: 64 + 1 + 255

_SHOWN_TEXT = "judgement.sender || char(10) || judgement.subject || char(10) || judgement.snippet"
_NEWEST_FIRST = "ORDER BY at DESC, id DESC LIMIT ?"


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """What is written down of one mail: all of it, or none."""

    judgement: Judgement
    vector: bytes | None = None
    intents: tuple[MoveRecord, ...] = ()
    sighting: Sighting | None = None


class Judgements(Connections):
    """Table judgement, its full text, and table vector."""

    # ---- writing

    def record_judgement(
        self,
        judgement: Judgement,
        *,
        vector: bytes | None,
        intents: Sequence[MoveRecord] = (),
        sighting: Sighting | None = None,
    ) -> tuple[Judgement, list[MoveRecord]]:
        """One Entry: see `record`."""
        ((stored, moves),) = self.record([Entry(judgement, vector, tuple(intents), sighting)])
        return stored, moves

    def record(self, entries: Sequence[Entry]) -> list[tuple[Judgement, list[MoveRecord]]]:
        """All of them in one transaction: each one costs a wait for the disk. The judgements and intents as stored.

        A mail has one judgement: judged again, it keeps its number, its first score and its mark. An intent
        for a mail that was already moved once is left out of what is returned.
        """
        recorded: list[tuple[Judgement, list[MoveRecord]]] = []
        with self._write() as db:
            display = display_of(db)
            for start in range(0, len(entries), TOGETHER):
                some = entries[start : start + TOGETHER]
                shown = [trimmed(entry.judgement, display) for entry in some]
                values = [value for judgement in shown for value in _values(judgement)]
                rows = {
                    (row["account"], row["identity"]): row
                    for row in db.execute(_recording(len(some)), values)
                }
                _put_vectors(
                    db,
                    (
                        (one.account, one.identity, one.at, entry.vector)
                        for one, entry in zip(shown, some, strict=True)
                        if entry.vector is not None
                    ),
                )
                insert_sightings(db, (entry.sighting for entry in some if entry.sighting is not None))
                for entry, judgement in zip(some, shown, strict=True):
                    row = rows[judgement.account, judgement.identity]
                    label = Label(row["label"]) if row["label"] else None
                    # One after the other: two intents for one mail must not both pass.
                    moves = [move for one in entry.intents if (move := insert_move(db, one, self.clock()))]
                    stored = dataclasses.replace(
                        judgement, id=row["id"], moved=bool(row["moved"]), label=label
                    )
                    recorded.append((stored, moves))
        return recorded

    def rescore(self, scores: Mapping[tuple[AccountName, Identity], float]) -> None:
        """What is known as the probability of these mails before they were learned: told anew by a model without them."""
        with self._write() as db:
            db.executemany(
                "UPDATE judgement SET first_probability = ? WHERE account = ? AND identity = ?",
                [(probability, *mail) for mail, probability in scores.items()],
            )

    # ---- asking

    def judgement(self, judgement_id: int) -> Judgement | None:
        row = self._one("SELECT * FROM judgement WHERE id = ?", (judgement_id,))
        return _judgement(row) if row else None

    def judgement_of(self, account: AccountName, identity: Identity) -> Judgement | None:
        row = self._one("SELECT * FROM judgement WHERE account = ? AND identity = ?", (account, identity))
        return _judgement(row) if row else None

    def good_mail_came_from(self, account: AccountName, sender: str, before: float) -> bool:
        """Did a mail that the server proved to be of this sender (a registered domain, or an address) come before that time, and was
        it good: by the person's word, or by ours and no other word of theirs?
        """
        row = self._one(
            f"SELECT 1 FROM judgement WHERE account = ? AND {'sender' if '@' in sender else 'sender_domain'} = ?"
            " AND sender_proof = 'proven' AND first_at < ? AND coalesce(label, verdict) IN ('ham', 'keep') LIMIT 1",
            (account, sender, before),
        )
        return row is not None

    def called_good_unproven(self, account: AccountName, sender: str) -> bool:
        """Has the person called a mail of this address good that the server did not prove? Or filed it; not: left it lying."""
        row = self._one(
            "SELECT 1 FROM label JOIN judgement USING (account, identity) WHERE label.account = ? AND label.current = 1"
            " AND label.label = 'ham' AND source != 'implicit' AND sender = ? AND sender_proof NOT IN ('', 'proven') LIMIT 1",
            (account, sender),
        )
        return row is not None

    def server_vouches(self, account: AccountName) -> bool:
        """Does the account's server write what it found of senders? One that does writes it into nearly every mail. Of another all
        that is found was written by the senders themselves, who know its name. Asked of mail that is kept: a flood may write
        what it likes. True while little is known.
        """
        row = self._one(
            "SELECT count(*), sum(sender_proof != '') FROM (SELECT sender_proof FROM judgement WHERE account = ?"
            " AND sender_proof IS NOT NULL AND coalesce(label, verdict) IN ('ham', 'keep') ORDER BY first_at DESC LIMIT ?)",
            (account, VOUCHING_MAILS),
        )
        return row is None or row[0] < VOUCHING_LEAST or row[1] >= VOUCHING_SHARE * row[0]

    def unwelcome(self, account: AccountName, senders: Iterable[str]) -> set[str]:
        """Of these addresses those of whom the person called `UNWELCOME` mails junk or more, until as many good ones came after the
        last of these: good by the person's word, or kept for a day without another one. (A friend's account is in other hands
        for some days, not for ever; and who begins again needs to be named once.) Of mail that the server proved to be
        theirs, as far as senders are kept. What lay in Junk when the account was set up was put there by whatever filter:
        a friend's mail, perhaps, that is sorely missed.
        """
        theirs = "judgement.account = ?1 AND sender = ?2 AND sender_proof = 'proven'"
        junk = (
            "SELECT count(*), max(first_at) FROM judgement JOIN label AS said ON said.account = judgement.account"
            " AND said.identity = judgement.identity AND said.current = 1"
            f" WHERE {theirs} AND judgement.label = 'spam' AND said.source != 'folder'"
        )
        good = (
            f"SELECT count(*) FROM judgement WHERE {theirs} AND first_at > ?3"
            " AND (label = 'ham' OR (label IS NULL AND verdict = 'keep' AND first_at < ?4))"
        )
        found = set()
        for sender in senders:
            named = self._one(junk, (account, sender))
            if named is None or named[0] < UNWELCOME:
                continue
            since = self._one(good, (account, sender, named[1], self.clock() - LOOKED_AT))
            if since is None or since[0] < UNWELCOME:
                found.add(sender)
        return found

    def judgement_by_message_id(self, message_id: str, *, size: int | None = None) -> list[Judgement]:
        """Judgements of mails seen with this Message-ID (header, without angle brackets): the newest 20.

        size: those of this many bytes before all others, however many copies came after them.
        """
        rows = self._all(
            "SELECT judgement.*, max(sighting.size IS ?) AS of_size"
            " FROM sighting JOIN judgement USING (account, identity)"
            " WHERE sighting.message_id = ? AND sighting.message_id != ''"
            " GROUP BY judgement.id ORDER BY of_size DESC, at DESC, judgement.id DESC LIMIT 20",
            (size, message_id),
        )
        return [_judgement(row) for row in rows]

    def judgements(
        self,
        *,
        account: AccountName | None = None,
        verdict: Verdict | None = None,
        since: float | None = None,
        until: float | None = None,
        before_id: int | None = None,
        limit: int = 50,
        labelled: bool | None = None,
    ) -> list[Judgement]:
        """One page, newest first. since <= at < until; before_id: the last number of the page before."""
        with self._read() as db:
            where, values = _conditions(account, verdict, labelled)
            if since is not None:
                where.append("at >= ?")
                values.append(since)
            if until is not None:
                where.append("at < ?")
                values.append(until)
            if before_id is not None:
                last = db.execute("SELECT at FROM judgement WHERE id = ?", (before_id,)).fetchone()
                if last is None:  # gone meanwhile: numbers rise with time
                    where.append("id < ?")
                    values.append(before_id)
                else:
                    where.append("(at, id) < (?, ?)")
                    values += [last["at"], before_id]
            sql = f"SELECT * FROM judgement WHERE {' AND '.join(where)} {_NEWEST_FIRST}"
            return [_judgement(row) for row in db.execute(sql, (*values, limit))]

    def search(
        self, text: str, limit: int = 50, before_id: int | None = None, account: AccountName | None = None
    ) -> list[Judgement]:
        """Judgements whose sender, subject or snippet has all these words (or words that begin so)."""
        words = search_words(text)
        unspaced = [word for word in words if _UNSPACED.search(word)]
        query = full_text_query([word for word in words if word not in unspaced])
        if not words:
            return []
        before = before_id if before_id is not None else 2**62
        source, order, where, values = "judgement", "id", ["id < ?"], list[object]([before])
        if query:
            source, order = (
                "judgement_text JOIN judgement ON id = judgement_text.rowid",
                "judgement_text.rowid",
            )
            where, values = ["judgement_text MATCH ?", "judgement_text.rowid < ?"], [query, before]
        for word in unspaced:
            # A script without spaces is one long token for FTS5; here the row is searched, 60 ms for 100,000.
            where.append(f"instr({_SHOWN_TEXT}, ?) > 0")
            values.append(word)
        if account is not None:
            where.append("account = ?")
            values.append(account)
        rows = self._all(
            f"SELECT judgement.* FROM {source} WHERE {' AND '.join(where)} ORDER BY {order} DESC LIMIT ?",
            (*values, limit),
        )
        return [_judgement(row) for row in rows]

    def evidence_points(self, account: AccountName) -> list[tuple[float, Label, float, float]]:
        """(probability, label, when labelled, weight) of each labelled mail, as scored before learning it.

        What was only left lying is no word, however good a lesson it may be: there the weight is the one that is written
        down, `silence.LEFT` at most. What was handed over as a file teaches, but did not come to this mailbox.
        """
        rows = self._all(
            "SELECT first_probability, label.label, label.at,"
            f" CASE label.source WHEN 'implicit' THEN min(label.weight, {LEFT}) ELSE label.weight END FROM label"
            " JOIN judgement USING (account, identity)"
            " WHERE label.account = ? AND label.current = 1 AND label.held = 0 AND label.at >= first_at"
            " AND label.source != 'teach' ORDER BY label.at",
            (account,),
        )
        return [(row[0], Label(row[1]), row[2], row[3]) for row in rows]

    def spoken_or_heard(
        self, account: AccountName, identities: Iterable[Identity]
    ) -> dict[Identity, LabelSource | None]:
        """Those of which a label holds, with its source; and those without one whose silence was heard (None)."""
        rows = self._all(
            "SELECT judgement.identity, source FROM judgement LEFT JOIN label ON label.account = judgement.account"
            " AND label.identity = judgement.identity AND current = 1"
            f" WHERE judgement.account = ? AND judgement.{ASKED_FOR} AND (source IS NOT NULL OR left_at IS NOT NULL OR heard)",
            (account, asked(identities)),
        )
        return {Identity(row[0]): LabelSource(row[1]) if row[1] else None for row in rows}

    def note_heard(
        self, account: AccountName, heard: Iterable[Identity], left: Iterable[Identity], at: float
    ) -> None:
        """The silence about these mails was heard. left: those that lie in the inbox, opened and left; the first time counts."""
        with self._write() as db:
            db.execute(
                f"UPDATE judgement SET heard = 1 WHERE account = ? AND {ASKED_FOR}", (account, asked(heard))
            )
            db.execute(
                f"UPDATE judgement SET left_at = ? WHERE account = ? AND {ASKED_FOR} AND left_at IS NULL",
                (at, account, asked(left)),
            )

    def first_scores(self, account: AccountName, since: float) -> Iterator[tuple[Judgement, float]]:
        """Each mail that arrived since then, newest first, with its probability before it was learned."""
        with self._read() as db:
            for row in db.execute(
                "SELECT * FROM judgement WHERE account = ? AND first_at >= ? AND reason != 'before'"
                " ORDER BY first_at DESC, id DESC",
                (account, since),
            ):
                yield _judgement(row), float(row["first_probability"])

    def labelled_judgements(self) -> Iterator[Judgement]:
        """Of every mail that is labelled, or was left without a word, its first score, without text: for a backup."""
        with self._read() as db:
            for row in db.execute(
                "SELECT judgement.* FROM judgement LEFT JOIN label ON label.account = judgement.account"
                " AND label.identity = judgement.identity AND current = 1"
                " WHERE source IS NOT NULL OR left_at IS NOT NULL ORDER BY judgement.id"
            ):
                found = trimmed(_judgement(row), "nothing")
                first = dataclasses.replace(found.score, probability=float(row["first_probability"]))
                yield dataclasses.replace(found, id=0, at=float(row["first_at"]), score=first, label=None)

    def counts(self, account: AccountName | None, since: float) -> dict[str, int]:
        """Judgements since then by verdict, and "moved" and "corrected": junk that the person took back, and what was not
        taken for junk, doubtful or good, that they called junk. Without the mail that lay in folders before: nobody judged it.
        """
        where, values = _conditions(account, None, None)
        row = self._one(
            f"SELECT {_SUMS} FROM judgement WHERE {' AND '.join(where)} AND at >= ? AND reason != 'before'",
            (*values, since),
        )
        sums = {name: int(row[name] or 0) for name in _SUM_NAMES} if row else dict.fromkeys(_SUM_NAMES, 0)
        sums["corrected"] = sums["false_positives"] + sums["missed"]
        return sums

    def good_judged(self, model_id: ModelId, since: float) -> dict[AccountName, int]:
        """By account, the mails that this model has judged since then and that are good, as far as is known."""
        rows = self._all(
            "SELECT account, count(*) FROM judgement WHERE at >= ? AND model_id = ? AND reason != 'before'"
            " AND (label IS 'ham' OR (label IS NULL AND verdict != 'junk')) GROUP BY account",
            (since, model_id),
        )
        return {AccountName(row[0]): int(row[1]) for row in rows}

    def daily_counts(
        self, since: float, *, account: AccountName | None = None, until: float | None = None
    ) -> list[DayCount]:
        """One row per day of this computer's time zone, oldest first, also without mail; 400 at most. Of the same mail as
        `counts`."""
        end = self.clock() if until is None else until
        where, values = _conditions(account, None, None)
        sql = f"SELECT {_SUMS} FROM judgement WHERE {' AND '.join(where)} AND at >= ? AND at < ? AND reason != 'before'"
        first = datetime.datetime.fromtimestamp(since).date()  # noqa: DTZ006 the person's days
        days = []
        with self._read() as db:
            last = datetime.datetime.fromtimestamp(end).date()  # noqa: DTZ006
            first = max(first, last - datetime.timedelta(days=399))
            for offset in range((last - first).days + 1):
                day = first + datetime.timedelta(days=offset)
                span = (_midnight(day), _midnight(day + datetime.timedelta(days=1)))
                row = db.execute(sql, (*values, *span)).fetchone()
                days.append(DayCount(day.isoformat(), **{name: int(row[name] or 0) for name in _SUM_NAMES}))
        return days

    def link_hosts(
        self, since: float, *, verdict: Verdict = Verdict.JUNK, limit: int = 20
    ) -> list[tuple[str, int]]:
        """The hosts most linked to, with the number of mails."""
        rows = self._all(
            "SELECT link_hosts FROM judgement WHERE verdict = ? AND at >= ? ORDER BY at DESC LIMIT 5000",
            (verdict, since),
        )
        counted: dict[str, int] = {}
        for row in rows:
            for host in set(filter(None, row[0].split("\n"))):
                counted[host] = counted.get(host, 0) + 1
        return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]

    # ---- vectors

    def put_vector(self, account: AccountName, identity: Identity, vector: bytes) -> None:
        with self._write() as db:
            _put_vectors(db, [(account, identity, self.clock(), vector)])

    def vector_of(self, account: AccountName, identity: Identity) -> bytes | None:
        row = self._one("SELECT data FROM vector WHERE account = ? AND identity = ?", (account, identity))
        return bytes(row[0]) if row else None

    def labelled_vectors(self) -> Iterator[tuple[AccountName, Identity, bytes]]:
        """Of every labelled mail: for a backup."""
        with self._read() as db:
            for row in db.execute(
                "SELECT account, identity, data FROM vector JOIN label USING (account, identity)"
                " WHERE current = 1 ORDER BY vector.rowid"
            ):
                yield AccountName(row[0]), Identity(row[1]), bytes(row[2])

    def vectors(
        self, account: AccountName, *, since: float = 0.0, limit: int = 5000
    ) -> Iterator[tuple[Identity, bytes]]:
        """The newest vectors, newest first: to look for similar mail."""
        with self._read() as db:
            for row in db.execute(
                "SELECT identity, data FROM vector WHERE account = ? AND at >= ? ORDER BY at DESC LIMIT ?",
                (account, since, limit),
            ):
                yield Identity(row[0]), bytes(row[1])


_GIVEN = (
    "account",
    "identity",
    "at",
    "probability",
    "logit",
    "base_logit",
    "model_id",
    "copy_of",
    "verdict",
    "move",
    "reason",
    "explanation",
    "folder",
    "sender",
    "subject",
    "snippet",
    "sender_domain",
    "link_hosts",
    "moved",
    "sender_proof",
    "left_at",
)
_KEPT = frozenset({"account", "identity", "moved", "left_at"})


@functools.cache
def _recording(count: int) -> str:
    """Writes so many judgements. In one statement, as the full text is written out after each."""
    rows = []
    for first in range(1, 1 + count * len(_GIVEN), len(_GIVEN)):
        place = {name: f"?{number}" for number, name in enumerate(_GIVEN, first)}
        label = shown_label(place["account"], place["identity"])
        rows.append(f"({', '.join(place.values())}, {label}, {place['probability']}, {place['at']})")
    renewed = ", ".join(f"{name} = excluded.{name}" for name in (*_GIVEN, "label") if name not in _KEPT)
    return (
        f"INSERT INTO judgement ({', '.join(_GIVEN)}, label, first_probability, first_at)"
        f" VALUES {', '.join(rows)} ON CONFLICT (account, identity) DO UPDATE SET {renewed}"
        " RETURNING account, identity, id, moved, label"
    )


def _values(judgement: Judgement) -> tuple[object, ...]:
    """In the order of _GIVEN."""
    score, decision = judgement.score, judgement.decision
    return (
        judgement.account,
        judgement.identity,
        judgement.at,
        score.probability,
        score.logit,
        score.base_logit,
        score.model_id,
        score.copy_of,
        decision.verdict,
        decision.move,
        decision.reason,
        decision.explanation,
        judgement.folder,
        judgement.sender,
        judgement.subject,
        judgement.snippet,
        judgement.sender_domain,
        "\n".join(judgement.link_hosts),
        judgement.moved,
        judgement.sender_proof,
        judgement.left_at,
    )


_SUMS = """
    sum(verdict = 'keep') AS keep, sum(verdict = 'unsure') AS unsure, sum(verdict = 'junk') AS junk,
    sum(moved) AS moved, sum(verdict = 'junk' AND label IS 'ham') AS false_positives,
    sum(verdict != 'junk' AND label IS 'spam') AS missed
"""
_SUM_NAMES = ("keep", "unsure", "junk", "moved", "false_positives", "missed")


def _midnight(day: datetime.date) -> float:
    return datetime.datetime.combine(day, datetime.time()).timestamp()


def _conditions(
    account: AccountName | None, verdict: Verdict | None, labelled: bool | None
) -> tuple[list[str], list[object]]:
    where, values = ["1 = 1"], list[object]()
    if account is not None:
        where.append("account = ?")
        values.append(account)
    if verdict is not None:
        where.append("verdict = ?")
        values.append(verdict)
    if labelled is not None:
        where.append("label IS NOT NULL" if labelled else "label IS NULL")
    return where, values


def display_of(db: sqlite3.Connection) -> Display:
    row = db.execute("SELECT value FROM state WHERE key = 'display'").fetchone()
    return next((one for one in DISPLAYS if row and one == row[0]), "headers")


def trimmed(judgement: Judgement, display: Display) -> Judgement:
    """Without what may not be kept, and the rest at a length that can be shown."""
    if display == "nothing":
        return dataclasses.replace(
            judgement, sender="", subject="", snippet="", sender_domain="", link_hosts=()
        )
    return dataclasses.replace(
        judgement,
        sender=_clean(judgement.sender, SENDER_LIMIT),
        subject=_clean(judgement.subject, SUBJECT_LIMIT),
        snippet=_clean(judgement.snippet, SNIPPET_LIMIT) if display == "snippet" else "",
        sender_domain=_clean(judgement.sender_domain, 255),
        link_hosts=tuple(
            _clean(host, 255).replace("\n", "") for host in judgement.link_hosts[:20] if host.strip("\n")
        ),
    )


def _clean(text: str, limit: int) -> str:
    if text.isascii() and "\x00" not in text:
        return text[:limit]
    # Lone surrogates come from broken headers and are no UTF-8; NUL ends a text for SQLite's functions.
    return text[:limit].replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def blank(db: sqlite3.Connection, where: str, values: Sequence[object]) -> int:
    """Forget what is kept for display: rows changed."""
    return db.execute(
        "UPDATE judgement SET sender = '', subject = '', snippet = '', sender_domain = '', link_hosts = ''"
        " WHERE (sender != '' OR subject != '' OR snippet != '' OR sender_domain != '' OR link_hosts != '')"
        f" AND {where}",
        values,
    ).rowcount


# Thai to Burmese, Khmer, kana, Han
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def search_words(text: str) -> list[str]:
    """What was typed, as words: at most 20, of at most 100 characters, each with something to look for."""
    plain = text.replace("\x00", " ").encode("utf-8", "replace").decode("utf-8")
    return [word[:100] for word in plain.split()[:20] if any(one.isalnum() for one in word[:100])]


def full_text_query(words: Sequence[str]) -> str:
    """An FTS5 query for these words: each quoted (nothing in it is an operator), as a prefix."""
    return " ".join('"' + word.replace('"', '""') + '"*' for word in words)


def _put_vectors(db: sqlite3.Connection, rows: Iterable[tuple[str, str, float, bytes]]) -> None:
    """Account, identity, time and vector of each."""
    db.executemany(
        "INSERT INTO vector (account, identity, at, data) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (account, identity) DO UPDATE SET data = excluded.data, at = excluded.at",
        rows,
    )


def _judgement(row: Row) -> Judgement:
    return Judgement(
        id=row["id"],
        account=AccountName(row["account"]),
        identity=Identity(row["identity"]),
        at=float(row["at"]),
        score=Score(
            probability=float(row["probability"]),
            logit=float(row["logit"]),
            base_logit=float(row["base_logit"]),
            model_id=ModelId(row["model_id"]),
            copy_of=Label(row["copy_of"]) if row["copy_of"] else None,
        ),
        decision=Decision(
            verdict=Verdict(row["verdict"]),
            move=bool(row["move"]),
            reason=row["reason"],
            explanation=row["explanation"],
        ),
        sender=row["sender"],
        subject=row["subject"],
        snippet=row["snippet"],
        sender_domain=row["sender_domain"],
        link_hosts=tuple(filter(None, row["link_hosts"].split("\n"))),
        folder=FolderName(row["folder"]),
        label=Label(row["label"]) if row["label"] else None,
        moved=bool(row["moved"]),
        sender_proof=row["sender_proof"],
        left_at=row["left_at"],
    )
