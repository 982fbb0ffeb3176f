"""What every test gets: a home of its own, no keyring, no network but loopback, and no thread left behind.

Servers (tests/servers): dovecot(...), gmail, cyrus, courier, pymap, fault_proxy(...), scripted_server(...).
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import socket
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests.servers.courier import _courier, courier
from tests.servers.cyrus import _cyrus, cyrus
from tests.servers.dovecot import _dovecots, dovecot
from tests.servers.embedded import _embedded, pymap
from tests.servers.fault_proxy import fault_proxy
from tests.servers.gmail import _gmail, gmail
from tests.servers.scripted import scripted_server
from tests.small_disk import small_disk

__all__ = [
    "_courier",
    "_cyrus",
    "_dovecots",
    "_embedded",
    "_gmail",
    "courier",
    "cyrus",
    "dovecot",
    "fault_proxy",
    "gmail",
    "pymap",
    "scripted_server",
    "small_disk",
]

# A test that wants a real keyring sets this itself. (An environment variable, so that children have it too.)
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"

# Threads of libraries that keep them for the whole run; and those of the daemon, which end with it (they are daemon
# threads only so that a hanging server cannot keep the process alive).
_LASTING_THREADS = ("asyncio_", "AnyIO", "ThreadPoolExecutor", "pytest_timeout", "Playwright", "grpc")
_ENDING_THREADS = ("work ", "watch ", "reading ", "sign-in ", "night", "teach", "upgrade", "file watch")


def pytest_collection_modifyitems(items):
    """TensorFlow has no wheels for every Python: what needs it skips there."""
    if importlib.util.find_spec("tensorflow") is None:
        skip = pytest.mark.skip(reason="TensorFlow is not installed (the extra train)")
        for item in items:
            if item.get_closest_marker("train"):
                item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Captured lines may hold half characters (a test of ours logs one): no report could carry them to xdist."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """HOME and the XDG folders below tmp_path; none exists yet."""
    base = tmp_path / "home"
    for name, below in (
        ("HOME", ""),
        ("USERPROFILE", ""),
        ("APPDATA", "AppData/Roaming"),
        ("LOCALAPPDATA", "AppData/Local"),
        ("XDG_CONFIG_HOME", ".config"),
        ("XDG_DATA_HOME", ".local/share"),
        ("XDG_STATE_HOME", ".local/state"),
        ("XDG_CACHE_HOME", ".cache"),
        ("XDG_RUNTIME_DIR", "run"),
    ):
        monkeypatch.setenv(name, str(base / below) if below else str(base))
    monkeypatch.delenv("SPAMD_HOME", raising=False)
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    base.mkdir()
    (base / "run").mkdir(mode=0o700)
    return base


@pytest.fixture
def socket_folder():
    """For a Unix socket, whose whole path may have 107 bytes: that of tmp_path may be longer."""
    with tempfile.TemporaryDirectory(prefix="spamd-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def no_thread_left():
    """A test ends the threads it started, and a daemon that has ended has none left: it would write into a store that is
    closed, or be a second client that moves the same mail."""
    before = set(threading.enumerate())
    yield

    def left():
        return [
            thread
            for thread in threading.enumerate()
            if thread not in before
            and (not thread.daemon or thread.name.startswith(_ENDING_THREADS))
            and not thread.name.startswith(_LASTING_THREADS)
        ]

    deadline = time.monotonic() + 60
    while left() and time.monotonic() < deadline:
        for thread in left():
            thread.join(1)
    assert not left(), f"threads still running after the test: {left()}"


def _is_local(host):
    if host in (None, "", "localhost", b"localhost", "::1", "ip6-localhost"):
        return True
    try:
        return ipaddress.ip_address(host if isinstance(host, str) else host.decode()).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def only_loopback():
    """No test reaches anything but this machine; unknown names are not found, at once."""
    patch = pytest.MonkeyPatch()
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def check(sock, address):
        inet = sock.family in (socket.AF_INET, socket.AF_INET6)
        if inet and not _is_local(address[0]) and sock.type & socket.SOCK_STREAM:
            raise ConnectionRefusedError(111, f"tests may not connect to {address[0]}")

    def guarded_connect(self, address):
        check(self, address)
        return connect(self, address)

    def guarded_connect_ex(self, address):
        check(self, address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host, *args, **kwargs):
        text = host.decode() if isinstance(host, bytes) else host
        numeric = True
        try:
            ipaddress.ip_address(text or "")
        except ValueError:
            numeric = False
        if not numeric and not _is_local(host):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return getaddrinfo(host, *args, **kwargs)

    patch.setattr(socket.socket, "connect", guarded_connect)
    patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
    yield
    patch.undo()
