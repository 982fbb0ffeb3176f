"""Upgrades by pipx, while it runs: two wheels of this tree, a real pipx, a real filter on a real mailbox.

What spamd depends on is borrowed from the environment that runs the tests (a .pth file in the wheels), so that no
wheel of somebody else's is fetched or unpacked.
"""

from __future__ import annotations

import configparser
import contextlib
import importlib.util
import json
import os
import shlex
import shutil
import struct
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from spamd import paths
from spamd.client import Client
from spamd.errors import NotRunning, SpamdError
from tests.desktop.session import wait_for
from tests.servers.mailhost import PASSWORD, MailHost

ROOT = Path(__file__).parents[2]
OLD, NEW = "0.0.1", "0.0.2"
PATIENCE = 240.0  # seconds

pytestmark = [
    pytest.mark.desktop,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        importlib.util.find_spec("pipx") is None or importlib.util.find_spec("hatchling") is None,
        reason="pipx and hatchling are not installed (pip install pipx hatchling)",
    ),
]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> dict[str, Path]:
    """A folder with the wheel of each version."""
    source = tmp_path_factory.mktemp("source")
    for folder in ("spamd", "plugin", "models/base"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    (source / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    here = '"plugin/thunderbird" = "spamd/_addon"\n'
    text = (ROOT / "pyproject.toml").read_text()
    assert here in text
    (source / "pyproject.toml").write_text(text.replace(here, f'{here}"borrowed.pth" = "borrowed.pth"\n'))
    made = {}
    for version in (OLD, NEW):
        (source / "spamd" / "__init__.py").write_text(
            f'"""Another version."""\n\n__version__ = "{version}"\n'
        )
        made[version] = tmp_path_factory.mktemp("wheels")
        subprocess.run(
            [
                sys.executable,
                *("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"),
                *("--wheel-dir", str(made[version]), str(source)),
            ],
            check=True,
            capture_output=True,
            timeout=300,
        )
    return made


class Person:
    """Somebody who has spamd from pipx, in a home of their own."""

    def __init__(self, home: Path, wheels: dict[str, Path]) -> None:
        self.home = home
        self.wheels = wheels
        self.bin = home / ".local" / "bin"
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP"))},
            "PYTHON_KEYRING_BACKEND": os.environ["PYTHON_KEYRING_BACKEND"],
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "PIPX_HOME": str(home / "pipx"),
            "PIPX_BIN_DIR": str(self.bin),
            "PIPX_MAN_DIR": str(home / "man"),
            "PIPX_DISABLE_SHARED_LIBS_AUTO_UPGRADE": "1",
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        self.paths = paths.find(self.environ)
        self.process: subprocess.Popen[bytes] | None = None
        self.output = home / "output.txt"

    def run(self, *words: str, stdin: str = "", version: str = NEW) -> str:
        done = subprocess.run(
            words,
            env={**self.environ, "PIP_FIND_LINKS": str(self.wheels[version])},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            cwd=self.home,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
        return done.stdout

    def pipx(self, *words: str, version: str) -> str:
        return self.run(sys.executable, "-m", "pipx", *words, version=version)

    def spamdctl(self, *words: str, stdin: str = "") -> str:
        return self.run("spamdctl", *words, stdin=stdin)

    def sign_in(self) -> None:
        """As the desktop does: what is entered in the session's autostart."""
        log = self.output.open("ab")
        self.process = subprocess.Popen(
            self.autostart("spamd-desktop"),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=self.home,
        )
        log.close()

    def autostart(self, name: str) -> list[str]:
        entry = configparser.ConfigParser(interpolation=None)
        entry.optionxform = str  # type: ignore[assignment,method-assign]
        entry.read(self.home / ".config" / "autostart" / f"{name}.desktop")
        return shlex.split(entry["Desktop Entry"]["Exec"].replace("\\\\", "\\"))

    def entered(self, name: str, program: str) -> str:
        """The program in an autostart entry, after what sets its environment."""
        return next(word for word in self.autostart(name) if Path(word).name == program)

    def version(self) -> str:
        """Of the filter that runs; "" while none answers."""
        assert self.process is not None
        assert self.process.poll() is None, self.output.read_text()[-3000:]
        with contextlib.suppress(NotRunning), Client.connect(self.paths) as client:
            return client.version
        return ""

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)


@pytest.fixture
def person(home: Path, wheels: dict[str, Path]) -> Iterator[Person]:
    made = Person(home, wheels)
    yield made
    made.close()


def everything_starts(person: Person, version: str) -> None:
    """Autostart entries and Thunderbird's way to the filter lead to programs of this version that start."""
    assert version in person.spamdctl("--version")
    status = json.loads(person.spamdctl("service", "status", "--json"))
    assert [(part["installed"], part["current"]) for part in status["parts"]] == [(True, True)] * 2, status
    daemon, tray = person.entered("spamd-desktop", "spamdctl"), person.entered("spamd-tray", "spamd-tray")
    assert version in person.run(daemon, "--version")
    assert "--check" in person.run(tray, "--help")
    for program in (daemon, tray):
        assert Path(program).parent == person.bin, "the link that pipx keeps, not what it leads to today"
    manifest = json.loads(next(person.home.rglob("native-messaging-hosts/*.json")).read_text())
    asked = subprocess.run(
        [manifest["path"], "manifest", manifest["allowed_extensions"][0]],
        env={"PATH": os.environ["PATH"], "HOME": str(person.home)},
        input=struct.pack("@I", 20) + b'{"ask":"connection"}',
        capture_output=True,
        timeout=120,
        check=False,
        cwd="/",
    )
    assert asked.returncode == 0, asked.stderr
    (length,) = struct.unpack("@I", asked.stdout[:4])
    assert len(asked.stdout) == 4 + length
    assert json.loads(asked.stdout[4:])["version"] == version, asked.stdout


def one(number: int) -> bytes:
    return (
        f"From: Ann {number} <ann@friends.example>\r\nTo: me@home.example\r\nSubject: letter {number}\r\n"
        f"Message-ID: <{number}@friends.example>\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n\r\n"
        f"Dear me, this is letter number {number}. See you on Sunday.\r\n"
    ).encode()


def test_upgraded_while_it_runs(person: Person, pymap: MailHost) -> None:
    """By `upgrade`, and by `install --force` into a new environment: one process, no crash, every mail judged once."""
    person.pipx("install", "--pip-args=--no-deps", "spamd-desktop", version=OLD)
    user = pymap.new_user()
    person.spamdctl("settings", "set", "secrets", "file")
    person.spamdctl(
        "account", "add", "home", "--host", pymap.host, "--port", str(pymap.port), "--user", user,
        "--tls", "none", "--mode", "filtering", "--password-stdin", stdin=f"{PASSWORD}\n",
    )  # fmt: skip
    person.spamdctl("service", "install")
    person.spamdctl("thunderbird", "install")
    person.sign_in()
    wait_for(lambda: person.version() == OLD, PATIENCE, "the old version does not answer")
    assert person.process
    delivered = 0

    def goes_on(version: str, words: Sequence[str]) -> None:
        """Mail arrives before, while and after it is upgraded."""
        nonlocal delivered
        for _ in range(3):
            delivered += 1
            pymap.append(user, one(delivered))
        person.pipx(*words, version=version)

        def there() -> bool:
            nonlocal delivered
            delivered += 1
            pymap.append(user, one(delivered))
            time.sleep(0.5)  # mail comes now and then
            return person.version() == version

        wait_for(there, PATIENCE, f"version {version} does not take over")
        delivered += 1
        pymap.append(user, one(delivered))
        wait_for(lambda: judged(person) == delivered, PATIENCE, "not every mail is judged")
        assert len(pymap.contents(user)) == delivered, "nothing lost, nothing doubled"
        everything_starts(person, version)

    goes_on(NEW, ["upgrade", "spamd-desktop"])
    goes_on(OLD, ["install", "--force", "--pip-args=--no-deps", "spamd-desktop"])
    text = person.output.read_text()
    assert text.count("spamd was upgraded: going on as the new version") == 2
    assert "Traceback" not in text, text[-3000:]
    person.process.terminate()
    assert person.process.wait(30) == 0


def judged(person: Person) -> int:
    """How many different mails have a verdict; every verdict is of another mail."""
    try:
        with Client.connect(person.paths) as client:
            found = client.judgements(limit=200)
    except SpamdError:
        return 0
    assert len({mail.identity for mail in found}) == len(found)
    return len(found)
