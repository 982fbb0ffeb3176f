"""A real Dovecot in a temporary folder, as root or as any user."""

from __future__ import annotations

import atexit
import contextlib
import functools
import grp
import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.mailhost import PASSWORD, MailHost, free_port, wait_for_banner

GMAIL = (
    "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS COMPRESS=DEFLATE ENABLE "
    "MOVE CONDSTORE ESEARCH UTF8=ACCEPT LIST-EXTENDED LIST-STATUS LITERAL- SPECIAL-USE APPENDLIMIT=35651584"
)
OUTLOOK = "IMAP4rev1 SASL-IR UIDPLUS MOVE ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+"
ICLOUD = (
    "IMAP4rev1 SASL-IR ID IDLE NAMESPACE UIDPLUS CONDSTORE QRESYNC ESEARCH XLIST XAPPLEPUSHSERVICE ENABLE"
)
YAHOO = (
    "IMAP4rev1 ID MOVE NAMESPACE XYMHIGHESTMODSEQ UIDPLUS LITERAL+ CHILDREN UNSELECT ENABLE CONDSTORE PARTIAL"
)
OLD = "IMAP4rev1 NAMESPACE IDLE"
"""Capability lists that imitate others. Only the list: what is not named would still work."""

BINARY = shutil.which("dovecot") or next(
    (path for path in ("/usr/sbin/dovecot", "/usr/local/sbin/dovecot") if Path(path).exists()), None
)


@dataclass(frozen=True)
class Options:
    storage: str = "maildir"  # maildir, mdbox, sdbox
    separator: str = "/"
    prefix: str = ""
    capabilities: str = ""  # replaces the list
    special_use: bool = True
    junk: str = "Junk"
    users: tuple[tuple[str, str], ...] = (("uni", "pässwörd ✓"),)  # besides everybody with PASSWORD
    oauth_url: str = ""  # introspection endpoint
    token_mechanisms: str = "xoauth2 oauthbearer"  # offered with it
    quota_kb: int = 0
    acl: bool = False
    compress: bool = False
    list_index: bool = True  # without it Dovecot has no NOTIFY
    greeting: str = ""  # what servers of other kinds are known by
    alias: bool = False  # every folder is listed a second time, below mail/
    connection_limit: int = 0  # per user and address
    lmtp: bool = False
    tls: str = "yes"  # "required": no passwords in the clear; "no": none offered


class Dovecot(MailHost):
    """Every user name signs in with PASSWORD. Stopped by stop(), killpg and all."""

    def __init__(self, options: Options = Options()) -> None:
        self.options = options
        self.junk = options.prefix + options.junk
        self.trash = options.prefix + "Trash"
        self.separator = options.separator
        self.folder = Path(tempfile.mkdtemp(prefix="spamd-dovecot-"))
        self.folder.chmod(0o755)
        self.process: subprocess.Popen[bytes] | None = None
        self.lmtp_port = 0
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._mail_uid, self._mail_gid = nobody.pw_uid, nobody.pw_gid
            self._internal, self._group, self._login = "dovecot", "dovecot", "dovenull"
        else:
            self._mail_uid, self._mail_gid = os.getuid(), os.getgid()
            self._internal = self._login = pwd.getpwuid(os.getuid()).pw_name
            self._group = grp.getgrgid(os.getgid()).gr_name
        home = self.folder / "home"
        home.mkdir()
        with contextlib.suppress(PermissionError):
            os.chown(home, self._mail_uid, self._mail_gid)
        self._certificate()
        self.start()

    # -- life

    def start(self) -> None:
        """Start (again); ports stay the same after the first time."""
        assert BINARY
        for attempt in itertools.count():
            if not self.port or attempt:
                self.port, self.tls_port, self.lmtp_port = free_port(), free_port(), free_port()
            config = self.folder / "dovecot.conf"
            config.write_text(self._config(), encoding="utf-8")
            self.process = subprocess.Popen(
                [BINARY, "-F", "-c", str(config)],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=(self.folder / "stderr").open("ab"),
            )
            try:
                wait_for_banner(self.port, self.process)
                return
            except RuntimeError as error:
                self.kill()
                if attempt >= 2:
                    said = (self.folder / "stderr").read_text(errors="replace")
                    raise RuntimeError(f"Dovecot did not start: {said}{self.log()}") from error

    def stop(self) -> None:
        """Shut down politely: clients get a BYE."""
        self._signal(signal.SIGTERM)
        self._wait_or_kill()

    def kill(self) -> None:
        """As if the power failed: clients get an EOF."""
        self._signal(signal.SIGKILL)
        self._wait_or_kill()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        self.thaw()
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def _wait_or_kill(self) -> None:
        if self.process is None:
            return
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait(30)
        self._signal(signal.SIGKILL)  # what outlived the master
        self.process = None
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:  # the last child may still hold the port
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            except ConnectionRefusedError:
                return
            except OSError:
                pass
            time.sleep(0.01)

    # -- tools

    def doveadm(self, *arguments: str, stdin: bytes = b"") -> str:
        result = subprocess.run(
            ["doveadm", "-c", str(self.folder / "dovecot.conf"), *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=60,
        )
        return result.stdout.decode("utf-8", "replace")

    def log(self) -> str:
        log = self.folder / "dovecot.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def home(self, user: str) -> Path:
        return self.folder / "home" / user

    def acl(self, user: str, folder: str, rights: str) -> None:
        """Give the owner just these rights in a maildir folder (needs options.acl)."""
        path = self.home(user) / "Maildir" / f".{folder}" / "dovecot-acl"
        path.write_text(f"owner {rights}\n", encoding="ascii")
        with contextlib.suppress(PermissionError):
            os.chown(path, self._mail_uid, self._mail_gid)

    # -- configuration

    def _alias(self) -> str:
        return f"""\
namespace alias {{
  separator = {self.options.separator}
  prefix = mail{self.options.separator}
  alias_for = {self.options.prefix}
  list = yes
}}
"""

    def _certificate(self) -> None:
        import trustme

        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_pem.write_to_path(str(self.folder / "key.pem"))
        for index, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(str(self.folder / "cert.pem"), append=index > 0)
        authority.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        self.ca_file = str(self.folder / "ca.pem")

    def _config(self) -> str:
        """Processes serve one connection after the other: a sign-in takes 5 ms instead of 35, and a test has hundreds."""
        users = "".join(f"{user}:{{PLAIN}}{secret}::::::\n" for user, secret in self.options.users)
        (self.folder / "users").write_text(users, encoding="utf-8")
        return self._config_2_4() if _version() >= (2, 4) else self._config_2_3()

    def _config_2_3(self) -> str:
        o, folder = self.options, self.folder
        plugins = [
            name for name, wanted in (("quota", o.quota_kb), ("acl", o.acl), ("zlib", o.compress)) if wanted
        ]
        imap_plugins = [f"imap_{name}" for name in plugins]
        location = {
            "maildir": "maildir:~/Maildir" + ("" if o.separator == "." or not o.prefix else ":LAYOUT=fs"),
            "mdbox": "mdbox:~/mdbox",
            "sdbox": "sdbox:~/sdbox",
        }[o.storage]
        oauth = ""
        if o.oauth_url:
            (folder / "oauth2.conf").write_text(
                "introspection_mode = post\n"
                f"introspection_url = {o.oauth_url}\n"
                "username_attribute = username\nactive_attribute = active\nactive_value = true\n"
            )
            oauth = (
                "passdb {\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n"
                f"  args = {folder}/oauth2.conf\n}}\n"
            )
        return f"""\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap{" lmtp" if o.lmtp else ""}
listen = 127.0.0.1
default_internal_user = {self._internal}
default_internal_group = {self._group}
default_login_user = {self._login}
disable_plaintext_auth = no
auth_mechanisms = plain login{f" {o.token_mechanisms}" if o.oauth_url else ""}
auth_failure_delay = 0
auth_cache_size = 0
ssl = {o.tls}
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
ssl_dh =
mail_home = {folder}/home/%u
mail_location = {location}
mailbox_list_index = {"yes" if o.list_index else "no"}
mail_fsync = never
first_valid_uid = 1
mail_plugins = {" ".join(plugins)}
{f"imap_capability = {o.capabilities}" if o.capabilities else ""}
{f"login_greeting = {o.greeting}" if o.greeting else ""}
protocol imap {{
  mail_plugins = $mail_plugins {" ".join(imap_plugins)}
  mail_max_userip_connections = {o.connection_limit or 100}
}}
plugin {{
  {"acl = vfile" if o.acl else ""}
  {"quota = count:User quota" if o.quota_kb else ""}
  {f"quota_rule = *:storage={o.quota_kb}K" if o.quota_kb else ""}
  {"quota_vsizes = yes" if o.quota_kb else ""}
}}
{oauth}passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
passdb {{
  driver = static
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid={self._mail_uid} gid={self._mail_gid} home={folder}/home/%u
}}
{self._folders_and_services("service_count", "0", "address")}"""

    def _config_2_4(self) -> str:
        """The same for Dovecot 2.4 (Debian 13), which renamed most settings and compresses unless told not to."""
        o, folder = self.options, self.folder
        version = ".".join(map(str, _version()))
        plugins = [name for name, wanted in (("quota", o.quota_kb), ("acl", o.acl)) if wanted]
        layout = "maildir++" if o.storage == "maildir" and (o.separator == "." or not o.prefix) else "fs"
        oauth = f"""\
oauth2 {{
  introspection_mode = post
  introspection_url = {o.oauth_url}
  username_attribute = username
  active_attribute = active
  active_value = true
}}
passdb oauth2 {{
  mechanisms_filter = xoauth2 oauthbearer
}}
"""
        without_compress = "" if o.compress else 'imap_capability {\n  "COMPRESS=DEFLATE" = no\n}'
        quota = f'quota "User quota" {{\n  driver = count\n  storage_size = {o.quota_kb}K\n}}\n'
        return f"""\
dovecot_config_version = {version}
dovecot_storage_version = {version}
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap{" lmtp" if o.lmtp else ""}
listen = 127.0.0.1
default_internal_user = {self._internal}
default_internal_group = {self._group}
default_login_user = {self._login}
auth_allow_cleartext = yes
auth_mechanisms = plain login{f" {o.token_mechanisms}" if o.oauth_url else ""}
auth_failure_delay = 0
auth_cache_size = 0
ssl = {o.tls}
ssl_server_cert_file = {folder}/cert.pem
ssl_server_key_file = {folder}/key.pem
mail_home = {folder}/home/%{{user}}
mail_driver = {o.storage}
mail_path = ~/{"Maildir" if o.storage == "maildir" else o.storage}
mailbox_list_layout = {layout}
mailbox_list_index = {"yes" if o.list_index else "no"}
mail_fsync = never
first_valid_uid = 1
mail_plugins = {" ".join(plugins)}
{f"imap_capability = {o.capabilities}" if o.capabilities else without_compress}
{f"login_greeting = {o.greeting}" if o.greeting else ""}
protocol imap {{
  mail_plugins = {" ".join([*plugins, *(f"imap_{name}" for name in plugins)])}
  mail_max_userip_connections = {o.connection_limit or 100}
}}
{"acl_driver = vfile" if o.acl else ""}
{quota if o.quota_kb else ""}
{oauth if o.oauth_url else ""}
passdb passwd-file {{
  auth_username_format = %{{user}}
  passwd_file_path = {folder}/users
}}
passdb static {{
  password = {PASSWORD}
}}
userdb static {{
  fields {{
    uid = {self._mail_uid}
    gid = {self._mail_gid}
    home = {folder}/home/%{{user}}
  }}
}}
{self._folders_and_services("restart_request_count", "unlimited", "listen")}"""

    def _folders_and_services(self, requests: str, endless: str, address: str) -> str:
        """Which both have alike, but for the names of two settings and a value."""
        o = self.options
        special = {name: f"special_use = \\{name}" if o.special_use else "" for name in ("Junk", "Trash")}
        return f"""\
namespace inbox {{
  inbox = yes
  separator = {o.separator}
  prefix = {o.prefix}
  mailbox {_quoted(o.junk)} {{
    auto = subscribe
    {special["Junk"]}
  }}
  mailbox Trash {{
    auto = subscribe
    {special["Trash"]}
  }}
}}
{self._alias() if o.alias else ""}
service imap-login {{
  chroot =
  process_min_avail = 1
  {requests} = {endless}
  inet_listener imap {{
    port = {self.port}
  }}
  inet_listener imaps {{
    port = {self.tls_port}
    ssl = yes
  }}
}}
service imap {{
  process_min_avail = 1
  {requests} = 500
}}
service lmtp {{
  inet_listener lmtp {{
    {address} = 127.0.0.1
    port = {self.lmtp_port if o.lmtp else 0}
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""


@functools.cache
def _version() -> tuple[int, ...]:
    """Of the installed Dovecot: (2, 3, 19)."""
    assert BINARY
    told = subprocess.run(
        [BINARY, "--version"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    return tuple(map(int, re.findall(r"\d+", told.split()[0])[:3]))


def _quoted(name: str) -> str:
    return f'"{name}"' if " " in name or not name.isascii() else name


class DovecotFactory:
    """One server per set of options and test run; tests use users of their own."""

    def __init__(self) -> None:
        self._running: dict[Options, Dovecot] = {}
        self._own: list[Dovecot] = []
        atexit.register(self.close)

    def __call__(self, *, fresh: bool = False, **options: object) -> Dovecot:
        """fresh: a server for this test alone, because it will be stopped, killed or frozen."""
        if not BINARY:
            pytest.skip("Dovecot is not installed (Debian: apt install dovecot-imapd dovecot-lmtpd)")
        chosen = Options(**options)  # type: ignore[arg-type]
        if fresh:
            server = Dovecot(chosen)
            self._own.append(server)
            return server
        if chosen not in self._running:
            self._running[chosen] = Dovecot(chosen)
        return self._running[chosen]

    def close_own(self) -> None:
        while self._own:
            self._own.pop().close()

    def close(self) -> None:
        self.close_own()
        for server in self._running.values():
            server.close()
        self._running.clear()
        atexit.unregister(self.close)


@pytest.fixture(scope="session")
def _dovecots():
    factory = DovecotFactory()
    yield factory
    factory.close()


@pytest.fixture
def dovecot(_dovecots):
    """dovecot(storage="mdbox", ...) -> a running Dovecot; see Options."""
    yield _dovecots
    _dovecots.close_own()
