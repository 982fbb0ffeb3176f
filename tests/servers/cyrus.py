"""A real Cyrus from unpacked Debian packages (scripts/test_servers.sh): a second opinion on everything."""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.servers.mailhost import PASSWORD, MailHost, free_port, wait_for_banner

UNPACKED = Path(os.environ.get("SPAMD_TEST_SERVERS", Path(__file__).parents[2] / "build" / "servers"))


def why_not(kind: str, binary: str) -> str:
    """Why an unpacked server cannot be used here; "" if it can."""
    root = UNPACKED / kind
    if not (root / binary).exists():
        return f"{kind.title()} is not unpacked (sh scripts/test_servers.sh)"
    if os.getuid() == 0:
        for folder in (root, *root.resolve().parents):
            if not folder.stat().st_mode & 0o001:
                return f"{kind.title()} runs as nobody, who may not enter {folder}"
    needed = subprocess.run(
        ["ldd", str(root / binary)], env=libraries(root), capture_output=True, check=False, timeout=60
    ).stdout.decode()
    lacking = [line.split()[0] for line in needed.splitlines() if "not found" in line]
    return f"{kind.title()} lacks {', '.join(lacking)} on this system" if lacking else ""


def libraries(root: Path) -> dict[str, str]:
    below = ("usr/lib/*-linux-*", "usr/lib/*-linux-*/courier-authlib", "lib/*-linux-*")
    folders = [root / "usr/lib", *(found for pattern in below for found in root.glob(pattern))]
    return {
        "LD_LIBRARY_PATH": ":".join(str(folder) for folder in folders),
        "PATH": os.environ.get("PATH", ""),
    }


class Cyrus(MailHost):
    """Users are made by new_user(); their Junk has the special use."""

    def __init__(self) -> None:
        self.root = UNPACKED / "cyrus"
        self.folder = Path(tempfile.mkdtemp(prefix="spamd-cyrus-"))
        self.folder.chmod(0o755)
        self._environment = libraries(self.root)
        self.port = free_port()
        owner = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        self._owner = pwd.getpwnam(owner)
        for name in ("conf/db", "conf/socket", "conf/proc", "conf/lock", "spool", "run"):
            (self.folder / name).mkdir(parents=True)
        self._write_configuration()
        self.new_user()
        for path in (self.folder, *self.folder.rglob("*")):
            if os.getuid() == 0:
                os.chown(path, self._owner.pw_uid, self._owner.pw_gid)
        self.process = subprocess.Popen(
            [
                str(self.root / "usr/lib/cyrus/bin/master"),
                *("-C", str(self.folder / "imapd.conf")),
                *("-M", str(self.folder / "cyrus.conf")),
                *("-p", str(self.folder / "run/master.pid")),
                "-D",
            ],
            env=self._environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "stderr").open("wb"),
        )
        try:
            wait_for_banner(self.port, self.process)
        except RuntimeError:
            said = (self.folder / "stderr").read_text(errors="replace")
            self.close()
            raise RuntimeError(f"Cyrus did not start: {said}") from None

    def new_user(self) -> str:
        user = super().new_user()
        subprocess.run(
            [
                *(str(self.root / "usr/sbin/saslpasswd2"), "-p", "-c"),
                *("-f", str(self.folder / "sasldb2"), "-u", "localhost", user),
            ],
            input=PASSWORD.encode(),
            env=self._environment,
            check=True,
            capture_output=True,
            timeout=60,
        )
        return user

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_configuration(self) -> None:
        folder, programs = self.folder, self.root / "usr/lib/cyrus/bin"
        group = "nogroup" if os.getuid() == 0 else ""
        (self.folder / "imapd.conf").write_text(
            f"""\
configdirectory: {folder}/conf
partition-default: {folder}/spool
defaultpartition: default
cyrus_user: {self._owner.pw_name}
{f"cyrus_group: {group}" if group else ""}
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {folder}/sasldb2
sasl_mech_list: PLAIN LOGIN
servername: localhost
unixhierarchysep: yes
altnamespace: yes
autocreate_quota: 0
autocreate_post: yes
autocreate_inbox_folders: Junk | Trash | Archive
autocreate_subscribe_folders: Junk | Trash | Archive
xlist-junk: Junk
xlist-trash: Trash
xlist-archive: Archive
idlesocket: {folder}/conf/socket/idle
lmtpsocket: {folder}/conf/socket/lmtp
proc_path: {folder}/conf/proc
mboxname_lockpath: {folder}/conf/lock
conversations: yes
sasl_path: {self.folder}/none
""",
            encoding="ascii",
        )
        (self.folder / "cyrus.conf").write_text(
            f"""\
START {{
  recover cmd="{programs}/ctl_cyrusdb -C {folder}/imapd.conf -r"
  idled cmd="{programs}/idled -C {folder}/imapd.conf"
}}
SERVICES {{
  imap cmd="{programs}/imapd -C {folder}/imapd.conf -U 30" listen="127.0.0.1:{self.port}" prefork=1
}}
EVENTS {{
}}
""",
            encoding="ascii",
        )


@pytest.fixture(scope="session")
def _cyrus():
    if reason := why_not("cyrus", "usr/lib/cyrus/bin/imapd"):
        pytest.skip(reason)
    server = Cyrus()
    atexit.register(server.close)
    yield server
    atexit.unregister(server.close)
    server.close()


@pytest.fixture
def cyrus(_cyrus):
    """A running Cyrus."""
    return _cyrus
