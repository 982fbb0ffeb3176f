"""The command line as a person uses it: answers as text, a terminal to type into, a filter that runs."""

from __future__ import annotations

import contextlib
import fcntl
import io
import itertools
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spamd import cli, paths
from spamd.client import Client
from spamd.domain import Judgement
from spamd.errors import NotRunning
from tests.servers.mailhost import MailHost

ROOT = Path(__file__).resolve().parents[2]
MAIL = ROOT / "spamd" / "demo" / "mail"
PATIENCE = 180.0  # seconds for one step on a busy machine


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(home: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "SPAMD_HOME": str(home), "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **more}


def spamdctl(home: Path, *arguments: str, stdin: str = "") -> Said:
    """One command in this process: as `spamdctl ...` in a pipe, without starting Python for it."""
    out, err = io.StringIO(), io.StringIO()
    before, os.environ["SPAMD_HOME"] = os.environ.get("SPAMD_HOME"), str(home)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _typed(stdin):
            code = cli.run(arguments)
    finally:
        if before is None:
            del os.environ["SPAMD_HOME"]
        else:
            os.environ["SPAMD_HOME"] = before
    said = Said(code, out.getvalue(), err.getvalue())
    assert "Traceback" not in said.err, said.err
    return said


@contextlib.contextmanager
def _typed(text: str) -> Iterator[None]:
    before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(text.encode()))
    try:
        yield
    finally:
        sys.stdin = before


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, home: Path, *arguments: str, inside: Sequence[str] = (), **more: str) -> None:
        """inside: what starts it, such as a D-Bus session of its own."""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 180, 0, 0))
        self.process = subprocess.Popen(
            [*inside, sys.executable, "-m", "spamd", *arguments],
            # COLUMNS, too: one that was inherited would go before the terminal's own
            env=environment(home, TERM="xterm", COLUMNS="180", LINES="50", **more),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_own_terminal,  # noqa: PLW1509 nothing but system calls
        )
        os.close(slave)
        self.text = ""
        self._seen = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def _read(self, seconds: float) -> bool:
        """False at the end of what is said."""
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux: the other side is closed
            return False
        self.text += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data.decode("utf-8", "replace"))
        return bool(data)

    def expect(self, *words: str) -> str:
        """Wait for one of these; what was said up to there since the last time."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = [(place, one) for one in words if (place := self.text.find(one, self._seen)) >= 0]
            if found:
                place, one = min(found)
                said, self._seen = self.text[self._seen : place + len(one)], place + len(one)
                return said
            if not self._read(0.5) or time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {words} in:\n{self.text}")

    def say(self, line: str = "") -> None:
        os.write(self._master, f"{line}\n".encode())

    def break_off(self, *, impatient: bool = False) -> int:
        """Ctrl-C; the exit code. impatient: pressed again and again until it ends.

        Pressed again where it fell between a question and its waiting for the answer (Python then waits for a
        key before it looks), as a person would.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                os.write(self._master, b"\x03")
            again = time.monotonic() + (0.01 if impatient else 5)
            while time.monotonic() < again:
                if not self._read(0.01 if impatient else 0.5):
                    return self.process.wait(PATIENCE)
        raise AssertionError(f"Ctrl-C does not end it:\n{self.text}")

    def end(self) -> int:
        """The exit code; everything said is in `text`."""
        deadline = time.monotonic() + PATIENCE
        while self._read(0.5):
            assert time.monotonic() < deadline, self.text
        return self.process.wait(PATIENCE)


def _own_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a test run in the background hands down an ignored one


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
    return found


class Program:
    """A home with a running filter, and somebody at the command line."""

    def __init__(self, home: Path, server: MailHost, env: Mapping[str, str] = {}) -> None:
        self.home = home
        self.paths = paths.find({"SPAMD_HOME": str(home)})
        self.server = server
        self.user = server.new_user()
        self.env = dict(env)
        self.process: subprocess.Popen[bytes] | None = None
        self._ham = itertools.cycle(sorted((MAIL / "ham").glob("*.eml")))
        self._spam = itertools.cycle(sorted((MAIL / "spam").glob("*.eml")))
        self._number = itertools.count(1)

    def __call__(self, *arguments: str, stdin: str = "") -> Said:
        return spamdctl(self.home, *arguments, stdin=stdin)

    def terminal(self, *arguments: str, **more: str) -> Terminal:
        return Terminal(self.home, *arguments, **more)

    def start(self) -> None:
        log = (self.home / "output.txt").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "spamd", "run"],
            env=environment(self.home, **self.env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        wait_for(self.answers, "the filter")

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.home / "output.txt").read_text()[-3000:]
        with contextlib.suppress(NotRunning):
            Client.connect(self.paths).close()
            return True
        return False

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        with Client.connect(self.paths) as client:
            yield client

    def until(self, name: str, phase: str) -> None:
        with self.client() as client:
            wait_for(lambda: client.account(name).state.phase == phase, f"{name} to be {phase}")

    def arrive(
        self, *, spam: bool, subject: str = "", user: str = "", waits: bool = True
    ) -> Judgement | None:
        """One mail is delivered; its verdict, once it lies where it belongs."""
        file = next(self._spam if spam else self._ham)
        number = next(self._number)
        head, _, body = file.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")
        drop = (
            rb"(?im)^(message-id|subject):.*(\n[ \t].*)*\n"
            if subject
            else rb"(?im)^message-id:.*(\n[ \t].*)*\n"
        )
        head = re.sub(drop, b"", head + b"\n")
        message_id = f"{number}.{file.stem}@cli.example"
        head += f"Message-ID: <{message_id}>\n".encode()
        if subject:
            head += b"Subject: " + subject.encode() + b"\n"
        with self.client() as client:
            self.server.append(user or self.user, (head + b"\n" + body).replace(b"\n", b"\r\n"))
            if not waits:
                return None

            def verdict() -> Judgement | None:
                found = client.identify(message_id).judgement
                return found if found and (not found.decision.move or found.moved) else None

            judged: Judgement = wait_for(verdict, f"the verdict on {file.name}")
            return judged

    def where(self, subject: str) -> list[str]:
        """The folders in which a mail of this subject lies."""
        wanted = subject.encode()
        return sorted({one.folder for one in self.server.contents(self.user) if wanted in one.raw})
