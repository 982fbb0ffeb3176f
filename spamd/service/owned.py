"""Files of ours in folders that are not ours: written whole or not at all, and never somebody else's."""

from __future__ import annotations

from pathlib import Path

from spamd.errors import AutostartError
from spamd.paths import write_private

MARK = "Written by spamd-desktop"


def is_ours(path: Path) -> bool:
    try:
        raw = path.read_bytes()
    except OSError:
        return False
    return MARK.encode() in raw or MARK.encode("utf-16-le") in raw


def write(path: Path, content: bytes) -> None:
    """Put `content` there in one step. AutostartError where a file of somebody else's is in the way."""
    if path.is_symlink() or (path.exists() and not is_ours(path)):
        raise AutostartError(
            f"{path} is there already and was not written by spamd.", "Move it away, then try again."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # shared with other programs: the usual rights
        write_private(path, content)
    except OSError as error:
        raise AutostartError(
            f"{path} could not be written: {error.strerror or error}.",
            "Free some space or see to the folder's rights, then try again.",
        ) from error


def remove(path: Path) -> bool:
    """Take our file away; False where there is none of ours."""
    if path.is_symlink() or not is_ours(path):
        return False
    try:
        path.unlink()
    except OSError as error:
        raise AutostartError(
            f"{path} could not be removed: {error.strerror or error}.", "Remove it by hand."
        ) from error
    return True


def says(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False
