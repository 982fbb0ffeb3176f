"""A real Secret Service: gnome-keyring-daemon on a D-Bus session of its own, with a private home."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from spamd import paths, settings
from spamd.credentials import Secrets
from spamd.domain import AccountName
from tests.cli.program import Terminal
from tests.servers.mailhost import PASSWORD

pytestmark = pytest.mark.desktop
PROGRAMS = ("dbus-run-session", "gnome-keyring-daemon")
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]


@pytest.fixture
def session(home, socket_folder):
    """Runs Python code inside a fresh session bus; the keyring unlocked with the given password (None: not started)."""
    if MISSING:
        pytest.skip(f"not installed: {', '.join(MISSING)}")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_KEYRING_BACKEND"}
    environment["XDG_RUNTIME_DIR"] = str(socket_folder)
    environment["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), environment.get("PYTHONPATH", "")])

    def run(code, *, unlock="pw", configuration=""):
        starting = ""
        if unlock is not None:
            starting = f"printf '%s' {unlock} | gnome-keyring-daemon --unlock --components=secrets >/dev/null || exit 97\n"
        script = f'{starting}exec "$0" -c "$1"'
        header = (
            "from spamd.credentials import KeyringSecrets\n"
            "from spamd.domain import AccountName\n"
            "from spamd.errors import CredentialError\n"
            "place = KeyringSecrets('spamd-test', seconds=60)\n"
        )
        done = subprocess.run(
            [
                "dbus-run-session",
                *([f"--config-file={configuration}"] if configuration else []),
                "--",
                "sh",
                "-c",
                script,
                sys.executable,
                header + textwrap.dedent(code),
            ],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        run.stderr = done.stderr  # of the bus, too
        return done.stdout.strip()

    return run


UNLOCK = """
import subprocess
def unlock(password):
    subprocess.run(["gnome-keyring-daemon", "--unlock", "--components=secrets"], input=password, text=True,
                   stdout=subprocess.DEVNULL, check=True)
def attempt():
    try:
        return place.get(AccountName('home'))
    except CredentialError as exc:
        return f"{exc.title} {exc.quiet}"
"""


def test_kept_read_again_in_another_session_and_removed(session):
    code = "place.set(AccountName('home'), 'grün ✓ long ' * 40); print(place.describe())"
    assert session(code).startswith("the keyring of this desktop")
    assert session("print(place.get(AccountName('home')) == 'grün ✓ long ' * 40)") == "True"
    code = """
        place.delete(AccountName('home')); place.delete(AccountName('home'))
        try:
            place.get(AccountName('home'))
        except CredentialError as exc:
            print(exc.title)
    """
    assert session(code) == "There is no password of account 'home' in the keyring."


def test_nothing_of_it_is_on_the_disk_readable(session, home):
    session("place.set(AccountName('home'), 'Xylophonkonzert')")
    for folder, _, names in os.walk(home):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118
            if os.path.isfile(path):  # noqa: PTH113 the keyring's control socket is there, too
                with open(path, "rb") as file:  # noqa: PTH123
                    assert b"Xylophonkonzert" not in file.read()


def test_a_locked_keyring_is_told(session):
    session("place.set(AccountName('home'), 'x')")
    code = """
        try:
            print('read', place.get(AccountName('home')))
        except CredentialError as exc:
            print(exc.title); print(exc.hint)
    """
    said = session(code, unlock="wrong")
    assert "locked" in said or "could not be opened" in said
    assert "secrets file" in said


def test_a_locked_keyring_prompts_once_and_serves_when_it_is_opened(session):
    """A session begins with it locked: the person opens it after the prompt has gone, for another program."""
    session("place.set(AccountName('home'), 'x')")
    code = """
print(attempt())
print(attempt())
import secretstorage  # as the keyring's own prompt does it
from secretstorage.util import DBusAddressWrapper, format_secret, open_session
bus = secretstorage.dbus_init()
service = DBusAddressWrapper(
    '/org/freedesktop/secrets', 'org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface', bus
)
password = format_secret(open_session(bus), b'pw', 'text/plain')
service.call('UnlockWithMasterPassword', 'o(oayays)', secretstorage.Collection(bus).collection_path, password)
print(attempt())
"""
    first, again, opened = session(UNLOCK + code, unlock="wrong").splitlines()
    assert first.endswith("True")
    assert again == "The keyring is locked. True"
    assert opened == "x"
    assert session.stderr.count("Activating service name='org.gnome.keyring.SystemPrompter'") == 1


def test_a_keyring_that_starts_later_is_found(session, tmp_path):
    """KeePassXC is started by the person; the filter by the session."""
    configuration = tmp_path / "bus.conf"  # no service is started by the bus
    configuration.write_text(
        f"<busconfig><type>session</type><listen>unix:dir={tmp_path}</listen>"
        '<policy context="default"><allow send_destination="*"/><allow eavesdrop="true"/><allow own="*"/></policy>'
        "</busconfig>"
    )
    code = """
print(attempt())
unlock('pw')  # returns before it can be reached
import time
deadline = time.monotonic() + 60
while 'no keyring' in attempt() and time.monotonic() < deadline:
    time.sleep(0.05)
place.set(AccountName('home'), 'x')
print(attempt())
"""
    before, after = session(UNLOCK + code, unlock=None, configuration=configuration).splitlines()
    assert "no keyring" in before
    assert before.endswith("True")
    assert after == "x"


def test_set_up_with_a_locked_keyring_asks_where_else(session, home, tmp_path, pymap, monkeypatch):
    """Found out after the password was typed: it is not typed again, and nothing is kept where nobody chose it."""
    session("place.set(AccountName('x'), 'x')")  # makes the keyring
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND")
    start = 'printf wrong | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1; exec "$@"'
    inside = ["dbus-run-session", "--", "sh", "-c", start, "sh"]
    root, user = tmp_path / "spamd", pymap.new_user()
    here = paths.find({"SPAMD_HOME": str(root)})
    with Terminal(root, "setup", "--address", "a@home.example", "--no-service", inside=inside) as terminal:
        for question, answer in (
            ("Mozilla's directory?", "n"),
            ("Is that right?", "n"),
            ("IMAP server", pymap.host),
            ("TLS", "none"),
            ("Port", str(pymap.port)),
            ("User", user),
            ("Password of", PASSWORD),
        ):
            terminal.expect(question)
            terminal.say(answer)
        terminal.expect("Signed in.")
        terminal.expect("keyring")
        terminal.expect("Where shall it be kept (keyring, file, nowhere)")
        assert settings.load(here.config_file).accounts == ()
        terminal.say("file")
        terminal.expect("Added home.")
        terminal.expect("Learn from the folders")
        terminal.say("n")
        assert terminal.end() == 0
        assert terminal.text.count("Password of") == 1
    now = settings.load(here.config_file)
    assert (now.secrets, [one.name for one in now.accounts]) == ("file", ["home"])
    assert Secrets.choose(now, here).get(AccountName("home")) == PASSWORD


def test_a_bus_that_never_answers_ends_in_words(session, socket_folder):
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(socket_folder / "bus"))
        mute.listen(50)
        code = f"""
            import os
            os.environ['DBUS_SESSION_BUS_ADDRESS'] = 'unix:path={socket_folder}/bus'
            place.seconds = 5
            for deed in (place.describe, lambda: place.get(AccountName('home'))):
                try:
                    print(deed())
                except CredentialError as exc:
                    print(exc.title, '|', exc.hint)
        """
        described, got = session(code, unlock=None).splitlines()
    for said in (described, got):
        assert "keyring" in said and "secrets file" in said


def test_no_service_on_the_bus(session, home):
    """D-Bus starts the service by itself where it is installed; its prompt has nobody to answer."""
    code = """
        place.seconds = 20
        try:
            place.set(AccountName('home'), 'x')
            print('kept')
        except CredentialError as exc:
            print('CredentialError', exc.hint)
    """
    assert session(code, unlock=None).startswith("CredentialError")
