"""The real daemon as its own process, on a home of its own and an account on a real server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from spamd import paths, settings
from spamd.answers import AccountPhase
from spamd.client import Client
from spamd.credentials import Secrets
from spamd.domain import Account, Judgement
from spamd.errors import NotRunning
from tests.servers.mailhost import PASSWORD

PATIENCE = float(os.environ.get("SPAMD_TEST_PATIENCE", "180"))  # seconds
ROOT = Path(__file__).parents[2]


class RunningDaemon:
    """`spamdctl run`; the environment that finds it is in `environ`."""

    def __init__(self, folder: Path, account: Account, **changes: object) -> None:
        self.environ = {"SPAMD_HOME": str(folder / "spamd"), "PYTHONPATH": str(ROOT)}
        self.paths = paths.find(self.environ)
        self.paths.make()
        settings.save(self.paths.config_file, {"secrets": "file", **changes})
        self.account = replace(account, password_command="")
        settings.add_account(self.paths.config_file, self.account)
        Secrets.choose(settings.load(self.paths.config_file), self.paths).set(account.name, PASSWORD)
        self._log = (folder / "daemon.log").open("ab")
        self.log_file = folder / "daemon.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Client | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "spamd", "run"],
            env={**os.environ, **self.environ},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.until(lambda: self._connected() and self._watches(), "the daemon does not watch the account")

    def attach(self) -> None:
        """Somebody else started it."""
        self.until(lambda: self._connected() and self._watches(), "no daemon was started")

    def _connected(self) -> bool:
        assert self._process is None or self._process.poll() is None, self.log_file.read_text()
        try:
            self._client = Client.connect(self.paths)
        except NotRunning:
            return False
        return True

    def _watches(self) -> bool:
        ready = (AccountPhase.WATCHING, AccountPhase.PAUSED)
        return all(view.state.phase in ready for view in self.client.accounts())

    @property
    def client(self) -> Client:
        assert self._client is not None
        return self._client

    def kill(self) -> None:
        """It ends without a word."""
        assert self._process is not None
        self._process.kill()
        self.stop()

    def stop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def close(self) -> None:
        self.stop()
        self._log.close()

    def until(self, what: Callable[[], Any], say: str, seconds: float = PATIENCE) -> Any:
        deadline = time.monotonic() + seconds
        while not (value := what()):
            assert time.monotonic() < deadline, f"{say}\n{self.log_file.read_text()[-4000:]}"
            time.sleep(0.05)
        return value

    def judged(self, message_id: str) -> Judgement:
        """Its judgement, as soon as there is one."""
        found: Judgement = self.until(
            lambda: self.client.identify(message_id).judgement, f"{message_id} was not judged"
        )
        return found
