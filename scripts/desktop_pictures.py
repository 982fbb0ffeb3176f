"""The README's pictures of the icon and of Thunderbird: docs/pictures/tray.png and thunderbird.png.

Run from a checkout on Debian with the packages of scripts/apt-desktop.txt: the real programs on a virtual screen.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from spamd.domain import Mode, Verdict  # noqa: E402
from tests.desktop.marionette import Thunderbird  # noqa: E402
from tests.desktop.running import RunningDaemon  # noqa: E402
from tests.desktop.session import DesktopSession, Icon, wait_for  # noqa: E402
from tests.servers.dovecot import Dovecot  # noqa: E402

GOOD = ("016-invite-en", "054-mum", "058-outlook-work", "069-list-technical")
BAD = ("001-pills", "003-lottery", "006-phish-bank", "018-casino", "019-loan")
SHOWN = "003-lottery"


def demo(name: str) -> bytes:
    (path,) = (ROOT / "spamd/demo/mail").glob(f"*/{name}.eml")
    return path.read_bytes()


def message_id(raw: bytes) -> str:
    found = re.search(rb"^Message-ID:\s*<([^>]+)>", raw, re.MULTILINE | re.IGNORECASE)
    assert found
    return found[1].decode()


def main() -> None:
    pictures = ROOT / "docs" / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="spamd-pictures-"))
    server = Dovecot()
    session = None
    thunderbird = None
    account = replace(server.account("robin"), mode=Mode.FILTERING)
    daemon = RunningDaemon(folder, account)
    try:
        daemon.start()
        for name in (*GOOD, *BAD):
            raw = demo(name).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            server.append("robin", raw)
            daemon.judged(message_id(raw))
        daemon.until(lambda: daemon.client.judgements(verdict=Verdict.JUNK)[0].moved, "not all was moved")

        session = DesktopSession(folder, "xfce4-panel", size=(1280, 800))
        icon = Icon(session, [sys.executable, "-m", "spamd.tray"], daemon.environ)
        icon.wait_for_line("Last moved to Junk")
        x, y = wait_for(lambda: session.find_colour((47, 109, 181)))
        before = session.picture().tobytes()
        session.xdotool("mousemove", x, y, "click", 1)
        wait_for(lambda: session.picture().tobytes() != before)
        for key in ("Down", "Down", "Right", "Down", "Right"):
            session.xdotool("key", key)
        subprocess.run(["sleep", "1"], check=True)  # the submenu slides open
        session.picture().crop((0, 0, 1246, 300)).save(pictures / "tray.png", optimize=True)
        session.xdotool("key", "Escape", "key", "Escape", "key", "Escape")
        session.close()

        session = DesktopSession(folder, "", size=(1280, 760))
        subprocess.run(
            [sys.executable, "-m", "spamd", "thunderbird", "install"],
            env={**os.environ, **daemon.environ, "HOME": str(folder)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        session.start("openbox")
        thunderbird = Thunderbird(
            folder, port=server.port, user="robin", environ={"DISPLAY": session.env["DISPLAY"]}
        )
        thunderbird.install(daemon.paths.data / "spamd-thunderbird.xpi")
        thunderbird.sign_in()
        for window in session.windows("thunderbird"):
            session.xdotool("windowmove", window, 0, 0, "windowsize", window, 1278, 738)
        thunderbird.open_mail(message_id(demo(SHOWN)), "Junk")
        thunderbird.wait_for_button(image="icons/junk.svg")
        thunderbird.popup("return Boolean(document.querySelector('#reasons li'));")
        subprocess.run(["sleep", "1"], check=True)  # the popup takes its size
        session.picture().save(pictures / "thunderbird.png", optimize=True)
    finally:
        if thunderbird is not None:
            thunderbird.close()
        if session is not None:
            session.close()
        daemon.close()
        server.close()


if __name__ == "__main__":
    main()
