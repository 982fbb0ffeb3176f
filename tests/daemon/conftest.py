"""A real daemon process of its own home, on real servers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from spamd import paths, settings
from spamd.client import Client
from spamd.credentials import Secrets
from spamd.domain import Account, Mode
from spamd.errors import NotRunning
from spamd.store.database import Store
from tests.servers.invariant import nothing_lost_doubled_or_read
from tests.servers.mailhost import PASSWORD
from tests.small_disk import SmallDisk

PATIENCE = float(os.environ.get("SPAMD_PATIENCE", "180"))


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> object:
    """Until the condition is true; what it said."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.03)


class Running:
    """A home, its accounts, and the daemon's process."""

    def __init__(self, root: Path, *, computer: Path | None = None, disk: SmallDisk | None = None) -> None:
        """computer: a folder for temporary files of its own, so that it is as if this ran on another machine.

        disk: on which root is.
        """
        self.root = root
        self.computer = computer
        self.disk = disk
        self.paths = paths.find({"SPAMD_HOME": str(root)})
        self.paths.make()
        settings.save(self.paths.config_file, {"secrets": "file"})
        self.process: subprocess.Popen[bytes] | None = None

    def add(self, account: Account, *, mode: Mode | None = Mode.FILTERING, secret: str = PASSWORD) -> Account:
        account = replace(account, mode=mode)
        settings.add_account(self.paths.config_file, account)
        self.secrets().set(account.name, secret)
        return account

    def secrets(self) -> Secrets:
        return Secrets.choose(settings.load(self.paths.config_file), self.paths)

    def start(
        self, *accounts: str, wait: bool = True, program: Sequence[str] = ("-m", "spamd", "run")
    ) -> None:
        """program: what Python is told to run."""
        output = (self.root / "output.txt").open("ab")
        self.process = subprocess.Popen(
            [*(self.disk.inside if self.disk else ()), sys.executable, *program],
            env={
                **os.environ,
                "SPAMD_HOME": str(self.disk.seen_inside(self.root) if self.disk else self.root),
                "PYTHONFAULTHANDLER": "1",
                **({"TMPDIR": str(self.computer)} if self.computer else {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        output.close()
        if wait:
            names = accounts or tuple(one.name for one in settings.load(self.paths.config_file).accounts)
            for name in names:
                self.until(name, "watching")

    def output(self) -> str:
        path = self.root / "output.txt"
        return path.read_text(errors="replace") if path.exists() else ""

    @contextlib.contextmanager
    def client(self):
        def connect():
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended: {self.output()[-3000:]}")
            with contextlib.suppress(NotRunning):
                return Client.connect(self.paths)
            return None

        client = wait_for(connect, "the daemon's pages")
        try:
            yield client
        finally:
            client.close()

    def until(self, name: str, phase: str) -> None:
        with self.client() as client:
            try:
                wait_for(lambda: client.account(name).state.phase == phase, f"{name} to be {phase}")
            except AssertionError:
                raise AssertionError(f"{client.account(name).state} {self.output()[-3000:]}") from None

    def kill(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> float:
        """SIGTERM; the seconds it took (for scripts/bench.py: a test does not ask). It must end well."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self.output()[-3000:]
        return time.monotonic() - began

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def store(self) -> Store:
        return Store(self.paths.database, read_only=True)


@pytest.fixture(autouse=True)
def invariant(dovecot):
    """Every test ends with a look at the mailboxes it used, before their servers are closed."""
    with nothing_lost_doubled_or_read():
        yield


@pytest.fixture
def running(tmp_path, invariant):
    made = Running(tmp_path / "spamd")
    yield made
    made.end()
