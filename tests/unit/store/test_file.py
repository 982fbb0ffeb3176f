"""The file itself: opening, migrating, refusing; locked, full, damaged; threads; closing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
import time

import pytest

from spamd.domain import LabelSource
from spamd.errors import StoreBusy, StoreDamaged, StoreError, StoreFull
from spamd.store import connection, database, schema
from spamd.store.database import Store


def test_made_for_one_person_only(store, path, rows):
    store.record_judgement(rows.judgement(1), vector=None)
    if os.name == "posix":
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_opened_again_everything_is_there(path, rows):
    with Store(path) as store:
        store.record_judgement(rows.judgement(1), vector=b"v")
    with Store(path) as store:
        assert len(store.judgements()) == 1
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_an_up_to_date_database_needs_no_sqlite_utils(path):
    Store(path).close()
    code = (
        "import sys; from pathlib import Path; from spamd.store.database import Store\n"
        "Store(Path(sys.argv[1])).close(); print('sqlite_utils' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


class TestMigrations:
    @pytest.fixture
    def grown(self, monkeypatch):
        """A later version of the program, with two more migrations."""

        def add_colour(db):
            db.table("judgement").add_column("colour", str)

        def add_taste(db):
            db.table("list_entry").transform(types={}, rename={}, drop=set(), not_null={"uses"})
            db.table("taste").create({"id": int}, pk="id")

        monkeypatch.setattr(
            schema,
            "MIGRATIONS",
            (*schema.MIGRATIONS, ("later-colour", add_colour), ("later-taste", add_taste)),
        )

    def test_a_copy_is_made_first(self, path, rows, request):
        with Store(path) as store:
            store.record_judgement(rows.judgement(1), vector=b"v")
        request.getfixturevalue("grown")
        with Store(path) as store:
            assert len(store.judgements()) == 1
            with store._read() as db:
                assert schema.applied(db)[-2:] == ("later-colour", "later-taste")
        [copy] = path.parent.glob("*.before-*")
        assert copy.name == "spamd.db.before-later-colour"
        with sqlite3.connect(copy) as db:
            assert db.execute("SELECT count(*) FROM judgement").fetchone() == (1,)
            assert "colour" not in {row[1] for row in db.execute("PRAGMA table_info(judgement)")}
        db.close()

    def test_silence_of_the_first_form_weighs_as_while_nothing_is_known(self, path, rows, monkeypatch):
        """There the weight was that of the person's habit of the day, and what had no label was not noted as left."""
        monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        long_ago = time.time() - 100 * 86400.0
        with Store(path) as store:
            store.add_sightings([rows.sighting(4)])
            for n in range(1, 4):
                note = "answered" if n == 3 else "opened and left"
                store.add_label(rows.label(n, "ham", "implicit", long_ago + 4e5, weight=0.07 * n, note=note))
            store.add_label(rows.label(1, "spam", "drag", long_ago + 5e5))
            with store._write() as db:
                for n in range(1, 6):
                    db.execute(
                        "INSERT INTO judgement VALUES (NULL, ?1, ?2, ?3, .1, -2, -2, 'base', NULL, ?4, 0, 'score', '', 'INBOX',"
                        " '', '', '', '', '', 0, NULL, .1, ?3)",
                        (rows.account, rows.identity(n), long_ago, "unsure" if n == 2 else "keep"),
                    )
        monkeypatch.undo()
        with Store(path) as store:
            assert {one.identity: one.weight for one in store.labels()} == {
                rows.identity(1): 1.0,
                rows.identity(2): 0.1,
                rows.identity(3): 0.3,
            }
            assert store.judgement_of(rows.account, rows.identity(1)).sender_proof is None
            found = store.spoken_or_heard(rows.account, [rows.identity(n) for n in range(1, 6)])
            assert found == {
                rows.identity(1): LabelSource.DRAG,
                rows.identity(2): LabelSource.IMPLICIT,
                rows.identity(3): LabelSource.IMPLICIT,
                rows.identity(4): None,
            }
            with store._read() as db:
                times = dict(db.execute("SELECT identity, left_at FROM judgement"))
            assert [times[rows.identity(n)] for n in range(1, 6)] == [
                long_ago + 4e5,
                long_ago + 4e5,
                None,
                long_ago + 3 * 86400.0,
                None,
            ]

    def test_a_journal_of_the_first_form_is_read(self, path, rows, monkeypatch):
        """With a move that was under way, and one that was done."""
        monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        with Store(path) as store, store._write() as db:
            for n, state in ((1, "intent"), (2, "done")):
                db.execute(
                    "INSERT INTO move VALUES (NULL, ?1, ?2, 'junk', ?3, 'INBOX', 7, ?4, 'Junk', 7, 100, NULL, 'm@x', 1000,"
                    " 'abcd', 5.0, 6.0, 'base', '')",
                    (rows.account, rows.identity(n), state, n),
                )
        monkeypatch.undo()
        with Store(path) as store:
            done, begun = store.moves(rows.account)
            assert (done.identity, done.state.value, done.created_at) == (rows.identity(2), "done", 5.0)
            assert store.open_moves(rows.account) == [begun] and begun.message_id == "m@x"
            assert (begun.changed_at, begun.model_id, begun.error) == (6.0, "base", "")

    def test_all_or_nothing(self, path, rows, monkeypatch):
        with Store(path) as store:
            store.record_judgement(rows.judgement(1), vector=b"v")

        def good(db):
            db.table("judgement").add_column("colour", str)

        def bad(db):
            db.table("taste").create({"id": int}, pk="id")
            db.execute("SELECT * FROM nowhere")

        monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("good", good), ("bad", bad)))
        with pytest.raises(StoreError):
            Store(path)
        monkeypatch.undo()
        with Store(path) as store:
            assert len(store.judgements()) == 1

    def test_a_newer_version_s_database_is_refused_untouched(self, path, request, monkeypatch):
        request.getfixturevalue("grown")
        Store(path).close()
        monkeypatch.undo()
        before = path.read_bytes()
        with pytest.raises(StoreDamaged, match="newer version") as refused:
            Store(path)
        assert refused.value.hint
        assert path.read_bytes() == before

    def test_reading_only_migrates_nothing(self, path, request):
        Store(path).close()
        request.getfixturevalue("grown")
        with pytest.raises(StoreError, match="older form"):
            Store(path, read_only=True)

    def test_names_are_unique_and_the_first_has_not_changed(self):
        names = [name for name, _ in schema.MIGRATIONS]
        assert len(set(names)) == len(names)
        assert names[0] == "2026-11-first-tables"


class TestReadOnly:
    def test_sees_what_is_written_meanwhile(self, store, path, rows):
        with Store(path, read_only=True) as reader:
            store.record_judgement(rows.judgement(1), vector=None)
            assert len(reader.judgements()) == 1
            with pytest.raises(StoreError, match="reading only"):
                reader.set_state("a", "b")

    def test_there_must_be_a_database(self, path):
        with pytest.raises(StoreError, match="no database"):
            Store(path, read_only=True)
        assert not path.exists()


class TestTrouble:
    @pytest.mark.scenario(37)
    def test_locked_by_another_program(self, store, path, rows, monkeypatch):
        monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            with Store(path) as second, pytest.raises(StoreBusy) as busy:
                second.record_judgement(rows.judgement(1), vector=None)
            assert "locked" in busy.value.title
        finally:
            other.execute("ROLLBACK")
            other.close()
        store.record_judgement(rows.judgement(1), vector=None)

    @pytest.mark.scenario(37)
    def test_full_disk_loses_nothing_and_heals(self, store, rows):
        store.record_judgement(rows.judgement(1), vector=None)
        with store._write() as db:
            pages = db.execute("PRAGMA page_count").fetchone()[0]
        with store._outside_transaction() as db:
            db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreFull):
            store.record_judgement(rows.judgement(2), vector=b"x" * 1_000_000)
        assert [one.id for one in store.judgements()] == [1]
        with store._outside_transaction() as db:
            db.execute("PRAGMA max_page_count = 1000000")
        store.record_judgement(rows.judgement(2), vector=b"x" * 1_000_000)
        assert len(store.judgements()) == 2

    @pytest.mark.skipif(os.name == "nt", reason="no open file can be removed there")
    def test_removed_or_replaced_while_it_is_open(self, path, rows):
        with Store(path) as store:
            store.record_judgement(rows.judgement(1), vector=None)
            assert not (store.removed or store.replaced)
            shutil.rmtree(path.parent)
            assert store.removed
            store.record_judgement(rows.judgement(2), vector=None)
            store.write_back(path)
            assert store.replaced
        with Store(path) as store:
            assert len(store.judgements()) == 2
            assert not (store.removed or store.replaced)

    def test_not_a_database(self, path):
        path.parent.mkdir()
        path.write_bytes(b"this is a letter, not a database\n" * 1000)
        with pytest.raises(StoreDamaged) as damaged:
            Store(path)
        assert "no mail is lost" in damaged.value.hint
        assert path.read_bytes().startswith(b"this is a letter")

    @pytest.mark.scenario(37)
    def test_damaged_in_the_middle(self, path, rows):
        with Store(path) as store:
            for n in range(500):
                store.record_judgement(rows.judgement(n, subject="x" * 100), vector=b"y" * 400)
        content = bytearray(path.read_bytes())
        for start in range(40_000, len(content) - 5000, 20_000):
            content[start : start + 4096] = os.urandom(4096)
        path.write_bytes(bytes(content))
        with pytest.raises(StoreDamaged):
            Store(path)
        with pytest.raises(StoreDamaged):
            database.check(path)

    def test_cut_short(self, path, rows):
        with Store(path) as store:
            for n in range(300):
                store.record_judgement(rows.judgement(n), vector=b"y" * 400)
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(StoreDamaged):
            Store(path)

    def test_a_folder_in_its_place(self, path):
        path.mkdir(parents=True)
        with pytest.raises(StoreError):
            Store(path)

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError):
            Store(tmp_path / "file" / "state" / "spamd.db")

    def test_a_writer_killed_in_the_middle(self, path, rows):
        """kill -9 within a transaction: what was committed is there, what was not is not."""
        code = (
            "import os, signal, sys; from pathlib import Path; from spamd.store.database import Store\n"
            "store = Store(Path(sys.argv[1])); store.set_state('committed', 'yes')\n"
            "with store.transaction():\n"
            "    store.set_state('open', 'yes'); os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
        assert done.returncode != 0
        with Store(path) as store:
            assert (store.state("committed"), store.state("open")) == ("yes", None)


class TestThreads:
    def test_many_writers_and_readers(self, store, rows):
        errors = []

        def work(start):
            try:
                for n in range(start, start + 20):
                    store.record_judgement(rows.judgement(n), vector=b"v", sighting=rows.sighting(n + 1))
                    assert store.judgement_of(rows.account, rows.identity(n)) is not None
                    store.judgements(limit=5)
            except Exception as exc:  # noqa: BLE001 shown by the test
                errors.append(exc)

        threads = [threading.Thread(target=work, args=(n * 100,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert store.counts(None, 0)["junk"] == 120
        assert len(store._readers) <= connection.IDLE_READERS

    def test_readers_go_on_while_a_transaction_is_open(self, store, rows):
        store.record_judgement(rows.judgement(1), vector=None)
        with store.transaction():
            store.record_judgement(rows.judgement(2), vector=None)
            found = []
            thread = threading.Thread(target=lambda: found.append(len(store.judgements())))
            thread.start()
            thread.join()
        assert found == [1]

    def test_a_half_read_answer_outlives_close(self, path, rows):
        store = Store(path)
        for n in range(300):
            store.put_vector(rows.account, rows.identity(n), b"v" * 100)
        answers = store.vectors(rows.account)
        next(answers)
        store.close()
        assert sum(1 for _ in answers) == 299
        with pytest.raises(StoreError, match="closed"):
            store.judgements()
        with pytest.raises(StoreError, match="closed"):
            store.set_state("a", "b")
        store.close()


def test_transaction_undoes_all_of_the_block(store, rows):
    with pytest.raises(KeyError), store.transaction():
        store.add_label(rows.label(1))
        store.set_state("a", "b")
        raise KeyError
    assert store.labels() == []
    assert store.state("a") is None


def test_backup_to(store, rows, tmp_path):
    store.record_judgement(rows.judgement(1), vector=b"v")
    target = tmp_path / "copy.db"
    store.backup_to(target)
    with Store(target) as copy:
        assert copy.judgements() == store.judgements()
    if os.name == "posix":
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with pytest.raises(StoreError):
        store.backup_to(tmp_path / "nowhere" / "copy.db")
