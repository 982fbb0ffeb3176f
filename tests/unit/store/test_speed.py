"""With 100,000 judgements every page is answered from an index: the query plans are read, not the clock."""

from __future__ import annotations

import pytest

from spamd.domain import (
    TRY_AGAIN,
    AccountName,
    Identity,
    LabelSource,
    ModelId,
    MoveKind,
    MoveState,
    Uid,
    UidValidity,
    Verdict,
)
from spamd.store.database import Store

ROWS = 100_000
HOME = AccountName("home")
START = 1_700_000_000.0


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """Two accounts, 90 days; every hundredth mail labelled, one in five junk, one in fifty unsure."""
    with Store(tmp_path_factory.mktemp("big") / "spamd.db", clock=lambda: START + 90 * 86400) as store:
        numbers = (
            f"WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {ROWS})"
        )
        account = "CASE n % 4 WHEN 0 THEN 'work' ELSE 'home' END"
        at = f"{START} + n * 90.0 * 86400 / {ROWS}"
        verdict = "CASE WHEN n % 50 = 7 THEN 'unsure' WHEN n % 5 = 0 THEN 'junk' ELSE 'keep' END"
        with store._write() as db:
            db.execute(
                f"{numbers} INSERT INTO judgement (account, identity, at, probability, logit, base_logit, model_id,"
                " verdict, move, reason, explanation, folder, sender, subject, snippet, sender_domain, link_hosts,"
                f" moved, first_probability, first_at) SELECT {account}, 'hash:' || n, {at}, 0.5, 0, 0, 'base-1',"
                f" {verdict}, 0, 'score', '', 'INBOX', 'ann' || n || '@x.example', 'common rare' || n, '',"
                f" 'x.example', 'y.example', n % 5 = 0, 0.5, {at} FROM number"
            )
            db.execute(
                f"{numbers} INSERT INTO label (account, identity, label, source, weight, at, model_id, note, held,"
                f" current) SELECT {account}, 'hash:' || n, 'ham', 'drag', 1, {at} + 5, '', '', 0, 1 FROM number"
                " WHERE n % 99 = 0"
            )
            db.execute("UPDATE judgement SET label = 'ham' WHERE id % 99 = 0")
            db.execute(
                f"{numbers} INSERT INTO vector (account, identity, at, data)"
                f" SELECT {account}, 'hash:' || n, {at}, x'00' FROM number WHERE n % 99 = 0"
            )
            db.execute(
                f"{numbers} INSERT INTO sighting (account, folder, uid_validity, uid, identity, keywords, seen_at,"
                f" message_id, size, internal_date) SELECT {account}, 'INBOX', 1, n, 'hash:' || n, '', {at}, n, 1, 1"
                " FROM number"
            )
            db.execute(
                f"{numbers} INSERT INTO move (account, identity, kind, state, source_folder, source_uid_validity,"
                " source_uid, target, target_uid_validity, target_uid, message_id, size, created_at,"
                f" changed_at, model_id, error) SELECT {account}, 'hash:' || n, 'junk', 'done', 'INBOX', 1, n, 'Junk',"
                f" 7, n, '', 1, {at}, {at}, 'base-1', '' FROM number WHERE n % 5 = 0"
            )
            db.execute(
                f"{numbers} INSERT INTO event (at, kind, text, needs_person) SELECT {at}, 'move', '', 0 FROM number"
            )
        yield store


ANSWERS = {
    "page": lambda s: s.judgements(),
    "page after": lambda s: s.judgements(before_id=50_000),
    "page of account": lambda s: s.judgements(account=HOME, before_id=50_000),
    "junk": lambda s: s.judgements(verdict=Verdict.JUNK),
    "junk of account": lambda s: s.judgements(verdict=Verdict.JUNK, account=HOME, before_id=50_000),
    "review": lambda s: s.judgements(verdict=Verdict.UNSURE, labelled=False, since=START),
    "review of account": lambda s: s.judgements(verdict=Verdict.UNSURE, labelled=False, account=HOME),
    "unsure and answered": lambda s: s.judgements(verdict=Verdict.UNSURE, labelled=True),
    "labelled": lambda s: s.judgements(labelled=True),
    "labelled of account": lambda s: s.judgements(labelled=True, account=HOME),
    "today": lambda s: s.judgements(since=START + 89 * 86400, until=START + 90 * 86400),
    "one": lambda s: s.judgement_of(HOME, Identity("hash:5")),
    "by message id": lambda s: s.judgement_by_message_id("77"),
    "search rare": lambda s: s.search("rare777"),
    "search common": lambda s: s.search("common"),
    "counts": lambda s: s.counts(HOME, START + 83 * 86400),
    "counts of all": lambda s: s.counts(None, START + 83 * 86400),
    "trends": lambda s: s.daily_counts(START + 60 * 86400),
    "link hosts": lambda s: s.link_hosts(START + 80 * 86400),
    "labels": lambda s: s.labels(limit=50),
    "labels of account": lambda s: s.labels(HOME, limit=50),
    "held": lambda s: s.labels(held=True, limit=50),
    "label of": lambda s: s.label_of(HOME, Identity("hash:99")),
    "past": lambda s: s.past_of(HOME, [Identity("hash:99")]),
    "training set": lambda s: list(s.training_set(until=START + 1e9, limit=100)),
    "evidence": lambda s: s.evidence_points(HOME),
    "vector": lambda s: s.vector_of(HOME, Identity("hash:99")),
    "similar": lambda s: list(s.vectors(HOME, limit=100)),
    "sighting": lambda s: s.sighting_of(HOME, Identity("hash:5")),
    "moves": lambda s: s.moves(limit=50),
    "moves of account": lambda s: s.moves(HOME, limit=50),
    "moves of model": lambda s: s.moves(model_id=ModelId("base-1"), since=START, limit=50),
    "moves done": lambda s: s.moves(HOME, kind=MoveKind.JUNK, state=MoveState.DONE, limit=50),
    "left behind": lambda s: s.left_behind(HOME, START + 89 * 86400, TRY_AGAIN),
    "open moves": lambda s: s.open_moves(HOME),
    "move of": lambda s: s.move_of(HOME, Identity("hash:5")),
    "was moved": lambda s: s.was_moved(HOME, Identity("hash:5")),
    "flood brake": lambda s: s.moves_since(HOME, START + 89.9 * 86400),
    "claimed": lambda s: s.claimed_uids(HOME, "Junk", 8),
    "events": lambda s: s.events(),
    "events that need someone": lambda s: s.events(needs_person=True),
}


def plans(store, ask):
    """The query plan of every statement that answering takes."""
    statements = []
    with store._read() as db:  # the pool holds this one reader, so that the question below gets it
        db.set_trace_callback(statements.append)
        store._readers.clear()
    try:
        ask(store)
    finally:
        with store._read() as db:
            db.set_trace_callback(None)
            lines = [
                (sql, row["detail"])
                for sql in dict.fromkeys(statements)
                if sql.lstrip().upper().startswith(("SELECT", "WITH"))
                and "judgement_text_" not in sql  # FTS5's own
                for row in db.execute("EXPLAIN QUERY PLAN " + sql)
            ]
    return lines


@pytest.mark.parametrize("name", ANSWERS)
def test_answered_from_an_index(big, name):
    lines = plans(big, ANSWERS[name])
    assert lines
    for sql, detail in lines:
        whole_table = detail.startswith("SCAN") and "INDEX" not in detail and "VIRTUAL TABLE" not in detail
        assert not whole_table or detail in ("SCAN event", "SCAN (subquery-1)"), (detail, sql)
        sorts = "TEMP B-TREE" in detail
        assert not sorts or name in ("by message id", "sighting", "move of"), (detail, sql)


@pytest.mark.parametrize("name", ["counts", "counts of all", "trends"])
def test_counted_without_the_rows(big, name):
    assert {detail for _, detail in plans(big, ANSWERS[name]) if "COVERING INDEX" not in detail} == set()


@pytest.mark.parametrize("sender", ["shop.example", "someone@gmail.com"])
def test_whether_good_mail_came_of_a_sender_looks_at_mail_of_theirs_alone(big, sender):
    ((_, detail),) = plans(big, lambda store: store.good_mail_came_from(HOME, sender, START))
    assert f"(account=? AND sender{'' if '@' in sender else '_domain'}=? AND first_at<?)" in detail


def test_writing_stays_cheap(big, rows):
    """One more mail: no statement of it looks at the others."""
    statements = []
    with big._outside_transaction() as db:
        db.set_trace_callback(statements.append)
    try:
        big.record_judgement(
            rows.judgement("new"), vector=b"v", intents=[rows.move(1, identity=Identity("hash:new"))]
        )
        big.add_label(rows.label("new"))
        big.set_keywords(HOME, rows.ref(3), ["Junk"])
        big.mark_gone(HOME, "INBOX", UidValidity(1), [Uid(3)], START)
    finally:
        with big._outside_transaction() as db:
            db.set_trace_callback(None)
    with big._read() as db:
        db.execute("PRAGMA query_only = OFF")
        for sql in statements:
            if sql.startswith("--") or sql.split()[0] not in ("SELECT", "UPDATE", "DELETE"):
                continue
            for row in db.execute("EXPLAIN QUERY PLAN " + sql):
                assert not row["detail"].startswith("SCAN"), (row["detail"], sql)
        db.execute("PRAGMA query_only = ON")


def test_sources_are_told_apart(big):
    assert big.labels(source=LabelSource.REVIEW, limit=5) == []
