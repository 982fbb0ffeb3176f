"""The real icon in real panels: what it shows, what its menu does, when it speaks, and how it ends."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from spamd.answers import AccountPhase
from spamd.client import Client
from spamd.domain import Label, LabelSource, Mode
from spamd.errors import NotRunning
from tests import programs
from tests.desktop.running import RunningDaemon
from tests.desktop.session import ROOT, DesktopSession, Icon, missing, wait_for
from tests.servers.dovecot import Dovecot
from tests.servers.mailhost import PASSWORD, mail

MISSING = missing()
pytestmark = [
    pytest.mark.desktop,
    pytest.mark.skipif(bool(MISSING), reason=MISSING or "-"),
    pytest.mark.timeout(600),
]

TRAY = [sys.executable, "-m", "spamd.tray", "--wait", "30"]
BLUE, GREY, RED = (47, 109, 181), (128, 128, 128), (196, 52, 52)
TOLD = "You WON the lottery"


@dataclass
class World:
    server: Dovecot
    user: str
    daemon: RunningDaemon
    session: DesktopSession
    icon: Icon
    opened: Path  # what the browser was asked to open

    def arrive(self, name: str) -> str:
        """A mail that the person's own list calls junk."""
        message_id = f"{name}@tray.example"
        sender = "Prize <claim@win.example.biz>"
        self.server.append(
            self.user, mail(f"{TOLD}: {name}", "Claim it", message_id=message_id, sender=sender)
        )
        return message_id

    def until_in(self, message_id: str, folder: str) -> None:
        wanted = f"<{message_id}>".encode()
        self.daemon.until(
            lambda: [one.folder for one in self.server.contents(self.user) if wanted in one.raw] == [folder],
            f"{message_id} is not in {folder}",
        )

    def until_colour(self, colour: tuple[int, int, int]) -> tuple[int, int]:
        place: tuple[int, int] = wait_for(
            lambda: self.session.find_colour(colour), say=f"the icon is not {colour}"
        )
        return place


@pytest.fixture(scope="module")
def world(_dovecots, tmp_path_factory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("tray")
    server = _dovecots(fresh=True)
    user = server.new_user()
    daemon = RunningDaemon(folder, replace(server.account(user), mode=Mode.FILTERING))
    session = None
    try:
        session = DesktopSession(folder)
        opened = folder / "opened"
        browser = folder / "browser"
        browser.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" >> "{opened}"\n')
        browser.chmod(0o755)
        icon = Icon(session, TRAY, {**daemon.environ, "BROWSER": f"{browser} %s"})
        yield World(server, user, daemon, session, icon, opened)
    finally:
        if session is not None:
            session.close()
        daemon.close()


def test_without_a_daemon_it_is_grey_and_starts_one(world: World) -> None:
    assert world.icon.wait_for_line("spamd is not running").enabled is False
    world.icon.choose("Start filtering")
    world.daemon.attach()
    world.until_colour(BLUE)
    assert "Open spamd" in world.icon.texts()


def test_it_notices_that_the_daemon_stops_and_is_back(world: World) -> None:
    world.daemon.client.stop()
    world.icon.wait_for_line("spamd is not running")
    wait_for(lambda: not is_running(world), say="the daemon does not stop")
    world.daemon.start()
    world.daemon.client.add_to_list("win.example.biz", Label.SPAM)
    world.icon.wait_for_line("Open spamd")
    world.until_colour(BLUE)
    world.daemon.kill()  # without a word, its run file still there
    world.icon.wait_for_line("spamd is not running")
    world.daemon.start()
    world.icon.wait_for_line("Open spamd")
    world.until_colour(BLUE)


def is_running(world: World) -> bool:
    try:
        Client.connect(world.daemon.paths).close()
    except NotRunning:
        return False
    return True


def test_a_move_is_listed_counted_and_taken_back_from_the_menu(world: World) -> None:
    message_id = world.arrive("listed")
    world.until_in(message_id, "Junk")
    world.icon.wait_for_line("Today: 1 judged, 1 moved")
    listed = world.icon.wait_for_line("Last moved to Junk").children
    assert [line for line in listed if f"{TOLD}: listed" in line.text]
    assert TOLD not in world.session.noticed()  # never a notice for junk
    world.icon.choose("That was not junk")
    world.until_in(message_id, "INBOX")
    (label,) = world.daemon.client.labels()
    assert (label.label, label.source) == (Label.HAM, LabelSource.UNDO)
    world.icon.wait_for_line("Taken back")


def test_a_real_click_opens_the_menu_and_keys_choose_from_it(world: World) -> None:
    x, y = world.until_colour(BLUE)
    before = world.session.picture().tobytes()
    world.session.xdotool("mousemove", x, y, "click", 1)
    wait_for(lambda: world.session.picture().tobytes() != before, say="no menu appeared")
    enabled = [line.text for line in world.icon.menu().children if line.text and line.enabled]
    for _ in range(enabled.index("Pause for an hour") + 1):
        world.session.xdotool("key", "Down")
    world.session.xdotool("key", "Return")
    world.daemon.until(lambda: world.daemon.client.status().paused, "nothing was paused")
    world.until_colour(GREY)
    world.icon.choose("Resume filtering")
    world.daemon.until(lambda: not world.daemon.client.status().paused, "nothing was resumed")
    world.until_colour(BLUE)


def test_the_page_opens_once_with_a_code(world: World) -> None:
    world.icon.choose("Open spamd")
    url = wait_for(lambda: world.opened.exists() and world.opened.read_text().strip(), say="no page opened")
    assert url.startswith(f"http://127.0.0.1:{world.daemon.client.port}/open?code=")
    with httpx.Client(trust_env=False, follow_redirects=True) as browser:
        assert browser.get(url).status_code == 200
    with httpx.Client(trust_env=False, follow_redirects=True) as browser:
        assert browser.get(url).status_code in (401, 403, 410)  # the code is used up


def test_doubtful_mail_is_told_in_one_digest_and_can_be_reviewed(world: World) -> None:
    client = world.daemon.client
    client.set_mode(world.daemon.account.name, Mode.SUGGESTING)
    for name in ("doubt1", "doubt2"):
        world.daemon.judged(world.arrive(name))
    world.icon.wait_for_line("Review 2 doubtful mails")
    wait_for(lambda: "Junk or not?" in world.session.noticed(), say="no digest")
    assert world.session.noticed().count("Junk or not?") == 1
    client.set_mode(world.daemon.account.name, Mode.FILTERING)


def test_what_needs_the_person_turns_it_red_and_is_told(world: World) -> None:
    client, name = world.daemon.client, world.daemon.account.name
    client.set_secret(name, "wrong")
    world.server.stop()
    world.server.start()
    world.daemon.until(
        lambda: client.account(name).state.phase is AccountPhase.SIGN_IN, "the wrong password is not noticed"
    )
    world.until_colour(RED)
    world.icon.wait_for_line(f"{name}: sign in again")
    wait_for(lambda: "spamd needs you" in world.session.noticed(), say="the person is not told")
    client.set_secret(name, PASSWORD)
    world.daemon.until(
        lambda: client.account(name).state.phase is AccountPhase.WATCHING, "the right password does not help"
    )


def test_a_second_icon_leaves_it_to_the_first(world: World) -> None:
    """But brings the page up: who starts it again wants to see something. At sign-in nothing is opened."""
    pages = len(world.opened.read_text().splitlines()) if world.opened.exists() else 0
    for words, said in (
        ([*TRAY, "--autostart"], "the icon is shown already."),
        (TRAY, "the icon is shown already. Its page was opened."),
    ):
        env = {**world.session.env, "BROWSER": f"{world.opened.with_name('browser')} %s"}
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, f"spamd-tray: {said}\n")
    wait_for(lambda: len(world.opened.read_text().splitlines()) == pages + 1, say="not one page was opened")


def test_quitting_the_icon_leaves_the_daemon(world: World) -> None:
    world.icon.choose("Quit the icon")
    assert world.icon.process.wait(60) == 0
    assert is_running(world)


def test_in_the_panel_of_xfce(tmp_path: Path) -> None:
    """A StatusNotifierItem; the panel asks for menu and icon over D-Bus."""
    if reason := programs.missing("xfce4-panel", package="xfce4-panel"):
        pytest.skip(reason)
    session = DesktopSession(tmp_path, "xfce4-panel")
    try:
        icon = Icon(session, TRAY, {"SPAMD_HOME": str(tmp_path / "spamd")})
        icon.wait_for_line("spamd is not running")
        icon.process.terminate()
        assert icon.process.wait(60) == 0
    finally:
        session.close()


def test_an_upgrade_under_the_icon(tmp_path: Path) -> None:
    """It ends and is there again as the new version, in the same process."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "spamd", source / "spamd", ignore=shutil.ignore_patterns("__pycache__"))
    session = DesktopSession(tmp_path)
    try:
        environ = {"PYTHONPATH": str(source), "PYTHONSAFEPATH": "1", "SPAMD_HOME": str(tmp_path / "spamd")}
        icon = Icon(session, TRAY, environ)
        icon.wait_for_line("spamd is not running")
        before = icon.name()
        (source / "spamd" / "__init__.py").write_text('__version__ = "9.9.9"\n')
        icon.until_renewed()
        assert icon.name() != before
        icon.wait_for_line("spamd is not running")
        words = Path(f"/proc/{icon.process.pid}/cmdline").read_text().split("\0")
        assert "--autostart" in words, "else it would open a page where it finds itself"
        again = subprocess.run(
            [*TRAY, "--autostart"], env=session.env, capture_output=True, text=True, timeout=120, check=False
        )
        assert "shown already" in again.stderr
        icon.process.terminate()
        assert icon.process.wait(60) == 0
    finally:
        session.close()


def test_where_nothing_shows_icons_it_says_so(tmp_path: Path) -> None:
    session = DesktopSession(tmp_path, "")
    try:
        done = subprocess.run(
            [*TRAY[:-1], "0"],
            env={**session.env, "SPAMD_HOME": str(tmp_path / "spamd")},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 3
        assert done.stderr.count("\n") == 1
        assert "Nothing on this desktop shows tray icons" in done.stderr
    finally:
        session.close()
