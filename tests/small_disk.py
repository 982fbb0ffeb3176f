"""A disk of a few MB that can be filled to the last byte: a tmpfs in a mount namespace of its own, so that it needs no
rights and ends with its holder.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class SmallDisk:
    """path: its root, as seen from outside. Through such a path SQLite opens nothing (it resolves links itself, and this
    one cannot be told in words), so programs run inside.
    """

    def __init__(self, holder: int, place: Path) -> None:
        self._place = place
        self.path = Path(f"/proc/{holder}/root{place}")
        here = f"--wd={Path.cwd()}"
        self.inside = ("nsenter", "--user", "--preserve-credentials", "--mount", here, f"--target={holder}")
        self._ballast = self.path / "ballast"

    def seen_inside(self, path: Path) -> Path:
        return self._place / path.relative_to(self.path)

    def fill(self) -> None:
        """Not a byte is left."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue
        assert shutil.disk_usage(self.path).free == 0

    def make_room(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    place = tmp_path / "disk"
    place.mkdir()
    holder = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
         'mount -t tmpfs -o size=8m,mode=700 tmpfs "$1" && echo mounted && exec cat', "sh", str(place)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) if shutil.which("unshare") else None  # fmt: skip
    if holder is None:
        pytest.skip("unshare is not installed (util-linux)")
    with holder:  # its standard input is closed at the end, and with that it ends
        assert holder.stdout is not None
        if holder.stdout.readline() != b"mounted\n":
            pytest.skip("no mount namespaces are allowed here")
        yield SmallDisk(holder.pid, place)
