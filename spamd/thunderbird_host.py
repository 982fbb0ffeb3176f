"""Native-messaging host: tells the Thunderbird add-on where the running daemon is and how to be let in.

Thunderbird starts it, writes JSON messages (four bytes of length in the machine's order, then UTF-8) to its
standard input, and reads the answers the same way (MDN, "Native messaging"). `install` registers it for one
person.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import shlex
import struct
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from spamd.errors import AutostartError, NotRunning, RequestError, SpamdError
from spamd.paths import Paths, find, shipped_addon, write_private

ADDON_ID = "spamd-desktop@spamd.example.org"
HOST_NAME = "org.spamd.desktop"
MAX_QUESTION = 64 * 1024  # bytes; ours have 20
MAX_RUN_FILE = 64 * 1024
_DESCRIPTION = "Tells the spamd add-on where the spamd daemon is. Written by spamd-desktop"
_NOT_PACKED = frozenset({"tests", "package.json", "node_modules", "__pycache__"})
_PACKED = frozenset(
    {".js", ".html", ".css", ".json", ".svg"}
)  # an editor's or a file manager's leavings are not
_REGISTRY_KEY = rf"Software\Mozilla\NativeMessagingHosts\{HOST_NAME}"


@dataclass(frozen=True, slots=True)
class Registration:
    """How things are for this person's Thunderbird."""

    manifest: Path
    executable: Path
    installed: bool
    current: bool  # says what would be written today


# The conversation


def read_message(stream: BinaryIO) -> dict[str, Any] | None:
    """The next question; None at the end. RequestError for what is too long, cut short or no JSON object."""
    length_bytes = stream.read(4)
    if not length_bytes:
        return None
    if len(length_bytes) < 4:
        raise RequestError("The question was cut short.")
    (length,) = struct.unpack("=I", length_bytes)
    if length > MAX_QUESTION:
        raise RequestError("The question is too long.")
    body = stream.read(length)
    if len(body) < length:
        raise RequestError("The question was cut short.")
    try:
        question = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("The question is no JSON.") from error
    if not isinstance(question, dict):
        raise RequestError("The question is no JSON object.")
    return question


def write_message(stream: BinaryIO, answer: Mapping[str, object]) -> None:
    body = json.dumps(answer).encode()
    stream.write(struct.pack("=I", len(body)) + body)
    stream.flush()


def connection(paths: Paths) -> dict[str, object]:
    """Port, token and version of the running daemon. NotRunning where there is none."""
    hint = "Start it with `spamdctl run`."
    try:
        with paths.run_file.open("rb") as file:
            run = json.loads(file.read(MAX_RUN_FILE))
        port, token, pid = run["port"], run["token"], run["pid"]
        version = str(run.get("version", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotRunning("spamd is not running.", hint) from error
    if not isinstance(port, int) or not 0 < port < 65536 or not isinstance(token, str) or not token:
        raise NotRunning("The spamd daemon's run file is damaged.", hint)
    if isinstance(pid, int) and not _alive(pid):
        raise NotRunning("spamd is not running (it ended without a word).", hint)
    return {"port": port, "token": token, "version": version}


def pasteable(paths: Paths) -> str:
    """One word for the add-on's options page, where Thunderbird may not start programs (Snap, Flatpak).

    A key that lasts: the daemon keeps to the port in it and lets in who proves to hold it (`web.pairing`).
    """
    port = connection(paths)["port"]
    try:
        kept = json.loads(paths.addon_key.read_bytes())
        key = kept["key"] if kept["port"] == port and len(kept["key"]) >= 16 else ""
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        key = ""
    if not key:
        key = secrets.token_urlsafe(32)
        try:
            write_private(paths.addon_key, json.dumps({"port": port, "key": key}).encode())
        except OSError as error:
            raise AutostartError(
                f"{paths.addon_key} could not be written: {error.strerror or error}.",
                "Free some space, then try again.",
            ) from error
    return f"{port}:{key}"


def boxed(home: Path) -> tuple[str, ...]:
    """Kinds of Thunderbird in this home that may not start other programs: "Snap", "Flatpak"."""
    kinds = (
        ("Snap", ("snap/thunderbird",)),
        ("Flatpak", (".var/app/org.mozilla.Thunderbird", ".var/app/net.thunderbird.Thunderbird")),
    )
    return tuple(kind for kind, folders in kinds if any((home / folder).is_dir() for folder in folders))


def _alive(pid: int) -> bool:
    if os.name == "nt":  # os.kill would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def answer_to(question: Mapping[str, Any], paths: Paths) -> dict[str, object]:
    if question.get("ask") != "connection":
        return {"error": "This question is not known.", "hint": "Update spamd or the add-on."}
    try:
        return connection(paths)
    except SpamdError as error:
        return {"error": error.title, "hint": error.hint}


def serve(source: BinaryIO, sink: BinaryIO, paths: Paths) -> int:
    """Answer until the other side closes. The exit code."""
    try:
        while (question := read_message(source)) is not None:
            write_message(sink, answer_to(question, paths))
    except RequestError as error:
        with contextlib.suppress(OSError):
            write_message(sink, {"error": error.title, "hint": error.hint})
        return 1
    except OSError:  # Thunderbird closed the pipe
        return 0
    return 0


# Registration


def _manifest_file(home: Path, paths: Paths, platform: str) -> Path:
    if platform == "darwin":
        folder = home / "Library" / "Application Support" / "Mozilla" / "NativeMessagingHosts"
    elif platform == "win32":  # found through the registry
        folder = paths.data
    else:
        folder = home / ".mozilla" / "native-messaging-hosts"
    return folder / f"{HOST_NAME}.json"


def _executable(paths: Paths, platform: str) -> Path:
    return paths.data / ("thunderbird-host.bat" if platform == "win32" else "thunderbird-host")


def _script(platform: str, environ: Mapping[str, str]) -> bytes:
    """Thunderbird starts an executable without arguments of ours and with its own environment."""
    kept = {
        name: environ[name] for name in ("SPAMD_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME") if environ.get(name)
    }
    package_parent = str(Path(__file__).resolve().parent.parent)
    if "site-packages" not in package_parent:  # a source tree
        kept["PYTHONPATH"] = package_parent
    python = str(Path(sys.executable).absolute())
    if platform == "win32":
        sets = "".join(f'@set "{name}={value}"\r\n' for name, value in sorted(kept.items()))
        return f'@echo off\r\n{sets}@"{python}" -m spamd.thunderbird_host %*\r\n'.encode()
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(kept.items()))
    start = f'exec {shlex.quote(python)} -m spamd.thunderbird_host "$@"\n'
    return f"#!/bin/sh\n# {_DESCRIPTION}\n{exports}{start}".encode("utf-8", "surrogateescape")


def _manifest(executable: Path) -> bytes:
    content = {
        "name": HOST_NAME,
        "description": _DESCRIPTION,
        "path": str(executable),
        "type": "stdio",
        "allowed_extensions": [ADDON_ID],
    }
    return (json.dumps(content, indent=2) + "\n").encode()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def status(
    home: Path | None = None, *, paths: Paths | None = None, platform: str = sys.platform
) -> Registration:
    paths = paths or find()
    manifest = _manifest_file(home or Path.home(), paths, sys.platform)
    executable = _executable(paths, sys.platform)
    found = _read(manifest)
    current = (
        found == _manifest(executable)
        and _read(executable) == _script(sys.platform, os.environ)
        and (os.name == "nt" or os.access(executable, os.X_OK))
    )
    return Registration(manifest, executable, found is not None and _DESCRIPTION.encode() in found, current)


def install(home: Path | None = None, *, paths: Paths | None = None) -> tuple[Path, ...]:
    """Register the host for this person; again after an upgrade brings it up to date. The files written.

    AutostartError where a file cannot be written or a file of somebody else's is in the way.
    """
    paths = paths or find()
    before = status(home, paths=paths)
    if before.manifest.exists() and not before.installed:
        raise AutostartError(
            f"{before.manifest} is there already and was not written by spamd.",
            "Move it away, then try again.",
        )
    try:
        write_private(before.executable, _script(sys.platform, os.environ))
        before.executable.chmod(0o700)
        before.manifest.parent.mkdir(parents=True, exist_ok=True)
        write_private(before.manifest, _manifest(before.executable))
        _set_registry(before.manifest)
    except OSError as error:
        raise AutostartError(
            f"{error.filename or before.manifest} could not be written: {error.strerror or error}.",
            "Free some space or see to the folder's rights, then try again.",
        ) from error
    return before.executable, before.manifest


def uninstall(home: Path | None = None, *, paths: Paths | None = None) -> tuple[Path, ...]:
    """Take away what `install` wrote, and nothing else. The files removed."""
    paths = paths or find()
    before = status(home, paths=paths)
    removed = []
    try:
        if before.installed:
            before.manifest.unlink()
            removed.append(before.manifest)
            _set_registry(None)
        for file in (before.executable, paths.addon_key):
            if file.exists():
                file.unlink()
                removed.append(file)
    except OSError as error:
        raise AutostartError(
            f"{error.filename} could not be removed: {error.strerror or error}.", "Remove it by hand."
        ) from error
    return tuple(removed)


def _set_registry(manifest: Path | None) -> None:
    """Windows finds the manifest through the registry. Elsewhere: nothing."""
    if sys.platform == "win32":
        import winreg

        if manifest is None:
            with contextlib.suppress(FileNotFoundError):
                winreg.DeleteKey(winreg.HKEY_CURRENT_USER, _REGISTRY_KEY)
        else:
            with winreg.CreateKey(winreg.HKEY_CURRENT_USER, _REGISTRY_KEY) as key:
                winreg.SetValueEx(key, "", 0, winreg.REG_SZ, str(manifest))


# The add-on


def package(target: Path) -> None:
    """Pack the add-on as an .xpi. The same source gives the same bytes everywhere: no times, no compression.

    AutostartError where the source is missing or the file cannot be written.
    """
    source = shipped_addon()
    files = sorted(
        path
        for path in source.rglob("*")
        if path.is_file()
        and path.suffix in _PACKED
        and not any(part in _NOT_PACKED or part[0] == "." for part in path.relative_to(source).parts)
    )
    if source / "manifest.json" not in files:
        raise AutostartError("The add-on's source is missing.", "Install spamd again.")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(source).as_posix(), date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, path.read_bytes())
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_private(target, content.getvalue())
    except OSError as error:
        raise AutostartError(
            f"{target} could not be written: {error.strerror or error}.", "Free some space, then try again."
        ) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Thunderbird gives the manifest's path and the asking add-on's id."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if len(words) >= 2 and words[1] != ADDON_ID:
        sys.stderr.write("Only the spamd add-on is answered.\n")
        return 1
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(sys.stdin.fileno(), os.O_BINARY)
        msvcrt.setmode(sys.stdout.fileno(), os.O_BINARY)
    return serve(sys.stdin.buffer, sys.stdout.buffer, find())


if __name__ == "__main__":
    raise SystemExit(main())
