"""The unit under a real systemd user manager: it starts in its sandbox, writes where it must, stops in time.

In a mount namespace of its own, so that nothing of this machine is touched: /run, /home and the manager are new.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MANAGER = next(
    (path for path in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd") if Path(path).exists()), None
)

SCRIPT = r"""
set -u
mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /home || { echo '{"skip": "no mounts allowed"}'; exit 0; }
mkdir -p /run/systemd/system /run/user/0 "$HOME/.config"
chmod 700 /run/user/0
nodes=/run/systemd/inaccessible  # made by the system's own systemd, where there is one
mkdir -p $nodes/dir && touch $nodes/reg && mkfifo $nodes/fifo $nodes/sock
mknod $nodes/chr c 0 0; mknod $nodes/blk b 0 0; chmod 000 $nodes/*
cp -r "$SOURCE" "$HOME/source" && cd "$HOME" || exit 1
export PYTHONPATH="$HOME/source"
export XDG_RUNTIME_DIR=/run/user/0
export DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/0/bus
dbus-daemon --session --address="$DBUS_SESSION_BUS_ADDRESS" --nofork --nopidfile >/dev/null 2>&1 &
"$MANAGER" --user >"$LOG" 2>&1 &
manager=$!
for _ in $(seq 600); do
  state=$(systemctl --user is-system-running 2>/dev/null)
  [ "$state" = running ] || [ "$state" = degraded ] && break
  kill -0 $manager 2>/dev/null || { echo '{"skip": "the user manager does not start here"}'; exit 0; }
  sleep 0.1
done
say() { "$PYTHON" -c 'import json, sys; print(json.dumps(dict(zip(sys.argv[1::2], sys.argv[2::2]))))' "$@"; }
show() { systemctl --user show spamd-desktop.service -p "$1" --value; }
spamdctl() { "$PYTHON" -m spamd "$@" 2>&1; }

spamdctl settings set secrets file >/dev/null
installed=$(spamdctl service install --no-tray)
pid=$(show MainPID)
say step installed text "$installed" state "$(show ActiveState)" enabled "$(show UnitFileState)" \
  journal "$(cat "$LOG"; systemctl --user status spamd-desktop.service --no-pager)" \
  privileges "$(grep NoNewPrivs /proc/$pid/status)" filter "$(grep '^Seccomp:' /proc/$pid/status)" \
  root "$(grep ' / / ' /proc/$pid/mountinfo | head -1)" tmp "$(grep -c ' /tmp ' /proc/$pid/mountinfo)" \
  outside "$(nsenter -t $pid -m -- touch "$HOME/.config/outside" 2>&1)" \
  inside "$(nsenter -t $pid -m -- touch "$HOME/.local/share/spamd-desktop/inside" 2>&1)" \
  status "$(spamdctl status)" unit "$(cat "$HOME/.config/systemd/user/spamd-desktop.service")"
again=$(spamdctl service install --no-tray)
say step again text "$again" pid "$([ "$pid" = "$(show MainPID)" ] && echo same)"
sed -i 's/__version__ = ".*"/__version__ = "9.9.9"/' "$HOME/source/spamd/__init__.py"
for _ in $(seq 2400); do
  "$PYTHON" -c 'import json, sys; sys.exit(json.load(open(sys.argv[1]))["version"] != "9.9.9")' \
    "$HOME/.local/state/spamd-desktop/run/run.json" 2>/dev/null && break
  sleep 0.1
done
say step upgraded status "$(spamdctl status --json)" pid "$([ "$pid" = "$(show MainPID)" ] && echo same)" \
  state "$(show ActiveState)/$(show SubState)" restarts "$(show NRestarts)"
spamdctl lists keep friend@home.example >/dev/null
rm -rf "$HOME/.local/state/spamd-desktop"
for _ in $(seq 1200); do
  [ -e "$HOME/.local/state/spamd-desktop/run/run.json" ] && break
  sleep 0.1
done
say step tidied state "$(show ActiveState)/$(show SubState)" lists "$(spamdctl lists show)" \
  left "$(ls "$HOME/.local/share/spamd-desktop")"
systemctl --user stop spamd-desktop.service
say step stopped state "$(show ActiveState)" result "$(show Result)"
systemctl --user start spamd-desktop.service
removed=$(spamdctl service uninstall)
say step removed text "$removed" state "$(show ActiveState)" \
  left "$(find "$HOME/.config/systemd" -name 'spamd*' | wc -l)"
systemctl --user exit >/dev/null 2>&1
wait $manager
"""


@pytest.fixture(scope="module")
def steps(tmp_path_factory) -> dict[str, dict[str, str]]:
    for program, package in (
        ("unshare", "util-linux"),
        ("systemctl", "systemd"),
        ("dbus-daemon", "dbus"),
    ):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: apt install {package})")
    if MANAGER is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("a systemd user manager of its own needs systemd and root")
    folder = tmp_path_factory.mktemp("manager")
    source = folder / "source"
    for part in ("spamd", "models/base", "plugin"):
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    # A Python without our scripts, so that what is run is the copy, which is "upgraded" later.
    venv.create(folder / "python", with_pip=False)
    python = folder / "python" / "bin" / "python"
    borrowed = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "python")}))
    (borrowed / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": "/home/it's 100% $odd",
        "PYTHON": str(python),
        "SOURCE": str(source),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MANAGER": str(MANAGER),
        "LOG": str(folder / "manager.log"),
    }
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", SCRIPT],
        env=env,
        capture_output=True,
        text=True,
        timeout=580,
        cwd=ROOT,
        check=False,
    )
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if said and "skip" in said[0]:
        pytest.skip(said[0]["skip"])
    refused = ("Operation not permitted", "root filesystem propagation")  # the second: in a chroot
    if not said and any(words in done.stderr for words in refused):
        pytest.skip("namespaces are not allowed here")
    assert said, done.stdout + done.stderr
    return {one["step"]: one for one in said}


pytestmark = [pytest.mark.desktop, pytest.mark.timeout(600)]


def test_the_service_starts_in_its_sandbox(steps: dict[str, dict[str, str]]) -> None:
    found = steps["installed"]
    assert found["state"] == "active", found["journal"] + found["unit"]
    assert found["enabled"] == "enabled"
    assert "starts with the session (systemd), runs" in found["text"]
    assert found["privileges"].split() == ["NoNewPrivs:", "1"]
    assert found["filter"].split() == ["Seccomp:", "2"]
    assert " ro" in found["root"], found["root"]
    assert "Read-only file system" in found["outside"]  # not even in the person's home
    assert found["inside"] == ""


def test_the_daemon_in_the_sandbox_can_be_reached(steps: dict[str, dict[str, str]]) -> None:
    assert "not running" not in steps["installed"]["status"], steps["installed"]["status"]


def test_installing_again_leaves_a_current_service_alone(steps: dict[str, dict[str, str]]) -> None:
    assert steps["again"]["pid"] == "same", steps["again"]["text"]


def test_an_upgrade_under_its_feet_is_taken_over_without_a_restart_of_the_service(
    steps: dict[str, dict[str, str]],
) -> None:
    found = steps["upgraded"]
    assert json.loads(found["status"])["version"] == "9.9.9", found
    assert (found["pid"], found["state"], found["restarts"]) == ("same", "active/running", "0")


def test_a_folder_that_somebody_removes_comes_back_with_what_was_learned(
    steps: dict[str, dict[str, str]],
) -> None:
    """In its sandbox the filter cannot make the folder: the database waits elsewhere for the service's next start."""
    found = steps["tidied"]
    assert found["state"] == "active/running", found
    assert "friend@home.example" in found["lists"], found
    assert "rescued" not in found["left"]


def test_it_stops_in_time(steps: dict[str, dict[str, str]]) -> None:
    assert (steps["stopped"]["state"], steps["stopped"]["result"]) == ("inactive", "success")


def test_uninstall_stops_it_and_leaves_nothing(steps: dict[str, dict[str, str]]) -> None:
    assert steps["removed"]["state"] == "inactive"
    assert steps["removed"]["left"] == "0"
