"""Log files, the terminal, the journal; and what is never written to them.

Secrets and mail addresses are masked in every line, also in tracebacks; no control character forges a line.
Subjects and text of mail are not logged anywhere at INFO: that is for the callers to keep.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import logging.handlers
import os
import re
import secrets
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import TextIO

from spamd.errors import SpamdError
from spamd.paths import PRIVATE_FILE, Paths

FILE_BYTES = 1_000_000
FILES_KEPT = 5
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_OURS = "spamd"
_MASK = "***"

_SALT = secrets.token_bytes(16)  # digests of addresses mean nothing beyond this run
_known_secrets: set[str] = set()
_lock = threading.Lock()

_PATTERNS = (
    re.compile(r"(?i)(\bauthorization:\s*(?:bearer|basic)\s+)\S+"),
    re.compile(r"(?i)(\bbearer\s+)[\w.~+/=-]{8,}"),
    re.compile(
        r"(?i)(\b(?:password|passwd|passphrase|secret|token|access_token|refresh_token|client_secret|code|cookie)"
        r"[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&}]+"
    ),
    re.compile(r"(?i)(\bauthenticate\s+[\w-]+\s+)\S+"),
    re.compile(r"(?i)(\blogin\s+(?:\"(?:[^\"\\]|\\.)*\"|\S+)\s+)(?:\"(?:[^\"\\]|\\.)*\"|\S+)"),
    re.compile(r"(://[^\s/:@]*:)[^\s/@]+(?=@)"),
)
_ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def hide(secret: str) -> None:
    """From now on this text never appears in a log."""
    if len(secret) >= 4:
        with _lock:
            _known_secrets.add(secret)


def masked(text: str) -> str:
    """Without secrets and addresses. The same address has the same mark for as long as the program runs."""
    with _lock:
        known = sorted(_known_secrets, key=len, reverse=True)
    for secret in known:
        text = text.replace(secret, _MASK)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<1>{_MASK}", text)
    return _ADDRESS.sub(_mark, text)


def _mark(match: re.Match[str]) -> str:
    digest = hashlib.blake2b(match.group().lower().encode("utf-8", "replace"), key=_SALT, digest_size=2)
    return f"<address {digest.hexdigest()}>"


class MaskingFormatter(logging.Formatter):
    """One line per record (tracebacks follow below), masked. for_journal: with the priority systemd reads."""

    def __init__(self, pattern: str, *, for_journal: bool = False) -> None:
        super().__init__(pattern)
        self.for_journal = for_journal

    def format(self, record: logging.LogRecord) -> str:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # a wrong %-argument must not lose the line
            message = str(record.msg)
        one_line = logging.makeLogRecord({**record.__dict__, "args": None, "exc_text": None})
        one_line.msg = _CONTROL.sub(lambda match: repr(match.group())[1:-1], message)
        text = masked(super().format(one_line))
        if self.for_journal:
            sign = f"<{PRIORITIES.get(record.levelno, 6)}>"
            text = sign + text.replace("\n", f"\n{sign}")
        return text

    def formatException(  # noqa: N802 logging's name
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """Where and what kind, causes first. What it says only at DEBUG: `float("…")` quotes the mail it was read from."""
        told: list[str] = []
        error, met = ei[1], set[int]()
        while error is not None and id(error) not in met:
            met.add(id(error))
            places = "".join(traceback.format_tb(error.__traceback__))
            told.append(
                f"Traceback (most recent call last):\n{places}{type(error).__qualname__}{_said(error)}"
            )
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n".join(reversed(told))


def _said(error: BaseException) -> str:
    """Our own words and the system's are safe; any other error may quote what it was given."""
    if logging.getLogger(_OURS).isEnabledFor(logging.DEBUG) or isinstance(error, SpamdError):
        return f": {error}"
    return f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""


class _LogFile(logging.handlers.RotatingFileHandler):
    """Private, rotated; where it cannot be written (full disk), filtering goes on without it."""

    def _open(self) -> TextIO:  # type: ignore[override]
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE_FILE)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def emit(self, record: logging.LogRecord) -> None:
        if not os.path.exists(self.baseFilename):  # noqa: PTH110 as often as there are lines
            self._open_anew()
        super().emit(record)

    def _open_anew(self) -> None:
        """Somebody removed the file, or its folder."""
        with contextlib.suppress(OSError):
            Path(self.baseFilename).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.close()
            self.stream = self._open()  # type: ignore[assignment]

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 logging's name
        if isinstance(sys.exc_info()[1], OSError):
            return
        super().handleError(record)


_handlers: list[logging.Handler] = []


def configure(paths: Paths, level: str = "info", *, foreground: bool) -> None:
    """Log to the file; to stderr in the foreground or where systemd reads it. Replaces what was before."""
    close()
    root = logging.getLogger()
    try:
        paths.log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        to_file = _LogFile(
            paths.log_file, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8", delay=False
        )
        to_file.setFormatter(MaskingFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
        _handlers.append(to_file)
    except OSError as exc:
        print(f"No log file: {paths.log_file}: {exc.strerror}", file=sys.stderr)  # noqa: T201 there is no log yet
    journal = in_journal()
    if foreground or journal:
        to_terminal = logging.StreamHandler()
        pattern = "%(name)s: %(message)s" if journal else "%(asctime)s %(levelname)-7s %(message)s"
        to_terminal.setFormatter(MaskingFormatter(pattern, for_journal=journal))
        _handlers.append(to_terminal)
    for handler in _handlers:
        root.addHandler(handler)
    root.setLevel(logging.WARNING)  # others' DEBUG holds passwords (imaplib) and addresses (urllib)
    set_level(level)


def set_level(level: str) -> None:
    """How much our own rooms say; takes effect at once."""
    logging.getLogger(_OURS).setLevel(LEVELS.get(level, logging.INFO))


def close() -> None:
    """Take back what `configure` did."""
    root = logging.getLogger()
    for handler in _handlers:
        root.removeHandler(handler)
        with contextlib.suppress(OSError):  # what is left of a line that did not fit on a full disk
            handler.close()
    _handlers.clear()


def in_journal() -> bool:
    """Whether stderr goes to systemd's journal (systemd.exec(5): $JOURNAL_STREAM is device:inode)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        there = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return (device, inode) == (str(there.st_dev), str(there.st_ino))


def files(paths: Paths) -> list[Path]:
    """The log files, newest first."""
    kept = [
        paths.log_file.with_name(f"{paths.log_file.name}.{number}") for number in range(1, FILES_KEPT + 1)
    ]
    return [one for one in (paths.log_file, *kept) if one.is_file()]
