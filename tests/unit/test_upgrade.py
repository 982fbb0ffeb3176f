"""upgrade: what counts as a new version, and when. The real thing, with pipx, is in tests/desktop/test_upgrade.py."""

from __future__ import annotations

import os

import pytest

from spamd.upgrade import GONE_SECONDS, TRY_SECONDS, Change, Program

pytestmark = pytest.mark.skipif(os.name == "nt", reason="its program is a shell script")


class Disk:
    def __init__(self, root):
        self.file = root / "__init__.py"
        self.file.write_text('__version__ = "1"\n')
        self.script = root / "spamdctl"
        self.asked = root / "asked"
        self.starts(True)
        self.now = 100.0
        self.program = Program(["run"], file=self.file, words=[str(self.script)], clock=lambda: self.now)

    def starts(self, well):
        self.script.write_text(f"#!/bin/sh\necho x >> '{self.asked}'\nexit {0 if well else 1}\n")
        self.script.chmod(0o755)

    def looks(self, times=1, after=10.0):
        found = Change.SAME
        for _ in range(times):
            self.now += after
            found = self.program.look()
        return found

    def tries(self):
        return len(self.asked.read_text().splitlines()) if self.asked.exists() else 0


@pytest.fixture
def disk(tmp_path):
    return Disk(tmp_path)


def test_nothing_happens_while_nothing_changes(disk):
    os.utime(disk.file, (1, 1))
    disk.file.write_bytes(disk.file.read_bytes())  # a checkout writes the same anew
    assert disk.looks(100) is Change.SAME
    assert disk.tries() == 0, "a program at rest starts nothing"


def test_a_new_version_that_starts_is_taken_when_it_lies_still(disk):
    disk.file.unlink()
    assert disk.looks() is Change.SAME
    disk.file.write_text('__version__ = "2"\n')
    assert disk.looks() is Change.SAME, "it may still be written"
    assert disk.looks() is Change.NEW


def test_the_old_one_may_come_back(disk):
    disk.file.unlink()
    disk.starts(False)
    disk.looks(3)
    disk.file.write_text('__version__ = "1"\n')
    assert disk.looks(100) is Change.SAME


def test_moved_to_another_python_behind_the_same_command(disk):
    disk.file.unlink()
    assert disk.looks(2) is Change.NEW


def test_one_that_does_not_start_is_tried_again_and_told_after_a_while(disk):
    disk.file.write_text('__version__ = "2"\n')
    disk.starts(False)
    rounds = int(GONE_SECONDS / 10)
    assert disk.looks(rounds) is Change.SAME
    assert disk.looks() is Change.BROKEN
    assert disk.tries() <= GONE_SECONDS / TRY_SECONDS + 1
    disk.starts(True)
    found = [disk.looks() for _ in range(7)]
    assert Change.NEW in found


def test_removed_for_good(disk):
    disk.file.unlink()
    disk.script.unlink()
    assert disk.looks(int(GONE_SECONDS / 10)) is Change.SAME
    assert disk.looks(2) is Change.GONE
