"""Who trains in a night: what `nightly` asks of it, and the child process that does it.

The child is `python -m spamd.training`: of low priority, tied to us by its standard input, watched for time and memory, read
line by line. It can be killed at any moment. When a night is, and what becomes of a candidate, is not known here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import platform
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from spamd.errors import TrainingError

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "spamd.training")
TIME_LIMIT = 30 * 60.0
"""Seconds of a whole night, however many trainings it has. 1,000 new and 10,000 old labels take under 30 CPU seconds; beyond this the machine is too slow or it hangs."""
MEMORY_LIMIT = 1536 * 2**20
"""Bytes resident. Measured peak .8 GB; beyond this the trainer would push the person's own programs into swap."""
LAST_WORDS, LISTEN = 10.0, 0.2
"""Seconds without a word after which a trainer that has ended is not listened to any more, and of one wait for a word."""
KILLED = (-9, -15)
"""Exit codes of who was killed by another: SIGKILL, as the system does where memory runs out, and SIGTERM."""
NICENESS = 15
STAGES = {
    "read": "Reading labels",
    "fit": "Learning",
    "export": "Writing the model",
    "again": "Learning once more what you took out of Junk",
    "apart": "Finding out how much of your folders it would have known",
    "examine": "Comparing with the model in force",
}
TEMPORARY = ("TMPDIR", "TEMP", "TMP")
"""TensorFlow writes the model to a temporary folder on its way to TFLite: killed meanwhile, it must not stay there."""

PLATFORM: str = sys.platform  # not narrowed by the type checker, which sees one platform at a time

Tell = Callable[[int, int, str], None]
"""Progress: done, of (0, 0 where unknown), what is done now in words."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a training reported, and how it ended.

    code: the exit code, as `spamd.training.__main__` lists them; below 0 the signal that ended it.
    result: what it reported as its result ("status", "reason", "hint"); empty where it said none.
    last_words: the last line on its standard error, of at most 300 characters.
    """

    code: int
    result: Mapping[str, Any]
    last_words: str = ""

    @property
    def was_killed(self) -> bool:
        """By the system or another program: who is ended by us has no outcome, but a TrainingError."""
        return self.code in KILLED


def how_to_install(system: str = PLATFORM, machine: str | None = None) -> str:
    """A command for the person. `tensorflow-cpu` is made for x86-64 alone, and not for macOS."""
    machine = platform.machine() if machine is None else machine
    small = system != "darwin" and machine.lower() in ("x86_64", "amd64")
    package = "tensorflow-cpu" if small else "tensorflow"
    return f"pipx inject spamd-desktop {package}   (or pip install 'spamd-desktop[train]')"


class Trainer(Protocol):
    """Learns one candidate at a time. Whatever becomes of it, only `folder` and the candidate's own have changed."""

    def installed(self) -> bool:
        """Can it train at all? Cheap: to be asked often."""
        ...

    def train(self, arguments: Sequence[str], *, folder: Path, deadline: float, tell: Tell) -> Outcome:
        """Blocks until the training has ended.

        arguments: those of `python -m spamd.training`. folder: a folder that exists, for what lies about meanwhile; the
        caller removes it. deadline: by `time.monotonic`, until when it may take. TrainingError: it could not begin, or it
        was ended (stopped, too slow, too large). OSError: nothing can be written in `folder`.
        """
        ...

    def stop(self) -> None:
        """End the training that runs, if one does, and let none begin. From any thread, and final."""
        ...


class TrainerProcess:
    """The trainer in a child process. What it started ends with it, and it ends with us, however we end."""

    def __init__(self, command: Sequence[str] | None = None) -> None:
        """command: of another trainer that takes the same arguments and says the same lines; default: COMMAND."""
        self._command = tuple(command or COMMAND)
        self._needs_tensorflow = command is None
        self._lock = threading.Lock()  # of the child and why it was killed
        self._child: subprocess.Popen[str] | None = None
        self._why_killed = ""
        self._stopped = False

    def installed(self) -> bool:
        return not self._needs_tensorflow or importlib.util.find_spec("tensorflow") is not None

    @property
    def pid(self) -> int | None:
        """Of the child that trains now."""
        with self._lock:
            return None if self._child is None else self._child.pid

    def train(self, arguments: Sequence[str], *, folder: Path, deadline: float, tell: Tell) -> Outcome:
        with (folder / "stderr").open("w+", encoding="utf-8", errors="replace") as stderr:
            child = self._start(arguments, folder, stderr)
            ended = threading.Event()
            watch = threading.Thread(
                target=self._watch, args=(child.pid, deadline, ended), name="night-watch", daemon=True
            )
            watch.start()
            result: dict[str, Any] = {}
            try:
                for event in _events(_lines(child)):
                    if event.get("event") == "result":
                        result = event
                    else:
                        tell(*_progress(event))
                code = child.wait()
            finally:
                self._kill("its reader failed")
                child.wait()
                ended.set()
                watch.join()
                if child.stdin is not None:
                    child.stdin.close()
                with self._lock:
                    self._child = None
            if self._why_killed:
                raise TrainingError(f"The training was ended: {self._why_killed}.", "Nothing has changed.")
            stderr.seek(max(0, stderr.tell() - 2000))
            lines = [line for line in stderr.read().splitlines() if line.strip()]
        return Outcome(code, result, lines[-1][:300] if lines else "")

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
        self._kill("it was stopped")

    def _kill(self, why: str) -> None:
        with self._lock:
            if self._child is not None and self._child.poll() is None:
                self._why_killed = self._why_killed or why
                _end(self._child)

    def _start(self, arguments: Sequence[str], folder: Path, stderr: TextIO) -> subprocess.Popen[str]:
        flags = 0
        if sys.platform == "win32":
            flags = subprocess.IDLE_PRIORITY_CLASS | subprocess.CREATE_NO_WINDOW
        with self._lock:
            if self._stopped:
                raise TrainingError("The training was ended: it was stopped.", "Nothing has changed.")
            self._why_killed = ""
            try:
                child = subprocess.Popen(
                    [*self._command, *arguments, "--tied"],
                    env=os.environ | dict.fromkeys(TEMPORARY, str(folder)),
                    stdin=subprocess.PIPE,  # never written to: it closes when we end, however we end
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                    start_new_session=True,
                    creationflags=flags,
                )
            except OSError as exc:
                raise TrainingError(
                    f"The trainer cannot be started: {exc.strerror}.", "Install spamd again."
                ) from exc
            self._child = child
        if sys.platform != "win32":
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, child.pid, NICENESS)
        return child

    def _watch(self, pid: int, deadline: float, ended: threading.Event) -> None:
        """Kills a trainer that takes too long or too much."""
        while not ended.wait(1.0):
            if time.monotonic() > deadline:
                self._kill(f"the night took longer than {TIME_LIMIT / 60:.0f} minutes")
            elif (resident_bytes(pid) or 0) > MEMORY_LIMIT:
                self._kill(f"it needed more than {MEMORY_LIMIT // 2**20} MB")


def _end(child: subprocess.Popen[str]) -> None:
    """Kill it, and on POSIX what it started."""
    with contextlib.suppress(
        ProcessLookupError, PermissionError
    ):  # macOS refuses where all of the group have ended
        if os.name == "posix":
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()


def _lines(child: subprocess.Popen[str]) -> Iterator[str]:
    """What the trainer says, until it closes its output, or has ended: a process it left behind may hold that open for ever."""
    said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(child, said), name="night-reader", daemon=True).start()
    ended, patience = False, LAST_WORDS  # counted, not looked up on a clock: a laptop may sleep here
    while patience > 0:
        if not ended and child.poll() is not None:
            _end(child)  # what it left behind; its number is not given away while one of its group lives
            ended = True
        try:
            line = said.get(timeout=LISTEN)
        except queue.Empty:
            patience -= LISTEN * ended
            continue
        if line is None:
            return
        patience -= LISTEN / 1000 * ended  # also what never stops talking is left alone
        yield line
    log.warning("the trainer has ended, but something it started holds its output open")


def _read(child: subprocess.Popen[str], said: queue.SimpleQueue[str | None]) -> None:
    """In a thread of its own, which closes what it reads: to close it elsewhere would wait for the end of the reading."""
    assert child.stdout is not None
    try:
        with child.stdout:
            for line in child.stdout:
                said.put(line)
    finally:
        said.put(None)


def _events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The trainer's JSON lines; whatever else a library prints is passed over."""
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event


def _progress(event: dict[str, Any]) -> tuple[int, int, str]:
    stage = STAGES.get(str(event.get("stage") or event.get("name")), "Training")
    done, of = event.get("done", 0), event.get("of", 0)
    return (done, of, stage) if isinstance(done, int) and isinstance(of, int) else (0, 0, stage)


def resident_bytes(pid: int) -> int | None:
    """Resident memory of another process; None where that cannot be told.

    So on Windows, where a virtual environment's python.exe is but a launcher of the real one: there only the time is limited.
    """
    if PLATFORM == "linux":
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, ValueError, IndexError):
            return None
        return pages * os.sysconf("SC_PAGE_SIZE")
    if PLATFORM == "darwin":
        with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
            asked = subprocess.run(
                ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, timeout=5, check=False
            )
            return int(asked.stdout) * 1024
    return None
