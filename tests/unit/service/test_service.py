"""The files that start us with the session: what they say, that odd paths survive, only ours are touched."""

from __future__ import annotations

import configparser
import os
import plistlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from spamd import paths, service
from spamd.errors import AutostartError
from spamd.service import launchd, owned, plan, signed_in, systemd, task_scheduler, xdg_autostart

ODD = "/opt/a b/100%/it's $HOME & co\\x/spamdctl"


def a_plan(tmp_path: Path, **changes: object) -> plan.Plan:
    values: dict[str, object] = {
        "daemon": (str(Path("/usr/bin/true")), "run"),
        "tray": ("/usr/bin/true",),
        "folders": (tmp_path / "config", tmp_path / "state"),
        "environment": {},
    }
    return plan.Plan(**{**values, **changes})  # type: ignore[arg-type]


# --- which command


def test_a_link_on_the_path_is_preferred_and_not_resolved(tmp_path: Path) -> None:
    own = tmp_path / "venvs/spamd-desktop/bin/spamdctl"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    link = tmp_path / "local/bin/spamdctl"
    link.parent.mkdir(parents=True)
    link.symlink_to(own)
    prefix = tmp_path / "venvs/spamd-desktop"
    assert plan.program("spamdctl", prefix=prefix, search=str(link.parent)) == link
    # Another installation's script of the same name is not ours.
    stranger = tmp_path / "other/spamdctl"
    stranger.parent.mkdir()
    stranger.write_text("#!/bin/sh\nexit 1\n")
    stranger.chmod(0o755)
    assert plan.program("spamdctl", prefix=prefix, search=str(stranger.parent)) == own


def test_without_a_script_the_environments_own_python_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, "program", lambda name: None)
    words = plan.command("spamdctl", ["run"], module="spamd")
    assert words == (str(Path(sys.executable).absolute()), "-m", "spamd", "run")


def test_the_environment_that_finds_our_files_is_passed_on() -> None:
    kept = plan.environment({"SPAMD_HOME": "/x y", "XDG_DATA_HOME": "", "SECRET": "no", "PATH": "/bin"})
    assert kept["SPAMD_HOME"] == "/x y"
    assert not {"SECRET", "PATH", "XDG_DATA_HOME"} & set(kept)


# --- systemd


def test_a_private_tmp_unless_something_of_ours_lies_below_tmp(tmp_path: Path) -> None:
    elsewhere = a_plan(tmp_path, folders=(Path("/home/a/.config/spamd-desktop"),))
    text = systemd.render(elsewhere)
    assert "PrivateTmp=yes" in text
    assert "/var/tmp" not in text
    for changes in (
        {"folders": (Path("/tmp/x"),)},
        {"folders": (Path("/var/tmp/x"),)},
        {"folders": (), "daemon": ("/tmp/checkout/.venv/bin/spamdctl", "run")},
        {"folders": (), "mail": (Path("/tmp/mail"),)},
        {"folders": (), "environment": {"PYTHONPATH": "/tmp/checkout"}},
    ):
        text = systemd.render(a_plan(tmp_path, **changes))
        assert "PrivateTmp=no\nReadWritePaths=/tmp /var/tmp" in text, changes


def test_the_home_is_read_only_unless_a_password_command_may_write_there(tmp_path: Path) -> None:
    where = paths.find({"SPAMD_HOME": str(tmp_path)})
    dotfiles = tmp_path / "dotfiles"
    dotfiles.mkdir()
    where.config.mkdir()
    (dotfiles / "spamd.toml").write_text('secrets = "file"\n')
    where.config_file.symlink_to(dotfiles / "spamd.toml")
    plain = service.plan_for(where)
    assert dotfiles in plain.folders  # a linked configuration is written where it is
    assert "ProtectHome=read-only" in systemd.render(plain)
    (dotfiles / "spamd.toml").write_text('secrets = "command"\n')
    assert "ProtectHome=no" in systemd.render(service.plan_for(where))
    (dotfiles / "spamd.toml").write_text("damaged [")
    assert "ProtectHome=read-only" in systemd.render(service.plan_for(where))


def test_a_link_into_tmp_counts_as_tmp(tmp_path: Path) -> None:
    link = tmp_path / "spamdctl"
    link.symlink_to("/tmp/spamd-elsewhere/spamdctl")
    assert "PrivateTmp=no" in systemd.render(a_plan(tmp_path, folders=(), daemon=(str(link), "run")))


def test_control_characters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AutostartError):
        systemd.render(a_plan(tmp_path, daemon=("/a\nExecStart=/bin/evil", "run")))
    with pytest.raises(AutostartError):
        systemd.render(a_plan(tmp_path, folders=(Path("/a\nb"),)))
    with pytest.raises(AutostartError):
        systemd.render(a_plan(tmp_path, folders=(Path("/a'b\"c"),)))


needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (Debian: systemd)"
)


def analyze(runtime: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "SYSTEMD_LOG_LEVEL": "warning"}
    return subprocess.run(
        ["systemd-analyze", "--user", *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@needs_analyze
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path, socket_folder: Path) -> None:
    folder = tmp_path / "it's 100% $odd & co"
    program = folder / 'spam "ctl"'
    folder.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / systemd.UNIT
    wanted = a_plan(
        tmp_path,
        daemon=(str(program), "run", 'a "b" %h \\x'),
        folders=(folder, tmp_path / "plain"),
        mail=(tmp_path / "Mail dir",),
        environment={"SPAMD_HOME": str(folder)},
    )
    unit.write_text(systemd.render(wanted))
    done = analyze(socket_folder, "verify", "--recursive-errors=yes", str(unit))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_analyze
def test_a_misspelt_key_would_be_found(tmp_path: Path, socket_folder: Path) -> None:
    unit = tmp_path / systemd.UNIT
    unit.write_text(systemd.render(a_plan(tmp_path)).replace("ProtectSystem=", "ProtectSytem="))
    done = analyze(socket_folder, "verify", "--recursive-errors=yes", str(unit))
    assert "ProtectSytem" in done.stderr


@needs_analyze
def test_the_exposure_stays_low(tmp_path: Path, socket_folder: Path) -> None:
    unit = tmp_path / systemd.UNIT
    unit.write_text(systemd.render(a_plan(tmp_path, folders=(Path("/home/a/.config/spamd-desktop"),))))
    done = analyze(socket_folder, "security", "--offline=yes", "--threshold=25", "--no-pager", str(unit))
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= 2.5, done.stdout


# --- XDG autostart


def read_exec(line: str) -> list[str]:
    """Exec= the way a desktop reads it: string escapes, then quoting, then field codes."""
    unescaped = re.sub(r"\\(.)", lambda found: {"s": " ", "n": "\n", "t": "\t"}.get(found[1], found[1]), line)
    words = re.findall(r'"((?:\\.|[^"\\])*)"|(\S+)', unescaped)
    return [(re.sub(r"\\(.)", r"\1", quoted) or plain).replace("%%", "%") for quoted, plain in words]


def test_odd_paths_survive_a_desktop_entry(tmp_path: Path) -> None:
    text = xdg_autostart.render("tray", [ODD, "-x"], {"SPAMD_HOME": '/a b/`c`"d'})
    reader = configparser.RawConfigParser(strict=True)
    reader.optionxform = str  # type: ignore[assignment,method-assign]
    reader.read_string(text)
    words = read_exec(reader["Desktop Entry"]["Exec"])
    assert words == ["env", 'SPAMD_HOME=/a b/`c`"d', ODD, "-x"]


@pytest.mark.skipif(
    shutil.which("desktop-file-validate") is None,
    reason="desktop-file-validate is missing (Debian: desktop-file-utils)",
)
@pytest.mark.parametrize("name", ["daemon", "tray"])
def test_the_desktop_entry_is_valid(tmp_path: Path, name: str) -> None:
    entry = tmp_path / "x.desktop"
    entry.write_text(xdg_autostart.render(name, [ODD, "run"], {"SPAMD_HOME": "/a b"}))
    done = subprocess.run(["desktop-file-validate", str(entry)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


# --- launchd, Task Scheduler


@pytest.mark.parametrize("name", ["daemon", "tray"])
def test_the_launchd_agent_round_trips(name: str) -> None:
    read = plistlib.loads(launchd.render(name, [ODD, "run"], {"SPAMD_HOME": "/ä & <b>"}))
    assert read["ProgramArguments"] == [ODD, "run"]
    assert read["EnvironmentVariables"] == {"SPAMD_HOME": "/ä & <b>"}
    assert read["Label"] == launchd.LABELS[name]
    assert read["RunAtLoad"] is True
    assert read["KeepAlive"] == {"SuccessfulExit": False}


def test_the_task_is_utf16_and_says_what_to_start() -> None:
    raw = task_scheduler.render("daemon", ["C:\\Program Files\\R&D\\spamdctl.exe", "run"], {})
    assert raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    spaces = {"t": "http://schemas.microsoft.com/windows/2004/02/mit/task"}
    action = ElementTree.fromstring(raw).find("t:Actions/t:Exec", spaces)
    assert action is not None
    assert action.findtext("t:Command", namespaces=spaces) == "C:\\Program Files\\R&D\\spamdctl.exe"
    assert action.findtext("t:Arguments", namespaces=spaces) == "run"
    assert action.findtext("t:WorkingDirectory", namespaces=spaces) == "C:\\Program Files\\R&D"
    raw = task_scheduler.render("tray", ["C:\\a b\\spamd-tray.exe"], {"SPAMD_HOME": "D:\\x y"})
    arguments = ElementTree.fromstring(raw).findtext("t:Actions/t:Exec/t:Arguments", namespaces=spaces)
    assert arguments == '/d /s /c "set "SPAMD_HOME=D:\\x y" && "C:\\a b\\spamd-tray.exe""'


# --- only ours


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> paths.Paths:
    """A session without a user manager, everything below tmp_path."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SPAMD_HOME", str(tmp_path / "spamd home"))
    for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return paths.find()


@pytest.mark.skipif(sys.platform != "linux", reason="XDG autostart is for Linux")
def test_install_twice_and_uninstall_leave_nothing(session: paths.Paths, tmp_path: Path) -> None:
    assert not service.status(session).installed
    first = service.install(session, start=False)
    again = service.install(session, start=False)
    assert first == again
    assert first.installed
    assert {part.name: part.current for part in first.parts} == {"daemon": True, "tray": True}
    assert service.status(session) == first
    folder = tmp_path / ".config/autostart"
    assert sorted(entry.name for entry in folder.iterdir()) == ["spamd-desktop.desktop", "spamd-tray.desktop"]
    assert not service.uninstall(session).installed
    assert list(folder.iterdir()) == []
    assert not service.uninstall(session).installed  # again: nothing to do


@pytest.mark.skipif(sys.platform != "linux", reason="XDG autostart is for Linux")
def test_an_entry_of_another_version_is_called_out_of_date(session: paths.Paths) -> None:
    service.install(session, start=False)
    entry = service.status(session).parts[0].file
    entry.write_text(entry.read_text() + "X-Old=true\n")
    after = service.status(session)
    assert not after.parts[0].current
    assert any("Out of date: daemon" in note for note in after.notes)
    assert service.install(session, start=False).parts[0].current


@pytest.mark.skipif(sys.platform != "linux", reason="XDG autostart is for Linux")
def test_somebody_elses_file_is_left_alone(session: paths.Paths, tmp_path: Path) -> None:
    folder = tmp_path / ".config/autostart"
    folder.mkdir(parents=True)
    theirs = folder / "spamd-desktop.desktop"
    theirs.write_text("[Desktop Entry]\nName=mine\n")
    with pytest.raises(AutostartError, match="not written by spamd"):
        service.install(session, start=False)
    service.uninstall(session)
    assert theirs.read_text() == "[Desktop Entry]\nName=mine\n"
    theirs.unlink()
    theirs.symlink_to(tmp_path / "dotfiles")  # a dangling link of the person's
    with pytest.raises(AutostartError):
        owned.write(theirs, owned.MARK.encode())


def test_nothing_is_half_written(tmp_path: Path) -> None:
    tmp_path = tmp_path / "own"
    tmp_path.mkdir()
    target = tmp_path / "folder"
    target.write_text("a file where a folder should be")
    with pytest.raises(AutostartError):
        owned.write(target / "x.service", b"x")
    owned.write(tmp_path / "fine", owned.MARK.encode())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["fine", "folder"]


@pytest.mark.parametrize(
    ("platform", "kinds"),
    [
        ("linux", ["xdg autostart", "xdg autostart"]),
        ("darwin", ["launchd", "launchd"]),
        ("win32", ["task scheduler", "task scheduler"]),
    ],
)
def test_the_platform_is_chosen_in_one_place(tmp_path: Path, platform: str, kinds: list[str]) -> None:
    where = paths.find({"SPAMD_HOME": str(tmp_path)})
    found = service.entries(where, platform=platform, environ={}, home=tmp_path)
    assert [entry.kind for entry in found] == kinds


@pytest.mark.skipif(sys.platform != "linux", reason="XDG autostart is for Linux")
def test_without_a_desktop_no_start_at_the_next_sign_in_is_promised(
    session: paths.Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads the entry there. On a desktop it is read."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_CURRENT_DESKTOP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(signed_in, "BOOTED", tmp_path / "no systemd")
    (alone,) = service.install(session).notes
    assert "next sign-in" not in alone and "nothing starts the filter" in alone
    assert f"@reboot env 'SPAMD_HOME={tmp_path}/spamd home' " in alone and alone.endswith(" run --quiet")
    assert service.status(session).notes == (alone,)
    monkeypatch.setenv("SPAMD_HOME", str(tmp_path / "50%"))
    escaped = service.status(paths.find()).notes[0]  # and that the entry is out of date
    assert f"SPAMD_HOME={tmp_path}/50\\% " in escaped.replace("'", "")
    monkeypatch.setenv("SPAMD_HOME", str(tmp_path / "spamd home"))
    (tmp_path / "no systemd").mkdir()  # there is one, and this shell does not reach it
    (su,) = service.status(session).notes
    assert "sign in as yourself" in su and "crontab" not in su
    monkeypatch.setenv("XDG_CURRENT_DESKTOP", "XFCE")
    assert service.install(session).notes == ("The filter starts with your next sign-in.",)
    assert service.status(session).notes == ()
    assert service.uninstall(session).notes == ()


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is for Linux")
@pytest.mark.parametrize(
    ("said", "told"),
    [("Linger=no\nDisplay=", True), ("Linger=yes\nDisplay=", False), ("Linger=no\nDisplay=c2", False)],
    ids=["signed in over ssh", "may linger", "over ssh to a computer with a desktop"],
)
def test_a_unit_that_ends_with_the_last_sign_out_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, told: bool
) -> None:
    """loginctl needs a computer that systemd runs: its answers are those of systemd 252."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "loginctl").write_text(f"#!/bin/sh\nprintf '{said}\\n'\n")
    (programs / "loginctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert ("enable-linger" in signed_in.by_systemd({})) is told
    assert signed_in.by_systemd({"WAYLAND_DISPLAY": "wayland-0"}) == ""


def test_a_user_manager_is_preferred(tmp_path: Path) -> None:
    where = paths.find({"SPAMD_HOME": str(tmp_path)})
    (tmp_path / "run/systemd").mkdir(parents=True)
    (tmp_path / "run/systemd/private").touch()
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "run")}
    daemon, tray = service.entries(where, platform="linux", environ=environ, home=tmp_path)
    assert (daemon.kind, tray.kind) == ("systemd", "xdg autostart")
    assert daemon.file == tmp_path / ".config/systemd/user/spamd-desktop.service"
