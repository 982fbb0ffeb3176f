"""Where things lie."""

from __future__ import annotations

import os
import stat

import pytest

from spamd import paths
from spamd.client import Client
from spamd.errors import NotRunning


def test_one_folder_holds_all(tmp_path):
    found = paths.find({"SPAMD_HOME": str(tmp_path / "one")})
    assert all((tmp_path / "one") in folder.parents for folder in found.folders())
    for file in (
        found.config_file,
        found.database,
        found.run_file,
        found.lock_file,
        found.log_file,
        found.secrets_file,
    ):
        assert (tmp_path / "one") in file.parents
    assert paths.find({"SPAMD_HOME": str(tmp_path / "two")}).database != found.database


def test_the_person_s_folders_otherwise(home):
    found = paths.find({})
    assert home in found.config.parents
    assert len({found.config, found.data, found.state, found.cache}) == 4
    assert found.runtime.parent == found.state  # not XDG_RUNTIME_DIR, which cron and ssh may not have


def test_where_nothing_may_be_looked_at_the_filter_is_not_running(tmp_path):
    """Another person's home, or a name that the system refuses: no fault of the program."""
    refused = paths.find({"SPAMD_HOME": str(tmp_path / ("x" * 300))})
    with pytest.raises(OSError):
        refused.state.stat()
    assert not paths.is_full(refused.state)
    with pytest.raises(NotRunning, match="is not running"):
        Client.connect(refused)


def test_looking_creates_nothing(tmp_path):
    paths.find({"SPAMD_HOME": str(tmp_path / "one")})
    assert not (tmp_path / "one").exists()


def test_made_for_one_person_even_if_they_were_open(tmp_path):
    found = paths.find({"SPAMD_HOME": str(tmp_path / "one")})
    found.state.mkdir(parents=True, mode=0o755)
    found.make()
    found.make()
    for folder in found.folders():
        assert folder.is_dir()
        if os.name == "posix":
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_shipped_model_and_addon_are_named():
    assert paths.shipped_model().name == "base"
    assert (paths.shipped_addon()).name in ("thunderbird", "_addon")


class TestWritePrivate:
    def test_whole_and_private(self, tmp_path):
        target = tmp_path / "deep" / "file"
        paths.write_private(target, b"one")
        paths.write_private(target, b"two")
        assert target.read_bytes() == b"two"
        assert [one.name for one in target.parent.iterdir()] == ["file"]
        if os.name == "posix":
            assert stat.S_IMODE(target.stat().st_mode) == 0o600

    def test_a_link_stays_a_link(self, tmp_path):
        (tmp_path / "dotfiles").mkdir()
        (tmp_path / "dotfiles" / "config").write_bytes(b"old")
        link = tmp_path / "config"
        link.symlink_to(tmp_path / "dotfiles" / "config")
        paths.write_private(link, b"new")
        assert link.is_symlink()
        assert (tmp_path / "dotfiles" / "config").read_bytes() == b"new"

    def test_nothing_is_left_behind_when_it_fails(self, tmp_path):
        (tmp_path / "target").mkdir()
        (tmp_path / "target" / "x").write_bytes(b"")
        with pytest.raises(OSError):
            paths.write_private(tmp_path / "target", b"new")
        assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []
