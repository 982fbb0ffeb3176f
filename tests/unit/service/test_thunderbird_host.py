"""The program that Thunderbird starts: its conversation over real pipes, and its registration."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from spamd import thunderbird_host as host
from spamd.errors import AutostartError, RequestError
from spamd.paths import Paths, find

RUN = {"port": 4711, "token": "secret-token", "pid": os.getpid(), "version": "1.2", "started_at": 1.0}


def packed(value: object) -> bytes:
    body = json.dumps(value).encode()
    return struct.pack("=I", len(body)) + body


def unpacked(raw: bytes) -> list[dict[str, object]]:
    found, stream = [], io.BytesIO(raw)
    while head := stream.read(4):
        found.append(json.loads(stream.read(struct.unpack("=I", head)[0])))
    return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("SPAMD_HOME", str(tmp_path / "spamd home's"))
    where = find()
    where.make()
    return where


def ask(home: Paths, raw: bytes) -> tuple[int, list[dict[str, object]]]:
    sink = io.BytesIO()
    return host.serve(io.BytesIO(raw), sink, home), unpacked(sink.getvalue())


def test_port_and_token_of_the_running_daemon(home: Paths) -> None:
    home.run_file.write_text(json.dumps(RUN))
    code, answers = ask(home, packed({"ask": "connection"}) * 2)
    assert code == 0
    assert answers == [{"port": 4711, "token": "secret-token", "version": "1.2"}] * 2


def test_a_pasted_key_lasts_and_is_not_the_token(home: Paths) -> None:
    home.run_file.write_text(json.dumps(RUN))
    first = host.pasteable(home)
    port, _, key = first.partition(":")
    assert port == "4711" and len(key) > 40 and key != RUN["token"]
    if os.name == "posix":
        assert home.addon_key.stat().st_mode & 0o077 == 0
    home.run_file.write_text(json.dumps({**RUN, "token": "of-another-run"}))
    assert host.pasteable(home) == first
    home.run_file.write_text(json.dumps({**RUN, "port": 4712}))
    moved = host.pasteable(home)
    assert moved.startswith("4712:") and key not in moved, "another key for another port"
    for damaged in ("", "[]", "{}", '{"port": 4712, "key": 5}', '{"port": 4712, "key": "short"}'):
        home.addon_key.write_text(damaged)
        assert len(host.pasteable(home)) > 40
    assert home.addon_key in host.uninstall(home.data, paths=home) and not home.addon_key.exists()


def test_thunderbird_in_a_box_is_noticed(tmp_path: Path) -> None:
    assert host.boxed(tmp_path) == ()
    (tmp_path / ".var/app/org.mozilla.Thunderbird").mkdir(parents=True)
    assert host.boxed(tmp_path) == ("Flatpak",)
    (tmp_path / "snap/thunderbird").mkdir(parents=True)
    assert host.boxed(tmp_path) == ("Snap", "Flatpak")


def gone_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "[]",
        "null",
        '{"port": 1}',
        "[" * 50_000,
        '{"port": 99999, "token": "x", "pid": 1}',
        '{"port": true, "token": 5, "pid": 1}',
        "gone",
    ],
)
def test_no_daemon_or_a_damaged_run_file_is_said_in_words(home: Paths, content: str | None) -> None:
    if content == "gone":
        content = json.dumps({**RUN, "pid": gone_pid()})
    if content is not None:
        home.run_file.write_text(content)
    code, answers = ask(home, packed({"ask": "connection"}))
    assert code == 0
    assert set(answers[0]) == {"error", "hint"}


def test_strange_questions_get_an_error_not_a_crash(home: Paths) -> None:
    home.run_file.write_text(json.dumps(RUN))
    assert "error" in ask(home, packed({"ask": "token please"}))[1][0]
    for raw in (
        b"\x01",
        struct.pack("=I", 10) + b"{}",
        struct.pack("=I", 0xFFFFFFFF),
        packed([1]),
        struct.pack("=I", 3) + b"\xff\xfe\xfd",
        packed("x" * (host.MAX_QUESTION + 1)),
    ):
        code, answers = ask(home, raw)
        assert code == 1
        assert set(answers[0]) == {"error", "hint"}
    with pytest.raises(RequestError):
        host.read_message(io.BytesIO(struct.pack("=I", 30_000) + b"[" * 30_000))


@pytest.mark.skipif(os.name == "nt", reason="the wrapper is a shell script")
def test_the_registered_program_answers_like_thunderbird_starts_it(home: Paths, tmp_path: Path) -> None:
    home.run_file.write_text(json.dumps(RUN))
    host.install(tmp_path, paths=home)
    done = host.status(tmp_path, paths=home)
    assert done.installed and done.current
    manifest = json.loads(done.manifest.read_bytes())
    assert done.manifest == tmp_path / ".mozilla/native-messaging-hosts/org.spamd.desktop.json"
    assert manifest["allowed_extensions"] == [host.ADDON_ID]
    program = Path(manifest["path"])
    assert program.is_absolute() and os.access(program, os.X_OK)
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}  # Thunderbird's environment, not ours

    def start(addon: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [program, done.manifest, addon],
            input=packed({"ask": "connection"}),
            capture_output=True,
            env=bare,
            cwd="/",
            timeout=60,
            check=False,
        )

    ours = start(host.ADDON_ID)
    assert (ours.returncode, ours.stderr) == (0, b"")
    assert unpacked(ours.stdout) == [{"port": 4711, "token": "secret-token", "version": "1.2"}]
    other = start("somebody@else")
    assert (other.returncode, other.stdout) == (1, b"")


@pytest.mark.skipif(os.name == "nt", reason="looks at the files of Linux")
def test_install_again_mends_uninstall_removes_only_ours(home: Paths, tmp_path: Path) -> None:
    done = host.status(tmp_path, paths=home)
    assert host.install(tmp_path, paths=home) == (done.executable, done.manifest)
    done.executable.write_text("old")
    assert not host.status(tmp_path, paths=home).current
    host.install(tmp_path, paths=home)
    assert host.status(tmp_path, paths=home).current
    assert host.uninstall(tmp_path, paths=home) == (done.manifest, done.executable)
    assert not done.manifest.exists() and not done.executable.exists()
    done.manifest.write_text('{"name": "theirs"}')
    with pytest.raises(AutostartError, match="not written by spamd"):
        host.install(tmp_path, paths=home)
    host.uninstall(tmp_path, paths=home)
    assert done.manifest.read_text() == '{"name": "theirs"}'


def test_the_id_is_the_addons() -> None:
    manifest = json.loads((Path(__file__).parents[3] / "plugin/thunderbird/manifest.json").read_bytes())
    assert manifest["browser_specific_settings"]["gecko"]["id"] == host.ADDON_ID


def test_the_package_holds_the_addon_and_is_the_same_each_time(tmp_path: Path) -> None:
    first, second = tmp_path / "a/one.xpi", tmp_path / "two.xpi"
    host.package(first)
    host.package(second)
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        names = archive.namelist()
    assert "manifest.json" in names and "background.js" in names
    assert not [name for name in names if name.startswith(("tests", "package.json", "."))]


def test_another_checkout_gives_the_same_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other times, other rights, and what editors and file managers leave behind."""
    host.package(tmp_path / "here.xpi")
    copy = tmp_path / "checkout"
    shutil.copytree(host.shipped_addon(), copy)
    for path in copy.rglob("*"):
        os.utime(path, (1e9, 1e9))
        if path.is_file():
            path.chmod(0o600)
    for stray in (".DS_Store", "background.js~", "lib/.api.js.swp", ".idea/workspace.json", "notes.txt"):
        (copy / stray).parent.mkdir(exist_ok=True)
        (copy / stray).write_text("x")
    monkeypatch.setattr(host, "shipped_addon", lambda: copy)
    host.package(tmp_path / "there.xpi")
    assert (tmp_path / "here.xpi").read_bytes() == (tmp_path / "there.xpi").read_bytes()
